"""Errors of control flow: typed, naming the form, the variable, both values, the user's line, and the next step."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import graphflow as gf
from graphflow import errors

X = np.ones(3, np.float32)


def grow(x):
    return gf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, gf.concat([y, y], 0)), (0, x))


def run_time(x):
    return gf.cond(x[0] > 0, lambda: x[:2], lambda: x)


CASES = {
    "branches of two dtypes": (
        lambda x: gf.cond(x[0] > 0, lambda: x, lambda: 1),
        errors.DTypeError, r"cond: the result is i32\[\] after the false_fn and f32\[3\] after the true_fn", "gf.cast",
    ),
    "branches of two structures": (
        lambda x: gf.cond(x[0] > 0, lambda: (x, x), lambda: x),
        errors.BranchError, r"cond: .* f32\[3\] after the false_fn and \(f32\[3\], f32\[3\]\) after the true_fn", "structure",
    ),
    "branches of two ranks": (
        lambda x: gf.cond(x[0] > 0, lambda: {"a": x}, lambda: {"a": x[0]}),
        errors.ShapeError, r"the result\['a'\] is f32\[\] after the false_fn and f32\[3\]", "reshape",
    ),
    "branches of two objects": (
        lambda x: gf.cond(x[0] > 0, lambda: (x, "a"), lambda: (x, None)),
        errors.BranchError, r"the result\[1\] is None after the false_fn and 'a'", "kind",
    ),
    "a condition that is a vector": (
        lambda x: gf.cond(x > 0, lambda: x, lambda: x), errors.ShapeError, r"cond: .*rank 0, got b1\[3\]", "gf.where",
    ),
    "a condition that is a number": (
        lambda x: gf.cond(x[0], lambda: x, lambda: x), errors.DTypeError, r"cond: .*a bool, got f32\[\]", "x > 0",
    ),
    "a branch that is no function": (
        lambda x: gf.cond(x[0] > 0, lambda: x, 3), errors.BranchError, "false_fn must be a function, got 3", "",
    ),
    "an index that is a float": (
        lambda x: gf.switch_case(x[0], [lambda: x]), errors.DTypeError, r"branch_index must be an int.*f32\[\]", "",
    ),
    "a loop variable that grows": (
        grow, errors.ShapeError, r"while_loop: 'y' is f32\[3\] before the loop and f32\[6\] after", "shape_invariants",
    ),
    "a loop variable that changes its dtype": (
        lambda x: gf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, gf.cast(y, gf.float64)), (0, x)),
        errors.DTypeError, r"while_loop: 'y' is f32\[3\] before the loop and f64\[3\]", "gf.cast",
    ),
    "a loop variable that changes its structure": (
        lambda x: gf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, (y, y)), (0, x)),
        errors.LoopError, r"while_loop: 'y' is f32\[3\] before the loop and \(f32\[3\], f32\[3\]\)", "keeps",
    ),
    "a missing loop variable": (
        lambda x: gf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1,), (0, x)),
        errors.LoopError, r"the body must return 2 loop variables, got 1", "in order",
    ),
    "a loop condition that is a number": (
        lambda x: gf.while_loop(lambda i, y: i, lambda i, y: (i + 1, y), (0, x)),
        errors.DTypeError, r"while_loop: the condition must be a bool, got i32\[\]", "compare",
    ),
    "an invariant that does not fit": (
        lambda x: gf.while_loop(lambda y: y[0] > 9, lambda y: (y,), (x,), shape_invariants=((None, 2),)),
        errors.ShapeError, r"invariant of 'y' is \[None, 2\], and it is f32\[3\]", "",
    ),
    "an assignment in a condition": (
        lambda x: gf.while_loop(lambda y: VARIABLE.assign(y).value()[0] > 1, lambda y: (y,), (x,)),
        errors.LoopError, "the condition assigns to the variable", "body",
    ),
    "a variable made in a branch": (
        lambda x: gf.cond(x[0] > 0, lambda: gf.Variable(1.0).value(), lambda: x[0]),
        errors.VariableCreationError, "a variable is created in the true_fn of the cond", "before the cond",
    ),
    "a run-time extent as a number": (
        lambda x: [run_time(x)[i] for i in range(run_time(x).shape[0])],
        errors.TracedBoolError, "the extent u[0-9]+ is only known at run time", "gf.range",
    ),
    "a run-time extent beside a known one": (
        lambda x: run_time(x) + x, errors.ShapeError, "add: the extents u0 and 3 must be equal", "gf.ensure_shape",
    ),
    "elements of two lengths": (
        lambda x: gf.map_fn(lambda r: r, (x, x[:2])), errors.ShapeError, r"first extent, got f32\[3\] and f32\[2\]", "",
    ),
    "a scalar of elements": (lambda x: gf.map_fn(lambda r: r, x[0]), errors.ShapeError, "rank 1 or more", ""),
    "a function of another dtype": (
        lambda x: gf.map_fn(lambda r: r > 0, x), errors.DTypeError, r"holds float32, and the value is b1\[\]", "",
    ),
    "a function of another structure": (
        lambda x: gf.scan(lambda a, b: (a, b), x), errors.LoopError, r"scan: .*got \(f32\[\], f32\[\]\)", "initializer",
    ),
    "an index out of range": (
        lambda x: gf.while_loop(lambda i, y: i < 5, lambda i, y: (i + 1, y + x[i]), (0, x)),
        errors.IndexOutOfRangeError, "index 3, extent 3", "clip",
    ),
}  # fmt: skip
VARIABLE = gf.Variable(X)


@pytest.mark.parametrize("name", CASES)
def test_error(name):
    function, kind, message, hint = CASES[name]
    with pytest.raises(kind, match=message) as caught:
        gf.function(function)(gf.constant(X))
    assert hint in str(caught.value)
    assert caught.value.place.file == __file__


def test_errors_name_the_line():
    with pytest.raises(errors.ShapeError) as caught:
        gf.function(grow)(gf.constant(X))
    lines, first = inspect.getsourcelines(grow)
    assert caught.value.place.line == first + 1
    assert lines[1].strip().removeprefix("return ") == caught.value.place.expression


def test_an_error_in_an_iteration_tells_which():
    @gf.function
    def function(x):
        return gf.while_loop(lambda i, y: i < 5, lambda i, y: (i + 1, y + x[i]), (0, x))

    with pytest.raises(IndexError, match=r"in iteration 3 \(from 0\) of the loop at test_errors.py"):
        function(gf.constant(X))


def test_a_leaked_tensor_of_a_body():
    kept = []

    @gf.function
    def function(x):
        def yes():
            kept.append(x * 2)
            return x

        gf.cond(x[0] > 0, yes, lambda: x)
        return kept[-1] + 1

    with pytest.raises(errors.TensorLeakError, match=r"x\*2|x \* 2") as caught:
        function(gf.constant(X))
    assert "outside the true_fn of the cond" in str(caught.value)
    assert "return it from the true_fn" in str(caught.value)


def test_a_failed_loop_changes_no_variable():
    variable = gf.Variable([0.0, 0.0, 0.0])

    @gf.function
    def function(x):
        def body(i, y):
            variable.assign_add(y)
            return i + 1, y + x[i]

        return gf.while_loop(lambda i, y: i < 5, body, (0, x))

    with pytest.raises(IndexError):
        function(gf.constant(X))
    assert variable.numpy().tolist() == [0, 0, 0]


def test_ensure_shape_tells_a_run_time_extent():
    @gf.function
    def function(x, n):
        y = gf.cond(n > 0, lambda: x[:2], lambda: x)
        return gf.ensure_shape(y, (2,)) + x[:2]

    x = gf.constant(X)
    assert function(x, gf.constant(1)).numpy().tolist() == [2, 2]
    with pytest.raises(errors.InvalidArgumentError, match="ensure_shape"):
        function(x, gf.constant(0))
