"""Gradients that the user writes: custom_gradient, grad_pass_through, recompute_grad; and gradients in a traced graph.

A function with a gradient of its own runs as it is; its results then become the results of one op, `custom_gradient`, whose
rule computes the gradients of the arguments. In a trace the gradient function is traced at once, into a closed graph of
its own, so that it can be used wherever the node goes: into loops, branches and other functions, and backwards.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..autodiff.record import record_operation, recorders
from ..autodiff.tape import GradientTape
from ..errors import GradientFunctionError, ShapeError
from ..ir.builder import backward_source
from ..ir.dims import SymbolicDim
from ..ir.graph import Graph
from ..ir.op import OPS
from ..ir.source import capture
from ..tensor import Tensor, TensorLike, active_trace, convert_to_tensor
from ..tracing.forms import converter
from ..tracing.interpret import Interpreter, replay
from ..tracing.subtrace import close
from ..tree import flatten, pack_sequence_as
from ..variable import Variable

__all__ = ["custom_gradient", "grad_pass_through", "recompute_grad"]


class _Reads:
    """Which trainable variables are read."""

    def __init__(self) -> None:
        self.variables: dict[int, Any] = {}

    def record(self, record: Any) -> None:
        """Ops do not matter."""

    def accessed(self, variable: Any, value: Any) -> None:
        """A variable was read."""
        if variable.trainable and (variable.dtype.is_floating or variable.dtype.is_complex):
            self.variables.setdefault(id(variable), variable)


def custom_gradient(f: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Give a function a gradient of its own: f(*args) returns (result, gradient function).

        @gf.custom_gradient
        def log1pexp(x):
            e = gf.exp(x)
            return gf.math.log(1 + e), lambda dy: dy * (1 - 1 / (1 + e))

    The gradient function gets the gradient of each tensor of the result and returns one for each leaf of the positional
    arguments (None where there is none); keyword arguments have none. Where f reads trainable variables that are not among
    its arguments, the gradient function must take `variables=`, a list of them, and return (gradients of the arguments,
    gradients of the variables). Higher orders differentiate the gradient function. In a traced function the gradient function
    is traced together with f, and sees variables as they are then.

    Raises GradientFunctionError (a TypeError and a ValueError) where what f or the gradient function returns does not fit,
    ShapeError for a gradient of another shape than its argument.
    """
    if f is None:
        return custom_gradient

    @functools.wraps(f)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        return _call(f, args, kwargs)

    return decorated


