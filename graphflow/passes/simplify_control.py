"""Simplify control: branches and loops whose way is known go, and the others get only the operands and results they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.dims import symbols_of
from ..ir.graph import Graph, Node, Value
from ..ir.walks import definitions, symbols_in, symbols_used
from . import simplify_switch, simplify_while
from .canonicalise import canonicalise
from .control_rules import Change, Rule
from .fold_constants import fold_constants
from .manager import PassContext
from .rewriting import Rewriter, with_subgraphs
from .subgraphs import control_kind, has_control

__all__ = ["settle_control", "simplify_control"]

RULES: dict[str, tuple[Rule, ...]] = {"switch": simplify_switch.RULES, "while": simplify_while.RULES, "call": ()}
"""Control op -> its rules, tried in order until none fits."""


MOST_ROUNDS = 8
"""Rounds of settle_control: far more than nests of branches and loops need."""


def settle_control(graph: Graph, context: PassContext) -> Graph:
    """simplify_control, fold_constants and canonicalise, until nothing changes: a constant that goes into a branch is folded there,
    which decides another branch ...

    A graph without branches and loops stays.
    """
    for _ in range(MOST_ROUNDS if has_control(graph) else 0):
        before = graph
        for transform in (simplify_control, fold_constants, canonicalise):
            graph = transform(graph, context)
        if graph is before:
            break
    return graph


def simplify_control(graph: Graph, context: PassContext) -> Graph:
    """Apply the rules of simplify_switch.py and simplify_while.py to every control node, inner ones first.

    %0 = constant True; %1 = switch %0, x {branches = (negative x, exp x)}   ->   %1 = exp x
    """
    graph = with_subgraphs(simplify_control, graph, context)
    if not has_control(graph):
        return graph
    rewriter = Rewriter(context, graph)
    uses = _Uses(graph)
    for node in graph.nodes:
        current = rewriter.with_new_inputs(node)
        if RULES.get(control_kind(node)):
            _simplify(node, current, rewriter, uses)
        else:
            rewriter.keep(node, current)
    return rewriter.finish()


@dataclass
class _Uses:
    """What the rest of a graph needs of a node's results."""

    graph: Graph

    def __post_init__(self) -> None:
        graph = self.graph
        self.values = {v for node in graph.nodes for v in node.inputs} | set(graph.outputs)
        #: symbols that other nodes than the one that defines them, or the outputs' types, have
        self.symbols = symbols_in(tuple(dim for v in graph.outputs for dim in v.type.shape))
        defined = definitions(graph.nodes)
        if defined:
            for node in graph.nodes:
                self.symbols |= symbols_used(node) - set(node.extents)

    def needed(self, node: Node) -> list[bool]:
        """Which results are needed: as operands, or because they bring a run-time extent that is used."""
        found = [v in self.values for v in node.outputs]
        names = set(node.extents) & self.symbols
        for k, value in enumerate(node.outputs):
            if found[k]:
                names -= {name for dim in value.type.shape for name in symbols_of(dim)}
        for k, value in enumerate(node.outputs):
            own = {name for dim in value.type.shape for name in symbols_of(dim)} & names
            if own:
                found[k] = True
                names -= own
        return found


def _simplify(node: Node, current: Node, rewriter: Rewriter, uses: _Uses) -> None:
    """Rewrite `current`, which stands for `node`, until no rule fits."""
    needed = uses.needed(node)
    #: for each result of `node` what stands for it; None: nobody needs it
    results: list[Value | None] = list(current.outputs)
    while True:
        places = {v: k for k, v in enumerate(current.outputs)}
        wanted = [False] * len(current.outputs)
        for old, value in zip(needed, results, strict=True):
            if old and value in places:
                wanted[places[value]] = True
        change = _first_change(current, wanted, rewriter)
        if change is None:
            rewriter.nodes.append(current)
            rewriter.note_extents(current)
            break
        stands_for = dict(zip(current.outputs, change.results, strict=True))
        results = [stands_for.get(v, v) if v is not None else None for v in results]
        rewriter.symbols.update(change.symbols)
        if change.node is None:
            break
        current = change.node
    for before, after in zip(node.outputs, results, strict=True):
        if after is not None and after is not before:
            rewriter.mapping[before] = after


def _first_change(node: Node, needed: Sequence[bool], rewriter: Rewriter) -> Change | None:
    """What the first rule that fits gives, if there is fuel for it."""
    start = len(rewriter.nodes)
    for rule in RULES[control_kind(node)]:
        change = rule(node, list(needed), rewriter)
        if change is None:
            del rewriter.nodes[start:]
            continue
        if not rewriter.context.spend(rule.__name__, node.source):
            del rewriter.nodes[start:]
            return None
        return change
    return None
