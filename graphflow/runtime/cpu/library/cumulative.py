"""Running sums, products, maxima and minima along an axis: one after the other, in order, so that a result is the same bits whatever its
surroundings. Positions after the axis run side by side."""

from __future__ import annotations

from typing import Any

from ....ir.dims import product
from ..routine import Number, Routine
from .common import new_routine, run_routine

__all__ = ["combine", "emit_cumulative", "unit_of"]


def unit_of(kind: str, dtype: Any) -> Any:
    """What a running combination starts from."""
    if kind in ("max", "min"):
        if dtype.is_floating:
            return float("-inf") if kind == "max" else float("inf")
        return dtype.min if kind == "max" else dtype.max
    return {"sum": 0, "prod": 1}[kind]


def combine(r: Routine, kind: str, a: Number, b: Number) -> Number:
    """a and b combined; NaN wins in max and min."""
    if kind == "sum":
        return a + b
    if kind == "prod":
        return a * b
    better = a > b if kind == "max" else a < b
    if a.is_float:
        better = better | a.is_nan
    return r.select(better, a, b)


def emit_cumulative(step: Any, node: Any, number: int) -> None:
    """One unit is one position of the axes before; rows of the axis are walked in order, all inner positions of each."""
    x, out = node.inputs[0], node.output
    dtype, shape = x.type.dtype, x.type.shape
    axis, kind = node.attributes["axis"], node.attributes["kind"]
    exclusive, reverse = node.attributes["exclusive"], node.attributes["reverse"]
    outer, length, inner = product(shape[:axis]), shape[axis], product(shape[axis + 1 :])
    r = new_routine(step, node)
    source, target = r.pointer(x), r.pointer(out)
    n, width = r.dim(length), r.dim(inner)
    with r.loop(r.end, r.begin) as unit:
        base = unit * n * width

        def row(k: Number) -> Number:
            return base + ((n - 1 - k) if reverse else k) * width

        with r.loop(width) as c:
            total = r.cell(r.number(unit_of(kind, dtype), dtype))
            with r.loop(n) as k:
                place = row(k) + c
                value = r.load(source, place, dtype)
                if exclusive:
                    r.store(target, place, total.get(), dtype)
                following = combine(r, kind, total.get(), value)
                if kind in ("sum", "prod"):
                    # the first element itself: 0 + -0.0 would lose its sign
                    following = r.select(k == 0, value, following)
                total.set(following)
                if not exclusive:
                    r.store(target, place, total.get(), dtype)
    run_routine(step, r, outer, length * inner * 8)
