"""What a program can ask about itself: modes, scopes, static values and types. Names, argument order and defaults are TensorFlow's."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..dtypes import float64
from ..errors import InvalidArgumentError, ShapeError
from ..ops.rules import broadcast_shapes
from ..tensor import Tensor, TensorLike, TensorShape, active_trace, convert_to_tensor
from ..tracing.signature import TensorSpec
from ..variable import Variable, creators, name_scopes

__all__ = [
    "broadcast_dynamic_shape", "broadcast_static_shape", "executing_eagerly", "get_current_name_scope", "get_logger", "get_static_value",
    "inside_function", "is_symbolic_tensor", "known_array", "timestamp", "type_spec_from_value", "variable_creator_scope",
]  # fmt: skip


# Modes and scopes ---------------------------------------------------------------------------------------------------
def executing_eagerly() -> bool:
    """Do operations run at once? False while a function is traced."""
    return active_trace.get() is None


def inside_function() -> bool:
    """Is a function being traced?"""
    return active_trace.get() is not None


def is_symbolic_tensor(tensor: Any) -> bool:
    """Is it a tensor of a trace, without a value yet?"""
    return isinstance(tensor, Tensor) and tensor.is_symbolic


def get_current_name_scope() -> str:
    """The open name scopes, joined by slashes; "" outside of any."""
    scopes = name_scopes.get()
    return scopes[-1].rstrip("/") if scopes else ""


def get_logger() -> logging.Logger:
    """graphflow's logger."""
    return logging.getLogger("graphflow")


@contextmanager
def _creator_scope(creator: Callable[..., Any]) -> Iterator[None]:
    token = creators.set((*creators.get(), creator))
    try:
        yield
    finally:
        creators.reset(token)


def variable_creator_scope(variable_creator: Callable[..., Any]) -> Any:
    """Inside `with gf.variable_creator_scope(f):`, gf.Variable(...) calls f(next_creator, **arguments), which returns the variable: what
    next_creator(**arguments) makes, as a rule with other arguments. The innermost scope is called first."""
    return _creator_scope(variable_creator)


def timestamp(name: str | None = None) -> Tensor:
    """The seconds since 1970 as a float64 scalar, read anew at each run of a compiled function."""
    from .python_call import py_function

    clock = time.time
    if active_trace.get() is None:
        return convert_to_tensor(np.float64(clock()))
    found: Any = py_function(lambda: np.float64(clock()), [], float64)
    found.set_shape(())
    return found


# Values and types -----------------------------------------------------------------------------------------------------
def known_array(value: Any) -> np.ndarray[Any, Any] | None:
    """The value of a tensor (or of what becomes one) where it is known now, else None."""
    if isinstance(value, Variable):
        return None
    tensor = convert_to_tensor(value)
    if not tensor.is_symbolic:
        return np.asarray(tensor)
    node = tensor._trace.origin(tensor._value).producer
    if node is not None and node.op.name == "constant":
        return np.array(node.attributes["value"])
    if tensor.dtype.is_integer and len(tensor.dims) <= 1:
        known = tensor._constant_dims()
        if known is not None and all(isinstance(d, int) for d in known):
            return np.asarray(known, tensor.dtype.numpy).reshape(tensor.dims)
    return None


def get_static_value(tensor: Any, partial: bool = False) -> Any:
    """The value of a tensor as a NumPy array (or scalar) where it is known now, else None. partial is not used."""
    if isinstance(tensor, TensorLike) and not isinstance(tensor, (Tensor, Variable)):
        return None
    found = known_array(tensor)
    return found if found is None or found.shape else found[()]


def type_spec_from_value(value: Any) -> Any:
    """The TensorSpec of a tensor, a variable or an array. Raises TypeError for other values."""
    if not isinstance(value, (TensorLike, np.ndarray, np.generic)):
        raise TypeError(f"type_spec_from_value: needs a tensor, a variable or an array, got {type(value).__name__}")
    shape, dtype = (value.shape, value.dtype)  # type: ignore[union-attr]
    return TensorSpec([d if isinstance(d, int) else None for d in shape], dtype)


def broadcast_static_shape(shape_x: Any, shape_y: Any) -> TensorShape:
    """The shape that both broadcast to. Raises ShapeError where they do not."""
    left, right = TensorShape(shape_x), TensorShape(shape_y)
    if left.rank is None or right.rank is None:
        return TensorShape(None)
    count = max(len(left), len(right))
    found: list[Any] = []
    for a, b in zip((1,) * (count - len(left)) + tuple(left), (1,) * (count - len(right)) + tuple(right), strict=True):
        if isinstance(a, int) and isinstance(b, int) and a != b and 1 not in (a, b):
            raise ShapeError(f"broadcast_static_shape: the shapes {left} and {right} do not broadcast ({a} and {b})")
        if a == 1 or b == 1:
            found.append(b if a == 1 else a)
        else:
            found.append(a if isinstance(a, int) else b)
    return TensorShape(found)


def broadcast_dynamic_shape(shape_x: Any, shape_y: Any) -> Tensor:
    """The shape that two integer vectors broadcast to, as an integer vector. Raises ShapeError, or AssertionFailedError at the run."""
    from .. import ops
    from .effects import Assert

    left, right = convert_to_tensor(shape_x), convert_to_tensor(shape_y, dtype_hint=convert_to_tensor(shape_x).dtype)
    for side in (left, right):
        if len(side.dims) != 1 or not side.dtype.is_integer or not isinstance(side.dims[0], int):
            raise InvalidArgumentError(
                f"broadcast_dynamic_shape: needs two integer vectors of known length, got {side.type}"
            )
    known = [known_array(side) for side in (left, right)]
    if known[0] is not None and known[1] is not None:
        types = [left.type.with_shape(tuple(int(d) for d in k)) for k in known if k is not None]
        shape = broadcast_shapes("broadcast_dynamic_shape", types)
        return convert_to_tensor(np.asarray(shape, left.dtype.numpy))
    count = max(left.dims[0], right.dims[0])
    left, right = (ops.pad(v, paddings=((count - v.dims[0], 0),), mode="constant", constant=1) for v in (left, right))
    fits = ops.logical_or(ops.equal(left, right), ops.logical_or(ops.equal(left, 1), ops.equal(right, 1)))
    Assert(fits, ["broadcast_dynamic_shape: the shapes do not broadcast:", left, right])
    return ops.select(ops.equal(left, 1), right, left)
