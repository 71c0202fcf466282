"""Signatures: specs, canonical arguments and the keys by which traces are found."""

from __future__ import annotations

import dataclasses
import inspect
import types
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..dtypes import DType, as_dtype, float32
from ..errors import GraphflowError, SignatureError
from ..ir.dims import Dim, SymbolicDim, symbol
from ..ir.types import TensorType
from ..tensor import Tensor, TensorLike, TensorShape, convert_to_tensor
from ..tree import children_of, is_nested, rebuild, sorted_keys

__all__ = ["Arguments", "TensorSpec", "argument_key", "canonical_arguments", "spec_types"]


class TensorSpec:
    """dtype and shape of a tensor argument; None extents may differ from call to call."""

    def __init__(self, shape: Any = None, dtype: Any = float32, name: str | None = None) -> None:
        self._shape = None if shape is None else TensorShape(d if d is None else int(d) for d in shape)
        self.dtype: DType = as_dtype(dtype)
        self.name = name

    @property
    def shape(self) -> Any:
        return self._shape

    @classmethod
    def from_tensor(cls, tensor: Any, name: str | None = None) -> TensorSpec:
        return cls(tensor.shape, tensor.dtype, name)

    def is_compatible_with(self, value: Any) -> bool:
        if value.dtype is not self.dtype or self._shape is None:
            return value.dtype is self.dtype
        dims = tuple(value.dims)
        return len(dims) == len(self._shape) and all(
            a is None or a == b for a, b in zip(self._shape, dims, strict=True)
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorSpec) and self._shape == other._shape and self.dtype is other.dtype

    def __hash__(self) -> int:
        return hash((tuple(self._shape or ()), self.dtype))

    def __repr__(self) -> str:
        shape = None if self._shape is None else tuple(self._shape)
        return f"TensorSpec(shape={shape}, dtype=gf.{self.dtype.name}, name={self.name!r})"


@dataclasses.dataclass
class Arguments:
    """A call's arguments in canonical order, their leaves' key (without shapes) and the tensors and variables among
    them."""

    values: tuple[Any, ...]
    kwargs: dict[str, Any]
    key: Any
    tensors: list[Tensor]
    variables: list[Any]
    names: list[str]
    by_value: list[Any]
    leaf_keys: list[tuple[str, Any]]

    @property
    def shapes(self) -> tuple[tuple[Dim, ...], ...]:
        return tuple(t.dims for t in self.tensors)

    @property
    def full_key(self) -> Any:
        return self.key, self.shapes


def canonical_arguments(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str
) -> tuple[tuple[Any, ...], dict[str, Any], list[str]]:
    """(positional values with defaults, keyword-only values, names of the positional ones). Raises SignatureError for a
    call that does not fit."""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        problem = SignatureError(
            f"{name}: {error}; the function is {name}{signature}, the call has {len(args)} "
            f"positional "
            f"arguments and the keywords {sorted(kwargs)}"
        )
        problem.hint = "pass what the signature asks for"
        raise problem from None
    bound.apply_defaults()
    values: list[Any] = []
    names: list[str] = []
    keywords: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            values.extend(bound.arguments[parameter.name])
            names.extend(f"{parameter.name}_{k}" for k in range(len(bound.arguments[parameter.name])))
        elif parameter.kind is parameter.VAR_KEYWORD:
            keywords.update(bound.arguments[parameter.name])
        elif parameter.kind is parameter.KEYWORD_ONLY:
            keywords[parameter.name] = bound.arguments[parameter.name]
        else:
            values.append(bound.arguments[parameter.name])
            names.append(parameter.name)
    return tuple(values), keywords, names


def analyse_arguments(
    values: tuple[Any, ...], keywords: dict[str, Any], names: list[str], instance: bool = False
) -> Arguments:
    """Convert NumPy leaves to tensors and compute the key. instance: the first value is the object a method is bound
    to."""
    tensors: list[Tensor] = []
    variables: list[Any] = []
    leaf_names: list[str] = []
    by_value: list[Any] = []
    leaf_keys: list[tuple[str, Any]] = []

    def visit(value: Any, name: str) -> tuple[Any, Any]:
        """(value with NumPy arrays converted, key); notes the leaves' keys for messages."""
        found = look(value, name)
        if not is_nested(value):
            leaf_keys.append((name, found[1]))
        return found

    def look(value: Any, name: str) -> tuple[Any, Any]:
        if isinstance(value, (np.ndarray, np.generic)):
            value = convert_to_tensor(value)
        if isinstance(value, Tensor):
            value.require_usable()
            tensors.append(value)
            leaf_names.append(name)
            return value, ("T", value.dtype.short, len(value.dims))
        if isinstance(value, TensorLike):
            for k, other in enumerate(variables):
                if other is value:
                    return value, ("V", k)
            variables.append(value)
            return value, ("V", value.dtype.short, value.dims, value.trainable)  # type: ignore[attr-defined]
        if isinstance(value, TensorSpec):
            return value, ("S", value)
        if not is_nested(value):
            return value, argument_key(value, by_value)
        old = list(children_of(value))
        labels: tuple[Any, ...] = tuple(range(len(old)))
        if isinstance(value, Mapping):
            labels = tuple(sorted_keys(value))
        elif not isinstance(value, (list, tuple)):
            labels = tuple(f.name for f in dataclasses.fields(value))
        parts = [visit(child, f"{name}_{label}") for child, label in zip(old, labels, strict=True)]
        changed = any(new is not child for (new, _), child in zip(parts, old, strict=True))
        rebuilt = rebuild(value, [new for new, _ in parts]) if changed else value
        by_value.append(value)
        return rebuilt, (
            type(value),
            labels if isinstance(value, Mapping) else len(labels),
            tuple(key for _, key in parts),
        )

    visited = []
    for position, (value, name) in enumerate(zip(values, names, strict=True)):
        visited.append((value, ObjectKey(value)) if instance and not position else visit(value, name))
    keyed = {k: visit(v, k) for k, v in sorted(keywords.items())}
    key = (tuple(k for _, k in visited), (None, *(part for n, (_, k) in keyed.items() for part in (n, k))))
    return Arguments(
        tuple(v for v, _ in visited),
        {n: v for n, (v, _) in keyed.items()},
        key,
        tensors,
        variables,
        leaf_names,
        by_value,
        leaf_keys,
    )


