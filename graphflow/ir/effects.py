"""The effects of a graph in program order, and what a pass has to keep of them and of checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from ..errors import VerifyError
from .graph import Graph, Node, Value
from .op import Control, Effect
from .source import Source
from .walks import observable

__all__ = ["EffectGroup", "EffectRecord", "check_effects_kept", "check_observable_order", "effect_sequence"]

_ON_VARIABLE = ("read", "write")


@dataclass(frozen=True)
class EffectRecord:
    """One effect of a graph: kind, op, the variable's name ("" if none), source."""

    kind: str
    op: str
    variable: str
    source: Source

    @property
    def place(self) -> tuple[str, str, Source]:
        """What stays the same when a pass rebuilds the node."""
        return self.op, self.variable, self.source.all()[0]

    def __str__(self) -> str:
        return f"{self.op} {self.variable}".rstrip() + f" at {self.source}"


@dataclass(frozen=True)
class EffectGroup:
    """The effects of a node's sub-graphs, one part for each. kind: that of a Control kernel, else ""."""

    kind: str
    op: str
    source: Source
    parts: tuple[Effects, ...]

    @property
    def place(self) -> tuple[str, int, Source]:
        """What stays the same when a pass rebuilds the node."""
        return self.op, len(self.parts), self.source.all()[0]

    @property
    def alternatives(self) -> tuple[Effects, ...]:
        """What may stand in its place once the run's way is known: a branch, a loop's condition (run once), a function."""
        if self.kind == "while":
            return self.parts[:1]
        return self.parts if self.kind else ()

    def records(self) -> Iterator[EffectRecord]:
        """All records inside, in order."""
        for part in self.parts:
            for item in part:
                yield from item.records() if isinstance(item, EffectGroup) else (item,)

    def __str__(self) -> str:
        inside = ", ".join(str(record) for record in self.records())
        return f"{self.op} at {self.source} ({inside})"


Effects = tuple[EffectRecord | EffectGroup, ...]


def effect_sequence(graph: Graph) -> Effects:
    """The effects in program order; those of sub-graphs as one group where their node stands. A group that only reads
    variables stands as its reads."""
    return _effects(graph, {v: v.name for v in graph.inputs if v.is_variable})


def _effects(graph: Graph, name_of: Mapping[Value, str]) -> Effects:
    found: list[EffectRecord | EffectGroup] = []
    for node in graph.nodes:
        kernel = node.op.kernel
        if isinstance(kernel, Effect) and kernel.kind not in ("copy", "constant"):
            variable = next((name_of[v] for v in node.inputs if v.is_variable and v in name_of), "")
            found.append(EffectRecord(kernel.kind, node.op.name, variable, node.source))
        elif node.attributes:
            parts = tuple([_effects(inner, _inner_names(node, inner, name_of)) for inner in node.subgraphs()])
            if any(parts):
                kind = kernel.kind if isinstance(kernel, Control) else ""
                group = EffectGroup(kind, node.op.name, node.source, parts)
                records = list(group.records())
                found += records if all(record.kind == "read" for record in records) else [group]
    return tuple(found)


def _inner_names(node: Node, inner: Graph, name_of: Mapping[Value, str]) -> dict[Value, str]:
    """Names of a sub-graph's variables: the k-th variable inside is the k-th variable operand of the node."""
    own = [v for v in inner.inputs if v.is_variable]
    outer = [v for v in node.inputs if v.is_variable]
    if len(own) == len(outer):
        return {a: name_of.get(b, b.name) for a, b in zip(own, outer, strict=True)}
    return {v: v.name for v in own}


