"""The sums of gradients that a walk back over a tape builds up: one for each tensor, in the order of the walk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Sums", "reads_one_row"]


class Sums:
    """Tensor -> the sum of the gradients found so far. alias: id of a tensor -> id of the one whose sum it adds to."""

    def __init__(self, alias: Mapping[int, int] | None = None) -> None:
        self._alias = alias or {}
        self._sums: dict[int, Any] = {}

    def key(self, tensor: Any) -> int:
        """Equal for tensors that add to one sum."""
        return self._alias.get(id(tensor), id(tensor))

    def get(self, tensor: Any) -> Any:
        """The sum so far, or None."""
        return self._sums.get(self.key(tensor))

    def set(self, tensor: Any, total: Any) -> None:
        """Replace the sum by one that has it in it."""
        self._sums[self.key(tensor)] = total

    def add(self, tensor: Any, gradient: Any) -> None:
        """Add a gradient: the sum so far is the left operand."""
        held = self.get(tensor)
        self.set(tensor, gradient if held is None else held + gradient)

    def add_row(self, array: Any, index: Any, gradient: Any) -> None:
        """Add the gradient of array[index] to the array's sum."""
        from ..ops.gradients import zeros_like
        from ..ops.rows import scatter_add_into

        held = self.get(array)
        self.set(array, scatter_add_into(zeros_like(array) if held is None else held, index, gradient))


def reads_one_row(record: Any) -> bool:
    """Is it a gather of one row, the gradient of which touches that row alone?"""
    if record.op.name != "gather" or record.inputs[1].dims != ():
        return False
    return bool(record.attributes["axis"] == 0)
