"""gf.Module: an object that finds its variables, as TensorFlow's tf.Module does."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

from .functions.effects import NameScope, name_scope
from .nest import flatten_with_path
from .variable import Variable

__all__ = ["Module"]

_Predicate = Callable[[Any], bool]


class Module:
    """Base of objects that own variables and other modules.

    Variables and modules are found in the attributes and in the lists, tuples, dictionaries and records there, at the
    moment they are asked for: attributes in alphabetical order, a module's own before those of its submodules, each
    object once. name: an identifier; by default the class's name in snake_case.
    """

    #: a module is one leaf of a structure, also where its class is a dataclass or a list
    __graphflow_leaf__ = True
    #: attributes in which nothing is looked for
    _TF_MODULE_IGNORED_PROPERTIES: frozenset[str] = frozenset()

    def __init__(self, name: str | None = None) -> None:
        if name is None:
            name = _snake_case(type(self).__name__)
        elif not name.isidentifier():
            raise ValueError(f"Module: a module's name must be a valid Python identifier, got {name!r}")
        self._name = name
        with name_scope(name) as scope:
            self._scope = scope  # the text: a plain value, which compiled methods of other instances can have too

    @property
    def name(self) -> str:
        """The name given to the constructor."""
        return self._name

    @property
    def name_scope(self) -> NameScope:
        """The scope for the names of this module's variables: `with self.name_scope:`. It begins with the scope in
        which the module was made."""
        return name_scope(self._scope)

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables of this module and its submodules."""
        return tuple(self._flatten(predicate=_is_variable))

    @property
    def trainable_variables(self) -> tuple[Variable, ...]:
        """Those of the variables that are trainable."""
        return tuple(self._flatten(predicate=lambda leaf: _is_variable(leaf) and leaf.trainable))

    @property
    def non_trainable_variables(self) -> tuple[Variable, ...]:
        """Those of the variables that are not trainable."""
        return tuple(self._flatten(predicate=lambda leaf: _is_variable(leaf) and not leaf.trainable))

    @property
    def submodules(self) -> tuple[Module, ...]:
        """All modules below this one."""
        return tuple(self._flatten(predicate=_is_module))

    def _flatten(
        self,
        recursive: bool = True,
        predicate: _Predicate | None = None,
        attribute_traversal_key: Callable[[str], Any] | None = None,
        with_path: bool = False,
        expand_composites: bool = False,
    ) -> Iterator[Any]:
        """The leaves of the attributes for which the predicate is true.

        recursive: those of submodules too. attribute_traversal_key: sorts the attributes' names. with_path: yields
        (path, leaf), and a leaf once for each way that leads to it; without, each leaf once. expand_composites is taken
        for TensorFlow's sake. Raises ValueError, naming the attribute, for a structure that cannot be flattened.
        """
        del expand_composites
        wanted: _Predicate = predicate if predicate is not None else lambda leaf: True
        seen = None if with_path else {id(self)}
        return _walk(self, (), recursive, wanted, attribute_traversal_key, seen, (id(self),))

    @classmethod
    def with_name_scope(cls, method: Any) -> Callable[..., Any]:
        """A decorator for methods: variables made inside are named below the module's scope."""

        @functools.wraps(method)
        def scoped(self: Any, *args: Any, **kwargs: Any) -> Any:
            with self.name_scope:
                return method.__get__(self, type(self))(*args, **kwargs)

        return scoped


def _walk(
    module: Any,
    path: tuple[Any, ...],
    recursive: bool,
    predicate: _Predicate,
    order: Callable[[str], Any] | None,
    seen: set[int] | None,
    above: tuple[int, ...],
) -> Iterator[Any]:
    """seen: ids of the leaves that were met; None where paths are wanted, and then a module is not looked for inside
    itself (`above`: the modules on the way)."""
    attributes = vars(module)
    submodules = []
    for name in sorted(attributes, key=order):
        if name in module._TF_MODULE_IGNORED_PROPERTIES:
            continue
        try:
            leaves = flatten_with_path(attributes[name])
        except Exception as error:
            raise ValueError(f"{type(module).__name__}: attribute {name!r} cannot be flattened: {error}") from error
        for way, leaf in leaves:
            here = (*path, name, *way)
            if seen is not None:
                if id(leaf) in seen:
                    continue
                seen.add(id(leaf))
            if predicate(leaf):
                yield (here, leaf) if seen is None else leaf
            if recursive and _is_module(leaf) and (seen is not None or id(leaf) not in above):
                submodules.append((here, leaf))
    for here, submodule in submodules:  # a module's own leaves come first
        yield from _walk(submodule, here, recursive, predicate, order, seen, (*above, id(submodule)))


def _is_variable(leaf: Any) -> bool:
    return isinstance(leaf, Variable)


def _is_module(leaf: Any) -> bool:
    return isinstance(leaf, Module)


def _snake_case(name: str) -> str:
    """CamelCase as camel_case; runs of capitals stay together (MyMLPLayer: my_mlp_layer)."""
    name = re.sub(r"([a-z\d])([A-Z])", r"\1_\2", name)
    return re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name).lower()
