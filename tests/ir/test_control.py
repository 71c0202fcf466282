"""Ops with sub-graphs: their type rules, the rules of the verifier for them, and their text form."""

from __future__ import annotations

import re

import numpy as np
import pytest

from graphflow.errors import ParseError, VerifyError
from graphflow.ir import parse, print_graph, verify
from graphflow.ir.walks import definitions, has_side_effect, may_fail, ordering_edges, symbols_used, topological_sort
from graphflow.ops.control import call_results, switch_results, while_results
from graphflow.ops.reference import interpret

CHOOSE = """graph choose(p: b1[], x: f32[n], y: f32[m]) -> (f32[u0], f32[u0], f32[n], f32[u1]) {
  %0: f32[u0], %1: f32[u0], %2: f32[n], %3: f32[u1] = switch p, x, y {
    branches = (graph no(x: f32[n], y: f32[m]) -> (f32[n], f32[n], f32[n], f32[2]) {
      %0: f32[n] = negative x
      %1: f32[2] = constant {value=f32 [0.0, 1.0]}
      return %0, x, x, %1
    }, graph yes(x: f32[n], y: f32[m]) -> (f32[m], f32[m], f32[n], f32[m+1]) {
      %0: f32[]    = constant {value=f32 7.0}
      %1: f32[m+1] = append_row y, %0
      return y, y, x, %1
    }),
    extents = ("u0", "u1")
  }
  return %0, %1, %2, %3
}"""

GROW = """graph grow(count: i32[], x: f32[n], row: f32[]) -> (i32[], f32[u0], f32[u0]) {
  %0: i32[]              = constant {value=i32 0}
  %1: i32[], %2: f32[u0] = while %0, x, count, row {
    condition = graph more(k: i32[], rows: f32[k0], count: i32[], row: f32[]) -> (b1[]) {
      %0: b1[] = less k, count
      return %0
    },
    body = graph step(k: i32[], rows: f32[k0], count: i32[], row: f32[]) -> (i32[], f32[k0+1]) {
      %0: i32[]     = constant {value=i32 1}
      %1: i32[]     = add k, %0
      %2: f32[k0+1] = append_row rows, row
      return %1, %2
    },
    carried = 2,
    extents = ("u0",),
    most = n
  }
  %3: f32[u0]            = exp %2
  return %1, %2, %3
}"""

SHARED = """shared double = graph double(x: f32[n]) -> (f32[n]) {
  %0: f32[n] = add x, x
  return %0
}
shared "double 2" = graph "double 2"(x: f32[n]) -> (f32[n]) {
  %0: f32[n] = call x {function=graph double}
  %1: f32[n] = call %0 {function=graph double}
  return %1
}
graph twice(p: b1[], x: f32[n]) -> (f32[n], f32[n]) {
  %0: f32[n] = call x {function=graph "double 2"}
  %1: f32[n] = switch p, %0 {branches=(graph double, graph "double 2")}
  return %0, %1
}"""


@pytest.mark.parametrize("text", [CHOOSE, GROW, SHARED])
def test_round_trip(text):
    graph = parse(text)
    verify(graph)
    assert print_graph(graph, sources=False) == text
    whole = print_graph(graph, full_paths=True)
    assert parse(whole) == graph and print_graph(parse(whole), full_paths=True) == whole


def test_shared_graphs_stay_one_object():
    first, second = parse(SHARED).nodes
    double, twice = second.attributes["branches"]
    assert first.attributes["function"] is twice
    assert [node.attributes["function"] for node in twice.nodes] == [double, double]
    with pytest.raises(ParseError, match="no shared graph 'triple' stands before the graph"):
        parse("graph f(x: f32[n]) -> (f32[n]) {\n %0: f32[n] = call x {function=graph triple}\n return %0\n}")
    with pytest.raises(ParseError, match="the shared graph 'f' is defined twice"):
        parse("shared f = graph f() -> () {\n return\n}\n" * 2 + "graph g() -> () {\n return\n}")


