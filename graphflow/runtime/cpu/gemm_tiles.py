"""The inner parts of matrix multiplication as LLVM IR text: register tiles, packing, transposition. `gemm.py` puts
them together.

All are `internal fastcc` functions over strides in elements, with attributes #0 (optimised) or #1 (quickly
generated: called seldom):

    micro_RxW   R rows by W vectors of C over a block of k, the sums in registers
    strip_W     all rows of one panel of W vectors, by micro_RxW; W is 1 or 2
    pack        a panel of B into dense rows
    line        one row of C times a transposed B, without packing

Vectors are written out, so what runs is what is written here; a scalar loop and a vectoriser would not keep 16 sums
in registers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .ir_text import Text

__all__ = ["LINE_WIDTH", "Tiling", "line", "micro", "pack", "rise", "stand", "strip"]

# Measured on a Zen 5 core (AVX-512, 48 kB first-level cache, 1 MB second-level), whose peak in the register tile is
# 273 GFLOP/s.
STREAM_AHEAD = 1024
"""Bytes of B prefetched ahead for one row of C, eight vectors wide: 1x4096x4096 takes 2.3 instead of 3.0 ms."""
STAND_AHEAD = 8
"""Steps of k prefetched ahead in `stand`, which jumps from row to row: 288x25088x64 takes 9.1 to 9.5 instead of 10.4 to 11.4 ms."""
LINE_AHEAD = 128
"""Bytes prefetched ahead in `line`: a 512x784 matrix times a vector takes 21 instead of 29 us."""
LINE_WIDTH = 2
"""Vectors of sums in `line`: two chains, which cover the latency of one another."""


@dataclass(frozen=True)
class Tiling:
    """How one dtype is laid out in registers: `lanes` elements a vector; tiles of at most `rows` rows and two
    vectors; `masked` where loads and stores under a mask cost nothing (AVX-512)."""

    element: str
    bits: int
    lanes: int
    rows: tuple[int, ...]
    masked: bool

    @property
    def vector(self) -> str:
        return f"<{self.lanes} x {self.element}>"

    @property
    def side(self) -> int:
        """Elements in 128 bits."""
        return 128 // self.bits

    @property
    def steps(self) -> int:
        """Successive elements of a column that `_square` reads at once: 256 bits, or 128 if there are no more."""
        return min(self.lanes, 2 * self.side)

    @property
    def is_float(self) -> bool:
        return self.element in ("float", "double")


def _masks(text: Text, tiling: Tiling, columns: str, width: int) -> list[str]:
    """One mask a vector: the lanes below `columns`."""
    lanes = tiling.lanes
    return [text.let(f"call <{lanes} x i1> @llvm.get.active.lane.mask.v{lanes}i1.i64(i64 {j * lanes}, i64 {columns})")
            for j in range(width)]  # fmt: skip


def _suffix(tiling: Tiling) -> str:
    return f"v{tiling.lanes}{'f' if tiling.is_float else 'i'}{tiling.bits}"


def _masked_load(text: Text, tiling: Tiling, pointer: str, mask: str) -> str:
    align = tiling.bits // 8
    return text.let(
        f"call {tiling.vector} @llvm.masked.load.{_suffix(tiling)}.p0(ptr align {align} {pointer}, "
        f"<{tiling.lanes} x i1> {mask}, {tiling.vector} zeroinitializer)"
    )


def _masked_store(text: Text, tiling: Tiling, value: str, pointer: str, mask: str) -> None:
    text.put(
        f"call void @llvm.masked.store.{_suffix(tiling)}.p0({tiling.vector} {value}, "
        f"ptr align {tiling.bits // 8} {pointer}, <{tiling.lanes} x i1> {mask})"
    )


def _prefetch(text: Text, pointer: str, ahead: int) -> None:
    """Fetch what lies `ahead` bytes further into the cache; past the end of an array that does nothing."""
    place = text.let(f"getelementptr i8, ptr {pointer}, i64 {ahead}")
    text.put(f"call void @llvm.prefetch.p0(ptr {place}, i32 0, i32 3, i32 1)")


def _spread(text: Text, tiling: Tiling, pointer: str) -> str:
    """One element from memory, in every lane."""
    scalar = text.let(f"load {tiling.element}, ptr {pointer}, align {tiling.bits // 8}")
    first = text.let(f"insertelement {tiling.vector} poison, {tiling.element} {scalar}, i32 0")
    zeros = f"<{tiling.lanes} x i32> zeroinitializer"
    return text.let(f"shufflevector {tiling.vector} {first}, {tiling.vector} poison, {zeros}")


def _accumulate(text: Text, tiling: Tiling, target: str, left: str, right: str, total: str) -> None:
    """target = total + left * right: one rounding for floats, wrapping for integers."""
    vector = tiling.vector
    if tiling.is_float:
        operands = f"{vector} {left}, {vector} {right}, {vector} {total}"
        text.put(f"{target} = call {vector} @llvm.fma.{_suffix(tiling)}({operands})")
    else:
        product = text.let(f"mul {vector} {left}, {right}")
        text.put(f"{target} = add {vector} {total}, {product}")


def micro(tiling: Tiling, rows: int, width: int, whole_depth: bool = False) -> str:
    """One register tile: `rows` rows by `width` vectors of C over a block of k.

    fresh: start at zero, else go on from C. columns: how many of the tile's columns exist. whole_depth: the block is
    all of k, `fresh` is not looked at.
    """
    text, element, vector, lanes = Text(), tiling.element, tiling.vector, tiling.lanes
    align = tiling.bits // 8
    masks = _masks(text, tiling, "%columns", width) if tiling.masked else []
    tile = [(i, j) for i in range(rows) for j in range(width)]
    places = {}
    line = "%c"
    for i in range(rows):
        line = line if i == 0 else text.let(f"getelementptr {element}, ptr {line}, i64 %c_row")
        for j in range(width):
            places[i, j] = text.let(f"getelementptr {element}, ptr {line}, i64 {j * lanes}")
    whole = "" if tiling.masked else text.let(f"icmp eq i64 %columns, {width * lanes}")
    # Rows i of a group of four lie at group + (0, 1, 2, 3) * a_row: three offsets serve all groups, and one pointer a
    # group. The empty assembly hides how they are related: otherwise LLVM walks the rows by one chain of additions, 9
    # cycles a step where the 16 multiply-adds need 8 (240 instead of 268 GFLOP/s).
    twice = text.let("shl i64 %a_row, 1")
    offsets = ["0"] + [text.let(f'call i64 asm "", "=r,0"(i64 {value})')
                       for value in ("%a_row", twice, text.add(twice, "%a_row"))[: rows - 1]]  # fmt: skip
    groups = [
        text.let(f"getelementptr {element}, ptr %a, i64 {text.mul('%a_row', 4 * g)}") for g in range((rows + 3) // 4)
    ]
    begin = dict.fromkeys(tile, "zeroinitializer")
    if whole_depth:
        text.put("br label %start")
        text.label("start")
    else:
        begin = _resume(text, tiling, places, masks, whole)
    text.put("%some = icmp sgt i64 %k, 0", "br i1 %some, label %step, label %finish")
    text.label("step")
    text.put("%p = phi i64 [%k, %start], [%p.next, %step]", "%b.at = phi ptr [%b, %start], [%b.next, %step]")
    for g, group in enumerate(groups):
        text.put(f"%a.at.{g} = phi ptr [{group}, %start], [%a.next.{g}, %step]")
    text.put(*(f"%acc.{i}.{j} = phi {vector} [{begin[i, j]}, %start], [%sum.{i}.{j}, %step]" for i, j in tile))
    right = []
    for j in range(width):
        place = text.let(f"getelementptr {element}, ptr %b.at, i64 {j * lanes}")
        right.append(_masked_load(text, tiling, place, masks[j]) if tiling.masked
                     else text.let(f"load {vector}, ptr {place}, align {align}"))  # fmt: skip
        if width == 8:
            _prefetch(text, place, STREAM_AHEAD)
    for i in range(rows):
        place = text.let(f"getelementptr {element}, ptr %a.at.{i // 4}, i64 {offsets[i % 4]}")
        left = _spread(text, tiling, place)
        for j in range(width):
            _accumulate(text, tiling, f"%sum.{i}.{j}", left, right[j], f"%acc.{i}.{j}")
    for g in range(len(groups)):
        text.put(f"%a.next.{g} = getelementptr {element}, ptr %a.at.{g}, i64 %a_column")
    text.put(
        f"%b.next = getelementptr {element}, ptr %b.at, i64 %b_row",
        "%p.next = sub i64 %p, 1",
        "%more = icmp sgt i64 %p.next, 0",
        "br i1 %more, label %step, label %finish",
    )
    text.label("finish")
    final = {(i, j): text.let(f"phi {vector} [{begin[i, j]}, %start], [%sum.{i}.{j}, %step]") for i, j in tile}
    if tiling.masked:
        for at in tile:
            _masked_store(text, tiling, final[at], places[at], masks[at[1]])
        text.put("ret void")
    else:
        text.put(f"br i1 {whole}, label %store.whole, label %store.part")
        text.label("store.whole")
        text.put(*(f"store {vector} {final[at]}, ptr {places[at]}, align {align}" for at in tile), "ret void")
        text.label("store.part")
        text.put(*(f"store {vector} {final[at]}, ptr %edge.{at[0]}.{at[1]}, align 64" for at in tile))
        _edge_copy(text, tiling, rows, width, load=False)
        text.put("ret void")
        tile_lines = [f"%edge = alloca [{rows * width * lanes} x {element}], align 64"]
        tile_lines += [
            f"%edge.{i}.{j} = getelementptr {element}, ptr %edge, i64 {(i * width + j) * lanes}" for i, j in tile
        ]
        text.lines = tile_lines + text.lines
    return text.function(
        f"internal fastcc void @micro_{rows}x{width}(ptr %a, i64 %a_row, i64 %a_column, ptr %b, i64 %b_row, "
        "ptr noalias %c, i64 %c_row, i64 %k, i64 %columns, i1 %fresh) #0"
    )


def _resume(
    text: Text, tiling: Tiling, places: dict[tuple[int, int], str], masks: list[str], whole: str
) -> dict[tuple[int, int], str]:
    """Where a tile's sums start: at zero, or, in a later block of k, at what C holds."""
    vector, align = tiling.vector, tiling.bits // 8
    text.put("br i1 %fresh, label %start, label %resume")
    text.label("resume")
    if tiling.masked:
        old = {at: _masked_load(text, tiling, place, masks[at[1]]) for at, place in places.items()}
    else:
        text.put(f"br i1 {whole}, label %resume.whole, label %resume.part")
        text.label("resume.whole")
        whole_old = {at: text.let(f"load {vector}, ptr {place}, align {align}") for at, place in places.items()}
        text.put("br label %resumed")
        text.label("resume.part")
        _edge_copy(text, tiling, max(i for i, _ in places) + 1, max(j for _, j in places) + 1, load=True)
        part_old = {at: text.let(f"load {vector}, ptr %edge.{at[0]}.{at[1]}, align 64") for at in places}
        part_block = text.block
        text.put("br label %resumed")
        text.label("resumed")
        old = {
            at: text.let(f"phi {vector} [{whole_old[at]}, %resume.whole], [{part_old[at]}, %{part_block}]")
            for at in places
        }
    resumed = text.block
    text.put("br label %start")
    text.label("start")
    return {at: text.let(f"phi {vector} [zeroinitializer, %entry], [{old[at]}, %{resumed}]") for at in places}


