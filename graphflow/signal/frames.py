"""Signals in frames, and their spectra: frame, overlap_and_add, stft, mdct and their inverses. Names, argument order and defaults are
TensorFlow's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .. import ops
from ..dtypes import float32, float64
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import Dim, dim_max
from ..ops.complex import part_of
from ..ops.rules import normalize_axis
from ..tensor import Tensor, as_dim, convert_to_tensor
from .cosine import dct
from .fourier import fitted, irfft, rfft
from .windows import hann_window, vorbis_window

__all__ = ["frame", "inverse_mdct", "inverse_stft", "inverse_stft_window_fn", "mdct", "overlap_and_add", "stft"]

Window = Callable[..., Any]


def _size(name: str, what: str, value: Any) -> int:
    """A length or step: a positive number."""
    found = as_dim(value)
    if not isinstance(found, int) or found < 1:
        raise InvalidArgumentError(f"{name}: {what} must be a positive number, got {found}")
    return found


def _ceiling(a: Dim, b: int) -> Dim:
    return (a + (b - 1)) // b


def frame(
    signal: Any,
    frame_length: Any,
    frame_step: Any,
    pad_end: bool = False,
    pad_value: Any = 0,
    axis: int = -1,
    name: str | None = None,
) -> Tensor:
    """Stretches of frame_length elements of an axis, one every frame_step: [..., frames, frame_length, ...]. pad_end: also those that
    begin before the end, filled up with pad_value. A signal that is shorter than a frame has none."""
    x = convert_to_tensor(signal)
    place = normalize_axis("frame", axis, len(x.dims))
    size, step = _size("frame", "frame_length", frame_length), _size("frame", "frame_step", frame_step)
    extent = x.dims[place]
    if pad_end:
        missing = dim_max((_ceiling(extent, step) - 1) * step + size - extent, 0)
        pads = tuple((0, missing if a == place else 0) for a in range(len(x.dims)))
        value = convert_to_tensor(pad_value, x.dtype).numpy().item()
        x = ops.pad(x, paddings=pads, mode="constant", constant=value)
        whole = (_ceiling(extent, step) - 1) * step + size
        if x.dims[place] != whole:  # a step longer than the frame leaves the end out
            x = fitted(x, place, whole)
    extent = x.dims[place]
    if isinstance(extent, int) and extent < size:
        empty = ops.strided_slice(
            x,
            begin=(0,) * len(x.dims),
            sizes=tuple(0 if a == place else d for a, d in enumerate(x.dims)),
            strides=(1,) * len(x.dims),
        )
        return ops.reshape(empty, shape=(*x.dims[:place], 0, size, *x.dims[place + 1 :]))
    return ops.windows(x, axis=place, sizes=(size,), strides=(step,), dilations=(1,))


def overlap_and_add(signal: Any, frame_step: Any, name: str | None = None) -> Tensor:
    """[..., frames, frame_length] -> [..., samples]: each frame added frame_step elements after the one before. Later frames are added
    to earlier ones."""
    x = convert_to_tensor(signal)
    if len(x.dims) < 2:
        raise ShapeError(f"overlap_and_add: needs a tensor of rank 2 or more, got {x.type}")
    step, (frames, size) = _size("overlap_and_add", "frame_step", frame_step), x.dims[-2:]
    if not isinstance(size, int):
        raise ShapeError(f"overlap_and_add: the frames' length must be a number, got {x.type}")
    samples = (frames - 1) * step + size
    if size == step:
        return ops.reshape(x, shape=(*x.dims[:-2], samples))
    place = len(x.dims) - 2
    return ops.fold_windows(
        x, shape=(*x.dims[:-2], samples), axis=place, sizes=(size,), strides=(step,), dilations=(1,)
    )


def _enclosing_power_of_two(value: int) -> int:
    return 1 << (value - 1).bit_length()


def _real_signal(name: str, value: Any, rank: int) -> Any:
    x = convert_to_tensor(value)
    if x.dtype not in (float32, float64):
        raise DTypeError(f"{name}: needs float32 or float64, got {x.type}; use gf.cast")
    if len(x.dims) < rank:
        raise ShapeError(f"{name}: needs a tensor of rank {rank} or more, got {x.type}")
    return x


def stft(
    signals: Any,
    frame_length: Any,
    frame_step: Any,
    fft_length: Any = None,
    window_fn: Window | None = hann_window,
    pad_end: bool = False,
    name: str | None = None,
) -> Tensor:
    """The spectra of windowed frames: [..., samples] -> complex [..., frames, fft_length // 2 + 1]. fft_length: the smallest power of
    two that holds a frame, unless given. window_fn(length, dtype=): the weights, None for none."""
    x = _real_signal("stft", signals, 1)
    size = _size("stft", "frame_length", frame_length)
    length = _enclosing_power_of_two(size) if fft_length is None else _size("stft", "fft_length", fft_length)
    frames = frame(x, size, frame_step, pad_end)
    if window_fn is not None:
        frames = frames * window_fn(size, dtype=x.dtype)
    return rfft(frames, [length])


def inverse_stft_window_fn(
    frame_step: Any, forward_window_fn: Window = hann_window, name: str | None = None
) -> Callable[..., Any]:
    """A window_fn for inverse_stft that makes it undo an stft with forward_window_fn (Griffin and Lim, 1984, equation 7)."""
    step = _size("inverse_stft_window_fn", "frame_step", frame_step)

    def window_fn(frame_length: Any, dtype: Any) -> Any:
        size = _size("inverse_stft_window_fn", "frame_length", frame_length)
        forward = forward_window_fn(size, dtype=dtype)
        overlaps = -(-size // step)
        squares = fitted(ops.square(forward), 0, overlaps * step)
        total = ops.reduce_sum(ops.reshape(squares, shape=(overlaps, step)), axes=(0,), keepdims=True)
        total = ops.reshape(ops.broadcast_to(total, shape=(overlaps, step)), shape=(overlaps * step,))
        return ops.divide_no_nan(forward, fitted(total, 0, size))

    return window_fn


def inverse_stft(
    stfts: Any,
    frame_length: Any,
    frame_step: Any,
    fft_length: Any = None,
    window_fn: Window | None = hann_window,
    name: str | None = None,
) -> Tensor:
    """[..., frames, bins] -> [..., samples]: the inverse transforms of the frames, windowed, overlapped and added. See
    inverse_stft_window_fn for the window that undoes an stft."""
    x = convert_to_tensor(stfts)
    if not x.dtype.is_complex or len(x.dims) < 2:
        raise DTypeError(f"inverse_stft: needs a complex tensor of rank 2 or more, got {x.type}")
    size = _size("inverse_stft", "frame_length", frame_length)
    length = _enclosing_power_of_two(size) if fft_length is None else _size("inverse_stft", "fft_length", fft_length)
    frames = irfft(x, [length])
    frames = fitted(frames, len(frames.dims) - 1, size)
    if window_fn is not None:
        frames = frames * window_fn(size, dtype=part_of(x.dtype))
    return overlap_and_add(frames, frame_step)


def _quarters(x: Any, count: int) -> list[Any]:
    """The last axis in `count` equal parts."""
    rank, size = len(x.dims), x.dims[-1] // count
    return [
        ops.strided_slice(x, begin=(*(0,) * (rank - 1), k * size), sizes=(*x.dims[:-1], size), strides=(1,) * rank)
        for k in range(count)
    ]


def mdct(
    signals: Any,
    frame_length: Any,
    window_fn: Window | None = vorbis_window,
    pad_end: bool = False,
    norm: str | None = None,
    name: str | None = None,
) -> Tensor:
    """The modified discrete cosine transform of frames that overlap by half: [..., samples] -> [..., frames, frame_length // 2].
    frame_length: a multiple of 4. window_fn None: the constant 1 / sqrt(2)."""
    x = _real_signal("mdct", signals, 1)
    size = _size("mdct", "frame_length", frame_length)
    if size % 4:
        raise InvalidArgumentError(f"mdct: frame_length must be a multiple of 4, got {size}")
    frames = frame(x, size, size // 2, pad_end)
    frames = frames * (1 / math.sqrt(2) if window_fn is None else window_fn(size, dtype=x.dtype))
    a, b, c, d = _quarters(frames, 4)
    last = (len(frames.dims) - 1,)
    first, second = -ops.reverse(c, axes=last) - d, a - ops.reverse(b, axes=last)
    return dct(ops.concat(first, second, axis=last[0]), type=4, norm=norm)


def inverse_mdct(
    mdcts: Any, window_fn: Window | None = vorbis_window, norm: str | None = None, name: str | None = None
) -> Tensor:
    """The inverse of mdct with the same window and norm: [..., frames, half] -> [..., samples]."""
    x = _real_signal("inverse_mdct", mdcts, 2)
    half = x.dims[-1]
    if not isinstance(half, int):
        raise ShapeError(f"inverse_mdct: the frames' length must be a number, got {x.type}")
    found = dct(x, type=4, norm=norm)
    found = found if norm == "ortho" else found * (0.5 / half)
    low, high = _quarters(found, 2)
    last = len(x.dims) - 1
    frames = ops.concat(high, -ops.reverse(high, axes=(last,)), -ops.reverse(low, axes=(last,)), -low, axis=last)
    frames = frames * (1 / math.sqrt(2) if window_fn is None else window_fn(2 * half, dtype=x.dtype))
    return overlap_and_add(frames, half)
