"""Guards: the Python values that a trace was made with, and whether they are still what they were.

A guard is one place (a global, a closure cell, an attribute of one object) and a snapshot of what was there. Objects
are known by identity, through weak references where that is possible, so that a guard keeps nobody's object alive.
"""

from __future__ import annotations

import array
import collections
import ctypes
import functools
import itertools
import operator
import os
import types
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
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
    "is_blind",
    "reference_to",
    "same_plain",
    "short",
    "snapshot_of",
]

MOST_ITEMS = 65536
"""Containers up to this length are compared item by item: 12 ns an item that is still the same object, so 25 us for 2,048
items and 0.8 ms for this many. Longer ones are known by identity, with an UnguardedWarning."""
MOST_BYTES = 4 << 20
"""NumPy arrays up to this size are compared byte by byte with a copy: 30 GB/s up to a megabyte (35 us), 14 GB/s at this
size (0.3 ms). Larger ones are known by identity: if they are read-only that is enough, else with an UnguardedWarning."""
MOST_BYTES_AT_ONCE = 65536
"""Up to this size a copy and one comparison of bytes objects is faster (0.4 us for 16 kB) than finding the address."""
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

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Any = _Missing()


class Snapshot(ABC):
    """What a place held."""

    __slots__ = ()

    @abstractmethod
    def matches(self, now: Any) -> bool:
        """Is `now` still the same?"""

    def objects(self) -> Iterator[Any]:
        """The objects that are known by identity."""
        return iter(())

    def source(self, place: str, name: str, environment: dict[str, Any]) -> str | None:
        """A Python expression that says whether the value of the expression `place` matches (what it needs goes into
        `environment` under names that end in `name`), or None where `matches` must be called."""
        return None

    def difference(self, now: Any) -> tuple[str, str, str]:
        """Where `now` differs first (a subscript, or ""), with the texts of what was there and what is."""
        return "", short(self), short(snapshot_of(now))


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

    __slots__ = ("_address", "_bytes", "_copy", "_dtype", "_shape")

    def __init__(self, array: Any) -> None:
        self._dtype, self._shape = array.dtype, array.shape
        self._bytes = array.tobytes()
        self._copy = np.frombuffer(self._bytes, np.uint8) if array.nbytes > MOST_BYTES_AT_ONCE else None
        self._address = 0 if self._copy is None else self._copy.ctypes.data

    def matches(self, now: Any) -> bool:
        if not isinstance(now, np.ndarray) or now.dtype != self._dtype or now.shape != self._shape:
            return False
        if self._copy is None or not now.flags.c_contiguous:
            return now.tobytes() == self._bytes
        return not _compare_memory(now.ctypes.data, self._address, len(self._bytes))

    def __repr__(self) -> str:
        return f"an array of {self._dtype.str[1:]} {list(self._shape)}"


class ReadOnly(Snapshot):
    """A large NumPy array that cannot be written to: the same array, still read-only."""

    __slots__ = ("_array",)

    def __init__(self, array: Any) -> None:
        self._array = array

    def matches(self, now: Any) -> bool:
        return now is self._array and is_read_only(now)

    def __repr__(self) -> str:
        return f"a read-only array of {self._array.dtype.str[1:]} {list(self._array.shape)}"


def is_read_only(array: Any) -> bool:
    """Is neither the array nor one that it is a view of writeable?"""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return array is None or isinstance(array, bytes)


_compare_memory: Any = ctypes.CDLL(None).memcmp if os.name == "posix" else ctypes.cdll.msvcrt.memcmp
_compare_memory.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_compare_memory.restype = ctypes.c_int


class Content(Snapshot):
    """A value of a type with other content than items, compared by what `read` gives for it."""

    __slots__ = ("_held", "_kind")

    def __init__(self, value: Any, depth: int) -> None:
        self._kind = type(value)
        self._held = snapshot_of(_READERS[self._kind](value), depth - 1)

    def matches(self, now: Any) -> bool:
        return type(now) is self._kind and self._held.matches(_READERS[self._kind](now))

    def difference(self, now: Any) -> tuple[str, str, str]:
        if type(now) is not self._kind or self._kind not in _SHOWN_BY_CONTENT:
            return super().difference(now)
        return self._held.difference(_READERS[self._kind](now))

    def objects(self) -> Iterator[Any]:
        return self._held.objects()

    def __repr__(self) -> str:
        return f"{self._kind.__name__}({self._held!r})"


def _of_mapping(value: Any) -> Any:
    return list(value.items())


