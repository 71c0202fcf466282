"""Fusion, text in and text out: which nodes become one loop, and the remarks about those that do not."""

from __future__ import annotations

import numpy as np
import pytest

from graphflow.ir import parse, print_graph
from graphflow.ir.graph import Node
from graphflow.kernels.lower import lower
from graphflow.passes.forward_state import forward_state
from graphflow.passes.fuse import MOST_BUFFERS, MOST_NODES, fuse
from graphflow.passes.manager import PassContext, run_pipeline

X, XY = "x: f32[n,4]", "x: f32[n,4], y: f32[n,4]"


def summary(graph):
    """The result in short: `fused(ops)` for a loop, the name of any other node; constants and reads left out."""
    parts = []
    for node in graph.nodes:
        if node.op.name == "fused":
            parts.append(f"fused({' '.join(n.op.name for n in node.attributes['body'].nodes)})")
        elif node.op.name not in ("constant", "read_variable"):
            parts.append(node.op.name)
    return "; ".join(parts)


def unfused(graph):
    """The graph with the bodies of its loops in place of the loops."""
    nodes, mapping = [], {}
    for node in graph.nodes:
        inputs = [mapping.get(v, v) for v in node.inputs]
        if node.op.name != "fused":
            nodes.append(Node(node.op, inputs, node.attributes, node.source))
            mapping.update(zip(node.outputs, nodes[-1].outputs, strict=True))
            continue
        body = node.attributes["body"]
        inner = dict(zip(body.inputs, inputs, strict=True))
        for own in body.nodes:
            nodes.append(Node(own.op, [inner[v] for v in own.inputs], own.attributes, own.source))
            inner.update(zip(own.outputs, nodes[-1].outputs, strict=True))
        mapping.update(zip(node.outputs, [inner[v] for v in body.outputs], strict=True))
    return graph.replace(nodes, [mapping.get(v, v) for v in graph.outputs])


@pytest.fixture
def fused(graph_of, run_graph, same_bits):
    """fused(inputs, body, **context) -> (graph, remarks): the pass, verified; the result lowers, and computes what the
    graph did."""

    def run(inputs, body, **settings):
        graph = graph_of(inputs, body)
        context = PassContext(**settings)
        result, _ = run_pipeline(graph, [fuse], context, verify=True)
        assert parse(print_graph(result, full_paths=True)) == result
        for node in result.nodes:
            if node.op.name == "fused":
                lower(node.attributes["body"], "kernel")
        generator = np.random.default_rng(1)
        arrays = []
        for value in graph.inputs:
            shape = [d if isinstance(d, int) else 3 for d in value.type.shape]
            low, high = (1, 3) if value.type.dtype.is_integer else (-2, 2)
            arrays.append(generator.uniform(low, high, shape).astype(value.type.dtype.numpy))
        wanted, found = run_graph(graph, arrays), run_graph(unfused(result), arrays)
        same_bits(wanted[0], found[0])
        same_bits(wanted[1], found[1])
        return result, [(r.category.removeprefix("not fused: "), r.message) for r in context.remarks]

    return run


def test_whole_text(fused):
    graph, remarks = fused(XY, "%0: f32[n,4] = multiply x, y\n%1: f32[n,4] = add %0, y\nreturn %1")
    assert (
        print_graph(graph, sources=False)
        == """\
graph f(x: f32[n,4], y: f32[n,4]) -> (f32[n,4]) {
  %0: f32[n,4] = fused x, y {
    body = graph body(a0: f32[n,4], a1: f32[n,4]) -> (f32[n,4]) {
      %0: f32[n,4] = multiply a0, a1
      %1: f32[n,4] = add %0, a1
      return %1
    }
  }
  return %0
}"""
    )
    assert not remarks
    (node,) = graph.nodes
    assert [s.line for s in node.source.all()] == [2, 3]


