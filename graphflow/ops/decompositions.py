"""Factors of the matrices in the last two axes. The kernels call LAPACK; see docs/complex.md.

Gradients: Giles (2008), "An extended collection of matrix derivative results for forward and reverse mode automatic differentiation"; the
Cholesky factor's is Murray (2016), "Differentiation of the Cholesky decomposition"; the QR factors' Roberts and Roberts (2020), "QR and LQ
decomposition matrix backpropagation algorithms for square, wide, and deep matrices"; the complex singular vectors' Wan and Zhang (2019),
"Automatic differentiation for complex valued SVD". A complex matrix's singular vectors are known up to a phase: a loss that depends on it
has no gradient there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import int32
from ..errors import DTypeError, InvalidArgumentError, ShapeError, UnimplementedError
from ..ir.dims import dim_min
from ..ir.op import Library, Op, Sample, define_op
from ..ir.types import TensorType
from .complex import complex_, imag, part_of
from .diagonal import diagonal
from .gradients import constant_like, zeros_like
from .matrices import (
    adjoint,
    check_matrix,
    diagonal_matrix,
    eye_like,
    gaps,
    in_dtype_of,
    positive_definite,
    product_of,
    real_diagonal,
    reference_of,
    regular,
    square_samples,
    triangle,
)
from .ordering import argsort
from .samples import FLOATS, fill
from .select import select
from .shape import concat, reshape, strided_slice
from .systems import triangular_solve

__all__ = ["cholesky", "lu", "qr", "svd"]


# Cholesky -----------------------------------------------------------------------------------------------------------
def _infer_cholesky(types: tuple[TensorType, ...]) -> TensorType:
    check_matrix("cholesky", types[0])
    return types[0]


def _cholesky_gradient(node: Any, dy: Any) -> list[Any]:
    """A's gradient is L^-H phi(L^H dL) L^-1, made Hermitian: phi takes the lower triangle with half of the diagonal."""
    factor = node.outputs[0]
    inner = triangle(product_of(factor, triangle(dy, True), adjoint_a=True), True, 0.5)
    left = triangular_solve(factor, inner, lower=True, adjoint=True)
    whole = adjoint(triangular_solve(factor, adjoint(left), lower=True, adjoint=True))
    return [(whole + adjoint(whole)) * constant_like(0.5, whole)]


def _cholesky_reference(x: Any) -> Any:
    below = np.tril(x, -1)
    middle = np.real(np.diagonal(x, 0, -2, -1))[..., None] * np.eye(x.shape[-1])
    return np.linalg.cholesky(below + middle + np.conj(np.swapaxes(below, -1, -2)))


cholesky: Op = define_op(
    "cholesky", "x",
    infer=_infer_cholesky,
    kernel=Library("cholesky"),
    gradient=_cholesky_gradient,
    reference=reference_of(_cholesky_reference),
    samples=square_samples(positive_definite, gradient=False),
    fallible="indefinite",
    documentation="The lower triangular L with L L' = x for a symmetric (Hermitian) positive definite x, of which only the lower triangle "
    "is read. Its gradient is Hermitian.",
)  # fmt: skip


