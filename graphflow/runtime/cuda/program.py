"""A placed graph as a program of steps: kernel launches on the GPU, copies, and native host programs in between.

The interface is the CPU program's: bind(variables, extents) gives an object whose call(*inputs, *outputs) returns a
status. Variables live on the host: they are read first and written last, after the status was found good, so a failed
call changes none. (Capturing the launches into one CUDA graph, so that a call is native here too, is a later step.)
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ...dtypes import DType
from ...ir.dims import Dim, evaluate, product
from ...ir.graph import Graph, Node, Value
from ...ir.op import Contract
from ...ir.region import dense_strides
from ...kernels.lower import lower
from ...kernels.nest import Check, Nest
from ..cpu.program import build_program as build_host_program
from .available import cuda, is_simulator
from .kernels import compile_kernel, concat_source, matmul_source, scatter_add_source
from .source import CHECK_SHIFT, Kernel, kernels_of
from .steps import Download, HostStep, Schedule, Step, Upload, inline_scalars, schedule

__all__ = ["Binding", "Program", "build_program"]

FINE = 2**63 - 1
"""The status word of a run without a failed check."""
MOST_BLOCKS = 4096
"""Blocks of a launch, at most; kernels stride over the rest. Also bounds the scratch rows, one for each block."""
SIMULATED_THREADS = 4
"""Threads that the simulator starts where the kernel leaves the number open: each is a Python thread."""

#: simulated kernels cannot run at once, and launches of one process share a stream anyway
_launching = threading.RLock()


@dataclass(frozen=True, eq=False)
class Buffer:
    """Device memory that a launch needs beside its operands: scratch rows of each block, or a full reduction's
    partials."""

    dtype: DType
    elements: Dim
    each_block: bool = False


@dataclass(frozen=True, eq=False)
class Launch:
    """One kernel of a step. operands: values and own buffers in the order of its parameters; tables: small constant
    arrays of positions, made at bind; scalars: int64 arguments."""

    name: str
    source: str
    operands: tuple[Value | Buffer, ...]
    tables: tuple[Callable[[Mapping[str, int]], np.ndarray[Any, Any]], ...]
    scalars: tuple[Dim, ...]
    first_check: int | None
    elements: Dim
    unit: int
    threads: int
    fixed_threads: bool


@dataclass(frozen=True, eq=False)
class Launches:
    """The kernels of one GPU node."""

    launches: tuple[Launch, ...]
    outputs: tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class HostRun:
    """A host step with its native program."""

    step: HostStep
    program: Any
    first_check: int


@dataclass
class Program:
    """A compiled graph. Shared by all bindings. Fields that the inspection reads are those of the CPU's program."""

    graph: Graph
    plan: Any
    schedule: Schedule
    steps: list[Launches | HostRun | Upload | Download]
    nests: list[Nest]
    checks: list[Check]
    kernels: int
    callbacks: dict[int, Node] = field(default_factory=dict)

    @cached_property
    def text(self) -> str:
        """The Python source of every GPU kernel, in the order of the launches."""
        return "\n\n".join(launch.source for s in self.steps if isinstance(s, Launches) for launch in s.launches)

    def bind(
        self, variables: Mapping[Value, np.ndarray[Any, Any]], extents: Mapping[str, int], run_callback: Any = None
    ) -> Binding:
        """The program with variables and extents, as something callable."""
        return Binding(self, variables, extents, run_callback)


def build_program(graph: Graph, plan: Any, plan_memory: Callable[[Graph], Any]) -> Program:
    """Lower, print and order a placed graph. Kernels are compiled when a binding first needs them. plan_memory: the
    planner, for the graphs of the host steps (the runtime does not know the passes)."""
    graph_inlined = inline_scalars(graph)
    order = schedule(graph_inlined)
    builder = _Builder(graph_inlined, plan_memory)
    steps = [builder.step(step) for step in order.steps]
    return Program(graph_inlined, plan, order, steps, builder.nests, builder.checks, builder.kernels)


