"""Sorting, searching, running sums, segments, bins, scattering and einsum as users call them. The ops beneath have their samples in
tests/ops; here: the public forms against NumPy, graph against eager bit for bit, symbolic extents, bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf

RANDOM = np.random.default_rng(11)


def array(*shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.standard_normal(shape).astype(np.float32)


def rounded(*shape: int) -> np.ndarray[Any, Any]:
    return np.round(array(*shape) * 2)


IDS = np.array([0, 2, 2, -1, 1], np.int32)
PLACES = np.array([[0, 1], [2, 3], [0, 1]], np.int32)
FORMS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "sort": (lambda x: gf.sort(x), (rounded(3, 9),)),
    "sort down axis 0": (lambda x: gf.sort(x, 0, "DESCENDING"), (rounded(9, 3),)),
    "argsort": (lambda x: gf.argsort(x, 0), (rounded(9, 3),)),
    "top_k": (lambda x: tuple(gf.math.top_k(x, 3)), (rounded(4, 7),)),
    "in_top_k": (lambda t, x: gf.math.in_top_k(t, x, 2), (np.array([1, 0, 3]), rounded(3, 4))),
    "searchsorted": (lambda a, v: gf.searchsorted(a, v, "right"), (np.sort(rounded(2, 9)), rounded(2, 5))),
    "cumsum": (lambda x: gf.cumsum(x, 1, True, True), (array(3, 5),)),
    "cumprod": (lambda x: gf.math.cumprod(x, 0), (array(3, 5),)),
    "cumulative_logsumexp": (lambda x: gf.math.cumulative_logsumexp(x, 1), (array(3, 5),)),
    "unsorted_segment_mean": (lambda x, i: gf.math.unsorted_segment_mean(x, i, 4), (array(5, 2), IDS)),
    "unsorted_segment_max": (lambda x, i: gf.math.unsorted_segment_max(x, i, 4), (array(5, 2), IDS)),
    "scatter_nd": (lambda u: gf.scatter_nd(PLACES, u, [4, 5]), (array(3),)),
    "scatter update": (lambda x, u: gf.tensor_scatter_nd_update(x, PLACES, u), (array(4, 5), array(3))),
    "scatter max": (lambda x, u: gf.tensor_scatter_nd_max(x, PLACES[:, :1], u), (array(4, 5), array(3, 5))),
    "histogram": (lambda x: gf.histogram_fixed_width(x, [-2.0, 2.0], 5), (array(20),)),
    "bincount": (lambda x: gf.math.bincount(x, minlength=6, maxlength=6), (np.array([1, 1, 5, 7, 0], np.int32),)),
    "einsum": (lambda a, b: gf.einsum("...ij,kj->...ki", a, b), (array(2, 3, 4), array(5, 4))),
    "einsum diagonal": (lambda a: gf.einsum("iij->j", a), (array(3, 3, 2),)),
}


def bits(values: Any) -> list[bytes]:
    return [np.asarray(v).tobytes() for v in (values if isinstance(values, tuple) else (values,))]


@pytest.mark.parametrize("name", FORMS)
def test_graph_and_symbolic_graph_give_the_bits_of_eager(name):
    form, arrays = FORMS[name]
    tensors = [gf.constant(a) for a in arrays]
    expected = bits(form(*tensors))
    assert bits(gf.function(form)(*tensors)) == expected
    specs = [gf.TensorSpec([None] * a.ndim, gf.as_dtype(a.dtype)) for a in arrays]
    assert bits(gf.function(form).get_concrete_function(*specs)(*tensors)) == expected


def test_sort_and_its_gradient():
    x = rounded(3, 40)
    for axis in (0, 1):
        np.testing.assert_array_equal(gf.sort(x, axis).numpy(), np.sort(x, axis))
        np.testing.assert_array_equal(gf.sort(x, axis, "DESCENDING").numpy(), -np.sort(-x, axis))
    t, weights = gf.constant(x), array(3, 40)
    with gf.GradientTape() as tape:
        tape.watch(t)
        y = gf.sort(t)
    expected = np.empty_like(weights)
    np.put_along_axis(expected, np.argsort(x, -1, kind="stable"), weights, -1)
    np.testing.assert_array_equal(tape.gradient(y, t, output_gradients=gf.constant(weights)).numpy(), expected)


def test_nan_is_the_largest():
    x = np.array([2.0, np.nan, -np.inf, np.inf], np.float32)
    np.testing.assert_array_equal(gf.argsort(x).numpy(), [2, 0, 3, 1])
    values, places = gf.math.top_k(x, 2)
    np.testing.assert_array_equal(places.numpy(), [1, 3])
    assert np.isnan(values.numpy()[0])


def test_top_k_takes_the_first_of_equal_elements():
    np.testing.assert_array_equal(gf.math.top_k([3.0, 5.0, 5.0, 3.0, 5.0], 4).indices.numpy(), [1, 2, 4, 0])


@pytest.mark.parametrize("count", [0, 1, 2, 17, 1000])
def test_one_trace_sorts_rows_of_every_length(count):
    @gf.function(input_signature=[gf.TensorSpec([None, None])])
    def ordered(x):
        return gf.sort(x), gf.cumsum(x, 1), gf.argsort(x, direction="DESCENDING")

    x = rounded(2, count)
    found, sums, places = ordered(gf.constant(x))
    np.testing.assert_array_equal(found.numpy(), np.sort(x, -1))
    np.testing.assert_array_equal(sums.numpy(), np.cumsum(x, 1))
    np.testing.assert_array_equal(np.take_along_axis(x, places.numpy().astype(np.int64), 1), -np.sort(-x, -1))


def test_cumulative_forms():
    x = array(4, 5)
    np.testing.assert_allclose(gf.math.cumulative_logsumexp(x, 1).numpy(), np.log(np.cumsum(np.exp(x), 1)), rtol=1e-5)
    np.testing.assert_array_equal(gf.cumsum([1, 2, 3], exclusive=True).numpy(), [0, 1, 3])
    np.testing.assert_array_equal(gf.math.cumprod([1, 2, 3], reverse=True).numpy(), [6, 6, 3])
    lowest = gf.math.cumulative_logsumexp(np.array([-np.inf, -np.inf, 0.0], np.float32)).numpy()
    np.testing.assert_array_equal(lowest, [-np.inf, -np.inf, 0.0])


def test_segments():
    data = gf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    np.testing.assert_array_equal(gf.math.segment_sum(data, [0, 0, 2]).numpy(), [[4, 6], [0, 0], [5, 6]])
    np.testing.assert_array_equal(gf.math.segment_mean(data, [0, 0, 2]).numpy(), [[2, 3], [0, 0], [5, 6]])
    np.testing.assert_array_equal(gf.math.segment_max(data, [0, 0, 2]).numpy(), [[3, 4], [0, 0], [5, 6]])
    np.testing.assert_array_equal(gf.math.segment_prod(data, [0, 0, 2]).numpy(), [[3, 8], [1, 1], [5, 6]])
    lowest = np.finfo(np.float32).min
    np.testing.assert_array_equal(gf.math.unsorted_segment_max(data, [1, -1, 1], 2).numpy(), [[lowest] * 2, [5, 6]])


def test_bins():
    np.testing.assert_array_equal(gf.math.bincount([1, 1, 3]).numpy(), [0, 2, 0, 1])
    np.testing.assert_array_equal(gf.math.bincount([1, 1, 3], weights=[0.5, 1.0, 2.0]).numpy(), [0, 1.5, 0, 2])
    np.testing.assert_array_equal(gf.math.bincount([[1, 1], [0, 2]], axis=-1).numpy(), [[0, 2, 0], [1, 0, 1]])
    np.testing.assert_array_equal(gf.math.confusion_matrix([0, 1, 1], [0, 1, 0]).numpy(), [[1, 0], [1, 1]])
    np.testing.assert_array_equal(gf.histogram_fixed_width([0.0, 0.4, 9.0, -1.0], [0.0, 1.0], 2).numpy(), [3, 1])


def test_the_last_of_several_updates_stays_and_gets_the_gradient():
    x, u = gf.constant([1.0, 2.0, 3.0]), gf.constant([10.0, 20.0])
    with gf.GradientTape() as tape:
        tape.watch([x, u])
        y = gf.tensor_scatter_nd_update(x, [[1], [1]], u)
    np.testing.assert_array_equal(y.numpy(), [1, 20, 3])
    dx, du = tape.gradient(y, [x, u])
    np.testing.assert_array_equal(dx.numpy(), [1, 0, 1])
    np.testing.assert_array_equal(du.numpy(), [0, 1])


EQUATIONS = {
    "ij,jk->ik": ((3, 4), (4, 5)), "bij,bjk->bik": ((2, 3, 4), (2, 4, 5)), "ij->ji": ((3, 4),), "ii->i": ((3, 3),),
    "ii": ((3, 3),), "ij,ij->": ((3, 4), (3, 4)), "...ij,...jk->...ik": ((2, 1, 3, 4), (5, 4, 6)), "i,j->ij": ((3,), (4,)),
    "ijk->ik": ((2, 3, 4),), "ij,jk,kl->il": ((2, 3), (3, 4), (4, 5)), "abc,cd,be->ade": ((2, 3, 4), (4, 5), (3, 6)),
    "iij->ij": ((3, 3, 2),), "ij,j": ((3, 4), (4,)), "bhqd,bhkd->bhqk": ((2, 3, 4, 5), (2, 3, 6, 5)),
    "i...->...": ((3, 2, 2),), "ab,cd->abcd": ((2, 3), (4, 5)), "abcd,ad->bc": ((2, 3, 4, 5), (2, 5)),
}  # fmt: skip


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum_matches_numpy_with_its_gradients(equation):
    arrays = [RANDOM.standard_normal(shape) for shape in EQUATIONS[equation]]
    tensors = [gf.constant(a) for a in arrays]
    with gf.GradientTape() as tape:
        tape.watch(tensors)
        y = gf.einsum(equation, *tensors)
    np.testing.assert_allclose(y.numpy(), np.einsum(equation, *arrays), rtol=1e-12, atol=1e-12)
    weights = RANDOM.standard_normal(y.shape)
    gradients = tape.gradient(y, tensors, output_gradients=gf.constant(weights))
    for k, gradient in enumerate(gradients):
        direction = RANDOM.standard_normal(arrays[k].shape)
        moved = np.einsum(
            equation, *[direction if j == k else a for j, a in enumerate(arrays)]
        )  # linear in each operand
        np.testing.assert_allclose(
            np.sum(gradient.numpy() * direction), np.sum(moved * weights), rtol=1e-10, atol=1e-10
        )


BAD = {
    "equation operands": (lambda x: gf.einsum("ij,jk", x), gf.errors.InvalidArgumentError, "2 operands, got 1"),
    "equation rank": (lambda x: gf.einsum("ijk->k", x), gf.errors.ShapeError, "3 axes"),
    "equation extents": (lambda x: gf.einsum("ij,ij->i", x, x[:, :3]), gf.errors.ShapeError, "4 and 3"),
    "equation letters": (lambda x: gf.einsum("i1->i", x), gf.errors.InvalidArgumentError, "letters"),
    "equation result": (lambda x: gf.einsum("ij->ik", x), gf.errors.InvalidArgumentError, "once each"),
    "top_k": (lambda x: gf.math.top_k(x, 9), gf.errors.InvalidArgumentError, "9"),
    "sort axis": (lambda x: gf.sort(x, 2), gf.errors.ShapeError, "axis"),
    "sort direction": (lambda x: gf.sort(x, -1, "UP"), gf.errors.InvalidArgumentError, "UP"),
    "segment dtype": (lambda x: gf.math.unsorted_segment_sum(x, x, 3), gf.errors.DTypeError, "int32"),
    "segment range": (lambda x: gf.math.unsorted_segment_sum(x, [0, 9, 0], 3), gf.errors.IndexOutOfRangeError, "scatter_reduce"),
    "scatter range": (lambda x: gf.scatter_nd([[0, 7]], x[0, :1], [4, 5]), gf.errors.IndexOutOfRangeError, "scatter_reduce"),
    "scatter shape": (lambda x: gf.scatter_nd([[0], [1]], x, [4, 4]), gf.errors.ShapeError, "updates"),
    "logsumexp dtype": (lambda x: gf.math.cumulative_logsumexp(gf.cast(x, gf.int32)), gf.errors.DTypeError, "floats"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_raises_with_the_line(name):
    call, error, text = BAD[name]
    x = gf.constant(array(3, 4))
    for run in (call, gf.function(call)):
        with pytest.raises(error, match=text) as caught:
            run(x)
        assert "test_families.py" in str(caught.value)


def test_unsorted_segment_numbers_are_refused():
    with pytest.raises(gf.errors.InvalidArgumentError, match="sorted"):
        gf.math.segment_sum([1.0, 2.0], [1, 0])
