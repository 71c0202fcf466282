"""gf.linalg: factorisations, systems of equations, determinants and what follows from them. Names, argument order and defaults are
TensorFlow's; `name` is accepted for its sake and not used. Matrices are the last two axes, the axes before are a batch.

float32, float64, complex64 and complex128; float16 and bfloat16 are computed in float32. Where a docstring says A', it is the transpose
of a real and the adjoint of a complex matrix. A singular or indefinite matrix raises MatrixError (a ValueError) that names its place
in the batch. Batch axes of the operands of a system broadcast. docs/complex.md says what NaN and infinities give.
"""

from __future__ import annotations

import functools
from typing import Any

from .. import ops
from ..dtypes import as_dtype, int32, int64
from ..errors import DTypeError, ShapeError
from ..ir.dims import require_equal
from ..ops.decompositions import permuted
from ..ops.gradients import extent
from ..ops.matrices import adjoint as transposed
from ..ops.matrices import check_matrix, eye_like, in_dtype_of, product_of, triangle
from ..ops.reduction import reduce_in_steps
from ..ops.rules import equal_shapes
from ..tensor import Tensor, convert_to_tensor, operands

__all__ = [
    "adjoint", "cholesky", "cholesky_solve", "cross", "det", "eig", "eigh", "eigvals", "eigvalsh", "inv", "logdet", "lstsq", "lu",
    "lu_matrix_inverse", "lu_reconstruct", "lu_solve", "matrix_rank", "pinv", "qr", "slogdet", "solve", "svd", "triangular_solve",
]  # fmt: skip


def matrices(name: str, *values: Any) -> list[Any]:
    """The operands as tensors of float or complex matrices. Raises ShapeError, DTypeError."""
    found = operands(*values)
    for x in found:
        if len(x.dims) < 2:
            raise ShapeError(f"{name}: needs matrices in the last two axes, got {x.type}")
        if not (x.dtype.is_floating or x.dtype.is_complex):
            raise DTypeError(f"{name}: needs floats or complex numbers, got {x.type}; use gf.cast")
    return list(found)


def _same_batch(a: Any, b: Any) -> tuple[Any, Any]:
    """Both with the batch axes that they broadcast to."""
    from ..ops.rules import broadcast_shapes

    lead = broadcast_shapes("linalg", [t.type.with_shape(t.dims[:-2]) for t in (a, b)])
    a, b = (t if t.dims[:-2] == lead else ops.broadcast_to(t, shape=(*lead, *t.dims[-2:])) for t in (a, b))
    return a, b


def adjoint(matrix: Any, name: str | None = None) -> Tensor:
    """The transpose (of the conjugate) of each matrix."""
    x = convert_to_tensor(matrix)
    if len(x.dims) < 2:
        raise ShapeError(f"adjoint: needs matrices in the last two axes, got {x.type}")
    return transposed(x)


# Systems of equations -----------------------------------------------------------------------------------------------
def cholesky(input: Any, name: str | None = None) -> Tensor:
    """The lower triangular L with L L' = input (symmetric positive definite; only its lower triangle is read)."""
    (x,) = matrices("cholesky", input)
    return ops.cholesky(x)


def cholesky_solve(chol: Any, rhs: Any, name: str | None = None) -> Tensor:
    """X with A X = rhs, given chol, the Cholesky factor of A."""
    factor, right = _same_batch(*matrices("cholesky_solve", chol, rhs))
    first = ops.triangular_solve(factor, right, lower=True, adjoint=False)
    return ops.triangular_solve(factor, first, lower=True, adjoint=True)


def solve(matrix: Any, rhs: Any, adjoint: bool = False, name: str | None = None) -> Tensor:
    """X with matrix X = rhs (matrix' X = rhs, if adjoint)."""
    a, b = _same_batch(*matrices("solve", matrix, rhs))
    return ops.solve(a, b, adjoint=bool(adjoint))


def triangular_solve(
    matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False, name: str | None = None
) -> Tensor:
    """X with T X = rhs, T the lower (upper) triangle of matrix (its transpose, if adjoint)."""
    a, b = _same_batch(*matrices("triangular_solve", matrix, rhs))
    return ops.triangular_solve(a, b, lower=bool(lower), adjoint=bool(adjoint))


def inv(input: Any, adjoint: bool = False, name: str | None = None) -> Tensor:
    """The inverse of each matrix (of its transpose, if adjoint)."""
    (x,) = matrices("inv", input)
    check_matrix("inv", x.type)
    return ops.solve(x, eye_like(x), adjoint=bool(adjoint))


