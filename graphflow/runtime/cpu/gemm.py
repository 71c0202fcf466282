"""Matrix multiplication as LLVM IR text: C[b] = A[b] @ B[b], with defined bits.

Every element of C is `acc = 0; for p in 0 .. k-1: acc = fma(a[p], b[p], acc)`, in that order, in one accumulator
(integers: a wrapping multiply and add). Tiles, vector width, threads, batch and layouts choose which elements are
computed together, never how one of them is; blocks of k continue the accumulator from C. So all of them give the same
bits.

    void graphflow_gemm_<dtype>_<part>(ptr arguments)      ; 15 fields of 64 bits, see FIELDS

The library of a dtype comes in parts that are compiled when they are first needed (`gemm_ways.py` has the rules; LLVM
takes 8 ms for `small`, 35 for `tiles`, 30 for `vector`, and took 74 for all of it in one module). A program whose
extents are known names the part it needs, so a first call compiles little.

How tiles and vector run. C is cut into items: a panel of columns (one, two or eight vectors wide) of a block of
rows. An item packs its panel of B, a block of k at a time, into a buffer on the stack that stays in cache, and runs
register tiles down the rows; A is read where it lies, by broadcasts, with any strides (but for a long transposed A, of which
a block is packed for its panels). That differs from the usual
scheme (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008: pack both, share the packed
B): packing a panel just before its use costs a load and a store an element with the buffer in cache, so nothing is
shared between threads, nothing allocated, and items are independent.
"""

from __future__ import annotations

import ctypes
import dataclasses
import sys
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...locks import renew_after_fork
from . import llvm, pool
from .gemm_tiles import LINE_WIDTH, Tiling, line, micro, pack, rise, stand, strip
from .gemm_ways import PARTS, SMALL_DEPTH, oriented, part_of, ways
from .ir_text import Text

__all__ = ["FIELDS", "PARTS", "gemm", "gemm_address", "gemm_module", "gemm_part"]

FIELDS = (
    "a", "b", "c", "batch", "m", "n", "k", "a_batch", "a_row", "a_column", "b_batch", "b_row", "b_column",
    "c_batch", "c_row",
)  # fmt: skip
"""The 64-bit fields of the argument table, in order: three pointers, four extents, strides in elements. A is m x k, B
is k x n, C is m x n with neighbouring columns adjacent. Strides of A and B may be anything (0, negative); C must not
overlap them."""

_DERIVED = ("width", "panels", "rows", "blocks", "depth", "way", "upright")
_FIELD = {name: index for index, name in enumerate(FIELDS + _DERIVED)}
_PACK, _DIRECT, _LINE = range(3)  # the field "way": how B is read
_BITS = {"f32": 32, "f64": 64, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "u8": 8, "u16": 16, "u32": 32, "u64": 64}
_NAMES = {np.dtype(name): f"{name[0]}{bits}" for name, bits in (
    ("float32", 32), ("float64", 64), ("int8", 8), ("int16", 16), ("int32", 32), ("int64", 64),
    ("uint8", 8), ("uint16", 16), ("uint32", 32), ("uint64", 64),
)}  # fmt: skip

