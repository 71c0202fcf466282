"""What all draws share: seeds and states, the eager form of a draw, scaling, argument rules."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..dtypes import DType, as_dtype, bfloat16, float16, float32, float64, int32, int64, uint32, uint64
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..functions.effects import Assert
from ..ir.dims import Dim, product
from ..ir.op import Op
from ..locks import renew_after_fork
from ..tensor import Tensor, TensorLike, active_trace, as_shape, convert_to_tensor

__all__ = ["advanced", "algorithm_of", "drawn", "full_range", "normal_of", "normal_values", "range_of", "seed_state", "take",
           "truncated_of", "uniform_of"]  # fmt: skip

FLOATS = (float16, bfloat16, float32, float64)
INTEGERS = (int32, int64, uint32, uint64)
NARROW_BITS = {float16: 11, bfloat16: 8}
"""Significant bits of the narrow floats: what a uniform draw of them has."""

_lock = threading.Lock()


def renew_locks() -> None:
    """In a forked child."""
    global _lock
    _lock = threading.Lock()


renew_after_fork(sys.modules[__name__])


# Seeds and states -----------------------------------------------------------------------------------------------------
def seed_tensor(seed: Any, label: str) -> Tensor:
    """A seed as an integer tensor of shape [2]. One number n stands for (n, 0)."""
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        seed = (int(seed), 0)
    if isinstance(seed, (list, tuple)) and all(isinstance(n, (int, np.integer)) for n in seed):
        tensor = convert_to_tensor(np.array([wrapped(int(n)) for n in seed], np.int64))
    else:
        tensor = convert_to_tensor(seed)
    if not tensor.dtype.is_integer:
        raise DTypeError(f"{label}: the seed must be two integers, got {tensor.type}")
    if tuple(tensor.dims) != (2,):
        raise ShapeError(f"{label}: the seed must have shape [2], got {tensor.type}")
    return tensor


def wrapped(number: int) -> int:
    """A Python int as the int64 with its low 64 bits."""
    low = number & (2**64 - 1)
    return low - 2**64 if low >> 63 else low


def seed_state(seed: Any, label: str) -> Tensor:
    """The state (counter 0, key) of a stateless draw."""
    found: Tensor = ops.random_state(seed_tensor(seed, label))
    return found


def advanced(state: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """The state after `count` elements, in NumPy; counters wrap at 2^64."""
    return np.array([wrapped(int(state[0]) + count), state[1]], np.int64)


def take(variable: Any, count: Dim) -> Tensor:
    """The state that a variable holds, which then moves on by `count` elements. Eager draws of several threads never get
    the same state; runs of compiled functions that share one are ordered by the caller."""
    if active_trace.get() is not None:
        state: Tensor = variable.read_value()
        variable.assign(ops.random_skip(state, count=count))
        return state
    assert isinstance(count, int)
    with _lock:
        held = variable._array.copy()
        variable.assign(Tensor(advanced(held, count), int64))
    return Tensor(held, int64)


def algorithm_of(alg: Any, label: str) -> None:
    """Check the name of an algorithm. TensorFlow's names are all taken; the numbers come from one generator here."""
    text = str(getattr(alg, "name", alg)).lower()
    if text not in ("none", "philox", "threefry", "auto_select", "1", "2", "3"):
        raise InvalidArgumentError(f"{label}: alg must be 'philox', 'threefry' or 'auto_select', got {alg!r}")


# Draws ----------------------------------------------------------------------------------------------------------------
_prepared: dict[Any, Any] = {}


