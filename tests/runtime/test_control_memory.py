"""Where carried arrays, rows and temporaries of bodies live: what is written in place, what is copied, and the arena's size."""

from __future__ import annotations

import re

import numpy as np
import pytest
from control_interpreter import Native, check, counted

import graphflow.ops  # noqa: F401  (registers the ops)
from graphflow.ir import parse
from graphflow.passes.plan_control import ControlPlan, plan_program

X = np.arange(8, dtype=np.float32)
A = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)


def copies(native):
    """How many copies of arrays the program's text has (rows are single stores here)."""
    body = native.program.text
    body = body[body.index("define internal void @program") :]
    return len(re.findall(r"call void @llvm\.memcpy", body[: body.index("\n}")]))


def exchanges(native):
    return sum(len(moves.addresses) for moves in native.program.plan.moves.values())


def test_a_carried_array_is_written_in_place():
    native = Native(counted("x: f32[8]", "%2: f32[8] = add x, x", "%2"))
    check(native.graph, X)
    assert (copies(native), exchanges(native)) == (1, 0)  # the argument is copied to the result's array, once
    assert native.binding([X]).arena_bytes == 0


def test_addresses_are_exchanged_where_the_new_value_cannot_be_in_place():
    native = Native(counted("x: f32[8,8]", "%2: f32[8,8] = matmul x, w", "%2", "w: f32[8,8]"))
    check(native.graph, A, A.T.copy())
    assert (copies(native), exchanges(native)) == (2, 2)  # before the loop, and the result at the end
    assert native.binding([A, A]).arena_bytes == 2 * 256


def test_a_swap_copies_nothing_in_the_loop():
    native = Native(counted("x: f32[8], y: f32[8]", "", "y, x"))
    body = native.program.text[native.program.text.index("body") :]
    assert "memcpy" not in body[: body.index("done")]
    assert exchanges(native) == 2


def test_a_dying_operand_gives_the_loop_its_buffer():
    text = """graph f(x: f32[8]) -> (f32[8]) {
 %0: i32[] = constant {value=i32 0}
 %1: f32[8] = exp x
 %2: i32[], %3: f32[8] = while %0, %1 {
  condition = graph c(i: i32[], x: f32[8]) -> (b1[]) {
   %0: i32[] = constant {value=i32 4}
   %1: b1[] = less i, %0
   return %1
  },
  body = graph b(i: i32[], x: f32[8]) -> (i32[], f32[8]) {
   %0: i32[] = constant {value=i32 1}
   %1: i32[] = add i, %0
   %2: f32[8] = add x, x
   return %1, %2
  }, carried=2}
 %4: f32[8] = negative %3
 return %4
}"""
    native = Native(text)
    check(text, X)
    assert copies(native) == 0
    assert native.binding([X]).arena_bytes == 64  # what exp makes is what the loop changes
    alive = Native(text.replace("return %4\n}", "%5: f32[8] = add %4, %1\n return %5\n}"))
    check(alive.graph, X)
    assert copies(alive) == 1


NESTED = """graph f(a: f32[8,8]) -> (f32[8,8]) {
 %0: i32[] = constant {value=i32 0}
 %1: i32[], %2: f32[8,8] = while %0, a {
  condition = graph c(i: i32[], a: f32[8,8]) -> (b1[]) {
   %0: i32[] = constant {value=i32 8}
   %1: b1[] = less i, %0
   return %1
  },
  body = graph b(i: i32[], a: f32[8,8]) -> (i32[], f32[8,8]) {
   %0: i32[] = constant {value=i32 0}
   %1: i32[], %2: f32[8,8] = while %0, a, i {
    condition = graph c(j: i32[], a: f32[8,8], i: i32[]) -> (b1[]) {
     %0: b1[] = less_equal j, i
     return %0
    },
    body = graph b(j: i32[], a: f32[8,8], i: i32[]) -> (i32[], f32[8,8]) {
     %0: i32[] = constant {value=i32 1}
     %1: i32[] = add j, %0
     %2: f32[8] = gather a, j {axis=0}
     %3: f32[8] = add %2, %2
     %4: f32[8,8] = update_row a, i, %3
     %5: b1[] = less j, i
     %6: f32[8,8] = switch %5, %4, j {branches=(
      graph no(a: f32[8,8], j: i32[]) -> (f32[8,8]) { return a },
      graph yes(a: f32[8,8], j: i32[]) -> (f32[8,8]) {
       %0: f32[8] = constant {value=f32 [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]}
       %1: f32[8,8] = scatter_add_into a, j, %0
       return %1
      })}
     return %1, %6
    }, carried=2}
   %3: i32[] = constant {value=i32 1}
   %4: i32[] = add i, %3
   return %4, %2
  }, carried=2}
 return %2
}"""


