"""Nested structures of arguments and results: lists, tuples, named tuples, dictionaries and dataclasses (their leaves in order)."""
from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["assert_same_structure", "flatten", "is_nested", "map_structure", "pack_sequence_as"]


def is_nested(value: Any) -> bool:
    """Is it a container this module looks into?"""
    if isinstance(value, (list, tuple, Mapping)):
        return not hasattr(value, "as_list")  # a TensorShape is one value
    is_record = dataclasses.is_dataclass(value) and not isinstance(value, type)
    return is_record and not type(value).__module__.startswith("graphflow.")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return (value[k] for k in sorted(value, key=_key_order))
    if isinstance(value, (list, tuple)):
        return value
    return (getattr(value, f.name) for f in dataclasses.fields(value))


def _key_order(key: Any) -> tuple[str, Any]:
    return (type(key).__name__, key) if isinstance(key, (str, int, float)) else (type(key).__name__, repr(key))


def flatten(structure: Any) -> list[Any]:
    """The leaves, in order (dictionaries by sorted key, as in TensorFlow)."""
    if not is_nested(structure):
        return [structure]
    leaves: list[Any] = []
    for child in _children(structure):
        leaves.extend(flatten(child)) if is_nested(child) else leaves.append(child)
    return leaves


def map_structure(function: Callable[..., Any], *structures: Any) -> Any:
    """Apply function to corresponding leaves; the result has the first structure's form."""
    first = structures[0]
    if not is_nested(first):
        return function(*structures)
    if isinstance(first, Mapping):
        values = {k: map_structure(function, *(s[k] for s in structures)) for k in sorted(first, key=_key_order)}
        items = {k: values[k] for k in first}
        return type(first)(items) if type(first) is not dict else items  # type: ignore[call-arg]
    if isinstance(first, (list, tuple)):
        parts = [map_structure(function, *children) for children in zip(*structures, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    changes = {f.name: map_structure(function, *(getattr(s, f.name) for s in structures)) for f in dataclasses.fields(first)}
    return dataclasses.replace(first, **changes)


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
    if is_nested(a) != is_nested(b):
        raise ValueError(f"structures differ: {a!r} and {b!r}")
    if not is_nested(a):
        return
    if type(a) is not type(b):
        raise TypeError(f"structures differ in type: {type(a).__name__} and {type(b).__name__}")
    first, second = list(_children(a)), list(_children(b))
    if len(first) != len(second) or isinstance(a, Mapping) and set(a) != set(b):
        raise ValueError(f"structures differ in size: {a!r} and {b!r}")
    for x, y in zip(first, second, strict=True):
        assert_same_structure(x, y)
