"""Functions of one element (and atan2 and the x*log(y) family): exponentials, logarithms, trigonometry, rounding,
predicates.

Their kernels are programs of the math library, so that every target rounds alike; references are NumPy's and SciPy's
in float64, rounded to the dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..dtypes import bool_
from ..ir.op import Op, Pointwise, Sample, define_op
from .arithmetic import square
from .comparison import not_equal
from .complex import conjugate
from .gradients import constant_like, sum_to, zeros_like
from .rules import elementwise
from .samples import FLOATS, Samples, binary, samples, unary
from .select import select

__all__ = [
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "cos", "cosh", "digamma", "erf", "erfc",
    "erfinv", "exp", "expm1", "floor", "is_finite", "is_inf", "is_nan", "lgamma", "log", "log1p", "relu",
    "relu_gradient", "round_", "rsqrt", "sigmoid", "sin", "sinh", "softplus", "sqrt", "tan", "tanh", "trunc", "xdivy",
    "xlogy",
]  # fmt: skip


#: functions that complex numbers have too, as in TensorFlow
COMPLEX = frozenset(
    "acos acosh asin asinh atan atanh cos cosh exp expm1 log log1p rsqrt sigmoid sin sinh tan tanh".split()
)


def _in_float64(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy function computed in float64 and rounded once to the operand's dtype."""

    def reference(*arrays: Any) -> Any:
        wide = np.complex128 if arrays[0].dtype.kind == "c" else np.float64
        return np.asarray(function(*[np.asarray(a, wide) for a in arrays])).astype(arrays[0].dtype)

    return reference


