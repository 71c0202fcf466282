"""Gradients of control flow, as ops.

    switch   ->  a switch of the branches' backward parts, which compute again what they need of the branch
    while    ->  the loop itself, made to save values at each iteration, and a loop that runs backwards over them
    call     ->  the backward part of the function

A rule gets the sums of gradients found so far for the node's operands and continues them: inside a backward part each
contribution is added where the tape of an eager run adds it, so that the gradients of a compiled loop have the bits of the
eager one's. A sum that has not begun starts from -0.0, the exact unit of addition.

The loop saves values by growing in place: the `while` node in the trace is replaced by one with more results (stacks with a
row for each iteration). What is saved, and what is computed again from it, see Joint.choose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dtypes import int32
from ..errors import NoGradientError
from ..ir.dims import symbol, symbols_of
from ..ir.graph import Graph, Node, Value
from ..ir.op import OPS
from ..ops.control import while_results
from .joint import Joint, dependence, is_float, join, only_rows
from .record import ControlRecord, active_trace

__all__ = ["add_control_gradients"]


def add_control_gradients(
    tape: Any, record: ControlRecord, incoming: Sequence[Any], wanted: Sequence[bool], sums: Any
) -> None:
    """Add the gradients of a control node's operands to the sums. incoming: of its results, None where there is none;
    wanted: for which operands. Raises NoGradientError."""
    wanted = [w and is_float(t) for w, t in zip(wanted, record.inputs, strict=True)]
    incoming = [g if is_float(t) else None for g, t in zip(incoming, record.outputs, strict=True)]
    {"switch": _switch, "while": _while, "call": _call}[record.op.name](record, incoming, wanted, sums)


def _fail(record: ControlRecord, reason: str) -> NoGradientError:
    error = NoGradientError(f"{record.op.name} has no gradient here: {reason}")
    error.place = record.source
    error.hint = "use gf.stop_gradient where the gradient is not wanted, or give the value a fixed shape"
    return error


def _groups(operands: Sequence[Any], positions: Sequence[int], sums: Any) -> dict[int, int]:
    """Operand -> the first one that adds to the same sum."""
    first: dict[int, int] = {}
    return {k: first.setdefault(sums.key(operands[k]), k) for k in positions}


def _bits(mask: int, count: int) -> list[int]:
    return [k for k in range(count) if mask >> k & 1]


# switch and call ------------------------------------------------------------------------------------------------------
def _backward_parts(
    record: ControlRecord,
    graphs: Sequence[Graph],
    operands: Sequence[Any],
    incoming: Sequence[Any],
    wanted: Sequence[bool],
    sums: Any,
) -> tuple[list[int], list[Callable[[], list[Any]]]]:
    """The operands that get gradients, and for each graph the function that computes their totals."""
    trace = active_trace()
    cotangents = [k for k, g in enumerate(incoming) if g is not None]
    reached = 0
    for graph in graphs:
        masks = dependence(graph)
        for k in cotangents:
            reached |= masks[k]
    sources = [k for k in _bits(reached, len(operands)) if wanted[k]]
    groups = _groups(operands, sources, sums)
    first = [k for k in sources if groups[k] == k]
    begun = [k for k in first if sums.get(operands[k]) is not None]
    joints = []
    for graph in graphs:
        joint = join(trace, graph, cotangents, sources, begun, groups, set())
        inputs = {t._value for t in joint.inputs}
        joint.choose(inputs, True, lambda reason: _fail(record, reason))
        joints.append(joint)
    results = [k for k in first if any(j.totals[k] is not None for j in joints)]

    def part(joint: Joint) -> Callable[[], list[Any]]:
        def compute() -> list[Any]:
            given: dict[Value, Callable[[], Any]] = {}
            for inside, outside in zip(joint.inputs, operands, strict=True):
                given[inside._value] = lambda t=outside: t
            for k, inside in joint.cotangents.items():
                given[inside._value] = lambda t=incoming[k]: t
            for k, inside in joint.partial.items():
                given[inside._value] = lambda k=k: sums.get(operands[k])
            here = active_trace()
            totals = [joint.totals[k]._value for k in results if joint.totals[k] is not None]
            found = iter(joint.emit(totals, given, here))
            return [
                next(found) if joint.totals[k] is not None else _unchanged(sums.get(operands[k]), operands[k])
                for k in results
            ]

        return compute

    return results, [part(joint) for joint in joints]


def _unchanged(held: Any, operand: Any) -> Any:
    return _filled(0.0, operand) if held is None else held


def _filled(number: float, like: Any) -> Any:
    """A tensor of like's type, all of one number."""
    from ..ops.gradients import constant_like
    from ..ops.shape import broadcast_to

    value = constant_like(number, like)
    return broadcast_to(value, shape=like.dims) if like.dims else value


