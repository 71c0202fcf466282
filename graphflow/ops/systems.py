"""Systems of linear equations, and determinants. The kernels call LAPACK; see docs/complex.md.

Gradients: Giles (2008), "An extended collection of matrix derivative results for forward and reverse mode automatic differentiation";
complex matrices take the adjoint where real ones take the transpose.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import require_equal
from ..ir.op import Library, Op, Sample, define_op
from ..ir.types import TensorType
from .complex import complex_, conjugate, imag, real
from .matrices import check_matrix, eye_like, product_of, reference_of, regular, square_samples, triangle, wide
from .reduction import reduce_sum
from .rules import equal_shapes, same_dtype
from .samples import FLOATS, fill
from .shape import pad, reshape, strided_slice

__all__ = ["determinant", "slogdet", "solve", "triangular_solve", "tridiagonal_solve"]


def _infer_system(name: str) -> Any:
    def infer(types: tuple[TensorType, ...], **attributes: Any) -> TensorType:
        matrix, right = types
        same_dtype(name, types)
        check_matrix(name, matrix)
        check_matrix(name, right, square=False)
        if not equal_shapes(matrix.shape[:-2], right.shape[:-2]) or not require_equal(
            matrix.shape[-1], right.shape[-2]
        ):
            raise ShapeError(
                f"{name}: the right sides must have the matrices' batch and rows, got {matrix} and {right}"
            )
        return right

    return infer


def _outer(right: Any, x: Any, turned: bool) -> Any:
    """The gradient of the matrix, but for its sign: right x', or x right' where the adjoint was solved with."""
    return product_of(x, right, adjoint_b=True) if turned else product_of(right, x, adjoint_b=True)


def _solve_gradient(node: Any, dy: Any) -> list[Any]:
    matrix, x = node.inputs[0], node.outputs[0]
    turned = node.attributes["adjoint"]
    right = solve(matrix, dy, adjoint=not turned)
    return [-_outer(right, x, turned), right]


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
    turned = np.swapaxes(np.conj(matrix), -1, -2) if adjoint else matrix
    return np.linalg.solve(wide(turned), wide(right)).astype(right.dtype)


solve: Op = define_op(
    "solve", "matrix right",
    attributes={"adjoint": False},
    infer=_infer_system("solve"),
    kernel=Library("solve"),
    gradient=_solve_gradient,
    reference=_solve_reference,
    samples=_system_samples(regular, ({"adjoint": False}, {"adjoint": True})),
    fallible="singular",
    documentation="X with matrix X = right (matrix' X = right, if adjoint). A singular matrix, and one with NaN, is an error.",
)  # fmt: skip


def _triangular_gradient(node: Any, dy: Any) -> list[Any]:
    matrix, x = node.inputs[0], node.outputs[0]
    lower, turned = node.attributes["lower"], node.attributes["adjoint"]
    right = triangular_solve(matrix, dy, lower=lower, adjoint=not turned)
    return [-triangle(_outer(right, x, turned), lower), right]


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


# Tridiagonal systems --------------------------------------------------------------------------------------------------
def _infer_tridiagonal(types: tuple[TensorType, ...]) -> TensorType:
    right = types[3]
    dtype = same_dtype("tridiagonal_solve", types)
    if not (dtype.is_floating or dtype.is_complex):
        raise DTypeError(f"tridiagonal_solve: needs floats or complex numbers, got {right}; use gf.cast")
    if right.rank < 2 or not all(equal_shapes(own.shape, right.shape[:-1]) for own in types[:3]):
        shown = ", ".join(map(str, types[:3]))
        raise ShapeError(f"tridiagonal_solve: rhs must have a row for each row of the diagonals {shown}, got {right}")
    return right


def shifted(x: Any, axis: int, by: int) -> Any:
    """x with its elements `by` (1 or -1) places later along an axis (counted from the end), zeros where there is none."""
    rank = len(x.dims)
    axis += rank
    paddings = tuple((((1, 0) if by > 0 else (0, 1)) if a == axis else (0, 0)) for a in range(rank))
    padded = pad(x, paddings=paddings, mode="constant", constant=0)
    begin = tuple(1 if a == axis and by < 0 else 0 for a in range(rank))
    return strided_slice(padded, begin=begin, sizes=x.dims, strides=(1,) * rank)


def _tridiagonal_gradient(node: Any, dy: Any) -> list[Any]:
    """The adjoint has the diagonals beside the main one exchanged, conjugated, and moved to their own rows."""
    above, middle, below, _ = node.inputs
    x = conjugate(node.outputs[0])
    up, down = shifted(conjugate(below), -1, -1), shifted(conjugate(above), -1, 1)
    right = tridiagonal_solve(up, conjugate(middle), down, dy)

    def along(v: Any) -> Any:
        return -reduce_sum(right * v, axes=(len(v.dims) - 1,), keepdims=False)

    return [along(shifted(x, -2, -1)), along(x), along(shifted(x, -2, 1)), right]


def _tridiagonal_reference(above: Any, middle: Any, below: Any, right: Any) -> Any:
    n = middle.shape[-1]
    matrix = np.zeros((*middle.shape, n), middle.dtype)
    k = np.arange(n)
    matrix[..., k, k] = middle
    matrix[..., k[:-1], k[1:]] = above[..., : n - 1] if n else above
    matrix[..., k[1:], k[:-1]] = below[..., 1:]
    return _solve_reference(matrix, right)


def _tridiagonal_samples() -> list[Sample]:
    found = []
    for dtype in FLOATS:
        for seed, (shape, columns) in enumerate(
            (((5,), 2), ((2, 4), 1), ((1,), 3), ((0, 3), 2), ((2, 0), 1), ((2,), 0))
        ):
            diagonals = [fill(shape, dtype, -1, 1, seed=seed + 3 * k) + (3 if k == 1 else 0) for k in range(3)]
            found.append(Sample((*diagonals, fill((*shape, columns), dtype, seed=seed + 11))))
    good = fill((3,), "float32")
    found.append(Sample((good, good, good, fill((2, 2), "float32")), error=ShapeError))
    found.append(Sample((good, good, good, fill((3, 2), "float64")), error=DTypeError))
    zero = np.zeros(3, np.float32)
    found.append(Sample((zero, zero, zero, fill((3, 2), "float32")), error=InvalidArgumentError))
    return found


tridiagonal_solve: Op = define_op(
    "tridiagonal_solve", "above middle below right",
    infer=_infer_tridiagonal,
    kernel=Library("tridiagonal_solve"),
    gradient=_tridiagonal_gradient,
    reference=_tridiagonal_reference,
    samples=_tridiagonal_samples,
    fallible="singular",
    documentation="X with T X = right for tridiagonal T: three diagonals [..., n], row by row (the last element of above and the first of "
    "below are not read), and right sides [..., n, k]. A singular matrix is an error.",
)  # fmt: skip


# Determinants ---------------------------------------------------------------------------------------------------------
def _infer_determinant(name: str, count: int) -> Any:
    def infer(types: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
        check_matrix(name, types[0])
        return (types[0].with_shape(types[0].shape[:-2]),) * count

    return infer


def _inverse_adjoint(x: Any, weight: Any) -> Any:
    """weight * inverse(x)', matrix by matrix."""
    return solve(x, eye_like(x), adjoint=True) * reshape(weight, shape=(*weight.dims, 1, 1))