JOINED = {
    "chain": (X, "%0: f32[n,4] = exp x\n%1: f32[n,4] = negative %0\n%2: f32[n,4] = tanh %1\n"
    "return %2", "fused(exp negative tanh)"),
    "tree": (
        XY, "%0: f32[n,4] = exp x\n%1: f32[n,4] = tanh y\n%2: f32[n,4] = add %0, %1\nreturn %2", "fused(exp tanh add)"),
    "fan-out inside": (
        X, "%0: f32[n,4] = exp x\n%1: f32[n,4] = negative %0\n%2: f32[n,4] = square %0\n%3: f32[n,4] = add %1, %2\n"
        "return %3",
        "fused(exp negative square add)"),
    "several outputs": (
        X, "%0: f32[n,4] = exp x\n%1: f32[n,4] = negative %0\n%2: f32[n,4] = square %0\n"
        "return %0, %1, %2", "fused(exp negative square)"),
    "row broadcast": ("x: f32[n,4], y: f32[4]", "%0: f32[n,4] = exp x\n%1: f32[n,4] = add %0, y\n"
    "return %1", "fused(exp add)"),
    "scalar computed once": (
        "x: f32[n,4], y: f32[]", "%0: f32[] = exp y\n%1: f32[n,4] = add x, %0\nreturn %1", "fused(exp add)"),
    "cheap value for each row": (
        "x: f32[4], y: f32[n,4]", "%0: f32[4] = negative x\n%1: f32[n,4] = add %0, y\n"
        "return %1", "fused(negative add)"),
    "column value for each row": (
        "x: f32[n,1], y: f32[n,4]", "%0: f32[n,1] = exp x\n%1: f32[n,4] = add %0, y\nreturn %1", "fused(exp add)"),
    "reduction prologue": (
        "x: f32[n,4], y: f32[4]", "%0: f32[n,4] = multiply x, y\n%1: f32[n] = reduce_sum %0 {axes=(1,)}\nreturn %1",
        "fused(multiply reduce_sum)"),
    "broadcast into a prologue": (
        "x: f32[n,1]", "%0: f32[n,4] = broadcast_to x {shape=(n, 4)}\n%1: f32[n] = reduce_sum %0 {axes=(1,)}\n"
        "return %1",
        "fused(broadcast_to reduce_sum)"),
    "reduction epilogue": (
        X, "%0: f32[n] = reduce_sum x {axes=(1,)}\n%1: f32[n] = exp %0\nreturn %1", "fused(reduce_sum exp)"),
    "full reduction with both": (
        X, "%0: f32[n,4] = square x\n%1: f32[] = reduce_sum %0 {axes=(0, 1)}\n%2: f32[] = sqrt %1\nreturn %2",
        "fused(square reduce_sum sqrt)"),
    "column reduction with both": (
        X, "%0: f32[n,4] = square x\n%1: f32[4] = reduce_sum %0 {axes=(0,)}\n%2: f32[4] = sqrt %1\nreturn %2",
        "fused(square reduce_sum sqrt)"),
    "softmax": (
        X, "%0: f32[n,1] = reduce_max x {axes=(1,), keepdims=True}\n%1: f32[n,4] = subtract x, %0\n"
        "%2: f32[n,4] = exp %1\n"
           "%3: f32[n,1] = reduce_sum %2 {axes=(1,), keepdims=True}\n%4: f32[n,4] = divide %2, %3\nreturn %4",
        "fused(reduce_max subtract exp reduce_sum divide)"),
    "two reductions of one pass": (
        X, "%0: f32[n] = reduce_sum x {axes=(1,)}\n%1: f32[n] = reduce_max x {axes=(1,)}\n"
        "%2: f32[n] = subtract %0, %1\nreturn %2",
        "fused(reduce_sum reduce_max subtract)"),
    "siblings": (X, "%0: f32[n,4] = exp x\n%1: f32[n,4] = negative x\nreturn %0, %1", "fused(exp negative)"),
    "sibling reductions": (
        X, "%0: f32[n] = reduce_sum x {axes=(1,)}\n%1: f32[n] = reduce_max x {axes=(1,)}\n"
        "return %0, %1", "fused(reduce_sum reduce_max)"),
    "view in a chain": (
        X, "%0: f32[n,4] = negative x\n%1: f32[4,n] = transpose %0 {permutation=(1, 0)}\n%2: f32[4,n] = exp %1\n"
        "return %2",
        "fused(negative transpose exp)"),
    "view at two positions of a cheap value": (
        "x: f32[4,4]", "%0: f32[4,4] = negative x\n%1: f32[4,4] = transpose %0 {permutation=(1, 0)}\n"
        "%2: f32[4,4] = add %0, %1\nreturn %2",
        "fused(negative transpose add)"),
    "unit reshape": (
        X, "%0: f32[n,4] = exp x\n%1: f32[n,1,4] = reshape %0 {shape=(n, 1, 4)}\n%2: f32[n,1,4] = negative %1\n"
        "return %2",
        "fused(exp reshape negative)"),
    "constant": (
        X, "%0: f32[] = constant {value=f32 2.0}\n%1: f32[n,4] = add x, %0\n%2: f32[n,4] = exp %1\n"
        "return %2", "fused(constant add exp)"),
    "gather with an epilogue": (
        "x: f32[8,4], i: i32[n]", "%0: f32[n,4] = gather x, i {axis=0}\n%1: f32[n,4] = exp %0\n"
        "return %1", "fused(gather exp)"),
    "iota": (X, "%0: f32[n,4] = iota {shape=(n, 4), axis=1, dtype=f32}\n%1: f32[n,4] = add x, %0\n"
    "return %1", "fused(iota add)"),
    "division that can fail, all of it": (
        "x: i32[n], y: i32[n]", "%0: i32[n] = floordiv x, y\n%1: i32[n] = negative %0\n"
        "return %1", "fused(floordiv negative)"),
    "power of floats, read in part": (
        "x: f32[4]", "%0: f32[4] = floordiv x, x\n"
        "%1: f32[2] = strided_slice %0 {begin=(0,), sizes=(2,), strides=(1,)}\n"
                     "%2: f32[2] = negative %1\nreturn %2",
        "fused(floordiv strided_slice negative)"),
    "division that can fail and is not read": (
        "x: i32[4], y: i32[4]", "%0: i32[4] = floordiv x, y\n%1: i32[4] = negative x\n"
        "return %1", "fused(floordiv negative)"),
}  # fmt: skip


