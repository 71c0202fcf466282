"""Loop nests as LLVM functions `void kernel(ptr table, i64 low, i64 high, i64 worker)` over a range of the nest's units.

The table holds, in 8-byte slots, the addresses of buffers and the values of symbolic extents. A unit is one row of a reduction,
or one chunk of the vector axis at one position of the outer axes. Loops are explicit vectors; the last, shorter vector of an
axis is masked, so nothing is left to LLVM's vectoriser and short axes are vectors too.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...dtypes import DType, int64
from ...ir.dims import Dim, SymbolicDim, product
from ...kernels.nest import BLOCK, OTHER_BLOCK, Access, Nest, Reduction, Stage, Store, lanes_of
from ...kernels.scalar import Scalar, ScalarBuilder, walk
from .emit import Emitter, Writer, literal, memory_type, register_type

__all__ = ["COLUMN_CHUNK", "MAP_CHUNK", "Slots", "emit_nest", "units"]

MAP_CHUNK = 4096
COLUMN_CHUNK = 64
STATUS_SLOT = 0


class Slots:
    """Numbers the table's slots: 0 is the status word; then buffers and symbolic dims as they are asked for."""

    def __init__(self) -> None:
        self.dims: dict[SymbolicDim, int] = {}
        self.buffers: dict[Any, int] = {}
        self.count = 1

    def dim(self, dim: SymbolicDim) -> int:
        return self._slot(self.dims, dim)

    def buffer(self, key: Any) -> int:
        return self._slot(self.buffers, key)

    def _slot(self, table: dict[Any, int], key: Any) -> int:
        if key not in table:
            table[key] = self.count
            self.count += 1
        return table[key]


def vector_axis(nest: Nest) -> int | None:
    """The axis whose elements fill vectors: trailing if there is one, else the last kept axis."""
    for k, axis in enumerate(nest.axes):
        if axis.role == "trailing":
            return k
    kept = nest.kept
    return kept[-1] if kept else None


def is_single(nest: Nest) -> bool:
    """One stage reducing everything to scalars: its blocks can run in parallel, their results wait in a partials buffer."""
    return (not nest.kept and len(nest.axes) == 1 and nest.axes[0].role == "trailing" and len(nest.stages) == 1
            and bool(nest.stages[0].reductions))  # fmt: skip


