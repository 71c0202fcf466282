"""gf.function: when Python runs, which calls share a trace, and what a call gives back."""

from __future__ import annotations

import collections
import copy
import dataclasses
import enum
import gc
import pickle
import weakref

import numpy as np
import pytest

import graphflow as gf


def traced(function, **options):
    """(compiled function, list that grows by one at each trace)"""
    log = []

    def body(*args, **kwargs):
        log.append(1)
        return function(*args, **kwargs)

    body.__signature__ = __import__("inspect").signature(function)
    return gf.function(body, **options), log


# Traces and keys ------------------------------------------------------------------------------------------------------
def test_python_runs_once_per_trace():
    double, log = traced(lambda x: x * 2)
    for k in range(5):
        assert double(gf.constant(float(k))).numpy() == 2 * k
    assert len(log) == 1
    assert double.experimental_get_tracing_count() == 1


@pytest.mark.filterwarnings("ignore:.*was traced")
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "fast path installed"])
def test_each_kind_of_literal_is_a_trace(warm):
    same, log = traced(lambda x: gf.constant(1.0) * x if not isinstance(x, bool) else gf.constant(x))
    for value in (1, 1.0, True, 0.0, -0.0, float("nan"), 1, True, 1.0, float("nan"), -0.0):
        found = same(value)
        if warm:
            found = same(value)
        np.testing.assert_array_equal(found.numpy(), value)
        assert np.signbit(found.numpy()) == np.signbit(np.float32(value)) if not isinstance(value, bool) else True
    assert len(log) == 6


def test_forms_of_a_call_share_a_trace():
    add, log = traced(lambda x, y=2, *, z=3: x + y + z)
    x = gf.constant(1)
    for found in (add(x), add(x, 2), add(x=x), add(x, y=2), add(y=2, x=x), add(x, 2, z=3), add(x, z=3)):
        assert found.numpy() == 6
    assert len(log) == 1
    assert add(x, 3).numpy() == 7
    assert len(log) == 2


def test_dtypes_ranks_and_python_values_are_keys():
    same, log = traced(lambda x, y: (x, y))
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
        with pytest.warns(UserWarning, match="traced 6 times") if count == 6 else _nothing():
            assert same(x, y)[1] == y
        assert same(x, y)[1] == y
        assert len(log) == count


def _nothing():
    import contextlib

    return contextlib.nullcontext()


def test_numpy_arguments_are_tensors():
    kind, log = traced(lambda x: x + 1)
    assert kind(np.float32(1)).numpy() == 2
    assert kind(gf.constant(2.0)).numpy() == 3
    assert kind(np.array(3, "f4")).numpy() == 4
    assert kind(np.float64(2.5)).dtype == gf.float64
    assert kind(np.float64(3.5)).numpy() == 4.5
    assert len(log) == 2


def test_wrong_calls():
    add = gf.function(lambda x, y=2: x + y)
    for args, kwargs in (((), {}), ((1, 2, 3), {}), ((1,), {"z": 1}), ((1,), {"x": 1})):
        with pytest.raises(TypeError, match=r"test_function.py"):
            add(*args, **kwargs)
    assert add(gf.constant(1)).numpy() == 3


def test_variable_arguments_and_their_aliasing():
    double, log = traced(lambda a, b: a.assign_add(b * 1.0))
    x, y, z = gf.Variable(1.0), gf.Variable(10.0), gf.Variable(100.0)
    assert double(x, y).numpy() == 11
    assert double(y, z).numpy() == 110
    assert double(x, x).numpy() == 22
    assert double(y, y).numpy() == 220
    assert double(z, x).numpy() == 122
    assert len(log) == 2
    assert (x.numpy(), y.numpy(), z.numpy()) == (22, 220, 122)


def test_variable_is_both_argument_and_captured():
    w = gf.Variable(1.0)
    both, _log = traced(lambda v: (v.assign_add(1.0), w * 10.0)[1])
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
    total, log = traced(lambda d: d["b"][0] * 10 + d["a"].x + d["a"].y.inputs)

    def make(order, v):
        return {k: {"b": [gf.constant(v)], "a": Pair(gf.constant(2), Batch(gf.constant(3)))}[k] for k in order}

    assert total(make("ab", 1)).numpy() == 15
    assert total(make("ba", 4)).numpy() == 45
    assert len(log) == 1


def test_named_tuples_dataclasses_enums_and_none():
    pick, log = traced(lambda c, b: b.inputs * (1.0 if c is Color.RED else 2.0) if b is not None else gf.constant(0.0))
    assert pick(Color.RED, Batch(gf.constant(3.0))).numpy() == 3
    assert pick(Color.BLUE, Batch(gf.constant(3.0))).numpy() == 6
    assert pick(Color.RED, Batch(gf.constant(4.0))).numpy() == 4
    assert pick(Color.RED, None).numpy() == 0
    assert pick(Color.RED, Batch(gf.constant(3.0), label="x")).numpy() == 3
    assert len(log) == 4


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

    scale, log = traced(lambda x, o: x * o.factor)
    one, two = Options(1.0), Options(2.0)
    x = gf.constant(3.0)
    assert [scale(x, one).numpy(), scale(x, two).numpy(), scale(x, one).numpy()] == [3, 6, 3]
    assert len(log) == 2
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


