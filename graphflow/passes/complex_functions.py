"""Functions of a complex variable in real arithmetic: (x, y) stands for x + iy. Formulas hold on the principal branch, with cuts where
C99 and NumPy have them. Sources: W. Kahan, Branch Cuts for Complex Elementary Functions (1987), for the inverse functions and tanh;
R. L. Smith, Algorithm 116 (1962), for the quotient. docs/complex.md says how exact each is and where it overflows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .complex_values import Builder, Real

__all__ = ["FUNCTIONS", "divide", "multiply", "power"]

Parts = tuple[Real, Real]


def multiply(z: Parts, w: Parts) -> Parts:
    """Four products, two sums: overflows where a product does."""
    (a, b), (c, d) = z, w
    return a * c - b * d, a * d + b * c


def divide(b: Builder, z: Parts, w: Parts) -> Parts:
    """Smith's quotient: no square of the divisor, so that it overflows only where the result nearly does. A zero divisor gives
    infinities and NaN as the division of the parts does."""
    (x, y), (c, d) = z, w
    swap = abs(d) > abs(c)
    high, low = b.select(swap, d, c), b.select(swap, c, d)
    ratio = b.select(high.equal(0), 0, low / high)
    divisor = high + low * ratio
    first, second = b.select(swap, y, x), b.select(swap, x, y)
    real = (first + second * ratio) / divisor
    part = first * ratio
    return real, b.select(swap, part - second, second - part) / divisor


def reciprocal(b: Builder, z: Parts) -> Parts:
    c, d = z
    swap = abs(d) > abs(c)
    high, low = b.select(swap, d, c), b.select(swap, c, d)
    ratio = b.select(high.equal(0), 0, low / high)
    inverse = 1.0 / (high + low * ratio)
    other = ratio * inverse
    return b.select(swap, other, inverse), -b.select(swap, inverse, other)


def sign(b: Builder, z: Parts) -> Parts:
    """z / |z|, 0 at 0. Scaled first, so that neither a huge nor a tiny z loses its direction."""
    x, y = z
    high = abs(x).maximum(abs(y))
    factor = b.select(high.equal(0), 1, high)
    x, y = x / factor, y / factor
    size = x.magnitude(y)
    size = b.select(size.equal(0), 1, size)
    return x / size, y / size


def exp(b: Builder, z: Parts) -> Parts:
    x, y = z
    size = x.exp()
    return size * y.cos(), b.select(y.equal(0), y, size * y.sin())


def expm1(b: Builder, z: Parts) -> Parts:
    """e**x cos y - 1 = expm1(x) cos y - 2 sin(y/2)**2, which keeps what is small."""
    x, y = z
    half = (y * 0.5).sin()
    return x.expm1() * y.cos() - 2.0 * (half * half), b.select(y.equal(0), y, x.exp() * y.sin())


def _log_magnitude(b: Builder, x: Real, y: Real) -> Real:
    """log |z|: around the unit circle from |z|**2 - 1, elsewhere from the larger part and the ratio, which cannot overflow."""
    p, q = abs(x), abs(y)
    high, low = p.maximum(q), p.minimum(q)
    near = ((high - 1) * (high + 1) + low * low).log1p() * 0.5
    ratio = b.select(low.equal(high), 1, low / high)
    far = high.log() + (ratio * ratio).log1p() * 0.5
    infinite = x.is_infinite | y.is_infinite
    found = b.select((high > 0.5) & (high < 1.5), near, far)
    return b.select(infinite, math.inf, found)


def log(b: Builder, z: Parts) -> Parts:
    x, y = z
    return _log_magnitude(b, x, y), y.atan2(x)


def log1p(b: Builder, z: Parts) -> Parts:
    x, y = z
    near = (x * (x + 2.0) + y * y).log1p() * 0.5
    small = (abs(x) < 0.5) & (abs(y) < 0.5)
    return b.select(small, near, _log_magnitude(b, x + 1.0, y)), y.atan2(x + 1.0)


def sqrt(b: Builder, z: Parts) -> Parts:
    """The half-angle formula on the side where nothing cancels; huge and tiny operands are scaled by a power of four."""
    x, y = z
    double = x.dtype.name == "float64"
    high = abs(x).maximum(abs(y))
    large, small = high > (2.0**1000 if double else 2.0**120), high < (2.0**-900 if double else 2.0**-90)
    scale = b.select(large, 0.0625, b.select(small, 2.0**106 if double else 2.0**48, _one(b, x)))
    back = b.select(large, 4.0, b.select(small, 2.0**-53 if double else 2.0**-24, _one(b, x)))
    p, q = x * scale, y * scale
    size = ((abs(p) + p.magnitude(q)) * 0.5).sqrt()
    other = b.select(size.equal(0), abs(q), abs(q) / (size + size))
    infinite = y.is_infinite
    right = p >= 0
    real = b.select(right, size, other) * back
    imag = b.select(right, other, size) * back
    return b.select(infinite, math.inf, real), b.select(infinite, math.inf, imag).copy_sign(y)


def _one(b: Builder, like: Real) -> Real:
    return Real(b, b.number(1.0, like.dtype))


def rsqrt(b: Builder, z: Parts) -> Parts:
    return reciprocal(b, sqrt(b, z))


def sinh(b: Builder, z: Parts) -> Parts:
    x, y = z
    return x.sinh() * y.cos(), b.select(y.equal(0), y, x.cosh() * y.sin())


def cosh(b: Builder, z: Parts) -> Parts:
    x, y = z
    return x.cosh() * y.cos(), b.select(x.equal(0) | y.equal(0), x * y, x.sinh() * y.sin())


def tanh(b: Builder, z: Parts) -> Parts:
    """Kahan's, from the real tan and sinh; where tanh x is +-1 in this precision, the limit."""
    x, y = z
    limit = 22.0 if x.dtype.name == "float64" else 11.0
    far = abs(x) > limit
    inside = b.select(far, 0.0, x)
    t, s = y.tan(), inside.sinh()
    beta, rho = t * t + 1.0, (s * s + 1.0).sqrt()
    below = beta * (s * s) + 1.0
    real = beta * rho * s / below
    imag = t / below
    tail = (abs(x) * -2.0).exp()
    one = _one(b, x).copy_sign(x)
    return b.select(far, one, real), b.select(far, (y + y).sin() * tail * 2.0, imag)


