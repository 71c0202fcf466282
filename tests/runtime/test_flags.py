"""The flags `threads` and `cache_dir` act at any time, from wherever they are set."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_pool import parallel_for

import graphflow as gf
from graphflow import config
from graphflow.runtime.cpu import cache, pool


@pytest.fixture(autouse=True)
def restore_flags(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(config, "_process", config.flags())
    yield
    monkeypatch.undo()
    pool._apply()


def workers() -> set[int]:
    """The workers that a large region used, over many tries."""
    found: set[int] = set()
    for _ in range(50):
        table = np.full(200_000, -1, np.int64)
        parallel_for("workers", table, len(table), 1)
        found |= set(table.tolist())
    return found


def test_threads_are_what_the_flag_says() -> None:
    config.set_flags(threads=4)
    assert pool.threads() == 4
    assert workers() <= {0, 1, 2, 3}
    with config.override(threads=1):
        assert pool.threads() == 1
        assert workers() == {0}
        with config.override(threads=3):  # an inner scope does not undo what an outer one forbids
            assert pool.threads() == 1
    assert pool.threads() == 4
    with config.override(threads=8):  # more than the flag is as good as fewer
        assert pool.threads() == 8
    config.set_flags(threads=0)
    if hasattr(os, "sched_getaffinity"):
        assert pool.threads() == min(len(os.sched_getaffinity(0)), pool.WORKERS)


def test_another_flag_leaves_the_threads_alone() -> None:
    config.set_flags(threads=3)
    with config.override(check=True):
        assert pool.threads() == 3
        config.set_flags(threads=2)
        assert pool.threads() == 2


def test_an_override_counts_in_every_thread_until_it_ends() -> None:
    config.set_flags(threads=4)
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with config.override(threads=2):
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(30)
    assert pool.threads() == 2
    with config.override(threads=3):
        assert pool.threads() == 2
        leave.set()
        thread.join()
        assert pool.threads() == 3
    assert pool.threads() == 4


def test_an_exception_ends_an_override() -> None:
    config.set_flags(threads=4)
    with pytest.raises(KeyError), config.override(threads=1):
        raise KeyError
    assert pool.threads() == 4


def test_the_number_of_threads_changes_no_bit() -> None:
    x = gf.constant(np.random.default_rng(0).standard_normal((700, 700)).astype("f4"))
    compiled = gf.function(lambda a: (gf.reduce_sum(gf.tanh(a) * a), a @ a))
    expected = [t.numpy().tobytes() for t in compiled(x)]
    for count in (1, 2, 5):
        with config.override(threads=count):
            assert [t.numpy().tobytes() for t in compiled(x)] == expected


@pytest.mark.parametrize("wrong", [65, -1, True, "2"])
def test_a_wrong_number_of_threads_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match="threads"):
        config.set_flags(threads=wrong)
    with pytest.raises(TypeError, match="threads"), config.override(threads=wrong):
        raise AssertionError("not reached")


def test_the_environment_sets_the_threads() -> None:
    program = "from graphflow.runtime.cpu import pool; print(pool.threads())"
    for text, expected in (("3", "3\n"), ("0", f"{len(os.sched_getaffinity(0))}\n")):
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env=os.environ | {"GRAPHFLOW_THREADS": text},
        )
        assert done.stdout == expected, done.stderr
    wrong = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | {"GRAPHFLOW_THREADS": "65"}
    )
    assert "GRAPHFLOW_THREADS='65': expected a number from 0 to 64" in wrong.stderr


def test_the_cache_moves_at_any_time(tmp_path: Path) -> None:
    def compile_something(k: float) -> None:
        gf.function(lambda x: gf.exp(x * k) + k)(gf.constant([1.0, 2.0]))

    with config.override(cache_dir=str(tmp_path / "one")):
        assert gf.cache.directory() == tmp_path / "one"
        compile_something(1.25)
        first = {entry.key for entry in cache.entries()}
        assert first
    config.set_flags(cache_dir=str(tmp_path / "two"))
    compile_something(2.25)
    second = {entry.key for entry in cache.entries()}
    assert second
    assert second.isdisjoint(first)
    config.set_flags(cache_dir="0")
    assert gf.cache.directory() is None
    compile_something(3.25)
    assert {path.stem for path in tmp_path.rglob("*.o")} == first | second


def test_another_thread_keeps_its_own_cache(tmp_path: Path) -> None:
    found: list[object] = []
    config.set_flags(cache_dir=str(tmp_path / "process"))
    with config.override(cache_dir=str(tmp_path / "mine")):
        thread = threading.Thread(target=lambda: found.append(cache.directory()))
        thread.start()
        thread.join()
        assert cache.directory() == tmp_path / "mine"
    assert found == [tmp_path / "process"]
