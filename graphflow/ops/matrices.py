"""What the ops of linear algebra share: checks, triangles and adjoints for their gradients, references and samples. Matrices are the last
two axes, the axes before are a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..dtypes import int32
from ..errors import DTypeError, ShapeError
from ..ir.dims import require_equal
from ..ir.op import Sample
from ..ir.types import TensorType
from .cast import cast
from .complex import conjugate, real
from .diagonal import diagonal, from_diagonal
from .generate import iota
from .gradients import constant_like
from .linear import matmul
from .samples import FLOATS, fill
from .select import select
from .shape import broadcast_to, reshape, transpose

__all__ = [
    "adjoint", "check_matrix", "diagonal_matrix", "eye_like", "gaps", "in_dtype_of", "positive_definite", "product_of", "real_diagonal",
    "reference_of", "regular", "square_samples", "triangle", "wide",
]  # fmt: skip


def check_matrix(name: str, own: TensorType, square: bool = True) -> None:
    """Raises DTypeError, ShapeError for what is not a batch of (square) float or complex matrices."""
    if not (own.dtype.is_floating or own.dtype.is_complex):
        raise DTypeError(f"{name}: needs float or complex matrices, got {own}; use gf.cast")
    if own.rank < 2:
        raise ShapeError(f"{name}: needs matrices in the last two axes, got {own}")
    if square and not require_equal(own.shape[-1], own.shape[-2]):
        raise ShapeError(f"{name}: needs square matrices, got {own} ({own.shape[-2]} and {own.shape[-1]})")


def adjoint(x: Any) -> Any:
    """The transpose of the conjugate."""
    rank = len(x.dims)
    return transpose(conjugate(x), permutation=(*range(rank - 2), rank - 1, rank - 2))


def product_of(a: Any, b: Any, adjoint_a: bool = False, adjoint_b: bool = False) -> Any:
    """The matrix product of a and b, or of their adjoints."""
    a, b = conjugate(a) if adjoint_a else a, conjugate(b) if adjoint_b else b
    return matmul(a, b, transpose_a=adjoint_a, transpose_b=adjoint_b)


def _places(x: Any) -> tuple[Any, Any]:
    """The numbers of the rows and of the columns."""
    rows, columns = x.dims[-2:]
    return (
        reshape(iota(shape=(rows,), axis=0, dtype=int32), shape=(rows, 1)),
        reshape(iota(shape=(columns,), axis=0, dtype=int32), shape=(1, columns)),
    )


def triangle(x: Any, lower: bool, factor: float = 1.0) -> Any:
    """The lower (upper) triangle of x, its diagonal times `factor`, 0 elsewhere."""
    from .comparison import equal

    i, j = _places(x)
    inner = select(i > j if lower else i < j, x, constant_like(0, x))
    return inner if factor == 0 else select(equal(i, j), x * factor if factor != 1 else x, inner)


def real_diagonal(x: Any) -> Any:
    """Square matrices with the real parts of x's diagonals, 0 elsewhere."""
    found = diagonal(x)
    return diagonal_matrix(real(found) if found.dtype.is_complex else found, x)


def in_dtype_of(x: Any, like: Any) -> Any:
    """x, real, in the dtype of complex matrices that it is a factor of."""
    return x if x.dtype is like.dtype else cast(x, dtype=like.dtype)


def diagonal_matrix(values: Any, like: Any) -> Any:
    """Square matrices of like's dtype with the values on their diagonals."""
    n = values.dims[-1]
    return from_diagonal(in_dtype_of(values, like), rows=n, columns=n)


def eye_like(x: Any) -> Any:
    """The unit matrices of x's shape."""
    n = x.dims[-1]
    matrix = from_diagonal(broadcast_to(constant_like(1, x), shape=(n,)), rows=n, columns=n)
    return broadcast_to(matrix, shape=x.dims) if len(x.dims) > 2 else matrix


def gaps(values: Any) -> Any:
    """1 / (values[j] - values[i]) at [i, j], 0 where the two are equal (on the diagonal above all)."""
    from .comparison import equal

    n = values.dims[-1]
    lead = values.dims[:-1]
    difference = reshape(values, shape=(*lead, 1, n)) - reshape(values, shape=(*lead, n, 1))
    zero, one = constant_like(0, difference), constant_like(1, difference)
    same = equal(difference, zero)
    return select(same, zero, one / select(same, one, difference))


# References and samples -----------------------------------------------------------------------------------------------
def wide(x: Any) -> Any:
    """An array in double precision."""
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def reference_of(function: Callable[..., Any]) -> Any:
    """A NumPy function in double precision, its results in x's dtype, or that of its parts."""

    def reference(x: Any, **attributes: Any) -> Any:
        found = function(wide(x), **attributes)
        whole = np.result_type(x.dtype, np.complex64)
        kinds = {"f": x.real.dtype, "c": whole}
        several = found if isinstance(found, tuple) else (found,)
        narrow = tuple(np.asarray(f).astype(kinds.get(np.asarray(f).dtype.kind, f.dtype)) for f in several)
        return narrow if isinstance(found, tuple) else narrow[0]

    return reference


def positive_definite(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    """A sample matrix that a Cholesky factorisation takes."""
    a = fill(shape, "float64", -1, 1, seed)
    return (a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1]) * shape[-1]).astype(dtype)


def regular(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    """A sample matrix that is far from singular."""
    return (fill(shape, "float64", -1, 1, seed) + 2 * np.eye(shape[-2], shape[-1])).astype(dtype)


_SHAPES = ((3, 3), (1, 1), (2, 4, 4), (0, 3, 3), (2, 0, 0))


def square_samples(make: Any, gradient: bool = True) -> Any:
    """gradient=False where the gradient is symmetric, or of vectors, which are known up to their sign: tests/linalg looks at those."""

    def samples() -> list[Sample]:
        found = [
            Sample((make(shape, d, seed),), gradient=gradient) for d in FLOATS for seed, shape in enumerate(_SHAPES)
        ]
        found.append(Sample((fill((2, 3), "float32"),), error=ShapeError))
        found.append(Sample((fill((3,), "float32"),), error=ShapeError))
        found.append(Sample((fill((3, 3), "int32"),), error=DTypeError))
        return found

    return samples
