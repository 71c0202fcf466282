"""Gamma draws, by Marsaglia and Tsang ("A simple method for generating gamma variables", 2000): d v with v = (1 + c x)^3 of
a normal x, accepted with a probability above 0.95. Below alpha = 1 a draw for alpha + 1 is scaled by u^(1 / alpha)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..dtypes import DType, bool_, float32
from ..ir.dims import Dim
from ..tensor import Tensor
from .draws import dims_of, finished, float_dtype, parameter, seed_state, working_dtype
from .rejection import accept, block, constant, element_keys, spread, unit

__all__ = ["gamma_of", "parameter_dims", "stateless_gamma"]

ATTEMPTS = 64


def parameter_dims(label: str, dtype: DType, *parameters: Any) -> tuple[Dim, ...]:
    """The shape that the parameters (None: left out) broadcast to. Raises ShapeError."""
    from ..ops.rules import broadcast_shapes

    own = working_dtype(dtype)
    tensors = [parameter(p, own, dtype, label, "a parameter") for p in parameters if p is not None]
    return broadcast_shapes(label, [t.type for t in tensors])


def gamma_of(state: Tensor, dims: Sequence[Dim], alpha: Any, beta: Any, dtype: DType, label: str) -> Tensor:
    """Gamma draws of these extents, to which alpha and beta broadcast. NaN where alpha is not positive. Differentiable in
    beta; alpha cuts the gradient."""
    own = working_dtype(dtype)
    concentration = ops.stop_gradient(parameter(alpha, own, dtype, label, "alpha"))
    rate = None if beta is None else parameter(beta, own, dtype, label, "beta")
    one, third = constant(1.0, own), constant(1 / 3, own)
    keys = element_keys(state, dims)
    small = ops.less(concentration, one)
    d = ops.subtract(ops.select(small, ops.add(concentration, one), concentration), third)
    c = ops.multiply(third, ops.rsqrt(d))

    def attempt(number: Tensor) -> tuple[Tensor, Tensor]:
        first, second = block(keys, number, 0), block(keys, number, 1)
        x = ops.random_normal_word(first, second, dtype=own)
        root = ops.add(ops.multiply(c, x), one)
        v = ops.multiply(ops.multiply(root, root), root)
        positive = ops.greater(v, constant(0.0, own))
        safe = ops.select(positive, v, one)
        bound = ops.add(
            ops.multiply(ops.multiply(x, x), constant(0.5, own)),
            ops.multiply(d, ops.add(ops.subtract(one, safe), ops.log(safe))),
        )
        u = unit(block(keys, number, 2), own)
        return ops.multiply(d, safe), ops.logical_and(positive, ops.less(ops.log(u), bound))

    whole = tuple(dims)
    invalid = ops.logical_not(ops.greater(concentration, constant(0.0, own)))
    done = ops.logical_or(spread(False, whole, bool_), invalid)
    values = accept(attempt, spread(float("nan"), whole, own), done, blocks=3, most=ATTEMPTS)
    # the boost's u is a block that no attempt uses
    power = ops.divide(ops.log(unit(block(keys, constant(2**63, keys.dtype), 0), own)), concentration)
    values = ops.select(small, ops.multiply(values, ops.exp(power)), values)
    if rate is not None:
        values = ops.divide(values, rate)
        tiny = constant(float(np.finfo(own.numpy).tiny), own)
        values = ops.select(ops.less(values, tiny), tiny, values)
    return finished(values, dtype)


def stateless_gamma(
    shape: Any, seed: Any, alpha: Any, beta: Any = None, dtype: Any = float32, name: str | None = None
) -> Tensor:
    """Gamma draws of concentration alpha and rate beta (1), which broadcast to shape. Differentiable in beta. NaN where
    alpha is not positive."""
    wanted = float_dtype(dtype, "stateless_gamma")
    dims = dims_of(shape, "stateless_gamma")
    return gamma_of(seed_state(seed, "stateless_gamma"), dims, alpha, beta, wanted, "stateless_gamma")
