"""Loop nests as LLVM functions `void kernel(ptr table, i64 low, i64 high, i64 worker)` over a range of the nest's units.

The table holds, in 8-byte slots, the addresses of buffers and the values of symbolic extents. A unit is one row of a reduction,
or one chunk of the vector axis at one position of the outer axes. Loops are explicit vectors; the last, shorter vector of an
axis is masked, so nothing is left to LLVM's vectoriser and short axes are vectors too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...dtypes import int64
from ...ir.dims import Dim, SymbolicDim, product
from ...kernels.nest import BLOCK, OTHER_BLOCK, Nest, Reduction, Stage, lanes_of
from ...kernels.scalar import Scalar, walk
from .emit import Writer, literal, memory_type, register_type
from .nest_loops import LoopEmitter
from .nest_memory import Slots, vector_axis
from .nest_reductions import reduction_is_index

__all__ = ["COLUMN_CHUNK", "MAP_CHUNK", "Slots", "emit_nest", "is_single", "units", "vector_axis"]

MAP_CHUNK = 4096
COLUMN_CHUNK = 128
TRANSPOSED_CHUNK = 64
"""Elements of the vector axis that a transposing map takes at a time, so that the lines it gathers from serve the next rows too."""


def is_single(nest: Nest) -> bool:
    """One stage reducing everything to scalars: its blocks can run in parallel, their results wait in a partials buffer."""
    return (not nest.kept and len(nest.axes) == 1 and nest.axes[0].role == "trailing" and len(nest.stages) == 1
            and bool(nest.stages[0].reductions))  # fmt: skip


def transposed_axis(nest: Nest) -> int | None:
    """The kept axis along which a strided load of a map is contiguous: it should run next to the vector axis."""
    axis = vector_axis(nest)
    if axis is None or not nest.is_map:
        return None
    for x in walk(nest.roots()):
        if x.operation == "load" and x.data.strides[axis] not in (0, 1):
            for k in nest.kept:
                if k != axis and x.data.strides[k] == 1:
                    return k
    return None


def chunk_of(nest: Nest) -> int:
    """Elements of the vector axis in one unit (maps and column nests)."""
    if not nest.is_map:
        return COLUMN_CHUNK
    return MAP_CHUNK if transposed_axis(nest) is None else TRANSPOSED_CHUNK


def units(nest: Nest) -> Dim:
    """How many units the nest has (its parallel range)."""
    kept = nest.kept
    if is_single(nest):
        return (nest.axes[0].extent + (BLOCK - 1)) // BLOCK
    axis = vector_axis(nest)
    if axis is None or nest.axes[axis].role == "trailing":
        return product(nest.axes[k].extent for k in kept)
    chunk = chunk_of(nest)
    return product(nest.axes[k].extent for k in kept[:-1]) * ((nest.axes[axis].extent + (chunk - 1)) // chunk)


class NestEmitter(LoopEmitter):
    """Writes the loops of one nest."""

    def __init__(
        self, nest: Nest, name: str, buffer_slots: Sequence[int], slots: Slots, vector_bytes: int, check_base: int
    ) -> None:
        super().__init__(nest, name, buffer_slots, slots, vector_bytes, check_base)
        self.levels = self._classify()

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
            elif (
                x.operation == "check"
            ):  # in every loop that has elements of its node, so that it runs once for each of them
                place = nest.checks[x.data].place
                level = max(
                    level, 1, of_axes({k for k, stride in enumerate(place.strides) if stride != 0}) if place else 3
                )
            elif x.operation == "gather":
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
        for check in nest.checks:
            wanted += [check.place.offset, *check.place.strides] if check.place else []
        for dim in wanted:
            if isinstance(dim, SymbolicDim) and dim not in self.dims:
                self.dims[dim] = self._load_slot(self.slots.dim(dim), "i64")
        first_scratch = len(nest.inputs) + len(nest.outputs)
        for k, buffer in enumerate(nest.scratch):
            step = writer.let(f"mul i64 %worker, {self.dim(buffer.shape[0])}")
            self.bases[first_scratch + k] = writer.let(
                f"getelementptr {memory_type(buffer.dtype)}, ptr {self.bases[first_scratch + k]}, i64 {step}")  # fmt: skip

        self.accumulators = self._allocate(2 * COLUMN_CHUNK // self.lanes)
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
        """Emit what belongs to loop level `level` of the roots, unless it waits for a reduction that has not run yet."""
        waiting: set[int] = set()
        for x in walk(self.nest.roots() if roots is None else list(roots)):
            if id(x) in self.emitter.values:
                continue
            if x.operation == "reduced" or any(id(o) in waiting for o in x.operands):
                waiting.add(id(x))
            elif self.levels[id(x)] == level:
                self.emitter.emit([x])

    # Map and column nests ---------------------------------------------------------------------------------------------
    def _chunks(self) -> None:
        nest, writer, kept = self.nest, self.writer, self.nest.kept
        units_loop = self._open("%low", "%high", 1, "unit")
        if self.vector is None:
            self._scoped(self._point)
        else:
            chunk = chunk_of(nest)
            extent = self.dim(nest.axes[self.vector].extent)
            rounded = writer.let(f"add i64 {extent}, {chunk - 1}")
            chunks = writer.let(f"sdiv i64 {rounded}, {chunk}")
            unit, inner = units_loop.index, transposed_axis(nest)
            if inner is not None:  # this axis varies fastest, then the chunks
                rows = self.dim(nest.axes[inner].extent)
                self.index[inner] = writer.let(f"srem i64 {unit}, {rows}")
                unit = writer.let(f"sdiv i64 {unit}, {rows}")
            self._outer(unit, [k for k in kept[:-1] if k != inner], chunks)
            begin = writer.let(f"mul i64 {self.unit_rest}, {chunk}")
            beyond = writer.let(f"add i64 {begin}, {chunk}")
            limit = writer.intrinsic("llvm.smin", "i64", [("i64", beyond), ("i64", extent)], "i64")

            def body() -> None:
                self._emit_level(1)
                axis = self.vector
                assert axis is not None
                columns = nest.axes[axis].extent
                if nest.is_map:
                    self._vectors(axis, begin, limit, self._point)
                elif isinstance(columns, int) and columns <= self.lanes:
                    self._masked(axis, begin, limit, self._one_column_vector)
                else:
                    self._columns(begin, limit)

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

    def _one_column_vector(self) -> None:
        """All columns fit one vector: the accumulators stay in registers while the other axis is walked in order."""
        nest, writer = self.nest, self.writer
        self._emit_level(2)
        other = next(k for k, a in enumerate(nest.axes) if a.role == "other")
        extent = self.dim(nest.axes[other].extent)
        reductions = list(zip(nest.stages[0].reductions, self.accumulators, strict=True))
        for reduction, place in reductions:
            self._start(reduction, place, 0)
        blocks = self._open("0", extent, OTHER_BLOCK, "block")
        beyond = writer.let(f"add i64 {blocks.index}, {OTHER_BLOCK}")
        end = writer.intrinsic("llvm.smin", "i64", [("i64", beyond), ("i64", extent)], "i64")
        for reduction, place in reductions:
            self._start(reduction, place, 1)
        inner = self._open(blocks.index, end, 1, "other")
        self.index[other] = inner.index

        def body() -> None:
            self._stores(nest.stages[0].stores)
            for reduction, place in reductions:
                self.emitter.emit([reduction.operand])
                position = self._splat("i64", inner.index) if reduction_is_index(reduction) else None
                self._accumulate(reduction, place, 1, self.emitter.vector(reduction.operand), position)

        self._scoped(body)
        self._close(inner, end, 1)
        for reduction, place in reductions:
            self._merge(reduction, place, 0, 1)
        self._close(blocks, extent, OTHER_BLOCK)
        for reduction, place in reductions:
            self.emitter.values[id(reduction.result)] = (self._get(reduction, place, 0)[-1], True)
        self._emit_level(3, [s.value for s in nest.row_stores])
        self._stores(nest.row_stores)

    def _columns(self, begin: str, limit: str) -> None:
        """The columns [begin, limit), at most COLUMN_CHUNK: walk the other axis in order with all of them side by side, so that every
        row is read in one stretch (one column vector at a time took 9 times as long on 4096x4096, a page apart for each row)."""
        nest, writer, axis = self.nest, self.writer, self.vector
        assert axis is not None
        other = next(k for k, a in enumerate(nest.axes) if a.role == "other")
        extent = self.dim(nest.axes[other].extent)
        stage, width = nest.stages[0], COLUMN_CHUNK // self.lanes
        reductions = list(zip(stage.reductions, self.accumulators, strict=True))

        def slot() -> str:
            """The number of the current vector of columns in the chunk."""
            distance = writer.let(f"sub i64 {self.index[axis]}, {begin}")
            return writer.let(f"sdiv i64 {distance}, {self.lanes}")

        def each(action: Callable[[Reduction, dict[str, str], str, str], None]) -> None:
            """action(reduction, its accumulators, slot of the total, slot of the block's sum) for every vector of columns."""
            span = writer.let(f"sub i64 {limit}, {begin}")
            rounded = writer.let(f"add i64 {span}, {self.lanes - 1}")
            count = writer.let(f"sdiv i64 {rounded}, {self.lanes}")
            loop = self._open("0", count, 1, "slot")
            block = writer.let(f"add i64 {loop.index}, {width}")
            for reduction, place in reductions:
                action(reduction, place, loop.index, block)
            self._close(loop, count, 1)

        each(lambda reduction, place, total, block: self._start(reduction, place, total))
        blocks = self._open("0", extent, OTHER_BLOCK, "block")
        beyond = writer.let(f"add i64 {blocks.index}, {OTHER_BLOCK}")
        end = writer.intrinsic("llvm.smin", "i64", [("i64", beyond), ("i64", extent)], "i64")
        each(lambda reduction, place, total, block: self._start(reduction, place, block))
        inner = self._open(blocks.index, end, 1, "other")
        self.index[other] = inner.index

        def body() -> None:
            self._emit_level(2)
            self._stores(stage.stores)
            block = writer.let(f"add i64 {slot()}, {width}")
            for reduction, place in reductions:
                self.emitter.emit([reduction.operand])
                position = self._splat("i64", inner.index) if reduction_is_index(reduction) else None
                self._accumulate(reduction, place, block, self.emitter.vector(reduction.operand), position)

        self._vectors(axis, begin, limit, body)
        self._close(inner, end, 1)
        each(lambda reduction, place, total, block: self._merge(reduction, place, total, block))
        self._close(blocks, extent, OTHER_BLOCK)

        def finish() -> None:
            self._emit_level(2)
            total = slot()
            for reduction, place in reductions:
                self.emitter.values[id(reduction.result)] = (self._get(reduction, place, total)[-1], True)
            self._emit_level(3, [s.value for s in nest.row_stores])
            self._stores(nest.row_stores)

        self._vectors(axis, begin, limit, finish)

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
            if self._divides(step):
                return

        def body() -> None:
            self._stores(stage.stores)
            distance = writer.let(f"sub i64 {self.index[axis]}, {begin}")
            number = (
                writer.let(f"sdiv exact i64 {distance}, {lanes}")
                if self.mask is None
                else writer.let(f"sdiv i64 {distance}, {lanes}")
            )
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
                    where = writer.let(
                        f"add <{lanes} x i64> {self._splat('i64', self.index[axis])}, {self._iota('i64')}"
                    )
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
                    kind = (
                        reduction.dtype
                        if part == 0 and reduction_is_index(reduction) or not reduction_is_index(reduction)
                        else int64
                    )
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
        self.levels = {
            id(x): 1 if self.levels[id(x)] == 3 and self._in_row(x) else self.levels[id(x)] for x in walk(nest.roots())
        }
        writer.open("entry")
        for slot in self.buffer_slots:
            self.bases.append(self._load_slot(slot, "ptr"))
        extents = [nest.axes[0].extent, *(x.data for x in walk(nest.roots()) if x.operation == "parameter")]
        extents += [d for c in nest.checks if c.place for d in (c.place.offset, *c.place.strides)]
        for dim in extents:
            if isinstance(dim, SymbolicDim) and dim not in self.dims:
                self.dims[dim] = self._load_slot(self.slots.dim(dim), "i64")
        for x in walk([s.value for s in nest.row_stores]):
            if x.operation == "load":
                for d in (x.data.offset, *x.data.strides):
                    if isinstance(d, SymbolicDim) and d not in self.dims:
                        self.dims[d] = self._load_slot(self.slots.dim(d), "i64")
        self.accumulators = self._allocate(2 * COLUMN_CHUNK // self.lanes)
        rounded = writer.let(f"add i64 {self.dim(nest.axes[0].extent)}, {BLOCK - 1}")
        blocks = writer.let(f"sdiv i64 {rounded}, {BLOCK}")
        reductions = nest.stages[0].reductions
        for k, reduction in enumerate(reductions):
            self._start_result(reduction, k)
        loop = self._open("0", blocks, 1, "block")
        for k, reduction in enumerate(reductions):
            values = []
            for part in range(2 if reduction_is_index(reduction) else 1):
                address = writer.let(
                    f"getelementptr i64, ptr {self.bases[-1]}, i64 {self._partial_slot(loop.index, k, part)}"
                )
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
