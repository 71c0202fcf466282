"""Concrete functions: one trace of a function, compiled, and the ways to run it."""

from __future__ import annotations

import copy
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..autodiff.record import recorders
from ..compiler import Executable
from ..errors import SignatureError
from ..ir.dims import SymbolicDim, evaluate
from ..ir.graph import Graph, Value
from ..ir.op import Effect
from ..ir.source import Source
from ..ir.types import TensorType
from ..locks import renew_after_fork
from ..passes.manager import Remark
from ..tensor import Tensor, TensorLike, active_trace, convert_to_tensor
from ..tree import flatten, map_structure
from .callbacks import calls_python, open_scope, run_callback, scoped, watching_writes, written_inputs
from .fast_call import write_fast_call
from .guards import Guard
from .interpret import Interpreter, replay_node
from .numerics import checked_variant
from .placement import log_graph
from .signature import Arguments, bind_symbols
from .tracer import SymbolicTensor

__all__ = ["ConcreteFunction"]

MOST_BINDINGS = 64
"""Bindings (an arena each) and fast calls kept for a trace."""


@dataclass(eq=False)
class ConcreteFunction:
    """One trace of a function. It can be called with the tensors alone.

    types: of the tensor arguments, named `names`. result: the returned structure, with a Leaf for each leaf.
    argument_variables: graph inputs that stand for variables among the arguments, variable_positions: which of these
    they are. captured: the other variables. key: the arguments' key. reason: why the trace was made. remarks: side
    effects seen while tracing. pinned: argument variables that the function also captures, by position: the trace is
    for these. cause: why, as data; caller: the call that it was made for; number: the how manieth trace of its function
    it is; uses: how often it ran (a list of one number, which fast calls count up); sightings: warnings about side
    effects and unguarded values, each with its category and place. provenance: what its run was like; is_shared: it was
    taken over from another instance or process (see blueprint.py).
    """

    name: str
    graph: Graph
    types: list[TensorType]
    names: list[str]
    result: Any
    guards: list[Guard]
    argument_variables: list[Value]
    variable_positions: list[int]
    captured: list[tuple[Value, Any]]
    key: Any
    reason: str
    remarks: list[Remark] = field(default_factory=list)
    pinned: dict[int, Any] = field(default_factory=dict)
    trace_milliseconds: float = 0.0
    cause: Any = None
    caller: Source | None = None
    number: int = 0
    last_used: int = 0
    uses: list[int] = field(default_factory=lambda: [0])
    sightings: list[tuple[type[Warning], str, Source]] = field(default_factory=list)
    provenance: Any = None
    is_shared: bool = False
    _executable: Executable | None = None
    _bindings: dict[Any, Any] = field(default_factory=dict)
    _calls: dict[Any, Callable[..., Any]] = field(default_factory=dict)
    _seen: dict[Any, None] = field(default_factory=dict)

    @property
    def executable(self) -> Executable:
        """The compiled graph; compiled at the first use."""
        if self._executable is None:
            from .executables import executable_of

            self._executable = executable_of(self.graph)
        return self._executable

    def like(self, guards: list[Guard], captured: list[tuple[Value, Any]], key: Any) -> ConcreteFunction:
        """The same graph and code for other captured objects."""
        return replace(
            self, guards=guards, captured=captured, key=key, pinned={}, trace_milliseconds=0.0, uses=[0], sightings=[],
            cause=None, caller=None, is_shared=True, _executable=self.executable, _bindings={}, _calls={}, _seen={},
        )  # fmt: skip

    def __copy__(self) -> ConcreteFunction:
        """The same graph and captured variables."""
        return self.like([], self.captured, None)

    def __deepcopy__(self, memo: Any) -> ConcreteFunction:
        """The same graph with copies of the captured variables."""
        return self.like([], [(v, copy.deepcopy(variable, memo)) for v, variable in self.captured], None)

    def __reduce__(self) -> Any:
        from .pickling import concrete_state

        return concrete_state(self)

    @cached_property
    def calls_python(self) -> bool:
        """Does it call Python functions (gf.py_function, gf.numpy_function)?"""
        return calls_python(self.graph)

    def written(self, variables: Sequence[Any]) -> list[Any]:
        """The variables that the graph writes. variables: those among the arguments that it uses."""
        held = {**dict(self.captured), **dict(zip(self.argument_variables, variables, strict=True))}
        return [held[v] for v in written_inputs(self.graph) if v in held]

    # Calling ----------------------------------------------------------------------------------------------------------
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run with the tensor arguments in order (Python arguments were fixed by the trace and may be left out), or by
        name."""
        given = [
            convert_to_tensor(v) for v in flatten(list(args)) if isinstance(v, (TensorLike, np.ndarray, np.generic))
        ]
        places = {name: k for k, name in enumerate(self.names)}
        unknown = sorted(set(kwargs) - set(places))
        tensors: list[Any] = [*given, *[None] * (len(self.names) - len(given))]
        for name, value in kwargs.items():
            if name in places:
                tensors[places[name]] = convert_to_tensor(value, dtype_hint=self.types[places[name]].dtype)
        expected = ", ".join(f"{n}: {t}" for n, t in zip(self.names, self.types, strict=True))
        if unknown or len(given) > len(self.names) or any(t is None for t in tensors):
            raise SignatureError(
                f"{self.name}: this concrete function takes ({expected}), got {len(given)} tensors"
                f"{' and the keywords ' + ', '.join(sorted(kwargs)) if kwargs else ''}"
            )
        fits = all(t.dtype is wanted.dtype for t, wanted in zip(tensors, self.types, strict=True))
        extents = bind_symbols(self.types, tuple(t.dims for t in tensors)) if fits else None
        if extents is None:
            raise SignatureError(
                f"{self.name}: this concrete function takes ({expected}), got "
                f"({', '.join(str(t.type) for t in tensors)})"
            )
        if self.argument_variables:
            raise SignatureError(
                f"{self.name}: a trace with variables among its arguments is called through the function itself"
            )
        if active_trace.get() is not None:
            return self.pack(self.interpret(tensors, ()))
        return self.run(tensors, (), extents)

    def accepts(self, variables: Sequence[Any]) -> bool:
        """Do the call's variables alias the captured ones as when this was traced?"""
        if self.pinned and any(variables[k] is not v for k, v in self.pinned.items()):
            return False
        return not any(v is captured for _, captured in self.captured for v in variables)

    def holds(self) -> bool:
        """Are all captured values what they were when this was traced?"""
        dead = False
        for guard in self.guards:
            if guard.is_dead:
                dead = True
            elif not guard.holds():
                return False
        if dead:  # objects that are gone need no check, nor fast calls that check them
            self.guards = [g for g in self.guards if not g.is_dead]
            with _tables:
                self._calls.clear()
        return True

    def binding(self, variables: Sequence[Any], extents: dict[str, int]) -> Any:
        """The native program bound to the call's variables (all of them; those the trace uses are picked) and
        extents."""
        variables = [variables[k] for k in self.variable_positions]
        key = (tuple(map(id, variables)), tuple(extents.values()))
        found = self._bindings.get(key)
        if found is None or any(r() is None for r in found[1]):
            arrays = {value: variable._array for value, variable in self.captured}
            arrays.update(
                {value: variable._array for value, variable in zip(self.argument_variables, variables, strict=True)}
            )
            final = {
                new: arrays[old]
                for old, new in zip(self.graph.inputs, self.executable.graph.inputs, strict=True)
                if old in arrays
            }
            bound = self.executable.program.bind(final, extents, run_callback)
            if self.calls_python:
                bound.call = scoped(bound.call, self.written(variables))
            found = (bound, [weakref.ref(v) for v in variables])
            _keep(self._bindings, key, found)
        return found[0]

    def run(self, tensors: Sequence[Any], variables: Sequence[Any], extents: dict[str, int]) -> Any:
        """Call with canonical tensor and variable arguments."""
        active = recorders.get()
        if active:
            checked = checked_variant(self)
            if checked is not None:
                return checked.run(tensors, variables, extents)
            log_graph(self.name, self.executable.graph)
            if not all(getattr(recorder, "is_passive", False) for recorder in active):
                from .taped import call_under_tape

                outputs = call_under_tape(self, tensors, variables, extents)
                return self.pack(self.interpret(tensors, variables) if outputs is None else outputs)
            for variable in self.written([variables[k] for k in self.variable_positions]):
                for recorder in active:
                    recorder.writes(variable)  # type: ignore[attr-defined]
        binding = self.binding(variables, extents)
        arrays = [t._array for t in tensors]
        if getattr(binding, "dynamic_outputs", ()):
            status, outputs = binding.run(arrays)
        else:
            outputs = [
                np.empty(tuple(evaluate(d, extents) for d in v.type.shape), v.type.dtype.numpy)
                for v in self.executable.graph.outputs  # extents that only the run decides may be known there
            ]
            status = binding.call(*arrays, *outputs)
        if status:
            raise self.error(binding, status, arrays, variables, extents)
        return self.pack([Tensor(o, v.type.dtype) for o, v in zip(outputs, self.graph.outputs, strict=True)])

    def fast_call(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        arguments: Arguments,
        extents: dict[str, int],
        slow: Callable[..., Any],
    ) -> Callable[..., Any] | None:
        """The fast path for calls like this one (see fast_call.py), from the second such call on: writing one costs as
        much as ten slow calls, so that extents which never come back are not worth it."""
        arrays = tuple([isinstance(a, np.ndarray) for a in (*args, *kwargs.values())])
        key = (arguments.full_key, len(args), tuple(kwargs), tuple(map(id, arguments.variables)), arrays)
        found = self._calls.get(key)
        if found is None:
            if key in self._seen:
                found = write_fast_call(self, args, kwargs, arguments, extents, slow)
                _keep(self._calls, key, found)
            else:
                _keep(self._seen, key, None)
        return found

    def pack(self, outputs: Sequence[Any]) -> Any:
        """The returned structure with these outputs."""
        return map_structure(lambda leaf: leaf.pick(outputs), self.result)

    # Errors -----------------------------------------------------------------------------------------------------------
    def error(
        self, binding: Any, status: int, arrays: Sequence[Any], variables: Sequence[Any], extents: dict[str, int]
    ) -> BaseException:
        """The exception of a failed call (see debug.call_error)."""
        from .debug import call_error

        tensors = [Tensor(a, t.dtype) for a, t in zip(arrays, self.types, strict=True)]
        return call_error(self, binding, status, tensors, variables)

    # Op by op ---------------------------------------------------------------------------------------------------------
    def interpret(self, tensors: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        """The traced graph op by op: see _interpret. Calls of Python functions run in a scope, as in native code."""
        if not self.calls_python or active_trace.get() is not None:
            return self._interpret(tensors, variables)
        with open_scope() as scope, watching_writes(scope):
            return self._interpret(tensors, variables)

    def _interpret(self, tensors: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        """The traced graph op by op: what tapes outside see and can differentiate to any order, with the same bits. A
        failure leaves the variables as they were."""
        held: dict[Value, Any] = dict(zip([v for v in self.graph.inputs if not v.is_variable], tensors, strict=True))
        held.update(dict(self.captured))
        held.update(zip(self.argument_variables, [variables[k] for k in self.variable_positions], strict=True))
        trace = active_trace.get()
        if trace is not None:
            return self._replay(trace, held)
        interpreter = Interpreter()
        try:
            return interpreter.run(self.graph, [held[v] for v in self.graph.inputs])
        except BaseException:
            for variable, array in interpreter.saved.values():
                np.copyto(variable._array, array)
            raise

    def _replay(self, trace: Any, held: dict[Value, Any]) -> list[Any]:
        """The graph's nodes in the trace that is running."""
        dims: dict[str, Any] = {}
        for value, tensor in held.items():
            if not value.is_variable:
                held[value] = trace.lift(tensor)
                dims.update(
                    (old.text, new) for old, new in zip(value.type.shape, tensor.dims, strict=True)
                    if isinstance(old, SymbolicDim) and old.text.isidentifier()
                )  # fmt: skip
        for node in self.graph.nodes:
            kind = node.op.kernel.kind if isinstance(node.op.kernel, Effect) else ""
            operands = [held[v] for v in node.inputs]
            if kind == "read":
                results: Sequence[Any] = (operands[0].value(),)
            elif kind == "write":
                operands[0].assign(operands[1])
                results = ()
            else:  # sub-graphs that access variables themselves take the references
                operands = [o if isinstance(o, Tensor) else SymbolicTensor(trace, trace.variable(o)) for o in operands]
                results = replay_node(trace, node, operands, dims)
            held.update(zip(node.outputs, results, strict=True))
        return [held[v] for v in self.graph.outputs]

    # Inspection -------------------------------------------------------------------------------------------------------
    @property
    def structured_input_signature(self) -> list[TensorType]:
        """The types of the tensor arguments."""
        return list(self.types)

    @property
    def structured_outputs(self) -> Any:
        """The returned structure with types in place of tensors."""
        return self.pack([v.type for v in self.graph.outputs])

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The graph's inputs, variables among them."""
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[Value, ...]:
        """The graph's outputs."""
        return self.graph.outputs

    @property
    def variables(self) -> tuple[Any, ...]:
        """The captured variables."""
        return tuple(v for _, v in self.captured)

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names of the extents that may differ from call to call."""
        return self.graph.symbols

    def __repr__(self) -> str:
        return (
            f"<ConcreteFunction {self.name}({', '.join(map(str, self.types))}) -> "
            f"({', '.join(str(v.type) for v in self.outputs)})>"
        )


def _keep(table: dict[Any, Any], key: Any, value: Any) -> None:
    """Add to a table of limited size; the oldest entry goes first."""
    with _tables:  # several threads may run one trace
        table[key] = value
        while len(table) > MOST_BINDINGS:
            table.pop(next(iter(table)), None)


_tables = threading.RLock()


def renew_locks() -> None:
    """In a forked child."""
    global _tables
    _tables = threading.RLock()


renew_after_fork(sys.modules[__name__])
