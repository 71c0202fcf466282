"""The primitives of printed scalar programs (kernels/python_source.py) in plain Python on NumPy scalars: for Numba's
CUDA simulator and for tests. Bit for bit what the CPU and the GPU compute.

Arithmetic goes through Python floats and integers, which neither warn nor promote: +, -, *, / and sqrt of two f32 in
f64 and then rounded once more give the f32 result exactly (Figueroa 1995: f64 has more than 2 * 24 + 2 bits). fma
comes from the C library. bfloat16 has no NumPy scalar of its own here: it is carried as its 16 bits (uint16)."""

from __future__ import annotations

import ctypes
import ctypes.util
import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["PRIMITIVES"]

nan = math.nan
inf = math.inf
float16, float32, float64 = np.float16, np.float32, np.float64
int8, int16, int32, int64 = np.int8, np.int16, np.int32, np.int64
uint8, uint16, uint32, uint64 = np.uint8, np.uint16, np.uint32, np.uint64

_FLOATS = ("f32", "f64")
_INTEGERS: dict[str, Any] = {"i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
             "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64}  # fmt: skip
_KINDS: dict[str, Any] = {"f16": np.float16, "bf16": np.uint16, "f32": np.float32, "f64": np.float64, **_INTEGERS}


def _c_function(name: str, kind: Any, count: int) -> Callable[..., float]:
    """A function of the C math library."""
    library = ctypes.CDLL(ctypes.util.find_library("m") or ctypes.util.find_library("ucrtbase") or None)
    function = getattr(library, name)
    function.restype, function.argtypes = kind, [kind] * count
    return function


_FMA = {"f32": _c_function("fmaf", ctypes.c_float, 3), "f64": _c_function("fma", ctypes.c_double, 3)}


def _to_f32(value: float) -> np.float32:
    """Round a Python float to f32; overflow gives infinity, silently (NumPy's own cast warns)."""
    return np.float32(ctypes.c_float(value).value)


_ROUND: dict[str, Callable[[float], Any]] = {"f32": _to_f32, "f64": np.float64}


def _wrap(value: int, short: str) -> Any:
    """A Python integer modulo 2^bits as a NumPy scalar."""
    width = int(short[1:])
    value &= (1 << width) - 1
    if short[0] == "i" and value >> (width - 1):
        value -= 1 << width
    return _INTEGERS[short](value)


def _divide(a: float, b: float) -> float:
    """IEEE division: Python's raises on zero."""
    if b == 0.0:
        if a == 0.0 or a != a:
            return nan
        return math.copysign(inf, a) * math.copysign(1.0, b)
    return a / b


def _root(a: float) -> float:
    """IEEE square root: Python's raises below zero."""
    return a if a == 0.0 or a != a else nan if a < 0.0 else math.sqrt(a)


def _round_with(function: Callable[[float], int]) -> Callable[[float], float]:
    """math.floor and its like keep the sign of zero, infinity and NaN."""

    def rounded(a: float) -> float:
        return a if not math.isfinite(a) else math.copysign(float(function(a)), a)

    return rounded


def _truncate(a: int, b: int) -> int:
    """Integer quotient towards zero, as in C."""
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


_ONE_FLOAT: dict[str, Callable[[float], float]] = {
    "neg": lambda a: -a, "abs": abs, "sqrt": _root, "floor": _round_with(math.floor), "ceil": _round_with(math.ceil),
    "trunc": _round_with(math.trunc), "rint": _round_with(round),
}  # fmt: skip
_TWO_FLOATS: dict[str, Callable[[float, float], float]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": _divide, "copysign":
    math.copysign,
}  # fmt: skip
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
}  # fmt: skip
_ONE_INTEGER: dict[str, Callable[[int], int]] = {"neg": lambda a: -a, "abs": abs, "not": lambda a: ~a}
_TWO_INTEGERS: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "and": lambda a, b: a & b,
    "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b, "shl": lambda a, b: a << b,
    "quotient": _truncate, "remainder": lambda a, b: a - b * _truncate(a, b),
}  # fmt: skip


def _float_operation(short: str, function: Callable[..., float]) -> Callable[..., Any]:
    rounding = _ROUND[short]
    return lambda *operands: rounding(function(*map(float, operands)))


def _integer_operation(short: str, function: Callable[..., int]) -> Callable[..., Any]:
    return lambda *operands: _wrap(function(*map(int, operands)), short)


def _logical_shift(short: str) -> Callable[..., Any]:
    mask = (1 << int(short[1:])) - 1
    return lambda a, b: _wrap((int(a) & mask) >> int(b), short)


def _arithmetic_shift(short: str) -> Callable[..., Any]:
    """The top bit is copied in, for unsigned integers too, as LLVM's ashr does."""
    signed = "i" + short[1:]
    return lambda a, b: _wrap(int(_wrap(int(a), signed)) >> int(b), short)


def _comparison(function: Callable[[Any, Any], bool], kind: Callable[[Any], Any]) -> Callable[..., bool]:
    return lambda a, b: function(kind(a), kind(b))


def _select(condition: Any, then: Any, otherwise: Any) -> Any:
    return then if condition else otherwise


def _bf16_to_float(a: Any) -> float:
    return float(struct.unpack("<f", struct.pack("<I", int(a) << 16))[0])


