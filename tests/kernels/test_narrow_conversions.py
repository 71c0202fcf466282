"""Conversions to and from float16 and bfloat16, bit for bit against a table of all their values and exact fractions."""

from __future__ import annotations

import ctypes
import functools
import math
from bisect import bisect_left
from fractions import Fraction

import numpy as np
import pytest

from graphflow import dtypes
from graphflow.dtypes import DType, bfloat16, bool_, float16, float32, float64, rounded
from graphflow.kernels.scalar import Scalar, ScalarBuilder
from graphflow.runtime.cpu import emit, llvm

NARROW = [float16, bfloat16]
INTEGERS = [
    dtypes.int8,
    dtypes.int16,
    dtypes.int32,
    dtypes.int64,
    dtypes.uint8,
    dtypes.uint16,
    dtypes.uint32,
    dtypes.uint64,
]
EXPONENT_BITS = {float16: 5, bfloat16: 8}

narrow = pytest.mark.parametrize("dtype", NARROW, ids=str)
halves = pytest.mark.parametrize("has_half", [True, False], ids=["processor", "integers"])
widths = pytest.mark.parametrize("lanes", [1, 16])


def decoded(bits: int, dtype: DType) -> Fraction | float:
    """The number that 16 bits stand for, by the definition of IEEE 754."""
    significand = 15 - EXPONENT_BITS[dtype]
    exponent, fraction = (bits & 0x7FFF) >> significand, bits & ((1 << significand) - 1)
    sign, bias = -1 if bits >> 15 else 1, (1 << (EXPONENT_BITS[dtype] - 1)) - 1
    if exponent == (1 << EXPONENT_BITS[dtype]) - 1:
        return math.nan if fraction else sign * math.inf
    scale = Fraction(2) ** (max(exponent, 1) - bias - significand)
    return sign * (fraction + ((1 << significand) if exponent else 0)) * scale


@functools.cache
def magnitudes(dtype: DType) -> tuple[list[Fraction], Fraction]:
    """The finite numbers that are not negative, in order (number k has the bits k), and where infinity begins."""
    finite: list[Fraction] = []
    for bits in range(1 << 15):
        number = decoded(bits, dtype)
        if not isinstance(number, Fraction):
            break
        finite.append(number)
    return finite, finite[-1] + (finite[-1] - finite[-2]) / 2


def nearest_bits(value: float | int, dtype: DType) -> int:
    """The bits of the nearest narrow number, the even one of two; found in the table of all of them. NaN is 0x7FFF."""
    if value != value:
        return 0x7FFF
    sign = 0x8000 if math.copysign(1.0, value if isinstance(value, float) else float(value)) < 0 else 0
    table, limit = magnitudes(dtype)
    size = abs(Fraction(value)) if math.isfinite(value) else limit
    if size >= limit:
        return sign | len(table)
    above = bisect_left(table, size)
    if table[min(above, len(table) - 1)] == size or above == 0:
        return sign | above
    below, middle = above - 1, None
    if above < len(table):
        middle = (table[below] + table[above]) / 2
    else:
        middle = limit
    return sign | (above if size > middle or size == middle and below % 2 else below)


def bits_of(array: np.ndarray) -> np.ndarray:
    """16 bits each; every NaN as 0x7FFF, if it is a quiet one."""
    found, dtype = np.asarray(array).view(np.uint16).astype(np.int64), dtypes.of_numpy(array.dtype)
    first = (1 << EXPONENT_BITS[dtype]) - 1 << (15 - EXPONENT_BITS[dtype])
    quiet = (found & 0x7FFF) >= first | (1 << (14 - EXPONENT_BITS[dtype]))
    return np.where(quiet, 0x7FFF, found)


def convert(values: np.ndarray, dtype: DType, lanes: int = 16) -> np.ndarray:
    """The compiled conversion of an array."""
    s = ScalarBuilder()
    return run([s.convert(s.parameter(0, dtypes.of_numpy(values.dtype)), dtype)], values, dtype, lanes)