# LU -----------------------------------------------------------------------------------------------------------------
def _infer_lu(types: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
    check_matrix("lu", types[0])
    return types[0], types[0].with_dtype(int32).with_shape(types[0].shape[:-1])


def permuted(x: Any, order: Any) -> Any:
    """The rows of x[..., n, k] in the order of order[..., n]."""
    from .indexing import gather

    lead = len(order.dims) - 1
    return gather(x, order, axis=lead, batch_dims=lead)


def _lu_gradient(node: Any, dy: Any, dorder: Any) -> list[Any]:
    """With F = L^-1 dPA U^-1 the factors move by L low(F) and up(F) U, where low leaves the diagonal out."""
    factors, order = node.outputs
    unit = triangle(factors, True, 0.0) + eye_like(factors)
    low = triangle(product_of(unit, triangle(dy, True, 0.0), adjoint_a=True), True, 0.0)
    up = triangle(product_of(triangle(dy, False), triangle(factors, False), adjoint_b=True), False)
    left = triangular_solve(unit, low + up, lower=True, adjoint=True)
    whole = adjoint(triangular_solve(factors, adjoint(left), lower=False, adjoint=False))
    return [permuted(whole, argsort(order, descending=False))]


def _lu_reference(x: Any) -> Any:
    from scipy.linalg import lu_factor

    factors, order = np.empty_like(x), np.empty(x.shape[:-1], np.int32)
    for place in np.ndindex(*x.shape[:-2]):
        rows = np.arange(x.shape[-1])
        if x.shape[-1]:
            factors[place], pivots = lu_factor(x[place])
            for k, other in enumerate(pivots):
                rows[[k, other]] = rows[[other, k]]
        order[place] = rows
    return factors, order


lu: Op = define_op(
    "lu", "x",
    infer=_infer_lu,
    kernel=Library("lu"),
    gradient=_lu_gradient,
    reference=reference_of(_lu_reference),
    samples=square_samples(regular, gradient=False),
    fallible="singular",
    documentation="The factors of x with its rows exchanged, the unit lower and the upper triangle in one matrix, and which row of x each "
    "of theirs is. A singular matrix, and one with NaN, is an error.",
)  # fmt: skip


# QR -----------------------------------------------------------------------------------------------------------------
def _infer_qr(types: tuple[TensorType, ...], full_matrices: bool = False) -> tuple[TensorType, ...]:
    own = types[0]
    check_matrix("qr", own, square=False)
    m, n = own.shape[-2:]
    width = m if full_matrices else dim_min(m, n)
    return own.with_shape((*own.shape[:-2], m, width)), own.with_shape((*own.shape[:-2], width, n))


def _columns(x: Any, begin: Any, count: Any) -> Any:
    rank = len(x.dims)
    return strided_slice(x, begin=(*(0,) * (rank - 1), begin), sizes=(*x.dims[:-1], count), strides=(1,) * rank)


def _qr_gradient(node: Any, dq: Any, dr: Any) -> list[Any]:
    """For a matrix whose first columns, as many as q has, are independent. The columns after them are q times r's."""
    (x,), (q, r) = node.inputs, node.outputs
    m, n = x.dims[-2:]
    known = isinstance(m, int) and isinstance(n, int)
    if node.attributes["full_matrices"] and m != n and not (known and m < n):
        raise InvalidArgumentError(
            f"qr: a gradient with full_matrices=True needs a matrix without more rows than columns, got {m}x{n}"
        )
    if known and m >= n:
        return [_tall_qr_gradient(q, r, dq, dr)]
    k = dim_min(m, n)
    beyond = n - k
    rest, drest = _columns(x, k, beyond), _columns(dr, k, beyond)
    first = _tall_qr_gradient(q, _columns(r, 0, k), dq + product_of(rest, drest, adjoint_b=True), _columns(dr, 0, k))
    return [concat(first, product_of(q, drest), axis=len(x.dims) - 1)]


def _tall_qr_gradient(q: Any, r: Any, dq: Any, dr: Any) -> Any:
    """(dq + q S) r^-H, where S is Hermitian with the lower triangle of r dr' - dq' q. LAPACK's r has a real diagonal, of complex
    matrices too, which makes the factors unique."""
    inner = product_of(r, dr, adjoint_b=True) - product_of(dq, q, adjoint_a=True)
    below = triangle(inner, True, 0.0)
    hermitian = below + adjoint(below) + real_diagonal(inner)
    return adjoint(triangular_solve(r, adjoint(dq + product_of(q, hermitian)), lower=False, adjoint=False))


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
    reference=reference_of(
        lambda x, full_matrices=False: tuple(np.linalg.qr(x, "complete" if full_matrices else "reduced"))
    ),
    samples=_tall_samples(({"full_matrices": False}, {"full_matrices": True})),
    documentation="q, r: orthonormal columns and an upper triangle with q r = x.",
)  # fmt: skip


