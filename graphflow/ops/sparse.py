"""Updates of a few rows of a large array, as passes/update_rows.py writes them in place of dense arrays that are zero but for these
rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import float32, int32, int64
from ..errors import DTypeError, IndexOutOfRangeError, ShapeError
from ..ir.dims import Dim
from ..ir.op import Library, Sample, define_op
from ..ir.types import TensorType
from .rules import equal_shapes
from .samples import fill

__all__ = ["row_sums", "update_rows"]


def _check_rows(name: str, indices: TensorType, rows: TensorType) -> None:
    if indices.dtype not in (int32, int64) or indices.rank != 1:
        raise DTypeError(f"{name}: row numbers must be int32 or int64 of rank 1, got {indices}")
    if rows.rank == 0 or not equal_shapes(rows.shape[:1], indices.shape):
        raise ShapeError(f"{name}: needs a row for each number, got {indices} and {rows}")
    if not rows.dtype.is_floating or rows.dtype.is_narrow and name == "row_sums":
        raise DTypeError(f"{name}: the rows must be floats, and float32 or float64 where they are added up, got {rows}")


def _infer_sums(types: tuple[TensorType, ...], rows: Dim) -> TensorType:
    indices, updates, wanted = types
    _check_rows("row_sums", indices, updates)
    if wanted.dtype is not indices.dtype or wanted.rank != 1:
        raise DTypeError(f"row_sums: the wanted rows must be like the row numbers, got {wanted} and {indices}")
    return updates.with_shape((wanted.shape[0], *updates.shape[1:]))


def _sums_reference(indices: Any, updates: Any, wanted: Any, rows: int) -> Any:
    if any(len(v) and (v.min() < 0 or v.max() >= rows) for v in (indices, wanted)):
        raise IndexOutOfRangeError(f"row_sums: an index is outside [0, {rows})")
    total = np.zeros((rows, *updates.shape[1:]), updates.dtype)
    np.add.at(total, indices, updates)
    return total[wanted]


def _sums_samples() -> list[Sample]:
    found = []
    for dtype in ("float32", "float64"):
        for count, wanted, rest in ((7, 5, (3,)), (6, 6, ()), (0, 2, (2,)), (3, 0, (2,)), (40, 40, (2, 2))):
            for index in ("int32", "int64"):
                arrays = (
                    fill((count,), index, 0, 8),
                    fill((count, *rest), dtype),
                    fill((wanted,), index, 0, 8, seed=1),
                )
                found.append(Sample(arrays, {"rows": 9}, gradient=False))
    updates = fill((2, 3), "float32")
    for bad in (9, -1):
        numbers = np.array([0, bad], "int32")
        found.append(Sample((numbers, updates, numbers), {"rows": 9}, error=IndexError))
    good = np.zeros(2, "int32")
    found.append(Sample((fill((2,), "float32"), updates, good), {"rows": 9}, error=DTypeError))
    found.append(Sample((np.zeros(3, "int32"), updates, good), {"rows": 9}, error=ShapeError))
    return found


row_sums = define_op(
    "row_sums", "indices updates wanted",
    attributes={"rows": ...},
    infer=_infer_sums,
    kernel=Library("row_sums"),
    no_gradient="made by a pass, after differentiation",
    reference=_sums_reference,
    samples=_sums_samples,
    fallible="index_out_of_range",
    documentation="""The rows `wanted` of scatter_add(indices, updates), an array of `rows` rows which is not made: the sum, from 0.0 in
order, of the updates of that row. An index outside [0, rows) is an error.""",
)  # fmt: skip


def _infer_update(types: tuple[TensorType, ...], operation: str) -> TensorType:
    array, indices, rows, rest = types
    _check_rows("update_rows", indices, rows)
    if array.dtype is not rows.dtype or array.rank == 0 or not equal_shapes(array.shape[1:], rows.shape[1:]):
        raise ShapeError(f"update_rows: the rows must be like those of the array, got {array} and {rows}")
    wide = float32 if array.dtype.is_narrow else array.dtype
    if rest.dtype is not wide or rest.rank != 0 or operation not in ("add", "subtract"):
        raise DTypeError(f"update_rows: the rest must be a number of {wide.name}, got {rest} for {array}")
    return array


def _update_reference(array: Any, indices: Any, rows: Any, rest: Any, operation: str) -> Any:
    wide = array.astype(rest.dtype)
    with np.errstate(all="ignore"):
        result = (wide + rest if operation == "add" else wide - rest).astype(array.dtype)
    result[indices] = rows
    return result


def _update_samples() -> list[Sample]:
    found = []
    for dtype in ("float32", "float64"):
        array = fill((6, 3), dtype)
        array[0] = [0.0, -0.0, np.inf]
        for rest in (0.0, -0.0, 1.5, np.nan):
            for operation in ("add", "subtract"):
                arrays = (array, np.array([4, 1, 4]), fill((3, 3), dtype, seed=2)[[0, 1, 0]], np.array(rest, dtype))
                found.append(Sample(arrays, {"operation": operation}, gradient=False))
        half = (
            fill((6, 3), dtype).astype("float16"),
            np.array([4, 1, 4]),
            arrays[2].astype("float16"),
            np.array(1.5, "float32"),
        )
        found.append(Sample(half, {"operation": "add"}, gradient=False))
        empty = (fill((4,), dtype), np.zeros(0, "int32"), fill((0,), dtype), np.array(0.0, dtype))
        found.append(Sample(empty, {"operation": "add"}, gradient=False))
    zero, one = np.zeros((), "float32"), np.zeros(1, "int32")
    found.append(
        Sample((fill((4, 2), "float32"), one, fill((1, 3), "float32"), zero), {"operation": "add"}, error=ShapeError)
    )
    return found


update_rows = define_op(
    "update_rows", "array indices rows rest",
    attributes={"operation": ...},
    infer=_infer_update,
    kernel=Library("update_rows"),
    no_gradient="made by a pass, after differentiation",
    reference=_update_reference,
    samples=_update_samples,
    narrow=True,
    documentation="""array `operation` (add, subtract) rest (a float32 for narrow arrays, which are rounded once), with row
indices[k] replaced by rows[k]. The indices are in range (row_sums has checked them). In a variable's place, with a rest that changes
nothing (+0.0 subtracted, -0.0 added), only the rows are written.""",
)  # fmt: skip
