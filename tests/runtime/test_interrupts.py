"""Ctrl-C ends a native loop, however long it would have run, and leaves everything as it was."""

from __future__ import annotations

import _thread
import signal
import threading

import pytest

import graphflow as gf

STATE = gf.Variable([1.0, 2.0])


@pytest.fixture(autouse=True)
def handler():
    """Python's own handler: a process that a shell starts in the background ignores the signal."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@gf.function
def endless_scalars(n):
    STATE.assign(STATE * 2.0)
    while n > 0:
        n = n * 3 % 7 + 1
    return n


@gf.function
def endless_nested(n):
    STATE.assign(STATE * 2.0)
    total = 0
    while n > 0:
        for k in gf.range(3):
            total += k % 2
    return total + n


@gf.function
def endless_arrays(n):
    x = gf.zeros([100]) + gf.cast(n, gf.float32)
    while gf.reduce_sum(x) > 0:
        x = gf.sort(x) + 1e-9
        STATE.assign_add([1.0, 1.0])
    return gf.size(x) * n


@gf.function
def inner(n):
    while n > 0:
        n = n * 3 % 7 + 1
    return n


@gf.function
def endless_calls(n):
    STATE.assign(STATE * 2.0)
    return inner(n) + inner(n)


@gf.function
def growing(n):
    rows = gf.TensorArray(gf.int32, size=0, dynamic_size=True)
    k = 0
    while n > 0:
        rows = rows.write(k % 1000, k)
        k += 1
    return gf.size(rows.stack()) * n


@pytest.mark.parametrize("function", [endless_scalars, endless_nested, endless_arrays, endless_calls, growing])
@pytest.mark.parametrize("send", [_thread.interrupt_main, lambda: signal.raise_signal(signal.SIGINT)])
def test_a_loop_answers_control_c(function, send):
    function.get_concrete_function(gf.constant(1))
    before = STATE.numpy().tolist()
    timer = threading.Timer(0.05, send)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        function(gf.constant(1))
    timer.join()
    assert STATE.numpy().tolist() == before
    assert int(function(gf.constant(0))) == 0


def test_a_handler_that_raises_nothing_ends_nothing():
    seen = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))

    @gf.function
    def long(n):
        k = gf.constant(0, gf.int64)
        while k < n:
            k += k % 3 + 1
        return k

    long.get_concrete_function(gf.constant(1, gf.int64))
    timer = threading.Timer(0.02, _thread.interrupt_main)
    timer.start()
    while not seen:
        assert int(long(gf.constant(30_000_000, gf.int64))) >= 30_000_000
    timer.join()
    assert seen == [signal.SIGINT]
