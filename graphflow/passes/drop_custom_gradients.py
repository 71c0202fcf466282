"""Drop custom gradients: passes run after differentiation, so values with a gradient of their own are just values."""

from __future__ import annotations

from ..ir.graph import Graph
from .manager import PassContext
from .rewriting import Rewriter, with_subgraphs

__all__ = ["drop_custom_gradients"]


def drop_custom_gradients(graph: Graph, context: PassContext) -> Graph:
    """%1 = custom_gradient %0, x {count = 1}; use of %1   ->   use of %0

    Spends no fuel: there is no code for such a node.
    """
    graph = with_subgraphs(drop_custom_gradients, graph, context)
    if not any(node.op.name == "custom_gradient" for node in graph.nodes):
        return graph
    rewriter = Rewriter(context, graph)
    for node in graph.nodes:
        current = rewriter.with_new_inputs(node)
        if node.op.name == "custom_gradient":
            rewriter.mapping.update(zip(node.outputs, current.inputs, strict=False))
        else:
            rewriter.keep(node, current)
    return rewriter.finish()
