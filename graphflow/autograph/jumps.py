"""break, continue and return lowered to structure: afterwards control flow leaves a block only at its end.

    if c:                       if c:
        return a                    return a          a "tail" if: it is the function's last statement, each
    b                    ->     else:                 branch gives the function's result
    return d                        b
                                    return d

    while t:                    .break = False
        if c: break      ->     while not .break and t:
        b                           if c: .break = True
                                    else: b

Where more than one path goes on behind a statement that may jump, what follows is guarded by a flag (`if not .flag`), so
that no code is doubled. Names that begin with a dot are ours: no Python name can be one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .build import at, lazy, operator

__all__ = ["RETURNED", "VALUE", "NotLowered", "lower_jumps"]

RETURNED = ".returned"
VALUE = ".value"
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_TRIES: tuple[type, ...] = (ast.Try, ast.TryStar)


class NotLowered(Exception):
    """A jump that cannot be lowered; the function is left as it is."""


@dataclass(frozen=True)
class _Place:
    """Where a block stands. tail: its end is the function's end, returns may stand as they are. at_loop_end: its end is
    the loop body's end. break_flag, continue_flag: of the loop around."""

    tail: bool
    at_loop_end: bool = False
    break_flag: str = ""
    continue_flag: str = ""

    def inside(self) -> _Place:
        return replace(self, tail=False, at_loop_end=False)


def lower_jumps(function: ast.FunctionDef) -> None:
    """Lower the jumps of a function's own body (not of functions inside it), in place. If statements whose branches give
    the function's result are marked with `is_tail`. Raises NotLowered."""
    lowering = _Lowering()
    body = lowering.block(function.body, _Place(tail=True))
    if lowering.uses_return_flag:
        start = 1 if _is_docstring(body[0]) else 0
        body.insert(start, _assign(RETURNED, ast.Constant(False), function.body[0]))
    function.body = body


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def escapes(node: ast.AST | Sequence[ast.AST]) -> frozenset[str]:
    """Kinds of jumps ("return", "break", "continue") out of a statement or block."""
    if isinstance(node, ast.Return):
        return frozenset({"return"})
    if isinstance(node, ast.Break):
        return frozenset({"break"})
    if isinstance(node, ast.Continue):
        return frozenset({"continue"})
    if isinstance(node, _FUNCTIONS):
        return frozenset()
    if isinstance(node, (ast.While, ast.For)):
        return (escapes(node.body) & {"return"}) | escapes(node.orelse)
    if isinstance(node, ast.AST):
        if not isinstance(node, (ast.stmt, ast.excepthandler, ast.match_case)):
            return frozenset()
        node = list(ast.iter_child_nodes(node))
    found: frozenset[str] = frozenset()
    for child in node:
        found |= escapes(child)
    return found


def always_leaves(block: Sequence[ast.stmt]) -> bool:
    """Does every path through the block end in a jump or raise? (A `with` may swallow an exception, so it does not.)"""
    for statement in block:
        if isinstance(statement, (ast.Return, ast.Break, ast.Continue, ast.Raise)):
            return True
        if isinstance(statement, ast.If) and always_leaves(statement.body) and always_leaves(statement.orelse):
            return True
    return False


