"""Tracebacks of errors as users need them: their own frames, without graphflow's. As in TensorFlow the choice is a thread's own."""

from __future__ import annotations

import functools
import threading
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..errors import GraphflowError
from ..ir.source import is_user_frame

__all__ = [
    "disable_traceback_filtering",
    "enable_traceback_filtering",
    "filtered",
    "is_traceback_filtering_enabled",
    "with_user_traceback",
]

_choice = threading.local()


def is_traceback_filtering_enabled() -> bool:
    """Are graphflow's own frames left out of the tracebacks of errors (in this thread)?"""
    return bool(getattr(_choice, "on", True))


def enable_traceback_filtering() -> None:
    """Leave graphflow's own frames out of tracebacks, in this thread (the default)."""
    _choice.on = True


def disable_traceback_filtering() -> None:
    """Show every frame in tracebacks, in this thread: for work on graphflow itself."""
    _choice.on = False


def filtered(error: BaseException) -> BaseException:
    """The error, without graphflow's frames in its traceback and in those of its causes, where filtering is on. Use as
    `except BaseException as error: raise filtered(error)`; the frame of that handler is all that is added."""
    if not is_traceback_filtering_enabled() or _is_ours(error):
        return error
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        current.__traceback__ = _user_part(current.__traceback__)
        current = current.__cause__ or current.__context__
    return error


def with_user_traceback(call: Callable[..., Any]) -> Callable[..., Any]:
    """A public method whose errors show the user's frames."""

    @functools.wraps(call)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except Exception as error:
            raise filtered(error)  # noqa: B904  the same error, with the user's frames

    return run


def _is_ours(error: BaseException) -> bool:
    """An exception of another kind that graphflow's own code raised: where it did says what went wrong."""
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    return not isinstance(error, GraphflowError) and innermost is not None and not is_user_frame(innermost.tb_frame)


def _user_part(trace: TracebackType | None) -> TracebackType | None:
    """The entries of the user's frames; None where there are none."""
    kept: TracebackType | None = None
    for frame, line in reversed(list(traceback.walk_tb(trace))):
        if is_user_frame(frame):
            kept = TracebackType(kept, frame, frame.f_lasti, line)
    return kept
