"""Factorisations of the matrices in the last two axes, and systems of equations. The kernels call LAPACK; see docs/kernels.md.

Gradients: Giles (2008), "An extended collection of matrix derivative results for forward and reverse mode automatic differentiation"; the
Cholesky factor's is Murray (2016), "Differentiation of the Cholesky decomposition"; the QR factors' Walter and Lehmann (2018),
"Algorithmic differentiation of linear algebra functions".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import int32
from ..errors import DTypeError, InvalidArgumentError, ShapeError, UnimplementedError
from ..ir.dims import dim_min, require_equal
from ..ir.op import Library, Op, Sample, define_op
from ..ir.types import TensorType
from .diagonal import from_diagonal
from .generate import iota
from .gradients import constant_like
from .linear import matmul
from .reduction import reduce_sum
from .rules import equal_shapes, same_dtype
from .samples import FLOATS, fill
from .select import select
from .shape import broadcast_to, reshape, transpose

__all__ = [
    "cholesky",
    "determinant",
    "eigh",
    "eye_like",
    "lu",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "triangle",
    "triangular_solve",
]


def _check_matrix(name: str, own: TensorType, square: bool = True) -> None:
    if not own.dtype.is_floating:
        if own.dtype.is_complex:
            raise UnimplementedError(
                f"{name}: complex matrices are not factored yet, got {own}; write the system in real parts"
            )
        raise DTypeError(f"{name}: needs float matrices, got {own}; use gf.cast")
    if own.rank < 2:
        raise ShapeError(f"{name}: needs matrices in the last two axes, got {own}")
    if square and not require_equal(own.shape[-1], own.shape[-2]):
        raise ShapeError(f"{name}: needs square matrices, got {own} ({own.shape[-2]} and {own.shape[-1]})")


def adjoint(x: Any) -> Any:
    """x with its last two axes exchanged."""
    rank = len(x.dims)
    return transpose(x, permutation=(*range(rank - 2), rank - 1, rank - 2))


def triangle(x: Any, lower: bool, diagonal: float = 1.0) -> Any:
    """The lower (upper) triangle of x, its diagonal times `diagonal`, 0 elsewhere."""
    rows, columns = x.dims[-2:]
    i = reshape(iota(shape=(rows,), axis=0, dtype=int32), shape=(rows, 1))
    j = reshape(iota(shape=(columns,), axis=0, dtype=int32), shape=(1, columns))
    zero = constant_like(0, x)
    inner = select(i > j if lower else i < j, x, zero)
    return inner if diagonal == 0 else select(equal_places(i, j), x * diagonal if diagonal != 1 else x, inner)


def equal_places(i: Any, j: Any) -> Any:
    """Where a row's number is the column's."""
    from .comparison import equal

    return equal(i, j)


def _reference(function: Any, count: int = 1) -> Any:
    """A NumPy function in float64, its results in x's dtype."""

    def reference(x: Any, **attributes: Any) -> Any:
        found = function(x.astype(np.float64), **attributes)
        return (
            tuple(f.astype(x.dtype) if f.dtype.kind == "f" else f for f in found)
            if count > 1
            else found.astype(x.dtype)
        )

    return reference


def positive_definite(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    """A sample matrix that a Cholesky factorisation takes."""
    a = fill(shape, "float64", -1, 1, seed)
    return (a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1]) * shape[-1]).astype(dtype)


