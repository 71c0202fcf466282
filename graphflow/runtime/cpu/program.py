"""A whole graph as one native function.

`emit_program` writes one LLVM module: a function for each kernel, `program(table)` that runs them in order, and `entry`, a CPython
built-in (METH_FASTCALL) which takes the input and output arrays, fills the table from a per-binding template, takes an arena, runs the
program with or without the GIL and returns the status. So a call costs one C call, whatever the number of kernels and arguments.

Table: slot 0 status (all ones = fine), then slots for buffers and symbolic dims (see nests.Slots). Template: the table's initial
contents, followed by the arena's cached address, its size, and whether to release the GIL.
"""
from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...dtypes import DType
from ...ir.dims import Dim, evaluate, product
from ...ir.graph import Graph, Node, Value
from ...ir.op import Alias, Contract, Effect, Library
from ...ir.region import dense_strides
from ...ir.source import Source
from ...kernels.lower import lower
from ...kernels.nest import Check, Nest
from ..memory import pack
from . import llvm
from .emit import Writer, memory_type
from .nests import Slots, chunk_of, emit_nest, is_single, units, vector_axis

__all__ = ["Binding", "Program", "build_program"]

PARALLEL_WORK = 150_000
"""Work (vector instructions, roughly) below which a kernel stays on the calling thread: about 15 us."""
GIL_WORK = 400_000
"""Work above which the GIL is released around the call (releasing and taking it back costs about 0.1 us)."""
OBJECT_DATA = object.__basicsize__
"""Offset of ndarray's data pointer: the first field after the object header."""


@dataclass
class Program:
    """Compiled code of a graph and what a call needs to know. Shared by all bindings (variables, extents)."""

    graph: Graph
    library: llvm.Library
    slots: Slots
    table_size: int
    nests: list[Nest]
    checks: list[Check]
    constants: list[np.ndarray[Any, Any]]
    text: str
    plan: Any
    scratch: list[tuple[Any, Dim]]
    kernels: int
    callbacks: dict[int, Node] = field(default_factory=dict)
    profiled: list[Node] = field(default_factory=list)
    cycles: np.ndarray[Any, Any] | None = None

    def bind(self, variables: Mapping[Value, np.ndarray[Any, Any]], extents: Mapping[str, int], run_callback: Any = None) -> Binding:
        """Code, variables and extents as something callable."""
        return Binding(self, variables, extents, run_callback)


class _MethodDefinition(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p)]


_METH_FASTCALL = 0x0080
_new_function = ctypes.pythonapi.PyCFunction_NewEx
_new_function.restype = ctypes.py_object
_new_function.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.py_object]
_libc_free: Any = ctypes.CDLL(None).free if hasattr(ctypes, "CDLL") else None
_libc_free.argtypes = [ctypes.c_void_p]
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


class _Held:
    """What a native built-in uses and does not own: kept alive by the built-in itself (as its `__module__`), so that it may outlive
    its binding. Frees the arena at the end."""

    def __init__(self, definition: _MethodDefinition, template: np.ndarray[Any, Any], others: list[Any]) -> None:
        self.definition, self.template, self.others = definition, template, others

    def __del__(self) -> None:
        arena, self.template[-3] = int(self.template[-3]), 0
        if arena and _libc_free is not None:
            _libc_free(arena)


