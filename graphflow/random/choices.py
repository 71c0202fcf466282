"""Draws of positions: classes by their logits, and orders of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..dtypes import as_dtype, bfloat16, float16, float32, int32, int64, uint32, uint64
from ..errors import DTypeError, ShapeError
from ..ir.dims import Dim
from ..tensor import Tensor, as_dim, convert_to_tensor
from .draws import FLOATS, algorithm_of, drawn, seed_state, total, working_dtype
from .rejection import constant, repeat

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
    """The rows of a tensor sorted by random keys: 32 random bits, then the row's number (below 2^32), so that no two are equal."""
    tensor = convert_to_tensor(value)
    if not tensor.dims:
        return tensor
    rows = tensor.dims[0]
    bits = ops.cast(drawn(ops.random_bits, take_state(rows), (rows,), uint32), dtype=uint64)
    place = ops.cast(ops.iota(shape=(rows,), axis=0, dtype=int64), dtype=uint64)
    keys = sort_words(ops.bitwise_or(ops.bitwise_left_shift(bits, constant(32, uint64)), place))
    order = ops.cast(ops.bitwise_and(keys, constant(0xFFFFFFFF, uint64)), dtype=int64)
    found: Tensor = ops.gather(tensor, order, axis=0, batch_dims=0)
    return found


def sort_words(words: Tensor) -> Tensor:
    """A vector of u64 in ascending order. In a graph: merge exchange (Batcher; Knuth, The Art of Computer Programming,
    volume 3, 5.2.2, algorithm M), a loop of log2(n) (log2(n) + 1) / 2 passes, each over all elements at once."""
    if not words.is_symbolic:
        return Tensor(np.sort(words._array), uint64)
    (count,) = words.dims
    place = ops.iota(shape=(count,), axis=0, dtype=int64)
    one, zero = constant(1, int64), constant(0, int64)
    size = ops.cast(ops.dimension(words, axis=0), dtype=int64)
    (top,) = repeat(
        lambda p: ops.logical_and(ops.greater(p, zero), ops.less(ops.add(p, p), size)),
        lambda p: [ops.add(p, p)],
        [ops.cast(ops.greater(size, one), dtype=int64)],
    )

    def more(p: Tensor, q: Tensor, r: Tensor, d: Tensor, keys: Tensor) -> Tensor:
        del q, r, d, keys
        return ops.greater(p, zero)

    def one_pass(p: Tensor, q: Tensor, r: Tensor, d: Tensor, keys: Tensor) -> list[Tensor]:
        lower = ops.logical_and(ops.equal(ops.bitwise_and(place, p), r), ops.less(ops.add(place, d), size))
        behind = ops.subtract(place, d)
        upper = ops.logical_and(ops.greater_equal(behind, zero), ops.equal(ops.bitwise_and(behind, p), r))
        partner = ops.select(lower, ops.add(place, d), ops.select(upper, behind, place))
        other = ops.gather(keys, partner, axis=0, batch_dims=0)
        swap = ops.logical_or(
            ops.logical_and(lower, ops.greater(keys, other)), ops.logical_and(upper, ops.less(keys, other))
        )
        last = ops.equal(q, p)
        half = ops.bitwise_right_shift(p, one)
        return [
            ops.select(last, half, p),
            ops.select(last, top, ops.bitwise_right_shift(q, one)),
            ops.select(last, zero, p),
            ops.select(last, half, ops.subtract(q, p)),
            ops.select(swap, other, keys),
        ]

    return repeat(more, one_pass, [top, top, zero, top, words])[4]


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
