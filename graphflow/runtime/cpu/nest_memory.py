"""What a nest's code does to memory: addresses, loads, gathers, stores, and the status word of run-time checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...dtypes import DType
from ...ir.dims import Dim, SymbolicDim
from ...kernels.nest import Access, Nest, Store
from ...kernels.scalar import Scalar, walk
from .emit import Emitter, Writer, memory_type

__all__ = ["MemoryEmitter", "Slots", "vector_axis"]


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


class MemoryEmitter:
    """The part of a nest's emitter that knows buffers and indices. slots maps the nest's buffers (by number) to table slots; check_base is
    the program's number of the nest's first check."""

    def __init__(
        self, nest: Nest, name: str, buffer_slots: Sequence[int], slots: Slots, vector_bytes: int, check_base: int
    ) -> None:
        self.nest, self.name, self.slots, self.check_base = nest, name, slots, check_base
        self.buffer_slots = buffer_slots
        self.writer = Writer()
        widths = [s.dtype.itemsize for s in walk(nest.roots()) if s.operation not in ("index", "parameter", "const")]
        self.lanes = max(2, vector_bytes // max(4, max(widths, default=4)))
        self.vector = vector_axis(nest)
        self.index: dict[int, str] = {}  # nest axis -> i64 index value (the vector axis: its first lane)
        self.bases: list[str] = []
        self.dims: dict[SymbolicDim, str] = {}
        self.emitter = Emitter(self.writer, self.lanes, self._leaf)
        self.mask: str | None = None

    def dim(self, dim: Dim) -> str:
        """A dim as an LLVM i64 operand; symbolic ones are loaded once, at the function's entry."""
        if isinstance(dim, int):
            return str(dim)
        return self.dims[dim]

    def _load_slot(self, slot: int, kind: str) -> str:
        address = self.writer.let(f"getelementptr i64, ptr %table, i64 {slot}")
        return self.writer.let(f"load {kind}, ptr {address}, align 8")

    def _splat(self, kind: str, value: str) -> str:
        vector = f"<{self.lanes} x {kind}>"
        one = self.writer.let(f"insertelement {vector} poison, {kind} {value}, i64 0")
        return self.writer.let(f"shufflevector {vector} {one}, {vector} poison, <{self.lanes} x i32> zeroinitializer")

    def _iota(self, kind: str) -> str:
        return "<" + ", ".join(f"{kind} {k}" for k in range(self.lanes)) + ">"

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
                return self.writer.let(
                    f"add <{self.lanes} x i64> {self._splat('i64', self.index[x.data])}, {self._iota('i64')}"
                ), True
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
        part = self._part_of_pair(access) if step == 2 else None
        if part is not None:
            return self._load_part(access, dtype, part), True
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

    # Pairs: arrays whose last axis has 2 elements, side by side (complex numbers). A vector of one of them is every second element of
    # two vectors, which is several times as fast as a gather.
    def _part_of_pair(self, access: Access) -> int | None:
        """Which of its pair the access takes at all indices, or None if that is not known."""
        buffer = self.nest.buffers[access.buffer]
        if not buffer.shape or buffer.shape[-1] != 2 or not all(map(_is_even, access.strides)):
            return None
        return 0 if _is_even(access.offset) else 1 if _is_even(access.offset - 1) else None

    def _pair_address(self, access: Access, part: int, dtype: DType) -> str:
        address = self._address(access, dtype)  # of the table's extents the nest has loaded this offset, and no other
        return self.writer.let(f"getelementptr {memory_type(dtype)}, ptr {address}, i64 -1") if part else address

    def _pair_mask(self) -> str:
        """The mask with each lane twice."""
        lanes = self.lanes
        order = ", ".join(f"i32 {k // 2}" for k in range(2 * lanes))
        return self.writer.let(
            f"shufflevector <{lanes} x i1> {self.mask}, <{lanes} x i1> poison, <{2 * lanes} x i32> <{order}>"
        )

    def _load_part(self, access: Access, dtype: DType, part: int) -> str:
        writer, lanes, kind = self.writer, self.lanes, memory_type(dtype, 2 * self.lanes)
        address = self._pair_address(access, part, dtype)
        if self.mask is None:
            both = writer.let(f"load {kind}, ptr {address}, align {dtype.itemsize}")
        else:
            both = writer.intrinsic("llvm.masked.load", kind, [("ptr", address), ("i32", str(dtype.itemsize)),
                                    (f"<{2 * lanes} x i1>", self._pair_mask()), (kind, "zeroinitializer")],
                                    f"v{2 * lanes}{_suffix(dtype)}.p0")  # fmt: skip
        order = ", ".join(f"i32 {2 * k + part}" for k in range(lanes))
        value = writer.let(f"shufflevector {kind} {both}, {kind} poison, <{lanes} x i32> <{order}>")
        if dtype.is_bool:
            value = writer.let(f"icmp ne {memory_type(dtype, lanes)} {value}, zeroinitializer")
        return value

    def _store_pair(self, first: Store, second: Store) -> None:
        writer, lanes, dtype = self.writer, self.lanes, first.value.dtype
        kind, wide = memory_type(dtype, lanes), memory_type(dtype, 2 * lanes)
        address = self._pair_address(first.access, 0, dtype)
        a, b = self.emitter.vector(first.value), self.emitter.vector(second.value)
        order = ", ".join(f"i32 {k}, i32 {lanes + k}" for k in range(lanes))
        both = writer.let(f"shufflevector {kind} {a}, {kind} {b}, <{2 * lanes} x i32> <{order}>")
        if self.mask is None:
            writer.line(f"store {wide} {both}, ptr {address}, align {dtype.itemsize}")
        else:
            writer.intrinsic("llvm.masked.store", "void", [(wide, both), ("ptr", address), ("i32", str(dtype.itemsize)),
                             (f"<{2 * lanes} x i1>", self._pair_mask())], f"v{2 * lanes}{_suffix(dtype)}.p0")  # fmt: skip

    def _is_pair(self, first: Store, second: Store | None) -> bool:
        """Do two stores, one after the other, fill both places of pairs along the vector axis?"""
        if second is None or self.vector is None or first.access.strides[self.vector] != 2 or first.value.dtype.is_bool:
            return False
        if first.access.buffer != second.access.buffer or first.access.strides != second.access.strides:
            return False
        return self._part_of_pair(first.access) == 0 and self._part_of_pair(second.access) == 1

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
        stretch = self._stretch(emitter, x.operands[0]) if is_vector else None
        if stretch is not None:
            return self._load_vector(
                x.dtype, self.writer.let(f"getelementptr {memory_type(x.dtype)}, ptr {base}, i64 {stretch}")
            ), True
        if is_vector:
            return self._gather_from(x.dtype, base, position), True
        address = self.writer.let(f"getelementptr {memory_type(x.dtype)}, ptr {base}, i64 {position}")
        return self._load_memory(x.dtype, address), False

    def _stretch(self, emitter: Emitter, position: Scalar) -> str | None:
        """The first lane's position where a computed position is something uniform plus the vector axis's index: a row of a table,
        read as one vector instead of lane by lane."""
        if position.operation != "add":
            return None
        for own, other in (position.operands, position.operands[::-1]):
            if own.operation == "index" and own.data == self.vector and not emitter.values[id(other)][1]:
                return self.writer.let(f"add i64 {emitter.values[id(other)][0]}, {self.index[own.data]}")
        return None

    def _stores(self, stores: Sequence[Store], scalar: bool = False) -> None:
        self.emitter.emit([s.value for s in stores])
        done = None  # the second of a pair that is stored already
        for store, following in zip(stores, [*stores[1:], None], strict=False):
            if store is done:
                continue
            if not scalar and self._is_pair(store, following):
                assert following is not None
                self._store_pair(store, following)
                done = following
                continue
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
                places = writer.let(
                    f"getelementptr {memory_type(dtype)}, ptr {address}, <{lanes} x i64> {self._steps(step)}"
                )
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
        place = self.nest.checks[x.data].place
        assert place is not None
        along = self.vector is not None and place.strides[self.vector] != 0
        ok, ok_vector = (emitter.vector(x.operands[1]), True) if along else emitter.values[id(x.operands[1])]
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
        position = self._element(place)
        if along and self.vector is not None:
            # the lowest element, which is not that of the first lane where a view walks backwards
            places = writer.let(
                f"add <{lanes} x i64> {self._splat('i64', position)}, {self._steps(place.strides[self.vector])}"
            )
            failed = writer.let(
                f"select <{lanes} x i1> {bad}, <{lanes} x i64> {places}, <{lanes} x i64> splat (i64 {2**63 - 1})"
            )
            position = writer.intrinsic(
                "llvm.vector.reduce.umin", "i64", [(f"<{lanes} x i64>", failed)], f"v{lanes}i64"
            )
        code = (self.check_base + x.data) << 44
        word = writer.let(f"or i64 {position}, {code}")
        writer.let(f"atomicrmw umin ptr %table, i64 {word} monotonic")
        writer.line(f"br label %{after}")
        writer.open(after)
        return value, is_vector

    def _element(self, access: Access) -> str:
        """The element's number at the current indices (of the first lane on the vector axis)."""
        total = self.dim(access.offset)
        for axis, stride in enumerate(access.strides):
            if stride != 0:
                step = self.writer.let(f"mul i64 {self.index[axis]}, {self.dim(stride)}")
                total = self.writer.let(f"add i64 {total}, {step}")
        return total


def _is_even(dim: Dim) -> bool:
    if isinstance(dim, int):
        return dim % 2 == 0
    return all(coefficient % 2 == 0 for _, coefficient in dim.terms)


def _suffix(dtype: DType) -> str:
    if dtype.is_floating and not dtype.is_narrow:
        return dtype.short
    return f"i{dtype.itemsize * 8}"
