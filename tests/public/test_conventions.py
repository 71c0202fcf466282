"""Edges where TensorFlow's meaning is easily missed: found by tools/tensorflow_differences.py, kept here for runs without TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf


def test_except_clauses_of_tensorflow_programs_catch():
    x = gf.constant([1.0, 2.0])
    for call, error in (
        (lambda: gf.pad(x, [[1, 0]], "EDGE"), ValueError),
        (lambda: gf.reduce_any(gf.constant([1, 0])), ValueError),
        (lambda: gf.signal.rfft(gf.constant([1, 2])), ValueError),
        (lambda: gf.signal.mdct(x, 6), ValueError),
        (lambda: gf.truncatediv(gf.constant(1), gf.constant(0)), gf.errors.InternalError),
        (lambda: gf.cast(x, gf.string), gf.errors.UnimplementedError),
        (lambda: gf.einsum("b...,b...->b", x[:, None], x[:, None]), gf.errors.InvalidArgumentError),
        (
            gf.function(lambda: gf.gradients(gf.linalg.svd(x[:, None] * gf.ones([2, 4]), True)[2], x)),
            NotImplementedError,
        ),
    ):
        with pytest.raises(error) as caught:
            call()
        assert caught.value.message  # TensorFlow's name for what was refused


def test_a_number_out_of_range_is_named():
    with pytest.raises(gf.errors.IndexOutOfRangeError, match="index 9, extent 3"):
        gf.math.unsorted_segment_sum([1.5, 2.5, 3.5], [0, 9, 1], 3)


def test_values():
    np.testing.assert_array_equal(gf.math.divide_no_nan(gf.constant([1, 2]), gf.constant([0, 4])).numpy(), [0.0, 0.5])
    np.testing.assert_array_equal(gf.argmax([[False, True, True]], 1).numpy(), [1])


def test_gradients():
    x, z = gf.constant([np.inf, 2.0, 0.0]), gf.constant([3 + 4j])
    with gf.GradientTape(persistent=True) as tape:
        tape.watch([x, z])
        products = gf.reduce_prod(x[:2]), gf.reduce_prod(x[1:])
        next_, turned, nothing = gf.math.nextafter(x, 0.0), gf.sign(z), gf.math.polyval([], x)
    np.testing.assert_array_equal(tape.gradient(products[0], x).numpy(), [2, np.inf, 0])
    np.testing.assert_array_equal(tape.gradient(products[1], x).numpy(), [0, 0, 2])
    np.testing.assert_array_equal(tape.gradient(next_, x).numpy(), [1, 1, 1])
    # what is at right angles to z / |z|, over |z|
    np.testing.assert_allclose(
        tape.gradient(turned, z, output_gradients=gf.constant([1 + 0j])).numpy(), [0.128 - 0.096j]
    )
    assert tape.gradient(nothing, x) is None
