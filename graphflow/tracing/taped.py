"""Compiled functions called under a tape: a compiled forward part that keeps what the backward part reads, and a compiled
backward part, instead of running the graph op by op.

The first such call runs op by op and tells which results have gradients; from the second call on the pair is used. The two
parts are cut from one trace of the graph and its gradient, by the minimum cut that loops use too (autodiff/joint.py), and the
backward part continues the tape's sums, so that gradients have the bits of the op-by-op run. What the pair cannot do is left
to the graph's ops: several tapes at once, persistent tapes, accumulators (higher orders), Python calls, run-time extents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..autodiff.joint import Joint, is_float, walk_back
from ..autodiff.narrow import operands_of
from ..autodiff.record import CallRecord, Record, active_trace, record_access, recorders
from ..autodiff.tape import GradientTape
from ..errors import GraphflowError, NoGradientError, TapeError
from ..ir.dims import evaluate
from ..ir.graph import Graph, Value
from ..ir.op import OPS, Effect
from ..ir.source import Source, capture
from ..tensor import Tensor
from .fast_call import Leaf
from .interpret import Interpreter, replay_node, symbols_made
from .tracer import Trace

__all__ = ["call_under_tape", "stand_in"]

KEPT_READ = 1 << 16
"""Bytes up to which a variable's value is kept although the backward part does not need it (a derivative of higher order, or
why_none, may): copying so much takes some microseconds."""

KEPT_SHAPES = 64
"""Combinations of extents whose outputs' shapes are kept."""


@dataclass(eq=False)
class Taped:
    """What is known of a concrete function's calls under tapes. mask: which results had gradients at the last walk; None
    before the first. pairs: by (which inputs are connected, mask)."""

    refused: bool = False
    mask: tuple[bool, ...] | None = None
    pairs: dict[Any, Pair | None] = field(default_factory=dict)


def call_under_tape(concrete: Any, tensors: Sequence[Any], variables: Sequence[Any], extents: dict[str, int]) -> Any:
    """The outputs, with one record on the tape; None where the graph has to run op by op."""
    active = recorders.get()
    tape = active[0]
    if len(active) != 1 or type(tape) is not GradientTape or tape._persistent or active_trace() is not None:
        return None
    taped: Taped = concrete.__dict__.get("taped") or concrete.__dict__.setdefault("taped", Taped())
    if taped.refused:
        return None
    if taped.mask is None:
        if concrete.calls_python or any(True for _ in symbols_made(concrete.graph)):
            taped.refused = True
            return None
        outputs = concrete.interpret(tensors, variables)
        probes = [t for t in outputs if is_float(t)]
        if probes:
            tape.record(Probe(taped, outputs))
        return outputs
    held = dict(concrete.captured)
    picked = [variables[k] for k in concrete.variable_positions]
    held.update(zip(concrete.argument_variables, picked, strict=True))
    reads = [held[node.inputs[0]] for node in concrete.graph.nodes if _effect(node) == "read"]
    stand_ins = [stand_in(variable) for variable in reads]
    for variable, tensor in zip(reads, stand_ins, strict=True):
        record_access(variable, tensor)
    inputs = (*tensors, *stand_ins)
    connected = tuple(id(t) in tape._connected for t in inputs)
    key = (connected, taped.mask)
    if key not in taped.pairs:
        taped.pairs[key] = _make(concrete, connected, taped.mask)
    pair = taped.pairs[key]
    if pair is None:
        taped.refused = True
        return None
    results = _run(pair.forward, tensors, variables, extents)
    count = len(concrete.graph.outputs)
    outputs, kept = results[:count], results[count:]
    for position, array in zip(pair.kept_reads, kept[len(pair.saved_outputs) :], strict=True):
        stand_ins[position]._array = array._array
    for position, number in pair.saved_reads:
        stand_ins[position]._array = kept[number]._array
    tape.record(Call(concrete, taped, pair, inputs, tuple(outputs), kept[: len(pair.saved_outputs)], extents, reads))
    return outputs


