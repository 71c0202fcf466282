"""Functions as methods, as static methods and of callable objects; their copies."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import weakref

import pytest

import graphflow as gf


class Scale:
    def __init__(self, factor):
        self.factor = factor

    @gf.function
    def run(self, x):
        return x * self.factor


def test_methods_trace_for_each_instance():
    one, two = Scale(1.0), Scale(2.0)
    x = gf.constant(3.0)
    for _ in range(3):
        assert (one.run(x).numpy(), two.run(x).numpy()) == (3, 6)
    assert one.run.experimental_get_tracing_count() == two.run.experimental_get_tracing_count() == 1
    two.factor = 10.0
    assert two.run(x).numpy() == 30
    assert one.run(x).numpy() == 3
    assert Scale.run(one, x).numpy() == 3
    assert one.run.python_function(x).numpy() == Scale.run.python_function(one, x).numpy() == 3


def test_instances_are_not_kept_alive():
    x = gf.constant(3.0)
    watches = []
    for k in range(5):
        instance = Scale(float(k))
        instance.myself = instance.run  # a cycle of the user's own
        for _ in range(3):
            assert instance.run(x).numpy() == 3 * k
        watches.append(weakref.ref(instance))
    del instance
    gc.collect()
    assert [w() for w in watches] == [None] * 5
    assert not Scale.run._instances._entries


@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_instances_without_hash_or_weak_references():
    class Slotted:
        __slots__ = ("factor",)

        @gf.function
        def run(self, x):
            return x * self.factor

    @dataclasses.dataclass
    class Record:
        factor: float

        @gf.function
        def run(self, x):
            self.last = "seen"
            return x * self.factor

    slotted = Slotted()
    slotted.factor = 2.0
    record = Record(3.0)
    x = gf.constant(2.0)
    for instance, expected in ((slotted, 4), (record, 6)):
        assert instance.run(x).numpy() == expected
        assert instance.run(x).numpy() == expected
        assert instance.run.experimental_get_tracing_count() == 1
        instance.factor = 5.0
        assert instance.run(x).numpy() == 10
    assert record.last == "seen"


def test_static_class_methods_and_callables():
    class Tools:
        @staticmethod
        @gf.function
        def double(x):
            return x * 2

        def __call__(self, x):
            return x * 3

    assert Tools.double(gf.constant(2)).numpy() == 4
    assert gf.function(Tools())(gf.constant(2)).numpy() == 6


def test_copying_and_pickling_functions():
    model = Scale(2.0)
    model.step = gf.function(lambda x: x * 2.0)
    model.step(gf.constant(1.0))
    twin = copy.deepcopy(model)
    assert twin.step(gf.constant(2.0)).numpy() == 4
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(model.step)