def test_graphs_of_one_name_get_names_of_their_own():
    text = SHARED.replace('graph "double 2"(', "graph double(").replace('"double 2"', "double_1")
    assert print_graph(parse(text), sources=False) == text


def test_interpreter():
    x, y = np.array([1, 2, 3], "f4"), np.array([5], "f4")
    left, right = (interpret(parse(CHOOSE), [np.array(p), x, y]) for p in (False, True))
    np.testing.assert_array_equal(left[0], -x)
    assert [len(a) for a in left] == [3, 3, 3, 2] and [len(a) for a in right] == [1, 1, 3, 2]
    count, rows, exponential = interpret(parse(GROW), [np.array(4, "i4"), x, np.array(9, "f4")])
    assert count == 4 and rows.tolist() == [1, 2, 3, 9, 9, 9, 9] and exponential.shape == (7,)
    assert interpret(parse(GROW), [np.array(-1, "i4"), x, np.array(9, "f4")])[1].tolist() == [1, 2, 3]
    for p in (False, True):
        four, chosen = interpret(parse(SHARED), [np.array(p), x])
        assert four.tolist() == [4, 8, 12] and chosen.tolist() == ([16, 32, 48] if p else [8, 16, 24])


def test_how_many_extents_are_needed():
    names = iter("abcdef")

    def fresh():
        from graphflow.ir import symbol

        return symbol(next(names))

    (choose,) = parse(CHOOSE).nodes
    assert [str(t) for t in switch_results(choose.attributes["branches"], fresh)] == [
        "f32[a]",
        "f32[a]",
        "f32[n]",
        "f32[b]",
    ]
    loop = parse(GROW).nodes[1]
    types = tuple(v.type for v in loop.inputs)
    assert [str(t) for t in while_results(types, loop.attributes["body"], 2, fresh)] == ["i32[]", "f32[c]"]
    assert [str(t) for t in call_results(parse(CHOOSE), fresh)] == ["f32[d]", "f32[d]", "f32[n]", "f32[e]"]


def refused(text, message):
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert message in str(caught.value), caught.value


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("switch p, x, y", "switch x, x, y", "switch: the index must be a bool or an int32 of rank 0, got f32[n]; use gf.cast"),
        ("switch p, x, y", "switch p, y, x", "switch: branch 0 takes f32[n] for operand 0 ('x'), got f32[m]"),
        ("switch p, x, y", "switch p, x", "switch: branch 0 takes 2 operands, got 1"),
        ("(f32[m], f32[m], f32[n], f32[m+1])", "(f32[m], f32[m], f32[n])", "the header promises"),
        ("return %0, x, x, %1", "return %0, x, x", "the header promises"),
        ('("u0", "u1")', '("u0",)', "switch: the results have 2 run-time extents, the attribute 'extents' names 1"),
        ('("u0", "u1")', '("u0", "u1", "u2")', "switch: the results have 2 run-time extents, the attribute 'extents' names 3"),
        ("(p: b1[],", "(p: var b1[],", "switch: the index must be a value, got var b1[]; read the variable first"),
    ],
)  # fmt: skip
def test_switch_type_rule(old, new, message):
    assert old in CHOOSE
    refused(CHOOSE.replace(old, new), message)


