"""Making a loop, branch or call save values: its node in the trace is replaced by one with more results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import int32
from ..ir.dims import symbol
from ..ir.graph import Graph, Node, Value
from ..ir.op import OPS
from ..ir.types import TensorType
from ..ops.control import call_results, switch_results, while_results
from .joint import Joint
from .record import ControlRecord

__all__ = ["inductions_of", "make_it_return", "make_it_save", "number_of"]


def inductions_of(joint: Joint, carried: int) -> dict[int, Value]:
    """Integers that grow by the same amount at each iteration: input number -> the amount, an invariant or constant."""
    found = {}
    fixed = {t._value for t in joint.inputs[carried:]}
    for k in range(carried):
        after, inside = joint.outputs[k]._value.producer, joint.inputs[k]._value
        if not inside.type.dtype.is_integer or inside.type.shape or after is None or after.op.name != "add":
            continue
        if inside in after.inputs:
            step = after.inputs[1 - after.inputs.index(inside)]
            if step in fixed or (step.producer is not None and step.producer.op.name == "constant"):
                found[k] = step
    return found


def number_of(tensor: Any) -> int | None:
    """The value of an integer constant."""
    node = (tensor if isinstance(tensor, Value) else tensor._trace.origin(tensor._value)).producer
    if node is None or node.op.name != "constant":
        return None
    value = node.attributes["value"]
    return int(value) if value.shape == () and value.dtype.kind in "iu" else None


def make_it_save(record: ControlRecord, saving: Any, saved: list[Value]) -> None:
    """Replace the `while` node by one that also puts the saved values into stacks, a row for each iteration. Its first
    results are the old node's, the same values, so that everything that uses them stays as it is."""
    home, joint, carried = record.outputs[0]._trace, saving.joint, saving.carried
    body, most = record.attributes["body"], record.attributes["most"]
    bound = body.metadata.get("bound", "")
    rows = most if bound in ("exact", "tight") else None
    counter = next(
        (k for k, v in saving.inductions.items() if number_of(record.inputs[k]) == 0 and number_of(v) == 1), None
    )
    before = len(home.builder.nodes)
    with home.tracing():
        starts = [] if counter is not None else [home.lift(OPS["constant"](value=np.zeros((), np.int32)))]
        for value in saved:
            zero = OPS["constant"](value=np.zeros((), value.type.dtype.numpy))
            starts.append(OPS["broadcast_to"](zero, shape=(0 if rows is None else rows, *value.type.shape)))
        if bound == "exact" and most is not None:
            saving.count = home.dimension(most, int32)
    made = home.builder.nodes[before:]
    del home.builder.nodes[before:]
    inputs = [t._value for t in joint.inputs]
    nodes, extra, results = joint.forward_nodes(saved), list[Value](), list[Value]()
    source = record.source.as_backward()
    if counter is None:
        place = Value(starts[0].type, name="iteration")
        one = Node(OPS["constant"], (), {"value": np.ones((), np.int32)}, source)
        after = Node(OPS["add"], (place, one.output), {}, source)
        nodes += [one, after]
        extra.append(place)
        results.append(after.output)
    else:
        place = inputs[counter]
    for value, start in zip(saved, starts[len(extra) :], strict=True):
        type = start.type if rows is not None else start.type.with_shape((home.new_extent("k"), *start.dims[1:]))
        stack = Value(type, name="saved")
        operands = (stack, value) if rows is None else (stack, place, value)
        nodes.append(Node(OPS["append_row" if rows is None else "update_row"], operands, {}, source))
        extra.append(stack)
        results.append(nodes[-1].output)
    attributes = {
        "condition": _widened(record.attributes["condition"], carried, extra),
        "body": Graph(
            body.name,
            tuple(_named([*inputs[:carried], *extra, *inputs[carried:]])),
            tuple(nodes),
            (*(t._value for t in joint.outputs), *results),
            body.metadata,
        ),
        "carried": carried + len(extra),
        "most": most,
    }
    new = _replace(record, (*record.inputs[:carried], *starts, *record.inputs[carried:]), attributes, made)
    stacks = new if counter is not None else new[1:]
    saving.stacks = dict(zip(saved, stacks, strict=True))
    if saving.count is None:
        saving.count = new[0] if counter is None else record.outputs[counter]


