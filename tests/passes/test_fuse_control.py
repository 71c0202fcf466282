"""Fusion in branches and bodies, and around run-time extents."""

from __future__ import annotations

import numpy as np

from graphflow.ir import verify
from graphflow.ops.reference import interpret
from graphflow.passes.fuse import fuse
from graphflow.passes.manager import PassContext, run_pipeline
from graphflow.passes.pipeline import PIPELINE


def fused(graph, **context):
    """The graph after fusion, and its ops with those of the sub-graphs of control nodes."""
    verify(graph)
    final, _ = run_pipeline(graph, [fuse], PassContext(**context), verify=True)
    return final, ops(final)


def ops(graph):
    """The ops of a graph as nested lists: a control node with its sub-graphs'."""
    found = []
    for node in graph.nodes:
        inner = [ops(g) for g in node.subgraphs()] if node.op.name != "fused" else []
        found.append([node.op.name, *inner] if inner else node.op.name)
    return found


LOOP = """x: f32[n], c: f32[], count: i32[]
        %0: i32[] = constant {value=i32 0}
        %1: i32[], %2: f32[n], %3: f32[n] = while %0, x, x, c, count {
          condition = graph more(k: i32[], y: f32[n], z: f32[n], c: f32[], count: i32[]) -> (b1[]) {
            %0: i32[] = constant {value=i32 1}
            %1: i32[] = add k, %0
            %2: b1[] = less %1, count
            return %2
          },
          body = graph step(k: i32[], y: f32[n], z: f32[n], c: f32[], count: i32[]) -> (i32[], f32[n], f32[n]) {
            %0: i32[] = constant {value=i32 1}
            %1: i32[] = add k, %0
            %2: f32[n] = multiply y, c
            %3: f32[n] = exp %2
            %4: f32[n] = add %3, z
            return %1, %4, %3
          }, carried = 3
        }
        return %2, %3"""


def test_bodies_are_fused(whole):
    graph = whole(LOOP)
    final, found = fused(graph)
    assert found == ["constant", ["while", ["fused"], ["fused", "fused"]]]
    body = final.nodes[1].attributes["body"]
    sizes = sorted(len(node.outputs) for node in body.nodes)
    assert sizes == [1, 2]  # the counter; the sum with the exponential, which the body gives too
    given = [np.array([0.5, -1.0], "f4"), np.array(0.25, "f4"), np.array(4, "i4")]
    for left, right in zip(interpret(graph, given), interpret(final, given), strict=True):
        assert left.tobytes() == right.tobytes()


def test_without_fuel_each_node_is_its_own_loop(whole):
    _, found = fused(whole(LOOP), fuel=0)
    assert found == ["constant", ["while", ["fused", "fused"], ["fused", "fused", "fused", "fused"]]]


def test_fusing_again_leaves_loop_nests_alone(whole):
    final, found = fused(whole(LOOP))
    again, same = fused(final)
    assert same == found
    assert (
        again.nodes[1].attributes["body"].nodes[0].attributes == final.nodes[1].attributes["body"].nodes[0].attributes
    )


def test_what_uses_a_run_time_extent_comes_after_its_definition(whole):
    """No value leads from the branch to the zeros of its result's size, which could otherwise move up to the sum."""
    graph = whole("""p: b1[], x: f32[n], y: f32[m]
        %0: f32[n] = exp x
        %1: f32[] = reduce_sum %0 {axes=(0,)}
        %2: f32[u0] = switch p, x, y {
          branches = (graph a(x: f32[n], y: f32[m]) -> (f32[n]) {
            return x
          }, graph b(x: f32[n], y: f32[m]) -> (f32[m]) {
            return y
          }), extents = ("u0",)
        }
        %3: f32[] = constant {value=f32 2.0}
        %4: f32[u0] = broadcast_to %3 {shape=(u0,)}
        %5: f32[u0] = square %4
        %6: f32[] = reduce_sum %5 {axes=(0,)}
        %7: i32[u0] = iota {shape=(u0,), axis=0}
        return %1, %6, %7""")
    final, found = fused(graph)
    assert found == ["fused", ["switch", [], []], "fused", "fused"]
    given = [np.array(True), np.array([1.0], "f4"), np.array([1.0, 2.0, 3.0], "f4")]
    for left, right in zip(interpret(graph, given), interpret(final, given), strict=True):
        assert left.tobytes() == right.tobytes()


def test_dead_views_without_fuel(graph_of):
    graph = graph_of("x: f32[n,4]", "%0: f32[n,4] = exp x\n%1: f32[4,n] = transpose %0 {permutation=(1, 0)}\nreturn x")
    assert fused(graph, fuel=0)[1][0] == "fused"


def test_the_pipeline_on_a_loop(whole, evaluate_node):
    """The whole way: the second carried value becomes part of the loop's nest, the constants are inside."""
    graph = whole(LOOP)
    context = PassContext(evaluate=evaluate_node)
    final, stages = run_pipeline(graph, PIPELINE, context, verify=True)
    assert ops(final)[-1][0] == "while" and "inline_calls" in [stage.name for stage in stages]
    given = [np.array([0.5, -1.0], "f4"), np.array(0.25, "f4"), np.array(4, "i4")]
    for left, right in zip(interpret(graph, given), interpret(final, given), strict=True):
        assert left.tobytes() == right.tobytes()