determinant: Op = define_op(
    "determinant", "x",
    infer=_infer_determinant("determinant", 1),
    kernel=Library("determinant"),
    gradient=lambda node, dy: [_inverse_adjoint(node.inputs[0], dy * conjugate(node.outputs[0]))],
    reference=reference_of(np.linalg.det),
    samples=square_samples(regular),
    documentation="The determinant: the product of the triangle's diagonal, in order, with the sign of the exchanges. 0 for a "
    "singular matrix, where it has no gradient.",
)  # fmt: skip


def _slogdet_gradient(node: Any, dsign: Any, dlog: Any) -> list[Any]:
    """Of complex matrices the sign turns by the imaginary part of the trace of inverse(x) dx, and the logarithm grows by its real part."""
    weight = dlog
    if dlog.dtype.is_complex:
        weight = complex_(real(dlog), imag(dsign * conjugate(node.outputs[0])))
    return [_inverse_adjoint(node.inputs[0], weight)]


def _slogdet_reference(x: Any) -> Any:
    sign, logarithm = np.linalg.slogdet(x)
    return np.asarray(sign), np.asarray(logarithm).astype(x.dtype)


slogdet: Op = define_op(
    "slogdet", "x",
    infer=_infer_determinant("slogdet", 2),
    kernel=Library("slogdet"),
    gradient=_slogdet_gradient,
    reference=reference_of(_slogdet_reference),
    samples=square_samples(regular, gradient=False),
    documentation="sign, log: the determinant is sign * exp(log); 0 and -inf for a singular matrix. Of complex matrices the sign is a "
    "number of magnitude 1, and log is complex with the imaginary part 0.",
)  # fmt: skip
