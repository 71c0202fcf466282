"""What fn.explain() returns: every trace with its cause and cost, and every remark of the compiler, as data and as
text."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from ..passes.manager import Remark

__all__ = ["Explanation", "TraceReport", "report_of"]


@dataclass(frozen=True)
class TraceReport:
    """One trace: why it was made, for which arguments, what it cost and how often it ran.

    number: 1 is the function's first. kind, subject, old, new: the cause as data (see causes.Cause); reason: the same
    as a sentence. advice: what to change so that such a trace is not needed; may be empty. file, line: the user's line
    of the call that caused it. trace_milliseconds, optimise_milliseconds: running Python, and the passes;
    compile_milliseconds: passes and code generation together. state: "kept", or why the trace was dropped.
    """

    reason: str
    types: tuple[str, ...]
    trace_milliseconds: float
    compile_milliseconds: float
    nodes: int
    kernels: int
    number: int = 0
    signature: str = ""
    kind: str = ""
    subject: str = ""
    old: str = ""
    new: str = ""
    advice: str = ""
    file: str = ""
    line: int = 0
    optimise_milliseconds: float = 0.0
    hits: int = 0
    guards: int = 0
    state: str = "kept"

    @property
    def milliseconds(self) -> float:
        """The whole cost of the trace."""
        return self.trace_milliseconds + self.compile_milliseconds

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, ready for JSON."""
        return {**asdict(self), "types": list(self.types)}

    def __str__(self) -> str:
        where = f"   at {self.file}:{self.line}" if self.file else ""
        generate = self.compile_milliseconds - self.optimise_milliseconds
        lines = [
            f"{self.number}: {self.reason}{where}",
            f"   {self.signature}, {self.nodes} nodes -> {self.kernels} kernels, {self.hits} hits, {self.guards} guards",
            f"   traced in {self.trace_milliseconds:.1f} ms, optimised in {self.optimise_milliseconds:.1f} ms, "
            f"compiled in {generate:.1f} ms",
        ]
        if self.advice:
            lines.append(f"   to avoid it: {self.advice}")
        if self.state != "kept":
            lines.append(f"   dropped: {self.state}")
        return "\n".join(lines)


def report_of(concrete: Any, state: str = "kept") -> TraceReport:
    """The report on one ConcreteFunction."""
    cause, caller, executable = concrete.cause, concrete.caller, concrete.executable
    types = tuple(map(str, concrete.types))
    told = (cause.kind, cause.subject, cause.old, cause.new, cause.advice) if cause is not None else ("",) * 5
    kind, subject, old, new, advice = told
    return TraceReport(
        concrete.reason,
        types,
        concrete.trace_milliseconds,
        executable.compile_milliseconds,
        len(concrete.graph.nodes),
        executable.program.kernels,
        concrete.number,
        f"({', '.join(f'{n}: {t}' for n, t in zip(concrete.names, types, strict=True))})",
        kind,
        subject,
        old,
        new,
        advice,
        caller.file if caller is not None else "",
        caller.line if caller is not None else 0,
        sum(stage.milliseconds for stage in executable.stages),
        concrete.uses[0],
        len(concrete.guards),
        state,
    )


@dataclass(frozen=True)
class Explanation:
    """What the compiler did and did not do. str() is a readable report, to_dict() the same as data.

    traces: the traces that are kept, oldest first; dropped: those that had to go, each with why. remarks: everything
    noted; the properties below sort them.
    """

    function: str
    traces: list[TraceReport]
    remarks: list[Remark] = field(default_factory=list)
    dropped: list[TraceReport] = field(default_factory=list)
    made: int = 0
    limit: int = 0

    @property
    def refusals(self) -> dict[str, list[Remark]]:
        """The edges that were not fused, by category."""
        found: dict[str, list[Remark]] = {}
        for remark in self.remarks:
            if remark.category.startswith("not fused: "):
                found.setdefault(remark.category.removeprefix("not fused: "), []).append(remark)
        return found

    @property
    def placement(self) -> list[Remark]:
        """Nodes that run elsewhere than was asked for."""
        return [r for r in self.remarks if r.category.startswith("placement")]

    @property
    def warnings(self) -> list[Remark]:
        """Side effects seen while tracing, and captured values that are not guarded."""
        return [r for r in self.remarks if r.category in ("side effect", "unguarded")]

    @property
    def fallbacks(self) -> list[Remark]:
        """Everything else that took another way than the usual one."""
        sorted_out = {id(r) for r in (*self.placement, *self.warnings)}
        return [r for r in self.remarks if id(r) not in sorted_out and not r.category.startswith("not fused: ")]

    @property
    def reasons(self) -> dict[str, int]:
        """How often each kind of cause made a trace: {"argument 'k'": 3, "first call": 1}."""
        return dict(Counter(t.subject or t.kind for t in (*self.dropped, *self.traces)))

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, ready for JSON."""
        return {
            "function": self.function,
            "made": self.made,
            "limit": self.limit,
            "reasons": self.reasons,
            "traces": [t.to_dict() for t in self.traces],
            "dropped": [t.to_dict() for t in self.dropped],
            "refusals": {k: list(map(_remark, v)) for k, v in self.refusals.items()},
            "placement": list(map(_remark, self.placement)),
            "fallbacks": list(map(_remark, self.fallbacks)),
            "warnings": list(map(_remark, self.warnings)),
        }

    def __str__(self) -> str:
        lines = [f"{self.function}: {self.made} trace(s) made, {len(self.traces)} kept"]
        for trace in (*self.dropped, *self.traces):
            lines += [f"  {line}" for line in str(trace).splitlines()]
        titles = {"warnings": self.warnings, "placement": self.placement, "fallbacks": self.fallbacks}
        for title, remarks in titles.items():
            if remarks:
                lines += [f"  {title}:", *(f"    {remark}" for remark in remarks)]
        for category, remarks in self.refusals.items():
            lines += [f"  not fused, {category}:", *(f"    {_without_category(remark)}" for remark in remarks)]
        return "\n".join(lines)


def _without_category(remark: Remark) -> str:
    return str(remark).removeprefix(f"{remark.category}: ")


def _remark(remark: Remark) -> dict[str, Any]:
    return {
        "category": remark.category,
        "message": remark.message,
        "pass": remark.pass_name,
        "places": [{"file": s.file, "line": s.line, "expression": s.expression} for s in remark.sources],
    }
