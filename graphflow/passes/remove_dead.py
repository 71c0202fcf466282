"""Remove dead: nodes whose results nobody needs."""

from __future__ import annotations

from ..ir.graph import Graph, Node
from ..ir.walks import definitions, has_side_effect, may_fail, symbols_in, symbols_used
from .manager import PassContext
from .rewriting import with_subgraphs

__all__ = ["must_run", "remove_dead"]


def remove_dead(graph: Graph, context: PassContext) -> Graph:
    """Drop nodes that neither the outputs nor an effect depend on.

    %0 = exp x; %1 = negative x; return %1   ->   %1 = negative x; return %1

    What stays: writes, prints, asserts and other effects, and checks, that is nodes that can fail at run time (an
    integer division, a gather), because eager mode would have raised; and nodes that define a run-time extent that is
    needed. A read of a variable that nobody uses goes, and a loop without effects and checks (loops are taken to end).
    Inputs stay: callers pass them.
    """
    graph = with_subgraphs(remove_dead, graph, context)
    live = set(graph.outputs)
    defined = definitions(graph.nodes)
    needed = symbols_in(tuple(dim for v in graph.outputs for dim in v.type.shape)) if defined else set[str]()
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        for value in node.outputs:
            if value in live:
                break
        else:
            if (
                not must_run(node)
                and needed.isdisjoint(node.extents)
                and context.spend(f"drop {node.op.name}", node.source)
            ):
                continue
        kept.append(node)
        live.update(node.inputs)
        if defined:
            needed |= symbols_used(node)
    if len(kept) == len(graph.nodes):
        return graph
    return graph.replace(kept[::-1])


def must_run(node: Node) -> bool:
    """Does leaving the node out change what the user sees?"""
    return has_side_effect(node) or may_fail(node)
