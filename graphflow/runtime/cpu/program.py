"""A whole graph as one native function.

A `Program` is the compiled module of a graph (emit_program.py writes it); a `Binding` joins it with variables and extents as a CPython
built-in (METH_FASTCALL) which takes the input and output arrays, fills the table from a per-binding template, takes an arena, runs the
program with or without the GIL and returns the status. So a call costs one C call, whatever the number of kernels and arguments.

Table: slot 0 status (all ones = fine), then slots for buffers and symbolic dims (see nests.Slots). Template: the table's initial
contents, followed by the arena's cached address, its size, and whether to release the GIL. Behind it: the built-in's method definition.

Results whose extents only the run decides have no arrays when the call begins: `Binding.dynamic_outputs` names them, native code
allocates them, and `Binding.run(input arrays) -> (status, outputs)` (which works for every program) makes arrays of what it hands over.
`Binding.array_at(table, value)` shows a callback the memory of an operand or result, in whatever loop or branch it stands.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...ir.dims import Dim, evaluate, product, symbol, symbols_of
from ...ir.graph import Graph, Node, Value
from ...ir.op import Contract
from ...kernels.nest import Check, Nest
from ..memory import pack
from . import llvm
from .counters import Counters
from .emit_program import ProgramEmitter, element_work
from .library import lapack
from .nests import Slots

__all__ = ["Binding", "Layout", "Program", "build_program"]

GIL_WORK = 400_000
"""Work above which the GIL is released around the call (releasing and taking it back costs about 0.1 us)."""


@dataclass(frozen=True)
class Layout:
    """An arena: for each piece of memory in it the key of its slot, its size as a formula and in bytes, its first and last step, its
    region (the program's, 0, or that of a shared function) and its offset. total: the arena's size."""

    keys: list[Any]
    formulas: list[Dim]
    bytes: list[int]
    lifetimes: list[tuple[int, int]]
    regions: list[int]
    offsets: list[int]
    total: int


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
    counters: Counters | None = None
    dynamic_outputs: tuple[int, ...] = ()
    reported: tuple[str, ...] = ()
    has_loop: bool = False
    grown: tuple[tuple[Any, Dim], ...] = ()

    @functools.cached_property
    def work(self) -> Dim:
        """What a call costs, to decide whether the GIL is released."""
        return _work(self.nests, self.graph)

    def buffer_slot(self, value: Value) -> int | None:
        """The slot of the table that holds a value's address (of a callback's operand or result, in whatever sub-graph), or None."""
        place = self.plan.places.get(self.plan.root(value))
        return None if place is None else self.slots.buffers.get((place.kind, place.index))

    @property
    def last_step(self) -> int:
        """The last step that anything lives to."""
        return getattr(self.plan, "end", len(self.graph.nodes))

    def layout(self, extents: Mapping[str, int]) -> Layout:
        """The arena for these extents: the temporaries in order, then what kernels and snapshots need for themselves."""
        plan = self.plan
        keys: list[Any] = [("temporary", k) for k in range(len(plan.temporaries))]
        sizes: list[Dim] = [t.bytes for t in plan.temporaries]
        lifetimes = [(t.first, t.last) for t in plan.temporaries]
        for key, size in self.scratch:  # a kernel's own scratch lives during its step, a snapshot all the time
            step = key[1] if key[0] in ("scratch", "partials") else None
            keys.append(key)
            sizes.append(size)
            lifetimes.append((0, self.last_step) if step is None else (step, step))
        regions = [0] * len(keys)
        if hasattr(plan, "region"):
            regions = [*plan.regions, *(plan.region(first) for first, _ in lifetimes[len(plan.temporaries) :])]
        bytes_ = [evaluate(size, extents) for size in sizes]
        offsets, total = [0] * len(keys), 0
        for region in range(max(regions, default=0) + 1):  # functions that several places call lie beside each other
            members = [k for k, own in enumerate(regions) if own == region]
            own_offsets, own_total = pack([bytes_[k] for k in members], [lifetimes[k] for k in members])
            for k, offset in zip(members, own_offsets, strict=True):
                offsets[k] = total + offset
            total += own_total
        return Layout(keys, sizes, bytes_, lifetimes, regions, offsets, total)

    def bind(
        self, variables: Mapping[Value, np.ndarray[Any, Any]], extents: Mapping[str, int], run_callback: Any = None
    ) -> Binding:
        """Code, variables and extents as something callable."""
        return Binding(self, variables, extents, run_callback)


class _MethodDefinition(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


_METH_FASTCALL = 0x0080
_NAME = b"graphflow_program"
_DEFINITION_WORDS = ctypes.sizeof(_MethodDefinition) // 8
_new_function = ctypes.pythonapi.PyCFunction_NewEx
_new_function.restype = ctypes.py_object
_new_function.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.py_object]
_libc_free: Any = ctypes.CDLL(None).free if hasattr(ctypes, "CDLL") else None
_libc_free.argtypes = [ctypes.c_void_p]
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)


class _Held:
    """What a native built-in uses and does not own: kept alive by the built-in itself (as its `__module__`), so that it may outlive
    its binding. Frees the arena at the end.

    The method's definition is not among it but behind the template, which is the built-in's `__self__`: CPython reads the
    definition's flags when it frees the built-in, and the garbage collector takes this object's content away before that.
    """

    def __init__(self, template: np.ndarray[Any, Any], others: list[Any]) -> None:
        self.template, self.others = template, others

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
        slots = program.slots
        memory: Any = np.zeros(program.table_size + 3 + _DEFINITION_WORDS, np.int64)
        template = memory[: program.table_size + 3]
        template[0] = -1
        for dim, slot in slots.dims.items():
            if symbols_of(dim) <= extents.keys():
                template[slot] = evaluate(dim, extents)
        layout = program.layout(extents)
        total = layout.total
        for key, offset in zip(layout.keys, layout.offsets, strict=True):
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
                assert program.counters is not None
                template[slot] = program.counters.memory.ctypes.data
            elif key[0] == "callback":
                function = _CALLBACK(lambda number, table: run_callback(number, self, table) if run_callback else -1)
                others.append(function)
                template[slot] = ctypes.cast(function, ctypes.c_void_p).value or 0
        size = program.table_size
        template[size] = 0
        template[size + 1] = (
            -(-total // 64) * 64 + 64
        )  # past the end: a gather from an empty array loads, and drops, one element
        work = program.work
        template[size + 2] = (
            program.has_loop or not symbols_of(work) <= extents.keys() or evaluate(work, extents) > GIL_WORK
        )
        self.template = template
        self.extents = dict(extents)
        definition = _MethodDefinition.from_buffer(memory, template.nbytes)
        definition.name, definition.function = _NAME, program.library.address("entry")
        definition.flags = _METH_FASTCALL
        held = _Held(template, others)
        self.call: Callable[..., int] = _new_function(ctypes.addressof(definition), template, held)
        self.dynamic_outputs = program.dynamic_outputs

    def run(self, arrays: Sequence[np.ndarray[Any, Any]]) -> tuple[int, list[np.ndarray[Any, Any]]]:
        """Call with the input arrays: the status, and the outputs (none if it failed). Also for outputs whose extents only the run
        decides (`dynamic_outputs`): these are made by the call. Raises MemoryError."""
        program, extents = self.program, self.extents
        outputs: list[Any] = [
            None
            if k in program.dynamic_outputs
            else np.empty([evaluate(d, extents) for d in v.type.shape], v.type.dtype.numpy)
            for k, v in enumerate(program.graph.outputs)
        ]
        if not program.dynamic_outputs:
            status = self.call(*arrays, *outputs)
            return status, [] if status else outputs
        report = np.zeros(len(program.dynamic_outputs) + len(program.reported), np.int64)
        status = self.call(*arrays, *(o for o in outputs if o is not None), report)
        if status:
            return status, []
        addresses, made = report[: len(program.dynamic_outputs)], report[len(program.dynamic_outputs) :]
        found = {**extents, **{name: int(extent) for name, extent in zip(program.reported, made, strict=True)}}
        blocks = [_Block(int(address)) for address in addresses]
        for k, block in zip(program.dynamic_outputs, blocks, strict=True):
            type_ = program.graph.outputs[k].type
            outputs[k] = block.array([evaluate(d, found) for d in type_.shape], type_.dtype.numpy)
        return status, outputs

    def array_at(self, table: int, value: Value) -> np.ndarray[Any, Any]:
        """A callback's view of a value in memory, valid while the callback runs. table: its second argument."""
        slots, extents = self.program.slots, dict(self.extents)
        for dim in value.type.shape:
            for name in symbols_of(dim) - extents.keys():
                extents[name] = ctypes.c_int64.from_address(table + 8 * slots.dims[symbol(name)]).value
        shape, dtype = [evaluate(d, extents) for d in value.type.shape], value.type.dtype.numpy
        count = int(np.prod(shape))
        if count == 0:
            return np.empty(shape, dtype)
        slot = self.program.buffer_slot(value)
        assert slot is not None, "a callback's operands and results have memory"
        address = ctypes.c_int64.from_address(table + 8 * slot).value
        memory = (ctypes.c_uint8 * (count * dtype.itemsize)).from_address(address)
        return np.asarray(memory).view(dtype).reshape(shape)


