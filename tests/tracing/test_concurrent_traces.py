"""First calls in several threads at once: who traces, who waits, who creates the variables."""

from __future__ import annotations

import threading
import warnings

import pytest

import graphflow as gf

X = gf.constant([1.0, 2.0])


def together(count, work):
    results, errors = [None] * count, []

    def run(k):
        try:
            results[k] = work(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(t.is_alive() for t in threads)
    if errors:
        raise errors[0]
    return results


@pytest.mark.parametrize("is_first", [True, False])
def test_two_signatures_compile_at_the_same_time(is_first):
    meeting = threading.Barrier(2)

    @gf.function(autograph=False)
    def f(x, k):
        if k:
            meeting.wait(30)  # both are inside their traces
        return x * float(k + 1)

    if not is_first:
        f(X, 0)
    assert [r.numpy().tolist() for r in together(2, lambda k: f(X, k + 1))] == [[2, 4], [3, 6]]


def test_one_signature_is_traced_once():
    started = threading.Event()

    @gf.function(autograph=False)
    def f(x):
        started.set()
        assert not later.wait(0.05)  # the other threads have come, and wait
        return x * 2.0

    later = threading.Event()

    def work(k):
        if k:
            assert started.wait(30)
        return f(X).numpy().tolist()

    assert together(4, work) == [[2, 4]] * 4
    assert f.experimental_get_tracing_count() == 1
    assert not f._cache._making


def test_only_one_of_two_first_traces_creates_the_variable():
    inside, made = threading.Event(), []

    class Model:
        def __init__(self):
            self.w = None

        @gf.function(autograph=False)
        def run(self, x, k):
            if k == 0:
                inside.set()
                assert second.wait(30)
            else:
                second.set()
            if self.w is None:
                made.append(k)
                self.w = gf.Variable(2.0)
            return x * self.w

    second = threading.Event()
    model = Model()

    def work(k):
        if k:
            assert inside.wait(30)
        return model.run(X, k).numpy().tolist()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert together(2, work) == [[2, 4]] * 2
    model.w.assign(5.0)
    assert model.run(X, 0).numpy().tolist() == model.run(X, 1).numpy().tolist() == [5, 10]


def test_a_failed_first_trace_hands_on_to_the_next():
    inside = threading.Event()

    @gf.function(autograph=False)
    def f(x, k):
        if k == 0:
            inside.set()
            assert second.wait(30)
            raise KeyError("first")
        second.set()
        if not kept:
            kept.append(gf.Variable(2.0))
        return x * kept[0]

    kept, second = [], threading.Event()

    def work(k):
        if k:
            assert inside.wait(30)
            return f(X, k).numpy().tolist()
        with pytest.raises(KeyError):
            f(X, k)
        return None

    assert together(2, work) == [None, [2, 4]]