def test_rows_in_nested_loops_and_branches_are_changed_in_place():
    native = Native(NESTED)
    check(NESTED, A)
    plan = native.program.plan
    assert sum(len(starts) for starts in plan.starts.values()) == 1  # the argument, before the outer loop
    assert all(not moves.copies and not moves.addresses for moves in plan.moves.values())
    assert copies(native) == 2  # that one, and the replaced row


def test_rows_at_top_level():
    text = """graph f(x: f32[8], a: f32[], i: i32[]) -> (f32[8]) {
 %0: f32[8] = update_row x, i, a
 %1: i32[] = constant {value=i32 1}
 %2: i32[] = add i, %1
 %3: f32[8] = scatter_add_into %0, %2, a
 %4: f32[8] = update_row %3, %1, a
 return %4
}"""
    native = Native(text)
    check(text, X, np.array(3, np.float32), np.array(4, np.int32))
    assert copies(native) == 1
    kept = text.replace("return %4", "%5: f32[8] = add %3, %4\n return %5")
    check(kept, X, np.array(3, np.float32), np.array(4, np.int32))
    assert copies(Native(kept)) == 2


def test_appended_rows_of_known_extents():
    text = """graph f(x: f32[n,3], y: f32[3]) -> (f32[n+2,3]) {
 %0: f32[n,3] = negative x
 %1: f32[n+1,3] = append_row %0, y
 %2: f32[n+2,3] = append_row %1, y
 return %2
}"""
    for n in (0, 1, 5):
        check(text, np.ones((n, 3), np.float32), np.arange(3, dtype=np.float32))
    assert copies(Native(text)) == 2  # two rows


def test_a_row_that_is_the_array():
    """The replaced row may be the (one-row) array itself under another shape."""
    for op in ("update_row", "scatter_add_into"):
        text = f"""graph f(x: f32[1,4], i: i32[]) -> (f32[1,4]) {{
 %0: f32[1,4] = exp x
 %1: f32[4] = reshape %0 {{shape=(4,)}}
 %2: f32[1,4] = {op} %0, i, %1
 return %2
}}"""
        check(text, X[:4].reshape(1, 4).copy(), np.array(0, np.int32))
    append = """graph f(x: f32[1,4]) -> (f32[2,4]) {
 %0: f32[1,4] = exp x
 %1: f32[4] = reshape %0 {shape=(4,)}
 %2: f32[2,4] = append_row %0, %1
 return %2
}"""
    check(append, X[:4].reshape(1, 4).copy())


@pytest.mark.parametrize("dtype", ["f16", "bf16", "f64", "i8", "u32", "b1"])
def test_rows_of_every_width(dtype):
    from graphflow.dtypes import from_short

    numpy = from_short(dtype).numpy
    for shape, row in (((5,), ()), ((5, 1), (1,)), ((5, 37), (37,)), ((1,), ()), ((5, 2, 16), (2, 16))):
        kind, inner = f"{dtype}[{','.join(map(str, shape))}]", f"{dtype}[{','.join(map(str, row))}]"
        for op in ("update_row",) if dtype == "b1" else ("update_row", "scatter_add_into"):
            text = (
                f"graph f(x: {kind}, i: i64[], r: {inner}) -> ({kind}) {{\n %0: {kind} = {op} x, i, r\n return %0\n}}"
            )
            numbers = np.random.default_rng(0)
            x, r = (numbers.integers(0, 3, s).astype(numpy) for s in (shape, row))
            check(text, x, np.array(shape[0] - 1, np.int64), r)


