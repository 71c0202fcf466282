"""gf.random.uniform and the other draws of the program's own streams, restarted by set_seed.

Without an op seed draws come from one stream. Each op seed has a stream of its own, which all calls with that seed share.
Both begin with the global seed.
"""

from __future__ import annotations

import secrets
import sys
import threading
from typing import Any

from ..dtypes import float32, int64
from ..locks import renew_after_fork
from ..ops.rules import integer
from ..tensor import Tensor, active_trace, convert_to_tensor
from ..variable import Variable
from .draws import (
    Sampler,
    dims_of,
    float_dtype,
    integer_rule,
    normal_of,
    take,
    total,
    truncated_of,
    uniform_dtype,
    uniform_of,
)
from .generator import create_rng_state

__all__ = ["categorical", "gamma", "normal", "poisson", "set_seed", "shuffle", "stream", "truncated_normal", "uniform"]

DEFAULT_GLOBAL_SEED = 87654321
"""What op seeds are joined with before set_seed was called."""

_lock = threading.RLock()


def renew_locks() -> None:
    """In a forked child."""
    global _lock
    _lock = threading.RLock()


renew_after_fork(sys.modules[__name__])
_seed: list[int | None] = [None]
#: op seed (None: draws without one) -> the variable of its stream
_streams: dict[int | None, Variable] = {}


def _start(op_seed: int | None) -> Any:
    if _seed[0] is None and op_seed is None:
        return create_rng_state(secrets.randbits(128))
    return create_rng_state(
        [DEFAULT_GLOBAL_SEED if _seed[0] is None else _seed[0], *([] if op_seed is None else [op_seed])]
    )


def stream(op_seed: int | None) -> Variable:
    """The variable of an op seed's stream; None: of the draws without one."""
    key = None if op_seed is None else integer("random", "seed", op_seed)
    with _lock:
        found = _streams.get(key)
        if found is None:
            token = active_trace.set(None)  # a stream made while tracing belongs to the program, not to the trace
            try:
                name = "random_stream" if key is None else f"random_stream_{key}"
                found = _streams[key] = Variable(_start(key), trainable=False, name=name, dtype=int64)
            finally:
                active_trace.reset(token)
        return found


def set_seed(seed: int) -> None:
    """Set the global seed and restart every stream, those of op seeds too. Compiled functions see it at their next call;
    inside a traced function it acts while tracing."""
    with _lock:
        _seed[0] = integer("set_seed", "seed", seed)
        token = active_trace.set(None)
        try:
            for op_seed, variable in _streams.items():
                variable.assign(convert_to_tensor(_start(op_seed)))
        finally:
            active_trace.reset(token)


def _draw(shape: Any, seed: int | None, label: str, sample: Sampler) -> Tensor:
    dims = dims_of(shape, label)
    return sample(take(stream(seed), total(dims)), dims)


def uniform(
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Uniform draws in [minval, maxval): floats in [0, 1) by default; integers need maxval."""
    wanted = uniform_dtype(dtype, "uniform")
    integer_rule(wanted, minval, maxval, "uniform", whole_range=False, unsigned_range=True)
    low = 0 if minval is None else minval
    return _draw(shape, seed, "uniform", lambda s, d: uniform_of(s, d, low, maxval, wanted, "uniform"))


def normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Normal draws; mean and stddev may be tensors that broadcast to shape."""
    wanted = float_dtype(dtype, "normal")
    return _draw(shape, seed, "normal", lambda s, d: normal_of(s, d, mean, stddev, wanted, "normal"))


def truncated_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Normal draws within two standard deviations of the mean."""
    wanted = float_dtype(dtype, "truncated_normal")
    return _draw(
        shape, seed, "truncated_normal", lambda s, d: truncated_of(s, d, mean, stddev, wanted, "truncated_normal")
    )


def categorical(
    logits: Any, num_samples: Any, dtype: Any = None, seed: int | None = None, name: str | None = None
) -> Tensor:
    """`num_samples` classes for each row of logits [batch, classes], by their softmax: int64 [batch, num_samples]."""
    from .choices import categorical_of

    return categorical_of(lambda count: take(stream(seed), count), logits, num_samples, dtype, "categorical")


def gamma(
    shape: Any, alpha: Any, beta: Any = None, dtype: Any = float32, seed: int | None = None, name: str | None = None
) -> Tensor:
    """Gamma draws of concentration alpha and rate beta (1): shape + the broadcast shape of alpha and beta."""
    from .gamma import gamma_of, parameter_dims

    outer = dims_of(shape, "gamma")
    inner = parameter_dims("gamma", float_dtype(dtype, "gamma"), alpha, beta)
    return _draw(
        (*outer, *inner), seed, "gamma", lambda s, d: gamma_of(s, d, alpha, beta, float_dtype(dtype, "gamma"), "gamma")
    )


def poisson(shape: Any, lam: Any, dtype: Any = float32, seed: int | None = None, name: str | None = None) -> Tensor:
    """Poisson draws of mean lam: shape + lam's shape. dtype: of the draws."""
    from .counts import poisson_of, rate_tensor

    outer, rate = dims_of(shape, "poisson"), rate_tensor(lam, "poisson")
    return _draw((*outer, *rate.dims), seed, "poisson", lambda s, d: poisson_of(s, d, rate, dtype, "poisson"))


def shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """The rows of a tensor (positions along axis 0) in random order."""
    from .choices import shuffled

    return shuffled(lambda count: take(stream(seed), count), value, "shuffle")
