"""Inline calls: small functions, and those that one place calls, become part of the graph that calls them."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.dims import Dim, symbol
from ..ir.graph import Graph, Node
from .control_rules import inlined
from .manager import PassContext
from .rewriting import Rewriter, with_subgraphs
from .subgraphs import bound_symbols, control_kind
from .substitution import substituted_graph

__all__ = ["LARGEST_INLINED", "inline_calls"]

LARGEST_INLINED = 8
"""Functions of at most this many nodes (those of branches and bodies among them) are copied to every place that calls them. Eight
calls of a function of 2, 4, 8, 16 elementwise nodes, each on the last one's result, on f32[4096]: inlined 0.6, 3.1, 12, 62 us a run and
16, 19, 30, 54 ms to compile; called 2.0, 2.9, 5.7, 21 us and 25, 25, 24, 32 ms. One loop over all copies saves memory traffic while
it is short; beyond, code that stays in the cache is as fast, and is compiled once."""


def inline_calls(graph: Graph, context: PassContext) -> Graph:
    """Put a function's nodes in the place of its call.

    %0 = call x {function = graph double(y) {%0 = add y, y; return %0}}   ->   %0 = add x, x

    Other functions stay shared: their code is there once, but nothing is fused or simplified across the call.
    """
    places = _places(graph)
    return _Inliner(context, places).run(graph) if places else graph


def _places(graph: Graph) -> dict[int, int]:
    """The id of a function -> how many nodes call it, each node counted once however often its graph is held."""
    found: dict[int, int] = {}
    seen: set[int] = set()

    def visit(graph: Graph) -> None:
        if id(graph) in seen:
            return
        seen.add(id(graph))
        for node in graph.nodes:
            if not node.attributes:
                continue
            if control_kind(node) == "call":
                function = node.attributes["function"]
                found[id(function)] = found.get(id(function), 0) + 1
            for inner in node.subgraphs():
                visit(inner)

    visit(graph)
    return found


def size(graph: Graph) -> int:
    """The number of nodes with those of sub-graphs."""
    return sum(1 + sum(map(size, node.subgraphs())) for node in graph.nodes)


@dataclass
class _Inliner:
    context: PassContext
    places: dict[int, int]

    def __hash__(self) -> int:
        return id(self)

    def run(self, graph: Graph) -> Graph:
        counts = {id(n): self.places[id(n.attributes["function"])] for n in graph.nodes if control_kind(n) == "call"}
        inner = with_subgraphs(self._inside, graph, self.context)
        rewriter = Rewriter(self.context, inner)
        for old, node in zip(graph.nodes, inner.nodes, strict=True):
            current = rewriter.with_new_inputs(node)
            if id(old) in counts and self._fits(current, counts[id(old)]):
                self._inline(node, current, counts[id(old)], rewriter)
            else:
                rewriter.keep(node, current)
        return rewriter.finish()

    def _inside(self, graph: Graph, context: PassContext) -> Graph:
        return self.run(graph)

    def _fits(self, node: Node, count: int) -> bool:
        function = node.attributes["function"]
        if count > 1 and size(function) > LARGEST_INLINED:
            self.context.remark(
                "not inlined: size", f"{function.name} has {size(function)} nodes and {count} callers", [node.source]
            )
            return False
        return self.context.spend(f"inline {function.name}", node.source)

    def _inline(self, old: Node, node: Node, count: int, rewriter: Rewriter) -> None:
        function = node.attributes["function"]
        if count > 1:  # each copy gets symbols of its own
            inner = [name for name in bound_symbols(function) if name not in function.extents]
            names: dict[str, Dim] = {name: symbol(self.context.new_symbol()) for name in inner}
            function = substituted_graph(function, names) if names else function
        change = inlined(node, function, node.inputs, rewriter)
        rewriter.mapping.update((k, v) for k, v in zip(old.outputs, change.results, strict=True) if v is not None)