def _float_to_bf16(a: float, from_double: bool) -> np.uint16:
    """Round to nearest even, in integers. From f64 through f32 rounded to odd, so that it is one rounding."""
    if a != a:
        return np.uint16(0x7FC0 | (0x8000 if math.copysign(1.0, a) < 0 else 0))
    single = _to_f32(a)
    pattern = int(single.view(np.uint32))
    if from_double and float(single) != a and not pattern & 1:
        # the exact value lies beside an even f32: the odd neighbour on its side keeps "above" or "below"
        pattern += 1 if abs(a) > abs(float(single)) else -1
    return np.uint16(((pattern + 0x7FFF + ((pattern >> 16) & 1)) >> 16) & 0xFFFF)


def _to_f16(a: float) -> np.float16:
    """Round to f16; struct raises on overflow, which is infinity here."""
    try:
        return np.float16(struct.unpack("<e", struct.pack("<e", a))[0])
    except OverflowError:
        return np.float16(math.copysign(inf, a))


def _saturate(a: float, short: str) -> Any:
    """Float to integer: truncated, saturated, NaN -> 0."""
    information = np.iinfo(_INTEGERS[short])
    if a != a:
        return _INTEGERS[short](0)
    if math.isinf(a):
        return _INTEGERS[short](information.max if a > 0 else information.min)
    return _INTEGERS[short](min(max(math.trunc(a), int(information.min)), int(information.max)))


def _integer_to_f32(a: int) -> np.float32:
    """One rounding: through f64 a 64-bit integer would round twice."""
    single = np.float32(0.0)
    magnitude = abs(a)
    excess = magnitude.bit_length() - 24
    if excess <= 0:
        single = np.float32(magnitude)
    else:
        kept, rest = magnitude >> excess, magnitude & ((1 << excess) - 1)
        half = 1 << (excess - 1)
        kept += rest > half or (rest == half and kept & 1)
        single = _to_f32(math.ldexp(float(kept), excess))
    return -single if a < 0 else single


def _conversion(start: str, end: str) -> Callable[[Any], Any]:
    if end in _INTEGERS:
        if start == "bf16":
            return lambda a: _saturate(_bf16_to_float(a), end)
        if start in ("f16", "f32", "f64"):
            return lambda a: _saturate(float(a), end)
        return lambda a: _wrap(int(a), end)
    if start in _INTEGERS or start == "b1":
        if end == "f32":
            return lambda a: _integer_to_f32(int(a))
        if end == "f64":
            return lambda a: np.float64(int(a))
        narrow = _to_f16 if end == "f16" else (lambda a: _float_to_bf16(a, True))
        # 64 bits do not fit f64: integers that large are far beyond f16 and exact enough for bf16 after rounding to odd
        return lambda a: narrow(_integer_to_odd(int(a)))
    read: Callable[[Any], float] = _bf16_to_float if start == "bf16" else float
    if end == "bf16":
        return lambda a: _float_to_bf16(read(a), start == "f64")
    write: Callable[[float], Any] = _to_f16 if end == "f16" else _ROUND[end]
    return lambda a: write(read(a))


def _integer_to_odd(a: int) -> float:
    """An integer as f64, rounded to odd: later roundings to f16 and bf16 are then exact."""
    excess = abs(a).bit_length() - 53
    if excess <= 0:
        return float(a)
    kept = abs(a) >> excess
    if abs(a) & ((1 << excess) - 1):
        kept |= 1
    return math.copysign(math.ldexp(float(kept), excess), a)


def _bitcast(end: str) -> Callable[[Any], Any]:
    return lambda a: a.view(_KINDS[end])


def _build() -> dict[str, Callable[..., Any]]:
    table: dict[str, Callable[..., Any]] = {}
    for short in _FLOATS:
        for name, one in _ONE_FLOAT.items():
            table[f"{name}_{short}"] = _float_operation(short, one)
        for name, two in _TWO_FLOATS.items():
            table[f"{name}_{short}"] = _float_operation(short, two)
        for name, compare in _COMPARE.items():
            table[f"{name}_{short}"] = _comparison(compare, float)
        table[f"fma_{short}"] = _float_operation(short, _FMA[short])
    for name, compare in _COMPARE.items():
        table[f"{name}_f16"] = _comparison(compare, float)
        table[f"{name}_bf16"] = _comparison(compare, _bf16_to_float)
    for short in _INTEGERS:
        for name, one_integer in _ONE_INTEGER.items():
            table[f"{name}_{short}"] = _integer_operation(short, one_integer)
        for name, two_integers in _TWO_INTEGERS.items():
            table[f"{name}_{short}"] = _integer_operation(short, two_integers)
        table[f"lshr_{short}"] = _logical_shift(short)
        table[f"ashr_{short}"] = _arithmetic_shift(short)
        for name, compare in _COMPARE.items():
            table[f"{name}_{short}"] = _comparison(compare, int)
    table |= {
        "and_b1": lambda a, b: bool(a) and bool(b), "or_b1": lambda a, b: bool(a) or bool(b),
        "xor_b1": lambda a, b: bool(a) != bool(b), "not_b1": lambda a: not a,
        "eq_b1": lambda a, b: bool(a) == bool(b), "ne_b1": lambda a, b: bool(a) != bool(b),
    }  # fmt: skip
    for start in (*_KINDS, "b1"):
        table[f"select_{start}"] = _select
        for end in _KINDS:
            if start != end:
                table[f"convert_{start}_{end}"] = _conversion(start, end)
            if start != "b1" and start != end and np.dtype(_KINDS[start]).itemsize == np.dtype(_KINDS[end]).itemsize:
                table[f"bitcast_{start}_{end}"] = _bitcast(end)
    return table


#: name -> function. The types (`float32` ...), `nan` and `inf` that printed constants use are attributes of this
#: module too.
PRIMITIVES = _build()
globals().update(PRIMITIVES)
