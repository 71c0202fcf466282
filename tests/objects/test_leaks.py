"""Memory: many instances with compiled methods, many functions, many copies; everything goes with its last user."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import tracemalloc
import weakref

import pytest

import graphflow as gf

from .models import Network

X = gf.ones((4, 2))


def resident():
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def growth(work, count):
    """Bytes that `count` runs of work() leave behind after as many before them: (Python's, the process's)."""
    for _ in range(max(count // 10, 20)):
        work()
    gc.collect()
    process = resident()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(count):
            work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before, resident() - process
    finally:
        tracemalloc.stop()


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@needs_proc
def test_ten_thousand_instances():
    class Small(gf.Module):
        def __init__(self):
            super().__init__()
            self.w = gf.Variable([1.0, 2.0])
            self.rate = 2.0

        @gf.function
        def run(self, x):
            return x * self.w * self.rate

    x = gf.constant([1.0, 1.0])

    def work():
        model = Small()
        assert model.run(x).numpy().tolist() == [2, 4]

    python, process = growth(work, 10_000)
    assert python < 500_000  # 50 bytes an instance would be a leak of every instance
    assert process < 20_000_000
    assert len(Small.run._blueprints) == 1
    assert not Small.run._instances._entries


@needs_proc
def test_instances_whose_traces_cannot_be_shared():
    class Own(gf.Module):
        def __init__(self):
            super().__init__()
            self.w = gf.Variable([1.0, 2.0])
            self.f = lambda v: v * 2.0

        @gf.function
        def run(self, x):
            return self.f(x) * self.w

    x = gf.constant([1.0, 1.0])
    made = []

    def work():
        model = Own()
        for _ in range(3):
            assert model.run(x).numpy().tolist() == [2, 4]
        made.append(weakref.ref(model.run.get_concrete_function(x).executable))

    keep = Own()
    keep.run(x)
    python, process = growth(work, 300)
    assert python < 300 * 400  # the list of references is a part of it
    assert process < 8_000_000
    assert {id(m()) for m in made} == {id(keep.run.get_concrete_function(x).executable)}  # one code for all


@needs_proc
def test_functions_and_their_code_are_freed():
    def work():
        scale = 1.5
        f = gf.function(lambda v: v * scale)
        for _ in range(3):
            f(X)

    python, process = growth(work, 200)
    assert python < 200 * 500
    assert process < 8_000_000


@needs_proc
def test_copies_and_pickles():
    network = Network()
    network(X)

    def work():
        for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
            twin(X)
        pickle.loads(pickle.dumps(network.__call__))
        pickle.loads(pickle.dumps(network.__call__.get_concrete_function(X)))(X)

    python, process = growth(work, 30)
    assert python < 30 * 3000
    assert process < 8_000_000


def test_variables_and_instances_are_released():
    watches = []
    for _ in range(5):
        network = Network()
        for _ in range(3):
            network.step(X)
        watches += [weakref.ref(v) for v in (network, *network.variables, *network.submodules)]
    del network
    gc.collect()
    assert [w() for w in watches] == [None] * len(watches)


def test_native_functions_are_taken_apart_by_the_garbage_collector():
    """CPython reads a built-in's method definition when it frees it; it must still be there when the collector has
    cleared what surrounds the built-in. In a process whose freed memory is overwritten."""
    program = """
import gc
import graphflow as gf
gc.disable()
x = gf.constant([1.0, 2.0])
for k in range(20):
    f = gf.function(lambda x, k=k: x * float(k) + 1.0)
    for _ in range(4):
        f(x)
    del f
gc.collect()
print("done")
"""
    for byte in ("2", "253"):
        environment = {**os.environ, "MALLOC_PERTURB_": byte, "PYTHONMALLOC": "malloc"}
        found = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment
        )
        assert (found.stdout, found.returncode) == ("done\n", 0), found.stderr
