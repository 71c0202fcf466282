"""gf.nn: moments in parts and with weights, normalisation over channels, monotone regression. Names, argument order and defaults are
TensorFlow's; `name` is accepted for its sake and not used."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..dtypes import int32, int64
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import Dim, product
from ..math import operands, true_quotient
from ..ops.rules import integer, normalize_axis
from ..tensor import Tensor, convert_to_tensor
from .control_flow import while_loop
from .reductions import _count, axes_of, reduce_sum
from .segments import unsorted_segment_sum

__all__ = [
    "batch_norm_with_global_normalization", "isotonic_regression", "local_response_normalization", "lrn", "normalize_moments",
    "sufficient_statistics", "weighted_moments",
]  # fmt: skip


def sufficient_statistics(
    x: Any, axes: Any, shift: Any = None, keepdims: bool = False, name: str | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """(count, sum of x - shift, sum of (x - shift) ** 2, shift) over axes: what normalize_moments makes mean and variance of."""
    (x,) = operands(x)
    places = axes_of("sufficient_statistics", axes, len(x.dims))
    count = _count(x, places, x.dtype)
    if shift is not None:
        shift = convert_to_tensor(shift, x.dtype)
    moved = x if shift is None else ops.subtract(x, shift)
    square = ops.square(x) if shift is None else ops.squared_difference(x, shift)
    return count, reduce_sum(moved, places, keepdims), reduce_sum(square, places, keepdims), shift


def normalize_moments(
    counts: Any, mean_ss: Any, variance_ss: Any, shift: Any, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """(mean, variance) of what sufficient_statistics found; shift may be None."""
    total, first, second = operands(counts, mean_ss, variance_ss)
    divisor = ops.reciprocal(total)
    inner = ops.multiply(first, divisor)
    mean = inner if shift is None else ops.add(inner, convert_to_tensor(shift, inner.dtype))
    return mean, ops.subtract(ops.multiply(second, divisor), ops.square(inner))


def weighted_moments(
    x: Any, axes: Any, frequency_weights: Any, keepdims: bool = False, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """(mean, variance) over axes, each element counted as often as its weight says; the weights broadcast. Floats or complex numbers."""
    x, weights = operands(x, frequency_weights)
    if not (x.dtype.is_floating or x.dtype.is_complex):
        raise DTypeError(f"weighted_moments: needs floats or complex numbers, got {x.type}; use gf.cast")
    if weights.dtype is not x.dtype:
        weights = ops.cast(weights, dtype=x.dtype)
    places = axes_of("weighted_moments", axes, len(x.dims))
    whole = ops.add(weights, ops.multiply(x, 0)) if weights.dims != x.dims else weights
    divisor = ops.reciprocal(reduce_sum(whole, places, keepdims=True))
    mean: Any = ops.multiply(reduce_sum(ops.multiply(weights, x), places, keepdims=True), divisor)
    spread = ops.multiply(weights, ops.squared_difference(x, mean))
    variance: Any = ops.multiply(reduce_sum(spread, places, keepdims=True), divisor)
    if not keepdims:
        kept = tuple(d for a, d in enumerate(x.dims) if a not in places)
        mean, variance = (ops.reshape(v, shape=kept) for v in (mean, variance))
    return mean, variance


def batch_norm_with_global_normalization(
    input: Any,
    mean: Any,
    variance: Any,
    beta: Any,
    gamma: Any,
    variance_epsilon: Any,
    scale_after_normalization: bool,
    name: str | None = None,
) -> Tensor:
    """batch_normalization with offset beta, and scale gamma if scale_after_normalization."""
    from ..nn import batch_normalization

    return batch_normalization(
        input, mean, variance, beta, gamma if scale_after_normalization else None, variance_epsilon
    )


def local_response_normalization(
    input: Any, depth_radius: int = 5, bias: float = 1, alpha: float = 1, beta: float = 0.5, name: str | None = None
) -> Tensor:
    """input / (bias + alpha * s) ** beta, s the sum of the squares of the channels up to depth_radius away. input[batch, height, width,
    channels], floats."""
    (x,) = operands(input)
    if len(x.dims) != 4:
        raise ShapeError(f"local_response_normalization: the input must have rank 4, got {x.type}")
    if not x.dtype.is_floating:
        raise DTypeError(f"local_response_normalization: needs floats, got {x.type}; use gf.cast")
    radius = integer("local_response_normalization", "depth_radius", depth_radius)
    if radius < 0:
        raise InvalidArgumentError(f"local_response_normalization: depth_radius must not be negative, got {radius}")
    around = ((0, 0), (0, 0), (0, 0), (radius, radius))
    spread = ops.pad(ops.square(x), paddings=around, mode="constant", constant=0)
    taken = ops.windows(spread, axis=3, sizes=(2 * radius + 1,), strides=(1,), dilations=(1,))
    total = ops.reduce_sum(taken, axes=(4,), keepdims=False)
    scale = ops.add(ops.multiply(total, float(alpha)), float(bias))
    return ops.multiply(x, ops.pow_(scale, -float(beta)))


lrn = local_response_normalization


# Monotone regression ------------------------------------------------------------------------------------------------
def isotonic_regression(inputs: Any, decreasing: bool = True, axis: Any = -1) -> tuple[Tensor, Tensor]:
    """(the closest non-increasing (non-decreasing) sequence to inputs along axis by squared distance, the number of each element's run of
    equal values, int32). Integers are cast first, as by gf.divide.

    Neighbours that are out of order are pooled, all such runs of a round at once, until none is left (after Best and Chakravarti 1990).
    The gradient is each run's mean gradient.
    """
    x = true_quotient(inputs)
    if not x.dtype.is_floating:
        raise DTypeError(f"isotonic_regression: needs floats, got {x.type}; use gf.cast")
    rank = len(x.dims)
    place = normalize_axis("isotonic_regression", axis, rank)
    order = (*(a for a in range(rank) if a != place), place)
    front = ops.transpose(x, permutation=order)
    rows, extent = product(front.dims[:-1]), front.dims[-1]
    flat = ops.reshape(front, shape=(rows * extent,))
    first = ops.equal(_along(rows, extent), convert_to_tensor(0, int64))
    fixed = ops.stop_gradient(flat)

    def means(starts: Any, values: Any) -> tuple[Any, Any]:
        number = ops.subtract(ops.cumulative(ops.cast(starts, dtype=int64), axis=0, kind="sum"), 1)
        total: Any = unsorted_segment_sum(values, number, flat.dims[0])
        count: Any = unsorted_segment_sum(
            ops.broadcast_to(convert_to_tensor(1, x.dtype), shape=flat.dims), number, flat.dims[0]
        )
        mean = ops.divide(total, ops.maximum(count, 1))
        return number, ops.gather(mean, number, axis=0, batch_dims=0)

    def violations(starts: Any) -> Any:
        _, level = means(starts, fixed)
        before = ops.strided_slice(
            ops.pad(level, paddings=((1, 0),), mode="constant", constant=0), begin=(0,), sizes=level.dims, strides=(1,)
        )
        wrong = ops.less(before, level) if decreasing else ops.greater(before, level)
        return ops.logical_and(ops.logical_and(starts, ops.logical_not(first)), wrong)

    def goes_on(starts: Any) -> Any:
        return ops.reduce_any(violations(starts), axes=(0,), keepdims=False)

    def pooled(starts: Any) -> Any:
        return (ops.logical_and(starts, ops.logical_not(violations(starts))),)

    every = ops.broadcast_to(convert_to_tensor(True), shape=flat.dims)
    (starts,) = while_loop(goes_on, pooled, (every,))
    number, level = means(starts, flat)
    own = ops.reshape(number, shape=(rows, extent))
    lowest = ops.strided_slice(own, begin=(0, 0), sizes=(rows, 1), strides=(1, 1)) if extent != 0 else own
    back = tuple(order.index(a) for a in range(rank))
    runs = ops.cast(ops.subtract(own, lowest), dtype=int32)
    level, runs = (ops.reshape(v, shape=front.dims) for v in (level, runs))
    return ops.transpose(level, permutation=back), ops.transpose(runs, permutation=back)


def _along(rows: Dim, extent: Dim) -> Any:
    """The position of each element in its row, flat."""
    return ops.reshape(ops.iota(shape=(rows, extent), axis=1, dtype=int64), shape=(rows * extent,))
