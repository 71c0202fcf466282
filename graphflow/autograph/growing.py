"""A Python list that grows in a tensor loop: its items become rows of tensors, whose number only the run knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import AutographError, InvalidArgumentError
from ..ir.types import TensorType
from ..tensor import TensorLike, convert_to_tensor
from ..tree import flatten, is_nested, map_structure, pack_sequence_as

__all__ = ["GrowingList"]


def _unlike(found: Sequence[TensorType], wanted: Sequence[TensorType]) -> AutographError:
    error = AutographError(
        f"the items of a list that grows in a graph must be alike, got {', '.join(map(str, found))} beside "
        f"{', '.join(map(str, wanted))}"
    )
    error.hint = "append tensors of one dtype and shape, or keep several lists"
    return error


class GrowingList:
    """Stands for a list while a tensor decides how long it is.

    template: the structure of an item. rows: a tensor [n, ...] for each leaf of it, in order. It has what lists have as
    far as that has a meaning here: append, extend, pop, len through gf, indexing, `gf.stack(xs)`.
    """

    __graphflow_leaf__ = True
    __graphflow_list__ = True

    def __init__(self, template: Any, rows: Any) -> None:
        self.template, self.rows = template, rows

    @staticmethod
    def of(items: list[Any], template: Any, types: Sequence[TensorType]) -> GrowingList:
        """A list with these items, where an item has a structure and types of leaves. Raises AutographError for items of
        other types."""
        from ..functions.array_ops import stack
        from ..ops import broadcast_to, constant

        rows = []
        for item in items:
            found = [
                convert_to_tensor(leaf, dtype_hint=t.dtype).type for leaf, t in zip(flatten(item), types, strict=False)
            ]
            if len(flatten(item)) != len(types) or found != list(types):
                raise _unlike(found, types)
        for number, type in enumerate(types):
            if items:
                rows.append(stack([convert_to_tensor(flatten(item)[number], dtype_hint=type.dtype) for item in items]))
            else:
                zero = constant(value=np.zeros((), type.dtype.numpy))
                rows.append(broadcast_to(zero, shape=(0, *type.shape)))
        return GrowingList(template, tuple(rows))

    @staticmethod
    def kind_of(item: Any) -> tuple[Any, list[TensorType]]:
        """The structure of an item and the types of its leaves."""
        template = map_structure(lambda _: None, item) if is_nested(item) else None
        return template, [convert_to_tensor(leaf).type for leaf in flatten(item)]

    def _leaves(self, item: Any) -> list[Any]:
        given = flatten(item)
        found = [convert_to_tensor(leaf, dtype_hint=row.dtype) for leaf, row in zip(given, self.rows, strict=False)]
        wanted = [TensorType(row.dtype, row.dims[1:]) for row in self.rows]
        if len(given) != len(self.rows) or any(
            f.dtype is not w.dtype or len(f.dims) != w.rank for f, w in zip(found, wanted, strict=True)
        ):
            raise _unlike([f.type for f in found], wanted)
        return found

    def _item(self, leaves: list[Any]) -> Any:
        return leaves[0] if self.template is None else pack_sequence_as(self.template, leaves)

    # As a list --------------------------------------------------------------------------------------------------------
    def append(self, item: Any) -> None:
        """One more item; it must have the types of the others."""
        from ..ops import append_row

        self.rows = tuple(append_row(row, leaf) for row, leaf in zip(self.rows, self._leaves(item), strict=True))

    def extend(self, items: Any) -> None:
        """Append each item of a Python iterable."""
        for item in items:
            self.append(item)

    def __iadd__(self, items: Any) -> GrowingList:
        self.extend(items)
        return self

    def pop(self, index: int = -1) -> Any:
        """The last item, taken away. An empty list is an IndexOutOfRangeError when the function runs."""
        if not isinstance(index, int) or index != -1:
            error = AutographError("pop: only the last item can be taken away from a list that grows in a graph")
            error.hint = "use xs.pop(), or keep the values in a gf.TensorArray"
            raise error
        item = self[-1]
        self.rows = tuple(row[:-1] for row in self.rows)
        return item

    @property
    def length(self) -> Any:
        """How many items there are: an int32 tensor."""
        from ..functions.array_ops import shape

        return shape(self.rows[0])[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return GrowingList(self.template, tuple(row[index] for row in self.rows))
        from ..functions.array_ops import where
        from ..ops import gather

        place: Any = index
        if isinstance(index, TensorLike):
            place = where(index < 0, index + self.length, index)
        elif isinstance(index, int) and index < 0:
            place = self.length + index
        return self._item([gather(row, convert_to_tensor(place), axis=0) for row in self.rows])

    def __setitem__(self, index: Any, item: Any) -> None:
        from ..ops import update_row

        place = convert_to_tensor(self.length + index if isinstance(index, int) and index < 0 else index)
        self.rows = tuple(update_row(row, place, leaf) for row, leaf in zip(self.rows, self._leaves(item), strict=True))

    def __iter__(self) -> Iterator[Any]:
        error = AutographError(
            "this list grew in a graph's loop: how many items it has is known when the function runs"
        )
        error.hint = "use gf.stack(xs), xs[i], len(xs), or a for statement over it"
        raise error

    def __len__(self) -> int:
        error = AutographError("this list grew in a graph's loop: its length is known when the function runs")
        error.hint = "len(xs) is a tensor inside functions that are converted; elsewhere use gf.shape(gf.stack(xs))[0]"
        raise error

    __bool__ = None

    # As tensors -------------------------------------------------------------------------------------------------------
    def stack(self, axis: int = 0) -> Any:
        """The items along a new axis. As of a Python list, there must be one at least."""
        from ..functions.array_ops import transpose

        rows = self._only("stack")
        rank = len(rows.dims)
        place = axis + rank if axis < 0 else axis
        if not 0 <= place < rank:
            raise InvalidArgumentError(f"stack: the axis {axis} is not among {rank} axes")
        order = [*range(1, place + 1), 0, *range(place + 1, rank)]
        return rows if place == 0 else transpose(rows, order)

    def concat(self, axis: int = 0) -> Any:
        """The items one after another along their first axis."""
        from ..functions.array_ops import reshape

        rows = self._only("concat")
        if axis != 0 or len(rows.dims) < 2:
            error = AutographError(
                f"concat: a list of {self._kind()} that grew in a graph is joined along axis 0 alone"
            )
            error.hint = "use gf.stack, then gf.transpose and gf.reshape"
            raise error
        return reshape(rows, [-1, *rows.shape[2:]])

    def _only(self, what: str) -> Any:
        from .tensor_branches import fail_where

        if self.template is not None:
            error = AutographError(f"{what}: the items of this list are structures ({self._kind()})")
            error.hint = "keep a list for each tensor"
            raise error
        fail_where(self.length < 1, InvalidArgumentError(f"{what}: needs at least one tensor"))
        return self.rows[0]

    def _kind(self) -> str:
        return ", ".join(str(TensorType(r.dtype, r.dims[1:])) for r in self.rows)

    def __graphflow_sequential__(self) -> Any:
        from .iterables import ListItems

        return ListItems(self)

    def __repr__(self) -> str:
        return f"<a list of {', '.join(str(r.type) for r in self.rows)}>"
