"""Walks over a graph that passes share: who uses what, what can be observed, which order is allowed."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .dims import Dim, SymbolicDim, symbols_of
from .graph import Graph, Node, Value
from .op import Alias, Effect, View

__all__ = [
    "definitions",
    "effect_edges",
    "effect_kinds",
    "has_side_effect",
    "may_fail",
    "observable",
    "ordering_edges",
    "positions",
    "symbols_in",
    "symbols_used",
    "topological_sort",
    "variables_of",
]

#: kinds of effects that neither order nor observe anything outside
_HARMLESS = frozenset(("copy", "constant"))


def positions(graph: Graph) -> dict[Node, int]:
    """Node -> its place in graph.nodes."""
    return {node: k for k, node in enumerate(graph.nodes)}


# Run-time extents -----------------------------------------------------------------------------------------------------


def symbols_used(node: Node) -> set[str]:
    """The symbols that the node needs the value of: in its results' types, its attributes and its sub-graphs. Those that it
    defines itself, or that are a sub-graph's own, are among them."""
    names = {name for v in node.outputs for dim in v.type.shape for name in symbols_of(dim)}
    for value in node.attributes.values():
        names |= symbols_in(value)
    return names


def symbols_in(value: Any) -> set[str]:
    """The symbols in an attribute's value: a dim, a tuple, a graph with all its nodes ..."""
    if isinstance(value, SymbolicDim):
        return symbols_of(value)
    if isinstance(value, (tuple, list)):
        return set().union(*map(symbols_in, value))
    if isinstance(value, Graph):
        return set(value.symbols).union(*map(symbols_used, value.nodes))
    return set()


def definitions(nodes: Iterable[Node]) -> dict[str, Node]:
    """Run-time symbol -> the node that defines it."""
    return {name: node for node in nodes for name in node.extents}


# Effects --------------------------------------------------------------------------------------------------------------


def effect_kinds(node: Node) -> set[str]:
    """The kinds of effects of a node and its sub-graphs: "read", "write", "print", "assert", ... Empty for a pure
    node."""
    kernel = node.op.kernel
    kinds = {kernel.kind} - _HARMLESS if isinstance(kernel, Effect) else set()
    for graph in node.subgraphs():
        for inner in graph.nodes:
            kinds |= effect_kinds(inner)
    return kinds


def has_side_effect(node: Node) -> bool:
    """Must the node run even if nobody uses its results? A read of a variable need not."""
    kernel = node.op.kernel
    if isinstance(kernel, Effect) and kernel.kind not in _HARMLESS and kernel.kind != "read":
        return True
    return any(has_side_effect(inner) for graph in node.subgraphs() for inner in graph.nodes)


#: errors that integer operands alone can cause, with the last operands that cannot cause them
_INTEGER_CHECKS: dict[str, Callable[[Any], bool]] = {
    "division_by_zero": lambda divisor: bool((divisor != 0).all()),
    "negative_exponent": lambda exponent: bool((exponent >= 0).all()),
}


def may_fail(node: Node) -> bool:
    """Can the node report a run-time error? Then it must run even if nobody uses its results: eager mode would have
    raised. Float division never fails; an integer division by constants that are not zero neither, nor a look-up at constants
    or counted positions that are inside, nor the write of a row into the stack that differentiation has made for a loop's
    values."""
    if node.op.fallible and not _is_surely_fine(node):
        return True
    return any(may_fail(inner) for graph in node.subgraphs() for inner in graph.nodes)


def _is_surely_fine(node: Node) -> bool:
    """Does what is known of the operands show that the node's check holds?"""
    if node.op.fallible == "index_out_of_range":
        if node.op.name == "update_row":
            return node.source.backward
        checks = _checked_indices(node)
        return bool(checks) and all(_is_inside(indices, extent) for indices, extent in checks)
    is_safe = _INTEGER_CHECKS.get(node.op.fallible)
    if is_safe is None or not node.inputs:
        return False
    last = node.inputs[-1]
    if not last.type.dtype.is_integer:
        return True
    number = _constant_seen_through_views(last)
    return number is not None and is_safe(number)


def _is_inside(indices: Value, extent: Dim) -> bool:
    """Are these surely in [0, extent): a constant, or positions counted along an axis?"""
    origin = _origin(indices)
    if origin is None:
        return False
    if origin.op.name == "iota":
        along = origin.output.type.shape[origin.attributes["axis"]]
        counted = along == extent or isinstance(along, int) and isinstance(extent, int) and along <= extent
        return counted and origin.output.type.dtype.itemsize >= 4  # smaller integers wrap
    array = origin.attributes["value"] if origin.op.name == "constant" else None
    return array is not None and isinstance(extent, int) and bool(((array >= 0) & (array < extent)).all())


def _checked_indices(node: Node) -> list[tuple[Value, Dim]]:
    """Indices that the node checks, with the extent they must be below; empty if unknown."""
    name = node.op.name
    if name == "gather":
        indices, extent = node.inputs[1], node.inputs[0].type.shape[node.attributes["axis"]]
    elif name in ("scatter_add", "row_sums"):
        indices, extent = node.inputs[0], node.attributes["rows"] if name == "row_sums" else node.output.type.shape[0]
    else:
        return []
    found, stack = [], [indices]
    while stack:
        value = stack.pop()
        producer = value.producer
        if producer is not None and (isinstance(producer.op.kernel, Alias) or producer.op.name == "concat"):
            stack.extend(producer.inputs)
        else:
            found.append((value, extent))
    return found


