"""Functions defined by integrals and sums: Dawson's, the exponential and Fresnel's integrals, the dilogarithm, the derivatives of digamma;
and the next float.

Chebyshev series on a few intervals (tools/fit_special.py), computed in f64.
"""

from __future__ import annotations

import math
from fractions import Fraction

from ..dtypes import float32, float64
from . import special_coefficients as c
from .math_bessel import chebyshev, in_f64
from .math_common import at_least, at_most, bits, from_bits, two_product
from .math_exponential import exp, log, log1p
from .math_trigonometric import cos, sin
from .scalar import Scalar, ScalarBuilder, integer_twin

__all__ = ["dawsn", "expint", "fresnel_cos", "fresnel_sin", "nextafter", "polygamma_of_order", "spence"]


def _inside(s: ScalarBuilder, x: Scalar, low: float, high: float) -> Scalar:
    """x limited to [low, high], NaN too."""
    return s.select(x > low, s.select(x < high, x, high), low)


def _line(s: ScalarBuilder, x: Scalar, low: float, high: float) -> Scalar:
    """x in [low, high] as t in [-1, 1]."""
    return s.fma(_inside(s, x, low, high), 2 / (high - low), -(high + low) / (high - low))


@in_f64
def dawsn(s: ScalarBuilder, x: Scalar) -> Scalar:
    """exp(-x*x) times the integral of exp(t*t) from 0 to x."""
    a = s.abs(x)
    inner = _inside(s, a, 0.0, 1.0)
    near = chebyshev(s, s.fma(inner * inner, 2.0, -1.0), c.DAWSON_NEAR) * inner
    middle = chebyshev(s, _line(s, a, 1.0, 3.0), c.DAWSON_MIDDLE)
    outer = chebyshev(s, _line(s, a, 3.0, 6.0), c.DAWSON_OUTER)
    inverse = s.const(1.0, float64) / at_least(s, a, 6.0)
    far = chebyshev(s, s.fma(inverse * inverse, 72.0, -1.0), c.DAWSON_FAR) * inverse
    value = s.select(a <= 1.0, near, s.select(a <= 3.0, middle, s.select(a <= 6.0, outer, far)))
    return s.select(s.is_nan(x), x, s.copysign(value, x))


@in_f64
def expint(s: ScalarBuilder, x: Scalar) -> Scalar:
    """The integral of exp(t) / t from -inf to x, for positive x; -inf at 0, NaN below."""
    inner = s.select((x > 0.0) & (x <= 2.0), x, 1.0)
    near = (log(s, inner) + 0.5772156649015329) + chebyshev(s, inner - 1.0, c.EI_NEAR) * inner
    large = at_least(s, x, 2.0)
    factor = chebyshev(s, s.const(80.0, float64) / at_least(s, x, 40.0) - 1.0, c.EI_LARGE)
    for low, high, coefficients in ((16.0, 40.0, c.EI_FAR), (6.0, 16.0, c.EI_OUTER), (2.0, 6.0, c.EI_MIDDLE)):
        factor = s.select(x <= high, chebyshev(s, _line(s, x, low, high), coefficients), factor)
    half = exp(s, at_most(s, large, 1500.0) * 0.5)
    value = s.select(x <= 2.0, near, half * (factor / large) * half)
    value = s.select(x.equal(0.0), -math.inf, value)
    value = s.select(x.equal(math.inf), math.inf, value)
    return s.select((x < 0.0) | s.is_nan(x), math.nan, value)


