"""Random draws: pure functions of a state and an element's position.

A state is i64[2], (counter, key). Element k of a draw (row-major) is made from the Threefry-2x32 block of the key and
counter + k, so that it depends on nothing else: not on what is fused, on threads, or on the target. A draw of n elements
is followed by `random_skip` of n. States of stateless draws come from a seed by `random_state`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dtypes import DType, float32, float64, int32, int64, uint32, uint64
from ..errors import DTypeError, ShapeError
from ..ir.dims import Dim, require_equal
from ..ir.op import Indexed, Op, Pointwise, Sample, define_op
from ..ir.types import TensorType
from .rules import broadcast_shapes

__all__ = [
    "random_bits", "random_block", "random_exponential", "random_normal", "random_normal_word", "random_range",
    "random_skip", "random_state", "random_truncated_normal", "random_uniform",
]  # fmt: skip

Array = np.ndarray[Any, Any]

SECOND_KEY = 0x9E3779B97F4A7C15
"""Exclusive-ored into the key for the second block of an element (f64 normals): the golden ratio's bits, any odd number would do."""
CENTRAL = math.erf(math.sqrt(2.0))
"""The probability that a normal deviate is within two standard deviations."""


# NumPy: the definition ------------------------------------------------------------------------------------------------
def threefry(key: Any, counter: Any) -> Array:
    """Threefry-2x32 with 20 rounds of u64 keys and counters: the two words as one u64, the first in the low half."""
    key, counter = np.broadcast_arrays(np.asarray(key, np.uint64), np.asarray(counter, np.uint64))
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    schedule = [(key & low).astype(np.uint32), (key >> half).astype(np.uint32)]
    schedule.append(schedule[0] ^ schedule[1] ^ np.uint32(0x1BD11BDA))
    with np.errstate(over="ignore"):
        x0, x1 = (counter & low).astype(np.uint32) + schedule[0], (counter >> half).astype(np.uint32) + schedule[1]
        for group in range(5):
            for count in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
                x0 = x0 + x1
                x1 = ((x1 << np.uint32(count)) | (x1 >> np.uint32(32 - count))) ^ x0
            x0 = x0 + schedule[(group + 1) % 3]
            x1 = x1 + schedule[(group + 2) % 3] + np.uint32(group + 1)
    return np.asarray(x0.astype(np.uint64) | (x1.astype(np.uint64) << half))


def _blocks(state: Array, shape: Sequence[int], tweak: int = 0) -> Array:
    """The block of each element of a draw."""
    counter, key = state.astype(np.int64).view(np.uint64)
    place = np.arange(math.prod(shape), dtype=np.uint64).reshape(tuple(shape))
    with np.errstate(over="ignore"):
        return threefry(key ^ np.uint64(tweak), counter + place)


# The scalar language --------------------------------------------------------------------------------------------------
def _key_and_counter(s: Any, operands: Any, index: Any, shape: Sequence[Dim]) -> tuple[Any, Any]:
    """The key, and the counter of the element at `index`."""
    (state,) = operands
    place = s.const(0, int64)
    for k, position in enumerate(index):
        place = position if k == 0 else place * s.extent(shape[k]) + position
    counter = s.convert(state(s.const(0, int64)) + place, uint64)
    return s.convert(state(s.const(1, int64)), uint64), counter


def _joined(s: Any, key: Any, counter: Any) -> Any:
    """A block as a u64."""
    high = s.convert(s.threefry_high(key, counter), uint64) << 32
    return s.convert(s.threefry_low(key, counter), uint64) | high


def _require_state(name: str, state: TensorType) -> None:
    if state.dtype is not int64:
        raise DTypeError(f"{name}: a state is i64[2], got {state}")
    if state.rank != 1 or not require_equal(state.shape[0], 2):
        raise ShapeError(f"{name}: a state is i64[2], got {state}")


