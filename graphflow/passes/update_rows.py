"""Update rows: a table that changes by an elementwise function of arrays that are zero but for a few rows is updated in these rows
only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..dtypes import DType, float32, float64, int64
from ..ir.dims import product
from ..ir.graph import Graph, Node, Value
from ..ir.op import Effect, Pointwise
from ..ir.types import CPU, TensorType
from ..ir.walks import observable
from .control_structure import is_immediate
from .manager import PassContext
from .rewriting import Rewriter, constant_value, holds, with_subgraphs

__all__ = ["rows_last", "update_rows"]


@dataclass(eq=False)
class _Number:
    """One number for all elements of the rows that no scatter names: a constant, a value of the graph, or an op of numbers."""

    dtype: DType
    constant: Any = None
    value: Value | None = None
    node: Node | None = None
    operands: Sequence[_Number] = ()


@dataclass(eq=False)
class _Untouched:
    """What the rows that no scatter names hold: those of `array`, with `rest` added to or subtracted from them if there is one."""

    array: Value
    operation: str = ""
    rest: _Number | None = None


@dataclass(eq=False)
class _Match:
    """A table and its new value. scatters: what makes the changing rows; dense: the elementwise nodes between them and the new
    value; untouched: the table again, and how the other rows change."""

    table: Value
    new: Value
    scatters: dict[Node, None] = field(default_factory=dict)
    dense: dict[Node, None] = field(default_factory=dict)
    untouched: _Untouched | None = None


def update_rows(graph: Graph, context: PassContext) -> Graph:
    """The step of an embedding table (a gather's gradient times a rate, subtracted from the variable):

    %g = scatter_add k, rows; %d = multiply %g, rate; %w = subtract table, %d; assign_variable t, %w
      ->  %s = row_sums k, rows, k; %d = multiply %s, rate; %n = subtract (gather table, k), %d
          %w = update_rows table, k, %n, (multiply 0.0, rate); assign_variable t, %w

    In the other rows each scatter is 0.0. Where the table comes out of that as it was (a choice: where(g == 0, table, ...)), or with
    one number added to it or subtracted from it, the nodes are made for the rows alone. update_rows looks at the number: where it
    is +0.0 and subtracted (-0.0 and added) the other rows keep their bits, x - 0.0 is x for -0.0, infinities and NaN too; else (a
    negative or infinite rate) the dense pass is made. Other arrays that take part (an accumulator) are read at the rows. Done only
    where nothing else uses the dense arrays; in the bodies of loops, for the arrays that they carry, too.
    """
    graph = with_subgraphs(update_rows, graph, context)
    graph = _in_bodies(graph, context)
    tables = []
    if not is_immediate(graph):
        reads = {n.inputs[0]: n.output for n in graph.nodes if n.op.name == "read_variable"}
        others = {v for n in graph.nodes if not _is(n, "read", "write") for v in n.inputs if v.is_variable}
        for node in graph.nodes:
            if _is(node, "write") and node.inputs[0] in reads and node.inputs[0] not in others:
                tables.append((reads[node.inputs[0]], node.inputs[1]))
    return _updated(graph, tables, context)


def _in_bodies(graph: Graph, context: PassContext) -> Graph:
    """The graph with the arrays that its loops carry updated by rows."""
    changed: dict[Node, Graph] = {}
    for node in graph.nodes:
        if node.op.name == "while":
            body, carried = node.attributes["body"], node.attributes["carried"]
            new = _updated(body, list(zip(body.inputs[:carried], body.outputs, strict=False)), context)
            if new is not body:
                changed[node] = new
    if not changed:
        return graph
    rewriter = Rewriter(context, graph)
    for node in graph.nodes:
        current = rewriter.with_new_inputs(node)
        if node in changed:
            attributes = {**node.attributes, "body": changed[node]}
            current = Node(node.op, current.inputs, attributes, node.source, [v.type for v in node.outputs])
        rewriter.keep(node, current)
    return rewriter.finish()


def _updated(graph: Graph, tables: Sequence[tuple[Value, Value]], context: PassContext) -> Graph:
    """The graph with the given (table, new value) updated by rows where they can be."""
    if not any(node.op.name in ("scatter_add", "scatter_add_into") for node in graph.nodes):
        return graph
    watched = [node for node, own in zip(graph.nodes, observable(graph.nodes), strict=True) if own]
    found = [match for table, new in tables if (match := _match(table, new, context)) is not None]
    matches = {
        match.new.producer: match
        for match in _used_here_only(graph, found)
        if _keeps_order(match, watched) and context.spend("update_rows", match.new.producer.source)  # type: ignore[union-attr]
    }
    # fuel may have stopped in the midst of matches that need each other
    kept = {id(match) for match in _used_here_only(graph, list(matches.values()))}
    matches = {node: match for node, match in matches.items() if id(match) in kept}
    if not matches:
        return graph
    dropped = {node for match in matches.values() for node in _touched(match)}
    rewriter = Rewriter(context, graph)
    rows = _Rows(rewriter)
    for node in graph.nodes:
        if node in matches:
            rewriter.mapping[node.output] = rows.update(node, matches[node])
        elif node not in dropped:
            rewriter.keep(node, rewriter.with_new_inputs(node))
    return rewriter.finish()


# What changes in a few rows -------------------------------------------------------------------------------------------
def _match(table: Value, new: Value, context: PassContext) -> _Match | None:
    kind, last = new.type, new.producer
    if last is None or kind.rank == 0 or kind.device != CPU or not kind.dtype.is_floating or table.type != kind:
        return None
    match = _Match(table, new)
    if not _visit(new, match) or not match.scatters or last not in match.dense:
        return None
    counts = [node.inputs[-2].type.elements for scatter in match.scatters for node in _chain(scatter)]
    known = [count for count in counts if isinstance(count, int)]
    if isinstance(kind.shape[0], int) and len(known) == len(counts) and sum(known) >= kind.shape[0]:
        return None  # as many rows as the table has
    untouched = _untouched(new, match, {}, context)
    if not isinstance(untouched, _Untouched) or untouched.array is not table:
        return None
    match.untouched = untouched
    return match


def _visit(value: Value, match: _Match) -> bool:
    """Follow a value of the table's shape to scatters and other arrays. False: its rows cannot be computed by themselves."""
    node, shape = value.producer, match.new.type.shape
    if value.type.rank < len(shape) or value.type.shape[0] == 1 or _spread(value) is not None:
        return shape[0] != 1  # the same for each row
    if value.type.shape != shape:
        return False
    if node is None or node in match.dense or node in match.scatters:
        return True
    if _is_scatter(node):
        match.scatters[node] = None
    elif isinstance(node.op.kernel, Pointwise) and len(node.outputs) == 1 and not node.op.fallible:
        inner = _Match(match.table, match.new, dict(match.scatters), dict(match.dense))
        if all(_visit(operand, inner) for operand in node.inputs):
            match.scatters, match.dense = inner.scatters, inner.dense
            match.dense[node] = None
    return True  # else an array, which is there anyway


def _is_scatter(node: Node) -> bool:
    """scatter_add, or rows added one by one to zeros or to one."""
    if node.op.name == "scatter_add":
        return node.inputs[0].type.rank != 0 and node.output.type.dtype in (float32, float64)
    if node.op.name != "scatter_add_into" or node.output.type.dtype not in (float32, float64):
        return False
    base = node.inputs[0]
    spread = _spread(base)
    if spread is not None:
        array = constant_value(spread)
        return array is not None and holds(array.reshape(()), 0.0, base.type.dtype)
    return base.producer is not None and _is_scatter(base.producer)


def _spread(value: Value) -> Value | None:
    """The scalar that a value repeats."""
    node = value.producer
    if node is not None and node.op.name == "broadcast_to" and node.inputs[0].type.rank == 0:
        return node.inputs[0]
    return None


def _untouched(
    value: Value, match: _Match, known: dict[Value, _Number | _Untouched | None], context: PassContext
) -> _Number | _Untouched | None:
    """What a value is in the rows that no scatter names, where all scatters are 0.0; None: neither a number nor the table."""
    if value not in known:
        known[value] = _found(value, match, known, context)
    return known[value]


def _found(value: Value, match: _Match, known: Any, context: PassContext) -> _Number | _Untouched | None:
    node, dtype = value.producer, value.type.dtype
    scalar = value if value.type.rank == 0 else _spread(value)
    if scalar is not None:
        return _Number(dtype, constant_value(scalar), scalar)
    if node in match.scatters:
        return _Number(dtype, np.zeros((), dtype.numpy))
    if node not in match.dense:
        return _Untouched(value)
    operands = [_untouched(operand, match, known, context) for operand in node.inputs]
    numbers = [operand for operand in operands if isinstance(operand, _Number)]
    if len(numbers) == len(operands):
        constant = None
        if context.evaluate is not None and all(number.constant is not None for number in numbers):
            inputs = [Value(TensorType(number.dtype, ())) for number in numbers]
            scalar_node = Node(node.op, inputs, node.attributes, node.source)
            constant = context.evaluate(scalar_node, [number.constant for number in numbers])[0]
        return _Number(dtype, constant, None, node, numbers)
    name, first = node.op.name, operands[0]
    if name == "select" and isinstance(first, _Number) and first.constant is not None:
        return operands[1 if bool(first.constant) else 2]
    if name == "cast" and isinstance(first, _Untouched):
        own = first.array.type.dtype
        if first.rest is not None:  # computed in float32, and rounded back
            return first if own.is_narrow and dtype is own else None
        exact = dtype is own or own.is_narrow and dtype in (float32, float64) or own is float32 and dtype is float64
        return first if exact else None
    if name in ("add", "subtract"):
        left, right = operands
        if name == "add" and isinstance(left, _Number):
            left, right = right, left
        if isinstance(left, _Untouched) and left.rest is None and isinstance(right, _Number):
            return _Untouched(left.array, name, right) if dtype is _computed_in(left.array.type.dtype) else None
    return None


def _computed_in(dtype: DType) -> DType:
    return float32 if dtype.is_narrow else dtype


def _touched(match: _Match) -> list[Node]:
    """The nodes of a match that depend on its scatters, and these with the rows they consist of."""
    found = dict.fromkeys(node for scatter in match.scatters for node in _chain(scatter))
    for node in match.dense:  # operands come first
        if any(v.producer in found for v in node.inputs):
            found[node] = None
    return list(found)


def _chain(scatter: Node) -> list[Node]:
    """A scatter and those that it adds rows to, first to last."""
    before = scatter.inputs[0].producer if scatter.op.name == "scatter_add_into" else None
    return [*(_chain(before) if before is not None and _is_scatter(before) else ()), scatter]


def _used_here_only(graph: Graph, matches: list[_Match]) -> list[_Match]:
    """The matches whose dense arrays nothing but they themselves use."""
    uses: dict[Value, list[Node | None]] = {}
    for node in graph.nodes:
        for value in node.inputs:
            uses.setdefault(value, []).append(node)
    for value in graph.outputs:
        uses.setdefault(value, []).append(None)
    while True:
        inside = {node for match in matches for node in _touched(match)}
        ends = {match.new for match in matches}

        def fits(match: _Match, inside: set[Node] = inside, ends: set[Value] = ends) -> bool:
            if sum(user not in inside for user in uses[match.new]) != 1:  # the write, or the body's result
                return False
            others = [node.output for node in _touched(match) if node.output not in ends]
            return all(user in inside for value in others for user in uses.get(value, ()))

        left = [match for match in matches if fits(match)]
        if len(left) == len(matches):
            return left
        matches = left


def _keeps_order(match: _Match, watched: Sequence[Node]) -> bool:
    """May the scatters' checks move to the place where the rows are updated? They have been made before, when the rows were looked
    up, or nothing else that can be observed follows the first one that has not."""
    scatters = {node for scatter in match.scatters for node in _chain(scatter)}
    own = [k for k, node in enumerate(watched) if node in scatters]
    return not own or len(watched) - own[0] == len(own)


# The rows -------------------------------------------------------------------------------------------------------------
class _Rows:
    """Makes the nodes of matches once more, for the rows that their scatters name; what matches share is made once."""

    def __init__(self, rewriter: Rewriter) -> None:
        self.rewriter = rewriter
        self._wanted: dict[tuple[Node, ...], Value] = {}
        self._made: dict[tuple[tuple[Node, ...], Value], Value] = {}

    def update(self, node: Node, match: _Match) -> Value:
        """The table with its rows updated."""
        key = tuple(match.scatters)
        if key not in self._wanted:
            self._begin(key, node)
        untouched, dtype = match.untouched, _computed_in(node.output.type.dtype)
        assert untouched is not None
        new = self._again(match.new, key, match, node)
        operation = untouched.operation or "add"
        rest = _Number(dtype, -np.zeros((), dtype.numpy)) if untouched.rest is None else untouched.rest
        table = self.rewriter.mapping.get(match.table, match.table)
        operands = (table, self._wanted[key], new, self._number(rest, node))
        return self.rewriter.make("update_rows", operands, {"operation": operation}, node)

    def _begin(self, scatters: tuple[Node, ...], origin: Node) -> None:
        """The numbers of the rows, and the scatters' sums for these."""
        rewriter, parts = self.rewriter, [self._parts(scatter) for scatter in scatters]
        kinds = {places.type.dtype for places, _ in parts}
        if len(kinds) > 1:
            parts = [(self._cast(places, int64, origin), rows) for places, rows in parts]
        indices = [places for places, _ in parts]
        wanted = indices[0] if len(indices) == 1 else rewriter.make("concat", indices, {"axis": 0}, origin)
        self._wanted[scatters] = wanted
        for scatter, (places, rows) in zip(scatters, parts, strict=True):
            attributes = {"rows": scatter.output.type.shape[0]}
            self._made[scatters, scatter.output] = rewriter.make(
                "row_sums", (places, rows, wanted), attributes, scatter
            )

    def _parts(self, scatter: Node) -> tuple[Value, Value]:
        """Indices of rank 1 and the rows that go there, in the order in which they are added up."""
        rest = scatter.output.type.shape[1:]
        found = []
        for node in _chain(scatter):
            places, rows = (self.rewriter.mapping.get(v, v) for v in node.inputs[-2:])
            count = product(places.type.shape)
            if places.type.rank != 1:
                places = self.rewriter.make("reshape", (places,), {"shape": (count,)}, node)
                rows = self.rewriter.make("reshape", (rows,), {"shape": (count, *rest)}, node)
            found.append((places, rows))
        if len(found) == 1:
            return found[0]
        if len({places.type.dtype for places, _ in found}) > 1:
            found = [(self._cast(places, int64, scatter), rows) for places, rows in found]
        places, rows = (
            self.rewriter.make("concat", column, {"axis": 0}, scatter) for column in zip(*found, strict=True)
        )
        return places, rows

    def _cast(self, value: Value, dtype: DType, origin: Node) -> Value:
        return value if value.type.dtype is dtype else self.rewriter.make("cast", (value,), {"dtype": dtype}, origin)

    def _again(self, value: Value, key: tuple[Node, ...], match: _Match, origin: Node) -> Value:
        """A value of the table's shape, at the rows."""
        scalar = _spread(value)
        if scalar is not None:
            return self.rewriter.mapping.get(scalar, scalar)
        if value.type.shape != match.new.type.shape:
            return self.rewriter.mapping.get(value, value)
        if (key, value) not in self._made:
            node = value.producer
            if node in match.dense:
                operands = [self._again(v, key, match, origin) for v in node.inputs]
                made = self.rewriter.make(node.op.name, operands, node.attributes, node)
            else:
                array = self.rewriter.mapping.get(value, value)
                made = self.rewriter.make("gather", (array, self._wanted[key]), {"axis": 0, "batch_dims": 0}, origin)
            self._made[key, value] = made
        return self._made[key, value]

    def _number(self, number: _Number, origin: Node) -> Value:
        """A number as a value of rank 0."""
        if number.value is not None:
            return self.rewriter.mapping.get(number.value, number.value)
        if number.constant is not None or number.node is None:
            array = np.array(number.constant)
            array.flags.writeable = False
            return self.rewriter.make("constant", (), {"value": array}, origin)
        operands = [self._number(operand, origin) for operand in number.operands]
        return self.rewriter.make(number.node.op.name, operands, number.node.attributes, number.node)


# Order ----------------------------------------------------------------------------------------------------------------
def rows_last(graph: Graph, context: PassContext) -> Graph:
    """Move updates of rows behind everything else but writes: a table's rows are written where they lie, when nothing reads the
    old ones any more and nothing can fail. In a loop's body too. Spends no fuel: memory is planned for this order."""
    graph = with_subgraphs(rows_last, graph, context)
    late = [node for node in graph.nodes if node.op.name == "update_rows"]
    if not late or is_immediate(graph):
        return graph
    behind = set(late)
    for node in graph.nodes:  # what follows from them, if anything does, stays behind them
        if any(v.producer in behind for v in node.inputs):
            behind.add(node)
    first = [n for n in graph.nodes if n not in behind and not _is(n, "write")]
    last = [n for n in graph.nodes if n not in behind and _is(n, "write")]
    nodes = [*first, *(n for n in graph.nodes if n in behind and not _is(n, "write")), *last]
    nodes += [n for n in graph.nodes if n in behind and _is(n, "write")]
    return graph if nodes == list(graph.nodes) else graph.replace(nodes)


def _is(node: Node, *kinds: str) -> bool:
    return isinstance(node.op.kernel, Effect) and node.op.kernel.kind in kinds
