"""Discrete cosine transforms of types 1 to 4, through real Fourier transforms. As in TensorFlow and SciPy's fftpack."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..dtypes import DType, float32, float64, int64
from ..errors import DTypeError, InvalidArgumentError
from ..ir.dims import Dim
from ..ops.gradients import extent
from ..tensor import Tensor, as_dim, convert_to_tensor
from .fourier import fitted, irfft, rfft

__all__ = ["dct", "idct"]


def _checked(name: str, input: Any, type: int, n: Any, axis: int, norm: str | None) -> Any:
    x = convert_to_tensor(input)
    if x.dtype not in (float32, float64):
        raise DTypeError(f"{name}: needs float32 or float64, got {x.type}; use gf.cast")
    if axis not in (-1, len(x.dims) - 1):
        raise InvalidArgumentError(f"{name}: axis must be the last one, got {axis} for {x.type}")
    if type not in (1, 2, 3, 4):
        raise InvalidArgumentError(f"{name}: type must be 1, 2, 3 or 4, got {type}")
    if norm not in (None, "ortho"):
        raise InvalidArgumentError(f"{name}: norm must be None or 'ortho', got {norm!r}")
    if type == 1 and norm == "ortho":
        raise InvalidArgumentError(f"{name}: type 1 has no norm 'ortho'")
    length = x.dims[-1] if n is None else as_dim(n)
    if isinstance(length, int) and (length < 1 or type == 1 and length < 2):
        raise InvalidArgumentError(f"{name}: type {type} needs {2 if type == 1 else 1} elements or more, got {length}")
    return fitted(x, len(x.dims) - 1, length)


def dct(
    input: Any, type: int = 2, n: Any = None, axis: int = -1, norm: str | None = None, name: str | None = None
) -> Tensor:
    """The discrete cosine transform of the last axis, cropped or padded with zeros to n elements. norm: None, or "ortho" (types 2, 3
    and 4)."""
    return _dct(_checked("dct", input, type, n, axis, norm), type, norm)


def idct(
    input: Any, type: int = 2, n: Any = None, axis: int = -1, norm: str | None = None, name: str | None = None
) -> Tensor:
    """The inverse of dct up to a factor: idct(dct(x)) is 2 n x (2 (n - 1) x for type 1), and x with norm "ortho"."""
    if n is not None:
        raise InvalidArgumentError(f"idct: n must be None, got {n}")
    x = _checked("idct", input, type, n, axis, norm)
    return _dct(x, {1: 1, 2: 3, 3: 2, 4: 4}[type], norm)


def _part(x: Any, begin: Dim, size: Dim, stride: int = 1) -> Any:
    rank = len(x.dims)
    return ops.strided_slice(
        x, begin=(*(0,) * (rank - 1), begin), sizes=(*x.dims[:-1], size), strides=(*(1,) * (rank - 1), stride)
    )


def _dct(x: Any, type: int, norm: str | None) -> Any:
    length, last = x.dims[-1], len(x.dims) - 1
    if type == 1:
        mirrored = ops.concat(x, _part(ops.reverse(x, axes=(last,)), 1, length - 2), axis=last)
        return ops.real(rfft(mirrored))
    if type == 4:  # the odd elements of type 2 of twice the length
        wide = _dct(fitted(x, last, length * 2), 2, None)
        found = _part(wide, 1, length, 2)
        return found * _root(x, -0.5, math.sqrt(0.5)) if norm else found
    cosine, sine = (_turns(x, part) for part in ("real", "imag"))  # exp(-pi i k / (2 length))
    if type == 2:
        spectrum = _part(rfft(x, [length * 2]), 0, length)
        found = (ops.real(spectrum) * cosine - ops.imag(spectrum) * sine) * 2.0
        return found * _weights(x, _root(x, -0.5, 0.5), math.sqrt(2)) if norm else found
    scaled = x * (_weights(x, _root(x, 0.5, 1.0), math.sqrt(0.5)) if norm else extent(x, last, x.dtype))
    spectrum = ops.complex_(scaled * cosine * 2.0, scaled * sine * -2.0)
    return _part(irfft(spectrum, [length * 2]), 0, length)


def _turns(x: Any, part: str) -> Any:
    """A part of exp(-pi i k / (2 n)) for each k below n, the extent of x's last axis."""
    n = extent(x, len(x.dims) - 1, int64) * 4
    k = ops.iota(shape=(x.dims[-1],), axis=0, dtype=int64)
    return ops.cast(ops.unit_root(k, ops.broadcast_to(n, shape=k.dims), part=part), dtype=x.dtype)


def _root(x: Any, power: float, factor: float) -> Any:
    """factor * n**power for n, the extent of x's last axis."""
    root = ops.sqrt(extent(x, len(x.dims) - 1, float64))
    value = root * factor if power > 0 else ops.divide(_scalar(factor), root)
    return ops.cast(value, dtype=x.dtype)


def _scalar(value: float, dtype: DType = float64) -> Any:
    return ops.constant(value=np.array(value, dtype.numpy))


def _weights(x: Any, first: Any, factor: float) -> Any:
    """The weight of the first element, and `factor` times it for the others."""
    k = ops.iota(shape=(x.dims[-1],), axis=0, dtype=int64)
    return ops.select(ops.equal(k, 0), first, first * factor)
