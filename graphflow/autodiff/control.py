"""Gradients of control flow, as ops.

    switch   ->  a switch of the branches' backward parts, which compute again what they need of the branch (where a tape outside
                 watches the gradient, the switch is made to return it)
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
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np

from ..dtypes import int32
from ..errors import NoGradientError
from ..ir.dims import symbols_of
from ..ir.graph import Graph, Node, Value
from .joint import Joint, dependence, is_float, join, only_rows, replayed
from .record import ControlRecord, active_trace, recorders
from .saving import inductions_of, make_it_return, make_it_save, number_of

__all__ = ["add_control_gradients", "reach_through"]


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


def _always(tensor: Any) -> Callable[[], Any]:
    return lambda: tensor


def _groups(operands: Sequence[Any], positions: Sequence[int], sums: Any) -> dict[int, int]:
    """Operand -> the first one that adds to the same sum."""
    first: dict[int, int] = {}
    return {k: first.setdefault(sums.key(operands[k]), k) for k in positions}


def _bits(mask: int, count: int) -> list[int]:
    return [k for k in range(count) if mask >> k & 1]


def reach_through(record: ControlRecord, inputs: Sequence[bool]) -> tuple[list[bool], list[Any]]:
    """(which results depend on the marked operands in a way that gradients see, the records inside that cut a path)."""
    attributes = record.attributes
    if record.op.name == "switch":
        parts = [_reach_inside(branch, inputs[1:]) for branch in attributes["branches"]]
        return [any(column) for column in zip(*(p[0] for p in parts), strict=True)], [c for p in parts for c in p[1]]
    if record.op.name == "call":
        return _reach_inside(attributes["function"], inputs)
    marked, carried = list(inputs), attributes["carried"]
    while True:
        through, cuts = _reach_inside(attributes["body"], marked)
        after = [a or b for a, b in zip(marked[:carried], through, strict=True)]
        if after == marked[:carried]:
            return through if _runs(record) else after, cuts
        marked[:carried] = after


def _runs(record: ControlRecord) -> bool:
    """Is a loop known to run at least once?"""
    most = record.attributes["most"]
    return record.attributes["body"].metadata.get("bound") == "exact" and isinstance(most, int) and most > 0


def _reach_inside(graph: Graph, inputs: Sequence[bool]) -> tuple[list[bool], list[Any]]:
    from .tape import GradientTape

    trace = active_trace().subtrace(f"{graph.name} paths", "body", "gradient")
    with trace.tracing():
        tape = GradientTape(persistent=True, watch_accessed_variables=False)
        own = [trace.input(v.name, v.type) for v in graph.inputs]
        starts = [t for t, k in zip(own, inputs, strict=True) if k and is_float(t)]
        with tape:
            tape.watch(starts)
            held = replayed(trace, graph, own)
        reached, cuts = tape.reach({id(t) for t in starts})
    return [id(held[v]) in reached for v in graph.outputs], cuts


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
    cotangents = {k: tuple(g.dims) for k, g in enumerate(incoming) if g is not None}
    reached = 0
    for graph in graphs:
        masks = dependence(graph)
        for k in cotangents:
            reached |= masks[k]
    sources = [k for k in _bits(reached, len(operands)) if wanted[k]]
    groups = _groups(operands, sources, sums)
    first = [k for k in sources if groups[k] == k]
    begun = [k for k in first if sums.get(operands[k]) is not None]
    watched = bool(recorders.get()) or _watched.get()
    key = tuple(cotangents.items()), tuple(groups.items()), tuple(begun), watched
    if key not in record.prepared:
        joints, saved = [], []
        token = _watched.set(watched)
        try:
            for graph in graphs:
                joint = join(trace, graph, cotangents, sources, begun, groups, set())
                inputs = {t._value for t in joint.inputs}
                saved.append(joint.choose(inputs, not watched, lambda reason: _fail(record, reason), watched=watched))
                joints.append(joint)
        finally:
            _watched.reset(token)
        record.prepared[key] = joints, make_it_return(record, joints, saved)
    joints, returned = record.prepared[key]
    results = [k for k in first if any(j.totals[k] is not None for j in joints)]

    def part(joint: Joint, kept: dict[Value, Any]) -> Callable[[], list[Any]]:
        def compute() -> list[Any]:
            given: dict[Value, Callable[[], Any]] = {value: _always(result) for value, result in kept.items()}
            for inside, outside in zip(joint.inputs, operands, strict=True):
                given[inside._value] = _always(outside)
            for k, inside in joint.cotangents.items():
                given[inside._value] = _always(incoming[k])
            for k, inside in joint.partial.items():
                given[inside._value] = partial(sums.get, operands[k])
            here = active_trace()
            totals = [joint.totals[k]._value for k in results if joint.totals[k] is not None]
            found = iter(joint.emit(totals, given, here))
            return [
                next(found) if joint.totals[k] is not None else _unchanged(sums.get(operands[k]), operands[k])
                for k in results
            ]

        return compute

    return results, [part(joint, kept) for joint, kept in zip(joints, returned, strict=True)]


def _unchanged(held: Any, operand: Any, number: float = 0.0) -> Any:
    return _filled(number, operand) if held is None else held


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
class _Plan:
    """What differentiating a loop has to do. flow: the carried values whose cotangents flow backwards from iteration to
    iteration. rows: those that a row is written to at each iteration and that nothing else reads: output number -> (the
    row, the place it is written to, or None for the end); their cotangents are read row by row. accumulated: the operands
    whose gradients are summed up over the iterations, groups: which of them share a sum. together: which sums they share
    with carried values in the first iteration, and begun: which of these have begun; None if none does."""

    def __init__(self, record: ControlRecord, incoming: Sequence[Any], wanted: Sequence[bool], sums: Any) -> None:
        operands, body, carried = record.inputs, record.attributes["body"], record.attributes["carried"]
        first_variable, variables = body.metadata.get("variables", (carried, 0))
        assigned = set(range(first_variable, first_variable + variables))
        reached, self.accumulated = _reach(body, carried, assigned, incoming, wanted)
        self.rows = {}
        for k in reached:
            row = _written_row(body, k, carried, is_wanted=wanted[k])
            if row is not None:
                self.rows[k] = row
        self.flow = [k for k in reached if k not in self.rows]
        self.cotangents = [k for k in reached if k not in self.rows or incoming[k] is not None]
        self.groups = _groups(operands, self.accumulated, sums)
        sources = [k for k in self.flow if wanted[k]]
        self.together = _groups(operands, [*self.accumulated, *sources], sums)
        self.begun = [k for k in sources if self.together[k] == k and sums.get(operands[k]) is not None]
        shared = {self.together[k] for k in sources}
        alone = len(shared) == len(sources) and not shared & set(self.accumulated)
        self.peels = bool(self.begun) or not alone

    def key(self, carried: int, count: int) -> Any:
        """Equal for equal tasks. Invariants are counted from the end: a node that saves more has more carried operands
        before them."""

        def place(k: int) -> int:
            return k if k < carried else k - count

        groups = tuple((place(k), place(rep)) for k, rep in self.groups.items())
        together = tuple((place(k), place(rep)) for k, rep in self.together.items())
        first = (together, tuple(self.begun)) if self.peels else None
        return tuple(self.flow), tuple(self.cotangents), groups, first


class _Saving:
    """A loop that saves what its backward part needs. operands, carried: the node's when it was made to."""

    def __init__(self, record: ControlRecord, joint: Joint, plan: _Plan) -> None:
        self.operands, self.carried = record.inputs, record.attributes["carried"]
        self.joint, self.plan = joint, plan
        self.sums = [k for k in plan.accumulated if plan.groups[k] == k and joint.totals[k] is not None]
        #: value of the joint trace -> the stack (a result of the node) whose rows are its values
        self.stacks: dict[Value, Any] = {}
        #: input number -> the value of the joint trace that is added to it at each iteration
        self.inductions: dict[int, Value] = {}
        #: where each of plan.rows is written, a value of the joint trace; None for the end
        self.places: dict[int, Value | None] = {}
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
            if number_of(start) == 0 and number_of(step) == 1:
                return times
            return add(start, multiply(times, amount))

        for k, inside in enumerate(self.joint.inputs):
            if k >= self.carried:
                found[inside._value] = _always(self.operands[k])
            elif k in self.inductions:
                found[inside._value] = partial(induction, self.operands[k], self.inductions[k])
        for value, stack in self.stacks.items():
            found[value] = partial(gather, stack, index, axis=0)
        return found