def _scipy(name: str) -> Callable[..., Any]:
    """scipy.special's function, imported at the first use: ops must not import SciPy."""

    def function(*arrays: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(*arrays)

    return function


def _scalar_function(function: Callable[[float], float]) -> Callable[..., Any]:
    """A function of the C library, element by element: closer to the true value than SciPy's where this is used."""
    return np.vectorize(function, otypes=[np.float64])


def _trigamma(x: Any) -> Any:
    from .special import polygamma_of_order

    return polygamma_of_order(x, order=1)


def _lgamma(x: float) -> float:
    return math.inf if x <= 0 and (math.isinf(x) or x == math.floor(x)) else math.lgamma(x)


def _function(
    name: str,
    reference: Callable[..., Any],
    gradient: Callable[[Any, Any, Any], Any] | None,
    documentation: str,
    samples: Samples,
    cost: int = 20,
    no_gradient: str = "",
) -> Op:
    """A float function of the math library, and of complex numbers where COMPLEX names it. gradient(x, y, dy): x the operand,
    y the result, conjugates of them if complex (the functions are real on the real axis, so f'(conj x) is conj f'(x))."""

    def rule(node: Any, dy: Any) -> list[Any]:
        assert gradient is not None
        return [gradient(conjugate(node.inputs[0]), conjugate(node.outputs[0]), dy)]

    return define_op(
        name, "x",
        infer=elementwise(name, "field" if name in COMPLEX else "float"),
        kernel=Pointwise(lambda s, x: getattr(s, name)(x), cost=cost),
        gradient=rule if gradient else None, no_gradient=no_gradient,
        reference=_in_float64(reference),
        samples=samples,
        documentation=documentation,
    )  # fmt: skip


exp = _function("exp", np.exp, lambda x, y, dy: dy * y, "e**x.", unary((-8, 8)))
expm1 = _function("expm1", np.expm1, lambda x, y, dy: dy * exp(x), "exp(x) - 1, precise near 0.", unary((-8, 8)))
log = _function("log", np.log, lambda x, y, dy: dy / x, "The natural logarithm; -inf at 0, NaN below.", unary((0.1, 8)))
log1p = _function("log1p", np.log1p, lambda x, y, dy: dy / (x + 1), "log(1 + x), precise near 0.", unary((-0.9, 8)))
sin: Op = _function("sin", np.sin, lambda x, y, dy: dy * cos(x), "Sine of radians.", unary((-20, 20)))
cos: Op = _function("cos", np.cos, lambda x, y, dy: -dy * sin(x), "Cosine of radians.", unary((-20, 20)))
tan: Op = _function("tan", np.tan, lambda x, y, dy: dy * (square(y) + 1), "Tangent of radians.", unary((-1.4, 1.4)))
asin: Op = _function(
    "asin",
    np.arcsin,
    lambda x, y, dy: dy * rsqrt(1 - square(x)),
    "Arc sine in [-pi/2, pi/2]; NaN outside [-1, 1].",
    unary((-0.9, 0.9)),
)
acos: Op = _function(
    "acos",
    np.arccos,
    lambda x, y, dy: -dy * rsqrt(1 - square(x)),
    "Arc cosine in [0, pi]; NaN outside [-1, 1].",
    unary((-0.9, 0.9)),
)
atan = _function(
    "atan", np.arctan, lambda x, y, dy: dy / (square(x) + 1), "Arc tangent in [-pi/2, pi/2].", unary((-8, 8))
)
sinh: Op = _function("sinh", np.sinh, lambda x, y, dy: dy * cosh(x), "Hyperbolic sine.", unary((-5, 5)))
cosh: Op = _function("cosh", np.cosh, lambda x, y, dy: dy * sinh(x), "Hyperbolic cosine.", unary((-5, 5)))
tanh = _function("tanh", np.tanh, lambda x, y, dy: dy * (1 - square(y)), "Hyperbolic tangent.", unary((-5, 5)))
asinh = _function(
    "asinh", np.arcsinh, lambda x, y, dy: dy * rsqrt(square(x) + 1), "Inverse hyperbolic sine.", unary((-8, 8))
)
acosh = _function(
    "acosh", np.arccosh, lambda x, y, dy: dy / sinh(y), "Inverse hyperbolic cosine; NaN below 1.", unary((1.2, 8))
)
atanh = _function(
    "atanh",
    np.arctanh,
    lambda x, y, dy: dy / (1 - square(x)),
    "Inverse hyperbolic tangent; NaN outside [-1, 1].",
    unary((-0.9, 0.9)),
)
erf = _function(
    "erf",
    _scalar_function(math.erf),
    lambda x, y, dy: dy * (exp(-square(x)) * (2 / math.sqrt(math.pi))),
    "The error function.",
    unary((-3, 3)),
)
erfc = _function(
    "erfc", _scalar_function(math.erfc), lambda x, y, dy: -dy * (exp(-square(x)) * (2 / math.sqrt(math.pi))),
    "1 - erf(x), precise for large x.", unary((-3, 3)),
)  # fmt: skip
erfinv = _function(
    "erfinv", _scipy("erfinv"), lambda x, y, dy: dy * (exp(square(y)) * (math.sqrt(math.pi) / 2)),
    "The inverse of erf; NaN outside [-1, 1].", unary((-0.9, 0.9)),
)  # fmt: skip
sigmoid = _function(
    "sigmoid",
    lambda x: 1 / (1 + np.exp(-x)) if x.dtype.kind == "c" else _scipy("expit")(x),
    lambda x, y, dy: dy * (y * (1 - y)),
    "1 / (1 + exp(-x)).",
    unary((-8, 8)),
)
softplus = _function(
    "softplus",
    lambda x: np.logaddexp(x, 0.0),
    lambda x, y, dy: dy * sigmoid(x),
    "log(1 + exp(x)), without overflow.",
    unary((-8, 8)),
)
lgamma: Op = _function(
    "lgamma",
    _scalar_function(_lgamma),
    lambda x, y, dy: dy * digamma(x),
    "log(|gamma(x)|); inf at 0, -1, -2 ...",
    unary((0.2, 8)),
    cost=60,
)
digamma: Op = _function(
    "digamma", _scipy("psi"), lambda x, y, dy: dy * _trigamma(x), "The derivative of lgamma; NaN at -1, -2 ...",
    unary((0.2, 8), edges=False), cost=60,
)  # fmt: skip
rsqrt: Op = _function(
    "rsqrt", lambda x: 1 / np.sqrt(x), lambda x, y, dy: dy * (y * square(y) * -0.5),
    "1 / sqrt(x); inf at 0, NaN below.", unary((0.2, 8)), cost=8,
)  # fmt: skip

sqrt = define_op(
    "sqrt", "x",
    infer=elementwise("sqrt", "field"),
    kernel=Pointwise(lambda s, x: s.sqrt(x), cost=4),
    gradient=lambda node, dy: [dy * 0.5 / conjugate(node.outputs[0])],
    reference=np.sqrt, numpy=np.sqrt,
    samples=unary((0.2, 8)),
    documentation="The square root; NaN below 0. The gradient at 0 is infinite.",
)  # fmt: skip


def _rounding(name: str, emit: Any, function: Any, documentation: str) -> Op:
    return define_op(
        name, "x",
        infer=elementwise(name, "float"),
        kernel=Pointwise(emit),
        gradient=lambda node, dy: [None],
        reference=function, numpy=function,
        samples=samples(
            unary((-9, 9)),
            [Sample((np.arange(-5, 5.5, 0.5).astype(d),), gradient=False) for d in FLOATS],
        ),
        idempotent=True,
        documentation=documentation + " Cuts the gradient.",
    )  # fmt: skip


floor = _rounding("floor", lambda s, x: s.floor(x), np.floor, "The largest integer not above x.")
ceil = _rounding("ceil", lambda s, x: s.ceil(x), np.ceil, "The smallest integer not below x.")
trunc = _rounding("trunc", lambda s, x: s.trunc(x), np.trunc, "x rounded towards zero.")
round_ = _rounding("round", lambda s, x: s.rint(x), np.rint, "The nearest integer, halves to even.")


def _predicate(name: str, emit: Any, function: Any, documentation: str) -> Op:
    return define_op(
        name, "x",
        infer=elementwise(name, "float", bool_),
        kernel=Pointwise(emit),
        no_gradient="the result is a truth value",
        reference=function, numpy=function,
        samples=unary(gradient=False),
        documentation=documentation,
    )  # fmt: skip


is_nan = _predicate("is_nan", lambda s, x: s.is_nan(x), np.isnan, "Is x NaN? Gives bool.")
is_inf = _predicate("is_inf", lambda s, x: s.abs(x).equal(math.inf), np.isinf, "Is x infinite? Gives bool.")
is_finite = _predicate(
    "is_finite", lambda s, x: s.abs(x) < math.inf, np.isfinite, "Is x neither infinite nor NaN? Gives bool."
)


relu_gradient: Op = define_op(
    "relu_gradient", "dy y",
    infer=elementwise("relu_gradient"),
    kernel=Pointwise(lambda s, dy, y: s.select(y > 0, dy, s.const(0, dy.dtype)), cost=2),
    gradient=lambda node, ddy: [
        sum_to(relu_gradient(ddy, node.inputs[1]), node.inputs[0]), zeros_like(node.inputs[1]),
    ],
    reference=lambda dy, y: np.where(y > 0, dy, dy.dtype.type(0)),
    samples=binary(right=(0.5, 4), refuses=False),
    documentation="dy where y is positive, else 0: the gradient of relu. Its own slope in y is zero, not missing.",
)  # fmt: skip

relu = define_op(
    "relu", "x",
    infer=elementwise("relu"),
    kernel=Pointwise(lambda s, x: s.maximum(x, s.const(0, x.dtype)), cost=2),
    gradient=lambda node, dy: [relu_gradient(dy, node.outputs[0])],
    reference=lambda x: np.where((x >= 0) | np.isnan(x), x, x.dtype.type(0)),
    samples=unary(dtypes=("float32", "float64", "int32", "int8")),
    idempotent=True,
    documentation="max(x, 0); NaN stays. The gradient at 0 is 0.",
)  # fmt: skip


def _atan2_gradient(node: Any, dy: Any) -> list[Any]:
    y, x = node.inputs
    scaled = dy / (square(x) + square(y))
    return [sum_to(scaled * x, y), sum_to(-scaled * y, x)]


atan2 = define_op(
    "atan2", "y x",
    infer=elementwise("atan2", "float"),
    kernel=Pointwise(lambda s, y, x: s.atan2(y, x), cost=30),
    gradient=_atan2_gradient,
    reference=_in_float64(np.arctan2),
    samples=binary(),
    documentation="The angle of the point (x, y), in [-pi, pi].",
)  # fmt: skip


def _xlogy_reference(x: Any, y: Any) -> Any:
    wide = np.complex128 if np.asarray(x).dtype.kind == "c" else np.float64
    x, y = np.asarray(x, wide), np.asarray(y, wide)
    with np.errstate(all="ignore"):
        return np.where(x == 0, 0.0, x * np.log(y))


def _where_nonzero(x: Any) -> Any:
    """1 where x is not zero, else 0: x / x without the NaN. The factor keeps xlogy(0, 0) at slope 0."""
    return select(not_equal(x, constant_like(0, x)), constant_like(1, x), constant_like(0, x))


xlogy: Op = define_op(
    "xlogy", "x y",
    infer=elementwise("xlogy", "field"),
    kernel=Pointwise(lambda s, x, y: s.select(x.equal(0), s.const(0, x.dtype), x * s.log(y)), cost=24),
    gradient=lambda node, dy: [
        sum_to(dy * conjugate(xlogy(_where_nonzero(node.inputs[0]), node.inputs[1])), node.inputs[0]),
        sum_to(dy * conjugate(xdivy(node.inputs[0], node.inputs[1])), node.inputs[1]),
    ],
    reference=lambda x, y: _xlogy_reference(x, y).astype(x.dtype),
    samples=samples(
        binary(right=(0.2, 4)),
        [Sample((np.array([0.0, 0.0, 2.0], d), np.array([0.0, -1.0, 0.0], d)), gradient=False) for d in FLOATS],
    ),
    documentation="x * log(y), but 0 where x is 0, whatever y is.",
)  # fmt: skip

xdivy: Op = define_op(
    "xdivy", "x y",
    infer=elementwise("xdivy", "field"),
    kernel=Pointwise(lambda s, x, y: s.select(x.equal(0), s.const(0, x.dtype), x / y), cost=6),
    gradient=lambda node, dy: [
        sum_to(dy * conjugate(xdivy(_where_nonzero(node.inputs[0]), node.inputs[1])), node.inputs[0]),
        sum_to(dy * conjugate(xdivy(-node.inputs[0], square(node.inputs[1]))), node.inputs[1]),
    ],
    reference=lambda x, y: np.where(x == 0, x.dtype.type(0), x / y),
    samples=samples(
        binary(right=(0.2, 4)),
        [Sample((np.array([0.0, 0.0, 2.0], d), np.array([0.0, np.nan, 0.0], d)), gradient=False) for d in FLOATS],
    ),
    documentation="x / y, but 0 where x is 0, whatever y is.",
)  # fmt: skip