# Measured on a Zen 5 core (AVX-512, 48 kB first-level cache, 1 MB second-level), whose peak in the register tile is
# 273 GFLOP/s.
ROWS = 256
"""Rows of A in a block, at most; with DEPTH, what stays in the second-level cache. 128 to 512
differ by less than 3 % up to 1024."""
DEPTH = 512
"""Steps of k in a block, at most: 256 costs 3 to 8 % at 1024 and 2048, where C is read and written once a block."""
PANEL_BYTES = 64 * 1024
"""The packing buffer, on the stack: DEPTH steps of a panel two 512-bit vectors wide."""
UPRIGHT_BYTES = 128 * 1024
"""The buffer, on the stack, for a block of a transposed A: as many rows as fit with DEPTH steps."""
UPRIGHT_DEPTH = 64
"""Steps of k above which a transposed A is packed: its tiles would read half a cache line a step, thousands of bytes apart. On a Sapphire
Rapids core 1024x1024x1024 takes 18.3 instead of 29.7 ms, 288x25088x64 10.5 instead of 17.0, 512x512x512 1.9 instead of 2.1."""
DIRECT_ROWS = 64
"""Up to so many rows B is read where it lies, if its rows are dense: 32x512x512 gains 16 %, 128x512x512 nothing."""
SMALL_ROWS = (4, 1)
"""Rows of the register tiles of the part `small`; without 4 it compiles in 8 instead of 10 ms, and 16x16x16 takes 151
instead of 60 ns."""
STREAM_DEPTH = 16
"""DEPTH for one row of C: B streams through once, in bands of so many rows, each a sequential read."""
GRAIN = 400_000
"""Multiply-adds that are worth handing to a thread, about 3 us."""


def _tiling(dtype: str, features: str) -> Tiling:
    width, bits = llvm.vector_bits(features), _BITS[dtype]
    element = {"f32": "float", "f64": "double"}.get(dtype, f"i{bits}")
    rows = (8, 4, 2, 1) if width == 512 else (4, 2, 1)
    return Tiling(
        element, bits, width // bits, rows, width == 512 and (bits >= 32 or "+avx512bw" in features.split(","))
    )


def _fields(text: Text, *names: str, table: str = "%t") -> dict[str, str]:
    values = {}
    for name in names:
        place = text.let(f"getelementptr i64, ptr {table}, i64 {_FIELD[name]}")
        values[name] = text.let(f"load {'ptr' if name in 'abc' else 'i64'}, ptr {place}", name)
    return values


