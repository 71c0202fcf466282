"""Tracing a call: running the Python function on symbolic tensors until its shapes are settled."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import config
from ..autodiff.record import recorders
from ..autograph.traced import traced
from ..errors import GraphflowError, SideEffectError, SideEffectWarning, UnguardedWarning
from ..ir.dims import DimensionsMustAgree, SymbolicDim, symbol, symbols_of
from ..ir.source import Source
from ..ir.types import TensorType
from ..passes.manager import Remark
from ..tensor import Tensor, TensorLike, active_trace, convert_to_tensor, located
from ..tree import flatten, map_structure
from .blueprint import Provenance
from .bytecode import plain_function
from .captures import Captures
from .concrete import ConcreteFunction
from .fast_call import Leaf, ListLeaf
from .guards import short, snapshot_of
from .sharing import Sharing
from .side_effects import SideEffects, Sighting
from .signature import Arguments, TensorSpec, spec_types
from .tracer import NeedsNumber, SymbolicTensor, Trace
from .traces import Traces

__all__ = ["Settling"]

MOST_ATTEMPTS = 16


class Settling(Sharing):
    """The part of Function that makes traces."""

    name: str
    python_function: Callable[..., Any]
    strict: bool | None
    autograph: bool
    input_signature: tuple[Any, ...] | None
    reduce_retracing: bool
    _is_method: bool
    _exact_only: bool
    _cache: Traces

    def _settle(
        self,
        arguments: Arguments,
        types: list[TensorType],
        exact: list[TensorType],
        reason: str,
        may_create: bool,
    ) -> ConcreteFunction:
        """Trace, with fewer symbolic extents each time that Python or a shape rule needs them to be known or equal."""
        for _ in range(MOST_ATTEMPTS):
            try:
                return self._trace_once(arguments, types, reason, may_create)
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
        earlier = next((c for c in reversed(self._cache.with_key(arguments.key)) if c.holds()), None)
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

    def _trace_once(
        self, arguments: Arguments, types: list[TensorType], reason: str, may_create: bool
    ) -> ConcreteFunction:
        trace, graph, result, captures, sightings = self._run_python(arguments, types, may_create)
        if trace.created_variables:
            # As in TensorFlow: a function that creates variables is traced again, and must not create any then.
            shared = self._take_over(arguments)
            if shared is not None:
                return shared
            trace, graph, result, captures, sightings = self._run_python(arguments, types, False)
        if sightings and (config.flags().strict if self.strict is None else self.strict):
            raise self._strict_error(sightings)
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
        concrete = ConcreteFunction(
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
            [],
            {k: v for k, v in enumerate(arguments.variables) if id(v) in also_captured},
        )
        concrete.provenance = Provenance.of(captures)
        concrete.remarks += [Remark(category, text, (place,)) for category, text, place in trace.notes]
        self._note(concrete, captures, sightings)
        captures.release()
        return concrete

    def _note(self, concrete: ConcreteFunction, captures: Captures, sightings: list[Sighting]) -> None:
        """Remarks and warnings about side effects and about values that are not guarded."""
        for seen in sightings:
            text = f"{seen.text}; a call of the compiled function does not do that"
            concrete.remarks.append(Remark("side effect", text, (seen.place,)))
            concrete.sightings.append((SideEffectWarning, f"{self.name}: {text}. Next: {seen.hint}", seen.place))
        told: set[Any] = {seen.subject for seen in sightings} | {(s.place.file, s.place.line) for s in sightings}
        for guard in captures.changed:
            if guard.name not in told and captures.place_of(guard) not in told:
                text = (
                    f"{guard.name} changed from {short(guard.then)} to {short(snapshot_of(guard.get()))} while "
                    "tracing; a call of the compiled function does not change it"
                )
                concrete.remarks.append(Remark("side effect", text, _sources(captures.place_of(guard))))
        for guard in captures.blind:
            text = f"{guard.name} is too large to compare at each call; a change inside it is not seen"
            places = _sources(captures.place_of(guard))
            concrete.remarks.append(Remark("unguarded", text, places))
            hint = (
                "pass it as an argument, make it a gf.constant or gf.Variable, or (an array) call setflags(write=False)"
            )
            concrete.sightings += [(UnguardedWarning, f"{self.name}: {text}. Next: {hint}", p) for p in places]
        if captures.dropped:
            text = f"{captures.dropped} captured values beyond the first {len(captures.guards)} are not watched"
            places = _sources((self._code_file(), self._code_line()))
            concrete.remarks.append(Remark("unguarded", text, places))
            hint = "pass the settings as arguments, or keep them in one frozen dataclass argument"
            concrete.sightings += [(UnguardedWarning, f"{self.name}: {text}. Next: {hint}", p) for p in places]

    def _code_file(self) -> str:
        function = plain_function(self.python_function)
        return "" if function is None else function.__code__.co_filename

    def _code_line(self) -> int:
        function = plain_function(self.python_function)
        return 0 if function is None else function.__code__.co_firstlineno

    def _strict_error(self, sightings: list[Sighting]) -> SideEffectError:
        first, more = sightings[0], len(sightings) - 1
        error = SideEffectError(
            f"{self.name}: {first.text}, which strict=True forbids"
            + (f" (and {more} more: {', '.join(s.place.location for s in sightings[1:4])})" if more else "")
        )
        error.place, error.hint = first.place, first.hint
        return error

    def _run_python(
        self, arguments: Arguments, types: list[TensorType], may_create: bool
    ) -> tuple[Trace, Any, Any, Captures, list[Sighting]]:
        roots = [(f"argument '{n}'", v) for n, v in zip(arguments.parameters, arguments.values, strict=False)]
        roots += [(f"argument '{n}'", v) for n, v in arguments.kwargs.items()]
        captures = Captures(self.python_function, roots, arguments.by_value)
        effects = SideEffects(captures)
        trace = Trace(self.name, may_create)
        inputs = iter([trace.input(n, t) for n, t in zip(arguments.names, types, strict=True)])
        symbolic = [_substitute(v, inputs, self._is_method and not k) for k, v in enumerate(arguments.values)]
        keywords = {k: _substitute(v, inputs) for k, v in arguments.kwargs.items()}
        token = active_trace.set(trace)
        tapes = recorders.set(())
        try:
            with captures.recording(), effects.observing():
                returned = traced(self.python_function, self.autograph)(*symbolic, **keywords)
            outputs: list[SymbolicTensor] = []

            def leaf(value: Any) -> Leaf:
                if isinstance(value, (TensorLike, np.ndarray, np.generic)) or hasattr(value, "__graphflow_dim__"):
                    outputs.append(trace.lift(convert_to_tensor(value)))
                    return Leaf(len(outputs) - 1)
                if hasattr(value, "__graphflow_list__"):  # a list that grew in a loop
                    outputs.extend(trace.lift(row) for row in value.rows)
                    return ListLeaf(range(len(outputs) - len(value.rows), len(outputs)), value.template)
                return Leaf(-1, value)

            result = map_structure(leaf, returned)
            graph = trace.finish(outputs)
        finally:
            recorders.reset(tapes)
            active_trace.reset(token)
            trace.alive = False
        captures.finish()
        effects.finish()
        return trace, graph, result, captures, effects.sightings


def _sources(place: tuple[str, int]) -> tuple[Source, ...]:
    file, line = place
    return (Source(file, line, 0, " ".join(linecache.getline(file, line).split())),) if line else ()


def _substitute(value: Any, inputs: Iterator[SymbolicTensor], opaque: bool = False) -> Any:
    """The value with symbolic tensors for its tensors; containers without tensors are passed as they are."""
    if opaque or not any(isinstance(leaf, Tensor) for leaf in flatten(value)):
        return value
    return map_structure(lambda leaf: next(inputs) if isinstance(leaf, Tensor) else leaf, value)


def _signature_leaves(function: Settling, arguments: Arguments) -> list[Any]:
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