class Binding:
    """A program bound to variables and extents. `call(*input arrays, *output arrays) -> status` is a native built-in: 0 is fine,
    else 1 + (check number << 44 | element)."""

    def __init__(self, program: Program, variables: Mapping[Value, np.ndarray[Any, Any]], extents: Mapping[str, int],
                 run_callback: Callable[[int, Any, int], int] | None) -> None:  # fmt: skip
        self.program = program
        slots, plan = program.slots, program.plan
        template = np.zeros(program.table_size + 3, np.int64)
        template[0] = -1
        for dim, slot in slots.dims.items():
            template[slot] = evaluate(dim, extents)
        sizes = [evaluate(t.bytes, extents) for t in plan.temporaries] + [evaluate(size, extents) for _, size in program.scratch]
        lifetimes = [(t.first, t.last) for t in plan.temporaries]
        for key, _ in program.scratch:  # a kernel's own scratch lives during its step, a snapshot all the time
            step = key[1] if key[0] in ("scratch", "partials") else None
            lifetimes.append((0, len(program.graph.nodes)) if step is None else (step, step))
        offsets, total = pack(sizes, lifetimes)
        keys = [("temporary", k) for k in range(len(plan.temporaries))] + [key for key, _ in program.scratch]
        for key, offset in zip(keys, offsets, strict=True):
            if key in slots.buffers:
                template[slots.buffers[key]] = offset
        self.arena_bytes = total
        others: list[Any] = [program, variables]
        for key, slot in slots.buffers.items():
            if key[0] == "constant":
                template[slot] = program.constants[key[1]].ctypes.data
            elif key[0] == "variable":
                template[slot] = variables[program.graph.inputs[key[1]]].ctypes.data
            elif key[0] == "cycles":
                assert program.cycles is not None
                template[slot] = program.cycles.ctypes.data
            elif key[0] == "callback":
                function = _CALLBACK(lambda number, table: run_callback(number, self, table) if run_callback else -1)
                others.append(function)
                template[slot] = ctypes.cast(function, ctypes.c_void_p).value or 0
        size = program.table_size
        template[size] = 0
        template[size + 1] = -(-total // 64) * 64 + 64  # past the end: a gather from an empty array loads, and drops, one element
        template[size + 2] = evaluate(_work(program.nests, program.graph), extents) > GIL_WORK
        self.template = template
        self.extents = dict(extents)
        definition = _MethodDefinition(b"graphflow_program", program.library.address("entry"), _METH_FASTCALL, None)
        held = _Held(definition, template, others)
        self.call: Callable[..., int] = _new_function(ctypes.addressof(definition), template, held)


def _work(nests: Sequence[Nest], graph: Graph) -> Dim:
    total: Dim = 0
    for nest in nests:
        total = total + product(axis.extent for axis in nest.axes) * _element_work(nest) // 16
    for node in graph.nodes:
        if isinstance(node.op.kernel, Contract):
            total = total + product(node.output.type.shape) * node.inputs[0].type.shape[-1] // 16
    return total


def _element_work(nest: Nest) -> int:
    """Work of one element: instructions, and memory traffic counted as four each."""
    return nest.cost() + 4 * (len(nest.inputs) + len(nest.outputs))


class _Emitter:
    def __init__(self, graph: Graph, plan: Any, profile: bool) -> None:
        self.graph, self.plan, self.profile = graph, plan, profile
        self.profiled: list[Node] = []
        self.slots = Slots()
        self.writer = Writer()
        self.functions: list[str] = []
        self.declarations: set[str] = set()
        self.imports: dict[str, int] = {}
        self.nests: list[Nest] = []
        self.checks: list[Check] = []
        self.scratch: list[tuple[Any, Dim]] = []
        self.callbacks: dict[int, Node] = {}
        self.vector_bytes = llvm.vector_bits() // 8
        self.kernels = 0

    def key(self, value: Value) -> tuple[str, int]:
        place = self.plan.place(value)
        return place.kind, place.index

    def slot(self, value: Value) -> int:
        return self.slots.buffer(self.key(value))

    def pointer(self, key: Any) -> str:
        writer = self.writer
        address = writer.let(f"getelementptr i64, ptr %table, i64 {self.slots.buffer(key)}")
        return writer.let(f"load ptr, ptr {address}, align 8")

    def dim(self, dim: Dim) -> str:
        if isinstance(dim, int):
            return str(dim)
        address = self.writer.let(f"getelementptr i64, ptr %table, i64 {self.slots.dim(dim)}")
        return self.writer.let(f"load i64, ptr {address}, align 8")

    def program(self) -> str:
        """The body of `program`: every node's step in order, then copies to outputs and variables."""
        writer = self.writer
        writer.open("entry")
        snapshots = self._snapshots()
        for number, node in enumerate(self.graph.nodes):
            kernel = node.op.kernel
            if isinstance(kernel, Alias) or isinstance(kernel, Effect) and kernel.kind in ("read", "write", "copy", "constant"):
                continue
            before = writer.intrinsic("llvm.readcyclecounter", "i64", [], "") if self.profile else ""
            if isinstance(kernel, Contract):
                self._matmul(node)
            elif isinstance(kernel, Library) and kernel.name == "nest":
                self._nest(node, number)
            elif isinstance(kernel, Library) and kernel.name == "scatter_add":
                self._scatter_add(node)
            elif isinstance(kernel, Library) and kernel.name == "concat":
                self._concat(node)
            elif isinstance(kernel, Effect) and kernel.kind == "assert":
                self._assert(node)
            elif isinstance(kernel, Effect):
                self._callback(node)
            else:
                raise TypeError(f"the CPU has no kernel for {node.op.name} ({type(kernel).__name__})")
            if self.profile:
                self._count_cycles(node, before)
            if node.op.fallible or self._can_fail:
                status = writer.let("load i64, ptr %table, align 8")
                fine = writer.let(f"icmp eq i64 {status}, -1")
                following = writer.label("step")
                writer.line(f"br i1 {fine}, label %{following}, label %out")
                writer.open(following)
                self._can_fail = False
        for position, value in self.plan.output_copies:
            self._copy(("output", position), self.key(value), value)
        for variable, value in self.plan.commits:
            self._copy(self.key(variable), snapshots.get(value) or self.key(value), value)
        writer.line("br label %out")
        writer.open("out")
        writer.line("ret void")
        body = "\n".join(writer.lines)
        self.declarations |= writer.declarations
        return f"define internal void @program(ptr noalias %table) #0 {{\n{body}\n}}\n"

    _can_fail = False

    def _count_cycles(self, node: Node, before: str) -> None:
        """Add the cycles since `before` to the node's counter."""
        writer = self.writer
        after = writer.intrinsic("llvm.readcyclecounter", "i64", [], "")
        spent = writer.let(f"sub i64 {after}, {before}")
        counter = writer.let(f"getelementptr i64, ptr {self.pointer(('cycles', 0))}, i64 {len(self.profiled)}")
        writer.let(f"atomicrmw add ptr {counter}, i64 {spent} monotonic")
        self.profiled.append(node)

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
            key: tuple[Any, ...] = ("scratch", number, k)
            self.scratch.append((key, buffer.shape[0] * buffer.dtype.itemsize * (1 if count == 1 else _workers())))
            buffers.append(self.slots.buffer(key))
        if is_single(nest):
            key = ("partials", number)
            self.scratch.append((key, count * 16 * len(nest.stages[0].reductions) + 64))
            buffers.append(self.slots.buffer(key))
        text, declarations = emit_nest(nest, name, buffers, self.slots, self.vector_bytes, len(self.checks))
        self.checks += nest.checks
        self._can_fail = self._can_fail or bool(nest.checks)
        self.functions.append(text)
        self.declarations |= declarations
        self._run(name, nest, count)
        if is_single(nest):
            self.writer.line(f"call void @{name}_finish(ptr %table, i64 0, i64 0, i64 0)")
        self.kernels += 1

    def _run(self, name: str, nest: Nest, count: Dim) -> None:
        """Call a kernel over all its units, on the pool where the work is worth it."""
        writer = self.writer
        elements = product(axis.extent for axis in nest.axes)
        each = _element_work(nest)
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

    def _matmul(self, node: Node) -> None:
        """C[b] = A[b] @ B[b] through the GEMM library; batch axes that broadcast unevenly become a loop of calls."""
        from .gemm import FIELDS, gemm_part

        a, b, c = node.inputs[0], node.inputs[1], node.output
        short = c.type.dtype.short
        writer = self.writer
        m, n = c.type.shape[-2:]
        batch_shape = c.type.shape[:-2]
        swap_a, swap_b = node.attributes["transpose_a"], node.attributes["transpose_b"]
        k = a.type.shape[-2] if swap_a else a.type.shape[-1]
        a_strides, b_strides = _batch_strides(a, batch_shape), _batch_strides(b, batch_shape)
        merged = all(_merged(batch_shape, s) for s in (a_strides, b_strides))
        arguments = writer.let(f"alloca [{len(FIELDS)} x i64], align 64") if not hasattr(self, "_arguments") else self._arguments
        self._arguments: str = arguments
        pa, pb, pc = self.pointer(self.key(a)), self.pointer(self.key(b)), self.pointer(self.key(c))
        size_a, size_b = a.type.shape[-1], b.type.shape[-1]
        fixed: dict[str, Dim] = {
            "m": m, "n": n, "k": k, "c_row": n, "c_batch": m * n,
            "a_row": 1 if swap_a else size_a, "a_column": size_a if swap_a else 1,
            "b_row": 1 if swap_b else size_b, "b_column": size_b if swap_b else 1,
            "batch": product(batch_shape) if merged else 1,
            "a_batch": (a_strides[-1] if batch_shape else 0) if merged else 0,
            "b_batch": (b_strides[-1] if batch_shape else 0) if merged else 0,
        }  # fmt: skip
        known = {field_name: extent if isinstance(extent, int) else None for field_name, extent in fixed.items()}
        name = f"graphflow_gemm_{short}_{gemm_part(short, known)}"
        self.imports[name] = 0
        self.declarations.add(f"declare void @{name}(ptr)")
        for position, field_name in enumerate(FIELDS):
            if field_name in fixed:
                self._field(arguments, position, f"i64 {self.dim(fixed[field_name])}")
        if merged:
            for position, pointer in ((0, pa), (1, pb), (2, pc)):
                self._field(arguments, position, f"ptr {pointer}")
            writer.line(f"call void @{name}(ptr {arguments})")
        else:
            operands = [(pa, a_strides), (pb, b_strides), (pc, _batch_strides(c, batch_shape))]
            self._batch_loop(name, arguments, batch_shape, operands, c.type.dtype)
        self.kernels += 1

    def _field(self, arguments: str, position: int, value: str) -> None:
        address = self.writer.let(f"getelementptr i64, ptr {arguments}, i64 {position}")
        self.writer.line(f"store {value}, ptr {address}, align 8")

    def _batch_loop(self, name: str, arguments: str, shape: Sequence[Dim], operands: Sequence[tuple[str, list[Dim]]], dtype: DType) -> None:
        writer = self.writer
        total = self.dim(product(shape))
        extents = [self.dim(d) for d in shape]
        strides = [[self.dim(s) for s in own] for _, own in operands]
        loop, after, index, following = writer.label("batch"), writer.label("batch_done"), writer.name("b"), writer.name("next")
        some = writer.let(f"icmp sgt i64 {total}, 0")
        before = writer.block
        writer.line(f"br i1 {some}, label %{loop}, label %{after}")
        writer.open(loop)
        writer.line(f"{index} = phi i64 [0, %{before}], [{following}, %{loop}]")
        rest, places = index, []
        for extent in reversed(extents):
            places.append(writer.let(f"srem i64 {rest}, {extent}"))
            rest = writer.let(f"sdiv i64 {rest}, {extent}")
        places.reverse()
        for position, ((pointer, _), own) in enumerate(zip(operands, strides, strict=True)):
            offset = "0"
            for place, stride in zip(places, own, strict=True):
                step = writer.let(f"mul i64 {place}, {stride}")
                offset = writer.let(f"add i64 {offset}, {step}")
            moved = writer.let(f"getelementptr {memory_type(dtype)}, ptr {pointer}, i64 {offset}")
            self._field(arguments, position, f"ptr {moved}")
        writer.line(f"call void @{name}(ptr {arguments})")
        writer.line(f"{following} = add i64 {index}, 1")
        more = writer.let(f"icmp slt i64 {following}, {total}")
        writer.line(f"br i1 {more}, label %{loop}, label %{after}")
        writer.open(after)

    def _concat(self, node: Node) -> None:
        """Copy each operand's stretches into the result: one memcpy for each position of the axes before."""
        writer, axis, out = self.writer, node.attributes["axis"], node.output
        size = out.type.dtype.itemsize
        outer = self.dim(product(out.type.shape[:axis]))
        whole = self.dim(product(out.type.shape[axis:]) * size)
        target, start = self.pointer(self.key(out)), "0"
        for operand in node.inputs:
            stretch = self.dim(product(operand.type.shape[axis:]) * size)
            source = self.pointer(self.key(operand))
            loop, after, index, following = writer.label("stretch"), writer.label("copied"), writer.name("o"), writer.name("next")
            some = writer.let(f"icmp sgt i64 {outer}, 0")
            before = writer.block
            writer.line(f"br i1 {some}, label %{loop}, label %{after}")
            writer.open(loop)
            writer.line(f"{index} = phi i64 [0, %{before}], [{following}, %{loop}]")
            from_offset = writer.let(f"mul i64 {index}, {stretch}")
            row = writer.let(f"mul i64 {index}, {whole}")
            to_offset = writer.let(f"add i64 {row}, {start}")
            to = writer.let(f"getelementptr i8, ptr {target}, i64 {to_offset}")
            source_at = writer.let(f"getelementptr i8, ptr {source}, i64 {from_offset}")
            writer.intrinsic("llvm.memcpy", "void", [("ptr", to), ("ptr", source_at), ("i64", stretch), ("i1", "false")], "p0.p0.i64")
            writer.line(f"{following} = add i64 {index}, 1")
            more = writer.let(f"icmp slt i64 {following}, {outer}")
            writer.line(f"br i1 {more}, label %{loop}, label %{after}")
            writer.open(after)
            start = writer.let(f"add i64 {start}, {stretch}")
        self.kernels += 1

    def _scatter_add(self, node: Node) -> None:
        """out = 0; for j in order: out[indices[j], :] += updates[j, :]. In index order on one thread: deterministic. An index outside
        the rows is reported and its update skipped."""
        indices, updates, out = node.inputs[0], node.inputs[1], node.output
        dtype, index_type = out.type.dtype, indices.type.dtype
        width = product(out.type.shape[1:])
        name = f"kernel_scatter{len(self.functions)}"
        kind, index_kind = memory_type(dtype), memory_type(index_type)
        add = "fadd" if dtype.is_floating else "add"
        parameters = "ptr noalias %table, ptr noalias %out, ptr noalias %indices, ptr noalias %updates, i64 %count, i64 %width, i64 %rows"
        self.functions.append(f"""define internal void @{name}({parameters}) #0 {{
entry:
  %cells = mul i64 %rows, %width
  %bytes = mul i64 %cells, {dtype.itemsize}
  call void @llvm.memset.p0.i64(ptr %out, i8 0, i64 %bytes, i1 false)
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %each, label %done
each:
  %j = phi i64 [0, %entry], [%j2, %next]
  %ip = getelementptr {index_kind}, ptr %indices, i64 %j
  %ir = load {index_kind}, ptr %ip
  %i = {"sext " + index_kind + " %ir to i64" if index_kind != "i64" else "add i64 %ir, 0"}
  %inside = icmp ult i64 %i, %rows
  %wide = icmp sgt i64 %width, 0
  %to = mul i64 %i, %width
  %from = mul i64 %j, %width
  br i1 %inside, label %begin, label %outside
outside:
  %word = or i64 %j, {len(self.checks) << 44}
  %earlier = atomicrmw umin ptr %table, i64 %word monotonic
  br label %next
begin:
  br i1 %wide, label %row, label %next
row:
  %c = phi i64 [0, %begin], [%c2, %row]
  %tc = add i64 %to, %c
  %fc = add i64 %from, %c
  %tp = getelementptr {kind}, ptr %out, i64 %tc
  %fp = getelementptr {kind}, ptr %updates, i64 %fc
  %old = load {kind}, ptr %tp
  %new = load {kind}, ptr %fp
  %sum = {add} {kind} %old, %new
  store {kind} %sum, ptr %tp
  %c2 = add i64 %c, 1
  %more = icmp slt i64 %c2, %width
  br i1 %more, label %row, label %next
next:
  %j2 = add i64 %j, 1
  %again = icmp slt i64 %j2, %count
  br i1 %again, label %each, label %done
done:
  ret void
}}
""")  # fmt: skip
        self.declarations.add("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
        self.checks.append(Check("index_out_of_range", node.op.name, node.source, "", indices.type.shape))
        self._can_fail = True
        arguments = ["ptr %table", *(f"ptr {self.pointer(self.key(v))}" for v in (out, indices, updates))]
        arguments += [f"i64 {self.dim(d)}" for d in (product(indices.type.shape), width, out.type.shape[0])]
        self.writer.line(f"call void @{name}({', '.join(arguments)})")
        self.kernels += 1

    def _assert(self, node: Node) -> None:
        """Report the first element of the condition that is false."""
        condition = node.inputs[0]
        name = f"kernel_assert{len(self.functions)}"
        self.functions.append(f"""define internal void @{name}(ptr %table, ptr %condition, i64 %count) #0 {{
entry:
  %some = icmp sgt i64 %count, 0
  br i1 %some, label %each, label %done
each:
  %j = phi i64 [0, %entry], [%j2, %next]
  %at = getelementptr i8, ptr %condition, i64 %j
  %value = load i8, ptr %at
  %holds = icmp ne i8 %value, 0
  br i1 %holds, label %next, label %failed
failed:
  %word = or i64 %j, {len(self.checks) << 44}
  %old = atomicrmw umin ptr %table, i64 %word monotonic
  ret void
next:
  %j2 = add i64 %j, 1
  %again = icmp slt i64 %j2, %count
  br i1 %again, label %each, label %done
done:
  ret void
}}
""")
        self.checks.append(Check("assertion", node.op.name, node.source, str(node.attributes["message"]), condition.type.shape))
        count = self.dim(product(condition.type.shape))
        self.writer.line(f"call void @{name}(ptr %table, ptr {self.pointer(self.key(condition))}, i64 {count})")
        self._can_fail = True

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
    def entry(self, size: int) -> str:
        """The built-in that Python calls."""
        writer = Writer()
        writer.open("entry")
        data = writer.let(f"getelementptr i8, ptr %self, i64 {OBJECT_DATA}")
        template = writer.let(f"load ptr, ptr {data}, align 8")
        writer.line(f"%table = alloca [{size} x i64], align 64")
        writer.intrinsic("llvm.memcpy", "void", [("ptr", "%table"), ("ptr", template), ("i64", str(size * 8)), ("i1", "false")],
                         "p0.p0.i64")  # fmt: skip
        tensors = [k for k, v in enumerate(self.graph.inputs) if not v.is_variable]
        arguments = [("input", k) for k in tensors] + [("output", k) for k in range(len(self.graph.outputs))]
        for position, key in enumerate(arguments):
            if key not in self.slots.buffers:
                continue
            place = writer.let(f"getelementptr ptr, ptr %args, i64 {position}")
            array = writer.let(f"load ptr, ptr {place}, align 8")
            field_ = writer.let(f"getelementptr i8, ptr {array}, i64 {OBJECT_DATA}")
            pointer = writer.let(f"load ptr, ptr {field_}, align 8")
            slot = writer.let(f"getelementptr i64, ptr %table, i64 {self.slots.buffers[key]}")
            writer.line(f"store ptr {pointer}, ptr {slot}, align 8")
        in_arena = [slot for key, slot in self.slots.buffers.items() if key[0] in ("temporary", "scratch", "partials", "snapshot")]
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


def _batch_strides(value: Value, batch: Sequence[Dim]) -> list[Dim]:
    """Strides of a matmul operand along the result's batch axes; 0 where it broadcasts."""
    own = value.type.shape[:-2]
    strides = dense_strides(value.type.shape)[:-2]
    missing = len(batch) - len(own)
    return [0] * missing + [0 if d == 1 else s for d, s in zip(own, strides, strict=True)]


def _merged(shape: Sequence[Dim], strides: Sequence[Dim]) -> bool:
    """Can the batch axes be walked with one stride?"""
    return all(strides[k] == strides[k + 1] * shape[k + 1] for k in range(len(shape) - 1))


def build_program(graph: Graph, plan: Any, profile: bool = False) -> Program:
    """Emit, compile (or fetch from the cache) and link the program of a planned graph. profile: count each kernel's cycles."""
    from . import gemm, pool

    emitter = _Emitter(graph, plan, profile)
    body = emitter.program()
    size = emitter.slots.count
    entry = emitter.entry(size)
    attributes = 'attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }'
    text = "\n".join([*emitter.functions, body, entry, *sorted(emitter.declarations), attributes, ""])
    imports = {}
    for name in emitter.imports:
        if name == "graphflow_parallel_for":
            imports[name] = pool.parallel_for_address()
        else:
            imports[name] = gemm.gemm_address(*name.removeprefix("graphflow_gemm_").split("_"))
    library = llvm.compile_module(text, ["entry"], imports)
    constants = [np.ascontiguousarray(v.producer.attributes["value"]) for v in plan.constants if v.producer is not None]
    return Program(graph, library, emitter.slots, size, emitter.nests, emitter.checks, constants, text, plan, emitter.scratch,
                   emitter.kernels, emitter.callbacks, emitter.profiled,
                   np.zeros(len(emitter.profiled), np.int64) if profile else None)  # fmt: skip


def locate(checks: Sequence[Check], status: int) -> tuple[Check, int]:
    """The check and the element number of a status other than 0."""
    word = status - 1
    return checks[word >> 44], word & ((1 << 44) - 1)


def where(source: Source) -> str:
    return f"{source.location}   {source.expression}"