class _Lowering:
    def __init__(self) -> None:
        self.uses_return_flag = False
        self._loops = 0

    def block(self, statements: Sequence[ast.stmt], place: _Place) -> list[ast.stmt]:
        """A block without jumps out of its middle."""
        result: list[ast.stmt] = []
        for position, statement in enumerate(statements):
            rest = list(statements[position + 1 :])
            if isinstance(statement, (ast.Return, ast.Break, ast.Continue)):
                return result + self._jump(statement, place)
            if isinstance(statement, (ast.While, ast.For)):
                return result + self._loop(statement, rest, place)
            if not escapes(statement):
                result.append(self._inner(statement))
                continue
            if isinstance(statement, ast.If):
                return result + self._if(statement, rest, place)
            return result + self._opaque(statement, rest, place)
        return result or [ast.copy_location(ast.Pass(), statements[0])] if statements else result

    def _inner(self, statement: ast.stmt) -> ast.stmt:
        """A statement that nothing jumps out of; loops inside it may have jumps of their own."""
        if isinstance(statement, _FUNCTIONS):
            return statement
        place = _Place(tail=False)
        for name in ("body", "orelse", "finalbody"):
            block = getattr(statement, name, None)
            if block:
                setattr(statement, name, self.block(block, place))
        for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
            part.body = self.block(part.body, place)
        return statement

    def _jump(self, statement: ast.stmt, place: _Place) -> list[ast.stmt]:
        if isinstance(statement, ast.Return):
            if place.tail:
                return [statement]
            self.uses_return_flag = True
            value = statement.value or ast.copy_location(ast.Constant(None), statement)
            return [_assign(VALUE, value, statement), _assign(RETURNED, ast.Constant(True), statement)]
        if isinstance(statement, ast.Break):
            return [_assign(place.break_flag, ast.Constant(True), statement)]
        if place.at_loop_end:
            return [ast.copy_location(ast.Pass(), statement)]
        return [_assign(place.continue_flag, ast.Constant(True), statement)]

    def _if(self, statement: ast.If, rest: list[ast.stmt], place: _Place) -> list[ast.stmt]:
        if rest:
            body_leaves, else_leaves = always_leaves(statement.body), always_leaves(statement.orelse)
            if body_leaves and not else_leaves:
                statement.orelse, rest = [*statement.orelse, *rest], []
            elif else_leaves and not body_leaves:
                statement.body, rest = [*statement.body, *rest], []
            elif body_leaves and else_leaves:
                rest = []
        if rest:
            return self._guarded(statement, rest, place)
        statement.body = self.block(statement.body, place)
        statement.orelse = self.block(statement.orelse, place)
        if place.tail and "return" in escapes(statement):
            statement.is_tail = True  # type: ignore[attr-defined]
        return [statement]

    def _opaque(self, statement: ast.stmt, rest: list[ast.stmt], place: _Place) -> list[ast.stmt]:
        """with, try, match."""
        if isinstance(statement, _TRIES) and escapes(statement.finalbody):  # type: ignore[attr-defined]
            raise NotLowered("break, continue or return in a finally block")
        if place.tail and not rest and isinstance(statement, (ast.With, ast.Match)):
            for block in [statement] if isinstance(statement, ast.With) else statement.cases:
                block.body = self.block(block.body, place)
            return [statement]
        return self._guarded(statement, rest, place)

    def _guarded(self, statement: ast.stmt, rest: list[ast.stmt], place: _Place) -> list[ast.stmt]:
        """The statement with flags for its jumps, and the rest where none of them is set."""
        kinds = escapes(statement)
        inside = place.inside()
        if isinstance(statement, _TRIES):
            self._try(statement, inside)  # type: ignore[arg-type]
        else:
            for name in ("body", "orelse"):
                block = getattr(statement, name, None)
                if block:
                    setattr(statement, name, self.block(block, inside))
            for case in getattr(statement, "cases", ()):
                case.body = self.block(case.body, inside)
        return [statement, *self._behind(kinds, rest, place, statement)]

    def _try(self, statement: ast.Try, inside: _Place) -> None:
        kinds = escapes(statement.body)
        statement.body = self.block(statement.body, inside)
        for handler in statement.handlers:
            handler.body = self.block(handler.body, inside)
        if statement.orelse:
            block = self.block(statement.orelse, inside)
            if kinds:
                block = [_if_not(self._flags(kinds, inside), block, statement.orelse[0])]
            statement.orelse = block
        statement.finalbody = self.block(statement.finalbody, inside)

    def _flags(self, kinds: Iterable[str], place: _Place) -> list[str]:
        names = {"return": RETURNED, "break": place.break_flag, "continue": place.continue_flag}
        return [names[k] for k in ("return", "break", "continue") if k in kinds]

    def _behind(self, kinds: frozenset[str], rest: list[ast.stmt], place: _Place, behind: ast.stmt) -> list[ast.stmt]:
        """What follows a statement whose jumps set flags."""
        lowered = self.block(rest, place) if rest else []
        if place.tail and kinds:  # only returns get here: a tail is in no loop
            where = rest[0] if rest else behind
            test = ast.copy_location(ast.Name(RETURNED, ast.Load()), where)
            given = at(ast.Return(operator("returned", [lazy(at(ast.Name(VALUE, ast.Load()), where))], where)), where)
            guard = ast.copy_location(ast.If(test, [given], lowered), where)
            guard.is_tail = True  # type: ignore[attr-defined]
            guard.is_ours = True  # type: ignore[attr-defined]
            return [guard]
        return [_if_not(self._flags(kinds, place), lowered, rest[0])] if rest else []

    def _loop(self, loop: ast.While | ast.For, rest: list[ast.stmt], place: _Place) -> list[ast.stmt]:
        self._loops += 1
        flag, skip = f".break_{self._loops}", f".continue_{self._loops}"
        kinds = escapes(loop.body)
        otherwise, loop.orelse = loop.orelse, []
        loop.body = self.block(loop.body, _Place(False, True, flag, skip))
        used = {n.id for n in _own_names(loop.body)}
        stops = [name for name in (flag if "break" in kinds else "", RETURNED if "return" in kinds else "") if name]
        before: list[ast.stmt] = [_assign(flag, ast.Constant(False), loop)] if flag in used else []
        if skip in used:
            loop.body.insert(0, _assign(skip, ast.Constant(False), loop))
        loop.stops = stops  # type: ignore[union-attr]
        if otherwise:
            block = [_if_not(stops, otherwise, otherwise[0])] if stops else otherwise
            rest = [*block, *rest]
        if "return" in kinds:
            return [*before, loop, *self._behind(frozenset({"return"}), rest, place, loop)]
        return [*before, loop, *(self.block(rest, place) if rest else [])]


def _own_names(block: Sequence[ast.stmt]) -> Iterable[ast.Name]:
    for statement in block:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                yield node


def _assign(name: str, value: ast.expr, where: ast.AST) -> ast.stmt:
    made: Any = ast.Assign([ast.Name(name, ast.Store())], value)
    for node in (made, made.targets[0], *([] if hasattr(value, "lineno") else [value])):
        ast.copy_location(node, where)
    if not isinstance(where, ast.expr):
        _first_line_only(made, where)
    return made


def _first_line_only(node: Any, where: Any) -> None:
    """Give nodes made for a compound statement the place of its head."""
    if isinstance(where, (ast.While, ast.For, ast.If)):
        for part in (node, *ast.walk(node)):
            if getattr(part, "end_lineno", None) == where.end_lineno and getattr(part, "lineno", None) == where.lineno:
                head = where.test if isinstance(where, (ast.While, ast.If)) else where.iter
                part.end_lineno, part.end_col_offset = head.end_lineno, head.end_col_offset


def _if_not(flags: Sequence[str], block: list[ast.stmt], where: ast.AST) -> ast.If:
    tests: list[ast.expr] = [ast.UnaryOp(ast.Not(), ast.Name(name, ast.Load())) for name in flags]
    test = tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests)
    guard = ast.If(test, block, [])
    for node in (guard, *ast.walk(test)):
        ast.copy_location(node, where)
    _first_line_only(test, where)
    guard.is_ours = True  # type: ignore[attr-defined]
    return guard
