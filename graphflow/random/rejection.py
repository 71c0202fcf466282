"""Sampling by rejection, for whole tensors at once: a loop runs until every element has a draw.

Each element has a key of its own, made from its place in the draw; attempt j uses the blocks of that key at fixed counters.
So an element's draw depends on key, place and parameters alone, however many attempts its neighbours need. Traced, the
loop is a `while` node; eagerly it is a Python loop over the same ops, with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .. import ops
from ..dtypes import DType, float32, float64, int64, uint32, uint64
from ..ir.dims import Dim
from ..tensor import Tensor, active_trace, convert_to_tensor
from .draws import drawn

__all__ = ["accept", "block", "constant", "element_keys", "known_false", "repeat", "spread", "unit"]


def repeat(
    condition: Callable[..., Tensor], body: Callable[..., Sequence[Tensor]], values: Sequence[Tensor]
) -> list[Tensor]:
    """The values after body was applied while the condition held."""
    if active_trace.get() is None:
        current = list(values)
        while bool(condition(*current)):
            current = list(body(*current))
        return current
    from ..functions.control_flow import while_loop

    return list(while_loop(condition, lambda *now: list(body(*now)), list(values)))


def constant(value: float | int, dtype: DType) -> Tensor:
    """A scalar."""
    return convert_to_tensor(np.array(value, dtype.numpy))


def spread(value: float | bool, dims: Sequence[Dim], dtype: DType) -> Tensor:
    """A tensor of one number."""
    scalar = constant(value, dtype)
    found: Tensor = ops.broadcast_to(scalar, shape=tuple(dims)) if dims else scalar
    return found


def element_keys(state: Tensor, dims: Sequence[Dim]) -> Tensor:
    """A key for each element of a draw."""
    return drawn(ops.random_bits, state, dims, uint64)


def block(keys: Tensor, number: Tensor, offset: int) -> Tensor:
    """Each element's block `number + offset` (number: u64 scalar)."""
    found: Tensor = ops.random_block(keys, ops.add(number, constant(offset, uint64)) if offset else number)
    return found


def unit(words: Tensor, dtype: DType) -> Tensor:
    """Blocks as fractions in (0, 1]: half a step off 0, so that their logarithms are finite."""
    found: Tensor
    if dtype is float32:
        found = ops.cast(ops.cast(words, dtype=uint32), dtype=float32)
        return ops.multiply(ops.add(found, constant(0.5, dtype)), constant(2.0**-32, dtype))
    found = ops.cast(ops.cast(ops.bitwise_right_shift(words, constant(11, uint64)), dtype=int64), dtype=float64)
    return ops.multiply(ops.add(found, constant(0.5, dtype)), constant(2.0**-53, dtype))


def accept(
    attempt: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor, done: Tensor, blocks: int, most: int
) -> Tensor:
    """The first accepted candidate of each element.

    attempt(number) -> (candidates, accepted), from the blocks number ... number + blocks - 1. start: what stays where
    `done` holds from the beginning (elements without a distribution), and where `most` attempts were not enough: a bound
    that is not met in practice, since every attempt here succeeds with a probability above 0.7.
    """

    def unfinished(number: Tensor, done: Tensor, values: Tensor) -> Tensor:
        del values
        more = ops.less(number, constant(blocks * most, uint64))
        return ops.logical_and(more, ops.logical_not(_all(done)))

    def step(number: Tensor, done: Tensor, values: Tensor) -> list[Tensor]:
        candidates, fine = attempt(number)
        return [
            ops.add(number, constant(blocks, uint64)),
            ops.logical_or(done, fine),
            ops.select(done, values, candidates),
        ]

    return repeat(unfinished, step, [constant(0, uint64), done, start])[2]


def _all(truths: Tensor) -> Tensor:
    rank = len(truths.dims)
    found: Tensor = ops.reduce_all(truths, axes=tuple(range(rank)), keepdims=False) if rank else truths
    return found


def known_false(truths: Tensor) -> bool:
    """Is it known now that no element is true? Then a loop for those elements is left out."""
    if not truths.is_symbolic:
        return not np.any(truths._array)
    return False