# Singular values ------------------------------------------------------------------------------------------------------
def _infer_svd(types: tuple[TensorType, ...], full_matrices: bool = False) -> tuple[TensorType, ...]:
    own = types[0]
    check_matrix("svd", own, square=False)
    lead, (m, n) = own.shape[:-2], own.shape[-2:]
    least = dim_min(m, n)
    left, right = (m, n) if full_matrices else (least, least)
    values = own.with_dtype(part_of(own.dtype)) if own.dtype.is_complex else own
    return values.with_shape((*lead, least)), own.with_shape((*lead, m, left)), own.with_shape((*lead, n, right))


def _last_vector(x: Any, count: Any) -> tuple[Any, Any]:
    """The first `count` columns, and those behind them."""
    lead, (rows, columns) = x.dims[:-2], x.dims[-2:]
    begin, ones = (0,) * len(lead), (1,) * len(x.dims)
    first = strided_slice(x, begin=(*begin, 0, 0), sizes=(*lead, rows, count), strides=ones)
    return first, strided_slice(x, begin=(*begin, 0, count), sizes=(*lead, rows, columns - count), strides=ones)


def _svd_gradient(node: Any, ds: Any, du: Any, dv: Any) -> list[Any]:
    """For the thin factors; a wide matrix is the adjoint of a tall one."""
    s, u, v = node.outputs
    m, n = node.inputs[0].dims[-2:]
    k = s.dims[-1]
    lead = s.dims[:-1]
    beyond = node.attributes["full_matrices"] and m != n
    if beyond and not (isinstance(m, int) and isinstance(n, int) and abs(m - n) == 1):
        raise UnimplementedError(
            f"svd: with full_matrices=True the vectors beyond the singular values are known only if there is one, got {m}x{n}; a gradient "
            "needs full_matrices=False"
        )
    if beyond:
        (u, last_u), (v, last_v), (du, last_du), (dv, last_dv) = (_last_vector(x, k) for x in (u, v, du, dv))
    zero, one = constant_like(0, s), constant_like(1, s)
    flat = s <= zero
    inverse = select(flat, zero, one / select(flat, one, s))

    def factor(values: Any) -> Any:
        return in_dtype_of(values, u)

    row, column = factor(reshape(s, shape=(*lead, 1, k))), factor(reshape(s, shape=(*lead, k, 1)))
    apart = factor(gaps(s * s))
    left = product_of(u, du, adjoint_a=True)
    right = product_of(v, dv, adjoint_a=True)
    inner = apart * (left - adjoint(left)) * row + column * (apart * (right - adjoint(right)))
    inner = inner + diagonal_matrix(ds, inner)
    if u.dtype.is_complex:  # the phases of the two vectors of a singular value turn against each other
        turn = imag(diagonal(left) - diagonal(right)) * inverse * constant_like(0.5, s)
        inner = inner + diagonal_matrix(complex_(zeros_like(turn), turn), inner)
    inverse = factor(reshape(inverse, shape=(*lead, 1, k)))
    total = product_of(product_of(u, inner), v, adjoint_b=True)
    outside_u = (du - product_of(u, left)) * inverse
    outside_v = (dv - product_of(v, right)) * inverse
    if beyond and m > n:  # what turns the last vector turns the others against it
        outside_u = outside_u - product_of(last_u, product_of(last_du, u, adjoint_a=True)) * inverse
    elif beyond:
        outside_v = outside_v - product_of(last_v, product_of(last_dv, v, adjoint_a=True)) * inverse
    return [total + product_of(outside_u, v, adjoint_b=True) + product_of(u, outside_v, adjoint_b=True)]


def _svd_reference(x: Any, full_matrices: bool = False) -> Any:
    u, s, vh = np.linalg.svd(x, full_matrices=full_matrices)
    return s, u, np.conj(np.swapaxes(vh, -1, -2))


svd: Op = define_op(
    "svd", "x",
    attributes={"full_matrices": False},
    infer=_infer_svd,
    kernel=Library("svd"),
    gradient=_svd_gradient,
    reference=reference_of(_svd_reference),
    samples=_tall_samples(({"full_matrices": False}, {"full_matrices": True})),
    fallible="no_convergence",
    documentation="s, u, v with u diag(s) v' = x: singular values in descending order, real, and the vectors to them, as columns. NaN for "
    "a matrix that is not finite.",
)  # fmt: skip
