"""The rules for branches and loops, text in and text out; both graphs run through the interpreter."""

# ruff: noqa: E501 (the texts of graphs are one line a node)
from __future__ import annotations

import numpy as np
import pytest

from graphflow.passes.manager import PassContext, run_pipeline
from graphflow.passes.remove_dead import remove_dead
from graphflow.passes.simplify_control import RULES, simplify_control

X = np.array([1.5, -2.0, 0.25], "f4")
Y = np.array([4.0, 8.0], "f4")
TRUE, FALSE = np.array(True), np.array(False)


def whole(k):
    return np.array(k, "i4")


SWITCH = {
    "branch_of_constant_index": (
        """x: f32[n]
        %0: i32[] = constant {value=i32 1}
        %1: f32[n] = switch %0, x {
          branches = (graph a(y: f32[n]) -> (f32[n]) {
            return y
          }, graph b(y: f32[n]) -> (f32[n]) {
            %0: f32[n] = negative y
            %1: f32[n] = exp %0
            return %1
          })
        }
        return %1""",
        """x: f32[n]
        %0: i32[] = constant {value=i32 1}
        %1: f32[n] = negative x
        %2: f32[n] = exp %1
        return %2""",
        ([X],),
    ),
    "an index outside picks the last branch": (
        """x: f32[n]
        %0: i32[] = constant {value=i32 -3}
        %1: f32[n] = switch %0, x {
          branches = (graph a(y: f32[n]) -> (f32[n]) {
            return y
          }, graph b(y: f32[n]) -> (f32[n]) {
            %0: f32[n] = negative y
            return %0
          })
        }
        return %1""",
        """x: f32[n]
        %0: i32[] = constant {value=i32 -3}
        %1: f32[n] = negative x
        return %1""",
        ([X],),
    ),
    "its run-time extent becomes known": (
        """x: f32[n], y: f32[m]
        %0: b1[] = constant {value=b1 True}
        %1: f32[u0] = switch %0, x, y {
          branches = (graph a(x: f32[n], y: f32[m]) -> (f32[n]) {
            return x
          }, graph b(x: f32[n], y: f32[m]) -> (f32[m+1]) {
            %0: f32[] = constant {value=f32 7.0}
            %1: f32[m+1] = append_row y, %0
            return %1
          }), extents = ("u0",)
        }
        %2: i32[] = dimension %1 {axis=0}
        %3: f32[] = constant {value=f32 2.0}
        %4: f32[u0] = broadcast_to %3 {shape=(u0,)}
        %5: f32[u0] = add %1, %4
        %6: f32[] = reduce_sum %5 {axes=(0,)}
        return %6, %2""",
        """x: f32[n], y: f32[m]
        %0: b1[] = constant {value=b1 True}
        %1: f32[] = constant {value=f32 7.0}
        %2: f32[m+1] = append_row y, %1
        %3: i32[] = dimension %2 {axis=0}
        %4: f32[] = constant {value=f32 2.0}
        %5: f32[m+1] = broadcast_to %4 {shape=(m+1,)}
        %6: f32[m+1] = add %2, %5
        %7: f32[] = reduce_sum %6 {axes=(0,)}
        return %7, %3""",
        ([X, Y],),
    ),
    "its run-time extent is returned": (
        """x: f32[n]
        %0: b1[] = constant {value=b1 False}
        %1: f32[u0] = switch %0, x {
          branches = (graph a(x: f32[n]) -> (f32[n]) {
            return x
          }, graph b(x: f32[n]) -> (f32[2]) {
            %0: f32[2] = constant {value=f32 [1.0, 2.0]}
            return %0
          }), extents = ("u0",)
        }
        return %1""",
        """x: f32[n]
        %0: b1[] = constant {value=b1 False}
        return x""",
        ([X],),
    ),
    "what is known of one node makes the next one's extent known": (
        """p: b1[], x: f32[n], y: f32[m]
        %0: b1[] = constant {value=b1 True}
        %1: f32[u0] = switch %0, x, y {
          branches = (graph a(x: f32[n], y: f32[m]) -> (f32[n]) {
            return x
          }, graph b(x: f32[n], y: f32[m]) -> (f32[m]) {
            return y
          }), extents = ("u0",)
        }
        %2: f32[u1] = switch p, %1, y {
          branches = (graph a(x: f32[u0], y: f32[m]) -> (f32[u0]) {
            return x
          }, graph b(x: f32[u0], y: f32[m]) -> (f32[m]) {
            %0: f32[m] = negative y
            return %0
          }), extents = ("u1",)
        }
        %3: f32[u1] = exp %2
        return %3""",
        """p: b1[], x: f32[n], y: f32[m]
        %0: b1[] = constant {value=b1 True}
        %1: f32[m] = switch p, y {
          branches = (graph a(x: f32[m]) -> (f32[m]) {
            return x
          }, graph b(x: f32[m]) -> (f32[m]) {
            %0: f32[m] = negative x
            return %0
          })
        }
        %2: f32[m] = exp %1
        return %2""",
        ([TRUE, X, Y], [FALSE, X, Y]),
    ),
    "equal_branches": (
        """p: b1[], x: f32[n], k: i32[]
        %0: f32[n], %1: f32[] = switch p, x, k {
          branches = (graph a(y: f32[n], k: i32[]) -> (f32[n], f32[]) {
            %0: f32[n] = negative y
            %1: f32[] = gather y, k {axis=0}
            return %0, %1
          }, graph b(z: f32[n], at: i32[]) -> (f32[n], f32[]) {
            %0: f32[] = gather z, at {axis=0}
            %1: f32[n] = negative z
            return %1, %0
          })
        }
        return %0, %1""",
        """p: b1[], x: f32[n], k: i32[]
        %0: f32[n] = negative x
        %1: f32[] = gather x, k {axis=0}
        return %0, %1""",
        ([TRUE, X, whole(1)],),
    ),
    "branches_of_not": (
        """p: b1[], x: f32[n]
        %0: b1[] = logical_not p
        %1: f32[n] = switch %0, x {
          branches = (graph a(y: f32[n]) -> (f32[n]) {
            return y
          }, graph b(y: f32[n]) -> (f32[n]) {
            %0: f32[n] = negative y
            return %0
          })
        }
        return %1""",
        """p: b1[], x: f32[n]
        %0: b1[] = logical_not p
        %1: f32[n] = switch p, x {
          branches = (graph b(y: f32[n]) -> (f32[n]) {
            %0: f32[n] = negative y
            return %0
          }, graph a(y: f32[n]) -> (f32[n]) {
            return y
          })
        }
        return %1""",
        ([TRUE, X], [FALSE, X]),
    ),
    "results_from_operands": (
        """p: b1[], x: f32[n]
        %0: f32[n], %1: f32[n], %2: f32[] = switch p, x {
          branches = (graph a(y: f32[n]) -> (f32[n], f32[n], f32[]) {
            %0: f32[] = constant {value=f32 -0.0}
            return y, y, %0
          }, graph b(y: f32[n]) -> (f32[n], f32[n], f32[]) {
            %0: f32[n] = negative y
            %1: f32[] = constant {value=f32 -0.0}
            return %0, y, %1
          })
        }
        return %0, %1, %2""",
        """p: b1[], x: f32[n]
        %0: f32[] = constant {value=f32 -0.0}
        %1: f32[n] = switch p, x {
          branches = (graph a(y: f32[n]) -> (f32[n]) {
            return y
          }, graph b(y: f32[n]) -> (f32[n]) {
            %0: f32[n] = negative y
            return %0
          })
        }
        return %1, x, %0""",
        ([TRUE, X], [FALSE, X]),
    ),
    "unused_results": (
        """p: b1[], x: f32[n]
        %0: f32[n], %1: f32[n] = switch p, x {
          branches = (graph a(y: f32[n]) -> (f32[n], f32[n]) {
            %0: f32[n] = exp y
            return y, %0
          }, graph b(y: f32[n]) -> (f32[n], f32[n]) {
            %0: f32[n] = negative y
            return %0, %0
          })
        }
        return %0""",
        """p: b1[], x: f32[n]
        %0: f32[n] = switch p, x {
          branches = (graph a(y: f32[n]) -> (f32[n]) {
            return y
          }, graph b(y: f32[n]) -> (f32[n]) {
            %0: f32[n] = negative y
            return %0
          })
        }
        return %0""",
        ([TRUE, X], [FALSE, X]),
    ),
    "an unused result with an extent that is used": (
        """p: b1[], x: f32[n], y: f32[m]
        %0: f32[u0], %1: f32[u1] = switch p, x, y {
          branches = (graph a(x: f32[n], y: f32[m]) -> (f32[n], f32[m]) {
            return x, y
          }, graph b(x: f32[n], y: f32[m]) -> (f32[m], f32[n]) {
            return y, x
          }), extents = ("u0", "u1")
        }
        %2: i32[u1] = iota {shape=(u1,), axis=0}
        %3: i32[] = reduce_sum %2 {axes=(0,)}
        return %3""",
        """p: b1[], x: f32[n], y: f32[m]
        %0: f32[u1] = switch p, x, y {
          branches = (graph a(x: f32[n], y: f32[m]) -> (f32[m]) {
            return y
          }, graph b(x: f32[n], y: f32[m]) -> (f32[n]) {
            return x
          }), extents = ("u1",)
        }
        %1: i32[u1] = iota {shape=(u1,), axis=0}
        %2: i32[] = reduce_sum %1 {axes=(0,)}
        return %2""",
        ([TRUE, X, Y], [FALSE, X, Y]),
    ),
    "equal_results": (
        """p: b1[], x: f32[n]
        %0: f32[n], %1: f32[n] = switch p, x {
          branches = (graph a(y: f32[n]) -> (f32[n], f32[n]) {
            %0: f32[n] = exp y
            return %0, %0
          }, graph b(y: f32[n]) -> (f32[n], f32[n]) {
            %0: f32[n] = negative y
            return %0, %0
          })
        }
        %2: f32[n] = add %0, %1
        return %2""",
        """p: b1[], x: f32[n]
        %0: f32[n] = switch p, x {
          branches = (graph a(y: f32[n]) -> (f32[n]) {
            %0: f32[n] = exp y
            return %0
          }, graph b(y: f32[n]) -> (f32[n]) {
            %0: f32[n] = negative y
            return %0
          })
        }
        %1: f32[n] = add %0, %0
        return %1""",
        ([TRUE, X], [FALSE, X]),
    ),
    "unused_operands": (
        """p: b1[], x: f32[n], y: f32[n]
        %0: f32[n] = switch p, x, y, x {
          branches = (graph a(y: f32[n], z: f32[n], w: f32[n]) -> (f32[n]) {
            %0: f32[n] = exp z
            %1: f32[n] = add y, w
            return %1
          }, graph b(y: f32[n], z: f32[n], w: f32[n]) -> (f32[n]) {
            %0: f32[n] = negative w
            return %0
          })
        }
        return %0""",
        """p: b1[], x: f32[n], y: f32[n]
        %0: f32[n] = switch p, x {
          branches = (graph a(y: f32[n]) -> (f32[n]) {
            %0: f32[n] = add y, y
            return %0
          }, graph b(y: f32[n]) -> (f32[n]) {
            %0: f32[n] = negative y
            return %0
          })
        }
        return %0""",
        ([TRUE, X, X], [FALSE, X, X]),
    ),
    "constants_inside": (
        """p: b1[], x: f32[3]
        %0: f32[] = constant {value=f32 2.0}
        %1: f32[3] = broadcast_to %0 {shape=(3,)}
        %2: f32[3] = switch p, %0, x, %1 {
          branches = (graph a(c: f32[], y: f32[3], d: f32[3]) -> (f32[3]) {
            %0: f32[3] = add y, c
            return %0
          }, graph b(c: f32[], y: f32[3], d: f32[3]) -> (f32[3]) {
            %0: f32[3] = multiply y, d
            return %0
          })
        }
        return %2""",
        """p: b1[], x: f32[3]
        %0: f32[] = constant {value=f32 2.0}
        %1: f32[3] = broadcast_to %0 {shape=(3,)}
        %2: f32[3] = switch p, x {
          branches = (graph a(y: f32[3]) -> (f32[3]) {
            %0: f32[] = constant {value=f32 2.0}
            %1: f32[3] = add y, %0
            return %1
          }, graph b(y: f32[3]) -> (f32[3]) {
            %0: f32[] = constant {value=f32 2.0}
            %1: f32[3] = broadcast_to %0 {shape=(3,)}
            %2: f32[3] = multiply y, %1
            return %2
          })
        }
        return %2""",
        ([TRUE, X], [FALSE, X]),
    ),
    "nothing to do": (
        """p: b1[], x: f32[n]
        %0: f32[n] = switch p, x {
          branches = (graph a(y: f32[n]) -> (f32[n]) {
            return y
          }, graph b(y: f32[n]) -> (f32[n]) {
            print y {template="{}"}
            %0: f32[n] = negative y
            return %0
          })
        }
        return %0""",
        None,
        ([TRUE, X], [FALSE, X]),
    ),
    "equal branches with effects stay": (
        """p: b1[], x: f32[n]
        switch p, x {
          branches = (graph a(y: f32[n]) -> () {
            print y {template="{}"}
            return
          }, graph b(y: f32[n]) -> () {
            print y {template="{}"}
            return
          })
        }
        return x""",
        None,
        (),
    ),
}

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


