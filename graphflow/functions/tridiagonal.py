"""gf.linalg: matrices with few diagonals. Names, argument order and defaults are TensorFlow's; `name` is
accepted for its sake and not used."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import require_equal
from ..ops.matrices import check_matrix
from ..ops.rules import broadcast_shapes
from ..ops.systems import shifted
from ..tensor import Tensor, as_shape, convert_to_tensor, operands

__all__ = ["banded_triangular_solve", "eigh_tridiagonal", "tridiagonal_matmul", "tridiagonal_solve"]


def _diagonals(name: str, diagonals: Any, diagonals_format: str) -> list[Any]:
    """The superdiagonal, the diagonal and the subdiagonal, [..., n] each, row by row: the last element of the first and the first of the
    last stand for nothing."""
    if diagonals_format == "compact":
        (x,) = operands(diagonals)
        if len(x.dims) < 2 or x.dims[-2] != 3:
            raise ShapeError(f"{name}: compact diagonals must be [..., 3, n], got {x.type}")
        found = []
        for k in range(3):
            begin, rank = (*(0,) * (len(x.dims) - 2), k, 0), len(x.dims)
            own = ops.strided_slice(x, begin=begin, sizes=(*x.dims[:-2], 1, x.dims[-1]), strides=(1,) * rank)
            found.append(ops.reshape(own, shape=(*x.dims[:-2], x.dims[-1])))
    elif diagonals_format == "sequence":
        if not isinstance(diagonals, (list, tuple)) or len(diagonals) != 3:
            raise InvalidArgumentError(f"{name}: needs three diagonals, got {diagonals!r}")
        above, middle, below = operands(*diagonals)
        if not (above.dims and middle.dims and below.dims):
            raise ShapeError(f"{name}: diagonals must be [..., n], got {above.type}, {middle.type} and {below.type}")
        found = [
            _as_long(name, above, middle, (0, 1)),
            middle,
            _as_long(name, below, middle, (1, 0)),
        ]
    elif diagonals_format == "matrix":
        (x,) = operands(diagonals)
        check_matrix(name, x.type)
        found = [ops.diagonal(v) for v in (shifted(x, -1, -1), x, shifted(x, -1, 1))]
    else:
        raise InvalidArgumentError(
            f"{name}: diagonals_format must be 'compact', 'sequence' or 'matrix', got {diagonals_format!r}"
        )
    if not (found[1].dtype.is_floating or found[1].dtype.is_complex):
        raise DTypeError(f"{name}: needs floats or complex numbers, got {found[1].type}; use gf.cast")
    return found


def _as_long(name: str, side: Any, middle: Any, missing: tuple[int, int]) -> Any:
    """A diagonal beside the main one with as many elements as that: it may be given with one less."""
    size = middle.dims[-1]
    if side.dims[-1] == size:
        return side
    if not require_equal(side.dims[-1] + 1, size):
        raise ShapeError(
            f"{name}: a diagonal beside the main one must have as many elements as it, or one less, got {side.type} "
            f"beside {middle.type}"
        )
    paddings = (*((0, 0),) * (len(side.dims) - 1), missing)
    return ops.pad(side, paddings=paddings, mode="constant", constant=0)


def tridiagonal_matmul(diagonals: Any, rhs: Any, diagonals_format: str = "compact", name: str | None = None) -> Tensor:
    """The product of tridiagonal matrices and rhs[..., n, k]. diagonals: "compact" [..., 3, n] (above, main, below; the last element of the
    first row and the first of the last are not used), "sequence" (three tensors) or "matrix" [..., n, n]."""
    above, middle, below = _diagonals("tridiagonal_matmul", diagonals, diagonals_format)
    x = convert_to_tensor(rhs, dtype_hint=middle.dtype)
    if len(x.dims) < 2 or not require_equal(x.dims[-2], middle.dims[-1]):
        raise ShapeError(f"tridiagonal_matmul: rhs must have a row for each of {middle.dims[-1]} rows, got {x.type}")
    above, below = shifted(shifted(above, -1, 1), -1, -1), shifted(shifted(below, -1, -1), -1, 1)  # 0 for nothing
    above, middle, below = (ops.reshape(v, shape=(*v.dims, 1)) for v in (above, middle, below))
    total = ops.add(ops.multiply(above, shifted(x, -2, -1)), ops.multiply(middle, x))
    return ops.add(total, ops.multiply(below, shifted(x, -2, 1)))


def tridiagonal_solve(
    diagonals: Any,
    rhs: Any,
    diagonals_format: str = "compact",
    transpose_rhs: bool = False,
    conjugate_rhs: bool = False,
    name: str | None = None,
    partial_pivoting: bool = True,
    perturb_singular: bool = False,
) -> Tensor:
    """X with T X = rhs for tridiagonal matrices T; diagonals as tridiagonal_matmul. rhs: [..., n, k], or [..., n] for one right-hand side;
    transpose_rhs: [..., k, n]; conjugate_rhs: its conjugate is taken first. Batch axes broadcast. Work grows with n. Rows are always
    exchanged where that is more exact, also with partial_pivoting=False. A singular matrix raises MatrixError with its place in the
    batch. perturb_singular is not supported."""
    if perturb_singular:
        raise InvalidArgumentError("tridiagonal_solve: perturb_singular is not supported; a singular matrix raises")
    above, middle, below = _diagonals("tridiagonal_solve", diagonals, diagonals_format)
    right = convert_to_tensor(rhs, dtype_hint=middle.dtype)
    vector = len(right.dims) == len(middle.dims)
    if conjugate_rhs and right.dtype.is_complex:
        right = ops.conj(right)
    if vector:
        right = ops.reshape(right, shape=(*right.dims, 1))
    elif transpose_rhs:
        rank = len(right.dims)
        right = ops.transpose(right, permutation=(*range(rank - 2), rank - 1, rank - 2))
    if len(right.dims) < 2 or not require_equal(right.dims[-2], middle.dims[-1]):
        raise ShapeError(
            f"tridiagonal_solve: rhs must have a row for each row of the matrices {middle.type}, got {right.type}"
        )
    flat = [v.type.with_shape(v.dims[:-1]) for v in (above, middle, below)]
    lead = broadcast_shapes("tridiagonal_solve", [*flat, right.type.with_shape(right.dims[:-2])])
    above, middle, below = (
        v if v.dims[:-1] == lead else ops.broadcast_to(v, shape=(*lead, v.dims[-1])) for v in (above, middle, below)
    )
    right = right if right.dims[:-2] == lead else ops.broadcast_to(right, shape=(*lead, *right.dims[-2:]))
    found = ops.tridiagonal_solve(above, middle, below, right)
    return ops.reshape(found, shape=found.dims[:-1]) if vector else found


def banded_triangular_solve(
    bands: Any, rhs: Any, lower: bool = True, adjoint: bool = False, name: str | None = None
) -> Tensor:
    """X with T X = rhs for triangular matrices of few diagonals (T' X, if adjoint). bands[..., count, n]: lower: the main diagonal first,
    row k the k-th diagonal below it, whose first k elements are not used; upper: the main diagonal last, rows before it the diagonals
    above, whose last elements are not used."""
    x, right = operands(bands, rhs)
    if len(x.dims) < 2 or not isinstance(x.dims[-2], int):
        raise ShapeError(f"banded_triangular_solve: bands must be [..., count, n], got {x.type}")
    count, size, rank = x.dims[-2], x.dims[-1], len(x.dims)
    if len(right.dims) < 2 or not require_equal(right.dims[-2], size):
        raise ShapeError(f"banded_triangular_solve: rhs must have a row for each of {size} rows, got {right.type}")
    matrix: Any = None
    for k in range(count):
        place = k if lower else count - 1 - k
        begin = (*(0,) * (rank - 2), place, k if lower else 0)
        row = ops.strided_slice(x, begin=begin, sizes=(*x.dims[:-2], 1, size - k), strides=(1,) * rank)
        row = ops.reshape(row, shape=(*x.dims[:-2], size - k))
        own = ops.from_diagonal(row, rows=size, columns=size, offset=-k if lower else k)
        matrix = own if matrix is None else ops.add(matrix, own)
    lead = broadcast_shapes("banded_triangular_solve", [t.type.with_shape(t.dims[:-2]) for t in (matrix, right)])
    matrix, right = (
        t if t.dims[:-2] == lead else ops.broadcast_to(t, shape=(*lead, *t.dims[-2:])) for t in (matrix, right)
    )
    return ops.triangular_solve(matrix, right, lower=bool(lower), adjoint=bool(adjoint))


def eigh_tridiagonal(
    alpha: Any,
    beta: Any,
    eigvals_only: bool = True,
    select: str = "a",
    select_range: Any = None,
    tol: Any = None,
    name: str | None = None,
) -> Any:
    """The eigenvalues, ascending and real, of the symmetric (Hermitian) matrix with diagonal alpha[n], beta[n - 1] above it and its
    conjugate below; with eigenvectors as columns unless eigvals_only. Of complex alpha the real part counts. select: "a" all, "i" those
    numbered select_range[0] ... select_range[1], "v" those in (select_range[0], select_range[1]], whose number is a run-time extent in a
    traced function. tol is not used."""
    main, side = operands(alpha, beta)
    if len(main.dims) != 1 or len(side.dims) != 1 or not require_equal(main.dims[0] - 1, side.dims[0]):
        raise ShapeError(f"eigh_tridiagonal: needs alpha [n] and beta [n - 1], got {main.type} and {side.type}")
    if select not in ("a", "i", "v") or select != "a" and select_range is None:
        raise InvalidArgumentError(
            f"eigh_tridiagonal: select must be 'a', or 'i' or 'v' with a select_range, got {select!r}"
        )
    size = main.dims[0]
    matrix = ops.from_diagonal(main, rows=size, columns=size)
    below = ops.conj(side) if side.dtype.is_complex else side
    matrix = ops.add(matrix, ops.from_diagonal(below, rows=size, columns=size, offset=-1))  # the lower triangle is read
    values, vectors = ops.eigh(matrix)
    if select == "i":
        first, last = (int(v) for v in as_shape(select_range))  # type: ignore[arg-type]
        if not 0 <= first <= last or isinstance(size, int) and last >= size:
            raise InvalidArgumentError(
                f"eigh_tridiagonal: select_range must be inside [0, {size}), got {(first, last)}"
            )
        count = last - first + 1
        values = ops.strided_slice(values, begin=(first,), sizes=(count,), strides=(1,))
        vectors = ops.strided_slice(vectors, begin=(0, first), sizes=(size, count), strides=(1, 1))
    elif select == "v":
        from .indexing import boolean_mask

        low, high = operands(
            *(select_range if isinstance(select_range, (list, tuple)) else (select_range[0], select_range[1]))
        )
        low, high = (ops.cast(v, dtype=values.dtype) for v in (low, high))
        kept = ops.logical_and(ops.greater(values, low), ops.less_equal(values, high))
        values, vectors = boolean_mask(values, kept), boolean_mask(vectors, kept, axis=1)
    return values if eigvals_only else (values, vectors)
