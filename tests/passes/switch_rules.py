"""The rules for branches: rule -> (before, after, arrays of runs ...)."""

from __future__ import annotations

import numpy as np

X = np.array([1.5, -2.0, 0.25], "f4")
Y = np.array([4.0, 8.0], "f4")
TRUE, FALSE = np.array(True), np.array(False)


def whole(k):
    """A number of dtype i32."""
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
