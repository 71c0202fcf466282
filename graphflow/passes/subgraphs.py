"""Sub-graphs taken apart and put together: inlined into the graph around them, with fewer operands or results, with constants
inside. And what two graphs have in common, whatever their names and the order of their nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..ir.dims import Dim, SymbolicDim, substitute, symbol, symbols_of
from ..ir.graph import Graph, Node, Value, comparable
from ..ir.op import Control
from ..ir.types import TensorType
from ..ir.walks import symbols_used
from ..ops.control import switch_results, while_results
from .remove_dead import must_run
from .substitution import named, substituted

__all__ = [
    "attributes_structure",
    "bound_symbols",
    "clone_into",
    "control_kind",
    "has_control",
    "live_nodes",
    "new_switch",
    "new_while",
    "node_structure",
    "own_symbols",
    "rebuilt",
    "structure",
]


def control_kind(node: Node) -> str:
    """ "switch", "while", "call", or "" for a node without control flow."""
    kernel = node.op.kernel
    return kernel.kind if isinstance(kernel, Control) else ""


def has_control(graph: Graph) -> bool:
    """Does one of the graph's own nodes run sub-graphs?"""
    return any(isinstance(node.op.kernel, Control) for node in graph.nodes)


# Taking apart ---------------------------------------------------------------------------------------------------------


def rebuilt(
    graph: Graph,
    inputs: Sequence[Value],
    mapping: Mapping[Value, Value],
    nodes: Iterable[Node] | None = None,
    outputs: Sequence[Value] | None = None,
    first: Sequence[Node] = (),
) -> Graph:
    """The graph with other inputs: `mapping` says what stands for values of old, `first` are new nodes before the others.
    nodes, outputs: those that stay (of the old graph)."""
    known = dict(mapping)
    kept = list(first)
    for node in graph.nodes if nodes is None else nodes:
        operands = [known.get(v, v) for v in node.inputs]
        new = node
        if operands != list(node.inputs):
            new = Node(node.op, operands, node.attributes, node.source, [v.type for v in node.outputs])
            known.update(zip(node.outputs, new.outputs, strict=True))
        kept.append(new)
    results = tuple(known.get(v, v) for v in (graph.outputs if outputs is None else outputs))
    return Graph(graph.name, tuple(inputs), tuple(kept), results, graph.metadata)


def live_nodes(graph: Graph, outputs: Sequence[Value]) -> tuple[list[Node], set[Value]]:
    """The nodes that these outputs (and effects, checks, and needed extents) need, in order; and all values they read."""
    live, kept = set(outputs), list[Node]()
    needed = {name for v in outputs for dim in v.type.shape for name in symbols_of(dim)}
    for node in reversed(graph.nodes):
        if must_run(node) or not live.isdisjoint(node.outputs) or not needed.isdisjoint(node.extents):
            kept.append(node)
            live.update(node.inputs)
            if graph.extents:
                needed |= symbols_used(node)
    return kept[::-1], live


def clone_into(nodes: list[Node], graph: Graph, operands: Sequence[Value], names: Mapping[str, Dim]) -> list[Value]:
    """Append copies of the graph's nodes, on these operands and with symbols replaced; returns what stands for its outputs."""
    mapping: dict[Value, Value] = dict(zip(graph.inputs, operands, strict=True))
    known = dict(names)
    for node in graph.nodes:
        new, more = substituted(node, [mapping[v] for v in node.inputs], known)
        known.update(more)
        mapping.update(zip(node.outputs, new.outputs, strict=True))
        nodes.append(new)
    return [mapping[v] for v in graph.outputs]


def bound_symbols(graph: Graph) -> list[str]:
    """The symbols that mean something in this graph or its sub-graphs only: run-time extents and loops' own symbols."""
    found: dict[str, None] = {}
    for node in graph.nodes:
        found.update(dict.fromkeys(node.extents))
        if control_kind(node) == "while":
            found.update(dict.fromkeys(own_symbols(node)))
        for inner in node.subgraphs():
            found.update(dict.fromkeys(bound_symbols(inner)))
    return list(found)


def own_symbols(node: Node) -> list[str]:
    """The symbols of a loop's body that stand for the extents of carried values, in order of first appearance."""
    outer = {name for v in node.inputs for dim in v.type.shape for name in symbols_of(dim)}
    body = node.attributes["body"]
    carried = body.inputs[: node.attributes["carried"]]
    names = [name for v in carried for dim in v.type.shape for name in sorted(symbols_of(dim))]
    return [name for name in dict.fromkeys(names) if name not in outer]


