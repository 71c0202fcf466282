"""Running sums and products. Part of gf.math; names, argument order and defaults are TensorFlow's."""

from __future__ import annotations

from typing import Any

from . import ops
from .errors import DTypeError
from .ops.rules import normalize_axis
from .tensor import Tensor, convert_to_tensor

__all__ = ["cumprod", "cumsum", "cumulative_logsumexp"]


def _cumulative(name: str, kind: str, x: Any, axis: Any, exclusive: bool, reverse: bool) -> Tensor:
    x = convert_to_tensor(x)
    place = normalize_axis(name, axis, len(x.dims))
    return ops.cumulative(x, axis=place, kind=kind, exclusive=bool(exclusive), reverse=bool(reverse))


def cumsum(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Tensor:
    """The sums of the elements up to each position along axis, added in order. exclusive: without its own element; reverse: from
    the end. Integers wrap."""
    return _cumulative("cumsum", "sum", x, axis, exclusive, reverse)


def cumprod(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Tensor:
    """The products of the elements up to each position along axis, multiplied in order. The gradient is right where elements are 0."""
    return _cumulative("cumprod", "prod", x, axis, exclusive, reverse)


def cumulative_logsumexp(
    x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """log(cumsum(exp(x))) without overflow: log2(extent) rounds of pairwise sums (Hillis and Steele, 1986). Floats."""
    x = convert_to_tensor(x)
    if not x.dtype.is_floating:
        raise DTypeError(f"cumulative_logsumexp: needs floats, got {x.type}; use gf.cast")
    place = normalize_axis("cumulative_logsumexp", axis, len(x.dims))
    extent, rank = x.dims[place], len(x.dims)
    lowest = float("-inf")

    def moved(t: Any, by: int) -> Any:
        """t with each element `by` positions later, -inf before."""
        pads = tuple((by if a == place else 0, 0) for a in range(rank))
        padded = ops.pad(t, paddings=pads, mode="constant", constant=lowest)
        return ops.strided_slice(padded, begin=(0,) * rank, sizes=x.dims, strides=(1,) * rank)

    total = ops.reverse(x, axes=(place,)) if reverse else x
    if exclusive:
        total = moved(total, 1)
    steps = max(extent - 1, 0).bit_length() if isinstance(extent, int) else 31
    for step in range(steps):
        other = moved(total, 1 << step)
        high = ops.maximum(total, other)
        low = ops.minimum(total, other)
        # high is -inf only if both are: then the difference would be NaN, and there is nothing to add
        none = ops.equal(high, convert_to_tensor(lowest, x.dtype))
        zero = convert_to_tensor(0.0, x.dtype)
        gap = ops.subtract(ops.select(none, zero, low), ops.select(none, zero, high))
        total = ops.select(none, high, ops.add(high, ops.log1p(ops.exp(gap))))
    return ops.reverse(total, axes=(place,)) if reverse else total
