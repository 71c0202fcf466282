"""A sub-graph with the backward part of it, in one trace: what the gradient rules of control flow take apart.

The graph's nodes are traced once more under a tape, then the tape is walked back from cotangents of the outputs. Forward and
backward nodes stand in one list; what the backward ones need of the forward ones is either handed over (`saved`) or computed
again with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import NoGradientError
from ..ir.dims import SymbolicDim, symbols_of
from ..ir.graph import Graph, Node, Value
from ..ir.op import Contract, Control, Library, Reduce
from ..ops.extents import ensure_shape
from ..ops.generate import constant
from .cut import INFINITE, minimum_cut
from .narrow import narrowed, operands_of
from .sums import Sums

__all__ = ["Joint", "dependence", "is_float", "join", "only_rows", "replayed", "walk_back"]

_GUESS = 64
"""What an extent that is not known counts as when saved values are chosen by their size."""


def is_float(tensor: Any) -> bool:
    """Can it have a gradient?"""
    return bool(tensor.dtype.is_floating or tensor.dtype.is_complex)


def _is_path(node: Node) -> bool:
    """May a gradient go through the node?"""
    op = node.op
    return op.gradient is not None or isinstance(op.kernel, Control) or op.no_gradient.startswith("not differentiable")


def dependence(graph: Graph) -> list[int]:
    """For each output the inputs that it depends on in a way that gradients see, as a bitset."""
    found: dict[Value, int] = {v: 1 << k if is_float(v.type) else 0 for k, v in enumerate(graph.inputs)}
    for node in graph.nodes:
        operands = [found.get(v, 0) for v in node.inputs]
        if not any(operands) or not _is_path(node):
            continue
        if isinstance(node.op.kernel, Control):
            results = _through(node, operands)
        else:
            together = 0
            for mask in operands:
                together |= mask
            results = [together] * len(node.outputs)
        found.update((v, mask) for v, mask in zip(node.outputs, results, strict=True) if is_float(v.type))
    return [found.get(v, 0) for v in graph.outputs]


def _through(node: Node, operands: Sequence[int]) -> list[int]:
    """The masks of a control node's results from those of its operands."""
    kind = node.op.kernel.kind  # type: ignore[attr-defined]

    def spread(mask: int, over: Sequence[int]) -> int:
        total = 0
        for k, own in enumerate(over):
            if mask >> k & 1:
                total |= own
        return total

    if kind == "switch":
        results = [0] * len(node.outputs)
        for branch in node.attributes["branches"]:
            results = [r | spread(m, operands[1:]) for r, m in zip(results, dependence(branch), strict=True)]
        return results
    if kind == "call":
        return [spread(mask, operands) for mask in dependence(node.attributes["function"])]
    body = dependence(node.attributes["body"])
    current = list(operands)
    while True:
        after = [current[k] | spread(mask, current) for k, mask in enumerate(body)]
        if after == current[: len(after)]:
            return after
        current[: len(after)] = after


