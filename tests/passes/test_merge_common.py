"""Merging: text in, text out."""

# ruff: noqa: E501 (the texts of graphs are one line a node)
from __future__ import annotations

import pytest

from graphflow.ir import parse, print_graph
from graphflow.passes.manager import PassContext
from graphflow.passes.merge_common import merge_common

XY = "x: f32[n], y: f32[n]"
READS = "%0: f32[4] = read_variable w\n%1: f32[4] = read_variable w\n%2: f32[4] = subtract %0, %1\nreturn %2"

CASES = {
    "the same op": (
        XY, "%0: f32[n] = exp x\n%1: f32[n] = exp x\n%2: f32[n] = add %0, %1\nreturn %2",
        "%0: f32[n] = exp x\n%1: f32[n] = add %0, %0\nreturn %1"),
    "a chain": (
        XY, "%0: f32[n] = exp x\n%1: f32[n] = negative %0\n%2: f32[n] = exp x\n%3: f32[n] = negative %2\nreturn %1, %3",
        "%0: f32[n] = exp x\n%1: f32[n] = negative %0\nreturn %1, %1"),
    "commuted operands": (
        XY, "%0: f32[n] = add x, y\n%1: f32[n] = add y, x\nreturn %0, %1", "%0: f32[n] = add x, y\nreturn %0, %0"),
    "operands of subtract do not commute": (XY, "%0: f32[n] = subtract x, y\n%1: f32[n] = subtract y, x\nreturn %0, %1", None),
    "other attributes": (
        "x: f32[n,4]", "%0: f32[n] = reduce_sum x {axes=(1,), keepdims=False}\n%1: f32[4] = reduce_sum x {axes=(0,), keepdims=False}\nreturn %0, %1",
        None),
    "equal attributes": (
        "x: f32[n,4]", "%0: f32[n] = reduce_sum x {axes=(1,), keepdims=False}\n%1: f32[n] = reduce_sum x {axes=(1,), keepdims=False}\nreturn %0, %1",
        "%0: f32[n] = reduce_sum x {axes=(1,), keepdims=False}\nreturn %0, %0"),
    "symbolic attributes": (
        "x: f32[n,4]", "%0: f32[4*n] = reshape x {shape=(4*n,)}\n%1: f32[4*n] = reshape x {shape=(4*n,)}\nreturn %0, %1",
        "%0: f32[4*n] = reshape x {shape=(4*n,)}\nreturn %0, %0"),
    "constants": (
        "", "%0: f32[] = constant {value=f32 1.0}\n%1: f32[] = constant {value=f32 1.0}\nreturn %0, %1",
        "%0: f32[] = constant {value=f32 1.0}\nreturn %0, %0"),
    "zeros of both signs": (
        "", "%0: f32[] = constant {value=f32 0.0}\n%1: f32[] = constant {value=f32 -0.0}\nreturn %0, %1", None),
    "constants of two dtypes": (
        "", "%0: f32[] = constant {value=f32 1.0}\n%1: f64[] = constant {value=f64 1.0}\nreturn %0, %1", None),
    "checks": (
        "x: i32[n], y: i32[n]", "%0: i32[n] = floordiv x, y\n%1: i32[n] = floordiv x, y\nreturn %0, %1",
        "%0: i32[n] = floordiv x, y\nreturn %0, %0"),
    "reads": (
        "w: var f32[4]", READS, "%0: f32[4] = read_variable w\n%1: f32[4] = subtract %0, %0\nreturn %1"),
    "reads of two variables": (
        "v: var f32[4], w: var f32[4]", "%0: f32[4] = read_variable v\n%1: f32[4] = read_variable w\nreturn %0, %1", None),
    "reads around a write": (
        "w: var f32[4], x: f32[4]", "%0: f32[4] = read_variable w\nassign_variable w, x\n%1: f32[4] = read_variable w\nreturn %0, %1", None),
    "reads around a write of another variable": (
        "v: var f32[4], w: var f32[4], x: f32[4]",
        "%0: f32[4] = read_variable w\nassign_variable v, x\n%1: f32[4] = read_variable w\nreturn %0, %1",
        "%0: f32[4] = read_variable w\nassign_variable v, x\nreturn %0, %0"),
    "writes stay": ("w: var f32[4], x: f32[4]", "assign_variable w, x\nassign_variable w, x\nreturn", None),
    "prints stay": ("x: f32[4]", "print x {template=\"{}\"}\nprint x {template=\"{}\"}\nreturn", None),
    "reads around a print": (
        "w: var f32[4]", "%0: f32[4] = read_variable w\nprint %0 {template=\"{}\"}\n%1: f32[4] = read_variable w\nreturn %1",
        "%0: f32[4] = read_variable w\nprint %0 {template=\"{}\"}\nreturn %0"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_merge(check, case):
    inputs, before, after = CASES[case]
    check(merge_common, inputs, before, after)


def test_sources_are_merged():
    graph = parse("""graph f(x: f32[4]) -> (f32[4], f32[4], f32[4], f32[], f32[]) {
      %0: f32[4] = exp x                    # a.py:1:0  exp(x)
      %1: f32[4] = exp x                    # a.py:2:0  gf.exp(x)
      %2: f32[4] = exp x                    # a.py:1:0  exp(x)
      %3: f32[] = constant {value=f32 1.0}  # a.py:4:0  1.0
      %4: f32[] = constant {value=f32 1.0}  # a.py:5:0  1.0
      return %0, %1, %2, %3, %4
    }""")
    assert (
        print_graph(merge_common(graph, PassContext()))
        == """graph f(x: f32[4]) -> (f32[4], f32[4], f32[4], f32[], f32[]) {
  %0: f32[4] = exp x                     # a.py:1:0  exp(x)
                                         # a.py:2:0  gf.exp(x)
  %1: f32[]  = constant {value=f32 1.0}  # a.py:4:0  1.0
  return %0, %0, %0, %1, %1
}"""
    )


def test_fuel(graph_of):
    graph = graph_of("x: f32[4]", "%0: f32[4] = exp x\n%1: f32[4] = exp x\n%2: f32[4] = exp x\nreturn %0, %1, %2")
    assert len(merge_common(graph, PassContext(fuel=1)).nodes) == 2
    assert merge_common(graph, PassContext(fuel=0)) is graph


def test_large_constants_merge_by_identity(graph_of):
    import numpy as np

    from graphflow.ir import OPS, Graph, Node, Source

    array, other = np.zeros(1 << 15, np.float32), np.zeros(1 << 15, np.float32)
    nodes = [Node(OPS["constant"], (), {"value": a}, Source("a.py", 1, 0)) for a in (array, array, other)]
    graph = Graph("f", (), tuple(nodes), tuple(n.output for n in nodes))
    assert len(merge_common(graph, PassContext()).nodes) == 2


def test_a_call_of_unknown_effect_parts_reads(graph_of):
    from graphflow.ir.op import OPS, Effect, define_op

    define_op("test_call", "*values", infer=lambda types: (), kernel=Effect("call"), no_gradient="a toy")
    try:
        graph = graph_of(
            "w: var f32[4]", "%0: f32[4] = read_variable w\ntest_call\n%1: f32[4] = read_variable w\nreturn %0, %1"
        )
        assert merge_common(graph, PassContext()) is graph
    finally:
        del OPS["test_call"]


def test_branches(branch):
    """Equal pure branches merge; a branch that writes parts the reads around it."""
    then = "graph t(y: f32[4]) -> (f32[4]) {\n %0: f32[4] = exp y # a.py:1:0\n return %0\n}"
    graph = parse(f"""graph f(p: b1[], x: f32[4]) -> (f32[4], f32[4]) {{
      %0: f32[4] = test_branch p, x {{then={then}}}
      %1: f32[4] = test_branch p, x {{then={then}}}
      return %0, %1
    }}""")
    assert len(merge_common(graph, PassContext()).nodes) == 1
    writes = "graph t(v: var f32[4]) -> () {\n %0: f32[4] = read_variable v\n assign_variable v, %0\n return\n}"
    graph = parse(f"""graph f(p: b1[], w: var f32[4]) -> (f32[4], f32[4]) {{
      %0: f32[4] = read_variable w
      test_branch p, w {{then={writes}}}
      %1: f32[4] = read_variable w
      return %0, %1
    }}""")
    assert merge_common(graph, PassContext()) is graph
