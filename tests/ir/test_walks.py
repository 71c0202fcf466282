"""Walks: uses, effects, order."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from graphflow.dtypes import float32
from graphflow.ir import OPS, Graph, GraphBuilder, Node, Source, TensorType, parse
from graphflow.ir.op import Effect, define_op
from graphflow.ir.walks import (
    effect_kinds,
    has_side_effect,
    may_fail,
    ordering_edges,
    positions,
    topological_sort,
    variables_of,
)  # fmt: skip


def random_graph(seed, count=40):
    generator = random.Random(seed)
    builder = GraphBuilder("g")
    values = [builder.input("x", TensorType(float32, (4,)))]
    for k in range(count):
        op = OPS[generator.choice(["exp", "add", "t_split"])]
        operands = [generator.choice(values) for _ in op.operands]
        values.extend(builder.add(op, operands, {}, Source("a.py", k + 1, 0)))
    return builder.finish(values[-2:])


def test_uses_and_positions():
    graph = parse("""graph g(x: f32[4]) -> (f32[4]) {
      %0: f32[4] = add x, x
      %1: f32[4], %2: f32[4] = t_split %0
      %3: f32[4] = exp %0
      return %1
    }""")
    add, split, exp = graph.nodes
    assert graph.uses[graph.inputs[0]] == [add, add]
    assert positions(graph) == {add: 0, split: 1, exp: 2}


STATE = """graph g(x: f32[4], v: var f32[4], w: var f32[4]) -> (f32[4]) {
  %0: f32[4] = read_variable w
  %1: f32[4] = read_variable w
  print x {template="{}"}
  assign_variable w, x
  %2: f32[4] = read_variable v
  %3: f32[4] = read_variable w
  assign_variable v, %3
  test_call
  %4: f32[4] = read_variable v
  return %4
}"""


@pytest.fixture
def call():
    define_op("test_call", "*values", infer=lambda types: (), kernel=Effect("call"), no_gradient="a toy")
    yield
    del OPS["test_call"]


def test_ordering_edges(call):
    graph = parse(STATE)
    edges = [sorted(set(before)) for before in ordering_edges(graph.nodes)]
    assert edges == [
        [], [], [],         # two reads, a print: free of each other
        [0, 1, 2],          # the write of w: after its reads, and after the print
        [],                 # a read of v
        [3],                # a read of w: after its write
        [3, 4, 5],          # the write of v: after the write before it, its read, and what makes its value
        [0, 1, 2, 4, 5, 6],  # a call may do anything: after all reads, the last effect and the print
        [6, 7],             # a read after the call
    ]  # fmt: skip


def test_topological_sort(call):
    graph = parse(STATE)
    assert topological_sort(graph.nodes) == list(graph.nodes)
    place = positions(graph)
    late_first = topological_sort(graph.nodes, priority=lambda node: -place[node])
    assert late_first != list(graph.nodes)
    position = {node: k for k, node in enumerate(late_first)}
    for node, before in zip(graph.nodes, ordering_edges(graph.nodes), strict=True):
        assert all(position[graph.nodes[k]] < position[node] for k in before)
    shuffled = list(random_graph(3).nodes)
    random.Random(0).shuffle(shuffled)
    seen = set()
    for node in topological_sort([*shuffled, shuffled[0]]):
        assert all(v.producer is None or v.producer in seen for v in node.inputs)
        seen.add(node)
    assert len(seen) == len(shuffled)


def test_a_circle():
    graph = random_graph(0, 3)
    a = Node(OPS["exp"], graph.inputs, {}, Source("a.py", 1, 0))
    b = Node(OPS["exp"], a.outputs, {}, Source("a.py", 2, 0))
    a.inputs = b.outputs
    with pytest.raises(ValueError, match="depend on each other in a circle"):
        topological_sort([a, b])


def test_effects():
    graph = parse("""graph g(p: b1[], x: f32[4], w: var f32[4], n: i32[4]) -> () {
      %0: f32[4] = read_variable w
      assign_variable w, x
      %1: f32[4] = exp x
      %2: i32[4] = floordiv n, n
      t_branch p, w {
        then = graph t(v: var f32[4], k: i32[]) -> () {
          %0: f32[4] = read_variable v
          %1: i32[] = floormod k, k
          return
        }
      }
      %3: f32[] = constant {value=f32 1.0}
      return
    }""")
    read, write, exp, division, branch, constant = graph.nodes
    assert [effect_kinds(n) for n in graph.nodes] == [{"read"}, {"write"}, set(), set(), {"read"}, set()]
    assert [n for n in graph.nodes if has_side_effect(n)] == [write]
    assert [n for n in graph.nodes if may_fail(n)] == [division, branch]
    assert [n for n in graph.nodes if not n.is_pure] == [read, write, branch]
    assert variables_of(branch) == (graph.inputs[2],)
    assert exp.is_pure and constant.is_pure


def test_the_ir_imports_nothing_heavy():
    heavy = ["numba", "llvmlite", "networkx", "scipy", "ml_dtypes", "rich"]
    code = f"import graphflow.ir, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_frozen_empty_graph():
    empty = Graph("g", (), (), ())
    assert positions(empty) == {} and topological_sort(()) == []
