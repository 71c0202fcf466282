"""Prints, assertions, calls of Python and run-time checks keep their order: a call that fails has printed what an eager run prints, and
of several nodes that fail the first in the program is reported."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import graphflow as gf
from graphflow import config
from graphflow.compiler import compile_graph, runtime_error
from graphflow.errors import GraphflowError
from graphflow.ir import parse
from graphflow.passes.fuse import fuse
from graphflow.passes.inline_calls import LARGEST_INLINED
from graphflow.passes.manager import PassContext, run_pipeline
from graphflow.tracing.callbacks import open_scope, run_callback

# Programs of an array, divisors, indices and a condition that an assertion wants: each of these may be bad.


def print_before_division(a, divisors, indices, fine):
    more = a + 1
    gf.print("more", more)
    return more * (a // divisors)


def two_checks(a, divisors, indices, fine):
    twice = a * 2
    found = gf.gather(a, indices)
    return twice // divisors, found


def two_checks_of_one_loop(a, divisors, indices, fine):
    return gf.gather(a, indices) + (a // divisors)


def assertion_between(a, divisors, indices, fine):
    twice = a * 2
    first = gf.gather(a, indices)
    gf.Assert(fine, ["not fine"])
    return first, twice // divisors


def checks_around_an_assertion(a, divisors, indices, fine):
    first = (a + 1) // divisors
    gf.Assert(fine, ["not fine"])
    second = gf.gather(first, indices)
    gf.print("second", second)
    return first * second


def nobody_reads_them(a, divisors, indices, fine):
    twice = a * 2
    gf.print("before")
    gf.gather(a, indices)
    gf.print("between")
    twice % divisors
    return twice


def the_same_check_twice(a, divisors, indices, fine):
    first = a // divisors
    gf.print("first")
    gf.Assert(fine, ["not fine"])
    return first + (a // divisors), gf.gather(a, indices)


def python_between(a, divisors, indices, fine):
    twice = a * 2
    log = gf.py_function(lambda x: gf.print("python", x) or x, [a], gf.TensorSpec([4], gf.int32))
    return twice // divisors, gf.gather(log, indices), gf.gather(twice, indices)


def in_a_branch(a, divisors, indices, fine):
    def then():
        twice = a * 2
        gf.print("then")
        return twice // divisors + gf.gather(a, indices)

    return gf.cond(gf.reduce_sum(a) > 0, then, lambda: a)


def beside_a_branch(a, divisors, indices, fine):
    twice = a * 2
    chosen = gf.cond(gf.reduce_sum(a) > 0, lambda: gf.gather(a, indices), lambda: a)
    return twice // divisors, chosen


def in_a_loop(a, divisors, indices, fine):
    def body(k, total):
        twice = total * 2
        gf.print("iteration", k)
        found = gf.gather(total, indices)
        gf.Assert(fine, ["not fine"])
        return k + 1, twice // divisors + found

    return gf.while_loop(lambda k, total: k < 3, body, (0, a))[1]


def before_a_loop(a, divisors, indices, fine):
    twice = a * 2

    def body(k, total):
        gf.print("iteration", k)
        return k + 1, total + gf.gather(a, indices)

    total = gf.while_loop(lambda k, total: k < 2, body, (0, a))[1]
    return twice // divisors, total


def in_a_function(a, divisors, indices, fine):
    @gf.function  # with more nodes than are inlined
    def inner(x):
        for _ in range(LARGEST_INLINED):
            x = gf.abs(x - 1)
        twice = x * 2
        found = gf.gather(x, indices)
        gf.print("inner")
        return twice // divisors + found

    return inner(inner(a))


def scalars(a, divisors, indices, fine):
    def body(k, total):
        row = a[k]
        found = gf.gather(a, indices[k])
        gf.print("row", row)
        return k + 1, total + (row * 2) // divisors[k] + found

    return gf.while_loop(lambda k, total: k < 4, body, (0, 0))[1]


PROGRAMS = [
    print_before_division, two_checks, two_checks_of_one_loop, assertion_between, checks_around_an_assertion, nobody_reads_them,
    the_same_check_twice, python_between, in_a_branch, beside_a_branch, in_a_loop, before_a_loop, in_a_function, scalars,
]  # fmt: skip
DIVISORS = [np.array(d, np.int32) for d in ([1, 2, 3, 4], [1, 2, 0, 4])]
INDICES = [np.array(k, np.int32) for k in ([3, 2, 0, 1], [3, -1, 0, 9])]


def outcome(run, printed):
    """(class and line of the error, or None, what was printed)."""
    try:
        run()
    except GraphflowError as error:
        place = error.place
        return type(error), place.line, place.expression, printed()
    return None, printed()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_outcomes_are_those_of_an_eager_run(program, capsys):
    def printed():
        return capsys.readouterr().err

    function = gf.function(program)
    a = np.arange(4, dtype=np.int32)
    outcomes = set()
    with config.override(check=True):
        executable = compile_graph(function.get_concrete_function(a, DIVISORS[0], INDICES[0], np.array(True)).graph)
    binding = executable.program.bind({}, {}, run_callback)
    for fine, divisors, indices in itertools.product([True, False], DIVISORS, INDICES):
        arrays = [a, divisors, indices, np.array(fine)]

        def native(arrays=arrays):
            """The status alone decides: no second run that looks for the first failing node."""
            with open_scope():
                status, _ = binding.run(arrays)
            if status:
                raise runtime_error(binding, status)

        wanted = outcome(lambda arrays=arrays: program(*map(gf.constant, arrays)), printed)
        assert outcome(native, printed) == wanted
        outcomes.add(wanted)
    assert len(outcomes) >= 2  # what fails first depends on what is bad


def test_looked_up_rows_are_updated_in_order(capsys):
    """The gradient's check of indices that the look-up has checked waits for nothing; indices of its own keep their place."""
    table = gf.Variable(np.ones((5, 2), np.float32))

    def step(indices, others, divisors):
        rows = gf.gather(table, indices) * 2.0
        gf.print("rows")
        table.scatter_sub(gf.IndexedSlices(rows, others))
        quotient = divisors // divisors
        gf.print("done")
        return quotient

    function = gf.function(step)
    for bad in itertools.product([False, True], repeat=3):
        arguments = [gf.constant([7 if b else 1, 1]) for b in bad[:2]] + [gf.constant([0 if bad[2] else 1, 1])]
        outcomes = []
        for run in (step, function):
            table.assign(np.ones((5, 2), np.float32))
            found = outcome(lambda run=run, arguments=arguments: run(*arguments), lambda: capsys.readouterr().err)
            outcomes.append((found, None if any(bad) else table.numpy().tolist()))
        assert outcomes[0] == outcomes[1]