def _switch(record: ControlRecord, incoming: Sequence[Any], wanted: Sequence[bool], sums: Any) -> None:
    index, operands = record.inputs[0], record.inputs[1:]
    branches = record.attributes["branches"]
    results, parts = _backward_parts(record, branches, operands, incoming, wanted[1:], sums)
    if results:
        trace = active_trace()
        totals = trace.branch(trace.lift(index), [_as_tuple(p) for p in parts], form="gradient of a choice")
        for k, total in zip(results, totals, strict=True):
            sums.set(operands[k], total)


def _as_tuple(function: Callable[[], list[Any]]) -> Callable[[], tuple[Any, ...]]:
    return lambda: tuple(function())


def _call(record: ControlRecord, incoming: Sequence[Any], wanted: Sequence[bool], sums: Any) -> None:
    function, operands = record.attributes["function"], record.inputs
    results, parts = _backward_parts(record, [function], operands, incoming, wanted, sums)
    if results:
        for k, total in zip(results, parts[0](), strict=True):
            sums.set(operands[k], total)


# while ----------------------------------------------------------------------------------------------------------------
class _Saving:
    """A loop that saves what its backward part needs. operands, carried: the node's when it was made to. flow: the carried
    values whose cotangents flow backwards from iteration to iteration; accumulated: the operands whose gradients are
    summed up over the iterations, and groups: which of them share a sum."""

    def __init__(
        self, record: ControlRecord, joint: Joint, flow: list[int], accumulated: list[int], groups: dict[int, int]
    ) -> None:
        self.operands, self.carried = record.inputs, record.attributes["carried"]
        self.joint, self.flow, self.groups = joint, flow, groups
        self.sums = [k for k in accumulated if groups[k] == k and joint.totals[k] is not None]
        #: value of the joint trace -> the stack (a result of the node) whose rows are its values
        self.stacks: dict[Value, Any] = {}
        #: input number -> the value of the joint trace that is added to it at each iteration
        self.inductions: dict[int, Value] = {}
        #: how many iterations there were
        self.count: Any = None

    def given(self, index: Any) -> dict[Value, Callable[[], Any]]:
        """What stands for the joint trace's values at iteration `index`: invariants as they are, saved values from their
        stacks, inductions computed."""
        from ..ops import add, cast, gather, multiply

        found: dict[Value, Callable[[], Any]] = {}

        def induction(start: Any, step: Value) -> Any:
            amount = self.joint.emit([step], found, active_trace())[0]
            times = index if index.dtype is start.dtype else cast(index, dtype=start.dtype)
            if _number(start) == 0 and _number(step) == 1:
                return times
            return add(start, multiply(times, amount))

        for k, inside in enumerate(self.joint.inputs):
            if k >= self.carried:
                found[inside._value] = lambda t=self.operands[k]: t
            elif k in self.inductions:
                found[inside._value] = lambda k=k: induction(self.operands[k], self.inductions[k])
        for value, stack in self.stacks.items():
            found[value] = lambda t=stack: gather(t, index, axis=0)
        return found


