"""What a function captures: everything its result depends on beside its arguments.

Globals and closures are found by reading bytecode (`LOAD_GLOBAL a; LOAD_ATTR b` is the chain `a.b`), through the
functions that are called. Attributes of objects are seen when they are read: while the function is traced, the classes
of the objects it can reach report their attribute reads. Each value becomes a guard; one that the tracing itself
changed (a counter, a list appended to) does not, because it would make every call trace again, but is noted as a side
effect.
"""

from __future__ import annotations

import collections
import contextlib
import dis
import functools
import inspect
import itertools
import sys
import sysconfig
import threading
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..dtypes import DType
from ..tensor import TensorLike
from .guards import MISSING, Guard, Identity, is_known_by_identity_alone, reference_to, snapshot_of

__all__ = ["Captures"]

MOST_GUARDS = 200
MOST_OBJECTS = 4000
"""Objects looked at for classes whose attribute reads are watched."""
_LIBRARIES = tuple({sysconfig.get_paths()[k] for k in ("stdlib", "platstdlib", "purelib", "platlib")})
_PACKAGE = __file__.rsplit("tracing", 1)[0]
#: parts of graphflow whose objects hold settings that a user may change (an optimizer's learning rate)
_OPEN_PARTS = ("optimizers", "module", "nn", "train", "data")