class _Builder:
    def __init__(self, graph: Graph, plan_memory: Callable[[Graph], Any]) -> None:
        self.graph, self.plan_memory = graph, plan_memory
        self.nests: list[Nest] = []
        self.checks: list[Check] = []
        self.kernels = 0

    def step(self, step: Step) -> Launches | HostRun | Upload | Download:
        if isinstance(step, (Upload, Download)):
            return step
        if isinstance(step, HostStep):
            program = build_host_program(step.graph, self.plan_memory(step.graph))
            run = HostRun(step, program, len(self.checks))
            self.nests += program.nests
            self.checks += program.checks
            self.kernels += program.kernels
            return run
        node = step.node
        if isinstance(node.op.kernel, Contract):
            launches: tuple[Launch, ...] = (self.matmul(node),)
        elif node.op.name == "scatter_add":
            launches = (self.scatter_add(node),)
        elif node.op.name == "concat":
            launches = self.concat(node)
        elif node.op.name == "fused":
            launches = self.nest(node)
        else:
            raise TypeError(f"the GPU has no kernel for {node.op.name} ({type(node.op.kernel).__name__})")
        self.kernels += len(launches)
        return Launches(launches, node.outputs)

    def nest(self, node: Node) -> tuple[Launch, ...]:
        nest = lower(node.attributes["body"], f"kernel{len(self.nests)}")
        self.nests.append(nest)
        first_check = len(self.checks)
        self.checks += nest.checks
        printed = kernels_of(nest).kernels
        scratch = tuple(Buffer(b.dtype, product(b.shape), each_block=True) for b in nest.scratch)
        blocks = (printed[0].elements + (printed[0].unit - 1)) // printed[0].unit
        partials = tuple(Buffer(dtype, blocks) for dtype in printed[0].partials)
        return tuple(
            self._launch(node, k, (*node.inputs, *node.outputs, *scratch, *partials), first_check) for k in printed
        )

    def _launch(self, node: Node, kernel: Kernel, operands: tuple[Value | Buffer, ...], first_check: int) -> Launch:
        return Launch(kernel.name, kernel.source, operands, (), kernel.dims, first_check if kernel.has_checks else None,
                      kernel.elements, kernel.unit, kernel.threads, "cuda.threadIdx" in kernel.source)  # fmt: skip

    def matmul(self, node: Node) -> Launch:
        a, b, c = node.inputs[0], node.inputs[1], node.output
        swap_a, swap_b = node.attributes["transpose_a"], node.attributes["transpose_b"]
        batch = c.type.shape[:-2]
        rows, columns = c.type.shape[-2:]
        inner = a.type.shape[-2] if swap_a else a.type.shape[-1]
        wide_a, wide_b = a.type.shape[-1], b.type.shape[-1]
        strides = (1, wide_a) if swap_a else (wide_a, 1), (1, wide_b) if swap_b else (wide_b, 1)
        scalars = (product(batch), rows, columns, inner, *strides[0], *strides[1])
        tables = tuple(_batch_offsets(v, batch) for v in (a, b))
        return Launch(
            "matmul",
            matmul_source(c.type.dtype),
            (a, b, c),
            tables,
            scalars,
            None,
            product(c.type.shape),
            128,
            128,
            False,
        )

    def scatter_add(self, node: Node) -> Launch:
        indices, updates, out = *node.inputs, node.output
        width = product(out.type.shape[1:])
        scalars = (product(indices.type.shape), width, out.type.shape[0])
        first_check = len(self.checks)
        self.checks.append(Check("index_out_of_range", node.op.name, node.source, "", indices.type.shape))
        # one thread more than columns: the indices are checked even if the rows are empty
        source = scatter_add_source(out.type.dtype)
        operands = (indices, updates, out)
        return Launch("scatter_add", source, operands, (), scalars, first_check, width + 1, 128, 128, False)

    def concat(self, node: Node) -> tuple[Launch, ...]:
        """One launch for each operand."""
        axis, out = node.attributes["axis"], node.output
        stride = product(out.type.shape[axis:])
        offset: Dim = 0
        launches: list[Launch] = []
        for value in node.inputs:
            width, elements = product(value.type.shape[axis:]), product(value.type.shape)
            scalars = (elements, width, offset, stride)
            launches.append(
                Launch("concat", concat_source(), (value, out), (), scalars, None, elements, 128, 128, False)
            )
            offset = offset + width
        return tuple(launches)


def _batch_offsets(value: Value, batch: Sequence[Dim]) -> Callable[[Mapping[str, int]], np.ndarray[Any, Any]]:
    """Where each batch's matrix of a matmul operand begins; axes that broadcast do not move it."""
    own = value.type.shape[:-2]
    steps: list[Dim] = [0 if d == 1 else s for d, s in zip(own, dense_strides(value.type.shape)[:-2], strict=True)]
    steps = [*[0] * (len(batch) - len(own)), *steps]

    def table(extents: Mapping[str, int]) -> np.ndarray[Any, Any]:
        offsets = np.zeros((), np.int64)
        for dim, stride in zip(batch, steps, strict=True):
            offsets = offsets[..., None] + np.arange(evaluate(dim, extents), dtype=np.int64) * evaluate(stride, extents)
        return np.ascontiguousarray(offsets).reshape(-1)

    return table


