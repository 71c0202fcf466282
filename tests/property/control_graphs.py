"""Random graphs with branches, loops and shared functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from random_graphs import Maker
from running import STATISTICS, Case

import graphflow.ops as ops
from graphflow.dtypes import bool_, int32
from graphflow.ir.builder import GraphBuilder
from graphflow.ir.dims import SymbolicDim, symbol
from graphflow.ir.graph import Value
from graphflow.ir.op import Op
from graphflow.ir.types import TensorType
from graphflow.ops.control import call_results, switch_results, while_results

__all__ = ["control_cases"]

MOST_OPERANDS = 4
MOST_ITERATIONS = 4


class ControlMaker(Maker):
    """A maker that also adds `switch`, `while` and `call` nodes, some of them inside each other."""

    depth = 2
    names = 0

    def step(self) -> None:
        if self.depth and self.number(2) == 1:
            self.choose([self.branches, self.loop, self.loop, self.function])()
        else:
            super().step()

    def inside(self, name: str, types: list[TensorType]) -> ControlMaker:
        """A maker of a sub-graph with these inputs."""
        inner = ControlMaker.__new__(ControlMaker)
        inner.__dict__.update(self.__dict__)
        inner.builder, inner.values, inner.held, inner.depth = GraphBuilder(name), [], {}, self.depth - 1
        inner.values = [inner.builder.input(f"a{k}", t) for k, t in enumerate(types)]
        return inner

    def fill(self) -> None:
        for _ in range(self.number(4)):
            self.step()

    def operands(self) -> list[Value]:
        return [v for v in (self.pick() for _ in range(1 + self.number(MOST_OPERANDS - 1))) if v is not None]

    def new_name(self, letter: str) -> str:
        ControlMaker.names += 1
        return f"{letter}{ControlMaker.names}"

    def node(self, op: Op, inputs: list[Value], results: Any, **attributes: Any) -> None:
        """Add a control node; results(fresh) finds out how many run-time extents it has."""
        extents: list[str] = []

        def fresh() -> Any:
            extents.append(self.new_name("u"))
            return symbol(extents[-1])

        results(fresh)
        self.add(op, inputs, **attributes, extents=tuple(extents))

    def scalar(self, dtype: Any) -> Value | None:
        return self.pick(lambda v: v.type.dtype is dtype and v.type.rank == 0)

    def branches(self) -> None:
        operands = self.operands()
        count = 1 + self.number(2)
        index = (self.scalar(bool_) if count == 2 else None) or self.scalar(int32)
        if index is None or self.number(3) == 3:
            index = self.constant(int32)
        if not operands:
            return
        makers = []
        for number in range(count):
            inner = self.inside(f"branch{number}", [v.type for v in operands])
            inner.fill()
            makers.append(inner)
        outputs: list[list[Value]] = [[] for _ in makers]
        for _ in range(1 + self.number(2)):
            like = makers[0].pick()
            assert like is not None
            column = [like]
            for inner in makers[1:]:
                found = inner.pick(lambda v, like=like: alike(v, like))
                if found is None:
                    break
                column.append(found)
            if len(column) == len(makers):
                for own, value in zip(outputs, column, strict=True):
                    own.append(value)
        graphs = tuple(inner.builder.finish(own) for inner, own in zip(makers, outputs, strict=True))
        self.node(ops.switch, [index, *operands], lambda fresh: switch_results(graphs, fresh), branches=graphs)

    def loop(self) -> None:
        carried, fixed = self.operands(), self.operands()
        count = self.scalar(int32) if self.number(1) else None
        start = self.constant(int32)
        limit = self.number(MOST_ITERATIONS)
        counter = TensorType(int32, ())
        operands = [start, *carried, *([count] if count is not None else fixed)]
        types = [counter, *(v.type for v in operands[1:])]
        if self.symbolic and self.number(1):
            types = [self.changing(t, k) if 0 < k <= len(carried) else t for k, t in enumerate(types)]
        condition = self.inside("condition", types)
        number = condition.builder.inputs[0]
        bound = condition.add(ops.constant, [], value=np.array(limit, np.int32))
        keep = condition.add(ops.less, [number, bound])
        if count is not None:
            keep = condition.add(
                ops.logical_and, [keep, condition.add(ops.less, [number, condition.builder.inputs[-1]])]
            )
        body = self.inside("body", types)
        number = body.builder.inputs[0]
        body.fill()
        outputs = [body.add(ops.add, [number, body.add(ops.constant, [], value=np.array(1, np.int32))])]
        for value in body.builder.inputs[1 : 1 + len(carried)]:
            outputs.append(body.pick(lambda v, value=value: v.type == value.type and self.number(1) == 0) or value)
        assert keep is not None
        graphs = condition.builder.finish([keep]), body.builder.finish(outputs)
        inputs = tuple(v.type for v in operands)
        self.node(
            ops.while_, operands, lambda fresh: while_results(inputs, graphs[1], len(outputs), fresh),
            condition=graphs[0], body=graphs[1], carried=len(outputs),
        )  # fmt: skip

    def changing(self, type: TensorType, k: int) -> TensorType:
        """The type with a symbol of the body's own for an extent that is a symbol."""
        if type.rank and isinstance(type.shape[0], SymbolicDim):
            return type.with_shape((symbol(self.new_name("k")), *type.shape[1:]))
        return type

    def function(self) -> None:
        """Two calls of one function."""
        operands = self.operands()
        if not operands:
            return
        inner = self.inside("function", [v.type for v in operands])
        inner.fill()
        graph = inner.builder.finish([v for v in (inner.pick() for _ in range(1 + self.number(1))) if v is not None])
        for _ in range(2):
            others = [self.pick(lambda v, own=own: v.type == own.type) or own for own in operands]
            self.node(ops.call, others, lambda fresh: call_results(graph, fresh), function=graph)


def alike(value: Value, other: Value) -> bool:
    """Can they be the same result of two branches?"""
    return value.type.dtype is other.type.dtype and value.type.rank == other.type.rank


@st.composite
def control_cases(draw: Any, symbolic: bool = False, fallible: bool = False, most_steps: int = 8) -> Case:
    """A random graph with control flow. symbolic, fallible: as in `cases`."""
    maker = ControlMaker(draw, symbolic, fallible)
    maker.inputs()
    for _ in range(1 + maker.number(most_steps - 1)):
        maker.step()
    graph = maker.finish()
    extents: list[dict[str, int]] = [{}]
    if symbolic:
        extents = [dict(zip(graph.symbols, chosen, strict=False)) for chosen in ([0, 1], [1, 0], [7, 5])]
    STATISTICS["graphs"] += 1
    STATISTICS["nodes"] += len(graph.nodes)
    return Case(graph, extents, maker.number(999))
