"""Fold constants: nodes whose operands are all known become constants, computed with the compiler's own kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import CompileError, GraphflowError, UnimplementedError
from ..ir.graph import Graph, Node, Value
from ..ir.op import OPS, Alias, Effect, Pointwise, View
from ..ir.types import CPU, TensorType
from .manager import PassContext
from .rewriting import Rewriter, constant_value, with_subgraphs

__all__ = ["fold_constants"]

Array = np.ndarray[Any, Any]

#: operands of more elements in all are not computed with while compiling
MOST_OPERAND_ELEMENTS = 1 << 20


def fold_constants(graph: Graph, context: PassContext) -> Graph:
    """Compute what depends on constants only.

    %0 = constant {value=f32 2.0}; %1 = sqrt %0   ->   %1 = constant {value=f32 1.4142135}

    A tensor of one repeated number stays a scalar and a broadcast, whatever its size; other results are folded up to
    context.fold_limit elements. Ops without operands (iota, zeros) are left alone, and so is a node that fails, so that
    it fails at run time, at its line. context.evaluate runs the kernels that would run later, so no bit changes;
    without it nothing is folded.
    """
    graph = with_subgraphs(fold_constants, graph, context)
    if context.evaluate is None or context.fold_limit <= 0:
        return graph
    folder = _Folder(context, graph)
    known = folder.known
    for node in graph.nodes:
        current = folder.rewriter.with_new_inputs(node) if folder.rewriter.mapping else node
        if current.inputs:
            for value in current.inputs:
                if value not in known:
                    break
            else:
                if folder.fold(node, current):
                    continue
                if isinstance(current.op.kernel, (View, Alias)):
                    known.add(current.output)
        elif current.outputs and constant_value(current.outputs[0]) is not None:
            known.add(current.output)
        folder.rewriter.keep(node, current)
    return folder.rewriter.finish()


class _CannotFold(Exception):
    """Evaluating a node did not give values; the node stays."""


class _Folder:
    """known: constants, and views of constants that were left as they are."""

    def __init__(self, context: PassContext, graph: Graph) -> None:
        self.context = context
        self.rewriter = Rewriter(context, graph)
        self.known: set[Value] = set()

    def fold(self, node: Node, current: Node) -> bool:
        """Replace node (now `current`), whose operands are all known, by constants. False: it stays."""
        if isinstance(current.op.kernel, Effect) or not current.is_pure or any(True for _ in current.subgraphs()):
            return False
        if any(v.type.device != CPU for v in (*current.inputs, *current.outputs)):
            return False
        if any(v.type.dtype.is_complex for v in current.outputs):
            return False  # complex values are there for results only; no rule looks at complex constants
        start = len(self.rewriter.nodes)
        try:
            results = self._as_repeated_number(current) or self._as_constants(current)
        except _CannotFold as refusal:
            self.context.remark("not folded", f"{current.op.name}{refusal}", [node.source])
            return False
        if results is None:
            return False
        if not self.context.spend(current.op.name, node.source):
            del self.rewriter.nodes[start:]
            return False
        for new in self.rewriter.nodes[start:]:
            self.known.update(new.outputs)
        self.rewriter.mapping.update(zip(node.outputs, results, strict=True))
        return True

    def _as_repeated_number(self, node: Node) -> list[Value] | None:
        """The same number everywhere: a scalar, and a broadcast if the result is no scalar."""
        if not isinstance(node.op.kernel, (Pointwise, View, Alias)) or len(node.outputs) != 1:
            return None
        numbers = [self.rewriter.uniform(value) for value in node.inputs]
        if any(number is None for number in numbers):
            return None
        if isinstance(node.op.kernel, Pointwise):
            operands = [Value(TensorType(v.type.dtype, ())) for v in node.inputs]
            scalar_node = Node(node.op, operands, node.attributes, node.source)
            number = self._evaluate(scalar_node, [number for number in numbers if number is not None])[0]
        elif (node.op.name == "broadcast_to" and node.inputs[0].type.shape == ()) or node.output.type.elements == 0:
            return None  # that is the form it would get
        else:
            number = numbers[0]  # type: ignore[assignment]
        value = self.rewriter.full(number, node.output.type, node)
        return None if value is None else [value]

    def _as_constants(self, node: Node) -> list[Value] | None:
        for value in node.outputs:
            elements = value.type.elements
            if not value.type.is_static or not isinstance(elements, int) or elements > self.context.fold_limit:
                return None
        if isinstance(node.op.kernel, (View, Alias)) and constant_value(node.inputs[0]) is None:
            return None  # a view of a broadcast: reading it costs nothing
        sizes = [value.type.elements for value in node.inputs]
        if sum(size if isinstance(size, int) else MOST_OPERAND_ELEMENTS + 1 for size in sizes) > MOST_OPERAND_ELEMENTS:
            return None
        if node.op.name == "broadcast_to" and node.output.type.elements != node.inputs[0].type.elements:
            return None  # grows: kept small
        computed = self._evaluate(node, [self._array(value) for value in node.inputs])
        return [self._constant(array, value.type, node) for array, value in zip(computed, node.outputs, strict=True)]

    def _array(self, value: Value) -> Array:
        """The elements of a known value."""
        array = constant_value(value)
        if array is not None:
            return array
        producer = value.producer
        assert producer is not None  # known values are constants or views of known values
        return self._evaluate(producer, [self._array(v) for v in producer.inputs])[0]

    def _constant(self, array: Array, type: TensorType, origin: Node) -> Value:
        array = np.ascontiguousarray(array).reshape(array.shape)
        if array.shape != type.shape or array.dtype != type.dtype.numpy:
            raise CompileError(f"evaluating {origin.op.name} gave {array.dtype}{list(array.shape)}, its type is {type}")
        if array.flags.writeable:
            array = array.copy()
            array.flags.writeable = False
        node = Node(OPS["constant"], (), {"value": array}, origin.source)
        self.rewriter.nodes.append(node)
        return node.output

    def _evaluate(self, node: Node, arrays: list[Array]) -> list[Array]:
        """The results. Raises _CannotFold for a node that fails at run time or has no kernel that runs while
        compiling."""
        assert self.context.evaluate is not None
        try:
            return list(self.context.evaluate(node, arrays))
        except UnimplementedError as error:
            raise _CannotFold(f": {error}") from error
        except (GraphflowError, ArithmeticError, ValueError, LookupError) as error:
            if not node.op.fallible:
                raise
            raise _CannotFold(f" fails: {error}") from error