def regular(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Any:
    """A sample matrix that is far from singular."""
    return (fill(shape, "float64", -1, 1, seed) + 2 * np.eye(shape[-2], shape[-1])).astype(dtype)


_SHAPES = ((3, 3), (1, 1), (2, 4, 4), (0, 3, 3), (2, 0, 0))


def _square_samples(make: Any, gradient: bool = True) -> Any:
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


# Cholesky -----------------------------------------------------------------------------------------------------------
def _infer_square(name: str) -> Any:
    def infer(types: tuple[TensorType, ...]) -> TensorType:
        _check_matrix(name, types[0])
        return types[0]

    return infer


def _cholesky_gradient(node: Any, dy: Any) -> list[Any]:
    """A's gradient is L^-T phi(L^T dL) L^-1, made symmetric: phi takes the lower triangle with half of the diagonal."""
    factor = node.outputs[0]
    inner = triangle(matmul(factor, triangle(dy, True), transpose_a=True), True, 0.5)
    left = triangular_solve(factor, inner, lower=True, adjoint=True)
    whole = adjoint(triangular_solve(factor, adjoint(left), lower=True, adjoint=True))
    return [(whole + adjoint(whole)) * constant_like(0.5, whole)]


def _cholesky_reference(x: Any) -> Any:
    lower = np.tril(x)
    return np.linalg.cholesky(lower + np.swapaxes(np.tril(x, -1), -1, -2))


cholesky: Op = define_op(
    "cholesky", "x",
    infer=_infer_square("cholesky"),
    kernel=Library("cholesky"),
    gradient=_cholesky_gradient,
    reference=_reference(_cholesky_reference),
    samples=_square_samples(positive_definite, gradient=False),
    fallible="indefinite",
    documentation="The lower triangular L with L L' = x for a symmetric positive definite x, of which only the lower triangle is read. Its "
    "gradient is symmetric.",
)  # fmt: skip


# Systems of equations -----------------------------------------------------------------------------------------------
def _infer_system(name: str) -> Any:
    def infer(types: tuple[TensorType, ...], **attributes: Any) -> TensorType:
        matrix, right = types
        same_dtype(name, types)
        _check_matrix(name, matrix)
        _check_matrix(name, right, square=False)
        if not equal_shapes(matrix.shape[:-2], right.shape[:-2]) or not require_equal(
            matrix.shape[-1], right.shape[-2]
        ):
            raise ShapeError(
                f"{name}: the right sides must have the matrices' batch and rows, got {matrix} and {right}"
            )
        return right

    return infer


def _solve_gradient(node: Any, dy: Any) -> list[Any]:
    matrix, x = node.inputs[0], node.outputs[0]
    turned = node.attributes["adjoint"]
    right = solve(matrix, dy, adjoint=not turned)
    outer = matmul(x, right, transpose_b=True) if turned else matmul(right, x, transpose_b=True)
    return [-outer, right]


def _system_samples(make: Any, flags: tuple[dict[str, Any], ...]) -> Any:
    def samples() -> list[Sample]:
        found = []
        for dtype in FLOATS:
            for seed, (shape, columns) in enumerate(
                (((3, 3), 2), ((1, 1), 1), ((2, 4, 4), 3), ((0, 3, 3), 2), ((2, 2), 0))
            ):
                right = fill((*shape[:-1], columns), dtype, seed=seed + 9)
                found += [Sample((make(shape, dtype, seed), right), own) for own in flags]
        good = make((3, 3), "float32", 0)
        found.append(Sample((good, fill((2, 2), "float32")), flags[0], error=ShapeError))
        found.append(Sample((fill((3, 2), "float32"), fill((3, 2), "float32")), flags[0], error=ShapeError))
        found.append(Sample((good, fill((3, 2), "float64")), flags[0], error=DTypeError))
        found.append(
            Sample((np.zeros((3, 3), np.float32), fill((3, 2), "float32")), flags[0], error=InvalidArgumentError)
        )
        return found

    return samples


def _solve_reference(matrix: Any, right: Any, adjoint: bool = False) -> Any:
    if matrix.size and np.any(np.linalg.det(matrix) == 0):
        raise InvalidArgumentError("solve: the matrix is singular")
    wide = np.swapaxes(matrix, -1, -2) if adjoint else matrix
    return np.linalg.solve(wide.astype(np.float64), right.astype(np.float64)).astype(right.dtype)


solve: Op = define_op(
    "solve", "matrix right",
    attributes={"adjoint": False},
    infer=_infer_system("solve"),
    kernel=Library("solve"),
    gradient=_solve_gradient,
    reference=_solve_reference,
    samples=_system_samples(regular, ({"adjoint": False}, {"adjoint": True})),
    fallible="singular",
    documentation="X with matrix X = right (matrix' X = right, if adjoint). A singular matrix is an error.",
)  # fmt: skip


def _triangular_gradient(node: Any, dy: Any) -> list[Any]:
    matrix, x = node.inputs[0], node.outputs[0]
    lower, turned = node.attributes["lower"], node.attributes["adjoint"]
    right = triangular_solve(matrix, dy, lower=lower, adjoint=not turned)
    outer = matmul(x, right, transpose_b=True) if turned else matmul(right, x, transpose_b=True)
    return [-triangle(outer, lower), right]


def _triangular_reference(matrix: Any, right: Any, lower: bool = True, adjoint: bool = False) -> Any:
    return _solve_reference(np.tril(matrix) if lower else np.triu(matrix), right, adjoint)


triangular_solve: Op = define_op(
    "triangular_solve", "matrix right",
    attributes={"lower": True, "adjoint": False},
    infer=_infer_system("triangular_solve"),
    kernel=Library("triangular_solve"),
    gradient=_triangular_gradient,
    reference=_triangular_reference,
    samples=_system_samples(regular, tuple({"lower": a, "adjoint": b} for a in (True, False) for b in (False, True))),
    fallible="singular",
    documentation="X with T X = right, where T is the lower (upper) triangle of matrix, the rest of which is not read (T' X = right, if "
    "adjoint). A zero on the diagonal is an error.",
)  # fmt: skip


# Factors ------------------------------------------------------------------------------------------------------------
def _infer_lu(types: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
    _check_matrix("lu", types[0])
    return types[0], types[0].with_dtype(int32).with_shape(types[0].shape[:-1])


def _lu_reference(x: Any) -> Any:
    from scipy.linalg import lu_factor

    factors, pivots = np.empty_like(x), np.empty(x.shape[:-1], np.int32)
    for place in np.ndindex(*x.shape[:-2]):
        if x.shape[-1]:
            factors[place], pivots[place] = lu_factor(x[place])
    return factors, pivots


lu: Op = define_op(
    "lu", "x",
    infer=_infer_lu,
    kernel=Library("lu"),
    no_gradient="not differentiable here: gf.linalg's functions differentiate what they make of it",
    reference=_reference(_lu_reference, 2),
    samples=_square_samples(regular),
    documentation="The factors of x with its rows exchanged: the unit lower and the upper triangle in one matrix, and for each row, "
    "in order, the row it was exchanged with. A singular matrix has a zero on the diagonal.",
)  # fmt: skip


def _infer_determinant(name: str, count: int) -> Any:
    def infer(types: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        _check_matrix(name, types[0])
        return (types[0].with_shape(types[0].shape[:-2]),) * count

    return infer


def _inverse_transposed(x: Any, weight: Any) -> Any:
    """weight * inverse(x)', matrix by matrix."""
    return solve(x, eye_like(x), adjoint=True) * reshape(weight, shape=(*weight.dims, 1, 1))


determinant: Op = define_op(
    "determinant", "x",
    infer=_infer_determinant("determinant", 1),
    kernel=Library("determinant"),
    gradient=lambda node, dy: [_inverse_transposed(node.inputs[0], dy * node.outputs[0])],
    reference=_reference(np.linalg.det),
    samples=_square_samples(regular),
    documentation="The determinant: the product of the triangle's diagonal, in order, with the sign of the exchanges. 0 for a "
    "singular matrix, where it has no gradient.",
)  # fmt: skip

slogdet: Op = define_op(
    "slogdet", "x",
    infer=_infer_determinant("slogdet", 2),
    kernel=Library("slogdet"),
    gradient=lambda node, dsign, dlog: [_inverse_transposed(node.inputs[0], dlog)],
    reference=_reference(lambda x: tuple(np.linalg.slogdet(x)), 2),
    samples=_square_samples(regular, gradient=False),
    documentation="sign, log: the determinant is sign * exp(log); 0 and -inf for a singular matrix.",
)  # fmt: skip


def _infer_qr(types: tuple[TensorType, ...], full_matrices: bool = False) -> tuple[TensorType, ...]:
    own = types[0]
    _check_matrix("qr", own, square=False)
    m, n = own.shape[-2:]
    width = m if full_matrices else dim_min(m, n)
    return own.with_shape((*own.shape[:-2], m, width)), own.with_shape((*own.shape[:-2], width, n))


def _qr_gradient(node: Any, dq: Any, dr: Any) -> list[Any]:
    """For q of full column rank and at least as many rows as columns."""
    q, r = node.outputs
    m, n = node.inputs[0].dims[-2:]
    if node.attributes["full_matrices"] and m != n or isinstance(m, int) and isinstance(n, int) and m < n:
        raise InvalidArgumentError(
            f"qr: a gradient needs at least as many rows as columns and full_matrices=False, got {m}x{n}"
        )
    inner = matmul(r, dr, transpose_b=True) - matmul(dq, q, transpose_a=True)
    symmetric = triangle(inner, True, 0.0)
    symmetric = (
        symmetric + adjoint(symmetric) + from_diagonal(_diagonal(inner), rows=inner.dims[-1], columns=inner.dims[-1])
    )
    return [adjoint(triangular_solve(r, adjoint(dq + matmul(q, symmetric)), lower=False, adjoint=False))]


def _diagonal(x: Any) -> Any:
    from .diagonal import diagonal

    return diagonal(x)


def _tall_samples(flags: tuple[dict[str, Any], ...]) -> Any:
    def samples() -> list[Sample]:
        found = []
        for dtype in FLOATS:
            for seed, shape in enumerate(((3, 3), (3, 2), (2, 4, 3), (2, 3), (0, 3, 2), (1, 1))):
                found += [Sample((regular(shape, dtype, seed),), own, gradient=False) for own in flags]
        found.append(Sample((fill((3,), "float32"),), flags[0], error=ShapeError))
        found.append(Sample((fill((3, 3), "int32"),), flags[0], error=DTypeError))
        return found

    return samples


qr: Op = define_op(
    "qr", "x",
    attributes={"full_matrices": False},
    infer=_infer_qr,
    kernel=Library("qr"),
    gradient=_qr_gradient,
    reference=_reference(lambda x, full_matrices=False: np.linalg.qr(x, "complete" if full_matrices else "reduced"), 2),
    samples=_tall_samples(({"full_matrices": False}, {"full_matrices": True})),
    documentation="q, r: orthonormal columns and an upper triangle with q r = x.",
)  # fmt: skip


def _infer_eigh(types: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
    _check_matrix("eigh", types[0])
    return types[0].with_shape(types[0].shape[:-1]), types[0]


def _gaps(values: Any) -> Any:
    """1 / (values[j] - values[i]) at [i, j], 0 where the two are equal (on the diagonal above all)."""
    n = values.dims[-1]
    lead = values.dims[:-1]
    difference = reshape(values, shape=(*lead, 1, n)) - reshape(values, shape=(*lead, n, 1))
    zero, one = constant_like(0, difference), constant_like(1, difference)
    same = equal_places(difference, zero)
    return select(same, zero, one / select(same, one, difference))


def _eigh_gradient(node: Any, dw: Any, dv: Any) -> list[Any]:
    values, vectors = node.outputs
    n = values.dims[-1]
    inner = _gaps(values) * matmul(vectors, dv, transpose_a=True) + from_diagonal(dw, rows=n, columns=n)
    whole = matmul(vectors, matmul(inner, vectors, transpose_b=True))
    # only the lower triangle is read: it gets the gradient of both
    return [triangle(whole + adjoint(whole), True, 0.5)]


def _eigh_reference(x: Any) -> Any:
    return tuple(np.linalg.eigh(x, "L"))


eigh: Op = define_op(
    "eigh", "x",
    infer=_infer_eigh,
    kernel=Library("eigh"),
    gradient=_eigh_gradient,
    reference=_reference(_eigh_reference, 2),
    samples=_square_samples(positive_definite, gradient=False),
    fallible="no_convergence",
    documentation="Eigenvalues in ascending order and eigenvectors (columns) of a symmetric matrix, of which only the lower triangle is "
    "read and has a gradient. The gradient of the vectors is 0 among equal eigenvalues.",
)  # fmt: skip


def _infer_svd(types: tuple[TensorType, ...], full_matrices: bool = False) -> tuple[TensorType, ...]:
    own = types[0]
    _check_matrix("svd", own, square=False)
    lead, (m, n) = own.shape[:-2], own.shape[-2:]
    least = dim_min(m, n)
    left, right = (m, n) if full_matrices else (least, least)
    return own.with_shape((*lead, least)), own.with_shape((*lead, m, left)), own.with_shape((*lead, n, right))


def _svd_gradient(node: Any, ds: Any, du: Any, dv: Any) -> list[Any]:
    """For the thin factors; a wide matrix is the transpose of a tall one."""
    s, u, v = node.outputs
    m, n = node.inputs[0].dims[-2:]
    if node.attributes["full_matrices"] and m != n:
        raise InvalidArgumentError(f"svd: a gradient needs full_matrices=False, got {m}x{n} with full_matrices=True")
    k = s.dims[-1]
    lead = s.dims[:-1]
    row, column = reshape(s, shape=(*lead, 1, k)), reshape(s, shape=(*lead, k, 1))
    gaps = _gaps(s * s)
    left = matmul(u, du, transpose_a=True)
    right = matmul(v, dv, transpose_a=True)
    inner = gaps * (left - adjoint(left)) * row + column * (gaps * (right - adjoint(right)))
    inner = inner + from_diagonal(ds, rows=k, columns=k)
    zero, one = constant_like(0, s), constant_like(1, s)
    flat = equal_places(s, zero)
    inverse = reshape(select(flat, zero, one / select(flat, one, s)), shape=(*lead, 1, k))
    total = matmul(matmul(u, inner), v, transpose_b=True)
    outside_u = (du - matmul(u, left)) * inverse
    outside_v = (dv - matmul(v, right)) * inverse
    return [total + matmul(outside_u, v, transpose_b=True) + matmul(u, outside_v, transpose_b=True)]


def _svd_reference(x: Any, full_matrices: bool = False) -> Any:
    u, s, vh = np.linalg.svd(x, full_matrices=full_matrices)
    return s, u, np.swapaxes(vh, -1, -2)


svd: Op = define_op(
    "svd", "x",
    attributes={"full_matrices": False},
    infer=_infer_svd,
    kernel=Library("svd"),
    gradient=_svd_gradient,
    reference=_reference(_svd_reference, 3),
    samples=_tall_samples(({"full_matrices": False}, {"full_matrices": True})),
    fallible="no_convergence",
    documentation="s, u, v with u diag(s) v' = x: singular values in descending order and the vectors to them, as columns.",
)  # fmt: skip


def trace_product(a: Any, b: Any) -> Any:
    """The sum of the products of elements of the last two axes."""
    rank = len(a.dims)
    return reduce_sum(a * b, axes=(rank - 2, rank - 1), keepdims=False)


def eye_like(x: Any) -> Any:
    """The unit matrices of x's shape."""
    n = x.dims[-1]
    one = broadcast_to(constant_like(1, x), shape=(n,))
    matrix = from_diagonal(one, rows=n, columns=n)
    return broadcast_to(matrix, shape=x.dims) if len(x.dims) > 2 else matrix
