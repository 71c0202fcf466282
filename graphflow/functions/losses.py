"""gf.nn: losses. Names, argument order and defaults are TensorFlow's; `name` is accepted for its sake and not used."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..dtypes import int32, int64
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..math import divide, log_softmax, operands, true_quotient
from ..ops.rules import equal_shapes
from ..tensor import Tensor, convert_to_tensor
from .reductions import reduce_max, reduce_sum, zeros_of

__all__ = [
    "compute_average_loss", "l2_loss", "log_poisson_loss", "scale_regularization_loss", "sigmoid_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits", "sparse_softmax_cross_entropy_with_logits", "weighted_cross_entropy_with_logits",
]  # fmt: skip


# Losses -------------------------------------------------------------------------------------------------------------
def softmax_cross_entropy_with_logits(labels: Any, logits: Any, axis: Any = -1, name: str | None = None) -> Tensor:
    """-sum(labels * log_softmax(logits)) along axis, which goes. labels: probabilities of logits' shape and dtype.

    The gradient in logits is sum(labels) * softmax(logits) - labels; labels get a gradient too. Raises ShapeError
    unless the shapes broadcast, DTypeError for mixed dtypes.
    """
    logits, labels = operands(logits, labels)
    return ops.negative(reduce_sum(ops.multiply(labels, log_softmax(logits, axis)), axis))


def sparse_softmax_cross_entropy_with_logits(labels: Any, logits: Any, name: str | None = None) -> Tensor:
    """-log_softmax(logits)[label] along the last axis. labels: integers of shape logits.shape[:-1], in [0, classes).

    Raises IndexOutOfRangeError for a label outside the classes, ShapeError where the shapes do not fit.
    """
    (logits,) = operands(logits)
    labels = convert_to_tensor(labels, dtype_hint=int32)
    if not labels.dtype.is_integer:
        raise DTypeError(f"sparse_softmax_cross_entropy_with_logits: labels must be integers, got {labels.type}")
    if not logits.dims or not equal_shapes(labels.dims, logits.dims[:-1]):
        raise ShapeError(
            f"sparse_softmax_cross_entropy_with_logits: labels must have the shape of logits without the last axis, "
            f"got labels: {labels.type} and logits: {logits.type}"
        )
    if labels.dtype not in (int32, int64):
        labels = ops.cast(labels, dtype=int64)
    last = len(logits.dims) - 1
    highest = ops.stop_gradient(reduce_max(logits, last, keepdims=True))
    total = ops.log(reduce_sum(ops.exp(ops.subtract(logits, highest)), last))
    # the label's logit is gathered from the logits themselves, which exist in memory: so it fuses with the row's sums
    chosen = ops.gather(logits, labels, axis=last, batch_dims=last)
    return ops.subtract(total, ops.subtract(chosen, ops.reshape(highest, shape=logits.dims[:-1])))


def sigmoid_cross_entropy_with_logits(labels: Any = None, logits: Any = None, name: str | None = None) -> Tensor:
    """The cross entropy of independent labels (0 ... 1) and sigmoid(logits), element by element, without overflow.

    max(x, 0) - x * z + log1p(exp(-|x|)) for logits x and labels z.
    """
    if labels is None or logits is None:
        raise InvalidArgumentError("sigmoid_cross_entropy_with_logits: needs both labels and logits")
    x, z = operands(logits, labels)
    if not equal_shapes(x.dims, z.dims):
        raise ShapeError(f"sigmoid_cross_entropy_with_logits: shapes must be equal, got {x.type} and {z.type}")
    # selects instead of relu and abs: their slopes at 0 would give -z there where -z + 1/2 is right
    positive, minus = ops.greater_equal(x, zeros_of(x)), ops.negative(x)
    relu_x = ops.select(positive, x, zeros_of(x))
    minus_size = ops.select(positive, minus, x)
    return ops.add(ops.subtract(relu_x, ops.multiply(x, z)), ops.softplus(minus_size))


def weighted_cross_entropy_with_logits(labels: Any, logits: Any, pos_weight: Any, name: str | None = None) -> Tensor:
    """sigmoid_cross_entropy_with_logits with positive labels counted pos_weight times."""
    x, z, q = operands(logits, labels, pos_weight)
    if not equal_shapes(x.dims, z.dims):
        raise ShapeError(f"weighted_cross_entropy_with_logits: shapes must be equal, got {x.type} and {z.type}")
    weight = ops.add(ops.multiply(ops.subtract(q, 1.0), z), 1.0)
    tail = ops.add(ops.softplus(ops.negative(ops.absolute(x))), ops.relu(ops.negative(x)))
    return ops.add(ops.multiply(ops.subtract(1.0, z), x), ops.multiply(weight, tail))


def l2_loss(t: Any, name: str | None = None) -> Tensor:
    """sum(t ** 2) / 2 over all elements. Floats."""
    return ops.multiply(reduce_sum(ops.square(t)), 0.5)


def log_poisson_loss(targets: Any, log_input: Any, compute_full_loss: bool = False, name: str | None = None) -> Tensor:
    """exp(log_input) - log_input * targets: the Poisson loss up to a constant. compute_full_loss adds Stirling's approximation of
    log(targets!) where targets are above 1. Floats of one shape."""
    c, z = operands(log_input, targets)
    if not equal_shapes(c.dims, z.dims):
        raise ShapeError(f"log_poisson_loss: shapes must be equal, got {z.type} and {c.type}")
    result = ops.subtract(ops.exp(c), ops.multiply(c, z))
    if not compute_full_loss:
        return result
    small = ops.logical_and(ops.greater_equal(z, zeros_of(z)), ops.less_equal(z, convert_to_tensor(1, z.dtype)))
    safe = ops.select(small, convert_to_tensor(1, z.dtype), z)
    root = ops.multiply(ops.log(ops.multiply(safe, 2 * math.pi)), 0.5)
    stirling = ops.add(ops.subtract(ops.multiply(safe, ops.log(safe)), safe), root)
    return ops.add(result, ops.select(small, zeros_of(z), stirling))


def compute_average_loss(per_example_loss: Any, sample_weight: Any = None, global_batch_size: Any = None) -> Tensor:
    """The sum of per_example_loss (times sample_weight) over the number of examples, or over global_batch_size. Raises ShapeError for a
    scalar loss."""
    loss = convert_to_tensor(per_example_loss)
    if not loss.dims:
        raise ShapeError(f"compute_average_loss: needs a loss for each example, got {loss.type}")
    if sample_weight is not None:
        weight = ops.cast(convert_to_tensor(sample_weight), dtype=loss.dtype)
        spread = (*weight.dims, *(1,) * (len(loss.dims) - len(weight.dims)))
        loss = ops.multiply(loss, ops.reshape(weight, shape=spread))
    if global_batch_size is None:
        count: Any = convert_to_tensor(per_example_loss).shape[0]
    else:
        count = convert_to_tensor(global_batch_size)
        if count.dims or not count.dtype.is_integer:
            raise ShapeError(f"compute_average_loss: global_batch_size must be an integer scalar, got {count.type}")
    if not isinstance(count, int):
        count = ops.cast(convert_to_tensor(count), dtype=loss.dtype)
    return divide(reduce_sum(loss), count)


def scale_regularization_loss(regularization_loss: Any) -> Tensor:
    """The sum of regularization_loss; there is one replica. Integers become floats, as by gf.divide."""
    return true_quotient(reduce_sum(regularization_loss))