def _fresnel(s: ScalarBuilder, x: Scalar, sine: bool) -> Scalar:
    """Up to 1.6 a series in x^4; beyond 1/2 - f cos - g sin (f sin - g cos for the cosine), DLMF 7.5."""
    a = s.abs(x)
    inner = _inside(s, a, 0.0, 1.6)
    square = inner * inner
    t = s.fma(square * square, 2 / 1.6**4, -1.0)
    if sine:
        near = chebyshev(s, t, c.FRESNEL_S_NEAR) * square * inner
    else:
        near = chebyshev(s, t, c.FRESNEL_C_NEAR) * inner
    large = s.select((a > 1.6) & (a < 1e150), a, 1.6)
    inverse = s.const(1.0, float64) / large
    t = s.fma(inverse * inverse, 2 * 1.6**2, -1.0)
    f = chebyshev(s, t, c.FRESNEL_F) * (inverse / math.pi)
    g = chebyshev(s, t, c.FRESNEL_G) * (inverse / math.pi * inverse * (inverse / math.pi))
    # pi/2 x^2 with x^2 exact and without its multiples of 4
    high, low = two_product(s, large, large)
    turns = (high - s.rint(high * 0.25) * 4.0) + low
    angle = turns * (math.pi / 2)
    wave_sine, wave_cosine = sin(s, angle), cos(s, angle)
    if sine:
        far = s.const(0.5, float64) - s.fma(f, wave_cosine, g * wave_sine)
    else:
        far = s.const(0.5, float64) + s.fma(f, wave_sine, -(g * wave_cosine))
    far = s.select(a < 1e150, far, 0.5)
    value = s.copysign(s.select(a <= 1.6, near, far), x)
    return s.select(s.is_nan(x), x, value)


@in_f64
def fresnel_sin(s: ScalarBuilder, x: Scalar) -> Scalar:
    """The integral of sin(pi/2 t*t) from 0 to x."""
    return _fresnel(s, x, sine=True)


@in_f64
def fresnel_cos(s: ScalarBuilder, x: Scalar) -> Scalar:
    """The integral of cos(pi/2 t*t) from 0 to x."""
    return _fresnel(s, x, sine=False)


@in_f64
def spence(s: ScalarBuilder, x: Scalar) -> Scalar:
    """The integral of log(t) / (1 - t) from 1 to x, the dilogarithm of 1 - x; NaN below 0. By the reflections of DLMF 25.12 its argument
    becomes |w| <= 1/2."""
    sixth = math.pi**2 / 6
    sound = s.select((x > 0.0) & (x < math.inf), x, 1.0)
    small, large = sound < 0.5, sound > 1.5
    beyond = sound > 2.0
    w = s.select(
        small,
        sound,
        s.select(
            beyond,
            s.const(1.0, float64) / sound,
            s.select(large, s.const(1.0, float64) / sound - 1.0, s.const(1.0, float64) - sound),
        ),
    )
    w = s.select(large & ~beyond, s.const(1.0, float64) - s.const(1.0, float64) / sound, w)
    value = chebyshev(s, w * 2.0, c.DILOGARITHM) * w
    logarithm = log(s, sound)
    other = log1p(s, -s.select(small, sound, 0.0))
    # x < 1/2: Li2(1 - x) = pi^2/6 - log(x) log(1 - x) - Li2(x)
    low = s.const(sixth, float64) - logarithm * other - value
    # 3/2 < x <= 2: Li2(1 - x) = -Li2(1 - 1/x) - log(x)^2 / 2
    middle = -value - logarithm * logarithm * 0.5
    # x > 2: Li2(1 - x) = -pi^2/6 + log(1/x) log(1 - 1/x) + Li2(1/x) - log(x)^2 / 2
    rest = log1p(s, -s.select(beyond, w, 0.0))
    high = value - logarithm * rest - sixth - logarithm * logarithm * 0.5
    found = s.select(small, low, s.select(beyond, high, s.select(large, middle, value)))
    found = s.select(x.equal(0.0), sixth, found)
    found = s.select(x.equal(math.inf), -math.inf, found)
    return s.select((x < 0.0) | s.is_nan(x), math.nan, found)


# The derivatives of digamma -------------------------------------------------------------------------------------------
def _bernoulli(count: int) -> list[Fraction]:
    """B(0), B(1) ... B(count), by their recurrence."""
    found = [Fraction(1)]
    for n in range(1, count + 1):
        found.append(-sum((math.comb(n + 1, k) * found[k] for k in range(n)), Fraction(0)) / (n + 1))
    return found


