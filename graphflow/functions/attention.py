"""gf.nn: attention. TensorFlow has none among its functions; the name, the arguments and the layout are those of jax.nn."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..dtypes import float32, int32
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import Dim
from ..math import operands, softmax
from ..tensor import Tensor, convert_to_tensor

__all__ = ["dot_product_attention"]


def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    *,
    scale: float | None = None,
    is_causal: bool = False,
    query_seq_lengths: Any = None,
    key_value_seq_lengths: Any = None,
    name: str | None = None,
) -> Tensor:
    """softmax(query key^T * scale + bias) value for each head: [batch..., times, heads, features of a value].

    query[batch..., times, heads, features]; key[batch..., others, key heads, features]; value[batch..., others, key heads, features of a
    value], of one float dtype. `heads` is a multiple of the key heads: each of those serves as many neighbouring queries' heads (grouped
    queries). The batch is one axis or none.

    bias and mask (bool) broadcast to [batch, heads, times, others]; where the mask is False, nothing is looked at. is_causal: time
    t looks at 0 ... t. query_seq_lengths[batch], key_value_seq_lengths[batch]: what lies behind a sequence's end is not looked at,
    and results behind a query's end are 0. scale: 1 / sqrt(features) unless given. A time that may look at nothing gets 0.

    The scores become weights in one loop (scale, bias, masks, maximum, exp, sum, quotient), at float32 for narrow floats. Raises
    DTypeError, ShapeError and InvalidArgumentError for operands that do not fit.
    """
    q, k, v = found = operands(query, key, value)
    if not q.dtype.is_floating:
        raise DTypeError(f"dot_product_attention: needs floats, got {q.type}; use gf.cast")
    rank = len(q.dims)
    if rank not in (3, 4) or any(len(t.dims) != rank for t in found):
        raise ShapeError(
            f"dot_product_attention: query, key and value must be [times, heads, features], or that with a batch before, got {q.type}, "
            f"{k.type} and {v.type}"
        )
    if rank == 3:
        q, k, v = (ops.reshape(t, shape=(1, *t.dims)) for t in (q, k, v))
    times, heads, features = q.dims[1:]
    others, key_heads = k.dims[1], k.dims[2]
    width = v.dims[3]
    _agree("batch", q, k, 0)
    _agree("batch", q, v, 0)
    _agree("features", q, k, 3)
    _agree("others", k, v, 1)
    _agree("heads", k, v, 2)
    if not isinstance(heads, int) or not isinstance(key_heads, int) or key_heads < 1 or heads % key_heads:
        raise ShapeError(
            f"dot_product_attention: the query's heads must be a known multiple of the key's, got {q.type} and {k.type} ({heads} and "
            f"{key_heads})"
        )
    if scale is None and not isinstance(features, int):
        raise ShapeError(f"dot_product_attention: features must be known where no scale is given, got {q.type}")
    factor = 1.0 / math.sqrt(max(features, 1)) if scale is None else float(scale)
    q, k, v = (ops.transpose(t, permutation=(0, 2, 1, 3)) for t in (q, k, v))
    if key_heads != heads:
        k, v = (_repeated(t, heads // key_heads) for t in (k, v))
    scores: Any = ops.multiply(ops.matmul(q, k, transpose_b=True), convert_to_tensor(factor, q.dtype))
    kind = scores.dtype
    if kind.is_narrow:
        scores = ops.cast(scores, dtype=float32)
    if bias is not None:
        added = convert_to_tensor(bias, kind)
        scores = ops.add(scores, ops.cast(added, dtype=scores.dtype) if added.dtype is not scores.dtype else added)
        if scores.dims != (q.dims[0], heads, times, others):
            raise ShapeError(
                f"dot_product_attention: the bias must broadcast to [batch, heads, times, others], got {added.type}"
            )
    seen = _visible(q, times, others, mask, is_causal, key_value_seq_lengths)
    if seen is None:
        weights = softmax(scores)
    else:
        masked = ops.select(seen, scores, convert_to_tensor(scores.dtype.min, scores.dtype))
        weights = ops.select(seen, softmax(masked), convert_to_tensor(0, scores.dtype))
    if weights.dtype is not kind:
        weights = ops.cast(weights, dtype=kind)
    result: Any = ops.transpose(ops.matmul(weights, v), permutation=(0, 2, 1, 3))
    if query_seq_lengths is not None:
        inside = ops.less(_count(times), _lengths("query_seq_lengths", query_seq_lengths, q))
        result = ops.select(ops.reshape(inside, shape=(*inside.dims, 1, 1)), result, convert_to_tensor(0, kind))
    return ops.reshape(result, shape=(times, heads, width)) if rank == 3 else result


def _agree(what: str, a: Any, b: Any, axis: int) -> None:
    """Raises ShapeError where two operands' known extents differ on an axis."""
    one, other = a.dims[axis], b.dims[axis]
    if isinstance(one, int) and isinstance(other, int) and one != other:
        raise ShapeError(
            f"dot_product_attention: {what} must be the same, got {a.type} and {b.type} ({one} and {other})"
        )


def _repeated(x: Any, times: int) -> Any:
    """Each head of x[batch, heads, others, features] several times."""
    batch, heads, others, features = x.dims
    alone = ops.reshape(x, shape=(batch, heads, 1, others, features))
    spread = ops.broadcast_to(alone, shape=(batch, heads, times, others, features))
    return ops.reshape(spread, shape=(batch, heads * times, others, features))


def _count(extent: Dim) -> Any:
    return ops.iota(shape=(extent,), axis=0, dtype=int32)


def _lengths(what: str, lengths: Any, q: Any) -> Any:
    found: Any = convert_to_tensor(lengths, int32) if not isinstance(lengths, Tensor) else lengths
    if not found.dtype.is_integer:
        raise DTypeError(f"dot_product_attention: {what} must be integers, got {found.type}")
    if len(found.dims) != 1:
        raise ShapeError(
            f"dot_product_attention: {what} must have one length for each of the batch, got {found.type} for {q.type}"
        )
    return ops.reshape(ops.cast(found, dtype=int32), shape=(found.dims[0], 1))


def _visible(q: Any, times: Dim, others: Dim, mask: Any, is_causal: bool, lengths: Any) -> Any:
    """Which others each time looks at, as a bool tensor that broadcasts to [batch, heads, times, others]; None: all."""
    conditions = []
    if mask is not None:
        given: Any = convert_to_tensor(mask)
        if not given.dtype.is_bool:
            error = InvalidArgumentError(f"dot_product_attention: the mask must be bool, got {given.type}")
            error.hint = "give numbers that are added to the scores as bias="
            raise error
        conditions.append(given)
    if is_causal:
        conditions.append(ops.greater_equal(ops.reshape(_count(times), shape=(times, 1)), _count(others)))
    if lengths is not None:
        inside = ops.less(_count(others), _lengths("key_value_seq_lengths", lengths, q))
        conditions.append(ops.reshape(inside, shape=(inside.dims[0], 1, 1, others)))
    seen = None
    for condition in conditions:
        seen = condition if seen is None else ops.logical_and(seen, condition)
    return seen