def fused_bodies(body):
    inputs = "a: i32[4], d: i32[4], k: i32[4], c: i32[4], t: f32[9,4]"
    graph = parse(f"graph f({inputs}) -> () {{\n{body}\n  return\n}}")
    result, _ = run_pipeline(graph, [fuse], PassContext(), verify=True)
    return [[n.op.name for n in node.attributes["body"].nodes] for node in result.nodes if node.op.name == "fused"]


def test_what_is_fused():
    """Checks fuse with each other and with what stands around them; a check in another kernel between two of them keeps them apart."""
    together = "%0: i32[4] = multiply a, a\n%1: i32[4] = gather a, k {axis=0}\n%2: i32[4] = floordiv %0, d\n"
    assert fused_bodies(together + "%3: i32[4] = add %1, %2") == [["multiply", "gather", "floordiv", "add"]]
    assert fused_bodies("%0: i32[4] = floordiv a, d\n%1: i32[4] = add %0, c\n%2: i32[4] = floordiv %1, %1") == [
        ["floordiv", "add", "floordiv"]
    ]
    between = "%0: i32[4] = floordiv a, d\n%1: f32[4,4] = gather t, k {axis=0}\n%2: i32[4] = floormod %0, d\nprint %1 {template='{}'}"
    assert fused_bodies(between.replace("'{}'", '"{}"')) == [["floordiv"], ["gather"], ["floormod"]]
    positions = between.replace("gather t, k", "gather t, %4").replace(
        "%1: ", "%4: i32[4] = iota {shape=(4,), axis=0}\n%1: ", 1
    )
    renumbered = (
        positions.replace("%4", "%A")
        .replace("%2", "%3")
        .replace("%1", "%2")
        .replace("%A", "%1")
        .replace("'{}'", '"{}"')
    )
    assert fused_bodies(renumbered) == [["floordiv", "floormod"], ["iota"], ["gather"]]
