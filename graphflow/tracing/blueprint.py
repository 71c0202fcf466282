"""Blueprints: a trace without the objects it was made with, to be used with others like them.

The methods of two instances of a class compute the same thing where everything they read is the same, or corresponds: a
variable of equal dtype, shape and name in the same place, an object of the same class. So a trace made for one instance
is kept as a blueprint: its graph and machine code, its guards with places ("attribute w of the instance") where there
were objects, and the places of its variables. Another instance takes it over when every guard finds at these places what
it should, which costs some ten microseconds a guard instead of a trace and a compilation. The same with globals in place
of the instance makes a trace portable to another process (see pickling.py).

It must never give a stale or a foreign value, so a trace has no blueprint where its run

- read something that no guard watches or that it changed itself (a side effect, a large container),
- could see which instance it was (`id`, a default `__hash__`, the instance in a global),
- reached an object whose attributes nobody watches (of a library's class), or a variable by a way that no guard shows,
- returned a Python object, or calls Python while it runs.
"""

from __future__ import annotations

import hashlib
import sys
import types
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from ..dtypes import DType
from ..errors import SideEffectWarning
from ..ir.dims import SymbolicDim
from ..ir.graph import Graph, Node
from ..tensor import Tensor, TensorLike
from ..tree import flatten
from .concrete import ConcreteFunction
from .guards import MISSING, Array, Guard, Identity, Items, Plain, Set, Snapshot, reference_to, snapshot_of
from .signature import Arguments, ObjectKey, bind_symbols

__all__ = ["MOST_BLUEPRINTS", "Blueprint", "NotGeneral", "Provenance", "draw", "stripped_key"]

MOST_BLUEPRINTS = 32
"""Kept for a function; the oldest goes first."""
MOST_CONSTANT_BYTES = 65536
"""A graph with more in constants is not kept for other instances: it would outlive its own."""
INSTANCE = "<instance>"
"""Stands for the instance in a blueprint's key."""


class NotGeneral(Exception):
    """A trace has no blueprint; says why. Not for users: the trace is then used for its own objects alone."""


@dataclass(frozen=True)
class Provenance:
    """What the run of a trace was like. watched: the classes whose attribute reads were seen. obstacle: why it has no
    blueprint, or ""."""

    watched: weakref.WeakSet[type]
    obstacle: str

    @classmethod
    def of(cls, captures: Any) -> Provenance:
        return cls(weakref.WeakSet(captures.watched), _obstacle(captures))


def _obstacle(captures: Any) -> str:
    if captures.changed:
        return f"{captures.changed[0].name} was changed while tracing"
    if captures.writes:
        return "an attribute was written while tracing"
    if captures.blind:
        return f"{captures.blind[0].name} is too large to be compared"
    if captures.dropped:
        return "there are too many captured values"
    if captures.fallback_used:
        return "an attribute was found by __getattr__"
    if captures.identity_used:
        return "an object was hashed by identity"
    for function in captures.functions():
        if _sees_identity(function.__code__):
            return f"{function.__qualname__} calls id() or __getattribute__"
    return ""


def _sees_identity(code: types.CodeType) -> bool:
    if "id" in code.co_names or "__getattribute__" in code.co_names:
        return True
    return any(_sees_identity(inner) for inner in code.co_consts if isinstance(inner, types.CodeType))


# Patterns: what a guard expects, in terms of anchors ------------------------------------------------------------------
@dataclass(frozen=True)
class Anchor:
    """An object that a blueprint leaves open. cls: its class. variable: for variables, (dtype, extents, trainable,
    name)."""

    cls: type
    variable: tuple[Any, ...] | None = None

    def fits(self, value: Any) -> bool:
        return type(value) is self.cls and (self.variable is None or variable_form(value) == self.variable)


def variable_form(variable: Any) -> tuple[Any, ...]:
    return variable.dtype, variable.dims, variable.trainable, variable.name


