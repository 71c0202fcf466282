"""Moving elements about in blocks, sequences and partitions: part of the top-level names (array_ops.py has the others). Names, argument
order and defaults are TensorFlow's; `name` is accepted for its sake and not used."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..dtypes import DType, as_dtype, bool_, float32, int32, int64, uint8, uint16, uint32, uint64
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import Dim, SymbolicDim, product
from ..math import cast
from ..ops.complex import part_of
from ..ops.rules import equal_shapes, integer, normalize_axis
from ..tensor import Tensor, as_shape, convert_to_tensor, operands
from .array_ops import boolean_mask, stack
from .effects import Assert
from .runtime_extent import as_extent, extent_of, numbers_below

__all__ = [
    "batch_to_space", "bitcast", "depth_to_space", "dynamic_partition", "dynamic_stitch", "extract_volume_patches", "guarantee_const",
    "identity_n", "parallel_stack", "required_space_to_batch_paddings", "reverse_sequence", "saturate_cast", "sequence_mask", "shape_n",
    "space_to_batch", "space_to_batch_nd", "space_to_depth", "unravel_index",
]  # fmt: skip


# Blocks -------------------------------------------------------------------------------------------------------------
def _blocks(name: str, x: Any, block_shape: Any, pairs: Any) -> tuple[list[int], list[tuple[int, int]]]:
    """The block of each spatial axis and its (before, after) pair, checked."""
    blocks = [int(b) for b in as_shape(block_shape)]  # type: ignore[arg-type]
    table = _numbers_of(name, pairs)
    table = table.reshape(-1, 2) if table.size or table.ndim == 2 else np.zeros((len(blocks), 2), np.int64)
    if len(table) != len(blocks) or len(blocks) + 1 > len(x.dims):
        raise ShapeError(
            f"{name}: needs one (before, after) pair for each block, and an axis for each after the batch, got {len(blocks)} blocks, "
            f"{len(table)} pairs and {x.type}"
        )
    if any(b < 1 for b in blocks) or (table < 0).any():
        raise InvalidArgumentError(
            f"{name}: blocks must be positive and pairs not negative, got {blocks} and {table.tolist()}"
        )
    return blocks, [(int(a), int(b)) for a, b in table]


def _numbers_of(name: str, value: Any) -> np.ndarray[Any, Any]:
    """Integers that must be known now. Raises InvalidArgumentError."""
    from .introspection import known_array

    found = known_array(value if not isinstance(value, (list, tuple)) or len(value) else np.zeros(0, np.int64))
    if found is None or found.size and found.dtype.kind not in "iu":
        raise InvalidArgumentError(f"{name}: needs integers that are known while tracing, got {value!r}")
    return found.astype(np.int64)


def _quotient(name: str, x: Any, axis: int, block: int) -> Dim:
    """The extent of an axis over block, which must divide it: a symbolic one that may not makes the function trace for the exact shape."""
    extent = x.dims[axis]
    whole = extent // block * block
    if isinstance(extent, SymbolicDim) and whole != extent:
        extent = x.shape[axis].__index__()
        whole = extent // block * block
    if whole != extent:
        raise ShapeError(
            f"{name}: the extent must be a multiple of the block, got {extent} and {block} (axis {axis} of {x.type})"
        )
    return extent // block


def space_to_batch(input: Any, block_shape: Any, paddings: Any, name: str | None = None) -> Tensor:
    """Blocks of the axes after the batch, padded with zeros, cut into the batch: each element of a block becomes a batch entry."""
    x: Any = convert_to_tensor(input)
    blocks, pairs = _blocks("space_to_batch", x, block_shape, paddings)
    count, rank = len(blocks), len(x.dims)
    if any(p != (0, 0) for p in pairs):
        around = ((0, 0), *pairs, *((0, 0),) * (rank - count - 1))
        x = ops.pad(x, paddings=around, mode="constant", constant=0)
    apart: list[Dim] = [x.dims[0]]
    for axis, block in enumerate(blocks, 1):
        apart += [_quotient("space_to_batch", x, axis, block), block]
    rest = x.dims[count + 1 :]
    spread = ops.reshape(x, shape=(*apart, *rest))
    inner, outer = [2 * k + 2 for k in range(count)], [2 * k + 1 for k in range(count)]
    order = (*inner, 0, *outer, *range(2 * count + 1, 2 * count + 1 + len(rest)))
    moved = ops.transpose(spread, permutation=order)
    shape = (x.dims[0] * math.prod(blocks), *(apart[2 * k + 1] for k in range(count)), *rest)
    return ops.reshape(moved, shape=shape)


def space_to_batch_nd(input: Any, block_shape: Any, paddings: Any, name: str | None = None) -> Tensor:
    """space_to_batch."""
    return space_to_batch(input, block_shape, paddings)


def batch_to_space(input: Any, block_shape: Any, crops: Any, name: str | None = None) -> Tensor:
    """The inverse of space_to_batch: batch entries put together to blocks, then crops[k] = (before, after) elements cut from each axis."""
    x: Any = convert_to_tensor(input)
    blocks, pairs = _blocks("batch_to_space", x, block_shape, crops)
    count, rest = len(blocks), x.dims[len(blocks) + 1 :]
    batch = _quotient("batch_to_space", x, 0, math.prod(blocks))
    spread = ops.reshape(x, shape=(*blocks, batch, *x.dims[1:]))
    order = [count]
    for k in range(count):
        order += [count + 1 + k, k]
    order += range(2 * count + 1, 2 * count + 1 + len(rest))
    moved = ops.transpose(spread, permutation=tuple(order))
    whole = [x.dims[k + 1] * block for k, block in enumerate(blocks)]
    result = ops.reshape(moved, shape=(batch, *whole, *rest))
    if all(p == (0, 0) for p in pairs):
        return result
    sizes = [extent - a - b for extent, (a, b) in zip(whole, pairs, strict=True)]
    if any(isinstance(s, int) and s < 0 for s in sizes):
        raise ShapeError(f"batch_to_space: crops must leave something, got {pairs} of extents {whole}")
    begin = (0, *(a for a, _ in pairs), *(0,) * len(rest))
    return ops.strided_slice(result, begin=begin, sizes=(batch, *sizes, *rest), strides=(1,) * len(begin))


def required_space_to_batch_paddings(
    input_shape: Any, block_shape: Any, base_paddings: Any = None, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """(paddings, crops) that make each extent of input_shape a multiple of its block: at least base_paddings before and after."""
    name_ = "required_space_to_batch_paddings"
    extents, blocks = (_numbers_of(name_, v).reshape(-1) for v in (input_shape, block_shape))
    base = np.zeros((len(blocks), 2), np.int64) if base_paddings is None else _numbers_of(name_, base_paddings)
    if extents.shape != blocks.shape or base.shape != (len(blocks), 2):
        raise ShapeError(
            f"required_space_to_batch_paddings: needs an extent, a block and a pair for each axis, got {extents.tolist()}, "
            f"{blocks.tolist()} and {base.tolist()}"
        )
    if (blocks < 1).any():
        raise InvalidArgumentError(f"{name_}: blocks must be positive, got {blocks.tolist()}")
    extra = -(extents + base.sum(axis=1)) % blocks
    paddings = np.stack([base[:, 0], base[:, 1] + extra], axis=1).astype(np.int32)
    crops = np.stack([np.zeros_like(extra), extra], axis=1).astype(np.int32)
    return convert_to_tensor(paddings), convert_to_tensor(crops)


def _images(name: str, input: Any, block_size: Any, data_format: str) -> tuple[Any, int, bool]:
    x = convert_to_tensor(input)
    if data_format not in ("NHWC", "NCHW"):
        raise InvalidArgumentError(f"{name}: data_format must be 'NHWC' or 'NCHW', got {data_format!r}")
    if len(x.dims) != 4:
        raise ShapeError(f"{name}: the input must have rank 4, got {x.type}")
    if integer(name, "block_size", block_size) < 2:
        raise InvalidArgumentError(f"{name}: block_size must be at least 2, got {block_size}")
    first = data_format == "NCHW"
    return (ops.transpose(x, permutation=(0, 2, 3, 1)) if first else x), int(block_size), first


def space_to_depth(input: Any, block_size: Any, data_format: str = "NHWC", name: str | None = None) -> Tensor:
    """Each block_size x block_size block of an image's pixels as the channels of one pixel."""
    x, block, first = _images("space_to_depth", input, block_size, data_format)
    batch, _, _, channels = x.dims
    rows, columns = (_quotient("space_to_depth", x, axis, block) for axis in (1, 2))
    spread = ops.reshape(x, shape=(batch, rows, block, columns, block, channels))
    if first:
        moved = ops.transpose(spread, permutation=(0, 2, 4, 5, 1, 3))
        return ops.reshape(moved, shape=(batch, channels * block * block, rows, columns))
    moved = ops.transpose(spread, permutation=(0, 1, 3, 2, 4, 5))
    return ops.reshape(moved, shape=(batch, rows, columns, channels * block * block))


