"""The tracing of one `while` node: what goes in, what the body returns, how the node is put together (see loops.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import DTypeError, LoopError, ShapeError
from ..ir.dims import Dim, SymbolicDim, dim_max, symbols_of
from ..ir.graph import Graph, Value
from ..ir.types import TensorType
from ..ops.control import while_results
from ..tensor import Tensor, active_trace, as_dim, convert_to_tensor
from ..tree import children_of, is_nested, labels_of, rebuild
from .forms import (
    UNUSED,
    Slot,
    add_node,
    equal_dims,
    fresh,
    hinted,
    in_sight,
    is_array,
    is_plain,
    path_of,
    same,
    shown,
    unpack,
    written_variables,
    zeros_outside,
)
from .subtrace import Subtrace, close
from .tracer import SymbolicTensor, Trace, known_dims

__all__ = ["TracedLoop", "as_values", "check_condition", "same_structure"]


def as_values(returned: Any, count: int, form: str) -> list[Any]:
    """What a body returns as a list of loop variables. Raises LoopError unless there are `count` of them."""
    if count == 1 and not (isinstance(returned, (list, tuple)) and len(returned) == 1):
        returned = [returned]
    if not isinstance(returned, (list, tuple)) or len(returned) != count:
        got = f"{len(returned)} values" if isinstance(returned, (list, tuple)) else shown(returned)
        raise hinted(
            LoopError(f"{form}: the body must return {count} loop variables, got {got}"),
            "return one value for each loop variable, in order",
        )
    return list(returned)


def same_structure(before: Any, after: Any, form: str, path: str) -> None:
    """Raises LoopError where a loop variable's structure changes."""
    if after is UNUSED or before is UNUSED:
        return
    if (
        is_nested(before) != is_nested(after)
        or is_nested(before)
        and (list(labels_of(before)) != list(labels_of(after)))
    ):
        raise hinted(
            LoopError(f"{form}: {path} is {shown(before)} before the loop and {shown(after)} after an iteration"),
            "a loop variable keeps its structure",
        )
    if is_nested(before):
        for label, a, b in zip(labels_of(before), children_of(before), children_of(after), strict=True):
            same_structure(a, b, form, f"{path}[{label!r}]")


def check_condition(condition: Any, form: str) -> None:
    """Raises DTypeError or ShapeError unless a tensor is a bool of rank 0."""
    if not condition.dtype.is_bool:
        raise hinted(
            DTypeError(f"{form}: the condition must be a bool, got {condition.type}"), "compare it, as in `x > 0`"
        )
    if condition.dims:
        raise hinted(
            ShapeError(f"{form}: the condition must be a bool of rank 0, got {condition.type}"),
            "reduce it with gf.reduce_all or gf.reduce_any, or choose element by element with gf.where",
        )


class _Late:
    """A loop variable's leaf whose type the body tells: an array nobody has written to, or UNUSED."""

    def __init__(self, loop: TracedLoop, number: int) -> None:
        self.loop, self.number = loop, number
        self.inside: dict[int, SymbolicTensor] = {}
        self.type: TensorType | None = None

    def settle(self, type: TensorType) -> None:
        self.type = type

    def input(self, trace: Subtrace) -> SymbolicTensor:
        """The leaf's input of the condition's or the body's trace."""
        assert self.type is not None
        if id(trace) not in self.inside:
            self.inside[id(trace)] = trace.input(self.loop.leaf_name(self.number), self.type)
        return self.inside[id(trace)]


class _Settler:
    """Gives an unwritten array its buffer inside a body: settle(row) -> the input that holds it."""

    def __init__(self, loop: TracedLoop, late: _Late, array: Any, trace: Subtrace) -> None:
        self.loop, self.late, self.array, self.trace = loop, late, array, trace

    @property
    def type(self) -> TensorType | None:
        """The buffer's type once the shape of an element is known."""
        return self.late.type

    def __call__(self, row: tuple[Dim, ...]) -> SymbolicTensor:
        if self.late.type is None:
            for dim in row:
                made = symbols_of(dim) & self.trace.root.run_time_symbols
                if not all(in_sight(name, self.loop.outer) for name in made):
                    path = self.loop.paths[self.late.number]
                    raise hinted(
                        ShapeError(
                            f"{self.loop.form}: the elements of {path} have the extent {dim}, made inside the body"
                        ),
                        "fix the extent with gf.ensure_shape",
                    )
            self.late.settle(self.loop.array_type(self.array, self.array.buffer_type(row)))
        return self.late.input(self.trace)


