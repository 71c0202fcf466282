"""ForwardAccumulator: forward-mode differentiation, a Jacobian times a vector while the function runs.

There is no second table of rules. The tangent of an op's result follows from its reverse rule:

    linear ops (views, sums, casts, concat ...)   the op itself, of the tangents
    products (multiply is elementwise; matmul)    the op of each tangent and the other operand, added
    elementwise ops                               their Jacobian is diagonal, so the reverse rule *is* the forward rule
    all others                                    the reverse rule is linear in the cotangent; its transpose, found by
                                                  differentiating it once more, is the forward rule (Townsend 2017, "A new
                                                  trick for calculating Jacobian vector products")
    branches and loops                            a second node that carries the tangents along
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..errors import NoGradientError, ShapeError, TapeError
from ..ir.dims import SymbolicDim, symbols_of
from ..ir.graph import Graph, Node
from ..ir.op import Alias, Contract, Effect, Pointwise, View
from ..tree import flatten, map_structure
from .joint import dependence, is_float
from .record import ControlRecord, Record, active_trace, recorders
from .tape import GradientTape, UnconnectedGradients, _backward_of, _unconnected, _zeros

__all__ = ["ForwardAccumulator"]

#: ops that are linear in all their float operands together, besides the views and aliases
_LINEAR = frozenset(
    (
        "add",
        "subtract",
        "negative",
        "reduce_sum",
        "concat",
        "cast",
        "real",
        "imag",
        "conj",
        "pad",
        "diagonal",
        "from_diagonal",
    )
)
_CUTS = frozenset(("stop_gradient", "written_value", "bitcast"))
"""Views and aliases that do not hand a tangent on, or not that of their first operand."""


class ForwardAccumulator:
    """Computes the tangents of what is computed from `primals` inside it: the Jacobian times `tangents`.

        with gf.autodiff.ForwardAccumulator(primals=x, tangents=v) as accumulator:
            y = f(x)
        directional = accumulator.jvp(y)

    primals: tensors and variables, in any structure; tangents: the same structure, of the same shapes and dtypes. Inside and
    around gradient tapes and other accumulators it gives derivatives of higher order. Raises TapeError for a primal that is
    none, or is given twice, ShapeError for a tangent that does not fit.
    """

    def __init__(self, primals: Any, tangents: Any) -> None:
        self._tangents: dict[int, tuple[Any, Any]] = {}  # id of a tensor -> (the tensor, its tangent)
        self._nodes: list[ControlRecord] = []  # loops, branches and calls
        self._recording = False
        given, directions = flatten(primals), flatten(tangents)
        if len(given) != len(directions):
            raise TapeError(f"ForwardAccumulator: {len(directions)} tangents for {len(given)} primals")
        for primal, tangent in zip(given, directions, strict=True):
            self._add_primal(primal, tangent)

    def _add_primal(self, primal: Any, tangent: Any) -> None:
        from ..ops import identity

        if not hasattr(primal, "dims") or not is_float(primal):
            shown = primal.type if hasattr(primal, "dims") else repr(primal)
            raise TapeError(f"ForwardAccumulator: a primal must be a float tensor or variable, got {shown}")
        if id(primal) in self._tangents:
            raise TapeError(f"ForwardAccumulator: {primal.type} is given twice as a primal; add its tangents up")
        direction = identity(tangent)
        if direction.dtype is not primal.dtype or tuple(direction.dims) != tuple(primal.dims):
            error = ShapeError(
                f"ForwardAccumulator: the tangent of {primal.type} must be like it, got {direction.type}"
            )
            error.hint = "give a tangent of the primal's shape and dtype"
            raise error
        self._tangents[id(primal)] = primal, direction
        trace = active_trace()
        if trace is not None and not hasattr(primal, "assign"):
            lifted = trace.share(primal)
            self._tangents[id(lifted)] = lifted, direction

    # Recording --------------------------------------------------------------------------------------------------------
    def __enter__(self) -> ForwardAccumulator:
        """Follow what is computed. Raises TapeError if it does so already."""
        if self._recording:
            raise TapeError("this accumulator is already recording; leave its `with` block first")
        self._recording = True
        recorders.set((*recorders.get(), self))
        return self

    def __exit__(self, *exception: object) -> None:
        self._recording = False
        recorders.set(tuple(r for r in recorders.get() if r is not self))

    def accessed(self, variable: Any, value: Any) -> None:
        """A variable was read: its tangent is the value's."""
        held = self._tangents.get(id(variable))
        if held is not None:
            self._tangents[id(value)] = value, held[1]

    def record(self, record: Any) -> None:
        """An op ran: work out the tangents of its results. What is around this accumulator sees how."""
        tangents = [self._tangent(t) for t in record.inputs]
        if all(t is None for t in tangents):
            return
        around = recorders.get()
        place = next((k for k, r in enumerate(around) if r is self), len(around))
        token = recorders.set(around[:place])
        try:
            with _backward_of(record.source):
                found = _tangents_of(record, tangents)
        finally:
            recorders.reset(token)
        self._keep(record.outputs, found)
        if isinstance(record, ControlRecord):
            record.holders.append(self)
            self._nodes.append(record)

    def _keep(self, outputs: Sequence[Any], tangents: Sequence[Any]) -> None:
        for output, tangent in zip(outputs, tangents, strict=False):
            if tangent is not None:
                self._tangents[id(output)] = output, tangent

    def connect_results(self, outputs: Sequence[Any]) -> None:
        """A loop or branch was made to save values for a gradient that is taken inside this accumulator: these are its new results,
        and they have tangents too."""
        for record in self._nodes:
            if any(output is outputs[0] for output in record.outputs):
                home, around = record.outputs[0]._trace, recorders.get()
                place = next((k for k, r in enumerate(around) if r is self), len(around))
                with home.tracing():
                    token = recorders.set(around[:place])
                    try:
                        with _backward_of(record.source):
                            found = _tangents_of(record, [self._tangent(t) for t in record.inputs])
                            found = [_shaped(t, o) for t, o in zip(found, record.outputs, strict=True)]
                    finally:
                        recorders.reset(token)
                self._keep(record.outputs[-len(outputs) :], found[-len(outputs) :])

    def _tangent(self, tensor: Any) -> Any:
        held = self._tangents.get(id(tensor))
        return None if held is None else held[1]

    # Results ----------------------------------------------------------------------------------------------------------
    def jvp(self, primals: Any, unconnected_gradients: UnconnectedGradients | str = UnconnectedGradients.NONE) -> Any:
        """The tangents of tensors, in their structure: None (or zeros) for those that do not depend on the primals."""
        unconnected = _unconnected(unconnected_gradients)

        def one(tensor: Any) -> Any:
            if not hasattr(tensor, "dims"):
                raise TapeError(f"jvp: {tensor!r} is not a tensor")
            found = self._tangent(tensor)
            if found is None and unconnected is UnconnectedGradients.ZERO:
                return _zeros(tensor)
            return found

        return map_structure(one, primals)


