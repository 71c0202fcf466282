"""The scalar language: what one element of a kernel computes, as a hash-consed DAG. It is target-neutral: the same program is
printed as LLVM vectors for the CPU and as Python source for CUDA, so both compute the same roundings.

Every operation is IEEE 754 with one rounding; `fma` is the only fused one. Comparisons are ordered (false on NaN), `ne` is
unordered. Integer arithmetic wraps. Shifts take amounts in [0, bits).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..dtypes import DType, bool_, float32, float64, int32, int64, rounded

__all__ = ["OPERATIONS", "Scalar", "ScalarBuilder", "walk"]

ANY_NUMBER = -1
#: operation -> number of scalar operands. `leaf` operations carry their meaning in `data`.
OPERATIONS = {
    "const": 0, "load": 0, "index": 0, "parameter": 0, "reduced": 0,
    "gather": ANY_NUMBER,                                                    # load at computed positions: data = buffer
    "add": 2, "sub": 2, "mul": 2, "div": 2, "neg": 1, "abs": 1, "fma": 3, "sqrt": 1, "floor": 1, "ceil": 1, "trunc": 1,
    "rint": 1, "copysign": 2,
    "eq": 2, "ne": 2, "lt": 2, "le": 2, "gt": 2, "ge": 2,
    "and": 2, "or": 2, "xor": 2, "not": 1, "shl": 2, "lshr": 2, "ashr": 2,
    "quotient": 2, "remainder": 2,                                   # integers, truncated as in C; divisor != 0
    "convert": 1, "bitcast": 1, "select": 3, "check": 3,
}  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class Scalar:
    """One value of a scalar program: an operation on other scalars. `data` holds a constant's value, a load's access, ..."""

    builder: ScalarBuilder
    operation: str
    operands: tuple[Scalar, ...]
    dtype: DType
    data: Any = None

    def _binary(self, operation: str, other: Any, swap: bool = False) -> Scalar:
        right = other if isinstance(other, Scalar) else self.builder.const(other, self.dtype)
        left: Scalar = self
        if swap:
            left, right = right, left
        return self.builder.make(operation, left, right)

    def __add__(self, other: Any) -> Scalar:
        return self._binary("add", other)

    def __radd__(self, other: Any) -> Scalar:
        return self._binary("add", other, True)

    def __sub__(self, other: Any) -> Scalar:
        return self._binary("sub", other)

    def __rsub__(self, other: Any) -> Scalar:
        return self._binary("sub", other, True)

    def __mul__(self, other: Any) -> Scalar:
        return self._binary("mul", other)

    def __rmul__(self, other: Any) -> Scalar:
        return self._binary("mul", other, True)

    def __truediv__(self, other: Any) -> Scalar:
        return self._binary("div", other)

    def __rtruediv__(self, other: Any) -> Scalar:
        return self._binary("div", other, True)

    def __and__(self, other: Any) -> Scalar:
        return self._binary("and", other)

    def __or__(self, other: Any) -> Scalar:
        return self._binary("or", other)

    def __xor__(self, other: Any) -> Scalar:
        return self._binary("xor", other)

    def __lshift__(self, other: Any) -> Scalar:
        return self._binary("shl", other)

    def __rshift__(self, other: Any) -> Scalar:
        """Arithmetic for signed integers, logical for unsigned ones."""
        return self._binary("lshr" if self.dtype.kind in ("uint", "bool") else "ashr", other)

    def __lt__(self, other: Any) -> Scalar:
        return self._binary("lt", other)

    def __le__(self, other: Any) -> Scalar:
        return self._binary("le", other)

    def __gt__(self, other: Any) -> Scalar:
        return self._binary("gt", other)

    def __ge__(self, other: Any) -> Scalar:
        return self._binary("ge", other)

    def equal(self, other: Any) -> Scalar:
        return self._binary("eq", other)

    def not_equal(self, other: Any) -> Scalar:
        return self._binary("ne", other)

    def __neg__(self) -> Scalar:
        return self.builder.make("neg", self)

    def __invert__(self) -> Scalar:
        return self.builder.make("not", self)

    def __bool__(self) -> bool:
        raise TypeError("a Scalar has no Python truth value; use builder.select")


class ScalarBuilder:
    """Makes scalars; equal operations on equal operands are one object, so a shared subexpression is computed once."""

    def __init__(self) -> None:
        self._table: dict[Any, Scalar] = {}
        #: id of a scalar -> the library function and operands it came from (readable text; the program itself is the scalars)
        self.calls: dict[int, tuple[str, tuple[Scalar, ...]]] = {}

    def make(self, operation: str, *operands: Scalar, dtype: DType | None = None, data: Any = None) -> Scalar:
        """The scalar `operation(*operands)`; dtype defaults to the first operand's (bool for comparisons)."""
        if dtype is None:
            dtype = bool_ if operation in ("eq", "ne", "lt", "le", "gt", "ge") else operands[0].dtype
        key = (operation, tuple(map(id, operands)), dtype.name, data)
        found = self._table.get(key)
        if found is None:
            if OPERATIONS.get(operation) not in (len(operands), ANY_NUMBER):
                raise TypeError(f"scalar {operation}: takes {OPERATIONS.get(operation)} operands, got {len(operands)}")
            if operation in _SAME_DTYPE and any(o.dtype is not operands[0].dtype for o in operands):
                raise TypeError(f"scalar {operation}: operands differ: {[o.dtype.short for o in operands]}")
            found = self._table[key] = Scalar(self, operation, operands, dtype, data)
        return found

    # Leaves -----------------------------------------------------------------------------------------------------------
    def const(self, value: Any, dtype: DType) -> Scalar:
        """A constant; floats are rounded to dtype once, here. -0.0 and NaN keep their sign and payload class."""
        if dtype.is_floating:
            value = float(rounded(value, dtype))
            key: Any = value.hex() if math.isfinite(value) else ("nan" if value != value else str(value))
        elif dtype.is_bool:
            value = key = bool(value)
        else:
            value = key = int(value)
        found = self._table.get(("const", key, dtype.name))
        if found is None:
            found = self._table["const", key, dtype.name] = Scalar(self, "const", (), dtype, value)
        return found

    def parameter(self, index: int, dtype: DType) -> Scalar:
        """The index-th input of a free-standing scalar function (tests, printing)."""
        return self.make("parameter", dtype=dtype, data=index)

    # Arithmetic -------------------------------------------------------------------------------------------------------
    def fma(self, a: Scalar, b: Any, c: Any) -> Scalar:
        """a*b+c with one rounding."""
        return self.make("fma", a, self._like(a, b), self._like(a, c))

    def polynomial(self, x: Scalar, coefficients: list[float] | tuple[float, ...]) -> Scalar:
        """Horner with fma, highest power first."""
        result = self.const(coefficients[0], x.dtype)
        for coefficient in coefficients[1:]:
            result = self.fma(result, x, coefficient)
        return result

    def sqrt(self, x: Scalar) -> Scalar:
        return self.make("sqrt", x)

    def abs(self, x: Scalar) -> Scalar:
        return self.make("abs", x)

    def floor(self, x: Scalar) -> Scalar:
        return self.make("floor", x)

    def ceil(self, x: Scalar) -> Scalar:
        return self.make("ceil", x)

    def trunc(self, x: Scalar) -> Scalar:
        return self.make("trunc", x)

    def rint(self, x: Scalar) -> Scalar:
        """Nearest integer, half to even."""
        return self.make("rint", x)

    def copysign(self, magnitude: Scalar, sign: Scalar) -> Scalar:
        return self.make("copysign", magnitude, sign)

    def is_nan(self, x: Scalar) -> Scalar:
        return self.make("ne", x, x)

    def maximum(self, a: Scalar, b: Scalar) -> Scalar:
        """The larger; NaN if either is NaN; the first operand on ties (so max(0.0, -0.0) is the first)."""
        if a.dtype.is_floating:
            return self.select((a >= b) | self.is_nan(a), a, b)
        return self.select(a >= b, a, b)

    def minimum(self, a: Scalar, b: Scalar) -> Scalar:
        """The smaller; NaN if either is NaN; the first operand on ties."""
        if a.dtype.is_floating:
            return self.select((a <= b) | self.is_nan(a), a, b)
        return self.select(a <= b, a, b)

    # Bits, choice, conversion -----------------------------------------------------------------------------------------
    def select(self, condition: Scalar, then: Any, otherwise: Any) -> Scalar:
        """Both sides are computed; one is chosen bit for bit."""
        if not isinstance(then, Scalar):
            then = self.const(then, otherwise.dtype)
        return self.make("select", condition, then, self._like(then, otherwise), dtype=then.dtype)

    def convert(self, x: Scalar, dtype: DType) -> Scalar:
        """Numeric conversion: int->int wraps, float->int truncates and saturates with NaN -> 0, to bool is x != 0."""
        if x.dtype is dtype:
            return x
        if dtype.is_bool:
            x = self.convert(x, float32) if x.dtype.is_narrow else x
            return self.make("ne", x, self.const(0, x.dtype))
        return self.make("convert", x, dtype=dtype)

    def bitcast(self, x: Scalar, dtype: DType) -> Scalar:
        """Same bits, other dtype of the same width."""
        return x if x.dtype is dtype else self.make("bitcast", x, dtype=dtype)

    def check(self, value: Scalar, ok: Scalar, code: Any) -> Scalar:
        """`value`, but the kernel reports status `code` at this element where `ok` is false. Never optimised away."""
        return self.make("check", value, ok, self.const(0, int32), data=code)

    def logical_not(self, x: Scalar) -> Scalar:
        return self.make("not", x)

    def _like(self, model: Scalar, value: Any) -> Scalar:
        return value if isinstance(value, Scalar) else self.const(value, model.dtype)

    def __getattr__(self, name: str) -> Callable[..., Scalar]:
        """`s.exp(x)`: functions of the math library (kernels/math), looked up on use."""
        from . import math as library

        function = getattr(library, name, None)
        if function is None or name.startswith("_"):
            raise AttributeError(f"the scalar language has no operation {name!r}")

        def call(*operands: Scalar) -> Scalar:
            result: Scalar = function(self, *operands)
            if all(isinstance(operand, Scalar) for operand in operands):
                self.calls.setdefault(id(result), (name, operands))
            return result

        return call


_SAME_DTYPE = frozenset(
    "add sub mul div fma copysign eq ne lt le gt ge and or xor shl lshr ashr quotient remainder".split()
)


def walk(roots: list[Scalar] | tuple[Scalar, ...]) -> Iterator[Scalar]:
    """Every scalar reachable from roots, operands first, each once (no recursion: programs can be deep)."""
    seen: set[int] = set()
    stack = [(root, False) for root in reversed(roots)]
    while stack:
        scalar, ready = stack.pop()
        if ready:
            yield scalar
        elif id(scalar) not in seen:
            seen.add(id(scalar))
            stack.append((scalar, True))
            stack.extend((operand, False) for operand in reversed(scalar.operands) if id(operand) not in seen)


def integer_twin(dtype: DType) -> DType:
    """The signed integer dtype as wide as a float dtype."""
    return {float32: int32, float64: int64}[dtype]
