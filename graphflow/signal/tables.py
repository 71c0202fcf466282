"""Tables of roots of unity for the Fourier transforms: constants where the length is known, else made when the program runs."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .. import ops
from ..compiler import prepare_op
from ..dtypes import DType, float64, int64
from ..ir.dims import Dim
from ..ops.complex import whole_of
from ..ops.fourier import table_positions
from ..ops.gradients import constant_like, extent

__all__ = ["table_for"]


@lru_cache(maxsize=64)
def _known_table(length: int, real: bool, dtype: DType) -> np.ndarray[Any, Any]:
    """The roots in float64, through the kernel that a table made at run time has too: the same bits."""
    places = table_positions(length, real)
    shapes = [p.shape for p in places]
    table = np.empty(places[0].shape, whole_of(dtype).numpy)
    for part in ("real", "imag"):
        found = prepare_op(ops.unit_root, shapes, [int64, int64], {"part": part})(places)[0]
        setattr(table, part, found.astype(dtype.numpy))
    table.flags.writeable = False
    return table


def table_for(x: Any, length: Dim, real: bool, dtype: DType) -> Any:
    """The table for rows of `length` elements (the extent of x's last axis) and transforms with parts in dtype."""
    if isinstance(length, int):
        return ops.constant(value=_known_table(length, real, dtype))
    n = extent(x, len(x.dims) - 1, int64)
    k = ops.iota(shape=(length,), axis=0, dtype=int64)
    wide = ops.iota(shape=(length * 4,), axis=0, dtype=int64)
    parts = []
    for a, d in ((k, n), (ops.floormod(k * k, n * 2), n * 2), (wide, _power_of_two(n * 2 - 1))):
        divisor = ops.broadcast_to(d, shape=a.dims)
        root = ops.interleave(*(ops.unit_root(a, divisor, part=part) for part in ("real", "imag")))
        parts.append(root if dtype is float64 else ops.cast(root, dtype=dtype))
    return ops.from_pairs(ops.fourier_table(*parts, length=length, real=real))


def _power_of_two(n: Any) -> Any:
    """The smallest power of two that is not below n > 0."""
    bits = n - 1
    for step in (1, 2, 4, 8, 16, 32):
        bits = ops.bitwise_or(bits, ops.bitwise_right_shift(bits, constant_like(step, bits)))
    return bits + 1
