"""A placed graph as steps: kernels on the GPU, copies, and stretches of host nodes that become one CPU program each.

Nodes are ordered so that the steps are few: all kernels that can run, then all host nodes that can, and so on. Effects
keep their order. Reads, writes and constants are no steps: the program that runs the steps reads variables first and
writes them last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ...ir.graph import Graph, Node, Value
from ...ir.op import OPS, Alias, Effect, Indexed
from ...ir.types import CPU

__all__ = ["Download", "HostStep", "KernelStep", "Schedule", "Upload", "inline_scalars", "schedule"]


@dataclass(frozen=True, eq=False)
class KernelStep:
    """A node that the GPU computes."""

    node: Node


@dataclass(frozen=True, eq=False)
class Upload:
    """A copy from the host to the GPU."""

    source: Value
    target: Value


@dataclass(frozen=True, eq=False)
class Download:
    """A copy from the GPU to the host."""

    source: Value
    target: Value


@dataclass(frozen=True, eq=False)
class HostStep:
    """Host nodes in order, as a graph of their own whose inputs stand for `inputs` and whose outputs for `outputs`."""

    graph: Graph
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


Step = KernelStep | Upload | Download | HostStep


@dataclass
class Schedule:
    """roots: value -> the value whose bytes it shares (a read its variable, a reshape on the GPU its operand). commits:
    (variable, value) to write at the end."""

    steps: list[Step] = field(default_factory=list)
    roots: dict[Value, Value] = field(default_factory=dict)
    constants: list[Value] = field(default_factory=list)
    commits: list[tuple[Value, Value]] = field(default_factory=list)

    def root(self, value: Value) -> Value:
        while value in self.roots:
            value = self.roots[value]
        return value


def effect_kind(node: Node) -> str:
    return node.op.kernel.kind if isinstance(node.op.kernel, Effect) else ""


def device_of(node: Node) -> str:
    """The device that runs the node."""
    return node.outputs[0].type.device if node.outputs else CPU


def schedule(graph: Graph) -> Schedule:
    """The steps that compute a placed, fused graph."""
    plan = Schedule()
    waiting: dict[str, list[Node]] = {"gpu": [], "host": []}
    known = set(graph.inputs)
    order = {node: k for k, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        kind = effect_kind(node)
        if kind == "read" or kind == "copy" and node.inputs[0].type.device == node.output.type.device:
            plan.roots[node.output] = node.inputs[0]
        elif kind == "constant":
            plan.constants.append(node.output)
            known.add(node.output)
        elif kind == "write":
            plan.commits.append((node.inputs[0], node.inputs[1]))
        elif kind == "copy":
            waiting["host" if node.output.type.device == CPU else "gpu"].append(node)
        elif isinstance(node.op.kernel, Alias) and device_of(node) != CPU:
            plan.roots[node.output] = node.inputs[0]
        else:
            waiting["host" if device_of(node) == CPU else "gpu"].append(node)
    effects = [n for n in graph.nodes if not n.is_pure and effect_kind(n) not in ("read", "write")]
    before = dict(zip(effects[1:], effects, strict=False))
    done: set[Node] = set()

    def take(side: str) -> list[Node]:
        """All nodes of this side that can run, in an order in which they can."""
        found: list[Node] = []
        progress = True
        while progress:
            progress = False
            for node in list(waiting[side]):
                if all(plan.root(v) in known for v in node.inputs) and (node not in before or before[node] in done):
                    found.append(node)
                    waiting[side].remove(node)
                    done.add(node)
                    known.update(node.outputs)
                    progress = True
        return found

    while any(waiting.values()):
        gpu, host = take("gpu"), take("host")
        if not gpu and not host:
            raise AssertionError("a cycle between devices")
        for node in gpu:
            plan.steps.append(Upload(node.inputs[0], node.output) if effect_kind(node) == "copy" else KernelStep(node))
        plan.steps += [Download(n.inputs[0], n.output) for n in host if effect_kind(n) == "copy"]
        rest = sorted((n for n in host if effect_kind(n) != "copy"), key=order.__getitem__)
        if rest:
            plan.steps.append(_host_step(graph, rest, plan))
    return plan


def _host_step(graph: Graph, nodes: list[Node], plan: Schedule) -> HostStep:
    """The nodes as a graph with fresh inputs."""
    inside = set(nodes)
    inner: dict[Value, Value] = {}
    outer: list[Value] = []
    clones: list[Node] = []
    for node in nodes:
        for value in node.inputs:
            if value not in inner:
                inner[value] = Value(value.type, name=f"x{len(outer)}")
                outer.append(value)
        clone = Node(
            node.op, [inner[v] for v in node.inputs], node.attributes, node.source, [v.type for v in node.outputs]
        )
        clones.append(clone)
        inner.update(zip(node.outputs, clone.outputs, strict=True))
    needed = {plan.root(v) for v in graph.outputs} | {plan.root(value) for _, value in plan.commits}
    for node in graph.nodes:
        if node not in inside:
            needed.update(plan.root(v) for v in node.inputs)
    outputs = [v for n in nodes for v in n.outputs if v in needed]
    body = Graph("host", tuple(inner[v] for v in outer), tuple(clones), tuple(inner[v] for v in outputs))
    return HostStep(body, tuple(outer), tuple(outputs))


def inline_scalars(graph: Graph) -> Graph:
    """Put constants of one element into the GPU kernels that read them, as the fusion pass does on the CPU.

    %0 = constant {value=f32 2.0}; %1 = copy %0; %2 = fused x, %1 {...}   ->   %2 = fused x {... constant ...}
    """
    mapping: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(mapping.get(v, v) for v in node.inputs)
        if node.op.name == "fused" and device_of(node) != CPU:
            node = _with_constants(node, inputs)
        elif inputs != node.inputs:
            node = Node(node.op, inputs, node.attributes, node.source, [v.type for v in node.outputs])
        nodes.append(node)
        original = graph.nodes[len(nodes) - 1]
        mapping.update(zip(original.outputs, node.outputs, strict=True))
    outputs = [mapping.get(v, v) for v in graph.outputs]
    return graph.replace(_used(nodes, outputs), outputs)


def _with_constants(node: Node, inputs: tuple[Value, ...]) -> Node:
    body: Graph = node.attributes["body"]
    read_in_place = {v for n in body.nodes if isinstance(n.op.kernel, Indexed) for v in n.inputs}
    constants: dict[Value, Node] = {}
    for actual, formal in zip(inputs, body.inputs, strict=True):
        array = _constant_of(actual)
        if array is not None and formal not in read_in_place and formal not in body.outputs:
            constants[formal] = Node(OPS["constant"], (), {"value": array}, node.source, [formal.type])
    if not constants and inputs == node.inputs:
        return node
    stands_for = {formal: constant.output for formal, constant in constants.items()}
    clones: list[Node] = list(constants.values())
    for inner in body.nodes:
        clone = Node(
            inner.op,
            [stands_for.get(v, v) for v in inner.inputs],
            inner.attributes,
            inner.source,
            [v.type for v in inner.outputs],
        )
        clones.append(clone)
        stands_for.update(zip(inner.outputs, clone.outputs, strict=True))
    formals = tuple(v for v in body.inputs if v not in constants)
    actuals = tuple(a for a, f in zip(inputs, body.inputs, strict=True) if f not in constants)
    new = Graph(body.name, formals, tuple(clones), tuple(stands_for.get(v, v) for v in body.outputs))
    return Node(node.op, actuals, {"body": new}, node.source, [v.type for v in node.outputs])


def _constant_of(value: Value) -> Any:
    """The array of a copied constant of one element, or None."""
    copied = value.producer
    if copied is None or effect_kind(copied) != "copy":
        return None
    producer = copied.inputs[0].producer
    if producer is None or effect_kind(producer) != "constant" or producer.output.type.elements != 1:
        return None
    return producer.attributes["value"]


def _used(nodes: Iterable[Node], outputs: Iterable[Value]) -> list[Node]:
    """The nodes without copies and constants that nothing reads any more."""
    nodes = list(nodes)
    used = set(outputs)
    kept = []
    drop: Callable[[Node], bool] = lambda n: effect_kind(n) in ("copy", "constant") and n.output not in used  # noqa: E731
    for node in reversed(nodes):
        if not drop(node):
            kept.append(node)
            used.update(node.inputs)
    return kept[::-1]
