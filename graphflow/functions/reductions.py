"""Reductions over axes: gf.math.reduce_* and the positions of extremes. Part of gf.math.

axis: an int, several, or None for all; negative ones count from the last. keepdims keeps reduced axes with extent 1.
Errors: ShapeError for an axis out of range, InvalidArgumentError for one named twice, DTypeError for dtypes the
reduction does not take.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..dtypes import as_dtype, float64, int64, uint8
from ..errors import DTypeError
from ..ir.dims import product
from ..ops.reduction import reduce_in_steps
from ..ops.rules import normalize_axes, normalize_axis
from ..tensor import Tensor, TensorLike, as_shape, convert_to_tensor

__all__ = [
    "argmax", "argmin", "count_nonzero", "reduce_all", "reduce_any", "reduce_euclidean_norm", "reduce_logsumexp",
    "reduce_max", "reduce_mean", "reduce_min", "reduce_prod", "reduce_std", "reduce_sum", "reduce_variance",
    "zero_fraction",
]  # fmt: skip


def axes_of(name: str, axis: Any, rank: int) -> tuple[int, ...]:
    """An axis argument (None, an int, several, an integer tensor or array) as sorted non-negative axes."""
    if isinstance(axis, TensorLike):
        axis = as_shape(axis)
    elif isinstance(axis, (np.ndarray, np.generic)):
        axis = np.asarray(axis).reshape(-1).tolist()
    return normalize_axes(name, axis, rank)


def _reduce(op: Any, input_tensor: Any, axis: Any, keepdims: bool | None) -> Any:
    x = convert_to_tensor(input_tensor)
    axes = axes_of(op.name, axis, len(x.dims))
    if not axes:
        op.infer((x.type,), axes=(), keepdims=False)  # the dtype must fit though there is nothing to do
        return x
    return reduce_in_steps(op, x, axes, bool(keepdims))


def _count(x: Any, axes: tuple[int, ...], dtype: Any) -> Any:
    """The number of elements that a reduction over axes takes, as a scalar of dtype."""
    shape = x.shape
    count = product(x.dims[a] for a in axes)
    if isinstance(count, int):
        return convert_to_tensor(np.asarray(count, dtype.numpy))
    total: Any = 1
    for axis in axes:
        total = total * shape[axis]
    return convert_to_tensor(total, dtype_hint=dtype)


def reduce_sum(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Tensor:
    """The sum over axis, in the operand's dtype (integers wrap). The sum of nothing is 0."""
    return _reduce(ops.reduce_sum, input_tensor, axis, keepdims)


