"""Traces that the instances of a class share, and that come from another process: see blueprint.py."""

from __future__ import annotations

import time
from typing import Any

from .blueprint import MOST_BLUEPRINTS, NotGeneral, draw, stripped_key
from .causes import Cause
from .concrete import ConcreteFunction
from .signature import Arguments, bind_symbols

__all__ = ["Sharing"]

MOST_UNUSED = 8
"""Blueprints that are drawn for a function as long as none is used."""


class Sharing:
    """The part of Function that takes traces over.

    _blueprints: one list for the function of a class and for those of its instances, the newest last.
    """

    name: str
    _is_method: bool
    _blueprints: list[Any]

    def _take_over(self, arguments: Arguments) -> ConcreteFunction | None:
        """A trace for the call from another instance's or another process's, not yet kept."""
        if not self._blueprints:
            return None
        start = time.perf_counter()
        instance = arguments.values[0] if self._is_method else None
        try:
            key = stripped_key(arguments.key, instance) if self._is_method else arguments.key
        except NotGeneral:
            return None
        for blueprint in reversed(tuple(self._blueprints)):  # a copy: other threads may add
            if blueprint.key == key:
                concrete = blueprint.realise(self, arguments, instance)
                if concrete is not None and concrete.accepts(arguments.variables):
                    concrete.cause = Cause("shared", concrete.reason)
                    concrete.trace_milliseconds = (time.perf_counter() - start) * 1e3
                    return concrete
        return None

    def _find_shared(self, arguments: Arguments) -> tuple[ConcreteFunction, dict[str, int]] | None:
        """The same, kept, with the call's extents."""
        concrete = self._take_over(arguments)
        if concrete is None:
            return None
        extents = bind_symbols(concrete.types, arguments.shapes)  # type: ignore[arg-type]
        assert extents is not None
        self._add(concrete, arguments.full_key, extents)  # type: ignore[attr-defined]
        return concrete, extents

    def add_blueprints(self, blueprints: list[Any]) -> None:
        """Traces from another process, without those that are there."""
        for blueprint in blueprints:
            if not any(blueprint.same(known) for known in self._blueprints):
                self._blueprints.append(blueprint)

    def _offer(self, concrete: ConcreteFunction, arguments: Arguments) -> None:
        """Let the class's other instances use a trace, where that is right."""
        if not self._is_method or concrete.is_shared:
            return
        if len(self._blueprints) >= MOST_UNUSED and not any(b.uses for b in self._blueprints):
            return  # the instances of this class differ
        blueprint = draw(concrete, arguments.values[0])
        if blueprint is not None:
            self._blueprints.append(blueprint)
            del self._blueprints[:-MOST_BLUEPRINTS]
