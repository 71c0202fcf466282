"""What conversion is told: functions left as they are, and options of the loop around."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["UNCONVERTED", "LoopOptions", "do_not_convert", "enabled", "loop_options", "set_loop_options", "unconverted"]

UNCONVERTED = "__graphflow_do_not_convert__"
"""Functions with this attribute are called as they are."""

#: does converted code look at tensors here? False inside functions that are not to be converted
enabled: ContextVar[bool] = ContextVar("graphflow_autograph", default=True)


@contextmanager
def unconverted() -> Iterator[None]:
    """Inside, functions are called as they are, and what was converted follows Python alone."""
    token = enabled.set(False)
    try:
        yield
    finally:
        enabled.reset(token)


def do_not_convert(func: Callable[..., Any] | None = None) -> Any:
    """Call a function as it is written, without conversion, and what it calls: `@gf.autograph.experimental.do_not_convert`.
    Tensors in its conditions raise TracedBoolError while a function is traced."""
    if func is None:
        return do_not_convert
    inner = func

    @functools.wraps(inner)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with unconverted():
            return inner(*args, **kwargs)

    setattr(wrapper, UNCONVERTED, True)
    return wrapper


class LoopOptions:
    """Options that a loop's body asks for."""

    def __init__(self) -> None:
        #: pairs of a value (as the body sees it) and its declared shape
        self.shape_invariants: list[tuple[Any, Any]] = []
        self.maximum_iterations: Any = None
        self.recompute = False


#: of the tensor loop whose body is being traced; None elsewhere
loop_options: ContextVar[LoopOptions | None] = ContextVar("graphflow_loop_options", default=None)


def set_loop_options(
    parallel_iterations: Any = None,
    swap_memory: Any = None,
    maximum_iterations: Any = None,
    shape_invariants: Any = None,
    recompute: bool | None = None,
) -> None:
    """Options of the loop whose body calls this, at the body's beginning. Without effect where the loop is Python's.

    maximum_iterations: an upper bound. shape_invariants: pairs (variable, shape), None for extents that change from
    iteration to iteration. recompute: the gradient computes the body again instead of keeping its values.
    parallel_iterations and swap_memory are taken for TensorFlow's sake and change nothing.
    """
    del parallel_iterations, swap_memory
    options = loop_options.get()
    if options is None:
        return
    if maximum_iterations is not None:
        options.maximum_iterations = maximum_iterations
    if shape_invariants is not None:
        options.shape_invariants = list(shape_invariants)
    if recompute is not None:
        options.recompute = recompute
