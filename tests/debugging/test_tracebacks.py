"""Tracebacks show the user's frames; graphflow's own are left out unless they are asked for."""

from __future__ import annotations

import threading
import traceback

import pytest

import graphflow as gf

#: the frame of the handler that passes the error on, as in TensorFlow
HANDLER = 1


@gf.function
def outer(x):
    return helper(x) + 1.0


def helper(x):
    return x @ x


@gf.function
def divides(x, y):
    return x // y


@gf.function
def raises(x):
    raise KeyError("mine")


def files_of(error: BaseException) -> list[str]:
    return [frame.filename for frame in traceback.extract_tb(error.__traceback__)]


def names_of(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def own_frames(error: BaseException) -> int:
    return sum("tests" not in file for file in files_of(error))


CALLS = [
    (lambda: outer(gf.ones((2, 3))), ["outer", "helper"]),
    (lambda: divides(gf.constant([1]), gf.constant([0])), []),
    (lambda: raises(gf.ones(2)), ["raises"]),
]


@pytest.mark.parametrize(("call", "inside"), CALLS, ids=["tracing", "running", "the user's own"])
def test_only_the_users_frames_and_one_handler(call, inside):
    with pytest.raises((gf.errors.GraphflowError, KeyError)) as caught:
        call()
    assert own_frames(caught.value) == HANDLER
    assert names_of(caught.value)[-len(inside) or len(names_of(caught.value)) :] == inside


@pytest.mark.parametrize(("call", "inside"), CALLS[:1])
def test_everything_when_it_is_asked_for(call, inside):
    assert gf.debugging.is_traceback_filtering_enabled()
    gf.debugging.disable_traceback_filtering()
    try:
        assert not gf.debugging.is_traceback_filtering_enabled()
        with pytest.raises(gf.errors.GraphflowError) as caught:
            call()
        assert own_frames(caught.value) > 3
    finally:
        gf.debugging.enable_traceback_filtering()
    with pytest.raises(gf.errors.GraphflowError) as caught:
        call()
    assert own_frames(caught.value) == HANDLER


def test_the_choice_is_a_threads_own():
    found = []
    gf.debugging.disable_traceback_filtering()
    try:
        thread = threading.Thread(target=lambda: found.append(gf.debugging.is_traceback_filtering_enabled()))
        thread.start()
        thread.join()
    finally:
        gf.debugging.enable_traceback_filtering()
    assert found == [True]


def test_methods_and_nested_functions():
    class Model:
        @gf.function
        def run(self, x):
            return outer(x)

    with pytest.raises(gf.errors.ShapeError) as caught:
        Model().run(gf.ones((2, 3)))
    mine = [name for name, file in zip(names_of(caught.value), files_of(caught.value), strict=True) if "tests" in file]
    assert mine[-3:] == ["run", "outer", "helper"]


def test_an_error_of_another_kind_inside_graphflow_keeps_its_frames(monkeypatch):
    from graphflow.tracing import function

    def broken(*args, **kwargs):
        raise RuntimeError("inside")

    monkeypatch.setattr(function.Function, "_arguments", broken)
    with pytest.raises(RuntimeError) as caught:
        outer(gf.ones((2, 2)), 1)
    assert own_frames(caught.value) + ("broken" in names_of(caught.value)) >= 2


def test_the_message_still_has_the_line():
    with pytest.raises(gf.errors.ShapeError, match=r"test_tracebacks\.py:\d+   x @ x"):
        outer(gf.ones((2, 3)))
