"""The syntax tree of a function, found through its code object.

The file's text comes from linecache (modules, IPython cells, code that was `exec`ed with its text registered there).
What is found is compiled again and compared with the code object, positions included: so several lambdas on one line
are told apart, and a file that was edited after it was imported is never taken for what runs.
"""

from __future__ import annotations

import ast
import dis
import itertools
import linecache
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from ..ir.source import parse_python

__all__ = ["Located", "NoSource", "compile_function", "locate"]

FunctionNode = ast.FunctionDef | ast.Lambda
_COMPILER_FLAGS = 0x1FFE000  # the `from __future__` features among a code object's flags (compile.h: PyCF_MASK)
_ASSERTION_REWRITING = "@pytest_ar"  # pytest compiles its test modules with assert statements replaced


class NoSource(Exception):
    """Why a function's syntax tree is not to be had."""


@dataclass(frozen=True)
class Located:
    """A function's syntax tree. class_name: the class whose body holds it, which private names are mangled with."""

    node: FunctionNode
    class_name: str | None


def locate(function: FunctionType) -> Located:
    """The syntax tree of a function, ready to be changed. Raises NoSource with the reason."""
    code = function.__code__
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, function.__globals__)
    if not lines:
        raise NoSource(f"the source of '{function.__name__}' is not to be found ({code.co_filename})")
    if code.co_name != "<lambda>":
        found = _from_block(lines, code)
        if found is not None:
            return found
    try:
        tree = parse_python("".join(lines), code.co_filename)
    except SyntaxError:
        raise NoSource(f"{code.co_filename} does not parse") from None
    return _from_tree(tree, code)


def _from_block(lines: list[str], code: CodeType) -> Located | None:
    """The function from its own lines alone, which is far cheaper than parsing a long file; None where that fails."""
    first = code.co_firstlineno
    if first > len(lines):
        return None
    indent = len(lines[first - 1]) - len(lines[first - 1].lstrip())
    last = max([line for _, line, _, _ in code.co_positions() if line] + [first])
    end = last
    while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > indent):
        end += 1
    head = "\n" * (first - 2) if indent else "\n" * (first - 1)
    if indent and first < 2:
        return None
    text = head + ("if 1:\n" if indent else "") + "".join(lines[first - 1 : end])
    try:
        tree = parse_python(text, code.co_filename)
    except (SyntaxError, ValueError):
        return None
    try:
        return _from_tree(tree, code)
    except NoSource:
        return None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _from_tree(tree: ast.AST, code: CodeType) -> Located:
    """The function of a file's tree that compiles to this code."""
    rewritten = False
    for node, class_name in _functions(tree, None):
        if _name(node) != code.co_name or _first_line(node) != code.co_firstlineno:
            continue
        if class_name is None:
            class_name = _class_of(code)
        try:
            again = compile_function(node, class_name, code)
        except SyntaxError:
            continue
        if _same_code(again, code):
            return Located(node, class_name)
        if _ASSERTION_REWRITING in _all_names(code) and any(isinstance(n, ast.Assert) for n in ast.walk(node)):
            rewritten = True
            candidate = Located(node, class_name)
    if rewritten:
        return candidate
    raise NoSource(f"the text of {code.co_filename} is not what '{code.co_name}' was compiled from")


