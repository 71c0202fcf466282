"""The cases: calls of public functions (tests/public/calls.py) and samples of ops, good and bad ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

import graphflow as gf
import graphflow.ops
from graphflow.dtypes import DType
from graphflow.ir.op import OPS, Control, Effect, Op, Pointwise, Sample
from graphflow.ops.samples import complex_samples
from tests.public.calls import CALLS, INSTEAD, arguments_of, function_of

from .expressions import NAMED, PREPARED, RECORD_ONLY, WITHOUT, WITHOUT_GRADIENT, WRITTEN


@dataclass(frozen=True)
class Case:
    """One function of arrays, on both sides.

    group: "call", "op" or "expression", and the call's or op's name; label: tells the cases of a group apart; elementwise: floats are as
    exact as themselves, not as the largest of them; compiled: compare inside functions too; reference: the op's definition in NumPy, with
    these attributes; gradients: compare them too.
    """

    group: str
    label: str
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    arrays: tuple[Any, ...]
    elementwise: bool = False
    compiled: bool = False
    reference: Callable[..., Any] | None = None
    attributes: dict[str, Any] | None = None
    gradients: bool = True


def calls(tf: Any) -> Iterator[Case]:
    """The calls of the public functions."""
    for name, expression in CALLS.items():
        ours, arrays = function_of(expression, gf)
        theirs, _ = function_of(INSTEAD.get(name, expression), tf, arguments_of(expression))
        yield Case(f"call {name}", expression, ours, theirs, tuple(arrays), compiled=True)


def samples(tf: Any) -> Iterator[Case]:
    """The samples of every op that TensorFlow has an expression for."""
    for op in OPS.values():
        if op.samples is None or op.name in WITHOUT or _is_outside(op):
            continue
        for sample in [*op.samples(), *complex_samples(op)]:
            yield from _sample_cases(op, sample, tf)


def _is_outside(op: Op) -> bool:
    """Control flow and state: a sample is not a function of arrays that TensorFlow has. The calls compare loops and branches."""
    return isinstance(op.kernel, (Control, Effect)) and op.name != "constant"


def unassigned() -> list[str]:
    """Ops with samples that expressions.py does not know, and names there that are no such op."""
    sampled = {op.name for op in OPS.values() if op.samples is not None and not _is_outside(op)}
    known = {*NAMED, *WRITTEN, *WITHOUT}
    return sorted(sampled ^ known)


def _sample_cases(op: Op, sample: Sample, tf: Any) -> Iterator[Case]:
    """A sample through the op's record (a good one), and through the same public expression on both sides."""
    attributes = {**op.attribute_defaults, **sample.attributes}
    theirs = _expression(
        op.name, tf, {n: tf.as_dtype(v.name) if isinstance(v, DType) else v for n, v in attributes.items()}
    )
    shared: dict[str, Any] = {
        "label": _label(sample), "theirs": theirs, "arrays": sample.arrays, "attributes": attributes, "reference": op.reference,
        "elementwise": isinstance(op.kernel, Pointwise) or op.name in NAMED, "gradients": op.name not in WITHOUT_GRADIENT,
    }  # fmt: skip
    if sample.error is None:
        record = _prepared(op, dict(sample.attributes), PREPARED.get(op.name, lambda found: found))
        yield Case(group=f"op {op.name}", ours=record, **shared)
    if op.name not in RECORD_ONLY:
        yield Case(group=f"expression {op.name}", ours=_expression(op.name, gf, attributes), **shared)


def _prepared(op: Op, attributes: dict[str, Any], prepare: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *tensors: prepare(op(*tensors, **attributes))


def _expression(name: str, module: Any, attributes: dict[str, Any]) -> Callable[..., Any]:
    if name in WRITTEN:
        return lambda *tensors: WRITTEN[name](module, *tensors, **attributes)
    function = module
    for part in NAMED[name].split("."):
        function = getattr(function, part)
    return cast(Callable[..., Any], function)


def _label(sample: Sample) -> str:
    operands = ", ".join(f"{a.dtype}{list(a.shape)}" for a in map(np.asarray, sample.arrays))
    attributes = ", ".join(f"{name}={value}" for name, value in sample.attributes.items())
    return f"{operands}; {attributes}" if attributes else operands