def check_effects_kept(before: Effects, after: Effects) -> None:
    """Raise VerifyError unless `after` does the same as `before`:

    - prints, asserts, calls ... are the same in the same order;
    - each variable's writes keep their order, and its last one stays (an overwritten one may go, a write may move past
      effects on other things);
    - each read sees the write that it saw before (it may be dropped, or merged with another that sees the same);
    - no access to a variable moves across a call of Python, which may touch any variable, or across a branch or loop that
      has such a call or writes;
    - the effects of a branch or loop stay in it, and keep all this inside; where a pass knows the way of the run, one
      branch, a loop's condition, or a called graph may stand in the place of its node.
    """
    problem: VerifyError | None = None
    for expected in _alignments(before, after):
        try:
            _check_aligned(expected, after)
        except VerifyError as error:
            problem = problem or error
        else:
            return
    if problem is not None:
        raise problem
    _check_same("effects", list(filter(_is_fixed, before)), list(filter(_is_fixed, after)))
    raise VerifyError(f"the order of effects changed: the effects inside {_show(before)} became {_show(after)}")


def _show(effects: Effects) -> str:
    return ", ".join(str(item) for item in effects if isinstance(item, EffectGroup)) or "no branch or loop"


def _is_fixed(item: EffectRecord | EffectGroup) -> bool:
    """Must the item stay, in its order? Reads and writes have rules of their own."""
    return isinstance(item, EffectGroup) or item.kind not in _ON_VARIABLE


def _alignments(before: Effects, after: Effects) -> Iterator[list[EffectRecord | EffectGroup]]:
    """`before` with groups replaced by one of their alternatives, in each way that gives the fixed items of `after`."""
    wanted = [item.place for item in after if _is_fixed(item)]
    waiting: list[tuple[list[EffectRecord | EffectGroup], list[EffectRecord | EffectGroup], int]]
    waiting = [([], list(reversed(before)), 0)]  # what is placed, what is to come (last first), fixed items met
    while waiting:
        placed, rest, met = waiting.pop()
        while rest:
            item = rest.pop()
            if not _is_fixed(item):
                placed.append(item)
                continue
            if isinstance(item, EffectGroup):
                for part in reversed(item.alternatives):
                    waiting.append((list(placed), [*rest, *reversed(part)], met))
            if met == len(wanted) or item.place != wanted[met]:
                break
            placed.append(item)
            met += 1
        else:
            if met == len(wanted):
                yield placed


def _check_aligned(before: Sequence[EffectRecord | EffectGroup], after: Effects) -> None:
    """The rules for two sequences with the same fixed items."""
    old_stretch: list[EffectRecord] = []
    new_stretch: list[EffectRecord] = []
    old, new = iter(before), iter(after)
    while True:
        previous, item = _until_fixed(old, old_stretch), _until_fixed(new, new_stretch)
        if isinstance(previous, EffectGroup) and isinstance(item, EffectGroup):
            for part, kept in zip(previous.parts, item.parts, strict=True):
                check_effects_kept(part, kept)
        if item is None or _is_barrier(item):
            _check_variables(old_stretch, new_stretch)
            old_stretch.clear()
            new_stretch.clear()
        if item is None:
            return


def _until_fixed(
    items: Iterator[EffectRecord | EffectGroup], passed: list[EffectRecord]
) -> EffectRecord | EffectGroup | None:
    """The next fixed item; the reads and writes before it go to `passed`."""
    for item in items:
        if isinstance(item, EffectGroup) or _is_fixed(item):
            return item
        passed.append(item)
    return None


def _is_barrier(item: EffectRecord | EffectGroup) -> bool:
    """May it read or write variables?"""
    if isinstance(item, EffectGroup):
        return any(record.kind in (*_ON_VARIABLE, "call") for record in item.records())
    return item.kind not in ("print", "assert")


def _check_variables(before: list[EffectRecord], after: list[EffectRecord]) -> None:
    """The rules for reads and writes between two barriers."""
    for variable in dict.fromkeys(r.variable for r in (*before, *after) if r.kind == "write"):
        old = [r for r in before if r.kind == "write" and r.variable == variable]
        new = [r for r in after if r.kind == "write" and r.variable == variable]
        _check_same(f"last writes of {variable!r}", old[-1:], new[-1:])
        rest = iter(old)
        for record in new:
            if not any(record.place == other.place for other in rest):
                raise VerifyError(
                    f"the order of effects changed: {record} is new, or comes later than the writes after it did"
                )
    seen: dict[tuple[str, str, Source], set[Source | None]] = {}
    for record, source in _reads(before):
        seen.setdefault(record.place, set()).add(source)
    for record, source in _reads(after):
        if source not in seen.get(record.place, ()):
            shown = f"the write at {source}" if source else "the value at entry"
            raise VerifyError(f"the order of effects changed: {record} sees {shown}, which it did not before")


