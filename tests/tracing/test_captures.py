"""Captured Python values are guarded: when one changes the function is traced again and says so; a stale answer is
never given."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import gc
import sys
import threading
import types
import weakref

import numpy as np
import pytest

import graphflow as gf

pytestmark = pytest.mark.filterwarnings("ignore:.*was traced")

SCALE = 2.0
SETTINGS = {"rate": 2.0, "nested": {"deep": 1.0}}
LAYERS = [1.0, 2.0]
COUNT = 0
ARRAY = np.ones(3, "f4")
SPACE = types.SimpleNamespace(rate=2.0)


class Config:
    rate = 2.0


def helper(x):
    return x * SCALE


X = gf.constant(3.0)


def check(function, change, before, after, why=""):
    """The compiled function follows the change, once, also after the fast path is in place, and gives the reason."""
    compiled = gf.function(function) if not hasattr(function, "explain") else function
    for _ in range(3):
        assert compiled(X).numpy() == before
    traces = compiled.experimental_get_tracing_count()
    change()
    for _ in range(3):
        assert compiled(X).numpy() == after
    assert compiled.experimental_get_tracing_count() == traces + 1
    assert "changed from" in compiled.explain().traces[-1].reason
    assert why in compiled.explain().traces[-1].reason


def test_global(monkeypatch):
    check(
        lambda x: x * SCALE,
        lambda: monkeypatch.setitem(globals(), "SCALE", 5.0),
        6,
        15,
        "global 'SCALE' changed from 2.0 to 5.0",
    )


def test_global_of_a_helper(monkeypatch):
    check(lambda x: helper(x), lambda: monkeypatch.setitem(globals(), "SCALE", 5.0), 6, 15, "SCALE")


def test_the_helper_itself(monkeypatch):
    check(lambda x: helper(x), lambda: monkeypatch.setitem(globals(), "helper", lambda x: x * 7.0), 6, 21, "helper")


def test_type_of_a_global_counts(monkeypatch):
    monkeypatch.setitem(globals(), "SCALE", 2)
    check(
        lambda x: x * (0.0 if isinstance(SCALE, float) else SCALE),
        lambda: monkeypatch.setitem(globals(), "SCALE", 2.0),
        6,
        0,
    )


def test_dictionary_and_list_contents(monkeypatch):
    check(lambda x: x * SETTINGS["rate"], lambda: monkeypatch.setitem(SETTINGS, "rate", 5.0), 6, 15, "SETTINGS")
    check(lambda x: x * SETTINGS["nested"]["deep"], lambda: monkeypatch.setitem(SETTINGS["nested"], "deep", 5.0), 3, 15)
    check(lambda x: x * LAYERS[0], lambda: LAYERS.__setitem__(0, 4.0), 3, 12, "LAYERS")
    LAYERS[0] = 1.0


def test_closure():
    rate = 2.0

    def change():
        nonlocal rate
        rate = 5.0

    check(lambda x: x * rate, change, 6, 15, "variable 'rate'")


def test_default_argument_of_a_helper_and_partial():
    holder = {"f": functools.partial(lambda k, x: x * k, 2.0)}

    def change():
        holder["f"] = functools.partial(lambda k, x: x * k, 5.0)

    check(lambda x: holder["f"](x), change, 6, 15)


def test_class_attribute(monkeypatch):
    check(lambda x: x * Config.rate, lambda: monkeypatch.setattr(Config, "rate", 5.0), 6, 15, "Config")


def test_namespaces(monkeypatch):
    check(lambda x: x * SPACE.rate, lambda: monkeypatch.setattr(SPACE, "rate", 5.0), 6, 15, "SPACE")
    flags = argparse.Namespace(rate=2.0)
    check(lambda x: x * flags.rate, lambda: setattr(flags, "rate", 5.0), 6, 15, "rate")


def test_module_attribute(monkeypatch):
    module = types.ModuleType("settings_of_this_test")
    module.rate = 2.0
    monkeypatch.setitem(globals(), "settings", module)
    check(lambda x: x * settings.rate, lambda: setattr(module, "rate", 5.0), 6, 15, "settings.rate")  # noqa: F821


def test_array(monkeypatch):
    def change():
        ARRAY[0] = 5.0

    try:
        check(lambda x: x * ARRAY[0], change, 3, 15)
    finally:
        ARRAY[0] = 1.0


class Layer:
    bias = 0.0

    def __init__(self, rate):
        self.rate = rate
        self.options = {"extra": 0.0}

    def __call__(self, x):
        return self.activate(x * self.rate + self.options["extra"])

    def activate(self, x):
        return x + self.bias

    @property
    def doubled(self):
        return self.rate * 2


class CountingLayer(Layer):
    def __init__(self, rate):
        super().__init__(rate)
        self.calls = 0
        self.log = []

    def __call__(self, x):
        self.calls += 1
        self.log.append("called")
        return super().__call__(x)


CHANGES = [
    (lambda layer: setattr(layer, "rate", 5.0), 15),
    (lambda layer: layer.options.update(extra=1.0), 7),
    (lambda layer: setattr(layer, "options", {"extra": 2.0}), 8),
    (lambda layer: setattr(layer, "bias", 1.0), 7),
    (lambda layer: setattr(layer, "activate", lambda x: x * 0.0), 0),
]


@pytest.mark.parametrize(("change", "after"), CHANGES)
def test_object_called_from_a_closure(change, after):
    layer = Layer(2.0)
    check(lambda x: layer(x), lambda: change(layer), 6, after)


@pytest.mark.parametrize(("change", "after"), CHANGES)
def test_object_in_a_list_of_an_object(change, after):
    class Model:
        def __init__(self):
            self.layers = [Layer(2.0), Layer(1.0)]

        @gf.function
        def run(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    model = Model()
    check(model.run, lambda: change(model.layers[0]), 6, after)


def test_object_passed_to_a_helper_and_a_property():
    layer = Layer(2.0)

    def use(obj, x):
        return x * obj.doubled

    check(lambda x: use(layer, x), lambda: setattr(layer, "rate", 5.0), 12, 30, "rate")


def test_attribute_that_appears():
    layer = Layer(2.0)
    check(lambda x: x * 5.0 if hasattr(layer, "fast") else x, lambda: setattr(layer, "fast", True), 3, 15)


def test_replaced_object_and_appended_list():
    model = types.SimpleNamespace(layers=[Layer(2.0)])

    def run(x):
        for layer in model.layers:
            x = layer(x)
        return x

    check(run, lambda: model.layers.append(Layer(10.0)), 6, 60)


def test_slots_and_dataclasses():
    class Slotted:
        __slots__ = ("rate",)

    @dataclasses.dataclass(frozen=True)
    class Options:
        rate: float

    slotted = Slotted()
    slotted.rate = 2.0
    check(lambda x: x * slotted.rate, lambda: setattr(slotted, "rate", 5.0), 6, 15)
    options = Options(2.0)
    check(lambda x: x * options.rate, lambda: object.__setattr__(options, "rate", 5.0), 6, 15)


def test_optimizer_setting():
    optimizer = gf.optimizers.SGD(learning_rate=0.5)
    w = gf.Variable(1.0)

    @gf.function
    def step():
        optimizer.apply_gradients([(gf.constant(1.0), w)])

    step()
    step()
    assert w.numpy() == 0
    optimizer.learning_rate = 0.25
    step()
    assert w.numpy() == -0.25


def test_rebound_variable_and_tensor():
    holder = Layer(1.0)
    holder.w = gf.Variable(2.0)
    check(lambda x: x * holder.w, lambda: setattr(holder, "w", gf.Variable(5.0)), 6, 15)
    holder.t = gf.constant(2.0)
    check(lambda x: x * holder.t, lambda: setattr(holder, "t", gf.constant(5.0)), 6, 15)


def test_a_value_that_does_not_matter_is_not_guarded():
    layer = Layer(2.0)
    layer.unrelated = 0
    compiled = gf.function(lambda x: layer(x))
    for k in range(5):
        layer.unrelated = k
        layer.another = k
        assert compiled(X).numpy() == 6
    assert compiled.experimental_get_tracing_count() == 1


def test_equal_values_do_not_retrace():
    compiled = gf.function(lambda x: x * SETTINGS["rate"] + Config.rate)
    for _ in range(3):
        SETTINGS["rate"] = float("2.0")
        Config.rate = float("2.0")
        assert compiled(X).numpy() == 8
    assert compiled.experimental_get_tracing_count() == 1


# What the function writes itself --------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_a_counter_does_not_retrace_for_ever():
    layer = CountingLayer(2.0)
    seen = []

    @gf.function
    def run(x):
        global COUNT
        COUNT += 1
        seen.append(COUNT)
        return layer(x)

    for _ in range(5):
        run(X)
    assert run.experimental_get_tracing_count() == 1
    for rows in (2, 3, 4, 2, 3, 4):
        run(gf.zeros((rows,)))
    assert run.experimental_get_tracing_count() == 3
    assert run(X).numpy() == 6
    assert run.experimental_get_tracing_count() == 3
    assert layer.calls == len(seen) == 3
    remarks = [str(r) for r in run.explain().remarks if r.category == "side effect"]
    assert any("COUNT" in r for r in remarks)
    assert any("CountingLayer object.calls" in r for r in remarks)
    assert any("CountingLayer object.log" in r for r in remarks)
    assert "side effect" in str(run.explain())


def test_lazily_made_attributes():
    class Model:
        def __init__(self):
            self.table = None
            self.w = None

        @gf.function
        def run(self, x):
            if self.table is None:
                self.table = {"k": 2.0}
            if self.w is None:
                self.w = gf.Variable(1.0)
            return x * self.table["k"] * self.w

    model = Model()
    for _ in range(4):
        assert model.run(X).numpy() == 6
    assert model.run.experimental_get_tracing_count() == 1
    model.w = gf.Variable(10.0)
    assert model.run(X).numpy() == 60


def test_temporary_objects_do_not_retrace():
    def run(x):
        return Layer(2.0)(x)

    compiled = gf.function(run)
    for _ in range(4):
        assert compiled(X).numpy() == 6
        gc.collect()
    assert compiled.experimental_get_tracing_count() == 1


# The watching of classes ----------------------------------------------------------------------------------------------
def test_classes_are_left_as_they_were():
    class Own:
        def __getattribute__(self, name):
            return object.__getattribute__(self, name)

        def __init__(self):
            self.rate = 2.0

    original = Own.__dict__["__getattribute__"]
    own, layer = Own(), Layer(2.0)

    def failing(x):
        _ = own.rate, layer.rate
        raise KeyError("mine")

    with pytest.raises(KeyError):
        gf.function(failing)(X)
    assert Own.__dict__["__getattribute__"] is original
    assert "__getattribute__" not in Layer.__dict__
    check(lambda x: x * own.rate, lambda: setattr(own, "rate", 5.0), 6, 15)


def test_computed_attributes():
    class Lazy:
        def __init__(self):
            self.table = {"rate": 2.0}

        def __getattr__(self, name):
            try:
                return self.__dict__["table"][name]
            except KeyError:
                raise AttributeError(name) from None

    lazy = Lazy()
    compiled = gf.function(lambda x: x * lazy.rate)
    for _ in range(3):
        assert compiled(X).numpy() == 6
    assert compiled.experimental_get_tracing_count() == 1


def test_nobody_is_kept_alive():
    def make():
        layer = Layer(2.0)
        layer.partner = Layer(1.0)
        layer.partner.back = layer
        compiled = gf.function(lambda x, k: k(x) + k.partner.rate)
        return compiled, layer

    compiled, layer = make()
    for _ in range(3):
        compiled(X, layer)
    watch = weakref.ref(layer)
    del layer
    gc.collect()
    assert watch() is None
    other = Layer(5.0)
    other.partner = Layer(0.0)
    assert compiled(X, other).numpy() == 15


def test_two_threads_watch_one_class():
    layers = [Layer(float(k)) for k in range(8)]
    results, barrier = [None] * 8, threading.Barrier(8)

    def work(k):
        compiled = gf.function(lambda x: layers[k](x))
        barrier.wait()
        results[k] = [float(compiled(X)) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [[3.0 * k] * 5 for k in range(8)]
    assert "__getattribute__" not in Layer.__dict__


def test_too_many_captures_are_reported(monkeypatch):
    monkeypatch.setattr("graphflow.tracing.captures.MOST_GUARDS", 200)

    class Wide:
        pass

    wide = Wide()
    for k in range(300):
        setattr(wide, f"v{k}", float(k))
    source = "def run(x):\n    return x" + "".join(f" + wide.v{k}" for k in range(300)) + "\n"
    names = {"wide": wide}
    exec(compile(source, __file__, "exec"), names)
    compiled = gf.function(names["run"])
    with pytest.warns(gf.errors.UnguardedWarning, match="beyond the first 200 are not watched"):
        compiled(X)
    assert any(r.category == "unguarded" for r in compiled.explain().remarks)


def test_deep_recursion_in_a_structure_is_no_problem():
    loop: list[object] = [2.0]
    loop.append(loop)
    compiled = gf.function(lambda x: x * loop[0])
    assert compiled(X).numpy() == 6
    loop[0] = 5.0
    assert compiled(X).numpy() == 15
    assert sys.getrecursionlimit() >= 1000


# More containers and callables ----------------------------------------------------------------------------------------
class Options(dict):
    def __getattr__(self, name):
        return self[name]


def test_subclasses_of_containers_long_lists_and_deep_ones():
    import collections

    options = Options(rate=2.0)
    check(lambda x: x * options.rate, lambda: options.update(rate=5.0), 6, 15)
    ordered = collections.OrderedDict(rate=2.0)
    check(lambda x: x * ordered["rate"], lambda: ordered.update(rate=5.0), 6, 15)
    queue = collections.deque([2.0])
    check(lambda x: x * queue[0], lambda: queue.__setitem__(0, 5.0), 6, 15)
    long = [2.0] * 500
    check(lambda x: x * long[499], lambda: long.__setitem__(499, 5.0), 6, 15)
    deep = {"a": {"b": {"c": [{"d": 2.0}]}}}
    check(lambda x: x * deep["a"]["b"]["c"][0]["d"], lambda: deep["a"]["b"]["c"][0].update(d=5.0), 6, 15)
    names = {"fast"}
    check(lambda x: x * (2.0 if "fast" in names else 1.0), lambda: names.add("more"), 6, 6)
    keyed = {("a", 1): 2.0}
    check(lambda x: x * keyed["a", 1], lambda: keyed.update({("a", 1): 5.0}), 6, 15)
    truth = [1]
    check(lambda x: x * (1.0 if truth[0] is True else 2.0), lambda: truth.__setitem__(0, True), 6, 3)


def test_what_is_too_large_to_guard_is_reported():
    large = np.ones(2_000_000, "f4")
    compiled = gf.function(lambda x: x * large[0])
    with pytest.warns(gf.errors.UnguardedWarning, match=r"'large' is too large.*setflags"):
        compiled(X)
    compiled(X)
    assert any(r.category == "unguarded" and "large" in r.message for r in compiled.explain().remarks)


def test_bound_methods_partials_and_callable_objects():
    layer = Layer(2.0)
    check(gf.function(layer.activate), lambda: setattr(layer, "bias", 1.0), 3, 4, "bias")
    other = Layer(2.0)
    check(
        gf.function(functools.partial(lambda obj, x: obj(x), other)), lambda: setattr(other, "rate", 5.0), 6, 15, "rate"
    )
    third = Layer(2.0)
    check(gf.function(third), lambda: setattr(third, "rate", 5.0), 6, 15, "rate")


def test_strange_objects_do_no_harm():
    import unittest.mock

    class Refuses(type):
        def __setattr__(cls, name, value):
            raise AttributeError(name)

    class Odd(metaclass=Refuses):
        def __init__(self):
            self.rate = 2.0

        @property
        def broken(self):
            raise RuntimeError("never read")

        def __eq__(self, other):
            raise RuntimeError("never compared")

        __hash__ = None

    mock, odd, layer = unittest.mock.Mock(rate=2.0), Odd(), Layer(2.0)
    proxy = weakref.proxy(layer)
    for body in (lambda x: x * odd.rate, lambda x: x * proxy.rate, lambda x: x * mock.rate):
        compiled = gf.function(body)
        for _ in range(3):
            assert compiled(X).numpy() == 6
        assert compiled.experimental_get_tracing_count() == 1


def test_super_calls_and_inherited_methods():
    class Base:
        @gf.function
        def run(self, x):
            return x * self.rate * SCALE

    class Derived(Base):
        rate = 2.0

        @gf.function
        def run(self, x):
            return super().run(x) + 1.0

    derived = Derived()
    check(derived.run, lambda: setattr(derived, "rate", 5.0), 13, 31, "rate")


def test_global_read_by_a_parent_method(monkeypatch):
    class Base:
        def go(self, x):
            return x * SCALE

    class Derived(Base):
        def go(self, x):
            return super().go(x)

    derived = Derived()
    check(lambda x: derived.go(x), lambda: monkeypatch.setitem(globals(), "SCALE", 5.0), 6, 15, "SCALE")


def test_names_that_appear(monkeypatch):
    def uses(x):
        try:
            return x * ADDED_LATER
        except NameError:
            return x

    def looks(x):
        return x * (5.0 if "ADDED_LATER" in globals() else 1.0)

    def calls(x):
        return x * float(len([1, 2]))

    monkeypatch.delitem(globals(), "ADDED_LATER", raising=False)
    for body, name, value, before, after in (
        (uses, "ADDED_LATER", 5.0, 3, 15),
        (looks, "ADDED_LATER", 5.0, 3, 15),
        (calls, "len", lambda v: 5.0, 6, 15),
    ):
        compiled = gf.function(body)
        for _ in range(3):
            assert compiled(X).numpy() == before
        globals()[name] = value
        try:
            for _ in range(3):
                assert compiled(X).numpy() == after
        finally:
            del globals()[name]
        assert compiled(X).numpy() == before
        assert compiled.experimental_get_tracing_count() == 2


def test_a_traced_constant_is_a_copy():
    table = np.array([2.0, 2.0], "f4")
    compiled = gf.function(lambda x: x * table)
    first = compiled(X).numpy()
    table[:] = 5.0
    assert compiled(X).numpy().tolist() == [15, 15]
    assert first.tolist() == [6, 6]
