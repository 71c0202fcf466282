"""Making and reshaping tensors: the top-level functions of gf. Names, argument order and defaults are TensorFlow's;
`name` and `layout` are accepted for its sake and not used. Indexing is in indexing.py, clipping in clipping.py;
both are re-exported here.

Shapes may hold ints, extents taken from x.shape, and small integer tensors made of them (gf.shape(x)); a shape that
depends on other tensor values is not known while tracing (TracedBoolError).
"""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from .. import ops
from ..dtypes import DType, as_dtype, bfloat16, float16, float32, float64, int32, int64
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import Dim, SymbolicDim, dim_max, product, require_equal
from ..linalg import eye, norm
from ..math import cast, operands
from ..ops.rules import normalize_axis
from ..tensor import Tensor, TensorLike, as_dim, as_shape, convert_to_tensor
from .clipping import clip_by_global_norm, clip_by_norm, clip_by_value, global_norm
from .indexing import (
    boolean_mask,
    elements_of,
    gather,
    gather_nd,
    index_tensor,
    part_of_axis,
    slice,
    strided_slice,
    where,
)
from .reductions import axes_of
from .runtime_extent import as_extent, as_extents, extent_tensor, is_computed, numbers_below

__all__ = [
    "boolean_mask", "broadcast_to", "cast", "clip_by_global_norm", "clip_by_norm", "clip_by_value", "concat",
    "expand_dims", "eye", "fill", "gather", "gather_nd", "global_norm", "identity", "index_tensor", "linspace",
    "meshgrid", "norm", "one_hot", "ones", "ones_like", "pad", "range", "rank", "repeat", "reshape", "reverse", "roll",
    "shape", "size", "slice", "split", "squeeze", "stack", "stop_gradient", "strided_slice", "tile", "transpose",
    "unstack", "where", "zeros", "zeros_like",
]  # fmt: skip


# Making -------------------------------------------------------------------------------------------------------------
def _scalar(value: Any, dtype: DType) -> Any:
    return convert_to_tensor(np.asarray(value, dtype.numpy))


def _filled(shape: tuple[Dim, ...], value: Any) -> Any:
    return ops.broadcast_to(value, shape=shape) if shape else value


def zeros(shape: Any, dtype: Any = float32, name: str | None = None, layout: Any = None) -> Tensor:
    """A tensor of zeros (False for bool, "" for string)."""
    wanted = as_dtype(dtype)
    return _filled(as_extents(shape), _scalar(wanted.zero, wanted))


def ones(shape: Any, dtype: Any = float32, name: str | None = None, layout: Any = None) -> Tensor:
    """A tensor of ones (True for bool)."""
    return _filled(as_extents(shape), _scalar(1, as_dtype(dtype)))


def fill(dims: Any, value: Any, name: str | None = None, layout: Any = None) -> Tensor:
    """A tensor of shape dims with the scalar value everywhere, in value's dtype. Raises ShapeError if value is not a
    scalar."""
    value = convert_to_tensor(value)
    if value.dims:
        raise ShapeError(f"fill: the value must be a scalar, got {value.type}")
    return _filled(as_extents(dims), value)


def zeros_like(input: Any, dtype: Any = None, name: str | None = None, layout: Any = None) -> Tensor:
    """Zeros of input's shape, and dtype unless one is given."""
    x = convert_to_tensor(input)
    wanted = x.dtype if dtype is None else as_dtype(dtype)
    return _filled(x.dims, _scalar(wanted.zero, wanted))


def ones_like(input: Any, dtype: Any = None, name: str | None = None, layout: Any = None) -> Tensor:
    """Ones of input's shape, and dtype unless one is given."""
    x = convert_to_tensor(input)
    return _filled(x.dims, _scalar(1, x.dtype if dtype is None else as_dtype(dtype)))


