"""Loops and branches that larger ones compute too."""

from __future__ import annotations

import numpy as np
import pytest

from graphflow.passes.merge_loops import merge_loops

X = np.array([1.5, -2.0], "f4")
RUNS = [[X, np.array(k, "i4")] for k in (0, 3)]

SMALL = """%1: i32[], %2: f32[n] = while %0, x, count {
          condition = graph more(k: i32[], y: f32[n], count: i32[]) -> (b1[]) {
            %0: b1[] = less k, count
            return %0
          },
          body = graph step(k: i32[], y: f32[n], count: i32[]) -> (i32[], f32[n]) {
            %0: i32[] = constant {value=i32 1}
            %1: i32[] = add k, %0
            %2: f32[n] = sin y
            return %1, %2
          }, carried = 2
        }"""
#: the same step, in another order, under other names, and a stack of the values it met
LARGE = """%3: i32[], %4: f32[u0,n], %5: f32[n] = while %0, %9, x, count {
          condition = graph more(a: i32[], s: f32[k0,n], b: f32[n], last: i32[]) -> (b1[]) {
            %0: b1[] = less a, last
            return %0
          },
          body = graph step(a: i32[], s: f32[k0,n], b: f32[n], last: i32[]) -> (i32[], f32[k0+1,n], f32[n]) {
            %0: f32[n] = sin b
            %1: f32[k0+1,n] = append_row s, b
            %2: i32[] = constant {value=i32 1}
            %3: i32[] = add a, %2
            return %3, %1, %0
          }, carried = 3, extents = ("u0",)
        }"""
STACK = "%9: f32[0,n] = strided_slice %8 {begin=(0, 0), sizes=(0, n), strides=(1, 1)}"
HEAD = """x: f32[n], count: i32[]
        %0: i32[] = constant {value=i32 0}"""
ROWS = "%8: f32[1,n] = reshape x {shape=(1, n)}"


def text(*lines):
    return "\n".join([HEAD, *(f"        {line}" for line in lines)])


def test_the_larger_loop_stands_for_the_smaller(check_control):
    before = text(
        SMALL,
        "%6: f32[n] = exp %2",
        ROWS,
        STACK,
        LARGE,
        "%7: f32[] = reduce_sum %4 {axes=(0, 1)}",
        "return %6, %5, %7, %1",
    )
    after = text(
        ROWS, STACK, LARGE, "%6: f32[n] = exp %5", "%7: f32[] = reduce_sum %4 {axes=(0, 1)}", "return %6, %5, %7, %3"
    )
    check_control(merge_loops, before, after, *RUNS)
    check_control(merge_loops, before, None, *RUNS, fuel=0)
    swapped = text(
        ROWS,
        STACK,
        LARGE,
        SMALL,
        "%6: f32[n] = exp %2",
        "%7: f32[] = reduce_sum %4 {axes=(0, 1)}",
        "return %6, %5, %7, %1",
    )
    check_control(merge_loops, swapped, after, *RUNS)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sin b", "cos b"),
        ("less a, last", "less_equal a, last"),
        ("value=i32 1", "value=i32 2"),
        ("while %0, %9, x, count", "while %0, %9, %7, count"),
        ("while %0, %9, x, count", "while %0, %9, x, %6"),
        ("sin b", "sin b\n            print a {template=\"{}\"}"),
        ("while %0, %9, x, count", "while %1, %9, x, count"),
    ],
)  # fmt: skip
def test_what_counts(check_control, old, new):
    assert old in LARGE
    before = text(
        SMALL, "%7: f32[n] = negative x", "%6: i32[] = negative count", ROWS, STACK, LARGE.replace(old, new),
        "%10: f32[n] = add %5, %7", "%11: i32[] = add %3, %6", "%12: f32[] = reduce_sum %4 {axes=(0, 1)}", "return %10, %2, %12, %11, %1",
    )  # fmt: skip
    check_control(merge_loops, before, None, *RUNS)


def test_an_effect_between_them(check_control):
    """The larger loop needs what a read after the effect gives, and the effect prints what the smaller one gives."""
    before = text(
        SMALL, 'assign_variable w, %2', "%8: f32[1,n] = read_variable v", STACK, LARGE,
        "%7: f32[] = reduce_sum %4 {axes=(0, 1)}", "return %2, %5, %7",
    ).replace("count: i32[]\n", "count: i32[], w: var f32[n], v: var f32[1,n]\n", 1)  # fmt: skip
    runs = [[*run, np.zeros(2, "f4"), np.ones((1, 2), "f4")] for run in RUNS]
    free = before.replace("assign_variable w, %2", "assign_variable w, x")
    check_control(merge_loops, before.replace("read_variable v", "read_variable w").replace("var f32[n]", "var f32[1,n]")
                  .replace("assign_variable w, %2", "%10: f32[1,n] = reshape %2 {shape=(1, n)}\n        assign_variable w, %10"), None,
                  *[[*run, np.zeros((1, 2), "f4"), np.ones((1, 2), "f4")] for run in RUNS])  # fmt: skip
    after = text(
        "assign_variable w, x", "%8: f32[1,n] = read_variable v", STACK, LARGE, "%7: f32[] = reduce_sum %4 {axes=(0, 1)}",
        "return %5, %5, %7",
    ).replace("count: i32[]\n", "count: i32[], w: var f32[n], v: var f32[1,n]\n", 1)  # fmt: skip
    check_control(merge_loops, free, after, *runs)


