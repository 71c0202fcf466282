"""Invariants of loops: what goes before the loop, and what has to stay."""

from __future__ import annotations

import numpy as np
import pytest

from graphflow.passes.hoist_invariants import hoist_invariants

W, X = np.array([[1.0, 2.0], [0.5, -1.0]], "f4"), np.array([1.5, -2.0], "f4")
KNOWN = (
    "%0: i32[] = constant {value=i32 3}\n            %1: b1[] = less k, %0\n            return %1",
    "%0: b1[] = less k, count\n            return %0",
)


def loop(step, runs=True, extra="", result="%9"):
    """A loop over a carried y; w, v and count stay the same. runs: is it known to run?"""
    return f"""x: f32[2], w: f32[2,2], v: f32[2], count: i32[]
        %0: i32[] = constant {{value=i32 0}}{extra}
        %1: i32[], %2: f32[2] = while %0, x, w, v, count {{
          condition = graph more(k: i32[], y: f32[2], w: f32[2,2], v: f32[2], count: i32[]) -> (b1[]) {{
            {KNOWN[0 if runs else 1]}
          }},
          body = graph step(k: i32[], y: f32[2], w: f32[2,2], v: f32[2], count: i32[]) -> (i32[], f32[2]) {{
            {step}
            %7: i32[] = constant {{value=i32 1}}
            %8: i32[] = add k, %7
            return %8, {result}
          }}, carried = 2
        }}
        return %1, %2"""


def after(outside, step, name, passed, type, runs=True, result="%9"):
    """The same with lines before the loop, and one more operand."""
    text = loop(step, runs, extra="".join(f"\n        {line}" for line in outside), result=result)
    text = text.replace("x, w, v, count {", f"x, w, v, count, {passed} {{")
    return text.replace("v: f32[2], count: i32[]) ->", f"v: f32[2], count: i32[], {name}: {type}) ->")


RUNS = [[X, W, 2 * X, np.array(k, "i4")] for k in (0, 2)]
MATMUL = "%3: f32[2,2] = matmul w, w"
USE = "%4: f32[2,2] = multiply {}, y\n            %9: f32[2] = reduce_sum %4 {{axes=(0,)}}"


def test_a_product(check_control):
    before = loop(f"{MATMUL}\n            {USE.format('%3')}")
    expected = after(["%3: f32[2,2] = matmul w, w"], USE.format("matmul"), "matmul", "%3", "f32[2,2]")
    check_control(hoist_invariants, before, expected, *RUNS)
    check_control(hoist_invariants, before, None, *RUNS, fuel=0)


def test_a_product_stays_where_the_loop_may_not_run(check_control):
    check_control(hoist_invariants, loop(f"{MATMUL}\n            {USE.format('%3')}", runs=False), None, *RUNS)


@pytest.mark.parametrize("runs", [True, False])
def test_little_work_goes_anyway_with_what_it_needs(check_control, runs):
    """The views go along; the sum after them is cheap and stays."""
    step = """%3: f32[2,2] = transpose w {permutation=(1, 0)}
            %4: f32[2,2] = exp %3
            %5: f32[2] = reduce_sum %4 {axes=(0,)}
            %6: f32[2] = add %5, v
            %9: f32[2] = add %6, y"""
    outside = [
        "%3: f32[2,2] = transpose w {permutation=(1, 0)}",
        "%4: f32[2,2] = exp %3",
        "%5: f32[2] = reduce_sum %4 {axes=(0,)}",
    ]
    inside = "%6: f32[2] = add reduce_sum, v\n            %9: f32[2] = add %6, y"
    check_control(hoist_invariants, loop(step, runs), after(outside, inside, "reduce_sum", "%5", "f32[2]", runs), *RUNS)


def test_what_the_loop_needs_too_is_there_twice(check_control):
    """A constant goes along, but it is no operand."""
    first = "%3: f32[] = constant {value=f32 2.0}"
    step = f"""{first}
            %4: f32[2] = multiply v, %3
            %5: f32[2] = exp %4
            %6: f32[2] = multiply y, %3
            %9: f32[2] = add %6, %5"""
    inside = f"{first}\n            %6: f32[2] = multiply y, %3\n            %9: f32[2] = add %6, exp"
    outside = [first, "%4: f32[2] = multiply v, %3", "%5: f32[2] = exp %4"]
    check_control(hoist_invariants, loop(step), after(outside, inside, "exp", "%5", "f32[2]"), *RUNS)


