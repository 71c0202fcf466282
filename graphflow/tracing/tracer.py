"""Tracing: symbolic tensors, symbolic extents, and the trace that ops add nodes to."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from ..autodiff.record import recorders
from ..autograph.reasons import missing_source
from ..dtypes import DType, int32
from ..errors import (
    GraphflowError,
    ShapeError,
    TensorLeakError,
    TracedBoolError,
    UnrolledWarning,
    VariableCreationError,
)
from ..ir.builder import GraphBuilder, backward_source
from ..ir.dims import Dim, DimensionsMustAgree, SymbolicDim, dim_min, product, symbol, symbols_of
from ..ir.graph import Graph, Node, Value
from ..ir.op import OPS, Op
from ..ir.source import Source, capture, user_frame, user_level
from ..ir.types import TensorType
from ..tensor import Tensor, TensorShape, active_trace

__all__ = [
    "Dimension",
    "NeedsNumber",
    "SymbolicTensor",
    "Trace",
    "current_device",
    "dimension_tensor",
    "is_run_time",
    "known_dims",
    "leaked",
    "number_needed",
    "unrolled_rows",
]

UNROLLED_ROWS = 128
"""Rows that Python may take one by one while tracing before an UnrolledWarning: each is a step of the graph, and 1,000 of them
compile for minutes."""


class NeedsNumber(BaseException):
    """Python needs the number behind a symbolic extent (a comparison, range(), int()). The function answers by tracing
    for these exact shapes. Not an Exception: user code must not swallow it."""

    def __init__(self, dim: Dim, source: Source) -> None:
        super().__init__(f"the extent {dim} is needed as a number at {source}")
        self.dim, self.source = dim, source


def is_run_time(dim: Dim) -> bool:
    """Does the extent hang on a symbol that only the run defines (u0 of a branch's result, k0 inside a loop's body)?"""
    trace = active_trace.get()
    return trace is not None and bool(symbols_of(dim) & trace.root.run_time_symbols)


def number_needed(dim: Dim) -> BaseException:
    """What to raise where Python needs the number behind an extent: NeedsNumber, or TracedBoolError for an extent that
    no call's arguments decide."""
    if not is_run_time(dim):
        return NeedsNumber(dim, capture())
    error = TracedBoolError(f"the extent {dim} is only known at run time, and Python needs it as a number here")
    error.hint = "loop with gf.range, read it as a tensor with gf.shape(x), or fix it with gf.ensure_shape(x, shape)"
    return error


class Dimension:
    """An extent that differs from call to call, as Python code sees it in x.shape. Arithmetic stays symbolic; anything
    that needs a number makes the function trace for the exact shape."""

    __slots__ = ("_dim",)

    def __init__(self, dim: SymbolicDim) -> None:
        self._dim = dim

    def __graphflow_dim__(self) -> Dim:
        return self._dim

    def _arithmetic(self, other: Any, operation: Callable[[Any, Any], Any], name: str, swap: bool = False) -> Any:
        if isinstance(other, Tensor):
            from .. import math

            mine = dimension_tensor(self._dim, other.dtype)
            return getattr(math, name)(other, mine) if swap else getattr(math, name)(mine, other)
        if isinstance(other, Dimension):
            other = other._dim
        if isinstance(other, bool) or not isinstance(other, (int, np.integer, SymbolicDim)):
            raise number_needed(self._dim)
        other = other if isinstance(other, SymbolicDim) else int(other)
        return wrap_dim(operation(other, self._dim) if swap else operation(self._dim, other))

    def __add__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a + b, "add")

    def __radd__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a + b, "add", True)

    def __sub__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a - b, "subtract")

    def __rsub__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a - b, "subtract", True)

    def __mul__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a * b, "multiply")

    def __rmul__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a * b, "multiply", True)

    def __floordiv__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a // b, "floordiv")

    def __mod__(self, other: Any) -> Any:
        return self._arithmetic(other, lambda a, b: a % b, "floormod")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Dimension) and self._dim == other._dim:
            return True
        if other is None:
            return False
        raise number_needed(self._dim)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def _number(self, *_: Any) -> NoReturn:
        raise number_needed(self._dim)

    __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __int__ = __index__ = __float__ = __truediv__ = __rtruediv__ = (
        _number
    )

    __hash__ = _number  # a dictionary would otherwise miss the key that the number is

    def __repr__(self) -> str:
        return str(self._dim)


