"""Indexing and gathering: `tensor[key]`, gf.gather, gf.slice, gf.where and relatives. Part of the top-level names
(array_ops).

Positions known when the program is written become views; positions that are data are read by checked gathers, so
that an index outside its axis is an IndexOutOfRangeError in eager and in compiled functions alike. Slices clamp, as
in Python.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import ops
from ..dtypes import bool_, int16, int32, int64
from ..errors import DTypeError, IndexOutOfRangeError, InvalidArgumentError, ShapeError
from ..ir.dims import Dim, SymbolicDim, is_nonnegative
from ..ops.rules import broadcast_shapes, equal_shapes, normalize_axis, slice_bounds
from ..tensor import Tensor, TensorLike, active_trace, as_dim, as_shape, convert_to_tensor, operands
from .runtime_extent import as_extent, extent_tensor, is_computed, sliced_positions, true_positions

__all__ = ["boolean_mask", "gather", "gather_nd", "index_tensor", "slice", "strided_slice", "where"]


@dataclass
class _Plan:
    """What a key asks of each axis, in order: kept axes, dropped ones, new ones, and axes read at computed
    positions."""

    begin: list[Dim] = field(default_factory=list)
    sizes: list[Dim] = field(default_factory=list)
    strides: list[int] = field(default_factory=list)
    shape: list[Dim] = field(default_factory=list)  # after the view: with new axes, without dropped ones
    arrays: list[tuple[int, Any]] = field(default_factory=list)  # (axis of `shape`, positions)

    def axis(self, begin: Dim, size: Dim, step: int = 1, keep: bool = True) -> None:
        self.begin.append(begin)
        self.sizes.append(size)
        self.strides.append(step)
        if keep:
            self.shape.append(size)


def index_tensor(tensor: Any, key: Any) -> Tensor:
    """tensor[key] as NumPy has it: ints, slices (clamped), `...`, None, bool masks, and lists, arrays or tensors of
    positions, which may be negative. Raises IndexOutOfRangeError, DTypeError."""
    x = convert_to_tensor(tensor)
    items = _expand(key if isinstance(key, tuple) else (key,), x)
    together = _is_contiguous(items)
    items = [item for item in items if item is not Ellipsis]
    plan, axis = _Plan(), 0
    for item in items:
        if item is None:
            plan.shape.append(1)
            continue
        if isinstance(item, builtins.slice) and (is_computed(item.start) or is_computed(item.stop)):
            x = ops.gather(
                x, sliced_positions(x.dims[axis], item.start, item.stop, _step(item.step)), axis=axis, batch_dims=0
            )
            item = builtins.slice(None)
        extent = x.dims[axis]
        if isinstance(item, builtins.slice):
            start, stop, step = _bound(item.start), _bound(item.stop), _bound(item.step)
            if isinstance(step, SymbolicDim) or step is not None and step < 0 and not (_plain(start) and _plain(stop)):
                raise _number_needed(next(b for b in (step, start, stop) if isinstance(b, SymbolicDim)))
            plan.axis(*slice_bounds(extent, start, stop, step), step=1 if step is None else step)
        elif isinstance(item, int) and isinstance(extent, int):
            if not -extent <= item < extent:
                raise IndexOutOfRangeError(
                    f"index {item} is out of range for axis {axis} of {x.type} (extent {extent})"
                )
            plan.axis(item % extent, 1, keep=False)
        else:
            plan.arrays.append((len(plan.shape), _positions(item, x, axis)))
            plan.axis(0, extent)
        axis += 1
    if tuple(plan.sizes) != tuple(x.dims) or any(s != 1 for s in plan.strides):
        x = ops.strided_slice(x, begin=tuple(plan.begin), sizes=tuple(plan.sizes), strides=tuple(plan.strides))
    if tuple(plan.shape) != tuple(x.dims):
        x = ops.reshape(x, shape=tuple(plan.shape))
    return _read(x, plan.arrays, together=together) if plan.arrays else x


def _expand(key: tuple[Any, ...], x: Any) -> list[Any]:
    """One item for each axis of x, and None for each new one: masks become positions, `...` and missing axes become
    slices."""
    items: list[Any] = []
    axes = 0
    for item in key:
        if item is None or item is Ellipsis or isinstance(item, builtins.slice):
            items.append(item)
            axes += isinstance(item, builtins.slice)
            continue
        if isinstance(item, (bool, np.bool_)):
            raise DTypeError(f"a bool is not an index; use a mask of {x.type}'s shape, or None for a new axis")
        found = _item(item)
        if isinstance(found, (np.ndarray, Tensor)) and found.dtype == bool_:
            own = _mask_positions(found, x, axes if Ellipsis not in [i for i in items if i is Ellipsis] else None)
            items.extend(own)
            axes += len(own)
        else:
            items.append(found)
            axes += 1
    rank = len(x.dims)
    if sum(item is Ellipsis for item in items) > 1:
        raise IndexOutOfRangeError("an index may have one `...` only; write `:` for the others")
    if axes > rank:
        raise IndexOutOfRangeError(f"{axes} indices for {x.type} of rank {rank}; leave some out")
    missing: list[Any] = [builtins.slice(None)] * (rank - axes)
    position = next((k for k, item in enumerate(items) if item is Ellipsis), None)
    if position is None:
        return [*items, *missing]
    # A `...` that stands for no axis stays, because it still parts the positions on its two sides.
    return [*items[:position], *(missing or [Ellipsis]), *items[position + 1 :]]


def _item(item: Any) -> Any:
    """An index as an int, an integer or bool array, or a tensor of positions."""
    if isinstance(item, (int, np.integer)):
        return int(item)
    if hasattr(item, "__graphflow_dim__"):
        return convert_to_tensor(item, dtype_hint=int64)
    if type(item) is Tensor and item.dtype.is_bool:
        return np.asarray(item)  # a mask known now, inside a trace too
    if isinstance(item, TensorLike):
        tensor = convert_to_tensor(item)
        if not (tensor.dtype.is_integer or tensor.dtype.is_bool):
            raise DTypeError(f"an index must be integers or bool, got {tensor.type}")
        if active_trace.get() is None and not tensor.dims and tensor.dtype.is_integer:
            return int(tensor)
        return tensor
    if isinstance(item, (list, tuple)) and any(isinstance(v, TensorLike) for v in item):
        return convert_to_tensor(item)
    if not isinstance(item, (list, tuple, np.ndarray)):
        raise DTypeError(
            f"{item!r} ({type(item).__name__}) is not an index; use ints, slices, `...`, None, lists, arrays or tensors"
        )
    try:
        array = np.asarray(item)
    except ValueError as error:
        raise ShapeError(f"an index list must have rows of one length; got {item!r}"[:200]) from error
    if array.size == 0 and array.dtype.kind == "f":
        array = array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise DTypeError(f"an index must be integers or bool, got {array.dtype} in {item!r}"[:200])
    return array


def _coordinates(mask: Any) -> list[Any]:
    """The positions (int64) along each axis at which a computed mask is true."""
    rest, found = true_positions(mask), []
    for axis in reversed(builtins.range(len(mask.dims))):
        extent = extent_tensor(mask.dims[axis])
        safe = ops.maximum(extent, convert_to_tensor(1, int64))  # nothing is found along an empty axis
        found.append(ops.floormod(rest, safe) if axis else rest)
        rest = ops.floordiv(rest, safe) if axis else rest
    return found[::-1]


def _run_time_positions(mask: Any, x: Any, axis: int | None) -> list[Any]:
    """The positions of a mask that is computed in a traced function."""
    if not mask.dims:
        raise DTypeError(f"a bool is not an index; use a mask of {x.type}'s shape, or None for a new axis")
    if axis is not None and not equal_shapes(mask.dims, x.dims[axis : axis + len(mask.dims)]):
        raise IndexOutOfRangeError(
            f"a mask must have the extents of the axes it indexes, got {mask.type} for {x.type} from axis {axis}"
        )
    return _coordinates(mask)


def _mask_positions(mask: Any, x: Any, axis: int | None) -> list[Any]:
    """The positions where a mask is true, one array for each of its axes. How many there are must be known."""
    if isinstance(mask, Tensor):
        return _run_time_positions(mask, x, axis)
    array = np.asarray(mask)
    if array.ndim == 0:
        raise DTypeError(f"a bool is not an index; use a mask of {x.type}'s shape, or None for a new axis")
    if axis is not None:
        extents = x.dims[axis : axis + array.ndim]
        if len(extents) != array.ndim or any(
            isinstance(d, int) and d != n for d, n in zip(extents, array.shape, strict=True)
        ):
            raise ShapeError(
                f"a mask must have the extents of the axes it indexes, got {list(array.shape)} "
                f"for {x.type} from axis {axis}"
            )
    return [np.asarray(p) for p in np.nonzero(array)]


def _plain(bound: Any) -> bool:
    return not isinstance(bound, SymbolicDim)


def _step(value: Any) -> int:
    """The step of a slice with computed bounds."""
    step = 1 if value is None else as_dim(value)
    if isinstance(step, SymbolicDim):
        raise _number_needed(step)
    if not step:
        raise InvalidArgumentError("a slice's step must not be 0")
    return int(step)


def _bound(value: Any) -> Dim | None:
    """A slice's start, stop or step as a dim. A symbolic one whose sign is not known is asked for as a number,
    because a negative bound counts from the end."""
    if value is None:
        return None
    if isinstance(value, (bool, float)):
        raise DTypeError(f"a slice needs ints, got {value!r}")
    dim = as_dim(value)
    if isinstance(dim, SymbolicDim) and not is_nonnegative(dim):
        raise _number_needed(dim)
    return dim


def _number_needed(dim: SymbolicDim) -> BaseException:
    """Ask the tracer for the number behind a symbolic extent: the function is traced for the exact shape."""
    from ..tracing.tracer import NeedsNumber, capture

    return NeedsNumber(dim, capture())


def _positions(item: Any, x: Any, axis: int) -> Any:
    """Positions on an axis as a tensor, negative ones counted from the end. Those known now are checked now."""
    extent = x.dims[axis]
    if isinstance(item, (int, np.ndarray)):
        array = np.asarray(item, np.int64)
        if isinstance(extent, int):
            bad = array[(array < -extent) | (array >= extent)]
            if bad.size:
                raise IndexOutOfRangeError(
                    f"index {bad.flat[0]} is out of range for axis {axis} of {x.type} (extent {extent})"
                )
            return convert_to_tensor(np.where(array < 0, array + extent, array))
        if not (array < 0).any():
            return convert_to_tensor(array)
        item = convert_to_tensor(array)
    indices = item if item.dtype in (int32, int64) else ops.cast(item, dtype=int64)
    length = convert_to_tensor(x.shape[axis], dtype_hint=indices.dtype)
    return ops.select(ops.less(indices, 0), ops.add(indices, length), indices)


def _is_contiguous(items: Sequence[Any]) -> bool:
    """NumPy's rule: positions (ints among them) that stand together leave their axes in place, else they move to the
    front. Without arrays among them there is nothing to move."""
    if not any(isinstance(item, (np.ndarray, Tensor)) for item in items):
        return True
    places = [
        k
        for k, item in enumerate(items)
        if item is not None and item is not Ellipsis and not isinstance(item, builtins.slice)
    ]
    return places == list(range(places[0], places[-1] + 1))


def _read(x: Any, arrays: list[tuple[int, Any]], together: bool) -> Any:
    """x read at positions along some of its axes; the positions broadcast against each other."""
    first = arrays[0][0]
    if len(arrays) == 1:
        positions = arrays[0][1]
        result = ops.gather(x, positions, axis=first, batch_dims=0)
        rank = len(positions.dims)
    else:
        axes = [axis for axis, _ in arrays]
        shape = broadcast_shapes("index", [p.type for _, p in arrays])
        rank = len(shape)
        columns = []
        for _, positions in arrays:
            own = positions if positions.dtype is int64 else ops.cast(positions, dtype=int64)
            own = own if tuple(own.dims) == shape else ops.broadcast_to(own, shape=shape)
            columns.append(ops.reshape(own, shape=(*shape, 1)))
        rest = [a for a in range(len(x.dims)) if a not in axes]
        front = ops.transpose(x, permutation=(*axes, *rest))
        result = ops.gather_nd(front, ops.concat(*columns, axis=rank), depth=len(columns))
        if not together:
            return result
        before = sum(a < first for a in rest)
        if not before:
            return result
        order = (*range(rank, rank + before), *range(rank), *range(rank + before, len(result.dims)))
        return ops.transpose(result, permutation=order)
    if together or not first:
        return result
    order = (*range(first, first + rank), *range(first), *range(first + rank, len(result.dims)))
    return ops.transpose(result, permutation=order)


# Functions ----------------------------------------------------------------------------------------------------------
def gather(
    params: Any,
    indices: Any,
    validate_indices: Any = None,
    axis: Any = None,
    batch_dims: int = 0,
    name: str | None = None,
) -> Tensor:
    """The slices of params at indices along axis (default: batch_dims). Result: params.shape[:axis] +
    indices.shape[batch_dims:] + params.shape[axis + 1:]. Indices are int16, int32 or int64, in [0, extent):
    IndexOutOfRangeError otherwise, negative ones too."""
    indices = convert_to_tensor(indices)
    if indices.dtype is int16:
        indices = ops.cast(indices, dtype=int32)
    if hasattr(params, "_looked_up") and params.dims and axis in (None, 0) and batch_dims == 0:
        return params._looked_up(indices)
    params = convert_to_tensor(params)
    batch_dims = normalize_axis("gather", batch_dims, len(indices.dims) + 1)
    axis = batch_dims if axis is None else normalize_axis("gather", axis, len(params.dims))
    return ops.gather(params, indices, axis=axis, batch_dims=batch_dims)


def gather_nd(
    params: Any, indices: Any, batch_dims: int = 0, name: str | None = None, bad_indices_policy: str = ""
) -> Tensor:
    """The slices of params at the positions that the last axis of indices names. Raises IndexOutOfRangeError outside
    the axes; bad_indices_policy="IGNORE" gives zeros there."""
    from .segments import ignores_bad_indices

    params, indices = convert_to_tensor(params), convert_to_tensor(indices)
    if ignores_bad_indices("gather_nd", bad_indices_policy):
        return _gather_inside(params, indices, batch_dims)
    if batch_dims:
        lead = tuple(indices.dims[:-1])
        own = []
        for axis in range(batch_dims):
            line = ops.iota(shape=lead, axis=axis, dtype=indices.dtype)
            own.append(ops.reshape(line, shape=(*lead, 1)))
        indices = ops.concat(*own, indices, axis=len(lead))
    if not indices.dims:
        raise ShapeError(f"gather_nd: indices need rank 1 or more, got {indices.type}")
    # decides the result's rank, so a symbolic one makes the function trace for the exact shape
    depth = int(indices.shape[-1])
    if not depth:
        return ops.broadcast_to(params, shape=(*indices.dims[:-1], *params.dims))
    return ops.gather_nd(params, indices, depth=depth)


def _gather_inside(params: Any, indices: Any, batch_dims: int) -> Tensor:
    """gather_nd with zeros for positions outside the axes."""
    depth = indices.shape[-1] if indices.dims else 0
    limits = convert_to_tensor(list(params.shape[batch_dims : batch_dims + depth]), indices.dtype)
    zero = convert_to_tensor(0, indices.dtype)
    fits = ops.logical_and(ops.greater_equal(indices, zero), ops.less(indices, limits))
    fits = ops.reduce_all(fits, axes=(len(indices.dims) - 1,), keepdims=False)
    spread = ops.reshape(fits, shape=(*fits.dims, 1))
    found: Any = gather_nd(params, ops.select(spread, indices, zero), batch_dims)
    rest = len(found.dims) - len(fits.dims)
    return ops.select(ops.reshape(fits, shape=(*fits.dims, *(1,) * rest)), found, convert_to_tensor(0, found.dtype))


def slice(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """size[k] elements of each axis k from begin[k]; a size of -1 takes the rest. Raises ShapeError where that
    leaves the tensor."""
    x = convert_to_tensor(input_)
    starts, lengths = elements_of(begin), elements_of(size)
    if not len(starts) == len(lengths) == len(x.dims):
        raise ShapeError(f"slice: needs a begin and a size for each axis of {x.type}, got {starts} and {lengths}")
    for axis, start in enumerate(starts):
        if not is_computed(start):
            continue
        # rows from a computed place on: as many as are asked for, so that a known size stays known
        first = ops.cast(ops.reshape(start, shape=()), dtype=int64)
        length = lengths[axis]
        if not is_computed(length) and as_dim(length) == -1:
            length = ops.subtract(extent_tensor(x.dims[axis]), first)
        size_ = as_extent(length)
        x = ops.gather(x, ops.add(ops.iota(shape=(size_,), axis=0, dtype=int64), first), axis=axis, batch_dims=0)
        starts[axis], lengths[axis] = 0, size_
    begins, sizes = list(map(as_dim, starts)), tuple(map(as_extent, lengths))
    rest = [d - b if s == -1 else s for d, b, s in zip(x.dims, begins, sizes, strict=True)]
    for axis, extent in enumerate(x.dims):
        begin = begins[axis]
        negative = isinstance(begin, int) and begin < 0
        if isinstance(extent, SymbolicDim) and (negative or not is_nonnegative(extent - (begin + rest[axis]))):
            x = part_of_axis("slice", x, axis, begin, rest[axis])
            begins[axis] = 0
    return ops.strided_slice(x, begin=tuple(begins), sizes=tuple(rest), strides=(1,) * len(rest))


def part_of_axis(name: str, x: Any, axis: int, begin: Dim, size: Dim) -> Any:
    """`size` elements of an axis from `begin` on. Where only the run can tell that they are inside, they are read at checked
    positions (a view would show what lies behind the array): IndexOutOfRangeError. Raises ShapeError for a negative begin or size."""
    extent = x.dims[axis]
    if isinstance(begin, int) and begin < 0 or isinstance(size, int) and size < 0:
        raise ShapeError(
            f"{name}: begin and size must not be negative, got {begin} and {size} on axis {axis} of {x.type}"
        )
    if isinstance(extent, SymbolicDim) and not is_nonnegative(extent - (begin + size)):
        places = ops.iota(shape=(size,), axis=0, dtype=int64)
        if begin != 0:
            places = ops.add(places, ops.cast(extent_tensor(begin), dtype=int64))
        return ops.gather(x, places, axis=axis, batch_dims=0)
    begins = tuple(begin if a == axis else 0 for a in builtins.range(len(x.dims)))
    sizes = tuple(size if a == axis else d for a, d in enumerate(x.dims))
    return ops.strided_slice(x, begin=begins, sizes=sizes, strides=(1,) * len(sizes))


def elements_of(vector: Any) -> list[Any]:
    """A list of ints, dims and computed tensors: the elements of a vector argument."""
    if not is_computed(vector):
        return list(vector) if isinstance(vector, (list, tuple)) else list(as_shape(vector))
    (count,) = vector.dims or (1,)
    if not isinstance(count, int):
        raise ShapeError(f"a vector of known length is needed, got {vector.type}")
    flat = ops.reshape(vector, shape=(count,))
    return [
        ops.reshape(ops.strided_slice(flat, begin=(k,), sizes=(1,), strides=(1,)), shape=())
        for k in builtins.range(count)
    ]


def strided_slice(
    input_: Any,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
    name: str | None = None,
) -> Tensor:
    """input_[begin:end:strides] with TensorFlow's bit masks: bit k of begin_mask and end_mask ignores that bound, of
    ellipsis_mask, new_axis_mask and shrink_axis_mask makes item k `...`, None or the index begin[k]. var: the variable whose part the
    result is: its `assign` then replaces that part."""
    starts, stops = elements_of(begin), elements_of(end)
    steps = as_shape(strides) if strides is not None else (1,) * len(starts)
    if not len(starts) == len(stops) == len(steps):
        raise ShapeError(
            f"strided_slice: begin, end and strides need one length, got {len(starts)}, {len(stops)} and {len(steps)}"
        )
    key: list[Any] = []
    for k, (start, stop, step) in enumerate(zip(starts, stops, steps, strict=True)):
        bit = 1 << k
        if ellipsis_mask & bit:
            key.append(Ellipsis)
        elif new_axis_mask & bit:
            key.append(None)
        elif shrink_axis_mask & bit:
            key.append(start)
        else:
            key.append(builtins.slice(None if begin_mask & bit else start, None if end_mask & bit else stop, step))
    return index_tensor(input_, tuple(key)) if var is None else var[tuple(key)]


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """x where condition (bool), else y; all three broadcast. Without x and y: the positions of True (of what is not 0) as int64 rows,
    in order; how many there are is a run-time extent in a traced function."""
    condition = convert_to_tensor(condition)
    if x is None and not condition.dtype.is_bool:
        condition = ops.not_equal(condition, convert_to_tensor(0, condition.dtype))
    if (x is None) != (y is None):
        raise InvalidArgumentError("where: needs both x and y, or neither")
    if x is None:
        if not condition.is_symbolic:
            return convert_to_tensor(np.argwhere(condition.numpy()))
        places = _coordinates(condition)
        return ops.concat(*(ops.reshape(p, shape=(*p.dims, 1)) for p in places), axis=1)
    x, y = operands(x, y)
    return ops.select(condition, x, y)


def boolean_mask(tensor: Any, mask: Any, axis: Any = None, name: str = "boolean_mask") -> Tensor:
    """The slices of tensor where mask (bool, rank 1 or more, the extents of tensor's axes from `axis` on) is true; how
    many there are is a run-time extent where the mask is computed in a traced function."""
    tensor = convert_to_tensor(tensor)
    mask = mask if isinstance(mask, TensorLike) else np.asarray(mask)
    if mask.dtype != bool_:
        raise DTypeError(f"boolean_mask: the mask must be bool, got {mask.dtype}")
    start = normalize_axis("boolean_mask", axis, len(tensor.dims)) if axis is not None else 0
    return index_tensor(tensor, (*[builtins.slice(None)] * start, mask))