def _while(record: ControlRecord, incoming: Sequence[Any], wanted: Sequence[bool], sums: Any) -> None:
    plan = _Plan(record, incoming, wanted, sums)
    if not plan.cotangents:
        return
    key = plan.key(record.attributes["carried"], len(record.inputs))
    if key not in record.prepared:
        record.prepared[key] = _save(record, plan)
    _Backward(record, record.prepared[key], incoming, wanted, sums).run()


class _Backward:
    """The loop that runs backwards."""

    def __init__(
        self, record: ControlRecord, saving: _Saving, incoming: Sequence[Any], wanted: Sequence[bool], sums: Any
    ) -> None:
        self.record, self.saving, self.incoming, self.wanted, self.totals = record, saving, incoming, wanted, sums
        self.joint, self.plan, self.operands = saving.joint, saving.plan, saving.operands
        self.trace = active_trace()
        self.most, self.bound = record.attributes["most"], record.attributes["body"].metadata.get("bound", "")

    def run(self) -> None:
        from ..ops import constant, greater

        plan, operands, sums = self.plan, self.operands, self.totals
        count = self.trace.lift(self.saving.count)
        starts = [
            _filled(-0.0, self.record.outputs[k]) if self.incoming[k] is None else self.incoming[k] for k in plan.flow
        ]
        for k in self.saving.sums:
            held = sums.get(operands[k])
            starts.append(self.first_sum(k, count) if held is None else held)
        left_over = constant(value=np.array(int(plan.peels), count.dtype.numpy))

        def goes_on(left: Any, *rest: Any) -> Any:
            return greater(left, left_over)

        def step(left: Any, *rest: Any) -> list[Any]:
            index, given = self.at(left, rest)
            after = [self.joint.totals[k] for k in (*plan.flow, *self.saving.sums)]
            found = iter(self.joint.emit([t._value for t in after if t is not None], given, active_trace()))
            return [index, *(_filled(-0.0, r) if t is None else next(found) for t, r in zip(after, rest, strict=True))]

        names = ["(the iterations left)"]
        names += [f"the gradient of {self.joint.inputs[k]._value.name}" for k in (*plan.flow, *self.saving.sums)]
        left, *found = self.trace.loop(
            goes_on, step, [count, *starts], form="gradient of a loop", names=names, most=self.most,
            bound="tight" if plan.peels and self.bound else self.bound,
        )  # fmt: skip
        if plan.peels:
            self.first_iteration(left, found)
        else:
            for k, total in zip(self.saving.sums, found[len(plan.flow) :], strict=True):
                sums.set(operands[k], total)
            for k, gradient in zip(plan.flow, found, strict=False):
                if self.wanted[k] and not (self.joint.totals[k] is None and _runs(self.record)):
                    sums.add(operands[k], gradient)
        for k in plan.rows:
            if self.wanted[k] and self.incoming[k] is not None:
                sums.add(operands[k], _first_rows(self.incoming[k], operands[k]))

    def first_sum(self, position: int, count: Any) -> Any:
        """Where a sum of gradients begins: -0.0, the exact unit of addition; 0.0 where only single rows are added to (the
        rest stays), and where the loop does not run at all."""
        from ..ops import broadcast_to, constant, greater, select
        from ..ops.gradients import constant_like

        operand, joint = self.operands[position], self.joint
        if only_rows(joint.totals[position]._value, joint.partial[position]._value):
            return _filled(0.0, operand)
        if _runs(self.record):
            return _filled(-0.0, operand)
        runs = greater(count, constant(value=np.zeros((), count.dtype.numpy)))
        value = select(runs, constant_like(-0.0, operand), constant_like(0.0, operand))
        return broadcast_to(value, shape=operand.dims) if operand.dims else value

    def at(self, left: Any, cotangents: Sequence[Any]) -> tuple[Any, dict[Value, Callable[[], Any]]]:
        """(the iteration's number, what stands for the joint trace's values there)."""
        from ..ops import constant, subtract

        plan, joint = self.plan, self.joint
        index = subtract(left, constant(value=np.ones((), left.dtype.numpy)))
        given = self.saving.given(index)
        for k, cotangent in zip(plan.flow, cotangents, strict=False):
            given[joint.cotangents[k]._value] = _always(cotangent)
        for k, total in zip(self.saving.sums, cotangents[len(plan.flow) :], strict=True):
            given[joint.partial[k]._value] = _always(total)
        for k in plan.cotangents:
            if k in plan.rows:
                given[joint.cotangents[k]._value] = partial(self.row, k, index, given)
        return index, given

    def row(self, position: int, index: Any, given: dict[Value, Callable[[], Any]]) -> Any:
        """The cotangent of the row that the iteration wrote."""
        from ..ops import add, cast, dimension, gather

        place = self.saving.places[position]
        if place is not None:
            index = self.joint.emit([place], given, active_trace())[0]
        elif self.operands[position].dims[0] != 0:
            before = dimension(self.operands[position], axis=0)
            index = add(before if index.dtype is int32 else cast(before, dtype=index.dtype), index)
        return gather(self.incoming[position], index, axis=0)

    def first_iteration(self, left: Any, found: list[Any]) -> None:
        """The first iteration by itself: there a carried value is the operand that it starts from, whose sum may have begun,
        or be that of another operand too."""
        from ..ops import constant, greater

        plan, joint, sums, operands = self.plan, self.joint, self.totals, self.operands
        parts = list(dict.fromkeys(plan.together.values()))
        accumulated = dict(zip(self.saving.sums, found[len(plan.flow) :], strict=True))
        cotangents = dict(zip(plan.flow, found, strict=False))

        def before(k: int) -> Any:
            return accumulated[k] if k in accumulated else sums.get(operands[k])

        def ran() -> tuple[Any, ...]:
            _, given = self.at(left, found)
            for k, inside in joint.first_partial.items():
                given[inside._value] = partial(sums.get, operands[k])
            for k, inside in joint.partial.items():
                if k not in accumulated and k in parts:
                    given[inside._value] = _always(_unchanged(sums.get(operands[k]), operands[k], -0.0))
            after = [joint.first_totals[k] for k in parts]
            totals = iter(joint.emit([t._value for t in after if t is not None], given, active_trace()))
            return tuple(
                next(totals) if t is not None else _unchanged(before(k), operands[k])
                for k, t in zip(parts, after, strict=True)
            )

        def did_not_run() -> tuple[Any, ...]:
            totals = {k: before(k) for k in parts}
            for k, gradient in cotangents.items():
                rep = plan.together.get(k)
                if rep is not None:
                    totals[rep] = gradient if totals[rep] is None else totals[rep] + gradient
            return tuple(_unchanged(totals[k], operands[k]) for k in parts)

        if _runs(self.record):
            results = ran()
        else:
            runs = greater(left, constant(value=np.zeros((), left.dtype.numpy)))
            results = self.trace.branch(runs, [did_not_run, ran], form="gradient of a loop")
        for k, total in zip(parts, results, strict=True):
            sums.set(operands[k], total)


