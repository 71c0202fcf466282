"""Eigenvalues and -vectors, and the square root of matrices. The kernels call LAPACK; see docs/complex.md.

Gradients hold for distinct eigenvalues. The Hermitian one is Giles (2008); the general one Boeddeker et al. (2017), "On the computation
of complex-valued gradients with application to statistically optimum beamforming", (4.77), and van der Aa et al. (2007), "Computation
of eigenvalue and eigenvector derivatives for a general complex-valued eigensystem". A complex eigenvector is known up to a phase: a loss
that depends on it has no gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import complex64
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.op import Library, Op, Sample, define_op
from ..ir.types import TensorType
from .complex import conj, part_of, real, whole_of
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
from .samples import complex_fill, fill
from .shape import reshape
from .systems import solve

__all__ = ["eig", "eigh", "matrix_square_root"]


def _infer_eigh(types: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
    own = types[0]
    check_matrix("eigh", own)
    values = own.with_dtype(part_of(own.dtype)) if own.dtype.is_complex else own
    return values.with_shape(own.shape[:-1]), own


def _eigh_gradient(node: Any, dw: Any, dv: Any) -> list[Any]:
    values, vectors = node.outputs
    inner = in_dtype_of(gaps(values), vectors) * product_of(vectors, dv, adjoint_a=True)
    inner = inner + diagonal_matrix(dw, inner)
    whole = product_of(vectors, product_of(inner, vectors, adjoint_b=True))
    # only the lower triangle is read: it gets the gradient of both
    return [triangle(whole + adjoint(whole), True, 0.5)]


eigh: Op = define_op(
    "eigh", "x",
    infer=_infer_eigh,
    kernel=Library("eigh"),
    gradient=_eigh_gradient,
    reference=reference_of(lambda x: tuple(np.linalg.eigh(x, "L"))),
    samples=square_samples(positive_definite, gradient=False),
    fallible="no_convergence",
    documentation="Eigenvalues in ascending order, real, and eigenvectors (columns) of a symmetric (Hermitian) matrix, of which only the "
    "lower triangle is read and has a gradient. The gradient of the vectors is 0 among equal eigenvalues. A triangle that is not "
    "finite is an error.",
)  # fmt: skip


def _infer_eig(types: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
    own = types[0]
    check_matrix("eig", own)
    vectors = own if own.dtype.is_complex else own.with_dtype(complex64 if own.dtype.is_narrow else whole_of(own.dtype))
    return vectors.with_shape(own.shape[:-1]), vectors


def _eig_gradient(node: Any, dw: Any, dv: Any) -> list[Any]:
    """V^-H (diag(dw) + conj(F) (V^H dv - V^H V re diag(V^H dv))) V^H, F the gaps: the columns keep their length."""
    (x,), (values, vectors) = node.inputs, node.outputs
    turned = product_of(vectors, dv, adjoint_a=True)
    length = product_of(product_of(vectors, vectors, adjoint_a=True), real_diagonal(turned))
    inner = diagonal_matrix(dw, vectors) + conj(gaps(values)) * (turned - length)
    found = solve(vectors, product_of(inner, vectors, adjoint_b=True), adjoint=True)
    return [found if x.dtype.is_complex else in_dtype_of(real(found), x)]


def _eig_reference(x: Any) -> Any:
    if not np.all(np.isfinite(x)):
        raise InvalidArgumentError("eig: the matrix is not finite")
    values, vectors = np.linalg.eig(x)
    return values.astype(np.complex128), vectors.astype(np.complex128)


def _eig_samples() -> list[Sample]:
    found = square_samples(regular, gradient=False)()
    infinite = np.diag(np.array([1.0, np.inf], np.float32))
    return [
        *found,
        Sample((infinite,), error=InvalidArgumentError),
    ]


eig: Op = define_op(
    "eig", "x",
    infer=_infer_eig,
    kernel=Library("eig"),
    gradient=_eig_gradient,
    reference=reference_of(_eig_reference),
    samples=_eig_samples,
    fallible="no_convergence",
    documentation="Eigenvalues and eigenvectors (columns of length 1 whose largest element is real) of any square matrix, complex, in "
    "LAPACK's order: of real matrices, conjugate pairs stand side by side, the positive imaginary part first. A matrix that is not "
    "finite is an error.",
)  # fmt: skip


def _infer_root(types: tuple[TensorType, ...]) -> TensorType:
    own = types[0]
    if not own.dtype.is_complex:
        raise DTypeError(f"matrix_square_root: needs complex matrices, got {own}; use gf.cast")
    check_matrix("matrix_square_root", own)
    return own


def _root_gradient(node: Any, dy: Any) -> list[Any]:
    """Y^H G + G Y^H = dy, as one system for the elements of G, row by row."""
    y = node.outputs[0]
    n, lead = y.dims[-1], y.dims[:-2]
    unit, turned = eye_like(y), adjoint(y)
    whole = _kronecker(turned, unit) + _kronecker(unit, conj(y))
    found = solve(whole, reshape(dy, shape=(*lead, n * n, 1)), adjoint=False)
    return [reshape(found, shape=y.dims)]


def _kronecker(a: Any, b: Any) -> Any:
    """The Kronecker product of the matrices in the last two axes."""
    lead, n = a.dims[:-2], a.dims[-1]
    both = reshape(a, shape=(*lead, n, 1, n, 1)) * reshape(b, shape=(*lead, 1, n, 1, n))
    return reshape(both, shape=(*lead, n * n, n * n))


def _root_reference(x: Any) -> Any:
    import scipy.linalg

    found = np.empty_like(x)
    for place in np.ndindex(*x.shape[:-2]):
        found[place] = scipy.linalg.sqrtm(x[place]) if x.shape[-1] else x[place]
    return found


def _root_samples() -> list[Sample]:
    found = []
    for dtype in ("complex64", "complex128"):
        for seed, shape in enumerate(((3, 3), (1, 1), (2, 4, 4), (0, 3, 3), (2, 0, 0))):
            array = complex_fill(shape, dtype, -1, 1, seed) + (3 * np.eye(shape[-1])).astype(dtype)
            found.append(Sample((array,), gradient=dtype == "complex128"))
    found.append(Sample((complex_fill((2, 3)),), error=ShapeError))
    found.append(Sample((fill((3, 3), "float32"),), error=DTypeError))
    return found


matrix_square_root: Op = define_op(
    "matrix_square_root", "x",
    infer=_infer_root,
    kernel=Library("matrix_square_root"),
    gradient=_root_gradient,
    reference=reference_of(_root_reference),
    samples=_root_samples,
    fallible="no_convergence",
    documentation="The principal square root of complex matrices: its eigenvalues have real parts that are not negative. NaN for a matrix "
    "that has no root, or is not finite.",
)  # fmt: skip
