"""Liveness in a graph with control flow: the steps of its nodes, which values are the same bytes, and until when each is used.

The steps are one line: the nodes of sub-graphs stand where their node stands. A value from outside a loop that is used inside lives to the
loop's end, and the uses in other branches of a switch do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.graph import Graph, Node, Value
from ..ir.op import Alias, Effect
from .control_structure import control_kind, is_scalar

__all__ = ["Frame", "Frames", "Liveness"]


@dataclass(eq=False)
class Frame:
    """A loop or a branch around a node, with its steps; of a branch also those of its switch."""

    kind: str
    first: int = 0
    last: int = 0
    switch_first: int = 0
    switch_last: int = 0

    def excludes(self, step: int) -> bool:
        """Is this a branch, and the step in another branch of its switch?"""
        return (self.kind == "branch" and self.switch_first <= step <= self.switch_last
                and not self.first <= step <= self.last)  # fmt: skip


Frames = tuple[Frame, ...]


class Liveness:
    """Steps and uses of one graph with the bodies and branches inside it (but not of the functions that it calls), from step `first` on.

    roots: alias -> the value whose bytes it is; steps: of each node, finish: where it has run, with what is inside it (both filled in).
    immediate: variables are read at once, so that a read is no alias. span: the steps of each sub-graph, frames: what is around it,
    frame_of: its own frame (all by id: equal graphs are not one). assigns: variable -> its new value. constants: in order."""

    def __init__(
        self, graph: Graph, first: int, roots: dict[Value, Value], steps: dict[Node, int], immediate: bool
    ) -> None:
        self.step, self.roots, self.steps, self.immediate = first, roots, steps, immediate
        self.finish: dict[Node, int] = {}
        self.span: dict[int, tuple[int, int]] = {}
        self.frames: dict[int, Frames] = {}
        self.frame_of: dict[int, Frame] = {}
        self.constants: list[Value] = []
        self.uses: dict[Value, list[tuple[int, Frames]]] = {}
        self.defined: dict[Value, tuple[int, Frames]] = {}
        self.unchanged: set[Value] = set()  # carried values that the body hands on untouched
        self.assigns: dict[Value, Value] = {}
        for value in graph.inputs:
            self.defined[value] = (first, ())
        self._number(graph, ())
        self._alias(graph)
        self._collect(graph)
        for value in [*graph.outputs, *self.assigns.values()]:
            self.use(value, self.step, ())

    def root(self, value: Value) -> Value:
        """The value whose bytes this one is."""
        while value in self.roots:
            value = self.roots[value]
        return value

    def _tick(self) -> int:
        self.step += 1
        return self.step

    def _number(self, graph: Graph, frames: Frames) -> None:
        first = self._tick()
        self.frames[id(graph)] = frames
        for node in graph.nodes:
            begin = self.steps[node] = self._tick()
            kind = control_kind(node)
            if kind == "while":
                loop = Frame("loop", begin)
                for inner in (node.attributes["condition"], node.attributes["body"]):
                    self.frame_of[id(inner)] = loop
                    self._number(inner, (*frames, loop))
                loop.last = self._tick()
                for value in node.attributes["body"].inputs:
                    self.defined[value] = (begin, (*frames, loop))
                self.finish[node] = loop.last
            elif kind == "switch":
                branches = []
                for inner in node.attributes["branches"]:
                    branch = self.frame_of[id(inner)] = Frame("branch", self.step + 1, switch_first=begin)
                    self._number(inner, (*frames, branch))
                    branch.last = self.step
                    branches.append(branch)
                self.finish[node] = self._tick()
                for branch in branches:
                    branch.switch_last = self.finish[node]
            else:
                self.finish[node] = begin
            for value in node.outputs:
                self.defined[value] = (self.finish[node], frames)
        self.span[id(graph)] = (first, self._tick())

    def _alias(self, graph: Graph) -> None:
        """Which values are other values' bytes."""
        roots = self.roots
        for node in graph.nodes:
            kernel, kind = node.op.kernel, control_kind(node)
            if isinstance(kernel, Alias) or isinstance(kernel, Effect) and (
                kernel.kind == "copy" or kernel.kind == "read" and not self.immediate):  # fmt: skip
                roots[node.output] = node.inputs[0]
            elif isinstance(kernel, Effect) and kernel.kind == "constant":
                self.constants.append(node.output)
            elif kind == "switch":
                branches = node.attributes["branches"]
                for inner in branches:
                    roots.update(zip(inner.inputs, node.inputs[1:], strict=True))
                    self._alias(inner)
                for position, value in enumerate(node.outputs):
                    (first, *others) = [self.root(inner.outputs[position]) for inner in branches]
                    outside = self.defined[first][1] == self.frames[id(graph)][: len(self.defined[first][1])]
                    if all(v is first for v in others) and outside:
                        roots[value] = first
            elif kind == "while":
                condition, body, count = (
                    node.attributes["condition"],
                    node.attributes["body"],
                    node.attributes["carried"],
                )
                roots.update(zip(body.inputs[count:], node.inputs[count:], strict=True))
                roots.update(zip(condition.inputs[count:], node.inputs[count:], strict=True))
                roots.update(zip(condition.inputs[:count], body.inputs[:count], strict=True))
                self._alias(condition)
                self._alias(body)
                for k in range(count):
                    own, operand = body.inputs[k], node.inputs[k]
                    if self.root(body.outputs[k]) is own and is_scalar(own) == is_scalar(operand):
                        roots[own] = roots[node.outputs[k]] = operand
                        self.unchanged.add(own)

    def use(self, value: Value, step: int, frames: Frames) -> None:
        """Note a use."""
        self.uses.setdefault(self.root(value), []).append((step, frames))

    def _collect(self, graph: Graph) -> None:
        frames = self.frames[id(graph)]
        for node in graph.nodes:
            if node.outputs and (node.output in self.roots and control_kind(node) == ""):
                continue
            begin, kernel, kind = self.steps[node], node.op.kernel, control_kind(node)
            if kind == "switch":
                self.use(node.inputs[0], begin, frames)
                for inner in node.attributes["branches"]:
                    self._collect(inner)
                    for value, result in zip(inner.outputs, node.outputs, strict=True):
                        if result not in self.roots:
                            self.use(value, self.span[id(inner)][1], self.frames[id(inner)])
            elif kind == "while":
                condition, body, count = (
                    node.attributes["condition"],
                    node.attributes["body"],
                    node.attributes["carried"],
                )
                inside = self.frames[id(body)]
                self._collect(condition)
                self.use(condition.outputs[0], self.span[id(condition)][1], inside)
                self._collect(body)
                for k in range(count):
                    if body.inputs[k] not in self.unchanged:
                        self.use(node.inputs[k], begin, frames)
                        self.use(body.inputs[k], self.span[id(condition)][1], inside)  # it may be the result
                        self.use(body.outputs[k], self.span[id(body)][1], inside)
            elif isinstance(kernel, Effect) and kernel.kind == "write" and not self.immediate:
                self.assigns[node.inputs[0]] = node.inputs[1]
            else:
                for value in node.inputs:
                    self.use(value, begin, frames)

    def extent(self, root: Value, step: int, frames: Frames) -> tuple[int, Frame | None]:
        """The last step that a use at `step` keeps the value for, and the loop that makes it longer than that, if any."""
        for frame in frames[len(self.defined[root][1]) :]:
            if frame.kind == "loop":
                return frame.last, frame
        return step, None

    def lives(self, root: Value, step: int, frames: Frames, at_step: bool = False) -> bool:
        """Is the value used after the step (or by it), on any path from a node in these frames?"""
        for used, inside in self.uses.get(root, ()):
            last, loop = self.extent(root, used, inside)
            if last < step or last == step and not at_step:
                continue
            unreachable = [f for f in frames if f.excludes(used)]
            if any(loop is None or not loop.first <= f.switch_first <= loop.last for f in unreachable):
                continue
            return True
        return False

    def last(self, root: Value) -> int:
        """The last step that the value is kept for."""
        return max((self.extent(root, *use)[0] for use in self.uses.get(root, ())), default=self.defined[root][0])
