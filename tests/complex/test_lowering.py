"""The pass that writes complex numbers as pairs: what is left of them, what fuses, and that values cross every border."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow import config
from graphflow.ir.graph import Graph
from graphflow.passes.lower_complex import lower_complex
from graphflow.passes.manager import PassContext


@pytest.fixture(autouse=True)
def verified() -> Any:
    with config.override(check=True):
        yield


def random(*shape: int, kind: str = "complex128", seed: int = 0) -> np.ndarray:
    parts = np.random.default_rng(seed).standard_normal((2, *shape))
    return (parts[0] + 1j * parts[1]).astype(kind)


def every_node(graph: Graph) -> list[Any]:
    return [n for node in graph.nodes for n in (node, *(m for g in node.subgraphs() for m in every_node(g)))]


BORDER = {"as_pairs", "from_pairs", "read_variable", "assign_variable", "print", "python_call", "assert_true"}


def compute_with_complex(graph: Graph) -> set[str]:
    return {
        n.op.name for n in every_node(graph) if any(v.type.dtype.is_complex for v in (*n.inputs, *n.outputs))
    } - BORDER


def test_a_product_in_text() -> None:
    graph = gf.ir.parse(
        """graph f(x: c64[n], y: c64[n]) -> (c64[n]) {
  %0: c64[n] = multiply x, y  # <text>:1
  return %0
}"""
    )
    found = lower_complex(graph, PassContext())
    assert [n.op.name for n in found.nodes] == [
        "as_pairs", "strided_slice", "reshape", "strided_slice", "reshape", "as_pairs", "strided_slice", "reshape", "strided_slice",
        "reshape", "multiply", "multiply", "subtract", "multiply", "multiply", "add", "interleave", "from_pairs",
    ]  # fmt: skip
    assert not compute_with_complex(found)
    assert gf.ir.parse(str(found)) == found


def test_a_real_graph_stays_the_same_object() -> None:
    graph = gf.ir.parse("graph f(x: f32[n]) -> (f32[n]) {\n  %0: f32[n] = exp x  # <text>:1\n  return %0\n}")
    assert lower_complex(graph, PassContext()) is graph


def test_a_chain_and_its_sum_are_one_kernel() -> None:
    @gf.function
    def f(a: Any, b: Any) -> Any:
        c = gf.exp(a * b) / (b + 2j)
        return c, gf.reduce_sum(c, 1)

    a, b = random(6, 37), random(6, 37, seed=1)
    found = f(gf.constant(a), gf.constant(b))
    expected = np.exp(a * b) / (b + 2j)
    np.testing.assert_allclose(np.asarray(found[0]), expected, rtol=1e-13)
    np.testing.assert_allclose(np.asarray(found[1]), expected.sum(1), rtol=1e-12)
    assert len([n for n in gf.ir.parse(f.ir(a, b)).nodes if n.op.name == "fused"]) == 1


@pytest.mark.parametrize("kind", ["complex64", "complex128"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 4095, 4097])
def test_vectors_of_pairs_at_every_remainder(kind: str, size: int) -> None:
    """Loads and stores of pairs are wide vectors; the last one is masked and touches nothing beside the array."""
    z = random(size, kind=kind, seed=size)

    @gf.function
    def f(x: Any) -> Any:
        return x + x, gf.math.conj(x), gf.math.imag(x), gf.reverse(x, [0])

    double, conj, imag, turned = map(np.asarray, f(gf.constant(z)))
    np.testing.assert_array_equal(double, z + z)
    np.testing.assert_array_equal(conj, z.conj())
    np.testing.assert_array_equal(imag, z.imag)
    np.testing.assert_array_equal(turned, z[::-1])


def test_views_read_in_place() -> None:
    z = random(6, 8)

    @gf.function
    def f(x: Any) -> Any:
        return gf.transpose(x) * 1j, x[1:, ::3] + 1, gf.broadcast_to(x[0], [3, 8]) * 2, x[..., -1]

    found = f(gf.constant(z))
    for one, expected in zip(
        found, (z.T * 1j, z[1:, ::3] + 1, np.broadcast_to(z[0], (3, 8)) * 2, z[..., -1]), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(one), expected)


def test_inputs_results_and_constants_pass_through() -> None:
    z = random(5)

    @gf.function
    def f(x: Any) -> Any:
        return x, gf.identity(x), gf.constant([1j, 2.0]), gf.zeros([3], gf.complex64)

    same, also, constant, zeros = f(gf.constant(z))
    np.testing.assert_array_equal(np.asarray(same), z)
    np.testing.assert_array_equal(np.asarray(also), z)
    np.testing.assert_array_equal(np.asarray(constant), [1j, 2])
    assert zeros.dtype is gf.complex64 and not np.asarray(zeros).any()


def test_variables_are_updated_in_place_and_restored_after_a_failure() -> None:
    start = random(4, seed=3)
    v = gf.Variable(start)

    @gf.function
    def update(x: Any, divisor: Any) -> Any:
        v.assign_sub(x * 2j)
        v.assign(v * v)
        return gf.constant(6) // divisor

    x = random(4, seed=4)
    update(gf.constant(x), gf.constant(2))
    expected = (start - x * 2j) ** 2
    np.testing.assert_allclose(v.numpy(), expected, rtol=1e-14)
    with pytest.raises(ZeroDivisionError):
        update(gf.constant(x), gf.constant(0))
    np.testing.assert_allclose(v.numpy(), expected, rtol=1e-14)


def test_loops_and_branches_carry_pairs() -> None:
    @gf.function
    def f(x: Any, n: Any) -> Any:
        total = gf.zeros_like(x)
        for _ in gf.range(n):
            if gf.math.real(x[0]) > 0.0:
                x = x * 1j
            else:
                x = x / (1 + 1j)
            total = total + x
        return total, x[0]

    z = random(5, seed=6)
    x, total = z, np.zeros_like(z)
    for _ in range(7):
        x = x * 1j if x[0].real > 0 else x / (1 + 1j)
        total = total + x
    found = f(gf.constant(z), gf.constant(7))
    np.testing.assert_allclose(np.asarray(found[0]), total, rtol=1e-13)
    np.testing.assert_allclose(complex(found[1]), x[0], rtol=1e-13)
    graph = gf.ir.parse(f.ir(gf.constant(z), gf.constant(7)))
    assert any(n.op.name == "while" for n in graph.nodes)
    assert not compute_with_complex(graph)


def test_a_scalar_loop_and_its_gradient_are_those_of_eager() -> None:
    def power(x: Any, n: Any) -> Any:
        y = x
        k = 0
        while k < n:
            y = gf.sin(y) * x + 1j
            k += 1
        return y

    def slope(function: Any, n: Any) -> Any:
        x = gf.constant(0.5 + 0.25j)
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = function(x, n)
            loss = gf.math.real(y) * gf.math.imag(y)
        return complex(tape.gradient(loss, x)), complex(y)

    graph = gf.function(power)
    assert slope(graph, gf.constant(4)) == slope(power, 4)

    @gf.function
    def inside(n: Any) -> Any:
        x = gf.constant(0.5 + 0.25j)
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = power(x, n)
            loss = gf.math.real(y) * gf.math.imag(y)
        return tape.gradient(loss, x)

    assert complex(inside(gf.constant(4))) == slope(power, 4)[0]


def test_arrays_that_grow_and_rows_that_are_written() -> None:
    @gf.function
    def rows(n: Any) -> Any:
        array = gf.TensorArray(gf.complex64, size=n)
        for k in gf.range(n):
            array = array.write(k, gf.complex(gf.cast(k, gf.float32), 1.0) * gf.ones([2], gf.complex64))
        return array.stack()

    np.testing.assert_array_equal(np.asarray(rows(gf.constant(3))), [[1j, 1j], [1 + 1j] * 2, [2 + 1j] * 2])

    @gf.function
    def grow(n: Any) -> Any:
        def body(k: Any, x: Any) -> Any:
            return k + 1, gf.concat([x, gf.reshape(gf.cast(k, gf.complex128) * 1j, [1])], 0)

        shapes = [gf.TensorShape([]), gf.TensorShape([None])]
        return gf.while_loop(
            lambda k, x: k < n, body, [gf.constant(0), gf.zeros([0], gf.complex128)], shape_invariants=shapes
        )[1]

    np.testing.assert_array_equal(np.asarray(grow(gf.constant(4))), [0, 1j, 2j, 3j])


def test_python_is_called_with_complex_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    @gf.function
    def f(x: Any) -> Any:
        gf.print(x * 1j)
        gf.debugging.assert_equal(x, x)
        return gf.numpy_function(lambda a: a.conj(), [x * 2.0], gf.TensorSpec([2], gf.complex128)) + 1

    np.testing.assert_array_equal(np.asarray(f(gf.constant([1 + 2j, 3.0]))), [3 - 4j, 7])
    assert "-2.+1.j" in capsys.readouterr().err


def test_one_trace_serves_every_size() -> None:
    @gf.function
    def f(x: Any) -> Any:
        return gf.matmul(x, x, adjoint_b=True), gf.reduce_prod(x, 1), gf.cumsum(x, 1), gf.shape(x)

    for n in (2, 5, 6, 9):
        z = random(3, n, seed=n)
        product, total, running, shape = f(gf.constant(z))
        np.testing.assert_allclose(np.asarray(product), z @ z.conj().T, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(np.asarray(total), z.prod(1), rtol=1e-12)
        np.testing.assert_allclose(np.asarray(running), z.cumsum(1), rtol=1e-12, atol=1e-13)
        assert shape.tolist() == [3, n]
    assert f.experimental_get_tracing_count() == 2


def test_threads_do_not_change_a_bit() -> None:
    z = random(300, 1000, kind="complex64")

    @gf.function
    def f(x: Any) -> Any:
        return gf.reduce_sum(gf.exp(x) * x), gf.signal.fft(x)

    first = [np.asarray(v).tobytes() for v in f(gf.constant(z))]
    for _ in range(3):
        assert [np.asarray(v).tobytes() for v in f(gf.constant(z))] == first
