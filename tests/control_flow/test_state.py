"""Variables, effects and calls of Python inside branches and bodies."""

from __future__ import annotations

import numpy as np
import pytest
from control_checks import assert_same_bits, random

import graphflow as gf


def twice(function, variables, *arrays):
    """Result and variables after an eager call and after a compiled one that starts from the same values."""
    tensors = [gf.constant(a) for a in arrays]
    before = [v.numpy() for v in variables]
    compiled = gf.function(function)
    ends = []
    for call in (function, compiled, compiled):
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        ends.append((call(*tensors), [v.numpy() for v in variables]))
    for end in ends[1:]:
        assert_same_bits(ends[0][0], end[0])
        assert_same_bits(ends[0][1], end[1])


@pytest.mark.parametrize("sign", [1, -1])
def test_written_in_one_branch(sign):
    v, w = gf.Variable(random(3)), gf.Variable(random(3, seed=1))

    def function(x):
        def yes():
            v.assign_add(x)
            return v * w

        y = gf.cond(x[0] * sign > 0, yes, lambda: w + x)
        return y, v + y

    twice(function, [v, w], np.abs(random(3)))


def test_read_and_written_in_a_loop():
    v, w = gf.Variable(random(3)), gf.Variable(random(3, seed=1))

    def function(x):
        def body(i, y):
            before = v.value()
            v.assign(before * 0.5 + y)
            w.assign_add(v)
            return i + 1, y + before * w

        return gf.while_loop(lambda i, y: (i < 4) & (gf.reduce_sum(w) < 100.0), body, (0, x))[1], v.value()

    twice(function, [v, w], random(3))


def test_nested():
    v = gf.Variable(1.0)

    def function(x):
        def body(i, y):
            def yes():
                v.assign_add(1.0)
                return y * v

            return i + 1, gf.cond(y > 3, lambda: y - 1, yes)

        v.assign(x)
        result = gf.while_loop(lambda i, y: i < 6, body, (0, x))
        v.assign_sub(0.5)
        return result

    twice(function, [v], np.float32(0.7))


def test_gradients_of_variables_in_bodies():
    v, w = gf.Variable(random(3)), gf.Variable(random(3, seed=1))

    def function(x):
        with gf.GradientTape() as tape:
            tape.watch(x)

            def body(i, y):
                before = y * v
                w.assign(gf.sin(y))
                return i + 1, before * w + w * w

            y = gf.while_loop(lambda i, y: i < 3, body, (0, x))[1]
        return tape.gradient(y, [x, v, w])

    twice(function, [v, w], random(3))


def test_the_state_of_a_generator():
    def function(x):
        generator = gf.random.Generator.from_seed(1)
        return gf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y + generator.normal([2])), (0, x))[1]

    generator = gf.random.Generator.from_seed(7)

    @gf.function
    def draws(x):
        return gf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y + generator.normal([2])), (0, x))[1]

    first = draws(gf.zeros([2]))
    again = gf.random.Generator.from_seed(7)
    expected = gf.zeros([2])
    for _ in range(3):
        expected = expected + again.normal([2])
    assert_same_bits(expected, first)
    assert function(gf.zeros([2])).shape == (2,)


def test_prints_in_order(capfd):
    @gf.function
    def function(x):
        def body(i, y):
            gf.print("iteration", i)
            gf.cond(i > 1, lambda: gf.print("late"), lambda: gf.print("early"))
            return i + 1, y * 2

        gf.print("before")
        y = gf.while_loop(lambda i, y: i < 3, body, (0, x))[1]
        gf.print("after")
        return y

    function(gf.constant(1.0))
    assert capfd.readouterr().err.split("\n")[:-1] == [
        "before", "iteration 0", "early", "iteration 1", "early", "iteration 2", "late", "after",
    ]  # fmt: skip


def test_differentiating_prints_once(capfd):
    @gf.function
    def function(x):
        with gf.GradientTape() as tape:
            tape.watch(x)

            def body(i, y):
                gf.print(i)
                return i + 1, gf.sin(y)

            y = gf.while_loop(lambda i, y: i < 2, body, (0, x))[1]
            y = gf.cond(y > 0, lambda: y * y, lambda: y)
        return tape.gradient(y, x)

    function(gf.constant(1.0))
    assert capfd.readouterr().err == "0\n1\n"


def test_an_assertion_in_a_body():
    @gf.function
    def function(x):
        def body(i, y):
            gf.Assert(y < 10.0, ["too large"])
            return i + 1, y * 3

        return gf.while_loop(lambda i, y: i < 5, body, (0, x))

    with pytest.raises(AssertionError, match="too large"):
        function(gf.constant(1.0))


def test_python_called_in_a_body_sees_and_changes_variables():
    v = gf.Variable(1.0)
    seen = []

    def note(y):
        seen.append(float(v.numpy()))
        v.assign(v.numpy() + 1)
        return y

    def function(x):
        def body(i, y):
            v.assign_add(y)
            z = gf.py_function(note, [y], gf.float32)
            z.set_shape(())
            return i + 1, z * v

        return gf.while_loop(lambda i, y: i < 3, body, (0, x))[1], v.value()

    twice(function, [v], np.float32(0.5))
    assert seen[:3] == seen[3:6] == seen[6:]


def test_no_variable_is_created_in_a_body():
    with pytest.raises(gf.errors.VariableCreationError, match="body of the while_loop"):
        gf.function(lambda x: gf.while_loop(lambda y: y < 1, lambda y: (y + gf.Variable(1.0),), (x,)))(gf.constant(0.0))