def _edge_copy(text: Text, tiling: Tiling, rows: int, width: int, load: bool) -> None:
    """Copy the existing columns of a tile between C and the stack, element by element: for targets without masks."""
    element = tiling.element
    with text.loop(0, str(rows)) as i:
        line = text.let(f"getelementptr {element}, ptr %c, i64 {text.mul(i, '%c_row')}")
        kept = text.let(f"getelementptr {element}, ptr %edge, i64 {text.mul(i, width * tiling.lanes)}")
        with text.loop(0, "%columns") as j:
            outer = text.let(f"getelementptr {element}, ptr {line}, i64 {j}")
            inner = text.let(f"getelementptr {element}, ptr {kept}, i64 {j}")
            source, target = (outer, inner) if load else (inner, outer)
            text.put(f"store {element} {text.let(f'load {element}, ptr {source}')}, ptr {target}")


def strip(tiling: Tiling, width: int) -> str:
    """All rows of one panel: register tiles of most rows first, then smaller ones for the rest.

    Attributes #1, code generation without optimisation: the time of a product is the same, that to compile it 1.3 ms
    less for each width.
    """
    text = Text()
    at = "0"
    for rows in tiling.rows:
        stop = text.add("%m", 1 - rows)
        with text.loop(at, stop, rows) as i:
            a = text.let(f"getelementptr {tiling.element}, ptr %a, i64 {text.mul(i, '%a_row')}")
            c = text.let(f"getelementptr {tiling.element}, ptr %c, i64 {text.mul(i, '%c_row')}")
            text.put(
                f"call fastcc void @micro_{rows}x{width}(ptr {a}, i64 %a_row, i64 %a_column, ptr %b, i64 %b_row, "
                f"ptr {c}, i64 %c_row, i64 %k, i64 %columns, i1 %fresh)"
            )
        at = i
    text.put("ret void")
    return text.function(
        f"internal fastcc void @strip_{width}(ptr %a, i64 %a_row, i64 %a_column, ptr %b, i64 %b_row, ptr %c, "
        "i64 %c_row, i64 %k, i64 %columns, i1 %fresh, i64 %m) #1"
    )


