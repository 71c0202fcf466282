"""leaky_relu as an op of its own, because its second derivative is zero, not missing, as that of a choice would be."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.op import Op, Pointwise, Sample, define_op
from .comparison import greater
from .gradients import constant_like, sum_to, zeros_like
from .rules import elementwise
from .samples import binary
from .select import select

__all__ = ["leaky_relu", "leaky_relu_gradient"]


def _second(node: Any, ddy: Any) -> list[Any]:
    dy, x, alpha = node.inputs
    zero = constant_like(0, dy)
    of_alpha = sum_to(select(greater(x, zero), zero, ddy * dy), alpha)
    return [sum_to(leaky_relu_gradient(ddy, x, alpha), dy), zeros_like(x), of_alpha]


def _triples() -> list[Sample]:
    pairs = binary(dtypes=("float32", "float64"), right=(0.5, 4))()
    return [
        Sample((*s.arrays, np.full((), 0.25, s.arrays[0].dtype)), gradient=s.gradient, error=s.error) for s in pairs
    ]


leaky_relu_gradient: Op = define_op(
    "leaky_relu_gradient", "dy x alpha",
    infer=elementwise("leaky_relu_gradient", "float"),
    kernel=Pointwise(lambda s, dy, x, alpha: s.select(x > 0, dy, dy * alpha), cost=2),
    gradient=_second,
    reference=lambda dy, x, alpha: np.where(x > 0, dy, dy * alpha),
    samples=_triples,
    documentation="dy where x is positive, else dy * alpha: the gradient of leaky_relu. Its own slope in x is zero, not missing.",
)  # fmt: skip


def _first(node: Any, dy: Any) -> list[Any]:
    x, alpha = node.inputs
    zero = constant_like(0, dy)
    of_alpha = sum_to(select(greater(x, zero), zero, dy * x), alpha)
    return [sum_to(leaky_relu_gradient(dy, x, alpha), x), of_alpha]


leaky_relu = define_op(
    "leaky_relu", "x alpha",
    infer=elementwise("leaky_relu", "float"),
    kernel=Pointwise(lambda s, x, alpha: s.select(x > 0, x, x * alpha), cost=2),
    gradient=_first,
    reference=lambda x, alpha: np.where(x > 0, x, x * alpha),
    samples=binary(dtypes=("float32", "float64"), left=(0.5, 4)),
    documentation="x where it is positive, else x * alpha. The gradient at 0 is alpha.",
)  # fmt: skip
