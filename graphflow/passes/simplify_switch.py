"""Rules for `switch` nodes. See control_rules.py for what a rule is."""

from __future__ import annotations

from ..ir.graph import Graph, Node, Value
from .control_rules import Change, Rule, inlined, is_small_constant, pushed_constants
from .remove_dead import must_run
from .rewriting import Rewriter, constant_value
from .subgraphs import live_nodes, new_switch, rebuilt, structure

__all__ = ["RULES"]


def branch_of_constant_index(node: Node, needed: list[bool], rewriter: Rewriter) -> Change | None:
    """switch(True, x) {negative x, exp x}   ->   exp x"""
    found = rewriter.uniform(node.inputs[0])
    if found is None:
        return None
    branches = node.attributes["branches"]
    index = int(found)
    chosen = branches[index if 0 <= index < len(branches) else -1]
    return inlined(node, chosen, node.inputs[1:], rewriter)


def equal_branches(node: Node, needed: list[bool], rewriter: Rewriter) -> Change | None:
    """switch(p, x) {exp x, exp x}   ->   exp x, where the branches have no effects (the order of which has to stay)."""
    branches = node.attributes["branches"]
    if not node.is_pure:
        return None
    first = structure(branches[0])
    if any(structure(branch) != first for branch in branches[1:]):
        return None
    return inlined(node, branches[0], node.inputs[1:], rewriter)


def branches_of_not(node: Node, needed: list[bool], rewriter: Rewriter) -> Change | None:
    """switch(not p, x) {a, b}   ->   switch(p, x) {b, a}"""
    producer = node.inputs[0].producer
    branches = node.attributes["branches"]
    if producer is None or producer.op.name != "logical_not" or len(branches) != 2 or not node.is_pure:
        return None
    new = new_switch(node, (producer.inputs[0], *node.inputs[1:]), branches[::-1], range(len(node.outputs)))
    return Change(new.outputs, new)


def results_from_operands(node: Node, needed: list[bool], rewriter: Rewriter) -> Change | None:
    """%0, %1 = switch(p, x) {return exp x, x; return negative x, x}   ->   %0 = ..., %1 is x

    Likewise a result for which all branches return one small constant.
    """
    branches = node.attributes["branches"]
    results: list[Value | None] = list(node.outputs)
    for k, value in enumerate(node.outputs):
        if needed[k]:
            results[k] = _from_operand(node, k) or _from_constant(node, k, rewriter) or value
    if results == list(node.outputs):
        return None
    kept = [k for k, v in enumerate(results) if v is node.outputs[k] and needed[k]]
    return _with_results(node, branches, kept, {k: v for k, v in enumerate(results) if k not in kept and needed[k]})


def _from_operand(node: Node, k: int) -> Value | None:
    """The operand that all branches return as result k."""
    places = set()
    for branch in node.attributes["branches"]:
        value = branch.outputs[k]
        places.add(branch.inputs.index(value) if value.producer is None else -1)
    (place, *others) = places
    if others or place < 0:
        return None
    operand = node.inputs[1 + place]
    return operand if operand.type == node.outputs[k].type and not operand.is_variable else None


def _from_constant(node: Node, k: int, rewriter: Rewriter) -> Value | None:
    """A constant outside for the one constant that all branches return as result k."""
    arrays = [constant_value(branch.outputs[k]) for branch in node.attributes["branches"]]
    first = arrays[0]
    if first is None or not is_small_constant(node.attributes["branches"][0].outputs[k]):
        return None
    if any(a is None or a.tobytes() != first.tobytes() for a in arrays):
        return None
    return rewriter.make("constant", (), {"value": first}, node)


def _with_results(node: Node, branches: tuple[Graph, ...], kept: list[int], others: dict[int, Value | None]) -> Change:
    """The switch with the results of `kept` only."""
    cut = []
    for branch in branches:
        outputs = [branch.outputs[k] for k in kept]
        nodes, _ = live_nodes(branch, outputs)
        cut.append(rebuilt(branch, branch.inputs, {}, nodes, outputs))
    new = new_switch(node, node.inputs, cut, kept)
    results: list[Value | None] = [others.get(k) for k in range(len(node.outputs))]
    for position, k in enumerate(kept):
        results[k] = new.outputs[position]
    return Change(results, new)