def _while(record: ControlRecord, incoming: Sequence[Any], wanted: Sequence[bool], sums: Any) -> None:
    saving = _saving(record, incoming, wanted, sums)
    if saving is None:
        return
    joint, flow, operands = saving.joint, saving.flow, saving.operands
    trace = active_trace()
    count = trace.lift(saving.count)
    most, bound = record.attributes["most"], record.attributes["body"].metadata.get("bound", "")
    starts = [_filled(-0.0, record.outputs[k]) if incoming[k] is None else incoming[k] for k in flow]
    for k in saving.sums:
        held = sums.get(operands[k])
        starts.append(_first_sum(joint, k, operands[k], count, bound == "exact" and most) if held is None else held)

    def goes_on(left: Any, *rest: Any) -> Any:
        from ..ops import constant, greater

        return greater(left, constant(value=np.zeros((), left.dtype.numpy)))

    def step(left: Any, *rest: Any) -> list[Any]:
        from ..ops import constant, subtract

        index = subtract(left, constant(value=np.ones((), left.dtype.numpy)))
        given = saving.given(index)
        for k, cotangent in zip(flow, rest, strict=False):
            given[joint.cotangents[k]._value] = lambda t=cotangent: t
        for k, total in zip(saving.sums, rest[len(flow) :], strict=True):
            given[joint.partial[k]._value] = lambda t=total: t
        after = [joint.totals[k] for k in (*flow, *saving.sums)]
        found = iter(joint.emit([t._value for t in after if t is not None], given, active_trace()))
        return [index, *(_filled(-0.0, r) if t is None else next(found) for t, r in zip(after, rest, strict=True))]

    names = ["(the iterations left)"]
    names += [f"the gradient of {joint.inputs[k]._value.name}" for k in (*flow, *saving.sums)]
    _, *found = trace.loop(
        goes_on, step, [count, *starts], form="gradient of a loop", names=names, most=most, bound=bound
    )
    for k, total in zip(saving.sums, found[len(flow) :], strict=True):
        sums.set(operands[k], total)
    for k, gradient in zip(flow, found, strict=False):
        if wanted[k]:
            sums.add(operands[k], gradient)


def _saving(
    record: ControlRecord, incoming: Sequence[Any], wanted: Sequence[bool], sums: Any
) -> _Saving | None:
    """The loop, saving what these gradients need; None where no operand has one."""
    operands, body, carried = record.inputs, record.attributes["body"], record.attributes["carried"]
    first_variable, variables = body.metadata.get("variables", (carried, 0))
    assigned = set(range(first_variable, first_variable + variables))
    flow, accumulated = _reach(body, carried, assigned, incoming, wanted)
    if not flow:
        return None
    groups = _groups(operands, accumulated, sums)
    # Invariants are counted from the end: a node that saves more has more carried operands before them.
    key = (tuple(flow), tuple((k if k < carried else k - len(operands), groups[k] - k) for k in accumulated))
    if key not in record.prepared:
        record.prepared[key] = _save(record, flow, accumulated, groups)
    found: _Saving = record.prepared[key]
    return found


def _reach(
    body: Graph, carried: int, assigned: set[int], incoming: Sequence[Any], wanted: Sequence[bool]
) -> tuple[list[int], list[int]]:
    """(the carried values whose cotangents flow backwards, the inputs whose gradients are summed up: invariants, and
    variables, where an assignment cuts)."""
    masks = dependence(body)
    sources = sum(1 << k for k, w in enumerate(wanted) if w)
    while True:
        more = sources | sum(1 << k for k in range(carried) if k not in assigned and masks[k] & sources)
        if more == sources:
            break
        sources = more
    active = sum(1 << k for k in range(carried) if incoming[k] is not None and k not in assigned)
    flowing = sum(1 << k for k in range(carried) if k not in assigned)
    while True:
        more = active
        for k in _bits(active, carried):
            more |= masks[k] & flowing
        if more == active:
            break
        active = more
    reached = 0
    for k in _bits(active & sources, carried):
        reached |= masks[k]
    summed = [k for k in _bits(reached, len(body.inputs)) if not flowing >> k & 1 and wanted[k]]
    return _bits(active & sources, carried), summed


