"""gf.debugging.find_nan: which operation, of the forward or the backward pass, makes the first NaN or infinity, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..autodiff.record import stop as stop_recording
from ..autodiff.tape import GradientTape
from ..errors import NoGradientError
from ..ir.graph import Graph, Node
from ..ir.source import Source
from ..runtime.faults import element_text
from ..tensor import Tensor
from ..tree import flatten
from .callbacks import calls_python, open_scope, watching_writes
from .debug import locate_call, operands_of, shadows_of
from .numerics import first_nonfinite, operands_text
from .stepping import Stepper

__all__ = ["NanReport", "Origin", "find_nan"]

_HARMLESS = frozenset(("constant", "read_variable"))


@dataclass(frozen=True)
class Origin:
    """A place where a NaN or an infinity came into being from finite operands (or came in).

    op: the op, or "argument", "variable", "constant". value: what it made at `element`. operands: what it made it from, in
    words. backward: made by the gradient of this line. within: iterations and branches, outermost first.
    """

    op: str
    source: Source
    value: float
    element: str
    operands: str
    within: tuple[str, ...] = ()

    @property
    def backward(self) -> bool:
        """Does the gradient of this line make it?"""
        return self.source.backward

    def __str__(self) -> str:
        if self.op in ("argument", "variable", "constant"):
            text = f"{self.op} {self.operands + ' ' if self.operands else ''}holds {self.value}{self.element}"
        else:
            text = f"{self.op} makes {self.value}{self.element}{' from ' + self.operands if self.operands else ''}"
        if self.source.file != "unknown":
            place = "backward of " if self.backward else ""
            text += f"\n  at {place}{self.source.file}:{self.source.line}   {self.source.expression}".rstrip()
        return text + (f"\n  in {', in '.join(reversed(self.within))}" if self.within else "")


@dataclass(frozen=True)
class NanReport:
    """What find_nan found. found: a NaN or an infinity reaches a result or a gradient. origin: where the first such came from.
    masked: origins whose values a gf.where or another op dropped, so that no result shows them. explanation: why it
    happens and what to do."""

    found: bool
    origin: Origin | None
    masked: list[Origin] = field(default_factory=list)
    explanation: str = ""

    def __bool__(self) -> bool:
        return self.found

    def __str__(self) -> str:
        lines = [f"find_nan: {self.origin}" if self.origin else "find_nan: every result and every gradient is finite"]
        if self.explanation:
            lines.append(f"  {self.explanation}")
        if not self.found:
            lines += [f"  not seen in any result: {str(m).replace(chr(10), chr(10) + '  ')}" for m in self.masked]
        return "\n".join(lines)


def find_nan(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> NanReport:
    """Run fn on these arguments node by node, its gradient too (of the sum of its float results, with respect to float
    arguments and trainable variables), and report the first operation that makes a NaN or an infinity out of finite numbers
    and whose NaN or infinity reaches a result or a gradient. Variables keep their values; nothing is printed.

    fn: a gf.function, a method of one, or a plain function. It finds the trap of the masked branch, too:
    `gf.where(x > 0, 1 / x, 0)` is finite at 0, and its gradient is not.
    """
    from .function import Function

    if not hasattr(fn, "get_concrete_function"):
        fn = Function(fn)
    inner, args = locate_call(fn, args)
    try:
        concrete, arguments, results = _trace(inner, args, kwargs, backward=True)
    except NoGradientError:
        concrete, arguments, results = _trace(inner, args, kwargs, backward=False)
    walk = _Walk(concrete.graph, results)
    operands = shadows_of(operands_of(concrete, arguments.tensors, arguments.variables))
    names = inner._arguments(args, kwargs).names
    if calls_python(concrete.graph):
        with open_scope() as scope, watching_writes(scope):
            walk.run(operands, names)
            scope.undo()
    else:
        walk.run(operands, names)
    return walk.report()


def _trace(function: Any, args: Sequence[Any], kwargs: Any, backward: bool) -> tuple[Any, Any, int]:
    """(trace, arguments, number of results of fn itself): fn's results, then the gradients."""
    from .function import Function

    counted = [0]

    def with_gradient(*given: Any, **named: Any) -> Any:
        with GradientTape() as tape:
            sources = [t for t in flatten([list(given), named]) if isinstance(t, Tensor) and t.dtype.is_floating]
            for source in sources:
                tape.watch(source)
            result = function(*given, **named)
        floats = [t for t in flatten(result) if isinstance(t, Tensor) and t.dtype.is_floating]
        counted[0] = len([t for t in flatten(result) if isinstance(t, Tensor)])
        variables = list(tape.watched_variables())
        gradients = (
            tape.gradient(floats, [*sources, *variables]) if backward and floats and (sources or variables) else []
        )
        own = [t for t in flatten(result) if isinstance(t, Tensor)]
        return own, [g for g in gradients if g is not None]

    traced = Function(with_gradient, name=function.name, autograph=False)
    arguments = traced._arguments(tuple(args), dict(kwargs))
    exact = [t.type for t in arguments.tensors]
    concrete = traced._settle(arguments, exact, exact, "asked for", True)
    return concrete, arguments, counted[0]


