"""gf.image.resize. Names, argument order and defaults are TensorFlow's; `name` is accepted for its sake and not used.

Every method is separable: each result row is a weighted sum of a few input rows, then the same for columns. Which rows and with what
weights follows from the extents alone, so it is worked out once, while tracing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import ops
from .arguments import guard
from .dtypes import float32
from .errors import DTypeError, InvalidArgumentError, ShapeError
from .functions.runtime_extent import as_extents
from .tensor import Tensor, convert_to_tensor

__all__ = ["ResizeMethod", "resize"]

Array = np.ndarray[Any, Any]
Taps = tuple[Array, Array]
"""positions [results, taps] and weights [results, taps]"""


class ResizeMethod:
    """The methods of resize."""

    AREA = "area"
    BICUBIC = "bicubic"
    BILINEAR = "bilinear"
    GAUSSIAN = "gaussian"
    LANCZOS3 = "lanczos3"
    LANCZOS5 = "lanczos5"
    MITCHELLCUBIC = "mitchellcubic"
    NEAREST_NEIGHBOR = "nearest"


# Kernels: half their width, and their value at a distance -----------------------------------------------------------
def _triangle(x: Array) -> Array:
    return np.maximum(1 - np.abs(x), 0)


def _cubic(b: float, c: float) -> Callable[[Array], Array]:
    """The cubics of Mitchell and Netravali (1988); (0, 1/2) is that of Keys (1981)."""

    def kernel(x: Array) -> Array:
        a = np.abs(x)
        near = ((12 - 9 * b - 6 * c) * a + (-18 + 12 * b + 6 * c)) * a * a + (6 - 2 * b)
        far = (((-b - 6 * c) * a + (6 * b + 30 * c)) * a + (-12 * b - 48 * c)) * a + (8 * b + 24 * c)
        return np.where(a < 1, near, np.where(a < 2, far, 0)) / 6

    return kernel


def _lanczos(radius: float) -> Callable[[Array], Array]:
    def kernel(x: Array) -> Array:
        return np.where(np.abs(x) < radius, np.sinc(x) * np.sinc(x / radius), 0)

    return kernel


def _gaussian(x: Array) -> Array:
    sigma = 0.5
    return np.where(np.abs(x) < 1.5, np.exp(-x * x / (2 * sigma * sigma)), 0)


_KERNELS: dict[str, tuple[float, Callable[[Array], Array]]] = {
    "bilinear": (1.0, _triangle), "bicubic": (2.0, _cubic(0.0, 0.5)), "mitchellcubic": (2.0, _cubic(1 / 3, 1 / 3)),
    "lanczos3": (3.0, _lanczos(3.0)), "lanczos5": (5.0, _lanczos(5.0)), "gaussian": (1.5, _gaussian),
}  # fmt: skip


def _scaled(extent: int, count: int, kernel: str, antialias: bool) -> Taps:
    """Weights of a kernel around each result's place; where the image shrinks, antialias makes the kernel wider. Weights outside the image
    are left out and the others scaled to the sum 1."""
    radius, function = _KERNELS[kernel]
    # in float32, as TensorFlow does: whether a tap at the kernel's very border counts hangs on the rounding
    one = np.float32(1)
    scale = one / (np.float32(count) / np.float32(extent))
    width = np.maximum(scale, one) if antialias else one
    centre = (np.arange(count, dtype=np.float32) + np.float32(0.5)) * scale
    first = np.ceil(centre - np.float32(radius) * width - np.float32(0.5)).astype(np.int64)
    last = np.floor(centre + np.float32(radius) * width - np.float32(0.5)).astype(np.int64)
    first, last = np.clip(first, 0, extent - 1), np.clip(last, 0, extent - 1)
    taps = int((last - first).max()) + 1
    places = first[:, None] + np.arange(taps)
    distance = (places.astype(np.float32) + np.float32(0.5) - centre[:, None]) * (one / width)
    weights = np.where(places <= last[:, None], function(distance.astype(np.float64)), 0)
    total = weights.sum(axis=1, keepdims=True)
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=np.abs(total) > 1e-30)
    return np.minimum(places, extent - 1), weights


def _linear(extent: int, count: int) -> Taps:
    """The two neighbours of each result's place, the border repeated. The places are computed in float32, as TensorFlow does."""
    scale = np.float32(extent) / np.float32(count)
    place = (np.arange(count, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    below = np.floor(place)
    first = np.maximum(below.astype(np.int64), 0)
    second = np.minimum(below.astype(np.int64) + 1, extent - 1)
    part = place - below
    return np.stack([first, second], axis=1), np.stack([1 - part, part], axis=1)


def _keys(extent: int, count: int) -> Taps:
    """Four neighbours with the cubic of Keys. As in TensorFlow the distance is one of 1024 steps, and weights outside the image go to the
    others."""
    scale = np.float32(extent) / np.float32(count)
    place = (np.arange(count, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    below = np.floor(place)
    part = np.rint((place - below).astype(np.float64) * 1024) / 1024
    places = below.astype(np.int64)[:, None] + np.arange(-1, 3)
    distance = part[:, None] - np.arange(-1, 3)
    inside = (places >= 0) & (places < extent)
    weights = np.where(inside, _cubic(0.0, 0.5)(distance), 0)
    return np.clip(places, 0, extent - 1), weights / weights.sum(axis=1, keepdims=True)


def _area(extent: int, count: int) -> Taps:
    """How much of each input element each result covers."""
    scale = extent / count
    begin, end = np.arange(count) * scale, (np.arange(count) + 1) * scale
    first = np.floor(begin).astype(np.int64)
    taps = int((np.ceil(end).astype(np.int64) - first).max())
    places = first[:, None] + np.arange(taps)
    weights = np.minimum(places + 1, end[:, None]) - np.maximum(places, begin[:, None])
    return np.minimum(places, extent - 1), np.maximum(weights, 0) / scale


def _taps(extent: int, count: int, method: str, antialias: bool) -> Taps:
    if method == "area":
        return _area(extent, count)
    if not antialias and method in ("bilinear", "bicubic"):
        return _linear(extent, count) if method == "bilinear" else _keys(extent, count)
    return _scaled(extent, count, method, antialias)


def _along(x: Any, axis: int, taps: Taps) -> Any:
    """The weighted sums of x's slices along an axis, added in order."""
    places, weights = taps
    taken = ops.gather(x, convert_to_tensor(places), axis=axis, batch_dims=0)
    spread = weights.astype(np.float32).reshape(*weights.shape, *(1,) * (len(x.dims) - axis - 1))
    return ops.reduce_sum(ops.multiply(taken, convert_to_tensor(spread)), axes=(axis + 1,), keepdims=False)


def resize(
    images: Any,
    size: Any,
    method: str = ResizeMethod.BILINEAR,
    preserve_aspect_ratio: bool = False,
    antialias: bool = False,
    name: str | None = None,
) -> Tensor:
    """images[batch, height, width, channels] (or one image without the batch axis) with size = (height, width). The result is float32, but
    of the same dtype for method "nearest" and where the size stays.

    method: "bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian" or "mitchellcubic". preserve_aspect_ratio: the
    largest size with the image's proportions that fits into `size`. antialias: average over wider neighbourhoods where the image shrinks
    (not with "nearest" and "area"). The image's extents decide the weights: symbolic ones make the function trace for the exact shape.
    Raises ShapeError, InvalidArgumentError.
    """
    x: Any = convert_to_tensor(images)
    if not (x.dtype.is_floating or x.dtype.is_integer):
        raise DTypeError(f"resize: needs numbers, got {x.type}; use gf.cast")
    if len(x.dims) not in (3, 4):
        raise ShapeError(f"resize: images must have rank 3 or 4, got {x.type}")
    if method not in (*_KERNELS, "area", "nearest"):
        raise InvalidArgumentError(f"resize: method must be one of gf.image.ResizeMethod, got {method!r}")
    single = len(x.dims) == 3
    batched = ops.reshape(x, shape=(1, *x.dims)) if single else x
    wanted = as_extents(size)
    if len(wanted) != 2 or not all(isinstance(d, int) and d > 0 for d in wanted):
        raise InvalidArgumentError(
            f"resize: size must be two positive numbers that are known while tracing, got {wanted}"
        )
    shape = batched.shape[1:3]
    rows, columns = (d if isinstance(d, int) else d.__index__() for d in shape)
    if min(rows, columns) < 1:
        raise ShapeError(f"resize: an image must not be empty, got {x.type}")
    height, width = (int(d) for d in wanted)  # type: ignore[arg-type]
    if preserve_aspect_ratio:
        factor = min(np.float32(height) / np.float32(rows), np.float32(width) / np.float32(columns))
        height, width = (max(int(np.rint(factor * np.float32(d))), 1) for d in (rows, columns))
    if (height, width) == (rows, columns):
        return x
    if method == "nearest":
        result = batched
        for axis, extent, count in ((1, rows, height), (2, columns, width)):
            scale = np.float32(extent) / np.float32(count)
            places = np.floor((np.arange(count, dtype=np.float32) + np.float32(0.5)) * scale).astype(np.int64)
            places = np.minimum(places, extent - 1)
            result = ops.gather(result, convert_to_tensor(places), axis=axis, batch_dims=0)
    else:
        result = batched if batched.dtype is float32 else ops.cast(batched, dtype=float32)
        result = _along(result, 1, _taps(rows, height, method, antialias))
        result = _along(result, 2, _taps(columns, width, method, antialias))
    return ops.reshape(result, shape=result.dims[1:]) if single else result


guard("gf.image", globals(), __all__)
