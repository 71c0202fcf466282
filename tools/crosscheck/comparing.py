"""What differs between two results, two gradients or two exceptions."""

from __future__ import annotations

from typing import Any

import numpy as np

import graphflow as gf

#: what counts as rounding: this many units in the last place
UNITS = 64


def difference(ours: list[Any], theirs: list[Any], elementwise: bool) -> str:
    """What differs between two lists of arrays, or "". elementwise: each float is as exact as itself, otherwise as the largest one (sums
    of many elements are)."""
    if len(ours) != len(theirs):
        return f"{len(ours)} results, TensorFlow {len(theirs)}"
    for mine, other in zip(ours, theirs, strict=True):
        found = _array_difference(mine, other, elementwise)
        if found:
            return found
    return ""


def _array_difference(x: Any, y: Any, elementwise: bool) -> str:
    if x is None or y is None:
        return "" if x is y else f"{_kind(x)}, TensorFlow {_kind(y)}"
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype != y.dtype:
        return f"dtype {x.dtype}, TensorFlow {y.dtype}"
    if x.shape != y.shape:
        return f"shape {list(x.shape)}, TensorFlow {list(y.shape)}"
    places = np.flatnonzero(wrong_places(x, y, elementwise))
    if not places.size:
        return ""
    more = f" and {len(places) - 1} more of {x.size}" if len(places) > 1 else ""
    return f"{x.reshape(-1)[places[0]]!s}, TensorFlow {y.reshape(-1)[places[0]]!s}{more}"


def wrong_places(x: Any, y: Any, elementwise: bool) -> Any:
    """Where two arrays of one dtype and shape differ by more than rounding."""
    return _further_than_rounding(x, y, elementwise) if x.dtype.kind in "fcV" else x != y


def _kind(x: Any) -> str:
    return "None" if x is None else f"{np.asarray(x).dtype}{list(np.shape(x))}"


def _further_than_rounding(x: Any, y: Any, elementwise: bool) -> Any:
    if x.dtype.kind == "V":  # bfloat16
        unit, x, y = 2.0**-7, x.astype(np.float32), y.astype(np.float32)
    else:
        unit = float(np.finfo(x.dtype).eps)
    with np.errstate(all="ignore"):
        same = (x == y) | (np.isnan(x) & np.isnan(y))
        gap = np.where(same, 0.0, np.abs(x - y))
        sizes = np.abs(y)
        if elementwise:
            sizes = np.maximum(sizes, 1.0)  # near a zero of the function the error is that of the numbers that cancel
        else:
            finite = sizes[np.isfinite(sizes)]
            sizes = np.asarray(finite.max() if finite.size else 1.0)
        return ~(gap <= UNITS * unit * np.where(np.isfinite(sizes), sizes, 0.0))


def uncaught(ours: BaseException, theirs: BaseException) -> str:
    """Empty if the `except` clause that catches TensorFlow's exception catches ours: its namesake in gf.errors, or the Python class."""
    name = type(theirs).__name__
    if type(theirs).__module__.startswith("tensorflow"):
        wanted = getattr(gf.errors, name, None)
        if wanted is None:
            return f"gf.errors has no {name}"
    else:
        wanted = type(theirs)
    if isinstance(ours, wanted):
        return ""
    return f"{type(ours).__name__} is no {name}"


def message(error: BaseException) -> str:
    """The class and the first line of an exception."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:90] if lines else ''}"
