"""The generator itself: published vectors, counters, and that an element depends on key and counter alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import graphflow as gf
from graphflow import ops
from graphflow.ops.random import threefry

#: Threefry-2x32, 20 rounds: the known-answer vectors of Random123 (counter words, key words, block words).
VECTORS = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


def joined(words: tuple[int, int]) -> int:
    return words[0] | words[1] << 32


def state_of(counter: int, key: int) -> gf.Tensor:
    return gf.constant(np.array([counter, key], np.uint64).view(np.int64))


@pytest.mark.parametrize(("counter", "key", "block"), VECTORS)
def test_published_vectors(counter, key, block) -> None:
    c, k = np.uint64(joined(counter)), np.uint64(joined(key))
    assert int(threefry(k, c)) == joined(block)
    assert int(ops.random_block(gf.constant(k), gf.constant(c))) == joined(block)
    assert int(gf.function(lambda a, b: ops.random_block(a, b))(gf.constant(k), gf.constant(c))) == joined(block)
    drawn = ops.random_bits(state_of(joined(counter), joined(key)), shape=(1,), dtype=gf.uint64)
    assert int(drawn) == joined(block)


@pytest.mark.parametrize("start", [0, 2**32 - 3, 2**63 - 3, 2**64 - 3, 5 * 2**40 + 2**32 - 1])
def test_counters_carry_into_the_upper_word_and_wrap(start: int) -> None:
    key = 0x1234567890ABCDEF
    found = ops.random_bits(state_of(start, key), shape=(7,), dtype=gf.uint64).numpy()
    counters = np.array([(start + k) % 2**64 for k in range(7)], np.uint64)
    np.testing.assert_array_equal(found, threefry(np.uint64(key), counters))


def test_skipping_ends_where_drawing_ends() -> None:
    a, b = gf.random.Generator.from_seed(9), gf.random.Generator.from_seed(9)
    a.skip(2**33 + 5)
    b.skip(2**33)
    b.uniform([5])
    np.testing.assert_array_equal(a.state.numpy(), b.state.numpy())
    a.skip(gf.constant(7))
    b.normal([7])
    np.testing.assert_array_equal(a.normal([3]), b.normal([3]))
    c = gf.random.Generator.from_state([2**63 - 2, 4])
    c.uniform([4])
    np.testing.assert_array_equal(c.state.numpy(), [-(2**63) + 2, 4])


def test_elements_depend_on_their_row_major_place_alone() -> None:
    long = gf.random.stateless_uniform([60], [1, 2]).numpy()
    for shape in ([3, 20], [2, 5, 6], [60, 1], [1, 1, 60]):
        np.testing.assert_array_equal(gf.random.stateless_uniform(shape, [1, 2]).numpy().ravel(), long)
    np.testing.assert_array_equal(gf.random.stateless_uniform([17], [1, 2]), long[:17])
    for draw in (
        lambda n: gf.random.stateless_gamma([n], [1, 2], 0.7),
        lambda n: gf.random.stateless_poisson([n], [1, 2], 30.0),
        lambda n: gf.random.stateless_binomial([n], [1, 2], 90, 0.4),
    ):
        np.testing.assert_array_equal(draw(9), draw(40)[:9])


def test_an_element_draw_ignores_its_neighbours_parameters() -> None:
    alone = gf.random.stateless_gamma([4], [3, 4], [2.0, 2.0, 2.0, 2.0]).numpy()
    mixed = gf.random.stateless_gamma([4], [3, 4], [2.0, 0.01, 2.0, 900.0]).numpy()
    np.testing.assert_array_equal(alone[[0, 2]], mixed[[0, 2]])
    alone = gf.random.stateless_poisson([4], [3, 4], [20.0, 20.0, 20.0, 20.0]).numpy()
    mixed = gf.random.stateless_poisson([4], [3, 4], [20.0, 0.3, 20.0, 1e7]).numpy()
    np.testing.assert_array_equal(alone[[0, 2]], mixed[[0, 2]])


def test_words_and_keys_are_independent() -> None:
    """Correlations of neighbouring elements, of the two words, and of the streams of neighbouring seeds."""
    count = 1 << 17
    draws = {
        "seed (0, 0)": gf.random.stateless_uniform([count], [0, 0], dtype=gf.float64).numpy(),
        "seed (0, 1)": gf.random.stateless_uniform([count], [0, 1], dtype=gf.float64).numpy(),
        "seed (1, 0)": gf.random.stateless_uniform([count], [1, 0], dtype=gf.float64).numpy(),
    }
    words = ops.random_bits(state_of(0, 77), shape=(count,), dtype=gf.uint64).numpy()
    draws["low"], draws["high"] = (words & np.uint64(2**32 - 1)) / 2.0**32, (words >> np.uint64(32)) / 2.0**32
    first = draws["seed (0, 0)"]
    draws["shifted"] = np.roll(first, 1)
    for k, split in enumerate(gf.random.Generator.from_seed(1).split(2)):
        draws[f"split {k}"] = split.uniform([count], dtype=gf.float64).numpy()
    correlations = np.corrcoef(np.stack(list(draws.values())))
    assert np.abs(correlations - np.eye(len(draws))).max() < 5 / np.sqrt(count)


def test_every_bit_is_fair_and_runs_are_as_long_as_chance_has_them() -> None:
    words = ops.random_bits(state_of(0, 5), shape=(1 << 16,), dtype=gf.uint64).numpy()
    bits = np.unpackbits(words.view(np.uint8)).reshape(-1, 64)
    deviation = (bits.mean(0) - 0.5) * 2 * np.sqrt(len(bits))
    assert np.abs(deviation).max() < 4.5
    stream = bits.ravel()
    changes = int((stream[1:] != stream[:-1]).sum())
    assert abs(changes - (stream.size - 1) / 2) < 4.5 * np.sqrt(stream.size) / 2
    bytes_seen = np.bincount(words.view(np.uint8), minlength=256)
    assert stats.chisquare(bytes_seen).pvalue > 1e-4


@pytest.mark.parametrize("seed", [0, -1, 2**64 - 1, 2**64, 3**80, -(3**80), [1, 2, 3]])
def test_seeds_of_every_size_begin_streams_of_their_own(seed) -> None:
    state = gf.random.create_rng_state(seed)
    assert state.dtype == np.int64 and state[0] == 0
    others = [gf.random.create_rng_state(s)[1] for s in (1, 2, -2, [1, 2], [2, 1], 3**81)]
    assert state[1] not in others and len(set(others)) == len(others)
