"""Pickling of functions, methods and concrete functions: IR and signature travel, machine code does not.

A function that can be imported is pickled by reference, and the graphs of its traces go with it (`Portable`): text of
the IR, the arguments' key, and the guards by place ("global 'scale' of module train"). Where the loading process meets a
call of such a signature, every guard is checked against what the place holds there, and against the code of the
functions that were traced; if all agree, the graph is compiled (or its code is found in the disk cache) and no Python is
traced. Captured variables are those of the loading process.

A concrete function is pickled by value: IR text, signature, and its captured variables. It needs no source to run.
"""

from __future__ import annotations

import importlib
import os
import pickle
import sys
import types
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import NotPicklableError
from ..ir.graph import Graph, Node
from ..ir.parser import parse
from ..ir.printer import print_graph
from ..tensor import Tensor, TensorLike
from .blueprint import (
    INSTANCE,
    Anchor,
    Binding,
    Constant,
    Drawing,
    NotGeneral,
    Pattern,
    Provenance,
    Same,
    check_graph,
    check_result,
    every_node,
    fingerprint,
    has_side_effects,
    stripped_key,
    variable_form,
)
from .captures import plain_function
from .concrete import ConcreteFunction
from .guards import MISSING, Array, Guard, Identity, Plain, Set, Snapshot, reference_to, snapshot_of
from .signature import Arguments, ObjectKey, bind_symbols

__all__ = ["Portable", "bound_function_state", "concrete_state", "function_state", "portable"]

FORMAT = 2
"""Raised when what is written changes; another format's traces are left unused."""


GraphState = tuple[str, list[str | None], list[Any]]


# Concrete functions ---------------------------------------------------------------------------------------------------
def concrete_state(concrete: ConcreteFunction) -> tuple[Any, ...]:
    """What ConcreteFunction.__reduce__ returns. Raises NotPicklableError where the graph calls Python functions."""
    for node in every_node(concrete.graph):
        if node.op.name == "python_call":
            error = NotPicklableError(
                f"{concrete.name}: a concrete function that calls Python (gf.py_function or gf.numpy_function) cannot be "
                f"pickled"
            )
            error.place = node.source
            error.hint = "write the step with gf ops, or pickle the Python function and trace it where it is loaded"
            raise error
    places = {value: k for k, value in enumerate(concrete.graph.inputs)}
    state = {
        "format": FORMAT,
        "graph": graph_state(concrete.graph),
        **_call_form(concrete, places),
        "captured": [(places[v], variable) for v, variable in concrete.captured],
    }
    return _load_concrete, (state,)


def _call_form(concrete: ConcreteFunction, places: dict[Any, int]) -> dict[str, Any]:
    """How a trace is called and what it returns, its values by their places among the graph's inputs."""
    return {
        "name": concrete.name,
        "types": concrete.types,
        "names": concrete.names,
        "result": concrete.result,
        "argument_variables": [places[v] for v in concrete.argument_variables],
        "variable_positions": concrete.variable_positions,
    }


def _load_concrete(state: dict[str, Any]) -> ConcreteFunction:
    if state["format"] != FORMAT:
        raise NotPicklableError(
            f"{state['name']}: pickled by another version of graphflow (format {state['format']}, this one reads {FORMAT})"
        )
    graph = load_graph(state["graph"])
    return ConcreteFunction(
        state["name"],
        graph,
        state["types"],
        state["names"],
        state["result"],
        [],
        [graph.inputs[k] for k in state["argument_variables"]],
        state["variable_positions"],
        [(graph.inputs[k], variable) for k, variable in state["captured"]],
        None,
        "loaded",
    )


def graph_state(graph: Graph) -> GraphState:
    """A graph as text, with what is no part of the text: the devices asked for, and the gradients that users wrote."""
    nodes = list(every_node(graph))
    gradients = [node.attributes["gradient"] for node in nodes if node.op.name == "custom_gradient"]
    return print_graph(graph, full_paths=True), [node.device for node in nodes], gradients


def load_graph(state: GraphState) -> Graph:
    """The graph again."""
    text, devices, gradients = state
    graph = parse(text, stand_in=str)
    left = iter(gradients)
    for node, device in zip(every_node(graph), devices, strict=True):
        node.device = device
        if node.op.name == "custom_gradient":
            node.attributes["gradient"] = next(left)
    return graph


