"""Draws that depend on their arguments alone: shape, dtype, seed. The same in eager mode and in graphs, at every call."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..dtypes import DType, as_dtype, float32, int32, int64
from ..errors import DTypeError
from ..tensor import Tensor, convert_to_tensor
from .draws import (
    algorithm_of,
    dims_of,
    float_dtype,
    full_range,
    integer_rule,
    normal_of,
    seed_state,
    seed_tensor,
    truncated_of,
    uniform_dtype,
    uniform_of,
)

__all__ = ["fold_in", "split", "stateless_normal", "stateless_truncated_normal", "stateless_uniform"]


def stateless_uniform(
    shape: Any,
    seed: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = float32,
    name: str | None = None,
    alg: Any = "auto_select",
) -> Tensor:
    """Uniform draws in [minval, maxval); floats in [0, 1) by default.

    seed: two integers, shape [2]. Integer dtypes need both bounds, or both None for the whole range (the only form of the
    unsigned ones). Raises InvalidArgumentError for bounds that break these rules, DTypeError, ShapeError.
    """
    label = "stateless_uniform"
    algorithm_of(alg, label)
    wanted = uniform_dtype(dtype, label)
    integer_rule(wanted, minval, maxval, label, whole_range=True, unsigned_range=False)
    return uniform_of(seed_state(seed, label), dims_of(shape, label), minval, maxval, wanted, label)


def stateless_normal(
    shape: Any,
    seed: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = float32,
    name: str | None = None,
    alg: Any = "auto_select",
) -> Tensor:
    """Normal draws; mean and stddev may be tensors that broadcast to shape."""
    label = "stateless_normal"
    algorithm_of(alg, label)
    wanted = float_dtype(dtype, label)
    return normal_of(seed_state(seed, label), dims_of(shape, label), mean, stddev, wanted, label)


def stateless_truncated_normal(
    shape: Any,
    seed: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = float32,
    name: str | None = None,
    alg: Any = "auto_select",
) -> Tensor:
    """Normal draws within two standard deviations of the mean."""
    label = "stateless_truncated_normal"
    algorithm_of(alg, label)
    wanted = float_dtype(dtype, label)
    return truncated_of(seed_state(seed, label), dims_of(shape, label), mean, stddev, wanted, label)


def split(seed: Any, num: Any = 2, alg: Any = "auto_select") -> Tensor:
    """`num` new seeds, shape [num, 2], of the seed's dtype (int32 or int64)."""
    algorithm_of(alg, "split")
    tensor = seed_tensor(seed, "split")
    return full_range(ops.random_state(tensor), (*dims_of([num], "split"), 2), _seed_dtype(tensor.dtype))


def fold_in(seed: Any, data: Any, alg: Any = "auto_select") -> Tensor:
    """A new seed from a seed and a number (a step, a worker's rank), shape [2]. data: a scalar int32 or int64."""
    algorithm_of(alg, "fold_in")
    number = convert_to_tensor(data)
    if number.dtype not in (int32, int64):
        raise DTypeError(f"fold_in: data must be int32 or int64, got {number.type}")
    first = full_range(seed_state(seed, "fold_in"), (1,), number.dtype)
    found: Tensor = ops.concat(first, ops.reshape(number, shape=(1,)), axis=0)
    return found


def _seed_dtype(dtype: DType) -> DType:
    return dtype if dtype in (int32, int64) else as_dtype("int64")
