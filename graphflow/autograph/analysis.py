"""What a function's blocks read and write, and which names are live where.

Works on functions whose jumps were lowered (jumps.py), so that control flow is structured and liveness is one walk
backwards; loops are walked twice, which is enough for structured code.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Names", "bound_names", "free_names", "mark_liveness", "names_of", "parameters_of", "stored_roots"]

Block = Sequence[ast.stmt]
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
#: methods of lists, dictionaries and sets that change them
_CHANGING = frozenset(
    "append pop insert extend remove clear reverse sort update setdefault popitem add discard appendleft popleft".split()
)


@dataclass
class Names:
    """The names of one function's own scope."""

    parameters: list[str]
    bound: set[str]
    globals: set[str] = field(default_factory=set)
    nonlocals: set[str] = field(default_factory=set)
    #: names that functions and classes inside read: these may be read at any time
    captured: set[str] = field(default_factory=set)

    @property
    def local(self) -> set[str]:
        return (self.bound | set(self.parameters)) - self.globals - self.nonlocals

    @property
    def always_live(self) -> set[str]:
        return self.captured | self.globals | self.nonlocals


def parameters_of(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[str]:
    """The names of a function's parameters, in order."""
    a = node.args
    given = [*a.posonlyargs, *a.args, *a.kwonlyargs]
    return [p.arg for p in (*given, *([a.vararg] if a.vararg else []), *([a.kwarg] if a.kwarg else []))]


def names_of(node: ast.FunctionDef) -> Names:
    """The names of a function."""
    names = Names(parameters_of(node), bound_names(node.body))
    for statement in _own(node.body):
        if isinstance(statement, ast.Global):
            names.globals.update(statement.names)
        elif isinstance(statement, ast.Nonlocal):
            names.nonlocals.update(statement.names)
        elif isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.captured |= free_names(statement)
    called = {id(a) for call in _own(node.body) if isinstance(call, ast.Call) for a in _arguments(call)}
    for expression in _own(node.body):
        if isinstance(expression, ast.Lambda) and id(expression) not in called:
            names.captured |= free_names(expression)
    return names


def _arguments(call: ast.Call) -> Iterator[ast.expr]:
    yield from call.args
    yield from (k.value for k in call.keywords)


def _own(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """All nodes of a scope; functions and classes inside are given, but not looked into (their decorators and defaults are)."""
    for node in nodes:
        yield node
        if isinstance(node, (*_SCOPES, ast.ClassDef)):
            yield from _own(_outside_parts(node))
        else:
            yield from _own(ast.iter_child_nodes(node))


def _outside_parts(node: ast.AST) -> list[ast.AST]:
    """The parts of a function or class that run where it is defined."""
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *node.keywords]
    args = node.args  # type: ignore[attr-defined]
    defaults = [d for d in (*args.defaults, *args.kw_defaults) if d is not None]
    if isinstance(node, ast.Lambda):
        return list(defaults)
    annotations = [
        p.annotation for p in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg) if p
    ]
    found = [*node.decorator_list, *defaults, *annotations, node.returns]  # type: ignore[attr-defined]
    return [f for f in found if f is not None]


def bound_names(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that code binds in its own scope (a comprehension's targets are its own; its walrus is ours)."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
            found |= bound_names(_outside_parts(node))
            continue
        if isinstance(node, ast.Lambda):
            found |= bound_names(_outside_parts(node))
            continue
        if isinstance(node, _COMPREHENSIONS):
            found |= {n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr)}
            continue
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, (ast.Store, ast.Del)):
                found.add(node.id)
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif (
            isinstance(node, ast.ExceptHandler)
            and node.name
            or isinstance(node, (ast.MatchAs, ast.MatchStar))
            and node.name
        ):
            found.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found.add(node.rest)
        found |= bound_names(ast.iter_child_nodes(node))
    return found


def free_names(node: ast.AST) -> set[str]:
    """The names that a function, lambda, class or expression takes from outside."""
    if isinstance(node, _SCOPES):
        body = [node.body] if isinstance(node, ast.Lambda) else node.body
        declared: set[str] = set()
        for inner in _own(body):
            if isinstance(inner, (ast.Global, ast.Nonlocal)):
                declared.update(inner.names)
        own = (bound_names(body) - declared) | set(parameters_of(node))
        inside: set[str] = set().union(*(free_names(n) for n in body)) if body else set()
        outside = [free_names(n) for n in _outside_parts(node)]
        return (inside - own) | declared | set().union(*outside)
    if isinstance(node, ast.ClassDef):  # a method does not see the class's names, so that they count as free
        return set().union(*(free_names(n) for n in (*node.body, *_outside_parts(node))))
    if isinstance(node, _COMPREHENSIONS):
        own = set()
        for generator in node.generators:
            own |= bound_names([generator.target])
        parts = [n for n in ast.iter_child_nodes(node) if not isinstance(n, ast.comprehension)]
        found: set[str] = set().union(*(free_names(p) for p in parts))
        for generator in node.generators:
            found |= set().union(*(free_names(n) for n in (generator.iter, *generator.ifs)))
            found |= free_names(generator.target)
        return (found - own) | free_names(node.generators[0].iter)
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load) else set()
    return set().union(*(free_names(n) for n in ast.iter_child_nodes(node)))


