"""What public functions say about arguments that they cannot take.

Most are refused where they are read, with the requirement and the value at fault. What a function did not think of ends in an
exception of Python or NumPy deep inside; the guard around each public function makes that a typed error too: it names the
function, shows the arguments and gives a next step. Exceptions of the user's own code (a branch, a mapped function) pass
unchanged.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable, Collection
from typing import Any

from .errors import (
    ArgumentError,
    AssertionFailedError,
    GraphflowError,
    LiteralOverflowError,
    OpError,
    ResourceExhaustedError,
    TracedBoolError,
)
from .ir.source import is_user_frame
from .operators import TensorLike

__all__ = ["guard", "guarded", "typed", "unguarded"]

#: libraries that graphflow calls: an exception from inside one is no exception of the user's code
_LIBRARIES = frozenset({*sys.stdlib_module_names, "numpy", "scipy", "ml_dtypes", "opt_einsum", "llvmlite", "numba"})
_TYPED: dict[type[Exception], type[GraphflowError]] = {
    OverflowError: LiteralOverflowError,
    MemoryError: ResourceExhaustedError,
    TypeError: ArgumentError,
    ValueError: ArgumentError,
    LookupError: ArgumentError,
    AttributeError: ArgumentError,
    ArithmeticError: ArgumentError,
}
_SPECIAL = frozenset({"__init__", "__call__"})
#: classes whose methods run at each call of a compiled function, or are overridden by users
_OPEN = frozenset({"DType", "Function", "Module", "Tensor"})
_MARK = "__graphflow_guarded__"
_SHOWN = 60
_ABSENT: Any = object()


def guarded(function: Callable[..., Any], path: str, hidden: int = 0) -> Callable[..., Any]:
    """The function, whose failures name it: `path` is how a user writes it (gf.math.argmax). hidden: how many of the first
    arguments a message leaves out (self)."""

    # Two optional parameters in place of *args alone: a call with one or two arguments packs and unpacks nothing, which takes the
    # guard from 3.6 % to 1.6 % of the instructions of an eager gf.add.
    @functools.wraps(function)
    def call(first: Any = _ABSENT, second: Any = _ABSENT, /, *rest: Any, **kwargs: Any) -> Any:
        try:
            if second is not _ABSENT:
                return function(first, second, *rest, **kwargs) if rest or kwargs else function(first, second)
            if first is not _ABSENT:
                return function(first, **kwargs) if kwargs else function(first)
            return function(**kwargs)
        except Exception as error:
            from .tracing.tracebacks import filtered

            args = tuple(a for a in (first, second, *rest) if a is not _ABSENT)
            refusal = _refusal(error, path, args[hidden:], kwargs)
            if refusal is error:
                raise filtered(error)  # noqa: B904  the same error, with the user's frames
            raise filtered(refusal) from error  # the cause keeps its frames: they say what was not thought of

    return call


def guard(prefix: str, namespace: dict[str, Any], names: Collection[str]) -> None:
    """Put guards around the public functions of a namespace, in it and in the module that defines each (one for each function,
    whichever names it has), and around the methods of its classes; those of a base class without a public name are called by
    the class that is public."""
    for name in names:
        found = namespace.get(name)
        if not getattr(found, "__module__", "").startswith("graphflow.") or name in _OPEN:
            continue
        if isinstance(found, types.FunctionType):
            namespace[name] = _guard_function(found, f"{prefix}.{name}")
        elif isinstance(found, type):
            for cls in found.__mro__:
                if cls.__module__.startswith("graphflow."):
                    _guard_methods(cls, f"{prefix}.{cls.__name__ if cls.__name__ in names else name}")


def _guard_function(function: types.FunctionType, path: str) -> Callable[..., Any]:
    known: Callable[..., Any] | None = function.__dict__.get(_MARK)
    if known is None:
        if "__wrapped__" in function.__dict__:
            return function  # has its guard, or is a context manager
        known = guarded(function, path)
        function.__dict__[_MARK] = known
        home = sys.modules[function.__module__].__dict__
        if home.get(function.__name__) is function:
            home[function.__name__] = known  # where pickle looks for it
    return known


def unguarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function behind its guard, for who reads its code; one without a guard as it is."""
    inner: Any = getattr(function, "__wrapped__", None)
    return inner if getattr(inner, _MARK, None) is function else function


def _guard_methods(cls: type, path: str) -> None:
    """The methods that take arguments, and the constructor."""
    for name, method in list(vars(cls).items()):
        kind = type(method) if isinstance(method, (classmethod, staticmethod)) else None
        function: Any = method.__func__ if kind else method
        if isinstance(function, types.FunctionType) and (name in _SPECIAL or not name.startswith("_")):
            code, hidden = function.__code__, int(kind is not staticmethod)
            takes = code.co_argcount + code.co_kwonlyargcount > hidden or code.co_flags & inspect.CO_VARARGS
            if takes and "__wrapped__" not in function.__dict__:
                wrapped = guarded(function, path if name in _SPECIAL else f"{path}.{name}", hidden)
                setattr(cls, name, kind(wrapped) if kind else wrapped)


def _refusal(error: Exception, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Exception:
    """The error to raise: `error` itself where it is typed (given the call and a next step where it has none) or the user's."""
    name = path.rpartition(".")[2]
    if isinstance(error, (OpError, TracedBoolError)):
        if not isinstance(error, AssertionFailedError) and _is_own(error):
            text = str(error.args[0]) if error.args else ""
            if not text.startswith(name):
                error.call = _call_text(name, args, kwargs)
            if error.hint.startswith("help(") or not error.hint and "; " not in text:
                error.hint = _next_step(path)
        return error
    found = typed(error, name, args, kwargs)
    if found is not error:
        found.hint = found.hint or _next_step(path)
    return found


def typed(error: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The typed error for an exception of Python or NumPy inside graphflow's own code; any other error as it is."""
    kind = next((typed for kind, typed in _TYPED.items() if isinstance(error, kind)), None)
    if kind is None or isinstance(error, GraphflowError) or not _is_own(error):
        return error
    reason = str(error) or type(error).__name__
    return kind(reason if reason.startswith(name) else f"{_call_text(name, args, kwargs)}: {reason}")


def _next_step(path: str) -> str:
    if ".assert" in path:  # the data is at fault, not the call
        return "print the shapes and dtypes before this line, or call with debug=True"
    return f"help({path}) says what it takes"


def _is_own(error: Exception) -> bool:
    """Was it raised by graphflow's own code, with none of the user's in between?"""
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if is_user_frame(frame) and str(frame.f_globals.get("__name__")).partition(".")[0] not in _LIBRARIES:
            return False
        trace = trace.tb_next
    return True


def _call_text(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    return f"{name}({', '.join([*map(_shown, args), *(f'{k}={_shown(v)}' for k, v in kwargs.items())])})"


def _shown(value: Any) -> str:
    """An argument in a message: the type of a tensor, the beginning of anything else."""
    if isinstance(value, TensorLike):
        return str(value.type) if hasattr(value, "type") else type(value).__name__
    if isinstance(value, (list, tuple)) and len(value) <= 8:
        inner = ", ".join(map(_shown, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
    if isinstance(value, types.FunctionType):
        return value.__qualname__
    try:
        text = " ".join(repr(value).split())
    except Exception as error:  # the user's __repr__ must not hide what went wrong
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
