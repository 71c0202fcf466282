"""Constant folding: text in, text out."""

# ruff: noqa: E501 (the texts of graphs are one line a node)
from __future__ import annotations

import numpy as np
import pytest

from graphflow.errors import CompileError, DivisionByZeroError, UnimplementedError
from graphflow.ir import parse
from graphflow.passes.fold_constants import fold_constants
from graphflow.passes.manager import PassContext, run_pipeline
from graphflow.passes.remove_dead import remove_dead


def clean(graph, context):
    return remove_dead(fold_constants(graph, context), context)


TWO = "%0: f32[] = constant {value=f32 2.0}\n"
LINE = "%0: f32[3] = constant {value=f32 [1.0, 4.0, 9.0]}\n"

CASES = {
    "a scalar": ("", TWO + "%1: f32[] = sqrt %0\nreturn %1", "%0: f32[] = constant {value=f32 1.4142135}\nreturn %0"),
    "a chain": (
        "", TWO + "%1: f32[] = multiply %0, %0\n%2: f32[] = negative %1\nreturn %2", "%0: f32[] = constant {value=f32 -4.0}\nreturn %0"),
    "elements": ("", LINE + "%1: f32[3] = sqrt %0\nreturn %1", "%0: f32[3] = constant {value=f32 [1.0, 2.0, 3.0]}\nreturn %0"),
    "a reduction": (
        "", LINE + "%1: f32[] = reduce_sum %0 {axes=(0,), keepdims=False}\nreturn %1", "%0: f32[] = constant {value=f32 14.0}\nreturn %0"),
    "a transpose": (
        "", "%0: i32[1,2] = constant {value=i32 [[1, 2]]}\n%1: i32[2,1] = transpose %0 {permutation=(1, 0)}\nreturn %1",
        "%0: i32[2,1] = constant {value=i32 [[1], [2]]}\nreturn %0"),
    "a comparison": ("", TWO + "%1: b1[] = less %0, %0\nreturn %1", "%0: b1[] = constant {value=b1 False}\nreturn %0"),
    "part of a graph": (
        "x: f32[n]", TWO + "%1: f32[] = square %0\n%2: f32[n] = multiply x, %1\nreturn %2",
        "%0: f32[] = constant {value=f32 4.0}\n%1: f32[n] = multiply x, %0\nreturn %1"),
    "not what depends on inputs": ("x: f32[]", TWO + "%1: f32[] = add x, %0\nreturn %1", None),
    "a broadcast stays small": (
        "", TWO + "%1: f32[1000,1000] = broadcast_to %0 {shape=(1000, 1000)}\nreturn %1", None),
    "pointwise on a broadcast stays small": (
        "", TWO + "%1: f32[1000,1000] = broadcast_to %0 {shape=(1000, 1000)}\n%2: f32[1000,1000] = square %1\nreturn %2",
        "%0: f32[] = constant {value=f32 4.0}\n%1: f32[1000,1000] = broadcast_to %0 {shape=(1000, 1000)}\nreturn %1"),
    "pointwise on symbolic broadcasts": (
        "x: f32[n]", TWO + "%1: f32[n] = broadcast_to %0 {shape=(n,)}\n%2: f32[n] = add %1, %0\nreturn %2",
        "%0: f32[] = constant {value=f32 4.0}\n%1: f32[n] = broadcast_to %0 {shape=(n,)}\nreturn %1"),
    "a view of a repeated number": (
        "", TWO + "%1: f32[2,3] = broadcast_to %0 {shape=(2, 3)}\n%2: f32[3,2] = transpose %1 {permutation=(1, 0)}\nreturn %2",
        "%0: f32[] = constant {value=f32 2.0}\n%1: f32[3,2] = broadcast_to %0 {shape=(3, 2)}\nreturn %1"),
    "a view of a broadcast line stays": (
        "", LINE + "%1: f32[2,3] = broadcast_to %0 {shape=(2, 3)}\n%2: f32[3,2] = transpose %1 {permutation=(1, 0)}\nreturn %2", None),
    "what reads a broadcast": (
        "", LINE + "%1: f32[2,3] = broadcast_to %0 {shape=(2, 3)}\n%2: f32[] = reduce_sum %1 {axes=(0, 1), keepdims=False}\nreturn %2",
        "%0: f32[] = constant {value=f32 28.0}\nreturn %0"),
    "iota stays": (
        "", "%0: i32[5] = iota {shape=(5,), axis=0}\n%1: i32[5] = add %0, %0\nreturn %1", None),
    "an integer division": (
        "", "%0: i32[] = constant {value=i32 7}\n%1: i32[] = constant {value=i32 -2}\n%2: i32[] = floordiv %0, %1\nreturn %2",
        "%0: i32[] = constant {value=i32 -4}\nreturn %0"),
    "a failing division": (
        "", "%0: i32[] = constant {value=i32 7}\n%1: i32[] = constant {value=i32 0}\n%2: i32[] = floordiv %0, %1\nreturn %2", None),
    "effects stay": ("", TWO + "print %0 {template=\"{}\"}\nreturn", None),
    "an empty result": (
        "", "%0: f32[0] = constant {value=base64(f32[0], \"\")}\n%1: f32[0] = exp %0\nreturn %1",
        "%0: f32[0] = constant {value=base64(f32[0], \"\")}\nreturn %0"),
    "a device": (
        "", "%0: f32[] = constant {value=f32 2.0}\n%1: f32[]@GPU:0 = copy %0 {device=\"GPU:0\"}\n%2: f32[]@GPU:0 = exp %1\nreturn %2", None),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_fold(check, case):
    inputs, before, after = CASES[case]
    check(clean, inputs, before, after)


def test_limit(check):
    check(clean, "", LINE + "%1: f32[3] = sqrt %0\nreturn %1", None, fold_limit=2)
    check(clean, "", LINE + "%1: f32[3] = sqrt %0\nreturn %1", None, fold_limit=0)


def test_many_operand_elements_stay(check):
    text = """%0: f32[2000,2000] = broadcast_to x {shape=(2000, 2000)}
%1: f32[] = reduce_sum %0 {axes=(0, 1), keepdims=False}
return %1"""
    check(clean, "", "%2: f32[2] = constant {value=f32 [1.0, 2.0]}\n" + text.replace("x {", "%2 {").replace("[2000,2000]", "[600000,2]")
          .replace("(2000, 2000)", "(600000, 2)"), None)  # fmt: skip


def test_without_evaluate_nothing_is_folded(graph_of):
    graph = graph_of("", TWO + "%1: f32[] = sqrt %0\nreturn %1")
    assert fold_constants(graph, PassContext()) is graph


def test_fuel(graph_of, evaluate_node):
    graph = graph_of("", TWO + "%1: f32[] = sqrt %0\n%2: f32[] = sqrt %1\nreturn %2")
    assert [n.op.name for n in fold_constants(graph, PassContext(evaluate_node, fuel=1)).nodes] == [
        "constant",
        "constant",
        "sqrt",
    ]
    assert fold_constants(graph, PassContext(evaluate_node, fuel=0)) is graph


def failing(error):
    def evaluate(node, arrays):
        raise error

    return evaluate


def test_a_failing_node_is_remarked(graph_of):
    text = "%0: i32[] = constant {value=i32 7}\n%1: i32[] = floordiv %0, %0\nreturn %1"
    context = PassContext(failing(DivisionByZeroError("divided by zero")))
    graph = graph_of("", text)
    assert fold_constants(graph, context) is graph
    [remark] = context.remarks
    assert (
        remark.category == "not folded"
        and "floordiv fails: divided by zero" in str(remark)
        and "<text>:3" in str(remark)
    )


def test_a_node_without_kernel_is_remarked(graph_of):
    context = PassContext(failing(UnimplementedError("no kernel yet")))
    graph = graph_of("", TWO + "%1: f32[] = sqrt %0\nreturn %1")
    assert fold_constants(graph, context) is graph
    assert context.remarks[0].message.startswith("sqrt: no kernel yet")


@pytest.mark.parametrize("error", [ZeroDivisionError("broken"), RuntimeError("broken")])
def test_other_errors_are_the_compilers(graph_of, error):
    graph = graph_of("", TWO + "%1: f32[] = sqrt %0\nreturn %1")
    with pytest.raises(CompileError, match=r"the pass fold_constants failed on graph 'f': .*broken") as caught:
        run_pipeline(graph, [fold_constants], PassContext(failing(error)))
    assert caught.value.__cause__ is error


def test_evaluate_must_give_the_declared_type(graph_of):
    graph = graph_of("", LINE + "%1: f32[3] = sqrt %0\nreturn %1")
    with pytest.raises(CompileError, match=r"evaluating sqrt gave float64\[2\], its type is f32\[3\]"):
        fold_constants(graph, PassContext(lambda node, arrays: [np.zeros(2)]))


def test_constants_are_read_only_and_keep_the_line(graph_of, evaluate_node):
    graph = parse("""graph f() -> (f32[]) {
      %0: f32[] = constant {value=f32 2.0}  # a.py:1:0  2.0
      %1: f32[] = exp %0                    # a.py:2:0  exp(two)
      return %1
    }""")
    result = clean(graph, PassContext(evaluate_node))
    assert str(result.nodes[0].source) == "a.py:2   exp(two)"
    assert not result.nodes[0].attributes["value"].flags.writeable
