"""Control nodes with fewer results: what computes again a loop or a choice asks for some of its results only."""

from __future__ import annotations

from collections.abc import Iterable

from ..ir.dims import symbols_of
from ..ir.graph import Graph, Node, Value
from ..ir.op import Control

__all__ = ["narrowed", "operands_of"]


def operands_of(value: Value) -> list[Value]:
    """The operands of a value's node that the value depends on: of a control node those that lead to this result."""
    node = value.producer
    if node is None:
        return []
    if not isinstance(node.op.kernel, Control):
        return list(node.inputs)
    return [node.inputs[k] for k in sorted(_kept(node, {value.index})[1])]


def _inputs_behind(graph: Graph, outputs: Iterable[Value]) -> set[int]:
    """The numbers of the inputs that outputs, and the graph's effects, depend on."""
    seen: set[Value] = set()
    stack = [*outputs, *(v for node in graph.nodes if not node.is_pure for v in node.inputs)]
    while stack:
        value = stack.pop()
        if value not in seen:
            seen.add(value)
            stack.extend(operands_of(value))
    return {k for k, v in enumerate(graph.inputs) if v in seen}


def _kept(node: Node, used: set[int]) -> tuple[set[int], set[int]]:
    """(the results that these results need, themselves included, the operands that they need)."""
    kind = node.op.kernel.kind  # type: ignore[attr-defined]
    attributes = node.attributes
    if kind == "switch":
        found = {0}
        for branch in attributes["branches"]:
            found |= {k + 1 for k in _inputs_behind(branch, [branch.outputs[r] for r in used])}
        return used, found
    if kind == "call":
        return set(range(len(node.outputs))), set(range(len(node.inputs)))
    body, carried = attributes["body"], attributes["carried"]
    results = set(used)
    found = _inputs_behind(attributes["condition"], attributes["condition"].outputs)
    while True:
        results |= {k for k in found if k < carried}
        more = found | results | _inputs_behind(body, [body.outputs[k] for k in results])
        if more == found:
            return results, found
        found = more


def _part(graph: Graph, inputs: Iterable[int], outputs: Iterable[int]) -> Graph:
    """The graph with some of its inputs and outputs, and the nodes between them."""
    results = [graph.outputs[k] for k in outputs]
    used: dict[Node, set[int]] = {}
    seen: set[Value] = set()
    stack = list(results)
    for node in graph.nodes:
        if not node.is_pure:
            used[node] = set(range(len(node.outputs)))
            stack.extend(node.inputs)
    while stack:
        value = stack.pop()
        if value not in seen:
            seen.add(value)
            if value.producer is not None:
                used.setdefault(value.producer, set()).add(value.index)
            stack.extend(operands_of(value))
    mapping: dict[Value, Value] = {}
    nodes = []
    for node in graph.nodes:
        if node in used:
            part, kept = narrowed(node, used[node]) or (node, range(len(node.outputs)))
            operands = [mapping.get(v, v) for v in part.inputs]
            if part is not node or operands != list(part.inputs):
                types = [v.type for v in part.outputs]
                moved = Node(part.op, operands, part.attributes, part.source, types)
                moved.device, part = part.device, moved
                mapping.update((node.outputs[k], v) for k, v in zip(kept, part.outputs, strict=True))
            nodes.append(part)
    return Graph(
        graph.name,
        tuple(graph.inputs[k] for k in inputs),
        tuple(nodes),
        tuple(mapping.get(v, v) for v in results),
        graph.metadata,
    )


def narrowed(node: Node, used: set[int]) -> tuple[Node, list[int]] | None:
    """A node with only these results (and those that they need), and which of the old ones its results are; None where
    nothing can go. The new node is of the same trace; its results are new values."""
    if not isinstance(node.op.kernel, Control) or node.op.kernel.kind == "call":
        return None
    results, operands = _kept(node, used)
    if len(results) == len(node.outputs) and len(operands) == len(node.inputs):
        return None
    kept = sorted(results)
    if node.op.kernel.kind == "switch":
        inputs = sorted(k - 1 for k in operands if k)
        branches = tuple(_part(branch, inputs, kept) for branch in node.attributes["branches"])
        attributes = {**node.attributes, "branches": branches}
        operands_kept = [0, *(k + 1 for k in inputs)]
    else:
        carried = node.attributes["carried"]
        inputs = [*kept, *sorted(k for k in operands if k >= carried)]
        body = _part(node.attributes["body"], inputs, kept)
        condition = _part(node.attributes["condition"], inputs, [0])
        first, count = body.metadata.get("variables", (carried, 0))
        places = [position for position, k in enumerate(kept) if first <= k < first + count]
        metadata = {**body.metadata, "variables": (places[0] if places else len(kept), len(places))}
        body = Graph(body.name, body.inputs, body.nodes, body.outputs, metadata)
        attributes = {**node.attributes, "body": body, "condition": condition, "carried": len(kept)}
        operands_kept = inputs
    types = [node.outputs[k].type for k in kept]
    named = {name for t in types for dim in t.shape for name in symbols_of(dim)}
    attributes["extents"] = tuple(name for name in node.extents if name in named)
    new = Node(node.op, [node.inputs[k] for k in operands_kept], attributes, node.source, types)
    new.device = node.device
    return new, kept
