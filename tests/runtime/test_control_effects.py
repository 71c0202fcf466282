"""Effects inside loops and branches: callbacks in order, variables read and written at once, Python calls with results;
profiles; the GIL."""

from __future__ import annotations

import numpy as np
import pytest
from control_interpreter import Native, check, counted, interpret

import graphflow.ops  # noqa: F401  (registers the ops)
from graphflow.dtypes import float32, int32
from graphflow.errors import DivisionByZeroError
from graphflow.ir import parse
from graphflow.ir.builder import GraphBuilder
from graphflow.ir.dims import symbol
from graphflow.ir.op import OPS
from graphflow.ir.source import Source
from graphflow.ir.types import TensorType
from graphflow.passes.plan_control import plan_program
from graphflow.runtime.cpu.program import build_program

X = np.arange(4, dtype=np.float32)
PLACE = Source("test.py", 1, 0, "")


def recording(seen):
    """A callback that keeps its operands."""

    def callback(number, binding, table):
        node = binding.program.callbacks[number]
        seen.append([np.array(binding.array_at(table, v)) for v in node.inputs])
        return 0

    return callback


def test_prints_in_a_loop_and_a_branch_come_in_order():
    text = counted(
        "x: f32[4], a: i32[]",
        '%2: f32[4] = add x, x\nprint i, %2 {template="{} {}"}\n'
        "%3: i32[] = constant {value=i32 1}\n%4: b1[] = equal i, %3\n"
        "%5: i32[] = switch %4, a, %2 {branches=(\n"
        "graph no(a: i32[], x: f32[4]) -> (i32[]) { return a },\n"
        'graph yes(a: i32[], x: f32[4]) -> (i32[]) {\nprint a, x {template="{} {}"}\n%0: i32[] = add a, a\nreturn %0\n})}',
        "%2, %5",
        count=3,
    )
    seen, expected = [], []
    native = Native(text, callback=recording(seen))
    found = native(X, np.array(7, np.int32))
    wanted = interpret(native.graph, [X, np.array(7, np.int32)], log=expected)
    assert [a.tobytes() for a in found] == [a.tobytes() for a in wanted]
    assert [[a.tolist() for a in arrays] for arrays in seen] == [[a.tolist() for a in arrays] for arrays in expected]
    assert len(seen) == 4


def test_a_callback_that_fails_leaves_the_loop():
    calls = []

    def callback(number, binding, table):
        calls.append(number)
        return int(len(calls) == 3)

    text = counted("x: f32[4]", '%2: f32[4] = add x, x\nprint i {template="{}"}', "%2", count=10)
    native = Native(text, callback=callback)
    status, outputs = native.binding([X]).run([X])
    assert status != 0
    assert outputs == []
    assert len(calls) == 3


VARIABLES = """graph f(x: f32[4], m: i32[], w: var f32[4], s: var i32[]) -> (f32[4], i32[]) {
 %0: i32[] = constant {value=i32 0}
 %1: i32[], %2: f32[4] = while %0, x, m, w, s {
  condition = graph c(i: i32[], x: f32[4], m: i32[], w: var f32[4], s: var i32[]) -> (b1[]) {
   %0: b1[] = less i, m
   return %0
  },
  body = graph b(i: i32[], x: f32[4], m: i32[], w: var f32[4], s: var i32[]) -> (i32[], f32[4]) {
   %0: i32[] = constant {value=i32 1}
   %1: i32[] = add i, %0
   %2: f32[4] = read_variable w
   %3: f32[4] = add x, %2
   assign_variable w, %3
   %4: i32[] = read_variable s
   %5: i32[] = add %4, %1
   assign_variable s, %5
   %6: i32[] = constant {value=i32 4}
   %7: i32[] = subtract %6, i
   %8: i32[] = floordiv m, %7
   return %1, %2
  }, carried=2}
 %3: i32[] = read_variable s
 return %2, %3
}"""


@pytest.mark.parametrize("steps", [0, 1, 2, 4])
def test_variables_inside_a_body_are_used_at_once(steps):
    check(VARIABLES, X, np.array(steps, np.int32), variables=[np.ones(4, np.float32), np.array(7, np.int32)])


def test_a_failed_call_brings_variables_back():
    w, s = np.ones(4, np.float32), np.array(7, np.int32)
    native = Native(VARIABLES, [w, s])
    with pytest.raises(DivisionByZeroError):
        native(X, np.array(6, np.int32))
    assert w.tolist() == [1, 1, 1, 1]
    assert s == 7
    native(X, np.array(2, np.int32))
    assert s == 10


def test_variables_inside_a_shared_function():
    text = """graph f(x: f32[4], w: var f32[4]) -> (f32[4]) {
 %0: f32[4] = call x, w {function=graph g(x: f32[4], w: var f32[4]) -> (f32[4]) {
   %0: f32[4] = read_variable w
   %1: f32[4] = add %0, x
   assign_variable w, %1
   return %0
  }}
 %1: f32[4] = read_variable w
 %2: f32[4] = multiply %0, %1
 return %2
}"""
    check(text, X, variables=[np.full(4, 3, np.float32)])


