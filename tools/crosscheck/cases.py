"""The cases: calls of public functions (tests/public/calls.py) and samples of ops, good and bad ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphflow as gf
import graphflow.ops
from graphflow.dtypes import DType
from graphflow.ir.op import OPS, Op, Pointwise, Sample
from graphflow.ops.samples import complex_samples
from tests.public.calls import CALLS, function_of

from .expressions import NAMED, PREPARED, WITHOUT, WRITTEN


@dataclass(frozen=True)
class Case:
    """One function of arrays, on both sides. group: what differences are accepted for (a call's or op's name); label: tells the cases of a
    group apart; elementwise: floats are as exact as themselves, not as the largest of them; compiled: compare inside functions too."""

    group: str
    label: str
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    arrays: tuple[Any, ...]
    elementwise: bool = False
    compiled: bool = False


def calls(tf: Any) -> Iterator[Case]:
    """The calls of the public functions."""
    for name, expression in CALLS.items():
        ours, arrays = function_of(expression, gf)
        theirs, _ = function_of(expression, tf)
        yield Case(name, expression, ours, theirs, tuple(arrays), compiled=True)


def samples(tf: Any) -> Iterator[Case]:
    """The samples of every op that TensorFlow has an expression for."""
    for op in OPS.values():
        if op.samples is None or op.name in WITHOUT:
            continue
        for sample in [*op.samples(), *complex_samples(op)]:
            yield _sample_case(op, sample, tf)


def unassigned() -> list[str]:
    """Ops with samples that expressions.py does not know, and names there that are no such op."""
    sampled = {op.name for op in OPS.values() if op.samples is not None}
    known = {*NAMED, *WRITTEN, *WITHOUT}
    return sorted(sampled ^ known)


def _sample_case(op: Op, sample: Sample, tf: Any) -> Case:
    attributes = {**op.attribute_defaults, **sample.attributes}
    prepare = PREPARED.get(op.name)

    def ours(*tensors: Any) -> Any:
        found = op(*tensors, **sample.attributes)
        return found if prepare is None else prepare(gf, found)

    if op.name in WRITTEN:
        converted = {name: tf.as_dtype(v.name) if isinstance(v, DType) else v for name, v in attributes.items()}
        theirs = _with(WRITTEN[op.name], tf, converted)
    else:
        theirs = tf
        for part in NAMED[op.name].split("."):
            theirs = getattr(theirs, part)
        if op.name == "relu_gradient":
            theirs = _keywords(theirs, ("gradients", "features"))
    return Case(
        f"op {op.name}", _label(sample), ours, theirs, sample.arrays, elementwise=isinstance(op.kernel, Pointwise)
    )


def _with(function: Callable[..., Any], tf: Any, attributes: dict[str, Any]) -> Callable[..., Any]:
    return lambda *tensors: function(tf, *tensors, **attributes)


def _keywords(function: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    return lambda *tensors: function(**dict(zip(names, tensors, strict=True)))


def _label(sample: Sample) -> str:
    operands = ", ".join(f"{a.dtype}{list(a.shape)}" for a in map(np.asarray, sample.arrays))
    attributes = ", ".join(f"{name}={value}" for name, value in sample.attributes.items())
    return f"{operands}; {attributes}" if attributes else operands
