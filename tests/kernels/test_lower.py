"""Lowering: axes that merge, stages, rows kept between stages, places of checks."""

from __future__ import annotations

import pytest

import graphflow.ops  # noqa: F401  (registers the ops)
from graphflow.ir import parse
from graphflow.kernels.lower import KEEP_ROW_COST, lower
from graphflow.kernels.scalar import walk


def nest_of(inputs, outputs, body):
    """The nest of a body given as text."""
    return lower(parse(f"graph body({inputs}) -> ({outputs}) {{\n{body}\n}}"), "kernel")


def roles(nest):
    return [(str(axis.extent), axis.role) for axis in nest.axes]


def operations(roots):
    return [s.operation for s in walk(roots)]


AXES = {
    "contiguous": ("x: f32[2,n,4]", "f32[2,n,4]", "%0: f32[2,n,4] = exp x\nreturn %0", [("8*n", "kept")]),
    "row broadcast": ("x: f32[2,n,4], y: f32[4]", "f32[2,n,4]", "%0: f32[2,n,4] = add x, y\n"
    "return %0", [("2*n", "kept"), ("4", "kept")]),
    "column broadcast": ("x: f32[2,n,4], y: f32[2,1,1]", "f32[2,n,4]", "%0: f32[2,n,4] = add x, y\n"
    "return %0", [("2", "kept"), ("4*n", "kept")]),
    "unit axes": ("x: f32[1,n,1,4,1]", "f32[1,n,1,4,1]", "%0: f32[1,n,1,4,1] = exp x\nreturn %0", [("4*n", "kept")]),
    "scalar": ("x: f32[]", "f32[]", "%0: f32[] = exp x\nreturn %0", []),
    "empty": ("x: f32[3,0,2]", "f32[3,0,2]", "%0: f32[3,0,2] = exp x\nreturn %0", [("0", "kept")]),
    "transposed": (
        "x: f32[2,n,4]", "f32[n,2,4]", "%0: f32[n,2,4] = transpose x {permutation=(1, 0, 2)}\n"
        "%1: f32[n,2,4] = exp %0\nreturn %1",
        [("n", "kept"), ("2", "kept"), ("4", "kept")]),
    "trailing axes together": (
        "x: f32[n,3,4]", "f32[n]", "%0: f32[n] = reduce_sum x {axes=(1, 2)}\n"
        "return %0", [("n", "kept"), ("12", "trailing")]),
    "other axes together": (
        "x: f32[2,3,n]", "f32[n]", "%0: f32[n] = reduce_sum x {axes=(0, 1)}\n"
        "return %0", [("n", "kept"), ("6", "other")]),
    "other and trailing": (
        "x: f32[2,n,3]", "f32[n]", "%0: f32[n] = reduce_sum x {axes=(0, 2)}\n"
        "return %0", [("n", "kept"), ("2", "other"), ("3", "trailing")]),
    "one column": ("x: f32[n,1]", "f32[1]", "%0: f32[1] = reduce_sum x {axes=(0,)}\n"
    "return %0", [("1", "kept"), ("n", "other")]),
    "trailing of one element": (
        "x: f32[n,1]", "f32[n]", "%0: f32[n] = reduce_sum x {axes=(1,)}\n"
        "return %0", [("n", "kept"), ("1", "trailing")]),
    "positions keep axes apart": (
        "", "i32[2,n]", "%0: i32[2,n] = iota {shape=(2, n), axis=1}\nreturn %0", [("2", "kept"), ("n", "kept")]),
}  # fmt: skip


@pytest.mark.parametrize("case", AXES)
def test_axes(case):
    inputs, outputs, body, expected = AXES[case]
    if "n" not in inputs and "n" in outputs:
        inputs = "unused: f32[n]"
    assert roles(nest_of(inputs, outputs, body)) == expected


SOFTMAX = """%0: f32[n,1] = reduce_max x {axes=(1,), keepdims=True}
%1: f32[n,m] = subtract x, %0
%2: f32[n,m] = exp %1
%3: f32[n,1] = reduce_sum %2 {axes=(1,), keepdims=True}
%4: f32[n,m] = divide %2, %3"""


