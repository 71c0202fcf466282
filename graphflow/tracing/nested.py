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
from ..ir.graph import Graph, Node
from ..ir.source import Source, capture
from ..ops.control import call_results
from ..tensor import Tensor, TensorLike, active_trace, convert_to_tensor
from ..tree import flatten, map_structure
from .captures import recorder
from .fast_call import Leaf
from .forms import add_node, fresh, written_variables
from .signature import Arguments
from .subtrace import Subtrace, VariableAccess, close
from .tracer import SymbolicTensor, Trace

__all__ = ["LEAST_SHARED", "call_inside"]

LEAST_SHARED = 100
"""Nodes from which on a function called again is shared. 20 calls of a function of 500 nodes (100 steps of sin, exp and arithmetic
on 1000 elements) compile in 5 s shared and in 31 to 67 s inlined, beside other work on two cores; a call of the result takes 17 ms
shared and 8 to 15 ms inlined."""
MOST_NESTED = 32
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
            entries = _entries(error)
        raise _endless(entries[:-1], entries[-1], "Python's limit of nested calls is reached")
    finally:
        _chain.reset(token)


def _types_key(arguments: Arguments) -> tuple[Any, ...]:
    return tuple((t.dtype.short, tuple(t.dims)) for t in arguments.tensors)


def _entries(error: BaseException) -> list[Entry]:
    """The traced calls on the error's way, outermost first."""
    found, traceback = [], error.__traceback__
    while traceback is not None:
        held = traceback.tb_frame.f_locals.get("entry") if traceback.tb_frame.f_code is call_inside.__code__ else None
        if isinstance(held, Entry):
            found.append(held)
        traceback = traceback.tb_next
    return found


def _endless(chain: Sequence[Entry], entry: Entry, reason: str) -> EndlessTraceError:
    names = [e.function.name for e in chain] + [entry.function.name]
    start = max((k for k, name in enumerate(names[:-1]) if name == names[-1]), default=0)
    error = EndlessTraceError(
        f"{entry.function.name} calls itself without end while it is traced: {' -> '.join(names[start:])} ({reason})"
    )
    error.place = entry.place
    error.hint = (
        "end the recursion by a Python value that changes from call to call, or write it as a loop (gf.while_loop)"
    )
    return error


# Sharing --------------------------------------------------------------------------------------------------------------
@dataclass
class Shared:
    """What a root trace knows of a function's calls with one signature.

    nodes: how many the first call added. kept: the function and the variables among the arguments, so that their ids stay
    theirs. graph: the shared sub-graph; trace: what it was made in; written: variables that it writes, whose new values are
    its last results; result: the returned structure, with a Leaf for each tensor.
    """

    nodes: int
    kept: tuple[Any, ...]
    refused: bool = False
    graph: Graph | None = None
    trace: Subtrace | None = None
    written: list[Any] = field(default_factory=list)
    result: Any = None


def _call(function: Any, arguments: Arguments, entry: Entry) -> Any:
    trace = active_trace.get()
    if not arguments.tensors:
        return _inlined(function, arguments.values, arguments.kwargs)
    table: dict[Any, Shared] = trace.root.__dict__.setdefault("shared_calls", {})
    key = (id(function), entry.key, tuple(map(id, arguments.variables)))
    try:
        shared = table.get(key)
    except TypeError:  # an argument without a hash
        return _inlined(function, arguments.values, arguments.kwargs)
    if shared is None:
        before = _size(trace.builder.nodes)
        result = _inlined(function, arguments.values, arguments.kwargs)
        table[key] = Shared(_size(trace.builder.nodes[before[0] :])[1], (function, *arguments.variables))
        return result
    if shared.refused or shared.nodes < LEAST_SHARED or not _unchanged():
        return _inlined(function, arguments.values, arguments.kwargs)
    if shared.graph is None:
        made = _make(function, arguments, shared)
        if made is None:
            return _inlined(function, arguments.values, arguments.kwargs)
        return _add_call(trace, arguments.tensors, made, shared)
    assert shared.trace is not None
    outside = [tensor for tensor, _ in shared.trace.captures.values()]
    if not all(t._trace.alive and trace.is_inside(t._trace) for t in outside):
        return _inlined(function, arguments.values, arguments.kwargs)
    return _add_call(trace, arguments.tensors, outside, shared)