class _Walk:
    """Follows every NaN and infinity through a run."""

    def __init__(self, graph: Graph, results: int) -> None:
        self.graph, self.results = graph, results
        self.origins: list[Origin] = []
        self.tainted: dict[int, int] = {}  # id of a tensor -> number of the origin of its first NaN
        self.alive: list[Any] = []
        self.dropped: dict[int, Node] = {}  # number of an origin -> the node that let none of it through
        self.stepper = Stepper(graph, hooks=[self.see], silent=True)
        self.operands: list[Any] = []
        self.given: set[int] = set()
        self.outputs: list[Any] = []

    def run(self, operands: Sequence[Any], names: Sequence[str]) -> None:
        """Run, after a look at what comes in."""
        rest, self.operands = iter(names), list(operands)
        for value, operand in zip(self.graph.inputs, operands, strict=True):
            name = value.name if value.is_variable else next(rest)
            tensor = operand.value() if value.is_variable else operand
            kind = "variable" if value.is_variable else "argument"
            self.given.add(id(tensor))
            self.note(tensor, kind, Source("unknown", 1, 0, ""), f"'{name}'")
        with stop_recording():
            self.outputs = self.stepper.run(operands)

    def note(self, tensor: Any, op: str, source: Source, operands: str) -> None:
        """Keep the origin of a tensor's first NaN or infinity, if it has one."""
        position = first_nonfinite(tensor._array)
        if position is None:
            return
        array = tensor._array
        within = tuple(str(place) for place in self.stepper.place)
        self.tainted[id(tensor)] = len(self.origins)
        self.alive.append(tensor)
        value = array.reshape(-1)[position].item()
        self.origins.append(Origin(op, source, value, element_text(array.shape, position), operands, within))

    def see(self, node: Node, operands: tuple[Any, ...], results: tuple[Any, ...]) -> None:
        """After each node: does it make, pass on or drop a NaN?"""
        incoming = [self.tainted[id(t)] for t in operands if id(t) in self.tainted]
        bad = False
        for result in results:
            position = first_nonfinite(result._array)
            if position is None or id(result) in self.tainted:
                continue
            bad = True
            if incoming:
                self.tainted[id(result)] = min(incoming)
                self.alive.append(result)
            else:
                op = "constant" if node.op.name in _HARMLESS else node.op.name
                text = operands_text(operands, result._array.shape, position)
                self.note(result, op, node.source, text)
        if incoming and results and not bad:
            for number in incoming:
                self.dropped.setdefault(number, node)

    # The report -------------------------------------------------------------------------------------------------------
    def report(self) -> NanReport:
        """The first origin that shows in a result, else in a gradient."""
        written = {
            self.tainted[id(o.value())]: v.name
            for v, o in zip(self.graph.inputs, self.operands, strict=True)
            if v.is_variable and id(o.value()) in self.tainted and not self.was_given(o)
        }
        reached = [self.tainted.get(id(t)) for t in self.outputs]
        forward = [number for number in reached[: self.results] if number is not None]
        gradients = [number for number in reached[self.results :] if number is not None]
        masked = [o for k, o in enumerate(self.origins) if k in self.dropped and k not in forward]
        if forward:
            origin = self.origins[min(forward)]
            return NanReport(True, origin, masked, self.came_from(origin))
        if written:
            origin = self.origins[min(written)]
            return NanReport(True, origin, masked, f"It reaches the variable '{written[min(written)]}'.")
        if gradients:
            found = self.origins[min(gradients)]
            # a loop that runs backwards computes the forward values again: the forward pass's own iteration is the one to name
            origin = next(o for o in self.origins if o.source == found.source and o.op == found.op)
            return NanReport(True, origin, masked, self.in_gradient(origin))
        return NanReport(False, None, masked)

    def was_given(self, variable: Any) -> bool:
        """Has a variable the value it came with?"""
        return id(variable.value()) in self.given

    def came_from(self, origin: Origin) -> str:
        if origin.op in ("argument", "variable"):
            return f"The {origin.op} is not finite before the function runs."
        return "It reaches a result of the function."

    def in_gradient(self, origin: Origin) -> str:
        """Why the gradient is not finite though every result is."""
        masked = not origin.backward or math.isnan(origin.value)  # an infinite slope that is wanted is no trap
        chooser = self.chooser_after(origin.source) if masked else None
        if chooser is not None:
            at = f"{chooser.source.location}   {chooser.source.expression}".rstrip()
            return (
                f"Every result is finite: the choice at {at} drops this element. Its gradient is computed all the same, with 0 "
                f"coming in, and 0 times infinity (or 0 / 0) is NaN: the masked-branch trap.\n"
                f"  next: give the branch a harmless operand where it is not taken: safe = gf.where(condition, x, 1.0), then "
                f"gf.where(condition, f(safe), 0.0)"
            )
        return "Every result is finite; the gradient is not. The function has no finite slope at this value."

    def chooser_after(self, source: Source) -> Node | None:
        """The first gf.where that a forward result of this place flows into (loops have copies of their bodies)."""
        nodes = [n for n in _all_nodes(self.graph) if not n.source.backward]
        reached = {v for n in nodes if _same_place(n.source, source) for v in n.outputs}
        for node in nodes:
            if any(v in reached for v in node.inputs):
                if node.op.name == "select":
                    return node
                reached.update(node.outputs)
        return None


def _same_place(one: Source, other: Source) -> bool:
    return (one.file, one.line, one.column, one.expression) == (other.file, other.line, other.column, other.expression)


def _all_nodes(graph: Graph) -> list[Node]:
    found = []
    for node in graph.nodes:
        for inner in node.subgraphs():
            found += _all_nodes(inner)
        found.append(node)
    return found