def depth_to_space(input: Any, block_size: Any, data_format: str = "NHWC", name: str | None = None) -> Tensor:
    """The inverse of space_to_depth: channels as blocks of pixels."""
    x, block, first = _images("depth_to_space", input, block_size, data_format)
    batch, rows, columns, _ = x.dims
    channels = _quotient("depth_to_space", x, 3, block * block)
    spread = ops.reshape(x, shape=(batch, rows, columns, block, block, channels))
    if first:
        moved = ops.transpose(spread, permutation=(0, 5, 1, 3, 2, 4))
        return ops.reshape(moved, shape=(batch, channels, rows * block, columns * block))
    moved = ops.transpose(spread, permutation=(0, 1, 3, 2, 4, 5))
    return ops.reshape(moved, shape=(batch, rows * block, columns * block, channels))


def extract_volume_patches(input: Any, ksizes: Any, strides: Any, padding: str, name: str | None = None) -> Tensor:
    """The windows of input[batch, depth, height, width, channels], each as one row of its elements. ksizes and strides have five
    elements, the first and the last 1."""
    from .sliding import geometry_of, per_axis, require_rank, take_windows

    (x,) = operands(input)
    require_rank("extract_volume_patches", "the input", x, 5)
    sizes = per_axis("extract_volume_patches", "ksizes", ksizes, 3, False)
    geometry = geometry_of("extract_volume_patches", strides, padding, None, 3, False, explicit=False)
    taken = take_windows(x, geometry, sizes)
    return ops.reshape(taken, shape=(*taken.dims[:4], math.prod(sizes) * x.dims[-1]))


