"""Random bits in the scalar language: the counter-based generator Threefry-2x32 with 20 rounds, and the cosine of a turn.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). A block is a function of a
64-bit key and a 64-bit counter alone, made of 32-bit additions, rotations and exclusive ors: sixteen elements at once in a
512-bit vector. Two words a block suit one element a lane: Philox-4x32 makes four, of which an f32 draw would use one.
"""

from __future__ import annotations

import math

from ..dtypes import float32, float64, int32, int64, uint32
from .math_trigonometric import cos_reduced, sin_reduced
from .scalar import Scalar, ScalarBuilder

__all__ = ["cos_turn_f32", "cos_turn_f64", "threefry_high", "threefry_low"]

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def _words(s: ScalarBuilder, x: Scalar) -> tuple[Scalar, Scalar]:
    """The low and the high half of a u64."""
    return s.convert(x, uint32), s.convert(x >> 32, uint32)


def _rotated(x: Scalar, count: int) -> Scalar:
    return (x << count) | (x >> (32 - count))


def _threefry(s: ScalarBuilder, key: Scalar, counter: Scalar) -> tuple[Scalar, Scalar]:
    """The block of a u64 key and counter, as two u32 words."""
    first, second = _words(s, key)
    schedule = (first, second, first ^ second ^ PARITY)
    x0, x1 = _words(s, counter)
    x0, x1 = x0 + first, x1 + second
    for group in range(5):
        for count in ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = _rotated(x1, count) ^ x0
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + (schedule[(group + 2) % 3] + (group + 1))
    return x0, x1


def threefry_low(s: ScalarBuilder, key: Scalar, counter: Scalar) -> Scalar:
    """The first word (u32) of the block of a u64 key and counter."""
    return _threefry(s, key, counter)[0]


def threefry_high(s: ScalarBuilder, key: Scalar, counter: Scalar) -> Scalar:
    """The second word (u32) of the block of a u64 key and counter."""
    return _threefry(s, key, counter)[1]


def _cosine(s: ScalarBuilder, quadrant: Scalar, angle: Scalar) -> Scalar:
    """cos(quadrant * pi/2 + angle), |angle| <= pi/4; quadrant counts modulo 4."""
    cosine, sine = cos_reduced(s, angle, None), sin_reduced(s, angle, None)
    value = s.select((quadrant & 1).equal(0), cosine[0] + cosine[1], sine[0] + sine[1])
    return s.select(((quadrant + 1) & 2).equal(0), value, -value)


def cos_turn_f32(s: ScalarBuilder, word: Scalar) -> Scalar:
    """cos(2 pi word / 2^32) in f32, of a u32: the reduction to a quadrant is integer arithmetic, hence exact."""
    rest = s.convert(s.bitcast(word << 2, int32), float32) * 2.0**-32
    return _cosine(s, (word + (1 << 29)) >> 30, rest * (math.pi / 2))


def cos_turn_f64(s: ScalarBuilder, word: Scalar) -> Scalar:
    """cos(2 pi word / 2^64) in f64, of a u64."""
    rest = s.convert(s.bitcast(word << 2, int64), float64) * 2.0**-64
    return _cosine(s, (word + (1 << 61)) >> 62, rest * (math.pi / 2))
