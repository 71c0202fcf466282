"""Every rule of the verifier: a graph that breaks it is refused, naming graph, node, rule and the user's line."""

from __future__ import annotations

import numpy as np
import pytest

from graphflow import dtypes
from graphflow.errors import VerifyError
from graphflow.ir import (
    OPS,
    Graph,
    Node,
    Op,
    Source,
    TensorType,
    Value,
    VariableType,
    parse,
    symbol,
    verify,
)

F = TensorType(dtypes.float32, (4,))
V = VariableType(dtypes.float32, (4,))
AT = Source("/a/train.py", 7, 4, "y = f(x)")


def node(op, inputs, attributes=None, source=AT, types=None):
    return Node(OPS[op], inputs, attributes or {}, source, types)


def inputs(*types):
    return tuple(Value(t, name=f"x{k}") for k, t in enumerate(types))


def refuse(graph, rule, message, line="train.py:7   y = f(x)"):
    with pytest.raises(VerifyError) as caught:
        verify(graph)
    text = str(caught.value)
    assert text.startswith(f"graph {graph.name!r} breaks the rule `{rule}`: "), text
    assert message in text
    if line:
        assert f"\n  at {line}" in text and "\n  in " in text


def graph_of(arguments, *nodes, outputs=()):
    return Graph("g", tuple(arguments), tuple(nodes), tuple(outputs))


def test_a_valid_graph():
    x, w = inputs(F, V)
    read = node("read_variable", (w,))
    add = node("add", (x, read.output))
    verify(graph_of((x, w), read, add, node("assign_variable", (w, add.output)), outputs=(add.output, x)))


def test_inputs():
    (x,) = inputs(F)
    exp = node("exp", (x,))
    refuse(graph_of((x, exp.output), exp), "inputs", "is the output of a node", line="")
    refuse(graph_of((Value(F),)), "inputs", "the input name '' is empty", line="")
    refuse(graph_of((x, Value(F, name="x0"))), "inputs", "the input name 'x0' is used twice", line="")


@pytest.mark.parametrize("source", [None, "train.py", Source("", 3, 0), Source("a.py", 0, 0)])
def test_source(source):
    (x,) = inputs(F)
    refuse(
        graph_of((x,), node("exp", (x,), source=source)),
        "source",
        "node exp has no place in the user's program",
        line="",
    )


def test_nested_sources():
    (x,) = inputs(F)
    inner = Source("a.py", 1, 0, also=(Source("b.py", 1, 0),))
    refuse(
        graph_of((x,), node("exp", (x,), source=Source("a.py", 2, 0, also=(inner,)))),
        "source",
        "must be flat",
        line="a.py:2",
    )


def test_op():
    (x,) = inputs(F)
    exp = OPS["exp"]
    copy = Op("exp", exp.operands, {}, exp.infer, exp.kernel, None, "none", None, None)
    refuse(graph_of((x,), Node(copy, (x,), {}, AT)), "op", "'exp' is not the registered op of that name")


def test_attributes():
    (x,) = inputs(F)
    refuse(graph_of((x,), node("t_any", (x,), {"z": 1})), "attributes", "t_any has no attribute 'z'; it has: a, b, c")
    refuse(
        graph_of((x,), node("exp", (x,), {"z": 1}, types=[F])), "attributes", "exp has no attribute 'z'; it has: none"
    )
    refuse(graph_of((x,), node("t_need", (x,), {})), "attributes", "t_need needs the attribute 'value'")
    for value in [np.float32(1), {1: 2}, (1, {2}), [np.int64(3)], np.array([None])]:
        refuse(graph_of((x,), node("t_any", (x,), {"a": value})), "attributes", "which the text form does not have")
    (sized,) = inputs(TensorType(dtypes.float32, (symbol("n"),)))
    for value in [
        len,
        np.zeros(3),
        (1, 2.0, "x", None, dtypes.int8, symbol("n"), 1j),
        parse("graph e() -> () {\n return\n}"),
    ]:
        verify(graph_of((sized,), node("t_any", (sized,), {"a": value})))


def test_operands():
    (x,) = inputs(F)
    refuse(graph_of((x,), node("add", (x,), types=[F])), "operands", "add takes 2 operands, got 1")
    refuse(graph_of((x,), node("exp", (x, x), types=[F])), "operands", "exp takes 1 operands, got 2")
    refuse(graph_of((x,), node("t_two", (), types=[F])), "operands", "t_two takes 1 or more operands, got 0")


