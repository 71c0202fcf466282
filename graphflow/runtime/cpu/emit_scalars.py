"""Nests of one element, emitted where they stand: their operands and results are registers, so that LLVM keeps the scalars of a loop in
registers too. The programs are those of the kernels, hence the bits."""

from __future__ import annotations

from typing import Any, Protocol

from ...dtypes import DType
from ...ir.dims import Dim
from ...ir.graph import Node, Value
from ...ir.op import Reduce
from ...kernels.nest import Nest
from ...kernels.scalar import Scalar, walk
from .emit import Emitter, Writer, memory_type

__all__ = ["ScalarHost", "emit_scalars", "is_inline", "known", "load_scalar", "may_fail", "store_scalar"]


class ScalarHost(Protocol):
    """What the program's emitter gives to its scalars."""

    writer: Writer

    def register(self, value: Value) -> str:
        """The register of a scalar."""

    def address(self, value: Value) -> str:
        """The address of a value in memory."""

    def dim(self, dim: Dim) -> str:
        """An extent."""

    def fail_unless(self, condition: str, number: int, element: str = "0") -> None:
        """Leave the program with the status of check `number` if the condition (i1) is false."""


def is_inline(node: Node) -> bool:
    """Does a fused node compute scalars only, without a reduction?"""
    body = node.attributes["body"]
    return all(v.type.elements == 1 for v in node.outputs) and not any(
        isinstance(n.op.kernel, Reduce) for n in body.nodes
    )


def load_scalar(writer: Writer, dtype: DType, address: str) -> str:
    """An element in memory as a register."""
    value = writer.let(f"load {memory_type(dtype)}, ptr {address}, align {dtype.itemsize}")
    return writer.let(f"icmp ne i8 {value}, 0") if dtype.is_bool else value


def store_scalar(writer: Writer, dtype: DType, register: str, address: str) -> None:
    """A register to memory."""
    if dtype.is_bool:
        register = writer.let(f"zext i1 {register} to i8")
    writer.line(f"store {memory_type(dtype)} {register}, ptr {address}, align {dtype.itemsize}")


def known(x: Scalar) -> Any:
    """The value of a scalar that constants decide (comparisons and choices of integers and bools), else None."""
    if x.operation == "const":
        return x.data
    if x.operation == "select":
        condition = known(x.operands[0])
        return None if condition is None else known(x.operands[1 if condition else 2])
    if x.operation in _DECIDED and x.operands[0].dtype.kind != "float":
        values = [known(o) for o in x.operands]
        if all(v is not None for v in values):
            return _DECIDED[x.operation](*values)
    return None


_DECIDED: dict[str, Any] = {
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "lt": lambda a, b: a < b, "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
}  # fmt: skip


def may_fail(x: Scalar) -> bool:
    """Can this check fail? Not where constants decide it, as in a division by a number."""
    return x.operation == "check" and known(x.operands[1]) is not True


def emit_scalars(host: ScalarHost, node: Node, nest: Nest, check_base: int) -> list[str]:
    """Compute a nest of one element; the registers of its results, in order. check_base: the program's number of its first check."""
    writer = host.writer

    def leaf(emitter: Emitter, x: Scalar) -> tuple[str, bool]:
        if x.operation == "parameter":
            return host.dim(x.data), False
        if x.operation == "check":
            return emitter.values[id(x.operands[0])][0], False
        if x.operation == "load":
            operand, place = node.inputs[x.data.buffer], host.dim(x.data.offset)
        elif x.operation == "gather":
            operand, place = node.inputs[x.data], emitter.values[id(x.operands[0])][0]
        else:
            raise TypeError(f"{x.operation} in a nest of one element")
        if operand.type.elements == 1:
            return host.register(operand), False
        address = host.address(operand)
        if place != "0":
            address = writer.let(f"getelementptr {memory_type(x.dtype)}, ptr {address}, i64 {place}")
        return load_scalar(writer, x.dtype, address), False

    emitter = Emitter(writer, 1, leaf)
    stores = [s for stage in nest.stages for s in stage.stores] + nest.row_stores
    # The checks come first, in order: behind them LLVM knows that a position is inside and loads from it, not from a chosen one.
    checks = [x for x in walk(nest.roots()) if may_fail(x)]
    for x in sorted(checks, key=lambda x: x.data):
        emitter.emit([x.operands[1]])
        host.fail_unless(emitter.values[id(x.operands[1])][0], check_base + x.data)
    emitter.emit([s.value for s in stores])
    found: dict[int, str] = {s.access.buffer: emitter.values[id(s.value)][0] for s in stores}
    return [found[len(nest.inputs) + k] for k in range(len(node.outputs))]


def is_cheap(node: Node, nest: Nest) -> bool:
    """May the nest be computed though its results are not wanted: a few instructions that read registers and cannot fail?"""
    for x in walk(nest.roots()):
        if x.operation in ("gather", "quotient", "remainder") or may_fail(x):
            return False
        if x.operation == "load" and node.inputs[x.data.buffer].type.elements != 1:
            return False
    return nest.cost() <= 8
