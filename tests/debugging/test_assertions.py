"""gf.debugging.assert_*: TensorFlow's names, arguments and exception classes; eager mode and functions say the same."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import graphflow as gf
from graphflow import debugging
from graphflow.errors import AssertionFailedError, InvalidArgumentError

A, B = gf.constant([1, 2, 3]), gf.constant([1, 3, 3])


def both_modes(call, *tensors):
    """The exceptions that a call raises eagerly and inside a function."""
    found = []
    for run in (call, gf.function(call)):
        with pytest.raises((InvalidArgumentError, ValueError, TypeError)) as caught:
            run(*tensors)
        found.append(caught.value)
    return found


def passes_in_both_modes(call, *tensors):
    call(*tensors)
    gf.function(call)(*tensors)


PAIRS = {
    # name: (operator, y that holds for x = [1, 2, 3], the first element of [1, 2, 3] that fails against 2, its value)
    "assert_equal": ("==", [1, 2, 3], 0, 1),
    "assert_none_equal": ("!=", [3, 3, 1], 1, 2),
    "assert_less": ("<", [2, 3, 4], 1, 2),
    "assert_less_equal": ("<=", [1, 2, 3], 2, 3),
    "assert_greater": (">", [0, 1, 2], 0, 1),
    "assert_greater_equal": (">=", [1, 2, 3], 0, 1),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name):
    sign, right, first, value = PAIRS[name]
    check = getattr(debugging, name)
    passes_in_both_modes(lambda x, y: check(x, y), A, gf.constant(right))
    for error in both_modes(lambda x, y: check(x, y, message="sizes", name="mine"), A, gf.constant(2)):
        assert isinstance(error, AssertionFailedError)
        assert isinstance(error, AssertionError)
        assert isinstance(error, InvalidArgumentError)
        text = str(error)
        assert text.startswith(f"{name} 'mine': sizes. x {sign} y must hold, got x = {value} and y = 2 at [{first}] (")
        assert "x [1 2 3]" in text
        assert "test_assertions.py" in text


SIGNS = {
    "assert_positive": ([1.0, 2.0], [1.0, 0.0], ">"),
    "assert_negative": ([-1.0, -2.0], [-1.0, 0.0], "<"),
    "assert_non_negative": ([0.0, 2.0], [1.0, -1.0], ">="),
    "assert_non_positive": ([0.0, -2.0], [-1.0, 1.0], "<="),
}


@pytest.mark.parametrize("name", SIGNS)
def test_signs(name):
    right, wrong, sign = SIGNS[name]
    check = getattr(debugging, name)
    passes_in_both_modes(lambda x: check(x), gf.constant(right))
    passes_in_both_modes(lambda x: check(x), gf.constant(np.zeros((0,), "f4")))
    for error in both_modes(lambda x: check(x, message="m"), gf.constant(wrong)):
        assert f"{name}: m. x {sign} 0 must hold, got x = {wrong[1]} at [1] (1 of 2 elements)" in str(error)


def test_python_values_take_the_dtype_of_the_tensor_beside_them():
    debugging.assert_equal(gf.constant([1.0, 1.0]), 1)
    debugging.assert_less(1, gf.constant([2.0, 3.0]))
    debugging.assert_equal(True, gf.constant([True]))
    with pytest.raises(TypeError):
        debugging.assert_equal(gf.constant([1, 2]), gf.constant([1.0, 2.0]))


def test_broadcast_and_scalars():
    for error in both_modes(lambda x, y: debugging.assert_less(x, y), gf.constant([[1], [5]]), gf.constant([2, 9])):
        assert "got x = 5 and y = 2 at [1, 0] (1 of 4 elements)" in str(error)
    for error in both_modes(lambda x: debugging.assert_equal(x, 3), gf.constant(2)):
        assert "must hold, got x = 2 and y = 3\n" in str(error)


def test_nan_fails_comparisons():
    for error in both_modes(lambda x: debugging.assert_less(x, 1.0), gf.constant([np.nan])):
        assert "got x = nan" in str(error)


def test_near():
    passes_in_both_modes(lambda x: debugging.assert_near(x, x + 1e-7), gf.constant([1.0, 1.0]))
    passes_in_both_modes(lambda x: debugging.assert_near(x, x * 1.05, rtol=0.1), gf.constant([1.0, 4.0]))
    passes_in_both_modes(lambda x: debugging.assert_near(x, x + 0.05, atol=0.1), gf.constant([1.0, 4.0]))
    for error in both_modes(lambda x: debugging.assert_near(x, x + 0.5), gf.constant([1.0, 4.0])):
        assert "rtol = 1.192093e-06, atol = 1.192093e-06" in str(error)
        assert "got x = 1.0 and y = 1.5 at [0] (2 of 2 elements)" in str(error)
    with pytest.raises(ValueError, match="needs float tensors"):
        debugging.assert_near(1, 1)


def test_summarize():
    x = gf.constant(list(range(20)))
    short, longer, all_of_it = (
        str(both_modes(lambda x, n=n: debugging.assert_equal(x, 0, summarize=n), x)[1]) for n in (None, 5, -1)
    )
    assert "[0 1 2 ... 17 18 19]" in short
    assert "[0 1 2 3 4 ... 15 16 17 18 19]" in longer
    assert "..." not in all_of_it


def test_static_failures_raise_while_tracing_and_dynamic_ones_when_running():
    traced = []

    @gf.function
    def static(x):
        traced.append("before")
        debugging.assert_equal(gf.constant([1, 3]), gf.constant([1, 2]), message="constants")
        traced.append("after")
        return x

    with pytest.raises(AssertionError, match="constants"):
        static.get_concrete_function(gf.constant(1))
    assert "after" not in traced

    @gf.function
    def dynamic(x):
        debugging.assert_positive(x)
        return gf.sqrt(x)

    dynamic.get_concrete_function(gf.constant(-1.0))
    with pytest.raises(AssertionError):
        dynamic(gf.constant(-1.0))
    assert float(dynamic(gf.constant(4.0))) == 2.0


def test_a_check_is_never_optimised_away():
    @gf.function
    def unused(x):
        debugging.assert_less(gf.reduce_sum(x), 10.0)

    unused(gf.ones(3))
    with pytest.raises(AssertionError, match=r"got x = 12\.0 and y = 10\.0"):
        unused(gf.ones(3) * 4)


# Ranks, shapes, dtypes ------------------------------------------------------------------------------------------------
X = gf.ones((2, 3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: debugging.assert_rank(x, 1, message="M"),
            r"assert_rank: M\. the tensor must have rank 1, got rank 2: f32",
        ),
        (lambda x: debugging.assert_rank_at_least(x, 3), "rank at least 3, got rank 2"),
        (lambda x: debugging.assert_rank_in(x, [0, 1]), r"rank in \(0, 1\), got rank 2"),
        (lambda x: debugging.assert_scalar(x, message="M"), r"M\. the tensor must have rank 0"),
        (lambda x: debugging.assert_rank(x, [2]), "must be a scalar"),
        (
            lambda x: debugging.assert_shapes([(x, ("N", "N"))], message="M"),
            r"M\. axis 1 .* extent 2 \(specified by axis 0",
        ),
        (lambda x: debugging.assert_shapes([(x, ("N", 4))]), r"extent 4 \(specified explicitly\), got 3"),
        (lambda x: debugging.assert_shapes([(x, ("N",))]), "rank 1, got rank 2"),
        (lambda x: debugging.assert_shapes([(x, ("N", ...))]), "may only come first"),
        (lambda x: debugging.assert_shapes([(x, 3)]), "must be an iterable"),
        (lambda x: debugging.assert_shapes([(x, (..., "a", "b", "c"))]), "rank at least 3"),
        (lambda x: debugging.assert_near(x, gf.ones((2, 4))), "broadcast"),
    ],
)
def test_wrong_ranks_and_shapes_are_value_errors(call, message):
    for error in both_modes(call, X):
        assert isinstance(error, ValueError)
        with pytest.raises(ValueError, match=message):
            raise error


def test_right_ranks_and_shapes():
    def check(x):
        debugging.assert_rank(x, 2)
        debugging.assert_rank_at_least(x, 2)
        debugging.assert_rank_in(x, (1, 2))
        debugging.assert_scalar(3)
        debugging.assert_shapes(
            [(x, "NQ"), (gf.ones(()), ()), (gf.ones((7, 2, 3)), (..., "N", "Q")), (gf.ones((7, 2, 3)), ("*", "Q"))]
        )
        debugging.assert_shapes([(x, (None, ".")), (x, None), (gf.ones(2), ("N",)), (x, ("N", 3))])

    passes_in_both_modes(check, X)


def test_extents_that_differ_from_call_to_call_are_checked_when_running():
    @gf.function(input_signature=[gf.TensorSpec([None, None]), gf.TensorSpec([None])])
    def check(x, y):
        debugging.assert_shapes([(x, ("N", "M")), (y, ("M",))], message="weights")
        return gf.reduce_sum(x) + gf.reduce_sum(y)

    assert float(check(gf.ones((2, 3)), gf.ones(3))) == 9.0
    with pytest.raises((AssertionError, ValueError), match=r"weights. axis 0 .* must have extent"):
        check(gf.ones((2, 3)), gf.ones(4))


def test_dtypes():
    debugging.assert_type(gf.constant(1), gf.int32)
    debugging.assert_integer(gf.constant(1))
    for call, message in (
        (
            lambda x: debugging.assert_type(x, gf.int32, message="M"),
            r"assert_type: M\. the tensor must be int32, got float32",
        ),
        (lambda x: debugging.assert_integer(x, message="M"), r"M\. the tensor must be of integers"),
    ):
        for error in both_modes(call, X):
            assert isinstance(error, TypeError)
            with pytest.raises(TypeError, match=message):
                raise error


def test_same_float_dtype():
    one, double = gf.ones(1), gf.ones(1, gf.float64)
    assert debugging.assert_same_float_dtype() is gf.float32
    assert debugging.assert_same_float_dtype([double, None, double]) is gf.float64
    assert debugging.assert_same_float_dtype(None, gf.float64) is gf.float64
    with pytest.raises(ValueError, match=r"got float32 \(tensor 0\) and float64 \(tensor 1\)"):
        debugging.assert_same_float_dtype([one, double])
    with pytest.raises(ValueError, match=r"got float64 \(dtype\) and float32 \(tensor 0\)"):
        debugging.assert_same_float_dtype([one], gf.float64)
    with pytest.raises(ValueError, match="must be a float, got int32"):
        debugging.assert_same_float_dtype([gf.constant([1])])


def test_iterables_and_numeric_tensors():
    debugging.assert_proper_iterable([X])
    debugging.assert_proper_iterable(iter([X]))
    for value in (X, np.ones(2), "text", b"bytes", 3):
        with pytest.raises(TypeError, match="iterable"):
            debugging.assert_proper_iterable(value)
    assert debugging.is_numeric_tensor(X)
    assert not debugging.is_numeric_tensor(gf.constant([True]))
    assert not debugging.is_numeric_tensor([1.0])


def test_assert_shows_its_data():
    x = gf.constant([1, 2, 3, 4, 5, 6, 7, 8])
    for error in both_modes(lambda x: gf.Assert(gf.reduce_sum(x) > 100, ["the sum of", x, 7], summarize=1), x):
        assert isinstance(error, AssertionError)
        assert str(error).startswith("Assert: the sum of 7; [1 ... 8]")
    for error in both_modes(lambda x: debugging.Assert(x > 1, []), x):
        assert "the condition must be true at [0] (1 of 8 elements)" in str(error)
    assert gf.Assert(True, []) is None
    with pytest.raises(TypeError, match="bool"):
        gf.Assert(gf.constant(1), [])


def test_the_signatures_are_tensorflows():
    tensorflow = {
        "assert_all_finite": "(x, message, name=None)",
        "assert_equal": "(x, y, message=None, summarize=None, name=None)",
        "assert_none_equal": "(x, y, summarize=None, message=None, name=None)",
        "assert_near": "(x, y, rtol=None, atol=None, message=None, summarize=None, name=None)",
        "assert_positive": "(x, message=None, summarize=None, name=None)",
        "assert_rank": "(x, rank, message=None, name=None)",
        "assert_rank_at_least": "(x, rank, message=None, name=None)",
        "assert_rank_in": "(x, ranks, message=None, name=None)",
        "assert_same_float_dtype": "(tensors=None, dtype=None)",
        "assert_scalar": "(tensor, message=None, name=None)",
        "assert_shapes": "(shapes, data=None, summarize=None, message=None, name=None)",
        "assert_type": "(tensor, tf_type, message=None, name=None)",
        "assert_integer": "(x, message=None, name=None)",
        "assert_proper_iterable": "(values)",
        "is_numeric_tensor": "(tensor)",
        "check_numerics": "(tensor, message, name=None)",
        "Assert": "(condition, data, summarize=None, name=None)",
        "enable_check_numerics": "(stack_height_limit=30, path_length_limit=50)",
        "disable_check_numerics": "()",
        "get_log_device_placement": "()",
        "set_log_device_placement": "(enabled)",
    }
    for name, expected in tensorflow.items():
        signature = inspect.signature(getattr(debugging, name))
        plain = ", ".join(
            p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in signature.parameters.values()
        )
        if name == "Assert":
            plain = plain.replace("data=None", "data")  # optional here
        assert f"({plain})" == expected, name
