"""GPU kernels in Numba's CUDA simulator give the CPU's bits: programs, a training step, and samples of every op."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

PROGRAMS = [
    "pointwise", "special values", "pow and float64", "integers", "select and cast", "several outputs", "scalars",
    "nothing", "rows", "rows of two dtypes", "columns", "outer and inner axes", "everything", "positions", "softmax",
    "layer norm", "matmul", "gather", "gather out of range", "division by zero", "concat", "mixed devices",
    "symbolic extents", "training with SGD", "training with Adam", "state", "effects", "threads",
]  # fmt: skip


@pytest.fixture(scope="module")
def reports():
    """name -> what differs, of one process that runs everything (NUMBA_ENABLE_CUDASIM is read when Numba is
    imported)."""
    script = pathlib.Path(__file__).with_name("simulator_programs.py")
    root = str(script.parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"name"')]
    return {line["name"]: line["problem"] for line in lines}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_has_the_cpus_bits(reports, name):
    assert reports[name] == ""


def test_every_program_is_listed(reports):
    assert [name for name in reports if not name.startswith("samples of ")] == PROGRAMS


def test_op_samples_have_the_cpus_bits(reports):
    samples = {name: problem for name, problem in reports.items() if name.startswith("samples of ")}
    assert len(samples) > 50
    assert {name: problem for name, problem in samples.items() if problem} == {}
