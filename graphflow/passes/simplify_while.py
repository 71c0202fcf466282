"""Rules for `while` nodes. See control_rules.py for what a rule is. Below, `while(a, b; c)` carries a and b; c stays the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..ir.dims import SymbolicDim, symbols_of
from ..ir.graph import Graph, Node, Value
from ..ir.walks import symbols_used
from .control_rules import Change, Rule, evaluated, is_small_constant, pushed_constants
from .merge_common import attribute_key
from .remove_dead import must_run
from .rewriting import Rewriter, constant_value
from .subgraphs import clone_into, live_nodes, new_while, own_symbols, rebuilt

__all__ = ["RULES"]


def loop_that_never_runs(node: Node, needed: list[bool], rewriter: Rewriter) -> Change | None:
    """%0 = constant 5; %1 = while(%0, x) {%0 < 5} {...}   ->   %1 is x

    The condition runs once, and what it does besides stays.
    """
    condition = node.attributes["condition"]
    (found,) = evaluated(condition, node.inputs, rewriter.context)
    if found is None or bool(found):
        return None
    if any(must_run(inner) for inner in condition.nodes):
        if own_symbols(node) or condition.extents:
            return None
        clone_into(rewriter.nodes, condition, node.inputs, {})
    results = node.inputs[: len(node.outputs)]
    symbols = {}
    for start, result in zip(results, node.outputs, strict=True):
        for first, last in zip(start.type.shape, result.type.shape, strict=True):
            if first != last and isinstance(last, SymbolicDim) and last.text in node.extents:
                symbols[last.text] = first
    return Change(results, symbols=symbols)


def unchanged_values(node: Node, needed: list[bool], rewriter: Rewriter) -> Change | None:
    """%0, %1 = while(a, b; c) {...; return a + b, b}   ->   %0 = while(a; b, c) {...; return a + b}, %1 is b

    Likewise where the body returns an operand that stays the same, and it is the one that the value starts as.
    """
    body, carried = node.attributes["body"], node.attributes["carried"]
    own = set(own_symbols(node))
    same: dict[int, int] = {}
    for k in range(carried):
        value = body.outputs[k]
        place = body.inputs.index(value) if value.producer is None else -1
        stays = place == k or place >= carried and node.inputs[place] is node.inputs[k]
        if stays and not any(symbols_of(dim) & own for dim in body.inputs[k].type.shape):
            same[k] = place
    if not same:
        return None
    kept = [k for k in range(carried) if k not in same]
    order = [*kept, *same, *range(carried, len(node.inputs))]
    graphs = []
    for graph, outputs in ((node.attributes["condition"], None), (body, [body.outputs[k] for k in kept])):
        graphs.append(rebuilt(graph, [graph.inputs[k] for k in order], {}, outputs=outputs))
    new = new_while(node, [node.inputs[k] for k in order], graphs[0], graphs[1], kept)
    results: list[Value | None] = [node.inputs[k] for k in range(carried)]
    for position, k in enumerate(kept):
        results[k] = new.outputs[position]
    return Change(results, new)


def unused_values(node: Node, needed: list[bool], rewriter: Rewriter) -> Change | None:
    """%0, %1 = while(a, b; c, d) {...} where nobody reads %1   ->   %0 = while(a; c) {...}

    A carried value stays if its result is needed, or if the condition, an effect, a check or another value that stays
    depends on it; an operand that stays the same, if it is read. One operand stands for two that are the same.
    """
    condition, body, carried = node.attributes["condition"], node.attributes["body"], node.attributes["carried"]
    if not any(needed) and not must_run(node):
        return None  # remove_dead drops the whole node
    condition_nodes, condition_live = live_nodes(condition, condition.outputs)
    kept = {k for k in range(carried) if needed[k] or condition.inputs[k] in condition_live}
    own = own_symbols(node)
    while True:
        nodes, live = live_nodes(body, [body.outputs[k] for k in sorted(kept)])
        names = {name for inner in (*nodes, *condition_nodes) for name in symbols_used(inner)} if own else set[str]()
        names |= {name for k in kept for dim in body.inputs[k].type.shape for name in symbols_of(dim)}
        more = {k for k in range(carried) if body.inputs[k] in live}
        more |= _binders(body.inputs[:carried], kept | more, [name for name in own if name in names])
        if more <= kept:
            break
        kept |= more
    first: dict[Value, int] = {}
    stands: dict[int, int] = {}
    for k in range(carried, len(node.inputs)):
        if body.inputs[k] in live or condition.inputs[k] in condition_live:
            stands[k] = first.setdefault(node.inputs[k], k)
    order = [*sorted(kept), *sorted(first.values())]
    if len(order) == len(node.inputs):
        return None
    graphs = []
    for graph, inner, outputs in (
        (condition, condition_nodes, condition.outputs), (body, nodes, [body.outputs[k] for k in sorted(kept)]),
    ):  # fmt: skip
        mapping = {graph.inputs[k]: graph.inputs[place] for k, place in stands.items() if k != place}
        graphs.append(rebuilt(graph, [graph.inputs[k] for k in order], mapping, inner, outputs))
    new = new_while(node, [node.inputs[k] for k in order], graphs[0], graphs[1], sorted(kept))
    stay = dict(zip(sorted(kept), new.outputs, strict=True))
    return Change([stay.get(k) for k in range(carried)], new)


def _binders(inputs: Sequence[Value], kept: set[int], names: Iterable[str]) -> set[int]:
    """Carried values that have these symbols of the body alone on an axis, where no kept one does."""
    found: set[int] = set()
    for name in names:
        having = [k for k, v in enumerate(inputs) if any(str(dim) == name for dim in v.type.shape)]
        if kept.isdisjoint(having) and found.isdisjoint(having):
            found.add(having[0])
    return found


def equal_values(node: Node, needed: list[bool], rewriter: Rewriter) -> Change | None:
    """%0, %1 = while(a, a) {...; return a + 1, b + 1}   ->   %0 = while(a) {...; return a + 1}, %1 is %0

    Two carried values are the same if they start as one and the body, taking them for one, gives them one value: assumed
    of all that start alike, then taken back where it does not hold, until it holds for all.
    """
    condition, body, carried = node.attributes["condition"], node.attributes["body"], node.attributes["carried"]
    if not node.is_pure:
        return None
    leader = _grouped(range(carried), [(_origin(node.inputs[k]), body.inputs[k].type) for k in range(carried)])
    while any(k != place for k, place in enumerate(leader)):
        numbers = _numbers(body, {body.inputs[k]: body.inputs[place] for k, place in enumerate(leader)})
        new_leader = _grouped(range(carried), [(leader[k], numbers[body.outputs[k]]) for k in range(carried)])
        if new_leader == leader:
            break
        leader = new_leader
    same = {k: place for k, place in enumerate(leader) if k != place}
    if not same:
        return None
    kept = [k for k in range(carried) if k not in same]
    order = [*kept, *range(carried, len(node.inputs))]
    graphs = []
    for graph, outputs in ((condition, condition.outputs), (body, [body.outputs[k] for k in kept])):
        mapping = {graph.inputs[k]: graph.inputs[place] for k, place in same.items()}
        graphs.append(rebuilt(graph, [graph.inputs[k] for k in order], mapping, outputs=outputs))
    new = new_while(node, [node.inputs[k] for k in order], graphs[0], graphs[1], kept)
    return Change([new.outputs[kept.index(place)] for place in leader], new)


def _origin(value: Value) -> object:
    """What two values share that are surely the same: the value, or the bytes of a small constant."""
    array = constant_value(value)
    return value if array is None or not is_small_constant(value) else (value.type, array.tobytes())


def _grouped(places: Iterable[int], keys: Sequence[object]) -> list[int]:
    """For each place the first place with its key."""
    first: dict[object, int] = {}
    return [first.setdefault(keys[k], k) for k in places]


def _numbers(graph: Graph, same: dict[Value, Value]) -> dict[Value, object]:
    """A number for each value: the same for the results of nodes that compute the same."""
    found: dict[Value, object] = {v: same.get(v, v) for v in graph.inputs}
    table: dict[object, Node] = {}
    for node in graph.nodes:
        first = node
        if not any(True for _ in node.subgraphs()):
            key = (node.op, tuple(found[v] for v in node.inputs), attribute_key(node.attributes))
            first = table.setdefault(key, node)
        found.update(zip(node.outputs, first.outputs, strict=True))
    return found


def constants_inside(node: Node, needed: list[bool], rewriter: Rewriter) -> Change | None:
    """%0 = constant 2.0; while(a; %0) {a * %0}   ->   while(a) {a * constant 2.0}"""
    carried = node.attributes["carried"]
    pushed = [k for k in range(carried, len(node.inputs)) if is_small_constant(node.inputs[k])]
    if not pushed:
        return None
    kept = [k for k in range(len(node.inputs)) if k not in pushed]
    graphs = []
    for graph in (node.attributes["condition"], node.attributes["body"]):
        read = {v for inner in graph.nodes for v in inner.inputs} | set(graph.outputs)
        wanted = {graph.inputs[k]: node.inputs[k] for k in pushed if graph.inputs[k] in read}
        first, mapping = pushed_constants(graph, wanted)
        graphs.append(rebuilt(graph, [graph.inputs[k] for k in kept], mapping, first=first))
    new = new_while(node, [node.inputs[k] for k in kept], graphs[0], graphs[1], range(carried))
    return Change(new.outputs, new)


RULES: tuple[Rule, ...] = (
    loop_that_never_runs,
    unchanged_values,
    unused_values,
    equal_values,
    constants_inside,
)
