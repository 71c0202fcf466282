"""gf.cache: the compiled code kept on disk. See runtime/cpu/cache.py for the format and its safety."""

from __future__ import annotations

from .runtime.cpu.cache import clear, directory, entries, problems, verify

__all__ = ["clear", "directory", "entries", "problems", "verify"]
