"""Statements of a function rewritten to calls of operators.py, which decide while the function runs whether a condition is
Python's or a tensor's.

    if x > 0:                   def .then_1():
        y = f(x)                    nonlocal y
                                    y = .ops.call(f)(x)
                        ->      def .else_1():
                                    nonlocal y
                                    pass
                                .ops.if_(x > 0, .then_1, .else_1, names...)

The variables that a block binds become cells, which the operators reach through the blocks' closures: they can be read,
set and emptied there, so that no value stands for "not defined". A name bound in a block is declared at the top of its
function by an annotation, which has no code.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Any

from .analysis import Names, bound_names, mark_liveness, names_of, parameters_of, stored_roots
from .build import assign, at, constant, define, head_of, lazy, name, operator
from .jumps import NotLowered, lower_jumps
from .rewrite_expressions import Expressions

__all__ = ["convert_tree", "is_generator"]

_TRIES = (ast.Try, ast.TryStar)


def is_generator(node: ast.AST) -> bool:
    """Does a function yield or await?"""
    if isinstance(node, ast.AsyncFunctionDef):
        return True
    todo = list(ast.iter_child_nodes(node))
    while todo:
        part = todo.pop()
        if isinstance(part, (ast.Yield, ast.YieldFrom, ast.Await, ast.AsyncFor, ast.AsyncWith)):
            return True
        if not isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            todo.extend(ast.iter_child_nodes(part))
    return False


def convert_tree(node: ast.FunctionDef | ast.Lambda, class_name: str | None) -> None:
    """Convert a function's tree in place. Raises NotLowered for what cannot be."""
    if isinstance(node, ast.Lambda):
        node.body = Expressions(None, class_name, set(parameters_of(node))).visit(node.body)
    else:
        _Statements(node, class_name).convert()


