"""What passes that rewrite nodes share: a list of new nodes under way, constants, sub-graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..dtypes import DType, rounded
from ..ir.dims import Dim, SymbolicDim
from ..ir.graph import Graph, Node, Value
from ..ir.op import OPS, Alias, Effect, View
from ..ir.source import merge_sources
from ..ir.types import CPU, TensorType
from ..ir.walks import symbols_used
from .manager import Pass, PassContext
from .substitution import retyped, substituted

__all__ = ["Rewriter", "constant_value", "holds", "number_of", "uniform_value", "with_new_subgraphs", "with_subgraphs"]

Array = np.ndarray[Any, Any]

#: larger constants are not searched for being uniform
LARGEST_SEARCHED = 1 << 16


class Rewriter:
    """The nodes of the new graph in order, and what stands for the old graph's values."""

    def __init__(self, context: PassContext, graph: Graph) -> None:
        self.context = context
        self.graph = graph
        self.nodes: list[Node] = []
        self.mapping: dict[Value, Value] = {}
        #: run-time symbols of the old graph that are known to be other dims
        self.symbols: dict[str, Dim] = {}
        self._uniform: dict[Value, Array | None] = {}

    @cached_property
    def extents(self) -> dict[Dim, tuple[Value, int]]:
        """Symbolic extent -> a tensor that has it, and the axis: a graph input, or the result of the node that defines it."""
        found: dict[Dim, tuple[Value, int]] = {}
        for value in self.graph.inputs:
            if not value.is_variable:
                for axis, dim in enumerate(value.type.shape):
                    if isinstance(dim, SymbolicDim):
                        found.setdefault(dim, (value, axis))
        return found

    def with_new_inputs(self, node: Node) -> Node:
        """The node itself, or, where its inputs were replaced, the same node on the new ones."""
        mapping = self.mapping
        for value in node.inputs:
            if value in mapping:
                break
        else:
            if not self.symbols or self.symbols.keys().isdisjoint(symbols_used(node)):
                return node
        if self.symbols:
            new, known = substituted(node, [mapping.get(v, v) for v in node.inputs], self.symbols)
            self.symbols.update(known)
            return new
        return Node(
            node.op,
            [mapping.get(v, v) for v in node.inputs],
            node.attributes,
            node.source,
            [v.type for v in node.outputs],
        )

    def keep(self, old: Node, new: Node) -> None:
        """Append `new`, which stands for `old`."""
        self.nodes.append(new)
        if "extents" in new.attributes:
            self.note_extents(new)
        if new is not old:
            self.mapping.update(zip(old.outputs, new.outputs, strict=True))

    def note_extents(self, node: Node) -> None:
        """Remember where the run-time extents that the node defines can be read."""
        for value in node.outputs:
            for axis, dim in enumerate(value.type.shape):
                if isinstance(dim, SymbolicDim) and dim.text in node.extents:
                    self.extents.setdefault(dim, (value, axis))

    def make(self, op: str, inputs: Sequence[Value], attributes: Mapping[str, Any], *origins: Node) -> Value:
        """Append a new node with one output. Its source is that of the nodes it comes from, the first one leading."""
        source = origins[0].source if len(origins) == 1 else merge_sources([node.source for node in origins])
        node = Node(OPS[op], inputs, attributes, source)
        self.nodes.append(node)
        return node.outputs[0]

    def full(self, number: Any, type: TensorType, origin: Node) -> Value | None:
        """A tensor of one number: a constant of rank 0 and a broadcast. None on a device, where a constant would need a
        copy."""
        if type.device != CPU:
            return None
        # from this dtype, or a number that fits it
        array = rounded(number, type.dtype) if type.dtype.is_narrow else np.array(number).astype(type.dtype.numpy)
        array.flags.writeable = False
        scalar = self.make("constant", (), {"value": array}, origin)
        return self.make("broadcast_to", (scalar,), {"shape": type.shape}, origin) if type.shape else scalar

    def uniform(self, value: Value) -> Array | None:
        """uniform_value, remembered."""
        if value.producer is None or not isinstance(value.producer.op.kernel, (Effect, View, Alias)):
            return None
        if value not in self._uniform:
            self._uniform[value] = uniform_value(value)
        return self._uniform[value]

    def holds(self, value: Value, number: float) -> bool:
        """Is every element of value surely this number, bit for bit (0.0 is not -0.0)?"""
        found = self.uniform(value)
        return found is not None and holds(found, number, value.type.dtype)

    def finish(self) -> Graph:
        """The new graph, or the old one if nothing changed."""
        graph = self.graph
        if not self.mapping and len(self.nodes) == len(graph.nodes):
            for new, old in zip(self.nodes, graph.nodes, strict=True):
                if new is not old:  # without results
                    break
            else:
                return graph
        return graph.replace(self.nodes, [self.mapping.get(v, v) for v in graph.outputs])


