"""A small convolutional network on the digits that ship with graphflow.

    python examples/digits_cnn.py [--epochs 60] [--seed 0] [--validate]

The hyperparameters were chosen with --validate, which trains on four fifths of the training images and measures on the
rest; the test images are looked at once, at the end, by a run without it.
The whole training step (augmentation, forward pass, gradient, update, moving averages) is one native function.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import graphflow as gf
from graphflow.data import digits

BATCH = 64
SIDE = 8
CHANNELS = (16, 32, 64)
PEAK_RATE = 0.008
DROPOUT = 0.5


class Convolution(gf.Module):
    """A 3x3 convolution, batch normalisation, and relu: f32[n, h, w, inputs] -> f32[n, h, w, outputs]."""

    def __init__(self, inputs: int, outputs: int, generator: gf.random.Generator) -> None:
        super().__init__()
        start = generator.normal([3, 3, inputs, outputs], stddev=(2 / (9 * inputs)) ** 0.5)  # He et al., 2015
        self.filters = gf.Variable(start, name="filters")
        self.scale = gf.Variable(gf.ones([outputs]), name="scale")
        self.offset = gf.Variable(gf.zeros([outputs]), name="offset")
        # The averages are state, but no gradient flows into them: they are not in `trainable_variables`.
        self.mean = gf.Variable(gf.zeros([outputs]), trainable=False, name="mean")
        self.variance = gf.Variable(gf.ones([outputs]), trainable=False, name="variance")

    def __call__(self, x: Any, training: bool) -> Any:
        x = gf.nn.conv2d(x, self.filters, strides=1, padding="SAME")
        if training:
            mean, variance = gf.nn.moments(x, axes=[0, 1, 2])
            self.mean.assign_sub(0.1 * (self.mean - mean))
            self.variance.assign_sub(0.1 * (self.variance - variance))
        else:
            mean, variance = self.mean, self.variance
        return gf.nn.relu(gf.nn.batch_normalization(x, mean, variance, self.offset, self.scale, 1e-3))


class Network(gf.Module):
    """Three convolutions, two poolings, dropout and a linear layer; with its optimizer and the step that trains it."""

    def __init__(self, steps: int, seed: int) -> None:
        super().__init__()
        self.generator = gf.random.Generator.from_seed(seed)
        first, second, third = CHANNELS
        self.layers = [
            Convolution(1, first, self.generator),
            Convolution(first, second, self.generator),
            Convolution(second, third, self.generator),
        ]
        features = (SIDE // 4) ** 2 * third
        self.weights = gf.Variable(self.generator.normal([features, digits.CLASSES], stddev=features**-0.5))
        self.bias = gf.Variable(gf.zeros([digits.CLASSES]))
        schedule = gf.optimizers.schedules.CosineDecay(
            0.0, decay_steps=steps - steps // 10, warmup_target=PEAK_RATE, warmup_steps=steps // 10
        )
        self.optimizer = gf.optimizers.AdamW(schedule, weight_decay=0.01)

    def logits(self, images: Any, training: bool) -> Any:
        """Class scores f32[n, 10] of images f32[n, 8, 8]."""
        x = self.layers[0](images[..., gf.newaxis], training)
        x = gf.nn.max_pool2d(self.layers[1](x, training), ksize=2, strides=2, padding="VALID")
        x = gf.nn.max_pool2d(self.layers[2](x, training), ksize=2, strides=2, padding="VALID")
        x = gf.reshape(x, [-1, self.weights.shape[0]])
        if training:
            x = gf.nn.experimental.general_dropout(x, DROPOUT, uniform_sampler=self.generator.uniform)
        return x @ self.weights + self.bias

    def shifted(self, images: Any) -> Any:
        """Each image moved by up to a pixel in both directions, zeros coming in at the edge."""
        wide = SIDE + 2
        moves = self.generator.uniform([2, gf.shape(images)[0], 1], 0, 3, dtype=gf.int32)
        rows, columns = gf.unstack(moves + gf.range(SIDE))
        padded = gf.reshape(gf.pad(images, [[0, 0], [1, 1], [1, 1]]), [-1, wide * wide])
        places = rows[:, :, gf.newaxis] * wide + columns[:, gf.newaxis, :]
        return gf.gather(padded, places, axis=1, batch_dims=1)

    @gf.function
    def step(self, images: Any, labels: Any) -> Any:
        """One update of all weights on a batch; returns the loss before it."""
        with gf.GradientTape() as tape:
            scores = self.logits(self.shifted(images), training=True)
            loss = gf.reduce_mean(gf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores))
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    @gf.function
    def accuracy(self, images: Any, labels: Any) -> Any:
        """The share of images whose highest score is at their label."""
        right = gf.argmax(self.logits(images, training=False), axis=1) == labels
        return gf.reduce_mean(gf.cast(right, gf.float32))


def median_seconds(call: Callable[[], Any], repeats: int) -> float:
    """The median time of a call, after two that warm up."""
    call(), call()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--validate", action="store_true", help="hold back training images and leave the test ones alone"
    )
    arguments = parser.parse_args(argv)

    split = digits.split(arguments.seed)
    images, labels = split.train_images.reshape(-1, SIDE, SIDE), split.train_labels
    held_back = split.test_images.reshape(-1, SIDE, SIDE), split.test_labels
    if arguments.validate:
        fifth = len(images) // 5
        held_back = images[:fifth], labels[:fifth]
        images, labels = images[fifth:], labels[fifth:]
    steps = len(images) // BATCH
    network = Network(arguments.epochs * steps, arguments.seed)
    order = np.random.default_rng(arguments.seed)

    begin = time.perf_counter()
    batch = gf.constant(images[:BATCH]), gf.constant(labels[:BATCH])
    network.step.get_concrete_function(*batch)
    print(f"traced and compiled in {time.perf_counter() - begin:.1f} s")

    begin = time.perf_counter()
    for epoch in range(1, arguments.epochs + 1):
        rows = order.permutation(len(images))[: steps * BATCH].reshape(steps, BATCH)
        losses = [network.step(gf.constant(images[chosen]), gf.constant(labels[chosen])) for chosen in rows]
        print(f"epoch {epoch:3}  loss {np.mean(losses):.4f}")
    elapsed = time.perf_counter() - begin
    print(f"{arguments.epochs * steps / elapsed:.0f} steps/s with batches of {BATCH}")

    kind = "validation" if arguments.validate else "test"
    accuracy = float(network.accuracy(gf.constant(held_back[0]), gf.constant(held_back[1])))
    print(f"accuracy on {len(held_back[1])} {kind} images: {accuracy:.2%}")

    # The undecorated method runs op by op on the same tensors.
    eager = median_seconds(lambda: network.step.python_function(*batch), 5)
    graph = median_seconds(lambda: network.step(*batch), 50)
    print(
        f"a step takes {eager * 1e3:.2f} ms eager, {graph * 1e3:.2f} ms as a graph: {eager / graph:.1f} times as fast"
    )
    print(network.step.verify(*batch).message)


if __name__ == "__main__":
    main()
