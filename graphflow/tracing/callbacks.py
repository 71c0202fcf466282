"""What a compiled function calls Python for: prints, and Python functions (gf.py_function, gf.numpy_function).

A call that contains Python functions runs in a `CallScope`: it keeps what the functions changed (so that a failed call changes no
variable) and the tapes of differentiable ones between their forward and their backward call.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..autodiff.record import Record, recorders
from ..dtypes import of_numpy
from ..errors import DTypeError, ShapeError
from ..ir.dims import Dim, SymbolicDim, evaluate, symbol, symbols_of
from ..ir.graph import Graph, Node, Value
from ..ir.op import Effect
from ..runtime.host import HOST_EFFECTS
from ..variable import write_journal

__all__ = ["CallScope", "calls_python", "current_scope", "failures", "open_scope", "run_callback", "scoped",
           "watching_writes", "written_inputs"]  # fmt: skip

FETCH = 1 << 40
"""Added to a callback's number by the second call, which copies results of run-time extents (see _call_python)."""

#: thread -> the exception that a callback raised in the call that is about to fail there
failures: dict[int, BaseException] = {}
_scopes = threading.local()


class CallScope:
    """One run of a compiled function that calls Python functions.

    saved: variables that Python code wrote, with their values before. tapes: ticket -> what PythonFunction kept for its
    backward call. results: arrays waiting to be fetched, by callback number.
    """

    is_passive = (
        True  # as a recorder: it records nothing, but keeps compiled functions that Python calls on their slow path
    )

    def __init__(self) -> None:
        self.saved: dict[int, tuple[Any, np.ndarray[Any, Any]]] = {}
        self.tapes: dict[int, Any] = {}
        self.results: dict[int, Sequence[np.ndarray[Any, Any]]] = {}

    def record(self, record: Record) -> None:
        """Nothing: only writes matter here."""

    def accessed(self, variable: Any, value: Any) -> None:
        """Nothing: only writes matter here."""

    def writes(self, variable: Any) -> None:
        """Keep the variable's value before its first write."""
        if id(variable) not in self.saved:
            self.saved[id(variable)] = (variable, variable._array.copy())

    def undo(self, except_for: frozenset[int] = frozenset()) -> None:
        """Give the variables their values back, but for those (by id) that native code restores itself."""
        for variable, array in self.saved.values():
            if id(variable) not in except_for:
                np.copyto(variable._array, array)


def current_scope() -> CallScope | None:
    """The innermost scope that is open in this thread."""
    stack = getattr(_scopes, "stack", None)
    return stack[-1] if stack else None


@contextmanager
def open_scope(undo_on_error: bool = True) -> Iterator[CallScope]:
    """A scope for the block; an exception undoes what Python code wrote in it."""
    stack = _scopes.__dict__.setdefault("stack", [])
    scope = CallScope()
    stack.append(scope)
    try:
        yield scope
    except BaseException:
        if undo_on_error:
            scope.undo()
        raise
    finally:
        stack.pop()


@contextmanager
def watching_writes(scope: CallScope) -> Iterator[None]:
    """Python code that runs in the block reports the variables it writes to the scope."""
    token = write_journal.set(scope.writes)
    recording = recorders.set((*recorders.get(), scope))
    try:
        yield
    finally:
        recorders.reset(recording)
        write_journal.reset(token)


def calls_python(graph: Graph) -> bool:
    """Is there a call of a Python function in the graph or in its sub-graphs?"""
    return any(_is_call(node) or any(calls_python(inner) for inner in node.subgraphs()) for node in graph.nodes)


def written_inputs(graph: Graph) -> list[Value]:
    """The variables among the graph's inputs that it or its sub-graphs write."""
    found: dict[Value, None] = {}
    for node in graph.nodes:
        if isinstance(node.op.kernel, Effect) and node.op.kernel.kind == "write":
            found[node.inputs[0]] = None
        for inner in node.subgraphs():
            if len(inner.inputs) <= len(node.inputs):
                outer = dict(zip(inner.inputs, node.inputs[len(node.inputs) - len(inner.inputs) :], strict=True))
                found.update(dict.fromkeys(outer[v] for v in written_inputs(inner)))
    return [v for v in found if v.is_variable]


def _is_call(node: Node) -> bool:
    return isinstance(node.op.kernel, Effect) and node.op.kernel.kind == "call"


def scoped(native: Callable[..., int], written: Sequence[Any]) -> Callable[..., int]:
    """The native call of a program with Python functions, each run in a scope of its own. written: the variables that native code
    writes, and restores itself when it fails."""
    restored = frozenset(map(id, written))

    def call(*arrays: Any) -> int:
        with open_scope(undo_on_error=False) as scope:
            status = native(*arrays)
            if status:
                scope.undo(restored)
            return status

    return call