@pytest.mark.parametrize(
    "step",
    [
        "%3: f32[2] = add v, v\n            %9: f32[2] = add %3, y",  # cheap
        "%3: f32[2,2] = transpose w {permutation=(1, 0)}\n            " + USE.format("%3"),  # a view
        "%3: f32[2] = exp y\n            %9: f32[2] = add %3, y",  # changes
        "%3: f32[2] = gather w, count {axis=0}\n            %9: f32[2] = add %3, y",  # can fail
        "%3: f32[2] = exp v\n            print %3 {template=\"{}\"}\n            %4: f32[2] = sin y\n            %9: f32[2] = add %4, y"
        .replace("exp v", "add v, v"),
    ],
)  # fmt: skip
def test_what_stays(check_control, step):
    check_control(hoist_invariants, loop(step), None, [X, W, 2 * X, np.array(1, "i4")])


def test_what_depends_on_an_extent_that_changes_stays(check_control):
    before = """x: f32[n], c: f32[], count: i32[]
        %0: i32[] = constant {value=i32 0}
        %1: i32[], %2: f32[u0] = while %0, x, c, count {
          condition = graph more(k: i32[], y: f32[k0], c: f32[], count: i32[]) -> (b1[]) {
            %0: i32[] = constant {value=i32 2}
            %1: b1[] = less k, %0
            return %1
          },
          body = graph step(k: i32[], y: f32[k0], c: f32[], count: i32[]) -> (i32[], f32[k0+1]) {
            %0: f32[k0] = broadcast_to c {shape=(k0,)}
            %1: f32[k0] = exp %0
            %2: f32[] = reduce_sum %1 {axes=(0,)}
            %3: f32[k0+1] = append_row y, %2
            %4: i32[] = constant {value=i32 1}
            %5: i32[] = add k, %4
            return %5, %3
          }, carried = 2, extents = ("u0",)
        }
        return %2"""
    check_control(hoist_invariants, before, None, [X, np.array(0.5, "f4"), np.array(1, "i4")])


def test_the_condition_runs_at_least_once(check_control):
    condition = """%0: f32[2,2] = matmul w, w
            %1: f32[] = reduce_sum %0 {axes=(0, 1)}
            %2: f32[] = reduce_sum y {axes=(0,)}
            %3: b1[] = less %2, %1
            return %3"""
    outside = ["%3: f32[2,2] = matmul w, w", "%4: f32[] = reduce_sum %3 {axes=(0, 1)}"]
    inside = """%2: f32[] = reduce_sum y {axes=(0,)}
            %3: b1[] = less %2, reduce_sum
            return %3"""
    step = "%3: f32[2] = constant {value=f32 [2.0, 2.0]}\n            %9: f32[2] = add y, %3"
    before = loop(step, runs=False).replace(KNOWN[1], condition)
    expected = after(outside, step, "reduce_sum", "%4", "f32[]", runs=False).replace(KNOWN[1], inside)
    check_control(hoist_invariants, before, expected, *RUNS)


def test_out_of_two_loops(check_control):
    """The inner loop's invariant is one of the outer loop too."""
    inner = """%0: f32[2] = while y, w {{
              condition = graph more(y: f32[2], w: f32[2,2]{2}) -> (b1[]) {{
                %0: f32[] = constant {{value=f32 9.0}}
                %1: f32[] = reduce_max y {{axes=(0,)}}
                %2: b1[] = less %1, %0
                return %2
              }},
              body = graph step(y: f32[2], w: f32[2,2]{2}) -> (f32[2]) {{
                {0}
                %1: f32[2] = reduce_max {1} {{axes=(0,)}}
                %2: f32[] = constant {{value=f32 1.0}}
                %3: f32[2] = add %1, %2
                %4: f32[2] = add %3, y
                return %4
              }}, carried = 1
            }}
            %9: f32[2] = negative %0"""
    before = loop(inner.format("%0: f32[2,2] = exp w", "%0", ""))
    step = (
        inner.format("", "", "")
        .replace("while y, w {", "while y, w, reduce_max {")
        .replace("w: f32[2,2])", "w: f32[2,2], reduce_max: f32[2])")
    )
    step = step.replace("%1: f32[2] = reduce_max  {axes=(0,)}\n", "").replace("add %1, %2", "add reduce_max, %2")
    outside = ["%3: f32[2,2] = exp w", "%4: f32[2] = reduce_max %3 {axes=(0,)}"]
    expected = after(outside, step, "reduce_max", "%4", "f32[2]")
    check_control(hoist_invariants, before, expected, *RUNS)
