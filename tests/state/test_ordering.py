"""Effects in program order, in nested branches and loops; what only computes waits for nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import DTypeError, InvalidArgumentError

EVENTS = ("read", "write", "draw", "print", "assert", "python")
SCALAR = gf.TensorSpec([], gf.float32)


class World:
    """A variable, a stream and a log that programs act on."""

    def __init__(self) -> None:
        self.w = gf.Variable(1.0)
        self.generator = gf.random.Generator.from_seed(3)
        self.log: list[float] = []

    def reset(self) -> None:
        self.w.assign(1.0)
        self.generator.reset_from_seed(3)
        self.log.clear()

    def act(self, kind: str, x: Any, limit: float) -> Any:
        """One effect; what it gives depends on the effects before it."""
        if kind == "read":
            return x + self.w
        if kind == "write":
            self.w.assign_add(x * 0.25)
        elif kind == "draw":
            return x + self.generator.uniform([])
        elif kind == "print":
            gf.print("x", x, "w", self.w)
        elif kind == "assert":
            gf.Assert(self.w < limit, ["w is", self.w])
        else:
            return gf.py_function(self.python, [x], SCALAR)
        return x

    def python(self, x: Any) -> Any:
        self.log.append(float(x))
        self.w.assign_add(1.0)
        return x * self.w

    def seen(self, run: Any, arguments: Any, capsys: pytest.CaptureFixture[str]) -> Any:
        self.reset()
        try:
            results = [float(t) for t in gf.nest.flatten(run(*arguments))]
        except AssertionError as error:
            results = ["failed", str(error.args[0]).split(" at element")[0].split("assert")[0]]
        return results, float(self.w), self.generator.state.numpy().tolist(), list(self.log), capsys.readouterr().err


def assert_same_world(world: World, program: Any, arguments: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    compiled = gf.function(program)
    eager = world.seen(program, arguments, capsys)
    for _ in range(2):
        assert world.seen(compiled, arguments, capsys) == eager
    return eager


@pytest.mark.parametrize("second", EVENTS)
@pytest.mark.parametrize("first", EVENTS)
def test_every_pair_of_effects_keeps_its_order(first: str, second: str, capsys: pytest.CaptureFixture[str]) -> None:
    world = World()

    def program(x):
        for kind in (first, second, "read", first):
            x = world.act(kind, x, 1e6)
        return x

    assert_same_world(world, program, [gf.constant(2.0)], capsys)


@pytest.mark.parametrize(
    "kinds", [EVENTS, EVENTS[::-1], ("draw", "write", "draw", "read"), ("python", "draw", "python")]
)
@pytest.mark.parametrize("x", [2.0, -2.0])
def test_effects_inside_nested_branches_and_loops(
    kinds: tuple[str, ...], x: float, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World()

    def several(x):
        for kind in kinds:
            x = world.act(kind, x, 1e6)
        return x

    def program(x, n):
        x = world.act("write", x, 1e6)

        def body(k, x):
            x = gf.cond(x > 0, lambda: several(x * 0.5), lambda: world.act("draw", x + 1.0, 1e6))
            x = world.act("print", x, 1e6)
            return k + 1, x

        x = gf.cond(x > 0, lambda: several(x), lambda: world.act("write", x, 1e6))
        _, x = gf.while_loop(lambda k, x: k < n, body, [gf.constant(0), x])
        return world.act("read", x, 1e6), world.act("draw", x, 1e6)

    results, *_, log, printed = assert_same_world(world, program, [gf.constant(x), gf.constant(3)], capsys)
    assert len(results) == 2 and printed.count("x") >= 3
    assert ("python" in kinds) == bool(log) or x < 0


def test_an_assertion_in_a_loop_stops_what_comes_after_it_and_undoes_what_came_before() -> None:
    w, drawn = gf.Variable(0.0), gf.random.Generator.from_seed(1)

    @gf.function
    def program(limit):
        def body(k):
            w.assign_add(1.0)
            drawn.uniform([])
            gf.Assert(w < limit, ["w reached", w])
            return k + 1

        return gf.while_loop(lambda k: k < 5, body, [gf.constant(0)])

    with pytest.raises(AssertionError, match="w reached"):
        program(gf.constant(3.0))
    assert float(w) == 0.0 and int(drawn.state[0]) == 0
    program(gf.constant(100.0))
    assert float(w) == 5.0 and int(drawn.state[0]) == 5


def test_assignments_run_though_nothing_is_returned() -> None:
    w = gf.Variable([1.0, 2.0])

    @gf.function
    def program(p):
        w.assign(w * 2.0)
        gf.cond(p, lambda: w.assign_add([1.0, 1.0]).read_value(), lambda: w.assign_sub([1.0, 1.0]).read_value())

    assert program(gf.constant(True)) is None
    np.testing.assert_array_equal(w, [3, 5])
    program(gf.constant(False))
    np.testing.assert_array_equal(w, [5, 9])


def test_pure_nodes_merge_and_fuse_across_effects() -> None:
    w = gf.Variable([1.0, 2.0, 3.0])

    @gf.function
    def program(x):
        a = gf.exp(x) * 2.0
        gf.print("between")
        w.assign_add(x)
        gf.py_function(lambda: None, [], [])
        b = gf.exp(x) * 2.0 + a
        gf.Assert(gf.reduce_all(x > -100.0), ["low"])
        return gf.tanh(b)

    x = gf.constant([0.1, 0.2, 0.3])
    graph = program.get_concrete_function(x).executable.graph
    fused = [n for n in graph.nodes if n.op.name == "fused"]
    bodies = [[m.op.name for m in n.attributes["body"].nodes] for n in fused]
    assert sum(body.count("exp") for body in bodies) == 1
    assert any({"exp", "tanh"} <= set(body) for body in bodies)
    np.testing.assert_array_equal(program(x), program.python_function(x))


# TensorFlow's tools ---------------------------------------------------------------------------------------------------
def test_control_dependencies_group_and_no_op(capsys: pytest.CaptureFixture[str]) -> None:
    w = gf.Variable(1.0)

    def program(x):
        update = w.assign_add(x)
        with gf.control_dependencies([update, None, x]):
            y = w.read_value() * 2.0
        with gf.control_dependencies(None):
            assert gf.group(update, y, [x, {"w": w}], name="all") is None
        assert gf.no_op() is None
        called = []
        with gf.control_dependencies(lambda: called.append(1)):
            assert called == [1]
        with gf.name_scope("inner") as scope:
            assert scope == "inner/"
            z = y + 1.0
        return z

    w.assign(1.0)
    eager = float(program(gf.constant(3.0)))
    w.assign(1.0)
    assert float(gf.function(program)(gf.constant(3.0))) == eager == 9.0


def test_tuple() -> None:
    a, b = gf.tuple([gf.constant(1.0), None]), gf.tuple((gf.constant(1.0),), control_inputs=[gf.constant(2)])
    assert isinstance(a, list) and a[1] is None and float(a[0]) == 1.0 and len(b) == 1
    found = gf.function(lambda x: gf.tuple([x, x * 2.0]))(gf.constant(2.0))
    assert [float(t) for t in found] == [2.0, 4.0]
    with pytest.raises(InvalidArgumentError, match="at least one"):
        gf.tuple([None])


@pytest.mark.parametrize(
    "call", [lambda: gf.group("x"), lambda: gf.tuple([3]), lambda: gf.control_dependencies([object()])]
)
def test_what_is_no_tensor_is_refused(call: Any) -> None:
    with pytest.raises(DTypeError, match="takes tensors and variables"):
        call()
