"""Forward state: make every read of a variable a read of its value at entry, and keep one write for each variable.

    assign_variable w, %0            assign_variable w, %0   (dropped if another write follows)
    %1 = read_variable w       ->    uses of %1 read %0

After this pass "all reads come first, all writes last" holds, which lets the scheduler move kernels freely and lets a failed call
leave every variable as it was. A call of Python may touch any variable, so it divides the program: the rule then holds for
the stretch before and the stretch after. So does a branch or loop that has such a call or accesses variables.
"""

from __future__ import annotations

from ..ir.graph import Graph, Node, Value
from ..ir.op import Effect
from ..ir.walks import effect_kinds
from .manager import PassContext
from .rewriting import with_subgraphs

__all__ = ["forward_state", "is_barrier"]


def is_barrier(node: Node) -> bool:
    """May the node read or write any variable (other than by being a read or a write itself)?"""
    if node.is_pure:
        return False
    if isinstance(node.op.kernel, Effect):
        return node.op.kernel.kind not in ("read", "write", "print", "assert")
    return not effect_kinds(node) <= {"print", "assert"}


def forward_state(graph: Graph, context: PassContext) -> Graph:
    """graph -> graph whose reads all come first and whose writes come last, one for each variable, between two barriers.

    Spends no fuel: what follows relies on it.
    """
    graph = with_subgraphs(forward_state, graph, context)
    stretch = _Stretch()
    nodes: list[Node] = []
    mapping: dict[Value, Value] = {}
    for node in graph.nodes:
        inputs = tuple(mapping.get(v, v) for v in node.inputs)
        kind = node.op.kernel.kind if isinstance(node.op.kernel, Effect) else ""
        if kind == "read" and inputs[0] in stretch.held:
            mapping[node.output] = stretch.held[inputs[0]]
            continue
        if inputs != node.inputs:
            old = node
            node = Node(node.op, inputs, node.attributes, node.source, [v.type for v in node.outputs])
            mapping.update(zip(old.outputs, node.outputs, strict=True))
        if is_barrier(node):
            nodes += stretch.end()
            nodes.append(node)
        else:
            stretch.add(kind, node)
    nodes += stretch.end()
    return graph.replace(nodes, [mapping.get(v, v) for v in graph.outputs])


class _Stretch:
    """The nodes between two barriers. held: variable -> its value where it was read or written."""

    def __init__(self) -> None:
        self.held: dict[Value, Value] = {}
        self.reads: list[Node] = []
        self.nodes: list[Node] = []
        self.writes: dict[Value, Node] = {}

    def add(self, kind: str, node: Node) -> None:
        if kind == "read":
            self.held[node.inputs[0]] = node.output
            self.reads.append(node)
        elif kind == "write":
            self.held[node.inputs[0]] = node.inputs[1]
            self.writes[node.inputs[0]] = node
        else:
            self.nodes.append(node)

    def end(self) -> list[Node]:
        """The nodes in their new order; begins the next stretch."""
        found = [*self.reads, *self.nodes, *self.writes.values()]
        self.held.clear()
        self.reads.clear()
        self.nodes.clear()
        self.writes.clear()
        return found
