"""Counting in native code what each step of a program costs, for `fn.profile`.

A profiled program has one block of 64-bit words: how many events there were, a ring of the last EVENTS of them (number of the step,
counter at its begin and end), and for each step that is counted its WORDS: cycles, runs, bytes, operations, iterations. One
thread at a time may run such a program.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...ir.dims import Dim, product
from ...ir.graph import Graph, Node, Value
from ...ir.op import Contract, Control, Indexed
from . import llvm

__all__ = ["EVENTS", "Counters", "counting", "counts_per_second"]

EVENTS = 1 << 16
"""Events that are kept (a power of two): the last ones."""
WORDS = ("cycles", "runs", "bytes", "operations", "iterations")
HEADER = 8 + 3 * EVENTS
_ROWS = ("update_row", "scatter_add_into", "append_row")
# The cycle counter of ARM's cores is closed to programs; this one is open, and ticks at 24 MHz to 1 GHz.
COUNTER = "llvm.readsteadycounter" if platform.machine() in ("aarch64", "arm64") else "llvm.readcyclecounter"


@dataclass
class Counters:
    """The counted steps of a program. nodes: in the order of the program's text; parents: the number of the loop, branch or call that each
    stands in, -1 for none; memory: the words, once the program is made."""

    nodes: list[Node] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    memory: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(HEADER, np.int64))
    around: list[int] = field(default_factory=list)

    def allocate(self) -> None:
        """Make the words, once all steps are known."""
        self.memory = np.zeros(HEADER + len(self.nodes) * len(WORDS), np.int64)

    def clear(self) -> None:
        """Count from zero. The ring stays: clearing it would empty the processor's caches before what is measured."""
        self.memory[:8] = 0
        self.memory[HEADER:] = 0

    def words(self, name: str) -> np.ndarray[Any, Any]:
        """One word of every step."""
        found: np.ndarray[Any, Any] = self.memory[HEADER + WORDS.index(name) :: len(WORDS)]
        return found

    def table(self) -> np.ndarray[Any, Any]:
        """A row of WORDS for every step."""
        found: np.ndarray[Any, Any] = self.memory[HEADER:].reshape(len(self.nodes), len(WORDS))
        return found

    def events(self) -> tuple[int, list[tuple[int, int, int]]]:
        """How many events there were, and the last of them in order of their ends: (number of the step, begin, end)."""
        count = int(self.memory[0])
        rows = self.memory[8:HEADER].reshape(EVENTS, 3)
        kept = rows[:count] if count <= EVENTS else np.roll(rows, -(count % EVENTS), axis=0)
        return count, [(int(a), int(b), int(c)) for a, b, c in kept]


def _size(value: Value) -> Dim:
    return product(value.type.shape) * value.type.dtype.itemsize


def _bytes(node: Node) -> Dim:
    """What a step moves at least: its operands and results; of rows changed in place only the row, and of an operand that is only looked
    up (gathered, sliced) what is taken from it."""
    if isinstance(node.op.kernel, Control):
        return 0
    if node.op.name in _ROWS:
        return _size(node.inputs[-1]) * 2
    total: Dim = 0
    for value in node.outputs:
        total = total + _size(value)
    body = node.attributes.get("body")
    inner = dict(zip(node.inputs, body.inputs, strict=True)) if isinstance(body, Graph) else {}
    for value in dict.fromkeys(node.inputs):
        uses = body.uses.get(inner[value], []) if isinstance(body, Graph) else []
        if uses and all(
            _takes(use) and use.inputs[0] is inner[value] and inner[value] not in use.inputs[1:] for use in uses
        ):
            for use in dict.fromkeys(uses):
                total = total + _size(use.output)
        else:
            total = total + _size(value)
    return total


def _takes(node: Node) -> bool:
    """Does the node take elements of its first operand, each at most about once?"""
    return isinstance(node.op.kernel, Indexed) or node.op.name == "slice"


def _operations(node: Node) -> Dim:
    """Multiplications and additions of a matrix product."""
    if not isinstance(node.op.kernel, Contract):
        return 0
    a = node.inputs[0].type.shape
    return product(node.output.type.shape) * a[-2 if node.attributes["transpose_a"] else -1] * 2


@contextmanager
def counting(step: Any, node: Node) -> Iterator[None]:
    """Around the emission of a node's step by the emitter `step`: count it."""
    counters: Counters | None = step.counters
    if counters is None:
        yield
        return
    number = len(counters.nodes)
    counters.nodes.append(node)
    counters.parents.append(counters.around[-1] if counters.around else -1)
    counters.around.append(number)
    before = step.writer.intrinsic(COUNTER, "i64", [], "")
    yield
    counters.around.pop()
    writer = step.writer
    after = writer.intrinsic(COUNTER, "i64", [], "")
    spent = writer.let(f"sub i64 {after}, {before}")
    base = step.pointer(("cycles", 0))
    _add(step, base, number, "cycles", spent)
    _add(step, base, number, "runs", "1")
    for name, amount in (("bytes", _bytes(node)), ("operations", _operations(node))):
        if amount != 0:
            _add(step, base, number, name, step.dim(amount))
    event = writer.let(f"load i64, ptr {base}, align 8")
    following = writer.let(f"add i64 {event}, 1")
    writer.line(f"store i64 {following}, ptr {base}, align 8")
    turn = writer.let(f"and i64 {event}, {EVENTS - 1}")
    row = writer.let(f"mul i64 {turn}, 3")
    place = writer.let(f"getelementptr i64, ptr {base}, i64 {row}")
    for k, word in enumerate((str(number), before, after)):
        target = writer.let(f"getelementptr i64, ptr {place}, i64 {8 + k}")
        writer.line(f"store i64 {word}, ptr {target}, align 8")


def count_iteration(step: Any) -> None:
    """In a loop's body: one iteration more of the loop whose step is being emitted."""
    if step.counters is not None:
        _add(step, step.pointer(("cycles", 0)), step.counters.around[-1], "iterations", "1")


def _add(step: Any, base: str, number: int, name: str, amount: str) -> None:
    writer = step.writer
    place = writer.let(f"getelementptr i64, ptr {base}, i64 {HEADER + number * len(WORDS) + WORDS.index(name)}")
    old = writer.let(f"load i64, ptr {place}, align 8")
    new = writer.let(f"add i64 {old}, {amount}")
    writer.line(f"store i64 {new}, ptr {place}, align 8")


def function_of(node: Node) -> Graph | None:
    """The graph that a call node calls."""
    kernel = node.op.kernel
    return node.attributes["function"] if isinstance(kernel, Control) and kernel.kind == "call" else None


@functools.cache
def counts_per_second() -> float:
    """How fast the counter runs: measured once, over five times 4 ms."""
    text = f"""declare i64 @{COUNTER}()
define i64 @read_counter() {{
  %count = call i64 @{COUNTER}()
  ret i64 %count
}}
"""
    library = llvm.compile_module(text, ["read_counter"], level="quick")
    library.keep_forever()
    read = ctypes.CFUNCTYPE(ctypes.c_int64)(library.address("read_counter"))
    rates = []
    for _ in range(5):
        begin, count = time.perf_counter_ns(), read()
        while time.perf_counter_ns() - begin < 4_000_000:
            pass
        end, counted = time.perf_counter_ns(), read()
        rates.append((counted - count) * 1e9 / (end - begin))
    return sorted(rates)[len(rates) // 2]
