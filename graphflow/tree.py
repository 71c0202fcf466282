"""Nested structures of arguments and results: what is a container, its children in order, and how it is made again.

Containers, by type: lists, tuples, named tuples, deques and other sequences written in Python; dictionaries and other
mappings (children by sorted key); dataclasses and attrs classes (their fields, without those whose metadata say
`static`); types with `__tf_flatten__` and `__tf_unflatten__`; types given to `register`. Everything else is a leaf:
None, strings, bytes, ranges, arrays, tensors, shapes, modules, graphflow's own objects.
"""

from __future__ import annotations

import collections
import collections.abc
import copy
import dataclasses
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .errors import ArgumentError

__all__ = [
    "assert_same_structure",
    "children_of",
    "flatten",
    "is_nested",
    "labels_of",
    "map_structure",
    "metadata_of",
    "pack_sequence_as",
    "rebuild",
    "register",
    "sorted_keys",
]


@dataclasses.dataclass(frozen=True)
class Form:
    """How the containers of one type are taken apart. kind: "mapping", "sequence", "record" or "custom". children,
    labels: of a container, in order. metadata: what is not a leaf and yet part of it. rebuild(container, children)."""

    kind: str
    children: Callable[[Any], Iterable[Any]]
    labels: Callable[[Any], tuple[Any, ...]]
    metadata: Callable[[Any], Any]
    rebuild: Callable[[Any, Iterable[Any]], Any]


#: id of a type -> (weak reference to it, its form or None); an entry goes with its type
_forms: dict[int, tuple[weakref.ref[type], Form | None]] = {}


def form_of(cls: type) -> Form | None:
    """The form of a type's containers; None for leaves."""
    found = _forms.get(id(cls))
    if found is not None and found[0]() is cls:
        return found[1]
    form = _find_form(cls)
    _keep(cls, form)
    return form


def _keep(cls: type, form: Form | None) -> None:
    key = id(cls)
    _forms[key] = (weakref.ref(cls, lambda _: _forms.pop(key, None)), form)


def register(
    cls: type, flatten: Callable[[Any], tuple[Any, Iterable[Any]]], unflatten: Callable[[Any, tuple[Any, ...]], Any]
) -> type:
    """Make the instances of a class containers. Returns the class. (Subclasses are registered for themselves.)

    flatten(instance) -> (metadata, children): metadata is comparable by `==` and hashable, and part of a trace's key;
    the children may be containers. unflatten(metadata, children) -> an instance. The order is that of TensorFlow's
    `__tf_flatten__` and `__tf_unflatten__`, which a class may define instead. Raises TypeError for what is no class,
    ValueError for one that is a container already.
    """
    if not isinstance(cls, type):
        raise ArgumentError(f"register: expected a class, got {cls!r}")
    if form_of(cls) is not None:
        raise ArgumentError(f"register: {cls.__qualname__} is a container already")
    _keep(cls, _custom(flatten, unflatten))
    return cls


def _custom(flatten: Callable[[Any], Any], unflatten: Callable[[Any, Any], Any]) -> Form:
    return Form(
        "custom",
        lambda value: tuple(flatten(value)[1]),
        lambda value: tuple(range(len(tuple(flatten(value)[1])))),
        lambda value: flatten(value)[0],
        lambda value, children: unflatten(flatten(value)[0], tuple(children)),
    )


def _find_form(cls: type) -> Form | None:
    if hasattr(cls, "__graphflow_leaf__") or hasattr(cls, "as_list") or issubclass(cls, type):
        return None  # a TensorShape (as_list) is one value
    if cls.__module__.split(".")[0] == "graphflow" and not hasattr(cls, "_fields"):
        return None  # but its named tuples (top_k's) are structures
    if hasattr(cls, "__tf_flatten__") and hasattr(cls, "__tf_unflatten__"):
        return _custom(lambda value: value.__tf_flatten__(), cls.__tf_unflatten__)
    if issubclass(cls, Mapping):
        return _MAPPING
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return _NAMED_TUPLE
    if issubclass(cls, (list, tuple, collections.deque)):
        return _SEQUENCE
    if dataclasses.is_dataclass(cls):
        return _record([(f.name, f.metadata) for f in dataclasses.fields(cls)])
    if hasattr(cls, "__attrs_attrs__"):
        return _record([(a.name, a.metadata) for a in cls.__attrs_attrs__])
    if issubclass(cls, collections.abc.MappingView) and issubclass(cls, collections.abc.Iterable):
        return _VIEW
    if issubclass(cls, collections.abc.Sequence) and _is_users(cls):
        return _SEQUENCE
    return None