def _run(concrete: Any, tensors: Sequence[Any], variables: Sequence[Any], extents: dict[str, int]) -> list[Any]:
    """The outputs of native code, without the structure: ConcreteFunction.run, with the outputs' shapes worked out once."""
    binding = concrete.binding(variables, extents)
    key = tuple(extents.values())
    table = concrete.__dict__.setdefault("taped_outputs", {})
    kinds = table.get(key)
    if kinds is None:
        values = concrete.executable.graph.outputs
        kinds = [(tuple(evaluate(d, extents) for d in v.type.shape), v.type.dtype.numpy, v.type.dtype) for v in values]
        if len(table) < KEPT_SHAPES:
            table[key] = kinds
    arrays = [t._array for t in tensors]
    outputs = [np.empty(shape, dtype) for shape, dtype, _ in kinds]
    status = binding.call(*arrays, *outputs)
    if status:
        raise concrete.error(binding, status, arrays, variables, extents)
    return [Tensor(array, kind[2]) for array, kind in zip(outputs, kinds, strict=True)]


def _effect(node: Any) -> str:
    return node.op.kernel.kind if isinstance(node.op.kernel, Effect) else ""


def stand_in(variable: Any) -> ReadTensor:
    """A tensor for a variable's value at the call; it gets the value where that is kept."""
    tensor = ReadTensor.__new__(ReadTensor)
    tensor.dtype, tensor._key, tensor.variable = variable.dtype, None, variable
    return tensor


class ReadTensor(Tensor):
    """The value that a variable had at a call; without an array where it was not kept."""

    __slots__ = ("variable",)
    variable: Any

    @property
    def dims(self) -> tuple[Any, ...]:
        return self.variable.dims

    @property
    def type(self) -> Any:
        return self.variable.type


class Probe(CallRecord):
    """Learns which results of a call get gradients."""

    def __init__(self, taped: Taped, outputs: Sequence[Any]) -> None:
        self.inputs = self.outputs = tuple(outputs)
        self.op, self.attributes, self.source = OPS["identity"], {}, capture()
        self.taped = taped

    def add_gradients(self, incoming: Sequence[Any], wanted: Sequence[bool], sums: Any) -> bool:
        """Look at the gradients, and leave the sums alone."""
        self.taped.mask = tuple(g is not None for g in incoming)
        return True

    def expanded(self) -> list[Record]:
        """No ops."""
        return []


class Call(CallRecord):
    """A call of a compiled function on a tape. inputs: its tensors, then the values of the variables it read."""

    op = OPS["call"]

    def __init__(
        self, concrete: Any, taped: Taped, pair: Pair, inputs: tuple[Any, ...], outputs: tuple[Any, ...],
        saved: Sequence[Any], extents: dict[str, int], variables: Sequence[Any],
    ) -> None:  # fmt: skip
        self.concrete, self.taped, self.pair, self.inputs, self.outputs = concrete, taped, pair, inputs, outputs
        self.saved, self.extents, self.variables = saved, extents, variables
        self.attributes: dict[str, Any] = {}
        self.source: Source = capture()

    def add_gradients(self, incoming: Sequence[Any], wanted: Sequence[bool], sums: Any) -> bool:
        """Add the gradients of the inputs to the sums, in native code. False: the ops have to do it."""
        self.taped.mask = tuple(g is not None for g in incoming)
        if recorders.get() or active_trace() is not None or self.taped.mask != self.pair.mask:
            return False
        positions = [k for k, w in enumerate(wanted) if w and is_float(self.inputs[k])]
        first: dict[int, int] = {}
        groups = {k: first.setdefault(sums.key(self.inputs[k]), k) for k in positions}
        begun = tuple(k for k in positions if groups[k] == k and sums.get(self.inputs[k]) is not None)
        backward = self.pair.backward(tuple(groups.items()), begun)
        if backward is None:
            return False
        tensors = [
            *(self.inputs[k] if k >= 0 else self.saved[-1 - k] for k in self.pair.places),
            *(g for g in incoming if g is not None),
            *(sums.get(self.inputs[k]) for k in begun),
        ]
        extents = {name: self.extents[name] for name in backward.function.symbols}
        found = _run(backward.function, tensors, (), extents)
        for k, total in zip(backward.results, found, strict=True):
            sums.set(self.inputs[k], total)
        return True

    def expanded(self) -> list[Record]:
        """The records of the graph's ops, run once more; the call's results come last, as copies of the ops'."""
        for tensor in self.inputs:
            if isinstance(tensor, ReadTensor) and not hasattr(tensor, "_array"):
                tensor._array = self._current(tensor)
        listener = _Listener()
        token = recorders.set((listener,))  # a tape opened since did not see these ops
        try:
            held: dict[Value, Any] = {}
            values = iter(self.inputs)
            graph = self.concrete.graph
            interpreter = Interpreter(with_effects=False)
            interpreter.extents.update(self.extents)
            for value in graph.inputs:
                if not value.is_variable:
                    held[value] = next(values)
            for node in graph.nodes:
                kind = _effect(node)
                if kind == "read":
                    held[node.output] = next(values)
                elif kind not in ("write", "print", "assert"):
                    results = interpreter.node(node, tuple(held[v] for v in node.inputs))
                    held.update(zip(node.outputs, results, strict=True))
        finally:
            recorders.reset(token)
        copies = [
            Record(OPS["identity"], (held[v],), (out,), {}, self.source)
            for v, out in zip(graph.outputs, self.outputs, strict=True)
        ]
        return [*listener.records, *copies]

    def _current(self, tensor: ReadTensor) -> Any:
        error = TapeError(
            f"the value that {tensor.variable.name} had when {self.concrete.name} was called is needed again, for a "
            f"derivative of higher order, and it was not kept ({tensor.variable.type})"
        )
        error.hint = "open the outer tape before the call, or use GradientTape(persistent=True)"
        if recorders.get():
            raise error
        return tensor.variable._array


