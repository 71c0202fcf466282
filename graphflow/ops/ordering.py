"""Order: positions of elements in sorted order, and running sums and products."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import int32
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.op import Library, Op, Sample, define_op
from ..ir.types import TensorType
from .cast import cast
from .comparison import equal
from .complex import conjugate
from .gradients import constant_like
from .rules import check_kind, normalize_axis
from .samples import FLOATS, NUMBERS, fill
from .select import select

__all__ = ["argsort", "cumulative"]


def _infer_argsort(types: tuple[TensorType, ...], descending: bool = False) -> TensorType:
    own = types[0]
    if own.rank == 0:
        raise ShapeError(f"argsort: needs a tensor of rank 1 or more, got {own}")
    if own.dtype.is_complex:
        raise DTypeError(f"argsort: complex numbers have no order, got {own}")
    return own.with_dtype(int32)


def _argsort_reference(x: Any, descending: bool = False) -> Any:
    """NaN is the largest; equal elements keep their order, also in descending order."""
    if not descending:
        return np.argsort(x, axis=-1, kind="stable").astype(np.int32)
    turned = np.flip(np.argsort(np.flip(x, -1), axis=-1, kind="stable"), -1)
    return (x.shape[-1] - 1 - turned).astype(np.int32)


def _argsort_samples() -> list[Sample]:
    found = []
    for dtype in (*NUMBERS, "bool"):
        for seed, shape in enumerate(((7,), (3, 17), (2, 3, 5), (2, 300), (0, 4), (3, 0), (1,))):
            array = fill(shape, dtype, seed=seed)
            array = np.round(array) if seed % 2 and dtype in FLOATS else array  # rounded, so that there are ties
            found += [Sample((array,), {"descending": d}, gradient=False) for d in (False, True)]
    edges = np.array([1.0, np.nan, -0.0, np.inf, 0.0, -np.inf, np.nan, 5e-324, -1.0])
    long = np.tile(edges, 9)
    found += [
        Sample((a.astype(t),), {"descending": d}, gradient=False)
        for a in (edges, long)
        for t in FLOATS
        for d in (False, True)
    ]
    wide = np.array([-(2**63), 2**63 - 1, 0, -1, 1] * 8)
    found += [Sample((wide,), {"descending": d}, gradient=False) for d in (False, True)]
    found.append(Sample((np.float32(1.0),), error=ShapeError))
    return found


argsort = define_op(
    "argsort", "x",
    attributes={"descending": False},
    infer=_infer_argsort,
    kernel=Library("argsort"),
    no_gradient="the result is positions",
    reference=_argsort_reference,
    samples=_argsort_samples,
    documentation="The positions that put each row of the last axis in order: stable in both directions, NaN the largest, "
    "-0.0 equal to 0.0.",
)  # fmt: skip


# Running sums and products ------------------------------------------------------------------------------------------
def _infer_cumulative(
    types: tuple[TensorType, ...], axis: int, kind: str, exclusive: bool = False, reverse: bool = False
) -> TensorType:
    own = types[0]
    check_kind("cumulative", types, "number")
    normalize_axis("cumulative", axis, own.rank)
    if kind not in ("sum", "prod"):
        raise InvalidArgumentError(f"cumulative: kind must be 'sum' or 'prod', got {kind!r}")
    return own


def _cumulative_reference(x: Any, axis: int, kind: str, exclusive: bool = False, reverse: bool = False) -> Any:
    function = {"sum": np.add, "prod": np.multiply}[kind]
    turned = np.flip(x, axis) if reverse else x
    result = function.accumulate(turned, axis=axis, dtype=x.dtype)
    if exclusive and x.shape[axis]:
        first = np.full_like(np.take(result, [0], axis), function.identity)
        result = np.concatenate([first, np.take(result, range(x.shape[axis] - 1), axis)], axis)
    return np.ascontiguousarray(np.flip(result, axis) if reverse else result)


def _cumulative_gradient(node: Any, dy: Any) -> list[Any]:
    """For products: elements other than 0 divide out of the products without zeros; the first zero of a row gets the products of the
    others."""
    x, attributes = node.inputs[0], node.attributes
    back = {**attributes, "kind": "sum", "reverse": not attributes["reverse"]}
    if attributes["kind"] == "sum":
        return [cumulative(dy, **back)]
    x = conjugate(x)
    zero, one = constant_like(0, x), constant_like(1, x)
    is_zero = equal(x, zero)
    safe = select(is_zero, one, x)
    products = cumulative(safe, **attributes) * dy
    zeros = cumulative(cast(is_zero, dtype=x.dtype), **{**attributes, "kind": "sum"})
    without = cumulative(select(equal(zeros, zero), products, zero), **back) / safe
    with_one = cumulative(select(equal(zeros, one), products, zero), **back)
    return [select(is_zero, with_one, without)]


def _cumulative_samples() -> list[Sample]:
    found = []
    for kind in ("sum", "prod"):
        for exclusive in (False, True):
            for reverse in (False, True):
                flags = {"kind": kind, "exclusive": exclusive, "reverse": reverse}
                for seed, (shape, axis) in enumerate(
                    (((5,), 0), ((2, 4), 1), ((3, 2), 0), ((2, 3, 2), 1), ((0, 3), 1), ((2, 0), 1))
                ):
                    found.append(Sample((fill(shape, "float64", 0.5, 2, seed),), {"axis": axis, **flags}))
                for dtype in ("float32", "int32", "int64", "uint8"):
                    found.append(Sample((fill((3, 5), dtype, 0, 4),), {"axis": 1, **flags}, gradient=False))
        found.append(
            Sample((np.array([[2.0, 0.0, 3.0], [0.0, 1.5, 0.0]]),), {"axis": 1, "kind": kind}, gradient=kind == "sum")
        )
        found.append(Sample((np.array([-0.0, -0.0]),), {"axis": 0, "kind": kind}, gradient=False))
    found.append(Sample((fill((3,), "float32"),), {"axis": 1, "kind": "sum"}, error=ShapeError))
    found.append(Sample((fill((3,), "float32"),), {"axis": 0, "kind": "mean"}, error=InvalidArgumentError))
    found.append(Sample((fill((3,), "bool"),), {"axis": 0, "kind": "sum"}, error=DTypeError))
    return found


cumulative: Op = define_op(
    "cumulative", "x",
    attributes={"axis": ..., "kind": ..., "exclusive": False, "reverse": False},
    infer=_infer_cumulative,
    kernel=Library("cumulative"),
    gradient=_cumulative_gradient,
    reference=_cumulative_reference,
    samples=_cumulative_samples,
    documentation="The sums (products) of the elements up to each position along axis, added one after the other. exclusive: without the "
    "position's own; reverse: from the end.",
)  # fmt: skip
