"""Trigonometric functions. Every argument, up to the largest finite one, is reduced by a branch-free Payne-Hanek
multiplication with 2/pi (Payne and Hanek, "Radian reduction for trigonometric functions", 1983): the digits of 2/pi
that matter for the argument's exponent are picked by selects (a barrel shifter, no table in memory), the rest would
only add whole turns."""

from __future__ import annotations

from ..dtypes import float32, float64, int64, uint32, uint64
from . import math_coefficients as c
from .math_common import Pair, bits, by_dtype, fast_two_sum, horner, quotient, two_product, two_sum
from .scalar import Scalar, ScalarBuilder

__all__ = ["acos", "asin", "atan", "atan2", "cos", "sin", "tan"]

_NEAR = 0.78539816  # just below pi/4: smaller arguments are not reduced


def _choose(s: ScalarBuilder, condition: Scalar, words: list[Scalar], shift: int, count: int) -> list[Scalar]:
    """words moved down by `shift` places where condition holds; the first `count` of them. Beyond the end nothing is
    asked for."""
    result = []
    for k in range(count):
        moved = words[k + shift] if k + shift < len(words) else words[k]
        result.append(words[k] if moved is words[k] else s.select(condition, moved, words[k]))
    return result


def reduce_f32(s: ScalarBuilder, magnitude: Scalar) -> tuple[Scalar, Scalar]:
    """r in f64 and the quadrant q (u32) of a positive f32: magnitude = q pi/2 + r modulo 2 pi, |r| <= pi/4. In
    integers: the 24-bit mantissa times a 96-bit window of 2/pi gives the turn to 64 bits, of which the worst f32
    argument needs about 60."""
    pattern = s.bitcast(magnitude, uint32)
    position = (pattern >> 23) - 120  # index of the window's first bit in 32 zeros followed by 2/pi
    words = [s.const(word, uint32) for word in (0, *c.TWO_OVER_PI_F32)]
    for level, count in ((4, 7), (2, 5), (1, 4)):
        condition = (position & (32 * level)).not_equal(0)
        words = _choose(s, condition, words, level, count)
    shift = position & 31
    back = shift ^ 31
    window = [(words[k] << shift) | ((words[k + 1] >> 1) >> back) for k in range(3)]
    mantissa = (pattern & 0x7FFFFF) | 0x800000
    wide = s.convert(mantissa, uint64)
    turn = (
        (s.convert(mantissa * window[0], uint64) << 32)
        + wide * s.convert(window[1], uint64)
        + ((wide * s.convert(window[2], uint64)) >> 32)
    )
    quadrant = s.convert((turn + (1 << 61)) >> 62, uint32)
    fraction = s.convert(s.bitcast(turn << 2, int64), float64)
    return fraction * (c.PI_F64[0] * 2.0**-65), quadrant


