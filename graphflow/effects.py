"""Ops for their effect: print, Assert; and TensorFlow's grouping helpers, which program order makes plain."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .errors import InvalidArgumentError
from .ops import assert_true
from .ops import print_ as print_op
from .tensor import TensorLike, convert_to_tensor

__all__ = ["Assert", "group", "name_scope", "no_op", "print"]


def print(
    *inputs: Any,
    output_stream: Any = None,
    summarize: int = 3,
    sep: str = " ",
    end: str = "\n",
    name: str | None = None,
) -> None:
    """Print values at each run of the function, in program order.

    inputs: tensors, variables, Python values and structures of them. output_stream: sys.stderr (the default, as in
    TensorFlow), sys.stdout, or "file://" and a path to append to. summarize: elements shown at each end of an axis, -1
    for all.
    """
    stream = _STREAMS.get(output_stream, output_stream) if isinstance(output_stream, (str, type(None))) else None
    if stream is None:
        stream = "stdout" if output_stream is sys.stdout else "stderr" if output_stream is sys.stderr else None
    if stream is None or stream not in ("stdout", "stderr") and not stream.startswith("file://"):
        raise InvalidArgumentError(
            f"print: output_stream must be sys.stdout, sys.stderr or 'file://<path>', got {output_stream!r}"
        )
    tensors: list[Any] = []

    def template(value: Any, inside: bool = False) -> str:
        if isinstance(value, (TensorLike, np.ndarray)) or hasattr(value, "__graphflow_dim__"):
            tensors.append(convert_to_tensor(value))
            return "{}"
        if isinstance(value, Mapping):
            return "{{" + ", ".join(f"{_literal(repr(k))}: {template(v, True)}" for k, v in value.items()) + "}}"
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            fields = (f"{name}={template(v, True)}" for name, v in zip(value._fields, value, strict=True))
            return f"{type(value).__name__}({', '.join(fields)})"
        if isinstance(value, (list, tuple)):
            inner = ", ".join(template(v, True) for v in value)
            return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
        return _literal(repr(value) if inside and isinstance(value, str) else str(value))

    text = sep.join(template(value) for value in inputs) + end
    print_op(*tensors, template=text, stream=stream, summarize=summarize)


_STREAMS = {None: "stderr", "stdout": "stdout", "stderr": "stderr"}


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def Assert(condition: Any, data: Any = None, summarize: int | None = None, name: str | None = None) -> None:  # noqa: N802
    """Raise AssertionFailedError when the function runs and condition (bool, any shape) is not all true. data: shown
    values."""
    text = "" if data is None else " ".join(str(d) for d in data if not isinstance(d, TensorLike))
    assert_true(convert_to_tensor(condition), message=text)


def group(*inputs: Any, name: str | None = None) -> None:
    """Nothing to do: effects run in program order."""


def no_op(name: str | None = None) -> None:
    """Does nothing."""


@contextmanager
def name_scope(name: str) -> Iterator[str]:
    """A name for TensorFlow's sake; nodes are named by their source lines."""
    yield name
