"""gf.math.special, and the special functions of gf.math that take several arguments. Names, argument order and defaults are TensorFlow's;
`name` is accepted for its sake and not used. Floats; operands broadcast.

Functions of one argument are ops (ops/special.py). The others are loops that end when every element has converged, in float64 whatever the
dtype, with the gradients that TensorFlow gives them. docs/special.md has the measured errors.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..dtypes import as_dtype, float32, float64
from ..errors import DTypeError, InvalidArgumentError
from ..ir.dims import dim_max, product
from ..ops.gradients import sum_to
from ..tensor import Tensor, as_dim, convert_to_tensor, operands
from .reductions import reduce_sum

__all__ = [
    "bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e", "bessel_j0", "bessel_j1", "bessel_k0", "bessel_k0e", "bessel_k1", "bessel_k1e",
    "bessel_y0", "bessel_y1", "betainc", "dawsn", "expint", "fresnel_cos", "fresnel_sin", "igamma", "igammac", "is_non_decreasing",
    "is_strictly_increasing", "lbeta", "nextafter", "polygamma", "sobol_sample", "spence", "zeta",
]  # fmt: skip


def bessel_i0(x: Any, name: str | None = None) -> Tensor:
    """The modified Bessel function of the first kind, order 0."""
    return ops.bessel_i0(x)


def bessel_i0e(x: Any, name: str | None = None) -> Tensor:
    """exp(-|x|) bessel_i0(x)."""
    return ops.bessel_i0e(x)


def bessel_i1(x: Any, name: str | None = None) -> Tensor:
    """The modified Bessel function of the first kind, order 1."""
    return ops.bessel_i1(x)


def bessel_i1e(x: Any, name: str | None = None) -> Tensor:
    """exp(-|x|) bessel_i1(x)."""
    return ops.bessel_i1e(x)


def bessel_j0(x: Any, name: str | None = None) -> Tensor:
    """The Bessel function of the first kind, order 0."""
    return ops.bessel_j0(x)


def bessel_j1(x: Any, name: str | None = None) -> Tensor:
    """The Bessel function of the first kind, order 1."""
    return ops.bessel_j1(x)


def bessel_k0(x: Any, name: str | None = None) -> Tensor:
    """The modified Bessel function of the second kind, order 0."""
    return ops.bessel_k0(x)


def bessel_k0e(x: Any, name: str | None = None) -> Tensor:
    """exp(x) bessel_k0(x)."""
    return ops.bessel_k0e(x)


def bessel_k1(x: Any, name: str | None = None) -> Tensor:
    """The modified Bessel function of the second kind, order 1."""
    return ops.bessel_k1(x)


def bessel_k1e(x: Any, name: str | None = None) -> Tensor:
    """exp(x) bessel_k1(x)."""
    return ops.bessel_k1e(x)


def bessel_y0(x: Any, name: str | None = None) -> Tensor:
    """The Bessel function of the second kind, order 0."""
    return ops.bessel_y0(x)


def bessel_y1(x: Any, name: str | None = None) -> Tensor:
    """The Bessel function of the second kind, order 1."""
    return ops.bessel_y1(x)


def dawsn(x: Any, name: str | None = None) -> Tensor:
    """Dawson's integral: exp(-x*x) times the integral of exp(t*t) from 0 to x."""
    return ops.dawsn(x)


def expint(x: Any, name: str | None = None) -> Tensor:
    """The exponential integral of positive x; NaN below 0."""
    return ops.expint(x)


def fresnel_cos(x: Any, name: str | None = None) -> Tensor:
    """The integral of cos(pi/2 t*t) from 0 to x."""
    return ops.fresnel_cos(x)


def fresnel_sin(x: Any, name: str | None = None) -> Tensor:
    """The integral of sin(pi/2 t*t) from 0 to x."""
    return ops.fresnel_sin(x)