class Binding:
    """The objects found for a blueprint's anchors: each anchor has one, and no two the same."""

    def __init__(self, anchors: list[Anchor], taken: Iterable[Any]) -> None:
        """taken: objects that no anchor may stand for, because the trace knows them as themselves."""
        self.anchors = anchors
        self.objects: list[Any] = [MISSING] * len(anchors)
        self._used = {id(value) for value in taken}

    def bind(self, number: int, value: Any) -> bool:
        known = self.objects[number]
        if known is not MISSING:
            return known is value
        if id(value) in self._used or not self.anchors[number].fits(value):
            return False
        self.objects[number] = value
        self._used.add(id(value))
        return True


class Pattern(ABC):
    """What the value at a place has to be."""

    @abstractmethod
    def matches(self, value: Any, binding: Binding) -> bool:
        """Does the value fit, given and extending what the anchors are bound to?"""


@dataclass(frozen=True)
class Same(Pattern):
    """As the snapshot says: nothing in it belongs to the instance."""

    snapshot: Snapshot

    def matches(self, value: Any, binding: Binding) -> bool:
        return self.snapshot.matches(value)


@dataclass(frozen=True)
class Bound(Pattern):
    """The object of an anchor."""

    number: int

    def matches(self, value: Any, binding: Binding) -> bool:
        return binding.bind(self.number, value)


@dataclass(frozen=True, eq=False)
class Constant(Pattern):
    """A tensor of these bits: it is a constant of the graph."""

    dtype: DType
    array: np.ndarray[Any, Any]

    def matches(self, value: Any, binding: Binding) -> bool:
        if type(value) is not Tensor or value.dtype is not self.dtype or value._array.shape != self.array.shape:
            return False
        return value._array.tobytes() == self.array.tobytes()


@dataclass(frozen=True)
class Parts(Pattern):
    """A container whose items match."""

    kind: type
    keys: tuple[Any, ...] | None
    items: tuple[Pattern, ...]

    def matches(self, value: Any, binding: Binding) -> bool:
        if type(value) is not self.kind:
            return False
        content: Any = vars(value) if isinstance(value, types.SimpleNamespace) else value
        if len(content) != len(self.items):
            return False
        values: Any = content
        if self.keys is not None:
            keys = tuple(dict.keys(content))
            if keys != self.keys or any(type(a) is not type(b) for a, b in zip(keys, self.keys, strict=True)):
                return False
            values = dict.values(content)
        return all(item.matches(found, binding) for item, found in zip(self.items, values, strict=True))


@dataclass(frozen=True)
class GuardPlan:
    """A guard of an anchor's attribute."""

    name: str
    kind: str
    owner: int
    key: str
    pattern: Pattern

    def value(self, owner: Any) -> Any:
        found = getattr(owner, self.key, MISSING)
        return getattr(found, "__func__", found) if self.kind == "method" else found


# Drawing --------------------------------------------------------------------------------------------------------------
_PROGRAM = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType, types.CodeType)