# Symbolic shapes ------------------------------------------------------------------------------------------------------
def test_second_shape_makes_the_extent_symbolic():
    total, log = traced(lambda x: gf.reduce_sum(x * 2.0, axis=0))
    for rows in (3, 4, 5, 1, 0, 7):
        x = np.ones((rows, 2), "f4")
        assert total(x).numpy().tolist() == [2 * rows, 2 * rows]
    assert len(log) == 2
    assert "s0" in total.ir(np.ones((9, 2), "f4"))


def test_reduce_retracing_off():
    total, log = traced(lambda x: gf.reduce_sum(x), reduce_retracing=False)
    for rows in (3, 4, 5):
        total(np.ones((rows,), "f4"))
    assert len(log) == 3


def test_extents_that_must_agree():
    add, log = traced(lambda x, y: x + y)
    for n in (2, 3, 4, 5):
        assert add(np.ones(n, "f4"), np.ones(n, "f4")).shape == (n,)
    assert len(log) <= 4
    count = len(log)
    assert add(np.ones(6, "f4"), np.ones(6, "f4")).shape == (6,)
    assert len(log) == count
    assert add(np.ones(1, "f4"), np.ones(6, "f4")).shape == (6,)
    assert add(np.ones(6, "f4"), np.ones(1, "f4")).shape == (6,)
    with pytest.raises(ValueError, match="broadcast"):
        add(np.ones(6, "f4"), np.ones(7, "f4"))
    assert add(np.ones(8, "f4"), np.ones(8, "f4")).shape == (8,)


@pytest.mark.filterwarnings("ignore:.*was traced")
@pytest.mark.parametrize(
    "body",
    [
        lambda x: gf.concat([x] * x.shape[0], 0),
        lambda x: x * float(x.shape[0]),
        lambda x: x if x.shape[0] > 3 else x * 2.0,
        lambda x: gf.stack([x[i] for i in range(x.shape[0])]),
        lambda x: gf.stack(list(x)),
        lambda x: x / len(x),
        lambda x: x * {3: 1.0}.get(x.shape[0], 2.0),
        lambda x: x + np.ones(x.shape, "f4"),
        lambda x: x * (1.0 / x.shape[0]),
    ],
)
def test_python_that_needs_numbers_falls_back(body):
    compiled, _log = traced(body)
    for rows in (2, 3, 4, 5):
        x = gf.constant(np.arange(rows, dtype="f4"))
        np.testing.assert_array_equal(compiled(x).numpy(), body(x).numpy())