# Python calls with results --------------------------------------------------------------------------------------------
def python_graph(shapes, extents):
    """A loop of three steps that adds up what a Python function gives for its array; its results' shapes are `shapes`."""
    scalar, array = TensorType(int32, ()), TensorType(float32, (4,))
    condition = GraphBuilder("condition")
    i, _ = condition.input("i", scalar), condition.input("x", array)
    three = condition.add(OPS["constant"], [], {"value": np.array(3, np.int32)}, PLACE)
    going = condition.add(OPS["less"], [i, *three], {}, PLACE)
    body = GraphBuilder("body")
    i, x = body.input("i", scalar), body.input("x", array)
    one = body.add(OPS["constant"], [], {"value": np.array(1, np.int32)}, PLACE)
    following = body.add(OPS["add"], [i, *one], {}, PLACE)
    attributes = {"function": print, "dtypes": (float32,) * len(shapes), "shapes": shapes, "extents": extents}
    made = body.add(OPS["python_call"], [x, i], attributes, PLACE)
    for value in made:
        rank = value.type.rank
        total = body.add(OPS["reduce_sum"], [value], {"axes": tuple(range(rank))}, PLACE)[0] if rank else value
        (x,) = body.add(OPS["add"], [x, total], {}, PLACE)
    graph = GraphBuilder("f")
    start = graph.input("x", array)
    zero = graph.add(OPS["constant"], [], {"value": np.array(0, np.int32)}, PLACE)
    attributes = {"condition": condition.finish(going), "body": body.finish([*following, x]), "carried": 2}
    return graph.finish(graph.add(OPS["while"], [*zero, start], attributes, PLACE)[1:])


def test_results_of_python_calls_in_a_loop():
    def callback(number, binding, table):
        node = binding.program.callbacks[number]
        x, i = (np.array(binding.array_at(table, v)) for v in node.inputs)
        array, element = node.outputs
        binding.array_at(table, array)[...] = x.sum() + i
        binding.array_at(table, element)[...] = x.max()
        return 0

    (found,) = Native(python_graph(((2, 3), ()), ()), callback=callback)(X)
    expected = X
    for i in range(3):
        expected = expected + 6 * (expected.sum() + i) + expected.max()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_python_calls_that_decide_extents():
    """The first call stores the extent, the second one, numbered beyond 1 << 40, fills the memory made for it."""
    kept = []

    def callback(number, binding, table):
        node = binding.program.callbacks[number & ~(1 << 40)]
        if number >> 40:
            binding.array_at(table, node.outputs[0])[...] = kept.pop()
            return 0
        x, i = (np.array(binding.array_at(table, v)) for v in node.inputs)
        kept.append(np.full((int(i) * 2, 3), x.sum(), np.float32))
        slot = binding.program.slots.dims[symbol("u0")]
        np.ctypeslib.as_array((np.ctypeslib.ctypes.c_int64 * (slot + 1)).from_address(table))[slot] = int(i) * 2
        return 0

    (found,) = Native(python_graph(((symbol("u0"), 3),), ("u0",)), callback=callback)(X)
    expected = X
    for i in range(3):
        expected = expected + np.full((i * 2, 3), expected.sum(), np.float32).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert not kept


# Profiles, the GIL ----------------------------------------------------------------------------------------------------
def test_a_profile_counts_the_kernels_of_bodies():
    graph = parse(counted("x: f32[8,8]", "%2: f32[8,8] = matmul x, w", "%2", "w: f32[8,8]", count=50))
    program = build_program(graph, plan_program(graph), profile=True)
    square = np.eye(8, dtype=np.float32)
    assert program.bind({}, {}).call(square, square, np.empty((8, 8), np.float32)) == 0
    counters = program.counters
    assert [node.op.name for node in counters.nodes] == ["while", "matmul"]
    assert counters.parents == [-1, 0]
    assert counters.words("cycles")[1] > 50
    assert counters.words("runs").tolist() == [1, 50]
    assert counters.words("iterations").tolist() == [50, 0]
    assert counters.words("operations").tolist() == [0, 50 * 2 * 8 * 8 * 8]
    assert counters.words("bytes").tolist() == [0, 50 * 3 * 8 * 8 * 4]
    count, events = counters.events()
    assert count == len(events) == 51
    assert [number for number, _, _ in events] == [*[1] * 50, 0]
    assert all(events[-1][1] <= begin <= end <= events[-1][2] for _, begin, end in events)


def test_a_program_with_a_loop_releases_the_gil():
    """The last word of a binding's template says so; a short program without loops keeps the GIL."""
    with_loop = Native(counted("x: f32[4]", "%2: f32[4] = add x, x", "%2"))
    assert with_loop.binding([X]).template[-1] == 1
    branch = """graph f(p: b1[], x: f32[4]) -> (f32[4]) {
 %0: f32[4] = switch p, x {branches=(
  graph no(x: f32[4]) -> (f32[4]) { return x },
  graph yes(x: f32[4]) -> (f32[4]) {
   %0: f32[4] = add x, x
   return %0
  })}
 return %0
}"""
    assert Native(branch).binding([np.array(True), X]).template[-1] == 0
