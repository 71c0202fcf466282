"""Building and rebuilding graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from ..errors import DTypeError
from .graph import Graph, Node, Value
from .op import Op
from .source import Source
from .types import TensorType

__all__ = ["GraphBuilder", "backward_source", "rewrite"]

#: while gradient rules run: the source of the forward op they differentiate
backward_source: ContextVar[Source | None] = ContextVar("graphflow_backward_source", default=None)


class GraphBuilder:
    """Appends nodes; finish() freezes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []

    def input(self, name: str, type: TensorType) -> Value:
        """Add a graph input; its name is made unique. Raises DTypeError for strings."""
        self._check_dtype(type, f"the input '{name}'")
        taken = {v.name for v in self.inputs}
        unique, count = name, 1
        while unique in taken:
            unique, count = f"{name}_{count}", count + 1
        value = Value(type, name=unique)
        self.inputs.append(value)
        return value

    def add(self, op: Op, inputs: Sequence[Value], attributes: Mapping[str, Any], source: Source) -> tuple[Value, ...]:
        """Append a node and return its outputs. Raises what the op's type rule raises, and DTypeError for strings."""
        node = Node(op, inputs, attributes, source)
        for value in node.outputs:
            self._check_dtype(value.type, "a tensor" if op.name == "constant" else f"the result of {op.name}")
        self.nodes.append(node)
        return node.outputs

    def _check_dtype(self, type: TensorType, what: str) -> None:
        if type.dtype.is_string:
            error = DTypeError(f"string tensors are eager only, and {what} of '{self.name}' is one: {type}")
            error.hint = "pass the Python string, or work on the tensor outside the function or in gf.py_function"
            raise error

    def finish(self, outputs: Sequence[Value], metadata: Mapping[str, Any] | None = None) -> Graph:
        """The graph of the nodes added so far, frozen."""
        return Graph(self.name, tuple(self.inputs), tuple(self.nodes), tuple(outputs), dict(metadata or {}))


def rewrite(graph: Graph, visit: Callable[[Node, tuple[Value, ...]], Sequence[Value] | Node | None]) -> Graph:
    """Walk the nodes in order with inputs already mapped. visit(node, inputs) returns None to keep the node, the values that
    replace its outputs (new nodes reachable from them are added), or a new Node."""
    mapping: dict[Value, Value] = {}
    done: set[Node] = set()
    nodes: list[Node] = []

    def append(node: Node) -> None:
        stack = [node]
        while stack:
            current = stack[-1]
            missing = [v.producer for v in current.inputs if v.producer is not None and v.producer not in done]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            if current not in done:
                done.add(current)
                nodes.append(current)

    for node in graph.nodes:
        inputs = tuple(mapping.get(v, v) for v in node.inputs)
        result = visit(node, inputs)
        if result is None:
            result = node if inputs == node.inputs else Node(
                node.op, inputs, node.attributes, node.source, [v.type for v in node.outputs])  # fmt: skip
        if isinstance(result, Node):
            append(result)
            result = result.outputs
        for old, new in zip(node.outputs, result, strict=True):
            if new.producer is not None:
                append(new.producer)
            if new is not old:
                mapping[old] = new
    return graph.replace(nodes, [mapping.get(v, v) for v in graph.outputs])