class TracedLoop:
    """The tracing of one `while` node."""

    def __init__(
        self, form: str, names: Sequence[str] | None, undefined: type | None, values: Sequence[Any], invariants: Any
    ) -> None:
        self.form, self.names, self.undefined = form, names, undefined
        self.values = list(values)
        self.outer: Trace = active_trace.get()
        self.invariants = list(invariants) if invariants is not None else [None] * len(self.values)
        if len(self.invariants) != len(self.values):
            raise LoopError(
                f"{form}: shape_invariants has {len(self.invariants)} entries for {len(self.values)} loop variables"
            )
        #: each leaf that is carried: its path, and the outer tensor (None where it is settled late)
        self.paths: list[str] = []
        self.starts: list[Any] = []
        self.types: list[TensorType | None] = []
        self.lates: dict[int, _Late] = {}
        self.shared: dict[str, Dim] = {}
        self.own: set[str] = set()

    def leaf_name(self, number: int) -> str:
        text = self.paths[number]
        name = "".join(c if c.isalnum() or c == "_" else "_" for c in text).strip("_") or "x"
        return name if name[0].isalpha() or name[0] == "_" else f"x{name}"

    # What goes in -----------------------------------------------------------------------------------------------------
    def enter(self, value: Any, invariant: Any, path: str) -> Any:
        """The structure with slots for what is carried."""
        if is_nested(value):
            labels = list(labels_of(value))
            shapes = self.spread(invariant, value, labels, path)
            children = zip(children_of(value), shapes, labels, strict=True)
            return rebuild(value, [self.enter(v, s, f"{path}[{label!r}]") for v, s, label in children])
        number = len(self.starts)
        if is_array(value):
            return self.enter_array(value, path, number)
        if is_plain(value):
            return value
        tensor = self.outer.lift(convert_to_tensor(value))
        self.paths.append(path)
        self.starts.append(tensor)
        self.types.append(self.declared(tensor, invariant, path))
        return Slot(number)

    def spread(self, invariant: Any, value: Any, labels: list[Any], path: str) -> list[Any]:
        if invariant is None or invariant is UNUSED:
            return [None] * len(labels)
        if not is_nested(invariant) or list(labels_of(invariant)) != labels:
            raise LoopError(f"{self.form}: shape_invariants of {path} must have its structure, got {shown(invariant)}")
        return list(children_of(invariant))

    def enter_array(self, array: Any, path: str, number: int) -> Any:
        self.paths.append(path)
        if array.row_dims is None:
            late = self.lates[number] = _Late(self, number)
            self.starts.append(array)
            self.types.append(None)
            del late
        else:
            buffer = self.outer.lift(array.buffer_of(array.row_dims))
            self.starts.append(buffer)
            self.types.append(self.array_type(array, buffer.type))
        return Slot(number, array)

    def array_type(self, array: Any, type: TensorType) -> TensorType:
        """An array that grows has an extent of its own at each iteration."""
        return type.with_shape((self.new_own(), *type.shape[1:])) if array.grows else type

    def new_own(self) -> SymbolicDim:
        dim = self.outer.new_extent("k")
        self.own.add(dim.text)
        return dim

    def declared(self, tensor: Any, invariant: Any, path: str) -> TensorType:
        """The type inside the loop: the tensor's own, with a symbol of the body's where the invariant leaves it open."""
        if invariant is None:
            return tensor.type
        shape = getattr(invariant, "shape", invariant)
        if shape is None or not hasattr(shape, "__iter__"):
            raise hinted(
                LoopError(f"{self.form}: the shape invariant of {path} must be a shape, got {shown(invariant)}"),
                "give a tuple with None for each extent that changes; the rank must be known",
            )
        shape = tuple(shape)
        if len(shape) != len(tensor.dims):
            raise ShapeError(
                f"{self.form}: the shape invariant of {path} is {list(shape)}, and it is {tensor.type} before the loop"
            )
        dims: list[Dim] = []
        for wanted, dim in zip(shape, tensor.dims, strict=True):
            if wanted is None:
                dims.append(self.new_own())
            elif isinstance(wanted, str):
                if wanted not in self.shared:
                    self.shared[wanted] = self.new_own()
                dims.append(self.shared[wanted])
            else:
                if not equal_dims(as_dim(wanted), dim):
                    raise ShapeError(
                        f"{self.form}: the shape invariant of {path} is {list(shape)}, and it is {tensor.type} before "
                        "the loop"
                    )
                dims.append(dim)
        return tensor.type.with_shape(tuple(dims))

    def inside(self, structure: Any, trace: Subtrace, inputs: dict[int, SymbolicTensor]) -> Any:
        """The loop variables as the condition or the body sees them."""
        if isinstance(structure, Slot):
            late = self.lates.get(structure.number)
            if late is not None:
                return structure.array.late(self.settler(late, structure.array, trace))
            tensor = inputs[structure.number]
            return tensor if structure.array is None else structure.array.with_buffer(tensor)
        if is_nested(structure):
            return rebuild(structure, [self.inside(child, trace, inputs) for child in children_of(structure)])
        return structure

    def settler(self, late: _Late, array: Any, trace: Subtrace) -> _Settler:
        """What an unwritten array calls for its buffer when it is first written to inside."""
        return _Settler(self, late, array, trace)

    # The node ---------------------------------------------------------------------------------------------------------
    def run(
        self, condition: Callable[..., Any], body: Callable[..., Any], metadata: dict[str, Any], most: Dim | None
    ) -> list[Any]:
        structure = [
            value if value is UNUSED else self.enter(value, shape, path_of(self.names, k, "loop variable"))
            for k, (value, shape) in enumerate(zip(self.values, self.invariants, strict=True))
        ]
        test = self.outer.subtrace(f"{self.form} condition", "condition", self.form)
        step = self.outer.subtrace(f"{self.form} body", "body", self.form)
        traces = [test, step]
        try:
            inputs = [self.inputs(trace) for trace in traces]
            with test.tracing():
                outcome = convert_to_tensor(condition(*[self.inside(s, test, inputs[0]) for s in structure]))
                check_condition(outcome, self.form)
                outcome = test.lift(outcome)
            with step.tracing():
                returned = body(*[self.inside(s, step, inputs[1]) for s in structure])
                found = as_values(returned, len(structure), self.form)
            if test.writes:
                variable = next(iter(test.writes.values()))[0]
                raise hinted(
                    LoopError(f"{self.form}: the condition assigns to the variable {variable.name}"),
                    "assign in the body",
                )
            outputs: dict[int, SymbolicTensor] = {}
            with step.tracing():
                structure = [
                    self.leave(s, value, path_of(self.names, k, "loop variable"), step, outputs)
                    for k, (s, value) in enumerate(zip(structure, found, strict=True))
                ]
            return self.finish(traces, inputs, structure, outcome, outputs, metadata, most)
        finally:
            for trace in traces:
                trace.alive = False

    def inputs(self, trace: Subtrace) -> dict[int, SymbolicTensor]:
        return {k: trace.input(self.leaf_name(k), type) for k, type in enumerate(self.types) if type is not None}

    def leave(self, slot: Any, value: Any, path: str, trace: Subtrace, outputs: dict[int, SymbolicTensor]) -> Any:
        """Check what the body returns for a loop variable against what went in; collect the outputs."""
        if slot is UNUSED:
            return self.leave_unused(value, path, trace, outputs)
        if not isinstance(slot, Slot):
            if is_nested(slot) or is_nested(value):
                same_structure(slot, value, self.form, path)
                parts = zip(labels_of(slot), children_of(slot), children_of(value), strict=True)
                return rebuild(slot, [self.leave(s, v, f"{path}[{n!r}]", trace, outputs) for n, s, v in parts])
            if same(slot, value) or value is UNUSED:
                return slot
            unset = self.undefined is not None and isinstance(slot, self.undefined)
            before = "not defined" if unset else shown(slot)
            raise hinted(
                LoopError(f"{self.form}: {path} is {before} before the loop and {shown(value)} after an iteration"),
                f"give it a value of that type before the {self.form}"
                if unset
                else "a loop cannot carry Python objects that change; use tensors",
            )
        if value is UNUSED:
            assert slot.array is None
            outputs[slot.number] = zeros_outside(self.types[slot.number], trace)  # type: ignore[arg-type]
            return slot
        if slot.array is not None:
            return self.leave_array(slot, value, path, trace, outputs)
        if is_plain(value) or is_array(value):
            raise hinted(
                LoopError(
                    f"{self.form}: {path} is {self.starts[slot.number].type} before the loop and {shown(value)} after an "
                    "iteration"
                ),
                "a loop variable keeps its type",
            )
        tensor = trace.lift(convert_to_tensor(value))
        self.check(slot.number, tensor, path)
        outputs[slot.number] = tensor
        return slot

    def leave_unused(self, value: Any, path: str, trace: Subtrace, outputs: dict[int, SymbolicTensor]) -> Any:
        """A name that nobody reads before the body sets it: it starts as zeros of what the body gives."""
        if is_nested(value):
            parts = zip(labels_of(value), children_of(value), strict=True)
            return rebuild(value, [self.leave_unused(v, f"{path}[{n!r}]", trace, outputs) for n, v in parts])
        if is_plain(value) or is_array(value):
            return value
        tensor = trace.lift(convert_to_tensor(value))
        number = len(self.starts)
        self.paths.append(path)
        shape = tuple(
            dim
            if all(in_sight(n, self.outer) for n in symbols_of(dim) & trace.root.run_time_symbols)
            else self.new_own()
            for dim in tensor.dims
        )
        declared = tensor.type.with_shape(shape)
        self.types.append(declared)
        self.starts.append(declared)
        late = self.lates[number] = _Late(self, number)
        late.settle(declared)
        outputs[number] = tensor
        return Slot(number)

    def leave_array(
        self, slot: Slot, value: Any, path: str, trace: Subtrace, outputs: dict[int, SymbolicTensor]
    ) -> Any:
        if not is_array(value):
            raise hinted(
                LoopError(
                    f"{self.form}: {path} is {shown(slot.array)} before the loop and {shown(value)} after an iteration"
                ),
                "return the array that write() gives",
            )
        late = self.lates.get(slot.number)
        row = value.row_dims
        if row is None:
            return slot
        buffer = trace.lift(value.buffer_of(row))
        if late is not None:
            if late.type is None:
                self.settler(late, slot.array, trace)(row)
            self.types[slot.number] = late.type
        self.check(slot.number, buffer, path)
        outputs[slot.number] = buffer
        return slot

    def check(self, number: int, tensor: Any, path: str) -> None:
        """Raises DTypeError or ShapeError unless what the body gives has the type that went in."""
        declared = self.types[number]
        assert declared is not None
        before = self.starts[number]
        start = before.type if isinstance(before, Tensor) else declared
        if tensor.dtype is not declared.dtype:
            raise hinted(
                DTypeError(f"{self.form}: {path} is {start} before the loop and {tensor.type} after an iteration"),
                "use gf.cast so that the dtype stays, or start with a value of the other dtype",
            )
        fits = len(tensor.dims) == len(declared.shape)
        bound: dict[str, Dim] = {}
        for inside, dim in zip(declared.shape, tensor.dims, strict=False) if fits else ():
            if isinstance(inside, SymbolicDim) and inside.text in self.own:
                fits = fits and bound.setdefault(inside.text, dim) == dim
            else:
                fits = fits and equal_dims(inside, dim)
        if not fits:
            listed = [None if isinstance(d, SymbolicDim) and d.text in self.own else d for d in declared.shape]
            given = "" if list(start.shape) == listed else f" (declared {listed})"
            raise hinted(
                ShapeError(
                    f"{self.form}: {path} is {start}{given} before the loop and {tensor.type} after an iteration"
                ),
                "declare the extents that change with shape_invariants (None), or fix them with gf.ensure_shape",
            )

    def finish(
        self,
        traces: list[Subtrace],
        inputs: list[dict[int, SymbolicTensor]],
        structure: list[Any],
        outcome: SymbolicTensor,
        outputs: dict[int, SymbolicTensor],
        metadata: dict[str, Any],
        most: Dim | None,
    ) -> list[Any]:
        carried = sorted(outputs)
        for number in carried:
            late = self.lates.get(number)
            if late is not None:
                self.types[number] = late.type
                for trace, own in zip(traces, inputs, strict=True):
                    own[number] = late.input(trace)
        written = written_variables(traces)
        heads = [
            [*(own[number] for number in carried), *(trace.entry(variable) for variable in written)]
            for trace, own in zip(traces, inputs, strict=True)
        ]
        step = traces[1]
        results = [[outcome], [*(outputs[n] for n in carried), *(step.writes[id(v)][1] for v in written)]]
        metadata = {**metadata, "variables": (len(carried), len(written))}
        invariants, graphs = close(traces, results, heads, [t.name for t in traces], written, metadata)
        starts = [self.start(number) for number in carried]
        operands = [*starts, *(v.value() for v in written), *invariants]
        if most is None:
            most = _count(graphs[0], graphs[1], operands, self.outer)
            if most is not None:
                graphs[1].metadata["bound"] = "exact"  # type: ignore[index]
        made: list[str] = []
        types = tuple(t.type for t in operands)
        count = len(carried) + len(written)
        while_results(types, graphs[1], count, lambda: fresh(self.outer, made))
        attributes = {
            "condition": graphs[0], "body": graphs[1], "carried": count, "extents": tuple(made), "most": most,
        }  # fmt: skip
        found = add_node(self.outer, "while", operands, attributes)
        for variable, value in zip(written, found[len(carried) :], strict=True):
            self.outer.assign_variable(variable, value)
        by_number = dict(zip(carried, found[: len(carried)], strict=True))
        return [self.unpack(s, by_number) for s in structure]

    def unpack(self, value: Any, results: dict[int, Any]) -> Any:
        if isinstance(value, Slot) and value.number not in results:
            return value.array  # nobody wrote to it
        if isinstance(value, Slot):
            return unpack(value, results)  # type: ignore[arg-type]
        if is_nested(value):
            return rebuild(value, [self.unpack(child, results) for child in children_of(value)])
        return value

    def start(self, number: int) -> Any:
        before = self.starts[number]
        if isinstance(before, TensorType):
            return zeros_outside(before, self.outer)
        if is_array(before):
            declared = self.types[number]
            assert declared is not None
            return self.outer.lift(before.buffer_of(declared.shape[1:]))
        return before


