"""Bessel functions of order 0 and 1, of both kinds, plain, modified and scaled (names as TensorFlow's).

Chebyshev series on two intervals (tools/fit_special.py), as in Cephes: around 0 of the function itself, beyond of the factor that its
asymptotic form leaves. J and Y have zeros: their error there is absolute, below 1e-15 times the amplitude. Computed in f64.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from ..dtypes import float32, float64
from . import special_coefficients as c
from .math_common import at_least
from .math_exponential import exp, log, rsqrt
from .math_trigonometric import cos, sin
from .scalar import Scalar, ScalarBuilder

__all__ = [
    "bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e", "bessel_j0", "bessel_j1", "bessel_k0", "bessel_k0e", "bessel_k1", "bessel_k1e",
    "bessel_y0", "bessel_y1", "chebyshev", "in_f64",
]  # fmt: skip

Function = Callable[[ScalarBuilder, Scalar], Scalar]


def in_f64(function: Function) -> Function:
    """The function computed in f64 whatever the operand's float dtype is."""

    @functools.wraps(function)
    def widened(s: ScalarBuilder, x: Scalar) -> Scalar:
        if x.dtype is float32:
            return s.convert(function(s, s.convert(x, float64)), float32)
        return function(s, x)

    return widened


def chebyshev(s: ScalarBuilder, t: Scalar, coefficients: tuple[float, ...]) -> Scalar:
    """The Chebyshev series with these coefficients at t in [-1, 1] (Clenshaw 1955)."""
    twice = t * 2.0
    first, second = s.const(0.0, t.dtype), s.const(0.0, t.dtype)
    for coefficient in coefficients[:0:-1]:
        first, second = s.fma(twice, first, s.const(coefficient, t.dtype) - second), first
    return s.fma(t, first, s.const(coefficients[0], t.dtype) - second)


def _near(s: ScalarBuilder, x: Scalar, limit: float) -> Scalar:
    """x up to the limit; NaN becomes the limit."""
    return s.select(x < limit, x, limit)


def _inverse(s: ScalarBuilder, x: Scalar, limit: float) -> Scalar:
    """limit / x, x at least limit."""
    return s.const(limit, float64) / s.select(x > limit, x, limit)


def _modified(s: ScalarBuilder, a: Scalar, near: tuple[float, ...], far: tuple[float, ...]) -> tuple[Scalar, Scalar]:
    """The series of exp(-a) I(a), a >= 0: around 0 and, over sqrt(a), beyond 8."""
    inner = chebyshev(s, s.fma(_near(s, a, 8.0), 0.25, -1.0), near)
    outer = chebyshev(s, s.fma(_inverse(s, a, 8.0), 2.0, -1.0), far) * rsqrt(s, at_least(s, a, 8.0))
    return inner, outer


def _keep_nan(s: ScalarBuilder, x: Scalar, result: Scalar) -> Scalar:
    return s.select(s.is_nan(x), x, result)


@in_f64
def bessel_i0e(s: ScalarBuilder, x: Scalar) -> Scalar:
    """exp(-|x|) I0(x)."""
    a = s.abs(x)
    near, far = _modified(s, a, c.I0E_NEAR, c.I0E_FAR)
    return _keep_nan(s, x, s.select(a <= 8.0, near, far))


@in_f64
def bessel_i1e(s: ScalarBuilder, x: Scalar) -> Scalar:
    """exp(-|x|) I1(x)."""
    a = s.abs(x)
    near, far = _modified(s, a, c.I1E_NEAR, c.I1E_FAR)
    return _keep_nan(s, x, s.copysign(s.select(a <= 8.0, near * a, far), x))


def _unscaled(s: ScalarBuilder, x: Scalar, scaled: Scalar) -> Scalar:
    """scaled * exp(|x|), in two factors because exp overflows first."""
    half = exp(s, s.abs(x) * 0.5)
    return s.select(s.abs(x).equal(math.inf), s.copysign(s.const(math.inf, float64), scaled), scaled * half * half)


@in_f64
def bessel_i0(s: ScalarBuilder, x: Scalar) -> Scalar:
    """The modified function of the first kind, order 0."""
    return _unscaled(s, x, bessel_i0e(s, x))


@in_f64
def bessel_i1(s: ScalarBuilder, x: Scalar) -> Scalar:
    """The modified function of the first kind, order 1."""
    return _keep_nan(s, x, s.copysign(_unscaled(s, x, bessel_i1e(s, x)), x))


def _at_zero(s: ScalarBuilder, x: Scalar, result: Scalar, infinity: float) -> Scalar:
    """The result of a function that is infinite at 0 and NaN below."""
    result = s.select(x.equal(0.0), infinity, result)
    return s.select((x < 0.0) | s.is_nan(x), math.nan, result)


def _k0(s: ScalarBuilder, x: Scalar) -> tuple[Scalar, Scalar]:
    """K0 up to 2, and exp(x) K0 beyond."""
    inner = s.select((x > 0.0) & (x <= 2.0), x, 1.0)
    i0 = chebyshev(s, s.fma(inner, 0.25, -1.0), c.I0E_NEAR) * exp(s, inner)
    near = chebyshev(s, s.fma(inner * inner, 0.5, -1.0), c.K0_NEAR) - log(s, inner * 0.5) * i0
    far = chebyshev(s, s.fma(_inverse(s, x, 2.0), 2.0, -1.0), c.K0E_FAR) * rsqrt(s, at_least(s, x, 2.0))
    return near, far