def _is_users(cls: type) -> bool:
    """A class written in Python, not derived from a string or another built-in leaf, or one of collections'."""
    leaves = (str, bytes, bytearray, memoryview, range)
    return not issubclass(cls, leaves) and bool(cls.__flags__ & 1 << 9) and cls.__module__ != "array"


# The forms ------------------------------------------------------------------------------------------------------------
def _positions(value: Any) -> tuple[int, ...]:
    return tuple(range(len(value)))


def _nothing(value: Any) -> None:
    return None


def _rebuild_mapping(container: Any, children: Iterable[Any]) -> Any:
    values = dict(zip(sorted_keys(container), children, strict=True))
    items = {k: values[k] for k in container}
    if type(container) is dict:
        return items
    if isinstance(container, collections.defaultdict) and type(container) is collections.defaultdict:
        return collections.defaultdict(container.default_factory, items)
    if isinstance(container, dict) and getattr(container, "__dict__", None):  # with a state of its own
        return _refilled(container, items)
    try:
        return type(container)(items)
    except TypeError:
        return _refilled(container, items)


def _refilled(container: Any, items: dict[Any, Any]) -> Any:
    """A copy of the mapping with other values."""
    if not isinstance(container, collections.abc.MutableMapping):
        raise _cannot(container)
    twin = copy.copy(container)
    for key, value in items.items():
        twin[key] = value
    return twin


def _rebuild_sequence(container: Any, children: Iterable[Any]) -> Any:
    if isinstance(container, collections.deque):
        return type(container)(children, container.maxlen)
    try:
        return type(container)(list(children))
    except TypeError:
        raise _cannot(container) from None


def _cannot(container: Any) -> ArgumentError:
    name = type(container).__qualname__
    return ArgumentError(
        f"{name} cannot be made again from its items: its constructor takes something else; "
        f"gf.nest.register({name}, flatten, unflatten) says how"
    )


def _record(fields: list[tuple[str, Mapping[Any, Any]]]) -> Form:
    names = tuple(name for name, metadata in fields if not metadata.get("static"))
    static = tuple(name for name, metadata in fields if metadata.get("static"))

    def children(value: Any) -> Iterable[Any]:
        return [getattr(value, name) for name in names]

    def metadata(value: Any) -> Any:
        return tuple((name, getattr(value, name)) for name in static)

    def rebuild(container: Any, parts: Iterable[Any]) -> Any:
        twin = _twin(container)
        for name, child in zip(names, parts, strict=True):
            object.__setattr__(twin, name, child)  # frozen ones too
        return twin

    return Form("record", children, lambda _: names, metadata if static else _nothing, rebuild)


def _twin(value: Any) -> Any:
    """A shallow copy without running any code of the class (`__init__`, `__post_init__`, `__setattr__`)."""
    cls = type(value)
    twin = object.__new__(cls)
    if hasattr(value, "__dict__"):
        twin.__dict__.update(value.__dict__)
    for ancestor in cls.__mro__:
        slots = vars(ancestor).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name in ("__dict__", "__weakref__"):
                continue
            private = name.startswith("__") and not name.endswith("__")
            real = f"_{ancestor.__name__.lstrip('_')}{name}" if private else name
            if hasattr(value, real):
                object.__setattr__(twin, real, getattr(value, real))
    return twin


_MAPPING = Form(
    "mapping",
    lambda value: [value[k] for k in sorted_keys(value)],
    lambda value: tuple(sorted_keys(value)),
    _nothing,
    _rebuild_mapping,
)
_NAMED_TUPLE = Form(
    "sequence",
    lambda value: value,
    lambda value: tuple(value._fields),
    _nothing,
    lambda value, children: type(value)(*children),
)
_SEQUENCE = Form("sequence", lambda value: value, _positions, _nothing, _rebuild_sequence)
_VIEW = Form("sequence", list, _positions, _nothing, lambda value, children: list(children))


# What the rest uses ---------------------------------------------------------------------------------------------------
def is_nested(seq: Any) -> bool:
    """Is it a container this module looks into?"""
    return form_of(type(seq)) is not None


def _form(container: Any) -> Form:
    form = form_of(type(container))
    if form is None:
        raise ArgumentError(f"{short(container)} is no container")
    return form


