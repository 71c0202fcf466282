"""Merging units of an acyclic graph: what may be merged, by comparison with networkx; and how much work searches do."""

from __future__ import annotations

import random

import networkx
import pytest

from graphflow.passes import fuse as fusion
from graphflow.passes.contraction import Contraction
from graphflow.passes.fuse import fuse
from graphflow.passes.manager import PassContext, run_pipeline


@pytest.mark.parametrize("seed", range(40))
def test_merges_exactly_what_stays_acyclic(seed):
    """Random merges, also of units that do not touch each other, against a graph that is contracted by hand."""
    generator = random.Random(seed)
    count = generator.choice([6, 12, 40])
    before = {k: set(generator.sample(range(k), min(k, generator.choice([0, 1, 1, 2, 3])))) for k in range(count)}
    graph = networkx.DiGraph()
    graph.add_nodes_from(before)
    graph.add_edges_from((a, b) for b, needs in before.items() for a in needs)
    units = Contraction(before)
    for _ in range(3 * count):
        if len(graph) < 2:
            break
        a, b = generator.sample(sorted(graph), 2)
        merged = networkx.contracted_nodes(graph, a, b, self_loops=False)
        between = units.between(a, b)
        assert (between is not None) == networkx.is_directed_acyclic_graph(merged), (a, b)
        if between is None:
            continue
        units.merge(a, b, between)
        graph = networkx.DiGraph(merged.edges)
        graph.add_nodes_from(merged)
        assert units.unit(b) == a
        assert {u: {units.unit(p) for p in units.before[u]} for u in graph} == {u: set(graph.pred[u]) for u in graph}


def chain(count):
    """Elementwise steps, cut by matrix products."""
    lines, value = [], "x"
    for k in range(count):
        lines.append(f"%{k}: f32[8,8] = " + (f"matmul {value}, y" if k % 4 == 3 else f"add {value}, y"))
        value = f"%{k}"
    return lines


def forward_and_back(count):
    """Each step of the way back reads a value of the way there: such an edge is never one loop, and spans most of the graph."""
    half = count // 4
    lines, value = [], "x"
    for k in range(half):
        lines += [f"%{2 * k}: f32[8,8] = matmul {value}, y", f"%{2 * k + 1}: f32[8,8] = relu %{2 * k}"]
        value = f"%{2 * k + 1}"
    for k in range(half):
        place = 2 * half + 2 * k
        lines += [
            f"%{place}: f32[8,8] = matmul {value}, y",
            f"%{place + 1}: f32[8,8] = relu_gradient %{place}, %{2 * (half - k) - 1}",
        ]
        value = f"%{place + 1}"
    return lines


def readers(count):
    """All of one array."""
    return [f"%{k}: f32[8,8] = multiply x, y" if k % 2 else f"%{k}: f32[8,8] = add x, y" for k in range(count)]


def towers(count):
    """Long ways that do not meet before the sum at the end."""
    lines, ends = [], []
    for start in range(0, count, 20):
        value = "x"
        for k in range(start, start + 18):
            lines.append(f"%{k}: f32[8,8] = " + (f"matmul {value}, y" if k % 3 == 2 else f"exp {value}"))
            value = f"%{k}"
        ends.append(value)
        lines += [
            f"%{start + 18}: f32[8,8] = exp {value}",
            f"%{start + 19}: f32[8,8] = add %{start + 18}, {ends[len(ends) // 2]}",
        ]
    return lines


@pytest.mark.parametrize("make", [chain, forward_and_back, readers, towers], ids=lambda make: make.__name__)
def test_work_grows_with_the_number_of_nodes(graph_of, monkeypatch, make):
    """Four times the nodes, at most five times the work: units met by searches for paths, attempts to join, and nodes of the
    regions that are analysed."""
    work = {}

    def counted(count):
        work.clear()
        work.update(joins=0, nodes=0, steps=0)
        lines = make(count)
        text = "\n".join([*lines, "return " + ", ".join(line.split(":")[0] for line in lines[-1:])])
        if make is readers:
            text = "\n".join([*lines, "return " + ", ".join(line.split(":")[0] for line in lines)])
        run_pipeline(graph_of("x: f32[8,8], y: f32[8,8]", text), [fuse], PassContext(), verify=False)
        return dict(work)

    analyse, join, between = fusion.analyse, fusion._Fusion._join, Contraction.between

    def count_nodes(nodes, outputs):
        work["nodes"] += len(nodes)
        return analyse(nodes, outputs)

    def count_joins(self, a, b):
        work["joins"] += 1
        return join(self, a, b)

    def count_steps(self, a, b):
        steps = self.steps
        found = between(self, a, b)
        work["steps"] += self.steps - steps
        return found

    monkeypatch.setattr(fusion, "analyse", count_nodes)
    monkeypatch.setattr(fusion._Fusion, "_join", count_joins)
    monkeypatch.setattr(Contraction, "between", count_steps)
    small, large = counted(400), counted(1600)
    for kind, number in large.items():
        assert number <= 5 * small[kind] + 100, (kind, small, large)
    assert large["joins"] >= 400