class Binding:
    """A program bound to variables and extents. `call(*input arrays, *output arrays) -> status`: 0 is fine, else
    1 + (check number << 44 | element); `failure`: the exception that a callback raised."""

    def __init__(self, program: Program, variables: Mapping[Value, np.ndarray[Any, Any]], extents: Mapping[str, int],
                 run_callback: Callable[[int, Any, int], int] | None) -> None:  # fmt: skip
        self.program, self.extents = program, dict(extents)
        self.failure: BaseException | None = None
        order = program.schedule
        self._roots = order.root
        self._fixed: dict[Value, np.ndarray[Any, Any]] = dict(variables)
        for value in order.constants:
            assert value.producer is not None
            self._fixed[value] = np.ascontiguousarray(value.producer.attributes["value"]).reshape(value.type.shape)
        self._host: dict[HostRun, Any] = {}
        for run in program.steps:
            if isinstance(run, HostRun):
                own = {
                    i: variables[o]
                    for i, o in zip(run.step.graph.inputs, run.step.inputs, strict=True)
                    if o.is_variable
                }
                self._host[run] = run.program.bind(own, extents, run_callback)
        self._places, self._sizes = self._place()
        self._spare: list[_Frame] = []

    def _place(self) -> tuple[dict[Value | Buffer, int], list[tuple[DType, int]]]:
        """The number of each device array, and the arrays' dtypes and sizes. An array is used again after its value's
        last use, by a value of the same dtype and size."""
        steps, root = self.program.steps, self._roots
        last: dict[Value | Buffer, int] = {}
        for k, step in enumerate(steps):
            for value in _device_values(step):
                last[root(value) if isinstance(value, Value) else value] = k
        places: dict[Value | Buffer, int] = {}
        sizes: list[tuple[DType, int]] = []
        free: dict[tuple[DType, int], list[int]] = {}
        for k, step in enumerate(steps):
            for value in _device_values(step):
                key = root(value) if isinstance(value, Value) else value
                if key not in places:
                    size = self._size(key, step)
                    spare = free.get(size)
                    places[key] = spare.pop() if spare else len(sizes)
                    if places[key] == len(sizes):
                        sizes.append(size)
            for key in dict.fromkeys(root(v) if isinstance(v, Value) else v for v in _device_values(step)):
                if last[key] == k:
                    free.setdefault(sizes[places[key]], []).append(places[key])
        return places, sizes

    def _size(self, key: Value | Buffer, step: Any) -> tuple[DType, int]:
        if isinstance(key, Value):
            return key.type.dtype, max(1, evaluate(product(key.type.shape), self.extents))
        count = evaluate(key.elements, self.extents)
        if key.each_block:
            count *= self._blocks(next(launch for launch in step.launches if key in launch.operands))
        return key.dtype, max(1, count)

    def _blocks(self, launch: Launch) -> int:
        return min(MOST_BLOCKS, -(-evaluate(launch.elements, self.extents) // launch.unit))

    # A call -----------------------------------------------------------------------------------------------------------
    def call(self, *arrays: np.ndarray[Any, Any]) -> int:
        """Run on the input arrays, filling the output arrays and the variables. Calls of several threads wait for each
        other."""
        with _launching:
            frame = self._spare.pop() if self._spare else _Frame(self)
            try:
                return self._run(frame, arrays)
            finally:
                self._spare.append(frame)

    def _run(self, frame: _Frame, arrays: Sequence[np.ndarray[Any, Any]]) -> int:
        graph, root = self.program.graph, self._roots
        inputs = [v for v in graph.inputs if not v.is_variable]
        held = dict(self._fixed)
        held.update(zip(inputs, arrays, strict=False))
        outputs = arrays[len(inputs) :]
        frame.reset()
        for step in self.program.steps:
            if isinstance(step, Launches):
                frame.launch(step)
            elif isinstance(step, Upload):
                frame.upload(step.target, held[root(step.source)])
            else:
                status = frame.status()
                if status:
                    return status
                if isinstance(step, Download):
                    held[step.target] = frame.download(step)
                else:
                    status = self._run_host(step, held)
                    if status:
                        return status
        status = frame.status()
        if status:
            return status
        for value, array in zip(graph.outputs, outputs, strict=True):
            np.copyto(array, held[root(value)].reshape(array.shape))
        own = {id(a) for v, a in self._fixed.items() if v.is_variable}
        writes = [(held[variable], held[root(value)]) for variable, value in self.program.schedule.commits]
        writes = [
            (to, np.array(what) if id(what) in own else what) for to, what in writes
        ]  # a swap reads all before it writes
        for array, what in writes:
            np.copyto(array, what.reshape(array.shape))
        return 0

    def _run_host(self, run: HostRun, held: dict[Value, np.ndarray[Any, Any]]) -> int:
        """Run a host step; returns the status in this program's numbers."""
        binding = self._host[run]
        given = [held[self._roots(v)] for v in run.step.inputs if not v.is_variable]
        results = [
            np.empty(tuple(evaluate(d, self.extents) for d in v.type.shape), v.type.dtype.numpy)
            for v in run.step.outputs
        ]
        status = binding.call(*given, *results)
        if status:
            self.failure, binding.failure = getattr(binding, "failure", None), None
            return int(status) + (run.first_check << CHECK_SHIFT)
        held.update(zip(run.step.outputs, results, strict=True))
        return 0


def _device_values(step: Any) -> list[Value | Buffer]:
    """The values and buffers on the device that a step touches, each once."""
    if isinstance(step, Launches):
        found = [operand for launch in step.launches for operand in launch.operands]
        return list(dict.fromkeys([*found, *step.outputs]))
    if isinstance(step, Upload):
        return [step.target]
    return [step.source] if isinstance(step, Download) else []


class _Frame:
    """Device arrays of one call under way, and the launches on them."""

    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        self.module = cuda()
        self.simulated = is_simulator()
        self.arrays = [self.module.device_array(size, dtype.numpy) for dtype, size in binding._sizes]
        self.word = self.module.to_device(np.array([FINE], np.int64))
        self.unread = False
        self.tables: dict[Launch, tuple[Any, ...]] = {}
        self.grids: dict[Launch, Any] = {}

    def array(self, operand: Value | Buffer) -> Any:
        key = self.binding._roots(operand) if isinstance(operand, Value) else operand
        return self.arrays[self.binding._places[key]]

    def reset(self) -> None:
        self.word.copy_to_device(np.array([FINE], np.int64))
        self.unread = False

    def status(self) -> int:
        """Wait for the kernels; 0, or the first failed check's status."""
        if not self.unread:
            return 0
        self.unread = False
        word = int(self.word.copy_to_host()[0])
        return 0 if word == FINE else word + 1

    def upload(self, target: Value, array: np.ndarray[Any, Any]) -> None:
        if array.size:
            self.array(target).copy_to_device(np.ascontiguousarray(array).reshape(-1))

    def download(self, step: Download) -> np.ndarray[Any, Any]:
        shape = tuple(evaluate(d, self.binding.extents) for d in step.target.type.shape)
        result = np.empty(shape, step.target.type.dtype.numpy)
        if result.size:
            self.array(step.source).copy_to_host(result.reshape(-1))
        return result

    def launch(self, step: Launches) -> None:
        extents = self.binding.extents
        for launch in step.launches:
            blocks = self.binding._blocks(launch)
            if blocks == 0:
                continue
            if launch not in self.tables:
                self.tables[launch] = tuple(self.module.to_device(table(extents)) for table in launch.tables)
            arguments = [self.array(operand) for operand in launch.operands] + [*self.tables[launch]]
            if launch.first_check is not None:
                arguments += [self.word, launch.first_check]
                self.unread = True
            arguments += [evaluate(dim, extents) for dim in launch.scalars]
            self.configured(launch, blocks)(*arguments)

    def configured(self, launch: Launch, blocks: int) -> Any:
        """The kernel with its grid. Small grids are meant here, so Numba's warning about them is not shown."""
        kernel = compile_kernel(launch.name, launch.source)
        if self.simulated:  # keeps the grid in the kernel itself, so it is set for each launch
            threads = launch.threads if launch.fixed_threads else SIMULATED_THREADS
            return kernel[blocks if launch.fixed_threads else min(blocks, 2), threads]
        if launch not in self.grids:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.grids[launch] = kernel[blocks, launch.threads]
        return self.grids[launch]