class _Statements:
    """One function's rewriting."""

    def __init__(self, node: ast.FunctionDef, class_name: str | None, outer: Iterable[str] = ()) -> None:
        self.node = node
        self.class_name = class_name
        self.declared: set[str] = set()
        self.count = 0
        self.names: Names
        self.expressions = Expressions(self, class_name, {*outer, *bound_names(node.body), *parameters_of(node)})

    def convert(self) -> None:
        lower_jumps(self.node)
        self.names = names_of(self.node)
        mark_liveness(self.node, self.names)
        body = self.block(self.node.body)
        top: list[ast.stmt] = []
        where = self.node.body[0]
        for text in sorted(self.declared & self.names.local - set(self.names.parameters)):
            top.append(at(ast.AnnAssign(ast.Name(text, ast.Store()), ast.Constant(None), None, 1), where))
        if self.names.globals:
            top.append(at(ast.Global(sorted(self.names.globals)), where))
        if self.names.nonlocals:
            top.append(at(ast.Nonlocal(sorted(self.names.nonlocals)), where))
        first = 1 if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) else 0
        self.node.body = [*body[:first], *top, *body[first:]]

    # Blocks -----------------------------------------------------------------------------------------------------------
    def block(self, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for statement in statements:
            result.extend(self.statement(statement))
        return result

    def statement(self, s: ast.stmt) -> list[ast.stmt]:
        outer, self.expressions.hoisted = self.expressions.hoisted, []
        try:
            found = self._statement(s)
            return [*self.expressions.hoisted, *found]
        finally:
            self.expressions.hoisted = outer

    def _statement(self, s: ast.stmt) -> list[ast.stmt]:
        if isinstance(s, (ast.Global, ast.Nonlocal)):
            return []  # declared at the top
        if isinstance(s, ast.If):
            return self._if(s)
        if isinstance(s, ast.While):
            return self._while(s)
        if isinstance(s, ast.For):
            return self._for(s)
        if isinstance(s, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return [self._function(s, self.class_name)]
        if isinstance(s, ast.ClassDef):
            return [self._class(s)]
        if isinstance(s, ast.AnnAssign):
            return self._annotated(s)
        if isinstance(s, ast.Assert):
            message = (
                lazy(self.expressions.message(_copy(s.msg)))
                if s.msg is not None and not _binds(s.msg)
                else at(ast.Constant(None), s)
            )
            s.test = operator("assertion", [self.expressions.test(s.test), message], s)
            s.msg = self.expression(s.msg) if s.msg is not None else None
            return [s]
        if isinstance(s, ast.Raise):
            if s.exc is not None:
                s.exc = operator("raising", [self.expressions.message(s.exc)], s.exc)
            s.cause = self.expression(s.cause) if s.cause is not None else None
            return [s]
        if isinstance(s, _TRIES):
            return self._try(s)
        if isinstance(s, ast.With):
            for item in s.items:
                item.context_expr = self.expression(item.context_expr)
                if item.optional_vars is not None:
                    item.optional_vars = self.expression(item.optional_vars)
            s.body = self.block(s.body)
            return [s]
        if isinstance(s, ast.Match):
            return self._match(s)
        return [self.expressions.visit(s)]

    def expression(self, node: Any) -> Any:
        return self.expressions.visit(node)

    def fresh(self, kind: str) -> str:
        self.count += 1
        return f".{kind}_{self.count}"

    # Functions of blocks ----------------------------------------------------------------------------------------------
    def written(self, nodes: Iterable[ast.AST]) -> list[str]:
        """The names that blocks bind, all of which become state."""
        found = sorted(bound_names(nodes))
        self.declared.update(found)
        return found

    def block_function(
        self, kind: str, body: list[ast.stmt], written: Sequence[str], where: ast.AST, parameters: Sequence[str] = ()
    ) -> ast.FunctionDef:
        """A function for a block that binds `written` outside itself."""
        top: list[ast.stmt] = []
        shared = [w for w in written if w not in self.names.globals]
        if shared:
            top.append(ast.Nonlocal(shared))
        common = [w for w in written if w in self.names.globals]
        if common:
            top.append(ast.Global(common))
        return define(self.fresh(kind), [*top, *body] or [ast.Pass()], where, parameters)

    def facts(
        self, written: Sequence[str], blocks: Sequence[ast.stmt], live: Iterable[str], *more: Any
    ) -> ast.Constant:
        """What the operator has to know, as one constant: names bound, names read later, names whose contents change."""
        mangled = {w: self.mangle(w) for w in (*written, *live)}
        return constant(
            (
                tuple(mangled[w] for w in written),
                tuple(sorted(mangled[w] for w in written if w in set(live))),
                tuple(sorted(self.mangle(r) for r in stored_roots(blocks))),
                tuple(sorted(set(written) & self.names.globals)),
                *more,
            )
        )

    def mangle(self, text: str) -> str:
        if self.class_name and text.startswith("__") and not text.endswith("__"):
            stripped = self.class_name.lstrip("_")
            return f"_{stripped}{text}" if stripped else text
        return text

    # if ---------------------------------------------------------------------------------------------------------------
    def _if(self, s: Any) -> list[ast.stmt]:
        is_tail = getattr(s, "is_tail", False)
        if self.expressions.is_python_test(s.test):
            s.test = self.expressions.test(s.test)
            s.body = self.block(s.body) or [at(ast.Pass(), s)]
            s.orelse = self.block(s.orelse)
            return [s]
        head = s.test if getattr(s, "is_ours", False) else head_of(s, s.test)
        written = self.written([*s.body, *s.orelse])
        facts = self.facts(written, [*s.body, *s.orelse], s.live_after)
        test = self.expressions.test(s.test)
        begin = (_place(s.body, s), _place(s.orelse, s))
        raises = constant((ends_in_raise(s.body), ends_in_raise(s.orelse)))
        then = self.block_function("then", self.block(s.body), written, head)
        otherwise = self.block_function("else", self.block(s.orelse), written, head)
        lines = constant(begin)
        call = operator(
            "choose" if is_tail else "if_", [test, name(then.name), name(otherwise.name), facts, lines, raises], head
        )
        last: ast.stmt = ast.Return(call) if is_tail else ast.Expr(call)
        return [then, otherwise, at(last, head)]

    # Loops ------------------------------------------------------------------------------------------------------------
    def _while(self, s: Any) -> list[ast.stmt]:
        stops = getattr(s, "stops", [])
        if self.expressions.is_python_test(s.test) and not stops:
            self.expressions.reject_binding(s.test)
            s.test = self.expressions.test(s.test)
            s.body = self.block(s.body)
            return [s]
        head = head_of(s, s.test)
        test: ast.expr = s.test
        if stops:
            flags = [at(ast.UnaryOp(ast.Not(), name(f)), head) for f in stops]
            test = at(ast.BoolOp(ast.And(), [*flags, s.test]), s.test)
        written = self.written([*s.body, s.test])
        facts = self.facts(
            written,
            s.body,
            s.live_after,
            self._at_head(s, written),
            (s.lineno, _end(s.body)),
        )
        condition = self._condition(test, s.test)
        body = self.block_function("body", self.block(s.body), written, head)
        call = operator("while_", [name(condition.name), name(body.name), facts], head)
        return [condition, body, at(ast.Expr(call), head)]

    def _condition(self, test: ast.expr, where: ast.expr) -> ast.FunctionDef:
        """A function that evaluates a loop's test."""
        outer, self.expressions.hoisted = self.expressions.hoisted, []
        answer = at(ast.Return(self.expressions.test(test)), where)
        body, self.expressions.hoisted = [*self.expressions.hoisted, answer], outer
        return self.block_function("test", body, sorted(bound_names([where])), where)

    def _at_head(self, s: Any, written: Sequence[str]) -> tuple[str, ...]:
        return tuple(self.mangle(w) for w in written if w in s.live_at_head)

    def _for(self, s: Any) -> list[ast.stmt]:
        stops = getattr(s, "stops", [])
        if not stops and isinstance(s.iter, (ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Constant, ast.ListComp)):
            s.iter = self.expression(s.iter)
            s.target = self.expression(s.target)
            s.body = self.block(s.body)
            return [s]
        head = head_of(s, s.iter)
        item = self.fresh("item")
        written = self.written([s.target, *s.body])
        targets = tuple(sorted(self.mangle(t) for t in bound_names([s.target])))
        facts = self.facts(
            written,
            s.body,
            s.live_after,
            self._at_head(s, written),
            (s.lineno, _end(s.body)),
            targets,
        )
        iterable = self.expressions.iterated(s.iter)
        first = self.statement(assign(s.target, at(name(item), s.target), s.target))
        body = self.block_function("body", [*first, *self.block(s.body)], written, head, [item])
        stop: ast.expr = ast.Constant(None)
        if stops:
            stop = lazy(
                self.expressions.test(
                    at(name(stops[0]) if len(stops) == 1 else ast.BoolOp(ast.Or(), [name(f) for f in stops]), head)
                )
            )
        call = operator("for_", [iterable, name(body.name), stop, facts], head)
        return [body, at(ast.Expr(call), head)]

    # Others -----------------------------------------------------------------------------------------------------------
    def _try(self, s: Any) -> list[ast.stmt]:
        body = self.block(s.body)
        if s.handlers:
            types = [at(ast.Constant(None), h) if h.type is None else _copy(h.type) for h in s.handlers]
            where = head_of(s, s.body[0])
            where.end_lineno, where.end_col_offset = s.lineno, s.col_offset + len("try")
            caught = at(lazy(at(ast.Tuple(types, ast.Load()), where)), where)
            item = ast.withitem(operator("trying", [caught], where), None)
            made = ast.With([item], body)
            body = [at(made, where)]
        s.body = body
        for handler in s.handlers:
            if handler.type is not None:
                handler.type = self.expression(handler.type)
            handler.body = self.block(handler.body) or [at(ast.Pass(), handler)]
        s.orelse, s.finalbody = self.block(s.orelse), self.block(s.finalbody)
        return [s]

    def _match(self, s: ast.Match) -> list[ast.stmt]:
        s.subject = operator("match_subject", [self.expression(s.subject)], s.subject)
        for case in s.cases:
            if case.guard is not None:
                case.guard = operator(
                    "python_test", [self.expressions.test(case.guard), ast.Constant("a match guard")], case.guard
                )
            case.body = self.block(case.body) or [at(ast.Pass(), case.pattern)]
        return [s]

    def _annotated(self, s: ast.AnnAssign) -> list[ast.stmt]:
        """An annotated name of a function is a plain variable; its annotation is never evaluated."""
        if not isinstance(s.target, ast.Name):
            return [self.expressions.visit(s)]
        if s.value is None:
            self.declared.add(s.target.id)
            return []
        return [at(ast.Assign([s.target], self.expression(s.value)), s)]

    def _function(
        self, s: ast.FunctionDef | ast.AsyncFunctionDef, class_name: str | None, in_class: bool = False
    ) -> ast.stmt:
        """A function inside: its head runs here, its body is converted on its own. (In a class the head stays as it is:
        functions made for its parts would not see the class's names.)"""
        if not in_class:
            self.expressions.visit_head(s)
        if isinstance(s, ast.FunctionDef) and not is_generator(s):
            original = _copy(s.body)
            try:
                _Statements(s, class_name, self.expressions.bound).convert()
            except NotLowered:
                s.body = original
        return s

    def _class(self, s: ast.ClassDef) -> ast.stmt:
        """A class inside: its body runs as it is; its methods are converted."""
        s.decorator_list = [self.expression(d) for d in s.decorator_list]
        s.bases = [self.expression(b) for b in s.bases]
        for keyword in s.keywords:
            keyword.value = self.expression(keyword.value)
        s.body = [self._member(m, s.name) for m in s.body]
        return s

    def _member(self, member: ast.stmt, class_name: str) -> ast.stmt:
        if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return self._function(member, class_name, in_class=True)
        if isinstance(member, ast.ClassDef):
            member.body = [self._member(m, member.name) for m in member.body]
        return member


def _copy(node: Any) -> Any:
    if isinstance(node, list):
        return [_copy(n) for n in node]
    if not isinstance(node, ast.AST):
        return node
    twin = type(node)(**{field: _copy(value) for field, value in ast.iter_fields(node)})
    return ast.copy_location(twin, node) if hasattr(node, "lineno") else twin


def _binds(node: ast.AST) -> bool:
    return any(isinstance(n, ast.NamedExpr) for n in ast.walk(node))


def ends_in_raise(block: Sequence[ast.stmt]) -> bool:
    """Does a block's own text end by raising an exception?"""
    return bool(block) and isinstance(block[-1], ast.Raise)


def _place(block: Sequence[ast.stmt], where: ast.stmt) -> int:
    return block[0].lineno if block else where.lineno


def _end(block: Sequence[ast.stmt]) -> int:
    return max(s.end_lineno or s.lineno for s in block)