def spence(x: Any, name: str | None = None) -> Tensor:
    """The integral of log(t) / (1 - t) from 1 to x; NaN below 0."""
    return ops.spence(x)


def nextafter(x1: Any, x2: Any, name: str | None = None) -> Tensor:
    """The float after x1 on the way to x2. float32 and float64; has no gradient."""
    return ops.nextafter(x1, x2)


# What the loops share -----------------------------------------------------------------------------------------------
def _wide(name: str, *values: Any) -> tuple[Any, list[Any]]:
    """The operands' one float dtype, and the operands in float64, broadcast to one shape."""
    from ..ops.rules import broadcast_shapes, same_dtype

    found = operands(*values)
    dtype = same_dtype(name, [v.type for v in found])
    if not dtype.is_floating:
        raise DTypeError(f"{name}: needs floats, got {found[0].type}; use gf.cast")
    shape = broadcast_shapes(name, [v.type for v in found])
    spread = [v if v.dims == shape else ops.broadcast_to(v, shape=shape) for v in found]
    return dtype, [v if dtype is float64 else ops.cast(v, dtype=float64) for v in spread]


def _number(value: float) -> Any:
    return convert_to_tensor(value, float64)


def _choose(condition: Any, then: Any, otherwise: Any) -> Any:
    then, otherwise = (_number(v) if isinstance(v, float) else v for v in (then, otherwise))
    return ops.select(condition, then, otherwise)


def _any(mask: Any) -> Any:
    flat = ops.reshape(mask, shape=(product(mask.dims),))
    return ops.reduce_any(flat, axes=(0,), keepdims=False)


_SMALL = 2.0**-53
_ROUNDS = 20000


def _converge(start: tuple[Any, ...], active: Any, step: Any) -> tuple[Any, ...]:
    """Repeat step(k, *values) -> (new values, still active) where active, k = 1, 2 ...; the others stay as they are."""

    from .control_flow import while_loop

    def goes_on(k: Any, active: Any, *values: Any) -> Any:
        return ops.logical_and(_any(active), ops.less(k, _number(float(_ROUNDS))))

    def body(k: Any, active: Any, *values: Any) -> tuple[Any, ...]:
        found, goes = step(k, *values)
        kept = tuple(ops.select(active, new, old) for new, old in zip(found, values, strict=True))
        return ops.add(k, 1.0), ops.logical_and(active, goes), *kept

    return tuple(while_loop(goes_on, body, (_number(1.0), active, *start))[2:])


def _like(value: float, shape: Any) -> Any:
    return ops.broadcast_to(_number(value), shape=shape)


# The incomplete gamma functions ---------------------------------------------------------------------------------------
def _lower_series(a: Any, x: Any, active: Any) -> tuple[Any, Any]:
    """sum x^k / ((a + 1) ... (a + k)) and its derivative in a (DLMF 8.7.1)."""

    def step(k: Any, term: Any, slope: Any, total: Any, total_slope: Any) -> Any:
        below = ops.add(a, k)
        ratio = ops.divide(x, below)
        slope = ops.subtract(ops.multiply(slope, ratio), ops.divide(ops.multiply(term, ratio), below))
        term = ops.multiply(term, ratio)
        total, total_slope = ops.add(total, term), ops.add(total_slope, slope)
        goes = ops.logical_or(
            ops.greater(term, ops.multiply(total, _SMALL)),
            ops.greater(ops.absolute(slope), ops.multiply(ops.absolute(total_slope), _SMALL)),
        )
        return (term, slope, total, total_slope), goes

    one, zero = _like(1.0, a.dims), _like(0.0, a.dims)
    _, _, total, slope = _converge((one, zero, one, zero), active, step)
    return total, slope


