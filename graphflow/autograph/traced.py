"""Where tracing enters: what a gf.function runs in place of its Python function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .options import UNCONVERTED, enabled

__all__ = ["traced"]


def traced(function: Callable[..., Any], autograph: bool) -> Callable[..., Any]:
    """The function as it is traced: converted, with all that it calls, or (autograph=False) as it is written."""
    if not autograph or getattr(function, UNCONVERTED, False):
        return _with(False, function) if enabled.get() else function
    from .convert import converted

    return _with(True, converted(function))


def _with(on: bool, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        from ..tracing.forms import converter
        from .calls import call
        from .exceptions import Refused

        tokens = enabled.set(on), converter.set(call)
        try:
            return function(*args, **kwargs)
        except Refused as refused:
            raise refused.error.with_traceback(refused.__traceback__) from None
        finally:
            enabled.reset(tokens[0])
            converter.reset(tokens[1])

    return run
