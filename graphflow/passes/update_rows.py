"""Update rows: a variable that changes by a dense array which is zero but for a few rows is updated in these rows only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..dtypes import float32, float64
from ..ir.dims import product
from ..ir.graph import Graph, Node, Value
from ..ir.op import Control, Effect, Pointwise
from ..ir.types import CPU
from .manager import PassContext
from .rewriting import Rewriter

__all__ = ["rows_last", "update_rows"]


@dataclass
class _Match:
    """array `operation` change, where the dense nodes compute the change from scatters; shape: of the variable."""

    operation: str
    array: Value
    change: Value
    scatters: list[Node]
    dense: set[Node]


def update_rows(graph: Graph, context: PassContext) -> Graph:
    """The step of an embedding table (a gather's gradient times a rate, subtracted from the variable):

    %g = scatter_add k, rows; %d = multiply %g, rate; %w = subtract table, %d; assign_variable t, %w
      ->  %s = row_sums k, rows, k; %d = multiply %s, rate; %n = subtract (gather table, k), %d
          %w = update_rows table, k, %n, (multiply 0.0, rate); assign_variable t, %w

    In the other rows the change is what the nodes between make of 0.0, a number that update_rows gets: where it is +0.0 and
    subtracted (-0.0 and added) they keep their bits, x - 0.0 is x for -0.0, infinities and NaN too; else (a negative or infinite
    rate) the dense pass is made. Done only where nothing else uses the dense arrays.
    """
    if not any(node.op.name == "scatter_add" for node in graph.nodes):
        return graph
    if any(isinstance(node.op.kernel, Control) for node in graph.nodes):
        return graph
    uses: dict[Value, int] = {}
    for value in [v for node in graph.nodes for v in node.inputs] + list(graph.outputs):
        uses[value] = uses.get(value, 0) + 1
    matches: dict[Node, _Match] = {}
    for node in graph.nodes:
        found = _match(node, uses)
        if found is not None and context.spend("update_rows", node.source):
            producer = node.inputs[1].producer
            assert producer is not None
            matches[producer] = found
    if not matches:
        return graph
    dropped = {node for m in matches.values() for node in m.dense}
    rewriter = Rewriter(context, graph)
    for node in graph.nodes:
        if node in matches:
            rewriter.mapping[node.output] = _rewritten(node, matches[node], rewriter)
        elif node not in dropped:
            rewriter.keep(node, rewriter.with_new_inputs(node))
    return rewriter.finish()


def _match(assign: Node, uses: dict[Value, int]) -> _Match | None:
    if not isinstance(assign.op.kernel, Effect) or assign.op.kernel.kind != "write":
        return None
    variable, value = assign.inputs
    last = value.producer
    if last is None or last.op.name not in ("subtract", "add") or uses[value] != 1 or value.type.device != CPU:
        return None
    if value.type.dtype not in (float32, float64) or value.type.rank == 0:
        return None
    orders = [last.inputs] if last.op.name == "subtract" else [last.inputs, last.inputs[::-1]]
    for array, change in orders:
        read = array.producer
        if read is None or read.op.name != "read_variable" or read.inputs[0] is not variable:
            continue
        match = _Match(last.op.name, array, change, [], set())
        if _is_sparse(change, match, uses, value) and match.scatters:
            return match
    return None


def _is_sparse(value: Value, match: _Match, uses: dict[Value, int], like: Value) -> bool:
    """Is the array made of scatters and numbers by elementwise ops, used here only?"""
    node = value.producer
    if value.type.shape != like.type.shape or value.type.dtype is not like.type.dtype or node is None:
        return False
    if node in match.dense:  # met before: all its uses are counted below
        return True
    if uses[value] != 1:
        return False
    if node.op.name == "scatter_add":
        if node.inputs[0].type.rank == 0:
            return False
        match.scatters.append(node)
    elif isinstance(node.op.kernel, Pointwise) and len(node.outputs) == 1:
        for operand in node.inputs:
            if operand.type.rank != 0 and not _is_sparse(operand, match, uses, like):
                return False
    else:
        return False
    match.dense.add(node)
    return len({v.inputs[0].type.dtype for v in match.scatters}) <= 1


def _rewritten(node: Node, match: _Match, rewriter: Rewriter) -> Value:
    mapping = rewriter.mapping
    rest = node.output.type.shape[1:]
    indices, updates = [], []
    for scatter in match.scatters:
        places, rows = (mapping.get(v, v) for v in scatter.inputs)
        count = product(places.type.shape)
        if places.type.rank != 1:
            places = rewriter.make("reshape", (places,), {"shape": (count,)}, scatter)
            rows = rewriter.make("reshape", (rows,), {"shape": (count, *rest)}, scatter)
        indices.append(places)
        updates.append(rows)
    wanted = indices[0] if len(indices) == 1 else rewriter.make("concat", indices, {"axis": 0}, node)
    compact: dict[Value, Value] = {}
    number: dict[Value, Value] = {}
    zero = np.zeros((), node.output.type.dtype.numpy)
    zero.flags.writeable = False
    for scatter, places, rows in zip(match.scatters, indices, updates, strict=True):
        attributes = {"rows": node.output.type.shape[0]}
        compact[scatter.output] = rewriter.make("row_sums", (places, rows, wanted), attributes, scatter)
        number[scatter.output] = rewriter.make("constant", (), {"value": zero}, scatter)
    change = _again(match.change, compact, match, rewriter)
    others = _again(match.change, number, match, rewriter)
    array = mapping.get(match.array, match.array)
    old = rewriter.make("gather", (array, wanted), {"axis": 0, "batch_dims": 0}, node)
    operands = (old, change) if match.operation == "subtract" or node.inputs[0] is match.array else (change, old)
    new = rewriter.make(match.operation, operands, {}, node)
    return rewriter.make("update_rows", (array, wanted, new, others), {"operation": match.operation}, node)


def _again(value: Value, made: dict[Value, Value], match: _Match, rewriter: Rewriter) -> Value:
    """The elementwise nodes once more, on what stands for the scatters."""
    if value not in made:
        node = value.producer
        if node not in match.dense:
            return rewriter.mapping.get(value, value)
        operands: Sequence[Value] = [_again(v, made, match, rewriter) for v in node.inputs]
        made[value] = rewriter.make(node.op.name, operands, node.attributes, node)
    return made[value]


def rows_last(graph: Graph, context: PassContext) -> Graph:
    """Move updates of rows behind everything else but writes: a variable's rows are written where they lie, when nothing reads the
    old ones any more and nothing can fail. Spends no fuel: memory is planned for this order."""
    late = [node for node in graph.nodes if node.op.name == "update_rows"]
    if not late:
        return graph
    behind = set(late)
    for node in graph.nodes:  # what follows from them, if anything does, stays behind them
        if any(v.producer in behind for v in node.inputs):
            behind.add(node)
    first = [n for n in graph.nodes if n not in behind and not _is_write(n)]
    last = [n for n in graph.nodes if n not in behind and _is_write(n)]
    nodes = [*first, *(n for n in graph.nodes if n in behind and not _is_write(n)), *last]
    nodes += [n for n in graph.nodes if n in behind and _is_write(n)]
    return graph if nodes == list(graph.nodes) else graph.replace(nodes)


def _is_write(node: Node) -> bool:
    return isinstance(node.op.kernel, Effect) and node.op.kernel.kind == "write"