# Rules ----------------------------------------------------------------------------------------------------------------
def _tangents_of(record: Any, tangents: Sequence[Any]) -> Sequence[Any]:
    """The tangents of the record's results, None where there is none."""
    if not any(is_float(t) for t in record.outputs):
        return [None] * len(record.outputs)
    if isinstance(record, ControlRecord):
        return {"switch": _switch, "while": _while, "call": _call}[record.op.name](record, tangents)
    op, kernel = record.op, record.op.kernel
    if op.gradient is None:
        if op.no_gradient.startswith("not differentiable"):
            error = NoGradientError(f"{op.name} has no gradient: {op.no_gradient}")
            error.place = record.source
            error.hint = "use gf.stop_gradient where the gradient is not wanted"
            raise error
        return [None] * len(record.outputs)
    if op.name not in _CUTS and len(record.outputs) == 1:
        if op.name in _LINEAR or isinstance(kernel, (View, Alias)):
            return [_linear(record, tangents)]
        if isinstance(kernel, Contract) or op.name in ("gather", "multiply"):
            return [_each(record, tangents)]
        if isinstance(kernel, Pointwise) and not any(t.dtype.is_complex for t in (*record.inputs, *record.outputs)):
            return [_elementwise(record, tangents)]
    return _transposed(record, tangents)


