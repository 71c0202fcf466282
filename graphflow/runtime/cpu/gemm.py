"""Matrix multiplication as LLVM IR text: C[b] = A[b] @ B[b], with defined bits.

Every element of C is `acc = 0; for p in 0 .. k-1: acc = fma(a[p], b[p], acc)`, in that order, in one accumulator
(integers: a wrapping multiply and add). Tiles, vector width, threads, batch and layouts choose which elements are
computed together, never how one of them is; blocks of k continue the accumulator from C. So all of them give the same
bits.

    void graphflow_gemm_<dtype>(ptr arguments)      ; 15 fields of 64 bits, see FIELDS

How it runs. C is cut into items: a panel of columns (one, two or eight vectors wide) of a block of rows. An item
packs its panel of B, a block of k at a time, into a buffer on the stack that stays in cache, and runs
register tiles down the rows; A is read where it lies, by broadcasts, with any strides. That differs from the usual
scheme (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008: pack both, share the packed
B): packing a panel just before its use costs a load and a store an element with the buffer in cache, so nothing is
shared between threads, nothing allocated, and items are independent.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np

from . import llvm, pool
from .gemm_tiles import LINE_WIDTH, Text, Tiling, line, micro, pack, strip

__all__ = ["FIELDS", "gemm", "gemm_address", "gemm_module"]

FIELDS = (
    "a", "b", "c", "batch", "m", "n", "k", "a_batch", "a_row", "a_column", "b_batch", "b_row", "b_column",
    "c_batch", "c_row",
)  # fmt: skip
"""The 64-bit fields of the argument table, in order: three pointers, four extents, strides in elements. A is m x k, B
is k x n, C is m x n with neighbouring columns adjacent. Strides of A and B may be anything (0, negative); C must not
overlap them."""

_DERIVED = ("width", "panels", "rows", "blocks", "depth", "way")
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
DIRECT_ROWS = 64
"""Up to so many rows B is read where it lies, if its rows are dense: 32x512x512 gains 16 %, 128x512x512 nothing."""
STREAM_DEPTH = 16
"""DEPTH for one row of C: B streams through once, in bands of so many rows, each a sequential read."""
GRAIN = 400_000
"""Multiply-adds that are worth handing to a thread, about 3 us."""
WIDTHS = (1, 2, 8)
"""Vectors in a panel of B: 8 for a single row of C, else 2, or 1 where there are no more columns."""


def _tiling(dtype: str, features: str) -> Tiling:
    width, bits = llvm.vector_bits(features), _BITS[dtype]
    element = {"f32": "float", "f64": "double"}.get(dtype, f"i{bits}")
    rows = (8, 4, 2, 1) if width == 512 else (4, 2, 1)
    return Tiling(
        element, bits, width // bits, rows, width == 512 and (bits >= 32 or "+avx512bw" in features.split(","))
    )


def _fields(text: Text, *names: str) -> dict[str, str]:
    values = {}
    for name in names:
        place = text.let(f"getelementptr i64, ptr %t, i64 {_FIELD[name]}")
        values[name] = text.let(f"load {'ptr' if name in 'abc' else 'i64'}, ptr {place}", name)
    return values


def _items(tiling: Tiling) -> str:
    """Items [low, high): runs of panels of one block of rows, a block of k at a time, so that A's block stays in
    cache."""
    text, element = Text(), tiling.element
    buffer_elements = PANEL_BYTES * 8 // tiling.bits
    text.put(f"%buffer = alloca [{buffer_elements} x {element}], align 64")
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
        with text.loop(panel, last) as j:
            column = text.mul(j, width)
            columns = text.minimum(width, text.let(f"sub i64 {f['n']}, {column}"))
            b_panel, c_panel = at(b_here, (column, f["b_column"])), at(c, (column, "1"))
            name = text.fresh("operand")
            if tiling.is_float:
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
                f"i64 {f['c_row']}, i64 {k}, i64 {columns}, i1 {fresh}, i64 {m})"
            )
            text.put(f"switch i64 {f['width']}, label %{name}.w{WIDTHS[-1]} ["
                     + " ".join(f"i64 {w}, label %{name}.w{w}" for w in WIDTHS[:-1]) + "]")  # fmt: skip
            for w in WIDTHS:
                text.label(f"{name}.w{w}")
                text.put(f"call fastcc void @strip_{w}{arguments}", f"br label %{name}.done")
            text.label(f"{name}.done")
    text.put("br label %run.end")
    text.label("run.end")
    text.put(
        "%run.more = icmp slt i64 %item.next, %high", "br i1 %run.more, label %run, label %end", "end:", "ret void"
    )
    return text.function("internal void @items(ptr %t, i64 %low, i64 %high, i64 %worker) #0")


def _entry(tiling: Tiling, dtype: str) -> str:
    """Choose panels, blocks and whether to pack; then run the items, on several threads if they are worth it."""
    text, lanes = Text(), tiling.lanes
    text.put(f"%t = alloca [{len(_FIELD)} x i64], align 64")
    text.put(
        f"call void @llvm.memcpy.p0.p0.i64(ptr align 64 %t, ptr align 8 %arguments, i64 {8 * len(FIELDS)}, i1 false)"
    )

    def store(name: str, value: str | int) -> None:
        text.put(f"store i64 {value}, ptr {text.let(f'getelementptr i64, ptr %t, i64 {_FIELD[name]}')}")

    def choose(condition: str, yes: str | int, no: str | int) -> str:
        return text.let(f"select i1 {condition}, i64 {yes}, i64 {no}")

    f = _fields(text, "n", "m", "c_row", "a", "b", "a_batch", "b_batch", "a_row", "a_column", "b_row", "b_column")
    # A column is as good as a row: C' = B' A' has the same products, sums and order, and its columns are adjacent.
    one = text.let(f"icmp eq i64 {f['n']}, 1")
    dense = text.let(f"icmp eq i64 {f['c_row']}, 1")
    with text.when(text.let(f"and i1 {one}, {dense}")):
        for name, other in (("n", "m"), ("a_batch", "b_batch"), ("a_row", "b_column"), ("a_column", "b_row")):
            store(name, f[other])
            store(other, f[name])
        for name, other in (("a", "b"), ("b", "a")):
            text.put(f"store ptr {f[other]}, ptr {text.let(f'getelementptr i64, ptr %t, i64 {_FIELD[name]}')}")
    f = _fields(text, "batch", "m", "n", "k", "b_row", "b_column")
    single = text.let(f"icmp eq i64 {f['m']}, 1")
    adjacent = text.let(f"icmp eq i64 {f['b_column']}, 1")
    narrow = text.let(f"icmp sle i64 {f['n']}, {lanes}")
    medium = text.let(f"icmp sle i64 {f['n']}, {2 * lanes}")
    long = text.let(f"and i1 {single}, {text.let(f'xor i1 {medium}, true')}")
    straight = text.let(f"icmp eq i64 {f['b_row']}, 1") if tiling.is_float else "false"
    by_line = text.both(text.both(single, straight), text.negate(adjacent))
    width = choose(by_line, LINE_WIDTH, choose(narrow, 1, choose(long, 8, 2)))
    store("width", width)
    panels = text.ceiling(f["n"], text.mul(width, lanes))
    store("panels", panels)
    top = tiling.rows[0]
    some_rows = text.let(f"call i64 @llvm.smax.i64(i64 {f['m']}, i64 1)")
    blocks = text.ceiling(some_rows, ROWS)
    rows = text.mul(text.ceiling(text.ceiling(some_rows, blocks), top), top)
    blocks = text.ceiling(f["m"], rows)
    store("rows", rows)
    store("blocks", blocks)
    deepest = PANEL_BYTES * 8 // tiling.bits // lanes
    most = text.let(f"udiv i64 {deepest}, {width}")
    some_depth = text.let(f"call i64 @llvm.smax.i64(i64 {f['k']}, i64 1)")
    pieces = text.ceiling(some_depth, text.minimum(most, DEPTH))
    # Whole vectors, because transposing packs whole squares.
    depth = text.mul(text.ceiling(text.ceiling(some_depth, pieces), lanes), lanes)
    few = text.let(f"icmp sle i64 {f['m']}, {DIRECT_ROWS}")
    direct = text.let(f"and i1 {adjacent}, {few}")
    stream = text.let(f"and i1 {direct}, {long}")
    store("depth", choose(by_line, some_depth, choose(stream, STREAM_DEPTH, depth)))
    store("way", choose(by_line, _LINE, choose(direct, _DIRECT, _PACK)))
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
    return text.function(f"void @graphflow_gemm_{dtype}(ptr %arguments) #0")


def gemm_module(dtype: str, features: str) -> str:
    """The module that defines `void @graphflow_gemm_<dtype>(ptr arguments)` and needs `graphflow_parallel_for`.

    dtype: f32, f64, i8 ... i64, u8 ... u64. features: the processor's, as `llvm.features()` spells them.
    """
    tiling = _tiling(dtype, features)
    parts = ["declare void @graphflow_parallel_for(ptr, ptr, i64, i64)\n"]
    for width in WIDTHS:
        parts += [micro(tiling, rows, width) for rows in tiling.micro_rows(width)]
        parts.append(strip(tiling, width))
    if tiling.is_float:
        parts.append(line(tiling))
    parts += [pack(tiling), _items(tiling), _entry(tiling, dtype)]
    # LLVM may split 512-bit vectors where it tunes a processor for 256. With znver5 and skylake-avx512 it does not (the
    # same time with and without the attribute); the attribute costs nothing and makes sure.
    parts.append('attributes #0 = { nounwind "prefer-vector-width"="512" }\n')
    return "\n".join(parts)


@functools.cache
def _library(dtype: str) -> llvm.Library:
    return llvm.compile_module(
        gemm_module(dtype, llvm.features()),
        [f"graphflow_gemm_{dtype}"],
        {"graphflow_parallel_for": pool.parallel_for_address()},
    )


def gemm_address(dtype: str) -> int:
    """The address of `graphflow_gemm_<dtype>` on this machine, compiled at the first use and valid from then on."""
    return _library(dtype).address(f"graphflow_gemm_{dtype}")


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
    native = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(gemm_address(_NAMES[a.dtype]))
    # Several leading axes do not always have one common stride: one call for each index of all but the last.
    for index in np.ndindex(lead[:-1]):
        x, y, z = left[index], right[index], result[index]
        if x.ndim == 2:
            x, y, z = x[None], y[None], z[None]
        strides = [stride // size for array in (x, y, z) for stride in array.strides]
        table = np.array([x.ctypes.data, y.ctypes.data, z.ctypes.data, x.shape[0], m, n, k, *strides[:8]], np.int64)
        native(table.ctypes.data)
    return result
