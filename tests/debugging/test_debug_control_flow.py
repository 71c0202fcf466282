"""Debugging inside loops and branches: iteration numbers, values, lines; the compiled call and the debugged one agree."""

from __future__ import annotations

import bdb
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.cli import main

HERE = __file__


def line_of(text: str) -> int:
    lines = Path(HERE).read_text(encoding="utf-8").splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith("# " + text)]
    return found


def step(x, d):
    return lambda i, y: (i + 1, (y + x) // (d - i))  # divides


@gf.function
def repeated(x, d, n):
    _, y = gf.while_loop(lambda i, y: i < n, step(x, d), [gf.constant(0), x])  # the loop
    return y


@gf.function
def chosen(x, d):
    return gf.cond(gf.reduce_sum(x) > 0, lambda: x // d, lambda: x * d)  # the choice


@gf.function
def powers(x, n):
    return gf.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, y * y), [gf.constant(0), x])[1]  # squares


X, D = gf.constant([10, 20]), gf.constant([100, 3])


def test_a_debugged_loop_has_the_bits_of_the_compiled_one():
    for n in (0, 1, 3):
        seen: list[str] = []
        number = gf.constant(n)
        debugged = repeated(X, D, number, debug=True, on_node=lambda node, *_: seen.append(node.op.name))  # noqa: B023
        assert debugged.numpy().tolist() == repeated(X, D, number).numpy().tolist()
        assert seen.count("floordiv") == n
    for stage in ("traced", "final"):
        bases = gf.constant([1.1, 0.3, -2.0])
        assert (
            powers(bases, gf.constant(4), debug=True, stage=stage).numpy().tobytes()
            == powers(bases, gf.constant(4)).numpy().tobytes()
        )


@pytest.mark.parametrize("options", [{}, {"debug": True}], ids=["compiled", "debugged"])
def test_an_error_names_the_iteration(options):
    with pytest.raises(ZeroDivisionError) as caught:
        repeated(X, D, gf.constant(6), **options)
    text = str(caught.value)
    assert text.startswith("floordiv: integer division by zero at [1]: 56 and 0")
    assert f"test_debug_control_flow.py:{line_of('divides')}" in text
    assert f"in iteration 3 (from 0) of the loop at test_debug_control_flow.py:{line_of('the loop')}" in text


@pytest.mark.parametrize("options", [{}, {"debug": True}], ids=["compiled", "debugged"])
def test_an_error_names_the_branch(options):
    assert chosen(-X, D * 0, **options).numpy().tolist() == [0, 0]
    with pytest.raises(ZeroDivisionError) as caught:
        chosen(X, D * 0, **options)
    assert "at [0]: 10 and 0" in str(caught.value)
    assert f"in the branch 'true' of the choice at test_debug_control_flow.py:{line_of('the choice')}" in str(
        caught.value
    )


def test_assertions_in_a_loop():
    def body(i, y):
        gf.debugging.assert_less(y, 100.0, message="grows")
        return i + 1, y * y

    @gf.function
    def grow(x):
        return gf.while_loop(lambda i, y: i < 20, body, [gf.constant(0), x])[1]

    assert grow(gf.constant([1.0, 0.5])).numpy().tolist() == [1.0, 0.0]
    for options in ({}, {"debug": True}):
        with pytest.raises(AssertionError) as caught:
            grow(gf.constant([1.0, 2.0]), **options)
        assert "grows. x < y must hold, got x = 256.0 and y = 100.0 at [1] (1 of 2 elements)" in str(caught.value)
        assert "in iteration 3 (from 0)" in str(caught.value)


def test_checked_numbers_in_a_loop():
    x = gf.constant([1.0, 1.5])
    assert np.isinf(powers(x, gf.constant(20)).numpy()).any()
    gf.debugging.enable_check_numerics()
    try:
        assert powers(x, gf.constant(3)).numpy().tolist() == [1.0, 1.5**8]
        with pytest.raises(gf.errors.InvalidArgumentError, match="multiply: the result must be finite") as caught:
            powers(x, gf.constant(20))
    finally:
        gf.debugging.disable_check_numerics()
    assert "iteration 7 (from 0)" in str(caught.value)
    assert f"test_debug_control_flow.py:{line_of('squares')}" in str(caught.value)


def test_find_nan_names_the_iteration():
    report = gf.debugging.find_nan(lambda x: gf.stop_gradient(powers(x, gf.constant(20))), gf.constant([1.0, 1.5]))
    assert report.origin.op == "multiply"
    assert report.origin.value == np.inf
    assert "iteration 7 (from 0)" in report.origin.within[0]


def test_find_nan_explains_the_masked_branch_in_a_loop():
    @gf.function
    def roots(x, n):
        y = x
        for _ in gf.range(n):
            y = gf.where(y > 0.5, gf.sqrt(y - 0.5), y)
        return gf.reduce_sum(y)

    report = gf.debugging.find_nan(roots, gf.constant([1.0, 0.5]), gf.constant(3))
    assert report.origin.op == "sqrt"
    assert "iteration 2 (from 0)" in report.origin.within[0]
    assert "masked-branch trap" in report.explanation


