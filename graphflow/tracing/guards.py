"""Guards: the Python values that a trace was made with, and whether they are still what they were.

A guard is one place (a global, a closure cell, an attribute of one object) and a snapshot of what was there. Objects
are known by identity, through weak references where that is possible, so that a guard keeps nobody's object alive.
"""

from __future__ import annotations

import collections
import operator
import types
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from ..dtypes import DType
from ..ir.types import TensorType
from ..tensor import TensorLike

__all__ = [
    "MISSING",
    "Guard",
    "Identity",
    "Plain",
    "Snapshot",
    "is_known_by_identity_alone",
    "reference_to",
    "same_plain",
    "short",
    "snapshot_of",
]

MOST_ITEMS = 2048
"""Containers up to this length are compared item by item (20 ns an item); longer ones are known by identity, and
explain() says so."""
MOST_BYTES = 16384
"""The same for NumPy arrays (a microsecond for 16 kB)."""
MOST_WRITTEN_ITEMS = 16
"""Containers up to this length are compared in the source of the fast call itself."""
_PLAIN = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type(None),
    Enum,
    DType,
    np.generic,
    range,
    slice,
    type(Ellipsis),
    TensorType,
)


class _Missing:
    """The value of a name or attribute that is not there."""

    def __repr__(self) -> str:
        return "nothing"


MISSING: Any = _Missing()


class Snapshot:
    """What a place held."""

    __slots__ = ()

    def matches(self, now: Any) -> bool:
        """Is `now` still the same?"""
        raise NotImplementedError

    def objects(self) -> Iterator[Any]:
        """The objects that are known by identity."""
        return iter(())

    def source(self, place: str, name: str, environment: dict[str, Any]) -> str | None:
        """A Python expression that says whether the value of the expression `place` matches (what it needs goes into
        `environment` under names that end in `name`), or None where `matches` must be called."""
        return None


class Plain(Snapshot):
    """A value compared by type and value."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def matches(self, now: Any) -> bool:
        return same_plain(now, self.value)

    def source(self, place: str, name: str, environment: dict[str, Any]) -> str | None:
        if self.value is MISSING:
            return None
        environment[f"g{name}"] = self.value
        return f"((n := {place}) is g{name} or same(n, g{name}))"

    def __repr__(self) -> str:
        return repr(self.value)


class Identity(Snapshot):
    """An object known by identity."""

    __slots__ = ("_text", "reference")

    def __init__(self, value: Any) -> None:
        is_named = isinstance(value, (types.FunctionType, type))
        self._text = value.__qualname__ if is_named else f"an object of {type(value).__name__}"
        self.reference = reference_to(value)

    def matches(self, now: Any) -> bool:
        found = self.reference()
        return found is not None and now is found

    def source(self, place: str, name: str, environment: dict[str, Any]) -> str | None:
        if isinstance(self.reference, weakref.ref):
            environment[f"g{name}"] = self.reference
            return f"(n := g{name}()) is not None and {place} is n"
        environment[f"g{name}"] = self.reference()
        return f"{place} is g{name}"

    def objects(self) -> Iterator[Any]:
        yield self.reference()

    def __repr__(self) -> str:
        return self._text


class Array(Snapshot):
    """A NumPy array, compared by dtype, shape and bytes."""

    __slots__ = ("_form",)

    def __init__(self, array: Any) -> None:
        self._form = (array.dtype.str, array.shape, array.tobytes())

    def matches(self, now: Any) -> bool:
        return isinstance(now, np.ndarray) and (now.dtype.str, now.shape, now.tobytes()) == self._form

    def __repr__(self) -> str:
        return f"an array of {self._form[0][1:]} {list(self._form[1])}"


class Items(Snapshot):
    """A container compared item by item: a list, tuple, deque, or with `keys` a dictionary or namespace (in its
    order)."""

    __slots__ = ("_kept", "items", "keys", "kind")

    def __init__(self, value: Any, depth: int) -> None:
        self.kind = type(value)
        content = _content(value)
        self.keys = tuple(dict.keys(content)) if isinstance(content, dict) else None
        values = list(dict.values(content) if isinstance(content, dict) else content)
        self.items = tuple([snapshot_of(v, depth - 1) for v in values])
        #: the very items, where they are plain: most checks need only look whether these are still the same objects
        self._kept = values if all(isinstance(item, Plain) for item in self.items) else None

    def matches(self, now: Any) -> bool:
        if type(now) is not self.kind:
            return False
        content = _content(now)
        if len(content) != len(self.items):
            return False
        values: Any = content
        if self.keys is not None:
            if not all(map(_same_key, dict.keys(content), self.keys)):
                return False
            values = dict.values(content)
        if self._kept is not None and all(map(operator.is_, values, self._kept)):
            return True
        return all(item.matches(value) for item, value in zip(self.items, values, strict=True))

    def source(self, place: str, name: str, environment: dict[str, Any]) -> str | None:
        own = f"held{name}"
        if len(self.items) > MOST_WRITTEN_ITEMS:
            return None
        if self.kind is dict and self.keys is not None and all(type(k) is str for k in self.keys):
            environment[f"k{name}"] = list(self.keys)
            parts = [f"({own} := {place}).__class__ is dict and [*{own}] == k{name}"]
            places = [f"{own}[{key!r}]" for key in self.keys]
        elif self.kind in (list, tuple):
            parts = [f"({own} := {place}).__class__ is {self.kind.__name__} and len({own}) == {len(self.items)}"]
            places = [f"{own}[{k}]" for k in range(len(self.items))]
        else:
            return None
        for k, (item_place, item) in enumerate(zip(places, self.items, strict=True)):
            check = item.source(item_place, f"{name}_{k}", environment)
            if check is None:
                return None
            parts.append(check)
        return " and ".join(parts)

    def objects(self) -> Iterator[Any]:
        for item in self.items:
            yield from item.objects()

    def __repr__(self) -> str:
        if self.keys is not None:
            return "{" + ", ".join(f"{k!r}: {v!r}" for k, v in zip(self.keys, self.items, strict=True)) + "}"
        items = ", ".join(map(repr, self.items))
        return f"({items})" if issubclass(self.kind, tuple) else f"[{items}]"


class Set(Snapshot):
    """A set, compared by its members."""

    __slots__ = ("_kind", "_members")

    def __init__(self, value: Any) -> None:
        self._kind, self._members = type(value), frozenset(value)

    def matches(self, now: Any) -> bool:
        return type(now) is self._kind and frozenset(now) == self._members

    def __repr__(self) -> str:
        return repr(set(self._members))


def _same_key(now: Any, then: Any) -> bool:
    return now is then or type(now) is type(then) and now == then


def same_plain(now: Any, then: Any) -> bool:
    """Equal in type and value, floats bit for bit (NaN equals itself, 0.0 differs from -0.0)."""
    if now is then:
        return True
    if type(now) is not type(then):
        return False
    if isinstance(then, (float, complex, np.inexact)):
        return repr(now) == repr(then)
    return bool(now == then)


def snapshot_of(value: Any, depth: int = 6) -> Snapshot:
    """What to compare `value` with later."""
    if value is MISSING or isinstance(value, _PLAIN):
        return Plain(value)
    if isinstance(value, np.ndarray):
        return Array(value) if value.nbytes <= MOST_BYTES and value.dtype.kind != "O" else Identity(value)
    if depth and isinstance(value, _CONTAINERS) and len(_content(value)) <= MOST_ITEMS:
        return Set(value) if isinstance(value, (set, frozenset)) else Items(value, depth)
    return Identity(value)


_CONTAINERS = (list, tuple, dict, set, frozenset, collections.deque, types.SimpleNamespace)


def _content(value: Any) -> Any:
    return vars(value) if isinstance(value, types.SimpleNamespace) else value


def is_known_by_identity_alone(value: Any) -> bool:
    """Can the value change without its guard seeing it? (A large array or container.)"""
    return isinstance(value, (np.ndarray, *_CONTAINERS))


def reference_to(value: Any) -> Any:
    """A callable that gives the object while it lives. Containers, tensors and what cannot be referenced weakly are
    kept alive."""
    if not isinstance(value, (TensorLike, type, types.ModuleType, types.BuiltinFunctionType)):
        try:
            return weakref.ref(value)
        except TypeError:
            pass
    return lambda: value


def short(value: Any) -> str:
    """A value's text for messages."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True)