def _turned(function: Callable[[Builder, Parts], Parts]) -> Callable[[Builder, Parts], Parts]:
    """f(z) = -i g(iz): sin from sinh, and so on."""

    def turned(b: Builder, z: Parts) -> Parts:
        x, y = z
        real, imag = function(b, (-y, x))
        return imag, -real

    return turned


def cos(b: Builder, z: Parts) -> Parts:
    """cos z = cosh iz."""
    x, y = z
    return cosh(b, (-y, x))


def sigmoid(b: Builder, z: Parts) -> Parts:
    """1 / (1 + exp(-z)), or exp(z) / (1 + exp(z)) on the left, so that no exponential overflows."""
    x, y = z
    left = x < 0
    size = (-abs(x)).exp()
    real = size * y.cos()
    imag = b.select(left, size * y.sin(), -(size * y.sin()))
    upper = b.select(left, real, 1.0), b.select(left, imag, 0.0)
    return divide(b, upper, (real + 1.0, imag))


def asin(b: Builder, z: Parts) -> Parts:
    x, y = z
    p, q = sqrt(b, (1.0 - x, -y)), sqrt(b, (x + 1.0, y))
    real = x.atan2(p[0] * q[0] - p[1] * q[1])
    return real, (p[0] * q[1] - p[1] * q[0]).asinh().copy_sign(y)


def acos(b: Builder, z: Parts) -> Parts:
    x, y = z
    p, q = sqrt(b, (1.0 - x, -y)), sqrt(b, (x + 1.0, y))
    return p[0].atan2(q[0]) * 2.0, (q[0] * p[1] - q[1] * p[0]).asinh()


def acosh(b: Builder, z: Parts) -> Parts:
    x, y = z
    p, q = sqrt(b, (x - 1.0, y)), sqrt(b, (x + 1.0, y))
    return (p[0] * q[0] + p[1] * q[1]).asinh(), p[1].atan2(q[0]) * 2.0


def atanh(b: Builder, z: Parts) -> Parts:
    """Kahan's: real part log1p(4x / ((1-x)**2 + y**2)) / 4, for the half plane x >= 0 and mirrored. Where a square would overflow,
    1 / z is what is left of it."""
    x, y = z
    large = 2.0**500 if x.dtype.name == "float64" else 2.0**60
    far = abs(x).maximum(abs(y)) > large
    p, q = b.select(far, 0.0, abs(x)), b.select(far, 0.0, abs(y))
    gap = 1.0 - p
    real = (p * 4.0 / (gap * gap + q * q)).log1p() * 0.25
    imag = (q + q).atan2(gap * (p + 1.0) - q * q) * 0.5
    inverse, _ = reciprocal(b, (abs(x), abs(y)))
    infinite = x.is_infinite | y.is_infinite
    real = b.select(infinite, 0.0, b.select(far, inverse, real))
    return real.copy_sign(x), b.select(far, math.pi / 2, imag).copy_sign(y)


def power(b: Builder, z: Parts, w: Parts) -> Parts:
    """|z|**c e**(-d angle), at the angle c angle + d log |z|. 0**0 is 1, 0 to a power with a positive real part 0."""
    (x, y), (c, d) = z, w
    size, angle = x.magnitude(y), y.atan2(x)
    length = Real(b, b.make("pow", [size.value, c.value])) * b.select(d.equal(0), 1.0, (-(d * angle)).exp())
    turn = c * angle + b.select(d.equal(0), 0.0, d * _log_magnitude(b, x, y))
    real, imag = length * turn.cos(), length * turn.sin()
    zero, none = x.equal(0) & y.equal(0), c.equal(0) & d.equal(0)
    vanishes = zero & (c > 0)
    real = b.select(none, 1.0, b.select(vanishes, 0.0, real))
    return real, b.select(none | vanishes, 0.0, imag)


#: op -> its function of one complex operand
FUNCTIONS: dict[str, Callable[[Builder, Parts], Any]] = {
    "negative": lambda b, z: (-z[0], -z[1]),
    "conj": lambda b, z: (z[0], -z[1]),
    "square": lambda b, z: multiply(z, z),
    "reciprocal": reciprocal,
    "sign": sign,
    "exp": exp,
    "expm1": expm1,
    "log": log,
    "log1p": log1p,
    "sqrt": sqrt,
    "rsqrt": rsqrt,
    "sinh": sinh,
    "cosh": cosh,
    "tanh": tanh,
    "sin": _turned(sinh),
    "cos": cos,
    "tan": _turned(tanh),
    "sigmoid": sigmoid,
    "asin": asin,
    "acos": acos,
    "asinh": _turned(asin),
    "acosh": acosh,
    "atanh": atanh,
    "atan": _turned(atanh),
}
