"""Place devices: `gf.device` requests become devices in the value types, with explicit copies where a value crosses.

    with gf.device("/GPU:0"):            %0: f32[n]@GPU:0 = copy x {device="GPU:0"}
        y = gf.tanh(x)             ->    %1: f32[n]@GPU:0 = tanh %0
    return y                             %2: f32[n]       = copy %1 {device="CPU:0"}
                                         return %2

Runs first. A node without a request follows its operands: the GPU if one of them is there; operands of one element
decide only where all are such. Graph inputs and outputs, variables, constants and what is made from attributes alone
(iota) live on the CPU, and effects run there. Each value is copied once in each direction. Where the GPU has no kernel
for a node, the node stays on the CPU, with a remark.

Branches and loops run on the CPU, where the program's control flow is, and all that is in them: a request in a branch or body
leaves a remark.
"""

from __future__ import annotations

import threading
import warnings
from functools import partial
from typing import Any

from .. import config, devices
from ..dtypes import bfloat16, float16
from ..errors import FailedPreconditionError
from ..ir.graph import Graph, Node, Value
from ..ir.op import OPS, Alias, Contract, Control, Effect, Indexed, Library, Pointwise, Reduce, View
from ..ir.source import Source
from ..ir.types import CPU
from .manager import PassContext
from .rewriting import with_new_subgraphs

__all__ = ["GPU_LIBRARY", "missing_kernel", "place_devices"]

#: hand-written kernels that the GPU has too
GPU_LIBRARY = frozenset(("concat", "nest", "scatter_add"))
_warned = threading.Event()


def place_devices(graph: Graph, context: PassContext) -> Graph:
    """graph -> graph in which every node runs on one device.

    context.options["devices"]: the devices that there are; else this machine is asked, once a GPU is requested.
    Raises FailedPreconditionError for a request that cannot be met while the flag soft_placement is off.
    """
    return _Placement(graph, context).run() if _has_devices(graph) else graph


def _has_devices(graph: Graph) -> bool:
    """Is another device than the CPU asked for, or used already?"""
    for node in graph.nodes:
        if node.device is not None and node.device != CPU:
            return True
        for value in node.outputs:
            if value.type.device != CPU:
                return True
        for value in node.inputs:
            if value.type.device != CPU:
                return True
        if node.attributes and any(map(_has_devices, node.subgraphs())):
            return True
    return False


def missing_kernel(node: Node) -> str | None:
    """Why the GPU cannot run the node, or None if it can."""
    kernel = node.op.kernel
    if isinstance(kernel, Effect):
        return f"{node.op.name} acts on the host"
    if any(True for _ in node.subgraphs()) and node.op.name != "fused":
        return f"{node.op.name} holds graphs"
    for value in (*node.inputs, *node.outputs):
        dtype = value.type.dtype
        if value.is_variable or dtype.is_complex or dtype in (float16, bfloat16):
            return f"no GPU kernel for {node.op.name} on {value.type}"
    if isinstance(kernel, Library) and kernel.name not in GPU_LIBRARY:
        return f"no GPU kernel for {node.op.name}"
    if not isinstance(kernel, (Pointwise, Indexed, Reduce, View, Alias, Contract, Library)):
        return f"no GPU kernel for {node.op.name}"
    return None


def _inside(graph: Graph, context: PassContext, holder: str) -> Graph:
    """A sub-graph of a node of the op `holder`."""
    return _Placement(graph, context, holder).run() if _has_devices(graph) else graph


_INSIDE = {name: partial(_inside, holder=name) for name in ("switch", "while", "call")}