class Joint:
    """A graph and its backward part in `trace`. inputs, outputs: the graph's, as tensors of the trace. cotangents: output
    number -> the tensor that stands for its gradient; partial: input number -> the one for the sum so far of its gradient;
    totals: input number -> the sum with this graph's contributions. first_partial, first_totals: the same for the first
    run of a loop's body, where carried inputs share sums with other operands."""

    def __init__(self, trace: Any, inputs: list[Any], own: set[str]) -> None:
        """own: symbols whose extents are others at each run."""
        self.trace, self.inputs, self.own = trace, inputs, set(own)
        #: the first node of the backward part, which nothing uses; nodes before it are the graph's own
        self.border: Node | None = None
        self.outputs: list[Any] = []
        self.cotangents: dict[int, Any] = {}
        self.partial: dict[int, Any] = {}
        self.totals: dict[int, Any] = {}
        self.first_partial: dict[int, Any] = {}
        self.first_totals: dict[int, Any] = {}

    def placeholders(self) -> list[Any]:
        """What stands for gradients that come from outside."""
        return [*self.cotangents.values(), *self.partial.values(), *self.first_partial.values()]

    # What the backward part needs --------------------------------------------------------------------------------------
    def choose(
        self,
        free: set[Value],
        recompute: bool,
        where: Callable[[str], NoGradientError],
        also: Sequence[Value] = (),
        watched: bool = False,
    ) -> list[Value]:
        """The values to save, so that the backward part can be computed from them and the free ones. recompute: save inputs
        only. where(reason): the error for a value that can neither be saved nor computed again. also: forward values that are
        needed too. watched: save all floats of the graph that the backward part reads and compute in the backward part what the
        gradient rules compute, as an eager run does, so that a derivative of the backward part adds up the same gradients in
        the same order."""
        nodes = self.trace.builder.nodes
        tainted = {t._value for t in self.placeholders()}
        if watched and self.border is not None:
            tainted.update(v for node in nodes[nodes.index(self.border) :] for v in node.outputs)
        outside = {inside._value for _, inside in self.trace.captures.values()}
        free = free | outside
        for node in nodes:
            for value in node.outputs:
                behind = operands_of(value)
                if not tainted.isdisjoint(behind):
                    tainted.add(value)
                elif node.is_pure and free.issuperset(behind):
                    free.add(value)
            if not outside.isdisjoint(node.inputs):
                outside.update(node.outputs)
        wanted = self._read_by(
            tainted, [t._value for t in (*self.totals.values(), *self.first_totals.values()) if t is not None]
        )
        kept: list[Value] = []
        if watched and not recompute:
            fixed = {v for node in nodes if not node.inputs for v in node.outputs}
            for node in nodes:
                if fixed.issuperset(node.inputs):
                    fixed.update(node.outputs)
            kept = [
                v for v in dict.fromkeys(wanted)
                if is_float(v.type) and v.producer is not None and v not in fixed | outside and self.is_storable(v)
            ]  # fmt: skip
            free = free | set(kept)
        sinks = [v for v in dict.fromkeys([*wanted, *also]) if v not in free]
        operands: dict[Value, list[Value]] = {}
        sources: dict[Value, None] = {}
        costs: dict[Value, int] = {}
        stack = list(sinks)
        while stack:
            value = stack.pop()
            if value in costs:
                continue
            node = value.producer
            can_save = self.is_storable(value) and value not in outside
            must = node is None or not node.is_pure
            if recompute and not must:
                can_save = False
            costs[value] = _bytes(value) if can_save else INFINITE
            if must or (can_save and _is_expensive(node)):  # type: ignore[arg-type]
                if not can_save:
                    raise where(_why_not(value))
                sources[value] = None
                continue
            operands[value] = [v for v in dict.fromkeys(operands_of(value)) if v not in free]
            stack.extend(operands[value])
        cut = minimum_cut(sources, sinks, operands, costs.__getitem__)
        order = {v: k for k, v in enumerate([*(t._value for t in self.inputs), *(v for n in nodes for v in n.outputs)])}
        return sorted({*cut, *kept}, key=order.__getitem__)

    def is_storable(self, value: Value) -> bool:
        """Has the value the same shape at each run?"""
        return not value.is_variable and not any(symbols_of(dim) & self.own for dim in value.type.shape)

    def forward_nodes(self, saved: Sequence[Value]) -> list[Node]:
        """The nodes of the graph itself: what leads to its outputs, to the saved values and to its effects."""
        behind = {t._value for t in self.placeholders()}
        needed: set[Node] = set()
        stack = [*(t._value for t in self.outputs), *saved]
        for node in self.trace.builder.nodes:
            if not behind.isdisjoint(node.inputs):
                behind.update(node.outputs)
            elif not node.is_pure:
                needed.add(node)
                stack.extend(node.inputs)
        while stack:
            node = stack.pop().producer
            if node is not None and node not in needed:
                needed.add(node)
                stack.extend(node.inputs)
        return [node for node in self.trace.builder.nodes if node in needed]

    def _read_by(self, tainted: set[Value], targets: Sequence[Value]) -> list[Value]:
        """The untainted values that lead to the targets in one step, through tainted nodes or as they are."""
        found: dict[Value, None] = {}
        seen: set[Value] = set()
        stack = list(targets)
        while stack:
            value = stack.pop()
            if value in seen:
                continue
            seen.add(value)
            if value not in tainted:
                found[value] = None
            else:
                stack.extend(operands_of(value))
        return list(found)

    def emit(self, targets: Sequence[Value], given: Mapping[Value, Callable[[], Any]], trace: Any) -> list[Any]:
        """The targets' values in another trace, the active one: the nodes that lead to them from the given values are traced
        once more. given: value -> what makes the tensor that stands for it."""
        made: dict[Value, Any] = {}
        outside = {inside._value: outer for outer, inside in self.trace.captures.values()}
        read = {inside._value: variable for variable, inside in self.trace.reads.values()}
        needed: dict[Node, set[int]] = {}
        stack = list(targets)
        seen: set[Value] = set()
        while stack:
            value = stack.pop()
            if value in seen:
                continue
            seen.add(value)
            if value in given:
                made[value] = given[value]()
            elif value in outside:
                made[value] = outside[value]
            elif value in read:
                made[value] = read[value].value()
            else:
                assert value.producer is not None, f"{value} is neither given nor computed"
                needed.setdefault(value.producer, set()).add(value.index)
                stack.extend(operands_of(value))
        known: dict[str, Any] = {}
        for node in self.trace.builder.nodes:
            if node in needed:
                part, kept = narrowed(node, needed[node]) or (node, range(len(node.outputs)))
                results = trace.replay_node(part, [made[v] for v in part.inputs], known)
                for number, tensor in zip(kept, results, strict=True):
                    made.setdefault(node.outputs[number], tensor)
        return [made[v] for v in targets]


def _is_expensive(node: Node) -> bool:
    """Is its result worth keeping rather than computing it again?"""
    return isinstance(node.op.kernel, (Contract, Control, Library, Reduce))


def _bytes(value: Value) -> int:
    total = value.type.dtype.itemsize
    for dim in value.type.shape:
        total *= _GUESS if isinstance(dim, SymbolicDim) else dim
    return max(total, 1)


