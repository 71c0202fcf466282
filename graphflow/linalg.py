"""gf.linalg: products of matrices and vectors, norms, and small matrix helpers. Matrices are the last two axes, the axes before are a
batch. Errors are those of graphflow.functions."""

from __future__ import annotations

import functools
from typing import Any

from . import ops
from .arguments import guard
from .dtypes import as_dtype, float32, int32
from .errors import InvalidArgumentError, ShapeError
from .functions.clipping import global_norm
from .functions.einstein import einsum
from .functions.factorisations import *  # noqa: F403
from .functions.factorisations import __all__ as _factorisations
from .functions.matrix_functions import *  # noqa: F403
from .functions.matrix_functions import __all__ as _functions
from .functions.reductions import reduce_max, reduce_sum, zeros_of
from .functions.runtime_extent import as_extent, as_extents
from .functions.tridiagonal import *  # noqa: F403
from .functions.tridiagonal import __all__ as _tridiagonals
from .ir.dims import dim_max, product, require_equal
from .math import cast, conj, l2_normalize
from .ops.matrices import in_dtype_of
from .ops.rules import equal_shapes, integer, normalize_axis
from .tensor import Tensor, as_dim, as_shape, convert_to_tensor, operands

__all__ = [
    "band_part", "diag", "diag_part", "einsum", "eye", "global_norm", "l2_normalize", "matmul", "matrix_transpose", "matvec", "norm",
    "normalize", "set_diag", "tensor_diag", "tensor_diag_part", "tensordot", "trace", *_factorisations, *_functions, *_tridiagonals,
]  # fmt: skip


matrix_square_root = sqrtm  # noqa: F405


def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    output_type: Any = None,
    grad_a: bool = False,
    grad_b: bool = False,
    name: str | None = None,
) -> Tensor:
    """The matrix product over the last two axes; batch axes broadcast. transpose_* and adjoint_* (the same for real
    numbers) swap the last two axes first. Operands of rank 2 or more and one dtype: ShapeError, DTypeError. output_type: the
    result's dtype; one that is wider than the operands' is computed with too (float16 to float32, int8 to int32)."""
    if transpose_a and adjoint_a or transpose_b and adjoint_b:
        raise InvalidArgumentError("matmul: give transpose or adjoint for an operand, not both")
    a, b = operands(a, b)
    a, b = (conj(t) if adjoint and t.dtype.is_complex else t for t, adjoint in ((a, adjoint_a), (b, adjoint_b)))
    ta, tb = bool(transpose_a or adjoint_a), bool(transpose_b or adjoint_b)
    wanted = a.dtype if output_type is None else as_dtype(output_type)
    own = a.dtype
    widens = own.itemsize < wanted.itemsize and (wanted.is_floating or wanted.is_integer and own.is_integer)
    if own is b.dtype and widens:
        a, b = ops.cast(a, dtype=wanted), ops.cast(b, dtype=wanted)
    result = ops.matmul(a, b, transpose_a=ta, transpose_b=tb)
    return result if result.dtype is wanted else ops.cast(result, dtype=wanted)


