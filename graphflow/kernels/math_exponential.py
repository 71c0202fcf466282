"""Exponentials, logarithms, powers and the functions made of them. Every one is free of branches and of tables.

exp: x = n log(2) + r after Cody and Waite (Software Manual for the Elementary Functions, 1980): n is rounded by
adding 1.5 * 2^p, which leaves n in the low bits, and a polynomial in r is scaled by 2^n in two factors, so that
subnormal results are right. log: x = 2^k m with sqrt(1/2) <= m < sqrt(2), f = m - 1 exact; log(1+f) = f - f^2/2 +
tail, the tail a polynomial (f32) or in s = f / (2 + f) (f64; Tang 1990)."""

from __future__ import annotations

from ..dtypes import float32, float64
from . import math_coefficients as c
from .math_common import (
    Pair,
    at_least,
    at_most,
    bits,
    by_dtype,
    exponent_bias,
    fast_two_sum,
    from_bits,
    horner,
    mantissa_bits,
    quotient,
    smallest_normal,
    two_product,
)
from .scalar import Scalar, ScalarBuilder

__all__ = [
    "acosh", "asinh", "atanh", "cosh", "exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "log_sigmoid", "pow",
    "rsqrt", "sigmoid", "sinh", "softplus", "tanh",
]  # fmt: skip


def round_to_exponent(s: ScalarBuilder, x: Scalar, factor: float | None, bias: int) -> tuple[Scalar, Scalar]:
    """n = rint(x * factor) as a float, and an integer whose low bits are n + bias: 1.5 * 2^p + bias leaves them
    there."""
    magic = 1.5 * 2.0 ** mantissa_bits(x) + bias
    shifted = x + magic if factor is None else s.fma(x, factor, magic)
    return shifted - magic, bits(s, shifted)


def reduce_exp(s: ScalarBuilder, x: Scalar, bias: int) -> tuple[Scalar, Scalar]:
    """r = x - n log(2) with |r| <= log(2)/2, and an integer whose low bits are n + bias. |x| < 2^p."""
    high, low = by_dtype(x, c.LN2_F32, c.LN2_F64)
    n, low_bits = round_to_exponent(s, x, by_dtype(x, c.LOG2_E_F32, c.LOG2_E_F64)[0], bias)
    return s.fma(n, -low, s.fma(n, -high, x)), low_bits


def reduce_exp_long(s: ScalarBuilder, x: Scalar, bias: int) -> tuple[Scalar, Scalar, Scalar]:
    """r and t with exp(x) = 2^n (1 + r + t), |t| < 0.08, free of the rounding error of r; and the integer of
    reduce_exp."""
    high, low = by_dtype(x, c.LN2_F32, c.LN2_F64)
    n, low_bits = round_to_exponent(s, x, by_dtype(x, c.LOG2_E_F32, c.LOG2_E_F64)[0], bias)
    exact = s.fma(n, -high, x)
    r = s.fma(n, -low, exact)
    r_low = s.fma(n, -low, exact - r)
    return r, s.fma(horner(s, r, by_dtype(x, c.EXP_F32, c.EXP_F64)), r * r, r_low), low_bits


def exp_minus_one_reduced(s: ScalarBuilder, r: Scalar) -> Scalar:
    """exp(r) - 1 on |r| <= log(2)/2."""
    return s.fma(horner(s, r, by_dtype(r, c.EXP_F32, c.EXP_F64)), r * r, r)


def power_of_two(s: ScalarBuilder, low_bits: Scalar, model: Scalar) -> Scalar:
    """2^n from an integer whose low bits are n + exponent bias; the higher bits are shifted out."""
    return from_bits(s, low_bits << mantissa_bits(model), model.dtype)


def scale(s: ScalarBuilder, y: Scalar, low_bits: Scalar) -> Scalar:
    """y * 2^n from an integer whose low bits are n + 2 * bias, in two factors: one rounding where the result is
    subnormal, and overflow to infinity."""
    shift = mantissa_bits(y)
    first = (low_bits >> 1) << shift
    second = (low_bits << shift) - first
    return y * from_bits(s, first, y.dtype) * from_bits(s, second, y.dtype)


