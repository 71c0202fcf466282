"""Running sums and products. Part of gf.math; names, argument order and defaults are TensorFlow's."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..dtypes import int32
from ..errors import DTypeError
from ..ops.rules import normalize_axis
from ..tensor import Tensor, convert_to_tensor

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
    lowest = convert_to_tensor(float("-inf"), x.dtype)

    def moved(t: Any, by: int) -> Any:
        """t with each element `by` positions later, -inf before."""
        pads = tuple((by if a == place else 0, 0) for a in range(rank))
        padded = ops.pad(t, paddings=pads, mode="constant", constant=float("-inf"))
        return ops.strided_slice(padded, begin=(0,) * rank, sizes=x.dims, strides=(1,) * rank)

    total = ops.reverse(x, axes=(place,)) if reverse else x
    total = moved(total, 1) if exclusive else total
    if isinstance(extent, int):
        for power in range(max(extent - 1, 0).bit_length()):
            total = _added(total, moved(total, 1 << power), lowest)
    else:
        from ..tracing.tracer import dimension_tensor
        from .control_flow import while_loop

        count = dimension_tensor(extent, int32)
        places = ops.reshape(ops.iota(shape=(extent,), axis=0, dtype=int32), shape=_along(extent, place, rank))

        def step(by: Any, total: Any) -> tuple[Any, Any]:
            sources = ops.subtract(places, by)
            zero = convert_to_tensor(0, int32)
            taken = ops.gather(total, ops.reshape(ops.maximum(sources, zero), shape=(extent,)), axis=place)
            other = ops.select(ops.greater_equal(sources, zero), taken, lowest)
            return ops.add(by, by), _added(total, other, lowest)

        total = while_loop(lambda by, total: ops.less(by, count), step, (convert_to_tensor(1, int32), total))[1]
    return ops.reverse(total, axes=(place,)) if reverse else total


def _along(extent: Any, place: int, rank: int) -> tuple[Any, ...]:
    return tuple(extent if axis == place else 1 for axis in range(rank))


def _added(a: Any, b: Any, lowest: Any) -> Any:
    """log(exp(a) + exp(b)); -inf of two -inf, where the difference would be NaN."""
    high, low = ops.maximum(a, b), ops.minimum(a, b)
    none = ops.equal(high, lowest)
    zero = convert_to_tensor(0.0, a.dtype)
    gap = ops.subtract(ops.select(none, zero, low), ops.select(none, zero, high))
    return ops.select(none, high, ops.add(high, ops.log1p(ops.exp(gap))))
