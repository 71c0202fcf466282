"""The accepted differences. Each belongs to a deviation of docs/deviations.md (by its number, or "pinned": what stands behind the
numbers), or is rounding; apart from them stand the cases in which TensorFlow has no answer, or one that can be shown to be wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .cases import Case


@dataclass(frozen=True)
class Reason:
    """Why a difference is accepted: the deviation ("6", "pinned", "rounding"), or "beyond" (TensorFlow has no answer) or "wrong"."""

    kind: str
    text: str


BEYOND = Reason("beyond", "TensorFlow has no kernel or no gradient for it")
DENORMALS = Reason("pinned", "denormals survive")
NAN_LAST = Reason(
    "pinned", "NaN counts as the largest value in argmax, sort and top_k (and in searching what is sorted)"
)
SINGULAR = Reason("pinned", "a singular or indefinite matrix raises `ValueError`")
SATURATES = Reason("6", "a cast that does not fit saturates")
SHAPES = Reason("1", "shape errors are raised, in both modes")
RANGES = Reason("1", "indices out of range raise, in both modes")
ROUNDING = Reason(
    "rounding", "more than 64 units, in an ill-conditioned function: differences of results agree with both"
)
POLES = Reason("wrong", "digamma is -inf at +0 and inf at -0, as SciPy has it")
WRONG_VALUE = Reason("wrong", "the definition (SciPy's, in double precision) is ours")
WRONG_GRADIENT = Reason("wrong", "differences of results at both sides of the point agree with ours")


def _named(*names: str) -> Callable[[Case], bool]:
    """Is the case one of these ops' or calls'?"""
    return lambda case: case.group.split(" ", 1)[1] in names


def _has_nan(case: Case) -> bool:
    return any(np.asarray(a).dtype.kind == "f" and np.isnan(a).any() for a in case.arrays)


#: (is it this case?, aspect, part of the text, reason)
_RULES: list[tuple[Callable[[Case], bool], str, str, Reason]] = [
    (_named("cast"), "result", "", SATURATES),
    (
        lambda case: _has_nan(case) and _named("argmax", "argmin", "argsort", "search_sorted")(case),
        "result",
        "",
        NAN_LAST,
    ),
    (lambda case: True, "error", "is singular", SINGULAR),
    (_named("lgamma"), "gradient", "-inf, TensorFlow nan", POLES),
    (_named("gather"), "error", "batch_dims must be", SHAPES),
]


def reason_for(case: Case, aspect: str, text: str) -> Reason | None:
    """Why a difference is accepted, by the table."""
    for belongs, where, part, reason in _RULES:
        if aspect == where and part in text and belongs(case):
            return reason
    return None
