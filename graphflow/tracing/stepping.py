"""A graph run node by node in Python, each node through its eager kernel: the same bits as the compiled program.

The graph is written as a Python function whose statements carry the user's own lines: one statement a node, real `while` and
`if` statements for loops and branches, the results in local variables. Compiled under the user's file name it is what a
debugger steps through: breakpoints set with `b train.py:12` stop, `n` goes from node to node, `p y` shows a value.

    def step(x, w):                      # train.py:10
        v0 = __step(0, w)                # train.py:11   w
        v1 = y = __step(1, x, v0)        # train.py:11   y = x @ w
        return (v1,)
"""

from __future__ import annotations

import ast
import itertools
import linecache
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from ..errors import GraphflowError
from ..ir.dims import SymbolicDim, evaluate, symbols_of
from ..ir.graph import Graph, Node, Value
from ..ir.op import Control, Effect
from ..ir.source import Source, parse_python
from ..tensor import dispatch_now

__all__ = ["Hook", "ShadowVariable", "Stepper", "UserFrame", "concrete_attributes"]

#: called after each node with (node, operands, results)
Hook = Callable[[Node, tuple[Any, ...], tuple[Any, ...]], None]

_INTERNAL = re.compile(r"v\d|__")
_numbers = itertools.count()


class TooManySteps(Exception):
    """The budget of a run is used up."""


@dataclass(frozen=True)
class UserFrame:
    """Whose function a stepped graph appears as: file, name, line of the `def`, and its global names. stop_before: nodes before
    which `breakpoint()` is called, with the lines of these calls."""

    file: str
    name: str
    line: int = 1
    names: Mapping[str, Any] = field(default_factory=dict)
    stop_before: Mapping[Node | None, Source] = field(default_factory=dict)


class ShadowVariable:
    """Stands for a variable in a run that must not change it: starts from its value and keeps its own."""

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor
        self.dtype, self.type = tensor.dtype, tensor.type

    def value(self) -> Any:
        """The present value."""
        return self._tensor

    def assign(self, tensor: Any) -> None:
        """Replace the value."""
        self._tensor = tensor

    def __repr__(self) -> str:
        return f"<a copy of a variable: {self._tensor!r}>"