def test_branches_must_fit_each_other():
    text = """graph f(p: b1[], x: f32[n]) -> (f32[n]) {{
      %0: f32[n] = switch p, x {{
        branches = (graph no(x: f32[n]) -> (f32[n]) {{
          return x
        }}, graph yes(x: f32[n]) -> ({0}) {{
          {1}
        }})
      }}
      return %0
    }}"""
    cases = [
        ("f64[n]", "%0: f64[n] = cast x {dtype=f64}\nreturn %0", "switch: branches must agree in dtype, got f32[n] and f64[n] for"),
        ("f32[]", "%0: f32[] = reduce_sum x {axes=(0,)}\nreturn %0", "switch: branches must agree in rank, got f32[n] and f32[] for"),
        ("", "return", "switch: branches must give equally many results, got 1 of branch 0 and 0 of branch 1"),
    ]  # fmt: skip
    for types, body, message in cases:
        refused(text.format(types, body), message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("carried = 2", "carried = 5", "while: carries 5 values, got 4 operands"),
        ("carried = 2", "carried = 1", "while: the body must give 1 values, got 2"),
        ("(b1[]) {\n      %0: b1[] = less k, count", "(i32[]) {\n      %0: i32[] = add k, count",
         "while: the condition must give one bool of rank 0, got (i32[])"),
        ("graph more(k: i32[], rows: f32[k0]", "graph more(k: i32[], rows: f32[n]", "while: the condition takes f32[n] for operand 1"),
        ("while %0, x, count, row", "while %0, x, count, count", "while: the body takes f32[] for operand 3, got i32[]"),
        ("while %0, x, count, row", "while %0, count, count, row",
         "while: carried value 1 must keep its dtype, got f32[k0] and i32[]"),
        ("while %0, x, count, row", "while count, row, count, row",
         "while: carried value 1 must keep its rank, got f32[k0] and f32[]"),
        ('extents = ("u0",)', "extents = ()", "while: the results have 1 run-time extents, the attribute 'extents' names 0"),
        ("rows: f32[k0]", "rows: f32[n]", "while: carried value 1 must keep its shape, got f32[n] and f32[n+1], which it becomes"),
        ("rows: f32[k0]", "rows: f32[2*k0]", "while: no carried value has the extent 'k0' of the body's inputs alone on an axis"),
    ],
)  # fmt: skip
def test_while_type_rule(old, new, message):
    assert old in GROW
    text = GROW.replace(old, new)
    if "f32[n]" in new and "more" not in new:
        text = text.replace("k0+1", "n+1")
    if "2*k0" in new:
        text = text.replace("k0+1", "2*k0+1")
    refused(text, message)


def test_extents_of_the_carried_values_go_together():
    """Two values that share an own symbol must grow alike."""
    text = """graph f(x: f32[n], y: f32[{0}]) -> (f32[u0], f32[u0]) {{
      %0: f32[u0], %1: f32[u0] = while x, y {{
        condition = graph more(x: f32[k0], y: f32[k0]) -> (b1[]) {{
          %0: b1[] = constant {{value=b1 False}}
          return %0
        }},
        body = graph step(x: f32[k0], y: f32[k0]) -> (f32[k0], f32[{1}]) {{
          %0: f32[]  = constant {{value=f32 1.0}}
          %1: f32[k0+1] = append_row y, %0
          return x, {2}
        }},
        carried = 2, extents = ("u0",)
      }}
      return %0, %1
    }}"""
    verify(parse(text.format("n", "k0", "y")))
    refused(
        text.format("m", "k0", "y"), "carried value 1 must keep its shape, got f32[k0] and f32[m], which it starts as"
    )
    refused(
        text.format("n", "k0+1", "%1"),
        "carried value 1 must keep its shape, got f32[k0] and f32[k0+1], which it becomes",
    )


def refuse(text, rule, message):
    with pytest.raises(VerifyError) as caught:
        verify(parse(text))
    assert f"breaks the rule `{rule}`: " in str(caught.value) and message in str(caught.value), caught.value


