"""The sums of gradients that a walk back over a tape builds up: one for each tensor, in the order of the walk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .record import active_trace, recorders

__all__ = ["Sums", "reads_few_rows", "reads_one_row"]

#: tables from this size on have gradients of rows (below it the dense gradient costs a few microseconds)
LARGE_TABLE = 1 << 16


class Sums:
    """Tensor -> the sum of the gradients found so far. alias: id of a tensor -> id of the one whose sum it adds to."""

    def __init__(self, alias: Mapping[int, int] | None = None) -> None:
        self._alias = alias or {}
        self._sums: dict[int, Any] = {}

    def key(self, tensor: Any) -> int:
        """Equal for tensors that add to one sum."""
        number = id(tensor)
        return self._alias.get(number, number)

    def get(self, tensor: Any) -> Any:
        """The sum so far, or None."""
        number = id(tensor)
        return self._sums.get(self._alias.get(number, number))

    def set(self, tensor: Any, total: Any) -> None:
        """Replace the sum by one that has it in it."""
        self._sums[self.key(tensor)] = total

    def add(self, tensor: Any, gradient: Any) -> None:
        """Add a gradient: the sum so far is the left operand."""
        key = self.key(tensor)
        held = self._sums.get(key)
        self._sums[key] = gradient if held is None else held + gradient

    def add_row(self, array: Any, index: Any, gradient: Any) -> None:
        """Add the gradient of array[index] to the array's sum."""
        from ..ops.gradients import zeros_like
        from ..ops.rows import scatter_add_into

        held = self.get(array)
        self.set(array, scatter_add_into(zeros_like(array) if held is None else held, index, gradient))


def reads_few_rows(record: Any) -> bool:
    """Is it an eager gather of a few rows of a large table, differentiated once? Its gradient is kept as rows until somebody looks at
    it (indexed_slices.FewRows): an optimizer can update these rows alone."""
    if record.op.name != "gather" or active_trace() is not None or recorders.get():
        return False
    table, indices = record.inputs
    if record.attributes["axis"] != 0 or record.attributes["batch_dims"] or not table.dtype.is_floating:
        return False
    count, size = 1, table.dtype.itemsize
    for dim in indices.dims:
        count *= dim
    for dim in table.dims:
        size *= dim
    return bool(size >= LARGE_TABLE and 4 * count <= table.dims[0])


def reads_one_row(record: Any) -> bool:
    """Is it a gather of one row, the gradient of which touches that row alone?"""
    if record.op.name != "gather" or record.inputs[1].dims != ():
        return False
    return bool(record.attributes["axis"] == 0)
