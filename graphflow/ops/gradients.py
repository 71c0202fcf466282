"""Helpers of gradient rules. A rule works on tensors, eager or traced alike, so its result can be differentiated
again."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.dims import Dim

__all__ = ["constant_like", "extent", "keep_axes", "sum_to", "zeros_like"]


def sum_to(gradient: Any, like: Any) -> Any:
    """Sum a gradient over the axes along which `like` was broadcast, so that it has like's shape."""
    from .reduction import reduce_in_steps, reduce_sum
    from .shape import reshape

    shape, target = gradient.dims, like.dims
    if shape == target:
        return gradient
    extra = len(shape) - len(target)
    axes = tuple(range(extra)) + tuple(extra + k for k, dim in enumerate(target) if dim == 1 and shape[extra + k] != 1)
    result = reduce_in_steps(reduce_sum, gradient, axes, keepdims=False) if axes else gradient
    return result if result.dims == target else reshape(result, shape=target)


def constant_like(value: float, like: Any) -> Any:
    """A rank-0 constant of like's dtype. Needed where an op's operands do not all have one dtype, as in select. -0.0, the unit of
    addition, is that in both parts of a complex number."""
    from .generate import constant

    number = complex(value, value) if like.dtype.is_complex and str(value) == "-0.0" else value
    return constant(value=_frozen(np.asarray(number, like.dtype.numpy)))


def zeros_like(like: Any) -> Any:
    """Zeros of like's dtype and shape, as a view of one element."""
    from .shape import broadcast_to

    zero = constant_like(0, like)
    return zero if like.dims == () else broadcast_to(zero, shape=like.dims)


def keep_axes(reduced: Any, shape: tuple[Dim, ...], axes: tuple[int, ...]) -> Any:
    """A tensor that was reduced over `axes` of `shape`, with ones put back there, so that it broadcasts against the
    operand."""
    from .shape import reshape

    kept = tuple(1 if axis in axes else dim for axis, dim in enumerate(shape))
    return reduced if reduced.dims == kept else reshape(reduced, shape=kept)


def extent(x: Any, axis: int, dtype: Any) -> Any:
    """The extent of x's axis as a rank-0 tensor: a constant where it is a number, else read at run time."""
    from .cast import cast
    from .generate import constant
    from .shape import dimension

    dim = x.dims[axis]
    if isinstance(dim, int):
        return constant(value=_frozen(np.asarray(dim, dtype.numpy)))
    return cast(dimension(x, axis=axis), dtype=dtype)


def _frozen(value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    value.flags.writeable = False
    return value
