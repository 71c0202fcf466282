"""gf.nn: convolutions. Names, argument order, defaults and edge meaning are TensorFlow's; `name` is accepted for its sake and not used.
Everything is composed of windows (ops/windows.py), matrix products and reductions, so gradients of any order follow.

Layouts: channels last (N...C, the default) or channels first (NC...). `strides` and `dilations`: one int for all spatial axes, one for
each of them, or one for each axis of the input with 1 for batch and channels. padding: "VALID" (none), "SAME" (so much that there are
ceil(extent / stride) results, the odd element after), or a (before, after) pair for each axis of the input.

The order of additions of an element: filter height, then width, then input channels, one fused multiply-add each.
"""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..errors import ShapeError
from ..ir.dims import Dim, product
from ..ops.reduction import reduce_in_steps
from ..tensor import Tensor, as_shape, convert_to_tensor
from .sliding import (
    Geometry,
    channels_back,
    channels_last,
    filter_sizes,
    float_operands,
    geometry_of,
    is_channels_first,
    require_rank,
    take_windows,
)

__all__ = [
    "atrous_conv2d", "atrous_conv2d_transpose", "conv1d", "conv1d_transpose", "conv2d", "conv2d_transpose", "conv3d",
    "conv3d_transpose", "conv_transpose", "convolution", "depthwise_conv2d", "separable_conv2d",
]  # fmt: skip


