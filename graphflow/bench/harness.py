"""Drives the workers: one process per contender, one timed batch at a time, round-robin."""

from __future__ import annotations

import json
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphflow.bench.peers import CONTENDERS
from graphflow.bench.workloads import WORKLOADS, Target

Say = Callable[[str], None]

ANSWER_LIMIT_SECONDS = 300.0
SLOW_SECONDS, SLOW_ROUNDS = 2.0, 3
"""A contender whose step takes longer than that is timed in so many rounds only."""
_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])
_IMPORT_PROBE = "import time; begin = time.perf_counter(); import {module}; print(time.perf_counter() - begin)"


@dataclass(frozen=True)
class Plan:
    """How long to measure. `quick` answers in a couple of minutes, at the price of noisier medians."""

    rounds: int = 15
    batch_seconds: float = 0.3
    first_call_repeats: int = 3
    import_rounds: int = 15
    quick: bool = False

    @staticmethod
    def short() -> Plan:
        """The `--quick` plan."""
        return Plan(rounds=5, batch_seconds=0.1, first_call_repeats=1, import_rounds=5, quick=True)


@dataclass
class Timing:
    """One contender's figures on one workload; `seconds` has one entry a round, `problem` says why there are none."""

    contender: str
    seconds: list[float] = field(default_factory=list)
    errors: dict[str, float] = field(default_factory=dict)
    problem: str | None = None

    @property
    def median(self) -> float:
        """Median seconds per step."""
        return statistics.median(self.seconds)


@dataclass
class FirstCall:
    """First calls in fresh processes: seconds of imports, preparation and call, one entry a process."""

    contender: str
    imports: list[float] = field(default_factory=list)
    prepares: list[float] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)
    problem: str | None = None


@dataclass(frozen=True)
class Verdict:
    """A target with the measured ratio; `ratio` is None when one of the two was not measured."""

    target: Target
    against: str
    ratio: float | None
    over: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the ratio (the difference) is within the target; None when it was not measured."""
        if self.ratio is None:
            return None
        if self.target.over is not None and self.over is not None:
            return self.over <= self.target.over
        return self.ratio <= self.target.factor


@dataclass
class Results:
    """Everything one run measured."""

    threads: int
    versions: dict[str, str] = field(default_factory=dict)
    timings: dict[str, dict[str, Timing]] = field(default_factory=dict)
    first_calls: dict[str, dict[str, FirstCall]] = field(default_factory=dict)
    cached_calls: dict[str, FirstCall] = field(default_factory=dict)
    imports: dict[str, list[float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    load_before: float | None = None


class WorkerProcess:
    """A contender's process. It is stopped (SIGSTOP) whenever it is not answering, so its threads cannot spin."""

    def __init__(self, contender: str, threads: int, cache: str) -> None:
        """`cache` is the folder that holds every compilation cache of this process."""
        self.contender = contender
        self._can_stop = hasattr(signal, "SIGSTOP")
        self._stopped = False
        self._messages = Path(cache, "messages.txt")
        with self._messages.open("a") as messages:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "graphflow.bench.worker", contender, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=messages,
                env=_environment(threads, cache),
            )

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send one request and wait for its answer; a dead or silent worker answers with `error`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._continue()
        try:
            self._process.stdin.write((json.dumps({"do": do, **arguments}) + "\n").encode())
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # ended by itself, or closed
            return {"error": f"the worker process has ended: {self._last_message()}"}
        ready, _, _ = select.select([self._process.stdout], [], [], ANSWER_LIMIT_SECONDS)
        if not ready:
            self._process.kill()
            return {"error": f"no answer within {ANSWER_LIMIT_SECONDS:.0f} s"}
        line = self._process.stdout.readline()
        if not line:
            return {"error": f"the worker process has ended: {self._last_message()}"}
        if self._can_stop:
            self._process.send_signal(signal.SIGSTOP)
            self._stopped = True
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self._continue()
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(timeout=5)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _continue(self) -> None:
        if self._stopped and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self._stopped = False

    def _last_message(self) -> str:
        lines = self._messages.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _environment(threads: int, cache: str | None = None) -> dict[str, str]:
    """The workers' environment: the same thread count for every library, caches in `cache`, byte code kept."""
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (_PACKAGE_PARENT, environment.get("PYTHONPATH", "")) if p)
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "GRAPHFLOW_THREADS",
    ):
        environment[name] = str(threads)
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    environment["JAX_PLATFORMS"] = "cpu"
    if cache is not None:
        environment["GRAPHFLOW_CACHE"] = os.path.join(cache, "graphflow")
        environment["TORCHINDUCTOR_CACHE_DIR"] = os.path.join(cache, "inductor")
        environment["NUMBA_CACHE_DIR"] = os.path.join(cache, "numba")
    return environment


