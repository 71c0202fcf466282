"""Windows: weights for the elements of a frame. Names, argument order and defaults are TensorFlow's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..dtypes import DType, as_dtype, float32, float64
from ..errors import DTypeError, InvalidArgumentError
from ..ir.dims import Dim
from ..tensor import Tensor, as_dim, convert_to_tensor

__all__ = [
    "hamming_window", "hann_window", "kaiser_bessel_derived_window", "kaiser_window", "vorbis_window",
]  # fmt: skip


def _dtype(name: str, dtype: Any) -> DType:
    found = as_dtype(dtype)
    if not found.is_floating:
        raise DTypeError(f"{name}: dtype must be a float dtype, got {found.name}")
    return found


def _length(name: str, window_length: Any) -> Dim:
    found = as_dim(window_length)
    if isinstance(found, int) and found < 0:
        raise InvalidArgumentError(f"{name}: window_length must not be negative, got {found}")
    return found


def _positions(length: Dim) -> Any:
    return ops.iota(shape=(length,), axis=0, dtype=float64)


def _number(dim: Dim) -> Any:
    """An extent as a float64 scalar."""
    if isinstance(dim, int):
        return ops.constant(value=np.array(float(dim)))
    return ops.cast(convert_to_tensor(_Extent(dim)), dtype=float64)


class _Extent:
    """A symbolic extent, to be made a tensor."""

    def __init__(self, dim: Dim) -> None:
        self._dim = dim

    def __graphflow_dim__(self) -> Dim:
        return self._dim


def _raised_cosine(name: str, window_length: Any, periodic: bool, dtype: Any, a: float, b: float) -> Tensor:
    """a - b cos(2 pi k / n), computed in float64."""
    kind, length = _dtype(name, dtype), _length(name, window_length)
    if length == 1:
        return ops.cast(_positions(1) + 1.0, dtype=kind)
    even = 1 - (length - (length // 2) * 2)
    count = _number(length + even - 1 if periodic else length - 1)
    turn = _positions(length) * (2 * math.pi) / count
    return ops.cast(a - ops.cos(turn) * b, dtype=kind)


def hann_window(window_length: Any, periodic: Any = True, dtype: Any = float32, name: str | None = None) -> Tensor:
    """0.5 - 0.5 cos(2 pi k / n). periodic: n is the length (for even lengths), as spectral analysis wants it; else the length - 1, so
    that the window is symmetric."""
    return _raised_cosine("hann_window", window_length, bool(periodic), dtype, 0.5, 0.5)


def hamming_window(window_length: Any, periodic: Any = True, dtype: Any = float32, name: str | None = None) -> Tensor:
    """0.54 - 0.46 cos(2 pi k / n). periodic: as for hann_window."""
    return _raised_cosine("hamming_window", window_length, bool(periodic), dtype, 0.54, 0.46)


def _known(name: str, window_length: Any) -> int:
    found = _length(name, window_length)
    if not isinstance(found, int):
        raise InvalidArgumentError(f"{name}: the length must be a number, got the symbolic extent {found}")
    return found


def _kaiser(length: int, beta: float) -> np.ndarray[Any, Any]:
    return np.ones(1) if length == 1 else np.asarray(np.kaiser(length, beta))


def _as_constant(array: np.ndarray[Any, Any], dtype: DType) -> Tensor:
    value = array.astype(dtype.numpy)
    value.flags.writeable = False
    found: Tensor = ops.constant(value=value)
    return found


def kaiser_window(window_length: Any, beta: Any = 12.0, dtype: Any = float32, name: str | None = None) -> Tensor:
    """The Kaiser window: I0(beta sqrt(1 - t**2)) / I0(beta) for t from -1 to 1. The length and beta must be numbers."""
    return _as_constant(_kaiser(_known("kaiser_window", window_length), float(beta)), _dtype("kaiser_window", dtype))


def kaiser_bessel_derived_window(
    window_length: Any, beta: Any = 12.0, dtype: Any = float32, name: str | None = None
) -> Tensor:
    """Roots of the running sums of a Kaiser window, and their mirror image: the squares of its halves add to 1. The length and beta must
    be numbers."""
    length = _known("kaiser_bessel_derived_window", window_length)
    half = np.cumsum(_kaiser(length // 2 + 1, float(beta)))
    rising = np.sqrt(half[:-1] / half[-1])
    return _as_constant(np.concatenate([rising, rising[::-1]]), _dtype("kaiser_bessel_derived_window", dtype))


def vorbis_window(window_length: Any, dtype: Any = float32, name: str | None = None) -> Tensor:
    """sin(pi/2 sin(pi (k + 1/2) / n)**2), computed in float64."""
    kind, length = _dtype("vorbis_window", dtype), _length("vorbis_window", window_length)
    inner = ops.square(ops.sin((_positions(length) + 0.5) * math.pi / _number(length)))
    return ops.cast(ops.sin(inner * (math.pi / 2)), dtype=kind)