def run(roots: list[Scalar], values: np.ndarray, dtype: DType, lanes: int = 16) -> np.ndarray:
    """A compiled function of one array."""
    text = emit.pointwise_function("convert", roots, [dtypes.of_numpy(values.dtype)], lanes)
    library = llvm.compile_module(text, ["convert"], {})
    result = np.empty(values.shape, dtype.numpy)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(library.address("convert"))
    call(values.ctypes.data, result.ctypes.data, values.size)
    return result


@pytest.fixture(autouse=True)
def _processor(request, monkeypatch):
    if "has_half" in request.fixturenames:
        value = request.getfixturevalue("has_half")
        monkeypatch.setattr(emit, "_has_half", lambda: value)


def borders(dtype: DType, start: DType) -> np.ndarray:
    """Numbers of a float dtype where the rounding to `dtype` changes: narrow numbers, the middles between neighbours and the
    numbers next to them, over the whole range and around its ends."""
    table, limit = magnitudes(dtype)
    picked = sorted(
        {
            *range(40),
            *range(0, len(table), 61),
            *range(len(table) - 20, len(table)),
            0x3FF,
            0x400,
            0x401,
            0x7F,
            0x80,
            0x81,
        }
    )
    ends = [*table, limit]
    exact = [ends[k] for k in picked] + [(ends[k] + ends[k + 1]) / 2 for k in picked if k + 1 < len(table)] + [limit]
    centre = np.array([float(v) for v in exact]).astype(start.numpy)
    with np.errstate(over="ignore", under="ignore"):
        around = [
            centre,
            np.nextafter(centre, start.numpy.type(np.inf)),
            np.nextafter(centre, start.numpy.type(-np.inf)),
        ]
        if start is float64:  # a rounding to float32 first would lose these
            around += [centre * (1 + 2.0**-40), centre * (1 - 2.0**-40)]
        random = np.random.default_rng(3)
        spread = np.ldexp(random.uniform(1, 2, 4000), random.integers(-160, 135, 4000)).astype(start.numpy)
        ordinary = random.uniform(-4, 4, 1000).astype(start.numpy)
    special = np.array(
        [np.nan, np.inf, np.finfo(start.numpy).max, np.finfo(start.numpy).smallest_subnormal], start.numpy
    )
    values = np.concatenate([*around, spread, ordinary, special])
    return np.concatenate([values, -values])


@narrow
@halves
@widths
def test_floats_round_once(dtype: DType, has_half: bool, lanes: int) -> None:
    for start in (float32, float64):
        values = borders(dtype, start)
        expected = [nearest_bits(float(v), dtype) for v in values]
        np.testing.assert_array_equal(bits_of(convert(values, dtype, lanes)), expected)
        np.testing.assert_array_equal(bits_of(rounded(values, dtype)), expected)


def integers(start: DType, dtype: DType) -> np.ndarray:
    limits = np.iinfo(start.numpy)
    random = np.random.default_rng(5)
    found = {0, 1, limits.max, limits.max - 1, limits.min, limits.min + 1}
    table, _ = magnitudes(dtype)
    for number in table[::7]:
        for other in (number, number * Fraction(257, 256), number * Fraction(2049, 2048)):  # between neighbours
            found.update(int(other) + k for k in (-1, 0, 1))
    for bits in range(start.itemsize * 8):
        base = 1 << bits
        found.update(int(v) for v in random.integers(base, base * 2 - 1, 20, dtype=np.uint64, endpoint=True))
        for shift in (7, 8, 9, 10, 11, 12):  # ties of either dtype, and what is just beside them
            if bits > shift:
                tie = base | base >> shift | (base >> (shift - 1))
                found.update(
                    (
                        tie - 1,
                        tie,
                        tie + 1,
                        (base | base >> shift) + 1,
                        base | base >> shift,
                        (base | base >> shift) - 1,
                    )
                )
    found |= {-v for v in found}
    return np.array(sorted(v for v in found if limits.min <= v <= limits.max), start.numpy)


@narrow
@halves
@pytest.mark.parametrize("start", INTEGERS, ids=str)
def test_integers_round_once(start: DType, dtype: DType, has_half: bool) -> None:
    values = integers(start, dtype)
    expected = [nearest_bits(int(v), dtype) for v in values]
    np.testing.assert_array_equal(bits_of(convert(values, dtype)), expected)
    np.testing.assert_array_equal(bits_of(rounded(values, dtype)), expected)


