"""Sorting and searching. Names, argument order and defaults are TensorFlow's; `name` is accepted for its sake and not used.

NaN counts as the largest value; -0.0 and 0.0 are equal; equal elements keep their order (so of equal elements top_k takes the first).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..dtypes import as_dtype, int32, int64
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import SymbolicDim
from ..ops.rules import equal_shapes, integer, normalize_axis
from ..ops.search import search_sorted
from ..tensor import Tensor, convert_to_tensor, operands
from .indexing import part_of_axis
from .runtime_extent import as_extent

__all__ = [
    "TopK",
    "approx_max_k",
    "approx_min_k",
    "argsort",
    "in_top_k",
    "invert_permutation",
    "searchsorted",
    "sort",
    "top_k",
]


class TopK(NamedTuple):
    """What top_k returns."""

    values: Tensor
    indices: Tensor


def _last(x: Any, axis: Any, name: str) -> tuple[Any, tuple[int, ...] | None]:
    """x with `axis` as its last, and the permutation that swaps them (None if it is the last already)."""
    place = normalize_axis(name, axis, len(x.dims))
    if place == len(x.dims) - 1:
        return x, None
    order = list(range(len(x.dims)))
    order[place], order[-1] = order[-1], order[place]
    return ops.transpose(x, permutation=tuple(order)), tuple(order)


def _is_descending(name: str, direction: str) -> bool:
    if direction not in ("ASCENDING", "DESCENDING"):
        raise InvalidArgumentError(f"{name}: direction must be 'ASCENDING' or 'DESCENDING', got {direction!r}")
    return direction == "DESCENDING"


def _take_last(x: Any, places: Any) -> Any:
    """x[..., places[..., j]] row by row."""
    last = len(x.dims) - 1
    return ops.gather(x, places, axis=last, batch_dims=last)


def argsort(
    values: Any, axis: Any = -1, direction: str = "ASCENDING", stable: bool = False, name: str | None = None
) -> Tensor:
    """The int32 positions that put values in order along axis; always stable."""
    x = convert_to_tensor(values)
    moved, order = _last(x, axis, "argsort")
    places = ops.argsort(moved, descending=_is_descending("argsort", direction))
    return places if order is None else ops.transpose(places, permutation=order)


def sort(values: Any, axis: Any = -1, direction: str = "ASCENDING", name: str | None = None) -> Tensor:
    """values in order along axis. The gradient goes back to where each element came from."""
    x = convert_to_tensor(values)
    moved, order = _last(x, axis, "sort")
    ordered = _take_last(moved, ops.argsort(moved, descending=_is_descending("sort", direction)))
    return ordered if order is None else ops.transpose(ordered, permutation=order)


def top_k(input: Any, k: Any = 1, sorted: bool = True, index_type: Any = int32, name: str | None = None) -> TopK:
    """(values, indices) of the k largest elements of each row, in descending order (whatever `sorted` says); of equal elements the
    first. Raises InvalidArgumentError for a k that is negative or larger than the last axis."""
    x = convert_to_tensor(input)
    count = as_extent(k)
    if not x.dims:
        raise ShapeError(f"top_k: needs a tensor of rank 1 or more, got {x.type}")
    extent = x.dims[-1]
    if isinstance(count, int) and (count < 0 or isinstance(extent, int) and count > extent):
        raise InvalidArgumentError(
            f"top_k: k must be between 0 and the last extent, got {count} and {x.type} ({extent})"
        )
    kind = as_dtype(index_type)
    if kind not in (int32, int64):
        raise DTypeError(f"top_k: index_type must be int32 or int64, got {kind.name}")
    places = ops.argsort(x, descending=True)
    if count != extent:
        places = part_of_axis("top_k", places, len(x.dims) - 1, 0, count)
    values = _take_last(x, places)
    return TopK(values, places if kind is int32 else ops.cast(places, dtype=int64))


def approx_max_k(
    operand: Any,
    k: int,
    reduction_dimension: int = -1,
    recall_target: float = 0.95,
    reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
    name: str | None = None,
) -> TopK:
    """The k largest along reduction_dimension; exact here, whatever recall_target asks for."""
    x, order = _last(convert_to_tensor(operand), reduction_dimension, "approx_max_k")
    values, places = top_k(x, k)
    if order is None:
        return TopK(values, places)
    return TopK(ops.transpose(values, permutation=order), ops.transpose(places, permutation=order))


def approx_min_k(
    operand: Any,
    k: int,
    reduction_dimension: int = -1,
    recall_target: float = 0.95,
    reduction_input_size_override: int = -1,
    aggregate_to_topk: bool = True,
    name: str | None = None,
) -> TopK:
    """The k smallest along reduction_dimension; exact here, whatever recall_target asks for."""
    values, places = approx_max_k(ops.negative(convert_to_tensor(operand)), k, reduction_dimension)
    return TopK(ops.negative(values), places)


def in_top_k(targets: Any, predictions: Any, k: Any, name: str | None = None) -> Tensor:
    """Is predictions[i, targets[i]] among the k largest of its row? Ties at the border count as inside; a prediction that is not
    finite makes its row False, as does a target outside the classes."""
    targets, predictions = convert_to_tensor(targets), convert_to_tensor(predictions)
    if len(predictions.dims) != 2 or len(targets.dims) != 1:
        raise ShapeError(
            f"in_top_k: needs targets of rank 1 and predictions of rank 2, got {targets.type} and {predictions.type}"
        )
    if targets.dtype not in (int32, int64):
        raise DTypeError(f"in_top_k: targets must be int32 or int64, got {targets.type}")
    classes = predictions.dims[1]
    number = convert_to_tensor(predictions.shape[1], targets.dtype)
    zero = convert_to_tensor(0, targets.dtype)
    inside = ops.logical_and(ops.greater_equal(targets, zero), ops.less(targets, number))
    safe = ops.select(inside, targets, zero)
    own = ops.gather(predictions, safe, axis=1, batch_dims=1)
    row = ops.reshape(own, shape=(*targets.dims, 1))
    better = ops.reduce_sum(ops.cast(ops.greater(predictions, row), dtype=int64), axes=(1,), keepdims=False)
    finite = ops.reduce_all(ops.is_finite(predictions), axes=(1,), keepdims=False)
    sound = ops.logical_and(finite, inside) if classes != 0 else inside
    return ops.logical_and(sound, ops.less(better, convert_to_tensor(integer("in_top_k", "k", k), int64)))


def searchsorted(
    sorted_sequence: Any, values: Any, side: str = "left", out_type: Any = int32, name: str | None = None
) -> Tensor:
    """Where each of values would go into the sorted last axis of sorted_sequence to keep it in order: before equal elements
    (side="left") or after them ("right"). The other axes must agree."""
    if side not in ("left", "right"):
        raise InvalidArgumentError(f"searchsorted: side must be 'left' or 'right', got {side!r}")
    sequence, wanted = operands(sorted_sequence, values)
    kind = as_dtype(out_type)
    if kind not in (int32, int64):
        raise DTypeError(f"searchsorted: out_type must be int32 or int64, got {kind.name}")
    if len(sequence.dims) != len(wanted.dims) or not equal_shapes(sequence.dims[:-1], wanted.dims[:-1]):
        raise ShapeError(f"searchsorted: all axes but the last must agree, got {sequence.type} and {wanted.type}")
    return search_sorted(sequence, wanted, side=side, output_type=kind)


def invert_permutation(x: Any, name: str | None = None) -> Tensor:
    """y with y[x[i]] = i. Raises InvalidArgumentError (eager) where x is not a permutation; a position outside is an
    IndexOutOfRangeError in a compiled function."""
    x = convert_to_tensor(x)
    if len(x.dims) != 1 or x.dtype not in (int32, int64):
        raise ShapeError(f"invert_permutation: needs an int32 or int64 vector, got {x.type}")
    if not x.is_symbolic and not np.array_equal(np.sort(x.numpy()), np.arange(len(x.numpy()))):
        raise InvalidArgumentError(f"invert_permutation: {x.numpy().tolist()} is not a permutation")
    count = x.dims[0]
    numbers = ops.iota(shape=(count,), axis=0, dtype=x.dtype)
    assert isinstance(count, (int, SymbolicDim))
    return ops.scatter_reduce(x, numbers, rows=count, kind="sum")
