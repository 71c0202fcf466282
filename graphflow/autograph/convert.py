"""Converting a function: its code object, once; a function of the new code for each use.

The new function has the old one's globals, closure cells, defaults, annotations, name and attributes, and its code the
old file, lines and columns. Code objects are kept by identity and weakly: two functions of different files can have
equal code.
"""

from __future__ import annotations

import ast
import dis
import inspect
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError, UnimplementedError
from ..ir.source import CodeTable
from ..locks import renew_after_fork
from ..tracing.bytecode import is_installed, plain_function
from .build import HELPER, OPERATORS
from .reasons import Converted, conversions, made_code

__all__ = [
    "block_locals",
    "convert_function",
    "converted",
    "is_converted",
    "to_code",
    "to_graph",
]

_lock = threading.RLock()


def renew_locks() -> None:
    """In a forked child."""
    global _lock
    _lock = threading.RLock()


renew_after_fork(sys.modules[__name__])


def is_converted(code: types.CodeType) -> bool:
    """Was this code made here?"""
    return made_code.get(code) is not None


def block_locals(code: types.CodeType) -> frozenset[str]:
    """The local names of the function that a block's code belongs to."""
    return made_code.get(code) or frozenset()


def convert_function(function: types.FunctionType) -> types.FunctionType:
    """The function of converted code for a Python function, or the function itself where there is nothing to convert."""
    code = function.__code__
    if is_converted(code):
        return function
    found = conversions.get(code)
    if found is None:
        if not _may_need_conversion(function):
            return function
        with _lock:
            found = conversions.get(code)
            if found is None:
                found = _convert_code(function)
                conversions.set(code, found)
    return function if found.code is None else _with_code(function, found.code)


def _with_code(function: types.FunctionType, code: types.CodeType) -> types.FunctionType:
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    cells[OPERATORS] = _operators_cell()
    made = types.FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, tuple(cells[n] for n in code.co_freevars)
    )
    made.__kwdefaults__ = function.__kwdefaults__
    made.__doc__ = function.__doc__
    made.__module__ = function.__module__
    made.__qualname__ = function.__qualname__
    made.__dict__.update(function.__dict__)
    annotate = getattr(function, "__annotate__", None)
    if annotate is not None:  # Python 3.14: annotations are evaluated when asked for
        made.__annotate__ = annotate  # type: ignore[attr-defined]
    else:
        made.__annotations__ = function.__annotations__
    if getattr(function, "__type_params__", ()):
        made.__type_params__ = function.__type_params__  # type: ignore[attr-defined]
    return made


_cell: list[Any] = []


def _operators_cell() -> Any:
    if not _cell:
        from . import operators

        _cell.append(types.CellType(operators))
    return _cell[0]


def _convert_code(function: types.FunctionType) -> Converted:
    from .jumps import NotLowered  # the rewriting is loaded when something is converted
    from .locate import NoSource, locate

    code = function.__code__
    if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        return Converted(None, "generators and coroutines run as they are")
    try:
        found = locate(function)
    except NoSource as problem:
        return Converted(None, str(problem), needs_source=True)
    try:
        return Converted(_compile(found.node, found.class_name, code))
    except NotLowered as problem:
        return Converted(None, f"'{function.__name__}' has {problem}", needs_source=True)


def _compile(node: Any, class_name: str | None, code: types.CodeType) -> types.CodeType:
    from .locate import compile_function
    from .rewrite import convert_tree

    convert_tree(node, class_name)
    made = compile_function(node, class_name, code, (OPERATORS, *code.co_freevars))
    return _named(made, code.co_name, code.co_qualname)


def _named(code: types.CodeType, name: str, qualname: str, around: frozenset[str] | None = None) -> types.CodeType:
    """The code with its helper functions named after the function they are part of, and all of it registered with its
    function's local names. around: these names, for code inside a function."""
    helper = code.co_name.startswith(".") or bool(code.co_varnames) and code.co_varnames[0] == HELPER
    own = frozenset({*code.co_varnames, *code.co_cellvars})
    if around is not None and not helper:
        name, qualname = code.co_name, code.co_qualname
    elif around is not None:
        own |= around
    constants = tuple(_named(c, name, qualname, own) if isinstance(c, types.CodeType) else c for c in code.co_consts)
    renamed = code.replace(co_name=name, co_qualname=qualname, co_consts=constants)
    made_code.set(renamed, own)
    return renamed


# What needs conversion ------------------------------------------------------------------------------------------------
_PLAIN = frozenset(
    "CACHE EXTENDED_ARG RESUME NOP COPY_FREE_VARS MAKE_CELL POP_TOP PUSH_NULL PRECALL KW_NAMES CALL RETURN_VALUE "
    "RETURN_CONST LOAD_FAST LOAD_CONST LOAD_GLOBAL LOAD_DEREF LOAD_ATTR LOAD_METHOD STORE_FAST BINARY_OP BINARY_SUBSCR "
    "BUILD_TUPLE BUILD_LIST BUILD_MAP BUILD_SLICE UNPACK_SEQUENCE UNARY_NEGATIVE UNARY_POSITIVE UNARY_INVERT COPY SWAP "
    "COMPARE_OP IS_OP LIST_EXTEND LOAD_FAST_LOAD_FAST STORE_FAST_STORE_FAST STORE_FAST_LOAD_FAST BINARY_SLICE CALL_KW "
    "LOAD_FAST_CHECK LOAD_SMALL_INT LOAD_FAST_BORROW LOAD_FAST_BORROW_LOAD_FAST_BORROW LOAD_ASSERTION_ERROR NOT_TAKEN".split()
)
_plain_code = CodeTable()


