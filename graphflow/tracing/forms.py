"""Control forms: a choice between functions and loops, traced into `switch` and `while` nodes (or, without a trace, run as
plain Python).

The public functions (functions/control_flow.py) and AutoGraph build on `branch`, `loop` and `counted_loop`. The values that go in and
out are structures; their leaves are tensors (anything that can be one), TensorArrays, and Python objects, which must stay
the same. A leaf whose type only the body tells (an unwritten TensorArray, UNUSED) becomes an input of the body when it does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..errors import BranchError, DTypeError, GraphflowError, ShapeError
from ..ir.dims import Dim, DimensionsMustAgree, SymbolicDim, require_equal, symbols_of
from ..ir.op import OPS
from ..ir.types import TensorType
from ..ops.control import switch_results
from ..tensor import Tensor, TensorLike, active_trace, convert_to_tensor
from ..tree import children_of, is_nested, labels_of, map_structure, rebuild
from .subtrace import Subtrace, close, with_python_calls
from .tracer import SymbolicTensor, Trace

__all__ = ["UNUSED", "branch", "is_array", "is_plain", "parameter_names", "trace_types"]


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


#: what AutoGraph makes of the functions that are given to control forms; as they are, where it is off
converter: ContextVar[Callable[[Callable[..., Any]], Callable[..., Any]]] = ContextVar(
    "graphflow_converter", default=_as_it_is
)


class _Unused:
    """The value of a name that nobody reads."""

    __graphflow_leaf__ = True

    def __repr__(self) -> str:
        return "UNUSED"


#: "nobody reads it there": stands for zeros of whatever type the name has elsewhere
UNUSED = _Unused()


def is_plain(leaf: Any) -> bool:
    """Is a leaf a Python object, neither a tensor nor anything that becomes one?"""
    if isinstance(leaf, (TensorLike, np.ndarray, np.generic, bool, int, float, complex)):
        return False
    return not (hasattr(leaf, "__graphflow_dim__") or is_array(leaf))


def is_array(leaf: Any) -> bool:
    """Is it a TensorArray?"""
    return hasattr(leaf, "__graphflow_array__")


def _is_number(leaf: Any) -> bool:
    return isinstance(leaf, (bool, int, float, complex)) and not isinstance(leaf, np.generic)


def same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    try:
        return type(a) is type(b) and bool(a == b)
    except Exception:  # a user's __eq__ may do anything; what it cannot tell is not the same
        return False


def shown(value: Any) -> str:
    """A value for messages: a tensor by its type."""
    if is_nested(value) and isinstance(value, (list, tuple)):
        inner = ", ".join(shown(v) for v in value)
        text = f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
    elif is_nested(value) and isinstance(value, dict):
        text = "{" + ", ".join(f"{k!r}: {shown(v)}" for k, v in value.items()) + "}"
    elif isinstance(value, Tensor):
        return str(value.type)
    elif is_array(value):
        return f"a TensorArray of {value.dtype.name}"
    else:
        text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


def path_of(names: Sequence[str] | None, number: int, what: str) -> str:
    return f"'{names[number]}'" if names is not None and number < len(names) else f"{what} {number}"


def hinted(error: GraphflowError, hint: str) -> GraphflowError:
    error.hint = hint
    return error


def equal_dims(a: Dim, b: Dim) -> bool:
    """Equal, or made so by the tracer; extents that only the run tells apart count as different."""
    try:
        return require_equal(a, b)
    except DimensionsMustAgree:
        trace = active_trace.get()
        if (symbols_of(a) | symbols_of(b)) & trace.root.run_time_symbols:
            return False
        raise


# One of several functions ---------------------------------------------------------------------------------------------
def branch(
    index: Any,
    functions: Sequence[Callable[[], Any]],
    *,
    form: str,
    labels: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    undefined: type | None = None,
    keep_numbers: bool = False,
) -> Any:
    """The result of functions[index](), in a trace: a `switch` of all of them.

    index: a symbolic bool (functions[0] is for False) or int32 of rank 0. form: what errors call the whole; labels: what
    they call the functions; names: of the elements of the returned tuple. undefined: class of a leaf that must not be a
    result unless it is in every branch. keep_numbers: Python numbers that all branches agree on stay Python numbers.
    Raises BranchError, DTypeError or ShapeError, naming variable, branches and both values, where the results do not fit
    each other.
    """
    return with_python_calls(lambda: _branch(index, functions, form, labels, names, undefined, keep_numbers))


def _branch(
    index: Any,
    functions: Sequence[Callable[[], Any]],
    form: str,
    labels: Sequence[str] | None,
    names: Sequence[str] | None,
    undefined: type | None,
    keep_numbers: bool,
) -> Any:
    outer: Trace = active_trace.get()
    index = outer.lift(convert_to_tensor(index))
    told = list(labels or [f"branch {k}" for k in range(len(functions))])
    traces = [outer.subtrace(f"{form} {label}", label, form) for label in told]
    try:
        found = []
        for trace, function in zip(traces, functions, strict=True):
            with trace.tracing():
                found.append(function())
        merged = _Merge(traces, told, form, undefined, keep_numbers)
        if names is not None:
            tops = [
                merged.value([part[k] for part in found], path_of(names, k, "result")) for k in range(len(found[0]))
            ]
            result: Any = tuple(tops)
        else:
            result = merged.value(found, "the result")
        written = written_variables(traces)
        outputs = [[*own] for own in merged.outputs]
        for variable in written:
            for trace, own in zip(traces, outputs, strict=True):
                own.append(trace.writes[id(variable)][1] if id(variable) in trace.writes else trace.entry(variable))
        operands, graphs = close(traces, outputs, [[] for _ in traces], [t.name for t in traces])
    finally:
        for trace in traces:
            trace.alive = False
    made: list[str] = []
    switch_results(graphs, lambda: fresh(outer, made))
    results = add_node(outer, "switch", (index, *operands), {"branches": tuple(graphs), "extents": tuple(made)})
    for variable, value in zip(written, results[len(results) - len(written) :], strict=True):
        outer.assign_variable(variable, value)
    return merged.unpack(result, results)


def fresh(trace: Trace, made: list[str]) -> SymbolicDim:
    dim = trace.new_extent()
    made.append(dim.text)
    return dim


def add_node(outer: Trace, op: str, operands: Sequence[Any], attributes: dict[str, Any]) -> tuple[Any, ...]:
    results = OPS[op](*operands, **attributes)
    return () if results is None else results if isinstance(results, tuple) else (results,)


def written_variables(traces: Sequence[Subtrace]) -> list[Any]:
    found: dict[int, Any] = {}
    for trace in traces:
        found.update({key: variable for key, (variable, _) in trace.writes.items()})
    return list(found.values())


class Slot:
    """Stands for a result of the node in a structure; an array is rebuilt around it."""

    __graphflow_leaf__ = True

    def __init__(self, number: int, array: Any = None) -> None:
        self.number, self.array = number, array


def unpack(value: Any, results: Sequence[Any]) -> Any:
    """A structure with the node's results in place of its slots."""
    if isinstance(value, Slot):
        tensor = results[value.number]
        return tensor if value.array is None else value.array.with_buffer(tensor)
    if is_nested(value):
        return rebuild(value, [unpack(child, results) for child in children_of(value)])
    return value


