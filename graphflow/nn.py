"""gf.nn: activations, losses with logits, normalisation. Names, argument order and defaults are TensorFlow's; `name` is
accepted for its sake and not used. Everything here is composed of ops, so the compiler fuses it with its surroundings.
"""

from __future__ import annotations

import math as _math
from typing import Any

from . import ops
from .convolution import *  # noqa: F403
from .convolution import __all__ as _convolutions
from .dtypes import int32, int64
from .errors import DTypeError, InvalidArgumentError, ShapeError
from .math import (
    cast,
    l2_normalize,
    log_softmax,
    operands,
    sigmoid,
    softmax,
    softplus,
    softsign,
    tanh,
    zero_fraction,
)
from .ops.rules import equal_shapes, normalize_axis
from .pooling import *  # noqa: F403
from .pooling import __all__ as _poolings
from .random import nn_experimental as experimental
from .random.dropout import dropout
from .reductions import axes_of, reduce_max, reduce_mean, reduce_sum, zeros_of
from .sorting import in_top_k, top_k
from .tensor import Tensor, convert_to_tensor

__all__ = [
    "batch_normalization", "bias_add", "dropout", "elu", "embedding_lookup", "experimental", "gelu", "in_top_k", "l2_loss", "l2_normalize",
    "layer_normalization", "leaky_relu", "log_softmax", "moments", "relu", "relu6", "selu", "sigmoid",
    "sigmoid_cross_entropy_with_logits", "silu", "softmax", "softmax_cross_entropy_with_logits", "softplus", "softsign",
    "sparse_softmax_cross_entropy_with_logits", "swish", "tanh", "top_k", "weighted_cross_entropy_with_logits", "zero_fraction",
    *_convolutions, *_poolings,
]  # fmt: skip


# Activations --------------------------------------------------------------------------------------------------------
def relu(features: Any, name: str | None = None) -> Tensor:
    """max(features, 0); NaN stays. The gradient at 0 is 0."""
    return ops.relu(features)


def relu6(features: Any, name: str | None = None) -> Tensor:
    """min(max(features, 0), 6). The gradient is 0 at 0 and at 6."""
    (x,) = operands(features)
    # 6 first: on a tie the gradient goes there, so that it is 0 at 6, as in TensorFlow
    return ops.minimum(convert_to_tensor(6, x.dtype), ops.relu(x))


def leaky_relu(features: Any, alpha: Any = 0.2, name: str | None = None) -> Tensor:
    """Features where positive, else alpha * features. Integers are cast to float32 first. The gradient at 0 is
    alpha."""
    (x,) = operands(features)
    if x.dtype.is_integer:
        x = cast(x, "float32")
    return ops.select(ops.greater(x, zeros_of(x)), x, ops.multiply(x, alpha))


def elu(features: Any, name: str | None = None) -> Tensor:
    """Features where not negative, else exp(features) - 1. Floats."""
    (x,) = operands(features)
    zero = zeros_of(x)
    # the side that is not taken is computed at 0, so that it cannot overflow and spoil the gradient
    return ops.select(ops.greater_equal(x, zero), x, ops.expm1(ops.minimum(x, zero)))


def selu(features: Any, name: str | None = None) -> Tensor:
    """The scaled elu of self-normalising networks: 1.0507 * (features, or 1.67326 * (exp(features) - 1) below 0)."""
    (x,) = operands(features)
    zero = zeros_of(x)
    below = ops.multiply(ops.expm1(ops.minimum(x, zero)), 1.7580993408473768599402175208123)
    return ops.select(ops.greater_equal(x, zero), ops.multiply(x, 1.0507009873554804934193349852946), below)


def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Tensor:
    """Features times the normal distribution function there; approximate=True takes the tanh form. Floats."""
    (x,) = operands(features)
    if approximate:
        inner = ops.multiply(
            ops.add(x, ops.multiply(ops.multiply(ops.square(x), x), 0.044715)), _math.sqrt(2 / _math.pi)
        )
        return ops.multiply(ops.multiply(x, 0.5), ops.add(ops.tanh(inner), 1.0))
    return ops.multiply(ops.multiply(x, 0.5), ops.add(ops.erf(ops.multiply(x, _math.sqrt(0.5))), 1.0))


