"""Conversion between dtypes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import DType, float16, float32, float64, int8, int32, int64, of_numpy, rounded, string, uint8, uint64
from ..dtypes import bool_ as boolean
from ..errors import CastError, DTypeError
from ..ir.op import Pointwise, Sample, define_op
from ..ir.types import TensorType
from .samples import fill

__all__ = ["bitcast", "cast"]


def _infer(types: tuple[TensorType, ...], dtype: DType) -> TensorType:
    if types[0].dtype.is_string or dtype.is_string:
        raise CastError(f"cast: strings are no numbers, got {types[0]} and the dtype {dtype.name}")
    return types[0].with_dtype(dtype)


def _reference(x: Any, dtype: DType) -> Any:
    if x.dtype.kind == "c" and not dtype.is_complex:
        x = x != 0 if dtype.is_bool else x.real
    x = x.astype(np.float32) if of_numpy(x.dtype).is_narrow else x
    if dtype.is_narrow:
        return rounded(x, dtype)
    if x.dtype.kind != "f" or dtype.kind not in ("int", "uint"):
        return x.astype(dtype.numpy)
    limits = np.iinfo(dtype.numpy)
    whole = np.trunc(np.where(np.isnan(x), 0, x).astype(np.float64))
    # the largest integer may not be a float64, so the top is chosen by comparison and never converted
    below, above = whole <= float(limits.min), whole >= float(limits.max)
    result = np.where(below | above, 0, whole).astype(dtype.numpy)
    return np.where(below, limits.min, np.where(above, limits.max, result)).astype(dtype.numpy)


def _gradient(node: Any, dy: Any) -> list[Any]:
    own, kinds = node.inputs[0].dtype, ("float", "complex")
    return [cast(dy, dtype=own) if own.kind in kinds and node.attributes["dtype"].kind in kinds else None]


def _samples() -> list[Sample]:
    found = []
    dtypes = (float32, float64, int32, int64, int8, uint8, boolean)
    edges = {
        "float": [0.0, -0.0, 0.5, -0.5, 1.5, 127.9, 128.0, -128.9, -129.0, 255.5, 256.0, 2.0**31, -(2.0**31),
                  2.0**63, -(2.0**63), 2.0**64, 3e38, np.inf, -np.inf, np.nan],
        "int": [0, 1, -1, 127, -128], "uint": [0, 1, 127, 255], "bool": [False, True],
    }  # fmt: skip
    for start in dtypes:
        values = np.array(edges[start.kind], start.numpy)
        if start.is_integer:
            values = np.concatenate(
                [values, np.array([np.iinfo(start.numpy).min, np.iinfo(start.numpy).max], start.numpy)]
            )
        for end in dtypes:
            found.append(Sample((values,), {"dtype": end}, gradient=False))
    found.append(Sample((fill((3, 5), "float64"),), {"dtype": float64}))
    found.append(Sample((fill((3, 5), "float64"),), {"dtype": int32}, gradient=False))
    found.append(Sample((fill((3,), "float64"),), {"dtype": string}, error=DTypeError))
    return found


cast = define_op(
    "cast", "x",
    attributes={"dtype": ...},
    infer=_infer,
    kernel=Pointwise(lambda s, x, dtype: s.convert(x, dtype)),
    gradient=_gradient,
    reference=_reference, numpy=_reference,
    samples=_samples,
    narrow=True,
    documentation=(
        "x as another dtype, rounded once, to nearest even. "
        "Integers wrap; floats to integers truncate and saturate, NaN becomes 0; to bool is x != "
        "0. Of a complex number a real dtype takes the real part. The gradient passes between float and complex dtypes only."
    ),
)  # fmt: skip


def _infer_bitcast(types: tuple[TensorType, ...], dtype: DType) -> TensorType:
    own = types[0].dtype
    if own.itemsize != dtype.itemsize or own.kind in ("bool", "complex") or dtype.kind in ("bool", "complex"):
        raise DTypeError(
            f"bitcast: needs dtypes of one width, neither bool nor complex, got {types[0]} and {dtype.name}"
        )
    return types[0].with_dtype(dtype)


bitcast = define_op(
    "bitcast", "x",
    attributes={"dtype": ...},
    infer=_infer_bitcast,
    kernel=Pointwise(lambda s, x, dtype: s.bitcast(x, dtype)),
    no_gradient="bits have no derivative",
    reference=lambda x, dtype: x.view(dtype.numpy), numpy=lambda x, dtype: x.view(dtype.numpy),
    samples=lambda: [
        Sample((fill((3, 5), "float32"),), {"dtype": int32}),
        Sample((fill((3, 5), "int64", 0, 1000),), {"dtype": float64}),
        Sample((fill((3, 5), "int16", 0, 1000),), {"dtype": float16}),
        *(Sample((fill((3, 5), start),), {"dtype": end}) for start, end in (("float64", uint64), ("uint32", float32), ("int8", uint8))),
        Sample((fill((3,), "float32"),), {"dtype": int64}, error=DTypeError),
    ],
    narrow=True,
    documentation="The same bits read as another dtype of the same width.",
)  # fmt: skip
