"""The simple passes in branches and bodies, and around run-time extents."""

# ruff: noqa: E501 (the texts of graphs are one line a node)
from __future__ import annotations

import numpy as np
import pytest

from graphflow.passes.canonicalise import canonicalise
from graphflow.passes.fold_constants import fold_constants
from graphflow.passes.merge_common import merge_common
from graphflow.passes.remove_dead import remove_dead

X, COUNT = np.array([1.5, -2.0], "f4"), np.array(3, "i4")


def loop(step, result="%9"):
    return f"""x: f32[n], count: i32[]
        %0: i32[] = constant {{value=i32 0}}
        %1: i32[], %2: f32[n] = while %0, x, count {{
          condition = graph more(k: i32[], y: f32[n], count: i32[]) -> (b1[]) {{
            %0: b1[] = less k, count
            return %0
          }},
          body = graph step(k: i32[], y: f32[n], count: i32[]) -> (i32[], f32[n]) {{
            {step}
            %7: i32[] = constant {{value=i32 1}}
            %8: i32[] = add k, %7
            return %8, {result}
          }}, carried = 2
        }}
        return %2"""


PRINT = 'print {} {{template="{{}}"}}'


@pytest.mark.parametrize(
    ("transform", "before", "after"),
    [
        (
            canonicalise,
            f"%3: f32[n] = stop_gradient y\n            {PRINT.format('%3')}\n            %9: f32[n] = negative %3",
            f"{PRINT.format('y')}\n            %9: f32[n] = negative y",
        ),
        (
            fold_constants,
            f"%3: f32[] = constant {{value=f32 2.0}}\n            %4: f32[] = square %3\n            {PRINT.format('%4')}\n            %9: f32[n] = add y, %4",
            f"%3: f32[] = constant {{value=f32 2.0}}\n            %4: f32[] = constant {{value=f32 4.0}}\n            {PRINT.format('%4')}\n            %9: f32[n] = add y, %4",
        ),
        (
            merge_common,
            f"%3: f32[n] = sin y\n            {PRINT.format('%3')}\n            %4: f32[n] = sin y\n            {PRINT.format('%4')}\n            %9: f32[n] = add %3, %4",
            f"%3: f32[n] = sin y\n            {PRINT.format('%3')}\n            {PRINT.format('%3')}\n            %9: f32[n] = add %3, %3",
        ),
        (
            remove_dead,
            f"%3: f32[n] = sin y\n            %4: f32[n] = exp y\n            {PRINT.format('%4')}\n            %9: f32[n] = negative y",
            f"%4: f32[n] = exp y\n            {PRINT.format('%4')}\n            %9: f32[n] = negative y",
        ),
    ],
    ids=["canonicalise", "fold_constants", "merge_common", "remove_dead"],
)
def test_effects_inside_stay(check_control, transform, before, after):
    check_control(transform, loop(before), loop(after), [X, COUNT])
    check_control(transform, loop(before), None, [X, COUNT], fuel=0)


GROWN = """p: b1[], x: f32[n], y: f32[m]
        %0: f32[u0,2], %1: f32[u0] = switch p, x, y {{
          branches = (graph a(x: f32[n], y: f32[m]) -> (f32[n,2], f32[n]) {{
            %0: f32[n,1] = reshape x {{shape=(n, 1)}}
            %1: f32[n,2] = broadcast_to %0 {{shape=(n, 2)}}
            return %1, x
          }}, graph b(x: f32[n], y: f32[m]) -> (f32[m,2], f32[m]) {{
            %0: f32[m,1] = reshape y {{shape=(m, 1)}}
            %1: f32[m,2] = broadcast_to %0 {{shape=(m, 2)}}
            return %1, y
          }}), extents = ("u0",)
        }}
        {0}"""
RUNS = [[np.array(p), X, np.array([3.0], "f4")] for p in (False, True)]


def test_dimensions_that_only_the_run_decides(check_control):
    """They are read off the node that defines them."""
    before = "%2: f32[u0] = exp %1\n        %3: i32[] = dimension %2 {axis=0}\n        %4: i32[] = dimension %1 {axis=0}\n        return %3, %4"
    after = "%2: f32[u0] = exp %1\n        %3: i32[] = dimension %0 {axis=0}\n        %4: i32[] = dimension %0 {axis=0}\n        return %3, %4"
    check_control(canonicalise, GROWN.format(before), GROWN.format(after), *RUNS)
    check_control(canonicalise, GROWN.format("%2: i32[] = dimension %0 {axis=0}\n        return %2"), None, *RUNS)


def test_a_node_stays_for_the_extent_that_it_defines(check_control):
    used = "%2: i32[u0] = iota {shape=(u0,), axis=0}\n        return %2"
    check_control(remove_dead, GROWN.format(used), None, *RUNS)
    check_control(remove_dead, GROWN.format("return x"), "p: b1[], x: f32[n], y: f32[m]\nreturn x", *RUNS)