def _upper_fraction(a: Any, x: Any, active: Any) -> Any:
    """The continued fraction of gamma(a, x) exp(x) x^-a (DLMF 8.9.2) by Lentz's method."""
    tiny = 1e-300
    start = ops.subtract(ops.add(x, 1.0), a)

    def step(k: Any, b: Any, c: Any, d: Any, h: Any) -> Any:
        factor = ops.multiply(ops.negative(k), ops.subtract(k, a))
        b = ops.add(b, 2.0)
        d = ops.add(ops.multiply(factor, d), b)
        d = ops.reciprocal(_choose(ops.less(ops.absolute(d), tiny), tiny, d))
        c = ops.add(b, ops.divide(factor, c))
        c = _choose(ops.less(ops.absolute(c), tiny), tiny, c)
        change = ops.multiply(d, c)
        return (b, c, d, ops.multiply(h, change)), ops.greater(ops.absolute(ops.subtract(change, 1.0)), 2 * _SMALL)

    first = ops.reciprocal(start)
    return _converge((start, _like(1 / tiny, a.dims), first, first), active, step)[3]


def _density(a: Any, x: Any) -> Any:
    """x^a exp(-x) / gamma(a + 1). From a = 20 on by Stirling's series, so that its large terms cancel before they are rounded."""
    direct = ops.exp(ops.subtract(ops.subtract(ops.multiply(a, ops.log(x)), x), ops.lgamma(ops.add(a, 1.0))))
    large = ops.greater(a, 20.0)
    wide = _choose(large, a, 30.0)
    gap = ops.divide(ops.subtract(x, wide), wide)
    near = ops.less(ops.absolute(gap), 0.1)
    # log(1 + gap) - gap, by its series where they are close
    inner = _choose(near, gap, 0.0)
    series = _like(0.0, a.dims)
    for power in range(18, 1, -1):
        series = ops.multiply(ops.add(series, (1.0 if power % 2 else -1.0) / power), inner)
    series = ops.multiply(series, inner)
    outer = _choose(ops.logical_or(near, ops.less_equal(gap, -1.0)), 1.0, gap)
    difference = ops.select(near, series, ops.subtract(ops.log1p(outer), outer))
    inverse = ops.reciprocal(wide)
    square = ops.square(inverse)
    rest = _like(0.0, a.dims)
    for coefficient in (1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12):
        rest = ops.add(ops.multiply(rest, square), coefficient)
    stirling = ops.exp(ops.subtract(ops.multiply(wide, difference), ops.multiply(rest, inverse)))
    stirling = ops.multiply(stirling, ops.rsqrt(ops.multiply(wide, 2 * math.pi)))
    return ops.select(ops.logical_and(large, ops.greater(gap, -1.0)), stirling, direct)


def _incomplete_gamma(a: Any, x: Any, upper: bool) -> Any:
    """The regularised functions of float64 operands of one shape."""
    sound = ops.logical_and(ops.greater(a, 0.0), ops.logical_and(ops.greater(x, 0.0), ops.less(x, math.inf)))
    sound = ops.logical_and(sound, ops.less(a, math.inf))
    a_in, x_in = _choose(sound, a, 1.0), _choose(sound, x, 1.0)
    far = ops.logical_and(ops.greater(x_in, a_in), ops.greater(x_in, 1.0))
    density = _density(a_in, x_in)
    total, _ = _lower_series(a_in, _choose(far, 1.0, x_in), ops.logical_and(sound, ops.logical_not(far)))
    lower = ops.multiply(density, total)
    fraction = _upper_fraction(_choose(far, a_in, 1.0), _choose(far, x_in, 2.0), ops.logical_and(sound, far))
    above = ops.multiply(ops.multiply(density, a_in), fraction)
    if upper:
        value = ops.select(far, above, ops.subtract(1.0, lower))
    else:
        value = ops.select(far, ops.subtract(1.0, above), lower)
    value = _choose(ops.equal(x, 0.0), 1.0 if upper else 0.0, value)
    value = _choose(ops.equal(x, math.inf), 0.0 if upper else 1.0, value)
    value = _choose(ops.equal(a, math.inf), 1.0 if upper else 0.0, value)
    bad = ops.logical_or(ops.less(x, 0.0), ops.less_equal(a, 0.0))
    bad = ops.logical_or(bad, ops.logical_or(ops.is_nan(a), ops.is_nan(x)))
    bad = ops.logical_or(bad, ops.logical_and(ops.equal(a, math.inf), ops.equal(x, math.inf)))
    return _choose(bad, math.nan, value)


