"""What the parts of the math library share: bit access, exact sums and products, clamps."""

from __future__ import annotations

from typing import TypeVar

from ..dtypes import DType, float32
from .scalar import Scalar, ScalarBuilder, integer_twin

__all__ = ["Pair", "at_least", "at_most", "bits", "by_dtype", "exponent_bias", "fast_two_sum", "from_bits", "horner",
           "mantissa_bits", "quotient", "smallest_normal", "two_product", "two_sum"]  # fmt: skip

T = TypeVar("T")
#: An unevaluated sum high + low.
Pair = tuple[Scalar, Scalar]


def by_dtype(x: Scalar, for_f32: T, for_f64: T) -> T:
    """The alternative for x's dtype; TypeError for other dtypes than f32 and f64."""
    if x.dtype.short not in ("f32", "f64"):
        raise TypeError(f"the math library computes in f32 and f64, not {x.dtype.name}: convert first")
    return for_f32 if x.dtype is float32 else for_f64


def mantissa_bits(x: Scalar) -> int:
    """Explicit mantissa bits: 23 or 52."""
    return by_dtype(x, 23, 52)


def exponent_bias(x: Scalar) -> int:
    """127 or 1023."""
    return by_dtype(x, 127, 1023)


def smallest_normal(x: Scalar) -> float:
    """Below it numbers are subnormal."""
    return by_dtype(x, 2.0**-126, 2.0**-1022)


def bits(s: ScalarBuilder, x: Scalar) -> Scalar:
    """x's bits as a signed integer."""
    return s.bitcast(x, integer_twin(x.dtype))


def from_bits(s: ScalarBuilder, x: Scalar, dtype: DType) -> Scalar:
    """The float with these bits."""
    return s.bitcast(x, dtype)


def horner(s: ScalarBuilder, x: Scalar, coefficients: tuple[float, ...]) -> Scalar:
    """The polynomial with these coefficients, lowest power first (the order of math_coefficients)."""
    return s.polynomial(x, coefficients[::-1])


def at_most(s: ScalarBuilder, x: Scalar, limit: float) -> Scalar:
    """min(x, limit) that keeps NaN: one compare and one select, which LLVM makes a single vector minimum."""
    return s.select(x > limit, limit, x)


def at_least(s: ScalarBuilder, x: Scalar, limit: float) -> Scalar:
    """max(x, limit) that keeps NaN."""
    return s.select(x < limit, limit, x)


def two_sum(s: ScalarBuilder, a: Scalar, b: Scalar) -> Pair:
    """a + b exactly (Knuth; Muller, Handbook of Floating-Point Arithmetic, algorithm 4.4)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def fast_two_sum(a: Scalar, b: Scalar) -> Pair:
    """a + b exactly where |a| >= |b| or a = 0 (Dekker; Handbook, algorithm 4.3)."""
    total = a + b
    return total, b - (total - a)


def two_product(s: ScalarBuilder, a: Scalar, b: Scalar) -> Pair:
    """a * b exactly, by fma (Handbook, algorithm 4.8)."""
    product = a * b
    return product, s.fma(a, b, -product)


def quotient(s: ScalarBuilder, numerator: Pair, denominator: Pair) -> Pair:
    """numerator / denominator to about twice the precision, with one division."""
    reciprocal = s.const(1.0, denominator[0].dtype) / denominator[0]
    high = numerator[0] * reciprocal
    rest = s.fma(-high, denominator[0], numerator[0])
    rest = rest + s.fma(-high, denominator[1], numerator[1])
    return high, rest * reciprocal
