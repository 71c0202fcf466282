"""Placement: text in, text out."""

from __future__ import annotations

import re
import textwrap
import warnings

import numpy as np
import pytest

import graphflow as gf
import graphflow.ops  # registers the ops
from graphflow import config
from graphflow.errors import CompileError, FailedPreconditionError, VerifyError
from graphflow.ir import parse, print_graph, verify
from graphflow.passes import place_devices as placement
from graphflow.passes.fuse import fuse
from graphflow.passes.manager import PassContext, run_pipeline
from graphflow.passes.merge_common import merge_common
from graphflow.passes.place_devices import place_devices
from graphflow.runtime.cuda.available import is_available

GPU = {"GPU:0", "CPU:0"}


def placed(text, requests, devices=GPU, passes=(place_devices,)):
    """(the text after the passes, the context): `requests` gives the node of each number its gf.device scope."""
    graph = parse(textwrap.dedent(text))
    for number, device in requests.items():
        graph.nodes[number].device = device
    context = PassContext(options={"devices": devices})
    result, _ = run_pipeline(graph, passes, context, verify=True)
    return print_graph(result, sources=False), context


def same(found, expected):
    def squeezed(text):
        return [re.sub(r"\s+", " ", line).strip() for line in text.strip().splitlines()]

    assert squeezed(found) == squeezed(expected)


def test_a_chain_is_copied_in_once_and_out_once():
    found, _ = placed(
        """
        graph f(x: f32[n]) -> (f32[n]) {
          %0: f32[n] = exp x         # a.py:1
          %1: f32[n] = multiply %0, x   # a.py:2
          return %1
        }""",
        {0: "GPU:0", 1: "GPU:0"},
    )
    same(
        found,
        """
        graph f(x: f32[n]) -> (f32[n]) {
          %0: f32[n]@GPU:0 = copy x {device="GPU:0"}
          %1: f32[n]@GPU:0 = exp %0
          %2: f32[n]@GPU:0 = multiply %1, %0
          %3: f32[n] = copy %2 {device="CPU:0"}
          return %3
        }""",
    )


def test_nodes_without_a_request_follow_their_operands():
    found, _ = placed(
        """
        graph f(x: f32[n], y: f32[n]) -> (f32[n], f32[n]) {
          %0: f32[n] = exp x         # a.py:1
          %1: f32[n] = negative %0   # a.py:2
          %2: f32[n] = tanh y        # a.py:3
          return %1, %2
        }""",
        {0: "GPU:0"},
    )
    assert "negative %1" in found and re.search(r"f32\[n\]@GPU:0 = negative", found)
    assert re.search(r"f32\[n\]\s+= tanh y", found)


def test_one_element_does_not_pull_an_array_to_the_gpu():
    found, _ = placed(
        """
        graph f(x: f32[n]) -> (f32[n]) {
          %0: f32[] = reduce_sum x {axes=(0,)}   # a.py:1
          %1: f32[n] = divide x, %0   # a.py:2
          return %1
        }""",
        {0: "GPU:0"},
    )
    assert re.search(r"f32\[n\]\s+= divide x", found)


def test_a_request_for_the_cpu_holds_and_each_value_crosses_once():
    found, _ = placed(
        """
        graph f(x: f32[n]) -> (f32[n], f32[n]) {
          %0: f32[n] = exp x            # a.py:1
          %1: f32[n] = tanh %0          # a.py:2
          %2: f32[n] = negative %0      # a.py:3
          %3: f32[n] = add %1, %2       # a.py:4
          return %3, %0
        }""",
        {0: "GPU:0", 1: "CPU:0", 2: "CPU:0", 3: "GPU:0"},
    )
    assert found.count("copy %1") == 1, "one copy serves both nodes and the output"
    assert found.count("copy") == 5


def test_variables_stay_on_the_host():
    found, _ = placed(
        """
        graph f(x: f32[2], w: var f32[2]) -> () {
          %0: f32[2] = read_variable w   # a.py:1
          %1: f32[2] = multiply %0, x    # a.py:2
          assign_variable w, %1          # a.py:3
          %2: f32[2] = read_variable w   # a.py:4
          %3: f32[2] = exp %2            # a.py:4
          assign_variable w, %3          # a.py:5
          return
        }""",
        dict.fromkeys(range(6), "GPU:0"),
    )
    assert re.search(r"%\d+: f32\[2\]\s+= read_variable w", found)
    assert re.search(r"exp %3\b", found), "the value of the first write is read where it was computed"
    assert found.count('{device="CPU:0"}') == 2