def _lower_slope(a: Any, x: Any) -> Any:
    """The derivative of the lower function in a, by the series (where x is far above a, of 1 minus what is left it is 0)."""
    sound = ops.logical_and(ops.greater(a, 0.0), ops.logical_and(ops.greater(x, 0.0), ops.less(x, math.inf)))
    reach = ops.add(ops.multiply(ops.sqrt(_choose(sound, a, 1.0)), 40.0), ops.add(a, 200.0))
    sound = ops.logical_and(sound, ops.less(x, reach))
    a_in, x_in = _choose(sound, a, 1.0), _choose(sound, x, 1.0)
    total, slope = _lower_series(a_in, x_in, sound)
    front = ops.subtract(ops.log(x_in), ops.digamma(ops.add(a_in, 1.0)))
    value = ops.multiply(_density(a_in, x_in), ops.add(ops.multiply(front, total), slope))
    bad = ops.logical_or(ops.less(x, 0.0), ops.less_equal(a, 0.0))
    return _choose(ops.logical_or(bad, ops.is_nan(ops.add(a, x))), math.nan, _choose(sound, value, 0.0))


def _gamma_pair(name: str, a: Any, x: Any, upper: bool) -> Tensor:
    from .custom_gradients import custom_gradient

    a, x = operands(a, x)
    dtype, _ = _wide(name, a, x)

    @custom_gradient
    def function(a: Any, x: Any) -> Any:
        own_a, own_x = wide_of(a, x)
        value = ops.cast(_incomplete_gamma(own_a, own_x, upper), dtype=dtype)

        def gradient(dy: Any) -> Any:
            own_a, own_x = wide_of(a, x)
            by_x = ops.exp(
                ops.subtract(ops.subtract(ops.xlogy(ops.subtract(own_a, 1.0), own_x), own_x), ops.lgamma(own_a))
            )
            by_a = ops.stop_gradient(_lower_slope(own_a, own_x))
            signed = ops.negative(dy) if upper else dy
            return tuple(
                sum_to(ops.multiply(signed, part if dtype is float64 else ops.cast(part, dtype=dtype)), own)
                for part, own in ((by_a, a), (by_x, x))
            )

        return value, gradient

    def wide_of(a: Any, x: Any) -> Any:
        return _wide(name, a, x)[1]

    return function(a, x)


def igamma(a: Any, x: Any, name: str | None = None) -> Tensor:
    """The regularised lower incomplete gamma function P(a, x) of positive a and x from 0 on; NaN elsewhere."""
    return _gamma_pair("igamma", a, x, upper=False)


def igammac(a: Any, x: Any, name: str | None = None) -> Tensor:
    """The regularised upper incomplete gamma function Q(a, x) = 1 - P(a, x)."""
    return _gamma_pair("igammac", a, x, upper=True)


