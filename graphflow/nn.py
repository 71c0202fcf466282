"""gf.nn: activations, losses with logits, normalisation. Names, argument order and defaults are TensorFlow's; `name` is
accepted for its sake and not used. Everything here is composed of ops, so the compiler fuses it with its surroundings.
Unless said otherwise, operands are floats of any shape, and results have their shape and dtype; errors are those of
graphflow.functions.
"""

from __future__ import annotations

import math as _math
from typing import Any

from . import ops
from .arguments import guard
from .errors import InvalidArgumentError, ShapeError
from .functions.attention import dot_product_attention
from .functions.convolution import *  # noqa: F403
from .functions.convolution import __all__ as _convolutions
from .functions.ctc import *  # noqa: F403
from .functions.ctc import __all__ as _ctc
from .functions.fractional import *  # noqa: F403
from .functions.fractional import __all__ as _fractional
from .functions.indexing import gather
from .functions.losses import *  # noqa: F403
from .functions.losses import __all__ as _losses
from .functions.pooling import *  # noqa: F403
from .functions.pooling import __all__ as _poolings
from .functions.rearranging import batch_to_space, depth_to_space, space_to_batch, space_to_depth
from .functions.reductions import axes_of, reduce_mean, zeros_of
from .functions.sampling import (
    all_candidate_sampler,
    compute_accidental_hits,
    fixed_unigram_candidate_sampler,
    nce_loss,
    sampled_softmax_loss,
)
from .functions.sorting import approx_max_k, approx_min_k, in_top_k, top_k
from .functions.statistics import *  # noqa: F403
from .functions.statistics import __all__ as _statistics
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
from .random import nn_experimental as experimental
from .random.dropout import dropout
from .tensor import Tensor, convert_to_tensor

__all__ = [
    "all_candidate_sampler", "approx_max_k", "approx_min_k", "batch_normalization", "batch_to_space", "bias_add", "compute_accidental_hits",
    "crelu", "depth_to_space", "dot_product_attention", "dropout", "elu",
    "embedding_lookup", "experimental", "fixed_unigram_candidate_sampler", "gelu", "in_top_k",
    "l2_normalize", "layer_normalization", "leaky_relu", "log_softmax", "moments", "nce_loss", "relu", "relu6", "sampled_softmax_loss",
    "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "space_to_batch", "space_to_depth", "swish", "tanh", "top_k",
    "zero_fraction", *_convolutions, *_ctc, *_fractional, *_losses, *_poolings, *_statistics,
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
    return ops.leaky_relu(x, alpha)


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


def crelu(features: Any, axis: Any = -1, name: str | None = None) -> Tensor:
    """relu of features and of -features, one after the other along axis."""
    (x,) = operands(features)
    place = normalize_axis("crelu", axis, len(x.dims))
    return ops.relu(ops.concat(x, ops.negative(x), axis=place))


def silu(features: Any, beta: Any = 1.0) -> Tensor:
    """features * sigmoid(beta * features). Floats."""
    (x,) = operands(features)
    scaled = x if isinstance(beta, (int, float)) and beta == 1 else ops.multiply(x, beta)
    return ops.multiply(x, ops.sigmoid(scaled))


swish = silu


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
    ids = convert_to_tensor(ids)
    params = params if hasattr(params, "_looked_up") else convert_to_tensor(params)
    normalize_axis("embedding_lookup", 0, len(params.dims))
    rows: Any = gather(params, ids, axis=0)
    if max_norm is None:
        return rows
    from .functions.clipping import clip_by_norm

    return clip_by_norm(rows, max_norm, axes=list(range(len(ids.dims), len(rows.dims))))


guard("gf.nn", globals(), __all__)
