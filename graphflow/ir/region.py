"""Regions: sets of nodes that one loop nest can compute, and where in the loops each value is needed.

The fusion pass asks `analyse` whether a set of nodes can be one nest; lowering uses the same answer, so what is fused can always
be lowered. A coordinate is an affine function of the nest's axes; walking from the outputs to the operands, every value gets the
coordinates at which it is read (one, unless views shift it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .dims import Dim, SymbolicDim, product, symbol
from .graph import Node, Value
from .op import Alias, Effect, Indexed, Interleave, Pointwise, Reduce, View

__all__ = [
    "Affine",
    "Coordinates",
    "Refusal",
    "Region",
    "analyse",
    "can_fail",
    "element_shape",
    "is_fusable",
    "is_interleaved",
    "only_unit_dims_differ",
    "view_coordinates",
]


@dataclass(frozen=True)
class Affine:
    """offset + sum of coefficient * index of nest axis."""

    offset: Dim
    terms: tuple[tuple[int, Dim], ...] = ()

    def scaled(self, factor: Dim) -> Affine:
        if factor == 0:
            return ZERO
        return Affine(self.offset * factor, tuple((a, c * factor) for a, c in self.terms))

    def plus(self, other: Affine) -> Affine:
        terms = dict(self.terms)
        for axis, coefficient in other.terms:
            terms[axis] = terms.get(axis, 0) + coefficient
        return Affine(self.offset + other.offset, tuple(sorted((a, c) for a, c in terms.items() if c != 0)))


ZERO = Affine(0)
Coordinates = tuple[Affine, ...]


@dataclass(frozen=True)
class Refusal:
    """Why a set of nodes is not one nest: a category for tables and a sentence."""

    category: str
    reason: str


@dataclass(frozen=True)
class Region:
    """The iteration space of a nest and the demands on each value.

    space: extents of the nest's axes; reduced: which of them are reduced (empty for a map). demands: value -> coordinates at which
    it is read, in order of discovery. inputs: values from outside, in order of first use.
    """

    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]
    inputs: tuple[Value, ...]
    space: tuple[Dim, ...]
    reduced: tuple[int, ...]
    demands: dict[Value, dict[Coordinates, None]]
    output_coordinates: dict[Value, Coordinates]

    @property
    def kept(self) -> tuple[int, ...]:
        return tuple(a for a in range(len(self.space)) if a not in self.reduced)

    @property
    def addressed(self) -> tuple[Value, ...]:
        """Values whose elements have a place in memory, or in the report of a run-time check: axes are one only where they are one
        axis in all of these."""
        return (*self.inputs, *self.outputs, *(v for n in self.nodes if can_fail(n) for v in n.outputs))

    @property
    def trailing(self) -> tuple[int, ...]:
        """The maximal run of reduced axes at the end: summed in lanes. The other reduced axes are summed one after another."""
        axes: list[int] = []
        for axis in range(len(self.space) - 1, -1, -1):
            if axis not in self.reduced:
                break
            axes.append(axis)
        return tuple(reversed(axes))


def can_fail(node: Node) -> bool:
    """Can the node itself report a run-time error? Divisions and powers only of integers (whose values are not looked at here:
    the answer must be the same in the body of a loop, which does not see large constants)."""
    kind = node.op.fallible
    return bool(kind) and (kind not in _OF_INTEGERS or node.inputs[-1].type.dtype.is_integer)


_OF_INTEGERS = ("division_by_zero", "negative_exponent")


def is_fusable(node: Node) -> bool:
    """Can the node be part of a loop nest at all?"""
    kernel = node.op.kernel
    if isinstance(kernel, Alias):
        return only_unit_dims_differ(node.inputs[0].type.shape, node.output.type.shape)
    if isinstance(kernel, Effect):
        return kernel.kind == "constant" and node.output.type.elements == 1
    return isinstance(kernel, (Pointwise, Indexed, Interleave, Reduce, View))


def reduced_axes(node: Node) -> tuple[int, ...]:
    """The axes a Reduce node reduces (an index reduction has one)."""
    axes = node.attributes.get("axes")
    return (node.attributes["axis"],) if axes is None else axes


def dense_strides(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """Row-major strides in elements. An extent of 0 counts as 1: a stride of 0 says that a value does not vary along an axis."""
    strides: list[Dim] = []
    step: Dim = 1
    for dim in reversed(shape):
        strides.append(step)
        step = step * (dim if dim != 0 else 1)
    return tuple(reversed(strides))


def access(shape: Sequence[Dim], at: Coordinates, axes: int) -> tuple[Dim, tuple[Dim, ...]]:
    """The element position in a dense row-major buffer as (offset, stride of each nest axis)."""
    offset: Dim = 0
    strides: list[Dim] = [0] * axes
    for index, stride in zip(at, dense_strides(shape), strict=True):
        offset = offset + index.offset * stride
        for axis, coefficient in index.terms:
            strides[axis] = strides[axis] + coefficient * stride
    return offset, tuple(strides)


def mergeable(space: Sequence[Dim], axes: Sequence[int], accesses: Sequence[tuple[Dim, ...]]) -> bool:
    """Can the axes be walked as one, in every access?"""
    axes = [a for a in axes if space[a] != 1]
    extents = [d if d != 0 else 1 for d in space]
    return all(s[a] == s[b] * extents[b] for a, b in pairwise(axes) for s in accesses)


def only_unit_dims_differ(a: Sequence[Dim], b: Sequence[Dim]) -> bool:
    """Are two shapes the same but for extents of 1?"""
    return [d for d in a if d != 1] == [d for d in b if d != 1]


def identity(shape: Sequence[Dim], axes: Sequence[int], space: Sequence[Dim]) -> Coordinates | None:
    """The coordinates at which a value of this shape is met once per point of space[axes], or None if the shapes differ."""
    free = [a for a in axes if space[a] != 1]
    result = []
    for dim in shape:
        if dim == 1:
            result.append(ZERO)
        elif free and space[free[0]] == dim:
            result.append(Affine(0, ((free.pop(0), 1),)))
        else:
            return None
    return None if free else tuple(result)


def is_interleaved(value: Value) -> bool:
    """Do two values share the array, one element of each in turn?"""
    return value.producer is not None and isinstance(value.producer.op.kernel, Interleave)


def element_shape(value: Value) -> tuple[Dim, ...]:
    """What a loop walks to store a value: all its axes, but for the last one of an interleaved value."""
    return value.type.shape[:-1] if is_interleaved(value) else value.type.shape


def view_coordinates(node: Node, at: Coordinates) -> Coordinates:
    """Where a view reads its operand, given where its result is read: the map is run on symbolic unit strides and its result's
    coefficients are collected."""
    operand = node.inputs[0].type
    names = [f"@{k}" for k in range(operand.rank)]
    offset, strides = node.op.kernel.map(operand.shape, [symbol(n) for n in names], **node.attributes)  # type: ignore[attr-defined]
    result = [Affine(_coefficient(offset, name)) for name in names]
    for index, stride in zip(at, strides, strict=True):
        for k, name in enumerate(names):
            factor = _coefficient(stride, name)
            if factor != 0:
                result[k] = result[k].plus(index.scaled(factor))
    return tuple(result)


def _coefficient(dim: Dim, name: str) -> Dim:
    """The factor of the symbol `name` in a dim that is linear in it."""
    if not isinstance(dim, SymbolicDim):
        return 0
    total: Dim = 0
    for monomial, coefficient in dim.terms:
        rest = [atom for atom in monomial if atom.name != name]
        if len(rest) < len(monomial):
            total = total + product(SymbolicDim({(atom,): 1}) for atom in rest) * coefficient
    return total


def broadcast_coordinates(shape: Sequence[Dim], at: Coordinates) -> Coordinates:
    """Where a pointwise op reads an operand of this shape, given where its result is read."""
    shift = len(at) - len(shape)
    return tuple(ZERO if dim == 1 else at[shift + k] for k, dim in enumerate(shape))


def reshape_coordinates(source: Sequence[Dim], target: Sequence[Dim], at: Coordinates) -> Coordinates:
    """The same for a reshape that only adds or removes unit dims."""
    moved = [index for dim, index in zip(target, at, strict=True) if dim != 1]
    return tuple(ZERO if dim == 1 else moved.pop(0) for dim in source)


def analyse(nodes: Sequence[Node], outputs: Sequence[Value]) -> Region | Refusal:
    """The region of `nodes` (in topological order) that yields `outputs`, or why there is none."""
    inside = set(nodes)
    reduces = [n for n in nodes if isinstance(n.op.kernel, Reduce)]
    space: tuple[Dim, ...]
    reduced: tuple[int, ...] = ()
    if reduces:
        space, reduced = reduces[0].inputs[0].type.shape, reduced_axes(reduces[0])
        for node in reduces[1:]:
            if node.inputs[0].type.shape != space or reduced_axes(node) != reduced:
                return Refusal("reductions differ", f"{reduces[0].op.name} and {node.op.name} reduce different spaces")
    else:
        space = max((element_shape(v) for v in outputs), key=len)
    every = tuple(range(len(space)))
    kept = tuple(a for a in every if a not in reduced)
    at: dict[Value, Coordinates] = {}
    for value in outputs:
        full = identity(element_shape(value), every, space)
        row = identity(element_shape(value), kept, space) if reduces else None
        if full is None and row is None:
            return Refusal("spaces differ", f"{value.type} is not one element for each point of {list(space)}")
        producer = value.producer
        reduced_here = producer is not None and isinstance(producer.op.kernel, Reduce)
        at[value] = row if row is not None and (full is None or reduced_here) else full  # type: ignore[assignment]
        if is_interleaved(value):
            at[value] = (*at[value], ZERO)

    demands: dict[Value, dict[Coordinates, None]] = {v: {c: None} for v, c in at.items()}
    inputs: dict[Value, None] = {}
    whole = tuple(ZERO if d == 1 else Affine(0, ((a, 1),)) for a, d in enumerate(space))
    for node in reversed(nodes):
        kernel = node.op.kernel
        for position in [c for v in node.outputs for c in demands.get(v, ())]:
            if isinstance(kernel, Reduce):
                if position != identity(node.output.type.shape, kept, space):
                    return Refusal(
                        "reduced value moved", f"the result of {node.op.name} is read at other positions than its own"
                    )
                demands.setdefault(node.inputs[0], {})[whole] = None
            elif isinstance(kernel, View):
                demands.setdefault(node.inputs[0], {})[view_coordinates(node, position)] = None
            elif isinstance(kernel, Alias):
                shape = node.inputs[0].type.shape
                if not only_unit_dims_differ(shape, node.output.type.shape):
                    return Refusal(
                        "reshape", f"reshape {list(shape)} -> {list(node.output.type.shape)} is not an index map"
                    )
                moved = reshape_coordinates(shape, node.output.type.shape, position)
                demands.setdefault(node.inputs[0], {})[moved] = None
            elif isinstance(kernel, Interleave):
                if position != at.get(node.output):
                    return Refusal("interleaved", f"the result of {node.op.name} is read where it is made")
                for value in node.inputs:
                    demands.setdefault(value, {})[position[:-1]] = None
            elif isinstance(kernel, Indexed):
                for value in node.inputs:
                    if value.producer in inside:
                        return Refusal("computed positions", f"{node.op.name} reads {value.type} at computed positions")
            elif isinstance(kernel, Pointwise):
                for value in node.inputs:
                    where = broadcast_coordinates(value.type.shape, position)
                    demands.setdefault(value, {})[where] = None
    for node in nodes:
        for value in node.inputs:
            if value.producer not in inside:
                inputs[value] = None
    region = Region(tuple(nodes), tuple(outputs), tuple(inputs), space, reduced, demands, at)
    return _refuse_checks(region) or (_refuse_reduction(region) if reduced else None) or region


def _refuse_checks(region: Region) -> Refusal | None:
    """A node with a run-time check must be computed at every element of its own, or the loop could miss the one that fails: not
    through a slice, nor in a loop that an axis of another value could make empty."""
    for node in region.nodes:
        if not can_fail(node):
            continue
        shape = node.output.type.shape
        if not any(_covers(shape, at, region.space) for at in region.demands.get(node.output, ())):
            return Refusal("run-time check", f"the loop may not reach every element of {node.op.name}, which can fail")
    return None


def _covers(shape: Sequence[Dim], at: Coordinates, space: Sequence[Dim]) -> bool:
    """Do the loops over space meet each element of a value of this shape, read at these coordinates?"""
    met = set()
    for dim, index in zip(shape, at, strict=True):
        if dim == 1 and index == ZERO:
            continue
        if len(index.terms) != 1:
            return False
        ((axis, step),) = index.terms
        whole = (index.offset, step) in ((0, 1), (dim - 1, -1))
        if not whole or space[axis] != dim or axis in met:
            return False
        met.add(axis)
    return all(a in met or isinstance(d, int) and d > 0 for a, d in enumerate(space))


def _refuse_reduction(region: Region) -> Refusal | None:
    """A reduction's tree walks its trailing axes as one axis and its other axes as one, whatever is fused into it; a body that does
    not flatten so would change the tree, hence the bits."""
    count = len(region.space)
    strides = [access(v.type.shape, c, count)[1] for v in region.addressed for c in region.demands.get(v, ())]
    trailing = region.trailing
    other = tuple(a for a in region.reduced if a not in trailing)
    indexed = any(isinstance(n.op.kernel, Indexed) for n in region.nodes)
    for axes in (trailing, other):
        wide = [a for a in axes if region.space[a] != 1]
        if len(wide) > 1 and (indexed or not mergeable(region.space, axes, strides)):
            return Refusal(
                "reduction does not flatten", f"axes {axes} of {list(region.space)} are not one axis in every operand"
            )
    if not other:
        return None
    after: set[Value] = set()
    for node in region.nodes:
        if any(v in after for v in node.inputs):
            if isinstance(node.op.kernel, Reduce):
                return Refusal("stages", "a second pass over the data needs the reduced axes to be the last ones")
            after.update(node.outputs)
        elif isinstance(node.op.kernel, Reduce):
            after.update(node.outputs)
    for value in region.outputs:
        full = any(a in region.reduced for index in region.output_coordinates[value] for a, _ in index.terms)
        if full and value in after:
            return Refusal("stages", "a second pass over the data needs the reduced axes to be the last ones")
    return None