def _linear(record: Record, tangents: Sequence[Any]) -> Any:
    """The op of the tangents; of a sum of which one operand has none, that of the others, in the result's shape."""
    name = record.op.name
    if name in ("add", "subtract") and None in tangents:
        from ..ops import broadcast_to, negative

        only = tangents[0] if tangents[1] is None else tangents[1] if name == "add" else negative(tangents[1])
        shape = record.outputs[0].dims
        return only if only.dims == shape else broadcast_to(only, shape=shape)
    values = [
        _zeros(x) if t is None and is_float(x) else x if t is None else t
        for x, t in zip(record.inputs, tangents, strict=True)
    ]
    return record.op(*values, **record.attributes)


def _each(record: Record, tangents: Sequence[Any]) -> Any:
    """The op, linear in each operand by itself, with each tangent in the place of its operand, added. (A product of complex numbers
    too: no conjugates.)"""
    total = None
    for k, tangent in enumerate(tangents):
        if tangent is not None:
            values = [*record.inputs[:k], tangent, *record.inputs[k + 1 :]]
            part = record.op(*values, **record.attributes)
            total = part if total is None else total + part
    return total


def _elementwise(record: Record, tangents: Sequence[Any]) -> Any:
    """An elementwise op's Jacobian is diagonal: what its reverse rule makes of a tangent is its part of the result's."""
    from ..ops import broadcast_to

    shape = record.outputs[0].dims

    def whole(tensor: Any) -> Any:
        return tensor if tensor.dims == shape else broadcast_to(tensor, shape=shape)

    same = Record(record.op, tuple(map(whole, record.inputs)), record.outputs, record.attributes, record.source)
    total = None
    for k, tangent in enumerate(tangents):
        if tangent is not None:
            assert record.op.gradient is not None
            part = record.op.gradient(same, whole(tangent))[k]
            if part is not None:
                total = part if total is None else total + part
    return total


def _transposed(record: Record, tangents: Sequence[Any]) -> Sequence[Any]:
    """The transpose of the reverse rule: the rule maps cotangents linearly, so its own reverse derivative along the tangents
    is the forward one, whatever the cotangents are."""
    assert record.op.gradient is not None
    with GradientTape(watch_accessed_variables=False) as tape:
        cotangents = [_zeros(t) for t in record.outputs]
        tape.watch([c for c in cotangents if is_float(c)])
        gradients = record.op.gradient(record, *cotangents)
    pairs = [(g, t) for g, t in zip(gradients, tangents, strict=True) if g is not None and t is not None]
    if not pairs:
        return [None] * len(record.outputs)
    wanted = [c for c in cotangents if is_float(c)]
    found = iter(tape.gradient([g for g, _ in pairs], wanted, output_gradients=[t for _, t in pairs]))
    return [next(found) if is_float(c) else None for c in cotangents]


# Control flow ---------------------------------------------------------------------------------------------------------
def _reached(graph: Graph, marked: Sequence[bool]) -> list[bool]:
    """Which outputs depend on the marked inputs."""
    bits = sum(1 << k for k, m in enumerate(marked) if m)
    return [bool(mask & bits) for mask in dependence(graph)]


