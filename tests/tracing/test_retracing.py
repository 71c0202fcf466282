"""The trace cache: what fn.explain() tells, retrace limits, eviction, threads, the forms of a fast call."""

from __future__ import annotations

import dataclasses
import functools
import gc
import json
import types
import weakref
from collections import namedtuple

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import RetraceError, RetraceWarning

X = gf.constant([1.0, 2.0])
SCALE = 2.0

quiet = pytest.mark.filterwarnings("ignore::graphflow.errors.RetraceWarning")


def here():
    """The line of the caller."""
    import sys

    return sys._getframe(1).f_lineno


# Explain --------------------------------------------------------------------------------------------------------------
def test_a_report_says_what_changed_where_and_what_to_do():
    f = gf.function(lambda x, k: x * k)
    f(X, 2.0), (first := here())
    f(X, 3.0), (second := here())
    f(X, 3.0)
    one, two = f.explain().traces
    assert (one.number, one.kind, one.hits, one.line) == (1, "first call", 1, first)
    assert (two.number, two.kind, two.hits, two.line) == (2, "argument", 2, second)
    assert one.file == two.file == __file__
    assert (two.subject, two.old, two.new) == ("argument 'k'", "2.0", "3.0")
    assert two.advice == "pass a tensor (gf.constant(3.0)) instead of the Python number 3.0 for 'k'"
    assert two.signature == "(x: f32[2])"
    assert two.trace_milliseconds > 0
    assert two.compile_milliseconds > two.optimise_milliseconds > 0
    assert two.milliseconds == two.trace_milliseconds + two.compile_milliseconds
    for part in (f"{__file__}:{second}", "2 hits", "optimised in", two.advice):
        assert part in str(f.explain())


def test_fast_calls_are_counted_as_hits():
    f = gf.function(lambda x, k: x * k)
    for k in (2.0, 3.0):
        for _ in range(10):
            f(X, k)
    for _ in range(5):
        f(X, 2.0), f(X, 3.0)
    assert [t.hits for t in f.explain().traces] == [15, 15]


def advice(function, *calls):
    for args in calls:
        function(*args)
    return function.explain().traces[-1].advice


@quiet
def test_advice():
    f = gf.function(lambda x: x * 2.0)
    assert advice(f, (X,), (gf.zeros((3,)),)) == "give input_signature with None for axis 0 of 'x'"
    assert advice(gf.function(lambda x: x * 2.0), (X,), (gf.zeros((2, 2)),)) == "reshape 'x' to one rank"
    assert advice(gf.function(lambda x: x * 2), (X,), (gf.constant([1]),)) == "cast 'x' to one dtype"
    g = gf.function(lambda x: x * float(x.shape[0]))
    assert "gf.shape(x)[0]" in advice(g, (X,), (gf.zeros((3,)),), (gf.zeros((4,)),))
    h = gf.function(lambda x, f: f(x))
    assert "pass the same object for 'f'" in advice(h, (X, lambda x: x), (X, lambda x: x))
    assert "structure" in advice(gf.function(lambda x: x[0]), ([X],), ([X, X],))
    assert "right for a few values" in advice(gf.function(lambda x, m: x), (X, "a"), (X, "b"))
    rate = 2.0
    captured = gf.function(lambda x: x * rate)
    captured(X)
    rate = 3.0
    assert advice(captured, (X,)) == "make `rate` a gf.Variable or an argument"
    w = gf.Variable([1.0, 2.0])
    both = gf.function(lambda v: v * w)
    assert "not both" in advice(both, (gf.Variable([1.0, 1.0]),), (w,))


def test_the_closest_trace_is_compared_with():
    f = gf.function(lambda x, a, b: x)
    f(X, 1, 1)
    f(X, 2, 2)
    f(X, 1, 3)
    assert f.explain().traces[-1].reason == "argument 'b' changed from 1 to 3"


def test_a_reason_names_the_item_that_changed():
    settings = {"layers": [{"rate": 1.0}, {"rate": 2.0}]}
    f = gf.function(lambda x: x * settings["layers"][1]["rate"])
    f(X)
    settings["layers"][1]["rate"] = 5.0
    f(X)
    assert f.explain().traces[-1].reason == "captured variable 'settings'['layers'][1]['rate'] changed from 2.0 to 5.0"


