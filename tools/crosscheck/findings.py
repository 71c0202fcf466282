"""Runs a case on both sides and says what differs, and why that is accepted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import graphflow as gf

from .accepted import BEYOND, DENORMALS, WRONG_GRADIENT, WRONG_VALUE, Reason, reason_for
from .cases import Case
from .comparing import difference, message, uncaught
from .proofs import gradient_is_right, values_are_right
from .running import Outcome, compiled, run

#: what TensorFlow says where it has no kernel, or no gradient
_NO_KERNEL = ("not in the list of allowed values", "Could not find device", "No unary variant", "is not supported by", "not compatible with eager")
_NO_GRADIENT = ("gradient registry has no entry", "not implemented", "No gradient defined")


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
    for aspect, text, reason in _differences(case, ours, theirs):
        yield Finding(case, aspect, text, reason or reason_for(case, aspect, text, ours, theirs) or _denormals(case, tf))
    if case.compiled:
        yield from _in_functions(case, theirs, tf)


def _differences(case: Case, ours: Outcome, theirs: Outcome) -> Iterator[tuple[str, str, Reason | None]]:
    if ours.error is not None or theirs.error is not None:
        yield from _errors("error", ours.error, theirs.error, _NO_KERNEL)
        return
    text = difference(ours.arrays, theirs.arrays, case.elementwise)
    if text:
        yield "result", text, WRONG_VALUE if values_are_right(case, ours, theirs) else None
    if ours.gradient_error is not None or theirs.gradient_error is not None:
        yield from _errors("gradient", ours.gradient_error, theirs.gradient_error, _NO_GRADIENT)
        return
    for number, (mine, other) in enumerate(zip(ours.gradients, theirs.gradients, strict=True)):
        text = difference([mine], [other], case.elementwise)
        if text:
            right = gradient_is_right(case, number, mine, other)
            yield "gradient", f"in input {number}: {text}", WRONG_GRADIENT if right else None


def _errors(aspect: str, ours: Any, theirs: Any, lacks: tuple[str, ...]) -> Iterator[tuple[str, str, Reason | None]]:
    """What differs where a side raises. TensorFlow's lack of a kernel or a gradient is nothing to follow."""
    beyond = BEYOND if theirs is not None and any(text in str(theirs) for text in lacks) else None
    if ours is None:
        yield aspect, f"TensorFlow raises {message(theirs)}", beyond
    elif theirs is None:
        yield aspect, f"graphflow raises {message(ours)}", None
    elif uncaught(ours, theirs) and beyond is None:
        yield aspect, f"{uncaught(ours, theirs)}: graphflow raises {message(ours)}, TensorFlow {message(theirs)}", None


def _in_functions(case: Case, eager: Outcome, tf: Any) -> Iterator[Finding]:
    """Differences between compiled functions that their eager runs do not have."""
    ours, theirs = compiled(gf, case, case.ours), compiled(tf, case, case.theirs)
    if ours.error is None and theirs.error is None:
        text = difference(ours.arrays, theirs.arrays, case.elementwise)
        found = [("result", text, None)] if text else []
    else:
        found = list(_errors("error", ours.error, theirs.error, _NO_KERNEL))
    for aspect, text, reason in found:
        yield Finding(case, f"{aspect} in a function", text, reason or reason_for(case, aspect, text, ours, theirs))


def _denormals(case: Case, tf: Any) -> Reason | None:
    """DENORMALS where nothing differs once operands are neither denormal nor so large that a quotient is."""
    arrays = tuple(_plain(a) for a in case.arrays)
    if all(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc") for a, b in zip(map(np.asarray, case.arrays), arrays, strict=True)):
        return None
    plain = replace(case, arrays=arrays, compiled=False)
    ours, theirs = run(gf, plain.ours, arrays, case.gradients), run(tf, plain.theirs, arrays, case.gradients)
    return None if list(_differences(plain, ours, theirs)) else DENORMALS


def _plain(array: Any) -> Any:
    x = np.asarray(array)
    if x.dtype.kind != "f":
        return x
    limits = np.finfo(x.dtype)
    with np.errstate(all="ignore"):
        x = np.where(np.abs(x) < limits.tiny, np.copysign(0, x), x)
        return np.where(np.isfinite(x) & (np.abs(x) > limits.max**0.75), np.copysign(limits.max**0.75, x), x).astype(array.dtype)