def _infer_draw(name: str, dtypes: Sequence[DType]) -> Callable[..., TensorType]:
    def infer(types: tuple[TensorType, ...], shape: tuple[Dim, ...], dtype: DType) -> TensorType:
        (state,) = types
        _require_state(name, state)
        if dtype not in dtypes:
            raise DTypeError(f"{name}: draws {', '.join(d.name for d in dtypes)}, got {dtype.name}")
        if any(isinstance(d, int) and d < 0 for d in shape):
            raise ShapeError(f"{name}: extents must not be negative, got {list(shape)}")
        return TensorType(dtype, tuple(shape), state.device)

    return infer


def _draw_samples(dtypes: Sequence[DType]) -> Callable[[], list[Sample]]:
    states = [np.array([0, 0]), np.array([2**32 - 2, -5]), np.array([-3, 1234567890123456789])]

    def make() -> list[Sample]:
        found = [
            Sample((state,), {"shape": shape, "dtype": dtype}, gradient=False)
            for dtype in dtypes
            for state, shape in zip(states * 2, [(7,), (2, 3), (), (0,), (1,), (3, 1, 2)], strict=True)
        ]
        found.append(Sample((np.array([0, 0, 0]),), {"shape": (2,), "dtype": dtypes[0]}, error=ShapeError))
        found.append(Sample((np.array([0.0, 0.0]),), {"shape": (2,), "dtype": dtypes[0]}, error=DTypeError))
        found.append(Sample((np.array([0, 0]),), {"shape": (-2,), "dtype": dtypes[0]}, error=ShapeError))
        return found

    return make


def _draw(
    name: str,
    dtypes: Sequence[DType],
    emit: Callable[[Any, Any, Any, DType], Any],
    reference: Callable[[Array, tuple[int, ...], DType], Any],
    documentation: str,
    cost: int,
) -> Op:
    """A draw of independent elements. emit(s, key, counter, dtype) -> Scalar."""

    def kernel(s: Any, operands: Any, index: Any, *, shape: Any, dtype: DType) -> Any:
        return emit(s, *_key_and_counter(s, operands, index, shape), dtype)

    return define_op(
        name, "state",
        attributes={"shape": ..., "dtype": ...},
        infer=_infer_draw(name, dtypes),
        kernel=Indexed(kernel, cost=cost),
        no_gradient="a draw does not depend smoothly on its state",
        reference=lambda state, shape, dtype: np.asarray(reference(state, shape, dtype), dtype.numpy),
        samples=_draw_samples(dtypes),
        documentation=documentation,
    )  # fmt: skip


random_bits = _draw(
    "random_bits",
    (uint32, uint64),
    lambda s, key, counter, dtype: s.threefry_low(key, counter) if dtype is uint32 else _joined(s, key, counter),
    lambda state, shape, dtype: _blocks(state, shape).astype(dtype.numpy),
    "Uniform bits: the first word of each element's block, or all of it.",
    cost=90,
)


def _emit_uniform(s: Any, key: Any, counter: Any, dtype: DType) -> Any:
    if dtype is float32:
        return s.convert(s.convert(s.threefry_low(key, counter) >> 8, int32), float32) * 2.0**-24
    return s.convert(s.convert(_joined(s, key, counter) >> 11, int64), float64) * 2.0**-53