def _functions(tree: ast.AST, class_name: str | None) -> Iterator[tuple[FunctionNode, str | None]]:
    """All functions of a tree, with the class that holds each directly or from around."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (ast.FunctionDef, ast.Lambda)):
            yield child, class_name
        yield from _functions(child, child.name if isinstance(child, ast.ClassDef) else class_name)


def _class_of(code: CodeType) -> str | None:
    """The class that a function was defined in, from its qualified name (its block was parsed alone)."""
    parts = code.co_qualname.split(".")
    classes = [a for a, b in itertools.pairwise(parts) if a != "<locals>" and b != "<locals>"]
    return classes[-1] if classes else None


def _name(node: FunctionNode) -> str:
    return node.name if isinstance(node, ast.FunctionDef) else "<lambda>"


def _first_line(node: FunctionNode) -> int:
    decorators = getattr(node, "decorator_list", None)
    return decorators[0].lineno if decorators else node.lineno


def _all_names(code: CodeType) -> set[str]:
    return {*code.co_names, *code.co_freevars}


def compile_function(
    node: FunctionNode, class_name: str | None, like: CodeType, free: Sequence[str] | None = None
) -> CodeType:
    """The code object of a function's tree with the file and compiler's flags of `like`, and its free variables (or `free`).

    The function is put inside a factory whose parameters are the free variables (and inside a class, for the mangling of
    private names); the factory never runs, so that neither decorators nor defaults are evaluated.
    """
    statement: ast.stmt
    if isinstance(node, ast.Lambda):
        statement = ast.Expr(node)
        ast.copy_location(statement, node)
    else:
        statement = node
    wrapped: list[ast.stmt] = [statement]
    if class_name is not None:
        holder = parse_python(f"class {class_name}:\n pass").body[0]
        assert isinstance(holder, ast.ClassDef)
        holder.body = wrapped
        wrapped = [holder]
    factory = parse_python("def factory():\n pass").body[0]
    assert isinstance(factory, ast.FunctionDef)
    factory.name = ".factory"
    hidden = {"__class__"} if class_name is not None else set()
    factory.args.args = [
        ast.arg(name) for name in dict.fromkeys(like.co_freevars if free is None else free) if name not in hidden
    ]
    factory.body = wrapped
    imports: list[ast.stmt] = [ast.Import([ast.alias(name)]) for name in sorted(_imported(like))]
    module = ast.Module([*imports, factory], [])
    ast.fix_missing_locations(module)
    flags = like.co_flags & _COMPILER_FLAGS
    compiled = compile(module, like.co_filename, "exec", flags=flags, dont_inherit=True)
    found = _find(compiled, node)
    if found is None:
        raise SyntaxError(f"'{like.co_name}' vanished in compilation")
    return _requalified(found, found.co_qualname, like.co_qualname)


def _requalified(code: CodeType, wrong: str, right: str) -> CodeType:
    """The code with the function's own qualified name in place of the one that it has inside the factory. (The body of a
    class holds its name as a constant; one that begins with the factory's name can be nothing else.)"""

    def fixed(value: Any) -> Any:
        if isinstance(value, CodeType):
            return _requalified(value, wrong, right)
        return (
            right + value[len(wrong) :] if isinstance(value, str) and value.startswith(f"{wrong}.<locals>.") else value
        )

    name = code.co_qualname
    name = right + name[len(wrong) :] if name.startswith(wrong) else name
    return code.replace(co_qualname=name, co_consts=tuple(map(fixed, code.co_consts)))


def _imported(code: CodeType) -> set[str]:
    """Global names that the function's module imports at its top, as far as it matters: their functions are called
    by other instructions than methods are."""
    called: dict[str, set[bool]] = {}
    todo = [code]
    while todo:
        current = todo.pop()
        todo.extend(c for c in current.co_consts if isinstance(c, CodeType))
        kept = (i for i in dis.get_instructions(current) if i.opname not in _SKIPPED)
        for first, second in itertools.pairwise(kept):
            if first.opname == "LOAD_GLOBAL" and second.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                is_method = second.opname == "LOAD_METHOD" or _ATTRIBUTES_ARE_METHODS and bool((second.arg or 0) & 1)
                called.setdefault(str(first.argval), set()).add(is_method)
    return {name for name, kinds in called.items() if kinds == {False} and name.isidentifier()}


_ATTRIBUTES_ARE_METHODS = "LOAD_METHOD" not in dis.opmap  # Python 3.12: one instruction for both


def _find(code: CodeType, node: FunctionNode) -> CodeType | None:
    """The code of the function inside the compiled factory. Of lambdas on one line, the one that starts where the tree's does."""
    for inner in code.co_consts:
        if not isinstance(inner, CodeType):
            continue
        if inner.co_name == _name(node) and inner.co_firstlineno == _first_line(node) and _starts_like(inner, node):
            return inner
        deeper = _find(inner, node)
        if deeper is not None:
            return deeper
    return None


def _starts_like(code: CodeType, node: FunctionNode) -> bool:
    if isinstance(node, ast.FunctionDef):
        return True
    body = node.body
    inside = [
        (line, column) for line, _, column, _ in code.co_positions() if line and column is not None and column > 0
    ]
    begin, end = (body.lineno, body.col_offset), (body.end_lineno or 0, body.end_col_offset or 0)
    return not inside or all(begin <= p <= end for p in inside)


_SKIPPED = frozenset({"CACHE", "PUSH_NULL", "EXTENDED_ARG"})


def _same_code(a: CodeType, b: CodeType) -> bool:
    """Do two code objects do the same at the same places?"""
    if a.co_varnames != b.co_varnames or a.co_names != b.co_names or len(a.co_consts) != len(b.co_consts):
        return False
    if set(a.co_freevars) != set(b.co_freevars) or set(a.co_cellvars) != set(b.co_cellvars):
        return False
    if any(x != y for x, y in itertools.zip_longest(_instructions(a), _instructions(b))):
        return False
    inner = [[c for c in code.co_consts if isinstance(c, CodeType)] for code in (a, b)]
    return len(inner[0]) == len(inner[1]) and all(map(_same_code, *inner))


def _instructions(code: CodeType) -> Iterator[tuple[Any, ...]]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in _SKIPPED:
            continue
        value = instruction.argval
        if instruction.opcode in _JUMPS or isinstance(value, CodeType):
            value = None
        elif isinstance(value, (float, complex)):
            value = repr(value)
        yield instruction.opname, type(value), value, instruction.positions


_JUMPS = frozenset({*dis.hasjrel, *dis.hasjabs})
