"""The op that a fused group of nodes becomes."""

from __future__ import annotations

from typing import Any

from ..errors import GraphError
from ..ir.op import Library, Sample, define_op
from ..ir.types import TensorType
from .samples import fill, graph_of


def _infer(types: tuple[TensorType, ...], body: Any) -> tuple[TensorType, ...]:
    own = tuple(v.type for v in body.inputs)
    if [(t.dtype, t.rank) for t in own] != [(t.dtype, t.rank) for t in types]:
        raise GraphError(f"fused: the body takes ({', '.join(map(str, own))}), got ({', '.join(map(str, types))})")
    return tuple(v.type for v in body.outputs)


def _reference(*arrays: Any, body: Any) -> Any:
    values = dict(zip(body.inputs, arrays, strict=True))
    for node in body.nodes:
        results = node.op.reference(*(values[v] for v in node.inputs), **node.attributes)
        values.update(zip(node.outputs, results if isinstance(results, tuple) else (results,), strict=True))
    found = tuple(values[v] for v in body.outputs)
    return found[0] if len(found) == 1 else found


def _samples() -> list[Sample]:
    found = []
    for dtype, short in (("float32", "f32"), ("float64", "f64"), ("int32", "i32")):
        for shape in ((), (7,), (3, 17), (0, 4)):
            type = f"{short}[{','.join(map(str, shape))}]"
            nodes = f"%0: {type} = multiply x, y", f"%1: {type} = subtract %0, y"
            body = graph_of(f"x: {type}, y: {type}", *nodes, results="%1, %0")
            found.append(Sample((fill(shape, dtype), fill(shape, dtype, seed=1)), {"body": body}, gradient=False))
    rows = graph_of("x: f32[3,300]", "%0: f32[3,300] = exp x", "%1: f32[3] = reduce_sum %0 {axes=(1,)}", results="%1")
    x = fill((3, 300), "float64")
    return [
        *found,
        Sample((x.astype("float32"),), {"body": rows}, gradient=False),
        Sample((x,), {"body": rows}, error=GraphError),
        Sample((x, x), {"body": rows}, error=GraphError),
    ]


fused = define_op(
    "fused", "*values",
    infer=_infer,
    kernel=Library("nest"),
    no_gradient="made by the fusion pass, after differentiation",
    reference=_reference,
    samples=_samples,
    attributes={"body": ...},
    narrow=True,
    documentation="Computes its sub-graph `body` in one loop nest. Made by the fusion pass only.",
)  # fmt: skip
