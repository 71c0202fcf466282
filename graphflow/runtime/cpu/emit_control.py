"""Programs with control flow: bodies and branches become blocks of the one native function, scalars its registers.

The entry block (the **prologue**) holds what does not change during a call: addresses of fixed buffers, extents of the arguments, matrix
products' argument records, stack cells. A graph that several `call` nodes share is a function of its own with its own slots of the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...ir.dims import Dim, SymbolicDim, product, symbol, symbols_of
from ...ir.graph import Graph, Node, Value
from ...ir.op import Alias, Control, Effect, Library
from ...kernels.lower import lower
from ...kernels.nest import Check, Nest
from .counters import count_iteration, counting
from .emit import Writer, register_type
from .emit_rows import RowEmitter
from .emit_scalars import emit_scalars, is_cheap, is_inline, load_scalar
from .emit_values import MARKER, FunctionText
from .extents import OUT_OF_MEMORY, RESERVE, fill_marker
from .interrupts import INTERRUPT_DECLARATIONS, INTERRUPTED, POLL, copies, poll

__all__ = ["ControlEmitter"]


class ControlEmitter(RowEmitter):
    """Writes the module of a graph with control flow (see passes/plan_control)."""

    def __init__(self, graph: Graph, plan: Any, profile: bool) -> None:
        super().__init__(graph, plan, profile)
        self.lowered: dict[Node, Nest] = {}
        self.shared: dict[Graph, tuple[int, list[str]]] = {}
        self.has_loop = False

    # Functions --------------------------------------------------------------------------------------------------------
    def program(self) -> str:
        """`program`, and the functions that `call` nodes share."""
        writer = self.writer
        writer.open("start")
        restored = self._snapshot_variables()
        snapshots = self._snapshots()
        self._steps(self.graph)
        self._outputs(snapshots)
        writer.line("br label %out")
        writer.open("out")
        self._leave(restored)
        writer.line("ret void")
        texts = [
            *(text for _, text in self.shared.values()),
            self._function_lines("void @program(ptr noalias %table)", self.own),
        ]
        lines: list[str] = []
        for text in texts:
            for line in text:
                if line.startswith(MARKER):
                    number = int(line.removeprefix(MARKER))
                    lines += fill_marker(number, self.markers[number], self.slots, self.declarations)
                else:
                    lines.append(line)
        if any(key[0] == "dynamic" for key in self.slots.buffers):
            lines.append(RESERVE)
            self.declarations |= {
                "declare ptr @malloc(i64)",
                "declare ptr @realloc(ptr, i64)",
                "declare void @free(ptr)",
            }
        if self.has_loop:
            lines.append(POLL)
            self.declarations |= INTERRUPT_DECLARATIONS
        return "\n".join(lines) + "\n"

    def _function_lines(self, head: str, own: FunctionText) -> list[str]:
        self.declarations |= own.writer.declarations | own.prologue.declarations
        return [
            f"define internal {head} #0 {{",
            "entry:",
            *own.prologue.lines,
            "  br label %start",
            *own.writer.lines,
            "}",
            "",
        ]

    def _outputs(self, snapshots: dict[Value, Any]) -> None:
        """Write results to their arrays and new values to variables; hand over memory of run-time size."""
        writer, plan = self.writer, self.plan
        copied = dict(plan.output_copies)
        for position, value in enumerate(self.graph.outputs):
            home = plan.dynamic_outputs.get(position)
            if home is not None:
                if position in copied:
                    self.copy_into(home, value)
            elif position in copied:
                self.copy_value(self.pointer(("output", position)), value)
        for variable, value in plan.commits:
            source = snapshots.get(value)
            target = self.pointer(self.key(variable))
            if source is not None:
                self._memcpy(target, self.pointer(source), self.bytes_of(value))
            else:
                self.copy_value(target, value)
        if plan.dynamic_outputs:
            report = self.pointer(("report", 0))
            words = []
            for home in plan.dynamic_outputs.values():
                slot = self._slot_address(self.dynamic_slot(home.index))
                words.append(writer.let(f"load i64, ptr {slot}, align 8"))
                writer.line(f"store i64 0, ptr {slot}, align 8")
            words += [self.dim(symbol(name)) for name in self.reported_symbols]
            for k, word in enumerate(words):
                place = writer.let(f"getelementptr i64, ptr {report}, i64 {k}")
                writer.line(f"store i64 {word}, ptr {place}, align 8")

    @property
    def reported_symbols(self) -> list[str]:
        """The run-time symbols of the outputs' shapes."""
        names: dict[str, None] = {}
        for position in self.plan.dynamic_outputs:
            for dim in self.graph.outputs[position].type.shape:
                names.update(dict.fromkeys(sorted(symbols_of(dim) - self.known)))
        return list(names)

    def _snapshot_variables(self) -> list[tuple[Any, Any, Dim]]:
        """In a program that writes variables at once, their values at entry, for a failed call to bring back."""
        found: list[tuple[Any, Any, Dim]] = []
        if not self.plan.immediate:
            return found
        written: dict[Value, None] = {}
        self._written(self.graph, {}, written)
        for variable in written:
            key, size = ("snapshot", len(self.scratch)), product(variable.type.shape) * variable.type.dtype.itemsize
            self.scratch.append((key, size))
            self._memcpy(self.pointer(key), self.pointer(self.key(variable)), self.dim(size))
            found.append((self.key(variable), key, size))
        return found

    def _written(self, graph: Graph, outer: Mapping[Value, Value], found: dict[Value, None]) -> None:
        """The program's variables that a graph writes. outer: what the inputs of a shared function are in the program."""
        for node in graph.nodes:
            if isinstance(node.op.kernel, Effect) and node.op.kernel.kind == "write":
                variable = self.plan.root(node.inputs[0])
                found[outer.get(variable, variable)] = None
            elif isinstance(node.op.kernel, Control):
                operands = [outer.get(r, r) for r in map(self.plan.root, node.inputs)]
                for inner in node.subgraphs():
                    is_call = node.op.kernel.kind == "call"
                    self._written(inner, dict(zip(inner.inputs, operands, strict=True)) if is_call else outer, found)

    def _leave(self, restored: Sequence[tuple[Any, Any, Dim]]) -> None:
        """On every way out: bring variables back if the call failed, free the memory of run-time size."""
        writer = self.writer
        if restored:
            status = writer.let("load i64, ptr %table, align 8")
            fine = writer.let(f"icmp eq i64 {status}, -1")
            failed, after = writer.label("failed"), writer.label("left")
            writer.line(f"br i1 {fine}, label %{after}, label %{failed}")
            writer.open(failed)
            for variable, snapshot, size in restored:
                self._memcpy(self.pointer(variable), self.pointer(snapshot), self.dim(size))
            writer.line(f"br label %{after}")
            writer.open(after)
        for key, slot in self.slots.buffers.items():
            if key[0] == "dynamic":
                held = writer.let(f"load ptr, ptr {self._slot_address(slot)}, align 8")
                writer.line(f"call void @free(ptr {held})")

    def arguments(self) -> list[Any]:
        """Results of run-time size have no arrays yet: their addresses and extents go to a report, the last argument."""
        keys = [key for key in super().arguments() if key[0] != "output" or key[1] not in self.plan.dynamic_outputs]
        return [*keys, ("report", 0)] if self.plan.dynamic_outputs else keys

    def facts(self) -> dict[str, Any]:
        return {
            "dynamic_outputs": tuple(self.plan.dynamic_outputs),
            "reported": tuple(self.reported_symbols),
            "has_loop": self.has_loop,
            "grown": tuple(self.grown),
        }

    def _before_return(self, writer: Writer) -> None:
        if not self.has_loop and not any(key[0] == "dynamic" for key in self.slots.buffers):
            return
        status = writer.let("load i64, ptr %table, align 8")
        short, stopped, fine = writer.label("no_memory"), writer.label("stopped"), writer.label("fine")
        writer.line(
            f"switch i64 {status}, label %{fine} [i64 {OUT_OF_MEMORY}, label %{short} i64 {INTERRUPTED}, label %{stopped}]"
        )
        writer.open(short)
        nothing = writer.let("call ptr @PyErr_NoMemory()")
        writer.line(f"ret ptr {nothing}")
        writer.open(stopped)
        writer.line("ret ptr null")  # the handler's exception is set
        writer.open(fine)

    # Steps ------------------------------------------------------------------------------------------------------------
    def _steps(self, graph: Graph) -> None:
        """Every node of a graph, in order."""
        for node in graph.nodes:
            self._step(node)

    def _step(self, node: Node) -> None:
        kernel = node.op.kernel
        if isinstance(kernel, Control):
            with counting(self, node):
                {"while": self._while, "switch": self._switch, "call": self._call}[kernel.kind](node)
            return
        if isinstance(kernel, Alias) or isinstance(kernel, Effect) and kernel.kind in ("copy", "constant"):
            return
        if isinstance(kernel, Effect) and kernel.kind in ("read", "write"):
            if self.plan.immediate:
                self._access(node, kernel.kind)
            return
        if isinstance(kernel, Library) and kernel.name == "nest" and is_inline(node):
            self._scalars(node)
            return
        if isinstance(kernel, Library) and kernel.name in ("update_row", "scatter_add_into", "append_row"):
            with counting(self, node):
                self._row(node)
            return
        if isinstance(kernel, Library) and kernel.name == "runtime_range":
            with counting(self, node):
                self._runtime_range(node)
            return
        if isinstance(kernel, Effect) and kernel.kind == "assert" and node.inputs[0].type.in_register:
            number = len(self.checks)
            self.checks.append(self._assert_check(node))
            self.fail_unless(self.register(node.inputs[0]), number)
            return
        with counting(self, node):
            self.making = node.outputs
            if not isinstance(kernel, Effect) and not node.attributes.get("extents"):
                self.reserve_results(node)
            self.emit_kernel(node, self.plan.steps[node])
            self.making = ()
        if node.op.fallible or self._can_fail:
            self._leave_if_failed()
        for value in node.outputs:
            if value.type.in_register and value in self.own.cells:
                self.own.registers[value] = load_scalar(self.writer, value.type.dtype, self.own.cells[value][1])

    def _nest_of(self, node: Node) -> Nest:
        if node not in self.lowered:
            self.lowered[node] = lower(node.attributes["body"], f"scalars{len(self.lowered)}")
        return self.lowered[node]

    def _scalars(self, node: Node) -> None:
        nest = self._nest_of(node)
        base = len(self.checks)
        self.checks += nest.checks
        self.own.registers.update(zip(node.outputs, emit_scalars(self, node, nest, base), strict=True))

    def _access(self, node: Node, kind: str) -> None:
        """A variable's value copied, or given, at once."""
        if kind == "read":
            value, variable = node.output, self.pointer(self.key(node.inputs[0]))
            if value.type.in_register:
                self.own.registers[value] = load_scalar(self.writer, value.type.dtype, variable)
            else:
                self._memcpy(self.address(value), variable, self.bytes_of(value))
        else:
            self.copy_value(self.pointer(self.key(node.inputs[0])), node.inputs[1])

    def _argument_record(self, fields: int) -> str:
        return self.own.prologue.let(f"alloca [{fields} x i64], align 64", "record")

    def _field(self, arguments: str, position: int, value: str) -> None:
        """What is known at entry is written there, once."""
        name = value.split()[1]
        if name.lstrip("-").isdigit() or name.startswith("%entry_"):
            address = self.own.prologue.let(f"getelementptr i64, ptr {arguments}, i64 {position}")
            self.own.prologue.line(f"store {value}, ptr {address}, align 8")
        else:
            super()._field(arguments, position, value)

    def _callback(self, node: Node) -> None:
        extents = tuple(node.attributes.get("extents", ()))
        if not extents:
            self.reserve_results(node)
            for name in [n for v in (*node.inputs, *node.outputs) for d in v.type.shape for n in symbols_of(d)]:
                self.slots.dim(symbol(name))
            super()._callback(node)
            return
        for name in [n for v in (*node.inputs, *node.outputs) for d in v.type.shape for n in symbols_of(d)]:
            self.slots.dim(symbol(name))
        number = len(self.callbacks)
        super()._callback(node)  # runs the function, which stores the extents
        self._leave_if_failed()
        self.extents_stored(extents)
        self.reserve_results(node)
        pointer = self.pointer(("callback", 0))
        self.writer.let(f"call i64 {pointer}(i64 {number | 1 << 40}, ptr %table)")  # copies the results

    def _runtime_range(self, node: Node) -> None:
        """A number becomes an extent, and the numbers below it its result."""
        count, writer = self.register(node.inputs[0]), self.writer
        number = len(self.checks)
        self.checks.append(Check("negative_extent", node.op.name, node.source))
        self.fail_unless(writer.let(f"icmp sge i64 {count}, 0"), number)
        self.define([(node.attributes["extents"][0], count)])
        self.reserve_results(node)
        target = self.address(node.output)
        with self._repeat(count, "number") as index:
            place = writer.let(f"getelementptr i64, ptr {target}, i64 {index}")
            writer.line(f"store i64 {index}, ptr {place}, align 8")
        self.kernels += 1

    # Control flow -----------------------------------------------------------------------------------------------------
    def _while(self, node: Node) -> None:
        self.has_loop = True
        writer, plan, registers = self.writer, self.plan, self.own.registers
        condition, body, count = node.attributes["condition"], node.attributes["body"], node.attributes["carried"]
        for k, home in plan.starts[node]:
            self.copy_into(home, node.inputs[k])
        scalars = [
            k for k in range(count) if body.inputs[k].type.in_register and plan.root(body.inputs[k]) is body.inputs[k]
        ]
        cells = {k: self._carry(body.inputs[k].type, self.register(node.inputs[k])) for k in scalars}
        symbols = _own_symbols(node)
        held = {name: self._variable("i64", self.dim(node.inputs[k].type.shape[axis])) for name, k, axis, _ in symbols}

        def present(value: Value, k: int) -> str:
            return writer.let(f"load {register_type(value.type.dtype)}, ptr {cells[k]}, align 8")

        first, done = writer.label("while"), writer.label("done")
        writer.line(f"br label %{first}")
        turns = [first, *(writer.label("while") for _ in range(copies(node) - 1))]
        for turn, following_turn in zip(turns, [*turns[1:], first], strict=True):
            writer.open(turn)
            for k in scalars:
                registers[body.inputs[k]] = present(body.inputs[k], k)
            self.define([(name, writer.let(f"load i64, ptr {place}, align 8")) for name, place in held.items()])
            self._steps(condition)
            inside = writer.label("body")
            writer.line(f"br i1 {self.register(condition.outputs[0])}, label %{inside}, label %{done}")
            writer.open(inside)
            count_iteration(self)
            if turn is first:
                poll(self, node)
            self._steps(body)
            following = [self.register(body.outputs[k]) for k in scalars]
            extents = {name: self.dim(body.outputs[k].type.shape[axis]) for name, k, axis, _ in symbols}
            self._moves(body)
            for k, value in zip(scalars, following, strict=True):
                writer.line(f"store {register_type(body.inputs[k].type.dtype)} {value}, ptr {cells[k]}, align 8")
            for name, value in extents.items():
                writer.line(f"store i64 {value}, ptr {held[name]}, align 8")
            writer.line(f"br label %{following_turn}")
        writer.open(done)
        for k in scalars:
            registers[node.outputs[k]] = present(node.outputs[k], k)
        self.define([(outer, writer.let(f"load i64, ptr {held[name]}, align 8")) for name, _, _, outer in symbols])

    def _carry(self, type_: Any, register: str) -> str:
        return self._variable(register_type(type_.dtype), register)

    def _variable(self, kind: str, start: str) -> str:
        """A stack slot, which LLVM makes a register."""
        place = self.own.prologue.let(f"alloca {kind}, align 8", "carried")
        self.writer.line(f"store {kind} {start}, ptr {place}, align 8")
        return place

    def _switch(self, node: Node) -> None:
        branches, plan, writer = node.attributes["branches"], self.plan, self.writer
        scalars = [k for k, v in enumerate(node.outputs) if v.type.in_register and v not in plan.roots]
        index = self.register(node.inputs[0])
        is_bool = node.inputs[0].type.dtype.is_bool
        if self._selects(node):
            for branch in branches:
                self._steps(branch)
            for k in scalars:
                kind = register_type(node.outputs[k].type.dtype)
                no, yes = (self.register(branch.outputs[k]) for branch in branches)
                self.own.registers[node.outputs[k]] = writer.let(f"select i1 {index}, {kind} {yes}, {kind} {no}")
            return
        kinds = {k: register_type(node.outputs[k].type.dtype) for k in scalars}
        places = {k: self.own.prologue.let(f"alloca {kinds[k]}, align 8", "chosen") for k in scalars}
        extents = _switch_extents(node)
        sizes = {name: self.own.prologue.let("alloca i64, align 8", "extent") for name, _, _ in extents}
        labels, join = [writer.label("branch") for _ in branches], writer.label("join")
        if len(branches) == 1:
            writer.line(f"br label %{labels[0]}")
        elif is_bool:
            writer.line(f"br i1 {index}, label %{labels[1]}, label %{labels[-1] if len(labels) == 1 else labels[0]}")
        else:
            cases = " ".join(f"i32 {k}, label %{label}" for k, label in enumerate(labels[:-1]))
            writer.line(f"switch i32 {index}, label %{labels[-1]} [{cases}]")
        for label, branch in zip(labels, branches, strict=True):
            writer.open(label)
            self._steps(branch)
            values = {k: self.register(branch.outputs[k]) for k in scalars}
            found = {name: self.dim(branch.outputs[k].type.shape[axis]) for name, k, axis in extents}
            self._moves(branch)
            for k in scalars:
                writer.line(f"store {kinds[k]} {values[k]}, ptr {places[k]}, align 8")
            for name, value in found.items():
                writer.line(f"store i64 {value}, ptr {sizes[name]}, align 8")
            writer.line(f"br label %{join}")
        writer.open(join)
        for k in scalars:
            self.own.registers[node.outputs[k]] = writer.let(f"load {kinds[k]}, ptr {places[k]}, align 8")
        self.define([(name, writer.let(f"load i64, ptr {place}, align 8")) for name, place in sizes.items()])

    def _selects(self, node: Node) -> bool:
        """Two short branches of scalars that cannot fail: both are computed, and one is chosen."""
        if len(node.attributes["branches"]) != 2 or not node.inputs[0].type.dtype.is_bool:
            return False
        if any(v.type.elements != 1 for v in node.outputs) or _switch_extents(node):
            return False
        for branch in node.attributes["branches"]:
            for inner in branch.nodes:
                kernel = inner.op.kernel
                if isinstance(kernel, Alias) or isinstance(kernel, Effect) and kernel.kind == "constant":
                    continue
                if not (isinstance(kernel, Library) and kernel.name == "nest" and is_inline(inner)):
                    return False
                if not is_cheap(inner, self._nest_of(inner)):
                    return False
        return True

    def _call(self, node: Node) -> None:
        """Give the arguments to the function's slots and registers, call it, copy its results from where it left them."""
        function, plan, writer = node.attributes["function"], self.plan, self.writer
        if function not in self.shared:
            self._emit_function(function)
        arguments, operands = ["ptr %table"], dict(zip(function.inputs, node.inputs, strict=True))
        for inner, operand in operands.items():
            if inner.type.in_register and not inner.is_variable:
                arguments.append(f"{register_type(inner.type.dtype)} {self.register(operand)}")
            else:
                slot = self.slots.buffer(("parameter", plan.places[inner].index))
                pointer = self.address(operand)
                writer.line(f"store ptr {pointer}, ptr {self._slot_address(slot)}, align 8")
        results = {}
        for k, value in enumerate(function.outputs):
            if value.type.in_register:
                results[k] = self.own.prologue.let(f"alloca {register_type(value.type.dtype)}, align 8", "result")
                arguments.append(f"ptr {results[k]}")
        writer.line(f"call void @function{self.shared[function][0]}({', '.join(arguments)})")
        self._leave_if_failed()
        made: dict[str, str] = {}  # run-time symbols of the function -> their names here, in the order of the type rule
        for value in function.outputs:
            for dim in value.type.shape:
                for name in sorted(symbols_of(dim) & set(function.extents)):
                    made.setdefault(name, node.attributes["extents"][len(made)] if name not in made else "")
        self.define([(outside, self.dim(symbol(name))) for name, outside in made.items()])
        self.reserve_results(node)
        for k, (value, inner) in enumerate(zip(node.outputs, function.outputs, strict=True)):
            if k in results:
                kind = register_type(value.type.dtype)
                self.own.registers[value] = writer.let(f"load {kind}, ptr {results[k]}, align 8")
            else:
                place = plan.place(inner)
                if place.kind == "parameter":
                    source = self.address(operands[plan.root(inner)])
                else:
                    source = self.pointer((place.kind, place.index))
                self._memcpy(self.address(value), source, self.bytes_of(value))

    def _emit_function(self, function: Graph) -> None:
        number = self.plan.functions[function]
        self.shared[function] = (number, [])
        outside = self.own
        self.own = own = FunctionText()
        self.writer = own.writer
        own.writer.open("start")
        parameters = ["ptr noalias %table"]
        for k, value in enumerate(function.inputs):
            if value.type.in_register and not value.is_variable:
                parameters.append(f"{register_type(value.type.dtype)} %argument{k}")
                own.registers[value] = f"%argument{k}"
        self._steps(function)
        for k, value in enumerate(function.outputs):
            if value.type.in_register:
                parameters.append(f"ptr %result{k}")
                own.writer.line(
                    f"store {register_type(value.type.dtype)} {self.register(value)}, ptr %result{k}, align 8"
                )
        own.writer.line("br label %out")
        own.writer.open("out")
        own.writer.line("ret void")
        head = f"void @function{number}({', '.join(parameters)})"
        self.own, self.writer = outside, outside.writer
        self.shared[function] = (number, self._function_lines(head, own))


def _own_symbols(node: Node) -> list[tuple[str, int, int, str]]:
    """The symbols of a loop's body: name, the carried value and axis that give it, and its name outside (in the order of the type rule)."""
    count, body = node.attributes["carried"], node.attributes["body"]
    outer = {name for v in node.inputs for d in v.type.shape for name in symbols_of(d)}
    names = iter(node.attributes["extents"])
    found: dict[str, str] = {}
    places: dict[str, tuple[int, int]] = {}
    for k in range(count):
        for axis, dim in enumerate(body.inputs[k].type.shape):
            for name in sorted(symbols_of(dim) - outer):
                if name not in found:
                    found[name] = next(names)
                if isinstance(dim, SymbolicDim) and dim.text == name:
                    places.setdefault(name, (k, axis))
    return [(name, *places[name], outside) for name, outside in found.items()]


def _switch_extents(node: Node) -> list[tuple[str, int, int]]:
    """The run-time symbols that a switch defines: name, result and axis."""
    names = set(node.attributes["extents"])
    return [
        (dim.text, k, axis)
        for k, value in enumerate(node.outputs)
        for axis, dim in enumerate(value.type.shape)
        if isinstance(dim, SymbolicDim) and dim.text in names
    ]