def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: Any = None,
    dtype: Any = None,
    name: str | None = None,
) -> Tensor:
    """A new axis of `depth` elements (the last unless given): on_value (1) at the index, off_value (0) elsewhere; an
    index outside [0, depth) gives off_value only. dtype: of the values given, else float32."""
    indices = convert_to_tensor(indices)
    values = [v for v in (on_value, off_value) if v is not None]
    values.sort(key=lambda v: not isinstance(v, TensorLike))  # a tensor decides the dtype before a number does
    wanted: DType = float32 if not values else convert_to_tensor(values[0]).dtype
    if dtype is not None:
        wanted = as_dtype(dtype)
    on = convert_to_tensor(on_value if on_value is not None else np.ones((), wanted.numpy), wanted)
    off = convert_to_tensor(off_value if off_value is not None else np.zeros((), wanted.numpy), wanted)
    rank = len(indices.dims) + 1
    where_ = normalize_axis("one_hot", -1 if axis is None else axis, rank)
    return ops.one_hot(indices, on, off, depth=as_extent(depth), axis=where_)


_RANGE_ORDER = (int32, int64, float16, bfloat16, float32, float64)


def range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Tensor:
    """start, start + delta, ... up to limit, which is not reached. range(n) starts at 0. dtype: the widest of the
    arguments' (int32, int64, floats; float16 and bfloat16 are counted in float32 and rounded once). The length is a
    run-time extent where a bound is computed in a traced function."""
    if limit is None:
        start, limit = 0, start
    bounds = (start, limit, delta)
    if dtype is None:
        found = [v.dtype if isinstance(v, TensorLike) else convert_to_tensor(v).dtype for v in bounds]
        unknown = [d for d in found if d not in _RANGE_ORDER]
        if unknown:
            raise DTypeError(f"range: needs int32, int64 or floats, got {unknown[0].name}; pass dtype=")
        wanted = max(found, key=_RANGE_ORDER.index)
    else:
        wanted = as_dtype(dtype)
    if wanted.is_narrow:
        first, last, step = (cast(v, float32) if isinstance(v, TensorLike) and v.dtype.is_narrow else v for v in bounds)
        return cast(range(first, last, step, float32), wanted)
    if any(_is_computed(v) for v in bounds):
        known = [cast(v, wanted) if isinstance(v, TensorLike) else convert_to_tensor(v, wanted) for v in bounds]
        return _computed_range(known[0], known[1], known[2], wanted)
    first, last, step = (_bound(v) for v in bounds)
    if step == 0:
        raise InvalidArgumentError("range: delta must not be 0")
    count: Any
    if any(isinstance(v, SymbolicDim) for v in (first, last, step)):
        if isinstance(step, (SymbolicDim, float)) or step < 0:
            raise InvalidArgumentError(f"range: with symbolic bounds, delta must be a positive int, got {step}")
        count = dim_max((last - first + (step - 1)) // step, 0)
    elif wanted.is_floating:
        count = max(math.ceil((last - first) / step), 0)
    else:
        count = len(builtins.range(int(first), int(last), int(step)))
    line = ops.iota(shape=(count,), axis=0, dtype=wanted)
    if step != 1:
        line = ops.multiply(line, _number(step, wanted))
    return line if isinstance(first, (int, float)) and first == 0 else ops.add(line, _number(first, wanted))


def _is_computed(value: Any) -> bool:
    """Is a bound a tensor whose value only the run knows?"""
    return isinstance(value, Tensor) and value.is_symbolic and value._constant_dims() is None


def _computed_range(start: Any, limit: Any, delta: Any, dtype: DType) -> Any:
    """The range between tensors of one dtype; its length is a run-time extent."""
    gap = ops.subtract(limit, start)
    if dtype.is_floating:
        count = ops.cast(ops.ceil(ops.divide(gap, delta)), dtype=int64)
    else:
        count = ops.cast(ops.negative(ops.floordiv(ops.negative(gap), delta)), dtype=int64)
    places = ops.cast(numbers_below(ops.maximum(count, convert_to_tensor(0, int64))), dtype=dtype)
    return ops.add(start, ops.multiply(places, delta))


def _bound(value: Any) -> Any:
    """A bound of range as a number or a symbolic dim."""
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, TensorLike) and not value.dtype.is_integer:
        return float(convert_to_tensor(value))  # while tracing: an error that says so
    return as_dim(value)


def _number(value: Any, dtype: DType) -> Any:
    if isinstance(value, SymbolicDim):
        from ..tracing.tracer import dimension_tensor

        return dimension_tensor(value, dtype)
    return _scalar(value, dtype)


