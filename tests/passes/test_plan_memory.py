"""The memory plan of optimised graphs, as text: where every value lives, what is copied at the end."""

from __future__ import annotations

import numpy as np
import pytest

from graphflow.compiler import compile_graph, optimise
from graphflow.ir.dims import evaluate
from graphflow.passes.plan_memory import bytes_of, is_fallible, plan_memory

W, VW = "x: f32[4], w: var f32[4]", "v: var f32[4], w: var f32[4]"


def shown(graph):
    """One line for each value that a kernel makes, then the arena, the commits and the copies to outputs."""
    plan = plan_memory(graph)
    names = {v: v.name for v in graph.inputs}
    for node in graph.nodes:
        for value in node.outputs:
            names[value] = f"%{len(names) - len(graph.inputs)}"
    lines = []
    for node in graph.nodes:
        for value in node.outputs:
            root, place = plan.root(value), plan.place(value)
            named = place.kind in ("variable", "input")
            target = graph.inputs[place.index].name if named else f"{place.kind} {place.index}"
            lines.append(f"{names[value]} {node.op.name} -> {target}" + ("" if root is value else " (alias)"))
    lines += [f"temporary {k}: {t.bytes} bytes, steps {t.first} to {t.last}" for k, t in enumerate(plan.temporaries)]
    lines += [f"commit {variable.name} = {names[value]}" for variable, value in plan.commits]
    lines += [f"output {position} = {names[value]}" for position, value in plan.output_copies]
    return "\n".join(lines)


