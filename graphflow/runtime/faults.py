"""What a run-time check refused: the element, the values at it, in words. One text for eager mode and for compiled calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..ir.op import Op

__all__ = ["NEXT_STEP_FINITE", "element_text", "fault_text", "kinds_of_nonfinite"]

Array = np.ndarray[Any, Any]

NEXT_STEP_FINITE = "gf.debugging.find_nan(fn, *args) names the first operation that makes a NaN or infinity"


def element_text(shape: Sequence[int], position: int) -> str:
    """ " at [1, 2]" for an element given by its number in row-major order; nothing for rank 0."""
    return f" at {[int(k) for k in np.unravel_index(position, tuple(shape))]}" if len(shape) else ""


def kinds_of_nonfinite(array: Array) -> str:
    """ "NaN", "Inf" or "Inf and NaN": what of the two the array has, in TensorFlow's words."""
    return " and ".join(word for word, has in (("Inf", np.isinf(array).any()), ("NaN", np.isnan(array).any())) if has)


def fault_text(text: str, op: Op, arrays: Sequence[Array], attributes: Mapping[str, Any]) -> str:
    """The message `text` of a failed check of an op, completed by the first values that it refuses: "...: 7 and 0",
    "...: index 9, extent 4", "...: -2"."""
    if op.fallible == "not_finite":
        return _not_finite_text(arrays[0], str(attributes.get("message", "")))
    if op.fallible == "index_out_of_range":
        return text + _index_text(op, arrays, attributes)
    if op.fallible in ("division_by_zero", "negative_exponent") and len(arrays) == 2:
        x, y = np.broadcast_arrays(*arrays)
        refused = y == 0 if op.fallible == "division_by_zero" else y < 0
        if refused.any():
            return f"{text}: {x[refused][0]} and {y[refused][0]}"
    return text


def _not_finite_text(array: Array, message: str) -> str:
    wrong = ~np.isfinite(array)
    if not wrong.any():
        return f"check_numerics: {message}"
    first = int(np.argmax(wrong.reshape(-1)))
    count = f" ({int(wrong.sum())} of {array.size} elements)" if array.ndim else ""
    return (
        f"check_numerics: {message} : Tensor had {kinds_of_nonfinite(array)} values, got "
        f"{array.reshape(-1)[first]}{element_text(array.shape, first)}{count}"
    )


def _index_text(op: Op, arrays: Sequence[Array], attributes: Mapping[str, Any]) -> str:
    indices = arrays[next(k for k, name in enumerate(op.operands) if name in ("indices", "ids", "index"))]
    if op.name == "gather_nd":
        extents = list(arrays[0].shape[: indices.shape[-1]])
    else:
        indices = indices[..., None]
        extents = [attributes["rows"] if "rows" in attributes else arrays[0].shape[attributes.get("axis", 0)]]
        if "shape" in attributes:
            extents = [attributes["shape"][0]]
    lowest = np.iinfo(np.int64).min if attributes.get("drop_negative") else 0
    for axis, extent in enumerate(extents):
        column = indices[..., axis]
        bad = column[(column < lowest) | (column >= extent)]
        if bad.size:
            return f": index {bad.flat[0]}, extent {extent}"
    return ""
