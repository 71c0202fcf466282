"""Reproduction files: written by hand or by a failing call, replayed by `graphflow run` with the same bits or the same error."""

from __future__ import annotations

import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import graphflow as gf
from graphflow.cli import main
from graphflow.errors import CompileError, DivisionByZeroError, ReproductionError
from graphflow.ir import parse
from graphflow.tracing.inspect import same_bits
from graphflow.tracing.reproduce import Reproduction, read, versions


@gf.function
def divides(a, b):
    return (a + 1) // b


VALUES = {
    "f32": np.array([1.5, -0.0, 1e-45], "f4"),
    "f64": np.array([[0.1, 1e300]], "f8"),
    "nan and inf": np.array([np.nan, np.inf, -np.inf], "f4"),
    "a NaN with a payload": np.array([0x7FC12345, 0xFFC00001], "u4").view("f4"),
    "bool": np.array([True, False]),
    "i8": np.array([-128, 127], "i1"),
    "u64": np.array([0, 2**64 - 1], "u8"),
    "i64": np.array([-(2**63), 2**63 - 1], "i8"),
    "empty": np.zeros((0, 3), "f4"),
    "rank 0": np.array(2.5, "f4"),
    "large": np.random.default_rng(0).standard_normal((20, 5)).astype("f4"),
    "bf16": np.array([1.0, 3.140625, np.inf], ml_dtypes.bfloat16),
    "f16": np.array([1.0, 65504.0], np.float16),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back_with_their_bits(name, tmp_path):
    array = VALUES[name]
    tensor = gf.constant(array)
    graph = parse(f"graph f(x: {tensor.type}, w: var {tensor.type}) -> ({tensor.type}) {{\n  return x\n}}")
    written = Reproduction(graph, [array, array], {"function": "f"})
    found = read(written.write(tmp_path / "f.graphflow"))
    assert found.graph == graph
    assert found.about == {"function": "f"}
    for value in found.values:
        assert (value.dtype, value.shape) == (array.dtype, array.shape)
        assert value.tobytes() == array.tobytes()


@pytest.mark.parametrize("name", ["f32", "nan and inf", "bool", "i64", "empty", "rank 0", "large"])
def test_a_call_is_replayed_with_the_same_bits(name, tmp_path, capsys):
    tensor = gf.constant(VALUES[name])
    state = gf.Variable(tensor)

    @gf.function
    def f(x, keep=True):
        state.assign(x if x.dtype == gf.bool else x + x)
        return gf.where(x == x, x, state), gf.identity(state)

    path = gf.debugging.reproduce(f, tensor, path=tmp_path / "f.graphflow")
    assert state.numpy().tobytes() == VALUES[name].tobytes(), "on copies of the variables"
    expected = [r.numpy() for r in f(tensor)]
    found = read(path)
    for outcome in (found.run(), found.run_eagerly(), found.run_eagerly(stage="final")):
        assert outcome.error is None
        assert all(map(same_bits, outcome.results, expected))
        assert same_bits(outcome.variables[0], state.numpy())
    assert main(["run", path]) == 0
    text = capsys.readouterr().out
    assert "agree, bit for bit" in text
    assert "The results have the recorded bits." in text
    assert "result 1: " in text
    assert "variable Variable: " in text


def test_symbolic_extents(tmp_path):
    @gf.function(input_signature=[gf.TensorSpec([None, 3])])
    def rows(x):
        return gf.reduce_sum(x, axis=1) + gf.cast(gf.shape(x)[0], gf.float32)

    path = gf.debugging.reproduce(rows, gf.ones((5, 3)), path=tmp_path / "rows.graphflow")
    assert "s0" in Path(path).read_text()
    assert main(["run", path]) == 0


CONTROL = """graph f(c: b1[], n: i32[], x: f32[2]) -> (f32[2]) {
  %0: f32[2] = switch c, x {
    branches = (graph no(x: f32[2]) -> (f32[2]) {
      %0: f32[2] = negative x
      return %0
    }, graph yes(x: f32[2]) -> (f32[2]) {
      return x
    })
  }
  %1: i32[] = constant {value=i32 0}
  %2: i32[], %3: f32[2] = while %1, %0, n {
    condition = graph condition(i: i32[], y: f32[2], n: i32[]) -> (b1[]) {
      %0: b1[] = less i, n
      return %0
    },
    body = graph body(i: i32[], y: f32[2], n: i32[]) -> (i32[], f32[2]) {
      %0: f32[2] = multiply y, y
      %1: i32[] = constant {value=i32 1}
      %2: i32[] = add i, %1
      return %2, %0
    },
    carried = 2
  }
  return %3
}"""


def test_control_flow_is_written_and_run_node_by_node(tmp_path, capsys):
    values = [np.array(False), np.array(2, "i4"), np.array([2.0, 3.0], "f4")]
    path = Reproduction(parse(CONTROL), values, {"function": "f"}).write(tmp_path / "f.graphflow")
    found = read(path)
    assert found.graph == parse(CONTROL)
    assert found.run_eagerly().results[0].tolist() == [16.0, 81.0]
    assert main(["run", path, "--eager"]) == 0
    assert "result 0: f32[2] = [16 81]" in capsys.readouterr().out


# Failing calls --------------------------------------------------------------------------------------------------------
def test_a_failing_call_writes_a_file_and_says_where(tmp_path, capsys):
    with gf.debugging.write_reproductions(tmp_path), pytest.raises(DivisionByZeroError) as caught:
        divides(gf.constant([6, 7]), gf.constant([1, 0]))
    (path,) = tmp_path.glob("divides-*.graphflow")
    assert caught.value.reproduction == str(path)
    assert f"graphflow run {path}" in caught.value.__notes__[0]
    assert read(path).about["error"] == "DivisionByZeroError"
    for how in ([], ["--eager"], ["--debug"], ["--stage", "fuse"]):
        assert main(["run", str(path), *how]) == 3
        text = capsys.readouterr().out
        assert "floordiv: integer division by zero at [1]: 8 and 0" in text
        assert "The recorded error happened again." in text
    with pytest.raises(DivisionByZeroError) as caught:
        divides(gf.constant([6, 7]), gf.constant([1, 0]))
    assert not hasattr(caught.value, "reproduction"), "only inside the block"


def test_the_flag_does_so_everywhere(tmp_path):
    gf.config.set_flags(reproduce=str(tmp_path / "new" / "folder"))
    try:
        with pytest.raises(DivisionByZeroError):
            divides(gf.constant([6, 7]), gf.constant([1, 0]))
    finally:
        gf.config.set_flags(reproduce="")
    assert len(list((tmp_path / "new" / "folder").glob("*.graphflow"))) == 1


def test_a_directory_that_cannot_be_written_does_not_hide_the_error(tmp_path):
    (tmp_path / "file").write_text("")
    with gf.debugging.write_reproductions(tmp_path / "file"), pytest.raises(DivisionByZeroError) as caught:
        divides(gf.constant([6]), gf.constant([0]))
    assert "could not be written" in caught.value.__notes__[0]


def test_an_error_of_the_compiler(tmp_path, monkeypatch):
    from graphflow import compiler

    def broken_pass(graph, context):
        raise KeyError("oops")

    monkeypatch.setattr(compiler, "PIPELINE", [broken_pass])
    f = gf.function(lambda x: x * 3.0)
    with gf.debugging.write_reproductions(tmp_path), pytest.raises(CompileError) as caught:
        f(gf.constant(2.0))
    found = read(caught.value.reproduction)
    assert found.about["error"] == "CompileError"
    assert isinstance(found.run().error, CompileError)
    assert found.run_eagerly().results[0] == 6.0
    assert main(["run", caught.value.reproduction]) == 1, "the modes do not agree"
    monkeypatch.undo()
    assert main(["run", caught.value.reproduction]) == 4, "mended"


def test_a_failed_verification(tmp_path, monkeypatch):
    from graphflow.tracing import inspect

    f = gf.function(lambda x: gf.exp(x) * 3.0)
    monkeypatch.setattr(inspect, "same_bits", lambda a, b: False)
    with gf.debugging.write_reproductions(tmp_path):
        assert not f.verify(gf.ones(2))
    monkeypatch.undo()
    (path,) = tmp_path.glob("*.graphflow")
    assert read(path).about["error"] == "VerifyError"
    assert main(["run", str(path)]) == 0


def test_numbers_that_were_checked_are_checked_again(tmp_path, capsys):
    f = gf.function(lambda x: gf.math.log(x) + 1.0)
    gf.debugging.enable_check_numerics()
    try:
        with gf.debugging.write_reproductions(tmp_path), pytest.raises(gf.errors.InvalidArgumentError) as caught:
            f(gf.constant([1.0, 0.0]))
    finally:
        gf.debugging.disable_check_numerics()
    assert main(["run", caught.value.reproduction]) == 3
    assert "log: the result must be finite" in capsys.readouterr().out


def test_reproduce_records_the_error_of_the_call(tmp_path):
    path = gf.debugging.reproduce(divides, gf.constant([1]), gf.constant([0]), path=tmp_path / "d.graphflow")
    assert read(path).about["error"] == "DivisionByZeroError"
    assert main(["run", path]) == 3


def test_methods_and_wrong_callables(tmp_path):
    class Model:
        def __init__(self):
            self.w = gf.Variable([2.0])

        @gf.function
        def run(self, x):
            return self.w * x

    path = gf.debugging.reproduce(Model().run, gf.constant([3.0]), path=tmp_path / "m.graphflow")
    assert read(path).run().results[0].tolist() == [6.0]
    with pytest.raises(gf.errors.InvalidArgumentError, match=r"expected a gf\.function"):
        gf.debugging.reproduce(abs, gf.constant([3.0]), path=tmp_path / "x")


# Refusals -------------------------------------------------------------------------------------------------------------
@pytest.fixture
def written(tmp_path):
    return Path(
        gf.debugging.reproduce(divides, gf.constant([6, 9]), gf.constant([1, 2]), path=tmp_path / "d.graphflow")
    )


@pytest.mark.parametrize("kept", [0, 10, 40, 400, -100, -1])
def test_a_torn_file(written, kept, capsys):
    content = written.read_text()
    written.write_text(content[:kept] if kept >= 0 else content[: len(content) + kept - 1])
    with pytest.raises(ReproductionError):
        read(written)
    assert main(["run", str(written)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("graphflow run: d.graphflow")
    assert captured.out == ""


def test_a_changed_file(written):
    written.write_text(written.read_text().replace("[6, 9]", "[6, 8]"))
    with pytest.raises(ReproductionError, match="checksum"):
        read(written)


def test_another_form(written):
    written.write_text(written.read_text().replace("reproduction 1", "reproduction 9"))
    with pytest.raises(ReproductionError, match="of another form"):
        read(written)


def test_no_such_file(capsys, tmp_path):
    assert main(["run", str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err


def test_no_such_stage(written, capsys):
    assert main(["run", str(written), "--stage", "no_such_pass"]) == 2
    assert re.search(r"no stage 'no_such_pass'; the stages are traced, .*fuse", capsys.readouterr().err)


def test_foreign_versions_warn_and_run(written, capsys):
    found = read(written)
    assert found.foreign() == []
    about = {**found.about, "versions": {**versions(), "numpy": "1.0", "something": "2"}}
    Reproduction(found.graph, found.values, about).write(written)
    assert main(["run", str(written)]) == 0
    warned = capsys.readouterr().err
    assert "numpy: written with 1.0, here " in warned
    assert "something: written with 2, here none" in warned


def test_other_results_than_recorded(written, capsys):
    found = read(written)
    Reproduction(found.graph, found.values, {**found.about, "results": "0" * 64}).write(written)
    assert main(["run", str(written)]) == 1
    assert "do not have the recorded bits" in capsys.readouterr().out
    Reproduction(found.graph, found.values, {**found.about, "error": "ShapeError"}).write(written)
    assert main(["run", str(written)]) == 4


def test_python_functions_are_not_replayed(tmp_path, capsys):
    from graphflow.dtypes import float32
    from graphflow.ir.builder import GraphBuilder
    from graphflow.ir.op import OPS
    from graphflow.ir.source import Source
    from graphflow.ir.types import TensorType

    builder = GraphBuilder("calls")
    x = builder.input("x", TensorType(float32, (2,)))
    attributes = {"function": lambda a: (a,), "dtypes": (float32,), "shapes": ((2,),)}
    outputs = builder.add(OPS["python_call"], [x], attributes, Source("f.py", 1, 0))
    found = Reproduction(builder.finish(outputs), [np.ones(2, "f4")], {"calls_python": True})
    for run in (found.run, found.run_eagerly):
        with pytest.raises(ReproductionError, match="calls Python functions"):
            run()
    with pytest.raises(ReproductionError, match="calls Python functions"):
        read(found.write(tmp_path / "one.graphflow"))

    @gf.function
    def calls(x):
        return gf.py_function(lambda v: v * 2.0, [x], gf.TensorSpec([], gf.float32)) + 1.0

    path = gf.debugging.reproduce(calls, gf.constant(1.0), path=tmp_path / "two.graphflow")
    assert main(["run", path]) == 2
    assert "graphflow run: calls: calls Python functions" in capsys.readouterr().err
