"""The primitives of printed scalar programs (kernels/python_source.py) on a GPU, as Numba intrinsics: each writes its
NVVM instructions itself, so no Numba typing rule (int32 + int32 is int64 there) and no contraction comes between.

NVVM fuses a * b + c by default; it does not fuse `llvm.nvvm.mul.rn`, which therefore stands for every multiplication
(one call of numba.cuda cannot switch contraction off for a single kernel without changing the user's others).
Division and square root are the correctly rounded forms, and subnormals are kept (do not compile with fastmath=True).
bfloat16 is carried as its 16 bits (uint16)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.cuda import types
from numba.cuda.extending import intrinsic

__all__ = ["PRIMITIVES"]

nan = float("nan")
inf = float("inf")
float16, float32, float64 = types.float16, types.float32, types.float64
int8, int16, int32, int64 = types.int8, types.int16, types.int32, types.int64
uint8, uint16, uint32, uint64 = types.uint8, types.uint16, types.uint32, types.uint64

_NUMBA: dict[str, Any] = {
    "f16": float16, "bf16": uint16, "f32": float32, "f64": float64, "i8": int8, "i16": int16, "i32": int32, "i64":
    int64, "u8": uint8, "u16": uint16, "u32": uint32, "u64": uint64, "b1": types.boolean,
}  # fmt: skip
_INTEGERS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
_NVVM_SUFFIX = {"f32": "f", "f64": "d"}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}

#: Writes the instructions of a primitive: (builder, operands) -> result.
Emit = Callable[[Any, list[Any]], Any]


def _llvm(short: str) -> Any:
    """The LLVM type that Numba holds a value in: f16 as its 16 bits."""
    if short == "b1":
        return ir.IntType(1)
    if short in ("f32", "f64"):
        return ir.FloatType() if short == "f32" else ir.DoubleType()
    return ir.IntType(16 if short in ("f16", "bf16") else int(short[1:]))


def _call(name: str, result: Any, *arguments: Any) -> Emit:
    """A call of an LLVM or NVVM intrinsic."""

    def emit(builder: Any, operands: list[Any]) -> Any:
        kind = ir.FunctionType(result, arguments)
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        return builder.call(function, operands)

    return emit


def _method(name: str) -> Emit:
    return lambda builder, operands: getattr(builder, name)(*operands)


def _negative_integer(builder: Any, operands: list[Any]) -> Any:
    return builder.sub(ir.Constant(operands[0].type, 0), operands[0])


def _absolute_integer(builder: Any, operands: list[Any]) -> Any:
    zero = ir.Constant(operands[0].type, 0)
    return builder.select(builder.icmp_signed("<", operands[0], zero), builder.sub(zero, operands[0]), operands[0])


def _sign_bit(operation: str, short: str) -> Emit:
    """neg and abs on the bits. NVVM's dialect rejects the fneg instruction and llvm.fabs (ERROR_INVALID_IR)."""
    integer = ir.IntType(32 if short == "f32" else 64)
    sign = 1 << (integer.width - 1)

    def emit(builder: Any, operands: list[Any]) -> Any:
        bits = builder.bitcast(operands[0], integer)
        if operation == "neg":
            bits = builder.xor(bits, ir.Constant(integer, sign))
        else:
            bits = builder.and_(bits, ir.Constant(integer, sign - 1))
        return builder.bitcast(bits, operands[0].type)

    return emit


def _copysign(short: str) -> Emit:
    integer = ir.IntType(32 if short == "f32" else 64)
    sign = 1 << (integer.width - 1)

    def emit(builder: Any, operands: list[Any]) -> Any:
        magnitude, source = (builder.bitcast(operand, integer) for operand in operands)
        bits = builder.or_(
            builder.and_(magnitude, ir.Constant(integer, sign - 1)), builder.and_(source, ir.Constant(integer, sign))
        )
        return builder.bitcast(bits, operands[0].type)

    return emit


