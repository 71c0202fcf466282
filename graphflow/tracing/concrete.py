"""Concrete functions: one trace, compiled, with the fast call path written for it."""
from __future__ import annotations

import linecache
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..autodiff.record import recorders
from ..compiler import Executable, compile_graph, runtime_error
from ..ir.dims import evaluate
from ..ir.graph import Graph, Value
from ..ir.op import Effect
from ..ir.types import TensorType
from ..runtime.host import HOST_EFFECTS
from ..tensor import Tensor, TensorLike, active_trace, dispatch_now
from ..tree import map_structure
from .captures import MISSING, Guard, same

__all__ = ["ConcreteFunction", "Leaf"]


@dataclass(frozen=True)
class Leaf:
    """A leaf of the returned structure: the number of a graph output, or (-1) the Python value itself."""

    output: int
    value: Any = None


@dataclass(eq=False)
class ConcreteFunction:
    """One trace of a function. types: of its tensor arguments. captured: variables it reaches other than through arguments."""

    name: str
    graph: Graph
    types: list[TensorType]
    result: Any
    guards: list[Guard]
    argument_variables: list[Value]
    captured: list[tuple[Value, Any]]
    key: Any
    reason: str
    trace_milliseconds: float
    variable_positions: list[int] = field(default_factory=list)
    _executable: Executable | None = None
    _bindings: dict[Any, Any] = field(default_factory=dict)
    _calls: dict[Any, Callable[..., Any]] = field(default_factory=dict)

    @property
    def executable(self) -> Executable:
        if self._executable is None:
            self._executable = compile_graph(self.graph)
        return self._executable

    # Calling ----------------------------------------------------------------------------------------------------------
    def holds(self, arguments: tuple[Any, ...]) -> bool:
        """Are all captured values what they were when this was traced?"""
        return all(g.holds(arguments) for g in self.guards)

    def binding(self, variables: Sequence[Any], extents: dict[str, int]) -> Any:
        """The native program bound to the call's variables (all of them; those the trace uses are picked) and extents."""
        variables = [variables[k] for k in self.variable_positions]
        key = (tuple(map(id, variables)), tuple(extents.values()))
        found = self._bindings.get(key)
        if found is None or any(r() is None for r in found[1]):
            arrays = {value: variable._array for value, variable in self.captured}
            arrays.update({value: variable._array for value, variable in zip(self.argument_variables, variables, strict=True)})
            final = {new: arrays[old] for old, new in zip(self.graph.inputs, self.executable.graph.inputs, strict=True) if old in arrays}
            bound = self.executable.program.bind(final, extents, run_callback)
            found = self._bindings[key] = (bound, [weakref.ref(v) for v in variables])
        return found[0]

    def run(self, tensors: Sequence[Any], variables: Sequence[Any], extents: dict[str, int]) -> Any:
        """Call with canonical tensor and variable arguments."""
        if recorders.get():
            return self.pack(self.interpret(tensors, variables))
        binding = self.binding(variables, extents)
        outputs = [np.empty(tuple(evaluate(d, extents) for d in v.type.shape), v.type.dtype.numpy) for v in self.graph.outputs]
        status = binding.call(*[t._array for t in tensors], *outputs)
        if status:
            raise self.error(binding, status)
        return self.pack([Tensor(o, v.type.dtype) for o, v in zip(outputs, self.graph.outputs, strict=True)])

    def error(self, binding: Any, status: int) -> BaseException:
        failure = getattr(binding, "failure", None)
        if failure is not None:
            binding.failure = None
            return failure  # type: ignore[no-any-return]
        return runtime_error(binding, status)

    def pack(self, outputs: Sequence[Any]) -> Any:
        return map_structure(lambda leaf: outputs[leaf.output] if leaf.output >= 0 else leaf.value, self.result)

    def interpret(self, tensors: Sequence[Any], variables: Sequence[Any]) -> list[Any]:
        """The traced graph op by op, eagerly: what tapes outside see and can differentiate to any order, with the same bits."""
        held: dict[Value, Any] = dict(zip([v for v in self.graph.inputs if not v.is_variable], tensors, strict=True))
        held.update(dict(self.captured))
        held.update(zip(self.argument_variables, [variables[k] for k in self.variable_positions], strict=True))
        for node in self.graph.nodes:
            kernel = node.op.kernel
            kind = kernel.kind if isinstance(kernel, Effect) else ""
            if kind == "read":
                held[node.output] = held[node.inputs[0]].value()
            elif kind == "write":
                held[node.inputs[0]].assign(held[node.inputs[1]])
            else:
                results = dispatch_now(node.op, tuple(held[v] for v in node.inputs), node.attributes, node.source)
                held.update(zip(node.outputs, results, strict=True))
        return [held[v] for v in self.graph.outputs]

    # The fast path ----------------------------------------------------------------------------------------------------
    def fast_call(self, arguments: tuple[Any, ...], extents: dict[str, int], variables: Sequence[Any], slow: Callable[..., Any]) -> Callable[..., Any]:
        """A Python function written for this trace, these extents and these variables: it checks the arguments and captures in a
        few comparisons, makes the result arrays and calls the native program; anything unexpected goes to `slow`."""
        binding = self.binding(variables, extents)
        env: dict[str, Any] = {
            "Tensor": Tensor, "trace": active_trace.get, "tapes": recorders.get, "empty": np.empty, "native": binding.call,
            "slow": slow, "new": object.__new__, "same": same, "MISSING": MISSING, "fail": lambda s: self.error(binding, s),
        }  # fmt: skip
        names = [f"a{k}" for k in range(len(arguments))]
        checks, inputs, position = [], [], 0
        for k, value in enumerate(arguments):
            if isinstance(value, Tensor):
                env[f"d{k}"], env[f"s{k}"] = value.dtype, tuple(value.dims)
                checks.append(f"a{k}.__class__ is Tensor and a{k}.dtype is d{k} and a{k}._array.shape == s{k}")
                inputs.append(f"a{k}._array")
                position += 1
            else:
                env[f"c{k}"] = value
                exact = isinstance(value, (TensorLike, type(None), bool)) or not isinstance(value, (int, float, str))
                checks.append(f"a{k} is c{k}" if exact else f"(a{k} is c{k} or same(a{k}, c{k}))")
        for k, guard in enumerate(self.guards):
            env.update(guard.environment)
            env[f"g{k}"] = guard.value
            expression = guard.expression
            for number in range(len(arguments)):
                expression = expression.replace(f"arguments[{number}]", f"a{number}")
            if guard.snapshot is MISSING:
                checks.append(f"{expression} is g{k}")
            elif isinstance(guard.value, (list, dict, set, np.ndarray)):
                env[f"h{k}"] = guard.snapshot
                checks.append(f"same({expression}, h{k})")
            else:
                env[f"h{k}"] = guard.snapshot
                checks.append(f"((n := {expression}) is g{k} or same(n, h{k}))")
        lines = [f"def call({', '.join(names) + ', ' if names else ''}*rest, **keywords):"]
        everything = " and ".join(["not rest and not keywords and trace() is None and not tapes()", *checks])
        outputs = []
        body = []
        for k, value in enumerate(self.graph.outputs):
            env[f"shape{k}"] = tuple(evaluate(d, extents) for d in value.type.shape)
            env[f"dtype{k}"], env[f"numpy{k}"] = value.type.dtype, value.type.dtype.numpy
            body.append(f"        o{k} = empty(shape{k}, numpy{k})")
            outputs.append(f"o{k}")
        body.append(f"        status = native({', '.join(inputs + outputs)})")
        body.append("        if status: raise fail(status)")
        for k in range(len(outputs)):
            body += [f"        t{k} = new(Tensor); t{k}._array = o{k}; t{k}.dtype = dtype{k}; t{k}._key = None"]
        body.append(f"        return {self._result_source(env)}")
        arguments_text = ", ".join(names) + ", " if names else ""
        lines += ["    try:", f"        matches = {everything}", "    except (AttributeError, KeyError, ValueError, NameError):",
                  "        matches = False", "    if matches:", *body, f"    return slow({arguments_text}*rest, **keywords)"]  # fmt: skip
        source = "\n".join(lines)
        file = f"<graphflow call of {self.name}>"
        exec(compile(source, file, "exec"), env)
        linecache.cache[file] = (len(source), None, source.splitlines(True), file)
        return env["call"]  # type: ignore[no-any-return]

    def _result_source(self, env: dict[str, Any]) -> str:
        """An expression that builds the returned structure."""

        def text(value: Any) -> str:
            if isinstance(value, Leaf):
                if value.output >= 0:
                    return f"t{value.output}"
                name = f"v{len(env)}"
                env[name] = value.value
                return name
            if type(value) is tuple:
                return "(" + "".join(text(v) + ", " for v in value) + ")"
            if type(value) is list:
                return "[" + ", ".join(text(v) for v in value) + "]"
            if type(value) is dict and all(isinstance(k, (str, int)) for k in value):
                return "{" + ", ".join(f"{k!r}: {text(v)}" for k, v in value.items()) + "}"
            env["pack"] = self.pack
            return f"pack([{', '.join(f't{k}' for k in range(len(self.graph.outputs)))}])"

        return text(self.result)

    # Inspection -------------------------------------------------------------------------------------------------------
    @property
    def structured_input_signature(self) -> list[TensorType]:
        return list(self.types)

    @property
    def inputs(self) -> tuple[Value, ...]:
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[Value, ...]:
        return self.graph.outputs

    @property
    def symbols(self) -> tuple[str, ...]:
        return self.graph.symbols

    def __repr__(self) -> str:
        return f"<ConcreteFunction {self.name}({', '.join(map(str, self.types))}) -> ({', '.join(str(v.type) for v in self.outputs)})>"


def run_callback(number: int, binding: Any, table: int) -> int:
    """Called from native code for print and other Python effects: 0, or 1 after keeping the exception for the caller."""
    try:
        node = binding.program.callbacks[number]
        arrays = [_array_at(binding, table, v) for v in node.inputs]
        HOST_EFFECTS[node.op.name](arrays, **node.attributes)
    except BaseException as error:
        binding.failure = error
        return 1
    return 0


def _array_at(binding: Any, table: int, value: Value) -> np.ndarray[Any, Any]:
    """A copy of a value's buffer, found through the native table."""
    import ctypes

    program = binding.program
    place = program.plan.place(value)
    slot = program.slots.buffers[place.kind, place.index]
    address = ctypes.c_int64.from_address(table + 8 * slot).value
    shape = tuple(evaluate(d, binding.extents) for d in value.type.shape)
    dtype = value.type.dtype.numpy
    size = int(np.prod(shape)) * dtype.itemsize
    data = ctypes.string_at(address, size) if size else b""
    return np.frombuffer(data, dtype).reshape(shape)


