"""Guards: the Python values that a trace was made with, and whether they are still what they were.

A guard is one place (a global, a closure cell, an attribute of one object) and a snapshot of what was there. Objects are known by
identity, through weak references where that is possible, so that a guard keeps nobody's object alive.
"""
from __future__ import annotations

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

__all__ = ["MISSING", "Contents", "Guard", "Identity", "Plain", "Snapshot", "reference_to", "same_plain", "short", "snapshot_of"]

MOST_ITEMS = 64
"""Containers up to this length are compared item by item; longer ones are known by identity and length."""
MOST_BYTES = 4096
"""The same for NumPy arrays."""
_PLAIN = (bool, int, float, complex, str, bytes, type(None), Enum, DType, np.generic, range, slice, type(Ellipsis), TensorType)


class _Missing:
    """The value of a name or attribute that is not there."""

    def __repr__(self) -> str:
        return "nothing"


MISSING: Any = _Missing()


@dataclass(frozen=True)
class Snapshot:
    """What a place held."""

    def matches(self, now: Any) -> bool:
        """Is `now` still the same?"""
        raise NotImplementedError

    def objects(self) -> Iterator[Any]:
        """The objects that are known by identity."""
        return iter(())

    def source(self, place: str, name: str, environment: dict[str, Any]) -> str | None:
        """A Python expression that says whether the value of the expression `place` matches (what it needs goes into `environment`
        under names that end in `name`), or None where `matches` must be called."""
        raise NotImplementedError


@dataclass(frozen=True)
class Plain(Snapshot):
    """A value compared by type and value."""

    value: Any

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
        text = f"an object of {type(value).__name__}"
        if isinstance(value, (types.FunctionType, type)):
            text = value.__qualname__
        object.__setattr__(self, "_text", text)
        object.__setattr__(self, "reference", reference_to(value))

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


@dataclass(frozen=True)
class Contents(Snapshot):
    """A container: its type, and a snapshot of each key and item."""

    kind: type
    keys: tuple[Any, ...] | None
    items: tuple[Snapshot, ...]

    def matches(self, now: Any) -> bool:
        if type(now) is not self.kind:
            return False
        if issubclass(self.kind, np.ndarray):
            return _array_form(now) == self.keys
        if issubclass(self.kind, (set, frozenset)):
            return self.keys is not None and now == set(self.keys)
        values: Any = now
        if self.keys is not None:
            values = vars(now) if self.kind is types.SimpleNamespace else now
            if len(values) != len(self.keys) or not all(same_plain(a, b) for a, b in zip(values, self.keys, strict=True)):
                return False
            values = values.values()
        return len(values) == len(self.items) and all(s.matches(v) for s, v in zip(self.items, values, strict=True))

    def source(self, place: str, name: str, environment: dict[str, Any]) -> str | None:
        own, parts = f"held{name}", []
        if self.kind is dict and self.keys is not None and all(type(k) is str for k in self.keys):
            environment[f"k{name}"] = list(self.keys)
            parts = [f"({own} := {place}).__class__ is dict and [*{own}] == k{name}"]
            items = [f"{own}[{key!r}]" for key in self.keys]
        elif self.kind in (list, tuple):
            parts = [f"({own} := {place}).__class__ is {self.kind.__name__} and len({own}) == {len(self.items)}"]
            items = [f"{own}[{k}]" for k in range(len(self.items))]
        else:
            return None
        for k, (item, inner) in enumerate(zip(items, self.items, strict=True)):
            check = inner.source(item, f"{name}_{k}", environment)
            if check is None:
                return None
            parts.append(check)
        return " and ".join(parts)

    def objects(self) -> Iterator[Any]:
        for item in self.items:
            yield from item.objects()

    def __repr__(self) -> str:
        if issubclass(self.kind, np.ndarray):
            return "an array"
        if issubclass(self.kind, (set, frozenset)):
            return repr(set(self.keys or ()))
        if self.keys is not None:
            return "{" + ", ".join(f"{k!r}: {v!r}" for k, v in zip(self.keys, self.items, strict=True)) + "}"
        items = ", ".join(map(repr, self.items))
        return f"({items})" if issubclass(self.kind, tuple) else f"[{items}]"


def _array_form(array: Any) -> tuple[Any, ...]:
    return array.dtype.str, array.shape, array.tobytes()


def same_plain(now: Any, then: Any) -> bool:
    """Equal in type and value, floats bit for bit (NaN equals itself, 0.0 differs from -0.0)."""
    if now is then:
        return True
    if type(now) is not type(then):
        return False
    if isinstance(then, (float, complex, np.inexact)):
        return repr(now) == repr(then)
    return bool(now == then)


def snapshot_of(value: Any, depth: int = 4) -> Snapshot:
    """What to compare `value` with later."""
    if value is MISSING or isinstance(value, _PLAIN):
        return Plain(value)
    if isinstance(value, np.ndarray):
        return Contents(type(value), _array_form(value), ()) if value.nbytes <= MOST_BYTES and value.dtype.kind != "O" else Identity(value)
    if depth and _is_container(value) and len(_content(value)) <= MOST_ITEMS:
        if isinstance(value, (set, frozenset)):
            return Contents(type(value), tuple(value), ()) if all(isinstance(v, _PLAIN) for v in value) else Identity(value)
        if isinstance(value, (dict, types.SimpleNamespace)):
            content = _content(value)
            if all(isinstance(k, _PLAIN) for k in content):
                return Contents(type(value), tuple(content), tuple(snapshot_of(v, depth - 1) for v in content.values()))
            return Identity(value)
        return Contents(type(value), None, tuple(snapshot_of(v, depth - 1) for v in value))
    return Identity(value)


def _is_container(value: Any) -> bool:
    return type(value) in (list, tuple, dict, set, frozenset, types.SimpleNamespace) or isinstance(value, tuple) and hasattr(value, "_fields")


def _content(value: Any) -> Any:
    return vars(value) if isinstance(value, types.SimpleNamespace) else value


def reference_to(value: Any) -> Any:
    """A callable that gives the object while it lives. Containers, tensors and what cannot be referenced weakly are kept alive."""
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
    """One place and what was there. kind: "item" (of a dictionary of globals), "cell", "attribute" or "method" (the function behind
    an attribute). owner: gives the dictionary, cell or object, or None when it is gone."""

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
