"""Tensors, their conversion from Python and NumPy values, and how an op applied to tensors is carried out.

An eager op is a one-node graph through the same kernels as graph mode (compiler.prepare_op), except where the op's
record says that NumPy gives the same bits. Inside a trace the same call adds a node.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NoReturn

import numpy as np

from . import dtypes
from .autodiff.record import record_departure, record_operation, recorders, set_trace
from .dtypes import DType, as_dtype, of_numpy
from .errors import DTypeError, GraphflowError, IndexOutOfRangeError, ShapeError, TracedBoolError, set_locator
from .ir.dims import Dim, SymbolicDim, product, require_equal
from .ir.graph import comparable
from .ir.op import OPS, Effect, Op, set_dispatcher
from .ir.source import Source, capture
from .ir.types import TensorType
from .literals import array_of
from .operators import TensorLike
from .tensor_shape import TensorShape

__all__ = [
    "Tensor",
    "TensorLike",
    "TensorShape",
    "active_trace",
    "as_shape",
    "check_extents_tensor",
    "constant",
    "convert_to_tensor",
    "is_tensor",
    "located",
    "operands",
]


#: the trace that is running in this context, or None (eager). Set by tracing/tracer.py.
active_trace: ContextVar[Any] = ContextVar("graphflow_trace", default=None)


def as_shape(shape: Any) -> tuple[Dim, ...]:
    """A shape argument (ints, Dimensions, a TensorShape, a 1-D integer tensor, NumPy) as a tuple of dims."""
    if isinstance(shape, Tensor):
        check_extents_tensor(shape)
        known = shape._constant_dims()
        if known is None:
            raise TracedBoolError(
                "a shape that depends on tensor values is not known while tracing; build it from x.shape"
            )
        return known
    if isinstance(shape, (int, np.integer)) and not isinstance(shape, bool):
        return (int(shape),)
    if isinstance(shape, (str, bytes, dict, set)) or not isinstance(shape, Iterable):
        raise DTypeError(f"a shape is an int or a list of ints, got {shape!r} ({type(shape).__name__})")
    return tuple(as_dim(d) for d in shape)


def check_extents_tensor(value: Any) -> None:
    """Raises DTypeError or ShapeError for a tensor that cannot be an extent or a shape, whatever its values."""
    if not value.dtype.is_integer:
        raise DTypeError(f"a shape needs an integer tensor, got {value.type}")
    if len(value.dims) > 1:
        raise ShapeError(f"a shape needs a tensor of rank 0 or 1, got {value.type}")


def as_dim(value: Any) -> Dim:
    """One extent as an int or a symbolic dim. Raises DTypeError for anything else."""
    if isinstance(value, SymbolicDim):
        return value
    if hasattr(value, "__graphflow_dim__"):
        return value.__graphflow_dim__()
    if isinstance(value, Tensor):
        check_extents_tensor(value)
        known = value._constant_dims()
        if known is not None and len(known) != 1:
            raise ShapeError(f"an extent is one number, got {value.type}; take one element")
        if known is None:
            raise TracedBoolError(
                "an extent that depends on tensor values is not known while tracing; build it from x.shape"
            )
        return known[0]
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise DTypeError(f"a shape needs ints, got {value!r} ({type(value).__name__})")
    return int(value)


class Tensor(TensorLike):
    """An immutable n-dimensional array. Inside a traced function tensors are symbolic
    (tracing.tracer.SymbolicTensor)."""

    __slots__ = ("__weakref__", "_array", "_key", "_origin", "dtype")

    def __init__(self, array: np.ndarray[Any, Any], dtype: DType) -> None:
        """Wrap an array that nobody else writes to: dense, row-major, native byte order. Use gf.constant to make
        tensors."""
        self._array = array
        self.dtype = dtype
        self._key: Any = None

    # Shape ------------------------------------------------------------------------------------------------------------
    @property
    def shape(self) -> TensorShape:
        """The extents; a symbolic tensor's may hold None."""
        return TensorShape(self._array.shape)

    @property
    def dims(self) -> tuple[Dim, ...]:
        """The shape as the compiler sees it: ints and symbolic dims."""
        return self._array.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.dims)

    def get_shape(self) -> TensorShape:
        """The same as `shape` (TensorFlow's other name)."""
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """Check the shape; None extents are not checked, and a symbolic extent becomes the one given. Raises ShapeError."""
        declared = tuple(
            None if d is None else as_dim(d) for d in (shape if isinstance(shape, (list, tuple)) else as_shape(shape))
        )
        agree = len(declared) == len(self.dims) and all(
            d is None or require_equal(d, e) for d, e in zip(declared, self.dims, strict=True)
        )
        if not agree:
            shown = ", ".join(str(d) for d in declared)
            raise ShapeError(f"set_shape: the shape must be [{shown}], got {self.type}")

    @property
    def device(self) -> str:
        """Where the elements are."""
        return "/CPU:0"

    @property
    def type(self) -> TensorType:
        """dtype and shape as the IR has them."""
        return TensorType(self.dtype, self.dims)

    def _constant_dims(self) -> tuple[Dim, ...] | None:
        """The values of a small integer tensor as dims (shape arguments), or None where they are not known."""
        check_extents_tensor(self)
        return tuple(int(v) for v in np.atleast_1d(self._array))

    @property
    def is_symbolic(self) -> bool:
        """A value of a trace, without an array?"""
        return False

    def require_usable(self) -> None:
        """Raises TensorLeakError for a symbolic tensor whose trace is over."""

    # Values -----------------------------------------------------------------------------------------------------------
    def numpy(self) -> Any:
        """A NumPy copy (a NumPy scalar for rank 0, as in TensorFlow). Never aliases the tensor."""
        if recorders.get():
            record_departure(self, "numpy")
        return self._array.copy() if self._array.shape else self._array[()]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if copy is False:
            raise ValueError("a tensor is immutable and gives NumPy a copy; use copy=None or True")
        if recorders.get():
            record_departure(self, "numpy")
        return np.array(self._array, dtype=dtype)

    def tolist(self) -> Any:
        """The elements as nested Python lists, or a Python number at rank 0. Raises as `numpy` does for a symbolic tensor."""
        if recorders.get():
            record_departure(self, "numpy")
        return self._array.tolist()

    def _one(self, kind: str) -> Any:
        if self._array.size != 1:
            raise ShapeError(f"{kind}() needs a tensor of one element, got {self.type}; reduce it first")
        if recorders.get():
            record_departure(self, "numpy")
        return self._array.reshape(()).item()

    def __float__(self) -> float:
        return float(self._one("float"))

    def __int__(self) -> int:
        return int(self._one("int"))

    def __complex__(self) -> complex:
        return complex(self._one("complex"))

    def __bool__(self) -> bool:
        return bool(self._one("bool")) if self._array.size else False

    def __format__(self, spec: str) -> str:
        return format(self._one("format"), spec) if spec else str(self)

    def __index__(self) -> int:
        if not self.dtype.is_integer or self._array.size != 1:
            raise DTypeError(f"only an integer tensor of one element can be an index, got {self.type}")
        return int(self._one("index"))

    def __len__(self) -> int:
        if not self.dims:
            raise TypeError("len() of a tensor of rank 0")
        return int(self._array.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        if not self.dims:
            raise TypeError("cannot iterate over a tensor of rank 0")
        if active_trace.get() is None:
            return (self[k] for k in range(len(self)))
        from .tracing.tracer import unrolled_rows

        return unrolled_rows(len(self), self.__getitem__)

    def __repr__(self) -> str:
        return f"<gf.Tensor: shape={self._array.shape}, dtype={self.dtype.name}, numpy={shown_array(self._array)}>"

    def __str__(self) -> str:
        return f"gf.Tensor({np.array_str(self._array)}, shape={self._array.shape}, dtype={self.dtype.name})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self._array, self.dtype.name)

    def __copy__(self) -> Tensor:
        return self

    def __deepcopy__(self, memo: Any) -> Tensor:
        return self

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.copy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    @property
    def assign(self) -> Any:
        """Of a slice of a variable: writes to these elements of it. Other tensors have no such attribute."""
        # a property: __getattr__ would make every access to a tensor's attributes three times as slow
        origin = getattr(self, "_origin", None)
        if origin is None:
            raise AttributeError("a tensor has no attribute 'assign', only a variable and a slice of it have")
        variable, key = origin
        return variable.slice_assignment(key)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise TypeError("tensors are immutable; use gf.tensor_scatter_nd_update or a gf.Variable")


def shown_array(array: np.ndarray[Any, Any]) -> str:
    """An array as the repr of a tensor or variable has it: a string of rank 0 is its bytes."""
    return repr(array.item()) if array.dtype == object and not array.ndim else np.array_repr(array)


def _unpickle(array: np.ndarray[Any, Any], dtype: str) -> Tensor:
    return Tensor(np.ascontiguousarray(array).reshape(array.shape), as_dtype(dtype))


def is_tensor(x: Any) -> bool:
    """Is it a tensor or a variable?"""
    return isinstance(x, TensorLike)


# Conversion -----------------------------------------------------------------------------------------------------------
def constant(value: Any, dtype: Any = None, shape: Any = None, name: str | None = None) -> Tensor:
    """A tensor from Python numbers or text, nested lists or an array (copied). int -> int32 (int64 if it must), float ->
    float32, str and bytes -> string, NumPy keeps its dtype. shape: reshape, or fill from one element. Raises DTypeError,
    LiteralOverflowError, ShapeError."""
    found: Tensor = convert_to_tensor(value, dtype)
    if shape is not None:
        dims = as_shape(shape)
        target = tuple([d for d in dims if isinstance(d, int)])
        if len(target) != len(dims) or found.is_symbolic:  # inside a trace
            op = OPS["reshape"] if product(found.dims) == product(dims) else OPS["broadcast_to"]
            return op(found, shape=dims)
        array = found._array
        if array.size == math.prod(target):
            array = array.reshape(target)
        elif array.size == 1:
            array = np.full(target, array.reshape(()), array.dtype)
        else:
            raise ShapeError(f"constant: {array.size} values do not fill shape {list(target)}")
        found = Tensor(array, found.dtype)
    return found


def convert_to_tensor(value: Any, dtype: Any = None, dtype_hint: Any = None, name: str | None = None) -> Any:
    """A tensor from anything that can be one. Variables are read. dtype: required dtype (no silent conversion of
    tensors); dtype_hint: tried for Python values. Raises DTypeError, LiteralOverflowError, ShapeError (ragged
    lists)."""
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(value, TensorLike):
        found = value if isinstance(value, Tensor) else value.value()  # type: ignore[attr-defined]
        if wanted is not None and found.dtype is not wanted:
            raise DTypeError(
                f"convert_to_tensor: a tensor of {found.dtype.name} where {wanted.name} is needed; use gf.cast"
            )
        trace = active_trace.get()
        return found if trace is None else trace.lift(found)
    hint = None if dtype_hint is None else as_dtype(dtype_hint)
    if hasattr(value, "__graphflow_dim__"):
        from .tracing.tracer import dimension_tensor

        return dimension_tensor(value.__graphflow_dim__(), wanted or hint or dtypes.int32)
    if hasattr(value, "__graphflow_list__"):
        return convert_to_tensor(value.stack(0), dtype)
    if isinstance(value, (list, tuple)) and _holds_tensors(value):
        from .functions.array_ops import stack

        parts = [convert_to_tensor(v, wanted, _dtype_inside(value) or hint) for v in value]
        return stack(parts)
    return Tensor(*array_of(value, wanted, hint))


def _holds_tensors(value: Any) -> bool:
    return any(
        isinstance(v, TensorLike)
        or hasattr(v, "__graphflow_dim__")
        or isinstance(v, (list, tuple))
        and _holds_tensors(v)
        for v in value
    )


def _dtype_inside(value: Any) -> DType | None:
    for v in value:
        if isinstance(v, TensorLike):
            return v.dtype
        if isinstance(v, (list, tuple)):
            found = _dtype_inside(v)
            if found is not None:
                return found
    return None


_narrowed: set[tuple[str, int]] = set()


def _operand(value: Any, partner: DType | None) -> Tensor:
    """An operand that is not a tensor yet, against the dtype of the tensor beside it (Python numbers are weak)."""
    if partner is None:
        return convert_to_tensor(value)
    if isinstance(value, (np.ndarray, np.generic)):
        source = of_numpy(value.dtype)
        if source is not partner:
            if source.kind == partner.kind and source.kind in ("float", "complex"):
                if partner.itemsize < source.itemsize:
                    _warn_narrowed(source, partner)
            elif not (source.is_integer and partner.is_numeric or source.is_floating and partner.is_complex):
                raise DTypeError(
                    f"a NumPy operand of {source.name} beside a tensor of {partner.name}; use gf.cast or .astype"
                )
        return convert_to_tensor(value, partner)
    return convert_to_tensor(value, partner)


def _warn_narrowed(source: DType, partner: DType) -> None:
    place = capture()
    if (place.file, place.line) not in _narrowed:
        _narrowed.add((place.file, place.line))
        warnings.warn(
            f"a NumPy operand of {source.name} is narrowed to {partner.name} at {place.location}   {place.expression}",
            UserWarning,
            stacklevel=2,
        )


# Dispatch -------------------------------------------------------------------------------------------------------------
def located(error: GraphflowError, source: Source | None = None) -> GraphflowError:
    """The error, blamed on `source` where one is given (errors find the running line of the user's code themselves)."""
    if source is not None:
        error.place = source
    return error


def _dispatch(op: Op, operands: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
    """Carry out an op: in the active trace, else at once."""
    try:
        tensors = operands
        if not all(isinstance(t, Tensor) for t in operands):
            partner = next((t.dtype for t in operands if isinstance(t, TensorLike)), None)
            if partner is None:
                partner = next((of_numpy(t.dtype) for t in operands if isinstance(t, (np.ndarray, np.generic))), None)
            converted: list[Any] = []
            for t in operands:
                if isinstance(t, Tensor):
                    converted.append(t)
                elif isinstance(t, TensorLike):
                    converted.append(convert_to_tensor(t))
                else:
                    converted.append(_operand(t, partner))
                    partner = partner or converted[-1].dtype
            tensors = tuple(converted)
        if len(attributes) < len(op.attributes):
            attributes = {**op.attributes, **attributes}
        trace = active_trace.get()
        if trace is not None:
            tensors = tuple(trace.lift(t) for t in tensors)
            outputs = trace.add(op, tensors, attributes)
        else:
            outputs = _execute(op, tensors, attributes)
    except GraphflowError as error:
        raise located(error) from error.__cause__
    if recorders.get() and tensors:
        record_operation(op, tensors, outputs, attributes, trace.last_source if trace is not None else capture())
    if len(outputs) == 1:
        return outputs[0]
    return outputs or None


def dispatch_now(op: Op, tensors: tuple[Any, ...], attributes: dict[str, Any], source: Source) -> tuple[Tensor, ...]:
    """Run a traced node's op eagerly, recorded on tapes and blamed on the node's own line."""
    try:
        outputs = _execute(op, tensors, attributes)
    except GraphflowError as error:
        raise located(error, source) from error.__cause__
    if recorders.get() and tensors:
        record_operation(op, tensors, outputs, attributes, source)
    return outputs


_plans: dict[Any, Callable[[Sequence[np.ndarray[Any, Any]]], tuple[Tensor, ...]]] = {}
PLANS_KEPT = 8192


#: classes of attributes of which equal ones are the same
_EQUAL_IS_SAME = frozenset({int, str, tuple, type(None), DType})


def _execute(op: Op, tensors: Sequence[Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """Run an op now. What to do is worked out once for each (op, dtypes, shapes, attributes)."""
    try:
        shapes = tuple([(t._array.shape, t.dtype.short) for t in tensors])
    except AttributeError:
        from .tracing.tracer import leaked

        raise leaked(op, tensors) from None
    try:
        # by bits: 0.0 and -0.0, 1 and True are equal, and mean different kernels
        key = (
            op.name,
            shapes,
            tuple([v if v.__class__ in _EQUAL_IS_SAME else comparable(v) for v in attributes.values()]),
        )
        plan = _plans.get(key)
    except TypeError:
        key = (op.name, shapes, tuple(comparable(v) for v in attributes.values()))
        plan = _plans.get(key)
    if plan is None:
        if len(_plans) >= PLANS_KEPT:
            _plans.clear()
        plan = _plans[key] = _plan(op, tensors, attributes)
    return plan([t._array for t in tensors])


def _plan(
    op: Op, tensors: Sequence[Tensor], attributes: Mapping[str, Any]
) -> Callable[[Sequence[np.ndarray[Any, Any]]], tuple[Tensor, ...]]:
    types = tuple(t.type for t in tensors)
    if not op.takes_strings and any(t.dtype.is_string for t in types):
        raise _no_strings(f"{op.name}: does not take strings, got {' and '.join(map(str, types))}")
    results = op.result_types(types, attributes)
    out_dtypes = [r.dtype for r in results]
    if isinstance(op.kernel, Effect) and op.kernel.kind == "constant":
        value = attributes["value"]
        return lambda arrays: (Tensor(value, out_dtypes[0]),)
    if isinstance(op.kernel, Effect) and op.kernel.kind in ("print", "assert", "call"):
        from .runtime.host import HOST_EFFECTS

        def run_effect(arrays: Sequence[np.ndarray[Any, Any]]) -> tuple[Tensor, ...]:
            found = HOST_EFFECTS[op.name](arrays, **attributes)
            return tuple(Tensor(a, d) for a, d in zip(found or (), out_dtypes, strict=True))

        return run_effect
    function = op.numpy_call([*(t.dtype for t in tensors), *out_dtypes])
    if dtypes.string in out_dtypes:
        function = _moving_strings(op, types, function)
    if function is not None:
        if len(out_dtypes) == 1:
            result_dtype, numpy_dtype = out_dtypes[0], out_dtypes[0].numpy

            def run_numpy_once(arrays: Sequence[np.ndarray[Any, Any]]) -> tuple[Tensor, ...]:
                with np.errstate(all="ignore"):
                    result = function(*arrays, **attributes)
                return (Tensor(np.asarray(result, numpy_dtype, order="C"), result_dtype),)

            return run_numpy_once

        def run_numpy(arrays: Sequence[np.ndarray[Any, Any]]) -> tuple[Tensor, ...]:
            with np.errstate(all="ignore"):
                result = function(*arrays, **attributes)
            found = result if isinstance(result, tuple) else (result,)
            return tuple(Tensor(np.asarray(r, d.numpy, order="C"), d) for r, d in zip(found, out_dtypes, strict=True))

        return run_numpy
    from .compiler import prepare_op

    run = prepare_op(op, [t._array.shape for t in tensors], [t.dtype for t in tensors], attributes)
    if len(out_dtypes) == 1:
        only = out_dtypes[0]
        return lambda arrays: (Tensor(run(arrays)[0], only),)

    def run_kernel(arrays: Sequence[np.ndarray[Any, Any]]) -> tuple[Tensor, ...]:
        return tuple(Tensor(r, d) for r, d in zip(run(arrays), out_dtypes, strict=True))

    return run_kernel


def _no_strings(text: str) -> DTypeError:
    error = DTypeError(text)
    error.hint = "work on the text in Python (tensor.numpy() gives bytes), or in gf.numpy_function"
    return error


def _moving_strings(op: Op, types: tuple[TensorType, ...], function: Any) -> Callable[..., Any]:
    """The NumPy call (or reference) of an op that gives strings, with the kernels' errors. Raises DTypeError for an op that can not."""
    if not op.takes_strings:
        raise _no_strings(f"{op.name}: gives no strings, got {' and '.join(map(str, types)) or 'gf.string'}")

    def call(*arrays: Any, **attributes: Any) -> Any:
        try:
            return function(*arrays, **attributes)
        except IndexError:
            from .runtime.faults import fault_text

            text = fault_text(f"{op.name}: index out of range", op, arrays, attributes)
            error = IndexOutOfRangeError(text)
            error.hint = "clip the indices, or check how they are made"
            raise error from None

    return call


def _new_trace(name: str) -> Any:
    from .tracing.tracer import Trace

    return Trace(name, may_create=False)


def _few_rows(like: Any, indices: Any, rows: Any) -> Tensor:
    from .indexed_slices import FewRows

    return FewRows(tuple(like.dims), like.dtype, ((indices, rows),))


set_dispatcher(_dispatch)
set_locator(capture)
set_trace(active_trace.get, _new_trace, _few_rows)


def operands(*values: Any) -> list[Any]:
    """The values as tensors, Python numbers taking the dtype of the first tensor (or array) among them."""
    hint = next((v.dtype for v in values if isinstance(v, TensorLike)), None)
    if hint is None:
        hint = next((as_dtype(v.dtype) for v in values if hasattr(v, "dtype")), None)
    found: list[Any] = []
    for value in values:
        found.append(convert_to_tensor(value, dtype_hint=hint))
        hint = hint or found[-1].dtype
    return found
