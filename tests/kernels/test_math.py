"""The math library against mpmath and f64: error bounds over every binade, special values, signs of zero,
thresholds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from graphflow.dtypes import float32, float64, int32
from graphflow.kernels import math as library
from graphflow.kernels.scalar import ScalarBuilder

_PATH = Path(__file__).parents[2] / "tools" / "measure_math.py"
_SPECIFICATION = importlib.util.spec_from_file_location("measure_math", _PATH)
assert _SPECIFICATION is not None and _SPECIFICATION.loader is not None
measure = sys.modules["measure_math"] = importlib.util.module_from_spec(_SPECIFICATION)
_SPECIFICATION.loader.exec_module(measure)

DTYPES = [float32, float64]
INF, NAN = np.inf, np.nan

#: Bounds in ulp for f32 and f64: what was measured over far more points (docs/math.md), rounded up.
BOUNDS = {
    "acos": (1.2, 1.2), "acosh": (1.5, 1.5), "asin": (1.25, 1.25), "asinh": (1.7, 1.7), "atan": (1.0, 0.8),
    "atan2": (1.3, 1.3), "atanh": (1.6, 1.6), "cos": (1.7, 0.9), "cosh": (1.7, 1.6), "digamma": (0.6, 1.0),
    "erf": (1.2, 1.05), "erfc": (0.6, 2.0), "erfinv": (0.6, 1.5), "exp": (1.1, 1.1), "exp2": (0.95, 1.0),
    "expm1": (1.4, 1.6), "lgamma": (0.6, 1.3), "log": (0.95, 0.95), "log10": (0.8, 0.8), "log1p": (1.6, 1.6),
    "log2": (0.8, 0.8), "log_sigmoid": (1.9, 1.9), "pow": (0.6, 1.4), "rsqrt": (1.5, 1.5), "sigmoid": (1.4, 1.5),
    "sin": (1.7, 0.9), "sinh": (1.3, 1.5), "softplus": (1.9, 1.9), "tan": (0.6, 1.0), "tanh": (1.3, 1.2),
}  # fmt: skip

_compiled: dict[tuple[str, str, int | None], object] = {}


def compiled(name, dtype, lanes=None):
    key = name, dtype.short, lanes
    if key not in _compiled:
        _compiled[key] = measure.compile_function(name, dtype, lanes)
    return _compiled[key]


def bound(name, dtype):
    return BOUNDS[name][0 if dtype is float32 else 1]


def same(got, expected):
    """Equal bits, any NaN like any other."""
    got, expected = np.asarray(got), np.asarray(expected, np.asarray(got).dtype)
    equal = (got == expected) & (np.signbit(got) == np.signbit(expected))
    return bool(np.all(equal | (np.isnan(got) & np.isnan(expected))))


def test_every_function_has_a_case_and_a_bound():
    assert set(measure.CASES) == set(library.__all__) == set(BOUNDS)
    assert all(limit <= 2.0 for pair in BOUNDS.values() for limit in pair)


@pytest.mark.parametrize("name", library.__all__)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_error_against_mpmath(name, dtype):
    """Every binade, the ordinary range and the edges, at 40 digits."""
    function, case = compiled(name, dtype), measure.CASES[name]
    few = name in ("erfinv", "lgamma", "digamma")
    near = measure.edges(dtype)
    binades = measure.every_binade(dtype, 2 if dtype is float32 else 1, 11)
    if few or case.operands == 2:
        binades = binades[:: 5 if dtype is float64 else 2]
    mix = np.random.default_rng(12).permutation
    sets = [
        measure.ordinary(name, dtype, 150 if name == "erfinv" else 400, 13),
        [binades] if case.operands == 1 else [binades, mix(binades)],
        [near] if case.operands == 1 else [near, mix(near)],
    ]
    for arguments in sets:
        if measure.positive_only(name):
            arguments = [a[a > 0] for a in arguments]
        errors = measure.exact_errors(function(*arguments), arguments, case, dtype)
        worst = int(np.argmax(errors))
        assert errors[worst] <= bound(name, dtype), (errors[worst], [a[worst] for a in arguments])


@pytest.mark.parametrize(
    "name", [n for n in library.__all__ if measure.CASES[n].wide and measure.CASES[n].operands == 1]
)
def test_f32_error_against_f64(name):
    """A sweep over all floats (every 65537th), and 100,000 ordinary ones, specials among them."""
    function, case = compiled(name, float32), measure.CASES[name]
    sweep = np.arange(0, 1 << 32, 65537, dtype=np.uint64).astype(np.uint32).view(np.float32)
    for points in (sweep, measure.ordinary(name, float32, 100_000, 14)[0]):
        with np.errstate(all="ignore"):
            errors = measure.ulp_errors(function(points), case.wide(points.astype(np.float64)), float32)
        worst = int(np.argmax(errors))
        assert errors[worst] <= bound(name, float32), (errors[worst], points[worst])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sin", "erf", "pow", "lgamma"])
def test_lanes_agree(name, dtype):
    """Vector loop, scalar tail and a scalar program give the same bits."""
    arguments = measure.ordinary(name, dtype, 37, 15)
    assert same(compiled(name, dtype)(*arguments), compiled(name, dtype, 1)(*arguments))


#: (function, argument, result); both signs of zero count.
SPECIAL = [
    ("exp", [0.0, -0.0, INF, -INF, NAN], [1.0, 1.0, INF, 0.0, NAN]),
    ("exp2", [0.0, -0.0, INF, -INF, NAN, 3.0, -3.0], [1.0, 1.0, INF, 0.0, NAN, 8.0, 0.125]),
    ("expm1", [0.0, -0.0, INF, -INF, NAN], [0.0, -0.0, INF, -1.0, NAN]),
    ("log", [0.0, -0.0, 1.0, INF, -INF, -1.0, NAN, -1e-30], [-INF, -INF, 0.0, INF, NAN, NAN, NAN, NAN]),
    ("log2", [0.0, -0.0, 1.0, INF, -1.0, NAN, 8.0, 0.25], [-INF, -INF, 0.0, INF, NAN, NAN, 3.0, -2.0]),
    ("log10", [0.0, -0.0, 1.0, INF, -1.0, NAN, 1000.0], [-INF, -INF, 0.0, INF, NAN, NAN, 3.0]),
    ("log1p", [0.0, -0.0, -1.0, INF, -2.0, -INF, NAN], [0.0, -0.0, -INF, INF, NAN, NAN, NAN]),
    ("sin", [0.0, -0.0, INF, -INF, NAN], [0.0, -0.0, NAN, NAN, NAN]),
    ("cos", [0.0, -0.0, INF, -INF, NAN], [1.0, 1.0, NAN, NAN, NAN]),
    ("tan", [0.0, -0.0, INF, -INF, NAN], [0.0, -0.0, NAN, NAN, NAN]),
    ("asin", [0.0, -0.0, 1.0, -1.0, 1.5, -INF, NAN], [0.0, -0.0, np.pi / 2, -np.pi / 2, NAN, NAN, NAN]),
    ("acos", [1.0, -1.0, 0.0, 1.5, INF, NAN], [0.0, np.pi, np.pi / 2, NAN, NAN, NAN]),
    ("atan", [0.0, -0.0, INF, -INF, NAN, 1.0], [0.0, -0.0, np.pi / 2, -np.pi / 2, NAN, np.pi / 4]),
    ("sinh", [0.0, -0.0, INF, -INF, NAN, 1e30], [0.0, -0.0, INF, -INF, NAN, INF]),
    ("cosh", [0.0, -0.0, INF, -INF, NAN, -1e30], [1.0, 1.0, INF, INF, NAN, INF]),
    ("tanh", [0.0, -0.0, INF, -INF, NAN, 30.0], [0.0, -0.0, 1.0, -1.0, NAN, 1.0]),
    ("asinh", [0.0, -0.0, INF, -INF, NAN], [0.0, -0.0, INF, -INF, NAN]),
    ("acosh", [1.0, INF, 0.5, -INF, NAN], [0.0, INF, NAN, NAN, NAN]),
    ("atanh", [0.0, -0.0, 1.0, -1.0, 2.0, -INF, NAN], [0.0, -0.0, INF, -INF, NAN, NAN, NAN]),
    ("sigmoid", [0.0, -0.0, INF, -INF, NAN, 800.0, -800.0], [0.5, 0.5, 1.0, 0.0, NAN, 1.0, 0.0]),
    ("softplus", [INF, -INF, NAN, 800.0, -800.0], [INF, 0.0, NAN, 800.0, 0.0]),
    ("log_sigmoid", [INF, -INF, NAN, 800.0, -800.0], [-0.0, -INF, NAN, -0.0, -800.0]),
    ("rsqrt", [0.0, -0.0, INF, -1.0, NAN, 4.0], [INF, -INF, 0.0, NAN, NAN, 0.5]),
    ("erf", [0.0, -0.0, INF, -INF, NAN, 10.0], [0.0, -0.0, 1.0, -1.0, NAN, 1.0]),
    ("erfc", [0.0, -0.0, INF, -INF, NAN, 30.0, -30.0], [1.0, 1.0, 0.0, 2.0, NAN, 0.0, 2.0]),
    ("erfinv", [0.0, -0.0, 1.0, -1.0, 1.5, NAN], [0.0, -0.0, INF, -INF, NAN, NAN]),
    ("lgamma", [1.0, 2.0, 0.0, -0.0, -1.0, -7.0, INF, -INF, NAN], [0.0, 0.0, INF, INF, INF, INF, INF, INF, NAN]),
    ("digamma", [0.0, -0.0, -1.0, -7.0, INF, -INF, NAN], [-INF, INF, NAN, NAN, INF, NAN, NAN]),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "arguments", "results"), SPECIAL, ids=[s[0] for s in SPECIAL])
def test_special_values(name, arguments, results, dtype):
    with np.errstate(all="ignore"):
        got = compiled(name, dtype)(np.array(arguments, dtype.numpy))
        expected = np.array(results, dtype.numpy)
    assert same(got, expected), list(zip(arguments, got, expected, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_pow_table(dtype):
    """IEEE 754's table, which C's pow (NumPy) implements, over all pairs of interesting operands."""
    kind = dtype.numpy.type
    largest, smallest = np.finfo(kind).max, np.finfo(kind).smallest_subnormal
    odd = 2.0 ** (np.finfo(kind).nmant + 1) - 1
    values = [0.0, 1.0, 2.0, 3.0, 0.5, 1.5, 4.0, INF, NAN, largest, smallest, odd, odd + 1, 1e10]
    base = np.array([sign * v for v in values for sign in (1, -1)], kind)
    x, y = (a.ravel() for a in np.meshgrid(base, base))
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(np.float64), y.astype(np.float64)).astype(kind)
    got = compiled("pow", dtype)(x, y)
    special = ~np.isfinite(expected) | (expected == 0) | (np.abs(expected) == 1)
    assert same(got[special], expected[special])
    np.testing.assert_allclose(got[~special], expected[~special], rtol=4 * np.finfo(kind).eps)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_atan2_table(dtype):
    kind = dtype.numpy.type
    values = [0.0, 1.0, INF, NAN, np.finfo(kind).max, np.finfo(kind).smallest_subnormal, np.finfo(kind).tiny]
    base = np.array([sign * v for v in values for sign in (1, -1)], kind)
    y, x = (a.ravel() for a in np.meshgrid(base, base))
    with np.errstate(all="ignore"):
        expected = np.arctan2(y.astype(np.float64), x.astype(np.float64)).astype(kind)
    got = compiled("atan2", dtype)(y, x)
    zero = expected == 0
    assert same(got[zero], expected[zero])
    assert np.array_equal(np.isnan(got), np.isnan(expected))
    assert np.array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(expected[~np.isnan(got)]))
    # the reference itself is f64: one unit of f64's last place
    np.testing.assert_allclose(got, expected, rtol=2 * np.finfo(kind).eps, atol=np.finfo(kind).smallest_subnormal)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["expm1", "log1p", "sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh"])
def test_small_arguments_come_back(name, dtype):
    """f(x) = x for subnormal and tiny x, with x's sign: denormals survive."""
    kind = dtype.numpy.type
    tiny = np.finfo(kind).smallest_subnormal
    x = np.array([tiny, 3 * tiny, np.finfo(kind).tiny, np.finfo(kind).tiny * 1.5], kind)
    x = np.concatenate([x, -x])
    assert same(compiled(name, dtype)(x), x)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "erf", "log", "atan", "softplus"])