def _count(condition: Graph, body: Graph, operands: Sequence[Any], trace: Trace) -> Dim | None:
    """The number of iterations of a loop that counts: `i < n` with i from a known start in steps of 1 to a known n."""
    test = condition.outputs[0].producer
    if test is None or test.op.name != "less":
        return None
    left, right = test.inputs
    carried = len(body.outputs)
    if left not in condition.inputs[:carried]:
        return None
    position = condition.inputs.index(left)
    after, inside = body.outputs[position].producer, body.inputs[position]
    if after is None or after.op.name != "add" or inside not in after.inputs:
        return None
    step = after.inputs[1 - after.inputs.index(inside)]
    first = _extent_of(operands[position], trace)
    limit = _extent_of(_from_outside(right, condition, carried, operands), trace)
    if first is None or limit is None or _extent_of(_from_outside(step, body, carried, operands), trace) != 1:
        return None
    return dim_max(limit - first, 0)


def _from_outside(value: Value, graph: Graph, carried: int, operands: Sequence[Any]) -> Any:
    """The operand behind an invariant input, or the value itself."""
    position = graph.inputs.index(value) if value.producer is None else -1
    return operands[position] if position >= carried else value


def _extent_of(value: Any, trace: Trace) -> Dim | None:
    """An integer scalar as an extent, where it is a constant or is made of extents."""
    if isinstance(value, SymbolicTensor):
        dims = known_dims(value._value, trace) if value.dtype.is_integer and not value.dims else None
        return None if dims is None else dims[0]
    found = value.producer.attributes["value"] if value.producer and value.producer.op.name == "constant" else None
    return int(found) if found is not None and found.dtype.kind in "iu" and not found.shape else None
