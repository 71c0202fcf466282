"""Traces shared by the instances of a class: when they are, and that no instance ever gets another one's values."""

from __future__ import annotations

import copy
import dataclasses
import functools
import gc
import types
import weakref

import numpy as np
import pytest

import graphflow as gf
from graphflow.tracing import settle

X = gf.constant([1.0, 2.0])


@pytest.fixture
def runs(monkeypatch):
    """The names of the functions whose Python ran, in order."""
    names = []
    for method in (Linear.run, Linear.add):
        method._blueprints.clear()
    run = settle.Settling._run_python

    def counted(self, *arguments):
        names.append(self.name)
        return run(self, *arguments)

    monkeypatch.setattr(settle.Settling, "_run_python", counted)
    return names


class Linear(gf.Module):
    def __init__(self, scale, rate=2.0):
        super().__init__()
        self.w = gf.Variable([scale, scale])
        self.rate = rate

    @gf.function
    def run(self, x):
        return x * self.w * self.rate

    @gf.function
    def add(self, x):
        self.w.assign_add(x)
        return self.w.value()


def values(tensor):
    return tensor.numpy().tolist()


def test_one_trace_for_many_instances(runs):
    models = [Linear(float(k)) for k in range(4)]
    for _ in range(3):
        for k, model in enumerate(models):
            assert values(model.run(X)) == [2.0 * k, 4.0 * k]
    assert runs == ["run"]
    for k, model in enumerate(models):
        for n in range(1, 4):
            assert values(model.add(X)) == [k + n, k + 2.0 * n]
        assert model.run.experimental_get_tracing_count() == 1
    assert runs == ["run", "add"]
    assert "another Linear" in str(models[1].run.explain())


def test_the_code_is_the_same():
    one, two = Linear(1.0), Linear(2.0)
    one.run(X), two.run(X)
    first, second = (m.run.get_concrete_function(X) for m in (one, two))
    assert first.executable is second.executable
    assert first.variables == (one.w,) and second.variables == (two.w,)


def test_other_values_classes_dtypes_and_shapes_are_traced_again(runs):
    class Other(Linear):
        pass

    Linear(1.0).run(X)
    count = len(runs)
    for model, expected in (
        (Linear(1.0, 3.0), [3, 6]),
        (Linear(1.0, 2), [2, 4]),
        (Other(1.0), [2, 4]),
    ):
        assert values(model.run(X)) == expected
        count += 1
        assert len(runs) == count
    wide = Linear(1.0)
    wide.w = gf.Variable([1.0])
    assert values(wide.run(X)) == [2, 4]
    frozen = Linear(1.0)
    frozen.w = gf.Variable([1.0, 1.0], trainable=False)
    assert values(frozen.run(X)) == [2, 4]
    named = Linear(1.0)
    named.w = gf.Variable([1.0, 1.0], name="other")
    assert values(named.run(X)) == [2, 4]
    assert len(runs) == count + 3


def test_a_shared_trace_is_guarded():
    one, two = Linear(1.0), Linear(2.0)
    one.run(X)
    for _ in range(3):
        assert values(two.run(X)) == [4, 8]
    two.rate = 5.0
    assert values(two.run(X)) == [10, 20]
    assert values(one.run(X)) == [2, 4]
    two.w = gf.Variable([3.0, 3.0])
    assert values(two.run(X)) == [15, 30]
    one.rate = 5.0
    assert values(one.run(X)) == [5, 10]


def test_lazily_built_variables(runs):
    class Lazy(gf.Module):
        def __init__(self, size):
            super().__init__()
            self.size, self.w = size, None

        @gf.function
        def run(self, x):
            if self.w is None:
                self.w = gf.Variable(lambda: gf.ones(self.size) * float(self.size))
            return x * gf.reduce_sum(self.w)

    for size in (2, 2, 3, 2):
        model = Lazy(size)
        for _ in range(3):
            assert values(model.run(X)) == [size**2, 2.0 * size**2]
    # once more for the first instance of a size, whose variable the first run made
    assert len(runs) == 2 + 1 + 2 + 1


def test_nested_modules_shared_modules_and_containers(runs):
    class Net(gf.Module):
        def __init__(self, tied):
            super().__init__()
            first = Linear(1.0)
            self.layers = [first, first if tied else Linear(1.0)]
            self.table = {"last": self.layers[1]}

        @gf.function
        def run(self, x):
            for layer in self.layers:
                x = layer.run(x)
            return x + self.table["last"].w

        @gf.function
        def bump(self):
            self.layers[0].w.assign_add([1.0, 1.0])
            return self.layers[1].w.value()

    for tied in (False, False, True, True, False):
        net = Net(tied)
        assert values(net.run(X)) == [5, 9]
        # where the two layers are one, the first's update is seen through the second
        assert values(net.bump()) == ([2, 2] if tied else [1, 1])
    assert len(runs) == 4


