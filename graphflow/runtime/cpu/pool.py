"""A native thread pool for parallel loops, entered and left without Python.

    void graphflow_parallel_for(ptr kernel, ptr table, i64 count, i64 grain)
    void kernel(ptr table, i64 low, i64 high, i64 worker)

splits [0, count) into chunks whose borders are multiples of `grain` and calls the kernel once a chunk, on the calling
thread (worker 0) and on at most `threads() - 1` pool threads (workers 1 ...). A worker number is unique among the
threads that run for the same call and less than WORKERS, so it may index scratch memory of that call. The whole range
goes to the calling thread as `kernel(table, 0, count, 0)` when it is at most `grain`, when there is one thread, or
when the pool is busy: another Python thread is inside, or the caller is itself a kernel. An empty range calls
nothing. Kernels must not care where chunks begin; then results do not depend on the number of threads. A kernel must
return: it may not unwind.

How a region runs. All of it is in one 64-bit word, the gate: a generation number, an open mark, and how many pool
threads are inside. The caller fills in the region, opens the gate, works, closes the gate, and waits for those
inside. A pool thread that sees a new generation enters by compare-and-swap, so a thread which the operating system
does not run is never waited for: a region on an oversubscribed machine costs what one thread costs. The range is cut
into one block for each thread, a block into CHUNKS_PER_BLOCK chunks; a thread takes chunks of its own block first
(the same part of the arrays as in the region before, so what lies in its cache is used) and then helps with the
others.

Idle pool threads spin SPIN_MICROSECONDS and then block, each on its own condition variable, in a binary tree of
wakers: thread i wakes 2i+1 and 2i+2 where they sleep, so a region on a big machine does not pay for every wake.
Measured on 2 cores of a shared EPYC: a region costs 0.1 us more than half its work with a hot pool thread, 2.7 us
with a sleeping one.

The threads are made by pthread_create in native code, not by Python: a process that never opens a region has none, a
forked child starts its own at its first region, and they are invisible to `threading` and unknown to interpreter exit
(their code is never unmapped). Signals stay with Python's threads. Linux and macOS; elsewhere there is one worker and
no pthread.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ... import config
from . import llvm

__all__ = ["WORKERS", "parallel_for_address", "set_threads", "threads"]

WORKERS = config.MOST_THREADS
"""The most threads a region can have, its caller included."""
SPIN_MICROSECONDS = 30.0
"""How long an idle pool thread, or a caller whose last chunk runs elsewhere, spins before it blocks: a few times the
cost of a wake-up (2-8 us), so that kernels which follow each other stay hot, and little enough for an oversubscribed
machine."""
CHUNKS_PER_BLOCK = 4
"""Chunks a thread's block is cut into. 1 cannot balance (a region then takes as long as its slowest thread); each
chunk more costs an atomic addition, about 20 ns."""
STACK_BYTES = 4 * 1024 * 1024
"""A pool thread's stack: kernels keep packing buffers of some 100 kB there, and the default of macOS and musl is
less."""

_OPEN = 1 << 17
_WAITING = 1 << 16
_INSIDE = (1 << 16) - 1
_GENERATION = 18

_THREADS_SUPPORTED = sys.platform.startswith("linux") or sys.platform == "darwin"

_lock = threading.Lock()
_pool: _Pool | None = None


@dataclass(frozen=True)
class _Pool:
    """The linked pool: its code, the address of the entry, and native functions to set it up."""

    library: llvm.Library
    parallel_for: int
    set_threads: Callable[..., Any]
    started: Callable[..., Any]
    reset: Callable[..., Any]


def parallel_for_address() -> int:
    """The address of `graphflow_parallel_for`. The first call compiles it (about 15 ms, 1 ms from the disk cache); it
    stays valid for the life of the process, and in its forked children."""
    return _ready().parallel_for


def threads() -> int:
    """The most threads a region uses: the flag `threads`, or the cores this process may use where it is 0."""
    return min(config.thread_limit(), WORKERS) or _default_threads()


def set_threads(count: int) -> None:
    """Use at most `count` threads a region from now on, at any time: sets the flag `threads`. ValueError unless
    1 <= count <= WORKERS.

    Regions that are running keep theirs. Fewer threads later leaves the others asleep.
    """
    if not 1 <= count <= WORKERS:
        raise ValueError(f"set_threads: the number of threads must be from 1 to {WORKERS}, got {count}")
    config.set_flags(threads=count)


def _apply() -> None:
    """Tell the pool how many threads there are to be now."""
    with _lock:
        if _pool is not None:
            _pool.set_threads(threads() if _THREADS_SUPPORTED else 1)


config.when_changed("threads", lambda: _apply())


def _default_threads() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only; sees cpusets and taskset
    usable = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(usable, WORKERS) if _THREADS_SUPPORTED else 1


def _ready() -> _Pool:
    global _pool
    with _lock:
        if _pool is None:
            _pool = _build()
            _pool.set_threads(threads() if _THREADS_SUPPORTED else 1)
        return _pool


def _build() -> _Pool:
    names = ["parallel_for", "pool_set_threads", "pool_started", "pool_reset", "pool_spin"]
    library = llvm.compile_module(_module(), [f"graphflow_{name}" for name in names], level="quick")
    library.keep_forever()

    def native(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
        return ctypes.CFUNCTYPE(result, *arguments)(library.address(f"graphflow_pool_{name}"))

    reset = native("reset", None, ctypes.c_int64)
    reset(_spin_count(native("spin", None, ctypes.c_int64)))
    return _Pool(
        library,
        library.address("graphflow_parallel_for"),
        native("set_threads", None, ctypes.c_int64),
        native("started", ctypes.c_int64),
        reset,
    )


def _spin_count(spin: Callable[..., Any]) -> int:
    """Turns of the spin loop that take SPIN_MICROSECONDS. Measured, because x86's `pause` takes from 10 to 140
    cycles; the least of five runs, because another process may interrupt one."""
    turns = 500
    nanoseconds = []
    for _ in range(5):
        start = time.perf_counter_ns()
        spin(turns)
        nanoseconds.append(time.perf_counter_ns() - start)
    return max(100, int(turns * SPIN_MICROSECONDS * 1000 / max(min(nanoseconds), 100)))


def _after_fork_in_child() -> None:
    """The child has none of the pool's threads, and copies of locks that they may have held."""
    global _lock
    _lock = threading.Lock()
    if _pool is not None:
        _pool.reset(0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _pause() -> str:
    """What a spinning thread does between two looks: tells the core so, which also leaves a sibling hyper-thread its
    units."""
    machine = os.uname().machine if hasattr(os, "uname") else ""
    if machine in ("x86_64", "amd64", "i686"):
        return 'call void asm sideeffect "pause", "~{memory}"()'
    if machine in ("aarch64", "arm64"):
        return 'call void asm sideeffect "isb", "~{memory}"()'  # about 10 ns; `yield` is nothing on most cores
    return 'call void asm sideeffect "", "~{memory}"()'


def _module() -> str:
    return _serial_module() if not _THREADS_SUPPORTED else _threaded_module()


def _serial_module() -> str:
    return """
define void @graphflow_parallel_for(ptr %kernel, ptr %table, i64 %count, i64 %grain) nounwind {
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %run, label %done
run:
  call void %kernel(ptr %table, i64 0, i64 %count, i64 0)
  br label %done
done:
  ret void
}
define void @graphflow_pool_set_threads(i64 %threads) nounwind {
  ret void
}
define i64 @graphflow_pool_started() nounwind {
  ret i64 0
}
define void @graphflow_pool_reset(i64 %turns) nounwind {
  ret void
}
define void @graphflow_pool_spin(i64 %turns) nounwind {
  ret void
}
"""


def _threaded_module() -> str:
    """The pool as LLVM IR.

    Every atomic operation that takes part in sleeping and waking is seq_cst: a thread marks itself asleep and then
    looks at the gate, a waker changes the gate and then looks for the mark, so at least one of the two sees the
    other.

    Sleepers and blocks have 128 and 64 bytes each, so threads do not share cache lines. pthread types are opaque
    here: at most 64 bytes on Linux and macOS (pthread_mutex_t 40 and 64, pthread_cond_t 48, pthread_attr_t 56 and 64,
    sigset_t 128 and 4), made by their own init functions.
    """
    sig_setmask = 2 if sys.platform.startswith("linux") else 3
    return f"""
@gate      = internal global i64 0, align 128
@busy      = internal global i32 0, align 128
@threads   = internal global i64 1, align 128
@started   = internal global i64 0
@turns     = internal global i64 1000
@kernel    = internal global ptr null, align 128
@table     = internal global ptr null
@count     = internal global i64 0
@chunk     = internal global i64 0
@team      = internal global i64 0
@blocks    = internal global [{WORKERS} x [8 x i64]] zeroinitializer, align 128
@asleep    = internal global [{WORKERS} x [16 x i64]] zeroinitializer, align 128
@mutexes   = internal global [{WORKERS} x [128 x i8]] zeroinitializer, align 128
@conditions = internal global [{WORKERS} x [128 x i8]] zeroinitializer, align 128

declare i32 @pthread_create(ptr, ptr, ptr, ptr) nounwind
declare i32 @pthread_attr_init(ptr) nounwind
declare i32 @pthread_attr_destroy(ptr) nounwind
declare i32 @pthread_attr_setdetachstate(ptr, i32) nounwind
declare i32 @pthread_attr_setstacksize(ptr, i64) nounwind
declare i32 @pthread_sigmask(i32, ptr, ptr) nounwind
declare i32 @sigfillset(ptr) nounwind
declare i32 @pthread_mutex_init(ptr, ptr) nounwind
declare i32 @pthread_mutex_lock(ptr) nounwind
declare i32 @pthread_mutex_unlock(ptr) nounwind
declare i32 @pthread_cond_init(ptr, ptr) nounwind
declare i32 @pthread_cond_wait(ptr, ptr) nounwind
declare i32 @pthread_cond_signal(ptr) nounwind

define void @graphflow_pool_set_threads(i64 %threads) nounwind {{
  store atomic i64 %threads, ptr @threads seq_cst, align 8
  ret void
}}

define i64 @graphflow_pool_started() nounwind {{
  %started = load atomic i64, ptr @started seq_cst, align 8
  ret i64 %started
}}

; What the spin loops below cost for %turns turns, to calibrate them.
define void @graphflow_pool_spin(i64 %turns) nounwind {{
entry:
  br label %look
look:
  %turn = phi i64 [0, %entry], [%next, %look]
  %now = load atomic i64, ptr @gate seq_cst, align 8
  {_pause()}
  %next = add i64 %turn, 1
  %more = icmp slt i64 %next, %turns
  br i1 %more, label %look, label %done
done:
  ret void
}}

; The state in which no thread has been started. %turns: of a spin loop, 0 leaves it as it is.
define void @graphflow_pool_reset(i64 %turns) nounwind {{
entry:
  %given = icmp ne i64 %turns, 0
  br i1 %given, label %set, label %clear
set:
  store i64 %turns, ptr @turns
  br label %clear
clear:
  store i64 0, ptr @gate
  store i32 0, ptr @busy
  store i64 0, ptr @started
  br label %each
each:
  %i = phi i64 [0, %clear], [%next, %each]
  %asleep = getelementptr [16 x i64], ptr @asleep, i64 %i
  store i64 0, ptr %asleep
  %mutex = getelementptr [128 x i8], ptr @mutexes, i64 %i
  %condition = getelementptr [128 x i8], ptr @conditions, i64 %i
  call void @llvm.memset.p0.i64(ptr %mutex, i8 0, i64 128, i1 false)
  call void @llvm.memset.p0.i64(ptr %condition, i8 0, i64 128, i1 false)
  %r0 = call i32 @pthread_mutex_init(ptr %mutex, ptr null)
  %r1 = call i32 @pthread_cond_init(ptr %condition, ptr null)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, {WORKERS}
  br i1 %more, label %each, label %done
done:
  ret void
}}

; Start pool threads until there are %wanted. Where the system refuses one, do with those there are.
define internal void @start(i64 %wanted) nounwind noinline cold {{
entry:
  %attribute = alloca [128 x i8], align 16
  %all = alloca [128 x i8], align 16
  %before = alloca [128 x i8], align 16
  %thread = alloca i64
  %r0 = call i32 @pthread_attr_init(ptr %attribute)
  %r1 = call i32 @pthread_attr_setdetachstate(ptr %attribute, i32 {1 if sys.platform.startswith("linux") else 2})
  %r2 = call i32 @pthread_attr_setstacksize(ptr %attribute, i64 {STACK_BYTES})
  %r3 = call i32 @sigfillset(ptr %all)
  %r4 = call i32 @pthread_sigmask(i32 {sig_setmask}, ptr %all, ptr %before)
  %first = load i64, ptr @started
  br label %each
each:
  %started = phi i64 [%first, %entry], [%next, %made]
  %enough = icmp sge i64 %started, %wanted
  br i1 %enough, label %done, label %make
make:
  %next = add i64 %started, 1
  %argument = inttoptr i64 %next to ptr
  %refused = call i32 @pthread_create(ptr %thread, ptr %attribute, ptr @worker, ptr %argument)
  %ok = icmp eq i32 %refused, 0
  br i1 %ok, label %made, label %short
made:
  store atomic i64 %next, ptr @started seq_cst, align 8
  br label %each
short:
  store atomic i64 %next, ptr @threads seq_cst, align 8
  br label %done
done:
  %r5 = call i32 @pthread_sigmask(i32 {sig_setmask}, ptr %before, ptr null)
  %r6 = call i32 @pthread_attr_destroy(ptr %attribute)
  ret void
}}

; Wake thread %i if it sleeps and belongs to a team of %team.
define internal void @wake(i64 %i, i64 %team) nounwind {{
entry:
  %asleep = getelementptr [16 x i64], ptr @asleep, i64 %i
  %member = icmp slt i64 %i, %team
  br i1 %member, label %look, label %done
look:
  %mark = load atomic i64, ptr %asleep seq_cst, align 8
  %sleeps = icmp ne i64 %mark, 0
  br i1 %sleeps, label %signal, label %done
signal:
  %mutex = getelementptr [128 x i8], ptr @mutexes, i64 %i
  %condition = getelementptr [128 x i8], ptr @conditions, i64 %i
  %r0 = call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i64 0, ptr %asleep seq_cst, align 8
  %r1 = call i32 @pthread_cond_signal(ptr %condition)
  %r2 = call i32 @pthread_mutex_unlock(ptr %mutex)
  br label %done
done:
  ret void
}}

; Take chunks, of one's own block first, then of the others in turn.
define internal void @work(i64 %me) nounwind {{
entry:
  %kernel = load ptr, ptr @kernel
  %table = load ptr, ptr @table
  %count = load i64, ptr @count
  %chunk = load i64, ptr @chunk
  %team = load i64, ptr @team
  %block.size = mul i64 %chunk, {CHUNKS_PER_BLOCK}
  br label %block
block:
  %turn = phi i64 [0, %entry], [%turn.next, %block.end]
  %shifted = add i64 %me, %turn
  %past = icmp sge i64 %shifted, %team
  %wrapped = sub i64 %shifted, %team
  %victim = select i1 %past, i64 %wrapped, i64 %shifted
  %start = mul i64 %victim, %block.size
  %taken = getelementptr [8 x i64], ptr @blocks, i64 %victim
  br label %take
take:
  %offset = atomicrmw add ptr %taken, i64 %chunk acq_rel, align 8
  %low = add i64 %start, %offset
  %inside = icmp slt i64 %offset, %block.size
  %exists = icmp slt i64 %low, %count
  %mine = and i1 %inside, %exists
  br i1 %mine, label %run, label %block.end
run:
  %end = add i64 %low, %chunk
  %high = call i64 @llvm.smin.i64(i64 %end, i64 %count)
  call void %kernel(ptr %table, i64 %low, i64 %high, i64 %me)
  br label %take
block.end:
  %turn.next = add i64 %turn, 1
  %more = icmp slt i64 %turn.next, %team
  br i1 %more, label %block, label %done
done:
  ret void
}}

; A pool thread's life. It returns never.
define internal ptr @worker(ptr %argument) nounwind {{
entry:
  %me = ptrtoint ptr %argument to i64
  %turns = load i64, ptr @turns
  %asleep = getelementptr [16 x i64], ptr @asleep, i64 %me
  %mutex = getelementptr [128 x i8], ptr @mutexes, i64 %me
  %condition = getelementptr [128 x i8], ptr @conditions, i64 %me
  %twice = shl i64 %me, 1
  %left = add i64 %twice, 1
  %right = add i64 %twice, 2
  br label %idle
idle:
  %seen = phi i64 [0, %entry], [%generation, %enter], [%generation, %region.done], [%generation, %closed]
  br label %look
look:
  %turn = phi i64 [0, %idle], [%turn.next, %pause]
  %word = load atomic i64, ptr @gate seq_cst, align 8
  %now = lshr i64 %word, {_GENERATION}
  %new = icmp ne i64 %now, %seen
  br i1 %new, label %region, label %pause
pause:
  {_pause()}
  %turn.next = add i64 %turn, 1
  %spin = icmp slt i64 %turn.next, %turns
  br i1 %spin, label %look, label %sleep
sleep:
  %r0 = call i32 @pthread_mutex_lock(ptr %mutex)
  store atomic i64 1, ptr %asleep seq_cst, align 8
  br label %asleep.look
asleep.look:
  %word.asleep = load atomic i64, ptr @gate seq_cst, align 8
  %now.asleep = lshr i64 %word.asleep, {_GENERATION}
  %new.asleep = icmp ne i64 %now.asleep, %seen
  br i1 %new.asleep, label %awake, label %wait
wait:
  %r1 = call i32 @pthread_cond_wait(ptr %condition, ptr %mutex)
  %mark = load atomic i64, ptr %asleep seq_cst, align 8
  %still = icmp ne i64 %mark, 0
  br i1 %still, label %asleep.look, label %awake
awake:
  store atomic i64 0, ptr %asleep seq_cst, align 8
  %r2 = call i32 @pthread_mutex_unlock(ptr %mutex)
  %word.awake = load atomic i64, ptr @gate seq_cst, align 8
  br label %region
region:
  %seen.word = phi i64 [%word, %look], [%word.awake, %awake]
  br label %enter
enter:
  %at = phi i64 [%seen.word, %region], [%found, %try]
  %generation = lshr i64 %at, {_GENERATION}
  %open.bit = and i64 %at, {_OPEN}
  %open = icmp ne i64 %open.bit, 0
  %team = load atomic i64, ptr @team monotonic, align 8
  %member = icmp slt i64 %me, %team
  %may = and i1 %open, %member
  br i1 %may, label %try, label %idle
try:
  %more = add i64 %at, 1
  %exchange = cmpxchg ptr @gate, i64 %at, i64 %more seq_cst seq_cst, align 8
  %found = extractvalue {{ i64, i1 }} %exchange, 0
  %entered = extractvalue {{ i64, i1 }} %exchange, 1
  br i1 %entered, label %run, label %enter
run:
  call void @wake(i64 %left, i64 %team)
  call void @wake(i64 %right, i64 %team)
  call void @work(i64 %me)
  %old = atomicrmw sub ptr @gate, i64 1 seq_cst, align 8
  %others = and i64 %old, {_INSIDE | _WAITING}
  %last = icmp eq i64 %others, {_WAITING | 1}
  br i1 %last, label %closed, label %region.done
region.done:
  br label %idle
closed:
  %r3 = call i32 @pthread_mutex_lock(ptr @mutexes)
  %r4 = call i32 @pthread_cond_signal(ptr @conditions)
  %r5 = call i32 @pthread_mutex_unlock(ptr @mutexes)
  br label %idle
}}

define void @graphflow_parallel_for(ptr %kernel, ptr %table, i64 %count, i64 %grain) nounwind {{
entry:
  %divisible = icmp sgt i64 %count, %grain
  br i1 %divisible, label %several, label %serial
several:
  %threads = load atomic i64, ptr @threads monotonic, align 8
  %alone = icmp slt i64 %threads, 2
  br i1 %alone, label %serial, label %claim
claim:
  %claimed = cmpxchg ptr @busy, i32 0, i32 1 acq_rel monotonic, align 4
  %free = extractvalue {{ i32, i1 }} %claimed, 1
  br i1 %free, label %prepare, label %serial
serial:
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %serial.run, label %done
serial.run:
  call void %kernel(ptr %table, i64 0, i64 %count, i64 0)
  br label %done
prepare:
  %started = load i64, ptr @started
  %wanted = sub i64 %threads, 1
  %enough = icmp sge i64 %started, %wanted
  br i1 %enough, label %describe, label %start
start:
  call void @start(i64 %wanted)
  br label %describe
describe:
  %below = sub i64 %count, 1
  %quotient = udiv i64 %below, %grain
  %units = add i64 %quotient, 1
  %team = call i64 @llvm.smin.i64(i64 %units, i64 %threads)
  %pieces = mul i64 %team, {CHUNKS_PER_BLOCK}
  %rounded = add i64 %units, %pieces
  %rounded.below = sub i64 %rounded, 1
  %each = udiv i64 %rounded.below, %pieces
  %chunk = mul i64 %each, %grain
  store ptr %kernel, ptr @kernel
  store ptr %table, ptr @table
  store i64 %count, ptr @count
  store i64 %chunk, ptr @chunk
  store atomic i64 %team, ptr @team monotonic, align 8
  br label %clear
clear:
  %i = phi i64 [0, %describe], [%i.next, %clear]
  %block = getelementptr [8 x i64], ptr @blocks, i64 %i
  store atomic i64 0, ptr %block monotonic, align 8
  %i.next = add i64 %i, 1
  %i.more = icmp slt i64 %i.next, %team
  br i1 %i.more, label %clear, label %open
open:
  %last = load atomic i64, ptr @gate monotonic, align 8
  %generation = lshr i64 %last, {_GENERATION}
  %generation.next = add i64 %generation, 1
  %shifted = shl i64 %generation.next, {_GENERATION}
  %word = or i64 %shifted, {_OPEN}
  %unused = atomicrmw xchg ptr @gate, i64 %word seq_cst, align 8
  call void @wake(i64 1, i64 %team)
  call void @wake(i64 2, i64 %team)
  call void @work(i64 0)
  %closing = atomicrmw and ptr @gate, i64 {~_OPEN} seq_cst, align 8
  %inside.closing = and i64 %closing, {_INSIDE}
  %empty.closing = icmp eq i64 %inside.closing, 0
  br i1 %empty.closing, label %leave, label %drain
drain:
  %turns = load i64, ptr @turns
  br label %drain.look
drain.look:
  %turn = phi i64 [0, %drain], [%turn.next, %drain.pause]
  %drain.word = load atomic i64, ptr @gate seq_cst, align 8
  %drain.inside = and i64 %drain.word, {_INSIDE}
  %drain.empty = icmp eq i64 %drain.inside, 0
  br i1 %drain.empty, label %leave, label %drain.pause
drain.pause:
  {_pause()}
  %turn.next = add i64 %turn, 1
  %spin = icmp slt i64 %turn.next, %turns
  br i1 %spin, label %drain.look, label %block.wait
block.wait:
  %r0 = call i32 @pthread_mutex_lock(ptr @mutexes)
  %marked = atomicrmw or ptr @gate, i64 {_WAITING} seq_cst, align 8
  br label %block.look
block.look:
  %block.word = load atomic i64, ptr @gate seq_cst, align 8
  %block.inside = and i64 %block.word, {_INSIDE}
  %block.empty = icmp eq i64 %block.inside, 0
  br i1 %block.empty, label %block.done, label %block.sleep
block.sleep:
  %r1 = call i32 @pthread_cond_wait(ptr @conditions, ptr @mutexes)
  br label %block.look
block.done:
  %r2 = call i32 @pthread_mutex_unlock(ptr @mutexes)
  br label %leave
leave:
  store atomic i32 0, ptr @busy release, align 4
  br label %done
done:
  ret void
}}
"""