# The incomplete beta function -----------------------------------------------------------------------------------------
def _beta_fraction(a: Any, b: Any, x: Any, active: Any) -> Any:
    """The continued fraction of the incomplete beta function (DLMF 8.17.22) by Lentz's method."""
    tiny = 1e-300

    def guarded(value: Any) -> Any:
        return _choose(ops.less(ops.absolute(value), tiny), tiny, value)

    both, above, below = ops.add(a, b), ops.add(a, 1.0), ops.subtract(a, 1.0)

    def step(k: Any, c: Any, d: Any, h: Any) -> Any:
        twice = ops.multiply(k, 2.0)
        end = ops.add(a, twice)
        even = ops.divide(
            ops.multiply(ops.multiply(k, ops.subtract(b, k)), x), ops.multiply(ops.add(below, twice), end)
        )
        d = ops.reciprocal(guarded(ops.add(ops.multiply(even, d), 1.0)))
        c = guarded(ops.add(ops.divide(even, c), 1.0))
        h = ops.multiply(h, ops.multiply(d, c))
        odd = ops.negative(ops.multiply(ops.multiply(ops.add(a, k), ops.add(both, k)), x))
        odd = ops.divide(odd, ops.multiply(end, ops.add(above, twice)))
        d = ops.reciprocal(guarded(ops.add(ops.multiply(odd, d), 1.0)))
        c = guarded(ops.add(ops.divide(odd, c), 1.0))
        change = ops.multiply(d, c)
        return (c, d, ops.multiply(h, change)), ops.greater(ops.absolute(ops.subtract(change, 1.0)), 2 * _SMALL)

    first = ops.reciprocal(guarded(ops.subtract(1.0, ops.divide(ops.multiply(both, x), above))))
    return _converge((_like(1.0, a.dims), first, first), active, step)[2]


def _log_beta(a: Any, b: Any) -> Any:
    return ops.subtract(ops.add(ops.lgamma(a), ops.lgamma(b)), ops.lgamma(ops.add(a, b)))


def _incomplete_beta(a: Any, b: Any, x: Any) -> Any:
    positive = ops.logical_and(ops.greater(a, 0.0), ops.greater(b, 0.0))
    sound = ops.logical_and(positive, ops.logical_and(ops.greater(x, 0.0), ops.less(x, 1.0)))
    a_in, b_in, x_in = _choose(sound, a, 1.0), _choose(sound, b, 1.0), _choose(sound, x, 0.5)
    turned = ops.greater(x_in, ops.divide(ops.add(a_in, 1.0), ops.add(ops.add(a_in, b_in), 2.0)))
    first, second = ops.select(turned, b_in, a_in), ops.select(turned, a_in, b_in)
    place = ops.select(turned, ops.subtract(1.0, x_in), x_in)
    front = ops.add(ops.multiply(a_in, ops.log(x_in)), ops.multiply(b_in, ops.log1p(ops.negative(x_in))))
    front = ops.exp(ops.subtract(front, _log_beta(a_in, b_in)))
    value = ops.divide(ops.multiply(front, _beta_fraction(first, second, place, sound)), first)
    value = ops.select(turned, ops.subtract(1.0, value), value)
    value = _choose(ops.equal(x, 0.0), 0.0, _choose(ops.equal(x, 1.0), 1.0, value))
    inside = ops.logical_and(ops.greater_equal(x, 0.0), ops.less_equal(x, 1.0))
    return _choose(ops.logical_and(positive, inside), value, math.nan)


def betainc(a: Any, b: Any, x: Any, name: str | None = None) -> Tensor:
    """The regularised incomplete beta function I_x(a, b) of positive a and b, x in [0, 1]; NaN elsewhere. As in TensorFlow, only x has a
    gradient."""
    from .custom_gradients import custom_gradient

    a, b, x = operands(a, b, x)
    dtype, _ = _wide("betainc", a, b, x)
    a, b = ops.stop_gradient(a), ops.stop_gradient(b)

    @custom_gradient
    def function(x: Any) -> Any:
        value = ops.cast(_incomplete_beta(*_wide("betainc", a, b, x)[1]), dtype=dtype)

        def gradient(dy: Any) -> Any:
            own_a, own_b, own_x = _wide("betainc", a, b, x)[1]
            log_slope = ops.add(
                ops.xlogy(ops.subtract(own_a, 1.0), own_x),
                ops.multiply_no_nan(ops.log1p(ops.negative(own_x)), ops.subtract(own_b, 1.0)),
            )
            slope = ops.exp(ops.subtract(log_slope, _log_beta(own_a, own_b)))
            return sum_to(ops.multiply(dy, slope if dtype is float64 else ops.cast(slope, dtype=dtype)), x)

        return value, gradient

    return function(x)