@pytest.mark.parametrize("case", JOINED)
def test_joined(fused, case):
    inputs, body, expected = JOINED[case]
    graph, remarks = fused(inputs, body)
    assert summary(graph) == expected
    assert not remarks


APART = {
    "path through a product": (
        "x: f32[4,4]", "%0: f32[4,4] = exp x\n%1: f32[4,4] = matmul %0, x\n%2: f32[4,4] = add %0, %1\nreturn %2",
        "fused(exp); matmul; fused(add)", {"convexity"}),
    "costly value at two positions": (
        "x: f32[4,4]", "%0: f32[4,4] = exp x\n%1: f32[4,4] = transpose %0 {permutation=(1, 0)}\n"
        "%2: f32[4,4] = add %0, %1\nreturn %2",
        "fused(exp); fused(transpose add)", {"computed again"}),
    "costly value for each row": (
        "x: f32[4], y: f32[n,4]", "%0: f32[4] = exp x\n%1: f32[n,4] = add %0, y\nreturn %1",
        "fused(exp); fused(add)", {"computed again"}),
    "gather from a computed value": (
        "x: f32[8,4], i: i32[n]", "%0: f32[8,4] = exp x\n%1: f32[n,4] = gather %0, i {axis=0}\nreturn %1",
        "fused(exp); fused(gather)", {"computed positions"}),
    "reshape": (
        "x: f32[8,4]", "%0: f32[8,4] = exp x\n%1: f32[4,8] = reshape %0 {shape=(4, 8)}\n%2: f32[4,8] = negative %1\n"
        "return %2",
        "fused(exp); reshape; fused(negative)", {"reshape"}),
    "second pass over columns": (
        X, "%0: f32[4] = reduce_sum x {axes=(0,)}\n%1: f32[n,4] = subtract x, %0\nreturn %1",
        "fused(reduce_sum); fused(subtract)", {"stages"}),
    "reductions over different axes": (
        X, "%0: f32[n] = reduce_sum x {axes=(1,)}\n%1: f32[] = reduce_max %0 {axes=(0,)}\nreturn %1",
        "fused(reduce_sum); fused(reduce_max)", {"reductions differ"}),
    "reduced value moved": (
        "x: f32[4,4]", "%0: f32[4] = reduce_sum x {axes=(1,)}\n%1: f32[4,4] = subtract x, %0\n"
        "%2: f32[4] = reduce_sum %1 {axes=(1,)}\nreturn %2",
        "fused(reduce_sum); fused(subtract reduce_sum)", {"reduced value moved"}),
    "view that does not flatten": (
        "x: f32[8,4]", "%0: f32[4,8] = transpose x {permutation=(1, 0)}\n%1: f32[] = reduce_sum %0 {axes=(0, 1)}\n"
        "return %1",
        "fused(transpose); fused(reduce_sum)", {"view stored"}),
    "reduced axes with a kept one between": (
        "x: f32[2,3,4,n]", "%0: f32[1,3,1,n] = reduce_sum x {axes=(0, 2), keepdims=True}\nreturn %0",
        "fused(transpose); fused(reduce_sum); reshape", {"view stored"}),
    "prologue that does not flatten": (
        "x: f32[2,8,4], y: f32[4]", "%0: f32[2,8,4] = multiply x, y\n%1: f32[2] = reduce_sum %0 {axes=(1, 2)}\n"
        "return %1",
        "fused(multiply); fused(reduce_sum)", {"reduction does not flatten"}),
    "failing value read in part": (
        "x: i32[4], y: i32[4]", "%0: i32[4] = floordiv x, y\n"
        "%1: i32[2] = strided_slice %0 {begin=(0,), sizes=(2,), strides=(1,)}\n"
                                "%2: i32[2] = negative %1\nreturn %2",
        "fused(floordiv); fused(strided_slice negative)", {"run-time check"}),
    "failing value in a loop that may be empty": (
        "x: i32[4], y: i32[4], z: i32[n,4]", "%0: i32[4] = floordiv x, y\n%1: i32[n,4] = add %0, z\nreturn %1",
        "fused(floordiv); fused(add)", {"run-time check"}),
    "different spaces": (
        XY, "%0: f32[n,4] = exp x\n%1: f32[2,4] = strided_slice %0 {begin=(0, 0), sizes=(2, 4), strides=(1, 1)}\n"
            "%2: f32[2,4] = negative %1\nreturn %2, %0",
        "fused(exp); fused(strided_slice negative)", {"spaces differ"}),
}  # fmt: skip


