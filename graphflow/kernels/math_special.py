"""The error function and the gamma function's family."""

from __future__ import annotations

from ..dtypes import float32, float64
from . import math_coefficients as c
from .math_common import Pair, at_least, at_most, fast_two_sum, horner, quotient, two_product, two_sum
from .math_exponential import (
    exp,
    exp_minus_one_reduced,
    log,
    log_pair,
    power_of_two,
    reduce_exp,
    reduce_exp_long,
    reduce_log,
    scale,
)
from .math_trigonometric import cos_reduced, sin_reduced
from .scalar import Scalar, ScalarBuilder

__all__ = ["digamma", "erf", "erfc", "erfinv", "lgamma"]


def erf_near(s: ScalarBuilder, x: Scalar) -> Scalar:
    """erf(x) on |x| <= 1."""
    return s.fma(horner(s, x * x, c.ERF_F32 if x.dtype is float32 else c.ERF_F64), x, x)


def erfc_far(s: ScalarBuilder, x: Scalar) -> Scalar:
    """erfc(x) on 0.85 <= x <= 28 in f64: exp(-x^2) times the scaled function, a polynomial in t = (x - K) / (x + K)
    divided by x + K (Shepherd and Laframboise 1981). Quotient, square and sum carry their rounding errors along."""
    constant = 4.0
    k = s.const(constant, float64)
    total, total_low = fast_two_sum(k, x)
    total, total_low = (
        s.select(x > constant, x + constant, total),
        s.select(x > constant, k - ((x + constant) - x), total_low),
    )
    inverse, inverse_low = quotient(s, (s.const(1.0, float64), s.const(0.0, float64)), (total, total_low))
    # t = 1 - 2K / (x + K)
    t = s.fma(inverse, -2.0 * constant, 1.0)
    t_low = s.fma(inverse, -2.0 * constant, s.const(1.0, float64) - t) + inverse_low * (-2.0 * constant)
    # p(t) = c0 + t q(t), the last step in twice the precision
    q = horner(s, t, c.ERFCX[1:])
    product, product_low = two_product(s, q, t)
    p, p_low = fast_two_sum(s.const(c.ERFCX[0], float64), product)
    p_low = p_low + s.fma(q, t_low, s.fma(t, c.ERFCX_LOW[1], product_low) + c.ERFCX_LOW[0])
    value, value_low = two_product(s, p, inverse)
    value_low = value_low + s.fma(p, inverse_low, p_low * inverse)
    square, square_low = two_product(s, x, x)
    r, tail, low_bits = reduce_exp_long(s, -square, 2 * 1023)
    one, rest = fast_two_sum(s.const(1.0, float64), r)
    rest = rest + s.fma(-square_low, one + tail, tail)  # exp(-square_low) = 1 - square_low
    value, product_low = two_product(s, value, one)
    return scale(s, value + (product_low + s.fma(p * inverse, rest, value_low * one)), low_bits)


def erf(s: ScalarBuilder, x: Scalar) -> Scalar:
    """Error function: a polynomial up to 1, then 1 - erfc. f32 takes erfc from exp of a polynomial for log(erfc)."""
    magnitude = s.abs(x)
    near = magnitude < 1.0
    if x.dtype is float32:
        y = at_most(s, magnitude, 4.0)
        r, low_bits = reduce_exp(s, horner(s, y, c.ERF_LOG), 127)
        factor = power_of_two(s, low_bits, x)
        far = s.const(1.0, float32) - s.fma(factor, exp_minus_one_reduced(s, r), factor)
    else:
        far = s.const(1.0, float64) - erfc_far(s, at_most(s, at_least(s, magnitude, 1.0), 6.0))
    return s.copysign(s.select(near, erf_near(s, magnitude), far), x)


