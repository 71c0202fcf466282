"""Forward state: make every read of a variable a read of its value at entry, and keep one write for each variable.

    assign_variable w, %0            assign_variable w, %0   (dropped if another write follows)
    %1 = read_variable w       ->    uses of %1 read %0

After this pass "all reads come first, all writes last" holds, which lets the scheduler move kernels freely and lets a failed call
leave every variable as it was.
"""

from __future__ import annotations

from typing import Any

from ..ir.graph import Graph, Node, Value
from ..ir.op import Effect

__all__ = ["forward_state"]


def forward_state(graph: Graph, context: Any) -> Graph:
    """graph -> graph whose reads all come first and whose writes come last, one for each variable."""
    held: dict[Value, Value] = {}
    mapping: dict[Value, Value] = {}
    reads: list[Node] = []
    writes: dict[Value, Node] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(mapping.get(v, v) for v in node.inputs)
        kind = node.op.kernel.kind if isinstance(node.op.kernel, Effect) else ""
        if kind == "read":
            variable = inputs[0]
            if variable in held:
                mapping[node.output] = held[variable]
                continue
            held[variable] = node.output
        if inputs != node.inputs:
            old = node
            node = Node(node.op, inputs, node.attributes, node.source, [v.type for v in node.outputs])
            mapping.update(zip(old.outputs, node.outputs, strict=True))
            if kind == "read":
                held[inputs[0]] = node.output
        if kind == "write":
            held[inputs[0]] = inputs[1]
            writes[inputs[0]] = node
            continue
        (reads if kind == "read" else nodes).append(node)
    return graph.replace([*reads, *nodes, *writes.values()], [mapping.get(v, v) for v in graph.outputs])