def silu(features: Any, beta: Any = 1.0) -> Tensor:
    """features * sigmoid(beta * features). Floats."""
    (x,) = operands(features)
    scaled = x if isinstance(beta, (int, float)) and beta == 1 else ops.multiply(x, beta)
    return ops.multiply(x, ops.sigmoid(scaled))


swish = silu


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


# Normalisation ------------------------------------------------------------------------------------------------------
def moments(
    x: Any, axes: Any, shift: Any = None, keepdims: bool = False, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """(mean, variance) over axes; the variance is the mean of the squared distances from the mean. shift is not
    used."""
    (x,) = operands(x)
    mean: Any = reduce_mean(x, axes, keepdims=True)
    variance = reduce_mean(ops.square(ops.subtract(x, mean)), axes, keepdims)
    if not keepdims:
        gone = axes_of("moments", axes, len(x.dims))
        mean = ops.reshape(mean, shape=tuple(d for a, d in enumerate(x.dims) if a not in gone))
    return mean, variance


def batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: Any, name: str | None = None
) -> Tensor:
    """(x - mean) / sqrt(variance + variance_epsilon) * scale + offset; offset and scale may be None. All broadcast."""
    x, mean, variance = operands(x, mean, variance)
    factor = ops.rsqrt(ops.add(variance, variance_epsilon))
    if scale is not None:
        factor = ops.multiply(factor, scale)
    shift: Any = ops.negative(ops.multiply(mean, factor))
    if offset is not None:
        shift = ops.add(offset, shift)
    return ops.add(ops.multiply(x, factor), shift)


def layer_normalization(
    x: Any,
    offset: Any = None,
    scale: Any = None,
    axis: Any = -1,
    variance_epsilon: float = 1e-3,
    name: str | None = None,
) -> Tensor:
    """Each slice along axis shifted and scaled to mean 0 and variance 1, then times scale plus offset.

    graphflow's own (TensorFlow has it in Keras). offset and scale broadcast against x, or are None. Floats.
    """
    (x,) = operands(x)
    centred = ops.subtract(x, reduce_mean(x, axis, keepdims=True))
    variance = reduce_mean(ops.square(centred), axis, keepdims=True)
    result = ops.multiply(centred, ops.rsqrt(ops.add(variance, variance_epsilon)))
    if scale is not None:
        result = ops.multiply(result, scale)
    return result if offset is None else ops.add(result, offset)


def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Tensor:
    """Value plus a vector along its last axis, or along axis 1 for a data_format that begins with "NC"."""
    value, bias = operands(value, bias)
    if data_format is not None and not data_format.startswith(("N...C", "NC", "NHWC", "NDHWC", "NWC")):
        raise InvalidArgumentError(f"bias_add: data_format must be 'N...C' or 'NC...', got {data_format!r}")
    if len(bias.dims) != 1 or len(value.dims) < 2:
        raise ShapeError(f"bias_add: needs a value of rank 2 or more and a vector, got {value.type} and {bias.type}")
    axis = 1 if data_format is not None and data_format.startswith("NC") else len(value.dims) - 1
    if not equal_shapes((value.dims[axis],), bias.dims):
        raise ShapeError(f"bias_add: the bias must have the extent of axis {axis}, got {value.type} and {bias.type}")
    after = len(value.dims) - 1 - axis
    return ops.add(value, ops.reshape(bias, shape=(*bias.dims, *(1,) * after)) if after else bias)


def embedding_lookup(params: Any, ids: Any, max_norm: Any = None, name: str | None = None) -> Tensor:
    """The rows of params that ids name; with max_norm, each scaled down to that L2 norm where it is longer."""
    params, ids = convert_to_tensor(params), convert_to_tensor(ids)
    normalize_axis("embedding_lookup", 0, len(params.dims))
    rows: Any = ops.gather(params, ids, axis=0, batch_dims=0)
    if max_norm is None:
        return rows
    from .clipping import clip_by_norm

    return clip_by_norm(rows, max_norm, axes=list(range(len(ids.dims), len(rows.dims))))
