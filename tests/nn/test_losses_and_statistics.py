"""Losses, sampled losses, CTC, moments in parts, monotone regression, fractional pools: by hand and against NumPy, SciPy or brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import graphflow as gf

RANDOM = np.random.default_rng(2)


def floats(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def collapsed(path, blank):
    return tuple(k for k, _ in itertools.groupby(path) if k != blank)


def brute_force_ctc(logits, label, blank):
    """-log of the summed probability of all alignments."""
    logp = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    steps, classes = logits.shape
    total = -np.inf
    for path in itertools.product(range(classes), repeat=steps):
        if collapsed(path, blank) == tuple(label):
            total = np.logaddexp(total, sum(logp[t, k] for t, k in enumerate(path)))
    return -total


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_sums_all_alignments(blank):
    logits = RANDOM.standard_normal((5, 2, 3))
    others = [k for k in range(3) if k != blank]
    labels = np.array([[others[0], others[0], 0], [others[1], 0, 0]], np.int32)
    lengths, times = [2, 1], [5, 4]
    found = gf.nn.ctc_loss(labels, gf.constant(logits), lengths, times, blank_index=blank)
    expected = [
        brute_force_ctc(logits[:t, b], labels[b, :n], blank)
        for b, (n, t) in enumerate(zip(lengths, times, strict=True))
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)
    turned = gf.nn.ctc_loss(
        labels, gf.constant(logits.transpose(1, 0, 2).copy()), lengths, times, False, blank_index=blank
    )
    np.testing.assert_array_equal(turned.numpy(), found.numpy())
    assert np.isinf(gf.nn.ctc_loss([[1, 1, 2]], np.zeros((3, 1, 4)), [3], [3]).numpy()[0])


def test_ctc_gradient_eager_and_compiled():
    labels, logits = np.array([[1, 2, 1]], np.int32), RANDOM.standard_normal((6, 1, 4))

    def slope(x):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.nn.ctc_loss(labels, x, [3], [6])
        return tape.gradient(y, x)

    x, step = gf.constant(logits), 1e-6
    direction = RANDOM.standard_normal(logits.shape)
    ends = [gf.nn.ctc_loss(labels, logits + s * step * direction, [3], [6]).numpy()[0] for s in (1, -1)]
    np.testing.assert_allclose(np.sum(slope(x).numpy() * direction), (ends[0] - ends[1]) / (2 * step), rtol=1e-6)
    assert gf.function(slope)(x).numpy().tobytes() == slope(x).numpy().tobytes()


def test_labels():
    unique, places = gf.nn.ctc_unique_labels([[5, 2, 5, 0], [3, 3, 0, 0]])
    np.testing.assert_array_equal(unique.numpy(), [[5, 2, 0, 0], [3, 0, 0, 0]])
    np.testing.assert_array_equal(places.numpy(), [[0, 1, 0, 2], [0, 0, 1, 1]])
    labels, lengths = gf.nn.collapse_repeated([[1, 1, 2, 2], [3, 3, 3, 4]], [3, 4])
    np.testing.assert_array_equal(labels.numpy(), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(lengths.numpy(), [2, 2])


def test_moments_in_parts():
    x, weights = floats(5, 3), np.array([1.0, 2, 0, 3, 1], np.float32)[:, None]
    mean, variance = gf.nn.normalize_moments(*gf.nn.sufficient_statistics(x, [0], shift=0.5))
    np.testing.assert_allclose(mean.numpy(), x.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(variance.numpy(), x.var(axis=0), rtol=1e-4, atol=1e-6)
    mean, variance = gf.nn.weighted_moments(x, [0], weights)
    repeated = np.repeat(x, weights[:, 0].astype(int), axis=0)
    np.testing.assert_allclose(mean.numpy(), repeated.mean(axis=0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(variance.numpy(), repeated.var(axis=0), rtol=1e-4, atol=1e-6)


def test_local_response_normalization():
    x = floats(1, 2, 2, 5)
    total = np.stack([np.square(x[..., max(k - 1, 0) : k + 2]).sum(axis=-1) for k in range(5)], axis=-1)
    np.testing.assert_allclose(gf.nn.lrn(x, 1, 1.0, 0.5, 0.75).numpy(), x / (1 + 0.5 * total) ** 0.75, rtol=1e-5)


@pytest.mark.parametrize("decreasing", [True, False])
def test_isotonic_regression_is_the_closest_monotone_sequence(decreasing):
    from scipy.optimize import isotonic_regression

    x = RANDOM.standard_normal((3, 9))
    found, runs = gf.nn.isotonic_regression(x, decreasing)
    for row, values in zip(found.numpy(), x, strict=True):
        np.testing.assert_allclose(
            row, isotonic_regression(values, increasing=not decreasing).x, rtol=1e-12, atol=1e-12
        )
    assert (np.diff(runs.numpy()) >= 0).all() and runs.dtype is gf.int32
    t, weights = gf.constant(x), RANDOM.standard_normal(x.shape)
    with gf.GradientTape() as tape:
        tape.watch(t)
        y = gf.nn.isotonic_regression(t, decreasing)[0]
    slope = tape.gradient(y, t, output_gradients=gf.constant(weights)).numpy()
    for row, run, weight in zip(slope, runs.numpy(), weights, strict=True):
        np.testing.assert_allclose(row, [weight[run == k].mean() for k in run], rtol=1e-12)


def test_poisson_and_average_losses():
    targets, logs = np.array([0.5, 2.0, 5.0]), np.array([1.0, -2.0, 0.3])
    plain = np.exp(logs) - logs * targets
    stirling = targets * np.log(targets) - targets + 0.5 * np.log(2 * np.pi * targets)
    np.testing.assert_allclose(gf.nn.log_poisson_loss(targets, logs).numpy(), plain)
    np.testing.assert_allclose(
        gf.nn.log_poisson_loss(targets, logs, True).numpy(), plain + np.where(targets <= 1, 0, stirling)
    )
    assert float(gf.nn.compute_average_loss([1.0, 2.0, 3.0], [1.0, 0.0, 1.0], 8)) == 0.5
    with pytest.raises(ValueError):
        gf.nn.compute_average_loss(1.0)


SAMPLERS = {
    "uniform": (lambda unique: gf.random.uniform_candidate_sampler([[1]], 1, 6, unique, 8, seed=5), np.full(8, 1 / 8)),
    "log uniform": (
        lambda unique: gf.random.log_uniform_candidate_sampler([[1]], 1, 6, unique, 8, seed=5),
        np.log((np.arange(8) + 2) / (np.arange(8) + 1)) / np.log(9),
    ),
    "fixed": (
        lambda unique: gf.random.fixed_unigram_candidate_sampler([[1]], 1, 6, unique, 8, unigrams=range(1, 9), seed=5),
        np.arange(1, 9) / 36,
    ),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers(name):
    sampler, chances = SAMPLERS[name]
    sampled, true, expected = sampler(False)
    assert sampled.dtype is gf.int64 and ((sampled.numpy() >= 0) & (sampled.numpy() < 8)).all()
    np.testing.assert_allclose(true.numpy(), [[6 * chances[1]]], rtol=1e-5)
    np.testing.assert_allclose(expected.numpy(), 6 * chances[sampled.numpy()], rtol=1e-5)
    counts = np.zeros(8)
    for _ in range(40):
        found, _, expected = sampler(True)
        assert len(set(found.numpy().tolist())) == 6
        assert ((expected.numpy() > 0) & (expected.numpy() <= 1)).all()
        counts[found.numpy()] += 1
    assert counts.sum() == 240


def test_sampled_losses_with_given_samples():
    weights, biases, inputs = floats(6, 3), floats(6), floats(2, 3)
    labels, sampled = np.array([[0], [4]]), ([1, 4], [[0.5], [0.4]], [0.3, 0.6])
    logits = np.concatenate(
        [
            (inputs * weights[labels[:, 0]]).sum(axis=1, keepdims=True) + biases[labels] - np.log(sampled[1]),
            inputs @ weights[sampled[0]].T + biases[sampled[0]] - np.log(sampled[2]),
        ],
        axis=1,
    ).astype(np.float64)  # fmt: skip
    targets = np.array([[1.0, 0, 0]] * 2)
    logistic = (np.logaddexp(0, logits) - logits * targets).sum(axis=1)
    np.testing.assert_allclose(
        gf.nn.nce_loss(weights, biases, labels, inputs, 2, 6, 1, sampled).numpy(), logistic, rtol=1e-5
    )
    softmax = np.log(np.exp(logits).sum(axis=1)) - logits[:, 0]
    plain = gf.nn.sampled_softmax_loss(weights, biases, labels, inputs, 2, 6, 1, sampled, remove_accidental_hits=False)
    np.testing.assert_allclose(plain.numpy(), softmax, rtol=1e-5)
    logits[1, 2] = -np.inf  # the second row's own class is among the samples
    removed = gf.nn.sampled_softmax_loss(weights, biases, labels, inputs, 2, 6, 1, sampled)
    np.testing.assert_allclose(removed.numpy(), np.log(np.exp(logits).sum(axis=1)) - logits[:, 0], rtol=1e-5)


@pytest.mark.parametrize("pseudo_random", [True, False])
@pytest.mark.parametrize("overlapping", [True, False])
def test_fractional_pools(pseudo_random, overlapping):
    x = floats(1, 9, 11, 2)
    for pool, reduce in ((gf.nn.fractional_max_pool, np.max), (gf.nn.fractional_avg_pool, np.mean)):
        found, rows, columns = pool(x, 1.6, pseudo_random, overlapping, seed=4)
        rows, columns = rows.numpy(), columns.numpy()
        assert rows[0] == 0 and rows[-1] == 9 and set(np.diff(rows)) <= {1, 2} and columns[-1] == 11
        assert found.shape == [1, 5, 6, 2]
        more = int(overlapping)
        expected = [
            [reduce(x[0, a : b + more, c : d + more], axis=(0, 1)) for c, d in itertools.pairwise(columns)]
            for a, b in itertools.pairwise(rows)
        ]
        np.testing.assert_allclose(found.numpy()[0], expected, rtol=1e-5, atol=1e-6)


def test_convolutions_backwards():
    x, kernel, dy = floats(1, 5, 5, 2), floats(2, 2, 2, 3), floats(1, 4, 4, 6)
    tensors = [gf.constant(x), gf.constant(kernel)]
    with gf.GradientTape() as tape:
        tape.watch(tensors)
        y = gf.nn.depthwise_conv2d(*tensors, [1, 1, 1, 1], "VALID")
    by_x, by_kernel = tape.gradient(y, tensors, output_gradients=gf.constant(dy))
    found = gf.nn.depthwise_conv2d_backprop_input(x.shape, kernel, dy, [1, 1, 1, 1], "VALID")
    np.testing.assert_array_equal(found.numpy(), by_x.numpy())
    found = gf.nn.depthwise_conv2d_backprop_filter(x, kernel.shape, dy, [1, 1, 1, 1], "VALID")
    np.testing.assert_array_equal(found.numpy(), by_kernel.numpy())
    image, full = floats(1, 7, 8, 2), floats(3, 3, 2, 2)
    through = gf.nn.with_space_to_batch(
        image, [2, 3], "SAME", lambda t, n, padding: gf.nn.conv2d(t, full, 1, padding), [3, 3]
    )
    np.testing.assert_allclose(
        through.numpy(), gf.nn.conv2d(image, full, 1, "SAME", dilations=[2, 3]).numpy(), rtol=1e-5, atol=1e-5
    )


def test_response_normalization_has_the_same_bits_for_unknown_channels():
    """The sum of a window is one tree, also where the radius is larger than the number of channels."""
    x = gf.constant(np.random.default_rng(4).standard_normal((2, 3, 3, 4), dtype=np.float32))
    unknown = gf.function(lambda x: gf.nn.lrn(x, 7), input_signature=[gf.TensorSpec([None, None, None, None])])
    np.testing.assert_array_equal(unknown(x).numpy().view(np.int32), gf.nn.lrn(x, 7).numpy().view(np.int32))