def lbeta(x: Any, name: str | None = None) -> Tensor:
    """log(|Beta(x)|) along the last axis: the sum of lgamma(x), less lgamma of the sum."""
    (x,) = operands(x)
    return ops.subtract(reduce_sum(ops.lgamma(x), -1), ops.lgamma(reduce_sum(x, -1)))


# Zeta and polygamma ---------------------------------------------------------------------------------------------------
def _zeta(x: Any, q: Any) -> Any:
    """The Hurwitz zeta function of float64 operands of one shape (Euler-Maclaurin, DLMF 25.11.28)."""
    whole_q = ops.equal(ops.floor(q), q)
    pole = ops.logical_and(ops.less_equal(q, 0.0), whole_q)
    bad = ops.logical_or(ops.less(x, 1.0), ops.is_nan(ops.add(x, q)))
    bad = ops.logical_or(
        bad,
        ops.logical_and(ops.logical_and(ops.less(q, 0.0), ops.logical_not(whole_q)), ops.not_equal(ops.floor(x), x)),
    )
    one = ops.equal(x, 1.0)
    sound = ops.logical_not(ops.logical_or(ops.logical_or(pole, bad), one))
    power, start = ops.negative(_choose(sound, x, 2.0)), _choose(sound, q, 1.0)

    def step(k: Any, a: Any, total: Any) -> Any:
        a = ops.add(a, 1.0)
        total = ops.add(total, ops.pow_(a, power))
        return (a, total), ops.logical_or(ops.less(k, _number(11.0)), ops.less_equal(a, 9.0))

    a, total = _converge((start, ops.pow_(start, power)), sound, step)
    exponent = ops.negative(power)
    last = ops.pow_(a, power)
    total = ops.add(total, ops.divide(ops.multiply(last, a), ops.subtract(exponent, 1.0)))
    total = ops.subtract(total, ops.multiply(last, 0.5))
    inverse = ops.reciprocal(a)
    square = ops.square(inverse)
    factor: Any = ops.multiply(ops.multiply(exponent, last), inverse)
    # B(2j) / (2j)! for j = 1 ... 12
    for j, coefficient in enumerate(_BERNOULLI_OVER_FACTORIAL, 1):
        total = ops.add(total, ops.multiply(factor, coefficient))
        rising = ops.multiply(ops.add(exponent, float(2 * j - 1)), ops.add(exponent, float(2 * j)))
        factor = ops.multiply(factor, ops.multiply(rising, square))
    total = _choose(ops.logical_or(one, pole), math.inf, total)
    return _choose(bad, math.nan, total)


#: B(2j) / (2j)!
_BERNOULLI_OVER_FACTORIAL = (
    1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600, -3617 / 10670622842880000,
    43867 / 5109094217170944000, -174611 / 802857662698291200000, 77683 / 14101100039391805440000,
    -236364091 / 1693824136731743669452800000,
)  # fmt: skip


def zeta(x: Any, q: Any, name: str | None = None) -> Tensor:
    """The Hurwitz zeta function: the sum of (q + k) ** -x over k = 0, 1, 2 ... As in TensorFlow, only q has a gradient."""
    from .custom_gradients import custom_gradient

    x, q = operands(x, q)
    dtype, _ = _wide("zeta", x, q)
    x = ops.stop_gradient(x)

    @custom_gradient
    def function(q: Any) -> Any:
        value = ops.cast(_zeta(*_wide("zeta", x, q)[1]), dtype=dtype)
        return value, lambda dy: sum_to(ops.negative(ops.multiply(ops.multiply(dy, x), zeta(ops.add(x, 1.0), q))), q)

    return function(q)


