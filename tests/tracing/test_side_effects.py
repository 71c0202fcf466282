"""Side effects on Python state seen while tracing: warned about with their line, or refused; and no false alarms."""

from __future__ import annotations

import collections
import copy
import datetime
import inspect
import os
import pathlib
import random
import sys
import time
import types
import warnings
from time import perf_counter as now

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import SideEffectError, SideEffectWarning

X = gf.constant([1.0, 2.0])
COUNT = 0
LAST = None
TABLE = {"rate": 1.0}
NAMES = set()
LOG = []
ARRAY = np.zeros(3)
SPACE = types.SimpleNamespace(calls=0)
QUEUE = collections.deque([1.0])
SETTINGS = types.ModuleType("settings_of_this_test")
SETTINGS.level = 1
GENERATOR = np.random.default_rng(0)


class Config:
    used = 0


class Layer:
    def __init__(self):
        self.calls = 0
        self.log = []
        self.cache = {}
        self.last = None


LAYER = Layer()


@pytest.fixture(autouse=True)
def _same_state():
    names = ("COUNT", "LAST", "TABLE", "NAMES", "LOG", "ARRAY", "SPACE", "QUEUE", "LAYER", "GENERATOR")
    kept = {name: copy.deepcopy(globals()[name]) for name in names}
    yield
    globals().update(kept)
    SETTINGS.level, Config.used = 1, 0


def line_of(function):
    """The line of the function that ends in "# here"."""
    lines, first = inspect.getsourcelines(function)
    return first + next(k for k, line in enumerate(lines) if line.rstrip().endswith("# here"))


def append(x):
    LOG.append(1)  # here
    return x * 2.0


def item(x):
    TABLE["calls"] = 1  # here
    return x * 2.0


def deleted(x):
    del TABLE["rate"]  # here
    return x * 2.0


def update(x):
    TABLE.update(a=1)  # here
    return x * 2.0


def add_to_set(x):
    NAMES.add("a")  # here
    return x * 2.0


def deque(x):
    y = x * 2.0
    QUEUE.appendleft(2.0)  # here
    return y


def array_item(x):
    ARRAY[1] = 5.0  # here
    return x * 2.0


def namespace(x):
    SPACE.calls += 1  # here
    return x * 2.0


def attribute(x):
    y = x * 2.0
    LAYER.calls += 1  # here
    return y


def list_of_an_object(x):
    for layer in [LAYER]:
        layer.log.append("called")  # here
    return x * 2.0


def dictionary_of_an_object(x):
    LAYER.cache[str(x)] = 1.0  # here
    return x * 2.0


def symbolic_tensor(x):
    y = x * 2.0
    if LAYER.last is None:
        LAYER.last = y  # here
    return y


def unconditional_attribute(x):
    LAYER.seen = "yes"  # here
    return x * 2.0


def class_attribute(x):
    Config.used += 1  # here
    return x * 2.0


def class_of_an_object(x):
    type(LAYER).made = 3  # here
    return x * 2.0


def module_attribute(x):
    SETTINGS.level = 2  # here
    return x * 2.0


def global_name(x):
    global COUNT
    COUNT += 1  # here
    return x * 2.0


def written_only(x):
    global LAST
    LAST = "x"  # here
    return x * 2.0


def python_print(x):
    y = x * 2.0
    print("y is", y)  # here
    return y


def clock(x):
    start = time.perf_counter()  # here
    return x * start


def clock_by_name(x):
    return x * now()  # here


def date(x):
    return x * float(datetime.datetime.now().year)  # here


def python_random(x):
    return x * random.random()  # here


def python_shuffle(x):
    order = [0, 1]
    random.shuffle(order)  # here
    return gf.gather(x, order)


def numpy_random(x):
    return x * np.random.rand()  # here


def numpy_generator(x):
    return x * float(GENERATOR.normal())  # here


def environment(x):
    os.environ["GRAPHFLOW_TEST_OF_EFFECTS"] = "1"  # here
    return x * 2.0


def in_a_helper(x):
    return _helper(x) * 2.0


def _helper(x):
    LOG.append("helper")  # here
    return x


def default_argument(x, seen=[]):  # noqa: B006
    seen.append(1)  # here
    return x * 2.0


