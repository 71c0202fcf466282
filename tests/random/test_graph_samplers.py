"""The samplers that loop, compiled: the bits of eager mode, in branches and loops, for symbolic shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf

random = gf.random

SAMPLERS: dict[str, Any] = {
    "gamma": lambda n: random.stateless_gamma([n], [1, 2], 0.7),
    "gamma rates": lambda n: random.stateless_gamma([n, 3], [1, 2], [0.2, 3.0, 80.0], [1.0, 2.0, 3.0], gf.float64),
    "gamma float16": lambda n: random.stateless_gamma([n], [1, 2], 2.0, dtype=gf.float16),
    "poisson small": lambda n: random.stateless_poisson([n], [1, 2], 3.0),
    "poisson": lambda n: random.stateless_poisson([n, 3], [1, 2], [0.1, 9.0, 1e4], gf.int64),
    "binomial": lambda n: random.stateless_binomial([n, 3], [1, 2], [3.0, 50.0, 1e6], [0.4, 0.5, 0.9]),
    "truncated": lambda n: random.stateless_parameterized_truncated_normal([n, 2], [1, 2], 0.0, 1.0, [-1.0, 4.0], 5.0),
    "categorical": lambda n: random.stateless_categorical([[0.0, 1.0, 2.0]], n, [1, 2]),
    "shuffle": lambda n: random.experimental.stateless_shuffle(gf.range(n), [1, 2]),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_compiled_bits(name: str) -> None:
    draw = SAMPLERS[name]
    for count in (1, 0, 7, 200):
        expected, found = draw(count), gf.function(lambda count=count: draw(count))()
        assert expected.dtype is found.dtype
        np.testing.assert_array_equal(np.asarray(expected), np.asarray(found))


@pytest.mark.parametrize("name", [n for n in SAMPLERS if n != "shuffle"])
def test_symbolic_extents(name: str) -> None:
    draw = SAMPLERS[name]

    @gf.function(input_signature=[gf.TensorSpec([None])])
    def like(x):
        return draw(x.shape[0])

    for count in (5, 1, 33):
        np.testing.assert_array_equal(np.asarray(like(gf.zeros([count]))), np.asarray(draw(count)))
    assert like.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 8, 13, 64, 100, 257])
def test_a_compiled_shuffle_sorts_any_number_of_rows(count: int) -> None:
    @gf.function(input_signature=[gf.TensorSpec([None], gf.int32)])
    def shuffled(x):
        return random.experimental.stateless_shuffle(x, [3, 4])

    x = gf.range(count)
    np.testing.assert_array_equal(shuffled(x), random.experimental.stateless_shuffle(x, [3, 4]))
    np.testing.assert_array_equal(np.sort(shuffled(x)), np.arange(count))


def test_draws_in_branches_and_loops_follow_program_order() -> None:
    generator = random.Generator.from_seed(1)

    def program(x, n):
        first = generator.normal([2])
        middle = gf.cond(
            x > 0,
            lambda: generator.uniform([2]) + random.normal([2], seed=1),
            lambda: generator.normal([2]) + generator.normal([2]),
        )

        def body(k, total):
            total = gf.cond(k % 2 == 0, lambda: total + generator.normal([2]), lambda: total * 2)
            return k + 1, total + random.uniform([2], seed=1)

        _, total = gf.while_loop(lambda k, total: k < n, body, [gf.constant(0), gf.zeros([2])])
        return first, middle, total, generator.binomial([2], 30.0, 0.5)

    compiled = gf.function(program)
    for x, n in ((1.0, 3), (-1.0, 4), (1.0, 0)):
        runs = []
        for run in (program, compiled):
            generator.reset_from_seed(2)
            random.set_seed(3)
            results = [run(gf.constant(x), gf.constant(n)) for _ in range(2)]
            runs.append([np.asarray(t) for t in gf.nest.flatten([results, generator.state.read_value()])])
        for a, b in zip(*runs, strict=True):
            np.testing.assert_array_equal(a, b)
    assert compiled.experimental_get_tracing_count() == 1


def test_dropout_in_a_loop_draws_a_new_mask_each_time() -> None:
    @gf.function
    def masks(x):
        def body(k, total):
            return k + 1, gf.concat([total, gf.nn.dropout(x, 0.5)[None]], 0)

        return gf.while_loop(
            lambda k, total: k < 3,
            body,
            [gf.constant(0), gf.zeros([0, 64])],
            shape_invariants=[gf.TensorShape([]), gf.TensorShape([None, 64])],
        )[1]

    found = masks(gf.ones([64])).numpy()
    assert found.shape == (3, 64) and len({row.tobytes() for row in found}) == 3