def linspace(start: Any, stop: Any, num: Any, name: str | None = None, axis: int = 0) -> Tensor:
    """num evenly spaced values from start to stop, both included, along a new axis. start and stop: floats of one
    shape. Raises InvalidArgumentError unless num is at least 1."""
    start, stop = operands(start, stop)
    if start.dtype.is_narrow and stop.dtype is start.dtype:  # the positions are no narrow numbers
        return cast(linspace(cast(start, float32), cast(stop, float32), num, name, axis), start.dtype)
    count = as_dim(num)
    if isinstance(count, SymbolicDim) or count < 1:
        raise InvalidArgumentError(f"linspace: num must be a number of at least 1, got {count}")
    place = normalize_axis("linspace", axis, len(start.dims) + 1)
    start, stop = (ops.reshape(v, shape=(*v.dims[:place], 1, *v.dims[place:])) for v in (start, stop))
    extents = (*start.dims[:place], count, *start.dims[place + 1 :])
    if count == 1:
        return start
    position = ops.iota(shape=extents, axis=place, dtype=float64 if start.dtype.is_complex else start.dtype)
    position = cast(position, start.dtype)
    step = ops.divide(ops.subtract(stop, start), float(count - 1))
    line = ops.add(start, ops.multiply(step, position))
    return ops.select(ops.equal(position, float(count - 1)), stop, line)  # the end exactly, whatever the rounding


def meshgrid(*args: Any, indexing: str = "xy", name: str | None = None) -> list[Tensor]:
    """One tensor for each 1-D argument, of the shape of their grid. indexing "xy": the first two axes are swapped,
    as in NumPy."""
    if indexing not in ("xy", "ij"):
        raise InvalidArgumentError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")
    lines = [ops.reshape(v, shape=(product(v.dims),)) for v in map(convert_to_tensor, args)]
    order = list(builtins.range(len(lines)))
    if indexing == "xy" and len(lines) > 1:
        order[0], order[1] = 1, 0
    extents = tuple(lines[k].dims[0] for k in order)
    found = []
    for k, line in enumerate(lines):
        own = tuple(line.dims[0] if order[a] == k else 1 for a in builtins.range(len(lines)))
        found.append(ops.broadcast_to(ops.reshape(line, shape=own), shape=extents))
    return found


# Shapes -------------------------------------------------------------------------------------------------------------
def shape(input: Any, out_type: Any = None, name: str | None = None) -> Tensor:
    """The shape as an integer vector (int32 unless given)."""
    x, wanted = convert_to_tensor(input), int32 if out_type is None else as_dtype(out_type)
    if all(isinstance(d, int) for d in x.dims):
        return convert_to_tensor(np.asarray(x.dims, wanted.numpy))
    parts = [_scalar(d, wanted) if isinstance(d, int) else _extent(x, a, wanted) for a, d in enumerate(x.dims)]
    return stack(parts)


def _extent(x: Any, axis: int, dtype: DType) -> Any:
    found = ops.dimension(x, axis=axis)
    return found if dtype is int32 else ops.cast(found, dtype=dtype)


def size(input: Any, out_type: Any = None, name: str | None = None) -> Tensor:
    """The number of elements as an integer scalar (int32 unless given)."""
    x, wanted = convert_to_tensor(input), int32 if out_type is None else as_dtype(out_type)
    count: Any = product(x.dims)
    if isinstance(count, int):
        return _scalar(count, wanted)
    total: Any = None
    for axis, extent in enumerate(x.dims):
        factor = _scalar(extent, wanted) if isinstance(extent, int) else _extent(x, axis, wanted)
        total = factor if total is None else ops.multiply(total, factor)
    return total


def rank(input: Any, name: str | None = None) -> Tensor:
    """The number of axes as an int32 scalar."""
    return _scalar(len(convert_to_tensor(input).dims), int32)


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Tensor:
    """The elements in row-major order under another shape; one extent may be -1 and takes what is left. Raises
    ShapeError."""
    from ..tracing.tracer import is_run_time
    from .python_call import ensure_shape

    x: Any = convert_to_tensor(tensor)
    wanted = list(as_extents(shape))
    holes = [a for a, d in enumerate(wanted) if isinstance(d, int) and d == -1]
    if len(holes) > 1:
        raise ShapeError(f"reshape: only one extent may be -1, got {wanted}")
    if holes:
        known = product(d for a, d in enumerate(wanted) if a != holes[0])
        if known == 0:
            raise ShapeError(f"reshape: -1 is ambiguous beside an extent of 0, got {x.type} and {wanted}")
        wanted[holes[0]] = product(x.dims) // (dim_max(known, 1) if is_run_time(known) else known)
    count = product(wanted)
    if not isinstance(count - product(x.dims), int) and is_run_time(count):
        # only the run can compare the numbers of elements
        x = ensure_shape(ops.reshape(x, shape=(product(x.dims),)), [count])
    return ops.reshape(x, shape=tuple(wanted))


