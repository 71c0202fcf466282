"""Integer division and its relatives, and powers. Integer division by zero is a run-time error; nothing here traps."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import float64
from ..errors import DTypeError, InvalidArgumentError
from ..ir.op import Pointwise, Sample, define_op
from .arithmetic import multiply_no_nan
from .comparison import greater, not_equal
from .complex import conjugate
from .elementwise import log
from .gradients import constant_like, sum_to
from .rules import elementwise
from .samples import FLOATS, INTEGERS, NUMBERS, binary, fill, samples
from .select import select

STEP = 50
"""Binary digits of the quotient that one step of the float remainder takes off: a quotient below 2**50 is exact in
float64."""


def _integer_division(s: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """(quotient, remainder, divisor was not zero), truncated. The divisor is made 1 where the hardware would trap."""
    nonzero = y.not_equal(0)
    divisor = s.select(nonzero, y, 1)
    if x.dtype.is_unsigned:
        quotient = s.make("quotient", x, divisor)
        return quotient, x - quotient * divisor, nonzero
    inverts = y.equal(-1)  # the smallest integer / -1 does not fit: it wraps to itself, as -x does
    divisor = s.select(inverts, s.const(1, x.dtype), divisor)
    quotient = s.make("quotient", x, divisor)
    remainder = x - quotient * divisor
    return s.select(inverts, -x, quotient), remainder, nonzero


def _float_remainder(s: Any, x: Any, y: Any) -> Any:
    """C's fmod: x - trunc(x/y)*y, exact, by long division in float64 with STEP binary digits a step.

    Each step subtracts q*c, c = |y| * 2**(STEP*k), q = trunc(rest / c) < 2**STEP + 1. rest - q*c is a multiple of
    ulp(c) of at most c, so the fma is exact; a quotient that rounded up leaves a negative rest, which adding c
    mends, exactly too."""
    dtype = x.dtype
    wide = float64 if dtype is not float64 else dtype
    rest, divisor = s.abs(s.convert(x, wide)), s.abs(s.convert(y, wide))
    binades = 2098 if dtype is float64 else 277  # from the smallest denormal to the largest number
    steps = binades // STEP + 1
    scaled = [divisor]
    for _ in range(steps - 1):
        scaled.append(scaled[-1] * 2.0**STEP)
    infinite = s.const(float("inf"), wide)
    for c in reversed(scaled):
        q = s.trunc(rest / c)
        exact = s.fma(-q, c, rest)
        exact = s.select(exact < 0, exact + c, exact)
        # an overflowed c is infinite: nothing to subtract at this step (0 * inf would be NaN)
        rest = s.select(c.equal(infinite), rest, exact) if c is not divisor else s.select(
            divisor.equal(infinite) & (rest < infinite), rest, exact)  # fmt: skip
    return s.convert(s.copysign(rest, s.convert(x, wide)), dtype)


def _emit_floordiv(s: Any, x: Any, y: Any) -> Any:
    if x.dtype.is_floating:
        return s.floor(x / y)
    quotient, remainder, nonzero = _integer_division(s, x, y)
    if not x.dtype.is_unsigned:
        rounds = remainder.not_equal(0) & ((remainder ^ y) < 0)
        quotient = s.select(rounds, quotient - 1, quotient)
    return s.check(quotient, nonzero, "division_by_zero")


def _emit_floormod(s: Any, x: Any, y: Any) -> Any:
    if x.dtype.is_floating:
        remainder = _float_remainder(s, x, y)
        wraps = remainder.not_equal(0) & s.make("xor", remainder < 0, y < 0)
        return s.select(wraps, remainder + y, remainder)
    _, remainder, nonzero = _integer_division(s, x, y)
    if not x.dtype.is_unsigned:
        wraps = remainder.not_equal(0) & ((remainder ^ y) < 0)
        remainder = s.select(wraps, remainder + y, remainder)
    return s.check(remainder, nonzero, "division_by_zero")


def _emit_truncatediv(s: Any, x: Any, y: Any) -> Any:
    if x.dtype.is_floating:
        return s.trunc(x / y)
    quotient, _, nonzero = _integer_division(s, x, y)
    return s.check(quotient, nonzero, "division_by_zero")


def _emit_truncatemod(s: Any, x: Any, y: Any) -> Any:
    if x.dtype.is_floating:
        return _float_remainder(s, x, y)
    _, remainder, nonzero = _integer_division(s, x, y)
    return s.check(remainder, nonzero, "division_by_zero")


def _reference(name: str) -> Any:
    def reference(x: Any, y: Any) -> Any:
        if x.dtype.kind == "f":
            if name == "floordiv":
                return np.floor(np.divide(x, y))
            if name == "truncatediv":
                return np.trunc(np.divide(x, y))
            remainder = np.fmod(x, y)
            if name == "truncatemod":
                return remainder
            return np.where((remainder != 0) & ((remainder < 0) != (y < 0)), remainder + y, remainder)
        if np.any(y == 0):
            raise ZeroDivisionError(name)
        if name == "floordiv":
            return np.floor_divide(x, y)
        if name == "floormod":
            return np.mod(x, y)
        remainder = np.fmod(x, y)
        return remainder if name == "truncatemod" else np.floor_divide(x - remainder, y)

    return reference


def _samples() -> list[Sample]:
    """Divisors without zero, huge quotients, every integer dtype's wrapping case, and zero divisors that must fail."""
    extremes = []
    for dtype in INTEGERS:
        limits = np.iinfo(dtype)
        divisors = [1, 2, 3, 7, limits.max] + ([-1, -2, -3, -7, limits.min] if limits.min < 0 else [])
        edge = np.array([limits.min, limits.min + 1, 0, 1, 5, limits.max - 1, limits.max], dtype)
        extremes.append(Sample((edge[:, None], np.array(divisors, dtype)), gradient=False))
    for dtype in FLOATS:
        largest, smallest = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
        edge = np.array([0.0, -0.0, 1.0, -1.5, 7.0, largest, -largest, smallest, np.inf, np.nan], dtype)
        extremes.append(Sample((edge[:, None], edge[None, :]), gradient=False))
        extremes.append(Sample((fill((40,), dtype, -1e9, 1e9), fill((40,), dtype, -3, 3, 1)), gradient=False))
    failing = [
        Sample((np.array([4, 6], dtype), np.array([2, 0], dtype)), error=ZeroDivisionError)
        for dtype in ("int32", "int64", "uint8")
    ]
    return [*binary(left=(-9, 9), right=(0.7, 4), dtypes=NUMBERS)(), *extremes, *failing]


