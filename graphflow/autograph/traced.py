"""Where tracing enters: what a gf.function runs in place of its Python function."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from .options import UNCONVERTED, enabled

__all__ = ["traced"]


def traced(function: Callable[..., Any], autograph: bool) -> Callable[..., Any]:
    """The function as it is traced: converted, with all that it calls, or (autograph=False) as it is written."""
    if not autograph or getattr(function, UNCONVERTED, False):
        return _with(False, function) if enabled.get() else function
    from .convert import converted

    return _with(True, converted(function))


#: how many compiled functions are being traced around, each inside the one before
_depth: ContextVar[int] = ContextVar("graphflow_traced", default=0)


def _with(on: bool, function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        from ..tracing.forms import converter
        from .calls import call
        from .exceptions import Refused, is_conditional
        from .tensor_branches import fail_where

        depth = _depth.get()
        tokens = enabled.set(on), converter.set(call), _depth.set(depth + 1)
        try:
            return function(*args, **kwargs)
        except Refused as refused:
            raise refused.error.with_traceback(refused.__traceback__) from None
        except Exception as error:
            if depth or not is_conditional(error):
                raise
            fail_where(True, error)  # every path that is left ends in this exception
            return None
        finally:
            enabled.reset(tokens[0])
            converter.reset(tokens[1])
            _depth.reset(tokens[2])

    return run
