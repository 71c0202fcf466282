"""The process that runs one contender: reads JSON requests, one a line, and answers each with a line.

Requests (`do`): `start` (imports), `build` (prepare a workload and make its first call), `check` (compare with the
reference), `calibrate` (how many steps fill a time), `time` (one timed batch), `import` (time one import statement).
A request that fails answers `{"error": text}`, and the worker goes on.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import traceback
from typing import Any

Answer = dict[str, Any]


class Worker:
    """The state of one contender's process."""

    def __init__(self, contender: str, threads: int) -> None:
        """`contender` is a name in `graphflow.bench.peers.CONTENDERS`."""
        self.contender = contender
        self.threads = threads
        self.peer: Any = None
        self.workload: Any = None
        self.program: Any = None
        self.inputs: dict[str, Any] = {}

    def start(self, request: Answer) -> Answer:
        """Import the contender's library; answers the seconds it took and the versions."""
        import numpy  # noqa: F401  so that NumPy's own import is not charged to anyone

        from graphflow.bench.peers import CONTENDERS

        module = importlib.import_module(f"graphflow.bench.peers.{CONTENDERS[self.contender].module}")
        begin = time.perf_counter()
        versions = module.start(self.threads)
        self.peer = module
        return {"seconds": time.perf_counter() - begin, "versions": versions}

    def build(self, request: Answer) -> Answer:
        """Prepare a workload and make its first call; answers both times in seconds."""
        from graphflow.bench.workloads import WORKLOADS

        self.workload = WORKLOADS[request["workload"]]
        self.program = None
        gc.collect()
        self.inputs = self.workload.inputs()
        begin = time.perf_counter()
        self.program = self.peer.build(self.contender, self.workload, self.inputs)
        prepared = time.perf_counter()
        self.program.run(1)
        done = time.perf_counter()
        return {"prepare": prepared - begin, "first": done - prepared}

    def check(self, request: Answer) -> Answer:
        """Run the workload's check from its start; answers the largest relative error of each output."""
        from graphflow.bench.workloads import relative_errors

        expected = self.workload.reference(self.inputs, self.workload.check_steps)
        self.program.reset()
        self.program.run(self.workload.check_steps)
        errors = relative_errors(self.program.outputs(), expected)
        return {"errors": errors, "passed": max(errors.values()) <= self.workload.tolerance}

    def calibrate(self, request: Answer) -> Answer:
        """How many steps fill `seconds`; warms everything up on the way."""
        seconds, count = float(request["seconds"]), 1
        while True:
            self.program.reset()
            begin = time.perf_counter()
            self.program.run(count)
            elapsed = time.perf_counter() - begin
            if elapsed >= seconds / 2:
                return {"count": max(1, round(count * seconds / elapsed))}
            count = max(count + 1, round(count * min(10.0, seconds / max(elapsed, 1e-7))))

    def time(self, request: Answer) -> Answer:
        """Seconds per step over one batch of `count` steps, after one untimed step that wakes the threads."""
        count = int(request["count"])
        self.program.reset()
        self.program.run(1)
        gc.disable()
        begin = time.perf_counter()
        self.program.run(count)
        elapsed = time.perf_counter() - begin
        gc.enable()
        return {"seconds": elapsed / count}


def main() -> None:
    """Serve requests until standard input closes."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not end up between the answers
    worker = Worker(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request["do"])(request)
        except Exception as error:  # the parent reports it; other workloads can still be measured
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
