"""fn.profile(): the counts are exact; times are only compared with each other inside one run."""

from __future__ import annotations

import json

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import InvalidArgumentError


def square(n):
    return gf.constant(np.random.default_rng(0).standard_normal((n, n)).astype("f4"))


@gf.function
def layers(x, w, n):
    for _ in gf.range(n):
        x = gf.tanh(x @ w)
    return gf.reduce_sum(x)


def test_kernels_in_loops_count_their_iterations():
    found = layers.profile(square(32), square(32), gf.constant(7), repeats=3)
    by_kind = {k.kind: k for k in found.kernels}
    product = by_kind["matmul"]
    assert product.runs == 7
    assert product.operations == 7 * 2 * 32**3
    assert product.bytes == 7 * 3 * 32 * 32 * 4
    assert product.expression == "x @ w"
    assert product.line == layers.python_function.__code__.co_firstlineno + 3
    assert product.operations_per_second == pytest.approx(product.operations / product.seconds)
    loop = by_kind["loop"]
    assert (loop.runs, loop.iterations) == (1, 7)
    children = [k for k in found.kernels if k.parent == loop.number]
    assert {k.runs for k in children} == {7}
    assert loop.seconds >= sum(k.seconds for k in children)
    assert loop.own_seconds == pytest.approx(loop.seconds - sum(k.seconds for k in children))


def test_shares_and_totals_agree():
    found = layers.profile(square(64), square(64), gf.constant(20), repeats=5)
    assert found.repeats == 5
    assert found.seconds > 0
    assert found.plain_seconds > 0
    assert found.overhead == pytest.approx(found.seconds / found.plain_seconds - 1)
    top = sum(k.seconds for k in found.kernels if k.parent < 0)
    assert found.other_seconds == pytest.approx(max(0.0, found.seconds - top))
    assert sum(k.own_seconds for k in found.kernels) == pytest.approx(top)
    shares = [k.share for k in found.kernels]
    assert shares == sorted(shares, reverse=True)
    assert all(k.share == pytest.approx(k.own_seconds / found.seconds) for k in found.kernels)


def test_the_table_names_lines_and_expressions():
    text = str(layers.profile(square(32), square(32), gf.constant(7), repeats=2))
    head, columns, *rows = text.splitlines()
    assert head.startswith("layers: ")
    assert "while profiled (medians of 2 calls)" in head
    assert columns.split() == ["share", "time", "runs", "bytes", "GB/s", "GFLOP/s", "line"]
    assert any("x @ w   [matmul]" in row and "test_profile.py:" in row for row in rows)
    assert any("[while, 7 iterations, without what is inside]" in row for row in rows)
    assert rows[-1].endswith("outside of the kernels")


def test_variables_come_back_and_results_do_not_change():
    w = gf.Variable([1.0, 2.0])

    @gf.function
    def step(x):
        w.assign_sub(x * 0.5)
        return gf.reduce_sum(w)

    x = gf.constant([2.0, 2.0])
    assert step(x).numpy() == 1.0
    before = w.numpy().copy()
    found = step.profile(x, repeats=3)
    assert w.numpy().tolist() == before.tolist() == [0.0, 1.0]
    assert found.kernels
    assert step(x).numpy() == -1.0


def test_a_program_without_loops():
    @gf.function
    def plain(x):
        return gf.exp(x @ x), gf.sort(x)

    found = plain.profile(square(48), repeats=2)
    kinds = {k.kind for k in found.kernels}
    assert {"matmul", "library"} <= kinds  # sorting is written by hand
    assert all(k.parent == -1 and k.runs == 1 for k in found.kernels)


def test_branches_count_what_ran():
    @gf.function
    def either(x, p):
        return gf.cond(p, lambda: gf.exp(x) @ x, lambda: x @ x @ x)

    x = square(16)
    yes = either.profile(x, gf.constant(True), repeats=2)
    no = either.profile(x, gf.constant(False), repeats=2)
    assert [k.runs for k in yes.kernels if k.kind == "matmul"] == [1]
    assert [k.runs for k in no.kernels if k.kind == "matmul"] == [1, 1]
    assert [k.kind for k in yes.kernels].count("branch") == 1