# Sequences ----------------------------------------------------------------------------------------------------------
def reverse_sequence(
    input: Any, seq_lengths: Any, seq_axis: Any = None, batch_axis: Any = None, name: str | None = None
) -> Tensor:
    """The first seq_lengths[i] elements along seq_axis turned round, for each entry i of batch_axis. Raises IndexOutOfRangeError for a
    length beyond the axis."""
    x, lengths = convert_to_tensor(input), convert_to_tensor(seq_lengths)
    if seq_axis is None:
        raise InvalidArgumentError("reverse_sequence: needs seq_axis")
    rank = len(x.dims)
    sequence = normalize_axis("reverse_sequence", seq_axis, rank)
    batch = normalize_axis("reverse_sequence", 0 if batch_axis is None else batch_axis, rank)
    if sequence == batch:
        raise InvalidArgumentError(f"reverse_sequence: seq_axis and batch_axis must differ, got {sequence} twice")
    if (
        lengths.dtype not in (int32, int64)
        or len(lengths.dims) != 1
        or not equal_shapes(lengths.dims, (x.dims[batch],))
    ):
        raise ShapeError(
            f"reverse_sequence: needs one int32 or int64 length for each entry of axis {batch}, got {lengths.type} and {x.type}"
        )
    order = (batch, sequence, *(a for a in range(rank) if a not in (batch, sequence)))
    extent = x.dims[sequence]
    place = ops.reshape(ops.iota(shape=(extent,), axis=0, dtype=lengths.dtype), shape=(1, extent))
    own = ops.reshape(lengths, shape=(x.dims[batch], 1))
    source = ops.select(ops.less(place, own), ops.subtract(ops.subtract(own, 1), place), place)
    moved = ops.gather(ops.transpose(x, permutation=order), source, axis=1, batch_dims=1)
    return ops.transpose(moved, permutation=tuple(order.index(a) for a in range(rank)))


