"""A call of a Python function from a compiled graph, in program order with the other effects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..dtypes import DType
from ..errors import GraphError
from ..ir.dims import Dim, symbols_of
from ..ir.op import Effect, define_op
from ..ir.types import TensorType

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


python_call = define_op(
    "python_call", "*values",
    attributes={"function": ..., "dtypes": ..., "shapes": ..., "extents": ()},
    infer=_infer_python_call,
    kernel=Effect("call"),
    gradient=_gradient,
    documentation="""The results of function(*operands as NumPy arrays) -> tuple of arrays of these dtypes and
shapes, called at each run in program order; it may do anything, so no other effect and no access to a variable moves
across it. `extents` names the run-time symbols among the results' shapes that this node defines.""",
)  # fmt: skip
