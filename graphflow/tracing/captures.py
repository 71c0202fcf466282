"""What a function captures: the global names, closure cells and attribute chains that its code (and the functions it calls) reads.

Their values are guarded: when one changes, the function is traced again. Found by reading bytecode: `LOAD_GLOBAL a; LOAD_ATTR b` is the
chain `a.b`. A chain that the code also writes is not guarded (a counter would retrace forever).
"""
from __future__ import annotations

import dis
import sysconfig
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from ..dtypes import DType
from ..tensor import TensorLike

__all__ = ["Guard", "find_guards"]

MISSING = object()
MOST_GUARDS = 200
MOST_ITEMS = 64
MOST_BYTES = 4096
_LIBRARIES = tuple(p for p in {sysconfig.get_paths()[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")})
_PLAIN = (bool, int, float, complex, str, bytes, type(None), Enum, DType)


@dataclass(frozen=True)
class Guard:
    """A captured value: how it is called in messages, the expression that gets it now (over `environment` and `arguments`), what it
    was, and a copy to compare mutable values with (MISSING: identity decides)."""

    name: str
    expression: str
    environment: dict[str, Any]
    value: Any
    snapshot: Any

    def get(self, arguments: tuple[Any, ...]) -> Any:
        return evaluate(self.expression, self.environment, arguments)

    def holds(self, arguments: tuple[Any, ...]) -> bool:
        now = self.get(arguments)
        return now is self.value if self.snapshot is MISSING else same(now, self.snapshot)

    def describe(self, arguments: tuple[Any, ...]) -> str:
        return f"captured {self.name} changed from {short(self.snapshot if self.snapshot is not MISSING else self.value)} to {short(self.get(arguments))}"


def evaluate(expression: str, environment: dict[str, Any], arguments: tuple[Any, ...]) -> Any:
    """The captured value now; MISSING where a name or attribute is gone."""
    try:
        return eval(expression, environment, {"arguments": arguments})
    except (AttributeError, KeyError, ValueError, IndexError):
        return MISSING


def short(value: Any) -> str:
    text = repr(value) if value is not MISSING else "nothing"
    return text if len(text) <= 60 else text[:57] + "..."


def snapshot_of(value: Any) -> Any:
    """A copy to compare with later, or MISSING where identity is the guard."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, np.ndarray):
        return value.copy() if value.nbytes <= MOST_BYTES else MISSING
    if isinstance(value, (list, tuple)) and len(value) <= MOST_ITEMS and type(value) in (list, tuple):
        return type(value)(snapshot_of_item(v) for v in value)
    if isinstance(value, dict) and len(value) <= MOST_ITEMS and type(value) is dict:
        return {k: snapshot_of_item(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)) and len(value) <= MOST_ITEMS and all(isinstance(v, _PLAIN) for v in value):
        return set(value)
    return MISSING


class _Same:
    """An item compared by identity inside a container's snapshot."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)


def snapshot_of_item(value: Any) -> Any:
    found = snapshot_of(value)
    return _Same(value) if found is MISSING else found


def same(now: Any, then: Any) -> bool:
    """Equal in type and value, floats bit for bit (NaN equals itself, 0.0 differs from -0.0)."""
    if now is then:
        return True
    if isinstance(then, _Same):
        return now is then.value
    if isinstance(then, set):
        return isinstance(now, (set, frozenset)) and now == then
    if type(now) is not type(then):
        return False
    if isinstance(then, float):
        return now == then and (now != 0 or str(now) == str(then)) or (now != now and then != then)
    if isinstance(then, np.ndarray):
        return now.dtype == then.dtype and now.shape == then.shape and now.tobytes() == then.tobytes()
    if isinstance(then, (list, tuple)):
        return len(now) == len(then) and all(same(a, b) for a, b in zip(now, then, strict=True))
    if isinstance(then, dict):
        return list(now) == list(then) and all(same(now[k], then[k]) for k in then)
    return bool(now == then)


def chains(code: types.CodeType) -> Iterator[tuple[str, str, tuple[str, ...], bool]]:
    """(kind, base name, attributes, is a store) for each name or attribute chain in the code; kind: global, cell or local."""
    kinds = {"LOAD_GLOBAL": "global", "LOAD_NAME": "global", "LOAD_DEREF": "cell", "LOAD_CLASSDEREF": "cell", "LOAD_FAST": "local",
             "LOAD_FAST_CHECK": "local", "LOAD_FAST_BORROW": "local"}  # fmt: skip
    stores = {"STORE_GLOBAL": "global", "STORE_DEREF": "cell"}
    current: tuple[str, str, tuple[str, ...]] | None = None
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name in ("CACHE", "EXTENDED_ARG", "PUSH_NULL", "NOT_TAKEN", "RESUME", "PRECALL"):
            continue
        if name in ("LOAD_ATTR", "LOAD_METHOD") and current is not None:
            current = (current[0], current[1], (*current[2], str(instruction.argval)))
            continue
        if name == "STORE_ATTR" and current is not None:
            yield current[0], current[1], (*current[2], str(instruction.argval)), True
            current = None
            continue
        if current is not None:
            yield (*current, False)
            current = None
        if name in kinds:
            current = (kinds[name], str(instruction.argval), ())
        elif name.startswith("LOAD_FAST_") and isinstance(instruction.argval, tuple):
            current = ("local", str(instruction.argval[-1]), ())
        elif name in stores:
            yield stores[name], str(instruction.argval), (), True
    if current is not None:
        yield (*current, False)


def find_guards(function: Callable[..., Any], parameters: list[str], arguments: tuple[Any, ...]) -> list[Guard]:
    """Guards for everything the function reads beyond its tensor arguments. parameters: names of the canonical arguments."""
    found: dict[Any, Guard] = {}
    seen: set[Any] = set()
    _collect(function, {n: k for k, n in enumerate(parameters)}, arguments, found, seen)
    return list(found.values())[:MOST_GUARDS]


def _collect(function: Any, positions: dict[str, int], arguments: tuple[Any, ...], found: dict[Any, Guard], seen: set[Any]) -> None:
    function = getattr(function, "__wrapped__", function) if not isinstance(function, types.FunctionType) else function
    if isinstance(function, types.MethodType):
        function = function.__func__
    if not isinstance(function, types.FunctionType) or function in seen or _is_library(function.__code__.co_filename):
        return
    seen.add(function)
    names = function.__globals__
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
    _collect_code(function.__code__, names, cells, positions, arguments, found, seen)


def _collect_code(code: types.CodeType, names: dict[str, Any], cells: dict[str, Any], positions: dict[str, int],
                  arguments: tuple[Any, ...], found: dict[Any, Guard], seen: set[Any]) -> None:  # fmt: skip
    every = list(chains(code))
    written = {(kind, base, path) for kind, base, path, store in every if store}
    for kind, base, path, store in every:
        if store or any((kind, base, path[:k]) in written for k in range(len(path) + 1)):
            continue
        if kind == "global" and base in names:
            own = _name("names", names)
            _chain(("global", id(names), base), f"global '{base}'", f"{own}[{base!r}]", {own: names}, path, arguments, found, seen)
        elif kind == "cell" and base in cells:
            own = _name("cell", cells[base])
            _chain(("cell", id(cells[base])), f"variable '{base}'", f"{own}.cell_contents", {own: cells[base]}, path, arguments, found, seen)
        elif kind == "local" and base in positions and path:
            position = positions[base]
            if position < len(arguments) and not isinstance(arguments[position], (TensorLike, np.ndarray)):
                _chain(("argument", position), f"argument '{base}'", f"arguments[{position}]", {}, path, arguments, found, seen)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            _collect_code(inner, names, cells, {}, arguments, found, seen)


def _name(kind: str, value: Any) -> str:
    return f"{kind}_{id(value)}"


def _chain(key: Any, name: str, expression: str, environment: dict[str, Any], path: tuple[str, ...], arguments: tuple[Any, ...],
           found: dict[Any, Guard], seen: set[Any]) -> None:  # fmt: skip
    value = evaluate(expression, environment, arguments)
    for attribute in path:
        if isinstance(value, TensorLike) or value is MISSING or _is_foreign(value):
            break
        if isinstance(value, types.ModuleType):
            if _is_library(getattr(value, "__file__", None) or ""):
                return
        elif not _is_plain_attribute(value, attribute):
            break
        elif key[0] != "argument":
            # The object itself must stay the same for its attribute to mean the same.
            found.setdefault(key, Guard(name, expression, environment, value, MISSING))
        key, name, expression = (key, attribute), f"{name[:-1]}.{attribute}'", f"{expression}.{attribute}"
        value = evaluate(expression, environment, arguments)
    if value is MISSING or isinstance(value, types.ModuleType) or key[0] == "argument" or key in found:
        return
    if isinstance(value, (types.FunctionType, types.MethodType)):
        if not _is_library((value.__func__ if isinstance(value, types.MethodType) else value).__code__.co_filename):
            if isinstance(value, types.FunctionType):
                found[key] = Guard(name, expression, environment, value, MISSING)
            _collect(value, {}, arguments, found, seen)
        return
    if isinstance(value, (types.BuiltinFunctionType, type)) or _is_foreign(value):
        return
    python_function = getattr(value, "python_function", None)
    if python_function is not None:
        _collect(python_function, {}, arguments, found, seen)
    found[key] = Guard(name, expression, environment, value, snapshot_of(value))


def _is_plain_attribute(value: Any, attribute: str) -> bool:
    """Is reading the attribute free of side effects (no property that computes)?"""
    found = getattr(type(value), attribute, None)
    return not isinstance(found, property)


def _is_foreign(value: Any) -> bool:
    """Objects of graphflow itself (functions, ops, tapes) are part of the program, not captured values."""
    module = type(value).__module__ or ""
    if isinstance(value, (TensorLike, DType)):
        return False
    return module.split(".")[0] == "graphflow" and not hasattr(value, "python_function")


def _is_library(file: str) -> bool:
    return file.startswith(_LIBRARIES) or file.startswith("<frozen") or "/graphflow/" in file and file.startswith(_PACKAGE)


_PACKAGE = __file__.rsplit("tracing", 1)[0]
