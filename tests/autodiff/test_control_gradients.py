"""Gradients of control flow: the bits of the eager tape, right against central differences, to second order."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

import graphflow as gf

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "control_flow"))
from control_checks import assert_same_bits, check_gradients, gradient, random


def power(x):
    """The starting value is an invariant too: sums of the first iteration go on in one order."""
    return gf.while_loop(lambda i, y: i < 4, lambda i, y: (i + 1, y * x), (0, x))[1]


def used_afterwards(x, w):
    y = gf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, gf.sin(y * w)), (0, x))[1]
    return y * w + x


def swapped(x, w):
    return gf.while_loop(lambda i, a, b: i < 5, lambda i, a, b: (i + 1, b * w, gf.sin(a) + b), (0, x, x * 2))[2]


def data_dependent(x):
    return gf.while_loop(lambda y: gf.reduce_sum(y * y) < 100.0, lambda y: (y * 1.7 + gf.sin(y),), (x,))[0]


def counted_by_data(x):
    n = gf.cast(x[0], gf.int32)
    return gf.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, gf.sin(y) * x), (0, x * 2))[1]


def matrices(x, w):
    return gf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, gf.tanh(gf.matmul(y, w) + y)), (0, x))[1]


def recurrent(x, w, h):
    return gf.scan(lambda a, b: gf.tanh(gf.matmul(a, w) + b), x, h)


def without_start(x, w):
    return gf.scan(lambda a, b: gf.tanh(a * w + b), x)


def backwards(x, w):
    return gf.scan(lambda a, b: gf.tanh(a * w + b), x, reverse=True)


def mapped(x, w):
    return gf.map_fn(lambda v: gf.reduce_sum(v * v * w), x)


def nested(x, w):
    return gf.scan(lambda a, v: gf.foldl(lambda p, q: gf.sin(p) * q, gf.stack([v, v * w]), a), x, gf.ones_like(w))


def nested_by_data(x):
    def outer(i, y):
        return i + 1, gf.while_loop(lambda z: gf.reduce_sum(z) < 10.0, lambda z: (z * 2 + x * x,), (y * 0.3,))[0]

    return gf.while_loop(lambda i, y: i < 3, outer, (0, x))[1]


def choices_in_a_loop(x, w):
    def body(i, y):
        return i + 1, gf.cond(gf.reduce_sum(y) > 0, lambda: gf.sin(y) * w, lambda: y - w * w)

    return gf.while_loop(lambda i, y: i < 5, body, (0, x))[1]


def loop_in_a_choice(x, w):
    def loop():
        return gf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, gf.sin(y) * w), (0, x))[1]

    return gf.cond(gf.reduce_sum(x) > 0, loop, lambda: x * w * w)


def array(x):
    held = gf.TensorArray(x.dtype, size=5, clear_after_read=False)
    _, held, _ = gf.while_loop(
        lambda i, a, s: i < 5, lambda i, a, s: (i + 1, a.write(i, s * x[i]), s * x[i] + 1), (0, held, x)
    )
    return held.stack() * 2, held.read(2)


def read_back(x):
    """Elements of an array are read while others are written."""
    held = gf.TensorArray(x.dtype, size=6, clear_after_read=False).write(0, x).write(1, x * x)
    _, held = gf.while_loop(
        lambda i, a: i < 6, lambda i, a: (i + 1, a.write(i, gf.sin(a.read(i - 1)) * a.read(i - 2))), (2, held)
    )
    return held.stack()


def tape_inside(x, w):
    def body(i, y):
        with gf.GradientTape() as tape:
            tape.watch(y)
            z = gf.sin(y) * w
        return i + 1, y + tape.gradient(z, y)

    return gf.while_loop(lambda i, y: i < 3, body, (0, x))[1]


def different_extents(x):
    return gf.cond(x[0] > 0, lambda: x[:2] * x[0], lambda: gf.sin(x))


def switched(x):
    return gf.switch_case(gf.cast(x[0], gf.int32), [lambda: x * x, lambda: gf.sin(x), lambda: x * x[1]])


PROGRAMS = [
    (power, [random(3)]),
    (used_afterwards, [random(3), random(3, seed=1)]),
    (swapped, [random(3), random(3, seed=1)]),
    (data_dependent, [random(3)]),
    (data_dependent, [random(3) * 100]),
    (counted_by_data, [[3.4, 1.5]]),
    (counted_by_data, [[-1.0, 1.5]]),
    (matrices, [random(2, 3), random(3, 3, seed=1)]),
    (recurrent, [random(4, 2, 3), random(3, 3, seed=1), random(2, 3, seed=2)]),
    (without_start, [random(5, 2), random(2, seed=1)]),
    (backwards, [random(5, 2), random(2, seed=1)]),
    (mapped, [random(4, 3), random(3, seed=1)]),
    (nested, [random(3, 2), random(2, seed=1)]),
    (nested_by_data, [[1.0, 2.0, 0.3]]),
    (choices_in_a_loop, [random(3), random(3, seed=1)]),
    (loop_in_a_choice, [np.abs(random(3)), random(3, seed=1)]),
    (loop_in_a_choice, [-np.abs(random(3)), random(3, seed=1)]),
    (array, [random(5)]),
    (read_back, [random(2)]),
    (tape_inside, [random(3), random(3, seed=1)]),
    (different_extents, [[1.0, 2.0, 3.0]]),
    (different_extents, [[-1.0, 2.0, 3.0]]),
    (switched, [[0.5, 2.0]]),
    (switched, [[1.5, 2.0]]),
    (switched, [[2.5, 2.0]]),
]


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_program(number):
    function, arrays = PROGRAMS[number]
    known_only = function in (array, different_extents, switched, counted_by_data, matrices, recurrent)
    check_gradients(function, *arrays, symbolic=not known_only)


@pytest.mark.parametrize("recompute", [True, 1, 2, 3])
def test_recomputing_changes_no_bit(recompute):
    x, w = gf.constant(random(7, 2, 3)), gf.constant(random(3, 3, seed=1))

    def function(again):
        return lambda x, w: gf.scan(lambda a, b: gf.tanh(gf.matmul(a, w) + b), x, recompute=again)

    expected = gradient(function(False))(x, w)
    assert_same_bits(expected, gf.function(gradient(function(recompute)))(x, w))
    check_gradients(function(recompute), random(4, 1, 2), random(2, 2), symbolic=False)


def differentiated_fold(recompute):
    """The compiled gradient of a loop of 64 iterations with four matrix products each."""

    def function(x, w):
        def body(a, _):
            for _ in range(4):
                a = gf.tanh(gf.matmul(a, w))
            return a

        return gf.foldl(body, gf.zeros([64]), x, recompute=recompute)

    x, w = gf.constant(random(2, 8)), gf.constant(random(8, 8, seed=1))
    return gf.function(gradient(function)).get_concrete_function(x, w)


def saved_elements(recompute):
    """How many elements the stacks hold that the loop saves for its gradient."""

    def stacks(graph):
        """Those of the graph's own loops, and of one run of the loops inside at a time."""
        inside = [stacks(inner) for node in graph.nodes for inner in node.subgraphs()]
        own = [v for node in graph.nodes if node.op.name == "while" for v in node.outputs if len(v.type.shape) == 3]
        return sum(v.type.elements for v in own) + max(inside, default=0)

    return stacks(differentiated_fold(recompute).graph)


