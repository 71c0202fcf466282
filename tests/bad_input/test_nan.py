"""NaN to the functions that order and choose: it counts as the largest value in argmax, sort and top_k, and passes through max and
min. The same in eager mode, in a graph, and in one traced for unknown extents, for each float dtype."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf

NAN, INF = np.nan, np.inf
VALUES = np.array([[3.0, NAN, -INF, INF], [NAN, 1.0, 2.0, NAN], [5.0, 5.0, -0.0, 0.0]])


def ordered(x, ids, sequence):
    values, places = gf.math.top_k(x, 3)
    unordered, _ = gf.math.top_k(x, 2, sorted=False)
    return {
        "argmax": gf.argmax(x, 1),
        "argmax of columns": gf.argmax(x, 0),
        "argmin": gf.argmin(x, 1),
        "sort": gf.sort(x),
        "sort down": gf.sort(x, direction="DESCENDING"),
        "argsort": gf.argsort(x),
        "argsort down": gf.argsort(x, direction="DESCENDING"),
        "top_k": values,
        "top_k places": places,
        "top_k unsorted": gf.sort(unordered),
        "max": gf.reduce_max(x, 1),
        "min": gf.reduce_min(x, 1),
        "maximum": gf.maximum(x, 0.0),
        "minimum": gf.minimum(0.0, x),
        "fused maximum": gf.reduce_max(gf.maximum(x * 1.0, -1.0) + 0.0, 1),
        "segment_max": gf.math.segment_max(x, ids),
        "segment_min": gf.math.segment_min(x, ids),
        "unsorted_segment_max": gf.math.unsorted_segment_max(x, ids, 2),
        "scatter max": gf.tensor_scatter_nd_max(x, [[0]], x[1:2]),
        "unique": gf.unique(gf.reshape(x, [-1]))[0],
        "searchsorted": gf.searchsorted(sequence, x),
        "searchsorted right": gf.searchsorted(sequence, x, side="right"),
        "in_top_k": gf.math.in_top_k([3, 1, 0], x, 2),
        "clip": gf.clip_by_value(x, -1.0, 1.0),
        "relu": gf.nn.relu(x),
        "cumsum": gf.math.cumsum(x, 1),
        "max_pool": gf.nn.max_pool1d(x[:, :, None], 2, 2, "VALID")[:, :, 0],
        "equal": x == x,
        "less": x < 1.0,
        "sign": gf.sign(x),
        "to int": gf.cast(x, "int32"),
    }


def expected():
    """The documented answers, in float64."""
    nan_last = np.sort(VALUES, axis=1)  # as NumPy's sort
    down = nan_last[:, ::-1]
    with np.errstate(all="ignore"):
        return {
            "argmax": [1, 0, 0],
            "argmax of columns": [1, 0, 1, 1],
            "argmin": [1, 0, 2],  # the first NaN
            "sort": nan_last,
            "sort down": down,
            "argsort": [[2, 0, 3, 1], [1, 2, 0, 3], [2, 3, 0, 1]],
            "argsort down": [[1, 3, 0, 2], [0, 3, 2, 1], [0, 1, 2, 3]],
            "top_k": down[:, :3],
            "top_k places": [[1, 3, 0], [0, 3, 2], [0, 1, 2]],
            "top_k unsorted": down[:, 1::-1],
            "max": [NAN, NAN, 5.0],
            "min": [NAN, NAN, -0.0],
            "maximum": np.maximum(VALUES, 0.0),
            "minimum": np.minimum(0.0, VALUES),
            "fused maximum": [NAN, NAN, 5.0],
            "segment_max": np.stack([np.maximum(VALUES[0], VALUES[1]), VALUES[2]]),
            "segment_min": np.stack([np.minimum(VALUES[0], VALUES[1]), VALUES[2]]),
            "unsorted_segment_max": np.stack([np.maximum(VALUES[0], VALUES[1]), VALUES[2]]),
            "scatter max": np.stack([np.maximum(VALUES[0], VALUES[1]), *VALUES[1:]]),
            "clip": np.clip(VALUES, -1.0, 1.0),
            "relu": np.maximum(VALUES, 0.0),
            "cumsum": np.cumsum(VALUES, 1),
            "max_pool": np.maximum(VALUES[:, ::2], VALUES[:, 1::2]),
            "equal": VALUES == VALUES,
            "less": VALUES < 1.0,
            "in_top_k": [False, False, True],  # a prediction that is not finite makes its row False
            "sign": np.sign(VALUES),
            "to int": [[3, 0, -(2**31), 2**31 - 1], [0, 1, 2, 0], [5, 5, 0, 0]],
        }


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_nan(dtype):
    x = gf.cast(gf.constant(VALUES), dtype)
    ids = gf.constant([0, 0, 1])
    sequence = gf.cast(gf.constant([[0.0, 1.0, INF, NAN]] * 3, "float64"), dtype)
    eager = ordered(x, ids, sequence)
    symbolic = gf.function(
        ordered,
        input_signature=[gf.TensorSpec([None, None], x.dtype), gf.TensorSpec([None], "int32"), gf.TensorSpec([None, None], x.dtype)],
    )(x, ids, sequence)  # fmt: skip
    static = gf.function(ordered)(x, ids, sequence)
    wide = {name: gf.cast(t, "float64").numpy() for name, t in eager.items()}
    for name, values in expected().items():
        np.testing.assert_array_equal(wide[name], np.asarray(values, np.float64), err_msg=name)
    for name, t in eager.items():
        bits = t.numpy().tobytes()
        assert static[name].numpy().tobytes() == bits, name
        assert symbolic[name].numpy().tobytes() == bits, name
    # what equals nothing is not found again, and NaN goes where the largest value would
    assert wide["unique"].size == (~np.isnan(VALUES)).sum() - 2 + np.isnan(VALUES).sum()
    np.testing.assert_array_equal(wide["searchsorted"][2], [2, 2, 0, 0])
    np.testing.assert_array_equal(wide["searchsorted"][0][[0, 2, 3]], [2, 0, 2])


def test_empty():
    """Reductions of nothing: sum 0, product 1, max -inf, min inf, mean NaN, all True, any False; argmax raises."""

    def body(x):
        flags = x > 0.0
        return [
            gf.reduce_sum(x, 1), gf.reduce_prod(x, 1), gf.reduce_max(x, 1), gf.reduce_min(x, 1), gf.reduce_mean(x, 1),
            gf.cast(gf.reduce_all(flags, 1), "float32"), gf.cast(gf.reduce_any(flags, 1), "float32"),
            gf.reduce_logsumexp(x, 1), gf.math.reduce_std(x, 1), gf.reduce_max(gf.sort(gf.exp(x)), 1),
        ]  # fmt: skip

    x = gf.zeros((2, 0))
    wanted = [0, 1, -INF, INF, NAN, 1, 0, -INF, NAN, -INF]
    graph = gf.function(body, input_signature=[gf.TensorSpec([None, None], "float32")])
    for found in (body(x), graph(x)):
        np.testing.assert_array_equal([t.numpy()[0] for t in found], np.array(wanted, np.float32))
    for run in (lambda x: gf.argmax(x, 1), gf.function(lambda x: gf.argmax(x, 1))):
        with pytest.raises(gf.errors.ShapeError, match=r"argmax: axis 1 of f32\[2,0\] is empty"):
            run(x)
