"""Every exception a graphflow user can meet. Names follow TensorFlow's where it has one; each is also the Python
built-in that fits, so that `except ValueError` and `except gf.errors.InvalidArgumentError` both work."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

__all__ = [
    "AbortedError",
    "AlreadyExistsError",
    "ArgumentError",
    "AssertionFailedError",
    "AutographError",
    "BranchError",
    "CancelledError",
    "CastError",
    "CompileError",
    "DTypeError",
    "DataLossError",
    "DeadlineExceededError",
    "DivisionByZeroError",
    "EndlessTraceError",
    "FailedPreconditionError",
    "GradientFunctionError",
    "GraphError",
    "GraphflowError",
    "IndexOutOfRangeError",
    "InternalError",
    "InvalidArgumentError",
    "LiteralOverflowError",
    "LoopError",
    "MatrixError",
    "NoGradientError",
    "NotFoundError",
    "NotPicklableError",
    "OpError",
    "OperatorNotAllowedInGraphError",
    "OutOfRangeError",
    "ParseError",
    "PermissionDeniedError",
    "ReproductionError",
    "ResourceExhaustedError",
    "RetraceError",
    "RetraceWarning",
    "ShapeError",
    "SideEffectError",
    "SideEffectWarning",
    "SignatureError",
    "TapeError",
    "TensorLeakError",
    "TracedBoolError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnguardedWarning",
    "UnimplementedError",
    "UnknownError",
    "UnrolledWarning",
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
    call: the public function and its arguments, where the message names only a part of it ("moments(f32[3,4], [7])").
    within: where in loops and branches it happened, outermost first ("iteration 3 of the loop at train.py:12").
    """

    hint: str = ""
    call: str = ""
    within: tuple[str, ...] = ()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.place: Any = _locate()

    def __str__(self) -> str:
        text = str(self.args[0]) if self.args else type(self).__name__
        if self.place is not None and self.place.file not in ("unknown", "eager"):
            text += f"\n  at {self.place.file}:{self.place.line}   {self.place.expression}".rstrip()
        if self.call:
            text += f"\n  in {self.call}"
        if self.within:
            text += f"\n  in {', in '.join(reversed(self.within))}"
        return f"{text}\n  next: {self.hint}" if self.hint else text


class OpError(GraphflowError):
    """Base of errors that an op raises (TensorFlow's name)."""

    @property
    def message(self) -> str:
        """What was refused, without the line and the next step (TensorFlow's name)."""
        return str(self.args[0]) if self.args else ""


class InvalidArgumentError(OpError, ValueError):
    """An op was given a value it cannot take. Also a ValueError: TensorFlow raises that where Python looks at the value, and
    InvalidArgumentError where a kernel does."""


class ArgumentError(InvalidArgumentError, TypeError):
    """A function was given an argument that it cannot take, or too few or too many of them."""


class ResourceExhaustedError(OpError, MemoryError):
    """There is not enough memory for a result."""

    hint = "make it smaller, or compute it in parts: a loop over slices, gf.map_fn"


class MatrixError(InvalidArgumentError):
    """A matrix is singular, not positive definite, or has no factors that the iteration finds. Names the place in the batch."""


class OutOfRangeError(OpError):
    """An index or a range was exceeded."""


class InternalError(OpError):
    """What TensorFlow raises where an integer kernel fails: see DivisionByZeroError."""


class FailedPreconditionError(OpError):
    """The state does not allow the call."""


class UnimplementedError(OpError, NotImplementedError):
    """The op does not exist for this dtype or target."""


class DTypeError(InvalidArgumentError, TypeError):
    """Operands' dtypes do not fit the op or each other."""


class CastError(DTypeError, UnimplementedError):
    """There is no cast between two dtypes. TensorFlow raises UnimplementedError."""


class ShapeError(InvalidArgumentError):
    """Operands' shapes do not fit the op or each other."""


class IndexOutOfRangeError(OutOfRangeError, InvalidArgumentError, IndexError):
    """An index lies outside its axis."""


class DivisionByZeroError(InvalidArgumentError, InternalError, ZeroDivisionError):
    """An integer was divided by zero. TensorFlow's truncatediv and truncatemod raise InternalError."""


