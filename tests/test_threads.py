"""Several Python threads at once: the same function, different ones, first calls racing, eager ops, tapes."""

from __future__ import annotations

import sys
import threading

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
    traces = []

    @gf.function
    def f(x):
        traces.append(1)
        return gf.reduce_sum(gf.tanh(x) * 2.0), x + 1.0

    inputs = [gf.constant(np.full(size, 0.125 * k, "f4")) for k in range(count)]
    results = together(count, lambda k: [f(inputs[k]) for _ in range(4)])
    assert len(traces) == 1
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