def stored_roots(block: Block) -> set[str]:
    """Names whose contents a block changes in its own text: `a.b = ...`, `a[k] = ...`, `del a[k]`, `a.b.append(...)`."""
    found: set[str] = set()
    for node in _own(block):
        target: ast.AST | None = None
        if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
            target = node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING:
            target = node.func
        while isinstance(target, (ast.Attribute, ast.Subscript)):
            target = target.value
        if isinstance(target, ast.Name):
            found.add(target.id)
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)  # xs += [...] changes the list itself
    return found


# Liveness -------------------------------------------------------------------------------------------------------------
def mark_liveness(function: ast.FunctionDef, names: Names) -> None:
    """Set `live_after` on each if, for and while of the function (names read later), and on loops `live_at_head` (names
    that the next iteration or what follows reads)."""
    _Liveness(names.always_live).block(function.body, frozenset(names.always_live))


class _Liveness:
    def __init__(self, always: set[str]) -> None:
        self.always = frozenset(always)

    def block(self, statements: Block, out: frozenset[str]) -> frozenset[str]:
        for statement in reversed(statements):
            out = self.statement(statement, out)
        return out

    def statement(self, s: ast.stmt, out: frozenset[str]) -> frozenset[str]:
        if isinstance(s, ast.If):
            if getattr(s, "is_tail", False):
                out = self.always
            s.live_after = out  # type: ignore[attr-defined]
            return self.reads(s.test, self.block(s.body, out) | self.block(s.orelse, out))
        if isinstance(s, ast.While):
            stops = frozenset(getattr(s, "stops", ()))
            head = self.reads(s.test, out | stops)
            for _ in range(2):
                head |= self.reads(s.test, out | stops | self.block(s.body, head))
            s.live_after, s.live_at_head = out, head  # type: ignore[attr-defined]
            return head
        if isinstance(s, ast.For):
            kills = self.always_kept(bound_names([s.target]))
            head = out | frozenset(getattr(s, "stops", ()))
            for _ in range(2):
                head |= self.reads(s.target, self.block(s.body, head) - kills)
            s.live_after, s.live_at_head = out, head  # type: ignore[attr-defined]
            return self.reads(s.iter, head)
        if isinstance(s, (ast.Try, ast.TryStar)):
            after = self.block(s.finalbody, out)
            handlers: frozenset[str] = frozenset()
            for h in s.handlers:
                handlers |= self.reads(h.type, self.block(h.body, after)) if h.type else self.block(h.body, after)
            outer, self.always = self.always, self.always | handlers | (after if s.finalbody else frozenset())
            try:
                found = self.block(s.body, self.block(s.orelse, after) | handlers)
            finally:
                self.always = outer
            return found | handlers
        if isinstance(s, ast.With):
            inside = self.block(s.body, out)
            for item in reversed(s.items):
                if item.optional_vars is not None:
                    inside = self.reads(
                        item.optional_vars, inside - self.always_kept(bound_names([item.optional_vars]))
                    )
                inside = self.reads(item.context_expr, inside)
            return inside
        if isinstance(s, ast.Match):
            inside = out
            for case in s.cases:
                body = self.block(case.body, out)
                inside |= self.reads(case.guard, body) if case.guard else body
                inside |= free_names(case.pattern)
            return self.reads(s.subject, inside)
        if isinstance(s, ast.Return):
            return self.reads(s.value, self.always) if s.value else self.always
        if isinstance(s, ast.Raise):
            return frozenset(free_names(s)) | self.always
        live = out - self.always_kept(bound_names([s]))
        if isinstance(s, ast.AugAssign):
            live |= frozenset(bound_names([s.target]))
        return live | frozenset(free_names(s))

    def always_kept(self, killed: set[str]) -> frozenset[str]:
        """What of the killed names may be taken for dead."""
        return frozenset(killed) - self.always

    def reads(self, expression: ast.AST, live: frozenset[str]) -> frozenset[str]:
        return live | frozenset(free_names(expression))
