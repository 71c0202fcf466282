"""What a function captures: everything its result depends on beside its arguments.

Globals and closures are found by reading bytecode (`LOAD_GLOBAL a; LOAD_ATTR b` is the chain `a.b`), through the
functions that are called. Attributes of objects are seen when they are read: while the function is traced, the classes
of the objects it can reach report their attribute reads. Attributes of classes and modules, which cannot report, are
guarded by name: every class or module in reach that has an attribute of a name that the code reads. Each value becomes
a guard; one that the tracing itself changed (a counter, a list appended to) does not, because it would make every call
trace again, but is noted as a side effect.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..dtypes import DType
from ..ir.source import user_frame
from ..tensor import TensorLike
from .bytecode import Chain, facts_of, is_library, is_users_module, plain_function
from .guards import MISSING, Guard, is_blind, reference_to, snapshot_of
from .watching import Reach, bound_values, is_own, is_watchable, recorder, walk, watched

__all__ = ["Captures", "plain_function"]

MOST_GUARDS = 4096
"""A guard costs 0.03 to 0.1 us a call; the values captured beyond this are reported as unguarded."""
MOST_CONTAINED = 2048
"""Items of a container that are looked at for functions."""


class Captures:
    """The captures of one run of a function.

    captures = Captures(function, roots)
    with captures.recording(): run the function
    captures.finish()  ->  captures.guards, captures.changed
    """

    def __init__(
        self, function: Callable[..., Any], roots: Iterable[tuple[str, Any]], by_value: Iterable[Any] = ()
    ) -> None:
        """roots: the arguments with their names. by_value: arguments known by value, whose content needs no guard."""
        self.guards: list[Guard] = []
        self.changed: list[Guard] = []
        self.blind: list[Guard] = []
        self.dropped = 0
        self.reach = Reach()
        self.watched: list[type] = []
        """the classes whose attribute reads were seen"""
        self.identity_used = False
        self.fallback_used = False
        """did a read end in a `__getattr__`? What it finds is guarded; that the attribute itself is not there is not"""
        """was an object hashed by its identity?"""
        self._functions: dict[types.FunctionType, None] = {}
        self.writes: dict[tuple[int, str], tuple[Any, Any, str, int, bool]] = {}
        """(owner, attribute) -> (owner, the value before, file, line, was it read before)"""
        self._found: dict[Any, Guard] = {}
        self._places: dict[Any, tuple[str, int]] = {}
        self._seen: set[Any] = set()
        self._late: list[Any] = []
        self._kept: dict[int, Any] = {id(v): v for v in by_value}
        self._read: set[tuple[int, str]] = set()
        self._own = set(self._kept)
        self._namespaces: dict[int, Any] = {}
        self._here: tuple[str, int] = ("", 0)
        self._roots = [*roots, *(("the function", v) for v in bound_values(function))]
        self._scan(function)
        for _, value in self._roots:
            self._visit_content(value)

    # Globals and closures ---------------------------------------------------------------------------------------------
    def _scan(self, value: Any, is_special: bool = False) -> None:
        """Guards for the globals and cells of a function and of those it calls, and for its code and defaults (not for
        the special methods of a class, most of which never run)."""
        function = plain_function(value)
        if function is None or function in self._seen:
            return
        self._seen.add(function)
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
        if is_library(function.__code__.co_filename):  # a decorator of a library's: the user's function is inside
            for inner in (getattr(function, "__wrapped__", None), *map(_content_of_cell, cells.values())):
                if isinstance(inner, (types.FunctionType, types.MethodType, functools.partial)):
                    self._scan(inner)
            return
        self._functions[function] = None
        facts = facts_of(function.__code__)
        self._here = (function.__code__.co_filename, function.__code__.co_firstlineno)
        if not is_special:
            self._add(f"'{function.__name__}'.__code__", "attribute", function, "__code__", function.__code__)
        for key in ("__defaults__", "__kwdefaults__"):
            if getattr(function, key) and not is_special:
                self._add(f"'{function.__name__}'.{key}", "attribute", function, key, getattr(function, key))
                self._visit_content(getattr(function, key))
        for chain in facts.chains:
            self._here = (function.__code__.co_filename, chain.line)
            self._read_chain(chain, function, cells)
        if "globals" in (c.base for c in facts.chains):
            for name in facts.constants:
                self._read_chain(Chain("global", name, (), function.__code__.co_firstlineno), function, cells)
        if facts.attributes & {"environ", "getenv"}:
            for name in sorted(facts.constants):
                if name.isupper() or name in os.environ:
                    self._add(f"environment '{name}'", "item", os.environ, name, os.environ.get(name, MISSING))

    def _read_chain(self, chain: Chain, function: types.FunctionType, cells: dict[str, types.CellType]) -> None:
        if chain.kind == "global":
            names = function.__globals__
            value = names.get(chain.base, MISSING)  # a built-in may be hidden by a global later
            self._follow(f"global '{chain.base}'", "item", names, chain.base, value, chain.path)
        elif chain.kind == "cell" and chain.base in cells:
            cell = cells[chain.base]
            self._follow(f"variable '{chain.base}'", "cell", cell, None, _content_of_cell(cell), chain.path)

    def _follow(self, name: str, kind: str, owner: Any, key: Any, value: Any, path: tuple[str, ...]) -> None:
        """Guard the place, then along the chain while it leads through modules and classes."""
        for attribute in (*path, None):
            self._add(name, kind, owner, key, value)
            if value is MISSING or self._is_program(value):
                self._scan(value)
                return
            is_namespace = isinstance(value, (types.ModuleType, type))
            self._visit_content(value)
            if attribute is None or not is_namespace or is_library(getattr(value, "__file__", None) or ""):
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
        return is_own(type(value)) and not isinstance(value, (TensorLike, DType))

    def _visit_content(self, value: Any, depth: int = 4) -> None:
        """Functions inside containers and partial objects are called from there; classes and modules are looked into by
        name."""
        if isinstance(value, (types.FunctionType, types.MethodType)):
            self._scan(value)
        elif isinstance(value, type):
            self._scan_class(value)
        elif isinstance(value, types.ModuleType):
            if is_users_module(value):
                self._namespaces[id(value)] = value
        elif isinstance(value, functools.partial):
            for part in (value.func, *value.args, *value.keywords.values()):
                self._visit_content(part, depth - 1) if depth else None
        elif isinstance(value, (list, tuple, dict)):
            if depth and len(value) <= MOST_CONTAINED:
                for item in value.values() if isinstance(value, dict) else value:
                    if not isinstance(item, (int, float, str, TensorLike)):
                        self._visit_content(item, depth - 1)
        elif is_own(type(value)):
            self._scan(value)
        else:
            self._scan_class(type(value))

    def _scan_class(self, cls: type) -> None:
        """The special methods (`__call__`, `__getitem__` ...) of a user's class: they run without being looked up by
        name."""
        if cls in self._seen or not is_watchable(cls):
            return
        self._seen.add(cls)
        self._namespaces[id(cls)] = cls
        for owner in cls.__mro__:
            for name, member in vars(owner).copy().items():  # another thread may begin to watch the class
                is_function = isinstance(member, types.FunctionType) or hasattr(type(member), "get_concrete_function")
                if name.startswith("__") and name.endswith("__") and is_function:
                    self._scan(member, name != "__call__")

    def _add(self, name: str, kind: str, owner: Any, key: Any, value: Any) -> None:
        place = (kind, id(owner), key)
        if place not in self._found:
            if len(self._found) >= MOST_GUARDS:
                self.dropped += 1
                return
            self._kept[id(owner)] = owner
            reference = reference_to(owner) if kind in ("attribute", "method") else _strong(owner)
            self._found[place] = Guard(name, kind, reference, key, snapshot_of(value))
            self._places[place] = self._here

    # Attributes -------------------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Inside, attribute reads and writes of the reachable objects of users' classes are recorded."""
        found = [(guard.name, guard.get()) for guard in self._found.values()]
        found += [(name.__name__, name) for name in self._namespaces.values() if isinstance(name, type)]
        self.reach = walk([*found, *self._roots])  # the last name counts
        with contextlib.ExitStack() as stack:
            for cls in self.reach.classes:
                self._scan_class(cls)
                if stack.enter_context(watched(cls)):
                    self.watched.append(cls)
            token = recorder.set(self)
            try:
                yield
            finally:
                recorder.reset(token)

    def note(self, owner: Any, name: str, value: Any) -> None:
        """An attribute of `owner` was read as `value`. The reads that noting itself does are left out."""
        token = recorder.set(None)
        try:
            self._note(owner, name, value)
        finally:
            recorder.reset(token)

    def _note(self, owner: Any, name: str, value: Any) -> None:
        if (id(owner), name) in self._read or name.startswith("__") and name != "__dict__":
            return  # vars(x) reads all attributes at once
        self._read.add((id(owner), name))
        self._kept[id(owner)] = owner  # until the run is over, so that no id is used twice
        cls = type(owner)
        if id(owner) in self._own and _is_content(cls, name):
            return
        frame = user_frame()
        if frame is not None:
            self._here = (frame.f_code.co_filename, frame.f_lineno)
        static = inspect.getattr_static(cls, name, MISSING)
        in_instance = name in getattr(owner, "__dict__", ())
        if static is not MISSING and not in_instance and hasattr(type(static), "__get__"):
            if isinstance(static, (types.MemberDescriptorType, types.GetSetDescriptorType)):
                self._add(f"{_name_of(owner)}.{name}", "attribute", owner, name, value)
                return
            if isinstance(static, types.FunctionType) and not is_library(static.__code__.co_filename):
                self._add(f"{_name_of(owner)}.{name}", "method", owner, name, static)
            for ancestor in cls.__mro__:  # methods and properties: what they read is seen; their code is looked at
                self._late.append(vars(ancestor).get(name))
            return
        if value is MISSING and hasattr(cls, "__getattr__"):
            self.fallback_used = True
            return
        self._add(f"{_name_of(owner)}.{name}", "attribute", owner, name, value)
        self._late.append(value)

    def note_write(self, owner: Any, name: str, old: Any, frame: Any) -> None:
        """The users' code in `frame` wrote an attribute, which was `old` before."""
        key = (id(owner), name)
        if id(owner) in self.reach.objects and key not in self.writes:
            self._kept[id(owner)] = owner
            self.writes[key] = (owner, old, frame.f_code.co_filename, frame.f_lineno, key in self._read)

    def variables(self) -> set[int]:
        """Ids of the variables among the captured values."""
        found: set[int] = set()
        for guard in (*self.guards, *self.changed):
            found.update(id(v) for v in guard.then.objects() if isinstance(v, TensorLike))
        return found

    def functions(self) -> list[types.FunctionType]:
        """The users' functions that may have run."""
        return list(self._functions)

    def place_of(self, guard: Guard) -> tuple[str, int]:
        """The user's line that reads a captured value."""
        return next((self._places[place] for place, g in self._found.items() if g is guard), ("", 0))

    def finish(self) -> None:
        """After the run: sort the guards into those that hold and those the run itself changed."""
        self._look_late()
        self._guard_namespaces()
        for guard in self._found.values():
            (self.guards if guard.holds() else self.changed).append(guard)
            if is_blind(guard.then, guard.get()):
                self.blind.append(guard)

    def _look_late(self) -> None:
        while self._late:
            value = self._late.pop()
            if isinstance(value, property):
                self._scan(value.fget)
            elif value is not None and value is not MISSING:
                self._scan(value)
                if isinstance(value, (list, tuple, dict, functools.partial, type)):
                    self._visit_content(value)

    def _guard_namespaces(self) -> None:
        """Attributes of classes and modules, by the names that the code reads: `type(self).rate`, `m = module; m.rate`,
        `getattr(module, "rate")`."""
        # An object made during the run is gone after it, and its guard too.
        guarded = {(type(self._kept[i]), key) for (_, i, key) in self._found if i in self.reach.objects}
        looked_at: set[tuple[int, str]] = set()
        for _ in range(8):  # functions found on the way read more names
            names: set[str] = set()
            for function in self.functions():
                facts = facts_of(function.__code__)
                names |= facts.attributes
                if facts.attributes & {"__dict__"} or any(c.base in ("getattr", "vars") for c in facts.chains):
                    names |= facts.constants
                for module in filter(None, map(sys.modules.get, facts.imports)):
                    self._visit_content(module)
            before = len(looked_at)
            for namespace in list(self._namespaces.values()):
                for name in names:
                    if (id(namespace), name) not in looked_at and (namespace, name) not in guarded:
                        looked_at.add((id(namespace), name))
                        self._guard_member(namespace, name)
            self._look_late()
            if len(looked_at) == before:
                return

    def _guard_member(self, namespace: Any, name: str) -> None:
        value = inspect.getattr_static(namespace, name, MISSING)
        if value is MISSING or name.startswith("__") or isinstance(value, types.ModuleType):
            return
        if isinstance(value, (property, staticmethod, classmethod)):
            self._late.append(value)
        elif isinstance(namespace, type) and hasattr(type(value), "__get__"):
            return  # methods: found when they are looked up
        elif not self._is_program(value):
            self._add(f"{getattr(namespace, '__name__', '')}.{name}", "attribute", namespace, name, value)
            self._late.append(value)
        elif isinstance(value, types.FunctionType):
            if not _in_library(value):
                self._add(f"{getattr(namespace, '__name__', '')}.{name}", "attribute", namespace, name, value)
            self._scan(value)

    def release(self) -> None:
        """Let go of everything that was looked at."""
        self._kept.clear()
        self._roots.clear()
        self._namespaces.clear()
        self._seen.clear()
        self._functions.clear()
        self.writes.clear()
        self.reach = Reach()


def _content_of_cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


def _is_content(cls: type, name: str) -> bool:
    """Is the attribute part of the argument's key?"""
    return name in getattr(cls, "__dataclass_fields__", ()) or name in getattr(cls, "_fields", ())


def _name_of(owner: Any) -> str:
    return f"{type(owner).__name__} object"


def _strong(value: Any) -> Callable[[], Any]:
    return lambda: value


def _in_library(value: Any) -> bool:
    function = plain_function(value)
    return function is None or is_library(function.__code__.co_filename)
