"""Local rules that move, copy or convert elements without computing new ones: views, reshapes, broadcasts, casts, and
transposes that a matmul can read. A rule looks at one node and returns the value that may stand for it, or None."""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import DType
from ..errors import GraphflowError
from ..ir.dims import Dim, DimensionsMustAgree
from ..ir.graph import Node, Value
from ..ir.op import Alias, Op, Pointwise, View
from .algebra import Rule
from .rewriting import Rewriter

__all__ = ["RULES", "generic_rules", "is_exact_cast"]


# Rules that follow from an op's kernel --------------------------------------------------------------------------------


def alias_of_same_shape(node: Node, rewriter: Rewriter) -> Value | None:
    """identity(x) -> x, reshape(x, shape of x) -> x. Passes run after differentiation, so stop_gradient goes too."""
    return node.inputs[0] if node.inputs[0].type == node.output.type else None


def view_of_everything(node: Node, rewriter: Rewriter) -> Value | None:
    """transpose(x, (0, 1)) -> x, broadcast_to(x, shape of x) -> x, x[:] -> x: a view that maps every index to
    itself."""
    value = node.inputs[0]
    if value.type != node.output.type:
        return None
    strides = _dense_strides(value.type.shape)
    offset, mapped = node.op.kernel.map(value.type.shape, strides, **node.attributes)  # type: ignore[attr-defined]
    same = all(a == b or dim == 1 for a, b, dim in zip(strides, mapped, value.type.shape, strict=True))
    return value if offset == 0 and same else None


def broadcast_into_pointwise(node: Node, rewriter: Rewriter) -> Value | None:
    """x + broadcast_to(y) -> x + y where the result keeps its shape: pointwise ops broadcast by themselves."""
    for value in node.inputs:
        if value.producer is not None and value.producer.op.name == "broadcast_to":
            break
    else:
        return None
    inputs = list(node.inputs)
    origins = [node]
    for position, value in enumerate(inputs):
        producer = value.producer
        if producer is None or producer.op.name != "broadcast_to":
            continue
        shape = node.output.type.shape
        if any(k != position and other.type.shape == shape for k, other in enumerate(inputs)):
            inputs[position] = producer.inputs[0]
            origins.append(producer)
    if len(origins) == 1 or not _gives_same_types(node, inputs):
        return None
    return rewriter.make(node.op.name, inputs, node.attributes, *origins)


def _gives_same_types(node: Node, inputs: Sequence[Value]) -> bool:
    try:
        types = node.op.result_types(tuple(v.type for v in inputs), node.attributes)
    except (GraphflowError, DimensionsMustAgree):  # an op that does not broadcast this operand
        return False
    return types == tuple(v.type for v in node.outputs)


def _dense_strides(shape: Sequence[Dim]) -> list[Dim]:
    strides: list[Dim] = []
    step: Dim = 1
    for dim in reversed(shape):
        strides.append(step)
        step = step * dim
    return strides[::-1]


# Rules by op ----------------------------------------------------------------------------------------------------------


def reshape_of_reshape(node: Node, rewriter: Rewriter) -> Value | None:
    """reshape(reshape(x, s), t) -> reshape(x, t)"""
    inner = node.inputs[0].producer
    if (
        inner is None
        or not isinstance(inner.op.kernel, Alias)
        or inner.inputs[0].type.dtype is not node.output.type.dtype
    ):
        return None  # as_pairs and from_pairs are no reshapes
    if inner.op.name == "checkpoint":
        return None
    return rewriter.make("reshape", inner.inputs, {"shape": node.output.type.shape}, node, inner)


def transpose_of_transpose(node: Node, rewriter: Rewriter) -> Value | None:
    """transpose(transpose(x, p), q) -> transpose(x, p[q]), and x itself where q undoes p"""
    inner = node.inputs[0].producer
    if inner is None or inner.op is not node.op:
        return None
    first, second = inner.attributes["permutation"], node.attributes["permutation"]
    permutation = tuple([first[axis] for axis in second])
    if permutation == tuple(range(len(permutation))):
        return inner.inputs[0]
    return rewriter.make("transpose", inner.inputs, {"permutation": permutation}, node, inner)


def transpose_of_unit_axes(node: Node, rewriter: Rewriter) -> Value | None:
    """transpose(x: f32[8,1,4], (1, 0, 2)) -> reshape(x, (1, 8, 4)): no element moves, so no copy is needed."""
    value = node.inputs[0]
    moved = [axis for axis in node.attributes["permutation"] if value.type.shape[axis] != 1]
    if moved != sorted(moved):
        return None
    return rewriter.make("reshape", (value,), {"shape": node.output.type.shape}, node)


def broadcast_of_broadcast(node: Node, rewriter: Rewriter) -> Value | None:
    """broadcast_to(broadcast_to(x, s), t) -> broadcast_to(x, t)"""
    inner = node.inputs[0].producer
    if inner is None or inner.op is not node.op:
        return None
    return rewriter.make("broadcast_to", inner.inputs, {"shape": node.output.type.shape}, node, inner)