def exp(s: ScalarBuilder, x: Scalar) -> Scalar:
    """e^x. The least exponent is -2 * bias, where both factors of `scale` are 0: from e^-104 (f64: e^-746) on the result is 0 anyway,
    but a product that underflows takes some 150 cycles, and half the terms of a causally masked softmax are e^-inf."""
    x = at_most(s, at_least(s, x, by_dtype(x, -176.0, -1418.0)), by_dtype(x, 89.0, 710.0))
    r, low_bits = reduce_exp(s, x, 2 * exponent_bias(x))
    return scale(s, exp_minus_one_reduced(s, r) + 1.0, low_bits)


def exp2_reduced(s: ScalarBuilder, r: Scalar) -> Scalar:
    """2^r on |r| <= 1/2."""
    return s.fma(horner(s, r, by_dtype(r, c.EXP2_F32, c.EXP2_F64)), r, 1.0)


def exp2(s: ScalarBuilder, x: Scalar) -> Scalar:
    """2^x; exact for integers. The least exponent is that of `exp`."""
    x = at_most(s, at_least(s, x, by_dtype(x, -254.0, -2046.0)), by_dtype(x, 129.0, 1025.0))
    n, low_bits = round_to_exponent(s, x, None, 2 * exponent_bias(x))
    return scale(s, exp2_reduced(s, x - n), low_bits)


def expm1(s: ScalarBuilder, x: Scalar) -> Scalar:
    """e^x - 1 = 2^n (e^r - 1) + (2^n - 1), at half scale so that 2^n does not overflow."""
    clamped = at_most(s, at_least(s, x, by_dtype(x, -18.0, -39.0)), by_dtype(x, 89.0, 710.0))
    r, low_bits = reduce_exp(s, clamped, exponent_bias(x) - 1)
    half = power_of_two(s, low_bits, x)
    tail = horner(s, r, by_dtype(r, c.EXP_F32, c.EXP_F64)) * (r * r)
    offset = half - 0.5
    high = s.fma(half, r, offset)
    low = s.fma(half, r, offset - high)
    result = high + s.fma(half, tail, low)
    return s.select(s.abs(x) < by_dtype(x, 2.0**-25, 2.0**-54), x, result + result)


# Logarithms -----------------------------------------------------------------------------------------------------------
def split_exponent(s: ScalarBuilder, x: Scalar) -> tuple[Scalar, Scalar]:
    """k * 2^p as an integer and m with x = 2^k m, sqrt(1/2) <= m < sqrt(2); x positive and normal."""
    shift = mantissa_bits(x)
    root = by_dtype(x, 0x3F3504F3, 0x3FE6A09E667F3BCD)  # the bits of sqrt(1/2)
    pattern = bits(s, x)
    exponent = (pattern - root) & -(1 << shift)
    return exponent, from_bits(s, pattern - exponent, x.dtype)


def reduce_log(s: ScalarBuilder, x: Scalar) -> Pair:
    """k and f with x = 2^k (1 + f), for positive finite x, subnormal ones too."""
    digits = mantissa_bits(x) + 1
    small = x < smallest_normal(x)
    exponent, m = split_exponent(s, s.select(small, x * 2.0**digits, x))
    k = s.convert(exponent >> mantissa_bits(x), x.dtype)
    return s.select(small, k - float(digits), k), m - 1.0


def log_tail(s: ScalarBuilder, f: Scalar, half_square: Scalar) -> Scalar:
    """log(1+f) - f + f^2/2 on sqrt(1/2) <= 1+f <= sqrt(2); half_square = f^2/2."""
    if f.dtype is float32:
        return horner(s, f, c.LOG_F32) * f * (f * f)
    ratio = f / (f + 2.0)
    square = ratio * ratio
    return ratio * s.fma(horner(s, square, c.LOG), square, half_square)


def log_sum(s: ScalarBuilder, k: Scalar, f: Scalar, extra: Scalar | None = None) -> Scalar:
    """k log(2) + log(1+f) + extra."""
    high, low = by_dtype(f, c.LN2_F32, c.LN2_F64)
    half_square = f * 0.5 * f
    rest = s.fma(k, low, log_tail(s, f, half_square))
    if extra is not None:
        rest = rest + extra
    return s.fma(k, high, f + (rest - half_square)) if f.dtype is float32 else k * high - ((half_square - rest) - f)


def log_pair(s: ScalarBuilder, f: Scalar) -> Pair:
    """log(1+f) as high + low, 6 to 8 bits beyond the dtype."""
    half = f * 0.5
    square, square_low = two_product(s, half, f)
    high, low = fast_two_sum(f, -square)
    return high, low + (log_tail(s, f, square) - square_low)


