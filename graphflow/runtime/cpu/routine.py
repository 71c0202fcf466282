"""Routines: kernels written by hand as structured programs, which are emitted as LLVM text.

A routine is one function `void name(ptr table, i64 begin, i64 end, i64 worker)` over units (rows, batches ...), so that it can run on
the pool as the nests do. Its body is written with numbers (SSA values with Python's operators), cells (mutable locals, which LLVM
turns into registers), loops and branches:

    with r.loop(count) as k:
        best = r.load(source, row * count + k, dtype)
        with r.when(best > high.get()):
            high.set(best)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ...dtypes import DType
from .emit import Writer, literal, memory_type, register_type

__all__ = ["Cell", "Number", "Routine"]

_COMPARISONS = {
    "==": ("eq", "oeq"),
    "!=": ("ne", "une"),
    "<": ("lt", "olt"),
    "<=": ("le", "ole"),
    ">": ("gt", "ogt"),
    ">=": ("ge", "oge"),
}
_FLOATS = ("float", "double")


class Number:
    """A value in a register: its LLVM name and type. Arithmetic with Python numbers takes this one's type."""

    __slots__ = ("name", "routine", "signed", "type")

    def __init__(self, routine: Routine, name: str, type: str, signed: bool = True) -> None:
        self.routine, self.name, self.type, self.signed = routine, name, type, signed

    @property
    def is_float(self) -> bool:
        return self.type in _FLOATS

    def _other(self, value: Any) -> Number:
        if isinstance(value, Number):
            if value.type != self.type:
                raise TypeError(f"a routine mixes {self.type} and {value.type}")
            return value
        return self.routine.constant(value, self.type, self.signed)

    def _binary(self, operation: str, float_operation: str, other: Any, swap: bool = False) -> Number:
        a, b = self, self._other(other)
        if swap:
            a, b = b, a
        word = float_operation if self.is_float else operation
        if not word:
            raise TypeError(f"a routine has no {operation} of {self.type}")
        return Number(
            self.routine, self.routine.writer.let(f"{word} {self.type} {a.name}, {b.name}"), self.type, self.signed
        )

    def __add__(self, other: Any) -> Number:
        return self._binary("add", "fadd", other)

    def __radd__(self, other: Any) -> Number:
        return self._binary("add", "fadd", other, True)

    def __sub__(self, other: Any) -> Number:
        return self._binary("sub", "fsub", other)

    def __rsub__(self, other: Any) -> Number:
        return self._binary("sub", "fsub", other, True)

    def __mul__(self, other: Any) -> Number:
        return self._binary("mul", "fmul", other)

    def __rmul__(self, other: Any) -> Number:
        return self._binary("mul", "fmul", other, True)

    def __truediv__(self, other: Any) -> Number:
        return self._binary("", "fdiv", other)

    def __floordiv__(self, other: Any) -> Number:
        """The quotient rounded towards zero."""
        return self._binary("sdiv" if self.signed else "udiv", "", other)

    def __mod__(self, other: Any) -> Number:
        """The remainder of the rounding towards zero."""
        return self._binary("srem" if self.signed else "urem", "", other)

    def __and__(self, other: Any) -> Number:
        return self._binary("and", "", other)

    def __or__(self, other: Any) -> Number:
        return self._binary("or", "", other)

    def __xor__(self, other: Any) -> Number:
        return self._binary("xor", "", other)

    def __lshift__(self, other: Any) -> Number:
        return self._binary("shl", "", other)

    def __rshift__(self, other: Any) -> Number:
        return self._binary("ashr" if self.signed else "lshr", "", other)

    def __neg__(self) -> Number:
        if self.is_float:
            return Number(
                self.routine, self.routine.writer.let(f"fneg {self.type} {self.name}"), self.type, self.signed
            )
        return 0 - self

    def __invert__(self) -> Number:
        return self ^ (True if self.type == "i1" else -1)

    def _compare(self, symbol: str, other: Any) -> Number:
        integer, floating = _COMPARISONS[symbol]
        other = self._other(other)
        if self.is_float:
            text = f"fcmp {floating} {self.type} {self.name}, {other.name}"
        else:
            sign = "" if integer in ("eq", "ne") else "s" if self.signed else "u"
            text = f"icmp {sign}{integer} {self.type} {self.name}, {other.name}"
        return Number(self.routine, self.routine.writer.let(text), "i1", False)

    def __eq__(self, other: object) -> Any:
        return self._compare("==", other)

    def __ne__(self, other: object) -> Any:
        return self._compare("!=", other)

    def __lt__(self, other: Any) -> Number:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Number:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Number:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Number:
        return self._compare(">=", other)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise TypeError("a routine's number has no Python value; use r.when or r.select")

    @property
    def is_nan(self) -> Number:
        """Is a float not a number?"""
        return Number(
            self.routine, self.routine.writer.let(f"fcmp uno {self.type} {self.name}, {self.name}"), "i1", False
        )


