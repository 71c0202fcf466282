"""Effects that run in Python: what a compiled function calls back for, and what eager mode does at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import AssertionFailedError
from .faults import element_text

__all__ = ["HOST_EFFECTS"]

Array = np.ndarray[Any, Any]


def shown(array: Array, summarize: int) -> str:
    """A tensor's elements as TensorFlow prints them: `summarize` at each end of an axis, -1 for all."""
    if array.dtype == object and not array.ndim:
        return quoted(array.item())
    edge = summarize if summarize >= 0 else max(array.size, 1)
    formats: Any = {"float_kind": _float_text, "bool": lambda v: str(int(v)), "int": str, "object": quoted}
    return np.array2string(
        array, threshold=0 if summarize >= 0 else sys.maxsize, edgeitems=edge, separator=" ", formatter=formats
    )


def quoted(value: bytes) -> str:
    """A string tensor's element as TensorFlow prints it: in quotes, with what is not text escaped."""
    text = value.decode("utf-8", "surrogateescape")
    return '"' + "".join(_ESCAPES.get(c, c if c.isprintable() else _octal(c)) for c in text) + '"'


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "'": "\\'", "\\": "\\\\"}


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


def assert_true(
    arrays: Sequence[Array], message: str, summarize: int = 3, name: str = "", labels: Sequence[str] = ()
) -> None:
    """Raise AssertionFailedError unless every element of the first array is true. The others are the values to show; a
    labelled one that broadcasts to the condition's shape is shown at the failing element too."""
    condition, values = arrays[0], arrays[1:]
    if condition.all():
        return
    if hasattr(message, "exception"):  # what the user's code raises here
        raise message.exception(values)
    element = int(np.argmin(condition.reshape(-1)))
    failing = condition.size - int(np.count_nonzero(condition))
    text = f"{name or 'Assert'}: {message or 'the condition must be true'}"
    there = [
        f"{label} = {np.broadcast_to(value, condition.shape).reshape(-1)[element]}"
        for label, value in zip(labels, values, strict=False)
        if _broadcasts(value.shape, condition.shape)
    ]
    if there:
        text += f", got {' and '.join(there)}"
    if condition.ndim:
        text += f"{element_text(condition.shape, element)} ({failing} of {condition.size} elements)"
    names = [*(f"{label} " for label in labels), *[""] * (len(values) - len(labels))]
    whole = [
        f"{label}{shown(value, summarize)}"
        for label, value in zip(names, values, strict=True)
        if value.ndim or not there
    ]
    if whole:
        text += f"; {', '.join(whole)}"
    error = AssertionFailedError(text)
    error.hint = (
        "see the condition on this line"
        if not labels
        else "print the values with gf.print before this line, or call with debug=True"
    )
    raise error


def _broadcasts(shape: Sequence[int], target: Sequence[int]) -> bool:
    try:
        return np.broadcast_shapes(tuple(shape), tuple(target)) == tuple(target)
    except ValueError:
        return False


def python_call(arrays: Sequence[Array], function: Callable[..., Any], **_: Any) -> tuple[Array, ...]:
    """The results of a Python function as arrays."""
    return tuple(function(*arrays))


#: op name -> function(arrays, **attributes)
HOST_EFFECTS: dict[str, Callable[..., Any]] = {
    "print": print_values,
    "assert_true": assert_true,
    "python_call": python_call,
}
