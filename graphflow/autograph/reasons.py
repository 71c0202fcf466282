"""What became of each function: its conversion, or why there is none."""

from __future__ import annotations

import inspect
import types
import weakref
from dataclasses import dataclass
from typing import Any

from ..tracing.bytecode import is_installed
from .options import enabled

__all__ = ["CodeTable", "Converted", "conversions", "made_code", "missing_source"]


@dataclass(frozen=True)
class Converted:
    """The conversion of a code object. code: the new one, None where the function stays as it is, for `reason`."""

    code: types.CodeType | None
    reason: str = ""
    needs_source: bool = False


class CodeTable:
    """Values by code object: by identity, and only while the code object lives."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[types.CodeType], Any]] = {}

    def get(self, code: types.CodeType) -> Any:
        found = self._entries.get(id(code))
        return found[1] if found is not None and found[0]() is code else None

    def set(self, code: types.CodeType, value: Any) -> None:
        key, entries = id(code), self._entries

        def forget(dead: Any) -> None:
            kept = entries.get(key)
            if kept is not None and kept[0] is dead:
                entries.pop(key, None)

        entries[key] = (weakref.ref(code, forget), value)


conversions = CodeTable()
#: code made by conversion -> the local names of the function it belongs to
made_code = CodeTable()


def missing_source(code: types.CodeType) -> str:
    """Why the function of this code could not be converted; "" where it could, or need not be."""
    found = conversions.get(code)
    if found is not None:
        return found.reason if found.needs_source else ""
    if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE):
        return "generators and coroutines run as they are"
    if not enabled.get() or made_code.get(code) is not None or is_installed(code.co_filename):
        return ""
    return f"'{code.co_name}' is called by code that is not converted (a property, an operator, a library)"