def cast_to_same(node: Node, rewriter: Rewriter) -> Value | None:
    """cast(x: f32, f32) -> x"""
    return node.inputs[0] if node.inputs[0].type == node.output.type else None


def cast_of_exact_cast(node: Node, rewriter: Rewriter) -> Value | None:
    """cast(cast(x: f16, f32), f64) -> cast(x, f64), cast(cast(x: i8, i32), i8) -> x: the inner cast lost nothing."""
    inner = node.inputs[0].producer
    if inner is None or inner.op is not node.op:
        return None
    first, middle, last = inner.inputs[0].type.dtype, node.inputs[0].type.dtype, node.output.type.dtype
    if not is_exact_cast(first, middle):
        return None
    if first.is_integer and middle.is_floating and last.is_integer and not is_exact_cast(first, last):
        return None  # from floats a cast saturates, from integers it wraps
    if last is first:
        return inner.inputs[0]
    return rewriter.make("cast", inner.inputs, {"dtype": last}, node, inner)


#: bits of the significand, and the exponents' range as (smallest power of a denormal, largest power)
_FLOATS = {
    "float16": (11, -24, 15),
    "bfloat16": (8, -133, 127),
    "float32": (24, -149, 127),
    "float64": (53, -1074, 1023),
}


def is_exact_cast(source: DType, target: DType) -> bool:
    """Does every value of source have the same value in target? (Never claimed for complex dtypes.)"""
    if source is target:
        return True
    if source.is_complex or target.is_complex or target.is_bool:
        return False
    if source.is_bool:
        return True
    if source.is_floating:
        if not target.is_floating:
            return False
        (bits, low, high), (wide_bits, wide_low, wide_high) = _FLOATS[source.name], _FLOATS[target.name]
        return bits <= wide_bits and low >= wide_low and high <= wide_high
    value_bits = source.itemsize * 8 - (0 if source.is_unsigned else 1)
    if target.is_floating:
        return value_bits <= _FLOATS[target.name][0] and value_bits <= _FLOATS[target.name][2]
    if target.is_unsigned:
        return source.is_unsigned and source.itemsize <= target.itemsize
    return value_bits <= target.itemsize * 8 - 1


def transpose_into_matmul(node: Node, rewriter: Rewriter) -> Value | None:
    """matmul(transpose(x), y) -> matmul(x, y, transpose_a=True), where the transpose swaps the last two axes only.

    The op fixes the order of each element's sum, so reading an operand transposed gives the bits that a copy gives.
    (OpenBLAS alone would not: for a matrix of one row or column it takes other kernels, and 97 % of the results
    differ.)
    """
    attributes = dict(node.attributes)
    inputs = list(node.inputs)
    origins = [node]
    for position, flag in enumerate(("transpose_a", "transpose_b")):
        inner = inputs[position].producer
        if flag in attributes and inner is not None and inner.op.name == "transpose" and _swaps_matrices(inner):
            inputs[position] = inner.inputs[0]
            attributes[flag] = not attributes[flag]
            origins.append(inner)
    return rewriter.make("matmul", inputs, attributes, *origins) if len(origins) > 1 else None


def dimension_of_known_extent(node: Node, rewriter: Rewriter) -> Value | None:
    """dimension(x: f32[batch,4], axis=1) -> 4"""
    extent = node.inputs[0].type.shape[node.attributes["axis"]]
    return rewriter.full(extent, node.output.type, node) if isinstance(extent, int) else None


def dimension_of_input(node: Node, rewriter: Rewriter) -> Value | None:
    """dimension(exp(x: f32[batch]), axis=0) -> dimension(x, axis=0): nothing is computed only to look at its extent."""
    value = node.inputs[0]
    found = rewriter.extents.get(value.type.shape[node.attributes["axis"]])
    if found is None or value.producer is None or found[0] is value or found[0].type.device != value.type.device:
        return None
    return rewriter.make("dimension", (found[0],), {"axis": found[1]}, node)


def _swaps_matrices(node: Node) -> bool:
    permutation = tuple(node.attributes["permutation"])
    rank = len(permutation)
    return rank >= 2 and permutation == (*range(rank - 2), rank - 1, rank - 2)


#: op -> its rules, tried in order after the generic ones
RULES: dict[str, tuple[Rule, ...]] = {
    "reshape": (reshape_of_reshape,),
    "transpose": (transpose_of_transpose, transpose_of_unit_axes),
    "broadcast_to": (broadcast_of_broadcast,),
    "cast": (cast_to_same, cast_of_exact_cast),
    "matmul": (transpose_into_matmul,),
    "dimension": (dimension_of_known_extent, dimension_of_input),
}


def generic_rules(op: Op) -> tuple[Rule, ...]:
    """The rules that follow from an op's kernel."""
    if isinstance(op.kernel, Alias):
        return () if op.name == "checkpoint" else (alias_of_same_shape,)
    if isinstance(op.kernel, View):
        return (view_of_everything,)
    if isinstance(op.kernel, Pointwise) and len(op.operands) > 1:
        return (broadcast_into_pointwise,)
    return ()