def test_to_dict_is_plain_data():
    @gf.function
    def f(x, k):
        return gf.reduce_sum(gf.reduce_max(x, axis=0) + gf.reduce_sum(x, axis=1)) * k

    f(gf.ones((3, 3)), 1.0)
    f(gf.ones((3, 3)), 2.0)
    data = json.loads(json.dumps(f.explain().to_dict()))
    assert data["function"] == "f"
    assert data["made"] == 2
    assert data["reasons"] == {"first call": 1, "argument 'k'": 1}
    assert data["traces"][1]["old"] == "1.0"
    assert data["refusals"]
    assert all(place["file"] == __file__ for edges in data["refusals"].values() for e in edges for place in e["places"])
    explanation = f.explain()
    assert sum(map(len, explanation.refusals.values())) + len(explanation.placement) + len(explanation.fallbacks) + len(
        explanation.warnings
    ) == len(explanation.remarks)
    assert all(f"not fused, {category}" in str(explanation) for category in explanation.refusals)


def test_explain_of_methods_is_the_instances():
    class Model:
        @gf.function
        def run(self, x, k):
            return x * k

    one, two = Model(), Model()
    one.run(X, 1.0)
    one.run(X, 2.0)
    two.run(X, 1.0)
    assert [len(m.run.explain().traces) for m in (one, two)] == [2, 1]


# Limits ---------------------------------------------------------------------------------------------------------------
def test_limit_warns_once_at_the_callers_line():
    f = gf.function(lambda x, k: x * k, retrace_limit=2)
    f(X, 1.0), f(X, 2.0)
    with pytest.warns(RetraceWarning, match=r"traced 3 times.*from 2.0 to 3.0.*pass a tensor") as caught:
        f(X, 3.0), (line := here())
    assert (caught[0].filename, caught[0].lineno) == (__file__, line)
    f(X, 4.0)


def test_limit_raises_with_reasons_and_keeps_nothing():
    f = gf.function(lambda x, k: x * k * SCALE, retrace_limit=3, on_retrace="raise")
    f(X, 1.0), f(X, 2.0), f(gf.constant([1.0]), 2.0)
    for _ in range(2):
        with pytest.raises(RetraceError) as caught:
            f(X, 9.0)
        text = str(caught.value)
        assert "<lambda>: the call needs trace number 4, the limit is 3" in text
        assert "argument 'k' changed from 2.0 to 9.0" in text
        assert "argument 'k' (2)" in text and "first call (1)" in text and "argument 'x' (1)" in text
        assert "test_retracing.py:" in text and "f(X, 9.0)" in text
        assert "next: pass a tensor" in text
        assert caught.value.reasons == {"first call": 1, "argument 'k'": 2, "argument 'x'": 1}
        assert isinstance(caught.value, RuntimeError)
    assert f.experimental_get_tracing_count() == 3
    assert f(X, 2.0).numpy().tolist() == [4, 8]


def test_limit_ignored_and_without_end():
    for options in ({"retrace_limit": 1, "on_retrace": "ignore"}, {"retrace_limit": 0}):
        f = gf.function(lambda x, k: x * k, **options)
        for k in range(8):
            f(X, float(k))


def test_limits_as_flags():
    f = gf.function(lambda x, k: x * k)
    with gf.config.override(retrace_warn=1, on_retrace="raise"):
        f(X, 1.0)
        with pytest.raises(RetraceError):
            f(X, 2.0)
    f(X, 2.0)
    with pytest.raises(TypeError, match="warn, raise, ignore"):
        gf.config.set_flags(on_retrace="shout")
    with pytest.raises(ValueError, match="warn, raise, ignore"):
        gf.config.read_environment({"GRAPHFLOW_ON_RETRACE": "shout"})
    assert gf.config.read_environment({"GRAPHFLOW_ON_RETRACE": "raise"}).on_retrace == "raise"


@pytest.mark.parametrize("bad", [{"on_retrace": "shout"}, {"retrace_limit": -1}, {"retrace_limit": 1.5}])
def test_bad_options(bad):
    with pytest.raises(TypeError, match=next(iter(bad))):
        gf.function(lambda x: x, **bad)