def identity(input: Any, name: str | None = None) -> Tensor:
    """A tensor equal to input."""
    return ops.identity(input)


def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """A tensor equal to input through which no gradient flows."""
    return ops.stop_gradient(input)


def expand_dims(input: Any, axis: Any, name: str | None = None) -> Tensor:
    """input with a new axis of extent 1 at `axis` of the result."""
    x = convert_to_tensor(input)
    place = normalize_axis("expand_dims", int(as_dim(axis)), len(x.dims) + 1)  # type: ignore[arg-type]
    return ops.reshape(x, shape=(*x.dims[:place], 1, *x.dims[place:]))


def squeeze(input: Any, axis: Any = None, name: str | None = None) -> Tensor:
    """input without axes of extent 1: all of them, or those named. Raises ShapeError if a named one is longer."""
    x = convert_to_tensor(input)
    if axis is None or isinstance(axis, (list, tuple)) and not axis:
        for extent in x.shape:
            if not isinstance(extent, int):
                extent.__index__()  # whether it is 1 decides the result's rank: trace for the exact shape
        axes = tuple(a for a, d in enumerate(x.dims) if d == 1)
    else:
        axes = axes_of("squeeze", axis, len(x.dims))
        for a in axes:
            if isinstance(x.dims[a], int) and x.dims[a] != 1:
                raise ShapeError(f"squeeze: axis {a} of {x.type} has extent {x.dims[a]}, not 1")
    return ops.reshape(x, shape=tuple(d for a, d in enumerate(x.dims) if a not in axes))


def transpose(a: Any, perm: Any = None, conjugate: bool = False, name: str = "transpose") -> Tensor:
    """Axis k of the result is axis perm[k] of a; without perm the axes are turned round. conjugate: of complex elements."""
    x = convert_to_tensor(a)
    if conjugate and x.dtype.is_complex:
        x = ops.conj(x)
    rank_ = len(x.dims)
    if perm is None:
        order = tuple(reversed(builtins.range(rank_)))
    else:
        order = tuple(normalize_axis("transpose", p, rank_) for p in as_shape(perm))
    return x if order == tuple(builtins.range(rank_)) else ops.transpose(x, permutation=order)


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """input repeated along axes of extent 1 and new leading axes. Raises ShapeError where the shapes do not fit."""
    x, wanted = convert_to_tensor(input), as_extents(shape)
    return x if tuple(x.dims) == wanted else ops.broadcast_to(x, shape=wanted)


def tile(input: Any, multiples: Any, name: str | None = None) -> Tensor:
    """input repeated multiples[k] times along each axis k."""
    x, times = convert_to_tensor(input), as_extents(multiples)
    if len(times) != len(x.dims):
        raise ShapeError(f"tile: needs a multiple for each axis of {x.type}, got {times}")
    if all(isinstance(t, int) and t == 1 for t in times):
        return x
    apart = ops.reshape(x, shape=tuple(d for extent in x.dims for d in (1, extent)))
    spread = ops.broadcast_to(
        apart, shape=tuple(d for t, extent in zip(times, x.dims, strict=True) for d in (t, extent))
    )
    return ops.reshape(spread, shape=tuple(t * extent for t, extent in zip(times, x.dims, strict=True)))


