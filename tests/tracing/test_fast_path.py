"""The calls that skip the look-up of a trace go the slow way when anything differs."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf


@pytest.mark.filterwarnings("ignore:.*was traced")
def test_fast_path_goes_the_slow_way_when_anything_differs():
    state = gf.Variable(1.0)
    f = gf.function(lambda x, y=1.0: x * y + state)
    x = gf.constant([1.0, 2.0])
    for _ in range(3):
        assert f(x).numpy().tolist() == [2, 3]
    assert f(gf.constant([1.0])).numpy().tolist() == [2]
    assert f(x, 2.0).numpy().tolist() == [3, 5]
    assert f(x, y=2.0).numpy().tolist() == [3, 5]
    assert f(y=3.0, x=x).numpy().tolist() == [4, 7]
    assert f(x=x).numpy().tolist() == [2, 3]
    assert f(x, gf.constant(4.0)).numpy().tolist() == [5, 9]
    assert f(np.array([1.0, 2.0], "f4")).numpy().tolist() == [2, 3]
    assert f(gf.Variable([1.0, 2.0])).numpy().tolist() == [2, 3]
    assert f(gf.constant([[1.0, 2.0]])).numpy().tolist() == [[2, 3]]
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    assert tape.gradient(y, x).numpy().tolist() == [1, 1]
    with pytest.raises(TypeError):
        f(x, 1.0, 2.0)
    assert f(x).numpy().tolist() == [2, 3]


def test_fast_path_with_variables_as_arguments():
    f = gf.function(lambda v, x: v.assign_add(x))
    a, b = gf.Variable(1.0), gf.Variable(100.0)
    x = gf.constant(1.0)
    for k in range(4):
        assert f(a, x).numpy() == 2 + k
        assert f(b, x).numpy() == 101 + k
    assert f.experimental_get_tracing_count() == 1


@pytest.mark.filterwarnings("ignore:.*was traced")
def test_fast_path_sees_literals_of_another_type():
    f = gf.function(lambda x, k: x * k if not isinstance(k, bool) else x)
    x = gf.constant(2.0)
    for k, expected in ((1, 2), (1, 2), (3, 6), (True, 2), (3.0, 6), (3, 6), (0, 0), (False, 2), (-0.0, 0)):
        assert f(x, k).numpy() == expected
    assert np.signbit(f(x, -0.0).numpy())
    assert not np.signbit(f(x, 0.0).numpy())


def test_subclass_arguments():
    class MyFloat(float):
        pass

    class MyDict(dict):
        pass

    f = gf.function(lambda x, k: x * (k["v"] if isinstance(k, dict) else k))
    x = gf.constant(2.0)
    assert f(x, 3.0).numpy() == 6
    assert f(x, MyFloat(3.0)).numpy() == 6
    assert f(x, MyFloat(4.0)).numpy() == 8
    assert f(x, MyDict(v=5.0)).numpy() == 10
    assert f(x, {"v": gf.constant(6.0)}).numpy() == 12


@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_run_functions_eagerly():
    runs = []

    @gf.function
    def f(x):
        runs.append(1)
        return x * 2.0

    x = gf.constant(1.0)
    f(x)
    f(x)
    with gf.config.override(run_functions_eagerly=True):
        assert f(x).numpy() == 2
    assert len(runs) == 2
    gf.config.run_functions_eagerly(True)
    try:
        assert f(x).numpy() == 2
        assert gf.config.functions_run_eagerly()
    finally:
        gf.config.run_functions_eagerly(False)
    assert len(runs) == 3
    f(x)
    assert len(runs) == 3
    assert f.experimental_get_tracing_count() == 1


def test_many_extents_keep_memory_bounded():
    f = gf.function(lambda x: gf.reduce_sum(x * 2.0), input_signature=[gf.TensorSpec([None], gf.float32)])
    for n in range(200):
        assert f(np.ones(n, "f4")).numpy() == 2 * n
    concrete = f._entries[0]
    assert len(concrete._bindings) <= 64
    assert len(concrete._calls) <= 64
