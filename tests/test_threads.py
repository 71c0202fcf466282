"""Several Python threads at once: the same function, different ones, first calls racing, eager ops, tapes."""

from __future__ import annotations

import gc
import random
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import graphflow as gf


def together(count, work):
    """Run work(k) on `count` threads that start at one moment; their results. Errors are raised here."""
    barrier, results, errors = threading.Barrier(count), [None] * count, []

    def run(k):
        try:
            barrier.wait(30)
            results[k] = work(k)
        except BaseException as error:
            errors.append(error)

    old = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    finally:
        sys.setswitchinterval(old)
    assert not any(t.is_alive() for t in threads)
    if errors:
        raise errors[0]
    return results


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("size", [7, 400_000], ids=["small", "large"])
def test_same_function_first_calls_racing(count, size):
    @gf.function
    def f(x):
        return gf.reduce_sum(gf.tanh(x) * 2.0), x + 1.0

    inputs = [gf.constant(np.full(size, 0.125 * k, "f4")) for k in range(count)]
    results = together(count, lambda k: [f(inputs[k]) for _ in range(4)])
    assert f.experimental_get_tracing_count() == 1
    for k, found in enumerate(results):
        expected = f(inputs[k])
        for total, moved in found:
            assert total.numpy().tobytes() == expected[0].numpy().tobytes()
            assert moved.numpy().tobytes() == expected[1].numpy().tobytes()


@pytest.mark.parametrize("count", [2, 8])
def test_different_functions(count):
    functions = [gf.function(lambda x, k=k: gf.reduce_sum(x * float(k) + gf.exp(x))) for k in range(count)]
    x = gf.constant(np.linspace(0, 1, 1000, dtype="f4"))
    results = together(count, lambda k: [functions[k](x).numpy() for _ in range(20)])
    for k, found in enumerate(results):
        assert len({v.tobytes() for v in found}) == 1
        np.testing.assert_allclose(
            found[0], float(np.sum(np.linspace(0, 1, 1000) * k + np.exp(np.linspace(0, 1, 1000)))), rtol=1e-5
        )


@pytest.mark.filterwarnings("ignore:.*was traced")
def test_same_function_with_different_shapes_literals_and_captures():
    f = gf.function(lambda x, k: gf.reduce_sum(x) * k)
    results = together(8, lambda k: [float(f(gf.ones((n + k,)), float(k))) for n in (1, 2, 3) for _ in range(3)])
    for k, found in enumerate(results):
        assert found == [float((n + k) * k) for n in (1, 2, 3) for _ in range(3)]


def test_threads_with_their_own_variables():
    @gf.function
    def step(w, x):
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(gf.square(w - x))
        w.assign_sub(tape.gradient(loss, w) * 0.25)
        return loss

    variables = [gf.Variable(np.full(5, float(k), "f4")) for k in range(8)]
    target = gf.zeros(5)
    together(8, lambda k: [step(variables[k], target) for _ in range(10)])
    for k, variable in enumerate(variables):
        assert variable.numpy().tolist() == [k * 0.5**10] * 5


@pytest.mark.parametrize("count", [2, 8])
def test_eager_ops_and_tapes(count):
    def work(k):
        w = gf.Variable(np.full((3, 4), 0.5, "f4"))
        found = []
        for _ in range(5):
            with gf.GradientTape() as tape:
                y = gf.reduce_sum(gf.sigmoid(gf.matmul(w, gf.ones((4, 2)) * (k / 4.0))))
            found.append(tape.gradient(y, w).numpy())
        return found

    results = together(count, work)
    for k, found in enumerate(results):
        assert len({g.tobytes() for g in found}) == 1
        s = 1 / (1 + np.exp(-k / 2))
        np.testing.assert_allclose(found[0], np.full((3, 4), k / 2 * s * (1 - s)), rtol=1e-4)


def test_a_trace_in_one_thread_is_not_seen_by_another():
    inside, outside = threading.Event(), threading.Event()

    @gf.function
    def slow(x):
        inside.set()
        assert outside.wait(30)
        return x * 2.0

    def work(k):
        if k == 0:
            return float(slow(gf.constant(2.0)))
        assert inside.wait(30)
        try:
            eager = gf.constant(3.0) * 2.0  # while the other thread is tracing
            return float(eager) + float(gf.function(lambda x: x + 1.0)(gf.constant(1.0)))
        finally:
            outside.set()

    assert together(2, work) == [4, 8]


