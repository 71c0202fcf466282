"""Reads and writes of variables, text in and text out: reads first, one write for each variable last."""

from __future__ import annotations

import numpy as np
import pytest

from graphflow.ir import print_graph
from graphflow.ir.op import OPS, Effect, define_op
from graphflow.passes.forward_state import forward_state
from graphflow.passes.manager import PassContext, run_pipeline

W, VW = "x: f32[4], w: var f32[4]", "v: var f32[4], w: var f32[4]"

CASES = {
    "read after write": (
        W, "assign_variable w, x\n%0: f32[4] = read_variable w\n%1: f32[4] = exp %0\nreturn %1",
        "%0: f32[4] = exp x\nassign_variable w, x\nreturn %0"),
    "read before and after write": (
        W, "%0: f32[4] = read_variable w\n%1: f32[4] = add %0, x\nassign_variable w, %1\n"
        "%2: f32[4] = read_variable w\nreturn %0, %2",
        "%0: f32[4] = read_variable w\n%1: f32[4] = add %0, x\nassign_variable w, %1\nreturn %0, %1"),
    "overwritten write": (
        W, "%0: f32[4] = exp x\nassign_variable w, %0\n%1: f32[4] = negative x\nassign_variable w, %1\nreturn %0",
        "%0: f32[4] = exp x\n%1: f32[4] = negative x\nassign_variable w, %1\nreturn %0"),
    "reads are one, and first": (
        W, "%0: f32[4] = exp x\n%1: f32[4] = read_variable w\n%2: f32[4] = read_variable w\n"
        "%3: f32[4] = add %1, %2\nreturn %0, %3",
        "%0: f32[4] = read_variable w\n%1: f32[4] = exp x\n%2: f32[4] = add %0, %0\nreturn %1, %2"),
    "swap": (
        VW, "%0: f32[4] = read_variable v\n%1: f32[4] = read_variable w\nassign_variable v, %1\n"
        "assign_variable w, %0\nreturn",
        "%0: f32[4] = read_variable v\n%1: f32[4] = read_variable w\nassign_variable v, %1\nassign_variable w, %0\n"
        "return"),
    "copied through another variable": (
        VW, "%0: f32[4] = read_variable v\nassign_variable w, %0\n%1: f32[4] = read_variable w\n%2: f32[4] = exp %1\n"
            "assign_variable v, %2\nreturn %1",
        "%0: f32[4] = read_variable v\n%1: f32[4] = exp %0\nassign_variable w, %0\nassign_variable v, %1\nreturn %0"),
    "increments add up": (
        W, "%0: f32[4] = read_variable w\n%1: f32[4] = add %0, x\nassign_variable w, %1\n%2: f32[4] = read_variable w\n"
           "%3: f32[4] = add %2, x\nassign_variable w, %3\nreturn",
        "%0: f32[4] = read_variable w\n%1: f32[4] = add %0, x\n%2: f32[4] = add %1, x\nassign_variable w, %2\nreturn"),
    "print keeps its place among effects": (
        W, 'assign_variable w, x\n%0: f32[4] = read_variable w\nprint %0 {template="{}"}\nreturn',
        'print x {template="{}"}\nassign_variable w, x\nreturn'),
    "assertion before the write": (
        "c: b1[], x: f32[4], w: var f32[4]", 'assign_variable w, x\nassert_true c {message="no"}\nreturn',
        'assert_true c {message="no"}\nassign_variable w, x\nreturn'),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_rewrite(graph_of, case):
    inputs, before, after = CASES[case]
    result, _ = run_pipeline(graph_of(inputs, before), [forward_state], PassContext(), verify=True)
    assert print_graph(result, sources=False) == print_graph(graph_of(inputs, after), sources=False)


@pytest.mark.parametrize("case", [c for c in CASES if "print" not in c and "assert" not in c])
def test_same_values(graph_of, run_graph, same_bits, case):
    inputs, before, _ = CASES[case]
    graph = graph_of(inputs, before)
    result, _ = run_pipeline(graph, [forward_state], PassContext(), verify=True)
    arrays = [np.arange(4, dtype=np.float32) + 10 * k for k in range(len(graph.inputs))]
    wanted, found = run_graph(graph, arrays), run_graph(result, arrays)
    same_bits(wanted[0], found[0])
    same_bits(wanted[1], found[1])


# Calls of Python, branches and loops ----------------------------------------------------------------------------------


@pytest.fixture
def call():
    define_op("t_call", "*values", infer=lambda types: (), kernel=Effect("call"), no_gradient="a toy")
    yield
    del OPS["t_call"]


def test_nothing_moves_across_a_call_of_python(call, check_control):
    check_control(
        forward_state,
        """x: f32[4], w: var f32[4]
        %0: f32[4] = exp x
        assign_variable w, x
        assign_variable w, %0
        %1: f32[4] = read_variable w
        t_call %1
        %2: f32[4] = negative x
        %3: f32[4] = read_variable w
        assign_variable w, %2
        %4: f32[4] = read_variable w
        t_call
        %5: f32[4] = read_variable w
        return %3, %2, %5""",
        """x: f32[4], w: var f32[4]
        %0: f32[4] = exp x
        assign_variable w, %0
        t_call %0
        %1: f32[4] = read_variable w
        %2: f32[4] = negative x
        assign_variable w, %2
        t_call
        %3: f32[4] = read_variable w
        return %1, %2, %3""",
    )


SWITCH = """switch p, x{0} {{
          branches = (graph a(x: f32[4]{1}) -> () {{
            return
          }}, graph b(x: f32[4]{1}) -> () {{
            {2}
            return
          }})
        }}"""


@pytest.mark.parametrize(
    ("operands", "inputs", "inside"),
    [
        ("", "", "t_call"),
        (", w", ", w: var f32[4]", "assign_variable w, x"),
        (", w", ", w: var f32[4]", "%0: f32[4] = read_variable w\n            print %0 {template=\"{}\"}"),
    ],
)  # fmt: skip
def test_nothing_moves_across_a_branch_that_may_touch_variables(call, check_control, operands, inputs, inside):
    text = """p: b1[], x: f32[4], w: var f32[4]
        assign_variable w, x
        {}
        %0: f32[4] = read_variable w
        return %0"""
    node = SWITCH.format(operands, inputs, inside)
    check_control(forward_state, text.format(node), text.format(node))


def test_a_branch_that_only_prints_is_no_obstacle(check_control):
    text = """p: b1[], x: f32[4], w: var f32[4]
        {}
        return {}"""
    node = SWITCH.format("", "", 'print x {template="{}"}')
    check_control(
        forward_state,
        text.format(f"assign_variable w, x\n        {node}\n        %0: f32[4] = read_variable w", "%0"),
        text.format(f"{node}\n        assign_variable w, x", "x"),
    )


def test_inside_a_branch(call, check_control):
    text = """p: b1[], x: f32[4], w: var f32[4]
        {}
        return"""
    before = """%0: f32[4] = exp x
            assign_variable w, x
            assign_variable w, %0
            %1: f32[4] = read_variable w
            t_call %1
            %2: f32[4] = read_variable w
            t_call %2"""
    after = """%0: f32[4] = exp x
            assign_variable w, %0
            t_call %0
            %2: f32[4] = read_variable w
            t_call %2"""
    operands = (", w", ", w: var f32[4]")
    check_control(
        forward_state, text.format(SWITCH.format(*operands, before)), text.format(SWITCH.format(*operands, after))
    )