def test_monotone_at_saturation(name, dtype):
    """Near the ends of the range the results never step back by more than the error bound, and never pass the limit."""
    low, high = {"exp": (-110, -80), "tanh": (8, 25), "sigmoid": (14, 40), "erf": (3.5, 7), "log": (1e30, 3e38),
                 "atan": (1e5, 1e9), "softplus": (-110, -80)}[name]  # fmt: skip
    x = np.linspace(low, high, 5000).astype(dtype.numpy)
    y = compiled(name, dtype)(x)
    step = np.diff(y)
    assert np.all(step >= -2 * np.spacing(np.abs(y[1:])))
    if name in ("tanh", "sigmoid", "erf"):
        assert y.max() == 1.0


def test_large_arguments_of_trigonometric_functions():
    """The worst cases of the reduction: near multiples of pi/2, up to the largest finite number."""
    import mpmath as mp

    hard = np.array([6381956970095103.0 * 2.0**797, np.finfo(np.float64).max, 2.0**1023, 1e22, 2.0**53, 355.0, 1e300])
    for name in ("sin", "cos", "tan"):
        got = compiled(name, float64)(hard)
        for x, y in zip(hard, got, strict=True):
            with mp.workprec(1300):
                expected = getattr(mp, name)(mp.mpf(float(x)))
            assert abs(mp.mpf(float(y)) / expected - 1) < 2.0**-52, (name, x)


@pytest.mark.parametrize("name", ["lgamma", "digamma"])
def test_gamma_family_left_of_zero(name):
    """Near its zeros there the error is bounded in absolute terms only (documented)."""
    x = -np.random.default_rng(16).uniform(0.001, 30, 400)
    x = x[np.abs(x - np.rint(x)) > 1e-3]
    got = compiled(name, float64)(x)
    for value, y in zip(x, got, strict=True):
        expected = measure.CASES[name].exact(measure.mp.mpf(float(value)))
        assert abs(y - expected) < 5e-16 * max(1, abs(expected)), value


def test_other_dtypes_are_refused():
    s = ScalarBuilder()
    with pytest.raises(TypeError, match="f32 and f64"):
        s.exp(s.parameter(0, int32))