def test_temporaries_of_a_body_share_the_arena():
    """A chain of products in a body needs two temporaries at a time; the last one is the carried value, in the result's array."""
    body = "\n".join(f"%{k + 2}: f32[8,8] = matmul {f'%{k + 1}' if k else 'x'}, w" for k in range(6))
    native = Native(counted("x: f32[8,8]", body, "%7", "w: f32[8,8]"))
    check(native.graph, A * 0.5, A.T.copy())
    assert native.binding([A, A]).arena_bytes == 2 * 256
    branches = """graph f(k: i32[], x: f32[8,8]) -> (f32[8,8]) {
 %0: f32[8,8] = switch k, x {branches=(
  graph a(x: f32[8,8]) -> (f32[8,8]) {
   %0: f32[8,8] = matmul x, x
   %1: f32[8,8] = matmul %0, x
   return %1
  },
  graph b(x: f32[8,8]) -> (f32[8,8]) {
   %0: f32[8,8] = transpose x {permutation=(1,0)}
   %1: f32[8,8] = matmul %0, x
   return %1
  })}
 return %0
}"""
    for k in (0, 1):
        check(branches, np.array(k, np.int32), A)
    assert Native(branches).binding([np.array(0, np.int32), A]).arena_bytes == 256


def test_values_from_outside_live_to_the_end_of_the_loop():
    text = counted("x: f32[8,8]", "%2: f32[8,8] = matmul x, w\n%3: f32[8,8] = matmul w, %2", "%3", "w: f32[8,8]")
    head, rest = text.split("{\n", 1)
    text = head.replace("w: f32", "v: f32") + "{\n %9: f32[8,8] = exp v\n" + rest.replace(", w {", ", %9 {", 1)
    check(text, A, A * 0.1)


def test_the_plan_knows_its_peak_for_symbolic_extents():
    text = counted("x: f32[k,k]", "%2: f32[k,k] = matmul x, w", "%2", "w: f32[k,k]")
    native = Native(text)
    for k in (1, 8, 40):
        square = np.eye(k, dtype=np.float32)
        check(text, square, square)
        assert native.binding([square, square]).arena_bytes == 2 * -(-k * k * 4 // 64) * 64


def test_variables_of_a_program_with_loops():
    """Read at entry and committed at the end; a kernel outside the loops still updates in place."""
    text = """graph f(x: f32[8], v: var f32[8], w: var f32[8]) -> (f32[8]) {
 %0: f32[8] = read_variable v
 %1: f32[8] = read_variable w
 %2: i32[] = constant {value=i32 0}
 %3: i32[], %4: f32[8] = while %2, %0, x {
  condition = graph c(i: i32[], v: f32[8], x: f32[8]) -> (b1[]) {
   %0: i32[] = constant {value=i32 4}
   %1: b1[] = less i, %0
   return %1
  },
  body = graph b(i: i32[], v: f32[8], x: f32[8]) -> (i32[], f32[8]) {
   %0: i32[] = constant {value=i32 1}
   %1: i32[] = add i, %0
   %2: f32[8] = add v, x
   return %1, %2
  }, carried=2}
 assign_variable v, %4
 %5: f32[8] = add %1, %4
 assign_variable w, %5
 return %0
}"""
    check(text, X, variables=[X + 1, X * 2])
    plan = plan_program(parse(text))
    assert isinstance(plan, ControlPlan)
    assert [plan.places[plan.root(value)].kind for _, value in plan.commits] == ["temporary"]  # v alone


def test_exchanged_variables_in_a_program_with_branches():
    text = """graph f(p: b1[], v: var f32[4], w: var f32[4], a: var f32[], b: var f32[]) -> () {
 %0: f32[4] = read_variable v
 %1: f32[4] = read_variable w
 %2: f32[] = read_variable a
 %3: f32[] = read_variable b
 %4: f32[4], %5: f32[4], %6: f32[], %7: f32[] = switch p, %0, %1, %2, %3 {branches=(
  graph no(v: f32[4], w: f32[4], a: f32[], b: f32[]) -> (f32[4], f32[4], f32[], f32[]) { return v, w, a, b },
  graph yes(v: f32[4], w: f32[4], a: f32[], b: f32[]) -> (f32[4], f32[4], f32[], f32[]) { return w, v, b, a })}
 assign_variable v, %4
 assign_variable w, %5
 assign_variable a, %6
 assign_variable b, %7
 return
}"""
    start = [X[:4].copy(), X[4:].copy(), np.array(1, np.float32), np.array(2, np.float32)]
    for flag in (False, True):
        check(text, np.array(flag), variables=start)