class Stepper:
    """Runs one graph node by node. `run(operands)` gives the outputs as a list.

    operands: a tensor for each graph input, a variable (or ShadowVariable) for each variable among them. frame: appear as this
    user function to debuggers and in tracebacks (None: as graphflow's own). hooks: called after each node. silent: print
    nothing. budget: most nodes to run; then TooManySteps.
    """

    def __init__(
        self,
        graph: Graph,
        frame: UserFrame | None = None,
        hooks: Sequence[Hook] = (),
        silent: bool = False,
        budget: int | None = None,
    ) -> None:
        self.graph, self.hooks, self.silent, self.budget = graph, tuple(hooks), silent, budget
        self.nodes: list[Node] = []
        self.extents: dict[str, int] = {}
        self.place: list[_Place] = []
        self.saved: dict[int, tuple[Any, Any]] = {}
        self.steps = 0
        self.raised: BaseException | None = None  # the exception of the user's own `raise` that ended the run
        self._attributes: dict[int, Any] = {}
        self._call = _Writer(self, frame).function(graph)

    def run(self, operands: Sequence[Any]) -> list[Any]:
        """The outputs. A failure leaves the variables as they were."""
        self.extents, self.place, self.saved, self.steps = {}, [], {}, 0
        for value, operand in zip(self.graph.inputs, operands, strict=True):
            if not value.is_variable:
                self._bind(value, operand)
        try:
            return list(self._call(*operands))
        except BaseException:
            self.restore()
            raise

    def restore(self) -> None:
        """Give the variables that the run wrote their values back."""
        for variable, before in self.saved.values():
            if isinstance(variable, ShadowVariable):
                variable.assign(before)
            else:
                np.copyto(variable._array, before)
        self.saved = {}

    def _bind(self, value: Value, tensor: Any) -> None:
        """The extents that a value's type names, as this value has them."""
        for dim, extent in zip(value.type.shape, tensor.dims, strict=True):
            if isinstance(dim, SymbolicDim) and symbols_of(dim) == {dim.text}:
                self.extents[dim.text] = extent

    # Called from the written function ---------------------------------------------------------------------------------
    def step(self, number: int, *operands: Any) -> Any:
        """Run one node: its result, a tuple of several, or None."""
        node = self.nodes[number]
        self.steps += 1
        if self.budget is not None and self.steps > self.budget:
            raise TooManySteps
        results = self._execute(node, operands)
        for value, result in zip(node.outputs, results, strict=True):
            self._bind(value, result)
        for hook in self.hooks:
            try:
                hook(node, operands, results)
            except GraphflowError as error:
                self._locate(error)
                raise
        return results[0] if len(results) == 1 else results or None

    def _execute(self, node: Node, operands: tuple[Any, ...]) -> tuple[Any, ...]:
        kind = node.op.kernel.kind if isinstance(node.op.kernel, Effect) else ""
        if kind == "read":
            return (operands[0].value(),)
        if kind == "write":
            variable = operands[0]
            if id(variable) not in self.saved:
                shadow = isinstance(variable, ShadowVariable)
                self.saved[id(variable)] = (variable, variable.value() if shadow else variable._array.copy())
            variable.assign(operands[1])
            return ()
        if self.silent and kind == "print":
            return ()
        if kind == "copy":
            return operands  # everything is in this machine's memory
        if kind == "call":
            return tuple(node.attributes["function"].run_eagerly(list(operands)))
        try:
            return dispatch_now(node.op, operands, self._concrete(node), node.source)
        except GraphflowError as error:
            self._locate(error)
            raise
        except Exception as error:
            if kind == "assert":  # a `raise` statement under a tensor condition
                self.raised = error
            raise

    def _concrete(self, node: Node) -> dict[str, Any]:
        found = self._attributes.get(id(node))
        if found is None:
            found = concrete_attributes(node.attributes, self.extents)
            if all(found[name] is value for name, value in node.attributes.items()):
                self._attributes[id(node)] = found  # nothing in it can change
        return found

    def _locate(self, error: GraphflowError) -> None:
        if not error.within:
            error.within = tuple(str(place) for place in self.place)

    def enter(self, number: int) -> None:
        """A loop begins."""
        self.place.append(_Place(self.nodes[number].source))

    def iterate(self, number: int, *carried: Any) -> bool:
        """An iteration begins, with these values: True."""
        self.place[-1].iteration += 1
        for value, tensor in zip(self.nodes[number].attributes["body"].inputs, carried, strict=False):
            self._bind(value, tensor)
        return True

    def finish(self, number: int, *carried: Any) -> None:
        """A loop is over: its results' extents."""
        self.place.pop()
        for value, tensor in zip(self.nodes[number].outputs, carried, strict=True):
            self._bind(value, tensor)

    def choose(self, number: int, index: Any) -> int:
        """The branch that a switch takes."""
        node, value = self.nodes[number], index._array[()]
        branches = len(node.attributes["branches"])
        chosen = int(value) if index.dtype.is_bool or 0 <= value < branches else branches - 1
        chosen = min(chosen, branches - 1)
        name = ("false", "true")[chosen] if index.dtype.is_bool and branches == 2 else f"number {chosen}"
        self.place.append(_Place(node.source, f"the branch '{name}' of the choice"))
        return chosen

    def leave(self, number: int, *results: Any) -> None:
        """A branch is over."""
        self.finish(number, *results)

    def enter_call(self, number: int) -> None:
        """A call of a shared graph begins."""
        node = self.nodes[number]
        self.place.append(_Place(node.source, f"'{node.attributes['function'].name}' called"))


