"""fn.verify(), fn.ir(), fn.stages() and fn.kernels() of functions with loops, branches, calls, run-time extents, state and random draws."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf
from graphflow import compiler
from graphflow.ir import parse
from graphflow.ir.builder import rewrite
from graphflow.ir.graph import Node
from graphflow.ir.op import OPS
from graphflow.tracing import interpret
from graphflow.tracing.differing import same_bits

X = gf.constant(np.random.default_rng(3).standard_normal((4, 3)).astype("f4"))


def loop(x):
    for i in gf.range(4):
        x = gf.tanh(x) * 0.5 + gf.cast(i, gf.float32)
    return x


def open_loop(x):
    steps = gf.constant(0)
    while gf.reduce_sum(x * x) > 0.5:
        x = x * 0.7
        steps += 1
    return x, steps


def branch(x, p):
    if p:
        y = gf.exp(x) @ gf.transpose(x)
    else:
        y = x @ gf.transpose(x) + 1.0
    return y


def choice(x, k):
    return gf.switch_case(k, [lambda: x, lambda: gf.sin(x) * 2.0, lambda: x[::-1]])


@gf.function
def long(a):
    for k in range(60):
        a = gf.tanh(a) + float(k)
    return a


def calls(x):
    return long(x) + long(x * 2.0) - long(x * 3.0)


def extents(x):
    y = gf.boolean_mask(x, x > 0)
    return gf.reduce_sum(gf.exp(y)), gf.sort(y)


def growing(n):
    array, i = gf.TensorArray(gf.float32, 0, dynamic_size=True), gf.constant(0)
    while i < n:
        array = array.write(i, gf.cast(i, gf.float32) * gf.ones([8]))
        i += 1
    return array.stack()


def draws(x):
    for _ in gf.range(3):
        x = x + gf.random.normal([4, 3])
    return gf.nn.dropout(x, 0.3)


def python(x):
    for _ in gf.range(2):
        x = gf.numpy_function(lambda a: a + 1, [x], gf.TensorSpec([4, 3], gf.float32))
    return x


def gradient(x):
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = gf.while_loop(lambda i, a: i < 6, lambda i, a: (i + 1, gf.tanh(a) * x), (gf.constant(0), x))[1]
        loss = gf.reduce_sum(y)
    return tape.gradient(loss, x)


def state():
    total = gf.Variable(np.ones(3, "f4"), name="total")

    def variables(x):
        for _ in gf.range(3):
            total.assign(total * 0.9 + gf.reduce_sum(x, axis=0))
        return total * 2.0

    return variables


PROGRAMS = {
    "loop": (loop, X), "open_loop": (open_loop, X), "branch": (branch, X, gf.constant(True)), "choice": (choice, X, gf.constant(1)),
    "calls": (calls, X), "extents": (extents, X), "growing": (growing, gf.constant(5)), "draws": (draws, X), "python": (python, X),
    "gradient": (gradient, X), "variables": (state(), X),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_view_of_a_function_with_control_flow(name):
    python_function, *args = PROGRAMS[name]
    function = gf.function(python_function)
    result = function.verify(*args)
    assert result, result.message
    if name != "python":  # a Python function cannot be read back
        assert str(parse(function.ir(*args, stage="traced"))) == function.ir(*args, stage="traced")
    for stage in function.stages(*args):
        assert function.ir(*args, stage=stage.name).splitlines()
    for form, word in (("nest", "for"), ("llvm", "define"), ("asm", "entry:")):
        assert word in function.kernels(*args, form=form) or (form, name) == ("nest", "python")
    assert function.explain().traces[0].nodes > 0
    assert function.memory(*args).arena >= 0
    assert "a call" in str(function.profile(*args, repeats=1))
    assert function.verify(*args)  # nothing of all that left a trace


def wrong_in_bodies(graph, context):
    """Turns the first multiply of a loop's body, or of a branch, into an add."""

    def inside(node, inputs):
        if node.op.name == "multiply" and context.spend("multiply_into_add", node.source):
            return Node(OPS["add"], inputs, {}, node.source)
        return None

    def visit(node, inputs):
        if node.op.name == "while":
            body = rewrite(node.attributes["body"], inside)
            types = [v.type for v in node.outputs]
            return Node(node.op, inputs, {**node.attributes, "body": body}, node.source, types)
        if node.op.name == "switch":
            branches = tuple(rewrite(b, inside) for b in node.attributes["branches"])
            types = [v.type for v in node.outputs]
            return Node(node.op, inputs, {**node.attributes, "branches": branches}, node.source, types)
        return None

    return rewrite(graph, visit)