def test_stages():
    """A stage for each reduction that waits for another, and one for elements that wait for the last."""
    nest = nest_of("x: f32[n,m]", "f32[n,m], f32[n,1]", f"{SOFTMAX}\nreturn %4, %3")
    assert [[r.op.name for r in s.reductions] for s in nest.stages] == [["reduce_max"], ["reduce_sum"], []]
    assert [len(s.stores) for s in nest.stages] == [0, 1, 1]
    assert [s.access.buffer for s in nest.row_stores] == [2]


def test_costly_row_is_kept():
    """exp is computed once and kept in a scratch row."""
    nest = nest_of("x: f32[n,m]", "f32[n,m]", f"{SOFTMAX}\nreturn %4")
    assert [b.name for b in nest.scratch] == ["row0"]
    assert operations([s.value for s in nest.stages[2].stores]) == ["load", "reduced", "div"]


def test_costly_output_is_read_back():
    """Where exp is an output anyway, the last stage reads it from there."""
    nest = nest_of("x: f32[n,m]", "f32[n,m], f32[n,m]", f"{SOFTMAX}\nreturn %4, %2")
    assert nest.scratch == []
    (store,) = nest.stages[2].stores
    assert [s.data.buffer for s in walk([store.value]) if s.operation == "load"] == [2]


def test_cheap_row_is_computed_again():
    body = "%0: f32[n,1] = reduce_sum x {axes=(1,), keepdims=True}\n%1: f32[n,m] = subtract x, %0\nreturn %1"
    nest = nest_of("x: f32[n,m]", "f32[n,m]", body)
    assert nest.scratch == []
    assert nest.cost() < KEEP_ROW_COST


def test_reduction_sees_the_same_operand():
    """Two reductions of one value: one scalar."""
    nest = nest_of(
        "x: f32[n,m]", "f32[n], f32[n]",
        "%0: f32[n,m] = exp x\n%1: f32[n] = reduce_sum %0 {axes=(1,)}\n%2: f32[n] = reduce_max %0 {axes=(1,)}\n"
        "return %1, %2",
    )  # fmt: skip
    (stage,) = nest.stages
    assert stage.reductions[0].operand is stage.reductions[1].operand


def test_index_reduction_carries_int64():
    nest = nest_of("x: i8[n,m]", "i32[n]", "%0: i32[n] = argmax x {axis=1, output_type=i32}\nreturn %0")
    assert nest.stages[0].reductions[0].result.dtype.short == "i64"
    assert nest.row_stores[0].value.dtype.short == "i32"


def test_place_of_a_check():
    """A check names the element of its own node, not of the loop."""
    body = "%0: i32[3] = floordiv x, y\n%1: i32[3] = reverse %0 {axes=(0,)}\n%2: i32[2,3] = add %1, z\nreturn %2"
    nest = nest_of("x: i32[3], y: i32[3], z: i32[2,3]", "i32[2,3]", body)
    (check,) = nest.checks
    assert (check.kind, check.op, check.shape) == ("division_by_zero", "floordiv", (3,))
    assert (check.place.offset, check.place.strides) == (2, (0, -1))
    assert check.source.line == 2


REFUSED = {
    "x: f32[n], y: f32[m]": ("f32[n], f32[m]", "%0: f32[n] = exp x\n%1: f32[m] = exp y\n"
    "return %0, %1", "is not one element for each point"),
    "x: f32[n,m]": (
        "f32[n], f32[m]", "%0: f32[n] = reduce_sum x {axes=(1,)}\n%1: f32[m] = reduce_sum x {axes=(0,)}\nreturn %0, %1",
        "reduce different spaces"),
    "x: f32[4,6]": (
        "f32[]", "%0: f32[6,4] = transpose x {permutation=(1, 0)}\n%1: f32[] = reduce_sum %0 {axes=(0, 1)}\nreturn %1",
        "are not one axis in every operand"),
}  # fmt: skip


@pytest.mark.parametrize("inputs", REFUSED)
def test_not_one_nest(inputs):
    outputs, body, reason = REFUSED[inputs]
    with pytest.raises(ValueError, match=reason):
        nest_of(inputs, outputs, body)