def _float_to_integer(start: str, end: str) -> Emit:
    """Truncated and saturated, NaN -> 0. PTX's own conversion saturates too, but gives 2^63 for a NaN in f64."""
    integer, signed = _llvm(end), end[0] == "i"
    low = -(1 << (integer.width - 1)) if signed else 0
    high = (1 << (integer.width - signed)) - 1

    def emit(builder: Any, operands: list[Any]) -> Any:
        (value,) = operands
        if start == "f16":
            value = _from_f16("f32")(builder, operands)
        kind = value.type
        # low and high + 1 are powers of two (or 0), exact in every float format
        over = builder.fcmp_ordered(">=", value, ir.Constant(kind, float(high + 1)))
        under = builder.fcmp_ordered("<=", value, ir.Constant(kind, float(low)))
        ordered = builder.fcmp_ordered("ord", value, value)
        inside = builder.and_(ordered, builder.not_(builder.or_(over, under)))
        safe = builder.select(inside, value, ir.Constant(kind, 0.0))
        result = builder.fptosi(safe, integer) if signed else builder.fptoui(safe, integer)
        result = builder.select(over, ir.Constant(integer, high), result)
        return builder.select(under, ir.Constant(integer, low), result)

    return emit


def _from_f16(end: str) -> Emit:
    return _call(f"llvm.convert.from.fp16.{end}", _llvm(end), ir.IntType(16))


def _to_f16(start: str) -> Emit:
    return _call(f"llvm.convert.to.fp16.{start}", ir.IntType(16), _llvm(start))


def _wide_integer_to_odd(builder: Any, operands: list[Any]) -> Any:
    """A 64-bit integer whose conversion to f64 is exact: from 2^52 up the low 12 bits become one sticky bit."""
    (value,) = operands
    word = ir.IntType(64)
    zero, low_mask, sticky_bit = ir.Constant(word, 0), ir.Constant(word, 0xFFF), ir.Constant(word, 0x800)
    low = builder.and_(value, low_mask)
    sticky = builder.select(builder.icmp_unsigned("!=", low, zero), sticky_bit, zero)
    # |value| < 2^52 as one unsigned comparison of value + 2^52
    small = builder.icmp_unsigned("<", builder.add(value, ir.Constant(word, 1 << 52)), ir.Constant(word, 1 << 53))
    return builder.select(small, value, builder.or_(builder.sub(value, low), sticky))