def drawn(op: Op, state: Tensor, shape: Sequence[Dim], dtype: DType) -> Tensor:
    """A draw op on a state. An eager draw runs a kernel that serves every shape: an element depends on its place in
    row-major order alone."""
    if active_trace.get() is not None:
        found: Tensor = op(state, shape=tuple(shape), dtype=dtype)
        return found
    from ..compiler import compile_graph
    from ..ir.dims import symbol
    from ..ir.graph import Graph, Node, Value
    from ..ir.source import Source
    from ..ir.types import TensorType

    op.result_types((state.type,), {"shape": tuple(shape), "dtype": dtype})
    executable = _prepared.get((op.name, dtype.name))
    if executable is None:
        count = symbol("count")
        inputs = (Value(TensorType(int64, (2,)), name="state"), Value(TensorType(int32, (count,)), name="like"))
        node = Node(op, inputs[:1], {"shape": (count,), "dtype": dtype}, Source("eager", 1, 0))
        executable = compile_graph(Graph(op.name, inputs, (node,), node.outputs))
        _prepared[op.name, dtype.name] = executable
    extents = tuple(int(d) for d in shape)  # type: ignore[arg-type]
    out = np.empty(extents, dtype.numpy)
    binding = executable.bind({}, {"count": out.size})
    array = np.ascontiguousarray(state._array, np.int64)
    binding.call(array, array, out)  # `like` gives the extent its name and is not read
    return Tensor(out, dtype)


def working_dtype(dtype: DType) -> DType:
    """The dtype a float draw is computed in."""
    return float64 if dtype is float64 else float32


def float_dtype(dtype: Any, label: str) -> DType:
    """A float dtype argument. Raises DTypeError."""
    wanted = as_dtype(dtype)
    if wanted not in FLOATS:
        raise DTypeError(f"{label}: draws float16, bfloat16, float32 or float64, got {wanted.name}")
    return wanted


def parameter(value: Any, dtype: DType, declared: DType, label: str, name: str) -> Tensor:
    """A parameter of a distribution as a tensor of the working dtype. A tensor must have the declared dtype."""
    if isinstance(value, TensorLike):
        tensor = convert_to_tensor(value)
        if tensor.dtype is not declared:
            raise DTypeError(f"{label}: {name} must be {declared.name}, got {tensor.type}")
        return tensor if tensor.dtype is dtype else ops.cast(tensor, dtype=dtype)
    return convert_to_tensor(value, dtype)


def finished(values: Tensor, dtype: DType) -> Tensor:
    """Draws in the working dtype as the dtype asked for."""
    return values if values.dtype is dtype else ops.cast(values, dtype=dtype)


def is_number(value: Any, number: float) -> bool:
    """Is it this Python number?"""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == number


def normal_values(standard: Tensor, mean: Any, stddev: Any, dtype: DType, label: str) -> Tensor:
    """mean + stddev * standard, rounded to dtype."""
    own = standard.dtype
    if not is_number(stddev, 1):
        standard = ops.multiply(standard, parameter(stddev, own, dtype, label, "stddev"))
    if not is_number(mean, 0):
        standard = ops.add(standard, parameter(mean, own, dtype, label, "mean"))
    return finished(standard, dtype)


def normal_of(state: Tensor, dims: Sequence[Dim], mean: Any, stddev: Any, dtype: DType, label: str) -> Tensor:
    """Normal draws."""
    return normal_values(drawn(ops.random_normal, state, dims, working_dtype(dtype)), mean, stddev, dtype, label)


def truncated_of(state: Tensor, dims: Sequence[Dim], mean: Any, stddev: Any, dtype: DType, label: str) -> Tensor:
    """Normal draws within two standard deviations."""
    standard = drawn(ops.random_truncated_normal, state, dims, working_dtype(dtype))
    return normal_values(standard, mean, stddev, dtype, label)


def uniform_of(state: Tensor, dims: Sequence[Dim], minval: Any, maxval: Any, dtype: DType, label: str) -> Tensor:
    """Uniform draws of floats in [minval, maxval), of integers too (see range_of)."""
    if dtype.is_integer:
        return range_of(state, dims, minval, maxval, dtype, label)
    own = working_dtype(dtype)
    unit = drawn(ops.random_uniform, state, dims, own)
    bits = NARROW_BITS.get(dtype)
    if bits is not None:  # cut to what the dtype holds, so that rounding cannot give 1
        unit = ops.multiply(ops.floor(ops.multiply(unit, 2.0**bits)), 2.0**-bits)
    high = 1 if maxval is None else maxval
    if is_number(minval, 0) and is_number(high, 1):
        return finished(unit, dtype)
    low, top = (parameter(v, own, dtype, label, n) for v, n in ((minval, "minval"), (high, "maxval")))
    values = finished(ops.add(ops.multiply(unit, ops.subtract(top, low)), low), dtype)
    if dtype is not own:
        low, top = finished(low, dtype), finished(top, dtype)
        wide, wide_top = ops.cast(values, dtype=own), ops.cast(top, dtype=own)
        return ops.select(ops.less(wide, wide_top), values, low)
    # rounding can reach the upper end, which is not part of the interval
    return ops.select(ops.less(values, top), values, low)


