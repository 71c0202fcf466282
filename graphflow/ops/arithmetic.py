"""Arithmetic that IEEE 754 or modular integers define exactly: add, subtract, multiply, divide, the sign family,
extremes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.op import Op, Pointwise, define_op
from ..ir.types import TensorType
from .comparison import greater_equal, less_equal
from .complex import complex_, conjugate, imag, part_of, real
from .gradients import constant_like, sum_to, zeros_like
from .rules import elementwise
from .samples import NUMBERS, binary, unary
from .select import select

add = define_op(
    "add", "x y",
    infer=elementwise("add", "number or string"),
    kernel=Pointwise(lambda s, x, y: x + y),
    gradient=lambda node, dy: [sum_to(dy, node.inputs[0]), sum_to(dy, node.inputs[1])],
    reference=np.add, numpy=np.add,
    samples=binary(dtypes=NUMBERS),
    commutative=True, unit=-0.0, strings=True,
    documentation="x + y. Integers wrap; strings are joined.",
)  # fmt: skip

subtract = define_op(
    "subtract", "x y",
    infer=elementwise("subtract", "number"),
    kernel=Pointwise(lambda s, x, y: x - y),
    gradient=lambda node, dy: [sum_to(dy, node.inputs[0]), sum_to(-dy, node.inputs[1])],
    reference=np.subtract, numpy=np.subtract,
    samples=binary(dtypes=NUMBERS),
    documentation="x - y. Integers wrap.",
)  # fmt: skip

multiply = define_op(
    "multiply", "x y",
    infer=elementwise("multiply", "number"),
    kernel=Pointwise(lambda s, x, y: x * y),
    gradient=lambda node, dy: [
        sum_to(dy * conjugate(node.inputs[1]), node.inputs[0]),
        sum_to(dy * conjugate(node.inputs[0]), node.inputs[1]),
    ],
    reference=np.multiply, numpy=np.multiply,
    samples=binary(dtypes=NUMBERS),
    commutative=True, unit=1.0, zero=0.0,
    documentation="x * y. Integers wrap.",
)  # fmt: skip

divide = define_op(
    "divide", "x y",
    infer=elementwise("divide", "field"),
    kernel=Pointwise(lambda s, x, y: x / y, cost=4),
    gradient=lambda node, dy: [
        sum_to(dy / conjugate(node.inputs[1]), node.inputs[0]),
        sum_to(-dy * conjugate(node.outputs[0]) / conjugate(node.inputs[1]), node.inputs[1]),
    ],
    reference=np.divide, numpy=np.divide,
    samples=binary(right=(0.5, 4)),
    documentation="x / y of floats (gf.divide casts integers to float64 first, as TensorFlow does).",
)  # fmt: skip

negative = define_op(
    "negative", "x",
    infer=elementwise("negative", "number"),
    kernel=Pointwise(lambda s, x: -x),
    gradient=lambda node, dy: [-dy],
    reference=np.negative, numpy=np.negative,
    samples=unary(dtypes=NUMBERS),
    documentation="-x. Integers wrap.",
)  # fmt: skip


def _emit_sign(s: Any, x: Any) -> Any:
    zero, one = s.const(0, x.dtype), s.const(1, x.dtype)
    if x.dtype.is_unsigned:
        return s.select(x > 0, one, zero)
    negative_or_zero = s.select(x < 0, s.const(-1, x.dtype), zero)
    result = s.select(x > 0, one, negative_or_zero)
    return s.select(s.is_nan(x), x, result) if x.dtype.is_floating else result


def _sign_gradient(node: Any, dy: Any) -> list[Any]:
    """Of z / |z|: what is at right angles to the result, over |z|. 0 at 0."""
    x, y = node.inputs[0], node.outputs[0]
    if not x.dtype.is_complex:
        return [zeros_like(x)]
    along = real(dy) * real(y) + imag(dy) * imag(y)
    size = absolute(x)
    return [complex_(divide_no_nan(real(dy) - along * real(y), size), divide_no_nan(imag(dy) - along * imag(y), size))]


sign = define_op(
    "sign", "x",
    infer=elementwise("sign", "number"),
    kernel=Pointwise(_emit_sign, cost=4),
    gradient=_sign_gradient,
    reference=np.sign,
    samples=unary(dtypes=NUMBERS),
    documentation="-1, 0 or 1; NaN for NaN; z / |z| of complex numbers. The gradient of real numbers is zero.",
)  # fmt: skip


def _infer_absolute(types: tuple[TensorType, ...]) -> TensorType:
    found = elementwise("absolute", "number")(types)
    return found.with_dtype(part_of(found.dtype)) if found.dtype.is_complex else found


def _absolute_gradient(node: Any, dy: Any) -> list[Any]:
    x = node.inputs[0]
    if not x.dtype.is_complex:
        return [dy * sign(x)]
    slope = divide_no_nan(dy, node.outputs[0])
    return [complex_(slope * real(x), slope * imag(x))]


absolute = define_op(
    "absolute", "x",
    infer=_infer_absolute,
    kernel=Pointwise(lambda s, x: x if x.dtype.is_unsigned else s.abs(x)),
    gradient=_absolute_gradient,
    reference=np.absolute, numpy=np.absolute,
    samples=unary(dtypes=NUMBERS),
    idempotent=True,
    documentation="|x|, real for complex x (without overflow). The most negative integer stays itself. The gradient at 0 is 0.",
)  # fmt: skip

square = define_op(
    "square", "x",
    infer=elementwise("square", "number"),
    kernel=Pointwise(lambda s, x: x * x),
    gradient=lambda node, dy: [dy * (conjugate(node.inputs[0]) * 2)],
    reference=np.square, numpy=np.square,
    samples=unary(dtypes=NUMBERS),
    documentation="x * x. Integers wrap.",
)  # fmt: skip

reciprocal = define_op(
    "reciprocal", "x",
    infer=elementwise("reciprocal", "field"),
    kernel=Pointwise(lambda s, x: 1 / x, cost=4),
    gradient=lambda node, dy: [-dy * square(conjugate(node.outputs[0]))],
    reference=lambda x: np.divide(x.dtype.type(1), x),
    samples=unary(domain=(0.5, 4)),
    documentation="1 / x of floats.",
)  # fmt: skip

squared_difference = define_op(
    "squared_difference", "x y",
    infer=elementwise("squared_difference", "number"),
    kernel=Pointwise(lambda s, x, y: (x - y) * (x - y), cost=2),
    gradient=lambda node, dy: _squared_difference_gradient(node, dy),
    reference=lambda x, y: _squared(np.subtract(x, y)),
    samples=binary(dtypes=NUMBERS),
    commutative=True,
    documentation="(x - y)**2, the difference rounded first; |x - y|**2 of complex numbers. Integers wrap.",
)  # fmt: skip


def _squared(x: Any) -> Any:
    return (x * np.conj(x)).real.astype(x.dtype) if x.dtype.kind == "c" else np.square(x)


def _squared_difference_gradient(node: Any, dy: Any) -> list[Any]:
    x, y = node.inputs
    slope = (complex_(real(dy), zeros_like(real(dy))) if dy.dtype.is_complex else dy) * ((x - y) * 2)
    return [sum_to(slope, x), sum_to(-slope, y)]


def _extreme_gradient(wins: Any) -> Any:
    def gradient(node: Any, dy: Any) -> list[Any]:
        x, y = node.inputs
        first, zero = wins(x, y), constant_like(0, dy)
        return [sum_to(select(first, dy, zero), x), sum_to(select(first, zero, dy), y)]

    return gradient


maximum = define_op(
    "maximum", "x y",
    infer=elementwise("maximum"),
    kernel=Pointwise(lambda s, x, y: s.maximum(x, y), cost=2),
    gradient=_extreme_gradient(greater_equal),
    reference=lambda x, y: np.where((x >= y) | np.isnan(x), x, y),
    samples=binary(dtypes=NUMBERS),
    idempotent=True,
    documentation="The larger of x and y; NaN if either is NaN; x on ties, which also gets the whole gradient there.",
)  # fmt: skip

minimum = define_op(
    "minimum", "x y",
    infer=elementwise("minimum"),
    kernel=Pointwise(lambda s, x, y: s.minimum(x, y), cost=2),
    gradient=_extreme_gradient(less_equal),
    reference=lambda x, y: np.where((x <= y) | np.isnan(x), x, y),
    samples=binary(dtypes=NUMBERS),
    idempotent=True,
    documentation="The smaller of x and y; NaN if either is NaN; x on ties, which also gets the whole gradient there.",
)  # fmt: skip


def _emit_multiply_no_nan(s: Any, x: Any, y: Any) -> Any:
    return s.select(y.equal(0), s.const(0, x.dtype), x * y)


multiply_no_nan: Op = define_op(
    "multiply_no_nan", "x y",
    infer=elementwise("multiply_no_nan", "field"),
    kernel=Pointwise(_emit_multiply_no_nan, cost=3),
    gradient=lambda node, dy: [
        sum_to(multiply_no_nan(dy, conjugate(node.inputs[1])), node.inputs[0]),
        sum_to(multiply_no_nan(conjugate(node.inputs[0]), dy), node.inputs[1]),
    ],
    reference=lambda x, y: np.where(y == 0, x.dtype.type(0), x * y),
    samples=binary(),
    documentation="x * y, but 0 where y is 0, even if x is infinite or NaN.",
)  # fmt: skip

divide_no_nan: Op = define_op(
    "divide_no_nan", "x y",
    infer=elementwise("divide_no_nan", "field"),
    kernel=Pointwise(lambda s, x, y: s.select(y.equal(0), s.const(0, x.dtype), x / y), cost=5),
    gradient=lambda node, dy: [
        sum_to(divide_no_nan(dy, conjugate(node.inputs[1])), node.inputs[0]),
        sum_to(dy * divide_no_nan(-conjugate(node.outputs[0]), conjugate(node.inputs[1])), node.inputs[1]),
    ],
    reference=lambda x, y: np.where(y == 0, x.dtype.type(0), x / y),
    samples=binary(right=(0.5, 4)),
    documentation="x / y, but 0 where y is 0.",
)  # fmt: skip

__all__ = [
    "absolute", "add", "divide", "divide_no_nan", "maximum", "minimum", "multiply", "multiply_no_nan", "negative",
    "reciprocal", "sign", "square", "squared_difference", "subtract",
]  # fmt: skip