def reduce_f64(s: ScalarBuilder, magnitude: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """r as a pair and the quadrant (i64) of a positive f64. The digits D of 2/pi have 48 bits, five of them matter.
    The products x D are exact pairs, multiples of 4 quadrants are dropped from the large ones, and the sum is kept to
    2^-118, because an f64 can come as near as 2^-61 to a multiple of pi/2 (Muller, Elementary Functions, section
    11.3.2)."""
    words = [s.const(float(word), float64) for word in c.TWO_OVER_PI_F64]
    x = magnitude
    for level, count in ((16, 20), (8, 12), (4, 8), (2, 6), (1, 5)):
        # Where x >= 2^(54 + 48 level), the first `level` digits only give multiples of 4 quadrants.
        condition = x >= 2.0 ** (54 + 48 * level)
        x = s.select(condition, x * 2.0 ** (-48 * level), x)
        words = _choose(s, condition, words, level, count)
    product, rest = zip(*(two_product(s, x * 2.0 ** (-48 * (k + 1)), words[k]) for k in range(4)), strict=True)

    def modulo_four(value: Scalar) -> Scalar:
        return s.fma(s.rint(value * 0.25), -4.0, value)

    first, low0 = two_sum(s, modulo_four(product[0]), modulo_four(rest[0]))
    second, low1 = two_sum(s, modulo_four(product[1]), rest[1])
    total, low2 = two_sum(s, first, second)
    total, low3 = two_sum(s, total, product[2])
    magic = 1.5 * 2.0**52
    shifted = total + magic
    quadrant = bits(s, shifted)
    total = total - (shifted - magic)
    # The low parts are below 2^-42; the last terms below 2^-90 need no exact sum.
    low, error = two_sum(s, low0, low1)
    last = rest[3] + x * 2.0 ** (-48 * 5) * words[4]
    for part in (low2, low3, rest[2], product[3]):
        low, more = two_sum(s, low, part)
        error = error + more
    total, low = two_sum(s, total, low)
    total, low = fast_two_sum(total, low + (error + last))
    half_pi = s.const(c.PI_F64[0] * 0.5, float64)
    high, rest_low = two_product(s, total, half_pi)
    return high, s.fma(low, half_pi, s.fma(total, c.PI_F64[1] * 0.5, rest_low)), quadrant


def sin_reduced(s: ScalarBuilder, r: Scalar, low: Scalar | None) -> Pair:
    """sin(r + low) on |r| <= pi/4, as r + a small part."""
    square = r * r
    tail = horner(s, square, by_dtype(r, c.SIN_F32, c.SIN_F64)) * square
    if low is None:
        return r, tail * r
    return r, s.fma(tail, r, s.fma(square * -0.5, low, low))


def cos_reduced(s: ScalarBuilder, r: Scalar, low: Scalar | None) -> Pair:
    """cos(r + low) on |r| <= pi/4, as a large and a small part."""
    square = r * r
    tail = horner(s, square, by_dtype(r, c.COS_F32, c.COS_F64)) * (square * square)
    if low is not None:
        tail = s.fma(-r, low, tail)
    first, rest = fast_two_sum(s.const(1.0, r.dtype), square * -0.5)
    # first + rest is 1 - fl(r^2)/2; the rounding error of the square counts too
    return first, rest + s.fma(s.fma(r, r, -square), -0.5, tail)


def _sin_cos(s: ScalarBuilder, x: Scalar) -> tuple[Pair, Pair, Scalar]:
    """sin and cos of the reduced |x| as pairs, and the quadrant as an integer."""
    magnitude = s.abs(x)
    near = magnitude < _NEAR
    low: Scalar | None = None
    if x.dtype is float32:
        wide, quadrant = reduce_f32(s, magnitude)
        r = s.select(near, magnitude, s.convert(wide, float32))
    else:
        by_dtype(x, 0, 0)
        r, low, quadrant = reduce_f64(s, magnitude)
        r = s.select(near, magnitude, r)
        low = s.select(near, 0.0, low)
    quadrant = s.select(near, 0, quadrant)
    return sin_reduced(s, r, low), cos_reduced(s, r, low), quadrant


def _choose_pair(s: ScalarBuilder, condition: Scalar, then: Pair, otherwise: Pair) -> Scalar:
    """The sum of the chosen pair."""
    return s.select(condition, then[0], otherwise[0]) + s.select(condition, then[1], otherwise[1])


def _flip(s: ScalarBuilder, value: Scalar, flag: Scalar) -> Scalar:
    """value, negated where bit 1 of the integer flag is set."""
    unsigned, width = (uint32, 30) if value.dtype is float32 else (uint64, 62)
    sign = (s.bitcast(flag, unsigned) & 2) << width
    return s.bitcast(s.bitcast(value, unsigned) ^ sign, value.dtype)


def sin(s: ScalarBuilder, x: Scalar) -> Scalar:
    """Sine."""
    sine, cosine, quadrant = _sin_cos(s, x)
    odd = (quadrant & 1).not_equal(0)
    value = _flip(s, _choose_pair(s, odd, cosine, sine), quadrant)
    # |x| was reduced: give the sign of x back by flipping, so that sin(-0) = -0.
    sign = s.copysign(s.const(1.0, x.dtype), x)
    return s.select(s.abs(x) < float("inf"), value * sign, float("nan"))


def cos(s: ScalarBuilder, x: Scalar) -> Scalar:
    """Cosine."""
    sine, cosine, quadrant = _sin_cos(s, x)
    odd = (quadrant & 1).not_equal(0)
    value = _flip(s, _choose_pair(s, odd, sine, cosine), quadrant + 1)
    # cos in quadrants 0..3 is cos, -sin, -cos, sin: bit 1 of q + 1
    return s.select(s.abs(x) < float("inf"), value, float("nan"))


def tan(s: ScalarBuilder, x: Scalar) -> Scalar:
    """Tangent: sin / cos of the reduced argument; for f32 in f64."""
    magnitude = s.abs(x)
    if x.dtype is float32:
        wide, quadrant = reduce_f32(s, magnitude)
        near = magnitude < _NEAR
        r = s.select(near, s.convert(magnitude, float64), wide)
        quadrant = s.select(near, 0, quadrant)
        sine, cosine = sin_reduced(s, r, None), cos_reduced(s, r, None)
    else:
        sine, cosine, quadrant = _sin_cos(s, x)
    odd = (quadrant & 1).not_equal(0)
    if x.dtype is float32:
        numerator, denominator = _choose_pair(s, odd, cosine, sine), _choose_pair(s, odd, sine, cosine)
        value = s.convert(numerator / denominator, float32)
    else:
        sine, cosine = fast_two_sum(*sine), fast_two_sum(*cosine)
        numerators = s.select(odd, cosine[0], sine[0]), s.select(odd, cosine[1], sine[1])
        denominators = s.select(odd, sine[0], cosine[0]), s.select(odd, sine[1], cosine[1])
        value, rest = quotient(s, numerators, denominators)
        value = s.select(magnitude < 2.0**-27, magnitude, value + rest)
    value = s.select(odd, -value, value)
    sign = s.copysign(s.const(1.0, x.dtype), x)
    return s.select(s.abs(x) < float("inf"), value * sign, float("nan"))


# Inverse functions ----------------------------------------------------------------------------------------------------
def _atan_ratio(s: ScalarBuilder, y: Scalar, x: Scalar) -> Pair:
    """atan(y / x) for y >= 0, x >= 0 of moderate size, as a pair. Cody and Waite's three intervals of width pi/4:
    with t = y/x below tan(pi/8), around 1 by (t - 1) / (t + 1), above by -1/t."""
    zero = s.const(0.0, y.dtype)
    pi, pi_low = by_dtype(y, c.PI_F32, c.PI_F64)
    middle = y > x * 0.41421356
    above = y > x * 2.4142135
    difference = two_sum(s, y, -x)
    total = two_sum(s, y, x)
    numerator = s.select(above, -x, s.select(middle, difference[0], y))
    numerator_low = s.select(middle & ~above, difference[1], zero)
    denominator = s.select(above, y, s.select(middle, total[0], x))
    denominator_low = s.select(middle & ~above, total[1], zero)
    ratio, ratio_low = quotient(s, (numerator, numerator_low), (denominator, denominator_low))
    square = ratio * ratio
    tail = horner(s, square, by_dtype(y, c.ATAN_F32, c.ATAN_F64)) * square
    tail = s.fma(tail, ratio, s.fma(-square, ratio_low, ratio_low))
    base = s.select(above, pi * 0.5, s.select(middle, pi * 0.25, zero))
    base_low = s.select(above, pi_low * 0.5, s.select(middle, pi_low * 0.25, zero))
    high, low = fast_two_sum(base, ratio)
    high = s.select(middle, high, ratio)
    low = s.select(middle, low, zero)
    return high, low + (base_low + tail)


def atan(s: ScalarBuilder, x: Scalar) -> Scalar:
    """Arc tangent."""
    magnitude = s.abs(x)
    large = by_dtype(x, 2.0**30, 2.0**60)  # atan is pi/2 there
    high, low = _atan_ratio(s, s.select(magnitude > large, large, magnitude), s.const(1.0, x.dtype))
    tiny = by_dtype(x, 2.0**-13, 2.0**-27)
    return s.select(magnitude < tiny, x, s.copysign(high + low, x))


def atan2(s: ScalarBuilder, y: Scalar, x: Scalar) -> Scalar:
    """The angle of the point (x, y), with IEEE 754's table of special values."""
    infinity = float("inf")
    ay, ax = s.abs(y), s.abs(x)
    both = ay.equal(infinity) & ax.equal(infinity)
    one, zero = s.const(1.0, x.dtype), s.const(0.0, x.dtype)
    # Infinities and zeros become points of the same angle.
    ay, ax = s.select(both, one, ay), s.select(both, one, ax)
    ay, ax = s.select(ax.equal(infinity), zero, ay), s.select(ay.equal(infinity), zero, ax)
    ax = s.select(ax.equal(infinity), one, ax)
    ay = s.select(ay.equal(infinity), one, ay)
    ax = s.select(ax.equal(0.0) & ay.equal(0.0), one, ax)
    # Scale into the range where neither 1/denominator nor a sum overflows.
    larger = s.select(ay > ax, ay, ax)
    up = by_dtype(x, (2.0**-60, 2.0**64), (2.0**-900, 2.0**110))
    down = by_dtype(x, (2.0**100, 2.0**-30), (2.0**900, 2.0**-300))
    factor = s.select(larger > down[0], down[1], s.select(larger < up[0], up[1], one))
    ay, ax = ay * factor, ax * factor
    high, low = _atan_ratio(s, ay, ax)
    pi, pi_low = by_dtype(x, c.PI_F32, c.PI_F64)
    # Left half plane, by the sign bit: x = -0 counts.
    left = s.copysign(one, x) < 0.0
    turned, turned_low = fast_two_sum(s.const(pi, x.dtype), -high)
    result = s.select(left, turned + (turned_low + (s.const(pi_low, x.dtype) - low)), high + low)
    result = s.copysign(result, y)
    return s.select(s.is_nan(x) | s.is_nan(y), float("nan"), result)


def _asin_parts(s: ScalarBuilder, x: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """asin(t) for t = |x| up to 0.5625, else t = sqrt((1 - |x|) / 2); whether |x| is large; t and the tail."""
    magnitude = s.abs(x)
    large = magnitude > 0.5625
    half = s.fma(magnitude, -0.5, 0.5)
    square = s.select(large, half, x * x)
    t = s.select(large, s.sqrt(half), magnitude)
    tail = horner(s, square, by_dtype(x, c.ASIN_F32, c.ASIN_F64)) * square
    return large, t, tail * t


def asin(s: ScalarBuilder, x: Scalar) -> Scalar:
    """Arc sine; above 0.5625 pi/2 - 2 asin(sqrt((1 - |x|) / 2)) (Cody and Waite). NaN beyond 1 comes from the square
    root."""
    large, t, tail = _asin_parts(s, x)
    pi, pi_low = by_dtype(x, c.PI_F32, c.PI_F64)
    double = t + t
    rest = s.const(pi_low * 0.5, x.dtype) - (tail + tail)
    high, low = fast_two_sum(s.const(pi * 0.5, x.dtype), -double)
    return s.copysign(s.select(large, high + (low + rest), t + tail), x)


def acos(s: ScalarBuilder, x: Scalar) -> Scalar:
    """Arc cosine."""
    large, t, tail = _asin_parts(s, x)
    pi, pi_low = by_dtype(x, c.PI_F32, c.PI_F64)
    negative = x < 0.0
    # |x| <= 0.5625: pi/2 - asin(x). Above: 2 asin(t), or pi minus that.
    signed = s.select(negative, t, -t)
    high, low = fast_two_sum(s.const(pi * 0.5, x.dtype), signed)
    middle = high + (low + (s.select(negative, tail, -tail) + pi_low * 0.5))
    double, double_tail = t + t, tail + tail
    high, low = fast_two_sum(s.const(pi, x.dtype), -double)
    far = s.select(negative, high + (low + (s.const(pi_low, x.dtype) - double_tail)), double + double_tail)
    return s.select(large, far, middle)
