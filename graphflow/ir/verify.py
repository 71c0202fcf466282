"""The verifier: every rule that a valid graph keeps. It runs after every pass in tests and with GRAPHFLOW_CHECK=1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, NoReturn

import numpy as np

from ..dtypes import DType
from ..errors import GraphflowError, VerifyError
from .dims import DimensionsMustAgree, SymbolicDim, symbols_of
from .graph import Graph, Node, Value
from .op import OPS, Effect
from .printer import print_node, print_value
from .source import Source
from .types import TensorType, VariableType

__all__ = ["EffectRecord", "check_effects_kept", "effect_sequence", "verify"]

#: effects whose first operand is the variable they act on
_CONVERT = "convert it to int, float, bool, str, None, DType, Dim, tuple, ndarray or Graph"
_ON_VARIABLE = ("read", "write")


def verify(graph: Graph) -> None:
    """Raise VerifyError, naming graph, node, rule and the user's line, unless the graph keeps every rule:

    `inputs`: named, each name once. `source`: every node has its place in the user's program. `op`: registered.
    `operands`: as many as the op takes. `attributes`: known, complete, of kinds that the text form has. `defined`:
    values are defined before use, once, in this graph. `types`: outputs are what the type rule gives. `variables`:
    variables are inputs and go only where the op wants one. `devices`: one device a node, except `copy`. `symbols`:
    symbolic extents come from the inputs. `outputs`: defined. Sub-graphs keep the same rules; they may use symbols of
    the graphs around them.
    """
    _Verifier(graph, frozenset()).run()


class _Verifier:
    def __init__(self, graph: Graph, outer_symbols: frozenset[str]) -> None:
        self.graph = graph
        self.symbols = outer_symbols | set(graph.symbols)
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
            self.check_devices(node)
            self.define(node)
            for inner in node.subgraphs():
                _Verifier(inner, self.symbols).run()
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
                where = (
                    "before it is defined" if any(value in n.outputs for n in self.graph.nodes) else "of another graph"
                )
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
        for value in node.outputs:
            for dim in value.type.shape:
                unknown = symbols_of(dim) - self.symbols
                if unknown:
                    known = ", ".join(sorted(self.symbols)) or "none"
                    self.fail(
                        "symbols",
                        f"the extent {min(unknown)!r} of {value.type} is not among the inputs': {known}",
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


# The order of effects -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EffectRecord:
    """One effect of a graph: kind, op, the variable's name ("" if none), source, and for a read the place of the write
    whose value it sees (None: the value at entry)."""

    kind: str
    op: str
    variable: str
    source: Source
    sees: Source | None = None

    @property
    def place(self) -> tuple[str, str, Source]:
        """What stays the same when a pass rebuilds the node."""
        return self.op, self.variable, self.source.all()[0]

    def __str__(self) -> str:
        return f"{self.op} {self.variable}".rstrip() + f" at {self.source}"


def effect_sequence(graph: Graph) -> tuple[EffectRecord, ...]:
    """The effects in program order, those of sub-graphs (branches, bodies, fused groups) where their node stands."""
    records: list[EffectRecord] = []
    written: dict[str, Source] = {}

    def walk(graph: Graph, name_of: Mapping[Value, str]) -> None:
        for node in graph.nodes:
            kernel = node.op.kernel
            if isinstance(kernel, Effect) and kernel.kind not in ("copy", "constant"):
                variable = next((name_of[v] for v in node.inputs if v.is_variable and v in name_of), "")
                sees = written.get(variable) if kernel.kind == "read" else None
                records.append(EffectRecord(kernel.kind, node.op.name, variable, node.source, sees))
                if kernel.kind == "write":
                    written[variable] = node.source.all()[0]
            for inner in node.subgraphs():
                walk(inner, _inner_names(node, inner, name_of))

    walk(graph, {v: v.name for v in graph.inputs if v.is_variable})
    return tuple(records)


def _inner_names(node: Node, inner: Graph, name_of: Mapping[Value, str]) -> dict[Value, str]:
    """Names of a sub-graph's variables: the k-th variable inside is the k-th variable operand of the node."""
    own = [v for v in inner.inputs if v.is_variable]
    outer = [v for v in node.inputs if v.is_variable]
    if len(own) == len(outer):
        return {a: name_of.get(b, b.name) for a, b in zip(own, outer, strict=True)}
    return {v: v.name for v in own}


def check_effects_kept(before: tuple[EffectRecord, ...], after: tuple[EffectRecord, ...]) -> None:
    """Raise VerifyError unless `after` does the same as `before`:

    - prints, asserts, calls ... are the same in the same order;
    - each variable's writes keep their order, and its last one stays (an overwritten one may go, a write may move past
      effects on other things);
    - each read sees the write that it saw before (it may be dropped, or merged with another that sees the same).
    """
    _check_same(
        "effects", [r for r in before if r.kind not in _ON_VARIABLE], [r for r in after if r.kind not in _ON_VARIABLE]
    )
    for variable in dict.fromkeys(r.variable for r in (*before, *after) if r.kind == "write"):
        old = [r for r in before if r.kind == "write" and r.variable == variable]
        new = [r for r in after if r.kind == "write" and r.variable == variable]
        _check_same(f"last writes of {variable!r}", old[-1:], new[-1:])
        rest = iter(old)
        for record in new:
            if not any(record.place == other.place for other in rest):
                raise VerifyError(
                    f"the order of effects changed: {record} is new, or comes later than the writes after it did"
                )
    seen: dict[tuple[str, str, Source], set[Source | None]] = {}
    for record in before:
        if record.kind == "read":
            seen.setdefault(record.place, set()).add(record.sees)
    for record in after:
        if record.kind == "read" and record.sees not in seen.get(record.place, ()):
            shown = f"the write at {record.sees}" if record.sees else "the value at entry"
            raise VerifyError(f"the order of effects changed: {record} sees {shown}, which it did not before")


def _check_same(what: str, before: list[EffectRecord], after: list[EffectRecord]) -> None:
    for old, new in zip_longest(before, after):
        if old is None or new is None or old.place != new.place:
            raise VerifyError(
                f"the order of effects changed: among the {what} expected {old or 'no more'}, found {new or 'no more'}"
            )
