"""Reading and adding at positions that are data. An index outside its axis is an error, never clamped."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import int32, int64
from ..errors import DTypeError, IndexOutOfRangeError, ShapeError
from ..ir.dims import Dim, product
from ..ir.op import Indexed, Library, Sample, define_op
from ..ir.types import TensorType
from .generate import constant, iota, one_hot
from .gradients import constant_like, extent
from .rules import equal_shapes, normalize_axis
from .samples import fill
from .select import select
from .shape import reshape, strided_slice, transpose

__all__ = ["gather", "gather_nd", "scatter_add"]

_INDICES = "int32 or int64"


def _check_indices(name: str, indices: TensorType) -> None:
    if indices.dtype not in (int32, int64):
        raise DTypeError(f"{name}: indices must be {_INDICES}, got {indices}; use gf.cast")


def _infer_gather(types: tuple[TensorType, ...], axis: int, batch_dims: int = 0) -> TensorType:
    params, indices = types
    _check_indices("gather", indices)
    normalize_axis("gather", axis, params.rank)
    if not 0 <= batch_dims <= min(axis, indices.rank):
        raise ShapeError(
            f"gather: batch_dims must be in 0..{min(axis, indices.rank)} for {params}, {indices} and axis {axis}, "
            f"got {batch_dims}"
        )
    if not equal_shapes(params.shape[:batch_dims], indices.shape[:batch_dims]):
        raise ShapeError(f"gather: the first {batch_dims} axes must agree, got {params} and {indices}")
    return params.with_shape((*params.shape[:axis], *indices.shape[batch_dims:], *params.shape[axis + 1 :]))


def _checked(s: Any, raw: Any, extent: Any) -> tuple[Any, Any]:
    """(position that is safe to load from, is it the wanted one)."""
    wanted = s.convert(raw, int64)
    inside = (wanted >= 0) & (wanted < extent)
    return s.select(inside, wanted, s.const(0, int64)), inside


def _emit_gather(s: Any, operands: Any, index: Any, *, axis: int, batch_dims: int) -> Any:
    params, indices = operands
    end = axis + len(indices.shape) - batch_dims
    before, picked, after = index[:axis], index[axis:end], index[end:]
    place, inside = _checked(s, indices(*before[:batch_dims], *picked), params.shape[axis])
    return s.check(params(*before, place, *after), inside, "index_out_of_range")


def _gather_reference(params: Any, indices: Any, axis: int, batch_dims: int = 0) -> Any:
    if indices.size and (indices.min() < 0 or indices.max() >= params.shape[axis]):
        raise IndexError("gather")
    if batch_dims == 0:
        return np.take(params, indices, axis)
    rows = [_gather_reference(p, i, axis - 1, batch_dims - 1) for p, i in zip(params, indices, strict=True)]
    rest = (*params.shape[1:axis], *indices.shape[batch_dims:], *params.shape[axis + 1 :])
    return np.stack(rows) if rows else np.zeros((0, *rest), params.dtype)


def _gather_gradient(node: Any, dy: Any) -> list[Any]:
    """Bring dy to batch + indices + middle + rest and add its rows up; batches become one axis of batch * extent
    rows."""
    params, indices = node.inputs
    axis, batch = node.attributes["axis"], node.attributes["batch_dims"]
    dims = params.dims
    lead, middle, after = dims[:batch], dims[batch:axis], dims[axis + 1 :]
    picked = len(indices.dims) - batch
    if picked == 0:
        return [_place_one_each(params, indices, axis, dy), None]
    m, r = len(middle), len(after)
    if m:
        order = (
            *range(batch),
            *range(axis, axis + picked),
            *range(batch, axis),
            *range(axis + picked, axis + picked + r),
        )
        dy = transpose(dy, permutation=tuple(order))
    rows: Dim = dims[axis]
    if batch:
        count = product(lead)
        number = reshape(iota(shape=(count,), axis=0, dtype=indices.dtype), shape=(*lead, *(1,) * picked))
        indices = indices + number * extent(params, axis, indices.dtype)
        rows = rows * count
    result = scatter_add(indices, dy, shape=(rows, *middle, *after))
    result = reshape(result, shape=(*lead, dims[axis], *middle, *after)) if batch else result
    if m:
        back = (*range(batch), *range(batch + 1, batch + 1 + m), batch, *range(batch + 1 + m, batch + 1 + m + r))
        result = transpose(result, permutation=back)
    return [result, None]


def _place_one_each(params: Any, indices: Any, axis: int, dy: Any) -> Any:
    """The gradient where each batch takes one position (as in a sparse cross entropy): dy at that position, else 0. One
    pointwise pass over the result, which has to be written anyway, and it fuses."""
    yes, no = (constant(value=np.array(v)) for v in (True, False))
    dims, batch = params.dims, len(indices.dims)
    hit = one_hot(indices, yes, no, depth=dims[axis], axis=batch)
    shape = (*dims[:batch], *(1,) * (axis - batch), dims[axis], *(1,) * (len(dims) - axis - 1))
    hit = hit if hit.dims == shape else reshape(hit, shape=shape)
    return select(hit, reshape(dy, shape=(*dims[:axis], 1, *dims[axis + 1 :])), constant_like(0, dy))


def _gather_samples() -> list[Sample]:
    cases: list[tuple[tuple[int, ...], tuple[int, ...], int, int]] = [
        ((5, 3), (4,), 0, 0), ((5,), (2, 3), 0, 0), ((3, 5), (4,), 1, 0), ((5, 2), (), 0, 0), ((2, 5, 3), (2, 2), 1, 0),
        ((2, 5, 3), (2, 4), 1, 1), ((2, 3, 5), (2, 4), 2, 1), ((2, 3, 5), (2, 3), 2, 2), ((4, 5), (4,), 1, 1),
        ((2, 5, 3), (2,), 1, 1), ((3, 5), (), 1, 0), ((2, 3, 5), (2,), 2, 1), ((5, 3), (0,), 0, 0),
    ]  # fmt: skip
    found = []
    for dtype in ("float32", "float64", "int32", "uint8", "bool"):
        for seed, (shape, places, axis, batch) in enumerate(cases if dtype == "float64" else cases[:2]):
            for index in ("int32", "int64") if seed == 0 else ("int64",):
                arrays = (fill(shape, dtype, seed=seed), fill(places, index, 0, shape[axis] - 1, seed=seed + 9))
                found.append(Sample(arrays, {"axis": axis, "batch_dims": batch}))
    params = fill((5, 3), "float32")
    for bad in (5, -1, 2**31 - 1):
        found.append(Sample((params, np.array([0, bad], "int32")), {"axis": 0, "batch_dims": 0}, error=IndexError))
    found.append(
        Sample((fill((0, 3), "float32"), np.array([0], "int32")), {"axis": 0, "batch_dims": 0}, error=IndexError)
    )
    found.append(Sample((params, fill((2,), "float32")), {"axis": 0, "batch_dims": 0}, error=DTypeError))
    found.append(Sample((params, fill((2,), "int32", 0, 1)), {"axis": 2, "batch_dims": 0}, error=ShapeError))
    found.append(Sample((params, fill((2,), "int32", 0, 1)), {"axis": 0, "batch_dims": 1}, error=ShapeError))
    return found


gather = define_op(
    "gather", "params indices",
    attributes={"axis": ..., "batch_dims": 0},
    infer=_infer_gather,
    kernel=Indexed(_emit_gather, cost=6),
    gradient=_gather_gradient,
    reference=_gather_reference,
    samples=_gather_samples,
    fallible="index_out_of_range",
    narrow=True, strings=True,
    documentation=(
        "The slices of params at indices along axis; the first batch_dims axes of both go together. An index outside "
        "[0, extent) is an error; so is a negative one."
    ),
)  # fmt: skip


def _infer_scatter(types: tuple[TensorType, ...], shape: tuple[Dim, ...]) -> TensorType:
    indices, updates = types
    _check_indices("scatter_add", indices)
    if not updates.dtype.is_numeric:
        raise DTypeError(f"scatter_add: updates must be numbers, got {updates}")
    if not shape or not equal_shapes(updates.shape, (*indices.shape, *shape[1:])):
        raise ShapeError(
            f"scatter_add: updates must have the shape of indices and of a row of {list(shape)}, "
            f"got {indices} and {updates}"
        )
    return updates.with_shape(tuple(shape))


def _scatter_reference(indices: Any, updates: Any, shape: Any) -> Any:
    if indices.size and (indices.min() < 0 or indices.max() >= shape[0]):
        raise IndexOutOfRangeError(f"scatter_add: an index is outside [0, {shape[0]})")
    result = np.zeros(shape, updates.dtype)
    np.add.at(result, indices, updates)
    return result


def _scatter_samples() -> list[Sample]:
    cases: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((7,), (4, 3)),
        ((6,), (4,)),
        ((2, 5), (3, 2, 2)),
        ((), (3, 2)),
        ((0,), (3, 2)),
        ((3,), (4, 0)),
    ]
    found = []
    for dtype in ("float32", "float64", "int32", "uint8"):
        for seed, (places, shape) in enumerate(cases if dtype == "float64" else cases[:2]):
            for index in ("int32", "int64") if seed == 0 else ("int64",):
                updates = fill((*places, *shape[1:]), dtype, seed=seed)
                found.append(Sample((fill(places, index, 0, shape[0] - 1, seed=seed + 9), updates), {"shape": shape}))
    updates = fill((2, 3), "float32")
    for bad in (4, -1):
        found.append(Sample((np.array([0, bad]), updates), {"shape": (4, 3)}, error=IndexError))
    found.append(Sample((fill((2,), "float32"), updates), {"shape": (4, 3)}, error=DTypeError))
    found.append(Sample((np.array([0, 1]), updates), {"shape": (4, 2)}, error=ShapeError))
    return found


scatter_add = define_op(
    "scatter_add", "indices updates",
    attributes={"shape": ...},
    infer=_infer_scatter,
    kernel=Library("scatter_add"),
    gradient=lambda node, dy: [None, gather(dy, node.inputs[0], axis=0, batch_dims=0)],
    reference=_scatter_reference, numpy=_scatter_reference,
    samples=_scatter_samples,
    fallible="index_out_of_range",
    documentation=(
        "Zeros of `shape`, with each row of updates added to the row that its index names, in the order of the "
        "indices. An index outside [0, shape[0]) is an error."
    ),
)  # fmt: skip


def _infer_gather_nd(types: tuple[TensorType, ...], depth: int) -> TensorType:
    params, indices = types
    _check_indices("gather_nd", indices)
    # a symbolic last extent is that of a kernel made for every size: the caller has checked that it is depth
    last = indices.shape[-1] if indices.rank else 0
    if not 1 <= depth <= params.rank or (isinstance(last, int) and last != depth):
        raise ShapeError(
            f"gather_nd: the last axis of indices must have 1 to {params.rank} elements for {params}, got {indices}"
        )
    return params.with_shape((*indices.shape[:-1], *params.shape[depth:]))


def _emit_gather_nd(s: Any, operands: Any, index: Any, *, depth: int) -> Any:
    params, indices = operands
    lead = len(indices.shape) - 1
    places, every = [], None
    for k in range(depth):
        place, inside = _checked(s, indices(*index[:lead], s.const(k, int64)), params.shape[k])
        places.append(place)
        every = inside if every is None else every & inside
    return s.check(params(*places, *index[lead:]), every, "index_out_of_range")


def _gather_nd_gradient(node: Any, dy: Any) -> list[Any]:
    """A gather of rows of the params flattened along the indexed axes, at linear positions."""
    params, indices = node.inputs
    depth, lead = node.attributes["depth"], indices.dims[:-1]
    linear = None
    for k in range(depth):
        begin, sizes = (0,) * len(lead) + (k,), (*lead, 1)
        column = reshape(strided_slice(indices, begin=begin, sizes=sizes, strides=(1,) * len(sizes)), shape=lead)
        linear = column if linear is None else linear * extent(params, k, indices.dtype) + column
    flat = scatter_add(linear, dy, shape=(product(params.dims[:depth]), *params.dims[depth:]))
    return [reshape(flat, shape=params.dims), None]


def _gather_nd_reference(params: Any, indices: Any, depth: int) -> Any:
    columns = tuple(np.moveaxis(indices, -1, 0))
    for k, column in enumerate(columns):
        if column.size and (column.min() < 0 or column.max() >= params.shape[k]):
            raise IndexError("gather_nd")
    return params[columns]


def _gather_nd_samples() -> list[Sample]:
    found = []
    for dtype in ("float32", "float64", "int32", "bool"):
        params = fill((3, 4, 2), dtype)
        for depth, lead in ((1, (5,)), (2, (5,)), (3, (2, 3)), (2, ())) if dtype == "float64" else ((2, (5,)),):
            columns = [fill(lead, "int64", 0, (3, 4, 2)[k] - 1, seed=k) for k in range(depth)]
            found.append(Sample((params, np.stack(columns, -1)), {"depth": depth}))
    params = fill((3, 4), "float32")
    found.append(Sample((params, np.array([[0, 4]], "int32")), {"depth": 2}, error=IndexError))
    found.append(Sample((params, np.array([[-1, 0]], "int32")), {"depth": 2}, error=IndexError))
    found.append(Sample((params, np.zeros((2, 3), "int32")), {"depth": 3}, error=ShapeError))
    found.append(Sample((params, np.zeros((2, 3), "int32")), {"depth": 2}, error=ShapeError))
    found.append(Sample((params, np.zeros((2, 2), "float32")), {"depth": 2}, error=DTypeError))
    return found


gather_nd = define_op(
    "gather_nd", "params indices",
    attributes={"depth": ...},
    infer=_infer_gather_nd,
    kernel=Indexed(_emit_gather_nd, cost=10),
    gradient=_gather_nd_gradient,
    reference=_gather_nd_reference,
    samples=_gather_nd_samples,
    fallible="index_out_of_range",
    narrow=True, strings=True,
    documentation=(
        "The slices of params at the positions that the rows of indices name (their last axis: one number for each of "
        "params' first axes). An index outside its axis is an error."
    ),
)  # fmt: skip
