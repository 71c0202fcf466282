"""Plan memory: which buffer every value lives in.

Runs last, on a graph of kernels. Reshapes and variable reads share their operand's bytes; an intermediate gets a place in the arena
for its lifetime, in place of a dying operand where every element is read before it is written; a variable is updated in place
where no later kernel needs the old value and no run-time check could still fail, else its new value is committed at the end.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from ..ir.dims import Dim, product
from ..ir.graph import Graph, Node, Value
from ..ir.op import Alias, Control, Effect, Indexed, Library
from ..ir.region import Affine, Region, analyse, can_fail, is_interleaved

__all__ = [
    "MemoryPlan", "Place", "Temporary", "bytes_of", "direct_assigns", "elementwise", "is_fallible", "plan_memory",
    "rows_in_place",
]  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where a value's bytes are: kind "input", "variable", "constant", "output" or "temporary", and its number."""

    kind: str
    index: int


@dataclass
class Temporary:
    """An arena interval: alive from step `first` to step `last`, both included."""

    bytes: Dim
    first: int
    last: int
    owner: Value


@dataclass
class MemoryPlan:
    """places: for each value with bytes of its own (follow `root` first). commits: (variable, value) copied at the end.
    output_copies: (output number, value) copied at the end. constants: values in order of their numbers."""

    places: dict[Value, Place] = field(default_factory=dict)
    roots: dict[Value, Value] = field(default_factory=dict)
    temporaries: list[Temporary] = field(default_factory=list)
    constants: list[Value] = field(default_factory=list)
    commits: list[tuple[Value, Value]] = field(default_factory=list)
    output_copies: list[tuple[int, Value]] = field(default_factory=list)

    def root(self, value: Value) -> Value:
        while value in self.roots:
            value = self.roots[value]
        return value

    def place(self, value: Value) -> Place:
        return self.places[self.root(value)]


def bytes_of(value: Value) -> Dim:
    """A value's size in memory."""
    return product(value.type.shape) * value.type.dtype.itemsize


def is_fallible(node: Node) -> bool:
    """Can the node end the call: by a run-time check, an exception of Python that it calls, for want of memory, by an interrupt?"""
    kernel = node.op.kernel
    return bool(
        can_fail(node)
        or isinstance(kernel, Effect) and kernel.kind in ("assert", "print", "call")
        or isinstance(kernel, Control) and kernel.kind == "while"
        or node.attributes.get("extents")
        or any(map(is_fallible, (inner for graph in node.subgraphs() for inner in graph.nodes)))
    )  # fmt: skip


def plan_memory(graph: Graph) -> MemoryPlan:
    """The plan of a graph whose nodes are kernels (fused, matmul, library), reshapes, constants and effects."""
    plan = MemoryPlan()
    last_use: dict[Value, int] = {}
    assigns: dict[Value, Value] = {}
    for k, value in enumerate(graph.inputs):
        plan.places[value] = Place("variable" if value.is_variable else "input", k)
    for node in graph.nodes:
        kernel = node.op.kernel
        if isinstance(kernel, Alias) or isinstance(kernel, Effect) and kernel.kind in ("read", "copy"):
            plan.roots[node.output] = node.inputs[0]
        elif isinstance(kernel, Effect) and kernel.kind == "constant":
            plan.places[node.output] = Place("constant", len(plan.constants))
            plan.constants.append(node.output)
        elif isinstance(kernel, Effect) and kernel.kind == "write":
            assigns[node.inputs[0]] = node.inputs[1]
    rows_in_place(graph, plan, assigns)
    for step, node in enumerate(graph.nodes):
        for value in node.inputs:
            last_use[plan.root(value)] = step
    end = len(graph.nodes)
    for value in [*graph.outputs, *assigns.values()]:
        last_use[plan.root(value)] = end

    wanted_outputs: dict[Value, int] = {}
    for position, value in enumerate(graph.outputs):
        root = plan.root(value)
        if root.producer is not None and root not in plan.places and root not in wanted_outputs:
            wanted_outputs[root] = position
        else:
            plan.output_copies.append((position, value))
    wanted_variables = direct_assigns(graph, plan, assigns, wanted_outputs)

    variable_number = {v: k for k, v in enumerate(graph.inputs)}
    temporary_of: dict[Value, int] = {}
    for step, node in enumerate(graph.nodes):
        if any(plan.root(v) is not v or v in plan.places for v in node.outputs):
            continue
        region = _region(node)
        taken: set[int] = set()
        for value in node.outputs:
            if value in wanted_variables:
                plan.places[value] = Place("variable", variable_number[wanted_variables[value]])
            elif value in wanted_outputs:
                plan.places[value] = Place("output", wanted_outputs[value])
            else:
                reused = _dying_operand(node, region, value, step, plan, last_use, temporary_of, taken)
                last = last_use.get(value, step)
                if reused is None:
                    reused = len(plan.temporaries)
                    plan.temporaries.append(Temporary(bytes_of(value), step, last, value))
                else:
                    plan.temporaries[reused].last = max(plan.temporaries[reused].last, last)
                taken.add(reused)
                temporary_of[value] = reused
                plan.places[value] = Place("temporary", reused)
    for variable, value in assigns.items():
        if plan.place(value) != Place("variable", variable_number[variable]):
            plan.commits.append((variable, value))
    return plan


