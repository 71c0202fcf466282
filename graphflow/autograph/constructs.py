"""What tensor branches and loops have in common: their state, and the Python lists in it that change their length.

Where the length of a list depends on a tensor, the list becomes a GrowingList before the construct, which is then traced
once more. It is the outermost construct that can reach the list which does so: everything inside sees the change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ..errors import AutographError
from .blocks import Cell, GlobalName
from .growing import GrowingList
from .state import Place, State

__all__ = ["Again", "Construct", "key_of"]


class Again(BaseException):
    """A construct has to be traced again: there is more to its state. Not an Exception: user code must not swallow it."""

    def __init__(self, construct: Construct) -> None:
        super().__init__()
        self.construct = construct


#: the constructs that are being traced around, outermost first
_constructs: ContextVar[tuple[Construct, ...]] = ContextVar("graphflow_constructs", default=())


def key_of(place: Any) -> Any:
    """What tells a variable or place from others."""
    return place.identity if isinstance(place, Place) else (type(place).__name__, place.name)


class Construct:
    """An if, for or while statement that a tensor decides."""

    def __init__(self, blocks: Sequence[Any], facts: Any, form: str) -> None:
        self.blocks, self.facts, self.form = blocks, facts, form
        self.state = State(blocks, facts)
        #: lists that grow: the structure of their items, by what holds them
        self.lists: dict[Any, Any] = {}
        self._more: list[Any] = []
        self._requests: dict[int, tuple[list[Any], str, Any, Any]] = {}

    @contextmanager
    def active(self) -> Iterator[None]:
        """While it is traced."""
        token = _constructs.set((*_constructs.get(), self))
        try:
            yield
        finally:
            _constructs.reset(token)

    def request_growth(self, owner: list[Any], name: str, versions: Sequence[Sequence[Any]]) -> None:
        """A list has another length in some version of what may have happened: trace again with a GrowingList in its place.
        Raises Again, or AutographError where that cannot be."""
        held = self.state.heap.entries[id(owner)][1]
        items = max((*versions, held), key=len)
        if not items:
            return
        if len(items) <= len(held) and all(len(v) <= len(held) for v in versions) and self.form != "if":
            error = AutographError(
                f"{self.form}: the list '{name}' loses items in a loop that a tensor decides (from {len(held)} to "
                f"{min(map(len, versions))})"
            )
            error.hint = "keep the values in a tensor or a gf.TensorArray"
            raise error
        template, types = GrowingList.kind_of(items[-1])
        found = next(c for c in (*_constructs.get(), self) if id(owner) in c.state.heap.entries)
        found._requests[id(owner)] = (owner, name, template, types)
        raise Again(found)

    def convert_lists(self, extra: dict[Any, Any]) -> None:
        """Replace the lists that were found to grow; what holds them goes into `extra`. The state before is that from then
        on."""
        self.state.restore()
        for owner, name, template, types in self._requests.values():
            target = self._holder(owner, name)
            made = GrowingList.of(list(owner), template, types)
            target.set(made)
            self.lists[key_of(target)] = template
            extra[key_of(target)] = target
            if not isinstance(target, Place) and target not in self.state.cells:
                self._more.append(target)
        if self._requests:
            self._requests.clear()
            self.state = State(self.blocks, self.facts, self._more)

    def _holder(self, owner: list[Any], name: str) -> Any:
        """The variable or place that holds a list."""
        holder = self.state.heap.holder_of(owner)
        if isinstance(holder, str):
            cell = self.state.free.get(holder)
            own = next((c for c in self.state.cells if c.name == holder), None)
            block = next(b for b in self.blocks if b is not None)
            return own or (Cell(holder, cell) if cell is not None else GlobalName(holder, block.__globals__))
        if holder is None:
            error = AutographError(f"{self.form}: the length of the list '{name}' depends on a tensor")
            error.hint = f"keep it in a variable or an attribute that the {self.form} statement names"
            raise error
        return holder
