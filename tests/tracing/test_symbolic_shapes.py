"""Extents that differ from call to call, input signatures and concrete functions."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf


def test_second_shape_makes_the_extent_symbolic():
    total = gf.function(lambda x: gf.reduce_sum(x * 2.0, axis=0))
    for rows in (3, 4, 5, 1, 0, 7):
        x = np.ones((rows, 2), "f4")
        assert total(x).numpy().tolist() == [2 * rows, 2 * rows]
    assert total.experimental_get_tracing_count() == 2
    assert "s0" in total.ir(np.ones((9, 2), "f4"))


def test_reduce_retracing_off():
    total = gf.function(lambda x: gf.reduce_sum(x), reduce_retracing=False)
    for rows in (3, 4, 5):
        total(np.ones((rows,), "f4"))
    assert total.experimental_get_tracing_count() == 3


def test_extents_that_must_agree():
    add = gf.function(lambda x, y: x + y)
    for n in (2, 3, 4, 5):
        assert add(np.ones(n, "f4"), np.ones(n, "f4")).shape == (n,)
    assert add.experimental_get_tracing_count() <= 4
    count = add.experimental_get_tracing_count()
    assert add(np.ones(6, "f4"), np.ones(6, "f4")).shape == (6,)
    assert add.experimental_get_tracing_count() == count
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
    compiled = gf.function(body)
    for rows in (2, 3, 4, 5):
        x = gf.constant(np.arange(rows, dtype="f4"))
        np.testing.assert_array_equal(compiled(x).numpy(), body(x).numpy())


def test_dimension_arithmetic_stays_symbolic():
    compiled = gf.function(
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
    assert compiled.experimental_get_tracing_count() == 2


def test_input_signature():
    spec = gf.TensorSpec([None, 2], gf.float32)
    total = gf.function(lambda x, k=2.0: gf.reduce_sum(x) * k, input_signature=[spec])
    for rows in (0, 1, 2, 5):
        assert total(np.ones((rows, 2), "f4")).numpy() == 4 * rows
    assert total([[1, 2]]).numpy() == 6
    assert total(x=gf.ones((1, 2))).numpy() == 4
    assert total(np.ones((3, 2))).numpy() == 12
    assert total.experimental_get_tracing_count() == 1


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
    assert "test_symbolic_shapes.py" in str(caught.value)
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
