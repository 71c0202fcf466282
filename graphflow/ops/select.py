"""Choice between two tensors, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..ir.op import Pointwise, Sample, define_op
from ..ir.types import TensorType
from .gradients import constant_like, sum_to
from .rules import broadcast_shapes, check_kind, same_dtype
from .samples import NUMBERS, fill

__all__ = ["select"]


def _infer(types: tuple[TensorType, ...]) -> TensorType:
    check_kind("select", types[:1], "bool")
    dtype = same_dtype("select", types[1:])
    return TensorType(dtype, broadcast_shapes("select", types), types[1].device)


def _gradient(node: Any, dy: Any) -> list[Any]:
    condition, x, y = node.inputs
    zero = constant_like(0, dy)
    return [None, sum_to(select(condition, dy, zero), x), sum_to(select(condition, zero, dy), y)]


def _samples() -> list[Sample]:
    found = []
    shapes: list[tuple[Any, Any, Any]] = [
        ((7,), (7,), (7,)),
        ((), (3, 5), (5,)),
        ((3, 1), (), (1, 5)),
        ((2, 3), (3,), (2, 1)),
        ((0,), (0,), ()),
    ]
    for dtype in (*NUMBERS, "bool"):
        for seed, (c, a, b) in enumerate(shapes if dtype == "float64" else shapes[:2]):
            found.append(
                Sample((fill(c, "bool", seed=seed), fill(a, dtype, seed=seed + 1), fill(b, dtype, seed=seed + 2)))
            )
    yes, one = fill((3,), "bool"), fill((3,), "float32")
    found.append(Sample((one, one, one), error=DTypeError))
    found.append(Sample((yes, one, fill((3,), "int32")), error=DTypeError))
    found.append(Sample((yes, fill((4,), "float32"), one), error=ShapeError))
    return found


select = define_op(
    "select", "condition x y",
    infer=_infer,
    kernel=Pointwise(lambda s, condition, x, y: s.select(condition, x, y)),
    gradient=_gradient,
    reference=np.where, numpy=np.where,
    samples=_samples,
    narrow=True, strings=True,
    documentation=(
        "x where condition, else y, bit for bit; all three broadcast. Each side gets the gradient where it was "
        "chosen."
    ),
)  # fmt: skip
