"""Expressions rewritten: what Python decides by truth (and, or, not, a < b < c, in, if-else) becomes a call of operators.py
with its operands unevaluated, and what is called is looked at by calls.py first. Everything else stays as it is."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .build import OPERATORS, at, constant, lazy, operator

__all__ = ["Expressions"]

_TESTS = frozenset({"isinstance", "issubclass", "hasattr", "callable"})
_SYMBOLS: dict[type, str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.In: "in", ast.NotIn: "not in", ast.Is: "is", ast.IsNot: "is not",
}  # fmt: skip


class Expressions(ast.NodeTransformer):
    """Rewrites the expressions of one function. owner: its statements' rewriting (None for a lambda that is converted
    alone). bound: names bound in the function or around it, which hide built-in ones."""

    def __init__(self, owner: Any, class_name: str | None, bound: set[str]) -> None:
        self.owner = owner
        self.class_name = class_name
        self.bound = bound
        self.in_message = False
        #: functions to define before the statement; None inside lambdas and comprehensions, where that cannot be
        self.hoisted: list[ast.stmt] | None = None if owner is None else []

    # Laziness ---------------------------------------------------------------------------------------------------------
    def can_delay(self, nodes: Sequence[ast.expr]) -> bool:
        """Can these be made functions? Not where one binds names and no function can be defined for it."""
        return self.hoisted is not None or not any(isinstance(n, ast.NamedExpr) for e in nodes for n in ast.walk(e))

    def delayed(self, node: ast.expr, convert: Callable[[ast.expr], Any]) -> ast.expr:
        """A function of no arguments that evaluates the expression, converted by `convert`."""
        bound = sorted({n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)})
        if not bound:
            return lazy(convert(node))
        assert self.hoisted is not None
        self.owner.declared.update(bound)
        outer, self.hoisted = self.hoisted, []
        value = at(ast.Return(convert(node)), node)
        body, self.hoisted = [*self.hoisted, value], outer
        made = self.owner.block_function("part", body, bound, node)
        self.hoisted.append(made)
        return at(ast.Name(made.name, ast.Load()), node)

    def reject_binding(self, node: ast.expr) -> None:
        """A test that stays in place keeps its walrus; nothing to do but to know that it is declared."""
        self.owner.declared.update(n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr))

    def is_python_test(self, node: ast.expr) -> bool:
        """Is the truth of this expression Python's whatever its operands are?"""
        if isinstance(node, ast.Constant):
            return True
        if isinstance(node, ast.Compare):
            return all(isinstance(op, (ast.Is, ast.IsNot)) for op in node.ops)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self.is_python_test(node.operand)
        if isinstance(node, ast.BoolOp):
            return all(self.is_python_test(v) for v in node.values)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return node.func.id in _TESTS and node.func.id not in self.bound
        return False

    # Logic ------------------------------------------------------------------------------------------------------------
    # As in Python's own code, the truth of an operand is asked for once: where only the truth of the whole counts (a
    # test), an operand that decides it gives True or False in place of its own value.
    def test(self, node: ast.expr) -> Any:
        """An expression of which only the truth is used."""
        if isinstance(node, ast.BoolOp):
            return self._logic(node, test=True)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self._not(node, test=True)
        if isinstance(node, ast.Compare):
            return self._compare(node, test=True)
        if isinstance(node, ast.IfExp):
            return self._if_expression(node, test=True)
        return self.visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> Any:
        return self._logic(node, test=False)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Any:
        return self._not(node, test=False) if isinstance(node.op, ast.Not) else self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> Any:
        return self._compare(node, test=False)

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        return self._if_expression(node, test=False)

    def _logic(self, node: ast.BoolOp, test: bool) -> Any:
        values = [*_flat(node)]
        decide = self.test if test else self.visit
        if all(self.is_python_test(v) for v in values[:-1]):
            node.values = [*map(self.test, values[:-1]), decide(values[-1])]
            return node
        word = "and" if isinstance(node.op, ast.And) else "or"
        if not self.can_delay(values[1:]):
            what = ast.Constant(f"'{word}' with ':=' inside a lambda or comprehension")
            first = [operator("python_test", [self.test(v), what], v) for v in values[:-1]]
            node.values = [*first, decide(values[-1])]
            return node
        rest = [*(self.delayed(v, self.test) for v in values[1:-1]), self.delayed(values[-1], decide)]
        return operator(f"{word}_test" if test else f"{word}_", [self.test(values[0]), *rest], node)

    def _not(self, node: ast.UnaryOp, test: bool) -> Any:
        python = self.is_python_test(node.operand)
        operand = self.test(node.operand) if test else self.visit(node.operand)
        if python:
            node.operand = operand
            return node
        return operator("not_", [operand], node)

    def _compare(self, node: ast.Compare, test: bool) -> Any:
        symbols = [_SYMBOLS[type(op)] for op in node.ops]
        if len(symbols) == 1:
            if symbols[0] in ("in", "not in"):
                left, right = self.visit(node.left), self.visit(node.comparators[0])
                return operator("contains", [left, right, ast.Constant(symbols[0] == "in")], node)
            return self.generic_visit(node)
        if all(s in ("is", "is not") for s in symbols):
            return self.generic_visit(node)
        if not self.can_delay(node.comparators[1:]):
            return self.generic_visit(node)
        left, first = self.visit(node.left), self.visit(node.comparators[0])
        rest = [self.delayed(c, self.visit) for c in node.comparators[1:]]
        return operator("compare_test" if test else "compare", [constant(tuple(symbols)), left, first, *rest], node)

    def _if_expression(self, node: ast.IfExp, test: bool) -> Any:
        decide = self.test if test else self.visit
        delay = self.can_delay([node.body, node.orelse])
        python = self.is_python_test(node.test)
        condition = self.test(node.test)
        if python or not delay:
            if not python:
                what = ast.Constant("a conditional expression with ':=' inside a lambda or comprehension")
                condition = operator("python_test", [condition, what], node.test)
            node.test, node.body, node.orelse = condition, decide(node.body), decide(node.orelse)
            return node
        return operator(
            "if_expression", [condition, self.delayed(node.body, decide), self.delayed(node.orelse, decide)], node
        )

    # Calls ------------------------------------------------------------------------------------------------------------
    def visit_Call(self, node: ast.Call) -> Any:
        func = node.func
        if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id == OPERATORS:
            return node
        if isinstance(func, ast.Name) and func.id == "super" and "super" not in self.bound:
            return self._super(node)
        if isinstance(func, ast.Attribute) and func.end_lineno != func.lineno:
            # Python places a call of a method at the method's name; the call of what calls.py gives goes there too.
            node.lineno, node.col_offset = func.end_lineno or func.lineno, (func.end_col_offset or 0) - len(func.attr)
        node.args = [self.visit(a) for a in node.args]
        for keyword in node.keywords:
            keyword.value = self.visit(keyword.value)
        node.func = operator("call", [self.visit(func)], func)
        return node

    def _super(self, node: ast.Call) -> Any:
        """`super()` needs its class and first argument where its function may have been split up."""
        if not node.args and not node.keywords and self.owner is not None and self.owner.names.parameters:
            first = self.owner.names.parameters[0]
            node.args = [at(ast.Name("__class__", ast.Load()), node), at(ast.Name(first, ast.Load()), node)]
        return node

    def iterated(self, node: ast.expr) -> ast.expr:
        """The iterable of a for statement: ranges in it need no tensor."""
        if isinstance(node, ast.Call) and not isinstance(node.func, ast.Lambda):
            found = self.visit_Call(node)
            if (
                isinstance(found.func, ast.Call)
                and isinstance(found.func.func, ast.Attribute)
                and found.func.func.attr == "call"
            ):
                found.func.func.attr = "iterated"
            return found
        return self.visit(node)

    def message(self, node: ast.expr) -> Any:
        """What an exception is made of: f-strings in it keep the tensors that stand in them."""
        self.in_message = True
        found = self.visit(node)
        self.in_message = False
        return found

    def visit_JoinedStr(self, node: ast.JoinedStr) -> Any:
        if not self.in_message:
            return self.generic_visit(node)
        parts: list[ast.expr] = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                spec = self.visit(part.format_spec) if part.format_spec is not None else ast.Constant("")
                made = ast.Tuple([self.visit(part.value), ast.Constant(part.conversion), spec], ast.Load())
                parts.append(at(made, part))
            else:
                parts.append(part)
        return operator("text", parts, node)

    # Scopes -----------------------------------------------------------------------------------------------------------
    def visit_Lambda(self, node: ast.Lambda) -> Any:
        arguments = node.args
        arguments.defaults = [self.visit(d) for d in arguments.defaults]
        arguments.kw_defaults = [self.visit(d) if d is not None else None for d in arguments.kw_defaults]
        if any(isinstance(n, (ast.Yield, ast.YieldFrom, ast.Await)) for n in ast.walk(node.body)):
            return node
        outer, self.hoisted = self.hoisted, None
        node.body = self.visit(node.body)
        self.hoisted = outer
        return node

    def visit_head(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Decorators and defaults of a function inside."""
        node.decorator_list = [self.visit(d) for d in node.decorator_list]
        node.args.defaults = [self.visit(d) for d in node.args.defaults]
        node.args.kw_defaults = [self.visit(d) if d is not None else None for d in node.args.kw_defaults]

    def _comprehension(self, node: Any, parts: Sequence[str]) -> Any:
        node.generators[0].iter = self.visit(node.generators[0].iter)
        outer, self.hoisted = self.hoisted, None
        for number, generator in enumerate(node.generators):
            if number:
                generator.iter = self.visit(generator.iter)
            generator.ifs = [
                c
                if self.is_python_test(c)
                else operator("python_test", [self.test(c), ast.Constant("a comprehension's if")], c)
                for c in generator.ifs
            ]
        for part in parts:
            setattr(node, part, self.visit(getattr(node, part)))
        self.hoisted = outer
        return node

    def visit_ListComp(self, node: ast.ListComp) -> Any:
        return self._comprehension(node, ("elt",))

    def visit_SetComp(self, node: ast.SetComp) -> Any:
        return self._comprehension(node, ("elt",))

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> Any:
        return self._comprehension(node, ("elt",))

    def visit_DictComp(self, node: ast.DictComp) -> Any:
        return self._comprehension(node, ("key", "value"))


def _flat(node: ast.BoolOp) -> Iterator[ast.expr]:
    """The operands, those of operands with the same operator among them."""
    for value in node.values:
        if isinstance(value, ast.BoolOp) and type(value.op) is type(node.op):
            yield from _flat(value)
        else:
            yield value