def test_recomputing_saves_less():
    everything, carried, blocks = saved_elements(False), saved_elements(True), saved_elements(8)
    assert (everything, carried) == (64 * 4 * 16 + 64 * 16, 64 * 16)
    assert blocks == 8 * 16 + saved_in(8, everything)


def saved_in(iterations, of_64):
    return of_64 * iterations // 64


def test_recomputing_plans_less_memory():
    planned = [differentiated_fold(k).binding((), {}).arena_bytes for k in (False, True, 8)]
    assert planned[1] < planned[0] / 3
    assert planned[2] < planned[0] / 2


def test_a_long_scan_is_traced_once_and_saves_rows():
    function = gf.function(gradient(lambda x, w: gf.scan(lambda a, b: gf.tanh(a * w + b), x, gf.zeros_like(w))))
    concrete = function.get_concrete_function(gf.constant(random(1000, 4)), gf.constant(random(4)))
    loops = [n for n in concrete.graph.nodes if n.op.name == "while"]
    assert [n.attributes["most"] for n in loops] == [1000, 1000]
    assert len(concrete.graph.nodes) < 60
    inside = {n.op.name for n in loops[1].attributes["body"].nodes}
    assert "scatter_add_into" in inside  # a row of the gradient, not the whole of it at each step


def test_effects_and_the_first_results_are_not_computed_twice():
    concrete = gf.function(gradient(power)).get_concrete_function(gf.constant(random(3)))
    assert [n.op.name for n in concrete.graph.nodes].count("while") == 2


