"""The special functions against mpmath, with the bounds of docs/special.md; ends of their domains."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

import graphflow as gf
from graphflow import ops

#: name -> (true value, from, to, largest relative error; None: absolute, over the amplitude)
FUNCTIONS = {
    "bessel_i0": (lambda x: mp.besseli(0, x), -30, 30, 4e-15),
    "bessel_i0e": (lambda x: mp.exp(-abs(x)) * mp.besseli(0, x), -50, 50, 2e-15),
    "bessel_i1": (lambda x: mp.besseli(1, x), -30, 30, 4e-15),
    "bessel_i1e": (lambda x: mp.exp(-abs(x)) * mp.besseli(1, x), -50, 50, 2e-15),
    "bessel_j0": (lambda x: mp.besselj(0, x), -60, 60, None),
    "bessel_j1": (lambda x: mp.besselj(1, x), -60, 60, None),
    "bessel_k0": (lambda x: mp.besselk(0, x), 0.01, 30, 4e-15),
    "bessel_k0e": (lambda x: mp.exp(x) * mp.besselk(0, x), 0.01, 30, 4e-15),
    "bessel_k1": (lambda x: mp.besselk(1, x), 0.01, 30, 4e-15),
    "bessel_k1e": (lambda x: mp.exp(x) * mp.besselk(1, x), 0.01, 30, 4e-15),
    "bessel_y0": (lambda x: mp.bessely(0, x), 0.5, 60, None),
    "bessel_y1": (lambda x: mp.bessely(1, x), 0.5, 60, None),
    "dawsn": (lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x), -20, 20, 1e-15),
    "expint": (mp.ei, 0.5, 80, 4e-15),
    "fresnel_sin": (mp.fresnels, -30, 30, 2e-15),
    "fresnel_cos": (mp.fresnelc, -30, 30, 2e-15),
    "spence": (lambda x: mp.re(mp.polylog(2, 1 - x)), 0.01, 0.9, 1e-15),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_is_within_its_bound(name):
    true, low, high, bound = FUNCTIONS[name]
    x = np.random.default_rng(3).uniform(low, high, 150)
    found = getattr(ops, name)(gf.constant(x)).numpy()
    with mp.workdps(40):
        for value, place in zip(found, x, strict=True):
            exact = true(mp.mpf(float(place)))
            scale = abs(exact) if bound is not None else mp.sqrt(2 / (mp.pi * abs(mp.mpf(float(place))))) + abs(exact)
            assert abs(mp.mpf(float(value)) - exact) <= (bound or 2e-15) * scale, (name, place)


@pytest.mark.parametrize("order", [1, 2, 3, 7])
def test_derivatives_of_digamma(order):
    x = np.random.default_rng(4).uniform(0.01, 30, 80)
    found = ops.polygamma_of_order(gf.constant(x), order=order).numpy()
    with mp.workdps(40):
        for value, place in zip(found, x, strict=True):
            exact = mp.polygamma(order, mp.mpf(float(place)))
            assert abs(mp.mpf(float(value)) - exact) <= 2e-15 * abs(exact)
        # left of 0 the reflection formula cancels
        for place in (-0.5, -1.25, -3.7):
            value = float(ops.polygamma_of_order(gf.constant(place, gf.float64), order=order))
            exact = mp.polygamma(order, mp.mpf(place))
            assert abs(value - exact) <= 1e-12 * max(abs(exact), 1)


ENDS = {
    "bessel_i0": ([0.0, np.inf, -np.inf, 710.0], [1.0, np.inf, np.inf, float(mp.besseli(0, 710))]),
    "bessel_i1": ([0.0, np.inf, -np.inf], [0.0, np.inf, -np.inf]),
    "bessel_k0": ([0.0, -1.0, np.inf], [np.inf, np.nan, 0.0]),
    "bessel_k1e": ([0.0, -1.0, np.inf], [np.inf, np.nan, 0.0]),
    "bessel_j0": ([0.0, np.inf, -np.inf], [1.0, 0.0, 0.0]),
    "bessel_y0": ([0.0, -1.0, np.inf], [-np.inf, np.nan, 0.0]),
    "bessel_y1": ([0.0, -1.0], [-np.inf, np.nan]),
    "dawsn": ([0.0, np.inf, -np.inf], [0.0, 0.0, 0.0]),
    "expint": ([0.0, -1.0, np.inf], [-np.inf, np.nan, np.inf]),
    "fresnel_sin": ([0.0, np.inf, -np.inf], [0.0, 0.5, -0.5]),
    "spence": ([0.0, 1.0, -1.0, np.inf], [np.pi**2 / 6, 0.0, np.nan, -np.inf]),
}


@pytest.mark.parametrize("name", ENDS)
def test_ends_of_the_domain(name):
    places, values = ENDS[name]
    for dtype in (gf.float64, gf.float32):
        found = getattr(ops, name)(gf.constant([*places, np.nan], dtype)).numpy()
        with np.errstate(over="ignore"):
            expected = np.array([*values, np.nan]).astype(dtype.numpy)
        np.testing.assert_allclose(found, expected, rtol=1e-6 if dtype is gf.float32 else 1e-13)


def test_trigamma_is_the_gradient_of_digamma():
    x = gf.constant([0.5, 2.0, 7.5], gf.float64)
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = gf.math.digamma(x)
    expected = [float(mp.polygamma(1, v)) for v in (0.5, 2.0, 7.5)]
    np.testing.assert_allclose(tape.gradient(y, x).numpy(), expected, rtol=1e-14)
