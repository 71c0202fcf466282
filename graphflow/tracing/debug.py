"""Debugging a call: fn(..., debug=True) runs the traced graph node by node under the user's own file and lines (see stepping),
where debuggers stop and locals show values; and the values behind a run-time error, from running a failed call again."""

from __future__ import annotations

import inspect
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..autodiff.record import stop as stop_recording
from ..compiler import runtime_error
from ..errors import CompileError, GraphflowError, InvalidArgumentError
from ..ir.graph import Graph, Node
from ..ir.source import Source, capture
from ..runtime.host import shown
from ..tensor import Tensor, active_trace
from .callbacks import calls_python, failures, open_scope, watching_writes
from .numerics import is_checking_numerics, origin_of, require_finite
from .stepping import Hook, ShadowVariable, Stepper, TooManySteps, UserFrame

__all__ = [
    "Breakpoint",
    "breakpoint_at",
    "breakpoints",
    "call_error",
    "debug_call",
    "locate_call",
    "node_logger",
    "precise_error",
    "requested_debugging",
    "shadows_of",
    "trace_of",
]

STEPS_AFTER_FAILURE = 200_000
"""Most nodes that are run again after a failed call to find the values at fault (a second or so)."""


# Breakpoints ----------------------------------------------------------------------------------------------------------
class Breakpoint:
    """A line at which debugged functions stop. `remove()` it, or use it as a context manager."""

    def __init__(self, file: str, line: int) -> None:
        self.file, self.line = file, line

    def matches(self, source: Source) -> bool:
        """Is it this place? A file may be named by the end of its path."""
        return (
            source.line == self.line
            and not source.backward
            and (
                source.file == self.file or source.file.replace("\\", "/").endswith("/" + self.file.replace("\\", "/"))
            )
        )

    def remove(self) -> None:
        """Stop there no more."""
        if self in _breakpoints:
            _breakpoints.remove(self)

    def __enter__(self) -> Breakpoint:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<breakpoint at {self.file}:{self.line}>"


_breakpoints: list[Breakpoint] = []


def breakpoint_at(place: str) -> Breakpoint:
    """Stop before this line in every call with debug=True: Python's breakpoint() is called there, in a frame that shows the
    graph's values. place: "file.py:12", with as much of the path as tells the file apart. Raises InvalidArgumentError."""
    file, _, line = place.rpartition(":")
    if not file or not line.isdecimal() or int(line) < 1:
        raise InvalidArgumentError(f"breakpoint_at: expected 'file.py:12', got {place!r}")
    found = Breakpoint(file, int(line))
    _breakpoints.append(found)
    return found


def breakpoints() -> tuple[Breakpoint, ...]:
    """The breakpoints that are set, oldest first."""
    return tuple(_breakpoints)


def _graphs_in(graph: Graph) -> Iterator[Graph]:
    yield graph
    for node in graph.nodes:
        for inner in node.subgraphs():
            yield from _graphs_in(inner)


def _stops(graph: Graph, noted: Sequence[tuple[Any, int, Source]]) -> dict[Node | None, Source]:
    """Before which nodes to stop: at the beginning of each visit of a breakpoint's line, and where the user's code called
    breakpoint() while it was traced."""
    found: dict[Node | None, Source] = {}
    for inner in _graphs_in(graph):
        before: Source | None = None
        for node in inner.nodes:
            visited = before is not None and before.line == node.source.line and before.file == node.source.file
            if not visited and any(b.matches(node.source) for b in _breakpoints):
                found[node] = node.source
            before = node.source
    for builder, position, source in noted:
        if position < len(builder.nodes):
            found[builder.nodes[position]] = source
        elif tuple(builder.nodes) == graph.nodes:  # after the last node of the whole function
            found[None] = source
    return found


@contextmanager
def _noting_breakpoints() -> Iterator[list[tuple[Any, int, Source]]]:
    """While a function is traced for debugging its breakpoint() calls do not stop; they are noted for the run."""
    noted: list[tuple[Any, int, Source]] = []
    outer = sys.breakpointhook

    def note(*args: Any, **kwargs: Any) -> Any:
        trace = active_trace.get()
        if trace is None:
            return outer(*args, **kwargs)
        noted.append((trace.builder, len(trace.builder.nodes), capture()))
        return None

    sys.breakpointhook = note
    try:
        yield noted
    finally:
        sys.breakpointhook = outer


