"""Calls of compiled functions inside a trace: inlined, or one shared sub-graph that several places call.

The first call of a function with some signature is traced into the caller, as if it were plain Python. From the second
call with the same signature on, a large function is traced once more, into a sub-graph of its own, and each place gets a
`call` node. So small functions and those called once fuse with their surroundings, and the code of a large one is there
twice at most. (Tracing it at the first call already would cost every function that is called once its fusions.)
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..autograph.traced import traced
from ..errors import EndlessTraceError
from ..ir.graph import Graph
from ..ir.source import Source, capture
from ..tensor import Tensor, TensorLike, active_trace, convert_to_tensor
from ..tree import flatten, map_structure
from .signature import Arguments
from .subtrace import Subtrace, close, with_python_calls

__all__ = ["LEAST_SHARED", "call_inside"]

LEAST_SHARED = 100
"""Nodes from which on a function called again is shared (see docs/passes.md for the compile times)."""
MOST_NESTED = 64
"""Calls of one function with the same signature inside each other that tracing goes along with. Recursion that ends has a Python
value that changes, hence another signature each time, or some other Python state, which cannot be seen from outside."""


@dataclass(frozen=True)
class Entry:
    """A call of a compiled function that is being traced."""

    function: Any
    key: Any
    place: Source


_chain: ContextVar[tuple[Entry, ...]] = ContextVar("graphflow_traced_calls", default=())


def call_inside(function: Any, arguments: Arguments) -> Any:
    """The result of a compiled function that is called while another one (or itself) is traced. Raises EndlessTraceError for
    a recursion without end."""
    chain = _chain.get()
    entry = Entry(function, (arguments.key, _types_key(arguments)), capture())
    same = sum(1 for e in chain if e.function is entry.function and e.key == entry.key)
    if same >= MOST_NESTED:
        raise _endless(chain, entry, f"{same} calls inside each other with the same arguments")
    token = _chain.set((*chain, entry))
    try:
        if chain:
            return _call(function, arguments, entry)
        try:
            return _call(function, arguments, entry)
        except RecursionError as error:
            if isinstance(error, EndlessTraceError):
                raise
            deepest = _deepest(error) or entry
        raise _endless((entry,), deepest, "Python's limit of nested calls is reached")
    finally:
        _chain.reset(token)


def _types_key(arguments: Arguments) -> tuple[Any, ...]:
    return tuple((t.dtype.short, tuple(t.dims)) for t in arguments.tensors)


def _deepest(error: BaseException) -> Entry | None:
    """The innermost traced call on the error's way."""
    found, traceback = None, error.__traceback__
    while traceback is not None:
        held = traceback.tb_frame.f_locals.get("entry") if traceback.tb_frame.f_code is call_inside.__code__ else None
        found = held if isinstance(held, Entry) else found
        traceback = traceback.tb_next
    return found


def _endless(chain: Sequence[Entry], entry: Entry, reason: str) -> EndlessTraceError:
    names = [e.function.name for e in chain] + [entry.function.name]
    start = max((k for k, name in enumerate(names[:-1]) if name == names[-1]), default=0)
    error = EndlessTraceError(
        f"{entry.function.name} calls itself without end while it is traced: {' -> '.join(names[start:])} ({reason})"
    )
    error.place = entry.place
    error.hint = "end the recursion by a Python value that changes from call to call, or write it as a loop (gf.while_loop)"
    return error


# Sharing --------------------------------------------------------------------------------------------------------------
@dataclass
class Shared:
    """What a root trace knows of a function's calls with one signature. nodes: how many the first call added. arguments: the
    variables and objects among them, kept so that their ids stay theirs."""

    nodes: int
    kept: tuple[Any, ...]
    graph: Graph | None = None
    trace: Subtrace | None = None
    result: Any = None
    written: list[Any] = field(default_factory=list)


def _call(function: Any, arguments: Arguments, entry: Entry) -> Any:
    def inline() -> Any:
        return traced(function.python_function, function.autograph)(*arguments.values, **arguments.kwargs)

    trace = active_trace.get()
    if not arguments.tensors:
        return inline()
    table: dict[Any, Shared] = trace.root.__dict__.setdefault("shared_calls", {})
    key = (id(function), entry.key, tuple(map(id, arguments.variables)))
    try:
        found = table.get(key)
    except TypeError:  # an argument without a hash
        return inline()
    if found is None:
        before = len(trace.builder.nodes)
        result = inline()
        table[key] = Shared(len(trace.builder.nodes) - before, (function, *arguments.variables))
        return result
    return inline()