class _Placement:
    def __init__(self, graph: Graph, context: PassContext, holder: str = "") -> None:
        self.graph, self.context = graph, context
        self.holder = holder  # the op that runs this graph, on the CPU; "" for the program
        self.mapping: dict[Value, Value] = {}
        self.copies: dict[tuple[Value, str], Value] = {}
        self.written: dict[Value, Value] = {}  # variable -> the value it was given last, where that was computed
        self.nodes: list[Node] = []
        self._present: set[str] | None = None

    def run(self) -> Graph:
        for node in self.graph.nodes:
            if isinstance(node.op.kernel, Effect) and node.op.kernel.kind == "copy":
                self.explicit_copy(node)
                continue
            device = self.device_of(node)
            self.follow_state(node)
            asked = node
            if isinstance(node.op.kernel, Control):
                node = with_new_subgraphs(_INSIDE[node.op.name], node, self.context)
            inputs = [v if v.is_variable else self.on(self.mapping.get(v, v), device, node.source) for v in node.inputs]
            if inputs == list(node.inputs) and all(v.type.device == CPU for v in inputs):
                placed = node
            else:
                placed = Node(node.op, inputs, node.attributes, node.source)
            self.nodes.append(placed)
            self.mapping.update(zip(asked.outputs, placed.outputs, strict=True))
        outputs = []
        for old in self.graph.outputs:
            value = self.mapping.get(old, old)
            source = value.producer.source if value.producer is not None else Source("unknown", 1, 0)
            outputs.append(self.on(value, old.type.device, source))
        return self.graph.replace(self.nodes, outputs)

    def follow_state(self, node: Node) -> None:
        """A read after a write of a value from another device: who needs it there takes that value and not a copy of
        the copy."""
        kind = node.op.kernel.kind if isinstance(node.op.kernel, Effect) else ""
        if kind == "write":
            self.written[node.inputs[0]] = self.mapping.get(node.inputs[1], node.inputs[1])
        elif kind == "read":
            value = self.written.get(node.inputs[0])
            if value is not None and value.type.device != CPU:
                self.copies[node.output, value.type.device] = value
        elif not node.is_pure and kind not in ("print", "assert"):
            self.written.clear()  # calls of Python and sub-graphs may write any variable

    def explicit_copy(self, node: Node) -> None:
        """A copy that the user asked for: to the device it names, if that is there."""
        value = self.mapping.get(node.inputs[0], node.inputs[0])
        self.mapping[node.output] = self.on(value, self.granted(node.attributes["device"], node), node.source)

    def on(self, value: Value, device: str, source: Source) -> Value:
        """The value on a device: itself, or its copy there. The copy of a copy is the original."""
        if value.type.device == device:
            return value
        producer = value.producer
        if producer is not None and producer.op.name == "copy" and producer.inputs[0].type.device == device:
            return producer.inputs[0]
        found = self.copies.get((value, device))
        if found is None:
            copy = Node(OPS["copy"], (value,), {"device": device}, source)
            self.nodes.append(copy)
            found = self.copies[value, device] = copy.output
        return found

    def device_of(self, node: Node) -> str:
        """Where the node runs."""
        wanted = self.wanted(node)
        if wanted == CPU:
            return CPU
        reason = missing_kernel(node)
        if reason is not None:
            if not isinstance(node.op.kernel, Effect):
                self.context.remark("placement: no GPU kernel", f"{reason}; it runs on the CPU", [node.source])
            return CPU
        return wanted

    def wanted(self, node: Node) -> str:
        if not node.inputs:
            return CPU  # made where the program starts, copied to where it is used
        if node.device is not None:
            return self.granted(node.device, node)
        operands = [self.mapping.get(v, v) for v in node.inputs if not v.is_variable]
        deciding = [v for v in operands if v.type.elements != 1] or operands
        return next((v.type.device for v in deciding if v.type.device != CPU), CPU)

    def granted(self, device: str, node: Node) -> str:
        """The device if it is there; else the CPU, said once a process and in a remark each time."""
        if device in self.present():
            if not self.holder or device == CPU:
                return device
            where = f"{node.op.name} stands in a {self.holder}, which runs on the CPU"
            self.context.remark("placement: softened", f"/{device} was asked for, but {where}", [node.source])
            return CPU
        problem = f"/{device} was asked for, and no such device can be used here"
        step = "pip install 'graphflow[cuda]' on a machine with an NVIDIA GPU and its driver"
        if not config.flags().soft_placement:
            error = FailedPreconditionError(problem)
            error.place, error.hint = node.source, f"{step}, or allow soft_placement"
            raise error
        self.context.remark("placement: softened", f"{problem}; {node.op.name} runs on the CPU", [node.source])
        if not _warned.is_set():
            _warned.set()
            warnings.warn(f"{problem}; its operations run on the CPU (first at {node.source.location}). Next: {step}",
                          RuntimeWarning, stacklevel=2)  # fmt: skip
        return CPU

    def present(self) -> set[str]:
        if self._present is None:
            given: Any = self.context.options.get("devices")
            names = (d.name.removeprefix("/physical_device:") for d in devices.list_physical_devices())
            self._present = set(names if given is None else given)
        return self._present
