"""gf.nn: connectionist temporal classification with dense labels (Graves et al. 2006). Names, argument order and defaults are
TensorFlow's; `name` is accepted for its sake and not used."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..dtypes import float32, int32, int64
from ..errors import DTypeError, ShapeError
from ..math import log_softmax, operands
from ..ops.rules import equal_shapes, normalize_axis
from ..tensor import Tensor, convert_to_tensor
from .control_flow import scan
from .rearranging import sequence_mask
from .reductions import reduce_logsumexp

__all__ = ["collapse_repeated", "ctc_loss", "ctc_unique_labels"]

#: stands for log(0): finite, so that no difference of two of them is NaN, and exp of it is 0
_NOTHING = -1e30


def _part(x: Any, axis: int, begin: Any, size: Any) -> Any:
    rank = len(x.dims)
    return ops.strided_slice(
        x,
        begin=tuple(begin if a == axis else 0 for a in range(rank)),
        sizes=tuple(size if a == axis else d for a, d in enumerate(x.dims)),
        strides=(1,) * rank,
    )


def _later(x: Any, by: int) -> Any:
    """A matrix with each row's elements `by` places later, nothing before."""
    return _part(ops.pad(x, paddings=((0, 0), (by, 0)), mode="constant", constant=_NOTHING), 1, 0, x.dims[1])


def ctc_loss(
    labels: Any,
    logits: Any,
    label_length: Any,
    logit_length: Any,
    logits_time_major: bool = True,
    unique: Any = None,
    blank_index: int | None = None,
    name: str | None = None,
) -> Tensor:
    """-log of the probability of each label sequence, summed over all its alignments: [batch].

    labels: int32 or int64 [batch, labels]. logits: floats [time, batch, classes] ([batch, time, classes] unless logits_time_major).
    label_length, logit_length: [batch]. blank_index: the class of "no label" (0 unless given; negative ones count from the end). unique is
    not needed. A sequence that fits in no alignment has an infinite loss. The forward recursion in logarithms; the gradient follows.
    """
    places, x = convert_to_tensor(labels), convert_to_tensor(logits)
    own_length, time_length = (convert_to_tensor(v, dtype_hint=int32) for v in (label_length, logit_length))
    if not places.dtype.is_integer or not x.dtype.is_floating:
        raise DTypeError(f"ctc_loss: needs integer labels and float logits, got {places.type} and {x.type}")
    if x.dtype.is_narrow:  # whose range does not hold the logarithms of small probabilities
        wide = ops.cast(x, dtype=float32)
        loss: Any = ctc_loss(places, wide, own_length, time_length, logits_time_major, unique, blank_index)
        return ops.cast(loss, dtype=x.dtype)
    if len(x.dims) != 3 or len(places.dims) != 2:
        raise ShapeError(f"ctc_loss: needs labels of rank 2 and logits of rank 3, got {places.type} and {x.type}")
    if not logits_time_major:
        x = ops.transpose(x, permutation=(1, 0, 2))
    steps, batch, classes = x.dims
    count = places.dims[1]
    if not equal_shapes((places.dims[0], *own_length.dims, *time_length.dims), (batch,) * 3):
        raise ShapeError(
            f"ctc_loss: labels and lengths must have the logits' batch, got {places.type}, {own_length.type}, {time_length.type} "
            f"and {x.type}"
        )
    blank = normalize_axis("ctc_loss", 0 if blank_index is None else blank_index, int(classes))
    wide = 2 * count + 1
    numbers = ops.cast(places, dtype=int64)
    # blank, label, blank, label ... blank
    nothing = ops.broadcast_to(convert_to_tensor(blank, int64), shape=(batch, count, 1))
    pairs = ops.concat(nothing, ops.reshape(numbers, shape=(batch, count, 1)), axis=2)
    last = ops.broadcast_to(convert_to_tensor(blank, int64), shape=(batch, 1))
    symbols = ops.concat(ops.reshape(pairs, shape=(batch, 2 * count)), last, axis=1)
    logp = log_softmax(x, -1)
    spread = ops.broadcast_to(ops.reshape(symbols, shape=(1, batch, wide)), shape=(steps, batch, wide))
    emitted = ops.gather(logp, spread, axis=2, batch_dims=2)
    # a label may follow the label before it without a blank unless both are the same
    earlier = _part(ops.pad(symbols, paddings=((0, 0), (2, 0)), mode="constant", constant=-1), 1, 0, wide)
    place = ops.reshape(ops.iota(shape=(wide,), axis=0, dtype=int64), shape=(1, wide))
    is_label = ops.not_equal(symbols, convert_to_tensor(blank, int64))
    skips = ops.logical_and(ops.logical_and(is_label, ops.not_equal(symbols, earlier)), ops.greater_equal(place, 2))
    none = convert_to_tensor(_NOTHING, x.dtype)
    begins = ops.broadcast_to(ops.less(place, 2), shape=(batch, wide))
    first = ops.select(begins, ops.reshape(_part(emitted, 0, 0, 1), shape=(batch, wide)), none)
    running = ops.less(
        ops.reshape(ops.iota(shape=(steps,), axis=0, dtype=time_length.dtype), shape=(steps, 1)),
        ops.reshape(time_length, shape=(1, batch)),
    )

    def step(state: Any, own: Any) -> Any:
        emission, goes_on = own
        arrivals = ops.concat(
            *(
                ops.reshape(v, shape=(batch, wide, 1))
                for v in (state, _later(state, 1), ops.select(skips, _later(state, 2), none))
            ),
            axis=2,
        )
        moved = ops.add(reduce_logsumexp(arrivals, 2), emission)
        return ops.select(ops.reshape(goes_on, shape=(batch, 1)), ops.maximum(moved, none), state)

    state = first
    if steps != 1:
        rest = (_part(emitted, 0, 1, steps - 1), _part(running, 0, 1, steps - 1))
        states: Any = scan(step, rest, first)
        state = ops.reshape(_part(states, 0, steps - 2, 1), shape=(batch, wide))
    ends = ops.multiply(ops.cast(own_length, dtype=int64), 2)
    column = ops.reshape(ends, shape=(batch, 1))
    is_end = ops.logical_or(ops.equal(place, column), ops.equal(place, ops.subtract(column, 1)))
    total = reduce_logsumexp(ops.select(is_end, state, none), 1)
    possible = ops.greater(total, convert_to_tensor(_NOTHING / 2, x.dtype))
    return ops.select(possible, ops.negative(total), convert_to_tensor(float("inf"), x.dtype))


