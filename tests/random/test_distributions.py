"""Draws have the distributions they are named after: Kolmogorov-Smirnov and chi-square tests and moments at fixed seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

import graphflow as gf

COUNT = 60_000
LEAST = 1e-3
"""The p-value below which a test fails; seeds are fixed, so it fails always or never."""
random = gf.random

CONTINUOUS: dict[str, tuple[Any, Any]] = {
    "uniform": (lambda s, d: random.stateless_uniform([COUNT], s, dtype=d), stats.uniform()),
    "uniform bounds": (lambda s, d: random.stateless_uniform([COUNT], s, -3.0, 5.0, d), stats.uniform(-3, 8)),
    "normal": (lambda s, d: random.stateless_normal([COUNT], s, dtype=d), stats.norm()),
    "normal bounds": (lambda s, d: random.stateless_normal([COUNT], s, 4.0, 0.5, d), stats.norm(4, 0.5)),
    "truncated": (lambda s, d: random.stateless_truncated_normal([COUNT], s, dtype=d), stats.truncnorm(-2, 2)),
    "truncated bounds": (
        lambda s, d: random.stateless_truncated_normal([COUNT], s, 1.0, 3.0, d),
        stats.truncnorm(-2, 2, 1, 3),
    ),
    **{
        f"gamma {alpha}": (
            lambda s, d, alpha=alpha: random.stateless_gamma([COUNT], s, alpha, 2.0, d),
            stats.gamma(alpha, scale=0.5),
        )
        for alpha in (0.3, 0.999, 1.0, 2.5, 50.0)
    },
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name: str, dtype: str) -> None:
    draw, distribution = CONTINUOUS[name]
    values = np.asarray(draw([11, 12], dtype), np.float64)
    assert stats.kstest(values, distribution.cdf).pvalue > LEAST
    mean, deviation = distribution.mean(), distribution.std()
    assert abs(values.mean() - mean) < 4 * deviation / np.sqrt(COUNT)
    fourth = distribution.moment(4) if name == "normal" else (np.abs(values - mean) ** 4).mean()
    assert abs(values.var() - deviation**2) < 4 * np.sqrt(fourth / COUNT)


@pytest.mark.parametrize("bounds", [(-2, 2), (0.5, 0.6), (-1, 9), (2.5, 2.6), (3, np.inf), (-np.inf, -6), (-30, -20)])
def test_truncated_between_bounds(bounds: tuple[float, float]) -> None:
    low, high = bounds
    draws = random.stateless_parameterized_truncated_normal(
        [COUNT], [1, 2], gf.constant(np.float64(3.0)), 2.0, 3 + 2.0 * low, 3 + 2.0 * high
    )
    values = (np.asarray(draws) - 3) / 2
    assert values.min() >= low - 1e-9 and values.max() <= high + 1e-9
    assert stats.kstest(values, stats.truncnorm(low, high).cdf).pvalue > LEAST


def chi_square(values: np.ndarray[Any, Any], mass: Any) -> float:
    """The p-value of counts against a discrete distribution; rare values share a class at each end."""
    low, high = int(values.min()), int(values.max())
    places = np.arange(low, high + 1)
    expected = mass(places) * values.size
    seen = np.bincount(values.astype(np.int64) - low, minlength=len(places))
    common = expected >= 8
    first, last = int(np.argmax(common)), len(places) - int(np.argmax(common[::-1]))
    seen_classes = [seen[:first].sum(), *seen[first:last], seen[last:].sum()]
    middle = expected[first:last].sum()
    below = sum(mass(np.arange(max(low - 2000, 0), low + first))) * values.size
    classes = [below, *expected[first:last], max(values.size - middle - below, 0.0)]
    merged = [(s, e) for s, e in zip(seen_classes, classes, strict=True) if e > 1e-6 or s]
    rest = [(s, e) for s, e in merged if e < 4]
    kept = [(s, e) for s, e in merged if e >= 4]
    if rest:
        kept[-1] = (kept[-1][0] + sum(s for s, _ in rest), kept[-1][1] + sum(e for _, e in rest))
    s, e = np.array([k[0] for k in kept], float), np.array([k[1] for k in kept], float)
    if len(s) == 1:
        return 1.0
    return float(stats.chisquare(s, e * s.sum() / e.sum()).pvalue)


@pytest.mark.parametrize("rate", [0.01, 0.7, 4.0, 9.99, 10.0, 31.4, 700.0])
@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
def test_poisson(rate: float, dtype: str) -> None:
    draws = random.stateless_poisson([COUNT], [5, 6], rate, dtype)
    assert draws.dtype.name == dtype
    values = np.asarray(draws)
    assert chi_square(values, stats.poisson(rate).pmf) > LEAST
    assert abs(values.mean(dtype=np.float64) - rate) < 4 * np.sqrt(rate / COUNT)


@pytest.mark.parametrize(
    ("trials", "chance"), [(1, 0.5), (12, 0.2), (12, 0.9), (40, 0.5), (1000, 0.003), (300, 0.6), (10**6, 0.2)]
)
def test_binomial(trials: int, chance: float) -> None:
    values = np.asarray(random.stateless_binomial([COUNT], [7, 8], trials, chance))
    distribution = stats.binom(trials, chance)
    assert values.dtype == np.int32 and values.min() >= 0 and values.max() <= trials
    if trials < 10**5:
        assert chi_square(values, distribution.pmf) > LEAST
    else:
        assert stats.kstest(values + np.random.default_rng(0).random(COUNT) - 0.5,
                            stats.norm(distribution.mean(), distribution.std()).cdf).pvalue > LEAST  # fmt: skip
    assert abs(values.mean() - distribution.mean()) < 4 * distribution.std() / np.sqrt(COUNT)


def test_certain_and_impossible_counts() -> None:
    np.testing.assert_array_equal(random.stateless_poisson([3], [1, 2], 0.0), [0, 0, 0])
    np.testing.assert_array_equal(
        random.stateless_binomial([4], [1, 2], [0.0, 7.0, 7.0, 0.0], [0.5, 0.0, 1.0, 1.0]), [0, 0, 7, 0]
    )
    assert np.isnan(random.stateless_poisson([2], [1, 2], [-1.0, np.nan], gf.float32)).all()
    assert np.isnan(random.stateless_binomial([3], [1, 2], [-1.0, 3.0, 3.0], [0.5, -0.1, 1.5], gf.float64)).all()
    assert np.isnan(random.stateless_gamma([3], [1, 2], [0.0, -1.0, np.nan])).all()
    assert np.isnan(
        random.stateless_parameterized_truncated_normal([2], [1, 2], 0.0, [1.0, -1.0], [2.0, 0.0], [1.0, 1.0])
    ).all()


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("int32", 0, 6),
        ("int64", -5, 2),
        ("int32", -(2**31), 2**31 - 1),
        ("int64", -(2**63), 2**63 - 1),
        ("int64", 0, 3 * 2**61),
    ],
)
def test_integers(dtype: str, low: int, high: int) -> None:
    values = np.asarray(random.stateless_uniform([COUNT], [1, 9], low, high, dtype))
    assert values.dtype.name == dtype and values.min() >= low and values.max() < high
    parts = min(high - low, 64)
    place = [(int(v) - low) * parts // (high - low) for v in values]
    assert stats.chisquare(np.bincount(place, minlength=parts)).pvalue > LEAST


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
def test_whole_range_integers(dtype: str) -> None:
    values = np.asarray(random.stateless_uniform([COUNT], [1, 9], None, None, dtype))
    assert values.dtype.name == dtype
    top = values.view(f"u{values.dtype.itemsize}") >> (values.dtype.itemsize * 8 - 5)
    assert stats.chisquare(np.bincount(top.astype(np.int64), minlength=32)).pvalue > LEAST
    assert len(np.unique(values)) > 0.999 * COUNT


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_floats(dtype: str) -> None:
    u = np.asarray(random.stateless_uniform([COUNT], [1, 2], dtype=dtype)).astype(np.float64)
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 5e-3
    v = np.asarray(random.stateless_uniform([COUNT], [1, 2], 1.0, 1.5, dtype=dtype)).astype(np.float64)
    assert v.min() >= 1 and v.max() < 1.5
    z = np.asarray(random.stateless_normal([COUNT], [1, 2], dtype=dtype)).astype(np.float64)
    assert abs(z.mean()) < 0.02 and abs(z.std() - 1) < 0.02
    g = random.stateless_gamma([100], [1, 2], 3.0, dtype=dtype)
    assert g.dtype.name == dtype and np.all(np.asarray(g).astype(np.float64) > 0)


def test_categorical() -> None:
    chances = np.array([[0.1, 0.2, 0.7], [0.98, 0.01, 0.01], [0.5, 0.5, 0.0]])
    with np.errstate(divide="ignore"):
        logits = np.log(chances)
    for dtype in (gf.int32, gf.int64):
        found = random.stateless_categorical(logits + 3, COUNT, [4, 5], dtype)
        assert found.dtype is dtype and found.shape == (3, COUNT)
        for row, chance in zip(found.numpy(), chances, strict=True):
            seen = np.bincount(row, minlength=3)
            assert seen[chance == 0].sum() == 0
            assert stats.chisquare(seen[chance > 0], COUNT * chance[chance > 0]).pvalue > LEAST
    np.testing.assert_array_equal(random.stateless_categorical([[2.0]], 3, [1, 1]), [[0, 0, 0]])


def test_every_order_is_as_likely_as_any() -> None:
    gf.random.set_seed(4)
    orders = [tuple(random.shuffle(gf.range(4)).numpy().tolist()) for _ in range(2400)]
    seen = np.unique(np.array(orders), axis=0, return_counts=True)[1]
    assert len(seen) == 24 and stats.chisquare(seen).pvalue > LEAST
    rows = random.experimental.stateless_shuffle(gf.reshape(gf.range(60), [20, 3]), [1, 2]).numpy()
    np.testing.assert_array_equal(np.sort(rows[:, 0]), np.arange(0, 60, 3))
    np.testing.assert_array_equal(rows - rows[:, :1], np.tile([0, 1, 2], (20, 1)))


def test_tails_reach_as_far_as_they_should() -> None:
    """Sizes whose probability in a million draws is some per cent, no more and no less."""
    z = np.abs(random.stateless_normal([1_000_000], [2, 3]).numpy())
    assert 4.3 < z.max() < 6.8
    assert stats.binomtest(int((z > 3.5).sum()), z.size, 2 * stats.norm.sf(3.5)).pvalue > LEAST
    e = random.stateless_gamma([1_000_000], [2, 3], 1.0).numpy()
    assert stats.binomtest(int((e > 9).sum()), e.size, np.exp(-9)).pvalue > LEAST