def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = bool_, name: str | None = None) -> Tensor:
    """For each length a row that is true (1) before it and false from it on, maxlen long (the largest length unless given, which is a
    run-time extent in a traced function)."""
    lengths = convert_to_tensor(lengths)
    if not lengths.dtype.is_integer:
        raise DTypeError(f"sequence_mask: lengths must be integers, got {lengths.type}; use gf.cast")
    if maxlen is None:
        flat = ops.reshape(ops.cast(lengths, dtype=int64), shape=(product(lengths.dims),))
        padded = ops.pad(flat, paddings=((1, 0),), mode="constant", constant=0)
        row: Any = numbers_below(ops.reduce_max(padded, axes=(0,), keepdims=False))
    else:
        extent = as_extent(maxlen)
        if isinstance(extent, int) and extent < 0:
            raise InvalidArgumentError(f"sequence_mask: maxlen must not be negative, got {extent}")
        row = ops.iota(shape=(extent,), axis=0, dtype=int64)
    own = ops.reshape(ops.cast(lengths, dtype=int64), shape=(*lengths.dims, 1))
    return cast(ops.less(row, own), as_dtype(dtype))


# Partitions ---------------------------------------------------------------------------------------------------------
def dynamic_partition(data: Any, partitions: Any, num_partitions: int, name: str | None = None) -> list[Tensor]:
    """The elements of data (the slices at partitions' positions) in num_partitions tensors: those numbered k are in the k-th, in order.
    Raises InvalidArgumentError for a number outside."""
    x, numbers = convert_to_tensor(data), convert_to_tensor(partitions)
    rank = len(numbers.dims)
    if numbers.dtype not in (int32, int64):
        raise DTypeError(f"dynamic_partition: the numbers must be int32, got {numbers.type}")
    if not equal_shapes(numbers.dims, x.dims[:rank]):
        raise ShapeError(
            f"dynamic_partition: data's shape must begin with that of partitions, got {x.type} and {numbers.type}"
        )
    count = product(numbers.dims)
    x, flat = ops.reshape(x, shape=(count, *x.dims[rank:])), ops.reshape(numbers, shape=(count,))
    parts = integer("dynamic_partition", "num_partitions", num_partitions)
    if parts < 1:
        raise InvalidArgumentError(f"dynamic_partition: num_partitions must be at least 1, got {parts}")
    inside = ops.logical_and(ops.greater_equal(flat, 0), ops.less(flat, parts))
    Assert(
        ops.reduce_all(inside, axes=(0,), keepdims=False),
        [f"dynamic_partition: numbers must be in [0, {num_partitions}), got", flat],
    )
    return [boolean_mask(x, ops.equal(flat, k)) for k in builtins.range(parts)]


