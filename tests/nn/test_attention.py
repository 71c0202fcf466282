"""gf.nn.dot_product_attention: against its definition in float64, compiled, for unknown extents, its gradients and its errors."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf

RANDOM = np.random.default_rng(0)


def array(*shape):
    return RANDOM.standard_normal(shape)


def defined(
    q, k, v, bias=None, mask=None, scale=None, is_causal=False, query_seq_lengths=None, key_value_seq_lengths=None
):
    """The weights one score at a time, in plain NumPy."""
    batch, times, heads, features = q.shape
    others, groups = k.shape[1], heads // k.shape[2]
    shape = (batch, heads, times, others)
    bias = np.zeros(shape) if bias is None else np.broadcast_to(bias, shape)
    seen = np.ones(shape, bool) if mask is None else np.broadcast_to(mask, shape)
    result = np.zeros((batch, times, heads, v.shape[3]))
    for b, t, h in np.ndindex(batch, times, heads):
        if query_seq_lengths is not None and t >= query_seq_lengths[b]:
            continue
        looks = [
            s for s in range(others)
            if seen[b, h, t, s] and not (is_causal and s > t) and not (key_value_seq_lengths is not None and s >= key_value_seq_lengths[b])
        ]  # fmt: skip
        if looks:
            factor = 1 / np.sqrt(features) if scale is None else scale
            scores = np.array([q[b, t, h] @ k[b, s, h // groups] * factor + bias[b, h, t, s] for s in looks])
            weights = np.exp(scores - scores.max())
            result[b, t, h] = weights / weights.sum() @ v[b, looks, h // groups]
    return result


CASES = {
    "plain": {},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.3},
    "bias": {"bias": array(4, 5, 6)},
    "mask": {"mask": RANDOM.random((2, 1, 5, 6)) < 0.6},
    "a time that sees nothing": {"mask": np.arange(5)[:, None] != 2},
    "lengths": {"query_seq_lengths": np.array([3, 5], np.int32), "key_value_seq_lengths": np.array([6, 2], np.int32)},
    "all": {
        "bias": array(2, 1, 5, 6), "mask": RANDOM.random((5, 6)) < 0.7, "scale": 0.5, "is_causal": True,
        "query_seq_lengths": np.array([5, 4], np.int32), "key_value_seq_lengths": np.array([4, 6], np.int32),
    },
}  # fmt: skip


@pytest.mark.parametrize("key_heads", [4, 2, 1])
def test_definition(key_heads):
    q, k, v = array(2, 5, 4, 3), array(2, 6, key_heads, 3), array(2, 6, key_heads, 7)

    @gf.function
    def compiled(q, k, v):
        return [gf.nn.dot_product_attention(q, k, v, **case) for case in CASES.values()]

    operands = [gf.constant(t) for t in (q, k, v)]
    for (name, case), found in zip(CASES.items(), compiled(*operands), strict=True):
        np.testing.assert_allclose(found, defined(q, k, v, **case), rtol=1e-12, atol=1e-14, err_msg=name)
        np.testing.assert_array_equal(found, gf.nn.dot_product_attention(*operands, **case), err_msg=name)


def test_unknown_extents_no_batch_and_narrow_floats():
    @gf.function(input_signature=[gf.TensorSpec([None, None, 4, 8], dtype) for dtype in (gf.float32,) * 3])
    def attend(q, k, v):
        return gf.nn.dot_product_attention(q, k, v, is_causal=True)

    for batch, times in ((2, 5), (1, 1), (3, 17), (0, 4), (2, 0)):
        q, k, v = (gf.constant(array(batch, times, 4, 8), gf.float32) for _ in range(3))
        np.testing.assert_array_equal(attend(q, k, v), gf.nn.dot_product_attention(q, k, v, is_causal=True))
        if batch:
            one = gf.nn.dot_product_attention(q[0], k[0], v[0], is_causal=True)
            np.testing.assert_array_equal(one, gf.nn.dot_product_attention(q, k, v, is_causal=True)[0])
    assert attend.experimental_get_tracing_count() == 1
    q = gf.constant(array(2, 5, 4, 8), gf.bfloat16)
    narrow = gf.nn.dot_product_attention(q, q, q)
    assert narrow.dtype is gf.bfloat16
    np.testing.assert_allclose(
        gf.cast(narrow, gf.float32), gf.nn.dot_product_attention(*[gf.cast(q, gf.float32)] * 3), rtol=0.03, atol=0.03
    )


def test_gradients_against_differences():
    operands = [gf.constant(a) for a in (array(2, 4, 2, 3), array(2, 4, 1, 3), array(2, 4, 1, 3), array(2, 4, 4))]
    weights = gf.constant(array(2, 4, 2, 3))

    def total(q, k, v, bias):
        result = gf.nn.dot_product_attention(q, k, v, bias, is_causal=True, key_value_seq_lengths=gf.constant([4, 3]))
        return gf.reduce_sum(result * weights)

    def gradients(*operands):
        with gf.GradientTape() as tape:
            tape.watch(operands)
            y = total(*operands)
        return tape.gradient(y, operands)

    found, compiled = gradients(*operands), gf.function(gradients)(*operands)
    for position, (one, other) in enumerate(zip(found, compiled, strict=True)):
        np.testing.assert_array_equal(one, other)
        along = array(*one.shape)
        step = [o + (1e-6 * along if k == position else 0.0) for k, o in enumerate(operands)]
        back = [o - (1e-6 * along if k == position else 0.0) for k, o in enumerate(operands)]
        expected = (float(total(*step)) - float(total(*back))) / 2e-6
        assert float(gf.reduce_sum(one * along)) == pytest.approx(expected, rel=1e-6, abs=1e-8)


Q, K = gf.zeros([2, 5, 4, 3]), gf.zeros([2, 6, 2, 3])
BAD = {
    "dtype": ([gf.cast(Q, gf.int32)] * 3, {}, gf.errors.DTypeError, r"needs floats, got i32\[2,5,4,3\]"),
    "rank": ([Q[0, 0], K, K], {}, gf.errors.ShapeError, r"times, heads, features.*f32\[4,3\]"),
    "batch": ([Q, K[:1], K], {}, gf.errors.ShapeError, "batch must be the same.*2 and 1"),
    "features": ([Q, K[..., :2], K], {}, gf.errors.ShapeError, "features must be the same.*3 and 2"),
    "others": ([Q, K, K[:, :4]], {}, gf.errors.ShapeError, "others must be the same.*6 and 4"),
    "heads": ([Q[:, :, :3], K, K], {}, gf.errors.ShapeError, "multiple of the key's.*3 and 2"),
    "bias": ([Q, K, K], {"bias": gf.zeros([3, 1, 5, 6])}, gf.errors.ShapeError, r"2,4,5,6.*3,1,5,6|broadcast"),
    "mask": ([Q, K, K], {"mask": gf.zeros([5, 6])}, gf.errors.InvalidArgumentError, r"mask must be bool, got f32\[5,6\]"),
    "lengths": ([Q, K, K], {"key_value_seq_lengths": [1.5, 2.0]}, gf.errors.DTypeError, "1.5"),
    "lengths' rank": ([Q, K, K], {"query_seq_lengths": 3}, gf.errors.ShapeError, r"one length for each of the batch, got i32\[\]"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    operands, settings, error, text = BAD[name]
    for run in (gf.nn.dot_product_attention, gf.function(lambda *a: gf.nn.dot_product_attention(*a, **settings))):
        with pytest.raises(error, match=text) as caught:
            run(*operands, **(settings if run is gf.nn.dot_product_attention else {}))
        assert "test_attention.py" in str(caught.value)
