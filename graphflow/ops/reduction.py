"""Reductions over axes, and positions of extremes. The order of a float sum is fixed by the kernel level
(docs/kernels.md)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import DType, int32, int64
from ..errors import DTypeError, ShapeError
from ..ir.dims import product
from ..ir.op import Op, Reduce, Sample, define_op
from ..ir.types import TensorType
from .cast import cast
from .comparison import equal
from .complex import conjugate
from .gradients import keep_axes
from .ordering import cumulative
from .rules import check_kind, normalize_axis, reduced_shape, reduction
from .samples import FLOATS, NUMBERS, axis_reductions, fill, samples
from .shape import broadcast_to, reshape, transpose

__all__ = [
    "argmax", "argmin", "reduce_all", "reduce_any", "reduce_in_steps", "reduce_max", "reduce_min", "reduce_prod",
    "reduce_sum",
]  # fmt: skip

_ATTRIBUTES = {"axes": ..., "keepdims": False}


def _lowest(dtype: DType) -> Any:
    return float("-inf") if dtype.is_floating else dtype.min


def _highest(dtype: DType) -> Any:
    return float("inf") if dtype.is_floating else dtype.max


def _sum_reference(x: Any, axes: Any, keepdims: bool = False) -> Any:
    wide = {"f": np.float64, "c": np.complex128}.get(x.dtype.kind, x.dtype)
    return np.sum(x, axis=axes, keepdims=keepdims, dtype=wide).astype(x.dtype)


def _sum_gradient(node: Any, dy: Any) -> list[Any]:
    x = node.inputs[0]
    return [broadcast_to(keep_axes(dy, x.dims, node.attributes["axes"]), shape=x.dims)]


reduce_sum = define_op(
    "reduce_sum", "x",
    attributes=_ATTRIBUTES,
    infer=reduction("reduce_sum", "number"),
    kernel=Reduce(lambda s, a, b: a + b, lambda dtype: 0),
    gradient=_sum_gradient,
    reference=_sum_reference,
    samples=axis_reductions(),
    documentation="The sum over axes, accumulated in x's dtype; integers wrap; 0 of nothing.",
)  # fmt: skip


def _prod_reference(x: Any, axes: Any, keepdims: bool = False) -> Any:
    wide = {"f": np.float64, "c": np.complex128}.get(x.dtype.kind, x.dtype)
    return np.prod(x, axis=axes, keepdims=keepdims, dtype=wide).astype(x.dtype)


def _prod_gradient(node: Any, dy: Any) -> list[Any]:
    """dy times the product of the other elements: of those before each and those behind, so that nothing is divided by a zero or an
    infinity."""
    x, axes = node.inputs[0], node.attributes["axes"]
    dy = keep_axes(dy, x.dims, axes)
    kept = tuple(a for a in range(len(x.dims)) if a not in axes)
    order = (*kept, *axes)
    front = transpose(x, permutation=order)
    rows = reshape(front, shape=(*(x.dims[a] for a in kept), product(x.dims[a] for a in axes)))
    before, behind = (cumulative(rows, axis=len(kept), kind="prod", exclusive=True, reverse=r) for r in (False, True))
    others = reshape(before * behind, shape=front.dims)
    return [dy * conjugate(transpose(others, permutation=tuple(order.index(a) for a in range(len(order)))))]


reduce_prod = define_op(
    "reduce_prod", "x",
    attributes=_ATTRIBUTES,
    infer=reduction("reduce_prod", "number"),
    kernel=Reduce(lambda s, a, b: a * b, lambda dtype: 1),
    gradient=_prod_gradient,
    reference=_prod_reference,
    samples=samples(
        axis_reductions(domain=(0.5, 2)),
        [Sample((np.array([[2.0, 0.0, 3.0], [1.5, 2.0, 0.5]], d),), {"axes": (1,), "keepdims": False}) for d in FLOATS],
    ),
    documentation="The product over axes; integers wrap; 1 of nothing. Its gradient is right where elements are zero.",
)  # fmt: skip


def _extreme_gradient(node: Any, dy: Any) -> list[Any]:
    """Elements that tie for the extreme share the gradient equally."""
    x, axes = node.inputs[0], node.attributes["axes"]
    extreme, dy = (keep_axes(t, x.dims, axes) for t in (node.outputs[0], dy))
    mask = cast(equal(x, extreme), dtype=x.dtype)
    return [mask / reduce_sum(mask, axes=axes, keepdims=True) * dy]


def _extreme_reference(function: Any, start: Any) -> Any:
    def reference(x: Any, axes: Any, keepdims: bool = False) -> Any:
        from ..dtypes import of_numpy

        return function.reduce(x, axis=axes, keepdims=keepdims, initial=start(of_numpy(x.dtype)))

    return reference


_NAN_ROWS = [
    Sample(
        (np.array([[1.0, np.nan, 3.0], [-np.inf, 2.0, 2.0]], d),), {"axes": (axis,), "keepdims": False}, gradient=False
    )
    for d in FLOATS
    for axis in (0, 1)
]

reduce_max = define_op(
    "reduce_max", "x",
    attributes=_ATTRIBUTES,
    infer=reduction("reduce_max"),
    kernel=Reduce(lambda s, a, b: s.maximum(a, b), _lowest),
    gradient=_extreme_gradient,
    reference=_extreme_reference(np.maximum, _lowest),
    samples=samples(axis_reductions(), _NAN_ROWS),
    documentation=(
        "The largest element over axes; NaN if any is NaN; the lowest value of nothing. Ties share the gradient "
        "equally."
    ),
)  # fmt: skip

reduce_min = define_op(
    "reduce_min", "x",
    attributes=_ATTRIBUTES,
    infer=reduction("reduce_min"),
    kernel=Reduce(lambda s, a, b: s.minimum(a, b), _highest),
    gradient=_extreme_gradient,
    reference=_extreme_reference(np.minimum, _highest),
    samples=samples(axis_reductions(), _NAN_ROWS),
    documentation=(
        "The smallest element over axes; NaN if any is NaN; the highest value of nothing. Ties share the gradient "
        "equally."
    ),
)  # fmt: skip


def reduce_in_steps(op: Op, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """op over axes, as one node where one loop nest can do it, else as several.

    A nest walks at most two groups of reduced axes: those at the end, and one other run of neighbours. So for
    x[a,b,c,d] axes (0, 2) are reduced one after the other, the last ones first.
    """
    runs: list[list[int]] = []
    for axis in axes:
        if runs and all(x.dims[between] == 1 for between in range(runs[-1][-1] + 1, axis)):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    rank = len(x.dims)
    at_end = bool(runs) and all(x.dims[after] == 1 for after in range(runs[-1][-1] + 1, rank))
    result = x
    while len(runs) - at_end > 1:
        last = runs.pop() if not at_end else [*runs.pop(-2), *runs.pop()]
        result = op(result, axes=tuple(last), keepdims=False)
        rest = [a for a in range(rank) if a not in last]
        rank, at_end = len(rest), bool(runs) and runs[-1][-1] == len(rest) - 1
    result = op(result, axes=tuple(a for run in runs for a in run), keepdims=keepdims and result is x)
    return keep_axes(result, x.dims, axes) if keepdims else result


def _logical(name: str, combine: Any, start: bool, function: Any, documentation: str) -> Op:
    return define_op(
        name, "x",
        attributes=_ATTRIBUTES,
        infer=reduction(name, "bool"),
        kernel=Reduce(combine, lambda dtype: start),
        no_gradient="the result is a truth value",
        reference=lambda x, axes, keepdims=False: function(x, axis=axes, keepdims=keepdims),
        samples=axis_reductions(dtypes=("bool",), gradient=False),
        documentation=documentation,
    )  # fmt: skip


reduce_any = _logical(
    "reduce_any", lambda s, a, b: a | b, False, np.any, "Is any element over axes true? False of nothing."
)
reduce_all = _logical(
    "reduce_all", lambda s, a, b: a & b, True, np.all, "Are all elements over axes true? True of nothing."
)


def _position_infer(name: str) -> Any:
    def infer(types: tuple[TensorType, ...], axis: int, output_type: DType = int64) -> TensorType:
        check_kind(name, types, "numeric")
        if output_type not in (int32, int64):
            raise DTypeError(f"{name}: output_type must be int32 or int64, got {output_type.name}")
        own = types[0]
        normalize_axis(name, axis, own.rank)
        return own.with_dtype(output_type).with_shape(reduced_shape(own.shape, (axis,), False))

    return infer


def _position_requires(types: tuple[TensorType, ...], axis: int, output_type: DType = int64) -> list[Any]:
    return [(1, types[0].shape[axis], f"axis {axis} of {types[0]} is empty; there is no position to give")]


def _position(name: str, better: Any, start: Any, function: Any, documentation: str) -> Op:
    def make() -> list[Sample]:
        found = []
        for dtype in NUMBERS:
            cases: list[tuple[tuple[int, ...], int]] = [
                ((7,), 0),
                ((3, 17), 1),
                ((3, 17), 0),
                ((2, 3, 5), 1),
                ((2, 300), 1),
            ]
            for seed, (shape, axis) in enumerate(cases if dtype in FLOATS else cases[1:3]):
                array = np.round(fill(shape, dtype, seed=seed))  # rounded, so that there are ties
                found.append(Sample((array,), {"axis": axis, "output_type": int64}, gradient=False))
        rows = np.array([[1.0, np.nan, 3.0, np.nan], [np.inf, 2.0, np.inf, 5.0], [-np.inf] * 4])
        for axis in (0, 1):
            found.append(Sample((rows,), {"axis": axis, "output_type": int32}, gradient=False))
        found.append(Sample((rows,), {"axis": 2, "output_type": int64}, error=ShapeError))
        found.append(Sample((np.zeros((3, 0)),), {"axis": 1, "output_type": int64}, error=ShapeError))
        found.append(Sample((np.zeros(3, bool),), {"axis": 0, "output_type": int64}, error=DTypeError))
        return found

    return define_op(
        name, "x",
        attributes={"axis": ..., "output_type": int64},
        infer=_position_infer(name), requires=_position_requires,
        kernel=Reduce(None, start, better=better),
        no_gradient="the result is a position",
        reference=lambda x, axis, output_type=int64: function(x, axis=axis).astype(output_type.numpy),
        samples=make,
        documentation=documentation,
    )  # fmt: skip


def _larger(s: Any, a: Any, b: Any) -> Any:
    """Does b replace a as the largest? NaN is the largest; equal values leave the earlier one."""
    return (b > a) | (s.is_nan(b) & ~s.is_nan(a)) if a.dtype.is_floating else b > a


def _smaller(s: Any, a: Any, b: Any) -> Any:
    """Does b replace a as the smallest? As in NumPy, the first NaN wins here too."""
    return (b < a) | (s.is_nan(b) & ~s.is_nan(a)) if a.dtype.is_floating else b < a


argmax = _position(
    "argmax",
    _larger,
    _lowest,
    np.argmax,
    "The position of the largest element along axis, the first on ties; NaN counts as the largest.",
)
argmin = _position(
    "argmin",
    _smaller,
    _highest,
    np.argmin,
    "The position of the smallest element along axis, the first on ties or the first NaN.",
)
