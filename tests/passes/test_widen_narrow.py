"""float16 and bfloat16 become float32 around everything that computes; the text before and after, and what later passes may do with it."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf
from graphflow import config
from graphflow.compiler import optimise
from graphflow.ir import parse, print_graph
from graphflow.passes.canonicalise import canonicalise
from graphflow.passes.manager import PassContext, run_pipeline
from graphflow.passes.widen_narrow import widen_narrow

#: inputs, body, expected body (None: nothing changes)
CASES = {
    "pointwise": ("x: f16[n], y: f16[n]", "%0: f16[n] = add x, y\nreturn %0", """
        %0: f32[n] = cast x {dtype=f32}
        %1: f32[n] = cast y {dtype=f32}
        %2: f32[n] = add %0, %1
        %3: f16[n] = cast %2 {dtype=f16}
        return %3"""),
    "one conversion for all readers of a value": ("x: bf16[n]", "%0: bf16[n] = multiply x, x\n%1: bf16[n] = add %0, x\nreturn %1", """
        %0: f32[n] = cast x {dtype=f32}
        %1: f32[n] = multiply %0, %0
        %2: bf16[n] = cast %1 {dtype=bf16}
        %3: f32[n] = cast %2 {dtype=f32}
        %4: f32[n] = add %3, %0
        %5: bf16[n] = cast %4 {dtype=bf16}
        return %5"""),
    "a reduction rounds once": ("x: bf16[n,m]", "%0: bf16[n] = reduce_sum x {axes=(1,)}\nreturn %0", """
        %0: f32[n,m] = cast x {dtype=f32}
        %1: f32[n] = reduce_sum %0 {axes=(1,)}
        %2: bf16[n] = cast %1 {dtype=bf16}
        return %2"""),
    "a product rounds once": ("a: f16[n,k], b: f16[k,m]", "%0: f16[n,m] = matmul a, b\nreturn %0", """
        %0: f32[n,k] = cast a {dtype=f32}
        %1: f32[k,m] = cast b {dtype=f32}
        %2: f32[n,m] = matmul %0, %1
        %3: f16[n,m] = cast %2 {dtype=f16}
        return %3"""),
    "a comparison": ("x: f16[n], y: f16[n]", "%0: b1[n] = less x, y\nreturn %0", """
        %0: f32[n] = cast x {dtype=f32}
        %1: f32[n] = cast y {dtype=f32}
        %2: b1[n] = less %0, %1
        return %2"""),
    "a dtype among the attributes": ("x: f16[n]", "%0: f16[3] = iota {axis=0, dtype=f16, shape=(3,)}\nreturn %0", """
        %0: f32[3] = iota {axis=0, dtype=f32, shape=(3,)}
        %1: f16[3] = cast %0 {dtype=f16}
        return %1"""),
    "a library's kernel": ("x: bf16[n]", "%0: bf16[n] = cumulative x {axis=0, kind=\"sum\"}\nreturn %0", """
        %0: f32[n] = cast x {dtype=f32}
        %1: f32[n] = cumulative %0 {axis=0, kind=\"sum\"}
        %2: bf16[n] = cast %1 {dtype=bf16}
        return %2"""),
    "movement": ("x: f16[4,2], c: b1[4,2], k: i32[3]", """
        %0: f16[2,4] = transpose x {permutation=(1, 0)}
        %1: f16[8] = reshape %0 {shape=(8,)}
        %2: f16[4,2] = select c, x, x
        %3: f16[3,2] = gather %2, k {axis=0}
        %4: f16[7,2] = concat %2, %3 {axis=0}
        %5: f32[8] = cast %1 {dtype=f32}
        return %4, %5""", None),
    "wider dtypes": ("x: f32[n], y: f64[n]", "%0: f32[n] = add x, x\n%1: f64[n] = add y, y\nreturn %0, %1", None),
}  # fmt: skip


def widened(inputs: str, body: str) -> str:
    return f"graph f({inputs}) {{\n{body}\n}}"


@pytest.mark.parametrize("name", CASES)
def test_cases(check, name):
    inputs, body, expected = CASES[name]
    check(widen_narrow, inputs, body, expected)


def test_inside_branches_and_bodies():
    @gf.function
    def f(x):
        total = x
        for row in gf.range(3):
            total = gf.cond(gf.reduce_sum(total) > 0, lambda t=total: t * 1.1, lambda t=total: t - 1)
            total = total + gf.cast(row, gf.bfloat16)
        return total

    graph = f.get_concrete_function(gf.constant([0.3, 0.7], gf.bfloat16)).graph
    after = widen_narrow(graph, PassContext())

    def arithmetic(graph):
        for node in graph.nodes:
            yield from (v for v in (*node.inputs, *node.outputs) if not node.op.takes_narrow)
            for inner in node.subgraphs():
                yield from arithmetic(inner)

    assert any(v.type.dtype.is_narrow for v in arithmetic(graph))
    assert not any(v.type.dtype.is_narrow for v in arithmetic(after))
    assert widen_narrow(after, PassContext()) is after


def test_no_rounding_is_dropped():
    """f32 -> narrow -> f32 is no identity, whatever stands before and behind; narrow -> f32 -> narrow is one."""
    for dtype in ("f16", "bf16"):
        text = f"""graph f(x: f32[n]) -> (f32[n], f64[n]) {{
          %0: {dtype}[n] = cast x {{dtype={dtype}}}
          %1: f32[n] = cast %0 {{dtype=f32}}
          %2: f64[n] = cast %1 {{dtype=f64}}
          return %1, %2
        }}"""
        final, _ = run_pipeline(parse(text), [widen_narrow, canonicalise], PassContext())
        kinds = [v.type.dtype.short for n in final.nodes for v in n.outputs]
        assert kinds.count(dtype) == 1
        other = f"""graph f(x: {dtype}[n]) -> ({dtype}[n]) {{
          %0: f32[n] = cast x {{dtype=f32}}
          %1: {dtype}[n] = cast %0 {{dtype={dtype}}}
          return %1
        }}"""
        final, _ = run_pipeline(parse(other), [widen_narrow, canonicalise], PassContext())
        assert final.outputs == final.inputs


def fused_graph(function, *arguments):
    with config.override(check=True):
        return optimise(function.get_concrete_function(*arguments).graph)[0]


def test_a_chain_is_one_loop_over_narrow_arrays():
    @gf.function
    def f(x, y):
        return gf.tanh(x * y + 1) / gf.exp(y)

    x = gf.constant(np.linspace(-1, 1, 12).reshape(3, 4), gf.bfloat16)
    final = fused_graph(f, x, x)
    (node,) = final.nodes
    assert {v.type.dtype.short for v in (*node.inputs, *node.outputs)} == {"bf16"}


def test_loops_read_narrow_values_and_convert_them():
    """What two loops need is stored narrow, and each loop widens it; only a matrix product gets float32 in memory."""

    @gf.function
    def f(x):
        y = gf.exp(x)
        return gf.reduce_sum(y, 0), gf.sqrt(gf.reduce_sum(y, 1, keepdims=True) * y), gf.gather(y, [1, 0])

    @gf.function
    def g(x):
        y = gf.exp(x)
        return gf.reduce_sum(y, 0), gf.matmul(y, y)

    x = gf.constant(np.linspace(-1, 1, 9).reshape(3, 3), gf.float16)
    stored = {v.type.dtype.short for n in fused_graph(f, x).nodes for v in n.outputs if v.type.rank == 2}
    assert stored == {"f16"}
    final = fused_graph(g, x)
    widened = [v for n in final.nodes for v in n.outputs if v.type.dtype.short == "f32"]
    assert len(widened) == 2  # the product's operand, and the product before it is rounded
    for function in (f, g):
        for one, other in zip(function(x), function.python_function(x), strict=True):
            assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def test_constants_are_rounded_in_the_narrow_dtype_first():
    """x + 0.1 in bfloat16 adds bfloat16's 0.1, folded into a float32 constant."""
    f = gf.function(lambda x: x + 0.1)
    x = gf.constant([1.0, 2.0], gf.bfloat16)
    text = print_graph(fused_graph(f, x))
    assert f"f32 {float(np.asarray(gf.constant(0.1, gf.bfloat16)).astype(np.float32))}"[:14] in text
    np.testing.assert_array_equal(np.asarray(f(x)), np.asarray(x + 0.1))
