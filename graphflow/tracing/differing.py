"""Where a compiled graph first gives other bits than eager mode: the node, in whatever loop, branch or function it stands."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..compiler import compile_graph
from ..ir.dims import Dim
from ..ir.graph import Graph, Node, Value
from ..ir.op import Control
from ..ir.source import Source
from ..passes.substitution import substituted_graph
from .interpret import Interpreter

__all__ = ["Difference", "enclosing", "first_difference", "same_bits"]


def same_bits(a: Any, b: Any) -> bool:
    """Equal dtype, shape and bytes, where any NaN equals any NaN."""
    x, y = np.asarray(a), np.asarray(b)
    if x.dtype != y.dtype or x.shape != y.shape:
        return False
    if x.tobytes() == y.tobytes():
        return True
    if x.dtype.kind == "c":
        return same_bits(x.real, y.real) and same_bits(x.imag, y.imag)
    if x.dtype.kind == "V":  # bfloat16
        x, y = x.astype(np.float32), y.astype(np.float32)
    if x.dtype.kind != "f":
        return False
    nan = np.isnan(x) & np.isnan(y)
    return bool(np.all(nan | ((x == y) & (np.signbit(x) == np.signbit(y)))))


@dataclass(frozen=True)
class Difference:
    """A node whose compiled result has other bits than its eager one. within: the iterations and branches around it."""

    node: Node
    within: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f"{self.node.op.name} at {self.node.source}"
        return place + (f", in {', in '.join(reversed(self.within))}" if self.within else "")


class _Recorder(Interpreter):
    """Runs a graph eagerly and keeps what each node made last."""

    def __init__(self) -> None:
        super().__init__(with_effects=False)
        self.made: dict[Node, Sequence[Any]] = {}

    def node(self, node: Node, operands: tuple[Any, ...]) -> Sequence[Any]:
        results = super().node(node, operands)
        self.made[node] = results
        return results


def first_difference(concrete: Any, tensors: Sequence[Any], variables: Sequence[Any], fuel: int) -> Difference | None:
    """The first node of a trace whose compiled result differs, where the passes may make `fuel` rewrites. None where no
    node by itself does. The variables are changed: the caller restores them."""
    held: dict[Value, Any] = dict(zip([v for v in concrete.graph.inputs if not v.is_variable], tensors, strict=True))
    held.update(concrete.captured)
    held.update(zip(concrete.argument_variables, [variables[k] for k in concrete.variable_positions], strict=True))
    return _in_graph(concrete.graph, [held[v] for v in concrete.graph.inputs], fuel, ())


def _in_graph(graph: Graph, operands: Sequence[Any], fuel: int, within: tuple[str, ...]) -> Difference | None:
    found = _differing_node(graph, operands, fuel)
    if found is None:
        return None
    node, taken = found
    inside = _inside(node, taken, fuel, within)
    return inside or Difference(node, within)


def _differing_node(graph: Graph, operands: Sequence[Any], fuel: int) -> tuple[Node, list[Any]] | None:
    """The first node of the graph itself that differs, and its operands."""
    graph = _static(graph, operands)
    before = [o._array.copy() for o in operands]

    def restore() -> None:
        for operand, array in zip(operands, before, strict=True):
            np.copyto(operand._array, array)

    recorder = _Recorder()
    try:
        recorder.run(graph, operands)
    finally:
        restore()
    kept = [v for node in graph.nodes for v in node.outputs]
    executable = compile_graph(graph.replace(graph.nodes, kept), fuel=fuel)
    arrays = {value: operand._array for value, operand in zip(executable.graph.inputs, operands, strict=True)}
    binding = executable.program.bind({v: a for v, a in arrays.items() if v.is_variable}, {}, None)
    try:
        status, results = binding.run([a for v, a in arrays.items() if not v.is_variable])
    finally:
        restore()
    if status:
        return None
    compiled = dict(zip(kept, results, strict=True))
    held: dict[Value, Any] = dict(zip(graph.inputs, operands, strict=True))
    for node in graph.nodes:
        made = recorder.made[node]
        for value, eager in zip(node.outputs, made, strict=True):
            held[value] = eager
            if not same_bits(eager._array, compiled[value]):
                return node, [held[v] for v in node.inputs]
    return None


def _inside(node: Node, operands: list[Any], fuel: int, within: tuple[str, ...]) -> Difference | None:
    """The node of a loop, branch or function that differs, if one does by itself."""
    kernel = node.op.kernel
    if not isinstance(kernel, Control):
        return None
    place = f"{os.path.basename(node.source.file)}:{node.source.line}"
    if kernel.kind == "call":
        function = node.attributes["function"]
        return _in_graph(function, operands, fuel, (*within, f"'{function.name}' called at {place}"))
    if kernel.kind == "switch":
        branches, index = node.attributes["branches"], int(operands[0]._array)
        chosen = index if 0 <= index < len(branches) else len(branches) - 1
        return _in_graph(branches[chosen], operands[1:], fuel, (*within, f"branch {chosen} of the choice at {place}"))
    condition, body, carried = (node.attributes[k] for k in ("condition", "body", "carried"))
    invariant, values, iteration = operands[carried:], operands[:carried], 0
    while True:
        where = (*within, f"iteration {iteration} (from 0) of the loop at {place}")
        every = [*values, *invariant]
        for graph in (condition, body):
            found = _in_graph(graph, every, fuel, where)
            if found is not None:
                return found
            results = Interpreter(with_effects=False).run(_static(graph, every), every)
            if graph is condition and not bool(results[0]._array):
                return None
        values, iteration = results, iteration + 1


def _static(graph: Graph, operands: Sequence[Any]) -> Graph:
    """The graph for operands of these shapes: its symbols are numbers, but for those that only the run decides."""
    known: dict[str, Dim] = {}
    for value, operand in zip(graph.inputs, operands, strict=True):
        for dim, extent in zip(value.type.shape, operand._array.shape, strict=True):
            if not isinstance(dim, int) and str(dim).isidentifier():
                known[str(dim)] = extent
    return substituted_graph(graph, known) if known else graph


def enclosing(graph: Graph, source: Source) -> tuple[str, ...] | None:
    """The loops, branches and functions around the nodes of a place, outermost first; None where no node has it."""
    for node in graph.nodes:
        same = (node.source.file, node.source.line, node.source.column) == (source.file, source.line, source.column)
        if same and not isinstance(node.op.kernel, Control):
            return ()
        if isinstance(node.op.kernel, Control):
            for inner in node.subgraphs():
                found = enclosing(inner, source)
                if found is not None:
                    kind = {"while": "the loop", "switch": "the choice", "call": f"'{inner.name}', called"}
                    return (f"{kind[node.op.kernel.kind]} at {node.source.location}", *found)
    return None
