"""The rules for loops: rule -> (before, after, arrays of runs ...)."""

# ruff: noqa: E501 (the texts of graphs are one line a node)
from __future__ import annotations

import numpy as np

X = np.array([1.5, -2.0, 0.25], "f4")


def whole(k):
    """A number of dtype i32."""
    return np.array(k, "i4")


LESS = """condition = graph more(k: i32[], {0}) -> (b1[]) {{
            %0: b1[] = less k, {1}
            return %0
          }},"""
NEXT = """%0: i32[] = constant {value=i32 1}
            %1: i32[] = add k, %0"""

WHILE = {
    "loop_that_never_runs": (
        f"""x: f32[n], count: i32[]
        %0: i32[] = constant {{value=i32 5}}
        %1: i32[], %2: f32[u0] = while %0, x, count {{
          condition = graph more(k: i32[], y: f32[k0], count: i32[]) -> (b1[]) {{
            %0: i32[] = constant {{value=i32 5}}
            %1: b1[] = less k, %0
            return %1
          }},
          body = graph step(k: i32[], y: f32[k0], count: i32[]) -> (i32[], f32[k0+1]) {{
            {NEXT}
            %2: f32[] = constant {{value=f32 1.0}}
            %3: f32[k0+1] = append_row y, %2
            return %1, %3
          }}, carried = 2, extents = ("u0",)
        }}
        %3: f32[u0] = negative %2
        %4: f32[] = reduce_sum %3 {{axes=(0,)}}
        return %1, %4""",
        """x: f32[n], count: i32[]
        %0: i32[] = constant {value=i32 5}
        %1: f32[n] = negative x
        %2: f32[] = reduce_sum %1 {axes=(0,)}
        return %0, %2""",
        ([X, whole(3)],),
    ),
    "the condition's effects stay": (
        """x: f32[n]
        %0: i32[] = constant {value=i32 5}
        %1: i32[], %2: f32[n] = while %0, x {
          condition = graph more(k: i32[], y: f32[n]) -> (b1[]) {
            print k {template="{}"}
            %0: b1[] = less k, k
            return %0
          },
          body = graph step(k: i32[], y: f32[n]) -> (i32[], f32[n]) {
            print k {template="{} no"}
            return k, y
          }, carried = 2
        }
        return %1, %2""",
        """x: f32[n]
        %0: i32[] = constant {value=i32 5}
        print %0 {template="{}"}
        %1: b1[] = less %0, %0
        return %0, x""",
        ([X],),
    ),
    "unchanged_values": (
        f"""x: f32[n], w: f32[n], count: i32[]
        %0: i32[] = constant {{value=i32 0}}
        %1: i32[], %2: f32[n], %3: f32[n], %4: f32[n] = while %0, w, x, w, count, w {{
          {LESS.format("a: f32[n], y: f32[n], b: f32[n], count: i32[], w: f32[n]", "count")}
          body = graph step(k: i32[], a: f32[n], y: f32[n], b: f32[n], count: i32[], w: f32[n]) -> (i32[], f32[n], f32[n], f32[n]) {{
            {NEXT}
            %2: f32[n] = add y, a
            %3: f32[n] = add %2, b
            return %1, a, %3, w
          }}, carried = 4
        }}
        return %1, %2, %3, %4""",
        f"""x: f32[n], w: f32[n], count: i32[]
        %0: i32[] = constant {{value=i32 0}}
        %1: i32[], %2: f32[n] = while %0, x, w, count {{
          {LESS.format("y: f32[n], a: f32[n], count: i32[]", "count")}
          body = graph step(k: i32[], y: f32[n], a: f32[n], count: i32[]) -> (i32[], f32[n]) {{
            {NEXT}
            %2: f32[n] = add y, a
            %3: f32[n] = add %2, a
            return %1, %3
          }}, carried = 2
        }}
        return %1, w, %2, w""",
        ([X, X, whole(3)], [X, X, whole(0)]),
    ),
    "unused_values": (
        f"""x: f32[n], y: f32[n], count: i32[]
        %0: i32[] = constant {{value=i32 0}}
        %1: i32[], %2: f32[n], %3: f32[n], %4: f32[n] = while %0, x, y, y, count, x {{
          {LESS.format("a: f32[n], b: f32[n], c: f32[n], count: i32[], w: f32[n]", "count")}
          body = graph step(k: i32[], a: f32[n], b: f32[n], c: f32[n], count: i32[], w: f32[n]) -> (i32[], f32[n], f32[n], f32[n]) {{
            {NEXT}
            %2: f32[n] = negative b
            %3: f32[n] = exp a
            %4: f32[n] = add c, %3
            return %1, %2, a, %4
          }}, carried = 4
        }}
        return %2""",
        f"""x: f32[n], y: f32[n], count: i32[]
        %0: i32[] = constant {{value=i32 0}}
        %1: i32[], %2: f32[n], %3: f32[n] = while %0, x, y, count {{
          {LESS.format("a: f32[n], b: f32[n], count: i32[]", "count")}
          body = graph step(k: i32[], a: f32[n], b: f32[n], count: i32[]) -> (i32[], f32[n], f32[n]) {{
            {NEXT}
            %2: f32[n] = negative b
            return %1, %2, a
          }}, carried = 3
        }}
        return %2""",
        ([X, 2 * X, whole(3)], [X, 2 * X, whole(0)]),
    ),
    "a value that only brings an extent stays": (
        f"""x: f32[n], count: i32[]
        %0: i32[] = constant {{value=i32 0}}
        %1: i32[], %2: f32[u0], %3: f32[], %4: f32[n] = while %0, x, %9, x, count {{
          {LESS.format("y: f32[k0], s: f32[], z: f32[n], count: i32[]", "count")}
          body = graph step(k: i32[], y: f32[k0], s: f32[], z: f32[n], count: i32[]) -> (i32[], f32[k0+1], f32[], f32[n]) {{
            {NEXT}
            %2: f32[k0+1] = append_row y, s
            %3: f32[k0] = broadcast_to s {{shape=(k0,)}}
            %4: f32[] = reduce_sum %3 {{axes=(0,)}}
            %5: f32[n] = exp z
            return %1, %2, %4, %5
          }}, carried = 4, extents = ("u0",)
        }}
        return %3""".replace("%0: i32[] = constant {value=i32 0}\n", "%0: i32[] = constant {value=i32 0}\n        %9: f32[] = reduce_sum x {axes=(0,)}\n", 1),
        f"""x: f32[n], count: i32[]
        %0: i32[] = constant {{value=i32 0}}
        %1: f32[] = reduce_sum x {{axes=(0,)}}
        %2: i32[], %3: f32[u0], %4: f32[] = while %0, x, %1, count {{
          {LESS.format("y: f32[k0], s: f32[], count: i32[]", "count")}
          body = graph step(k: i32[], y: f32[k0], s: f32[], count: i32[]) -> (i32[], f32[k0+1], f32[]) {{
            {NEXT}
            %2: f32[k0+1] = append_row y, s
            %3: f32[k0] = broadcast_to s {{shape=(k0,)}}
            %4: f32[] = reduce_sum %3 {{axes=(0,)}}
            return %1, %2, %4
          }}, carried = 3, extents = ("u0",)
        }}
        return %4""",
        ([X, whole(3)],),
    ),
    "equal_values": (
        """x: f32[n], count: i32[]
        %0: i32[] = constant {value=i32 0}
        %1: i32[] = constant {value=i32 0}
        %2: i32[], %3: i32[], %4: i32[], %5: f32[n] = while %0, %1, %0, x, count {
          condition = graph more(k: i32[], j: i32[], l: i32[], y: f32[n], count: i32[]) -> (b1[]) {
            %0: b1[] = less j, count
            return %0
          },
          body = graph step(k: i32[], j: i32[], l: i32[], y: f32[n], count: i32[]) -> (i32[], i32[], i32[], f32[n]) {
            %0: i32[] = constant {value=i32 1}
            %1: i32[] = add k, %0
            %2: i32[] = constant {value=i32 1}
            %3: i32[] = add j, %2
            %4: i32[] = add l, %3
            %5: f32[] = cast k {dtype=f32}
            %6: f32[n] = add y, %5
            return %1, %3, %4, %6
          }, carried = 4
        }
        return %2, %3, %4, %5""",
        """x: f32[n], count: i32[]
        %0: i32[] = constant {value=i32 0}
        %1: i32[] = constant {value=i32 0}
        %2: i32[], %3: i32[], %4: f32[n] = while %0, %0, x, count {
          condition = graph more(k: i32[], l: i32[], y: f32[n], count: i32[]) -> (b1[]) {
            %0: b1[] = less k, count
            return %0
          },
          body = graph step(k: i32[], l: i32[], y: f32[n], count: i32[]) -> (i32[], i32[], f32[n]) {
            %0: i32[] = constant {value=i32 1}
            %1: i32[] = add k, %0
            %2: i32[] = constant {value=i32 1}
            %3: i32[] = add k, %2
            %4: i32[] = add l, %3
            %5: f32[] = cast k {dtype=f32}
            %6: f32[n] = add y, %5
            return %1, %4, %6
          }, carried = 3
        }
        return %2, %2, %3, %4""",
        ([X, whole(4)],),
    ),
    "constants_inside": (
        f"""x: f32[n]
        %0: i32[] = constant {{value=i32 0}}
        %1: i32[] = constant {{value=i32 3}}
        %2: f32[] = constant {{value=f32 2.0}}
        %3: i32[], %4: f32[n] = while %0, x, %1, %2 {{
          {LESS.format("y: f32[n], count: i32[], c: f32[]", "count")}
          body = graph step(k: i32[], y: f32[n], count: i32[], c: f32[]) -> (i32[], f32[n]) {{
            {NEXT}
            %2: f32[n] = multiply y, c
            return %1, %2
          }}, carried = 2
        }}
        return %4""",
        """x: f32[n]
        %0: i32[] = constant {value=i32 0}
        %1: i32[] = constant {value=i32 3}
        %2: f32[] = constant {value=f32 2.0}
        %3: i32[], %4: f32[n] = while %0, x {
          condition = graph more(k: i32[], y: f32[n]) -> (b1[]) {
            %0: i32[] = constant {value=i32 3}
            %1: b1[] = less k, %0
            return %1
          },
          body = graph step(k: i32[], y: f32[n]) -> (i32[], f32[n]) {
            %0: f32[] = constant {value=f32 2.0}
            %1: i32[] = constant {value=i32 1}
            %2: i32[] = add k, %1
            %3: f32[n] = multiply y, %0
            return %2, %3
          }, carried = 2
        }
        return %4""",
        ([X],),
    ),
}  # fmt: skip
