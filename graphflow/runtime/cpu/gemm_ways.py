"""Which code a matrix multiplication runs: one set of rules, written once and evaluated twice.

As LLVM IR (over `Text`) they are what the native code does with the extents of a call. Over `Known`, where an extent
is an integer or None, they tell while a program is compiled which of the library's parts it needs, so that nothing
else is compiled:

    small    little work: no packing buffers beyond the stack frame, no blocks, no threads
    vector   one row of C (or one column, which is the same) longer than two vectors
    tiles    everything else
    any      chooses between vector and tiles at run time, where extents are symbolic
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .gemm_tiles import Tiling

__all__ = ["PARTS", "SMALL_DEPTH", "SMALL_WORK", "Known", "oriented", "part_of", "ways"]

PARTS = ("small", "vector", "tiles", "any")
SMALL_WORK = 4096
"""Multiply-adds up to which the part `small` is used: 4x4x4 takes 12 instead of 32 ns, 16x16x16 the same as by
`tiles`; from there on `tiles` is faster (100x8x8: 180 to 206 ns)."""
SMALL_DEPTH = 512
"""Steps of k up to which it is used: its packing buffer is one vector wide, on the stack, and not cut into blocks."""


class Known:
    """Arithmetic on what is known: integers and truth values, or None for what only the call will tell."""

    def mul(self, left: int | None, right: int | None) -> int | None:
        """left * right."""
        return None if left is None or right is None else left * right

    def equal(self, left: int | None, right: int | None) -> bool | None:
        """left == right."""
        return None if left is None or right is None else left == right

    def at_most(self, left: int | None, right: int | None) -> bool | None:
        """left <= right."""
        return None if left is None or right is None else left <= right

    def both(self, left: bool | None, right: bool | None) -> bool | None:
        """left and right: false if one is, whatever the other."""
        return False if left is False or right is False else None if left is None or right is None else True

    def either(self, left: bool | None, right: bool | None) -> bool | None:
        """left or right: true if one is, whatever the other."""
        return True if left is True or right is True else None if left is None or right is None else False

    def negate(self, condition: bool | None) -> bool | None:
        """not condition."""
        return None if condition is None else not condition

    def choose(self, condition: bool | None, yes: int | None, no: int | None) -> int | None:
        """yes if condition else no."""
        return yes if yes == no or condition is True else no if condition is False else None


def oriented(of: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The problem to compute: a column of C turned into a row.

    A column is as good as a row: C' = B' A' has the same products, sums and order, and its columns are adjacent.
    """
    turn = of.both(of.equal(fields["n"], 1), of.equal(fields["c_row"], 1))
    exchanged = {
        "m": "n", "n": "m", "a_batch": "b_batch", "b_batch": "a_batch",
        "a_row": "b_column", "b_column": "a_row", "a_column": "b_row", "b_row": "a_column",
    }  # fmt: skip
    pointers = {"a": "b", "b": "a"} if "a" in fields else {}
    result = dict(fields)
    result |= {name: of.choose(turn, fields[other], fields[name]) for name, other in exchanged.items()}
    result |= {name: of.choose(turn, fields[other], fields[name], "ptr") for name, other in pointers.items()}
    return result


def ways(of: Any, tiling: Tiling, f: Mapping[str, Any]) -> dict[str, Any]:
    """Truth values about an oriented problem.

    adjacent: neighbouring columns of B are adjacent; narrow: C is one vector wide; long: one row of C, more than two
    vectors; line: one row of C, B transposed; vector, small: which part.
    """
    lanes = tiling.lanes
    single, adjacent = of.equal(f["m"], 1), of.equal(f["b_column"], 1)
    narrow, medium = of.at_most(f["n"], lanes), of.at_most(f["n"], 2 * lanes)
    long = of.both(single, of.negate(medium))
    line = of.both(of.both(single, of.equal(f["b_row"], 1)), of.negate(adjacent)) if tiling.is_float else of.equal(0, 1)
    work = of.mul(of.mul(f["batch"], f["k"]), of.mul(f["m"], f["n"]))
    little = of.both(of.at_most(work, SMALL_WORK), of.at_most(f["k"], SMALL_DEPTH))
    return {
        "adjacent": adjacent, "narrow": narrow, "long": long, "line": line, "vector": of.either(long, line),
        "small": little,
    }  # fmt: skip


def part_of(tiling: Tiling, fields: Mapping[str, int | None]) -> str:
    """The part of the library that a problem needs, one of PARTS, from what is known of its fields."""
    known = Known()
    found = ways(known, tiling, oriented(known, fields))
    if found["small"]:
        return "small"
    return {True: "vector", False: "tiles", None: "any"}[found["vector"]]
