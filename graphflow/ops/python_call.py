"""A call of a Python function from a compiled graph, in program order with the other effects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dtypes import DType, bool_, float32, float64, int32
from ..errors import GraphError
from ..ir.dims import Dim, symbol, symbols_of
from ..ir.op import Effect, Sample, define_op
from ..ir.types import TensorType
from .samples import fill

__all__ = ["python_call"]


def _infer_python_call(
    types: tuple[TensorType, ...],
    function: Callable[..., Any],
    dtypes: tuple[DType, ...],
    shapes: tuple[tuple[Dim, ...], ...],
    extents: tuple[str, ...] = (),
) -> tuple[TensorType, ...]:
    if not callable(function):
        raise GraphError(f"python_call: the function must be callable, got {function!r}")
    if len(dtypes) != len(shapes):
        raise GraphError(f"python_call: needs a shape for each dtype, got {len(dtypes)} and {len(shapes)}")
    made = {name for shape in shapes for dim in shape for name in symbols_of(dim)}
    unused = [name for name in extents if name not in made]
    if unused:
        raise GraphError(f"python_call: no result has the run-time extent {unused[0]!r}")
    return tuple(TensorType(dtype, tuple(shape)) for dtype, shape in zip(dtypes, shapes, strict=True))


def _gradient(node: Any, *gradients: Any) -> list[Any]:
    """Calls back: the function object knows how its results depend on its operands (see python_call.PythonFunction)."""
    found: list[Any] = node.attributes["function"].gradient(node, gradients)
    return found


def _reference(
    *arrays: Any, function: Callable[..., Any], dtypes: Sequence[DType], shapes: Any, extents: Any = ()
) -> Any:
    found = tuple(np.asarray(a, d.numpy) for a, d in zip(function(*arrays), dtypes, strict=True))
    return found[0] if len(found) == 1 else found


def _sum_and_order(x: Any, y: Any) -> tuple[Any, Any]:
    return np.asarray(x + y), np.asarray(x > y)


def _samples() -> list[Sample]:
    found = []
    for shape in ((), (3,), (2, 3), (0, 2)):
        for dtype in (float32, float64, int32):
            attributes = {"function": _sum_and_order, "dtypes": (dtype, bool_), "shapes": (shape, shape)}
            arrays = (fill(shape, dtype.name), fill(shape, dtype.name, seed=1))
            found.append(Sample(arrays, attributes, gradient=False))
    x = fill((6,), "float32")
    positive = {
        "function": lambda x: (x[x > 0],),
        "dtypes": (float32,),
        "shapes": ((symbol("u0"),),),
        "extents": ("u0",),
    }
    nothing = {"function": lambda: (), "dtypes": (), "shapes": ()}
    return [
        *found,
        Sample((x,), positive, gradient=False),
        Sample((), nothing, gradient=False),
        Sample((), {**nothing, "function": "no function"}, error=GraphError),
        Sample((), {**nothing, "dtypes": (float32,)}, error=GraphError),
        Sample((), {**nothing, "extents": ("u0",)}, error=GraphError),
    ]


python_call = define_op(
    "python_call", "*values",
    attributes={"function": ..., "dtypes": ..., "shapes": ..., "extents": ()},
    infer=_infer_python_call,
    kernel=Effect("call"),
    gradient=_gradient,
    reference=_reference,
    samples=_samples,
    documentation="""The results of function(*operands as NumPy arrays) -> tuple of arrays of these dtypes and
shapes, called at each run in program order; it may do anything, so no other effect and no access to a variable moves
across it. `extents` names the run-time symbols among the results' shapes that this node defines.""",
)  # fmt: skip
