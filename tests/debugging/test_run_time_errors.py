"""Errors of compiled calls: op, element, the user's line, the values at fault; the same words as in eager mode."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import GraphflowError


def line_of(text: str) -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith("# " + text)]
    return found


def divides(x, y):
    shifted = x * 2 + 1
    return gf.reduce_sum((shifted - 1) // y)  # the division


def remainder(x, y):
    return (x + x) % y  # the remainder


def power(x, y):
    return (x + 1) ** y  # the power


def picks(x, y):
    return gf.gather(x * 2, y + 1)  # the pick


def picks_pairs(x, y):
    return gf.gather_nd(x, y)  # the pairs


CASES = [
    (divides, [3, 4], [1, 0], "floordiv: integer division by zero at [1]: 8 and 0", "the division"),
    (
        remainder,
        [[3, 4], [5, 6]],
        [[1, 1], [0, 1]],
        "floormod: integer division by zero at [1, 0]: 10 and 0",
        "the remainder",
    ),
    (power, [3, 4], [2, -1], "pow: integer power with a negative exponent at [1]: 5 and -1", "the power"),
    (picks, [3, 4, 5], [0, 2], "gather: index out of range at [1]: index 3, extent 3", "the pick"),
    (picks, [3, 4, 5], [-3, 2], "gather: index out of range at [0]: index -2, extent 3", "the pick"),
    (picks_pairs, [[3, 4]], [[0, 0], [0, 7]], "gather_nd: index out of range at [1]: index 7, extent 2", "the pairs"),
]


@pytest.mark.parametrize(("function", "x", "y", "message", "place"), CASES)
def test_values_and_element_in_both_modes(function, x, y, message, place):
    x, y = gf.constant(x), gf.constant(y)
    texts = []
    compiled = gf.function(function)
    for run in (function, compiled, compiled, compiled):  # the fast call too
        with pytest.raises(GraphflowError) as caught:
            run(x, y)
        texts.append(str(caught.value))
    assert texts[1].startswith(message), texts[1]
    assert f"test_run_time_errors.py:{line_of(place)}" in texts[1]
    assert "next: " in texts[1]
    assert texts[1] == texts[2] == texts[3]
    assert texts[0].split("\n")[0] == texts[1].split("\n")[0]


def test_assert_shows_the_condition_and_the_data():
    @gf.function
    def check(x, limit):
        total = gf.cumsum(x) if hasattr(gf, "cumsum") else x * 2
        gf.Assert(total < limit, ["over the limit", total, limit])
        return total

    with pytest.raises(AssertionError) as caught:
        check(gf.constant([1, 20]), gf.constant(15))
    text = str(caught.value)
    assert text.startswith("Assert: over the limit at [1] (1 of 2 elements); [")
    assert "15" in text


def test_the_values_of_variables_are_those_of_the_call(capsys):
    state = gf.Variable([8, 9])

    @gf.function
    def step(d):
        gf.print("dividing", output_stream=sys.stdout)
        state.assign_add([1, 1])
        state.assign(state // d)
        return state * 1

    step(gf.constant([1, 1]))
    assert capsys.readouterr().out == "dividing\n"
    with pytest.raises(ZeroDivisionError, match=r"at \[1\]: 11 and 0"):
        step(gf.constant([3, 0]))
    assert state.numpy().tolist() == [9, 10], "nothing has changed"
    assert capsys.readouterr().out in ("", "dividing\n"), "not printed a second time to find the values"
    assert step(gf.constant([1, 2])).numpy().tolist() == [10, 5]


def test_tapes_do_not_see_the_second_run():
    compiled = gf.function(lambda x, d: (x // d, gf.cast(x, gf.float32)))
    with gf.GradientTape(persistent=True) as tape:
        x = gf.constant(2.0)
        tape.watch(x)
        with pytest.raises(ZeroDivisionError):
            compiled(gf.constant([1]), gf.constant([0]))
        y = x * x
    assert float(tape.gradient(y, x)) == 4.0


def test_threads_get_their_own_values():
    compiled = gf.function(lambda x, d: (x + 1) // d)
    compiled(gf.constant([1]), gf.constant([1]))
    found = {}

    def run(number):
        for _ in range(5):
            try:
                compiled(gf.constant([number]), gf.constant([0]))
            except ZeroDivisionError as error:
                found.setdefault(number, set()).add(str(error).split("\n")[0])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: {f"floordiv: integer division by zero at [0]: {n + 1} and 0"} for n in range(4)}


def test_a_large_element_number_in_a_fused_kernel():
    size = 100_000
    x, d = np.arange(size, dtype=np.int32), np.ones(size, np.int32)
    d[77_777] = 0
    compiled = gf.function(lambda x, d: gf.reduce_max((x * 3 + 1) // d - 5))
    with pytest.raises(ZeroDivisionError, match=r"at \[77777\]: 233332 and 0"):
        compiled(gf.constant(x), gf.constant(d))