def unrolled_rows(count: int, row: Callable[[int], Any]) -> Iterator[Any]:
    """The rows of a tensor that Python iterates over while tracing; says so where they are many."""
    for k in range(count):
        if k == UNROLLED_ROWS:
            frame = user_frame()
            reason = "" if frame is None else missing_source(frame.f_code)
            warnings.warn(
                f"a tensor of {count} rows is iterated over by Python{f' ({reason})' if reason else ''}: each row becomes a step "
                f"of the graph, which takes long to compile. Next: use gf.map_fn or gf.scan, or a for statement in a function "
                f"whose source is in a file, which become one loop",
                UnrolledWarning,
                stacklevel=user_level(),
            )
        yield row(k)


def wrap_dim(dim: Dim) -> Any:
    return Dimension(dim) if isinstance(dim, SymbolicDim) else dim


class SymbolicTensor(Tensor):
    """A tensor of a trace: a value in the graph that is being built."""

    __slots__ = ("_trace", "_value")

    def __init__(self, trace: Trace, value: Value) -> None:
        self._trace = trace
        self._value = value
        self.dtype: DType = value.type.dtype
        self._key = None

    @property
    def shape(self) -> TensorShape:
        return TensorShape(wrap_dim(d) for d in self._value.type.shape)

    @property
    def dims(self) -> tuple[Dim, ...]:
        return self._value.type.shape

    @property
    def type(self) -> TensorType:
        return self._value.type

    @property
    def device(self) -> str:
        return f"/{self._value.type.device}"

    @property
    def name(self) -> str:
        return self._value.name or (self._value.producer.op.name if self._value.producer else "input")

    def _constant_dims(self) -> tuple[Dim, ...] | None:
        """Dims of an integer tensor made of constants and extents (gf.shape(x), gf.stack of extents ...)."""
        return known_dims(self._value, self._trace)

    @property
    def is_symbolic(self) -> bool:
        return True

    def require_usable(self) -> None:
        trace = active_trace.get()
        if not self._trace.alive or trace is None or not trace.is_inside(self._trace):
            raise leaked(None, (self,))

    def _refuse(self, what: str) -> NoReturn:
        if not self._trace.alive:
            raise leaked(None, (self,))
        error = TracedBoolError(
            f"{what}: a symbolic tensor ({self.type}) has no Python value while the function '{self._trace.name}' is "
            f"traced"
        )
        error.hint = "use gf.where for a choice, gf.print to see the value, or return it from the function"
        frame = user_frame()
        reason = "" if frame is None else missing_source(frame.f_code)
        if reason:
            error.hint = f"{reason}, so that it runs as it is; {error.hint}"
        raise error

    def numpy(self) -> Any:
        self._refuse("numpy()")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        self._refuse("conversion to NumPy")

    def tolist(self) -> Any:
        self._refuse("tolist()")

    def __float__(self) -> float:
        self._refuse("float()")

    def __int__(self) -> int:
        self._refuse("int()")

    def __index__(self) -> int:
        self._refuse("index")

    def __complex__(self) -> complex:
        self._refuse("complex()")

    def __bool__(self) -> bool:
        self._refuse("bool()")

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __len__(self) -> int:
        if not self.dims:
            raise TypeError("len() of a tensor of rank 0")
        first = self.dims[0]
        if isinstance(first, SymbolicDim):
            raise number_needed(first)
        return first

    def __repr__(self) -> str:
        return f"<gf.Tensor (symbolic): {self.type}>"

    __str__ = __repr__

    def __reduce__(self) -> NoReturn:
        raise TypeError("a symbolic tensor cannot be pickled")

    def __copy__(self) -> SymbolicTensor:
        return self


