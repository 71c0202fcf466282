"""Values that later loops compute again instead of loading them: which ones, and that the numbers stay."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf
from graphflow.ir import parse, print_graph
from graphflow.ir.graph import Node
from graphflow.ir.region import Region, analyse
from graphflow.passes.fuse import fuse
from graphflow.passes.manager import PassContext, run_pipeline
from graphflow.passes.recompute_values import recompute_values

N = "f32[n,64]"


def loops(graph):
    """The loops in short: what they read, compute and yield."""
    found = []
    for node in graph.nodes:
        if node.op.name == "fused":
            body = node.attributes["body"]
            names = " ".join(n.op.name for n in body.nodes if n.op.name != "constant")
            found.append(f"{len(body.inputs)} -> {names} -> {len(body.outputs)}")
        elif node.op.name not in ("constant", "read_variable"):
            found.append(node.op.name)
    return found


def unfused(graph):
    nodes, mapping = [], {}
    for node in graph.nodes:
        inputs = [mapping.get(v, v) for v in node.inputs]
        body = node.attributes.get("body")
        inner = dict(zip(body.inputs if body else (), inputs, strict=False))
        for own in body.nodes if body else [node]:
            nodes.append(Node(own.op, [inner[v] for v in own.inputs] if body else inputs, own.attributes, own.source))
            inner.update(zip(own.outputs, nodes[-1].outputs, strict=True))
        mapping.update(zip(node.outputs, [inner[v] for v in body.outputs] if body else nodes[-1].outputs, strict=True))
    return graph.replace(nodes, [mapping.get(v, v) for v in graph.outputs])


@pytest.fixture
def recomputed(graph_of, run_graph, same_bits):
    def run(inputs, body, **settings):
        graph = graph_of(inputs, body)
        before, _ = run_pipeline(graph, [fuse], PassContext(), verify=True)
        context = PassContext(**settings)
        after, _ = run_pipeline(before, [recompute_values], context, verify=True)
        assert parse(print_graph(after, full_paths=True)) == after
        for node in after.nodes:
            if node.op.name == "fused":
                own = node.attributes["body"]
                assert isinstance(analyse(own.nodes, own.outputs), Region)
                assert len({v.name for v in own.inputs}) == len(own.inputs)
        generator = np.random.default_rng(1)
        arrays = [
            generator.uniform(
                *((1, 5) if v.type.dtype.is_integer else (-2, 2)),
                [d if isinstance(d, int) else 3 for d in v.type.shape],
            ).astype(v.type.dtype.numpy)
            for v in graph.inputs
        ]
        wanted, found = run_graph(graph, arrays), run_graph(unfused(after), arrays)
        same_bits(wanted[0], found[0])
        return loops(before), loops(after)

    return run


#: A running sum keeps the two loops apart: no loop can compute what reads it together with what makes it
APART = f'%9: {N} = cumulative %8 {{axis=1, kind="sum"}}'


def program(first, second, result):
    return f"{first}\n{APART}\n{second}\nreturn {result}"


def test_cheap_values_of_an_operand(recomputed):
    """The gradient of a gate: the square and the half are made again from x, and 1 - t*t from the costly tanh, which is stored instead."""
    body = program(
        f"%0: {N} = square x\n%1: {N} = add x, %0\n%2: {N} = tanh %1\n%3: {N} = square %2\n%8: {N} = add %2, %0",
        f"%10: {N} = multiply %9, %0\n%11: {N} = multiply %10, %3",
        "%11",
    )
    before, after = recomputed(f"x: {N}", body)
    assert before == ["1 -> square add tanh square add -> 3", "cumulative", "3 -> multiply multiply -> 1"]
    assert after == ["1 -> square add tanh add -> 2", "cumulative", "3 -> square square multiply multiply -> 1"]


def test_a_costly_value_is_stored(recomputed):
    body = program(f"%0: {N} = tanh x\n%8: {N} = square %0", f"%10: {N} = multiply %9, %0", "%10")
    before, after = recomputed(f"x: {N}", body)
    assert before == after


def test_what_would_keep_as_much_alive_is_stored(recomputed):
    """Made again from two operands that nothing else needs any more: two arrays would live on for one."""
    first = (
        f'%20: {N} = cumulative x {{axis=1, kind="sum"}}\n'
        f'%21: {N} = cumulative y {{axis=1, kind="sum"}}\n'
        f"%0: {N} = multiply %20, %21\n%8: {N} = tanh %0"
    )
    before, after = recomputed(f"x: {N}, y: {N}", program(first, f"%10: {N} = multiply %9, %0", "%10"))
    assert before == after


def test_results_of_the_graph_are_stored(recomputed):
    body = program(f"%0: {N} = square x\n%8: {N} = tanh %0", f"%10: {N} = multiply %9, %0", "%10, %0")
    before, after = recomputed(f"x: {N}", body)
    assert before == after


def test_small_values_are_stored(recomputed):
    body = program(f"%0: {N} = square x\n%8: {N} = tanh %0", f"%10: {N} = multiply %9, %0", "%10")
    before, after = recomputed(f"x: {N}".replace("n", "2"), body.replace("[n", "[2"))
    assert before == after


def test_what_can_fail_is_stored(recomputed):
    whole = "i32[n,64]"
    body = program(f"%0: {N} = floordiv x, y\n%8: {N} = square %0", f"%10: {N} = multiply %9, %0", "%10").replace(
        N, whole
    )
    before, after = recomputed(f"x: {whole}, y: {whole}", body)
    assert before == after


def test_several_readers(recomputed):
    """Each reader makes the value itself; readers that are changed already are changed again."""
    second = (
        f'%10: {N} = multiply %9, %0\n%11: {N} = cumulative %10 {{axis=1, kind="sum"}}\n'
        f"%12: {N} = multiply %11, %0\n%13: {N} = add %12, %10"
    )
    before, after = recomputed(f"x: {N}", program(f"%0: {N} = square x\n%8: {N} = tanh %0", second, "%13"))
    assert before[0] == "1 -> square tanh -> 2"
    assert after == [
        "1 -> square tanh -> 1", "cumulative", "2 -> square multiply -> 1", "cumulative", "3 -> square multiply add -> 1",
    ]  # fmt: skip


def test_fuel_and_remarks(recomputed, graph_of):
    body = program(f"%0: {N} = square x\n%8: {N} = tanh %0", f"%10: {N} = multiply %9, %0", "%10")
    before, after = recomputed(f"x: {N}", body, fuel=0)
    assert before == after
    context = PassContext()
    run_pipeline(graph_of(f"x: {N}", body), [fuse, recompute_values], context)
    assert [r.category for r in context.remarks if r.pass_name == "recompute_values"] == ["recomputed"]


def gelu_layer(x, w):
    with gf.GradientTape() as tape:
        tape.watch(w)
        total = gf.reduce_sum((gf.nn.gelu(x @ w, approximate=True) @ gf.transpose(w)) ** 2)
    return tape.gradient(total, w)


def test_the_gradient_of_gelu_stores_one_value_beside_the_product():
    """Of the five values that its gradient needs the layer stores the tanh; the peak of memory falls, the bits stay."""
    generator = np.random.default_rng(3)
    x, w = (gf.constant(generator.standard_normal(s, dtype=np.float32)) for s in ((256, 64), (64, 128)))
    compiled = gf.function(gelu_layer)
    np.testing.assert_array_equal(compiled(x, w).numpy(), gelu_layer(x, w).numpy())
    stages = {s.name: s.graph for s in compiled.stages(x, w)}
    before = next(n for n in stages["fuse"].nodes if n.op.name == "fused")
    after = next(n for n in stages["recompute_values"].nodes if n.op.name == "fused")
    assert len(after.outputs) < len(before.outputs)


def test_a_small_operand_costs_nothing(recomputed):
    """A layer's bias: values made from the biased product are made again from the product and the bias."""
    body = program(
        f'%20: {N} = cumulative x {{axis=1, kind="sum"}}\n%0: {N} = add %20, y\n%1: {N} = square %0\n%2: {N} = tanh %1\n'
        f"%8: {N} = add %2, %0",
        f"%10: {N} = multiply %9, %0\n%11: {N} = multiply %10, %1",
        "%11",
    )
    before, after = recomputed(f"x: {N}, y: f32[64]", body)
    assert before[1] == "2 -> add square tanh add -> 3"
    assert after[1] == "2 -> add square tanh add -> 1"
    assert after[-1] == "3 -> add square multiply multiply -> 1"
