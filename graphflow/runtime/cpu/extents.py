"""Extents that only the run decides, and memory whose size they decide.

A run-time symbol has a slot of the table. Where its value becomes known the emitter puts a marker; when the whole module is written,
each marker becomes the code that computes, from the slots of the symbols, every extent in the table that names it. A value of run-time size
lives in memory that only grows: two slots of the table, the address and how many bytes there are, both 0 at first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...ir.dims import Dim, SymbolicDim, symbol, symbols_of
from .emit import Writer
from .nest_memory import Slots

__all__ = ["OUT_OF_MEMORY", "RESERVE", "PrefixedWriter", "fill_marker", "write_dim"]

OUT_OF_MEMORY = -2
"""The status of a call that found no memory (no check has this number)."""

RESERVE = """define internal i1 @reserve(ptr %slot, i64 %bytes, i1 %keep) #0 {
entry:
  %room = getelementptr i64, ptr %slot, i64 1
  %old = load ptr, ptr %slot, align 8
  %held = load i64, ptr %room, align 8
  %twice = shl i64 %held, 1
  %one = add i64 %bytes, 64
  %bigger = icmp ugt i64 %twice, %one
  %amortised = select i1 %bigger, i64 %twice, i64 %one
  %wanted = select i1 %keep, i64 %amortised, i64 %one
  %possible = icmp ult i64 %bytes, 70368744177664
  %modest = icmp ult i64 %wanted, 70368744177664
  %sane = and i1 %possible, %modest
  br i1 %sane, label %try, label %failed
try:
  %size = add i64 %wanted, 64
  br i1 %keep, label %longer, label %anew
longer:
  %grown = call ptr @realloc(ptr %old, i64 %size)
  br label %got
anew:
  call void @free(ptr %old)
  store ptr null, ptr %slot, align 8
  store i64 0, ptr %room, align 8
  %fresh = call ptr @malloc(i64 %size)
  br label %got
got:
  %new = phi ptr [%grown, %longer], [%fresh, %anew]
  %none = icmp eq ptr %new, null
  br i1 %none, label %failed, label %done
done:
  store ptr %new, ptr %slot, align 8
  store i64 %wanted, ptr %room, align 8
  ret i1 true
failed:
  ret i1 false
}
"""
"""Make room for `bytes` at a slot: with what is there kept (and, for appending, at least twice as much as before), or anew.
There are always more bytes than are asked for: an empty array has an address, and a gather from one may load an element and
drop it."""


class PrefixedWriter(Writer):
    """A writer whose names do not meet those of the function that its lines are put into."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix

    def name(self, hint: str = "v") -> str:
        return super().name(self.prefix + hint)

    def let(self, expression: str, hint: str = "v") -> str:
        return super().let(expression, self.prefix + hint)


def write_dim(writer: Writer, dim: Dim, value_of: Callable[[str], str]) -> str:
    """Code for an extent; value_of gives the register of a symbol."""
    if not isinstance(dim, SymbolicDim):
        return str(dim)
    total = ""
    for monomial, coefficient in dim.terms:
        term = "" if coefficient != 1 or not monomial else None
        factors = [] if term is None else [str(coefficient)]
        for atom in monomial:
            if atom.kind == "symbol":
                factors.append(value_of(atom.name))
                continue
            left, right = write_dim(writer, atom.left, value_of), write_dim(writer, atom.right, value_of)
            if atom.kind == "floordiv":
                factors.append(_floor_division(writer, left, right))
            else:
                name = "llvm.smin" if atom.kind == "min" else "llvm.smax"
                factors.append(writer.intrinsic(name, "i64", [("i64", left), ("i64", right)], "i64"))
        product = factors[0]
        for factor in factors[1:]:
            product = _saturated_product(writer, product, factor)
        total = (
            writer.intrinsic("llvm.sadd.sat", "i64", [("i64", total), ("i64", product)], "i64") if total else product
        )
    return total


def _saturated_product(writer: Writer, left: str, right: str) -> str:
    """A product that does not fit is the largest number of its sign: a size that wrapped round would be taken for a small one."""
    both = writer.intrinsic("llvm.smul.with.overflow", "{i64, i1}", [("i64", left), ("i64", right)], "i64")
    product = writer.let(f"extractvalue {{i64, i1}} {both}, 0")
    overflows = writer.let(f"extractvalue {{i64, i1}} {both}, 1")
    signs = writer.let(f"xor i64 {left}, {right}")
    negative = writer.let(f"icmp slt i64 {signs}, 0")
    limit = writer.let(f"select i1 {negative}, i64 {-(2**63)}, i64 {2**63 - 1}")
    return writer.let(f"select i1 {overflows}, i64 {limit}, i64 {product}")


def _floor_division(writer: Writer, left: str, right: str) -> str:
    """Towards minus infinity; by 0, which a symbol can be while it is not yet known, as by 1."""
    zero = writer.let(f"icmp eq i64 {right}, 0")
    safe = writer.let(f"select i1 {zero}, i64 1, i64 {right}")
    quotient = writer.let(f"sdiv i64 {left}, {safe}")
    back = writer.let(f"mul i64 {quotient}, {safe}")
    rest = writer.let(f"sub i64 {left}, {back}")
    inexact = writer.let(f"icmp ne i64 {rest}, 0")
    signs = writer.let(f"xor i64 {rest}, {safe}")
    negative = writer.let(f"icmp slt i64 {signs}, 0")
    down = writer.let(f"and i1 {inexact}, {negative}")
    one = writer.let(f"zext i1 {down} to i64")
    return writer.let(f"sub i64 {quotient}, {one}")


def fill_marker(number: int, names: Iterable[str], slots: Slots, declarations: set[str]) -> list[str]:
    """The lines that compute every extent in the table that names one of these symbols."""
    writer, changed = PrefixedWriter(f"extent{number}_"), set(names)
    loaded: dict[str, str] = {}

    def value_of(name: str) -> str:
        if name not in loaded:
            place = writer.let(f"getelementptr i64, ptr %table, i64 {slots.dim(symbol(name))}")
            loaded[name] = writer.let(f"load i64, ptr {place}, align 8")
        return loaded[name]

    for dim, slot in list(slots.dims.items()):
        if symbols_of(dim) & changed and dim.text not in changed:
            value = write_dim(writer, dim, value_of)
            place = writer.let(f"getelementptr i64, ptr %table, i64 {slot}")
            writer.line(f"store i64 {value}, ptr {place}, align 8")
    declarations |= writer.declarations
    return writer.lines
