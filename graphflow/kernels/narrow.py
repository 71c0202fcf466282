"""Exact conversions to and from float16 and bfloat16, written in the scalar language: one rounding each, to nearest even.

A float16 and a bfloat16 are 16 bits that only conversions look into; arithmetic is done in float32 (passes/widen_narrow.py). The
processor's own conversion is used where it is exact everywhere: between float16 and float32. LLVM's `fptrunc` to bfloat is not: it
gives zero for subnormal numbers where the processor has AVX512-BF16. Others end in a library call.

A number that float32 does not hold goes through round-to-odd: of its two neighbours the one with the odd last bit is taken. A later
rounding to at least two bits less then gives what one rounding would have given (Boldo and Melquiond, "Emulation of FMA and correctly
rounded sums: proved algorithms using rounding to odd", IEEE Transactions on Computers 57(4), 2008).
"""

from __future__ import annotations

from ..dtypes import DType, bfloat16, float16, float32, float64, int64, uint16, uint32
from .scalar import Scalar, ScalarBuilder

__all__ = ["converted", "half_from_single", "single_from_half"]


def converted(s: ScalarBuilder, x: Scalar, dtype: DType, has_half: bool = True) -> Scalar:
    """The program of `convert x to dtype` where either dtype is narrow; the conversion itself where the processor has it (has_half:
    does it convert between float16 and float32?). Integers and bools to floats round once; floats to integers truncate and
    saturate, NaN gives 0."""
    if x.dtype is dtype:
        return x
    if x.dtype.is_narrow:
        single = _widened(s, x, has_half)
        return _rounded(s, single, dtype, has_half) if dtype.is_narrow else s.convert(single, dtype)
    return _rounded(s, _single(s, x), dtype, has_half)


def _widened(s: ScalarBuilder, x: Scalar, has_half: bool) -> Scalar:
    """A narrow number as float32, which holds it."""
    if x.operation == "convert" and x.dtype is bfloat16 and not x.operands[0].dtype.is_narrow:
        # rounded just now: the upper half of the bits, without the way through 16 bits
        return s.bitcast(_nearest_bits(s, _single(s, x.operands[0])) & 0xFFFF0000, float32)
    if x.dtype is bfloat16:
        return s.bitcast(s.convert(s.bitcast(x, uint16), uint32) << 16, float32)
    return s.make("convert", x, dtype=float32) if has_half else single_from_half(s, x)


def _rounded(s: ScalarBuilder, x: Scalar, dtype: DType, has_half: bool) -> Scalar:
    """A float32 rounded to a narrow dtype."""
    if dtype is float16:
        return s.make("convert", x, dtype=float16) if has_half else half_from_single(s, x)
    return s.bitcast(s.convert(_nearest_bits(s, x) >> 16, uint16), bfloat16)


def _nearest_bits(s: ScalarBuilder, x: Scalar) -> Scalar:
    """32 bits whose upper half is a float32 as bfloat16."""
    bits = s.bitcast(x, uint32)
    last = (bits >> 16) & 1  # of the result, if it is rounded down: a tie goes to the even neighbour
    return s.select(s.is_nan(x), bits | 0x400000, bits + (last + 0x7FFF))


def _single(s: ScalarBuilder, x: Scalar) -> Scalar:
    """Any number as float32: itself, or rounded to odd."""
    dtype = x.dtype
    if dtype is float64:
        return _odd_single(s, x)
    if dtype.is_floating or dtype.itemsize <= 2:
        return s.convert(x, float32)
    if dtype.itemsize == 4:
        return _odd_single(s, s.convert(x, float64))
    dropped = 11  # bits of an integer of 64 that float64 may not hold
    large = x >= 2**53
    if dtype is int64:
        large = large | (x <= -(2**53))
    # the largest number of 2**11's below, odd if something is left over: the odd neighbour, of negative numbers too
    odd = (x >> dropped) | s.convert((x & (2**dropped - 1)).not_equal(0), dtype)
    scaled = s.convert(s.select(large, odd, x), float64)
    return _odd_single(s, s.select(large, scaled * float(2**dropped), scaled))


def _odd_single(s: ScalarBuilder, x: Scalar) -> Scalar:
    """A float64 as float32, rounded to odd; NaN stays NaN."""
    nearest = s.convert(x, float32)
    back = s.convert(nearest, float64)
    bits = s.bitcast(nearest, uint32)
    away = s.abs(back) > s.abs(x)  # was the magnitude rounded up?
    neighbour = s.select(away, bits - 1, bits + 1)
    fits = back.equal(x) | s.is_nan(x) | (bits & 1).not_equal(0)
    return s.select(fits, nearest, s.bitcast(neighbour, float32))


def half_from_single(s: ScalarBuilder, x: Scalar) -> Scalar:
    """A float32 rounded to float16 by integer operations, for processors that cannot."""
    bits = s.bitcast(x, uint32)
    sign = (bits >> 16) & 0x8000
    size = bits & 0x7FFFFFFF
    # a float16's exponent is 112 less; a carry out of the significand raises it, up to infinity
    normal = (size - (112 << 23) + (((size >> 13) & 1) + 0xFFF)) >> 13
    # below 2**-14: beside 0.5 the last bit of a float32 is 2**-24, float16's smallest number, and the addition rounds
    small = s.bitcast(s.bitcast(size, float32) + 0.5, uint32) - (126 << 23)
    large = s.select(size > 0x7F800000, s.const(0x7E00, uint32), s.const(0x7C00, uint32))
    result = s.select(size < (113 << 23), small, s.select(size >= (143 << 23), large, normal))
    return s.bitcast(s.convert(result | sign, uint16), float16)


def single_from_half(s: ScalarBuilder, x: Scalar) -> Scalar:
    """A float16 as float32 by integer operations, for processors that cannot."""
    bits = s.convert(s.bitcast(x, uint16), uint32)
    sign, size = (bits & 0x8000) << 16, (bits & 0x7FFF) << 13
    normal = size + (112 << 23)
    # a subnormal number is a multiple of 2**-24: put behind the leading bit of 2**-14, which is then taken off
    small = s.bitcast(s.bitcast(size + (113 << 23), float32) - 2.0**-14, uint32)
    large = size + (224 << 23)  # infinity and NaN
    result = s.select(size < (1 << 23), small, s.select(size >= (31 << 23), large, normal))
    return s.bitcast(result | sign, float32)
