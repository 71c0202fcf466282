"""The command line of the benchmark, shared by `graphflow bench` and `python -m benchmarks`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

SECTIONS = ("steady", "first", "import")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options on `parser`."""
    parser.add_argument("--quick", action="store_true", help="fewer, shorter rounds: a first look, not a result")
    parser.add_argument("--only", metavar="NAMES", help="comma-separated workloads (see --list)")
    parser.add_argument("--peers", metavar="NAMES", help="comma-separated contenders (see --list)")
    parser.add_argument("--sections", metavar="NAMES", help=f"comma-separated, of: {', '.join(SECTIONS)}")
    parser.add_argument("--threads", type=int, help="threads for every contender; default: the cores of this process")
    parser.add_argument("--output", type=Path, metavar="PATH", help="where to write the document (Markdown)")
    parser.add_argument("--list", action="store_true", help="print workloads and contenders, then stop")


def run(arguments: argparse.Namespace) -> int:
    """Measure, print and, for a complete run or where asked, write the document. Returns the exit status."""
    from graphflow.bench.harness import Plan, measure, usable_threads
    from graphflow.bench.peers import CONTENDERS
    from graphflow.bench.report import show, write
    from graphflow.bench.workloads import WORKLOADS

    if arguments.list:
        print("workloads: " + ", ".join(WORKLOADS))
        print("contenders: " + ", ".join(CONTENDERS))
        return 0
    try:
        workloads = _chosen(arguments.only, tuple(WORKLOADS))
        contenders = _chosen(arguments.peers, tuple(CONTENDERS))
        sections = _chosen(arguments.sections, SECTIONS)
    except ValueError as error:
        print(f"graphflow bench: {error}")
        return 2
    threads = arguments.threads or usable_threads()
    plan = Plan.short() if arguments.quick else Plan()
    results = measure(workloads, contenders, plan, threads, lambda line: print(line, flush=True), frozenset(sections))
    show(results)
    complete = not (arguments.quick or arguments.only or arguments.peers or arguments.sections)
    path = arguments.output or (_default_path() if complete else None)
    if path is not None:
        write(results, _command_line(arguments), path)
        print(f"written to {path}")
    return 0


def _chosen(text: str | None, known: Sequence[str]) -> list[str]:
    if not text:
        return list(known)
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown name {unknown[0]!r}; known: {', '.join(known)}")
    return names


def _default_path() -> Path:
    """docs/benchmarks.md in a checkout, a file in the working folder elsewhere."""
    in_checkout = Path("docs").is_dir() and Path("graphflow", "bench").is_dir()
    return Path("docs", "benchmarks.md") if in_checkout else Path("graphflow-benchmarks.md")


def _command_line(arguments: argparse.Namespace) -> str:
    words = ["graphflow bench"]
    words += ["--quick"] if arguments.quick else []
    for name in ("only", "peers", "sections", "threads"):
        value = getattr(arguments, name)
        words += [f"--{name} {value}"] if value else []
    return " ".join(words)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry of `python -m benchmarks`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="graphflow against its peers.")
    add_arguments(parser)
    return run(parser.parse_args(argv))