CASES = {
    "one kernel writes the output": ("x: f32[n]", "%0: f32[n] = exp x\nreturn %0", "%0 fused -> output 0"),
    "input as an output": ("x: f32[n]", "return x", "output 0 = x"),
    "one value twice": ("x: f32[n]", "%0: f32[n] = exp x\nreturn %0, %0", "%0 fused -> output 0\noutput 1 = %0"),
    "reshape as an output": (
        "x: f32[4]", "%0: f32[4] = exp x\n%1: f32[2,2] = reshape %0 {shape=(2, 2)}\nreturn %1",
        "%0 fused -> output 0\n%1 reshape -> output 0 (alias)"),
    "value and its reshape": (
        "x: f32[4]", "%0: f32[4] = exp x\n%1: f32[2,2] = reshape %0 {shape=(2, 2)}\nreturn %0, %1",
        "%0 fused -> output 0\n%1 reshape -> output 0 (alias)\noutput 1 = %1"),
    "constant as an output": (
        "x: f32[4]", "%0: f32[2] = constant {value=f32 [1.0, 2.0]}\nreturn %0", "%0 constant -> constant 0\n"
        "output 0 = %0"),
    "product between": (
        "x: f32[4,4]", "%0: f32[4,4] = exp x\n%1: f32[4,4] = matmul %0, x\n%2: f32[4,4] = tanh %1\nreturn %2",
        "%0 fused -> temporary 0\n%1 matmul -> temporary 1\n%2 fused -> output 0\n"
        "temporary 0: 64 bytes, steps 0 to 1\ntemporary 1: 64 bytes, steps 1 to 2"),
    "in place of a dying operand": (
        "x: f32[4,4]", "%0: f32[4,4] = matmul x, x\n%1: f32[4,4] = tanh %0\n%2: f32[4,4] = matmul %1, x\nreturn %2",
        "%0 matmul -> temporary 0\n%1 fused -> temporary 0\n%2 matmul -> output 0\n"
        "temporary 0: 64 bytes, steps 0 to 2"),
    "not in place of a living operand": (
        "x: f32[4,4]", "%0: f32[4,4] = matmul x, x\n%1: f32[4,4] = tanh %0\n%2: f32[4,4] = matmul %1, %0\nreturn %2",
        "%0 matmul -> temporary 0\n%1 fused -> temporary 1\n%2 matmul -> output 0\n"
        "temporary 0: 64 bytes, steps 0 to 2\ntemporary 1: 64 bytes, steps 1 to 2"),
    "not in place of an operand read elsewhere": (
        "x: f32[4,4]", "%0: f32[4,4] = matmul x, x\n%1: f32[4,4] = transpose %0 {permutation=(1, 0)}\n"
        "%2: f32[4,4] = add %0, %1\n"
                       "%3: f32[4,4] = matmul %2, x\nreturn %3",
        "%0 matmul -> temporary 0\n%1 fused -> temporary 1\n%2 matmul -> output 0\n"
        "temporary 0: 64 bytes, steps 0 to 1\ntemporary 1: 64 bytes, steps 1 to 2"),
    "not in place where a reduction reads first": (
        "x: f32[4,4]", "%0: f32[4,4] = matmul x, x\n%1: f32[4,1] = reduce_sum %0 {axes=(1,), keepdims=True}\n"
                       "%2: f32[4,4] = subtract %0, %1\n%3: f32[4,4] = matmul %2, x\nreturn %3",
        "%0 matmul -> temporary 0\n%1 fused -> temporary 1\n%2 matmul -> output 0\n"
        "temporary 0: 64 bytes, steps 0 to 1\ntemporary 1: 64 bytes, steps 1 to 2"),
    "update in place": (
        W, "%0: f32[4] = read_variable w\n%1: f32[4] = add %0, x\nassign_variable w, %1\nreturn",
        "%0 read_variable -> w (alias)\n%1 fused -> w"),
    "update of an output too": (
        W, "%0: f32[4] = read_variable w\n%1: f32[4] = add %0, x\nassign_variable w, %1\nreturn %1",
        "%0 read_variable -> w (alias)\n%1 fused -> output 0\ncommit w = %1"),
    "old value returned": (
        W, "%0: f32[4] = read_variable w\n%1: f32[4] = add %0, x\nassign_variable w, %1\nreturn %0",
        "%0 read_variable -> w (alias)\n%1 fused -> temporary 0\ntemporary 0: 16 bytes, steps 1 to 3\n"
        "commit w = %1\noutput 0 = %0"),
    "old value read at other places": (
        "w: var f32[4]", "%0: f32[4] = read_variable w\n%1: f32[4] = reverse %0 {axes=(0,)}\n%2: f32[4] = add %0, %1\n"
                         "assign_variable w, %2\nreturn",
        "%0 read_variable -> w (alias)\n%1 fused -> temporary 0\ntemporary 0: 16 bytes, steps 1 to 3\ncommit w = %1"),
    "old value read by a later kernel": (
        "w: var f32[4,4]", "%0: f32[4,4] = read_variable w\n%1: f32[4,4] = exp %0\nassign_variable w, %1\n"
        "%2: f32[4,4] = matmul %0, %0\nreturn %2",
        "%0 read_variable -> w (alias)\n%1 fused -> temporary 0\n%2 matmul -> output 0\n"
        "temporary 0: 64 bytes, steps 1 to 4\ncommit w = %1"),
    "swap": (
        VW, "%0: f32[4] = read_variable v\n%1: f32[4] = read_variable w\nassign_variable v, %1\n"
        "assign_variable w, %0\nreturn",
        "%0 read_variable -> v (alias)\n%1 read_variable -> w (alias)\ncommit v = %1\ncommit w = %0"),
    "one new value for two variables": (
        VW, "%0: f32[4] = read_variable v\n%1: f32[4] = negative %0\nassign_variable v, %1\nassign_variable w, %1\n"
        "return",
        "%0 read_variable -> v (alias)\n%1 fused -> v\ncommit w = %1"),
    "assign of itself": (W, "%0: f32[4] = read_variable w\nassign_variable w, %0\n"
    "return", "%0 read_variable -> w (alias)"),
    "assign of an input": (W, "assign_variable w, x\nreturn", "commit w = x"),
    "a check that can fail: commit at the end": (
        "x: i32[4], w: var i32[4]", "%0: i32[4] = read_variable w\n%1: i32[4] = floordiv %0, x\n"
        "assign_variable w, %1\nreturn",
        "%0 read_variable -> w (alias)\n%1 fused -> temporary 0\ntemporary 0: 16 bytes, steps 1 to 3\ncommit w = %1"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_plan(graph_of, case):
    inputs, body, expected = CASES[case]
    graph, _, _ = optimise(graph_of(inputs, body))
    assert shown(graph) == expected


@pytest.mark.parametrize("case", CASES)
def test_what_the_plan_gives(graph_of, run_graph, same_bits, case):
    """Outputs and variables of the planned program are those of the references."""
    inputs, body, _ = CASES[case]
    graph = graph_of(inputs, body)
    arrays = []
    for k, value in enumerate(graph.inputs):
        shape = [d if isinstance(d, int) else 5 for d in value.type.shape]
        arrays.append((np.arange(np.prod(shape)).reshape(shape) % 3 + 1 + k).astype(value.type.dtype.numpy))
    wanted, variables = run_graph(graph, arrays)
    executable = compile_graph(graph)
    own = {v: a.copy() for v, a in zip(executable.graph.inputs, arrays, strict=True) if v.is_variable}
    extents = dict.fromkeys(graph.symbols, 5)
    outputs = [np.empty([evaluate(d, extents) for d in v.type.shape], v.type.dtype.numpy) for v in graph.outputs]
    tensors = [a for v, a in zip(graph.inputs, arrays, strict=True) if not v.is_variable]
    assert executable.program.bind(own, extents).call(*tensors, *outputs) == 0
    if "exp" in body or "tanh" in body or "matmul" in body:
        for a, b in zip([*wanted, *variables], [*outputs, *own.values()], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
    else:
        same_bits(wanted, outputs)
        same_bits(variables, list(own.values()))


def test_places_do_not_overlap(graph_of):
    """A chain of products needs two temporaries at a time: the arena is no larger, whatever the length."""
    body = "\n".join(f"%{k}: f32[16,16] = matmul {f'%{k - 1}' if k else 'x'}, x" for k in range(8))
    executable = compile_graph(graph_of("x: f32[16,16]", f"{body}\nreturn %7"))
    assert len(executable.program.plan.temporaries) == 7
    assert executable.program.bind({}, {}).arena_bytes == 2 * 16 * 16 * 4


def test_sizes_are_symbolic(graph_of):
    graph, _, _ = optimise(graph_of("x: f32[n,n]", "%0: f32[n,n] = exp x\n%1: f32[n,n] = matmul %0, x\nreturn %1"))
    (temporary,) = plan_memory(graph).temporaries
    assert str(temporary.bytes) == "4*n*n"
    assert evaluate(bytes_of(temporary.owner), {"n": 3}) == 36


def test_fallible(graph_of):
    def fails(inputs, body, final=False):
        graph = graph_of(inputs, body)
        return [is_fallible(n) for n in (optimise(graph)[0] if final else graph).nodes]

    assert fails("x: i32[4]", "%0: i32[4] = floordiv x, x\nreturn %0") == [True]
    assert fails("x: i32[4]", "%0: i32[4] = floordiv x, x\nreturn %0", final=True) == [True]  # inside a fused body
    assert fails("c: b1[]", 'assert_true c {message="no"}\nreturn') == [True]
    assert fails("x: f32[4]", "%0: f32[4] = exp x\nreturn %0") == [False]
    assert fails("x: f32[4]", "%0: f32[4] = pow x, x\n%1: f32[4] = floordiv %0, x\nreturn %1") == [False, False]
    assert fails("x: i32[4]", "%0: i32[4] = pow x, x\nreturn %0") == [True]


def test_a_variable_changes_in_place_after_the_last_check(graph_of):
    """An update that nothing can take back any more is written where the variable lies; one before a check waits for the end."""
    inputs = "x: f32[4,4], k: i32[4], w: var f32[4,4]"
    update = (
        "%0: f32[4,4] = gather x, k {axis=0}\n%1: f32[4,4] = matmul %0, x\n%2: f32[4,4] = add w, %1\n"
        "%3: f32[4,4] = matmul %2, x\n%4: i32[4,4] = cast %3 {dtype=i32}\nassign_variable w, %2\n"
    )
    for rest, copied in (("return %4", 0), ("%5: i32[4,4] = floordiv %4, %4\nreturn %5", 1)):
        graph, _, _ = optimise(graph_of(inputs, update + rest))
        assert len(plan_memory(graph).commits) == copied
