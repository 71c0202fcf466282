"""The verifier: every rule that a valid graph keeps. It runs after every pass in tests and with GRAPHFLOW_CHECK=1."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from ..dtypes import DType
from ..errors import GraphflowError, VerifyError
from .dims import DimensionsMustAgree, SymbolicDim, symbols_of
from .graph import Graph, Node, Value
from .op import OPS, Control, Effect
from .printer import print_node, print_value
from .source import Source
from .types import TensorType, VariableType

__all__ = ["verify"]

_CONVERT = "convert it to int, float, bool, str, None, DType, Dim, tuple, ndarray or Graph"
#: effects whose first operand is the variable they act on
_ON_VARIABLE = ("read", "write")


def verify(graph: Graph) -> None:
    """Raise VerifyError, naming graph, node, rule and the user's line, unless the graph keeps every rule:

    `inputs`: named, each name once. `source`: every node has its place in the user's program. `op`: registered.
    `operands`: as many as the op takes. `attributes`: known, complete, of kinds that the text form has. `defined`:
    values are defined before use, once, in this graph. `types`: outputs are what the type rule gives. `variables`:
    variables are inputs and go only where the op wants one. `devices`: one device a node, except `copy`. `symbols`: a
    symbolic extent is an input's, or one of the run-time extents that an earlier node (or the node itself) defines;
    each is defined once. `outputs`: defined.

    Sub-graphs keep the same rules, and they are closed: they use nothing but their inputs, which are the node's operands.
    They may use the symbols of the graphs around them, and a name that is visible outside means the same inside: only the
    carried values of a loop's body bring new symbols, under new names.
    """
    _Verifier(graph, frozenset(), None).run()


class _Verifier:
    def __init__(self, graph: Graph, outer_symbols: frozenset[str], holder: Node | None) -> None:
        self.graph = graph
        self.symbols = outer_symbols | set(graph.symbols)
        self.holder = holder
        self.defined: set[Value] = set()
        self.seen: set[Node] = set()

    def run(self) -> None:
        self.check_inputs()
        for node in self.graph.nodes:
            self.check_source(node)
            self.check_op(node)
            self.check_attributes(node)
            self.check_operands(node)
            self.check_variables(node)
            self.check_types(node)
            before = frozenset(self.symbols)
            self.check_symbols(node)
            self.check_devices(node)
            self.define(node)
            for inner in node.subgraphs():
                self.check_own_symbols(node, inner, before)
                _Verifier(inner, before, node).run()
        for position, value in enumerate(self.graph.outputs):
            if value not in self.defined:
                self.fail("outputs", f"output {position} ({value!r}) is not defined in this graph")

    def fail(self, rule: str, message: str, node: Node | None = None) -> NoReturn:
        text = f"graph {self.graph.name!r} breaks the rule `{rule}`: {message}"
        if node is not None:
            text += f"\n  in {print_node(node, self.graph)}"
            if isinstance(node.source, Source) and node.source.file:
                text += f"\n  at {node.source}"
        raise VerifyError(text)

    def check_inputs(self) -> None:
        names: set[str] = set()
        for value in self.graph.inputs:
            if value.producer is not None:
                self.fail("inputs", f"the input {value.name!r} is the output of a node ({value.producer})")
            if not value.name or value.name in names:
                self.fail("inputs", f"the input name {value.name!r} is {'used twice' if value.name else 'empty'}")
            names.add(value.name)
            self.defined.add(value)

    def check_source(self, node: Node) -> None:
        source: Any = node.source
        if not isinstance(source, Source) or not source.file or source.line < 1:
            self.fail(
                "source",
                f"node {node.op.name} has no place in the user's program: {source!r}",
                node if source else None,
            )
        if any(other.also for other in source.also):
            self.fail("source", "merged sources must be flat; use merge_sources", node)

    def check_op(self, node: Node) -> None:
        if OPS.get(node.op.name) is not node.op:
            self.fail("op", f"{node.op.name!r} is not the registered op of that name", node)

    def check_attributes(self, node: Node) -> None:
        unknown = sorted(set(node.attributes) - set(node.op.attributes))
        if unknown:
            known = ", ".join(node.op.attributes) or "none"
            self.fail("attributes", f"{node.op.name} has no attribute {unknown[0]!r}; it has: {known}", node)
        missing = [name for name in node.op.attributes if name not in node.attributes]
        if missing:
            self.fail("attributes", f"{node.op.name} needs the attribute {missing[0]!r}", node)
        for name, value in node.attributes.items():
            wrong = _unprintable(value)
            if wrong is not None:
                kind = type(wrong).__name__
                self.fail("attributes", f"{name} holds a {kind}, which the text form does not have; {_CONVERT}", node)

    def check_operands(self, node: Node) -> None:
        least, count = len(node.op.operands) - node.op.variadic, len(node.inputs)
        if count < least or (count > least and not node.op.variadic):
            self.fail(
                "operands",
                f"{node.op.name} takes {least}{' or more' if node.op.variadic else ''} operands, got {count}",
                node,
            )
        for position, value in enumerate(node.inputs):
            if value not in self.defined:
                if any(value in n.outputs for n in self.graph.nodes):
                    where = "before it is defined"
                elif self.holder is None:
                    where = "of another graph"
                else:
                    where = f"of another graph; make it an operand of the {self.holder.op.name} node around this graph"
                self.fail("defined", f"operand {position} of {node.op.name} is a value used {where}: {value!r}", node)

    def check_variables(self, node: Node) -> None:
        kernel = node.op.kernel
        wants_variable = isinstance(kernel, Effect) and kernel.kind in _ON_VARIABLE
        if wants_variable and not (node.inputs and node.inputs[0].is_variable):
            self.fail("variables", f"{node.op.name} needs a variable as its first operand", node)
        holds_graph = any(True for _ in node.subgraphs())
        for position, value in enumerate(node.inputs):
            if value.is_variable and not holds_graph and not (wants_variable and position == 0):
                self.fail(
                    "variables",
                    f"operand {position} of {node.op.name} is the variable {value.name!r}; read it first",
                    node,
                )
        for value in node.outputs:
            if isinstance(value.type, VariableType):
                self.fail("variables", f"{node.op.name} yields a variable; only graph inputs are variables", node)

    def check_types(self, node: Node) -> None:
        declared = tuple(v.type for v in node.outputs)
        try:
            found = node.op.result_types(tuple(v.type for v in node.inputs), node.attributes)
        except DimensionsMustAgree as error:
            self.fail("types", f"{node.op.name} needs equal dims that are not known to be equal: {error}", node)
        except (GraphflowError, TypeError, ValueError, LookupError, AttributeError) as error:
            self.fail("types", f"the type rule of {node.op.name} rejects its operands: {error}", node)
        if declared != tuple(found):
            self.fail(
                "types", f"{node.op.name} declares {_show(declared)}, its type rule gives {_show(tuple(found))}", node
            )

    def check_symbols(self, node: Node) -> None:
        """The node's run-time extents are new and are its results'; the other symbols of its types and attributes are known."""
        for name in node.extents:
            if name in self.symbols:
                self.fail(
                    "symbols", f"{node.op.name} defines the run-time extent {name!r}, which is defined already", node
                )
            if not any(name in symbols_of(dim) for v in node.outputs for dim in v.type.shape):
                self.fail("symbols", f"no result of {node.op.name} has its run-time extent {name!r}", node)
            self.symbols |= {name}
        for value in node.outputs:
            for dim in value.type.shape:
                self.check_known(symbols_of(dim), f"of {value.type}", node)
        for name, attribute in node.attributes.items():
            self.check_known(_symbols_in(attribute), f"in {name}", node)

    def check_known(self, names: set[str], where: str, node: Node) -> None:
        unknown = names - self.symbols
        if unknown:
            known = ", ".join(sorted(self.symbols)) or "none"
            self.fail("symbols", f"the extent {min(unknown)!r} {where} is not among the inputs': {known}", node)

    def check_own_symbols(self, node: Node, inner: Graph, outer: frozenset[str]) -> None:
        """A loop's own symbols are no name of the graph around it, which would mean something else inside."""
        if not isinstance(node.op.kernel, Control) or node.op.kernel.kind != "while":
            return
        operands = {name for v in node.inputs for dim in v.type.shape for name in symbols_of(dim)}
        taken = sorted((set(inner.symbols) - operands) & outer)
        if taken:
            self.fail(
                "symbols",
                f"the extent {taken[0]!r} of the carried values of {inner.name!r} is a name of the graph around it, where it "
                "does not change",
                node,
            )

    def check_devices(self, node: Node) -> None:
        kernel = node.op.kernel
        if isinstance(kernel, Effect) and kernel.kind == "copy":
            return
        devices = dict.fromkeys(v.type.device for v in (*node.inputs, *node.outputs))
        if len(devices) > 1:
            self.fail("devices", f"{node.op.name} mixes devices {' and '.join(devices)}; only copy may", node)

    def define(self, node: Node) -> None:
        if node in self.seen:
            self.fail("defined", f"the node {node.op.name} is in the graph twice", node)
        self.seen.add(node)
        for position, value in enumerate(node.outputs):
            if value in self.defined or value.producer is not node or value.index != position:
                self.fail("defined", f"output {position} of {node.op.name} does not belong to it", node)
            self.defined.add(value)


def _show(types: tuple[TensorType, ...]) -> str:
    return f"({', '.join(map(str, types))})"


def _symbols_in(value: Any) -> set[str]:
    """The symbols of the dims in an attribute's value, sub-graphs left out."""
    if isinstance(value, SymbolicDim):
        return symbols_of(value)
    return set().union(*map(_symbols_in, value)) if isinstance(value, (tuple, list)) else set()


def _unprintable(value: Any) -> Any:
    """The part of an attribute's value that has no text form, or None. Python callables (of gf.py_function) are let
    through."""
    if isinstance(value, (tuple, list)):
        return next((wrong for wrong in map(_unprintable, value) if wrong is not None), None)
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and print_value(value).startswith("object")):
        return value
    if (
        value is None
        or isinstance(value, (bool, int, float, complex, str, DType, SymbolicDim, np.ndarray, Graph))
        or callable(value)
    ):
        return None
    return value
