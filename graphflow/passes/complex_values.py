"""Values under way in passes/lower_complex.py: real ones with Python's operators, and pairs of them. Each operator adds a node of a
real op, so a formula reads as in a book and fuses as one loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..dtypes import DType, bool_
from ..ir.graph import Node, Value
from ..ir.op import OPS
from ..ir.types import TensorType

__all__ = ["Builder", "Pair", "Real"]


class Builder:
    """The nodes of the new graph in order. origin: the node that is being written."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.origin: Node | None = None
        self._numbers: dict[tuple[Any, str], Value] = {}

    def make(self, op: str, inputs: Sequence[Value], attributes: Mapping[str, Any] | None = None) -> Value:
        """Append a node with one output."""
        assert self.origin is not None
        node = Node(OPS[op], inputs, attributes or {}, self.origin.source)
        node.device = self.origin.device
        self.nodes.append(node)
        return node.output

    def number(self, value: Any, dtype: DType) -> Value:
        """A constant of rank 0: one for each number and dtype."""
        array = np.asarray(value).astype(dtype.numpy)
        key = array.tobytes(), dtype.name
        if key not in self._numbers:
            array.flags.writeable = False
            self._numbers[key] = self.make("constant", (), {"value": array})
        return self._numbers[key]

    def real(self, op: str, *operands: Any, **attributes: Any) -> Real:
        """An op on real values; Python numbers among them take the dtype of the first value."""
        first = next(x for x in operands if isinstance(x, Real))
        values = [x.value if isinstance(x, Real) else self.number(x, first.dtype) for x in operands]
        return Real(self, self.make(op, values, attributes))

    def select(self, condition: Real, x: Any, y: Any) -> Real:
        """x where the condition holds, else y."""
        dtype = (x if isinstance(x, Real) else y).dtype
        values = [v.value if isinstance(v, Real) else self.number(v, dtype) for v in (x, y)]
        return Real(self, self.make("select", [condition.value, *values]))

    def pair(self, real: Real, imag: Real, type: TensorType) -> Pair:
        """A complex value of the type; parts of a smaller shape broadcast."""
        parts = []
        for part in (real, imag):
            value = part.value
            if value.type.shape != type.shape:
                value = self.make("broadcast_to", [value], {"shape": type.shape})
            parts.append(value)
        return Pair(self, type, real=parts[0], imag=parts[1])

    def from_pairs(self, pairs: Value, type: TensorType) -> Pair:
        """A complex value whose parts lie side by side in memory."""
        return Pair(self, type, pairs=pairs)


class Real:
    """A real value with operators."""

    __slots__ = ("builder", "value")

    def __init__(self, builder: Builder, value: Value) -> None:
        self.builder, self.value = builder, value

    @property
    def dtype(self) -> DType:
        return self.value.type.dtype

    @property
    def shape(self) -> Any:
        return self.value.type.shape

    def __add__(self, other: Any) -> Real:
        return self.builder.real("add", self, other)

    def __radd__(self, other: Any) -> Real:
        return self.builder.real("add", other, self)

    def __sub__(self, other: Any) -> Real:
        return self.builder.real("subtract", self, other)

    def __rsub__(self, other: Any) -> Real:
        return self.builder.real("subtract", other, self)

    def __mul__(self, other: Any) -> Real:
        return self.builder.real("multiply", self, other)

    def __rmul__(self, other: Any) -> Real:
        return self.builder.real("multiply", other, self)

    def __truediv__(self, other: Any) -> Real:
        return self.builder.real("divide", self, other)

    def __rtruediv__(self, other: Any) -> Real:
        return self.builder.real("divide", other, self)

    def __neg__(self) -> Real:
        return self.builder.real("negative", self)

    def __abs__(self) -> Real:
        return self.builder.real("absolute", self)

    def __lt__(self, other: Any) -> Real:
        return self.builder.real("less", self, other)

    def __gt__(self, other: Any) -> Real:
        return self.builder.real("greater", self, other)

    def __ge__(self, other: Any) -> Real:
        return self.builder.real("greater_equal", self, other)

    def __and__(self, other: Real) -> Real:
        return self.builder.real("logical_and", self, other)

    def __or__(self, other: Real) -> Real:
        return self.builder.real("logical_or", self, other)

    def __invert__(self) -> Real:
        return self.builder.real("logical_not", self)

    def equal(self, other: Any) -> Real:
        """Are they equal? (Python's == is left alone.)"""
        return self.builder.real("equal", self, other)

    def not_equal(self, other: Any) -> Real:
        return self.builder.real("not_equal", self, other)

    def __getattr__(self, op: str) -> Any:
        """x.exp() is the op exp of x, and so on."""
        if op not in OPS:
            raise AttributeError(op)
        return lambda *others, **attributes: self.builder.real(op, self, *others, **attributes)

    @property
    def is_infinite(self) -> Real:
        assert self.dtype is not bool_
        return abs(self).equal(float("inf"))


class Pair:
    """A complex value: its parts as real values, in memory as pairs (f32[..., 2]) or as a complex array, or a constant. Each form is
    made of the others when it is first asked for."""

    def __init__(
        self,
        builder: Builder,
        type: TensorType,
        real: Value | None = None,
        imag: Value | None = None,
        pairs: Value | None = None,
        stored: Value | None = None,
        array: np.ndarray[Any, Any] | None = None,
    ) -> None:
        self.builder, self.type, self._array = builder, type, array
        self._parts = None if real is None or imag is None else (real, imag)
        self._pairs, self._stored = pairs, stored

    def _split(self) -> tuple[Value, Value]:
        if self._parts is None and self._array is not None:
            self._parts = self._constant(self._array.real), self._constant(self._array.imag)
        if self._parts is None:
            shape, pairs = self.type.shape, self.pairs
            found = []
            for part in (0, 1):
                cut = {"begin": (0,) * len(shape) + (part,), "sizes": (*shape, 1), "strides": (1,) * (len(shape) + 1)}
                column = self.builder.make("strided_slice", [pairs], cut)
                found.append(self.builder.make("reshape", [column], {"shape": shape}))
            self._parts = found[0], found[1]
        return self._parts

    def _constant(self, array: np.ndarray[Any, Any]) -> Value:
        dense = np.array(array, order="C")
        dense.flags.writeable = False
        return self.builder.make("constant", (), {"value": dense})

    @property
    def real(self) -> Value:
        return self._split()[0]

    @property
    def imag(self) -> Value:
        return self._split()[1]

    @property
    def pairs(self) -> Value:
        """In memory, with a last axis of 2."""
        if self._pairs is None:
            if self._array is not None:
                self._pairs = self._constant(np.stack([self._array.real, self._array.imag], -1))
            elif self._stored is not None:
                self._pairs = self.builder.make("as_pairs", [self._stored])
            else:
                assert self._parts is not None
                self._pairs = self.builder.make("interleave", self._parts)
        return self._pairs

    @property
    def stored(self) -> Value:
        """In memory, as a complex array."""
        if self._stored is None:
            self._stored = self.builder.make("from_pairs", [self.pairs])
        return self._stored

    @property
    def re(self) -> Real:
        return Real(self.builder, self.real)

    @property
    def im(self) -> Real:
        return Real(self.builder, self.imag)
