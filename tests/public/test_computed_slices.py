"""Slices whose bounds are tensors: in a compiled function their extents are known to the run only."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf

X = np.arange(20, dtype=np.float32).reshape(5, 4)


def test_bounds_clamp_and_count_from_the_end_as_in_python():
    @gf.function
    def every(x, n, m):
        return (
            x[:n], x[n:], x[n:m], x[m:n], x[::-1][n:], x[n:m:2], x[m:n:-1], x[-n:], x[:-n:-2], x[:, n:], x[0, n:], x[None, ..., :n],
            gf.strided_slice(x, [n], [m]),
        )  # fmt: skip

    for n, m in ((2, 4), (0, 5), (-1, -3), (9, -9), (1, 1)):
        expected = (
            X[:n], X[n:], X[n:m], X[m:n], X[::-1][n:], X[n:m:2], X[m:n:-1], X[-n:], X[:-n:-2], X[:, n:], X[0, n:], X[None, ..., :n],
            X[n:m],
        )  # fmt: skip
        for found, right in zip(every(gf.constant(X), gf.constant(n), gf.constant(m)), expected, strict=True):
            np.testing.assert_array_equal(found.numpy(), right)
    assert every.experimental_get_tracing_count() == 1


def test_slice_takes_a_known_number_of_rows_from_a_computed_place():
    @gf.function
    def rows(x, start, size):
        part = gf.slice(x, [start, 1], [2, 2])
        assert part.shape == [2, 2]
        return part, gf.slice(x, [start, 0], [-1, size]), gf.slice(x, [0, start], [size, 1])

    part, rest, column = rows(gf.constant(X), gf.constant(3), gf.constant(2))
    np.testing.assert_array_equal(part.numpy(), X[3:5, 1:3])
    np.testing.assert_array_equal(rest.numpy(), X[3:, :2])
    np.testing.assert_array_equal(column.numpy(), X[:2, 3:4])
    with pytest.raises(gf.errors.InvalidArgumentError, match=r"test_computed_slices\.py"):
        rows(gf.constant(X), gf.constant(4), gf.constant(1))


def test_slices_in_a_loop_and_their_gradient():
    @gf.function
    def triangle(x, n):
        total = gf.constant(0.0)
        for k in gf.range(n):
            total += gf.reduce_sum(x[:k] * x[:k])
        return total

    x = gf.constant(X)
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = triangle(x, gf.constant(4))
    np.testing.assert_allclose(y.numpy(), sum((X[:k] ** 2).sum() for k in range(4)), rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(y, x).numpy(), X * 2 * np.array([[3], [2], [1], [0], [0]]))


def test_top_k_and_gather_nd_take_computed_and_empty_numbers():
    find = gf.function(lambda x, k: gf.math.top_k(x, k))
    for k in (0, 1, 4):
        values, places = find(gf.constant(X), gf.constant(k))
        np.testing.assert_array_equal(values.numpy(), X[:, ::-1][:, :k])
        assert places.shape == [5, k]
    with pytest.raises(gf.errors.InvalidArgumentError):
        find(gf.constant(X), gf.constant(5))
    assert gf.gather_nd(X, gf.zeros([2, 0], gf.int32)).shape == [2, 5, 4]