class _Merge:
    """Brings the branches' results to one structure: slots for tensors, Python objects as they are."""

    def __init__(
        self, traces: Sequence[Subtrace], labels: Sequence[str], form: str, undefined: type | None, keep_numbers: bool
    ) -> None:
        self.traces, self.labels, self.form = traces, labels, form
        self.undefined, self.keep_numbers = undefined, keep_numbers
        self.outputs: list[list[SymbolicTensor]] = [[] for _ in traces]

    unpack = staticmethod(unpack)

    def value(self, parts: Sequence[Any], path: str) -> Any:
        known = [k for k, part in enumerate(parts) if part is not UNUSED]
        if not known:
            return UNUSED
        first = parts[known[0]]
        if any(is_nested(parts[k]) for k in known):
            return self.structure(parts, known, path)
        if self.undefined is not None:
            missing = [k for k in known if isinstance(parts[k], self.undefined)]
            if missing and len(missing) < len(known):
                other = next(k for k in known if k not in missing)
                raise hinted(
                    BranchError(
                        f"{self.form}: {path} is not defined after the {self.labels[missing[0]]}, and is "
                        f"{shown(parts[other])} after the {self.labels[other]}"
                    ),
                    f"give it a value before the {self.form}, or in every branch",
                )
            if missing:
                return first
        if all(is_plain(parts[k]) for k in known):
            if all(same(first, parts[k]) for k in known):
                return first
            other = next(k for k in known if not same(first, parts[k]))
            raise self.differ(BranchError, path, known[0], first, other, parts[other])
        if self.keep_numbers and all(_is_number(parts[k]) and same(first, parts[k]) for k in known):
            return first
        return self.tensors(parts, known, path)

    def differ(self, kind: Any, path: str, a: int, first: Any, b: int, second: Any, hint: str = "") -> GraphflowError:
        error = kind(
            f"{self.form}: {path} is {shown(first)} after the {self.labels[a]} and {shown(second)} after the "
            f"{self.labels[b]}"
        )
        return hinted(error, hint or "make all branches give the same kind of value")

    def structure(self, parts: Sequence[Any], known: Sequence[int], path: str) -> Any:
        first = parts[known[0]]
        for k in known[1:]:
            other = parts[k]
            same = is_nested(first) and is_nested(other) and type(first) is type(other)
            if not same or list(labels_of(first)) != list(labels_of(other)):
                raise self.differ(BranchError, path, known[0], first, k, other, "return the same structure everywhere")
        columns = [list(children_of(p)) if p is not UNUSED else None for p in parts]
        inner = []
        for position, label in enumerate(labels_of(first)):
            own = [UNUSED if column is None else column[position] for column in columns]
            inner.append(self.value(own, f"{path}[{label!r}]"))
        return rebuild(first, inner)

    def tensors(self, parts: Sequence[Any], known: Sequence[int], path: str) -> Any:
        array = None
        converted: dict[int, Any] = {}
        if any(is_array(parts[k]) for k in known):
            array = self.arrays(parts, known, path)
            if array is None:  # nothing was written to it anywhere
                return parts[known[0]]
            converted = {k: parts[k] for k in known}
        for k in known:
            with self.traces[k].tracing():
                if array is not None:
                    converted[k] = self.traces[k].lift(parts[k].buffer_of(array.row_dims))
                elif is_plain(parts[k]):
                    other = next(m for m in known if not is_plain(parts[m]))
                    raise self.differ(BranchError, path, k, parts[k], other, parts[other])
                else:
                    converted[k] = self.traces[k].lift(convert_to_tensor(parts[k]))
        first = converted[known[0]]
        for k in known[1:]:
            if converted[k].dtype is not first.dtype:
                raise self.differ(DTypeError, path, known[0], first, k, converted[k], "use gf.cast in one of them")
            if len(converted[k].dims) != len(first.dims):
                raise self.differ(
                    ShapeError, path, known[0], first, k, converted[k], "reshape so that the ranks are equal"
                )
        for k, trace in enumerate(self.traces):
            if k not in converted:
                with trace.tracing():
                    converted[k] = zeros_outside(first.type, trace)
        for k, own in enumerate(self.outputs):
            own.append(converted[k])
        return Slot(len(self.outputs[0]) - 1, array)

    def arrays(self, parts: Sequence[Any], known: Sequence[int], path: str) -> Any:
        for k in known:
            if not is_array(parts[k]):
                other = next(m for m in known if is_array(parts[m]))
                raise self.differ(BranchError, path, k, parts[k], other, parts[other])
        return next((parts[k] for k in known if parts[k].row_dims is not None), None)