floordiv = define_op(
    "floordiv", "x y",
    infer=elementwise("floordiv"),
    kernel=Pointwise(_emit_floordiv, cost=12),
    gradient=lambda node, dy: [None, None],
    reference=_reference("floordiv"),
    samples=_samples,
    fallible="division_by_zero",
    documentation=(
        "floor(x / y). An integer divisor of 0 is an error; the smallest integer // -1 wraps. Cuts the gradient."
    ),
)  # fmt: skip

floormod = define_op(
    "floormod", "x y",
    infer=elementwise("floormod"),
    kernel=Pointwise(_emit_floormod, cost=60),
    gradient=lambda node, dy: [
        sum_to(dy, node.inputs[0]),
        sum_to(-dy * floordiv(node.inputs[0], node.inputs[1]), node.inputs[1]),
    ],
    reference=_reference("floormod"),
    samples=_samples,
    fallible="division_by_zero",
    documentation="x - floor(x / y) * y, with the sign of y, exact for floats. An integer divisor of 0 is an error.",
)  # fmt: skip

truncatediv = define_op(
    "truncatediv", "x y",
    infer=elementwise("truncatediv"),
    kernel=Pointwise(_emit_truncatediv, cost=12),
    gradient=lambda node, dy: [None, None],
    reference=_reference("truncatediv"),
    samples=_samples,
    fallible="division_by_zero",
    documentation="x / y rounded towards zero. An integer divisor of 0 is an error. Cuts the gradient.",
)  # fmt: skip

