"""Special functions of one element: Bessel functions, integrals, the derivatives of digamma, the next float.

Their kernels are programs of the math library (kernels/math_bessel.py, math_integrals.py); references are SciPy's in float64, rounded to
the dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.op import Op, Pointwise, Sample, define_op
from .arithmetic import sign, square
from .comparison import equal
from .elementwise import cos, exp, log, sin
from .gradients import constant_like, sum_to, zeros_like
from .rules import elementwise
from .samples import FLOATS, binary, fill, samples, unary
from .select import select

__all__ = [
    "bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e", "bessel_j0", "bessel_j1", "bessel_k0", "bessel_k0e", "bessel_k1", "bessel_k1e",
    "bessel_y0", "bessel_y1", "dawsn", "expint", "fresnel_cos", "fresnel_sin", "nextafter", "polygamma_of_order", "spence",
]  # fmt: skip


def _function(
    name: str,
    reference: Callable[..., Any],
    gradient: Callable[[Any, Any, Any], Any],
    documentation: str,
    domain: tuple[float, float],
    cost: int = 120,
) -> Op:
    """A float function of the math library. gradient(x, y, dy): x the operand, y the result."""

    def in_float64(x: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.asarray(reference(np.asarray(x, np.float64))).astype(x.dtype)

    return define_op(
        name, "x",
        infer=elementwise(name, "float"),
        kernel=Pointwise(lambda s, x: getattr(s, name)(x), cost=cost),
        gradient=lambda node, dy: [gradient(node.inputs[0], node.outputs[0], dy)],
        reference=in_float64,
        samples=unary(domain, edges=False),
        documentation=documentation,
    )  # fmt: skip


def _scipy(name: str) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(x)

    return function


def _fresnel(place: int) -> Callable[..., Any]:
    def function(x: Any) -> Any:
        import scipy.special

        return scipy.special.fresnel(x)[place]

    return function


def _over(y: Any, x: Any, at_zero: float) -> Any:
    """y / x, but at_zero where x is 0."""
    zero = equal(x, constant_like(0, x))
    return select(zero, constant_like(at_zero, x), y / select(zero, constant_like(1, x), x))


bessel_i0: Op = _function(
    "bessel_i0",
    _scipy("i0"),
    lambda x, y, dy: dy * bessel_i1(x),
    "The modified Bessel function of the first kind, order 0.",
    (-9, 9),
)
bessel_i0e: Op = _function(
    "bessel_i0e",
    _scipy("i0e"),
    lambda x, y, dy: dy * (bessel_i1e(x) - sign(x) * y),
    "exp(-|x|) times bessel_i0.",
    (-12, 12),
)
bessel_i1: Op = _function(
    "bessel_i1", _scipy("i1"), lambda x, y, dy: dy * (bessel_i0(x) - _over(y, x, 0.5)),
    "The modified Bessel function of the first kind, order 1.", (-9, 9),
)  # fmt: skip
bessel_i1e: Op = _function(
    "bessel_i1e", _scipy("i1e"), lambda x, y, dy: dy * (bessel_i0e(x) - sign(x) * y - _over(y, x, 0.5)),
    "exp(-|x|) times bessel_i1.", (-12, 12),
)  # fmt: skip
bessel_j0: Op = _function(
    "bessel_j0",
    _scipy("j0"),
    lambda x, y, dy: -dy * bessel_j1(x),
    "The Bessel function of the first kind, order 0.",
    (-12, 12),
)
bessel_j1: Op = _function(
    "bessel_j1", _scipy("j1"), lambda x, y, dy: dy * (bessel_j0(x) - _over(y, x, 0.5)),
    "The Bessel function of the first kind, order 1.", (-12, 12),
)  # fmt: skip
bessel_k0: Op = _function(
    "bessel_k0",
    _scipy("k0"),
    lambda x, y, dy: -dy * bessel_k1(x),
    "The modified Bessel function of the second kind, order 0.",
    (0.3, 5),
)
bessel_k0e: Op = _function(
    "bessel_k0e", _scipy("k0e"), lambda x, y, dy: dy * (y - bessel_k1e(x)), "exp(x) times bessel_k0.", (0.3, 5)
)
bessel_k1: Op = _function(
    "bessel_k1", _scipy("k1"), lambda x, y, dy: -dy * (bessel_k0(x) + y / x),
    "The modified Bessel function of the second kind, order 1.", (0.3, 5),
)  # fmt: skip
bessel_k1e: Op = _function(
    "bessel_k1e",
    _scipy("k1e"),
    lambda x, y, dy: dy * (y * (1 - 1 / x) - bessel_k0e(x)),
    "exp(x) times bessel_k1.",
    (0.3, 5),
)
bessel_y0: Op = _function(
    "bessel_y0",
    _scipy("y0"),
    lambda x, y, dy: -dy * bessel_y1(x),
    "The Bessel function of the second kind, order 0.",
    (0.3, 12),
)
bessel_y1: Op = _function(
    "bessel_y1",
    _scipy("y1"),
    lambda x, y, dy: dy * (bessel_y0(x) - y / x),
    "The Bessel function of the second kind, order 1.",
    (0.3, 12),
)
dawsn: Op = _function(
    "dawsn",
    _scipy("dawsn"),
    lambda x, y, dy: dy * (1 - x * y * 2),
    "exp(-x*x) times the integral of exp(t*t) from 0 to x.",
    (-8, 8),
)
expint: Op = _function(
    "expint", _scipy("expi"), lambda x, y, dy: dy * (exp(x) / x),
    "The integral of exp(t) / t from -inf to x, for positive x; NaN below 0.", (0.5, 9),
)  # fmt: skip
fresnel_sin: Op = _function(
    "fresnel_sin",
    _fresnel(0),
    lambda x, y, dy: dy * sin(square(x) * (math.pi / 2)),
    "The integral of sin(pi/2 t*t) from 0 to x.",
    (-4, 4),
)
fresnel_cos: Op = _function(
    "fresnel_cos",
    _fresnel(1),
    lambda x, y, dy: dy * cos(square(x) * (math.pi / 2)),
    "The integral of cos(pi/2 t*t) from 0 to x.",
    (-4, 4),
)


def _spence_gradient(x: Any, y: Any, dy: Any) -> Any:
    one = constant_like(1, x)
    there = equal(x, one)
    gap = select(there, one, 1 - x)
    return dy * select(there, constant_like(-1, x), log(x) / gap)


spence: Op = _function(
    "spence", _scipy("spence"), _spence_gradient, "The integral of log(t) / (1 - t) from 1 to x; NaN below 0.", (0.1, 5)
)


# The derivatives of digamma -------------------------------------------------------------------------------------------
def _infer_order(types: Any, order: int) -> Any:
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise InvalidArgumentError(f"polygamma_of_order: the order must be an int of at least 1, got {order!r}")
    return elementwise("polygamma_of_order", "float")(types)


def _polygamma_reference(x: Any, order: int) -> Any:
    import scipy.special

    with np.errstate(all="ignore"):
        return np.asarray(scipy.special.polygamma(order, np.asarray(x, np.float64))).astype(x.dtype)


def _polygamma_samples() -> list[Sample]:
    found = [
        Sample((fill(shape, dtype, 0.3, 6, seed),), {"order": order})
        for dtype in FLOATS
        for order in (1, 2, 3)
        for seed, shape in enumerate(((), (7,), (3, 5), (0, 4)))
    ]
    found.append(Sample((fill((3,), "int32", 0, 1),), {"order": 1}, error=DTypeError))
    found.append(Sample((fill((3,), "float32"),), {"order": 0}, error=InvalidArgumentError))
    return found


polygamma_of_order: Op = define_op(
    "polygamma_of_order", "x",
    attributes={"order": ...},
    infer=_infer_order,
    kernel=Pointwise(lambda s, x, order: s.polygamma_of_order(x, order), cost=140),
    gradient=lambda node, dy: [dy * polygamma_of_order(node.inputs[0], order=node.attributes["order"] + 1)],
    reference=_polygamma_reference,
    samples=_polygamma_samples,
    documentation="The derivative of that order (1 or more) of digamma; of order 1 the trigamma function. A pole at 0, -1, -2 ...",
)  # fmt: skip


# Neighbours -----------------------------------------------------------------------------------------------------------
_EDGES = [0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 3.4028235e38, float("inf"), float("-inf"), float("nan")]

nextafter: Op = define_op(
    "nextafter", "x1 x2",
    infer=elementwise("nextafter", "float"),
    kernel=Pointwise(lambda s, x, y: s.nextafter(x, y), cost=8),
    gradient=lambda node, dy: [sum_to(dy, node.inputs[0]), zeros_like(node.inputs[1])],
    reference=np.nextafter,
    samples=samples(
        binary(gradient=False, edges=False),
        [Sample((np.array(_EDGES, d)[:, None], np.array(_EDGES, d)[None, :]), gradient=False) for d in FLOATS],
        lambda: [Sample((fill((3,), "float32"), fill((4,), "float32")), error=ShapeError, gradient=False)],
    ),
    documentation="The float next to x1 on the way to x2; x2 where both are equal. The gradient is x1's.",
)  # fmt: skip
