"""Fuse: nodes that one loop nest can compute become one `fused` node.

    %0 = multiply x, x            %0 = fused x, y { multiply, add }
    %1 = add %0, y          ->

Greedy over the edges in topological order, then over siblings that read the same data. Two groups join when the union is one
region (graphflow/ir/region.py), no path leaves and re-enters it, and nothing costly would be computed again for each row.
Constants of one element, views, unit reshapes and conversions of narrow floats are copied into every consumer. An edge that stays
unfused leaves a remark with its reason.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir.builder import rewrite
from ..ir.dims import Dim, product
from ..ir.graph import Graph, Node, Value
from ..ir.op import OPS, Alias, Effect, Indexed, Interleave, Pointwise, Reduce, View
from ..ir.region import Refusal, Region, analyse, can_fail, is_fusable
from ..ir.source import merge_sources
from ..ir.walks import definitions, effect_edges, symbols_used
from .contraction import Contraction
from .rewriting import with_subgraphs

__all__ = ["fuse"]

#: the extents that a group loops over, and which of its axes it reduces
_Space = tuple[tuple[Dim, ...], tuple[int, ...]]

MOST_NODES = 200
MOST_BUFFERS = 24
"""More operands than this in one loop would spill addresses and thrash the store buffers."""
TOO_MANY_BUFFERS = Refusal("size", f"a loop over more than {MOST_BUFFERS} arrays")
MOST_REFUSALS = 32
"""Groups with a common operand that a group is tried with in vain before the others are left: a hundred loops over one array, each
as large as a loop may be, are not tried in all pairs."""
WHOLE_TWICE = 8192
"""Elements up to which a sum of a whole array and what is made of it and the array again are one loop: one block of the sum."""
CHEAP = 3
"""Cost up to which computing a value again for each row is cheaper than storing and loading it."""


def fuse(graph: Graph, context: Any) -> Graph:
    """graph -> graph whose loops are `fused` nodes, in branches and bodies too."""
    graph = with_subgraphs(fuse, graph, context)
    return _Fusion(rewrite(graph, _side_by_side), context).run()


def _side_by_side(node: Node, inputs: tuple[Value, ...]) -> Sequence[Value] | None:
    """Bring the reduced axes before the trailing ones together where kept axes lie between them: a nest walks them as one.

    reduce_sum x {axes=(0, 2)}, x: [a,b,c,d]   ->   reduce_sum (transpose x to [a,c,b,d]) {axes=(0, 1)}
    """
    if not isinstance(node.op.kernel, Reduce) or "axes" not in node.attributes:
        return None
    shape, axes = inputs[0].type.shape, node.attributes["axes"]
    reduced = set(axes)
    last = len(shape)
    while last and last - 1 in reduced:
        last -= 1
    wide = [a for a in range(last) if shape[a] != 1]
    other = [a for a in wide if a in reduced]
    if not other or wide[wide.index(other[0]) :][: len(other)] == other:
        return None
    before = [a for a in range(last) if a in reduced]
    order = (*before, *(a for a in range(last) if a not in reduced), *range(last, len(shape)))
    moved = Node(OPS["transpose"], inputs, {"permutation": order}, node.source).output
    attributes = {"axes": (*range(len(before)), *range(last, len(shape))), "keepdims": False}
    result = Node(node.op, [moved], attributes, node.source).output
    if result.type.shape != node.output.type.shape:
        result = Node(OPS["reshape"], [result], {"shape": node.output.type.shape}, node.source).output
    return [result]


def is_copied(node: Node) -> bool:
    """Nodes that every consumer gets its own copy of."""
    kernel = node.op.kernel
    if isinstance(kernel, Effect):
        return kernel.kind == "constant" and node.output.type.elements == 1
    return isinstance(kernel, View) or isinstance(kernel, Alias) and is_fusable(node) or (
        isinstance(kernel, Indexed) and not node.inputs)  # fmt: skip


def reads_narrow(node: Node) -> bool:
    """A float16 or bfloat16 made float32: every loop that reads it reads the narrow value, half the bytes, and converts it itself."""
    return node.op.name == "cast" and node.inputs[0].type.dtype.is_narrow and node.output.type.dtype.is_floating


def is_plain(node: Node) -> bool:
    """Pointwise, and reads whole operands where they are (or constants): with other such nodes of one shape it is surely
    one region."""
    if not isinstance(node.op.kernel, Pointwise) or can_fail(node) and node.output.type.elements == 1:
        return False
    producers = [v.producer for v in map(_stored, node.inputs) if v.producer is not None]
    return all(not is_copied(p) or isinstance(p.op.kernel, Effect) for p in producers)


def _stored(value: Value) -> Value:
    """The narrow value that stands for this one in memory, or the value itself."""
    return value.producer.inputs[0] if value.producer is not None and reads_narrow(value.producer) else value


def _walks_all_twice(region: Region) -> bool:
    """Is an array reduced to one number, and then walked again for what follows from the number? One loop for both runs on one core,
    and cannot write where it reads."""
    if not region.reduced or any(region.space[a] != 1 for a in region.kept):
        return False
    size = product(region.space)
    if isinstance(size, int) and size <= WHOLE_TWICE:
        return False
    after: set[Value] = set()
    for node in region.nodes:
        follows = any(v in after for v in node.inputs)
        if isinstance(node.op.kernel, Reduce):
            if follows:
                return True
            after.update(node.outputs)
        elif follows:
            after.update(node.outputs)
    return any(v in after and any(index.terms for index in region.output_coordinates[v]) for v in region.outputs)


@dataclass
class _Plain:
    """A group of plain nodes: their one shape (() if each has one element; others may have one element too), their device,
    what they read and what is needed outside. Such groups join without analysis, which would take quadratic time on a
    long chain."""

    space: tuple[Dim, ...]
    device: str
    reads: set[Value]
    yields: list[Value]


class _Fusion:
    def __init__(self, graph: Graph, context: Any) -> None:
        self.graph, self.context = graph, context
        self.position = {n: k for k, n in enumerate(graph.nodes)}
        self.group: dict[Node, int] = {}
        self.members: dict[int, list[Node]] = {}
        self.regions: dict[int, Region] = {}
        self.graph_outputs = set(graph.outputs)
        #: run-time extent -> the position of the node that defines it: who uses the extent waits for the node
        self.defined = {name: self.position[node] for name, node in definitions(graph.nodes).items()}
        #: conversions of narrow floats that only loops read: copied into each of them
        self.converted = {node for node in graph.nodes if reads_narrow(node)}
        for k, node in enumerate(graph.nodes):
            if is_fusable(node) and not self._is_copied(node):
                self.group[node] = k
                self.members[k] = [node]

        #: nodes that no loop can compute together with the copied nodes they read: those are stored for them
        self.apart: set[Node] = set()
        for node in self.group:
            if isinstance(node.op.kernel, Reduce) and isinstance(
                analyse(self._with_copies([node]), node.outputs), Refusal
            ):
                self.apart.add(node)
        self.needed = self._copies_needed()
        for node in self.converted & self.needed:
            self.converted.remove(node)
            self.needed.remove(node)
            self.group[node] = self.position[node]
            self.members[self.position[node]] = [node]
        self.units = self._units()
        self.plain: dict[int, _Plain] = {}
        for k, (node,) in self.members.items():
            if is_plain(node):
                self.plain[k] = _Plain(
                    node.output.type.shape if node.output.type.elements != 1 else (), node.output.type.device,
                    {v for v in map(self._read, node.inputs) if v.producer is None or not is_copied(v.producer)},
                    [node.output] if self._is_output(node.output, {node}) else [],
                )  # fmt: skip

    def _is_copied(self, node: Node) -> bool:
        """Does every loop that reads the node compute it itself?"""
        return node in self.converted or is_copied(node)

    def _read(self, value: Value) -> Value:
        """What a loop loads for an operand."""
        return _stored(value) if value.producer in self.converted else value

    def run(self) -> Graph:
        for node in self.graph.nodes:
            if node in self.group:
                self._remark_borders(node)
                for producer in self._producers([node]):
                    self._try(producer, node)
        self._siblings()
        return self._rebuild()

    # Merging ----------------------------------------------------------------------------------------------------------
    def _producers(self, nodes: Iterable[Node]) -> list[Node]:
        """Grouped nodes that these nodes read, through copied nodes."""
        found: dict[Node, None] = {}
        stack = [v for n in nodes for v in n.inputs]
        seen = set()
        while stack:
            producer = stack.pop().producer
            if producer is None or producer in seen:
                continue
            seen.add(producer)
            if producer in self.group:
                found[producer] = None
            elif self._is_copied(producer):
                stack.extend(producer.inputs)
        return sorted(found, key=lambda n: -self.position[n])

    def _remark_borders(self, node: Node) -> None:
        """Say where what a node reads is surely stored: behind a reshape that is no index map, and where no loop could compute the node
        together with the views it reads."""
        for value in node.inputs:
            between = value.producer
            if between is None or not isinstance(between.op.kernel, (Alias, View)):
                continue
            source = between.inputs[0].producer
            if node in self.apart and is_copied(between):
                self._remark(Refusal("view stored", "its axes would not flatten for the reduction"), between, node)
            elif source in self.group and not is_copied(between):
                before, after = list(between.inputs[0].type.shape), list(value.type.shape)
                self._remark(Refusal("reshape", f"reshape {before} -> {after} is not an index map"), source, node)

    def _remark(self, refusal: Refusal, producer: Node, consumer: Node) -> None:
        self.context.remark(
            f"not fused: {refusal.category}",
            f"{producer.op.name} -> {consumer.op.name}: {refusal.reason}",
            [producer.source, consumer.source],
        )

    def _try(self, producer: Node, consumer: Node) -> None:
        a, b = self.group[producer], self.group[consumer]
        if a == b:
            return
        refusal = self._join(a, b)
        if refusal is not None:
            self._remark(refusal, producer, consumer)

    def _join(self, a: int, b: int) -> Refusal | None:
        if len(self.members[a]) + len(self.members[b]) > MOST_NODES:
            return Refusal("size", f"a loop of more than {MOST_NODES} operations")
        nodes = sorted([*self.members[a], *self.members[b]], key=self.position.__getitem__)
        plain = self._plain_union(a, b, set(nodes))
        region = self._region(nodes) if plain is None else None
        if isinstance(plain, Refusal):
            return plain
        if isinstance(region, Refusal):
            return region
        between = self.units.between(a, b)
        if between is None:
            return Refusal("convexity", "a path leaves the group and returns to it")
        if not self.context.spend():
            return Refusal("fuel", "the rewrite budget is spent")
        self.units.merge(a, b, between)
        self.members[a] = nodes
        for node in self.members.pop(b):
            self.group[node] = a
        for number in (a, b):
            self.regions.pop(number, None)
            self.plain.pop(number, None)
        if region is not None:
            self.regions[a] = region
        if plain is not None:
            self.plain[a] = plain
        return None

    def _plain_union(self, a: int, b: int, inside: set[Node]) -> _Plain | Refusal | None:
        """The union of two plain groups, or why there is none; None if that needs analysis."""
        one, other = self.plain.get(a), self.plain.get(b)
        if one is None or other is None or one.device != other.device:
            return None
        if one.space and other.space and one.space != other.space:
            return None
        space = one.space or other.space
        reads = {v for v in one.reads | other.reads if v.producer not in inside}
        yields = [v for v in (*one.yields, *other.yields) if self._is_output(v, inside)]
        if space and any(v.type.elements == 1 for v in yields):
            return None
        if len(reads) + len(yields) > MOST_BUFFERS:
            return TOO_MANY_BUFFERS
        return _Plain(space, one.device, reads, yields)

    def _region(self, nodes: Sequence[Node]) -> Region | Refusal:
        """The region of these nodes as one group, or why they should be none."""
        full, outputs = self._closure(nodes)
        homes = dict.fromkeys(v.type.device for n in full for v in n.outputs)
        if len(homes) > 1:
            return Refusal("device", f"the operations run on {' and '.join(homes)}")
        region = analyse(full, outputs)
        if isinstance(region, Refusal):
            return region
        if len(region.inputs) + len(outputs) > MOST_BUFFERS:
            return TOO_MANY_BUFFERS
        if _walks_all_twice(region):
            return Refusal("second pass", "a second pass over a whole array runs on all cores in a loop of its own")
        return self._repeated(region) or region

    def _with_copies(self, nodes: Sequence[Node]) -> list[Node]:
        """The nodes with the copied nodes they read, in order."""
        inside = dict.fromkeys(nodes)
        stack = [v for n in nodes if self._pulls(n) for v in n.inputs]
        while stack:
            producer = stack.pop().producer
            if producer is not None and producer not in inside and self._is_copied(producer):
                inside[producer] = None
                stack.extend(producer.inputs)
        return sorted(inside, key=self.position.__getitem__)

    def _closure(self, nodes: Sequence[Node]) -> tuple[list[Node], list[Value]]:
        """The nodes with the copied nodes they read, in order; and the values needed outside."""
        inside = set(nodes)
        outputs = [value for node in nodes for value in node.outputs if self._is_output(value, inside)]
        if not outputs:  # only dead views read it: without fuel nothing drops them, nor this
            outputs = list(nodes[-1].outputs)
        return self._with_copies(nodes), outputs

    def _is_output(self, value: Value, inside: set[Node]) -> bool:
        """Must a group of these nodes store the value? What nobody reads is there for its run-time check, and a loop
        computes only what it stores."""
        return value in self.graph_outputs or value not in self.graph.uses or self._used_outside(value, inside)

    def _used_outside(self, value: Value, inside: set[Node]) -> bool:
        for user in self.graph.uses.get(value, ()):
            if user in inside:
                continue
            if self._is_copied(user) and user not in self.needed:
                if any(v in self.graph_outputs or self._used_outside(v, inside) for v in user.outputs):
                    return True
            else:
                return True
        return False

    def _repeated(self, region: Region) -> Refusal | None:
        """Refuse what would compute a costly value many times: once for each row of an axis it does not vary along, or at several
        positions."""
        if not region.space:
            return None
        reduced = set(region.reduced)
        axes = [a for a, d in enumerate(region.space) if d != 1]
        if not axes:
            return None
        inner = axes[-1]
        for node in region.nodes:
            kernel = node.op.kernel
            if not isinstance(kernel, (Pointwise, Indexed)) or kernel.cost <= CHEAP:
                continue
            for value in node.outputs:
                positions = list(region.demands.get(value, ()))
                if len(positions) > 1:
                    return Refusal("computed again", f"{node.op.name} is needed at {len(positions)} positions")
                for at in positions:
                    own = {a for index in at for a, _ in index.terms}
                    if own and inner in own and any(a not in own and a not in reduced for a in axes):
                        return Refusal("computed again", f"{node.op.name} would run once for each row")
        return None

    # Paths between kernels --------------------------------------------------------------------------------------------
    # A unit is a group or any other node that exists in the result; copied nodes are no units where their readers pull a copy.

    def _units(self) -> Contraction:
        """What each unit waits for, before any are merged."""
        effects = effect_edges(self.graph.nodes)
        return Contraction(
            {
                number: {*self._direct(node), *effects[number]}
                for number, node in enumerate(self.graph.nodes)
                if not self._is_copied(node) or node in self.needed
            }
        )

    def _direct(self, node: Node) -> list[int]:
        """Units that the node waits for: those that it reads, looking through copied nodes where it pulls its own copy, and
        those that define the run-time extents of what it computes."""
        found, stack = self._definers(node), [(v, self._pulls(node)) for v in node.inputs]
        while stack:
            value, pulls = stack.pop()
            producer = value.producer
            if producer is None:
                continue
            if self._is_copied(producer) and (pulls or producer not in self.needed):
                stack.extend((v, True) for v in producer.inputs)
                found += self._definers(producer)
            else:
                found.append(self.position[producer])
        return found

    def _definers(self, node: Node) -> list[int]:
        if not self.defined:
            return []
        own = self.position[node]
        return [k for name in symbols_used(node) for k in (self.defined.get(name, own),) if k != own]

    def _pulls(self, node: Node) -> bool:
        """Does the node, where it is a unit, take its own copy of copied operands?"""
        if node in self.group:
            return node not in self.apart and not isinstance(node.op.kernel, Indexed)
        return isinstance(node.op.kernel, View)

    def _siblings(self) -> None:
        """Join groups over the same space that read the same full-sized value: one pass over the data serves both."""
        spaces: dict[_Space, list[int]] = {}
        for number in sorted(self.members):
            if number not in self.plain and number not in self.regions:
                region = analyse(*self._closure(self.members[number]))
                if isinstance(region, Region):
                    self.regions[number] = region
            if number in self.plain or number in self.regions:
                spaces.setdefault(self._space(number), []).append(number)
        for space, candidates in spaces.items():
            readers: dict[Value, list[int]] = {}
            for number in candidates:
                for value in self._whole_reads(number, space):
                    readers.setdefault(value, []).append(number)
            order = {value: k for k, value in enumerate(readers)}
            for number in candidates:
                if number in self.members:
                    self._join_readers(number, space, readers, order)

    def _join_readers(self, a: int, space: _Space, readers: dict[Value, list[int]], order: dict[Value, int]) -> None:
        """Join a with later groups that read what it reads (and what it reads then), in order. order: numbers of the values."""
        waiting: list[tuple[int, int, Value]] = []  # group to try next, its place among the readers of the value
        known: set[Value] = set()

        def follow(value: Value, beyond: int) -> None:
            place = bisect_right(readers.get(value, ()), beyond)
            if place < len(readers.get(value, ())):
                heapq.heappush(waiting, (readers[value][place], order[value], value))

        for value in self._whole_reads(a, space):
            known.add(value)
            follow(value, a)
        tried, refused = a, 0
        while waiting and refused < MOST_REFUSALS:
            b, _, value = heapq.heappop(waiting)
            follow(value, b)
            if b == tried or b not in self.members or value not in self._reads(a):
                continue
            tried = b
            if self._join(a, b) is not None:
                refused += 1
                continue
            for new in self._whole_reads(a, space):
                if new not in known:
                    known.add(new)
                    follow(new, b)

    def _whole_reads(self, number: int, space: _Space) -> list[Value]:
        """The operands that have an element for each point of the space."""
        return [v for v in self._reads(number) if v.type.shape == space[0] and v.type.elements != 1]

    def _space(self, number: int) -> _Space:
        plain = self.plain.get(number)
        return (plain.space, ()) if plain else (self.regions[number].space, self.regions[number].reduced)

    def _reads(self, number: int) -> set[Value]:
        plain = self.plain.get(number)
        return plain.reads if plain else set(self.regions[number].inputs)

    # Rebuilding -------------------------------------------------------------------------------------------------------
    def _rebuild(self) -> Graph:
        fused = OPS["fused"]
        mapping: dict[Value, Value] = {}
        # Units in dependency order: a group is one unit, every other node its own.
        units: dict[int, list[Node]] = dict(self.members)
        for node in self.graph.nodes:
            if node not in self.group and (not self._is_copied(node) or node in self.needed):
                units[self.position[node]] = [node]
        order = self._order(units)
        nodes: list[Node] = []
        for number in order:
            members = units[number]
            first = members[0]
            is_loop = is_copied(first) and is_fusable(first) and not isinstance(first.op.kernel, (Effect, Alias))
            if first not in self.group and not is_loop:
                inputs = tuple(mapping.get(v, v) for v in first.inputs)
                node = first if inputs == first.inputs else Node(
                    first.op, inputs, first.attributes, first.source, [v.type for v in first.outputs])  # fmt: skip
                nodes.append(node)
                mapping.update(zip(first.outputs, node.outputs, strict=True))
                continue
            if first in self.group:
                full, outputs = self._closure(members)
            else:
                full, outputs = [first], list(first.outputs)
                full, _ = self._closure(full)
            node = self._fused(fused, full, outputs, mapping)
            nodes.append(node)
            mapping.update(zip(outputs, node.outputs, strict=True))
        return self.graph.replace(nodes, [mapping.get(v, v) for v in self.graph.outputs])

    def _copies_needed(self) -> set[Node]:
        """Copied nodes that something other than a loop reads: those exist as nodes of their own too."""
        needed: set[Node] = set()
        stack = list(self.graph.outputs)
        for node in self.graph.nodes:
            if not self._is_copied(node) and not self._pulls(node):
                stack.extend(node.inputs)
        while stack:
            producer = stack.pop().producer
            if producer is not None and producer not in needed and self._is_copied(producer):
                needed.add(producer)
                if isinstance(producer.op.kernel, Alias):
                    stack.extend(producer.inputs)
        return needed

    def _order(self, units: dict[int, list[Node]]) -> list[int]:
        """Topological order of the units, by original position among the ready ones; effects keep their order."""
        unit_of = {self.position[n]: k for k, nodes in units.items() for n in nodes}
        before = {number: {unit_of[k] for k in self.units.before[number]} - {number} for number in units}
        after: dict[int, list[int]] = {k: [] for k in units}
        for number, needs in before.items():
            for need in needs:
                after[need].append(number)
        missing = {k: len(needs) for k, needs in before.items()}
        ready = [k for k, count in missing.items() if count == 0]
        heapq.heapify(ready)
        order = []
        while ready:
            number = heapq.heappop(ready)
            order.append(number)
            for user in after[number]:
                missing[user] -= 1
                if missing[user] == 0:
                    heapq.heappush(ready, user)
        if len(order) != len(units):
            raise AssertionError("fusion made a cycle")
        return order

    def _fused(self, op: Any, full: Sequence[Node], outputs: Sequence[Value], mapping: dict[Value, Value]) -> Node:
        """A `fused` node whose body computes `outputs`."""
        inside = set(full)
        inner: dict[Value, Value] = {}
        operands: dict[Value, Value] = {}
        body: list[Node] = []
        for node in full:
            keep = []
            for value in node.inputs:
                if value.producer not in inside and value not in inner:
                    actual = mapping.get(value, value)
                    if actual not in operands:
                        operands[actual] = Value(actual.type, name=f"a{len(operands)}")
                    inner[value] = operands[actual]
                keep.append(inner[value])
            clone = Node(node.op, keep, node.attributes, node.source, [v.type for v in node.outputs])
            body.append(clone)
            inner.update(zip(node.outputs, clone.outputs, strict=True))
        graph = Graph("body", tuple(operands.values()), tuple(body), tuple(inner[v] for v in outputs))
        kinds = [n for n in full if isinstance(n.op.kernel, (Pointwise, Indexed, Interleave, Reduce))] or list(full)
        return Node(
            op, tuple(operands), {"body": graph}, merge_sources([n.source for n in kinds]), [v.type for v in outputs]
        )
