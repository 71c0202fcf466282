"""`tensor[...]`: ints, slices, ellipsis, newaxis, tensors, lists and masks, with NumPy's meaning."""
from __future__ import annotations

from typing import Any

import numpy as np

from .errors import IndexOutOfRangeError, InvalidArgumentError, ShapeError, UnimplementedError
from .ir.dims import Dim, dim_max, dim_min
from .ops import gather, reshape, strided_slice
from .tensor import Tensor, TensorLike, as_dim, convert_to_tensor, located

__all__ = ["index_tensor"]


def index_tensor(x: Any, key: Any) -> Tensor:
    """x[key]. Slices clamp; an int out of range raises IndexOutOfRangeError; a list or tensor of ints gathers; a bool mask selects
    (eager only: its result's shape depends on values)."""
    x = convert_to_tensor(x)
    keys = key if isinstance(key, tuple) else (key,)
    mask = next((k for k in keys if _is_mask(k)), None)
    if mask is not None:
        return _masked(x, keys, mask)
    keys = _expand_ellipsis(x, keys)
    begin: list[Dim] = []
    sizes: list[Dim] = []
    strides: list[int] = []
    result: list[Dim] = []
    gathers: list[tuple[int, Any]] = []
    axis = 0
    for k in keys:
        if k is None:
            result.append(1)
            continue
        extent = x.dims[axis]
        if isinstance(k, slice):
            first, size, step = _slice(k, extent)
            begin.append(first)
            sizes.append(size)
            strides.append(step)
            result.append(size)
        elif isinstance(k, (list, np.ndarray)) or isinstance(k, TensorLike) and (k.ndim > 0 or _is_symbolic(k)):  # type: ignore[attr-defined]
            gathers.append((len(result), convert_to_tensor(k)))
            begin.append(0)
            sizes.append(extent)
            strides.append(1)
            result.append(extent)
        else:
            begin.append(_position(k, extent, axis, x))
            sizes.append(1)
            strides.append(1)
        axis += 1
    whole = all(b == 0 and s == d and t == 1 for b, s, t, d in zip(begin, sizes, strides, x.dims, strict=True))
    out = x if whole else strided_slice(x, begin=tuple(begin), sizes=tuple(sizes), strides=tuple(strides))
    if tuple(result) != tuple(out.dims):
        out = reshape(out, shape=tuple(result))
    if len(gathers) > 1:
        raise located(UnimplementedError("indexing with more than one tensor: use gf.gather_nd"))
    for position, indices in gathers:
        out = _gather(out, indices, position)
    return out


def _is_symbolic(value: Any) -> bool:
    return hasattr(value, "_value")


def _is_mask(k: Any) -> bool:
    if isinstance(k, TensorLike):
        return k.dtype.is_bool
    return isinstance(k, np.ndarray) and k.dtype == bool or isinstance(k, list) and bool(k) and all(isinstance(v, bool) for v in k)


def _masked(x: Tensor, keys: tuple[Any, ...], mask: Any) -> Tensor:
    if len(keys) != 1 or _is_symbolic(x) or _is_symbolic(mask):
        raise located(UnimplementedError("a mask selects a number of elements that is not known while tracing; use gf.where"))
    chosen = np.asarray(mask)
    if x._array.shape[: chosen.ndim] != chosen.shape:
        raise located(ShapeError(f"mask of shape {list(chosen.shape)} does not fit {x.type}"))
    flat = reshape(x, shape=(chosen.size, *x._array.shape[chosen.ndim :]))
    return gather(flat, convert_to_tensor(np.flatnonzero(chosen)), axis=0)  # type: ignore[no-any-return]


def _gather(x: Tensor, indices: Any, axis: int) -> Tensor:
    """Rows by a list or tensor; negative positions count from the end, as in NumPy."""
    from .ops import add, less, select
    from .tracing.tracer import dimension_tensor

    if not indices.dtype.is_integer:
        raise located(InvalidArgumentError(f"an index tensor must be of integers, got {indices.type}"))
    extent = dimension_tensor(x.dims[axis], indices.dtype)
    moved = select(less(indices, convert_to_tensor(0, indices.dtype)), add(indices, extent), indices)
    return gather(x, moved, axis=axis)  # type: ignore[no-any-return]


def _expand_ellipsis(x: Tensor, keys: tuple[Any, ...]) -> tuple[Any, ...]:
    dots = [n for n, k in enumerate(keys) if k is Ellipsis]
    if len(dots) > 1:
        raise located(InvalidArgumentError("an index has one ellipsis at most"))
    count = sum(k is not None and k is not Ellipsis for k in keys)
    if count > x.ndim:
        raise located(IndexOutOfRangeError(f"{count} indices for a tensor of rank {x.ndim}: {x.type}"))
    fill = (slice(None),) * (x.ndim - count)
    return (*keys[: dots[0]], *fill, *keys[dots[0] + 1 :]) if dots else (*keys, *fill)


def _position(k: Any, extent: Dim, axis: int, x: Tensor) -> Dim:
    if isinstance(k, (bool, float, str)):
        raise located(InvalidArgumentError(f"index {k!r} is not an int, slice, tensor, ... or None"))
    position = as_dim(k)
    if isinstance(position, int) and isinstance(extent, int) and not -extent <= position < extent:
        raise located(IndexOutOfRangeError(f"index {position} is out of range for axis {axis} of {x.type} (extent {extent})"))
    return extent + position if isinstance(position, int) and position < 0 else position


def _slice(k: slice, extent: Dim) -> tuple[Dim, Dim, int]:
    """(first position, count, step) of a slice along an axis; ends are clamped."""
    step = 1 if k.step is None else as_dim(k.step)
    if not isinstance(step, int):
        raise located(InvalidArgumentError("a slice's step must be a number"))
    if step == 0:
        raise located(InvalidArgumentError("a slice's step cannot be 0"))
    known = all(v is None or isinstance(as_dim(v), int) for v in (k.start, k.stop))
    if isinstance(extent, int) and known:
        numbers = (None if v is None else int(as_dim(v)) for v in (k.start, k.stop))  # type: ignore[arg-type]
        span = range(extent)[slice(*numbers, step)]
        return (span.start if len(span) else 0), len(span), step

    def clamp(value: Any, default: Dim, low: Dim, high: Dim) -> Dim:
        if value is None:
            return default
        dim = as_dim(value)
        if isinstance(dim, int) and dim < 0:
            dim = extent + dim
        return dim_min(dim_max(dim, low), high)

    if step > 0:
        first = clamp(k.start, 0, 0, extent)
        last = clamp(k.stop, extent, 0, extent)
        return first, dim_max((last - first + (step - 1)) // step, 0), step
    first = clamp(k.start, extent - 1, -1, extent - 1)
    last = clamp(k.stop, -1, -1, extent - 1)
    return first, dim_max((first - last + (-step - 1)) // -step, 0), step


