"""Indexing and slicing against NumPy, in eager mode, in compiled functions and with symbolic extents."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphflow as gf

ARRAY = np.arange(2 * 3 * 4, dtype="f4").reshape(2, 3, 4)
MASK = ARRAY > 7
KEYS = [
    0,
    -1,
    slice(None),
    slice(1, None),
    slice(None, None, 2),
    slice(None, None, -1),
    slice(-2, None),
    slice(5, 9),
    slice(3, 1),
    ...,
    None,
    (0, 1),
    (0, 1, 2),
    (slice(None), 1),
    (..., 0),
    (..., slice(1, 3)),
    (None, 0),
    (0, None, 1),
    (slice(None), None),
    (0, ..., 1),
    (..., None),
    (slice(None, None, -1), slice(None, None, 2), slice(3, 0, -2)),
    [0, 1],
    [1, 0, 1],
    ([0, 1], [1, 2]),
    ([[0], [1]], [[1, 2]]),
    (0, [1, 2]),
    ([0, 1], 1),
    (slice(None), [0, 2]),
    ([0, 1], slice(None), 2),
    ([0, 1], slice(None), [1, 3]),
    (0, slice(None), [1, 3]),
    ([], 0),
    [-1, -2],
    np.array([1, 0]),
    MASK,
    MASK[0, 0],
    [True, False],
    (0, MASK[0]),
    (slice(None), MASK[0]),
    (..., MASK[0, 0]),
    (slice(0, 0),),
    np.int64(1),
    (),
    (None, None, 0),
    (slice(1, 100), slice(-100, 2)),
    (slice(None), 0, ..., [0]),
    (..., 0, [1, 2]),
    (slice(None), [0], None, 1),
]
KEYS = [k for k in KEYS if not (isinstance(k, np.ndarray) and k.shape == (4,))]


def text(key):
    return repr(key).replace("\n", "")[:60]


@pytest.mark.parametrize("key", KEYS, ids=text)
def test_as_numpy(key):
    expected = ARRAY[key]
    tensor = gf.constant(ARRAY)
    found = tensor[key]
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found.numpy(), expected)


def test_as_numpy_in_one_function():
    function = gf.function(lambda x: [x[key] for key in KEYS])
    for found, key in zip(function(gf.constant(ARRAY)), KEYS, strict=True):
        np.testing.assert_array_equal(found.numpy(), ARRAY[key], err_msg=text(key))


def indices(extent):
    return st.one_of(
        st.integers(-extent, extent - 1),
        st.slices(extent),
        st.just(slice(None)),
        st.none(),
        st.lists(st.integers(-extent, extent - 1), min_size=1, max_size=1),
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_keys(data):
    key, axis = [], 0
    while axis < 3 and data.draw(st.booleans()):
        item = data.draw(indices(ARRAY.shape[axis]))
        key.append(item)
        axis += item is not None
    if data.draw(st.booleans()):
        key.insert(data.draw(st.integers(0, len(key))) if axis == 3 else len(key), ...)
    key = tuple(key)
    np.testing.assert_array_equal(gf.constant(ARRAY)[key].numpy(), ARRAY[key])


def test_tensor_indices():
    tensor = gf.constant(ARRAY)
    one, rows = gf.constant(1), gf.constant([1, 0, -1])
    np.testing.assert_array_equal(tensor[one].numpy(), ARRAY[1])
    np.testing.assert_array_equal(tensor[rows].numpy(), ARRAY[[1, 0, -1]])
    np.testing.assert_array_equal(tensor[:, rows].numpy(), ARRAY[:, [1, 0, -1]])
    np.testing.assert_array_equal(tensor[0, one, 2].numpy(), ARRAY[0, 1, 2])
    np.testing.assert_array_equal(tensor[one:].numpy(), ARRAY[1:])
    np.testing.assert_array_equal(tensor[gf.constant(MASK)].numpy(), ARRAY[MASK])

    @gf.function
    def read(x, i, j):
        return x[i], x[:, j], x[i, j], x[i, :, 1]

    for found, expected in zip(
        read(tensor, one, rows), (ARRAY[1], ARRAY[:, [1, 0, -1]], ARRAY[1, [1, 0, -1]], ARRAY[1, :, 1]), strict=True
    ):
        np.testing.assert_array_equal(found.numpy(), expected)
    assert read(tensor, gf.constant(-1), rows)[0].numpy().tolist() == ARRAY[-1].tolist()


SYMBOLIC = [
    0,
    -1,
    slice(1, None),
    slice(None, -1),
    slice(None, None, 2),
    slice(None, 2),
    (slice(None), 1),
    (..., slice(0, 2)),
    (None, 0),
    [0, 1],
    ([0, 1], [1, 0]),
    slice(-2, None),
    slice(None, None, -1),
    slice(1, -1),
    (..., -1),
    slice(2, 100),
    [-1],
]


@pytest.mark.parametrize("key", SYMBOLIC, ids=text)
def test_symbolic_extents(key):
    spec = gf.TensorSpec([None, None, 4], gf.float32)
    function = gf.function(lambda x: x[key], input_signature=[spec])
    for rows, columns in itertools.product((2, 3, 5), (3, 4)):
        array = np.arange(rows * columns * 4, dtype="f4").reshape(rows, columns, 4)
        np.testing.assert_array_equal(function(array).numpy(), array[key])


def test_symbolic_bounds():
    @gf.function(input_signature=[gf.TensorSpec([None, 4], gf.float32)])
    def halves(x):
        half = x.shape[0] // 2
        return x[:half], x[half:], x[x.shape[0] - 1]

    for rows in (2, 5, 8):
        array = np.arange(rows * 4, dtype="f4").reshape(rows, 4)
        first, second, last = halves(array)
        np.testing.assert_array_equal(first.numpy(), array[: rows // 2])
        np.testing.assert_array_equal(second.numpy(), array[rows // 2 :])
        np.testing.assert_array_equal(last.numpy(), array[-1])


OUT = [2, -3, (0, 3), (0, 0, -5), [0, 2], (slice(None), [3]), ([0], [-4])]


@pytest.mark.parametrize("key", OUT, ids=text)
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_out_of_range(key, mode):
    read = lambda x: x[key]  # noqa: E731
    with pytest.raises(IndexError, match="out of range") as caught:
        (gf.function(read) if mode == "graph" else read)(gf.constant(ARRAY))
    assert isinstance(caught.value, gf.errors.OutOfRangeError)
    assert "test_indexing.py" in str(caught.value)


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("bad", [2, -3, 2**31 - 1])
def test_tensor_index_out_of_range(mode, bad):
    read = lambda x, i: x[i] * 2  # noqa: E731
    with pytest.raises(IndexError) as caught:
        (gf.function(read) if mode == "graph" else read)(gf.constant(ARRAY), gf.constant([0, bad]))
    assert "test_indexing.py" in str(caught.value)


def test_symbolic_index_out_of_range_is_found_at_run_time():
    read = gf.function(lambda x: x[2], input_signature=[gf.TensorSpec([None], gf.float32)])
    assert read([1.0, 2.0, 3.0]).numpy() == 3
    with pytest.raises(IndexError):
        read([1.0, 2.0])
    assert read([1.0, 2.0, 4.0]).numpy() == 4


@pytest.mark.parametrize(
    "key", [1.0, "a", (0, 0, 0, 0), (..., ...), True, gf.constant(1.5), [0.5], slice(0.5, 2), {}], ids=text
)
def test_not_an_index(key):
    with pytest.raises((TypeError, IndexError)):
        gf.constant(ARRAY)[key]


def test_mask_of_another_shape():
    with pytest.raises((ValueError, IndexError), match="mask"):
        gf.constant(ARRAY)[np.array([True, False, True])]


def test_gradient_of_indexing():
    variable = gf.Variable(ARRAY)
    for key in [k for k in KEYS if k is not None][:30]:
        with gf.GradientTape() as tape:
            total = gf.reduce_sum(variable[key] * 2)
        expected = np.zeros_like(ARRAY)
        np.add.at(expected, key, 2)
        np.testing.assert_array_equal(tape.gradient(total, variable).numpy(), expected, err_msg=text(key))


def test_slice_functions():
    x = gf.constant(ARRAY)
    np.testing.assert_array_equal(gf.slice(x, [0, 1, 1], [2, -1, 2]).numpy(), ARRAY[0:2, 1:, 1:3])
    np.testing.assert_array_equal(gf.strided_slice(x, [0, 0], [2, 3], [1, 2]).numpy(), ARRAY[0:2, 0:3:2])
    np.testing.assert_array_equal(gf.strided_slice(x, [1], [2], shrink_axis_mask=1).numpy(), ARRAY[1])
    np.testing.assert_array_equal(gf.gather(x, [2, 0], axis=1).numpy(), ARRAY[:, [2, 0]])
    np.testing.assert_array_equal(gf.gather_nd(x, [[0, 1], [1, 2]]).numpy(), ARRAY[[0, 1], [1, 2]])
    np.testing.assert_array_equal(gf.boolean_mask(x, MASK).numpy(), ARRAY[MASK])
    np.testing.assert_array_equal(gf.where(gf.constant(MASK), x, 0.0).numpy(), np.where(MASK, ARRAY, 0))
    np.testing.assert_array_equal(gf.where(gf.constant(MASK)).numpy(), np.argwhere(MASK))
