"""Streams: seeds, generators, eager against graph, program order, traces, threads."""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError

random = gf.random


def arrays(structure: Any) -> list[np.ndarray[Any, Any]]:
    return [np.asarray(t) for t in gf.nest.flatten(structure)]


def assert_same(left: Any, right: Any) -> None:
    for a, b in zip(arrays(left), arrays(right), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def differs(left: Any, right: Any) -> bool:
    return all((a != b).any() for a, b in zip(arrays(left), arrays(right), strict=True))


def test_eager_and_graph_draw_the_same_in_the_same_order() -> None:
    generator = random.Generator.from_seed(1)

    def program(x):
        a = generator.normal([2, 3])
        b = random.uniform([4]) + x
        c = generator.uniform([3], -5, 5, gf.int64)
        d = random.normal([2], seed=7)
        e = generator.truncated_normal([5], dtype=gf.float64)
        f = random.truncated_normal([2], 1.0, 2.0, seed=7)
        g = generator.uniform_full_int([3])
        h = generator.make_seeds(2)
        return a, b, c, d, e, f, g, h, random.categorical([[0.0, 1.0, 2.0]], 4)

    traced = gf.function(program)
    x = gf.constant([1.0, 2.0, 3.0, 4.0])

    def three_times(run):
        generator.reset_from_seed(5)
        random.set_seed(6)
        return [run(x) for _ in range(3)]

    eager, graph = three_times(program), three_times(traced)
    assert_same(eager, graph)
    assert traced.experimental_get_tracing_count() == 1
    assert differs(graph[0], graph[1])


def test_a_retrace_goes_on_where_the_stream_is() -> None:
    generator = random.Generator.from_seed(3)
    draw = gf.function(lambda x: x + generator.normal([2], dtype=x.dtype))
    found = [draw(gf.zeros([2])), draw(gf.zeros([2], gf.float64)), draw(gf.zeros([2]))]
    assert draw.experimental_get_tracing_count() == 2
    generator.reset_from_seed(3)
    assert_same(found, [generator.normal([2]), generator.normal([2], dtype=gf.float64), generator.normal([2])])


def test_symbolic_extents() -> None:
    generator = random.Generator.from_seed(3)

    @gf.function(input_signature=[gf.TensorSpec([None, 3])])
    def noisy(x):
        return generator.normal(x.shape), generator.uniform([x.shape[0]]), generator.normal([1])

    for rows in (4, 1, 0, 7):
        generator.reset_from_seed(8)
        found = noisy(gf.zeros([rows, 3]))
        generator.reset_from_seed(8)
        assert_same(found, [generator.normal([rows, 3]), generator.uniform([rows]), generator.normal([1])])
    assert noisy.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("shape", [[], [0], [1], [7], [0, 3], [3, 0], [2, 1, 3], [257], [3, 130]])
def test_extents(shape: list[int]) -> None:
    def program():
        return (
            random.stateless_uniform(shape, [1, 2]),
            random.stateless_normal(shape, [1, 2], dtype=gf.float64),
            random.stateless_uniform(shape, [1, 2], 0, 9, gf.int32),
            random.stateless_truncated_normal(shape, [1, 2]),
            random.stateless_uniform(shape, [1, 2], None, None, gf.int64),
        )

    found = program()
    assert all(t.shape == tuple(shape) for t in found)
    assert_same(found, gf.function(program)())


def test_threads_change_no_bit() -> None:
    """A draw large enough for the pool equals its pieces, which are not."""
    whole = random.stateless_normal([1 << 19], [4, 4]).numpy()
    generator = random.Generator.from_state(np.array([0, int(gf.ops.random_state([4, 4])[1])]))
    pieces = [generator.normal([1 << 13]).numpy() for _ in range(64)]
    np.testing.assert_array_equal(whole, np.concatenate(pieces))


def test_fusion_changes_no_bit() -> None:
    @gf.function
    def alone():
        return random.stateless_normal([40, 5], [1, 2])

    @gf.function
    def fused(x):
        z = random.stateless_normal([40, 5], [1, 2])
        return gf.reduce_sum(gf.exp(z) * x, 1), z, gf.transpose(z) * 2.0

    z = alone()
    total, same, turned = fused(gf.ones([40, 5]))
    np.testing.assert_array_equal(z, same)
    np.testing.assert_array_equal(gf.transpose(z) * 2.0, turned)
    np.testing.assert_array_equal(gf.reduce_sum(gf.exp(z) * gf.ones([40, 5]), 1), total)


# Global and op seeds --------------------------------------------------------------------------------------------------
def test_the_global_seed_restarts_every_stream() -> None:
    def four():
        return random.uniform([2]), random.normal([2], seed=1), random.uniform([2]), random.normal([2], seed=1)

    random.set_seed(1)
    first = four()
    assert differs(first[0], first[2]) and differs(first[1], first[3])
    assert differs(first, four())
    random.set_seed(1)
    assert_same(first, four())
    random.set_seed(2)
    assert differs(first, four())


def test_op_seeds_are_streams_of_their_own() -> None:
    random.set_seed(5)
    a = [random.uniform([3], seed=1), random.uniform([3], seed=2), random.uniform([3])]
    random.set_seed(5)
    b = [random.uniform([3]), random.uniform([3], seed=2), random.uniform([3], seed=1)]
    assert_same(a, b[::-1])
    assert differs(a[0], a[1])


def test_a_compiled_function_follows_set_seed_without_a_retrace() -> None:
    @gf.function
    def draw():
        return random.normal([3]), random.uniform([2], seed=4)

    random.set_seed(1)
    first = [draw(), draw()]
    random.set_seed(1)
    assert_same(first, [draw(), draw()])
    random.set_seed(1)
    assert_same(first[0], draw.python_function())
    assert draw.experimental_get_tracing_count() == 1


def test_a_failed_call_draws_nothing() -> None:
    generator = random.Generator.from_seed(2)

    @gf.function
    def checked(x):
        noise = generator.normal([2])
        gf.Assert(gf.reduce_all(x > 0), ["must be positive"])
        return noise + generator.normal([2])

    generator.reset_from_seed(2)
    with pytest.raises(AssertionError):
        checked(gf.constant([-1.0]))
    np.testing.assert_array_equal(generator.state[0], 0)
    checked(gf.constant([1.0]))
    np.testing.assert_array_equal(generator.state[0], 4)


# Generators -----------------------------------------------------------------------------------------------------------
def test_making_and_copying_generators() -> None:
    a = random.Generator.from_seed(1)
    a.normal([3])
    b, c = random.Generator(copy_from=a), copy.deepcopy(a)
    d = random.Generator.from_state(a.state)
    e = random.Generator.from_key_counter(a.key, a.state[0])
    draws = [g.normal([4]) for g in (a, b, c, d, e)]
    for draw in draws[1:]:
        assert_same(draws[0], draw)
    assert differs(random.Generator.from_seed(2).normal([4]), random.Generator.from_seed(1).normal([4]))
    assert differs(
        random.Generator.from_non_deterministic_state().normal([4]),
        random.Generator.from_non_deterministic_state().normal([4]),
    )
    philox_like = random.Generator.from_state(np.array([5, 0, 9]), alg="philox")
    assert_same(philox_like.normal([2]), random.Generator.from_key_counter(9, 5).normal([2]))
    a.reset([7, 8])
    b.reset_from_key_counter(8, 7)
    assert_same(a.uniform([3]), b.uniform([3]))


def test_splitting_moves_the_stream_on() -> None:
    a = random.Generator.from_seed(1)
    children = a.split(3)
    again = random.Generator.from_seed(1)
    assert_same([g.normal([2]) for g in children], [g.normal([2]) for g in again.split(3)])
    assert_same(a.normal([2]), again.normal([2]))
    seeds = a.make_seeds(4)
    assert seeds.shape == (2, 4) and seeds.dtype is gf.int64
    assert len({tuple(c) for c in seeds.numpy().T.tolist()}) == 4


def test_the_global_generator() -> None:
    before = random.get_global_generator()
    assert before is random.get_global_generator()
    try:
        random.set_global_generator(random.Generator.from_seed(11))
        first = random.get_global_generator().normal([3])
        assert_same(first, random.Generator.from_seed(11).normal([3]))
        with pytest.raises(InvalidArgumentError, match="Generator"):
            random.set_global_generator(3)
    finally:
        random.set_global_generator(before)


def test_threads_never_get_the_same_draw() -> None:
    generator = random.Generator.from_seed(1)
    found: list[list[float]] = [[] for _ in range(4)]

    def work(k: int) -> None:
        for _ in range(200):
            found[k].append(float(generator.uniform([], dtype=gf.float64)))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    drawn = [v for own in found for v in own]
    assert len(set(drawn)) == 800
    generator.reset_from_seed(1)
    np.testing.assert_array_equal(np.sort(drawn), np.sort(generator.uniform([800], dtype=gf.float64)))


# Seeds of stateless draws ---------------------------------------------------------------------------------------------
def test_splitting_and_folding_seeds() -> None:
    for dtype in (gf.int32, gf.int64):
        seed = gf.constant([3, 4], dtype)
        parts = random.split(seed, 3)
        assert parts.shape == (3, 2) and parts.dtype is dtype
        assert len({tuple(p) for p in parts.numpy().tolist()}) == 3
        folded = [random.fold_in(seed, gf.constant(k, dtype)) for k in range(3)]
        assert all(f.shape == (2,) and f.dtype is dtype for f in folded)
        draws = [random.stateless_uniform([4], s) for s in (seed, *parts, *folded)]
        for k, draw in enumerate(draws):
            assert all(differs(draw, other) for other in draws[k + 1 :])
    assert_same(random.split([3, 4]), random.experimental.stateless_split([3, 4]))


def test_a_seed_may_be_computed() -> None:
    @gf.function
    def step(seed, k):
        return random.stateless_normal([3], random.fold_in(seed, k))

    seed = gf.constant([1, 2], gf.int64)
    for k in range(3):
        assert_same(step(seed, gf.constant(k)), random.stateless_normal([3], random.fold_in(seed, gf.constant(k))))


# Errors ---------------------------------------------------------------------------------------------------------------
ERRORS: list[tuple[str, Any, type[Exception], str]] = [
    ("no maxval", lambda: random.uniform([2], dtype=gf.int32), InvalidArgumentError, "maxval"),
    ("no maxval", lambda: random.stateless_uniform([2], [1, 2], dtype=gf.int32), InvalidArgumentError, "both"),
    ("one bound", lambda: random.stateless_uniform([2], [1, 2], None, 4, gf.int32), InvalidArgumentError, "both"),
    ("unsigned", lambda: random.stateless_uniform([2], [1, 2], 0, 4, gf.uint32), InvalidArgumentError, "whole range"),
    ("empty", lambda: random.uniform([2], 3, 3, gf.int32), InvalidArgumentError, "minval < maxval"),
    ("dtype", lambda: random.uniform([2], dtype=gf.int8, maxval=3), DTypeError, "int8"),
    ("dtype", lambda: random.normal([2], dtype=gf.int32), DTypeError, "int32"),
    ("dtype", lambda: random.stateless_poisson([2], [1, 2], 3.0, gf.uint8), DTypeError, "uint8"),
    ("seed", lambda: random.stateless_normal([2], [1, 2, 3]), ShapeError, r"shape \[2\]"),
    ("seed", lambda: random.stateless_normal([2], [1.0, 2.0]), DTypeError, "integers"),
    ("shape", lambda: random.normal([-2]), ShapeError, "negative"),
    ("mean", lambda: random.normal([2], gf.constant(1.0, gf.float64)), DTypeError, "mean"),
    ("broadcast", lambda: random.normal([2], gf.zeros([3])), ShapeError, "broadcast"),
    ("logits", lambda: random.categorical([1.0, 2.0], 3), ShapeError, "batch"),
    ("logits", lambda: random.categorical([[1, 2]], 3), DTypeError, "floats"),
    ("alg", lambda: random.Generator.from_seed(1, alg="mersenne"), InvalidArgumentError, "mersenne"),
    ("state", lambda: random.Generator.from_state([1, 2, 3, 4]), ShapeError, "state"),
    ("nothing", lambda: random.Generator(), InvalidArgumentError, "copy_from"),
    ("data", lambda: random.fold_in([1, 2], gf.constant(1.0)), DTypeError, "data"),
    ("full", lambda: random.Generator.from_seed(1).uniform_full_int([2], gf.float32), InvalidArgumentError, "integers"),
]


@pytest.mark.parametrize(("call", "kind", "words"), [e[1:] for e in ERRORS], ids=[e[0] for e in ERRORS])
def test_errors_in_both_modes(call: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        call()
    with pytest.raises(kind, match=words) as caught:
        gf.function(lambda: call())()
    assert "test_streams.py" in str(caught.value)


def test_bounds_that_are_tensors_are_checked_when_the_function_runs() -> None:
    @gf.function
    def draw(low, high):
        return random.stateless_uniform([5], [1, 2], low, high, gf.int32)

    assert_same(draw(gf.constant(2), gf.constant(9)), random.stateless_uniform([5], [1, 2], 2, 9, gf.int32))
    with pytest.raises(InvalidArgumentError, match="minval < maxval"):
        draw(gf.constant(9), gf.constant(2))


def test_parameters_may_be_tensors_that_broadcast() -> None:
    mean, deviation = gf.constant([[0.0], [100.0]]), gf.constant([1.0, 2.0, 3.0])
    found = random.stateless_normal([2, 3], [1, 2], mean, deviation)
    standard = random.stateless_normal([2, 3], [1, 2])
    np.testing.assert_array_equal(found, standard * deviation + mean)
    gammas = random.gamma([5], gf.constant([1.0, 2.0]), gf.constant([[1.0], [3.0], [4.0]]))
    assert gammas.shape == (5, 3, 2)
    assert random.poisson([4], gf.constant([1.0, 2.0])).shape == (4, 2)


def test_gradients_reach_the_parameters_that_scale() -> None:
    mean, deviation = gf.Variable(1.0), gf.Variable(2.0)
    with gf.GradientTape() as tape:
        loss = gf.reduce_sum(random.stateless_normal([5], [1, 2], mean.value(), deviation.value()))
    gradients = tape.gradient(loss, [mean, deviation])
    np.testing.assert_allclose(gradients[0], 5.0)
    np.testing.assert_allclose(gradients[1], np.sum(random.stateless_normal([5], [1, 2])), rtol=1e-5)
    rate = gf.Variable(2.0)
    with gf.GradientTape() as tape:
        draws = random.stateless_gamma([5], [1, 2], 3.0, rate.value())
        loss = gf.reduce_sum(draws)
    np.testing.assert_allclose(tape.gradient(loss, rate), -np.sum(draws) / 2, rtol=1e-5)
