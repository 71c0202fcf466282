"""gf.debugging: assertions, checks of numbers, stepping through compiled functions, reproduction files. The names that TensorFlow
has mean what they mean there; the others are graphflow's own. See docs/debugging.md."""

from __future__ import annotations

import sys
from typing import Any

from .arguments import guard
from .functions.assertions import *  # noqa: F403
from .functions.assertions import __all__ as _assertions
from .functions.effects import Assert
from .tracing.debug import Breakpoint, breakpoint_at, breakpoints, debug_call
from .tracing.find_nan import NanReport, Origin, find_nan
from .tracing.numerics import disable_check_numerics, enable_check_numerics, is_checking_numerics
from .tracing.placement import get_log_device_placement, set_log_device_placement
from .tracing.reproduce import read, reproduce, write_reproductions
from .tracing.tracebacks import (
    disable_traceback_filtering,
    enable_traceback_filtering,
    is_traceback_filtering_enabled,
)

__all__ = [
    "Assert",
    "Breakpoint",
    "NanReport",
    "Origin",
    "breakpoint_at",
    "breakpoints",
    "debug",
    "disable_check_numerics",
    "disable_traceback_filtering",
    "enable_check_numerics",
    "enable_traceback_filtering",
    "find_nan",
    "get_log_device_placement",
    "is_checking_numerics",
    "is_traceback_filtering_enabled",
    "read_reproduction",
    "reproduce",
    "set_log_device_placement",
    "state",
    "write_reproductions",
]
__all__ += _assertions

read_reproduction = read


def debug(fn: Any, *args: Any, on_node: Any = None, log: Any = None, stage: str = "traced", **kwargs: Any) -> Any:
    """fn(*args, **kwargs, debug=True, ...), for functions that have a parameter called `debug` themselves. See debug_call."""
    return debug_call(fn, args, kwargs, on_node=on_node, log=log, stage=stage)


def state() -> dict[str, Any]:
    """What of all this is in force in this thread: for reports."""
    from . import config

    return {
        "functions run eagerly": config.functions_run_eagerly(),
        "check numerics": is_checking_numerics(),
        "traceback filtering": is_traceback_filtering_enabled(),
        "log device placement": get_log_device_placement(),
        "breakpoints": [f"{b.file}:{b.line}" for b in breakpoints()],
        "breakpoint() calls": f"{getattr(sys.breakpointhook, '__module__', '')}.{getattr(sys.breakpointhook, '__name__', '')}",
        "reproductions": config.flags().reproduce or "not written",
    }


guard("gf.debugging", globals(), __all__)