def _inlined(function: Any, values: Sequence[Any], keywords: dict[str, Any]) -> Any:
    return traced(function.python_function, function.autograph)(*values, **keywords)


def _size(nodes: Sequence[Node]) -> tuple[int, int]:
    """How many nodes, and how many with those of sub-graphs."""
    return len(nodes), sum(1 + sum(_size(inner.nodes)[1] for inner in node.subgraphs()) for node in nodes)


def _unchanged() -> bool:
    """Is the Python state that the trace has read so far what it was then? If not, a call may mean something else now."""
    captures = recorder.get()
    if captures is None:
        return False
    token = recorder.set(None)  # looking is not reading
    try:
        return all(guard.is_dead or guard.holds() for guard in list(captures._found.values()))
    finally:
        recorder.reset(token)


def _make(function: Any, arguments: Arguments, shared: Shared) -> list[SymbolicTensor] | None:
    """Trace the function into a sub-graph; the tensors of the traces around it that it uses. None where it cannot be shared:
    it calls Python, which may touch any variable, or returns what is no tensor of its own."""
    outer = active_trace.get()
    trace = outer.subtrace(function.name, "body", "call")
    if trace.immediate:
        shared.refused = True
        return None
    try:
        with trace.tracing():
            inputs = [trace.input(name, t.type) for name, t in zip(arguments.names, arguments.tensors, strict=True)]
            own = iter(inputs)

            def inside(value: Any, opaque: bool = False) -> Any:
                if opaque or not any(isinstance(leaf, Tensor) for leaf in flatten(value)):
                    return value
                return map_structure(lambda leaf: next(own) if isinstance(leaf, Tensor) else leaf, value)

            values = [inside(v, arguments.is_method and not k) for k, v in enumerate(arguments.values)]
            returned = _inlined(function, values, {k: inside(v) for k, v in arguments.kwargs.items()})
            outputs: list[SymbolicTensor] = []

            def leaf(value: Any) -> Leaf:
                if isinstance(value, (TensorLike, np.ndarray, np.generic)) or hasattr(value, "__graphflow_dim__"):
                    outputs.append(trace.lift(convert_to_tensor(value)))
                    return Leaf(len(outputs) - 1)
                return Leaf(-1, value)

            shared.result = map_structure(leaf, returned)
        shared.written = written_variables([trace])
        outputs += [trace.writes[id(variable)][1] for variable in shared.written]
        close([trace], [outputs], [inputs], [function.name])
        order = [
            *inputs,
            *(inside for _, inside in trace.captures.values()),
            *(read for _, read in trace.reads.values()),
        ]
        shared.graph = Graph(
            function.name,
            tuple(t._value for t in order),
            tuple(trace.builder.nodes),
            tuple(t._value for t in outputs),
        )
        shared.trace = trace
        return [outside for outside, _ in trace.captures.values()]
    except VariableAccess:
        shared.refused = True
        return None
    finally:
        trace.alive = False


def _add_call(outer: Trace, tensors: Sequence[Any], outside: Sequence[Any], shared: Shared) -> Any:
    """A call node, the assignments of the variables that the function writes, and the returned structure."""
    assert shared.graph is not None and shared.trace is not None
    read = [variable.value() for variable, _ in shared.trace.reads.values()]
    made: list[str] = []
    call_results(shared.graph, lambda: fresh(outer, made))
    results = add_node(outer, "call", (*tensors, *outside, *read), {"function": shared.graph, "extents": tuple(made)})
    for variable, value in zip(shared.written, results[len(results) - len(shared.written) :], strict=True):
        outer.assign_variable(variable, value)
    return map_structure(lambda leaf: results[leaf.output] if leaf.output >= 0 else leaf.value, shared.result)
