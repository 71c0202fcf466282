"""tape.why_none names the edge that cuts a gradient, with its line: for every kind of cut, eagerly and through compiled functions."""

import inspect

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import TapeError

X = [1.5, 2.0]
CELL = gf.Variable([0.0, 0.0], trainable=False)


@gf.custom_gradient
def without_gradient(x):
    return x * 2.0, lambda dy: None


@gf.function
def floors(x):
    return gf.floor(x) * 2.0  # in a compiled function


@gf.function
def calls_floors(x):
    return floors(x * 2.0) + 1.0


@gf.function
def loops(x):
    for _ in gf.range(3):
        x = gf.stop_gradient(x) * 2.0  # in a loop
    return x


@gf.function
def branches(x):
    if gf.reduce_sum(x) > 0.0:
        y = gf.round(x)  # in a branch
    else:
        y = gf.zeros_like(x)
    return y


@gf.function
def custom(x):
    return without_gradient(x) + 1.0  # custom


def assigned(x):
    CELL.assign(x * 2.0)  # assigned
    return CELL.read_value() * 3.0


def added(x):
    CELL.assign_add(x)  # added
    return CELL * 3.0


def outside(x, tape):
    with tape.stop_recording():  # outside
        return x * 2.0


CASES = {
    # name: (program, the op or way that cuts, a piece of the line that is named)
    "cast": (lambda x: gf.cast(gf.cast(x, gf.int32) * 2, gf.float32), "cast", "gf.cast(x, gf.int32)"),
    "floor": (lambda x: gf.floor(x) * 2.0, "floor", "gf.floor(x)"),
    "quotient": (lambda x: x // 0.4, "floordiv", "x // 0.4"),
    "stop": (lambda x: gf.stop_gradient(x) + 1.0, "stop_gradient", "gf.stop_gradient(x)"),
    "position": (lambda x: gf.cast(gf.argmax(x), gf.float32), "argmax", "gf.argmax(x)"),
    "comparison": (lambda x: gf.where(x > 1.0, 1.0, 2.0), "greater", "x > 1.0"),
    "numpy": (lambda x: gf.constant(x.numpy()) * 2.0, "numpy", "x.numpy()"),
    "a NumPy function": (lambda x: gf.constant(np.sin(x)), "numpy", "np.sin(x)"),
    "float": (lambda x: gf.constant(float(x[0])), "numpy", "float(x[0])"),
    "numpy_function": (lambda x: gf.numpy_function(np.sin, [x], gf.float32), "numpy_function", "gf.numpy_function"),
    "assign": (assigned, "assign", "CELL.assign(x * 2.0)"),
    "assign_add": (added, "assign", "CELL.assign_add(x)"),
    "custom gradient": (lambda x: without_gradient(x) * 1.0, "without_gradient", "without_gradient(x)"),
    "compiled": (floors, "floor", "gf.floor(x)"),
    "nested": (calls_floors, "floor", "gf.floor(x)"),
    "loop": (loops, "stop_gradient", "gf.stop_gradient(x)"),
    "branch": (branches, "round", "gf.round(x)"),
    "compiled custom gradient": (custom, "without_gradient", "without_gradient(x)"),
}


def line_of(text):
    source = inspect.getsource(inspect.getmodule(line_of)).splitlines()
    return [number for number, line in enumerate(source, start=1) if text in line]


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_cut_is_named_with_its_line(name):
    program, cut, expression = CASES[name]
    x = gf.constant(X)
    for persistent in (True, False):
        with gf.GradientTape(persistent=persistent) as tape:
            tape.watch(x)
            y = program(x)
        assert tape.gradient(y, x) is None
        reason = tape.why_none(y, x)  # after gradient, too
        assert reason.startswith(f"{cut} cuts the gradient: ")
        place = reason.splitlines()[1]
        assert expression in place
        number = int(place.split("test_why_none.py:")[1].split()[0])
        assert number in line_of(expression)


@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_inside_a_compiled_function():
    reasons = []

    def step(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.floor(x) * 2.0
        reasons.append(tape.why_none(y, x))
        with gf.GradientTape() as tape:
            tape.watch(x)
            CELL.assign(x)
            y = CELL * 2.0
        reasons.append(tape.why_none(y, x))
        return y

    gf.function(step)(gf.constant(X))
    assert [reason.split()[0] for reason in reasons[:2]] == ["floor", "assign"]


def test_stop_recording_is_a_cut():
    x = gf.constant(X)
    with gf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = outside(x, tape)
        z = x * 3.0
    assert tape.why_none(y, x).startswith("stop_recording cuts the gradient")
    assert "tape.stop_recording()" in tape.why_none(y, x)
    assert "connected" in tape.why_none(z, x)


def test_the_other_answers():
    x, number = gf.constant(X), gf.constant([1, 2])
    fixed = gf.Variable(1.0, trainable=False)
    with gf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y, z, counted = x * 2.0, fixed * 2.0, gf.cast(gf.shape(x)[0], gf.float32)
    assert "connected" in tape.why_none(y, x)
    assert "connected" in tape.why_none([z, y], x)
    assert "not watched" in tape.why_none(z, fixed)
    assert "only floats" in tape.why_none(y, number)
    assert "no recorded op leads" in tape.why_none(counted, x)
    for target, source in ((1.0, x), (y, 2.0), (y, [x])):
        with pytest.raises(TapeError, match="why_none: the"):
            tape.why_none(target, source)


def test_a_used_tape_says_so():
    x = gf.constant(X)
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = x * 2.0
    tape.gradient(y, x)
    with pytest.raises(TapeError, match="has forgotten its ops"):
        tape.why_none(y, x)
    with tape:  # starts anew
        tape.watch(x)
        y = gf.floor(x)
    assert tape.gradient(y, x) is None
    assert tape.why_none(y, x).startswith("floor")
    with tape:
        z = x * 1.0
    assert tape.why_none(z, x).startswith("the source is not watched")