class LiteralOverflowError(InvalidArgumentError, OverflowError):
    """A Python literal does not fit the tensor's dtype."""


class AssertionFailedError(InvalidArgumentError, AssertionError):
    """A run-time assertion failed."""


class NoGradientError(GraphflowError, LookupError):
    """A float op on the path to a source has no gradient rule."""


class TapeError(GraphflowError, RuntimeError):
    """A GradientTape was used in a way it does not allow."""


class GradientFunctionError(GraphflowError, TypeError, ValueError):
    """A function with a custom gradient, or its gradient function, takes or returns what it must not."""


class EndlessTraceError(GraphflowError, RecursionError):
    """Compiled functions call each other without end while they are traced."""


class SignatureError(GraphflowError, TypeError):
    """Arguments do not fit the function or its input_signature."""


class VariableCreationError(GraphflowError, ValueError):
    """A variable was created in a function's later trace."""


class TensorLeakError(GraphflowError, TypeError):
    """A symbolic tensor was used outside the trace that made it."""


class OperatorNotAllowedInGraphError(GraphflowError, TypeError):
    """Python asks a symbolic tensor for what only its value tells (TensorFlow's name)."""


class TracedBoolError(OperatorNotAllowedInGraphError):
    """A symbolic tensor was used where Python needs a bool, int or float."""


class AutographError(TracedBoolError, NotImplementedError):
    """Python code that depends on a tensor and has no form in a graph."""


class NotPicklableError(GraphflowError, pickle.PicklingError, TypeError):
    """A function cannot be pickled: names the reason and what to pickle instead."""


class BranchError(GraphflowError, TypeError, ValueError):
    """The branches of a choice give results that do not fit each other."""


class LoopError(GraphflowError, TypeError, ValueError):
    """A loop variable changes its structure, or a loop is not formed as it must be."""


class RetraceError(GraphflowError, RuntimeError):
    """A function needs more traces than its retrace_limit allows. reasons: text of a reason -> how often it was one."""

    def __init__(self, *args: Any, reasons: dict[str, int] | None = None) -> None:
        super().__init__(*args)
        self.reasons = reasons or {}


class SideEffectError(GraphflowError, RuntimeError):
    """A function with strict=True changes Python state, which a compiled call does not."""


class RetraceWarning(UserWarning):
    """A function has been traced more often than its retrace_limit."""


class SideEffectWarning(UserWarning):
    """Python state was changed, or read anew, while tracing: a compiled call does not do that. The line warned about is
    the side effect's."""


class UnguardedWarning(UserWarning):
    """A captured value is too large to be compared at each call: a change inside it is not seen."""


class UnrolledWarning(UserWarning):
    """Python takes the rows of a tensor one by one while tracing: every row is a step of its own in the graph."""


class GraphError(GraphflowError):
    """A graph is not valid. The message names the place in the graph, so no line of Python is added."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.place = None


class VerifyError(GraphError):
    """The verifier rejected a graph: names the graph, the node, the rule and the user's line."""


class ParseError(GraphError, SyntaxError):
    """IR text does not parse: names line and column."""


class ReproductionError(GraphError, ValueError):
    """A reproduction file cannot be read or replayed: torn, of a form that this version does not know, or of a function
    that calls Python."""


class CompileError(GraphflowError):
    """The compiler failed on a valid graph; the message names the pass or kernel and the user's line."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.place = None


# TensorFlow's other classes: of files, sessions and remote machines. Nothing here raises them; `except` clauses name them.
class AbortedError(OpError):
    """Never raised."""


class AlreadyExistsError(OpError):
    """Never raised."""


class CancelledError(OpError):
    """Never raised."""


class DataLossError(OpError):
    """Never raised."""


class DeadlineExceededError(OpError):
    """Never raised."""


class NotFoundError(OpError):
    """Never raised."""


class PermissionDeniedError(OpError):
    """Never raised."""


class UnauthenticatedError(OpError):
    """Never raised."""


class UnavailableError(OpError):
    """Never raised."""


class UnknownError(OpError):
    """Never raised."""