class Captures:
    """The captures of one run of a function.

    captures = Captures(function, roots)
    with captures.recording(): run the function
    captures.finish()  ->  captures.guards, captures.changed
    """

    def __init__(self, function: Callable[..., Any], roots: Iterable[Any], by_value: Iterable[Any] = ()) -> None:
        """roots: the arguments. by_value: arguments known by value, whose attributes need no guard."""
        self.guards: list[Guard] = []
        self.changed: list[Guard] = []
        self.blind: list[Guard] = []
        self.dropped = 0
        self._found: dict[Any, Guard] = {}
        self._seen: set[Any] = set()
        self._late: list[Any] = []
        self._kept: dict[int, Any] = {id(v): v for v in by_value}
        self._read: set[tuple[int, str]] = set()
        self._own = set(self._kept)
        self._roots = [*roots, *_bound_values(function)]
        self._scan(function)

    # Globals and closures ---------------------------------------------------------------------------------------------
    def _scan(self, function: Any) -> None:
        """Guards for the globals and cells of a function and of those it calls."""
        function = _plain_function(function)
        if function is None or function in self._seen or _is_library(function.__code__.co_filename):
            return
        self._seen.add(function)
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
        for kind, base, path in chains(function.__code__):
            if kind == "global" and base in function.__globals__:
                names = function.__globals__
                self._follow(f"global '{base}'", "item", names, base, names[base], path)
            elif kind == "cell" and base in cells:
                try:
                    value = cells[base].cell_contents
                except ValueError:
                    value = MISSING
                self._follow(f"variable '{base}'", "cell", cells[base], None, value, path)

    def _follow(self, name: str, kind: str, owner: Any, key: Any, value: Any, path: tuple[str, ...]) -> None:
        """Guard the place, then along the chain while it leads through modules and classes."""
        for attribute in (*path, None):
            if value is MISSING or self._is_program(value):
                is_function = isinstance(value, types.FunctionType) and not _in_library(value)
                if is_function or _is_own(type(value)) and hasattr(value, "python_function"):
                    self._add(name, kind, owner, key, value)
                self._scan(value)
                return
            is_namespace = isinstance(value, (types.ModuleType, type))
            if not is_namespace or isinstance(value, type) and attribute is not None:
                self._add(name, kind, owner, key, value)
            self._visit_content(value)
            if attribute is None or not is_namespace or _is_library(getattr(value, "__file__", None) or ""):
                return
            found = inspect.getattr_static(value, attribute, MISSING)
            if isinstance(found, (staticmethod, classmethod)):
                self._scan(found.__func__)
                return
            name, kind, owner, key, value = (
                f"{name[:-1]}.{attribute}'",
                "attribute",
                value,
                attribute,
                getattr(value, attribute, MISSING),
            )

    def _is_program(self, value: Any) -> bool:
        """Functions, and graphflow's own objects, are part of the program; what they read is looked at instead."""
        if isinstance(
            value, (types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.BuiltinMethodType)
        ):
            return True
        return _is_own(type(value)) and not isinstance(value, (TensorLike, DType))

    def _visit_content(self, value: Any) -> None:
        """Functions inside containers and partial objects are called from there."""
        if isinstance(value, type):
            self._scan_class(value)
        elif isinstance(value, functools.partial):
            self._scan(value.func)
        elif isinstance(value, (list, tuple, dict)) and len(value) <= 64:
            for item in value.values() if isinstance(value, dict) else value:
                if isinstance(item, (types.FunctionType, types.MethodType, functools.partial)) or _is_own(type(item)):
                    self._scan(item)
        else:
            self._scan_class(type(value))

    def _scan_class(self, cls: type) -> None:
        """The special methods (`__call__`, `__getitem__` ...) of a user's class: they run without being looked up by
        name."""
        if cls in self._seen or not _is_watchable(cls):
            return
        self._seen.add(cls)
        for owner in cls.__mro__:
            for name, member in vars(owner).items():
                if name.startswith("__") and name.endswith("__") and isinstance(member, types.FunctionType):
                    self._scan(member)

    def _add(self, name: str, kind: str, owner: Any, key: Any, value: Any) -> None:
        place = (kind, id(owner), key)
        if place not in self._found:
            if len(self._found) >= MOST_GUARDS:
                self.dropped += 1
                return
            self._kept[id(owner)] = owner
            self._found[place] = Guard(
                name,
                kind,
                reference_to(owner) if kind in ("attribute", "method") else _strong(owner),
                key,
                snapshot_of(value),
            )

    # Attributes -------------------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Inside, attribute reads of the reachable objects of users' classes are recorded."""
        values = [guard.get() for guard in self._found.values()]
        classes = _reachable_classes([*self._roots, *values])
        with contextlib.ExitStack() as stack:
            for cls in classes:
                self._scan_class(cls)
                stack.enter_context(_watched(cls))
            token = _recording.set(self)
            try:
                yield
            finally:
                _recording.reset(token)

    def note(self, owner: Any, name: str, value: Any) -> None:
        """An attribute of `owner` was read as `value`. The reads that noting itself does are left out."""
        token = _recording.set(None)
        try:
            self._note(owner, name, value)
        finally:
            _recording.reset(token)

    def _note(self, owner: Any, name: str, value: Any) -> None:
        if (id(owner), name) in self._read or name.startswith("__") or id(owner) in self._own:
            return
        self._read.add((id(owner), name))
        self._kept[id(owner)] = owner  # until the run is over, so that no id is used twice
        cls = type(owner)
        static = inspect.getattr_static(cls, name, MISSING)
        in_instance = name in getattr(owner, "__dict__", ())
        if static is not MISSING and not in_instance and hasattr(type(static), "__get__"):
            if isinstance(static, (types.MemberDescriptorType, types.GetSetDescriptorType)):
                self._add(f"{_name_of(owner)}.{name}", "attribute", owner, name, value)
                return
            if isinstance(static, types.FunctionType) and not _is_library(static.__code__.co_filename):
                self._add(f"{_name_of(owner)}.{name}", "method", owner, name, static)
            for ancestor in cls.__mro__:  # methods and properties: what they read is seen; their code is looked at
                self._late.append(vars(ancestor).get(name))
            return
        if value is MISSING and hasattr(cls, "__getattr__"):
            return
        self._add(f"{_name_of(owner)}.{name}", "attribute", owner, name, value)
        self._late.append(value)

    def variables(self) -> set[int]:
        """Ids of the variables among the captured values."""
        found: set[int] = set()
        for guard in (*self.guards, *self.changed):
            found.update(id(v) for v in guard.then.objects() if isinstance(v, TensorLike))
        return found

    def finish(self) -> None:
        """After the run: sort the guards into those that hold and those the run itself changed."""
        for value in self._late:
            if isinstance(value, property):
                self._scan(value.fget)
            elif value is not None and value is not MISSING:
                self._scan(value)
                if isinstance(value, (list, tuple, dict, functools.partial)):
                    self._visit_content(value)
        for guard in self._found.values():
            (self.guards if guard.holds() else self.changed).append(guard)
            if isinstance(guard.then, Identity) and is_known_by_identity_alone(guard.get()):
                self.blind.append(guard)
        self._kept.clear()
        self._late.clear()
        self._roots.clear()