_READERS: dict[type, Callable[[Any], Any]] = {
    bytearray: bytes,
    memoryview: lambda value: (value.format, value.shape, value.tobytes()),
    array.array: lambda value: (value.typecode, value.tobytes()),
    functools.partial: lambda value: (value.func, value.args, value.keywords),
    types.MappingProxyType: _of_mapping,
    types.MethodType: lambda value: (value.__func__, value.__self__),
    collections.UserDict: lambda value: value.data,
    collections.UserList: lambda value: value.data,
    collections.UserString: lambda value: value.data,
    collections.ChainMap: lambda value: value.maps,
    itertools.count: repr,
}
"""Types of mutable values that are compared by what these give."""
_SHOWN_BY_CONTENT = (collections.UserDict, collections.UserList, collections.UserString)


class Items(Snapshot):
    """A container compared item by item: a list, tuple, deque, or with `keys` a dictionary or namespace (in its
    order)."""

    __slots__ = ("_kept", "_names", "items", "keys", "kind")

    def __init__(self, value: Any, depth: int) -> None:
        self.kind = type(value)
        content = _content(value)
        self.keys = tuple(dict.keys(content)) if isinstance(content, dict) else None
        self._names = list(self.keys) if self.keys is not None and all(type(k) is str for k in self.keys) else None
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
            if self._names is not None:
                if [*dict.keys(content)] != self._names:
                    return False
            elif not all(map(_same_key, dict.keys(content), self.keys)):
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

    def difference(self, now: Any) -> tuple[str, str, str]:
        content = _content(now) if type(now) is self.kind else None
        if content is None or len(content) != len(self.items) or self.kind is np.ndarray:
            return super().difference(now)
        values = list(dict.values(content) if self.keys is not None else content)
        if self.keys is not None and not all(map(_same_key, dict.keys(content), self.keys)):
            return super().difference(now)
        for key, item, value in zip(self.keys or range(len(values)), self.items, values, strict=True):
            if not item.matches(value):
                inner, old, new = item.difference(value)
                own = f".{key}" if self.kind is types.SimpleNamespace else f"[{key!r}]"
                return own + inner, old, new
        return super().difference(now)

    def objects(self) -> Iterator[Any]:
        for item in self.items:
            yield from item.objects()

    def __repr__(self) -> str:
        if self.keys is not None:
            return "{" + ", ".join(f"{k!r}: {v!r}" for k, v in zip(self.keys, self.items, strict=True)) + "}"
        items = ", ".join(map(repr, self.items))
        return f"({items})" if issubclass(self.kind, tuple) else f"[{items}]"


class Set(Snapshot):
    """A set, compared by its members and their types."""

    __slots__ = ("_kind", "_members", "_typed")

    def __init__(self, value: Any) -> None:
        self._kind, self._members = type(value), frozenset(value)
        self._typed = frozenset((type(member), member) for member in value)

    def matches(self, now: Any) -> bool:
        if type(now) is not self._kind or len(now) != len(self._members):
            return False
        try:
            return all((type(member), member) in self._typed for member in now)
        except Exception:  # an __eq__ or __hash__ of the user's: no answer is not a match
            return False

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
    try:
        return bool(now == then)
    except Exception:  # an __eq__ of the user's (an enumeration's): no answer is not a match
        return False


def snapshot_of(value: Any, depth: int = 6) -> Snapshot:
    """What to compare `value` with later."""
    if value is MISSING or isinstance(value, _PLAIN):
        return Plain(value)
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return (
                Items(value, depth)
                if value.dtype.kind == "O" and depth and value.size <= MOST_ITEMS
                else Identity(value)
            )
        if value.nbytes > MOST_BYTES:
            return ReadOnly(value) if is_read_only(value) else Identity(value)
        return Array(value)
    if depth and type(value) in _READERS:
        return Content(value, depth)
    if depth and isinstance(value, _CONTAINERS) and len(_content(value)) <= MOST_ITEMS:
        return Set(value) if isinstance(value, (set, frozenset)) else Items(value, depth)
    return Identity(value)


_CONTAINERS = (list, tuple, dict, set, frozenset, collections.deque, types.SimpleNamespace)


def _content(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [value.shape, *value.ravel()]
    return vars(value) if isinstance(value, types.SimpleNamespace) else value


def is_blind(then: Snapshot, value: Any) -> bool:
    """Can the value change without its guard seeing it? (A very large array or container.)"""
    return isinstance(then, Identity) and isinstance(value, (np.ndarray, *_CONTAINERS))


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

    def source(self, number: int, environment: dict[str, Any]) -> str:
        """A Python expression that is true while the guard holds; what it needs is put into `environment`."""
        own = f"r{number}"
        environment[own] = self.owner
        if self.kind == "item":
            environment[own] = self.owner()
            if type(self.then) is Plain and self.then.value is MISSING:
                return f"{self.key!r} not in {own}"
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
