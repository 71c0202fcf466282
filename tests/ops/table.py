"""The table of ops x checks: which samples of an op each check runs on. The tests and tools/op_table.py ask the same functions, so that
docs/ops.md says what is tested."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

import graphflow as gf
import graphflow.ops
from graphflow.dtypes import DType, of_numpy, rounded
from graphflow.errors import GraphflowError
from graphflow.ir.graph import Graph
from graphflow.ir.op import OPS, Op, Pointwise, Sample
from graphflow.ir.types import TensorType, VariableType

Array = np.ndarray[Any, Any]

#: every op but the toys that tests define
EVERY_OP = [op for op in OPS.values() if not op.name.startswith("t_")]

DTYPES = tuple(
    gf.as_dtype(name)
    for name in "float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool".split()
)
COMPLEX = (gf.complex64, gf.complex128)


# Samples ------------------------------------------------------------------------------------------------------------
@cache
def samples_of(op: Op) -> tuple[Sample, ...]:
    return tuple(op.samples()) if op.samples is not None else ()


def good_samples(op: Op) -> list[Sample]:
    return [s for s in samples_of(op) if s.error is None]


def bad_samples(op: Op) -> list[Sample]:
    return [s for s in samples_of(op) if s.error is not None]


def gradient_samples(op: Op) -> Iterator[Sample]:
    """Those where central differences in float64 mean something."""
    for sample in good_samples(op) if op.gradient is not None else ():
        floats = [a for a in sample.arrays if a.dtype.kind == "f"]
        if sample.gradient and floats and all(a.dtype == np.float64 for a in floats) and sum(a.size for a in floats):
            yield sample


# Running ------------------------------------------------------------------------------------------------------------
def several(results: Any) -> tuple[Any, ...]:
    return () if results is None else tuple(results) if isinstance(results, (tuple, list)) else (results,)


def types_of(sample: Sample, dtype: type[TensorType] = TensorType) -> tuple[TensorType, ...]:
    """The operands' types: where the sample has a program, the first is a variable's."""
    found = [TensorType(of_numpy(a.dtype), a.shape) for a in sample.arrays]
    if sample.program is not None:
        found[0] = VariableType(found[0].dtype, found[0].shape)
    return tuple(found)


def operands_of(sample: Sample) -> list[Any]:
    """Tensors, and a variable where the sample has a program."""
    found: list[Any] = [gf.constant(a) for a in sample.arrays]
    if sample.program is not None:
        found[0] = gf.Variable(sample.arrays[0])
    return found


def apply(op: Op, sample: Sample, operands: Sequence[Any], attributes: Any = None) -> tuple[Any, ...]:
    """The op's results, at once or in the trace."""
    if sample.program is not None:
        return several(sample.program(*operands))
    return several(op(*operands, **(sample.attributes if attributes is None else attributes)))


def after(sample: Sample, operands: Sequence[Any]) -> list[Any]:
    """What the variables among the operands hold."""
    return [operands[0].numpy()] if sample.program is not None else []


def references(op: Op, sample: Sample) -> list[Array]:
    """What the record's reference gives, and then what the variables hold."""
    assert op.reference is not None
    arrays = list(sample.arrays)
    if sample.program is not None:
        arrays[0] = arrays[0].copy()
    with np.errstate(all="ignore"):
        found = [np.asarray(r) for r in several(op.reference(*arrays, **sample.attributes))]
    return found + arrays[: sample.program is not None]


def bits(array: Any) -> Array:
    """The array as integers, every NaN as one."""
    array = np.asarray(array)
    if array.dtype.kind == "c":
        return np.stack([bits(array.real.copy()), bits(array.imag.copy())], -1)
    if array.dtype.kind in "biuO":
        return array
    return np.where(np.isnan(array), -1, np.ascontiguousarray(array).view(f"i{array.dtype.itemsize}"))


def is_accepted(op: Op, types: tuple[TensorType, ...], attributes: Any) -> bool:
    """Does the type rule take them?"""
    try:
        op.result_types(types, {**op.attribute_defaults, **attributes})
    except GraphflowError:
        return False
    return True


