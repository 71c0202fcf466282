"""and, or, not, in, and assert on tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import AssertionFailedError
from ..math import reduce_any
from ..ops import assert_true, equal, logical_and, logical_or
from ..tensor import TensorLike, convert_to_tensor
from ..tracing.forms import branch
from .blocks import run
from .exceptions import Text, failure_of, may_have_failed
from .tensor_branches import conditional, tried
from .truth import constant_bool, is_false, truth

__all__ = ["tensor_assertion", "tensor_contains", "tensor_logic", "tensor_not"]

MOST_NODES = 24
"""Operands of `and` and `or` with no more nodes than this are computed beside each other where nothing can go wrong in them."""


def tensor_not(value: Any) -> Any:
    """`not value`"""
    return is_false(value)


def tensor_logic(value: Any, rest: Sequence[Callable[[], Any]], conjunction: bool, test: bool) -> Any:
    """`value and rest...` (or `or`) where value is symbolic. Operands that could fail are computed only where Python would
    compute them. test: only the truth counts."""
    from .operators import _logic

    condition = truth(value)
    if not isinstance(condition, TensorLike):
        if condition is not conjunction:
            return condition if test else value
        return _logic(run(rest[0]), rest[1:], conjunction, test)

    def others() -> Any:
        found = _logic(run(rest[0]), rest[1:], conjunction, test)
        return truth(found) if test else found

    if _is_simple(others):
        found = others()
        plain = isinstance(found, TensorLike) and found.dtype.is_bool and not convert_to_tensor(found).dims
        if test and isinstance(found, bool):
            return condition if found is conjunction else constant_bool(not conjunction)
        if plain and (test or value.dtype.is_bool and not convert_to_tensor(value).dims):
            return logical_and(condition, found) if conjunction else logical_or(condition, found)
    decided: Callable[[], Any] = (
        (lambda: constant_bool(not conjunction)) if test else (lambda: convert_to_tensor(value))
    )

    def lazily() -> Any:
        with conditional():
            return others()

    word = "and" if conjunction else "or"
    functions = (decided, lazily) if conjunction else (lazily, decided)
    labels = (f"left operand of '{word}'", "other operand")
    return branch(condition, functions, form=word, labels=labels if conjunction else labels[::-1])


def _is_simple(others: Callable[[], Any]) -> bool:
    """Can the operands be computed whether they are needed or not?"""
    probe = tried(others, "operand", "operand", "condition")
    if probe is None:
        return False
    nodes = probe.builder.nodes
    return (
        not probe.writes
        and len(nodes) <= MOST_NODES
        and all(n.is_pure and not n.op.fallible and not any(n.subgraphs()) for n in nodes)
    )


def tensor_contains(item: Any, container: Any) -> Any:
    """`item in container`: is the item one of the rows of a tensor, or equal to an item of a sequence?"""
    if isinstance(container, TensorLike):
        rows = convert_to_tensor(container)
        if not rows.dims:
            raise TypeError("argument of type 'Tensor' is not iterable: it has rank 0")
        if len(rows.dims) == 1:
            return reduce_any(equal(rows, item))
        found: Any = False
        for row in rows:
            found = _either(found, truth(equal(row, item)))
        return found
    if not isinstance(container, (list, tuple)):
        return item in container
    found = False
    for other in container:
        if other is item:
            return True
        found = _either(found, truth(item == other))
    return found


def _either(a: Any, b: Any) -> Any:
    if not isinstance(a, TensorLike):
        return True if a else b
    return logical_or(a, b) if isinstance(b, TensorLike) else (True if b else a)


def tensor_assertion(test: Any, message: Callable[[], Any] | None) -> bool:
    """`assert test, message` as a run-time check; True, so that Python's own assert passes."""
    condition = truth(test)
    if not isinstance(condition, TensorLike):
        return condition
    text = "" if message is None else run(message)
    if isinstance(text, Text):
        failure = failure_of(AssertionFailedError(text))
        assert_true(condition, *failure.values, message=failure, name="assert")
    else:
        assert_true(condition, message=str(text), name="assert")
    may_have_failed()
    return True
