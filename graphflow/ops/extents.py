"""The op that fixes extents which only the run decides."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import int64
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import Dim, SymbolicDim, symbol
from ..ir.op import Indexed, Library, Op, Sample, define_op
from ..ir.types import TensorType
from .samples import NUMBERS, fill

__all__ = ["ensure_shape", "runtime_range"]


def _infer(types: tuple[TensorType, ...], shape: tuple[Dim, ...]) -> TensorType:
    (x,) = types
    fits = len(shape) == x.rank and all(
        a == b or isinstance(a, SymbolicDim) or isinstance(b, SymbolicDim) for a, b in zip(shape, x.shape, strict=True)
    )
    if not fits:
        raise ShapeError(f"ensure_shape: the shape must be [{','.join(map(str, shape))}], got {x}")
    return x.with_shape(tuple(shape))


def _emit(s: Any, operands: Any, index: Any, *, shape: tuple[Dim, ...]) -> Any:
    (x,) = operands
    del shape

    def inside(place: Any, extent: Any) -> Any:
        below = s.select(place < extent, place, extent - 1)
        return s.select(below < 0, s.const(0, int64), below)

    # an assertion has stopped the program where the extents differ, or will: loads stay inside either way
    return x(*(inside(place, extent) for place, extent in zip(index, x.shape, strict=True)))


def _reference(x: Any, shape: tuple[int, ...]) -> Any:
    if x.shape != tuple(shape):
        raise ShapeError(f"ensure_shape: the shape must be {list(shape)}, got {list(x.shape)}")
    return x


ensure_shape: Op = define_op(
    "ensure_shape", "x",
    attributes={"shape": ...},
    infer=_infer,
    kernel=Indexed(_emit, cost=4),
    gradient=lambda node, dy: [ensure_shape(dy, shape=tuple(node.inputs[0].dims))],
    reference=_reference, numpy=_reference,
    samples=lambda: [
        *(Sample((fill(s, dtype),), {"shape": s}) for dtype in (*NUMBERS, "bool") for s in [(3,), (2, 3), (), (0, 2)]),
        Sample((np.zeros((2, 3)),), {"shape": (2, 4)}, error=ShapeError),
        Sample((np.zeros((2, 3)),), {"shape": (6,)}, error=ShapeError),
    ],
    narrow=True,
    documentation="""x, whose shape an assertion before this node has found to be `shape`: extents that only the run
decides get a name or a number that the compiler knows.""",
)  # fmt: skip


def _infer_runtime_range(types: tuple[TensorType, ...], extents: tuple[str, ...]) -> TensorType:
    (count,) = types
    if count.shape != () or count.dtype is not int64:
        raise DTypeError(f"runtime_range: the count must be an int64 of rank 0, got {count}")
    if len(extents) != 1:
        raise InvalidArgumentError(f"runtime_range: makes one extent, got the names {extents}")
    return TensorType(int64, (symbol(extents[0]),))


def _range_reference(count: Any, extents: tuple[str, ...]) -> Any:
    if count < 0:
        raise InvalidArgumentError(f"runtime_range: an extent must not be negative, got {count}")
    return np.arange(int(count), dtype=np.int64)


runtime_range: Op = define_op(
    "runtime_range", "count",
    attributes={"extents": ...},
    infer=_infer_runtime_range,
    kernel=Library("runtime_range"),
    no_gradient="the result is numbers",
    reference=_range_reference,
    samples=lambda: [
        *(Sample((np.array(count),), {"extents": (f"u{count}",)}, gradient=False) for count in (0, 1, 7, 5000)),
        Sample((np.array(-1),), {"extents": ("count",)}, error=InvalidArgumentError),
        Sample((np.array(3, np.int32),), {"extents": ("count",)}, error=DTypeError),
        Sample((np.array([3]),), {"extents": ("count",)}, error=DTypeError),
        Sample((np.array(3),), {"extents": ("rows", "columns")}, error=InvalidArgumentError),
    ],
    fallible="negative_extent",
    documentation="""0, 1, ... count - 1. Its extent is the run-time symbol that `extents` names: how a number that only the run
knows becomes an extent. A negative count is an error.""",
)  # fmt: skip