def _convolve(x: Any, filters: Any, geometry: Geometry) -> Any:
    """x[N, extents..., C] and filters[sizes..., C / groups, O] -> [N, counts..., O]."""
    name, spatial = geometry.name, len(geometry.strides)
    require_rank(name, "the input", x, spatial + 2)
    require_rank(name, "the filter", filters, spatial + 2)
    channels, inner, outer = x.dims[-1], filters.dims[-2], filters.dims[-1]
    if not all(isinstance(d, int) for d in (channels, inner, outer)):
        raise ShapeError(f"{name}: channels must be known, got {x.type} and {filters.type}")
    groups = channels // inner if inner else 0
    if inner * groups != channels or groups < 1 or outer % groups:
        raise ShapeError(
            f"{name}: the input's channels must be the filter's (or a multiple that divides its results), got {x.type} and "
            f"{filters.type} ({channels} and {inner})"
        )
    sizes = filter_sizes(name, filters, spatial)
    taken = take_windows(x, geometry, sizes)
    lead = taken.dims[: 1 + spatial]
    depth = math.prod(sizes) * inner
    if groups == 1:
        rows = ops.reshape(taken, shape=(product(lead), depth))
        result = ops.matmul(rows, ops.reshape(filters, shape=(depth, outer)))
        return ops.reshape(result, shape=(*lead, outer))
    count, each = product(lead), math.prod(sizes)
    rows = ops.reshape(taken, shape=(count, each, groups, inner))
    rows = ops.reshape(ops.transpose(rows, permutation=(2, 0, 1, 3)), shape=(groups, count, depth))
    kernel = ops.reshape(filters, shape=(each, inner, groups, outer // groups))
    kernel = ops.reshape(ops.transpose(kernel, permutation=(2, 0, 1, 3)), shape=(groups, depth, outer // groups))
    result = ops.transpose(ops.matmul(rows, kernel), permutation=(1, 0, 2))
    return ops.reshape(result, shape=(*lead, outer))


def _conv(
    name: str, spatial: int, x: Any, filters: Any, strides: Any, padding: Any, data_format: Any, dilations: Any
) -> Tensor:
    x, filters = float_operands(name, x, filters, integers=True)
    first = is_channels_first(name, data_format, spatial)
    geometry = geometry_of(name, strides, padding, dilations, spatial, first)
    extra = len(x.dims) - (spatial + 2)
    if extra <= 0:
        return channels_back(_convolve(channels_last(x, first), filters, geometry), first)
    # several batch axes, as TensorFlow allows
    lead = x.dims[: extra + 1]
    merged = ops.reshape(x, shape=(product(lead), *x.dims[extra + 1 :]))
    result: Any = channels_back(_convolve(channels_last(merged, first), filters, geometry), first)
    return ops.reshape(result, shape=(*lead, *result.dims[1:]))


def conv1d(
    input: Any,
    filters: Any,
    stride: Any,
    padding: Any,
    data_format: str = "NWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """The correlation of input[batch..., width, channels] with filters[width, channels, results]. Floats. Raises ShapeError where the
    channels do not fit or the filter is longer than the padded input."""
    return _conv("conv1d", 1, input, filters, stride, padding, data_format, dilations)


def conv2d(
    input: Any,
    filters: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """The correlation of input[batch..., height, width, channels] with filters[height, width, channels / groups, results]. Floats.
    Raises ShapeError where the channels do not fit or the filter is larger than the padded input."""
    return _conv("conv2d", 2, input, filters, strides, padding, data_format, dilations)


def conv3d(
    input: Any,
    filters: Any,
    strides: Any,
    padding: Any,
    data_format: str = "NDHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """The correlation of input[batch..., depth, height, width, channels] with filters[depth, height, width, channels, results]."""
    return _conv("conv3d", 3, input, filters, strides, padding, data_format, dilations)


def convolution(
    input: Any,
    filters: Any,
    strides: Any = None,
    padding: Any = "VALID",
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """conv1d, conv2d or conv3d, whichever the filter's rank asks for."""
    spatial = len(convert_to_tensor(filters).dims) - 2
    if spatial not in (1, 2, 3):
        raise ShapeError(f"convolution: filters must have rank 3, 4 or 5, got {convert_to_tensor(filters).type}")
    return _conv("convolution", spatial, input, filters, strides, padding, data_format, dilations)


def _transposed(
    name: str,
    spatial: int,
    x: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any,
    data_format: Any,
    dilations: Any,
) -> Tensor:
    """The gradient of a convolution in its input: filters[sizes..., O, C] and x[N, counts..., C] -> [N, extents..., O]."""
    x, filters = float_operands(name, x, filters, integers=True)
    first = is_channels_first(name, data_format, spatial)
    geometry = geometry_of(name, strides, padding, dilations, spatial, first)
    require_rank(name, "the input", x, spatial + 2)
    require_rank(name, "the filter", filters, spatial + 2)
    x = channels_last(x, first)
    sizes = filter_sizes(name, filters, spatial)
    outer, inner = filters.dims[-2], filters.dims[-1]
    if x.dims[-1] != inner:
        raise ShapeError(
            f"{name}: the input's channels must be the filter's last extent, got {x.type} and {filters.type} ({x.dims[-1]} and {inner})"
        )
    extents: list[Dim]
    if output_shape is None:
        extents = [
            count * stride
            if geometry.padding == "SAME"
            else count * stride + max((size - 1) * dilation + 1 - stride, 0)
            for count, stride, size, dilation in zip(
                x.dims[1:-1], geometry.strides, sizes, geometry.dilations, strict=True
            )
        ]
    else:
        wanted = as_shape(output_shape)
        if len(wanted) == spatial:
            extents = list(wanted)
        elif len(wanted) == spatial + 2:
            extents = list(wanted[2:] if first else wanted[1:-1])
            if wanted[1 if first else -1] != outer or (isinstance(x.dims[0], int) and wanted[0] not in (x.dims[0], -1)):
                raise ShapeError(
                    f"{name}: output_shape must keep the batch and have {outer} channels, got {list(wanted)}"
                )
        else:
            raise ShapeError(f"{name}: output_shape must have {spatial + 2} extents, got {list(wanted)}")
    pads = geometry.pads(extents, sizes)
    counts = geometry.counts(extents, sizes)
    if any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(counts, x.dims[1:-1], strict=True)):
        raise ShapeError(
            f"{name}: a convolution of output_shape {[*extents]} would give spatial extents {counts}, the input "
            f"{x.type} has {list(x.dims[1:-1])}"
        )
    lead = x.dims[:-1]
    depth = math.prod(sizes) * outer
    rows = ops.reshape(x, shape=(product(lead), inner))
    spread = ops.matmul(rows, ops.reshape(filters, shape=(depth, inner)), transpose_b=True)
    spread = ops.reshape(spread, shape=(*lead, *sizes, outer))
    whole = tuple(e + b + a for e, (b, a) in zip(extents, pads, strict=True))
    result = ops.fold_windows(
        spread,
        shape=(x.dims[0], *whole, outer),
        axis=1,
        sizes=sizes,
        strides=geometry.strides,
        dilations=geometry.dilations,
    )
    if any(p != (0, 0) for p in pads):
        rank = spatial + 2
        result = ops.strided_slice(
            result, begin=(0, *(b for b, _ in pads), 0), sizes=(x.dims[0], *extents, outer), strides=(1,) * rank
        )
    return channels_back(result, first)


def conv1d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str = "NWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """The transpose of conv1d: filters[width, results, channels]."""
    return _transposed("conv1d_transpose", 1, input, filters, output_shape, strides, padding, data_format, dilations)


def conv2d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str = "NHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """The transpose of conv2d (its gradient in the input): filters[height, width, results, channels]."""
    return _transposed("conv2d_transpose", 2, input, filters, output_shape, strides, padding, data_format, dilations)


def conv3d_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str = "NDHWC",
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """The transpose of conv3d: filters[depth, height, width, results, channels]."""
    return _transposed("conv3d_transpose", 3, input, filters, output_shape, strides, padding, data_format, dilations)


def conv_transpose(
    input: Any,
    filters: Any,
    output_shape: Any,
    strides: Any,
    padding: Any = "SAME",
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """conv1d_transpose, conv2d_transpose or conv3d_transpose, whichever the filter's rank asks for."""
    spatial = len(convert_to_tensor(filters).dims) - 2
    if spatial not in (1, 2, 3):
        raise ShapeError(f"conv_transpose: filters must have rank 3, 4 or 5, got {convert_to_tensor(filters).type}")
    return _transposed(
        "conv_transpose", spatial, input, filters, output_shape, strides, padding, data_format, dilations
    )


def atrous_conv2d(value: Any, filters: Any, rate: int, padding: Any, name: str | None = None) -> Tensor:
    """conv2d with `rate` as the dilation of both axes."""
    return _conv("atrous_conv2d", 2, value, filters, 1, padding, None, rate)


def atrous_conv2d_transpose(
    value: Any, filters: Any, output_shape: Any, rate: int, padding: Any, name: str | None = None
) -> Tensor:
    """conv2d_transpose with `rate` as the dilation of both axes."""
    return _transposed("atrous_conv2d_transpose", 2, value, filters, output_shape, 1, padding, None, rate)


def depthwise_conv2d(
    input: Any,
    filter: Any,
    strides: Any,
    padding: Any,
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """Each channel of input by its own filters: filter[height, width, channels, multiplier] gives channels * multiplier results."""
    x, kernel = float_operands("depthwise_conv2d", input, filter)
    first = is_channels_first("depthwise_conv2d", data_format, 2)
    geometry = geometry_of("depthwise_conv2d", strides, padding, dilations, 2, first)
    require_rank("depthwise_conv2d", "the input", x, 4)
    require_rank("depthwise_conv2d", "the filter", kernel, 4)
    x = channels_last(x, first)
    channels, multiplier = kernel.dims[2:]
    if x.dims[-1] != channels:
        raise ShapeError(
            f"depthwise_conv2d: the filter's third extent must be the input's channels, got {x.type} and {kernel.type} "
            f"({x.dims[-1]} and {channels})"
        )
    taken = take_windows(x, geometry, filter_sizes("depthwise_conv2d", kernel, 2))
    if multiplier == 1:
        products = ops.multiply(taken, ops.reshape(kernel, shape=kernel.dims[:3]))
        return channels_back(reduce_in_steps(ops.reduce_sum, products, (3, 4), keepdims=False), first)
    products = ops.multiply(ops.reshape(taken, shape=(*taken.dims, 1)), kernel)
    result = reduce_in_steps(ops.reduce_sum, products, (3, 4), keepdims=False)
    return channels_back(ops.reshape(result, shape=(*result.dims[:3], channels * multiplier)), first)


def separable_conv2d(
    input: Any,
    depthwise_filter: Any,
    pointwise_filter: Any,
    strides: Any,
    padding: Any,
    data_format: str | None = None,
    dilations: Any = None,
    name: str | None = None,
) -> Tensor:
    """depthwise_conv2d, then a 1x1 conv2d with pointwise_filter[1, 1, channels * multiplier, results]."""
    inner = depthwise_conv2d(input, depthwise_filter, strides, padding, data_format, dilations)
    kernel = convert_to_tensor(pointwise_filter)
    if len(kernel.dims) != 4 or kernel.dims[:2] != (1, 1):
        raise ShapeError(f"separable_conv2d: pointwise_filter must be [1, 1, channels, results], got {kernel.type}")
    return _conv("separable_conv2d", 2, inner, kernel, 1, "VALID", data_format, None)