def _first_sum(joint: Joint, position: int, operand: Any, count: Any, most: Any) -> Any:
    """Where a sum of gradients begins: -0.0, the exact unit of addition; 0.0 where only single rows are added to (the rest
    stays), and where the loop does not run at all."""
    from ..ops import broadcast_to, constant, greater, select

    if only_rows(joint.totals[position]._value, joint.partial[position]._value):
        return _filled(0.0, operand)
    if isinstance(most, int) and not isinstance(most, bool) and most > 0:
        return _filled(-0.0, operand)
    runs = greater(count, constant(value=np.zeros((), count.dtype.numpy)))
    kind = operand.dtype.numpy
    value = select(runs, constant(value=np.array(-0.0, kind)), constant(value=np.zeros((), kind)))
    return broadcast_to(value, shape=operand.dims) if operand.dims else value


def _save(record: ControlRecord, flow: list[int], accumulated: list[int], groups: dict[int, int]) -> _Saving:
    """Trace the joint body, choose what to save, and make the node in its trace save it."""
    home, body, carried = record.outputs[0]._trace, record.attributes["body"], record.attributes["carried"]
    outside = {name for t in record.inputs for dim in t.dims for name in symbols_of(dim)}
    own = {name for v in body.inputs[:carried] for dim in v.type.shape for name in symbols_of(dim)} - outside
    for k in flow:
        if any(symbols_of(dim) & own for dim in body.inputs[k].type.shape):
            raise _fail(record, f"the loop variable '{body.inputs[k].name}' may change its shape from iteration to iteration")
    joint = join(
        home, body, flow, [*flow, *accumulated], [k for k in accumulated if groups[k] == k], groups, own
    )
    saving = _Saving(record, joint, flow, accumulated, groups)
    saving.inductions = _inductions(joint, carried)
    free = {t._value for t in joint.inputs[carried:]} | {joint.inputs[k]._value for k in saving.inductions}
    saved = joint.choose(free, bool(body.metadata.get("recompute")), lambda reason: _fail(record, reason))
    _make_it_save(record, saving, saved)
    return saving


def _inductions(joint: Joint, carried: int) -> dict[int, Value]:
    """Integers that grow by the same amount at each iteration: input number -> the amount, an invariant or constant."""
    found = {}
    fixed = {t._value for t in joint.inputs[carried:]}
    for k in range(carried):
        after, inside = joint.outputs[k]._value.producer, joint.inputs[k]._value
        if not inside.type.dtype.is_integer or inside.type.shape or after is None or after.op.name != "add":
            continue
        if inside in after.inputs:
            step = after.inputs[1 - after.inputs.index(inside)]
            if step in fixed or (step.producer is not None and step.producer.op.name == "constant"):
                found[k] = step
    return found


def _number(tensor: Any) -> int | None:
    """The value of an integer constant."""
    node = (tensor if isinstance(tensor, Value) else tensor._trace.origin(tensor._value)).producer
    if node is None or node.op.name != "constant":
        return None
    value = node.attributes["value"]
    return int(value) if value.shape == () and value.dtype.kind in "iu" else None