def units(nest: Nest) -> Dim:
    """How many units the nest has (its parallel range)."""
    kept = nest.kept
    if is_single(nest):
        return (nest.axes[0].extent + (BLOCK - 1)) // BLOCK
    axis = vector_axis(nest)
    if axis is None or nest.axes[axis].role == "trailing":
        return product(nest.axes[k].extent for k in kept)
    chunk = MAP_CHUNK if nest.is_map else COLUMN_CHUNK
    return product(nest.axes[k].extent for k in kept[:-1]) * ((nest.axes[axis].extent + (chunk - 1)) // chunk)


@dataclass
class _Loop:
    label: str
    after: str
    index: str
    following: str
    position: int
    entry: str
    begin: str


class NestEmitter:
    """Writes one nest. slots maps this nest's buffers (by number) to table slots."""

    def __init__(self, nest: Nest, name: str, buffer_slots: Sequence[int], slots: Slots, vector_bytes: int, check_base: int) -> None:
        self.nest, self.name, self.slots, self.check_base = nest, name, slots, check_base
        self.buffer_slots = buffer_slots
        self.writer = Writer()
        widths = [s.dtype.itemsize for s in walk(nest.roots()) if s.operation not in ("index", "parameter", "const")]
        self.lanes = max(2, vector_bytes // max(4, max(widths, default=4)))
        self.vector = vector_axis(nest)
        self.index: dict[int, str] = {}  # nest axis -> i64 index value (the vector axis: its first lane)
        self.bases: list[str] = []
        self.dims: dict[SymbolicDim, str] = {}
        self.levels = self._classify()

    # Small emitters ---------------------------------------------------------------------------------------------------
    def dim(self, dim: Dim) -> str:
        """A dim as an LLVM i64 operand; symbolic ones are loaded once, at the function's entry."""
        if isinstance(dim, int):
            return str(dim)
        return self.dims[dim]

    def _load_slot(self, slot: int, kind: str) -> str:
        address = self.writer.let(f"getelementptr i64, ptr %table, i64 {slot}")
        return self.writer.let(f"load {kind}, ptr {address}, align 8")

    def _classify(self) -> dict[int, int]:
        """Scalar -> the innermost loop it depends on: 0 none, 1 outer kept axes, 2 vector axis of a column nest, 3 innermost."""
        nest, kept = self.nest, self.nest.kept
        outer = set(kept) if self.vector not in kept else set(kept[:-1])
        column = not nest.is_map and self.vector in kept
        levels: dict[int, int] = {}

        def of_axes(axes: set[int]) -> int:
            if not axes:
                return 0
            if axes <= outer:
                return 1
            return 2 if column and axes <= set(kept) else 3

        for x in walk(nest.roots()):
            level = max((levels[id(o)] for o in x.operands), default=0)
            if x.operation == "load":
                level = of_axes({k for k, stride in enumerate(x.data.strides) if stride != 0})
                if x.data.buffer >= len(nest.inputs):
                    level = 3  # re-read of something this nest wrote
            elif x.operation == "index":
                level = of_axes({x.data})
            elif x.operation in ("check", "gather"):
                level = 3 if self.vector is not None and not self._in_row(x) else max(level, 1)
            elif x.operation == "reduced":
                level = 2 if column else 1
            elif x.operation in ("quotient", "remainder"):
                level = max(level, levels[id(x.operands[0])], levels[id(x.operands[1])])
            levels[id(x)] = level
        return levels

    def _in_row(self, x: Scalar) -> bool:
        """Does a check or gather belong to row values (after the reductions)?"""
        return any(y.operation == "reduced" for y in walk([x]))

    # Function ---------------------------------------------------------------------------------------------------------
    def emit(self) -> str:
        nest, writer = self.nest, self.writer
        writer.open("entry")
        for slot in self.buffer_slots:
            self.bases.append(self._load_slot(slot, "ptr"))
        wanted = [d for axis in nest.axes for d in [axis.extent]]
        for x in walk(nest.roots()):
            if x.operation == "load":
                wanted += [x.data.offset, *x.data.strides]
            elif x.operation == "parameter":
                wanted.append(x.data)
        for store in [s for stage in nest.stages for s in stage.stores] + nest.row_stores:
            wanted += [store.access.offset, *store.access.strides]
        for dim in wanted:
            if isinstance(dim, SymbolicDim) and dim not in self.dims:
                self.dims[dim] = self._load_slot(self.slots.dim(dim), "i64")
        first_scratch = len(nest.inputs) + len(nest.outputs)
        for k, buffer in enumerate(nest.scratch):
            step = writer.let(f"mul i64 %worker, {self.dim(buffer.shape[0])}")
            self.bases[first_scratch + k] = writer.let(
                f"getelementptr {memory_type(buffer.dtype)}, ptr {self.bases[first_scratch + k]}, i64 {step}")  # fmt: skip
        self.emitter = Emitter(writer, self.lanes, self._leaf)
        self.mask: str | None = None
        self.accumulators = self._allocate()
        self._emit_level(0)
        if is_single(nest):
            self._single()
        elif self.vector is not None and nest.axes[self.vector].role == "trailing":
            self._rows()
        else:
            self._chunks()
        writer.line("ret void")
        body = "\n".join(writer.lines)
        head = f"define internal void @{self.name}(ptr noalias %table, i64 %low, i64 %high, i64 %worker) #0"
        return f"{head} {{\n{body}\n}}\n"

    def _emit_level(self, level: int, roots: Sequence[Scalar] | None = None) -> None:
        """Emit what belongs to loop level `level` (and lower, as needed) of the roots."""
        for x in walk(self.nest.roots() if roots is None else list(roots)):
            if id(x) not in self.emitter.values and self.levels[id(x)] == level and not self._waits(x):
                self.emitter.emit([x])

    def _waits(self, x: Scalar) -> bool:
        return any(y.operation == "reduced" and id(y) not in self.emitter.values for y in walk([x]))

    # Loops ------------------------------------------------------------------------------------------------------------
    def _open(self, begin: str, limit: str, step: int | str, hint: str) -> _Loop:
        """Open `for index in range(begin, limit, step)`; runs zero times when begin >= limit."""
        writer = self.writer
        loop = _Loop(writer.label(hint), writer.label(f"{hint}_done"), writer.name("i"), writer.name("next"), 0, writer.block, begin)
        condition = writer.let(f"icmp slt i64 {begin}, {limit}")
        writer.line(f"br i1 {condition}, label %{loop.label}, label %{loop.after}")
        loop.entry = writer.block
        writer.open(loop.label)
        loop.position = len(writer.lines)
        self._limit_step = (limit, step)
        return loop

    def _close(self, loop: _Loop, limit: str, step: int | str) -> None:
        writer = self.writer
        writer.line(f"{loop.following} = add i64 {loop.index}, {step}")
        more = writer.let(f"icmp slt i64 {loop.following}, {limit}")
        writer.line(f"br i1 {more}, label %{loop.label}, label %{loop.after}")
        phi = f"  {loop.index} = phi i64 [{loop.begin}, %{loop.entry}], [{loop.following}, %{writer.block}]"
        writer.lines.insert(loop.position, phi)
        writer.open(loop.after)

    def _scoped(self, body: Callable[[], None]) -> None:
        """Run body with the emitter's values restored afterwards: what a loop computes is not visible after it."""
        saved, splats = dict(self.emitter.values), dict(self.emitter._splats)
        body()
        self.emitter.values, self.emitter._splats = saved, splats

    def _vectors(self, axis: int, begin: str, limit: str, body: Callable[[], None]) -> None:
        """Walk [begin, limit) along the vector axis: whole vectors, then one masked vector."""
        writer = self.writer
        span = writer.let(f"sub i64 {limit}, {begin}")
        whole = writer.let(f"and i64 {span}, {-self.lanes}")
        end = writer.let(f"add i64 {begin}, {whole}")
        loop = self._open(begin, end, self.lanes, "vector")
        self.index[axis] = loop.index
        self._scoped(body)
        self._close(loop, end, self.lanes)
        self._masked(axis, end, limit, body)

    def _masked(self, axis: int, begin: str, limit: str, body: Callable[[], None]) -> None:
        """One vector starting at begin, of which the lanes below limit are active; nothing if there are none."""
        writer = self.writer
        tail, after = writer.label("tail"), writer.label("tail_done")
        some = writer.let(f"icmp slt i64 {begin}, {limit}")
        writer.line(f"br i1 {some}, label %{tail}, label %{after}")
        writer.open(tail)
        self.index[axis] = begin
        left = writer.let(f"sub i64 {limit}, {begin}")
        narrow = writer.let(f"trunc i64 {left} to i32")
        splat = self._splat("i32", narrow)
        self.mask = writer.let(f"icmp slt <{self.lanes} x i32> {self._iota('i32')}, {splat}")
        self._scoped(body)
        self.mask = None
        writer.line(f"br label %{after}")
        writer.open(after)

    def _splat(self, kind: str, value: str) -> str:
        vector = f"<{self.lanes} x {kind}>"
        one = self.writer.let(f"insertelement {vector} poison, {kind} {value}, i64 0")
        return self.writer.let(f"shufflevector {vector} {one}, {vector} poison, <{self.lanes} x i32> zeroinitializer")

    def _iota(self, kind: str) -> str:
        return "<" + ", ".join(f"{kind} {k}" for k in range(self.lanes)) + ">"

    # Map and column nests ---------------------------------------------------------------------------------------------
    def _chunks(self) -> None:
        nest, writer, kept = self.nest, self.writer, self.nest.kept
        units_loop = self._open("%low", "%high", 1, "unit")
        if self.vector is None:
            self._scoped(self._point)
        else:
            chunk = MAP_CHUNK if nest.is_map else COLUMN_CHUNK
            extent = self.dim(nest.axes[self.vector].extent)
            rounded = writer.let(f"add i64 {extent}, {chunk - 1}")
            chunks = writer.let(f"sdiv i64 {rounded}, {chunk}")
            self._outer(units_loop.index, kept[:-1], chunks)
            begin = writer.let(f"mul i64 {self.unit_rest}, {chunk}")
            beyond = writer.let(f"add i64 {begin}, {chunk}")
            limit = writer.intrinsic("llvm.smin", "i64", [("i64", beyond), ("i64", extent)], "i64")

            def body() -> None:
                self._emit_level(1)
                axis = self.vector
                assert axis is not None
                self._vectors(axis, begin, limit, self._point if nest.is_map else self._column)

            self._scoped(body)
        self._close(units_loop, "%high", 1)

    def _outer(self, unit: str, axes: list[int], chunks: str | None) -> None:
        """Split a unit number into the indices of the outer kept axes and (self.unit_rest) the chunk number."""
        writer = self.writer
        rest = unit
        self.unit_rest = unit
        if chunks is not None:
            if not axes:
                return
            self.unit_rest = writer.let(f"srem i64 {rest}, {chunks}")
            rest = writer.let(f"sdiv i64 {rest}, {chunks}")
        for position, axis in reversed(list(enumerate(axes))):
            if position == 0:
                self.index[axis] = rest
            else:
                extent = self.dim(self.nest.axes[axis].extent)
                self.index[axis] = writer.let(f"srem i64 {rest}, {extent}")
                rest = writer.let(f"sdiv i64 {rest}, {extent}")

    def _point(self) -> None:
        """One vector of a map."""
        nest = self.nest
        self._stores(nest.stages[0].stores if nest.stages else [])
        self.emitter.emit(nest.effects)
        self._stores(nest.row_stores)

    def _column(self) -> None:
        """One vector of columns: walk the other axis in order."""
        nest, writer = self.nest, self.writer
        self._emit_level(2)
        axis = next(k for k, a in enumerate(nest.axes) if a.role == "other")
        extent = self.dim(nest.axes[axis].extent)
        stage = nest.stages[0]
        for k, reduction in enumerate(stage.reductions):
            self._start(reduction, self.accumulators[k], 0)
        blocks = self._open("0", extent, OTHER_BLOCK, "block")
        beyond = writer.let(f"add i64 {blocks.index}, {OTHER_BLOCK}")
        limit = writer.intrinsic("llvm.smin", "i64", [("i64", beyond), ("i64", extent)], "i64")
        for k, reduction in enumerate(stage.reductions):
            self._start(reduction, self.accumulators[k], 1)
        inner = self._open(blocks.index, limit, 1, "other")
        self.index[axis] = inner.index

        def body() -> None:
            self._stores(stage.stores)
            for k, reduction in enumerate(stage.reductions):
                self.emitter.emit([reduction.operand])
                position = self._splat("i64", inner.index) if reduction_is_index(reduction) else None
                self._accumulate(reduction, self.accumulators[k], 1, self.emitter.vector(reduction.operand), position)

        self._scoped(body)
        self._close(inner, limit, 1)
        for k, reduction in enumerate(stage.reductions):
            self._merge(reduction, self.accumulators[k], 0, 1)
        self._close(blocks, extent, OTHER_BLOCK)
        for k, reduction in enumerate(stage.reductions):
            values = self._get(reduction, self.accumulators[k], 0)
            self.emitter.values[id(reduction.result)] = (values[-1], True)
        self._emit_level(3, [s.value for s in nest.row_stores])
        self._stores(nest.row_stores)

    # Row nests --------------------------------------------------------------------------------------------------------
    def _rows(self) -> None:
        nest = self.nest
        loop = self._open("%low", "%high", 1, "row")

        def row() -> None:
            self._outer(loop.index, nest.kept, None)
            self._emit_level(1)
            for stage in nest.stages:
                self._stage(stage)
                self._emit_level(1)
            if nest.row_stores:
                self.emitter.emit([s.value for s in nest.row_stores])
                self._stores(nest.row_stores, scalar=True)

        self._scoped(row)
        self._close(loop, "%high", 1)

    def _stage(self, stage: Stage) -> None:
        nest = self.nest
        other = next((k for k, a in enumerate(nest.axes) if a.role == "other"), None)
        if other is None:
            self._lanes(stage)
            return
        # other and trailing axes both reduced: each trailing row through the lanes, rows added in order in blocks
        writer, extent = self.writer, self.dim(nest.axes[other].extent)
        for k, reduction in enumerate(stage.reductions):
            self._start(reduction, self.accumulators[k], 0, "total")
        blocks = self._open("0", extent, OTHER_BLOCK, "block")
        beyond = writer.let(f"add i64 {blocks.index}, {OTHER_BLOCK}")
        limit = writer.intrinsic("llvm.smin", "i64", [("i64", beyond), ("i64", extent)], "i64")
        for k, reduction in enumerate(stage.reductions):
            self._start(reduction, self.accumulators[k], 1, "total")
        loop = self._open(blocks.index, limit, 1, "other")
        self.index[other] = loop.index

        def body() -> None:
            self._lanes(stage)
            for k, reduction in enumerate(stage.reductions):
                value = self.emitter.values[id(reduction.result)][0]
                place = self.accumulators[k]["total"]
                held = self._load_scalar(reduction.dtype, place, 1)
                self._store_scalar(reduction.dtype, self._combine_scalar(reduction, held, value), place, 1)

        self._scoped(body)
        self._close(loop, limit, 1)
        for k, reduction in enumerate(stage.reductions):
            place = self.accumulators[k]["total"]
            merged = self._combine_scalar(
                reduction, self._load_scalar(reduction.dtype, place, 0), self._load_scalar(reduction.dtype, place, 1))  # fmt: skip
            self._store_scalar(reduction.dtype, merged, place, 0)
        self._close(blocks, extent, OTHER_BLOCK)
        for k, reduction in enumerate(stage.reductions):
            value = self._load_scalar(reduction.dtype, self.accumulators[k]["total"], 0)
            self.emitter.values[id(reduction.result)] = (value, False)

    def _lanes(self, stage: Stage) -> None:
        """One walk along the trailing axis: blocks, lanes, fold; the results become values of the reductions' leaves."""
        axis = self.vector
        assert axis is not None
        extent = self.dim(self.nest.axes[axis].extent)
        if not stage.reductions:
            self._vectors(axis, "0", extent, lambda: self._stores(stage.stores))
            return
        writer = self.writer
        numbers = self._numbers(stage)
        for k, reduction in zip(numbers, stage.reductions, strict=True):
            self._start_result(reduction, k)
        blocks = self._open("0", extent, BLOCK, "block")
        beyond = writer.let(f"add i64 {blocks.index}, {BLOCK}")
        limit = writer.intrinsic("llvm.smin", "i64", [("i64", beyond), ("i64", extent)], "i64")
        self._block(stage, blocks.index, limit)
        for k, reduction in zip(numbers, stage.reductions, strict=True):
            self._fold_into_result(reduction, k)
        self._close(blocks, extent, BLOCK)
        for k, reduction in zip(numbers, stage.reductions, strict=True):
            self.emitter.values[id(reduction.result)] = (self._result(reduction, k)[-1], False)

    def _numbers(self, stage: Stage) -> list[int]:
        every = [r for s in self.nest.stages for r in s.reductions]
        return [every.index(r) for r in stage.reductions]

    def _block(self, stage: Stage, begin: str, limit: str) -> None:
        """Accumulate positions [begin, limit) of the trailing axis into the lanes."""
        writer, lanes, axis = self.writer, self.lanes, self.vector
        assert axis is not None
        numbers = self._numbers(stage)
        count = max(lanes_of(r.dtype) // lanes for r in stage.reductions)
        for k, reduction in zip(numbers, stage.reductions, strict=True):
            for u in range(lanes_of(reduction.dtype) // lanes):
                self._start(reduction, self.accumulators[k], u)
        span = writer.let(f"sub i64 {limit}, {begin}")
        cheap = sum(1 for x in walk([r.operand for r in stage.reductions] + [s.value for s in stage.stores])
                    if self.levels[id(x)] == 3) <= 24  # fmt: skip
        same = all(lanes_of(r.dtype) // lanes == count for r in stage.reductions)
        position = begin
        if cheap and same and 1 < count <= 8 and not any(reduction_is_index(r) for r in stage.reductions):
            step = count * lanes
            whole = writer.let(f"and i64 {span}, {-step}")
            position = writer.let(f"add i64 {begin}, {whole}")
            self._unrolled(stage, numbers, count, begin, position)

        def body() -> None:
            self._stores(stage.stores)
            distance = writer.let(f"sub i64 {self.index[axis]}, {begin}")
            number = writer.let(f"sdiv exact i64 {distance}, {lanes}") if self.mask is None else writer.let(f"sdiv i64 {distance}, {lanes}")
            for k, reduction in zip(numbers, stage.reductions, strict=True):
                self.emitter.emit([reduction.operand])
                value = self.emitter.vector(reduction.operand)
                if self.mask is not None:
                    kind = register_type(reduction.dtype, lanes)
                    start = f"splat ({register_type(reduction.dtype)} {literal(reduction.start, reduction.dtype)})"  # type: ignore[arg-type]
                    value = writer.let(f"select <{lanes} x i1> {self.mask}, {kind} {value}, {kind} {start}")
                own = lanes_of(reduction.dtype) // lanes
                slot = writer.let(f"and i64 {number}, {own - 1}")
                where = None
                if reduction_is_index(reduction):
                    where = writer.let(f"add <{lanes} x i64> {self._splat('i64', self.index[axis])}, {self._iota('i64')}")
                    if self.mask is not None:
                        where = writer.let(f"select <{lanes} x i1> {self.mask}, <{lanes} x i64> {where}, "
                                           f"<{lanes} x i64> splat (i64 {2**63 - 1})")  # fmt: skip
                self._accumulate(reduction, self.accumulators[k], slot, value, where)

        self._vectors(axis, position, limit, body)

    def _unrolled(self, stage: Stage, numbers: list[int], count: int, begin: str, end: str) -> None:
        """Whole groups of `count` vectors with the accumulators in registers."""
        writer, lanes, axis = self.writer, self.lanes, self.vector
        assert axis is not None
        loop = self._open(begin, end, count * lanes, "group")
        phis: list[tuple[str, str, str, str]] = []
        for k, reduction in zip(numbers, stage.reductions, strict=True):
            kind = register_type(reduction.dtype, lanes)
            start = f"splat ({register_type(reduction.dtype)} {literal(reduction.start, reduction.dtype)})"  # type: ignore[arg-type]
            held = [writer.name("acc") for _ in range(count)]
            for u in range(count):
                phis.append((held[u], kind, start, f"{k}.{u}"))
        totals = {tag: name for name, _, _, tag in phis}
        for u in range(count):
            self.index[axis] = loop.index if u == 0 else writer.let(f"add i64 {loop.index}, {u * lanes}")

            def body(u: int = u) -> None:
                self._stores(stage.stores)
                for k, reduction in zip(numbers, stage.reductions, strict=True):
                    self.emitter.emit([reduction.operand])
                    value = self.emitter.vector(reduction.operand)
                    totals[f"{k}.{u}"] = self._combine(reduction, [totals[f"{k}.{u}"]], [value])[0]

            self._scoped(body)
        for name, kind, start, tag in phis:
            text = f"  {name} = phi {kind} [{start}, %{loop.entry}], [{totals[tag]}, %{writer.block}]"
            writer.lines.insert(loop.position, text)
        for k, reduction in zip(numbers, stage.reductions, strict=True):
            for u in range(count):
                self._put(reduction, self.accumulators[k], u, [totals[f"{k}.{u}"]])
        self._close(loop, end, count * lanes)

    def _single(self) -> None:
        """Blocks [low, high) of a reduction to scalars; each block's results go to the partials buffer (finish() adds them up)."""
        writer, stage = self.writer, self.nest.stages[0]
        extent = self.dim(self.nest.axes[0].extent)
        loop = self._open("%low", "%high", 1, "unit")
        begin = writer.let(f"mul i64 {loop.index}, {BLOCK}")
        beyond = writer.let(f"add i64 {begin}, {BLOCK}")
        limit = writer.intrinsic("llvm.smin", "i64", [("i64", beyond), ("i64", extent)], "i64")

        def body() -> None:
            self._emit_level(1)
            self._block(stage, begin, limit)
            base = self.bases[-1]
            for k, reduction in enumerate(stage.reductions):
                for part, value in enumerate(self._fold(reduction, k)):
                    kind = reduction.dtype if part == 0 and reduction_is_index(reduction) or not reduction_is_index(reduction) else int64
                    slot = self._partial_slot(loop.index, k, part)
                    address = writer.let(f"getelementptr i64, ptr {base}, i64 {slot}")
                    self._store_memory(kind, value, address)

        self._scoped(body)
        self._close(loop, "%high", 1)

    def _partial_slot(self, block: str, k: int, part: int) -> str:
        width = 2 * len(self.nest.stages[0].reductions)
        first = self.writer.let(f"mul i64 {block}, {width}")
        return self.writer.let(f"add i64 {first}, {2 * k + part}")

    def finish(self) -> str:
        """The second half of a reduction to scalars: add the blocks' results in order, compute and store the row values."""
        nest, writer = self.nest, self.writer
        self.writer = writer = Writer()
        self.emitter.writer = writer
        self.emitter.values, self.emitter._splats, self.dims, self.bases = {}, {}, {}, []
        self.levels = {id(x): 1 if self.levels[id(x)] == 3 and self._in_row(x) else self.levels[id(x)] for x in walk(nest.roots())}
        writer.open("entry")
        for slot in self.buffer_slots:
            self.bases.append(self._load_slot(slot, "ptr"))
        extents = [nest.axes[0].extent, *(x.data for x in walk(nest.roots()) if x.operation == "parameter")]
        for dim in extents:
            if isinstance(dim, SymbolicDim) and dim not in self.dims:
                self.dims[dim] = self._load_slot(self.slots.dim(dim), "i64")
        for x in walk([s.value for s in nest.row_stores]):
            if x.operation == "load":
                for d in (x.data.offset, *x.data.strides):
                    if isinstance(d, SymbolicDim) and d not in self.dims:
                        self.dims[d] = self._load_slot(self.slots.dim(d), "i64")
        self.accumulators = self._allocate()
        rounded = writer.let(f"add i64 {self.dim(nest.axes[0].extent)}, {BLOCK - 1}")
        blocks = writer.let(f"sdiv i64 {rounded}, {BLOCK}")
        reductions = nest.stages[0].reductions
        for k, reduction in enumerate(reductions):
            self._start_result(reduction, k)
        loop = self._open("0", blocks, 1, "block")
        for k, reduction in enumerate(reductions):
            values = []
            for part in range(2 if reduction_is_index(reduction) else 1):
                address = writer.let(f"getelementptr i64, ptr {self.bases[-1]}, i64 {self._partial_slot(loop.index, k, part)}")
                values.append(self._load_memory(int64 if part else reduction.dtype, address))
            held = self._result(reduction, k)
            self._put_result(reduction, k, self._combine(reduction, held, values, scalar=True))
        self._close(loop, blocks, 1)
        for k, reduction in enumerate(reductions):
            self.emitter.values[id(reduction.result)] = (self._result(reduction, k)[-1], False)
        self.emitter.emit([s.value for s in nest.row_stores])
        self._stores(nest.row_stores, scalar=True)
        writer.line("ret void")
        body = "\n".join(writer.lines)
        return f"define internal void @{self.name}_finish(ptr noalias %table, i64 %low, i64 %high, i64 %worker) #0 {{\n{body}\n}}\n"

    # Accumulators -----------------------------------------------------------------------------------------------------
    def _allocate(self) -> list[dict[str, str]]:
        """Stack slots of each reduction: lanes (vectors), result and total (scalars); index reductions have positions beside."""
        writer, found = self.writer, []
        for reduction in [r for s in self.nest.stages for r in s.reductions]:
            count = max(2, lanes_of(reduction.dtype) // self.lanes)
            place = {}
            for kind, dtype in (("value", reduction.dtype), *((("where", int64),) if reduction_is_index(reduction) else ())):
                place[kind] = writer.let(f"alloca [{count} x {register_type(dtype, self.lanes)}], align 64", "acc")
                place[kind + "_result"] = writer.let(f"alloca {register_type(dtype)}, align 8", "result")
            place["total"] = writer.let(f"alloca [2 x {register_type(reduction.dtype)}], align 8", "total")
            found.append(place)
        return found

    def _align(self, dtype: DType) -> int:
        """Alignment of the vectors in an array of accumulators: their own size (a vector of i8 beside one of i64 is short)."""
        return 1 if dtype.is_bool else min(64, self.lanes * dtype.itemsize)

    def _parts(self, reduction: Reduction) -> list[tuple[str, DType, Any]]:
        parts: list[tuple[str, DType, Any]] = [("value", reduction.dtype, reduction.start)]
        if reduction_is_index(reduction):
            parts.append(("where", int64, 2**63 - 1))
        return parts

    def _start(self, reduction: Reduction, place: dict[str, str], slot: int, kind: str = "value") -> None:
        writer = self.writer
        if kind == "total":
            self._store_scalar(reduction.dtype, literal(reduction.start, reduction.dtype), place["total"], slot)  # type: ignore[arg-type]
            return
        for name, dtype, start in self._parts(reduction):
            vector = register_type(dtype, self.lanes)
            address = writer.let(f"getelementptr {vector}, ptr {place[name]}, i64 {slot}")
            writer.line(f"store {vector} splat ({register_type(dtype)} {literal(start, dtype)}), ptr {address}, align {self._align(dtype)}")

    def _get(self, reduction: Reduction, place: dict[str, str], slot: int | str) -> list[str]:
        values = []
        for name, dtype, _ in self._parts(reduction):
            vector = register_type(dtype, self.lanes)
            address = self.writer.let(f"getelementptr {vector}, ptr {place[name]}, i64 {slot}")
            values.append(self.writer.let(f"load {vector}, ptr {address}, align {self._align(dtype)}"))
        return values

    def _put(self, reduction: Reduction, place: dict[str, str], slot: int | str, values: list[str]) -> None:
        for (name, dtype, _), value in zip(self._parts(reduction), values, strict=True):
            vector = register_type(dtype, self.lanes)
            address = self.writer.let(f"getelementptr {vector}, ptr {place[name]}, i64 {slot}")
            self.writer.line(f"store {vector} {value}, ptr {address}, align {self._align(dtype)}")

    def _accumulate(self, reduction: Reduction, place: dict[str, str], slot: int | str, value: str, where: str | None) -> None:
        held = self._get(reduction, place, slot)
        new = [value] if where is None else [value, where]
        self._put(reduction, place, slot, self._combine(reduction, held, new))

    def _merge(self, reduction: Reduction, place: dict[str, str], into: int, other: int) -> None:
        merged = self._combine(reduction, self._get(reduction, place, into), self._get(reduction, place, other))
        self._put(reduction, place, into, merged)

    def _combine(self, reduction: Reduction, a: list[str], b: list[str], scalar: bool = False, lanes: int = 0) -> list[str]:
        """combine(a, b) on vectors (or scalars), through the op's own scalar program."""
        lanes = 1 if scalar else lanes or self.lanes
        s = ScalarBuilder()
        x, y = s.parameter(0, reduction.dtype), s.parameter(1, reduction.dtype)
        kernel: Any = reduction.op.kernel
        emitter = Emitter(self.writer, lanes, _no_leaf)
        emitter.values = {id(x): (a[0], lanes > 1), id(y): (b[0], lanes > 1)}
        if not reduction_is_index(reduction):
            roots = [kernel.combine(s, x, y)]
        else:
            p, q = s.parameter(2, int64), s.parameter(3, int64)
            emitter.values.update({id(p): (a[1], lanes > 1), id(q): (b[1], lanes > 1)})
            replace = kernel.better(s, x, y) | (~kernel.better(s, y, x) & (q < p))
            roots = [s.select(replace, y, x), s.select(replace, q, p)]
        emitter.emit(roots)
        return [emitter.vector(r) for r in roots]

    def _combine_scalar(self, reduction: Reduction, a: str, b: str) -> str:
        return self._combine(reduction, [a], [b], scalar=True)[0]

    def _fold(self, reduction: Reduction, k: int) -> list[str]:
        """Fold the lanes by halves: vectors first, then halves of one vector."""
        writer, lanes = self.writer, self.lanes
        count = lanes_of(reduction.dtype) // lanes
        held = [self._get(reduction, self.accumulators[k], u) for u in range(count)]
        while len(held) > 1:
            half = len(held) // 2
            held = [self._combine(reduction, held[u], held[u + half]) for u in range(half)]
        value, width = held[0], lanes
        parts = self._parts(reduction)
        while width > 1:
            width //= 2
            halves: list[list[str]] = [[], []]
            for (_, dtype, _), whole in zip(parts, value, strict=True):
                vector = register_type(dtype, width * 2)
                for which in (0, 1):
                    if width == 1:
                        halves[which].append(writer.let(f"extractelement {vector} {whole}, i64 {which}"))
                    else:
                        mask = ", ".join(f"i32 {which * width + m}" for m in range(width))
                        halves[which].append(writer.let(f"shufflevector {vector} {whole}, {vector} poison, <{width} x i32> <{mask}>"))
            value = self._combine(reduction, halves[0], halves[1], scalar=width == 1, lanes=width)
        return value

    def _start_result(self, reduction: Reduction, k: int) -> None:
        self._put_result(reduction, k, [literal(start, dtype) for _, dtype, start in self._parts(reduction)])

    def _put_result(self, reduction: Reduction, k: int, values: list[str]) -> None:
        for (name, dtype, _), value in zip(self._parts(reduction), values, strict=True):
            self.writer.line(f"store {register_type(dtype)} {value}, ptr {self.accumulators[k][name + '_result']}, align 8")

    def _result(self, reduction: Reduction, k: int) -> list[str]:
        return [self.writer.let(f"load {register_type(dtype)}, ptr {self.accumulators[k][name + '_result']}, align 8")
                for name, dtype, _ in self._parts(reduction)]  # fmt: skip

    def _fold_into_result(self, reduction: Reduction, k: int) -> None:
        merged = self._combine(reduction, self._result(reduction, k), self._fold(reduction, k), scalar=True)
        self._put_result(reduction, k, merged)

    def _load_scalar(self, dtype: DType, base: str, slot: int) -> str:
        address = self.writer.let(f"getelementptr {register_type(dtype)}, ptr {base}, i64 {slot}")
        return self.writer.let(f"load {register_type(dtype)}, ptr {address}")

    def _store_scalar(self, dtype: DType, value: str, base: str, slot: int) -> None:
        address = self.writer.let(f"getelementptr {register_type(dtype)}, ptr {base}, i64 {slot}")
        self.writer.line(f"store {register_type(dtype)} {value}, ptr {address}")

    # Memory -----------------------------------------------------------------------------------------------------------
    def _load_memory(self, dtype: DType, address: str) -> str:
        value = self.writer.let(f"load {memory_type(dtype)}, ptr {address}, align {dtype.itemsize}")
        return self.writer.let(f"icmp ne i8 {value}, 0") if dtype.is_bool else value

    def _store_memory(self, dtype: DType, value: str, address: str) -> None:
        if dtype.is_bool:
            value = self.writer.let(f"zext i1 {value} to i8")
        self.writer.line(f"store {memory_type(dtype)} {value}, ptr {address}, align {dtype.itemsize}")

    def _address(self, access: Access, dtype: DType) -> str:
        """The address of the access at the current indices (first lane on the vector axis)."""
        writer = self.writer
        total = self.dim(access.offset) if access.offset != 0 else ""
        for axis, stride in enumerate(access.strides):
            if stride == 0:
                continue
            term = self.index[axis]
            if stride != 1:
                term = writer.let(f"mul i64 {term}, {self.dim(stride)}")
            total = writer.let(f"add i64 {total}, {term}") if total else term
        if not total:
            return self.bases[access.buffer]
        return writer.let(f"getelementptr {memory_type(dtype)}, ptr {self.bases[access.buffer]}, i64 {total}")

    def _leaf(self, emitter: Emitter, x: Scalar) -> tuple[str, bool]:
        if x.operation == "parameter":
            return self.dim(x.data), False
        if x.operation == "index":
            if x.data == self.vector:
                return self.writer.let(f"add <{self.lanes} x i64> {self._splat('i64', self.index[x.data])}, {self._iota('i64')}"), True
            return self.index[x.data], False
        if x.operation == "check":
            return self._check(emitter, x)
        if x.operation == "gather":
            return self._gather(emitter, x)
        assert x.operation == "load", x.operation
        access, dtype = x.data, x.dtype
        address = self._address(access, dtype)
        step = 0 if self.vector is None else access.strides[self.vector]
        if step == 0:
            return self._load_memory(dtype, address), False
        if step == 1:
            return self._load_vector(dtype, address), True
        return self._gather_from(dtype, address, self._steps(step)), True

    def _steps(self, step: Dim) -> str:
        """Positions of the lanes along a strided vector axis."""
        return self.writer.let(f"mul <{self.lanes} x i64> {self._splat('i64', self.dim(step))}, {self._iota('i64')}")

    def _load_vector(self, dtype: DType, address: str) -> str:
        writer, kind = self.writer, memory_type(dtype, self.lanes)
        if self.mask is None:
            value = writer.let(f"load {kind}, ptr {address}, align {dtype.itemsize}")
        else:
            suffix = f"v{self.lanes}{_suffix(dtype)}.p0"
            value = writer.intrinsic("llvm.masked.load", kind, [("ptr", address), ("i32", str(dtype.itemsize)),
                                     (f"<{self.lanes} x i1>", self.mask), (kind, "zeroinitializer")], suffix)  # fmt: skip
        return writer.let(f"icmp ne {kind} {value}, zeroinitializer") if dtype.is_bool else value

    def _gather_from(self, dtype: DType, address: str, positions: str) -> str:
        writer, kind, lanes = self.writer, memory_type(dtype, self.lanes), self.lanes
        places = writer.let(f"getelementptr {memory_type(dtype)}, ptr {address}, <{lanes} x i64> {positions}")
        value = writer.intrinsic("llvm.masked.gather", kind, [(f"<{lanes} x ptr>", places), ("i32", str(dtype.itemsize)),
                                 (f"<{lanes} x i1>", self.mask or "splat (i1 true)"), (kind, "zeroinitializer")],
                                 f"v{lanes}{_suffix(dtype)}.v{lanes}p0")  # fmt: skip
        return writer.let(f"icmp ne {kind} {value}, zeroinitializer") if dtype.is_bool else value

    def _gather(self, emitter: Emitter, x: Scalar) -> tuple[str, bool]:
        position, is_vector = emitter.values[id(x.operands[0])]
        base = self.bases[x.data]
        if is_vector:
            return self._gather_from(x.dtype, base, position), True
        address = self.writer.let(f"getelementptr {memory_type(x.dtype)}, ptr {base}, i64 {position}")
        return self._load_memory(x.dtype, address), False

    def _stores(self, stores: Sequence[Store], scalar: bool = False) -> None:
        self.emitter.emit([s.value for s in stores])
        for store in stores:
            dtype = store.value.dtype
            address = self._address(store.access, dtype)
            step = 0 if self.vector is None or scalar else store.access.strides[self.vector]
            if step == 0:
                self._store_memory(dtype, self.emitter.scalar(store.value), address)
                continue
            value, lanes, writer = self.emitter.vector(store.value), self.lanes, self.writer
            kind = memory_type(dtype, lanes)
            if dtype.is_bool:
                value = writer.let(f"zext <{lanes} x i1> {value} to {kind}")
            if step != 1:
                places = writer.let(f"getelementptr {memory_type(dtype)}, ptr {address}, <{lanes} x i64> {self._steps(step)}")
                writer.intrinsic("llvm.masked.scatter", "void", [(kind, value), (f"<{lanes} x ptr>", places), ("i32", str(dtype.itemsize)),
                                 (f"<{lanes} x i1>", self.mask or "splat (i1 true)")], f"v{lanes}{_suffix(dtype)}.v{lanes}p0")  # fmt: skip
            elif self.mask is None:
                writer.line(f"store {kind} {value}, ptr {address}, align {dtype.itemsize}")
            else:
                writer.intrinsic("llvm.masked.store", "void", [(kind, value), ("ptr", address), ("i32", str(dtype.itemsize)),
                                 (f"<{lanes} x i1>", self.mask)], f"v{lanes}{_suffix(dtype)}.p0")  # fmt: skip

    # Checks -----------------------------------------------------------------------------------------------------------
    def _check(self, emitter: Emitter, x: Scalar) -> tuple[str, bool]:
        """Report the lowest failing element of the check through the status word, and go on with the value."""
        writer, lanes = self.writer, self.lanes
        value, is_vector = emitter.values[id(x.operands[0])]
        ok, ok_vector = emitter.values[id(x.operands[1])]
        report, after = writer.label("report"), writer.label("checked")
        if ok_vector:
            bad = writer.let(f"xor <{lanes} x i1> {ok}, splat (i1 true)")
            if self.mask is not None:
                bad = writer.let(f"and <{lanes} x i1> {bad}, {self.mask}")
            some = writer.intrinsic("llvm.vector.reduce.or", "i1", [(f"<{lanes} x i1>", bad)], f"v{lanes}i1")
        else:
            some = writer.let(f"xor i1 {ok}, true")
        writer.line(f"br i1 {some}, label %{report}, label %{after}")
        writer.open(report)
        position = self._linear_index()
        if ok_vector:
            bits = writer.let(f"bitcast <{lanes} x i1> {bad} to i{lanes}")
            lane = writer.intrinsic("llvm.cttz", f"i{lanes}", [(f"i{lanes}", bits), ("i1", "true")], f"i{lanes}")
            wide = writer.let(f"zext i{lanes} {lane} to i64")
            position = writer.let(f"add i64 {position}, {wide}")
        code = (self.check_base + x.data) << 44
        word = writer.let(f"or i64 {position}, {code}")
        writer.let(f"atomicrmw umin ptr %table, i64 {word} monotonic")
        writer.line(f"br label %{after}")
        writer.open(after)
        return value, is_vector

    def _linear_index(self) -> str:
        """The element's number in the nest's space, row-major."""
        total = "0"
        for axis in range(len(self.nest.axes)):
            if axis not in self.index:
                continue
            scaled = self.writer.let(f"mul i64 {total}, {self.dim(self.nest.axes[axis].extent)}")
            total = self.writer.let(f"add i64 {scaled}, {self.index[axis]}")
        return total


def reduction_is_index(reduction: Reduction) -> bool:
    """Does the reduction carry positions (argmax)?"""
    return getattr(reduction.op.kernel, "better", None) is not None


def _suffix(dtype: DType) -> str:
    return {"float": dtype.short, "bool": "i8"}.get(dtype.kind, f"i{dtype.itemsize * 8}")


def _no_leaf(emitter: Emitter, x: Scalar) -> tuple[str, bool]:
    raise TypeError(f"a combining program may only use its operands, not {x.operation}")


def emit_nest(
    nest: Nest, name: str, buffer_slots: Sequence[int], slots: Slots, vector_bytes: int, check_base: int
) -> tuple[str, set[str]]:
    """The nest's LLVM functions (`name`, and `name_finish` for reductions to scalars) and the declarations they need."""
    emitter = NestEmitter(nest, name, buffer_slots, slots, vector_bytes, check_base)
    text = emitter.emit()
    declarations = set(emitter.writer.declarations)
    if is_single(nest):
        text += emitter.finish()
        declarations |= emitter.writer.declarations
    return text, declarations