def full_range(state: Tensor, dims: Sequence[Dim], dtype: DType) -> Tensor:
    """Integers of the dtype's whole range."""
    bits = drawn(ops.random_bits, state, dims, uint64 if dtype.itemsize == 8 else uint32)
    return bits if bits.dtype is dtype else ops.bitcast(bits, dtype=dtype)


def range_of(state: Tensor, dims: Sequence[Dim], minval: Any, maxval: Any, dtype: DType, label: str) -> Tensor:
    """Integers in [minval, maxval); of the whole range where both are None."""
    if minval is None and maxval is None:
        return full_range(state, dims, dtype)
    low, top = convert_to_tensor(minval, dtype), convert_to_tensor(maxval, dtype)
    for name, tensor in (("minval", low), ("maxval", top)):
        if tensor.dtype is not dtype:
            raise DTypeError(f"{label}: {name} must be {dtype.name}, got {tensor.type}")
    if low.is_symbolic or top.is_symbolic:
        Assert(ops.less(low, top), [f"{label}: needs minval < maxval, got", low, top])
    elif not np.all(low._array < top._array):
        raise InvalidArgumentError(f"{label}: needs minval < maxval, got {low.numpy()} and {top.numpy()}")
    start, end = (t if t.dtype is uint64 else ops.cast(t, dtype=uint64) for t in (low, top))
    bits = drawn(ops.random_bits, state, dims, uint64)
    values = ops.add(ops.random_range(bits, ops.subtract(end, start)), start)
    return values if dtype is uint64 else ops.cast(values, dtype=dtype)


def total(dims: Sequence[Dim]) -> Dim:
    """How many elements a draw of these extents has."""
    return product(dims)


def dims_of(shape: Any, label: str) -> tuple[Dim, ...]:
    """A shape argument as dims. Raises ShapeError for negative extents."""
    dims = tuple(as_shape(shape))
    if any(isinstance(d, int) and d < 0 for d in dims):
        raise ShapeError(f"{label}: extents must not be negative, got {list(dims)}")
    return dims


def integer_rule(dtype: DType, minval: Any, maxval: Any, label: str, whole_range: bool, unsigned_range: bool) -> None:
    """TensorFlow's rules for the bounds of integer draws. Raises InvalidArgumentError."""
    if not dtype.is_integer:
        return
    if not whole_range and maxval is None:
        raise InvalidArgumentError(f"{label}: {dtype.name} draws need maxval")
    if (minval is None) != (maxval is None):
        raise InvalidArgumentError(
            f"{label}: for {dtype.name}, minval and maxval must be both given or both None, got {minval} and {maxval}"
        )
    if not unsigned_range and dtype.is_unsigned and minval is not None:
        raise InvalidArgumentError(
            f"{label}: {dtype.name} draws have the whole range: minval and maxval must be None, got {minval} and {maxval}"
        )


def uniform_dtype(dtype: Any, label: str) -> DType:
    """A dtype that uniform draws have. Raises DTypeError."""
    wanted = as_dtype(dtype)
    if wanted not in (*FLOATS, *INTEGERS):
        raise DTypeError(f"{label}: draws {', '.join(d.name for d in (*FLOATS, *INTEGERS))}, got {wanted.name}")
    return wanted


#: a draw of these extents from a state
Sampler = Callable[[Tensor, tuple[Dim, ...]], Tensor]
