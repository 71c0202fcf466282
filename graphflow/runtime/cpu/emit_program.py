"""Emitting a program: one LLVM module with a function for each kernel, `program(table)` that runs them in order, and `entry`.

`entry` is a CPython built-in (METH_FASTCALL) which takes the input and output arrays, fills the table from a per-binding template,
takes an arena, runs the program with or without the GIL and returns the status. So a call costs one C call, whatever the number of
kernels and arguments.
"""

from __future__ import annotations

from typing import Any

from ...ir.dims import Dim, product
from ...ir.graph import Node, Value
from ...ir.op import Alias, Contract, Effect, Library
from ...kernels.lower import lower
from ...kernels.nest import Check, Nest
from .counters import counting
from .emit import Writer
from .library import LIBRARY
from .nests import chunk_of, emit_nest, is_single, units, vector_axis
from .steps import StepEmitter

__all__ = ["PARALLEL_WORK", "ProgramEmitter", "element_work"]

PARALLEL_WORK = 60_000
"""Work (vector instructions, roughly) below which a kernel stays on the calling thread: about 6 us. On two threads an Adam step of 11
variables, 467,000 weights in all, takes 146 us with this bound, 202 with 150,000."""
STEPS_OF_A_PART = 64
"""Kernels of one function. The training step of a network of 600 layers (1,800 kernels) takes LLVM 31 s as one function, 7 s in parts."""
OBJECT_DATA = object.__basicsize__
"""Offset of ndarray's data pointer: the first field after the object header."""


def element_work(nest: Nest) -> int:
    """Work of one element: instructions, and memory traffic counted as four each."""
    return nest.cost() + 4 * (len(nest.inputs) + len(nest.outputs))


