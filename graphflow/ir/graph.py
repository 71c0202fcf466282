"""The graph: values, nodes, and a frozen list of nodes in an order that keeps effects in program order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .dims import symbols_of
from .op import Op
from .source import Source
from .types import TensorType, VariableType

if TYPE_CHECKING:
    import networkx

__all__ = ["Graph", "Node", "Value"]


class Value:
    """One tensor in a graph: a graph input (producer None) or an output of a node. Compared by identity."""

    __slots__ = ("index", "name", "producer", "type")

    def __init__(self, type: TensorType, producer: Node | None = None, index: int = 0, name: str = "") -> None:
        self.type = type
        self.producer = producer
        self.index = index
        self.name = name

    @property
    def is_variable(self) -> bool:
        """Is it a graph input that stands for a variable?"""
        return isinstance(self.type, VariableType)

    def __repr__(self) -> str:
        where = self.name or (f"{self.producer.op.name}.{self.index}" if self.producer else "input")
        return f"<Value {where}: {self.type}>"


class Node:
    """One application of an op. Immutable after construction; compared by identity. Attributes that the op has a default for
    are always present, so equal calls have equal attributes."""

    __slots__ = ("attributes", "device", "inputs", "op", "outputs", "source")

    def __init__(
        self,
        op: Op,
        inputs: Sequence[Value],
        attributes: Mapping[str, Any],
        source: Source,
        types: Sequence[TensorType] | None = None,
    ) -> None:
        self.op = op
        self.inputs = tuple(inputs)
        self.attributes = {**op.attribute_defaults, **attributes}
        self.source = source
        #: the device a `gf.device` scope asked for, until the placement pass (which runs first) has put it into the types
        self.device: str | None = None
        if types is None:
            types = op.result_types(tuple(v.type for v in self.inputs), self.attributes)
        self.outputs = tuple([Value(t, self, k) for k, t in enumerate(types)])  # a list is faster than a generator

    @property
    def output(self) -> Value:
        """The first (mostly the only) result."""
        return self.outputs[0]

    @property
    def is_pure(self) -> bool:
        """No effect, neither its own nor in a sub-graph."""
        if not self.op.is_pure or not self.attributes:
            return self.op.is_pure
        return all(node.is_pure for graph in self.subgraphs() for node in graph.nodes)

    @property
    def extents(self) -> tuple[str, ...]:
        """The run-time symbols that the node defines: extents of its results that only the run decides."""
        names: tuple[str, ...] = self.attributes.get("extents", ())
        return names

    def subgraphs(self) -> Iterator[Graph]:
        """The graphs among the attributes (one body, or a tuple of branches), in the order of the op's record."""
        for name in self.op.attributes:
            value = self.attributes.get(name)
            if isinstance(value, Graph):
                yield value
            elif isinstance(value, (tuple, list)):
                yield from (item for item in value if isinstance(item, Graph))

    def __repr__(self) -> str:
        return f"<Node {self.op.name} at {self.source.location}>"


@dataclass(frozen=True, eq=False)
class Graph:
    """A typed DAG. inputs: named values (tensors and variables); nodes: topological, effects in program order; outputs: values."""

    name: str
    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def uses(self) -> dict[Value, list[Node]]:
        """Value -> the nodes that read it, in order, once for each operand position."""
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                found.setdefault(value, []).append(node)
        return found

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """Names of the symbolic extents, in order of first appearance in the inputs."""
        names: dict[str, None] = {}
        for value in self.inputs:
            for dim in value.type.shape:
                names.update(dict.fromkeys(sorted(symbols_of(dim))))
        return tuple(names)

    @cached_property
    def extents(self) -> tuple[str, ...]:
        """The run-time symbols that the graph's own nodes define, in order. Those of sub-graphs are theirs alone."""
        return tuple(name for node in self.nodes for name in node.extents)

    def replace(self, nodes: Sequence[Node], outputs: Sequence[Value] | None = None) -> Graph:
        """A graph of the same name and inputs with other nodes and, unless None, other outputs."""
        return Graph(
            self.name, self.inputs, tuple(nodes), tuple(self.outputs if outputs is None else outputs), self.metadata
        )

    def networkx(self) -> networkx.DiGraph:
        """The nodes and their data edges as a networkx graph, for analyses and drawing."""
        import networkx

        view = networkx.DiGraph(name=self.name)
        view.add_nodes_from(self.nodes)
        view.add_edges_from((v.producer, n) for n in self.nodes for v in n.inputs if v.producer is not None)
        return view

    def __str__(self) -> str:
        from .printer import print_graph

        return print_graph(self)

    def __eq__(self, other: object) -> bool:
        """Same inputs, nodes, attributes, types, sources and wiring."""
        return isinstance(other, Graph) and self._form == other._form

    def __hash__(self) -> int:
        return hash((self.name, len(self.nodes)))

    @cached_property
    def _form(self) -> tuple[Any, ...]:
        number: dict[Value, Any] = {v: ("in", k) for k, v in enumerate(self.inputs)}
        nodes = []
        for position, node in enumerate(self.nodes):
            for value in node.outputs:
                number[value] = (position, value.index)
            attributes = tuple(sorted((k, comparable(v)) for k, v in node.attributes.items()))
            nodes.append((node.op.name, tuple(number[v] for v in node.inputs), attributes,
                          tuple(v.type for v in node.outputs), node.source))  # fmt: skip
        inputs = tuple((v.name, type(v.type).__name__, v.type) for v in self.inputs)
        return self.name, inputs, tuple(nodes), tuple(number[v] for v in self.outputs)


def comparable(value: Any) -> Any:
    """An attribute value as something hashable whose equality is bit equality (NaN equals itself, 0.0 differs from -0.0)."""
    if isinstance(value, np.ndarray):
        return "array", value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, bool) or value is None:
        return "plain", str(value)
    if isinstance(value, float):
        return "float", value.hex()
    if isinstance(value, (tuple, list)):
        return "tuple", tuple(comparable(v) for v in value)
    if isinstance(value, Graph):
        return "graph", value._form
    return type(value).__name__, str(value)