def _may_need_conversion(function: types.FunctionType) -> bool:
    """False for straight-line code that calls nothing but libraries: most small functions. Reads the code object alone,
    so that no file is parsed for them."""
    code = function.__code__
    called = _plain_code.get(code)
    if called is None:
        called = _calls_of(code)
        _plain_code.set(code, called)
    if called is False:
        return True
    return not all(_is_library_call(function, base, path) for base, path in called)


def _calls_of(code: types.CodeType) -> Any:
    """The globals, with attributes, that straight-line code reads; False for any other code."""
    found: list[tuple[str, tuple[str, ...]]] = []
    chain = False
    previous = ""
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name not in _PLAIN:
            return False
        if name in ("CACHE", "EXTENDED_ARG", "PRECALL", "RESUME", "NOT_TAKEN"):
            continue
        if name == "LOAD_GLOBAL":
            found.append((str(instruction.argval), ()))
            chain = True
        elif name in ("LOAD_ATTR", "LOAD_METHOD") and chain:
            base, path = found[-1]
            found[-1] = (base, (*path, str(instruction.argval)))
        else:
            if (
                name == "LOAD_METHOD"
                or name == "LOAD_ATTR"
                and instruction.arg is not None
                and _is_method_load(instruction)
            ):
                return False  # a method of something local
            if (
                name == "PUSH_NULL"
                and not chain
                or name != "PUSH_NULL"
                and previous == "PUSH_NULL"
                and name != "LOAD_CONST"
            ):
                return False  # something local is called
            chain = chain and name == "PUSH_NULL"
        previous = name
    return tuple(found)


def _is_method_load(instruction: dis.Instruction) -> bool:
    return "LOAD_METHOD" not in dis.opmap and bool((instruction.arg or 0) & 1)


def _is_library_call(function: types.FunctionType, base: str, path: tuple[str, ...]) -> bool:
    """Does a global lead to a library, or to something that is not called?"""
    from .calls import has_overload

    missing = object()
    scope = function.__globals__
    builtins: Any = scope.get("__builtins__")
    table = builtins if isinstance(builtins, dict) else vars(builtins) if builtins is not None else {}
    value = scope.get(base, table.get(base, missing))
    for attribute in path:
        if isinstance(value, types.ModuleType):
            value = getattr(value, attribute, missing)
        elif isinstance(value, (types.FunctionType, type)):
            return False
        else:
            return not hasattr(type(value), "__graphflow_user__") and _is_data(value)
    return value is missing or _is_data(value) or _is_library_object(value) and not has_overload(value)


def _is_data(value: Any) -> bool:
    """Is it no callable of a user's?"""
    kind = type(value)
    return (
        is_library_module(kind.__module__)
        and not isinstance(value, (type, types.FunctionType, types.MethodType, types.BuiltinFunctionType))
        and not (
            callable(value)
            and kind.__module__ in ("functools", "graphflow.tracing.function", "graphflow.tracing.methods")
        )
    )


def _is_library_object(value: Any) -> bool:
    if isinstance(value, types.ModuleType):
        return True
    if isinstance(value, (types.FunctionType, types.MethodType)):
        return is_installed(getattr(value, "__func__", value).__code__.co_filename)
    return is_library_module(getattr(value, "__module__", None) or "builtins")


def is_library_module(name: str | None) -> bool:
    """Is a module part of graphflow, of Python or of an installed library?"""
    import sys

    module = sys.modules.get(name or "")
    if module is None:
        return False
    file = getattr(module, "__file__", None)
    return is_installed(file) if file else (name or "") in sys.builtin_module_names


# Entry points ---------------------------------------------------------------------------------------------------------
def converted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A callable that runs `function` converted, and what it calls; what cannot be converted comes back as it is."""
    from .calls import convert_callable

    return convert_callable(function)


def to_graph(entity: Callable[..., Any], recursive: bool = True, experimental_optional_features: Any = None) -> Any:
    """The converted form of a Python function, as a function. recursive=False: what it calls stays as it is, which is not
    offered (UnimplementedError). Raises ArgumentError for what is no Python function."""
    del experimental_optional_features
    if not recursive:
        raise UnimplementedError("to_graph: recursive=False is not offered; mark functions with do_not_convert instead")
    plain = _python_function(entity)
    found = convert_function(plain)
    return types.MethodType(found, entity.__self__) if isinstance(entity, types.MethodType) else found


def to_code(entity: Callable[..., Any], recursive: bool = True, experimental_optional_features: Any = None) -> str:
    """The text of a function's converted form, for reading. Names of our own begin with `ag__`."""
    from .locate import NoSource, locate
    from .rewrite import convert_tree

    del recursive, experimental_optional_features
    plain = _python_function(entity)
    try:
        found = locate(plain)
    except NoSource as problem:
        raise ArgumentError(f"to_code: {problem}") from None
    convert_tree(found.node, found.class_name)
    for node in ast.walk(found.node):
        for field in ("id", "name", "arg"):
            text = getattr(node, field, None)
            if isinstance(text, str) and text.startswith("."):
                setattr(node, field, "ag__" if text == OPERATORS else f"ag__{text[1:]}")
        if isinstance(node, (ast.Nonlocal, ast.Global)):
            node.names = [f"ag__{n[1:]}" if n.startswith(".") else n for n in node.names]
    return ast.unparse(ast.fix_missing_locations(found.node))


def _python_function(entity: Any) -> types.FunctionType:
    from ..arguments import unguarded

    found = plain_function(unguarded(entity))
    if found is None:
        raise ArgumentError(f"a Python function is needed, got {entity!r}")
    return found