# Called from native code ----------------------------------------------------------------------------------------------
def run_callback(number: int, binding: Any, table: int) -> int:
    """Called from native code for print and other Python effects: 0, or 1 after keeping the exception for the
    caller."""
    try:
        if number & FETCH:
            _fetch(number & ~FETCH, binding, table)
            return 0
        node = binding.program.callbacks[number]
        arrays = [array_at(binding, table, v) for v in node.inputs]
        if _is_call(node):
            _call_python(number, node, binding, table, arrays)
        else:
            HOST_EFFECTS[node.op.name](arrays, **node.attributes)
    except BaseException as error:
        failures[threading.get_ident()] = error
        return 1
    return 0


def _call_python(number: int, node: Node, binding: Any, table: int, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
    """Run a python_call. Results whose extents the function decides are fetched by a second call, when native code has memory for
    them; the others are copied at once."""
    scope = current_scope()
    assert scope is not None, "a program with Python functions runs in a scope"
    with watching_writes(scope):
        results = node.attributes["function"](*arrays)
    known = {name: _extent(binding, table, symbol(name)) for v in node.outputs for name in _known_symbols(node, v)}
    made = bind_results(node, results, known)
    for name, extent in made.items():
        ctypes.c_int64.from_address(table + 8 * binding.program.slots.dims[symbol(name)]).value = extent
    scope.results[number] = results
    if not node.attributes["extents"]:
        _fetch(number, binding, table)


def _fetch(number: int, binding: Any, table: int) -> None:
    scope = current_scope()
    assert scope is not None
    node = binding.program.callbacks[number]
    for value, array in zip(node.outputs, scope.results.pop(number), strict=True):
        slot = _slot(binding.program, value)
        if slot is not None and array.nbytes:
            dense = np.ascontiguousarray(array)
            ctypes.memmove(ctypes.c_int64.from_address(table + 8 * slot).value, dense.ctypes.data, dense.nbytes)


def _known_symbols(node: Node, value: Value) -> list[str]:
    own = node.attributes["extents"]
    return [name for dim in value.type.shape for name in symbols_of(dim) if name not in own]


def bind_results(node: Node, results: Sequence[np.ndarray[Any, Any]], known: Mapping[str, int]) -> dict[str, int]:
    """The run-time extents that a call's results give. Raises ShapeError or DTypeError where a result
    is not what was declared: native code has memory for that."""
    own, made = node.attributes["extents"], dict[str, int]()
    for number, (value, array) in enumerate(zip(node.outputs, results, strict=True)):
        declared = value.type.shape
        fits = array.dtype == value.type.dtype.numpy and len(declared) == array.ndim
        for dim, extent in zip(declared, array.shape, strict=False) if fits else ():
            if isinstance(dim, SymbolicDim) and dim.text in own and dim.text not in made:
                made[dim.text] = extent
            elif evaluate(dim, {**known, **made}) != extent:
                fits = False
        if not fits:
            function = node.attributes["function"]
            label = getattr(function, "label", "python_call")
            place = function.number_of(number) if hasattr(function, "number_of") else number
            error = (ShapeError if array.dtype == value.type.dtype.numpy else DTypeError)(
                f"{label}: result {place} of {getattr(function, 'name', function)} is declared {value.type}, got {_type_text(array)}"
            )
            error.place, error.hint = (
                node.source,
                "declare extents that vary with None: Tout=gf.TensorSpec([None], dtype)",
            )
            raise error
    return made


def _type_text(array: np.ndarray[Any, Any]) -> str:
    return f"{of_numpy(array.dtype).short}[{','.join(map(str, array.shape))}]"


def _extent(binding: Any, table: int, dim: Dim) -> int:
    """An extent as the running call has it: fixed, of the call's arguments, or made while it runs."""
    if isinstance(dim, SymbolicDim):
        slot = binding.program.slots.dims.get(dim)
        if slot is not None:
            return ctypes.c_int64.from_address(table + 8 * slot).value
    extents = dict(binding.extents)
    for name in symbols_of(dim):
        if name not in extents:
            extents[name] = ctypes.c_int64.from_address(table + 8 * binding.program.slots.dims[symbol(name)]).value
    return evaluate(dim, extents)


def _slot(program: Any, value: Value) -> int | None:
    """The table slot of a value's address; None for a value without memory."""
    find = getattr(program, "buffer_slot", None)
    if find is not None:
        found: int | None = find(value)
        return found
    place = program.plan.place(value)
    known: int | None = program.slots.buffers.get((place.kind, place.index))
    return known


def array_at(binding: Any, table: int, value: Value) -> np.ndarray[Any, Any]:
    """A copy of a value's buffer, found through the native table."""
    slot = _slot(binding.program, value)
    assert slot is not None, "a callback's operands have memory"
    address = ctypes.c_int64.from_address(table + 8 * slot).value
    shape = tuple(_extent(binding, table, d) for d in value.type.shape)
    dtype = value.type.dtype.numpy
    array = np.empty(shape, dtype)
    if array.nbytes:
        ctypes.memmove(array.ctypes.data, address, array.nbytes)
    return array
