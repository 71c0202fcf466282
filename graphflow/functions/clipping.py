"""Limiting values and norms: gf.clip_by_value, clip_by_norm, clip_by_global_norm, global_norm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import ops
from ..errors import DTypeError, InvalidArgumentError
from ..math import operands
from ..tensor import Tensor, convert_to_tensor
from .reductions import reduce_sum

__all__ = ["clip_by_global_norm", "clip_by_norm", "clip_by_value", "global_norm"]


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Tensor:
    """t limited to [clip_value_min, clip_value_max]; NaN stays. At the edges the gradient goes to t."""
    t, low, high = operands(t, clip_value_min, clip_value_max)
    return ops.maximum(ops.minimum(t, high), low)


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Tensor:
    """t scaled down, where its L2 norm over axes (None: all) is above clip_norm, to that norm. Floats."""
    t, limit = operands(t, clip_norm)
    total = reduce_sum(ops.square(t), axes, keepdims=True)
    # where the sum is 0 its root has an infinite gradient, so it is not taken there
    positive = ops.greater(total, convert_to_tensor(0, t.dtype))
    one = convert_to_tensor(1, t.dtype)
    root = ops.select(positive, ops.sqrt(ops.select(positive, total, one)), total)
    return ops.divide(ops.multiply(t, limit), ops.maximum(root, limit))


def global_norm(t_list: Sequence[Any], name: str | None = None) -> Tensor:
    """sqrt(sum of all squares) over tensors of one float dtype; None entries are skipped."""
    if not isinstance(t_list, (list, tuple)):
        raise DTypeError(f"global_norm: needs a list of tensors, got {type(t_list).__name__}")
    total = None
    for t in t_list:
        if t is not None:
            part = reduce_sum(ops.square(t))
            total = part if total is None else ops.add(total, part)
    if total is None:
        raise InvalidArgumentError("global_norm: needs at least one tensor")
    return ops.sqrt(total)


def clip_by_global_norm(
    t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Tensor]:
    """(the tensors, all scaled by clip_norm / max(their global norm, clip_norm), that norm). None entries stay. An
    infinite or NaN norm gives NaN everywhere."""
    norm: Any = global_norm(t_list) if use_norm is None else convert_to_tensor(use_norm)
    norm, limit = operands(norm, clip_norm)
    one = convert_to_tensor(1, norm.dtype)
    scale = ops.multiply(limit, ops.minimum(ops.divide(one, norm), ops.divide(one, limit)))
    scale = ops.add(scale, ops.subtract(norm, norm))  # 0, or NaN where the norm is not finite
    return [None if t is None else ops.multiply(t, scale) for t in t_list], norm
