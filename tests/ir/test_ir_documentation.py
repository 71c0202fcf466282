"""The examples in docs/ are true: graphs parse, verify and print back; the example pass works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import graphflow.passes.rewriting
from graphflow.ir import parse, print_graph, verify
from graphflow.ir.op import OPS, Control
from graphflow.passes.manager import PassContext, run_pipeline

DOCS = Path(__file__).parents[2] / "docs"


def blocks(name, language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (DOCS / name).read_text(), re.MULTILINE | re.DOTALL)
    return [text for kind, text in found if kind == language]


def without_comments(text):
    return [line.split("  #")[0].rstrip() for line in text.splitlines()]


@pytest.mark.parametrize("text", blocks("ir.md", ""), ids=lambda text: text.split("(")[0])
def test_graphs(text):
    graph = parse(text)
    verify(graph)
    assert parse(print_graph(graph)) == graph
    assert without_comments(print_graph(graph)) == without_comments(text)


def test_every_control_op_is_shown():
    shown = {node.op for text in blocks("ir.md", "") for node in parse(text).nodes}
    assert {op for op in OPS.values() if isinstance(op.kernel, Control)} <= shown


def test_the_example_pass():
    [text] = [block for block in blocks("passes.md", "python") if "def name_squares" in block]
    module = {"__name__": "graphflow.passes.name_squares", "__package__": "graphflow.passes"}
    exec(text, module)
    graph = parse("graph f(x: f32[n]) -> (f32[n]) {\n %0: f32[n] = multiply x, x # a.py:1:0\n return %0\n}")
    final, _ = run_pipeline(graph, [module["name_squares"]], PassContext(), verify=True)
    assert [node.op.name for node in final.nodes] == ["square"] and final.nodes[0].source == graph.nodes[0].source
    assert graphflow.passes.rewriting.Rewriter is module["Rewriter"]
