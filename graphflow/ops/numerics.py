"""A float tensor that must be finite: the check is part of the loop that reads it, so it costs one comparison an element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import DTypeError, InvalidArgumentError
from ..ir.op import Pointwise, Sample, define_op
from ..ir.types import TensorType

__all__ = ["check_numerics"]

IN_GRADIENT = "Not a number (NaN) or infinity (Inf) values detected in gradient. "
"""How the message of the gradient's own check begins, as in TensorFlow."""


def _infer(types: tuple[TensorType, ...], message: str = "") -> TensorType:
    if not types[0].dtype.is_floating:
        raise DTypeError(f"check_numerics: needs a float tensor, got {types[0]}")
    return types[0]


def _gradient(node: Any, dy: Any) -> list[Any]:
    message = node.attributes["message"]
    return [check_numerics(dy, message=message if message.startswith(IN_GRADIENT) else IN_GRADIENT + message)]


def _reference(x: Any, message: str = "") -> Any:
    if not np.isfinite(x).all():
        raise InvalidArgumentError(message)
    return x


def _samples() -> list[Sample]:
    found = []
    for dtype in (np.float32, np.float64):
        edges = np.array([0.0, -0.0, 1.0, -1.5, np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal], dtype)
        found += [
            Sample((edges.reshape(2, 3),), {"message": "values"}, gradient=False),
            Sample((np.linspace(-2, 2, 37, dtype=dtype),), {"message": "values"}),
            Sample((np.array(2.5, dtype),), {"message": "a scalar"}),
            Sample((np.ones((0, 3), dtype),), {"message": "nothing"}),
        ]
        for wrong in (np.nan, np.inf, -np.inf):
            array = np.ones((3, 5), dtype)
            array[2, 1] = wrong
            found.append(Sample((array,), {"message": "values"}, error=InvalidArgumentError))
    found.append(Sample((np.array([1, 2]),), {"message": "integers"}, error=DTypeError))
    return found


check_numerics = define_op(
    "check_numerics", "x",
    attributes={"message": ""},
    infer=_infer,
    kernel=Pointwise(lambda s, x, message: s.check(x, s.abs(x) < math.inf, "not_finite"), cost=2),
    gradient=_gradient,
    reference=_reference,
    samples=_samples,
    fallible="not_finite",
    documentation="x itself; fails the run with `message` if an element is NaN or infinite. The gradient is checked likewise.",
)  # fmt: skip
