"""Every op with its samples among random nodes: eager and compiled give the same bits, or fail alike."""

from __future__ import annotations

import os

import pytest
from company import SAMPLED, company_cases, fits, random_case
from hypothesis import given, settings
from running import Case, check_runs, run_eagerly

from graphflow import config
from graphflow.compiler import compile_graph
from graphflow.errors import VerifyError
from graphflow.ir import parse, verify

EXAMPLES = {"good": 80, "fallible": 60}
if os.environ.get("GRAPHFLOW_PROPERTY") == "search":
    EXAMPLES = {name: 100 * count for name, count in EXAMPLES.items()}
SAMPLES_OF_AN_OP = 3


@pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)
def test_every_op_in_company(op):
    """Several samples, some with symbols for extents, in one program."""
    case = random_case(op, SAMPLES_OF_AN_OP)
    assert any(node.op is op for node in case.graph.nodes), "no sample is for arrays of numbers"
    check_runs(case, compile_graph(case.graph))


@pytest.mark.parametrize("op", [op for op in SAMPLED if op.fallible], ids=lambda op: op.name)
def test_samples_that_fail_at_run_time(op):
    samples = [s for s in op.samples() if s.error is not None and fits(op, s)]
    for sample in samples[:2]:
        case = random_case(op, 1, [sample])
        wanted = run_eagerly(case.graph, *case.arrays(0), case.extents[0])
        assert wanted.failure is not None and issubclass(wanted.failure[0], sample.error)
        check_runs(case, compile_graph(case.graph))


def compiled(case: Case):
    """The case's program, every pass verified, if the graph's text has all of it."""
    try:
        verify(case.graph)
    except VerifyError as error:
        assert "the text form does not have" in str(error)
        return compile_graph(case.graph)
    with config.override(check=True):
        return compile_graph(case.graph)


@settings(max_examples=EXAMPLES["good"])
@given(company_cases())
def test_ops_in_company(case):
    check_runs(case, compiled(case))


@settings(max_examples=EXAMPLES["fallible"])
@given(company_cases(fallible=True))
def test_ops_in_company_that_may_fail(case):
    check_runs(case, compiled(case))


def test_one_of_each_pair_from_an_offset_that_names_an_extent():
    """Found above: such a loop loads whole pairs, which begin one element before."""
    text = """graph f(x: f32[2,n,2]) -> (f32[n]) {
      %0: f32[1,n,1] = strided_slice x {begin=(1, 0, 1), sizes=(1, n, 1), strides=(1, 1, 1)}
      %1: f32[n]     = reshape %0 {shape=(n,)}
      %2: f32[n]     = exp %1
      return %2
    }"""
    case = Case(parse(text), [{"n": 1}, {"n": 5}, {"n": 70}], 3)
    check_runs(case, compiled(case))
