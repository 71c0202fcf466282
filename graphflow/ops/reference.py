"""The meaning of whole graphs: an interpreter over the ops' NumPy references. Slow and plain, it is what compiled code is
compared with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..dtypes import DType, float32, of_numpy, rounded
from ..ir.dims import SymbolicDim, evaluate
from ..ir.graph import Graph, Node, Value
from ..ir.op import Control, Effect
from ..ir.types import TensorType

__all__ = ["call_reference", "interpret", "switch_reference", "while_reference"]

Array = np.ndarray[Any, Any]


def interpret(graph: Graph, arrays: Sequence[Any], extents: Mapping[str, int] | None = None) -> list[Any]:
    """The graph's outputs for these inputs. A variable is given as a list of its one array, which writes replace.

    extents: the values of symbols that no input has (those of the graphs around it, for a sub-graph). Prints are left out;
    a failed assertion raises AssertionError, and a failed check what the op's reference raises.
    """
    return _Interpreter(dict(extents or {})).run(graph, arrays)


class _Interpreter:
    def __init__(self, extents: dict[str, int]) -> None:
        self.extents = extents

    def run(self, graph: Graph, arrays: Sequence[Any]) -> list[Any]:
        known: dict[Value, Any] = dict(zip(graph.inputs, arrays, strict=True))
        for value, array in known.items():
            if not value.is_variable:
                self.bind(value.type, array, replace=True)
        for node in graph.nodes:
            results = self.results(node, [known[v] for v in node.inputs])
            for value, result in zip(node.outputs, results, strict=True):
                known[value] = np.asarray(result, value.type.dtype.numpy)
                self.bind(value.type, known[value])
        return [known[v] for v in graph.outputs]

    def bind(self, type: TensorType, array: Array, replace: bool = False) -> None:
        """Learn the symbols of a type from the array that has it; `replace` those known (a body's own, once more)."""
        for dim, extent in zip(type.shape, array.shape, strict=True):
            if isinstance(dim, SymbolicDim) and dim.text.isidentifier() and (replace or dim.text not in self.extents):
                self.extents[dim.text] = extent

    def results(self, node: Node, operands: list[Any]) -> Iterable[Any]:
        kernel = node.op.kernel
        if isinstance(kernel, Effect) and kernel.kind not in ("constant", "copy"):
            return self.effect(kernel.kind, node, operands)
        if isinstance(kernel, Control):
            return getattr(self, f"run_{kernel.kind}")(node.attributes, operands)
        if node.op.name == "fused":
            return self.inside(node.attributes["body"], operands)
        reference = node.op.reference
        if reference is None:
            raise NotImplementedError(f"{node.op.name} has no reference")
        attributes = {k: self.number(v) for k, v in node.attributes.items()}
        narrow = any(v.type.dtype.is_narrow for v in (*node.inputs, *node.outputs)) and not node.op.takes_narrow
        if narrow:  # float16 and bfloat16 are computed with in float32; each result is rounded once
            operands = [rounded(a, float32) if of_numpy(a.dtype).is_narrow else a for a in operands]
            attributes = {k: float32 if isinstance(v, DType) and v.is_narrow else v for k, v in attributes.items()}
        with np.errstate(all="ignore"):
            found = reference(*operands, **attributes)
        results = found if isinstance(found, tuple) else (found,)
        if narrow:
            return [
                rounded(r, v.type.dtype) if v.type.dtype.is_narrow else r
                for r, v in zip(results, node.outputs, strict=True)
            ]
        return results

    def number(self, value: Any) -> Any:
        """An attribute's value with numbers for its symbolic extents."""
        if isinstance(value, SymbolicDim):
            return evaluate(value, self.extents)
        return tuple(map(self.number, value)) if isinstance(value, tuple) else value

    def effect(self, kind: str, node: Node, operands: list[Any]) -> Sequence[Any]:
        if kind == "read":
            return [operands[0][0]]
        if kind == "write":
            operands[0][0] = operands[1]
        elif kind == "assert" and not operands[0].all():
            raise AssertionError(node.attributes["message"])
        elif kind == "call":
            return list(node.attributes["function"](*operands))
        return []

    def inside(self, graph: Graph, operands: Sequence[Any]) -> list[Any]:
        """Run a sub-graph: its own symbols end with it."""
        return _Interpreter(dict(self.extents)).run(graph, operands)

    def run_switch(self, attributes: Mapping[str, Any], operands: list[Any]) -> list[Any]:
        branches = attributes["branches"]
        index = int(operands[0])
        return self.inside(branches[index if 0 <= index < len(branches) else -1], operands[1:])

    def run_while(self, attributes: Mapping[str, Any], operands: list[Any]) -> list[Any]:
        count = attributes["carried"]
        while self.inside(attributes["condition"], operands)[0]:
            operands = [*self.inside(attributes["body"], operands), *operands[count:]]
        return operands[:count]

    def run_call(self, attributes: Mapping[str, Any], operands: list[Any]) -> list[Any]:
        return self.inside(attributes["function"], operands)


def switch_reference(*arrays: Any, **attributes: Any) -> tuple[Any, ...]:
    """The op `switch` on arrays."""
    return tuple(_Interpreter({}).run_switch(attributes, list(arrays)))


def while_reference(*arrays: Any, **attributes: Any) -> tuple[Any, ...]:
    """The op `while` on arrays."""
    return tuple(_Interpreter({}).run_while(attributes, list(arrays)))


def call_reference(*arrays: Any, **attributes: Any) -> tuple[Any, ...]:
    """The op `call` on arrays."""
    return tuple(_Interpreter({}).run_call(attributes, list(arrays)))
