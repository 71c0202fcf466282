"""Candidate sampling: classes drawn from a known distribution, and the losses that are estimated with them (Jean et al. 2015; Gutmann and
Hyvärinen 2010). Names, argument order and defaults are TensorFlow's; the draws come from gf.random, so they are not TensorFlow's, while
their distribution and expected counts are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..dtypes import float32, float64, int32, int64
from ..errors import InvalidArgumentError, ShapeError
from ..ops.rules import equal_shapes
from ..random.stateful import categorical, uniform
from ..tensor import Tensor, convert_to_tensor, operands
from .indexing import gather
from .indexing import where as where_true
from .losses import sigmoid_cross_entropy_with_logits, softmax_cross_entropy_with_logits
from .reductions import reduce_sum
from .sorting import top_k

__all__ = [
    "all_candidate_sampler", "compute_accidental_hits", "fixed_unigram_candidate_sampler", "log_uniform_candidate_sampler", "nce_loss",
    "sampled_softmax_loss", "uniform_candidate_sampler",
]  # fmt: skip


class CandidateSampler(NamedTuple):
    """Sampled classes int64 [num_sampled], and how often each true class [batch, num_true] and each sampled class [num_sampled] is
    expected among them, float32."""

    sampled_candidates: Tensor
    true_expected_count: Tensor
    sampled_expected_count: Tensor


class AccidentalHits(NamedTuple):
    """Where a sampled class is a true one: row int32, place among the samples int64, weight (the lowest float32)."""

    indices: Tensor
    ids: Tensor
    weights: Tensor


def _checked(name: str, true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int) -> Any:
    classes = convert_to_tensor(true_classes, dtype_hint=int64)
    if len(classes.dims) != 2 or not equal_shapes(classes.dims[1:], (num_true,)):
        raise ShapeError(f"{name}: true_classes must be [batch, {num_true}], got {classes.type}")
    if num_sampled < 1 or range_max < 1 or unique and num_sampled > range_max:
        raise InvalidArgumentError(
            f"{name}: num_sampled must be at least 1 and, if unique, at most range_max, got {num_sampled} and {range_max}"
        )
    return ops.cast(classes, dtype=int64)


def _sampled(
    true: Any,
    probability: Callable[[Any], Any],
    draw: Callable[[], Any],
    logits: Any,
    count: int,
    unique: bool,
    seed: Any,
) -> CandidateSampler:
    """The samples and expected counts of a distribution. draw: independent samples; logits: log probabilities of all classes."""
    if not unique:
        chosen = draw()
        return CandidateSampler(
            chosen, ops.multiply(probability(true), float(count)), ops.multiply(probability(chosen), float(count))
        )
    # The classes with the largest log p + Gumbel noise are those that independent draws without repetition give, in their order.
    noise = uniform(logits.dims, dtype=float64, seed=seed)
    keys = ops.subtract(logits, ops.log(ops.negative(ops.log1p(ops.negative(noise)))))
    chosen = ops.cast(top_k(keys, count).indices, dtype=int64)
    # How many draws that would have taken: the wait for each new class is geometric.
    taken = ops.cumulative(ops.exp(gather(logits, chosen)), axis=0, kind="sum", exclusive=True)
    waiting = ops.log1p(ops.negative(uniform((count,), dtype=float64, seed=None if seed is None else seed + 1)))
    known = ops.greater(taken, 1e-12)
    repeats = ops.floor(
        ops.divide(waiting, ops.log(ops.select(known, ops.minimum(taken, 1 - 1e-12), convert_to_tensor(0.5, float64))))
    )
    tries = ops.add(reduce_sum(ops.select(known, repeats, ops.multiply(repeats, 0))), float(count))

    def expected(classes: Any) -> Any:
        wide = ops.cast(probability(classes), dtype=float64)
        return ops.cast(ops.negative(ops.expm1(ops.multiply(tries, ops.log1p(ops.negative(wide))))), dtype=float32)

    return CandidateSampler(chosen, expected(true), expected(chosen))


def all_candidate_sampler(
    true_classes: Any, num_true: int, num_sampled: int, unique: bool, seed: int | None = None, name: str | None = None
) -> CandidateSampler:
    """All of the classes 0 ... num_sampled - 1, each expected once."""
    true = _checked("all_candidate_sampler", true_classes, num_true, num_sampled, unique, num_sampled)
    one = convert_to_tensor(1, float32)
    return CandidateSampler(
        ops.iota(shape=(num_sampled,), axis=0, dtype=int64),
        ops.broadcast_to(one, shape=true.dims),
        ops.broadcast_to(one, shape=(num_sampled,)),
    )


def uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None = None,
    name: str | None = None,
) -> CandidateSampler:
    """Classes of [0, range_max), all as likely; without repetition if unique."""
    true = _checked("uniform_candidate_sampler", true_classes, num_true, num_sampled, unique, range_max)
    each = convert_to_tensor(1 / range_max, float32)
    logits = ops.broadcast_to(convert_to_tensor(-math.log(range_max), float64), shape=(range_max,))
    return _sampled(
        true,
        lambda classes: ops.broadcast_to(each, shape=classes.dims),
        lambda: uniform((num_sampled,), 0, range_max, int64, seed),
        logits,
        num_sampled,
        unique,
        seed,
    )


def log_uniform_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    seed: int | None = None,
    name: str | None = None,
) -> CandidateSampler:
    """Classes of [0, range_max) with P(c) = log((c + 2) / (c + 1)) / log(range_max + 1), as for classes sorted by falling frequency."""
    true = _checked("log_uniform_candidate_sampler", true_classes, num_true, num_sampled, unique, range_max)
    span = math.log(range_max + 1)

    def probability(classes: Any) -> Any:
        wide = ops.add(ops.cast(classes, dtype=float64), 1.0)
        return ops.cast(ops.multiply(ops.log1p(ops.reciprocal(wide)), 1 / span), dtype=float32)

    def draw() -> Any:
        noise = uniform((num_sampled,), dtype=float64, seed=seed)
        found = ops.subtract(ops.floor(ops.exp(ops.multiply(noise, span))), 1.0)
        return ops.minimum(ops.maximum(ops.cast(found, dtype=int64), 0), range_max - 1)

    classes = np.arange(1.0, range_max + 1.0)
    logits = convert_to_tensor(np.log(np.log1p(1 / classes) / span))
    return _sampled(true, probability, draw, logits, num_sampled, unique, seed)


def fixed_unigram_candidate_sampler(
    true_classes: Any,
    num_true: int,
    num_sampled: int,
    unique: bool,
    range_max: int,
    vocab_file: str = "",
    distortion: float = 1.0,
    num_reserved_ids: int = 0,
    num_shards: int = 1,
    shard: int = 0,
    unigrams: Sequence[float] = (),
    seed: int | None = None,
    name: str | None = None,
) -> CandidateSampler:
    """Classes with probabilities in proportion to unigrams ** distortion (the last column of the comma separated vocab_file, if that is
    given). The first num_reserved_ids classes are never drawn, and of the others only those of one shard, if num_shards > 1."""
    name_ = "fixed_unigram_candidate_sampler"
    true = _checked(name_, true_classes, num_true, num_sampled, unique, range_max)
    if bool(vocab_file) == bool(len(unigrams)):
        raise InvalidArgumentError(f"{name_}: give either vocab_file or unigrams")
    counts = [float(v) for v in unigrams]
    if vocab_file:
        with open(vocab_file, encoding="utf-8") as lines:
            counts = [float(line.rsplit(",", 1)[-1]) for line in lines if line.strip()]
    weights = np.concatenate([np.zeros(num_reserved_ids), np.asarray(counts, np.float64) ** distortion])
    if len(weights) != range_max:
        raise InvalidArgumentError(
            f"{name_}: needs a weight for each of range_max classes, got {len(weights)} (reserved ones included) and {range_max}"
        )
    kept = weights * (np.arange(range_max) % num_shards == shard)
    if kept.sum() <= 0:
        raise InvalidArgumentError(f"{name_}: no class has a positive weight, got {counts}")
    chances = weights / kept.sum()
    table = convert_to_tensor(chances.astype(np.float32))
    with np.errstate(divide="ignore"):
        logits = convert_to_tensor(np.log(kept / kept.sum()))
    row = ops.reshape(logits, shape=(1, range_max))
    return _sampled(
        true,
        lambda classes: gather(table, classes),
        lambda: ops.reshape(categorical(row, num_sampled, int64, seed), shape=(num_sampled,)),
        logits,
        num_sampled,
        unique,
        seed,
    )


def compute_accidental_hits(
    true_classes: Any, sampled_candidates: Any, num_true: int, seed: int | None = None, name: str | None = None
) -> AccidentalHits:
    """Where a true class is a sampled one, row by row, and its (last) place among the samples; how many
    there are is a run-time extent in a traced function."""
    true, sampled = (convert_to_tensor(v, dtype_hint=int64) for v in (true_classes, sampled_candidates))
    if len(true.dims) != 2 or not equal_shapes(true.dims[1:], (num_true,)) or len(sampled.dims) != 1:
        raise ShapeError(
            f"compute_accidental_hits: needs [batch, {num_true}] and a vector, got {true.type} and {sampled.type}"
        )
    batch, count = true.dims[0], sampled.dims[0]
    same = ops.equal(
        ops.reshape(ops.cast(true, dtype=int64), shape=(batch, num_true, 1)),
        ops.reshape(ops.cast(sampled, dtype=int64), shape=(1, 1, count)),
    )
    number = ops.iota(shape=(1, 1, count), axis=2, dtype=int64)
    last = ops.reduce_max(ops.select(same, number, convert_to_tensor(-1, int64)), axes=(2,), keepdims=False)
    places: Any = where_true(ops.greater_equal(last, convert_to_tensor(0, int64)))
    rows = places.dims[0]
    row = ops.reshape(ops.strided_slice(places, begin=(0, 0), sizes=(rows, 1), strides=(1, 1)), shape=(rows,))
    sample = ops.gather_nd(last, places, depth=2)
    weight = ops.broadcast_to(convert_to_tensor(float32.min, float32), shape=(rows,))
    return AccidentalHits(ops.cast(row, dtype=int32), sample, weight)


# Losses -------------------------------------------------------------------------------------------------------------
def _logits(
    name: str,
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int,
    sampled_values: Any,
    subtract_log_q: bool,
    remove_accidental_hits: bool,
    seed: int | None = None,
) -> tuple[Any, Any]:
    """(logits, targets) [batch, num_true + num_sampled] of the true classes and the sampled ones."""
    parts = operands(*weights) if isinstance(weights, (list, tuple)) else operands(weights)
    table = parts[0] if len(parts) == 1 else ops.concat(*parts, axis=0)
    bias, rows = convert_to_tensor(biases), convert_to_tensor(inputs)
    true = ops.cast(convert_to_tensor(labels), dtype=int64)
    if len(true.dims) == 1:
        true = ops.reshape(true, shape=(*true.dims, 1))
    if len(table.dims) != 2 or len(rows.dims) != 2 or not equal_shapes(table.dims[1:], rows.dims[1:]):
        raise ShapeError(
            f"{name}: needs weights [classes, dim] and inputs [batch, dim], got {table.type} and {rows.type}"
        )
    if sampled_values is None:
        sampled_values = log_uniform_candidate_sampler(true, num_true, num_sampled, True, num_classes, seed)
    sampled, true_count, sampled_count = (ops.stop_gradient(convert_to_tensor(v)) for v in sampled_values)
    sampled = ops.cast(sampled, dtype=int64)
    batch, width = rows.dims
    flat = ops.reshape(true, shape=(batch * num_true,))
    own = ops.reshape(gather(table, flat), shape=(batch, num_true, width))
    own_logits = ops.reduce_sum(
        ops.multiply(own, ops.reshape(rows, shape=(batch, 1, width))), axes=(2,), keepdims=False
    )
    own_logits = ops.add(own_logits, ops.reshape(gather(bias, flat), shape=(batch, num_true)))
    other = ops.add(ops.matmul(rows, gather(table, sampled), transpose_b=True), gather(bias, sampled))
    if remove_accidental_hits:
        same = ops.equal(
            ops.reshape(true, shape=(batch, 1, num_true)), ops.reshape(sampled, shape=(1, *sampled.dims, 1))
        )
        hits = ops.reduce_sum(ops.cast(same, dtype=other.dtype), axes=(2,), keepdims=False)
        other = ops.add(other, ops.multiply(hits, float(float32.min)))
    if subtract_log_q:
        own_logits = ops.subtract(own_logits, ops.log(ops.cast(true_count, dtype=own_logits.dtype)))
        other = ops.subtract(other, ops.log(ops.cast(sampled_count, dtype=other.dtype)))
    share = ops.broadcast_to(convert_to_tensor(1 / num_true, other.dtype), shape=own_logits.dims)
    zero = ops.broadcast_to(convert_to_tensor(0, other.dtype), shape=other.dims)
    return ops.concat(own_logits, other, axis=1), ops.concat(share, zero, axis=1)


def nce_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = False,
    name: str = "nce_loss",
) -> Tensor:
    """The noise-contrastive loss of each row: the logistic loss of its true classes against sampled ones. weights[classes, dim] (or parts
    of it, one after another), biases[classes], labels[batch, num_true], inputs[batch, dim]. sampled_values: what a sampler returned (log
    uniform unless given)."""
    logits, targets = _logits(
        "nce_loss", weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values, True, remove_accidental_hits
    )  # fmt: skip
    return reduce_sum(sigmoid_cross_entropy_with_logits(targets, logits), 1)


def sampled_softmax_loss(
    weights: Any,
    biases: Any,
    labels: Any,
    inputs: Any,
    num_sampled: int,
    num_classes: int,
    num_true: int = 1,
    sampled_values: Any = None,
    remove_accidental_hits: bool = True,
    seed: int | None = None,
    name: str = "sampled_softmax_loss",
) -> Tensor:
    """The softmax loss of each row over its true classes and sampled ones; arguments as nce_loss."""
    logits, targets = _logits(
        "sampled_softmax_loss", weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values, True,
        remove_accidental_hits, seed,
    )  # fmt: skip
    return softmax_cross_entropy_with_logits(ops.stop_gradient(targets), logits)
