"""Extents that only the run decides: values that grow, memory of run-time size on every way out of a call, results of unknown shape."""

from __future__ import annotations

import gc
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from control_interpreter import Native, check

import graphflow.ops  # noqa: F401  (registers the ops)
from graphflow.compiler import compile_graph
from graphflow.errors import DivisionByZeroError, IndexOutOfRangeError
from graphflow.ir import parse


def growing(body, results, initial="x", types="f32[k0,3]", after="f32[k0+1,3]"):
    """A loop of m steps whose array's first extent changes; a division fails at step 50 - m."""
    outside, given = types.replace("k0", "u0"), types.replace("k0", "n")
    return f"""graph f(x: {given}, m: i32[]) -> ({outside}) {{
 %0: i32[] = constant {{value=i32 0}}
 %1: i32[], %2: {outside} = while %0, {initial}, m {{
  condition = graph c(i: i32[], x: {types}, m: i32[]) -> (b1[]) {{
   %0: b1[] = less i, m
   return %0
  }},
  body = graph b(i: i32[], x: {types}, m: i32[]) -> (i32[], {after}) {{
   %0: i32[] = constant {{value=i32 1}}
   %1: i32[] = add i, %0
   %2: i32[] = constant {{value=i32 50}}
   %3: i32[] = subtract %2, i
   %4: i32[] = floordiv m, %3
   {body}
   return %1, {results}
  }}, carried=2, extents=("u0",)}}
 return %2
}}"""


APPEND = growing("%5: f32[3] = reduce_sum x {axes=(0,)}\n%6: f32[k0+1,3] = append_row x, %5", "%6")


def number(value):
    return np.array(value, np.int32)


def rows(count):
    return np.arange(count * 3, dtype=np.float32).reshape(count, 3)


@pytest.mark.parametrize("steps", [0, 1, 2, 40])
@pytest.mark.parametrize("start", [0, 1, 7])
def test_appending(start, steps):
    (found,) = check(APPEND, rows(start), number(steps))
    assert found.shape == (start + steps, 3)
    assert found.flags.c_contiguous
    assert found.flags.writeable


def test_appending_moves_each_row_a_few_times_at_most():
    """The buffer at least doubles: 40,000 rows take a few dozen allocations, and no copy of the array for each row."""
    text = growing("%5: f32[3] = constant {value=f32 [1.0, 2.0, 3.0]}\n%6: f32[k0+1,3] = append_row x, %5", "%6")
    text = text.replace("i32 50", "i32 1000000")
    native = Native(text)
    plan = native.program.plan
    assert all(not moves.copies and not moves.addresses for moves in plan.moves.values())
    (found,) = native(rows(0), number(40_000))
    assert found.shape == (40_000, 3)
    assert (found == [1, 2, 3]).all()


CHANGING = {
    "doubled": ("%5: f32[2*k0] = concat x, x {axis=0}", "%5", "f32[k0]", "f32[2*k0]"),
    "in place": ("%5: f32[k0,3] = exp x", "%5", "f32[k0,3]", "f32[k0,3]"),
    "read at other places": ("%5: f32[k0] = reverse x {axes=(0,)}\n%6: f32[k0] = add %5, x\n"
                             "%7: f32[] = reduce_max %6 {axes=(0,)}\n%8: f32[k0+1] = append_row %6, %7", "%8", "f32[k0]", "f32[k0+1]"),
    "softmax": ("%5: f32[1] = reduce_max x {axes=(0,), keepdims=True}\n%6: f32[k0] = subtract x, %5\n%7: f32[k0] = exp %6\n"
                "%8: f32[1] = reduce_sum %7 {axes=(0,), keepdims=True}\n%9: f32[k0] = divide %7, %8", "%9", "f32[k0]", "f32[k0]"),
    "a product": ("%5: f32[3,k0] = transpose x {permutation=(1, 0)}\n%6: f32[k0,k0] = matmul x, %5\n"
                  "%7: f32[k0,3] = matmul %6, x\n%8: f32[3] = reduce_sum %7 {axes=(0,)}\n%9: f32[k0+1,3] = append_row x, %8",
                  "%9", "f32[k0,3]", "f32[k0+1,3]"),
    "shrinking": ("%5: f32[k0//2] = strided_slice x {begin=(0,), sizes=(k0//2,), strides=(2,)}", "%5", "f32[k0]", "f32[k0//2]"),
    "an extent as a number": ("%5: i32[] = dimension x {axis=0}\n%6: f32[] = cast %5 {dtype=f32}\n%7: f32[k0] = add x, %6\n"
                              "%8: f32[k0+1] = append_row %7, %6", "%8", "f32[k0]", "f32[k0+1]"),
}  # fmt: skip


@pytest.mark.parametrize("steps", [0, 1, 3, 6])
@pytest.mark.parametrize("case", CHANGING)
def test_changing_extents(case, steps):
    body, results, types, after = CHANGING[case]
    for start in (1, 2, 9, 100) if "max" in body else (0, 1, 2, 9, 100):
        x = np.sin(np.arange(start * (3 if "," in types else 1), dtype=np.float32)) * 0.1
        check(
            growing(body, results, types=types, after=after),
            x.reshape((start, 3) if "," in types else (start,)), number(steps),
        )  # fmt: skip