def constant_value(value: Value) -> Array | None:
    """The array of a constant, else None."""
    producer = value.producer
    if producer is None or not isinstance(producer.op.kernel, Effect) or producer.op.kernel.kind != "constant":
        return None
    array = producer.attributes.get("value")
    return array if isinstance(array, np.ndarray) else None


def uniform_value(value: Value) -> Array | None:
    """The one element (an array of rank 0) that all elements of value surely equal bit for bit, seen through views
    (which only move elements) to a constant; else None."""
    producer = value.producer
    while producer is not None and isinstance(producer.op.kernel, (View, Alias)):
        if producer.inputs[0].type.dtype is not value.type.dtype:
            return None  # the same bytes as other elements
        value = producer.inputs[0]
        producer = value.producer
    array = constant_value(value)
    if array is None or not 0 < array.size <= LARGEST_SEARCHED:
        return None
    first = array.reshape(-1)[:1]
    if array.size > 1 and array.tobytes() != first.tobytes() * array.size:
        return None
    return first.reshape(())


def holds(array: Array, number: float, dtype: DType) -> bool:
    """Is this array of rank 0 the number, bit for bit? An infinite number is no integer's."""
    expected = number_of(number, dtype)
    return expected is not None and bool(array.tobytes() == expected.tobytes())


def number_of(number: float, dtype: DType) -> Array | None:
    """The number in this dtype; integers wrap (-1 is all ones); None where the dtype has none."""
    if not dtype.is_floating and not np.isfinite(number):
        return None
    with np.errstate(all="ignore"):  # a number beyond the dtype's range becomes infinite, quietly
        if dtype.is_narrow:
            return np.asarray(rounded(number, dtype))
        return np.array(int(number) if dtype.is_integer else number).astype(dtype.numpy)


def with_subgraphs(transform: Pass, graph: Graph, context: PassContext) -> Graph:
    """The graph with `transform` applied to the sub-graphs of its nodes (branches and bodies), innermost ones
    included, once to each: what nodes share stays shared."""
    rewriter: Rewriter | None = None
    for position, node in enumerate(graph.nodes):
        new = with_new_subgraphs(transform, node, context)
        if new is not node and rewriter is None:
            rewriter = Rewriter(context, graph)
            rewriter.nodes = list(graph.nodes[:position])
        if rewriter is not None:
            current = rewriter.with_new_inputs(new)
            if new is not node:
                current, known = retyped(current)
                rewriter.symbols.update(known)
            rewriter.keep(node, current)
    return graph if rewriter is None else rewriter.finish()


def with_new_subgraphs(transform: Pass, node: Node, context: PassContext) -> Node:
    """The node with `transform` applied to its sub-graphs. The body of a fused node is one loop nest, and stays."""
    if not node.attributes or node.op.name == "fused":
        return node
    changed: dict[str, Any] = {}
    for name, value in node.attributes.items():
        if isinstance(value, (Graph, tuple)):
            new = _transformed(transform, value, context)
            if new is not value:
                changed[name] = new
    if not changed:
        return node
    return Node(node.op, node.inputs, {**node.attributes, **changed}, node.source, [v.type for v in node.outputs])


def _transformed(transform: Pass, value: Any, context: PassContext) -> Any:
    if isinstance(value, Graph):
        key = (transform, id(value))
        if key not in context.done:
            context.done[key] = value, transform(value, context)  # the graph is kept, so that its id stays its own
        return context.done[key][1]
    if isinstance(value, tuple) and any(isinstance(item, Graph) for item in value):
        items = tuple(_transformed(transform, item, context) for item in value)
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    return value
