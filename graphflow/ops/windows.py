"""Sliding windows over spatial axes: what convolutions and pooling are made of.

A convolution is the windows of its (padded) input times the filters: one matrix product. Its gradients are the same two ops and the
same product turned round, so that every order of differentiation follows from the records here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import bool_, int64
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import Dim, SymbolicDim, dim_max
from ..ir.op import Indexed, Op, Sample, View, define_op
from ..ir.types import TensorType
from .cast import cast
from .comparison import equal, logical_and
from .generate import iota
from .gradients import constant_like, keep_axes
from .reduction import reduce_in_steps, reduce_max, reduce_min
from .rules import check_kind, reduction
from .samples import FLOATS, axis_reductions, fill
from .select import select
from .shape import broadcast_to, reshape

__all__ = ["fold_windows", "window_max", "windows"]


def window_count(extent: Dim, size: int, stride: int, dilation: int) -> Dim:
    """How many windows of `size` elements, `dilation` apart, fit into an extent when they start every `stride` elements."""
    count = (extent - ((size - 1) * dilation + 1)) // stride + 1
    return count if isinstance(count, int) else dim_max(count, 0)


def _check(name: str, own: TensorType, axis: int, sizes: Any, strides: Any, dilations: Any) -> None:
    if not len(sizes) == len(strides) == len(dilations) or axis + len(sizes) > own.rank or axis < 0:
        raise ShapeError(
            f"{name}: needs a size, stride and dilation for each of the axes from {axis} on, got {own}, sizes {sizes}, "
            f"strides {strides}, dilations {dilations}"
        )
    for what, values in (("size", sizes), ("stride", strides), ("dilation", dilations)):
        if any(isinstance(value, SymbolicDim) or value < 1 for value in values):
            raise InvalidArgumentError(
                f"{name}: each {what} must be a number of at least 1, got {tuple(values)} for {own}"
            )


def _infer(types: tuple[TensorType, ...], axis: int, sizes: Any, strides: Any, dilations: Any) -> TensorType:
    own = types[0]
    _check("windows", own, axis, sizes, strides, dilations)
    counts = []
    for k, (size, stride, dilation) in enumerate(zip(sizes, strides, dilations, strict=True)):
        extent = own.shape[axis + k]
        count = window_count(extent, size, stride, dilation)
        if isinstance(count, int) and count < 1 and extent != 0:
            reach = (size - 1) * dilation + 1
            raise ShapeError(
                f"windows: a window must fit into its axis, got windows of {reach} elements on axis {axis + k} of {own} ({extent})"
            )
        counts.append(max(count, 0) if isinstance(count, int) else count)
    return own.with_shape((*own.shape[:axis], *counts, *sizes, *own.shape[axis + len(sizes) :]))


def _map(extents: Any, steps: Any, /, *, axis: int, sizes: Any, strides: Any, dilations: Any) -> Any:
    spatial = steps[axis : axis + len(sizes)]
    starts = tuple(step * stride for step, stride in zip(spatial, strides, strict=True))
    inside = tuple(step * dilation for step, dilation in zip(spatial, dilations, strict=True))
    return 0, (*steps[:axis], *starts, *inside, *steps[axis + len(sizes) :])


def _reference(x: Any, axis: int, sizes: Any, strides: Any, dilations: Any) -> Any:
    counts = [
        max(0, int(window_count(x.shape[axis + k], *own)))  # type: ignore[arg-type]
        for k, own in enumerate(zip(sizes, strides, dilations, strict=True))
    ]
    result = np.empty((*x.shape[:axis], *counts, *sizes, *x.shape[axis + len(sizes) :]), x.dtype)
    lead = (slice(None),) * axis
    for place in np.ndindex(*sizes):
        picked = tuple(
            slice(k * d, k * d + (n - 1) * s + 1, s) if n else slice(0, 0)
            for k, n, s, d in zip(place, counts, strides, dilations, strict=True)
        )
        result[(*lead, *(slice(None),) * len(sizes), *place)] = x[lead + picked]
    return result


def _gradient(node: Any, dy: Any) -> list[Any]:
    return [fold_windows(dy, shape=node.inputs[0].dims, **node.attributes)]


_CASES: tuple[tuple[tuple[int, ...], dict[str, Any]], ...] = (
    ((2, 5, 3), {"axis": 1, "sizes": (3,), "strides": (1,), "dilations": (1,)}),
    ((2, 6, 5, 2), {"axis": 1, "sizes": (3, 2), "strides": (2, 1), "dilations": (1, 2)}),
    ((7,), {"axis": 0, "sizes": (2,), "strides": (3,), "dilations": (1,)}),
    ((1, 2, 5, 4), {"axis": 2, "sizes": (1, 1), "strides": (2, 1), "dilations": (1, 1)}),
    ((1, 3, 4, 3, 2), {"axis": 1, "sizes": (2, 2, 2), "strides": (1, 2, 1), "dilations": (1, 1, 1)}),
    ((2, 5, 3), {"axis": 1, "sizes": (2,), "strides": (1,), "dilations": (3,)}),
    ((0, 5, 3), {"axis": 1, "sizes": (2,), "strides": (1,), "dilations": (1,)}),
)


def _samples() -> list[Sample]:
    found = []
    for seed, (shape, attributes) in enumerate(_CASES):
        for dtype in (*FLOATS, "int32") if seed < 2 else ("float64",):
            found.append(Sample((fill(shape, dtype, seed=seed),), attributes))
    one = {"axis": 1, "sizes": (3,), "strides": (1,), "dilations": (1,)}
    bad = fill((2, 5, 3), "float32")
    found.append(Sample((bad,), {**one, "sizes": (6,)}, error=ShapeError))
    found.append(Sample((bad,), {**one, "strides": (0,)}, error=InvalidArgumentError))
    found.append(Sample((bad,), {**one, "axis": 3}, error=ShapeError))
    return found


_ATTRIBUTES = {"axis": ..., "sizes": ..., "strides": ..., "dilations": ...}

windows: Op = define_op(
    "windows", "x",
    attributes=_ATTRIBUTES,
    infer=_infer,
    kernel=View(_map),
    gradient=_gradient,
    reference=_reference,
    samples=_samples,
    documentation="The windows of `sizes` along the axes from `axis` on, one every `strides` elements, their elements `dilations` apart: "
    "x[..., y * stride + k * dilation, ...] at [..., y, k, ...], the positions y of all axes before the places k inside. "
    "A window that does not fit into an axis of known extent is an error; an axis of unknown extent then has no windows.",
)  # fmt: skip


# Back from windows --------------------------------------------------------------------------------------------------
def _infer_fold(
    types: tuple[TensorType, ...], shape: Any, axis: int, sizes: Any, strides: Any, dilations: Any
) -> TensorType:
    own = types[0].with_shape(tuple(shape))
    check_kind("fold_windows", types, "number")
    _check("fold_windows", own, axis, sizes, strides, dilations)
    wanted = _infer((own,), axis, sizes, strides, dilations)
    if len(wanted.shape) != types[0].rank or any(
        isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(wanted.shape, types[0].shape, strict=True)
    ):
        raise ShapeError(f"fold_windows: the windows of {own} are {wanted}, got {types[0]}")
    return own


def _emit_fold(
    s: Any, operands: Any, index: Any, *, shape: Any, axis: int, sizes: Any, strides: Any, dilations: Any
) -> Any:
    """Each element adds up what the windows hold of it, places inside the window in ascending order."""
    (source,) = operands
    count = len(sizes)
    spatial = index[axis : axis + count]
    total = None
    for place in np.ndindex(*sizes):
        inside = s.const(True, bool_)
        starts = []
        for k, (position, stride, dilation) in enumerate(zip(spatial, strides, dilations, strict=True)):
            offset = position - place[k] * dilation if place[k] else position
            inside = inside & (offset >= 0)
            if stride != 1:
                by = s.const(stride, int64)
                inside = inside & s.make("remainder", offset, by).equal(0)
                offset = s.make("quotient", offset, by)
            extent = source.shape[axis + k]
            inside = inside & (offset < extent)
            offset = s.select(offset < extent, offset, extent - 1)
            starts.append(s.select(offset < 0, s.const(0, int64), offset))
        spots = [s.const(k, int64) for k in place]
        value = source(*index[:axis], *starts, *spots, *index[axis + count :])
        value = s.select(inside, value, s.const(0, value.dtype))
        total = value if total is None else total + value
    return total


def _fold_reference(x: Any, shape: Any, axis: int, sizes: Any, strides: Any, dilations: Any) -> Any:
    result = np.zeros(shape, x.dtype)
    lead = (slice(None),) * axis
    counts = x.shape[axis : axis + len(sizes)]
    for place in np.ndindex(*sizes):
        picked = tuple(
            slice(k * d, k * d + (n - 1) * s + 1, s) if n else slice(0, 0)
            for k, n, s, d in zip(place, counts, strides, dilations, strict=True)
        )
        result[lead + picked] += x[(*lead, *(slice(None),) * len(sizes), *place)]
    return result


def _fold_samples() -> list[Sample]:
    found = []
    for seed, (shape, attributes) in enumerate(_CASES):
        own = TensorType(None, shape)  # type: ignore[arg-type]
        inner = _infer((own,), **attributes).shape
        for dtype in (*FLOATS, "int32") if seed < 2 else ("float64",):
            found.append(Sample((fill(inner, dtype, seed=seed),), {"shape": shape, **attributes}))  # type: ignore[arg-type]
    shape, attributes = _CASES[0]
    found.append(Sample((fill((2, 2, 3, 3), "float32"),), {"shape": shape, **attributes}, error=ShapeError))
    found.append(Sample((fill((2, 3, 3, 3), "bool"),), {"shape": shape, **attributes}, error=DTypeError))
    return found


fold_windows: Op = define_op(
    "fold_windows", "x",
    attributes={"shape": ..., **_ATTRIBUTES},
    infer=_infer_fold,
    kernel=Indexed(_emit_fold, cost=24),
    gradient=lambda node, dy: [windows(dy, **{k: v for k, v in node.attributes.items() if k != "shape"})],
    reference=_fold_reference,
    samples=_fold_samples,
    documentation="The transpose of `windows`: each element of the result (of `shape`) is the sum of the places where the windows "
    "hold it, in ascending order; 0 where none does.",
)  # fmt: skip


# The largest element of a window -------------------------------------------------------------------------------------
def _window_max_gradient(node: Any, dy: Any) -> list[Any]:
    """All of the gradient goes to the first of the elements that tie for the maximum, as TensorFlow's pooling has it."""
    x, axes = node.inputs[0], node.attributes["axes"]
    if not axes:
        return [dy]
    largest, dy = (keep_axes(t, x.dims, axes) for t in (node.outputs[0], dy))
    number, count = None, 1
    for axis in reversed(axes):
        own = iota(shape=(x.dims[axis],), axis=0, dtype=int64)
        own = reshape(own * constant_like(count, own), shape=tuple(d if a == axis else 1 for a, d in enumerate(x.dims)))
        number, count = own if number is None else number + own, count * x.dims[axis]
    hit = equal(x, largest)
    place = broadcast_to(number, shape=x.dims)
    first = reduce_in_steps(reduce_min, select(hit, place, constant_like(2**62, place)), axes, keepdims=True)
    return [cast(logical_and(hit, equal(place, first)), dtype=x.dtype) * dy]


window_max = define_op(
    "window_max", "x",
    attributes={"axes": ..., "keepdims": False},
    infer=reduction("window_max"),
    kernel=reduce_max.kernel,
    gradient=_window_max_gradient,
    reference=reduce_max.reference,
    samples=axis_reductions(),
    documentation="reduce_max, but the whole gradient goes to the first of the elements that tie.",
)  # fmt: skip