def known_dims(value: Value, trace: Trace) -> tuple[Dim, ...] | None:
    """The elements of an integer value as dims, where they follow from constants and extents alone."""
    value = trace.origin(value)
    node = value.producer
    if node is None or len(value.type.shape) > 1:
        return None
    name, attributes = node.op.name, node.attributes
    if name == "constant":
        return tuple(int(v) for v in np.atleast_1d(attributes["value"]))
    if name == "dimension":
        return (node.inputs[0].type.shape[attributes["axis"]],)
    if name in ("reshape", "identity", "cast", "broadcast_to"):
        return known_dims(node.inputs[0], trace)
    parts = [known_dims(v, trace) for v in node.inputs]
    if any(p is None for p in parts):
        return None
    known = [p for p in parts if p is not None]
    if name == "concat":
        return tuple(d for p in known for d in p)
    if name == "reduce_prod" and not value.type.shape:
        return (product(known[0]),)
    if name == "strided_slice" and len(known[0]) > 0:
        begin, strides = attributes.get("begin"), attributes.get("strides")
        count = value.type.elements
        if begin is not None and strides is not None and isinstance(begin[0], int) and isinstance(count, int):
            return tuple(known[0][begin[0] + k * strides[0]] for k in range(count))
        return None
    operations: dict[str, Callable[[Any, Any], Any]] = {
        "add": lambda a, b: a + b,
        "subtract": lambda a, b: a - b,
        "multiply": lambda a, b: a * b,
        "floordiv": lambda a, b: a // b,
    }
    if name in operations and len(known) == 2:
        count = max(len(known[0]), len(known[1]))
        left, right = (p * count if len(p) == 1 else p for p in known)
        return tuple(operations[name](a, b) for a, b in zip(left, right, strict=True))
    return None


def leaked(op: Op | None, tensors: Sequence[Any]) -> GraphflowError:
    """The error for a symbolic tensor that outlived its trace."""
    tensor = next(t for t in tensors if isinstance(t, SymbolicTensor))
    producer = tensor._value.producer
    made = f" made at {producer.source}" if producer is not None else ""
    used = f"{op.name}: " if op is not None else ""
    owner, inside = tensor._trace, tensor._trace.outer is not None
    error = TensorLeakError(
        f"{used}a symbolic tensor ({tensor.type}){made} is used outside the {owner.kind} that made it"
    )
    error.hint = (
        f"return it from the {owner.what} and use the result of the {owner.form}"
        if inside
        else "return it from the function instead of storing it"
    )
    return error


