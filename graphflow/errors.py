"""Every exception a graphflow user can meet. Names follow TensorFlow's where it has one; each is also the Python
built-in that fits, so that `except ValueError` and `except gf.errors.InvalidArgumentError` both work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = [
    "AssertionFailedError",
    "CompileError",
    "DTypeError",
    "DivisionByZeroError",
    "FailedPreconditionError",
    "GraphError",
    "GraphflowError",
    "IndexOutOfRangeError",
    "InvalidArgumentError",
    "LiteralOverflowError",
    "NoGradientError",
    "OpError",
    "OutOfRangeError",
    "ParseError",
    "ShapeError",
    "SignatureError",
    "TapeError",
    "TensorLeakError",
    "TracedBoolError",
    "UnimplementedError",
    "VariableCreationError",
    "VerifyError",
    "set_locator",
]


def _nowhere() -> Any:
    return None


_locate: Callable[[], Any] = _nowhere


def set_locator(locate: Callable[[], Any]) -> None:
    """Installed once by the tensor layer: what finds the user's line (an ir.source.Source) when an error is made. A
    hook, because errors are the lowest layer."""
    global _locate
    _locate = locate


class GraphflowError(Exception):
    """Base of all graphflow exceptions. str() is the message, then the user's line and expression, then the next step
    to take.

    place: the Source blamed (file, line, column, expression), or None. hint: the next step, where the message has none.
    """

    hint: str = ""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.place: Any = _locate()

    def __str__(self) -> str:
        text = str(self.args[0]) if self.args else type(self).__name__
        if self.place is not None and self.place.file not in ("unknown", "eager"):
            text += f"\n  at {self.place.file}:{self.place.line}   {self.place.expression}".rstrip()
        return f"{text}\n  next: {self.hint}" if self.hint else text


class OpError(GraphflowError):
    """Base of errors that an op raises (TensorFlow's name)."""


class InvalidArgumentError(OpError):
    """An op was given a value it cannot take."""


class OutOfRangeError(OpError):
    """An index or a range was exceeded."""


class FailedPreconditionError(OpError):
    """The state does not allow the call."""


class UnimplementedError(OpError, NotImplementedError):
    """The op does not exist for this dtype or target."""


class DTypeError(InvalidArgumentError, TypeError):
    """Operands' dtypes do not fit the op or each other."""


class ShapeError(InvalidArgumentError, ValueError):
    """Operands' shapes do not fit the op or each other."""


class IndexOutOfRangeError(OutOfRangeError, InvalidArgumentError, IndexError):
    """An index lies outside its axis."""


class DivisionByZeroError(InvalidArgumentError, ZeroDivisionError):
    """An integer was divided by zero."""


class LiteralOverflowError(InvalidArgumentError, OverflowError):
    """A Python literal does not fit the tensor's dtype."""


class AssertionFailedError(InvalidArgumentError, AssertionError):
    """A run-time assertion failed."""


class NoGradientError(GraphflowError, LookupError):
    """A float op on the path to a source has no gradient rule."""


class TapeError(GraphflowError, RuntimeError):
    """A GradientTape was used in a way it does not allow."""


class SignatureError(GraphflowError, TypeError):
    """Arguments do not fit the function or its input_signature."""


class VariableCreationError(GraphflowError, ValueError):
    """A variable was created in a function's later trace."""


class TensorLeakError(GraphflowError, TypeError):
    """A symbolic tensor was used outside the trace that made it."""


class TracedBoolError(GraphflowError, TypeError):
    """A symbolic tensor was used where Python needs a bool, int or float."""


class GraphError(GraphflowError):
    """A graph is not valid. The message names the place in the graph, so no line of Python is added."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.place = None


class VerifyError(GraphError):
    """The verifier rejected a graph: names the graph, the node, the rule and the user's line."""


class ParseError(GraphError, SyntaxError):
    """IR text does not parse: names line and column."""


class CompileError(GraphflowError):
    """The compiler failed on a valid graph; the message names the pass or kernel and the user's line."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.place = None
