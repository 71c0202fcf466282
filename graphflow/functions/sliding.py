"""What convolutions and pooling share: layouts, strides, paddings, and taking the windows of an input."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import ops
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import Dim, dim_max
from ..math import operands
from ..ops.rules import integer
from ..ops.windows import window_count
from ..tensor import as_shape

__all__ = ["Geometry", "channels_back", "channels_last", "filter_sizes", "float_operands", "geometry_of", "is_channels_first", "per_axis",
           "require_rank", "take_windows", "window_places"]  # fmt: skip


@dataclass(frozen=True)
class Geometry:
    """What a sliding window does along the spatial axes of an input with the channels last."""

    name: str
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    padding: Any  # "SAME", "VALID", or a (before, after) pair for each spatial axis

    def pads(self, extents: Sequence[Dim], sizes: Sequence[int]) -> list[tuple[Dim, Dim]]:
        """(before, after) of each spatial axis."""
        if self.padding == "VALID":
            return [(0, 0)] * len(extents)
        if self.padding != "SAME":
            return list(self.padding)
        found: list[tuple[Dim, Dim]] = []
        for extent, size, stride, dilation in zip(extents, sizes, self.strides, self.dilations, strict=True):
            count = -(-extent // stride) if isinstance(extent, int) else (extent + (stride - 1)) // stride
            total = (count - 1) * stride + (size - 1) * dilation + 1 - extent
            total = dim_max(total, 0)
            before = total // 2
            found.append((before, total - before))
        return found

    def counts(self, extents: Sequence[Dim], sizes: Sequence[int]) -> list[Dim]:
        """Extents of the result's spatial axes."""
        padded = [e + b + a for e, (b, a) in zip(extents, self.pads(extents, sizes), strict=True)]
        return [window_count(*own) for own in zip(padded, sizes, self.strides, self.dilations, strict=True)]


def per_axis(name: str, what: str, value: Any, spatial: int, channels_first: bool) -> tuple[int, ...]:
    """strides, dilations or a window's size as one int for each spatial axis."""
    values: tuple[int, ...]
    values = tuple(int(v) for v in as_shape(value))  # type: ignore[arg-type]
    if len(values) == 1:
        values = values * spatial
    elif len(values) == spatial + 2:
        outer = (values[0], values[1] if channels_first else values[-1])
        if outer != (1, 1):
            raise InvalidArgumentError(f"{name}: {what} must be 1 along batch and channels, got {list(values)}")
        values = values[2:] if channels_first else values[1:-1]
    elif len(values) != spatial:
        raise InvalidArgumentError(
            f"{name}: {what} must be one int, {spatial} or {spatial + 2} ints, got {list(values)} ({len(values)})"
        )
    if any(v < 1 for v in values):
        raise InvalidArgumentError(f"{name}: {what} must be at least 1, got {list(values)}")
    return tuple(int(v) for v in values)


def checked_padding(name: str, padding: Any, spatial: int, channels_first: bool, explicit: bool = True) -> Any:
    if isinstance(padding, str):
        if padding.upper() in ("SAME", "VALID"):
            return padding.upper()
        raise InvalidArgumentError(f"{name}: padding must be 'SAME', 'VALID' or pairs, got {padding!r}")
    pairs = [tuple(integer(name, "padding", v) for v in pair) for pair in padding]
    if not explicit or len(pairs) != spatial + 2 or any(len(p) != 2 or min(p) < 0 for p in pairs):
        raise InvalidArgumentError(
            f"{name}: padding must be 'SAME', 'VALID'"
            + (f" or a (before, after) pair for each of the {spatial + 2} axes" if explicit else "")
            + f", got {padding!r}"
        )
    outer = (pairs[0], pairs[1] if channels_first else pairs[-1])
    if outer != ((0, 0), (0, 0)):
        raise InvalidArgumentError(f"{name}: batch and channels cannot be padded, got {padding!r}")
    return tuple(pairs[2:] if channels_first else pairs[1:-1])


def is_channels_first(name: str, data_format: str | None, spatial: int) -> bool:
    """Does data_format put the channels before the spatial axes? Raises InvalidArgumentError for an unknown one."""
    letters = {1: "W", 2: "HW", 3: "DHW"}[spatial]
    if data_format is None or data_format in (f"N{letters}C", "N...C"):
        return False
    if data_format in (f"NC{letters}", "NC..."):
        return True
    raise InvalidArgumentError(f"{name}: data_format must be 'N{letters}C' or 'NC{letters}', got {data_format!r}")


