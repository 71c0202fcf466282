"""Binary search in sorted rows, as a straight line of steps, so that it is vectorised and fuses like any pointwise op."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import DType, int32, int64
from ..errors import DTypeError, ShapeError
from ..ir.op import Indexed, Sample, define_op
from ..ir.types import TensorType
from .rules import check_kind, equal_shapes, same_dtype
from .samples import NUMBERS, fill

__all__ = ["search_sorted"]


def _infer(types: tuple[TensorType, ...], side: str, output_type: DType = int32) -> TensorType:
    sequence, values = types
    same_dtype("search_sorted", types)
    check_kind("search_sorted", types, "numeric")
    if sequence.rank == 0 or sequence.rank != values.rank or not equal_shapes(sequence.shape[:-1], values.shape[:-1]):
        raise ShapeError(f"search_sorted: all axes but the last must agree, got {sequence} and {values}")
    if output_type not in (int32, int64):
        raise DTypeError(f"search_sorted: the result must be int32 or int64, got {output_type.name}")
    return values.with_dtype(output_type)


def _emit(s: Any, operands: Any, index: Any, *, side: str, output_type: DType) -> Any:
    """Halving steps of fixed length: position `low` grows by a power of two while the element there still is before the value
    (Knuth, The Art of Computer Programming 3, 6.2.1, program U). NaN counts as the largest."""
    sequence, values = operands
    wanted = values(*index)
    extent, rows = sequence.shape[-1], index[:-1]
    known = sequence.dims[-1]
    steps = int(known).bit_length() if isinstance(known, int) else 31
    low = s.const(0, int64)
    for power in reversed(range(steps)):
        there = low + (1 << power)  # the element before position `there` is the one to look at
        inside = there <= extent
        spot = s.select(inside, there - 1, s.const(0, int64))
        element = sequence(*rows, spot)
        if side == "left":
            before = element < wanted
            if element.dtype.is_floating:
                before = before | (s.is_nan(wanted) & ~s.is_nan(element))
        else:
            before = element <= wanted
            if element.dtype.is_floating:
                before = before | s.is_nan(wanted)
        low = s.select(inside & before, there, low)
    return s.convert(low, output_type)


def _reference(sequence: Any, values: Any, side: str, output_type: DType = int32) -> Any:
    lead = values.shape[:-1]
    result = np.zeros(values.shape, output_type.numpy)
    for place in np.ndindex(*lead):
        result[place] = np.searchsorted(sequence[place], values[place], "left" if side == "left" else "right")
    return result


def _samples() -> list[Sample]:
    found = []
    for dtype in NUMBERS:
        for shape, count in (((7,), 5), ((2, 5), 4), ((1,), 3), ((0,), 3), ((33,), 40)):
            row = np.sort(np.round(fill(shape, dtype)) if dtype.startswith("float") else fill(shape, dtype), axis=-1)
            values = fill((*shape[:-1], count), dtype, seed=3)
            values = np.round(values) if dtype.startswith("float") else values
            for side in ("left", "right"):
                found.append(Sample((row, values), {"side": side, "output_type": int32}, gradient=False))
    edges = np.array([-np.inf, -1.0, -0.0, 0.0, 2.0, np.inf, np.nan, np.nan])
    for side in ("left", "right"):
        found.append(Sample((edges, edges[::-1].copy()), {"side": side, "output_type": int64}, gradient=False))
    one = {"side": "left", "output_type": int32}
    found.append(Sample((fill((3, 4), "float32"), fill((2, 4), "float32")), one, error=ShapeError))
    found.append(Sample((fill((3,), "float32"), fill((3,), "float64")), one, error=DTypeError))
    return found


search_sorted = define_op(
    "search_sorted", "sequence values",
    attributes={"side": ..., "output_type": int32},
    infer=_infer,
    kernel=Indexed(_emit, cost=64),
    no_gradient="the result is positions",
    reference=_reference,
    samples=_samples,
    documentation="For each value the position in its sorted row before which (left) or behind which (right) equal elements end.",
)  # fmt: skip