@narrow
@halves
@widths
def test_every_narrow_number_is_exact_in_wider_floats(dtype: DType, has_half: bool, lanes: int) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype.numpy)
    numbers = [decoded(k, dtype) for k in range(1 << 16)]
    for end in (float32, float64):
        found = convert(every, end, lanes)
        for number, got in zip(numbers, found.tolist(), strict=True):
            assert got == number or got != got and number != number
        assert np.array_equal(np.signbit(found)[found == 0], [False, True])  # 0.0 and -0.0
        back = convert(found, dtype, lanes)
        np.testing.assert_array_equal(bits_of(back)[~np.isnan(found)], np.arange(1 << 16)[~np.isnan(found)])
        assert np.isnan(back[np.isnan(found)].astype(np.float32)).all()


@narrow
@halves
@pytest.mark.parametrize("end", INTEGERS, ids=str)
def test_every_narrow_number_as_an_integer(dtype: DType, end: DType, has_half: bool) -> None:
    """Truncated, saturated, NaN to 0."""
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype.numpy)
    limits = np.iinfo(end.numpy)

    def whole(number: Fraction | float) -> int:
        if number != number:
            return 0
        if not isinstance(number, Fraction):
            return limits.max if number > 0 else limits.min
        return min(max(math.trunc(number), limits.min), limits.max)

    expected = np.array([whole(decoded(k, dtype)) for k in range(1 << 16)], end.numpy)
    np.testing.assert_array_equal(convert(every, end), expected)


@halves
def test_between_the_narrow_dtypes(has_half: bool) -> None:
    for start, end in ((float16, bfloat16), (bfloat16, float16)):
        every = np.arange(1 << 16, dtype=np.uint16).view(start.numpy)
        expected = []
        for bits in range(1 << 16):
            number = decoded(bits, start)
            value = number if isinstance(number, float) else -0.0 if bits == 0x8000 else float(number)
            expected.append(nearest_bits(value, end))
        np.testing.assert_array_equal(bits_of(convert(every, end)), expected)
        np.testing.assert_array_equal(bits_of(rounded(every, end)), expected)


@narrow
@halves
@pytest.mark.parametrize("start", [float16, bfloat16, float32, float64, dtypes.int64], ids=str)
def test_rounded_and_widened_at_once(start: DType, dtype: DType, has_half: bool) -> None:
    """Without 16 bits between them the two conversions give the same bits."""
    if start.is_integer:
        values = integers(start, dtype)
    elif start.is_narrow:
        values = np.arange(1 << 16, dtype=np.uint16).view(start.numpy)
    else:
        values = borders(dtype, start)
    s = ScalarBuilder()
    both = s.convert(s.convert(s.parameter(0, start), dtype), float32)
    found = run([both], values, float32)
    expected = convert(convert(values, dtype), float32)
    nan = np.isnan(expected)
    assert np.array_equal(nan, np.isnan(found)) and found[~nan].tobytes() == expected[~nan].tobytes()


@narrow
def test_bools(dtype: DType) -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(dtype.numpy)
    np.testing.assert_array_equal(convert(every, bool_), [decoded(k, dtype) != 0 for k in range(1 << 16)])
    found = convert(np.array([False, True]), dtype)
    assert [decoded(int(b), dtype) for b in found.view(np.uint16)] == [0, 1]


def test_arithmetic_on_narrow_numbers_is_refused() -> None:
    """The pass that widens makes float32 of them; what it missed must not become integer arithmetic."""
    s = ScalarBuilder()
    x = s.parameter(0, bfloat16)
    for wrong in (x + x, s.abs(x), x < x):
        with pytest.raises(TypeError, match="narrow floats"):
            emit.pointwise_function("f", [wrong], [bfloat16], 4)


def test_no_library_calls() -> None:
    """Object code must link on every machine: only intrinsics that become instructions."""
    s = ScalarBuilder()
    for start in (*NARROW, float32, float64, *INTEGERS):
        for end in NARROW:
            text = emit.pointwise_function("f", [s.convert(s.parameter(0, start), end)], [start], 16)
            assert "bfloat" not in text
            assembly = llvm.assembly(text) if start is not end else ""
            assert "call" not in assembly
