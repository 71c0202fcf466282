"""A small causal transformer that learns Python from the source of Python's own standard library, byte by byte.

    python examples/language_model.py [--steps 600] [--seed 0] [--prompt "def "]

The windows of a batch are cut, the network is trained and text is sampled natively: a hundred training steps are one
call, and so is the generation of a text, whose batch and time extents are symbolic.
"""

from __future__ import annotations

import argparse
import sysconfig
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import graphflow as gf

BYTES = 256
CONTEXT = 64
WIDTH = 128
HEADS = 4
LAYERS = 2
BATCH = 32
PEAK_RATE = 3e-3
STEPS_A_CALL = 100


def read_corpus() -> tuple[np.ndarray, np.ndarray]:
    """(training, held-out) bytes of the library's top-level modules; a file's name decides on which side it is."""
    sides: tuple[list[bytes], list[bytes]] = [], []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        sides[zlib.crc32(path.name.encode()) % 10 == 0].append(path.read_bytes())
    training, held_out = (np.frombuffer(b"\n".join(files), np.uint8) for files in sides)
    return training, held_out


class Normalization(gf.Module):
    """Layer normalisation over the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = gf.Variable(gf.ones([WIDTH]), name="scale")
        self.offset = gf.Variable(gf.zeros([WIDTH]), name="offset")

    def __call__(self, x: Any) -> Any:
        return gf.nn.layer_normalization(x, self.offset, self.scale, variance_epsilon=1e-5)


class Block(gf.Module):
    """Causal attention, then a perceptron, each after a normalisation and added to what came in: f32[b, t, WIDTH]."""

    def __init__(self, generator: gf.random.Generator) -> None:
        super().__init__()
        each = WIDTH // HEADS
        narrow, last = WIDTH**-0.5, (2 * LAYERS * WIDTH) ** -0.5
        self.before_attention, self.before_perceptron = Normalization(), Normalization()
        self.query_key_value = gf.Variable(generator.normal([WIDTH, 3, HEADS, each], stddev=narrow))
        self.output = gf.Variable(generator.normal([HEADS, each, WIDTH], stddev=last))
        self.wide = gf.Variable(generator.normal([WIDTH, 4 * WIDTH], stddev=narrow))
        self.wide_bias = gf.Variable(gf.zeros([4 * WIDTH]))
        self.back = gf.Variable(generator.normal([4 * WIDTH, WIDTH], stddev=last / 2))
        self.back_bias = gf.Variable(gf.zeros([WIDTH]))

    def attend(self, x: Any) -> Any:
        """Each position's mixture of the values at itself and before."""
        query, key, value = gf.unstack(gf.einsum("btd,dche->cbhte", x, self.query_key_value))
        scores = gf.matmul(query, key, transpose_b=True) * (WIDTH // HEADS) ** -0.5
        positions = gf.range(gf.shape(x)[1])
        scores = gf.where(positions[:, gf.newaxis] >= positions, scores, float("-inf"))
        return gf.einsum("bhte,hed->btd", gf.nn.softmax(scores) @ value, self.output)

    def __call__(self, x: Any) -> Any:
        x += self.attend(self.before_attention(x))
        hidden = gf.nn.gelu(self.before_perceptron(x) @ self.wide + self.wide_bias, approximate=True)
        return x + hidden @ self.back + self.back_bias


class LanguageModel(gf.Module):
    """Scores of the next byte, with the optimizer; the embedding is the softmax's matrix too."""

    def __init__(self, steps: int, seed: int) -> None:
        super().__init__()
        self.generator = gf.random.Generator.from_seed(seed)
        self.embedding = gf.Variable(self.generator.normal([BYTES, WIDTH], stddev=WIDTH**-0.5), name="embedding")
        self.positions = gf.Variable(self.generator.normal([CONTEXT, WIDTH], stddev=0.02), name="positions")
        self.blocks = [Block(self.generator) for _ in range(LAYERS)]
        self.last = Normalization()
        schedule = gf.optimizers.schedules.CosineDecay(
            0.0, decay_steps=steps - steps // 10, alpha=0.05, warmup_target=PEAK_RATE, warmup_steps=steps // 10
        )
        self.optimizer = gf.optimizers.AdamW(schedule, weight_decay=0.1, beta_2=0.99, global_clipnorm=1.0)
        self.optimizer.exclude_from_weight_decay([w for w in self.trainable_variables if len(w.shape) == 1])

    def logits(self, tokens: Any) -> Any:
        """Scores f32[batch, time, BYTES] of the byte after each one of tokens i32[batch, time], time <= CONTEXT."""
        x = gf.nn.embedding_lookup(self.embedding, tokens) + self.positions[: gf.shape(tokens)[1]]
        for block in self.blocks:
            x = block(x)
        return gf.matmul(self.last(x), self.embedding, transpose_b=True)

    @gf.function
    def loss(self, windows: Any) -> Any:
        """The mean of -log p(byte | those before it) over windows u8[batch, time + 1], in nats."""
        tokens = gf.cast(windows, gf.int32)
        return gf.reduce_mean(
            gf.nn.sparse_softmax_cross_entropy_with_logits(tokens[:, 1:], self.logits(tokens[:, :-1]))
        )

    def step(self, corpus: Any) -> Any:
        """One update on windows drawn from corpus u8[n]; returns their loss before it."""
        starts = self.generator.uniform([BATCH, 1], 0, corpus.shape[0] - CONTEXT, dtype=gf.int32)
        with gf.GradientTape() as tape:
            loss = self.loss(gf.gather(corpus, starts + gf.range(CONTEXT + 1)))
        weights = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    @gf.function
    def train(self, corpus: Any, steps: Any) -> Any:
        """That many steps; returns their mean loss."""
        total = 0.0
        for _ in gf.range(steps):
            total += self.step(corpus)
        return total / gf.cast(steps, gf.float32)

    @gf.function(
        input_signature=[gf.TensorSpec([None, None], gf.int32), gf.TensorSpec([], gf.int32), gf.TensorSpec([])]
    )
    def sample(self, tokens: Any, length: Any, temperature: Any) -> Any:
        """tokens i32[batch, time] with `length` more drawn after them, one by one."""
        for _ in gf.range(length):
            gf.autograph.experimental.set_loop_options(shape_invariants=[(tokens, gf.TensorShape([None, None]))])
            scores = self.logits(tokens[:, -CONTEXT:])[:, -1] / temperature
            tokens = gf.concat([tokens, gf.random.categorical(scores, 1, dtype=gf.int32)], axis=1)
        return tokens


def frequency_losses(training: np.ndarray, windows: np.ndarray) -> tuple[float, float]:
    """The losses of the byte frequencies alone, and of those after the byte before, with one added to each count."""
    pairs = np.ones((BYTES, BYTES))
    np.add.at(pairs, (training[:-1], training[1:]), 1)
    before, after = windows[:, :-1], windows[:, 1:]
    unigram, bigram = pairs.sum(0) / pairs.sum(), pairs / pairs.sum(1, keepdims=True)
    return float(-np.log(unigram[after]).mean()), float(-np.log(bigram[before, after]).mean())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prompt", default="def ")
    arguments = parser.parse_args(argv)

    training, held_out = read_corpus()
    rows = np.linspace(0, len(held_out) - CONTEXT - 1, 512).astype(int)  # spread evenly over the held-out files
    windows = held_out[rows[:, None] + np.arange(CONTEXT + 1)]
    print(f"{len(training):,} bytes to learn from, {len(held_out):,} held out")

    gf.random.set_seed(arguments.seed)
    model = LanguageModel(arguments.steps, arguments.seed)
    print(f"{sum(int(np.prod(weight.shape)) for weight in model.trainable_variables):,} weights")
    corpus = gf.constant(training)
    begin = time.perf_counter()
    model.train.get_concrete_function(corpus, gf.constant(0))
    print(f"traced and compiled in {time.perf_counter() - begin:.1f} s")

    begin = time.perf_counter()
    for done in range(0, arguments.steps, STEPS_A_CALL):
        count = min(STEPS_A_CALL, arguments.steps - done)
        loss = float(model.train(corpus, gf.constant(count)))
        print(f"steps {done + 1:4} to {done + count:4}  loss {loss:.3f}")
    elapsed = time.perf_counter() - begin
    print(f"{arguments.steps / elapsed:.1f} steps/s, {arguments.steps * BATCH * CONTEXT / elapsed:,.0f} bytes/s")

    unigram, bigram = frequency_losses(training, windows)
    loss = float(model.loss(gf.constant(windows)))
    print(f"held-out loss {loss:.3f} nats a byte; by frequencies of bytes {unigram:.3f}, of pairs {bigram:.3f}")

    prompts = gf.constant(np.frombuffer(arguments.prompt.encode(), np.uint8).astype(np.int32)[None].repeat(2, 0))
    begin = time.perf_counter()
    for text in model.sample(prompts, 200, 0.7).numpy():
        print("-" * 40, bytes(text.tolist()).decode("utf-8", "replace"), sep="\n")
    print("-" * 40, f"sampled in {time.perf_counter() - begin:.1f} s", sep="\n")


if __name__ == "__main__":
    main()
