"""Compiled functions in coroutines and executors; tasks that trace at once do not see each other."""

from __future__ import annotations

import asyncio
import contextvars

import numpy as np

import graphflow as gf


def test_called_from_coroutines_and_executors():
    @gf.function
    def f(x, k):
        return gf.reduce_sum(x * k)

    x = gf.constant(np.arange(1000, dtype="f4"))

    async def work(k):
        loop = asyncio.get_running_loop()
        found = []
        for _ in range(3):
            found.append(float(f(x, gf.constant(float(k)))))
            found.append(float(await loop.run_in_executor(None, f, x, gf.constant(float(k)))))
            found.append(float(await asyncio.to_thread(f, x, gf.constant(float(k)))))
            await asyncio.sleep(0)
        return found

    async def every():
        return await asyncio.gather(*(work(k) for k in range(8)))

    for k, found in enumerate(asyncio.run(every())):
        assert found == [499500.0 * k] * 9
    assert f.experimental_get_tracing_count() == 1


def test_tapes_belong_to_their_task():
    w = gf.Variable(3.0)

    async def work(k):
        with gf.GradientTape() as tape:
            y = w * float(k)
            await asyncio.sleep(0.001 * (k % 3))
            y = y * w
        await asyncio.sleep(0)
        return float(tape.gradient(y, w))

    async def every():
        return await asyncio.gather(*(work(k) for k in range(9)))

    assert asyncio.run(every()) == [6.0 * k for k in range(9)]


def test_scopes_belong_to_their_task():
    async def work(k):
        with gf.name_scope(f"scope{k}"), gf.device("/CPU:0"), gf.config.override(fold_limit=k):
            await asyncio.sleep(0.001 * (k % 3))
            return gf.Variable(1.0, name="v").name, gf.config.flags().fold_limit

    async def every():
        return await asyncio.gather(*(work(k) for k in range(9)))

    assert asyncio.run(every()) == [(f"scope{k}/v:0", k) for k in range(9)]


def test_a_trace_in_a_task_is_not_seen_by_another():
    """A traced function that hands over to another task (through a generator) and goes on later."""
    log = []

    def steps(k):
        @gf.function
        def f(x):
            y = x * float(k)
            log.append(("inside", k, other.run(lambda: float(gf.constant(2.0) * 3.0))))
            return y + 1.0

        other = contextvars.Context()  # what another task runs in
        return float(f(gf.constant(10.0)))

    async def work(k):
        found = await asyncio.to_thread(steps, k)
        await asyncio.sleep(0)
        eager = gf.constant(1.0) + float(k)
        return found, float(eager)

    async def every():
        return await asyncio.gather(*(work(k) for k in range(6)))

    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gf.errors.SideEffectWarning)
        assert asyncio.run(every()) == [(10.0 * k + 1, 1.0 + k) for k in range(6)]
    assert sorted(log) == [("inside", k, 6.0) for k in range(6)]


def test_tasks_that_trace_at_once():
    functions = [gf.function(lambda x, k=k: gf.reduce_sum(gf.sin(x) * float(k))) for k in range(8)]
    x = gf.constant(np.linspace(0, 1, 50, dtype="f4"))

    async def work(k):
        return float(await asyncio.to_thread(functions[k], x)), float(functions[k](x))

    async def every():
        return await asyncio.gather(*(work(k) for k in range(8)))

    for k, (first, second) in enumerate(asyncio.run(every())):
        assert first == second
        np.testing.assert_allclose(first, k * np.sin(np.linspace(0, 1, 50)).sum(), rtol=1e-5)