CASES = {
    append: "global 'LOG', a list",
    item: "global 'TABLE', a dict",
    deleted: "global 'TABLE'",
    update: "global 'TABLE'",
    add_to_set: "global 'NAMES', a set",
    deque: "global 'QUEUE', a deque",
    array_item: "global 'ARRAY', a ndarray",
    namespace: "global 'SPACE'",
    attribute: "Layer object.calls was changed from 0 to 1",
    list_of_an_object: "Layer object.log, a list",
    dictionary_of_an_object: "Layer object.cache, a dict",
    symbolic_tensor: "Layer object.last was set to a symbolic tensor",
    unconditional_attribute: "Layer object.seen was changed from nothing to 'yes'",
    class_attribute: "Config.used was changed from 0 to 1",
    class_of_an_object: "Layer.made was changed from nothing to 3",
    module_attribute: "SETTINGS.level was changed from 1 to 2",
    global_name: "global 'COUNT' was changed from 0 to 1",
    written_only: "global 'LAST' was changed from None to 'x'",
    python_print: "print ran while tracing",
    clock: "time.perf_counter() was read",
    clock_by_name: "time.perf_counter() was read",
    date: "datetime.now() was read",
    python_random: "Python's random was drawn from",
    python_shuffle: "Python's random was drawn from",
    numpy_random: "NumPy's random was drawn from",
    numpy_generator: "NumPy's random was drawn from",
    environment: "the environment was changed",
    default_argument: "argument 'seen', a list",
}


@pytest.mark.parametrize("autograph", [False, True], ids=["plain", "autograph"])
@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
def test_each_effect_warns_once_with_its_line(function, autograph, capsys):
    try:
        compiled = gf.function(function, autograph=autograph)
        with pytest.warns(SideEffectWarning) as caught:
            compiled(X)
        assert [(w.filename, w.lineno) for w in caught] == [(__file__, line_of(function))]
        assert CASES[function] in str(caught[0].message)
        assert "Next: " in str(caught[0].message)
        for _ in range(3):
            compiled(X)
        remark, *more = [r for r in compiled.explain().warnings if r.category == "side effect"]
        assert not more or function is default_argument  # whose list is another argument at each call
        assert CASES[function] in remark.message
        assert remark.sources[0].line == line_of(function)
    finally:
        os.environ.pop("GRAPHFLOW_TEST_OF_EFFECTS", None)
        vars(Layer).get("made") and delattr(Layer, "made")


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
def test_strict_refuses_and_keeps_nothing(function, capsys):
    try:
        compiled = gf.function(function, strict=True)
        with pytest.raises(SideEffectError) as caught:
            compiled(X)
        assert CASES[function].split(" was changed")[0] in str(caught.value)
        assert f"{os.path.basename(__file__)}:{line_of(function)}" in str(caught.value)
        assert "next:" in str(caught.value)
        assert compiled.experimental_get_tracing_count() == 0
        assert compiled.explain().traces == []
    finally:
        os.environ.pop("GRAPHFLOW_TEST_OF_EFFECTS", None)
        vars(Layer).get("made") and delattr(Layer, "made")


def test_strict_as_a_flag():
    with gf.config.override(strict=True):
        with pytest.raises(SideEffectError):
            gf.function(append)(X)
        with pytest.warns(SideEffectWarning):
            gf.function(append, strict=False)(X)


def test_a_method_of_a_helper_has_the_helpers_line():
    with pytest.warns(SideEffectWarning) as caught:
        gf.function(in_a_helper)(X)
    assert [w.lineno for w in caught] == [line_of(_helper)]


def test_nonlocal():
    total = 0

    def body(x):
        nonlocal total
        total += 1  # here
        return x * 2.0

    with pytest.warns(SideEffectWarning, match="variable 'total' was changed from 0 to 1") as caught:
        gf.function(body)(X)
    assert caught[0].lineno == line_of(body)


def test_files(tmp_path, monkeypatch):
    target = tmp_path / "file.txt"

    def opened(x):
        with open(target, "w") as file:  # here
            file.flush()
        return x * 2.0

    def by_path(x):
        target.write_text("text")  # here
        return x * 2.0

    def removed(x):
        os.remove(target)  # here
        return x * 2.0

    def by_constructor(x):
        pathlib.Path(target).touch()  # here
        return x * 2.0

    for body in (opened, by_path, removed, by_constructor):
        with pytest.warns(SideEffectWarning) as caught:
            gf.function(body)(X)
        assert [w.lineno for w in caught] == [line_of(body)], body

    target.write_text("2.5")

    def read(x):
        with open(target) as file:
            return x * float(file.read())

    assert gf.function(read)(X).numpy().tolist() == [2.5, 5.0]


