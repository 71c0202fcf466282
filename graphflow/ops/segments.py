"""Rows combined by number."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..dtypes import int32, int64
from ..errors import DTypeError, IndexOutOfRangeError, InvalidArgumentError, ShapeError, UnimplementedError
from ..ir.dims import Dim
from ..ir.op import Library, Op, Sample, define_op
from ..ir.types import TensorType
from .arithmetic import maximum
from .cast import cast
from .comparison import equal, greater_equal
from .generate import iota
from .gradients import constant_like
from .indexing import gather
from .rules import check_kind, equal_shapes
from .samples import NUMBERS, fill
from .select import select
from .shape import broadcast_to, reshape

__all__ = ["scatter_into", "scatter_reduce"]

_STARTS = {"sum": 0, "prod": 1}


def _infer(types: tuple[TensorType, ...], rows: Dim, kind: str, drop_negative: bool = False) -> TensorType:
    ids, data = types
    if ids.dtype not in (int32, int64):
        raise DTypeError(f"scatter_reduce: the row numbers must be int32 or int64, got {ids}; use gf.cast")
    check_kind("scatter_reduce", types[1:], "number" if kind in ("sum", "prod") else "numeric")
    if kind not in ("sum", "prod", "max", "min"):
        raise InvalidArgumentError(f"scatter_reduce: kind must be sum, prod, max or min, got {kind!r}")
    if data.dtype.is_complex and kind == "prod":
        raise UnimplementedError(f"scatter_reduce: no kernel for products of complex numbers, got {data}")
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
            found.append(Sample((ids, fill((5, 3), dtype, 0.5, 3, 1)), {"rows": 3, "kind": kind}, gradient=exact))
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


# Into an array ------------------------------------------------------------------------------------------------------
def _infer_into(types: tuple[TensorType, ...], kind: str) -> TensorType:
    array, ids, data = types
    if ids.dtype not in (int32, int64):
        raise DTypeError(f"scatter_into: the row numbers must be int32 or int64, got {ids}; use gf.cast")
    if array.dtype is not data.dtype:
        raise DTypeError(f"scatter_into: the rows must have the array's dtype, got {array} and {data}; use gf.cast")
    if kind not in ("set", "sum", "max", "min"):
        raise InvalidArgumentError(f"scatter_into: kind must be set, sum, max or min, got {kind!r}")
    if kind in ("max", "min"):
        check_kind("scatter_into", types[2:], "numeric")
    if ids.rank != 1 or array.rank == 0 or not equal_shapes((*ids.shape, *array.shape[1:]), data.shape):
        raise ShapeError(f"scatter_into: needs a row of the array for each number, got {array}, {ids} and {data}")
    return array


def _into_reference(array: Any, ids: Any, data: Any, kind: str) -> Any:
    if np.any((ids < 0) | (ids >= len(array))):
        raise IndexOutOfRangeError("scatter_into: a row number is outside the array")
    result = np.array(array)
    for place, row in zip(ids, data, strict=True):
        if kind == "set":
            result[place] = row
        else:
            combine: Any = {"sum": operator.add, "max": np.maximum, "min": np.minimum}[kind]
            result[place] = combine(result[place], row)
    return result


def _into_gradient(node: Any, dy: Any) -> list[Any]:
    """Of rows set at one place only the last one counts; for a maximum or minimum all that tie share equally."""
    array, ids, data = node.inputs
    kind = node.attributes["kind"]
    taken = gather(dy, ids, axis=0)
    if kind == "sum":
        return [dy, None, taken]
    rank = len(data.dims)
    count = ids.dims[0]
    zero, one = constant_like(0, data), constant_like(1, data)
    if kind == "set":
        zeros = broadcast_to(zero, shape=data.dims) if rank else zero
        numbers = iota(shape=(count,), axis=0, dtype=int64)
        nobody = broadcast_to(constant_like(-1, numbers), shape=(array.dims[0],))
        last = gather(scatter_into(nobody, ids, numbers, kind="set"), ids, axis=0)
        wins = reshape(equal(last, numbers), shape=(count, *(1,) * (rank - 1)))
        return [scatter_into(dy, ids, zeros, kind="set"), None, select(wins, taken, zero)]
    out = node.outputs[0]
    own = cast(equal(array, out), dtype=array.dtype)
    hit = cast(equal(data, gather(out, ids, axis=0)), dtype=data.dtype)
    ties = scatter_into(own, ids, hit, kind="sum")
    share = dy / maximum(ties, one)
    return [own * share, None, hit * gather(share, ids, axis=0)]


def _into_samples() -> list[Sample]:
    found = []
    ids = np.array([2, 0, 2, 3], np.int32)
    for kind in ("set", "sum", "max", "min"):
        for dtype in NUMBERS:
            exact = dtype == "float64"
            found.append(Sample((fill((4,), dtype), ids, fill((4,), dtype, seed=2)), {"kind": kind}, gradient=exact))
            found.append(
                Sample(
                    (fill((4, 3), dtype), ids.astype(np.int64), fill((4, 3), dtype, seed=2)),
                    {"kind": kind},
                    gradient=exact,
                )
            )
        array = fill((4, 2), "float32")
        found.append(Sample((array, np.zeros(0, np.int32), fill((0, 2), "float32")), {"kind": kind}))
        found.append(Sample((array, ids + 1, fill((4, 2), "float32")), {"kind": kind}, error=IndexOutOfRangeError))
    good = fill((4,), "float32")
    found.append(Sample((good, ids, fill((3,), "float32")), {"kind": "set"}, error=ShapeError))
    found.append(Sample((good, ids, fill((4,), "float64")), {"kind": "set"}, error=DTypeError))
    found.append(Sample((good, ids.astype(np.float32), good), {"kind": "set"}, error=DTypeError))
    found.append(Sample((good, ids, good), {"kind": "mean"}, error=InvalidArgumentError))
    return found


scatter_into: Op = define_op(
    "scatter_into", "array ids data",
    attributes={"kind": ...},
    infer=_infer_into,
    kernel=Library("scatter_into"),
    gradient=_into_gradient,
    reference=_into_reference,
    samples=_into_samples,
    fallible="index_out_of_range",
    strings=True,
    documentation="array with its row ids[j] replaced by (increased by, raised to, lowered to) data[j], for each j in order. A number "
    "outside the rows is an error.",
)  # fmt: skip
