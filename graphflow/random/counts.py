"""Poisson and binomial draws: inversion by sequential search where the mean is below 10, else transformed rejection with
squeeze (Hörmann: "The transformed rejection method for generating Poisson random variables", PTRS, and "The generation of
binomial random variates", BTRS, both 1993). All arithmetic is float64, whatever the dtype of the draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import ops
from ..dtypes import DType, as_dtype, bfloat16, bool_, float16, float32, float64, int32, int64, uint64
from ..errors import DTypeError
from ..ir.dims import Dim
from ..tensor import Tensor, TensorLike, convert_to_tensor
from .draws import dims_of, seed_state
from .rejection import accept, block, constant, element_keys, known_false, repeat, spread, unit

__all__ = ["binomial_of", "poisson_of", "rate_tensor", "stateless_binomial", "stateless_poisson"]

LARGE_MEAN = 10.0
ATTEMPTS = 128
MOST_STEPS = 110
"""Of the sequential search: the probability of a larger draw is below 1e-70 for means up to 10."""
DTYPES = (float16, bfloat16, float32, float64, int32, int64)


def _f64(value: float) -> Tensor:
    return constant(value, float64)


def rate_tensor(value: Any, label: str) -> Tensor:
    """A parameter as float64. Raises DTypeError for what is no number."""
    tensor = convert_to_tensor(value) if isinstance(value, TensorLike) else convert_to_tensor(value, float64)
    if tensor.dtype.is_bool or tensor.dtype.is_complex:
        raise DTypeError(f"{label}: parameters must be real numbers, got {tensor.type}")
    return tensor if tensor.dtype is float64 else ops.cast(tensor, dtype=float64)


def _result_dtype(dtype: Any, label: str) -> DType:
    wanted = as_dtype(dtype)
    if wanted not in DTYPES:
        raise DTypeError(f"{label}: draws {', '.join(d.name for d in DTYPES)}, got {wanted.name}")
    return wanted


def _inverted(
    u: Tensor, first: Tensor, ratio: Callable[[Tensor], Tensor], active: Tensor, dims: Sequence[Dim]
) -> Tensor:
    """The smallest k whose cumulative probability reaches u, for the active elements; p(k+1) = p(k) * ratio(k+1)."""

    def below(k: Tensor, p: Tensor, cumulative: Tensor, count: Tensor) -> Tensor:
        del p, count
        some = ops.logical_and(active, ops.greater(u, cumulative))
        rank = len(some.dims)
        found = ops.reduce_any(some, axes=tuple(range(rank)), keepdims=False) if rank else some
        return ops.logical_and(ops.less(k, _f64(MOST_STEPS)), found)

    def step(k: Tensor, p: Tensor, cumulative: Tensor, count: Tensor) -> list[Tensor]:
        following = ops.add(k, _f64(1.0))
        count = ops.select(ops.greater(u, cumulative), following, count)
        p = ops.multiply(p, ratio(following))
        return [following, p, ops.add(cumulative, p), count]

    whole = spread(0.0, dims, float64)
    start = ops.add(first, whole)
    return repeat(below, step, [_f64(0.0), start, start, whole])[3]


def _hat(u: Tensor, a: Tensor, b: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Hörmann's transformation: the candidate floor((2 a / us + b) u + centre), and us = 1/2 - |u|."""
    us = ops.subtract(_f64(0.5), ops.absolute(u))
    safe = ops.maximum(us, _f64(2.0**-60))
    slope = ops.add(ops.divide(ops.multiply(_f64(2.0), a), safe), b)
    return ops.floor(ops.add(ops.multiply(slope, u), centre)), safe


