"""Exceptions that a tensor's value decides about: `raise` under a tensor condition becomes a run-time check that raises
the user's own exception, at the user's line."""

from __future__ import annotations

import ast
import copy
import os
import weakref
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..errors import AutographError
from ..ir.source import is_user_frame, user_frame
from ..tensor import Tensor, active_trace

__all__ = [
    "Failure",
    "Refused",
    "Text",
    "failure_of",
    "in_branch",
    "is_conditional",
    "may_have_failed",
    "raising",
    "refuse_catching",
    "tensors_of",
    "text",
    "trying",
]

#: how many tensor branches and loop bodies are being traced around
in_branch: ContextVar[int] = ContextVar("graphflow_branches", default=0)
#: the try statements around: (the trace that ran them, a function that gives the exception types they catch)
_tries: ContextVar[tuple[tuple[Any, Callable[[], tuple[Any, ...]]], ...]] = ContextVar("graphflow_tries", default=())
_MARK = "__graphflow_conditional__"
#: traces (by id) in which an exception may have been raised before
_checked: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


class Refused(BaseException):
    """Carries an error past the try statements of the user's code, which must not swallow it, to where tracing began."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class trying:  # noqa: N801 (used as `with trying(...):` in converted code)
    """The body of a try statement. caught: gives the types of its handlers, None for a bare `except`."""

    __slots__ = ("_caught", "_token")

    def __init__(self, caught: Callable[[], tuple[Any, ...]]) -> None:
        self._caught = caught

    def __enter__(self) -> None:
        self._token = _tries.set((*_tries.get(), (active_trace.get(), self._caught)))

    def __exit__(self, *error: object) -> None:
        _tries.reset(self._token)


def raising(exception: Any) -> Any:
    """What a raise statement raises: the same exception, marked where a tensor's value decides whether it runs (under its
    condition, or behind a check that ends the function before)."""
    trace = active_trace.get()
    if trace is None or not in_branch.get() and id(trace.root) not in _checked:
        return exception
    made = exception() if isinstance(exception, type) and issubclass(exception, BaseException) else exception
    if isinstance(made, BaseException):
        setattr(made, _MARK, True)
    return made


def may_have_failed() -> None:
    """From here on the running trace has a check that may fail: what is raised later is raised when the function runs."""
    trace = active_trace.get().root
    _checked[id(trace)] = trace


def is_conditional(error: BaseException) -> bool:
    """Was it raised by a raise statement in a tensor branch?"""
    return getattr(error, _MARK, False)


def refuse_catching(error: BaseException) -> None:
    """Raises AutographError where a try statement around the tensor condition would catch the exception: at run time no
    Python handler can."""
    for trace, caught in _tries.get():
        if trace is None:
            continue
        kinds = caught()
        flat = [k for kind in kinds for k in (kind if isinstance(kind, tuple) else (kind,))]
        if any(k is None or isinstance(error, k) for k in flat):
            problem = AutographError(
                f"{type(error).__name__} is raised under a tensor condition inside a try statement that catches it, "
                "which cannot be part of a graph"
            )
            problem.hint = (
                "choose the value with if and else instead of raising, or catch it outside the compiled function"
            )
            raise Refused(problem)


class Text(str):
    """The text of an f-string with tensors of a trace in it, and its parts: it is put together again with their values
    where it is needed when the function runs."""

    parts: tuple[Any, ...]

    def with_values(self, values: dict[int, Any]) -> str:
        """The text with these tensors in place of those with the ids."""
        return "".join(
            part if isinstance(part, str) else _formatted(values.get(id(part[0]), part[0]), *part[1:])
            for part in self.parts
        )

    def tensors(self) -> list[Any]:
        """The tensors of the trace in it."""
        return [part[0] for part in self.parts if not isinstance(part, str) and is_symbolic(part[0])]


def text(*parts: Any) -> str:
    """An f-string in the message of an exception: strings, and (value, conversion, format) for what stands in braces."""
    found = "".join(part if isinstance(part, str) else _formatted(*part) for part in parts)
    if not any(not isinstance(part, str) and is_symbolic(part[0]) for part in parts):
        return found
    made = Text(found)
    made.parts = parts
    return made


def _formatted(value: Any, conversion: int, spec: str) -> str:
    conversions: dict[int, Callable[[Any], str]] = {115: str, 114: repr, 97: ascii}
    return format(conversions[conversion](value) if conversion in conversions else value, spec)


def is_symbolic(value: Any) -> bool:
    """Is it a tensor of a trace?"""
    return isinstance(value, Tensor) and value.is_symbolic


class Failure(str):
    """The message of a run-time check that raises a user's exception: text to the compiler, and the exception itself.

    values: the tensors in its message, which are the check's operands.
    """

    values: tuple[Any, ...]
    _prototype: BaseException
    _where: tuple[str, str, int, int, int, int] | None

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Failure) and (
            type(self._prototype) is not type(other._prototype) or self._where != other._where
        ):
            return False
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def exception(self, arrays: Sequence[np.ndarray[Any, Any]]) -> BaseException:
        """A new exception like the one that the user's code raised, with its line as the innermost entry of its traceback.
        arrays: the values of `values`."""
        values = {id(t): Tensor(np.array(a), t.dtype) for t, a in zip(self.values, arrays, strict=False)}
        try:
            made = copy.copy(self._prototype)
        except Exception:  # a class whose arguments are not what its constructor takes: the very exception, then
            made = self._prototype
        made.args = tuple(
            [a.with_values(values) if isinstance(a, Text) else values.get(id(a), a) for a in self._prototype.args]
        )
        made.__cause__, made.__suppress_context__ = self._prototype.__cause__, self._prototype.__suppress_context__
        made.__traceback__ = None
        if self._where is not None:
            made.__traceback__ = _traceback_at(made, *self._where)
        return made


def failure_of(error: BaseException) -> Failure:
    """The message for a check that raises this exception."""
    where = _raised_at(error)
    place = "" if where is None else f" ({os.path.basename(where[0])}:{where[2]})"
    found = Failure(f"{type(error).__name__}: {error}{place}")
    error.__traceback__ = error.__context__ = None
    if hasattr(error, _MARK):
        delattr(error, _MARK)
    found._prototype, found._where = error, where
    found.values = tuple(tensors_of(error))
    return found


def tensors_of(error: BaseException) -> list[Any]:
    """The tensors of a trace in an exception's arguments."""
    found: dict[int, Any] = {}
    for argument in error.args:
        inside = argument.tensors() if isinstance(argument, Text) else [argument] if is_symbolic(argument) else []
        found.update((id(t), t) for t in inside)
    return list(found.values())


