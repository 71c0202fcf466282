"""The `graphflow` command: each part does what its help says, and wrong usage gets a sentence, not a traceback."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graphflow import config
from graphflow.cli import main

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import graphflow as gf

@gf.function
def f(x, y, k=2):
    return gf.math.tanh(x) * y + k

def plain(x):
    return gf.reduce_sum(x * x, axis=1)

@gf.function(input_signature=[gf.TensorSpec([None, 3])])
def signed(x):
    return x * 2.0

class Model:
    def __init__(self):
        self.w = gf.Variable([1.0, 2.0, 3.0], name="w")

    @gf.function
    def scale(self, x):
        return x * self.w

model = Model()
number = 3
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "program_for_the_ir_command.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return str(path)


def command(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "graphflow.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | (environment or {}),
        check=False,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    cold = str(tmp_path_factory.mktemp("cold"))
    return command("demo", "--epochs", "12", environment={"GRAPHFLOW_CACHE": cold, "COLUMNS": "150"})


def test_demo_reaches_its_accuracy(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stdout + demo.stderr
    accuracy = re.search(r"Accuracy on the held-back images: ([\d.]+)%", demo.stdout)
    assert accuracy is not None
    assert float(accuracy.group(1)) >= 95.0


def test_demo_shows_every_part(demo: subprocess.CompletedProcess[str]) -> None:
    text = demo.stdout
    for title in (
        "1. Data",
        "2. Program",
        "3. Compilation",
        "4. Training",
        "5. Graph",
        "6. Kernels",
        "7. Eager against graph",
    ):
        assert title in text
    assert "@gf.function" in text
    assert re.search(r"%\d+: f32\[64,128\] += matmul images, %0 +# demo\.py:\d+", text), "IR with source lines"
    assert re.search(r"traced graph has \d+ nodes; \d+ of them are the gradient", text)
    assert "fused" in text
    for row in ("time per step", "kernels launched", "bytes moved"):
        assert re.search(rf"{row} +[\d,.]+", text)
    assert "have the same bits in eager and graph mode" in text


def test_demo_is_readable_when_piped(demo: subprocess.CompletedProcess[str]) -> None:
    assert "\x1b" not in demo.stdout
    assert "\r" not in demo.stdout
    assert max(map(len, demo.stdout.splitlines())) <= 150


def test_demo_rejects_no_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--epochs", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err


def test_ir_prints_the_final_graph(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ir", f"{program}:f", "--args", "f32[8,4], f32[4], 3"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("graph f(x: f32[8,4], y: f32[4])")
    assert "# program_for_the_ir_command.py:6" in text


def test_ir_wraps_a_plain_function_and_takes_any_extent(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ir", f"{program}:plain", "--args", "f32[n,4]", "--stage", "traced"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"graph plain\(x: f32\[\w*[a-z]\w*,4\]\)", text)
    assert "reduce_sum" in text


def test_ir_needs_no_types_with_a_signature(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ir", f"{program}:signed"]) == 0
    assert "multiply" in capsys.readouterr().out


def test_ir_finds_methods_and_prints_kernels(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ir", f"{program}:model.scale", "--args", "f32[5,3]", "--kernels"]) == 0
    assert "kernel" in capsys.readouterr().out


def test_ir_prints_passes_and_every_stage(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ir", f"{program}:f", "--args", "f32[3], f32[3]", "--passes"]) == 0
    assert "fuse:" in capsys.readouterr().out
    assert main(["ir", f"{program}:f", "--args", "f32[3], f32[3]", "--stage", "all"]) == 0
    assert capsys.readouterr().out.count("graph f(") >= 5


@pytest.mark.parametrize(
    ("target", "arguments", "message"),
    [
        (":f", [], "which arguments"),
        (":f", ["--args", "f32[3], f32[4]"], "must broadcast"),
        (":f", ["--args", "f32[3], q7[4]"], "is not a dtype"),
        (":f", ["--args", "f32[3], something"], "neither a type"),
        (":f", ["--args", "f32[3], f32[3]", "--stage", "no_such_pass"], "no stage"),
        (":f", ["--args", "f32[3], f32[3]", "--kernels", "no_such_form"], "no form"),
        (":nothing", [], "its compiled functions: f, signed"),
        (":number", [], "not a function"),
        ("", [], "FILE:FUNCTION"),
        (".missing:f", [], "there is no file"),
    ],
)
def test_ir_explains_what_is_wrong(
    program: str, target: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ir", f"{program}{target}", *arguments]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_doctor_finds_everything_in_order(tmp_path: Path) -> None:
    done = command("doctor", environment={"GRAPHFLOW_CACHE": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    for word in (
        "python",
        "numpy",
        "llvmlite",
        "threads",
        str(tmp_path),
        "compiler   works",
        "cuda",
        "Everything is in order.",
    ):
        assert word in done.stdout


def test_doctor_says_what_debugging_is_in_force(tmp_path: Path) -> None:
    done = command(
        "doctor",
        environment={"GRAPHFLOW_CACHE": str(tmp_path), "GRAPHFLOW_EAGER": "1", "GRAPHFLOW_REPRODUCE": "failures"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^target     \S+, vectors of (128|256|512) bits \(", done.stdout, re.MULTILINE)
    assert "debugging  functions run eagerly: yes, check numerics: no, traceback filtering: yes" in done.stdout
    assert "reproductions: failures" in done.stdout
    assert "flag       reproduce = 'failures'" in done.stdout


def test_run_replays_a_file_written_by_another_process(tmp_path: Path) -> None:
    source = tmp_path / "failing_program.py"
    source.write_text(
        "import graphflow as gf\nf = gf.function(lambda a, b: (a + 1) // b)\n"
        "f(gf.constant([6, 7]), gf.constant([1, 0]))\n",
        encoding="utf-8",
    )
    environment = os.environ | {"GRAPHFLOW_REPRODUCE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    failed = subprocess.run([sys.executable, str(source)], capture_output=True, text=True, env=environment, check=False)
    (written,) = tmp_path.glob("*.graphflow")
    assert f"reproduction: {written}" in failed.stderr
    done = command("run", str(written))
    assert done.returncode == 3, done.stdout + done.stderr
    assert "floordiv: integer division by zero at [1]: 8 and 0" in done.stdout
    assert f"{source}:2" in done.stdout
    assert done.stderr == ""


def test_run_prints_results_and_each_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import graphflow as gf

    state = gf.Variable([1.0, 2.0], name="state")

    @gf.function
    def step(x: Any) -> Any:
        state.assign_add(x)
        return state * 2.0

    path = gf.debugging.reproduce(step, gf.constant([1.0, 1.0]), path=tmp_path / "step.graphflow")
    assert main(["run", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["result 0: f32[2] = [4 6]", "variable state: f32[2] = [2 3]"]
    assert main(["run", path, "--debug"]) == 0
    assert re.search(r"test_cli\.py:\d+ +add \(f32\[2\], f32\[2\]\) +-> f32\[2\] = \[2 3\]", capsys.readouterr().out)
    with pytest.raises(SystemExit) as stop:
        main(["run", path, "--debug", "--eager"])
    assert stop.value.code == 2


def test_doctor_reports_a_damaged_cache_entry(tmp_path: Path) -> None:
    environment = {"GRAPHFLOW_CACHE": str(tmp_path)}
    assert command("doctor", environment=environment).returncode == 0
    damage(tmp_path)
    done = command("doctor", environment=environment)
    assert done.returncode == 1
    assert "PROBLEM" in done.stdout
    assert "checksum" in done.stdout


def test_doctor_works_with_the_cache_off() -> None:
    done = command("doctor", environment={"GRAPHFLOW_CACHE": "0"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "off (GRAPHFLOW_CACHE=0)" in done.stdout


def test_a_wrong_flag_is_one_sentence() -> None:
    done = command("doctor", environment={"GRAPHFLOW_CHECK": "maybe"})
    assert done.returncode == 2
    assert done.stderr.startswith("graphflow: GRAPHFLOW_CHECK='maybe'")
    assert "Traceback" not in done.stderr


def damage(cache: Path) -> None:
    entry = sorted(cache.rglob("*.o"))[0]
    content = bytearray(entry.read_bytes())
    content[-1] ^= 0xFF
    entry.write_bytes(content)


def test_cache_lists_verifies_and_clears(tmp_path: Path, program: str, monkeypatch: Any, capsys: Any) -> None:
    place = tmp_path / "cache"
    command("ir", f"{program}:signed", environment={"GRAPHFLOW_CACHE": str(place)})
    monkeypatch.setattr(config, "_process", replace(config.flags(), cache_dir=str(place)))
    assert main(["cache"]) == 0
    listed = capsys.readouterr().out
    count = int(re.search(r": (\d+) entries", listed).group(1))  # type: ignore[union-attr]
    assert count >= 1
    assert len(listed.splitlines()) == count + 1
    assert main(["cache", "verify"]) == 0
    assert "0 of them damaged" in capsys.readouterr().out
    damage(place)
    assert main(["cache", "verify"]) == 1
    assert "1 of them damaged" in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert f"removed {count} entries" in capsys.readouterr().out
    assert main(["cache", "list"]) == 0
    assert ": 0 entries" in capsys.readouterr().out


def test_cache_that_is_off_says_so(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(config, "_process", replace(config.flags(), cache_dir="0"))
    assert main(["cache"]) == 0
    assert "off" in capsys.readouterr().out


def test_no_command_and_unknown_commands_are_usage_errors(capsys: Any) -> None:
    for arguments in ([], ["no-such-command"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2
    assert "usage: graphflow" in capsys.readouterr().err


def test_version(capsys: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert re.fullmatch(r"graphflow \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_bench_lists_and_rejects_names(capsys: Any) -> None:
    assert main(["bench", "--list"]) == 0
    assert "gelu" in capsys.readouterr().out
    assert main(["bench", "--only", "gelu,knitting"]) == 2
    assert "unknown name 'knitting'" in capsys.readouterr().out


def test_bench_says_how_to_install_a_missing_peer(monkeypatch: Any) -> None:
    from graphflow.bench.peers import CONTENDERS

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert CONTENDERS["jax"].problem() == "jax: jax is not installed; install it with: pip install jax"
    monkeypatch.undo()
    assert CONTENDERS["graphflow"].problem() is None


def test_bench_has_a_reference_for_every_workload_and_a_program_for_each() -> None:
    from graphflow.bench.peers import graphflow_peer
    from graphflow.bench.workloads import WORKLOADS, relative_errors

    graphflow_peer.start(2)
    for name in ("linear1", "linear8", "mlp", "cnn", "transformer", "call"):
        workload = WORKLOADS[name]
        inputs = workload.inputs()
        expected = workload.reference(inputs, workload.check_steps)
        program = graphflow_peer.build("graphflow", workload, inputs)
        for _ in range(2):  # a reset puts everything back
            program.reset()
            program.run(workload.check_steps)
            errors = relative_errors(program.outputs(), expected)
            assert max(errors.values()) <= workload.tolerance, (name, errors)


def test_bench_counts_a_wrong_result_as_wrong() -> None:
    import numpy as np

    from graphflow.bench.workloads import relative_errors

    right = {"y": np.array([1.0, -2.0])}
    assert relative_errors({"y": np.array([1.0, -2.0])}, right) == {"y": 0.0}
    assert relative_errors({"y": np.array([1.0, -1.0])}, right) == {"y": pytest.approx(0.5)}
    assert relative_errors({"y": np.array([1.0, np.nan])}, right) == {"y": float("inf")}
    assert relative_errors({"y": np.array([1.0])}, right) == {"y": float("inf")}


def test_bench_measures_in_worker_processes_and_writes_its_document(tmp_path: Path) -> None:
    from graphflow.bench.harness import Plan, measure, verdicts
    from graphflow.bench.report import markdown

    said: list[str] = []
    plan = Plan(rounds=2, batch_seconds=0.01, first_call_repeats=1, import_rounds=1)
    results = measure(["gelu"], ["graphflow", "copy"], plan, 2, said.append)
    timings = results.timings["gelu"]
    assert [len(timings[name].seconds) for name in ("graphflow", "copy")] == [2, 2]
    assert timings["graphflow"].errors["y"] < 2e-6
    assert results.first_calls["gelu"]["graphflow"].calls[0] > 0
    assert results.cached_calls["gelu"].calls[0] > 0
    against = {verdict.target.against: verdict for verdict in verdicts(results, "gelu")}
    assert against["copy"].ratio is not None
    assert against["best peer"].ratio is None
    assert against["best peer"].met is None
    text = markdown(results, "graphflow bench")
    for word in ("# Benchmarks", "Machine:", "tanh-GELU", "import graphflow", "not measured", "graphflow 0."):
        assert word in text


def test_bench_reports_a_contender_that_fails(tmp_path: Path) -> None:
    from graphflow.bench.harness import WorkerProcess

    worker = WorkerProcess("graphflow", 1, str(tmp_path))
    try:
        assert "error" in worker.ask("build", workload="no such workload")
        assert "versions" in worker.ask("start")
    finally:
        worker.close()
    assert "error" in worker.ask("start")