def _bf16_to(end: str) -> Emit:
    def emit(builder: Any, operands: list[Any]) -> Any:
        wide = builder.shl(builder.zext(operands[0], ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
        value = builder.bitcast(wide, ir.FloatType())
        return value if end == "f32" else _conversion("f32", end)(builder, [value])

    return emit


def _f32_to_bf16(builder: Any, operands: list[Any]) -> Any:
    """Round to nearest even in integers; a NaN stays a quiet NaN."""
    word = ir.IntType(32)
    bits = builder.bitcast(operands[0], word)
    lowest = builder.and_(builder.lshr(bits, ir.Constant(word, 16)), ir.Constant(word, 1))
    rounded = builder.add(bits, builder.add(lowest, ir.Constant(word, 0x7FFF)))
    quiet = builder.or_(bits, ir.Constant(word, 0x400000))
    chosen = builder.select(builder.fcmp_unordered("uno", operands[0], operands[0]), quiet, rounded)
    return builder.trunc(builder.lshr(chosen, ir.Constant(word, 16)), ir.IntType(16))


def _f64_to_odd_f32(builder: Any, operands: list[Any]) -> Any:
    """f64 to f32 rounded to odd, so that a later rounding to bf16 is the only one."""
    (value,) = operands
    word = ir.IntType(32)
    single = builder.fptrunc(value, ir.FloatType())
    back = builder.fpext(single, ir.DoubleType())
    bits = builder.bitcast(single, word)
    inexact = builder.fcmp_ordered("!=", back, value)
    even = builder.icmp_unsigned("==", builder.and_(bits, ir.Constant(word, 1)), ir.Constant(word, 0))
    absolute = _sign_bit("abs", "f64")
    above = builder.fcmp_ordered(">", absolute(builder, [value]), absolute(builder, [back]))
    step = builder.select(above, ir.Constant(word, 1), ir.Constant(word, -1))
    moved = builder.select(builder.and_(inexact, even), builder.add(bits, step), bits)
    return builder.bitcast(moved, ir.FloatType())


def _conversion(start: str, end: str) -> Emit:
    if start == "bf16":
        return _bf16_to(end)
    if end == "bf16":
        if start == "f32":
            return _f32_to_bf16
        if start == "f64":
            return lambda builder, operands: _f32_to_bf16(builder, [_f64_to_odd_f32(builder, operands)])
        if start == "f16" or start == "b1" or int(start[1:]) <= 16:
            first = _conversion(start, "f32")
            return lambda builder, operands: _f32_to_bf16(builder, [first(builder, operands)])
        wide = _conversion(start, "f64")
        if start[1:] == "64":
            odd = _wide_integer_to_odd
            return lambda builder, operands: _f32_to_bf16(
                builder, [_f64_to_odd_f32(builder, [wide(builder, [odd(builder, operands)])])]
            )
        return lambda builder, operands: _f32_to_bf16(builder, [_f64_to_odd_f32(builder, [wide(builder, operands)])])
    target = _llvm(end)
    if start in ("f16", "f32", "f64"):
        if end in _INTEGERS:
            return _float_to_integer(start, end)
        if start == "f16":
            return _from_f16(end)
        if end == "f16":
            return _to_f16(start)
        name = "fpext" if end == "f64" else "fptrunc"
        return lambda builder, operands: getattr(builder, name)(operands[0], target)
    signed = start[0] == "i"
    if end == "f16":  # integers that f64 does not hold are infinite in f16
        wide, narrow = _conversion(start, "f64"), _to_f16("f64")
        return lambda builder, operands: narrow(builder, [wide(builder, operands)])
    if end in ("f32", "f64"):
        return lambda builder, operands: (builder.sitofp if signed else builder.uitofp)(operands[0], target)
    start_width = _llvm(start).width
    if start_width == target.width:
        return lambda builder, operands: operands[0]
    name = "trunc" if start_width > target.width else "sext" if signed else "zext"
    return lambda builder, operands: getattr(builder, name)(operands[0], target)


def _primitive(name: str, result: str, operands: tuple[str, ...], emit: Emit) -> Any:
    """An intrinsic of one signature; Numba converts constants to it."""
    signature = _NUMBA[result](*(_NUMBA[operand] for operand in operands))

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit(builder, list(arguments))

    if len(operands) == 1:

        def typing1(typingctx: Any, a: Any) -> Any:
            return signature, codegen

        typing: Any = typing1
    elif len(operands) == 2:

        def typing2(typingctx: Any, a: Any, b: Any) -> Any:
            return signature, codegen

        typing = typing2
    else:

        def typing3(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
            return signature, codegen

        typing = typing3
    typing.__name__ = typing.__qualname__ = name
    return intrinsic(typing)


def _float_primitives(short: str) -> dict[str, tuple[str, tuple[str, ...], Emit]]:
    kind, letter = _llvm(short), _NVVM_SUFFIX[short]
    one, two = (short,), (short, short)
    table: dict[str, tuple[str, tuple[str, ...], Emit]] = {
        "add": (short, two, _method("fadd")),
        "sub": (short, two, _method("fsub")),
        "mul": (short, two, _call(f"llvm.nvvm.mul.rn.{letter}", kind, kind, kind)),
        "div": (short, two, _call(f"llvm.nvvm.div.rn.{letter}", kind, kind, kind)),
        "sqrt": (short, one, _call(f"llvm.nvvm.sqrt.rn.{letter}", kind, kind)),
        "fma": (short, (short,) * 3, _call(f"llvm.fma.{short}", kind, kind, kind, kind)),
        "neg": (short, one, _sign_bit("neg", short)),
        "abs": (short, one, _sign_bit("abs", short)),
        "copysign": (short, two, _copysign(short)),
    }
    # NVVM rejects llvm.rint; libdevice's rint is the cvt.rni instruction
    table["rint"] = (short, one, _call("__nv_rintf" if short == "f32" else "__nv_rint", kind, kind))
    for operation in ("floor", "ceil", "trunc"):
        table[operation] = (short, one, _call(f"llvm.{operation}.{short}", kind, kind))
    for operation, symbol in _COMPARE.items():
        compare = "fcmp_unordered" if operation == "ne" else "fcmp_ordered"
        table[operation] = ("b1", two, _compare(compare, symbol))
    return table


def _narrow_comparison(short: str, operation: str) -> Emit:
    """f16 and bf16 are compared in f32."""
    widen = _conversion(short, "f32")
    compare = "fcmp_unordered" if operation == "ne" else "fcmp_ordered"

    def emit(builder: Any, operands: list[Any]) -> Any:
        return getattr(builder, compare)(_COMPARE[operation], *(widen(builder, [operand]) for operand in operands))

    return emit


def _integer_primitives(short: str) -> dict[str, tuple[str, tuple[str, ...], Emit]]:
    signed = short[0] == "i"
    two = (short, short)
    table: dict[str, tuple[str, tuple[str, ...], Emit]] = {
        "neg": (short, (short,), _negative_integer),
        "abs": (short, (short,), _absolute_integer if signed else (lambda builder, operands: operands[0])),
        "not": (short, (short,), _method("not_")),
        "quotient": (short, two, _method("sdiv" if signed else "udiv")),
        "remainder": (short, two, _method("srem" if signed else "urem")),
    }
    for operation, name in (("add", "add"), ("sub", "sub"), ("mul", "mul"), ("and", "and_"), ("or", "or_"), ("xor",
    "xor"),
                            ("shl", "shl"), ("lshr", "lshr"), ("ashr", "ashr")):  # fmt: skip
        table[operation] = (short, two, _method(name))
    for operation, symbol in _COMPARE.items():
        compare = "icmp_signed" if signed else "icmp_unsigned"
        table[operation] = ("b1", two, _compare(compare, symbol))
    return table


def _bitcast(end: str) -> Emit:
    target = _llvm(end)
    return lambda builder, operands: operands[0] if operands[0].type == target else builder.bitcast(operands[0], target)


def _compare(method: str, symbol: str) -> Emit:
    return lambda builder, operands: getattr(builder, method)(symbol, *operands)


def _build() -> dict[str, Any]:
    table: dict[str, tuple[str, tuple[str, ...], Emit]] = {}
    for short in ("f32", "f64"):
        table |= {f"{name}_{short}": record for name, record in _float_primitives(short).items()}
    for short in _INTEGERS:
        table |= {f"{name}_{short}": record for name, record in _integer_primitives(short).items()}
    for short in ("f16", "bf16"):
        for operation in _COMPARE:
            table[f"{operation}_{short}"] = ("b1", (short, short), _narrow_comparison(short, operation))
    for operation, name in (("and", "and_"), ("or", "or_"), ("xor", "xor")):
        table[f"{operation}_b1"] = ("b1", ("b1", "b1"), _method(name))
    table["not_b1"] = ("b1", ("b1",), _method("not_"))
    for operation in ("eq", "ne"):
        symbol = _COMPARE[operation]
        table[f"{operation}_b1"] = ("b1", ("b1", "b1"), _compare("icmp_unsigned", symbol))
    for start in _NUMBA:
        table[f"select_{start}"] = (start, ("b1", start, start), _method("select"))
        for end in _NUMBA:
            if start == end or end == "b1":
                continue
            table[f"convert_{start}_{end}"] = (end, (start,), _conversion(start, end))
            if start != "b1" and _NUMBA[start].bitwidth == _NUMBA[end].bitwidth:
                table[f"bitcast_{start}_{end}"] = (end, (start,), _bitcast(end))
    return {name: _primitive(name, *record) for name, record in table.items()}


#: name -> intrinsic. The types (`float32` ...), `nan` and `inf` that printed constants use are attributes of this
#: module too.
PRIMITIVES = _build()
globals().update(PRIMITIVES)
