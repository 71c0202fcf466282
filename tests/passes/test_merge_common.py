"""Merging: text in, text out."""

# ruff: noqa: E501 (the texts of graphs are one line a node)
from __future__ import annotations

import numpy as np
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


LOOP = """%{0}: i32[], %{1}: f32[{u}] = while %0, x, count {{
          condition = graph more({k}: i32[], {y}: f32[{own}], count: i32[]) -> (b1[]) {{
            %0: b1[] = less {k}, count
            return %0
          }},
          body = graph step({k}: i32[], {y}: f32[{own}], count: i32[]) -> (i32[], f32[{own}+1]) {{
            %{a}: i32[] = constant {{value=i32 1}}
            %{b}: f32[] = constant {{value=f32 {c}}}
            %2: i32[] = add {k}, %{a}
            %3: f32[{own}+1] = append_row {y}, %{b}
            return %2, %3
          }}, carried = 2, extents = ("{u}",)
        }}"""
FIRST = LOOP.format(1, 2, u="u0", own="k0", k="k", y="y", a=0, b=1, c=2.0)


def loops(second, returned="%5, %8"):
    return f"""x: f32[n], count: i32[]
        %0: i32[] = constant {{value=i32 0}}
        {FIRST}
        {second}
        %5: f32[] = reduce_sum %2 {{axes=(0,)}}
        %6: f32[] = constant {{value=f32 1.0}}
        %7: f32[u1] = broadcast_to %6 {{shape=(u1,)}}
        %9: f32[u1] = add %7, %4
        %8: f32[] = reduce_sum %9 {{axes=(0,)}}
        return {returned}"""


def test_loops_that_compute_the_same(check_control):
    """Other names, other symbols, another order of nodes: still the same loop; its run-time extent takes the first's name."""
    runs = [[np.array([1.0, 2.0], "f4"), np.array(k, "i4")] for k in (0, 3)]
    same = LOOP.format(3, 4, u="u1", own="m0", k="j", y="z", a=1, b=0, c=2.0)
    after = f"""x: f32[n], count: i32[]
        %0: i32[] = constant {{value=i32 0}}
        {FIRST}
        %5: f32[] = reduce_sum %2 {{axes=(0,)}}
        %6: f32[] = constant {{value=f32 1.0}}
        %7: f32[u0] = broadcast_to %6 {{shape=(u0,)}}
        %9: f32[u0] = add %7, %2
        %8: f32[] = reduce_sum %9 {{axes=(0,)}}
        return %5, %8"""
    check_control(merge_common, loops(same), after, *runs)
    check_control(merge_common, loops(same), None, *runs, fuel=0)
    returned = after.replace("return %5, %8", "return %5, %8, %2")
    check_control(merge_common, loops(same, "%5, %8, %4"), returned, *runs)
    other = LOOP.format(3, 4, u="u1", own="m0", k="j", y="z", a=1, b=0, c=-2.0)
    check_control(merge_common, loops(other), None, *runs)


def test_branches_that_compute_the_same(check_control):
    branches = """branches = (graph a({0}: f32[n], {1}: f32[n]) -> (f32[n]) {{
            %0: f32[n] = subtract {0}, {1}
            return %0
          }}, graph b({0}: f32[n], {1}: f32[n]) -> (f32[n]) {{
            return {1}
          }})"""
    before = """p: b1[], x: f32[n], y: f32[n]
        %0: f32[n] = switch p, {}, {} {{
          {}
        }}
        %1: f32[n] = switch p, {}, {} {{
          {}
        }}
        return %0, %1"""
    after = """p: b1[], x: f32[n], y: f32[n]
        %0: f32[n] = switch p, x, y {{
          {}
        }}
        return %0, %0"""
    one, other = branches.format("v", "w"), branches.format("a", "b")
    runs = [[np.array(p), np.array([1.0], "f4"), np.array([5.0], "f4")] for p in (False, True)]
    check_control(merge_common, before.format("x", "y", one, "x", "y", other), after.format(one), *runs)
    check_control(merge_common, before.format("x", "y", one, "y", "x", other), None, *runs)