def poisson_of(state: Tensor, dims: Sequence[Dim], lam: Any, dtype: Any, label: str) -> Tensor:
    """Poisson draws of these extents, to which lam broadcasts. NaN (0 as an integer) where lam is negative or NaN."""
    wanted, whole = _result_dtype(dtype, label), tuple(dims)
    rate = ops.stop_gradient(rate_tensor(lam, label))
    keys = element_keys(state, whole)
    valid = ops.greater_equal(rate, _f64(0.0))
    large = ops.greater_equal(rate, _f64(LARGE_MEAN))
    small = ops.logical_and(valid, ops.logical_not(large))
    values = spread(float("nan"), whole, float64)
    if not known_false(small):
        low = ops.select(small, rate, _f64(1.0))
        u = unit(block(keys, constant(2**63, uint64), 0), float64)
        found = _inverted(u, ops.exp(ops.negative(low)), lambda k: ops.divide(low, k), small, whole)
        values = ops.select(small, found, values)
    if not known_false(large):
        values = _transformed_poisson(keys, ops.select(large, rate, _f64(LARGE_MEAN)), large, values, whole)
    return values if wanted is float64 else ops.cast(values, dtype=wanted)


def _transformed_poisson(keys: Tensor, rate: Tensor, large: Tensor, values: Tensor, dims: Sequence[Dim]) -> Tensor:
    b = ops.add(_f64(0.931), ops.multiply(_f64(2.53), ops.sqrt(rate)))
    a = ops.add(_f64(-0.059), ops.multiply(_f64(0.02483), b))
    inverse_alpha = ops.add(_f64(1.1239), ops.divide(_f64(1.1328), ops.subtract(b, _f64(3.4))))
    squeeze = ops.subtract(_f64(0.9277), ops.divide(_f64(3.6224), ops.subtract(b, _f64(2.0))))
    log_rate = ops.log(rate)

    def attempt(number: Tensor) -> tuple[Tensor, Tensor]:
        u = ops.subtract(unit(block(keys, number, 0), float64), _f64(0.5))
        v = unit(block(keys, number, 1), float64)
        k, us = _hat(u, a, b, ops.add(rate, _f64(0.43)))
        inside = ops.greater_equal(k, _f64(0.0))
        safe = ops.select(inside, k, _f64(0.0))
        quick = ops.logical_and(ops.greater_equal(us, _f64(0.07)), ops.less_equal(v, squeeze))
        bad = ops.logical_and(ops.less(us, _f64(0.013)), ops.greater(v, us))
        height = ops.subtract(
            ops.log(ops.multiply(v, inverse_alpha)), ops.log(ops.add(ops.divide(a, ops.multiply(us, us)), b))
        )
        target = ops.subtract(ops.subtract(ops.multiply(safe, log_rate), rate), ops.lgamma(ops.add(safe, _f64(1.0))))
        fine = ops.logical_and(ops.logical_not(bad), ops.less_equal(height, target))
        return k, ops.logical_and(inside, ops.logical_or(quick, fine))

    done = ops.logical_or(spread(False, dims, bool_), ops.logical_not(large))
    return accept(attempt, values, done, blocks=2, most=ATTEMPTS)


def binomial_of(state: Tensor, dims: Sequence[Dim], counts: Any, probs: Any, dtype: Any, label: str) -> Tensor:
    """Binomial draws of these extents, to which counts and probs broadcast. NaN (0 as an integer) for negative counts and
    probabilities outside [0, 1]."""
    wanted, whole = _result_dtype(dtype, label), tuple(dims)
    trials = ops.floor(ops.stop_gradient(rate_tensor(counts, label)))
    given = ops.stop_gradient(rate_tensor(probs, label))
    keys = element_keys(state, whole)
    one, zero = _f64(1.0), _f64(0.0)
    flip = ops.greater(given, _f64(0.5))
    p = ops.select(flip, ops.subtract(one, given), given)
    valid = ops.logical_and(ops.greater_equal(trials, zero), ops.greater_equal(p, zero))
    mean = ops.multiply(trials, p)
    large = ops.logical_and(valid, ops.greater_equal(mean, _f64(LARGE_MEAN)))
    small = ops.logical_and(valid, ops.logical_not(large))
    values = spread(float("nan"), whole, float64)
    if not known_false(small):
        n, q = ops.select(small, trials, one), ops.select(small, p, _f64(0.25))
        odds = ops.divide(q, ops.subtract(one, q))
        first = ops.exp(ops.multiply(n, ops.log1p(ops.negative(q))))
        u = unit(block(keys, constant(2**63, uint64), 0), float64)

        def ratio(k: Tensor) -> Tensor:
            left = ops.maximum(ops.subtract(n, ops.subtract(k, one)), zero)
            return ops.multiply(ops.divide(left, k), odds)

        found = ops.minimum(_inverted(u, first, ratio, small, whole), ops.add(n, spread(0.0, whole, float64)))
        values = ops.select(small, found, values)
    if not known_false(large):
        n, q = ops.select(large, trials, _f64(40.0)), ops.select(large, p, _f64(0.25))
        values = _transformed_binomial(keys, n, q, large, values, whole)
    values = ops.select(flip, ops.subtract(trials, values), values)
    return values if wanted is float64 else ops.cast(values, dtype=wanted)