def test_third_order():
    def third(x):
        with gf.GradientTape() as outer:
            outer.watch(x)
            with gf.GradientTape() as middle:
                middle.watch(x)
                with gf.GradientTape() as inner:
                    inner.watch(x)
                    y = power(x)
                first = inner.gradient(y, x)
            second = middle.gradient(first, x)
        return first, second, outer.gradient(second, x)

    x = np.array([1.5, -0.5])
    first, second, found = gf.function(third)(gf.constant(x))
    np.testing.assert_allclose(first, 5 * x**4)
    np.testing.assert_allclose(second, 20 * x**3)
    np.testing.assert_allclose(found, 60 * x**2)


def test_a_tape_outside_of_a_compiled_function():
    w = gf.Variable(random(3))

    @gf.function
    def function(x):
        return gf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, gf.sin(y) * w), (0, x))[1]

    def both(call, x):
        with gf.GradientTape() as outer:
            outer.watch(x)
            with gf.GradientTape() as inner:
                inner.watch(x)
                y = call(x)
            first = inner.gradient(y, [x, w])
        return first, outer.gradient(first, [x, w])

    x = gf.constant(random(3, seed=1))
    assert_same_bits(both(function.python_function, x), both(function, x))


@pytest.mark.parametrize("times", [1, 3])
def test_a_persistent_tape(times):
    def function(x):
        with gf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            a, b = gf.while_loop(lambda i, a, b: i < 3, lambda i, a, b: (i + 1, gf.sin(a), a * b), (0, x, x * x))[1:]
        found = []
        for _ in range(times):
            found += [tape.gradient(a, x), tape.gradient(b, x), tape.gradient([a, b], x)]
        return found

    x = gf.constant(random(3))
    expected = function(x)
    assert_same_bits(expected, gf.function(function)(x))


def test_a_jacobian():
    def function(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.scan(lambda a, b: gf.sin(a) * b, x)
        return tape.jacobian(y, x)

    x = gf.constant(random(4))
    assert_same_bits(function(x), gf.function(function)(x))


def test_a_variable_read_many_times_sums_up_as_in_a_loop():
    w = gf.Variable(random(3))

    def unrolled(x):
        with gf.GradientTape() as tape:
            y = x
            for _ in range(5):
                y = gf.sin(y * w)
        return tape.gradient(y, w)

    def looped(x):
        with gf.GradientTape() as tape:
            y = gf.while_loop(lambda i, y: i < 5, lambda i, y: (i + 1, gf.sin(y * w)), (0, x))[1]
        return tape.gradient(y, w)

    x = gf.constant(random(3, seed=1))
    expected = unrolled(x)
    assert_same_bits(expected, looped(x))
    assert_same_bits(expected, gf.function(looped)(x))


def test_unconnected():
    @gf.function
    def function(x, z):
        with gf.GradientTape(persistent=True) as tape:
            tape.watch([x, z])
            y = gf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, gf.sin(y)), (0, x))[1]
            cut = gf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, gf.round(y)), (0, x))[1]
        none = tape.gradient(y, z), tape.gradient(cut, x)
        assert none == (None, None)
        return tape.gradient(y, z, unconnected_gradients="zero"), tape.gradient(cut, x, unconnected_gradients="zero")

    a, b = function(gf.constant([1.0, 2.0]), gf.constant([3.0]))
    assert a.numpy().tolist() == [0]
    assert b.numpy().tolist() == [0, 0]


