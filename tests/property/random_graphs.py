"""Random graphs for hypothesis.

Every choice is a small integer that hypothesis draws, later choices depend on earlier ones, and 0 is always the
plainest choice, so
a failing graph shrinks to a few nodes. Arrays come from a drawn seed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from running import STATISTICS, Case

import graphflow.ops as ops
from graphflow.dtypes import DType, bfloat16, bool_, float16, float32, float64, int8, int32, int64, uint8
from graphflow.errors import GraphflowError
from graphflow.ir.builder import GraphBuilder
from graphflow.ir.dims import Dim, DimensionsMustAgree, SymbolicDim, product, symbol
from graphflow.ir.graph import Graph, Value
from graphflow.ir.op import Op
from graphflow.ir.source import Source
from graphflow.ir.types import TensorType, VariableType

__all__ = ["Maker", "cases"]

DTYPES = (float32, float32, float32, float64, int32, int64, bool_, int8, uint8, bfloat16, float16)
EXTENTS = (2, 7, 17, 1, 0, 64, 130, 3)
LARGE = (1000, 4100, 8200, 16500)
"""Extents past one chunk of a map (4096), past one and two blocks of a reduction (8192)."""
MOST_ELEMENTS = 40_000

FLOAT_UNARY = (
    ops.negative, ops.absolute, ops.exp, ops.square, ops.tanh, ops.sqrt, ops.relu, ops.sign,
    ops.floor, ops.log, ops.reciprocal, ops.round_, ops.sigmoid,
)  # fmt: skip
INTEGER_UNARY = (ops.negative, ops.absolute, ops.square, ops.sign, ops.bitwise_invert)
FLOAT_BINARY = (ops.add, ops.multiply, ops.subtract, ops.divide, ops.maximum, ops.minimum, ops.squared_difference)
INTEGER_BINARY = (ops.add, ops.multiply, ops.subtract, ops.maximum, ops.minimum, ops.bitwise_and, ops.bitwise_xor)
DIVISIONS = (ops.floordiv, ops.floormod, ops.truncatediv, ops.truncatemod)
BOOL_BINARY = (ops.logical_and, ops.logical_or, ops.logical_xor)
COMPARISONS = (ops.less, ops.greater_equal, ops.equal, ops.not_equal)
REDUCTIONS = (ops.reduce_sum, ops.reduce_max, ops.reduce_min, ops.reduce_prod)


class Maker:
    """Adds random nodes to a graph. A method that finds no fitting operands adds nothing."""

    def __init__(self, draw: Callable[[Any], Any], symbolic: bool, fallible: bool) -> None:
        self.draw, self.symbolic, self.fallible = draw, symbolic, fallible
        self.builder = GraphBuilder("random")
        self.values: list[Value] = []
        self.held: dict[Value, Value] = {}  # variable -> the value that it holds, where one was read or written
        self.symbols = [symbol("m"), symbol("n")][: 1 + self.number(1)] if symbolic else []
        count = 1 + self.number(2)
        self.extents: list[Dim] = [*self.symbols, *(self.choose(EXTENTS) for _ in range(count))]
        self.large = not symbolic and self.number(7) == 7
        if self.large:
            self.extents.append(self.choose(LARGE))
        self.lines = itertools.count(1)  # makers of sub-graphs count on

    # Choices
    # ---------------------------------------------------------------------------------------------------------------
    def number(self, most: int) -> int:
        return self.draw(st.integers(0, most))

    def choose(self, options: Any) -> Any:
        return options[self.number(len(options) - 1)]

    def pick(self, accept: Callable[[Value], bool] = lambda v: True) -> Value | None:
        """One of the values, rather a late one, so that graphs get deep."""
        fitting = [v for v in reversed(self.values) if accept(v)]
        return fitting[min(self.number(len(fitting) - 1), self.number(len(fitting) - 1))] if fitting else None

    def shape(self, most: int = 3) -> tuple[Dim, ...]:
        rank = (1, 2, 2, 3, 0, 4)[self.number(5)]
        shape: list[Dim] = []
        for _ in range(min(rank, most)):
            options = [d for d in (*self.extents, 1) if self.fits((*shape, d))]
            shape.append(self.choose(options or [1]))
        return tuple(shape)

    def fits(self, shape: tuple[Dim, ...]) -> bool:
        size = product(d if isinstance(d, int) else 20 for d in shape)
        return isinstance(size, int) and size <= MOST_ELEMENTS

    # Nodes
    # -----------------------------------------------------------------------------------------------------------------
    def source(self) -> Source:
        """Every node has a line of its own."""
        line = next(self.lines)
        return Source("/user/random.py", line, 0, f"step {line}")

    def add(self, op: Op, inputs: list[Value], **attributes: Any) -> Value | None:
        """Add a node; None, and no node, if its type rule refuses the operands (or there is none of them) or it would be too large."""
        if any(v is None for v in inputs):
            return None
        source, count = self.source(), len(self.builder.nodes)
        try:
            outputs = self.builder.add(op, inputs, attributes, source)
        except (GraphflowError, DimensionsMustAgree):
            del self.builder.nodes[count:]
            return None
        if any(not self.fits(v.type.shape) for v in outputs):
            del self.builder.nodes[count:]
            return None
        STATISTICS[f"op {op.name}"] += 1
        self.values.extend(outputs)
        return outputs[0] if outputs else None

    def constant(self, dtype: DType, shape: tuple[int, ...] = ()) -> Value:
        values = {"float": (0.5, 0.0, 1.0, -2.0, 3.25, -0.0, np.inf), "bool": (True, False)}.get(
            dtype.kind, (2, 0, 1, 3)
        )
        array = np.resize(np.array([self.choose(values), *values]), shape).astype(dtype.numpy)
        array.setflags(write=False)
        value = self.add(ops.constant, [], value=array)
        assert value is not None
        self.values.remove(value)  # only for the node it is made for
        return value

    def inputs(self) -> None:
        for k in range(1 + self.number(3)):
            self.values.append(self.builder.input(f"x{k}", TensorType(self.choose(DTYPES), self.shape())))
        for k in range((0, 0, 1, 2)[self.number(3)]):
            same = self.held and self.number(2) == 1  # often alike, so that values can be swapped
            like = next(iter(self.held)).type if same else TensorType(self.choose(DTYPES), self.shape())
            self.held[self.builder.input(f"w{k}", VariableType(like.dtype, like.shape))] = None  # type: ignore[assignment]
        if not self.symbolic:
            return
        known = {
            name for v in self.builder.inputs for d in v.type.shape if isinstance(d, SymbolicDim) for name in [str(d)]
        }
        self.symbols = [s for s in self.symbols if str(s) in known]
        self.extents = [d for d in self.extents if isinstance(d, int) or str(d) in known] or [2]

    def step(self) -> None:
        choices = [
            self.unary, self.binary, self.binary, self.reduction, self.view, self.compare, self.select, self.cast,
            self.reshape, self.softmax, self.matmul, self.gather, self.concat, self.normalize, self.variable,
            self.argument, self.generate, self.variable,
        ]  # fmt: skip
        if self.fallible:
            choices += [self.show, self.show, self.claim]
        self.choose(choices)()

    def unary(self) -> None:
        x = self.pick()
        if x is None:
            return
        if x.type.dtype.is_floating:
            self.add(self.choose(FLOAT_UNARY), [x])
        elif x.type.dtype.is_bool:
            self.add(ops.logical_not, [x])
        else:
            self.add(self.choose(INTEGER_UNARY), [x])

    def partner(self, x: Value) -> Value:
        """Something of x's dtype that broadcasts with it: another value, x itself, or a scalar constant."""
        other = self.pick(
            lambda v: v.type.dtype is x.type.dtype and v is not x and broadcasts(v.type.shape, x.type.shape)
        )
        if other is None or self.number(5) == 5:
            return self.constant(x.type.dtype) if self.number(4) else x
        return other

    def binary(self) -> None:
        x = self.pick()
        if x is None:
            return
        dtype = x.type.dtype
        table = FLOAT_BINARY if dtype.is_floating else BOOL_BINARY if dtype.is_bool else INTEGER_BINARY
        if self.fallible and dtype.is_integer and self.number(1):
            table = DIVISIONS
        y = self.partner(x)
        self.add(self.choose(table), [x, y] if self.number(1) == 0 else [y, x])

    def compare(self) -> None:
        x = self.pick(lambda v: not v.type.dtype.is_bool)
        if x is not None:
            self.add(self.choose(COMPARISONS), [x, self.partner(x)])

    def select(self) -> None:
        x = self.pick()
        if x is None:
            return
        condition = self.pick(lambda v: v.type.dtype.is_bool and broadcasts(v.type.shape, x.type.shape))
        if condition is None:
            condition = (
                self.constant(bool_)
                if x.type.dtype.is_bool
                else self.add(self.choose(COMPARISONS), [x, self.partner(x)])
            )
        if condition is not None:
            self.add(ops.select, [condition, x, self.partner(x)])

    def cast(self) -> None:
        x = self.pick()
        if x is not None:
            self.add(ops.cast, [x], dtype=self.choose(DTYPES))

    def axes(self, rank: int) -> tuple[int, ...]:
        if self.number(1) == 0:
            return (rank - 1 - self.number(rank - 1),)
        return tuple(a for a in range(rank) if self.number(1) == 0) or tuple(range(rank))

    def reduction(self) -> None:
        x = self.pick(lambda v: v.type.rank > 0)
        if x is None:
            return
        table = (ops.reduce_any, ops.reduce_all) if x.type.dtype.is_bool else REDUCTIONS
        self.add(self.choose(table), [x], axes=self.axes(x.type.rank), keepdims=bool(self.number(1)))

    def argument(self) -> None:
        x = self.pick(lambda v: v.type.rank > 0 and not v.type.dtype.is_bool)
        if x is None:
            return
        axis = self.number(x.type.rank - 1)
        if isinstance(x.type.shape[axis], int):  # an empty axis has no position, and a symbolic one may be empty
            self.add(self.choose((ops.argmax, ops.argmin)), [x], axis=axis, output_type=self.choose((int64, int32)))

    def softmax(self) -> None:
        x = self.pick(lambda v: v.type.rank > 0 and v.type.dtype.is_floating)
        if x is None:
            return
        axes = self.axes(x.type.rank)
        largest = self.add(ops.reduce_max, [x], axes=axes, keepdims=True)
        e = self.add(ops.exp, [self.add(ops.subtract, [x, largest])])
        self.add(ops.divide, [e, self.add(ops.reduce_sum, [e], axes=axes, keepdims=True)])

    def normalize(self) -> None:
        """The heart of a layer norm, without and with a use of the centred values."""
        x = self.pick(lambda v: v.type.rank > 0 and v.type.dtype.is_floating)
        if x is None:
            return
        axes = self.axes(x.type.rank)
        centred = self.add(ops.subtract, [x, self.add(ops.reduce_sum, [x], axes=axes, keepdims=True)])
        spread = self.add(ops.reduce_sum, [self.add(ops.square, [centred])], axes=axes, keepdims=True)
        result = self.add(ops.multiply, [centred, self.add(ops.reciprocal, [self.add(ops.sqrt, [spread])])])
        if result is not None and self.number(1):
            self.add(ops.multiply, [result, self.partner(result)])

    def view(self) -> None:
        x = self.pick(lambda v: v.type.rank > 0)
        if x is None:
            return
        rank, shape = x.type.rank, x.type.shape
        kind = self.number(4)
        if kind == 0:
            order = list(range(rank))
            for k in range(rank - 1, 0, -1):
                j = self.number(k)
                order[k], order[j] = order[j], order[k]
            self.add(ops.transpose, [x], permutation=tuple(order))
        elif kind == 1:
            self.add(ops.reverse, [x], axes=self.axes(rank))
        elif kind == 2:
            lead = self.shape(most=4 - rank) if rank < 4 and self.number(1) else ()
            target = tuple(self.choose(self.extents) if d == 1 and self.number(1) else d for d in shape)
            self.add(ops.broadcast_to, [x], shape=(*lead, *target))
        else:
            begin: list[Dim] = []
            sizes: list[Dim] = []
            strides: list[int] = []
            for d in shape:
                first, size, stride = self.part(d)
                begin.append(first)
                sizes.append(size)
                strides.append(stride)
            self.add(ops.strided_slice, [x], begin=tuple(begin), sizes=tuple(sizes), strides=tuple(strides))

    def part(self, extent: Dim) -> tuple[Dim, Dim, int]:
        """(begin, size, stride) inside an axis."""
        if not isinstance(extent, int) or extent == 0:
            return (0, extent, 1) if self.number(1) == 0 else (extent - 1, extent, -1)
        kind = self.number(3)
        if kind == 0:
            return 0, extent, 1
        stride = (1, 2, -1, -3)[self.number(3)]
        first = self.number(extent - 1)
        most = (extent - 1 - first) // stride + 1 if stride > 0 else first // -stride + 1
        return first, self.number(most), stride

    def show(self) -> None:
        """Print a value, or nothing."""
        x = self.pick(lambda v: not v.type.dtype.is_narrow)
        operands = [x] if x is not None and self.number(2) == 0 else []
        self.add(ops.print_, operands, template=f"print {self.number(9)}" + " {}" * len(operands))

    def claim(self) -> None:
        """Assert what may be false."""
        condition = self.pick(lambda v: v.type.dtype.is_bool)
        if condition is None:
            x = self.pick(lambda v: not v.type.dtype.is_bool and not v.type.dtype.is_complex)
            condition = None if x is None else self.add(ops.not_equal, [x, self.constant(x.type.dtype)])
        if condition is not None:
            self.add(ops.assert_true, [condition], message="claimed")

    def reshape(self) -> None:
        x = self.pick()
        if x is None:
            return
        shape = x.type.shape
        kind = self.number(3)
        target: tuple[Dim, ...] = (product(shape),)
        if kind == 1:
            place = self.number(len(shape))
            target = (*shape[:place], 1, *shape[place:])
        elif kind == 2:
            target = tuple(d for d in shape if d != 1)
        elif kind == 3 and shape:
            axis = self.number(len(shape) - 1)
            own = shape[axis]
            factor = next((f for f in (2, 7, 5, 13) if isinstance(own, int) and own and own % f == 0), 1)
            target = (*shape[:axis], factor, own // factor, *shape[axis + 1 :])
        if len(target) <= 5:
            self.add(ops.reshape, [x], shape=target)

    def matmul(self) -> None:
        a = self.pick(lambda v: v.type.rank >= 2 and not v.type.dtype.is_bool)
        if a is None:
            return
        dtype, sizes = a.type.dtype, set(a.type.shape[-2:])
        b = self.pick(lambda v: v.type.rank >= 2 and v.type.dtype is dtype and bool(sizes & set(v.type.shape[-2:])))
        if b is None:
            return
        both = (False, True)
        inner = {t: (a.type.shape[-2 if t else -1], b.type.shape[-1 if t else -2]) for t in both}
        ta, tb = self.choose([(ta, tb) for ta in both for tb in both if inner[ta][0] == inner[tb][1]])
        self.add(ops.matmul, [a, b], transpose_a=ta, transpose_b=tb)

    def gather(self) -> None:
        x = self.pick(lambda v: v.type.rank > 0)
        indices = self.pick(lambda v: v.type.dtype in (int32, int64) and v.type.rank <= 2)
        if x is None:
            return
        axis = self.number(x.type.rank - 1)
        extent = x.type.shape[axis]
        if indices is None or not self.fallible or self.number(1):
            if not isinstance(extent, int) or extent == 0:
                return
            array = np.array([self.number(extent - 1) for _ in range(3)], np.int32)
            array.setflags(write=False)
            indices = self.add(ops.constant, [], value=array)
        kind, of_indices = self.number(3), indices.type
        if kind == 1 and of_indices.rank == 1:
            rows = self.pick(lambda v: v.type.shape[:1] == of_indices.shape and not v.type.dtype.is_bool)
            if rows is not None:
                count = 14 if self.number(1) else extent
                self.add(ops.scatter_add, [indices, rows], shape=(count, *rows.type.shape[1:]))
        elif kind == 2:
            yes, no = self.constant(x.type.dtype), self.constant(x.type.dtype)
            self.add(ops.one_hot, [indices, yes, no], depth=extent, axis=self.number(of_indices.rank))
        elif kind == 3 and of_indices.rank and isinstance(of_indices.shape[-1], int):
            self.add(ops.gather_nd, [x, indices], depth=of_indices.shape[-1])
        else:
            self.add(ops.gather, [x, indices], axis=axis, batch_dims=0)

    def concat(self) -> None:
        x = self.pick(lambda v: v.type.rank > 0)
        if x is None:
            return
        axis = self.number(x.type.rank - 1)

        def alike(v: Value) -> bool:
            rest = [(a, b) for k, (a, b) in enumerate(zip(v.type.shape, x.type.shape, strict=False)) if k != axis]
            return v.type.dtype is x.type.dtype and v.type.rank == x.type.rank and all(a == b for a, b in rest)

        self.add(ops.concat, [x, *(self.pick(alike) or x for _ in range(1 + self.number(1)))], axis=axis)

    def generate(self) -> None:
        """A constant tensor, or positions, or a padded tensor."""
        kind = self.number(2)
        if kind == 0:
            shape = self.shape(most=2)
            if all(isinstance(d, int) for d in shape):
                self.values.append(self.constant(self.choose(DTYPES), shape))  # type: ignore[arg-type]
        elif kind == 1:
            shape = self.shape()
            if shape:
                self.add(
                    ops.iota,
                    [],
                    shape=shape,
                    axis=self.number(len(shape) - 1),
                    dtype=self.choose((int32, float32, int64)),
                )
        else:
            x = self.pick(lambda v: v.type.rank > 0 and v.type.dtype.is_floating)
            if x is not None:
                paddings = tuple((self.number(2), self.number(1)) for _ in range(x.type.rank))
                self.add(ops.pad, [x], paddings=paddings, mode="constant", constant=1.5)

    def variable(self) -> None:
        """Read a variable, or assign to it: a value of its type, of its type after a reshape, or what another variable
        holds."""
        if not self.held:
            self.unary()
            return
        variable = self.choose(list(self.held))
        if self.number(2) == 0:
            self.held[variable] = self.add(ops.read_variable, [variable])
            return
        of_type = variable.type
        value = self.pick(lambda v: v.type.dtype is of_type.dtype and v.type.shape == of_type.shape)
        if value is None or self.number(2) == 2:
            large = self.pick(lambda v: v.type.dtype is of_type.dtype and v.type.elements == of_type.elements)
            if large is not None:
                value = self.add(ops.reshape, [large], shape=of_type.shape)
        if value is None:
            read = self.add(ops.read_variable, [variable])
            value = self.add(ops.negative if not of_type.dtype.is_bool else ops.logical_not, [read])
        self.add(ops.assign_variable, [variable, value])
        STATISTICS["assigns"] += 1

    def finish(self) -> Graph:
        """Some of the values as outputs, not only the last: inputs, aliases and constants too, one perhaps twice."""
        outputs = [v for v in self.values if v.producer is not None and v not in used(self.builder)][-4:]
        for _ in range(self.number(2)):
            extra = self.pick()
            if extra is not None:
                outputs.append(extra)
        if not outputs:
            outputs = self.values[-1:]
        STATISTICS["outputs"] += len(outputs)
        return self.builder.finish(outputs)


def used(builder: GraphBuilder) -> set[Value]:
    return {v for node in builder.nodes for v in node.inputs}


def broadcasts(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> bool:
    return all(x == y or x == 1 or y == 1 for x, y in zip(reversed(a), reversed(b), strict=False))


@st.composite
def cases(draw: Any, symbolic: bool = False, fallible: bool = False, most_steps: int = 9) -> Case:
    """A random graph with inputs for it. symbolic: extents are symbols, and there are several sets of extents, 0 and 1
    among them.
    fallible: integer divisions and gathers that may fail at run time."""
    maker = Maker(draw, symbolic, fallible)
    maker.inputs()
    for _ in range(1 + maker.number(most_steps - 1)):
        maker.step()
    graph = maker.finish()
    extents = [{}]
    if symbolic:
        names = graph.symbols
        choices = [[0, 1, 5], [1, 0, 18], [33, 70, 2]] if len(names) > 1 else [[0], [1], [23]]
        extents = [dict(zip(names, chosen, strict=False)) for chosen in choices]
    STATISTICS["graphs"] += 1
    STATISTICS["nodes"] += len(graph.nodes)
    return Case(graph, extents, maker.number(999))