class ProgramEmitter(StepEmitter):
    """Writes the module of one planned graph."""

    def program(self) -> str:
        """The body of `program`: every node's step in order, then copies to outputs and variables."""
        self.writer.open("entry")
        snapshots = self._snapshots()
        parts = 0
        for number, node in enumerate(self.graph.nodes):
            if self.kernels >= STEPS_OF_A_PART * (parts + 1):
                self._end_part(parts)
                parts += 1
            kernel = node.op.kernel
            if (
                isinstance(kernel, Alias)
                or isinstance(kernel, Effect)
                and kernel.kind in ("read", "write", "copy", "constant")
            ):
                continue
            with counting(self, node):
                self.emit_kernel(node, number)
            if node.op.fallible or self._can_fail:
                self._leave_if_failed()
        for position, value in self.plan.output_copies:
            self._copy(("output", position), self.key(value), value)
        for variable, value in self.plan.commits:
            self._copy(self.key(variable), snapshots.get(value) or self.key(value), value)
        return self._function("program")

    _can_fail = False

    def _end_part(self, number: int) -> None:
        """The steps so far become a function of their own, called by what follows: LLVM takes quadratic time for a long block."""
        self.functions.append(self._function(f"program_part{number}"))
        self.writer, self._arguments = Writer(), ""
        self.writer.open("entry")
        self.writer.line(f"call void @program_part{number}(ptr %table)")
        self._leave_if_failed()

    def _function(self, name: str) -> str:
        """What was written since the last function."""
        writer = self.writer
        writer.line("br label %out")
        writer.open("out")
        writer.line("ret void")
        body = "\n".join(writer.lines)
        self.declarations |= writer.declarations
        return f"define internal void @{name}(ptr noalias %table) #0 {{\n{body}\n}}\n"

    def emit_kernel(self, node: Node, number: int) -> None:
        """The step of a kernel or an effect; number: its step in the plan."""
        kernel = node.op.kernel
        if isinstance(kernel, Contract):
            self._matmul(node)
        elif isinstance(kernel, Library) and kernel.name == "nest":
            self._nest(node, number)
        elif isinstance(kernel, Library) and kernel.name == "scatter_add":
            self._scatter_add(node)
        elif isinstance(kernel, Library) and kernel.name == "concat":
            self._concat(node)
        elif isinstance(kernel, Library) and kernel.name in LIBRARY:
            LIBRARY[kernel.name](self, node, number)
        elif isinstance(kernel, Effect) and kernel.kind == "assert":
            self._assert(node)
        elif isinstance(kernel, Effect):
            self._callback(node)
        else:
            raise TypeError(f"the CPU has no kernel for {node.op.name} ({type(kernel).__name__})")

    def _leave_if_failed(self) -> None:
        """End the program if a check has failed."""
        writer = self.writer
        status = writer.let("load i64, ptr %table, align 8")
        fine = writer.let(f"icmp eq i64 {status}, -1")
        following = writer.label("step")
        writer.line(f"br i1 {fine}, label %{following}, label %out")
        writer.open(following)
        self._can_fail = False

    def _snapshots(self) -> dict[Value, Any]:
        """Old values of variables that are committed to other variables, and get new ones at the end too, are copied first (a
        swap). A value that a kernel wrote into a variable's place is a new one."""
        found: dict[Value, Any] = {}
        changed = {variable for variable, _ in self.plan.commits}
        for _, value in self.plan.commits:
            if self.plan.root(value) in changed and value not in found:
                key = ("snapshot", len(found))
                self.scratch.append((key, product(value.type.shape) * value.type.dtype.itemsize))
                self._copy(key, self.key(value), value)
                found[value] = key
        return found

    def _copy(self, target: Any, source: Any, value: Value) -> None:
        size = self.dim(product(value.type.shape) * value.type.dtype.itemsize)
        self.writer.intrinsic("llvm.memcpy", "void", [("ptr", self.pointer(target)), ("ptr", self.pointer(source)), ("i64", size),
                              ("i1", "false")], "p0.p0.i64")  # fmt: skip

    # Kernels ----------------------------------------------------------------------------------------------------------
    def _nest(self, node: Node, number: int) -> None:
        name = f"kernel{len(self.nests)}"
        body = node.attributes["body"]
        nest = lower(body, name)
        self.nests.append(nest)
        buffers = [self.slot(v) for v in (*node.inputs, *node.outputs)]
        count = units(nest)
        for k, buffer in enumerate(nest.scratch):
            size = buffer.shape[0] * buffer.dtype.itemsize * (1 if count == 1 else _workers())
            buffers.append(self.scratch_slot(("scratch", number, k), size))
        if is_single(nest):
            size = count * 16 * len(nest.stages[0].reductions) + 64
            buffers.append(self.scratch_slot(("partials", number), size))
        text, declarations = emit_nest(nest, name, buffers, self.slots, self.vector_bytes, len(self.checks))
        self.checks += nest.checks
        self._can_fail = self._can_fail or bool(nest.checks)
        self.functions.append(text)
        self.declarations |= declarations
        self._run(name, nest, count)
        if is_single(nest):
            self.writer.line(f"call void @{name}_finish(ptr %table, i64 0, i64 0, i64 0)")
        self.kernels += 1

    def scratch_slot(self, key: tuple[Any, ...], size: Dim) -> int:
        """The slot of memory that a kernel needs for itself."""
        self.scratch.append((key, size))
        return self.slots.buffer(key)

    def _run(self, name: str, nest: Nest, count: Dim) -> None:
        """Call a kernel over all its units, on the pool where the work is worth it."""
        writer = self.writer
        elements = product(axis.extent for axis in nest.axes)
        each = element_work(nest)
        per_unit = _unit_elements(nest)
        total = self.dim(count)
        serial = f"call void @{name}(ptr %table, i64 0, i64 {total}, i64 0)"
        if isinstance(elements, int) and elements * each < PARALLEL_WORK * 16:
            writer.line(serial)
            return
        self.imports["graphflow_parallel_for"] = 0
        self.declarations.add("declare void @graphflow_parallel_for(ptr, ptr, i64, i64)")
        step = self.dim(per_unit)
        work = writer.let(f"mul i64 {step}, {each}")
        safe = writer.intrinsic("llvm.smax", "i64", [("i64", work), ("i64", "1")], "i64")
        wanted = writer.let(f"sdiv i64 {PARALLEL_WORK * 4}, {safe}")
        grain = writer.intrinsic("llvm.smax", "i64", [("i64", wanted), ("i64", "1")], "i64")
        parallel = f"call void @graphflow_parallel_for(ptr @{name}, ptr %table, i64 {total}, i64 {grain})"
        if isinstance(elements, int):
            writer.line(parallel)
            return
        size = writer.let(f"mul i64 {self.dim(elements)}, {each}")
        big = writer.let(f"icmp sgt i64 {size}, {PARALLEL_WORK * 16}")
        many, few, after = writer.label("parallel"), writer.label("serial"), writer.label("ran")
        writer.line(f"br i1 {big}, label %{many}, label %{few}")
        writer.open(many)
        writer.line(parallel)
        writer.line(f"br label %{after}")
        writer.open(few)
        writer.line(serial)
        writer.line(f"br label %{after}")
        writer.open(after)

    def _callback(self, node: Node) -> None:
        """Call Python (print, Python functions): the callback finds its operands through the table."""
        number = len(self.callbacks)
        self.callbacks[number] = node
        for value in (*node.inputs, *node.outputs):
            self.slot(value)
        pointer = self.pointer(("callback", 0))
        result = self.writer.let(f"call i64 {pointer}(i64 {number}, ptr %table)")
        failed = self.writer.let(f"icmp ne i64 {result}, 0")
        code = self.writer.let(f"select i1 {failed}, i64 {(len(self.checks) << 44)}, i64 -1")
        self.checks.append(Check("callback", node.op.name, node.source))
        self.writer.let(f"atomicrmw umin ptr %table, i64 {code} monotonic")
        self._can_fail = True

    # Entry ------------------------------------------------------------------------------------------------------------
    def arguments(self) -> list[Any]:
        """The buffers whose addresses the arguments of a call give, in order."""
        tensors = [k for k, v in enumerate(self.graph.inputs) if not v.is_variable]
        return [("input", k) for k in tensors] + [("output", k) for k in range(len(self.graph.outputs))]

    def facts(self) -> dict[str, Any]:
        """What a Program has to know beside."""
        return {}

    def _before_return(self, writer: Writer) -> None:
        """What `entry` does last, with the GIL."""

    def entry(self, size: int) -> str:
        """The built-in that Python calls."""
        writer = Writer()
        writer.open("entry")
        data = writer.let(f"getelementptr i8, ptr %self, i64 {OBJECT_DATA}")
        template = writer.let(f"load ptr, ptr {data}, align 8")
        writer.line(f"%table = alloca [{size} x i64], align 64")
        writer.intrinsic("llvm.memcpy", "void", [("ptr", "%table"), ("ptr", template), ("i64", str(size * 8)), ("i1", "false")],
                         "p0.p0.i64")  # fmt: skip
        for position, key in enumerate(self.arguments()):
            if key not in self.slots.buffers:
                continue
            place = writer.let(f"getelementptr ptr, ptr %args, i64 {position}")
            array = writer.let(f"load ptr, ptr {place}, align 8")
            field_ = writer.let(f"getelementptr i8, ptr {array}, i64 {OBJECT_DATA}")
            pointer = writer.let(f"load ptr, ptr {field_}, align 8")
            slot = writer.let(f"getelementptr i64, ptr %table, i64 {self.slots.buffers[key]}")
            writer.line(f"store ptr {pointer}, ptr {slot}, align 8")
        in_arena = [
            slot
            for key, slot in self.slots.buffers.items()
            if key[0] in ("temporary", "scratch", "partials", "snapshot")
        ]
        held = writer.let(f"getelementptr i64, ptr {template}, i64 {size}")
        if in_arena:
            cached = writer.let(f"atomicrmw xchg ptr {held}, i64 0 acquire")
            none = writer.let(f"icmp eq i64 {cached}, 0")
            make, ready = writer.label("make"), writer.label("ready")
            before = writer.block
            writer.line(f"br i1 {none}, label %{make}, label %{ready}")
            writer.open(make)
            bytes_ = writer.let(f"getelementptr i64, ptr {template}, i64 {size + 1}")
            wanted = writer.let(f"load i64, ptr {bytes_}, align 8")
            fresh = writer.let(f"call ptr @aligned_alloc(i64 64, i64 {wanted})")
            number = writer.let(f"ptrtoint ptr {fresh} to i64")
            failed = writer.let(f"icmp eq i64 {number}, 0")
            out_of_memory = writer.label("out_of_memory")
            writer.line(f"br i1 {failed}, label %{out_of_memory}, label %{ready}")
            writer.open(out_of_memory)
            nothing = writer.let("call ptr @PyErr_NoMemory()")
            writer.line(f"ret ptr {nothing}")
            writer.open(ready)
            arena = writer.let(f"phi i64 [{cached}, %{before}], [{number}, %{make}]")
            for slot_number in in_arena:
                slot = writer.let(f"getelementptr i64, ptr %table, i64 {slot_number}")
                offset = writer.let(f"load i64, ptr {slot}, align 8")
                address = writer.let(f"add i64 {offset}, {arena}")
                writer.line(f"store i64 {address}, ptr {slot}, align 8")
        release = writer.let(f"getelementptr i64, ptr {template}, i64 {size + 2}")
        flag = writer.let(f"load i64, ptr {release}, align 8")
        long = writer.let(f"icmp ne i64 {flag}, 0")
        without, within, after = writer.label("without_gil"), writer.label("with_gil"), writer.label("after")
        writer.line(f"br i1 {long}, label %{without}, label %{within}")
        writer.open(without)
        state = writer.let("call ptr @PyEval_SaveThread()")
        writer.line("call void @program(ptr %table)")
        writer.line(f"call void @PyEval_RestoreThread(ptr {state})")
        writer.line(f"br label %{after}")
        writer.open(within)
        writer.line("call void @program(ptr %table)")
        writer.line(f"br label %{after}")
        writer.open(after)
        if in_arena:
            other = writer.let(f"atomicrmw xchg ptr {held}, i64 {arena} release")
            unwanted = writer.let(f"icmp ne i64 {other}, 0")
            drop, finish = writer.label("drop"), writer.label("finish")
            writer.line(f"br i1 {unwanted}, label %{drop}, label %{finish}")
            writer.open(drop)
            pointer = writer.let(f"inttoptr i64 {other} to ptr")
            writer.line(f"call void @free(ptr {pointer})")
            writer.line(f"br label %{finish}")
            writer.open(finish)
        self._before_return(writer)
        status = writer.let("load i64, ptr %table, align 8")
        result = writer.let(f"add i64 {status}, 1")
        boxed = writer.let(f"call ptr @PyLong_FromLongLong(i64 {result})")
        writer.line(f"ret ptr {boxed}")
        self.declarations |= writer.declarations
        self.declarations |= {
            "declare ptr @PyEval_SaveThread()", "declare void @PyEval_RestoreThread(ptr)", "declare ptr @PyErr_NoMemory()",
            "declare ptr @PyLong_FromLongLong(i64)", "declare ptr @aligned_alloc(i64, i64)", "declare void @free(ptr)",
        }  # fmt: skip
        body = "\n".join(writer.lines)
        return f"define ptr @entry(ptr %self, ptr %args, i64 %count) #0 {{\n{body}\n}}\n"


def _workers() -> int:
    from . import pool

    return int(pool.WORKERS)


def _unit_elements(nest: Nest) -> Dim:
    """Elements of one unit, at most (for the grain)."""
    inner = product(axis.extent for axis in nest.axes if axis.role != "kept")
    axis = vector_axis(nest)
    if is_single(nest):
        return 8192
    if axis is None or nest.axes[axis].role == "trailing":
        return inner
    chunk = chunk_of(nest)
    extent = nest.axes[axis].extent
    return inner * (min(extent, chunk) if isinstance(extent, int) else chunk)