def test_why_none_sees_through_control_nodes():
    told = []

    @gf.function
    def function(x):
        with gf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = gf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, gf.round(y)), (0, x))[1]
            z = gf.cond(x[0] > 0, lambda: gf.stop_gradient(x), lambda: gf.stop_gradient(x * 2))
            good = gf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, gf.sin(y)), (0, x))[1]
        told.extend([tape.why_none(y, x), tape.why_none(z, x), tape.why_none(good, x)])
        return x

    with pytest.warns(gf.errors.SideEffectWarning):
        function(gf.constant([1.0]))
    assert "round cuts the gradient" in told[0]
    assert "gf.round(y)" in told[0]
    assert "stop_gradient cuts the gradient" in told[1]
    assert "connected" in told[2]


def test_values_that_change_their_shape_have_no_gradient():
    @gf.function
    def function(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.while_loop(
                lambda i, y: i < 3,
                lambda i, y: (i + 1, gf.concat([y, y * x[0]], 0)),
                (0, x),
                shape_invariants=((), (None,)),
            )[1]
        return tape.gradient(y, x)

    with pytest.raises(gf.errors.NoGradientError, match="'y' may change its shape") as caught:
        function(gf.constant([1.0, 2.0]))
    assert "gf.concat" in str(caught.value) or "gf.while_loop" in str(caught.value)
    assert "stop_gradient" in str(caught.value)


def test_gradient_nodes_say_which_line_they_belong_to():
    concrete = gf.function(gradient(power)).get_concrete_function(gf.constant(random(3)))
    loops = [n for n in concrete.graph.nodes if n.op.name == "while"]
    assert not loops[0].source.backward
    assert loops[1].source.backward
    assert loops[1].source.line == loops[0].source.line


def test_back_prop_false_cuts():
    def function(x):
        return gf.scan(lambda a, b: a * b, x, back_prop=False) + x

    assert gf.function(gradient(function))(gf.constant(random(3)))[0].numpy().tolist() == [1, 1, 1]


# Second order: the bits of an eager run -------------------------------------------------------------------------------
@gf.function
def shared(x, w):
    return gf.tanh(x * w) * gf.sin(x) + x * x


def a_choice(x):
    if gf.reduce_sum(x) > 0.0:
        y = gf.tanh(x * x) * x + x * gf.sin(x)
    else:
        y = gf.exp(-x * x) * shared(x, gf.sin(x))
    return y * x


def a_sum_beside(x):
    h, s = gf.sin(x), gf.zeros_like(x)
    for _ in gf.range(4):
        h, s = gf.tanh(h * x) + gf.sin(h), s + h * h
    return h + s


def choices_inside(x):
    h = gf.cos(x)
    for i in gf.range(4):
        h = gf.tanh(h * x) * h if i % 2 == 0 else shared(h, x)
    return h


def as_long_as(x):
    h = gf.sin(x)
    while gf.reduce_sum(h * h) < 50.0:
        h = h * 1.5 + gf.sin(h * x)
    return h


def recomputing(recompute):
    def f(x):
        def body(h, s):
            return gf.tanh(h * x) + gf.sin(h), s + h * h * x

        return gf.while_loop(
            lambda h, s: True, body, (gf.sin(x), gf.zeros_like(x)), maximum_iterations=5, recompute=recompute
        )[1]

    return f


@pytest.mark.parametrize(
    "f", [a_choice, a_sum_beside, choices_inside, as_long_as, recomputing(True), recomputing(2)],
    ids=["choice", "sum", "choices in a loop", "while", "recompute", "recompute every second"],
)  # fmt: skip
def test_second_derivatives_have_the_bits_of_an_eager_run(f):
    def both_orders(x):
        with gf.GradientTape() as outer:
            outer.watch(x)
            with gf.GradientTape() as tape:
                tape.watch(x)
                y = gf.reduce_sum(f(x))
            gradient = tape.gradient(y, x)
            total = gf.reduce_sum(gradient * gradient * x)
        with gf.autodiff.ForwardAccumulator(x, gf.cos(x)) as accumulator:
            with gf.GradientTape() as tape:
                tape.watch(x)
                y = gf.reduce_sum(f(x))
            again = tape.gradient(y, x)
        return gradient, outer.gradient(total, x), accumulator.jvp(again)

    compiled = gf.function(both_orders)
    for seed in range(3):
        x = gf.constant(np.random.default_rng(seed).standard_normal(17).astype("f4"))
        assert_same_bits(both_orders(x), compiled(x))
