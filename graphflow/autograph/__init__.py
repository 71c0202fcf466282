"""AutoGraph: Python's own control flow in traced functions (docs/autograph.md).

    @gf.function
    def f(x):
        while gf.reduce_sum(x) > 1.0:
            x = x / 2.0
        return x

A traced function is converted when it is first traced, and with it the functions that it calls. What depends on a tensor
becomes part of the graph; everything else runs in Python while tracing.

    locate.py           the syntax tree behind a code object
    jumps.py            break, continue and return lowered to structure
    analysis.py         names read and written, liveness
    rewrite.py          statements to operators; rewrite_expressions.py: expressions
    convert.py          the driver, and the cache by code object
    operators.py        what converted code calls; calls.py, builtin_functions.py, iterables.py, exceptions.py
    tensor_*.py         the operators for tensors; state.py: the variables and objects that blocks change
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["experimental", "set_loop_options", "to_code", "to_graph"]

_HOME = {"set_loop_options": "options", "to_code": "convert", "to_graph": "convert"}


def __getattr__(name: str) -> Any:
    if name == "experimental":
        found: Any = importlib.import_module(".experimental", __name__)
    elif name in _HOME:
        found = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    else:
        raise AttributeError(f"module 'graphflow.autograph' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