class Trace:
    """One run of a Python function on symbolic tensors."""

    what = form = "function"

    def __init__(self, name: str, may_create: bool, outer: Trace | None = None) -> None:
        self.builder = GraphBuilder(name)
        self.name = name
        self.may_create = may_create
        self.outer = outer
        self.root: Trace = self if outer is None else outer.root
        self.alive = True
        self.last_source = Source("unknown", 1, 0)
        self.variables: dict[int, tuple[Any, Value]] = {}
        self.created_variables: list[Any] = []
        self._lifted: dict[int, tuple[Tensor, SymbolicTensor]] = {}
        #: symbol -> (the tensor whose extent it is, the axis), for the run-time symbols that this trace's nodes define
        self.extent_places: dict[str, tuple[SymbolicTensor, int]] = {}
        if outer is None:
            self.run_time_symbols: set[str] = set()
            #: remarks made while tracing: (category, text, place)
            self.notes: list[tuple[str, str, Source]] = []
            #: eager tensors that sub-traces take as operands, not as constants of their own (a tape watches them)
            self.shared: set[int] = set()

    @property
    def kind(self) -> str:
        """What it is, for messages."""
        return f"function '{self.name}'"

    def subtrace(self, name: str, what: str = "body", form: str = "loop") -> Any:
        """A trace of a sub-graph: its ops may use this trace's tensors, which become operands (see subtrace.py)."""
        from .subtrace import Subtrace

        return Subtrace(self, name, what, form)

    def is_inside(self, other: Trace) -> bool:
        """Is it the other trace, or a sub-trace of it at any depth?"""
        trace: Trace | None = self
        while trace is not None and trace is not other:
            trace = trace.outer
        return trace is other

    def new_extent(self, prefix: str = "u") -> SymbolicDim:
        """A symbol for an extent that only the run decides: u0, u1 ... for results, k0, k1 ... inside a loop's body."""
        taken = self.root.run_time_symbols
        inputs = {name for v in self.root.builder.inputs for d in v.type.shape for name in symbols_of(d)}
        number = len(taken)
        while f"{prefix}{number}" in taken or f"{prefix}{number}" in inputs:
            number += 1
        taken.add(f"{prefix}{number}")
        return symbol(f"{prefix}{number}")

    def origin(self, value: Value) -> Value:
        """The value of an outer trace that a value stands for here, or the value itself."""
        return value

    # Nodes ------------------------------------------------------------------------------------------------------------
    def input(self, name: str, type: TensorType) -> SymbolicTensor:
        return SymbolicTensor(self, self.builder.input(name, type))

    def lift(self, tensor: Any) -> SymbolicTensor:
        """A tensor of this trace: eager tensors become constants. Raises TensorLeakError for another trace's
        tensors."""
        if isinstance(tensor, SymbolicTensor):
            if tensor._trace is not self:
                raise leaked(None, (tensor,))
            return tensor
        found = self._lifted.get(id(tensor))
        if found is None:
            value = self._node(OPS["constant"], (), {"value": tensor._array})[0]
            found = self._lifted[id(tensor)] = (tensor, SymbolicTensor(self, value))
        return found[1]

    def share(self, tensor: Any) -> SymbolicTensor:
        """lift, and let sub-traces use the lifted tensor: a tape that watches it has to see it as their operand."""
        if not isinstance(tensor, SymbolicTensor):
            self.root.shared.add(id(tensor))
        return self.lift(tensor)

    def _node(self, op: Op, inputs: Sequence[Value], attributes: dict[str, Any]) -> tuple[Value, ...]:
        forward = backward_source.get()
        self.last_source = capture() if forward is None else forward.as_backward()
        try:
            outputs = self.builder.add(op, inputs, attributes, self.last_source)
        except DimensionsMustAgree as clash:
            if not (symbols_of(clash.left) | symbols_of(clash.right)) & self.root.run_time_symbols:
                raise
            raise self._disagreement(op, inputs, clash) from None
        device = current_device()
        if device is not None:
            self.builder.nodes[-1].device = device
        return outputs

    def _disagreement(self, op: Op, inputs: Sequence[Value], clash: DimensionsMustAgree) -> ShapeError:
        shown = " and ".join(str(v.type) for v in inputs)
        error = ShapeError(
            f"{op.name}: the extents {clash.left} and {clash.right} must be equal, which only the run can tell "
            f"(operands {shown})"
        )
        error.hint = "say what the extent is with gf.ensure_shape(x, shape)"
        return error

    def add(self, op: Op, tensors: Sequence[Any], attributes: dict[str, Any]) -> tuple[SymbolicTensor, ...]:
        outputs = tuple(SymbolicTensor(self, v) for v in self._node(op, [t._value for t in tensors], attributes))
        if attributes.get("extents"):
            self.register_extents(outputs, attributes["extents"])
        if op.requires is not None:
            self._assert_extents(op, tuple(t._value.type for t in tensors), attributes)
        return outputs

    def _assert_extents(self, op: Op, types: tuple[TensorType, ...], attributes: dict[str, Any]) -> None:
        """Assertions that extents are large enough for an op, where they are no numbers that its type rule has checked."""
        for least, extent, text in op.requirements(types, attributes):
            if isinstance(dim_min(extent - least, 0), int):
                continue  # never less
            found, wanted = (self.lift(dimension_tensor(dim, int32)) for dim in (extent, least))
            (holds,) = self.add(OPS["greater_equal"], (found, wanted), {})
            own = {**OPS["assert_true"].attribute_defaults, "message": text, "name": op.name, "labels": (str(extent),)}
            self.add(OPS["assert_true"], (holds, found), own)

    def append(self, node: Node) -> tuple[Value, ...]:
        """Add a node that was built elsewhere."""
        self.builder.nodes.append(node)
        self.last_source = node.source
        if node.extents:
            self.register_extents([SymbolicTensor(self, v) for v in node.outputs], node.extents)
        return node.outputs

    def register_extents(self, outputs: Sequence[SymbolicTensor], names: Sequence[str]) -> None:
        """Remember where the run-time extents of a node's results can be read."""
        self.root.run_time_symbols.update(names)
        for tensor in outputs:
            for axis, dim in enumerate(tensor.dims):
                if isinstance(dim, SymbolicDim) and dim.text in names:
                    self.extent_places.setdefault(dim.text, (tensor, axis))

    def extent(self, dim: SymbolicDim) -> SymbolicTensor | None:
        """The extent as an int32 scalar, read off a tensor that has it; None where this trace has none."""
        place = self.extent_places.get(dim.text)
        for value in self.builder.inputs:
            if dim in value.type.shape and not value.is_variable:
                place = SymbolicTensor(self, value), value.type.shape.index(dim)
                break
        return None if place is None else self.add(OPS["dimension"], (place[0],), {"axis": place[1]})[0]

    # Control forms, for the rules that differentiate them --------------------------------------------------------------
    @contextmanager
    def tracing(self) -> Iterator[None]:
        """Ops inside go into this trace; tapes opened outside do not see them."""
        token, tapes = active_trace.set(self), recorders.set(())
        try:
            yield
        finally:
            recorders.reset(tapes)
            active_trace.reset(token)

    def dimension(self, dim: Dim, dtype: DType) -> Tensor:
        """An extent as a scalar of this trace, which must be the active one."""
        return self.lift(dimension_tensor(dim, dtype))

    def tensors(self, values: Sequence[Value]) -> list[SymbolicTensor]:
        """Tensors for values of this trace."""
        return [SymbolicTensor(self, v) for v in values]

    def replay_node(self, node: Node, operands: Sequence[Any], known: dict[str, Dim]) -> tuple[Any, ...]:
        """See interpret.replay_node."""
        from .interpret import replay_node

        return replay_node(self, node, [self.lift(t) for t in operands], known)

    def loop(self, condition: Any, body: Any, values: Sequence[Any], **options: Any) -> list[Any]:
        """See loops.loop; this trace must be the active one."""
        from .loops import loop

        return loop(condition, body, values, **options)

    def branch(self, index: Any, functions: Sequence[Any], **options: Any) -> Any:
        """See forms.branch; this trace must be the active one."""
        from .forms import branch

        return branch(index, functions, **options)

    # Variables --------------------------------------------------------------------------------------------------------
    def variable(self, variable: Any) -> Value:
        found = self.variables.get(id(variable))
        if found is None:
            name = variable.name.removesuffix(":0")
            safe = "".join(c if c.isalnum() or c == "_" else "_" for c in name) or "variable"
            if not (safe[0].isalpha() or safe[0] == "_"):
                safe = "v" + safe
            found = self.variables[id(variable)] = (variable, self.builder.input(safe, variable.reference_type))
        return found[1]

    def read_variable(self, variable: Any) -> SymbolicTensor:
        return SymbolicTensor(self, self._node(OPS["read_variable"], [self.variable(variable)], {})[0])

    def assign_variable(self, variable: Any, value: Any) -> None:
        self._node(OPS["assign_variable"], [self.variable(variable), self.lift(value)._value], {})

    def check_creation(self) -> None:
        if not self.may_create:
            error = VariableCreationError(f"a variable is created in '{self.name}' at a later trace than the first")
            error.hint = "create variables once: outside the function, or under `if self.v is None:`"
            raise error

    def created(self, variable: Any) -> None:
        self.created_variables.append(variable)

    def finish(self, outputs: Sequence[SymbolicTensor]) -> Graph:
        return self.builder.finish([t._value for t in outputs])