@dataclass
class _Place:
    """Where the run is, inside a loop, a branch or a call."""

    source: Source
    text: str = ""
    iteration: int = -1

    def __str__(self) -> str:
        where = f"at {os.path.basename(self.source.file)}:{self.source.line}"
        if self.source.backward:
            where = f"{where} run backwards"
        return f"{self.text} {where}" if self.text else f"iteration {self.iteration} (from 0) of the loop {where}"


def concrete_attributes(attributes: Mapping[str, Any], extents: Mapping[str, int]) -> dict[str, Any]:
    """Attributes with numbers for symbolic extents."""

    def concrete(value: Any) -> Any:
        if isinstance(value, SymbolicDim):
            return evaluate(value, extents)
        if isinstance(value, (tuple, list)):
            items = [concrete(item) for item in value]
            return value if all(a is b for a, b in zip(items, value, strict=True)) else type(value)(items)
        return value

    return {name: concrete(value) for name, value in attributes.items()}


# Writing the function -------------------------------------------------------------------------------------------------
class _Writer:
    """Writes a graph as Python code objects with the user's files and lines."""

    def __init__(self, stepper: Stepper, frame: UserFrame | None) -> None:
        self.stepper, self.frame = stepper, frame
        self.file = frame.file if frame else os.path.join(os.path.dirname(__file__), "<a graph, node by node>")
        self.name = frame.name if frame and frame.name.isidentifier() else "graph"
        self.namespace: dict[str, Any] = dict(frame.names) if frame else {}
        self.namespace |= {
            "__step": stepper.step,
            "__enter": stepper.enter,
            "__iterate": stepper.iterate,
            "__finish": stepper.finish,
            "__choose": stepper.choose,
            "__leave": stepper.leave,
            "__call": stepper.enter_call,
            "__holds": lambda tensor: bool(tensor._array),
        }
        self.names: dict[Value, str] = {}
        self.taken: set[str] = set()
        self.line = frame.line if frame else 1
        self.assignments: dict[str, dict[tuple[int, int, str], str]] = {}

    def function(self, graph: Graph) -> Callable[..., Any]:
        """The graph as a function of its inputs that returns the list of its outputs."""
        aliases = self._all_aliases(graph)
        parameters, copies = [], []
        for position, value in enumerate(graph.inputs):
            name = self._free(_identifier(value.name) or f"input{position}")
            parameters.append(name)
            self.names[value] = name
            if name in aliases:  # the user's code gives the name another value later on
                self.names[value] = self._free(f"{name}_given")
                copies += self._statement(f"{self.names[value]} = {name}")
        first = self.line
        body = [*copies, *self._block(graph, "v"), *self._stop(None)]
        body += self._statement(f"return ({''.join(f'{self.names[v]}, ' for v in graph.outputs)})")
        return self._define(self.name, parameters, body, self.file, first)

    def _define(
        self, name: str, parameters: Sequence[str], body: Sequence[ast.stmt], file: str, line: int
    ) -> Callable[..., Any]:
        definition = parse_python(f"def {name}({', '.join(parameters)}): pass").body[0]
        assert isinstance(definition, ast.FunctionDef)
        _relocate(definition, line, 0, 1)
        definition.body = list(body) or definition.body
        module = compile(ast.Module([definition], []), file, "exec")
        code = next(constant for constant in module.co_consts if isinstance(constant, CodeType))
        return FunctionType(code, self.namespace, name)

    def _free(self, wanted: str) -> str:
        name = wanted
        for number in itertools.count(2):
            if name not in self.taken:
                break
            name = f"{wanted}_{number}"
        self.taken.add(name)
        return name

    # Statements -------------------------------------------------------------------------------------------------------
    def _statement(self, text: str, source: Source | None = None) -> list[ast.stmt]:
        """Statements at the place of a source, or at the present line."""
        if source is not None and self.frame is not None:
            self.line = max(1, source.line)
        statements = parse_python(text).body
        begin, end = _columns(source) if source is not None else (0, 1)
        for statement in statements:
            _relocate(statement, self.line, begin, end)
        return statements

    def _block(self, graph: Graph, prefix: str) -> list[ast.stmt]:
        """The nodes of a graph whose inputs have names already."""
        written: list[ast.stmt] = []
        number = itertools.count()
        for node in graph.nodes:
            for value in node.outputs:
                self.names[value] = self._free(f"{prefix}{next(number)}")
        position, nodes = 0, graph.nodes
        while position < len(nodes):
            node = nodes[position]
            written += self._stop(node)
            inner = isinstance(node.op.kernel, Control) or node.op.name == "fused"
            if not inner and self._is_elsewhere(node):
                run = [node]
                while position + len(run) < len(nodes) and self._goes_on(run, nodes[position + len(run)]):
                    run.append(nodes[position + len(run)])
                written += self._elsewhere(run)
                position += len(run)
                continue
            if inner:
                written += self._control(node)
            else:
                following = nodes[position + 1] if position + 1 < len(nodes) else None
                written += self._node(node, self._alias(node, following))
            position += 1
        return written

    def _node(self, node: Node, alias: str | None) -> list[ast.stmt]:
        call = f"__step({self._number(node)}, {', '.join(self.names[v] for v in node.inputs)})"
        targets = ", ".join(self.names[v] for v in node.outputs)
        if alias is not None:
            targets = f"{targets} = {alias}"
        return self._statement(f"{targets} = {call}" if targets else call, node.source)

    def _number(self, node: Node) -> int:
        self.stepper.nodes.append(node)
        return len(self.stepper.nodes) - 1

    def _control(self, node: Node) -> list[ast.stmt]:
        if node.op.name == "fused":
            return self._inline(node, node.attributes["body"])
        kind = node.op.kernel.kind if isinstance(node.op.kernel, Control) else ""
        if kind == "while":
            return self._loop(node)
        if kind == "switch":
            return self._switch(node)
        if kind == "call":
            number = self._number(node)
            entered = self._statement(f"__call({number})", node.source)
            inside = self._inline(node, node.attributes["function"])
            results = "".join(f", {self.names[v]}" for v in node.outputs)
            return [*entered, *inside, *self._statement(f"__leave({number}{results})", node.source)]
        raise GraphflowError(f"{node.op.name}: cannot be run node by node")

    def _prefix(self, node: Node, kind: str = "") -> str:
        first = self.names[node.outputs[0]] if node.outputs else self._free("v_")
        return f"{first}{kind}_"

    def _inline(self, node: Node, body: Graph, prefix: str | None = None) -> list[ast.stmt]:
        """A sub-graph in place of the node: operands are its inputs, its outputs the node's results."""
        saved = {v: self.names.get(v) for v in body.inputs}
        for value, operand in zip(body.inputs, node.inputs[len(node.inputs) - len(body.inputs) :], strict=True):
            self.names[value] = self.names[operand]
        inside = self._block(body, prefix or self._prefix(node))
        moves = "; ".join(f"{self.names[v]} = {self.names[o]}" for v, o in zip(node.outputs, body.outputs, strict=True))
        self.names.update({v: name for v, name in saved.items() if name is not None})
        return [*inside, *(self._statement(moves, node.source) if moves else [])]

    def _loop(self, node: Node) -> list[ast.stmt]:
        number, carried = self._number(node), node.attributes["carried"]
        condition, body = node.attributes["condition"], node.attributes["body"]
        prefix = self._prefix(node)
        kept = [self._free(f"{prefix}c{k}") for k in range(carried)]
        start = "; ".join(f"{k} = {self.names[v]}" for k, v in zip(kept, node.inputs, strict=False))
        written = self._statement(f"__enter({number})" + (f"; {start}" if start else ""), node.source)
        for graph in (condition, body):
            inside = [*kept, *(self.names[v] for v in node.inputs[carried:])]
            self.names.update(zip(graph.inputs, inside, strict=True))
        passed = "".join(f", {k}" for k in kept)
        (loop,) = self._statement(f"while __iterate({number}{passed}):\n pass", node.source)
        assert isinstance(loop, ast.While)
        shown = "; ".join(
            f"{name} = {k}"
            for v, k in zip(body.inputs, kept, strict=False)
            if (name := self._loop_alias(v)) is not None
        )
        loop.body = self._statement(shown, node.source) if shown else []
        loop.body += self._block(condition, self._prefix(node, "c"))
        loop.body += self._statement(f"if not __holds({self.names[condition.outputs[0]]}): break", node.source)
        loop.body += self._block(body, prefix)
        if kept:
            after = "".join(f"{self.names[v]}, " for v in body.outputs)
            loop.body += self._statement(
                f"{''.join(f'{k}, ' for k in kept)} = {after}".replace(",  =", ", ="), node.source
            )
        written.append(loop)
        written += self._statement(f"__finish({number}{passed})", node.source)
        results = "; ".join(f"{self.names[v]} = {k}" for v, k in zip(node.outputs, kept, strict=True))
        return [*written, *(self._statement(results, node.source) if results else [])]

    def _switch(self, node: Node) -> list[ast.stmt]:
        number, chosen = self._number(node), self._free(f"{self._prefix(node)}branch")
        written = self._statement(f"{chosen} = __choose({number}, {self.names[node.inputs[0]]})", node.source)
        tests: list[ast.If] = []
        for position, branch in enumerate(node.attributes["branches"]):
            (test,) = self._statement(f"if {chosen} == {position}:\n pass", node.source)
            assert isinstance(test, ast.If)
            test.body = self._inline(node, branch, self._prefix(node, f"b{position}")) or test.body
            if tests:
                tests[-1].orelse = [test]
            tests.append(test)
        written += tests[:1]
        results = "".join(f", {self.names[v]}" for v in node.outputs)
        return [*written, *self._statement(f"__leave({number}{results})", node.source)]

    # Other files ------------------------------------------------------------------------------------------------------
    def _is_elsewhere(self, node: Node) -> bool:
        return self.frame is not None and node.source.file != self.file

    def _goes_on(self, run: Sequence[Node], node: Node) -> bool:
        return (
            self._is_elsewhere(node)
            and node.source.file == run[0].source.file
            and not isinstance(node.op.kernel, Control)
            and node.op.name != "fused"
            and not self._stops_at(node)
        )

    def _elsewhere(self, run: Sequence[Node]) -> list[ast.stmt]:
        """Nodes of another file: a function of that file, called from the present line."""
        made = [v for node in run for v in node.outputs]
        used = list(dict.fromkeys(v for node in run for v in node.inputs if v not in made))
        line, own = self.line, self.file
        self.file = run[0].source.file
        first = max(1, run[0].source.line)
        try:
            body: list[ast.stmt] = []
            for position, node in enumerate(run):
                body += self._node(node, self._alias(node, run[position + 1] if position + 1 < len(run) else None))
            body += self._statement(f"return ({''.join(f'{self.names[v]}, ' for v in made)})")
            name = f"__elsewhere_{len(self.namespace)}"
            self.namespace[name] = self._define(
                self.name, [self.names[v] for v in used], body, run[0].source.file, first
            )
        finally:
            self.file, self.line = own, line
        call = f"{name}({', '.join(self.names[v] for v in used)})"
        targets = "".join(f"{self.names[v]}, " for v in made)
        return self._statement(f"{targets} = {call}".replace(",  =", ", =") if targets else call)

    # Breakpoints ------------------------------------------------------------------------------------------------------
    def _stops_at(self, node: Node | None) -> bool:
        return self.frame is not None and node in self.frame.stop_before

    def _stop(self, node: Node | None) -> list[ast.stmt]:
        """The statement that stops before a node. Before Python 3.13 a debugger stops at the next line it comes to: the statement
        stands on another line than the node."""
        if not self._stops_at(node):
            return []
        assert self.frame is not None
        source, before = self.frame.stop_before[node], self.line
        line = max(1, source.line)
        if sys.version_info < (3, 13) and node is not None and line == max(1, node.source.line):
            line = before if before != line else line + 1 if line == 1 else line - 1
        self.line = line
        written = self._statement("breakpoint()")
        self.line = before
        return written

    # Names ------------------------------------------------------------------------------------------------------------
    def _alias(self, node: Node, following: Node | None) -> str | None:
        """The variable that the user's code gives the result to, at the last node of an assignment's expression."""
        if self.frame is None or len(node.outputs) != 1 or node.source.backward:
            return None
        if following is not None and following.source == node.source:
            return None
        source = node.source
        if source.file not in self.assignments:
            self.assignments[source.file] = _assignments(source.file)
        name = self.assignments[source.file].get((source.line, source.column, source.expression))
        return name if name is not None and not _INTERNAL.match(name) else None

    def _loop_alias(self, value: Value) -> str | None:
        name = _identifier(value.name)
        usable = self.frame is not None and name is not None and not _INTERNAL.match(name)
        return name if usable and name not in self.names.values() else None

    def _all_aliases(self, graph: Graph) -> set[str]:
        """Every name that may be given a value."""
        found: set[str] = set()
        if self.frame is None:
            return found
        for position, node in enumerate(graph.nodes):
            following = graph.nodes[position + 1] if position + 1 < len(graph.nodes) else None
            name = self._alias(node, following)
            if name is not None:
                found.add(name)
            for inner in node.subgraphs():
                found |= self._all_aliases(inner)
                carried = inner.inputs[: node.attributes.get("carried", 0)]
                found |= {name for v in carried if (name := _identifier(v.name)) is not None}
        return found