def rows_in_place(graph: Graph, plan: MemoryPlan, assigns: Mapping[Value, Value]) -> None:
    """An update of rows is made where the variable lies: it comes last (see passes/update_rows.py)."""
    held = {value: variable for variable, value in assigns.items()}
    read = {plan.root(v) for v in graph.outputs}
    for node in reversed(graph.nodes):
        kernel = node.op.kernel
        if isinstance(kernel, Effect) and kernel.kind == "write":
            if plan.root(node.inputs[1]) is not node.inputs[1]:  # another variable's old value
                read.add(plan.root(node.inputs[1]))
            continue
        if node.op.name != "update_rows":
            return
        variable = held.get(node.output)
        if variable is not None and plan.root(node.inputs[0]) is variable and variable not in read:
            plan.roots[node.output] = variable


def direct_assigns(
    graph: Graph, plan: MemoryPlan, assigns: Mapping[Value, Value], wanted_outputs: Container[Value]
) -> dict[Value, Value]:
    """Produced value -> the variable it may be written to at once: nothing reads the old value later, and nothing can fail any more."""
    position = {node: k for k, node in enumerate(graph.nodes)}
    last_read = {plan.root(v): step for step, n in enumerate(graph.nodes) if not _only_renames(n) for v in n.inputs}
    returned = {plan.root(v) for v in [*graph.outputs, *assigns.values()]}
    last_fallible = max((k for k, n in enumerate(graph.nodes) if is_fallible(n)), default=-1) if assigns else -1
    found: dict[Value, Value] = {}
    for variable, value in assigns.items():
        root = plan.root(value)
        producer = root.producer
        if producer is not None and position[producer] <= last_fallible:
            continue
        if producer is None or root in plan.places or root in wanted_outputs or root in found:
            continue
        if last_read.get(variable, -1) > position[producer] or variable in returned:
            continue
        own = [v for v in producer.inputs if plan.root(v) is variable]
        region = _region(producer)
        if own and (region is None or not all(elementwise(region, producer, v, root) for v in own)):
            continue
        found[root] = variable
    return found


def _only_renames(node: Node) -> bool:
    kernel = node.op.kernel
    return isinstance(kernel, Alias) or isinstance(kernel, Effect) and kernel.kind in ("read", "write", "copy")


def _region(node: Node) -> Region | None:
    if isinstance(node.op.kernel, Library) and "body" in node.attributes:
        body = node.attributes["body"]
        region = analyse(body.nodes, body.outputs)
        return region if isinstance(region, Region) else None
    return None


def elementwise(region: Region, node: Node, operand: Value, output: Value) -> bool:
    """Is each element of the operand read only where the same element of the output is written (and before it)?"""
    body = node.attributes["body"]
    inner_output = body.outputs[output.index]
    at = region.output_coordinates[inner_output]
    for outer, inner in zip(node.inputs, body.inputs, strict=True):
        if outer is operand:
            where = list(region.demands.get(inner, ()))
            own = [at]
            if is_interleaved(inner_output):  # both elements of a pair are read before both are written
                own += [(*at[:-1], Affine(1))]
            if inner.type.shape != inner_output.type.shape or not where or not set(where) <= set(own):
                return False
            if inner.type.dtype.itemsize != inner_output.type.dtype.itemsize or region.reduced:
                return False
            if any(inner in n.inputs and isinstance(n.op.kernel, Indexed) for n in body.nodes):
                return False
    return True


def _dying_operand(
    node: Node, region: Region | None, output: Value, step: int, plan: MemoryPlan, last_use: dict[Value, int],
    temporary_of: dict[Value, int], taken: set[int],
) -> int | None:  # fmt: skip
    if region is None:
        return None
    for operand in node.inputs:
        root = plan.root(operand)
        number = temporary_of.get(root)
        if number is None or number in taken or last_use.get(root) != step or plan.temporaries[number].last > step:
            continue
        same = [v for v in node.inputs if plan.root(v) is root]
        if bytes_of(root) == bytes_of(output) and all(elementwise(region, node, v, output) for v in same):
            return number
    return None