def dimension_tensor(dim: Dim, dtype: DType) -> Tensor:
    """A scalar tensor of an extent: a constant, or read off a tensor that has this extent."""
    trace = active_trace.get()
    if isinstance(dim, int) or trace is None:
        return Tensor(np.array(dim, dtype.numpy), dtype)
    from .. import math
    from ..ops import cast

    found = trace.extent(dim)
    if found is not None:
        return found if found.dtype is dtype else cast(found, dtype=dtype)
    if symbols_of(dim) == {dim.text}:
        raise ShapeError(f"the extent {dim} cannot be read here: no tensor in sight has it")
    # A compound extent: rebuild the polynomial from the inputs' extents.
    total: Any = Tensor(np.array(0, dtype.numpy), dtype)
    for monomial, coefficient in dim.terms:
        term: Any = Tensor(np.array(coefficient, dtype.numpy), dtype)
        for atom in monomial:
            if atom.kind == "symbol":
                factor = dimension_tensor(SymbolicDim({(atom,): 1}), dtype)
            else:
                left, right = dimension_tensor(atom.left, dtype), dimension_tensor(atom.right, dtype)
                name = {"floordiv": "floordiv", "min": "minimum", "max": "maximum"}[atom.kind]
                factor = getattr(math, name)(left, right)
            term = math.multiply(term, factor)
        total = math.add(total, term)
    return total


def current_device() -> str | None:
    """The device that an enclosing `gf.device` scope asks for, or None."""
    from ..devices import requested_device

    return requested_device.get()
