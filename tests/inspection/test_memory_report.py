"""fn.memory(): the planned peak, where it is and whose it is, against plans worked out by hand and the arena itself."""

from __future__ import annotations

import json

import numpy as np
import pytest

import graphflow as gf
from graphflow.tracing.calls import prepare_call


def arena_of(function, *args):
    return prepare_call(function, args, {}).binding().arena_bytes


def square(n):
    return gf.constant(np.random.default_rng(0).standard_normal((n, n)).astype("f4"))


@gf.function
def three_products(x):
    a = x @ x
    b = a @ x
    return gf.reduce_sum(a @ b)


def test_a_plan_worked_out_by_hand():
    x = square(32)
    report = three_products.memory(x)
    each = 32 * 32 * 4
    assert [item.bytes for item in report.inputs] == [each]
    assert [item.bytes for item in report.outputs] == [4]
    assert report.constants == report.variables == []
    products = [row for row in report.timeline if row.what == "matmul"]
    assert [row.bytes for row in products] == [each, 2 * each, 3 * each]
    assert report.peak_bytes == 3 * each
    assert report.peak == products[2]
    assert report.peak.line == products[2].line == three_products.python_function.__code__.co_firstlineno + 4
    alive = [(b.type, b.what, b.line - report.peak.line) for b in report.alive]
    assert sorted(alive) == [("f32[32,32]", "matmul", -2), ("f32[32,32]", "matmul", -1), ("f32[32,32]", "matmul", 0)]
    assert report.arena == arena_of(three_products, x)
    assert report.total_bytes == report.arena + each + 4
    assert report.unknown == []


def test_nothing_runs_to_find_out():
    ran = []
    state = gf.Variable(1.0)

    @gf.function
    def effects(x):
        gf.py_function(lambda: ran.append(1), [], [])
        state.assign_add(x)
        return gf.exp(x)

    report = effects.memory(gf.constant(2.0))
    assert ran == []
    assert state.numpy() == 1.0
    assert [item.bytes for item in report.variables] == [4]


def test_the_text_names_the_line_and_the_expression():
    text = str(three_products.memory(square(32)))
    assert text.startswith("three_products: 16.4 kB in all: arena 12.3 kB, arguments 4.1 kB, results 4 B")
    first = three_products.python_function.__code__.co_firstlineno
    assert f"test_memory_report.py:{first + 4}   a @ b: 12.3 kB" in text
    assert f"4.1 kB  f32[32,32] matmul   test_memory_report.py:{first + 2}   x @ x" in text
    assert json.loads(json.dumps(three_products.memory(square(32)).to_dict()))["peak_bytes"] == 3 * 4096


def test_symbolic_extents_have_formulas_and_values():
    described = three_products.memory(gf.TensorSpec([None, None], gf.float32))
    assert described.assumed
    assert set(described.extents.values()) == {1024}
    assert described.inputs[0].formula == "4*s0*s1" or "s0" in described.inputs[0].formula
    assert all("s" in b.formula for b in described.alive)
    assert "assumed" in str(described)

    @gf.function(input_signature=[gf.TensorSpec([None, 8], gf.float32)])
    def rows(x):
        return gf.reduce_sum(x @ gf.transpose(x))

    report = rows.memory(gf.zeros([16, 8]))
    assert not report.assumed
    assert list(report.extents.values()) == [16]
    (name,) = report.extents
    assert (report.inputs[0].formula, report.inputs[0].bytes) == (f"32*{name}", 512)
    assert (report.alive[0].formula, report.alive[0].bytes) == (f"4*{name}*{name}", 1024)
    assert report.arena == arena_of(rows, gf.zeros([16, 8]))
    assert rows.memory(gf.zeros([160, 8])).alive[0].bytes == 102400
    assert rows.memory().assumed


def test_loops_have_carried_values_and_double_buffers():
    @gf.function
    def power(x, n):
        result = x
        for _ in gf.range(n):
            result = result @ x
        return gf.reduce_sum(result)

    x = square(16)
    report = power.memory(x, gf.constant(3))
    each = 16 * 16 * 4
    kinds = sorted(b.kind for b in report.buffers if b.bytes == each)
    assert kinds.count("double") >= 1
    assert report.peak_bytes >= 2 * each
    inside = [row for row in report.timeline if row.what == "matmul"]
    assert [row.depth for row in inside] == [1]
    assert report.arena == arena_of(power, x, gf.constant(3))

    @gf.function
    def decay(x, n):
        for _ in gf.range(n):
            x = x * 0.5 + 1.0
        return x @ x

    report = decay.memory(x, gf.constant(3))
    assert [b.kind for b in report.buffers if b.bytes == each] == ["carried"]


