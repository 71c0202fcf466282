"""gf.math: functions of tensors, element by element, and reductions (reductions.py). Names, argument order and defaults
are TensorFlow's; `name` is accepted for its sake and not used.

Operands are tensors, variables, NumPy arrays and Python numbers; a Python number takes the dtype of the tensor
beside it. Unless said otherwise, operands broadcast, have one dtype, and the result has it too. Errors: DTypeError
for mixed or unfit dtypes, ShapeError for shapes that do not broadcast.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from typing import Any

import numpy as np

from . import ops
from .arguments import guard
from .dtypes import DType, as_dtype, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64
from .errors import DTypeError, InvalidArgumentError
from .functions import special
from .functions.cumulative import cumprod, cumsum, cumulative_logsumexp
from .functions.normalising import l2_normalize, log_softmax, softmax
from .functions.reductions import (
    argmax,
    argmin,
    count_nonzero,
    reduce_all,
    reduce_any,
    reduce_euclidean_norm,
    reduce_logsumexp,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_std,
    reduce_sum,
    reduce_variance,
    zero_fraction,
)  # fmt: skip
from .functions.segments import (
    bincount,
    confusion_matrix,
    segment_max,
    segment_mean,
    segment_min,
    segment_prod,
    segment_sum,
    unsorted_segment_max,
    unsorted_segment_mean,
    unsorted_segment_min,
    unsorted_segment_prod,
    unsorted_segment_sqrt_n,
    unsorted_segment_sum,
)  # fmt: skip
from .functions.sorting import approx_max_k, approx_min_k, in_top_k, invert_permutation, top_k
from .functions.special import (
    bessel_i0,
    bessel_i0e,
    bessel_i1,
    bessel_i1e,
    betainc,
    igamma,
    igammac,
    is_non_decreasing,
    is_strictly_increasing,
    lbeta,
    nextafter,
    polygamma,
    sobol_sample,
    zeta,
)  # fmt: skip
from .ops.gradients import zeros_like
from .ops.rules import equal_shapes
from .tensor import Tensor, TensorLike, convert_to_tensor, operands

__all__ = [
    "abs", "accumulate_n", "acos", "acosh", "add", "add_n", "angle", "approx_max_k", "approx_min_k", "argmax", "argmin", "asin",
    "asinh", "atan", "atan2", "atanh", "bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e", "betainc", "bincount", "cast", "ceil",
    "complex", "confusion_matrix", "conj", "cos", "cosh", "count_nonzero", "cumprod", "cumsum", "cumulative_logsumexp", "digamma",
    "divide", "divide_no_nan", "equal", "erf", "erfc", "erfcinv", "erfinv", "exp", "expm1", "floor", "floordiv", "floormod", "greater",
    "greater_equal", "igamma", "igammac", "imag", "in_top_k", "invert_permutation", "is_finite", "is_inf", "is_nan",
    "is_non_decreasing", "is_strictly_increasing", "l2_normalize", "lbeta", "less", "less_equal", "lgamma", "log", "log1p",
    "log_sigmoid", "log_softmax", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "mod", "multiply",
    "multiply_no_nan", "ndtri", "negative", "nextafter", "not_equal", "polygamma", "polyval", "pow", "real", "reciprocal",
    "reciprocal_no_nan", "reduce_all", "reduce_any", "reduce_euclidean_norm", "reduce_logsumexp", "reduce_max", "reduce_mean",
    "reduce_min", "reduce_prod", "reduce_std", "reduce_sum", "reduce_variance", "rint", "round", "rsqrt", "scalar_mul", "segment_max",
    "segment_mean", "segment_min", "segment_prod", "segment_sum", "sigmoid", "sign", "sin", "sinh", "sobol_sample", "softmax",
    "softplus", "softsign", "special", "sqrt", "square", "squared_difference", "subtract", "tan", "tanh", "top_k", "truediv",
    "truncatediv", "truncatemod", "unsorted_segment_max", "unsorted_segment_mean", "unsorted_segment_min", "unsorted_segment_prod",
    "unsorted_segment_sqrt_n", "unsorted_segment_sum", "xdivy", "xlog1py", "xlogy", "zero_fraction", "zeta",
]  # fmt: skip

_TRUE_DIVISION: dict[DType, DType] = {
    int8: float32, uint8: float32, int16: float32, uint16: float32,
    int32: float64, uint32: float64, int64: float64, uint64: float64,
}  # fmt: skip


# Arithmetic ---------------------------------------------------------------------------------------------------------
def add(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x + y. Integers wrap."""
    return ops.add(x, y)