def _relocate(tree: ast.AST, line: int, begin: int, end: int) -> None:
    nodes: Iterable[Any] = ast.walk(tree)
    for node in nodes:
        if hasattr(node, "lineno"):
            node.lineno = node.end_lineno = line
            node.col_offset, node.end_col_offset = begin, end


def _columns(source: Source) -> tuple[int, int]:
    """The columns of a source's expression on its first line."""
    line = linecache.getline(source.file, source.line).rstrip().encode()
    begin = min(max(0, source.column), len(line))
    wanted = len(source.expression.encode())
    return begin, max(begin + 1, min(begin + wanted, len(line)))


def _identifier(name: str) -> str | None:
    """A value's name as a Python name, or None."""
    import keyword

    cleaned = re.sub(r"\W", "_", name)
    return cleaned if cleaned.isidentifier() and not keyword.iskeyword(cleaned) else None


def _assignments(file: str) -> dict[tuple[int, int, str], str]:
    """(line, column, expression) -> the name that `name = expression` gives it, for every assignment of a file."""
    lines = linecache.getlines(file)
    text = "".join(lines)
    found: dict[tuple[int, int, str], str] = {}
    try:
        tree = parse_python(text)
    except (SyntaxError, ValueError):
        return found
    for node in ast.walk(tree):
        targets: Iterable[ast.expr] = ()
        place: ast.AST | None = None
        if isinstance(node, ast.Assign):
            targets, place = node.targets, node.value
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)):
            targets, place = [node.target], node.value
        elif isinstance(node, ast.AugAssign):
            targets, place = [node.target], node
        names = [t.id for t in targets if isinstance(t, ast.Name)]
        if place is not None and names:
            segment = ast.get_source_segment(text, place) or ""
            segment = segment.partition("\n")[0]  # a source has the first line of its expression
            found[place.lineno, place.col_offset, " ".join(segment.split())] = names[0]  # type: ignore[attr-defined]
    return found
