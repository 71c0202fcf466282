"""Who is right where the sides differ: for values the op's definition (its reference in NumPy), for gradients the differences of our own
results at both sides of a point, in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphflow as gf
from tests.public.calls import leaves

from .cases import Case
from .comparing import wrong_places
from .running import Outcome, weights_of

_STEP = 1e-6
_CLOSE = 1e-4
_MOST = 12
_WIDE = {"float16": "float64", "float32": "float64", "complex64": "complex128"}


def values_are_right(case: Case, ours: Outcome, theirs: Outcome) -> bool:
    """Does the op's definition give our values where TensorFlow's differ?"""
    if (
        case.reference is None
        or case.attributes is None
        or [v.shape for v in ours.arrays] != [v.shape for v in theirs.arrays]
    ):
        return False
    with np.errstate(all="ignore"):
        found = case.reference(*case.arrays, **case.attributes)
    expected = [np.asarray(v) for v in (found if isinstance(found, tuple) else (found,))]
    pairs = zip(ours.arrays, theirs.arrays, expected, strict=True)
    return all(not np.any(wrong_places(x, z, True)[wrong_places(x, y, True)]) for x, y, z in pairs)


def who_is_right(case: Case, input_number: int, ours: Any, theirs: Any) -> str:
    """Whose gradient differences of our results agree with, where the two differ: "ours", "both" (they differ by rounding), or "" (neither
    is shown). At most a dozen places are tried."""
    if ours is None or theirs is None or ours.shape != theirs.shape:
        return ""
    arrays = [np.asarray(a, _WIDE.get(np.asarray(a).dtype.name)) for a in case.arrays]
    number = [k for k, a in enumerate(arrays) if a.dtype.kind in "fc"][input_number]
    agree = []
    for place in np.flatnonzero(wrong_places(ours, theirs, case.elementwise))[:_MOST]:
        slope = _slope(case.ours, arrays, number, place)
        agree.append(tuple(_is_close(found.reshape(-1)[place], slope) for found in (ours, theirs)))
    if not all(mine for mine, _ in agree):
        return ""
    return "both" if all(other for _, other in agree) else "ours"


def _is_close(found: Any, slope: Any) -> bool:
    return bool(np.isfinite(found) and abs(found - slope) <= _CLOSE * max(1.0, abs(found)))


def _slope(function: Callable[..., Any], arrays: list[Any], number: int, place: int) -> Any:
    """The slope of the weighted sum of results in one element of one input; its slopes in both parts of a complex one."""
    parts = [1.0, 1j] if arrays[number].dtype.kind == "c" else [1.0]
    found: Any = 0.0
    for part in parts:
        sides = []
        for step in (_STEP, -_STEP):
            moved = arrays[number].copy()
            moved.reshape(-1)[place] += step * part
            inputs = [gf.constant(moved if k == number else a) for k, a in enumerate(arrays)]
            sides.append([np.asarray(gf.convert_to_tensor(v)) for v in leaves(function(*inputs))])
        for up, down in zip(*sides, strict=True):
            if up.dtype.kind not in "fc":
                continue
            with np.errstate(all="ignore"):
                change = np.where((up == down) | (np.isnan(up) & np.isnan(down)), 0.0, up - down) / (2 * _STEP)
            found = found + part * np.sum(np.real(np.conj(weights_of(up)) * change))
    return found