def _along(graph: Graph, operands: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """The outputs of a graph and their tangents (or None), in the active trace."""
    trace = active_trace()
    inputs = trace.tensors([trace.lift(t)._value for t in operands])  # tensors of their own, one for each operand
    pairs = [(x, t) for x, t in zip(inputs, tangents, strict=True) if t is not None]
    held = dict(zip(graph.inputs, inputs, strict=True))
    known: dict[str, Any] = {}
    for value, tensor in held.items():
        known.update(
            (old.text, new) for old, new in zip(value.type.shape, tensor.dims, strict=True)
            if isinstance(old, SymbolicDim) and old.text.isidentifier()
        )  # fmt: skip
    with ForwardAccumulator([x for x, _ in pairs], [t for _, t in pairs]) as accumulator:
        for node in graph.nodes:
            if not _is_repeated(node):
                continue
            results = trace.replay_node(node, [held[v] for v in node.inputs], known)
            held.update(zip(node.outputs, results, strict=True))
    outputs = [held[v] for v in graph.outputs]
    return outputs, accumulator.jvp(outputs)


def _is_repeated(node: Node) -> bool:
    """Is the node run again for the tangents? Prints and assertions are not. Raises NoGradientError for other effects."""
    kernel = node.op.kernel
    if node.is_pure or isinstance(kernel, Effect) and kernel.kind == "constant":
        return True
    if isinstance(kernel, Effect) and kernel.kind in ("print", "assert"):
        return False
    if not isinstance(kernel, Effect):  # a loop or branch with a print inside
        return True
    error = NoGradientError(f"{node.op.name} inside a loop or branch has no forward-mode gradient")
    error.place = node.source
    error.hint = "take the gradient with a GradientTape, or call it outside the loop"
    raise error


def _shaped(tangent: Any, tensor: Any) -> Any:
    """The tangent with the tensor's extents: those of a loop that runs again have other names."""
    from ..ops.extents import ensure_shape

    if tangent is None or tuple(tangent.dims) == tuple(tensor.dims):
        return tangent
    return ensure_shape(tangent, shape=tensor.dims)


def _or_zeros(tangent: Any, tensor: Any) -> Any:
    return _zeros(tensor) if tangent is None else tangent


def _switch(record: ControlRecord, tangents: Sequence[Any]) -> Sequence[Any]:
    index, operands = record.inputs[0], record.inputs[1:]
    branches = record.attributes["branches"]
    marked = [t is not None for t in tangents[1:]]
    reached = [any(column) for column in zip(*(_reached(b, marked) for b in branches), strict=True)]
    if not any(reached):
        return [None] * len(record.outputs)

    def chosen(graph: Graph) -> tuple[Any, ...]:
        here = active_trace()
        inside = [None if t is None else here.lift(t) for t in tangents[1:]]
        outputs, found = _along(graph, operands, inside)
        return tuple(_or_zeros(t, o) for t, o, r in zip(found, outputs, reached, strict=True) if r)

    trace = active_trace()
    functions: list[Callable[[], Any]] = [partial(chosen, graph) for graph in branches]
    found = iter(trace.branch(trace.lift(index), functions, form="tangent of a choice"))
    return [next(found) if r else None for r in reached]


def _call(record: ControlRecord, tangents: Sequence[Any]) -> Sequence[Any]:
    return _along(record.attributes["function"], record.inputs, tangents)[1]


def _while(record: ControlRecord, tangents: Sequence[Any]) -> Sequence[Any]:
    """A loop that carries values and tangents; the compiler finds that it computes what the loop itself does, and drops
    that one."""
    attributes = record.attributes
    condition, body, carried = attributes["condition"], attributes["body"], attributes["carried"]
    operands = record.inputs
    marked = [t is not None for t in tangents]
    while True:
        after = [a or b for a, b in zip(marked[:carried], _reached(body, marked), strict=True)]
        if after == marked[:carried]:
            break
        marked[:carried] = after
    flow = [k for k in range(carried) if marked[k] and is_float(operands[k])]
    if not flow:
        return [None] * len(record.outputs)
    trace = active_trace()
    starts = [_or_zeros(tangents[k], operands[k]) for k in flow]
    outside = {name for t in operands for dim in t.dims for name in symbols_of(dim)}

    def shape(k: int) -> list[Any] | None:
        dims = body.inputs[k].type.shape
        own = [isinstance(d, SymbolicDim) and bool(symbols_of(d) - outside) for d in dims]
        return [d.text if changes else d for d, changes in zip(dims, own, strict=True)] if any(own) else None

    shapes = [shape(k) for k in (*range(carried), *flow)]

    def inside(values: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        here = active_trace()
        primal = [*values[:carried], *(here.lift(t) for t in operands[carried:])]
        own: list[Any] = [None] * carried
        for k, tangent in zip(flow, values[carried:], strict=True):
            own[k] = tangent
        own += [None if t is None else here.lift(t) for t in tangents[carried:]]
        return primal, own

    def goes_on(*values: Any) -> Any:
        primal, _ = inside(values)
        return _along(condition, primal, [None] * len(primal))[0][0]

    def step(*values: Any) -> list[Any]:
        outputs, found = _along(body, *inside(values))
        return [*outputs, *(_or_zeros(found[k], outputs[k]) for k in flow)]

    results = trace.loop(
        goes_on, step, [*operands[:carried], *starts], form="tangent of a loop",
        names=[*(v.name for v in body.inputs[:carried]), *(f"the tangent of {body.inputs[k].name}" for k in flow)],
        shape_invariants=shapes if any(s is not None for s in shapes) else None,
        most=attributes["most"], bound=body.metadata.get("bound", ""),
    )  # fmt: skip
    found: list[Any] = [None] * len(record.outputs)
    for k, tangent in zip(flow, results[carried:], strict=True):
        found[k] = tangent
    return found
