"""Compiled functions that call each other: inlined, shared, recursive."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import EndlessTraceError
from graphflow.tracing import nested


@pytest.fixture
def share_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions of a few nodes are shared, so that the tests compile fast; the passes keep those above their own limit."""
    monkeypatch.setattr(nested, "LEAST_SHARED", 3)


def calls_in(graph: Any) -> int:
    return sum((n.op.name == "call") + sum(map(calls_in, n.subgraphs())) for n in graph.nodes)


def assert_modes_agree(function: Any, *arguments: Any, state: Any = (), expected_calls: int | None = None) -> list[Any]:
    start = [v.numpy() for v in state]

    def run(f: Any) -> list[Any]:
        for v, value in zip(state, start, strict=True):
            v.assign(value)
        results = [f(*arguments) for _ in range(2)]
        return [np.asarray(t) for t in gf.nest.flatten([results, [v.read_value() for v in state]]) if t is not None]

    compiled = gf.function(function)
    eager, graph = run(function), run(compiled)
    for a, b in zip(eager, graph, strict=True):
        np.testing.assert_array_equal(a, b)
    if expected_calls is not None:
        assert calls_in(compiled.get_concrete_function(*arguments).graph) == expected_calls
    return graph


def test_small_functions_are_inlined() -> None:
    @gf.function
    def square(x):
        return x * x

    assert_modes_agree(lambda x: square(square(square(x))), gf.constant([1.0, 2.0]), expected_calls=0)


def test_a_large_function_is_traced_twice_and_called(share_early: None) -> None:
    @gf.function
    def step(x, k):
        for _ in range(5):
            x = gf.sin(x) * k
        return x, {"sum": gf.reduce_sum(x)}

    def program(x):
        sums = []
        for _ in range(6):
            x, more = step(x, 0.5)
            sums.append(more["sum"])
        return x, sums

    compiled = gf.function(program)
    x = gf.constant([1.0, 2.0, 3.0])
    graph = compiled.get_concrete_function(x).graph
    assert calls_in(graph) == 5
    functions = {id(n.attributes["function"]) for n in graph.nodes if n.op.name == "call"}
    assert len(functions) == 1
    assert_modes_agree(program, x)


def test_other_signatures_and_python_arguments_are_functions_of_their_own(share_early: None) -> None:
    @gf.function
    def step(x, power):
        for _ in range(4):
            x = gf.sin(x) ** power
        return x

    def program(x, y):
        return [step(x, 2), step(y, 2), step(x, 3), step(y, 3), step(x, 2)]

    assert_modes_agree(program, gf.constant([1.0, 2.0]), gf.constant([[1.0]]), expected_calls=1)


def test_variables_random_draws_and_captured_tensors(share_early: None) -> None:
    w, generator = gf.Variable(1.0), gf.random.Generator.from_seed(1)

    def program(x):
        y = x * 2.0

        @gf.function
        def step(v):
            w.assign_add(0.5)
            noise = generator.normal([2])
            return gf.sin(v * w + y) + noise

        for _ in range(4):
            x = step(x)
        return x, w.read_value()

    assert_modes_agree(program, gf.constant([1.0, 2.0]), state=[w, generator.state], expected_calls=3)


def test_calls_inside_branches_and_loops(share_early: None) -> None:
    w = gf.Variable(0.0)

    @gf.function
    def step(x):
        w.assign_add(1.0)
        return gf.sin(gf.cos(gf.exp(x) * w))

    def program(x, n):
        x = step(x)
        x = gf.cond(x[0] > 0, lambda: step(x), lambda: step(step(x)))
        _, x = gf.while_loop(lambda k, v: k < n, lambda k, v: (k + 1, step(v)), [gf.constant(0), x])
        return step(x), w.read_value()

    for n in (0, 3):
        assert_modes_agree(program, gf.constant([0.3, 0.7]), gf.constant(n), state=[w])


def test_prints_in_a_shared_function_keep_their_order(share_early: None, capsys: pytest.CaptureFixture[str]) -> None:
    @gf.function
    def step(x):
        gf.print("step", x)
        return gf.sin(gf.cos(x)) + 1.0

    @gf.function
    def program(x):
        for k in range(3):
            gf.print("round", k)
            x = step(x)
        return x

    program(gf.constant(0.0))
    compiled = capsys.readouterr().err
    program.python_function(gf.constant(0.0))
    assert compiled == capsys.readouterr().err
    assert [line.split()[0] for line in compiled.splitlines()] == ["round", "step"] * 3


