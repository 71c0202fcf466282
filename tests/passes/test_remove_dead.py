"""Removing dead nodes: text in, text out."""

# ruff: noqa: E501 (the texts of graphs are one line a node)
from __future__ import annotations

import pytest

from graphflow.ir import parse
from graphflow.passes.manager import PassContext
from graphflow.passes.remove_dead import remove_dead

CASES = {
    "an unused node": ("x: f32[n]", "%0: f32[n] = exp x\n%1: f32[n] = negative x\nreturn %1", "%0: f32[n] = negative x\nreturn %0"),
    "an unused chain": ("x: f32[n]", "%0: f32[n] = exp x\n%1: f32[n] = negative %0\nreturn x", "return x"),
    "all used": ("x: f32[n]", "%0: f32[n] = exp x\n%1: f32[n] = negative %0\nreturn %1", None),
    "an unused read": ("w: var f32[4]", "%0: f32[4] = read_variable w\nreturn", "return"),
    "a write": ("w: var f32[4], x: f32[4]", "%0: f32[4] = exp x\nassign_variable w, %0\nreturn", None),
    "a print": ("x: f32[4]", "%0: f32[4] = exp x\nprint %0 {template=\"{}\"}\nreturn", None),
    "an assertion": ("x: f32[4]", "%0: b1[4] = is_nan x\nassert_true %0 {message=\"no\"}\nreturn", None),
    "an integer division may fail": ("x: i32[n], y: i32[n]", "%0: i32[n] = floordiv x, y\nreturn", None),
    "a float division may not": ("x: f32[n], y: f32[n]", "%0: f32[n] = floordiv x, y\nreturn", "return"),
    "an integer division by a constant": ("x: i32[n]", "%0: i32[] = constant {value=i32 2}\n%1: i32[n] = floordiv x, %0\nreturn", "return"),
    "an integer division by a repeated constant": (
        "x: i32[n]", "%0: i32[] = constant {value=i32 2}\n%1: i32[n] = broadcast_to %0 {shape=(n,)}\n%2: i32[n] = floordiv x, %1\nreturn", "return"),
    "an integer division by zero": ("x: i32[n]", "%0: i32[] = constant {value=i32 0}\n%1: i32[n] = floordiv x, %0\nreturn", None),
    "a negative power": ("x: i32[n]", "%0: i32[] = constant {value=i32 -1}\n%1: i32[n] = pow x, %0\nreturn", None),
    "a positive power": ("x: i32[n]", "%0: i32[] = constant {value=i32 3}\n%1: i32[n] = pow x, %0\nreturn", "return"),
    "a gather may fail": ("x: f32[n], k: i32[m]", "%0: f32[m] = gather x, k {axis=0}\nreturn", None),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_remove(check, case):
    inputs, before, after = CASES[case]
    check(remove_dead, inputs, before, after)


def test_fuel(graph_of):
    graph = graph_of("x: f32[n]", "%0: f32[n] = exp x\n%1: f32[n] = exp %0\nreturn x")
    assert len(remove_dead(graph, PassContext(fuel=1)).nodes) == 1
    assert remove_dead(graph, PassContext(fuel=0)) is graph


@pytest.mark.parametrize(("body", "stays"), [
    ("%0: f32[4] = read_variable v\n return", False),
    ("%0: f32[4] = read_variable v\n assign_variable v, %0\n return", True),
    ("%0: i32[] = constant {value=i32 0}\n %1: i32[] = floordiv %0, %0\n return", True),
])  # fmt: skip
def test_branches(branch, body, stays):
    graph = parse(f"""graph f(p: b1[], w: var f32[4]) -> () {{
      test_branch p, w {{then=graph t(v: var f32[4]) -> () {{
        {body}
      }}}}
      return
    }}""")
    assert bool(remove_dead(graph, PassContext()).nodes) == stays
