"""What fn.profile() returns: the time and the bytes of every kernel of a call, on the user's lines."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..compiler import build
from ..errors import InvalidArgumentError, UnimplementedError
from ..ir.dims import evaluate
from ..ir.graph import Node
from ..ir.op import Contract, Control, Effect, Library
from ..ir.source import Source
from ..runtime.cpu.counters import Counters, counts_per_second, function_of
from .calls import Call, prepare_call

__all__ = ["KernelProfile", "Profile", "bytes_text", "profile", "time_text"]

WARM_UP = 2
"""Calls before the first that is measured."""
LONGEST = 64
"""Characters of an expression in a table."""


@dataclass(frozen=True)
class KernelProfile:
    """One step of the program in one call. kind: "kernel" (a loop nest), "matmul", "library" (a routine written by hand), "effect"
    (print, Python), "loop", "branch" or "call". what: its op, or the ops fused into it. lines: all lines that it stands for; file, line
    and expression are the first of them.

    runs: how often it ran in the call. iterations: of a loop. seconds: all its runs; of a loop, branch or call with what is inside, whereas
    own_seconds is without. share: of own_seconds in the call. bytes: of operands and results (of rows changed in place the row), each once
    a run; operations: multiplications and additions of matrix products. parent: index of the step around it, in order of the program; -1.
    """

    number: int
    kind: str
    what: str
    file: str
    line: int
    expression: str
    backward: bool
    lines: tuple[str, ...]
    runs: int
    iterations: int
    seconds: float
    own_seconds: float
    share: float
    bytes: int
    operations: int
    parent: int

    @property
    def bytes_per_second(self) -> float:
        """Memory traffic; 0 where nothing is counted."""
        return self.bytes / self.seconds if self.seconds else 0.0

    @property
    def operations_per_second(self) -> float:
        """FLOP/s of a matrix product; 0 for others."""
        return self.operations / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Profile:
    """The median of `repeats` profiled calls. kernels: the most expensive first. seconds: the profiled call; plain_seconds:
    the median of as many calls without counters, in turn with the others: the difference is what counting costs.
    other_seconds: of the profiled call, outside of all counted steps (entering and leaving, scalars kept in registers,
    copies to results and variables)."""

    function: str
    repeats: int
    seconds: float
    plain_seconds: float
    other_seconds: float
    kernels: list[KernelProfile]
    events: list[tuple[int, float, float]] = field(default_factory=list, repr=False)
    events_lost: int = 0

    @property
    def overhead(self) -> float:
        """What counting adds to the call, as a share of the call without it (may be below 0: the times are measured)."""
        return self.seconds / self.plain_seconds - 1 if self.plain_seconds else 0.0

    def at(self, line: int, file: str = "") -> list[KernelProfile]:
        """The steps that a line has a part in. file: the end of its path, where several have such a line."""
        wanted = f"{os.path.basename(file)}:{line}" if file else f":{line}"
        return [k for k in self.kernels if any(place.endswith(wanted) for place in k.lines)]

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, ready for JSON."""
        found = asdict(self)
        del found["events"]
        return found

    def to_chrome_trace(self, path: str | os.PathLike[str]) -> str:
        """Write the last profiled call as a Chrome trace (JSON) for Perfetto (ui.perfetto.dev) or chrome://tracing; returns
        the path. Each run of each step is an event; of more than 65,536 the last ones are there."""
        named = {k.number: k for k in self.kernels}
        events: list[dict[str, Any]] = [
            {"ph": "M", "pid": 1, "tid": 1, "name": "process_name", "args": {"name": "graphflow"}},
            {"ph": "M", "pid": 1, "tid": 1, "name": "thread_name", "args": {"name": self.function}},
        ]
        first = min((begin for _, begin, _ in self.events), default=0.0)
        for number, begin, end in sorted(self.events, key=lambda event: (event[1], -event[2])):
            kernel = named[number]
            events.append(
                {
                    "ph": "X",
                    "pid": 1,
                    "tid": 1,
                    "ts": round((begin - first) * 1e6, 4),
                    "dur": round((end - begin) * 1e6, 4),
                    "name": f"{kernel.what} ({kernel.lines[0]})",
                    "cat": kernel.kind,
                    "args": {"file": kernel.file, "line": kernel.line, "expression": kernel.expression},
                }
            )
        document = {
            "traceEvents": events,
            "displayTimeUnit": "ns",
            "otherData": {"function": self.function, "events_lost": self.events_lost},
        }
        Path(path).write_text(json.dumps(document), encoding="utf-8")
        return os.fspath(path)

    def __str__(self) -> str:
        lines = [
            f"{self.function}: {time_text(self.plain_seconds)} a call, {time_text(self.seconds)} while profiled "
            f"(medians of {self.repeats} calls)",
            f"  {'share':>6}  {'time':>9}  {'runs':>7}  {'bytes':>9}  {'GB/s':>6}  {'GFLOP/s':>7}  line",
        ]
        for k in self.kernels:
            rate = f"{k.bytes_per_second / 1e9:.1f}" if k.bytes else ""
            flops = f"{k.operations_per_second / 1e9:.1f}" if k.operations else ""
            size = bytes_text(k.bytes) if k.bytes else ""
            what = f"{k.what}, {k.iterations:,} iterations, without what is inside" if k.kind == "loop" else k.what
            if k.kind in ("branch", "call"):
                what += ", without what is inside"
            lines.append(
                f"  {k.share:>6.1%}  {time_text(k.own_seconds):>9}  {k.runs:>7,}  {size:>9}  {rate:>6}  {flops:>7}  "
                f"{'backward of ' if k.backward else ''}{k.lines[0]}   {shortened(k.expression)}   [{what}]"
            )
        rest = self.other_seconds / self.seconds if self.seconds else 0.0
        lines.append(f"  {rest:>6.1%}  {time_text(self.other_seconds):>9}  outside of the kernels")
        return "\n".join(lines)