def _transformed_binomial(
    keys: Tensor, n: Tensor, p: Tensor, large: Tensor, values: Tensor, dims: Sequence[Dim]
) -> Tensor:
    one, zero = _f64(1.0), _f64(0.0)
    deviation = ops.sqrt(ops.multiply(ops.multiply(n, p), ops.subtract(one, p)))
    b = ops.add(_f64(1.15), ops.multiply(_f64(2.53), deviation))
    a = ops.add(ops.add(_f64(-0.0873), ops.multiply(_f64(0.0248), b)), ops.multiply(_f64(0.01), p))
    centre = ops.add(ops.multiply(n, p), _f64(0.5))
    squeeze = ops.subtract(_f64(0.92), ops.divide(_f64(4.2), b))
    alpha = ops.multiply(ops.add(_f64(2.83), ops.divide(_f64(5.1), b)), deviation)
    log_odds = ops.subtract(ops.log(p), ops.log1p(ops.negative(p)))
    mode = ops.floor(ops.multiply(ops.add(n, one), p))

    def log_ways(k: Tensor) -> Tensor:
        """log of k! (n - k)!"""
        return ops.add(ops.lgamma(ops.add(k, one)), ops.lgamma(ops.add(ops.subtract(n, k), one)))

    peak = log_ways(mode)

    def attempt(number: Tensor) -> tuple[Tensor, Tensor]:
        u = ops.subtract(unit(block(keys, number, 0), float64), _f64(0.5))
        v = unit(block(keys, number, 1), float64)
        k, us = _hat(u, a, b, centre)
        inside = ops.logical_and(ops.greater_equal(k, zero), ops.less_equal(k, n))
        safe = ops.select(inside, k, zero)
        quick = ops.logical_and(ops.greater_equal(us, _f64(0.07)), ops.less_equal(v, squeeze))
        height = ops.log(ops.divide(ops.multiply(v, alpha), ops.add(ops.divide(a, ops.multiply(us, us)), b)))
        target = ops.add(ops.subtract(peak, log_ways(safe)), ops.multiply(ops.subtract(safe, mode), log_odds))
        return k, ops.logical_and(inside, ops.logical_or(quick, ops.less_equal(height, target)))

    done = ops.logical_or(spread(False, dims, bool_), ops.logical_not(large))
    return accept(attempt, values, done, blocks=2, most=ATTEMPTS)


def stateless_poisson(shape: Any, seed: Any, lam: Any, dtype: Any = int32, name: str | None = None) -> Tensor:
    """Poisson draws of mean lam, which broadcasts to shape. dtype: of the draws, an int or float."""
    label = "stateless_poisson"
    return poisson_of(seed_state(seed, label), dims_of(shape, label), lam, dtype, label)


def stateless_binomial(
    shape: Any, seed: Any, counts: Any, probs: Any, output_dtype: Any = int32, name: str | None = None
) -> Tensor:
    """How many of `counts` trials succeed that do so with probability `probs`; both broadcast to shape."""
    label = "stateless_binomial"
    return binomial_of(seed_state(seed, label), dims_of(shape, label), counts, probs, output_dtype, label)
