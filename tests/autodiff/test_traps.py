"""What docs/gradients.md warns of: the masked branch, and how it is found. Orders above the second, and sources of every kind."""

import numpy as np
import pytest

import graphflow as gf


def step(function, x):
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x)


def trap(x):
    return gf.reduce_sum(gf.where(x > 0, 1 / x, 0.0))


def safe(x):
    operand = gf.where(x > 0, x, 1.0)
    return gf.reduce_sum(gf.where(x > 0, 1 / operand, 0.0))


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_the_masked_branch(mode):
    x = gf.constant([2.0, 0.0])
    run = gf.function(step) if mode == "graph" else step
    assert np.isnan(run(trap, x).numpy()[1])
    assert run(safe, x).numpy().tolist() == [-0.25, 0]
    gf.debugging.enable_check_numerics()
    try:
        with pytest.raises(gf.errors.InvalidArgumentError, match="divide"):
            run(trap, x)
        assert run(safe, x).numpy().tolist() == [-0.25, 0]
    finally:
        gf.debugging.disable_check_numerics()
    assert "masked-branch trap" in str(gf.debugging.find_nan(gf.function(trap), x))


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_third_order_through_a_loop_and_a_function(mode):
    @gf.function
    def power(x):
        y = x
        for _ in gf.range(3):
            y = y * x
        return y

    def derivative(f):
        return lambda x: step(f, x)

    third = derivative(derivative(derivative(power)))
    found = (gf.function(third) if mode == "graph" else third)(gf.constant(2.0))
    assert found.numpy() == 48


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_slices_and_rows_of_variables(mode):
    w = gf.Variable(np.arange(12.0, dtype="f4").reshape(4, 3))

    def run():
        with gf.GradientTape() as outer:
            with gf.GradientTape() as inner:
                y = gf.reduce_sum(w[1:3, ::2] ** 3) + gf.reduce_sum(gf.gather(w, [0, 0]) ** 2)
            first = inner.gradient(y, w)
            total = gf.reduce_sum(first)
        return first, outer.gradient(total, w)

    first, second = (gf.function(run) if mode == "graph" else run)()
    values = w.numpy()
    expected_first, expected_second = np.zeros_like(values), np.zeros_like(values)
    expected_first[1:3, ::2] = 3 * values[1:3, ::2] ** 2
    expected_second[1:3, ::2] = 6 * values[1:3, ::2]
    expected_first[0] += 4 * values[0]
    expected_second[0] += 4
    np.testing.assert_array_equal(first.numpy(), expected_first)
    np.testing.assert_array_equal(second.numpy(), expected_second)


def test_persistent_tapes_inside_each_other():
    x = gf.constant(3.0)
    with gf.GradientTape(persistent=True) as outer:
        outer.watch(x)
        with gf.GradientTape(persistent=True) as inner:
            inner.watch(x)
            y, z = x**3, x**2
        first = inner.gradient(y, x), inner.gradient(z, x)
    assert [float(outer.gradient(g, x)) for g in first] == [18, 2]
    assert [float(inner.gradient(t, x)) for t in (y, z)] == [27, 6]
    assert outer.gradient(gf.constant(1.0), x, unconnected_gradients=gf.UnconnectedGradients.ZERO).numpy() == 0
