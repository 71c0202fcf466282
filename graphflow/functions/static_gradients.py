"""Gradients of what a traced function has computed so far, without a tape: gf.gradients and gf.hessians."""

from __future__ import annotations

from typing import Any

from ..autodiff.jacobians import jacobian
from ..autodiff.record import ControlRecord, Record
from ..autodiff.tape import GradientTape, UnconnectedGradients
from ..errors import ShapeError, TapeError
from ..ir.graph import Value
from ..ir.op import Control, Effect
from ..tensor import TensorLike, active_trace, convert_to_tensor
from ..tree import flatten
from ..variable import Variable

__all__ = ["gradients", "hessians"]


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    gate_gradients: bool = False,
    aggregation_method: Any = None,
    stop_gradients: Any = None,
    unconnected_gradients: UnconnectedGradients | str = UnconnectedGradients.NONE,
) -> list[Any]:
    """d(sum of ys)/dx for each x of xs, in a list: from the nodes that the trace has by now, so only inside gf.function.

    ys, xs: tensors (xs: variables too), or lists of them. grad_ys: weights, one for each y, None for ones. stop_gradients:
    tensors that count as constants. name, gate_gradients and aggregation_method change nothing. Raises
    TapeError (a RuntimeError) outside a trace.
    """
    del name, gate_gradients, aggregation_method
    targets = [convert_to_tensor(y) for y in _listed(ys)]
    sources = _listed(xs)
    tape, tensors = _tape(sources, _listed(stop_gradients) if stop_gradients is not None else [])
    weights = [None] * len(targets) if grad_ys is None else _listed(grad_ys)
    if len(weights) != len(targets):
        raise ValueError(f"gradients: {len(weights)} weights (grad_ys) for {len(targets)} ys")
    own = [_own(tensors, y) for y in targets]
    wanted = [x if isinstance(x, Variable) else _own(tensors, x) for x in sources]
    unconnected = UnconnectedGradients(unconnected_gradients)
    found: list[Any] = tape._backward(own, weights, wanted, unconnected)
    return found


def hessians(
    ys: Any,
    xs: Any,
    gate_gradients: bool = False,
    aggregation_method: Any = None,
    name: str = "hessians",
) -> list[Any]:
    """The Hessian of the sum of ys for each x of xs, of shape x.shape + x.shape, in a list; inside gf.function only.

    Raises TapeError outside a trace, ShapeError (a ValueError) where the sum does not depend on an x.
    """
    del gate_gradients, aggregation_method, name
    found = []
    for x in _listed(xs):
        first = gradients(ys, x)[0]
        if first is None:
            raise ShapeError(f"hessians: ys do not depend on {convert_to_tensor(x).type}")
        tape, tensors = _tape([x], [])
        own = x if isinstance(x, Variable) else _own(tensors, x)

        def zero(source: Any) -> Any:
            from ..ops.gradients import zeros_like
            from ..ops.shape import broadcast_to

            return broadcast_to(zeros_like(source), shape=(*source.dims, *source.dims))

        found.append(jacobian(tape, _own(tensors, first), [own], True, zero)[0])
    return found


def _listed(values: Any) -> list[Any]:
    return [values] if isinstance(values, TensorLike) else flatten(values)


def _own(tensors: dict[Value, Any], tensor: Any) -> Any:
    """The tensor of the tape that stands for a tensor's value."""
    lifted = active_trace.get().lift(convert_to_tensor(tensor))
    return tensors.setdefault(lifted._value, lifted)


def _tape(sources: list[Any], constants: list[Any]) -> tuple[GradientTape, dict[Value, Any]]:
    """A tape with a record of each node of the trace that leads on from the sources, and the tensor for each value."""
    trace = active_trace.get()
    if trace is None:
        error = TapeError("gradients: there is no graph to look back on; it works inside a gf.function only")
        error.hint = "use gf.GradientTape, which works everywhere"
        raise error
    tape = GradientTape(persistent=True, watch_accessed_variables=False)
    tensors: dict[Value, Any] = {}
    variables: dict[Value, Any] = {}
    for source in sources:
        if isinstance(source, Variable):
            tape._connect(source)
            read = getattr(trace, "reads", {}).get(id(source))
            if read is not None:
                tensors[read[1]._value] = read[1]
                tape.add_read(source, read[1])
            if id(source) in trace.variables:
                variables[trace.variables[id(source)][1]] = source
        else:
            own = _own(tensors, source)
            tape._connect(own)
    stopped = {trace.lift(convert_to_tensor(t))._value for t in constants}
    for node in list(trace.builder.nodes):
        outputs = tuple(tensors.get(v, t) for v, t in zip(node.outputs, trace.tensors(node.outputs), strict=True))
        tensors.update(zip(node.outputs, outputs, strict=True))
        kernel = node.op.kernel
        if isinstance(kernel, Effect) and kernel.kind == "read":
            if node.inputs[0] in variables:
                tape.add_read(variables[node.inputs[0]], outputs[0])
            continue
        if not stopped.isdisjoint(node.outputs):
            continue
        inputs = [tensors.setdefault(v, t) for v, t in zip(node.inputs, trace.tensors(node.inputs), strict=True)]
        if not inputs or not any(id(t) in tape._connected for t in inputs):
            continue
        kind: Any = ControlRecord if isinstance(kernel, Control) else Record
        record = kind(node.op, tuple(inputs), outputs, dict(node.attributes), node.source)
        if kind is ControlRecord:
            record.holders.append(tape)
        tape._records.append(record)
        tape.connect_results(outputs)
    return tape, tensors
