"""Plan memory of a graph with control flow: which buffer every array lives in, and what moves where at the ends of bodies and branches.

A buffer is a **home**: a slot of the table that holds an address. A value is written to the home that a reader wants it in (an output, the
carried value of a loop, the result of a branch) where what lies there is dead, else in place of a dying operand, else to a fresh home.
Where the value of a carried array ends up in another home than it began in, the two slots exchange their addresses at the end of
the iteration: no element is copied. Scalars (one element) have no home: they are registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..ir.dims import Dim, dim_max, symbols_of
from ..ir.graph import Graph, Node, Value
from ..ir.op import Library
from ..ir.region import Region, analyse
from .control_liveness import Frame, Frames, Liveness
from .control_structure import control_kind, is_immediate, is_scalar, is_structured, prepare
from .plan_memory import (
    MemoryPlan,
    Place,
    Temporary,
    bytes_of,
    direct_assigns,
    elementwise,
    plan_memory,
    rows_in_place,
)

__all__ = ["ControlPlan", "Home", "Moves", "plan_control", "plan_program"]

IN_PLACE_ROWS = ("update_row", "scatter_add_into", "append_row", "update_rows")
"""Library kernels that may write into their first operand's buffer."""


@dataclass(eq=False)
class Home:
    """A buffer. kind: "temporary" (a place in the arena), "dynamic" (grow-only memory, its size is known only while the program runs),
    "output" or "variable". first, last: the steps between which it is used. group: homes that exchange addresses."""

    kind: str
    bytes: Dim
    first: int
    last: int
    owner: Value
    index: int = -1
    region: int = 0
    group: list[Home] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.group = [self]

    @property
    def dynamic(self) -> bool:
        return self.kind == "dynamic"

    @property
    def place(self) -> Place:
        return Place(self.kind, self.index)


@dataclass
class Moves:
    """What happens at the end of a body or branch: first values are copied into homes, then homes take the addresses that other homes
    held (all at once)."""

    copies: list[tuple[Value, Home]] = field(default_factory=list)
    addresses: list[tuple[Home, Home]] = field(default_factory=list)


@dataclass
class ControlPlan(MemoryPlan):
    """homes: of each array that has one (follow `root` first). starts: for each loop the carried values that are copied to their
    homes before it. moves: at the end of each body or branch (by id: equal graphs are not one). steps: of each node.
    functions: the graphs that `call` nodes share, with their numbers. dynamic: homes of run-time size. dynamic_outputs:
    outputs whose home's memory is handed over. regions: of each temporary. begins: the first step of each region. end: the
    last step of all."""

    homes: dict[Value, Home] = field(default_factory=dict)
    starts: dict[Node, list[tuple[int, Home]]] = field(default_factory=dict)
    moves: dict[int, Moves] = field(default_factory=dict)
    steps: dict[Node, int] = field(default_factory=dict)
    functions: dict[Graph, int] = field(default_factory=dict)
    dynamic: list[Home] = field(default_factory=list)
    dynamic_outputs: dict[int, Home] = field(default_factory=dict)
    graph: Graph | None = None
    regions: list[int] = field(default_factory=list)
    begins: list[tuple[int, int]] = field(default_factory=list)
    parameters: int = 0
    immediate: bool = False
    end: int = 0

    def home(self, value: Value) -> Home | None:
        return self.homes.get(self.root(value))

    def put_in_cell(self, value: Value, number: int) -> None:
        """A scalar gets memory (the code generator finds out which ones need it)."""
        self.places[value] = Place("cell", number)

    def region(self, step: int) -> int:
        """The region of the arena for what is needed at a step: the program's (0) or that of a shared function."""
        return max(entry for entry in self.begins if entry[0] <= step)[1]


def plan_program(graph: Graph) -> MemoryPlan:
    """The plan of any optimised graph: `plan_memory` where the kernels run one after another, else `plan_control`."""
    return plan_control(graph) if is_structured(graph) else plan_memory(graph)


def plan_control(graph: Graph) -> ControlPlan:
    """The plan of a graph with control flow; it is for `plan.graph`, the same graph in the form that is emitted."""
    prepared = prepare(graph)
    plan = ControlPlan(graph=prepared, immediate=is_immediate(prepared))
    _Planner(plan, prepared).run()
    return plan


