"""Tensors made from attributes: constants, positions along an axis, one-hot rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import DType, bool_, float32, float64, int32, int64, of_numpy
from ..errors import DTypeError, ShapeError
from ..ir.dims import Dim
from ..ir.op import Effect, Indexed, Sample, define_op
from ..ir.types import TensorType
from .rules import normalize_axis, same_dtype
from .samples import fill

__all__ = ["constant", "iota", "one_hot"]


def _infer_constant(types: tuple[TensorType, ...], value: Any) -> TensorType:
    return TensorType(of_numpy(value.dtype), tuple(value.shape))


constant = define_op(
    "constant",
    attributes={"value": ...},
    infer=_infer_constant,
    kernel=Effect("constant"), strings=True,
    gradient=lambda node, dy: [],
    reference=lambda value: value, numpy=lambda value: value,
    samples=lambda: [
        Sample((), {"value": fill(shape, dtype)}, gradient=False)
        for dtype in ("float32", "float64", "int64", "uint8", "bool") for shape in ((), (2, 3))
    ],
    documentation="A tensor known when the graph was made: `value`, a read-only ndarray.",
)  # fmt: skip


def _infer_iota(types: tuple[TensorType, ...], shape: tuple[Dim, ...], axis: int, dtype: DType) -> TensorType:
    normalize_axis("iota", axis, len(shape))
    if dtype.is_bool or dtype.is_complex:
        raise DTypeError(f"iota: needs a numeric dtype, got {dtype.name}")
    return TensorType(dtype, tuple(shape))


def _iota_reference(shape: Any, axis: int, dtype: DType) -> Any:
    line = np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return np.broadcast_to(line, shape).astype(dtype.numpy)


iota = define_op(
    "iota",
    attributes={"shape": ..., "axis": ..., "dtype": int32},
    infer=_infer_iota,
    kernel=Indexed(lambda s, operands, index, *, shape, axis, dtype: s.convert(index[axis], dtype), cost=1),
    gradient=lambda node, dy: [],
    reference=_iota_reference, numpy=_iota_reference,
    samples=lambda: [
        Sample((), {"shape": shape, "axis": axis, "dtype": dtype}, gradient=False)
        for dtype in (int32, int64, float32, float64)
        for shape, axis in [((7,), 0), ((3, 5), 0), ((3, 5), 1), ((0,), 0)]
    ] + [Sample((), {"shape": (3,), "axis": 1, "dtype": int32}, error=ShapeError),
         Sample((), {"shape": (3,), "axis": 0, "dtype": bool_}, error=DTypeError)],
    documentation="Each element's position along axis.",
)  # fmt: skip


def _infer_one_hot(types: tuple[TensorType, ...], depth: Dim, axis: int) -> TensorType:
    indices, on, off = types
    if not indices.dtype.is_integer:
        raise DTypeError(f"one_hot: indices must be integers, got {indices}")
    dtype = same_dtype("one_hot", (on, off))
    if on.rank or off.rank:
        raise ShapeError(f"one_hot: on_value and off_value must be scalars, got {on} and {off}")
    if isinstance(depth, int) and depth < 0:
        raise ShapeError(f"one_hot: depth must not be negative, got {depth}")
    normalize_axis("one_hot", axis, indices.rank + 1)
    return TensorType(dtype, (*indices.shape[:axis], depth, *indices.shape[axis:]), indices.device)


def _emit_one_hot(s: Any, operands: Any, index: Any, *, depth: Any, axis: int) -> Any:
    indices, on, off = operands
    place = s.convert(indices(*index[:axis], *index[axis + 1 :]), int64)
    return s.select(place.equal(index[axis]), on(), off())


def _one_hot_reference(indices: Any, on: Any, off: Any, depth: int, axis: int) -> Any:
    line = np.arange(depth).reshape([-1 if a == axis else 1 for a in range(indices.ndim + 1)])
    return np.where(np.expand_dims(indices, axis).astype(np.int64) == line, on, off)


def _one_hot_samples() -> list[Sample]:
    found = []
    for dtype in ("float32", "float64", "int32", "bool"):
        on, off = np.array(1, dtype), np.array(0, dtype)
        for index in ("int32", "int64", "uint8"):
            found.append(Sample((fill((7,), index, -2, 6), on, off), {"depth": 5, "axis": 1}, gradient=False))
        found.append(Sample((fill((2, 3), "int32", 0, 4), on, off), {"depth": 4, "axis": 0}, gradient=False))
        found.append(Sample((fill((), "int64", 0, 4), on, off), {"depth": 4, "axis": 0}, gradient=False))
    one, zero = np.float64(2.5), np.float64(-1)
    places = fill((2, 3), "int32", 0, 4)
    found.append(Sample((places, np.asarray(one), np.asarray(zero)), {"depth": 4, "axis": 1}, gradient=False))
    found.append(
        Sample((fill((3,), "float32"), np.asarray(one), np.asarray(zero)), {"depth": 4, "axis": 1}, error=DTypeError)
    )
    found.append(
        Sample(
            (fill((3,), "int32", 0, 3), np.asarray(one), np.asarray(zero)), {"depth": 4, "axis": 2}, error=ShapeError
        )
    )
    return found


one_hot = define_op(
    "one_hot", "indices on_value off_value",
    attributes={"depth": ..., "axis": ...},
    infer=_infer_one_hot,
    kernel=Indexed(_emit_one_hot, cost=4),
    gradient=lambda node, dy: [None, None, None],
    reference=_one_hot_reference, numpy=_one_hot_reference,
    samples=_one_hot_samples,
    narrow=True, strings=True,
    documentation=(
        "on_value where the position along the new axis is the index, else off_value; an index outside [0, depth) "
        "gives a row of off_value. As in TensorFlow it cuts the gradient."
    ),
)  # fmt: skip