def _first_rows(gradient: Any, operand: Any) -> Any:
    """The part of an array's gradient that belongs to the rows it began with."""
    from ..ops import strided_slice

    rank = len(operand.dims)
    return strided_slice(gradient, begin=(0,) * rank, sizes=operand.dims, strides=(1,) * rank)


def _written_row(body: Graph, position: int, carried: int, is_wanted: bool) -> tuple[Value, Value | None] | None:
    """(the row, its place or None for the end) where a carried array only has a row written to it at each iteration, each
    time another one, and nothing reads it. Rows of an array whose own gradient is wanted must be new ones."""
    array, after = body.inputs[position], body.outputs[position].producer
    if after is None or not after.inputs or array in body.outputs:
        return None
    first = after.inputs[0]
    if first.producer is not None and is_growth(first.producer):
        first = first.producer.inputs[0]
    reads = [node for node in body.uses.get(array, ()) if node.op.name != "dimension"]
    if first is not array or len(reads) != 1:
        return None
    if sum(v is body.outputs[position] for v in body.outputs) != 1 or body.outputs[position] in body.uses:
        return None
    if after.op.name == "append_row":
        return after.inputs[1], None
    if after.op.name == "update_row" and not is_wanted and _is_injective(body, after.inputs[1], carried):
        return after.inputs[2], after.inputs[1]
    return None