class _Planner:
    """Plans one graph with the bodies and branches inside it. A function that `call` nodes share is planned by a planner of its own, in a
    region of the arena of its own; `outer` is the planner of the program."""

    def __init__(self, plan: ControlPlan, graph: Graph, outer: _Planner | None = None) -> None:
        self.plan, self.graph, self.outer = plan, graph, outer
        self.known: frozenset[str] = frozenset(graph.symbols) if outer is None else outer.known
        self.region = 0 if outer is None else plan.begins[-1][1] + 1
        plan.begins.append((plan.end, self.region))
        self.live = Liveness(graph, plan.end, plan.roots, plan.steps, plan.immediate)
        plan.end = self.end = self.live.step
        self.wanted: dict[Value, Home] = {}
        self.content: dict[Home, Value] = {}
        self.homes: list[Home] = []

    def run(self) -> None:
        graph, plan = self.graph, self.plan
        for k, value in enumerate(graph.inputs):
            if self.outer is not None:
                plan.places[value] = Place("parameter", plan.parameters + k)
            else:
                plan.places[value] = Place("variable" if value.is_variable else "input", k)
        plan.parameters += len(graph.inputs) if self.outer is not None else 0
        for value in self.live.constants:
            plan.places[value] = Place("constant", len(plan.constants))
            plan.constants.append(value)
        if self.outer is None and not plan.immediate:
            rows_in_place(graph, plan, self.live.assigns)
        self._outputs_wanted()
        self._walk(graph)
        self._place()

    # Homes ------------------------------------------------------------------------------------------------------------
    def _is_dynamic(self, value: Value) -> bool:
        return any(symbols_of(d) - self.known for d in value.type.shape)

    def _fresh(self, value: Value, step: int, kind: str = "") -> Home:
        home = Home(
            kind or ("dynamic" if self._is_dynamic(value) else "temporary"), bytes_of(value), step, step, value,
            region=self.region)  # fmt: skip
        self.homes.append(home)
        return home

    def _put(self, value: Value, home: Home, step: int) -> None:
        self.plan.homes[value] = home
        self.content[home] = value
        home.first, home.last = min(home.first, step), max(home.last, step, self.live.last(value))

    def _outputs_wanted(self) -> None:
        """Outputs are written to their arrays at once, and variables in place, where nothing speaks against it."""
        if self.outer is not None:
            return
        plan, graph = self.plan, self.graph
        for position, value in enumerate(graph.outputs):
            root = plan.root(value)
            if root in plan.places or root in self.wanted or is_scalar(value) or self._is_dynamic(value):
                continue
            if bytes_of(root) == bytes_of(value):
                home = self.wanted[root] = self._fresh(value, self.end, "output")
                home.index = position
        if self.live.assigns:
            number = {v: k for k, v in enumerate(graph.inputs)}
            for value, variable in direct_assigns(graph, plan, self.live.assigns, self.wanted).items():
                producer = value.producer
                if is_scalar(value) or producer is None or control_kind(producer):
                    continue
                if self.live.lives(variable, self.live.steps[producer], ()):
                    continue
                home = self.wanted[value] = self._fresh(value, self.end, "variable")
                home.index = number[variable]

    def _propagate(self, graph: Graph) -> None:
        """Where a loop's result or a changed row's array is wanted, the operand that dies there is wanted too."""
        frames, plan = self.live.frames[id(graph)], self.plan
        for node in reversed(graph.nodes):
            step = self.live.steps[node]
            if control_kind(node) == "while":
                pairs = list(zip(node.outputs, node.inputs, strict=False))
            elif node.op.name in IN_PLACE_ROWS:
                pairs = [(node.output, node.inputs[0])]
            else:
                continue
            for result, operand in pairs:
                home, root = self.wanted.get(result), plan.root(operand)
                if home is None or home.kind == "variable" or root.producer is None or root in self.wanted:
                    continue
                if self.live.defined[root][1] == frames and not self.live.lives(root, step, frames):
                    self.wanted[root] = home

    # Nodes ------------------------------------------------------------------------------------------------------------
    def _walk(self, graph: Graph) -> None:
        self._propagate(graph)
        frames = self.live.frames[id(graph)]
        for node in graph.nodes:
            kind = control_kind(node)
            if kind == "while":
                self._while(node, frames)
            elif kind == "switch":
                self._switch(node, frames)
            else:
                if kind == "call":
                    self._function(node)
                self._node(node, frames)

    def _function(self, node: Node) -> None:
        program = self if self.outer is None else self.outer
        function = node.attributes["function"]
        if function in self.plan.functions:
            return
        inner = _Planner(self.plan, function, program)
        inner.run()
        self.plan.functions[function] = inner.region

    def _node(self, node: Node, frames: Frames) -> None:
        step, plan = self.live.steps[node], self.plan
        taken: set[Home] = set()
        region: Region | None = None
        if isinstance(node.op.kernel, Library) and "body" in node.attributes:
            found = analyse(node.attributes["body"].nodes, node.attributes["body"].outputs)
            region = found if isinstance(found, Region) else None
        for value in node.outputs:
            if value in plan.roots or value in plan.places or is_scalar(value):
                continue
            home = self._choose(node, value, region, step, frames, taken)
            taken.add(home)
            self._put(value, home, step)

    def _choose(
        self, node: Node, value: Value, region: Region | None, step: int, frames: Frames, taken: set[Home]
    ) -> Home:
        """The home that a node's result is written to."""
        ways = [self._wanted_home, self._operand_home]
        if node.op.name in IN_PLACE_ROWS:  # elsewhere the whole array would be copied
            ways.reverse()
        for way in ways:
            home = way(node, value, region, step, frames, taken)
            if home is not None:
                return home
        return self._fresh(value, step)

    def _wanted_home(
        self, node: Node, value: Value, region: Region | None, step: int, frames: Frames, taken: set[Home]
    ) -> Home | None:
        """Where a reader wants the value, if what lies there is dead."""
        wanted = self.wanted.get(value)
        if wanted is None or wanted in taken or not self._fits(wanted, value):
            return None
        held = self.content.get(wanted)
        if held is None or not self.live.lives(held, step, frames, at_step=True):
            return wanted
        dies = not self.live.lives(held, step, frames)
        return wanted if dies and self._in_place(node, held, value, region, wanted) else None

    def _operand_home(
        self, node: Node, value: Value, region: Region | None, step: int, frames: Frames, taken: set[Home]
    ) -> Home | None:
        """The home of an operand that dies here and may be written over."""
        for operand in node.inputs:
            root = self.plan.root(operand)
            home = self.plan.homes.get(root)
            if home is None or home in taken or self.content.get(home) is not root or home.kind == "variable":
                continue
            if not self.live.lives(root, step, frames) and self._in_place(node, root, value, region, home):
                home.bytes = dim_max(home.bytes, bytes_of(value))
                return home
        return None

    def _fits(self, home: Home, value: Value) -> bool:
        return home.dynamic or home.bytes == bytes_of(value)

    def _in_place(self, node: Node, root: Value, value: Value, region: Region | None, home: Home) -> bool:
        """May the node write its result over this operand?"""
        same = [k for k, v in enumerate(node.inputs) if self.plan.root(v) is root]
        if node.op.name in IN_PLACE_ROWS:
            fixed = home.kind == "temporary" and len(home.group) == 1 and not self._is_dynamic(value)
            grows = home.dynamic or fixed
            return same == [0] and (home.bytes == bytes_of(value) or grows)
        if region is None or bytes_of(root) != bytes_of(value):
            return False
        return all(elementwise(region, node, node.inputs[k], value) for k in same)

    # Loops and branches -----------------------------------------------------------------------------------------------
    def _while(self, node: Node, frames: Frames) -> None:
        plan, begin, end = self.plan, self.live.steps[node], self.live.finish[node]
        condition, body, count = node.attributes["condition"], node.attributes["body"], node.attributes["carried"]
        homes: dict[int, Home] = {}
        starts = plan.starts[node] = []
        for k, inner in enumerate(body.inputs[:count]):
            if inner in self.live.unchanged or is_scalar(inner):
                continue
            root = plan.root(node.inputs[k])
            home = plan.homes.get(root)
            dynamic = self._is_dynamic(inner) or self._is_dynamic(node.outputs[k])
            if (home is None or self.content.get(home) is not root or home in homes.values() or home.dynamic != dynamic
                or home.kind == "variable" or not self._fits(home, inner) or self.live.lives(root, begin, frames)):  # fmt: skip
                home = self.wanted.get(node.outputs[k])
                if home is not None and (home in homes.values() or home.dynamic != dynamic or not self._fits(home, inner)
                                         or self._occupied(home, begin, frames, at_step=True)):  # fmt: skip
                    home = None
                home = home or self._fresh(inner, begin, "dynamic" if dynamic else "")
                starts.append((k, home))
            homes[k] = home
            self._put(inner, home, begin)
            home.last = max(home.last, end)
        for k, home in homes.items():
            root = plan.root(body.outputs[k])
            if root.producer is not None:
                self.wanted.setdefault(root, home)
        before = dict(self.content)
        self._walk(condition)
        self._walk(body)
        loop = self.live.frame_of[id(body)]
        plan.moves[id(body)] = self._resolve(
            [(home, body.outputs[k]) for k, home in homes.items()], lambda root: loop in self.live.defined[root][1],
            self.content, self.live.span[id(body)][1])  # fmt: skip
        self.content = before
        for k, home in homes.items():
            self._put(node.outputs[k], home, end)

    def _occupied(self, home: Home, step: int, frames: Frames, at_step: bool = False) -> bool:
        held = self.content.get(home)
        return held is not None and self.live.lives(held, step, frames, at_step)

    def _switch(self, node: Node, frames: Frames) -> None:
        plan, begin, end = self.plan, self.live.steps[node], self.live.finish[node]
        branches = node.attributes["branches"]
        results = [k for k, v in enumerate(node.outputs) if v not in plan.roots and not is_scalar(v)]
        homes: dict[int, Home] = {}

        def dies(root: Value) -> bool:
            return not self.live.lives(root, end, frames)

        def take(k: int, home: Home | None) -> None:
            """The result's home, if it can be this one."""
            dynamic = self._is_dynamic(node.outputs[k])
            if home is None or home.kind == "variable" or home in homes.values() or home.dynamic != dynamic:
                return
            if self._fits(home, node.outputs[k]):
                homes[k] = home

        for k in results:
            for branch in branches:
                root = plan.root(branch.outputs[k])
                home = plan.homes.get(root)  # none yet for what the branch makes
                if k not in homes and home is not None and self.content.get(home) is root and dies(root):
                    take(k, home)
            wanted = self.wanted.get(node.outputs[k])
            if k not in homes and wanted is not None and not self._occupied(wanted, end, frames):
                take(k, wanted)
        before, after = dict(self.content), []
        for branch in branches:
            self.content = dict(before)
            for k in results:
                root = plan.root(branch.outputs[k])
                if k in homes and root.producer is not None:
                    self.wanted.setdefault(root, homes[k])
            self._walk(branch)
            after.append(self.content)
            frame = self.live.frame_of[id(branch)]
            for k in results:
                root = plan.root(branch.outputs[k])
                home = plan.homes.get(root)
                movable = frame in self.live.defined[root][1] or dies(root)
                if k not in homes and home is not None and self.content.get(home) is root and movable:
                    take(k, home)
        for k in results:
            if k not in homes:
                homes[k] = self._fresh(node.outputs[k], begin)
        for branch, content in zip(branches, after, strict=True):
            frame = self.live.frame_of[id(branch)]

            def can_go(root: Value, frame: Frame = frame) -> bool:
                return frame in self.live.defined[root][1] or dies(root)

            targets = [(home, branch.outputs[k]) for k, home in homes.items()]
            plan.moves[id(branch)] = self._resolve(targets, can_go, content, self.live.span[id(branch)][1])
        self.content = before
        for k, home in homes.items():
            home.first = min(home.first, begin)
            self._put(node.outputs[k], home, end)

    def _resolve(
        self,
        targets: Sequence[tuple[Home, Value]],
        movable: Callable[[Value], bool],
        content: dict[Home, Value],
        step: int,
    ) -> Moves:
        """Bring values to homes, all at once: by exchanging addresses where the value's home is free to go, else by a copy into a buffer
        that nobody takes."""
        plan = self.plan
        taker = {  # whose buffer -> who takes it
            home: home for home, value in targets if plan.home(value) is home and content.get(home) is plan.root(value)
        }
        copies: list[tuple[Value, Home]] = []
        for home, value in targets:
            root, source = plan.root(value), plan.home(value)
            if source is home and taker.get(home) is home:
                continue
            if (source is not None and source not in taker and content.get(source) is root and source.kind != "variable"
                and source.dynamic == home.dynamic and (home.dynamic or source.bytes == home.bytes) and movable(root)):  # fmt: skip
                taker[source] = home
            else:
                copies.append((root, home))
        involved = list(dict.fromkeys([h for pair in taker.items() for h in pair] + [h for _, h in copies]))
        gives = {taken_by: source for source, taken_by in taker.items()}  # who -> whose buffer it takes
        for home in involved:  # chains end in a buffer that nobody takes: the one who lost its own gets that
            if home not in gives:
                last = home
                while last in taker:
                    last = taker[last]
                gives[home] = last
        moves = Moves()
        for home in involved:
            if gives[home] is not home:
                moves.addresses.append((home, gives[home]))
                self._join(home, gives[home])
        waiting = [(root, gives[home]) for root, home in copies]
        while waiting:
            read = [plan.homes.get(root) for root, _ in waiting]
            ready = [
                k for k, (_, home) in enumerate(waiting) if all(r is not home for j, r in enumerate(read) if j != k)
            ]
            if not ready:  # a circle of copies: one of the values goes by way of a buffer of its own
                root, home = waiting.pop()
                aside = self._fresh(root, step)
                moves.copies.append((root, aside))
                moves.copies.extend(waiting)
                alias = Value(root.type)
                self.plan.homes[alias] = aside
                moves.copies.append((alias, home))
                break
            moves.copies.append(waiting.pop(ready[0]))
        for home in involved:
            home.first, home.last = min(home.first, step), max(home.last, step)
        return moves

    def _join(self, a: Home, b: Home) -> None:
        if a.group is b.group:
            return
        a.group.extend(b.group)
        for home in b.group:
            home.group = a.group

    # Places -----------------------------------------------------------------------------------------------------------
    def _place(self) -> None:
        """Numbers and final kinds of the homes; what is copied at the end."""
        plan, graph = self.plan, self.graph
        for home in self.homes:
            if len(home.group) > 1 and home.kind == "output":
                home.kind = "temporary"  # its address goes elsewhere: the result is copied
        if self.outer is None:
            self._final_outputs()
        used = set(plan.homes.values()) | {h for m in plan.moves.values() for _, h in m.copies}
        for home in self.homes:
            if home not in used:
                continue
            if home.kind == "temporary":
                home.index = len(plan.temporaries)
                size = home.group[0].bytes
                for other in home.group[1:]:
                    size = dim_max(size, other.bytes)
                first, last = min(h.first for h in home.group), max(h.last for h in home.group)
                plan.temporaries.append(Temporary(size, first, last, home.owner))
                plan.regions.append(self.region)
            elif home.kind == "dynamic":
                home.index = len(plan.dynamic)
                plan.dynamic.append(home)
        for value, home in plan.homes.items():
            plan.places[value] = home.place
        if self.outer is None:
            number = {v: k for k, v in enumerate(graph.inputs)}
            for variable, value in self.live.assigns.items():
                root = plan.root(value)
                if root not in plan.places or plan.places[root] != Place("variable", number[variable]):
                    plan.commits.append((variable, value))

    def _final_outputs(self) -> None:
        plan = self.plan
        given: set[Home] = set()
        for position, value in enumerate(self.graph.outputs):
            home = plan.home(value)
            if self._is_dynamic(value):
                if home is None or not home.dynamic or home in given:
                    fresh = self._fresh(value, self.end, "dynamic")
                    plan.homes[Value(value.type)] = fresh  # holds a copy made at the end
                    plan.output_copies.append((position, value))
                    home = fresh
                given.add(home)
                plan.dynamic_outputs[position] = home
                continue
            if home is not None and home.kind == "output" and home.index == position:
                continue
            if home is not None and home.kind == "temporary" and len(home.group) == 1 and home.bytes == bytes_of(value):
                for other in self.homes:
                    if other.kind == "output" and other.index == position:
                        other.kind = "temporary"  # the array was wanted for the value, but went to an operand of it
                home.kind, home.index = "output", position
                continue
            plan.output_copies.append((position, value))