def channels_last(x: Any, first: bool) -> Any:
    """x with its channels as the last axis."""
    if not first:
        return x
    rank = len(x.dims)
    return ops.transpose(x, permutation=(0, *range(2, rank), 1))


def channels_back(x: Any, first: bool) -> Any:
    """x (channels last) in the layout that the caller works in."""
    if not first:
        return x
    rank = len(x.dims)
    return ops.transpose(x, permutation=(0, rank - 1, *range(1, rank - 1)))


def float_operands(name: str, *values: Any, integers: bool = False) -> list[Any]:
    """The values as tensors of one float (with `integers`, float or integer) dtype. Raises DTypeError."""
    found = operands(*values)
    for value in found:
        if not (value.dtype.is_floating or integers and value.dtype.is_integer):
            raise DTypeError(f"{name}: needs floats{' or integers' if integers else ''}, got {value.type}; use gf.cast")
    return list(found)


def require_rank(name: str, what: str, x: Any, rank: int) -> None:
    """Raises ShapeError unless x has the rank."""
    if len(x.dims) != rank:
        raise ShapeError(f"{name}: {what} must have rank {rank}, got {x.type}")


def filter_sizes(name: str, filters: Any, spatial: int) -> tuple[int, ...]:
    """The filter's extents along the spatial axes. Raises ShapeError where one is not known."""
    sizes = filters.dims[:spatial]
    if not all(isinstance(s, int) and s > 0 for s in sizes):
        raise ShapeError(f"{name}: the filter's spatial extents must be known and positive, got {filters.type}")
    return tuple(sizes)


def padded(x: Any, pads: Sequence[tuple[Dim, Dim]], value: float = 0) -> Any:
    """x with its spatial axes (from 1 on) padded."""
    if all(p == (0, 0) for p in pads):
        return x
    return ops.pad(x, paddings=((0, 0), *pads, (0, 0)), mode="constant", constant=value)


def window_places(x: Any, geometry: Geometry, sizes: tuple[int, ...], value: float = 0) -> list[Any]:
    """For each place in the window, in order, what all windows hold there: [N, counts..., C] of x[N, extents..., C]. Views, so that
    a loop over the windows reads x where it lies."""
    spread = _padded_for(x, geometry, sizes, value)
    counts = tuple(
        window_count(*own) for own in zip(spread.dims[1:-1], sizes, geometry.strides, geometry.dilations, strict=True)
    )
    return [
        ops.strided_slice(
            spread,
            begin=(0, *(k * dilation for k, dilation in zip(place, geometry.dilations, strict=True)), 0),
            sizes=(x.dims[0], *counts, x.dims[-1]),
            strides=(1, *geometry.strides, 1),
        )
        for place in itertools.product(*map(range, sizes))
    ]


def take_windows(x: Any, geometry: Geometry, sizes: tuple[int, ...], value: float = 0) -> Any:
    """[N, counts..., sizes..., C] of x[N, extents..., C]."""
    spatial = len(sizes)
    spread = _padded_for(x, geometry, sizes, value)
    if all(size == 1 for size in sizes) and all(stride == 1 for stride in geometry.strides):
        return ops.reshape(spread, shape=(*spread.dims[:-1], *(1,) * spatial, spread.dims[-1]))
    return ops.windows(spread, axis=1, sizes=sizes, strides=geometry.strides, dilations=geometry.dilations)


def _padded_for(x: Any, geometry: Geometry, sizes: tuple[int, ...], value: float) -> Any:
    """x with the padding of its windows. Raises ShapeError where a window does not fit."""
    spread = padded(x, geometry.pads(x.dims[1:-1], sizes), value)
    for k, (size, dilation) in enumerate(zip(sizes, geometry.dilations, strict=True)):
        reach, extent = (size - 1) * dilation + 1, spread.dims[1 + k]
        if isinstance(extent, int) and extent < reach and x.dims[1 + k] != 0:
            error = ShapeError(
                f"{geometry.name}: the window must fit into the input, got {reach} elements on spatial axis {k} of {x.type} ({extent} with "
                f"padding {geometry.padding!r})"
            )
            error.hint = "use padding='SAME', a smaller window, or a larger input"
            raise error
    return spread


def geometry_of(
    name: str, strides: Any, padding: Any, dilations: Any, spatial: int, first: bool, explicit: bool = True
) -> Geometry:
    """The geometry of strides, padding and dilations as the caller gave them. explicit: may padding be pairs?"""
    steps = per_axis(name, "strides", 1 if strides is None else strides, spatial, first)
    spread = per_axis(name, "dilations", 1 if dilations is None else dilations, spatial, first)
    return Geometry(name, steps, spread, checked_padding(name, padding, spatial, first, explicit))
