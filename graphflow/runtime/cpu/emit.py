"""Scalar programs as LLVM IR text. One routine serves every width: `lanes` elements at once, or one (lanes=1).

Text instead of llvmlite's builder objects: about ten times less Python time for each instruction, and what is hashed for the
compile cache is exactly what is compiled. No fast-math flag is ever written, so LLVM keeps every rounding.
"""

from __future__ import annotations

import functools
import platform
import struct
from collections.abc import Callable, Iterable

import numpy as np

from ...dtypes import DType, float16, rounded
from ...kernels.narrow import converted
from ...kernels.scalar import Scalar, walk
from . import llvm

__all__ = ["Emitter", "Writer", "memory_type", "register_type"]

#: float16 and bfloat16 are their 16 bits: what LLVM makes of moves and choices of half and bfloat differs between processors
_REGISTER = {
    "f16": "i16", "bf16": "i16", "f32": "float", "f64": "double", "i8": "i8", "i16": "i16", "i32": "i32",
    "i64": "i64", "u8": "i8", "u16": "i16", "u32": "i32", "u64": "i64", "b1": "i1",
}  # fmt: skip
_FLOAT_BINARY = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INTEGER_BINARY = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor", "shl": "shl",
                   "lshr": "lshr", "ashr": "ashr"}  # fmt: skip
_COMPARE_FLOAT = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
_COMPARE_SIGNED = {"eq": "eq", "ne": "ne", "lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge"}
_COMPARE_UNSIGNED = {"eq": "eq", "ne": "ne", "lt": "ult", "le": "ule", "gt": "ugt", "ge": "uge"}
_FLOAT_CALL = {"abs": "fabs", "fma": "fma", "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc",
               "rint": "rint", "copysign": "copysign"}  # fmt: skip


def register_type(dtype: DType, lanes: int = 1) -> str:
    """The LLVM type of a value in registers (bool is i1)."""
    name = _REGISTER[dtype.short]
    return name if lanes == 1 else f"<{lanes} x {name}>"


def memory_type(dtype: DType, lanes: int = 1) -> str:
    """The LLVM type of a value in memory (bool is a byte)."""
    name = "i8" if dtype.is_bool else _REGISTER[dtype.short]
    return name if lanes == 1 else f"<{lanes} x {name}>"


@functools.cache
def _has_half() -> bool:
    """Does the processor convert between float16 and float32? (All but x86 before 2012.)"""
    return platform.machine().lower() not in ("x86_64", "amd64") or "+f16c" in llvm.features().split(",")


def _suffix(type_name: str) -> str:
    """An intrinsic's type suffix: float -> f32, <16 x i32> -> v16i32."""
    if type_name.startswith("<"):
        count, _, element = type_name[1:-1].split()
        return f"v{count}{_suffix(element)}"
    return {"float": "f32", "double": "f64", "ptr": "p0"}.get(type_name, type_name)


def literal(value: float | int | bool, dtype: DType) -> str:
    """A constant in LLVM's spelling; floats exactly, by their bits."""
    if dtype.is_bool:
        return "true" if value else "false"
    if not dtype.is_floating:
        bits = dtype.itemsize * 8
        integer = int(value) & ((1 << bits) - 1)
        return str(integer - (1 << bits) if integer >> (bits - 1) else integer)
    if dtype.is_narrow:
        return str(int(rounded(value, dtype).view(np.int16)))
    return f"0x{struct.unpack('<Q', struct.pack('<d', float(value)))[0]:016X}"


