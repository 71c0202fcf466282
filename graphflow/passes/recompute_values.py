"""Recompute values: what a later loop can work out from an array that it can have anyway is not stored for it.

    %a, %b, %c = fused x { square, multiply by 0.5, tanh, 1 - tanh^2 ... }       %t = fused x { tanh }
    ...                                                                    ->    ...
    fused dy, %a, %b, %c { ... }                                                 fused dy, x, %t { square, 1 - tanh^2, ... }

A gradient asks for many values of the forward pass. Those that a few cheap elementwise operations make from others (the loop's
operands, or the results of its costly operations) are dropped from the loop that stores them and computed again by the loops that read
them: the same operations on the same numbers, so the same bits. It is done where it stores less, and moves less between loops and memory.
Training compilers do the same to save activations (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016); here only what
is nearly free is computed again, so that nothing has to be weighed by measuring.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir.graph import Graph, Node, Value
from ..ir.op import Effect, Pointwise
from ..ir.region import Region, analyse, can_fail
from ..ir.source import merge_sources
from .fuse import CHEAP, MOST_BUFFERS, MOST_NODES
from .manager import PassContext
from .rewriting import with_subgraphs

__all__ = ["recompute_values"]

MOST_OPERATIONS = 6
"""Elementwise operations that are computed again for one value, at most: less than to load it from beyond the second-level cache."""
SMALL_SHARE = 8
"""An array of this part of another one's elements, or fewer, is small beside it."""
LEAST_ELEMENTS = 1024
"""Values known to be smaller stay in the first-level cache between loops."""


def recompute_values(graph: Graph, context: PassContext) -> Graph:
    """graph (after fusion) -> graph whose loops store fewer values for later loops, in branches and bodies too."""
    graph = with_subgraphs(recompute_values, graph, context)
    program = _Program(graph)
    for place in graph.nodes:
        if place.op.name != "fused":
            continue
        loop = _Loop(program, place)
        for chosen in loop.choices():
            changes = loop.without(chosen)
            if changes is None:
                continue
            if not context.spend(source=place.source):
                return program.finish()
            context.remark(
                "recomputed",
                f"{len(chosen)} of the {len(program.results[place])} values of a loop are computed again where they are read",
                [place.source],
            )
            for changed, (node, results) in changes.items():
                program.replace(changed, node, results)
            break
    return program.finish()


class _Program:
    """A graph while its loops change: what stands in the place of each node, and who reads what. A value keeps its identity when
    another node makes it, so that a change concerns the loops that it is about and no node behind them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.position = {node: k for k, node in enumerate(graph.nodes)}
        self.node = {node: node for node in graph.nodes}
        self.results: dict[Node, tuple[Value, ...]] = {node: node.outputs for node in graph.nodes}
        self.uses = {value: dict.fromkeys(users) for value, users in graph.uses.items()}
        self.kept_to_end = {*graph.outputs, *graph.inputs}
        self.changed = False

    def readers(self, values: Iterable[Value]) -> list[Node]:
        """The places of the nodes that read these values, in order."""
        return sorted({place for v in values for place in self.uses.get(v, ())}, key=self.position.__getitem__)

    def last(self, value: Value) -> int:
        """The position of the value's last reader."""
        return max(map(self.position.__getitem__, self.uses[value]))

    def replace(self, place: Node, node: Node, results: tuple[Value, ...]) -> None:
        """Another node in this place; results: what its outputs are."""
        for value in dict.fromkeys(self.node[place].inputs):
            del self.uses[value][place]
        for value in dict.fromkeys(node.inputs):
            self.uses.setdefault(value, {})[place] = None
        self.node[place], self.results[place], self.changed = node, results, True

    def finish(self) -> Graph:
        """The graph of the nodes that stand there now."""
        if not self.changed:
            return self.graph
        mapping: dict[Value, Value] = {}
        nodes = []
        for place in self.graph.nodes:
            node = self.node[place]
            inputs = tuple([mapping.get(v, v) for v in node.inputs])
            if inputs != node.inputs:
                node = Node(node.op, inputs, node.attributes, node.source, [v.type for v in node.outputs])
            mapping.update(zip(self.results[place], node.outputs, strict=True))
            nodes.append(node)
        return self.graph.replace(nodes, [mapping.get(v, v) for v in self.graph.outputs])


@dataclass(frozen=True)
class _Recipe:
    """How a loop's result is made again. nodes: cheap nodes of the loop's body in order; leaves: what they read, constants aside."""

    nodes: tuple[Node, ...]
    leaves: tuple[Value, ...]


