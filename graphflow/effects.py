"""Ops for their effect: print, Assert; and TensorFlow's grouping helpers, which program order makes plain."""
from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .ops import assert_true
from .ops import print_ as print_op
from .tensor import TensorLike, convert_to_tensor

__all__ = ["Assert", "group", "name_scope", "no_op", "print"]


def print(*inputs: Any, output_stream: Any = None, summarize: int = 3, sep: str = " ", end: str = "\n", name: str | None = None) -> None:
    """Print values at each run of the function, in program order (to standard error, as TensorFlow does; pass sys.stdout to change).

    inputs: tensors, variables, Python values; summarize: elements shown at each end of an axis.
    """
    tensors: list[Any] = []
    parts: list[str] = []
    for value in inputs:
        if isinstance(value, TensorLike) or isinstance(value, np.ndarray):
            tensors.append(convert_to_tensor(value))
            parts.append("{}")
        else:
            parts.append(str(value).replace("{", "{{").replace("}", "}}"))
    stream = "stdout" if output_stream is sys.stdout or output_stream == "stdout" else "stderr"
    print_op(*tensors, template=sep.join(parts) + end, stream=stream, summarize=summarize)


def Assert(condition: Any, data: Any = None, summarize: int | None = None, name: str | None = None) -> None:  # noqa: N802
    """Raise AssertionFailedError when the function runs and condition (bool, any shape) is not all true. data: shown values."""
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