def usable_threads() -> int:
    """The cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def measure(
    workload_names: Iterable[str],
    contender_names: Iterable[str],
    plan: Plan,
    threads: int,
    say: Say,
    sections: frozenset[str] = frozenset({"steady", "first", "import"}),
) -> Results:
    """Measure the given workloads and contenders. `say` is told, a line at a time, what is going on."""
    workload_names = list(workload_names)
    results = Results(threads, load_before=os.getloadavg()[0] if hasattr(os, "getloadavg") else None)
    contenders = []
    for name in contender_names:
        problem = CONTENDERS[name].problem()
        if problem is None:
            contenders.append(name)
        else:
            results.problems.append(problem)
            say(problem)
    if "import" in sections:
        say("import time, interleaved with NumPy's")
        results.imports = measure_imports(plan)
    if "steady" in sections:
        _measure_steady(results, workload_names, contenders, plan, say)
    if "first" in sections:
        _measure_first_calls(results, workload_names, contenders, plan, say)
    return results


def _measure_steady(results: Results, names: list[str], contenders: list[str], plan: Plan, say: Say) -> None:
    with tempfile.TemporaryDirectory(prefix="graphflow-bench-") as cache:
        workers: dict[str, WorkerProcess] = {}
        try:
            for contender in contenders:
                if not any(name in CONTENDERS[contender].workloads for name in names):
                    continue
                folder = os.path.join(cache, contender.replace(" ", "_"))
                os.makedirs(folder)
                worker, answer = _started(contender, results.threads, folder)
                if "error" in answer:
                    results.problems.append(f"{contender}: {answer['error']}")
                    say(results.problems[-1])
                    worker.close()
                    continue
                workers[contender] = worker
                results.versions |= answer["versions"]
            for name in names:
                say(WORKLOADS[name].title)
                taking_part = {who: one for who, one in workers.items() if name in CONTENDERS[who].workloads}
                results.timings[name] = _rounds(name, taking_part, plan, say)
        finally:
            for worker in workers.values():
                worker.close()


def _started(contender: str, threads: int, folder: str) -> tuple[WorkerProcess, dict[str, Any]]:
    """A worker that has imported its library, or the second one's answer, which is an error.

    Loading hundreds of MB of shared libraries on a busy machine was seen to fail once and then work.
    """
    worker = WorkerProcess(contender, threads, folder)
    answer = worker.ask("start")
    if "error" in answer:
        worker.close()
        worker = WorkerProcess(contender, threads, folder)
        answer = worker.ask("start")
    return worker, answer


def _rounds(name: str, workers: dict[str, WorkerProcess], plan: Plan, say: Say) -> dict[str, Timing]:
    timings, counts = {}, {}
    for contender, worker in workers.items():
        timing = timings[contender] = Timing(contender)
        is_base = not CONTENDERS[contender].is_peer and contender != "graphflow"
        requests: list[tuple[str, dict[str, Any]]] = [("build", {"workload": name})]
        requests += [] if is_base else [("check", {})]
        requests += [("calibrate", {"seconds": plan.batch_seconds})]
        for do, arguments in requests:
            answer = worker.ask(do, **arguments)
            timing.errors |= answer.get("errors", {})
            if "error" in answer or not answer.get("passed", True):
                timing.problem = answer.get("error") or f"wrong result: relative errors {timing.errors}"
                say(f"  {contender}: {timing.problem}")
                break
        else:
            counts[contender] = int(answer["count"])
    for round_number in range(plan.rounds):
        for contender in list(counts):
            if round_number >= SLOW_ROUNDS and timings[contender].median > SLOW_SECONDS:
                continue
            answer = workers[contender].ask("time", count=counts[contender])
            if "error" in answer:
                timings[contender].problem = str(answer["error"])
                del counts[contender]
            else:
                timings[contender].seconds.append(float(answer["seconds"]))
    return timings


def _measure_first_calls(results: Results, names: list[str], contenders: list[str], plan: Plan, say: Say) -> None:
    compared = [who for who in contenders if CONTENDERS[who].is_peer or who == "graphflow"]
    for name in names:
        say(f"first call in a fresh process: {WORKLOADS[name].title}")
        calls = results.first_calls[name] = {who: FirstCall(who) for who in compared}
        for repeat in range(plan.first_call_repeats):
            for who in compared:
                if repeat > 0 and who not in ("graphflow", "jax"):
                    continue  # only these two have a target; one figure of the others is there to be read
                with tempfile.TemporaryDirectory(prefix="graphflow-bench-") as cache:
                    _one_first_call(calls[who], name, results, cache)
                    if who == "graphflow" and calls[who].problem is None:
                        cached = results.cached_calls.setdefault(name, FirstCall(who))
                        _one_first_call(cached, name, results, cache)


def _one_first_call(record: FirstCall, workload: str, results: Results, cache: str) -> None:
    worker = WorkerProcess(record.contender, results.threads, cache)
    try:
        started = worker.ask("start")
        built = worker.ask("build", workload=workload) if "error" not in started else started
        if "error" in built:
            record.problem = str(built["error"])
            return
        results.versions |= started["versions"]
        record.imports.append(float(started["seconds"]))
        record.prepares.append(float(built["prepare"]))
        record.calls.append(float(built["first"]))
    finally:
        worker.close()


def measure_imports(plan: Plan, modules: tuple[str, ...] = ("numpy", "graphflow")) -> dict[str, list[float]]:
    """Seconds of each module's import statement in fresh interpreters, interleaved; the first round is thrown away."""
    seconds: dict[str, list[float]] = {module: [] for module in modules}
    environment = _environment(usable_threads())
    for round_number in range(plan.import_rounds + 1):
        for module in modules:
            command = [sys.executable, "-c", _IMPORT_PROBE.format(module=module)]
            answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            if round_number:
                seconds[module].append(float(answer.stdout))
    return seconds


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    """The median over rounds of `ours / theirs`."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=False))


def verdicts(results: Results, workload: str) -> list[Verdict]:
    """Each target of `workload` with its ratio."""
    timings = {name: timing for name, timing in results.timings.get(workload, {}).items() if timing.seconds}
    found = []
    for target in WORKLOADS[workload].targets:
        rivals = [timings[name] for name in _rivals(target.against) if name in timings]
        if not rivals or "graphflow" not in timings:
            found.append(Verdict(target, target.against, None))
            continue
        best = min(rivals, key=lambda timing: timing.median)
        ratio = median_ratio(timings["graphflow"].seconds, best.seconds)
        found.append(Verdict(target, best.contender, ratio, timings["graphflow"].median - best.median))
    return found


def _rivals(against: str) -> list[str]:
    if against == "best peer":
        return [name for name, contender in CONTENDERS.items() if contender.is_peer]
    return [against]
