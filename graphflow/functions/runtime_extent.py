"""Shapes that depend on values: how a number that only the run knows becomes an extent, and what follows from that.

In eager mode the number is known, and these functions are plain NumPy shapes. In a traced function it becomes a run-time extent
(docs/ir.md): the compiled program computes it, and what is made of it has memory of that size.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from .. import ops
from ..dtypes import DType, as_dtype, int32, int64
from ..errors import InvalidArgumentError, ShapeError
from ..ir.dims import Dim, product
from ..ir.graph import comparable
from ..tensor import Tensor, active_trace, as_dim, as_shape, check_extents_tensor, convert_to_tensor

__all__ = [
    "as_extent", "as_extents", "extent_after", "extent_of", "extent_tensor", "is_computed", "numbers_below", "sliced_positions",
    "true_positions", "unique", "unique_with_counts",
]  # fmt: skip


def numbers_below(count: Any) -> Any:
    """0, 1 ... count - 1 as int64, for an integer tensor of rank 0. Raises InvalidArgumentError for a negative one."""
    count = convert_to_tensor(count)
    if count.dtype is not int64:
        count = ops.cast(count, dtype=int64)
    trace = active_trace.get()
    if trace is None or not count.is_symbolic:
        value = int(count.numpy())
        if value < 0:
            raise InvalidArgumentError(f"an extent must not be negative, got {value}")
        return ops.iota(shape=(value,), axis=0, dtype=int64)
    # The same computation gives the same extent: two arrays under one mask then have one shape.
    known, key = _KNOWN.setdefault(trace, {}), _form(count)
    if key not in known:
        known[key] = ops.runtime_range(count, extents=(trace.new_extent().text,))
    return known[key]


_KNOWN: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()


def _form(tensor: Any) -> Any:
    """What a symbolic tensor is computed from, as a value that equals another one if both are the same computation."""
    memo: dict[Any, Any] = {}
    forms: dict[Any, int] = {}
    stack = [tensor._value]
    while stack:
        value = stack[-1]
        node = value.producer
        missing = [v for v in node.inputs if v not in memo] if node is not None and node.is_pure else []
        if missing:
            stack.extend(missing)
            continue
        stack.pop()
        if node is None or not node.is_pure or node.extents:
            form: Any = value
        else:
            attributes = tuple(sorted((k, comparable(v)) for k, v in node.attributes.items()))
            form = node.op.name, attributes, value.index, tuple(memo[v] for v in node.inputs)
        memo[value] = forms.setdefault(form, len(forms))
    return tuple(forms)


def extent_of(count: Any) -> Dim:
    """The value of an integer tensor of rank 0 as an extent."""
    return numbers_below(count).dims[0]


def is_computed(value: Any) -> bool:
    """Is it a tensor of integers whose value only the run knows?"""
    if isinstance(value, Tensor):
        check_extents_tensor(value)
    return isinstance(value, Tensor) and value.is_symbolic and value._constant_dims() is None


def as_extent(value: Any) -> Dim:
    """One extent, as as_dim has it; a tensor that is computed in a traced function becomes a run-time extent."""
    return extent_of(ops.reshape(value, shape=())) if is_computed(value) else as_dim(value)


def extent_tensor(dim: Dim) -> Any:
    """An extent as an int64 tensor."""
    from ..tracing.tracer import dimension_tensor

    return convert_to_tensor(dim, int64) if isinstance(dim, int) else dimension_tensor(dim, int64)


def sliced_positions(extent: Dim, start: Any, stop: Any, step: int) -> Any:
    """The positions (int64) of start:stop:step along an axis, clamped as Python's slices are; bounds are None, dims or computed
    tensors. How many there are is a run-time extent."""
    length, zero = extent_tensor(extent), convert_to_tensor(0, int64)
    least, most = (zero, length) if step > 0 else (convert_to_tensor(-1, int64), ops.subtract(length, 1))

    def bound(value: Any, missing: Any) -> Any:
        if value is None:
            return missing
        if is_computed(value):
            found = ops.cast(ops.reshape(value, shape=()), dtype=int64)
        else:
            found = extent_tensor(as_dim(value))
        found = ops.select(ops.less(found, zero), ops.add(found, length), found)
        return ops.minimum(ops.maximum(found, least), most)

    first, last = bound(start, least if step > 0 else most), bound(stop, most if step > 0 else least)
    way = ops.subtract(last, first) if step > 0 else ops.subtract(first, last)
    count = ops.floordiv(ops.add(ops.maximum(way, zero), abs(step) - 1), abs(step))
    return ops.add(first, ops.multiply(numbers_below(count), step))


def as_extents(shape: Any) -> tuple[Dim, ...]:
    """A shape argument, as as_shape has it; elements that are computed in a traced function become run-time extents."""
    if isinstance(shape, (list, tuple)):
        return tuple(as_extent(d) for d in shape)
    if isinstance(shape, Tensor):
        check_extents_tensor(shape)
    if not isinstance(shape, Tensor) or not shape.is_symbolic or shape._constant_dims() is not None:
        return as_shape(shape)
    if not shape.dims:
        return (as_extent(shape),)
    count = shape.dims[0]
    if len(shape.dims) != 1 or not isinstance(count, int):
        raise ShapeError(f"a shape must be a vector of known length, got {shape.type}")
    found: list[Dim] = []
    for place, known in enumerate(_known_elements(shape)):
        if known is None:
            own = ops.strided_slice(shape, begin=(place,), sizes=(1,), strides=(1,))
            known = extent_of(ops.reshape(own, shape=()))
        found.append(known)
    return tuple(found)


def _known_elements(vector: Any) -> list[Dim | None]:
    """The elements of a computed vector as dims where they are numbers or extents: those that were joined to computed ones."""
    from ..tracing.tracer import known_dims

    trace = vector._trace
    node = trace.origin(vector._value).producer
    if node is None or node.op.name != "concat":
        return [None] * vector.dims[0]
    found: list[Dim | None] = []
    for part in node.inputs:
        known = known_dims(part, trace)
        count = part.type.shape[0]
        if known is None and not isinstance(count, int):
            return [None] * vector.dims[0]
        found.extend([None] * int(count) if known is None else known)
    return found


def extent_after(name: str, ids: Any) -> Dim:
    """The last of sorted numbers, plus 1 (0 of none), as an extent; an assertion fails unless they are sorted and not negative."""
    from .effects import Assert

    extent, rank = ids.dims[0], len(ids.dims)
    if rank != 1:
        raise ShapeError(f"{name}: needs a vector of numbers, got {ids.type}")
    if extent == 0:
        return 0
    # in front of them a -1: so that there always is a last one
    padded = ops.pad(ids, paddings=((1, 0),), mode="constant", constant=-1)
    before = ops.strided_slice(padded, begin=(0,), sizes=(extent,), strides=(1,))
    least = ops.maximum(before, convert_to_tensor(0, ids.dtype))
    Assert(
        ops.reduce_all(ops.greater_equal(ids, least), axes=(0,), keepdims=False),
        [f"{name}: numbers must be sorted and not negative"],
    )
    last = ops.reshape(ops.strided_slice(padded, begin=(extent,), sizes=(1,), strides=(1,)), shape=())
    return extent_of(ops.add(last, convert_to_tensor(1, ids.dtype)))


def true_positions(mask: Any) -> Any:
    """The flat positions (int64, ascending) at which a bool tensor is true."""
    mask = convert_to_tensor(mask)
    count = product(mask.dims)
    flat = ops.reshape(mask, shape=(count,))
    if not flat.is_symbolic:
        return convert_to_tensor(np.flatnonzero(flat.numpy()))
    # the k-th true element goes to place k
    running = ops.cumulative(ops.cast(flat, dtype=int64), axis=0, kind="sum")
    total = ops.reduce_sum(ops.cast(flat, dtype=int64), axes=(0,), keepdims=False)
    target = ops.select(flat, ops.subtract(running, 1), convert_to_tensor(-1, int64))
    numbers = ops.iota(shape=(count,), axis=0, dtype=int64)
    return ops.scatter_reduce(target, numbers, rows=extent_of(total), kind="sum", drop_negative=True)


def _groups(name: str, x: Any) -> tuple[Any, Any, Any]:
    """Of a vector: the sorted order, for each place of it whether a new value begins there, and its group's number."""
    x = convert_to_tensor(x)
    if len(x.dims) != 1:
        raise ShapeError(f"{name}: needs a vector, got {x.type}")
    order = ops.argsort(x, descending=False)
    ordered = ops.gather(x, order, axis=0)
    extent = x.dims[0]
    before = ops.gather(ordered, _clamped(ops.subtract(ops.iota(shape=(extent,), axis=0, dtype=int32), 1)), axis=0)
    first = ops.equal(ops.iota(shape=(extent,), axis=0, dtype=int32), convert_to_tensor(0, int32))
    begins = ops.logical_or(first, ops.not_equal(ordered, before))
    number = ops.subtract(ops.cumulative(ops.cast(begins, dtype=int64), axis=0, kind="sum"), 1)
    return order, begins, number


