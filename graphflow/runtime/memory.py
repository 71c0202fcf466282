"""Placing intervals in an arena."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["ALIGNMENT", "pack"]

ALIGNMENT = 64


def pack(sizes: Sequence[int], lifetimes: Sequence[tuple[int, int]]) -> tuple[list[int], int]:
    """Offsets (aligned) for intervals so that no two alive at once overlap, and the arena's size. Largest first, lowest fit: the
    greedy-by-size strategy (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020)."""
    rounded = [-(-size // ALIGNMENT) * ALIGNMENT for size in sizes]
    offsets = [0] * len(sizes)
    placed: list[int] = []
    total = 0
    for k in sorted(range(len(sizes)), key=lambda k: (-rounded[k], k)):
        first, last = lifetimes[k]
        at = 0
        for other in sorted(
            (o for o in placed if lifetimes[o][0] <= last and first <= lifetimes[o][1]), key=lambda o: offsets[o]
        ):
            if at + rounded[k] <= offsets[other]:
                break
            at = max(at, offsets[other] + rounded[other])
        offsets[k] = at
        placed.append(k)
        total = max(total, at + rounded[k])
    return offsets, total
