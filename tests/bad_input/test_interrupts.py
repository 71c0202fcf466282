"""KeyboardInterrupt at any moment: whatever it hits, variables are old or new and the next call is right."""

from __future__ import annotations

import _thread
import gc
import threading
import time

import numpy as np
import pytest

import graphflow as gf

PLACES = ["tracing", "a pass", "code generation", "the C compiler", "a callback"]


@pytest.mark.parametrize("place", PLACES)
def test_keyboard_interrupt(place, monkeypatch):
    from graphflow import compiler
    from graphflow.runtime.cpu import llvm

    w = gf.Variable([1.0, 2.0])
    trouble = [True]

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    @gf.function
    def step(x):
        if trouble and place == "tracing":
            raise KeyboardInterrupt
        w.assign_add(x)
        gf.print(w, output_stream="stdout")
        return w * 3.14159

    with monkeypatch.context() as patch:
        if place == "a pass":
            patch.setattr(compiler, "PIPELINE", [*compiler.PIPELINE[:2], interrupt])
        elif place == "code generation":
            patch.setattr(compiler, "build", interrupt)
        elif place == "the C compiler":
            patch.setattr(llvm, "compile_module", interrupt)
        elif place == "a callback":
            from graphflow.runtime.host import HOST_EFFECTS

            patch.setitem(HOST_EFFECTS, "print", interrupt)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                step(gf.constant([1.0, 1.0]))
            assert w.numpy().tolist() == [1, 2]
    trouble.clear()
    assert gf.autodiff.tape.recorders.get() == ()
    np.testing.assert_allclose(step(gf.constant([1.0, 1.0])).numpy(), np.array([2, 3]) * 3.14159, rtol=1e-6)
    assert w.numpy().tolist() == [2, 3]
    assert step.experimental_get_tracing_count() == (2 if place == "a callback" else 1)  # `trouble` is a capture


# A signal may meet a finaliser, or the moment between opening a file and its `with` block.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_real_interrupts_at_random_moments():
    """A real signal, at eight moments of a first call: whatever it hits, the variable is old or new and the next call
    is right."""
    for k in range(8):
        w = gf.Variable(np.zeros(4, "f4"))

        @gf.function
        def step(x, w=w, k=k):
            with gf.GradientTape() as tape:
                y = gf.reduce_sum(gf.tanh(w + x * (k + 1.5)) ** 2.0)
            w.assign_sub(tape.gradient(y, w))
            return y

        x = gf.constant(np.full(4, 0.25, "f4"))
        timer = threading.Timer(0.004 * k * k / 4 + 0.001, _thread.interrupt_main)
        before = w.numpy().tolist()
        try:
            timer.start()
            step(x)
            timer.join()
            time.sleep(0.05)  # the signal is handled here at the latest
        except KeyboardInterrupt:
            timer.join()
        after = w.numpy().tolist()
        assert after == before or not np.isnan(after).any()
        w.assign(np.zeros(4, "f4"))
        with gf.config.override(run_functions_eagerly=True):
            expected = step(x)
        expected_w = w.numpy().tolist()
        w.assign(np.zeros(4, "f4"))
        found = step(x)
        assert found.numpy().tobytes() == expected.numpy().tobytes()
        assert w.numpy().tolist() == expected_w
    gc.collect()