def _power(s: ScalarBuilder, x: Scalar, exponent: int) -> Scalar:
    """x to a whole power, by squaring."""
    result: Scalar | None = None
    while exponent:
        if exponent & 1:
            result = x if result is None else result * x
        x = x * x
        exponent >>= 1
    return s.const(1.0, x.dtype) if result is None else result


def _cotangent_derivative(order: int) -> list[int]:
    """The derivative of that order of cot(y), as a polynomial in cot(y), lowest power first: p -> -(1 + c*c) p'."""
    polynomial = [0, 1]
    for _ in range(order):
        slope = [k * value for k, value in enumerate(polynomial)][1:]
        polynomial = [0] * (len(slope) + 2)
        for k, value in enumerate(slope):
            polynomial[k] -= value
            polynomial[k + 2] -= value
    return polynomial


def polygamma_of_order(s: ScalarBuilder, x: Scalar, order: int) -> Scalar:
    """The derivative of that order (1 or more) of digamma: (-1)^(order+1) order! zeta(order + 1, x). Twelve or more terms of the sum, then
    the Euler-Maclaurin formula (DLMF 25.11.28); the reflection formula below 0. Infinite (NaN for even orders) at 0, -1, -2 ..."""
    if x.dtype is float32:
        return s.convert(polygamma_of_order(s, s.convert(x, float64), order), float32)
    power, one = order + 1, s.const(1.0, float64)
    reflected = x < 0.0
    a = s.select(reflected, one - x, x)
    a = s.select((a > 0.0) & (a < math.inf), a, one)
    terms = 12 + order // 2
    total = s.const(0.0, float64)
    for k in reversed(range(terms)):
        total = total + one / _power(s, a + float(k), power)
    far = a + float(terms)
    inverse = one / far
    square = inverse * inverse
    bernoulli = _bernoulli(24)
    tail = s.const(0.0, float64)
    for j in reversed(range(1, 13)):
        rising = Fraction(1)
        for k in range(2 * j - 1):
            rising *= power + k
        tail = s.fma(tail, square, float(bernoulli[2 * j] * rising / math.factorial(2 * j)))
    start = _power(s, inverse, power - 1)
    rest = start * s.fma(s.fma(tail, inverse, 0.5), inverse, 1 / (power - 1))
    sign = -1.0 if order % 2 == 0 else 1.0
    value = (total + rest) * (sign * math.factorial(order))
    # polygamma(x) = (-1)^order polygamma(1 - x) - pi^(order+1) (d/dy)^order cot(y), y = pi x
    fraction = x - s.rint(x)
    near = s.select(fraction.equal(0.0) | ~reflected | ~(s.abs(x) < math.inf), 0.25, fraction)
    cotangent = cos(s, near * math.pi) / sin(s, near * math.pi)
    polynomial = s.polynomial(cotangent, [float(v) for v in reversed(_cotangent_derivative(order))])
    mirrored = value * (1.0 if order % 2 == 0 else -1.0) - polynomial * math.pi**power
    value = s.select(reflected, mirrored, value)
    pole = (x <= 0.0) & s.rint(x).equal(x)
    value = s.select(pole, math.inf if order % 2 else math.nan, value)
    value = s.select(x.equal(0.0), math.inf if order % 2 else -math.inf, value)
    value = s.select(x.equal(math.inf), 0.0, value)
    return s.select(s.is_nan(x) | x.equal(-math.inf), math.nan, value)


def nextafter(s: ScalarBuilder, x: Scalar, y: Scalar) -> Scalar:
    """The float after x on the way to y."""
    kind = integer_twin(x.dtype)
    word = bits(s, x)
    up = y > x
    positive = x > 0.0
    # floats of one sign are ordered as their bits are
    grows = s.select(positive, up, ~up)
    moved = from_bits(s, s.select(grows, word + s.const(1, kind), word - s.const(1, kind)), x.dtype)
    least = from_bits(s, s.const(1, kind), x.dtype)
    moved = s.select(x.equal(0.0), s.select(up, least, -least), moved)
    moved = s.select(x.equal(y), y, moved)
    return s.select(s.is_nan(x) | s.is_nan(y), math.nan, moved)
