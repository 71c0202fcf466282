"""Side effects on Python state, seen while a function is traced: each with its line, what happened and the next step.

A compiled call runs no Python, so whatever the function does to Python objects happens once, while tracing. It is seen
in four ways, none of which replaces a built-in or stays behind:

- attribute writes report themselves (watching.py), with the frame that does them;
- containers, globals, outer variables, classes and modules, random generators and the environment are compared with what
  they were before; bytecode gives the line;
- calls of `print`, clocks, files and the like, and of methods that change an outer container, are seen by a profiling
  function (`sys.setprofile`, this thread alone), which is set only when bytecode names such a call: it doubles the time
  of Python while tracing (13 to 29 ms for 800 ops), and is left out where a profiler is running;
- what is written to an object made during the trace, or by a library, is nobody's concern.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import io
import itertools
import linecache
import operator
import os
import re
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..ir.source import Source
from ..tree import flatten
from .bytecode import facts_of, is_installed
from .captures import Captures
from .guards import MISSING, short, snapshot_of
from .tracer import SymbolicTensor
from .watching import same_content

__all__ = ["SideEffects", "Sighting"]


@dataclass(frozen=True)
class Sighting:
    """One side effect: what happened, where, and what to do instead."""

    subject: str
    text: str
    hint: str
    place: Source


_STATE = "keep it in a gf.Variable, or return it from the function"
_CLOCK = "read the clock outside the function, or inside gf.py_function: every compiled call sees the same time"
_FILE = "write outside the function, or inside gf.py_function"
_ITEMS = "take the items outside the function and pass them as arguments: every compiled call gets the same ones"
_DRAW = "use gf.random: every compiled call gets the numbers that were drawn while tracing"
_MUTATORS = frozenset(
    "append extend insert remove pop popitem clear sort reverse update add discard setdefault appendleft popleft "
    "extendleft rotate difference_update intersection_update symmetric_difference_update fill put __setitem__ "
    "__delitem__ __iadd__".split()
)
_FILE_METHODS = frozenset(
    {"write", "writelines", "truncate", "write_text", "write_bytes", "touch", "unlink", "mkdir", "rmdir"}
)


def _calls_of_interest() -> dict[Any, tuple[str, str]]:
    """Built-in and library functions -> (what happened, next step). Only modules that are loaded can be used."""
    found: dict[Any, tuple[str, str]] = {
        print: ("print ran", "use gf.print, which prints at each call"),
        input: ("input() was read", "read it outside the function and pass it as an argument"),
    }
    listed = {
        "time": ("time time_ns perf_counter perf_counter_ns monotonic monotonic_ns process_time process_time_ns "
                 "thread_time localtime gmtime strftime ctime", "was read", _CLOCK),
        "posix": ("remove unlink rename replace mkdir rmdir system putenv unsetenv chdir write truncate symlink link chmod", "ran", _FILE),
        "nt": ("remove unlink rename replace mkdir rmdir system putenv unsetenv chdir write truncate symlink link chmod", "ran", _FILE),
        "os": ("makedirs removedirs renames popen", "ran", _FILE),
        "shutil": ("rmtree copy copy2 copyfile copytree move", "ran", _FILE),
        "subprocess": ("run call check_call check_output", "ran", "run it outside the function, or inside gf.py_function"),
        "uuid": ("uuid1 uuid4", "was drawn", _DRAW),
        "secrets": ("token_bytes token_hex token_urlsafe randbelow choice", "was drawn", _DRAW),
    }  # fmt: skip
    for name, (functions, what, hint) in listed.items():
        module = sys.modules.get(name)
        for function in functions.split():
            if module is not None and hasattr(module, function):
                shown = "os" if name in ("posix", "nt") else name
                found[getattr(module, function)] = (f"{shown}.{function}() {what}", hint)
    dates = sys.modules.get("datetime")
    if dates is not None:
        for cls, methods in ((dates.datetime, ("now", "utcnow", "today")), (dates.date, ("today",))):
            for method in methods:
                found[getattr(cls, method)] = (f"{cls.__name__}.{method}() was read", _CLOCK)
    return found


class SideEffects:
    """The side effects of one run.

    effects = SideEffects(captures)
    with captures.recording(), effects.observing(): run the function
    captures.finish(); effects.finish()  ->  effects.sightings
    """

    def __init__(self, captures: Captures) -> None:
        self.sightings: list[Sighting] = []
        self._captures = captures
        self._stores: list[tuple[str, Callable[[], Any], Any, str, int, bool]] = []
        self._classes: list[tuple[type, dict[str, Any]]] = []
        self._states: list[tuple[str, Callable[[], Any], Any]] = []
        self._iterators: list[tuple[str, Callable[[], Any], Any]] = []
        self._environment: dict[str, str] | None = None
        self._table: dict[Any, tuple[str, str]] = {}
        self._codes: dict[types.CodeType, tuple[str, str]] = {}
        self._calls: list[tuple[str, str, str, int]] = []
        self._changers: dict[int, tuple[str, int]] = {}
        self._outer: set[int] = set()

    # Before the run ---------------------------------------------------------------------------------------------------
    @contextlib.contextmanager
    def observing(self) -> Iterator[None]:
        """Inside, what the function does is seen."""
        profile = self._prepare()
        before = sys.getprofile()
        if not profile or before is not None and not isinstance(getattr(before, "__self__", None), SideEffects):
            yield
            return
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(before)

    def _prepare(self) -> bool:
        """Keep what is compared later. Returns whether calls have to be watched."""
        self._outer = {id(value) for _, value, _ in self._captures.reach.containers}
        functions = self._functions()
        attributes: set[str] = set()
        called: list[Any] = []
        changes = False
        for function in functions:
            facts = facts_of(function.__code__)
            parameters = function.__code__.co_varnames[: function.__code__.co_argcount + 2]
            changes = changes or any(
                c.path and c.path[-1] in _MUTATORS and (c.kind != "local" or len(c.path) > 1 or c.base in parameters)
                for c in facts.chains
            )
            attributes |= facts.attributes
            cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
            for chain in facts.stores:
                self._keep_store(function, cells, chain)
            for chain in facts.chains:
                if chain.kind == "global":
                    value = function.__globals__.get(chain.base, _BUILTINS.get(chain.base, MISSING))
                    called.append(_followed(value, chain.path))
        self._classes = [(cls, dict(vars(cls))) for cls in self._captures.reach.classes]
        if attributes & {"environ", "putenv", "unsetenv"}:
            self._environment = dict(os.environ)
        self._keep_states(called)
        for name, iterator in self._captures.reach.iterators:
            get = functools.partial(_position_of, iterator)
            self._iterators.append((name, get, get()))
        table = _calls_of_interest()
        opened = any(value is open for value in called)
        wanted = [v for v in called if _hashable(v) and v in table]
        if not (wanted or opened or changes and self._outer or attributes & _FILE_METHODS):
            return False
        self._table = table
        self._codes = {v.__code__: said for v, said in table.items() if isinstance(v, types.FunctionType)}
        return True

    def _functions(self) -> list[types.FunctionType]:
        """The users' functions that may run: those found by name, and the methods of the classes in reach."""
        found = dict.fromkeys(self._captures.functions())
        for cls in self._captures.reach.classes:
            for owner in cls.__mro__:
                for member in vars(owner).values():
                    inner = getattr(member, "__func__", member)
                    inner = getattr(inner, "python_function", inner)
                    if isinstance(inner, types.FunctionType) and not is_installed(inner.__code__.co_filename):
                        found[inner] = None
        return [f for f in found if not is_installed(f.__code__.co_filename)]

    def _keep_store(self, function: types.FunctionType, cells: dict[str, Any], chain: Any) -> None:
        file, names = function.__code__.co_filename, function.__globals__
        if chain.path:
            value = names.get(chain.base, MISSING) if chain.kind == "global" else MISSING
            owner = _followed(value, chain.path[:-1])
            if not isinstance(owner, types.ModuleType):
                return
            name, key = f"{chain.base}.{'.'.join(chain.path)}", chain.path[-1]

            def get() -> Any:
                return vars(owner).get(key, MISSING)

        elif chain.kind == "global":
            name, key = f"global '{chain.base}'", chain.base

            def get() -> Any:
                return names.get(key, MISSING)

        elif chain.base in cells:
            name, cell = f"variable '{chain.base}'", cells[chain.base]

            def get() -> Any:
                try:
                    return cell.cell_contents
                except ValueError:
                    return MISSING

        else:
            return
        is_read = any(
            c.kind == chain.kind and c.base == chain.base and c.path == chain.path
            for c in facts_of(function.__code__).chains
        )
        self._stores.append((name, get, get(), file, chain.line, is_read))

    def _keep_states(self, called: list[Any]) -> None:
        """The states of the random generators in reach."""
        python, numpy = sys.modules.get("random"), sys.modules.get("numpy.random")
        objects = [*self._captures.reach.objects.values(), *called, *(getattr(v, "__self__", None) for v in called)]
        seen: set[int] = set()
        for value in objects:
            if python is not None and (value is python or isinstance(value, python.Random)):
                generator = python._inst if value is python else value
                shown, get = "Python's random", generator.getstate
            elif numpy is not None and (value is numpy or isinstance(value, (numpy.RandomState, numpy.Generator))):
                generator = numpy.mtrand._rand if value is numpy else value
                shown, get = "NumPy's random", _numpy_state(generator)
            else:
                continue
            if id(generator) not in seen and hasattr(generator, "getstate" if "Python" in shown else "bytes"):
                seen.add(id(generator))
                self._states.append((shown, get, get()))

    # During the run ---------------------------------------------------------------------------------------------------
    def _profile(self, frame: Any, event: str, argument: Any) -> None:
        if event == "c_call":
            name = argument.__name__
            if name in _MUTATORS and id(argument.__self__) in self._outer:
                user = _users(frame)
                if user is not None:
                    self._changers.setdefault(id(argument.__self__), (user.f_code.co_filename, user.f_lineno))
                return
            said = self._table.get(argument)
            if said is None:
                if name == "open" and argument is open:
                    user = _users(frame)
                    if user is not None and _opens_for_writing(user.f_code.co_filename, user.f_lineno):
                        self._call(user, "a file was opened for writing", _FILE)
                elif name in _FILE_METHODS and isinstance(argument.__self__, io.IOBase):
                    self._call(_users(frame), "a file was written", _FILE)
                return
            self._call(_users(frame), *said)
        elif event == "call":
            code = frame.f_code
            if code in self._codes:
                self._call(_users(frame.f_back), *self._codes[code])
            elif code.co_name in _FILE_METHODS and code.co_filename.endswith(("pathlib.py", "_local.py")):
                self._call(_users(frame.f_back), f"Path.{code.co_name}() ran", _FILE)

    def _call(self, frame: Any, what: str, hint: str) -> None:
        if frame is not None:
            self._calls.append((f"{what} while tracing", hint, frame.f_code.co_filename, frame.f_lineno))

    # After the run ----------------------------------------------------------------------------------------------------
    def finish(self) -> None:
        """Compare, and find the lines."""
        found: dict[tuple[str, int], Sighting] = {}

        def see(subject: str, text: str, hint: str, file: str, line: int) -> None:
            if (file, line) not in found and not is_installed(file):
                expression = " ".join(linecache.getline(file, line).split())
                found[file, line] = Sighting(subject, text, hint, Source(file, line, 0, expression))

        for what, hint, file, line in self._calls:
            see("", what, hint, file, line)
        for (_, name), (owner, old, file, line, was_read) in self._captures.writes.items():
            now = getattr(owner, name, MISSING)
            if _is_changed(old, now) and not (was_read and _is_first(old) and not _is_traced(now)):
                see(*_told(f"{type(owner).__name__} object.{name}", old, now), file, line)
        for name, get, old, file, line, is_read in self._stores:
            now = get()
            if _is_changed(old, now) and not (is_read and _is_first(old) and not _is_traced(now)):
                see(*_told(name, old, now), file, line)
        for name, value, held in self._captures.reach.containers:
            if not same_content(value, held):
                self._see_container(see, name, value, held)
        for cls, before in self._classes:
            self._see_class(see, cls, before)
        self._see_states(see)
        self.sightings = list(found.values())

    def _see_container(self, see: Callable[..., None], name: str, value: Any, held: Any) -> None:
        token = name.split("'")[1] if "'" in name else name.rsplit(".", 1)[-1]
        mentions = self._mentions(token)
        if isinstance(value, dict) and _only_grew(value, held):
            gained = list(value.values())[len(held) :]
            is_memo = any(how == "test" for how, _, _ in mentions) and not any(map(_is_traced, gained))
            if is_memo:  # `if key not in table: table[key] = ...`
                return
        place = self._changers.get(id(value))
        if place is None and mentions:
            order = ("change", "subscript", "store", "load")
            _, file, line = min(
                (m for m in mentions if m[0] != "test"), key=lambda m: order.index(m[0]), default=("", "", 0)
            )
            place = (file, line)
        if place is not None and place[0]:
            size = (
                f" ({len(held)} to {len(value)} items)" if hasattr(value, "__len__") and len(value) != len(held) else ""
            )
            text = f"{name}, a {type(value).__name__} from outside the function, was changed while tracing{size}"
            see(name, text, _STATE, *place)

    def _see_class(self, see: Callable[..., None], cls: type, before: dict[str, Any]) -> None:
        now = vars(cls)
        for name in {**before, **now}:
            old, new = before.get(name, MISSING), now.get(name, MISSING)
            if name.startswith("__") or old is new or not _is_changed(old, new):
                continue
            lines = [(file, line) for how, file, line in self._mentions(name) if how == "store"]
            is_read = any(name in facts_of(f.__code__).attributes for f in self._functions())
            if lines and not (is_read and _is_first(old) and not _is_traced(new)):
                see(*_told(f"{cls.__name__}.{name}", old, new), *lines[0])

    def _see_states(self, see: Callable[..., None]) -> None:
        for shown, get, before in self._iterators:
            if get() != before:
                token = shown.split("'")[1] if "'" in shown else shown.rsplit(".", 1)[-1]
                lines = [(file, line) for _, file, line in self._mentions(token)]
                if lines:
                    see(
                        shown,
                        f"{shown}, an iterator from outside the function, was advanced while tracing",
                        _ITEMS,
                        *lines[0],
                    )
        for shown, get, before in self._states:
            if get() != before:
                lines = self._draws()
                if lines:
                    see(shown, f"{shown} was drawn from while tracing", _DRAW, *lines[0])
        if self._environment is not None and dict(os.environ) != self._environment:
            lines = [(file, line) for how, file, line in self._mentions("environ") if how != "test"]
            lines += [(file, line) for _, file, line in self._mentions("putenv")]
            if lines:
                see("environment", "the environment was changed while tracing", _FILE, *lines[0])

    def _draws(self) -> list[tuple[str, int]]:
        """The lines of users' code that draw random numbers."""
        found = []
        for function in self._functions():
            file = function.__code__.co_filename
            cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
            for chain in facts_of(function.__code__).chains:
                start: Any = MISSING
                if chain.kind == "global":
                    start = function.__globals__.get(chain.base, MISSING)
                elif chain.kind == "cell" and chain.base in cells:
                    with contextlib.suppress(ValueError):
                        start = cells[chain.base].cell_contents
                target = _followed(start, chain.path)
                if _draws_from(target) or chain.kind != "global" and chain.path and chain.path[-1] in _DRAWING:
                    found.append((file, chain.line))
        return found

    def _mentions(self, token: str) -> list[tuple[str, str, int]]:
        """(how, file, line) of each place in users' code that names `token`. how: "change" (a method that changes it is
        called), "subscript", "store", "test" or "load"."""
        found = []
        for function in self._functions():
            file = function.__code__.co_filename
            for how, line in _mentions_in(function.__code__, token):
                found.append((how, file, line))
        return found