def test_a_loop_that_fails_is_reproduced(tmp_path, capsys):
    with gf.debugging.write_reproductions(tmp_path), pytest.raises(ZeroDivisionError) as caught:
        repeated(X, D, gf.constant(6))
    assert main(["run", caught.value.reproduction]) == 3
    assert "iteration 3 (from 0)" in capsys.readouterr().out
    path = gf.debugging.reproduce(powers, gf.constant([1.1, 2.0]), gf.constant(3), path=tmp_path / "powers.graphflow")
    for how in ([], ["--eager"], ["--stage", "fuse"]):
        assert main(["run", path, *how]) == 0
    assert capsys.readouterr().out.count(" 256]\n") == 3


def test_a_failing_loop_leaves_the_variables_alone():
    v = gf.Variable([1, 2])

    @gf.function
    def accumulate(d, n):
        def body(i):
            v.assign_add([1, 1])
            v.assign(v // (d - i))
            return i + 1

        gf.while_loop(lambda i: i < n, body, [gf.constant(0)])

    for options in ({}, {"debug": True}):
        with pytest.raises(ZeroDivisionError, match="and 0"):
            accumulate(gf.constant(2), gf.constant(5), **options)
        assert v.numpy().tolist() == [1, 2]


def test_the_users_own_exception_under_a_tensor_condition(tmp_path, capsys):
    @gf.function
    def refuse(x):
        if gf.reduce_sum(x) > 100.0:
            raise KeyError("too large")
        return x * 2.0

    assert float(refuse(gf.constant(1.0))) == 2.0
    for options in ({}, {"debug": True}):
        with pytest.raises(KeyError, match="too large"):
            refuse(gf.constant(200.0), **options)
    with gf.debugging.write_reproductions(tmp_path), pytest.raises(KeyError) as caught:
        refuse(gf.constant(200.0))
    for path in (caught.value.reproduction, gf.debugging.reproduce(refuse, gf.constant(200.0), path=tmp_path / "r")):
        assert main(["run", path]) == 3
        assert "too large" in capsys.readouterr().out


# Python's own loops and branches --------------------------------------------------------------------------------------
@gf.function
def written_in_python(x, n):
    total = x * 0.0
    for k in gf.range(n):
        if gf.reduce_sum(total) > 10.0:
            total = total - 1.0  # less
        else:
            total = total + x * gf.cast(k, gf.float32)  # more
    return total


def test_a_debugger_stops_in_each_iteration():
    x, n = gf.constant([1.0, 2.0]), gf.constant(5)
    expected = written_in_python(x, n)

    class Debugger(bdb.Bdb):
        stops: list[tuple[int, list[float]]] = []  # noqa: RUF012

        def user_line(self, frame: Any) -> None:
            if self.break_here(frame):
                self.stops.append((frame.f_lineno, frame.f_locals["total"].numpy().tolist()))
            self.set_continue()

    debugger = Debugger()
    for text in ("less", "more"):
        assert debugger.set_break(HERE, line_of(text)) is None
    debugged = debugger.runcall(written_in_python, x, n, debug=True)
    assert debugged.numpy().tobytes() == expected.numpy().tobytes()
    more, less = line_of("more"), line_of("less")
    assert debugger.stops == [
        (more, [0.0, 0.0]),
        (more, [0.0, 0.0]),
        (more, [1.0, 2.0]),
        (more, [3.0, 6.0]),
        (less, [6.0, 12.0]),
    ]


def test_values_that_grow_and_random_draws(tmp_path):
    generator = gf.random.Generator.from_seed(3)

    @gf.function
    def grow(x, n):
        _, y = gf.while_loop(
            lambda i, y: i < n,
            lambda i, y: (i + 1, gf.concat([y, y[:1] * 2.0 + gf.zeros_like(y[:1])], 0)),
            [gf.constant(0), x],
            shape_invariants=[gf.TensorShape([]), gf.TensorShape([None])],
        )
        return gf.reduce_sum(y) + gf.cast(gf.shape(y)[0], gf.float32), y, generator.normal([2])

    arguments = gf.constant([1.0, 2.0]), gf.constant(3)
    path = gf.debugging.reproduce(grow, *arguments, path=tmp_path / "grow.graphflow")
    assert main(["run", path]) == 0
    total, grown, drawn = grow(*arguments)
    assert float(total) == 14.0
    assert grown.numpy().tolist() == [1.0, 2.0, 2.0, 2.0, 2.0]
    for stage in ("traced", "final"):
        generator.reset_from_seed(3)
        debugged = grow(*arguments, debug=True, stage=stage)
        assert [d.numpy().tobytes() for d in debugged] == [v.numpy().tobytes() for v in (total, grown, drawn)]
    gf.debugging.enable_check_numerics()
    try:
        assert grow(*arguments)[1].numpy().tolist() == [1.0, 2.0, 2.0, 2.0, 2.0]
        with pytest.raises(gf.errors.InvalidArgumentError, match="from inf and 2"):
            grow(gf.constant([np.inf, 2.0]), gf.constant(3))
    finally:
        gf.debugging.disable_check_numerics()
