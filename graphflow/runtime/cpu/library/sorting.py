"""Sorting rows: the positions that put them in order.

Elements become integer keys in the same order (NaN last, both zeros equal; all bits turned over for descending order); long rows go
through a least-significant-digit radix sort of 8-bit digits that skips digits in which all keys agree (Knuth, The Art of Computer
Programming 3, 5.2.5), short ones through insertion. Both are stable: equal elements keep their order.
"""

from __future__ import annotations

from typing import Any

from ....dtypes import DType, int32, int64
from ....ir.dims import product
from ..emit import register_type
from ..routine import Cell, Number, Routine
from .common import new_routine, run_routine, worker_scratch

__all__ = ["emit_argsort"]

INSERTION = 24
"""Rows up to this length are sorted by insertion."""
_WIDTH = {"float": "i32", "double": "i64"}


def sort_key(r: Routine, value: Number, dtype: DType, descending: bool) -> Number:
    """An unsigned 64-bit key, of which the dtype's bits count, that orders as the value does."""
    bits = dtype.itemsize * 8
    if dtype.is_floating:
        width = _WIDTH[register_type(dtype)]
        plain = r.select(value == 0.0, r.number(0.0, dtype), value)  # -0.0 and 0.0 are equal
        raw = r.bitcast(plain, width)
        ordered = r.select(raw < 0, ~raw, raw | -(1 << (bits - 1)))
        ordered = r.select(value.is_nan, r.constant(-1, width), ordered)
    elif dtype.is_bool:
        ordered = r.convert(value, "i8", False)
    else:
        ordered = value if dtype.is_unsigned else value ^ -(1 << (bits - 1))
    key = r.convert(Number(r, ordered.name, ordered.type, False), "i64", False)
    if descending:
        key = key ^ ((1 << bits) - 1 if bits < 64 else -1)
    return Number(r, key.name, "i64", False)


def emit_argsort(step: Any, node: Any, number: int) -> None:
    """The positions that put each row of the last axis in order."""
    x = node.inputs[0]
    dtype, length = x.type.dtype, x.type.shape[-1]
    rows = product(x.type.shape[:-1])
    r = new_routine(step, node)
    source, indices = r.pointer(x), r.pointer(node.output)
    front_keys, back_keys, front_places, back_places = (
        r.cell(Number(r, worker_scratch(step, r, number, place, length * 8), "ptr")) for place in range(4)
    )
    counts = worker_scratch(step, r, number, 4, 256 * 8)
    n = r.dim(length)
    with r.loop(r.end, r.begin) as row:
        base = row * n
        keys, places = front_keys.get().name, front_places.get().name
        with r.loop(n) as k:
            value = r.load(source, base + k, dtype)
            r.store(keys, k, sort_key(r, value, dtype, node.attributes["descending"]), int64)
            r.store(places, k, k, int64)
        with r.when(n <= INSERTION):
            _insertion(r, keys, places, n)
        with r.when(n > INSERTION):
            for digit in range(dtype.itemsize):
                _radix_pass(r, front_keys, back_keys, front_places, back_places, counts, n, digit * 8)
        places = front_places.get().name
        with r.loop(n) as k:
            place = r.load(places, k, int64)
            r.store(indices, base + k, r.convert(place, "i32"), int32)
    run_routine(step, r, rows, length * 16 * dtype.itemsize)


def _insertion(r: Routine, keys: str, places: str, n: Number) -> None:
    with r.loop(n, 1) as k:
        key = r.load(keys, k, int64)
        key = Number(r, key.name, "i64", False)
        place = r.load(places, k, int64)
        spot = r.cell(k)
        going = r.cell(True, "i1")
        with r.repeat(lambda: going.get() & (spot.get() > 0)):
            before = spot.get() - 1
            other = r.load(keys, before, int64)
            larger = Number(r, other.name, "i64", False) > key
            with r.when(larger):
                r.store(keys, spot.get(), other, int64)
                r.store(places, spot.get(), r.load(places, before, int64), int64)
                spot.set(before)
            going.set(larger)
        r.store(keys, spot.get(), key, int64)
        r.store(places, spot.get(), place, int64)


def _radix_pass(
    r: Routine,
    front_keys: Cell,
    back_keys: Cell,
    front_places: Cell,
    back_places: Cell,
    counts: str,
    n: Number,
    shift: int,
) -> None:
    """Move everything to the back in order of one digit, and make the back the front; nothing if all keys have the same digit."""
    keys, places = front_keys.get().name, front_places.get().name
    r.fill(counts, r.constant(256 * 8), 0)
    with r.loop(n) as k:
        digit = _digit(r, keys, k, shift)
        r.store(counts, digit, r.load(counts, digit, int64) + 1, int64)
    with r.when(r.load(counts, _digit(r, keys, 0, shift), int64) != n):
        total = r.cell(0)
        with r.loop(256) as d:
            own = r.load(counts, d, int64)
            r.store(counts, d, total.get(), int64)
            total.set(total.get() + own)
        other_keys, other_places = back_keys.get(), back_places.get()
        with r.loop(n) as k:
            digit = _digit(r, keys, k, shift)
            spot = r.load(counts, digit, int64)
            r.store(counts, digit, spot + 1, int64)
            r.store(other_keys.name, spot, r.load(keys, k, int64), int64)
            r.store(other_places.name, spot, r.load(places, k, int64), int64)
        back_keys.set(front_keys.get())
        back_places.set(front_places.get())
        front_keys.set(other_keys)
        front_places.set(other_places)


def _digit(r: Routine, keys: str, k: Any, shift: int) -> Number:
    key = r.load(keys, k, int64)
    return (Number(r, key.name, "i64", False) >> shift) & 255