_BUILTINS = vars(__import__("builtins"))
_DRAWING = frozenset(
    "random uniform normal standard_normal randint integers choice choices shuffle permutation sample gauss rand randn "
    "randrange betavariate exponential poisson binomial bytes multivariate_normal".split()
)


def _mentions_in(code: types.CodeType, token: str) -> Iterator[tuple[str, int]]:
    lines: dict[int, list[tuple[str, str]]] = {}
    line = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        if instruction.positions is not None and instruction.positions.lineno is not None:
            line = instruction.positions.lineno
        lines.setdefault(line, []).append((instruction.opname, str(instruction.argval)))
    for number, instructions in lines.items():
        names = [name for op, name in instructions if op.startswith(("LOAD_", "STORE_", "DELETE_"))]
        if token not in names:
            continue
        ops = {op for op, _ in instructions}
        if any(op.startswith("CONTAINS_OP") for op in ops) or "setdefault" in names or "get" in names:
            yield "test", number
        if any(a == token and b in _MUTATORS for a, b in itertools.pairwise(names)):
            yield "change", number
        elif ops & {"STORE_SUBSCR", "DELETE_SUBSCR"}:
            yield "subscript", number
        elif any(op.startswith(("STORE_", "DELETE_")) and name == token for op, name in instructions):
            yield "store", number
        else:
            yield "load", number
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _mentions_in(inner, token)


