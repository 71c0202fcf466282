"""@gf.function: traces a Python function once for each kind of arguments and runs the compiled graph afterwards."""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import config
from ..autodiff.record import recorders
from ..errors import GraphflowError, SignatureError
from ..ir.dims import DimensionsMustAgree, SymbolicDim, symbol, symbols_of
from ..ir.source import user_frame
from ..ir.types import TensorType
from ..passes.manager import Remark
from ..tensor import Tensor, TensorLike, active_trace, convert_to_tensor, is_tensor, located
from ..tree import flatten, is_nested, map_structure
from .captures import Captures
from .concrete import ConcreteFunction
from .fast_call import Leaf
from .guards import short, snapshot_of
from .inspect import Inspection
from .signature import (
    Arguments,
    TensorSpec,
    analyse_arguments,
    bind_symbols,
    canonical_arguments,
    key_difference,
    spec_types,
)
from .tracer import NeedsNumber, SymbolicTensor, Trace

__all__ = ["Function", "function", "init_scope"]

MOST_ENTRIES = 256
"""Traces kept for a function; the oldest goes first."""
MOST_ATTEMPTS = 16


class Function(Inspection):
    """A traced function (the result of @gf.function). Calling it looks up or makes a trace for the arguments and runs
    it."""

    def __init__(
        self,
        python_function: Callable[..., Any],
        input_signature: Sequence[Any] | None = None,
        reduce_retracing: bool = True,
        name: str | None = None,
        autograph: bool = True,
        is_method: bool = False,
    ) -> None:
        """is_method: the first argument is the instance that the function is bound to; it is part of no signature."""
        self.python_function = python_function
        self.name = name or str(getattr(python_function, "__name__", type(python_function).__name__))
        self.input_signature = None if input_signature is None else tuple(input_signature)
        self.reduce_retracing = reduce_retracing
        self.autograph = autograph
        self._is_method = is_method
        self._signature = inspect.signature(python_function)
        self._entries: list[ConcreteFunction] = []
        self._table: dict[Any, list[tuple[ConcreteFunction, dict[str, int]]]] = {}
        self._fast: Callable[..., Any] = self._slow
        self._lock = threading.RLock()
        self._exact_only = False
        self._traces = 0
        self._instances = InstanceTable()
        functools.update_wrapper(self, python_function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._fast(*args, **kwargs)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: each instance has traces of its own, and is not kept alive by them."""
        return self if instance is None else BoundFunction(self._instances.of(instance, self._for_instance), instance)

    def _for_instance(self) -> Function:
        return Function(
            self.python_function, self.input_signature, self.reduce_retracing, self.name, self.autograph, is_method=True
        )

    def __deepcopy__(self, memo: Any) -> Function:
        """A function of the same code, without the traces."""
        return Function(
            self.python_function,
            self.input_signature,
            self.reduce_retracing,
            self.name,
            self.autograph,
            self._is_method,
        )

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{self!r} cannot be pickled: compiled code belongs to this process; pickle the variables instead"
        )

    # The slow path ----------------------------------------------------------------------------------------------------
    def _slow(self, *args: Any, **kwargs: Any) -> Any:
        """Find or make the trace for a call, install its fast path, run it."""
        if config.flags().run_functions_eagerly:
            return self.python_function(*args, **kwargs)
        arguments = self._arguments(args, kwargs)
        if active_trace.get() is not None:  # inlined into the trace that is running
            return self.python_function(*arguments.values, **arguments.kwargs)
        concrete, extents = self._find_or_trace(arguments)
        if not kwargs and not recorders.get() and _is_simple(args, arguments):
            key = (tuple(extents.values()), arguments.full_key)
            self._fast = concrete.fast_call(args, extents, arguments.variables, self._slow, key) or self._fast
        return concrete.run(arguments.tensors, arguments.variables, extents)

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        values, keywords, names = canonical_arguments(self._signature, args, kwargs, self.name)
        if self.input_signature is not None:
            values = self._conform(values, keywords, names)
        return analyse_arguments(values, keywords, names, self._is_method)

    def _conform(self, values: tuple[Any, ...], keywords: dict[str, Any], names: list[str]) -> tuple[Any, ...]:
        """Arguments as input_signature wants them. Raises SignatureError naming argument, spec and value."""
        assert self.input_signature is not None
        first = int(self._is_method)
        given = values[first : first + len(self.input_signature)]
        if len(given) < len(self.input_signature):
            raise SignatureError(
                f"{self.name}: input_signature has {len(self.input_signature)} arguments, the call {len(given)}"
            )

        def check(spec: Any, value: Any, name: str) -> Any:
            if not isinstance(spec, TensorSpec):
                if not is_nested(spec):
                    return value
                try:
                    return map_structure(lambda s, v: check(s, v, name), spec, value)
                except ValueError as error:
                    if isinstance(error, GraphflowError):
                        raise
                    raise SignatureError(
                        f"{self.name}: argument '{name}' must have the structure {spec!r}, got {value!r}"
                    ) from None
            try:
                tensor = value if is_tensor(value) else _as_spec(value, spec)
            except GraphflowError as error:
                raise SignatureError(
                    f"{self.name}: argument '{name}' must be {spec}, got {value!r}: {error.args[0]}"
                ) from None
            if not spec.is_compatible_with(tensor):
                problem = SignatureError(f"{self.name}: argument '{name}' must be {spec}, got {tensor.type}")
                problem.hint = "cast or reshape the argument, or widen input_signature (None extents vary)"
                raise problem
            return tensor

        conformed = [check(s, v, n) for s, v, n in zip(self.input_signature, given, names[first:], strict=False)]
        return (*values[:first], *conformed, *values[first + len(conformed) :])

    def _find_or_trace(self, arguments: Arguments) -> tuple[ConcreteFunction, dict[str, int]]:
        key = arguments.full_key
        with self._lock:
            for concrete, extents in self._table.get(key, ()):
                if concrete.accepts(arguments.variables) and concrete.holds():
                    return concrete, extents
            for concrete in self._entries:
                if concrete.key == arguments.key:
                    extents_or_none = bind_symbols(concrete.types, arguments.shapes)  # type: ignore[arg-type]
                    if extents_or_none is not None and concrete.accepts(arguments.variables) and concrete.holds():
                        self._remember(key, concrete, extents_or_none)
                        return concrete, extents_or_none
            return self._trace(arguments)

    def _remember(self, key: Any, concrete: ConcreteFunction, extents: dict[str, int]) -> None:
        if len(self._table) > 4 * MOST_ENTRIES:
            self._table.clear()
        self._table.setdefault(key, []).insert(0, (concrete, extents))

    def _add(self, concrete: ConcreteFunction) -> None:
        """Keep a trace."""
        _ = concrete.executable  # a compile error leaves no trace behind
        self._entries.append(concrete)
        self._traces += 1
        if len(self._entries) > MOST_ENTRIES:
            dropped = self._entries.pop(0)
            self._table = {k: kept for k, v in self._table.items() if (kept := [e for e in v if e[0] is not dropped])}
        limit = config.flags().retrace_warn
        if limit and self._traces == limit + 1:
            warnings.warn(
                f"{self.name} was traced {self._traces} times; the last reason: {concrete.reason}. "
                f"{self.name}.explain() lists "
                "them all",
                UserWarning,
                stacklevel=_user_level(),
            )

    # Tracing ----------------------------------------------------------------------------------------------------------
    def _trace(self, arguments: Arguments) -> tuple[ConcreteFunction, dict[str, int]]:
        start = time.perf_counter()
        reason = self._reason(arguments)
        exact = [t.type for t in arguments.tensors]
        concrete = self._settle(arguments, self._types(arguments), exact, reason)
        extents = bind_symbols(concrete.types, arguments.shapes)  # type: ignore[arg-type]
        if extents is None:  # the symbols had to agree, and here they do not: these exact shapes
            concrete = self._settle(arguments, exact, exact, reason)
            extents = {}
        concrete.trace_milliseconds = (time.perf_counter() - start) * 1e3
        self._add(concrete)
        self._remember(arguments.full_key, concrete, extents)
        return concrete, extents

    def _settle(
        self, arguments: Arguments, types: list[TensorType], exact: list[TensorType], reason: str
    ) -> ConcreteFunction:
        """Trace, with fewer symbolic extents each time that Python or a shape rule needs them to be known or equal."""
        for _ in range(MOST_ATTEMPTS):
            try:
                return self._trace_once(arguments, types, reason)
            except DimensionsMustAgree as clash:
                if types == exact:
                    raise GraphflowError(f"{self.name}: extents {clash.left} and {clash.right} must be equal") from None
                types = _merge(types, clash, exact)
            except NeedsNumber as need:
                if types == exact:
                    raise located(GraphflowError(f"{self.name}: {need}"), need.source) from None
                if self.input_signature is None:
                    self._exact_only = True
                types = exact
        raise GraphflowError(f"{self.name}: shapes did not settle in {MOST_ATTEMPTS} traces")

    def _types(self, arguments: Arguments) -> list[TensorType]:
        """Types to trace with: the signature's, or the arguments' own with a symbol where an earlier trace had another
        extent."""
        exact = [t.type for t in arguments.tensors]
        if self.input_signature is not None:
            specs = [s for s in flatten(list(self.input_signature)) if isinstance(s, TensorSpec)]
            tensor_specs = [
                s for s, v in zip(specs, _signature_leaves(self, arguments), strict=False) if isinstance(v, Tensor)
            ]
            if len(tensor_specs) == len(exact):
                counter = [0]
                return [
                    spec_types(s, counter) if s.shape is not None else t
                    for s, t in zip(tensor_specs, exact, strict=True)
                ]
            return exact
        if not self.reduce_retracing or self._exact_only:
            return exact
        earlier = next((c for c in reversed(self._entries) if c.key == arguments.key and c.holds()), None)
        if earlier is None:
            return exact
        names: dict[Any, SymbolicDim] = {}
        types = []
        for old, new in zip(earlier.types, exact, strict=True):
            dims = [
                b if a == b else names.setdefault((a, b), symbol(f"s{len(names)}"))
                for a, b in zip(old.shape, new.shape, strict=True)
            ]
            types.append(new.with_shape(tuple(dims)))
        return types

    def _trace_once(self, arguments: Arguments, types: list[TensorType], reason: str) -> ConcreteFunction:
        may_create = not self._entries
        trace, graph, result, captures = self._run_python(arguments, types, may_create)
        if trace.created_variables:
            # As in TensorFlow: a function that creates variables is traced again, and must not create any then.
            trace, graph, result, captures = self._run_python(arguments, types, False)
        position = {id(v): k for k, v in enumerate(arguments.variables)}
        argument_values: dict[int, Any] = {}
        captured = []
        for variable, value in trace.variables.values():
            if id(variable) in position:
                argument_values[position[id(variable)]] = value
            else:
                captured.append((value, variable))
        kept = sorted(argument_values)
        also_captured = captures.variables()
        remarks = [
            Remark(
                "side effect",
                f"{g.name} changed from {short(g.then)} to {short(snapshot_of(g.get()))} "
                f"while tracing; a call "
                "of the compiled function does not change it",
            )
            for g in captures.changed
        ]
        remarks += [
            Remark("unguarded", f"{g.name} is too large to compare at each call; a change inside it is not seen")
            for g in captures.blind
        ]
        if captures.dropped:
            remarks.append(
                Remark(
                    "unguarded",
                    f"{captures.dropped} captured values beyond the first {len(captures.guards)} are not watched",
                )
            )
        return ConcreteFunction(
            self.name,
            graph,
            types,
            arguments.names,
            result,
            captures.guards,
            [argument_values[k] for k in kept],
            kept,
            captured,
            arguments.key,
            reason,
            remarks,
            {k: v for k, v in enumerate(arguments.variables) if id(v) in also_captured},
        )

    def _run_python(
        self, arguments: Arguments, types: list[TensorType], may_create: bool
    ) -> tuple[Trace, Any, Any, Captures]:
        captures = Captures(self.python_function, (*arguments.values, *arguments.kwargs.values()), arguments.by_value)
        trace = Trace(self.name, may_create)
        inputs = iter([trace.input(n, t) for n, t in zip(arguments.names, types, strict=True)])
        symbolic = [_substitute(v, inputs, self._is_method and not k) for k, v in enumerate(arguments.values)]
        keywords = {k: _substitute(v, inputs) for k, v in arguments.kwargs.items()}
        token = active_trace.set(trace)
        tapes = recorders.set(())
        try:
            with captures.recording():
                returned = self.python_function(*symbolic, **keywords)
            outputs: list[SymbolicTensor] = []

            def leaf(value: Any) -> Leaf:
                if isinstance(value, (TensorLike, np.ndarray, np.generic)) or hasattr(value, "__graphflow_dim__"):
                    outputs.append(trace.lift(convert_to_tensor(value)))
                    return Leaf(len(outputs) - 1)
                return Leaf(-1, value)

            result = map_structure(leaf, returned)
            graph = trace.finish(outputs)
        finally:
            recorders.reset(tapes)
            active_trace.reset(token)
            trace.alive = False
        captures.finish()
        return trace, graph, result, captures

    def _reason(self, arguments: Arguments) -> str:
        """Why this call needs a new trace."""
        if not self._entries:
            return "first call"
        same = [c for c in self._entries if c.key == arguments.key]
        if not same:
            return key_difference(self._entries[-1].key, arguments.key, arguments.leaf_keys)
        for concrete in reversed(same):
            changed = [g for g in concrete.guards if not g.holds()]
            if changed:
                return changed[0].describe()
        for k, (old, new) in enumerate(zip(same[-1].types, arguments.tensors, strict=True)):
            if old.shape != new.dims:
                name = arguments.names[k]
                return f"argument '{name}' changed shape from {list(old.shape)} to {list(new.dims)}"
        return "the extents do not agree as this trace needs"

    # Public -----------------------------------------------------------------------------------------------------------
    def experimental_get_tracing_count(self) -> int:
        """How often the Python function was traced."""
        return self._traces

    def get_concrete_function(self, *args: Any, **kwargs: Any) -> ConcreteFunction:
        """The trace for these arguments (tensors, TensorSpecs or Python values), made if need be, not run."""
        if self.input_signature is not None and not args and not kwargs:
            args = self.input_signature
        replaced = [_example(a) for a in args]
        named = {k: _example(v) for k, v in kwargs.items()}
        specs = [s for s in flatten([list(args), kwargs]) if isinstance(s, TensorSpec)]
        if any(None in tuple(s.shape or ()) for s in specs) and self.input_signature is None:
            return self._concrete_of_specs(args, kwargs)
        arguments = self._arguments(tuple(replaced), named)
        return self._find_or_trace(arguments)[0]

    def _concrete_of_specs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ConcreteFunction:
        arguments = self._arguments(tuple(_example(a) for a in args), {k: _example(v) for k, v in kwargs.items()})
        counter = [0]
        leaves = [s for s in flatten([list(args), kwargs]) if isinstance(s, (TensorSpec, Tensor))]
        types = [spec_types(s, counter) if isinstance(s, TensorSpec) else s.type for s in leaves]
        exact = [t.type for t in arguments.tensors]
        with self._lock:
            for concrete in self._entries:
                if concrete.key == arguments.key and concrete.types == types and concrete.holds():
                    return concrete
            concrete = self._settle(arguments, types, exact, "asked for")
            self._add(concrete)
            return concrete

    def __repr__(self) -> str:
        return f"<gf.function {self.name}, {self._traces} traces>"


class BoundFunction(Inspection):
    """A Function as a method of one instance."""

    def __init__(self, function: Function, instance: Any) -> None:
        self._function, self._instance = function, instance
        self.__wrapped__ = function.python_function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function._fast(self._instance, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)

    def get_concrete_function(self, *args: Any, **kwargs: Any) -> ConcreteFunction:
        return self._function.get_concrete_function(self._instance, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<bound {self._function!r} of {self._instance!r}>"


class InstanceTable:
    """Functions by the instance they are bound to. An entry goes with its instance; instances need be neither hashable
    nor weakly referenceable (then they are kept)."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Any, Function]] = {}

    def of(self, instance: Any, make: Callable[[], Function]) -> Function:
        """The instance's function, made at the first use."""
        key = id(instance)
        found = self._entries.get(key)
        if found is not None and found[0]() is instance:
            return found[1]
        entries = self._entries
        try:
            reference: Any = weakref.ref(instance, lambda dead: _forget(entries, key, dead))
        except TypeError:
            reference = lambda: instance  # noqa: E731
        return (
            entries.setdefault(key, (reference, make()))[1]
            if found is None
            else _replace(entries, key, (reference, make()))
        )


def _forget(entries: dict[int, tuple[Any, Function]], key: int, dead: Any) -> None:
    found = entries.get(key)
    if found is not None and found[0] is dead:
        del entries[key]


def _replace(entries: dict[int, tuple[Any, Function]], key: int, entry: tuple[Any, Function]) -> Function:
    entries[key] = entry
    return entry[1]


def _is_simple(args: tuple[Any, ...], arguments: Arguments) -> bool:
    """Can the fast path check these positional arguments one by one? No nesting, nothing converted but whole arrays,
    nothing filled in but Python values."""
    if arguments.kwargs or len(args) > len(arguments.values):
        return False
    given, filled = arguments.values[: len(args)], arguments.values[len(args) :]
    if not all(
        a is v or type(a) is np.ndarray and a.dtype.isnative and isinstance(v, Tensor)
        for a, v in zip(args, given, strict=True)
    ):
        return False
    if any(is_nested(v) or isinstance(v, TensorLike) for v in filled):
        return False
    return not any(is_nested(a) or id(a) in map(id, arguments.by_value) for a in args)


def _user_level() -> int:
    """The stacklevel at which warnings.warn, called by the caller, names the user's line."""
    frame, level = sys._getframe(1), 1
    user = user_frame()
    while frame is not None and frame is not user:
        frame, level = frame.f_back, level + 1  # type: ignore[assignment]
    return level


def _as_spec(value: Any, spec: TensorSpec) -> Any:
    """A NumPy array or Python value as a tensor of the spec's dtype; float64 arrays narrow, as in TensorFlow."""
    return convert_to_tensor(value, spec.dtype)


def _substitute(value: Any, inputs: Iterator[SymbolicTensor], opaque: bool = False) -> Any:
    """The value with symbolic tensors for its tensors; containers without tensors are passed as they are."""
    if opaque or not any(isinstance(leaf, Tensor) for leaf in flatten(value)):
        return value
    return map_structure(lambda leaf: next(inputs) if isinstance(leaf, Tensor) else leaf, value)


def _signature_leaves(function: Function, arguments: Arguments) -> list[Any]:
    assert function.input_signature is not None
    first = int(function._is_method)
    return flatten(list(arguments.values[first : first + len(function.input_signature)]))


def _merge(types: list[TensorType], clash: DimensionsMustAgree, exact: list[TensorType]) -> list[TensorType]:
    """Types in which the two dims are one: a symbol replaced by the other dim where that is possible, else the exact
    types."""
    left, right = clash.left, clash.right
    plain = lambda d: isinstance(d, SymbolicDim) and symbols_of(d) == {d.text}  # noqa: E731
    if isinstance(left, SymbolicDim) and plain(left) and (isinstance(right, int) or plain(right)):
        return [t.substitute({left.text: right}) for t in types]
    if isinstance(right, SymbolicDim) and plain(right) and isinstance(left, int):
        return [t.substitute({right.text: left}) for t in types]
    return exact


def _example(value: Any) -> Any:
    """A value that stands for a spec: zeros of its shape (1 for unknown extents)."""

    def one(leaf: Any) -> Any:
        if isinstance(leaf, TensorSpec):
            if leaf.shape is None:
                raise SignatureError(
                    f"{leaf} has no rank, so that it cannot be traced; give a shape, with None for extents that vary"
                )
            shape = tuple(2 if d is None else d for d in leaf.shape)
            return Tensor(np.zeros(shape, leaf.dtype.numpy), leaf.dtype)
        return leaf

    return map_structure(one, value)


def function(
    func: Callable[..., Any] | None = None,
    input_signature: Sequence[Any] | None = None,
    autograph: bool = True,
    jit_compile: bool | None = None,
    reduce_retracing: bool = True,
    experimental_implements: Any = None,
    experimental_autograph_options: Any = None,
    experimental_attributes: Any = None,
    experimental_relax_shapes: bool | None = None,
    experimental_compile: bool | None = None,
    experimental_follow_type_hints: bool | None = None,
) -> Any:
    """Compile a Python function into graphs: `@gf.function`, `@gf.function(input_signature=[...])` or `gf.function(f)`.

    input_signature: TensorSpecs (None extents vary) that all calls must fit. reduce_retracing: from the second shape
    on, extents that differ become symbolic. The other arguments are taken for TensorFlow's sake and change nothing:
    everything is compiled.
    """
    del experimental_implements, experimental_autograph_options, experimental_attributes, experimental_compile
    del experimental_follow_type_hints, jit_compile
    if experimental_relax_shapes is not None:
        reduce_retracing = experimental_relax_shapes
    if func is None:
        return lambda f: Function(f, input_signature, reduce_retracing, None, autograph)
    return Function(func, input_signature, reduce_retracing, None, autograph)


@contextmanager
def init_scope() -> Iterator[None]:
    """Leave the trace for a while: ops inside run at once (to make variables' initial values)."""
    trace = active_trace.get()
    token = active_trace.set(None)
    stopped = recorders.set(())
    try:
        yield
    finally:
        recorders.reset(stopped)
        active_trace.reset(token)
        del trace
