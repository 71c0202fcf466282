"""What the planner and the code generator need to know about graphs with control flow, and the form they need them in."""

from __future__ import annotations

from collections.abc import Iterator

from ..ir.dims import symbols_of
from ..ir.graph import Graph, Node, Value
from ..ir.op import Control, Effect, Indexed, Library, Pointwise, Reduce, View
from .fuse import fuse
from .manager import PassContext
from .remove_dead import remove_dead

__all__ = ["control_kind", "every_graph", "is_immediate", "is_scalar", "is_structured", "prepare"]

ROWS = ("update_row", "scatter_add_into", "append_row")


def control_kind(node: Node) -> str:
    """ "switch", "while", "call", or "" for any other node."""
    return node.op.kernel.kind if isinstance(node.op.kernel, Control) else ""


def is_scalar(value: Value) -> bool:
    """One element, whatever the rank: such a value is kept in a register."""
    return value.type.in_register


def inner_graphs(node: Node) -> Iterator[Graph]:
    """The sub-graphs that control flow runs (not the body of a fused node)."""
    return node.subgraphs() if isinstance(node.op.kernel, Control) else iter(())


def every_graph(graph: Graph) -> Iterator[Graph]:
    """The graph and all that it runs."""
    yield graph
    for node in graph.nodes:
        for inner in inner_graphs(node):
            yield from every_graph(inner)


def is_structured(graph: Graph) -> bool:
    """Does the graph have control flow, rows changed in place, extents that only the run decides, or Python calls?"""
    known = set(graph.symbols)
    for node in graph.nodes:
        kernel = node.op.kernel
        if isinstance(kernel, Control) or isinstance(kernel, Library) and kernel.name in ROWS:
            return True
        if isinstance(kernel, Effect) and kernel.kind == "call":
            return True
        if any(symbols_of(d) - known for v in node.outputs for d in v.type.shape if not isinstance(d, int)):
            return True
    return False


def is_immediate(graph: Graph) -> bool:
    """Must variables be read and written at once, in order: are there Python calls, which may use any of them, or accesses inside
    sub-graphs?"""
    for inner in every_graph(graph):
        for node in inner.nodes:
            kernel = node.op.kernel
            if isinstance(kernel, Effect) and (
                kernel.kind == "call" or inner is not graph and kernel.kind in ("read", "write")):  # fmt: skip
                return True
    return False


def prepare(graph: Graph) -> Graph:
    """The graph (with the same inputs) in the form that is planned: bodies hold kernels, and no two nodes share a sub-graph or a value of
    one, but for the functions that `call` nodes share."""
    return _prepared(graph, {}) if is_structured(graph) else graph


def _prepared(graph: Graph, functions: dict[Graph, Graph]) -> Graph:
    if any(isinstance(n.op.kernel, (Pointwise, Indexed, View, Reduce)) for n in graph.nodes):
        graph = fuse(remove_dead(graph, PassContext()), PassContext())
    nodes: list[Node] = []
    mapping: dict[Value, Value] = {}
    changed = False
    for node in graph.nodes:
        inputs = tuple(mapping.get(v, v) for v in node.inputs)
        if control_kind(node):
            attributes = {
                name: _renewed(value, control_kind(node), functions) for name, value in node.attributes.items()
            }
        elif inputs == node.inputs:
            nodes.append(node)
            continue
        else:
            attributes = node.attributes
        changed = True
        new = Node(node.op, inputs, attributes, node.source, [v.type for v in node.outputs])
        nodes.append(new)
        mapping.update(zip(node.outputs, new.outputs, strict=True))
    return graph.replace(nodes, [mapping.get(v, v) for v in graph.outputs]) if changed else graph


def _renewed(value: object, kind: str, functions: dict[Graph, Graph]) -> object:
    """An attribute of a control node with sub-graphs of its own."""
    if isinstance(value, (tuple, list)):
        return tuple(_renewed(item, kind, functions) for item in value)
    if not isinstance(value, Graph):
        return value
    if kind != "call":
        return _prepared(_copied(value), functions)
    if value not in functions:
        prepared = _prepared(_copied(value), functions)
        functions[value] = functions.setdefault(prepared, prepared)  # one object for equal functions
    return functions[value]


def _copied(graph: Graph) -> Graph:
    """The graph with inputs and nodes of its own."""
    mapping = {v: Value(v.type, name=v.name) for v in graph.inputs}
    inputs = tuple(mapping.values())
    nodes: list[Node] = []
    for node in graph.nodes:
        new = Node(
            node.op, [mapping[v] for v in node.inputs], node.attributes, node.source, [v.type for v in node.outputs]
        )
        nodes.append(new)
        mapping.update(zip(node.outputs, new.outputs, strict=True))
    return Graph(graph.name, inputs, tuple(nodes), tuple(mapping[v] for v in graph.outputs), graph.metadata)
