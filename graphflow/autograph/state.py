"""The state of a tensor branch or loop: the variables that its blocks bind, and the objects that they change.

Blocks are traced for every way the run may go, so what one of them did to Python objects is taken back before the next
one is traced, and what they did is compared. Objects are found by walking from the blocks' variables: lists,
dictionaries, sets and objects of users' classes, through attributes and items. So `self.h = ...` inside a method that a
branch calls is seen like an assignment in the branch itself.

A change to an object becomes part of the result where tensors are involved, or where the block's own text changes the
object (`self.n += 1`). Anything else a called function does to Python objects happens while tracing, as everywhere.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..tensor import TensorLike
from ..tracing.bytecode import is_library
from ..tracing.watching import is_watchable
from ..tree import flatten
from .blocks import UNDEFINED, Cell, GlobalName
from .growing import GrowingList

__all__ = ["Heap", "Place", "State", "holds_tensor"]

MOST_OBJECTS = 20000
"""Objects looked at; a program that keeps more than that behind the variables of one block is not followed further."""
_LEAVES = (
    str,
    bytes,
    int,
    float,
    complex,
    type(None),
    np.ndarray,
    np.generic,
    types.ModuleType,
    TensorLike,
    type,
    range,
    slice,
)


@dataclass(frozen=True, eq=False)
class Place:
    """One place of an object: kind "list" (item), "dict" (item), "attribute", "content" (a whole list or set), "rows" (of a list
    that grows) or "cell" (a variable of a function that is called). name: as errors call it."""

    kind: str
    owner: Any
    key: Any
    name: str
    is_explicit: bool

    @property
    def identity(self) -> tuple[str, int, Any]:
        return self.kind, id(self.owner), self.key

    def get(self) -> Any:
        """What is there; UNDEFINED where there is nothing."""
        if self.kind == "list":
            return self.owner[self.key] if self.key < len(self.owner) else UNDEFINED
        if self.kind == "dict":
            return dict.get(self.owner, self.key, UNDEFINED)
        if self.kind == "attribute":
            return object.__getattribute__(self.owner, "__dict__").get(self.key, UNDEFINED)
        if self.kind == "rows":
            return self.owner.rows
        if self.kind == "cell":
            return Cell(self.name, self.owner).get()
        return list(self.owner) if isinstance(self.owner, (list, deque)) else set(self.owner)

    def set(self, value: Any) -> None:
        """Put a value there; UNDEFINED takes away what is there."""
        if self.kind == "list":
            self.owner[self.key] = value
        elif self.kind == "rows":
            self.owner.rows = value
        elif self.kind == "cell":
            Cell(self.name, self.owner).set(value)
        elif self.kind == "content":
            self.owner.clear()
            (self.owner.update if isinstance(self.owner, set) else self.owner.extend)(value)
        else:
            table = self.owner if self.kind == "dict" else object.__getattribute__(self.owner, "__dict__")
            if value is UNDEFINED:
                dict.pop(table, self.key, None)
            else:
                dict.__setitem__(table, self.key, value)


def holds_tensor(value: Any) -> bool:
    """Is a tensor, or something with tensors, anywhere in a structure?"""
    if isinstance(value, (TensorLike, GrowingList)) or hasattr(value, "__graphflow_array__"):
        return True
    try:
        return any(
            isinstance(leaf, (TensorLike, GrowingList)) or hasattr(leaf, "__graphflow_array__")
            for leaf in flatten(value)
        )
    except (TypeError, ValueError):  # a container that cannot be taken apart holds what it holds
        return False


class Heap:
    """The objects that blocks can reach, and what they held."""

    def __init__(self, roots: Iterable[tuple[str, Any]], explicit: Iterable[str], bound: Iterable[int] = ()) -> None:
        """bound: ids of the cells that are state anyway."""
        self._explicit = set(explicit)
        self.bound = set(bound)
        #: id -> (object, its content, its name, the root it was found from, the place or variable that holds it)
        self.entries: dict[int, tuple[Any, Any, str, str, Any]] = {}
        todo: deque[tuple[Any, str, str, Any]] = deque((value, name, name, name) for name, value in roots)
        while todo and len(self.entries) < MOST_OBJECTS:
            self._visit(*todo.popleft(), todo)

    def _visit(self, value: Any, name: str, root: str, holder: Any, todo: deque[Any]) -> None:
        if isinstance(value, _LEAVES) or id(value) in self.entries:
            return
        if isinstance(value, types.MethodType):
            todo.append((value.__self__, name, root, None))
            return
        if isinstance(value, types.FunctionType):
            if not is_library(value.__code__.co_filename):
                self.entries[id(value)] = (value, None, name, root, holder)
                for n, c in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
                    if not n.startswith("."):
                        self._visit_cell(c, n, root)
                        todo.append((Cell(n, c).get(), n, root, None))
            return
        held = content_of(value)
        if held is None:
            if isinstance(value, tuple):
                todo.extend((item, f"{name}[{k}]", root, None) for k, item in enumerate(value))
            return
        self.entries[id(value)] = (value, held, name, root, holder)
        explicit = root in self._explicit
        if isinstance(held, dict):
            kind = "dict" if isinstance(value, dict) else "attribute"
            for key, item in held.items():
                text = f"{name}[{key!r}]" if kind == "dict" else f"{name}.{key}"
                todo.append((item, text, root, Place(kind, value, key, text, explicit)))
        elif isinstance(held, list):
            todo.extend(
                (x, f"{name}[{k}]", root, Place("list", value, k, f"{name}[{k}]", explicit)) for k, x in enumerate(held)
            )

    def _visit_cell(self, cell: types.CellType, name: str, root: str) -> None:
        """A variable of a function that the blocks may call."""
        if id(cell) not in self.bound and id(cell) not in self.entries:
            self.entries[id(cell)] = (cell, [Cell(name, cell).get()], name, root, None)

    def restore(self) -> None:
        """Give every object what it held."""
        for value, held, *_ in self.entries.values():
            if isinstance(value, types.CellType):
                Cell("", value).set(held[0])
                continue
            if held is None or same_content(value, held):
                continue
            if isinstance(value, GrowingList):
                value.rows = held[0]
            elif isinstance(value, (list, deque)):
                value.clear()
                value.extend(held)
            elif isinstance(value, set):
                value.clear()
                value.update(held)
            else:
                table = value if isinstance(value, dict) else object.__getattribute__(value, "__dict__")
                dict.clear(table)
                dict.update(table, held)

    def changes(self) -> list[Place]:
        """The places that hold something else now."""
        found: list[Place] = []
        for value, held, name, root, _ in self.entries.values():
            if isinstance(value, types.CellType):
                if Cell("", value).get() is not held[0]:
                    found.append(Place("cell", value, None, name, True))
                continue
            if held is None or same_content(value, held):
                continue
            explicit = root in self._explicit
            if isinstance(value, GrowingList):
                found.append(Place("rows", value, None, name, explicit))
            elif isinstance(value, list) and len(value) == len(held):
                pairs = enumerate(zip(value, held, strict=True))
                found += [Place("list", value, k, f"{name}[{k}]", explicit) for k, (a, b) in pairs if a is not b]
            elif isinstance(held, dict):
                kind = "dict" if isinstance(value, dict) else "attribute"
                table = value if kind == "dict" else object.__getattribute__(value, "__dict__")
                for key in {**held, **table}:
                    if held.get(key, UNDEFINED) is not dict.get(table, key, UNDEFINED):
                        text = f"{name}[{key!r}]" if kind == "dict" else f"{name}.{key}"
                        found.append(Place(kind, value, key, text, explicit))
            else:
                found.append(Place("content", value, None, name, explicit))
        return found

    def holder_of(self, value: Any) -> Any:
        """The place that holds a list, or the name of the variable that does; None where it is not known."""
        found = self.entries.get(id(value))
        return None if found is None else found[4]


def content_of(value: Any) -> Any:
    """A copy of what an object holds: a list, set or dictionary; None for objects that are not looked into."""
    if isinstance(value, GrowingList):
        return [value.rows]
    if isinstance(value, dict):
        return dict(dict.items(value))
    if isinstance(value, (list, deque)):
        return list(value)
    if isinstance(value, set):
        return set(value)
    if getattr(type(value), "__graphflow_own_state__", False):
        return None
    if is_watchable(type(value)) or isinstance(value, types.SimpleNamespace):
        try:
            return dict(object.__getattribute__(value, "__dict__"))
        except AttributeError:  # slots alone
            return None
    return None


def same_content(value: Any, held: Any) -> bool:
    """Does the object hold the very objects it held?"""
    if isinstance(value, GrowingList):
        return value.rows is held[0]
    if isinstance(value, (list, deque)):
        return len(value) == len(held) and all(a is b for a, b in zip(value, held, strict=True))
    if isinstance(value, set):
        return {id(v) for v in value} == {id(v) for v in held}
    table = value if isinstance(value, dict) else object.__getattribute__(value, "__dict__")
    return len(table) == len(held) and all(dict.get(table, k, UNDEFINED) is v for k, v in held.items())


class State:
    """The variables that blocks bind (`cells`) and the objects that they reach (`heap`)."""

    def __init__(self, blocks: Sequence[Any], facts: Any, more: Sequence[Cell | GlobalName] = ()) -> None:
        """more: variables that are state though no block binds them."""
        names, live, roots, global_names = facts[:4]
        self.live = frozenset(live)
        block = next(b for b in blocks if b is not None)
        held = dict(zip(block.__code__.co_freevars, block.__closure__ or (), strict=True))
        self.cells: list[Cell | GlobalName] = [
            GlobalName(n, block.__globals__) if n in global_names else Cell(n, held[n]) for n in names
        ]
        self.before = [cell.get() for cell in self.cells]
        self.more = [(cell, cell.get()) for cell in more]
        self.heap = Heap(_roots(blocks), roots, [id(held[n]) for n in names if n not in global_names])
        self.free = {
            n: c
            for b in blocks
            if b is not None
            for n, c in zip(b.__code__.co_freevars, b.__closure__ or (), strict=True)
        }

    def restore(self) -> None:
        """The state before."""
        for cell, value in (*zip(self.cells, self.before, strict=True), *self.more):
            cell.set(value)
        self.heap.restore()


def _roots(blocks: Sequence[Any]) -> list[tuple[str, Any]]:
    """The values that blocks can name: their closure's, and the globals that they read."""
    found: dict[str, Any] = {}
    for block in blocks:
        if block is None:
            continue
        for name, cell in zip(block.__code__.co_freevars, block.__closure__ or (), strict=True):
            if not name.startswith("."):
                found[name] = Cell(name, cell).get()
        todo = [block.__code__]
        while todo:
            code = todo.pop()
            for name in code.co_names:
                if name in block.__globals__ and name not in found:
                    found[name] = block.__globals__[name]
            todo.extend(c for c in code.co_consts if isinstance(c, types.CodeType))
    return list(found.items())