def subtract(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x - y. Integers wrap."""
    return ops.subtract(x, y)


def multiply(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x * y, element by element. Integers wrap."""
    return ops.multiply(x, y)


def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Tensor:
    """scalar * x; scalar has rank 0."""
    return ops.multiply(scalar, x)


def divide(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y. Integers are cast first: to float32 up to 16 bits, else to float64, so 7 / 2 is 3.5. A zero divisor
    gives inf or NaN."""
    return ops.divide(*_divided(x, y))


def true_quotient(x: Any) -> Any:
    """A tensor in the dtype that its quotients have: integers become float32 up to 16 bits, else float64."""
    x = convert_to_tensor(x)
    wide = _TRUE_DIVISION.get(x.dtype)
    return x if wide is None else ops.cast(x, dtype=wide)


def _divided(x: Any, y: Any) -> tuple[Any, Any]:
    """Operands of a true division."""
    if isinstance(x, TensorLike) and x.dtype.is_floating:
        return x, y
    x, y = operands(x, y)
    wide = _TRUE_DIVISION.get(x.dtype)
    if wide is not None and x.dtype is y.dtype:
        return ops.cast(x, dtype=wide), ops.cast(y, dtype=wide)
    return x, y


truediv = divide
realdiv = divide


def floordiv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """floor(x / y). An integer divisor of 0 raises DivisionByZeroError, in a compiled function too. Cuts the
    gradient."""
    return ops.floordiv(x, y)


def floormod(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The remainder with the sign of y, as Python's %. Exact for floats. An integer divisor of 0 raises
    DivisionByZeroError."""
    return ops.floormod(x, y)


mod = floormod


def truncatediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y rounded towards zero. An integer divisor of 0 raises DivisionByZeroError. Cuts the gradient."""
    return ops.truncatediv(x, y)


def truncatemod(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The remainder with the sign of x, as in C. An integer divisor of 0 raises DivisionByZeroError."""
    return ops.truncatemod(x, y)


def divide_no_nan(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y, but 0 where y is 0. Integers are cast first, as by divide."""
    return ops.divide_no_nan(*_divided(x, y))


def multiply_no_nan(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x * y of floats, but 0 where y is 0, even if x is infinite or NaN."""
    return ops.multiply_no_nan(x, y)


def pow(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x ** y. Integers wrap and refuse a negative exponent (InvalidArgumentError). A literal exponent of 2, 3 or 4
    multiplies."""
    if isinstance(y, (int, float)) and not isinstance(y, bool) and y in (2, 3, 4):
        (x,) = operands(x)
        if not (x.dtype.is_floating or x.dtype.is_complex or isinstance(y, int)):
            return ops.pow_(x, y)  # refuses the float literal beside integers
        squared = ops.square(x)
        return squared if y == 2 else ops.multiply(squared, x) if y == 3 else ops.square(squared)
    return ops.pow_(x, y)


def negative(x: Any, name: str | None = None) -> Tensor:
    """-x."""
    return ops.negative(x)


def abs(x: Any, name: str | None = None) -> Tensor:
    """|x|. The gradient at 0 is 0; the most negative integer stays itself."""
    return ops.absolute(x)


def sign(x: Any, name: str | None = None) -> Tensor:
    """-1, 0 or 1; NaN for NaN."""
    return ops.sign(x)


def square(x: Any, name: str | None = None) -> Tensor:
    """x * x."""
    return ops.square(x)


def squared_difference(x: Any, y: Any, name: str | None = None) -> Tensor:
    """(x - y) ** 2."""
    return ops.squared_difference(x, y)


def reciprocal(x: Any, name: str | None = None) -> Tensor:
    """1 / x of floats."""
    return ops.reciprocal(x)


def reciprocal_no_nan(x: Any, name: str | None = None) -> Tensor:
    """1 / x of floats, but 0 where x is 0."""
    return ops.divide_no_nan(1.0, x)


def maximum(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The larger of x and y; NaN if either is NaN. On ties the gradient goes to x."""
    return ops.maximum(x, y)


def minimum(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The smaller of x and y; NaN if either is NaN. On ties the gradient goes to x."""
    return ops.minimum(x, y)


def add_n(inputs: Sequence[Any], name: str | None = None) -> Tensor:
    """The sum of tensors of one shape, added from first to last. Raises InvalidArgumentError for an empty list."""
    values = operands(*(inputs if isinstance(inputs, (list, tuple)) else [inputs]))
    if not values:
        raise InvalidArgumentError("add_n: needs at least one tensor")
    total = values[0]
    for value in values[1:]:
        if not equal_shapes(value.dims, total.dims):
            raise InvalidArgumentError(f"add_n: shapes must be equal, got {total.type} and {value.type}")
        total = ops.add(total, value)
    return total


def accumulate_n(inputs: Sequence[Any], shape: Any = None, tensor_dtype: Any = None, name: str | None = None) -> Tensor:
    """The same as add_n; shape and tensor_dtype are TensorFlow's hints."""
    return add_n(inputs)


def polyval(coeffs: Sequence[Any], x: Any, name: str | None = None) -> Tensor:
    """The polynomial with these coefficients, highest power first, at x (Horner). No coefficients give 0."""
    if not isinstance(coeffs, (list, tuple)):
        raise InvalidArgumentError(f"polyval: coeffs must be a list, got {type(coeffs).__name__}")
    (x,) = operands(x)
    if not coeffs:
        return zeros_like(x)
    total = convert_to_tensor(coeffs[0], dtype_hint=x.dtype)
    for coefficient in coeffs[1:]:
        total = ops.add(ops.multiply(total, x), coefficient)
    return total


# Exponentials and logarithms ----------------------------------------------------------------------------------------
def exp(x: Any, name: str | None = None) -> Tensor:
    """e ** x of floats."""
    return ops.exp(x)


def expm1(x: Any, name: str | None = None) -> Tensor:
    """exp(x) - 1, precise near 0."""
    return ops.expm1(x)


def log(x: Any, name: str | None = None) -> Tensor:
    """The natural logarithm of floats; -inf at 0, NaN below."""
    return ops.log(x)


def log1p(x: Any, name: str | None = None) -> Tensor:
    """log(1 + x), precise near 0."""
    return ops.log1p(x)


def sqrt(x: Any, name: str | None = None) -> Tensor:
    """The square root of floats; NaN below 0. The gradient at 0 is infinite."""
    return ops.sqrt(x)


def rsqrt(x: Any, name: str | None = None) -> Tensor:
    """1 / sqrt(x) of floats."""
    return ops.rsqrt(x)


def sigmoid(x: Any, name: str | None = None) -> Tensor:
    """1 / (1 + exp(-x)) of floats, without overflow."""
    return ops.sigmoid(x)


def log_sigmoid(x: Any, name: str | None = None) -> Tensor:
    """log(sigmoid(x)) as -softplus(-x)."""
    return ops.negative(ops.softplus(ops.negative(x)))


def softplus(features: Any, name: str | None = None) -> Tensor:
    """log(1 + exp(features)), without overflow."""
    return ops.softplus(features)


def softsign(features: Any, name: str | None = None) -> Tensor:
    """features / (1 + |features|)."""
    (features,) = operands(features)
    return ops.divide(features, ops.add(ops.absolute(features), 1))


def xlogy(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x * log(y), but 0 where x is 0."""
    return ops.xlogy(x, y)


def xlog1py(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x * log1p(y), but 0 where x is 0."""
    x, y = operands(x, y)
    return ops.multiply_no_nan(ops.log1p(y), x)


def xdivy(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y, but 0 where x is 0."""
    return ops.xdivy(x, y)


# Trigonometry and special functions ---------------------------------------------------------------------------------
def sin(x: Any, name: str | None = None) -> Tensor:
    """Sine of radians."""
    return ops.sin(x)


def cos(x: Any, name: str | None = None) -> Tensor:
    """Cosine of radians."""
    return ops.cos(x)


def tan(x: Any, name: str | None = None) -> Tensor:
    """Tangent of radians."""
    return ops.tan(x)


def asin(x: Any, name: str | None = None) -> Tensor:
    """Arc sine; NaN outside [-1, 1]."""
    return ops.asin(x)


def acos(x: Any, name: str | None = None) -> Tensor:
    """Arc cosine; NaN outside [-1, 1]."""
    return ops.acos(x)


def atan(x: Any, name: str | None = None) -> Tensor:
    """Arc tangent."""
    return ops.atan(x)


def atan2(y: Any, x: Any, name: str | None = None) -> Tensor:
    """The angle of the point (x, y), in [-pi, pi]."""
    return ops.atan2(y, x)


def sinh(x: Any, name: str | None = None) -> Tensor:
    """Hyperbolic sine."""
    return ops.sinh(x)


def cosh(x: Any, name: str | None = None) -> Tensor:
    """Hyperbolic cosine."""
    return ops.cosh(x)


def tanh(x: Any, name: str | None = None) -> Tensor:
    """Hyperbolic tangent."""
    return ops.tanh(x)


def asinh(x: Any, name: str | None = None) -> Tensor:
    """Inverse hyperbolic sine."""
    return ops.asinh(x)


def acosh(x: Any, name: str | None = None) -> Tensor:
    """Inverse hyperbolic cosine; NaN below 1."""
    return ops.acosh(x)


def atanh(x: Any, name: str | None = None) -> Tensor:
    """Inverse hyperbolic tangent; NaN outside [-1, 1]."""
    return ops.atanh(x)


def erf(x: Any, name: str | None = None) -> Tensor:
    """The error function."""
    return ops.erf(x)


def erfc(x: Any, name: str | None = None) -> Tensor:
    """1 - erf(x), precise for large x."""
    return ops.erfc(x)


def erfinv(x: Any, name: str | None = None) -> Tensor:
    """The inverse of erf; NaN outside [-1, 1]."""
    return ops.erfinv(x)


def erfcinv(x: Any, name: str | None = None) -> Tensor:
    """The inverse of erfc, as -ndtri(x / 2) / sqrt(2)."""
    (x,) = operands(x)
    return ops.erfinv(ops.subtract(1, x))


def ndtri(x: Any, name: str | None = None) -> Tensor:
    """The quantile of the standard normal distribution at probability x."""
    (x,) = operands(x)
    return ops.multiply(ops.erfinv(ops.subtract(ops.multiply(x, 2), 1)), 2.0**0.5)


def lgamma(x: Any, name: str | None = None) -> Tensor:
    """log(|gamma(x)|)."""
    return ops.lgamma(x)


def digamma(x: Any, name: str | None = None) -> Tensor:
    """The derivative of lgamma. Its gradient is polygamma(1, x)."""
    return ops.digamma(x)


# Rounding and predicates --------------------------------------------------------------------------------------------
def _rounded(op: Any, x: Any) -> Tensor:
    (x,) = operands(x)
    return x if x.dtype.is_integer else op(x)


def floor(x: Any, name: str | None = None) -> Tensor:
    """The largest integer not above x. Cuts the gradient, as the other roundings do."""
    return ops.floor(x)


def ceil(x: Any, name: str | None = None) -> Tensor:
    """The smallest integer not below x."""
    return ops.ceil(x)


def round(x: Any, name: str | None = None) -> Tensor:
    """The nearest integer, halves to even. Integers stay."""
    return _rounded(ops.round_, x)


def rint(x: Any, name: str | None = None) -> Tensor:
    """The nearest integer, halves to even, of floats."""
    return ops.round_(x)


def is_nan(x: Any, name: str | None = None) -> Tensor:
    """Is x NaN? bool."""
    return ops.is_nan(x)


def is_inf(x: Any, name: str | None = None) -> Tensor:
    """Is x infinite? bool."""
    return ops.is_inf(x)


def is_finite(x: Any, name: str | None = None) -> Tensor:
    """Is x neither infinite nor NaN? bool."""
    return ops.is_finite(x)


def cast(x: Any, dtype: Any, name: str | None = None) -> Tensor:
    """x as dtype. Integers wrap; floats to integers truncate and saturate, NaN becomes 0; to bool is x != 0."""
    wanted = as_dtype(dtype)
    (x,) = operands(x)
    return x if x.dtype is wanted else ops.cast(x, dtype=wanted)


# Complex numbers ----------------------------------------------------------------------------------------------------
def complex(real: Any, imag: Any, name: str | None = None) -> Tensor:
    """real + i imag, for two tensors of float32 (complex64) or float64 (complex128). Broadcasts."""
    real, imag = operands(real, imag)
    return ops.complex_(real, imag)


def real(input: Any, name: str | None = None) -> Tensor:
    """The real part; a real tensor itself."""
    (input,) = operands(input)
    return ops.real(input) if input.dtype.is_complex else input


def imag(input: Any, name: str | None = None) -> Tensor:
    """The imaginary part; zeros for a real tensor."""
    (input,) = operands(input)
    return ops.imag(input) if input.dtype.is_complex else zeros_like(input)


def conj(x: Any, name: str | None = None) -> Tensor:
    """The complex conjugate; a real tensor itself."""
    (x,) = operands(x)
    if not x.dtype.is_numeric:
        raise DTypeError(f"conj: needs numbers, got {x.type}; use gf.cast")
    return ops.conj(x) if x.dtype.is_complex else x


def angle(input: Any, name: str | None = None) -> Tensor:
    """The angle in [-pi, pi] of complex numbers; 0 or pi for real ones."""
    (input,) = operands(input)
    if input.dtype.is_complex:
        return ops.angle(input)
    return ops.select(ops.less(input, zeros_like(input)), _full(pi, input), zeros_like(input))


def _full(value: float, like: Any) -> Any:
    return ops.broadcast_to(convert_to_tensor(np.asarray(value, like.dtype.numpy)), shape=like.dims)


# Comparison and logic -----------------------------------------------------------------------------------------------
def equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x == y as bool. Shapes that do not broadcast raise ShapeError."""
    return ops.equal(x, y)


def not_equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x != y as bool. Shapes that do not broadcast raise ShapeError."""
    return ops.not_equal(x, y)


def less(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x < y as bool."""
    return ops.less(x, y)


def less_equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x <= y as bool."""
    return ops.less_equal(x, y)


def greater(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x > y as bool."""
    return ops.greater(x, y)


def greater_equal(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x >= y as bool."""
    return ops.greater_equal(x, y)


def logical_and(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x and y, both bool."""
    return ops.logical_and(x, y)


def logical_or(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x or y, both bool."""
    return ops.logical_or(x, y)


def logical_xor(x: Any, y: Any, name: str | None = "LogicalXor") -> Tensor:
    """Exactly one of x and y, both bool."""
    return ops.logical_xor(x, y)


def logical_not(x: Any, name: str | None = None) -> Tensor:
    """not x."""
    return ops.logical_not(x)


guard("gf.math", globals(), __all__)
guard("gf.math.special", vars(special), special.__all__)
