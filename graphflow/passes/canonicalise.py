"""Canonicalise: local rules, applied until none fits, give equal computations one form and drop what computes
nothing."""

from __future__ import annotations

from functools import cache

from ..errors import CompileError
from ..ir.graph import Graph, Node, Value
from ..ir.op import Op
from . import algebra, layout
from .algebra import Rule
from .manager import PassContext
from .rewriting import Rewriter, with_subgraphs

__all__ = ["canonicalise", "rules_of"]

#: a node is rewritten at most this often: a bound on rules that undo each other, far above the longest useful chain
MOST_STEPS = 64


def canonicalise(graph: Graph, context: PassContext) -> Graph:
    """Apply the rules of algebra.py and layout.py to every node, in order, operands first.

    %0 = multiply x, 1; %1 = negative %0; %2 = negative %1; return %2   ->   return x

    The nodes that nobody needs any more stay until remove_dead. No result changes a bit.
    """
    graph = with_subgraphs(canonicalise, graph, context)
    rewriter = Rewriter(context, graph)
    for node in graph.nodes:
        current = rewriter.with_new_inputs(node) if rewriter.mapping else node
        if rules_of(current.op):
            _simplify(node, current, rewriter)
        else:
            rewriter.keep(node, current)
    return rewriter.finish()


@cache
def rules_of(op: Op) -> tuple[Rule, ...]:
    """The rules for nodes of an op: those that follow from its record, then those in the tables under its name."""
    if len(op.operands) == 0:
        return ()
    return (
        *algebra.generic_rules(op),
        *layout.generic_rules(op),
        *algebra.RULES.get(op.name, ()),
        *layout.RULES.get(op.name, ()),
    )


def _simplify(node: Node, current: Node, rewriter: Rewriter) -> None:
    """Rewrite `current`, which stands for `node`, until no rule fits."""
    for _ in range(MOST_STEPS):
        start = len(rewriter.nodes)
        value = _apply_one(current, rewriter)
        if value is None:
            rewriter.keep(node, current)
            return
        if len(rewriter.nodes) == start or rewriter.nodes[-1] is not value.producer:
            rewriter.mapping[node.output] = value
            return
        current = rewriter.nodes.pop()  # a new node: rules may fit it again
    rewriter.keep(node, current)


def _apply_one(node: Node, rewriter: Rewriter) -> Value | None:
    """What the first rule that fits gives, if there is fuel for it."""
    start = len(rewriter.nodes)
    for rule in rules_of(node.op):
        value = rule(node, rewriter)
        if value is None:
            del rewriter.nodes[start:]
            continue
        if value.type is not node.output.type and value.type != node.output.type:
            raise CompileError(f"the rule {rule.__name__} turned {node.output.type} into {value.type} at {node.source}")
        if not rewriter.context.spend(rule.__name__, node.source):
            del rewriter.nodes[start:]
            return None
        return value
    return None
