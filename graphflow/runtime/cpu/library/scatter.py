"""Rows combined by number: out[ids[j], :] = combine(out[ids[j], :], data[j, :]) in order of j, so that the result does not depend on
threads."""

from __future__ import annotations

from typing import Any

from ....ir.dims import product
from ....kernels.nest import Check
from ..routine import Routine
from .common import new_routine, run_routine
from .cumulative import combine, unit_of

__all__ = ["emit_scatter_into", "emit_scatter_reduce"]


def emit_scatter_reduce(step: Any, node: Any, number: int) -> None:
    """ids[n...], data[n..., rest...] -> [rows, rest...]. Negative ids are dropped where the node says so; others outside are reported."""
    ids, data, out = node.inputs[0], node.inputs[1], node.output
    r = new_routine(step, node)
    target, cells = r.pointer(out), r.dim(product(out.type.shape))
    dtype = out.type.dtype
    with r.loop(cells) as k:
        r.store(target, k, r.number(unit_of(node.attributes["kind"], dtype), dtype), dtype)
    _combine_rows(step, r, node, ids, data, node.attributes["drop_negative"])


def emit_scatter_into(step: Any, node: Any, number: int) -> None:
    """array[rows, rest...], ids[n], data[n, rest...] -> array with its rows replaced or combined."""
    array, ids, data = node.inputs
    r = new_routine(step, node)
    r.copy(r.pointer(node.output), r.pointer(array), r.dim(product(array.type.shape) * array.type.dtype.itemsize))
    _combine_rows(step, r, node, ids, data, False)


def _combine_rows(step: Any, r: Routine, node: Any, ids: Any, data: Any, drop_negative: bool) -> None:
    out, kind = node.output, node.attributes["kind"]
    dtype, count, inner = out.type.dtype, product(ids.type.shape), product(out.type.shape[1:])
    numbers, source, target = (r.pointer(v) for v in (ids, data, out))
    n, width, rows = r.dim(count), r.dim(inner), r.dim(out.type.shape[0])
    check = len(step.checks)
    step.checks.append(Check("index_out_of_range", node.op.name, node.source, "", ids.type.shape))
    step._can_fail = True
    with r.loop(n) as j:
        place = r.convert(r.load(numbers, j, ids.type.dtype), "i64")
        inside = (place >= 0) & (place < rows)
        with r.when(inside), r.loop(width) as c:
            spot = place * width + c
            value = r.load(source, j * width + c, dtype)
            if kind != "set":
                value = combine(r, kind, r.load(target, spot, dtype), value)
            r.store(target, spot, value, dtype)
        outside = ~inside
        if drop_negative:
            outside = outside & (place >= 0)
        with r.when(outside):
            r.fail(check, j)
    run_routine(step, r, 1, count * inner * 8)
