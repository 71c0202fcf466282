"""Discrete Fourier transforms of the last axes. Names, argument order and dtype rules are TensorFlow's: complex64 and complex128 for
complex operands, float32 and float64 for real ones; inverse transforms divide by the length."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .. import ops
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import Dim, dim_max, product
from ..ops.complex import part_of
from ..ops.fourier import length_of
from ..ops.rules import normalize_axis
from ..tensor import Tensor, as_shape, convert_to_tensor
from .tables import table_for

__all__ = [
    "fft", "fft2d", "fft3d", "fftnd", "fftshift", "ifft", "ifft2d", "ifft3d", "ifftnd", "ifftshift", "irfft", "irfft2d",
    "irfft3d", "irfftnd", "rfft", "rfft2d", "rfft3d", "rfftnd",
]  # fmt: skip


def fitted(x: Any, axis: int, length: Dim) -> Any:
    """x cropped, or padded with zeros at the end, to `length` elements along axis."""
    own, rank = x.dims[axis], len(x.dims)
    if own == length:
        return x
    missing = dim_max(length - own, 0)
    if missing != 0:
        x = ops.pad(
            x, paddings=tuple((0, missing if a == axis else 0) for a in range(rank)), mode="constant", constant=0
        )
    if x.dims[axis] == length:
        return x
    sizes = tuple(length if a == axis else d for a, d in enumerate(x.dims))
    return ops.strided_slice(x, begin=(0,) * rank, sizes=sizes, strides=(1,) * rank)


def _last(x: Any, axis: int) -> tuple[Any, tuple[int, ...]]:
    """x with an axis last, and the order of axes that undoes this."""
    rank = len(x.dims)
    if axis == rank - 1:
        return x, ()
    order = (*(a for a in range(rank) if a != axis), axis)
    return ops.transpose(x, permutation=order), tuple(order.index(a) for a in range(rank))


def _back(x: Any, order: tuple[int, ...]) -> Any:
    return ops.transpose(x, permutation=order) if order else x


def _complex_axis(x: Any, axis: int, inverse: bool) -> Any:
    if x.dims[axis] == 0:
        return x
    moved, order = _last(x, axis)
    table = table_for(moved, moved.dims[-1], False, part_of(x.dtype))
    return _back(ops.fft(moved, table, kind="complex", inverse=inverse), order)


def _real_axis(x: Any, axis: int) -> Any:
    moved, order = _last(x, axis)
    return _back(ops.fft(moved, table_for(moved, moved.dims[-1], True, x.dtype), kind="to_complex"), order)


def _to_real_axis(x: Any, axis: int, length: Dim) -> Any:
    """x: the bins of rows of `length` elements."""
    moved, order = _last(x, axis)
    if isinstance(length, int):
        table = table_for(moved, length, True, part_of(x.dtype))
    else:  # a tensor whose last axis has the length, for what needs it at run time
        rows = ops.iota(shape=(length,), axis=0, dtype=part_of(x.dtype))
        table = table_for(rows, length, True, part_of(x.dtype))
    return _back(ops.fft(moved, table, kind="to_real", **length_of(length)), order)


def _require(name: str, x: Any, is_complex: bool, count: int) -> Any:
    x = convert_to_tensor(x)
    if is_complex and not x.dtype.is_complex:
        raise DTypeError(f"{name}: needs complex64 or complex128, got {x.type}; use gf.cast")
    if not is_complex and x.dtype.name not in ("float32", "float64"):
        raise DTypeError(f"{name}: needs float32 or float64, got {x.type}; use gf.cast")
    if len(x.dims) < count:
        raise ShapeError(f"{name}: needs a tensor of rank {count} or more, got {x.type}")
    return x


def _lengths(name: str, fft_length: Any, count: int) -> tuple[Dim, ...] | None:
    if fft_length is None:
        return None
    found = as_shape(fft_length)
    if len(found) != count:
        raise ShapeError(f"{name}: fft_length must have {count} elements, got {len(found)}")
    if any(isinstance(n, int) and n < 1 for n in found):
        raise InvalidArgumentError(f"{name}: fft_length must be positive, got {list(found)}")
    return found


def _complex_transform(name: str, x: Any, count: int, inverse: bool) -> Tensor:
    x = _require(name, x, True, count)
    for axis in range(len(x.dims) - 1, len(x.dims) - 1 - count, -1):
        x = _complex_axis(x, axis, inverse)
    return x


def _real_transform(name: str, x: Any, fft_length: Any, count: int) -> Tensor:
    x = _require(name, x, False, count)
    rank = len(x.dims)
    lengths = _lengths(name, fft_length, count)
    axes = range(rank - count, rank)
    for axis, length in zip(axes, lengths or (), strict=bool(lengths)):
        x = fitted(x, axis, length)
    if x.dims[-1] == 0:
        raise ShapeError(f"{name}: the last axis must not be empty, got {x.type}")
    x = _real_axis(x, rank - 1)
    for axis in reversed(axes[:-1]):
        x = _complex_axis(x, axis, False)
    return x


def _inverse_real_transform(name: str, x: Any, fft_length: Any, count: int) -> Tensor:
    x = _require(name, x, True, count)
    rank = len(x.dims)
    lengths = _lengths(name, fft_length, count)
    if lengths is None:
        lengths = (*x.dims[rank - count : -1], (x.dims[-1] - 1) * 2)
        if isinstance(lengths[-1], int) and lengths[-1] < 1:
            raise ShapeError(f"{name}: needs two bins or more, or fft_length, got {x.type}")
    axes = range(rank - count, rank)
    for axis, length in zip(axes, lengths, strict=True):
        x = fitted(x, axis, length // 2 + 1 if axis == rank - 1 else length)
    for axis in axes[:-1]:
        x = _complex_axis(x, axis, True)
    return _to_real_axis(x, rank - 1, lengths[-1])


def fft(input: Any, name: str | None = None) -> Tensor:
    """The discrete Fourier transform of the last axis of a complex tensor."""
    return _complex_transform("fft", input, 1, False)


def ifft(input: Any, name: str | None = None) -> Tensor:
    """The inverse of fft."""
    return _complex_transform("ifft", input, 1, True)


def fft2d(input: Any, name: str | None = None) -> Tensor:
    """The transform of the last two axes of a complex tensor."""
    return _complex_transform("fft2d", input, 2, False)


def ifft2d(input: Any, name: str | None = None) -> Tensor:
    """The inverse of fft2d."""
    return _complex_transform("ifft2d", input, 2, True)


def fft3d(input: Any, name: str | None = None) -> Tensor:
    """The transform of the last three axes of a complex tensor."""
    return _complex_transform("fft3d", input, 3, False)


def ifft3d(input: Any, name: str | None = None) -> Tensor:
    """The inverse of fft3d."""
    return _complex_transform("ifft3d", input, 3, True)


def rfft(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Tensor:
    """The first n // 2 + 1 elements of the transform of the last axis of a real tensor: the others mirror them. fft_length: [n],
    to which the axis is cropped or padded with zeros."""
    return _real_transform("rfft", input_tensor, fft_length, 1)


def irfft(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Tensor:
    """The inverse of rfft: a real tensor with n = fft_length[0] elements (2 * (bins - 1) unless given) in the last axis. What must be
    0 in the spectrum of a real signal is taken as 0."""
    return _inverse_real_transform("irfft", input_tensor, fft_length, 1)


def rfft2d(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Tensor:
    """rfft of the last axis, then fft of the one before. fft_length: the two lengths."""
    return _real_transform("rfft2d", input_tensor, fft_length, 2)


def irfft2d(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Tensor:
    """The inverse of rfft2d."""
    return _inverse_real_transform("irfft2d", input_tensor, fft_length, 2)


def rfft3d(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Tensor:
    """rfft of the last axis, then fft of the two before. fft_length: the three lengths."""
    return _real_transform("rfft3d", input_tensor, fft_length, 3)


def irfft3d(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Tensor:
    """The inverse of rfft3d."""
    return _inverse_real_transform("irfft3d", input_tensor, fft_length, 3)


# Any axes -----------------------------------------------------------------------------------------------------------
def _axes(name: str, x: Any, axes: Any) -> tuple[int, ...]:
    rank = len(x.dims)
    given = tuple(range(rank)) if axes is None else tuple(int(a) for a in as_shape(axes))  # type: ignore[arg-type]
    found = tuple(normalize_axis(name, a, rank) for a in given)
    if not found or len(set(found)) != len(found):
        raise InvalidArgumentError(f"{name}: needs different axes, at least one, got {given}")
    return found


def _scaled(name: str, x: Any, lengths: Sequence[Dim], norm: str | None, inverse: bool) -> Any:
    """x by the factor that `norm` asks for beside the usual one (1, and 1 / n of an inverse)."""
    if norm in (None, "backward"):
        return x
    if norm not in ("forward", "ortho"):
        raise InvalidArgumentError(f"{name}: norm must be None, 'backward', 'forward' or 'ortho', got {norm!r}")
    count = product(lengths)
    if not isinstance(count, int):
        raise InvalidArgumentError(f"{name}: norm {norm!r} needs known lengths, got {count}")
    factor = float(count) if norm == "forward" else math.sqrt(count)
    return ops.multiply(x, factor if inverse else 1 / factor)


def _transform_axes(name: str, x: Any, fft_length: Any, axes: Any, norm: str | None, inverse: bool) -> Tensor:
    x = _require(name, x, True, 1)
    places = _axes(name, x, axes)
    lengths = _lengths(name, fft_length, len(places)) or tuple(x.dims[a] for a in places)
    for axis, length in zip(places, lengths, strict=True):
        x = fitted(x, axis, length)
    for axis in reversed(places):
        x = _complex_axis(x, axis, inverse)
    return _scaled(name, x, lengths, norm, inverse)


def fftnd(
    input_tensor: Any, fft_length: Any = None, axes: Any = None, norm: str | None = None, name: str | None = None
) -> Tensor:
    """The transform of several axes (all unless given) of a complex tensor, cropped or padded to fft_length. norm: "backward" (the
    inverse divides by the length), "forward" (this one does) or "ortho" (both by its root)."""
    return _transform_axes("fftnd", input_tensor, fft_length, axes, norm, False)


def ifftnd(
    input_tensor: Any, fft_length: Any = None, axes: Any = None, norm: str | None = None, name: str | None = None
) -> Tensor:
    """The inverse of fftnd."""
    return _transform_axes("ifftnd", input_tensor, fft_length, axes, norm, True)


def rfftnd(
    input_tensor: Any, fft_length: Any = None, axes: Any = None, norm: str | None = None, name: str | None = None
) -> Tensor:
    """fftnd of a real tensor: the last of the axes has the first n // 2 + 1 elements."""
    x = _require("rfftnd", input_tensor, False, 1)
    places = _axes("rfftnd", x, axes)
    lengths = _lengths("rfftnd", fft_length, len(places)) or tuple(x.dims[a] for a in places)
    for axis, length in zip(places, lengths, strict=True):
        x = fitted(x, axis, length)
    x = _real_axis(x, places[-1])
    for axis in reversed(places[:-1]):
        x = _complex_axis(x, axis, False)
    return _scaled("rfftnd", x, lengths, norm, False)


