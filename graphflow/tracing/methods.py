"""Functions as methods: one table of traces for each instance, which keeps no instance alive."""

from __future__ import annotations

import copy
import inspect
import types
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..arguments import typed
from .concrete import ConcreteFunction
from .inspect import Inspection
from .tracebacks import filtered

if TYPE_CHECKING:
    from .function import Function

__all__ = ["BoundFunction", "InstanceTable"]


class BoundFunction(Inspection):
    """A Function as a method of one instance."""

    def __init__(self, function: Function, instance: Any) -> None:
        self._function, self._instance = function, instance
        self.__wrapped__ = function.python_function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._function._fast(self._instance, *args, **kwargs)
        except Exception as error:
            error = typed(error, self._function.name, args, kwargs)
            raise filtered(error)  # noqa: B904  the same error, with the user's frames

    @property
    def python_function(self) -> Callable[..., Any]:
        """The method as Python runs it, of this instance."""
        return types.MethodType(self._function.python_function, self._instance)

    @property
    def __signature__(self) -> inspect.Signature:
        """The method's, without the instance."""
        whole = inspect.signature(self._function.python_function)
        return whole.replace(parameters=list(whole.parameters.values())[1:])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)

    def get_concrete_function(self, *args: Any, **kwargs: Any) -> ConcreteFunction:
        return self._function.get_concrete_function(self._instance, *args, **kwargs)

    def __copy__(self) -> BoundFunction:
        return BoundFunction(self._function, self._instance)

    def __deepcopy__(self, memo: Any) -> Any:
        """The method of a copy of the instance."""
        make, parts = self.__reduce__()
        return make(*parts[:2], copy.deepcopy(self._instance, memo), [])

    def __reduce__(self) -> Any:
        from .pickling import bound_function_state

        return bound_function_state(self)

    def __repr__(self) -> str:
        return f"<bound {self._function!r} of {self._instance!r}>"


class InstanceTable:
    """Functions by the instance they are bound to. An entry goes with its instance; instances need be neither hashable
    nor weakly referenceable (then they are kept)."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Any, Function]] = {}

    def of(self, instance: Any, make: Callable[[], Function]) -> Function:
        """The instance's function, made at the first use."""
        key = id(instance)
        found = self._entries.get(key)
        if found is not None and found[0]() is instance:
            return found[1]
        entries = self._entries
        try:
            reference: Any = weakref.ref(instance, lambda dead: _forget(entries, key, dead))
        except TypeError:
            reference = lambda: instance  # noqa: E731
        return (
            entries.setdefault(key, (reference, make()))[1]
            if found is None
            else _replace(entries, key, (reference, make()))
        )


def _forget(entries: dict[int, tuple[Any, Function]], key: int, dead: Any) -> None:
    found = entries.get(key)
    if found is not None and found[0] is dead:
        del entries[key]


def _replace(entries: dict[int, tuple[Any, Function]], key: int, entry: tuple[Any, Function]) -> Function:
    entries[key] = entry
    return entry[1]