_recording: ContextVar[Captures | None] = ContextVar("graphflow_captures", default=None)
_patch_lock = threading.Lock()
_patched: dict[type, list[Any]] = {}  # class -> [how many runs watch it, its own __getattribute__ or MISSING]


@contextlib.contextmanager
def _watched(cls: type) -> Iterator[None]:
    """Reads of attributes of instances of the class are reported to the run that does them. Several threads may watch
    one class."""
    with _patch_lock:
        entry = _patched.get(cls)
        if entry is None:
            entry = _patched[cls] = [0, vars(cls).get("__getattribute__", MISSING)]
            try:
                cls.__getattribute__ = _reporting(cls.__getattribute__)  # type: ignore[method-assign,assignment,arg-type]
            except (TypeError, AttributeError):  # a metaclass forbids it: its attributes are not watched
                del _patched[cls]
                entry = None
        if entry is not None:
            entry[0] += 1
    try:
        yield
    finally:
        if entry is not None:
            with _patch_lock:
                entry[0] -= 1
                if not entry[0]:
                    del _patched[cls]
                    if entry[1] is MISSING:
                        del cls.__getattribute__
                    else:
                        cls.__getattribute__ = entry[1]  # type: ignore[method-assign]


def _reporting(inner: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    def __getattribute__(self: Any, name: str) -> Any:  # noqa: N807
        captures = _recording.get()
        if captures is None:
            return inner(self, name)
        try:
            value = inner(self, name)
        except AttributeError:
            captures.note(self, name, MISSING)
            raise
        captures.note(self, name, value)
        return value

    return __getattribute__


def _reachable_classes(roots: Iterable[Any]) -> list[type]:
    """The users' classes of objects that can be reached from the roots through attributes and containers."""
    classes: dict[type, None] = {}
    seen: dict[int, Any] = {}
    queue = list(roots)
    while queue and len(seen) < MOST_OBJECTS:
        value = queue.pop()
        if id(value) in seen or isinstance(
            value, (str, bytes, int, float, type(None), np.ndarray, types.ModuleType, TensorLike)
        ):
            continue
        seen[id(value)] = value
        if isinstance(value, (dict, list, tuple, set, frozenset, collections.deque)):
            queue.extend(itertools.islice(dict.values(value) if isinstance(value, dict) else value, 1000))
            if type(value).__module__ in ("builtins", "collections"):
                continue
        if isinstance(value, (types.MethodType, functools.partial)):
            queue += _bound_values(value)
        elif isinstance(value, types.FunctionType):
            if not _is_library(value.__code__.co_filename):
                queue += [c.cell_contents for c in value.__closure__ or () if _is_full(c)]
        elif isinstance(value, type):
            continue
        if _is_watchable(type(value)):
            classes[type(value)] = None
        queue.extend(_attribute_values(value))
    return list(classes)


def _bound_values(function: Any) -> list[Any]:
    """The objects that a method, partial function or callable object brings along."""
    if isinstance(function, types.FunctionType):
        return []
    if isinstance(function, types.MethodType):
        return [function.__self__]
    if isinstance(function, functools.partial):
        return [function.func, *function.args, *function.keywords.values()]
    return [function]


def _is_full(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _attribute_values(value: Any) -> list[Any]:
    if _is_own(type(value)):
        return []
    try:
        found = list(object.__getattribute__(value, "__dict__").values())  # past any __getattr__ of the user's
    except AttributeError:
        found = []
    for cls in type(value).__mro__:
        for name in getattr(cls, "__slots__", ()) if isinstance(getattr(cls, "__slots__", ()), (tuple, list)) else ():
            member = vars(cls).get(name)
            if isinstance(member, types.MemberDescriptorType) and not _is_own(cls):
                with contextlib.suppress(AttributeError):
                    found.append(member.__get__(value, cls))
    return found


_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8


def _is_watchable(cls: type) -> bool:
    """A class of the user's own, written in Python, whose instances have state."""
    if (
        not cls.__flags__ & _HEAP_TYPE
        or cls.__flags__ & _IMMUTABLE_TYPE
        or _is_own(cls)
        or issubclass(cls, (type, BaseException))
    ):
        return False
    module = sys.modules.get(cls.__module__)
    if cls.__module__ == "argparse":
        return True
    return cls.__module__ != "builtins" and not _is_library_file(getattr(module, "__file__", None) or "")


def _is_own(cls: type) -> bool:
    """A class of graphflow's own, other than the parts that hold users' settings."""
    parts = (cls.__module__ or "").split(".")
    return parts[0] == "graphflow" and parts[1:2] != [] and parts[1] not in _OPEN_PARTS


def _name_of(owner: Any) -> str:
    return f"{type(owner).__name__} object"


def _strong(value: Any) -> Callable[[], Any]:
    return lambda: value


def _plain_function(value: Any) -> types.FunctionType | None:
    """The Python function behind a method, a decorated function or a gf.function."""
    for _ in range(8):
        if isinstance(value, types.FunctionType):
            return value
        if isinstance(value, (types.MethodType, staticmethod, classmethod)):
            value = value.__func__
        elif isinstance(value, functools.partial):
            value = value.func
        else:
            own = inspect.getattr_static(value, "__dict__", None)
            inner = own.get("python_function", own.get("__wrapped__")) if isinstance(own, dict) else None
            if inner is None and not isinstance(value, type):
                inner = inspect.getattr_static(type(value), "__call__", None)
            value = inner
    return None


def _in_library(value: Any) -> bool:
    function = _plain_function(value)
    return function is None or _is_library(function.__code__.co_filename)


@functools.cache
def _is_library(file: str) -> bool:
    return _is_library_file(file) or file.startswith(_PACKAGE)


def _is_library_file(file: str) -> bool:
    return file.startswith((*_LIBRARIES, "<frozen")) and not file.startswith(_PACKAGE)


# Bytecode -------------------------------------------------------------------------------------------------------------
_KINDS = {"LOAD_GLOBAL": "global", "LOAD_NAME": "global", "LOAD_DEREF": "cell", "LOAD_CLASSDEREF": "cell"}
_SILENT = ("CACHE", "EXTENDED_ARG", "PUSH_NULL", "NOT_TAKEN", "RESUME", "PRECALL")
_chains: weakref.WeakKeyDictionary[types.CodeType, list[tuple[str, str, tuple[str, ...]]]] = weakref.WeakKeyDictionary()


def chains(code: types.CodeType) -> list[tuple[str, str, tuple[str, ...]]]:
    """(kind, base name, attributes) for each global or closure cell that the code reads, with the attribute chain
    behind it."""
    found = _chains.get(code)
    if found is None:
        found = _chains[code] = list(dict.fromkeys(_read_chains(code)))
    return found


def _read_chains(code: types.CodeType) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    current: tuple[str, str, tuple[str, ...]] | None = None
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name in _SILENT:
            continue
        if name in ("LOAD_ATTR", "LOAD_METHOD") and current is not None:
            current = (current[0], current[1], (*current[2], str(instruction.argval)))
            continue
        if current is not None:
            yield current
            current = None
        if name in _KINDS:
            current = (_KINDS[name], str(instruction.argval), ())
    if current is not None:
        yield current
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _read_chains(inner)
