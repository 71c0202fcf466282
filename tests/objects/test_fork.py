"""Forked children: they call, compile, trace, use the cache and the pool, whatever other threads did at the fork."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
import traceback
from dataclasses import replace

import numpy as np
import pytest

import graphflow as gf

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

LARGE = 400_000


def in_child(work, seconds=60):
    """Run work() in a forked child, which must come to its end; its exit code."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "still running"


@gf.function
def sums(x):
    return gf.reduce_sum(gf.tanh(x) * 2.0)


def large(k=1.0):
    return gf.constant(np.full(LARGE, k * 0.125, "f4"))


def fresh(k):
    """A function that nobody has compiled."""
    return gf.function(lambda x: gf.reduce_sum(gf.tanh(x) * float(k) + gf.sqrt(x)))


def test_compiled_before_called_in_the_child(tmp_path, monkeypatch):
    monkeypatch.setattr(gf.config, "_process", replace(gf.config.flags(), cache_dir=str(tmp_path)))
    x = large()
    expected = sums(x).numpy().tobytes()  # the pool's threads run now
    variable = gf.Variable(gf.zeros(3))
    add = gf.function(lambda: variable.assign_add(gf.ones(3)))
    add()

    def work():
        assert sums(x).numpy().tobytes() == expected
        assert sums(large(2.0)).numpy() != sums(x).numpy()
        add()
        assert variable.numpy().tolist() == [2, 2, 2]
        new = fresh(7.5)
        assert new(x).numpy() == new(x).numpy()
        assert float(gf.reduce_sum(gf.matmul(gf.ones((80, 80)), gf.ones((80, 80))))) == 80.0**3
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(gf.square(variable * 2.0))
        assert tape.gradient(loss, variable).numpy().tolist() == [16, 16, 16]

    assert [in_child(work) for _ in range(3)] == [0, 0, 0]
    assert variable.numpy().tolist() == [1, 1, 1]
    add()
    assert variable.numpy().tolist() == [2, 2, 2]
    assert sums(x).numpy().tobytes() == expected


def test_a_child_of_a_child():
    x = large()
    expected = float(sums(x))

    def work():
        assert float(sums(x)) == expected
        assert in_child(lambda: (sums(x), fresh(3.25)(x))) == 0

    assert in_child(work) == 0


def test_fork_while_other_threads_trace_compile_and_run():
    stop, errors = threading.Event(), []

    def busy(number):
        k = 0
        try:
            while not stop.is_set():
                k += 1
                scale = 1.0 + number + k * 0.001

                @gf.function
                def new(x, scale=scale):
                    return gf.matmul(x, x) * scale + gf.exp(x)

                new(gf.ones((4 + k % 3, 4 + k % 3)))
                shared(gf.ones(1 + k % 5))
                sums(x)
        except BaseException as error:
            errors.append(error)

    shared = gf.function(lambda v: gf.reduce_sum(v * 2.0))
    x = large()
    expected = float(sums(x))
    threads = [threading.Thread(target=busy, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()

    def work():
        assert float(sums(x)) == expected
        assert float(shared(gf.ones(3))) == 6
        assert float(shared(gf.ones((2, 9)))) == 36
        assert np.isfinite(float(fresh(9.125)(x)))
        assert gf.matmul(gf.ones((5, 5)), gf.ones((5, 5))).numpy()[0, 0] == 5

    try:
        codes = [in_child(work) for _ in range(12)]
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert not errors
    assert codes == [0] * 12


def test_fork_inside_a_signature_s_first_call():
    """Another thread is tracing exactly what the child then calls: the child traces it itself."""
    inside, go_on = threading.Event(), threading.Event()
    parent = os.getpid()

    @gf.function
    def slow(x):
        if os.getpid() == parent:
            inside.set()
            assert go_on.wait(60)
        return x * 3.0

    results = []
    thread = threading.Thread(target=lambda: results.append(float(slow(gf.constant(2.0)))))
    thread.start()
    assert inside.wait(60)

    def work():
        assert float(slow(gf.constant(5.0))) == 15

    try:
        assert in_child(work) == 0
    finally:
        go_on.set()
        thread.join(60)
    assert results == [6.0]


def test_classes_watched_by_another_thread_are_let_go():
    inside, go_on = threading.Event(), threading.Event()

    class Model:
        def __init__(self):
            self.rate = 2.0

        @gf.function
        def run(self, x):
            inside.set()
            assert go_on.wait(60)
            return x * self.rate

    model = Model()
    thread = threading.Thread(target=lambda: model.run(gf.constant(1.0)))
    thread.start()
    assert inside.wait(60)
    assert "__getattribute__" in vars(Model)

    def work():
        assert "__getattribute__" not in vars(Model)

    try:
        assert in_child(work) == 0
    finally:
        go_on.set()
        thread.join(60)


def _in_pool(k):
    return float(sums(gf.constant([0.125 * k]))), float(fresh(k)(gf.constant([1.0])))


def test_a_fork_pool():
    sums(large())
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map(_in_pool, range(6))
    assert found == [_in_pool(k) for k in range(6)]


def test_the_disk_cache_from_parent_and_child(tmp_path, monkeypatch):
    monkeypatch.setattr(gf.config, "_process", replace(gf.config.flags(), cache_dir=str(tmp_path)))
    source = gf.constant([1.0, 4.0])

    def work():
        for k in range(4):
            fresh(100.5 + k)(source)

    assert in_child(work) == 0
    from graphflow.runtime.cpu import cache

    written = {entry.key for entry in cache.entries()}
    assert len(written) >= 4
    assert cache.verify() == []
    for k in range(4):
        fresh(100.5 + k)(source)
    assert {entry.key for entry in cache.entries()} == written
    assert cache.problems == []


def test_fork_while_a_cached_property_is_computed():
    """Before Python 3.12 a lock is held meanwhile, for all instances."""
    from graphflow.ir.graph import Graph

    inside, go_on = threading.Event(), threading.Event()

    class Nodes:
        def __iter__(self):
            inside.set()
            assert go_on.wait(60)
            return iter(())

    thread = threading.Thread(target=lambda: Graph("g", (), Nodes(), ()).uses)
    thread.start()
    assert inside.wait(60)
    try:
        assert in_child(lambda: Graph("h", (), (), ()).uses) == 0
    finally:
        go_on.set()
        thread.join(60)
