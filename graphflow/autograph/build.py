"""Small pieces of syntax tree, each at the place in the user's file that it stands for."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

__all__ = ["HELPER", "OPERATORS", "assign", "at", "constant", "define", "head_of", "lazy", "name", "operator"]

OPERATORS = ".ops"
"""The free variable of converted code that holds operators.py. No Python name begins with a dot."""
HELPER = ".helper"
"""The parameter that marks the lambdas made here, so that they take their function's name in tracebacks."""


def at(node: Any, where: ast.AST) -> Any:
    """The node, and what is new inside it, at the place of another one."""
    for part in ast.walk(node):
        if "lineno" in part._attributes and not hasattr(part, "lineno"):
            ast.copy_location(part, where)
    return node


def head_of(statement: ast.stmt, end: ast.expr) -> ast.expr:
    """A node that stands for a compound statement's head: from its keyword to the end of `end`."""
    head = ast.Constant(None)
    head.lineno, head.col_offset = statement.lineno, statement.col_offset
    head.end_lineno, head.end_col_offset = end.end_lineno, end.end_col_offset
    return head


def name(text: str) -> ast.Name:
    """The value of a variable."""
    return ast.Name(text, ast.Load())


def constant(value: Any) -> ast.Constant:
    """A constant; tuples of constants are one too."""
    return ast.Constant(value)


def operator(function: str, arguments: Sequence[Any], where: ast.AST) -> ast.Call:
    """`.ops.function(arguments)`"""
    callee = ast.Attribute(name(OPERATORS), function, ast.Load())
    return at(ast.Call(callee, list(arguments), []), where)


def lazy(expression: ast.expr) -> ast.Lambda:
    """`lambda: expression`"""
    parameters = ast.arguments([], [ast.arg(HELPER)], None, [], [], None, [ast.Constant(None)])
    return at(ast.Lambda(parameters, expression), expression)


def define(text: str, body: list[ast.stmt], where: ast.AST, parameters: Sequence[str] = ()) -> ast.FunctionDef:
    """`def text(parameters): body`"""
    made = ast.FunctionDef(
        text, ast.arguments([], [ast.arg(p) for p in parameters], None, [], [], None, []), body, [], None
    )
    if "type_params" in made._fields:  # Python 3.12
        made.type_params = []  # type: ignore[attr-defined]
    return at(made, where)


def assign(target: ast.expr, value: ast.expr, where: ast.AST) -> ast.Assign:
    """`target = value`"""
    return at(ast.Assign([target], value), where)
