"""What became of each function: its conversion, or why there is none."""

from __future__ import annotations

import inspect
import types
from dataclasses import dataclass

from ..ir.source import CodeTable
from ..tracing.bytecode import is_installed
from .options import enabled

__all__ = ["Converted", "conversions", "made_code", "missing_source"]


@dataclass(frozen=True)
class Converted:
    """The conversion of a code object. code: the new one, None where the function stays as it is, for `reason`."""

    code: types.CodeType | None
    reason: str = ""
    needs_source: bool = False


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
