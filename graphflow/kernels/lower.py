"""Lowering: a region of the graph becomes a loop nest.

region -> scalars (every value at its coordinates) -> stages (what must wait for which reduction) -> rows kept in scratch
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import DType, int64
from ..ir.dims import Dim
from ..ir.graph import Graph, Node, Value
from ..ir.op import Alias, Effect, Indexed, Interleave, Pointwise, Reduce, View
from ..ir.region import (
    Affine,
    Coordinates,
    Refusal,
    Region,
    access,
    analyse,
    broadcast_coordinates,
    can_fail,
    identity,
    is_interleaved,
    mergeable,
    reshape_coordinates,
    view_coordinates,
)  # fmt: skip
from ..ir.source import merge_sources
from . import math as _library  # noqa: F401  (kernels call it by name: loaded with the compiler, not by the first kernel)
from .nest import Access, Axis, Buffer, Check, Nest, Reduction, Stage, Store
from .scalar import Scalar, ScalarBuilder, walk

__all__ = ["lower"]

NO_BUFFER = -1
"""The buffer number of an access that only names an element."""

KEEP_ROW_COST = 8
"""A full element that costs at least this many operations is kept in a scratch row between stages rather than computed again."""


def lower(body: Graph, name: str) -> Nest:
    """The loop nest of a fused body (inputs: dense row-major tensors). Raises ValueError if the body is not one region."""
    region = analyse(body.nodes, body.outputs)
    if isinstance(region, Refusal):
        raise ValueError(f"{name}: not one nest: {region.reason}")
    return _Lowering(body, region, name).nest()


class _Builder(ScalarBuilder):
    """Scalars of one nest; `check` registers the node it stands for."""

    def __init__(self) -> None:
        super().__init__()
        self.checks: list[Check] = []
        self.node: Node | None = None
        self.place: Access | None = None  # of the element that is computed

    def check(self, value: Scalar, ok: Scalar, code: Any) -> Scalar:
        assert self.node is not None
        message = str(self.node.attributes.get("message", ""))
        check = Check(str(code), self.node.op.name, self.node.source, message, self.node.output.type.shape, self.place)
        if check not in self.checks:
            self.checks.append(check)
        return super().check(value, ok, self.checks.index(check))

    def extent(self, dim: Dim) -> Scalar:
        return self.const(dim, int64) if isinstance(dim, int) else self.make("parameter", dtype=int64, data=dim)


class _Operand:
    """An operand of an Indexed op: call it with positions to load; `.shape` gives extents as int64 scalars."""

    def __init__(self, builder: _Builder, buffer: int, dtype: DType, shape: Sequence[Dim]) -> None:
        self._builder, self._buffer, self.dtype, self.dims = builder, buffer, dtype, tuple(shape)
        self.shape = [builder.extent(d) for d in shape]

    def __call__(self, *positions: Scalar) -> Scalar:
        s = self._builder
        linear = s.const(0, int64)
        for k, position in enumerate(positions):
            linear = s.convert(position, int64) if k == 0 else linear * self.shape[k] + s.convert(position, int64)
        return s.make("gather", linear, dtype=self.dtype, data=self._buffer)


class _Lowering:
    def __init__(self, body: Graph, region: Region, name: str) -> None:
        self.body, self.region, self.name = body, region, name
        self.s = _Builder()
        self.values: dict[tuple[Value, Coordinates], Scalar] = {}
        self.inputs = {v: k for k, v in enumerate(body.inputs)}
        self.outputs = {v: len(body.inputs) + k for k, v in enumerate(body.outputs)}
        self.scratch: list[Buffer] = []
        self.lone_column = False
        self.row_costs: dict[int, int] = {}  # of a full element: how many operations it takes
        self.axes, self.axis_of = self._merge_axes()
        self.reductions: list[Reduction] = []

    # Axes -------------------------------------------------------------------------------------------------------------
    def _merge_axes(self) -> tuple[list[Axis], dict[int, int]]:
        """The nest's axes (kept, other, trailing), adjacent ones walked as one where every access allows; and for each axis of the
        region's space the nest axis it is the innermost part of (unit axes and outer parts of merged axes have none)."""
        region = self.region
        space = region.space
        indexed = any(isinstance(n.op.kernel, Indexed) for n in region.nodes)
        strides = [
            access(v.type.shape, c, len(space))[1]
            for v in region.addressed if v in region.demands for c in region.demands[v]
        ]  # fmt: skip
        trailing = region.trailing
        groups: list[tuple[str, list[int]]] = []
        for axis in (a for a in region.kept if space[a] != 1):
            joinable = groups and not indexed
            if joinable and mergeable(space, [groups[-1][1][-1], axis], strides):
                groups[-1][1].append(axis)
            else:
                groups.append(("kept", [axis]))
        other = [a for a in region.reduced if a not in trailing]
        if other:
            groups.append(("other", [a for a in other if space[a] != 1] or other[:1]))
        if trailing:
            groups.append(("trailing", [a for a in trailing if space[a] != 1] or [trailing[-1]]))
        axes: list[Axis] = []
        axis_of: dict[int, int] = {}
        if other and not trailing and groups[0][0] != "kept":
            # Columns need an axis to be columns of, even if there is one column only.
            axes.append(Axis(1, "kept"))
            self.lone_column = True
        for role, members in groups:
            extent: Dim = 1
            for axis in members:
                extent = extent * space[axis]
            axis_of[members[-1]] = len(axes)
            axes.append(Axis(extent, role))
        return axes, axis_of

    def _access(self, buffer: int, shape: Sequence[Dim], at: Coordinates) -> Access:
        offset, strides = access(shape, at, len(self.region.space))
        moved: list[Dim] = [0] * len(self.axes)
        for axis, own in self.axis_of.items():
            moved[own] = strides[axis]
        if self.lone_column and buffer >= len(self.inputs):
            moved[0] = 1
        return Access(buffer, offset, tuple(moved))

    def _index(self, affine: Affine) -> Scalar:
        """A coordinate as an int64 scalar (only where Indexed ops forbid merging)."""
        s = self.s
        result = s.extent(affine.offset)
        for axis, coefficient in affine.terms:
            index = s.make("index", dtype=int64, data=self.axis_of[axis])
            term = index if coefficient == 1 else index * s.extent(coefficient)
            result = term if result.operation == "const" and result.data == 0 else result + term
        return result

    # Scalars ----------------------------------------------------------------------------------------------------------
    def scalar(self, value: Value, at: Coordinates) -> Scalar:
        """The scalar of a value that is a nest input, or was computed before."""
        found = self.values.get((value, at))
        if found is None:
            access_ = self._access(self.inputs[value], value.type.shape, at)
            found = self.values[value, at] = self.s.make("load", dtype=value.type.dtype, data=access_)
        return found

    def _compute(self) -> None:
        for node in self.region.nodes:
            self.s.node = node
            if isinstance(node.op.kernel, Interleave):
                continue  # its two operands are stored
            for number, value in enumerate(node.outputs):
                for at in list(self.region.demands.get(value, ())):
                    self.s.place = self._access(NO_BUFFER, value.type.shape, at) if can_fail(node) else None
                    self.values[value, at] = self._node(node, number, at)

    def _node(self, node: Node, number: int, at: Coordinates) -> Scalar:
        kernel, s = node.op.kernel, self.s
        if isinstance(kernel, Pointwise):
            operands = [self.scalar(v, broadcast_coordinates(v.type.shape, at)) for v in node.inputs]
            return _typed(kernel.emit(s, *operands, **node.attributes), node.output.type.dtype, node)
        if isinstance(kernel, View):
            return self.scalar(node.inputs[0], view_coordinates(node, at))
        if isinstance(kernel, Alias):
            operand = node.inputs[0]
            return self.scalar(operand, reshape_coordinates(operand.type.shape, node.output.type.shape, at))
        if isinstance(kernel, Indexed):
            loads = [_Operand(s, self.inputs[v], v.type.dtype, v.type.shape) for v in node.inputs]
            return _typed(
                kernel.emit(s, loads, [self._index(a) for a in at], **node.attributes), node.output.type.dtype, node
            )
        if isinstance(kernel, Effect):
            element = np.asarray(node.attributes["value"]).reshape(())
            return s.const(element.item() if element.dtype.kind != "V" else float(element), node.output.type.dtype)
        assert isinstance(kernel, Reduce)
        space = self.region.space
        whole = identity(space, range(len(space)), space)
        assert whole is not None
        element_in = self.scalar(node.inputs[0], whole)
        if not self.region.reduced:  # over no axes
            return s.convert(element_in, node.output.type.dtype)
        dtype = node.output.type.dtype if kernel.better is None else int64
        result = s.make("reduced", dtype=dtype, data=len(self.reductions))
        self.reductions.append(Reduction(node.op, element_in, element_in.dtype, kernel.start(element_in.dtype), result))
        return s.convert(result, node.output.type.dtype)

    def _output(self, value: Value, at: Coordinates) -> list[Store]:
        """What stores a result: one element, or one of each interleaved operand side by side."""
        buffer, shape = self.outputs[value], value.type.shape
        if not is_interleaved(value):
            return [Store(self._access(buffer, shape, at), self.scalar(value, at))]
        assert value.producer is not None
        return [
            Store(self._access(buffer, shape, (*at[:-1], Affine(part))), self.scalar(operand, at[:-1]))
            for part, operand in enumerate(value.producer.inputs)
        ]

    # Stages -----------------------------------------------------------------------------------------------------------
    def nest(self) -> Nest:
        self._compute()
        level: dict[int, int] = {}
        reduced_axes = {k for k, axis in enumerate(self.axes) if axis.role != "kept"}
        stage_of: list[int] = []
        full: set[int] = set()
        stores = [(v, store) for v, at in self.region.output_coordinates.items() for store in self._output(v, at)]
        operands = [r.operand for r in self.reductions]
        for operand in operands:
            self._levels([operand], level, full, reduced_axes, stage_of)
            stage_of.append(level[id(operand)])
        self._levels([s.value for _, s in stores], level, full, reduced_axes, stage_of)
        count = max([s + 1 for s in stage_of], default=1 if not reduced_axes else 0)
        stages = [Stage() for _ in range(count)]
        row_stores = []
        for _, store in stores:
            if any(store.access.strides[a] != 0 for a in reduced_axes) or not reduced_axes:
                number = level[id(store.value)]
                while len(stages) <= number:
                    stages.append(Stage())
                stages[number].stores.append(store)
            else:
                row_stores.append(store)
        for number, reduction in zip(stage_of, self.reductions, strict=True):
            stages[number].reductions.append(reduction)
        if len(stages) > 1:
            self._keep_rows(stages, full)
        effects = []
        if self.s.checks:
            reached = {id(x) for x in walk([s.value for _, s in stores] + operands)}
            effects = [x for x in self.s._table.values() if x.operation == "check" and id(x) not in reached]
        buffers_in = [Buffer(v.name or f"a{k}", v.type.dtype, v.type.shape) for k, v in enumerate(self.body.inputs)]
        buffers_out = [Buffer(f"out{k}" if len(self.outputs) > 1 else "out", v.type.dtype, v.type.shape)
                       for k, v in enumerate(self.body.outputs)]  # fmt: skip
        source = merge_sources([n.source for n in self.region.nodes])
        return Nest(
            self.name,
            self.axes,
            buffers_in,
            buffers_out,
            self.scratch,
            stages,
            row_stores,
            self.s.checks,
            source,
            effects,
        )

    def _levels(
        self, roots: list[Scalar], level: dict[int, int], full: set[int], reduced: set[int], stage_of: list[int]
    ) -> None:
        """For every scalar: the stage it can be computed in, and whether it differs along the reduced axes."""
        for scalar in walk(roots):
            if id(scalar) in level:
                continue
            level[id(scalar)] = max((level[id(o)] for o in scalar.operands), default=0)
            varies = any(id(o) in full for o in scalar.operands)
            if scalar.operation == "reduced":
                level[id(scalar)] = stage_of[scalar.data] + 1
            elif scalar.operation == "load":
                varies = any(scalar.data.strides[a] != 0 for a in reduced)
            elif scalar.operation == "index":
                varies = scalar.data in reduced
            if varies:
                full.add(id(scalar))

    def _keep_rows(self, stages: list[Stage], full: set[int]) -> None:
        """Costly full elements that two stages need are stored by the first and read by the later ones: from the output if they
        are one, else from a scratch row of each worker."""
        first: dict[int, int] = {}
        stored = {id(store.value): store.access for stage in stages for store in stage.stores}
        trailing = next(k for k, axis in enumerate(self.axes) if axis.role == "trailing")
        forms: list[dict[int, Scalar]] = []  # of each stage: the scalar as that stage computes it
        for number, stage in enumerate(stages):
            replaced: dict[int, Scalar] = {}
            forms.append(replaced)

            def again(scalar: Scalar, number: int = number, replaced: dict[int, Scalar] = replaced) -> Scalar:
                """The scalar as this stage computes it."""
                for x in _walk_until(scalar, lambda x: id(x) in replaced or self._is_kept(x, number, first, full)):
                    if id(x) in replaced:
                        continue
                    if self._is_kept(x, number, first, full):
                        place = stored.get(id(x))
                        if place is None:
                            extent = self.axes[trailing].extent
                            buffer = len(self.inputs) + len(self.outputs) + len(self.scratch)
                            self.scratch.append(Buffer(f"row{len(self.scratch)}", x.dtype, (extent,)))
                            strides = tuple(1 if k == trailing else 0 for k in range(len(self.axes)))
                            place = stored[id(x)] = Access(buffer, 0, strides)
                            stages[first[id(x)]].stores.append(Store(place, forms[first[id(x)]].get(id(x), x)))
                        replaced[id(x)] = self.s.make("load", dtype=x.dtype, data=place)
                    else:
                        replaced[id(x)] = self._rebuilt(x, replaced)
                return replaced[id(scalar)]

            originals = [s.value for s in stage.stores] + [r.operand for r in stage.reductions]
            stage.stores = [Store(s.access, again(s.value)) for s in stage.stores]
            stage.reductions = [Reduction(r.op, again(r.operand), r.dtype, r.start, r.result) for r in stage.reductions]
            for x in walk(originals):
                first.setdefault(id(x), number)

    def _rebuilt(self, x: Scalar, replaced: dict[int, Scalar]) -> Scalar:
        """The scalar on its operands' new forms, still known as the library call that it was."""
        operands = tuple(replaced[id(o)] for o in x.operands)
        if operands == x.operands:
            return x
        new = self.s.make(x.operation, *operands, dtype=x.dtype, data=x.data)
        call = self.s.calls.get(id(x))
        if call is not None and all(id(o) in replaced for o in call[1]):
            self.s.calls.setdefault(id(new), (call[0], tuple(replaced[id(o)] for o in call[1])))
        return new

    def _is_kept(self, x: Scalar, number: int, first: dict[int, int], full: set[int]) -> bool:
        if first.get(id(x), number) >= number or id(x) not in full or x.operation == "load":
            return False
        if id(x) not in self.row_costs:
            self.row_costs[id(x)] = sum(1 for y in walk([x]) if id(y) in full)
        return self.row_costs[id(x)] >= KEEP_ROW_COST


def _typed(scalar: Scalar, dtype: DType, node: Node) -> Scalar:
    if scalar.dtype is not dtype:
        raise TypeError(f"{node.op.name}: the kernel gives {scalar.dtype.name} where the type rule says {dtype.name}")
    return scalar


def _walk_until(root: Scalar, stop: Any) -> list[Scalar]:
    """Scalars below root, operands first, not descending below those for which stop(x) holds."""
    order: list[Scalar] = []
    seen: set[int] = set()
    stack = [(root, False)]
    while stack:
        x, ready = stack.pop()
        if ready:
            order.append(x)
        elif id(x) not in seen:
            seen.add(id(x))
            stack.append((x, True))
            if not stop(x):
                stack.extend((o, False) for o in reversed(x.operands))
    return order
