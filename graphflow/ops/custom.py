"""Values with a gradient that the user wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ..errors import GraphError
from ..ir.op import Alias, Library, Sample, define_op
from ..ir.types import TensorType
from .samples import fill
from .shape import _infer_same

__all__ = ["CustomGradient", "checkpoint", "custom_gradient"]


class CustomGradient(Protocol):
    """The attribute `gradient`: what computes the gradients of the arguments."""

    def apply(self, arguments: Sequence[Any], gradients: Sequence[Any]) -> list[Any]:
        """The gradients (or None) of all operands after the results, from those of the results."""
        ...


def _infer_custom(types: tuple[TensorType, ...], count: int, gradient: CustomGradient) -> tuple[TensorType, ...]:
    if not 0 < count <= len(types):
        raise GraphError(f"custom_gradient: {count} results of {len(types)} operands")
    return types[:count]


def _custom_rule(node: Any, *gradients: Any) -> list[Any]:
    count = node.attributes["count"]
    found = node.attributes["gradient"].apply(node.inputs[count:], gradients)
    return [None] * count + found


def _first(*values: Any, count: int, gradient: Any) -> Any:
    return values[0] if count == 1 else values[:count]


class _Doubled:
    """The sample's gradient: twice that of the result."""

    def apply(self, arguments: Sequence[Any], gradients: Sequence[Any]) -> list[Any]:
        return [gradients[0] + gradients[0]]


def _custom_samples() -> list[Sample]:
    own = _Doubled()
    return [
        *(Sample((fill(shape, dtype), fill(shape, dtype, seed=1)), {"count": count, "gradient": own}, gradient=False)
          for shape in ((), (3, 4), (0, 2)) for dtype in ("float32", "float64", "int32") for count in (1, 2)),
        *(Sample((fill((3,), "float32"),), {"count": count, "gradient": own}, error=GraphError) for count in (0, 2)),
    ]  # fmt: skip


custom_gradient = define_op(
    "custom_gradient", "*values",
    attributes={"count": ..., "gradient": ...},
    infer=_infer_custom,
    kernel=Library("custom_gradient"),
    gradient=_custom_rule,
    reference=_first, numpy=_first,
    samples=_custom_samples,
    narrow=True,
    documentation="""The first `count` operands themselves. Their gradients are handed to `gradient`, which computes those of the
other operands (the function's arguments) and may use all of these. No code is made for it: the first pass puts the operands in the
place of the results.""",
)  # fmt: skip

checkpoint = define_op(
    "checkpoint", "x",
    attributes={"number": ...},
    infer=lambda types, number: _infer_same(types),
    kernel=Alias(),
    gradient=lambda node, dy: [dy],
    reference=lambda x, number: x, numpy=lambda x, number: x,
    samples=lambda: [Sample((fill((3, 4), dtype),), {"number": 1}) for dtype in ("float32", "float64", "int32", "bool")],
    documentation="""x itself, which no pass takes for x: what is computed from it is computed again, and not merged with what was
computed from x. Values with the same number are merged.""",
)  # fmt: skip