def is_growth(node: Node) -> bool:
    """Is it the loop that makes a TensorArray longer, with zeros?"""
    return node.op.name == "while" and node.attributes["body"].metadata.get("bound") == "growth"


def _is_injective(body: Graph, index: Value, carried: int) -> bool:
    """Is an index another one at each iteration: a counter, plus or minus something fixed?"""
    node = index.producer
    if node is None:
        if index not in body.inputs[:carried]:
            return False
        after = body.outputs[body.inputs.index(index)].producer
        if after is None or after.op.name not in ("add", "subtract") or after.inputs[0] is not index:
            return False
        return number_of(after.inputs[1]) not in (None, 0)
    fixed = [_is_fixed(body, v, carried) for v in node.inputs]
    if node.op.name in ("add", "subtract") and len(fixed) == 2 and any(fixed):
        return _is_injective(body, node.inputs[0 if fixed[1] else 1], carried)
    return False


def _is_fixed(body: Graph, value: Value, carried: int) -> bool:
    """Is a value the same at each iteration?"""
    if value.producer is None:
        return value not in body.inputs[:carried]
    return value.producer.op.name == "constant"


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


#: does a tape outside watch the backward part? Then what it reads is saved, not computed again: the derivative of second order adds
#: up the gradients of one value, as that of an eager run does, and not those of two copies of it
_watched: ContextVar[bool] = ContextVar("graphflow_watched_gradient", default=False)


