"""Functions of several arguments that are loops: igamma, igammac, betainc, zeta, polygamma, against SciPy; gradients as TensorFlow's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

import graphflow as gf

RANDOM = np.random.default_rng(8)
A = np.exp(RANDOM.uniform(-4, 7, 300))
X = A * np.exp(RANDOM.normal(0, 1, 300) * np.minimum(1, 3 / np.sqrt(A)))
U, B = RANDOM.uniform(0, 1, 300), np.exp(RANDOM.uniform(-3, 4, 300))

PAIRS = {
    "igamma": (gf.math.igamma, scipy.special.gammainc, (A, X), 1e-12),
    "igammac": (gf.math.igammac, scipy.special.gammaincc, (A, X), 1e-12),
    "betainc": (gf.math.betainc, scipy.special.betainc, (np.minimum(A, 60), B, U), 1e-11),
    "zeta": (gf.math.zeta, scipy.special.zeta, (1.01 + 20 * U, np.minimum(A, 30)), 1e-14),
    "polygamma": (gf.math.polygamma, scipy.special.polygamma, (np.floor(6 * U), np.minimum(A, 30)), 1e-13),
}


@pytest.mark.parametrize("name", PAIRS)
def test_values_eager_and_compiled(name):
    ours, theirs, arrays, bound = PAIRS[name]
    found = ours(*arrays)
    np.testing.assert_allclose(found.numpy(), theirs(*arrays), rtol=bound, atol=1e-300)
    compiled = gf.function(
        lambda *values: ours(*values), input_signature=[gf.TensorSpec([None], gf.float64)] * len(arrays)
    )
    tensors = [gf.constant(a) for a in arrays]
    assert compiled(*tensors).numpy().tobytes() == ours(*tensors).numpy().tobytes()
    narrow = [gf.constant(a, gf.float32) for a in arrays]
    exact = theirs(*[t.numpy().astype(np.float64) for t in narrow])
    np.testing.assert_allclose(ours(*narrow).numpy(), exact.astype(np.float32), rtol=3e-7, atol=1e-38)


def test_ends_of_the_domain():
    nan, inf = np.nan, np.inf
    np.testing.assert_array_equal(
        gf.math.igamma([0.0, 1, -1, 1, 1, nan], [1.0, 0, 1, -1, inf, 1]).numpy(), [nan, 0, nan, nan, 1, nan]
    )
    np.testing.assert_array_equal(gf.math.igammac([1.0, 1], [0.0, inf]).numpy(), [1, 0])
    np.testing.assert_array_equal(
        gf.math.betainc([1.0, 1, 1, 0], [1.0, 1, 1, 1], [0.0, 1, 2, 0.5]).numpy(), [0, 1, nan, nan]
    )
    np.testing.assert_array_equal(gf.math.zeta([1.0, 2, 2, 0.5], [1.0, 0, -1, 1]).numpy(), [inf, inf, inf, nan])
    assert np.isnan(gf.math.polygamma([0.5], [1.0]).numpy()[0])
    np.testing.assert_allclose(gf.math.lbeta([1.0, 2.0, 3.0]).numpy(), np.log(1 * 1 * 2 / 120), rtol=1e-6)


def slopes(function, *values):
    tensors = [gf.constant(v, gf.float64) for v in values]
    with gf.GradientTape() as tape:
        tape.watch(tensors)
        y = function(*tensors)
    return [None if g is None else float(g) for g in tape.gradient(y, tensors)]


def test_gradients():
    step = 1e-6

    def difference(function, *values, at):
        moved = [[v + (s * step if k == at else 0) for k, v in enumerate(values)] for s in (1, -1)]
        return (function(*moved[0]) - function(*moved[1])) / (2 * step)

    for ours, theirs, values in (
        (gf.math.igamma, scipy.special.gammainc, (2.5, 3.0)),
        (gf.math.igammac, scipy.special.gammaincc, (7.0, 3.0)),
    ):
        expected = [difference(theirs, *values, at=k) for k in (0, 1)]
        np.testing.assert_allclose(slopes(ours, *values), expected, rtol=1e-7)
    assert slopes(gf.math.betainc, 2.5, 3.0, 0.3)[:2] == [None, None]  # as TensorFlow has it
    np.testing.assert_allclose(
        slopes(gf.math.betainc, 2.5, 3.0, 0.3)[2], difference(scipy.special.betainc, 2.5, 3.0, 0.3, at=2), rtol=1e-7
    )
    assert slopes(gf.math.zeta, 2.5, 3.0)[0] is None
    np.testing.assert_allclose(slopes(gf.math.zeta, 2.5, 3.0)[1], -2.5 * scipy.special.zeta(3.5, 3.0), rtol=1e-13)
    np.testing.assert_allclose(
        slopes(lambda a, x: gf.math.polygamma(a, x), 2.0, 3.0)[1], scipy.special.polygamma(3, 3.0), rtol=1e-13
    )


def test_gradients_broadcast_back():
    a, x = gf.constant([[1.0], [2.0]]), gf.constant([0.5, 1.0, 2.0])
    with gf.GradientTape() as tape:
        tape.watch([a, x])
        y = gf.math.igamma(a, x)
    by_a, by_x = tape.gradient(y, [a, x])
    assert by_a.shape == [2, 1] and by_x.shape == [3]


def test_wrong_dtypes_are_refused():
    for call in (
        lambda: gf.math.igamma([1], [2]),
        lambda: gf.math.zeta(gf.constant([2.0]), gf.constant([2.0], gf.float64)),
    ):
        with pytest.raises(gf.errors.DTypeError):
            call()
