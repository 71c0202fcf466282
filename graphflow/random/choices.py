"""Draws of positions: classes by their logits, and orders of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..dtypes import as_dtype, bfloat16, float16, float32, int32, int64, uint64
from ..errors import DTypeError, ShapeError
from ..ir.dims import Dim
from ..tensor import Tensor, as_dim, convert_to_tensor
from .draws import FLOATS, algorithm_of, drawn, seed_state, total, working_dtype

__all__ = ["categorical_of", "shuffled", "stateless_categorical", "stateless_shuffle"]

#: gives the state of a draw of so many elements
TakeState = Callable[[Dim], Tensor]


def categorical_of(take_state: TakeState, logits: Any, num_samples: Any, dtype: Any, label: str) -> Tensor:
    """The class of the first of independent exponential clocks with rates exp(logits): argmax(logits - log(e)), which is
    Gumbel's trick. A class of logit -inf is never drawn."""
    scores = convert_to_tensor(logits)
    if scores.dtype not in FLOATS:
        raise DTypeError(f"{label}: logits must be floats, got {scores.type}")
    if len(scores.dims) != 2:
        raise ShapeError(f"{label}: logits must have shape [batch, classes], got {scores.type}")
    wanted = int64 if dtype is None else as_dtype(dtype)
    if wanted not in (int32, int64):
        raise DTypeError(f"{label}: draws int32 or int64, got {wanted.name}")
    samples = as_dim(num_samples)
    if isinstance(samples, int) and samples < 0:
        raise ShapeError(f"{label}: num_samples must not be negative, got {samples}")
    batch, classes = scores.dims
    if classes == 0:
        raise ShapeError(f"{label}: needs at least one class, got {scores.type}")
    if scores.dtype in (float16, bfloat16):
        scores = ops.cast(scores, dtype=float32)
    own, dims = working_dtype(scores.dtype), (batch, samples, classes)
    clocks = drawn(ops.random_exponential, take_state(total(dims)), dims, own)
    keys = ops.subtract(ops.reshape(ops.stop_gradient(scores), shape=(batch, 1, classes)), ops.log(clocks))
    found: Tensor = ops.argmax(keys, axis=2, output_type=wanted)
    return found


def shuffled(take_state: TakeState, value: Any, label: str) -> Tensor:
    """The rows of a tensor in the order of random 64-bit keys."""
    tensor = convert_to_tensor(value)
    if not tensor.dims:
        return tensor
    rows = tensor.dims[0]
    keys = drawn(ops.random_bits, take_state(rows), (rows,), uint64)
    found: Tensor = ops.gather(tensor, ops.argsort(keys, descending=False), axis=0, batch_dims=0)
    return found


def stateless_categorical(
    logits: Any, num_samples: Any, seed: Any, dtype: Any = int64, name: str | None = None
) -> Tensor:
    """`num_samples` classes for each row of logits [batch, classes], by their softmax: [batch, num_samples]."""
    return categorical_of(
        lambda count: seed_state(seed, "stateless_categorical"), logits, num_samples, dtype, "stateless_categorical"
    )


def stateless_shuffle(value: Any, seed: Any, alg: Any = "auto_select", name: str | None = None) -> Tensor:
    """The rows of a tensor (positions along axis 0) in an order that the seed decides."""
    algorithm_of(alg, "stateless_shuffle")
    return shuffled(lambda count: seed_state(seed, "stateless_shuffle"), value, "stateless_shuffle")
