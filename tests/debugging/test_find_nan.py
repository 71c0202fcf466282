"""find_nan names the first operation whose NaN or infinity shows, and explains the trap of the masked branch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphflow as gf


def line_of(text: str) -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith("# " + text)]
    return found


@gf.function
def reciprocal(x):
    y = gf.where(x > 0, 1 / x, 0.0)  # the trap
    return gf.reduce_sum(y)


def test_the_masked_branch_trap_is_found_and_explained():
    report = gf.debugging.find_nan(reciprocal, gf.constant([1.0, 0.0]))
    assert report
    assert report.origin.op == "divide"
    assert report.origin.source.line == line_of("the trap")
    assert report.origin.element == " at [1]"
    assert report.origin.operands == "1.0 and 0.0"
    assert not report.origin.backward
    text = str(report)
    assert "divide makes inf at [1] from 1.0 and 0.0" in text
    assert "the masked-branch trap" in text
    assert "safe = gf.where(condition, x, 1.0)" in text
    assert not gf.debugging.find_nan(reciprocal, gf.constant([1.0, 2.0]))


def test_the_advice_helps():
    @gf.function
    def mended(x):
        safe = gf.where(x > 0, x, 1.0)
        return gf.where(x > 0, 1 / safe, 0.0)

    report = gf.debugging.find_nan(mended, gf.constant([1.0, 0.0]))
    assert not report
    assert report.origin is None
    assert "every result and every gradient is finite" in str(report)


def test_the_trap_where_the_forward_pass_is_finite_throughout():
    report = gf.debugging.find_nan(lambda x: gf.where(x > 0, gf.sqrt(x), 0.0), gf.constant([4.0, 0.0]))
    assert report.origin.backward
    assert np.isnan(report.origin.value)
    assert "the masked-branch trap" in report.explanation


def test_an_infinite_slope_is_no_trap():
    report = gf.debugging.find_nan(lambda x: gf.sqrt(x), gf.constant([4.0, 0.0]))
    assert report.origin.backward
    assert report.origin.value == np.inf
    assert "no finite slope" in report.explanation


def test_the_forward_pass_comes_first():
    @gf.function
    def loss(x):
        logs = gf.math.log(x - 1.0)  # the log of zero
        return gf.reduce_sum(gf.exp(logs) * logs)

    report = gf.debugging.find_nan(loss, gf.constant([[2.0, 1.0]]))
    assert (report.origin.op, report.origin.value, report.origin.element) == ("log", -np.inf, " at [0, 1]")
    assert report.origin.source.line == line_of("the log of zero")
    assert "reaches a result" in report.explanation


def test_what_comes_in_is_named():
    report = gf.debugging.find_nan(lambda first, second: first * second, gf.constant(1.0), gf.constant([np.nan]))
    assert str(report.origin) == "argument 'second' holds nan at [0]"
    w = gf.Variable([1.0, np.inf], name="weights")
    report = gf.debugging.find_nan(gf.function(lambda x: x * w), gf.constant(1.0))
    assert str(report.origin) == "variable 'weights' holds inf at [1]"


def test_masked_values_that_harm_nothing_are_listed():
    report = gf.debugging.find_nan(
        lambda x: gf.stop_gradient(gf.where(x > 1, gf.math.log(x), 0.0)) + x, gf.constant([3.0, -2.0])
    )
    assert not report
    assert [o.op for o in report.masked] == ["log"]
    assert "not seen in any result: log makes nan" in str(report)
    report = gf.debugging.find_nan(lambda x: gf.exp(gf.where(x > 0, x, -np.inf)), gf.constant([3.0, -2.0]))
    assert not report


def test_a_training_step_and_its_variables():
    w = gf.Variable([1.0, 0.0], name="w")

    @gf.function
    def step(x):
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(gf.sqrt(w) * x)
        w.assign_sub(tape.gradient(loss, w))
        return loss

    report = gf.debugging.find_nan(step, gf.constant([1.0, 2.0]))
    assert report.origin.op == "divide"
    assert report.origin.backward
    assert "reaches the variable 'w'" in report.explanation
    assert w.numpy().tolist() == [1.0, 0.0], "variables keep their values"


def test_methods_and_prints(capsys):
    class Model:
        def __init__(self):
            self.w = gf.Variable(0.0, name="w")

        @gf.function
        def run(self, x):
            gf.print("running")
            return x / self.w

    report = gf.debugging.find_nan(Model().run, gf.constant(1.0))
    assert report.origin.op == "divide"
    assert capsys.readouterr().err == ""


def test_python_functions_are_called():
    def scaled(x):
        return gf.py_function(lambda v: v / 0.0, [x], gf.TensorSpec([2], gf.float32)) * 2.0

    with np.errstate(divide="ignore"):
        report = gf.debugging.find_nan(scaled, gf.constant([1.0, 2.0]))
    assert report.origin.op == "python_call"
    assert report.origin.value == np.inf


def test_it_wants_a_function():
    with pytest.raises(TypeError):
        gf.debugging.find_nan(3)