def unused_results(node: Node, needed: list[bool], rewriter: Rewriter) -> Change | None:
    """%0, %1 = switch(p, x) {return exp x, x + x; ...} where nobody reads %1   ->   %0 = switch(p, x) {return exp x; ...}"""
    if all(needed) or not any(needed) and not must_run(node):
        return None  # (remove_dead drops the whole node)
    return _with_results(node, node.attributes["branches"], [k for k, used in enumerate(needed) if used], {})


def equal_results(node: Node, needed: list[bool], rewriter: Rewriter) -> Change | None:
    """%0, %1 = switch(p, x) {return y, y; return z, z}   ->   %0 = switch(p, x) {return y; return z}, %1 is %0"""
    first: dict[tuple[Value, ...], int] = {}
    same: dict[int, int] = {}
    for k in range(len(node.outputs)):
        column = tuple(branch.outputs[k] for branch in node.attributes["branches"])
        place = first.setdefault(column, k)
        if place != k and node.outputs[place].type == node.outputs[k].type:
            same[k] = place
    if not same:
        return None
    kept = [k for k in range(len(node.outputs)) if k not in same]
    change = _with_results(node, node.attributes["branches"], kept, {})
    results = [change.results[same.get(k, k)] for k in range(len(node.outputs))]
    return Change(results, change.node)


def unused_operands(node: Node, needed: list[bool], rewriter: Rewriter) -> Change | None:
    """switch(p, x, y) {negative x, exp x}   ->   switch(p, x) {negative x, exp x}; one operand for two that are the same.

    Dead nodes of the branches do not count as users. An operand whose extents a branch needs stays.
    """
    branches = node.attributes["branches"]
    operands = node.inputs[1:]
    used: set[int] = set()
    lives = [live_nodes(branch, branch.outputs) for branch in branches]
    for branch, (_, live) in zip(branches, lives, strict=True):
        used.update(k for k, v in enumerate(branch.inputs) if v in live)
    first: dict[Value, int] = {}
    for k in sorted(used):
        first.setdefault(operands[k], k)
    kept = sorted(first.values())
    if len(kept) == len(operands):
        return None
    new_branches = []
    for branch, (nodes, _) in zip(branches, lives, strict=True):
        mapping = {branch.inputs[k]: branch.inputs[first[operands[k]]] for k in used}
        new_branches.append(rebuilt(branch, [branch.inputs[k] for k in kept], mapping, nodes))
    new = new_switch(node, (node.inputs[0], *(operands[k] for k in kept)), new_branches, range(len(node.outputs)))
    return Change(new.outputs, new)


def constants_inside(node: Node, needed: list[bool], rewriter: Rewriter) -> Change | None:
    """%0 = constant 2.0; switch(p, x, %0) {x + %0, x * %0}   ->   switch(p, x) {x + constant 2.0, x * constant 2.0}"""
    operands = node.inputs[1:]
    pushed = [k for k, v in enumerate(operands) if is_small_constant(v)]
    if not pushed:
        return None
    kept = [k for k in range(len(operands)) if k not in pushed]
    branches = []
    for branch in node.attributes["branches"]:
        nodes, live = live_nodes(branch, branch.outputs)
        wanted = {branch.inputs[k]: operands[k] for k in pushed if branch.inputs[k] in live}
        first, mapping = pushed_constants(branch, wanted)
        branches.append(rebuilt(branch, [branch.inputs[k] for k in kept], mapping, nodes, first=first))
    new = new_switch(node, (node.inputs[0], *(operands[k] for k in kept)), branches, range(len(node.outputs)))
    return Change(new.outputs, new)


RULES: tuple[Rule, ...] = (
    branch_of_constant_index,
    equal_branches,
    branches_of_not,
    results_from_operands,
    unused_results,
    equal_results,
    unused_operands,
    constants_inside,
)
