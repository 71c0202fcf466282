"""cond, case, switch_case, while_loop, map_fn, scan, foldl, foldr: TensorFlow's meaning, the same bits eagerly and compiled."""

from __future__ import annotations

import collections

import numpy as np
import pytest
from control_checks import assert_same_bits, check, random

import graphflow as gf
from graphflow.functions.control_flow import UNUSED, branch, counted_loop, loop


# Choices --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("sign", [1, -1])
def test_cond(sign):
    def function(x):
        return gf.cond(gf.reduce_sum(x) > 0, lambda: gf.tanh(x) * 2, lambda: x - 1)

    check(function, sign * np.abs(random(3, 4)))


def test_cond_with_a_python_bool_only_runs_one_function():
    calls = []

    @gf.function
    def function(x):
        return gf.cond(True, lambda: x + 1, lambda: calls.append(1))

    assert function(gf.constant(1.0)).numpy() == 2
    assert not calls


def test_cond_of_structures():
    Pair = collections.namedtuple("Pair", "a b")

    def function(x):
        return gf.cond(
            x[0] > 0,
            lambda: {"p": Pair(x, x[0]), "q": [gf.constant(1), None, "text"]},
            lambda: {"p": Pair(x * 2, x[1]), "q": [gf.constant(2), None, "text"]},
        )

    expected = check(function, random(3))
    assert isinstance(expected["p"], Pair)
    found = gf.function(function)(gf.constant(random(3)))
    assert found["q"][1] is None
    assert found["q"][2] == "text"


@pytest.mark.parametrize("sign", [1, -1])
def test_branches_of_different_extents(sign):
    def function(x):
        y = gf.cond(x[0] * sign > 0, lambda: x[:2], lambda: gf.concat([x, x], 0))
        return y, gf.reduce_sum(y), gf.shape(y)

    check(function, np.abs(random(5)))


@pytest.mark.parametrize("index", [-3, 0, 1, 2, 9])
def test_switch_case(index):
    def function(k, x):
        return gf.switch_case(k, [lambda: x, lambda: x * 2, lambda: gf.sin(x)])

    check(function, np.int32(index), random(3))
    check(function, np.int64(index), random(3))


@pytest.mark.parametrize("index", [-1, 0, 1, 2**32])
def test_switch_case_with_a_default_and_a_dict(index):
    def function(k, x):
        return gf.switch_case(k, {1: lambda: x, 0: lambda: x * 2}, default=lambda: -x)

    check(function, np.int64(index), random(3))


@pytest.mark.parametrize("values", [[1, 1], [-1, 1], [-1, -1]])
def test_case(values):
    def function(x):
        return gf.case([(x[0] > 0, lambda: x), (x[1] > 0, lambda: x * 3)], default=lambda: x * 0)

    check(function, np.array(values, np.float32))


def test_case_without_a_condition_that_holds():
    def function(x):
        return gf.case([(x[0] > 0, lambda: x)])

    for call in (function, gf.function(function)):
        with pytest.raises(gf.errors.AssertionFailedError, match="no condition holds"):
            call(gf.constant([-1.0]))


def test_case_exclusive():
    def function(x):
        return gf.case([(x[0] > 0, lambda: x), (x[0] > 1, lambda: x)], exclusive=True)

    for call in (function, gf.function(function)):
        with pytest.raises(gf.errors.AssertionFailedError, match="more than one condition holds"):
            call(gf.constant([2.0]))


# Loops ----------------------------------------------------------------------------------------------------------------
def test_while_loop():
    def function(x):
        return gf.while_loop(lambda i, y: i < 5, lambda i, y: (i + 1, gf.sin(y) * x), (0, x))

    result = check(function, random(2, 3))
    assert isinstance(result, tuple)
    assert result[0].dtype == gf.int32


@pytest.mark.parametrize("start", [100.0, 1.0])
def test_while_loop_with_any_number_of_iterations(start):
    def function(x):
        return gf.while_loop(lambda y: gf.reduce_sum(y) < 50.0, lambda y: [y * 1.7 + 0.1], [x])

    check(function, np.full(3, start, np.float32))


