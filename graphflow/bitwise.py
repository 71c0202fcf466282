"""gf.bitwise: the bits of integers. Operands broadcast and have one integer dtype; DTypeError otherwise."""

from __future__ import annotations

from typing import Any

from . import ops
from .arguments import guard
from .tensor import Tensor

__all__ = ["bitwise_and", "bitwise_or", "bitwise_xor", "invert", "left_shift", "right_shift"]


def bitwise_and(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x & y."""
    return ops.bitwise_and(x, y)


def bitwise_or(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x | y."""
    return ops.bitwise_or(x, y)


def bitwise_xor(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x ^ y."""
    return ops.bitwise_xor(x, y)


def invert(x: Any, name: str | None = None) -> Tensor:
    """~x."""
    return ops.bitwise_invert(x)


def left_shift(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x << y; y is clamped to [0, bits - 1]."""
    return ops.bitwise_left_shift(x, y)


def right_shift(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x >> y, keeping the sign; y is clamped to [0, bits - 1]."""
    return ops.bitwise_right_shift(x, y)


guard("gf.bitwise", globals(), __all__)