def test_a_check_of_the_smaller_loop_stays(check_control):
    small = SMALL.replace("%2: f32[n] = sin y", "%2: f32[n] = sin y\n            %3: f32[] = gather y, k {axis=0}")
    end = ("%7: f32[] = reduce_sum %4 {axes=(0, 1)}", "return %2, %5, %7")
    check_control(merge_loops, text(small, ROWS, STACK, LARGE, *end), None, [X, np.array(2, "i4")])
    large = LARGE.replace("sin b", "sin b\n            %7: f32[] = gather b, a {axis=0}")
    check_control(merge_loops, text(small, ROWS, STACK, large, *end), None, [X, np.array(2, "i4")])


GROW = """%1: i32[], %2: f32[u1] = while %0, x, count {
          condition = graph more(k: i32[], y: f32[m0], count: i32[]) -> (b1[]) {
            %0: b1[] = less k, count
            return %0
          },
          body = graph step(k: i32[], y: f32[m0], count: i32[]) -> (i32[], f32[m0+1]) {
            %0: i32[] = constant {value=i32 1}
            %1: i32[] = add k, %0
            %2: f32[] = cast k {dtype=f32}
            %3: f32[m0] = broadcast_to %2 {shape=(m0,)}
            %4: f32[m0] = add y, %3
            %5: f32[m0+1] = append_row %4, %2
            return %1, %5
          }, carried = 2, extents = ("u1",)
        }"""
GROW_MORE = """%3: i32[], %4: f32[u2], %5: f32[] = while %0, x, %10, count {
          condition = graph more(k: i32[], y: f32[k0], s: f32[], count: i32[]) -> (b1[]) {
            %0: b1[] = less k, count
            return %0
          },
          body = graph step(k: i32[], y: f32[k0], s: f32[], count: i32[]) -> (i32[], f32[k0+1], f32[]) {
            %2: f32[] = cast k {dtype=f32}
            %3: f32[k0] = broadcast_to %2 {shape=(k0,)}
            %4: f32[k0] = add y, %3
            %5: f32[k0+1] = append_row %4, %2
            %6: f32[] = reduce_sum %4 {axes=(0,)}
            %7: f32[] = add %6, s
            %0: i32[] = constant {value=i32 1}
            %1: i32[] = add k, %0
            return %1, %5, %7
          }, carried = 3, extents = ("u2",)
        }"""


def test_extents_of_the_smaller_loop_become_the_larger_ones(check_control):
    start, use = "%10: f32[] = reduce_max x {axes=(0,)}", "%6: i32[{u}] = iota {{shape=({u},), axis=0}}"
    more = ("%7: i32[] = reduce_sum %6 {axes=(0,)}", "%8: f32[] = reduce_sum %{} {{axes=(0,)}}")
    before = text(GROW, use.format(u="u1"), more[0], more[1].format(2), start, GROW_MORE, "return %7, %8, %5, %3")
    after = text(start, GROW_MORE, use.format(u="u2"), more[0], more[1].format(4), "return %7, %8, %5, %3")
    check_control(merge_loops, before, after, *RUNS)
    check_control(
        merge_loops, text(GROW, start, GROW_MORE, "return %2, %5"), text(start, GROW_MORE, "return %4, %5"), *RUNS
    )


def test_a_switch(check_control):
    small = """%0: f32[n] = switch p, x {
          branches = (graph a(x: f32[n]) -> (f32[n]) {
            %0: f32[n] = exp x
            return %0
          }, graph b(x: f32[n]) -> (f32[n]) {
            return x
          })
        }"""
    large = """%1: f32[n], %2: f32[n] = switch p, y, x {
          branches = (graph a(y: f32[n], x: f32[n]) -> (f32[n], f32[n]) {
            %0: f32[n] = exp x
            %1: f32[n] = add y, %0
            return %1, %0
          }, graph b(y: f32[n], x: f32[n]) -> (f32[n], f32[n]) {
            return y, x
          })
        }"""
    head = "p: b1[], x: f32[n], y: f32[n]\n        "
    runs = [[np.array(p), X, 3 * X] for p in (False, True)]
    before = f"{head}{small}\n        %3: f32[n] = sin %0\n        {large}\n        return %3, %1, %2"
    after = f"{head}{large}\n        %3: f32[n] = sin %2\n        return %3, %1, %2"
    check_control(merge_loops, before, after, *runs)
    check_control(merge_loops, before.replace("return y, x", "return y, y"), None, *runs)
    check_control(
        merge_loops, before.replace("switch p, y, x", "switch q, y, x").replace("p: b1[],", "p: b1[], q: b1[],"), None
    )
