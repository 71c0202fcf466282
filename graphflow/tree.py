"""Nested structures of arguments and results: lists, tuples, named tuples, dictionaries and dataclasses (their leaves
in order)."""

from __future__ import annotations

import collections
import copy
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = [
    "assert_same_structure",
    "children_of",
    "flatten",
    "is_nested",
    "map_structure",
    "pack_sequence_as",
    "rebuild",
    "sorted_keys",
]


def is_nested(value: Any) -> bool:
    """Is it a container this module looks into?"""
    if isinstance(value, (list, tuple, Mapping)):
        return not hasattr(value, "as_list")  # a TensorShape is one value
    is_record = dataclasses.is_dataclass(value) and not isinstance(value, type)
    return is_record and not type(value).__module__.startswith("graphflow.")


def children_of(value: Any) -> Iterable[Any]:
    """The direct children of a container, in order: items, values by sorted key, fields."""
    if isinstance(value, Mapping):
        return (value[k] for k in sorted_keys(value))
    if isinstance(value, (list, tuple)):
        return value
    return (getattr(value, f.name) for f in dataclasses.fields(value))


def sorted_keys(mapping: Mapping[Any, Any]) -> list[Any]:
    """The keys in the order of the leaves: sorted, keys of different types by type name."""
    return sorted(mapping, key=_key_order)


def _key_order(key: Any) -> tuple[str, Any]:
    return (type(key).__name__, key) if isinstance(key, (str, int, float)) else (type(key).__name__, repr(key))


def flatten(structure: Any) -> list[Any]:
    """The leaves, in order (dictionaries by sorted key, as in TensorFlow)."""
    if not is_nested(structure):
        return [structure]
    leaves: list[Any] = []
    for child in children_of(structure):
        leaves.extend(flatten(child)) if is_nested(child) else leaves.append(child)
    return leaves


def map_structure(function: Callable[..., Any], *structures: Any) -> Any:
    """Apply function to corresponding leaves; the result has the first structure's form."""
    first = structures[0]
    if not is_nested(first):
        return function(*structures)
    for other in structures[1:]:
        _assert_same_level(first, other)
    children = [list(children_of(s)) for s in structures]
    return rebuild(first, [map_structure(function, *parts) for parts in zip(*children, strict=True)])


def rebuild(container: Any, children: Iterable[Any]) -> Any:
    """A container like the given one with other children (in the order of `children_of`)."""
    if isinstance(container, Mapping):
        values = dict(zip(sorted_keys(container), children, strict=True))
        items = {k: values[k] for k in container}
        if type(container) is dict:
            return items
        if isinstance(container, collections.defaultdict):
            return collections.defaultdict(container.default_factory, items)
        return type(container)(items)  # type: ignore[call-arg]
    if isinstance(container, (list, tuple)):
        parts = list(children)
        return type(container)(*parts) if hasattr(container, "_fields") else type(container)(parts)
    twin = copy.copy(container)
    for field, child in zip(dataclasses.fields(container), children, strict=True):
        object.__setattr__(twin, field.name, child)  # frozen ones too
    return twin


def pack_sequence_as(structure: Any, flat_sequence: Iterable[Any]) -> Any:
    """The leaves of flat_sequence in the form of `structure`. Raises ValueError if the counts differ."""
    leaves = list(flat_sequence)
    wanted = len(flatten(structure))
    if len(leaves) != wanted:
        raise ValueError(f"pack_sequence_as: the structure has {wanted} leaves, the sequence {len(leaves)}")
    iterator = iter(leaves)
    return map_structure(lambda _: next(iterator), structure)


def assert_same_structure(a: Any, b: Any) -> None:
    """Raises ValueError or TypeError where the two structures differ."""
    _assert_same_level(a, b)
    if is_nested(a):
        if type(a) is not type(b):
            raise TypeError(f"structures differ in type: {type(a).__name__} and {type(b).__name__}")
        for x, y in zip(children_of(a), children_of(b), strict=True):
            assert_same_structure(x, y)


def _assert_same_level(a: Any, b: Any) -> None:
    """Raises ValueError where two structures differ in kind, length or keys here."""
    if is_nested(a) != is_nested(b) or isinstance(a, Mapping) != isinstance(b, Mapping):
        raise ValueError(f"structures differ: {short(a)} and {short(b)}")
    if is_nested(a) and (
        len(list(children_of(a))) != len(list(children_of(b))) or isinstance(a, Mapping) and set(a) != set(b)
    ):
        raise ValueError(f"structures differ in size or keys: {short(a)} and {short(b)}")


def short(value: Any) -> str:
    """A structure's text for messages."""
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