def _uniform_reference(state: Array, shape: tuple[int, ...], dtype: DType) -> Any:
    blocks = _blocks(state, shape)
    if dtype is float32:
        return (blocks.astype(np.uint32) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
    return (blocks >> np.uint64(11)).astype(np.float64) * 2.0**-53


random_uniform = _draw(
    "random_uniform",
    (float32, float64),
    _emit_uniform,
    _uniform_reference,
    "Uniform in [0, 1): multiples of 2^-24 (f32) or 2^-53 (f64).",
    cost=94,
)


def _open_unit(s: Any, word: Any, dtype: DType) -> Any:
    """The word as a fraction in (0, 1], half a step off 0: relative precision near 0, so that its logarithm has a full tail."""
    if dtype is float32:
        return (s.convert(word, float32) + 0.5) * 2.0**-32
    return (s.convert(s.convert(word >> 11, int64), float64) + 0.5) * 2.0**-53


def _open_unit_reference(blocks: Array, dtype: DType) -> Array:
    if dtype is float32:
        return np.asarray((blocks.astype(np.uint32).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32))
    return np.asarray(((blocks >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53)


def _emit_normal(s: Any, key: Any, counter: Any, dtype: DType) -> Any:
    """Box and Muller's cosine: sqrt(-2 log u) cos(2 pi v)."""
    if dtype is float32:
        return _normal(s, s.threefry_low(key, counter), s.threefry_high(key, counter), dtype)
    return _normal(s, _joined(s, key, counter), _joined(s, key ^ SECOND_KEY, counter), dtype)


def _normal(s: Any, word: Any, turn: Any, dtype: DType) -> Any:
    """The normal deviate of two words, u32 for f32 and u64 for f64."""
    cosine = s.cos_turn_f32(turn) if dtype is float32 else s.cos_turn_f64(turn)
    return s.sqrt(s.log(_open_unit(s, word, dtype)) * -2.0) * cosine


def _cos_turn(fraction: Array) -> Array:
    """cos(2 pi fraction) of a fraction in [0, 1), with full relative precision at its zeros."""
    quarter = np.rint(fraction * 4)
    angle = (fraction * 4 - quarter) * (np.pi / 2)
    return np.asarray(
        np.choose(quarter.astype(int) % 4, [np.cos(angle), -np.sin(angle), -np.cos(angle), np.sin(angle)])
    )


def _normal_reference(state: Array, shape: tuple[int, ...], dtype: DType) -> Any:
    return _normal_of_words(_blocks(state, shape), _blocks(state, shape, SECOND_KEY), dtype)


def _normal_of_words(blocks: Array, second: Array, dtype: DType) -> Any:
    radius = np.sqrt(-2.0 * np.log(_open_unit_reference(blocks, dtype).astype(np.float64)))
    if dtype is float32:
        return (radius * _cos_turn((blocks >> np.uint64(32)).astype(np.float64) * 2.0**-32)).astype(np.float32)
    # 64 bits of turn: the quadrant is taken off in integers before the rest becomes a float
    rest = (second << np.uint64(2)).view(np.int64).astype(np.float64) * 2.0**-64 * (np.pi / 2)
    quarter = ((second + np.uint64(1 << 61)) >> np.uint64(62)).astype(int) % 4
    return radius * np.choose(quarter, [np.cos(rest), -np.sin(rest), -np.cos(rest), np.sin(rest)])


random_normal = _draw(
    "random_normal",
    (float32, float64),
    _emit_normal,
    _normal_reference,
    "Normal deviates of mean 0 and variance 1, by Box and Muller (1958); at most 6.8 (f32) or 8.7 (f64) in size.",
    cost=180,
)


def _emit_truncated_normal(s: Any, key: Any, counter: Any, dtype: DType) -> Any:
    """The quantile function on the central part of the distribution."""
    if dtype is float32:
        word = s.bitcast(s.threefry_low(key, counter) ^ (1 << 31), int32)
        signed = (s.convert(word, float32) + 0.5) * 2.0**-31
    else:
        word = s.bitcast(_joined(s, key, counter) ^ (1 << 63), int64) >> 11
        signed = (s.convert(word, float64) + 0.5) * 2.0**-52
    value = s.erfinv(signed * CENTRAL) * math.sqrt(2.0)
    return s.copysign(s.minimum(s.abs(value), s.const(2.0, dtype)), value)


def _truncated_normal_reference(state: Array, shape: tuple[int, ...], dtype: DType) -> Any:
    import scipy.special

    blocks = _blocks(state, shape)
    if dtype is float32:
        word = (blocks.astype(np.uint32) ^ np.uint32(1 << 31)).view(np.int32)
        signed = (word.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-31) * np.float32(CENTRAL)
    else:
        word = (blocks ^ np.uint64(1 << 63)).view(np.int64) >> np.int64(11)
        signed = (word.astype(np.float64) + 0.5) * 2.0**-52 * CENTRAL
    return np.clip(scipy.special.erfinv(signed.astype(np.float64)) * math.sqrt(2.0), -2.0, 2.0)


random_truncated_normal = _draw(
    "random_truncated_normal",
    (float32, float64),
    _emit_truncated_normal,
    _truncated_normal_reference,
    "Normal deviates of mean 0 and variance 1 under the condition of being in [-2, 2], by the quantile function.",
    cost=190,
)


def _emit_exponential(s: Any, key: Any, counter: Any, dtype: DType) -> Any:
    word = s.threefry_low(key, counter) if dtype is float32 else _joined(s, key, counter)
    return -s.log1p(-_open_unit(s, word, dtype))


random_exponential = _draw(
    "random_exponential",
    (float32, float64),
    _emit_exponential,
    lambda state, shape, dtype: -np.log1p(-_open_unit_reference(_blocks(state, shape), dtype).astype(np.float64)),
    "Exponential deviates of mean 1: -log(1 - u), never 0, with full precision near 0; infinite once in 2^25 (f32).",
    cost=135,
)


# States ---------------------------------------------------------------------------------------------------------------
def _emit_state(s: Any, operands: Any, index: Any) -> Any:
    (seed,) = operands
    first, second = (s.convert(s.convert(seed(s.const(k, int64)), int64), uint64) for k in (0, 1))
    return s.select(index[0].equal(0), s.const(0, int64), s.convert(_joined(s, first, second), int64))


def _infer_state(types: tuple[TensorType, ...]) -> TensorType:
    (seed,) = types
    if not seed.dtype.is_integer:
        raise DTypeError(f"random_state: a seed is two integers, got {seed}")
    if seed.rank != 1 or not require_equal(seed.shape[0], 2):
        raise ShapeError(f"random_state: a seed has shape [2], got {seed}")
    return TensorType(int64, (2,), seed.device)


random_state = define_op(
    "random_state", "seed",
    infer=_infer_state,
    kernel=Indexed(_emit_state, cost=90),
    no_gradient="a seed is an integer",
    reference=lambda seed: np.array([0, threefry(*seed.astype(np.int64).view(np.uint64)).view(np.int64)], np.int64),
    samples=lambda: [
        *(
            Sample((np.array(pair).astype(dtype),), gradient=False)
            for dtype in ("int32", "int64", "uint32", "uint64")
            for pair in [(0, 0), (1, 2), (7, -1), (-5, 123456789)]
        ),
        Sample((np.array([1, 2, 3]),), error=ShapeError),
        Sample((np.array([1.0, 2.0]),), error=DTypeError),
    ],
    documentation="The state of a seed: counter 0, and the block of the two numbers (sign-extended to 64 bits) as the key.",
)  # fmt: skip


def _infer_skip(types: tuple[TensorType, ...], count: Dim) -> TensorType:
    _require_state("random_skip", types[0])
    return types[0]


def _emit_skip(s: Any, operands: Any, index: Any, *, count: Dim) -> Any:
    (state,) = operands
    here = state(index[0])
    return s.select(index[0].equal(0), here + s.extent(count), here)


random_skip = define_op(
    "random_skip", "state",
    attributes={"count": ...},
    infer=_infer_skip,
    kernel=Indexed(_emit_skip, cost=3),
    no_gradient="a state is an integer",
    reference=lambda state, count: np.array([np.add(state[0], np.int64(count)), state[1]], np.int64),
    samples=lambda: [
        Sample((np.array([3, 4]),), {"count": 10}, gradient=False),
        Sample((np.array([-1, -4]),), {"count": 2**40}, gradient=False),
        Sample((np.array([2**32 - 1, 0]),), {"count": 1}, gradient=False),
        Sample((np.array([3]),), {"count": 10}, error=ShapeError),
        Sample((np.array([3.0, 4.0]),), {"count": 10}, error=DTypeError),
    ],
    documentation="The state after a draw of `count` elements.",
)  # fmt: skip


# Element by element ---------------------------------------------------------------------------------------------------
def _infer_words(name: str) -> Callable[..., TensorType]:
    def infer(types: tuple[TensorType, ...]) -> TensorType:
        if any(t.dtype is not uint64 for t in types):
            raise DTypeError(f"{name}: operands must be uint64, got {' and '.join(map(str, types))}")
        return types[0].with_shape(broadcast_shapes(name, types))

    return infer


def _word_samples(count: int) -> Callable[[], list[Sample]]:
    def words(shape: tuple[int, ...], seed: int) -> Array:
        return np.random.default_rng(seed).integers(0, 2**64, shape, np.uint64)

    return lambda: [
        *(
            Sample(tuple(words(shape, 3 * k + j) for k, shape in enumerate(shapes)), gradient=False)
            for j, shapes in enumerate([((5,),) * count, ((2, 3),) * (count - 1) + ((),), ((0,),) * count])
        ),
        Sample((np.zeros(2, np.int64),) * count, error=DTypeError),
        Sample((*(np.zeros(2, np.uint64),) * (count - 1), np.zeros(3, np.uint64)), error=ShapeError),
    ]


def _infer_floats(name: str) -> Callable[..., TensorType]:
    words = _infer_words(name)

    def infer(types: tuple[TensorType, ...], dtype: DType) -> TensorType:
        if dtype not in (float32, float64):
            raise DTypeError(f"{name}: draws float32 or float64, got {dtype.name}")
        return TensorType(dtype, words(types).shape, types[0].device)

    return infer


def _emit_normal_word(s: Any, first: Any, second: Any, *, dtype: DType) -> Any:
    if dtype is float32:
        return _normal(s, s.convert(first, uint32), s.convert(first >> 32, uint32), dtype)
    return _normal(s, first, second, dtype)


random_normal_word = define_op(
    "random_normal_word", "first second",
    attributes={"dtype": ...},
    infer=_infer_floats("random_normal_word"),
    kernel=Pointwise(_emit_normal_word, cost=90),
    no_gradient="integers have no gradient",
    reference=lambda first, second, dtype: np.asarray(
        _normal_of_words(first + second * np.uint64(0), second + first * np.uint64(0), dtype), dtype.numpy
    ),
    samples=lambda: [
        Sample(sample.arrays, {"dtype": dtype}, sample.error, False)
        for dtype in (float32, float64)
        for sample in _word_samples(2)()
    ],
    documentation="The normal deviate of a block's two words (f32, of `first` alone), or of two blocks (f64); see random_normal.",
)  # fmt: skip

random_block = define_op(
    "random_block", "key counter",
    infer=_infer_words("random_block"),
    kernel=Pointwise(lambda s, key, counter: _joined(s, key, counter), cost=90),
    no_gradient="integers have no gradient",
    reference=threefry,
    samples=_word_samples(2),
    documentation="The Threefry-2x32-20 block of each key and counter (u64), the first word in the low half.",
)  # fmt: skip


def _emit_range(s: Any, bits: Any, size: Any) -> Any:
    """The high half of the 128-bit product, from 32-bit halves; a size of 0 stands for 2^64."""
    low = 0xFFFFFFFF
    a0, a1, b0, b1 = bits & low, bits >> 32, size & low, size >> 32
    middle = a1 * b0 + ((a0 * b0) >> 32)
    high = a1 * b1 + (middle >> 32) + ((a0 * b1 + (middle & low)) >> 32)
    return s.select(size.equal(0), bits, high)


def _range_reference(bits: Array, size: Array) -> Array:
    bits, size = np.broadcast_arrays(bits, size)
    found = [int(b) if n == 0 else int(b) * int(n) >> 64 for b, n in zip(bits.flat, size.flat, strict=True)]
    return np.array(found, np.uint64).reshape(bits.shape)


random_range = define_op(
    "random_range", "bits size",
    infer=_infer_words("random_range"),
    kernel=Pointwise(_emit_range, cost=14),
    no_gradient="integers have no gradient",
    reference=_range_reference,
    samples=_word_samples(2),
    documentation="""Uniform u64 bits scaled to [0, size): floor(bits * size / 2^64), whose probabilities differ by less
than size / 2^64; size 0 stands for 2^64.""",
)  # fmt: skip
