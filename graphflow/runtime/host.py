"""Effects that run in Python: what a compiled function calls back for, and what eager mode does at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import AssertionFailedError

__all__ = ["HOST_EFFECTS"]

Array = np.ndarray[Any, Any]


def shown(array: Array, summarize: int) -> str:
    """A tensor's elements as TensorFlow prints them: `summarize` at each end of an axis, -1 for all."""
    edge = summarize if summarize >= 0 else max(array.size, 1)
    formats: Any = {"float_kind": _float_text, "bool": lambda v: str(int(v)), "int": str}
    return np.array2string(
        array, threshold=0 if summarize >= 0 else sys.maxsize, edgeitems=edge, separator=" ", formatter=formats
    )


def _float_text(value: Any) -> str:
    """The fewest of TensorFlow's digits (6, else 9 or 17) that give the value back."""
    short = f"{value:.6g}"
    if value.dtype.type(short) == value or value != value:
        return short
    return f"{value:.{17 if value.dtype.itemsize == 8 else 9}g}"


def print_values(arrays: Sequence[Array], template: str, stream: str, summarize: int) -> None:
    """Write the template with the values put in."""
    text = template.format(*(shown(a, summarize) for a in arrays))
    if stream.startswith("file://"):
        with open(stream.removeprefix("file://"), "a", encoding="utf-8") as file:
            file.write(text)
        return
    target = sys.stdout if stream == "stdout" else sys.stderr
    target.write(text)
    target.flush()


def assert_true(arrays: Sequence[Array], message: str) -> None:
    """Raise AssertionFailedError unless every element of the first array is true."""
    if not arrays[0].all():
        element = int(np.argmin(arrays[0].reshape(-1)))
        values = "".join(f" {shown(a, 3)}" for a in arrays[1:])
        raise AssertionFailedError(f"assert_true: {message or 'assertion failed'}{values} at element {element}")


#: op name -> function(arrays, **attributes)
HOST_EFFECTS: dict[str, Callable[..., None]] = {"print": print_values, "assert_true": assert_true}
