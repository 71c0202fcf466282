"""What gradients cost: a tape around a compiled function, forward mode, Jacobians, recomputation, few rows of a large table.

`python -m benchmarks.gradients` prints a table of pairs. The two sides of a pair run in turn, in one process; a figure is the least
of several rounds. With TensorFlow, JAX or PyTorch installed, the step of the table is compared with theirs too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

import graphflow as gf

GENERATOR = np.random.default_rng(0)
ROWS, WIDTH, TOUCHED = 1_000_000, 64, 32


def normal(*shape: int) -> np.ndarray:
    """Normal numbers, float32."""
    return GENERATOR.normal(size=shape).astype("f4")


def microseconds(*runs: Callable[[], object], seconds: float = 0.1, rounds: int = 7) -> list[float]:
    """The least time of a run of each, in rounds that take turns."""
    counts = []
    for run in runs:
        for _ in range(3):
            run()
        start = time.perf_counter()
        run()
        counts.append(max(1, int(seconds / (time.perf_counter() - start))))
    best = [float("inf")] * len(runs)
    for _ in range(rounds):
        for k, (run, count) in enumerate(zip(runs, counts, strict=True)):
            start = time.perf_counter()
            for _ in range(count):
                run()
            best[k] = min(best[k], (time.perf_counter() - start) / count * 1e6)
    return best


def tape_outside() -> tuple[float, float]:
    """An MLP's loss and gradients: the tape outside the compiled function, and inside."""
    sizes = (784, 256, 128, 10)
    weights = [gf.Variable(normal(a, b) / np.sqrt(a).astype("f4")) for a, b in pairwise(sizes)]
    x, labels = gf.constant(normal(128, 784)), gf.constant(GENERATOR.integers(0, 10, 128).astype("i4"))

    def loss(x: Any, labels: Any) -> Any:
        for w in weights[:-1]:
            x = gf.nn.relu(gf.matmul(x, w))
        logits = gf.matmul(x, weights[-1])
        return gf.reduce_mean(gf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))

    def step(f: Callable[..., Any]) -> Any:
        with gf.GradientTape() as tape:
            value = f(x, labels)
        return value, tape.gradient(value, weights)

    compiled, inside = gf.function(loss), gf.function(lambda: step(loss))
    outside, all_inside = microseconds(lambda: step(compiled), inside)
    return outside, all_inside


def forward_mode() -> tuple[float, float]:
    """A value and its directional derivative, and the value alone, of an MLP of four layers."""
    weights = [gf.constant(normal(256, 256) / 16) for _ in range(4)]
    x, v = gf.constant(normal(128, 256)), gf.constant(normal(128, 256))

    @gf.function
    def value(x: Any) -> Any:
        for w in weights:
            x = gf.tanh(gf.matmul(x, w))
        return x

    @gf.function
    def both(x: Any, v: Any) -> Any:
        with gf.autodiff.ForwardAccumulator(x, v) as accumulator:
            y = value(x)
        return y, accumulator.jvp(y)

    first, second = microseconds(lambda: both(x, v), lambda: value(x))
    return first, second


def jacobians() -> tuple[float, float]:
    """The Jacobian of a layer with 256 results in eager mode: at once, and row by row."""
    x, w = gf.constant(normal(8, 16)), gf.constant(normal(16, 32))

    def jacobian(use_pfor: bool) -> Any:
        with gf.GradientTape() as tape:
            tape.watch([x, w])
            y = gf.tanh(gf.matmul(x, w))
        return tape.jacobian(y, [x, w], experimental_use_pfor=use_pfor)

    first, second = microseconds(lambda: jacobian(True), lambda: jacobian(False), rounds=3)
    return first, second


def table_step(dense: bool = False, optimizer: Any = None, compiled: bool = True) -> Callable[[], Any]:
    """A lookup in the table, a loss, and an optimizer's step (gradient descent, if none is given). dense: the gradient is used in
    another way too, so that it has to be made."""
    table = gf.Variable(np.zeros((ROWS, WIDTH), "f4"))
    optimizer = optimizer or gf.optimizers.SGD(0.1)
    indices = gf.constant(GENERATOR.integers(0, ROWS, TOUCHED).astype("i4"))
    target = gf.constant(normal(TOUCHED, WIDTH))

    def step(indices: Any, target: Any) -> Any:
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(gf.square(gf.nn.embedding_lookup(table, indices) - target))
        gradient = tape.gradient(loss, table)
        optimizer.apply_gradients([(gradient, table)])
        return (loss, gf.reduce_max(gradient)) if dense else loss

    run = gf.function(step) if compiled else step
    return lambda: run(indices, target)


