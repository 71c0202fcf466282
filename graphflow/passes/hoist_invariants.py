"""Hoist invariants: what a loop would compute again in each iteration, alike, is computed before it."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.dims import Dim
from ..ir.graph import Graph, Node, Value
from ..ir.op import Alias, Effect, Indexed, Pointwise, Reduce, View
from ..ir.walks import may_fail, symbols_used
from .control_rules import evaluated
from .manager import PassContext
from .rewriting import Rewriter, with_subgraphs
from .subgraphs import control_kind, has_control, new_while, own_symbols, rebuilt

__all__ = ["CHEAP", "MOST_WORK", "hoist_invariants"]

CHEAP = 3
"""Cost up to which an elementwise op is done again rather than stored and loaded (the same bound as in fuse)."""
MOST_WORK = 1 << 14
"""Operations (elements times cost) that may be done before a loop that then never runs: some microseconds."""


def hoist_invariants(graph: Graph, context: PassContext) -> Graph:
    """Move pure nodes that depend on nothing that changes out of a loop's body, and out of its condition.

    %0 = while(x; w) {%0 = exp w; x * %0}   ->   %0 = exp w; %1 = while(x; w, %0) {x * %0}

    Nodes that can fail stay: the loop might not have come to them. The condition runs at least once, so what it computes alike goes
    in front; what the body does goes only if the loop surely runs, or if it is little work. Views, constants and cheap elementwise
    operations go only along with others that need them: in the loop they cost nothing.
    """
    graph = with_subgraphs(hoist_invariants, graph, context)
    if not has_control(graph):
        return graph
    rewriter = Rewriter(context, graph)
    for node in graph.nodes:
        current = rewriter.with_new_inputs(node)
        if control_kind(node) == "while":
            current = _hoisted(current, rewriter)
        rewriter.keep(node, current)
    return rewriter.finish()


def _hoisted(node: Node, rewriter: Rewriter) -> Node:
    """The loop without what is now before it (appended to the rewriter's nodes)."""
    for name in ("condition", "body"):
        graph: Graph = node.attributes[name]
        found = _Invariants(node, graph).found
        if not found or (name == "body" and not _may_hoist(node, found, rewriter.context)):
            continue
        if rewriter.context.spend(f"hoist {found[-1].op.name}", found[-1].source):
            node = _with_operands(node, name, found, rewriter)
    return node


@dataclass
class _Invariants:
    """found: the nodes of a loop's graph worth computing before the loop, in order."""

    node: Node
    graph: Graph

    def __post_init__(self) -> None:
        carried = self.node.attributes["carried"]
        changing = set(own_symbols(self.node)) | set(self.graph.extents)
        same = {v for v in self.graph.inputs[carried:] if not v.is_variable}
        invariant: list[Node] = []
        for node in self.graph.nodes:
            if all(v in same for v in node.inputs) and node.is_pure and not may_fail(node):
                if changing and not changing.isdisjoint(symbols_used(node)):
                    continue
                invariant.append(node)
                same.update(node.outputs)
        wanted: set[Node] = set()
        for node in reversed(invariant):
            needed = any(user in wanted for v in node.outputs for user in self.graph.uses.get(v, ()))
            if needed or _is_worth(node):
                wanted.add(node)
        self.found = [node for node in invariant if node in wanted]


def _is_worth(node: Node) -> bool:
    """Is doing the node once, and loading its results, better than doing it in each iteration?"""
    kernel = node.op.kernel
    if not node.inputs or isinstance(kernel, (View, Alias, Effect)):
        return False
    return not isinstance(kernel, Pointwise) or kernel.cost > CHEAP


def _may_hoist(node: Node, found: list[Node], context: PassContext) -> bool:
    """Does the loop surely run, or is it little work to do in vain?"""
    (runs,) = evaluated(node.attributes["condition"], node.inputs, context)
    if runs is not None and bool(runs):
        return True
    work = [_work(inner) for inner in found]
    if any(w is None for w in work):
        return False
    return sum(w for w in work if w is not None) <= MOST_WORK


def _work(node: Node) -> int | None:
    """About how many operations the node is; None: unknown, or many."""
    kernel = node.op.kernel
    if isinstance(kernel, (View, Alias, Effect)):
        return 0
    values = node.inputs if isinstance(kernel, Reduce) else node.outputs
    if not isinstance(kernel, (Pointwise, Indexed, Reduce)):
        return None
    elements: list[Dim] = [v.type.elements for v in values]
    cost = 1 if isinstance(kernel, Reduce) else kernel.cost
    numbers = [e for e in elements if isinstance(e, int)]
    return sum(numbers) * cost if len(numbers) == len(elements) else None


def _with_operands(node: Node, name: str, found: list[Node], rewriter: Rewriter) -> Node:
    """The loop whose graph `name` gets the results of the nodes of `found` as operands."""
    graph: Graph = node.attributes[name]
    outside: dict[Value, Value] = dict(zip(graph.inputs, node.inputs, strict=True))
    for inner in found:
        clone = Node(inner.op, [outside[v] for v in inner.inputs], inner.attributes, inner.source)
        rewriter.nodes.append(clone)
        outside.update(zip(inner.outputs, clone.outputs, strict=True))
    gone = set(found)
    used = {v for inner in graph.nodes if inner not in gone for v in inner.inputs} | set(graph.outputs)
    for inner in reversed(found):
        if not _is_worth(inner) and not used.isdisjoint(inner.outputs):  # a constant or view is there inside too
            gone.remove(inner)
            used.update(inner.inputs)
    passed = [v for inner in found if inner in gone for v in inner.outputs if v in used]
    operands = [*node.inputs, *(outside[v] for v in passed)]
    graphs = {}
    for key in ("condition", "body"):
        own: Graph = node.attributes[key]
        taken = {v.name for v in own.inputs}
        new = [Value(v.type, name=_unused(f"{v.producer.op.name if v.producer else 'x'}", taken)) for v in passed]
        mapping = dict(zip(passed, new, strict=True)) if key == name else {}
        nodes = [inner for inner in own.nodes if key != name or inner not in gone]
        graphs[key] = rebuilt(own, [*own.inputs, *new], mapping, nodes)
    return new_while(node, operands, graphs["condition"], graphs["body"], range(len(node.outputs)))


def _unused(name: str, taken: set[str]) -> str:
    """A name that no input has, and that is taken from now on."""
    unique, count = name, 1
    while unique in taken:
        unique, count = f"{name}_{count}", count + 1
    taken.add(unique)
    return unique