def log_edges(s: ScalarBuilder, x: Scalar, result: Scalar) -> Scalar:
    """log's values at 0, below 0, at infinity and NaN."""
    result = s.select(x < float("inf"), result, x)
    result = s.select(x.equal(0.0), float("-inf"), result)
    return s.select(x < 0.0, float("nan"), result)


def log(s: ScalarBuilder, x: Scalar) -> Scalar:
    """Natural logarithm."""
    k, f = reduce_log(s, x)
    return log_edges(s, x, log_sum(s, k, f))


def scaled_log(s: ScalarBuilder, f: Scalar, factor: tuple[float, ...]) -> Pair:
    """log(1+f) * factor as a pair."""
    high, low = log_pair(s, f)
    product, rest = two_product(s, high, s.const(factor[0], f.dtype))
    return product, rest + s.fma(high, factor[1], low * factor[0])


def log2(s: ScalarBuilder, x: Scalar) -> Scalar:
    """Base 2 logarithm; exact for powers of two."""
    k, f = reduce_log(s, x)
    high, low = scaled_log(s, f, by_dtype(x, c.LOG2_E_F32, c.LOG2_E_F64))
    total, rest = fast_two_sum(k, high)
    return log_edges(s, x, total + (rest + low))


def log10(s: ScalarBuilder, x: Scalar) -> Scalar:
    """Base 10 logarithm."""
    k, f = reduce_log(s, x)
    high, low = scaled_log(s, f, by_dtype(x, c.LOG10_E_F32, c.LOG10_E_F64))
    first, second = by_dtype(x, c.LOG10_2_F32, c.LOG10_2_F64)
    total, rest = fast_two_sum(k * first, high)
    return log_edges(s, x, total + (rest + s.fma(k, second, low)))


def log1p_finite(s: ScalarBuilder, x: Scalar, low: Scalar | None = None, more: Scalar | None = None) -> Scalar:
    """log(1 + x + low) + more * log(2) for -1 < x < infinity. With 1 + x near 2^k m: f = 2^-k x + (2^-k - 1), one
    rounding."""
    exponent, _ = split_exponent(s, x + 1.0)
    shift, bias = mantissa_bits(x), exponent_bias(x)
    # 4 * 2^-k, because 2^-k alone can be subnormal.
    four = from_bits(s, s.const((bias + 2) << shift, exponent.dtype) - exponent, x.dtype)
    inverse = four * 0.25
    f = s.fma(x * 0.25, four, inverse - 1.0)
    k = s.convert(exponent >> shift, x.dtype)
    # low 2^-k / (1+f), with 1 - f in place of 1 / (1+f): low is half an ulp, so the difference is below 0.1 ulp
    extra = None if low is None else low * inverse * (s.const(1.0, x.dtype) - f)
    if more is not None:
        k = k + more
    return log_sum(s, k, f, extra)


def log1p(s: ScalarBuilder, x: Scalar) -> Scalar:
    """log(1 + x)."""
    result = log1p_finite(s, x)
    result = s.select(s.abs(x) < by_dtype(x, 2.0**-25, 2.0**-54), x, result)
    result = s.select(x < float("inf"), result, x)
    result = s.select(x.equal(-1.0), float("-inf"), result)
    return s.select(x < -1.0, float("nan"), result)


# Sigmoid, tanh, softplus ----------------------------------------------------------------------------------------------
def exp_of_minus_abs(s: ScalarBuilder, x: Scalar) -> Pair:
    """exp(-|x|) down to 0 within 0.6 ulp, and what its rounding left out, relative to it."""
    x = at_least(s, -s.abs(x), by_dtype(x, -104.0, -746.0))
    r, tail, low_bits = reduce_exp_long(s, x, 2 * exponent_bias(x))
    one, rest = fast_two_sum(s.const(1.0, x.dtype), r)
    value, error = fast_two_sum(one, rest + tail)
    return scale(s, value, low_bits), error


