"""Eager tensors: how they are made, converted, combined with Python and NumPy values, and what they refuse."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest

import graphflow as gf


def same(tensor, expected):
    """Bits, shape and dtype."""
    found = tensor.numpy()
    expected = np.asarray(expected)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


# Making ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1, "int32"),
        (-(2**31), "int32"),
        (2**31 - 1, "int32"),
        (2**31, "int64"),
        (-(2**31) - 1, "int64"),
        (2**63 - 1, "int64"),
        (1.5, "float32"),
        (True, "bool"),
        ([1, 2], "int32"),
        ([1, 2**40], "int64"),
        ([1, 2.5], "float32"),
        ([[True], [False]], "bool"),
        ([], "float32"),
        ([[], []], "float32"),
        (range(3), "int32"),
        ((1, 2), "int32"),
        (np.float64(2), "float64"),
        (np.int8(3), "int8"),
        (np.arange(3, dtype="u2"), "uint16"),
        (np.array([1.0]), "float64"),
        (1e38, "float32"),
        (float("inf"), "float32"),
    ],
)
def test_constant_dtype(value, dtype):
    found = gf.constant(value)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.numpy(), np.array(value, dtype))


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
)
def test_constant_of_each_dtype(dtype):
    same(gf.constant([1, 2, 3], dtype), np.array([1, 2, 3], dtype))
    same(gf.constant(np.array([1, 2, 3], dtype)), np.array([1, 2, 3], dtype))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (2**63, None),
        (-(2**63) - 1, None),
        (128, "int8"),
        (-129, "int8"),
        (-1, "uint8"),
        (256, "uint8"),
        (2**64, "uint64"),
        (1e39, None),
        (1e39, "float32"),
        (70000.0, "float16"),
        (10**400, "float64"),
        ([1, 2**63], None),
        ([1, 300], "int8"),
        ([1e39], "float32"),
        (np.array([300]), "int8"),
        (np.array([1e300]), "float32"),
        ([2**70], "float32"),
    ],
)
def test_literal_that_does_not_fit(value, dtype):
    with pytest.raises(OverflowError, match="does not fit") as caught:
        gf.constant(value, dtype)
    assert isinstance(caught.value, gf.errors.InvalidArgumentError)
    assert "test_tensor.py" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (2.5, "int32"),
        ([1.0], "int64"),
        (1, "bool"),
        (np.array(2.5), "int32"),
        (1j, "float32"),
        (None, None),
        ("text", "int32"),
        (["text", 1], None),
        ({}, None),
        (object(), None),
    ],
)
def test_value_of_the_wrong_kind(value, dtype):
    with pytest.raises(TypeError):
        gf.constant(value, dtype)


def test_ragged_list():
    with pytest.raises(gf.errors.ShapeError, match="different lengths"):
        gf.constant([[1, 2], [3]])


def test_constant_shape():
    same(gf.constant(3, shape=(2, 2)), np.full((2, 2), 3, "int32"))
    same(gf.constant([1, 2, 3, 4], shape=(2, 2)), np.array([[1, 2], [3, 4]], "int32"))
    same(gf.constant([], shape=(0, 3)), np.zeros((0, 3), "float32"))
    with pytest.raises(ValueError, match="3 values do not fill shape"):
        gf.constant([1, 2, 3], shape=(2, 2))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">f4").reshape(2, 3),
        np.arange(6, dtype=">i8"),
        np.arange(12, dtype="f4").reshape(3, 4)[::2, ::-1],
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 3), "f4"),
        np.zeros((3, 0), "i4"),
        np.array(2.5, "f4"),
        np.broadcast_to(np.float32(1), (2, 3)),
        np.arange(5, dtype="f4")[1:],
        np.frombuffer(b"\0" * 9, "u1")[1:].view(">i4"),
    ],
)
def test_odd_arrays(array):
    array = array[...]
    array.flags.writeable = False
    tensor = gf.constant(array)
    native = array.astype(array.dtype.newbyteorder("="))
    same(tensor, native)
    same(tensor + tensor, native + native)
    same(gf.function(lambda x: x * x)(array), native * native)


def test_complex_and_half_arrays_hold_their_values():
    for dtype in ("float16", "complex64", "complex128"):
        same(gf.constant(np.array([1, 2], dtype)), np.array([1, 2], dtype))


def test_unsupported_numpy_dtype():
    with pytest.raises(TypeError, match="no graphflow dtype"):
        gf.constant(np.array(["2020-01-01"], "datetime64[D]"))
    with pytest.raises(TypeError, match="object"):
        gf.constant(np.array([object()]))


def test_convert_stacks_tensors():
    a = gf.constant([1.0, 2.0])
    same(gf.convert_to_tensor([a, [3.0, 4]]), np.array([[1, 2], [3, 4]], "f4"))
    same(gf.convert_to_tensor([a[0], 7]), np.array([1, 7], "f4"))
    with pytest.raises(TypeError, match="float32 where int32 is needed"):
        gf.convert_to_tensor(a, gf.int32)


# NumPy and Python -----------------------------------------------------------------------------------------------------
def test_numpy_never_aliases():
    source = np.arange(3, dtype="f4")
    tensor = gf.constant(source)
    source[0] = 9
    out = tensor.numpy()
    out[1] = 9
    np.asarray(tensor)[2] = 9
    np.array(tensor, copy=True)[2] = 9
    same(tensor, np.arange(3, dtype="f4"))
    with pytest.raises(ValueError, match="copy"):
        np.asarray(tensor, copy=False)


def test_numpy_functions_give_arrays():
    tensor = gf.constant([1.0, 4.0])
    assert type(np.sqrt(tensor)) is np.ndarray
    assert np.sqrt(tensor).tolist() == [1, 2]
    assert np.asarray(tensor, "float64").dtype == "float64"


@pytest.mark.parametrize("operator", ["+", "-", "*", "/", "**", "<", ">=", "==", "@"])
def test_array_beside_tensor_gives_tensor(operator):
    array = np.array([[1, 2], [3, 4]], "f4")
    tensor = gf.constant(array)
    for left, right in ((array, tensor), (tensor, array)):
        found = eval(f"x {operator} y", {"x": left, "y": right})
        assert isinstance(found, gf.Tensor)
        np.testing.assert_allclose(found.numpy(), eval(f"array {operator} array"))
    assert isinstance(np.float32(2) * tensor, gf.Tensor)


def test_float64_array_narrows_with_one_warning_a_line():
    tensor = gf.constant([1.0, 2.0])
    with pytest.warns(UserWarning, match="narrowed to float32 at .*test_tensor.py") as caught:
        for _ in range(3):
            found = tensor + np.array([1.0, 2.0])
    assert len(caught) == 1
    assert found.dtype == gf.float32
    with pytest.warns(UserWarning, match="narrowed"):
        _ = np.array([1.0, 2.0]) * tensor
    with pytest.raises(OverflowError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _ = tensor + np.array([1e300, 0])


def test_integer_arrays_take_the_tensors_dtype():
    assert (gf.constant([1.0]) + np.array([1])).dtype == gf.float32
    assert (gf.constant([1]) + np.array([1])).dtype == gf.int32
    assert (np.array([1], "i1") + gf.constant([1], "int64")).dtype == gf.int64
    with pytest.raises(OverflowError):
        _ = gf.constant([1]) + np.array([2**40])


@pytest.mark.parametrize(
    "operand",
    [np.array([1.5]), np.array([1.5], "f4"), 2.0, np.array([True])],
)
def test_int_tensor_beside_a_float_or_bool_raises(operand):
    for run in (lambda: gf.constant([1]) + operand, lambda: operand + gf.constant([1])):
        with pytest.raises(gf.errors.DTypeError) as caught:
            run()
        assert isinstance(caught.value, TypeError)
        assert "int32" in str(caught.value)
        assert "test_tensor.py" in str(caught.value)


@pytest.mark.parametrize(
    "pair", [("float32", "float64"), ("int32", "int64"), ("int32", "float32"), ("uint8", "int8"), ("bool", "int32")]
)
@pytest.mark.parametrize("operator", ["+", "*", "/", "//", "<", "==", "**"])
def test_mixed_tensors_raise(pair, operator):
    left, right = (gf.cast([1, 0], dtype) for dtype in pair)
    with pytest.raises(gf.errors.DTypeError) as caught:
        eval(f"left {operator} right")
    assert pair[0] in str(caught.value) or gf.as_dtype(pair[0]).short in str(caught.value)
    with pytest.raises(TypeError):
        gf.function(lambda a, b: eval(f"a {operator} b"))(left, right)


def test_dlpack_and_pickle_and_copies():
    tensor = gf.constant([[1.0, 2.0]])
    view = np.from_dlpack(tensor)
    assert view.tolist() == [[1, 2]]
    for twin in (
        pickle.loads(pickle.dumps(tensor)),
        copy.copy(tensor),
        copy.deepcopy(tensor),
        copy.deepcopy([tensor])[0],
    ):
        same(twin, tensor.numpy())
        assert twin.dtype is tensor.dtype
    same(pickle.loads(pickle.dumps(gf.constant(3))), np.int32(3))


# Python protocols -----------------------------------------------------------------------------------------------------
def test_len_iter_bool_float_int_index():
    tensor = gf.constant([[1, 2], [3, 4]])
    assert len(tensor) == 2
    assert [row.numpy().tolist() for row in tensor] == [[1, 2], [3, 4]]
    assert bool(gf.constant([[2.0]])) is True
    assert bool(gf.constant(0)) is False
    assert float(gf.constant([2.5])) == 2.5
    assert int(gf.constant(2.7)) == 2
    assert [10, 20, 30][gf.constant(1)] == 20
    assert complex(gf.constant(2.0)) == 2
    assert f"{gf.constant(2.5):.2f}" == "2.50"
    for call, error in (
        (lambda: bool(tensor), ValueError),
        (lambda: float(tensor), ValueError),
        (lambda: len(gf.constant(1)), TypeError),
        (lambda: iter(gf.constant(1)), TypeError),
        (lambda: [1][gf.constant(0.0)], TypeError),
    ):
        with pytest.raises(error):
            call()


def test_unhashable_and_immutable():
    tensor = gf.constant([1.0])
    with pytest.raises(TypeError, match="ref"):
        hash(tensor)
    with pytest.raises(TypeError, match="immutable"):
        tensor[0] = 2.0
    assert {tensor.ref(): 1}[tensor.ref()] == 1
    assert tensor.ref().deref() is tensor
    assert tensor.ref() != gf.constant([1.0]).ref()


def test_repr_shows_value_dtype_and_shape():
    assert repr(gf.constant([1, 2])) == "<gf.Tensor: shape=(2,), dtype=int32, numpy=array([1, 2], dtype=int32)>"
    assert str(gf.constant([1.0, 2.0])) == "gf.Tensor([1. 2.], shape=(2,), dtype=float32)"


def test_shape_helpers():
    shape = gf.zeros((2, 3, 4)).shape
    assert shape == (2, 3, 4)
    assert shape == [2, 3, 4]
    assert shape.rank == 3
    assert shape.as_list() == [2, 3, 4]
    assert shape.num_elements() == 24
    assert shape[1:] == (3, 4)
    assert isinstance(shape[1:], gf.TensorShape)
    assert gf.TensorShape([None, 3]).as_list() == [None, 3]
    assert not gf.TensorShape([None, 3]).is_fully_defined()


# Operators ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64"])
@pytest.mark.parametrize("operator", ["+", "-", "*", "//", "%"])
def test_arithmetic_with_literals(dtype, operator):
    array = np.array([-7, -2, 3, 8], dtype)
    tensor = gf.constant(array)
    three, twenty = array.dtype.type(3), array.dtype.type(20)
    left = eval(f"x {operator} y", {"x": array, "y": three}), eval(f"x {operator} 3", {"x": tensor})
    right = eval(f"y {operator} x", {"x": array, "y": twenty}), eval(f"20 {operator} x", {"x": tensor})
    for expected, found in (left, right):
        same(found, expected + expected.dtype.type(0))  # a remainder of -0.0 is 0.0, as in TensorFlow


def test_true_division_of_integers():
    same(gf.constant([7, -7]) / gf.constant(2), np.array([3.5, -3.5]))
    same(gf.constant([7, -7]) / 2, np.array([3.5, -3.5]))
    same(7 / gf.constant(2), np.float64(3.5))
    same(gf.constant(7, "int8") / gf.constant(2, "int8"), np.float32(3.5))
    same(gf.constant([1.0]) / 2, np.array([0.5], "f4"))


def test_float_tensor_with_an_int_literal_stays():
    assert (gf.constant(1.0) + 1).dtype == gf.float32
    assert (2 ** gf.constant([1.0])).dtype == gf.float32
    assert (gf.constant(1.0, "float64") * 3).dtype == gf.float64
    same(gf.constant(1.0) + True, np.float32(2))
    same(gf.constant(1) + True, np.int32(2))


def test_other_operators():
    x = gf.constant([5, -3])
    same(-x, np.array([-5, 3], "i4"))
    same(abs(x), np.array([5, 3], "i4"))
    same(+x, np.array([5, -3], "i4"))
    same(~x, np.array([-6, 2], "i4"))
    same(x & 3, np.array([1, 1], "i4"))
    same(3 | x, np.array([7, -1], "i4"))
    same(x ^ x, np.array([0, 0], "i4"))
    same(x << 1, np.array([10, -6], "i4"))
    same(x >> 1, np.array([2, -2], "i4"))
    same(x**2, np.array([25, 9], "i4"))
    same(2 ** gf.constant([1, 3]), np.array([2, 8], "i4"))
    b = gf.constant([True, False])
    same(b & [True, True], np.array([True, False]))
    same(b | True, np.array([True, True]))
    same(True ^ b, np.array([False, True]))
    same(~b, np.array([False, True]))


def test_comparisons():
    x = gf.constant([1.0, 2.0, np.nan])
    same(x < 2, np.array([True, False, False]))
    same(x >= 2, np.array([False, True, False]))
    same(x == x, np.array([True, True, False]))
    same(x != x, np.array([False, False, True]))
    assert (x == None) is False  # noqa: E711
    assert (x != None) is True  # noqa: E711
    with pytest.raises(gf.errors.ShapeError, match=r"\[2\].*\[3\]"):
        _ = gf.constant([1, 2]) == gf.constant([1, 2, 3])
    with pytest.raises(TypeError):
        _ = gf.constant([1, 2]) == "a"
    with pytest.raises(TypeError):
        _ = gf.constant([1, 2]) != 2.5


def test_literal_in_an_operation_that_does_not_fit():
    with pytest.raises(OverflowError, match="300"):
        _ = gf.constant([1], "uint8") + 300
    with pytest.raises(OverflowError, match="-1"):
        _ = gf.constant([1], "uint8") * -1
    with pytest.raises(OverflowError):
        _ = gf.constant([1.0]) * 1e39
    same(gf.constant([1.0]) * float("inf"), np.array([np.inf], "f4"))


def test_integer_overflow_wraps_and_division_by_zero_raises():
    same(gf.constant([2**31 - 1]) + 1, np.array([-(2**31)], "i4"))
    for operator in ("//", "%"):
        with pytest.raises(ZeroDivisionError, match=r"test_tensor.py"):
            _divide(operator)


def _divide(operator):
    a, b = gf.constant([1, 2]), gf.constant([1, 0])
    return a // b if operator == "//" else a % b


def test_reflected_operator_of_another_class():
    class Other:
        def __radd__(self, left):
            return "mine"

    assert gf.constant([1.0]) + Other() == "mine"


def test_zero_size_arrays():
    empty = gf.zeros((0, 3))
    same(empty + 1, np.zeros((0, 3), "f4"))
    same(gf.reduce_sum(empty, axis=0), np.zeros(3, "f4"))
    same(gf.reduce_sum(empty), np.float32(0))
    same(gf.reduce_max(empty, axis=0), np.full(3, -np.inf, "f4"))
    assert np.isnan(gf.reduce_mean(empty).numpy())
    same(gf.matmul(gf.zeros((2, 0)), gf.zeros((0, 3))), np.zeros((2, 3), "f4"))
    assert list(empty) == []
    assert bool(gf.constant([])) is False


def test_attributes_that_are_equal_and_not_the_same():
    """True == 1 == 1.0 and 0.0 == -0.0, but each is a constant of its own, and pads with its own bits."""
    from graphflow import ops

    values = [np.int32(1), np.True_, np.float32(1), np.int64(1), np.float32(0.0), np.float32(-0.0), np.float64(0.0)]
    for _ in range(2):
        for value in values:
            found = ops.constant(value=value).numpy()
            assert found.dtype == value.dtype and found.tobytes() == value.tobytes()
    x = gf.constant([1.0])
    for zero in (0.0, -0.0, 0.0):
        assert np.signbit(gf.pad(x, [[1, 0]], constant_values=zero)[0].numpy()) == np.signbit(zero)
