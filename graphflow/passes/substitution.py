"""Symbols replaced by dims, in nodes and their sub-graphs, and what becomes known thereby.

A run-time extent of a branch's or function's result may become known when something inside becomes known: where both branches now
give f32[m], the result is no longer f32[u0]. So the results' types of a control node are worked out anew, and its run-time extents
that are gone are replaced in what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..ir.dims import Dim, SymbolicDim, substitute, symbol
from ..ir.graph import Graph, Node, Value
from ..ir.op import Control
from ..ir.types import TensorType
from ..ir.walks import symbols_in
from ..ops.control import call_results, switch_results, while_results

__all__ = ["named", "retyped", "substituted", "substituted_graph"]

Symbols = Mapping[str, Dim]


def substituted(node: Node, inputs: Sequence[Value], symbols: Symbols) -> tuple[Node, dict[str, Dim]]:
    """A new node on these inputs, with symbols replaced in attributes, sub-graphs and results' types; and what its run-time extents
    are that are known now. One that the node goes on defining may only become another symbol."""
    attributes = {name: _value(name, value, symbols) for name, value in node.attributes.items()}
    new = Node(node.op, inputs, attributes, node.source, [v.type.substitute(symbols) for v in node.outputs])
    return retyped(new)


def substituted_graph(graph: Graph, symbols: Symbols) -> Graph:
    """The graph with symbols replaced, in its inputs' types too; the same object if it has none of them."""
    if symbols.keys().isdisjoint(symbols_in(graph)):
        return graph
    known = dict(symbols)
    mapping: dict[Value, Value] = {}
    for value in graph.inputs:
        mapping[value] = Value(value.type.substitute(known), name=value.name)
    nodes = []
    for node in graph.nodes:
        new, more = substituted(node, [mapping[v] for v in node.inputs], known)
        known.update(more)
        mapping.update(zip(node.outputs, new.outputs, strict=True))
        nodes.append(new)
    inputs = tuple(mapping[v] for v in graph.inputs)
    return Graph(graph.name, inputs, tuple(nodes), tuple(mapping[v] for v in graph.outputs), graph.metadata)


def _value(name: str, value: Any, symbols: Symbols) -> Any:
    if name == "extents":
        return tuple([str(symbols.get(each, each)) for each in value])
    if isinstance(value, SymbolicDim):
        return substitute(value, symbols)
    if isinstance(value, Graph):
        return substituted_graph(value, symbols)
    return tuple([_value("", item, symbols) for item in value]) if isinstance(value, tuple) else value


def retyped(node: Node) -> tuple[Node, dict[str, Dim]]:
    """The node with the types that its sub-graphs, as they are now, give its results; and what its run-time extents are that are
    known now."""
    if not isinstance(node.op.kernel, Control) or not node.extents:
        return node, {}
    attributes = node.attributes
    results: Callable[[Callable[[], Dim]], Sequence[TensorType]]
    if node.op.kernel.kind == "switch":
        results = lambda fresh: switch_results(attributes["branches"], fresh)  # noqa: E731
    elif node.op.kernel.kind == "while":
        types = tuple(v.type for v in node.inputs)
        results = lambda fresh: while_results(types, attributes["body"], attributes["carried"], fresh)  # noqa: E731
    else:
        results = lambda fresh: call_results(attributes["function"], fresh)  # noqa: E731
    old = [v.type for v in node.outputs]
    extents, known = named(old, results)
    if not known:
        return node, {}
    new = [t.substitute(known) for t in old]
    return Node(node.op, node.inputs, {**attributes, "extents": extents}, node.source, new), known


def named(
    old: Sequence[TensorType], results: Callable[[Callable[[], Dim]], Sequence[TensorType]]
) -> tuple[tuple[str, ...], dict[str, Dim]]:
    """The attribute `extents` that gives the results the symbols that they have in the types `old`; and what the symbols are that
    none of them has any more. results: works out the types with a function that makes run-time extents."""
    fresh: list[SymbolicDim] = []

    def make() -> Dim:
        fresh.append(symbol(f"${len(fresh)}"))
        return fresh[-1]

    found: dict[Dim, str] = {}
    known: dict[str, Dim] = {}
    for before, after in zip(old, results(make), strict=True):
        for dim, now in zip(before.shape, after.shape, strict=True):
            if now in fresh:
                name = found.setdefault(now, str(dim))
                if name != str(dim):
                    known[str(dim)] = symbol(name)
            elif dim != now and isinstance(dim, SymbolicDim) and dim.text.isidentifier():
                known.setdefault(dim.text, substitute(now, {str(k): symbol(v) for k, v in found.items()}))
    return tuple(found[dim] for dim in fresh), known