def zeros_outside(type: TensorType, trace: Trace) -> SymbolicTensor:
    """Zeros of a type; an extent that cannot be named in this trace is 0."""
    from ..ops import broadcast_to, constant

    def known(dim: Dim) -> bool:
        return all(in_sight(name, trace) for name in symbols_of(dim) & trace.root.run_time_symbols)

    shape = tuple(dim if known(dim) else 0 for dim in type.shape)
    zero = constant(value=np.zeros((), type.dtype.numpy))
    found: SymbolicTensor = broadcast_to(zero, shape=shape) if shape else zero
    return found


def in_sight(name: str, trace: Trace | None) -> bool:
    """Is a run-time symbol defined in this trace or one around it?"""
    while trace is not None:
        inside = any(name in symbols_of(d) for v in trace.builder.inputs for d in v.type.shape)
        if inside or name in trace.extent_places:
            return True
        trace = trace.outer
    return False


def trace_types(
    function: Callable[..., Any], types: Sequence[TensorType], structure: Callable[[list[Any]], Any]
) -> Any:
    """The structure that function gives for tensors of these types, with types as leaves: traced, not run."""
    outer = active_trace.get()
    trace = Trace("shapes", False) if outer is None else outer.subtrace("shapes", "function", "map")
    inputs = [trace.input(f"x{k}", t) for k, t in enumerate(types)]
    try:
        with trace.tracing():
            returned = function(structure(inputs))
            return map_structure(lambda leaf: convert_to_tensor(leaf).type, returned)
    finally:
        trace.alive = False


def parameter_names(function: Callable[..., Any], count: int) -> list[str] | None:
    """The names of a function's parameters, to name loop variables by; None where it does not have `count` of them."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return plain[:count] if len(plain) >= count else None
