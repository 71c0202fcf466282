"""check_numerics, enable_check_numerics: NaN and infinities are caught where they are made, in eager mode and in functions."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import InvalidArgumentError
from graphflow.ir import parse
from graphflow.tracing.numerics import with_checks


def line_of(text: str) -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith("# " + text)]
    return found


@pytest.fixture
def checking():
    gf.debugging.enable_check_numerics()
    yield
    gf.debugging.disable_check_numerics()


# check_numerics -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", [lambda f: f, gf.function], ids=["eager", "function"])
@pytest.mark.parametrize(
    ("values", "kinds", "where"),
    [
        ([1.0, np.nan, np.inf], "Inf and NaN", r"nan at \[1\] \(2 of 3 elements\)"),
        ([[1.0, 2.0], [-np.inf, 3.0]], "Inf", r"-inf at \[1, 0\] \(1 of 4 elements\)"),
        (np.nan, "NaN", "nan\n"),
    ],
)
def test_check_numerics_names_what_the_tensor_had(mode, values, kinds, where):
    run = mode(lambda x: gf.debugging.check_numerics(x * 1.0, "the loss") + 1.0)
    assert gf.reduce_all(gf.math.is_finite(run(gf.constant([1.0, 2.0]))))
    with pytest.raises(InvalidArgumentError, match=f"the loss : Tensor had {kinds} values, got {where}") as caught:
        run(gf.constant(values))
    assert not isinstance(caught.value, AssertionError)
    assert "test_check_numerics.py" in str(caught.value)
    assert "find_nan" in str(caught.value)


def test_check_numerics_runs_though_nobody_uses_its_result():
    @gf.function
    def f(x):
        gf.debugging.check_numerics(x, "dropped")
        return x * 2.0

    f(gf.constant(1.0))
    with pytest.raises(InvalidArgumentError, match="dropped"):
        f(gf.constant(np.nan))


def test_a_call_of_python_is_not_repeated_for_the_values():
    calls = []

    @gf.function
    def f(x):
        y = gf.py_function(lambda v: calls.append(1) or v * 2.0, [x], gf.TensorSpec([2], gf.float32))
        return gf.debugging.check_numerics(y, "from Python")

    assert f(gf.constant([1.0, 2.0])).numpy().tolist() == [2.0, 4.0]
    with pytest.raises(InvalidArgumentError, match=r"check_numerics: from Python at \[1\]"):
        f(gf.constant([1.0, np.inf]))
    assert len(calls) == 2


def test_check_numerics_takes_floats_only():
    with pytest.raises(TypeError, match="check_numerics: needs a float tensor, got i32"):
        gf.debugging.check_numerics(gf.constant([1]), "ints")


def test_check_numerics_is_fused_into_its_loop():
    f = gf.function(lambda x: gf.tanh(gf.debugging.check_numerics(gf.exp(x), "m") * 2.0))
    f(gf.ones(8))
    assert f.explain().traces[0].kernels == 1
    assert "fails not_finite" in f.kernels(gf.ones(8))


@pytest.mark.parametrize("mode", [lambda f: f, gf.function], ids=["eager", "function"])
def test_the_gradient_passes_through_and_is_checked_too(mode):
    def gradient(x, weight):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.debugging.check_numerics(gf.sqrt(x), "root")
        return tape.gradient(y, x, output_gradients=weight)

    run = mode(gradient)
    assert run(gf.constant([4.0, 1.0]), gf.constant([1.0, 2.0])).numpy().tolist() == [0.25, 1.0]
    with pytest.raises(InvalidArgumentError, match=r"detected in gradient\. root : Tensor had Inf"):
        run(gf.constant([4.0, 1.0]), gf.constant([1.0, np.inf]))


@pytest.mark.parametrize("mode", [lambda f: f, gf.function], ids=["eager", "function"])
def test_assert_all_finite(mode):
    def gradient(x, weight):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.debugging.assert_all_finite(gf.sqrt(x), "root")
        return tape.gradient(y, x, output_gradients=weight)

    run = mode(gradient)
    assert run(gf.constant([4.0, 1.0]), gf.constant([1.0, np.inf])).numpy().tolist() == [0.25, np.inf]
    with pytest.raises(InvalidArgumentError, match="root : Tensor had NaN values"):
        run(gf.constant([4.0, -1.0]), gf.constant([1.0, 1.0]))


# enable_check_numerics ------------------------------------------------------------------------------------------------
def chain(x):
    y = gf.math.log(x)  # the log
    return gf.reduce_sum(gf.tanh(y) * 2.0)


def test_eager_ops_are_checked(checking):
    assert np.isfinite(float(chain(gf.constant([1.0, 2.0]))))
    with pytest.raises(InvalidArgumentError) as caught:
        chain(gf.constant([1.0, 0.0, -1.0]))
    text = str(caught.value)
    assert text.startswith(
        "log: the result must be finite (check_numerics is on), got -inf at [1] (2 of 3 elements) from 0.0"
    )
    assert f"test_check_numerics.py:{line_of('the log')}" in text


def test_functions_are_checked_with_the_same_words(checking):
    compiled = gf.function(chain)
    assert np.isfinite(float(compiled(gf.constant([1.0, 2.0]))))
    texts = []
    for run in (chain, compiled, compiled):
        with pytest.raises(InvalidArgumentError) as caught:
            run(gf.constant([1.0, 0.0, -1.0]))
        texts.append(str(caught.value))
    assert texts[0] == texts[1] == texts[2]


def test_turning_it_on_and_off_keeps_the_trace_and_the_bits():
    compiled = gf.function(chain)
    x = gf.constant([1.0, 2.0, 0.5])
    before = compiled(x)
    assert np.isinf(gf.function(lambda v: gf.math.log(v))(gf.constant(0.0)).numpy())
    gf.debugging.enable_check_numerics()
    gf.debugging.enable_check_numerics()
    try:
        assert gf.debugging.is_checking_numerics()
        assert compiled(x).numpy().tobytes() == before.numpy().tobytes()
        assert compiled.experimental_get_tracing_count() == 1
    finally:
        gf.debugging.disable_check_numerics()
    assert not gf.debugging.is_checking_numerics()
    gf.debugging.disable_check_numerics()
    assert np.isnan(float(compiled(gf.constant([1.0, -2.0, 0.5]))))
    assert compiled(x).numpy().tobytes() == before.numpy().tobytes()


def test_it_holds_for_one_thread(checking):
    found = []
    thread = threading.Thread(target=lambda: found.append(float(chain(gf.constant([0.0])))))
    thread.start()
    thread.join()
    assert found == [-2.0]
    assert gf.debugging.is_checking_numerics()


def test_nan_that_moves_or_is_meant_is_no_failure(checking):
    infinite = gf.constant([np.inf, 1.0])
    assert gf.transpose(gf.reshape(infinite, [1, 2])).shape == (2, 1)
    assert gf.concat([infinite, infinite], 0).shape == (4,)
    masked = gf.function(lambda x: gf.maximum(x, -np.inf))
    assert masked(gf.constant(1.0)).numpy() == 1.0


def test_gradients_are_checked_and_named_backward(checking):
    @gf.function
    def slope(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.sqrt(x)  # the root
        return tape.gradient(y, x)

    assert slope(gf.constant(4.0)).numpy() == 0.25
    with pytest.raises(InvalidArgumentError, match=r"got inf from 0.5 and 0.0") as caught:
        slope(gf.constant(0.0))
    assert caught.value.place.backward
    assert caught.value.place.line == line_of("the root")
    x = gf.constant(0.0)
    with pytest.raises(InvalidArgumentError, match="got inf") as caught, gf.GradientTape() as tape:
        tape.watch(x)
        tape.gradient(gf.sqrt(x), x)
    assert caught.value.place.backward


def test_a_failed_update_changes_nothing(checking):
    w = gf.Variable([1.0, 2.0])

    @gf.function
    def update(x):
        w.assign_add(x)
        w.assign(w / (x - 1.0))

    with pytest.raises(InvalidArgumentError, match=r"divide: .* from 2.0 and 0.0"):
        update(gf.constant([1.0, 3.0]))
    assert w.numpy().tolist() == [1.0, 2.0]
    update(gf.constant([3.0, 3.0]))
    assert w.numpy().tolist() == [2.0, 2.5]


def test_a_tape_outside_a_checked_function(checking):
    compiled = gf.function(lambda x: gf.math.log(x))
    x = gf.constant(1.0)
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = compiled(x)
    assert tape.gradient(y, x).numpy() == 1.0
    with gf.GradientTape() as tape:
        tape.watch(x)
        with pytest.raises(InvalidArgumentError, match="log: the result must be finite"):
            compiled(x * 0.0)


def test_with_checks_reaches_into_loops_and_branches():
    graph = parse(
        """graph f(c: b1[], x: f32[2]) -> (f32[2]) {
  %0: f32[2] = switch c, x {
    branches = (graph no(x: f32[2]) -> (f32[2]) {
      %0: f32[2] = exp x
      return %0
    }, graph yes(x: f32[2]) -> (f32[2]) {
      return x
    })
  }
  return %0
}"""
    )
    text = str(with_checks(graph))
    assert text.count("check_numerics") == 1
    assert 'check_numerics %0 {message="exp"}' in text
    assert str(parse(text)) == text


# Placement ------------------------------------------------------------------------------------------------------------
def test_log_device_placement(capsys):
    assert not gf.debugging.get_log_device_placement()
    compiled = gf.function(lambda x: gf.tanh(x) + 1.0)
    x = gf.ones(3)
    compiled(x)
    gf.debugging.set_log_device_placement(True)
    try:
        assert gf.debugging.get_log_device_placement()
        gf.exp(x)
        compiled(x)
    finally:
        gf.debugging.set_log_device_placement(False)
    gf.exp(x)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("exp: /CPU:0  (test_check_numerics.py:")
    assert any(line.startswith("<lambda>/fused: /CPU:0") for line in lines)