# Other dtypes -------------------------------------------------------------------------------------------------------
#: how many combinations of dtypes the check of dtypes tries of an op: each costs a compilation in eager mode
MOST_COMBINATIONS = 60


def edge_values(dtype: DType) -> Array:
    """Zeros of both signs, ones, infinities, NaN, the smallest and the largest numbers."""
    if dtype.is_bool:
        return np.array([False, True])
    if dtype.is_integer:
        least, most = dtype.min, dtype.max
        return np.array(sorted({least, least + 1, 0, 1, 2, most - 1, most, max(least, -1)}), dtype.numpy)
    smallest = np.nextafter(np.zeros((), dtype.numpy), np.ones((), dtype.numpy))
    return np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, smallest, -smallest, dtype.max], dtype.numpy)


def converted(array: Array, dtype: DType) -> Array:
    """About the same numbers in another dtype, small enough for each."""
    if dtype.is_bool:
        return array > 0
    wide = array.astype(np.float64)
    if dtype.is_integer:
        whole = np.rint(np.abs(wide) if dtype.is_unsigned else wide)
        return np.asarray(np.clip(whole, max(dtype.min, -(2**31)), min(dtype.max, 2**31))).astype(dtype.numpy)
    with np.errstate(over="ignore"):
        made = np.asarray(rounded(wide.astype(np.float32), dtype) if dtype.is_narrow else wide.astype(dtype.numpy))
    large = np.isfinite(wide) & ~np.isfinite(made)
    return np.where(large, np.copysign(dtype.numpy.type(dtype.max), made), made).astype(dtype.numpy)


def in_dtype(sample: Sample, source: DType, target: DType) -> Sample:
    """The sample with the arrays and the attributes of one dtype in another."""
    arrays = tuple(converted(a, target) if a.dtype == source.numpy else a for a in sample.arrays)
    attributes = {k: _in_dtype(v, source, target) for k, v in sample.attributes.items()}
    return Sample(arrays, attributes, None, sample.gradient, sample.program)


def _in_dtype(value: Any, source: DType, target: DType) -> Any:
    if isinstance(value, np.ndarray):
        return converted(value, target) if value.dtype == source.numpy else value
    return target if value is source else value


def at_edges(sample: Sample, source: DType, target: DType) -> Sample:
    """The edge values of a dtype, crossed, in the place of the arrays of another (for ops of single elements)."""
    edges, count = edge_values(target), sum(a.dtype == source.numpy for a in sample.arrays)
    crossed = iter(np.meshgrid(*[edges] * count, indexing="ij", sparse=True))
    own = [
        next(crossed) if a.dtype == source.numpy else np.resize(a, (len(edges),) * max(count, 1)) for a in sample.arrays
    ]
    attributes = {k: target if v is source else v for k, v in sample.attributes.items()}
    return Sample(tuple(own), attributes, None, False, sample.program)


def dtypes_of(sample: Sample) -> tuple[str, ...]:
    """The dtypes among operands and attributes."""
    return (
        *(a.dtype.name for a in sample.arrays),
        *(v.name for v in map(dtype_in, sample.attributes.values()) if v is not None),
    )


def dtype_in(attribute: Any) -> DType | None:
    """A dtype, or that of an array."""
    return (
        of_numpy(attribute.dtype)
        if isinstance(attribute, np.ndarray)
        else attribute
        if isinstance(attribute, DType)
        else None
    )