class Drawing:
    """Works out a trace's anchors and patterns. Raises NotGeneral where there are none."""

    def __init__(self, concrete: ConcreteFunction, instance: Any) -> None:
        self.concrete = concrete
        self.watched = concrete.provenance.watched
        self.anchors: list[Anchor] = [Anchor(type(instance))]
        self._numbers = {id(instance): 0}
        self._kept: list[Any] = [instance]
        self.fixed: list[Guard] = []
        self.plans: list[GuardPlan] = []
        self.known = self._known_objects(instance)

    def _known_objects(self, instance: Any) -> dict[int, Any]:
        """The objects that the trace knows as themselves: through globals, closures, modules, classes and arguments."""
        known: dict[int, Any] = {}
        for value in key_objects(self.concrete.key):
            if value is not instance:
                known[id(value)] = value
        open_ = [g for g in self.concrete.guards if not g.is_dead]
        rest: list[Guard] = []
        for guard in open_:
            (self.fixed if _is_rooted(guard) else rest).append(guard)
        for guard in self.fixed:
            known.update((id(v), v) for v in guard.then.objects())
        again = True
        while again:
            again = False
            for guard in list(rest):
                if id(guard.owner()) in known:
                    rest.remove(guard)
                    self.fixed.append(guard)
                    known.update((id(v), v) for v in guard.then.objects())
                    again = True
        for value in known.values():
            if not self._is_open(value):
                raise NotGeneral(f"an object of {type(value).__name__} may know the instance")
        if id(instance) in known:
            raise NotGeneral("the instance is known to the program by itself")
        self._rest = rest
        return known

    def _is_open(self, value: Any) -> bool:
        """Is all that a program can learn from the object seen? A library's object could look the instance up by its
        identity (a WeakKeyDictionary)."""
        own = type(value).__module__.split(".")[0] == "graphflow"
        return own or isinstance(value, _PROGRAM) or type(value) in self.watched

    def run(self) -> None:
        rest, again = self._rest, True
        while again:
            again = False
            for guard in list(rest):
                number = self._numbers.get(id(guard.owner()))
                if number is not None:
                    rest.remove(guard)
                    pattern = self.pattern(guard.then)
                    self.plans.append(GuardPlan(guard.name, guard.kind, number, guard.key, pattern))
                    again = True
        if rest:
            raise NotGeneral(f"{rest[0].name} belongs to an object of unknown origin")

    def pattern(self, snapshot: Snapshot) -> Pattern:
        if isinstance(snapshot, (Plain, Array)):
            return Same(snapshot)
        if isinstance(snapshot, Set):
            if not all(_is_plain(member) for member in snapshot._members):
                raise NotGeneral("a set of objects")
            return Same(snapshot)
        if isinstance(snapshot, Items):
            if snapshot.keys is not None and not all(map(_is_plain, snapshot.keys)):
                raise NotGeneral("a dictionary whose keys are objects")
            return Parts(snapshot.kind, snapshot.keys, tuple(self.pattern(item) for item in snapshot.items))
        if isinstance(snapshot, Identity):
            return self._object(snapshot)
        raise NotGeneral(f"a value of an unknown kind: {snapshot!r}")

    def _object(self, snapshot: Identity) -> Pattern:
        value = snapshot.reference()
        if id(value) in self._numbers:
            return Bound(self._numbers[id(value)])
        if id(value) in self.known or isinstance(value, _PROGRAM):
            return Same(snapshot)
        if type(value) is Tensor:
            return Constant(value.dtype, value._array)
        if isinstance(value, TensorLike):
            return self.anchor(value, variable_form(value))
        if type(value) in self.watched:
            return self.anchor(value, None)
        if isinstance(value, (list, tuple, dict, set, frozenset, np.ndarray)):
            raise NotGeneral("a container that is too large or too deep to be compared")
        raise NotGeneral(f"an object of {type(value).__name__}, whose attributes nobody watches")

    def anchor(self, value: Any, variable: tuple[Any, ...] | None) -> Pattern:
        number = self._numbers[id(value)] = len(self.anchors)
        self.anchors.append(Anchor(type(value), variable))
        self._kept.append(value)
        return Bound(number)

    def captured(self) -> list[tuple[Any, Any]]:
        """(graph input, number of the variable's anchor or the variable itself)."""
        found = []
        for value, variable in self.concrete.captured:
            if id(variable) in self._numbers:
                found.append((value, self._numbers[id(variable)]))
            elif id(variable) in self.known:
                found.append((value, variable))
            else:
                raise NotGeneral(f"variable {variable.name} is reached by a way that no guard shows")
        return found


def _is_rooted(guard: Guard) -> bool:
    """Does the guard stand for itself, whatever the instance? (A global, a closure cell, an attribute of a module or
    class.)"""
    return guard.kind in ("item", "cell") or isinstance(guard.owner(), (types.ModuleType, type, types.FunctionType))


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, complex, str, bytes, Enum, DType))


def check_graph(graph: Graph) -> None:
    """Raises NotGeneral for a graph that holds Python objects (functions to call)."""
    for node in every_node(graph):
        for name, value in node.attributes.items():
            if not all(_is_data(leaf) for leaf in flatten(value)):
                raise NotGeneral(f"the op {node.op.name} holds a Python object ({name})")


def every_node(graph: Graph) -> Iterator[Node]:
    """The nodes of a graph and of the graphs inside them."""
    for node in graph.nodes:
        yield node
        for inner in node.subgraphs():
            yield from every_node(inner)


def _is_data(value: Any) -> bool:
    return _is_plain(value) or isinstance(value, (np.ndarray, np.generic, SymbolicDim, Graph, range, slice))


def constant_bytes(graph: Graph) -> int:
    """Bytes of the constants in a graph."""
    return sum(v.nbytes for n in every_node(graph) for v in n.attributes.values() if isinstance(v, np.ndarray))