def test_branches_share_their_memory():
    @gf.function
    def either(x, p):
        return gf.reduce_sum(gf.cond(p, lambda: gf.exp(x @ x) @ x, lambda: gf.sin(x @ x @ x) @ x))

    x = square(32)
    report = either.memory(x, gf.constant(True))
    each = 32 * 32 * 4
    assert report.peak_bytes <= 3 * each  # not the sum of both branches' temporaries
    assert report.arena == arena_of(either, x, gf.constant(True))
    assert max(row.depth for row in report.timeline) == 1


def test_shared_functions_have_a_region_of_their_own():
    @gf.function
    def inner(a):
        b = a
        for k in range(40):  # large enough to be shared, from its second call on
            b = gf.tanh(b @ a) + float(k)
        return b

    @gf.function
    def outer(x):
        y = x @ x
        return inner(y) + inner(y + 1.0) + inner(y + 2.0) + y

    x = square(16)
    report = outer.memory(x)
    assert "call" in outer.ir(x)
    assert any(b.function for b in report.buffers)
    calls = [row for row in report.timeline if row.what.startswith("call of")]
    assert len(calls) == 2
    inside = [row for row in report.timeline if row.function]
    assert inside
    own = max(row.bytes for row in inside)
    for row in calls:
        outside = sum(b.bytes for b in report.alive_at(row.number))
        assert row.bytes == outside + own
    assert report.peak in calls
    assert any(b.function for b in report.alive)
    assert report.arena == arena_of(outer, x)
    assert report.peak_bytes <= report.arena


def test_what_only_the_run_decides_is_named():
    @gf.function
    def positive(x):
        kept = gf.boolean_mask(x, x > 0)
        return kept * 2.0, gf.reduce_sum(kept)

    report = positive.memory(gf.constant([1.0, -2.0, 3.0]))
    result = report.outputs[0]
    assert result.bytes is None
    assert result.formula.startswith("4*u")
    assert result.formula in report.unknown
    assert len(report.unplanned) >= 1
    assert all(b.bytes is None and "u" in b.formula for b in report.unplanned)
    assert "sized while it runs" in str(report)
    assert any(row.unknown for row in report.timeline)


def test_constants_and_variables_count():
    w = gf.Variable(np.zeros((50, 10), "f4"), name="w")
    table = gf.constant(np.arange(60, dtype="f4").reshape(6, 10))

    @gf.function
    def scaled(x):
        w.assign_add(gf.transpose(x) @ table)
        return gf.reduce_sum(w)

    report = scaled.memory(gf.zeros([6, 50]))
    assert [(item.name, item.bytes) for item in report.variables] == [("w", 2000)]
    assert sum(item.bytes for item in report.constants) + sum(item.bytes for item in report.inputs) >= 240 + 1200


@pytest.mark.parametrize("n", [24])
def test_recompute_shows_less(n):
    def step(recompute):
        @gf.function
        def gradient(x):
            with gf.GradientTape() as tape:
                tape.watch(x)
                y = gf.while_loop(
                    lambda i, a: i < n,
                    lambda i, a: (i + 1, gf.tanh(gf.sin(a @ x) @ x) @ x),
                    (gf.constant(0), x),
                    recompute=recompute,
                )[1]
                loss = gf.reduce_sum(y)
            return tape.gradient(loss, x)

        return gradient

    x = square(16)
    reports = {recompute: step(recompute).memory(x) for recompute in (False, True, 6)}
    assert reports[True].peak_bytes < reports[False].peak_bytes
    assert reports[6].peak_bytes < reports[True].peak_bytes
    for recompute, report in reports.items():
        assert report.arena == arena_of(step(recompute), x)
        assert any(b.kind == "carried" and b.bytes >= 4 * 16 * 16 * 4 for b in report.alive)


def test_methods_have_memory_too():
    class Model:
        def __init__(self):
            self.w = gf.Variable(gf.ones([4]))

        @gf.function
        def run(self, x):
            return gf.reduce_sum(x * self.w)

    assert Model().run.memory(gf.ones([4])).variables[0].bytes == 16
