"""Rows combined by number."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import int32, int64
from ..errors import DTypeError, IndexOutOfRangeError, InvalidArgumentError, ShapeError
from ..ir.dims import Dim
from ..ir.op import Library, Op, Sample, define_op
from ..ir.types import TensorType
from .arithmetic import maximum
from .cast import cast
from .comparison import equal, greater_equal
from .gradients import constant_like
from .indexing import gather
from .rules import check_kind, equal_shapes
from .samples import NUMBERS, fill
from .select import select
from .shape import reshape

__all__ = ["scatter_reduce"]

_STARTS = {"sum": 0, "prod": 1}


def _infer(types: tuple[TensorType, ...], rows: Dim, kind: str, drop_negative: bool = False) -> TensorType:
    ids, data = types
    if ids.dtype not in (int32, int64):
        raise DTypeError(f"scatter_reduce: the row numbers must be int32 or int64, got {ids}; use gf.cast")
    check_kind("scatter_reduce", types[1:], "numeric")
    if kind not in ("sum", "prod", "max", "min"):
        raise InvalidArgumentError(f"scatter_reduce: kind must be sum, prod, max or min, got {kind!r}")
    if data.rank < ids.rank or not equal_shapes(ids.shape, data.shape[: ids.rank]):
        raise ShapeError(
            f"scatter_reduce: the data's first axes must be those of the row numbers, got {ids} and {data}"
        )
    if isinstance(rows, int) and rows < 0:
        raise InvalidArgumentError(f"scatter_reduce: the number of rows must not be negative, got {rows}")
    return data.with_shape((rows, *data.shape[ids.rank :]))


def _reference(ids: Any, data: Any, rows: int, kind: str, drop_negative: bool = False) -> Any:
    function = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}[kind]
    if kind in _STARTS:
        start: Any = _STARTS[kind]
    elif data.dtype.kind == "f":
        start = -np.inf if kind == "max" else np.inf
    else:
        start = np.iinfo(data.dtype).min if kind == "max" else np.iinfo(data.dtype).max
    result = np.full((rows, *data.shape[ids.ndim :]), start, data.dtype)
    keep = ids >= 0 if drop_negative else np.ones(ids.shape, bool)
    if np.any((ids[keep] < 0) | (ids[keep] >= rows)):
        raise IndexOutOfRangeError("scatter_reduce: a row number is outside the rows")
    function.at(result, ids[keep], data[keep])
    return result


def _rows_of(table: Any, ids: Any, data: Any, drop_negative: bool, fallback: float) -> Any:
    """table[ids], with `fallback` where the number is negative."""
    if not drop_negative:
        return gather(table, ids, axis=0)
    zero = constant_like(0, ids)
    taken = gather(table, maximum(ids, zero), axis=0)
    inside = greater_equal(ids, zero)
    inside = reshape(inside, shape=(*ids.dims, *(1,) * (len(data.dims) - len(ids.dims))))
    return select(inside, taken, constant_like(fallback, data))


def _gradient(node: Any, dy: Any) -> list[Any]:
    """Ties for a maximum or minimum share equally; products as in reduce_prod."""
    ids, data = node.inputs
    rows, kind, drop = (node.attributes[k] for k in ("rows", "kind", "drop_negative"))
    back = _rows_of(dy, ids, data, drop, 0)
    if kind == "sum":
        return [None, back]

    def total(x: Any, of: str = "sum") -> Any:
        return scatter_reduce(ids, x, rows=rows, kind=of, drop_negative=drop)

    zero, one = constant_like(0, data), constant_like(1, data)
    if kind == "prod":
        is_zero = equal(data, zero)
        safe = select(is_zero, one, data)
        products = _rows_of(total(safe, "prod"), ids, data, drop, 0)
        zeros = _rows_of(total(cast(is_zero, dtype=data.dtype)), ids, data, drop, 0)
        others = select(equal(zeros, zero), products / safe, zero)
        return [None, back * select(is_zero, select(equal(zeros, one), products, zero), others)]
    hit = cast(equal(data, _rows_of(node.outputs[0], ids, data, drop, 0)), dtype=data.dtype)
    return [None, hit / _rows_of(total(hit), ids, data, drop, 1) * back]


def _samples() -> list[Sample]:
    found = []
    ids = np.array([2, 0, 2, 1, 0], np.int32)
    gaps = np.array([[4, -1], [0, 4]], np.int64)
    for kind in ("sum", "prod", "max", "min"):
        for dtype in NUMBERS:
            exact = dtype == "float64"
            found.append(
                Sample((ids, fill((5,), dtype, 0.5, 3)), {"rows": 4, "kind": kind}, gradient=exact and kind in _STARTS)
            )
            found.append(
                Sample((ids, fill((5, 3), dtype, 0.5, 3, 1)), {"rows": 3, "kind": kind}, gradient=exact)
            )
            found.append(
                Sample(
                    (gaps, fill((2, 2, 2), dtype, 0.5, 3, 2)),
                    {"rows": 5, "kind": kind, "drop_negative": True},
                    gradient=exact and kind in _STARTS,
                )
            )
        found.append(Sample((np.zeros(0, np.int32), fill((0, 2), "float32")), {"rows": 2, "kind": kind}))
        found.append(Sample((ids, fill((5,), "float32")), {"rows": 2, "kind": kind}, error=IndexOutOfRangeError))
        found.append(Sample((ids - 1, fill((5,), "float32")), {"rows": 3, "kind": kind}, error=IndexOutOfRangeError))
    one = {"rows": 3, "kind": "sum"}
    found.append(Sample((ids.astype(np.float32), fill((5,), "float32")), one, error=DTypeError))
    found.append(Sample((ids, fill((4,), "float32")), one, error=ShapeError))
    found.append(Sample((ids, fill((5,), "float32")), {"rows": 3, "kind": "mean"}, error=InvalidArgumentError))
    return found


scatter_reduce: Op = define_op(
    "scatter_reduce", "ids data",
    attributes={"rows": ..., "kind": ..., "drop_negative": False},
    infer=_infer,
    kernel=Library("scatter_reduce"),
    gradient=_gradient,
    reference=_reference,
    samples=_samples,
    fallible="index_out_of_range",
    documentation="result[i] = the sum (product, maximum, minimum) of the data whose number is i, in order; 0 (1, the lowest, the highest "
    "value) for a number that does not occur. A number outside 0..rows-1 is an error; drop_negative leaves negative ones out.",
)  # fmt: skip
