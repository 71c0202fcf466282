"""Variables: mutable tensors with a fixed dtype, shape and buffer."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import numpy as np

from .autodiff.record import record_access, record_departure, record_operation, recorders, stop
from .dtypes import as_dtype
from .errors import DTypeError, FailedPreconditionError, ShapeError, VariableCreationError
from .functions.variable_updates import PartialUpdates
from .ir.op import OPS
from .ir.source import capture
from .ir.types import TensorType, VariableType
from .tensor import Tensor, TensorLike, TensorShape, active_trace, convert_to_tensor, shown_array

__all__ = ["Variable", "write_journal"]

_names = itertools.count()
#: the name scopes that are open, each with a slash at its end; the last one goes before the names of new variables
name_scopes: ContextVar[tuple[str, ...]] = ContextVar("graphflow_name_scopes", default=())
#: the creators of the open gf.variable_creator_scope blocks, the innermost last
creators: ContextVar[tuple[Callable[..., Any], ...]] = ContextVar("graphflow_creators", default=())
#: told of each variable before Python code writes it, while a compiled function calls Python (see tracing/callbacks.py)
write_journal: ContextVar[Callable[[Any], None] | None] = ContextVar("graphflow_write_journal", default=None)


class _Created(type):
    """Calls of Variable go through the creators of the open gf.variable_creator_scope blocks."""

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        scopes = creators.get()
        if not scopes:
            return super().__call__(*arguments, **named)
        bound = inspect.signature(cls.__init__).bind(None, *arguments, **named)  # type: ignore[misc]
        bound.apply_defaults()
        create: Callable[..., Any] = super().__call__
        for creator in scopes:
            create = functools.partial(creator, create)
        return create(**{name: value for name, value in bound.arguments.items() if name != "self"})


class Variable(PartialUpdates, TensorLike, metaclass=_Created):
    """A tensor that can be assigned to. A compiled function reads and updates it by reference, in place.

    initial_value: anything convert_to_tensor takes, or a callable that returns it. trainable: watched by tapes. dtype:
    of the value. Assigning another shape or dtype raises ShapeError or DTypeError and leaves the variable as it was.
    """

    __slots__ = ("__weakref__", "_array", "_key", "_unique", "constraint", "dtype", "name", "trainable")

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool | None = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        import_scope: Any = None,
        constraint: Any = None,
        synchronization: Any = None,
        aggregation: Any = None,
        shape: Any = None,
    ) -> None:
        """The arguments without a meaning here are taken for TensorFlow's sake."""
        del validate_shape, caching_device, variable_def, import_scope, synchronization, aggregation
        if initial_value is None:
            raise ShapeError("Variable: needs an initial value")
        trace = active_trace.get()
        if trace is not None:
            trace.check_creation()
        token = active_trace.set(None) if trace is not None else None
        try:
            value = (
                initial_value()
                if callable(initial_value) and not isinstance(initial_value, TensorLike)
                else initial_value
            )
            if trace is not None and isinstance(value, Tensor) and value.is_symbolic:
                raise VariableCreationError(
                    "Variable: the initial value is computed inside the traced function; pass a callable or a constant"
                )
            initial = convert_to_tensor(value, dtype)
            initial.require_usable()
        finally:
            if token is not None:
                active_trace.reset(token)
        if shape is not None and tuple(shape) != tuple(initial.shape):
            raise ShapeError(f"Variable: initial value has shape {list(initial.shape)}, not {list(shape)}")
        self._array: np.ndarray[Any, Any] = _aligned_copy(initial._array)
        self.dtype = initial.dtype
        self.trainable = trainable is not False
        scopes = name_scopes.get()
        self.name = f"{scopes[-1] if scopes else ''}{name or 'Variable'}:0"
        self._unique = next(_names)
        self.constraint: Any = constraint
        self._key: Any = None
        if trace is not None:
            trace.created(self)

    # Reading ----------------------------------------------------------------------------------------------------------
    def value(self) -> Tensor:
        """The current value as a tensor (a snapshot)."""
        trace = active_trace.get()
        found: Tensor = trace.read_variable(self) if trace is not None else Tensor(self._array.copy(), self.dtype)
        if recorders.get():
            record_access(self, found)
        return found

    read_value = value

    def _looked_up(self, indices: Tensor) -> Tensor:
        """The rows that indices name. Eagerly no copy of the variable is made, and tapes keep its extents only: the gradient of a
        lookup does not depend on its elements."""
        gather = OPS["gather"]
        if active_trace.get() is not None:
            return gather(self.value(), indices, axis=0, batch_dims=0)
        with stop():
            found: Tensor = gather(Tensor(self._array, self.dtype), indices, axis=0, batch_dims=0)
        if recorders.get():
            from .tracing.taped import stand_in

            read = stand_in(self)
            record_access(self, read)
            record_operation(gather, (read, indices), (found,), {"axis": 0, "batch_dims": 0}, capture())
        return found

    def numpy(self) -> Any:
        """A copy of the value as a NumPy array. Raises FailedPreconditionError in a traced function."""
        if active_trace.get() is not None:
            raise FailedPreconditionError(
                "Variable.numpy() inside a traced function; use the variable itself, or gf.print"
            )
        return self._array.copy() if self._array.shape else self._array[()]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.numpy(), dtype=dtype)

    @property
    def shape(self) -> TensorShape:
        """The extents."""
        return TensorShape(self._array.shape)

    @property
    def dims(self) -> tuple[int, ...]:
        """The extents as a tuple of ints."""
        return self._array.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._array.ndim

    @property
    def type(self) -> TensorType:
        """dtype and shape of the value as the IR has them."""
        return TensorType(self.dtype, self._array.shape)

    @property
    def reference_type(self) -> VariableType:
        """The type of the graph input that stands for this variable."""
        return VariableType(self.dtype, self._array.shape)

    @property
    def device(self) -> str:
        """Where the value is."""
        return "/CPU:0"

    def get_shape(self) -> TensorShape:
        """The same as `shape` (TensorFlow's other name)."""
        return self.shape

    def is_initialized(self) -> bool:
        """True: a variable has a value from the start."""
        return True

    def __float__(self) -> float:
        return float(self.value())

    def __int__(self) -> int:
        return int(self.value())

    def __bool__(self) -> bool:
        return bool(self.value())

    def __index__(self) -> int:
        return self.value().__index__()

    def __len__(self) -> int:
        return len(self.value())

    def __iter__(self) -> Any:
        return iter(self.value())

    def __repr__(self) -> str:
        return (
            f"<gf.Variable '{self.name}' shape={self._array.shape} dtype={self.dtype.name}, "
            f"numpy={shown_array(self._array)}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self._array, self.dtype.name, self.trainable, self.name.removesuffix(":0"))

    def __getitem__(self, key: Any) -> Any:
        """A part of the value; its `assign` replaces that part of the variable."""
        found = super().__getitem__(key)
        found._origin = (self, key)
        return found

    # Writing ----------------------------------------------------------------------------------------------------------
    def assign(
        self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Variable:
        """Replace the value. No broadcasting; dtype and shape must be the variable's."""
        new = self._new_value(value, "assign")
        self._write(new)
        return self

    def assign_add(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Variable:
        """Add to the value in place."""
        self._write(self._combined("add", delta))
        return self

    def assign_sub(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Variable:
        """Subtract from the value in place."""
        self._write(self._combined("subtract", delta))
        return self

    def _combined(self, op: str, delta: Any) -> Tensor:
        step = self._new_value(delta, f"assign_{op[:3]}")
        if recorders.get():
            record_departure(step, "assign")
        with stop():
            return OPS[op](self.value(), step)

    def _new_value(self, value: Any, verb: str) -> Tensor:
        if isinstance(value, (TensorLike)):
            new = convert_to_tensor(value)
        else:
            new = convert_to_tensor(value, self.dtype)
        if new.dtype is not self.dtype:
            raise DTypeError(
                f"{verb}: variable {self.name} is {self.type} and the value {new.type} ({self.dtype.name} and "
                f"{new.dtype.name}); use gf.cast"
            )
        from .ir.dims import require_equal

        if len(new.dims) != len(self.dims) or not all(
            require_equal(a, b) for a, b in zip(self.dims, new.dims, strict=True)
        ):
            raise ShapeError(
                f"{verb}: variable {self.name} is {self.type} and the value {new.type}; assignment does not broadcast"
            )
        return new

    def _rows_of(self, numbers: np.ndarray[Any, Any]) -> Variable:
        """A variable of its own that holds these rows, not trainable."""
        return _unpickle(self._array[numbers], self.dtype.name, False, self.name.removesuffix(":0"))

    def _put_rows(self, numbers: np.ndarray[Any, Any], rows: Variable) -> None:
        """Replace rows, eagerly, by those of a variable that _rows_of has made."""
        note = write_journal.get()
        if note is not None:
            note(self)
        self._array[numbers] = rows._array

    def _write(self, new: Tensor) -> None:
        if recorders.get():
            record_departure(new, "assign")
        trace = active_trace.get()
        if trace is not None:
            trace.assign_variable(self, new)
        else:
            note = write_journal.get()
            if note is not None:
                note(self)
            np.copyto(self._array, new._array)

    def __deepcopy__(self, memo: Any) -> Variable:
        copy = _unpickle(self._array, self.dtype.name, self.trainable, self.name.removesuffix(":0"))
        memo[id(self)] = copy
        return copy


def _aligned_copy(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A copy whose data begins on a cache line, so that vector loads of parameters never straddle two."""
    if array.dtype == object:  # strings, which no kernel loads
        return array.copy()
    raw = np.empty(array.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    np.copyto(copy, array)
    return copy


def _unpickle(array: np.ndarray[Any, Any], dtype: str, trainable: bool, name: str) -> Variable:
    """A variable again, outside of any trace and name scope."""
    trace, scopes, rules = active_trace.set(None), name_scopes.set(()), creators.set(())
    try:
        return Variable(Tensor(array, as_dtype(dtype)), trainable, name=name)
    finally:
        creators.reset(rules)
        name_scopes.reset(scopes)
        active_trace.reset(trace)
