"""Locks in forked processes: the child has one thread, and copies of locks that other threads held."""

from __future__ import annotations

import functools
import os
import sys
import threading
import weakref
from typing import Any

__all__ = ["renew_after_fork"]

_holders: weakref.WeakSet[Any] = weakref.WeakSet()


def renew_after_fork(holder: Any) -> None:
    """Call `holder.renew_locks()` in every forked child, as long as the holder (an object or a module) lives. It puts
    new locks in the place of its own; nobody uses the old ones there."""
    _holders.add(holder)


def _after_fork_in_child() -> None:
    for holder in list(_holders):
        holder.renew_locks()
    if sys.version_info < (3, 12):
        _renew_cached_properties()


def _renew_cached_properties() -> None:
    """Before Python 3.12 each `functools.cached_property` has a lock that is held while a value is computed."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == __package__:
            for cls in list(vars(module).values()):
                if isinstance(cls, type) and cls.__module__ == name:
                    for member in list(vars(cls).values()):
                        if isinstance(member, functools.cached_property):
                            member.lock = threading.RLock()  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