def test_while_loop_keeps_structures():
    def function(x):
        def body(i, state):
            return [i + 1, {"a": state["a"] * 2, "b": (state["b"][0] + x,)}]

        return gf.while_loop(lambda i, state: i < 3, body, [0, {"a": x, "b": (x,)}])

    result = check(function, random(3))
    assert isinstance(result, list)
    assert set(result[1]) == {"a", "b"}


def test_maximum_iterations():
    def function(x):
        return gf.while_loop(lambda y: gf.constant(True), lambda y: (y + 1,), (x,), maximum_iterations=4)

    assert check(function, np.zeros(2, np.float32))[0].numpy().tolist() == [4, 4]


def test_shape_invariants():
    def function(x):
        return gf.while_loop(
            lambda i, y: i < 3, lambda i, y: (i + 1, gf.concat([y, y[:1]], 0)), (0, x), shape_invariants=((), (None, 2))
        )[1]

    assert check(function, random(2, 2)).shape == (5, 2)


def test_shared_extents_in_shape_invariants():
    def function(x):
        def body(i, a, b):
            return i + 1, gf.concat([a + b, b], 0), gf.concat([b, a], 0)

        return gf.while_loop(lambda i, a, b: i < 2, body, (0, x, x * 2), shape_invariants=((), ("n",), ("n",)))

    check(function, random(3))


def test_the_extents_of_a_growing_value_can_be_read():
    def function(x):
        def body(y):
            return (gf.concat([y, gf.cast(gf.shape(y), gf.float32)], 0),)

        return gf.while_loop(lambda y: gf.shape(y)[0] < 6, body, (x,), shape_invariants=((None,),))

    check(function, random(2))


def test_nested_loops_and_choices():
    def function(x):
        def outer(i, y):
            def inner(j, z):
                return j + 1, gf.cond(gf.reduce_sum(z) > 0, lambda: z - x * 0.5, lambda: z * 2 + x)

            return i + 1, gf.while_loop(lambda j, z: j < i, inner, (0, y))[1]

        return gf.while_loop(lambda i, y: i < 4, outer, (0, x))[1]

    check(function, random(3))


@pytest.mark.parametrize("recompute", [False, True, 1, 3])
def test_recompute_does_not_change_values(recompute):
    def function(x):
        scanned = gf.scan(lambda a, b: gf.sin(a) + b, x, recompute=recompute)
        folded = gf.foldl(lambda a, b: gf.sin(a) * b, x, recompute=recompute)
        looped = gf.while_loop(
            lambda i, y: i < 7, lambda i, y: (i + 1, gf.cos(y)), (0, x), recompute=recompute, maximum_iterations=5
        )
        return scanned, folded, looped, gf.map_fn(gf.exp, x, recompute=recompute)

    check(function, random(7, 2))


def test_map_fn():
    def function(x, y):
        one = gf.map_fn(lambda r: gf.reduce_sum(r * r), x)
        two = gf.map_fn(lambda r: r[0] * r[1], (x, y), fn_output_signature=gf.float32)
        many = gf.map_fn(
            lambda r: (r > 0, gf.cast(r[0], gf.int32)), x, fn_output_signature=(gf.bool, gf.TensorSpec([], gf.int32))
        )
        return one, two, many

    check(function, random(4, 3), random(4, 3, seed=1))


def test_map_fn_of_no_rows():
    def function(x):
        return gf.map_fn(lambda r: gf.concat([r, r], 0), x)

    assert check(function, np.zeros((0, 3), np.float32), symbolic=False).shape == (0, 6)


def test_vectorized_map():
    assert check(lambda x: gf.vectorized_map(lambda r: r[0] > 0, x), random(4, 2)).dtype == gf.bool


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("initial", [False, True])
def test_scan(reverse, initial):
    def function(x):
        start = gf.ones_like(x[0]) * 2 if initial else None
        return gf.scan(lambda a, b: a * 0.5 + gf.tanh(b), x, start, reverse=reverse)

    check(function, random(5, 3))