def _origin(value: Value) -> Node | None:
    """The node whose elements value has, seen through views; None: a graph input, or unknown."""
    producer = value.producer
    while producer is not None and isinstance(producer.op.kernel, (View, Alias)):
        if producer.inputs[0].type.dtype is not value.type.dtype:
            return None  # the same bytes as other elements
        producer = producer.inputs[0].producer
    return producer


def _constant_seen_through_views(value: Value) -> Any:
    """The array of the constant that value is or views, else None."""
    origin = _origin(value)
    return origin.attributes.get("value") if origin is not None and origin.op.name == "constant" else None


def variables_of(node: Node) -> tuple[Value, ...]:
    """The variables that the node reads or writes."""
    return tuple(v for v in node.inputs if v.is_variable)


def observable(nodes: Sequence[Node]) -> list[bool]:
    """For each node: can a user tell when it runs? It prints, asserts, calls Python, or may report an error, itself or in a
    sub-graph. Not so a check of indices that an earlier node has checked against the same extent."""
    checked: set[tuple[Value, Dim]] = set()
    found = []
    for node in nodes:
        seen = may_fail(node) or not effect_kinds(node) <= {"read", "write"}
        if seen and node.op.fallible == "index_out_of_range":
            checks = _checked_indices(node)
            seen = not checks or not checked.issuperset(checks)
            checked.update(checks)
        found.append(seen)
    return found


def effect_edges(nodes: Sequence[Node]) -> list[list[int]]:
    """For each node the positions of nodes that must come before it though no value leads from them to it: earlier effects.

    Reads of a variable may change places with each other and with effects that do not write; all other effects keep
    their order. So do all nodes that are `observable`: of several that fail the first one in the program is reported, and
    what it prints before that is printed."""
    edges: list[list[int]] = []
    last_effect = last_observable = last_barrier = -1
    last_write: dict[Value, int] = {}
    reads_since: dict[Value, list[int]] = {}
    reads_since_barrier: list[int] = []
    for position, (node, is_observable) in enumerate(zip(nodes, observable(nodes), strict=True)):
        before: list[int] = []
        if not node.is_pure:
            kinds = effect_kinds(node)
            variables = variables_of(node)
            if last_barrier >= 0:
                before.append(last_barrier)
            before += [last_write[v] for v in variables if v in last_write]
            if kinds == {"read"}:
                reads_since_barrier.append(position)
                for variable in variables:
                    reads_since.setdefault(variable, []).append(position)
            else:
                if last_effect >= 0:
                    before.append(last_effect)
                last_effect = position
                if not kinds <= {"read", "write", "print", "assert"}:  # may do anything: a Python call
                    before += reads_since_barrier
                    last_barrier, reads_since_barrier = position, []
                if "write" in kinds:
                    for variable in variables:
                        before += reads_since.pop(variable, ())
                        last_write[variable] = position
        if is_observable:
            if last_observable >= 0:
                before.append(last_observable)
            last_observable = position
        edges.append(before)
    return edges


def ordering_edges(nodes: Sequence[Node]) -> list[list[int]]:
    """For each node the positions of the nodes that must come before it: producers of its inputs, the nodes that define the
    run-time extents it uses, and effect_edges."""
    place = {node: k for k, node in enumerate(nodes)}
    defined = {name: place[node] for name, node in definitions(nodes).items()}
    edges = effect_edges(nodes)
    for position, (node, before) in enumerate(zip(nodes, edges, strict=True)):
        before += [place[v.producer] for v in node.inputs if v.producer is not None and v.producer in place]
        if defined:
            needs = [defined[name] for name in symbols_used(node) if name in defined]
            before += [k for k in needs if k != position]
    return edges


def topological_sort(nodes: Iterable[Node], priority: Callable[[Node], int] | None = None) -> list[Node]:
    """The nodes in an order that respects ordering_edges(); among the ready ones the lowest priority first (default:
    the given order, so a valid order stays as it is). The given order decides the order of effects. Raises ValueError
    on a cycle."""
    given = list(dict.fromkeys(nodes))
    edges = ordering_edges(given)
    rank = list(range(len(given))) if priority is None else [priority(node) for node in given]
    waiting = [len(set(before)) for before in edges]
    after: list[list[int]] = [[] for _ in given]
    for position, before in enumerate(edges):
        for earlier in set(before):
            after[earlier].append(position)
    ready = [(rank[k], k) for k, count in enumerate(waiting) if count == 0]
    heapq.heapify(ready)
    result: list[Node] = []
    while ready:
        _, position = heapq.heappop(ready)
        result.append(given[position])
        for later in after[position]:
            waiting[later] -= 1
            if waiting[later] == 0:
                heapq.heappush(ready, (rank[later], later))
    if len(result) < len(given):
        stuck = [given[k] for k, count in enumerate(waiting) if count > 0]
        raise ValueError(f"the nodes depend on each other in a circle: {stuck[:5]}")
    return result