def _save(record: ControlRecord, plan: _Plan) -> _Saving:
    """Trace the joint body, choose what to save, and make the node in its trace save it."""
    home, body, carried = record.outputs[0]._trace, record.attributes["body"], record.attributes["carried"]
    outside = {name for t in record.inputs for dim in t.dims for name in symbols_of(dim)}
    own = {name for v in body.inputs[:carried] for dim in v.type.shape for name in symbols_of(dim)} - outside
    for k in plan.flow:
        if any(symbols_of(dim) & own for dim in body.inputs[k].type.shape):
            raise _fail(
                record, f"the loop variable '{body.inputs[k].name}' may change its shape from iteration to iteration"
            )
    watched = bool(recorders.get()) or _watched.get()
    token = _watched.set(watched)
    try:
        joint = join(
            home, body, dict.fromkeys(plan.cotangents), [*plan.flow, *plan.accumulated],
            [k for k in plan.accumulated if plan.groups[k] == k], plan.groups, own,
            {k: row for k, (row, _) in plan.rows.items()}, (plan.begun, plan.together) if plan.peels else None,
        )  # fmt: skip
    finally:
        _watched.reset(token)
    saving = _Saving(record, joint, plan)
    saving.inductions = inductions_of(joint, carried)
    free = {t._value for t in joint.inputs[carried:]} | {joint.inputs[k]._value for k in saving.inductions}
    places = {k: joint.outputs[k]._value.producer.inputs[1] for k, (_, place) in plan.rows.items() if place is not None}
    saving.places = {k: places.get(k) for k in plan.rows}
    saved = joint.choose(
        free, bool(body.metadata.get("recompute")) and not watched, lambda reason: _fail(record, reason),
        [places[k] for k in plan.cotangents if k in places], watched,
    )  # fmt: skip
    make_it_save(record, saving, saved)
    return saving