def test_scan_with_a_structure():
    def function(x):
        return gf.scan(lambda a, r: (a[0] + r[0], a[1] * r[1] + a[0]), (x, x * 2), (x[0], x[1]))

    check(function, random(5, 3))


def test_scan_agrees_with_a_cumulative_sum():
    x = random(6)
    assert_same_bits(gf.constant(np.cumsum(x, dtype=np.float32)), check(lambda v: gf.scan(lambda a, b: a + b, v), x))


@pytest.mark.parametrize("fold", ["foldl", "foldr"])
@pytest.mark.parametrize("initial", [False, True])
def test_folds(fold, initial):
    def function(x):
        return getattr(gf, fold)(lambda a, b: a * 0.5 - b, x, gf.constant(3.0) if initial else None)

    result = check(function, np.array([1, 2, 4], np.float32))
    expected = {
        ("foldl", False): (1 * 0.5 - 2) * 0.5 - 4,
        ("foldl", True): ((3 * 0.5 - 1) * 0.5 - 2) * 0.5 - 4,
        ("foldr", False): (4 * 0.5 - 2) * 0.5 - 1,
        ("foldr", True): ((3 * 0.5 - 4) * 0.5 - 2) * 0.5 - 1,
    }
    assert float(result) == expected[fold, initial]


def test_one_trace_serves_all_lengths():
    function = gf.function(lambda x: gf.scan(lambda a, b: a * b, x))
    for n in (2, 3, 4, 50):
        x = np.linspace(0.9, 1.1, n).astype(np.float32)
        assert_same_bits(gf.scan(lambda a, b: a * b, gf.constant(x)), function(gf.constant(x)))
    assert function.experimental_get_tracing_count() == 2


def test_device_scopes_reach_into_bodies():
    @gf.function
    def function(x):
        with gf.device("/CPU:0"):
            return gf.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, y * 2), (0, x))[1]

    body = next(n for n in function.get_concrete_function(gf.constant(1.0)).graph.nodes if n.op.name == "while")
    assert {n.device for n in body.attributes["body"].nodes} == {"CPU:0"}
    assert function(gf.constant(1.0)).numpy() == 4


# What AutoGraph builds on ---------------------------------------------------------------------------------------------
def test_unused_values_take_the_type_of_the_others():
    @gf.function
    def function(x):
        one = branch(x[0] > 0, [lambda: (UNUSED, x), lambda: (x * 2, UNUSED)], form="if", names=["a", "b"])
        two = loop(lambda i, v: i < 2, lambda i, v: [i + 1, (x, x * i_as(i, x))], [0, UNUSED], form="while")
        return one, two[1]

    def i_as(i, x):
        return gf.cast(i, x.dtype)

    (a, b), (c, d) = function(gf.constant([1.0, 2.0]))
    assert a.numpy().tolist() == [2, 4]
    assert b.numpy().tolist() == [0, 0]
    assert c.numpy().tolist() == [1, 2]
    assert d.numpy().tolist() == [1, 2]


def test_numbers_may_stay_python_numbers():
    @gf.function
    def function(x):
        found = branch(x > 0, [lambda: (3, x), lambda: (3, -x)], form="if", keep_numbers=True)
        assert found[0] == 3
        assert isinstance(found[0], int)
        return found[1]

    assert function(gf.constant(2.0)).numpy() == -2


def test_exceptions_of_bodies_pass_through():
    class Own(Exception):
        pass

    def fail(*_):
        raise Own

    @gf.function
    def function(x):
        with pytest.raises(Own):
            branch(x > 0, [fail, lambda: x], form="if")
        with pytest.raises(Own):
            loop(lambda y: y > 0, fail, [x], form="while")
        return x * 2

    assert function(gf.constant(2.0)).numpy() == 4


@pytest.mark.parametrize("limit", [0, 3, 10])
def test_counted_loops_can_end_early(limit):
    def function(n, x):
        return counted_loop(
            n, lambda k, y, s: [y + s, s + gf.cast(k, s.dtype)], [x, x * 0], form="for", condition=lambda y, s: s < 5
        )

    check(function, np.int32(limit), np.float32(1))