def _why_not(value: Value) -> str:
    what = f"the value of {value.producer.op.name}" if value.producer is not None else f"'{value.name}'"
    return f"{what}, {value.type}, has a shape that may change from iteration to iteration, and its gradient needs it"


def only_rows(total: Value, start: Value) -> bool:
    """Is `total` the value `start` with single rows added to it, and nothing else?"""
    while total is not start:
        node = total.producer
        if node is None:
            return False
        if node.op.name == "scatter_add_into":
            total = node.inputs[0]
        elif node.op.name == "while" and total.index < node.attributes["carried"]:
            body = node.attributes["body"]
            if not only_rows(body.outputs[total.index], body.inputs[total.index]):
                return False
            total = node.inputs[total.index]
        elif node.op.name == "switch":
            found = {_row_origin(branch, total.index) for branch in node.attributes["branches"]}
            if len(found) != 1 or None in found:
                return False
            total = node.inputs[1 + found.pop()]  # type: ignore[operator]
        else:
            return False
    return True


def _row_origin(branch: Graph, position: int) -> int | None:
    """The input of a branch that an output is, but for added rows."""
    return next((k for k, v in enumerate(branch.inputs) if only_rows(branch.outputs[position], v)), None)


def join(
    outer: Any,
    graph: Graph,
    cotangents: Mapping[int, Any],
    wanted: Sequence[int],
    partial: Sequence[int],
    groups: Mapping[int, int],
    own: set[str],
    rows: Mapping[int, Value] | None = None,
    first: tuple[Sequence[int], Mapping[int, int]] | None = None,
) -> Joint:
    """Trace a graph and its backward part inside `outer`.

    cotangents: output number -> the shape of the gradient that comes from it (its extents may go by other names outside), or
    None for the output's own. wanted: the inputs to find gradients of; partial: those of them whose
    sums have begun. groups: input number -> the one whose sum it shares. own: symbols that change with each run of the
    graph. rows: output number -> the row that the graph adds to an array there; the cotangent is the row's. first: (partial,
    groups) of a loop's first iteration.
    """
    from .tape import GradientTape

    trace = outer.subtrace(f"{graph.name} backward", "backward part", "gradient")
    found = Joint(trace, [trace.input(v.name, v.type) for v in graph.inputs], own)
    with trace.tracing():
        tape = GradientTape(persistent=True, watch_accessed_variables=False)
        with tape:
            for k in wanted:
                tape._connect(found.inputs[k])
            held = replayed(trace, graph, found.inputs)
            found.outputs = [held[v] for v in graph.outputs]
        found.border = constant(value=np.zeros((), np.bool_))._value.producer
        ends = {k: held[rows[k]] if rows and k in rows else found.outputs[k] for k in cotangents}
        for k, tensor in ends.items():
            shape = cotangents[k] or tensor.dims
            found.cotangents[k] = trace.input(f"d_{k}", tensor.type.with_shape(shape))
        for k in partial:
            found.partial[k] = trace.input(f"sum_{graph.inputs[k].name}", graph.inputs[k].type)
        found.totals = walk_back(found, tape, ends, wanted, found.partial, groups)
        if first is not None:
            begun, together = first
            for k in begun:
                found.first_partial[k] = trace.input(f"sum_{graph.inputs[k].name}", graph.inputs[k].type)
            found.first_totals = walk_back(
                found, tape, ends, list(together), {**found.partial, **found.first_partial}, together
            )
        # after the walks: loops inside have got more results since
        found.own |= {name for node in trace.builder.nodes for name in node.extents}
    return found


def walk_back(
    joint: Joint,
    tape: Any,
    ends: Mapping[int, Any],
    wanted: Sequence[int],
    begun: Mapping[int, Any],
    groups: Mapping[int, int],
) -> dict[int, Any]:
    """The sums after a walk back from the ends; None where nothing was added."""
    inputs = joint.inputs
    sums = Sums({id(inputs[a]): id(inputs[b]) for a, b in groups.items() if a != b})
    for k, tensor in begun.items():
        sums.set(inputs[k], tensor)
    for k, tensor in reversed(list(ends.items())):
        given = joint.cotangents[k]
        sums.add(tensor, given if given.dims == tensor.dims else ensure_shape(given, shape=tensor.dims))
    tape.walk(sums, tape._needed([inputs[k] for k in wanted]))
    totals = {}
    for k in wanted:
        if groups.get(k, k) == k:
            total = sums.get(inputs[k])
            totals[k] = None if total is begun.get(k) else total
    return totals


def replayed(trace: Any, graph: Graph, inputs: Sequence[Any]) -> dict[Value, Any]:
    """Trace a graph's nodes once more, on other inputs: value -> its tensor."""
    held: dict[Value, Any] = dict(zip(graph.inputs, inputs, strict=True))
    known: dict[str, Any] = {}
    for node in graph.nodes:
        results = trace.replay_node(node, [held[v] for v in node.inputs], known)
        held.update(zip(node.outputs, results, strict=True))
    return held
