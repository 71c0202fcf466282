"""Running products of complex numbers, one after the other in order."""

from __future__ import annotations

from typing import Any

from ....ir.dims import product
from .common import new_routine, run_routine

__all__ = ["emit_pair_products"]


def emit_pair_products(step: Any, node: Any, number: int) -> None:
    """One unit is one position of the axes before; the positions after run one by one."""
    del number
    x, out = node.inputs[0], node.output
    dtype, shape = x.type.dtype, x.type.shape[:-1]
    axis = node.attributes["axis"]
    exclusive, reverse, total = (node.attributes[name] for name in ("exclusive", "reverse", "total"))
    outer, length, inner = product(shape[:axis]), shape[axis], product(shape[axis + 1 :])
    r = new_routine(step, node)
    source, target = r.pointer(x), r.pointer(out)
    n, width = r.dim(length), r.dim(inner)
    with r.loop(r.end, r.begin) as unit, r.loop(width) as c:
        real, imag = r.cell(r.number(1, dtype)), r.cell(r.number(0, dtype))
        with r.loop(n) as k:
            place = ((unit * n + ((n - 1 - k) if reverse else k)) * width + c) * 2
            a, b = r.load(source, place, dtype), r.load(source, place + 1, dtype)
            if exclusive and not total:
                r.store(target, place, real.get(), dtype)
                r.store(target, place + 1, imag.get(), dtype)
            p, q = real.get(), imag.get()
            # the first element itself: 1 * b + 0 * a could lose a sign, or make NaN of an infinity
            real.set(r.select(k == 0, a, p * a - q * b))
            imag.set(r.select(k == 0, b, p * b + q * a))
            if not exclusive and not total:
                r.store(target, place, real.get(), dtype)
                r.store(target, place + 1, imag.get(), dtype)
        if total:
            place = (unit * width + c) * 2
            r.store(target, place, real.get(), dtype)
            r.store(target, place + 1, imag.get(), dtype)
    run_routine(step, r, outer, length * inner * 12)
