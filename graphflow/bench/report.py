"""Prints a run's results as tables, and writes them as a Markdown document."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from pathlib import Path

from graphflow.bench.harness import FirstCall, Results, Timing, median_ratio, verdicts
from graphflow.bench.peers import CONTENDERS
from graphflow.bench.workloads import WORKLOADS

Row = list[str]
IMPORT_TARGET = 1.3
FIRST_CALL_TARGET = 1.0


def duration(seconds: float) -> str:
    """Seconds as text with a fitting unit and three figures."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        value = seconds * factor
        if value >= 1.0:
            return (
                f"{value:.0f} {unit}"
                if value >= 100
                else f"{value:.1f} {unit}"
                if value >= 10
                else f"{value:.2f} {unit}"
            )
    return f"{seconds * 1e9:.0f} ns"


def machine() -> str:
    """Processor, cores and system in one line."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    release = ".".join(platform.release().split("-")[0].split(".")[:2])
    return f"{model} ({platform.machine()}), {cores} cores, {platform.system()} {release}"


def verdict_text(met: bool | None) -> str:
    """`pass`, `MISS` or `not measured`."""
    return "not measured" if met is None else "pass" if met else "MISS"


def step_rows(results: Results) -> tuple[Row, list[Row]]:
    """The steady-state table: a row per workload, a column per contender that took part, targets last."""
    measured = {who for timings in results.timings.values() for who in timings}
    columns = [who for who in CONTENDERS if who in measured]
    rows = []
    for name, timings in results.timings.items():
        cells = [_timing_cell(timings.get(who), WORKLOADS[name].bytes_moved, WORKLOADS[name].flops) for who in columns]
        rows.append([WORKLOADS[name].title, *cells])
    return ["workload (time per step)", *columns], rows


def summary_rows(results: Results) -> tuple[Row, list[Row]]:
    """graphflow beside the fastest peer: a row per workload in which both were measured."""
    rows = []
    for name, timings in results.timings.items():
        peers = [timing for who, timing in timings.items() if CONTENDERS[who].is_peer and timing.seconds]
        ours = timings.get("graphflow")
        if not peers or ours is None or not ours.seconds:
            continue
        best = min(peers, key=lambda timing: timing.median)
        ratio = median_ratio(ours.seconds, best.seconds)
        rows.append(
            [
                WORKLOADS[name].title,
                duration(ours.median),
                f"{duration(best.median)} ({best.contender})",
                f"{ratio:.2g}",
            ]
        )
    return ["workload", "graphflow", "fastest peer", "ratio"], rows


def _timing_cell(timing: Timing | None, bytes_moved: int, flops: int) -> str:
    if timing is None:
        return ""
    if not timing.seconds:
        return "failed"
    text = duration(timing.median)
    if bytes_moved:
        text += f" ({bytes_moved / timing.median / 1e9:.1f} GB/s)"
    if flops:
        text += f" ({flops / timing.median / 1e9:.0f} GFLOP/s)"
    return text


def target_rows(results: Results) -> tuple[Row, list[Row]]:
    """The table of targets: what was asked, the measured ratio, pass or miss."""
    rows = []
    for name in results.timings:
        for verdict in verdicts(results, name):
            ratio = "" if verdict.ratio is None else f"{verdict.ratio:.3g}"
            if verdict.target.over is not None and verdict.over is not None:
                ratio = f"{'+' if verdict.over >= 0 else '-'}{duration(abs(verdict.over))}"
            against = verdict.against if verdict.ratio is not None else f"{verdict.target.against}"
            rows.append([WORKLOADS[name].title, verdict.target.text, against, ratio, verdict_text(verdict.met)])
    for name, calls in results.first_calls.items():
        ratio_value = _call_ratio(calls.get("graphflow"), calls.get("jax"))
        met = None if ratio_value is None else ratio_value <= FIRST_CALL_TARGET
        ratio = "" if ratio_value is None else f"{ratio_value:.3g}"
        rows.append([f"first call: {WORKLOADS[name].title}", "at most JAX's", "jax", ratio, verdict_text(met)])
    if results.imports:
        value = median_ratio(results.imports["graphflow"], results.imports["numpy"])
        met = value <= IMPORT_TARGET
        rows.append(["import graphflow", "at most 1.3x import numpy", "numpy", f"{value:.3g}", verdict_text(met)])
    return ["what", "target", "against", "ratio", "verdict"], rows


def _call_ratio(ours: FirstCall | None, theirs: FirstCall | None) -> float | None:
    if ours is None or theirs is None or not ours.calls or not theirs.calls:
        return None
    return statistics.median(ours.calls) / statistics.median(theirs.calls)


def first_call_rows(results: Results) -> tuple[Row, list[Row]]:
    """First calls in fresh processes: a row per workload, plus one with the imports that were excluded."""
    measured = {who for calls in results.first_calls.values() for who in calls}
    columns = [who for who in CONTENDERS if who in measured]
    rows = []
    imports: dict[str, list[float]] = {who: [] for who in columns}
    for name, calls in results.first_calls.items():
        cells = []
        for who in columns:
            call = calls[who]
            imports[who] += call.imports
            cells.append(duration(statistics.median(call.calls)) if call.calls else "failed")
        cached = results.cached_calls.get(name)
        cells.append(duration(statistics.median(cached.calls)) if cached and cached.calls else "")
        rows.append([WORKLOADS[name].title, *cells])
    times = [duration(statistics.median(imports[who])) if imports[who] else "" for who in columns]
    rows.append(["imports, excluded above", *times, ""])
    return ["first call (trace + compile + run)", *columns, "graphflow, warm disk cache"], rows


def notes(results: Results) -> list[str]:
    """What a reader has to know besides the tables."""
    lines = list(results.problems)
    if results.load_before is not None:
        lines.append(
            f"Load average when the run began: {results.load_before:.2f}; above about 0.5 others were at work."
        )
    if results.imports:
        pairs = ", ".join(f"{name} {duration(statistics.median(times))}" for name, times in results.imports.items())
        lines.append(f"Import statement in a fresh interpreter, median: {pairs}.")
    for name, timings in results.timings.items():
        worst = {who: max(timing.errors.values()) for who, timing in timings.items() if timing.errors}
        if worst:
            shown = ", ".join(f"{who} {error:.1e}" for who, error in worst.items())
            lines.append(f"{WORKLOADS[name].title}: largest relative error against float64: {shown}.")
        lines += [f"{WORKLOADS[name].title}: {who}: {t.problem}" for who, t in timings.items() if t.problem]
    for name, calls in results.first_calls.items():
        lines += [f"first call, {WORKLOADS[name].title}: {who}: {c.problem}" for who, c in calls.items() if c.problem]
    return lines


def show(results: Results) -> None:
    """Print the tables to the terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    for header, rows in _tables(results):
        table = Table(*header)
        for row in rows:
            cells = [
                f"[green]{cell}[/]" if cell == "pass" else f"[bold red]{cell}[/]" if cell == "MISS" else cell
                for cell in row
            ]
            table.add_row(*cells)
        console.print(table)
    for line in notes(results):
        console.print(f"- {line}", markup=False)


def _tables(results: Results) -> list[tuple[Row, list[Row]]]:
    tables = []
    summary = summary_rows(results)
    if summary[1]:
        tables.append(summary)
    if results.timings:
        tables.append(step_rows(results))
    if results.first_calls:
        tables.append(first_call_rows(results))
    tables.append(target_rows(results))
    return tables


def markdown(results: Results, command: str) -> str:
    """The document: machine, versions, date, command, tables and notes."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    versions = ", ".join(f"{name} {version}" for name, version in sorted(results.versions.items()))
    lines = [
        "# Benchmarks",
        "",
        f"Written by `{command}` on {today}. How each figure is taken is described in `benchmarks/README.md`.",
        "",
        f"- Machine: {machine()}; {results.threads} threads for every contender",
        f"- Python {platform.python_version()}; {versions}",
        "",
    ]
    for header, rows in _tables(results):
        lines.append("| " + " | ".join(header) + " |")
        lines.append("| " + " | ".join("---" for _ in header) + " |")
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        lines.append("")
    lines += ["## Notes", "", *(f"- {line}" for line in notes(results)), ""]
    return "\n".join(lines)


def write(results: Results, command: str, path: Path) -> None:
    """Write the document to `path`, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(markdown(results, command), encoding="utf-8")
