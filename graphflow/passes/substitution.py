"""Symbols replaced by dims: in a node, in its attributes and sub-graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..ir.dims import Dim, SymbolicDim, substitute
from ..ir.graph import Graph, Node, Value
from ..ir.walks import symbols_in

__all__ = ["substituted", "substituted_graph"]

Dims = Mapping[str, Dim]


def substituted(node: Node, inputs: Sequence[Value], dims: Dims) -> Node:
    """A new node on these inputs, with symbols replaced in attributes, sub-graphs and results' types.

    A run-time extent that the node defines may only become another symbol: the name that it defines then.
    """
    attributes = {name: _value(name, value, dims) for name, value in node.attributes.items()}
    return Node(node.op, inputs, attributes, node.source, [v.type.substitute(dims) for v in node.outputs])


def substituted_graph(graph: Graph, dims: Dims) -> Graph:
    """The graph with symbols replaced, in its inputs' types too; the same object if it has none of them."""
    if dims.keys().isdisjoint(symbols_in(graph)):
        return graph
    mapping: dict[Value, Value] = {}
    for value in graph.inputs:
        mapping[value] = Value(value.type.substitute(dims), name=value.name)
    nodes = []
    for node in graph.nodes:
        new = substituted(node, [mapping[v] for v in node.inputs], dims)
        mapping.update(zip(node.outputs, new.outputs, strict=True))
        nodes.append(new)
    inputs = tuple(mapping[v] for v in graph.inputs)
    return Graph(graph.name, inputs, tuple(nodes), tuple(mapping[v] for v in graph.outputs), graph.metadata)


def _value(name: str, value: Any, dims: Dims) -> Any:
    if name == "extents":
        return tuple([str(dims.get(symbol, symbol)) for symbol in value])
    if isinstance(value, SymbolicDim):
        return substitute(value, dims)
    if isinstance(value, Graph):
        return substituted_graph(value, dims)
    return tuple([_value("", item, dims) for item in value]) if isinstance(value, tuple) else value