def sigmoid(s: ScalarBuilder, x: Scalar) -> Scalar:
    """1 / (1 + exp(-x)) = e / (1 + e): never overflows, exactly 0 and 1 at saturation. The rounding errors of e and
    of 1 + e are given back after the division: without that the error reached 2.3 ulp, just below powers of two."""
    small, error = exp_of_minus_abs(s, x)
    one = s.const(1.0, x.dtype)
    total, total_low = fast_two_sum(one, small)
    negative = x < 0.0
    ratio = s.select(negative, small, one) / total
    # 1 / (1 + e) is near enough to 1 - e/2 for a correction of half an ulp
    weight = s.fma(small, -0.5, 1.0)
    return s.fma(ratio, weight * (s.select(negative, error, s.const(0.0, x.dtype)) - total_low), ratio)


def log1p_unit(s: ScalarBuilder, x: Scalar) -> Scalar:
    """log(1 + x) on 0 <= x <= 1."""
    large = x > 0.41421356
    f = s.select(large, x * 0.5 - 0.5, x)
    high, low = by_dtype(x, c.LN2_F32, c.LN2_F64)
    half_square = f * 0.5 * f
    rest = f + ((log_tail(s, f, half_square) + s.select(large, low, s.const(0.0, x.dtype))) - half_square)
    return s.select(large, rest + high, rest)


