"""Helpers of the pass tests: a graph from a few lines of text, one pass over it, text compared, and both graphs run on
special values."""

from __future__ import annotations

import itertools
import re
import textwrap

import numpy as np
import pytest

import graphflow.ops  # noqa: F401  (registers the ops)
from graphflow.errors import GraphflowError
from graphflow.ir import parse, print_graph, verify
from graphflow.ir.op import Effect
from graphflow.ops.reference import interpret
from graphflow.passes.manager import PassContext, run_pipeline

_TYPED = re.compile(r"([%\w.]+): ((?:var )?\w+\[[^\]]*\](?:@[\w:]+)?)")

FLOATS = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    3.0,
    -0.75,
    np.inf,
    -np.inf,
    np.nan,
    1e-45,
    -1e-45,
    1.1754942e-38,
    3.4028235e38,
    -3.4028235e38,
    1e-30,
]
INTEGERS = [0, 1, -1, 2, -2, 7, 127, -128, 2**31 - 1, -(2**31)]


def _complete(inputs: str, body: str) -> str:
    """The text of a whole graph: the header's result types are read off the body."""
    body = textwrap.dedent(body).strip("\n")
    outer = "\n".join(line for line in body.splitlines() if not line.startswith("  "))  # sub-graphs are indented
    types = dict(_TYPED.findall(f"{inputs}\n{outer}"))
    results = body.rstrip().splitlines()[-1].removeprefix("return").strip()
    outputs = ", ".join(types[name.strip()] for name in results.split(",")) if results else ""
    return f"graph f({inputs}) -> ({outputs}) {{\n{textwrap.indent(body, '  ')}\n}}"


def _reference_evaluate(node, arrays):
    """A node through its NumPy reference, the definition of the op."""
    with np.errstate(all="ignore"):
        results = node.op.reference(*arrays, **node.attributes)
    results = results if isinstance(results, tuple) else (results,)
    return [np.asarray(r, v.type.dtype.numpy) for r, v in zip(results, node.outputs, strict=True)]


def _run(graph, arrays):
    """Run a graph with the references. Returns (outputs, variables)."""
    given = [np.asarray(a, v.type.dtype.numpy) for v, a in zip(graph.inputs, arrays, strict=True)]
    given = [[a] if v.is_variable else a for v, a in zip(graph.inputs, given, strict=True)]
    return interpret(graph, given), [a[0] for v, a in zip(graph.inputs, given, strict=True) if v.is_variable]


def _special_arrays(graph):
    """Inputs of special values: one-dimensional inputs of a symbolic extent get every pair (triple) of special
    values."""
    pools = []
    for value in graph.inputs:
        dtype = value.type.dtype
        with np.errstate(all="ignore"):
            pool = np.array([False, True] if dtype.is_bool else FLOATS if dtype.is_floating else INTEGERS).astype(
                dtype.numpy
            )
        pools.append(pool)
    crossed = list(zip(*itertools.product(*pools), strict=True)) if pools else []
    arrays = []
    for value, pool, column in zip(graph.inputs, pools, crossed, strict=True):
        shape = value.type.shape
        if len(shape) == 1 and not isinstance(shape[0], int):
            arrays.append(np.array(column, value.type.dtype.numpy))
        else:
            static = [d if isinstance(d, int) else 3 for d in shape]
            arrays.append(np.resize(pool, static).astype(value.type.dtype.numpy))
    return arrays


def _assert_same_bits(left, right):
    """Equal bits; which NaN it is does not count."""
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        if a.dtype.kind in "fV":  # V: bfloat16
            assert np.array_equal(np.isnan(a), np.isnan(b))
            a, b = np.where(np.isnan(a), a.dtype.type(0), a), np.where(np.isnan(b), b.dtype.type(0), b)
        assert np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


@pytest.fixture
def graph_of():
    """graph_of(inputs, body) -> Graph"""
    return lambda inputs, body: parse(_complete(inputs, body))


@pytest.fixture
def run_graph():
    """run_graph(graph, arrays) -> (outputs, variables)"""
    return _run


@pytest.fixture
def evaluate_node():
    """What a compiler gives to PassContext.evaluate."""
    return _reference_evaluate


@pytest.fixture
def same_bits():
    return _assert_same_bits


@pytest.fixture
def check():
    """check(transform, inputs, before, after, **context): run one pass verified and compare the texts (numbering and
    spacing do not count); after=None means that nothing changes. Both graphs then give the same bits on special
    values."""

    def check(transform, inputs, before, after, **settings):
        graph = parse(_complete(inputs, before))
        expected = parse(_complete(inputs, before if after is None else after))
        verify(expected)
        settings.setdefault("evaluate", _reference_evaluate)
        context = PassContext(**settings)
        result, _ = run_pipeline(graph, [transform], context, verify=True)
        assert print_graph(result, sources=False) == print_graph(expected, sources=False)
        if after is None:
            assert result is graph
        if _has_meaning(graph):
            arrays = _special_arrays(graph)
            try:
                wanted = _run(graph, arrays)
            except (GraphflowError, AssertionError, ZeroDivisionError, IndexError, ValueError):
                return context  # the graph fails on these values
            found = _run(result, arrays)
            _assert_same_bits(wanted[0], found[0])
            _assert_same_bits(wanted[1], found[1])
        return context

    return check


@pytest.fixture
def whole():
    """whole(text) -> Graph: the text's first line has the inputs; sub-graphs are indented."""
    return _whole


@pytest.fixture
def check_control():
    """check_control(transform, before, after, *runs, **context): like check, on the texts of whole graphs; `before` and `after`
    are the lines inside the graph, the first of them its inputs. Both graphs give the same on the arrays of each run."""

    def check_control(transform, before, after, *runs, passes=(), **settings):
        graph = _whole(before)
        expected = graph if after is None else _whole(after)
        verify(expected)
        settings.setdefault("evaluate", _reference_evaluate)
        context = PassContext(**settings)
        result, _ = run_pipeline(graph, [transform, *passes], context, verify=True)
        assert print_graph(result, sources=False) == print_graph(expected, sources=False)
        if after is None:
            assert result is graph
        for arrays in runs:
            wanted, found = _run(graph, arrays), _run(result, arrays)
            _assert_same_bits(wanted[0], found[0])
            _assert_same_bits(wanted[1], found[1])
        return context

    return check_control


def _whole(text):
    inputs, _, body = textwrap.dedent(text).strip("\n").partition("\n")
    return parse(_complete(inputs, body))


def _has_meaning(graph):
    """Can the graph be interpreted?"""
    return all(
        (n.op.reference is not None or isinstance(n.op.kernel, Effect)) and all(map(_has_meaning, n.subgraphs()))
        for n in graph.nodes
    )


@pytest.fixture
def branch():
    """A toy control-flow op with a graph and a tuple of graphs, registered for one test."""
    from graphflow.ir.op import OPS, Library, define_op

    op = define_op(
        "test_branch", "condition *values", attributes={"then": ..., "otherwise": ()},
        infer=lambda types, then, otherwise: tuple(v.type for v in then.outputs), kernel=Library("branch"), no_gradient="a toy",
    )  # fmt: skip
    yield op
    del OPS["test_branch"]
