"""One call of a function, prepared to be looked at: its trace, arguments, extents and variables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

__all__ = ["Call", "prepare_call"]


@dataclass(frozen=True)
class Call:
    """The trace that a call runs, with what the call gives it. extents: of the symbolic dims."""

    concrete: Any
    arguments: Any
    extents: dict[str, int]

    @property
    def variables(self) -> list[Any]:
        """Every variable that the trace can use."""
        return [v for _, v in self.concrete.captured] + list(self.arguments.variables)

    @contextmanager
    def variables_restored(self) -> Iterator[None]:
        """Afterwards all variables have the values from before."""
        held = [(v, v._array.copy()) for v in self.variables]
        try:
            yield
        finally:
            for variable, array in held:
                np.copyto(variable._array, array)

    def with_executable(self, executable: Any) -> Call:
        """The same call of other compiled code."""
        trial = replace(self.concrete, _executable=executable, _bindings={}, _calls={}, _seen={})
        return replace(self, concrete=trial)

    def run(self) -> Any:
        """Run the compiled code."""
        return self.concrete.run(self.arguments.tensors, self.arguments.variables, self.extents)

    def binding(self) -> Any:
        """The native program for this call."""
        return self.concrete.binding(self.arguments.variables, self.extents)


def prepare_call(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """The call of a Function, or of one bound to an instance, traced if need be and not run."""
    inner = function
    if hasattr(function, "_instance"):
        inner, args = function._function, (function._instance, *args)
    arguments = inner._arguments(args, kwargs)
    concrete, extents = inner._find_or_trace(arguments)
    return Call(concrete, arguments, extents)