def stand(tiling: Tiling) -> str:
    """Pack rows of A whose neighbours are adjacent in memory (a transposed A): tiles of most rows, one after the other, each with its
    steps of k one after the other."""
    text, element, rows, align = Text(), tiling.element, tiling.rows[0], tiling.bits // 8
    whole = text.let(f"and i64 %m, {-rows}")
    size = text.mul("%k", rows)
    with text.loop(0, "%k") as p:
        source = text.let(f"getelementptr {element}, ptr %a, i64 {text.mul(p, '%a_column')}")
        target = text.let(f"getelementptr {element}, ptr %out, i64 {text.mul(p, rows)}")
        ahead = text.let(f"getelementptr {element}, ptr {source}, i64 {text.mul('%a_column', STAND_AHEAD)}")
        before, number = text.block, text.fresh("tile")
        text.put(f"br label %{number}.head")
        text.label(f"{number}.head")
        text.put(
            f"%{number}.i = phi i64 [0, %{before}], [%{number}.next, %{number}.body]",
            f"%{number}.to = phi ptr [{target}, %{before}], [%{number}.on, %{number}.body]",
            f"%{number}.more = icmp slt i64 %{number}.i, {whole}",
            f"br i1 %{number}.more, label %{number}.body, label %{number}.rest",
        )
        text.label(f"{number}.body")
        here = text.let(f"getelementptr {element}, ptr {source}, i64 %{number}.i")
        value = text.let(f"load <{rows} x {element}>, ptr {here}, align {align}")
        _prefetch(text, text.let(f"getelementptr {element}, ptr {ahead}, i64 %{number}.i"), 0)
        text.put(
            f"store <{rows} x {element}> {value}, ptr %{number}.to, align {align}",
            f"%{number}.on = getelementptr {element}, ptr %{number}.to, i64 {size}",
            f"%{number}.next = add i64 %{number}.i, {rows}",
            f"br label %{number}.head",
        )
        text.label(f"{number}.rest")
        with text.loop(whole, "%m") as i:
            here = text.let(f"getelementptr {element}, ptr {source}, i64 {i}")
            there = text.let(f"getelementptr {element}, ptr %{number}.to, i64 {text.let(f'sub i64 {i}, {whole}')}")
            text.put(f"store {element} {text.let(f'load {element}, ptr {here}')}, ptr {there}")
    text.put("ret void")
    return text.function("internal fastcc void @stand(ptr %a, i64 %a_column, i64 %k, i64 %m, ptr noalias %out) #0")