def _users(frame: Any) -> Any:
    """The frame, if it is the users' own code; a frame of autograph stands for the one that called it."""
    while frame is not None and "autograph" in frame.f_code.co_filename and is_installed(frame.f_code.co_filename):
        frame = frame.f_back
    return frame if frame is not None and not is_installed(frame.f_code.co_filename) else None


def _followed(value: Any, path: tuple[str, ...]) -> Any:
    """The value at the end of a chain that leads through modules and classes."""
    for name in path:
        if not isinstance(value, (types.ModuleType, type)):
            return value if _draws_from(value) else MISSING
        value = getattr(value, name, MISSING)
    return value


def _draws_from(value: Any) -> bool:
    python, numpy = sys.modules.get("random"), sys.modules.get("numpy.random")
    kinds: tuple[type, ...] = () if python is None else (python.Random,)
    if numpy is not None:
        kinds += (numpy.RandomState, numpy.Generator)
    return isinstance(value, kinds) or isinstance(getattr(value, "__self__", None), kinds)


def _numpy_state(generator: Any) -> Callable[[], Any]:
    bits = getattr(generator, "_bit_generator", None) or generator.bit_generator
    return lambda: repr(bits.state) if "MT19937" not in type(bits).__name__ else _twister(bits.state)


def _position_of(iterator: Any) -> Any:
    """What changes when an iterator is asked for an item."""
    if isinstance(iterator, types.GeneratorType):
        return iterator.gi_frame and iterator.gi_frame.f_lasti
    if isinstance(iterator, io.IOBase):
        return None if iterator.closed or not iterator.seekable() else iterator.tell()
    return repr(iterator) if isinstance(iterator, itertools.count) else operator.length_hint(iterator, -1)