def erfc(s: ScalarBuilder, x: Scalar) -> Scalar:
    """1 - erf(x) without cancellation; f32 in f64."""
    if x.dtype is float32:
        return s.convert(erfc(s, s.convert(x, float64)), float32)
    magnitude = s.abs(x)
    far = erfc_far(s, at_most(s, at_least(s, magnitude, 0.85), 28.0))
    # erf(x) = x + x p(x^2) with a small p: 1 - x is exact as a pair
    first, rest = fast_two_sum(s.const(1.0, float64), -x)
    near = first + s.fma(horner(s, x * x, c.ERF_F64), -x, rest)
    return s.select(magnitude < 0.85, near, s.select(x < 0.0, s.const(2.0, float64) - far, far))


def erfinv(s: ScalarBuilder, x: Scalar) -> Scalar:
    """Inverse of erf: a first guess within 1e-6 and one Halley step (cubic) on erf near 0, on erfc towards 1. f32 in
    f64."""
    if x.dtype is float32:
        return s.convert(erfinv(s, s.convert(x, float64)), float32)
    one = s.const(1.0, float64)
    a = s.abs(x)
    near = a < 0.78
    inside = s.select(a < 1.0, a, 0.5)
    w = s.sqrt(-log(s, (one - inside) * (one + inside)))
    guess = s.select(near, horner(s, a * a, c.ERFINV_CENTRE) * a, horner(s, w, c.ERFINV_TAIL) * w)
    y = at_most(s, guess, 6.0)
    # erf(y) - a = (y - a) + y p(y^2) exactly but for the last rounding; erfc(y) - (1 - a) with 1 - a exact
    centre = s.fma(horner(s, y * y, c.ERF_F64), y, y - a)
    tail = (one - a) - erfc_far(s, at_least(s, y, 0.85))
    step = s.select(near, centre, tail) * (0.886226925452758 * exp(s, y * y))  # sqrt(pi) / 2
    result = s.copysign(y - step / s.fma(step, y, 1.0), x)
    result = s.select(a.equal(1.0), s.copysign(s.const(float("inf"), float64), x), result)
    result = s.select(x.equal(0.0), x, result)
    return s.select(a > 1.0, float("nan"), result)


# Gamma function -------------------------------------------------------------------------------------------------------
def log_long(s: ScalarBuilder, x: Scalar) -> Pair:
    """log of a positive finite f64 as a pair, 6 bits beyond f64."""
    k, f = reduce_log(s, x)
    high, low = log_pair(s, f)
    total, rest = fast_two_sum(k * c.LN2_F64[0], high)
    return total, rest + s.fma(k, c.LN2_F64[1], low)


def sin_cos_pi(s: ScalarBuilder, x: Scalar) -> tuple[Pair, Pair]:
    """|sin(pi x)| and cos(pi x) with the sign that tan(pi r) needs, r = x - rint(x), as pairs; x >= 0."""
    r = x - s.rint(x)
    a = s.abs(r)
    swap = a > 0.25
    b = s.select(swap, s.const(0.5, float64) - a, a)
    high, low = two_product(s, b, s.const(c.PI_F64[0], float64))
    low = s.fma(b, c.PI_F64[1], low)
    sine, cosine = fast_two_sum(*sin_reduced(s, high, low)), fast_two_sum(*cos_reduced(s, high, low))

    def choose(condition: Scalar, then: Pair, otherwise: Pair) -> Pair:
        return s.select(condition, then[0], otherwise[0]), s.select(condition, then[1], otherwise[1])

    first, second = choose(swap, cosine, sine), choose(swap, sine, cosine)
    negative = r < 0.0
    return first, choose(negative, (-second[0], -second[1]), second)