def _k1(s: ScalarBuilder, x: Scalar) -> tuple[Scalar, Scalar]:
    """K1 up to 2, and exp(x) K1 beyond."""
    inner = s.select((x > 0.0) & (x <= 2.0), x, 1.0)
    i1 = chebyshev(s, s.fma(inner, 0.25, -1.0), c.I1E_NEAR) * inner * exp(s, inner)
    near = s.fma(log(s, inner * 0.5), i1, chebyshev(s, s.fma(inner * inner, 0.5, -1.0), c.K1_NEAR) / inner)
    far = chebyshev(s, s.fma(_inverse(s, x, 2.0), 2.0, -1.0), c.K1E_FAR) * rsqrt(s, at_least(s, x, 2.0))
    return near, far


def _second_kind(parts: Callable[[ScalarBuilder, Scalar], tuple[Scalar, Scalar]], scaled: bool) -> Function:
    def function(s: ScalarBuilder, x: Scalar) -> Scalar:
        near, far = parts(s, x)
        if scaled:
            near = near * exp(s, _near(s, x, 2.0))
        else:
            far = far * exp(s, -at_least(s, x, 2.0))
        return _at_zero(s, x, s.select(x <= 2.0, near, far), math.inf)

    return in_f64(function)


bessel_k0 = _second_kind(_k0, scaled=False)
bessel_k0e = _second_kind(_k0, scaled=True)
bessel_k1 = _second_kind(_k1, scaled=False)
bessel_k1e = _second_kind(_k1, scaled=True)


def _oscillating(s: ScalarBuilder, a: Scalar, order: int, second: bool) -> Scalar:
    """J or Y beyond 8: sqrt(2 / (pi a)) (P cos(a - phase) - Q sin(a - phase)), and sin and cos exchanged for Y."""
    large = s.select((a > 8.0) & (a < math.inf), a, 8.0)
    inverse = s.const(8.0, float64) / large
    t = s.fma(inverse * inverse, 2.0, -1.0)
    p = chebyshev(s, t, c.P0 if order == 0 else c.P1)
    q = chebyshev(s, t, c.Q0 if order == 0 else c.Q1) / large
    sine, cosine = sin(s, large), cos(s, large)
    # cos and sin of (a - pi/4), or of (a - 3 pi/4), times sqrt(2)
    shifted_cosine, shifted_sine = (cosine + sine, sine - cosine) if order == 0 else (sine - cosine, -(sine + cosine))
    if second:
        wave = s.fma(p, shifted_sine, q * shifted_cosine)
    else:
        wave = s.fma(p, shifted_cosine, -(q * shifted_sine))
    value = wave * rsqrt(s, large * math.pi)
    return s.select(a.equal(math.inf), 0.0, value)


def _square_series(s: ScalarBuilder, inner: Scalar, coefficients: tuple[float, ...]) -> Scalar:
    return chebyshev(s, s.fma(inner * inner, 1 / 32, -1.0), coefficients)


@in_f64
def bessel_j0(s: ScalarBuilder, x: Scalar) -> Scalar:
    """The function of the first kind, order 0."""
    a = s.abs(x)
    near = _square_series(s, _near(s, a, 8.0), c.J0_NEAR)
    return _keep_nan(s, x, s.select(a <= 8.0, near, _oscillating(s, a, 0, second=False)))


@in_f64
def bessel_j1(s: ScalarBuilder, x: Scalar) -> Scalar:
    """The function of the first kind, order 1."""
    a = s.abs(x)
    inner = _near(s, a, 8.0)
    near = _square_series(s, inner, c.J1_NEAR) * inner
    value = s.select(a <= 8.0, near, _oscillating(s, a, 1, second=False))
    return _keep_nan(s, x, s.select(x < 0.0, -value, value))


def _positive(s: ScalarBuilder, x: Scalar) -> Scalar:
    return s.select((x > 0.0) & (x <= 8.0), x, 1.0)


@in_f64
def bessel_y0(s: ScalarBuilder, x: Scalar) -> Scalar:
    """The function of the second kind, order 0; NaN below 0."""
    inner = _positive(s, x)
    j0 = _square_series(s, inner, c.J0_NEAR)
    near = s.fma(log(s, inner) * (2 / math.pi), j0, _square_series(s, inner, c.Y0_NEAR))
    return _at_zero(s, x, s.select(x <= 8.0, near, _oscillating(s, x, 0, second=True)), -math.inf)


@in_f64
def bessel_y1(s: ScalarBuilder, x: Scalar) -> Scalar:
    """The function of the second kind, order 1; NaN below 0."""
    inner = _positive(s, x)
    j1 = _square_series(s, inner, c.J1_NEAR) * inner
    singular = s.fma(log(s, inner), j1, -(s.const(1.0, float64) / inner)) * (2 / math.pi)
    near = s.fma(_square_series(s, inner, c.Y1_NEAR), inner, singular)
    return _at_zero(s, x, s.select(x <= 8.0, near, _oscillating(s, x, 1, second=True)), -math.inf)