class _Loop:
    """One loop of a program, and the loops that read its results."""

    def __init__(self, program: _Program, place: Node) -> None:
        self.program, self.place, self.producer = program, place, program.node[place]
        self.body: Graph = self.producer.attributes["body"]
        self.outside = dict(zip(self.body.inputs, self.producer.inputs, strict=True))
        self.results = dict(zip(self.body.outputs, program.results[place], strict=True))
        self.inside = {outer: inner for inner, outer in self.results.items()}

    def choices(self) -> Iterable[dict[Value, _Recipe]]:
        """Sets of results to drop, the most promising first."""
        by_shape: dict[Any, dict[Value, _Recipe]] = {}
        for inner, outer in self.results.items():
            recipe = self._recipe(inner) if self._is_for_loops(outer) else None
            if recipe is not None:
                by_shape.setdefault(inner.type.shape, {})[inner] = recipe
        for recipes in by_shape.values():
            yield recipes
            if len(recipes) > 1:
                yield from ({inner: recipe} for inner, recipe in recipes.items())

    def _is_for_loops(self, outer: Value) -> bool:
        """Is the value large, and read by loops only?"""
        if (
            outer in self.program.kept_to_end
            or isinstance(outer.type.elements, int)
            and outer.type.elements < LEAST_ELEMENTS
        ):
            return False
        users = self.program.readers([outer])
        return bool(users) and all(
            user.op.name == "fused" and user.outputs[0].type.device == outer.type.device for user in users
        )

    def _recipe(self, inner: Value) -> _Recipe | None:
        """The cheap elementwise nodes that make the value, back to operands and to the results of other nodes."""
        nodes: dict[Node, None] = {}
        leaves: dict[Value, None] = {}
        stack = [inner]
        while stack:
            value = stack.pop()
            node = value.producer
            if node is not None and isinstance(node.op.kernel, Effect):
                nodes[node] = None
            elif node is not None and _is_cheap(node) and value.type.shape == inner.type.shape:
                nodes[node] = None
                stack.extend(node.inputs)
            else:
                leaves[value] = None
        work = sum(isinstance(n.op.kernel, Pointwise) for n in nodes)
        if not 0 < work <= MOST_OPERATIONS or any(
            not _is_small(v, inner) and v.type.shape != inner.type.shape for v in leaves
        ):
            return None
        ordered = tuple(n for n in self.body.nodes if n in nodes)
        return _Recipe(ordered, tuple(leaves))

    def without(self, chosen: dict[Value, _Recipe]) -> dict[Node, tuple[Node, tuple[Value, ...]]] | None:
        """What changes where these results are computed again by their readers (place -> node and its results), or None if that is
        not possible or does not pay."""
        leaves = dict.fromkeys(v for recipe in chosen.values() for v in recipe.leaves)
        kept = [v for v in self.body.outputs if v not in chosen]
        fresh = [v for v in leaves if v not in self.outside and v not in kept]
        dropped = [self.results[v] for v in chosen]
        readers = self.program.readers(dropped)
        end = self.program.position[readers[-1]]
        prolonged = [
            v for v in (self.outside[leaf] for leaf in leaves if leaf in self.outside)
            if v not in self.program.kept_to_end and self.program.last(v) < end
        ]  # fmt: skip
        if any(v.producer is not None and isinstance(v.producer.op.kernel, Effect) for v in prolonged):
            return None  # what a variable holds: the longer it is read, the fewer updates run in place
        width = next(iter(chosen))
        large = [v for v in prolonged if not _is_small(v, width)]
        stored = _bytes(dropped) - _bytes(v for v in fresh if not _is_small(v, width))
        if stored <= 0 or stored < _bytes(large):
            return None
        moved = stored
        for reader in [self.program.node[place] for place in readers]:
            before = [v for v in dropped if v in reader.inputs]
            needed = dict.fromkeys(
                leaf for v, recipe in chosen.items() if self.results[v] in before for leaf in recipe.leaves
            )
            more = [
                v
                for v in needed
                if not _is_small(v, width) and self._outer(v) not in reader.inputs or self._outer(v) in dropped
            ]
            moved += _bytes(before) - _bytes(more)
        if moved <= 0:
            return None
        slim = self._slim([*kept, *fresh]) if kept or fresh else None
        if slim is None:
            return None
        standing = {v: self.results[v] for v in kept} | dict(zip(fresh, slim.outputs[len(kept) :], strict=True))
        changes = {self.place: (slim, tuple(standing.values()))}
        for place in readers:
            made = self._reader(self.program.node[place], chosen, standing)
            if made is None:
                return None
            changes[place] = made, self.program.results[place]
        return changes

    def _outer(self, leaf: Value) -> Value | None:
        return self.outside.get(leaf, self.results.get(leaf))

    def _slim(self, outputs: Sequence[Value]) -> Node | None:
        """The loop that yields these values of its body."""
        needed: set[Node] = set()
        stack = [v.producer for v in outputs]
        while stack:
            node = stack.pop()
            if node is not None and node not in needed:
                needed.add(node)
                stack.extend(v.producer for v in node.inputs)
        nodes = tuple(n for n in self.body.nodes if n in needed)
        if any(can_fail(n) for n in self.body.nodes if n not in needed):
            return None
        read = {v for n in nodes for v in n.inputs} | set(outputs)
        inputs = tuple(v for v in self.body.inputs if v in read)
        return _loop(
            Graph(self.body.name, inputs, nodes, tuple(outputs)), [self.outside[v] for v in inputs], self.producer
        )

    def _reader(self, reader: Node, chosen: dict[Value, _Recipe], standing: dict[Value, Value]) -> Node | None:
        """A reading loop that computes the dropped values itself."""
        body: Graph = reader.attributes["body"]
        region = analyse(body.nodes, body.outputs)
        if not isinstance(region, Region):
            return None
        dropped = {self.results[v]: v for v in chosen}
        inner: dict[Value, Value] = {}  # what the loop reads -> the input of its new body
        replaced: dict[Value, Value] = {}  # values of its old body -> values of the new one

        def read(outer: Value) -> Value:
            if outer not in inner:
                inner[outer] = Value(outer.type, name=f"a{len(inner)}")
            return inner[outer]

        for outer, old in zip(reader.inputs, body.inputs, strict=True):
            if outer not in dropped:
                same = standing.get(self.inside.get(outer))  # type: ignore[arg-type]
                replaced[old] = read(outer if same is None else same)
        made: dict[Value, Value] = {}  # values of the producer's body -> values of the new one
        nodes: list[Node] = []
        for outer, old in zip(reader.inputs, body.inputs, strict=True):
            if outer not in dropped:
                continue
            if len(region.demands.get(old, ())) != 1:
                return None
            recipe = chosen[dropped[outer]]
            for leaf in recipe.leaves:
                made[leaf] = read(standing[leaf] if leaf in standing else self.outside[leaf])
            for node in recipe.nodes:
                if node.output not in made:
                    nodes.append(_copy(node, made))
            replaced[old] = made[dropped[outer]]
        nodes += [_copy(node, replaced) for node in body.nodes]
        outputs = tuple(replaced[v] for v in body.outputs)
        return _loop(Graph(body.name, tuple(inner.values()), tuple(nodes), outputs), list(inner), reader)