def children_of(value: Any) -> Iterable[Any]:
    """The direct children of a container, in order: items, values by sorted key, fields."""
    return _form(value).children(value)


def labels_of(value: Any) -> tuple[Any, ...]:
    """What the children are called, in the same order: keys, field names or positions."""
    return _form(value).labels(value)


def metadata_of(value: Any) -> Any:
    """What belongs to the structure and is not a leaf: a dataclass's static fields, a registered type's metadata."""
    return _form(value).metadata(value)


def sorted_keys(mapping: Mapping[Any, Any]) -> list[Any]:
    """The keys in the order of the leaves: sorted; where they are of several types, by type name first."""
    keys = list(mapping)
    if all(type(key) is str for key in keys) or all(isinstance(key, (int, float)) for key in keys):
        return sorted(keys)
    return sorted(keys, key=_key_order)


def _key_order(key: Any) -> tuple[str, Any]:
    return (type(key).__name__, key) if isinstance(key, (str, int, float)) else (type(key).__name__, repr(key))


def flatten(structure: Any) -> list[Any]:
    """The leaves, in order (dictionaries by sorted key, as in TensorFlow)."""
    form = form_of(type(structure))
    if form is None:
        return [structure]
    leaves: list[Any] = []
    for child in form.children(structure):
        leaves.extend(flatten(child)) if is_nested(child) else leaves.append(child)
    return leaves


def map_structure(function: Callable[..., Any], *structures: Any) -> Any:
    """Apply function to corresponding leaves; the result has the first structure's form."""
    first = structures[0]
    form = form_of(type(first))
    if form is None:
        return function(*structures)
    for other in structures[1:]:
        _assert_same_level(first, other)
    children = [list(children_of(s)) for s in structures]
    return form.rebuild(first, [map_structure(function, *parts) for parts in zip(*children, strict=True)])


def rebuild(container: Any, children: Iterable[Any]) -> Any:
    """A container like the given one with other children (in the order of `children_of`)."""
    return _form(container).rebuild(container, children)


def pack_sequence_as(structure: Any, flat_sequence: Iterable[Any]) -> Any:
    """The leaves of flat_sequence in the form of `structure`. Raises ValueError if the counts differ."""
    leaves = list(flat_sequence)
    wanted = len(flatten(structure))
    if len(leaves) != wanted:
        raise ArgumentError(f"pack_sequence_as: the structure has {wanted} leaves, the sequence {len(leaves)}")
    iterator = iter(leaves)
    return map_structure(lambda _: next(iterator), structure)


def assert_same_structure(a: Any, b: Any, check_types: bool = True) -> None:
    """Raises ValueError where the two structures differ in nesting, length or keys, and, if check_types, TypeError
    where they differ in type (any two mappings count as one type, and so do any two lists, as in TensorFlow)."""
    _assert_same_level(a, b)
    form = form_of(type(a))
    if form is None:
        return
    if check_types and not _same_type(a, b):
        raise ArgumentError(f"structures differ in type: {type(a).__name__} and {type(b).__name__}")
    if check_types and form.metadata(a) != metadata_of(b):
        raise ArgumentError(
            f"structures differ in what is static: {short(form.metadata(a))} and {short(metadata_of(b))}"
        )
    for x, y in zip(children_of(a), children_of(b), strict=True):
        assert_same_structure(x, y, check_types)


def _same_type(a: Any, b: Any) -> bool:
    if type(a) is type(b) or isinstance(a, list) and isinstance(b, list):
        return True
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return True
    fields = getattr(a, "_fields", None)  # two named tuples of one name and the same fields are one type
    return (
        isinstance(a, tuple)
        and fields is not None
        and fields == getattr(b, "_fields", None)
        and (type(a).__name__ == type(b).__name__)
    )


def _assert_same_level(a: Any, b: Any) -> None:
    """Raises ValueError where two structures differ in kind, length or keys here."""
    if is_nested(a) != is_nested(b) or isinstance(a, Mapping) != isinstance(b, Mapping):
        raise ArgumentError(f"structures differ: {short(a)} and {short(b)}")
    if is_nested(a) and (
        len(list(children_of(a))) != len(list(children_of(b))) or isinstance(a, Mapping) and set(a) != set(b)
    ):
        raise ArgumentError(f"structures differ in size or keys: {short(a)} and {short(b)}")


def short(value: Any) -> str:
    """A structure's text for messages."""
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
