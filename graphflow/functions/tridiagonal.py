"""gf.linalg: matrices with few diagonals, and square roots of matrices. Names, argument order and defaults are TensorFlow's; `name` is
accepted for its sake and not used."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..dtypes import float32, float64, int32
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import product, require_equal
from ..ops.decompositions import adjoint as transposed
from ..ops.decompositions import eye_like
from ..ops.rules import broadcast_shapes, equal_shapes
from ..tensor import Tensor, as_shape, convert_to_tensor, operands

__all__ = ["banded_triangular_solve", "eigh_tridiagonal", "sqrtm", "tridiagonal_matmul", "tridiagonal_solve"]


def _last(x: Any, begin: Any, size: Any) -> Any:
    rank = len(x.dims)
    return ops.strided_slice(x, begin=(*(0,) * (rank - 1), begin), sizes=(*x.dims[:-1], size), strides=(1,) * rank)


def _padded(x: Any, before: int, after: int) -> Any:
    around = (*((0, 0),) * (len(x.dims) - 1), (before, after))
    return ops.pad(x, paddings=around, mode="constant", constant=0)


def _diagonals(name: str, diagonals: Any, diagonals_format: str) -> list[Any]:
    """The superdiagonal (its last element 0), the diagonal and the subdiagonal (its first element 0), [..., n] each."""
    if diagonals_format == "compact":
        (x,) = operands(diagonals)
        if len(x.dims) < 2 or x.dims[-2] != 3:
            raise ShapeError(f"{name}: compact diagonals must be [..., 3, n], got {x.type}")
        size, rank = x.dims[-1], len(x.dims)
        parts = []
        for k in range(3):
            begin = (*(0,) * (rank - 2), k, 0)
            own = ops.strided_slice(x, begin=begin, sizes=(*x.dims[:-2], 1, size), strides=(1,) * rank)
            parts.append(ops.reshape(own, shape=(*x.dims[:-2], size)))
        above, middle, below = parts
        if size == 0:
            return parts
        above, below = _last(above, 0, size - 1), _last(below, 1, size - 1)
    elif diagonals_format == "sequence":
        if not isinstance(diagonals, (list, tuple)) or len(diagonals) != 3:
            raise InvalidArgumentError(f"{name}: needs three diagonals, got {diagonals!r}")
        above, middle, below = operands(*diagonals)
        size = middle.dims[-1]
        if size == 0:
            return [above, middle, below]
        if require_equal(above.dims[-1], size):
            above = _last(above, 0, size - 1)
        if require_equal(below.dims[-1], size):
            below = _last(below, 1, size - 1)
    elif diagonals_format == "matrix":
        (x,) = operands(diagonals)
        if len(x.dims) < 2 or not require_equal(x.dims[-1], x.dims[-2]):
            raise ShapeError(f"{name}: needs square matrices, got {x.type}")
        middle = ops.diagonal(x)
        if x.dims[-1] == 1:  # there is nothing beside the diagonal
            above = below = _last(middle, 0, 0)
        else:
            above, below = ops.diagonal(x, offset=1), ops.diagonal(x, offset=-1)
    else:
        raise InvalidArgumentError(
            f"{name}: diagonals_format must be 'compact', 'sequence' or 'matrix', got {diagonals_format!r}"
        )
    if not middle.dtype.is_floating:
        raise DTypeError(f"{name}: needs floats, got {middle.type}; use gf.cast")
    return [_padded(above, 0, 1), middle, _padded(below, 1, 0)]


def _row_shift(x: Any, by: int) -> Any:
    """[..., n, k] with rows `by` (1 or -1) later, zeros where there is none."""
    rank, size = len(x.dims), x.dims[-2]
    around = (*((0, 0),) * (rank - 2), (1, 0) if by > 0 else (0, 1), (0, 0))
    wide = ops.pad(x, paddings=around, mode="constant", constant=0)
    begin = (*(0,) * (rank - 2), 0 if by > 0 else 1, 0)
    return ops.strided_slice(wide, begin=begin, sizes=(*x.dims[:-2], size, x.dims[-1]), strides=(1,) * rank)


def tridiagonal_matmul(diagonals: Any, rhs: Any, diagonals_format: str = "compact", name: str | None = None) -> Tensor:
    """The product of tridiagonal matrices and rhs[..., n, k]. diagonals: "compact" [..., 3, n] (above, main, below; the last element of the
    first row and the first of the last are not used), "sequence" (three tensors) or "matrix" [..., n, n]."""
    above, middle, below = _diagonals("tridiagonal_matmul", diagonals, diagonals_format)
    x = convert_to_tensor(rhs, dtype_hint=middle.dtype)
    if len(x.dims) < 2 or not require_equal(x.dims[-2], middle.dims[-1]):
        raise ShapeError(f"tridiagonal_matmul: rhs must have a row for each of {middle.dims[-1]} rows, got {x.type}")
    above, middle, below = (ops.reshape(v, shape=(*v.dims, 1)) for v in (above, middle, below))
    total = ops.add(ops.multiply(above, _row_shift(x, -1)), ops.multiply(middle, x))
    return ops.add(total, ops.multiply(below, _row_shift(x, 1)))


def _eliminate(above: Any, middle: Any, below: Any, rhs: Any, pivoting: bool) -> Any:
    """Rows first: [n, ...] diagonals, [n, ..., k] rhs. Gaussian elimination, rows exchanged where the next one's entry is larger."""
    from .control_flow import scan
    from .effects import Assert

    size, lead = middle.dims[0], middle.dims[1:]
    zero = ops.broadcast_to(convert_to_tensor(0, middle.dtype), shape=lead)

    def column(v: Any) -> Any:
        return ops.reshape(v, shape=(*v.dims, 1))

    def row(v: Any, k: Any) -> Any:
        return ops.reshape(
            ops.strided_slice(
                v, begin=(k, *(0,) * (len(v.dims) - 1)), sizes=(1, *v.dims[1:]), strides=(1,) * len(v.dims)
            ),
            shape=v.dims[1:],
        )

    def rest(v: Any) -> Any:
        return ops.strided_slice(
            v, begin=(1, *(0,) * (len(v.dims) - 1)), sizes=(size - 1, *v.dims[1:]), strides=(1,) * len(v.dims)
        )

    def step(state: Any, own: Any) -> Any:
        _, _, _, _, pivot, first, right = state
        lower, main, upper, value = own
        swap = ops.less(ops.absolute(pivot), ops.absolute(lower)) if pivoting else ops.less(pivot, pivot)
        # the row that is done: its pivot, the two entries right of it, and its right-hand side
        done = ops.select(swap, lower, pivot)
        done_first = ops.select(swap, main, first)
        done_second = ops.select(swap, upper, zero)
        done_right = ops.select(column(swap), value, right)
        factor = ops.divide(ops.select(swap, pivot, lower), done)
        next_pivot = ops.subtract(ops.select(swap, first, main), ops.multiply(factor, done_first))
        next_first = ops.subtract(ops.select(swap, zero, upper), ops.multiply(factor, done_second))
        next_right = ops.subtract(ops.select(column(swap), right, value), ops.multiply(column(factor), done_right))
        return done, done_first, done_second, done_right, next_pivot, next_first, next_right

    start = (zero, zero, zero, ops.multiply(row(rhs, 0), 0), row(middle, 0), row(above, 0), row(rhs, 0))
    if size == 1:
        pivots, firsts, seconds, rights = (ops.reshape(v, shape=(1, *v.dims)) for v in (start[4], zero, zero, start[6]))
    else:
        rows: Any = scan(step, (rest(below), rest(middle), rest(above), rest(rhs)), start)
        done, last = rows[:4], [row(v, size - 2) for v in rows[4:]]
        tail = (last[0], last[1], zero, last[2])
        pivots, firsts, seconds, rights = (
            ops.concat(v, ops.reshape(t, shape=(1, *t.dims)), axis=0) for v, t in zip(done, tail, strict=True)
        )
    count = product(pivots.dims)
    singular = ops.reduce_any(ops.equal(ops.reshape(pivots, shape=(count,)), 0), axes=(0,), keepdims=False)
    Assert(ops.logical_not(singular), ["tridiagonal_solve: a matrix is singular"])

    def back(state: Any, own: Any) -> Any:
        near, far = state
        pivot, first, second, right = own
        known = ops.add(ops.multiply(column(first), near), ops.multiply(column(second), far))
        return ops.divide(ops.subtract(right, known), column(pivot)), near

    nothing = ops.multiply(row(rhs, 0), 0)
    found: Any = scan(back, (pivots, firsts, seconds, rights), (nothing, nothing), reverse=True)
    return found[0]


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
    transpose_rhs: [..., k, n]. Work grows with n. partial_pivoting: exchange rows (False is faster and less accurate). A singular matrix
    raises AssertionFailedError. perturb_singular is not supported."""
    if perturb_singular:
        raise InvalidArgumentError("tridiagonal_solve: perturb_singular is not supported; a singular matrix raises")
    above, middle, below = _diagonals("tridiagonal_solve", diagonals, diagonals_format)
    right = convert_to_tensor(rhs, dtype_hint=middle.dtype)
    vector = len(right.dims) == len(middle.dims)
    if vector:
        right = ops.reshape(right, shape=(*right.dims, 1))
    elif transpose_rhs:
        right = transposed(right)
    if len(right.dims) != len(middle.dims) + 1 or not equal_shapes(right.dims[:-1], middle.dims):
        raise ShapeError(
            f"tridiagonal_solve: rhs must have a row for each row of the matrices {middle.type}, got {right.type}"
        )
    found = _solve(above, middle, below, right, bool(partial_pivoting))
    return ops.reshape(found, shape=found.dims[:-1]) if vector else found


def _solve(above: Any, middle: Any, below: Any, rhs: Any, pivoting: bool) -> Any:
    from .custom_gradients import custom_gradient

    if middle.dims[-1] == 0:
        return rhs
    rank = len(middle.dims)
    front = (rank - 1, *range(rank - 1))

    @custom_gradient
    def solved(above: Any, middle: Any, below: Any, rhs: Any) -> Any:
        rows = [ops.transpose(v, permutation=front) for v in (above, middle, below)]
        right = ops.transpose(rhs, permutation=(*front, rank))
        x = ops.transpose(
            _eliminate(rows[0], rows[1], rows[2], right, pivoting), permutation=(*range(1, rank), 0, rank)
        )

        def gradient(dy: Any) -> Any:
            # the transposed matrix has the diagonals exchanged, moved to their own rows
            size = middle.dims[-1]
            up = _padded(_last(below, 1, size - 1), 0, 1)
            down = _padded(_last(above, 0, size - 1), 1, 0)
            by_rhs = _solve(up, middle, down, dy, pivoting)

            def along(v: Any) -> Any:
                return ops.negative(ops.reduce_sum(ops.multiply(by_rhs, v), axes=(rank,), keepdims=False))

            return along(_row_shift(x, -1)), along(x), along(_row_shift(x, 1)), by_rhs

        return x, gradient

    return solved(above, middle, below, rhs)


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
    """The eigenvalues, ascending, of the symmetric matrix with diagonal alpha[n] and beta[n - 1] beside it; with eigenvectors as columns
    unless eigvals_only. select: "a" all, "i" those numbered select_range[0] ... select_range[1], "v" those in (select_range[0],
    select_range[1]], whose number is a run-time extent in a traced function. tol is not used."""
    main, side = operands(alpha, beta)
    if len(main.dims) != 1 or len(side.dims) != 1 or not require_equal(main.dims[0] - 1, side.dims[0]):
        raise ShapeError(f"eigh_tridiagonal: needs alpha [n] and beta [n - 1], got {main.type} and {side.type}")
    if select not in ("a", "i", "v") or select != "a" and select_range is None:
        raise InvalidArgumentError(
            f"eigh_tridiagonal: select must be 'a', or 'i' or 'v' with a select_range, got {select!r}"
        )
    size = main.dims[0]
    matrix = ops.from_diagonal(main, rows=size, columns=size)
    for offset in (-1, 1):
        matrix = ops.add(matrix, ops.from_diagonal(side, rows=size, columns=size, offset=offset))
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


# Square roots -------------------------------------------------------------------------------------------------------
def sqrtm(input: Any, name: str | None = None) -> Tensor:
    """The matrices whose square is input (the principal root of regular matrices without negative real eigenvalues; NaN where there is
    none). float32 and float64. The iteration of Denman and Beavers (1976), scaled in its first rounds, in float64."""
    from .custom_gradients import custom_gradient

    x = convert_to_tensor(input)
    if x.dtype not in (float32, float64) or len(x.dims) < 2 or not require_equal(x.dims[-1], x.dims[-2]):
        raise ShapeError(f"sqrtm: needs square float32 or float64 matrices, got {x.type}")

    @custom_gradient
    def root(x: Any) -> Any:
        wide = x if x.dtype is float64 else ops.cast(x, dtype=float64)
        found = _denman_beavers(wide)
        y = found if x.dtype is float64 else ops.cast(found, dtype=x.dtype)

        def gradient(dy: Any) -> Any:
            # y' G + G y' = dy, as one system for the elements of G
            size = y.dims[-1]
            identity, turned = eye_like(y), transposed(y)
            left = _kronecker(identity, turned)
            right = _kronecker(y, identity)
            columns = ops.reshape(transposed(dy), shape=(*y.dims[:-2], size * size, 1))
            solved = ops.solve(ops.add(left, right), columns, adjoint=False)
            return transposed(ops.reshape(solved, shape=y.dims))

        return y, gradient

    return root(x)


def _kronecker(a: Any, b: Any) -> Any:
    """The Kronecker product of the matrices in the last two axes."""
    lead, n = a.dims[:-2], a.dims[-1]
    product_ = ops.multiply(ops.reshape(a, shape=(*lead, n, 1, n, 1)), ops.reshape(b, shape=(*lead, 1, n, 1, n)))
    return ops.reshape(product_, shape=(*lead, n * n, n * n))


def _denman_beavers(x: Any) -> Any:
    from .control_flow import while_loop

    identity = ops.add(eye_like(x), ops.multiply(x, 0))
    size = x.dims[-1]

    def inverse(m: Any) -> Any:
        return ops.solve(m, identity, adjoint=False)

    def goes_on(k: Any, y: Any, z: Any, change: Any) -> Any:
        return ops.logical_and(ops.less(k, 40), ops.greater(change, convert_to_tensor(4e-16, float64)))

    def step(k: Any, y: Any, z: Any, change: Any) -> Any:
        # the scale only hastens the first rounds; a factor of 1 later keeps the last digits
        early = ops.less(k, 4)
        size_y = (
            ops.reduce_max(ops.absolute(y), axes=(len(y.dims) - 2, len(y.dims) - 1), keepdims=True) if size != 0 else y
        )
        size_z = (
            ops.reduce_max(ops.absolute(z), axes=(len(z.dims) - 2, len(z.dims) - 1), keepdims=True) if size != 0 else z
        )
        scale = ops.sqrt(ops.sqrt(ops.divide(ops.maximum(size_z, 1e-300), ops.maximum(size_y, 1e-300))))
        scale = ops.select(early, ops.minimum(ops.maximum(scale, 1e-6), 1e6), convert_to_tensor(1.0, float64))
        y, z = ops.multiply(y, scale), ops.multiply(z, scale)
        new_y = ops.multiply(ops.add(y, inverse(z)), 0.5)
        new_z = ops.multiply(ops.add(z, inverse(y)), 0.5)
        count = product(x.dims)
        gap = ops.reshape(ops.absolute(ops.subtract(new_y, y)), shape=(count,))
        whole = ops.reshape(ops.absolute(new_y), shape=(count,))
        relative = ops.divide(
            ops.reduce_max(gap, axes=(0,), keepdims=False), ops.reduce_max(whole, axes=(0,), keepdims=False)
        )
        relative = ops.select(early, ops.maximum(relative, convert_to_tensor(1.0, float64)), relative)
        return ops.add(k, 1), new_y, new_z, relative

    one = convert_to_tensor(1.0, float64)
    _, y, _, _ = while_loop(goes_on, step, (convert_to_tensor(0, int32), x, identity, one))
    return y
