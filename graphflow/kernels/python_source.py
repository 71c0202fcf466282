"""Scalar programs as Python source, one statement a scalar, for numba.cuda and its simulator.

Every operation is a call of a primitive named after the operation and its dtype (`add_f32`, `fma_f64`,
`convert_f32_i32`), so the text says nothing about roundings: `runtime/cuda/primitives_device.py` defines the
primitives as NVVM instructions and `runtime/cuda/primitives_simulator.py` as plain Python on NumPy scalars. Both give
the CPU's bits. (Python operators would not: Numba widens int32 + int32 to int64 and NVVM contracts a * b + c, while
NumPy warns on overflow.)"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from ..dtypes import DType, rounded
from .scalar import Scalar, walk

__all__ = ["constant", "primitive_name", "primitive_names", "print_program"]

#: Operations that the caller prints: they touch buffers, positions or the status word.
LEAVES = ("load", "index", "parameter", "reduced")
COMPOUND = ("gather", "check")
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


def constant(value: float | int | bool, dtype: DType) -> str:
    """A constant of dtype as Python source: `float32(0.5)`, `int64(-1)`, `True`. The text reads back to the same
    bits. A bfloat16 is its 16 bits: `uint16(16256)`."""
    if dtype.is_bool:
        return "True" if value else "False"
    if not dtype.is_floating:
        return f"{dtype.name}({int(value)})"
    if dtype.short == "bf16":
        return f"uint16({int(rounded(value, dtype).view('uint16'))})"
    value = float(value)
    if math.isnan(value):
        return f"{dtype.name}(nan)"
    if math.isinf(value):
        return f"{dtype.name}({'inf' if value > 0 else '-inf'})"
    return f"{dtype.name}({value!r})"


def primitive_name(scalar: Scalar) -> str:
    """The primitive that computes this scalar from its operands."""
    operation = scalar.operation
    if operation in ("convert", "bitcast"):
        return f"{operation}_{scalar.operands[0].dtype.short}_{scalar.dtype.short}"
    if operation in _COMPARISONS:
        return f"{operation}_{scalar.operands[0].dtype.short}"
    return f"{operation}_{scalar.dtype.short}"


def primitive_names(roots: Sequence[Scalar]) -> set[str]:
    """Every primitive and type name that the printed program uses, to be imported by the kernel's module."""
    names: set[str] = set()
    for scalar in walk(list(roots)):
        if scalar.operation == "const":
            names.update(re.findall(r"\b[a-z]\w*", constant(scalar.data, scalar.dtype)))
        elif scalar.operation not in LEAVES and scalar.operation not in COMPOUND:
            names.add(primitive_name(scalar))
    return names


def print_program(
    roots: Sequence[Scalar],
    leaf: Callable[[Scalar], str],
    compound: Callable[[Scalar, list[str]], str] | None = None,
    prefix: str = "v",
    known: dict[int, str] | None = None,
) -> tuple[list[str], list[str]]:
    """The statements that compute roots, and the name (or constant) of each root.

    leaf(scalar): the expression of a leaf (load, index, parameter, reduced). compound(scalar, operands): the
    expression of a gather or a check from its operands' expressions. prefix: of the names made. known: id(scalar) ->
    name of what is computed already; it is extended, so a second call continues the first (loop prologue, then body).
    """
    names = {} if known is None else known
    lines: list[str] = []
    for scalar in walk(list(roots)):
        if id(scalar) in names:
            continue
        if scalar.operation == "const":
            names[id(scalar)] = constant(scalar.data, scalar.dtype)
            continue
        operands = [names[id(operand)] for operand in scalar.operands]
        if scalar.operation in LEAVES:
            expression = leaf(scalar)
        elif scalar.operation in COMPOUND:
            if compound is None:
                raise TypeError(f"print_program: the program has a {scalar.operation}; pass `compound` to print it")
            expression = compound(scalar, operands)
        else:
            expression = f"{primitive_name(scalar)}({', '.join(operands)})"
        name = f"{prefix}{len(names)}"
        names[id(scalar)] = name
        lines.append(f"{name} = {expression}")
    return lines, [names[id(root)] for root in roots]
