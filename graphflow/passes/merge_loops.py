"""Merge loops: a loop (or branch node) that another one computes along with more results goes.

Differentiating a loop runs it again in an augmented form: the same operands, condition and steps, and besides them stacks that keep
what the backward loop needs. Then the original is the augmented one restricted to some of its carried values.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..ir.dims import Dim, SymbolicDim, substitute
from ..ir.graph import Graph, Node, Value
from ..ir.source import merge_sources
from ..ir.walks import may_fail, observable, symbols_used, topological_sort
from .manager import PassContext
from .rewriting import Rewriter, with_subgraphs
from .subgraphs import attributes_structure, control_kind, has_control, own_symbols

__all__ = ["merge_loops"]

Symbols = dict[str, Dim]
#: a sub-graph of the smaller node, a value in it, and the value of the larger node's sub-graph that should equal it
Work = tuple[Graph, Value, Value]


def merge_loops(graph: Graph, context: PassContext) -> Graph:
    """Replace a `while` or `switch` by a larger one that has its results.

    %0 = while(a) {a < c} {a * b}                         %0, %1 = while(a, s) {a < c} {a * b, append_row(s, a)}
    %1, %2 = while(a, s) {a < c} {a * b, append_row(s, a)}  ->  (and %0 for the smaller loop's result)

    Both must be pure. The names of inputs, the order of nodes and what only the larger one computes do not count; all else does.
    The larger one moves up to the place of the smaller one, unless it can fail in ways of its own and something observable
    stands between.
    """
    graph = with_subgraphs(merge_loops, graph, context)
    if not has_control(graph):
        return graph
    while True:
        merged = _merge_one(graph, context)
        if merged is None:
            return graph
        graph = merged


def _merge_one(graph: Graph, context: PassContext) -> Graph | None:
    nodes = [n for n in graph.nodes if control_kind(n) in ("switch", "while") and n.is_pure]
    for small in nodes:
        for large in nodes:
            if small is large or small.op is not large.op or not set(small.inputs) <= set(large.inputs):
                continue
            if len(small.outputs) > len(large.outputs) or _depends(graph, large, small):
                continue
            match = _Match(small, large)
            found = match.results()
            if found is None or not _may_move_up(graph, small, large, match):
                continue
            new = _replaced(graph, small, large, found, match.outer_symbols(found), context)
            if new is not None:
                return new
    return None


def _depends(graph: Graph, node: Node, on: Node) -> bool:
    """Does the node need the other one's results, or run-time extents?"""
    behind, names = {on}, set(on.extents)
    for other in graph.nodes:
        if other is on:
            continue
        if any(v.producer in behind for v in other.inputs) or (names and not names.isdisjoint(symbols_used(other))):
            if other is node:
                return True
            behind.add(other)
            names |= set(other.extents)
    return False


def _may_move_up(graph: Graph, small: Node, large: Node, match: _Match) -> bool:
    """Is nothing that can be observed between the nodes, or can the larger one fail only where the smaller one does?"""
    first, last = graph.nodes.index(small), graph.nodes.index(large)
    own = {other for _, other in match.pairs}
    if last < first or all(node in own or not may_fail(node) for part in large.subgraphs() for node in part.nodes):
        return True
    return not any(observable(graph.nodes)[first + 1 : last])


def _replaced(
    graph: Graph, small: Node, large: Node, found: list[int], symbols: Symbols | None, context: PassContext
) -> Graph | None:
    """The graph with the larger node in the place of the first of both; None where dependencies forbid it, or there is no fuel."""
    if symbols is None:
        return None
    rewriter = Rewriter(context, graph)
    rewriter.symbols.update(symbols)
    source = merge_sources([large.source, small.source])
    both = Node(large.op, large.inputs, large.attributes, source, [v.type for v in large.outputs])
    rewriter.mapping.update(zip(large.outputs, both.outputs, strict=True))
    rewriter.mapping.update((v, both.outputs[k]) for v, k in zip(small.outputs, found, strict=True))
    for node in graph.nodes:
        if node is not small and node is not large:
            rewriter.keep(node, rewriter.with_new_inputs(node))
        elif both not in rewriter.nodes:  # the larger one does not depend on the other, so its operands stay
            rewriter.nodes.append(both)
    try:
        nodes = topological_sort(rewriter.nodes)
    except ValueError:
        return None  # it needs what has to come later
    if not context.spend(f"merge {small.op.name}", small.source):
        return None
    return graph.replace(nodes, [rewriter.mapping.get(v, v) for v in graph.outputs])


class _Match:
    """The attempt to find a node in a larger one of its kind.

    Pairs of values are taken to be equal and followed to their operands; what is met on the way has to be equal too. A carried
    value of one loop is paired with one of the other that starts the same; then what the bodies give for them has to be equal.
    """

    def __init__(self, small: Node, large: Node) -> None:
        self.small, self.large = small, large
        self.kind = control_kind(small)
        self.shift = 1 if self.kind == "switch" else 0
        self.own = set(own_symbols(small)) if self.kind == "while" else set[str]()
        self.places: dict[int, int] = {}  # carried value of the small loop -> of the large one
        self.pairs: dict[tuple[Node, Node], None] = {}  # nodes taken to be equal
        self.symbols: Symbols = {}  # symbol of the small node's graphs -> dim of the large one's

    def results(self) -> list[int] | None:
        """For each result of the small node the one of the large node that equals it, or None."""
        if self.kind == "switch":
            return self._switch_results()
        left, right = self.small.attributes, self.large.attributes
        if not self._attempt([(left["condition"], left["condition"].outputs[0], right["condition"].outputs[0])]):
            return None
        for k in range(left["carried"]):
            if k not in self.places and not self._place(k):
                return None
        if not self._checks_are_met():
            return None
        return [self.places[k] for k in range(left["carried"])]

    def _switch_results(self) -> list[int] | None:
        if self.small.inputs[0] is not self.large.inputs[0]:
            return None
        left, right = self.small.attributes["branches"], self.large.attributes["branches"]
        if len(left) != len(right):
            return None
        found = []
        for k in range(len(self.small.outputs)):
            for place in self._near(k, len(self.large.outputs)):
                if self._attempt([(a, a.outputs[k], b.outputs[place]) for a, b in zip(left, right, strict=True)]):
                    found.append(place)
                    break
            else:
                return None
        return found if self._checks_are_met() else None

    def _place(self, k: int) -> bool:
        """Find a carried value of the large loop that starts as value k of the small one and stays equal to it."""
        return any(
            self._attempt([], (k, place))
            for place in self._near(k, self.large.attributes["carried"])
            if self.large.inputs[place] is self.small.inputs[k]
        )

    @staticmethod
    def _near(k: int, count: int) -> Iterator[int]:
        """The places, k first."""
        yield from (k, *range(k), *range(k + 1, count)) if k < count else range(count)

    def _attempt(self, work: list[Work], pair: tuple[int, int] | None = None) -> bool:
        """Take these pairs of values, and of carried values, to be equal; if that fails, everything is as before."""
        before = dict(self.places), dict(self.pairs), dict(self.symbols)
        more = [] if pair is None else self._paired(*pair)
        if more is not None and self._equal([*work, *more]) and self._attributes_agree():
            return True
        self.places, self.pairs, self.symbols = before
        return False

    def _paired(self, k: int, place: int) -> list[Work] | None:
        left, right = self.small.attributes["body"], self.large.attributes["body"]
        if self.small.inputs[k] is not self.large.inputs[place]:
            return None
        for dim, other in zip(left.inputs[k].type.shape, right.inputs[place].type.shape, strict=True):
            if (
                isinstance(dim, SymbolicDim)
                and dim.text in self.own
                and self.symbols.setdefault(dim.text, other) != other
            ):
                return None
        self.places[k] = place
        return [(left, left.outputs[k], right.outputs[place])]

    def _equal(self, work: list[Work]) -> bool:
        """Take these pairs of values (of the small node's graph, and of its counterpart) to be equal, and what follows."""
        work = list(work)
        while work:
            graph, left, right = work.pop()
            if left.producer is None or right.producer is None:
                if left.producer is not right.producer:
                    return False
                more = self._equal_inputs(graph, left, right)
                if more is None:
                    return False
                work += more
                continue
            one, other = left.producer, right.producer
            if left.index != right.index or one.op is not other.op or len(one.inputs) != len(other.inputs):
                return False
            if (one, other) not in self.pairs:
                self.pairs[one, other] = None
                if len(one.extents) != len(other.extents):
                    return False
                work += [(graph, a, b) for a, b in zip(one.inputs, other.inputs, strict=True)]
        return True

    def _equal_inputs(self, graph: Graph, left: Value, right: Value) -> list[Work] | None:
        """What follows from taking two inputs to be equal; None: they are not."""
        k = graph.inputs.index(left)
        place = next(p for g in self.large.subgraphs() for p, v in enumerate(g.inputs) if v is right)
        count, other = (self.small.attributes.get("carried", 0), self.large.attributes.get("carried", 0))
        if (k < count) != (place < other):
            return None
        if k >= count:
            return [] if self.small.inputs[self.shift + k] is self.large.inputs[self.shift + place] else None
        if k in self.places:
            return [] if self.places[k] == place else None
        return self._paired(k, place)

    def _attributes_agree(self) -> bool:
        """Do all nodes taken to be equal have the same attributes and types, given which symbols stand for which?"""
        names = dict(self.symbols)
        for one, other in self.pairs:
            for a, b in zip(one.extents, other.extents, strict=True):
                names[a] = _symbol(other, b)
        for one, other in self.pairs:
            if attributes_structure(one, names) != attributes_structure(other, {}):
                return False
            for left, right in zip(one.outputs, other.outputs, strict=True):
                if left.type.substitute(names) != right.type:
                    return False
        return True

    def _checks_are_met(self) -> bool:
        """Does the large node fail wherever the small one fails?"""
        met = {one for one, _ in self.pairs}
        return all(node in met or not may_fail(node) for graph in self.small.subgraphs() for node in graph.nodes)

    def outer_symbols(self, found: list[int]) -> Symbols | None:
        """What the small node's run-time extents are as dims of the large one's results; None if they do not agree."""
        symbols: Symbols = {}
        for value, place in zip(self.small.outputs, found, strict=True):
            for dim, other in zip(value.type.shape, self.large.outputs[place].type.shape, strict=True):
                if isinstance(dim, SymbolicDim) and dim.text in self.small.extents:
                    symbols.setdefault(dim.text, other)
        for value, place in zip(self.small.outputs, found, strict=True):
            for dim, other in zip(value.type.shape, self.large.outputs[place].type.shape, strict=True):
                if substitute(dim, symbols) != other:
                    return None
        return symbols


def _symbol(node: Node, name: str) -> Dim:
    """The dim of a node's results that is this run-time extent."""
    return next(dim for v in node.outputs for dim in v.type.shape if str(dim) == name)