def rise(tiling: Tiling) -> str:
    """All rows of one panel, with A as `stand` packs it."""
    text, rows = Text(), tiling.rows[0]
    with text.loop(0, "%m", rows) as i:
        a = text.let(f"getelementptr {tiling.element}, ptr %a, i64 {text.mul(i, '%k')}")
        c = text.let(f"getelementptr {tiling.element}, ptr %c, i64 {text.mul(i, '%c_row')}")
        left = text.minimum(text.let(f"sub i64 %m, {i}"), rows)
        arguments = f"(ptr {a}, i64 1, i64 {rows}, ptr %b, i64 %b_row, ptr {c}, i64 %c_row, i64 %k, i64 %columns, i1 %fresh, i64 {left})"
        name = text.fresh("panel")
        text.put(f"switch i64 %width, label %{name}.w2 [i64 1, label %{name}.w1]")
        for width in (1, 2):
            text.label(f"{name}.w{width}")
            text.put(f"call fastcc void @strip_{width}{arguments}", f"br label %{name}.done")
        text.label(f"{name}.done")
    text.put("ret void")
    return text.function(
        "internal fastcc void @rise(ptr %a, ptr %b, i64 %b_row, ptr %c, i64 %c_row, i64 %k, i64 %columns, i1 %fresh, i64 %m, "
        "i64 %width) #1"
    )