# Functions ------------------------------------------------------------------------------------------------------------
def function_state(function: Any) -> tuple[Any, ...]:
    """What Function.__reduce__ returns. Raises NotPicklableError for a function that cannot be found again by name."""
    python = function.python_function
    traces = [p for c in function._entries if (p := portable(c, None)) is not None]
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if module != "__main__" and _found(module, name) is function:
        return _load_function, (module, name, traces)
    if not isinstance(python, types.FunctionType):
        return _make_function, (_callable_state(python), function.options(), traces)
    if module != "__main__" and _found(module, name) is python:
        return _make_function, ((python,), function.options(), traces)
    raise _not_importable(function, module, str(name))


def _not_importable(function: Any, module: Any, name: str) -> NotPicklableError:
    if module == "__main__":
        why = "it is defined in __main__, which another process cannot import"
    elif "<lambda>" in name:
        why = "it is a lambda, which has no name to import it by"
    elif "<locals>" in name:
        why = f"it is defined inside a function ({name}), where it cannot be imported from"
    else:
        why = f"{module}.{name} is not this function"
    error = NotPicklableError(f"{function.name}: this gf.function cannot be pickled: {why}")
    error.hint = (
        "define it at the top level of a module, or pickle f.get_concrete_function(...), which carries its graph and "
        "variables"
    )
    return error


def _callable_state(python: Any) -> tuple[Any, ...]:
    """A method, a partial object, a callable instance: the parts to make it of."""
    if isinstance(python, types.MethodType):
        return python.__func__, python.__self__
    return (python,)


def _make_function(parts: tuple[Any, ...], options: dict[str, Any], traces: list[Portable]) -> Any:
    from .function import Function

    python = parts[0] if len(parts) == 1 else types.MethodType(*parts)
    function = Function(python, **options)
    function._blueprints += traces
    return function


def _load_function(module: str, name: str, traces: list[Portable]) -> Any:
    function = _found(module, name, load=True)
    if not hasattr(function, "_blueprints"):
        raise NotPicklableError(f"{module}.{name} was a gf.function when it was pickled; here it is {function!r}")
    function.add_blueprints(traces)
    return function


def bound_function_state(bound: Any) -> tuple[Any, ...]:
    """What BoundFunction.__reduce__ returns: the class, the attribute, the instance and the traces."""
    function, instance = bound._function, bound._instance
    for cls in type(instance).__mro__:
        for name, member in vars(cls).copy().items():
            if getattr(member, "python_function", None) is function.python_function:
                traces = [p for c in function._entries if (p := portable(c, instance)) is not None]
                return _load_bound, (cls, name, instance, traces)
    raise _not_importable(function, type(instance).__module__, function.python_function.__qualname__)


def _load_bound(cls: type, name: str, instance: Any, traces: list[Portable]) -> Any:
    bound = vars(cls)[name].__get__(instance, type(instance))
    bound._function.add_blueprints(traces)
    return bound


def _found(module: Any, name: Any, load: bool = False) -> Any:
    """What `module.name` is; None where there is nothing."""
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name:
        return None
    value: Any = importlib.import_module(module) if load else sys.modules.get(module)
    for part in name.split("."):
        value = getattr(value, part, None)
    return value


# Portable traces ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Place:
    """A namespace or function by name. kind: "globals", "environment", "module", "class" or "function"."""

    kind: str
    module: str = ""
    name: str = ""
    position: int = 0

    def find(self) -> Any:
        """What has the name here; None where there is nothing."""
        if self.kind == "environment":
            return os.environ
        module = sys.modules.get(self.module)
        if module is None or self.kind == "module":
            return module
        if self.kind == "globals":
            return vars(module)
        found = _found(self.module, self.name)
        if self.kind == "class":
            return found
        inside = list(functions_in(found))
        return inside[self.position] if self.position < len(inside) else None


@dataclass(frozen=True)
class Code(Pattern):
    """A code object with these instructions."""

    text: str

    def matches(self, value: Any, binding: Binding) -> bool:
        return isinstance(value, types.CodeType) and fingerprint(value) == self.text


