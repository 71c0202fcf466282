"""Signatures: specs, canonical arguments and the keys by which traces are found."""

from __future__ import annotations

import array
import collections
import dataclasses
import functools
import inspect
import types
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..dtypes import DType, as_dtype, float32
from ..errors import GraphflowError, SignatureError
from ..ir.dims import Dim, SymbolicDim, symbol
from ..ir.types import TensorType
from ..tensor import Tensor, TensorLike, TensorShape, convert_to_tensor, is_tensor
from ..tree import children_of, is_nested, labels_of, map_structure, metadata_of, rebuild
from .watching import reporting_hash

__all__ = [
    "Arguments",
    "CallForm",
    "ObjectKey",
    "TensorSpec",
    "ValueKey",
    "analyse_arguments",
    "argument_key",
    "bind_symbols",
    "canonical_arguments",
    "conform",
    "spec_types",
]


class TensorSpec:
    """dtype and shape of a tensor argument; None extents may differ from call to call."""

    def __init__(self, shape: Any = None, dtype: Any = float32, name: str | None = None) -> None:
        self._shape = None if shape is None else TensorShape(d if d is None else int(d) for d in shape)
        self.dtype: DType = as_dtype(dtype)
        self.name = name

    @property
    def shape(self) -> Any:
        """The TensorShape that is asked for."""
        return self._shape

    @classmethod
    def from_tensor(cls, tensor: Any, name: str | None = None) -> TensorSpec:
        """The spec of a tensor: its own shape and dtype."""
        return cls(tensor.shape, tensor.dtype, name)

    def is_compatible_with(self, value: Any) -> bool:
        """Has this tensor or spec the dtype, and a shape that fits?"""
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
    parameters: list[str]
    is_method: bool

    @property
    def shapes(self) -> tuple[tuple[Dim, ...], ...]:
        return tuple(t.dims for t in self.tensors)

    @property
    def full_key(self) -> Any:
        return self.key, self.shapes


class CallForm:
    """How the arguments of a function's calls are brought into canonical order. The common forms are bound here, in
    about a microsecond; inspect.Signature binds the others, and finds the words for what does not fit."""

    def __init__(self, function: Any) -> None:
        self.signature = inspect.signature(function)
        #: what the defaults came from: when it is replaced, the form is made anew
        self.defaults = defaults_of(function)
        parameters = list(self.signature.parameters.values())
        plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        only = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        self._simple = len(plain) + len(only) == len(parameters)
        self.names = [p.name for p in plain]
        self._filled = [p.default for p in plain]
        self._positional_only = {p.name for p in plain if p.kind is p.POSITIONAL_ONLY}
        self._only = {p.name: p.default for p in only}

    def canonical(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str
    ) -> tuple[tuple[Any, ...], dict[str, Any], list[str]]:
        """See canonical_arguments."""
        if not self._simple or len(args) > len(self.names):
            return canonical_arguments(self.signature, args, kwargs, name)
        values = [*args, *self._filled[len(args) :]]
        keywords = dict(self._only)
        for key, value in kwargs.items():
            if key in keywords:
                keywords[key] = value
                continue
            place = self.names.index(key) if key in self.names else -1
            if place < len(args) or key in self._positional_only:
                return canonical_arguments(self.signature, args, kwargs, name)
            values[place] = value
        empty = inspect.Parameter.empty
        if any(v is empty for v in values) or any(v is empty for v in keywords.values()):
            return canonical_arguments(self.signature, args, kwargs, name)
        return tuple(values), keywords, self.names


def defaults_of(function: Any) -> Any:
    """The default values that a function object holds now."""
    return getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None)


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