def test_dimension_arithmetic_stays_symbolic():
    compiled, log = traced(
        lambda x: (
            gf.reshape(x, (x.shape[0] * 2, x.shape[1] // 2)),
            x * gf.cast(gf.shape(x)[0], "float32"),
            gf.zeros((x.shape[0] + 1,)),
        )
    )
    for rows in (3, 4, 5, 6):
        a, b, c = compiled(np.ones((rows, 4), "f4"))
        assert a.shape == (rows * 2, 2)
        assert b.numpy().sum() == rows * rows * 4
        assert c.shape == (rows + 1,)
    assert len(log) == 2


def test_input_signature():
    spec = gf.TensorSpec([None, 2], gf.float32)
    total, log = traced(lambda x, k=2.0: gf.reduce_sum(x) * k, input_signature=[spec])
    for rows in (0, 1, 2, 5):
        assert total(np.ones((rows, 2), "f4")).numpy() == 4 * rows
    assert total([[1, 2]]).numpy() == 6
    assert total(x=gf.ones((1, 2))).numpy() == 4
    assert total(np.ones((3, 2))).numpy() == 12
    assert len(log) == 1


@pytest.mark.parametrize(
    "bad",
    [
        lambda f: f(np.ones((2, 3), "f4")),
        lambda f: f(np.ones(2, "f4")),
        lambda f: f(gf.ones((1, 2), "float64")),
        lambda f: f(gf.ones((1, 2), "int32")),
        lambda f: f(),
        lambda f: f(1, 2),
        lambda f: f(None),
        lambda f: f("text"),
        lambda f: f(y=1),
        lambda f: f([[1, 2], [3]]),
    ],
)
def test_input_signature_violations(bad):
    total = gf.function(lambda x: gf.reduce_sum(x), input_signature=[gf.TensorSpec([None, 2], gf.float32)])
    with pytest.raises(TypeError) as caught:
        bad(total)
    assert "test_function.py" in str(caught.value)
    assert total([[1.0, 2.0]]).numpy() == 3


def test_nested_input_signature_and_methods():
    class Model:
        def __init__(self):
            self.w = gf.Variable(2.0)

        @gf.function(input_signature=[{"x": gf.TensorSpec([None], gf.float32)}, gf.TensorSpec([], gf.int32)])
        def run(self, inputs, n):
            return inputs["x"] * self.w + gf.cast(n, "float32")

    model = Model()
    assert model.run({"x": [1.0, 2.0]}, 1).numpy().tolist() == [3, 5]
    assert model.run({"x": [1.0]}, 2).numpy().tolist() == [4]
    assert model.run.experimental_get_tracing_count() == 1
    with pytest.raises(TypeError):
        model.run({"y": [1.0]}, 1)
    with pytest.raises(TypeError):
        model.run([1.0], 1)


def test_concrete_functions():
    scale = gf.function(lambda x, k: x * k)
    concrete = scale.get_concrete_function(gf.TensorSpec([None], gf.float32), 3.0)
    assert concrete(gf.constant([1.0, 2.0])).numpy().tolist() == [3, 6]
    assert concrete(x=np.array([1.0], "f4")).numpy().tolist() == [3]
    assert concrete.structured_outputs.shape[0].text == "s0"
    assert scale.get_concrete_function(gf.TensorSpec([None], gf.float32), 3.0) is concrete
    assert scale(gf.constant([1.0]), 3.0).numpy() == 3
    assert scale.experimental_get_tracing_count() == 1
    for bad in (
        lambda: concrete(gf.constant([1])),
        lambda: concrete(),
        lambda: concrete(gf.constant([[1.0]])),
        lambda: concrete(y=1.0),
        lambda: concrete(gf.constant([1.0]), gf.constant([1.0])),
    ):
        with pytest.raises(TypeError, match="takes"):
            bad()
    outer = gf.function(lambda x: concrete(x) + 1.0)
    assert outer(gf.constant([1.0])).numpy() == 4
    exact = scale.get_concrete_function(gf.constant([1.0, 2.0]), 5.0)
    assert exact.types[0].shape == (2,)


# Functions in functions -----------------------------------------------------------------------------------------------
def test_nested_functions_are_inlined():
    w = gf.Variable(2.0)
    inner, inner_log = traced(lambda x: x * w)
    outer, outer_log = traced(lambda x: inner(x) + inner(x * 2.0) + inner(np.float32(1)))
    assert outer(gf.constant(3.0)).numpy() == 20
    w.assign(3.0)
    assert outer(gf.constant(3.0)).numpy() == 30
    assert len(outer_log) == 1
    assert len(inner_log) == 3
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


# Variables and effects ------------------------------------------------------------------------------------------------
def test_variable_created_at_the_first_call_only():
    class Layer:
        def __init__(self):
            self.w = None

        @gf.function
        def __call__(self, x):
            if self.w is None:
                self.w = gf.Variable(lambda: gf.ones((2,)) * 3.0)
            return x * self.w

    layer = Layer()
    assert layer.__call__(gf.constant([1.0, 2.0])).numpy().tolist() == [3, 6]
    layer.w.assign([1.0, 1.0])
    assert layer.__call__(gf.constant([1.0, 2.0])).numpy().tolist() == [1, 2]


def test_variable_created_at_every_call_is_refused():
    make = gf.function(lambda x: gf.Variable(1.0) * x)
    with pytest.raises(ValueError, match="at a later trace than the first") as caught:
        make(gf.constant(1.0))
    assert "test_function.py" in str(caught.value)
    assert "next:" in str(caught.value)


def test_variable_created_on_a_later_call():
    kept = []

    @gf.function
    def late(x, more):
        if more:
            kept.append(gf.Variable(5.0))
        return x * 2.0

    assert late(gf.constant(1.0), False).numpy() == 2
    with pytest.raises(gf.errors.VariableCreationError):
        late(gf.constant(1.0), True)
    assert late(gf.constant(2.0), False).numpy() == 4


def test_variable_from_a_traced_value_is_refused():
    kept = []

    @gf.function
    def make(x):
        if not kept:
            kept.append(gf.Variable(x * 2.0))
        return kept[0] * x

    with pytest.raises(ValueError, match="initial value is computed inside"):
        make(gf.constant(1.0))


def test_prints_run_at_each_call_in_order(capsys):
    counter = gf.Variable(0)

    @gf.function
    def step(x):
        gf.print("before", counter, x, output_stream="stdout")
        counter.assign_add(1)
        gf.print({"after": counter, "list": [x, 1.5, None]}, output_stream="stdout")
        return x

    step(gf.constant([1.0, 2.5]))
    step(gf.constant([1.0, 2.5]))
    text = capsys.readouterr().out.splitlines()
    assert text == [
        "before 0 [1 2.5]",
        "{'after': 1, 'list': [[1 2.5], 1.5, None]}",
        "before 1 [1 2.5]",
        "{'after': 2, 'list': [[1 2.5], 1.5, None]}",
    ]


def test_python_print_runs_while_tracing_only(capsys):
    @gf.function
    def step(x):
        print("tracing")
        return x

    for _ in range(3):
        step(gf.constant(1.0))
    assert capsys.readouterr().out == "tracing\n"


def test_assigns_keep_program_order_and_run_unreturned():
    a, b = gf.Variable(1.0), gf.Variable(0.0)

    @gf.function
    def step():
        a.assign_add(1.0)
        b.assign(a * 10.0)
        a.assign(a * 2.0)
        b.assign_add(a)

    step()
    assert (a.numpy(), b.numpy()) == (4, 24)
    step()
    assert (a.numpy(), b.numpy()) == (10, 60)


# Methods --------------------------------------------------------------------------------------------------------------
class Scale:
    def __init__(self, factor):
        self.factor = factor
        self.calls = 0

    @gf.function
    def run(self, x):
        self.calls += 1
        return x * self.factor


def test_methods_trace_for_each_instance():
    one, two = Scale(1.0), Scale(2.0)
    x = gf.constant(3.0)
    for _ in range(3):
        assert (one.run(x).numpy(), two.run(x).numpy()) == (3, 6)
    assert (one.calls, two.calls) == (1, 1)
    assert one.run.experimental_get_tracing_count() == 1
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


# The fast path --------------------------------------------------------------------------------------------------------
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


def test_run_functions_eagerly():
    f, log = traced(lambda x: x * 2.0)
    x = gf.constant(1.0)
    f(x)
    f(x)
    with gf.config.override(run_functions_eagerly=True):
        assert f(x).numpy() == 2
    assert len(log) == 2
    gf.config.run_functions_eagerly(True)
    try:
        assert f(x).numpy() == 2
        assert gf.config.functions_run_eagerly()
    finally:
        gf.config.run_functions_eagerly(False)
    assert len(log) == 3
    f(x)
    assert len(log) == 3


def test_many_extents_keep_memory_bounded():
    f = gf.function(lambda x: gf.reduce_sum(x * 2.0), input_signature=[gf.TensorSpec([None], gf.float32)])
    for n in range(200):
        assert f(np.ones(n, "f4")).numpy() == 2 * n
    concrete = f._entries[0]
    assert len(concrete._bindings) <= 64
    assert len(concrete._calls) <= 64


# Errors while tracing -------------------------------------------------------------------------------------------------
def test_user_exceptions_keep_their_class():
    class Mine(Exception):
        pass

    @gf.function
    def f(x, fail):
        if fail:
            raise Mine("mine")
        return x

    with pytest.raises(Mine, match=r"^mine$"):
        f(gf.constant(1.0), True)
    assert f(gf.constant(1.0), False).numpy() == 1
    assert f.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    "use",
    [
        bool,
        float,
        int,
        lambda t: t.numpy(),
        lambda t: [1, 2][t],
        lambda t: np.sqrt(t),
        lambda t: t.tolist(),
        lambda t: 1 if t else 2,
        lambda t: range(t),
    ],
)
def test_symbolic_tensor_as_a_python_value(use):
    with pytest.raises(TypeError, match="no Python value while the function") as caught:
        gf.function(lambda x: use(x), autograph=False)(gf.constant(1))
    assert isinstance(caught.value, gf.errors.TracedBoolError)
    assert "test_function.py" in str(caught.value)
    assert "gf.where" in str(caught.value)


def test_leaked_tensor():
    kept = []

    @gf.function
    def leak(x):
        kept.append(x * 2.0)  # leaks
        return x

    leak(gf.constant(1.0))
    other = gf.function(lambda y: y + kept[0])
    for use in (
        lambda: kept[0] + 1.0,
        lambda: kept[0].numpy(),
        lambda: bool(kept[0]),
        lambda: leak(kept[0]),
        lambda: other(gf.constant(1.0)),
        lambda: gf.Variable(kept[0]),
    ):
        with pytest.raises(gf.errors.TensorLeakError, match=r"made at .*test_function.py:\d+ +x \* 2.0") as caught:
            use()
        assert "'leak'" in str(caught.value) or "body" in str(caught.value)
        assert isinstance(caught.value, TypeError)
    assert "symbolic" in repr(kept[0])


def test_symbolic_tensor_of_an_outer_trace_in_an_init_scope():
    @gf.function
    def f(x):
        with gf.init_scope():
            return x + 1.0

    with pytest.raises(gf.errors.TensorLeakError):
        f(gf.constant(1.0))
