"""gf.nn.dropout and gf.nn.experimental.stateless_dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError


def test_elements_are_dropped_at_the_rate_and_the_others_scaled() -> None:
    x = gf.ones([200, 300])
    y = gf.nn.experimental.stateless_dropout(x, 0.3, [1, 2]).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    dropped = (y == 0).mean()
    assert abs(dropped - 0.3) < 4 * np.sqrt(0.21 / y.size)


def test_noise_shape_drops_whole_stretches() -> None:
    x = gf.ones([50, 6, 4])
    rows = gf.nn.experimental.stateless_dropout(x, 0.5, [1, 2], noise_shape=[None, 1, 4]).numpy()
    assert (rows == rows[:, :1]).all() and not (rows == rows[:, :, :1]).all()
    same = gf.nn.experimental.stateless_dropout(x, 0.5, [1, 2], noise_shape=[4]).numpy()
    assert (same == same[:1, :1]).all()


def test_eager_and_graph_agree_and_follow_the_seed() -> None:
    def program(x):
        return gf.nn.dropout(x, 0.4), gf.nn.dropout(x, 0.4, seed=3), gf.nn.dropout(x, 0.0), gf.nn.dropout(x, 0.2)

    x = gf.random.stateless_normal([5, 7], [1, 2])
    traced = gf.function(program)
    gf.random.set_seed(1)
    eager = [program(x), program(x)]
    gf.random.set_seed(1)
    graph = [traced(x), traced(x)]
    for a, b in zip(gf.nest.flatten(eager), gf.nest.flatten(graph), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (eager[0][0].numpy() != eager[1][0].numpy()).any()
    np.testing.assert_array_equal(eager[0][2], x)


def test_the_gradient_is_the_mask() -> None:
    @gf.function
    def slopes(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.nn.experimental.stateless_dropout(x, 0.5, [3, 4])
        return y, tape.gradient(y, x)

    x = gf.random.stateless_uniform([40], [1, 2], 1.0, 2.0)
    y, slope = slopes(x)
    np.testing.assert_array_equal(slope, np.where(y.numpy() == 0, 0, 2))


def test_the_rate_may_be_a_tensor() -> None:
    x = gf.ones([1000])
    number = gf.nn.experimental.stateless_dropout(x, 0.25, [1, 2])
    tensor = gf.function(lambda r: gf.nn.experimental.stateless_dropout(x, r, [1, 2]))(gf.constant(0.25))
    np.testing.assert_array_equal(number.numpy() == 0, tensor.numpy() == 0)
    np.testing.assert_allclose(number, tensor, rtol=1e-6)


def test_a_sampler_of_ones_own() -> None:
    y = gf.nn.experimental.general_dropout(
        gf.ones([2, 2]), 0.5, lambda shape, dtype: gf.constant([[0.1, 0.5], [0.9, 0.4]])
    )
    np.testing.assert_array_equal(y, [[0, 2], [2, 0]])


@pytest.mark.parametrize(
    ("x", "arguments", "kind", "words"),
    [
        (np.ones(3, np.float32), {"rate": 1.0}, InvalidArgumentError, r"\[0, 1\)"),
        (np.ones(3, np.float32), {"rate": -0.1}, InvalidArgumentError, r"\[0, 1\)"),
        (np.ones(3, np.int32), {"rate": 0.5}, DTypeError, "floats"),
        (np.ones(3, np.float32), {"rate": [0.5]}, InvalidArgumentError, "scalar"),
        (np.ones(3, np.float32), {"rate": gf.constant([0.5])}, ShapeError, "scalar"),
        (np.ones(3, np.float32), {"rate": gf.constant(0.5, gf.float64)}, DTypeError, "dtype of x"),
        (np.ones(3, np.float32), {"rate": 0.5, "noise_shape": [2]}, ShapeError, "broadcast"),
        (np.ones(3, np.float32), {"rate": 0.5, "noise_shape": [None, None]}, ShapeError, "rank"),
    ],
)
def test_errors(x: Any, arguments: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        gf.nn.dropout(x, **arguments)