@pytest.mark.parametrize("name", [*SWITCH, *WHILE])
def test_rule(name, check_control):
    before, after, runs = {**SWITCH, **WHILE}[name]
    context = check_control(simplify_control, before, after, *runs)
    if name in rule_names():
        assert context.rewrites >= 1


def rule_names():
    return {rule.__name__ for rules in RULES.values() for rule in rules}


def test_every_rule_has_a_case():
    assert {rule.__name__ for rule in RULES["switch"]} <= SWITCH.keys()
    assert {rule.__name__ for rule in RULES["while"]} <= WHILE.keys()
    assert {kind for kind, rules in RULES.items() if rules} == {"switch", "while"}


@pytest.mark.parametrize("name", sorted(rule_names()))
def test_without_fuel_nothing_changes(name, check_control):
    for cases in (SWITCH, WHILE):
        if name in cases:
            check_control(simplify_control, cases[name][0], None, *cases[name][2], fuel=0)


def test_inner_nodes_come_first(check_control):
    check_control(
        simplify_control,
        """p: b1[], x: f32[n]
        %0: b1[] = constant {value=b1 True}
        %1: f32[n] = switch p, x, %0 {
          branches = (graph a(y: f32[n], q: b1[]) -> (f32[n]) {
            %0: f32[n] = switch q, y {
              branches = (graph a(y: f32[n]) -> (f32[n]) {
                return y
              }, graph b(y: f32[n]) -> (f32[n]) {
                %0: f32[n] = negative y
                return %0
              })
            }
            return %0
          }, graph b(y: f32[n], q: b1[]) -> (f32[n]) {
            %0: f32[n] = exp y
            return %0
          })
        }
        return %1""",
        """p: b1[], x: f32[n]
        %0: b1[] = constant {value=b1 True}
        %1: f32[n] = switch p, x {
          branches = (graph a(y: f32[n]) -> (f32[n]) {
            %0: b1[] = constant {value=b1 True}
            %1: f32[n] = negative y
            return %1
          }, graph b(y: f32[n]) -> (f32[n]) {
            %0: f32[n] = exp y
            return %0
          })
        }
        return %1""",
        [TRUE, X],
        [FALSE, X],
        passes=(simplify_control,),
    )