def profile(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], repeats: int) -> Profile:
    """See Inspection.profile."""
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise InvalidArgumentError(f"profile: repeats must be a number of at least 1, got {repeats!r}")
    call = prepare_call(function, args, kwargs)
    executable = call.concrete.executable
    if executable.backend != "cpu":
        error = UnimplementedError(
            f"{call.concrete.name}: profile counts CPU kernels, and this trace has nodes on a GPU"
        )
        error.hint = "trace it without gf.device('/GPU:0'), or use the vendor's profiler"
        raise error
    program, _ = build(executable.graph, profile=True)
    counted = call.with_executable(replace(executable, program=program, _bindings={}))
    counters: Counters = program.counters
    with call.variables_restored():
        run_plain, run_counted = _runner(call), _runner(counted)
        for _ in range(WARM_UP):
            run_plain()
            run_counted()
        plain, runs = [], []
        for _ in range(repeats):
            plain.append(run_plain())
            counters.clear()
            runs.append((run_counted(), counters.table().copy()))
    total, events = counters.events()
    # Of each kernel its own median: in a busy machine no single run is free of interruptions.
    seconds = statistics.median_low(run for run, _ in runs)
    words = np.sort(np.stack([table for _, table in runs]), axis=0)[(len(runs) - 1) // 2]
    rate = counts_per_second()
    kernels = _kernels(counters, words, rate, seconds)
    inside = sum(k.seconds for k in kernels if k.parent < 0)
    return Profile(
        call.concrete.name,
        repeats,
        seconds,
        statistics.median_low(plain),
        max(0.0, seconds - inside),
        sorted(kernels, key=lambda k: -k.own_seconds),
        [(number, begin / rate, end / rate) for number, begin, end in events],
        total - len(events),
    )


def _runner(call: Call) -> Callable[[], float]:
    """A function that makes the native call and says how long it took."""
    binding, concrete = call.binding(), call.concrete
    arrays = [t._array for t in call.arguments.tensors]

    def failed(status: int) -> BaseException:
        return concrete.error(binding, status, arrays, call.arguments.variables, call.extents)

    if getattr(binding, "dynamic_outputs", ()):

        def run_dynamic() -> float:
            begin = time.perf_counter()
            status, _ = binding.run(arrays)
            end = time.perf_counter()
            if status:
                raise failed(status)
            return end - begin

        return run_dynamic
    outputs = [
        np.empty(tuple(evaluate(d, call.extents) for d in v.type.shape), v.type.dtype.numpy)
        for v in concrete.executable.graph.outputs
    ]
    native = binding.call

    def run() -> float:
        begin = time.perf_counter()
        status = native(*arrays, *outputs)
        end = time.perf_counter()
        if status:
            raise failed(status)
        return end - begin

    return run


def _kernels(counters: Counters, words: np.ndarray[Any, Any], rate: float, total: float) -> list[KernelProfile]:
    """The counted steps that ran. Calls of one function are one step: what is inside is counted for all of them."""
    first_call: dict[int, int] = {}
    stands_for = list(range(len(counters.nodes)))
    words = words.copy()
    for number, node in enumerate(counters.nodes):
        function = function_of(node)
        if function is not None:
            first = stands_for[number] = first_call.setdefault(id(function), number)
            if first != number and counters.parents[number] == counters.parents[first]:
                words[first] += words[number]
                words[number] = 0
    inside = np.zeros(len(words), np.int64)
    for number, parent in enumerate(counters.parents):
        if parent >= 0:
            inside[parent] += words[number][0]
    found = []
    for number, node in enumerate(counters.nodes):
        cycles, runs, bytes_, operations, iterations = map(int, words[number])
        own = max(0, cycles - int(inside[number]))
        source = node.source
        found.append(
            KernelProfile(
                number,
                kind_of(node),
                what(node),
                source.file,
                source.line,
                source.expression,
                source.backward,
                tuple(dict.fromkeys(place.location for place in source.all())),
                runs,
                iterations,
                cycles / rate,
                own / rate,
                own / rate / total if total else 0.0,
                bytes_,
                operations,
                counters.parents[number],
            )
        )
    return [k for k in found if k.runs]


def kind_of(node: Node) -> str:
    """See KernelProfile.kind."""
    kernel = node.op.kernel
    if isinstance(kernel, Control):
        return {"while": "loop", "switch": "branch", "call": "call"}[kernel.kind]
    if isinstance(kernel, Effect):
        return "effect"
    if isinstance(kernel, Contract):
        return "matmul"
    return "kernel" if isinstance(kernel, Library) and kernel.name == "nest" else "library"


def what(node: Node) -> str:
    """The op of a node; of a fused one the ops in it, the first few by name."""
    body = node.attributes.get("body")
    if kind_of(node) != "kernel" or body is None:
        function = function_of(node)
        return node.op.name if function is None else f"call of {function.name}"
    names = [n.op.name for n in body.nodes if n.op.name not in ("constant", "reshape", "broadcast_to", "dimension")]
    names = names or [n.op.name for n in body.nodes] or [node.op.name]
    if len(names) == 1:
        return names[0]
    shown = ", ".join(names[:4])
    return f"fused {shown}" + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def time_text(seconds: float) -> str:
    """A time in its unit: "1.24 ms"."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds / size:,.0f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def bytes_text(count: int) -> str:
    """A number of bytes in its unit: "1.05 MB"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 1000 * size else f"{count / size:,.0f} {unit}"
    return f"{count} B"


def place_text(source: Source) -> str:
    """A place with its expression, on one line of moderate length."""
    return f"{'backward of ' if source.backward else ''}{source.location}   {shortened(source.expression)}".rstrip()


def shortened(text: str) -> str:
    """A text of at most LONGEST characters."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
