"""gf.linalg: functions of a matrix as a whole: its exponential, logarithm and square root."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..dtypes import complex128, float32, float64, int32, int64
from ..errors import DTypeError
from ..ops.matrices import check_matrix, eye_like, in_dtype_of
from ..ops.reduction import reduce_in_steps
from ..tensor import Tensor, convert_to_tensor
from .factorisations import epsilon, matrices

__all__ = ["expm", "logm", "sqrtm"]

_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0, 10559470521600.0, 670442572800.0,
    33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_LARGEST = 5.371920351148152
_SQUARINGS = 32


def expm(input: Any, name: str | None = None) -> Tensor:
    """The exponential of each matrix: the [13/13] Pade approximant with scaling and squaring (Higham, 2005), up to 32 squarings, each
    taken only by the matrices that need it."""
    (x,) = matrices("expm", input)
    check_matrix("expm", x.type)
    if x.dtype.is_narrow:
        return ops.cast(expm(ops.cast(x, dtype=float32)), dtype=x.dtype)
    norm = _largest_column(x)
    ratio = ops.maximum(ops.divide(norm, convert_to_tensor(_LARGEST, norm.dtype)), convert_to_tensor(1.0, norm.dtype))
    count = ops.minimum(ops.ceil(ops.multiply(ops.log(ratio), float(1 / np.log(2.0)))), float(_SQUARINGS))
    a = ops.divide(x, in_dtype_of(_power_of_two(count), x))
    unit = eye_like(a)
    b = [float(v) for v in _PADE]
    a2 = ops.matmul(a, a)
    a4 = ops.matmul(a2, a2)
    a6 = ops.matmul(a2, a4)

    def total(*terms: tuple[Any, float]) -> Any:
        result: Any = None
        for matrix, factor in terms:
            own = ops.multiply(matrix, factor)
            result = own if result is None else ops.add(result, own)
        return result

    odd = ops.matmul(a6, total((a6, b[13]), (a4, b[11]), (a2, b[9])))
    odd = ops.matmul(a, ops.add(odd, total((a6, b[7]), (a4, b[5]), (a2, b[3]), (unit, b[1]))))
    even = ops.matmul(a6, total((a6, b[12]), (a4, b[10]), (a2, b[8])))
    even = ops.add(even, total((a6, b[6]), (a4, b[4]), (a2, b[2]), (unit, b[0])))
    result = ops.solve(ops.subtract(even, odd), ops.add(even, odd), adjoint=False)
    return _squared(result, count)


def _power_of_two(count: Any) -> Any:
    """2 ** count for a float that holds an integer between 0 and 127, exactly: the number is the exponent's bits."""
    whole, bits, bias = (int64, 52, 1023) if count.dtype is float64 else (int32, 23, 127)
    exponent = ops.add(ops.cast(count, dtype=whole), bias)
    return ops.bitcast(ops.bitwise_left_shift(exponent, bits), dtype=count.dtype)


def _squared(x: Any, count: Any) -> Any:
    """x squared count times, matrix by matrix."""
    from .control_flow import while_loop

    most = reduce_in_steps(ops.reduce_max, count, tuple(range(len(count.dims))), keepdims=False)
    zero = convert_to_tensor(0.0, count.dtype)

    def body(k: Any, value: Any) -> tuple[Any, Any]:
        needs = ops.less(k, count)
        return ops.add(k, 1.0), ops.select(needs, ops.matmul(value, value), value)

    return while_loop(lambda k, value: ops.less(k, most), body, (zero, x))[1]


def sqrtm(input: Any, name: str | None = None) -> Tensor:
    """The matrices whose square is input: the principal root, whose eigenvalues have real parts that are not negative. Computed in
    complex128 from the Schur factors. NaN where there is no root: for a real matrix also where the root is not real (a negative
    eigenvalue; cast to complex for it)."""
    x = convert_to_tensor(input)
    check_matrix("sqrtm", x.type)
    root = ops.matrix_square_root(x if x.dtype is complex128 else ops.cast(x, dtype=complex128))
    if x.dtype.is_complex:
        return root if x.dtype is complex128 else ops.cast(root, dtype=x.dtype)
    real, rest = ops.real(root), ops.imag(root)
    axes = (len(x.dims) - 2, len(x.dims) - 1)
    # an eigenvalue -e counts as 0 up to e of the largest one's rounding: its root has the imaginary part sqrt(e)
    size, turned = (ops.reduce_sum(ops.square(ops.stop_gradient(v)), axes=axes, keepdims=True) for v in (real, rest))
    is_real = ops.less_equal(turned, ops.multiply(size, 64.0 * epsilon(x.dtype)))
    found = ops.select(is_real, real, convert_to_tensor(float("nan"), float64))
    return found if x.dtype is float64 else ops.cast(found, dtype=x.dtype)


_NODES, _WEIGHTS = (
    (v * s + c).tolist() for v, s, c in zip(np.polynomial.legendre.leggauss(7), (0.5, 0.5), (0.5, 0.0), strict=True)
)
_NEAR = 0.26
_ROOTS = 100


def logm(input: Any, name: str | None = None) -> Tensor:
    """The principal logarithm of complex matrices: square roots until they are near 1, then the [7/7] Pade approximant as a sum of partial
    fractions (Higham, "Functions of matrices", 2008, 11.4 and 11.5). NaN for a singular matrix. complex64 is computed in complex128."""
    from .control_flow import while_loop

    x = convert_to_tensor(input)
    check_matrix("logm", x.type)
    if not x.dtype.is_complex:
        raise DTypeError(f"logm: needs complex matrices, got {x.type}; use gf.cast")
    if x.dtype is not complex128:
        return ops.cast(logm(ops.cast(x, dtype=complex128)), dtype=x.dtype)
    unit = eye_like(x)

    def is_far(value: Any) -> Any:
        return ops.greater(_largest_column(ops.subtract(value, unit)), _NEAR)

    def goes_on(k: Any, value: Any, count: Any) -> Any:
        far = is_far(value)
        return ops.logical_and(
            ops.less(k, _ROOTS), ops.reduce_any(far, axes=tuple(range(len(far.dims))), keepdims=False)
        )

    def root(k: Any, value: Any, count: Any) -> tuple[Any, Any, Any]:
        far = is_far(value)
        closer = ops.select(far, ops.matrix_square_root(value), value)
        return ops.add(k, 1), closer, ops.add(count, ops.cast(far, dtype=float64))

    start = ops.broadcast_to(convert_to_tensor(0.0, float64), shape=(*x.dims[:-2], 1, 1))
    _, value, count = while_loop(goes_on, root, (convert_to_tensor(0, int32), x, start))
    rest, total = ops.subtract(value, unit), None
    for node, weight in zip(_NODES, _WEIGHTS, strict=True):
        # rest commutes with the inverse
        part = ops.multiply(ops.solve(ops.add(unit, ops.multiply(rest, node)), rest, adjoint=False), weight)
        total = part if total is None else ops.add(total, part)
    found = ops.multiply(total, in_dtype_of(_power_of_two(count), x))
    return ops.select(is_far(value), convert_to_tensor(complex("nan"), complex128), found)


def _largest_column(x: Any) -> Any:
    """The largest sum of magnitudes of a column of each matrix, [..., 1, 1], without a gradient."""
    rank = len(x.dims)
    sums = ops.reduce_sum(ops.stop_gradient(ops.absolute(x)), axes=(rank - 2,), keepdims=True)
    return reduce_in_steps(ops.reduce_max, sums, (rank - 1,), keepdims=True)
