"""Every exception a graphflow user can meet. Names follow TensorFlow's where it has one; each is also the Python built-in
that fits, so that `except ValueError` and `except gf.errors.InvalidArgumentError` both work."""
from __future__ import annotations

__all__ = [
    "AssertionFailedError", "CompileError", "DTypeError", "DivisionByZeroError", "FailedPreconditionError", "GraphError",
    "GraphflowError", "IndexOutOfRangeError", "InvalidArgumentError", "LiteralOverflowError", "NoGradientError",
    "OpError", "OutOfRangeError", "ParseError", "ShapeError", "SignatureError", "TapeError", "TensorLeakError",
    "TracedBoolError", "UnimplementedError", "VariableCreationError", "VerifyError",
]  # fmt: skip


class GraphflowError(Exception):
    """Base of all graphflow exceptions."""


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
    """A graph is not valid."""


class VerifyError(GraphError):
    """The verifier rejected a graph: names the graph, the node, the rule and the user's line."""


class ParseError(GraphError, SyntaxError):
    """IR text does not parse: names line and column."""


class CompileError(GraphflowError):
    """The compiler failed on a valid graph; the message names the pass or kernel and the user's line."""
