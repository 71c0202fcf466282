"""run_functions_eagerly: for the whole process, as in TensorFlow."""

from __future__ import annotations

import threading

import pytest

import graphflow as gf
from graphflow import config


@pytest.fixture
def eagerly():
    gf.config.run_functions_eagerly(True)
    yield
    gf.config.run_functions_eagerly(False)


calls = []


@gf.function
def inner(x):
    calls.append(type(x).__name__)
    return x * 2.0


@gf.function
def outer(x):
    return inner(x) + 1.0


def test_bodies_run_as_python_each_time(eagerly):
    assert gf.config.functions_run_eagerly()
    before = outer.experimental_get_tracing_count()
    calls.clear()
    for _ in range(3):
        assert float(outer(gf.constant(2.0))) == 5.0
    assert calls == ["Tensor"] * 3
    assert outer.experimental_get_tracing_count() == before


@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_it_can_be_turned_on_after_fast_calls_were_made_and_off_again():
    for _ in range(4):
        outer(gf.constant(2.0))
    calls.clear()
    outer(gf.constant(2.0))
    assert calls == []
    gf.config.run_functions_eagerly(True)
    outer(gf.constant(2.0))
    assert calls == ["Tensor"]
    gf.config.run_functions_eagerly(False)
    assert not gf.config.functions_run_eagerly()
    outer(gf.constant(2.0))
    assert calls == ["Tensor"]


def test_methods_tapes_and_values_that_python_needs(eagerly):
    class Model:
        def __init__(self):
            self.w = gf.Variable(3.0)

        @gf.function
        def run(self, x):
            y = x * self.w
            return y * 2.0 if float(y) > 0.0 else y

    model = Model()
    x = gf.constant(2.0)
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = model.run(x)
    assert float(y) == 12.0
    assert [float(g) for g in tape.gradient(y, [x, model.w])] == [6.0, 4.0]


def test_every_thread_sees_it(eagerly):
    seen = []
    thread = threading.Thread(target=lambda: (calls.clear(), inner(gf.constant(1.0)), seen.append(list(calls))))
    thread.start()
    thread.join()
    assert seen == [["Tensor"]]


def test_the_switch_takes_any_truth_value_and_wins_over_an_override():
    with config.override(check=True):
        gf.config.run_functions_eagerly(1)
        assert gf.config.functions_run_eagerly()
    assert gf.config.functions_run_eagerly()
    gf.config.run_functions_eagerly(0)
    assert gf.config.functions_run_eagerly() is False


def test_concrete_functions_stay_compiled(eagerly):
    concrete = outer.get_concrete_function(gf.constant(2.0))
    calls.clear()
    assert float(concrete(gf.constant(2.0))) == 5.0
    assert calls == []