@pytest.mark.parametrize(
    "make", [lambda: iter([2.0, 3.0]), lambda: (k for k in (2.0, 3.0)), lambda: __import__("itertools").count(2)]
)
def test_iterators(make):
    items = make()

    def body(x):
        return x * float(next(items))  # here

    with pytest.warns(SideEffectWarning, match="variable 'items', an iterator") as caught:
        compiled = gf.function(body)
        assert compiled(X).numpy().tolist() == [2.0, 4.0]
    assert caught[0].lineno == line_of(body)
    assert compiled(X).numpy().tolist() == [2.0, 4.0]
    assert next(items) == 3


def test_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", __import__("io").StringIO("3\n"))

    def body(x):
        return x * float(input())  # here

    with pytest.warns(SideEffectWarning, match=r"input\(\) was read") as caught:
        gf.function(body)(X)
    assert caught[0].lineno == line_of(body)


def test_two_effects_on_two_lines_and_one_on_one_line():
    def body(x):
        LOG.append(1), NAMES.add(2)
        LAYER.calls += 1
        return x * 2.0

    compiled = gf.function(body)
    with pytest.warns(SideEffectWarning) as caught:
        compiled(X)
    first = inspect.getsourcelines(body)[1]
    assert sorted(w.lineno for w in caught) == [first + 1, first + 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled(gf.constant([[1.0]]))  # another trace, the same lines: they were reported


def test_a_warning_turned_into_an_error_leaves_a_usable_function():
    compiled = gf.function(append)
    with pytest.raises(SideEffectWarning):
        compiled(X)
    assert compiled(X).numpy().tolist() == [2.0, 4.0]
    assert compiled.experimental_get_tracing_count() == 1


# No false alarms ------------------------------------------------------------------------------------------------------
def test_lazy_initialisation_without_variables_is_no_effect():
    memo, holder = {}, Layer()

    def body(x):
        global LAST
        if LAST is None:
            LAST = 2.0
        if holder.last is None:
            holder.last = {"k": 3.0}
        if x.shape not in memo:
            memo[x.shape] = 2.0
        return x * LAST * holder.last["k"] * memo[x.shape]

    compiled = gf.function(body)
    for _ in range(3):
        assert compiled(X).numpy().tolist() == [12.0, 24.0]


def test_writing_what_is_there_already_is_no_effect():
    def body(x):
        global COUNT
        COUNT = 0
        LAYER.calls = 0
        TABLE["rate"] = TABLE["rate"]
        SETTINGS.level = 1
        return x * 2.0

    gf.function(body)(X)


def test_what_is_not_run_is_no_effect(tmp_path):
    flag = False

    def body(x):
        if flag:
            print("debugging")
            LOG.append(time.time())
            LAYER.calls += 1
            (tmp_path / "file").write_text("x")
        if X is None:
            random.random()
            np.random.rand()
        return x * 2.0

    gf.function(body, autograph=False)(X)
    assert not (tmp_path / "file").exists()


def test_reading_is_no_effect():
    def body(x):
        total = sum(TABLE.values()) + len(LOG) + len(NAMES) + LAYER.calls + COUNT + ARRAY.sum() + QUEUE[0]
        copied = dict(TABLE)
        copied["other"] = 1.0
        return x * float(total)

    gf.function(body)(X)


def test_the_profiling_function_is_put_back(capsys):
    seen = []

    def profile(frame, event, argument):
        seen.append(event)

    assert sys.getprofile() is None
    with pytest.warns(SideEffectWarning):
        gf.function(python_print)(X)
    assert sys.getprofile() is None
    sys.setprofile(profile)
    try:
        gf.function(python_print)(X)  # a profiler is running: it is left alone, and print is not seen
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)
    with pytest.raises(KeyError):
        gf.function(lambda x: (print(), {}["missing"]))(X)
    assert sys.getprofile() is None


def test_classes_are_left_as_they_were():
    class Hashed:
        def __setattr__(self, name, value):
            object.__setattr__(self, name, value)

        def __init__(self):
            self.n = 0

    original, hashed = Hashed.__dict__["__setattr__"], Hashed()

    def body(x):
        hashed.n += 1  # here
        return x * 2.0

    with pytest.warns(SideEffectWarning, match=r"Hashed object\.n was changed") as caught:
        gf.function(body)(X)
    assert caught[0].lineno == line_of(body)
    assert Hashed.__dict__["__setattr__"] is original
    assert "__getattribute__" not in Hashed.__dict__
    assert Hashed.__hash__ is object.__hash__
