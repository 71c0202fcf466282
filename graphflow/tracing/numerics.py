"""Checking every float result: gf.debugging.enable_check_numerics, in eager mode and as a variant of compiled functions."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..autodiff.record import Record, recorders
from ..errors import InvalidArgumentError
from ..ir.builder import backward_source, rewrite
from ..ir.graph import Graph, Node, Value
from ..ir.op import OPS, Alias, Effect, Op, View
from ..ir.source import Source
from ..runtime.faults import NEXT_STEP_FINITE, element_text
from ..runtime.host import shown

__all__ = [
    "checked_variant",
    "disable_check_numerics",
    "enable_check_numerics",
    "first_nonfinite",
    "is_checking_numerics",
    "operands_text",
    "origin_of",
    "require_finite",
    "with_checks",
]

_MOVES = frozenset(
    ("concat", "gather", "gather_nd", "maximum", "minimum", "update_row", "append_row", "check_numerics")
)
"""Ops whose results are elements of their operands, beside the views: nothing new can come out of them."""


def is_checked(op: Op) -> bool:
    """Can the op make a NaN or an infinity out of finite numbers? Constants and values that Python gives are taken as meant."""
    if isinstance(op.kernel, Effect):
        return op.kernel.kind == "call"
    return not isinstance(op.kernel, (View, Alias)) and op.name not in _MOVES


# What is wrong --------------------------------------------------------------------------------------------------------
def first_nonfinite(array: np.ndarray[Any, Any]) -> int | None:
    """The number of the first NaN or infinity in row-major order."""
    if array.dtype.kind not in "fcV":
        return None
    wrong = ~np.isfinite(array).reshape(-1)
    return int(np.argmax(wrong)) if wrong.any() else None


def operands_text(tensors: Sequence[Any], shape: Sequence[int], position: int) -> str:
    """The operands of one element of a result: "1.0 and 0.0" for operands that broadcast to its shape, else a summary."""
    found = []
    for tensor in tensors:
        array = getattr(tensor, "_array", None)
        if array is None:
            continue
        try:
            there = np.broadcast_to(array, tuple(shape)).reshape(-1)
        except ValueError:
            found.append(shown(array, 3))
            continue
        found.append(str(there[position]))
    return " and ".join(found)


def require_finite(op: Op, inputs: Sequence[Any], outputs: Sequence[Any], source: Source) -> None:
    """Raise InvalidArgumentError naming op, line, element and operands where a result is not finite."""
    if not is_checked(op):
        return
    for number, output in enumerate(outputs):
        array = output._array
        position = first_nonfinite(array) if output.dtype.is_floating or output.dtype.is_complex else None
        if position is None:
            continue
        which = f"result {number}" if len(outputs) > 1 else "the result"
        count = f" ({int((~np.isfinite(array)).sum())} of {array.size} elements)" if array.ndim else ""
        operands = operands_text(inputs, array.shape, position)
        error = InvalidArgumentError(
            f"{op.name}: {which} must be finite (check_numerics is on), got {array.reshape(-1)[position]}"
            f"{element_text(array.shape, position)}{count}{' from ' + operands if operands else ''}"
        )
        error.place, error.hint = source, NEXT_STEP_FINITE
        raise error


# Eager ----------------------------------------------------------------------------------------------------------------
class _Checker:
    """Sees every op that runs, as a tape does, and checks its results."""

    is_passive = True  # it needs no op-by-op run of a compiled function: that has its own checks (see checked_variant)

    def record(self, record: Record) -> None:
        """Check an op's results."""
        if any(output.is_symbolic for output in record.outputs):
            return
        forward = backward_source.get()
        source = record.source if forward is None else forward.as_backward()
        require_finite(record.op, record.inputs, record.outputs, source)

    def accessed(self, variable: Any, value: Any) -> None:
        """Nothing: reading makes no new number."""

    def writes(self, variable: Any) -> None:
        """Nothing: what is written was checked when it was made."""


_checker = _Checker()


def enable_check_numerics(stack_height_limit: int = 30, path_length_limit: int = 50) -> None:
    """Check the results of every float op from here on, in this thread: eager ones, and those in compiled functions (which get
    a variant with checks, compiled when it is first called). The first NaN or infinity raises InvalidArgumentError with
    the op, its line, the element and the operands. The arguments are TensorFlow's and change nothing."""
    del stack_height_limit, path_length_limit
    if not is_checking_numerics():
        recorders.set((*recorders.get(), _checker))


def disable_check_numerics() -> None:
    """Undo enable_check_numerics, in this thread."""
    recorders.set(tuple(r for r in recorders.get() if r is not _checker))


def is_checking_numerics() -> bool:
    """Is enable_check_numerics in force here?"""
    return _checker in recorders.get()


# Compiled -------------------------------------------------------------------------------------------------------------
_variants: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
_origins: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def checked_variant(concrete: Any) -> Any:
    """The variant of a concrete function to run here instead of it: the one with checks while numbers are checked. None: run
    the function itself."""
    if not is_checking_numerics() or concrete in _origins:
        return None
    found = _variants.get(concrete)
    if found is None:
        graph = with_checks(concrete.graph)
        found = replace(concrete, graph=graph, _executable=None, _bindings={}, _calls={}, _seen={})
        _variants[concrete] = found
        _origins[found] = weakref.ref(concrete)
    return found


def origin_of(concrete: Any) -> Any:
    """The function that a variant checks; None for a function that is no variant."""
    reference = _origins.get(concrete)
    return None if reference is None else reference()


def with_checks(graph: Graph) -> Graph:
    """The graph with every float result checked where it is made, in loops and branches too.

    %0 = divide x, y    ->    %0 = divide x, y
    %1 = exp %0               %1 = check_numerics %0 {message="divide"}
                              %2 = exp %1
                              %3 = check_numerics %2 {message="exp"}
    """

    def visit(node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
        attributes = {name: _in_attribute(value) for name, value in node.attributes.items()}
        has_graphs = any(attributes[name] is not value for name, value in node.attributes.items())
        checked = is_checked(node.op) and node.op.name not in ("while", "switch", "call")
        floats = [v.type.dtype.is_floating for v in node.outputs] if checked else []
        if not has_graphs and not any(floats):
            return None
        types = [v.type for v in node.outputs]
        copy = Node(node.op, inputs, attributes, node.source, types) if has_graphs or inputs != node.inputs else node
        copy.device = node.device
        if not any(floats):
            return copy.outputs
        return [
            Node(OPS["check_numerics"], (v,), {"message": node.op.name}, node.source).output if is_float else v
            for v, is_float in zip(copy.outputs, floats, strict=True)
        ]

    return rewrite(graph, visit)


def _in_attribute(value: Any) -> Any:
    if isinstance(value, Graph):
        return with_checks(value)
    if isinstance(value, tuple) and any(isinstance(item, Graph) for item in value):
        return tuple(with_checks(item) if isinstance(item, Graph) else item for item in value)
    return value