def test_training_steps_with_an_optimizer(runs):
    class Trainer(gf.Module):
        def __init__(self):
            super().__init__()
            self.model = Linear(1.0)
            self.optimizer = gf.optimizers.Adam(0.1)

        @gf.function
        def step(self, x):
            with gf.GradientTape() as tape:
                loss = gf.reduce_sum(gf.square(self.model.run(x)))
            self.optimizer.minimize(loss, self.model.trainable_variables, tape)
            return loss

    histories = []
    for _ in range(3):
        trainer = Trainer()
        histories.append([trainer.step(X).numpy().tobytes() for _ in range(4)])
        assert int(trainer.optimizer.iterations) == 4
    assert histories[0] == histories[1] == histories[2]
    assert len(set(histories[0])) == 4
    assert len(runs) == 2 + 1 + 1  # the first builds the slots and is traced again


def test_a_variable_that_belongs_to_all(runs):
    common = gf.Variable([10.0, 10.0])

    class Model(gf.Module):
        def __init__(self, w):
            super().__init__()
            self.w = w

        @gf.function
        def run(self, x):
            common.assign_add(x)
            return self.w * x + common

    assert values(Model(gf.Variable([1.0, 1.0])).run(X)) == [12, 14]
    assert values(Model(gf.Variable([2.0, 2.0])).run(X)) == [14, 18]
    assert len(runs) == 1
    # where its own variable is the common one, the update is seen in both: another trace
    assert values(Model(common).run(X)) == [13 * 1 + 13, 16 * 2 + 16]
    assert len(runs) == 2


def test_an_argument_that_is_the_variable(runs):
    class Model(gf.Module):
        def __init__(self):
            super().__init__()
            self.w = gf.Variable([1.0, 1.0])

        @gf.function
        def move(self, v):
            v.assign_add([1.0, 1.0])
            self.w.assign_add([10.0, 10.0])
            return v + self.w

    one, two, three = Model(), Model(), Model()
    assert values(one.move(gf.Variable([0.0, 0.0]))) == [12, 12]
    assert values(two.move(gf.Variable([0.0, 0.0]))) == [12, 12]
    assert len(runs) == 1
    assert values(three.move(three.w)) == [24, 24]
    assert values(two.move(three.w)) == [34, 34]


# What must not be shared ----------------------------------------------------------------------------------------------
def check_apart(make, expected):
    """Each of the instances gives its own value, now and again."""
    models = [make(k) for k in range(3)]
    for _ in range(3):
        for k, model in enumerate(models):
            assert values(model.run(X)) == [expected(k), 2.0 * expected(k)], k


def test_values_found_by_the_identity_of_the_instance():
    by_object, by_id, listed = weakref.WeakKeyDictionary(), {}, []

    class ByHash:
        def __init__(self, k):
            by_object[self] = float(k)

        @gf.function
        def run(self, x):
            return x * by_object[self]

    class ById:
        def __init__(self, k):
            by_id[id(self)] = float(k)

        @gf.function
        def run(self, x):
            return x * by_id[id(self)]

    class ByPlace:
        def __init__(self, k):
            listed.append(self)

        @gf.function
        def run(self, x):
            return x * float(listed.index(self))

    class Cached:
        def __init__(self, k):
            self.k = k

        @functools.lru_cache  # noqa: B019
        def factor(self):
            return float(self.k)

        @gf.function
        def run(self, x):
            return x * self.factor()

    for make in (ByHash, ById, ByPlace, Cached):
        check_apart(make, float)


