"""Placement of branches and loops: they run on the CPU with all that is in them, and say so."""

from __future__ import annotations

import pytest

from graphflow.ir import parse, print_graph
from graphflow.passes.manager import PassContext, run_pipeline
from graphflow.passes.place_devices import place_devices

TEXT = """graph f(p: b1[], x: f32[n]) -> (f32[n], f32[n]) {
  %0: f32[n] = exp x                # a.py:1:0
  %1: f32[n] = switch p, %0 {       # a.py:2:0
    branches = (graph a(y: f32[n]) -> (f32[n]) {
      %0: f32[n] = sin y            # a.py:3:0
      %1: f32[n] = negative %0      # a.py:4:0
      return %1
    }, graph b(y: f32[n]) -> (f32[n]) {
      return y
    })
  }
  %2: f32[n] = tanh %0              # a.py:5:0
  return %1, %2
}"""


def placed(devices, *asked):
    """The placed text, and the remarks. asked: nodes whose scope asks for the GPU, by their ops' names."""
    graph = parse(TEXT)
    for node in (*graph.nodes, *graph.nodes[1].attributes["branches"][0].nodes):
        if node.op.name in asked:
            node.device = "GPU:0"
    context = PassContext(options={"devices": devices})
    result, _ = run_pipeline(graph, [place_devices], context, verify=True)
    return " ".join(print_graph(result, sources=False).split()), [str(remark) for remark in context.remarks]


def test_operands_come_to_the_cpu():
    text, remarks = placed({"CPU:0", "GPU:0"}, "exp")
    assert '%1: f32[n]@GPU:0 = exp %0 %2: f32[n] = copy %1 {device="CPU:0"} %3: f32[n] = switch p, %2 {' in text
    assert "%4: f32[n]@GPU:0 = tanh %1" in text
    assert remarks == ["placement: no GPU kernel: switch holds graphs; it runs on the CPU (a.py:2)"]


@pytest.mark.parametrize("asked", ["sin", "switch"])
def test_a_request_that_cannot_be_met_leaves_a_remark(asked):
    text, remarks = placed({"CPU:0", "GPU:0"}, asked)
    assert "@GPU" not in text and len(remarks) == 1
    if asked == "sin":
        assert remarks == [
            "placement: softened: /GPU:0 was asked for, but sin stands in a switch, which runs on the CPU (a.py:3)"
        ]


def test_an_explicit_copy_inside_is_none():
    text = TEXT.replace("sin y ", 'copy y {device="GPU:0"}').replace("%0: f32[n] = copy", "%0: f32[n]@GPU:0 = copy")
    text = text.replace("%1: f32[n] = negative %0 ", '%1: f32[n] = copy %0 {device="CPU:0"}')
    context = PassContext(options={"devices": {"CPU:0", "GPU:0"}})
    result, _ = run_pipeline(parse(text), [place_devices], context, verify=True)
    first = result.nodes[1].attributes["branches"][0]
    assert first.nodes == () and first.outputs == first.inputs
    assert [remark.category for remark in context.remarks] == ["placement: softened"]


def test_nothing_changes_without_a_request():
    graph = parse(TEXT)
    assert run_pipeline(graph, [place_devices], PassContext(), verify=True)[0] is graph