def test_an_unused_loop_goes_unless_it_has_effects(check_control):
    loop = """x: f32[n], k: i32[]
        %0: f32[n] = while x, k {{
          condition = graph more(y: f32[n], k: i32[]) -> (b1[]) {{
            %0: b1[] = constant {{value=b1 False}}
            return %0
          }},
          body = graph step(y: f32[n], k: i32[]) -> (f32[n]) {{
            {}
            return y
          }}, carried = 1
        }}
        return x"""
    check_control(remove_dead, loop.format("%0: f32[n] = exp y"), "x: f32[n], k: i32[]\nreturn x", [X, whole(0)])
    for effect in ('print k {template="{}"}', "%0: f32[] = gather y, k {axis=0}"):
        check_control(remove_dead, loop.format(effect), None)


def test_symbols_of_inlined_graphs_get_new_names(graph_of, run_graph):
    """Two equal branches define one run-time extent each; inlined side by side they must not become one."""
    chosen = """%{0}: f32[] = switch %0, x, {1} {{
          branches = (graph a(x: f32[n], q: b1[]) -> (f32[]) {{
            %0: f32[] = reduce_sum x {{axes=(0,)}}
            return %0
          }}, graph b(x: f32[n], q: b1[]) -> (f32[]) {{
            %0: f32[u1] = switch q, x {{
              branches = (graph a(x: f32[n]) -> (f32[n]) {{
                return x
              }}, graph b(x: f32[n]) -> (f32[n+1]) {{
                %0: f32[] = constant {{value=f32 1.0}}
                %1: f32[n+1] = append_row x, %0
                return %1
              }}), extents = ("u1",)
            }}
            %1: f32[] = reduce_sum %0 {{axes=(0,)}}
            return %1
          }})
        }}"""
    graph = graph_of("x: f32[n], q: b1[]", f"""
        %0: b1[] = constant {{value=b1 True}}
        %9: b1[] = logical_not q
        {chosen.format(1, "q")}
        {chosen.format(2, "%9")}
        return %1, %2""".replace("\n        ", "\n"))  # fmt: skip
    final, _ = run_pipeline(graph, [simplify_control], PassContext(), verify=True)
    assert len(final.extents) == len(set(final.extents)) == 2
    assert run_graph(final, [X, TRUE])[0] == run_graph(graph, [X, TRUE])[0] == [X.sum() + 1, X.sum()]
