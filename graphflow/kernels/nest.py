"""Loop nests: the target-neutral form of a kernel, and its readable text.

A nest walks kept axes (one output row each) and, inside, at most one `other` and one `trailing` reduced axis. Work is a list of
stages: each walks the reduced axes once, storing full elements and reducing; row values (what depends on no reduced axis) are
computed between the stages. A map has no reduced axes and one stage.

The reduction tree is part of the meaning, not of the schedule (see docs/kernels.md). Along the trailing axis: blocks of BLOCK
positions; in a block LANE_BYTES of lanes, position p adding to lane p mod lanes in ascending order; lanes folded by halves;
blocks added in ascending order. Along the other axis: blocks of OTHER_BLOCK positions, each added up in ascending order, and
the blocks' sums in ascending order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..dtypes import DType
from ..ir.dims import Dim
from ..ir.op import Op
from ..ir.source import Source
from .scalar import Scalar, walk

__all__ = ["BLOCK", "LANE_BYTES", "OTHER_BLOCK", "Access", "Axis", "Buffer", "Check", "Nest", "Reduction", "Stage", "Store",
           "lanes_of"]  # fmt: skip

BLOCK = 8192
OTHER_BLOCK = 128
LANE_BYTES = 256


def lanes_of(dtype: DType) -> int:
    """Lanes of a reduction's tree: a power of two that depends on the dtype alone."""
    return LANE_BYTES // dtype.itemsize


@dataclass(frozen=True)
class Buffer:
    """A dense array that a nest reads or writes: operand number (inputs first, then outputs, then scratch rows)."""

    name: str
    dtype: DType
    shape: tuple[Dim, ...]


@dataclass(frozen=True)
class Access:
    """Element position = offset + sum of index[axis] * strides[axis]."""

    buffer: int
    offset: Dim
    strides: tuple[Dim, ...]


@dataclass(frozen=True)
class Axis:
    """role: "kept", "other" or "trailing"."""

    extent: Dim
    role: str


@dataclass(frozen=True, eq=False)
class Reduction:
    """One monoid over the reduced axes. start: the identity, a Python value. With `better`, the position is carried and is the
    result (index reductions)."""

    op: Op
    operand: Scalar
    dtype: DType
    start: object
    result: Scalar  # the "reduced" leaf that stands for it


@dataclass(frozen=True, eq=False)
class Store:
    """An element of a buffer that gets a scalar's value."""

    access: Access
    value: Scalar


@dataclass(eq=False)
class Stage:
    """One walk over the reduced axes: full-element stores, and reductions."""

    stores: list[Store] = field(default_factory=list)
    reductions: list[Reduction] = field(default_factory=list)


@dataclass(frozen=True)
class Check:
    """A run-time check of a nest: what it reports, for which node, of which shape, and which element of it is checked at the nest's
    indices (None: the element is reported as it is)."""

    kind: str
    op: str
    source: Source
    message: str = ""
    shape: tuple[Dim, ...] = ()
    place: Access | None = None


@dataclass(eq=False)
class Nest:
    """A kernel. axes: kept ones first, then other, then trailing. inputs, outputs, scratch: buffers (see Buffer). row_stores: stores of
    row values after the last stage (or all stores of a map are in stages[0])."""

    name: str
    axes: list[Axis]
    inputs: list[Buffer]
    outputs: list[Buffer]
    scratch: list[Buffer]
    stages: list[Stage]
    row_stores: list[Store]
    checks: list[Check]
    source: Source
    effects: list[Scalar] = field(default_factory=list)  # checks to evaluate though nothing is stored

    @property
    def buffers(self) -> list[Buffer]:
        return [*self.inputs, *self.outputs, *self.scratch]

    @property
    def kept(self) -> list[int]:
        return [k for k, axis in enumerate(self.axes) if axis.role == "kept"]

    @property
    def is_map(self) -> bool:
        return all(axis.role == "kept" for axis in self.axes)

    def roots(self) -> list[Scalar]:
        found = [s.value for stage in self.stages for s in stage.stores]
        found += [r.operand for stage in self.stages for r in stage.reductions]
        return found + [s.value for s in self.row_stores] + self.effects

    def cost(self) -> int:
        """About how many instructions one element takes."""
        return sum(_COST.get(s.operation, 1) for s in walk(self.roots()))

    def __str__(self) -> str:
        return print_nest(self)


_COST = {
    "const": 0,
    "parameter": 0,
    "reduced": 0,
    "index": 0,
    "div": 4,
    "sqrt": 4,
    "quotient": 12,
    "remainder": 12,
    "gather": 4,
}