def test_errors_go_to_the_thread_that_caused_them():
    f = gf.function(lambda x, y: x // y)

    def work(k):
        outcomes = []
        for n in range(30):
            divisor = gf.constant([1, 0 if (n + k) % 2 else 2])
            try:
                outcomes.append(f(gf.constant([4, 4]), divisor).numpy().tolist())
            except ZeroDivisionError:
                outcomes.append("zero")
        return outcomes

    for k, found in enumerate(together(8, work)):
        assert found == ["zero" if (n + k) % 2 else [4, 2] for n in range(30)]


def test_prints_of_several_threads(capfd):
    @gf.function
    def speak(k):
        gf.print("thread", k, output_stream="stdout")
        return k

    results = together(4, lambda k: [int(speak(gf.constant(k))) for _ in range(5)])
    assert results == [[k] * 5 for k in range(4)]
    lines = capfd.readouterr().out.split("\n")
    assert sorted(lines) == sorted(["", *(f"thread {k}" for k in range(4) for _ in range(5))])


def test_methods_of_one_instance():
    class Model:
        def __init__(self):
            self.w = None

        @gf.function
        def run(self, x):
            if self.w is None:
                self.w = gf.Variable(3.0)
            return x * self.w

    model = Model()
    results = together(8, lambda k: float(model.run(gf.constant(float(k)))))
    assert results == [3.0 * k for k in range(8)]
    assert model.run.experimental_get_tracing_count() == 1


# Signatures and variables ---------------------------------------------------------------------------------------------
@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_one_trace_for_each_signature():
    traces = []

    @gf.function(reduce_retracing=False, retrace_limit=0)
    def f(x, k):
        traces.append((tuple(x.shape), k))
        return gf.reduce_sum(x) * k

    def work(number):
        return [float(f(gf.ones(1 + (number + n) % 3), float((number + n) % 2))) for n in range(12)]

    for number, found in enumerate(together(8, work)):
        assert found == [(1 + (number + n) % 3) * float((number + n) % 2) for n in range(12)]
    assert sorted(set(traces)) == sorted(traces)
    assert len(traces) == 6


@pytest.mark.filterwarnings("ignore::graphflow.errors.SideEffectWarning")
def test_different_signatures_are_traced_at_once():
    """Neither thread's first call waits for the other's."""
    meeting = threading.Barrier(2)

    @gf.function
    def f(x):
        meeting.wait(30)  # both are inside
        return x * 2

    found = together(2, lambda k: f(gf.constant([1.0, 2.0]) if k else gf.constant(3)).numpy().tolist())
    assert found == [6, [2, 4]]


def test_updates_of_a_shared_variable_are_not_torn():
    """Each call's new value of a variable is written as a whole: readers see values that some call wrote."""
    size = 64
    v = gf.Variable(gf.zeros(size))

    @gf.function
    def set_all(k):
        v.assign(gf.ones(size) * k)

    @gf.function
    def read():
        return v.value()

    set_all(gf.constant(0.0)), read()

    def work(k):
        mixed = 0
        for n in range(400):
            if k < 4:
                set_all(gf.constant(float(k * 1000 + n)))
            else:
                mixed += len(set(read().numpy().tolist())) != 1
        return mixed

    assert together(8, work) == [0] * 8


def test_counts_add_up():
    """Small calls keep the GIL, so that whole calls follow each other."""
    count = gf.Variable(0, dtype=gf.int64)
    add = gf.function(lambda: count.assign_add(1))
    add()
    together(8, lambda k: [add() for _ in range(500)])
    assert int(count) == 4001


def test_scopes_and_tapes_of_a_thread_are_its_own():
    w = gf.Variable([1.0, 2.0])
    square = gf.function(lambda x: x * x)

    def work(k):
        found = []
        for n in range(10):
            with gf.name_scope(f"t{k}"), gf.GradientTape(persistent=True) as tape:
                name = gf.Variable(1.0, name="v").name
                with gf.device("/CPU:0"):
                    y = gf.reduce_sum(square(w) * float(k + n))
            assert name == f"t{k}/v:0"
            found.append(tape.gradient(y, w).numpy().tolist())
        return found

    for k, found in enumerate(together(8, work)):
        assert found == [[2.0 * (k + n), 4.0 * (k + n)] for n in range(10)]


@pytest.mark.filterwarnings("ignore:.*was traced")
def test_instances_of_one_class():
    class Model(gf.Module):
        def __init__(self, k):
            super().__init__()
            self.k, self.w = k, None

        @gf.function
        def run(self, x):
            if self.w is None:
                self.w = gf.Variable(lambda: gf.ones(3) * 2.0)
            self.w.assign_add(x)
            return gf.reduce_sum(self.w)

    def work(k):
        models = [Model(n % 2) for n in range(6)]
        return [[float(m.run(gf.ones(3))) for m in models] for _ in range(3)]

    assert together(8, work) == [[[9.0 + 3 * n] * 6 for n in range(3)]] * 8


def test_functions_that_are_dropped_while_others_run():
    """The garbage collector takes functions, their code and their arenas from under other threads."""
    x = gf.constant(np.linspace(0, 1, 500, dtype="f4"))

    def work(k):
        for n in range(25):
            f = gf.function(lambda v, n=n: gf.reduce_sum(gf.tanh(v) * float(n + 1)))
            values = {f(x).numpy().tobytes() for _ in range(4)}
            assert len(values) == 1
            del f
            if n % 8 == k:
                gc.collect()
        return True

    assert all(together(8, work))


def test_matrix_products_whose_library_is_made_by_several_threads():
    """Programs keep addresses of the library: the first calls must agree on one (in a process of its own)."""
    program = """
import threading, gc
import numpy as np
import graphflow as gf
from graphflow.runtime.cpu import gemm
made = []
original = gemm._compile
def compiled(*part):
    made.append(part)
    return original(*part)
gemm._compile = compiled
barrier = threading.Barrier(8)
def work(k):
    barrier.wait()
    addresses.append(gemm.gemm_address("f32", "small"))
    f = gf.function(lambda a: gf.matmul(a, a) + float(k))
    for _ in range(20):
        assert f(gf.ones((5 + k, 5 + k))).numpy()[0, 0] == 5 + 2 * k
addresses = []
threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
gc.collect()
assert len(set(addresses)) == 1 and len(set(made)) == len(made), made
print("done")
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert found.stdout == "done\n", found.stderr


def test_threads_that_still_call_at_exit():
    """Daemon threads in compiled code, the pool's threads and callbacks do not bring the process down."""
    program = """
import threading, time
import numpy as np
import graphflow as gf
x = gf.constant(np.linspace(0, 1, 300_000, dtype="f4"))
f = gf.function(lambda v: gf.reduce_sum(gf.tanh(v)))
g = gf.function(lambda v: gf.numpy_function(np.sin, [v], gf.TensorSpec([4], gf.float32)) + 1.0)
def work():
    while True:
        f(x); g(x[:4])
        gf.function(lambda v: v * 2.0)(x)
for _ in range(3):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.5)
print("end")
"""
    for _ in range(3):
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
        assert (found.stdout, found.returncode) == ("end\n", 0), found.stderr


@pytest.mark.filterwarnings("ignore:.*was traced", "ignore::graphflow.errors.SideEffectWarning")
def test_stress():
    """Everything at once, for a while: shared and own functions and variables, shapes, tapes, errors, garbage."""
    shared = gf.function(lambda x, k: gf.reduce_sum(x * k), retrace_limit=0)
    divide = gf.function(lambda a, b: a // b)
    total = gf.Variable(0, dtype=gf.int64)
    count = gf.function(lambda: total.assign_add(1))
    end = time.monotonic() + 6

    def work(number):
        chance, counted = random.Random(number), 0
        own = gf.Variable(gf.ones(4) * float(number))

        @gf.function
        def step(x):
            with gf.GradientTape() as tape:
                loss = gf.reduce_sum(gf.square(own - x))
            own.assign_sub(tape.gradient(loss, own) * 0.5)
            return loss

        while time.monotonic() < end:
            choice = chance.randrange(8)
            size = chance.randrange(1, 60)
            if choice == 0:
                assert float(shared(gf.ones(size), gf.constant(2.0))) == 2.0 * size
            elif choice == 1:
                count()
                counted += 1
            elif choice == 2:
                assert float(step(gf.zeros(4))) >= 0
                own.assign(gf.ones(4))
            elif choice == 3:
                with pytest.raises(ZeroDivisionError):
                    divide(gf.constant([size]), gf.constant([0]))
                assert divide(gf.constant([size]), gf.constant([1])).numpy().tolist() == [size]
            elif choice == 4:
                scale = float(chance.randrange(5))
                new = gf.function(lambda v, s=scale: gf.matmul(v, v) * s)
                assert new(gf.ones((size, size))).numpy()[0, -1] == size * scale
            elif choice == 5:
                big = gf.constant(np.full(150_000 + size, 0.5, "f4"))
                assert float(shared(big, gf.constant(1.0))) == (150_000 + size) / 2
            elif choice == 6:
                with gf.GradientTape() as tape:
                    y = shared(own, gf.constant(3.0))
                assert tape.gradient(y, own).numpy().tolist() == [3.0] * 4
            else:
                assert (gf.exp(gf.zeros((size, 2))).numpy() == 1).all()
        return counted

    assert sum(together(8, work)) == int(total)


def test_more_shapes_than_a_trace_keeps_from_many_threads():
    f = gf.function(lambda x: gf.reduce_sum(x), retrace_limit=0)
    f(gf.ones(1)), f(gf.ones(2))  # the extent is symbolic now

    def work(number):
        return [float(f(gf.ones(1 + (17 * number + n) % 150))) for n in range(300)]

    for number, found in enumerate(together(8, work)):
        assert found == [1.0 + (17 * number + n) % 150 for n in range(300)]