def polygamma(a: Any, x: Any, name: str | None = None) -> Tensor:
    """The derivative of order a (0, 1, 2 ...) of digamma at x; NaN for other orders. As in TensorFlow, only x has a gradient."""
    from .custom_gradients import custom_gradient
    from .introspection import known_array

    a, x = operands(a, x)
    dtype, _ = _wide("polygamma", a, x)
    known = known_array(a)
    if known is not None and known.size == 1 and not a.dims and 0 <= float(known) <= 20 and float(known).is_integer():
        order = int(known)
        return ops.digamma(x) if order == 0 else ops.polygamma_of_order(x, order=order)
    a = ops.stop_gradient(a)

    @custom_gradient
    def function(x: Any) -> Any:
        own_a, own_x = _wide("polygamma", a, x)[1]
        whole = ops.logical_and(ops.greater_equal(own_a, 0.0), ops.equal(ops.floor(own_a), own_a))
        order = _choose(whole, own_a, 1.0)
        zero = ops.equal(order, 0.0)
        above = ops.add(_choose(zero, 1.0, order), 1.0)
        odd = ops.equal(ops.floormod(above, _number(2.0)), 0.0)
        size = ops.multiply(ops.exp(ops.lgamma(above)), _zeta(above, own_x))
        value = ops.select(zero, ops.digamma(own_x), ops.select(odd, size, ops.negative(size)))
        found = _choose(whole, value, math.nan)
        return ops.cast(found, dtype=dtype), lambda dy: sum_to(ops.multiply(dy, polygamma(ops.add(a, 1.0), x)), x)

    return function(x)


# Order and sequences --------------------------------------------------------------------------------------------------
def _neighbours(x: Any) -> tuple[Any, Any]:
    """All elements but the last, and all but the first."""
    (x,) = operands(x)
    count = product(x.dims)
    flat = ops.reshape(x, shape=(count,))
    size = dim_max(count - 1, 0)
    begins = (0, count - size)
    before, after = (ops.strided_slice(flat, begin=(b,), sizes=(size,), strides=(1,)) for b in begins)
    return before, after


def is_non_decreasing(x: Any, name: str | None = None) -> Tensor:
    """Is no element below the one before it (row by row)? True for fewer than two."""
    before, after = _neighbours(x)
    return ops.reduce_all(ops.less_equal(before, after), axes=(0,), keepdims=False)


def is_strictly_increasing(x: Any, name: str | None = None) -> Tensor:
    """Is each element above the one before it (row by row)? True for fewer than two."""
    before, after = _neighbours(x)
    return ops.reduce_all(ops.less(before, after), axes=(0,), keepdims=False)


def sobol_sample(dim: Any, num_results: Any, skip: Any = 0, dtype: Any = float32, name: str | None = None) -> Tensor:
    """Points of Sobol's sequence, [num_results, dim], from the one after `skip` on; the point 0 is left out. The direction numbers are
    Joe and Kuo's (2008), by SciPy. The arguments must be known while tracing."""
    from scipy.stats import qmc

    count, width, first = (as_dim(v) for v in (num_results, dim, skip))
    kind = as_dtype(dtype)
    if kind not in (float32, float64):
        raise DTypeError(f"sobol_sample: needs float32 or float64, got {kind.name}")
    if not all(isinstance(v, int) for v in (count, width, first)) or width < 1 or count < 1 or first < 0:  # type: ignore[operator]
        raise InvalidArgumentError(
            f"sobol_sample: needs positive dim and num_results, got {width}, {count} and skip {first}"
        )
    sequence = qmc.Sobol(d=int(width), scramble=False, bits=32)  # type: ignore[arg-type]
    sequence.fast_forward(int(first) + 1)  # type: ignore[arg-type]
    points = np.asarray(sequence.random(int(count)))  # type: ignore[arg-type]
    return convert_to_tensor(points.astype(kind.numpy))
