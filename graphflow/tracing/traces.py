"""The traces of one function: found by key, bounded, each made once however many threads ask for it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .. import config
from ..locks import renew_after_fork
from .causes import leaves_of, objects_of
from .concrete import ConcreteFunction
from .explain import TraceReport, report_of
from .signature import Arguments, bind_symbols

__all__ = ["Traces"]

MOST_DROPPED = 1024
"""Dropped traces that are remembered (as a hash each), to tell a trace that comes back from a new one."""
MOST_REPORTS = 64
MOST_RECENT = 8
"""Traces that may have fast calls installed (function.MOST_FAST_CALLS, and a few of the other threads')."""


class Traces:
    """The traces of a function.

    `find` and `add` hold a lock for microseconds; tracing and compiling happen outside it, under a lock for each
    signature (`making`), so that two threads may compile different signatures at once and share the same one. A trace
    whose argument objects are gone can never be found again: it goes at the next `add`. Beyond the flag most_traces the
    least recently used one goes.
    """

    def __init__(self) -> None:
        self.entries: list[ConcreteFunction] = []
        self.made = 0
        self.dropped: list[tuple[TraceReport, str]] = []
        self._by_key: dict[Any, list[ConcreteFunction]] = {}
        self._exact: dict[Any, list[tuple[ConcreteFunction, dict[str, int]]]] = {}
        self._gone: dict[int, None] = {}
        self._clock = itertools.count(1)
        self._recent: dict[int, tuple[ConcreteFunction, int]] = {}
        self._lock = threading.RLock()
        self._making: dict[Any, list[Any]] = {}
        renew_after_fork(self)

    def renew_locks(self) -> None:
        """In a forked child: traces that other threads were making are made by nobody."""
        self._lock = threading.RLock()
        self._making = {}

    # Looking up -------------------------------------------------------------------------------------------------------
    def find(self, arguments: Arguments) -> tuple[ConcreteFunction, dict[str, int]] | None:
        """The trace whose key, extents, aliasing and guards fit the call, and the call's extents."""
        full_key = arguments.full_key
        with self._lock:
            self._notice_fast_calls()
            for concrete, extents in self._exact.get(full_key, ()):
                if concrete.accepts(arguments.variables) and concrete.holds():
                    return self._found(concrete, extents)
            for concrete in reversed(self._by_key.get(arguments.key, ())):
                extents_or_none = bind_symbols(concrete.types, arguments.shapes)  # type: ignore[arg-type]
                if extents_or_none is not None and concrete.accepts(arguments.variables) and concrete.holds():
                    self._remember(full_key, concrete, extents_or_none)
                    return self._found(concrete, extents_or_none)
        return None

    def _found(self, concrete: ConcreteFunction, extents: dict[str, int]) -> tuple[ConcreteFunction, dict[str, int]]:
        concrete.last_used = next(self._clock)
        self._recent.pop(concrete.number, None)
        self._recent[concrete.number] = (concrete, concrete.uses[0])
        if len(self._recent) > MOST_RECENT:
            del self._recent[next(iter(self._recent))]
        return concrete, extents

    def _notice_fast_calls(self) -> None:
        """Fast calls keep no time: those of the traces found last count as made now."""
        for number, (concrete, uses) in self._recent.items():
            if concrete.uses[0] != uses:
                concrete.last_used = next(self._clock)
                self._recent[number] = (concrete, concrete.uses[0])

    def _remember(self, full_key: Any, concrete: ConcreteFunction, extents: dict[str, int]) -> None:
        if len(self._exact) > 1024:
            self._exact.clear()
        self._exact.setdefault(full_key, []).insert(0, (concrete, extents))

    def with_key(self, key: Any) -> list[ConcreteFunction]:
        """The traces for arguments with this key, oldest first."""
        with self._lock:
            return list(self._by_key.get(key, ()))

    def by_use(self) -> list[ConcreteFunction]:
        """The traces, the last used one last."""
        with self._lock:
            return sorted(self.entries, key=lambda c: c.last_used)

    def was_dropped(self, arguments: Arguments) -> bool:
        """Was there a trace for this call that had to make room?"""
        return hash(arguments.full_key) in self._gone

    # Making -----------------------------------------------------------------------------------------------------------
    @contextmanager
    def making(self, key: Any) -> Iterator[None]:
        """Only one thread at a time is inside for a key."""
        with self._lock:
            slot = self._making.setdefault(key, [threading.RLock(), 0])
            slot[1] += 1
        try:
            with slot[0]:
                yield
        finally:
            with self._lock:
                slot[1] -= 1
                if not slot[1]:
                    del self._making[key]

    def add(self, concrete: ConcreteFunction, full_key: Any = None, extents: dict[str, int] | None = None) -> bool:
        """Keep a compiled trace, and make room for it. True: another one was dropped."""
        with self._lock:
            self.made += 1
            concrete.number = self.made
            self._notice_fast_calls()
            dead = [c for c in self.entries if c is not concrete and _is_dead(c.key)]
            for old in dead:
                self._drop(old, "an object among its arguments is gone")
            while len(self.entries) >= max(config.flags().most_traces, 1):
                old = min(self.entries, key=lambda c: c.last_used)
                self._gone.update(dict.fromkeys(hash(k) for k, v in self._exact.items() if any(c is old for c, _ in v)))
                while len(self._gone) > MOST_DROPPED:
                    self._gone.pop(next(iter(self._gone)))
                self._drop(old, f"least recently used of {len(self.entries)} traces (flag most_traces)")
                dead.append(old)
            self.entries.append(concrete)
            self._by_key.setdefault(concrete.key, []).append(concrete)
            if full_key is not None and extents is not None:
                self._remember(full_key, concrete, extents)
            self._found(concrete, extents or {})
            return bool(dead)

    def _drop(self, concrete: ConcreteFunction, why: str) -> None:
        self.entries.remove(concrete)
        self._recent.pop(concrete.number, None)
        # Rebuilt, not deleted from: the key of a dead object equals nothing.
        self._by_key = {k: left for k, v in self._by_key.items() if (left := [c for c in v if c is not concrete])}
        self._exact = {k: kept for k, v in self._exact.items() if (kept := [e for e in v if e[0] is not concrete])}
        self.dropped.append((report_of(concrete), why))
        del self.dropped[:-MOST_REPORTS]


def _is_dead(key: Any) -> bool:
    """Is an object in the key gone?"""
    return any(part.is_dead for leaf in leaves_of(key) for part in objects_of(leaf))
