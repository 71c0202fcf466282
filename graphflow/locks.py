"""Locks in forked processes: the child has one thread, and copies of locks that other threads held."""

from __future__ import annotations

import os
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


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