def test_methods_have_the_options():
    class Model:
        @gf.function(retrace_limit=1, on_retrace="raise")
        def run(self, x, k):
            return x * k

    model = Model()
    model.run(X, 1.0)
    with pytest.raises(RetraceError):
        model.run(X, 2.0)
    Model().run(X, 2.0)


# The cache ------------------------------------------------------------------------------------------------------------
@quiet
def test_the_least_recently_used_trace_goes_and_says_so():
    f = gf.function(lambda x, k: x * k)
    with gf.config.override(most_traces=3):
        for k in (1.0, 2.0, 3.0):
            for _ in range(3):
                f(X, k)
        for _ in range(5):
            f(X, 1.0)  # the oldest, and now the last used
        f(X, 4.0)
        explanation = f.explain()
        assert [t.number for t in explanation.traces] == [1, 3, 4]
        assert [t.number for t in explanation.dropped] == [2]
        assert "least recently used of 3 traces" in explanation.dropped[0].state
        assert explanation.dropped[0].hits == 3
        assert "dropped: least recently used" in str(explanation)
        assert f(X, 2.0).numpy().tolist() == [2, 4]
        report = f.explain().traces[-1]
        assert report.kind == "dropped"
        assert "most_traces" in report.advice
        assert len(f._entries) == 3


@quiet
def test_dropped_traces_are_freed():
    f = gf.function(lambda x, k: x * k)
    with gf.config.override(most_traces=2):
        watches = []
        for k in range(6):
            for _ in range(3):
                f(X, float(k))
            watches.append(weakref.ref(f._entries[-1]))
        gc.collect()
        assert [w() is not None for w in watches] == [False] * 4 + [True] * 2


@quiet
def test_traces_of_objects_that_are_gone_go_too():
    class Options:
        rate = 2.0

    f = gf.function(lambda x, o: x * o.rate)
    for _ in range(20):
        options = Options()
        for _ in range(3):
            f(X, options)
    gc.collect()
    f(X, Options())
    assert len(f._entries) <= 2
    assert len(f._cache._by_key) <= 2
    assert any("is gone" in t.state for t in f.explain().dropped)


def test_a_function_frees_its_code_and_arenas():
    def make():
        f = gf.function(lambda x: gf.reduce_sum(gf.tanh(x) * 2.0, axis=0))
        for _ in range(3):
            f(gf.ones((30, 40)))
        concrete = f._entries[0]
        call = next(iter(concrete._calls.values()))
        return weakref.ref(f), weakref.ref(concrete), weakref.ref(concrete.executable.program), weakref.ref(call)

    gc.collect()
    gc.disable()
    try:
        assert [w() for w in make()] == [None] * 4, "at once, without a garbage collection"
    finally:
        gc.enable()


def test_a_function_whose_result_is_kept_is_freed():
    f = gf.function(lambda x: x * 2.0)
    found = [f(X) for _ in range(3)]
    watch = weakref.ref(f)
    del f
    gc.collect()
    assert watch() is None
    assert found[2].numpy().tolist() == [2, 4]


def test_variables_given_as_arguments_are_not_kept():
    f = gf.function(lambda v: v * 2.0)
    watches = []
    for k in range(5):
        v = gf.Variable([float(k)])
        for _ in range(3):
            assert f(v).numpy() == 2 * k
        watches.append(weakref.ref(v))
    del v
    gc.collect()
    assert [w() for w in watches] == [None] * 5
    assert f.experimental_get_tracing_count() == 1


def test_a_failed_trace_changes_nothing():
    f = gf.function(lambda x, k: x * {1.0: 2.0}[k])
    f(X, 1.0)
    with pytest.raises(KeyError):
        f(X, 5.0)
    assert f.experimental_get_tracing_count() == 1
    assert len(f._cache.entries) == len(f._cache._by_key) == 1
    assert not f._cache._making


# Fast calls -----------------------------------------------------------------------------------------------------------
Pair = namedtuple("Pair", "a b")


@dataclasses.dataclass
class Batch:
    inputs: object
    scale: object = 2.0