def test_symbols_are_defined_once_and_before_use():
    refuse(GROW.replace("u0", "n"), "symbols", "while defines the run-time extent 'n', which is defined already")
    text = GROW.replace("  %3:", "  %4: f32[m] = broadcast_to row {shape=(m,)}\n  %3:")
    refuse(text, "symbols", "the extent 'm' of f32[m] is not among the inputs': n, u0")
    early = GROW.replace("  %0: i32[]   ", "  %9: f32[u0] = broadcast_to row {shape=(u0,)}\n  %0: i32[]   ", 1)
    refuse(early, "symbols", "the extent 'u0' of f32[u0] is not among the inputs': n")
    inside = GROW.replace(
        "%0: b1[] = less k, count", "%1: f32[u0] = broadcast_to row {shape=(u0,)}\n%0: b1[] = less k, count"
    )
    refuse(inside, "symbols", "the extent 'u0' of f32[u0] is not among the inputs': k0, n")
    outside = GROW.replace("  %3:", "  %4: f32[k0] = broadcast_to row {shape=(k0,)}\n  %3:")
    refuse(outside, "symbols", "the extent 'k0' of f32[k0] is not among the inputs'")
    bound = GROW.replace("most = n", "most = m")
    refuse(bound, "symbols", "the extent 'm' in most is not among the inputs'")


def test_own_symbols_of_a_loop_are_new_names():
    text = GROW.replace(
        "row: f32[]) -> (i32[], f32[u0], f32[u0])", "row: f32[], z: f32[k0]) -> (i32[], f32[u0], f32[u0])"
    )
    refuse(text, "symbols", "the extent 'k0' of the carried values of 'more' is a name of the graph around it")


def test_sub_graphs_are_closed():
    graph = parse(CHOOSE)
    (switch,) = graph.nodes
    _, yes = switch.attributes["branches"]
    yes.nodes[1].inputs = (graph.inputs[2], yes.nodes[1].inputs[1])
    with pytest.raises(
        VerifyError, match=re.escape("a value used of another graph; make it an operand of the switch node")
    ):
        verify(graph)


VARIABLE = """graph f(p: b1[], w: var f32[4]) -> (f32[4]) {
  %0: f32[4] = switch p, w {
    branches = (graph no(w: var f32[4]) -> (f32[4]) {
      %0: f32[4] = read_variable w
      return %0
    }, graph yes(w: var f32[4]) -> (f32[4]) {
      %0: f32[4] = read_variable w
      assign_variable w, %0
      return %0
    })
  }
  return %0
}"""


def test_variables():
    graph = parse(VARIABLE)
    verify(graph)
    assert not graph.nodes[0].is_pure and has_side_effect(graph.nodes[0]) and not may_fail(graph.nodes[0])
    box = [np.arange(4, dtype="f4")]
    assert interpret(graph, [np.array(True), box])[0].tolist() == [0, 1, 2, 3]
    refused(VARIABLE.replace("switch p, w", "switch p, p"), "branch 0 takes var f32[4] for operand 0 ('w'), got b1[]")
    carried = """graph f(w: var f32[4]) -> (f32[4]) {
      %0: f32[4] = while w {
        condition = graph more(w: var f32[4]) -> (b1[]) {
          %0: b1[] = constant {value=b1 False}
          return %0
        },
        body = graph step(w: var f32[4]) -> (var f32[4]) {
          return w
        },
        carried = 1
      }
      return %0
    }"""
    refused(carried, "while: a variable cannot be a carried value; pass it after them")
    refuse(VARIABLE.replace("assign_variable w, %0", "%1: f32[4] = exp w"), "variables", "read it first")


def test_walks_see_run_time_extents():
    graph = parse(GROW)
    loop, use = graph.nodes[1], graph.nodes[2]
    assert loop.extents == ("u0",) and graph.extents == ("u0",) and graph.symbols == ("n",)
    assert definitions(graph.nodes) == {"u0": loop}
    assert symbols_used(use) == {"u0"} and symbols_used(loop) == {"u0", "k0", "n"}
    late = parse(GROW.replace("exp %2", "broadcast_to row {shape=(u0,)}"))
    assert ordering_edges(late.nodes)[2] == [1]
    assert topological_sort(late.nodes, priority=lambda node: -late.nodes.index(node))[-1] is late.nodes[2]
    assert not may_fail(loop) and loop.is_pure and not has_side_effect(loop)
