"""gf.nn: pooling over cells of unequal size (Graham 2015), and convolutions through batches of blocks. Names, argument order and defaults
are TensorFlow's; the random cells come from gf.random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..autodiff.tape import GradientTape
from ..dtypes import float64, int64
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..math import operands
from ..ops.rules import integer
from ..random.stateful import shuffle, uniform
from ..tensor import Tensor, as_shape, convert_to_tensor
from .convolution import depthwise_conv2d
from .rearranging import batch_to_space, required_space_to_batch_paddings, space_to_batch

__all__ = [
    "depthwise_conv2d_backprop_filter", "depthwise_conv2d_backprop_input", "fractional_avg_pool", "fractional_max_pool",
    "with_space_to_batch",
]  # fmt: skip


class FractionalAvgPool(NamedTuple):
    """The means, and where the cells of rows and columns begin (int64, the end last)."""

    output: Tensor
    row_pooling_sequence: Tensor
    col_pooling_sequence: Tensor


class FractionalMaxPool(NamedTuple):
    """The largest elements, and where the cells of rows and columns begin (int64, the end last)."""

    output: Tensor
    row_pooling_sequence: Tensor
    col_pooling_sequence: Tensor


def _ratios(name: str, ratio: Any) -> tuple[float, float]:
    values = [float(r) for r in ratio] if isinstance(ratio, (list, tuple, np.ndarray)) else [float(ratio)]
    if len(values) == 1:
        values = [1.0, values[0], values[0], 1.0]
    elif len(values) == 2:
        values = [1.0, *values, 1.0]
    if len(values) != 4 or values[0] != 1 or values[3] != 1 or min(values) < 1:
        raise InvalidArgumentError(
            f"{name}: pooling_ratio must be a number of at least 1, two of them, or four with 1 for batch and channels, got {ratio!r}"
        )
    return values[1], values[2]


def _cells(name: str, extent: Any, ratio: float, pseudo_random: bool, seed: Any) -> tuple[Any, int, int]:
    """Where the cells of an axis begin and the last one ends (int64), how many there are, and the largest size of one."""
    if not isinstance(extent, int):
        raise ShapeError(f"{name}: the image's extents must be known, got {extent}")
    count = int(extent / ratio)
    if count < 1:
        raise ShapeError(f"{name}: pooling_ratio must not be above the extent, got {ratio} and {extent}")
    small = extent // count
    if small * count == extent:
        return convert_to_tensor(np.arange(count + 1, dtype=np.int64) * small), count, small
    if pseudo_random:
        # the i-th cell begins at ceil(a (i + u)) - ceil(a u), u uniform and so small that the last cell ends in the image
        true_ratio = extent / count
        limit = (extent + 1) / true_ratio - (count - 1)
        limit = min(max(limit - 1, 0.0), 1.0)
        start = ops.multiply(uniform((), 0.0, 1.0, float64, seed), limit)
        places = ops.add(convert_to_tensor(np.arange(count, dtype=np.float64)), start)
        begins = ops.subtract(ops.floor(ops.multiply(places, true_ratio)), ops.floor(ops.multiply(start, true_ratio)))
        inner = ops.cast(begins, dtype=int64)
        ends = convert_to_tensor(np.array([extent], np.int64))
        return ops.concat(inner, ends, axis=0), count, small + 2
    sizes = np.full(count, small, np.int64)
    sizes[: extent - small * count] += 1
    mixed: Any = shuffle(convert_to_tensor(sizes), seed)
    sums = ops.cumulative(mixed, axis=0, kind="sum")
    return ops.pad(sums, paddings=((1, 0),), mode="constant", constant=0), count, small + 1


def _along(x: Any, axis: int, begins: Any, count: int, most: int, overlapping: bool, kind: str) -> Any:
    """The maximum or the sum of each cell of an axis, added in order."""
    extent = x.dims[axis]
    first = ops.strided_slice(begins, begin=(0,), sizes=(count,), strides=(1,))
    last = ops.strided_slice(begins, begin=(1,), sizes=(count,), strides=(1,))
    if overlapping:
        last, most = ops.minimum(ops.add(last, 1), extent), most + 1
    place = ops.add(ops.reshape(first, shape=(count, 1)), ops.iota(shape=(1, most), axis=1, dtype=int64))
    inside = ops.less(place, ops.reshape(last, shape=(count, 1)))
    taken = ops.gather(x, ops.minimum(place, extent - 1), axis=axis, batch_dims=0)
    spread = ops.reshape(inside, shape=(*(1,) * axis, count, most, *(1,) * (len(x.dims) - axis - 1)))
    nothing = 0 if kind == "sum" else float("-inf") if x.dtype.is_floating else x.dtype.min
    held = ops.select(spread, taken, convert_to_tensor(nothing, x.dtype))
    if kind == "sum":
        return ops.reduce_sum(held, axes=(axis + 1,), keepdims=False)
    return ops.window_max(held, axes=(axis + 1,), keepdims=False)


def _pool(
    name: str, kind: str, value: Any, ratio: Any, pseudo_random: bool, overlapping: bool, seed: Any
) -> tuple[Any, Any, Any]:
    (x,) = operands(value)
    if len(x.dims) != 4:
        raise ShapeError(f"{name}: the input must have rank 4, got {x.type}")
    if x.dtype.is_bool or kind == "sum" and not x.dtype.is_floating:
        raise DTypeError(f"{name}: needs {'floats' if kind == 'sum' else 'numbers'}, got {x.type}; use gf.cast")
    high, wide = _ratios(name, ratio)
    seed = integer(name, "seed", seed) or None
    rows, row_count, row_most = _cells(name, x.dims[1], high, pseudo_random, seed)
    columns, column_count, column_most = _cells(
        name, x.dims[2], wide, pseudo_random, None if seed is None else seed + 1
    )

    def both(t: Any) -> Any:
        inner = _along(t, 1, rows, row_count, row_most, overlapping, kind)
        return _along(inner, 2, columns, column_count, column_most, overlapping, kind)

    result = both(x)
    if kind == "sum":
        one = ops.broadcast_to(convert_to_tensor(1, x.dtype), shape=(1, x.dims[1], x.dims[2], 1))
        result = ops.divide(result, both(one))
    return result, rows, columns


def fractional_max_pool(
    value: Any,
    pooling_ratio: Any,
    pseudo_random: bool = False,
    overlapping: bool = False,
    seed: int = 0,
    name: str | None = None,
) -> FractionalMaxPool:
    """The largest element of each cell of value[batch, height, width, channels]; the extents shrink by pooling_ratio (at least 1), cells
    differ in size by at most one and lie at random. overlapping: cells share their border. seed: 0 draws anew each time."""
    return FractionalMaxPool(
        *_pool("fractional_max_pool", "max", value, pooling_ratio, pseudo_random, overlapping, seed)
    )


def fractional_avg_pool(
    value: Any,
    pooling_ratio: Any,
    pseudo_random: bool = False,
    overlapping: bool = False,
    seed: int = 0,
    name: str | None = None,
) -> FractionalAvgPool:
    """The mean of each cell of value; arguments as fractional_max_pool. Floats."""
    return FractionalAvgPool(
        *_pool("fractional_avg_pool", "sum", value, pooling_ratio, pseudo_random, overlapping, seed)
    )


# Convolutions through blocks ------------------------------------------------------------------------------------------
def with_space_to_batch(
    input: Any,
    dilation_rate: Any,
    padding: str,
    op: Callable[..., Any],
    filter_shape: Any = None,
    spatial_dims: Any = None,
    data_format: str | None = None,
) -> Tensor:
    """op(input, number of spatial axes, padding) on the blocks that dilation_rate cuts input into, put together again: op dilated.

    padding: "VALID", or "SAME", which needs filter_shape. op is called with "VALID" on the blocks.
    """
    x = convert_to_tensor(input)
    rates = [int(r) for r in as_shape(dilation_rate)]  # type: ignore[arg-type]
    kind = padding.upper()
    if kind not in ("SAME", "VALID"):
        raise InvalidArgumentError(f"with_space_to_batch: padding must be 'SAME' or 'VALID', got {padding!r}")
    first = data_format is not None and data_format.startswith("NC")
    places = list(spatial_dims) if spatial_dims is not None else [k + (2 if first else 1) for k in range(len(rates))]
    if len(places) != len(rates) or sorted(places) != list(places) or min(places, default=1) < 1:
        raise InvalidArgumentError(
            f"with_space_to_batch: spatial_dims must name an axis for each rate, in order and after the batch, got {places} and {rates}"
        )
    if all(rate == 1 for rate in rates):
        return op(x, len(rates), padding)
    base = np.zeros((len(rates), 2), np.int64)
    if kind == "SAME":
        if filter_shape is None:
            raise InvalidArgumentError("with_space_to_batch: padding 'SAME' needs filter_shape")
        sizes = [int(s) for s in as_shape(filter_shape)][: len(rates)]  # type: ignore[arg-type]
        for k, (size, rate) in enumerate(zip(sizes, rates, strict=True)):
            total = (size - 1) * rate
            base[k] = total // 2, total - total // 2
    last = max(places)
    blocks, around = [1] * last, np.zeros((last, 2), np.int64)
    for k, place in enumerate(places):
        blocks[place - 1], around[place - 1] = rates[k], base[k]
    extents = [d if isinstance(d, int) else d.__index__() for d in x.shape[1 : last + 1]]
    paddings, crops = required_space_to_batch_paddings(extents, blocks, around)
    inner = op(space_to_batch(x, blocks, paddings), len(rates), "VALID")
    return batch_to_space(inner, blocks, crops)


def depthwise_conv2d_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
) -> Tensor:
    """The gradient of depthwise_conv2d in an input of shape input_sizes, given the gradient of its result."""
    kernel, incoming = operands(filter, out_backprop)
    start = ops.broadcast_to(convert_to_tensor(0, kernel.dtype), shape=as_shape(input_sizes))
    with GradientTape() as tape:
        tape.watch(start)
        result = depthwise_conv2d(start, kernel, strides, padding, data_format, _spatial(dilations, data_format))
    return tape.gradient(result, start, output_gradients=incoming)


def depthwise_conv2d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = (1, 1, 1, 1),
    name: str | None = None,
) -> Tensor:
    """The gradient of depthwise_conv2d in a filter of shape filter_sizes, given the gradient of its result."""
    x, incoming = operands(input, out_backprop)
    start = ops.broadcast_to(convert_to_tensor(0, x.dtype), shape=as_shape(filter_sizes))
    with GradientTape() as tape:
        tape.watch(start)
        result = depthwise_conv2d(x, start, strides, padding, data_format, _spatial(dilations, data_format))
    return tape.gradient(result, start, output_gradients=incoming)


def _spatial(dilations: Any, data_format: str) -> Any:
    values = list(dilations) if isinstance(dilations, (list, tuple)) else dilations
    if isinstance(values, list) and len(values) == 4:
        return values[2:] if data_format.startswith("NC") else values[1:3]
    return values