def lgamma(s: ScalarBuilder, x: Scalar) -> Scalar:
    """log|gamma(x)|. From 8 up Stirling's series; below, the recurrence to [1.5, 2.5] and a polynomial with the
    factor x - 2, so that the zeros at 1 and 2 are exact; under -1/2 the reflection formula, whose error is absolute
    (2e-16 of the larger term) near the zeros between negative integers. f32 in f64."""
    if x.dtype is float32:
        return s.convert(lgamma(s, s.convert(x, float64)), float32)
    one, zero = s.const(1.0, float64), s.const(0.0, float64)
    infinity = float("inf")
    reflected = x < -0.5
    # a: the argument itself, or |x| where the reflection formula applies
    a = s.select(reflected, -x, x)
    a = s.select(s.abs(a) < infinity, a, one)
    large = a >= 8.0
    # gamma(a) = gamma(2 + d) * (a - 1) ... (a - n), or gamma(2 + d) / (a (a + 1)), or gamma(2 + d) / a
    product = one
    d = a - 2.0
    for k in range(1, 7):
        above = a >= k + 1.5
        product = s.select(above, product * (a - float(k)), product)
        d = s.select(above, a - float(k + 2), d)
    below = a < 1.5
    lowest = a < 0.5
    square, square_low = two_product(s, a, a)
    quadratic, quadratic_low = two_sum(s, a, square)
    product = s.select(lowest, s.abs(quadratic), s.select(below, a, product))
    d = s.select(lowest, a, s.select(below, a - 1.0, d))
    logarithm, logarithm_low = log_long(s, s.select(large, a, product))
    # log(p + p_low) = log(p) + p_low / p, counted only below 1/2, where p = a + a^2
    logarithm_low = logarithm_low + s.select(
        lowest & ~square.equal(0.0), (quadratic_low + square_low) / quadratic, zero
    )
    logarithm, logarithm_low = s.select(below, -logarithm, logarithm), s.select(below, -logarithm_low, logarithm_low)
    # lgamma(2 + d) = d (c0 + d p(d)), in pairs: below 2 the logarithm cancels most of it
    inner, inner_low = two_product(s, horner(s, d, c.LGAMMA[1:]), d)
    sum_high, sum_low = fast_two_sum(s.const(c.LGAMMA[0], float64), inner)
    q, q_low = two_product(s, sum_high, d)
    q_low = s.fma(sum_low + (inner_low + c.LGAMMA_LOW[0]), d, q_low)
    total, rest = two_sum(s, logarithm, q)
    small = total, rest + (logarithm_low + q_low)
    # Stirling: (a - 1/2)(log a - 1) + (log(2 pi) - 1) / 2 + series / a
    inverse = one / a
    first, first_low = fast_two_sum(logarithm, s.const(-1.0, float64))
    factor = a - 0.5
    term, term_low = two_product(s, factor, first)
    term_low = s.fma(factor, first_low + logarithm_low, term_low)
    series = horner(s, inverse * inverse, c.STIRLING) * inverse + (c.HALF_LOG_TWO_PI_F64[0] - 0.5)
    stirling = term, s.select(term.equal(infinity), zero, term_low + series)
    high, low = s.select(large, stirling[0], small[0]), s.select(large, stirling[1], small[1])
    # Reflection: log(pi) - log(a |sin(pi a)|) - lgamma(a)
    sine, _ = sin_cos_pi(s, s.select(reflected, a, 0.5))
    mirror, mirror_low = log_long(s, s.select(reflected, a * sine[0], one))
    mirror, mirror_rest = two_sum(s, s.const(c.LOG_PI_F64[0], float64), -mirror)
    other, other_low = two_sum(s, mirror, -high)
    value = s.select(
        reflected, other + (other_low + ((mirror_rest - mirror_low) + (c.LOG_PI_F64[1] - low))), high + low
    )
    pole = ((x <= 0.0) & s.rint(x).equal(x)) | s.abs(x).equal(infinity)
    value = s.select(pole, infinity, value)
    return s.select(s.is_nan(x), x, value)


