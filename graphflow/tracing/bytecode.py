"""What a function's bytecode says about the Python state it reads and writes, and whose code it is."""

from __future__ import annotations

import dis
import functools
import inspect
import sysconfig
import types
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Chain",
    "CodeFacts",
    "facts_of",
    "is_installed",
    "is_library",
    "is_users_file",
    "is_users_module",
    "plain_function",
]

_LIBRARIES = tuple({sysconfig.get_paths()[k] for k in ("stdlib", "platstdlib")})
_INSTALLED = tuple({sysconfig.get_paths()[k] for k in ("purelib", "platlib")})
_PACKAGE = __file__.rsplit("tracing", 1)[0]
#: installed packages whose Python values are no settings of the user's. Other installed packages may be: they are
#: guarded like the user's own files.
_KNOWN = frozenset(
    "numpy scipy numba llvmlite networkx rich ml_dtypes platformdirs numba_cuda cuda nvmath pytest _pytest pluggy "
    "hypothesis mpmath torch tensorflow keras jax jaxlib pandas matplotlib sklearn PIL IPython ipykernel traitlets "
    "pydantic pydantic_core attr attrs tqdm coverage setuptools pkg_resources pip mypy ray mpi4py yaml".split()
)


@functools.lru_cache(4096)
def is_library(file: str) -> bool:
    """Is it a file whose code reads no state of the user's? graphflow's own is one too."""
    return _is_known(file) or file.startswith(_PACKAGE)


def is_users_file(file: str) -> bool:
    """May classes of this file hold a user's settings? graphflow's own are looked at by module."""
    return file.startswith(_PACKAGE) or not _is_known(file)


def is_users_module(module: types.ModuleType) -> bool:
    """May a module hold a user's settings? One without a file does where it was made by hand, or is a notebook."""
    file = getattr(module, "__file__", None)
    specification = getattr(module, "__spec__", None)
    if file is None:
        return specification is None or specification.origin is None
    return not is_library(file)


@functools.lru_cache(4096)
def is_installed(file: str) -> bool:
    """Is it code of an installed package, the standard library or graphflow, and not the user's own file?"""
    return file.startswith((*_LIBRARIES, *_INSTALLED, _PACKAGE, "<frozen", "<call "))


def _is_known(file: str) -> bool:
    for folder in _INSTALLED:
        if file.startswith(folder):
            return file[len(folder) + 1 :].split("/")[0].split("\\")[0].split(".")[0] in _KNOWN
    return file.startswith((*_LIBRARIES, "<frozen"))


def plain_function(value: Any) -> types.FunctionType | None:
    """The Python function behind a method, a decorated function or a gf.function."""
    for _ in range(8):
        if isinstance(value, types.FunctionType):
            return value
        if isinstance(value, (types.MethodType, staticmethod, classmethod)):
            value = value.__func__
        elif isinstance(value, (functools.partial, functools.partialmethod, functools.cached_property)):
            value = value.func
        else:
            own = _attributes_of(value)
            inner = own.get("python_function", own.get("__wrapped__")) if isinstance(own, dict) else None
            if inner is None and not isinstance(value, type):
                inner = inspect.getattr_static(type(value), "__call__", None)
            value = inner
    return None


def _attributes_of(value: Any) -> Any:
    """An object's own attributes, past any __getattr__ of the user's."""
    try:
        return object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None


# Bytecode -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Chain:
    """`base.a.b` as it is read. kind: "global", "cell" or "local" (of the base); path: the attributes."""

    kind: str
    base: str
    path: tuple[str, ...]
    line: int


@dataclass
class CodeFacts:
    """What one code object, with the functions and comprehensions written in it, reads and writes.

    chains: reads. attributes: every attribute name that is read. constants: strings that may be names. imports: modules
    imported inside. stores: (kind, base, path, line) of assignments and deletions of globals, outer variables, and
    attributes of a chain.
    """

    chains: list[Chain] = field(default_factory=list)
    attributes: set[str] = field(default_factory=set)
    constants: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)
    stores: list[Chain] = field(default_factory=list)


_READS = {
    "LOAD_GLOBAL": "global",
    "LOAD_NAME": "global",
    "LOAD_DEREF": "cell",
    "LOAD_CLASSDEREF": "cell",
    "LOAD_FROM_DICT_OR_DEREF": "cell",
    "LOAD_FROM_DICT_OR_GLOBALS": "global",
    "LOAD_FAST": "local",
    "LOAD_FAST_BORROW": "local",
    "LOAD_FAST_CHECK": "local",
}
_WRITES = {"STORE_GLOBAL": "global", "DELETE_GLOBAL": "global", "STORE_DEREF": "cell", "DELETE_DEREF": "cell"}
_SILENT = ("CACHE", "EXTENDED_ARG", "PUSH_NULL", "NOT_TAKEN", "RESUME", "PRECALL")
_facts: weakref.WeakKeyDictionary[types.CodeType, CodeFacts] = weakref.WeakKeyDictionary()


def facts_of(code: types.CodeType) -> CodeFacts:
    """The facts of a code object; read once."""
    found = _facts.get(code)
    if found is None:
        found = _facts[code] = CodeFacts()
        chains: dict[Chain, None] = {}
        _read(code, found, chains, set(code.co_freevars))
        found.chains = list(chains)
    return found


def _read(code: types.CodeType, facts: CodeFacts, chains: dict[Chain, None], outer: set[str]) -> None:
    """outer: the free variables of the outermost function: the others are its own."""
    current: Chain | None = None
    line = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name in _SILENT:
            continue
        if instruction.positions is not None and instruction.positions.lineno is not None:
            line = instruction.positions.lineno
        if name in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
            facts.attributes.add(str(instruction.argval))
            if current is not None:
                current = Chain(current.kind, current.base, (*current.path, str(instruction.argval)), current.line)
                continue
        if current is not None:
            if name in ("STORE_ATTR", "DELETE_ATTR"):
                facts.stores.append(Chain(current.kind, current.base, (*current.path, str(instruction.argval)), line))
            _keep(current, chains, outer)
            current = None
        if name in _READS:
            current = Chain(_READS[name], str(instruction.argval), (), line)
        elif name in _WRITES and (_WRITES[name] == "global" or instruction.argval in outer):
            facts.stores.append(Chain(_WRITES[name], str(instruction.argval), (), line))
        elif name == "IMPORT_NAME":
            facts.imports.add(str(instruction.argval))
        elif name == "IMPORT_FROM":
            facts.attributes.add(str(instruction.argval))
    if current is not None:
        _keep(current, chains, outer)
    for constant in _constants(code.co_consts):
        if isinstance(constant, types.CodeType):
            _read(constant, facts, chains, outer)
        elif isinstance(constant, str) and constant.isidentifier():
            facts.constants.add(constant)


def _keep(chain: Chain, chains: dict[Chain, None], outer: set[str]) -> None:
    if chain.kind != "local" or chain.path:
        chains[chain] = None


def _constants(values: tuple[Any, ...]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, tuple):
            yield from _constants(value)
        else:
            yield value