def _square(text: Text, tiling: Tiling, columns: list[str]) -> list[str]:
    """`tiling.steps` successive elements of each of `lanes` columns, as so many vectors over the columns.

    Pieces of so many elements, straight from memory, make up vectors which are transposed within their 128-bit lanes,
    with the processor's cheapest shuffles; pieces of 256 bits take one more round. Squares of whole vectors (16 x 16)
    run as fast and take 1.5 times as long to compile; pieces of 128 bits compile faster still, but a 2000x2000 matrix
    times a vector then takes 241 instead of 180 us.
    """
    element, lanes, side, steps, align = tiling.element, tiling.lanes, tiling.side, tiling.steps, tiling.bits // 8

    def shuffle(left: str, right: str, kind: str, order: Iterable[int]) -> str:
        numbers = [f"i32 {q}" for q in order]
        return text.let(f"shufflevector {kind} {left}, {kind} {right}, <{len(numbers)} x i32> <{', '.join(numbers)}>")

    def gather(some: list[str]) -> str:
        """One vector of the pieces of some columns."""
        pieces = [text.let(f"load <{steps} x {element}>, ptr {column}, align {align}") for column in some]
        length = steps
        while len(pieces) > 1:
            pairs, kind = zip(pieces[::2], pieces[1::2], strict=True), f"<{length} x {element}>"
            length *= 2
            pieces = [shuffle(left, right, kind, range(length)) for left, right in pairs]
        return pieces[0]

    def cross(left: str, right: str, first: list[int]) -> str:
        """`first` names elements of the first 128 bits of left (0 ...) and right (side ...); the others alike."""
        starts = range(0, lanes, side)
        order = [q + start if q < side else q - side + lanes + start for start in starts for q in first]
        return shuffle(left, right, tiling.vector, order)

    def transpose(some: list[str]) -> list[str]:
        rows = [gather(some[q::side]) for q in range(side)]
        if side == 2:
            return [cross(rows[0], rows[1], [q, side + q]) for q in (0, 1)]
        low = [cross(rows[i], rows[i + 1], [0, 4, 1, 5]) for i in (0, 2)]
        high = [cross(rows[i], rows[i + 1], [2, 6, 3, 7]) for i in (0, 2)]
        return [cross(a, b, first) for a, b in (low, high) for first in ([0, 1, 4, 5], [2, 3, 6, 7])]

    if steps == side:
        return transpose(columns)
    left, right = transpose(columns[: lanes // 2]), transpose(columns[lanes // 2 :])
    even = [q for q in range(2 * lanes) if not q & side]
    odd = [q for q in range(2 * lanes) if q & side]
    return [shuffle(*pair, tiling.vector, order) for order in (even, odd) for pair in zip(left, right, strict=True)]


def _places(text: Text, tiling: Tiling, first: int, step: str) -> list[str]:
    """Where `lanes` columns have their element `step`; `%places` holds where they begin."""
    places = []
    for q in range(first, first + tiling.lanes):
        place = text.let(f"load ptr, ptr {text.let(f'getelementptr ptr, ptr %places, i64 {q}')}")
        places.append(text.let(f"getelementptr {tiling.element}, ptr {place}, i64 {step}"))
    return places


def _copy_rows(text: Text, tiling: Tiling) -> None:
    """Pack columns that are adjacent."""
    element, lanes, align = tiling.element, tiling.lanes, tiling.bits // 8
    with text.loop(0, "%k") as p:
        source = text.let(f"getelementptr {element}, ptr %b, i64 {text.mul(p, '%b_row')}")
        target = text.let(f"getelementptr {element}, ptr %out, i64 {text.mul(p, '%width')}")
        whole = text.let(f"and i64 %columns, {-lanes}") if not tiling.masked else "%columns"
        with text.loop(0, whole, lanes) as j:
            here = text.let(f"getelementptr {element}, ptr {source}, i64 {j}")
            there = text.let(f"getelementptr {element}, ptr {target}, i64 {j}")
            if tiling.masked:
                left = text.let(f"sub i64 %columns, {j}")
                value = _masked_load(text, tiling, here, _masks(text, tiling, left, 1)[0])
            else:
                value = text.let(f"load {tiling.vector}, ptr {here}, align {align}")
            text.put(f"store {tiling.vector} {value}, ptr {there}, align {align}")
        if not tiling.masked:
            with text.loop(whole, "%columns") as j:
                here = text.let(f"getelementptr {element}, ptr {source}, i64 {j}")
                there = text.let(f"getelementptr {element}, ptr {target}, i64 {j}")
                text.put(f"store {element} {text.let(f'load {element}, ptr {here}')}, ptr {there}")


def pack(tiling: Tiling, dense: bool = True, quick: bool = False) -> str:
    """Copy a k x columns panel of B to rows of `width` adjacent elements. Columns past the last are left undefined,
    or hold copies: they are computed with and never stored.

    dense: whether columns of B may be adjacent. quick: code generation without optimisation, 3 instead of 5 ms; LLVM
    22 aborts the process when it does that to masks, so only for a tiling without them.
    """
    text, element, lanes, align = Text(), tiling.element, tiling.lanes, tiling.bits // 8
    if tiling.is_float:
        text.put(f"%places = alloca [{lanes} x ptr], align 64")
    if dense:
        text.put("%adjacent = icmp eq i64 %b_column, 1", "br i1 %adjacent, label %copy, label %strided")
        text.label("copy")
        _copy_rows(text, tiling)
        text.put("ret void")
    else:
        text.put("br label %strided")
    text.label("strided")
    done = "0"
    if tiling.is_float:
        text.put("%straight = icmp eq i64 %b_row, 1", "br i1 %straight, label %squares, label %single")
        text.label("squares")
        steps = tiling.steps
        enough = text.let(f"icmp sge i64 %k, {steps}")
        blocks = text.let(f"select i1 {enough}, i64 %k, i64 0")
        furthest = text.add("%k", -steps)
        last = text.add("%columns", -1)
        with text.loop(0, "%columns", lanes) as j:
            with text.loop(0, str(lanes)) as number:
                offset = text.mul(text.minimum(text.add(j, number), last), "%b_column")
                place = text.let(f"getelementptr {element}, ptr %b, i64 {offset}")
                text.put(f"store ptr {place}, ptr {text.let(f'getelementptr ptr, ptr %places, i64 {number}')}")
            with text.loop(0, blocks, steps) as start:
                p = text.minimum(start, furthest)  # the last square may overlap the one before
                places = _places(text, tiling, 0, p)
                for q, row in enumerate(_square(text, tiling, places)):
                    index = text.add(text.mul(text.add(p, q), "%width"), j)
                    place = text.let(f"getelementptr {element}, ptr %out, i64 {index}")
                    text.put(f"store {tiling.vector} {row}, ptr {place}, align {align}")
        text.put("br label %single")
        squares = text.block
        text.label("single")
        done = text.let(f"phi i64 [0, %strided], [{blocks}, %{squares}]")
    with text.loop(done, "%k") as p:
        source = text.let(f"getelementptr {element}, ptr %b, i64 {text.mul(p, '%b_row')}")
        target = text.let(f"getelementptr {element}, ptr %out, i64 {text.mul(p, '%width')}")
        with text.loop(0, "%columns") as j:
            here = text.let(f"getelementptr {element}, ptr {source}, i64 {text.mul(j, '%b_column')}")
            there = text.let(f"getelementptr {element}, ptr {target}, i64 {j}")
            text.put(f"store {element} {text.let(f'load {element}, ptr {here}')}, ptr {there}")
    text.put("ret void")
    return text.function(
        "internal fastcc void @pack(ptr %b, i64 %b_row, i64 %b_column, i64 %k, i64 %columns, i64 %width, "
        f"ptr noalias %out) #{1 if quick else 0}"
    )


def line(tiling: Tiling) -> str:
    """One row of C where neighbours in memory are successive steps of k (matrix times vector, with a row-major
    matrix): squares of B are transposed in registers on their way from memory into the sums. What is left of k, less
    than a square, is packed.

    Packing first, as elsewhere, takes 1.6 to 2 times as long.
    """
    text, element, vector, lanes, steps = Text(), tiling.element, tiling.vector, tiling.lanes, tiling.steps
    width = LINE_WIDTH
    text.put(f"%places = alloca [{width * lanes} x ptr], align 64")
    text.put(f"%sums = alloca [{width} x {vector}], align 64")
    whole = text.let(f"and i64 %k, {-steps}")
    some = text.let(f"icmp sgt i64 {whole}, 0")
    with text.when(some):
        last = text.add("%columns", -1)
        with text.loop(0, str(width * lanes)) as number:
            # For a column that does not exist the last one: computed and not stored.
            offset = text.mul(text.minimum(number, last), "%b_column")
            place = text.let(f"getelementptr {element}, ptr %b, i64 {offset}")
            text.put(f"store ptr {place}, ptr {text.let(f'getelementptr ptr, ptr %places, i64 {number}')}")
        before = text.block
        name = text.fresh("squares")
        text.put(f"br label %{name}")
        text.label(name)
        text.put(f"%p = phi i64 [0, %{before}], [%p.next, %{name}]")
        text.put(
            *(
                f"%acc.{j} = phi {vector} [zeroinitializer, %{before}], [%sum.{j}.{steps - 1}, %{name}]"
                for j in range(width)
            )
        )
        # A cache line is a few squares long: each of them prefetches its share of the columns.
        parts = 512 // tiling.bits // steps
        turn = text.let(f"and i64 {text.let(f'lshr i64 %p, {steps.bit_length() - 1}')}, {parts - 1}")
        first = text.let(f"getelementptr ptr, ptr %places, i64 {text.mul(turn, width * lanes // parts)}")
        for q in range(width * lanes // parts):
            place = text.let(f"load ptr, ptr {text.let(f'getelementptr ptr, ptr {first}, i64 {q}')}")
            _prefetch(text, text.let(f"getelementptr {element}, ptr {place}, i64 %p"), LINE_AHEAD)
        x = [
            text.let(f"getelementptr {element}, ptr %a, i64 {text.mul(text.add('%p', q), '%a_column')}")
            for q in range(steps)
        ]
        for j in range(width):
            places = _places(text, tiling, j * lanes, "%p")
            for q, row in enumerate(_square(text, tiling, places)):
                total = f"%acc.{j}" if q == 0 else f"%sum.{j}.{q - 1}"
                _accumulate(text, tiling, f"%sum.{j}.{q}", _spread(text, tiling, x[q]), row, total)
        text.put(f"%p.next = add i64 %p, {steps}", f"%p.more = icmp slt i64 %p.next, {whole}",
                 f"br i1 %p.more, label %{name}, label %{name}.end")  # fmt: skip
        text.label(f"{name}.end")
        for j in range(width):
            target = text.let(f"getelementptr {vector}, ptr %sums, i64 {j}")
            text.put(f"store {vector} %sum.{j}.{steps - 1}, ptr {target}, align 64")
        with text.loop(0, "%columns") as column:
            source = text.let(f"getelementptr {element}, ptr %sums, i64 {column}")
            target = text.let(f"getelementptr {element}, ptr %c, i64 {column}")
            text.put(f"store {element} {text.let(f'load {element}, ptr {source}')}, ptr {target}")
    rest = text.let(f"sub i64 %k, {whole}")
    none = text.let(f"xor i1 {some}, true")
    needed = text.let(f"or i1 {none}, {text.let(f'icmp sgt i64 {rest}, 0')}")  # also the zeros of k = 0
    with text.when(needed):
        a = text.let(f"getelementptr {element}, ptr %a, i64 {text.mul(whole, '%a_column')}")
        b = text.let(f"getelementptr {element}, ptr %b, i64 {whole}")
        text.put(
            f"call fastcc void @pack(ptr {b}, i64 1, i64 %b_column, i64 {rest}, i64 %columns, i64 {width * lanes}, "
            "ptr %buffer)",
            f"call fastcc void @micro_1x{width}(ptr {a}, i64 0, i64 %a_column, ptr %buffer, i64 {width * lanes}, "
            f"ptr %c, i64 0, i64 {rest}, i64 %columns, i1 {none})",
        )
    text.put("ret void")
    return text.function(
        "internal fastcc void @line(ptr %a, i64 %a_column, ptr %b, i64 %b_column, ptr noalias %c, i64 %k, "
        "i64 %columns, ptr noalias %buffer) #0"
    )