def test_calls_of_shared_functions_are_one_step():
    @gf.function
    def inner(a):
        b = a
        for k in range(40):  # large enough to be shared, from its second call on
            b = gf.tanh(b @ a) + float(k)
        return b

    @gf.function
    def outer(x):
        return inner(x) + inner(x + 1.0) + inner(x + 2.0)

    x = square(16)
    assert "call" in outer.ir(x)
    found = outer.profile(x, repeats=2)
    (call,) = [k for k in found.kernels if k.kind == "call"]
    assert call.what == "call of inner"
    assert call.runs == 2
    assert {k.runs for k in found.kernels if k.parent == call.number} == {2}
    assert sum(k.operations for k in found.kernels) == 3 * 40 * 2 * 16**3


def test_bytes_of_run_time_extents_are_those_of_the_run():
    @gf.function
    def kept(x):
        return gf.sort(gf.boolean_mask(x, x > 0))

    values = np.random.default_rng(1).standard_normal(1000).astype("f4")
    found = kept.profile(gf.constant(values), repeats=2)
    positive = int((values > 0).sum())
    (sort,) = [k for k in found.kernels if k.what == "argsort"]
    assert sort.bytes == positive * (4 + 4)


def test_rows_changed_in_place_count_the_row():
    @gf.function
    def fill(n):
        array = gf.TensorArray(gf.float32, n)
        for i in gf.range(n):
            array = array.write(i, gf.fill([100], gf.cast(i, gf.float32)))
        return array.stack()

    found = fill.profile(gf.constant(50), repeats=2)
    rows = [k for k in found.kernels if k.what == "update_row"]
    assert [(k.runs, k.bytes) for k in rows] == [(50, 50 * 100 * 4 * 2)]


def test_effects_are_steps_too():
    ran = []

    @gf.function
    def calls_python(x):
        return gf.numpy_function(lambda a: (ran.append(1), a + 1)[1], [x], gf.TensorSpec([3], gf.float32))

    found = calls_python.profile(gf.ones([3]), repeats=2)
    assert [k.kind for k in found.kernels] == ["effect"]
    assert len(ran) == 2 * (2 + 2)


def test_a_failing_call_raises_its_error():
    divide = gf.function(lambda a, b: a // b)
    with pytest.raises(ZeroDivisionError, match="at \\[1\\]"):
        divide.profile(gf.constant([1, 2]), gf.constant([1, 0]))


@pytest.mark.parametrize("wrong", [0, -1, 2.5, True])
def test_repeats_is_checked(wrong):
    with pytest.raises(InvalidArgumentError, match="repeats"):
        layers.profile(square(4), square(4), gf.constant(1), repeats=wrong)


def test_the_trace_has_the_chrome_format(tmp_path):
    found = layers.profile(square(32), square(32), gf.constant(7), repeats=2)
    path = found.to_chrome_trace(tmp_path / "trace.json")
    document = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    assert path == str(tmp_path / "trace.json")
    assert set(document) == {"traceEvents", "displayTimeUnit", "otherData"}
    assert document["displayTimeUnit"] in ("ms", "ns")
    complete = []
    for event in document["traceEvents"]:
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            assert isinstance(event["args"]["name"], str)
            continue
        assert event["ph"] == "X"
        assert isinstance(event["cat"], str)
        assert event["ts"] >= 0
        assert event["dur"] >= 0
        assert isinstance(event["args"]["line"], int)
        complete.append(event)
    assert [e["ts"] for e in complete] == sorted(e["ts"] for e in complete)
    assert sum(e["cat"] == "matmul" for e in complete) == 7
    (loop,) = [e for e in complete if e["cat"] == "loop"]
    for event in complete:  # slices of one thread must nest
        if event["ts"] > loop["ts"] and event["ts"] < loop["ts"] + loop["dur"]:
            assert event["ts"] + event["dur"] <= loop["ts"] + loop["dur"] + 1e-3


def test_more_events_than_are_kept():
    from graphflow.runtime.cpu.counters import EVENTS

    found = layers.profile(square(2), square(2), gf.constant(EVENTS), repeats=1)
    assert len(found.events) == EVENTS
    assert found.events_lost > 0
    ends = [end for _, _, end in found.events]
    assert ends == sorted(ends)
    assert json.dumps(found.to_dict())