def key_difference(old: Any, new: Any, leaf_keys: list[tuple[str, Any]]) -> str:
    """What changed between two calls' keys, in words. leaf_keys: the new call's leaves with their names."""
    before, after = list(_leaves(old)), list(_leaves(new))
    if len(before) == len(after) == len(leaf_keys):
        ordered = dict(zip(map(id, after), (name for name, _ in leaf_keys), strict=True))
        for was, now in zip(before, after, strict=True):
            if was != now:
                name = ordered[id(now)]
                return f"argument '{name}' changed from {_key_text(was)} to {_key_text(now)}"
    return (
        (f"the arguments' structure changed: {len(before)} leaves became {len(after)}")
        if len(before) != len(after)
        else ("the arguments' structure changed")
    )


_TAGS = ("T", "V", "S")


def _leaves(key: Any) -> Iterator[Any]:
    """The leaf keys inside a call's key."""
    if (
        isinstance(key, ObjectKey)
        or isinstance(key, tuple)
        and key
        and (key[0] in _TAGS and isinstance(key[0], str) or (isinstance(key[0], type) and len(key) == 2))
    ):
        yield key
    elif isinstance(key, tuple):
        for part in key[2] if len(key) == 3 and isinstance(key[0], type) else key:
            if isinstance(part, (tuple, ObjectKey)):
                yield from _leaves(part)


def _key_text(key: Any) -> str:
    if isinstance(key, ObjectKey):
        return repr(key)
    if key[0] == "T":
        return f"{key[1]} of rank {key[2]}"
    if key[0] == "V":
        return "a variable" if len(key) == 4 else "a variable that is passed twice"
    if key[0] == "S":
        return str(key[1])
    value = float.fromhex(key[1]) if key[0] is float else key[1]
    return str(value) if key[0] in (range, slice) else repr(value)[:60]


class ObjectKey:
    """An object as a key, by identity, without keeping it alive where that is possible. Equal only while the object
    lives."""

    __slots__ = ("_get", "_hash", "_text")

    def __init__(self, value: Any) -> None:
        self._hash = id(value)
        self._text = f"<{type(value).__name__}>"
        try:
            self._get: Any = weakref.ref(value)
        except TypeError:
            self._get = lambda: value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ObjectKey):
            return False
        mine = self._get()
        return mine is not None and mine is other._get()

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return self._text


def argument_key(value: Any, by_value: list[Any] | None = None) -> Any:
    """The key of a Python argument: by type and value; objects by identity. Objects with an `__eq__` and `__hash__` of
    their own go by value, and are added to by_value."""
    if isinstance(value, float):
        return float, value.hex() if value == value else "nan"
    if isinstance(value, complex):
        return complex, repr(value)
    if isinstance(value, (bool, int, str, bytes, type(None), DType)):
        return type(value), value
    if isinstance(value, (range, slice)) or value is Ellipsis:
        return type(value), repr(value)
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)) or type(value).__hash__ in (
        None,
        object.__hash__,
    ):
        return ObjectKey(value)
    if by_value is not None:
        by_value.append(value)
    return type(value), value


def spec_types(spec: TensorSpec, counter: list[int]) -> TensorType:
    """A TensorType for a spec; each None gets a symbol of its own."""
    if spec.shape is None:
        raise GraphflowError(
            "a TensorSpec without a rank cannot be traced; give a shape, with None for extents that vary"
        )
    dims: list[Dim] = []
    for extent in spec.shape:
        if extent is None:
            dims.append(symbol(f"s{counter[0]}"))
            counter[0] += 1
        else:
            dims.append(extent)
    return TensorType(spec.dtype, tuple(dims))


def bind_symbols(types: list[TensorType], shapes: tuple[tuple[int, ...], ...]) -> dict[str, int] | None:
    """Values of the symbols for these shapes, or None where they do not fit."""
    extents: dict[str, int] = {}
    for type_, shape in zip(types, shapes, strict=True):
        if len(type_.shape) != len(shape):
            return None
        for dim, extent in zip(type_.shape, shape, strict=True):
            if isinstance(dim, SymbolicDim):
                if extents.setdefault(dim.text, extent) != extent:
                    return None
            elif dim != extent:
                return None
    return extents
