"""The printed kernels: readable, complete, and compiled to PTX where a compiler is installed."""

from __future__ import annotations

import importlib.util
import textwrap

import numpy as np
import pytest

import graphflow as gf
import graphflow.ops  # registers the ops
from graphflow.errors import FailedPreconditionError
from graphflow.ir import parse
from graphflow.kernels.lower import lower
from graphflow.passes.fuse import fuse
from graphflow.passes.manager import PassContext, run_pipeline
from graphflow.runtime.cuda.available import cuda, is_available
from graphflow.runtime.cuda.kernels import kernels_ptx
from graphflow.runtime.cuda.source import kernels_of, print_kernels


def nests(text):
    graph, _ = run_pipeline(parse(textwrap.dedent(text)), [fuse], PassContext(), verify=True)
    return [lower(n.attributes["body"], f"kernel{k}") for k, n in enumerate(graph.nodes) if n.op.name == "fused"]


MAP = """
    graph f(x: f32[n,m], y: f32[m]) -> (f32[n,m], b1[n,m]) {
      %0: f32[n,m] = multiply x, y     # train.py:12  x * y
      %1: b1[n,m] = greater %0, y      # train.py:13  p > y
      return %0, %1
    }"""
ROWS = """
    graph f(x: f32[n,m]) -> (f32[n,m]) {
      %0: f32[n,1] = reduce_max x {axes=(1,), keepdims=True}    # a.py:1
      %1: f32[n,m] = subtract x, %0                             # a.py:2
      %2: f32[n,m] = exp %1                                     # a.py:2
      %3: f32[n,1] = reduce_sum %2 {axes=(1,), keepdims=True}   # a.py:3
      %4: f32[n,m] = divide %2, %3                              # a.py:3
      return %4
    }"""
FULL = """
    graph f(x: f32[n,m]) -> (f32[], i64[m]) {
      %0: f32[] = reduce_sum x {axes=(0,1)}    # a.py:1
      %1: i64[m] = argmax x {axis=0}           # a.py:2
      return %0, %1
    }"""
CHECKED = """
    graph f(x: i32[n,m], y: i32[m], p: f32[k,3], q: i32[n]) -> (i32[n,m], f32[n,3]) {
      %0: i32[n,m] = floordiv x, y             # a.py:1
      %1: f32[n,3] = gather p, q {axis=0}      # a.py:2
      return %0, %1
    }"""
ALL = (MAP, ROWS, FULL, CHECKED)


def test_a_map_reads_as_a_grid_stride_loop_with_the_users_lines():
    assert print_kernels(nests(MAP)) == textwrap.dedent("""\
        @cuda.jit
        def kernel0(a0, a1, out0, out1, n, m):
            # train.py:12 x * y
            # train.py:13 p > y
            for element in range(cuda.grid(1), n * m, cuda.gridsize(1)):
                i1 = element % m
                i0 = element // m
                v0 = a0[i0 * m + i1]
                v1 = a1[i1]
                v2 = mul_f32(v0, v1)
                v3 = gt_f32(v2, v1)
                out0[i0 * m + i1] = v2
                out1[i0 * m + i1] = v3
        """)


def test_a_softmax_is_one_kernel_with_a_block_for_each_row():
    (nest,) = nests(ROWS)
    (kernel,) = kernels_of(nest).kernels
    assert kernel.threads == 64 and kernel.unit == 1, "lanes of the f32 reduction tree"
    assert kernel.source.count("cuda.shared.array(64, float32)") == 2
    assert "for i0 in range(cuda.blockIdx.x, n, cuda.gridDim.x):" in kernel.source


def test_a_full_reduction_is_two_kernels_without_float_atomics():
    found = {k.name: k for nest in nests(FULL) for k in kernels_of(nest).kernels}
    finish = [k for name, k in found.items() if name.endswith("_finish")]
    assert len(found) == 3 and len(finish) == 1
    assert "partial0[block] = shared0[0]" in found[finish[0].name.removesuffix("_finish")].source
    assert not any("atomic" in k.source for k in found.values())


def test_checks_report_number_and_element():
    source = print_kernels(nests(CHECKED))
    assert "cuda.atomic.min(status, 0, ((first_check + 0) << 44) + i0 * m + i1)" in source
    assert "# fine, or division_by_zero at a.py:1" in source
    assert "# fine, or index_out_of_range at a.py:2" in source


@pytest.mark.parametrize("text", ALL)
def test_every_kernel_is_valid_python(text):
    for nest in nests(text):
        for kernel in kernels_of(nest).kernels:
            compile(kernel.source, kernel.name, "exec")
            assert kernel.source.count("\n    # ") >= 1, "the user's lines"


def test_ptx_or_one_clear_sentence():
    for text in ALL:
        found = kernels_ptx(nests(text))
        if importlib.util.find_spec("numba_cuda") is None:
            assert found == (
                "no PTX: numba-cuda, which brings the compiler, is not installed; next: pip install 'graphflow[cuda]'"
            )
        elif found.startswith("no PTX"):
            assert "next: " in found and "\n" not in found, "numba-cuda without its compiler wheels"
        else:
            assert found.startswith("// kernel0: ") and ".visible .entry" in found
            assert "atom.add.f32" not in found


def test_a_function_shows_its_kernels_in_both_forms():
    @gf.function
    def f(x):
        return gf.tanh(x) + 1.0

    x = gf.constant(np.ones(3, np.float32))
    assert f.kernels(x, form="python").startswith("@cuda.jit\ndef kernel0(")
    assert f.kernels(x, form="ptx").startswith(("no PTX: ", "// kernel0: "))


@pytest.mark.skipif(is_available(), reason="there is a GPU here")
def test_asking_for_cuda_without_a_gpu_says_what_to_install():
    with pytest.raises(FailedPreconditionError, match=r"pip install 'graphflow\[cuda\]'"):
        cuda()
