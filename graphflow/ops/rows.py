"""One row of an array replaced, added to, or appended. In a loop the array's last value dies with the node, so that the code
generator does them in place: a loop of n such steps costs O(n) rows, not O(n * n)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import int32, int64
from ..errors import DTypeError, ShapeError
from ..ir.op import Library, Sample, define_op
from ..ir.types import TensorType
from .gradients import zeros_like
from .indexing import gather
from .rules import equal_shapes
from .samples import fill
from .shape import reshape, strided_slice

__all__ = ["append_row", "scatter_add_into", "update_row"]


def _check_row(name: str, array: TensorType, value: TensorType) -> None:
    if array.dtype is not value.dtype:
        raise DTypeError(f"{name}: the row must have the array's dtype, got {array} and {value}; use gf.cast")
    if array.rank == 0 or not equal_shapes(array.shape[1:], value.shape):
        raise ShapeError(f"{name}: the row must have the shape of one row of the array, got {array} and {value}")


def _infer_at(name: str) -> Any:
    def infer(types: tuple[TensorType, ...]) -> TensorType:
        array, index, value = types
        if index.shape != () or index.dtype not in (int32, int64):
            raise DTypeError(f"{name}: the index must be an int32 or int64 of rank 0, got {index}")
        _check_row(name, array, value)
        if name == "scatter_add_into" and not array.dtype.is_numeric:
            raise DTypeError(f"{name}: the array must hold numbers, got {array}")
        return array

    return infer


def _place(name: str, array: Any, index: Any) -> int:
    if not 0 <= index < len(array):
        raise IndexError(f"{name}: row {index} of an array of {len(array)}")
    return int(index)


def _update_reference(array: Any, index: Any, value: Any) -> Any:
    result = np.array(array)
    result[_place("update_row", array, index)] = value
    return result


def _add_reference(array: Any, index: Any, value: Any) -> Any:
    result = np.array(array)
    result[_place("scatter_add_into", array, index)] += value
    return result


def _update_gradient(node: Any, dy: Any) -> list[Any]:
    _, index, value = node.inputs
    return [update_row(dy, index, zeros_like(value)), None, gather(dy, index, axis=0)]


def _row_samples(name: str) -> Any:
    shapes: tuple[tuple[int, ...], ...] = ((4, 3), (5,), (3, 2, 2), (1, 2))
    dtypes = ("float32", "float64", "int32", "uint8") + (("bool",) if name == "update_row" else ())

    def make() -> list[Sample]:
        found = []
        for dtype in dtypes:
            for seed, shape in enumerate(shapes if dtype == "float64" else shapes[:2]):
                for place, index in ((0, "int32"), (shape[0] - 1, "int64")):
                    row = fill(shape[1:], dtype, -1, 1, seed=seed + 9)
                    found.append(Sample((fill(shape, dtype, -2, 2, seed=seed), np.array(place, index), row)))
        array, row, first = fill((4, 3), "float32"), fill((3,), "float32"), np.array(0)
        for bad in (-1, 4, 2**31 - 1):
            found.append(Sample((array, np.array(bad, "int32"), row), error=IndexError))
        found.append(Sample((fill((0, 3), "float32"), first, row), error=IndexError))
        found.append(Sample((array, first, fill((2,), "float32")), error=ShapeError))
        found.append(Sample((fill((), "float32"), first, fill((), "float32")), error=ShapeError))
        found.append(Sample((array, np.array(0.0), row), error=DTypeError))
        found.append(Sample((array, np.zeros(1, "int32"), row), error=DTypeError))
        found.append(Sample((array, first, fill((3,), "float64")), error=DTypeError))
        return found

    return make


update_row = define_op(
    "update_row", "array index value",
    infer=_infer_at("update_row"),
    kernel=Library("update_row"),
    gradient=_update_gradient,
    reference=_update_reference,
    samples=_row_samples("update_row"),
    fallible="index_out_of_range",
    narrow=True,
    documentation="array with row array[index] replaced by value. An index outside [0, rows) is an error.",
)  # fmt: skip

scatter_add_into = define_op(
    "scatter_add_into", "array index value",
    infer=_infer_at("scatter_add_into"),
    kernel=Library("scatter_add_into"),
    gradient=lambda node, dy: [dy, None, gather(dy, node.inputs[1], axis=0)],
    reference=_add_reference,
    samples=_row_samples("scatter_add_into"),
    fallible="index_out_of_range",
    narrow=True,
    documentation="array with value added to its row array[index]. An index outside [0, rows) is an error.",
)  # fmt: skip


def _infer_append(types: tuple[TensorType, ...]) -> TensorType:
    array, value = types
    _check_row("append_row", array, value)
    return array.with_shape((array.shape[0] + 1, *array.shape[1:]))


def _append_gradient(node: Any, dy: Any) -> list[Any]:
    array, value = node.inputs
    rank, count, steps = len(array.dims), array.dims[0], (1,) * len(array.dims)
    kept = strided_slice(dy, begin=(0,) * rank, sizes=array.dims, strides=steps)
    last = strided_slice(dy, begin=(count, *(0,) * (rank - 1)), sizes=(1, *array.dims[1:]), strides=steps)
    return [kept, reshape(last, shape=value.dims)]


def _append_samples() -> list[Sample]:
    shapes: tuple[tuple[int, ...], ...] = ((4, 3), (0, 3), (5,), (1, 2, 2))
    found = []
    for dtype in ("float32", "float64", "int32", "bool"):
        for seed, shape in enumerate(shapes if dtype == "float64" else shapes[:2]):
            row = fill(shape[1:], dtype, -2, 2, seed=seed + 9)
            found.append(Sample((fill(shape, dtype, -2, 2, seed=seed), row)))
    array = fill((4, 3), "float32")
    found.append(Sample((array, fill((2,), "float32")), error=ShapeError))
    found.append(Sample((fill((), "float32"), fill((), "float32")), error=ShapeError))
    found.append(Sample((array, fill((3,), "int32")), error=DTypeError))
    return found


append_row = define_op(
    "append_row", "array value",
    infer=_infer_append,
    kernel=Library("append_row"),
    gradient=_append_gradient,
    reference=lambda array, value: np.concatenate([array, value[None]]),
    samples=_append_samples,
    narrow=True,
    documentation="array with one more row, value, at its end.",
)  # fmt: skip