def repeat(input: Any, repeats: Any, axis: Any = None, name: str | None = None) -> Tensor:
    """Each element repeated along axis (flattened first if None): `repeats` times, or repeats[k] times for element
    k. How many results there are is a run-time extent where the counts are computed in a traced function."""
    x = convert_to_tensor(input)
    if axis is None:
        x, axis = ops.reshape(x, shape=(product(x.dims),)), 0
    place = normalize_axis("repeat", axis, len(x.dims))
    before, extent, after = x.dims[:place], x.dims[place], x.dims[place + 1 :]
    if isinstance(repeats, TensorLike):
        repeats = convert_to_tensor(repeats)
        if not repeats.dtype.is_integer or len(repeats.dims) > 1:
            raise DTypeError(f"repeat: the counts must be an integer scalar or vector, got {repeats.type}")
        if _is_computed(repeats) and repeats.dims not in ((), (1,)):
            if not require_equal(extent, repeats.dims[0]):
                raise ShapeError(f"repeat: needs one count for each of {extent} elements, got {repeats.type}")
            ends = ops.cumulative(ops.cast(repeats, dtype=int64), axis=0, kind="sum")
            total = ops.reduce_sum(ops.cast(repeats, dtype=int64), axes=(0,), keepdims=False)
            source = ops.search_sorted(ends, numbers_below(total), side="right", output_type=int64)
            return ops.gather(x, source, axis=place, batch_dims=0)
        repeats = ops.reshape(repeats, shape=(1,)) if not repeats.dims else repeats
    counts = as_extents(repeats)
    if len(counts) == 1:
        spread = ops.broadcast_to(
            ops.reshape(x, shape=(*before, extent, 1, *after)), shape=(*before, extent, counts[0], *after)
        )
        return ops.reshape(spread, shape=(*before, extent * counts[0], *after))
    if not require_equal(extent, len(counts)):
        raise ShapeError(
            f"repeat: needs one count for each of {extent} elements on axis {place} of {x.type}, got {len(counts)}"
        )
    places = np.repeat(np.arange(len(counts)), [int(c) for c in counts])  # type: ignore[arg-type]
    return ops.gather(x, convert_to_tensor(places), axis=place, batch_dims=0)


# Joining and taking apart -------------------------------------------------------------------------------------------
def concat(values: Any, axis: Any, name: str = "concat") -> Tensor:
    """The tensors one after another along axis. Raises ShapeError unless the other extents agree, DTypeError for
    mixed dtypes."""
    if hasattr(values, "__graphflow_list__"):
        return values.concat(axis)
    if not isinstance(values, (list, tuple)):
        values = [values]
    parts = operands(*values)
    if not parts:
        raise InvalidArgumentError("concat: needs at least one tensor")
    place = normalize_axis("concat", int(as_dim(axis)), len(parts[0].dims))  # type: ignore[arg-type]
    return parts[0] if len(parts) == 1 else ops.concat(*parts, axis=place)


def stack(values: Any, axis: int = 0, name: str = "stack") -> Tensor:
    """The tensors, all of one shape, along a new axis."""
    if hasattr(values, "__graphflow_list__"):
        return values.stack(axis)
    parts = operands(*(list(values) if not isinstance(values, TensorLike) else unstack(values)))
    if not parts:
        raise InvalidArgumentError("stack: needs at least one tensor")
    first = parts[0]
    for part in parts[1:]:
        if len(part.dims) != len(first.dims):
            raise ShapeError(f"stack: shapes must be equal, got {first.type} and {part.type}")
    place = normalize_axis("stack", axis, len(first.dims) + 1)
    apart = [ops.reshape(p, shape=(*p.dims[:place], 1, *p.dims[place:])) for p in parts]
    return apart[0] if len(apart) == 1 else ops.concat(*apart, axis=place)


def _part(x: Any, axis: int, begin: Dim, length: Dim) -> Any:
    return part_of_axis("split", x, axis, begin, length)


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> list[Tensor]:
    """The slices along axis, without it. The extent must be known: a symbolic one makes the function trace for the
    exact shape."""
    x = convert_to_tensor(value)
    place = normalize_axis("unstack", axis, len(x.dims))
    count = x.shape[place]
    count = count if isinstance(count, int) else count.__index__()
    if num is not None and num != count:
        raise ShapeError(f"unstack: num is {num}, but axis {place} of {x.type} has extent {count}")
    rest = (*x.dims[:place], *x.dims[place + 1 :])
    return [ops.reshape(_part(x, place, k, 1), shape=rest) for k in builtins.range(count)]


