"""Sums with an array of one row: only where the array holds no -0.0."""

# ruff: noqa: E501 (the texts of graphs are one line a node)
from __future__ import annotations

import numpy as np
import pytest

from graphflow.passes.accumulate_rows import accumulate_rows

K = np.array(1, "i4")
ROW = np.array([1.0, -0.0], "f4")
INPUTS = "x: {t}[3,2], k: i32[], row: {t}[2]"
SUM = "%8: {t}[3,2] = scatter_add k, row {{shape=(3, 2)}}\n%9: {t}[3,2] = add {array}, %8\nreturn %9"
INTO = "%8: {t}[3,2] = scatter_add k, row {{shape=(3, 2)}}\n%9: {t}[3,2] = scatter_add_into {array}, k, row\nreturn %9"
X = np.array([[-0.0, 0.0], [np.nan, -np.inf], [-0.0, 2.0]], "f4")

SAFE = {
    "integers": ("i32", "", "x"),
    "zeros": ("f32", "%0: f32[] = constant {value=f32 0.0}\n%1: f32[3,2] = broadcast_to %0 {shape=(3, 2)}", "%1"),
    "an array of constants": ("f32", "%1: f32[3,2] = constant {value=f32 [[1.0, 0.0], [-1.0, 0.0], [nan, inf]]}", "%1"),
    "a sum with 0.0": ("f32", "%0: f32[] = constant {value=f32 0.0}\n%1: f32[3,2] = add x, %0", "%1"),
    "squares": ("f32", "%1: f32[3,2] = square x", "%1"),
    "a chosen one": ("f32", "%0: f32[3,2] = square x\n%1: f32[3,2] = exp x\n%2: b1[3,2] = is_nan x\n%3: f32[3,2] = select %2, %0, %1", "%3"),
    "from integers": ("f32", "%0: i32[3,2] = cast x {dtype=i32}\n%1: f32[3,2] = cast %0 {dtype=f32}", "%1"),
    "a row before": ("f32", "%0: f32[3,2] = square x\n%1: f32[3,2] = scatter_add_into %0, k, row", "%1"),
}  # fmt: skip
UNSAFE = {
    "anything": ("f32", "", "x"),
    "negated zeros": ("f32", "%1: f32[3,2] = constant {value=f32 [[1.0, -0.0], [-1.0, 0.0], [nan, inf]]}", "%1"),
    "a product of squares": ("f32", "%0: f32[3,2] = square x\n%1: f32[3,2] = multiply %0, x", "%1"),
    "a sum with -0.0": ("f32", "%0: f32[] = constant {value=f32 -0.0}\n%1: f32[3,2] = add x, %0", "%1"),
    "one of two": ("f32", "%0: f32[3,2] = square x\n%2: b1[3,2] = is_nan x\n%3: f32[3,2] = select %2, %0, x", "%3"),
}


def text(case, end):
    dtype, before, array = case
    inputs = INPUTS.format(t=dtype)
    return f"{inputs}\n{before}\n{end.format(t=dtype, array=array)}".replace("\n\n", "\n")


def runs(dtype):
    return [[X, K, ROW]] if dtype == "f32" else [[np.ones((3, 2), "i4"), K, np.array([5, 6], "i4")]]


@pytest.mark.parametrize("name", SAFE)
def test_safe(check_control, name):
    case = SAFE[name]
    check_control(accumulate_rows, text(case, SUM), text(case, INTO), *runs(case[0]))
    swapped = SUM.replace("add {array}, %8", "add %8, {array}")
    check_control(accumulate_rows, text(case, swapped), text(case, INTO), *runs(case[0]))
    check_control(accumulate_rows, text(case, SUM), None, *runs(case[0]), fuel=0)


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe(check_control, name):
    check_control(accumulate_rows, text(UNSAFE[name], SUM), None, *runs("f32"))


def test_several_rows_stay(check_control):
    before = """x: f32[3,2], k: i32[2], rows: f32[2,2]
        %0: f32[3,2] = square x
        %1: f32[3,2] = scatter_add k, rows {shape=(3, 2)}
        %2: f32[3,2] = add %0, %1
        return %2"""
    check_control(accumulate_rows, before, None, [X, np.array([1, 1], "i4"), X[:2]])


LOOP = """row: f32[2], count: i32[]
        %0: i32[] = constant {{value=i32 0}}
        %1: f32[] = constant {{value=f32 {0}}}
        %2: f32[3,2] = broadcast_to %1 {{shape=(3, 2)}}
        %3: i32[], %4: f32[3,2] = while %0, %2, row, count {{
          condition = graph more(k: i32[], sum: f32[3,2], row: f32[2], count: i32[]) -> (b1[]) {{
            %0: b1[] = less k, count
            return %0
          }},
          body = graph step(k: i32[], sum: f32[3,2], row: f32[2], count: i32[]) -> (i32[], f32[3,2]) {{
            %0: i32[] = constant {{value=i32 1}}
            %1: i32[] = add k, %0
            %2: f32[3,2] = scatter_add k, row {{shape=(3, 2)}}
            %3: f32[3,2] = {1}
            %4: f32[3,2] = {2}
            return %1, %4
          }}, carried = 2
        }}
        return %4"""


def test_a_sum_in_a_loop(check_control):
    run = [np.array([-0.0, 3.0], "f4"), np.array(2, "i4")]
    sums, into, same = "add sum, %2", "scatter_add_into sum, k, row", "reshape %3 {shape=(3, 2)}"
    check_control(accumulate_rows, LOOP.format("0.0", sums, same), LOOP.format("0.0", into, same), run)
    check_control(accumulate_rows, LOOP.format("-0.0", sums, same), None, run)  # it begins at -0.0
    check_control(accumulate_rows, LOOP.format("0.0", sums, "negative %3"), None, run)  # an iteration brings one
