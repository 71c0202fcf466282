"""TensorFlow's tools to order effects: group, no_op, control_dependencies, tuple.

Here effects run in program order (see docs/ir.md), in graphs as in eager mode, and pure ops when they are needed. So these only
check what they are given.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any

from ..errors import DTypeError, InvalidArgumentError
from ..tensor import TensorLike
from ..tree import flatten

__all__ = ["control_dependencies", "group", "no_op", "tuple"]


def group(*inputs: Any, **kwargs: Any) -> None:
    """Nothing to do: what `inputs` (tensors, variables, results of effects, structures of them) do has been ordered when it was
    called. name: taken for TensorFlow's sake. Raises DTypeError for another kind of value."""
    name = kwargs.pop("name", None)
    del name
    if kwargs:
        raise InvalidArgumentError(f"group: unknown arguments {', '.join(sorted(kwargs))}; it takes inputs and name")
    _check("group", inputs)


def no_op(name: str | None = None) -> None:
    """Does nothing."""


def tuple(tensors: Sequence[Any], control_inputs: Sequence[Any] | None = None, name: str | None = None) -> list[Any]:
    """The tensors as a list (None entries stay); effects before this line run before those after it, as everywhere. Raises
    InvalidArgumentError where there is no tensor at all."""
    found = list(tensors)
    _check("tuple", (found, control_inputs or ()))
    if not any(t is not None for t in found):
        raise InvalidArgumentError(f"tuple: needs at least one tensor, got {found!r}")
    return found


class control_dependencies:  # noqa: N801 (used like a function)
    """`with gf.control_dependencies([...]):` what runs inside comes after the given tensors' effects, which program order sees to.

    control_inputs: tensors, variables and results of effects, None (no dependencies), or a function to call first.
    """

    def __init__(self, control_inputs: Iterable[Any] | Callable[[], Any] | None) -> None:
        if callable(control_inputs) and not isinstance(control_inputs, TensorLike):
            control_inputs()
        else:
            _check("control_dependencies", () if control_inputs is None else control_inputs)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


def _check(label: str, values: Any) -> None:
    """Raise DTypeError unless these are tensors, variables, None or structures of them."""
    for leaf in flatten(list(values) if isinstance(values, (list, builtins.tuple)) else values):
        if leaf is not None and not isinstance(leaf, TensorLike):
            raise DTypeError(f"{label}: takes tensors and variables, got {leaf!r} ({type(leaf).__name__})")
