"""Jacobians: one walk back over the tape, for all elements of the target at once.

The walk is traced with a symbolic cotangent, and the graph that comes out runs once on a batch of cotangents, the rows of the unit
matrix (batching.py). Where an op has no rule for a batch the rows are computed one after another: by a loop in a trace, by as many
walks without one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..dtypes import int32, int64
from ..errors import GraphflowError
from ..ir.dims import product
from ..ir.types import TensorType
from ..tree import flatten, pack_sequence_as
from .batching import NoBatch, batched
from .record import active_trace, new_trace, recorders

__all__ = ["batch_jacobian", "jacobian"]

UNROLLED = 4
"""Elements of the target up to which the loop of a trace is written out."""


def jacobian(tape: Any, target: Any, sources: Any, use_batch: bool, zero: Callable[[Any], Any] | None) -> Any:
    """See GradientTape.jacobian. zero: makes the rows of a source that the target does not depend on; None leaves None."""
    from ..ops import reshape

    flat = flatten(sources)
    rows = _rows(tape, target, flat, _unit_matrix(target, target.dims), use_batch)

    def shaped(row: Any, source: Any) -> Any:
        if row is None:
            return None if zero is None else zero(source)
        return reshape(row, shape=(*target.dims, *source.dims))

    return pack_sequence_as(sources, [shaped(r, s) for r, s in zip(rows, flat, strict=True)])


def batch_jacobian(tape: Any, target: Any, source: Any, use_batch: bool) -> Any:
    """See GradientTape.batch_jacobian; None where the target does not depend on the source."""
    from ..ops import reshape, transpose
    from ..ops.shape import broadcast_to

    own, batch = tuple(target.dims[1:]), target.dims[0]
    unit = _unit_matrix(target, own)
    count = unit.dims[0]
    whole = broadcast_to(reshape(unit, shape=(count, 1, *own)), shape=(count, batch, *own))
    row = _rows(tape, target, [source], whole, use_batch)[0]
    if row is None:
        return None
    inner = tuple(source.dims[1:])
    front = transpose(row, permutation=(1, 0, *range(2, 2 + len(inner))))
    return reshape(front, shape=(batch, *own, *inner))


def _unit_matrix(target: Any, dims: Sequence[Any]) -> Any:
    """The cotangents of all elements of a target with these extents: [count, *dims], 1 for one element in each row."""
    from ..ops import constant, equal, iota, reshape, select
    from ..ops.gradients import constant_like

    count = product(dims)
    if isinstance(count, int):
        return constant(value=np.eye(count, dtype=target.dtype.numpy).reshape((count, *dims)))
    rows, columns = (iota(shape=(count, count), axis=axis, dtype=int64) for axis in (0, 1))
    unit = select(equal(rows, columns), constant_like(1, target), constant_like(0, target))
    return reshape(unit, shape=(count, *dims))


def _rows(tape: Any, target: Any, sources: list[Any], cotangents: Any, use_batch: bool) -> list[Any]:
    """For each source the gradients for all cotangents (the first axis), or None."""
    count = cotangents.dims[0]
    if isinstance(count, int) and count == 0:
        return _no_rows(tape, target, sources)
    if use_batch and not (isinstance(count, int) and count == 1):
        try:
            return _at_once(tape, target, sources, cotangents)
        except NoBatch as missing:
            _remark(missing)
        except GraphflowError:
            # what cannot be traced (a gradient function that needs numbers): the walks below raise what they must
            pass
    return _one_by_one(tape, target, sources, cotangents, count)


def _remark(missing: NoBatch) -> None:
    trace = active_trace()
    if trace is not None:
        text = f"jacobian: {missing.name} has no rule for a batch; the rows are computed one after another"
        trace.root.notes.append(("gradient", text, missing.source))


def _no_rows(tape: Any, target: Any, sources: list[Any]) -> list[Any]:
    from ..ops.gradients import constant_like
    from ..ops.shape import broadcast_to

    found = tape._backward([target], [None], sources, _none())
    return [None if g is None else broadcast_to(constant_like(0, g), shape=(0, *g.dims)) for g in found]


def _none() -> Any:
    from .tape import UnconnectedGradients

    return UnconnectedGradients.NONE


def _at_once(tape: Any, target: Any, sources: list[Any], cotangents: Any) -> list[Any]:
    outer = active_trace()
    trace = new_trace("jacobian") if outer is None else outer.subtrace("jacobian", "backward part", "jacobian")
    around = recorders.get()
    with trace.tracing():
        row = trace.input("d", TensorType(target.dtype, tuple(target.dims)))
        totals = tape._backward([target], [row], list(sources), _none())
        totals = [None if t is None else trace.lift(t) for t in totals]
    captured = getattr(trace, "captures", {}).values()
    given: dict[Any, Callable[[], Any]] = {inside._value: partial(_same, t) for t, inside in captured}
    if outer is None:
        given |= {inside._value: partial(_same, t) for t, inside in trace._lifted.values()}
    else:
        given |= {inside._value: variable.value for variable, inside in trace.reads.values()}
    token = recorders.set(around)
    try:
        values = [t._value for t in totals if t is not None]
        found = iter(batched(trace.builder.nodes, values, given, {row._value: cotangents}))
    finally:
        recorders.reset(token)
        trace.alive = False
    return [None if t is None else _filled(*next(found), cotangents.dims[0]) for t in totals]


def _same(tensor: Any) -> Any:
    return tensor


def _filled(tensor: Any, has: bool, count: Any) -> Any:
    from .batching import _whole

    return _whole(tensor, has, count)


def _one_by_one(tape: Any, target: Any, sources: list[Any], cotangents: Any, count: Any) -> list[Any]:
    from ..ops import concat, constant, gather, less, reshape, update_row
    from ..ops.gradients import constant_like
    from ..ops.shape import broadcast_to

    def walk(row: Any) -> list[Any]:
        return flatten(tape._backward([target], [row], list(sources), _none()))

    trace = active_trace()
    if trace is None or isinstance(count, int) and count <= UNROLLED:
        rows = [walk(gather(cotangents, constant(value=np.array(k, np.int32)), axis=0)) for k in range(count)]
        found = []
        for column in zip(*rows, strict=True):
            parts = [None if g is None else reshape(g, shape=(1, *g.dims)) for g in column]
            found.append(None if None in parts else concat(*parts, axis=0) if count > 1 else parts[0])
        return found
    # which sources have gradients; its nodes are dropped if unused
    first = walk(broadcast_to(constant_like(0, target), shape=tuple(cotangents.dims[1:])))
    reached = [k for k, g in enumerate(first) if g is not None]
    one = constant(value=np.array(1, np.int32))
    number = constant(value=np.array(count, np.int32)) if isinstance(count, int) else trace.dimension(count, int32)
    starts = []
    for k in reached:
        zero = constant(value=np.zeros((), first[k].dtype.numpy))
        starts.append(broadcast_to(zero, shape=(count, *first[k].dims)))

    def step(k: Any, *stacks: Any) -> list[Any]:
        gradients = walk(gather(cotangents, k, axis=0))
        return [k + one, *(update_row(s, k, gradients[r]) for s, r in zip(stacks, reached, strict=True))]

    names = ["(the row)", *(f"the rows of source {k}" for k in reached)]
    results = trace.loop(
        lambda k, *stacks: less(k, number), step, [constant(value=np.array(0, np.int32)), *starts], form="jacobian",
        names=names, most=count, bound="exact",
    )  # fmt: skip
    rows_of = dict(zip(reached, results[1:], strict=True))
    return [rows_of.get(k) for k in range(len(sources))]
