"""Write complex numbers as pairs of real ones: the code generator sees no others.

    %0: c64[n] = multiply x, y      %0: f32[n,2] = as_pairs x       (x and y stay complex: the caller's arrays)
    return %0                       %1: f32[n] = real parts of %0: a slice and a reshape, which cost nothing in a loop
                               ->   ...
                                    %8: f32[n] = multiply %1, %3;   %9 = multiply %2, %4;   %10 = subtract %8, %9
                                    ...
                                    %14: f32[n,2] = interleave %10, %13
                                    %15: c64[n] = from_pairs %14
                                    return %15

In memory a complex array keeps NumPy's layout: real and imaginary parts in turn. Only what has to be in memory as a complex array
is complex afterwards: inputs, variables, results, what Python is called with. Everything else is two real values, so that chains of
complex arithmetic fuse like real ones. Values that loops carry and branches give are pairs too. What each op means for pairs is in
complex_rules.py. Runs after differentiation and before the algebra of real numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UnimplementedError
from ..ir.graph import Graph, Node, Value
from ..ir.op import Control, Effect
from ..ir.types import TensorType
from ..ops.complex import part_of
from .complex_rules import RULES
from .complex_values import Builder, Pair, Real
from .manager import PassContext

__all__ = ["lower_complex"]


def lower_complex(graph: Graph, context: PassContext) -> Graph:
    """graph -> graph in which no op computes with complex numbers. Not an optimisation: it takes no fuel."""
    return _Lowering(graph, {}).program() if _has_complex(graph) else graph


def _has_complex(graph: Graph) -> bool:
    if any(v.type.dtype.is_complex for v in graph.inputs):
        return True
    for node in graph.nodes:
        if any(v.type.dtype.is_complex for v in node.outputs):
            return True
        if node.attributes and node.op.name != "fused" and any(map(_has_complex, node.subgraphs())):
            return True
    return False


class _Lowering(Builder):
    """One graph. done: the sub-graphs written so far, so that what nodes share stays shared."""

    def __init__(self, graph: Graph, done: dict[int, tuple[Graph, Graph]]) -> None:
        super().__init__()
        self.graph, self.done = graph, done
        self.mapping: dict[Value, Value] = {}
        self.pairs: dict[Value, Pair] = {}

    # Graphs -----------------------------------------------------------------------------------------------------------
    def program(self) -> Graph:
        """The whole program: inputs and results stay as callers see them."""
        for value in self.graph.inputs:
            if value.type.dtype.is_complex and not value.is_variable:
                self.pairs[value] = Pair(self, value.type, stored=value)
        self._nodes()
        return self.graph.replace(self.nodes, [self.in_memory(v) for v in self.graph.outputs])

    def inner(self, graph: Graph) -> Graph:
        """A sub-graph: complex inputs and results become two each. Variables stay."""
        found = self.done.get(id(graph))
        if found is None:
            lowering = _Lowering(graph, self.done)
            found = self.done[id(graph)] = graph, lowering.subgraph() if _has_complex(graph) else graph
        return found[1]

    def subgraph(self) -> Graph:
        inputs: list[Value] = []
        for value in self.graph.inputs:
            if not value.type.dtype.is_complex or value.is_variable:
                inputs.append(value)
                continue
            part = value.type.with_dtype(part_of(value.type.dtype))
            real, imag = Value(part, name=f"{value.name}_real"), Value(part, name=f"{value.name}_imag")
            self.pairs[value] = Pair(self, value.type, real=real, imag=imag)
            inputs += [real, imag]
        self._nodes()
        outputs: list[Value] = []
        for value in self.graph.outputs:
            outputs += self.flat(value)
        return Graph(self.graph.name, tuple(inputs), tuple(self.nodes), tuple(outputs), self.graph.metadata)

    def _nodes(self) -> None:
        for node in self.graph.nodes:
            self.origin = node
            if isinstance(node.op.kernel, Control):
                self._control(node)
            elif any(v.type.dtype.is_complex for v in (*node.inputs, *node.outputs)):
                self._complex(node)
            else:
                self._keep(node, [self.mapping.get(v, v) for v in node.inputs])

    # Values -----------------------------------------------------------------------------------------------------------
    def flat(self, value: Value) -> list[Value]:
        """The value, or the two that stand for a complex one."""
        if value.is_variable or not value.type.dtype.is_complex:
            return [self.mapping.get(value, value)]
        pair = self.pairs[value]
        return [pair.real, pair.imag]

    def in_memory(self, value: Value) -> Value:
        """The value as an array, complex if it is."""
        if value.is_variable or not value.type.dtype.is_complex:
            return self.mapping.get(value, value)
        return self.pairs[value].stored

    # Nodes ------------------------------------------------------------------------------------------------------------
    def _keep(self, node: Node, inputs: Sequence[Value], attributes: Mapping[str, Any] | None = None) -> Node:
        """The node on other inputs; its complex results are in memory."""
        new = node
        if list(inputs) != list(node.inputs) or attributes is not None:
            types = [v.type for v in node.outputs]
            new = Node(node.op, inputs, node.attributes if attributes is None else attributes, node.source, types)
            new.device = node.device
        self.nodes.append(new)
        for old, value in zip(node.outputs, new.outputs, strict=True):
            if value.type.dtype.is_complex:
                self.pairs[old] = Pair(self, value.type, stored=value)
            elif value is not old:
                self.mapping[old] = value
        return new

    def _complex(self, node: Node) -> None:
        kernel = node.op.kernel
        if isinstance(kernel, Effect) and kernel.kind == "constant":
            self.pairs[node.output] = Pair(self, node.output.type, array=node.attributes["value"])
            return
        if isinstance(kernel, Effect) and kernel.kind in ("copy", "read", "write", "print", "assert", "call"):
            self._keep(node, [self.in_memory(v) for v in node.inputs])
            return
        rule = RULES.get(node.op.name)
        if rule is None:
            raise UnimplementedError(
                f"{node.op.name}: no kernel for complex numbers, got {', '.join(str(v.type) for v in node.inputs)}; "
                "use gf.math.real and gf.math.imag"
            )
        operands = [
            self.pairs[v] if v.type.dtype.is_complex else Real(self, self.mapping.get(v, v)) for v in node.inputs
        ]
        results = rule(self, node, *operands)
        for value, result in zip(node.outputs, results if isinstance(results, tuple) else (results,), strict=True):
            if isinstance(result, Pair):
                self.pairs[value] = result
            else:
                self.mapping[value] = result.value

    def _control(self, node: Node) -> None:
        """Branches and bodies take and give two values for a complex one."""
        attributes = {name: self._attribute(value) for name, value in node.attributes.items()}
        touched = any(v.type.dtype.is_complex and not v.is_variable for v in (*node.inputs, *node.outputs))
        if not touched:
            same = all(a is b for a, b in zip(attributes.values(), node.attributes.values(), strict=True))
            self._keep(node, [self.mapping.get(v, v) for v in node.inputs], None if same else attributes)
            return
        if "carried" in attributes:
            carried = node.inputs[: attributes["carried"]]
            attributes["carried"] += sum(v.type.dtype.is_complex for v in carried)
        inputs = [flat for v in node.inputs for flat in self.flat(v)]
        types: list[TensorType] = []
        for value in node.outputs:
            dtype = value.type.dtype
            types += [value.type.with_dtype(part_of(dtype))] * 2 if dtype.is_complex else [value.type]
        new = Node(node.op, inputs, attributes, node.source, types)
        new.device = node.device
        self.nodes.append(new)
        results = list(new.outputs)
        for value in node.outputs:
            first = results.pop(0)
            if value.type.dtype.is_complex:
                self.pairs[value] = Pair(self, value.type, real=first, imag=results.pop(0))
            else:
                self.mapping[value] = first

    def _attribute(self, value: Any) -> Any:
        if isinstance(value, Graph):
            return self.inner(value)
        if isinstance(value, tuple) and any(isinstance(item, Graph) for item in value):
            items = tuple(self.inner(item) if isinstance(item, Graph) else item for item in value)
            return value if all(a is b for a, b in zip(items, value, strict=True)) else items
        return value