def softplus(s: ScalarBuilder, x: Scalar) -> Scalar:
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))."""
    return log1p_unit(s, exp_of_minus_abs(s, x)[0]) + at_least(s, x, 0.0)


def log_sigmoid(s: ScalarBuilder, x: Scalar) -> Scalar:
    """log(sigmoid(x)) = -softplus(-x)."""
    return -softplus(s, -x)


def tanh(s: ScalarBuilder, x: Scalar) -> Scalar:
    """With E = exp(2|x|): 1 - 2 / (E + 1), and below 0.62 a polynomial (f32) or (E - 1) / (E + 1) (f64). One
    division."""
    magnitude = s.abs(x)
    double = at_most(s, magnitude + magnitude, by_dtype(x, 18.2, 40.0))
    near = magnitude < 0.62
    one = s.const(1.0, x.dtype)
    if x.dtype is float32:
        r, low_bits = reduce_exp(s, double, 127)
        factor = power_of_two(s, low_bits, x)
        large = one - s.const(2.0, float32) / s.fma(factor, exp_minus_one_reduced(s, r), factor + 1.0)
        square = x * x
        small = s.fma(horner(s, square, c.TANH) * square, magnitude, magnitude)
        return s.copysign(s.select(near, small, large), x)
    r, tail, low_bits = reduce_exp_long(s, double, 1023)
    factor = power_of_two(s, low_bits, x)
    # E - 1 as a pair; E + 1 as a pair
    high, low = fast_two_sum(factor - 1.0, factor * r)
    low = s.fma(factor, tail, low)
    numerator, numerator_low = fast_two_sum(high, low)
    two = s.const(2.0, float64)
    total, total_low = fast_two_sum(s.select(near, two, numerator), s.select(near, numerator, two))
    pair = s.select(near, numerator, 2.0), s.select(near, numerator_low, s.const(0.0, float64))
    ratio, ratio_low = quotient(s, pair, (total, total_low + numerator_low))
    result = s.select(near, ratio, one - ratio)
    result = s.copysign(result + s.select(near, ratio_low, -ratio_low), x)
    return s.select(magnitude < 2.0**-28, x, result)


# Hyperbolic functions -------------------------------------------------------------------------------------------------
def hyperbolic_parts(s: ScalarBuilder, x: Scalar) -> tuple[Scalar, Scalar, Scalar, Scalar, Scalar]:
    """2^n / 4, 2^-n / 4, r, sinh(r) - r, cosh(r) - 1 where |x| = n log(2) + r. Half scale: 2^n can overflow."""
    limit = by_dtype(x, 89.6, 710.7)  # past the overflow, and 2^(n-2) is finite
    bias = exponent_bias(x)
    magnitude = at_most(s, s.abs(x), limit)
    r, low_bits = reduce_exp(s, magnitude, bias - 2)
    up = power_of_two(s, low_bits, x)  # 2^n / 4
    # 2^-n / 4 = 2^-4 / (2^n / 4): the exponents are subtracted; below 2^-60 it no longer matters, and 0 will do.
    minus = s.const((2 * bias - 4) << mantissa_bits(x), low_bits.dtype) - bits(s, up)
    down = s.select(magnitude < by_dtype(x, 40.0, 80.0), from_bits(s, minus, x.dtype), s.const(0.0, x.dtype))
    square = r * r
    odd_tail = horner(s, square, by_dtype(x, c.EXP_ODD_F32, c.EXP_ODD_F64)) * (square * r)
    even = horner(s, square, by_dtype(x, c.EXP_EVEN_F32, c.EXP_EVEN_F64)) * square
    return up, down, r, odd_tail, even


def sinh(s: ScalarBuilder, x: Scalar) -> Scalar:
    """sinh(r) cosh(n log 2) + cosh(r) sinh(n log 2), without a division."""
    up, down, r, odd_tail, even = hyperbolic_parts(s, x)
    even_scale, odd_scale = up + down, up - down
    # r times the scale cancels most where n = 1: what the first sum rounds off is added again
    high = s.fma(r, even_scale, odd_scale)
    low = s.fma(r, even_scale, odd_scale - high)
    half = high + s.fma(even, odd_scale, s.fma(odd_tail, even_scale, low))
    return s.select(s.abs(x) < by_dtype(x, 2.0**-13, 2.0**-27), x, s.copysign(half + half, x))


def cosh(s: ScalarBuilder, x: Scalar) -> Scalar:
    """(2^n exp(r) + 2^-n exp(-r)) / 2, the exact 2^n added last."""
    up, down, r, odd_tail, even = hyperbolic_parts(s, x)
    odd = r + odd_tail
    half = up + s.fma(up, odd + even, down * (even + 1.0 - odd))
    return half + half


def asinh(s: ScalarBuilder, x: Scalar) -> Scalar:
    """log1p(a + a^2 / (1 + sqrt(1 + a^2))), and log(2a) where a^2 would overflow."""
    magnitude = s.abs(x)
    huge = magnitude > by_dtype(x, 2.0**30, 2.0**60)
    a = s.select(huge, 1.0, magnitude)
    square = a * a
    z, low = fast_two_sum(a, square / (s.sqrt(square + 1.0) + 1.0))
    zero, one = s.const(0.0, x.dtype), s.const(1.0, x.dtype)
    result = log1p_finite(s, s.select(huge, magnitude, z), s.select(huge, zero, low), s.select(huge, one, zero))
    result = s.select(magnitude < float("inf"), s.copysign(result, x), x)
    return s.select(magnitude < by_dtype(x, 2.0**-13, 2.0**-27), x, result)


def acosh(s: ScalarBuilder, x: Scalar) -> Scalar:
    """log1p(d + sqrt(2d + d^2)) with d = x - 1, and log(2x) where d^2 would overflow."""
    huge = x > by_dtype(x, 2.0**30, 2.0**60)
    d = s.select(huge, 1.0, x) - 1.0
    double = d + d
    under = s.fma(d, d, double)
    root = s.sqrt(under)
    # what the sum and the root left out: without it the error reached 1.92 ulp near 1.06
    rest = s.fma(-root, root, under) + s.fma(d, d, double - under)
    z, low = fast_two_sum(root, d)  # root > d
    low = low + rest / (root + root)
    zero, one = s.const(0.0, x.dtype), s.const(1.0, x.dtype)
    result = log1p_finite(s, s.select(huge, x, z), s.select(huge, zero, low), s.select(huge, one, zero))
    result = s.select(x < float("inf"), result, x)
    result = s.select(x.equal(1.0), 0.0, result)
    return s.select(x < 1.0, float("nan"), result)


def atanh(s: ScalarBuilder, x: Scalar) -> Scalar:
    """log1p(2a / (1 - a)) / 2."""
    a = s.abs(x)
    one = s.const(1.0, x.dtype)
    z, low = quotient(s, (a + a, s.const(0.0, x.dtype)), fast_two_sum(one, -a))
    result = s.copysign(log1p_finite(s, z, low) * 0.5, x)
    result = s.select(a < by_dtype(x, 2.0**-13, 2.0**-27), x, result)
    result = s.select(a.equal(1.0), s.copysign(s.const(float("inf"), x.dtype), x), result)
    return s.select(a > 1.0, float("nan"), result)


# Powers ---------------------------------------------------------------------------------------------------------------
def rsqrt(s: ScalarBuilder, x: Scalar) -> Scalar:
    """1 / sqrt(x): two roundings, 1.5 ulp at most."""
    return s.const(1.0, x.dtype) / s.sqrt(x)


def log2_long(s: ScalarBuilder, x: Scalar) -> Pair:
    """log2 of a positive finite f64 as a pair, relative error about 2^-65: the series in s = f / (2 + f), its first
    two terms in twice the precision."""
    k, f = reduce_log(s, x)
    ratio, ratio_low = quotient(s, (f, s.const(0.0, float64)), fast_two_sum(s.const(2.0, float64), f))
    square = ratio * ratio
    square_low = s.fma(ratio, ratio, -square) + (ratio + ratio) * ratio_low
    third, third_low = fast_two_sum(
        s.const(c.TWO_THIRDS_F64[0], float64), s.fma(horner(s, square, c.LOG_TAIL), square, 0.0)
    )
    third_low = third_low + c.TWO_THIRDS_F64[1]
    cube, cube_low = two_product(s, square, ratio)
    cube_low = cube_low + s.fma(square, ratio_low, square_low * ratio)
    tail, tail_low = two_product(s, cube, third)
    tail_low = tail_low + s.fma(cube, third_low, cube_low * third)
    high, low = fast_two_sum(ratio + ratio, tail)
    low = low + (tail_low + (ratio_low + ratio_low))
    product, rest = two_product(s, high, s.const(c.LOG2_E_F64[0], float64))
    rest = rest + s.fma(high, c.LOG2_E_F64[1], low * c.LOG2_E_F64[0])
    total, total_low = fast_two_sum(k, product)
    return total, total_low + rest


def power_of_positive(s: ScalarBuilder, x: Scalar, y: Scalar) -> Scalar:
    """x^y for positive finite x: 2^(y log2 x) with the logarithm in extended precision."""
    if x.dtype is float32:
        return power_of_positive_f32(s, x, y)
    # beyond 2^65 every x but 1 overflows or underflows; the clamp keeps infinity out of the products
    y = at_most(s, at_least(s, y, -(2.0**65)), 2.0**65)
    high, low = log2_long(s, x)
    product, rest = two_product(s, y, high)
    rest = s.fma(y, low, rest)
    rest = s.select(s.abs(product) < 1100.0, rest, s.const(0.0, float64))
    product = at_most(s, at_least(s, product, -1100.0), 1100.0)
    n, low_bits = round_to_exponent(s, product, None, 2 * 1023)
    return scale(s, exp2_reduced(s, (product - n) + rest), low_bits)


def power_of_positive_f32(s: ScalarBuilder, x: Scalar, y: Scalar) -> Scalar:
    """In f64, where log2 to 43 bits and 2^r to 33 bits are short polynomials; about as many instructions as pairs of
    f32."""
    wide_x, wide_y = s.convert(x, float64), s.convert(y, float64)
    wide_y = at_most(s, at_least(s, wide_y, -(2.0**65)), 2.0**65)
    exponent, m = split_exponent(s, wide_x)
    f = m - 1.0
    ratio = f / (f + 2.0)
    logarithm = s.fma(ratio, horner(s, ratio * ratio, c.LOG_SHORT), s.convert(exponent >> 52, float64))
    product = at_most(s, at_least(s, wide_y * logarithm, -200.0), 200.0)
    n, low_bits = round_to_exponent(s, product, None, 1023)
    return s.convert(horner(s, product - n, c.EXP2_SHORT) * power_of_two(s, low_bits, product), float32)


def pow(s: ScalarBuilder, x: Scalar, y: Scalar) -> Scalar:
    """x^y with IEEE 754's table of special values."""
    magnitude = s.abs(x)
    zero_or_infinite = magnitude.equal(0.0) | magnitude.equal(float("inf"))
    result = power_of_positive(s, s.select(zero_or_infinite, 1.0, magnitude), y)
    grows = magnitude.equal(0.0).not_equal(y < 0.0)  # 0^positive and infinity^negative vanish
    result = s.select(zero_or_infinite, s.select(grows, s.const(0.0, x.dtype), float("inf")), result)
    integer = s.rint(y).equal(y)
    half = y * 0.5
    odd = integer & s.rint(half).not_equal(half)
    result = s.copysign(result, s.select(odd, x, 1.0))
    result = s.select((x < 0.0) & ~integer & (magnitude < float("inf")), float("nan"), result)
    result = s.select(s.is_nan(x) | s.is_nan(y), float("nan"), result)
    return s.select(y.equal(0.0) | x.equal(1.0), 1.0, result)
