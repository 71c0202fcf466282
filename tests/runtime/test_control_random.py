"""Random graphs with nested control flow give natively the bits that the interpreter gives, or the same error."""

from __future__ import annotations

import pytest
from control_interpreter import Native, check, interpret
from hypothesis import given, settings
from hypothesis import strategies as st
from random_control import RandomGraph

import graphflow.ops  # noqa: F401  (registers the ops)
from graphflow.errors import GraphflowError


def compare(seed, grown, depth, count):
    drawn = RandomGraph(seed, grown)
    drawn.size = (depth, count)
    graph, arrays = drawn.graph(), drawn.arrays()
    try:
        interpret(graph, [a.copy() for a in arrays])
    except GraphflowError as expected:
        with pytest.raises(type(expected)):
            Native(graph)(*arrays)
    else:
        check(graph, *arrays)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 40), depth=st.integers(1, 3), count=st.integers(2, 6))
def test_fixed_extents(seed, depth, count):
    compare(seed, False, depth, count)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 40), depth=st.integers(1, 3), count=st.integers(2, 6))
def test_extents_known_at_run_time(seed, depth, count):
    compare(seed, True, depth, count)