def _make_it_save(record: ControlRecord, saving: _Saving, saved: list[Value]) -> None:
    """Replace the `while` node by one that also puts the saved values into stacks, a row for each iteration. Its first
    results are the old node's, the same values, so that everything that uses them stays as it is."""
    home, joint, carried = record.outputs[0]._trace, saving.joint, saving.carried
    body, most = record.attributes["body"], record.attributes["most"]
    bound = body.metadata.get("bound", "")
    rows = most if bound in ("exact", "tight") else None
    counter = next(
        (k for k, v in saving.inductions.items() if _number(record.inputs[k]) == 0 and _number(v) == 1), None
    )
    before = len(home.builder.nodes)
    with home.tracing():
        starts = [] if counter is not None else [home.lift(OPS["constant"](value=np.zeros((), np.int32)))]
        for value in saved:
            zero = OPS["constant"](value=np.zeros((), value.type.dtype.numpy))
            starts.append(OPS["broadcast_to"](zero, shape=(0 if rows is None else rows, *value.type.shape)))
        if bound == "exact" and most is not None:
            saving.count = home.dimension(most, int32)
    made = home.builder.nodes[before:]
    del home.builder.nodes[before:]
    inputs = [t._value for t in joint.inputs]
    nodes, extra, results = joint.forward_nodes(saved), list[Value](), list[Value]()
    source = record.source.as_backward()
    if counter is None:
        place = Value(starts[0].type, name="iteration")
        one = Node(OPS["constant"], (), {"value": np.ones((), np.int32)}, source)
        after = Node(OPS["add"], (place, one.output), {}, source)
        nodes += [one, after]
        extra.append(place)
        results.append(after.output)
    else:
        place = inputs[counter]
    for value, start in zip(saved, starts[len(extra) :], strict=True):
        type = start.type if rows is not None else start.type.with_shape((home.new_extent("k"), *start.dims[1:]))
        stack = Value(type, name="saved")
        operands = (stack, value) if rows is None else (stack, place, value)
        nodes.append(Node(OPS["append_row" if rows is None else "update_row"], operands, {}, source))
        extra.append(stack)
        results.append(nodes[-1].output)
    attributes = {
        "condition": _widened(record.attributes["condition"], carried, extra),
        "body": Graph(
            body.name,
            tuple(_named([*inputs[:carried], *extra, *inputs[carried:]])),
            tuple(nodes),
            (*(t._value for t in joint.outputs), *results),
            body.metadata,
        ),
        "carried": carried + len(extra),
        "most": most,
    }
    new = _replace(record, (*record.inputs[:carried], *starts, *record.inputs[carried:]), attributes, made)
    stacks = new if counter is not None else new[1:]
    saving.stacks = dict(zip(saved, stacks, strict=True))
    if saving.count is None:
        saving.count = new[0] if counter is None else record.outputs[counter]


def _replace(
    record: ControlRecord, operands: tuple[Any, ...], attributes: dict[str, Any], before: list[Node]
) -> list[Any]:
    """Put a node with more results in the place of the record's, with the nodes that it needs before it; tell the tapes.
    Returns the new results."""
    home = record.outputs[0]._trace
    old: Node = record.outputs[0]._value.producer
    used = iter(old.extents)
    extents: list[str] = []

    def fresh() -> Any:
        name = next(used, None)
        dim = symbol(name) if name is not None else home.new_extent()
        extents.append(dim.text)
        return dim

    while_results(tuple(t.type for t in operands), attributes["body"], attributes["carried"], fresh)
    attributes = {**attributes, "extents": tuple(extents)}
    node = Node(old.op, [t._value for t in operands], attributes, old.source)
    node.device = old.device
    for value in old.outputs:
        value.producer = node
    node.outputs = (*old.outputs, *node.outputs[len(old.outputs) :])
    position = home.builder.nodes.index(old)
    home.builder.nodes[position : position + 1] = [*before, node]
    new: list[Any] = home.tensors(node.outputs[len(old.outputs) :])
    home.register_extents(new, extents[len(old.extents) :])
    record.inputs, record.attributes = operands, node.attributes
    record.outputs = (*record.outputs, *new)
    for tape in record.holders:
        tape.connect_results(new)
    return new


def _widened(graph: Graph, position: int, like: Sequence[Value]) -> Graph:
    """A graph with more inputs, which it does not use."""
    extra = [Value(v.type, name=v.name) for v in like]
    inputs = _named([*graph.inputs[:position], *extra, *graph.inputs[position:]])
    return Graph(graph.name, tuple(inputs), graph.nodes, graph.outputs, graph.metadata)


def _named(values: list[Value]) -> list[Value]:
    """The values, each with a name of its own."""
    taken: set[str] = set()
    for value in values:
        name, count = value.name, 1
        while name in taken:
            name, count = f"{value.name}_{count}", count + 1
        value.name = name
        taken.add(name)
    return values