class _Listener:
    """Keeps the records of ops."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def record(self, record: Any) -> None:
        self.records.append(record)

    def accessed(self, variable: Any, value: Any) -> None:
        """No variable is read here."""


# The pair -------------------------------------------------------------------------------------------------------------
@dataclass(eq=False)
class Backward:
    """A compiled backward part. results: which inputs its outputs are the sums of."""

    function: Any
    results: list[int]


@dataclass(eq=False)
class Pair:
    """The compiled forward part, and what backward parts are made of.

    mask: which results have gradients. saved: values of the joint trace that are kept; places: for each the number of the
    input it is, or -1 - its number among saved_outputs, the forward part's results after the function's own. saved_reads: (input
    number, number) of reads among saved_outputs; kept_reads: other reads that come after them.
    """

    joint: Joint
    tape: Any
    mask: tuple[bool, ...]
    name: str
    forward: Any = None
    saved: list[Value] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    saved_outputs: list[Value] = field(default_factory=list)
    saved_reads: list[tuple[int, int]] = field(default_factory=list)
    kept_reads: list[int] = field(default_factory=list)
    made: dict[Any, Backward | None] = field(default_factory=dict)

    def walked(self, groups: Sequence[tuple[int, int]], begun: Sequence[int]) -> Joint:
        """A joint with the sums after a walk back."""
        own = self.joint
        trace = own.trace
        joint = Joint(trace, own.inputs, set())
        joint.outputs, joint.cotangents = own.outputs, own.cotangents
        with trace.tracing():
            for k in begun:
                joint.partial[k] = trace.input(f"sum_{len(trace.builder.inputs)}", own.inputs[k].type)
            ends = {k: own.outputs[k] for k in own.cotangents}
            joint.totals = walk_back(joint, self.tape, ends, [k for k, _ in groups], joint.partial, dict(groups))
        return joint

    def backward(self, groups: tuple[tuple[int, int], ...], begun: tuple[int, ...]) -> Backward | None:
        """The backward part that adds to these sums; None if it needs what is not kept."""
        key = (groups, begun)
        if key not in self.made:
            self.made[key] = self._compiled(groups, begun)
        return self.made[key]

    def _compiled(self, groups: tuple[tuple[int, int], ...], begun: tuple[int, ...]) -> Backward | None:
        from .concrete import ConcreteFunction

        try:
            joint = self.walked(groups, begun)
        except GraphflowError:
            return None
        results = [k for k, total in joint.totals.items() if total is not None]
        trace = Trace(f"gradient of {self.name}", may_create=False)
        inside = [*self.saved, *(t._value for t in (*joint.cotangents.values(), *joint.partial.values()))]
        if not _follows([joint.totals[k]._value for k in results], set(inside)):
            return None
        with trace.tracing():
            inputs = [trace.input(f"x{k}", value.type) for k, value in enumerate(inside)]
            given = {value: (lambda t=t: t) for value, t in zip(inside, inputs, strict=True)}
            totals = joint.emit([joint.totals[k]._value for k in results], given, trace)
            graph = trace.finish([trace.lift(t) for t in totals])
        trace.alive = False
        function = ConcreteFunction(
            trace.name, graph, [t.type for t in inputs], [t.name for t in inputs],
            [Leaf(k) for k in range(len(results))], [], [], [], [], None, "the gradient of a call under a tape",
        )  # fmt: skip
        return Backward(function, results)


def _follows(targets: Sequence[Value], given: set[Value]) -> bool:
    """Can the targets be computed from the given values, by pure nodes?"""
    stack, seen = list(targets), set(given)
    while stack:
        value = stack.pop()
        if value not in seen:
            seen.add(value)
            if value.producer is None or not value.producer.is_pure:
                return False
            stack.extend(operands_of(value))
    return True


def _refusal(reason: str) -> NoGradientError:
    return NoGradientError(reason)


def _make(concrete: Any, connected: Sequence[bool], mask: tuple[bool, ...]) -> Pair | None:
    """The pair for calls of a concrete function; None if it cannot have one."""
    graph = concrete.graph
    trace = Trace(f"{concrete.name} under a tape", may_create=False)
    trace.captures, trace.reads = {}, {}  # type: ignore[attr-defined]
    held: dict[Value, Any] = {}
    tape = GradientTape(persistent=True, watch_accessed_variables=False)
    known: dict[str, Any] = {}
    try:
        with trace.tracing():
            variable_inputs = {}
            for value in graph.inputs:
                held[value] = trace.input(value.name, value.type)
                if value.is_variable:
                    variable_inputs[value] = held[value]._value
            own = [held[v] for v in graph.inputs if not v.is_variable]
            with tape:
                for tensor, leads_on in zip(own, connected, strict=False):
                    if leads_on and is_float(tensor):
                        tape._connect(tensor)
                for node in graph.nodes:
                    results = replay_node(trace, node, [held[v] for v in node.inputs], known)
                    held.update(zip(node.outputs, results, strict=True))
                    if _effect(node) == "read":
                        if connected[len(own)] and is_float(results[0]):
                            tape._connect(results[0])
                        own.append(results[0])
            forward_inputs = tuple(trace.builder.inputs)
            joint = Joint(trace, own, set())
            joint.outputs = [held[v] for v in graph.outputs]
            for k, (tensor, is_wanted) in enumerate(zip(joint.outputs, mask, strict=True)):
                if is_wanted:
                    joint.cotangents[k] = trace.input(f"d_{k}", tensor.type)
        pair = Pair(joint, tape, mask, concrete.name)
        plain = tuple((k, k) for k, (t, c) in enumerate(zip(own, connected, strict=True)) if c and is_float(t))
        walked = pair.walked(plain, ())
        pair.saved = walked.choose(set(), False, _refusal)
    except GraphflowError:
        return None
    if trace.run_time_symbols:
        return None
    tensor_count = sum(1 for v in graph.inputs if not v.is_variable)
    numbers = {t._value: k for k, t in enumerate(own)}
    for value in pair.saved:
        number = numbers.get(value)
        if number is not None and number < tensor_count:
            pair.places.append(number)
            continue
        if number is not None:
            pair.saved_reads.append((number - tensor_count, len(pair.saved_outputs)))
        pair.places.append(-1 - len(pair.saved_outputs))
        pair.saved_outputs.append(value)
    taken = {position for position, _ in pair.saved_reads}
    for position, tensor in enumerate(own[tensor_count:]):
        size = tensor.dtype.itemsize
        for dim in tensor.dims:
            size *= dim
        if position not in taken and size <= KEPT_READ:
            pair.kept_reads.append(position)
    outputs = [t._value for t in joint.outputs]
    kept = [own[tensor_count + position]._value for position in pair.kept_reads]
    nodes = walked.forward_nodes([*pair.saved, *kept])
    forward = Graph(graph.name, forward_inputs, tuple(nodes), (*outputs, *pair.saved_outputs, *kept), graph.metadata)
    pair.forward = replace(
        concrete, graph=forward, result=[Leaf(k) for k in range(len(forward.outputs))],
        argument_variables=[variable_inputs[v] for v in concrete.argument_variables],
        captured=[(variable_inputs[v], variable) for v, variable in concrete.captured],
        guards=[], uses=[0], sightings=[], _executable=None, _bindings={}, _calls={}, _seen={},
    )  # fmt: skip
    trace.alive = False
    return pair
