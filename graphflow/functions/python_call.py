"""gf.py_function and gf.numpy_function: Python in the middle of a graph.

Eagerly they are plain calls. In a traced function they become a node that calls back at each run, in program order; the
Python function is never called while tracing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..autodiff.record import record_departure
from ..autodiff.tape import GradientTape
from ..dtypes import DType, as_dtype, int32, int64, of_numpy, string
from ..errors import (
    DTypeError,
    FailedPreconditionError,
    GraphflowError,
    InvalidArgumentError,
    NoGradientError,
    ShapeError,
)
from ..ir.dims import Dim, symbols_of
from ..ir.graph import Node, Value
from ..ops import python_call
from ..tensor import Tensor, TensorLike, active_trace, as_dim, convert_to_tensor, record_operation
from ..tracing.callbacks import current_scope
from ..tracing.signature import TensorSpec
from ..tracing.tracer import SymbolicTensor, dimension_tensor, is_run_time
from .effects import Assert

__all__ = ["ensure_shape", "numpy_function", "py_function"]

Array = np.ndarray[Any, Any]


def py_function(func: Any = None, inp: Any = None, Tout: Any = None, name: str | None = None) -> Any:  # noqa: N803
    """Call a Python function on eager tensors, at each run and in program order with the other effects. Differentiable.

    func: takes the tensors of `inp` (variables are read) and returns what Tout declares: a tensor or something that
    becomes one, a list or tuple of them, or None for Tout=[]. Without func the result is a decorator. Tout: a dtype or a
    TensorSpec, or a list of them; in a traced function a result without a declared shape gets one from
    `result.set_shape(...)` or gf.ensure_shape before its first use (None extents are taken from each run's result). The
    function may read and assign variables: it sees their values at this place of the program.

    Returns a tensor, or a list of tensors if Tout is a list. Raises InvalidArgumentError for a wrong number of results,
    DTypeError and ShapeError for results that are not as declared; exceptions of func come through as they are. A call of
    a compiled function that fails so changes no variable. The gradient runs the tape of that same call (first order; for
    higher orders differentiate outside the compiled function, where its ops are seen one by one).
    """
    return _call("py_function", func, inp, Tout, differentiable=True)


def numpy_function(
    func: Any = None,
    inp: Any = None,
    Tout: Any = None,  # noqa: N803
    stateful: bool = True,
    name: str | None = None,
) -> Any:
    """Call a Python function on NumPy arrays; see py_function. It cuts the gradient.

    stateful: False would allow to leave out or merge calls; they run all the same, in program order. Arrays and NumPy
    scalars that func returns must have the declared dtype; Python numbers are converted.
    """
    del stateful
    return _call("numpy_function", func, inp, Tout, differentiable=False)


def _call(label: str, func: Any, inp: Any, wanted: Any, differentiable: bool) -> Any:
    if wanted is None:
        raise InvalidArgumentError(f"{label}: needs Tout, the dtypes (or TensorSpecs) of the results")
    if func is None:
        return lambda function: _decorated(label, function, wanted, differentiable)
    if not callable(func):
        raise InvalidArgumentError(f"{label}: func must be callable, got {func!r}")
    several = isinstance(wanted, (list, tuple))
    specs = [_spec(label, item) for item in (wanted if several else [wanted])]
    tensors = [convert_to_tensor(v) for v in (inp if inp is not None else ())]
    if not differentiable:
        for tensor in tensors:
            record_departure(tensor, label)
    function = PythonFunction(label, func, specs, differentiable, tensors)
    if active_trace.get() is None:
        results = function.apply(tensors)
        for number, ((_, shape), result) in enumerate(zip(specs, results, strict=True)):
            if shape is not None and not _fits(shape, result.dims):
                raise _wrong_shape(function, number, shape, result)
    else:
        results = function.trace(tensors)
    return results if several else results[0]


def _decorated(label: str, function: Any, wanted: Any, differentiable: bool) -> Callable[..., Any]:
    import functools

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return _call(label, function, args, wanted, differentiable)

    return call


#: the dtype of a result, and its shape (None extents vary) where it is declared
Spec = tuple[DType, tuple[Any, ...] | None]


def _spec(label: str, wanted: Any) -> Spec:
    if isinstance(wanted, TensorSpec):
        return wanted.dtype, None if wanted.shape is None else tuple(wanted.shape)
    try:
        return as_dtype(wanted), None
    except (GraphflowError, TypeError):
        raise DTypeError(f"{label}: Tout must hold dtypes or TensorSpecs, got {wanted!r}") from None


def _fits(declared: tuple[Any, ...], dims: Sequence[Dim]) -> bool:
    return len(declared) == len(dims) and all(d is None or as_dim(d) == e for d, e in zip(declared, dims, strict=True))


def _wrong_shape(function: PythonFunction, number: int, declared: tuple[Any, ...], result: Tensor) -> ShapeError:
    shown = ",".join("None" if d is None else str(d) for d in declared)
    return ShapeError(
        f"{function.label}: result {number} of {function.name} is declared {result.dtype.short}[{shown}], got {result.type}"
    )


_tickets = itertools.count(1)


class PythonFunction:
    """What a python_call node calls: `function(*arrays) -> arrays`.

    A differentiable call's first result is a ticket (i64[]): where a gradient was asked for while tracing, the run keeps a
    tape under that number, and the backward call, which gets the ticket as an operand, finds it there. shown: the numbers
    of the function's results that the node has, after the ticket; a result without a known shape is not among them.
    """

    def __init__(
        self,
        label: str,
        function: Callable[..., Any],
        specs: list[Spec],
        differentiable: bool,
        tensors: Sequence[Tensor],
    ) -> None:
        self.label, self.function, self.specs = label, function, specs
        self.name = str(getattr(function, "__name__", type(function).__name__))
        self.on_arrays = not differentiable
        self.has_ticket = (
            differentiable
            and any(t.dtype.is_floating for t in tensors)
            and any(dtype.is_floating for dtype, _ in specs)
        )
        self.keeps_tapes = False
        self.shown: list[int] = []

    def __repr__(self) -> str:
        return f"{self.label}({self.name})"

    # Running ----------------------------------------------------------------------------------------------------------
    def __call__(self, *arrays: Array) -> list[Array]:
        """Called back from native code."""
        return [
            np.ascontiguousarray(t._array).reshape(t._array.shape)
            for t in self.run_eagerly([_tensor(a) for a in arrays])
        ]

    def run_eagerly(self, tensors: Sequence[Any]) -> list[Tensor]:
        """The node's results on eager tensors. Tapes that are open see the ops inside."""
        ticket = 0
        if self.keeps_tapes:
            ticket = next(_tickets)
            with GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                tape.watch([t for t in tensors if t.dtype.is_floating])
                results = self.apply(tensors)
            scope = current_scope()
            assert scope is not None
            scope.tapes[ticket] = (tape, tensors, results)
        else:
            results = self.apply(tensors)
        own = [results[number] for number in self.shown]
        return [Tensor(np.array(ticket, np.int64), int64), *own] if self.has_ticket else own

    def apply(self, tensors: Sequence[Any]) -> list[Tensor]:
        """The function's results as tensors of the declared dtypes."""
        returned = self.function(*([t.numpy() for t in tensors] if self.on_arrays else tensors))
        if not self.specs:  # called for what it does
            return []
        values = list(returned) if isinstance(returned, (list, tuple)) else [] if returned is None else [returned]
        if len(values) != len(self.specs):
            raise InvalidArgumentError(
                f"{self.label}: {self.name} returned {len(values)} values, and Tout declares {len(self.specs)}"
            )
        return [self._result(number, value) for number, value in enumerate(values)]

    def _result(self, number: int, value: Any) -> Tensor:
        dtype = self.specs[number][0]
        if isinstance(value, TensorLike) and not isinstance(value, Tensor) and not self.on_arrays:
            error = InvalidArgumentError(f"{self.label}: {self.name} returned a variable as result {number}")
            error.hint = "return its value: variable.read_value()"
            raise error
        if isinstance(value, (TensorLike, np.ndarray, np.generic)):
            tensor = convert_to_tensor(value)
            tensor.require_usable()
        else:
            tensor = convert_to_tensor(value, dtype)
        if tensor.dtype is not dtype:
            raise DTypeError(
                f"{self.label}: result {number} of {self.name} is declared {dtype.name}, got {tensor.dtype.name}"
            )
        return tensor

    # Tracing ----------------------------------------------------------------------------------------------------------
    def trace(self, tensors: Sequence[Any]) -> list[Tensor]:
        """Add the node; results without a declared shape are UnshapedTensors."""
        trace = active_trace.get()
        dtypes: list[DType] = []
        shapes: list[tuple[Dim, ...]] = []
        extents: list[str] = []
        if string in (dtype for dtype, _ in self.specs):
            error = DTypeError(f"{self.label}: string tensors are eager only, and {self.name} declares one as a result")
            error.hint = "return numbers, or call it outside the compiled function"
            raise error
        if self.has_ticket:
            dtypes, shapes = [int64], [()]
        for number, (dtype, declared) in enumerate(self.specs):
            if declared is not None:
                self.shown.append(number)
                dtypes.append(dtype)
                shapes.append(_dims_of(trace, declared, extents))
        returned = python_call(
            *tensors,
            function=Result(self, tuple(self.shown)),
            dtypes=tuple(dtypes),
            shapes=tuple(shapes),
            extents=tuple(extents),
        )
        own = [] if returned is None else list(returned) if isinstance(returned, tuple) else [returned]
        node = trace.builder.nodes[-1]
        place = [node]
        ticket = own.pop(0) if self.has_ticket else None
        shaped = dict(zip(self.shown, own, strict=True))
        return [
            shaped[number]
            if number in shaped
            else UnshapedTensor(trace, self, number, place, tuple(map(trace.lift, tensors)), ticket)
            for number in range(len(self.specs))
        ]


class Result:
    """A python_call node's function, and which of its results a record has: what its gradient needs to know."""

    def __init__(self, function: PythonFunction, numbers: tuple[int, ...]) -> None:
        self.function, self.numbers = function, numbers
        self.label, self.name = function.label, function.name

    def __call__(self, *arrays: Array) -> list[Array]:
        return self.function(*arrays)

    def number_of(self, position: int) -> int:
        """Which of the function's results the node's output at a position is."""
        return self.function.shown[position - self.function.has_ticket]

    def run_eagerly(self, tensors: Sequence[Any]) -> list[Tensor]:
        """See PythonFunction."""
        return self.function.run_eagerly(tensors)

    def __repr__(self) -> str:
        return repr(self.function)

    def gradient(self, node: Any, gradients: Sequence[Any]) -> list[Any]:
        """A python_call that asks the kept tape; None for operands that are no floats."""
        function = self.function
        if not function.has_ticket:
            return [None] * len(node.inputs)
        function.keeps_tapes = True
        floats = [k for k, t in enumerate(node.inputs) if t.dtype.is_floating]
        used = [k for k, number in enumerate(self.numbers) if function.specs[number][0].is_floating]
        found = python_call(
            node.outputs[0],
            *(node.inputs[k] for k in floats),  # not read: they tell a tape around this one what the result depends on
            *(gradients[1 + k] for k in used),
            function=Backward(function, tuple(self.numbers[k] for k in used), tuple(floats)),
            dtypes=tuple(node.inputs[k].dtype for k in floats),
            shapes=tuple(tuple(node.inputs[k].dims) for k in floats),
        )
        results = dict(zip(floats, found if isinstance(found, tuple) else (found,), strict=True))
        return [results.get(k) for k in range(len(node.inputs))]


class Backward:
    """The backward call of a PythonFunction: (ticket, the operands `floats`, gradients of the results `numbers`) -> gradients of the
    operands `floats`."""

    label = "py_function"

    def number_of(self, position: int) -> int:
        """Which gradient the node's output at a position is."""
        return position

    def __init__(self, function: PythonFunction, numbers: tuple[int, ...], floats: tuple[int, ...]) -> None:
        self.function, self.numbers, self.floats = function, numbers, floats
        self.name = f"the gradient of {function.name}"

    def __repr__(self) -> str:
        return f"gradient of {self.function!r}"

    def __call__(self, *arrays: Array) -> list[Array]:
        return [
            np.ascontiguousarray(t._array).reshape(t._array.shape)
            for t in self.run_eagerly([_tensor(a) for a in arrays])
        ]

    def run_eagerly(self, tensors: Sequence[Any]) -> list[Tensor]:
        """The gradients, zeros where an operand has none."""
        scope = current_scope()
        kept = scope.tapes.get(int(tensors[0])) if scope is not None else None
        if kept is None:
            raise FailedPreconditionError(
                f"py_function: the gradient of {self.function.name} ran without its forward call"
            )
        tape, inputs, results = kept
        return list(
            tape.gradient(
                [results[number] for number in self.numbers],
                [inputs[k] for k in self.floats],
                output_gradients=list(tensors[1 + len(self.floats) :]),
                unconnected_gradients="zero",
            )
        )

    def gradient(self, node: Any, gradients: Sequence[Any]) -> list[Any]:
        """There is none: the tape of a run ends with it."""
        error = NoGradientError(
            f"py_function: {self.function.name} has no second-order gradient in a compiled function"
        )
        error.place = node.source
        error.hint = "take the outer gradient outside the compiled function, where the ops inside are seen one by one"
        raise error


def _tensor(array: Array) -> Tensor:
    return Tensor(array, of_numpy(array.dtype))


# Results whose shape is not declared -----------------------------------------------------------------------------------
def _dims_of(trace: Any, declared: Sequence[Any], extents: list[str]) -> tuple[Dim, ...]:
    """A declared shape as dims: a new run-time extent for each None, whose name goes to `extents`."""
    dims = []
    for extent in declared:
        if extent is None:
            dim = trace.new_extent()
            extents.extend(sorted(symbols_of(dim)))
            dims.append(dim)
        else:
            dims.append(as_dim(extent))
    return tuple(dims)


class UnshapedTensor(SymbolicTensor):
    """A result whose rank is not known yet: set_shape gives it one, any other use raises ShapeError."""

    __slots__ = ("_function", "_number", "_place", "_shaped", "_tensors", "_ticket")

    def __init__(
        self,
        trace: Any,
        function: PythonFunction,
        number: int,
        place: list[Node],
        tensors: tuple[Any, ...],
        ticket: Any,
    ) -> None:
        self._trace, self._function, self._number, self._place = trace, function, number, place
        self._tensors, self._ticket = tensors, ticket
        self._shaped: Value | None = None
        self.dtype = function.specs[number][0]
        self._key = None

    @property
    def _value(self) -> Value:  # type: ignore[override]
        if self._shaped is None:
            function = self._function
            error = ShapeError(
                f"{function.label}: the shape of result {self._number} of {function.name} is needed while tracing, and Tout "
                f"declares its dtype alone"
            )
            error.hint = (
                f"declare Tout=gf.TensorSpec(shape, {self.dtype.name}) (None for extents that vary), or call set_shape"
            )
            raise error
        return self._shaped

    def set_shape(self, shape: Any) -> None:
        """Declare the shape; None extents are taken from each run's result, which is checked against the others."""
        if self._shaped is not None:
            super().set_shape(shape)
            return
        extents: list[str] = []
        dims = _dims_of(self._trace, tuple(shape), extents)
        old = self._place[0]
        attributes = dict(old.attributes)
        attributes["function"] = Result(self._function, (*attributes["function"].numbers, self._number))
        attributes["dtypes"] = (*attributes["dtypes"], self.dtype)
        attributes["shapes"] = (*attributes["shapes"], dims)
        attributes["extents"] = (*attributes["extents"], *extents)
        new = Node(old.op, old.inputs, attributes, old.source)
        new.device = old.device
        self._shaped = new.outputs[-1]
        for value in old.outputs:  # they have users already: they become the new node's
            value.producer = new
        new.outputs = (*old.outputs, self._shaped)
        nodes = self._trace.builder.nodes
        nodes[nodes.index(old)] = new
        self._place[0] = new
        self._trace.register_extents((self,), extents)
        self._function.shown.append(self._number)
        outputs = (self,) if self._ticket is None else (self._ticket, self)
        own = {**attributes, "function": Result(self._function, (self._number,))}
        record_operation(new.op, self._tensors, outputs, own, old.source)


def ensure_shape(x: Any, shape: Any, name: str | None = None) -> Tensor:
    """x, after a check that it has this shape; None extents and a shape of None are not checked. In a traced function an
    extent that only the run decides is checked when the function runs, and known from here on; a result of py_function
    gets its rank. Raises ShapeError while tracing, AssertionFailedError when the function runs."""
    tensor = convert_to_tensor(x)
    if shape is None:
        return tensor
    declared = tuple(shape)
    if isinstance(tensor, UnshapedTensor) or len(declared) != len(tensor.dims):
        tensor.set_shape(declared)
        return tensor
    dims, decided = list(tensor.dims), []
    for axis, extent in enumerate(declared):
        if extent is None or dims[axis] == as_dim(extent):
            continue
        if is_run_time(dims[axis]) or is_run_time(as_dim(extent)):
            decided.append(axis)
            dims[axis] = as_dim(extent)
    tensor.set_shape([None if axis in decided else extent for axis, extent in enumerate(declared)])
    for axis in decided:
        found, wanted = ops.dimension(tensor, axis=axis), dimension_tensor(dims[axis], int32)
        text = f"ensure_shape: the shape must be [{','.join(map(str, dims))}]; the extent of axis {axis} is"
        Assert(ops.equal(found, wanted), [text, found])
    if decided:
        tensor = ops.ensure_shape(tensor, shape=tuple(dims))
    return tensor
