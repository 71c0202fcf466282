"""What converted code calls: each operator follows Python exactly unless a tensor of a running trace decides.

Python's side is here; what builds graphs is in tensor_branches.py, tensor_loops.py and tensor_logic.py, loaded when the
first tensor condition is met.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import AutographError
from ..tensor import TensorLike, active_trace
from . import builtin_functions
from .blocks import run
from .calls import call
from .exceptions import is_conditional, raising, text, trying
from .iterables import iterated, tensor_iterable
from .options import enabled

__all__ = [
    "and_", "and_test", "assertion", "call", "choose", "compare", "compare_test", "contains", "for_", "if_",
    "if_expression", "is_traced", "iterated", "match_subject", "not_", "or_", "or_test", "python_test", "raising",
    "returned",
    "text", "trying", "while_",
]  # fmt: skip


def is_traced(value: Any) -> bool:
    """Is it a tensor without a value: does its truth become control flow of a graph?"""
    if not isinstance(value, TensorLike):
        return False
    trace = active_trace.get()
    return trace is not None and getattr(value, "is_symbolic", True) and enabled.get()


# if -------------------------------------------------------------------------------------------------------------------
def if_(test: Any, then: Any, otherwise: Any, facts: Any, lines: Any, raises: Any) -> None:
    """`if test: then; else: otherwise`"""
    if is_traced(test):
        from .tensor_branches import tensor_if

        tensor_if(test, then, otherwise, facts, lines, raises)
    elif test:
        run(then)
    else:
        run(otherwise)


def choose(test: Any, then: Any, otherwise: Any, facts: Any, lines: Any, raises: Any) -> Any:
    """The result of a function that ends in an if statement."""
    if is_traced(test):
        from .tensor_branches import tensor_choose

        return tensor_choose(test, then, otherwise, facts, lines, raises)
    return run(then) if test else run(otherwise)


def if_expression(test: Any, then: Any, otherwise: Any) -> Any:
    """`then if test else otherwise`"""
    if is_traced(test):
        from .tensor_branches import tensor_expression

        return tensor_expression(test, then, otherwise)
    return run(then) if test else run(otherwise)


# Loops ----------------------------------------------------------------------------------------------------------------
def while_(test: Any, body: Any, facts: Any) -> None:
    """`while test: body`. A loop that begins as Python's goes on as the graph's where its test becomes a tensor."""
    while True:
        answer = run(test)
        if is_traced(answer):
            from .tensor_loops import tensor_while

            tensor_while(answer, test, body, facts)
            return
        if not answer:
            return
        run(body)


def for_(iterable: Any, body: Any, stop: Any, facts: Any) -> None:
    """`for item in iterable: body(item)`. stop: says after an iteration whether the loop was left (None: it never is)."""
    rows = tensor_iterable(iterable)
    if rows is not None:
        from .tensor_loops import tensor_for

        tensor_for(rows, body, stop, facts)
        return
    iterator = iter(iterable)
    for item in iterator:
        run(body, item)
        if stop is not None:
            left = run(stop)
            if is_traced(left):
                _unrolled(iterator, body, stop, facts)
                return
            if left:
                return


def _unrolled(iterator: Iterator[Any], body: Any, stop: Any, facts: Any) -> None:
    """The rest of a Python loop that a tensor condition may have left: each iteration under that condition."""
    from .tensor_branches import tensor_if

    for item in iterator:
        left = run(stop)
        if not is_traced(left):
            if left:
                return
            run(body, item)
            continue
        tensor_if(left, None, body, (*facts[:1], facts[4], *facts[2:4]), facts[5], (False, False), item)


# Logic ----------------------------------------------------------------------------------------------------------------
def and_(value: Any, *rest: Callable[[], Any]) -> Any:
    """`value and rest...`: the value that decides."""
    return _logic(value, rest, True, False)


def or_(value: Any, *rest: Callable[[], Any]) -> Any:
    """`value or rest...`: the value that decides."""
    return _logic(value, rest, False, False)


def and_test(value: Any, *rest: Callable[[], Any]) -> Any:
    """`value and rest...` where only the truth counts."""
    return _logic(value, rest, True, True)


def or_test(value: Any, *rest: Callable[[], Any]) -> Any:
    """`value or rest...` where only the truth counts."""
    return _logic(value, rest, False, True)


def _logic(value: Any, rest: Any, conjunction: bool, test: bool) -> Any:
    for position, delayed in enumerate(rest):
        if is_traced(value):
            from .tensor_logic import tensor_logic

            return tensor_logic(value, rest[position:], conjunction, test)
        if bool(value) is not conjunction:
            return (not conjunction) if test else value
        value = run(delayed)
    return value


def not_(value: Any) -> Any:
    """`not value`"""
    if is_traced(value):
        from .tensor_logic import tensor_not

        return tensor_not(value)
    return not value


_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
    "is": operator.is_, "is not": operator.is_not,
}  # fmt: skip


def _compared(symbol: str, left: Any, right: Any) -> Any:
    if symbol in ("in", "not in"):
        return contains(left, right, symbol == "in")
    return _COMPARISONS[symbol](left, right)


def compare(symbols: tuple[str, ...], left: Any, right: Any, *rest: Callable[[], Any]) -> Any:
    """`left < right < rest...`"""
    return _chain(symbols, left, right, rest, False)


def compare_test(symbols: tuple[str, ...], left: Any, right: Any, *rest: Callable[[], Any]) -> Any:
    """`left < right < rest...` where only the truth counts."""
    return _chain(symbols, left, right, rest, True)


def _chain(symbols: tuple[str, ...], left: Any, right: Any, rest: Any, test: bool) -> Any:
    answer = _compared(symbols[0], left, right)
    if not rest:
        return answer

    def others() -> Any:
        return _chain(symbols[1:], right, run(rest[0]), rest[1:], test)

    return _logic(answer, (others,), True, test)


def contains(item: Any, container: Any, wanted: bool) -> Any:
    """`item in container` (wanted) or `item not in container`"""
    if (
        is_traced(item)
        or is_traced(container)
        or isinstance(container, (list, tuple))
        and any(map(is_traced, container))
    ):
        from .tensor_logic import tensor_contains

        found = tensor_contains(item, container)
        return found if wanted else not_(found)
    return (item in container) is wanted


def returned(value: Callable[[], Any]) -> Any:
    """The value of a return statement that was reached before; nothing where no path that was traced has one."""
    try:
        return value()
    except NameError:
        from ..tracing.forms import UNUSED

        return UNUSED


# Checks ---------------------------------------------------------------------------------------------------------------
def assertion(test: Any, message: Callable[[], Any] | None) -> Any:
    """What an assert statement tests."""
    if is_traced(test):
        from .tensor_logic import tensor_assertion

        return tensor_assertion(test, message)
    if isinstance(test, bool) and not test:  # behind a check or under a tensor condition: when the function runs
        error = AssertionError() if message is None else AssertionError(run(message))
        if is_conditional(raising(error)):
            raise error
    return test


def python_test(test: Any, what: str) -> Any:
    """The test of something that has no form with tensors."""
    if is_traced(test):
        raise unsupported(f"{what} depends on a tensor ({test.type if hasattr(test, 'type') else test.dtype.name})")
    return test


def match_subject(subject: Any) -> Any:
    """What a match statement looks at: structures of tensors may be taken apart, tensors' values cannot be matched."""
    if is_traced(subject):
        raise unsupported("the subject of a match statement is a tensor", "write the cases as if and elif")
    return subject


def unsupported(what: str, hint: str = "write it as an if statement, or use gf.where") -> AutographError:
    """The error for a construct that has no form with tensors."""
    error = AutographError(f"{what}, which cannot be part of a graph")
    error.hint = hint
    return error


_ = builtin_functions
