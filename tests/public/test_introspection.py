"""Modes, static values, initializers, gradients of traced values."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf


@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_modes():
    assert gf.executing_eagerly() and not gf.inside_function() and not gf.is_symbolic_tensor(gf.constant(1.0))
    seen = []

    @gf.function
    def f(x):
        seen.append((gf.executing_eagerly(), gf.inside_function(), gf.is_symbolic_tensor(x)))
        with gf.name_scope("layer"), gf.name_scope("inner"):
            seen.append(gf.get_current_name_scope())
        return x

    f(gf.constant(1.0))
    assert seen == [(False, True, True), "layer/inner"] and gf.get_current_name_scope() == ""


def test_the_clock_runs_at_each_run():
    now = gf.function(lambda: gf.timestamp())
    first, second = float(now()), float(now())
    assert first <= second and abs(first - float(gf.timestamp())) < 600 and now().dtype is gf.float64


@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_static_values_and_shapes():
    np.testing.assert_array_equal(gf.get_static_value(gf.constant([1, 2])), [1, 2])
    found = []

    @gf.function
    def f(x):
        found.extend(
            [gf.get_static_value(gf.constant([3, 4])), gf.get_static_value(x), gf.get_static_value(gf.shape(x))]
        )
        return gf.broadcast_dynamic_shape(x, [3])

    np.testing.assert_array_equal(f(gf.constant([2, 1])).numpy(), [2, 3])
    assert found[0].tolist() == [3, 4] and found[1] is None and found[2].tolist() == [2]
    with pytest.raises(gf.errors.InvalidArgumentError):
        f(gf.constant([2, 2]))
    assert gf.broadcast_static_shape(gf.TensorShape([2, 1]), gf.TensorShape([3])) == [2, 3]
    assert gf.broadcast_static_shape(gf.TensorShape([None, 1]), gf.TensorShape([4])) == [None, 4]
    with pytest.raises(gf.errors.ShapeError):
        gf.broadcast_static_shape(gf.TensorShape([2]), gf.TensorShape([3]))
    spec = gf.type_spec_from_value(gf.Variable([1.0, 2.0]))
    assert spec == gf.TensorSpec([2], gf.float32)
    with pytest.raises(TypeError):
        gf.type_spec_from_value("text")


def test_initializers():
    np.testing.assert_array_equal(gf.constant_initializer([1, 2, 3, 4])([2, 2], gf.float32).numpy(), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(gf.ones_initializer()([2], gf.int32).numpy(), [1, 1])
    np.testing.assert_array_equal(gf.zeros_initializer()([2]).numpy(), [0, 0])
    normal = gf.random_normal_initializer(5.0, 0.01, seed=3)([1000]).numpy()
    assert abs(normal.mean() - 5) < 0.01 and 0.005 < normal.std() < 0.02
    uniform = gf.random_uniform_initializer(1.0, 2.0)([100]).numpy()
    assert uniform.min() >= 1 and uniform.max() < 2
    config = gf.random_uniform_initializer(1.0, 2.0, 7).get_config()
    assert gf.random_uniform_initializer.from_config(config).get_config() == {"minval": 1.0, "maxval": 2.0, "seed": 7}
    with pytest.raises(gf.errors.ShapeError):
        gf.constant_initializer([1, 2, 3])([2, 2])
    with pytest.raises(gf.errors.DTypeError):
        gf.random_normal_initializer()([2], gf.int32)


def test_gradients_and_hessians_of_traced_values():
    @gf.function
    def f(x):
        doubled = x * 2.0
        y = gf.reduce_sum(x**3)
        return (
            gf.gradients(y, [x]), gf.gradients([y, doubled], x), gf.gradients([y, doubled], x, stop_gradients=[doubled]), gf.hessians(y, x),
            gf.gradients(doubled, x, grad_ys=[gf.constant([1.0, 0.0])]), gf.gradients(y, doubled),
        )  # fmt: skip

    (first,), (both,), (cut,), (second,), (weighted,), missing = f(gf.constant([1.0, 2.0]))
    np.testing.assert_array_equal(first.numpy(), [3, 12])
    np.testing.assert_array_equal(both.numpy(), [5, 14])
    np.testing.assert_array_equal(cut.numpy(), [3, 12])
    np.testing.assert_array_equal(second.numpy(), [[6, 0], [0, 12]])
    np.testing.assert_array_equal(weighted.numpy(), [2, 0])
    assert missing == [None]
    with pytest.raises(RuntimeError, match="GradientTape"):
        gf.gradients(gf.constant(1.0), gf.constant(1.0))


def test_gradients_through_loops():
    @gf.function
    def f(x, count):
        t = x
        for _ in gf.range(count):
            t = t * x
        return gf.gradients(t, x)[0]

    np.testing.assert_allclose(f(gf.constant([1.0, 2.0]), gf.constant(3)).numpy(), [4, 32])