def print_nest(nest: Nest) -> str:
    """The readable form that fn.kernels() shows."""
    lines = []
    places = ", ".join(dict.fromkeys(str(s.location) for s in nest.source.all()))
    arguments = ", ".join(f"{b.name}: {b.dtype.short}[{','.join(map(str, b.shape))}]" for b in nest.inputs)
    results = ", ".join(f"{b.name}: {b.dtype.short}[{','.join(map(str, b.shape))}]" for b in nest.outputs)
    lines.append(f"kernel {nest.name}({arguments}) -> ({results})    # {places}")
    for buffer in nest.scratch:
        lines.append(
            f"  scratch {buffer.name}: {buffer.dtype.short}[{','.join(map(str, buffer.shape))}] for each worker"
        )
    indent = "  "
    kept = nest.kept
    for axis in kept:
        how = "vector" if nest.is_map and axis == kept[-1] or (not _trailing(nest) and axis == kept[-1]) else "parallel"
        lines.append(f"{indent}for i{axis} in {nest.axes[axis].extent}:    # {how}")
        indent += "  "
    names: dict[int, str] = {}
    inner = [k for k in range(len(nest.axes)) if k not in kept]
    for number, stage in enumerate(nest.stages):
        body = indent
        for reduction in stage.reductions:
            names[id(reduction.result)] = f"r{len(names)}"
        for axis in inner:
            role = nest.axes[axis].role
            how = f"{lanes_of(stage.reductions[0].dtype)} lanes, blocks of {BLOCK}" if role == "trailing" and stage.reductions else (
                "vector" if role == "trailing" else f"in order, blocks of {OTHER_BLOCK}")  # fmt: skip
            lines.append(f"{body}for i{axis} in {nest.axes[axis].extent}:    # stage {number}, {how}")
            body += "  "
        printed: dict[int, str] = {}
        for store in stage.stores:
            value = _print_scalar(store.value, nest, lines, body, printed, names)
            lines.append(f"{body}{nest.buffers[store.access.buffer].name}[{_position(store.access)}] = {value}")
        for reduction in stage.reductions:
            value = _print_scalar(reduction.operand, nest, lines, body, printed, names)
            lines.append(
                f"{body}{names[id(reduction.result)]} = {reduction.op.name}({names[id(reduction.result)]}, {value})"
            )
    printed = {}
    for store in nest.row_stores:
        value = _print_scalar(store.value, nest, lines, indent, printed, names)
        lines.append(f"{indent}{nest.buffers[store.access.buffer].name}[{_position(store.access)}] = {value}")
    for effect in nest.effects:
        lines.append(f"{indent}check {_print_scalar(effect, nest, lines, indent, printed, names)}")
    return "\n".join(lines)


def _trailing(nest: Nest) -> bool:
    return any(axis.role == "trailing" for axis in nest.axes)


def _position(access: Access) -> str:
    parts = [f"i{k}" if s == 1 else f"i{k}*{s}" if isinstance(s, int) else f"i{k}*({s})"
             for k, s in enumerate(access.strides) if s != 0]  # fmt: skip
    if access.offset != 0 or not parts:
        parts.append(str(access.offset))
    return " + ".join(parts)


_SIGN = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "eq": "==",
    "ne": "!=",
}


def _print_scalar(
    root: Scalar, nest: Nest, lines: list[str], indent: str, printed: dict[int, str], names: dict[int, str]
) -> str:
    for scalar in _walk_calls(root):
        if id(scalar) in printed:
            continue
        call = scalar.builder.calls.get(id(scalar))
        arguments = [printed[id(o)] for o in (scalar.operands if call is None else call[1])]
        if scalar.operation == "const":
            printed[id(scalar)] = repr(scalar.data)
            continue
        if scalar.operation == "reduced":
            printed[id(scalar)] = names[id(scalar)]
            continue
        if scalar.operation in ("index", "parameter"):
            printed[id(scalar)] = f"i{scalar.data}" if scalar.operation == "index" else str(scalar.data)
            continue
        if call is not None:
            text = f"{call[0]}({', '.join(arguments)})"
        elif scalar.operation == "load":
            text = f"{nest.buffers[scalar.data.buffer].name}[{_position(scalar.data)}]"
        elif scalar.operation == "gather":
            text = f"{nest.buffers[scalar.data].name}[{arguments[0]}]"
        elif scalar.operation == "check":
            check = nest.checks[scalar.data]
            text = f"check {arguments[0]} unless {arguments[1]} fails {check.kind}"
        elif scalar.operation in _SIGN and len(arguments) == 2:
            text = f"{arguments[0]} {_SIGN[scalar.operation]} {arguments[1]}"
        elif scalar.operation == "convert":
            text = f"{scalar.dtype.short}({arguments[0]})"
        else:
            text = f"{scalar.operation}({', '.join(arguments)})"
        printed[id(scalar)] = name = f"v{len([p for p in printed.values() if p.startswith('v')])}"
        lines.append(f"{indent}{name} = {text}")
    return printed[id(root)]


def _walk_calls(root: Scalar) -> list[Scalar]:
    """Scalars below root, operands first, with calls of the math library as one step."""
    order: list[Scalar] = []
    seen: set[int] = set()
    stack = [(root, False)]
    while stack:
        scalar, ready = stack.pop()
        if ready:
            order.append(scalar)
        elif id(scalar) not in seen:
            seen.add(id(scalar))
            stack.append((scalar, True))
            call = scalar.builder.calls.get(id(scalar))
            stack.extend((o, False) for o in reversed(scalar.operands if call is None else call[1]))
    return order