def _raised_at(error: BaseException) -> tuple[str, str, int, int, int, int] | None:
    """File, function, line and columns of the raise statement; of the user's running line for an exception of our own."""
    trace = error.__traceback__
    last = None
    while trace is not None:
        if is_user_frame(trace.tb_frame):
            last = trace
        trace = trace.tb_next
    frame = user_frame() if last is None else last.tb_frame
    if frame is None:
        return None
    instruction, fallback = (frame.f_lasti, frame.f_lineno) if last is None else (last.tb_lasti, last.tb_lineno)
    code = frame.f_code
    positions = list(code.co_positions())
    line, end, column, end_column = positions[instruction // 2] if instruction >= 0 else (None,) * 4
    start = line or fallback
    return code.co_filename, code.co_name, start, end or start, column or 0, end_column or 0


def _traceback_at(
    error: BaseException, file: str, function: str, line: int, end_line: int, column: int, end_column: int
) -> Any:
    """A traceback of one entry: a frame of the user's file at this place."""
    statement = ast.Raise(ast.Name("error", ast.Load()), None)
    for node in (statement, statement.exc):
        node.lineno, node.end_lineno = line, end_line  # type: ignore[union-attr]
        node.col_offset, node.end_col_offset = column, end_column  # type: ignore[union-attr]
    code = compile(ast.Module([statement], []), file, "exec").replace(co_name=function, co_qualname=function)
    try:
        exec(code, {"error": error})
    except BaseException as raised:
        trace = raised.__traceback__
        return trace.tb_next if trace is not None else None
