"""Rows combined by number: out[ids[j], :] = combine(out[ids[j], :], data[j, :]) in order of j, so that the result does not depend on
threads."""

from __future__ import annotations

from typing import Any

from ....ir.dims import product
from ....kernels.nest import Check
from .common import new_routine, run_routine
from .cumulative import combine, unit_of

__all__ = ["emit_scatter_reduce"]


def emit_scatter_reduce(step: Any, node: Any, number: int) -> None:
    """ids[n...], data[n..., rest...] -> [rows, rest...]. Negative ids are dropped where the node says so; others outside are reported."""
    ids, data, out = node.inputs[0], node.inputs[1], node.output
    dtype, kind = out.type.dtype, node.attributes["kind"]
    count, inner = product(ids.type.shape), product(out.type.shape[1:])
    r = new_routine(step, node)
    numbers, source, target = (r.pointer(v) for v in (ids, data, out))
    n, width, rows = r.dim(count), r.dim(inner), r.dim(out.type.shape[0])
    check = len(step.checks)
    step.checks.append(Check("index_out_of_range", node.op.name, node.source, "", ids.type.shape))
    step._can_fail = True
    with r.loop(rows * width) as k:
        r.store(target, k, r.number(unit_of(kind, dtype), dtype), dtype)
    with r.loop(n) as j:
        place = r.convert(r.load(numbers, j, ids.type.dtype), "i64")
        inside = (place >= 0) & (place < rows)
        with r.when(inside), r.loop(width) as c:
            spot = place * width + c
            value = combine(r, kind, r.load(target, spot, dtype), r.load(source, j * width + c, dtype))
            r.store(target, spot, value, dtype)
        outside = ~inside
        if node.attributes["drop_negative"]:
            outside = outside & (place >= 0)
        with r.when(outside):
            r.fail(check, j)
    run_routine(step, r, 1, count * inner * 8)
