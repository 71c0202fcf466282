"""Sub-traces: tracing the branches and bodies of control flow into closed sub-graphs.

What a body uses of the traces around it becomes an operand of the control node: tensors are captured, a variable that is
read is an operand with its value before, a variable that is written is one more result, assigned after the node. Only a
body that calls Python (`python_call`), which might touch any variable, reads and writes variables at once; the form that
holds it is then traced once more with `immediate` set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, NoReturn

from ..errors import VariableCreationError
from ..ir.builder import backward_source
from ..ir.dims import SymbolicDim
from ..ir.graph import Graph, Node, Value
from ..ir.op import OPS, Effect, Op
from ..ir.types import TensorType
from ..tensor import active_trace
from .tracer import SymbolicTensor, Trace

__all__ = ["Subtrace", "VariableAccess", "close", "with_python_calls"]

_LARGE = 64
"""Elements from which on an eager tensor is an operand and not a constant of each sub-graph that uses it."""


class VariableAccess(BaseException):
    """A body calls Python: the outermost form around it has to be traced with immediate access to variables. Not an
    Exception: user code must not swallow it."""


#: do the bodies that are traced now read and write variables at once?
immediate: ContextVar[bool] = ContextVar("graphflow_immediate_variables", default=False)


def with_python_calls(form: Callable[[], Any]) -> Any:
    """Run what traces a control form; once more with immediate access to variables if its bodies call Python."""
    trace = active_trace.get()
    if immediate.get() or trace is not None and trace.outer is not None:
        return form()  # the outermost form answers
    try:
        return form()
    except VariableAccess:
        token = immediate.set(True)
        try:
            return form()
        finally:
            immediate.reset(token)


class Subtrace(Trace):
    """The trace of a branch or a body. `captures` are the outer trace's tensors that it uses, with its inputs for
    them; `reads` and `writes` the variables, by id."""

    def __init__(self, outer: Trace, name: str, what: str, form: str) -> None:
        super().__init__(name, False, outer)
        self.what, self.form = what, form
        self.captures: dict[int, tuple[Any, SymbolicTensor]] = {}
        self.reads: dict[int, tuple[Any, SymbolicTensor]] = {}
        self.writes: dict[int, tuple[Any, SymbolicTensor]] = {}
        self.immediate = immediate.get()
        self._origins: dict[Value, Value] = {}

    @property
    def kind(self) -> str:
        return f"{self.what} of the {self.form}"

    def lift(self, tensor: Any) -> SymbolicTensor:
        """A tensor of this trace. An outer trace's tensor is captured, an eager one becomes a constant (or a capture of
        the root's constant, where it is large or a tape watches it)."""
        if isinstance(tensor, SymbolicTensor):
            if tensor._trace is self:
                return tensor
            if not tensor._trace.alive or not self.is_inside(tensor._trace):
                return super().lift(tensor)  # raises
        elif id(tensor) not in self.root.shared and tensor._array.size < _LARGE:
            return super().lift(tensor)
        assert self.outer is not None
        found = self.outer.lift(tensor)
        held = self.captures.get(id(found))
        if held is None:
            inside = self.input(found._value.name or "x", found.type)
            self._origins[inside._value] = found._value
            held = self.captures[id(found)] = (found, inside)
        return held[1]

    def origin(self, value: Value) -> Value:
        assert self.outer is not None
        return self.outer.origin(self._origins[value]) if value in self._origins else value

    def extent(self, dim: SymbolicDim) -> SymbolicTensor | None:
        """The extent as an int32 scalar: of a tensor of this trace, or captured from the trace around it."""
        assert self.outer is not None
        found = super().extent(dim)
        if found is None:
            outside = self.outer.extent(dim)
            found = None if outside is None else self.lift(outside)
        return found

    def _node(self, op: Op, inputs: Sequence[Value], attributes: dict[str, Any]) -> tuple[Value, ...]:
        if isinstance(op.kernel, Effect) and op.kernel.kind == "call" and not self.may_call():
            raise VariableAccess
        return super()._node(op, inputs, attributes)

    def may_call(self) -> bool:
        """May it call Python? A backward part may: what it repeats was traced with immediate access already."""
        return self.immediate or backward_source.get() is not None

    def append(self, node: Node) -> tuple[Value, ...]:
        if isinstance(node.op.kernel, Effect) and node.op.kernel.kind == "call" and not self.may_call():
            raise VariableAccess
        return super().append(node)

    # Variables --------------------------------------------------------------------------------------------------------
    def variable(self, variable: Any) -> Value:
        """The input that stands for the variable itself (immediate access)."""
        assert self.outer is not None
        found = self.variables.get(id(variable))
        if found is None:
            outside = self.outer.variable(variable)
            inside = self.builder.input(outside.name, outside.type)
            found = self.variables[id(variable)] = (variable, inside)
            self._origins[inside] = outside
        return found[1]

    def read_variable(self, variable: Any) -> SymbolicTensor:
        """The variable's value here: what this trace wrote, else its value before the node."""
        if self.immediate:
            return super().read_variable(variable)
        if id(variable) in self.writes:
            # A read is a tensor of its own, as in eager code: its gradient is the variable's, not the written value's.
            return self.add(OPS["written_value"], (self.writes[id(variable)][1], self.entry(variable)), {})[0]
        return self.entry(variable)

    def entry(self, variable: Any) -> SymbolicTensor:
        """The input that holds the variable's value before the node."""
        found = self.reads.get(id(variable))
        if found is None:
            name = variable.name.removesuffix(":0").rpartition("/")[2]
            inside = self.input(name if name.isidentifier() else "variable", variable.type)
            found = self.reads[id(variable)] = (variable, inside)
        return found[1]

    def assign_variable(self, variable: Any, value: Any) -> None:
        if self.immediate:
            super().assign_variable(variable, value)
        else:
            self.writes[id(variable)] = (variable, self.lift(value))

    def check_creation(self) -> NoReturn:
        error = VariableCreationError(
            f"a variable is created in the {self.kind}, which runs any number of times (or never) in one call"
        )
        error.hint = f"create the variable before the {self.form}"
        raise error


