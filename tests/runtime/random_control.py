"""Random graphs with nested control flow: scalars and arrays through branches, loops, shared functions, rows changed in place."""

from __future__ import annotations

import random

import numpy as np

from graphflow.dtypes import bool_, float32, int32
from graphflow.ir.builder import GraphBuilder
from graphflow.ir.dims import symbol
from graphflow.ir.op import OPS
from graphflow.ir.source import Source
from graphflow.ir.types import TensorType
from graphflow.ops.control import switch_results

SCALAR, INTEGER, FLAG = TensorType(float32, ()), TensorType(int32, ()), TensorType(bool_, ())
ROW, MATRIX = TensorType(float32, (4,)), TensorType(float32, (4, 4))
PLACE = Source("random.py", 1, 0, "")


class RandomGraph:
    """Draws a graph. grown: carried arrays may change their first extent, so that extents are known at run time only."""

    def __init__(self, seed: int, grown: bool) -> None:
        self.random = random.Random(seed)
        self.grown = grown
        self.names = 0
        self.functions = []
        self.size = (3, 6)

    def graph(self):
        builder = GraphBuilder("random")
        values = [builder.input(f"x{k}", t) for k, t in enumerate((SCALAR, INTEGER, ROW, ROW, MATRIX, MATRIX))]
        if self.grown:
            values.append(builder.input("g", TensorType(float32, (symbol("n"), 4))))
        self.fill(builder, values, *self.size)
        count = self.random.randint(1, 4)
        outputs = [self.random.choice(values[6:]) for _ in range(count)] if len(values) > 6 else values[:1]
        return builder.finish(outputs)

    def arrays(self):
        numbers = np.random.default_rng(self.random.randint(0, 1 << 30))
        shapes = [(), None, (4,), (4,), (4, 4), (4, 4), *([(self.random.randint(0, 3), 4)] if self.grown else [])]
        return [
            np.array(self.random.randint(0, 5), np.int32) if s is None else numbers.normal(size=s).astype(np.float32)
            for s in shapes
        ]

    # Nodes
    def fill(self, builder, values, depth, count):
        """Append some nodes; their results join the values."""
        for _ in range(count):
            kinds = ["scalar", "scalar", "array", "array", "array", "row", "row", "constant"]
            kinds += ["while", "while", "switch", "switch", "call"] * (depth > 0) + ["grow"] * self.grown
            getattr(self, "make_" + self.random.choice(kinds))(builder, values, depth)

    def pick(self, values, wanted):
        found = [v for v in values if v.type == wanted]
        return self.random.choice(found) if found else None

    def add(self, builder, op, inputs, **attributes):
        return builder.add(OPS[op], inputs, attributes, PLACE)

    def constant(self, builder, array):
        array = np.array(array)
        array.flags.writeable = False
        return self.add(builder, "constant", [], value=array)[0]

    def make_constant(self, builder, values, depth):
        shape = self.random.choice([(), (4,), (4, 4)])
        values.append(self.constant(builder, np.full(shape, self.random.choice([0.5, -1.0, 2.0]), np.float32)))

    def make_scalar(self, builder, values, depth):
        if self.random.random() < 0.4:
            x = self.index(builder, values)
            y = self.constant(builder, np.int32(self.random.randint(1, 3)))
            op = self.random.choice(["add", "multiply", "floordiv", "subtract"])
            values.append(self.add(builder, op, [x, y])[0])
        elif (x := self.pick(values, SCALAR)) is not None:
            op = self.random.choice(["add", "multiply", "maximum"])
            values.append(self.add(builder, op, [x, self.pick(values, SCALAR)])[0])
        elif (row := self.pick(values, ROW)) is not None:
            values.append(self.add(builder, "reduce_sum", [row], axes=(0,))[0])
        else:
            self.make_constant(builder, values, depth)

    def index(self, builder, values):
        """An int32, usually from 0 to 3."""
        x = self.pick(values, INTEGER)
        if x is None or self.random.random() < 0.3:
            return self.constant(builder, np.int32(self.random.randint(0, 3)))
        if self.random.random() < 0.02:
            return x
        return self.add(builder, "floormod", [x, self.constant(builder, np.int32(4))])[0]

    def make_array(self, builder, values, depth):
        wanted = self.random.choice([ROW, MATRIX])
        x, y = self.pick(values, wanted), self.pick(values, self.random.choice([wanted, wanted, SCALAR]))
        if x is None:
            return
        choice = self.random.random()
        if choice < 0.15:
            result = self.add(builder, "reverse", [x], axes=(0,))
        elif choice < 0.3 and wanted is MATRIX:
            result = self.add(builder, "matmul", [x, self.pick(values, MATRIX)], transpose_a=False, transpose_b=False)
        elif choice < 0.4 and wanted is MATRIX:
            result = self.add(builder, "reshape", [self.pick(values, MATRIX)], shape=(4, 4))
        elif choice < 0.5:
            result = self.add(builder, "negative", [x])
        else:
            result = self.add(builder, self.random.choice(["add", "maximum", "subtract"]), [x, y if y else x])
        values.extend(result)

    def make_row(self, builder, values, depth):
        """A row or element read, replaced or added to."""
        array = self.pick(values, self.random.choice([ROW, MATRIX]))
        if array is None:
            return
        inner = ROW if array.type is MATRIX or array.type == MATRIX else SCALAR
        row, place = self.pick(values, inner), self.index(builder, values)
        if row is None or self.random.random() < 0.3:
            values.append(self.add(builder, "gather", [array, place], axis=0)[0])
        else:
            op = self.random.choice(["update_row", "scatter_add_into"])
            values.append(self.add(builder, op, [array, place, row])[0])

    def make_grow(self, builder, values, depth):
        found = [v for v in values if v.type.rank == 2 and not isinstance(v.type.shape[0], int)]
        row = self.pick(values, ROW)
        if not found:
            return
        array = self.random.choice(found)
        choice = self.random.random()
        if choice < 0.5 and row is not None:
            values.append(self.add(builder, "append_row", [array, row])[0])
        elif choice < 0.7:
            values.append(self.add(builder, "negative", [array])[0])
        elif choice < 0.85:
            values.append(self.add(builder, "add", [array, array])[0])
        else:
            values.append(self.add(builder, "reduce_sum", [array], axes=(0,))[0])

    # Sub-graphs
    def operands(self, values, most):
        return [self.random.choice(values) for _ in range(self.random.randint(1, most))]

    def new_name(self, letter):
        self.names += 1
        return f"{letter}{self.names}"

    def inner(self, types, name):
        builder = GraphBuilder(name)
        return builder, [builder.input(f"a{k}", t) for k, t in enumerate(types)]

    def make_switch(self, builder, values, depth):
        if self.random.random() < 0.5:
            x, limit = self.index(builder, values), self.constant(builder, np.int32(2))
            choose = self.add(builder, "less", [x, limit])[0]
            count = 2
        else:
            choose, count = self.index(builder, values), self.random.randint(1, 3)
        operands = self.operands(values, 5)
        types = [v.type for v in operands]
        branches, results = [], []
        for number in range(count):
            inside, own = self.inner(types, f"branch{number}")
            self.fill(inside, own, depth - 1, self.random.randint(0, 4))
            branches.append((inside, own))
        shared = [t for t in dict.fromkeys(v.type for v in branches[0][1]) if all(
            any(v.type.rank == t.rank and v.type.dtype is t.dtype and (v.type == t or self.is_grown(t) and self.is_grown(v.type))
                for v in own) for _, own in branches)]  # fmt: skip
        wanted = [self.random.choice(shared) for _ in range(self.random.randint(1, 3))] if shared else []
        graphs = []
        for inside, own in branches:
            results = [
                self.random.choice([v for v in own if v.type == t or self.is_grown(t) and self.is_grown(v.type)])
                for t in wanted
            ]
            graphs.append(inside.finish(results))
        extents = []
        switch_results(graphs, lambda: symbol(extents.append(self.new_name("u")) or extents[-1]))
        values.extend(self.add(builder, "switch", [choose, *operands], branches=tuple(graphs), extents=tuple(extents)))

    @staticmethod
    def is_grown(t):
        return t.rank == 2 and not isinstance(t.shape[0], int)

    def make_while(self, builder, values, depth):
        carried = self.operands(values, 4)
        fixed = self.operands(values, 3)
        zero, limit = self.constant(builder, np.int32(0)), self.index(builder, values)
        types, extents = [INTEGER], ()
        for value in carried:
            if self.is_grown(value.type):
                types.append(TensorType(float32, (symbol(self.new_name("k")), 4)))
                extents = (*extents, self.new_name("u"))
            else:
                types.append(value.type)
        types += [INTEGER, *(v.type for v in fixed)]
        count = len(carried) + 1
        condition, own = self.inner(types, "condition")
        going = self.add(condition, "less", [own[0], own[count]])[0]
        body, mine = self.inner(types, "body")
        following = self.add(body, "add", [mine[0], self.constant(body, np.int32(1))])[0]
        inputs = list(mine)
        self.fill(body, mine, depth - 1, self.random.randint(1, 5))
        results = [following]
        for t, own_input in zip(types[1:count], inputs[1:], strict=False):
            fresh = [v for v in mine if v not in inputs]
            pool = fresh if fresh and self.random.random() < 0.7 else mine
            fitting = [v for v in pool if v.type == t or self.is_grown(t) and self.is_grown(v.type)]
            results.append(self.random.choice(fitting) if fitting else own_input)
        values.extend(
            self.add(
                builder, "while", [zero, *carried, limit, *fixed],
                condition=condition.finish([going]), body=body.finish(results), carried=count, extents=extents,
            )
        )  # fmt: skip

    def make_call(self, builder, values, depth):
        fitting = [f for f in self.functions if all(self.pick(values, v.type) is not None for v in f.inputs)]
        if not fitting or self.random.random() < 0.5:
            operands = [v for v in self.operands(values, 3) if not self.is_grown(v.type)]
            if not operands:
                return
            inside, own = self.inner([v.type for v in operands], "function")
            grown, self.grown = self.grown, False
            self.fill(inside, own, depth - 1, self.random.randint(1, 4))
            self.grown = grown
            function = inside.finish([self.random.choice(own) for _ in range(self.random.randint(1, 2))])
            self.functions.append(function)
        else:
            function = self.random.choice(fitting)
            operands = [self.pick(values, v.type) for v in function.inputs]
        values.extend(self.add(builder, "call", operands, function=function))