def digamma(s: ScalarBuilder, x: Scalar) -> Scalar:
    """The logarithmic derivative of gamma. From 6 up the asymptotic series; below, the recurrence to [1, 2] and a
    polynomial with the factor x - x0, x0 the positive zero; under 0 the reflection formula, with an absolute error
    near the negative zeros. -inf at +0, inf at -0, NaN at negative integers. f32 in f64."""
    if x.dtype is float32:
        return s.convert(digamma(s, s.convert(x, float64)), float32)
    one, zero = s.const(1.0, float64), s.const(0.0, float64)
    reflected = x < 0.0
    # digamma(x) = digamma(-x) + 1/(-x) + pi / tan(pi (-x)) for x < 0
    a = s.abs(x)
    a = s.select((a < float("inf")) & (a > 0.0), a, one)
    large = a >= 6.0
    # the sum of 1/(a - k), k = 1 .. n, as one quotient of pairs (in single words its error reached 2.1 ulp); -1/a
    # below 1
    below = a < 1.0
    numerator, numerator_low = s.select(below, s.const(-1.0, float64), zero), zero
    denominator, denominator_low = s.select(below, a, one), zero
    d, offset = a - 1.5, a - c.DIGAMMA_ZERO_F64[0]
    for k in range(1, 5):
        above = a >= k + 1.0
        term = a - float(k)
        product, product_low = two_product(s, numerator, term)
        total, rest = two_sum(s, product, denominator)
        rest = s.fma(numerator_low, term, rest + (product_low + denominator_low))
        numerator, numerator_low = s.select(above, total, numerator), s.select(above, rest, numerator_low)
        product, product_low = two_product(s, denominator, term)
        product_low = s.fma(denominator_low, term, product_low)
        denominator = s.select(above, product, denominator)
        denominator_low = s.select(above, product_low, denominator_low)
        d = s.select(above, term - 1.5, d)
        offset = s.select(above, term - c.DIGAMMA_ZERO_F64[0], offset)
    d = s.select(below, a - 0.5, d)
    # x0 - 1 is exact in f64
    offset = s.select(below, a - (c.DIGAMMA_ZERO_F64[0] - 1.0), offset)
    offset, offset_low = two_sum(s, offset, s.const(-c.DIGAMMA_ZERO_F64[1], float64))
    # (c0 + d p(d)) (x - x0)
    product, product_low = two_product(s, horner(s, d, c.DIGAMMA[1:]), d)
    factor, factor_low = fast_two_sum(s.const(c.DIGAMMA[0], float64), product)
    inner, inner_low = two_product(s, factor, offset)
    inner_low = s.fma(factor_low + (product_low + c.DIGAMMA_LOW[0]), offset, s.fma(factor, offset_low, inner_low))
    ratio, ratio_low = quotient(s, (numerator, numerator_low), (denominator, denominator_low))
    total, rest = two_sum(s, inner, ratio)
    low = rest + (inner_low + ratio_low)
    # log a - 1/(2a) - series / a^2
    inverse = one / a
    square = inverse * inverse
    logarithm, logarithm_low = log_long(s, s.select(large, a, one))
    tail = logarithm_low - s.fma(horner(s, square, c.DIGAMMA_TAIL), square, inverse * 0.5)
    high, low = s.select(large, logarithm, total), s.select(large, tail, low)
    # Reflection
    sine, cosine = sin_cos_pi(s, s.select(reflected, a, 0.25))
    cotangent, cotangent_low = quotient(s, cosine, sine)
    cotangent_pi, product_low = two_product(s, cotangent, s.const(c.PI_F64[0], float64))
    product_low = product_low + s.fma(cotangent, c.PI_F64[1], cotangent_low * c.PI_F64[0])
    first, first_low = two_sum(s, cotangent_pi, inverse)
    second, second_low = two_sum(s, first, high)
    mirrored = second + (second_low + (first_low + (product_low + low)))
    value = s.select(reflected, mirrored, high + low)
    # next to 0, where the products above leave the range of f64, and at 0
    value = s.select(s.abs(x) < 2.0**-100, s.const(-1.0, float64) / x, value)
    value = s.select(reflected & s.rint(x).equal(x), float("nan"), value)
    value = s.select(x.equal(float("inf")), x, value)
    return s.select(s.is_nan(x), x, value)
