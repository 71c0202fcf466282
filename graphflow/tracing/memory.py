"""What fn.memory() returns: the memory that a call is planned to need, step by step, and whose line needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import UnimplementedError
from ..ir.dims import Dim, evaluate, product, symbols_of
from ..ir.graph import Graph, Node, Value
from ..ir.op import Alias, Control, Effect, Library
from ..ir.source import Source
from ..runtime.cpu.emit_scalars import is_inline
from .calls import prepare_call
from .profile import bytes_text, place_text, what
from .signature import TensorSpec

__all__ = ["Buffer", "Item", "MemoryReport", "Step", "memory"]

ASSUMED = 1024
"""Every extent that a TensorSpec leaves open, to find the peak."""
MOST_ROWS = 40
"""Rows of the timeline in the text; the object has all."""


@dataclass(frozen=True)
class Item:
    """An argument, result, constant or variable. formula: its bytes, where they depend on extents; bytes: in this call, None where only the
    run decides."""

    name: str
    type: str
    formula: str
    bytes: int | None


@dataclass(frozen=True)
class Buffer:
    """Memory that the call takes for itself.

    kind: "temporary" (a result on its way), "carried" (a loop's value from iteration to iteration), "double" (one of
    several buffers that exchange their contents at the end of each iteration), "scratch" (a kernel's own), "snapshot" (a
    variable's old value). formula: its bytes; bytes: in this call, None where only the run decides. first, last: the
    steps between which it is used. function: the shared function that it belongs to. file, line, expression: of the
    value it is made for. held: (step, what, place) of the values that lie in it, in order.
    """

    kind: str
    type: str
    what: str
    formula: str
    bytes: int | None
    first: int
    last: int
    file: str
    line: int
    expression: str
    place: str
    offset: int | None = None
    function: str = ""
    held: tuple[tuple[int, str, str], ...] = ()

    def holds(self, step: int) -> tuple[str, str]:
        """What lies in it at a step, and the place of that."""
        found = self.what, self.place
        for begin, name, place in self.held:
            if begin <= step:
                found = name, place
        return found


@dataclass(frozen=True)
class Step:
    """One step of the program and the bytes of the arena that are in use while it runs (a call: with what the function needs). depth: how
    many loops, branches and functions it stands in. unknown: buffers in use whose size only the run decides."""

    number: int
    what: str
    place: str
    file: str
    line: int
    depth: int
    bytes: int
    unknown: int = 0
    function: str = ""


@dataclass(frozen=True)
class MemoryReport:
    """The planned memory of a call. extents: what the formulas' symbols are; where `assumed`, they are not known (the call
    was described by TensorSpecs) and ASSUMED stands for each. buffers: in the arena; unplanned: those whose size only the
    run decides, beside it. arena: bytes of the arena, gaps included. peak: the step with most of it in use; alive: the
    buffers in use there, the largest first. Beyond it there are matrix products' packing buffers (some 100 kB of each
    thread's stack)."""

    function: str
    extents: dict[str, int]
    assumed: bool
    inputs: list[Item]
    outputs: list[Item]
    constants: list[Item]
    variables: list[Item]
    buffers: list[Buffer]
    unplanned: list[Buffer]
    timeline: list[Step]
    arena: int
    peak: Step | None = None
    alive: list[Buffer] = field(default_factory=list)

    @property
    def peak_bytes(self) -> int:
        """Bytes of the arena in use at the peak."""
        return self.peak.bytes if self.peak is not None else 0

    @property
    def total_bytes(self) -> int:
        """Arena, arguments, results, constants and variables together, as far as they are known."""
        items = (*self.inputs, *self.outputs, *self.constants, *self.variables)
        return self.arena + sum(item.bytes or 0 for item in items)

    @property
    def unknown(self) -> list[str]:
        """The formulas of what only the run decides."""
        results = [item.formula for item in self.outputs if item.bytes is None]
        return results + [buffer.formula for buffer in self.unplanned]

    @property
    def peak_formula(self) -> str:
        """The bytes in use at the peak as a formula of the extents: of the same buffers, whatever the extents."""
        return " + ".join(b.formula for b in self.alive) or "0"

    def alive_at(self, step: int, function: str = "") -> list[Buffer]:
        """The buffers in use at a step, the largest first; those of a function that is called there are the function's own."""
        found = [b for b in self.buffers if b.first <= step <= b.last and b.function == function]
        return sorted(found, key=lambda b: -(b.bytes or 0))

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, ready for JSON."""
        return {**asdict(self), "peak_bytes": self.peak_bytes, "total_bytes": self.total_bytes, "unknown": self.unknown}

    def __str__(self) -> str:
        parts = [
            ("arguments", self.inputs), ("results", self.outputs), ("constants", self.constants),
            ("variables", self.variables),
        ]  # fmt: skip
        summed = [f"arena {bytes_text(self.arena)}"]
        for name, items in parts:
            if items:
                known = bytes_text(sum(item.bytes or 0 for item in items))
                unknown = [item.formula for item in items if item.bytes is None]
                summed.append(
                    f"{name} {' + '.join([known, *unknown]) if known != '0 B' or not unknown else ' + '.join(unknown)}"
                )
        lines = [f"{self.function}: {bytes_text(self.total_bytes)} in all: {', '.join(summed)}"]
        if self.extents:
            said = ", ".join(f"{name} = {value}" for name, value in self.extents.items())
            lines.append(
                f"  with {said}" + (" (assumed: the call was described by TensorSpecs)" if self.assumed else "")
            )
        for name, items in parts:
            lines += [
                f"    {name[:-1]} {item.name}: {item.type}, {_sized(item)}"
                for item in items
                if not item.formula.isdigit()
            ]
        if self.peak is not None and self.alive:
            lines.append(
                f"  most of the arena is in use at step {self.peak.number}, {self.peak.place}: {bytes_text(self.peak_bytes)}"
            )
            for buffer in self.alive:
                role = "" if buffer.kind == "temporary" else f"{buffer.kind}, "
                inside = f" (inside {buffer.function})" if buffer.function else ""
                made, place = (buffer.what, buffer.place) if inside else buffer.holds(self.peak.number)
                lines.append(f"    {_sized(buffer):>9}  {role}{f'{buffer.type} {made}'.strip()}   {place}{inside}")
        if self.unplanned:
            lines.append("  sized while it runs, beside the arena:")
            lines += [f"    {b.formula:>9}  {b.type} {b.what}   {b.place}" for b in self.unplanned]
        lines += self._timeline_text()
        return "\n".join(lines)

    def _timeline_text(self) -> list[str]:
        rows = self.timeline
        if not self.buffers or not rows:
            return []
        left = 0
        if len(rows) > MOST_ROWS:
            kept = set(sorted(range(len(rows)), key=lambda k: (-rows[k].bytes, k))[:MOST_ROWS])
            left, rows = len(rows) - MOST_ROWS, [row for k, row in enumerate(rows) if k in kept]
        most = max(self.peak_bytes, 1)
        sizes = [bytes_text(row.bytes) + (f" + {row.unknown} unknown" if row.unknown else "") for row in rows]
        width = max(map(len, sizes))
        lines = ["  step by step:"]
        for row, size in zip(rows, sizes, strict=True):
            bar = "#" * round(20 * row.bytes / most)
            made = f"{'  ' * row.depth}{row.what}   {row.place}"
            lines.append(f"    {row.number:>4}  {size:>{width}}  {bar:<20}  {made}".rstrip())
        if left:
            lines.append(f"    ({left} steps that need less are left out)")
        return lines


def _sized(item: Item | Buffer) -> str:
    if item.bytes is None:
        return item.formula
    size = bytes_text(item.bytes)
    return size if item.formula.isdigit() else f"{item.formula} = {size}"


def memory(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> MemoryReport:
    """See Inspection.memory."""
    from ..tree import flatten

    specs = any(isinstance(leaf, TensorSpec) for leaf in flatten([list(args), kwargs]))
    if specs or not args and not kwargs:
        concrete = function.get_concrete_function(*args, **kwargs)
        extents = dict.fromkeys(concrete.executable.graph.symbols, ASSUMED)
        assumed = bool(extents)
    else:
        call = prepare_call(function, args, kwargs)
        concrete, extents, assumed = call.concrete, dict(call.extents), False
    if concrete.executable.backend != "cpu":
        error = UnimplementedError(
            f"{concrete.name}: memory describes the CPU's arena, and this trace has nodes on a GPU"
        )
        error.hint = "trace it without gf.device('/GPU:0')"
        raise error
    return _Reporter(concrete, extents, assumed).report()


class _Reporter:
    """Makes the report on one trace."""

    def __init__(self, concrete: Any, extents: Mapping[str, int], assumed: bool) -> None:
        self.concrete, self.extents, self.assumed = concrete, dict(extents), assumed
        self.program = concrete.executable.program
        self.plan = self.program.plan
        self.graph: Graph = self.program.graph
        self.functions: dict[int, str] = {}  # region -> name
        self.steps: list[tuple[int, Node, int, int]] = list(self._walk(self.graph, 0, 0))
        self.carriers: dict[Value, Node] = {}  # a body's input -> its loop
        for _, node, _, _ in self.steps:
            if "carried" in node.attributes:
                self.carriers.update(dict.fromkeys(node.attributes["body"].inputs, node))

    def _step_of(self, node: Node, position: int) -> int:
        steps = getattr(self.plan, "steps", None)
        return position if steps is None else steps[node]

    def _walk(self, graph: Graph, depth: int, region: int) -> Iterator[tuple[int, Node, int, int]]:
        """(step, node, depth, region) of every node, with those of loops, branches and functions."""
        for position, node in enumerate(graph.nodes):
            yield self._step_of(node, position), node, depth, region
            if not isinstance(node.op.kernel, Control):
                continue
            for inner in node.subgraphs():
                own = region
                if node.op.kernel.kind == "call":
                    own = self.plan.functions[inner]
                    if own in self.functions:
                        continue
                    self.functions[own] = inner.name
                yield from self._walk(inner, depth + 1, own)

    def _bytes(self, dim: Dim) -> int | None:
        return evaluate(dim, self.extents) if symbols_of(dim) <= self.extents.keys() else None

    def _item(self, name: str, value: Value) -> Item:
        size = product(value.type.shape) * value.type.dtype.itemsize
        return Item(name, str(value.type), str(size), self._bytes(size))

    def report(self) -> MemoryReport:
        graph, concrete = self.graph, self.concrete
        names = dict(zip([v for v in graph.inputs if not v.is_variable], concrete.names, strict=True))
        inputs = [self._item(name, value) for value, name in names.items()]
        variables = [self._item(v.name, v) for v in graph.inputs if v.is_variable]
        outputs = [self._item(str(k), v) for k, v in enumerate(graph.outputs)]
        constants = [self._item(v.producer.source.location if v.producer else "", v) for v in self.plan.constants]
        layout = self.program.layout(self.extents)
        buffers = self._buffers(layout)
        unplanned = self._unplanned()
        timeline = self._timeline(buffers, unplanned)
        peak = max((s for s in timeline if not s.function), key=lambda s: s.bytes, default=None)
        alive: list[Buffer] = []
        if peak is not None:
            alive = self._alive(buffers, peak.number, 0)
        return MemoryReport(
            concrete.name, self.extents, self.assumed, inputs, outputs, constants, variables, buffers, unplanned, timeline,
            layout.total, peak, alive,
        )  # fmt: skip

    # Buffers ----------------------------------------------------------------------------------------------------------
    def _buffers(self, layout: Any) -> list[Buffer]:
        by_step = {step: node for step, node, _, _ in self.steps}
        held: dict[int, list[tuple[int, Value]]] = {}
        doubles: set[int] = set()
        step_of = {node: step for step, node, _, _ in self.steps}
        for value, place in self.plan.places.items():
            if place.kind == "temporary":
                maker = value.producer or self.carriers.get(value)
                held.setdefault(place.index, []).append((step_of.get(maker, 0) if maker else 0, value))
        for home in getattr(self.plan, "homes", {}).values():
            if home.kind == "temporary" and len(home.group) > 1:
                doubles.add(home.index)
        found = []
        for number, key in enumerate(layout.keys):
            first, last = layout.lifetimes[number]
            function = self.functions.get(layout.regions[number], "")
            facts = {
                "formula": str(layout.formulas[number]), "bytes": layout.bytes[number], "first": first, "last": last,
                "offset": layout.offsets[number], "function": function,
            }  # fmt: skip
            if key[0] == "temporary":
                owner = self.plan.temporaries[key[1]].owner
                values = sorted(held.get(key[1], []), key=lambda pair: pair[0])
                kind = "temporary"
                if any(v in self.carriers for _, v in values):
                    kind = "double" if key[1] in doubles else "carried"
                names = tuple((step, self._made(v), self._place_of(v)) for step, v in values)
                found.append(self._buffer(kind, owner, names, facts))
                continue
            node = by_step.get(first) if key[0] in ("scratch", "partials") else None
            if node is None:
                places = ("snapshot", "", "the value of a variable at entry", "", 0, "", "")
            else:
                places = ("scratch", "", what(node), *_where(node.source))
            kind, type_, made, file, line, expression, place = places
            found.append(
                Buffer(
                    kind=kind, type=type_, what=made, file=file, line=line, expression=expression, place=place, **facts
                )
            )
        return found

    def _buffer(
        self, kind: str, owner: Value, names: tuple[tuple[int, str, str], ...], facts: dict[str, Any]
    ) -> Buffer:
        maker = owner.producer or self.carriers.get(owner)
        file, line, expression, place = _where(maker.source) if maker is not None else ("", 0, "", "")
        return Buffer(
            kind=kind, type=str(owner.type), what=self._made(owner), file=file, line=line, expression=expression,
            place=place, held=names, **facts,
        )  # fmt: skip

    def _made(self, value: Value) -> str:
        if value.producer is not None:
            return what(value.producer)
        name = f" '{value.name}'" if value.name else ""
        return f"carried value{name}" if value in self.carriers else f"a copy of{name}"

    def _place_of(self, value: Value) -> str:
        maker = value.producer or self.carriers.get(value)
        return place_text(maker.source) if maker is not None else ""

    def _unplanned(self) -> list[Buffer]:
        found = []
        for home in getattr(self.plan, "dynamic", ()):
            kind = "carried" if home.owner in self.carriers else "temporary"
            facts = {
                "formula": str(home.bytes),
                "bytes": self._bytes(home.bytes),
                "first": home.first,
                "last": home.last,
            }
            found.append(self._buffer(kind, home.owner, (), facts))
        by_step = {step: node for step, node, _, _ in self.steps}
        for key, size in self.program.grown:
            node = by_step[key[1]]
            file, line, expression, place = _where(node.source)
            found.append(
                Buffer(
                    "scratch",
                    "",
                    what(node),
                    str(size),
                    self._bytes(size),
                    key[1],
                    key[1],
                    file,
                    line,
                    expression,
                    place,
                )
            )
        return found

    # Time -------------------------------------------------------------------------------------------------------------
    def _alive(self, buffers: list[Buffer], step: int, region: int) -> list[Buffer]:
        """The buffers in use at a step, with those of the function that is called there, at its own peak."""
        name = self.functions.get(region, "")
        found = [b for b in buffers if b.function == name and b.first <= step <= b.last]
        for number, node, _, own in self.steps:
            if (
                number == step
                and own == region
                and isinstance(node.op.kernel, Control)
                and node.op.kernel.kind == "call"
            ):
                inner = self.plan.functions[node.attributes["function"]]
                found += self._alive(buffers, self._peak_step(buffers, inner), inner)
        return sorted(found, key=lambda b: -(b.bytes or 0))

    def _peak_step(self, buffers: list[Buffer], region: int) -> int:
        steps = [number for number, _, _, own in self.steps if own == region]
        steps += [b.first for b in buffers if b.function == self.functions.get(region, "")]
        return max(steps, key=lambda s: (sum(b.bytes or 0 for b in self._alive(buffers, s, region)), -s), default=0)

    def _timeline(self, buffers: list[Buffer], unplanned: list[Buffer]) -> list[Step]:
        """Every kernel, loop, branch and call; and moves at the ends of bodies where a buffer begins."""
        rows: list[Step] = []
        sums = _sums(buffers)
        added: dict[int, int] = {}  # the peak of each function

        def in_use(step: int, name: str) -> int:
            return sums.get(name, {}).get(step, 0)

        for region in sorted(self.functions, reverse=True):  # inner functions have larger numbers
            added[region] = max(
                (
                    in_use(n, self.functions[region]) + self._called(node, added)
                    for n, node, _, own in self.steps
                    if own == region
                ),
                default=0,
            )
        seen: set[int] = set()
        last: dict[int, tuple[Node, int]] = {}
        in_registers = hasattr(self.plan, "steps")
        for number, node, depth, region in self.steps:
            kernel = node.op.kernel
            if in_registers and isinstance(kernel, Library) and kernel.name == "nest" and is_inline(node):
                continue  # scalars
            if (
                isinstance(kernel, Alias)
                or isinstance(kernel, Effect)
                and kernel.kind in ("read", "write", "copy", "constant")
            ):
                continue
            name = self.functions.get(region, "")
            seen.add(number)
            last[number] = (node, depth)
            rows.append(self._row(number, what(node), node.source, depth, name,
                                  in_use(number, name) + self._called(node, added), unplanned))  # fmt: skip
        for buffer in buffers:
            if buffer.first in seen or not any(number < buffer.first for number in last):
                continue
            seen.add(buffer.first)
            node, depth = last[max(number for number in last if number < buffer.first)]
            rows.append(self._row(buffer.first, "copies before the next step", node.source, depth, buffer.function,
                                  in_use(buffer.first, buffer.function), unplanned))  # fmt: skip
        return sorted(rows, key=lambda row: row.number)

    def _called(self, node: Node, added: Mapping[int, int]) -> int:
        kernel = node.op.kernel
        if isinstance(kernel, Control) and kernel.kind == "call":
            return added.get(self.plan.functions[node.attributes["function"]], 0)
        return 0

    def _row(
        self, number: int, made: str, source: Source, depth: int, function: str, size: int, unplanned: list[Buffer]
    ) -> Step:
        unknown = sum(b.first <= number <= b.last for b in unplanned)
        return Step(number, made, place_text(source), source.file, source.line, depth, size, unknown, function)


def _sums(buffers: list[Buffer]) -> dict[str, dict[int, int]]:
    """Function -> step -> the bytes in use, for every step between the first and the last."""
    found: dict[str, dict[int, int]] = {}
    for name in {b.function for b in buffers}:
        own = [b for b in buffers if b.function == name]
        changes: dict[int, int] = {}
        for b in own:
            changes[b.first] = changes.get(b.first, 0) + (b.bytes or 0)
            changes[b.last + 1] = changes.get(b.last + 1, 0) - (b.bytes or 0)
        running, table = 0, found.setdefault(name, {})
        for step in range(min(changes), max(changes) + 1):
            running += changes.get(step, 0)
            table[step] = running
    return found


def _where(source: Source) -> tuple[str, int, str, str]:
    return source.file, source.line, source.expression, place_text(source)
