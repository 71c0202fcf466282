"""A Python list that grows in a tensor loop: its items become rows of tensors, whose number only the run knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import AutographError
from ..tensor import TensorLike, convert_to_tensor
from ..tree import flatten, is_nested, map_structure, pack_sequence_as

__all__ = ["GrowingList"]


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
    def of(items: list[Any], example: Any) -> GrowingList:
        """The list with these items; `example` is one more of the same kind (it tells the types where there are none)."""
        import numpy as np

        from ..array_ops import stack
        from ..ops import broadcast_to, constant

        rows = []
        for number, leaf in enumerate(flatten(example)):
            wanted = convert_to_tensor(leaf)
            if items:
                rows.append(stack([convert_to_tensor(flatten(i)[number], wanted.dtype) for i in items]))
            else:
                zero = constant(value=np.zeros((), wanted.dtype.numpy))
                rows.append(broadcast_to(zero, shape=(0, *wanted.dims)))
        template = map_structure(lambda _: None, example) if is_nested(example) else None
        return GrowingList(template, tuple(rows))

    def _leaves(self, item: Any) -> list[Any]:
        given = flatten(item)
        if len(given) != len(self.rows):
            raise AutographError(f"append: the items of this list have {len(self.rows)} tensors each, this one {len(given)}")
        return [convert_to_tensor(leaf, row.dtype) for leaf, row in zip(given, self.rows, strict=True)]

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
        from ..array_ops import shape

        return shape(self.rows[0])[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return GrowingList(self.template, tuple(row[index] for row in self.rows))
        from ..array_ops import where
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
        error = AutographError("this list grew in a graph's loop: how many items it has is known when the function runs")
        error.hint = "use gf.stack(xs), xs[i], len(xs), or a for statement over it"
        raise error

    def __len__(self) -> int:
        error = AutographError("this list grew in a graph's loop: its length is known when the function runs")
        error.hint = "len(xs) is a tensor inside functions that are converted; elsewhere use gf.shape(gf.stack(xs))[0]"
        raise error

    __bool__ = None  # type: ignore[assignment]

    # As tensors -------------------------------------------------------------------------------------------------------
    def stacked(self) -> Any:
        """The items stacked along a new first axis: a tensor, or a structure of tensors."""
        return self._item(list(self.rows))

    def __graphflow_sequential__(self) -> Any:
        from .iterables import ListItems

        return ListItems(self)

    def __repr__(self) -> str:
        return f"<a list of {', '.join(str(r.type) for r in self.rows)}>"

