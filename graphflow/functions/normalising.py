"""gf.math: tensors normalised along an axis."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..tensor import Tensor, operands
from .reductions import reduce_max, reduce_sum

__all__ = ["l2_normalize", "log_softmax", "softmax"]


def _shifted(logits: Any, axis: Any) -> tuple[Any, Any]:
    """logits - max(logits). The maximum only guards against overflow: the results do not depend on it, so it needs
    no gradient."""
    (logits,) = operands(logits)
    axis = -1 if axis is None else axis
    return ops.subtract(logits, ops.stop_gradient(reduce_max(logits, axis, keepdims=True))), axis


def softmax(logits: Any, axis: Any = None, name: str | None = None) -> Tensor:
    """exp(logits) / sum(exp(logits)) along axis (default: the last), without overflow. Floats."""
    shifted, axis = _shifted(logits, axis)
    exponentials = ops.exp(shifted)
    return ops.divide(exponentials, reduce_sum(exponentials, axis, keepdims=True))


def log_softmax(logits: Any, axis: Any = None, name: str | None = None) -> Tensor:
    """log(softmax(logits)) along axis (default: the last), without overflow. Floats."""
    shifted, axis = _shifted(logits, axis)
    return ops.subtract(shifted, ops.log(reduce_sum(ops.exp(shifted), axis, keepdims=True)))


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None, dim: Any = None) -> Tensor:
    """x / sqrt(max(sum(x ** 2), epsilon)) along axis (an int, several, or None for all). dim: an older name of axis."""
    axis = dim if axis is None else axis
    (x,) = operands(x)
    squares = ops.square(ops.absolute(x)) if x.dtype.is_complex else ops.square(x)
    total = reduce_sum(squares, axis, keepdims=True)
    scale = ops.rsqrt(ops.maximum(total, epsilon))
    return ops.multiply(x, ops.cast(scale, dtype=x.dtype) if x.dtype.is_complex else scale)