def tensorflow_step() -> Callable[[], Any] | None:
    """TensorFlow's table step, with its own gradient descent; None where it is not installed."""
    try:
        import tensorflow as tf
    except ImportError:
        return None
    table = tf.Variable(np.zeros((ROWS, WIDTH), "f4"))
    indices = tf.constant(GENERATOR.integers(0, ROWS, TOUCHED).astype("i4"))
    target = tf.constant(normal(TOUCHED, WIDTH))

    @tf.function
    def step(indices: Any, target: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(tf.nn.embedding_lookup(table, indices) - target))
        gradient = tape.gradient(loss, table)
        table.scatter_sub(tf.IndexedSlices(0.1 * gradient.values, gradient.indices))
        return loss

    concrete = step.get_concrete_function(indices, target)
    return lambda: concrete(indices, target)


def torch_step() -> Callable[[], Any] | None:
    """PyTorch's table step with an embedding of sparse gradients; None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    table = torch.nn.Embedding(ROWS, WIDTH, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), 0.1)
    indices = torch.from_numpy(GENERATOR.integers(0, ROWS, TOUCHED))
    target = torch.from_numpy(normal(TOUCHED, WIDTH))

    def step() -> Any:
        optimizer.zero_grad()
        loss = ((table(indices) - target) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    return step


def jax_step() -> Callable[[], Any] | None:
    """JAX's table step: the rows' gradients, scattered into the table, whose memory is given away; None where it is not installed."""
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return None
    indices, target = jnp.asarray(GENERATOR.integers(0, ROWS, TOUCHED)), jnp.asarray(normal(TOUCHED, WIDTH))

    def step(table: Any) -> Any:
        loss, gradient = jax.value_and_grad(lambda rows: jnp.sum(jnp.square(rows - target)))(table[indices])
        return table.at[indices].add(-0.1 * gradient), loss

    compiled, table = jax.jit(step, donate_argnums=0), [jnp.zeros((ROWS, WIDTH), jnp.float32)]

    def run() -> None:
        table[0], loss = compiled(table[0])
        loss.block_until_ready()

    return run


def rows() -> Iterator[tuple[str, str, float, str, float]]:
    """(what, the one side, its microseconds, the other side, its microseconds)."""
    yield "MLP loss and gradients", "tape outside", *_pair(tape_outside(), "tape inside")
    yield "MLP of four layers", "value and jvp", *_pair(forward_mode(), "value")
    yield "Jacobian, 256 x 640, eager", "at once", *_pair(jacobians(), "row by row")
    title = f"step of {TOUCHED} rows of {ROWS} x {WIDTH}"
    found = microseconds(table_step(False), table_step(True), rounds=3)
    yield title, "few rows", *_pair((found[0], found[1]), "dense pass")
    found = microseconds(table_step(), table_step(compiled=False))
    yield title, "compiled", *_pair((found[0], found[1]), "eager")
    found = microseconds(table_step(), table_step(optimizer=gf.optimizers.Adagrad(0.1)))
    yield title, "SGD", *_pair((found[0], found[1]), "Adagrad")
    found = microseconds(table_step(), table_step(optimizer=gf.optimizers.Adam(0.1)), rounds=3)
    yield title, "SGD", *_pair((found[0], found[1]), "Adam")
    for name, make in (("TensorFlow", tensorflow_step), ("JAX", jax_step), ("PyTorch", torch_step)):
        peer = make()
        if peer is not None:
            found = microseconds(table_step(), peer)
            yield title, "graphflow", *_pair((found[0], found[1]), name)


def _pair(figures: tuple[float, float], other: str) -> tuple[float, str, float]:
    return figures[0], other, figures[1]


def main() -> None:
    """Print the table."""
    for what, one, first, other, second in rows():
        print(f"{what:38} {one:14} {first:12.1f} us   {other:12} {second:12.1f} us   {first / second:8.3f}")


if __name__ == "__main__":
    main()