def make_it_return(
    record: ControlRecord, joints: Sequence[Any], saved: Sequence[Sequence[Value]]
) -> list[dict[Value, Any]]:
    """Replace a `switch` or `call` node by one that also returns the saved values of its graphs: a result for each, zeros where
    another branch runs. Returns for each graph: saved value -> the result."""
    if not any(saved):
        return [{} for _ in saved]
    one = "function" in record.attributes
    old = (record.attributes["function"],) if one else record.attributes["branches"]
    graphs = []
    for number, (graph, joint) in enumerate(zip(old, joints, strict=True)):
        built = joint.trace.builder.nodes
        before, extra = len(built), list[Value]()
        with joint.trace.tracing():
            for other, values in enumerate(saved):
                extra += values if other == number else [_zeros(v.type)._value for v in values]
        filler = built[before:]
        del built[before:]
        nodes = (*joint.forward_nodes(saved[number]), *filler)
        inputs = tuple(_named([t._value for t in joint.inputs]))
        outputs = (*(t._value for t in joint.outputs), *extra)
        graphs.append(Graph(graph.name, inputs, nodes, outputs, graph.metadata))
    changed = {"function": graphs[0]} if one else {"branches": tuple(graphs)}
    new = iter(_replace(record, record.inputs, {**record.attributes, **changed}, []))
    return [{value: next(new) for value in values} for values in saved]


def _zeros(type: TensorType) -> Any:
    zero = OPS["constant"](value=np.zeros((), type.dtype.numpy))
    return OPS["broadcast_to"](zero, shape=type.shape) if type.shape else zero


def _replace(
    record: ControlRecord, operands: tuple[Any, ...], attributes: dict[str, Any], before: list[Node]
) -> list[Any]:
    """Put a node with more results in the place of the record's, with the nodes that it needs before it; tell the tapes.
    Returns the new results."""
    home = record.outputs[0]._trace
    old: Node = record.outputs[0]._value.producer
    used = iter(old.extents)
    extents: list[str] = []

    def fresh() -> Any:
        name = next(used, None)
        dim = symbol(name) if name is not None else home.new_extent()
        extents.append(dim.text)
        return dim

    if old.op.name == "while":
        while_results(tuple(t.type for t in operands), attributes["body"], attributes["carried"], fresh)
    elif old.op.name == "switch":
        switch_results(attributes["branches"], fresh)
    else:
        call_results(attributes["function"], fresh)
    attributes = {**attributes, "extents": tuple(extents)}
    node = Node(old.op, [t._value for t in operands], attributes, old.source)
    node.device = old.device
    for value in old.outputs:
        value.producer = node
    node.outputs = (*old.outputs, *node.outputs[len(old.outputs) :])
    position = home.builder.nodes.index(old)
    home.builder.nodes[position : position + 1] = [*before, node]
    new: list[Any] = home.tensors(node.outputs[len(old.outputs) :])
    home.register_extents(new, extents[len(old.extents) :])
    record.inputs, record.attributes = operands, node.attributes
    record.outputs = (*record.outputs, *new)
    for tape in record.holders:
        tape.connect_results(new)
    return new


def _widened(graph: Graph, position: int, like: Sequence[Value]) -> Graph:
    """A graph with more inputs, which it does not use."""
    extra = [Value(v.type, name=v.name) for v in like]
    inputs = _named([*graph.inputs[:position], *extra, *graph.inputs[position:]])
    return Graph(graph.name, tuple(inputs), graph.nodes, graph.outputs, graph.metadata)


def _named(values: list[Value]) -> list[Value]:
    """The values, each with a name of its own."""
    taken: set[str] = set()
    for value in values:
        name, count = value.name, 1
        while name in taken:
            name, count = f"{value.name}_{count}", count + 1
        value.name = name
        taken.add(name)
    return values
