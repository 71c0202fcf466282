"""Widen narrow floats: float16 and bfloat16 are stored so, computed with in float32, and rounded by each operation."""

from __future__ import annotations

from typing import Any

from ..dtypes import DType, float32
from ..ir.graph import Graph, Node, Value
from ..ir.op import OPS
from .manager import PassContext
from .rewriting import Rewriter, with_subgraphs

__all__ = ["widen_narrow"]


def widen_narrow(graph: Graph, context: PassContext) -> Graph:
    """%0: f16 = add x, y   ->   %0: f32 = cast x; %1: f32 = cast y; %2: f32 = add %0, %1; %3: f16 = cast %2

    So a chain rounds once at each operation, a reduction or a matrix product once at its end. What only moves elements or converts
    them stays (Op.takes_narrow). The pass gives programs their meaning, so it takes no fuel; it runs before all passes that
    look at what is computed, and graphs of one node, which eager mode runs, go through it too.
    """
    graph = with_subgraphs(widen_narrow, graph, context)
    if not any(map(_is_widened, graph.nodes)):
        return graph
    rewriter = Rewriter(context, graph)
    widened: dict[Value, Value] = {}

    def wide(value: Value, node: Node) -> Value:
        """The value as float32; one cast serves all its readers."""
        value = rewriter.mapping.get(value, value)
        if not value.type.dtype.is_narrow:
            return value
        if value not in widened:
            widened[value] = rewriter.make("cast", (value,), {"dtype": float32}, node)
        return widened[value]

    for node in graph.nodes:
        if not _is_widened(node):
            rewriter.keep(node, rewriter.with_new_inputs(node))
            continue
        attributes = {name: _wide_attribute(value) for name, value in node.attributes.items()}
        new = Node(node.op, [wide(v, node) for v in node.inputs], attributes, node.source)
        rewriter.nodes.append(new)
        for old, value in zip(node.outputs, new.outputs, strict=True):
            dtype = old.type.dtype
            if dtype.is_narrow:
                value = Node(OPS["cast"], (value,), {"dtype": dtype}, node.source).output
                rewriter.nodes.append(value.producer)  # type: ignore[arg-type]
            rewriter.mapping[old] = value
    return rewriter.finish()


def _is_widened(node: Node) -> bool:
    if node.op.takes_narrow:
        return False
    return any(v.type.dtype.is_narrow for v in node.inputs) or any(v.type.dtype.is_narrow for v in node.outputs)


def _wide_attribute(value: Any) -> Any:
    return float32 if isinstance(value, DType) and value.is_narrow else value