def _clamped(places: Any) -> Any:
    return ops.maximum(places, convert_to_tensor(0, places.dtype))


def _unique(name: str, x: Any, out_idx: Any) -> tuple[Any, Any, Any]:
    """The values in order of first appearance, for each element the number of its value, and how often each occurs."""
    x, kind = convert_to_tensor(x), as_dtype(out_idx)
    if kind not in (int32, int64):
        raise InvalidArgumentError(f"{name}: out_idx must be int32 or int64, got {kind.name}")
    if x.dtype.is_string:
        return _unique_strings(name, x, kind)
    order, begins, group = _groups(name, x)
    starts = true_positions(begins)  # where each group begins in the sorted order
    rows = starts.dims[0]
    firsts = ops.gather(order, starts, axis=0)  # stable: the first of its equals in x
    rank = ops.argsort(firsts, descending=False)  # group numbers in order of first appearance
    place = ops.scatter_reduce(rank, ops.iota(shape=(rows,), axis=0, dtype=int64), rows=rows, kind="sum")
    values = ops.gather(x, ops.gather(firsts, rank, axis=0), axis=0)
    numbers = ops.gather(place, group, axis=0)
    back = ops.scatter_reduce(order, numbers, rows=x.dims[0], kind="sum")
    one = ops.broadcast_to(convert_to_tensor(1, kind), shape=x.dims)
    counts = ops.scatter_reduce(back, one, rows=rows, kind="sum")
    return values, back if kind is int64 else ops.cast(back, dtype=kind), counts


def _unique_strings(name: str, x: Any, kind: DType) -> tuple[Any, Any, Any]:
    """See _unique."""
    if len(x.dims) != 1:
        raise ShapeError(f"{name}: needs a vector, got {x.type}")
    numbers: dict[bytes, int] = {}
    places = np.array([numbers.setdefault(v, len(numbers)) for v in x.tolist()], kind.numpy)
    counts = np.bincount(places, minlength=len(numbers)).astype(kind.numpy)
    return convert_to_tensor(list(numbers), x.dtype), convert_to_tensor(places), convert_to_tensor(counts)


def unique(x: Any, out_idx: Any = int32, name: str | None = None) -> tuple[Tensor, Tensor]:
    """(y, idx): the values of a vector in order of first appearance, and for each element the number of its value: y[idx] is x. Each NaN is
    a value of its own."""
    values, places, _ = _unique("unique", x, out_idx)
    return values, places


def unique_with_counts(x: Any, out_idx: Any = int32, name: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """(y, idx, count): as unique, and how often each value occurs."""
    return _unique("unique_with_counts", x, out_idx)