@pytest.mark.parametrize(("name", "around"), [("loop", "the loop at"), ("choice", "the choice at")])
def test_a_wrong_rewrite_inside_a_body_is_named(monkeypatch, name, around):
    monkeypatch.setattr(compiler, "PIPELINE", [wrong_in_bodies, *compiler.PIPELINE])
    python_function, *args = PROGRAMS[name]
    result = gf.function(python_function).verify(*args)
    assert not result
    assert result.pass_name == "wrong_in_bodies"
    assert result.rewrite >= 1
    assert "multiply_into_add" in result.message
    assert around in result.message
    assert "test_verify_control.py" in result.node
    assert "* " in result.node


def off_by_a_bit(name):
    """Eager results of an op with another last bit."""
    original = interpret.dispatch_now

    def dispatch(op, operands, attributes, source):
        results = original(op, operands, attributes, source)
        if op.name == name:
            (tensor,) = results
            return (gf.constant(np.nextafter(tensor.numpy(), np.float32(9))),)
        return results

    return dispatch


@pytest.mark.parametrize(
    ("name", "op", "within"),
    [
        ("loop", "tanh", "iteration 0 (from 0) of the loop at"),
        ("gradient", "tanh", "iteration 0 (from 0) of the loop at"),
        ("choice", "sin", "branch 1 of the choice at"),
        ("branch", "exp", "branch 1 of the choice at"),
    ],
)
def test_a_differing_kernel_inside_a_body_is_named(monkeypatch, name, op, within):
    monkeypatch.setattr(interpret, "dispatch_now", off_by_a_bit(op))
    python_function, *args = PROGRAMS[name]
    result = gf.function(python_function).verify(*args)
    assert not result
    assert result.pass_name == ""
    assert "before any rewrite" in result.message
    assert result.node.startswith(f"{op} at test_verify_control.py:")
    assert within in result.node


def test_a_differing_kernel_outside_of_bodies_is_named(monkeypatch):
    monkeypatch.setattr(interpret, "dispatch_now", off_by_a_bit("exp"))
    state = gf.Variable([1.0, 2.0])

    def step(x):
        state.assign_add(x)
        return gf.sin(gf.exp(state) + x)

    result = gf.function(step).verify(gf.constant([3.0, 4.0]))
    assert not result
    assert result.node.startswith("exp at test_verify_control.py:")
    assert "in " not in result.node.partition("gf.exp")[0].replace("inspection", "")
    assert state.numpy().tolist() == [1.0, 2.0]


def test_symbolic_extents_do_not_hide_the_node(monkeypatch):
    monkeypatch.setattr(interpret, "dispatch_now", off_by_a_bit("tanh"))
    function = gf.function(loop, input_signature=[gf.TensorSpec([None, None], gf.float32)])
    result = function.verify(X)
    assert not result
    assert result.node.startswith("tanh at ")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "complex64"])
def test_same_bits_of_every_kind_of_number(dtype):
    a = np.array([1.0, -0.0, np.nan], gf.as_dtype(dtype).numpy)
    assert same_bits(a, a.copy())
    assert not same_bits(a, np.array([1.0, 0.0, np.nan], a.dtype))
    assert not same_bits(a, a[:2])
    other = a.copy()
    other.view(np.uint8)[-a.dtype.itemsize] ^= 1  # another NaN
    assert np.isnan(other[2])
    assert same_bits(a, other)