def _items(tiling: Tiling, part: str) -> str:
    """Items [low, high): runs of panels of one block of rows, a block of k at a time, so that A's block stays in
    cache."""
    text, element = Text(), tiling.element
    buffer_elements = PANEL_BYTES * 8 // tiling.bits
    text.put(f"%buffer = alloca [{buffer_elements} x {element}], align 64")
    if part == "tiles":
        text.put(f"%block = alloca [{UPRIGHT_BYTES * 8 // tiling.bits} x {element}], align 64")
    f = _fields(text, *FIELDS, *_DERIVED)
    width = text.mul(f["width"], tiling.lanes)
    direct = text.let(f"icmp eq i64 {f['way']}, {_DIRECT}")
    by_line = text.let(f"icmp eq i64 {f['way']}, {_LINE}")
    text.put("br label %run")
    before = text.block
    text.label("run")
    text.put(f"%item = phi i64 [%low, %{before}], [%item.next, %run.end]")
    panel = text.let(f"urem i64 %item, {f['panels']}")
    row = text.let(f"udiv i64 %item, {f['panels']}")
    block = text.let(f"urem i64 {row}, {f['blocks']}")
    matrix = text.let(f"udiv i64 {row}, {f['blocks']}")
    left = text.let("sub i64 %high, %item")
    last = text.minimum(text.add(panel, left), f["panels"])
    text.put(f"%item.next = add i64 %item, {text.let(f'sub i64 {last}, {panel}')}")
    first_row = text.mul(block, f["rows"])
    m = text.minimum(f["rows"], text.let(f"sub i64 {f['m']}, {first_row}"))

    def at(base: str, *terms: tuple[str, str]) -> str:
        for index, stride in terms:
            base = text.let(f"getelementptr {element}, ptr {base}, i64 {text.mul(index, stride)}")
        return base

    a = at(f["a"], (matrix, f["a_batch"]), (first_row, f["a_row"]))
    b = at(f["b"], (matrix, f["b_batch"]))
    c = at(f["c"], (matrix, f["c_batch"]), (first_row, f["c_row"]))
    # With k = 0 one block of no steps writes the zeros.
    stop = text.let(f"call i64 @llvm.smax.i64(i64 {f['k']}, i64 1)")
    with text.loop(0, stop, f["depth"]) as p:
        k = text.minimum(f["depth"], text.let(f"sub i64 {f['k']}, {p}"))
        fresh = text.let(f"icmp eq i64 {p}, 0")
        a_here, b_here = at(a, (p, f["a_column"])), at(b, (p, f["b_row"]))
        if part == "tiles":
            upright = text.let(f"icmp ne i64 {f['upright']}, 0")
            with text.when(upright):
                text.put(f"call fastcc void @stand(ptr {a_here}, i64 {f['a_column']}, i64 {k}, i64 {m}, ptr %block)")
        with text.loop(panel, last) as j:
            column = text.mul(j, width)
            columns = text.minimum(width, text.let(f"sub i64 {f['n']}, {column}"))
            b_panel, c_panel = at(b_here, (column, f["b_column"])), at(c, (column, "1"))
            name = text.fresh("operand")
            if part == "vector" and tiling.is_float:
                text.put(f"br i1 {by_line}, label %{name}.line, label %{name}.tiles")
                text.label(f"{name}.line")
                text.put(
                    f"call fastcc void @line(ptr {a_here}, i64 {f['a_column']}, ptr {b_panel}, i64 {f['b_column']}, "
                    f"ptr {c_panel}, i64 {k}, i64 {columns}, ptr %buffer)",
                    f"br label %{name}.done",
                )
                text.label(f"{name}.tiles")
            if tiling.masked:
                plain = direct
            else:  # without masks a panel that is not whole would be read past its end
                plain = text.let(f"and i1 {direct}, {text.let(f'icmp eq i64 {columns}, {width}')}")
            text.put(f"br i1 {plain}, label %{name}.ready, label %{name}.pack")
            came = text.block
            text.label(f"{name}.pack")
            text.put(
                f"call fastcc void @pack(ptr {b_panel}, i64 {f['b_row']}, i64 {f['b_column']}, i64 {k}, "
                f"i64 {columns}, i64 {width}, ptr %buffer)",
                f"br label %{name}.ready",
            )
            text.label(f"{name}.ready")
            operand = text.let(f"phi ptr [{b_panel}, %{came}], [%buffer, %{name}.pack]")
            step = text.let(f"phi i64 [{f['b_row']}, %{came}], [{width}, %{name}.pack]")
            arguments = (
                f"(ptr {a_here}, i64 {f['a_row']}, i64 {f['a_column']}, ptr {operand}, i64 {step}, ptr {c_panel}, "
                f"i64 {f['c_row']}, i64 {k}, i64 {columns}, i1 {fresh}"
            )
            if part == "vector":
                text.put(f"call fastcc void @micro_1x8{arguments})", f"br label %{name}.done")
            else:
                text.put(f"br i1 {upright}, label %{name}.upright, label %{name}.flat", f"{name}.upright:")
                rest = f"ptr {operand}, i64 {step}, ptr {c_panel}, i64 {f['c_row']}, i64 {k}, i64 {columns}, i1 {fresh}, i64 {m}"
                text.put(f"call fastcc void @rise(ptr %block, {rest}, i64 {f['width']})", f"br label %{name}.done")
                text.label(f"{name}.flat")
                text.put(f"switch i64 {f['width']}, label %{name}.w2 [i64 1, label %{name}.w1]")
                for w in (1, 2):
                    text.label(f"{name}.w{w}")
                    text.put(f"call fastcc void @strip_{w}{arguments}, i64 {m})", f"br label %{name}.done")
            text.label(f"{name}.done")
    text.put("br label %run.end")
    text.label("run.end")
    text.put(
        "%run.more = icmp slt i64 %item.next, %high", "br i1 %run.more, label %run, label %end", "end:", "ret void"
    )
    return text.function("internal void @items(ptr %t, i64 %low, i64 %high, i64 %worker) #1")