def dynamic_stitch(indices: Sequence[Any], data: Sequence[Any], name: str | None = None) -> Tensor:
    """One tensor with data[m][i...] as the slice at indices[m][i...]; of several for one place the last stays, places without one are 0."""
    places = [convert_to_tensor(i, dtype_hint=int32) for i in indices]
    values = operands(*data)
    if len(places) != len(values) or not places:
        raise InvalidArgumentError(
            f"dynamic_stitch: needs as many indices as data, at least one, got {len(places)} and {len(values)}"
        )
    rows, flat = [], []
    for place, value in zip(places, values, strict=True):
        rank = len(place.dims)
        if place.dtype not in (int32, int64) or not equal_shapes(place.dims, value.dims[:rank]):
            raise ShapeError(
                f"dynamic_stitch: data's shape must begin with that of its indices, got {place.type} and {value.type}"
            )
        count = product(place.dims)
        flat.append(ops.reshape(ops.cast(place, dtype=int64), shape=(count,)))
        rows.append(ops.reshape(value, shape=(count, *value.dims[rank:])))
    where = flat[0] if len(flat) == 1 else ops.concat(*flat, axis=0)
    rest = rows[0].dims[1:]
    for row in rows[1:]:
        if not equal_shapes(row.dims[1:], rest):
            raise ShapeError(f"dynamic_stitch: the slices must have one shape, got {rows[0].type} and {row.type}")
    joined = rows[0] if len(rows) == 1 else ops.concat(*rows, axis=0)
    padded = ops.pad(where, paddings=((1, 0),), mode="constant", constant=-1)
    size = extent_of(ops.add(ops.reduce_max(padded, axes=(0,), keepdims=False), 1))
    empty = ops.broadcast_to(convert_to_tensor(joined.dtype.zero, joined.dtype), shape=(size, *rest))
    return ops.scatter_into(empty, where, joined, kind="set")


def parallel_stack(values: Sequence[Any], name: str = "parallel_stack") -> Tensor:
    """stack along a new first axis."""
    return stack(values, 0)


# Positions and copies -----------------------------------------------------------------------------------------------
def unravel_index(indices: Any, dims: Any, name: str | None = None) -> Tensor:
    """The positions along each axis of shape dims that flat positions name: result[k] belongs to axis k. Raises InvalidArgumentError for
    a position outside."""
    flat, extents = operands(indices, dims)
    if len(extents.dims) != 1 or len(flat.dims) > 1 or flat.dtype not in (int32, int64):
        raise ShapeError(
            f"unravel_index: needs positions of rank 0 or 1 and a vector of extents, got {flat.type} and {extents.type}"
        )
    count = extents.dims[0]
    if not isinstance(count, int):
        raise ShapeError(f"unravel_index: the number of axes must be known, got {extents.type}")
    total = ops.reduce_prod(extents, axes=(0,), keepdims=False)
    inside = ops.logical_and(ops.less(flat, total), ops.greater_equal(flat, 0))
    Assert(inside, ["unravel_index: positions must be inside the shape, got", flat, "for", extents])
    steps = ops.cumulative(extents, axis=0, kind="prod", exclusive=True, reverse=True)
    spread = (count, *(1,) * len(flat.dims))
    row = ops.reshape(flat, shape=(1, *flat.dims)) if flat.dims else flat
    # an extent of 0 has no position: the assertion has told
    steps, extents = (ops.maximum(ops.reshape(v, shape=spread), 1) for v in (steps, extents))
    return ops.floormod(ops.floordiv(row, steps), extents)


def shape_n(input: Sequence[Any], out_type: Any = int32, name: str | None = None) -> list[Tensor]:
    """The shape of each tensor as an integer vector."""
    from .array_ops import shape

    return [shape(x, out_type) for x in input]


def identity_n(input: Sequence[Any], name: str | None = None) -> list[Tensor]:
    """Tensors equal to those of input."""
    return [ops.identity(convert_to_tensor(x)) for x in input]


def guarantee_const(input: Any, name: str | None = None) -> Tensor:
    """A tensor equal to input."""
    return ops.identity(convert_to_tensor(input))


# Bits and ranges ----------------------------------------------------------------------------------------------------
_UNSIGNED = {1: uint8, 2: uint16, 4: uint32, 8: uint64}


