"""Traced graphs op by op: eagerly, recorded on tapes, with the bits of compiled code; or once more in the trace that is
running."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..autodiff.record import record_operation, recorders
from ..errors import GraphflowError
from ..ir.dims import Dim, SymbolicDim, symbols_of
from ..ir.graph import Graph, Node, Value
from ..ir.op import Control, Effect
from ..passes.substitution import substituted
from ..tensor import dispatch_now
from .stepping import concrete_attributes
from .tracer import SymbolicTensor, Trace

__all__ = ["Interpreter", "replay", "symbols_made"]


class Interpreter:
    """Runs a graph eagerly. `saved`: the values that variables had before they were written. with_effects: print, and call
    Python functions."""

    def __init__(self, with_effects: bool = True) -> None:
        self.with_effects = with_effects
        self.extents: dict[str, int] = {}
        self.saved: dict[int, tuple[Any, Any]] = {}

    def run(self, graph: Graph, operands: Sequence[Any]) -> list[Any]:
        """The outputs for these tensors (and variables). Raises what the ops raise, telling the iteration or branch."""
        held: dict[Value, Any] = dict(zip(graph.inputs, operands, strict=True))
        for value, operand in held.items():
            if not value.is_variable:
                self.bind(value, operand, True)
        for node in graph.nodes:
            results = self.node(node, tuple([held[v] for v in node.inputs]))
            for value, result in zip(node.outputs, results, strict=True):
                held[value] = result
                self.bind(value, result, bool(node.extents))
        return [held[v] for v in graph.outputs]

    def bind(self, value: Value, tensor: Any, replace: bool = False) -> None:
        """Learn the extents that a value's type names from the tensor that has it."""
        for dim, extent in zip(value.type.shape, tensor.dims, strict=True):
            if isinstance(dim, SymbolicDim) and dim.text.isidentifier() and (replace or dim.text not in self.extents):
                self.extents[dim.text] = extent

    def node(self, node: Node, operands: tuple[Any, ...]) -> Sequence[Any]:
        kernel = node.op.kernel
        if isinstance(kernel, Control):
            return getattr(self, f"run_{kernel.kind}")(node, operands)
        kind = kernel.kind if isinstance(kernel, Effect) else ""
        if kind == "read":
            return (operands[0].value(),)
        if kind == "write":
            variable, value = operands
            if id(variable) not in self.saved:
                self.saved[id(variable)] = (variable, variable._array.copy())
            variable.assign(value)
            return ()
        if kind == "call":
            return node.attributes["function"].run_eagerly(list(operands))
        if kind == "print" and not self.with_effects:
            return ()
        return dispatch_now(node.op, operands, concrete_attributes(node.attributes, self.extents), node.source)

    def inside(self, graph: Graph, operands: Sequence[Any], where: str, node: Node) -> list[Any]:
        try:
            return self.run(graph, operands)
        except GraphflowError as error:
            error.within = (f"{where} at {os.path.basename(node.source.file)}:{node.source.line}", *error.within)
            raise

    def run_switch(self, node: Node, operands: tuple[Any, ...]) -> Sequence[Any]:
        branches, index = node.attributes["branches"], int(operands[0]._array)
        chosen = index if 0 <= index < len(branches) else len(branches) - 1
        name = ("false", "true")[chosen] if operands[0].dtype.is_bool and len(branches) == 2 else f"number {chosen}"
        return self.inside(branches[chosen], operands[1:], f"the branch '{name}' of the choice", node)

    def run_while(self, node: Node, operands: tuple[Any, ...]) -> Sequence[Any]:
        condition, body, carried = (node.attributes[k] for k in ("condition", "body", "carried"))
        iteration = 0
        while True:
            where = f"iteration {iteration} (from 0) of the loop"
            if not bool(self.inside(condition, operands, where, node)[0]._array):
                return operands[:carried]
            operands = (*self.inside(body, operands, where, node), *operands[carried:])
            iteration += 1

    def run_call(self, node: Node, operands: tuple[Any, ...]) -> Sequence[Any]:
        function = node.attributes["function"]
        return self.inside(function, operands, f"'{function.name}' called", node)


# In a trace -----------------------------------------------------------------------------------------------------------
def symbols_made(graph: Graph) -> Iterator[str]:
    """The symbols that a graph defines: run-time extents of its nodes, and those of its loops' bodies."""
    for node in graph.nodes:
        yield from _made_by(node)


def _made_by(node: Node) -> Iterator[str]:
    yield from node.extents
    for inner in node.subgraphs():
        yield from symbols_made(inner)
    if isinstance(node.op.kernel, Control) and node.op.kernel.kind == "while":
        outside = {name for v in node.inputs for dim in v.type.shape for name in symbols_of(dim)}
        for value in node.attributes["body"].inputs:
            for dim in value.type.shape:
                yield from symbols_of(dim) - outside


def replay(trace: Trace, graph: Graph, operands: Sequence[Any], dims: Mapping[str, Dim] | None = None) -> list[Any]:
    """The graph's nodes once more in a trace, on other operands; its outputs. Tapes record them. What the nodes define at
    run time gets new symbols. dims: what the symbols of the graph's inputs stand for."""
    known: dict[str, Dim] = dict(dims or {})
    held: dict[Value, Any] = dict(zip(graph.inputs, operands, strict=True))
    for node in graph.nodes:
        results = replay_node(trace, node, [held[v] for v in node.inputs], known)
        held.update(zip(node.outputs, results, strict=True))
    return [held[v] for v in graph.outputs]


def replay_node(trace: Trace, node: Node, operands: Sequence[Any], known: dict[str, Dim]) -> tuple[Any, ...]:
    """One node of `replay`; known: what symbols stand for, added to."""
    for name in _made_by(node):
        known.setdefault(name, trace.new_extent("k" if name.startswith("k") else "u"))
    inputs = [t._value for t in operands]
    if known:
        new, more = substituted(node, inputs, known)
        known.update(more)
    else:
        new = Node(node.op, inputs, node.attributes, node.source, [v.type for v in node.outputs])
    new.device = node.device
    outputs = tuple(SymbolicTensor(trace, v) for v in trace.append(new))
    if recorders.get() and operands:
        record_operation(node.op, tuple(operands), outputs, new.attributes, node.source)
    return outputs
