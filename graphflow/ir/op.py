"""The record of an op: all that is true of it, in one place. Ops are defined in graphflow/ops, one record each.

A kernel description says what the op computes in target-neutral terms; what may be fused follows from its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..dtypes import DType
from ..errors import DTypeError, ResourceExhaustedError, ShapeError
from .dims import Dim, SymbolicDim
from .types import TensorType

__all__ = ["OPS", "Alias", "Composite", "Contract", "Control", "Effect", "Indexed", "Interleave", "Kernel", "Library", "Op",
           "Pointwise", "Reduce", "Sample", "View", "define_op"]  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """Base of kernel descriptions."""


@dataclass(frozen=True)
class Pointwise(Kernel):
    """One output element from the operands' elements at the same position (operands broadcast as in NumPy).
    emit(s, *scalars, **attributes) -> Scalar. `cost` is about the number of instructions, for fusion decisions."""

    emit: Callable[..., Any]
    cost: int = 1


@dataclass(frozen=True)
class Indexed(Kernel):
    """One output element from its position and from operand elements at computed positions.
    emit(s, operands, index, **attributes) -> Scalar: operands[k](*positions) loads (a rank-0 call loads a scalar), index[a] is
    the int64 position along output axis a, operands[k].shape[d] its extents as int64 scalars."""

    emit: Callable[..., Any]
    cost: int = 2


@dataclass(frozen=True)
class Reduce(Kernel):
    """A monoid over attributes["axes"]. combine(s, a, b) -> Scalar and start(dtype) -> Python value. `index` reductions (argmax)
    carry the position too: better(s, a, b) -> bool scalar says when b replaces a."""

    combine: Callable[..., Any] | None
    start: Callable[..., Any]
    better: Callable[..., Any] | None = None


@dataclass(frozen=True)
class View(Kernel):
    """The operand read through an affine index map, no arithmetic. map(shape, strides, **attributes) -> (offset, strides of the
    output's axes), all in elements."""

    map: Callable[..., Any]


@dataclass(frozen=True)
class Alias(Kernel):
    """The operand's bytes in order under another shape (reshape, identity)."""


@dataclass(frozen=True)
class Interleave(Kernel):
    """The elements of two operands of one shape, in turn: a new last axis of 2. A loop stores both where it computes them."""


@dataclass(frozen=True)
class Composite(Kernel):
    """No kernel of its own: a pass writes it with other ops before code is made (passes/lower_complex.py)."""


@dataclass(frozen=True)
class Contract(Kernel):
    """A matrix product; its own code generator."""


@dataclass(frozen=True)
class Library(Kernel):
    """A kernel written by hand for this op; `name` selects it in the code generator."""

    name: str


@dataclass(frozen=True)
class Control(Kernel):
    """Runs the sub-graphs among its attributes. kind: "switch", "while", "call"."""

    kind: str


@dataclass(frozen=True)
class Effect(Kernel):
    """Reads or writes something outside the graph. kind: "read", "write", "print", "assert", "call" (Python), "copy",
    "constant"."""

    kind: str


@dataclass(frozen=True)
class Sample:
    """One test input of an op: arrays (NumPy) for the operands, attributes, and the error class if it must fail. `gradient` says
    that central differences are meaningful here (away from kinks). `program(variable, *operands)` is how a program reaches an op
    whose first operand is a variable, which then holds the first array."""

    arrays: tuple[Any, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    error: type[Exception] | None = None
    gradient: bool = True
    program: Callable[..., Any] | None = None


#: (least, extent, what is wrong if the extent is less)
Requirement = tuple[Dim, Dim, str]


@dataclass(frozen=True, eq=False)
class Op:
    """See define_op."""

    name: str
    operands: tuple[str, ...]
    attributes: Mapping[str, Any]
    infer: Callable[..., Any]
    kernel: Kernel
    gradient: Callable[..., Any] | None
    no_gradient: str
    reference: Callable[..., Any] | None
    samples: Callable[[], list[Sample]] | None
    numpy: Callable[..., Any] | None = None
    commutative: bool = False
    unit: float | None = None
    zero: float | None = None
    idempotent: bool = False
    documentation: str = ""
    fallible: str = ""
    narrow: bool = False
    strings: bool = False
    requires: Callable[..., Iterable[Requirement]] | None = None

    @cached_property
    def takes_strings(self) -> bool:
        """Are string operands taken? By eager tensors alone, which NumPy moves."""
        return self.strings or isinstance(self.kernel, (View, Alias))

    @cached_property
    def takes_narrow(self) -> bool:
        """Are float16 and bfloat16 operands and results taken as they are, because elements only move or are converted?"""
        return self.narrow or isinstance(self.kernel, (View, Alias, Effect, Control))

    def numpy_call(self, dtypes: Iterable[DType]) -> Callable[..., Any] | None:
        """The NumPy call with the kernel's bits for operands and results of these dtypes, if there is one: NumPy rounds narrow floats
        in ways of its own, and may fuse the operations of complex arithmetic, so with them it may only move elements."""
        found = tuple(dtypes)
        if any(d.is_string for d in found):
            return self.numpy or self.reference
        if any(d.is_complex for d in found) and isinstance(self.kernel, (Pointwise, Reduce, Composite)):
            return None
        if self.numpy is None or not any(d.is_narrow for d in found):
            return self.numpy
        return self.numpy if self.takes_narrow and not isinstance(self.kernel, Pointwise) else None

    @property
    def variadic(self) -> bool:
        """Does the last operand stand for any number of values?"""
        return bool(self.operands) and self.operands[-1].startswith("*")

    @cached_property
    def attribute_defaults(self) -> dict[str, Any]:
        """The attributes that need not be given, with their values."""
        return {name: value for name, value in self.attributes.items() if value is not ...}

    @cached_property
    def is_pure(self) -> bool:
        """No effect: may be merged, moved, folded or dropped."""
        return not isinstance(self.kernel, Effect) or self.kernel.kind in ("copy", "constant")

    def result_types(self, types: tuple[TensorType, ...], attributes: Mapping[str, Any]) -> tuple[TensorType, ...]:
        """Output types. Raises DTypeError, ShapeError ... naming op, requirement and both values."""
        result = self.infer(types, **attributes)
        found = result if isinstance(result, tuple) else (result,)
        for least, extent, text in self.requirements(types, attributes):
            gap = extent - least
            if isinstance(gap, int) and gap < 0:
                raise ShapeError(f"{self.name}: {text}")
        for type_ in found:
            _check_extents(self.name, type_)
        return found

    def requirements(self, types: tuple[TensorType, ...], attributes: Mapping[str, Any]) -> list[Requirement]:
        """What the extents have to be: result_types refuses numbers that are less, and a trace asserts it of the others."""
        return list(self.requires(types, **attributes)) if self.requires is not None else []

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _find, (self.name,)

    def __call__(self, *operands: Any, **attributes: Any) -> Any:
        """Apply the op to tensors: executes eagerly or adds a node to the trace, whichever is active."""
        return dispatch(self, operands, attributes)


#: more bytes than any address can have
_TOO_MANY_BYTES = 2**62


def _check_extents(name: str, type_: TensorType) -> None:
    """Raises DTypeError for an extent that is no integer, ShapeError for a negative one, ResourceExhaustedError for more bytes than
    there are addresses (the sum of sizes would overflow)."""
    count = 1
    for extent in type_.shape:
        if isinstance(extent, int):
            if extent < 0:
                raise ShapeError(
                    f"{name}: an extent must not be negative, got {extent} in {type_}; use sizes from 0 on"
                )
            count *= extent or 1
        elif not isinstance(extent, SymbolicDim):
            raise DTypeError(f"{name}: an extent must be an int, got {extent!r} in {type_}; use whole numbers")
    if count * max(type_.dtype.itemsize, 1) >= _TOO_MANY_BYTES:
        raise ResourceExhaustedError(f"{name}: {type_} needs more bytes than there are addresses")


def _find(name: str) -> Op:
    return OPS[name]


#: name -> record of every op.
OPS: dict[str, Op] = {}


def _no_dispatch(op: Op, operands: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
    raise RuntimeError("graphflow's tensor layer is not loaded: import graphflow, not its parts")


_dispatcher: Callable[[Op, tuple[Any, ...], dict[str, Any]], Any] = _no_dispatch


def set_dispatcher(dispatcher: Callable[[Op, tuple[Any, ...], dict[str, Any]], Any]) -> None:
    """Installed once by the tensor layer: how an op applied to tensors is carried out."""
    global _dispatcher
    _dispatcher = dispatcher


def dispatch(op: Op, operands: tuple[Any, ...], attributes: dict[str, Any]) -> Any:
    return _dispatcher(op, operands, attributes)


def define_op(
    name: str,
    operands: str = "",
    *,
    infer: Callable[..., Any],
    kernel: Kernel,
    gradient: Callable[..., Any] | None = None,
    no_gradient: str = "",
    reference: Callable[..., Any] | None = None,
    samples: Callable[[], list[Sample]] | None = None,
    numpy: Callable[..., Any] | None = None,
    attributes: Mapping[str, Any] | None = None,
    commutative: bool = False,
    unit: float | None = None,
    zero: float | None = None,
    idempotent: bool = False,
    documentation: str = "",
    fallible: str = "",
    narrow: bool = False,
    strings: bool = False,
    requires: Callable[..., Iterable[Requirement]] | None = None,
) -> Op:
    """Define an op and register it.

    name: the IR name. operands: their names, space separated; a last one `*values` takes any number.
    attributes: name -> default (`...` marks a required one). infer(types, **attributes) -> TensorType(s).
    kernel: what it computes. gradient(node, *output gradients) -> one gradient (or None) per operand, built with ops, where
    node.inputs, node.outputs, node.attributes are those of the forward op; else no_gradient says why there is none.
    reference(*arrays, **attributes) -> array(s): NumPy, the definition; a variable's array is written in place. samples() -> test
    inputs.
    numpy: a NumPy call with exactly the kernel's bits, used by eager mode. commutative/unit/zero/idempotent: algebra.
    fallible: the run-time error its kernel can report ("division_by_zero", "index_out_of_range"). narrow: the kernel only moves or
    converts elements, and takes float16 and bfloat16 as they are (other kernels get float32: passes/widen_narrow.py). strings: eager
    string tensors are taken too, by the NumPy call or the reference (views and aliases take them anyway). requires(types,
    **attributes) -> (least, extent, text)s: extents that must not be less; the text says what is wrong with those that are.
    """
    if name in OPS:
        raise ValueError(f"op {name!r} is defined twice")
    if (gradient is None) == (not no_gradient):
        raise ValueError(f"op {name!r} needs a gradient rule or a no_gradient reason, and not both")
    op = OPS[name] = Op(
        name, tuple(operands.split()), dict(attributes or {}), infer, kernel, gradient, no_gradient, reference, samples,
        numpy, commutative, unit, zero, idempotent, documentation, fallible, narrow, strings, requires,
    )  # fmt: skip
    return op
