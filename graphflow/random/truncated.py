"""Normal draws between bounds of one's own. Where the interval reaches into the central part (|z| < 2) by the quantile function;
in the tails by rejection from an exponential distribution cut to the interval (after Robert, "Simulation of truncated
normal variables", 1995), accepted with a probability above 0.8."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..dtypes import bool_, float32, float64
from ..tensor import Tensor, TensorLike, convert_to_tensor
from .draws import dims_of, finished, float_dtype, seed_state
from .rejection import accept, block, constant, element_keys, known_false, spread, unit

__all__ = ["stateless_parameterized_truncated_normal"]

TAIL = 2.0
ATTEMPTS = 128


def stateless_parameterized_truncated_normal(
    shape: Any,
    seed: Any,
    means: Any = 0.0,
    stddevs: Any = 1.0,
    minvals: Any = -2.0,
    maxvals: Any = 2.0,
    name: str | None = None,
) -> Tensor:
    """Normal draws under the condition of lying in [minvals, maxvals]. The parameters broadcast to shape; the draws have the
    dtype of means. NaN where minvals < maxvals or stddevs > 0 does not hold."""
    label = "stateless_parameterized_truncated_normal"
    given = convert_to_tensor(means) if isinstance(means, TensorLike) else convert_to_tensor(means, dtype_hint=float32)
    wanted, whole = float_dtype(given.dtype, label), dims_of(shape, label)

    def wide(value: Any) -> Tensor:
        tensor = convert_to_tensor(value) if isinstance(value, TensorLike) else convert_to_tensor(value, wanted)
        return tensor if tensor.dtype is float64 else ops.cast(tensor, dtype=float64)

    mean, deviation, low, high = (ops.stop_gradient(wide(v)) for v in (given, stddevs, minvals, maxvals))
    zero, one, half = (constant(v, float64) for v in (0.0, 1.0, 0.5))
    a = ops.divide(ops.subtract(low, mean), deviation)
    b = ops.divide(ops.subtract(high, mean), deviation)
    valid = ops.logical_and(ops.less(a, b), ops.greater(deviation, zero))
    mirrored = ops.less_equal(b, constant(-TAIL, float64))
    left, right = ops.select(mirrored, ops.negative(b), a), ops.select(mirrored, ops.negative(a), b)
    in_tail = ops.logical_and(valid, ops.greater_equal(left, constant(TAIL, float64)))
    central = ops.logical_and(valid, ops.logical_not(in_tail))
    keys = element_keys(seed_state(seed, label), whole)
    values = spread(float("nan"), whole, float64)
    if not known_false(central):
        root = constant(math.sqrt(0.5), float64)
        ends = [ops.erf(ops.multiply(ops.select(central, side, end), root)) for side, end in ((a, zero), (b, one))]
        u = unit(block(keys, constant(2**63, keys.dtype), 0), float64)
        quantile = ops.erfinv(ops.add(ends[0], ops.multiply(u, ops.subtract(ends[1], ends[0]))))
        z = ops.multiply(quantile, constant(math.sqrt(2.0), float64))
        values = ops.select(central, ops.minimum(ops.maximum(z, a), b), values)
    if not known_false(in_tail):
        start = ops.select(in_tail, left, constant(TAIL, float64))
        length = ops.subtract(ops.select(in_tail, right, constant(math.inf, float64)), start)
        mass = ops.negative(ops.expm1(ops.negative(ops.multiply(start, length))))

        def attempt(number: Tensor) -> tuple[Tensor, Tensor]:
            u = unit(block(keys, number, 0), float64)
            excess = ops.divide(ops.negative(ops.log1p(ops.negative(ops.multiply(u, mass)))), start)
            excess = ops.minimum(excess, length)
            limit = ops.exp(ops.negative(ops.multiply(half, ops.multiply(excess, excess))))
            return ops.add(start, excess), ops.less_equal(unit(block(keys, number, 1), float64), limit)

        done = ops.logical_or(spread(False, whole, bool_), ops.logical_not(in_tail))
        values = accept(attempt, values, done, blocks=2, most=ATTEMPTS)
        values = ops.select(ops.logical_and(in_tail, mirrored), ops.negative(values), values)
    result = ops.add(ops.multiply(values, deviation), mean)
    result = ops.minimum(ops.maximum(result, low), high)
    return finished(result, wanted)