class Writer:
    """Lines of one LLVM function, fresh names, the current block, and the intrinsics that the module must declare."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.declarations: set[str] = set()
        self.block = "entry"
        self._count = 0

    def name(self, hint: str = "v") -> str:
        self._count += 1
        return f"%{hint}{self._count}"

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def let(self, expression: str, hint: str = "v") -> str:
        """Assign an instruction to a fresh name."""
        self._count += 1
        name = f"%{hint}{self._count}"
        self.lines.append(f"  {name} = {expression}")
        return name

    def label(self, hint: str) -> str:
        """A fresh block label (without opening it)."""
        self._count += 1
        return f"{hint}{self._count}"

    def open(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label

    def intrinsic(self, name: str, result: str, arguments: Iterable[tuple[str, str]], overload: str) -> str:
        """Call an overloaded LLVM intrinsic and declare it once. arguments: (type, value) pairs."""
        arguments = list(arguments)
        full = f"@{name}.{overload}" if overload else f"@{name}"
        self.declarations.add(f"declare {result} {full}({', '.join(t for t, _ in arguments)})")
        call = f"call {result} {full}({', '.join(f'{t} {v}' for t, v in arguments)})"
        if result == "void":
            self.line(call)
            return ""
        return self.let(call)


class Emitter:
    """Emits scalars into a writer. `values` maps id(scalar) to (LLVM value, is it a vector). Uniform values stay scalar and are
    splatted where a vector needs them.

    leaf(scalar): emits a const-free leaf (load, index, parameter, gather, check ...) and returns (value, is_vector).
    """

    def __init__(self, writer: Writer, lanes: int, leaf: Callable[[Emitter, Scalar], tuple[str, bool]]) -> None:
        self.writer = writer
        self.lanes = lanes
        self.leaf = leaf
        self.values: dict[int, tuple[str, bool]] = {}
        self._splats: dict[tuple[str, str], str] = {}

    def emit(self, roots: Iterable[Scalar]) -> None:
        """Compute roots and all they need that is not yet in `values`."""
        for scalar in walk(list(roots)):
            if id(scalar) not in self.values:
                self.values[id(scalar)] = self._emit(scalar)

    def scalar(self, scalar: Scalar) -> str:
        """The value of an emitted scalar that is uniform over the lanes."""
        value, is_vector = self.values[id(scalar)]
        assert not is_vector
        return value

    def vector(self, scalar: Scalar) -> str:
        """The value of an emitted scalar, splatted over the lanes if it is uniform."""
        value, is_vector = self.values[id(scalar)]
        if is_vector or self.lanes == 1:
            return value
        return self.splat(value, scalar.dtype, constant=scalar.operation == "const")

    def splat(self, value: str, dtype: DType, constant: bool = False) -> str:
        element, vector = register_type(dtype), register_type(dtype, self.lanes)
        if constant:
            return f"splat ({element} {value})"
        key = (value, self.writer.block)
        if key not in self._splats:
            first = self.writer.let(f"insertelement {vector} poison, {element} {value}, i64 0")
            self._splats[key] = self.writer.let(
                f"shufflevector {vector} {first}, {vector} poison, <{self.lanes} x i32> zeroinitializer"
            )
        return self._splats[key]

    def _emit(self, scalar: Scalar) -> tuple[str, bool]:
        operation, operands, dtype = scalar.operation, scalar.operands, scalar.dtype
        if operation == "const":
            return literal(scalar.data, dtype), False
        if operation in ("load", "index", "parameter", "reduced", "gather", "check"):
            return self.leaf(self, scalar)
        if operation == "convert" and (dtype.is_narrow or operands[0].dtype.is_narrow):
            program = converted(scalar.builder, operands[0], dtype, _has_half())
            if program is not scalar:
                self._emit_below(program)
                return self.values[id(program)]
        is_vector = self.lanes > 1 and any(self.values[id(o)][1] for o in operands)
        lanes = self.lanes if is_vector else 1
        get = self.vector if is_vector else (lambda s: self.values[id(s)][0])
        arguments = [get(o) for o in operands]
        result = register_type(dtype, lanes)
        source = register_type(operands[0].dtype, lanes)
        return self._instruction(scalar, arguments, result, source, lanes), is_vector

    def _emit_below(self, scalar: Scalar) -> None:
        """Compute a small program on values that are there."""
        for operand in scalar.operands:
            if id(operand) not in self.values:
                self._emit_below(operand)
        self.values[id(scalar)] = self._emit(scalar)

    def _instruction(self, scalar: Scalar, a: list[str], result: str, source: str, lanes: int) -> str:
        operation, dtype, writer = scalar.operation, scalar.dtype, self.writer
        kind = scalar.operands[0].dtype.kind
        if operation == "select":
            condition = register_type(scalar.operands[0].dtype, lanes)
            return writer.let(f"select {condition} {a[0]}, {result} {a[1]}, {result} {a[2]}")
        if operation in _COMPARE_FLOAT:
            if scalar.operands[0].dtype.is_narrow:
                raise TypeError(
                    f"{operation} of {scalar.operands[0].dtype.name}: narrow floats are compared in float32"
                )
            if kind == "float":
                return writer.let(f"fcmp {_COMPARE_FLOAT[operation]} {source} {a[0]}, {a[1]}")
            table = _COMPARE_SIGNED if kind == "int" else _COMPARE_UNSIGNED
            return writer.let(f"icmp {table[operation]} {source} {a[0]}, {a[1]}")
        if operation == "bitcast":
            return writer.let(f"bitcast {source} {a[0]} to {result}")
        if operation == "convert":
            return self._convert(scalar, a[0], source, result)
        if operation == "not":
            ones = "true" if dtype.is_bool else "-1"
            value = ones if lanes == 1 else f"splat ({register_type(dtype)} {ones})"
            return writer.let(f"xor {result} {a[0]}, {value}")
        if kind == "float" and scalar.operands[0].dtype.is_narrow:
            raise TypeError(
                f"{operation} of {scalar.operands[0].dtype.name}: narrow floats are computed with in float32"
            )
        if kind == "float":
            if operation in _FLOAT_BINARY:
                return writer.let(f"{_FLOAT_BINARY[operation]} {result} {a[0]}, {a[1]}")
            if operation == "neg":
                return writer.let(f"fneg {result} {a[0]}")
            return writer.intrinsic(f"llvm.{_FLOAT_CALL[operation]}", result, [(result, v) for v in a], _suffix(result))
        if operation in _INTEGER_BINARY:
            return writer.let(f"{_INTEGER_BINARY[operation]} {result} {a[0]}, {a[1]}")
        if operation == "neg":
            return writer.let(f"sub {result} {'0' if lanes == 1 else 'zeroinitializer'}, {a[0]}")
        if operation == "abs":
            return writer.intrinsic("llvm.abs", result, [(result, a[0]), ("i1", "false")], _suffix(result))
        if operation in ("quotient", "remainder"):
            word = {"quotient": "div", "remainder": "rem"}[operation]
            return writer.let(f"{'s' if kind == 'int' else 'u'}{word} {result} {a[0]}, {a[1]}")
        raise TypeError(f"no LLVM form for scalar {operation} on {dtype.name}")

    def _convert(self, scalar: Scalar, value: str, source: str, result: str) -> str:
        start, end, writer = scalar.operands[0].dtype, scalar.dtype, self.writer
        half = source.replace("float", "half") if end is float16 else result.replace("float", "half")
        if start is float16:  # to float32
            value = writer.let(f"bitcast {source} {value} to {half}")
            return writer.let(f"fpext {half} {value} to {result}")
        if end is float16:  # from float32
            value = writer.let(f"fptrunc {source} {value} to {half}")
            return writer.let(f"bitcast {half} {value} to {result}")
        if start.is_floating and end.is_floating:
            word = "fpext" if end.itemsize > start.itemsize else "fptrunc"
            return writer.let(f"{word} {source} {value} to {result}")
        if start.is_floating:  # saturating, NaN -> 0
            name = "llvm.fptoui.sat" if end.is_unsigned else "llvm.fptosi.sat"
            return writer.intrinsic(name, result, [(source, value)], f"{_suffix(result)}.{_suffix(source)}")
        if end.is_floating:
            word = "sitofp" if start.kind == "int" else "uitofp"
            return writer.let(f"{word} {source} {value} to {result}")
        start_bits = 1 if start.is_bool else start.itemsize * 8
        end_bits = end.itemsize * 8
        if start_bits == end_bits:
            return value
        if start_bits > end_bits:
            return writer.let(f"trunc {source} {value} to {result}")
        return writer.let(f"{'sext' if start.kind == 'int' else 'zext'} {source} {value} to {result}")


def pointwise_function(name: str, roots: list[Scalar], inputs: list[DType], lanes: int) -> str:
    """A free-standing module with `void name(ptr in0, ..., ptr out0, ..., i64 n)` over contiguous arrays, a vector loop and a
    scalar tail. Used to test and measure scalar programs (the math library) alone."""
    writer = Writer()
    arguments = [f"ptr noalias %in{k}" for k in range(len(inputs))] + [
        f"ptr noalias %out{k}" for k in range(len(roots))
    ]

    def loop(lanes: int, begin: str, limit: str, after: str) -> str:
        body = writer.label("body")
        before = writer.block
        condition = writer.let(f"icmp slt i64 {begin}, {limit}")
        writer.line(f"br i1 {condition}, label %{body}, label %{after}")
        writer.open(body)
        index = writer.name("i")
        position = len(writer.lines)

        def leaf(emitter: Emitter, scalar: Scalar) -> tuple[str, bool]:
            kind = memory_type(scalar.dtype, lanes)
            address = writer.let(f"getelementptr {memory_type(scalar.dtype)}, ptr %in{scalar.data}, i64 {index}")
            value = writer.let(f"load {kind}, ptr {address}, align {scalar.dtype.itemsize}")
            if scalar.dtype.is_bool:
                value = writer.let(f"icmp ne {kind} {value}, {'0' if lanes == 1 else 'zeroinitializer'}")
            return value, lanes > 1

        emitter = Emitter(writer, lanes, leaf)
        emitter.emit(roots)
        for k, root in enumerate(roots):
            value = emitter.vector(root)
            kind = memory_type(root.dtype, lanes)
            if root.dtype.is_bool:
                value = writer.let(f"zext {register_type(root.dtype, lanes)} {value} to {kind}")
            address = writer.let(f"getelementptr {memory_type(root.dtype)}, ptr %out{k}, i64 {index}")
            writer.line(f"store {kind} {value}, ptr {address}, align {root.dtype.itemsize}")
        following = writer.let(f"add i64 {index}, {lanes}")
        more = writer.let(f"icmp slt i64 {following}, {limit}")
        writer.line(f"br i1 {more}, label %{body}, label %{after}")
        writer.lines.insert(position, f"  {index} = phi i64 [{begin}, %{before}], [{following}, %{writer.block}]")
        return writer.block

    writer.lines.append("entry:")
    whole = writer.let(f"and i64 %n, {-lanes}")
    tail, done = writer.label("tail"), writer.label("done")
    loop(lanes, "0", whole, tail)
    writer.open(tail)
    loop(1, whole, "%n", done)
    writer.open(done)
    writer.line("ret void")
    body = "\n".join(writer.lines)
    declarations = "\n".join(sorted(writer.declarations))
    return f"define void @{name}({', '.join(arguments)}, i64 %n) {{\n{body}\n}}\n{declarations}\n"
