"""What each instance of a class has of its own, beside the graphs that they share."""

from __future__ import annotations

import gc
import weakref

import pytest

import graphflow as gf

X = gf.constant([1.0, 2.0])


def values(tensor):
    return tensor.numpy().tolist()


def test_code_goes_with_the_class():
    def use():
        class Model(gf.Module):
            def __init__(self):
                super().__init__()
                self.w = gf.Variable([1.0, 1.0])

            @gf.function
            def run(self, x):
                return x * self.w - 0.25

        model = Model()
        model.run(X)
        return weakref.ref(model.run.get_concrete_function(X).executable), weakref.ref(Model)

    code, cls = use()
    gc.collect()
    assert (code(), cls()) == (None, None)


def test_prints_while_tracing_come_for_each_instance(capsys):
    class Model:
        @gf.function
        def run(self, x):
            print("traced")
            return x * 2.0

    with pytest.warns(gf.errors.SideEffectWarning):
        for _ in range(3):
            Model().run(X)
    assert capsys.readouterr().out == "traced\n" * 3


def test_an_attribute_that_hides_what_getattr_finds():
    class Model:
        def __init__(self):
            self.data = {"k": 3.0}

        def __getattr__(self, name):
            try:
                return self.__dict__["data"][name]
            except KeyError:
                raise AttributeError(name) from None

        @gf.function
        def run(self, x):
            return x * self.k

    one, two = Model(), Model()
    two.k = 5.0
    assert values(one.run(X)) == [3, 6]
    assert values(two.run(X)) == [5, 10]


def test_methods_and_attributes_of_the_instance_alone():
    class Model:
        rate = 2.0

        def scaled(self, x):
            return x * self.rate

        @gf.function
        def run(self, x):
            return self.scaled(x) + (1.0 if hasattr(self, "extra") else 0.0)

    assert values(Model().run(X)) == [2, 4]
    own_method, own_rate, extra, plain = Model(), Model(), Model(), Model()
    own_method.scaled = lambda x: x * 100.0
    own_rate.rate = 7.0
    extra.extra = None
    for _ in range(3):
        assert values(own_method.run(X)) == [100, 200]
        assert values(own_rate.run(X)) == [7, 14]
        assert values(extra.run(X)) == [3, 5]
        assert values(plain.run(X)) == [2, 4]
    Model.rate = 3.0
    assert values(plain.run(X)) == [3, 6]
    assert values(Model().run(X)) == [3, 6]
    Model.scaled = lambda self, x: x - 1.0
    assert values(plain.run(X)) == [0, 1]
    assert values(Model().run(X)) == [0, 1]


def test_objects_shared_between_some_instances():
    class Part:
        def __init__(self, k):
            self.w = gf.Variable([float(k), 1.0])

    class Model:
        def __init__(self, left, right):
            self.left, self.right = left, right

        @gf.function
        def run(self, x):
            self.left.w.assign_add([1.0, 1.0])
            return x * self.right.w

    a, b = Part(1), Part(2)
    for _ in range(2):
        before = a.w.numpy()
        assert values(Model(a, b).run(X)) == (b.w.numpy() * [1, 2]).tolist()
        assert values(Model(b, a).run(X)) == ((before + 1) * [1, 2]).tolist()
        assert values(Model(a, a).run(X)) == ((before + 2) * [1, 2]).tolist()
