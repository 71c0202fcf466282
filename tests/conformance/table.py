"""The conformance table: small programs in plain Python on tensors, each with the inputs it runs on.

    @program(floats(1, -2), floats(-3, 4, 5))       # two calls, with these arguments
    def clipped(x): ...

A program that needs variables or Python state is a factory: it returns the function and the variables whose final values count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["PROGRAMS", "Program", "booleans", "doubles", "factory", "floats", "integers", "longs", "program"]


@dataclass(frozen=True)
class Program:
    """One row. calls: the arguments of each call, in order. make() -> (function, variables). symbolic: does it make sense with extents
    that are not known? fails: at least one of the calls raises."""

    name: str
    calls: tuple[tuple[Any, ...], ...]
    make: Callable[[], tuple[Callable[..., Any], list[Any]]]
    symbolic: bool = True
    fails: bool = False


PROGRAMS: dict[str, Program] = {}


def _as_calls(calls: tuple[Any, ...]) -> tuple[tuple[Any, ...], ...]:
    return tuple(call if isinstance(call, tuple) else (call,) for call in calls)


def _add(row: Program) -> None:
    if row.name in PROGRAMS:
        raise ValueError(f"program {row.name!r} is in the table twice")
    PROGRAMS[row.name] = row


def program(*calls: Any, symbolic: bool = True, fails: bool = False) -> Callable[[Any], Any]:
    """Add a function to the table. calls: an argument, or a tuple of arguments, for each call."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        _add(Program(function.__name__, _as_calls(calls), lambda: (function, []), symbolic, fails))
        return function

    return add


def factory(*calls: Any, symbolic: bool = True, fails: bool = False) -> Callable[[Any], Any]:
    """Add a program whose function is made anew for each way of running: make() -> (function, variables)."""

    def add(make: Callable[[], tuple[Callable[..., Any], list[Any]]]) -> Any:
        _add(Program(make.__name__, _as_calls(calls), make, symbolic, fails))
        return make

    return add


def floats(*values: Any) -> np.ndarray[Any, Any]:
    """float32: one number gives rank 0, several numbers a vector, one list an array of its shape."""
    return _array(values, np.float32)


def doubles(*values: Any) -> np.ndarray[Any, Any]:
    return _array(values, np.float64)


def integers(*values: Any) -> np.ndarray[Any, Any]:
    return _array(values, np.int32)


def longs(*values: Any) -> np.ndarray[Any, Any]:
    return _array(values, np.int64)


def booleans(*values: Any) -> np.ndarray[Any, Any]:
    return _array(values, np.bool_)


def _array(values: tuple[Any, ...], dtype: Any) -> np.ndarray[Any, Any]:
    return np.array(values[0] if len(values) == 1 else list(values), dtype)