def test_defined():
    (x,) = inputs(F)
    first = node("exp", (x,))
    second = node("exp", (first.output,))
    refuse(graph_of((x,), second, first), "defined", "operand 0 of exp is a value used before it is defined")
    refuse(graph_of((x,), second), "defined", "operand 0 of exp is a value used of another graph")
    refuse(graph_of((x,), first, first), "defined", "the node exp is in the graph twice")
    stolen = node("exp", (x,))
    stolen.outputs = first.outputs
    refuse(graph_of((x,), first, stolen), "defined", "output 0 of exp does not belong to it")


def test_types():
    x, y, z = inputs(F, TensorType(dtypes.float32, (symbol("n"),)), TensorType(dtypes.float32, (symbol("m"),)))
    refuse(graph_of((x,), node("exp", (x,), types=[TensorType(dtypes.float32, (5,))])), "types",
           "exp declares (f32[5]), its type rule gives (f32[4])")  # fmt: skip
    refuse(graph_of((x,), node("exp", (x,), types=[])), "types", "exp declares (), its type rule gives (f32[4])")
    refuse(
        graph_of((x, y, z), node("add", (y, z), types=[y.type])),
        "types",
        "add needs equal dims that are not known to be equal: n == m",
    )
    refuse(
        graph_of((x,), node("logical_not", (x,), types=[F])),
        "types",
        "the type rule of logical_not rejects its operands: logical_not:",
    )
    refuse(
        graph_of((x,), node("transpose", (x,), {"permutation": 3}, types=[F])),
        "types",
        "the type rule of transpose rejects",
    )


def test_variables():
    x, w = inputs(F, V)
    refuse(
        graph_of((x, w), node("exp", (w,), types=[F])),
        "variables",
        "operand 0 of exp is the variable 'x1'; read it first",
    )
    refuse(
        graph_of((x, w), node("assign_variable", (w, w), types=[])),
        "variables",
        "operand 1 of assign_variable is the variable 'x1'",
    )
    refuse(
        graph_of((x, w), node("read_variable", (x,), types=[F])),
        "variables",
        "read_variable needs a variable as its first operand",
    )
    refuse(
        graph_of((), node("t_variable", ())),
        "variables",
        "t_variable yields a variable; only graph inputs are variables",
    )


def test_devices():
    x, y = inputs(F, F.with_device("GPU:0"))
    refuse(graph_of((x, y), node("add", (x, y))), "devices", "add mixes devices CPU:0 and GPU:0; only copy may")
    copy = node("copy", (x,), {"device": "GPU:0"})
    verify(graph_of((x, y), copy, node("add", (copy.output, y))))


def test_symbols():
    n = symbol("n")
    x, y = inputs(F, TensorType(dtypes.int32, (n,)))
    made = node("t_source", (), {"shape": (n + symbol("k"),)})
    refuse(graph_of((x, y), made), "symbols", "the extent 'k' of f32[k+n] is not among the inputs': n")
    refuse(graph_of((x,), made), "symbols", "not among the inputs': none")
    sliced = node("t_any", (y,), {"c": (1, (symbol("k"),))})
    refuse(graph_of((y,), sliced), "symbols", "the extent 'k' in c is not among the inputs': n")
    verify(graph_of((x, y), node("t_source", (), {"shape": (n + 2,)})))


def test_outputs():
    (x,) = inputs(F)
    exp = node("exp", (x,))
    refuse(
        graph_of((x,), outputs=(x, exp.output)), "outputs", "output 1 (<Value exp.0: f32[4]>) is not defined", line=""
    )


def test_subgraphs():
    x, p, w = inputs(TensorType(dtypes.float32, (symbol("n"),)), TensorType(dtypes.bool_, ()), V)
    (y,) = inputs(TensorType(dtypes.float32, ()))
    made = node("t_source", (), {"shape": (symbol("n"),)})
    good = Graph("good", (y,), (made,), (made.output,))
    verify(
        graph_of((x, p, w), node("t_branch", (p, w), {"then": good}))
    )  # it may use the symbols around it, and take variables
    bad = Graph("bad", (y,), (node("exp", (x,)),), ())
    with pytest.raises(VerifyError, match="graph 'bad' breaks the rule `defined`"):
        verify(graph_of((x, p), node("t_branch", (p,), {"then": good, "otherwise": (1, bad)})))