def _copy(node: Node, values: dict[Value, Value]) -> Node:
    """The node on other operands; its results are entered in the table."""
    clone = Node(
        node.op, [values[v] for v in node.inputs], node.attributes, node.source, [v.type for v in node.outputs]
    )
    values |= zip(node.outputs, clone.outputs, strict=True)
    return clone


def _is_small(value: Value, beside: Value) -> bool:
    """Is the value so much smaller (a bias beside its layer) that to read it costs nothing?"""
    elements, whole = value.type.elements, beside.type.elements
    return isinstance(elements, int) and (not isinstance(whole, int) or elements * SMALL_SHARE <= whole)


def _is_cheap(node: Node) -> bool:
    kernel = node.op.kernel
    return isinstance(kernel, Pointwise) and kernel.cost <= CHEAP and not can_fail(node)


def _bytes(values: Iterable[Value]) -> int:
    """Sizes of values of one number of elements, in bytes for each of them."""
    return sum(v.type.dtype.itemsize for v in values)


def _loop(body: Graph, operands: Sequence[Value], old: Node) -> Node | None:
    """A fused node in the place of `old`, or None if the body is no loop nest."""
    if len(body.nodes) > MOST_NODES or len(body.inputs) + len(body.outputs) > MOST_BUFFERS:
        return None
    if not isinstance(analyse(body.nodes, body.outputs), Region):
        return None
    source = merge_sources([old.source, *(n.source for n in body.nodes if isinstance(n.op.kernel, Pointwise))])
    return Node(old.op, operands, {**old.attributes, "body": body}, source, [v.type for v in body.outputs])
