"""Diagonals of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import int64
from ..errors import InvalidArgumentError, ShapeError
from ..ir.dims import Dim, dim_max, dim_min
from ..ir.op import Indexed, Op, Sample, View, define_op
from ..ir.types import TensorType
from .rules import equal_shapes
from .samples import FLOATS, fill

__all__ = ["diagonal", "from_diagonal"]


def diagonal_length(rows: Dim, columns: Dim, offset: int) -> Dim:
    """How many elements the diagonal `offset` places above (below, if negative) the main one has."""
    return dim_max(dim_min(rows, columns - offset) if offset >= 0 else dim_min(rows + offset, columns), 0)


def _infer(types: tuple[TensorType, ...], offset: int = 0) -> TensorType:
    own = types[0]
    if own.rank < 2:
        raise ShapeError(f"diagonal: needs a tensor of rank 2 or more, got {own}")
    return own.with_shape((*own.shape[:-2], diagonal_length(own.shape[-2], own.shape[-1], offset)))


def _requires(types: tuple[TensorType, ...], offset: int = 0) -> list[Any]:
    """An offset is less than the extent that it goes along. The main diagonal of an empty matrix is empty."""
    own = types[0]
    extent = own.shape[-1] if offset > 0 else own.shape[-2]
    return [(abs(offset) + 1, extent, f"{own} has no diagonal {offset}")] if offset else []


def _map(extents: Any, steps: Any, /, *, offset: int) -> Any:
    start = steps[-1] * offset if offset >= 0 else steps[-2] * -offset
    return start, (*steps[:-2], steps[-2] + steps[-1])


def _gradient(node: Any, dy: Any) -> list[Any]:
    rows, columns = node.inputs[0].dims[-2:]
    return [from_diagonal(dy, rows=rows, columns=columns, offset=node.attributes["offset"])]


_CASES: tuple[tuple[tuple[int, ...], int], ...] = (
    ((3, 3), 0), ((2, 4, 5), 0), ((5, 3), 0), ((3, 5), 1), ((5, 3), -2), ((2, 1, 4, 4), 3), ((0, 3, 3), 0),
)  # fmt: skip


def _samples() -> list[Sample]:
    found = []
    for seed, (shape, offset) in enumerate(_CASES):
        for dtype in (*FLOATS, "int32", "bool") if seed < 2 else ("float64",):
            found.append(Sample((fill(shape, dtype, seed=seed),), {"offset": offset}))
    found.append(Sample((fill((3,), "float32"),), {"offset": 0}, error=ShapeError))
    found.append(Sample((fill((3, 2), "float32"),), {"offset": 3}, error=InvalidArgumentError))
    return found


diagonal: Op = define_op(
    "diagonal", "x",
    attributes={"offset": 0},
    infer=_infer, requires=_requires,
    kernel=View(_map),
    gradient=_gradient,
    reference=lambda x, offset=0: np.ascontiguousarray(np.diagonal(x, offset, -2, -1)),
    samples=_samples,
    documentation="The diagonal of the last two axes, `offset` places above the main one (below it, if negative).",
)  # fmt: skip


def _infer_from(types: tuple[TensorType, ...], rows: Dim, columns: Dim, offset: int = 0) -> TensorType:
    own = types[0]
    if own.rank == 0 or not equal_shapes((own.shape[-1],), (diagonal_length(rows, columns, offset),)):
        raise ShapeError(f"from_diagonal: diagonal {offset} of a {rows}x{columns} matrix does not fit {own}")
    return own.with_shape((*own.shape[:-1], rows, columns))


def _emit_from(s: Any, operands: Any, index: Any, *, rows: Any, columns: Any, offset: int) -> Any:
    (source,) = operands
    row, column = index[-2:]
    on = (column - row).equal(s.const(offset, int64))
    place = row if offset >= 0 else column
    extent = source.shape[-1]
    place = s.select(place < extent, place, extent - 1)
    place = s.select(place < 0, s.const(0, int64), place)
    value = source(*index[:-2], place)
    return s.select(on, value, s.const(0, value.dtype))


def _from_reference(x: Any, rows: int, columns: int, offset: int = 0) -> Any:
    result = np.zeros((*x.shape[:-1], rows, columns), x.dtype)
    k = np.arange(x.shape[-1])
    result[..., k + max(-offset, 0), k + max(offset, 0)] = x
    return result


def _from_samples() -> list[Sample]:
    found = []
    for seed, (shape, offset) in enumerate(_CASES):
        attributes = {"rows": shape[-2], "columns": shape[-1], "offset": offset}
        own = (*shape[:-2], diagonal_length(shape[-2], shape[-1], offset))
        for dtype in (*FLOATS, "int32", "bool") if seed < 2 else ("float64",):
            found.append(Sample((fill(own, dtype, seed=seed),), attributes))  # type: ignore[arg-type]
    found.append(Sample((fill((3,), "float32"),), {"rows": 2, "columns": 2}, error=ShapeError))
    return found


from_diagonal: Op = define_op(
    "from_diagonal", "x",
    attributes={"rows": ..., "columns": ..., "offset": 0},
    infer=_infer_from,
    kernel=Indexed(_emit_from, cost=6),
    gradient=lambda node, dy: [diagonal(dy, offset=node.attributes["offset"])],
    reference=_from_reference,
    samples=_from_samples,
    narrow=True,
    documentation="Matrices of zeros with the last axis of x on the diagonal `offset` places above the main one.",
)  # fmt: skip
