"""Random graphs: eager and compiled give the same bits, whatever the passes, the threads, the chunks and the width of
the vectors; text
reads back; every pass keeps the rules of the verifier."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from random_graphs import cases
from running import Case, check_runs

from graphflow import config
from graphflow.compiler import Executable, compile_graph
from graphflow.ir import parse, print_graph
from graphflow.runtime.cpu import emit_program, llvm, nests, pool

EXAMPLES = {
    "static": 340,
    "symbolic": 180,
    "fallible": 140,
    "threads": 100,
    "widths": 100,
    "unoptimised": 80,
    "parts": 60,
}
if os.environ.get("GRAPHFLOW_PROPERTY") == "search":
    EXAMPLES = {name: 20 * count for name, count in EXAMPLES.items()}


def compiled(case: Case, fuel: int | None = None) -> Executable:
    """The case's program, every pass verified."""
    with config.override(check=True):
        return compile_graph(case.graph, fuel)


@settings(max_examples=EXAMPLES["static"])
@given(cases())
def test_compiled_is_eager(case):
    assert parse(print_graph(case.graph, full_paths=True)) == case.graph
    executable = compiled(case)
    for stage in executable.stages:
        assert parse(print_graph(stage.graph, full_paths=True)) == stage.graph
    check_runs(case, executable)


@settings(max_examples=EXAMPLES["symbolic"])
@given(cases(symbolic=True))
def test_one_program_for_many_extents(case):
    assert parse(print_graph(case.graph, full_paths=True)) == case.graph
    check_runs(case, compiled(case))


@settings(max_examples=EXAMPLES["fallible"])
@given(cases(fallible=True))
def test_failures_are_those_of_eager_mode(case):
    check_runs(case, compiled(case))


@settings(max_examples=EXAMPLES["parts"])
@given(case=cases(fallible=True))
def test_programs_in_parts(case):
    """A long program is several functions; here each kernel is one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emit_program, "STEPS_OF_A_PART", 1)
        check_runs(case, compiled(case))


@settings(max_examples=EXAMPLES["unoptimised"])
@given(cases(most_steps=6))
def test_without_any_rewrite(case):
    """What the passes may do is optional: with no fuel each node is its own kernel."""
    check_runs(case, compiled(case, fuel=0))


@pytest.fixture
def small_chunks(monkeypatch):
    """Even small kernels are split into many units, which run on several threads."""
    before = pool.threads()
    monkeypatch.setattr(emit_program, "PARALLEL_WORK", 0)
    monkeypatch.setattr(nests, "MAP_CHUNK", 64)
    yield
    pool.set_threads(before)


@settings(max_examples=EXAMPLES["threads"])
@given(case=cases(fallible=True))
def test_any_number_of_threads(small_chunks, case):
    executable = compiled(case)
    for count in (1, 2, 4):
        pool.set_threads(count)
        check_runs(case, executable)


@settings(max_examples=EXAMPLES["widths"])
@given(case=cases(symbolic=True))
def test_any_width_of_vectors(case):
    """The machine's vectors are narrower: the same bits, so a reduction's tree does not depend on them."""
    for bits in (256, 128):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(llvm, "vector_bits", lambda of=None, bits=bits: bits)
            check_runs(case, compiled(case))