def test_constants_and_prints_stay_on_the_host():
    found, context = placed(
        """
        graph f(x: f32[2]) -> (f32[2]) {
          %0: f32[] = constant {value=f32 2.0}   # a.py:1
          %1: f32[2] = multiply x, %0            # a.py:1
          print %1 {template="{}"}               # a.py:2
          return %1
        }""",
        {0: "GPU:0", 1: "GPU:0", 2: "GPU:0"},
    )
    assert re.search(r"%\d: f32\[\]\s+= constant", found)
    assert re.search(r"f32\[\]@GPU:0\s+= copy", found)
    assert re.search(r"%(\d): f32\[2\]\s+= copy %\d .*\n\s+print %\1 ", found)
    assert context.remarks == []


def test_a_node_without_a_gpu_kernel_stays_with_a_remark():
    found, context = placed(
        "graph f(x: f16[n]) -> (f16[n]) {\n %0: f16[n] = negative x  # a.py:7\n return %0\n}", {0: "GPU:0"}
    )
    assert "GPU" not in found
    assert [r.category for r in context.remarks] == ["placement: no GPU kernel"]
    assert "f16[n]" in context.remarks[0].message and context.remarks[0].sources[0].line == 7


def test_a_graph_without_requests_is_untouched():
    graph = parse("graph f(x: f32[n]) -> (f32[n]) {\n %0: f32[n] = exp x  # a.py:1\n return %0\n}")
    assert place_devices(graph, PassContext()) is graph


def test_equal_nodes_of_different_devices_are_not_merged_nor_fused():
    text = """
        graph f(x: f32[n]) -> (f32[n], f32[n]) {
          %0: f32[n] = exp x            # a.py:1
          %1: f32[n] = exp x            # a.py:2
          %2: f32[n] = negative %0      # a.py:3
          %3: f32[n] = negative %1      # a.py:4
          return %2, %3
        }"""
    requests = {0: "GPU:0", 2: "GPU:0", 1: "CPU:0", 3: "CPU:0"}
    found, _ = placed(text, requests, passes=(place_devices, merge_common, fuse))
    assert found.count("= exp") == 2 and found.count("= fused") == 2


def test_the_verifier_rejects_mixed_devices():
    graph = parse("graph f(x: f32[n], y: f32[n]@GPU:0) -> (f32[n]) {\n %0: f32[n] = add x, y  # a.py:3\n return %0\n}")
    with pytest.raises(VerifyError, match=r"add mixes devices CPU:0 and GPU:0; only copy may"):
        verify(graph)


# Where the device is not there -------------------------------------------------------------------------------------

TEXT = "graph f(x: f32[n]) -> (f32[n]) {\n %0: f32[n] = exp x  # a.py:9\n return %0\n}"


def test_a_missing_device_softens_with_one_warning(monkeypatch):
    monkeypatch.setattr(placement, "_warned", type(placement._warned)())
    with pytest.warns(
        RuntimeWarning, match=r"/GPU:0 was asked for.*first at a\.py:9.*pip install 'graphflow\[cuda\]'"
    ) as seen:
        found, context = placed(TEXT, {0: "GPU:0"}, {"CPU:0"})
    assert len(seen) == 1 and "GPU" not in found
    assert [r.category for r in context.remarks] == ["placement: softened"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, again = placed(TEXT, {0: "GPU:0"}, {"CPU:0"})
    assert [r.category for r in again.remarks] == ["placement: softened"], "the reason is there each time"


def test_a_missing_device_raises_where_softening_is_off():
    with config.override(soft_placement=False), pytest.raises(CompileError, match=r"graphflow\[cuda\]") as error:
        placed(TEXT, {0: "GPU:0"}, {"CPU:0"})
    assert isinstance(error.value.__cause__, FailedPreconditionError)


def test_a_device_beyond_those_there_are_softens(monkeypatch):
    monkeypatch.setattr(placement, "_warned", type(placement._warned)())
    with pytest.warns(RuntimeWarning, match="/GPU:3 was asked for"):
        placed(TEXT, {0: "GPU:3"})


@pytest.mark.skipif(is_available(), reason="there is a GPU here")
def test_a_function_in_a_device_scope_runs_without_a_gpu(monkeypatch):
    monkeypatch.setattr(placement, "_warned", type(placement._warned)())

    @gf.function
    def f(x):
        with gf.device("/GPU:0"):
            return gf.tanh(x) * 2.0

    with pytest.warns(RuntimeWarning, match="its operations run on the CPU"):
        result = f(gf.constant([0.5]))
    assert np.array_equal(result.numpy(), (gf.tanh(gf.constant([0.5])) * 2.0).numpy())
    assert any(r.category == "placement: softened" for r in f.explain().remarks)


@pytest.mark.skipif(is_available(), reason="there is a GPU here")
def test_physical_devices():
    assert [d.name for d in gf.config.list_physical_devices()] == ["/physical_device:CPU:0"]
    assert gf.config.list_physical_devices("GPU") == []
