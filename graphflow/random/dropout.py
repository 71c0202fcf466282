"""Dropout: elements set to zero at random, the others scaled up, as TensorFlow does it."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

from .. import ops
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import Dim
from ..tensor import Tensor, TensorLike, as_dim, as_shape, convert_to_tensor
from .draws import Sampler, algorithm_of, drawn, seed_state, take, total, working_dtype
from .stateful import stream

__all__ = ["dropout", "general_dropout", "stateless_dropout"]


def dropout(x: Any, rate: Any, noise_shape: Any = None, seed: int | None = None, name: str | None = None) -> Tensor:
    """x with each element set to 0 with probability `rate`, and divided by 1 - rate otherwise.

    x: floats. rate: in [0, 1), a number or a scalar tensor of x's dtype. noise_shape: the shape of the random choice, which
    broadcasts to x's: an extent of 1 drops whole stretches, None stands for x's own. seed: an op seed (see set_seed).
    Raises InvalidArgumentError for a rate outside [0, 1), DTypeError, ShapeError.
    """

    def sample(dims: tuple[Dim, ...]) -> Callable[[Sampler], Tensor]:
        state = take(stream(seed), total(dims))
        return lambda draw: draw(state, dims)

    return _dropped("dropout", x, rate, noise_shape, sample)


def stateless_dropout(
    x: Any, rate: Any, seed: Any, rng_alg: Any = "auto_select", noise_shape: Any = None, name: str | None = None
) -> Tensor:
    """As dropout, but the choice depends on seed (two integers) and shape alone."""
    algorithm_of(rng_alg, "stateless_dropout")

    def sample(dims: tuple[Dim, ...]) -> Callable[[Sampler], Tensor]:
        state = seed_state(seed, "stateless_dropout")
        return lambda draw: draw(state, dims)

    return _dropped("stateless_dropout", x, rate, noise_shape, sample)


def general_dropout(
    x: Any, rate: Any, uniform_sampler: Callable[..., Any], noise_shape: Any = None, name: str | None = None
) -> Tensor:
    """As dropout, with the choice from uniform_sampler(shape=..., dtype=...), which draws from [0, 1)."""
    tensor, number = _arguments("general_dropout", x, rate)
    if number == 0:
        return tensor
    dims = _noise_dims("general_dropout", tensor, noise_shape)
    noise = convert_to_tensor(uniform_sampler(shape=list(dims), dtype=tensor.dtype))
    return _kept("general_dropout", tensor, rate, number, noise)


def _dropped(label: str, x: Any, rate: Any, noise_shape: Any, sample: Any) -> Tensor:
    tensor, number = _arguments(label, x, rate)
    dims = _noise_dims(label, tensor, noise_shape)
    draw = sample(dims)
    if number == 0:  # the stream has moved on as for any other rate
        return tensor
    own = working_dtype(tensor.dtype)
    return _kept(label, tensor, rate, number, draw(lambda state, d: drawn(ops.random_uniform, state, d, own)))


def _arguments(label: str, x: Any, rate: Any) -> tuple[Tensor, float | None]:
    """x as a tensor, and the rate if it is a number."""
    number = float(rate) if isinstance(rate, numbers.Real) else None
    if number is not None and not 0 <= number < 1:
        raise InvalidArgumentError(f"{label}: rate must be in [0, 1), got {rate}")
    tensor = convert_to_tensor(x)
    if not tensor.dtype.is_floating:
        raise DTypeError(f"{label}: x must be floats, got {tensor.type}")
    if number is None:
        if not isinstance(rate, TensorLike):
            raise InvalidArgumentError(f"{label}: rate must be a number or a scalar tensor, got {rate!r}")
        chance = convert_to_tensor(rate)
        if chance.dims:
            raise ShapeError(f"{label}: rate must be a scalar, got {chance.type}")
        if chance.dtype is not tensor.dtype:
            raise DTypeError(f"{label}: rate must have the dtype of x, got {chance.type} and {tensor.type}")
    return tensor, number


def _noise_dims(label: str, x: Tensor, noise_shape: Any) -> tuple[Dim, ...]:
    if noise_shape is None:
        return tuple(x.dims)
    given = list(as_shape(noise_shape) if isinstance(noise_shape, Tensor) else noise_shape)
    if len(given) == len(x.dims):
        given = [own if d is None else d for d, own in zip(given, x.dims, strict=True)]
    if any(d is None for d in given):
        raise ShapeError(f"{label}: a noise_shape with None needs x's rank, got {given} for {x.type}")
    return tuple(as_dim(d) for d in given)


def _kept(label: str, x: Tensor, rate: Any, number: float | None, noise: Tensor) -> Tensor:
    from ..ops.rules import broadcast_shapes, equal_shapes

    if not equal_shapes(broadcast_shapes(label, [x.type, noise.type.with_shape(tuple(noise.dims))]), x.dims):
        raise ShapeError(f"{label}: noise_shape must broadcast to x, got {list(noise.dims)} for {x.type}")
    if number is not None:
        scaled, least = ops.multiply(x, 1 / (1 - number)), convert_to_tensor(number, noise.dtype)
    else:
        tensor = convert_to_tensor(rate)
        scaled = ops.divide(x, ops.subtract(convert_to_tensor(1.0, x.dtype), tensor))
        least = tensor if tensor.dtype is noise.dtype else ops.cast(tensor, dtype=noise.dtype)
    found: Tensor = ops.select(ops.greater_equal(noise, least), scaled, convert_to_tensor(0.0, x.dtype))
    return found
