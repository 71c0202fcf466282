"""Rows of a large array by number: sums of the updates of a row, without the array; and rows replaced where the array lies."""

from __future__ import annotations

from typing import Any

from ....dtypes import DType, float32, uint16
from ....ir.dims import product
from ....kernels.nest import Check
from ....kernels.scalar import ScalarBuilder
from ..emit import Emitter
from ..routine import Number, Routine
from .common import new_routine, run_routine

__all__ = ["emit_row_sums", "emit_update_rows"]

_MIX = 0x9E3779B97F4A7C15 - (
    1 << 64
)  # 2**64 divided by the golden ratio, odd: multiplying spreads keys (Fibonacci hashing, Knuth)


def emit_row_sums(step: Any, node: Any, number: int) -> None:
    """indices[n], updates[n, rest...], wanted[m] -> [m, rest...]. A hash table with linear probing, of 2n + 1 places, finds for a
    row number the first update of that row, whose place among the sums the row's total gets: O(n + m) rows."""
    indices, updates, wanted = node.inputs
    out, dtype, index = node.output, node.output.type.dtype, indices.type.dtype
    inner, count = product(out.type.shape[1:]), indices.type.shape[0]
    places = 2 * count + 1
    r = new_routine(step, node)
    table = _scratch(step, r, number, 0, 8 * places)
    sums = _scratch(step, r, number, 1, product([count, inner]) * dtype.itemsize + 8)
    n, m, width, size = r.dim(count), r.dim(out.type.shape[0]), r.dim(inner), r.dim(places)
    rows = r.dim(node.attributes["rows"])
    numbers, source, asked, target = (r.pointer(v) for v in (indices, updates, wanted, out))
    r.fill(table, size * 8, 255)
    check = len(step.checks)
    for value in (indices, wanted):
        step.checks.append(Check("index_out_of_range", node.op.name, node.source, "", value.type.shape))
    step._can_fail = True

    def place_of(row: Number) -> Number:
        """Where the table has the row, or would have it."""
        mixed = (row * _MIX >> 32) & 0xFFFFFFFF
        spot = r.cell(mixed % size)

        def taken_by_another() -> Number:
            held = _entry(r, table, spot.get())
            # an empty place holds -1: reading the row number of update 0 instead is harmless
            other = r.convert(r.load(numbers, r.maximum(held, 0), index), "i64")
            return (held >= 0) & (other != row)

        with r.repeat(taken_by_another):
            following = spot.get() + 1
            spot.set(r.select(following == size, 0, following))
        return spot.get()

    with r.loop(n) as j:
        row = r.convert(r.load(numbers, j, index), "i64")
        inside = (row >= 0) & (row < rows)
        with r.when(~inside):
            r.fail(check, j)
        spot = place_of(row)
        held = _entry(r, table, spot)
        with r.when(held < 0):
            _put(r, table, spot, j)
            with r.loop(width) as c:
                value = r.load(source, j * width + c, dtype)
                r.store(sums, j * width + c, r.number(0.0, dtype) + value, dtype)
        with r.when(held >= 0), r.loop(width) as c:
            total = r.load(sums, held * width + c, dtype) + r.load(source, j * width + c, dtype)
            r.store(sums, held * width + c, total, dtype)
    with r.loop(m) as q:
        row = r.convert(r.load(asked, q, index), "i64")
        with r.when(~((row >= 0) & (row < rows))):
            r.fail(check + 1, q)
        found = r.cell(-1)
        with r.when(n > 0):
            found.set(_entry(r, table, place_of(row)))
        held = found.get()
        with r.when(held >= 0), r.loop(width) as c:
            r.store(target, q * width + c, r.load(sums, held * width + c, dtype), dtype)
        with r.when(held < 0), r.loop(width) as c:
            r.store(target, q * width + c, r.number(0.0, dtype), dtype)
    run_routine(step, r, 1, product([count, inner]) * 8)


def emit_update_rows(step: Any, node: Any, number: int) -> None:
    """array[rows, rest...], indices[n], new[n, rest...], rest[] -> array with these rows replaced and `rest` added to (subtracted
    from) the others."""
    array, indices, new, rest = node.inputs
    out, dtype, index = node.output, node.output.type.dtype, indices.type.dtype
    add = node.attributes["operation"] == "add"
    inner = product(out.type.shape[1:])
    r = new_routine(step, node)
    source, numbers, values, single, target = (r.pointer(v) for v in (array, indices, new, rest, out))
    n, width, cells = r.dim(indices.type.shape[0]), r.dim(inner), r.dim(product(out.type.shape))
    wide = rest.type.dtype
    amount = r.load(single, 0, wide)
    bits = r.bitcast(amount, "i32" if wide.itemsize == 4 else "i64")
    unchanged = bits == (-(1 << (8 * wide.itemsize - 1)) if add else 0)  # x + -0.0 and x - 0.0 are x, bit for bit
    moved = uint16 if dtype.is_narrow else dtype
    same = Number(r, r.writer.let(f"icmp eq ptr {source}, {target}"), "i1", False)
    with r.when(unchanged & ~same):
        r.copy(target, source, cells * dtype.itemsize)
    with r.when(~unchanged), r.loop(cells) as k:
        old = r.load(source, k, moved)
        r.store(target, k, _changed(r, old, amount, dtype, add), moved)
    with r.loop(n) as j:
        row = r.convert(r.load(numbers, j, index), "i64")
        with r.loop(width) as c:
            r.store(target, row * width + c, r.load(values, j * width + c, moved), moved)
    run_routine(step, r, 1, inner * 8)


def _changed(r: Routine, old: Number, amount: Number, dtype: DType, add: bool) -> Number:
    """old + amount or old - amount; of a narrow float (its bits) computed in float32."""
    if not dtype.is_narrow:
        return old + amount if add else old - amount
    s = ScalarBuilder()
    x, y = s.convert(s.parameter(0, dtype), float32), s.parameter(1, float32)
    result = s.convert(x + y if add else x - y, dtype)
    emitter = Emitter(r.writer, 1, lambda _, leaf: ((old.name, amount.name)[leaf.data], False))
    emitter.emit([result])
    return Number(r, emitter.values[id(result)][0], old.type, old.signed)


def _scratch(step: Any, r: Routine, number: int, place: int, bytes: Any) -> str:
    slot = step.scratch_slot(("scratch", number, place), (bytes + 63) // 64 * 64)
    address = r.writer.let(f"getelementptr i64, ptr %table, i64 {slot}")
    return r.writer.let(f"load ptr, ptr {address}, align 8")


def _entry(r: Routine, table: str, spot: Number) -> Number:
    from ....dtypes import int64

    return r.load(table, spot, int64)


def _put(r: Routine, table: str, spot: Number, value: Number) -> None:
    from ....dtypes import int64

    r.store(table, spot, value, int64)


KERNELS = {"row_sums": emit_row_sums, "update_rows": emit_update_rows}