def _call(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = getattr(f, "__name__", type(f).__name__)
    reads = _Reads()
    token = recorders.set((*recorders.get(), reads))
    try:
        returned = converter.get()(f)(*args, **kwargs)
    finally:
        recorders.reset(token)
    if not isinstance(returned, tuple) or len(returned) != 2 or not callable(returned[1]):
        raise _wrong(f"{name}: a function with a custom gradient returns (result, gradient function), got {returned!r}")
    result, gradient_function = returned
    leaves = flatten(result)
    held = [k for k, leaf in enumerate(leaves) if leaf is not None]
    results = [convert_to_tensor(leaves[k]) for k in held]
    if not results:
        return result
    arguments = flatten(list(args))
    variables = [v for v in reads.variables.values() if all(v is not a for a in arguments)]
    takes_variables = _takes_variables(gradient_function)
    if variables and not takes_variables:
        raise _wrong(
            f"{name}: it reads the variables {', '.join(v.name for v in variables)}, so its gradient function must "
            "take the keyword variables=, and return (gradients of the arguments, gradients of the variables)"
        )
    sources = [*(a if isinstance(a, TensorLike) else None for a in arguments), *variables]
    tensors = [None if s is None else convert_to_tensor(s) for s in sources]

    def gradients(*given: Any) -> list[Any]:
        found = gradient_function(*given, variables=variables) if variables else gradient_function(*given)
        return _checked(name, found, len(arguments), variables, tensors)

    found = (_eager if active_trace.get() is None else _traced)(name, results, tensors, gradients)
    for k, tensor in zip(held, found, strict=True):
        leaves[k] = tensor
    return pack_sequence_as(result, leaves)


def _wrong(message: str) -> GradientFunctionError:
    return GradientFunctionError(message)


def _takes_variables(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.name == "variables" or p.kind is p.VAR_KEYWORD for p in parameters)


def _checked(
    name: str, found: Any, arguments: int, variables: Sequence[Any], tensors: Sequence[Any]
) -> list[Tensor | None]:
    """What a gradient function returned: a tensor (or None) for each argument and variable."""
    of_variables: list[Any] = []
    if variables:
        if not isinstance(found, tuple) or len(found) != 2:
            raise _wrong(
                f"{name}: its gradient function must return (gradients of the arguments, gradients of the variables), "
                f"got {found!r}"
            )
        found, of_variables = found[0], flatten(found[1])
        if len(of_variables) != len(variables):
            raise _wrong(
                f"{name}: its gradient function returned {len(of_variables)} gradients for {len(variables)} variables"
            )
    own = flatten(found) if arguments or found is not None else []
    if len(own) != arguments:
        raise _wrong(f"{name}: its gradient function returned {len(own)} gradients for {arguments} arguments")
    checked: list[Tensor | None] = []
    for number, (gradient, tensor) in enumerate(zip([*own, *of_variables], tensors, strict=True)):
        if gradient is None or tensor is None:
            checked.append(None)
            continue
        value = convert_to_tensor(gradient, dtype_hint=tensor.dtype)
        if (
            value.dtype is not tensor.dtype
            or len(value.dims) != len(tensor.dims)
            or any(
                isinstance(a, int) and isinstance(b, int) and a != b
                for a, b in zip(value.dims, tensor.dims, strict=True)
            )
        ):
            what = f"argument {number}" if number < arguments else f"variable {variables[number - arguments].name}"
            error = ShapeError(f"{name}: the gradient of {what} must be {tensor.type}, got {value.type}")
            error.hint = "return a gradient of the argument's shape and dtype: sum it over broadcast axes, or cast it"
            raise error
        checked.append(value)
    return checked


# Eager ----------------------------------------------------------------------------------------------------------------
def _eager(name: str, results: list[Any], tensors: list[Any], gradients: Callable[..., list[Any]]) -> list[Any]:
    """Copies of the results, recorded with a rule that calls the gradient function."""
    outputs = tuple(Tensor(t._array, t.dtype) for t in results)
    if recorders.get():
        places = [k for k, t in enumerate(tensors) if t is not None]

        def rule(node: Any, *given: Any) -> list[Any]:
            found = gradients(*given)
            return [found[k] for k in places]

        op = replace(OPS["custom_gradient"], name=name, gradient=rule)
        record_operation(op, tuple(tensors[k] for k in places), outputs, {}, capture())
    return list(outputs)


# Traced ---------------------------------------------------------------------------------------------------------------
class TracedGradient:
    """A gradient function as a graph. Its inputs are the results' gradients, then the operands after the first `skipped`;
    its outputs belong to the operands at `places`. error: what tracing it raised, instead."""

    def __init__(
        self, name: str, graph: Graph | None, skipped: int, places: list[int], error: Exception | None
    ) -> None:
        self.name, self.graph, self.skipped, self.places, self.error = name, graph, skipped, places, error

    def apply(self, arguments: Sequence[Any], gradients: Sequence[Any]) -> list[Any]:
        """The gradients of the arguments; nodes of the trace that is running, or computed now."""
        if self.error is not None or self.graph is None:
            raise self.error or GradientFunctionError(f"{self.name}: its gradient function was not traced")
        operands = [*gradients, *arguments[self.skipped :]]
        trace = active_trace.get()
        if trace is None:
            found = Interpreter().run(self.graph, operands)
        else:
            lifted = [trace.lift(t) for t in operands]
            dims: dict[str, Any] = {}
            for value, tensor in zip(self.graph.inputs, lifted, strict=True):
                dims.update(
                    (old.text, new) for old, new in zip(value.type.shape, tensor.dims, strict=True)
                    if isinstance(old, SymbolicDim) and old.text.isidentifier()
                )  # fmt: skip
            found = replay(trace, self.graph, lifted, dims)
        result: list[Any] = [None] * len(arguments)
        for place, tensor in zip(self.places, found, strict=True):
            result[place] = tensor
        return result

    def __repr__(self) -> str:
        return f"<gradient of {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        from ..tracing.pickling import graph_state

        failure = None if self.error is None else str(self.error)
        return _loaded, (self.name, self.graph and graph_state(self.graph), self.skipped, self.places, failure)


def _loaded(name: str, graph: Any, skipped: int, places: list[int], failure: str | None) -> TracedGradient:
    """A pickled TracedGradient again."""
    from ..tracing.pickling import load_graph

    error = None if failure is None else GradientFunctionError(failure)
    return TracedGradient(name, graph and load_graph(graph), skipped, places, error)


def _traced(name: str, results: list[Any], tensors: list[Any], gradients: Callable[..., list[Any]]) -> list[Any]:
    outer = active_trace.get()
    results = [outer.lift(t) for t in results]
    arguments = [outer.lift(t) for t in tensors if t is not None]
    positions = [k for k, t in enumerate(tensors) if t is not None]
    trace = outer.subtrace(f"gradient of {name}", "gradient", "custom gradient")
    trace.immediate = False
    graph: Graph | None = None
    operands: list[Any] = []
    places: list[int] = []
    failure: Exception | None = None
    place = capture()
    source = backward_source.set(place)
    try:
        with trace.tracing():
            given = [trace.input(f"d_{k}", t.type) for k, t in enumerate(results)]
            found = gradients(*given)
            places = [k for k, p in enumerate(positions) if found[p] is not None]
            outputs = [trace.lift(found[positions[k]]) for k in places]
        if trace.writes:
            raise _wrong(f"{name}: its gradient function must not assign variables")
        operands, graphs = close([trace], [outputs], [given], [f"gradient of {name}"])
        graph = graphs[0]
    except Exception as error:  # raised when the gradient is wanted: many programs never ask for it
        failure, places = error, []
    finally:
        trace.alive = False
        backward_source.reset(source)
    handle = TracedGradient(name, graph, len(arguments), places, failure)
    found = OPS["custom_gradient"](
        *results, *arguments, *(outer.lift(t) for t in operands), count=len(results), gradient=handle
    )
    return list(found) if isinstance(found, tuple) else [found]


# Ready-made -----------------------------------------------------------------------------------------------------------
def grad_pass_through(f: Callable[..., Any]) -> Callable[..., Any]:
    """f with the gradient of the identity: d f(x) counts as d x. f must return as many tensors as it takes, of the same shapes."""

    @custom_gradient
    def passing(*args: Any, **kwargs: Any) -> Any:
        def gradient(*given: Any, variables: Any = None) -> Any:
            leaves = flatten(list(args))
            places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, (TensorLike, np.ndarray, float))]
            if len(given) != len(places):
                raise _wrong(
                    f"grad_pass_through: the function must return as many tensors as it takes, got {len(given)} for "
                    f"{len(places)}"
                )
            found: list[Any] = [None] * len(leaves)
            for k, gradient_of in zip(places, given, strict=True):
                found[k] = gradient_of
            return (found, [None] * len(variables)) if variables is not None else found

        return converter.get()(f)(*args, **kwargs), gradient

    return functools.wraps(f)(passing)