def lstsq(matrix: Any, rhs: Any, l2_regularizer: float = 0.0, fast: bool = True, name: str | None = None) -> Tensor:
    """X with the least |matrix X - rhs|^2 + l2_regularizer |X|^2; of least norm where there are more columns than rows.

    fast: through the normal equations and their Cholesky factor (for matrices of full rank). Otherwise through the singular values,
    for any rank, as for pinv, without l2_regularizer.
    """
    a, b = _same_batch(*matrices("lstsq", matrix, rhs))
    rows, columns = a.dims[-2:]
    if not fast:
        return ops.matmul(pinv(a), b)
    if isinstance(rows, int) and isinstance(columns, int):
        return _normal_equations(a, b, l2_regularizer, rows >= columns)
    from .control_flow import cond

    is_tall = ops.greater_equal(extent(a, len(a.dims) - 2, int64), extent(a, len(a.dims) - 1, int64))
    tall, wide = (functools.partial(_normal_equations, a, b, l2_regularizer, kind) for kind in (True, False))
    return cond(is_tall, tall, wide)


def _normal_equations(a: Any, b: Any, l2_regularizer: float, tall: bool) -> Any:
    gram = product_of(a, a, adjoint_a=tall, adjoint_b=not tall)
    if l2_regularizer:
        gram = ops.add(gram, ops.multiply(eye_like(gram), float(l2_regularizer)))
    factor = ops.cholesky(gram)
    if tall:
        return cholesky_solve(factor, product_of(a, b, adjoint_a=True))
    return product_of(a, cholesky_solve(factor, b), adjoint_a=True)


# Determinants -------------------------------------------------------------------------------------------------------
def det(input: Any, name: str | None = None) -> Tensor:
    """The determinant of each matrix; 0 where it is singular (and then it has no gradient: MatrixError)."""
    (x,) = matrices("det", input)
    return ops.determinant(x)