def _mentions_breakpoint(code: Any) -> bool:
    return "breakpoint" in code.co_names or any(
        _mentions_breakpoint(constant) for constant in code.co_consts if inspect.iscode(constant)
    )


# Which call -----------------------------------------------------------------------------------------------------------
_KEYWORDS = ("on_node", "log", "stage")


def requested_debugging(function: Any, kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """(the call's own keywords, those for debug_call) of a call with debug=...; None where `debug` is a parameter of the
    user's function, or is not there. Where it is false the second is empty."""
    parameters = _parameters(function.python_function)
    if "debug" not in kwargs or "debug" in parameters:
        return None
    own = {name: value for name, value in kwargs.items() if name != "debug"}
    if not kwargs["debug"]:
        return own, {}
    options = {name: own.pop(name) for name in _KEYWORDS if name in own and name not in parameters}
    return own, {"debug": True, **options}


def _parameters(python_function: Any) -> Mapping[str, Any]:
    try:
        return inspect.signature(python_function).parameters
    except (TypeError, ValueError):
        return {}


def locate_call(function: Any, args: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
    """The Function and the arguments with the instance of a method first. Raises InvalidArgumentError for another callable."""
    if hasattr(function, "_instance") and hasattr(function, "_function"):
        return function._function, (function._instance, *args)
    if not hasattr(function, "python_function"):
        raise InvalidArgumentError(f"expected a gf.function, got {function!r}; decorate it, or call gf.function(f)")
    return function, tuple(args)


def trace_of(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    """(concrete function, arguments) of a call, traced if need be; a trace that does not compile comes back all the same."""
    arguments = function._arguments(tuple(args), dict(kwargs))
    try:
        return function._find_or_trace(arguments)[0], arguments
    except CompileError:
        exact = [t.type for t in arguments.tensors]
        return function._settle(arguments, exact, exact, "asked for", False), arguments


def operands_of(concrete: Any, tensors: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
    """What stands for each input of the graph: tensors and variables, in the graph's order."""
    held = dict(concrete.captured)
    held.update(zip(concrete.argument_variables, [variables[k] for k in concrete.variable_positions], strict=True))
    rest = iter(tensors)
    return [held[v] if v.is_variable else next(rest) for v in concrete.graph.inputs]


def shadows_of(operands: Sequence[Any]) -> list[Any]:
    """The operands with a copy for each variable (one for each place it stands in)."""
    made: dict[int, ShadowVariable] = {}
    return [
        made.setdefault(id(o), ShadowVariable(Tensor(o._array.copy(), o.dtype))) if hasattr(o, "assign") else o
        for o in operands
    ]


# debug=True -----------------------------------------------------------------------------------------------------------
def debug_call(
    function: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    on_node: Hook | None = None,
    log: Any = None,
    stage: str = "traced",
) -> Any:
    """Call a function node by node. The result, the effects and their order are those of the compiled call, bit for bit.

    on_node(node, operands, results): called after each node. log: True (standard error) or a file: a line for each node.
    stage: "traced", "final" or a pass's name: which of the function's graphs runs.
    """
    function, args = locate_call(function, args)
    code = _code_of(function.python_function)
    if code is not None and _mentions_breakpoint(code):
        arguments = function._arguments(tuple(args), dict(kwargs))
        exact = [t.type for t in arguments.tensors]
        with _noting_breakpoints() as noted:
            concrete = function._settle(arguments, exact, exact, "debugged", not function._cache.made)
    else:
        with _noting_breakpoints() as noted:
            concrete, arguments = trace_of(function, args, kwargs)
    graph = concrete.graph if stage == "traced" else _graph_of_stage(concrete, stage)
    hooks: list[Hook] = []
    if is_checking_numerics():
        hooks.append(lambda node, operands, results: require_finite(node.op, operands, results, node.source))
    if log:
        hooks.append(node_logger(sys.stderr if log is True else log))
    if on_node is not None:
        hooks.append(on_node)
    stepper = Stepper(graph, _frame_of(function, code, _stops(graph, noted)), hooks)
    operands = operands_of(concrete, arguments.tensors, arguments.variables)
    if not calls_python(graph):
        return concrete.pack(stepper.run(operands))
    with open_scope() as scope, watching_writes(scope):
        return concrete.pack(stepper.run(operands))


def _graph_of_stage(concrete: Any, stage: str) -> Graph:
    executable = concrete.executable
    if stage == "final":
        return executable.graph
    found = [s.graph for s in executable.stages if s.name == stage]
    if not found:
        names = ", ".join(s.name for s in executable.stages)
        raise InvalidArgumentError(f"debug: no stage {stage!r}; the stages are traced, {names}, final")
    return found[-1]


def _code_of(python_function: Any) -> Any:
    function = inspect.unwrap(python_function)
    function = getattr(function, "func", function)  # functools.partial
    function = getattr(function, "__func__", function)
    if not hasattr(function, "__code__"):  # an object with a __call__ method
        function = vars(type(function)).get("__call__")
    return getattr(function, "__code__", None)


def _frame_of(function: Any, code: Any, stops: Mapping[Node | None, Source]) -> UserFrame | None:
    """The frame that debuggers see: the user's function, with its global and captured names."""
    if code is None:
        return UserFrame("<graph>", function.name, stop_before=stops)
    python_function = inspect.unwrap(function.python_function)
    names = dict(getattr(python_function, "__globals__", {}))
    for name, cell in zip(code.co_freevars, getattr(python_function, "__closure__", None) or (), strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return UserFrame(code.co_filename, code.co_name, code.co_firstlineno, names, stops)


def node_logger(stream: Any) -> Hook:
    """A line for each node: place, op, types, the result's values."""

    def write(node: Node, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        place = (
            f"{'backward of ' if node.source.backward else ''}{os.path.basename(node.source.file)}:{node.source.line}"
        )
        values = "; ".join(f"{r.type} = {' '.join(shown(r._array, 3).split())}" for r in results)
        given = ", ".join(str(o.type) for o in operands)
        text = f"{place:<16} {node.op.name} ({given})"
        stream.write(f"{text:<56} {'-> ' + values if values else ''}".rstrip() + "\n")

    return write


# Errors of compiled calls ---------------------------------------------------------------------------------------------
def call_error(
    concrete: Any, binding: Any, status: int, tensors: Sequence[Any], variables: Sequence[Any]
) -> BaseException:
    """The exception of a failed compiled call: what a Python callback raised, or the error that the status stands for with the
    values at fault. Writes a reproduction where that is asked for."""
    from .reproduce import report_failure

    error: BaseException | None = failures.pop(threading.get_ident(), None)
    if error is None:
        error = precise_error(concrete, runtime_error(binding, status), tensors, variables)
    report_failure(error, concrete, tensors, variables)
    return error


def precise_error(concrete: Any, found: GraphflowError, tensors: Sequence[Any], variables: Sequence[Any]) -> Exception:
    """The error of a failed call with the values at fault, and the iterations and branches it happened in. A failed call has
    changed nothing, so it is run again node by node, on copies of the variables and without its prints; where that is
    not possible (Python is called, or it would take too long) the error is the one the compiled program gave."""
    checked = origin_of(concrete)
    graph: Graph = concrete.graph if checked is None else checked.graph
    hooks: list[Hook] = []
    if checked is not None:
        hooks.append(lambda node, operands, results: require_finite(node.op, operands, results, node.source))
    if calls_python(graph):
        return found
    stepper = Stepper(graph, hooks=hooks, silent=True, budget=STEPS_AFTER_FAILURE)
    try:
        with stop_recording():
            stepper.run(shadows_of(operands_of(concrete, tensors, variables)))
    except TooManySteps:
        return found
    except Exception as precise:
        if precise is stepper.raised:
            return precise
        if isinstance(precise, type(found)):
            precise.__cause__ = precise.__context__ = None
            return precise
        if not isinstance(precise, GraphflowError):
            raise
    return found