def reduce_prod(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Tensor:
    """The product over axis. The product of nothing is 1. The gradient is right where elements are zero."""
    return _reduce(ops.reduce_prod, input_tensor, axis, keepdims)


def reduce_max(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Tensor:
    """The largest element over axis; NaN if any is NaN; of nothing -inf. Ties share the gradient equally."""
    return _reduce(ops.reduce_max, input_tensor, axis, keepdims)


def reduce_min(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Tensor:
    """The smallest element over axis; NaN if any is NaN; of nothing inf. Ties share the gradient equally."""
    return _reduce(ops.reduce_min, input_tensor, axis, keepdims)


def reduce_any(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Tensor:
    """Is any element over axis true? Takes and gives bool; False of nothing."""
    return _reduce(ops.reduce_any, input_tensor, axis, keepdims)


def reduce_all(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Tensor:
    """Are all elements over axis true? Takes and gives bool; True of nothing."""
    return _reduce(ops.reduce_all, input_tensor, axis, keepdims)


def reduce_mean(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Tensor:
    """The sum over axis divided by the count, in the operand's dtype (integers truncate). NaN of nothing, for
    floats."""
    x = convert_to_tensor(input_tensor)
    axes = axes_of("reduce_mean", axis, len(x.dims))
    total = _reduce(ops.reduce_sum, x, axes, keepdims)
    if not axes:
        return total
    count = _count(x, axes, x.dtype)
    return ops.truncatediv(total, count) if x.dtype.is_integer else ops.divide(total, count)


def reduce_variance(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Tensor:
    """The mean of the squared distances from the mean (divided by the count, not count - 1). Floats, and
    complex numbers, whose result is real."""
    x = convert_to_tensor(input_tensor)
    if not (x.dtype.is_floating or x.dtype.is_complex):
        raise DTypeError(f"reduce_variance: needs floats, got {x.type}; use gf.cast")
    centred = ops.subtract(x, reduce_mean(x, axis, keepdims=True))
    return reduce_mean(ops.square(ops.absolute(centred) if x.dtype.is_complex else centred), axis, keepdims)


def reduce_std(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Tensor:
    """The square root of reduce_variance."""
    return ops.sqrt(reduce_variance(input_tensor, axis, keepdims))


def reduce_logsumexp(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Tensor:
    """log(sum(exp(x))) over axis, without overflow. Floats only."""
    x = convert_to_tensor(input_tensor)
    highest = ops.stop_gradient(reduce_max(x, axis, keepdims=True))
    # an infinite maximum is not subtracted: inf - inf would be NaN
    highest = ops.select(ops.is_finite(highest), highest, zeros_of(highest))
    result = ops.add(ops.log(reduce_sum(ops.exp(ops.subtract(x, highest)), axis, keepdims=True)), highest)
    if keepdims:
        return result
    axes = axes_of("reduce_logsumexp", axis, len(x.dims))
    return ops.reshape(result, shape=tuple(d for a, d in enumerate(x.dims) if a not in axes))


def zeros_of(x: Any) -> Any:
    """A scalar zero of x's dtype ("" for string)."""
    return convert_to_tensor(np.full((), x.dtype.zero, x.dtype.numpy))


def reduce_euclidean_norm(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """sqrt(sum(x * x)) over axis, or sqrt(sum(x * conj(x))) of complex numbers, which is complex too, as in TensorFlow; of integers the
    whole part."""
    x = convert_to_tensor(input_tensor)
    if x.dtype.is_integer:
        total = ops.cast(reduce_sum(ops.square(x), axis, keepdims), dtype=float64)
        return ops.cast(ops.sqrt(total), dtype=x.dtype)
    squares = ops.multiply(x, ops.conj(x)) if x.dtype.is_complex else ops.square(x)
    return ops.sqrt(reduce_sum(squares, axis, keepdims))


def count_nonzero(
    input: Any, axis: Any = None, keepdims: bool | None = None, dtype: Any = int64, name: str | None = None
) -> Tensor:
    """How many elements over axis are not 0 (or are True), as dtype."""
    x = convert_to_tensor(input)
    hits = x if x.dtype.is_bool else ops.not_equal(x, zeros_of(x))
    return _reduce(ops.reduce_sum, ops.cast(hits, dtype=as_dtype(dtype)), axis, keepdims)


def zero_fraction(value: Any, name: str | None = None) -> Tensor:
    """The fraction of elements that are 0, as float32; NaN of nothing."""
    from ..dtypes import float32

    x = convert_to_tensor(value)
    return reduce_mean(ops.cast(ops.equal(x, zeros_of(x)), dtype=float32))


def argmax(input: Any, axis: Any = None, output_type: Any = int64, name: str | None = None) -> Tensor:
    """The position of the largest element along axis (default 0), the first on ties; NaN counts as the largest.
    output_type: int32 or int64. Raises ShapeError for an empty axis."""
    return _position(ops.argmax, input, axis, output_type)


def argmin(input: Any, axis: Any = None, output_type: Any = int64, name: str | None = None) -> Tensor:
    """The position of the smallest element along axis (default 0), the first on ties or the first NaN."""
    return _position(ops.argmin, input, axis, output_type)


def _position(op: Any, input: Any, axis: Any, output_type: Any) -> Any:
    x = convert_to_tensor(input)
    if isinstance(axis, TensorLike):
        (axis,) = as_shape(axis)
    if x.dtype.is_bool:
        x = ops.cast(x, dtype=uint8)
    where = normalize_axis(op.name, 0 if axis is None else axis, len(x.dims))
    return op(x, axis=where, output_type=as_dtype(output_type))
