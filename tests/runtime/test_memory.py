"""Placing intervals in an arena."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from graphflow.runtime.memory import ALIGNMENT, pack


def test_nothing():
    assert pack([], []) == ([], 0)


def test_one_after_the_other():
    assert pack([100, 100], [(0, 1), (1, 2)]) == ([0, 128], 256)
    assert pack([100, 100], [(0, 0), (1, 2)]) == ([0, 0], 128)


def test_gap_is_filled():
    """The small one fits between the two large ones while the middle one is dead."""
    offsets, total = pack([256, 192, 128, 64], [(0, 9), (0, 3), (0, 9), (4, 9)])
    assert total == 256 + 192 + 128
    assert offsets[3] in range(256, 448)


def test_empty_values_take_no_room():
    assert pack([0, 64, 0], [(0, 5), (0, 5), (0, 5)])[1] == 64


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 20), st.integers(0, 10)), max_size=25))
def test_no_two_alive_at_once_overlap(items):
    sizes = [size for size, _, _ in items]
    lifetimes = [(first, first + length) for _, first, length in items]
    offsets, total = pack(sizes, lifetimes)
    for k, (offset, size) in enumerate(zip(offsets, sizes, strict=True)):
        assert offset % ALIGNMENT == 0
        assert offset + size <= total
        for j in range(k):
            together = lifetimes[j][0] <= lifetimes[k][1] and lifetimes[k][0] <= lifetimes[j][1]
            apart = offset + size <= offsets[j] or offsets[j] + sizes[j] <= offset
            assert apart or not together or not size or not sizes[j]
    rounded = [-(-size // ALIGNMENT) * ALIGNMENT for size in sizes]
    peak = max(
        (sum(r for r, (a, b) in zip(rounded, lifetimes, strict=True) if a <= t <= b) for t in range(32)), default=0
    )
    assert peak <= total <= sum(rounded)
