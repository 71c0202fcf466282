"""Variables: what they hold, how they are assigned to, and that a failed assignment changes nothing."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import graphflow as gf


def test_dtype_and_shape_come_from_the_initial_value():
    assert gf.Variable(1).dtype == gf.int32
    assert gf.Variable(1.0).dtype == gf.float32
    assert gf.Variable(np.zeros((2, 3))).dtype == gf.float64
    assert gf.Variable([1, 2], dtype="float64").dtype == gf.float64
    assert gf.Variable(lambda: gf.ones((2, 3))).shape == (2, 3)
    assert gf.Variable(gf.Variable(3.0)).numpy() == 3
    assert gf.Variable(True).dtype == gf.bool
    with pytest.raises(ValueError, match=r"\[2\], not \[3\]"):
        gf.Variable([1.0, 2.0], shape=(3,))
    with pytest.raises(ValueError, match="initial value"):
        gf.Variable()
    with pytest.raises(TypeError):
        gf.Variable(2.5, dtype="int32")


def test_name_and_trainable():
    assert gf.Variable(1.0, name="weight").name == "weight:0"
    assert gf.Variable(1.0).trainable
    assert not gf.Variable(1.0, trainable=False).trainable
    assert "weight:0" in repr(gf.Variable(1.0, name="weight"))


def test_its_memory_is_its_own():
    source = np.arange(3, dtype="f4")
    variable = gf.Variable(source)
    source[0] = 9
    snapshot = variable.value()
    out = variable.numpy()
    out[1] = 9
    np.asarray(variable)[2] = 9
    assert variable.numpy().tolist() == [0, 1, 2]
    variable.assign([5, 6, 7])
    assert snapshot.numpy().tolist() == [0, 1, 2]


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_assignments(mode):
    variable = gf.Variable([1.0, 2.0])

    def run():
        variable.assign([3, 4])
        variable.assign_add([1.0, 1.0])
        variable.assign_sub(gf.constant([0.5, 0.25]))
        return variable.assign_add([0.0, 0.0])

    found = (gf.function(run) if mode == "graph" else run)()
    assert found.numpy().tolist() == [3.5, 4.75]
    assert variable.numpy().tolist() == [3.5, 4.75]


BAD = [
    (1.0, gf.errors.ShapeError, "does not broadcast"),
    ([1.0], ValueError, r"f32\[2\].*f32\[1\]"),
    ([[1.0, 2.0]], ValueError, "does not broadcast"),
    (gf.constant([1, 2]), gf.errors.DTypeError, "float32 and int32"),
    (gf.constant([1.0, 2.0], "float64"), TypeError, "float64"),
    ([1e39, 0], OverflowError, "does not fit"),
    (["a", "b"], TypeError, None),
    ([1j, 2j], TypeError, None),
]


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("verb", ["assign", "assign_add", "assign_sub"])
@pytest.mark.parametrize(("value", "error", "text"), BAD)
def test_failed_assign_changes_nothing(mode, verb, value, error, text):
    variable = gf.Variable([1.0, 2.0])

    def run():
        getattr(variable, verb)(value)

    with pytest.raises(error, match=text) as caught:
        (gf.function(run) if mode == "graph" else run)()
    if isinstance(caught.value, gf.errors.GraphflowError):
        assert "test_variable.py" in str(caught.value)
    assert variable.numpy().tolist() == [1, 2]
    variable.assign([3.0, 4.0])
    assert variable.numpy().tolist() == [3, 4]


def test_operators_and_protocols():
    variable = gf.Variable([1.0, 2.0])
    assert (variable + 1).numpy().tolist() == [2, 3]
    assert (1 - variable).numpy().tolist() == [0, -1]
    assert (np.array([1, 1], "f4") + variable).numpy().tolist() == [2, 3]
    assert isinstance(np.array([1, 1], "f4") * variable, gf.Tensor)
    assert variable[1].numpy() == 2
    assert len(variable) == 2
    assert [float(v) for v in variable] == [1, 2]
    assert float(gf.Variable(2.5)) == 2.5
    assert int(gf.Variable(3)) == 3
    assert bool(gf.Variable(1))
    assert np.sqrt(gf.Variable(4.0)) == 2
    with pytest.raises(TypeError):
        hash(variable)
    assert {variable.ref(): 1}[variable.ref()] == 1
    assert gf.is_tensor(variable)


def test_copies_and_pickle():
    variable = gf.Variable([1.0, 2.0], trainable=False, name="state")
    for twin in (copy.deepcopy(variable), pickle.loads(pickle.dumps(variable))):
        assert twin.numpy().tolist() == [1, 2]
        assert (twin.name, twin.trainable, twin.dtype) == ("state:0", False, gf.float32)
        twin.assign([5.0, 5.0])
        assert variable.numpy().tolist() == [1, 2]


def test_seen_by_reference_from_a_function():
    variable = gf.Variable(2.0)
    double = gf.function(lambda: variable * 2)
    assert double().numpy() == 4
    variable.assign(5.0)
    assert double().numpy() == 10
    assert double.experimental_get_tracing_count() == 1


def test_numpy_inside_a_function_is_refused():
    variable = gf.Variable(2.0)
    with pytest.raises(gf.errors.FailedPreconditionError, match=r"test_variable.py"):
        gf.function(lambda: variable.numpy())()


def test_scalars_and_empty_variables():
    empty = gf.Variable(np.zeros((0, 3), "f4"))
    empty.assign_add(np.ones((0, 3), "f4"))
    assert empty.shape == (0, 3)
    count = gf.Variable(0)
    for _ in range(3):
        count.assign_add(1)
    assert count.numpy() == 3
    total = gf.Variable(0, dtype="int64")
    gf.function(lambda: total.assign_add(2**40))()
    assert total.numpy() == 2**40


def test_swap_in_a_function():
    a, b = gf.Variable([1.0, 2.0]), gf.Variable([3.0, 4.0])

    @gf.function
    def swap():
        old = a.value()
        a.assign(b)
        b.assign(old)

    swap()
    assert (a.numpy().tolist(), b.numpy().tolist()) == ([3, 4], [1, 2])
    swap()
    assert (a.numpy().tolist(), b.numpy().tolist()) == ([1, 2], [3, 4])
