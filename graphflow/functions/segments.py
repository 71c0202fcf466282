"""Segments, bins and scattering: rows combined by number. Names, argument order and defaults are TensorFlow's; `name` is accepted for
its sake and not used. Rows with one number are combined in order, whatever the threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..dtypes import as_dtype, bool_, float32, int16, int32, int64
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import Dim, SymbolicDim, product
from ..ops.rules import equal_shapes
from ..tensor import Tensor, as_dim, convert_to_tensor, operands
from .runtime_extent import as_extent, as_extents, extent_of, extent_tensor

__all__ = [
    "bincount", "confusion_matrix", "histogram_fixed_width", "histogram_fixed_width_bins", "scatter_nd", "segment_max", "segment_mean",
    "segment_min", "segment_prod", "segment_sum", "tensor_scatter_nd_add", "tensor_scatter_nd_max", "tensor_scatter_nd_min",
    "tensor_scatter_nd_sub", "tensor_scatter_nd_update", "unsorted_segment_max", "unsorted_segment_mean", "unsorted_segment_min",
    "unsorted_segment_prod", "unsorted_segment_sqrt_n", "unsorted_segment_sum",
]  # fmt: skip


# Segments -----------------------------------------------------------------------------------------------------------
def _numbers(name: str, ids: Any) -> Any:
    ids = convert_to_tensor(ids, dtype_hint=int32)
    if ids.dtype is int16:
        return ops.cast(ids, dtype=int32)
    if ids.dtype not in (int32, int64):
        raise DTypeError(f"{name}: segment numbers must be int16, int32 or int64, got {ids.type}; use gf.cast")
    return ids


def _unsorted(name: str, kind: str, data: Any, ids: Any, count: Any) -> Any:
    data, ids, rows = convert_to_tensor(data), _numbers(name, ids), as_extent(count)
    found = ops.scatter_reduce(ids, data, rows=rows, kind=kind, drop_negative=True)
    if kind not in ("max", "min") or not data.dtype.is_floating:
        return found
    # a segment without rows holds the dtype's lowest (highest) finite value, as TensorFlow has it, not an infinity
    one = ops.broadcast_to(convert_to_tensor(1, int32), shape=ids.dims)
    there = ops.scatter_reduce(ids, one, rows=rows, kind="sum", drop_negative=True)
    there = ops.reshape(ops.greater(there, 0), shape=(rows, *(1,) * (len(data.dims) - len(ids.dims))))
    limit = data.dtype.min if kind == "max" else data.dtype.max
    return ops.select(there, found, convert_to_tensor(limit, data.dtype))


def unsorted_segment_sum(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """result[i] = the sum of data rows whose number is i; 0 where there is none. Negative numbers are left out."""
    return _unsorted("unsorted_segment_sum", "sum", data, segment_ids, num_segments)


def unsorted_segment_prod(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """result[i] = the product of data rows whose number is i; 1 where there is none."""
    return _unsorted("unsorted_segment_prod", "prod", data, segment_ids, num_segments)


def unsorted_segment_max(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """result[i] = the largest of data rows whose number is i; the lowest finite value where there is none."""
    return _unsorted("unsorted_segment_max", "max", data, segment_ids, num_segments)


def unsorted_segment_min(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """result[i] = the smallest of data rows whose number is i; the highest finite value where there is none."""
    return _unsorted("unsorted_segment_min", "min", data, segment_ids, num_segments)


def _counts(data: Any, ids: Any, rows: Any, drop: bool) -> Any:
    """How many rows have each number, at least 1, in a shape that broadcasts against the sums."""
    one = ops.broadcast_to(convert_to_tensor(1, int32), shape=ids.dims)
    count = ops.scatter_reduce(ids, one, rows=rows, kind="sum", drop_negative=drop)
    count = ops.cast(ops.maximum(count, convert_to_tensor(1, int32)), dtype=data.dtype)
    return ops.reshape(count, shape=(rows, *(1,) * (len(data.dims) - len(ids.dims))))


def _mean(data: Any, ids: Any, rows: Any, drop: bool, root: bool = False) -> Any:
    total = ops.scatter_reduce(ids, data, rows=rows, kind="sum", drop_negative=drop)
    count = _counts(data, ids, rows, drop)
    return ops.divide(total, ops.sqrt(count) if root else count)


def _floats(name: str, data: Any) -> Any:
    data = convert_to_tensor(data)
    if not data.dtype.is_floating:
        raise DTypeError(f"{name}: needs floats, got {data.type}; use gf.cast")
    return data


def unsorted_segment_mean(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """result[i] = the mean of data rows whose number is i; 0 where there is none. Integers are cast first, as by gf.divide."""
    from ..math import true_quotient

    data = _floats("unsorted_segment_mean", true_quotient(data))
    return _mean(data, _numbers("unsorted_segment_mean", segment_ids), as_extent(num_segments), True)


def unsorted_segment_sqrt_n(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
    """result[i] = the sum of data rows whose number is i over the square root of their count. Floats."""
    data = _floats("unsorted_segment_sqrt_n", data)
    return _mean(data, _numbers("unsorted_segment_sqrt_n", segment_ids), as_extent(num_segments), True, root=True)


def _sorted_rows(name: str, data: Any, ids: Any) -> tuple[Any, Any, Dim]:
    """Data, numbers and the number of segments (the last number + 1) of a sorted form. Raises InvalidArgumentError unless sorted."""
    data, ids = convert_to_tensor(data), _numbers(name, ids)
    if len(ids.dims) != 1 or not data.dims or not equal_shapes(ids.dims, data.dims[:1]):
        raise ShapeError(f"{name}: needs one number for each row of the data, got {data.type} and {ids.type}")
    if ids.is_symbolic:
        from .runtime_extent import extent_after

        return data, ids, extent_after(name, ids)
    values = ids.numpy()
    if values.size and (values[0] < 0 or np.any(np.diff(values) < 0)):
        error = InvalidArgumentError(f"{name}: segment numbers must be sorted and not negative, got {values.tolist()}")
        error.hint = f"sort the rows, or use unsorted_{name}"
        raise error
    return data, ids, int(values[-1]) + 1 if values.size else 0


def _empty_as_zero(name: str, kind: str, data: Any, ids: Any) -> Any:
    data, ids, rows = _sorted_rows(name, data, ids)
    found = ops.scatter_reduce(ids, data, rows=rows, kind=kind)
    if kind == "sum":
        return found
    one = ops.broadcast_to(convert_to_tensor(1, int32), shape=ids.dims)
    count = ops.scatter_reduce(ids, one, rows=rows, kind="sum")
    there = ops.greater(count, convert_to_tensor(0, int32))
    there = ops.reshape(there, shape=(rows, *(1,) * (len(data.dims) - 1)))
    return ops.select(there, found, convert_to_tensor(1 if kind == "prod" else 0, data.dtype))


def segment_sum(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """result[i] = the sum of data rows whose number is i. The numbers must be sorted; there are as many results as the last one + 1."""
    return _empty_as_zero("segment_sum", "sum", data, segment_ids)


def segment_prod(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """The product of the rows of each number; 1 where there is none. See segment_sum."""
    return _empty_as_zero("segment_prod", "prod", data, segment_ids)


def segment_max(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """The largest of the rows of each number; 0 where there is none. See segment_sum."""
    return _empty_as_zero("segment_max", "max", data, segment_ids)


def segment_min(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """The smallest of the rows of each number; 0 where there is none. See segment_sum."""
    return _empty_as_zero("segment_min", "min", data, segment_ids)


def segment_mean(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
    """The mean of the rows of each number; 0 where there is none. The mean of integers is rounded toward 0. See segment_sum."""
    x = convert_to_tensor(data)
    if x.dtype.is_integer and x.dtype.itemsize < 4:  # which do not hold the count
        return ops.cast(segment_mean(ops.cast(x, dtype=int32), segment_ids), dtype=x.dtype)
    x, ids, rows = _sorted_rows("segment_mean", x, segment_ids)
    if not x.dtype.is_integer:
        return _mean(x, ids, rows, False)
    return ops.truncatediv(ops.scatter_reduce(ids, x, rows=rows, kind="sum"), _counts(x, ids, rows, False))


# Bins ---------------------------------------------------------------------------------------------------------------
def bincount(
    arr: Any,
    weights: Any = None,
    minlength: Any = None,
    maxlength: Any = None,
    dtype: Any = int32,
    name: str | None = None,
    axis: Any = None,
    binary_output: bool = False,
) -> Tensor:
    """How often each value 0, 1, 2 ... occurs in arr (or the sum of its weights), up to the largest value; values from maxlength on are
    left out, and there are at least minlength bins. axis=-1: row by row of a matrix. binary_output: 1 for "occurs".

    Inside a compiled function the number of bins is a run-time extent, unless minlength and maxlength are one number.
    """
    arr = convert_to_tensor(arr, dtype_hint=int32)
    if arr.dtype not in (int32, int64):
        raise DTypeError(f"bincount: needs int32 or int64 values, got {arr.type}; use gf.cast")
    if axis not in (None, 0, -1):
        raise InvalidArgumentError(f"bincount: axis must be None, 0 or -1, got {axis!r}")
    kind = as_dtype(dtype) if weights is None else convert_to_tensor(weights).dtype
    size = _bins(arr, minlength, maxlength)
    if binary_output or weights is None:
        values: Any = ops.broadcast_to(convert_to_tensor(1, kind), shape=arr.dims)
    else:
        values = convert_to_tensor(weights)
        if not equal_shapes(values.dims, arr.dims):
            raise ShapeError(f"bincount: weights must have the shape of the values, got {values.type} and {arr.type}")
    # values from maxlength on are left out as negative ones would be; those raise
    bins = (
        convert_to_tensor(size, arr.dtype) if isinstance(size, int) else ops.cast(extent_tensor(size), dtype=arr.dtype)
    )
    inside = ops.less(arr, bins)
    if not arr.is_symbolic and arr.numpy().size and arr.numpy().min() < 0:
        raise InvalidArgumentError(f"bincount: values must not be negative, got {int(arr.numpy().min())}")
    kept = ops.select(inside, arr, convert_to_tensor(-1, arr.dtype))
    combine = "max" if binary_output else "sum"
    if axis == -1 and len(arr.dims) == 2:
        rows = arr.dims[0]
        number = ops.reshape(ops.iota(shape=(rows,), axis=0, dtype=arr.dtype), shape=(rows, 1))
        moved = ops.select(inside, ops.add(ops.multiply(number, bins), arr), kept)
        found = ops.scatter_reduce(moved, values, rows=rows * size, kind=combine, drop_negative=True)
        found = ops.reshape(found, shape=(rows, size))
    else:
        found = ops.scatter_reduce(kept, values, rows=size, kind=combine, drop_negative=True)
    if not binary_output:
        return found
    return ops.cast(ops.greater(found, convert_to_tensor(0, kind)), dtype=kind)


def _bins(arr: Any, minlength: Any, maxlength: Any) -> Any:
    least, most = (None if v is None else as_extent(v) for v in (minlength, maxlength))
    if most is not None and least == most:
        return most
    if arr.is_symbolic or any(isinstance(v, SymbolicDim) for v in (least, most)):
        # in front of the values a -1: so that there always is a largest one
        flat = ops.reshape(ops.cast(arr, dtype=int64), shape=(product(arr.dims),))
        padded = ops.pad(flat, paddings=((1, 0),), mode="constant", constant=-1)
        count = ops.add(ops.reduce_max(padded, axes=(0,), keepdims=False), 1)
        if least is not None:
            count = ops.maximum(count, extent_tensor(least))
        return extent_of(count if most is None else ops.minimum(count, extent_tensor(most)))
    size = int(arr.numpy().max()) + 1 if arr.numpy().size else 0
    size = max(size, int(least or 0))  # type: ignore[arg-type]
    return size if most is None else min(size, int(most))  # type: ignore[arg-type]


def confusion_matrix(
    labels: Any,
    predictions: Any,
    num_classes: Any = None,
    weights: Any = None,
    dtype: Any = int32,
    name: str | None = None,
) -> Tensor:
    """How often (or with what weight) label i was predicted as j, at [i, j]."""
    labels, predictions = operands(labels, predictions)
    labels, predictions = (ops.cast(t, dtype=int64) for t in (labels, predictions))
    if len(labels.dims) != 1 or not equal_shapes(labels.dims, predictions.dims):
        raise ShapeError(f"confusion_matrix: needs two vectors of one length, got {labels.type} and {predictions.type}")
    if num_classes is None:
        both = ops.pad(ops.concat(labels, predictions, axis=0), paddings=((1, 0),), mode="constant", constant=-1)
        num_classes = ops.add(ops.reduce_max(both, axes=(0,), keepdims=False), 1)
    count, kind = as_extent(num_classes), as_dtype(dtype)
    stacked = ops.concat(*(ops.reshape(t, shape=(*t.dims, 1)) for t in (labels, predictions)), axis=1)
    if weights is None:
        values: Any = ops.broadcast_to(convert_to_tensor(1, kind), shape=labels.dims)
    else:
        values = ops.cast(convert_to_tensor(weights), dtype=kind)
    return scatter_nd(stacked, values, [count, count])


def histogram_fixed_width_bins(
    values: Any, value_range: Any, nbins: Any = 100, dtype: Any = int32, name: str | None = None
) -> Tensor:
    """The bin of each value when value_range is cut into nbins bins of one width; values outside go to the first and last bin."""
    values, limits = operands(values, value_range)
    if limits.dims != (2,):
        raise ShapeError(f"histogram_fixed_width: value_range must be two values, got {limits.type}")
    count = as_dim(nbins)
    if not isinstance(count, int) or count < 1:
        raise InvalidArgumentError(f"histogram_fixed_width: nbins must be a positive number, got {nbins!r}")
    wide = ops.cast(values, dtype=float32) if not values.dtype.is_floating else values
    ends = ops.cast(limits, dtype=wide.dtype) if limits.dtype is not wide.dtype else limits
    low, high = ends[0], ends[1]
    scaled = ops.divide(ops.subtract(wide, low), ops.subtract(high, low))
    number = ops.floor(ops.multiply(scaled, float(count)))
    number = ops.minimum(ops.maximum(number, 0.0), float(count - 1))
    return ops.cast(number, dtype=as_dtype(dtype))


def histogram_fixed_width(
    values: Any, value_range: Any, nbins: Any = 100, dtype: Any = int32, name: str | None = None
) -> Tensor:
    """How many values each of nbins bins of one width over value_range holds."""
    places: Any = histogram_fixed_width_bins(values, value_range, nbins)
    one = ops.broadcast_to(convert_to_tensor(1, as_dtype(dtype)), shape=places.dims)
    return ops.scatter_reduce(places, one, rows=as_dim(nbins), kind="sum")


# Scattering ---------------------------------------------------------------------------------------------------------
def _flat(name: str, indices: Any, updates: Any, shape: tuple[Dim, ...]) -> tuple[Any, Any, Dim, tuple[Dim, ...]]:
    """Row numbers, rows, the number of rows and the shape of a row: indices[..., k] name positions along the first k axes of shape."""
    indices = convert_to_tensor(indices, dtype_hint=int32)
    if indices.dtype not in (int32, int64):
        raise DTypeError(f"{name}: indices must be int32 or int64, got {indices.type}; use gf.cast")
    depth = indices.dims[-1] if indices.dims else None
    if not isinstance(depth, int) or depth > len(shape):
        raise ShapeError(
            f"{name}: the last extent of the indices must be at most the rank, got {indices.type} and shape [{','.join(map(str, shape))}]"
        )
    lead, inner = indices.dims[:-1], shape[depth:]
    if len(updates.dims) != len(lead) + len(inner) or not equal_shapes(updates.dims, (*lead, *inner)):
        raise ShapeError(
            f"{name}: the updates must be [{','.join(map(str, (*lead, *inner)))}] for indices {indices.type} and shape "
            f"[{','.join(map(str, shape))}], got {updates.type}"
        )
    rows = product(shape[:depth])
    count = product(lead)
    wide = ops.cast(indices, dtype=int64) if indices.dtype is not int64 else indices
    place: Any = ops.broadcast_to(convert_to_tensor(0, int64), shape=lead) if lead else convert_to_tensor(0, int64)
    inside: Any = None
    rank = len(indices.dims)
    for k in range(depth):
        begin = (*(0,) * (rank - 1), k)
        own = ops.strided_slice(wide, begin=begin, sizes=(*lead, 1), strides=(1,) * rank)
        own = ops.reshape(own, shape=lead)
        extent = extent_tensor(shape[k])
        fits = ops.logical_and(ops.greater_equal(own, convert_to_tensor(0, int64)), ops.less(own, extent))
        inside = fits if inside is None else ops.logical_and(inside, fits)
        place = ops.add(ops.multiply(place, extent), own)
    if inside is not None:  # a position outside its own axis must not pass for one inside another row
        place = ops.select(inside, place, convert_to_tensor(-1, int64))
    return ops.reshape(place, shape=(count,)), ops.reshape(updates, shape=(count, *inner)), rows, inner


def ignores_bad_indices(name: str, policy: str) -> bool:
    """Does bad_indices_policy ("", "DEFAULT", "ERROR" or "IGNORE") leave positions outside out? Raises InvalidArgumentError."""
    if policy not in ("", "DEFAULT", "ERROR", "IGNORE"):
        raise InvalidArgumentError(
            f"{name}: bad_indices_policy must be '', 'DEFAULT', 'ERROR' or 'IGNORE', got {policy!r}"
        )
    return policy == "IGNORE"


def scatter_nd(indices: Any, updates: Any, shape: Any, bad_indices_policy: str = "", name: str | None = None) -> Tensor:
    """Zeros of `shape` with updates[...] added at the positions indices[...]; rows named twice add up (join), in order. Raises
    IndexOutOfRangeError for a position outside (bad_indices_policy="IGNORE" leaves it out), ShapeError where the parts do not fit."""
    updates, target = convert_to_tensor(updates), as_extents(shape)
    if updates.dtype.is_bool:  # a place is true where one of its updates is
        hits = scatter_nd(indices, ops.cast(updates, dtype=int32), target, bad_indices_policy)
        return ops.cast(hits, dtype=bool_)
    if updates.dtype.is_string:
        empty = ops.broadcast_to(convert_to_tensor(b""), shape=target)
        return _scatter_into("scatter_nd", "sum", empty, indices, updates, bad_indices_policy)
    drops = ignores_bad_indices("scatter_nd", bad_indices_policy)
    place, rows, count, _ = _flat("scatter_nd", indices, updates, target)
    return ops.reshape(ops.scatter_reduce(place, rows, rows=count, kind="sum", drop_negative=drops), shape=target)


def _scatter_into(name: str, kind: str, tensor: Any, indices: Any, updates: Any, policy: str = "") -> Tensor:
    tensor, updates = operands(tensor, updates)
    if tensor.dtype is not updates.dtype:
        raise DTypeError(f"{name}: the updates must have the tensor's dtype, got {tensor.type} and {updates.type}")
    place, rows, count, inner = _flat(name, indices, updates, tensor.dims)
    flat = ops.reshape(tensor, shape=(count, *inner))
    if not ignores_bad_indices(name, policy):
        return ops.reshape(ops.scatter_into(flat, place, rows, kind=kind), shape=tensor.dims)
    # positions outside go to one more row, which is cut off again
    wide = ops.pad(flat, paddings=((0, 1), *((0, 0),) * len(inner)), mode="constant", constant=flat.dtype.zero)
    place = ops.select(ops.less(place, convert_to_tensor(0, int64)), extent_tensor(count), place)
    found = ops.scatter_into(wide, place, rows, kind=kind)
    begin, ones = (0,) * len(found.dims), (1,) * len(found.dims)
    kept = ops.strided_slice(found, begin=begin, sizes=(count, *inner), strides=ones)
    return ops.reshape(kept, shape=tensor.dims)


def tensor_scatter_nd_update(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
    """tensor with updates[...] at the positions indices[...]; of rows named twice the last stays."""
    return _scatter_into("tensor_scatter_nd_update", "set", tensor, indices, updates)


def tensor_scatter_nd_add(
    tensor: Any, indices: Any, updates: Any, bad_indices_policy: str = "", name: str | None = None
) -> Tensor:
    """tensor with updates[...] added at the positions indices[...], in order."""
    return _scatter_into("tensor_scatter_nd_add", "sum", tensor, indices, updates, bad_indices_policy)


def tensor_scatter_nd_sub(
    tensor: Any, indices: Any, updates: Any, bad_indices_policy: str = "", name: str | None = None
) -> Tensor:
    """tensor with updates[...] taken away at the positions indices[...], in order."""
    tensor, updates = operands(tensor, updates)
    return _scatter_into("tensor_scatter_nd_sub", "sum", tensor, indices, ops.negative(updates), bad_indices_policy)


def tensor_scatter_nd_max(
    tensor: Any, indices: Any, updates: Any, bad_indices_policy: str = "", name: str | None = None
) -> Tensor:
    """tensor with the larger of its element and updates[...] at the positions indices[...]."""
    return _scatter_into("tensor_scatter_nd_max", "max", tensor, indices, updates, bad_indices_policy)


def tensor_scatter_nd_min(
    tensor: Any, indices: Any, updates: Any, bad_indices_policy: str = "", name: str | None = None
) -> Tensor:
    """tensor with the smaller of its element and updates[...] at the positions indices[...]."""
    return _scatter_into("tensor_scatter_nd_min", "min", tensor, indices, updates, bad_indices_policy)