def _reads(records: list[EffectRecord]) -> Iterator[tuple[EffectRecord, Source | None]]:
    """Each read with the place of the write whose value it sees (None: the value at entry, or after the last barrier)."""
    written: dict[str, Source] = {}
    for record in records:
        if record.kind == "write":
            written[record.variable] = record.source.all()[0]
        else:
            yield record, written.get(record.variable)


def _check_same(
    what: str, before: Sequence[EffectRecord | EffectGroup], after: Sequence[EffectRecord | EffectGroup]
) -> None:
    for old, new in zip_longest(before, after):
        if old is None or new is None or old.place != new.place:
            raise VerifyError(
                f"the order of effects changed: among the {what} expected {old or 'no more'}, found {new or 'no more'}"
            )


# The order of what can be observed -------------------------------------------------------------------------------------


def check_observable_order(before: Graph, after: Graph) -> None:
    """Raise VerifyError unless the observable nodes of `after` (walks.observable: prints, assertions, calls and checks) come in the
    order in which they, or the nodes they stand for, came in `before`. A check may go (where it cannot fail, or an earlier node makes
    it), and a branch or loop whose way is known may be replaced by what runs. Nodes are known by their sources."""
    _follow(after, list(_observed(before)), 0)


def _observed(graph: Graph) -> Iterator[Node]:
    """The observable nodes in program order, those of sub-graphs in the place of their node."""
    nodes = _unfused(graph)
    for node, is_observable in zip(nodes, observable(nodes), strict=True):
        if is_observable:
            inner = [n for g in node.subgraphs() for n in _observed(g)]
            yield from inner or [node]


def _unfused(graph: Graph) -> list[Node]:
    """The graph's nodes, those of fused nodes in their place."""
    nodes: list[Node] = []

    def add(node: Node, known: dict[Value, Value]) -> None:
        inputs = tuple(known.get(v, v) for v in node.inputs)
        if inputs != node.inputs:
            new = Node(node.op, inputs, node.attributes, node.source, [v.type for v in node.outputs])
            known.update(zip(node.outputs, new.outputs, strict=True))
            node = new
        nodes.append(node)

    mapping: dict[Value, Value] = {}
    for node in graph.nodes:
        if node.op.name != "fused":
            add(node, mapping)
            continue
        body: Graph = node.attributes["body"]
        inside = {v: mapping.get(given, given) for v, given in zip(body.inputs, node.inputs, strict=True)}
        for inner in body.nodes:
            add(inner, inside)
        mapping.update((v, inside.get(result, result)) for v, result in zip(node.outputs, body.outputs, strict=True))
    return nodes


def _follow(graph: Graph, old: Sequence[Node], start: int) -> int:
    """Find the graph's observable nodes among the old ones, from start on; where the last one is."""
    nodes = _unfused(graph)
    for node, is_observable in zip(nodes, observable(nodes), strict=True):
        if not is_observable:
            continue
        parts = list(node.subgraphs())
        if isinstance(node.op.kernel, Control) and node.op.kernel.kind == "switch":  # one of the branches runs
            start = max(_follow(part, old, start) for part in parts)
            continue
        for part in parts:
            start = _follow(part, old, start)
        if not parts:
            start = _next_place(node, old, start)
    return start


def _next_place(node: Node, old: Sequence[Node], start: int) -> int:
    places = set(node.source.all())
    for k in range(start, len(old)):
        if not places.isdisjoint(old[k].source.all()):
            return k
    last = f"comes after {old[start].op.name} at {old[start].source}" if start < len(old) else "is new"
    raise VerifyError(f"the order of what can be observed changed: {node.op.name} at {node.source} {last}")
