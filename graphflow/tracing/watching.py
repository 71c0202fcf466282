"""Attribute reads and writes of users' objects, reported while a function is traced.

The classes of the objects that a function can reach get a `__getattribute__` and a `__setattr__` that report to the
trace of the thread that runs them, and lose them again when the last trace ends.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np

from ..locks import renew_after_fork
from ..tensor import TensorLike
from .bytecode import is_installed, is_library, is_users_file
from .guards import MISSING

__all__ = ["Reach", "bound_values", "is_own", "is_watchable", "recorder", "reporting_hash", "walk", "watched"]

MOST_OBJECTS = 10_000
"""Objects looked at for classes whose attribute reads are watched."""
MOST_COPIED = 10_000
"""Items of a container that are kept to see whether tracing changes it."""
#: parts of graphflow whose objects hold settings that a user may change (an optimizer's learning rate)
_OPEN_PARTS = ("optimizers", "module", "nn", "train", "data")

#: what is told of reads and writes: an object with note(owner, name, value) and note_write(owner, name, old, frame)
recorder: ContextVar[Any] = ContextVar("graphflow_captures", default=None)
_patch_lock = threading.Lock()
_patched: dict[type, list[Any]] = {}  # class -> [how many runs watch it, {method name: its own one or MISSING}]


def renew_locks() -> None:
    """In a forked child."""
    global _patch_lock
    _patch_lock = threading.Lock()
    if recorder.get() is None:  # no trace goes on here: the watching was other threads'
        for cls, (_, own) in _patched.items():
            _unpatch(cls, own)
        _patched.clear()


renew_after_fork(sys.modules[__name__])


@contextlib.contextmanager
def watched(cls: type) -> Iterator[bool]:
    """Reads and writes of attributes of instances of the class are reported to the run that does them, and uses of the
    default `__hash__`. Gives whether that could be set up. Several threads may watch one class."""
    with _patch_lock:
        entry = _patched.get(cls)
        if entry is None:
            own = {name: vars(cls).get(name, MISSING) for name in _METHODS}
            entry = _patched[cls] = [0, own]
            try:
                cls.__getattribute__ = _reporting_read(cls.__getattribute__)  # type: ignore[method-assign,assignment,arg-type]
                cls.__setattr__ = _reporting_write(cls.__setattr__)  # type: ignore[method-assign,assignment,arg-type]
                if getattr(cls, "__hash__", None) is object.__hash__:
                    type.__setattr__(cls, "__hash__", reporting_hash)
            except (TypeError, AttributeError):  # a metaclass forbids it: its attributes are not watched
                _unpatch(cls, own)
                del _patched[cls]
                entry = None
        if entry is not None:
            entry[0] += 1
    try:
        yield entry is not None
    finally:
        if entry is not None:
            with _patch_lock:
                entry[0] -= 1
                if not entry[0]:
                    del _patched[cls]
                    _unpatch(cls, entry[1])


_METHODS = ("__getattribute__", "__setattr__", "__hash__")


def reporting_hash(self: Any) -> int:
    """object.__hash__, noted: what depends on it depends on which object it is."""
    captures = recorder.get()
    if captures is not None and not is_library(sys._getframe(1).f_code.co_filename):
        captures.identity_used = True
    return object.__hash__(self)


def _unpatch(cls: type, own: dict[str, Any]) -> None:
    for name, method in own.items():
        with contextlib.suppress(TypeError, AttributeError):  # the metaclass that forbade the one forbids the other
            if method is not MISSING:
                setattr(cls, name, method)
            elif name in vars(cls):
                delattr(cls, name)


def _reporting_read(inner: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    def __getattribute__(self: Any, name: str) -> Any:  # noqa: N807
        captures = recorder.get()
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


def _reporting_write(inner: Callable[[Any, str, Any], None]) -> Callable[[Any, str, Any], None]:
    def __setattr__(self: Any, name: str, value: Any) -> None:  # noqa: N807
        captures = recorder.get()
        frame = sys._getframe(1)
        if captures is None or is_installed(frame.f_code.co_filename):
            inner(self, name, value)
            return
        token = recorder.set(None)
        try:
            old = getattr(self, name, MISSING)
        finally:
            recorder.reset(token)
        inner(self, name, value)
        captures.note_write(self, name, old, frame)

    return __setattr__


# What can be reached --------------------------------------------------------------------------------------------------
class Reach:
    """What is reachable from the roots of a trace: users' classes, the objects that were there before, and containers
    with a copy of their content."""

    def __init__(self) -> None:
        self.classes: dict[type, None] = {}
        self.objects: dict[int, Any] = {}
        self.iterators: list[tuple[str, Any]] = []
        self.containers: list[tuple[str, Any, Any]] = []
        """(what it is called, the container, what it held)"""


_ATOMS: Any = (str, bytes, int, float, complex, type(None), types.ModuleType, TensorLike)
_CONTAINERS = (dict, list, tuple, set, frozenset, collections.deque)
_EMPTY: Any = ([], (), "", {}, set(), range(0), collections.deque(), reversed([]))
_ITERATORS: tuple[type, ...] = (
    *(type(iter(empty)) for empty in _EMPTY),
    types.GeneratorType,
    itertools.count,
)
_MUTABLE = (dict, list, set, collections.deque, bytearray, np.ndarray, types.SimpleNamespace)


def walk(roots: Iterable[tuple[str, Any]]) -> Reach:
    """Everything that can be reached from the roots (with their names) through attributes and containers."""
    reach = Reach()
    queue = [(name, value, False) for name, value in roots]
    while queue and len(reach.objects) < MOST_OBJECTS:
        name, value, is_foreign = queue.pop()
        if id(value) in reach.objects or isinstance(value, _ATOMS):
            continue
        reach.objects[id(value)] = value
        if isinstance(value, _MUTABLE) and not is_foreign:
            held = content_of(value)
            if held is not None:
                reach.containers.append((name, value, held))
        if isinstance(value, np.ndarray):
            continue
        if isinstance(value, _ITERATORS) and not is_foreign:
            reach.iterators.append((name, value))
            continue
        if isinstance(value, _CONTAINERS):
            kind: Any = next(base for base in _CONTAINERS if isinstance(value, base))
            read: Any = dict.values if kind is dict else kind.__iter__
            items = list(itertools.islice(read(value), 1000))
            queue.extend((name, item, is_foreign) for item in items)
            if type(value).__module__ in ("builtins", "collections"):
                continue
        if isinstance(value, (types.MethodType, functools.partial)):
            queue += [(name, v, is_foreign) for v in bound_values(value)]
        elif isinstance(value, types.FunctionType):
            if not is_library(value.__code__.co_filename):
                cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=False)
                queue += [(f"variable '{n}'", c.cell_contents, is_foreign) for n, c in cells if _is_full(c)]
        elif isinstance(value, type):
            if is_watchable(value):
                reach.classes[value] = None
            continue
        if is_watchable(type(value)):
            reach.classes[type(value)] = None
        foreign = is_foreign or type(value).__module__.split(".")[0] == "graphflow"
        owner = f"{type(value).__name__} object"
        queue.extend((f"{owner}.{key}", item, foreign) for key, item in _attributes(value))
    return reach


def content_of(value: Any) -> Any:
    """A shallow copy to compare a container with later; None for what is too large."""
    if isinstance(value, np.ndarray):
        return value.tobytes() if value.nbytes <= 65536 and value.dtype.kind != "O" else None
    if isinstance(value, types.SimpleNamespace):
        return dict(vars(value))
    if isinstance(value, bytearray):
        return bytes(value) if len(value) <= 65536 else None
    kind: Any = next(base for base in (dict, list, set, collections.deque) if isinstance(value, base))
    if kind.__len__(value) > MOST_COPIED:  # the built-in's own methods: a subclass's would run the user's code
        return None
    return list(dict.items(value)) if kind is dict else list(kind.__iter__(value))


def same_content(value: Any, held: Any) -> bool:
    """Does the container hold the very same objects as before?"""
    now = content_of(value)
    if isinstance(held, bytes) or now is None:
        return bool(now == held)
    if len(now) != len(held):
        return False
    if isinstance(value, dict):
        return all(a is c and b is d for (a, b), (c, d) in zip(now, held, strict=True))
    if isinstance(held, dict):
        return all(k in now and now[k] is v for k, v in held.items())
    if isinstance(value, set):
        return {id(v) for v in now} == {id(v) for v in held}
    return all(a is b for a, b in zip(now, held, strict=True))


def bound_values(function: Any) -> list[Any]:
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


def _attributes(value: Any) -> list[tuple[str, Any]]:
    if is_own(type(value)):
        return []
    try:
        found = list(object.__getattribute__(value, "__dict__").items())  # past any __getattr__ of the user's
    except AttributeError:
        found = []
    for cls in type(value).__mro__:
        slots = getattr(cls, "__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots if isinstance(slots, (tuple, list)) else ():
            member = vars(cls).get(name)
            if isinstance(member, types.MemberDescriptorType) and not is_own(cls):
                with contextlib.suppress(AttributeError):
                    found.append((name, member.__get__(value, cls)))
    return found


_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8


def is_watchable(cls: type) -> bool:
    """A class of the user's own, written in Python, whose instances have state."""
    if (
        not cls.__flags__ & _HEAP_TYPE
        or cls.__flags__ & _IMMUTABLE_TYPE
        or is_own(cls)
        or issubclass(cls, (type, BaseException))
    ):
        return False
    module = sys.modules.get(cls.__module__)
    if cls.__module__ == "argparse" or cls in (collections.UserDict, collections.UserList, collections.ChainMap):
        return True
    return cls.__module__ != "builtins" and is_users_file(getattr(module, "__file__", None) or "")


def is_own(cls: type) -> bool:
    """A class of graphflow's own, other than the parts that hold users' settings."""
    parts = (cls.__module__ or "").split(".")
    return parts[0] == "graphflow" and parts[1:2] != [] and parts[1] not in _OPEN_PARTS