_checkpoints = itertools.count(1)


def recompute_grad(f: Callable[..., Any]) -> Callable[..., Any]:
    """f, computed again for its gradient: of what f computes only its arguments are kept until then.

    Trades time (one more run of f) for memory: the chain of n such layers keeps n values instead of all intermediate ones
    (Chen et al. 2016, "Training deep nets with sublinear memory cost"). f must have no effects.
    """

    @custom_gradient
    def recomputed(*args: Any, **kwargs: Any) -> Any:
        function = converter.get()(f)
        leaves = flatten(list(args))

        def gradient(*given: Any, variables: Any = None) -> Any:
            number = next(_checkpoints)

            def again(leaf: Any) -> Any:
                if not isinstance(leaf, TensorLike) or isinstance(leaf, Variable):
                    return leaf
                return OPS["checkpoint"](leaf, number=number)

            fresh = [again(leaf) for leaf in leaves]
            watched = [k for k, leaf in enumerate(fresh) if isinstance(leaf, TensorLike) and leaf.dtype.is_floating]
            own = [fresh[k] for k in watched]
            with GradientTape() as tape:
                tape.watch(own)
                result = function(*pack_sequence_as(list(args), fresh), **kwargs)
            targets = [t for t in flatten(result) if t is not None]
            wanted = [*own, *(variables or ())]
            found = tape.gradient(targets, wanted, output_gradients=list(given))
            all_found: list[Any] = [None] * len(leaves)
            for k, each in zip(watched, found, strict=False):
                all_found[k] = each
            return (all_found, found[len(own) :]) if variables is not None else all_found

        with _unrecorded():
            return function(*args, **kwargs), gradient

    return functools.wraps(f)(recomputed)


class _unrecorded:  # noqa: N801 (used as `with _unrecorded():`, like a function)
    """Tapes do not see the ops inside, and keep nothing of them; who looks for reads of variables does."""

    def __enter__(self) -> None:
        self._token = recorders.set(tuple(r for r in recorders.get() if isinstance(r, _Reads)))

    def __exit__(self, *exception: object) -> None:
        recorders.reset(self._token)