def conform(
    values: tuple[Any, ...], names: list[str], input_signature: tuple[Any, ...], first: int, function: str
) -> tuple[Any, ...]:
    """Arguments as input_signature wants them, from the one numbered `first` on. Raises SignatureError naming
    function, argument, spec and value."""
    given = values[first : first + len(input_signature)]
    if len(given) < len(input_signature):
        raise SignatureError(f"{function}: input_signature has {len(input_signature)} arguments, the call {len(given)}")

    def check(spec: Any, value: Any, name: str) -> Any:
        if not isinstance(spec, TensorSpec):
            if not is_nested(spec):
                return value
            try:
                return map_structure(lambda s, v: check(s, v, name), spec, value)
            except ValueError as error:
                if isinstance(error, GraphflowError):
                    raise
                raise SignatureError(
                    f"{function}: argument '{name}' must have the structure {spec!r}, got {value!r}"
                ) from None
        try:
            tensor = value if is_tensor(value) else _as_spec(value, spec)
        except GraphflowError as error:
            raise SignatureError(
                f"{function}: argument '{name}' must be {spec}, got {value!r}: {error.args[0]}"
            ) from None
        if not spec.is_compatible_with(tensor):
            problem = SignatureError(f"{function}: argument '{name}' must be {spec}, got {tensor.type}")
            problem.hint = "cast or reshape the argument, or widen input_signature (None extents vary)"
            raise problem
        return tensor

    conformed = [check(s, v, n) for s, v, n in zip(input_signature, given, names[first:], strict=False)]
    return (*values[:first], *conformed, *values[first + len(conformed) :])


def _as_spec(value: Any, spec: TensorSpec) -> Any:
    """A NumPy array or Python value as a tensor of the spec's dtype; float64 arrays narrow, as in TensorFlow."""
    return convert_to_tensor(value, spec.dtype)


class _Leaves:
    """What is found in a call's arguments. A class, and not functions inside a function: those would be a reference
    cycle that keeps the tensors of every slow call until the next garbage collection."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.variables: list[Any] = []
        self.names: list[str] = []
        self.by_value: list[Any] = []
        self.keys: list[tuple[str, Any]] = []

    def visit(self, value: Any, name: str) -> tuple[Any, Any]:
        """(value with NumPy arrays converted, key); notes the leaves' keys for messages."""
        if is_nested(value):
            return self._container(value, name)
        found = self._leaf(value, name)
        self.keys.append((name, found[1]))
        return found

    def _leaf(self, value: Any, name: str) -> tuple[Any, Any]:
        if isinstance(value, (np.ndarray, np.generic)):
            value = convert_to_tensor(value)
        if isinstance(value, Tensor):
            value.require_usable()
            self.tensors.append(value)
            self.names.append(name)
            return value, ("T", value.dtype.short, len(value.dims))
        if isinstance(value, TensorLike):
            for k, other in enumerate(self.variables):
                if other is value:
                    return value, ("V", k)
            self.variables.append(value)
            return value, ("V", value.dtype.short, value.dims, value.trainable)  # type: ignore[attr-defined]
        if isinstance(value, TensorSpec):
            return value, ("S", value)
        return value, argument_key(value, self.by_value)

    def _container(self, value: Any, name: str) -> tuple[Any, Any]:
        old, labels = list(children_of(value)), labels_of(value)
        parts = [self.visit(child, f"{name}_{label}") for child, label in zip(old, labels, strict=True)]
        changed = any(new is not child for (new, _), child in zip(parts, old, strict=True))
        rebuilt = rebuild(value, [new for new, _ in parts]) if changed else value
        self.by_value.append(value)
        return rebuilt, (
            type(value),
            (labels if isinstance(value, Mapping) else len(labels), metadata_of(value)),
            tuple(key for _, key in parts),
        )


def analyse_arguments(
    values: tuple[Any, ...], keywords: dict[str, Any], names: list[str], instance: bool = False
) -> Arguments:
    """Convert NumPy leaves to tensors and compute the key. instance: the first value is the object a method is bound
    to."""
    leaves = _Leaves()
    visited = []
    for position, (value, name) in enumerate(zip(values, names, strict=True)):
        visited.append((value, ObjectKey(value)) if instance and not position else leaves.visit(value, name))
    keyed = {k: leaves.visit(v, k) for k, v in sorted(keywords.items())}
    key = (tuple(k for _, k in visited), (None, *(part for n, (_, k) in keyed.items() for part in (n, k))))
    return Arguments(
        tuple(v for v, _ in visited),
        {n: v for n, (v, _) in keyed.items()},
        key,
        leaves.tensors,
        leaves.variables,
        leaves.names,
        leaves.by_value,
        leaves.keys,
        names,
        instance,
    )