def close(
    traces: Sequence[Subtrace],
    results: Sequence[Sequence[SymbolicTensor]],
    carried: Sequence[Sequence[SymbolicTensor]],
    names: Sequence[str],
    written: Sequence[Any] = (),
    metadata: dict[str, Any] | None = None,
) -> tuple[list[Any], list[Graph]]:
    """End the traces of one control node: (the outer operands behind the carried ones, the closed graphs).

    results: the outputs of each trace. carried: the inputs of each trace that stand for the node's first operands (loop
    variables, variables that are written); the same number in each. names: of the graphs. written: variables among the
    carried ones. Captured tensors, variables that are read, and references to variables follow, each once for all traces.
    """
    outer = traces[0].outer
    assert outer is not None
    taken = {id(v) for v in written}
    order: dict[tuple[str, int], Any] = {}
    for trace in traces:
        order.update({("capture", key): outside for key, (outside, _) in trace.captures.items()})
        order.update({("read", key): variable for key, (variable, _) in trace.reads.items() if key not in taken})
        order.update({("reference", key): variable for key, (variable, _) in trace.variables.items()})
    operands = []
    for (kind, _), what in order.items():
        if kind == "capture":
            operands.append(what)
        else:
            operands.append(what.value() if kind == "read" else SymbolicTensor(outer, outer.variable(what)))
    types = [t.type if isinstance(t, SymbolicTensor) else t for t in operands]
    graphs = []
    for trace, outputs, first, name in zip(traces, results, carried, names, strict=True):
        inputs = [t._value for t in first]
        for (kind, key), type in zip(order, types, strict=True):
            inputs.append(_input_for(trace, kind, key, type))
        unique(inputs)
        graphs.append(
            Graph(name, tuple(inputs), tuple(trace.builder.nodes), tuple(t._value for t in outputs), metadata or {})
        )
        trace.alive = False
    return operands, graphs


def _input_for(trace: Subtrace, kind: str, key: int, type: TensorType) -> Value:
    table: Any = {"capture": trace.captures, "read": trace.reads, "reference": trace.variables}[kind]
    found = table.get(key)
    if found is None:
        return Value(type, name="unused")
    inside = found[1]
    return inside if isinstance(inside, Value) else inside._value


def unique(inputs: Sequence[Value]) -> None:
    """Give the inputs of a graph names of their own."""
    taken: set[str] = set()
    for value in inputs:
        name, count = value.name or "x", 1
        while name in taken:
            name, count = f"{value.name or 'x'}_{count}", count + 1
        value.name = name
        taken.add(name)
