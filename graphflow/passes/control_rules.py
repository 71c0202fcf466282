"""What the rules for control nodes share. A rule looks at one node, and at which of its results are needed, and says what may
stand for it, or None."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..ir.dims import Dim, SymbolicDim, symbol
from ..ir.graph import Graph, Node, Value
from ..ir.op import Pointwise
from .manager import PassContext
from .rewriting import Array, Rewriter, constant_value
from .subgraphs import clone_into

__all__ = ["Change", "Rule", "evaluated", "inlined", "is_small_constant", "pushed_constants"]

#: larger constants stay outside sub-graphs: nothing folds with them, and each branch would hold one
LARGEST_PUSHED = 256


@dataclass
class Change:
    """results: what stands for each of the node's results, None for those that nobody needs. node: the new node among whose
    outputs some of them are; the rules go on with it. symbols: run-time extents of the old node that are now known dims."""

    results: Sequence[Value | None]
    node: Node | None = None
    symbols: Mapping[str, Dim] = field(default_factory=dict)


Rule = Callable[[Node, list[bool], Rewriter], Change | None]


def inlined(node: Node, graph: Graph, operands: Sequence[Value], rewriter: Rewriter) -> Change:
    """The sub-graph's nodes in the node's place. A run-time extent of the node's results takes the name outside; others that
    the sub-graph defines get new names."""
    local = set(graph.extents)
    names: dict[str, Dim] = {}
    for value, result in zip(graph.outputs, node.outputs, strict=True):
        for inside, outside in zip(value.type.shape, result.type.shape, strict=True):
            is_new = isinstance(outside, SymbolicDim) and outside.text in node.extents
            if is_new and isinstance(inside, SymbolicDim) and inside.text in local and outside not in names.values():
                names.setdefault(inside.text, outside)
    for name in graph.extents:
        if name not in names:
            names[name] = symbol(rewriter.context.new_symbol())
    results = clone_into(rewriter.nodes, graph, operands, names)
    symbols: dict[str, Dim] = {}
    for value, result in zip(results, node.outputs, strict=True):
        for inside, outside in zip(value.type.shape, result.type.shape, strict=True):
            if inside != outside and isinstance(outside, SymbolicDim):
                symbols[outside.text] = inside
    return Change(results, symbols=symbols)


def is_small_constant(value: Value) -> bool:
    """May each sub-graph have the constant as a node of its own?"""
    array = constant_value(value)
    if array is None:
        producer = value.producer
        if producer is None or producer.op.name != "broadcast_to" or producer.inputs[0].type.elements != 1:
            return False
        return value.type.is_static and constant_value(producer.inputs[0]) is not None
    return array.size <= LARGEST_PUSHED


def pushed_constants(graph: Graph, operands: Mapping[Value, Value]) -> tuple[list[Node], dict[Value, Value]]:
    """New constants for a sub-graph's inputs: the nodes, and input -> value. operands: input -> the constant outside."""
    nodes: list[Node] = []
    mapping: dict[Value, Value] = {}
    for inside, outside in operands.items():
        chain = []
        producer = outside.producer
        while producer is not None:
            chain.append(producer)
            producer = producer.inputs[0].producer if producer.inputs else None
        last: Value | None = None
        for origin in reversed(chain):
            node = Node(origin.op, () if last is None else (last,), origin.attributes, origin.source)
            nodes.append(node)
            last = node.output
        assert last is not None
        mapping[inside] = last
    return nodes, mapping


def evaluated(graph: Graph, operands: Sequence[Value], context: PassContext) -> list[Array | None]:
    """The graph's outputs where constant operands decide them; None for the others. Only pointwise ops on single elements
    are computed: enough for conditions on counters."""
    known: dict[Value, Array] = {}
    for inside, outside in zip(graph.inputs, operands, strict=True):
        array = constant_value(outside)
        if array is not None and array.size == 1:
            known[inside] = array
    for node in graph.nodes:
        array = constant_value(node.outputs[0]) if node.outputs else None
        if array is not None and array.size == 1:
            known[node.output] = array
        elif (
            context.evaluate is not None
            and isinstance(node.op.kernel, Pointwise)
            and not node.op.fallible
            and node.output.type.elements == 1
            and all(v in known for v in node.inputs)
        ):
            known[node.output] = np.asarray(context.evaluate(node, [known[v] for v in node.inputs])[0])
    return [known.get(v) for v in graph.outputs]