class Cell:
    """A mutable local of a routine."""

    def __init__(self, routine: Routine, initial: Number) -> None:
        self.routine, self.type, self.signed = routine, initial.type, initial.signed
        self.pointer = routine.local(f"alloca {initial.type}")
        self.set(initial)

    def get(self) -> Number:
        return Number(
            self.routine, self.routine.writer.let(f"load {self.type}, ptr {self.pointer}"), self.type, self.signed
        )

    def set(self, value: Any) -> None:
        value = value if isinstance(value, Number) else self.routine.constant(value, self.type, self.signed)
        if value.type != self.type:
            raise TypeError(f"a cell of {self.type} cannot hold {value.type}")
        self.routine.writer.line(f"store {self.type} {value.name}, ptr {self.pointer}")


class Routine:
    """The body of one routine. buffer(value) and extent(dim) give the table's slots (StepEmitter's `slot` and `slots.dim`)."""

    def __init__(self, name: str, buffer: Callable[[Any], int], extent: Callable[[Any], int]) -> None:
        self.name = name
        self.writer = Writer()
        self._buffer, self._extent = buffer, extent
        self._locals: list[str] = []
        self.writer.block = "body"
        self.begin, self.end = Number(self, "%begin", "i64"), Number(self, "%end", "i64")
        self.worker = Number(self, "%worker", "i64")

    # Values -----------------------------------------------------------------------------------------------------------
    def local(self, text: str) -> str:
        """A line of the function's first block (allocations); gives its name."""
        name = self.writer.name("local")
        self._locals.append(f"  {name} = {text}")
        return name

    def constant(self, value: Any, type: str = "i64", signed: bool = True) -> Number:
        """A Python number of an LLVM type."""
        if type == "i1":
            return Number(self, "true" if value else "false", type, False)
        if type in _FLOATS:
            from ... import dtypes

            return Number(self, literal(value, dtypes.float32 if type == "float" else dtypes.float64), type)
        return Number(self, str(int(value)), type, signed)

    def number(self, value: Any, dtype: DType) -> Number:
        """A Python number of a dtype."""
        return self.constant(value, register_type(dtype), not dtype.is_unsigned)

    def cell(self, initial: Any, type: str = "i64") -> Cell:
        return Cell(self, initial if isinstance(initial, Number) else self.constant(initial, type))

    def pointer(self, value: Any) -> str:
        """Where a graph's value has its bytes."""
        address = self.writer.let(f"getelementptr i64, ptr %table, i64 {self._buffer(value)}")
        return self.writer.let(f"load ptr, ptr {address}, align 8")

    def dim(self, dim: Any) -> Number:
        """An extent."""
        if isinstance(dim, int):
            return self.constant(dim)
        address = self.writer.let(f"getelementptr i64, ptr %table, i64 {self._extent(dim)}")
        return Number(self, self.writer.let(f"load i64, ptr {address}, align 8"), "i64")

    def offset(self, pointer: str, index: Any, dtype: DType) -> str:
        """The address of element `index`."""
        index = index.name if isinstance(index, Number) else str(index)
        return self.writer.let(f"getelementptr {memory_type(dtype)}, ptr {pointer}, i64 {index}")

    def load(self, pointer: str, index: Any, dtype: DType) -> Number:
        """Element `index` of an array; a bool is an i1."""
        if dtype.is_narrow:
            raise TypeError(f"a routine reads {dtype.name}: passes/widen_narrow.py gives it float32")
        text = self.writer.let(
            f"load {memory_type(dtype)}, ptr {self.offset(pointer, index, dtype)}, align {dtype.itemsize}"
        )
        if dtype.is_bool:
            return Number(self, self.writer.let(f"icmp ne i8 {text}, 0"), "i1", False)
        return Number(self, text, register_type(dtype), not dtype.is_unsigned)

    def store(self, pointer: str, index: Any, value: Any, dtype: DType) -> None:
        """Put a value at element `index`."""
        value = value if isinstance(value, Number) else self.number(value, dtype)
        name = self.writer.let(f"zext i1 {value.name} to i8") if dtype.is_bool else value.name
        self.writer.line(
            f"store {memory_type(dtype)} {name}, ptr {self.offset(pointer, index, dtype)}, align {dtype.itemsize}"
        )

    def select(self, condition: Number, a: Any, b: Any) -> Number:
        """a where the condition holds, else b."""
        kind = a if isinstance(a, Number) else b
        a, b = kind._other(a), kind._other(b)
        text = self.writer.let(f"select i1 {condition.name}, {a.type} {a.name}, {b.type} {b.name}")
        return Number(self, text, a.type, a.signed)

    def minimum(self, a: Number, b: Any) -> Number:
        b = a._other(b)
        return self.select(a < b, a, b)

    def maximum(self, a: Number, b: Any) -> Number:
        b = a._other(b)
        return self.select(a > b, a, b)

    def convert(self, value: Number, type: str, signed: bool = True) -> Number:
        """An integer in another width (extended by its sign), an integer as a float, a float in another width."""
        if value.type == type:
            return value
        bits = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "float": 32, "double": 64}
        if value.is_float and type in _FLOATS:
            word = "fpext" if bits[type] > bits[value.type] else "fptrunc"
        elif type in _FLOATS:
            word = "sitofp" if value.signed and value.type != "i1" else "uitofp"
        elif value.is_float:
            word = "fptosi" if signed else "fptoui"
        elif bits[type] < bits[value.type]:
            word = "trunc"
        else:
            word = "sext" if value.signed and value.type != "i1" else "zext"
        return Number(self, self.writer.let(f"{word} {value.type} {value.name} to {type}"), type, signed)

    def bitcast(self, value: Number, type: str, signed: bool = True) -> Number:
        """The bits as another type of the same width."""
        return Number(self, self.writer.let(f"bitcast {value.type} {value.name} to {type}"), type, signed)

    # Control ----------------------------------------------------------------------------------------------------------
    @contextmanager
    def loop(self, stop: Any, start: Any = 0, step: int = 1) -> Iterator[Number]:
        """The block for start, start + step, ... below stop (above it, for a negative step)."""
        counter = self.cell(start)
        stop = stop if isinstance(stop, Number) else self.constant(stop)
        with self.repeat(lambda: counter.get() < stop if step > 0 else counter.get() > stop):
            yield counter.get()
            counter.set(counter.get() + step)

    @contextmanager
    def repeat(self, condition: Callable[[], Number]) -> Iterator[None]:
        """The block while the condition, computed anew each time, holds."""
        writer = self.writer
        head, body, done = writer.label("head"), writer.label("body"), writer.label("done")
        writer.line(f"br label %{head}")
        writer.open(head)
        writer.line(f"br i1 {condition().name}, label %{body}, label %{done}")
        writer.open(body)
        yield
        writer.line(f"br label %{head}")
        writer.open(done)

    @contextmanager
    def when(self, condition: Number) -> Iterator[None]:
        """The block if the condition holds."""
        writer = self.writer
        yes, after = writer.label("yes"), writer.label("after")
        writer.line(f"br i1 {condition.name}, label %{yes}, label %{after}")
        writer.open(yes)
        yield
        writer.line(f"br label %{after}")
        writer.open(after)

    def fill(self, pointer: str, count: Number, value: int) -> None:
        """Set `count` bytes."""
        arguments = [("ptr", pointer), ("i8", str(value)), ("i64", count.name), ("i1", "false")]
        self.writer.intrinsic("llvm.memset", "void", arguments, "p0.i64")

    def copy(self, target: str, source: str, count: Number) -> None:
        """Copy `count` bytes between places that do not overlap."""
        arguments = [("ptr", target), ("ptr", source), ("i64", count.name), ("i1", "false")]
        self.writer.intrinsic("llvm.memcpy", "void", arguments, "p0.p0.i64")

    def fail(self, check: int, element: Number) -> None:
        """Report that the check failed at an element; the first one (by check, then element) stays."""
        word = element | (check << 44)
        self.writer.let(f"atomicrmw umin ptr %table, i64 {word.name} monotonic")

    def call(self, symbol: str, arguments: list[tuple[str, str]], result: str = "void") -> str:
        """Call an imported function. arguments: (LLVM type, value)."""
        self.writer.declarations.add(f"declare {result} @{symbol}({', '.join(t for t, _ in arguments)})")
        text = f"call {result} @{symbol}({', '.join(f'{t} {v}' for t, v in arguments)})"
        if result == "void":
            self.writer.line(text)
            return ""
        return self.writer.let(text)

    def text(self) -> str:
        """The function."""
        lines = [
            f"define internal void @{self.name}(ptr noalias %table, i64 %begin, i64 %end, i64 %worker) #0 {{",
            "entry:",
        ]
        return "\n".join(
            [*lines, *self._locals, "  br label %body", "body:", *self.writer.lines, "  ret void", "}", ""]
        )
