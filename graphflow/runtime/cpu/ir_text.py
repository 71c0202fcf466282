"""LLVM IR text of functions that are written out by hand: fresh names, arithmetic on i64, loops and conditions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Text"]


class Text:
    """Lines of one function, and the loops that IR lacks. `name` gives fresh names; values are written by hand."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.block = "entry"
        self._count = 0

    def fresh(self, hint: str) -> str:
        self._count += 1
        return f"{hint}.{self._count}"

    def put(self, *lines: str) -> None:
        self.lines += lines

    def let(self, expression: str, hint: str = "v") -> str:
        name = "%" + self.fresh(hint)
        self.lines.append(f"{name} = {expression}")
        return name

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self.block = name

    def add(self, left: str, right: str | int) -> str:
        return self.let(f"add i64 {left}, {right}")

    def mul(self, left: str, right: str | int) -> str:
        return self.let(f"mul i64 {left}, {right}")

    def both(self, left: str, right: str) -> str:
        return self.let(f"and i1 {left}, {right}")

    def either(self, left: str, right: str) -> str:
        return self.let(f"or i1 {left}, {right}")

    def negate(self, condition: str) -> str:
        return self.let(f"xor i1 {condition}, true")

    def equal(self, left: str | int, right: str | int) -> str:
        return self.let(f"icmp eq i64 {left}, {right}")

    def at_most(self, left: str | int, right: str | int) -> str:
        return self.let(f"icmp sle i64 {left}, {right}")

    def choose(self, condition: str, yes: str | int, no: str | int, kind: str = "i64") -> str:
        return self.let(f"select i1 {condition}, {kind} {yes}, {kind} {no}")

    def minimum(self, left: str | int, right: str | int) -> str:
        return self.let(f"call i64 @llvm.smin.i64(i64 {left}, i64 {right})")

    def ceiling(self, left: str, divisor: str | int) -> str:
        """left / divisor, rounded up; both positive (left may be 0)."""
        below = self.add(left, self.let(f"sub i64 {divisor}, 1"))
        return self.let(f"udiv i64 {below}, {divisor}")

    @contextmanager
    def loop(self, start: str | int, stop: str, step: str | int = 1) -> Iterator[str]:
        """`for i in range(start, stop, step)`; the value of the block is i."""
        number = self.fresh("loop")
        index = f"%{number}.i"
        self.put(f"br label %{number}.head")
        before = self.block
        self.label(f"{number}.head")
        self.put(
            f"{index} = phi i64 [{start}, %{before}], [{index}.next, %{number}.latch]",
            f"{index}.more = icmp slt i64 {index}, {stop}",
            f"br i1 {index}.more, label %{number}.body, label %{number}.exit",
        )
        self.label(f"{number}.body")
        yield index
        self.put(f"br label %{number}.latch")
        self.label(f"{number}.latch")
        self.put(f"{index}.next = add i64 {index}, {step}", f"br label %{number}.head")
        self.label(f"{number}.exit")

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        number = self.fresh("when")
        self.put(f"br i1 {condition}, label %{number}.then, label %{number}.done")
        self.label(f"{number}.then")
        yield
        self.put(f"br label %{number}.done")
        self.label(f"{number}.done")

    def function(self, head: str) -> str:
        return "\n".join([f"define {head} {{", "entry:", *self.lines, "}", ""])