class _Block:
    """Memory that native code allocated and handed over: freed with the last array that looks at it."""

    def __init__(self, address: int) -> None:
        self.address = address

    def array(self, shape: list[int], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """The memory as an array."""
        count = int(np.prod(shape))
        if count == 0:
            return np.empty(shape, dtype)
        self.__array_interface__ = {
            "shape": (count * dtype.itemsize,), "typestr": "|u1", "data": (self.address, False), "version": 3,
        }  # fmt: skip
        return np.asarray(self).view(dtype).reshape(shape)

    def __del__(self) -> None:
        if self.address and _libc_free is not None:
            _libc_free(self.address)


def _work(nests: Sequence[Nest], graph: Graph) -> Dim:
    total: Dim = 0
    for nest in nests:
        total = total + product(axis.extent for axis in nest.axes) * element_work(nest) // 16
    for node in graph.nodes:
        if isinstance(node.op.kernel, Contract):
            total = total + product(node.output.type.shape) * node.inputs[0].type.shape[-1] // 16
    return total


def build_program(graph: Graph, plan: Any, profile: bool = False) -> Program:
    """Emit, compile (or fetch from the cache) and link the program of a planned graph. profile: count what each step costs."""
    from . import gemm, pool

    control = getattr(plan, "graph", None)  # of a graph with control flow: the form that was planned
    graph = control or graph
    emitter = ProgramEmitter(graph, plan, profile)
    if control:
        from .emit_control import ControlEmitter  # most programs do without

        emitter = ControlEmitter(graph, plan, profile)
    body = emitter.program()
    size = emitter.slots.count
    entry = emitter.entry(size)
    attributes = 'attributes #0 = { nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512" }'
    text = "\n".join([*emitter.functions, body, entry, *sorted(emitter.declarations), attributes, ""])
    imports = {}
    for name in emitter.imports:
        if name == "graphflow_parallel_for":
            imports[name] = pool.parallel_for_address()
        elif name.startswith("graphflow_lapack_"):
            imports[name] = lapack.address(name)
        else:
            imports[name] = gemm.gemm_address(*name.removeprefix("graphflow_gemm_").split("_"))
    facts = emitter.facts()
    library = llvm.compile_module(text, ["entry"], imports, "loops" if facts.get("has_loop") else "light")
    constants = [np.ascontiguousarray(v.producer.attributes["value"]) for v in plan.constants if v.producer is not None]
    if emitter.counters is not None:
        emitter.counters.allocate()
    return Program(graph, library, emitter.slots, size, emitter.nests, emitter.checks, constants, text, plan, emitter.scratch,
                   emitter.kernels, emitter.callbacks, emitter.counters, **facts)  # fmt: skip


def locate(checks: Sequence[Check], status: int) -> tuple[Check, int]:
    """The check and the element number of a status other than 0."""
    word = status - 1
    return checks[word >> 44], word & ((1 << 44) - 1)
