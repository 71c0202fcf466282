"""Functions put in the place of their calls."""

from __future__ import annotations

import numpy as np
import pytest

from graphflow.ir import parse, print_graph, verify
from graphflow.ops.reference import interpret
from graphflow.passes import inline_calls as module
from graphflow.passes.inline_calls import inline_calls
from graphflow.passes.manager import PassContext, run_pipeline

DOUBLE = """shared double = graph double(x: f32[n]) -> (f32[n]) {
  %0: f32[n] = add x, x
  return %0
}
"""
X = np.array([1.0, 2.5], "f4")


def run(text, **context):
    graph = parse(text)
    verify(graph)
    context = PassContext(**context)
    final, _ = run_pipeline(graph, [inline_calls], context, verify=True)
    return graph, final, context


def test_a_small_function_is_copied_to_its_callers():
    before = """graph f(p: b1[], x: f32[n]) -> (f32[n]) {
      %0: f32[n] = call x {function=graph double}
      %1: f32[n] = switch p, %0 {
        branches = (graph a(x: f32[n]) -> (f32[n]) {
          %0: f32[n] = call x {function=graph double}
          %1: f32[n] = negative %0
          return %1
        }, graph double)
      }
      return %1
    }"""
    graph, final, _ = run(DOUBLE + before)
    after = """graph f(p: b1[], x: f32[n]) -> (f32[n]) {
      %0: f32[n] = add x, x
      %1: f32[n] = switch p, %0 {
        branches = (graph a(x: f32[n]) -> (f32[n]) {
          %0: f32[n] = add x, x
          %1: f32[n] = negative %0
          return %1
        }, graph double(x: f32[n]) -> (f32[n]) {
          %0: f32[n] = add x, x
          return %0
        })
      }
      return %1
    }"""
    assert print_graph(final, sources=False) == print_graph(parse(after), sources=False)
    for p in (False, True):
        assert interpret(graph, [np.array(p), X])[0].tolist() == interpret(final, [np.array(p), X])[0].tolist()


def large(calls):
    lines = "\n".join(f"  %{k + 1}: f32[n] = negative %{k}" for k in range(60))
    function = f"shared long = graph long(x: f32[n]) -> (f32[n]) {{\n  %0: f32[n] = exp x\n{lines}\n  return %60\n}}\n"
    return function + "graph f(x: f32[n], p: b1[]) -> (f32[n]) {\n" + calls + "\n}"


def test_a_large_function_is_inlined_where_one_place_calls_it():
    _, final, context = run(
        large("%0: f32[n] = call x {function=graph long}\nreturn %0").replace("shared long = ", "shared long = ")
    )
    assert [n.op.name for n in final.nodes] == ["exp", *["negative"] * 60] and context.rewrites == 1


def test_a_large_function_that_several_places_call_stays_shared():
    calls = "%0: f32[n] = call x {function=graph long}\n%1: f32[n] = call %0 {function=graph long}\nreturn %1"
    graph, final, context = run(large(calls))
    assert final is graph
    first, second = final.nodes
    assert first.attributes["function"] is second.attributes["function"]
    assert {r.category for r in context.remarks} == {"not inlined: size"} and "61 nodes and 2 callers" in str(
        context.remarks[0]
    )


def test_the_size_counts_what_was_inlined_inside(monkeypatch):
    """f calls g twice, g calls double twice: g grows before f's size is taken."""
    monkeypatch.setattr(module, "LARGEST_INLINED", 2)
    text = (
        DOUBLE
        + """shared four = graph four(x: f32[n]) -> (f32[n]) {
      %0: f32[n] = call x {function=graph double}
      %1: f32[n] = call %0 {function=graph double}
      %2: f32[n] = negative %1
      return %2
    }
    graph f(x: f32[n]) -> (f32[n]) {
      %0: f32[n] = call x {function=graph four}
      %1: f32[n] = call %0 {function=graph four}
      return %1
    }"""
    )
    _, final, _ = run(text)
    assert [n.op.name for n in final.nodes] == ["call", "call"]
    assert final.nodes[0].attributes["function"] is final.nodes[1].attributes["function"]
    assert [n.op.name for n in final.nodes[0].attributes["function"].nodes] == ["add", "add", "negative"]


GROWS = """shared grow = graph grow(x: f32[n], count: i32[]) -> (f32[u9]) {
  %0: i32[] = constant {value=i32 0}
  %1: i32[], %2: f32[u9] = while %0, x, count {
    condition = graph more(k: i32[], y: f32[k0], count: i32[]) -> (b1[]) {
      %0: b1[] = less k, count
      return %0
    },
    body = graph step(k: i32[], y: f32[k0], count: i32[]) -> (i32[], f32[k0+1]) {
      %0: i32[] = constant {value=i32 1}
      %1: i32[] = add k, %0
      %2: f32[] = cast k {dtype=f32}
      %3: f32[k0+1] = append_row y, %2
      return %1, %3
    },
    carried = 2, extents = ("u9",)
  }
  return %2
}
graph f(x: f32[n], a: i32[], b: i32[]) -> (f32[u0], f32[u1], i32[]) {
  %0: f32[u0] = call x, a {function=graph grow, extents=("u0",)}
  %1: f32[u1] = call x, b {function=graph grow, extents=("u1",)}
  %2: i32[u1] = iota {shape=(u1,), axis=0}
  %3: i32[] = reduce_sum %2 {axes=(0,)}
  return %0, %1, %3
}"""


def test_run_time_extents_keep_the_names_outside():
    graph, final, _ = run(GROWS)
    assert final.extents == ("u0", "u1") and not any(n.op.name == "call" for n in final.nodes)
    given = [X, np.array(2, "i4"), np.array(4, "i4")]
    for left, right in zip(interpret(graph, given), interpret(final, given), strict=True):
        np.testing.assert_array_equal(left, right)
    assert [len(a) for a in interpret(final, given)[:2]] == [4, 6]


@pytest.mark.parametrize("fuel", [0, 1])
def test_fuel(fuel):
    _, final, context = run(GROWS, fuel=fuel)
    assert sum(n.op.name == "call" for n in final.nodes) == 2 - fuel and context.rewrites == fuel