truncatemod = define_op(
    "truncatemod", "x y",
    infer=elementwise("truncatemod"),
    kernel=Pointwise(_emit_truncatemod, cost=60),
    gradient=lambda node, dy: [
        sum_to(dy, node.inputs[0]),
        sum_to(-dy * truncatediv(node.inputs[0], node.inputs[1]), node.inputs[1]),
    ],
    reference=_reference("truncatemod"),
    samples=_samples,
    fallible="division_by_zero",
    documentation="x - trunc(x / y) * y, with the sign of x, exact for floats. An integer divisor of 0 is an error.",
)  # fmt: skip


def _emit_pow(s: Any, x: Any, y: Any) -> Any:
    if x.dtype.is_floating:
        return s.pow(x, y)
    result, factor = s.const(1, x.dtype), x
    digits = x.dtype.itemsize * 8 - (0 if x.dtype.is_unsigned else 1)
    for digit in range(digits):
        taken = ((y >> digit) & 1).not_equal(0)
        result = s.select(taken, result * factor, result)
        if digit + 1 < digits:
            factor = factor * factor
    return result if x.dtype.is_unsigned else s.check(result, y >= 0, "negative_exponent")


def _pow_reference(x: Any, y: Any) -> Any:
    if x.dtype.kind == "f":
        return np.power(x.astype(np.float64), y.astype(np.float64)).astype(x.dtype)
    if x.dtype.kind == "c":
        return np.power(x.astype(np.complex128), y.astype(np.complex128)).astype(x.dtype)
    if np.any(y < 0):
        raise InvalidArgumentError("pow: negative integer exponent")
    return np.power(x, y)


def _pow_gradient(node: Any, dy: Any) -> list[Any]:
    x, y = node.inputs
    # y == 0 makes the slope in x zero even at x == 0, where x**-1 is infinite
    slope = multiply_no_nan(pow_(x, y - 1), y)
    # as TensorFlow: where x is not positive (of complex numbers: where it is zero), the slope in y is taken as zero
    zero, one = constant_like(0, x), constant_like(1, x)
    positive = not_equal(x, zero) if x.dtype.is_complex else greater(x, zero)
    logarithm = select(positive, log(select(positive, x, one)), zero)
    return [sum_to(dy * conjugate(slope), x), sum_to(dy * conjugate(node.outputs[0] * logarithm), y)]


pow_ = define_op(
    "pow", "x y",
    infer=elementwise("pow", "number"),
    kernel=Pointwise(_emit_pow, cost=60),
    gradient=_pow_gradient,
    reference=_pow_reference,
    samples=samples(
        binary(left=(0.2, 4), right=(-3, 3), refuses=False),
        lambda: [Sample((fill((40,), d, -9, 9), fill((40,), d, 0, 9, 1))) for d in INTEGERS],
        [Sample((np.array([-2.0, 0.0, 0.0, -0.0, -1.5, np.inf, 1.0, np.nan], d),
                 np.array([3.0, 0.0, -1.0, -3.0, 0.5, -1.0, np.nan, 0.0], d)), gradient=False) for d in FLOATS],
        [Sample((np.array([2, 3], d), np.array([1, -1], d)), error=InvalidArgumentError) for d in ("int32", "int8")],
        lambda: [Sample((fill((3,), "bool"), fill((3,), "bool")), error=DTypeError)],
    ),
    fallible="negative_exponent",
    documentation="x ** y. Integers wrap, and a negative integer exponent is an error. 0 ** 0 is 1.",
)  # fmt: skip

__all__ = ["floordiv", "floormod", "pow_", "truncatediv", "truncatemod"]
