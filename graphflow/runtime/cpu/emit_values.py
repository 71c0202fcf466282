"""Where the values of a program with control flow are: scalars in registers, arrays behind addresses in the table, memory of
run-time size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...ir.dims import Dim, product, symbol, symbols_of
from ...ir.graph import Graph, Node, Value
from .emit import Writer, literal
from .emit_program import ProgramEmitter
from .emit_scalars import load_scalar, store_scalar
from .extents import OUT_OF_MEMORY, PrefixedWriter

__all__ = ["MARKER", "FunctionText", "ValueEmitter"]

MARKER = "  ; extents "


@dataclass
class FunctionText:
    """What belongs to one native function while it is written."""

    writer: Writer = field(default_factory=Writer)
    prologue: PrefixedWriter = field(default_factory=lambda: PrefixedWriter("entry_"))
    registers: dict[Value, str] = field(default_factory=dict)
    fixed: dict[Any, str] = field(default_factory=dict)
    extents: dict[Dim, str] = field(default_factory=dict)
    cells: dict[Value, tuple[int, str]] = field(default_factory=dict)
    asked: str | None = None  # where a loop keeps when it asked for signals


class ValueEmitter(ProgramEmitter):
    """Registers, addresses and extents of values; what moves at the end of a body."""

    def __init__(self, graph: Graph, plan: Any, profile: bool) -> None:
        super().__init__(graph, plan, profile)
        self.known = frozenset(graph.symbols)
        self.own = FunctionText()
        self.writer = self.own.writer
        self.markers: list[tuple[str, ...]] = []
        self.cell_count = 0
        self.making: Sequence[Value] = ()
        self.moving = {h.index for h in plan.homes.values() if h.kind == "temporary" and len(h.group) > 1}
        self.extra_dynamic = len(plan.dynamic)
        self.grown: list[tuple[Any, Dim]] = []

    def key(self, value: Value) -> tuple[str, int]:
        root = self.plan.root(value)
        place = self.plan.places.get(root)
        in_register = root.type.in_register and not root.is_variable
        if place is None or place.kind == "cell" or place.kind == "parameter" and in_register:
            return "cell", self._cell(root)
        return place.kind, place.index

    def _cell(self, root: Value) -> int:
        """Memory for a scalar, and its present value in it unless the node under way makes it."""
        own = self.own
        if root not in own.cells:
            number, self.cell_count = self.cell_count, self.cell_count + 1
            name = own.prologue.let("alloca i64, align 8", "cell")
            own.cells[root] = (number, name)
            own.fixed["cell", number] = name
            slot = self.slots.buffer(("cell", number))
            place = own.prologue.let(f"getelementptr i64, ptr %table, i64 {slot}")
            own.prologue.line(f"store ptr {name}, ptr {place}, align 8")
            self.plan.put_in_cell(root, number)
        number, name = own.cells[root]
        if root not in self.making:
            store_scalar(self.writer, root.type.dtype, self.register(root), name)
        return number

    def slot(self, value: Value) -> int:
        key = self.key(value)
        return self.dynamic_slot(key[1]) if key[0] == "dynamic" else self.slots.buffer(key)

    def pointer(self, key: Any) -> str:
        own = self.own
        if key[0] == "dynamic" or key[0] == "temporary" and key[1] in self.moving:
            slot = self.dynamic_slot(key[1]) if key[0] == "dynamic" else self.slots.buffer(key)
            return self.writer.let(f"load ptr, ptr {self._slot_address(slot)}, align 8")
        if key not in own.fixed:
            address = own.prologue.let(f"getelementptr i64, ptr %table, i64 {self.slots.buffer(key)}")
            own.fixed[key] = own.prologue.let(f"load ptr, ptr {address}, align 8")
        return own.fixed[key]

    def address(self, value: Value) -> str:
        return self.pointer(self.key(value))

    def register(self, value: Value) -> str:
        """A scalar's register."""
        root = self.plan.root(value)
        registers = self.own.registers
        if root not in registers:
            producer = root.producer
            if producer is not None and producer.op.name == "constant":
                element = producer.attributes["value"].reshape(())
                registers[root] = literal(
                    element.item() if element.dtype.kind != "V" else float(element), root.type.dtype
                )
            else:  # an argument or a variable: what it holds at entry
                place = self.plan.places[root]
                pointer = self.pointer((place.kind, place.index))
                registers[root] = load_scalar(self.own.prologue, root.type.dtype, pointer)
        return registers[root]

    def dim(self, dim: Dim) -> str:
        if isinstance(dim, int):
            return str(dim)
        slot = self.slots.dim(dim)
        if symbols_of(dim) - self.known:
            return self.writer.let(f"load i64, ptr {self._slot_address(slot)}, align 8")
        own = self.own
        if dim not in own.extents:
            address = own.prologue.let(f"getelementptr i64, ptr %table, i64 {slot}")
            own.extents[dim] = own.prologue.let(f"load i64, ptr {address}, align 8")
        return own.extents[dim]

    def bytes_of(self, value: Value) -> str:
        """A value's size in memory."""
        return self.dim(product(value.type.shape) * value.type.dtype.itemsize)

    def _slot_address(self, slot: int) -> str:
        return self.writer.let(f"getelementptr i64, ptr %table, i64 {slot}")

    # Memory of run-time size ------------------------------------------------------------------------------------------
    def dynamic_slot(self, index: int) -> int:
        """The slot of a grow-only buffer; the next one holds how much there is."""
        slot = self.slots.buffer(("dynamic", index))
        self.slots.buffer(("capacity", index))
        return slot

    def reserve(self, slot: int, size: str, keep: bool = False) -> None:
        """Make room; leaves the program if there is none."""
        writer = self.writer
        place = self._slot_address(slot)
        room = writer.let(f"getelementptr i64, ptr {place}, i64 1")
        held = writer.let(f"load i64, ptr {room}, align 8")
        enough = writer.let(f"icmp ult i64 {size}, {held}")
        grow, none, fine = writer.label("grow"), writer.label("no_memory"), writer.label("room")
        writer.line(f"br i1 {enough}, label %{fine}, label %{grow}")
        writer.open(grow)
        found = writer.let(f"call i1 @reserve(ptr {place}, i64 {size}, i1 {'true' if keep else 'false'})")
        writer.line(f"br i1 {found}, label %{fine}, label %{none}")
        writer.open(none)
        writer.line(f"store i64 {OUT_OF_MEMORY}, ptr %table, align 8")
        writer.line("br label %out")
        writer.open(fine)

    def reserve_results(self, node: Node) -> None:
        """Room for results of run-time size that do not take an operand's place."""
        operands = {self.plan.home(v) for v in node.inputs}
        for value in node.outputs:
            home = self.plan.home(value)
            if home is not None and home.dynamic and home not in operands:
                self.reserve(self.dynamic_slot(home.index), self.bytes_of(value))

    def scratch_slot(self, key: tuple[Any, ...], size: Dim) -> int:
        if isinstance(size, int) or not symbols_of(size) - self.known:
            return super().scratch_slot(key, size)
        slot = self.dynamic_slot(self.extra_dynamic)
        self.extra_dynamic += 1
        self.grown.append((key, size))
        self.reserve(slot, self.dim(size))
        return slot

    def _memcpy(self, target: str, source: str, size: str) -> None:
        arguments = [("ptr", target), ("ptr", source), ("i64", size), ("i1", "false")]
        self.writer.intrinsic("llvm.memcpy", "void", arguments, "p0.p0.i64")

    def copy_value(self, target: str, value: Value) -> None:
        """A value's elements to an address."""
        if value.type.in_register:
            store_scalar(self.writer, value.type.dtype, self.register(value), target)
        else:
            self._memcpy(target, self.address(value), self.bytes_of(value))

    def copy_into(self, home: Any, value: Value) -> None:
        """A value's elements to a home."""
        if home.dynamic:
            self.reserve(self.dynamic_slot(home.index), self.bytes_of(value))
        self.copy_value(self.pointer((home.kind, home.index)), value)

    def _moves(self, graph: Graph) -> None:
        """The end of a body or branch: copies, then exchanges of addresses."""
        moves, writer = self.plan.moves[id(graph)], self.writer
        for value, home in moves.copies:
            self.copy_into(home, value)
        words = []
        for home, source in moves.addresses:
            pairs = [("dynamic", home.index), ("capacity", home.index)] if home.dynamic else [(home.kind, home.index)]
            others = (
                [("dynamic", source.index), ("capacity", source.index)]
                if home.dynamic
                else [(source.kind, source.index)]
            )
            if home.dynamic:
                self.dynamic_slot(home.index), self.dynamic_slot(source.index)
            for target, other in zip(pairs, others, strict=True):
                word = writer.let(f"load i64, ptr {self._slot_address(self.slots.buffer(other))}, align 8")
                words.append((self.slots.buffer(target), word))
        for slot, word in words:
            writer.line(f"store i64 {word}, ptr {self._slot_address(slot)}, align 8")

    def fail_unless(self, condition: str, number: int, element: str = "0") -> None:
        writer = self.writer
        report, fine = writer.label("report"), writer.label("checked")
        writer.line(f"br i1 {condition}, label %{fine}, label %{report}")
        writer.open(report)
        word = str(number << 44) if element == "0" else writer.let(f"or i64 {element}, {number << 44}")
        writer.line(f"store i64 {word}, ptr %table, align 8")
        writer.line("br label %out")
        writer.open(fine)

    def set_register(self, value: Value, register: str) -> None:
        self.own.registers[value] = register

    # Extents ----------------------------------------------------------------------------------------------------------
    def define(self, values: Sequence[tuple[str, str]]) -> None:
        """Run-time symbols have these values from here on (name, register)."""
        for name, value in values:
            self.writer.line(f"store i64 {value}, ptr {self._slot_address(self.slots.dim(symbol(name)))}, align 8")
        self.extents_stored([name for name, _ in values])

    def extents_stored(self, names: Sequence[str]) -> None:
        """These symbols' slots have just got their values: the extents that name them follow. A kernel that decides extents itself (an op
        with an attribute `extents`) stores them to `slots.dim(symbol(name))`, calls this, then `reserve_results`, and fills the results."""
        if names:
            self.writer.lines.append(f"{MARKER}{len(self.markers)}")
            self.markers.append(tuple(names))
