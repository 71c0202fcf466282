"""`gf.nest`: TensorFlow's `tf.nest`, and what dm-tree adds to it (paths).

The same structures as everywhere in graphflow (see tree.py and docs/objects.md). Mappings are flattened by sorted key
and keep their own order when they are packed; None is a leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import tree
from .arguments import guard
from .tree import is_nested, register

__all__ = [
    "assert_same_structure",
    "flatten",
    "flatten_with_path",
    "is_nested",
    "map_structure",
    "map_structure_with_path",
    "pack_sequence_as",
    "register",
]

Path = tuple[Any, ...]


def flatten(structure: Any, expand_composites: bool = False) -> list[Any]:
    """The leaves, in order. A leaf gives a list of itself. expand_composites is taken for TensorFlow's sake."""
    del expand_composites
    return tree.flatten(structure)


def pack_sequence_as(structure: Any, flat_sequence: Sequence[Any], expand_composites: bool = False) -> Any:
    """The items of flat_sequence in the form of `structure`, whose own leaves do not matter.

    Raises TypeError if flat_sequence is no sequence, ValueError if the counts differ.
    """
    del expand_composites
    if not is_nested(flat_sequence):
        raise TypeError(
            f"pack_sequence_as: flat_sequence must be a sequence of leaves, got {tree.short(flat_sequence)} of type "
            f"{type(flat_sequence).__name__}"
        )
    return tree.pack_sequence_as(structure, flat_sequence)


def assert_same_structure(nest1: Any, nest2: Any, check_types: bool = True, expand_composites: bool = False) -> None:
    """Raises ValueError where two structures are nested differently, and, if check_types, TypeError where containers
    differ in type. Any two mappings count as one type, any two lists too, and named tuples of equal name and fields."""
    del expand_composites
    tree.assert_same_structure(nest1, nest2, check_types)


def map_structure(func: Callable[..., Any], *structure: Any, **kwargs: Any) -> Any:
    """func applied to the corresponding leaves of the structures, in the form of the first.

    Keywords: check_types (True: the containers' types must agree; see assert_same_structure), expand_composites (taken
    for TensorFlow's sake). Raises TypeError if func cannot be called, ValueError without a structure or for another
    keyword.
    """
    check_types = _check_types("map_structure", func, structure, kwargs)
    for other in structure[1:]:
        tree.assert_same_structure(structure[0], other, check_types)
    return tree.map_structure(func, *structure)


def flatten_with_path(structure: Any) -> list[tuple[Path, Any]]:
    """(path, leaf) for each leaf, in order. A path is the tuple of keys, field names and positions from the top."""
    found: list[tuple[Path, Any]] = []

    def visit(value: Any, path: Path) -> None:
        if not is_nested(value):
            found.append((path, value))
            return
        for label, child in zip(tree.labels_of(value), tree.children_of(value), strict=True):
            visit(child, (*path, label))

    visit(structure, ())
    return found


def map_structure_with_path(func: Callable[..., Any], *structure: Any, **kwargs: Any) -> Any:
    """As map_structure, with the leaves' path as func's first argument: func(path, leaf, ...)."""
    check_types = _check_types("map_structure_with_path", func, structure, kwargs)
    for other in structure[1:]:
        tree.assert_same_structure(structure[0], other, check_types)
    paths = iter([path for path, _ in flatten_with_path(structure[0])])
    return tree.map_structure(lambda *leaves: func(next(paths), *leaves), *structure)


def _check_types(name: str, func: Any, structures: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if not callable(func):
        raise TypeError(f"{name}: func must be callable, got {func!r}")
    if not structures:
        raise ValueError(f"{name}: at least one structure must be given")
    check_types = bool(kwargs.pop("check_types", True))
    kwargs.pop("expand_composites", None)
    if kwargs:
        raise ValueError(f"{name}: the keywords are check_types and expand_composites, got {', '.join(sorted(kwargs))}")
    return check_types


guard("gf.nest", globals(), __all__)