def dtype_samples(op: Op) -> list[Sample]:
    """An op's samples in the dtypes that its type rule takes and its own samples lack: two of each, one of them of edge values where the
    own samples have such; of some combinations of dtypes, where there are very many. (Complex numbers:
    graphflow.ops.samples.complex_samples.)"""
    every = list(_derived(op).values())
    step = -(-len(every) // MOST_COMBINATIONS) or 1
    return [s for own in every[::step] for s in own]


@cache
def _derived(op: Op) -> dict[tuple[str, ...], list[Sample]]:
    plain = [s for s in good_samples(op) if all(a.size for a in s.arrays) and _is_plain(s) and not holds_program(s)]
    plain.sort(key=lambda s: -max((a.ndim for a in s.arrays), default=0))
    have = {dtypes_of(s) for s in good_samples(op)}
    found: dict[tuple[str, ...], list[Sample]] = {}
    for sample in plain:
        sources = {gf.as_dtype(name) for name in dtypes_of(sample)}
        for source in sorted(sources - {gf.string, *COMPLEX}, key=str):
            for target in DTYPES:
                made = in_dtype(sample, source, target)
                key = dtypes_of(made)
                if key in have or len(found.get(key, ())) >= 2 or not _runs(op, made):
                    continue
                own = found.setdefault(key, [])
                own.append(made)
                if isinstance(op.kernel, Pointwise) and _has_edges(op) and len(own) == 1:
                    edges = at_edges(sample, source, target)
                    if _runs(op, edges):
                        own.append(edges)
    return found


def holds_program(sample: Sample) -> bool:
    """Is a graph or a function among the attributes? It is made for the types of this sample's operands."""
    values = [v for own in sample.attributes.values() for v in (own if isinstance(own, tuple) else (own,))]
    return any(isinstance(v, Graph) or callable(v) for v in values)


def _is_plain(sample: Sample) -> bool:
    return all(
        a.dtype.kind in "biuf" and np.isfinite(a.astype(np.float64)).all() and a.size < 600 for a in sample.arrays
    )


def _has_edges(op: Op) -> bool:
    """Does the op take every number?"""
    return any(a.dtype.kind == "f" and np.isnan(a).any() for s in good_samples(op) for a in s.arrays)


def _runs(op: Op, sample: Sample) -> bool:
    """Does the type rule take the sample, and the reference give an answer?"""
    if not is_accepted(op, types_of(sample), sample.attributes):
        return False
    try:
        narrow_references(op, sample)
    except (GraphflowError, ValueError, ZeroDivisionError, IndexError, np.linalg.LinAlgError):
        return False
    return True


def narrow_references(op: Op, sample: Sample) -> list[Array]:
    """The references, with float16 and bfloat16 computed in float32 unless the op takes them as they are."""
    return references(op, sample if op.takes_narrow else widened(sample))


def widened(sample: Sample) -> Sample:
    """float32 for float16 and bfloat16."""
    arrays = tuple(a.astype(np.float32) if of_numpy(a.dtype).is_narrow else a for a in sample.arrays)
    attributes = {k: gf.float32 if isinstance(v, DType) and v.is_narrow else v for k, v in sample.attributes.items()}
    return Sample(arrays, attributes, sample.error, sample.gradient, sample.program)


@cache
def accepted_dtypes(op: Op) -> tuple[DType, ...]:
    """What the data may be: dtypes of operands and attributes (of results, for ops without any) among the samples that run."""
    from graphflow.ops.samples import complex_samples

    names: set[str] = {name for key in _derived(op) for name in key}
    for sample in [*good_samples(op), *complex_samples(op)]:
        results = op.result_types(types_of(sample), {**op.attribute_defaults, **sample.attributes})
        names |= set(dtypes_of(sample)) or {t.dtype.name for t in results}
    return tuple(d for d in (*DTYPES, *COMPLEX) if d.name in names)


def takes_everything(op: Op) -> bool:
    """Does the type rule take every dtype and every rank, so that no sample can fail?"""
    attributes = good_samples(op)[0].attributes
    shapes: list[tuple[int, ...]] = [(), (3,), (2, 0), (1, 2, 3)]
    return all(
        is_accepted(op, (TensorType(d, s),) * len(op.operands), attributes) for d in (*DTYPES, *COMPLEX) for s in shapes
    )


def says(op: Op) -> str:
    """A pattern of an error's text: it begins with the op's name."""
    return rf"(?i){re.escape(op.name)}[:\s]"