@pytest.mark.parametrize("case", APART)
def test_apart(fused, case):
    """What stays apart says why, once for each edge, at the lines of both ends."""
    inputs, body, expected, categories = APART[case]
    graph, remarks = fused(inputs, body)
    assert summary(graph) == expected
    assert {category for category, _ in remarks} == categories
    assert len(remarks) == len(set(remarks))


def test_no_path_leaves_and_returns_through_a_later_group(graph_of):
    """%0 and %5 share no direct path, but %0 -> %2 -> %4 (which joins %1) and %1 -> %5 make one of groups."""
    graph = graph_of(
        "x: f32[4,4], y: f32[4,4]",
        "%0: f32[4,4] = exp x\n%1: f32[4,4] = tanh y\n%2: f32[4,4] = matmul %0, x\n%3: f32[4,4] = add %1, %2\n"
        "%4: f32[4,4] = matmul %1, y\n%5: f32[4,4] = add %0, %4\nreturn %3, %5, %1",
    )
    result, _ = run_pipeline(
        graph, [fuse], PassContext(), verify=True
    )  # the verifier rejects a use before its definition
    assert summary(result).count("add") == 2


def test_alias_output_and_clone(fused):
    """A unit reshape that is an output exists by itself, and the loop that reads it takes a copy: no circle between
    the two."""
    body = "%0: f32[n] = exp x\n%1: f32[n,1] = reshape %0 {shape=(n, 1)}\n%2: f32[n,1] = negative %1\nreturn %1, %2"
    graph, _ = fused("x: f32[n]", body)
    assert summary(graph) == "fused(exp reshape negative); reshape"