def _entry(tiling: Tiling, dtype: str, part: str) -> str:
    """Choose panels, blocks and whether to pack; then run the items, on several threads if they are worth it."""
    text, lanes = Text(), tiling.lanes
    text.put(f"%t = alloca [{len(_FIELD)} x i64], align 64")

    def store(name: str, value: str | int, kind: str = "i64") -> None:
        text.put(f"store {kind} {value}, ptr {text.let(f'getelementptr i64, ptr %t, i64 {_FIELD[name]}')}")

    f = oriented(text, _fields(text, *FIELDS, table="%arguments"))
    for name, value in f.items():
        store(name, value, "ptr" if name in "abc" else "i64")
    rule = ways(text, tiling, f)
    width = text.choose(rule["line"], LINE_WIDTH, 8) if part == "vector" else text.choose(rule["narrow"], 1, 2)
    store("width", width)
    panels = text.ceiling(f["n"], text.mul(width, lanes))
    store("panels", panels)
    top = tiling.rows[0]
    some_rows = text.let(f"call i64 @llvm.smax.i64(i64 {f['m']}, i64 1)")
    upright = text.both(
        text.both(text.equal(f["a_row"], 1), text.negate(text.equal(f["a_column"], 1))),
        text.negate(text.at_most(f["k"], UPRIGHT_DEPTH)),
    )
    store("upright", text.let(f"zext i1 {upright} to i64"))
    most_rows = text.choose(upright, UPRIGHT_BYTES * 8 // tiling.bits // DEPTH, ROWS) if part == "tiles" else str(ROWS)
    blocks = text.ceiling(some_rows, most_rows)
    rows = text.mul(text.ceiling(text.ceiling(some_rows, blocks), top), top)
    blocks = text.ceiling(f["m"], rows)
    store("rows", rows)
    store("blocks", blocks)
    deepest = PANEL_BYTES * 8 // tiling.bits // lanes
    most = text.let(f"udiv i64 {deepest}, {width}")
    some_depth = text.let(f"call i64 @llvm.smax.i64(i64 {f['k']}, i64 1)")
    pieces = text.ceiling(some_depth, text.minimum(most, DEPTH))
    depth = text.mul(text.ceiling(text.ceiling(some_depth, pieces), lanes), lanes)
    direct = text.both(rule["adjacent"], text.at_most(f["m"], DIRECT_ROWS))
    way = text.choose(direct, _DIRECT, _PACK)
    if part == "vector":
        depth = text.choose(rule["line"], some_depth, text.choose(direct, STREAM_DEPTH, depth))
        way = text.choose(rule["line"], _LINE, way)
    store("depth", depth)
    store("way", way)
    count = text.mul(text.mul(panels, blocks), f["batch"])
    work = text.mul(text.mul(rows, text.mul(width, lanes)), some_depth)  # of an item, at least 1
    grain = text.ceiling(str(GRAIN), work)
    text.put(f"%some = icmp sgt i64 {count}, 0", "br i1 %some, label %go, label %end")
    text.label("go")
    text.put(f"%much = icmp sgt i64 {count}, {grain}", "br i1 %much, label %shared, label %alone")
    text.label("shared")
    text.put(f"call void @graphflow_parallel_for(ptr @items, ptr %t, i64 {count}, i64 {grain})", "br label %end")
    text.label("alone")
    text.put(f"call void @items(ptr %t, i64 0, i64 {count}, i64 0)", "br label %end")
    text.label("end")
    text.put("ret void")
    return text.function(f"void @graphflow_gemm_{dtype}_{part}(ptr %arguments) #1")


def _any(tiling: Tiling, dtype: str) -> str:
    """The entry for problems whose part is known at run time."""
    text = Text()
    f = oriented(text, _fields(text, *FIELDS, table="%arguments"))
    text.put(f"br i1 {ways(text, tiling, f)['vector']}, label %vector, label %tiles")
    for part in ("vector", "tiles"):
        text.label(part)
        text.put(f"call void @graphflow_gemm_{dtype}_{part}(ptr %arguments)", "ret void")
    return text.function(f"void @graphflow_gemm_{dtype}_any(ptr %arguments) #1")


def _small(tiling: Tiling, dtype: str) -> str:
    """A problem of little work, on the calling thread: B where it lies or, if its rows are not dense, packed a vector
    of columns at a time; register tiles of four rows, then of one."""
    text, lanes, element = Text(), tiling.lanes, tiling.element
    text.put(f"%buffer = alloca [{SMALL_DEPTH * lanes} x {element}], align 64")
    f = oriented(text, _fields(text, *FIELDS, table="%arguments"))
    adjacent = ways(text, tiling, f)["adjacent"]
    steps = {"a_row": f["a_row"], "c_row": f["c_row"]}

    def at(base: str, index: str, stride: str) -> str:
        return text.let(f"getelementptr {element}, ptr {base}, i64 {text.mul(index, stride)}")

    with text.loop(0, f["batch"]) as matrix:
        a, b, c = (at(f[name], matrix, f[f"{name}_batch"]) for name in "abc")
        with text.loop(0, f["n"], lanes) as column:
            columns = text.minimum(lanes, text.let(f"sub i64 {f['n']}, {column}"))
            b_panel, c_panel = at(b, column, f["b_column"]), at(c, column, "1")
            plain = adjacent if tiling.masked else text.both(adjacent, text.equal(columns, lanes))
            text.put(f"br i1 {plain}, label %ready, label %pack")
            came = text.block
            text.label("pack")
            text.put(
                f"call fastcc void @pack(ptr {b_panel}, i64 {f['b_row']}, i64 {f['b_column']}, i64 {f['k']}, "
                f"i64 {columns}, i64 {lanes}, ptr %buffer)",
                "br label %ready",
            )
            text.label("ready")
            operand = text.let(f"phi ptr [{b_panel}, %{came}], [%buffer, %pack]")
            step = text.let(f"phi i64 [{f['b_row']}, %{came}], [{lanes}, %pack]")
            row = "0"
            for rows in SMALL_ROWS:
                with text.loop(row, text.add(f["m"], 1 - rows), rows) as i:
                    text.put(
                        f"call fastcc void @micro_{rows}x1(ptr {at(a, i, steps['a_row'])}, i64 {f['a_row']}, "
                        f"i64 {f['a_column']}, ptr {operand}, i64 {step}, ptr {at(c_panel, i, steps['c_row'])}, "
                        f"i64 {f['c_row']}, i64 {f['k']}, i64 {columns}, i1 true)"
                    )
                row = i
    text.put("ret void")
    return text.function(f"void @graphflow_gemm_{dtype}_small(ptr %arguments) #1")


def gemm_module(dtype: str, features: str, part: str) -> str:
    """The module that defines `void @graphflow_gemm_<dtype>_<part>(ptr arguments)`. `vector` and `tiles` need
    `graphflow_parallel_for`, `any` needs both of them.

    dtype: f32, f64, i8 ... i64, u8 ... u64. features: the processor's, as `llvm.features()` spells them. part: one of
    PARTS.
    """
    tiling = _tiling(dtype, features)
    parts = []
    if part == "small":
        parts += [micro(tiling, rows, 1, whole_depth=True) for rows in SMALL_ROWS]
        narrow = dataclasses.replace(tiling, lanes=tiling.side, masked=False)
        parts += [pack(narrow, dense=not tiling.masked, quick=True), _small(tiling, dtype)]
    elif part == "any":
        parts += [f"declare void @graphflow_gemm_{dtype}_{other}(ptr)\n" for other in ("vector", "tiles")]
        parts.append(_any(tiling, dtype))
    else:
        parts.append("declare void @graphflow_parallel_for(ptr, ptr, i64, i64)\n")
        if part == "vector":
            parts.append(micro(tiling, 1, 8))
            if tiling.is_float:
                # The narrow tile is for what `line` leaves over: by micro_1x8 1000x20 times a vector takes 13 % longer.
                parts += [line(tiling), micro(tiling, 1, LINE_WIDTH)]
        else:
            for width in (1, 2):
                parts += [*(micro(tiling, rows, width) for rows in tiling.rows), strip(tiling, width)]
            parts += [stand(tiling), rise(tiling)]
        parts += [pack(tiling), _items(tiling, part), _entry(tiling, dtype, part)]
    # LLVM may split 512-bit vectors where it tunes a processor for 256. With znver5 and skylake-avx512 it does not (the
    # same time with and without the attribute); the attribute costs nothing and makes sure.
    parts.append('attributes #0 = { nounwind "prefer-vector-width"="512" }')
    # Code generation without optimisation, for what runs once a call or a panel: 5 instead of 13 ms to compile, 5 ns
    # more a call.
    parts.append("attributes #1 = { nounwind noinline optnone }\n")
    return "\n".join(parts)


_lock = threading.RLock()
_libraries: dict[tuple[str, str], llvm.Library] = {}


def renew_locks() -> None:
    """In a forked child."""
    global _lock
    _lock = threading.RLock()


renew_after_fork(sys.modules[__name__])


def _library(dtype: str, part: str) -> llvm.Library:
    """One for the process: programs hold its addresses, so that no second one may be made and unloaded by a race."""
    with _lock:
        if (dtype, part) not in _libraries:
            _libraries[dtype, part] = _compile(dtype, part)
        return _libraries[dtype, part]


def _compile(dtype: str, part: str) -> llvm.Library:
    imports = {}
    if part == "any":
        imports = {f"graphflow_gemm_{dtype}_{other}": gemm_address(dtype, other) for other in ("vector", "tiles")}
    elif part != "small":
        imports = {"graphflow_parallel_for": pool.parallel_for_address()}
    return llvm.compile_module(gemm_module(dtype, llvm.features(), part), [f"graphflow_gemm_{dtype}_{part}"], imports)


def gemm_address(dtype: str, part: str = "any") -> int:
    """The address of `graphflow_gemm_<dtype>_<part>` on this machine, compiled at the first use and valid from then
    on."""
    return _library(dtype, part).address(f"graphflow_gemm_{dtype}_{part}")


def gemm_part(dtype: str, fields: Mapping[str, int | None]) -> str:
    """The part of the library for a problem of which these fields are known (None: not known), FIELDS without the
    pointers."""
    return part_of(_tiling(dtype, llvm.features()), fields)


def gemm(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """a @ b by the native code: (..., m, k) @ (..., k, n), same dtype, leading axes broadcast, any strides."""
    if a.dtype != b.dtype or a.dtype not in _NAMES:
        raise TypeError(f"gemm: operands must have the same numeric dtype, got {a.dtype} and {b.dtype}")
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"gemm: need (..., m, k) and (..., k, n), got {a.shape} and {b.shape}")
    if any(stride % a.itemsize for array in (a, b) for stride in array.strides):
        raise ValueError(f"gemm: strides must be whole elements, got {a.strides} and {b.strides} bytes")
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    left, right = np.broadcast_to(a, lead + a.shape[-2:]), np.broadcast_to(b, lead + b.shape[-2:])
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    result = np.empty((*lead, m, n), a.dtype)
    size = a.itemsize
    dtype = _NAMES[a.dtype]
    # Several leading axes do not always have one common stride: one call for each index of all but the last.
    for index in np.ndindex(lead[:-1]):
        x, y, z = left[index], right[index], result[index]
        if x.ndim == 2:
            x, y, z = x[None], y[None], z[None]
        strides = [stride // size for array in (x, y, z) for stride in array.strides]
        fields = [x.shape[0], m, n, k, *strides[:8]]
        part = gemm_part(dtype, dict(zip(FIELDS[3:], fields, strict=True)))
        table = np.array([x.ctypes.data, y.ctypes.data, z.ctypes.data, *fields], np.int64)
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(gemm_address(dtype, part))(table.ctypes.data)
    return result
