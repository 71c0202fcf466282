"""Convolutions and pooling: against loops in NumPy, graph against eager bit for bit, symbolic batch, gradients, bad input."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import graphflow as gf

RANDOM = np.random.default_rng(3)


def array(*shape: int, dtype: str = "float32") -> np.ndarray[Any, Any]:
    return RANDOM.standard_normal(shape).astype(dtype)


def pads_of(extent: int, size: int, stride: int, dilation: int, padding: str) -> tuple[int, int]:
    if padding == "VALID":
        return 0, 0
    count = -(-extent // stride)
    total = max((count - 1) * stride + (size - 1) * dilation + 1 - extent, 0)
    return total // 2, total - total // 2


def window_starts(x: Any, sizes: Any, strides: Any, dilations: Any, padding: str, value: float) -> tuple[Any, Any]:
    """The padded input and the first positions of its windows along each spatial axis."""
    pads = [pads_of(*own, padding) for own in zip(x.shape[1:-1], sizes, strides, dilations, strict=True)]
    x = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=value)
    starts = [
        range(0, extent - (size - 1) * dilation, stride)
        for extent, size, stride, dilation in zip(x.shape[1:-1], sizes, strides, dilations, strict=True)
    ]
    return x, starts


def convolve(x: Any, w: Any, strides: Any, dilations: Any, padding: str) -> Any:
    """The definition, in float64."""
    sizes = w.shape[:-2]
    x, starts = window_starts(x.astype(np.float64), sizes, strides, dilations, padding, 0)
    result = np.zeros((x.shape[0], *(len(s) for s in starts), w.shape[-1]))
    for place in itertools.product(*(range(len(s)) for s in starts)):
        picked = tuple(
            slice(own[k], own[k] + (size - 1) * d + 1, d)
            for own, k, size, d in zip(starts, place, sizes, dilations, strict=True)
        )
        window = x[(slice(None), *picked)].reshape(x.shape[0], -1)
        result[(slice(None), *place)] = window @ w.reshape(-1, w.shape[-1])
    return result


CASES = [
    (padding, stride, dilation)
    for padding in ("SAME", "VALID")
    for stride, dilation in ((1, 1), (2, 1), (3, 1), (1, 2))
]


@pytest.mark.parametrize(("padding", "stride", "dilation"), CASES)
def test_convolutions_match_the_definition(padding, stride, dilation):
    for spatial, function in ((1, gf.nn.conv1d), (2, gf.nn.conv2d), (3, gf.nn.conv3d)):
        x, w = array(2, *(8, 7, 6)[:spatial], 3), array(*(3, 2, 3)[:spatial], 3, 4)
        expected = convolve(x, w, (stride,) * spatial, (dilation,) * spatial, padding)
        found = function(x, w, stride, padding, dilations=dilation)
        np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5, atol=2e-5)
        compiled = gf.function(lambda x, w, f=function: f(x, w, stride, padding, dilations=dilation))
        np.testing.assert_array_equal(compiled(gf.constant(x), gf.constant(w)).numpy(), found.numpy())


def test_channels_first_has_the_bits_of_channels_last():
    x, w = array(2, 9, 8, 4), array(3, 2, 4, 5)
    last = gf.nn.conv2d(x, w, [1, 2, 1, 1], "SAME").numpy()
    first = gf.nn.conv2d(np.ascontiguousarray(x.transpose(0, 3, 1, 2)), w, [1, 1, 2, 1], "SAME", data_format="NCHW")
    np.testing.assert_array_equal(first.numpy().transpose(0, 2, 3, 1), last)


def test_groups_are_separate_convolutions():
    x, w = array(2, 6, 5, 4), array(3, 3, 2, 6)
    whole = gf.nn.conv2d(x, w, 1, "VALID").numpy()
    parts = [
        gf.nn.conv2d(x[..., 2 * g : 2 * g + 2].copy(), w[..., 3 * g : 3 * g + 3].copy(), 1, "VALID") for g in (0, 1)
    ]
    np.testing.assert_array_equal(whole, np.concatenate([p.numpy() for p in parts], axis=-1))


def test_explicit_padding_is_padding_by_hand():
    x, w = array(1, 5, 5, 2), array(3, 3, 2, 2)
    by_hand = gf.nn.conv2d(np.pad(x, [(0, 0), (1, 2), (0, 1), (0, 0)]), w, 1, "VALID")
    np.testing.assert_array_equal(gf.nn.conv2d(x, w, 1, [[0, 0], [1, 2], [0, 1], [0, 0]]).numpy(), by_hand.numpy())


def test_depthwise_and_separable():
    x, w, p = array(2, 7, 6, 3), array(3, 2, 3, 2), array(1, 1, 6, 4)
    expected = np.stack(
        [
            convolve(x[..., c : c + 1], w[:, :, c : c + 1, m : m + 1], (2, 2), (1, 1), "SAME")[..., 0]
            for c in range(3)
            for m in range(2)
        ],
        axis=-1,
    )
    found = gf.nn.depthwise_conv2d(x, w, [1, 2, 2, 1], "SAME")
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-5, atol=2e-5)
    separable = gf.nn.separable_conv2d(x, w, p, [1, 2, 2, 1], "SAME")
    np.testing.assert_allclose(separable.numpy(), expected @ p[0, 0], rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(("padding", "stride"), [("SAME", 1), ("SAME", 2), ("VALID", 1), ("VALID", 3)])
def test_transposed_convolution_is_the_gradient_of_the_convolution(padding, stride):
    x, w = array(2, 8, 7, 3, dtype="float64"), array(3, 2, 3, 4, dtype="float64")
    with gf.GradientTape() as tape:
        t = gf.constant(x)
        tape.watch(t)
        y = gf.nn.conv2d(t, w, stride, padding)
    weights = array(*y.shape, dtype="float64")
    gradient = tape.gradient(y, t, output_gradients=gf.constant(weights))
    direct = gf.nn.conv2d_transpose(weights, w, [2, 8, 7, 3], stride, padding)
    np.testing.assert_allclose(direct.numpy(), gradient.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 1), (3, 2)])
def test_pooling_matches_the_definition(padding, size, stride):
    x = array(2, 7, 6, 3)
    padded, starts = window_starts(x, (size,) * 2, (stride,) * 2, (1, 1), padding, np.nan)
    largest, mean = (np.zeros((2, len(starts[0]), len(starts[1]), 3), np.float32) for _ in range(2))
    for (i, a), (j, b) in itertools.product(*map(enumerate, starts)):
        window = padded[:, a : a + size, b : b + size]
        largest[:, i, j], mean[:, i, j] = np.nanmax(window, axis=(1, 2)), np.nanmean(window, axis=(1, 2))
    np.testing.assert_array_equal(gf.nn.max_pool2d(x, size, stride, padding).numpy(), largest)
    np.testing.assert_allclose(gf.nn.avg_pool2d(x, size, stride, padding).numpy(), mean, rtol=1e-6, atol=1e-6)


def test_the_pool_gradient_goes_to_the_first_of_equal_elements():
    x = gf.constant(np.ones((1, 2, 2, 1), np.float32))
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = gf.nn.max_pool2d(x, 2, 2, "VALID")
    np.testing.assert_array_equal(tape.gradient(y, x).numpy().ravel(), [1, 0, 0, 0])


def test_max_pool_with_argmax_points_at_the_elements():
    x = array(2, 6, 5, 3)
    values, places = gf.nn.max_pool_with_argmax(x, 3, 2, "SAME")
    for image in range(2):
        np.testing.assert_array_equal(x[image].ravel()[places.numpy()[image]], values.numpy()[image])
    with_batch = gf.nn.max_pool_with_argmax(x, 3, 2, "SAME", include_batch_in_index=True)[1]
    np.testing.assert_array_equal(x.ravel()[with_batch.numpy()], values.numpy())


def test_dilation_and_erosion_are_dual():
    x, w = array(1, 6, 6, 2), array(3, 3, 2)
    opened = gf.nn.erosion2d(x, w, [1, 1, 1, 1], "VALID", "NHWC", [1, 1, 1, 1]).numpy()
    expected = np.empty_like(opened)
    for i, j in np.ndindex(4, 4):
        expected[:, i, j] = np.min(x[:, i : i + 3, j : j + 3] - w[::-1, ::-1], axis=(1, 2))
    np.testing.assert_array_equal(opened, expected)


@pytest.mark.parametrize("batch", [0, 1, 2, 17])
def test_symbolic_batch_and_image(batch):
    @gf.function(input_signature=[gf.TensorSpec([None, None, None, 3]), gf.TensorSpec([3, 3, 3, 4])])
    def network(x, w):
        y = gf.nn.relu(gf.nn.conv2d(x, w, 2, "SAME"))
        return gf.nn.max_pool2d(y, 2, 2, "SAME"), gf.nn.avg_pool2d(y, 2, 1, "SAME")

    x, w = gf.constant(array(batch, 9, 7, 3)), gf.constant(array(3, 3, 3, 4))
    y = gf.nn.relu(gf.nn.conv2d(x, w, 2, "SAME"))
    for found, expected in zip(
        network(x, w), (gf.nn.max_pool2d(y, 2, 2, "SAME"), gf.nn.avg_pool2d(y, 2, 1, "SAME")), strict=True
    ):
        np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_gradients_to_second_order_in_graph_and_eager():
    x, w = gf.constant(array(2, 6, 5, 2, dtype="float64")), gf.constant(array(3, 2, 2, 3, dtype="float64"))

    def derivatives(x, w):
        with gf.GradientTape() as outer:
            outer.watch([x, w])
            with gf.GradientTape() as inner:
                inner.watch([x, w])
                y = gf.reduce_sum(gf.tanh(gf.nn.avg_pool2d(gf.nn.conv2d(x, w, 1, "SAME"), 2, 2, "VALID")))
            first = inner.gradient(y, [x, w])
            total = gf.reduce_sum(first[0] * first[0]) + gf.reduce_sum(first[1])
        return first, outer.gradient(total, [x, w])

    eager, graph = derivatives(x, w), gf.function(derivatives)(x, w)
    for a, b in zip(eager[0] + eager[1], graph[0] + graph[1], strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    step = 1e-6
    direction = array(3, 2, 2, 3, dtype="float64")

    def slope(by):
        first = derivatives(x, gf.constant(w.numpy() + by * direction))[0]
        return float(gf.reduce_sum(first[0] * first[0]) + gf.reduce_sum(first[1]))

    expected = (slope(step) - slope(-step)) / (2 * step)
    assert abs(float(np.sum(eager[1][1].numpy() * direction)) - expected) < 1e-6 * max(1, abs(expected))


BAD = {
    "rank": (lambda x, w: gf.nn.conv2d(x[0], w[0], 1, "SAME"), gf.errors.ShapeError, "rank 4"),
    "channels": (lambda x, w: gf.nn.conv2d(x, w[:, :, :3], 1, "SAME"), gf.errors.ShapeError, "4 and 3"),
    "padding": (lambda x, w: gf.nn.conv2d(x, w, 1, "FULL"), gf.errors.InvalidArgumentError, "'FULL'"),
    "stride 0": (lambda x, w: gf.nn.conv2d(x, w, 0, "SAME"), gf.errors.InvalidArgumentError, "at least 1"),
    "batch stride": (lambda x, w: gf.nn.conv2d(x, w, [2, 1, 1, 1], "SAME"), gf.errors.InvalidArgumentError, "batch"),
    "strides": (lambda x, w: gf.nn.conv2d(x, w, [1, 1, 1], "SAME"), gf.errors.InvalidArgumentError, "2 or 4 ints"),
    "too large": (lambda x, w: gf.nn.conv2d(x[:, :2], w, 1, "VALID"), gf.errors.ShapeError, "must fit"),
    "dtype": (lambda x, w: gf.nn.conv2d(x > 0, w > 0, 1, "SAME"), gf.errors.DTypeError, "floats or integers"),
    "format": (lambda x, w: gf.nn.conv2d(x, w, 1, "SAME", data_format="HWNC"), gf.errors.InvalidArgumentError, "HWNC"),
    "pool type": (lambda x, w: gf.nn.pool(x, 2, "MIN"), gf.errors.InvalidArgumentError, "'MIN'"),
    "pool window": (lambda x, w: gf.nn.max_pool2d(x, 9, 1, "VALID"), gf.errors.ShapeError, "must fit"),
    "output shape": (
        lambda x, w: gf.nn.conv2d_transpose(x, w, [2, 99, 8, 3], 2, "SAME"), gf.errors.ShapeError, "output_shape",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_raises_with_both_values_and_the_line(name):
    call, error, text = BAD[name]
    x, w = gf.constant(array(2, 6, 6, 4)), gf.constant(array(3, 3, 4, 4))
    if name == "output shape":
        w = gf.constant(array(3, 3, 3, 4))
    for run in (call, gf.function(call)):
        with pytest.raises(error, match=text) as caught:
            run(x, w)
        assert "test_convolution.py" in str(caught.value)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_gradients_of_tiled_pooling_have_the_same_bits_for_unknown_extents(name, size):
    """Known extents take another way than unknown ones; ties, NaN, infinities and zeros of both signs show it."""
    random = np.random.default_rng(1)
    x = random.choice(np.array([-1.0, 0.0, -0.0, 1.0, 2.0, np.nan, np.inf], np.float32), (3, 6, 6, 4))
    weights = random.choice(np.array([-0.0, 0.0, 1.5, -2.0, np.inf, np.nan], np.float32), (3, 1, 1, 4))

    def slope(x, weights):
        with gf.GradientTape() as tape:
            tape.watch(x)
            total = gf.reduce_sum(getattr(gf.nn, name)(x, size, size, "VALID") * weights)
        return tape.gradient(total, x)

    unknown = gf.function(slope, input_signature=[gf.TensorSpec([None, None, None, 4]), gf.TensorSpec([None, 1, 1, 4])])
    operands = gf.constant(x), gf.constant(weights)
    expected = slope(*operands).numpy()
    for found in (unknown(*operands).numpy(), gf.function(slope)(*operands).numpy()):
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        finite = ~np.isnan(expected)
        np.testing.assert_array_equal(found[finite].view(np.int32), expected[finite].view(np.int32))
    assert unknown.stages(*operands)[0].graph.symbols