def slogdet(input: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
    """(sign, log |det|) of each matrix, both of its dtype: 0 and -inf where it is singular."""
    (x,) = matrices("slogdet", input)
    return ops.slogdet(x)


def logdet(matrix: Any, name: str | None = None) -> Tensor:
    """log det of a symmetric (Hermitian) positive definite matrix, from its Cholesky factor; real."""
    (x,) = matrices("logdet", matrix)
    diagonal = ops.diagonal(ops.cholesky(x))
    diagonal = ops.real(diagonal) if x.dtype.is_complex else diagonal
    return ops.multiply(ops.reduce_sum(ops.log(diagonal), axes=(len(x.dims) - 2,), keepdims=False), 2.0)


# Factors ------------------------------------------------------------------------------------------------------------
def lu(input: Any, output_idx_type: Any = int32, name: str | None = None) -> tuple[Tensor, Tensor]:
    """(lu, p): the unit lower and the upper triangle in one matrix, and the row of the input that each row of L U is. A singular matrix
    raises MatrixError."""
    (x,) = matrices("lu", input)
    factors, order = ops.lu(x)
    kind = as_dtype(output_idx_type)
    return factors, order if kind is int32 else ops.cast(order, dtype=kind)


def lu_solve(lower_upper: Any, perm: Any, rhs: Any, validate_args: bool = False, name: str | None = None) -> Tensor:
    """X with A X = rhs, given lu(A)."""
    factors, right = _same_batch(*matrices("lu_solve", lower_upper, rhs))
    order = convert_to_tensor(perm)
    order = order if order.dims == right.dims[:-1] else ops.broadcast_to(order, shape=right.dims[:-1])
    unit = ops.add(triangle(factors, True, 0.0), eye_like(factors))
    first = ops.triangular_solve(unit, permuted(right, order), lower=True, adjoint=False)
    return ops.triangular_solve(factors, first, lower=False, adjoint=False)


def lu_reconstruct(lower_upper: Any, perm: Any, validate_args: bool = False, name: str | None = None) -> Tensor:
    """A, given lu(A)."""
    (factors,) = matrices("lu_reconstruct", lower_upper)
    unit = ops.add(triangle(factors, True, 0.0), eye_like(factors))
    order = convert_to_tensor(perm)
    back = ops.argsort(order, descending=False)
    return permuted(ops.matmul(unit, triangle(factors, False)), back)


def lu_matrix_inverse(lower_upper: Any, perm: Any, validate_args: bool = False, name: str | None = None) -> Tensor:
    """The inverse of A, given lu(A)."""
    (factors,) = matrices("lu_matrix_inverse", lower_upper)
    return lu_solve(factors, perm, eye_like(factors))


def qr(input: Any, full_matrices: bool = False, name: str | None = None) -> tuple[Tensor, Tensor]:
    """(q, r): orthonormal columns and an upper triangle with q r = input."""
    (x,) = matrices("qr", input)
    return ops.qr(x, full_matrices=bool(full_matrices))


def svd(tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: str | None = None) -> Any:
    """(s, u, v) with u diag(s) v' = tensor, singular values in descending order, real; s alone, unless compute_uv."""
    (x,) = matrices("svd", tensor)
    found = ops.svd(x, full_matrices=bool(full_matrices and compute_uv))
    return found if compute_uv else found[0]


def eigh(tensor: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
    """(e, v): eigenvalues in ascending order and eigenvectors (columns) of symmetric (Hermitian) matrices, whose lower triangle is read.
    e has the matrices' dtype: of complex ones it is complex, with imaginary parts 0."""
    (x,) = matrices("eigh", tensor)
    e, v = ops.eigh(x)
    return in_dtype_of(e, v), v


def eigvalsh(tensor: Any, name: str | None = None) -> Tensor:
    """The eigenvalues of symmetric (Hermitian) matrices in ascending order, in the matrices' dtype."""
    return eigh(tensor)[0]


def eig(tensor: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
    """(e, v): eigenvalues and eigenvectors (columns of length 1 whose largest element is real) of square matrices, complex for real ones
    too, in LAPACK's order. Differentiable where the eigenvalues are distinct and the loss does not depend on the vectors' phases."""
    (x,) = matrices("eig", tensor)
    return ops.eig(x)


def eigvals(tensor: Any, name: str | None = None) -> Tensor:
    """The eigenvalues of square matrices, complex, in the order of eig."""
    return eig(tensor)[0]


# What follows from the singular values -------------------------------------------------------------------------------
def epsilon(dtype: Any) -> float:
    """The distance from 1 to the next number of a float or complex dtype."""
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype.numpy).eps)


def _resolution(x: Any, s: Any) -> Any:
    """The larger extent times eps: what is below it, relative to the largest singular value, is rounding."""
    rows, columns = (extent(x, axis, s.dtype) for axis in (len(x.dims) - 2, len(x.dims) - 1))
    return ops.multiply(ops.maximum(rows, columns), epsilon(s.dtype))


def _limit(s: Any, rcond: Any) -> Any:
    """What singular values count as 0 up to: rcond (one, or one for each matrix) times the largest."""
    largest = reduce_in_steps(ops.reduce_max, s, (len(s.dims) - 1,), keepdims=True)
    part = convert_to_tensor(rcond, s.dtype)
    return ops.multiply(largest, ops.reshape(part, shape=(*part.dims, 1)) if part.dims else part)


def pinv(a: Any, rcond: Any = None, validate_args: bool = False, name: str | None = None) -> Tensor:
    """The Moore-Penrose inverse; singular values up to rcond times the largest count as 0."""
    (x,) = matrices("pinv", a)
    s, u, v = ops.svd(x, full_matrices=False)
    zero = ops.less_equal(s, _limit(s, ops.multiply(_resolution(x, s), 10.0) if rcond is None else rcond))
    one = convert_to_tensor(1.0, s.dtype)
    inverse = ops.select(zero, convert_to_tensor(0.0, s.dtype), ops.divide(one, ops.select(zero, one, s)))
    inverse = in_dtype_of(ops.reshape(inverse, shape=(*s.dims[:-1], 1, s.dims[-1])), v)
    return product_of(ops.multiply(v, inverse), u, adjoint_b=True)


def matrix_rank(a: Any, tol: Any = None, validate_args: bool = False, name: str | None = None) -> Tensor:
    """How many singular values are above tol (eps times the larger extent times the largest one), as int32. 0 for a matrix that is not
    finite."""
    (x,) = matrices("matrix_rank", a)
    s = ops.svd(x, full_matrices=False)[0]
    limit = _limit(s, _resolution(x, s)) if tol is None else convert_to_tensor(tol, s.dtype)
    counted = ops.cast(ops.greater(s, limit), dtype=int32)
    return ops.reduce_sum(counted, axes=(len(s.dims) - 1,), keepdims=False)


def _column(x: Any, k: int) -> Any:
    """x[..., k]."""
    rank = len(x.dims)
    part = ops.strided_slice(x, begin=(*(0,) * (rank - 1), k), sizes=(*x.dims[:-1], 1), strides=(1,) * rank)
    return ops.reshape(part, shape=x.dims[:-1])


def cross(a: Any, b: Any, name: str | None = None) -> Tensor:
    """The cross product of the vectors of three elements in the last axis."""
    a, b = operands(a, b)
    if not a.dims or not require_equal(a.dims[-1], 3) or not equal_shapes(a.dims, b.dims):
        raise ShapeError(f"cross: needs two equal shapes whose last extent is 3, got {a.type} and {b.type}")
    (a0, a1, a2), (b0, b1, b2) = ([_column(t, k) for k in range(3)] for t in (a, b))
    parts = (
        ops.subtract(ops.multiply(a1, b2), ops.multiply(a2, b1)),
        ops.subtract(ops.multiply(a2, b0), ops.multiply(a0, b2)),
        ops.subtract(ops.multiply(a0, b1), ops.multiply(a1, b0)),
    )
    return ops.concat(*(ops.reshape(p, shape=(*p.dims, 1)) for p in parts), axis=len(a.dims) - 1)