def bitcast(input: Any, type: Any, name: str | None = None) -> Tensor:
    """The same bits as another dtype (no bool). A narrower one adds a last axis of parts, the lowest bits first; a wider one takes the
    last axis away."""
    x, wanted = convert_to_tensor(input), as_dtype(type)
    if not (x.dtype.is_numeric and wanted.is_numeric):
        raise DTypeError(f"bitcast: needs numbers, got {x.type} and {wanted.name}")
    have, need = x.dtype.itemsize, wanted.itemsize
    if x.dtype is wanted:
        return x
    if x.dtype.is_complex or wanted.is_complex:
        return _bitcast_complex(x, wanted)
    if have == need:
        return ops.bitcast(x, dtype=wanted)
    whole = x if x.dtype is _UNSIGNED[have] else ops.bitcast(x, dtype=_UNSIGNED[have])
    if have > need:
        wide = _UNSIGNED[have]
        shifts = convert_to_tensor(np.arange(have // need).astype(wide.numpy) * wide.numpy.type(8 * need))
        apart = ops.bitwise_right_shift(ops.reshape(whole, shape=(*x.dims, 1)), shifts)
        parts = ops.cast(apart, dtype=_UNSIGNED[need])
        return parts if wanted is _UNSIGNED[need] else ops.bitcast(parts, dtype=wanted)
    count = need // have
    if not x.dims or x.dims[-1] != count:
        raise ShapeError(f"bitcast: the last axis must have extent {count} to become {wanted.name}, got {x.type}")
    wide = _UNSIGNED[need]
    shifts = convert_to_tensor(np.arange(count).astype(wide.numpy) * wide.numpy.type(8 * have))
    spread = ops.bitwise_left_shift(ops.cast(whole, dtype=wide), shifts)
    total = ops.reduce_sum(spread, axes=(len(x.dims) - 1,), keepdims=False)
    return total if wanted is wide else ops.bitcast(total, dtype=wanted)


def _bitcast_complex(x: Any, wanted: DType) -> Tensor:
    """bitcast from or to complex numbers, by way of their real and imaginary parts."""
    if x.dtype.is_complex:
        parts: Any = stack([ops.real(x), ops.imag(x)], -1)
        if not wanted.is_complex:
            found: Any = bitcast(parts, wanted)
            if len(found.dims) <= len(parts.dims):
                return found
            return ops.reshape(found, shape=(*x.dims, found.dims[-1] * 2))
    else:
        count = wanted.itemsize // 2 // x.dtype.itemsize
        if count > 1 and x.dims and x.dims[-1] == 2 * count:
            x = ops.reshape(x, shape=(*x.dims[:-1], 2, count))
        parts = x
    pairs: Any = bitcast(parts, part_of(wanted))
    last = len(pairs.dims) - 1
    if last < 0 or pairs.dims[-1] != 2:
        raise ShapeError(f"bitcast: the last axis must hold the parts of a {wanted.name}, got {x.type}")
    real, imag = (ops.reshape(_part_of_last(pairs, k), shape=pairs.dims[:-1]) for k in (0, 1))
    return ops.complex_(real, imag)


def _part_of_last(x: Any, place: int) -> Any:
    rank = len(x.dims)
    return ops.strided_slice(x, begin=(*(0,) * (rank - 1), place), sizes=(*x.dims[:-1], 1), strides=(1,) * rank)


def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Tensor:
    """value as dtype; what is outside dtype's finite range becomes its nearest end."""
    x, wanted = convert_to_tensor(value), as_dtype(dtype)
    own = x.dtype
    if wanted.is_bool or own.is_bool or own.is_complex or wanted.is_complex:
        return cast(x, wanted)
    if own.is_narrow:  # float32 has both dtypes' ends
        x, own = cast(x, float32), float32
    low, high = float(wanted.min), float(wanted.max)
    if own.is_integer and wanted.is_narrow and float(own.max) > high:
        x = ops.minimum(x, int(high)) if own.is_unsigned else ops.minimum(ops.maximum(x, int(low)), int(high))
    elif own.is_integer and wanted.is_integer:
        x = ops.maximum(x, max(int(own.min), int(wanted.min)))
        x = ops.minimum(x, min(int(own.max), int(wanted.max)))
    elif own.is_floating and wanted.is_floating and float(own.max) > high:
        x = ops.minimum(ops.maximum(x, convert_to_tensor(low, own)), convert_to_tensor(high, own))
    return cast(x, wanted)  # a float saturates at an integer's ends by itself
