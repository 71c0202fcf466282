"""A whole graph as one native function.

A `Program` is the compiled module of a graph (emit_program.py writes it); a `Binding` joins it with variables and extents as a CPython
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

from ...ir.dims import Dim, evaluate, product
from ...ir.graph import Graph, Node, Value
from ...ir.op import Contract
from ...kernels.nest import Check, Nest
from ..memory import pack
from . import llvm
from .emit_program import ProgramEmitter, element_work
from .nests import Slots

__all__ = ["Binding", "Program", "build_program"]

GIL_WORK = 400_000
"""Work above which the GIL is released around the call (releasing and taking it back costs about 0.1 us)."""


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
        sizes = [evaluate(t.bytes, extents) for t in plan.temporaries] + [
            evaluate(size, extents) for _, size in program.scratch
        ]
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
        template[size + 1] = (
            -(-total // 64) * 64 + 64
        )  # past the end: a gather from an empty array loads, and drops, one element
        template[size + 2] = evaluate(_work(program.nests, program.graph), extents) > GIL_WORK
        self.template = template
        self.extents = dict(extents)
        definition = _MethodDefinition(b"graphflow_program", program.library.address("entry"), _METH_FASTCALL, None)
        held = _Held(definition, template, others)
        self.call: Callable[..., int] = _new_function(ctypes.addressof(definition), template, held)


def _work(nests: Sequence[Nest], graph: Graph) -> Dim:
    total: Dim = 0
    for nest in nests:
        total = total + product(axis.extent for axis in nest.axes) * element_work(nest) // 16
    for node in graph.nodes:
        if isinstance(node.op.kernel, Contract):
            total = total + product(node.output.type.shape) * node.inputs[0].type.shape[-1] // 16
    return total


def build_program(graph: Graph, plan: Any, profile: bool = False) -> Program:
    """Emit, compile (or fetch from the cache) and link the program of a planned graph. profile: count each kernel's cycles."""
    from . import gemm, pool

    emitter = ProgramEmitter(graph, plan, profile)
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
