"""The flags of graphflow: one typed table, at most 15. A flag's value comes from, in this order: an enclosing
`override`, `set_flags`, its environment variable at the time of import, its default.

    >>> from graphflow import config
    >>> with config.override(check=True):
    ...     config.flags().check
    True
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from .devices import list_physical_devices
from .errors import ArgumentError
from .locks import renew_after_fork

__all__ = [
    "Flags",
    "flags",
    "functions_run_eagerly",
    "get",
    "list_physical_devices",
    "override",
    "read_environment",
    "run_functions_eagerly",
    "set_flags",
    "table",
]


def _boolean(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("expected 1 or 0")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("expected a number of at least 0")
    return int(text)


MOST_THREADS = 64
"""The most threads that the native pool can have."""


def _threads(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_THREADS:
        raise ValueError(f"expected a number from 0 to {MOST_THREADS}")
    return int(text)


_threads.most = MOST_THREADS  # type: ignore[attr-defined]


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text

    read.choices = choices  # type: ignore[attr-defined]
    return read


def _flag(default: Any, variable: str, read: Callable[[str], Any], documentation: str) -> Any:
    return field(default=default, metadata={"variable": variable, "read": read, "documentation": documentation})


@dataclass(frozen=True)
class Flags:
    """Every flag with its type, default, environment variable and meaning."""

    check: bool = _flag(
        False, "GRAPHFLOW_CHECK", _boolean, "Verify every graph after every pass, and the order of its effects."
    )
    threads: int = _flag(
        0,
        "GRAPHFLOW_THREADS",
        _threads,
        f"Threads of a parallel kernel, at most {MOST_THREADS}; 0 takes the cores this process may use. There is one pool: inside an "
        "`override` the number holds for all threads of the process, the smallest where several are in force.",
    )
    cache_dir: str = _flag(
        "",
        "GRAPHFLOW_CACHE",
        str,
        "Directory of compiled code; empty takes the user's cache directory, 0 turns the cache off.",
    )
    fuel: int | None = _flag(
        None,
        "GRAPHFLOW_FUEL",
        _count,
        "Rewrites that the passes may make in one compilation; unset: any number. Bisects a wrong rewrite.",
    )
    dump_dir: str = _flag(
        "", "GRAPHFLOW_DUMP", str, "Directory that gets each pass's graph as text, one file a pass; empty: none."
    )
    fold_limit: int = _flag(
        4096,
        "GRAPHFLOW_FOLD_LIMIT",
        _count,
        "Most elements of a tensor that constant folding computes; 0 turns folding off.",
    )
    run_functions_eagerly: bool = _flag(
        False, "GRAPHFLOW_EAGER", _boolean, "Run the body of every function as plain Python."
    )
    retrace_warn: int = _flag(
        5,
        "GRAPHFLOW_RETRACE_WARN",
        _count,
        "Traces that a function may have before `on_retrace` applies; 0: any number.",
    )
    on_retrace: str = _flag(
        "warn",
        "GRAPHFLOW_ON_RETRACE",
        _one_of("warn", "raise", "ignore"),
        "What happens at one trace more than `retrace_warn`: warn (once a function), raise or ignore.",
    )
    most_traces: int = _flag(
        256, "GRAPHFLOW_MOST_TRACES", _count, "Traces kept for a function (at least 1); the least recently used goes."
    )
    strict: bool = _flag(
        False, "GRAPHFLOW_STRICT", _boolean, "Raise, instead of warning, at a Python side effect while tracing."
    )
    reproduce: str = _flag(
        "",
        "GRAPHFLOW_REPRODUCE",
        str,
        "Directory that gets a reproduction file of each failing call of a compiled function; empty: none.",
    )
    soft_placement: bool = _flag(
        True,
        "GRAPHFLOW_SOFT_PLACEMENT",
        _boolean,
        "Run a node on the CPU, with a remark, where the asked device has no kernel for it, instead of raising.",
    )


def table() -> list[tuple[str, str, Any, str]]:
    """(flag, environment variable, default, meaning) of every flag, for `graphflow doctor` and the documentation."""
    return [(f.name, f.metadata["variable"], f.default, f.metadata["documentation"]) for f in fields(Flags)]


def read_environment(environment: Mapping[str, str]) -> Flags:
    """The flags that these environment variables set. Raises ValueError naming the variable, its value and what it
    takes."""
    values: dict[str, Any] = {}
    for flag in fields(Flags):
        variable = flag.metadata["variable"]
        if variable in environment:
            try:
                values[flag.name] = flag.metadata["read"](environment[variable])
            except ValueError as error:
                raise ValueError(
                    f"{variable}={environment[variable]!r}: {error}. {flag.metadata['documentation']}"
                ) from None
    return Flags(**values)


_process: Flags = read_environment(os.environ)
_thread_limits: list[int] = []
_listeners: dict[str, list[Callable[[], None]]] = {}
_lock = threading.Lock()


def renew_locks() -> None:
    """In a forked child."""
    global _lock
    _lock = threading.Lock()


renew_after_fork(sys.modules[__name__])
_scoped: contextvars.ContextVar[Flags | None] = contextvars.ContextVar("graphflow_flags", default=None)


def flags() -> Flags:
    """The flags in force here."""
    return _scoped.get() or _process


def get(name: str) -> Any:
    """The value of one flag. Raises ArgumentError for an unknown one."""
    if name not in (known := vars(flags())):
        raise ArgumentError(f"config.get: there is no flag {name!r}; the flags are {', '.join(known)}")
    return known[name]


def set_flags(**changes: Any) -> None:
    """Change flags for the whole process. Raises TypeError for an unknown flag or a value of another type."""
    global _process
    _process = _changed(_process, changes)
    _announce(changes)


@contextlib.contextmanager
def override(**changes: Any) -> Iterator[Flags]:
    """Change flags inside a `with` block, for this thread or task only (`threads`: for the process, see its meaning). A
    set_flags inside the block is not seen there. Raises TypeError for an unknown flag or a value of another type."""
    token = _scoped.set(_changed(flags(), changes))
    limit = changes.get("threads")
    if limit:
        with _lock:
            _thread_limits.append(limit)
    _announce(changes)
    try:
        yield flags()
    finally:
        _scoped.reset(token)
        if limit:
            with _lock:
                _thread_limits.remove(limit)
        _announce(changes)


def thread_limit() -> int:
    """The threads of a parallel kernel: the smallest number of the overrides in force in any thread, else the process's flag;
    0: as many as there are cores."""
    with _lock:
        return min(_thread_limits, default=_process.threads)


def when_changed(name: str, listener: Callable[[], None]) -> None:
    """Call `listener` after each change of a flag, in the thread that changes it."""
    _listeners.setdefault(name, []).append(listener)


def _announce(changes: Mapping[str, Any]) -> None:
    for name in changes:
        for listener in _listeners.get(name, ()):
            listener()


def run_functions_eagerly(run_eagerly: bool) -> None:
    """TensorFlow's `tf.config.run_functions_eagerly`: run the bodies of functions as plain Python, to debug them. For the
    whole process, at once, functions called by functions and methods too; traces and compiled code are kept for later."""
    set_flags(run_functions_eagerly=bool(run_eagerly))
    scoped = _scoped.get()
    if scoped is not None:  # an enclosing `override` holds a copy of all flags
        _scoped.set(replace(scoped, run_functions_eagerly=bool(run_eagerly)))


def functions_run_eagerly() -> bool:
    """Are functions run as plain Python?"""
    return flags().run_functions_eagerly


_TYPES: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "str": (str,), "int | None": (int, type(None))}


def _changed(old: Flags, changes: Mapping[str, Any]) -> Flags:
    known = {f.name: f for f in fields(Flags)}
    for name, value in changes.items():
        if name not in known:
            raise ArgumentError(f"config has no flag {name!r}; the flags are {', '.join(known)}")
        expected = str(known[name].type)
        if not isinstance(value, _TYPES[expected]) or (isinstance(value, bool) and expected != "bool"):
            raise ArgumentError(f"config.{name} is of type {expected}, got {value!r}")
        choices = getattr(known[name].metadata["read"], "choices", None)
        if choices and value not in choices:
            raise ArgumentError(f"config.{name} must be one of {', '.join(choices)}, got {value!r}")
        most = getattr(known[name].metadata["read"], "most", None)
        if most is not None and value > most:
            raise ArgumentError(f"config.{name} must be at most {most}, got {value!r}")
        if isinstance(value, int) and value < 0:
            raise ArgumentError(f"config.{name} must be at least 0, got {value!r}")
    return replace(old, **changes)
