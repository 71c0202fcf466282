"""Random programs of nested control flow over tensors and Python values, as text."""

from __future__ import annotations

import random


class Writer:
    """Writes one function `f(x, n, v)`: x f32[], n i32[], v f32[k]."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines = ["def f(x, n, v):", "    a = x + 1.0", "    b = x * 0.5", "    i = n", "    log = []"]
        self.names = ["a", "b", "x"]
        self.loops = 0

    def number(self) -> str:
        return f"{self.random.choice([0.5, 1.0, 1.5, 2.0, -1.0, 0.25])}"

    def value(self, depth: int = 0) -> str:
        kind = self.random.randrange(8 if depth < 2 else 3)
        if kind <= 1:
            return self.random.choice(self.names)
        if kind == 2:
            return f"({self.random.choice(self.names)} + {self.number()})"
        if kind == 3:
            return f"({self.value(depth + 1)} * {self.number()} - {self.value(depth + 1)})"
        if kind == 4:
            return f"gf.tanh({self.value(depth + 1)})"
        if kind == 5:
            return f"({self.value(depth + 1)} if {self.test(depth + 1)} else {self.value(depth + 1)})"
        if kind == 6:
            return f"helper({self.value(depth + 1)})"
        return f"max({self.value(depth + 1)}, {self.number()} * x)"

    def test(self, depth: int = 0) -> str:
        kind = self.random.randrange(9 if depth < 2 else 2)
        if kind <= 1:
            return f"{self.random.choice(self.names)} {self.random.choice('<>')} {self.number()}"
        if kind == 2:
            return f"({self.test(depth + 1)} {self.random.choice(['and', 'or'])} {self.test(depth + 1)})"
        if kind == 3:
            return f"not {self.test(depth + 1)}"
        if kind == 4:
            return f"{self.number()} < {self.random.choice(self.names)} < {self.number()} + 2"
        if kind == 5:
            return self.random.choice(["FLAG", "not FLAG", "COUNT > 2"])
        if kind == 6:
            return f"i % 2 == {self.random.randrange(2)}"
        if kind == 7:
            return f"(FLAG and {self.test(depth + 1)})"
        return f"{self.value(2)} <= {self.value(2)}"

    def block(self, indent: int, depth: int, in_loop: bool) -> None:
        for _ in range(self.random.randint(1, 3)):
            self.statement(indent, depth, in_loop)

    def statement(self, indent: int, depth: int, in_loop: bool) -> None:
        pad = "    " * indent
        add = self.lines.append
        kind = self.random.randrange(16 if depth < 3 else 5)
        if kind <= 2:
            add(f"{pad}{self.random.choice(self.names)} = {self.value()}")
        elif kind == 3:
            add(f"{pad}{self.random.choice(self.names)} {self.random.choice(['+', '-', '*'])}= {self.value()}")
        elif kind == 4:
            add(f"{pad}i = i + {self.random.randint(1, 3)}")
        elif kind <= 7:
            add(f"{pad}if {self.test()}:")
            self.block(indent + 1, depth + 1, in_loop)
            if self.random.random() < 0.3:
                add(f"{pad}elif {self.test()}:")
                self.block(indent + 1, depth + 1, in_loop)
            if self.random.random() < 0.6:
                add(f"{pad}else:")
                self.block(indent + 1, depth + 1, in_loop)
        elif kind == 8 and in_loop:
            add(f"{pad}if {self.test()}:")
            add(f"{pad}    {self.random.choice(['break', 'continue'])}")
        elif kind == 9:
            add(f"{pad}if {self.test()}:")
            add(f"{pad}    return {self.value()}, b, i, 1")
        elif kind == 10:
            add(f"{pad}if {self.random.choice(self.names)} > 1000.0:")
            add(f"{pad}    raise ValueError('large')")
        elif kind == 11:
            add(f"{pad}state.h = {self.value()}")
            add(f"{pad}a = a + state.h * 0.5")
        elif kind == 12 and depth < 2:
            self.loops += 1
            k = f"k{self.loops}"
            add(f"{pad}{k} = 0")
            add(f"{pad}while {k} < {self.random.randint(1, 3)} and {self.test(1)}:")
            add(f"{pad}    {k} += 1")
            self.block(indent + 1, depth + 1, True)
            self.otherwise(indent, depth, in_loop)
        elif kind >= 13 and depth < 2:
            self.loops += 1
            header = self.random.choice(
                [
                    "for e in v:",
                    f"for j{self.loops} in gf.range(n):",
                    f"for j{self.loops} in range({self.random.randint(1, 3)}):",
                    f"for j{self.loops}, e in enumerate(v):",
                    "for e, d in zip(v, reversed(v)):",
                    "for e in [x, a]:",
                ]
            )
            add(f"{pad}{header}")
            if " e" in header or ", e" in header:
                add(
                    f"{pad}    {self.random.choice(self.names)} = e * {self.number()} + {self.random.choice(self.names)}"
                )
            self.block(indent + 1, depth + 1, True)
            self.otherwise(indent, depth, in_loop)
        else:
            add(f"{pad}{self.random.choice(self.names)} = helper({self.value()})")

    def otherwise(self, indent: int, depth: int, in_loop: bool) -> None:
        if self.random.random() < 0.3:
            self.lines.append("    " * indent + "else:")
            self.block(indent + 1, depth + 1, in_loop)

    def text(self) -> str:
        for _ in range(self.random.randint(2, 5)):
            self.statement(1, 0, False)
        self.lines.append("    return a, b, i, 0")
        return "\n".join(self.lines) + "\n"


def program(seed: int) -> str:
    """The text of a random program."""
    return Writer(seed).text()


class Holder:
    """An object with an attribute."""

    def __init__(self, h):
        self.h = h


def helper(x):
    """A function that the programs call."""
    if x > 3:
        return x * 0.25
    y = x
    while y < -2:
        y = y * 0.5 + 1.0
    return y
