"""Every op in random company: an op's own samples as its operands and attributes, which random nodes make from other arrays, and random
nodes behind its results.

What stands before an operand gives exactly the sample's array (the input of a `negative` is the negated array), so that matrices stay
positive definite and indices inside; the record alone says what an op takes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from random_graphs import Maker
from running import STATISTICS, Case

import graphflow.ops as ops
from graphflow.dtypes import DType, bool_, float32, float64, int32, int64, of_numpy, uint8
from graphflow.errors import GraphflowError
from graphflow.ir.dims import Dim, DimensionsMustAgree, symbol
from graphflow.ir.graph import Value
from graphflow.ir.op import OPS, Op, Sample
from graphflow.ir.types import TensorType, VariableType

__all__ = ["SAMPLED", "Company", "company_cases", "fits", "random_case"]

Array = np.ndarray[Any, Any]

SAMPLED = [op for op in OPS.values() if op.samples is not None]
MOST_SAMPLE_ELEMENTS = 5000


def fits(op: Op, sample: Sample) -> bool:
    """Does the type rule take the sample? Then it may still fail at run time."""
    arrays = sample.arrays
    if not all(isinstance(a, np.ndarray) and a.dtype != object and a.size <= MOST_SAMPLE_ELEMENTS for a in arrays):
        return False
    try:
        types = operand_types(sample, [a.shape for a in arrays])
        op.result_types(types, {**op.attribute_defaults, **sample.attributes})
    except (GraphflowError, DimensionsMustAgree):
        return False
    return True


def operand_types(sample: Sample, shapes: Sequence[Sequence[Dim]]) -> tuple[TensorType, ...]:
    """Types of these shapes; a sample with a program has a variable first."""
    kinds = [VariableType if k == 0 and sample.program else TensorType for k in range(len(shapes))]
    dtypes = [of_numpy(a.dtype) for a in sample.arrays]
    return tuple(kind(dtype, tuple(s)) for kind, dtype, s in zip(kinds, dtypes, shapes, strict=True))


class Company(Maker):
    """Puts ops with their samples among random nodes."""

    def __init__(self, draw: Any, fallible: bool) -> None:
        super().__init__(draw, False, fallible)
        self.symbols_made, self.is_embedding = 0, False
        self.used: set[str] = set()  # names of run-time extents
        self.given: dict[Value, Array] = {}
        self.known: dict[str, int] = {}  # symbol -> extent
        self.results: list[Value] = []

    def array(self, array: Array, dims: Sequence[Dim]) -> Value:
        """A value that is this array at run time; its extents are `dims`. Random nodes make it from other arrays."""
        dtype = of_numpy(array.dtype)
        makers = [self.as_input]
        if self.number(2):
            makers += [self.by_inverse, self.by_view, self.by_choice, self.by_cast, self.by_rows, self.by_maximum]
            if all(isinstance(d, int) for d in dims):
                makers += [self.as_constant, self.by_part, self.by_concat, self.by_shape]
        value = self.choose(makers)(array, tuple(dims), dtype)
        return self.as_input(array, tuple(dims), dtype) if value is None else value

    def as_input(self, array: Array, dims: tuple[Dim, ...], dtype: DType) -> Value:
        if self.number(7) == 7:
            read = self.add(ops.read_variable, [self.variable_input(array, VariableType(dtype, dims))])
            assert read is not None
            return read
        value = self.builder.input("x", TensorType(dtype, dims))
        self.given[value] = array
        self.values.append(value)
        return value

    def variable_input(self, array: Array, type: VariableType) -> Value:
        variable = self.builder.input("w", type)
        self.given[variable] = array
        return variable

    def as_constant(self, array: Array, dims: tuple[Dim, ...], dtype: DType) -> Value | None:
        fixed = array.copy()
        fixed.setflags(write=False)
        return self.add(ops.constant, [], value=fixed)

    def by_inverse(self, array: Array, dims: tuple[Dim, ...], dtype: DType) -> Value | None:
        """An op that is its own inverse."""
        with np.errstate(all="ignore"):
            if dtype.is_bool:
                op, other = ops.logical_not, ~array
            elif dtype.is_integer and (dtype.is_unsigned or self.number(1)):
                op, other = ops.bitwise_invert, ~array
            elif dtype.is_complex and self.number(1):
                op, other = ops.conj, array.conj()
            else:
                op, other = ops.negative, -array
        return self.add(op, [self.array(np.asarray(other, array.dtype), dims)])

    def by_view(self, array: Array, dims: tuple[Dim, ...], dtype: DType) -> Value | None:
        rank = array.ndim
        if rank > 1 and self.number(1):
            order = list(range(rank))
            for k in range(rank - 1, 0, -1):
                j = self.number(k)
                order[k], order[j] = order[j], order[k]
            back = np.argsort(order)
            moved = np.ascontiguousarray(array.transpose(back))
            source = self.array(moved, [dims[k] for k in back])
            return self.add(ops.transpose, [source], permutation=tuple(order))
        if rank == 0:
            return None
        axes = self.axes(rank)
        return self.add(ops.reverse, [self.array(np.ascontiguousarray(np.flip(array, axes)), dims)], axes=axes)

    def by_choice(self, array: Array, dims: tuple[Dim, ...], dtype: DType) -> Value | None:
        """A select of two arrays, each of which has the other half."""
        mask, junk = self.generator.random(array.shape) < 0.5, np.roll(array, 1)
        yes, no = (np.asarray(np.where(m, array, junk), array.dtype) for m in (mask, ~mask))
        operands = [self.array(np.asarray(mask), dims), self.array(yes, dims), self.array(no, dims)]
        return self.add(ops.select, operands)

    def by_cast(self, array: Array, dims: tuple[Dim, ...], dtype: DType) -> Value | None:
        """From a wider dtype."""
        wider = {float32: float64, int32: int64, bool_: uint8}.get(dtype)
        if wider is None and dtype.is_integer and dtype.itemsize < 4:
            wider = int32
        if wider is None and dtype.is_narrow:
            wider = float32
        if wider is None:
            return None
        return self.add(ops.cast, [self.array(array.astype(wider.numpy), dims)], dtype=dtype)

    def by_rows(self, array: Array, dims: tuple[Dim, ...], dtype: DType) -> Value | None:
        """Looked up in an array with the same rows in another order."""
        if array.ndim == 0 or array.shape[0] == 0:
            return None
        order = self.generator.permutation(array.shape[0])
        table = np.empty_like(array)
        table[order] = array
        indices = self.array(order.astype(np.int32), dims[:1])
        return self.add(ops.gather, [self.array(table, dims), indices], axis=0)

    def by_maximum(self, array: Array, dims: tuple[Dim, ...], dtype: DType) -> Value | None:
        """The maximum over an axis along which nothing changes."""
        if dtype.is_bool or dtype.is_complex:
            return None
        twice = np.ascontiguousarray(np.stack([array, array], array.ndim))
        return self.add(ops.reduce_max, [self.array(twice, (*dims, 2))], axes=(array.ndim,), keepdims=False)

    def by_part(self, array: Array, dims: tuple[Dim, ...], dtype: DType) -> Value | None:
        """A part of a larger array, every other row perhaps."""
        stride = 1 + self.number(1)
        shape = [1 + stride * d for d in array.shape]
        large = np.resize(array if array.size else np.zeros(1, array.dtype), shape)
        large[tuple(slice(1, None, stride) for _ in shape)] = array
        return self.add(ops.strided_slice, [self.array(large, shape)], begin=(1,) * array.ndim, sizes=array.shape,
                        strides=(stride,) * array.ndim)  # fmt: skip

    def by_concat(self, array: Array, dims: tuple[Dim, ...], dtype: DType) -> Value | None:
        if array.ndim == 0:
            return None
        axis = self.number(array.ndim - 1)
        parts = np.split(array, [self.number(array.shape[axis])], axis)
        return self.add(ops.concat, [self.array(np.ascontiguousarray(p), p.shape) for p in parts], axis=axis)

    def by_shape(self, array: Array, dims: tuple[Dim, ...], dtype: DType) -> Value | None:
        flat = self.array(array.reshape(-1), (array.size,))
        return self.add(ops.reshape, [flat], shape=array.shape)

    def embed(self, op: Op, sample: Sample, symbolic: bool = False) -> list[Value]:
        """The op with the sample's operands and attributes; its results. symbolic: extents are symbols, where the type rule and the
        attributes allow it."""
        shapes: list[tuple[Dim, ...]] = [a.shape for a in sample.arrays]
        attributes = {**sample.attributes}
        names = set(attributes.get("extents", ()))
        if names & self.used:  # a run-time extent is defined once
            return []
        self.used |= names
        if symbolic:
            shapes = self.named(op, sample, attributes) or shapes
        count, self.is_embedding = len(self.builder.nodes), True
        types = operand_types(sample, shapes)
        operands = [
            self.variable_input(array, type_) if isinstance(type_, VariableType) else self.array(array, type_.shape)
            for array, type_ in zip(sample.arrays, types, strict=True)
        ]
        results = list(self.builder.add(op, operands, attributes, self.source()))
        STATISTICS[f"op {op.name}"] += 1
        STATISTICS["embeddings"] += 1
        STATISTICS["nodes around them"] += len(self.builder.nodes) - count - 1
        self.values += results
        self.results += results
        self.is_embedding = False
        return results

    def fits(self, shape: tuple[Dim, ...]) -> bool:
        """Samples are as large as they are."""
        return self.is_embedding or super().fits(shape)

    def new_symbol(self) -> str:
        self.symbols_made += 1
        return f"extent{self.symbols_made}"

    def named(self, op: Op, sample: Sample, attributes: dict[str, Any]) -> list[tuple[Dim, ...]] | None:
        """Shapes with a symbol for each extent; None where the type rule refuses them."""
        names: dict[int, str] = {}
        shapes: list[tuple[Dim, ...]] = []
        for array in sample.arrays:
            names.update((d, self.new_symbol()) for d in array.shape if d != 1 and d not in names)
            shapes.append(tuple(symbol(names[d]) if d != 1 else 1 for d in array.shape))
        types = operand_types(sample, shapes)
        try:
            op.result_types(types, {**op.attribute_defaults, **attributes})
        except (GraphflowError, DimensionsMustAgree):
            return None
        self.known.update((name, extent) for extent, name in names.items())
        return shapes

    def case(self, most_steps: int) -> Case:
        """What was embedded, with random nodes behind it."""
        for _ in range(self.number(most_steps)):
            self.step()
        graph = self.finish()
        shown = [v for v in self.results if v not in graph.outputs and (v not in graph.uses or self.number(1))]
        graph = graph.replace(graph.nodes, [*graph.outputs, *shown])
        STATISTICS["graphs"] += 1
        STATISTICS["nodes"] += len(graph.nodes)
        return Case(graph, [{name: self.known[name] for name in graph.symbols}], self.seed, self.given)

    def start(self) -> None:
        """Before the first choice."""
        self.seed = self.number(999)
        self.generator = np.random.default_rng(self.seed)
        self.extents = [2, 7, 17]
        self.values.append(self.builder.input("own", TensorType(float32, (7,))))


@st.composite
def company_cases(draw: Any, fallible: bool = False) -> Case:
    """One to three random ops among random nodes. fallible: samples that fail at run time too."""
    maker = Company(draw, fallible)
    maker.start()
    for _ in range(1 + maker.number(2)):
        op = maker.choose(SAMPLED)
        samples = [s for s in op.samples() if (fallible or s.error is None) and fits(op, s)]
        if samples:
            maker.embed(op, maker.choose(samples), symbolic=maker.number(2) == 2)
    return maker.case(6)


class _Random(Company):
    """Choices by a random number generator."""

    def __init__(self, name: str) -> None:
        self.random = random.Random(name)
        super().__init__(None, False)

    def number(self, most: int) -> int:
        return self.random.randint(0, most)


def random_case(op: Op, count: int, samples: Sequence[Sample] = ()) -> Case:
    """So many samples of one op (of as many dtypes as possible; of all that are good, or of those given) among random nodes: always
    the same graph."""
    maker = _Random(op.name)
    maker.start()
    assert op.samples is not None
    kinds: dict[Any, list[Sample]] = {}
    for sample in samples or [s for s in op.samples() if s.error is None]:
        if fits(op, sample):
            kinds.setdefault(tuple(a.dtype for a in sample.arrays), []).append(sample)
    groups = list(kinds.values())
    maker.random.shuffle(groups)
    chosen = [maker.random.choice(groups[k % len(groups)]) for k in range(count if groups else 0)]
    for k, sample in enumerate(chosen):
        maker.embed(op, sample, symbolic=k % 2 == 1)
        maker.step()
    return maker.case(4)