def test_values_that_no_guard_shows():
    class Past:
        def __init__(self, k):
            self.k = float(k)

        @gf.function
        def run(self, x):
            return x * object.__getattribute__(self, "k")

    class Vars:
        def __init__(self, k):
            self.k = float(k)

        @gf.function
        def run(self, x):
            return x * vars(self)["k"]

    class Library:
        def __init__(self, k):
            self.fraction = __import__("fractions").Fraction(k, 1)

        @gf.function
        def run(self, x):
            return x * float(self.fraction)

    class Closure:
        def __init__(self, k):
            self.f = lambda x: x * float(k)

        @gf.function
        def run(self, x):
            return self.f(x)

    class Array:
        def __init__(self, k):
            self.a = np.full(2, k, "f4")
            self.big = np.full(100_000, k, "f4")

        @gf.function
        def run(self, x):
            return x * self.big[:2]

    class Constant:
        def __init__(self, k):
            self.c = gf.constant([float(k), float(k)])

        @gf.function
        def run(self, x):
            return x * self.c

    class Slots:
        __slots__ = ("__weakref__", "k")

        def __init__(self, k):
            self.k = float(k)

        @gf.function
        def run(self, x):
            return x * self.k

    class Dynamic:
        def __init__(self, k):
            self.__dict__["data"] = {"k": float(k)}

        def __getattr__(self, name):
            try:
                return self.__dict__["data"][name]
            except KeyError:
                raise AttributeError(name) from None

        @gf.function
        def run(self, x):
            return x * self.k

    class Property:
        def __init__(self, k):
            self._k = float(k)

        @property
        def k(self):
            return self._k

        @gf.function
        def run(self, x):
            return x * self.k

    class Nested:
        def __init__(self, k):
            self.options = types.SimpleNamespace(inner=[{"k": float(k)}])

        @gf.function
        def run(self, x):
            return x * self.options.inner[0]["k"]

    class InASet:
        def __init__(self, k):
            self.members = {float(k)}

        @gf.function
        def run(self, x):
            return x * sum(self.members)

    for make in (Past, Vars, Library, Closure, Array, Constant, Slots, Dynamic, Property, Nested, InASet):
        check_apart(make, float)


def test_class_methods_of_several_classes():
    class Base:
        factor = 1.0

        @classmethod
        @gf.function
        def run(cls, x):
            return x * cls.factor

    classes = [type(f"C{k}", (Base,), {"factor": float(k)}) for k in range(3)]
    for _ in range(3):
        for k, cls in enumerate(classes):
            assert values(cls.run(X)) == [k, 2.0 * k]


def test_side_effects_happen_for_each_instance():
    class Model:
        def __init__(self):
            self.rate = 2.0

        @gf.function
        def run(self, x):
            self.seen = tuple(x.shape)
            return x * self.rate

    with pytest.warns(gf.errors.SideEffectWarning):
        for _ in range(3):
            model = Model()
            model.run(X)
            assert model.seen == (2,)


def test_returned_objects_are_the_instance_s_own():
    class Child:
        def __init__(self, k):
            self.k = k

    class Model:
        def __init__(self, k):
            self.child = Child(k)

        @gf.function
        def run(self, x):
            return x, self.child

    for k in range(3):
        model = Model(k)
        for _ in range(3):
            assert model.run(X)[1] is model.child


def test_python_functions_of_the_instance():
    class Model:
        def __init__(self, k):
            self.k = k

        def host(self, a):
            return (a * self.k).astype("f4")

        @gf.function
        def run(self, x):
            return gf.numpy_function(self.host, [x], gf.TensorSpec([2], gf.float32))

    check_apart(Model, float)


def test_an_instance_in_a_global():
    class Model:
        def __init__(self, k):
            self.k = float(k)

        @gf.function
        def run(self, x):
            return x * (100.0 if self is special else self.k)

    special = None
    first, second, same_as_second = Model(1), Model(2), Model(2)
    special = second
    assert values(first.run(X)) == [1, 2]
    assert values(same_as_second.run(X)) == [2, 4]
    assert values(second.run(X)) == [100, 200]
    special = same_as_second
    assert values(second.run(X)) == [2, 4]
    assert values(same_as_second.run(X)) == [100, 200]


# Copies and memory ----------------------------------------------------------------------------------------------------
def test_copies_have_variables_of_their_own(runs):
    model = Linear(1.0)
    model.run(X)
    twin = copy.deepcopy(model)
    twin.w.assign([5.0, 5.0])
    assert values(twin.run(X)) == [10, 20]
    assert values(model.run(X)) == [2, 4]
    assert runs == ["run"]


def test_dataclasses_as_instances(runs):
    @dataclasses.dataclass
    class Model:
        w: gf.Variable
        rate: float = 2.0

        @gf.function
        def run(self, x):
            return x * self.w * self.rate

    for k in range(3):
        assert values(Model(gf.Variable([float(k), 1.0])).run(X)) == [2.0 * k, 4]
    assert runs == ["run"]


def test_a_blueprint_keeps_no_instance_alive():
    class Model(gf.Module):
        def __init__(self, k):
            super().__init__()
            self.w = gf.Variable([float(k), 1.0])
            self.child = Linear(1.0)

        @gf.function
        def run(self, x):
            return self.child.run(x) * self.w

    watches = []
    for k in range(4):
        model = Model(k)
        for _ in range(3):
            assert values(model.run(X)) == [2.0 * k, 4]
        watches += [weakref.ref(v) for v in (model, model.w, model.child, model.child.w)]
        watches.append(weakref.ref(model.run._function))
    del model
    gc.collect()
    assert [w() for w in watches] == [None] * len(watches)
    assert len(Model.run._blueprints) == 1
