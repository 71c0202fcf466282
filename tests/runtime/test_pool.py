"""The thread pool runs every element once, whoever calls it, and survives forks and exits."""

from __future__ import annotations

import ctypes
import functools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphflow import config
from graphflow.runtime.cpu import llvm, pool

Array = np.ndarray[Any, Any]

# add: table[i] += 1. workers: table[i] = the worker's number. nested: a region inside every chunk. many: regions one
# after another.
KERNELS = """
declare void @graphflow_parallel_for(ptr, ptr, i64, i64)
define void @add(ptr %table, i64 %low, i64 %high, i64 %worker) {
entry:
  br label %loop
loop:
  %i = phi i64 [%low, %entry], [%next, %loop]
  %place = getelementptr i64, ptr %table, i64 %i
  %old = load i64, ptr %place
  %new = add i64 %old, 1
  store i64 %new, ptr %place
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %high
  br i1 %more, label %loop, label %done
done:
  ret void
}
define void @workers(ptr %table, i64 %low, i64 %high, i64 %worker) {
entry:
  br label %loop
loop:
  %i = phi i64 [%low, %entry], [%next, %loop]
  %place = getelementptr i64, ptr %table, i64 %i
  store i64 %worker, ptr %place
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %high
  br i1 %more, label %loop, label %done
done:
  ret void
}
define void @borders(ptr %table, i64 %low, i64 %high, i64 %worker) {
  %place = getelementptr i64, ptr %table, i64 %low
  store i64 %high, ptr %place
  ret void
}
define void @nested(ptr %table, i64 %low, i64 %high, i64 %worker) {
  %part = getelementptr i64, ptr %table, i64 %low
  %count = sub i64 %high, %low
  call void @graphflow_parallel_for(ptr @add, ptr %part, i64 %count, i64 1)
  ret void
}
define void @many(ptr %table, i64 %count, i64 %grain, i64 %times) {
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  call void @graphflow_parallel_for(ptr @add, ptr %table, i64 %count, i64 %grain)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %times
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


@functools.cache
def kernels() -> llvm.Library:
    names = ["add", "workers", "borders", "nested", "many"]
    return llvm.compile_module(KERNELS, names, {"graphflow_parallel_for": pool.parallel_for_address()})


def parallel_for(kernel: str, table: Array, count: int, grain: int) -> None:
    native = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    native(pool.parallel_for_address())(kernels().address(kernel), table.ctypes.data, count, grain)


def many(table: Array, grain: int, times: int) -> None:
    native = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    native(kernels().address("many"))(table.ctypes.data, len(table), grain, times)


@pytest.fixture(autouse=True)
def restore_threads() -> Iterator[None]:
    before = config.flags().threads
    yield
    config.set_flags(threads=before)


@pytest.mark.parametrize("threads", [1, 2, 4, 64])
@pytest.mark.parametrize("grain", [1, 7, 64])
def test_every_element_once(threads: int, grain: int) -> None:
    pool.set_threads(threads)
    for count in (0, 1, 6, 7, 8, 63, 64, 65, 1000, 100_003):
        table = np.zeros(count + 8, np.int64)
        for _ in range(3):
            parallel_for("add", table, count, grain)
        assert (table[:count] == 3).all() and (table[count:] == 0).all()


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_chunks_begin_at_multiples_of_the_grain(threads: int) -> None:
    pool.set_threads(threads)
    for count, grain in ((1000, 16), (1001, 7), (33, 32), (64, 1), (5, 100)):
        ends = np.zeros(count, np.int64)
        parallel_for("borders", ends, count, grain)
        starts = np.flatnonzero(ends)
        assert (starts % grain == 0).all()
        assert starts[0] == 0 and list(ends[starts]) == [*starts[1:], count]
        assert len(starts) == 1 or count > grain


def test_small_ranges_and_one_thread_stay_on_the_caller() -> None:
    table = np.full(100_000, -1, np.int64)
    pool.set_threads(4)
    parallel_for("workers", table, 500, 500)
    assert (table[:500] == 0).all()
    pool.set_threads(1)
    parallel_for("workers", table, len(table), 1)
    assert (table == 0).all()


def test_worker_numbers_are_below_the_number_of_threads() -> None:
    for threads in (2, 3, 64):
        pool.set_threads(threads)
        table = np.full(200_000, -1, np.int64)
        for _ in range(20):
            parallel_for("workers", table, len(table), 1)
            assert table.min() >= 0 and table.max() < threads


def test_nested_regions() -> None:
    pool.set_threads(3)
    table = np.zeros(50_000, np.int64)
    for _ in range(50):
        parallel_for("nested", table, len(table), 100)
    assert (table == 50).all()


def test_python_threads_at_once() -> None:
    pool.set_threads(3)
    kernels()
    tables = [np.zeros(3000, np.int64) for _ in range(4)]
    workers = [threading.Thread(target=many, args=(table, 10, 2000)) for table in tables]
    for worker in workers:
        worker.start()
    for threads in (1, 2, 4, 3):  # at any time
        pool.set_threads(threads)
    for worker in workers:
        worker.join()
    assert all((table == 2000).all() for table in tables)


def test_sleeping_threads_wake() -> None:
    """Pauses long enough that the pool's threads block, so regions start and end on the slow path too."""
    pool.set_threads(4)
    table = np.zeros(5000, np.int64)
    for _ in range(100):
        parallel_for("add", table, len(table), 1)
        threading.Event().wait(0.0005)
    assert (table == 100).all()


def test_number_of_threads() -> None:
    for wrong in (0, -1, pool.WORKERS + 1):
        with pytest.raises(ValueError, match="from 1 to 64"):
            pool.set_threads(wrong)
    pool.set_threads(pool.WORKERS)
    assert pool.threads() == pool.WORKERS
    config.set_flags(threads=0)
    if hasattr(os, "sched_getaffinity"):
        assert pool.threads() == len(os.sched_getaffinity(0))


def script(body: str) -> subprocess.CompletedProcess[str]:
    """Run `body` after this file's definitions, in a process of its own."""
    place = Path(__file__).resolve()
    head = f"import sys\nsys.path[:0] = [{str(place.parent)!r}, {str(place.parents[2])!r}]\nfrom test_pool import *\n"
    command = [sys.executable, "-c", head + body]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork() -> None:
    """The child has none of the parent's threads and starts its own; the parent's go on. The fork happens while
    another thread is inside a region, with the pool's locks in whatever state."""
    result = script(
        """
pool.set_threads(3)
table = np.zeros(20_000, np.int64)
many(table, 10, 100)
busy = np.zeros(20_000, np.int64)
inside = threading.Thread(target=many, args=(busy, 10, 3000))
inside.start()
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        started = pool._pool.started()
        many(table, 10, 100)
        os._exit(0 if (table == 200).all() and started == 0 and pool._pool.started() == 2 else 1)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
inside.join()
many(table, 10, 100)
print(codes, (table == 200).all(), (busy == 3000).all())
"""
    )
    assert result.stdout.strip() == "[0, 0, 0] True True", result.stderr


def test_exit_with_running_threads() -> None:
    """Exit while pool threads spin or sleep, and while a Python daemon thread is inside a region."""
    result = script(
        """
pool.set_threads(4)
table = np.zeros(20_000, np.int64)
many(table, 10, 100)
threading.Thread(target=many, args=(table, 10, 10_000_000), daemon=True).start()
print("end")
"""
    )
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, "end", "")