def matvec(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    adjoint_a: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Tensor:
    """The product of a matrix [..., m, n] and a vector [..., n]: [..., m]. Batch axes broadcast."""
    a, b = operands(a, b)
    if not b.dims:
        raise ShapeError(f"matvec: needs a vector, got {b.type}")
    result = matmul(a, ops.reshape(b, shape=(*b.dims, 1)), transpose_a=transpose_a, adjoint_a=adjoint_a)
    return ops.reshape(result, shape=result.dims[:-1])


def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Tensor:
    """a with its last two axes swapped, and conjugated if asked for."""
    a = convert_to_tensor(a)
    rank = len(a.dims)
    if rank < 2:
        raise ShapeError(f"matrix_transpose: needs rank 2 or more, got {a.type}")
    turned = ops.transpose(a, permutation=(*range(rank - 2), rank - 1, rank - 2))
    return conj(turned) if conjugate else turned


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Tensor:
    """Products summed over axes: an int n (the last n of a, the first n of b), or a pair of axes or lists of axes.
    The result has the other axes of a, then those of b."""
    a, b = operands(a, b)
    left, right = _contracted(axes, len(a.dims), len(b.dims))
    for i, j in zip(left, right, strict=True):
        if not require_equal(a.dims[i], b.dims[j]):
            raise ShapeError(
                f"tensordot: axis {i} of {a.type} and axis {j} of {b.type} differ ({a.dims[i]} and {b.dims[j]})"
            )
    kept_a = [i for i in range(len(a.dims)) if i not in left]
    kept_b = [j for j in range(len(b.dims)) if j not in right]
    rows, columns = tuple(a.dims[i] for i in kept_a), tuple(b.dims[j] for j in kept_b)
    inner = product(a.dims[i] for i in left)
    matrix_a = ops.reshape(_ordered(a, (*kept_a, *left)), shape=(product(rows), inner))
    matrix_b = ops.reshape(_ordered(b, (*right, *kept_b)), shape=(inner, product(columns)))
    return ops.reshape(matmul(matrix_a, matrix_b), shape=(*rows, *columns))


def _ordered(x: Any, order: tuple[int, ...]) -> Any:
    return x if order == tuple(range(len(order))) else ops.transpose(x, permutation=order)


def _contracted(axes: Any, rank_a: int, rank_b: int) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        if not 0 <= axes <= min(rank_a, rank_b):
            raise InvalidArgumentError(f"tensordot: axes must be 0..{min(rank_a, rank_b)}, got {axes}")
        return list(range(rank_a - axes, rank_a)), list(range(axes))
    left, right = ([side] if isinstance(side, int) else list(side) for side in axes)
    if len(left) != len(right):
        raise InvalidArgumentError(f"tensordot: needs as many axes of a as of b, got {left} and {right}")
    return [normalize_axis("tensordot", i, rank_a) for i in left], [
        normalize_axis("tensordot", j, rank_b) for j in right
    ]


def norm(
    tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: bool | None = None, name: str | None = None
) -> Tensor:
    """The norm over axis (None: of all elements). ord: "euclidean", "fro" or 2 (root of the sum of squares), 1,
    np.inf, or another positive number p. Over a pair of axes: "euclidean" and "fro", 1 (largest column sum), 2
    (largest singular value) and np.inf (largest row sum). Floats and complex numbers, of which "euclidean", "fro" and 2 over
    one axis give a complex tensor with imaginary parts 0, the others a real one."""
    x = convert_to_tensor(tensor)
    keep = bool(keepdims)
    is_matrix = isinstance(axis, (list, tuple)) and len(axis) == 2
    if ord in ("euclidean", "fro") or ord == 2 and not is_matrix:
        if ord == "fro" and not is_matrix:
            raise InvalidArgumentError("norm: ord 'fro' needs a pair of axes")
        return ops.sqrt(reduce_sum(ops.multiply(x, conj(x)) if x.dtype.is_complex else ops.square(x), axis, keep))
    size = ops.absolute(x)
    if is_matrix:
        row, column = (normalize_axis("norm", a, len(x.dims)) for a in axis)
        if ord not in (1, 2, float("inf")):
            raise InvalidArgumentError(
                f"norm: over two axes ord must be 'euclidean', 'fro', 1, 2 or np.inf, got {ord!r}"
            )
        if row == column:
            raise InvalidArgumentError(f"norm: the two axes must differ, got {list(axis)}")
        if ord == 2:
            rest = [a for a in range(len(x.dims)) if a not in (row, column)]
            values = ops.svd(ops.transpose(x, permutation=(*rest, row, column)), full_matrices=False)[0]
            result = reduce_max(values, -1)
            if not keep:
                return result
            return ops.reshape(result, shape=tuple(1 if a in (row, column) else d for a, d in enumerate(x.dims)))
        summed, largest = (row, column) if ord == 1 else (column, row)
        result = reduce_max(reduce_sum(size, summed, True), largest, True)
        return (
            result
            if keep
            else ops.reshape(result, shape=tuple(d for a, d in enumerate(x.dims) if a not in (row, column)))
        )
    if isinstance(ord, str) or not ord > 0:
        raise InvalidArgumentError(f"norm: ord must be 'euclidean' or a positive number, got {ord!r}")
    if ord == float("inf"):
        return reduce_max(size, axis, keep)
    if ord == 1:
        return reduce_sum(size, axis, keep)
    return ops.pow_(reduce_sum(ops.pow_(size, float(ord)), axis, keep), 1.0 / ord)


def normalize(tensor: Any, ord: Any = "euclidean", axis: Any = None, name: str | None = None) -> tuple[Tensor, Tensor]:
    """(tensor / its norm over axis, the norm with kept axes)."""
    x = convert_to_tensor(tensor)
    length = norm(x, ord, axis, keepdims=True)
    return ops.divide(x, in_dtype_of(length, x)), length


def eye(
    num_rows: Any, num_columns: Any = None, batch_shape: Any = None, dtype: Any = float32, name: str | None = None
) -> Tensor:
    """Ones on the diagonal of a [num_rows, num_columns] matrix (square unless given), repeated over batch_shape."""
    rows = as_extent(num_rows)
    columns = rows if num_columns is None else as_extent(num_columns)
    extents = (rows, columns)
    hits = ops.equal(ops.iota(shape=extents, axis=0, dtype=int32), ops.iota(shape=extents, axis=1, dtype=int32))
    matrix = cast(hits, dtype)
    return matrix if batch_shape is None else ops.broadcast_to(matrix, shape=(*as_extents(batch_shape), *extents))


def trace(x: Any, name: str | None = None) -> Tensor:
    """The sum of the diagonal of the last two axes."""
    return reduce_sum(ops.diagonal(convert_to_tensor(x)), -1)


def band_part(input: Any, num_lower: Any, num_upper: Any, name: str | None = None) -> Tensor:
    """The matrices of the last two axes with zeros outside a band: num_lower diagonals below the main one and
    num_upper above are kept; a negative number keeps all of them."""
    x = convert_to_tensor(input)
    if len(x.dims) < 2:
        raise ShapeError(f"band_part: needs rank 2 or more, got {x.type}")
    extents = x.dims[-2:]
    below = ops.subtract(ops.iota(shape=extents, axis=0, dtype=int32), ops.iota(shape=extents, axis=1, dtype=int32))
    kept = None
    for distance, limit in (
        (below, integer("band_part", "num_lower", num_lower)),
        (ops.negative(below), integer("band_part", "num_upper", num_upper)),
    ):
        if limit >= 0:
            own = ops.less_equal(distance, limit)
            kept = own if kept is None else ops.logical_and(kept, own)
    return x if kept is None else ops.select(kept, x, zeros_of(x))


# Diagonals ----------------------------------------------------------------------------------------------------------
def _offsets(name: str, k: Any) -> tuple[int, int]:
    values = [int(v) for v in (as_shape(k) if not isinstance(k, int) else (k,))]  # type: ignore[arg-type]
    if len(values) not in (1, 2) or values[0] > values[-1]:
        raise InvalidArgumentError(f"{name}: k must be one diagonal or a (lowest, highest) pair, got {k!r}")
    return values[0], values[-1]


def _alignment(name: str, align: str) -> tuple[bool, bool]:
    """Are the superdiagonals (subdiagonals) aligned to the left?"""
    if align not in ("LEFT_RIGHT", "RIGHT_LEFT", "LEFT_LEFT", "RIGHT_RIGHT"):
        raise InvalidArgumentError(
            f"{name}: align must be LEFT_RIGHT, RIGHT_LEFT, LEFT_LEFT or RIGHT_RIGHT, got {align!r}"
        )
    above, below = align.split("_")
    return above == "LEFT", below == "LEFT"


def diag_part(
    input: Any, name: str = "diag_part", k: Any = 0, padding_value: Any = 0, align: str = "RIGHT_LEFT"
) -> Tensor:
    """The diagonal k of each matrix, or a band of diagonals k = (lowest, highest), the highest first, shorter ones padded and
    aligned as `align` says (superdiagonals, then subdiagonals)."""
    x = convert_to_tensor(input)
    low, high = _offsets("diag_part", k)
    if low == high:
        return ops.diagonal(x, offset=low)
    left_above, left_below = _alignment("diag_part", align)
    rows = [ops.diagonal(x, offset=offset) for offset in range(high, low - 1, -1)]
    lengths = [row.dims[-1] for row in rows]
    longest = functools.reduce(dim_max, lengths)
    padded = []
    for offset, row in zip(range(high, low - 1, -1), rows, strict=True):
        missing = longest - row.dims[-1]
        left = left_above if offset >= 0 else left_below
        pads = (0, missing) if left else (missing, 0)
        lead = ((0, 0),) * (len(row.dims) - 1)
        wide = ops.pad(row, paddings=(*lead, pads), mode="constant", constant=padding_value) if missing != 0 else row
        padded.append(ops.reshape(wide, shape=(*wide.dims[:-1], 1, longest)))
    return ops.concat(*padded, axis=len(x.dims) - 2)


def diag(
    diagonal: Any,
    name: str = "diag",
    k: Any = 0,
    num_rows: int = -1,
    num_cols: int = -1,
    padding_value: Any = 0,
    align: str = "RIGHT_LEFT",
) -> Tensor:
    """Matrices with the last axis of `diagonal` on diagonal k (its last two axes on a band of diagonals, the highest first), and
    padding_value elsewhere; square, and as small as can be, unless num_rows or num_cols say otherwise."""
    x = convert_to_tensor(diagonal)
    low, high = _offsets("diag", k)
    rows, columns = _extents_of(x.dims[-1], low, high, as_dim(num_rows), as_dim(num_cols))
    found = _placed(x, rows, columns, low, high, align)
    if isinstance(padding_value, (int, float)) and padding_value == 0:
        return found
    return ops.select(_in_band(rows, columns, low, high), found, convert_to_tensor(padding_value, x.dtype))


def _extents_of(longest: Any, low: int, high: int, num_rows: Any, num_columns: Any) -> tuple[Any, Any]:
    more_rows, more_columns = max(-high, 0), max(low, 0)  # than the longest diagonal of the band has elements
    if num_rows == -1 and num_columns == -1:
        size = longest + max(more_rows, more_columns)
        return size, size
    return (longest + more_rows if num_rows == -1 else num_rows), (
        longest + more_columns if num_columns == -1 else num_columns
    )


def _in_band(rows: Any, columns: Any, low: int, high: int) -> Any:
    extents = (rows, columns)
    distance = ops.subtract(ops.iota(shape=extents, axis=1, dtype=int32), ops.iota(shape=extents, axis=0, dtype=int32))
    return ops.logical_and(ops.greater_equal(distance, low), ops.less_equal(distance, high))


def _placed(x: Any, rows: Any, columns: Any, low: int, high: int, align: str) -> Any:
    """Zeros with diagonals put in."""
    from .ops.diagonal import diagonal_length

    if low == high:
        return ops.from_diagonal(x, rows=rows, columns=columns, offset=low)
    left_above, left_below = _alignment("diag", align)
    rank, total = len(x.dims), None
    for place, offset in enumerate(range(high, low - 1, -1)):
        length = diagonal_length(rows, columns, offset)
        left = left_above if offset >= 0 else left_below
        first = 0 if left else x.dims[-1] - length
        begin = (*(0,) * (rank - 2), place, first)
        row = ops.strided_slice(x, begin=begin, sizes=(*x.dims[:-2], 1, length), strides=(1,) * rank)
        row = ops.reshape(row, shape=(*x.dims[:-2], length))
        own = ops.from_diagonal(row, rows=rows, columns=columns, offset=offset)
        total = own if total is None else ops.add(total, own)
    return total


def set_diag(input: Any, diagonal: Any, name: str = "set_diag", k: Any = 0, align: str = "RIGHT_LEFT") -> Tensor:
    """The matrices of input with diagonal k (a band of diagonals) replaced."""
    x, new = operands(input, diagonal)
    low, high = _offsets("set_diag", k)
    rows, columns = x.dims[-2:]
    return ops.select(_in_band(rows, columns, low, high), _placed(new, rows, columns, low, high, align), x)


def tensor_diag(diagonal: Any, name: str | None = None) -> Tensor:
    """Zeros of shape diagonal.shape + diagonal.shape with `diagonal` where both halves of the position are equal."""
    x = convert_to_tensor(diagonal)
    count = product(x.dims)
    matrix = ops.from_diagonal(ops.reshape(x, shape=(count,)), rows=count, columns=count)
    return ops.reshape(matrix, shape=(*x.dims, *x.dims))


def tensor_diag_part(input: Any, name: str | None = None) -> Tensor:
    """The elements of input[s + s] where both halves of the position are equal."""
    x = convert_to_tensor(input)
    half = len(x.dims) // 2
    if len(x.dims) % 2 or not equal_shapes(x.dims[:half], x.dims[half:]):
        raise ShapeError(f"tensor_diag_part: needs a shape that is one half twice, got {x.type}")
    count = product(x.dims[:half])
    return ops.reshape(ops.diagonal(ops.reshape(x, shape=(count, count))), shape=x.dims[:half])


guard("gf.linalg", globals(), __all__)