def test_gradients_through_calls(share_early: None) -> None:
    w = gf.Variable([0.5, 0.25])

    @gf.function
    def step(x):
        return gf.sin(x * w) + gf.cos(x) * x

    def program(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = x
            for _ in range(4):
                y = step(y)
            loss = gf.reduce_sum(y * y)
        return loss, *tape.gradient(loss, [x, w])

    assert_modes_agree(program, gf.constant([1.0, 2.0]))
    with gf.GradientTape() as tape:  # a tape around the compiled function
        x = gf.constant([1.0, 2.0])
        tape.watch(x)
        compiled = gf.function(lambda x: step(step(step(step(x)))))
        loss = gf.reduce_sum(gf.square(compiled(x)))
    np.testing.assert_array_equal(tape.gradient(loss, x), program(gf.constant([1.0, 2.0]))[1])


def test_python_state_that_changes_between_calls_is_seen(share_early: None) -> None:
    class Model:
        rate = 1.0

        @gf.function
        def step(self, x):
            return gf.sin(gf.cos(x) * self.rate) + self.rate

    model = Model()

    def program(x):
        total = x
        for rate in (1.0, 2.0, 3.0):
            model.rate = rate
            total = total + model.step(x)
        return total

    x = gf.constant(1.0)
    expected = 1.0 + sum(np.sin(np.cos(1.0) * r) + r for r in (1.0, 2.0, 3.0))
    with pytest.warns(UserWarning):  # the function writes an attribute while it is traced
        np.testing.assert_allclose(gf.function(program)(x), expected, rtol=1e-6)


def test_python_calls_in_a_function_called_twice(share_early: None) -> None:
    w = gf.Variable(1.0)

    @gf.function
    def step(x):
        y = gf.py_function(lambda v: w.assign_add(v).read_value(), [x], gf.TensorSpec([], gf.float32))
        return gf.sin(y) + gf.cos(y) * w

    def program(x):
        return step(step(step(x)))

    assert_modes_agree(program, gf.constant(0.5), state=[w], expected_calls=0)


# Recursion ------------------------------------------------------------------------------------------------------------
def test_recursion_that_ends_by_a_python_value() -> None:
    @gf.function
    def power(x, n):
        return x if n == 1 else x * power(x, n - 1)

    @gf.function
    def even(x, n):
        return x if n == 0 else odd(x + 1.0, n - 1)

    @gf.function
    def odd(x, n):
        return -x if n == 0 else even(x * 2.0, n - 1)

    assert float(power(gf.constant(2.0), 10)) == 1024
    assert float(even(gf.constant(0.0), 3)) == -3.0
    assert float(even(gf.constant(0.0), 4)) == 6.0


def test_recursion_that_ends_by_shapes_or_other_python_state() -> None:
    @gf.function
    def fold(x):
        half = x.shape[0] // 2
        return x[0] if half == 0 else fold(x[:half] + x[half:])

    assert float(fold(gf.range(16, dtype=gf.float32))) == 120
    depth = []

    @gf.function
    def dig(x):
        depth.append(1)
        result = x if len(depth) >= 5 else dig(x + 1.0)
        depth.pop()
        return result

    assert float(dig.python_function(gf.constant(0.0))) == 4


@pytest.mark.parametrize("kind", ["itself", "mutual", "growing", "condition"])
def test_endless_recursion_is_named(kind: str) -> None:
    @gf.function
    def itself(x, n):
        return itself(x, n) + 1.0

    @gf.function
    def first(x, n):
        return second(x, n) * 2.0

    @gf.function
    def second(x, n):
        return first(x, n) + 1.0

    @gf.function
    def growing(x, n):
        return growing(x, n + 1)

    @gf.function
    def condition(x, n):
        return gf.cond(x > 0, lambda: condition(x - 1.0, n), lambda: x)

    start = {"itself": itself, "mutual": first, "growing": growing, "condition": condition}[kind]
    with pytest.raises(EndlessTraceError, match="calls itself without end while it is traced") as caught:
        start(gf.constant(1.0), 0)
    text = str(caught.value)
    chain = {"mutual": "second -> first -> second"}.get(kind, f"{kind} -> {kind}")
    assert chain in text or "first -> second -> first" in text
    assert "test_nested.py" in text and "next:" in text
    assert isinstance(caught.value, RecursionError)