def irfftnd(
    input_tensor: Any, fft_length: Any = None, axes: Any = None, norm: str | None = None, name: str | None = None
) -> Tensor:
    """The inverse of rfftnd."""
    x = _require("irfftnd", input_tensor, True, 1)
    places = _axes("irfftnd", x, axes)
    usual = (*(x.dims[a] for a in places[:-1]), (x.dims[places[-1]] - 1) * 2)
    lengths = _lengths("irfftnd", fft_length, len(places)) or usual
    for axis, length in zip(places, lengths, strict=True):
        x = fitted(x, axis, length // 2 + 1 if axis == places[-1] else length)
    for axis in places[:-1]:
        x = _complex_axis(x, axis, True)
    return _scaled("irfftnd", _to_real_axis(x, places[-1], lengths[-1]), lengths, norm, True)


# Shifts -------------------------------------------------------------------------------------------------------------
def _shifted(name: str, x: Any, axes: Any, first: Callable[[Dim], Dim]) -> Tensor:
    """The elements from position first(extent) on, then those before, along each of the axes."""
    x = convert_to_tensor(x)
    rank = len(x.dims)
    given = tuple(range(rank)) if axes is None else as_shape(axes)
    for axis in (normalize_axis(name, a, rank) for a in given):
        extent_ = x.dims[axis]
        cut = first(extent_)
        parts = []
        for begin, size in ((cut, extent_ - cut), (0, cut)):
            begins = tuple(begin if a == axis else 0 for a in range(rank))
            sizes = tuple(size if a == axis else d for a, d in enumerate(x.dims))
            parts.append(ops.strided_slice(x, begin=begins, sizes=sizes, strides=(1,) * rank))
        x = ops.concat(*parts, axis=axis)
    return x


def fftshift(x: Any, axes: Any = None, name: str | None = None) -> Tensor:
    """The zero frequency moved to the middle of the axes (all unless given)."""
    return _shifted("fftshift", x, axes, lambda extent_: (extent_ + 1) // 2)


def ifftshift(x: Any, axes: Any = None, name: str | None = None) -> Tensor:
    """The inverse of fftshift."""
    return _shifted("ifftshift", x, axes, lambda extent_: extent_ // 2)
