"""What the hand-written kernels share: making a routine for a node, its scratch memory, and running it over its units."""

from __future__ import annotations

from typing import Any

from ....ir.dims import Dim, product
from ..routine import Number, Routine

__all__ = ["new_routine", "run_routine", "worker_scratch"]

PARALLEL_WORK = 2_000_000
"""Work (instructions, roughly) from which a routine's units go to the pool."""


def new_routine(step: Any, node: Any) -> Routine:
    """An empty routine with a name of its own in the module."""
    return Routine(f"kernel_{node.op.name}{len(step.functions)}", step.slot, step.slots.dim)


def worker_scratch(step: Any, routine: Routine, number: int, place: int, bytes: Dim, units: Dim = 0) -> str:
    """Memory of `bytes` bytes for each worker of the pool; the address of the running worker's. units: how many there are, if that is
    known: one runs on the calling thread, which is worker 0."""
    from .. import pool

    key = ("scratch", number, place)
    each = (bytes + 63) // 64 * 64
    slot = step.scratch_slot(key, each if units == 1 else each * int(pool.WORKERS))
    address = routine.writer.let(f"getelementptr i64, ptr %table, i64 {slot}")
    base = routine.writer.let(f"load ptr, ptr {address}, align 8")
    own: Number = routine.worker * routine.dim(each)
    return routine.writer.let(f"getelementptr i8, ptr {base}, i64 {own.name}")


def run_routine(step: Any, routine: Routine, count: Dim, work: Dim) -> None:
    """Add the routine to the module and call it over `count` units of `work` instructions each, on the pool where it is worth it."""
    step.functions.append(routine.text())
    step.declarations |= routine.writer.declarations
    writer, name = step.writer, routine.name
    total = step.dim(count)
    serial = f"call void @{name}(ptr %table, i64 0, i64 {total}, i64 0)"
    whole = product([count, work])
    step.kernels += 1
    if isinstance(whole, int) and whole < PARALLEL_WORK or count == 1:
        writer.line(serial)
        return
    step.imports["graphflow_parallel_for"] = 0
    step.declarations.add("declare void @graphflow_parallel_for(ptr, ptr, i64, i64)")
    each = writer.intrinsic("llvm.smax", "i64", [("i64", step.dim(work)), ("i64", "1")], "i64")
    wanted = writer.let(f"sdiv i64 {PARALLEL_WORK // 2}, {each}")
    grain = writer.intrinsic("llvm.smax", "i64", [("i64", wanted), ("i64", "1")], "i64")
    writer.line(f"call void @graphflow_parallel_for(ptr @{name}, ptr %table, i64 {total}, i64 {grain})")