# Keys -----------------------------------------------------------------------------------------------------------------
def stripped_key(key: Any, instance: Any) -> Any:
    """An arguments' key with INSTANCE for the instance itself (the first argument). Raises NotGeneral where the
    instance is among the other arguments too."""
    positional, named = key
    rest = (positional[1:], named)
    if any(value is instance for value in key_objects(rest)):
        raise NotGeneral("the instance is an argument too")
    return ((INSTANCE, *positional[1:]), named)


def key_objects(key: Any) -> Iterator[Any]:
    """The objects that a key knows by identity."""
    if isinstance(key, ObjectKey):
        value = key._get()
        if value is not None:
            yield value
    elif isinstance(key, tuple):
        for part in key:
            yield from key_objects(part)


# Blueprints -----------------------------------------------------------------------------------------------------------
@dataclass(eq=False)
class Blueprint:
    """See the module. fixed: guards that hold for every instance alike. known: references to objects that no anchor may
    stand for."""

    key: Any
    source: ConcreteFunction
    anchors: list[Anchor]
    plans: list[GuardPlan]
    fixed: list[Guard]
    known: list[Any]
    captured: list[tuple[Any, Any]]
    uses: int = field(default=0)

    def realise(self, function: Any, arguments: Arguments, instance: Any) -> ConcreteFunction | None:
        """The trace for this instance and these arguments; None where something does not correspond."""
        if bind_symbols(self.source.types, arguments.shapes) is None:  # type: ignore[arg-type]
            return None
        known = [value for reference in self.known if (value := reference()) is not None]
        binding = Binding(self.anchors, [*known, *arguments.variables])
        if not binding.bind(0, instance) or not all(guard.holds() for guard in self.fixed):
            return None
        guards = list(self.fixed)
        for plan in self.plans:
            owner = binding.objects[plan.owner]
            value = plan.value(owner)
            if not plan.pattern.matches(value, binding):
                return None
            guards.append(Guard(plan.name, plan.kind, reference_to(owner), plan.key, snapshot_of(value)))
        captured = [(v, binding.objects[a] if isinstance(a, int) else a) for v, a in self.captured]
        self.uses += 1
        made = self.source.like(guards, captured, arguments.key)
        made.reason = f"as for another {type(instance).__name__}"
        return made


def draw(concrete: ConcreteFunction, instance: Any) -> Blueprint | None:
    """The blueprint of a method's trace, or None where it has none."""
    try:
        if concrete.provenance is None or concrete.provenance.obstacle:
            return None
        if isinstance(instance, (type, types.ModuleType)):
            return None  # its attributes are guarded as themselves
        if has_side_effects(concrete):
            return None  # they are to happen for each instance
        if concrete.pinned or constant_bytes(concrete.graph) > MOST_CONSTANT_BYTES:
            return None
        check_graph(concrete.graph)
        check_result(concrete.result)
        key = stripped_key(concrete.key, instance)
        drawing = Drawing(concrete, instance)
        drawing.run()
        captured = drawing.captured()
    except NotGeneral:
        return None
    known = [reference_to(value) for value in drawing.known.values()]
    # The source keeps graph and code, and nothing of the instance it was made for.
    source = concrete.like([], [], None)
    return Blueprint(key, source, drawing.anchors, drawing.plans, drawing.fixed, known, captured)


def has_side_effects(concrete: ConcreteFunction) -> bool:
    """Did tracing do something that a call of the compiled function does not do?"""
    return any(issubclass(category, SideEffectWarning) for category, *_ in concrete.sightings)


def check_result(result: Any) -> None:
    """Raises NotGeneral where a returned structure holds a Python object."""
    for leaf in flatten(result):
        if leaf.output < 0 and not _is_plain(leaf.value):
            raise NotGeneral("a Python object is returned")


def fingerprint(code: types.CodeType) -> str:
    """A text that changes when code does (between two versions of a source file)."""
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())

    def add(code: types.CodeType) -> None:
        for part in (code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_argcount):
            digest.update(repr(part).encode())
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                add(constant)
            else:
                digest.update(repr(constant).encode())

    add(code)
    return digest.hexdigest()
