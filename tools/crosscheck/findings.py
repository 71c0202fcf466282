"""Runs a case on both sides and says what differs, and why that is accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

import graphflow as gf

from .accepted import BEYOND, DENORMALS, ROUNDING, WRONG_GRADIENT, WRONG_VALUE, Reason, reason_for
from .cases import Case
from .comparing import difference, message, uncaught
from .proofs import values_are_right, who_is_right
from .running import Outcome, compiled, run

#: what TensorFlow says where it has no kernel, or fails by itself
_NO_KERNEL = (
    "not in the list of allowed values",
    "Could not find device",
    "No OpKernel was registered",
    "No unary variant",
    "is not supported by",
    "not compatible with eager",
    "cannot access local variable",
)


@dataclass(frozen=True)
class Finding:
    """One difference. aspect: result, error, gradient, in a function. reason: why it is accepted, or None."""

    case: Case
    aspect: str
    text: str
    reason: Reason | None


def findings(case: Case, tf: Any) -> Iterator[Finding]:
    """What differs in a case."""
    ours, theirs = run(gf, case.ours, case.arrays, case.gradients), run(tf, case.theirs, case.arrays, case.gradients)
    found = list(_differences(case, ours, theirs))
    denormals = DENORMALS if found and _only_denormals(case, tf) else None
    for aspect, text, own in found:
        reason = own if isinstance(own, Reason) else reason_for(case, aspect, text) or denormals or (own and own())
        yield Finding(case, aspect, text, reason)
    if case.compiled:
        yield from _in_functions(case, tf)


#: (aspect, text, the reason or what finds one)
_Difference = tuple[str, str, Reason | Callable[[], Reason | None] | None]


def _differences(case: Case, ours: Outcome, theirs: Outcome) -> Iterator[_Difference]:
    if ours.error is not None or theirs.error is not None:
        yield from _errors("error", ours.error, theirs.error)
        return
    text = difference(ours.arrays, theirs.arrays, case.elementwise)
    if text:
        yield "result", text, lambda: WRONG_VALUE if values_are_right(case, ours, theirs) else None
    if ours.gradient_error is not None or theirs.gradient_error is not None:
        yield from _errors("gradient", ours.gradient_error, theirs.gradient_error)
        return
    for number, (mine, other) in enumerate(zip(ours.gradients, theirs.gradients, strict=True)):
        text = difference([mine], [other], case.elementwise)
        if text:
            yield "gradient", f"in input {number}: {text}", partial(_gradient_reason, case, number, mine, other)


def _gradient_reason(case: Case, number: int, ours: Any, theirs: Any) -> Reason | None:
    return {"ours": WRONG_GRADIENT, "both": ROUNDING}.get(who_is_right(case, number, ours, theirs))


def _errors(aspect: str, ours: Any, theirs: Any) -> Iterator[_Difference]:
    """What differs where a side raises. TensorFlow's lack of a kernel, or its failure in a gradient, is nothing to follow."""
    lacks = theirs is not None and (aspect == "gradient" or any(text in str(theirs) for text in _NO_KERNEL))
    if ours is None:
        yield aspect, f"TensorFlow raises {message(theirs)}", BEYOND if lacks else None
    elif theirs is None:
        yield aspect, f"graphflow raises {message(ours)}", None
    elif uncaught(ours, theirs) and not lacks:
        yield aspect, f"{uncaught(ours, theirs)}: graphflow raises {message(ours)}, TensorFlow {message(theirs)}", None


def _in_functions(case: Case, tf: Any) -> Iterator[Finding]:
    """Differences between the compiled functions."""
    ours, theirs = compiled(gf, case, case.ours), compiled(tf, case, case.theirs)
    for aspect, text, own in _differences(case, ours, theirs):
        reason = own if isinstance(own, Reason) else reason_for(case, aspect, text) or (own and own())
        yield Finding(case, f"{aspect} in a function", text, reason)


def _only_denormals(case: Case, tf: Any) -> bool:
    """Does nothing differ once operands are neither denormal nor so large that a quotient is?"""
    arrays = tuple(_plain(a) for a in case.arrays)
    pairs = zip(map(np.asarray, case.arrays), arrays, strict=True)
    if all(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc") for a, b in pairs):
        return False
    plain = replace(case, arrays=arrays, compiled=False)
    ours, theirs = run(gf, plain.ours, arrays, case.gradients), run(tf, plain.theirs, arrays, case.gradients)
    return not list(_differences(plain, ours, theirs))


def _plain(array: Any) -> Any:
    x = np.asarray(array)
    if x.dtype.kind != "f":
        return x
    limits = np.finfo(x.dtype)
    with np.errstate(all="ignore"):
        x = np.where(np.abs(x) < limits.tiny, np.copysign(0, x), x)
        return np.where(np.isfinite(x) & (np.abs(x) > limits.max**0.75), np.copysign(limits.max**0.75, x), x).astype(
            array.dtype
        )
