"""Calls in converted code: `f(x)` is `.ops.call(f)(x)`, where call gives the converted form of f.

The call itself stays in the user's code, so that its arguments, its errors and its place are Python's own. Functions of
users are converted; those of graphflow, Python and installed libraries are not, except built-in ones that have a meaning
for tensors, and functions that take functions.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

from ..tensor import active_trace
from ..tracing.bytecode import is_installed
from .convert import convert_function, is_library_module
from .options import UNCONVERTED, enabled

__all__ = ["call", "convert_callable", "has_overload", "overload"]

_OVERLOADS: dict[Any, Callable[..., Any]] = {}
#: functions of graphflow that call functions while they trace (control forms ask for the conversion themselves)
_TAKES_FUNCTIONS = frozenset({"recompute_grad", "custom_gradient"})
_PLAIN_CALLS = (types.BuiltinFunctionType, type)


def overload(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Marks what is called in place of built-in functions in converted code."""

    def register(replacement: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            _OVERLOADS[function] = replacement
        return replacement

    return register


def has_overload(function: Any) -> bool:
    """Does converted code call something else in place of a library's function?"""
    from . import builtin_functions

    del builtin_functions
    if isinstance(function, (*_PLAIN_CALLS, types.FunctionType)):
        return function in _OVERLOADS or _takes_functions(function)
    return False


def call(function: Any) -> Any:
    """What converted code calls for `function`."""
    if active_trace.get() is None or not enabled.get():
        return function
    return convert_callable(function)


def convert_callable(function: Any) -> Any:
    """The converted form of anything that can be called; itself where it is to be called as it is."""
    kind = type(function)
    if kind is types.FunctionType:
        return _convert_plain(function)
    if kind is types.MethodType:
        inner = function.__func__
        if type(inner) is not types.FunctionType or getattr(function.__self__, UNCONVERTED, False):
            return function
        found = _convert_plain(inner)
        return function if found is inner else types.MethodType(found, function.__self__)
    if isinstance(function, _PLAIN_CALLS):
        replacement = _OVERLOADS.get(function)
        if replacement is not None:
            return replacement
        return _constructor(function) if isinstance(function, type) else function
    if kind is functools.partial:
        inner = function.func
        found = convert_callable(inner)
        return function if found is inner else functools.partial(found, *function.args, **function.keywords)
    if is_library_module(kind.__module__):
        return function
    method = inspect.getattr_static(kind, "__call__", None)
    if type(method) is types.FunctionType and not getattr(function, UNCONVERTED, False):
        found = _convert_plain(method)
        return function if found is method else types.MethodType(found, function)
    return function


def _convert_plain(function: types.FunctionType) -> Any:
    if is_installed(function.__code__.co_filename) and "__graphflow_user__" not in function.__globals__:
        replacement = _OVERLOADS.get(function)
        if replacement is not None:
            return replacement
        return _with_converted_arguments(function) if _takes_functions(function) else function
    if UNCONVERTED in function.__dict__:
        return function
    return convert_function(function)


def _takes_functions(function: Any) -> bool:
    if function is functools.reduce:
        return True
    return (
        isinstance(function, types.FunctionType)
        and function.__name__ in _TAKES_FUNCTIONS
        and function.__module__.startswith("graphflow.")
    )


def _with_converted_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with the functions among its arguments converted."""

    def convert(value: Any) -> Any:
        if isinstance(value, (types.FunctionType, types.MethodType, functools.partial)):
            return convert_callable(value)
        if (
            isinstance(value, (list, tuple))
            and any(callable(v) or isinstance(v, tuple) for v in value)
            and not hasattr(value, "_fields")
        ):
            return type(value)(convert(v) for v in value)
        if isinstance(value, dict) and any(callable(v) for v in value.values()):
            return {k: convert(v) for k, v in value.items()}
        return value

    def caller(*args: Any, **kwargs: Any) -> Any:
        return function(*map(convert, args), **{k: convert(v) for k, v in kwargs.items()})

    return caller


_OVERLOADS[functools.reduce] = _with_converted_arguments(functools.reduce)


def _constructor(cls: type) -> Any:
    """A class, with its __init__ and __new__ converted: what type.__call__ does, step by step."""
    if is_library_module(cls.__module__) or type(cls).__call__ is not type.__call__:
        return cls
    init, new = cls.__init__, cls.__new__  # type: ignore[misc]
    found_init = convert_callable(init) if type(init) is types.FunctionType else init
    found_new = convert_callable(new) if type(new) is types.FunctionType else new
    if found_init is init and found_new is new:
        return cls

    def construct(*args: Any, **kwargs: Any) -> Any:
        made = found_new(cls, *args, **kwargs)
        if isinstance(made, cls):
            (found_init if type(made) is cls else call(type(made).__init__))(made, *args, **kwargs)
        return made

    return construct
