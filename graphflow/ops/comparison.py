"""Comparisons, boolean logic and bits. Comparisons with NaN are false, except not_equal."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.op import Op, Pointwise, define_op
from .rules import comparison, elementwise
from .samples import INTEGERS, NUMBERS, binary, unary

__all__ = [
    "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "equal",
    "greater", "greater_equal", "less", "less_equal", "logical_and", "logical_not", "logical_or", "logical_xor",
    "not_equal",
]  # fmt: skip

_BOOL_RESULT = "the result is a truth value"
_BITS_RESULT = "the result is a pattern of bits"


def _compare(name: str, emit: Any, function: Any, sign: str, any_dtype: bool = False, commutative: bool = False) -> Op:
    accepts = "any" if any_dtype else "numeric"
    dtypes = (*NUMBERS, "bool") if any_dtype else NUMBERS
    return define_op(
        name, "x y",
        infer=comparison(name, accepts),
        kernel=Pointwise(emit),
        no_gradient=_BOOL_RESULT,
        reference=function, numpy=function,
        samples=binary(dtypes=dtypes, gradient=False, refuses=not any_dtype),
        commutative=commutative, strings=any_dtype,
        documentation=f"x {sign} y as bool.",
    )  # fmt: skip


equal = _compare("equal", lambda s, x, y: x.equal(y), np.equal, "==", any_dtype=True, commutative=True)
not_equal = _compare("not_equal", lambda s, x, y: x.not_equal(y), np.not_equal, "!=", any_dtype=True, commutative=True)
less = _compare("less", lambda s, x, y: x < y, np.less, "<")
less_equal = _compare("less_equal", lambda s, x, y: x <= y, np.less_equal, "<=")
greater = _compare("greater", lambda s, x, y: x > y, np.greater, ">")
greater_equal = _compare("greater_equal", lambda s, x, y: x >= y, np.greater_equal, ">=")


def _logical(
    name: str, emit: Any, function: Any, documentation: str, unit: float | None = None, zero: float | None = None
) -> Op:
    return define_op(
        name, "x y",
        infer=elementwise(name, "bool"),
        kernel=Pointwise(emit),
        no_gradient=_BOOL_RESULT,
        reference=function, numpy=function,
        samples=binary(dtypes=("bool",), gradient=False),
        commutative=True, idempotent=name != "logical_xor", unit=unit, zero=zero,
        documentation=documentation,
    )  # fmt: skip


logical_and = _logical("logical_and", lambda s, x, y: x & y, np.logical_and, "x and y, both bool.", 1.0, 0.0)
logical_or = _logical("logical_or", lambda s, x, y: x | y, np.logical_or, "x or y, both bool.", 0.0, 1.0)
logical_xor = _logical("logical_xor", lambda s, x, y: x ^ y, np.logical_xor, "Exactly one of x and y, both bool.", 0.0)

logical_not = define_op(
    "logical_not", "x",
    infer=elementwise("logical_not", "bool"),
    kernel=Pointwise(lambda s, x: s.logical_not(x)),
    no_gradient=_BOOL_RESULT,
    reference=np.logical_not, numpy=np.logical_not,
    samples=unary(dtypes=("bool",), gradient=False),
    documentation="not x.",
)  # fmt: skip


def _bitwise(name: str, emit: Any, function: Any, documentation: str, commutative: bool = True) -> Op:
    shifts = "shift" in name
    return define_op(
        name, "x y",
        infer=elementwise(name, "integer"),
        kernel=Pointwise(emit),
        no_gradient=_BITS_RESULT,
        reference=function, numpy=None if shifts else function,
        samples=binary(right=(-40, 80) if shifts else (-4, 4), dtypes=INTEGERS, gradient=False),
        commutative=commutative, idempotent=name in ("bitwise_and", "bitwise_or"),
        documentation=documentation,
    )  # fmt: skip


def _amount(s: Any, x: Any, y: Any) -> Any:
    """The shift clamped to [0, bits - 1], as TensorFlow does on the CPU."""
    last = s.const(x.dtype.itemsize * 8 - 1, x.dtype)
    clamped = s.select(y > last, last, y)
    return clamped if x.dtype.is_unsigned else s.select(y < 0, s.const(0, x.dtype), clamped)


def _clamped(x: Any, y: Any) -> Any:
    return np.clip(y, 0, x.dtype.itemsize * 8 - 1).astype(x.dtype)


bitwise_and = _bitwise("bitwise_and", lambda s, x, y: x & y, np.bitwise_and, "x & y of integers.")
bitwise_or = _bitwise("bitwise_or", lambda s, x, y: x | y, np.bitwise_or, "x | y of integers.")
bitwise_xor = _bitwise("bitwise_xor", lambda s, x, y: x ^ y, np.bitwise_xor, "x ^ y of integers.")
bitwise_left_shift = _bitwise(
    "bitwise_left_shift", lambda s, x, y: x << _amount(s, x, y), lambda x, y: np.left_shift(x, _clamped(x, y)),
    "x << y of integers; y is clamped to [0, bits - 1].", commutative=False,
)  # fmt: skip
bitwise_right_shift = _bitwise(
    "bitwise_right_shift", lambda s, x, y: x >> _amount(s, x, y), lambda x, y: np.right_shift(x, _clamped(x, y)),
    "x >> y of integers, keeping the sign; y is clamped to [0, bits - 1].", commutative=False,
)  # fmt: skip

bitwise_invert = define_op(
    "bitwise_invert", "x",
    infer=elementwise("bitwise_invert", "integer"),
    kernel=Pointwise(lambda s, x: ~x),
    no_gradient=_BITS_RESULT,
    reference=np.invert, numpy=np.invert,
    samples=unary(dtypes=INTEGERS, gradient=False),
    documentation="~x of integers.",
)  # fmt: skip