def _twister(state: dict[str, Any]) -> tuple[bytes, int]:
    return state["state"]["key"].tobytes(), state["state"]["pos"]


def _hashable(value: Any) -> bool:
    return isinstance(value, (types.FunctionType, types.BuiltinFunctionType))


def _is_changed(old: Any, now: Any) -> bool:
    return old is not now and not snapshot_of(old).matches(now)


def _is_first(old: Any) -> bool:
    """Is it what lazily made attributes hold at first?"""
    return old is MISSING or old is None or old is False or isinstance(old, (list, dict, set, tuple)) and not old


def _is_traced(value: Any) -> bool:
    """Does the value hold a tensor of the trace?"""
    try:
        return any(isinstance(leaf, SymbolicTensor) for leaf in flatten(value))
    except (TypeError, ValueError):  # a container that cannot be taken apart
        return False


def _only_grew(value: dict[Any, Any], held: list[tuple[Any, Any]]) -> bool:
    now = list(dict.items(value))[: len(held)]
    return len(value) > len(held) and all(a is c and b is d for (a, b), (c, d) in zip(now, held, strict=False))


def _told(name: str, old: Any, now: Any) -> tuple[str, str, str]:
    if _is_traced(now):
        text = f"{name} was set to a symbolic tensor while tracing, which is of no use afterwards"
        return name, text, "return the tensor from the function, or assign it to a gf.Variable"
    old_text, new_text = ("nothing" if v is MISSING else short(snapshot_of(v)) for v in (old, now))
    return name, f"{name} was changed from {old_text} to {new_text} while tracing", _STATE


_MODE = re.compile(r"""open\s*\(.*?["'][rbtU]*[wax+][rwabt+]*["']""", re.DOTALL)


def _opens_for_writing(file: str, line: int) -> bool:
    text = "".join(linecache.getline(file, line + k) for k in range(3))
    return bool(_MODE.search(text))