def collapse_repeated(labels: Any, seq_length: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
    """(labels with neighbours that are equal made one, padded with 0; the new lengths). labels[batch, time], seq_length[batch]. The new
    time axis is as long as the longest row: a run-time extent in a traced function."""
    x, lengths = operands(labels, seq_length)
    if len(x.dims) != 2 or not equal_shapes(lengths.dims, x.dims[:1]):
        raise ShapeError(
            f"collapse_repeated: needs labels [batch, time] and a length each, got {x.type} and {lengths.type}"
        )
    batch, steps = x.dims
    before = _part(ops.pad(x, paddings=((0, 0), (1, 0)), mode="constant", constant=0), 1, 0, steps)
    first = ops.equal(ops.iota(shape=(batch, steps), axis=1, dtype=int32), 0)
    inside: Any = sequence_mask(lengths, steps)
    kept = ops.logical_and(ops.logical_or(first, ops.not_equal(x, before)), inside)
    ones = ops.cast(kept, dtype=int64)
    counts = ops.reduce_sum(ones, axes=(1,), keepdims=False)
    mask: Any = sequence_mask(counts)
    width = mask.dims[1]
    target = ops.subtract(ops.cumulative(ones, axis=1, kind="sum"), 1)
    start = ops.multiply(ops.iota(shape=(batch, 1), axis=0, dtype=int64), _number(width))
    flat = ops.select(kept, ops.add(target, start), convert_to_tensor(-1, int64))
    found = ops.scatter_reduce(flat, x, rows=batch * width, kind="sum", drop_negative=True)
    return ops.reshape(found, shape=(batch, width)), ops.cast(counts, dtype=lengths.dtype)


def _number(dim: Any) -> Any:
    from ..tracing.tracer import dimension_tensor

    return convert_to_tensor(dim, int64) if isinstance(dim, int) else dimension_tensor(dim, int64)


def ctc_unique_labels(labels: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
    """(the different labels of each row in order of first appearance, padded with 0, int64; for each label its place among them, int32)."""
    x = convert_to_tensor(labels)
    if len(x.dims) != 2 or not x.dtype.is_integer:
        raise ShapeError(f"ctc_unique_labels: needs integer labels [batch, time], got {x.type}")
    batch, steps = x.dims
    same = ops.equal(ops.reshape(x, shape=(batch, steps, 1)), ops.reshape(x, shape=(batch, 1, steps)))
    places = ops.iota(shape=(batch, steps, steps), axis=2, dtype=int64)
    first = ops.reduce_min(ops.select(same, places, _number(steps)), axes=(2,), keepdims=False)
    is_first = ops.equal(first, ops.iota(shape=(batch, steps), axis=1, dtype=int64))
    rank = ops.subtract(ops.cumulative(ops.cast(is_first, dtype=int64), axis=1, kind="sum"), 1)
    own = ops.gather(rank, first, axis=1, batch_dims=1)
    start = ops.multiply(ops.iota(shape=(batch, 1), axis=0, dtype=int64), _number(steps))
    target = ops.select(is_first, ops.add(rank, start), convert_to_tensor(-1, int64))
    wide = ops.cast(x, dtype=int64)
    found = ops.scatter_reduce(target, wide, rows=batch * steps, kind="sum", drop_negative=True)
    return ops.reshape(found, shape=(batch, steps)), ops.cast(own, dtype=int32)