# Putting together -----------------------------------------------------------------------------------------------------


def new_switch(node: Node, operands: Sequence[Value], branches: Sequence[Graph], kept: Sequence[int]) -> Node:
    """The `switch` with other operands (the index among them) and branches whose outputs are those of `kept`."""
    old = [node.outputs[k].type for k in kept]
    extents, _ = named(old, lambda fresh: switch_results(branches, fresh))
    return Node(node.op, operands, {"branches": tuple(branches), "extents": extents}, node.source, old)


def new_while(node: Node, operands: Sequence[Value], condition: Graph, body: Graph, kept: Sequence[int]) -> Node:
    """The `while` with other operands, and the carried values of `kept` only."""
    old = [node.outputs[k].type for k in kept]
    types = tuple(v.type for v in operands)
    extents, _ = named(old, lambda fresh: while_results(types, body, len(kept), fresh))
    attributes = {**node.attributes, "condition": condition, "body": body, "carried": len(kept), "extents": extents}
    return Node(node.op, operands, attributes, node.source, old)


# What graphs have in common -------------------------------------------------------------------------------------------


def structure(graph: Graph) -> Any:
    """Something hashable that two graphs share if they compute the same by the same nodes. The names of graphs, inputs and
    bound symbols do not count, nor sources, nor the order of nodes, except that effects and checks keep theirs."""
    return _structure(graph, {})


def node_structure(node: Node, operands: Sequence[Any]) -> Any:
    """The same for one node: what it shares with a node that computes the same from these operands."""
    return _node_structure(node, list(operands), {name: symbol(f"${k}") for k, name in enumerate(node.extents)})


def _structure(graph: Graph, names: dict[str, Dim]) -> Any:
    names = dict(names)
    number: dict[Value, Any] = {v: ("in", k) for k, v in enumerate(graph.inputs)}
    for node in graph.nodes:  # in the order of definition: it follows from the uses
        for name in node.extents:
            names[name] = _canonical(names)
    nodes: list[Any] = []

    def place(root: Node) -> None:
        stack = [root]
        while stack:
            node = stack[-1]
            if node.outputs and node.outputs[0] in number or node in done:
                stack.pop()
                continue
            missing = [v.producer for v in node.inputs if v not in number and v.producer is not None]
            if missing:
                stack.extend(reversed(missing))
                continue
            stack.pop()
            done.add(node)
            position = len(nodes)
            nodes.append(_node_structure(node, [number[v] for v in node.inputs], names))
            number.update((v, (position, v.index)) for v in node.outputs)

    done: set[Node] = set()
    for node in graph.nodes:
        if must_run(node) or not node.is_pure:
            place(node)
    for value in graph.outputs:
        if value.producer is not None:
            place(value.producer)
    inputs = tuple((v.is_variable, _type(v.type, names)) for v in graph.inputs)
    return inputs, tuple(nodes), tuple(number[v] for v in graph.outputs)


def attributes_structure(node: Node, names: Mapping[str, Dim]) -> Any:
    """Something hashable that nodes with the same attributes share, where symbols stand for dims."""
    return _attributes(node, dict(names))


def _node_structure(node: Node, operands: list[Any], names: dict[str, Dim]) -> Any:
    results = tuple([_type(v.type, names) for v in node.outputs])
    return node.op.name, tuple(operands), _attributes(node, names), results, node.device


def _attributes(node: Node, names: dict[str, Dim]) -> Any:
    inner = names
    if control_kind(node) == "while":
        inner = dict(names)
        for name in own_symbols(node):
            inner[name] = _canonical(inner)
    return tuple([(k, _value(v, names, inner)) for k, v in sorted(node.attributes.items()) if k != "extents"])


def _canonical(names: Mapping[str, Dim]) -> Dim:
    """The next name for a symbol whose own name does not count."""
    return symbol(f"${sum(str(dim).startswith('$') for dim in names.values())}")


def _type(type: TensorType, names: Mapping[str, Dim]) -> Any:
    type = type.substitute(names) if names and not type.is_static else type
    return type.dtype.short, type.shape, type.device


def _value(value: Any, names: dict[str, Dim], inner: dict[str, Dim]) -> Any:
    if isinstance(value, Graph):
        return "graph", _structure(value, inner)
    if isinstance(value, tuple):
        return "tuple", tuple([_value(item, names, inner) for item in value])
    if isinstance(value, SymbolicDim):
        return "dim", str(substitute(value, names))
    return comparable(value)
