"""ir, stages, kernels, explain and verify."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import graphflow as gf
from graphflow.ir import parse
from graphflow.ir.builder import rewrite
from graphflow.ir.op import OPS


@gf.function
def chain(x):
    y = gf.tanh(x) * 2.0
    return gf.reduce_sum(y + 1.0, axis=1)


X = gf.constant(np.linspace(-1, 1, 12, dtype="f4").reshape(3, 4))


def test_ir_of_every_stage():
    traced = chain.ir(X, stage="traced")
    assert "tanh" in traced
    assert "test_inspection.py" in traced
    final = chain.ir(X)
    assert final == chain.ir(X, stage="final")
    assert str(parse(traced)) == traced
    for stage in chain.stages(X):
        assert chain.ir(X, stage=stage.name).startswith("graph chain(")
    with pytest.raises(ValueError, match=r"no stage 'nothing'.*traced.*fuse.*final"):
        chain.ir(X, stage="nothing")


def test_ir_of_specs_does_not_run():
    text = chain.ir(gf.TensorSpec([None, 4], gf.float32))
    assert "s0" in text


def test_stages_show_counts_and_time():
    stages = chain.stages(X)
    names = [s.name for s in stages]
    assert names[0] == "input"
    assert "fuse" in names
    for before, after in itertools.pairwise(stages):
        assert after.nodes_before == before.nodes_after == len(before.graph.nodes)
        assert after.milliseconds >= 0
        assert after.name in str(after)
    assert sum(s.rewrites for s in stages) > 0


def test_kernels_in_each_form():
    nest = chain.kernels(X)
    assert "for" in nest
    assert chain.kernels(X, form="nest") == nest
    assert "define" in chain.kernels(X, form="llvm")
    assembly = chain.kernels(X, form="asm")
    assert "entry:" in assembly
    assert "ret" in assembly
    assert "def " in chain.kernels(X, form="python")
    with pytest.raises(ValueError, match="nest, llvm, asm, python"):
        chain.kernels(X, form="poetry")


@pytest.mark.filterwarnings("ignore:.*was traced")
def test_explain_gives_traces_and_reasons():
    compiled = gf.function(lambda x, k: x * k)
    assert compiled.explain().traces == []
    compiled(gf.constant([1.0]), 2.0)
    compiled(gf.constant([1.0, 2.0]), 2.0)
    compiled(gf.constant([1.0]), 3.0)
    compiled(gf.constant([1]), 3)
    explanation = compiled.explain()
    reasons = [t.reason for t in explanation.traces]
    assert reasons[0] == "first call"
    assert reasons[1] == "argument 'x' changed shape from [1] to [2]"
    assert reasons[2] == "argument 'k' changed from 2.0 to 3.0"
    assert reasons[3] == "argument 'x' changed from f32 of rank 1 to i32 of rank 1"
    assert explanation.traces[1].types == ("f32[s0]",)
    assert all(
        t.nodes and t.kernels and t.compile_milliseconds > 0 and t.trace_milliseconds > 0 for t in explanation.traces
    )
    text = str(explanation)
    assert "4 trace(s)" in text
    for reason in reasons:
        assert reason in text


def test_explain_names_the_unfused_edge_with_its_line():
    @gf.function
    def two(x):
        return gf.reduce_sum(gf.reduce_max(x, axis=0) + gf.reduce_sum(x, axis=1))

    two(gf.ones((3, 3)))
    assert any("test_inspection.py" in str(r) for r in two.explain().remarks)


def test_verify_says_equal_and_leaves_variables_alone():
    w = gf.Variable([1.0, 2.0])

    @gf.function
    def step(x):
        w.assign_sub(gf.tanh(x) * 0.1)
        return gf.reduce_sum(w * x), "label"

    result = step.verify(gf.constant([3.0, 4.0]))
    assert result
    assert result.outputs == 2
    assert w.numpy().tolist() == [1, 2]
    assert "same bits" in result.message
    assert chain.verify(X)


def wrong_pass(graph, context):
    """Turns the first multiply into an add."""
    done = []

    def visit(node, inputs):
        if node.op.name == "multiply" and not done and context.spend("multiply_into_add", node.source):
            done.append(1)
            return OPS["add"], inputs, node
        return None

    def replace(node, inputs):
        found = visit(node, inputs)
        if found is None:
            return None
        from graphflow.ir.graph import Node

        return Node(found[0], inputs, {}, node.source)

    return rewrite(graph, replace)


def test_verify_names_a_wrong_pass(monkeypatch):
    from graphflow import compiler

    monkeypatch.setattr(compiler, "PIPELINE", [wrong_pass, *compiler.PIPELINE])
    compiled = gf.function(lambda x: gf.exp(x) * 3.0 + 1.0)
    result = compiled.verify(X)
    assert not result
    assert "wrong_pass" in result.message
    assert "multiply_into_add" in result.message
    assert "test_inspection.py" in result.message


def test_a_pass_that_breaks_the_graph_is_named(monkeypatch):
    from graphflow import compiler

    def broken_pass(graph, context):
        raise KeyError("oops")

    original = compiler.PIPELINE
    monkeypatch.setattr(compiler, "PIPELINE", [broken_pass, *original])
    compiled = gf.function(lambda x: x * 3.0)
    with pytest.raises(gf.errors.CompileError, match="broken_pass"):
        compiled(X)
    monkeypatch.setattr(compiler, "PIPELINE", original)
    assert compiled(X).shape == (3, 4)


def test_methods_can_be_inspected():
    class Model:
        w = None

        @gf.function
        def run(self, x):
            if self.w is None:
                self.w = gf.Variable(2.0)
            return x * self.w

    model = Model()
    assert "var f32[]" in model.run.ir(X)
    assert model.run.verify(X)
    assert len(model.run.explain().traces) == 1
    assert "for" in model.run.kernels(X)
    assert model.run.stages(X)


def test_errors_of_a_failing_call_are_the_same_in_verify():
    compiled = gf.function(lambda a, b: a // b)
    with pytest.raises(ZeroDivisionError):
        compiled.verify(gf.constant([1, 2]), gf.constant([1, 0]))
