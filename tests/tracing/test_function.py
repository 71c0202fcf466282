"""gf.function: when Python runs, which calls share a trace, what a call gives back, and functions in functions."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import gc
import weakref

import numpy as np
import pytest

import graphflow as gf


# Traces and keys ------------------------------------------------------------------------------------------------------
def test_python_runs_once_per_trace():
    double = gf.function(lambda x: x * 2)
    for k in range(5):
        assert double(gf.constant(float(k))).numpy() == 2 * k
    assert double.experimental_get_tracing_count() == 1
    assert double.experimental_get_tracing_count() == 1


@pytest.mark.filterwarnings("ignore:.*was traced")
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "fast path installed"])
def test_each_kind_of_literal_is_a_trace(warm):
    same = gf.function(lambda x: gf.constant(1.0) * x if not isinstance(x, bool) else gf.constant(x))
    for value in (1, 1.0, True, 0.0, -0.0, float("nan"), 1, True, 1.0, float("nan"), -0.0):
        found = same(value)
        if warm:
            found = same(value)
        np.testing.assert_array_equal(found.numpy(), value)
        assert np.signbit(found.numpy()) == np.signbit(np.float32(value)) if not isinstance(value, bool) else True
    assert same.experimental_get_tracing_count() == 6


def test_forms_of_a_call_share_a_trace():
    add = gf.function(lambda x, y=2, *, z=3: x + y + z)
    x = gf.constant(1)
    for found in (add(x), add(x, 2), add(x=x), add(x, y=2), add(y=2, x=x), add(x, 2, z=3), add(x, z=3)):
        assert found.numpy() == 6
    assert add.experimental_get_tracing_count() == 1
    assert add(x, 3).numpy() == 7
    assert add.experimental_get_tracing_count() == 2


def test_dtypes_ranks_and_python_values_are_keys():
    same = gf.function(lambda x, y: (x, y))
    calls = [
        (gf.constant(1), 1),
        (gf.constant(1.0), 1),
        (gf.constant([1]), 1),
        (gf.constant(1), "a"),
        (gf.constant(1), None),
        (gf.constant(1), (1, 2)),
        (gf.constant(1), [1, 2]),
        (gf.constant(1), {"a": 1}),
        (gf.constant(1), gf.float32),
        (gf.constant(1), b"a"),
    ]
    for count, (x, y) in enumerate(calls, 1):
        with pytest.warns(UserWarning, match="traced 6 times") if count == 6 else contextlib.nullcontext():
            assert same(x, y)[1] == y
        assert same(x, y)[1] == y
        assert same.experimental_get_tracing_count() == count


def test_numpy_arguments_are_tensors():
    kind = gf.function(lambda x: x + 1)
    assert kind(np.float32(1)).numpy() == 2
    assert kind(gf.constant(2.0)).numpy() == 3
    assert kind(np.array(3, "f4")).numpy() == 4
    assert kind(np.float64(2.5)).dtype == gf.float64
    assert kind(np.float64(3.5)).numpy() == 4.5
    assert kind.experimental_get_tracing_count() == 2


def test_wrong_calls():
    add = gf.function(lambda x, y=2: x + y)
    for args, kwargs in (((), {}), ((1, 2, 3), {}), ((1,), {"z": 1}), ((1,), {"x": 1})):
        with pytest.raises(TypeError, match=r"test_function.py"):
            add(*args, **kwargs)
    assert add(gf.constant(1)).numpy() == 3


def test_variable_arguments_and_their_aliasing():
    double = gf.function(lambda a, b: a.assign_add(b * 1.0))
    x, y, z = gf.Variable(1.0), gf.Variable(10.0), gf.Variable(100.0)
    assert double(x, y).numpy() == 11
    assert double(y, z).numpy() == 110
    assert double(x, x).numpy() == 22
    assert double(y, y).numpy() == 220
    assert double(z, x).numpy() == 122
    assert double.experimental_get_tracing_count() == 2
    assert (x.numpy(), y.numpy(), z.numpy()) == (22, 220, 122)


def test_variable_is_both_argument_and_captured():
    w = gf.Variable(1.0)
    both = gf.function(lambda v: (v.assign_add(1.0), w * 10.0)[1])
    assert both(w).numpy() == 20
    other = gf.Variable(5.0)
    assert both(other).numpy() == 20
    assert (w.numpy(), other.numpy()) == (2, 6)
    assert both(w).numpy() == 30


Pair = collections.namedtuple("Pair", "x y")


@dataclasses.dataclass
class Batch:
    inputs: object
    label: object = None


class Color(enum.Enum):
    RED = 1
    BLUE = 2


def test_nested_arguments():
    total = gf.function(lambda d: d["b"][0] * 10 + d["a"].x + d["a"].y.inputs)

    def make(order, v):
        return {k: {"b": [gf.constant(v)], "a": Pair(gf.constant(2), Batch(gf.constant(3)))}[k] for k in order}

    assert total(make("ab", 1)).numpy() == 15
    assert total(make("ba", 4)).numpy() == 45
    assert total.experimental_get_tracing_count() == 1


def test_named_tuples_dataclasses_enums_and_none():
    pick = gf.function(lambda c, b: b.inputs * (1.0 if c is Color.RED else 2.0) if b is not None else gf.constant(0.0))
    assert pick(Color.RED, Batch(gf.constant(3.0))).numpy() == 3
    assert pick(Color.BLUE, Batch(gf.constant(3.0))).numpy() == 6
    assert pick(Color.RED, Batch(gf.constant(4.0))).numpy() == 4
    assert pick(Color.RED, None).numpy() == 0
    assert pick(Color.RED, Batch(gf.constant(3.0), label="x")).numpy() == 3
    assert pick.experimental_get_tracing_count() == 4


def test_containers_of_variables():
    @gf.function
    def decay(parameters, factor):
        for value in parameters.values():
            value.assign(value * factor)

    parameters = {"w": gf.Variable([1.0, 2.0]), "b": gf.Variable(3.0)}
    decay(parameters, gf.constant(2.0))
    decay(parameters, gf.constant(2.0))
    assert parameters["w"].numpy().tolist() == [4, 8]
    assert parameters["b"].numpy() == 12


@pytest.mark.filterwarnings("ignore:.*was traced")
def test_objects_by_identity_and_their_memory():
    class Options:
        def __init__(self, factor):
            self.factor = factor

    scale = gf.function(lambda x, o: x * o.factor)
    one, two = Options(1.0), Options(2.0)
    x = gf.constant(3.0)
    assert [scale(x, one).numpy(), scale(x, two).numpy(), scale(x, one).numpy()] == [3, 6, 3]
    assert scale.experimental_get_tracing_count() == 2
    one.factor = 5.0
    assert scale(x, one).numpy() == 15
    watch = weakref.ref(one)
    del one
    gc.collect()
    assert watch() is None
    for factor in range(20):  # a new object may get the old one's id
        assert scale(x, Options(float(factor))).numpy() == 3 * factor


# Returned structures --------------------------------------------------------------------------------------------------
def test_returned_structures():
    @gf.function
    def everything(x):
        return {
            "t": x + 1,
            "p": Pair(x, None),
            "l": [1, "two", 3.0, None, True],
            "d": Batch(x, label=gf.float32),
            "e": (),
            "s": x.shape,
        }

    found = everything(gf.constant(1.0))
    again = everything(gf.constant(2.0))
    assert again["t"].numpy() == 3
    assert isinstance(again["p"], Pair)
    assert again["p"].y is None
    assert again["l"] == [1, "two", 3.0, None, True]
    assert type(again["l"][4]) is bool
    assert isinstance(again["d"], Batch)
    assert again["d"].label is gf.float32
    assert again["e"] == ()
    found["l"].append(5)
    assert len(everything(gf.constant(1.0))["l"]) == 5
    assert gf.function(lambda: None)() is None
    assert gf.function(lambda: 7)() == 7
    assert gf.function(lambda x: x)(gf.constant(2)).numpy() == 2


def test_returned_variables_arrays_and_repeated_values():
    v = gf.Variable(2.0)
    found = gf.function(lambda x: (v, np.arange(2, dtype="i4"), x, x, v * x))(gf.constant(3.0))
    assert [f.numpy().tolist() for f in found] == [2, [0, 1], 3, 3, 6]
    assert all(type(f) is gf.Tensor for f in found)
    v.assign(9.0)
    assert found[0].numpy() == 2


def test_results_do_not_alias_each_other_or_later_calls():
    double = gf.function(lambda x: (x * 2.0, x * 2.0))
    first = double(gf.constant([1.0, 2.0]))
    kept = first[0].numpy()
    double(gf.constant([5.0, 6.0]))
    assert first[0].numpy().tolist() == kept.tolist() == first[1].numpy().tolist()


# Functions in functions -----------------------------------------------------------------------------------------------
def test_nested_functions_are_inlined():
    w = gf.Variable(2.0)
    inner = gf.function(lambda x: x * w)
    outer = gf.function(lambda x: inner(x) + inner(x * 2.0) + inner(np.float32(1)))
    assert outer(gf.constant(3.0)).numpy() == 20
    w.assign(3.0)
    assert outer(gf.constant(3.0)).numpy() == 30
    assert outer.experimental_get_tracing_count() == 1
    assert inner.experimental_get_tracing_count() == 0  # it is part of the other's graph
    assert inner(gf.constant(1.0)).numpy() == 3
    assert "graph" in outer.ir(gf.constant(3.0))


def test_nested_function_checks_its_signature():
    inner = gf.function(lambda x: x * 2.0, input_signature=[gf.TensorSpec([None], gf.float32)])
    assert gf.function(lambda: inner([1.0, 2.0]))().numpy().tolist() == [2, 4]
    with pytest.raises(TypeError, match="must be TensorSpec"):
        gf.function(lambda x: inner(x))(gf.constant(1.0))


def test_fast_path_inside_another_trace():
    inner = gf.function(lambda x: x * 2.0)
    x = gf.constant(1.0)
    inner(x)
    inner(x)
    outer = gf.function(lambda y: inner(x) + y)
    assert outer(gf.constant(1.0)).numpy() == 3
    assert outer(gf.constant(5.0)).numpy() == 7