class ObjectKey:
    """An object as a key, by identity, without keeping it alive where that is possible. Equal only while the object
    lives."""

    __slots__ = ("_get", "_hash", "_text")

    def __init__(self, value: Any) -> None:
        self._hash = id(value)
        self._text = f"<{type(value).__name__}>"
        if isinstance(value, (types.FunctionType, type)):
            self._text = f"<{value.__qualname__}>"
        try:
            self._get: Any = weakref.ref(value)
        except TypeError:
            self._get = lambda: value

    @property
    def is_dead(self) -> bool:
        """The object is gone: no call can have this key again."""
        return self._get() is None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ObjectKey):
            return False
        mine = self._get()
        return mine is not None and mine is other._get()

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return self._text


class ValueKey:
    """An object with an `__eq__` and `__hash__` of its own as a key: by type and value, with the hash it had when the
    key was made. Where its `__eq__` gives no truth value (an array, an exception) only the same object is equal."""

    __slots__ = ("_hash", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self._hash = hash(value)

    def __reduce__(self) -> tuple[Any, ...]:
        return ValueKey, (self.value,)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ValueKey) or self._hash != other._hash or type(self.value) is not type(other.value):
            return False
        if self.value is other.value:
            return True
        try:
            return bool(self.value == other.value)
        except Exception:  # the user's own __eq__ may do anything; no answer is not a match
            return False

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return repr(self.value)


#: mutable values whose content is part of the key (lists, tuples, dictionaries and dataclasses are arguments' structure)
CONTENT_TYPES = (set, frozenset, collections.deque, bytearray, array.array, types.SimpleNamespace)


def _content_key(value: Any, by_value: list[Any] | None, depth: int) -> Any:
    if isinstance(value, (bytearray, array.array)):
        return getattr(value, "typecode", ""), bytes(value)
    if isinstance(value, types.SimpleNamespace):
        return tuple(vars(value)), tuple(argument_key(v, by_value, depth) for v in vars(value).values())
    parts = [argument_key(v, by_value, depth) for v in value]
    return frozenset(parts) if isinstance(value, (set, frozenset)) else tuple(parts)


def argument_key(value: Any, by_value: list[Any] | None = None, depth: int = 6) -> Any:
    """The key of a Python argument: by type and value; objects by identity. Objects with an `__eq__` and `__hash__` of
    their own go by value, and are added to by_value. depth: how far into the content of sets and the like."""
    if isinstance(value, float):
        return type(value), value.hex() if value == value else "nan"
    if isinstance(value, complex):
        return type(value), repr(value)
    if isinstance(value, (bool, int, str, bytes, type(None), DType)):
        return type(value), value
    if isinstance(value, (range, slice)) or value is Ellipsis:
        return type(value), repr(value)
    if isinstance(value, (list, tuple, dict)) and depth:  # inside one of CONTENT_TYPES
        items = value.values() if isinstance(value, dict) else value
        labels = tuple(value) if isinstance(value, dict) else len(value)
        return type(value), (labels, tuple(argument_key(v, by_value, depth - 1) for v in items))
    if isinstance(value, types.MethodType):
        return types.MethodType, (ObjectKey(value.__self__), ObjectKey(value.__func__))
    if isinstance(value, types.BuiltinFunctionType):
        return types.BuiltinFunctionType, (ObjectKey(value.__self__), value.__qualname__)
    if isinstance(value, CONTENT_TYPES) and depth:
        return type(value), _content_key(value, by_value, depth - 1)
    if type(value) is functools.partial:
        parts = (value.func, *value.args, *value.keywords.values())
        return functools.partial, (tuple(argument_key(p, by_value, depth) for p in parts), tuple(value.keywords))
    if isinstance(value, (type, types.FunctionType)) or type(value).__hash__ in (
        None,
        object.__hash__,
        reporting_hash,
    ):
        return ObjectKey(value)
    try:
        key = ValueKey(value)
    except Exception:  # a __hash__ that raises (a tuple-like object that holds a list): known by identity
        return ObjectKey(value)
    if by_value is not None:
        by_value.append(value)
    return type(value), key


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