def split(
    value: Any, num_or_size_splits: Any, axis: Any = 0, num: int | None = None, name: str = "split"
) -> list[Tensor]:
    """The tensor cut along axis: into that many equal parts, or into parts of these sizes (one may be -1). Raises
    ShapeError."""
    x = convert_to_tensor(value)
    place = normalize_axis("split", int(as_dim(axis)), len(x.dims))  # type: ignore[arg-type]
    extent = x.dims[place]
    is_count = isinstance(num_or_size_splits, (int, np.integer)) or (
        isinstance(num_or_size_splits, TensorLike) and not num_or_size_splits.dims  # type: ignore[attr-defined]
    )
    if is_count:
        count = int(num_or_size_splits)
        if isinstance(extent, SymbolicDim) and not isinstance(extent // count * count - extent, int):
            extent = x.shape[place].__index__()  # whether it divides decides: trace for the exact shape
        if count < 1 or extent // count * count != extent:
            raise ShapeError(
                f"split: axis {place} of {x.type} (extent {extent}) does not divide into {count} equal parts"
            )
        sizes: list[Dim] = [extent // count] * count
    else:
        sizes = list(as_shape(num_or_size_splits))
        holes = [k for k, s in enumerate(sizes) if isinstance(s, int) and s == -1]
        rest: Dim = 0
        for k, s in enumerate(sizes):
            rest = rest if k in holes else rest + s
        if len(holes) == 1:
            sizes[holes[0]] = extent - rest
        elif holes or isinstance(rest, int) and isinstance(extent, int) and rest != extent:
            raise ShapeError(f"split: sizes {sizes} do not add up to extent {extent} of axis {place} of {x.type}")
    found, begin = [], 0
    for length in sizes:
        found.append(_part(x, place, begin, length))
        begin = begin + length  # type: ignore[assignment]
    return found


def pad(
    tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0, name: str | None = None
) -> Tensor:
    """The tensor with paddings[k] = (before, after) elements added to each axis k. mode: CONSTANT (constant_values),
    REFLECT (mirrored without the border element) or SYMMETRIC (with it)."""
    x = convert_to_tensor(tensor)
    if isinstance(paddings, Tensor) and paddings.is_symbolic:
        flat = elements_of(ops.reshape(paddings, shape=(2 * len(x.dims),)))
        table: Any = list(zip(flat[::2], flat[1::2], strict=True))
    else:
        table = np.asarray(paddings).tolist() if isinstance(paddings, (TensorLike, np.ndarray)) else paddings
    pairs = tuple((as_extent(before), as_extent(after)) for before, after in table)
    kind = mode.lower() if isinstance(mode, str) else mode
    if kind == "constant" and isinstance(constant_values, TensorLike):
        constant_values = np.asarray(convert_to_tensor(constant_values, x.dtype)).item()
    if isinstance(constant_values, int) and constant_values == 0 or kind != "constant":
        constant_values = x.dtype.zero
    value = convert_to_tensor(constant_values, None if x.dtype.is_bool else x.dtype)
    return ops.pad(x, paddings=pairs, mode=kind, constant=np.asarray(value).item() if kind == "constant" else 0)


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Tensor:
    """The tensor with the order of elements along axis (an int or several) turned round."""
    x = convert_to_tensor(tensor)
    return ops.reverse(x, axes=axes_of("reverse", axis if axis is not None else (), len(x.dims)))


def roll(input: Any, shift: Any, axis: Any, name: str | None = None) -> Tensor:
    """The elements moved by shift along axis, those that leave at one end entering at the other. shift and axis:
    ints or several of each; shifts of one axis add up."""
    x = convert_to_tensor(input)
    shifts, axes = elements_of(shift), as_shape(axis)
    if len(shifts) != len(axes):
        raise ShapeError(f"roll: needs a shift for each axis, got {shifts} and {axes}")
    for by, axis_ in zip(shifts, axes, strict=True):
        place = normalize_axis("roll", axis_, len(x.dims))
        extent = x.dims[place]
        if is_computed(by) or not isinstance(extent, int):
            way = ops.cast(by, dtype=int64) if is_computed(by) else extent_tensor(as_dim(by))
            here = ops.subtract(ops.iota(shape=(extent,), axis=0, dtype=int64), way)
            size = ops.maximum(extent_tensor(extent), convert_to_tensor(1, int64))
            x = ops.gather(x, ops.floormod(here, size), axis=place, batch_dims=0)
            continue
        moved = int(as_dim(by)) % extent if extent else 0  # type: ignore[arg-type]
        if moved:
            x = ops.concat(_part(x, place, extent - moved, moved), _part(x, place, 0, extent - moved), axis=place)
    return x
