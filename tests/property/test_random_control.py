"""Random graphs with branches, loops and functions: interpreted node by node, optimised, and compiled with and without the optimiser
they give the same bits, and fail alike."""

from __future__ import annotations

import os

import numpy as np
from control_graphs import control_cases
from hypothesis import given, settings
from running import Case, assert_same_bits, check_runs

from graphflow import config
from graphflow.compiler import Executable, compile_graph, optimise
from graphflow.errors import GraphflowError
from graphflow.ir import parse, print_graph, verify
from graphflow.ops.reference import interpret
from graphflow.passes.manager import PassContext, run_pipeline
from graphflow.passes.pipeline import PIPELINE

EXAMPLES = {"static": 120, "symbolic": 80, "fallible": 60, "unoptimised": 40, "passes": 120}
if os.environ.get("GRAPHFLOW_PROPERTY") == "search":
    EXAMPLES = {name: 20 * count for name, count in EXAMPLES.items()}


def compiled(case: Case, fuel: int | None = None) -> Executable:
    """The case's program, every pass verified."""
    with config.override(check=True):
        return compile_graph(case.graph, fuel)


@settings(max_examples=EXAMPLES["static"])
@given(control_cases())
def test_compiled_is_node_by_node(case):
    verify(case.graph)
    assert parse(print_graph(case.graph, full_paths=True)) == case.graph
    executable = compiled(case)
    for stage in executable.stages:
        assert parse(print_graph(stage.graph, full_paths=True)) == stage.graph
    check_runs(case, executable)


@settings(max_examples=EXAMPLES["symbolic"])
@given(control_cases(symbolic=True))
def test_symbols_and_run_time_extents(case):
    verify(case.graph)
    check_runs(case, compiled(case))


@settings(max_examples=EXAMPLES["fallible"])
@given(control_cases(fallible=True))
def test_failures(case):
    check_runs(case, compiled(case))


@settings(max_examples=EXAMPLES["unoptimised"])
@given(control_cases(symbolic=True, most_steps=6))
def test_without_any_rewrite(case):
    check_runs(case, compiled(case, fuel=0))


@settings(max_examples=EXAMPLES["passes"])
@given(control_cases(symbolic=True))
def test_each_pass_keeps_the_meaning(case):
    """Each stage, interpreted with the ops' NumPy references, gives what the first one gives."""
    context = PassContext()  # without folding: that uses the kernels, whose last bits are not always NumPy's
    _, stages = run_pipeline(case.graph, PIPELINE, context, verify=True)
    for number, extents in enumerate(case.extents):
        wanted = meaning(stages[0].graph, *case.arrays(number), extents)
        for stage in stages[1:]:
            found = meaning(stage.graph, *case.arrays(number), extents)
            assert (wanted is None) == (found is None), stage.name
            if wanted is not None and found is not None:
                assert_same_bits(wanted, found, stage.name)


def meaning(graph, tensors, variables, extents):
    """Outputs and variables, or None for a run that fails."""
    rest, boxes = iter(tensors), [[array] for array in variables.values()]
    own = iter(boxes)
    try:
        with np.errstate(all="ignore"):
            results = interpret(graph, [next(own) if v.is_variable else next(rest) for v in graph.inputs], extents)
    except (GraphflowError, ArithmeticError, LookupError, ValueError):
        return None
    return [*results, *(np.asarray(box[0]) for box in boxes)]


def test_the_optimiser_is_deterministic():
    """The same graph twice gives the same text: fuel and bisection rely on it."""
    found = []

    @settings(max_examples=30)
    @given(control_cases())
    def collect(case):
        texts = [print_graph(optimise(case.graph)[0], full_paths=True) for _ in range(2)]
        found.append(texts)
        assert texts[0] == texts[1]

    collect()
    assert found
