"""The op that a fused group of nodes becomes."""

from __future__ import annotations

from typing import Any

from ..ir.op import Library, define_op
from ..ir.types import TensorType


def _infer(types: tuple[TensorType, ...], body: Any) -> tuple[TensorType, ...]:
    return tuple(v.type for v in body.outputs)


def _reference(*arrays: Any, body: Any) -> Any:
    values = dict(zip(body.inputs, arrays, strict=True))
    for node in body.nodes:
        results = node.op.reference(*(values[v] for v in node.inputs), **node.attributes)
        values.update(zip(node.outputs, results if isinstance(results, tuple) else (results,), strict=True))
    return tuple(values[v] for v in body.outputs)


fused = define_op(
    "fused", "*values",
    infer=_infer,
    kernel=Library("nest"),
    no_gradient="made by the fusion pass, after differentiation",
    reference=_reference,
    samples=None,
    attributes={"body": ...},
    narrow=True,
    documentation="Computes its sub-graph `body` in one loop nest. Made by the fusion pass only.",
)  # fmt: skip