class Guard:
    """One place and what was there. kind: "item" (of a dictionary of globals), "cell", "attribute" or "method" (the
    function behind an attribute). owner: gives the dictionary, cell or object, or None when it is gone."""

    name: str
    kind: str
    owner: Any
    key: Any
    then: Snapshot

    def get(self) -> Any:
        """The value now; MISSING where it is gone."""
        owner = self.owner()
        if self.kind == "item":
            return owner.get(self.key, MISSING)
        if self.kind == "method":
            found = getattr(owner, self.key, MISSING)
            return getattr(found, "__func__", found)
        try:
            return owner.cell_contents if self.kind == "cell" else getattr(owner, self.key, MISSING)
        except ValueError:  # an empty cell
            return MISSING

    def holds(self) -> bool:
        """Is the value what it was? True for an object that is gone: the place that held it is guarded too."""
        return self.owner() is None or self.then.matches(self.get())

    @property
    def is_dead(self) -> bool:
        """The object is gone."""
        return self.owner() is None

    def describe(self) -> str:
        """What changed, for explain()."""
        return f"captured {self.name} changed from {short(self.then)} to {short(snapshot_of(self.get()))}"

    def source(self, number: int, environment: dict[str, Any]) -> str:
        """A Python expression that is true while the guard holds; what it needs is put into `environment`."""
        own = f"r{number}"
        environment[own] = self.owner
        if self.kind == "item":
            environment[own] = self.owner()
            place = f"{own}[{self.key!r}]"
        elif self.kind == "cell":
            environment[own] = self.owner()
            place = f"{own}.cell_contents"
        else:
            strong = isinstance(self.owner(), (types.ModuleType, type))
            environment[own] = self.owner() if strong else self.owner
            place = f"{own}.{self.key}" if strong else f"{own}().{self.key}"
            if self.kind == "method":
                place += ".__func__"
        environment["same"] = same_plain
        check = self.then.source(place, f"{number}", environment)
        if check is None:
            environment[f"g{number}"] = self
            return f"g{number}.holds()"
        return check