def fast(function, *args, **kwargs):
    """The result of a call that is known not to take the slow way."""
    for _ in range(3):
        expected = function(*args, **kwargs)
    slow = function._otherwise
    try:
        function._otherwise = lambda *args, **kwargs: pytest.fail("the slow way was taken")
        for call in function._chain:
            if call.__globals__["slow"] is slow:
                call.__globals__["slow"] = function._otherwise
        found = function(*args, **kwargs)
    finally:
        function._otherwise = slow
        for call in function._chain:
            if call.__globals__["slow"].__name__ == "<lambda>":
                call.__globals__["slow"] = slow
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    return found


FORMS = [
    (lambda x, y=2.0, *, z=1.0: x * y + z, (X,), {}),
    (lambda x, y=2.0, *, z=1.0: x * y + z, (X, 3.0), {"z": 2.0}),
    (lambda x, y=2.0, *, z=1.0: x * y + z, (), {"x": X, "y": X, "z": X}),
    (lambda x, y=2.0, *, z=1.0: x * y + z, (), {"z": X, "x": X}),
    (lambda x, y: x * y, (X, np.array([3.0, 4.0], "f4")), {}),
    (lambda x, y: x * y, (X,), {"y": np.array([3.0, 4.0], "f4")}),
    (lambda d: d["a"][0] * d["b"] + d["a"][1][0], ({"b": X, "a": (X, [X])},), {}),
    (lambda d: d["a"][0] * d["b"], (), {"d": {"b": 3.0, "a": [X]}}),
    (lambda p: p.a * p.b, (Pair(X, X),), {}),
    (lambda b: b.inputs * b.scale, (Batch(X),), {}),
    (lambda b: b.inputs * b.scale, (Batch({"k": X}["k"], X),), {}),
    (lambda *parts: parts[0] + parts[1] * parts[2], (X, X, 2.0), {}),
    (lambda x, **more: x * more["b"] + more["a"], (X,), {"a": X, "b": 2.0}),
    (lambda x, m: x * (2.0 if m == "a" else 3.0), (X, "a"), {}),
    (lambda x, m: x * (2.0 if m is None else 3.0), (X, None), {}),
    (lambda x, m: x * (2.0 if 1 in m else 3.0), (X, {1, 2}), {}),
    (lambda x, m: x * m.rate, (X, types.SimpleNamespace(rate=2.0)), {}),
    (lambda x, m: x * (2.0 if m == gf.float32 else 3.0), (X, gf.float32), {}),
    (lambda x, v: x * v, (X, gf.Variable([1.0, 2.0])), {}),
    (lambda v: v["w"] * 2.0, ({"w": gf.Variable([1.0, 2.0])},), {}),
]


@pytest.mark.parametrize(("body", "args", "kwargs"), FORMS)
def test_forms_with_a_fast_call(body, args, kwargs):
    found = fast(gf.function(body), *args, **kwargs)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(body(*args, **kwargs)))


@quiet
def test_fast_calls_check_everything():
    f = gf.function(lambda d, k=1.0, *, z=0.0: d["a"][0] * k + d["b"] + z)

    def call(a, b, *args, **kwargs):
        return f({"a": (a,), "b": b}, *args, **kwargs).numpy().tolist()

    for _ in range(3):
        assert call(X, 1.0) == [2, 3]
        assert call(X, 1.0, z=1.0) == [3, 4]
    assert call(X, 2.0) == [3, 4]
    assert call(X, 1.0, 2.0) == [3, 5]
    assert call(X, 1.0, z=2.0) == [4, 5]
    assert call(X, True) == [2, 3]
    assert call(X, X) == [2, 4]
    assert call(gf.constant([1.0]), 1.0) == [2]
    assert call(gf.constant([[1.0, 2.0]]), 1.0) == [[2, 3]]
    assert call(gf.constant([1.0, 2.0], gf.float64), 1.0) == [2, 3]
    assert f({"a": [X], "b": 1.0}).numpy().tolist() == [2, 3]
    assert f({"a": (X, X), "b": 1.0}).numpy().tolist() == [2, 3]
    assert f({"a": (X,), "b": 1.0, "c": 1}).numpy().tolist() == [2, 3]
    with pytest.raises(KeyError):
        f({"a": (X,)})
    with pytest.raises(TypeError):
        f({"a": (X,), "b": 1.0}, 1.0, 2.0)
    with pytest.raises(TypeError):
        f({"a": (X,), "b": 1.0}, q=1.0)
    assert call(X, 1.0) == [2, 3]


