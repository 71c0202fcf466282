"""Merge common: nodes that compute the same value become one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.dims import symbol
from ..ir.graph import Graph, Node, Value, comparable
from ..ir.op import Control
from ..ir.source import merge_sources
from ..ir.walks import effect_kinds
from .manager import PassContext
from .rewriting import Rewriter, constant_value, with_subgraphs
from .subgraphs import node_structure

__all__ = ["attribute_key", "merge_common"]

#: larger arrays in attributes are the same only if they are one object: comparing bytes would cost more than a merge
#: gains
LARGEST_COMPARED = 1 << 16


def merge_common(graph: Graph, context: PassContext) -> Graph:
    """Merge pure nodes that compute the same value, and reads of one variable with no write between.

    %0 = exp x; %1 = exp x; %2 = add %0, %1   ->   %0 = exp x; %2 = add %0, %0

    The first node stays and gets the sources of the others too (constants keep their own: they stand for no work). For
    commutative ops the order of operands does not matter. Nodes of sub-graphs are merged within their graph. Branches and
    loops are the same if their sub-graphs compute the same, whatever the names and the order of nodes in them.
    """
    graph = with_subgraphs(merge_common, graph, context)
    table = _Table()
    merged: dict[Node, list[Node]] = {}
    for node in graph.nodes:
        first = table.find(node)
        if first is not None and context.spend(node.op.name, node.source):
            merged.setdefault(first, []).append(node)
            table.stands_for.update(zip(node.outputs, first.outputs, strict=True))
    return _rebuilt(graph, merged, context) if merged else graph


class _Table:
    """Nodes by what they compute, in program order."""

    def __init__(self) -> None:
        self.nodes: dict[Any, Node] = {}
        self.stands_for: dict[Value, Value] = {}
        self.writes: dict[Value, int] = {}
        self.barriers = 0

    def find(self, node: Node) -> Node | None:
        """An earlier node that computes the same, else None, and the node is entered."""
        moment: tuple[int, ...] = ()
        if not node.is_pure:
            kinds = effect_kinds(node)
            if kinds != {"read"}:
                self._record(node, kinds)
                return None
            moment = (self.barriers, *(self.writes.get(v, 0) for v in node.inputs if v.is_variable))
        stands_for = self.stands_for
        inputs = tuple([stands_for.get(v, v) for v in node.inputs])
        if node.op.commutative and len(inputs) == 2 and id(inputs[0]) > id(inputs[1]):
            inputs = inputs[::-1]
        if isinstance(node.op.kernel, Control):
            key: tuple[Any, ...] = (node_structure(node, inputs), moment)
        else:
            key = (node.op.name, inputs, attribute_key(node.attributes), moment)
        first = self.nodes.setdefault(key, node)
        return None if first is node else first

    def _record(self, node: Node, kinds: set[str]) -> None:
        if "write" in kinds:
            for value in node.inputs:
                if value.is_variable:
                    self.writes[value] = self.writes.get(value, 0) + 1
        if not kinds <= {"read", "write", "print", "assert"}:  # a Python call may write any variable
            self.barriers += 1


def attribute_key(attributes: dict[str, Any]) -> tuple[Any, ...]:
    """Something hashable that equal attributes share."""
    if not attributes:
        return ()
    if len(attributes) == 1:
        [(name, value)] = attributes.items()
        return name, _value_key(value)
    return tuple([(name, _value_key(attributes[name])) for name in sorted(attributes)])


def _value_key(value: Any) -> Any:
    kind = type(value)
    if kind is int or kind is str or kind is bool or value is None:
        return kind, value
    if kind is tuple:
        for item in value:
            if type(item) is not int:
                return kind, tuple([_value_key(item) for item in value])
        return kind, value
    if isinstance(value, np.ndarray) and value.nbytes > LARGEST_COMPARED:
        return "array", id(value)
    return comparable(value)


def _rebuilt(graph: Graph, merged: dict[Node, list[Node]], context: PassContext) -> Graph:
    gone = {node for others in merged.values() for node in others}
    rewriter = Rewriter(context, graph)
    for node in graph.nodes:
        if node in gone:
            continue
        current = rewriter.with_new_inputs(node) if rewriter.mapping else node
        others = merged.get(node)
        if others is not None and constant_value(node.outputs[0]) is None:
            source = merge_sources([node.source, *(other.source for other in others)])
            if source != node.source:
                current = Node(current.op, current.inputs, current.attributes, source, [v.type for v in node.outputs])
        rewriter.keep(node, current)
        for other in others or ():
            for name, first in zip(other.extents, node.extents, strict=True):
                rewriter.symbols[name] = rewriter.symbols.get(first, symbol(first))
            rewriter.mapping.update(zip(other.outputs, current.outputs, strict=True))
    return rewriter.finish()
