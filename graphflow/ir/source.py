"""Where a node comes from in the user's program."""

from __future__ import annotations

import ast
import linecache
import os
import sys
import threading
import weakref
from dataclasses import dataclass, replace
from types import CodeType, FrameType
from typing import Any

from ..locks import renew_after_fork

__all__ = [
    "CodeTable",
    "Source",
    "capture",
    "is_user_frame",
    "merge_sources",
    "parse_python",
    "source_of",
    "user_frame",
    "user_level",
]


@dataclass(frozen=True)
class Source:
    """File, 1-based line, 0-based column, and the expression's text. `backward` marks a gradient node of that line; `also` lists
    the other places that a merged or fused node stands for."""

    file: str
    line: int
    column: int
    expression: str = ""
    backward: bool = False
    also: tuple[Source, ...] = ()

    def as_backward(self) -> Source:
        """The same place, as that of a node made by differentiation."""
        return self if self.backward else replace(self, backward=True, also=())

    @property
    def location(self) -> str:
        """File name and line: train.py:12."""
        return f"{os.path.basename(self.file)}:{self.line}"

    def all(self) -> tuple[Source, ...]:
        """This place and the merged ones, each alone."""
        return (replace(self, also=()) if self.also else self, *self.also)

    def __str__(self) -> str:
        text = f"{'backward of ' if self.backward else ''}{self.location}"
        return f"{text}   {self.expression}" if self.expression else text


def merge_sources(sources: list[Source] | tuple[Source, ...]) -> Source:
    """The union of places, first one leading, in order, each once."""
    flat: dict[Source, None] = {}
    for source in sources:
        flat.update(dict.fromkeys(source.all()))
    first, *rest = flat
    return replace(first, also=tuple(rest)) if rest else first


_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class CodeTable:
    """Values by code object: by identity (code that is equal may stand in another file), and only while the code object lives."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[CodeType], Any]] = {}

    def get(self, code: CodeType) -> Any:
        found = self._entries.get(id(code))
        return found[1] if found is not None and found[0]() is code else None

    def set(self, code: CodeType, value: Any) -> None:
        key, entries = id(code), self._entries

        def forget(dead: Any) -> None:
            kept = entries.get(key)
            if kept is not None and kept[0] is dead:
                entries.pop(key, None)

        entries[key] = (weakref.ref(code, forget), value)


#: code object -> (the positions of its instructions, {instruction: its Source})
_sources = CodeTable()


def user_frame() -> FrameType | None:
    """The innermost frame that is not graphflow's own (a module that sets `__graphflow_user__ = True`, like the demo, counts as the
    user's)."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_PACKAGE) or "__graphflow_user__" in frame.f_globals:
            return frame
        frame = frame.f_back
    return None


def user_level() -> int:
    """The stacklevel at which warnings.warn, called by the caller, names the user's line."""
    frame: FrameType | None = sys._getframe(1)
    user, level = user_frame(), 1
    while frame is not None and frame is not user:
        frame, level = frame.f_back, level + 1
    return level


_parsing = threading.Lock()


def renew_locks() -> None:
    """For a forked child (see locks.py)."""
    global _parsing
    _parsing = threading.Lock()


renew_after_fork(sys.modules[__name__])


def parse_python(text: str, file: str = "<unknown>") -> ast.Module:
    """The syntax tree of Python source, one thread at a time: before 3.13 CPython counts the depth of all threads' trees together
    (gh-106905) and raises SystemError where threads take turns in the middle of one."""
    with _parsing:
        return ast.parse(text, file)


def is_user_frame(frame: FrameType) -> bool:
    """Is it not one of graphflow's own frames?"""
    return not frame.f_code.co_filename.startswith(_PACKAGE) or "__graphflow_user__" in frame.f_globals


def capture() -> Source:
    """The Source of the user's expression that is running now. Costs under a microsecond after the first time at a place."""
    frame = user_frame()
    if frame is None:
        return Source("unknown", 1, 0)
    return source_of(frame.f_code, frame.f_lasti)


def source_of(code: CodeType, instruction: int) -> Source:
    """The Source of an instruction of a code object."""
    known = _sources.get(code)
    if known is None:
        known = list(code.co_positions()), {}
        _sources.set(code, known)
    positions, sources = known
    found: Source | None = sources.get(instruction)
    if found is None:
        line, end_line, column, end_column = (
            positions[instruction // 2] if instruction // 2 < len(positions) else (None,) * 4
        )
        line = line or code.co_firstlineno
        text = linecache.getline(code.co_filename, line)
        if column is not None and end_column is not None:
            encoded = text.encode()
            text = encoded[column : end_column if end_line == line else None].decode(errors="replace")
        found = sources[instruction] = Source(code.co_filename, line, column or 0, " ".join(text.split()))
    return found