@quiet
def test_content_of_arguments_is_seen_by_the_fast_call():
    names, space, queue = {1}, types.SimpleNamespace(rate=2.0), bytearray(b"\2")
    for body, change, value, before, after in (
        (lambda x, m: x * (2.0 if 1 in m else 3.0), lambda: names.clear(), names, [2, 4], [3, 6]),
        (lambda x, m: x * m.rate, lambda: setattr(space, "rate", 5.0), space, [2, 4], [5, 10]),
        (lambda x, m: x * float(m[0]), lambda: queue.__setitem__(0, 5), queue, [2, 4], [5, 10]),
    ):
        f = gf.function(body)
        for _ in range(3):
            assert f(X, value).numpy().tolist() == before
        change()
        for _ in range(3):
            assert f(X, value).numpy().tolist() == after


@quiet
def test_objects_with_an_own_equality_that_change():
    class Point:
        def __init__(self, rate):
            self.rate = rate

        def __eq__(self, other):
            return self.rate == other.rate

        def __hash__(self):
            return hash(self.rate)

    f = gf.function(lambda x, p: x * p.rate)
    point = Point(2.0)
    for _ in range(3):
        assert f(X, point).numpy().tolist() == [2, 4]
    assert f(X, Point(2.0)).numpy().tolist() == [2, 4]
    assert f.experimental_get_tracing_count() == 1
    point.rate = 5.0
    for _ in range(3):
        assert f(X, point).numpy().tolist() == [5, 10]
    assert f(X, Point(2.0)).numpy().tolist() == [2, 4]


@quiet
def test_strange_arguments_do_no_harm():
    class Arrays:
        def __eq__(self, other):
            return np.array([True, False])

        def __hash__(self):
            return 1

    class Unhashable:
        def __hash__(self):
            raise TypeError("no hash")

    f = gf.function(lambda x, m: x * 2.0)
    values = [Arrays(), Arrays(), Unhashable(), {1: [2]}, [[1], {2}], slice(1, 2), range(3), 10**100, -(10**100), "é"]
    values += [
        np,
        len,
        "".join,
        X.numpy,
        functools.partial(len),
        frozenset({1}),
        frozenset({True}),
        (1, (2, None)),
        ...,
    ]
    for value in values:
        for _ in range(3):
            assert f(X, value).numpy().tolist() == [2, 4]
    count = f.experimental_get_tracing_count()
    for value in values:
        if not isinstance(value, types.BuiltinMethodType):
            assert f(X, value).numpy().tolist() == [2, 4]
    assert f.experimental_get_tracing_count() == count == len(values)


def test_four_signatures_take_turns_without_the_slow_way():
    f = gf.function(lambda x, k: x * k)
    calls = [1.0, 2.0, 3.0, "a"[:0] or 4]
    for _ in range(3):
        for k in calls:
            f(X, k)
    f._slow = lambda *a: pytest.fail("the slow way was taken")
    for k in calls * 3:
        assert f(X, k).numpy().tolist() == [k, 2 * k]
    assert [t.hits for t in f.explain().traces] == [6] * 4


def test_input_signature_that_narrows_an_array():
    f = gf.function(lambda x: x * 2.0, input_signature=[gf.TensorSpec([None], gf.float32)])
    wide = np.array([1.5, 2.5])
    for _ in range(4):
        assert f(wide).numpy().tolist() == [3, 5]
        assert f(wide).dtype is gf.float32
        assert f([1.0]).numpy().tolist() == [2]


def test_the_cause_is_sought_in_a_trace_for_the_present_captured_values():
    scale = 3.0

    @gf.function
    def scaled(x):
        return x * scale

    scaled(gf.constant([1.0]))
    scale = 4.0
    scaled(gf.constant([1.0]))
    scaled(gf.constant([1.0, 2.0]))
    kinds = [trace.kind for trace in scaled.explain().traces]
    assert kinds == ["first call", "capture", "shape"]
