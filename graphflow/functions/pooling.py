"""gf.nn: pooling and morphology. Names, argument order, defaults and edge meaning are TensorFlow's. Layouts, strides and
paddings are those of convolution.py."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .. import ops
from ..dtypes import int32, int64
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..math import operands
from ..ops.reduction import reduce_in_steps
from ..tensor import Tensor, convert_to_tensor
from .custom_gradients import custom_gradient
from .sliding import (
    Geometry,
    channels_back,
    channels_last,
    filter_sizes,
    float_operands,
    geometry_of,
    is_channels_first,
    per_axis,
    require_rank,
    take_windows,
    window_places,
)

__all__ = [
    "avg_pool", "avg_pool1d", "avg_pool2d", "avg_pool3d", "dilation2d", "erosion2d", "max_pool", "max_pool1d", "max_pool2d", "max_pool3d",
    "max_pool_with_argmax", "pool",
]  # fmt: skip


SMALL_WINDOW = 16
"""Elements of a window up to which it is written out, place by place: no array of windows, and one loop for all of it."""


def _pool(
    name: str,
    spatial: int,
    x: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any,
    kind: str,
    dilations: Any = None,
) -> Tensor:
    (x,) = operands(x)
    if kind == "AVG" and not x.dtype.is_floating or x.dtype.is_bool:
        raise DTypeError(f"{name}: needs {'floats' if kind == 'AVG' else 'numbers'}, got {x.type}; use gf.cast")
    require_rank(name, "the input", x, spatial + 2)
    first = is_channels_first(name, data_format, spatial)
    sizes = per_axis(name, "ksize", ksize, spatial, first)
    geometry = geometry_of(name, strides, padding, dilations, spatial, first, explicit=kind == "MAX")
    x = channels_last(x, first)
    axes = tuple(range(1 + spatial, 1 + 2 * spatial))
    small = math.prod(sizes) <= SMALL_WINDOW
    if kind == "MAX":
        lowest = float("-inf") if x.dtype.is_floating else x.dtype.min
        if small and _is_tiled(x, geometry, sizes):
            return channels_back(_largest_of_tiles(x, geometry, sizes), first)
        if small:
            return channels_back(functools.reduce(ops.maximum, window_places(x, geometry, sizes, lowest)), first)
        return channels_back(
            reduce_in_steps(ops.window_max, take_windows(x, geometry, sizes, lowest), axes, keepdims=False), first
        )

    def sums(array: Any) -> Any:
        if small:
            return functools.reduce(ops.add, window_places(array, geometry, sizes))
        return reduce_in_steps(ops.reduce_sum, take_windows(array, geometry, sizes), axes, keepdims=False)

    total = sums(x)
    if all(p == (0, 0) for p in geometry.pads(x.dims[1:-1], sizes)):
        return channels_back(ops.divide(total, float(math.prod(sizes))), first)
    # padding does not count: divide by how many elements each window has
    one = ops.broadcast_to(convert_to_tensor(1, x.dtype), shape=(1, *x.dims[1:-1], 1))
    return channels_back(ops.divide(total, sums(one)), first)


def _is_tiled(x: Any, geometry: Geometry, sizes: tuple[int, ...]) -> bool:
    """Do windows of several elements cover x[N, extents..., C] without meeting each other?"""
    return (
        x.dtype.is_floating
        and math.prod(sizes) > 1
        and geometry.strides == sizes
        and geometry.dilations == (1,) * len(sizes)
        and all(
            isinstance(extent, int) and extent % size == 0 for extent, size in zip(x.dims[1:-1], sizes, strict=True)
        )
    )


def _largest_of_tiles(x: Any, geometry: Geometry, sizes: tuple[int, ...]) -> Any:
    """The largest element of each tile. Its gradient is one pass: each element of x compares its place in the tile with the place of the
    first largest one. The gradient of the slices, which unknown extents take, adds up one array for each place: the same bits, also of
    -0.0, which becomes 0.0 beside the zeros of the other places."""

    @custom_gradient
    def largest_of_tiles(x: Any) -> Any:
        places = window_places(x, geometry, sizes)

        def gradient(dy: Any) -> Any:
            best, place = places[0], ops.constant(value=np.zeros((), np.int32))
            for number, other in enumerate(places[1:], 1):
                stays = ops.greater_equal(best, other)  # as the gradient of `maximum` has it
                best = ops.maximum(best, other)
                place = ops.select(stays, place, ops.constant(value=np.int32(number)))
            tiled, single = [x.dims[0]], [x.dims[0]]
            for extent, size in zip(x.dims[1:-1], sizes, strict=True):
                tiled += [extent // size, size]
                single += [extent // size, 1]
            inside = [d for size in sizes for d in (1, size)]
            own = np.arange(math.prod(sizes), dtype=np.int32).reshape(1, *inside, 1)
            zero = ops.constant(value=np.zeros((), dy.dtype.numpy))
            place, dy = (ops.reshape(t, shape=(*single, x.dims[-1])) for t in (place, ops.add(dy, zero)))
            spread = ops.select(ops.equal(place, ops.constant(value=own)), dy, zero)
            return ops.reshape(spread, shape=x.dims)

        return functools.reduce(ops.maximum, places), gradient

    return largest_of_tiles(x)


def max_pool(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = None, name: str | None = None
) -> Tensor:
    """The largest element of each window of input (rank 3, 4 or 5). NaN wins. The gradient goes to the first of equal elements."""
    spatial = _pool_rank("max_pool", input)
    return _pool("max_pool", spatial, input, ksize, strides, padding, data_format, "MAX")


def _pool_rank(name: str, input: Any) -> int:
    spatial = len(convert_to_tensor(input).dims) - 2
    if spatial not in (1, 2, 3):
        raise ShapeError(f"{name}: the input must have rank 3, 4 or 5, got {convert_to_tensor(input).type}")
    return spatial


def avg_pool(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = None, name: str | None = None
) -> Tensor:
    """The mean of each window of input (rank 3, 4 or 5); padding does not count. Floats."""
    return _pool("avg_pool", _pool_rank("avg_pool", input), input, ksize, strides, padding, data_format, "AVG")


def max_pool1d(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NWC", name: str | None = None
) -> Tensor:
    """The largest element of each window of input, which has 1 spatial axis; see max_pool."""
    return _pool("max_pool1d", 1, input, ksize, strides, padding, data_format, "MAX")


def max_pool2d(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NHWC", name: str | None = None
) -> Tensor:
    """The largest element of each window of input, which has 2 spatial axes; see max_pool."""
    return _pool("max_pool2d", 2, input, ksize, strides, padding, data_format, "MAX")


def max_pool3d(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NDHWC", name: str | None = None
) -> Tensor:
    """The largest element of each window of input, which has 3 spatial axes; see max_pool."""
    return _pool("max_pool3d", 3, input, ksize, strides, padding, data_format, "MAX")


def avg_pool1d(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NWC", name: str | None = None
) -> Tensor:
    """The mean of each window of input, which has 1 spatial axis; see avg_pool."""
    return _pool("avg_pool1d", 1, input, ksize, strides, padding, data_format, "AVG")


def avg_pool2d(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NHWC", name: str | None = None
) -> Tensor:
    """The mean of each window of input, which has 2 spatial axes; see avg_pool."""
    return _pool("avg_pool2d", 2, input, ksize, strides, padding, data_format, "AVG")


def avg_pool3d(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NDHWC", name: str | None = None
) -> Tensor:
    """The mean of each window of input, which has 3 spatial axes; see avg_pool."""
    return _pool("avg_pool3d", 3, input, ksize, strides, padding, data_format, "AVG")


def pool(
    input: Any,
    window_shape: Any,
    pooling_type: str,
    strides: Any = None,
    padding: Any = "VALID",
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """max_pool or avg_pool (pooling_type "MAX" or "AVG") with dilations. strides must be 1 where dilations are not."""
    if pooling_type not in ("MAX", "AVG"):
        raise InvalidArgumentError(f"pool: pooling_type must be 'MAX' or 'AVG', got {pooling_type!r}")
    spatial = _pool_rank("pool", input)
    return _pool("pool", spatial, input, window_shape, strides, padding, data_format, pooling_type, dilations)


def max_pool_with_argmax(
    input: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    output_dtype: Any = int64,
    include_batch_in_index: bool = False,
    name: str | None = None,
) -> tuple[Tensor, Tensor]:
    """(max_pool2d, the flat position (y * width + x) * channels + c of each maximum in its image), the first one on a tie."""
    (x,) = operands(input)
    require_rank("max_pool_with_argmax", "the input", x, 4)
    if data_format != "NHWC":
        raise InvalidArgumentError(f"max_pool_with_argmax: data_format must be 'NHWC', got {data_format!r}")
    if output_dtype not in (int32, int64):
        raise DTypeError(f"max_pool_with_argmax: output_dtype must be int32 or int64, got {output_dtype}")
    sizes = per_axis("max_pool_with_argmax", "ksize", ksize, 2, False)
    geometry = geometry_of("max_pool_with_argmax", strides, padding, None, 2, False, explicit=False)
    values = _pool("max_pool_with_argmax", 2, x, ksize, strides, padding, data_format, "MAX")
    batch, height, width, channels = x.dims
    if not all(isinstance(d, int) for d in (height, width, channels)):
        raise ShapeError(f"max_pool_with_argmax: the image's extents must be known, got {x.type}")
    size = height * width * channels
    numbers = np.arange(size, dtype=np.int64).reshape(1, height, width, channels)
    lowest = float("-inf") if x.dtype.is_floating else x.dtype.min
    taken, places = (
        take_windows(x, geometry, sizes, lowest),
        take_windows(convert_to_tensor(numbers), geometry, sizes, size),
    )
    largest = ops.reshape(values, shape=(*values.dims[:3], 1, 1, channels))
    hit = ops.logical_or(ops.equal(taken, largest), ops.not_equal(taken, taken))
    chosen = ops.select(hit, ops.broadcast_to(places, shape=taken.dims), convert_to_tensor(size, int64))
    flat: Any = reduce_in_steps(ops.reduce_min, chosen, (3, 4), keepdims=False)
    if include_batch_in_index:
        images = ops.iota(shape=(batch, 1, 1, 1), axis=0, dtype=int64)
        flat = ops.add(flat, ops.multiply(images, size))
    return values, flat if output_dtype is int64 else ops.cast(flat, dtype=int32)


# Morphology ---------------------------------------------------------------------------------------------------------
def dilation2d(
    input: Any, filters: Any, strides: Any, padding: Any, data_format: str, dilations: Any, name: str | None = None
) -> Tensor:
    """Grey-scale dilation: the largest of input + filters over each window, channel by channel. filters[height, width, channels]."""
    x, kernel = float_operands("dilation2d", input, filters, integers=True)
    if x.dtype.is_integer and x.dtype is not int64:  # in which sums with what stands outside the image cannot wrap
        wide = dilation2d(
            ops.cast(x, dtype=int64), ops.cast(kernel, dtype=int64), strides, padding, data_format, dilations
        )
        return ops.cast(wide, dtype=x.dtype)
    if data_format != "NHWC":
        raise InvalidArgumentError(f"dilation2d: data_format must be 'NHWC', got {data_format!r}")
    require_rank("dilation2d", "the input", x, 4)
    require_rank("dilation2d", "the filter", kernel, 3)
    if kernel.dims[-1] != x.dims[-1]:
        raise ShapeError(f"dilation2d: filter and input must have the same channels, got {x.type} and {kernel.type}")
    geometry = geometry_of("dilation2d", strides, padding, dilations, 2, False, explicit=False)
    outside = float("-inf") if x.dtype.is_floating else -(2**62)
    taken = take_windows(x, geometry, filter_sizes("dilation2d", kernel, 2), outside)
    return reduce_in_steps(ops.window_max, ops.add(taken, kernel), (3, 4), keepdims=False)


def erosion2d(
    value: Any, filters: Any, strides: Any, padding: Any, data_format: str, dilations: Any, name: str | None = None
) -> Tensor:
    """Grey-scale erosion: the smallest of value - (filters turned round) over each window; minus the dilation of -value."""
    x, kernel = float_operands("erosion2d", value, filters, integers=True)
    if x.dtype.is_integer and x.dtype is not int64:
        wide = erosion2d(
            ops.cast(x, dtype=int64), ops.cast(kernel, dtype=int64), strides, padding, data_format, dilations
        )
        return ops.cast(wide, dtype=x.dtype)
    require_rank("erosion2d", "the filter", kernel, 3)
    turned = ops.reverse(kernel, axes=(0, 1))
    return ops.negative(dilation2d(ops.negative(x), turned, strides, padding, data_format, dilations))