def test_a_branch_of_another_extent():
    text = """graph f(p: i32[], x: f32[n], y: f32[m]) -> (f32[u0], f32[u0], f32[]) {
 %0: f32[u0], %1: f32[u0] = switch p, x, y {branches=(
  graph a(x: f32[n], y: f32[m]) -> (f32[n], f32[n]) {
   %0: f32[n] = exp x
   return %0, x
  },
  graph b(x: f32[n], y: f32[m]) -> (f32[m], f32[m]) { return y, y },
  graph c(x: f32[n], y: f32[m]) -> (f32[n+m], f32[n+m]) {
   %0: f32[n+m] = concat x, y {axis=0}
   return %0, %0
  }), extents=("u0",)}
 %2: f32[u0] = add %0, %1
 %3: f32[] = reduce_sum %2 {axes=(0,)}
 return %0, %2, %3
}"""
    for p in range(3):
        for n, m in ((3, 5), (0, 4), (4, 0), (0, 0)):
            check(text, number(p), np.ones(n, np.float32), np.arange(m, dtype=np.float32))


def test_a_loop_that_does_not_run_keeps_the_extent():
    executable = compile_graph(parse(APPEND))
    assert executable.output_shapes({"n": 4}) == [(None, 3)]
    binding = executable.bind({}, {"n": 4})
    assert binding.dynamic_outputs == (0,)
    status, (found,) = binding.run([rows(4), number(0)])
    assert status == 0
    assert found.tobytes() == rows(4).tobytes()


def test_results_of_known_and_of_run_time_shape_together():
    text = APPEND.replace("-> (f32[u0,3]) {\n", "-> (i32[], f32[u0,3], f32[n,3], f32[u0,3]) {\n").replace(
        " return %2\n}", " %3: f32[n,3] = negative x\n return %1, %2, %3, %2\n}"
    )
    found = check(text, rows(2), number(3))
    assert [f.shape for f in found] == [(), (5, 3), (2, 3), (5, 3)]
    assert not np.shares_memory(found[1], found[3])


def test_results_outlive_their_program():
    native = Native(APPEND)
    held = [native(rows(2), number(k))[0] for k in range(20)]
    del native
    gc.collect()
    for k, found in enumerate(held):
        assert found.shape == (2 + k, 3)
        assert found[:2].tobytes() == rows(2).tobytes()


# Failures -------------------------------------------------------------------------------------------------------------
def resident():
    """Bytes of this process in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("steps", [45, 60])
def test_every_way_out_frees_the_memory(steps):
    """10,000 calls of a program that allocates in a loop, and succeeds or fails at step 50 of it, leave memory as it was."""
    native = Native(APPEND)
    x, m = np.ones((400, 3), np.float32), number(steps)
    binding = native.binding([x, m])
    for _ in range(500):
        status, _ = binding.run([x, m])
    assert (status == 0) == (steps < 50)
    before = resident()
    for _ in range(10_000):
        binding.run([x, m])
    assert resident() - before < 1_000_000  # one buffer a call would be 50 MB


def test_failures_in_growing_loops():
    with pytest.raises(DivisionByZeroError, match=r"floordiv: integer division by zero\n  at <text>:1\d"):
        Native(APPEND)(rows(2), number(60))
    text = growing("%5: f32[3] = gather x, i {axis=0}\n%6: f32[k0,3] = update_row x, i, %5", "%6", after="f32[k0,3]")
    with pytest.raises(IndexOutOfRangeError, match=r"gather: index out of range"):
        Native(text)(rows(2), number(3))
    outside = text.replace("gather x, i", "gather x, %0").replace("update_row x, i", "update_row x, m")
    with pytest.raises(IndexOutOfRangeError, match=r"update_row: index out of range: index 3\n"):
        Native(outside)(rows(2), number(3))


HUGE = """graph f(x: f32[n], m: i32[]) -> (f32[u0]) {
 %0: i32[] = constant {value=i32 0}
 %1: i32[], %2: f32[u0] = while %0, x, m {
  condition = graph c(i: i32[], x: f32[k0], m: i32[]) -> (b1[]) {
   %0: b1[] = less i, m
   return %0
  },
  body = graph b(i: i32[], x: f32[k0], m: i32[]) -> (i32[], f32[k0*k0*k0]) {
   %0: i32[] = constant {value=i32 1}
   %1: i32[] = add i, %0
   %2: f32[] = gather x, i {axis=0}
   %3: f32[k0*k0*k0] = broadcast_to %2 {shape=(k0*k0*k0,)}
   return %1, %3
  }, carried=2, extents=("u0",)}
 return %2
}"""


def test_out_of_memory():
    native = Native(HUGE)
    x = np.arange(20, dtype=np.float32)
    (found,) = native(x, number(1))
    assert found.shape == (8000,)
    for _ in range(20):
        with pytest.raises(MemoryError):
            native(np.arange(40, dtype=np.float32), number(3))  # 64,000 cubed
    assert native(x, number(1))[0].shape == (8000,)


# Threads --------------------------------------------------------------------------------------------------------------
def test_one_binding_called_from_many_threads():
    native = Native(APPEND)
    x = rows(50)
    binding = native.binding([x, number(0)])
    expected = {k: native(x, number(k))[0].tobytes() for k in range(0, 49, 7)}
    gate = threading.Barrier(3)

    def call(thread):
        gate.wait()
        for _ in range(30):
            for k, wanted in expected.items():
                status, (found,) = binding.run([x, number(k)])
                assert status == 0
                assert found.tobytes() == wanted
            assert binding.run([x, number(60)])[0] != 0
        return True

    with ThreadPoolExecutor(3) as executor:
        assert all(executor.map(call, range(3)))