def test_effect_between_two_halves(graph_of):
    """A print reads one half and comes before the read that the other half needs: in order once reads are moved to the
    front."""
    graph = graph_of(
        "x: f32[4], w: var f32[4]",
        '%0: f32[4] = exp x\nprint %0 {template="{}"}\n'
        "%1: f32[4] = read_variable w\n%2: f32[4] = add %0, %1\nreturn %2",
    )
    result, _ = run_pipeline(graph, [forward_state, fuse], PassContext(), verify=True)
    assert summary(result) == "fused(exp add); print"


def test_fuel(fused):
    body = "%0: f32[n,4] = exp x\n%1: f32[n,4] = negative %0\n%2: f32[n,4] = tanh %1\nreturn %2"
    assert summary(fused(X, body, fuel=0)[0]) == "fused(exp); fused(negative); fused(tanh)"
    graph, remarks = fused(X, body, fuel=1)
    assert summary(graph) == "fused(exp negative); fused(tanh)"
    assert [category for category, _ in remarks] == ["fuel"]


def test_bounded_size(graph_of):
    count = MOST_NODES + 20
    body = "\n".join(f"%{k}: f32[n] = exp {f'%{k - 1}' if k else 'x'}" for k in range(count))
    context = PassContext()
    result, _ = run_pipeline(graph_of("x: f32[n]", f"{body}\nreturn %{count - 1}"), [fuse], context, verify=True)
    assert [len(n.attributes["body"].nodes) for n in result.nodes] == [MOST_NODES, 20]
    assert [r.category for r in context.remarks] == ["not fused: size"]


def test_bounded_number_of_arrays(graph_of):
    count = MOST_BUFFERS + 6
    inputs = ", ".join(f"x{k}: f32[n]" for k in range(count + 1))
    body = "\n".join(f"%{k}: f32[n] = add {f'%{k - 1}' if k else 'x0'}, x{k + 1}" for k in range(count))
    result, _ = run_pipeline(graph_of(inputs, f"{body}\nreturn %{count - 1}"), [fuse], PassContext(), verify=True)
    assert len(result.nodes) > 1
    assert all(len(n.inputs) + len(n.outputs) <= MOST_BUFFERS for n in result.nodes)


def test_time_grows_with_the_number_of_nodes(graph_of):
    """A chain joins without looking at the whole group again: analysis of regions is bounded by a few calls a node."""
    import graphflow.passes.fuse as module

    calls, analyse = [], module.analyse
    body = "\n".join(f"%{k}: f32[n] = exp {f'%{k - 1}' if k else 'x'}" for k in range(150))
    graph = graph_of("x: f32[n]", f"{body}\nreturn %149")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "analyse", lambda *arguments: calls.append(1) or analyse(*arguments))
        run_pipeline(graph, [fuse], PassContext(), verify=False)
    assert len(calls) <= 2


def test_a_second_pass_over_a_whole_array_is_a_loop_of_its_own(fused):
    """x / sqrt(sum of squares) of a large array: the sum runs on all cores, and so does the quotient; a small one is one loop."""
    body = "%0: f32[{n}] = square x\n%1: f32[] = reduce_sum %0 {{axes=(0,)}}\n%2: f32[{n}] = divide x, %1\nreturn %2"
    graph, remarks = fused("x: f32[65536]", body.format(n=65536))
    assert summary(graph) == "fused(square reduce_sum); fused(divide)"
    assert "second pass" in {category for category, _ in remarks}
    graph, remarks = fused("x: f32[512]", body.format(n=512))
    assert summary(graph) == "fused(square reduce_sum divide)" and not remarks