@dataclass(frozen=True)
class Named(Pattern):
    """A module, function, class or gf.function by its name; its code, if it is the user's, has a guard of its own."""

    module: str
    name: str

    def matches(self, value: Any, binding: Binding) -> bool:
        if isinstance(value, types.ModuleType):
            return (value.__name__, "") == (self.module, self.name)
        return (getattr(value, "__module__", None), getattr(value, "__qualname__", None)) == (self.module, self.name)


@dataclass(frozen=True)
class PortablePlan:
    """A guard by place: owner is a Place or an anchor's number."""

    name: str
    kind: str
    owner: Place | int
    key: Any
    pattern: Pattern

    def guard(self, binding: Binding) -> Guard | None:
        """The guard in this process; None where the value is not what it should be."""
        owner = self.owner.find() if isinstance(self.owner, Place) else binding.objects[self.owner]
        if owner is None or owner is MISSING:
            return None
        where = (lambda: owner) if self.kind == "item" else reference_to(owner)
        guard = Guard(self.name, self.kind, where, self.key, snapshot_of(None))
        value = guard.get()
        if not self.pattern.matches(value, binding):
            return None
        return Guard(self.name, self.kind, where, self.key, snapshot_of(value))


@dataclass(eq=False)
class Portable:
    """A trace for another process; has the methods of a Blueprint. graph: see graph_state. fields: of the concrete
    function. captured: (number of a graph input, anchor of the variable)."""

    key: Any
    is_method: bool
    graph: Any
    fields: dict[str, Any]
    anchors: list[Anchor]
    plans: list[PortablePlan]
    captured: list[tuple[int, int]]
    uses: int = 0
    _loaded: list[Graph] = field(default_factory=list)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": []}

    def realise(self, function: Any, arguments: Arguments, instance: Any) -> ConcreteFunction | None:
        """The trace for this process's objects and these arguments; None where something is not as it was."""
        if bind_symbols(self.fields["types"], arguments.shapes) is None:  # type: ignore[arg-type]
            return None
        binding = Binding(self.anchors, arguments.variables)
        if self.is_method and not binding.bind(0, instance):
            return None
        guards = []
        for plan in self.plans:
            guard = plan.guard(binding)
            if guard is None:
                return None
            guards.append(guard)
        if not self._loaded:
            self._loaded.append(load_graph(self.graph))
        graph, fields = self._loaded[0], self.fields
        return ConcreteFunction(
            fields["name"],
            graph,
            fields["types"],
            fields["names"],
            fields["result"],
            guards,
            [graph.inputs[k] for k in fields["argument_variables"]],
            fields["variable_positions"],
            [(graph.inputs[k], binding.objects[anchor]) for k, anchor in self.captured],
            arguments.key,
            "as in the process that pickled it",
            provenance=Provenance(weakref.WeakSet(a.cls for a in self.anchors if a.variable is None), ""),
            is_shared=True,
        )

    def same(self, other: Any) -> bool:
        """The same trace, loaded twice?"""
        return isinstance(other, Portable) and (self.key, self.graph) == (other.key, other.graph)


def portable(concrete: ConcreteFunction, instance: Any) -> Portable | None:
    """A trace in portable form; None where it has none (see blueprint.py): the function then traces again."""
    try:
        provenance = concrete.provenance
        if provenance is None or provenance.obstacle or concrete.pinned or has_side_effects(concrete):
            return None
        check_graph(concrete.graph)
        check_result(concrete.result)
        if any(isinstance(node, Node) and node.op.name == "python_call" for node in every_node(concrete.graph)):
            return None
        key = stripped_key(concrete.key, instance) if instance is not None else concrete.key
        _check_key(key)
        drawing = PortableDrawing(concrete, instance)
        drawing.run()
        places = {value: k for k, value in enumerate(concrete.graph.inputs)}
        found = Portable(
            key,
            instance is not None,
            graph_state(concrete.graph),
            _call_form(concrete, places),
            drawing.anchors,
            drawing.portable_plans,
            [(places[v], anchor) for v, anchor in drawing.captured()],
        )
        pickle.dumps(found)  # a class or value in it that cannot be pickled: the trace stays here
    except (NotGeneral, pickle.PicklingError, TypeError, AttributeError):
        return None
    return found


