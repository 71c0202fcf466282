"""TensorArray: TensorFlow's meaning, a list outside of a trace and one tensor in it."""

from __future__ import annotations

import numpy as np
import pytest
from control_checks import check, check_gradients, random

import graphflow as gf


def test_write_read_stack():
    def function(x):
        array = gf.TensorArray(x.dtype, size=3, clear_after_read=False)
        array = array.write(0, x[0]).write(2, x[1])
        array = array.write(1, x[2])
        return array.stack(), array.read(1), array.gather([2, 0]), array.size(), array.concat()

    check(function, random(3, 2))
    check_gradients(lambda x: function(x)[:3], random(3, 2))


def test_unstack_scatter_split():
    def function(x):
        one = gf.TensorArray(x.dtype, size=4).unstack(x)
        two = gf.TensorArray(x.dtype, size=5, element_shape=[2]).scatter([3, 0], x[:2])
        three = gf.TensorArray(x.dtype, size=2).split(x, [2, 2])
        return one.stack(), two.stack(), three.stack(), three.concat()

    check(function, random(4, 2), symbolic=False)


def test_elements_nobody_wrote_are_zeros():
    def function(x):
        return gf.TensorArray(x.dtype, size=3, element_shape=[2]).write(1, x).stack()

    assert check(function, np.ones(2, np.float32)).numpy().tolist() == [[0, 0], [1, 1], [0, 0]]


def test_in_a_loop():
    def function(x):
        array = gf.TensorArray(x.dtype, size=x.shape[0])
        _, array, _ = gf.while_loop(
            lambda i, a, s: i < gf.shape(x)[0], lambda i, a, s: (i + 1, a.write(i, s * x[i]), s * x[i]), (0, array, x)
        )
        return array.stack()

    check(function, random(4))
    check_gradients(function, random(4))


def test_written_in_a_branch():
    def function(x):
        array = gf.TensorArray(x.dtype, size=2, element_shape=x.shape)
        array = gf.cond(gf.reduce_sum(x) > 0, lambda: array.write(0, x), lambda: array)
        return array.stack()

    check(function, random(3), symbolic=False)
    check(function, -np.abs(random(3)), symbolic=False)


def test_an_unwritten_array_learns_its_shape_in_nested_loops():
    def function(x):
        array = gf.TensorArray(x.dtype, size=6)

        def outer(i, a):
            def inner(j, b):
                return j + 1, gf.cond(x[0] > 0, lambda: b.write(2 * i + j, x * 2), lambda: b)

            return i + 1, gf.while_loop(lambda j, b: j < 2, inner, (0, a))[1]

        return gf.while_loop(lambda i, a: i < 3, outer, (0, array))[1].stack()

    check(function, np.abs(random(3)))


def test_dynamic_size():
    def function(x):
        array = gf.TensorArray(x.dtype, size=0, dynamic_size=True)
        i, array, _ = gf.while_loop(
            lambda i, a, s: s < 20.0, lambda i, a, s: (i + 1, a.write(i, x * s), s * 1.7), (0, array, 1.0)
        )
        return array.stack(), array.size(), i

    check(function, random(3))


def test_dynamic_size_with_a_gap():
    def function(x):
        array = gf.TensorArray(x.dtype, size=1, dynamic_size=True, element_shape=x.shape)
        array = array.write(3, x)
        return array.stack(), array.size()

    assert check(function, random(3), symbolic=False)[1].numpy() == 4


def test_gradient_of_a_dynamic_array():
    def function(x):
        array = gf.TensorArray(x.dtype, size=0, dynamic_size=True, clear_after_read=False)
        n = gf.cast(x[1], gf.int32)
        _, array, _ = gf.while_loop(
            lambda i, a, s: i < n,
            lambda i, a, s: (i + 1, a.write(i, x * s), gf.sin(s) * x[0]),
            (0, array, gf.reduce_sum(x)),
        )
        return array.stack(), array.read(0) * 3

    check_gradients(function, [1.5, 4.1, 2.0], symbolic=False)


def test_a_size_that_only_the_run_knows():
    def function(n, x):
        array = gf.TensorArray(x.dtype, size=n)
        return gf.while_loop(lambda i, a: i < n, lambda i, a: (i + 1, a.write(i, x)), (0, array))[1].stack()

    for n in (1, 3):
        check(function, np.int32(n), random(2))


def test_reading_twice_outside_of_a_trace():
    array = gf.TensorArray(gf.float32, size=2).write(0, 1.0)
    assert array.read(0).numpy() == 1
    with pytest.raises(gf.errors.InvalidArgumentError, match="cleared"):
        array.read(0)


def test_an_array_from_outside_becomes_a_tensor():
    array = gf.TensorArray(gf.float32, size=2, clear_after_read=False).write(0, [1.0, 2.0]).write(1, [3.0, 4.0])
    assert gf.function(lambda: array.read(1))().numpy().tolist() == [3, 4]


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_errors(mode):
    def run(function, *args):
        return (gf.function(function) if mode == "graph" else function)(*args)

    x = gf.constant([1.0, 2.0])
    with pytest.raises(ValueError, match="needs a size"):
        gf.TensorArray(gf.float32)
    with pytest.raises(IndexError, match=r"3"):
        run(lambda x: gf.TensorArray(gf.float32, 3).write(3, x).stack(), x)
    with pytest.raises(IndexError, match=r"-1"):
        run(lambda x: gf.TensorArray(gf.float32, 3).write(-1, x).stack(), x)
    with pytest.raises(gf.errors.InvalidArgumentError, match=r"float32.*i32\[2\]"):
        run(lambda x: gf.TensorArray(gf.float32, 3).write(0, gf.cast(x, gf.int32)).stack(), x)
    with pytest.raises(ValueError, match=r"\[2\].*f32\[1\]"):
        run(lambda x: gf.TensorArray(gf.float32, 2).write(0, x).write(1, x[:1]).stack(), x)
    with pytest.raises(ValueError, match="element_shape"):
        run(lambda x: gf.TensorArray(gf.float32, 2).read(0) + x, x)
    with pytest.raises(ValueError, match=r"2 rows do not fit an array of size 1"):
        run(lambda x: gf.TensorArray(gf.float32, 1).unstack(x).stack(), x)
