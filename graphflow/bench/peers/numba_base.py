"""Base line of the scalar loops: the same loop by hand under Numba's `@njit`."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphflow.bench import workloads as spec
from graphflow.bench.workloads import Arrays, Program, Workload

numba: Any = None


def start(threads: int) -> dict[str, str]:
    """Import Numba; the loops run on one thread."""
    global numba
    import numba as numba_module

    numba = numba_module
    return {"numba": numba.__version__}


def build(contender: str, workload: Workload, inputs: Arrays) -> Program:
    """The program of `workload`."""
    return _collatz(inputs) if workload.name == "collatz" else _newton(inputs)


def _repeated(function: Any, argument: Any, name: str) -> Program:
    state: dict[str, Any] = {}

    def run(count: int) -> None:
        for _ in range(count):
            state["result"] = function(argument)

    return Program(run, lambda: {name: np.asarray(state["result"])})


def _collatz(inputs: Arrays) -> Program:
    @numba.njit
    def total_steps(starts: int) -> int:
        total = 0
        for start in range(1, starts + 1):
            n = start
            while n != 1:
                if n % 2 == 0:
                    n = n // 2
                else:
                    n = 3 * n + 1
                total += 1
        return total

    return _repeated(total_steps, int(inputs["starts"]), "steps")


def _newton(inputs: Arrays) -> Program:
    steps = spec.NEWTON_STEPS

    @numba.njit(error_model="numpy")
    def root(a: float) -> float:
        x = 1.0
        for _ in range(steps):
            x = 0.5 * (x + a / x)
            a = a + 1e-6
        return x

    return _repeated(root, float(inputs["a"]), "x")
