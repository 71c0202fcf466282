"""Accumulate rows: adding an array that is zero but for one row becomes adding to that row, which can be done in place."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..ir.graph import Graph, Node, Value
from ..ir.op import Alias, Control, View
from .manager import PassContext
from .rewriting import Rewriter, constant_value
from .subgraphs import control_kind

__all__ = ["accumulate_rows", "without_negative_zeros"]

_NEVER = frozenset(("absolute", "exp", "square", "scatter_add", "iota"))
"""Ops whose results hold no -0.0: a square of -0.0 is 0.0, and scatter_add adds to 0.0."""


def accumulate_rows(graph: Graph, context: PassContext) -> Graph:
    """%0 = scatter_add k, row; %1 = add acc, %0   ->   %1 = scatter_add_into acc, k, row, for one index k

    In the other rows `acc + 0.0` becomes `acc`. That is the same for every number but -0.0 (-0.0 + 0.0 is 0.0), so it is done only
    where acc surely holds none: integers; sums that began at 0.0, in a loop too, where the value before the first iteration holds
    none and each iteration keeps it so. (In the one row, 0.0 + x and x give the same sum with such a number.) A sum that began at
    -0.0, the exact unit of addition, stays as it is.
    """
    return _transformed(graph, frozenset(), context) if _has_scatters(graph) else graph


def _has_scatters(graph: Graph) -> bool:
    for node in graph.nodes:
        if (
            node.op.name == "scatter_add"
            or isinstance(node.op.kernel, Control)
            and any(map(_has_scatters, node.subgraphs()))
        ):
            return True
    return False


def _transformed(graph: Graph, safe_inputs: frozenset[Value], context: PassContext) -> Graph:
    """safe_inputs: inputs known to hold no -0.0."""
    safe = without_negative_zeros(graph, safe_inputs)
    rewriter = Rewriter(context, graph)
    for node in graph.nodes:
        current = rewriter.with_new_inputs(node)
        kind = control_kind(node)
        if kind == "call":
            current = _with_graphs(current, {"function": _shared(node, context)})
        elif kind == "switch":
            branches = [
                _transformed(b, _passed(b, node.inputs[1:], safe), context) for b in node.attributes["branches"]
            ]
            current = _with_graphs(current, {"branches": tuple(branches)})
        elif kind == "while":
            inside = _carried_safely(node, safe)
            body = node.attributes["body"]
            current = _with_graphs(
                current,
                {
                    "condition": _transformed(node.attributes["condition"], frozenset(), context),
                    "body": _transformed(body, inside, context),
                },
            )
        row = _row_of_sum(node, safe)
        if row is not None and context.spend("accumulate_rows", node.source):
            array, origin = row
            operands = [rewriter.mapping.get(v, v) for v in (array, *origin.inputs)]
            rewriter.mapping[node.output] = rewriter.make("scatter_add_into", operands, {}, node, origin)
        else:
            rewriter.keep(node, current)
    return rewriter.finish()


def _shared(node: Node, context: PassContext) -> Graph:
    """The function of a call, rewritten once for all its callers."""
    function: Graph = node.attributes["function"]
    key = (accumulate_rows, id(function))
    if key not in context.done:
        context.done[key] = function, accumulate_rows(function, context)
    return context.done[key][1]


def _with_graphs(node: Node, graphs: dict[str, Graph | tuple[Graph, ...]]) -> Node:
    if all(_same(node.attributes[name], value) for name, value in graphs.items()):
        return node
    types = [v.type for v in node.outputs]
    return Node(node.op, node.inputs, {**node.attributes, **graphs}, node.source, types)


def _same(old: object, new: object) -> bool:
    if isinstance(old, tuple) and isinstance(new, tuple):
        return all(a is b for a, b in zip(old, new, strict=True))
    return old is new


def _row_of_sum(node: Node, safe: set[Value]) -> tuple[Value, Node] | None:
    """For a sum of an array and an array with one row: the array, and the scatter_add of the row."""
    if node.op.name != "add":
        return None
    for array, other in (node.inputs, node.inputs[::-1]):
        origin = other.producer
        if origin is None or origin.op.name != "scatter_add" or origin.inputs[0].type.rank != 0:
            continue
        if array.type == other.type == node.output.type and (array in safe or not array.type.dtype.is_floating):
            return array, origin
    return None


def _passed(graph: Graph, operands: Iterable[Value], safe: set[Value]) -> frozenset[Value]:
    """The graph's inputs that get safe values."""
    return frozenset(inside for inside, outside in zip(graph.inputs, operands, strict=True) if outside in safe)


def _carried_safely(node: Node, safe: set[Value]) -> frozenset[Value]:
    """The body's inputs that hold no -0.0 in any iteration: assumed of those that start so, until the body agrees."""
    body, carried = node.attributes["body"], node.attributes["carried"]
    inside = _passed(body, node.inputs, safe)
    while True:
        after = without_negative_zeros(body, inside)
        kept = inside - {
            v for v, result in zip(body.inputs[:carried], body.outputs, strict=True) if result not in after
        }
        if kept == inside:
            return inside
        inside = kept


def without_negative_zeros(graph: Graph, inputs: Iterable[Value] = ()) -> set[Value]:
    """The values of the graph that surely hold no -0.0, given inputs that hold none."""
    safe = set(inputs)
    for node in graph.nodes:
        if len(node.outputs) == 1 and _is_safe(node, safe):
            safe.add(node.output)
        elif control_kind(node) == "while":
            inside = _carried_safely(node, safe)
            body = node.attributes["body"]
            safe.update(v for v, inner in zip(node.outputs, body.inputs, strict=False) if inner in inside)
    return safe


def _is_safe(node: Node, safe: set[Value]) -> bool:
    name, inputs = node.op.name, node.inputs
    array = constant_value(node.output)
    if array is not None:
        return array.dtype.kind in "biu" or not bool(np.any((array == 0) & np.signbit(array)))
    if isinstance(node.op.kernel, (View, Alias)):
        return inputs[0] in safe
    if name == "add":  # a sum is -0.0 only where both operands are
        return any(v in safe for v in inputs)
    if name == "scatter_add_into":
        return inputs[0] in safe
    if name in ("select", "one_hot"):
        return all(v in safe for v in inputs[1:])
    if name == "cast":
        return inputs[0].type.dtype.is_integer or inputs[0].type.dtype.is_bool
    return name in _NEVER