class PortableDrawing(Drawing):
    """A drawing that knows no object as itself: all are found by place."""

    def __init__(self, concrete: ConcreteFunction, instance: Any) -> None:
        self.portable_plans: list[PortablePlan] = []
        super().__init__(concrete, instance)
        if instance is None:
            self.anchors.clear()
            self._numbers.clear()

    def _known_objects(self, instance: Any) -> dict[int, Any]:
        self._rest = [g for g in self.concrete.guards if not g.is_dead]
        return {}

    def run(self) -> None:
        """Guards of namespaces first, then those of objects, in the order in which they are found."""
        rest, again = self._rest, True
        while again:
            again = False
            for guard in list(rest):
                owner = self._owner(guard)
                if owner is not None:
                    rest.remove(guard)
                    pattern = self.pattern(guard.then)
                    self.portable_plans.append(PortablePlan(guard.name, guard.kind, owner, guard.key, pattern))
                    again = True
        if rest:
            raise NotGeneral(f"{rest[0].name} belongs to an object of unknown origin")

    def _owner(self, guard: Guard) -> Place | int | None:
        owner = guard.owner()
        if guard.kind == "cell":
            raise NotGeneral(f"{guard.name} is in a closure")
        if guard.kind == "item":
            place = Place("environment") if owner is os.environ else Place("globals", str(owner.get("__name__")))
        elif isinstance(owner, types.ModuleType):
            place = Place("module", owner.__name__)
        elif isinstance(owner, type):
            place = Place("class", owner.__module__, owner.__qualname__)
        elif isinstance(owner, types.FunctionType):
            place = self._function_place(owner)
        else:
            return self._numbers.get(id(owner))
        if place.find() is not owner or place.module == "__main__":
            raise NotGeneral(f"{guard.name} has no name in another process")
        return place

    def _function_place(self, function: types.FunctionType) -> Place:
        """By the function's own name, or as a member of a class in reach."""
        names = [(function.__module__, function.__qualname__)]
        for cls in self.watched:
            for ancestor in cls.__mro__:
                names += [(ancestor.__module__, f"{ancestor.__qualname__}.{name}") for name in vars(ancestor).copy()]
        for module, name in names:
            for position, found in enumerate(functions_in(_found(module, name))):
                if found is function:
                    return Place("function", module, name, position)
        raise NotGeneral(f"{function.__qualname__} has no name in another process")

    def _object(self, snapshot: Identity) -> Pattern:
        value = snapshot.reference()
        if id(value) in self._numbers:
            return super()._object(snapshot)
        if isinstance(value, types.ModuleType):
            return Named(value.__name__, "")
        if isinstance(value, types.CodeType):
            return Code(fingerprint(value))
        if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)) or hasattr(
            value, "python_function"
        ):
            if value.__module__ == "__main__" or "<" in value.__qualname__:
                raise NotGeneral(f"{value.__qualname__} has no name in another process")
            return Named(value.__module__, value.__qualname__)
        if isinstance(value, TensorLike) and type(value) is not Tensor:
            return self.anchor(value, variable_form(value))
        if type(value) is Tensor:
            return Constant(value.dtype, value._array)
        if type(value) in self.watched:
            return self.anchor(value, None)
        raise NotGeneral(f"an object of {type(value).__name__}")

    def pattern(self, snapshot: Snapshot) -> Pattern:
        if isinstance(snapshot, (Plain, Array, Set)):
            return Same(snapshot)
        return super().pattern(snapshot)


def functions_in(value: Any) -> Iterator[types.FunctionType]:
    """The Python function behind a function, gf.function, method or property, and those that it wraps."""
    function = plain_function(value.fget if isinstance(value, property) else value)
    while function is not None:
        yield function
        function = plain_function(getattr(function, "__wrapped__", None))


def _check_key(key: Any) -> None:
    if isinstance(key, ObjectKey):
        raise NotGeneral("an argument is known by identity")
    if isinstance(key, (tuple, frozenset)) and key != INSTANCE:
        for part in key:
            _check_key(part)
