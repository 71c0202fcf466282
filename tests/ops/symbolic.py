"""Samples with symbols for extents: which extents of an op may vary, found by asking its type rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np

import graphflow as gf
from graphflow.errors import GraphflowError
from graphflow.ir.dims import Dim, DimensionsMustAgree, SymbolicDim, evaluate, substitute, symbol, symbols_of
from graphflow.ir.op import Op, Pointwise, Sample
from graphflow.ir.types import TensorType
from graphflow.ops.windows import window_count

from .factors import FACTORS
from .table import Array, good_samples, holds_program, references, types_of

#: Attributes that hold extents, and so may be symbolic themselves.
EXTENTS = ("shape", "sizes", "rows", "columns", "depth", "length")

#: An attribute of one of these names that is none: it counts axes.
COUNTS = {("gather_nd", "depth")}

#: The axes of each operand, from the end, that belong to a table made for one length (tests/signal has unknown lengths).
FIXED = {"fft": 1, "pair_fft": 2, "fourier_table": 2}

#: The extents that every symbol is given.
SIZES = (0, 1, 2, 17, 1000)

#: Elements of an operand or a result, at most; those of a factorisation, which takes the cube of the extent, and whose reference is slow.
MOST_ELEMENTS, MOST_ELEMENTS_OF_FACTORS = 40_000, 600

#: Samples of an op that are made symbolic, distinct in ranks, attributes and the places of ones; of an op of single elements.
MOST_SAMPLES, MOST_SAMPLES_OF_POINTWISE = 4, 2

Place = tuple[Any, ...]  # (operand, axis) or (attribute,) or (attribute, position)


@dataclass(frozen=True)
class Symbolic:
    """A sample whose extents may vary: `dims` gives an expression (or a number) for each axis of an operand and each extent in an
    attribute, `own` the symbols' values in the sample, `known` the axes of operands that must be numbers."""

    op: Op
    sample: Sample
    dims: Mapping[Place, Dim]
    own: Mapping[str, int]
    known: tuple[Place, ...] = field(default=())

    def types(self) -> tuple[TensorType, ...]:
        return _types(self.sample, self.dims)

    def attributes(self, env: Mapping[str, Dim]) -> dict[str, Any]:
        """The attributes with numbers (or a trace's own dims) for the symbols."""
        return _attributes(self.sample, {place: substitute(dim, env) for place, dim in self.dims.items()})

    def shapes(self, extents: Mapping[str, int]) -> list[tuple[int, ...]]:
        """The operands' shapes."""
        return [tuple(evaluate(d, extents) for d in t.shape) for t in self.types()]

    def results(self, extents: Mapping[str, int]) -> list[tuple[int, ...]] | None:
        """The results' shapes by the symbolic types; None where only the run decides."""
        found = self.op.result_types(self.types(), {**self.op.attribute_defaults, **self.attributes({})})
        shapes = [[substitute(d, extents) for d in t.shape] for t in found]
        if any(isinstance(d, SymbolicDim) for shape in shapes for d in shape):
            return None
        return [tuple(evaluate(d, {}) for d in shape) for shape in shapes]

    @property
    def loose(self) -> list[str]:
        """Symbols that are no operand's extent."""
        bound = {str(d) for t in self.types() for d in t.shape if isinstance(d, SymbolicDim)}
        return [name for name in self.own if name not in bound]


def _types(sample: Sample, dims: Mapping[Place, Dim]) -> tuple[TensorType, ...]:
    return tuple(
        t.with_shape(tuple(dims.get((k, a), d) for a, d in enumerate(t.shape))) for k, t in enumerate(types_of(sample))
    )


def _attributes(sample: Sample, dims: Mapping[Place, Dim]) -> dict[str, Any]:
    def value(name: str, own: Any) -> Any:
        if isinstance(own, tuple):
            return tuple(dims.get((name, k), v) for k, v in enumerate(own))
        return dims.get((name,), own)

    return {name: value(name, own) for name, own in sample.attributes.items()}


def places_of(op: Op, sample: Sample) -> dict[Place, int]:
    """Every extent of a sample, and its value."""
    found: dict[Place, int] = {(k, a): d for k, array in enumerate(sample.arrays) for a, d in enumerate(array.shape)}
    for name in EXTENTS:
        if (op.name, name) in COUNTS:
            continue
        own = sample.attributes.get(name)
        if isinstance(own, int) and not isinstance(own, bool):
            found[(name,)] = own
        elif isinstance(own, tuple):
            found.update({(name, k): v for k, v in enumerate(own) if isinstance(v, int)})
    return found


def solve(op: Op, sample: Sample, free: Iterator[Place] | Any) -> dict[Place, Dim] | None:
    """Expressions for these places that the type rule accepts. Where it needs two dims to be equal, a symbol becomes the other dim, if
    both are the same number in the sample. None where there is no such way."""
    every = places_of(op, sample)
    names: dict[str, Place] = {f"d{k}": place for k, place in enumerate(free)}
    own = {name: every[place] for name, place in names.items()}
    bound: dict[str, Dim] = {}
    defaults = op.attribute_defaults
    for _ in range(2 * len(names) + 2):
        dims = {place: _settled(symbol(name), bound) for name, place in names.items()}
        try:
            results = op.result_types(_types(sample, dims), {**defaults, **_attributes(sample, dims)})
        except DimensionsMustAgree as needed:
            pair = [needed.left, needed.right]
            if evaluate(pair[0], own) != evaluate(pair[1], own):
                return None
            # a later symbol (an attribute's before an operand's) becomes the other dim
            plain = [d for d in pair if isinstance(d, SymbolicDim) and str(d) in own and str(d) not in bound]
            if not plain:
                return None
            gone = max(plain, key=lambda d: int(str(d)[1:]))
            other = pair[1] if gone is pair[0] else pair[0]
            is_axis = not isinstance(names[str(gone)][0], str)
            if (
                str(gone) in symbols_of(other)
                or is_axis
                and isinstance(other, SymbolicDim)
                and not other.text.isidentifier()
            ):
                return None  # an operand's axis is a symbol or a number
            bound[str(gone)] = other
            continue
        except GraphflowError:
            return None
        plainly = op.result_types(types_of(sample), {**defaults, **sample.attributes})
        for found, expected in zip(results, plainly, strict=True):
            if len(found.shape) != len(expected.shape) or any(
                symbols_of(d) <= own.keys() and evaluate(d, own) != e
                for d, e in zip(found.shape, expected.shape, strict=True)
            ):
                return None
        return dims
    return None


def _settled(dim: Dim, bound: Mapping[str, Dim]) -> Dim:
    while symbols_of(dim) & bound.keys():
        dim = substitute(dim, bound)
    return dim


@cache
def symbolic_samples(op: Op) -> tuple[Symbolic, ...]:
    """A few of the op's samples with as many extents as possible free."""
    kinds: dict[Any, Sample] = {}
    for sample in good_samples(op):
        if holds_program(sample):
            continue  # tests/runtime and tests/control_flow run such with symbols
        if not any(a.ndim for a in sample.arrays) and not any(name in sample.attributes for name in EXTENTS):
            continue
        if any(not a.size or a.dtype.kind == "O" or a.size > 600 for a in sample.arrays) or sample.program is not None:
            continue
        shapes = tuple(tuple(d == 1 for d in a.shape) for a in sample.arrays)
        rest = tuple(repr(v) for k, v in sorted(sample.attributes.items()) if k not in EXTENTS)
        kinds.setdefault((shapes, rest), sample)
    chosen = list(kinds.values())
    most = MOST_SAMPLES_OF_POINTWISE if isinstance(op.kernel, Pointwise) else MOST_SAMPLES
    found = (symbolic(op, s) for s in chosen[:: max(1, -(-len(chosen) // most))])
    return tuple(s for s in found if s is not None)


def symbolic(op: Op, sample: Sample) -> Symbolic | None:
    """The sample with the largest set of free extents that the type rule takes."""
    every = places_of(op, sample)
    for k, array in enumerate(sample.arrays) if op.name in FIXED else ():
        is_row = k == 0 and sample.attributes.get("kind") == "to_complex"  # of numbers, not of pairs
        for axis in range(array.ndim - (1 if is_row else FIXED[op.name]), array.ndim):
            del every[(k, axis)]
        every.pop(("length",), None)
    ordered = sorted(every, key=lambda place: isinstance(place[0], str))  # operands first: attributes become theirs
    best: dict[Place, Dim] | None = None
    for count in range(len(ordered), 0, -1):
        subsets = combinations(ordered, count) if len(ordered) <= 9 else _greedily(op, sample, ordered, count)
        best = next((d for d in (solve(op, sample, free) for free in subsets) if d is not None), None)
        if best is not None:
            break
    if best is None:
        return None
    used = sorted({name for dim in best.values() for name in symbols_of(dim)}, key=lambda n: int(n[1:]))
    own = {name: every[ordered_place] for name, ordered_place in _owners(best, used).items()}
    known = tuple(
        place for place in every if not isinstance(place[0], str) and not isinstance(best.get(place, 0), SymbolicDim)
    )
    return Symbolic(op, sample, best, own, known)


def _owners(dims: Mapping[Place, Dim], names: list[str]) -> dict[str, Place]:
    return {name: next(place for place, dim in dims.items() if str(dim) == name) for name in names}


def _greedily(op: Op, sample: Sample, ordered: list[Place], count: int) -> Iterator[tuple[Place, ...]]:
    """One subset, made by adding place after place: for samples with too many of them to try all."""
    if count != len(ordered):
        return
    free: tuple[Place, ...] = ()
    for place in ordered:
        if solve(op, sample, (*free, place)) is not None:
            free = (*free, place)
    if free:
        yield free


# What the type rule leaves to the one who makes the node ---------------------------------------------------------------
def _slice_sizes(case: Symbolic, places: dict[Place, int]) -> dict[Place, int]:
    """A slice ends where its axis ends."""
    found = {}
    is_gradient = case.op.name == "strided_slice_gradient"
    for k, (begin, stride) in enumerate(
        zip(case.sample.attributes["begin"], case.sample.attributes["strides"], strict=True)
    ):
        extent = places[("shape", k) if is_gradient else (0, k)]
        size = (
            len(range(begin, extent, stride)) if stride > 0 else len(range(begin, -1, stride)) if begin < extent else 0
        )
        found[(0, k) if is_gradient else ("sizes", k)] = size
    return found


def _window_counts(case: Symbolic, places: dict[Place, int]) -> dict[Place, int]:
    """As many windows as fit."""
    own, axis = case.sample.attributes, case.sample.attributes["axis"]
    windowed = len(own["sizes"])
    extents = [places[("shape", k)] for k in range(len(own["shape"]))]
    counts = [
        max(0, window_count(extents[axis + k], *(own[name][k] for name in ("sizes", "strides", "dilations"))))
        for k in range(windowed)
    ]
    shape = [*extents[:axis], *counts, *own["sizes"], *extents[axis + windowed :]]
    return {(0, a): d for a, d in enumerate(shape)}


def _same_shape(case: Symbolic, places: dict[Place, int]) -> dict[Place, int]:
    """The second shape is the first."""
    rank = case.sample.arrays[0].ndim
    return {place: places[(0, a)] for a in range(rank) for place in (("shape", a), (1, a)) if place in case.dims}


def _index_width(case: Symbolic, places: dict[Place, int]) -> dict[Place, int]:
    """An index for each axis that is indexed."""
    return {(1, case.sample.arrays[1].ndim - 1): case.sample.attributes["depth"]}


DEPENDENT = {
    "gather_nd": _index_width,
    "strided_slice": _slice_sizes,
    "strided_slice_gradient": _slice_sizes,
    "fold_windows": _window_counts,
    "ensure_shape": _same_shape,
    "written_value": _same_shape,
}


def agreed(case: Symbolic, extents: dict[str, int]) -> dict[str, int]:
    """The extents, with those that depend on others."""
    make = DEPENDENT.get(case.op.name)
    if make is None:
        return extents
    every = {**places_of(case.op, case.sample), **{p: evaluate(d, extents) for p, d in case.dims.items()}}
    return {
        **extents,
        **{str(case.dims[p]): v for p, v in make(case, every).items() if isinstance(case.dims.get(p), SymbolicDim)},
    }


# Extents and arrays -------------------------------------------------------------------------------------------------
def scenarios(case: Symbolic) -> list[dict[str, int]]:
    """The sample's own extents; every symbol at each size; and each alone at the sizes 0, 1 and 1000 beside small ones. Sizes that make
    arrays too large become smaller ones."""
    names = list(case.own)
    wanted: list[dict[str, int]] = [dict(case.own), *(dict.fromkeys(names, size) for size in SIZES)]
    if len(names) > 1:
        wanted += [{n: size if n == one else 2 for n in names} for one in names for size in (0, 1, 1000)]
    found = []
    for extents in wanted:
        for size in (1000, 150, 17, 5, 2):
            smaller = agreed(case, {n: min(e, size) for n, e in extents.items()})
            if is_small(case, smaller):
                break
        if smaller not in found:
            found.append(smaller)
    return found


def is_small(case: Symbolic, extents: Mapping[str, int]) -> bool:
    shapes = [*case.shapes(extents), *(case.results(extents) or [])]
    most = MOST_ELEMENTS_OF_FACTORS if case.op.name in FACTORS else MOST_ELEMENTS
    return all(np.prod(shape, dtype=np.int64) <= most for shape in shapes)


def arrays_at(case: Symbolic, extents: Mapping[str, int]) -> tuple[Array, ...]:
    """The sample's arrays stretched to these extents, each element to its neighbours, so that what is sorted stays so."""
    found = []
    for array, shape in zip(case.sample.arrays, case.shapes(extents), strict=True):
        for axis, (old, new) in enumerate(zip(array.shape, shape, strict=True)):
            if old != new:
                array = np.take(array, np.arange(new) * old // max(new, 1), axis)
        found.append(array)
    if case.op.name in FACTORS and case.op.name != "tridiagonal_solve":
        found[0] = _well_conditioned(found[0])
    return tuple(found)


def _well_conditioned(matrix: Array) -> Array:
    """A symmetric matrix with separate positive eigenvalues; any other shape as it is, with a stronger diagonal."""
    rows, columns = matrix.shape[-2:]
    small = matrix / max(rows, columns, 1) / 8
    if rows == columns:
        small = small + np.swapaxes(small, -1, -2)
    diagonal = np.eye(rows, columns) * (2 + np.arange(columns))
    return (small + diagonal).astype(matrix.dtype)


def sample_at(case: Symbolic, extents: Mapping[str, int]) -> Sample:
    """The sample with these extents. Integers that name places are brought inside, where the reference finds them outside."""
    attributes = case.attributes(extents)
    arrays = arrays_at(case, extents)
    made = Sample(arrays, attributes, gradient=case.sample.gradient)
    if fails(case.op, made):
        inside = max(1, min([e for e in extents.values() if e], default=1))
        again = Sample(tuple(a % inside if a.dtype.kind in "iu" else a for a in arrays), attributes)
        if not fails(case.op, again):
            return again
    return made


def fails(op: Op, sample: Sample) -> bool:
    """Does the type rule or the reference raise?"""
    try:
        op.result_types(types_of(sample), {**op.attribute_defaults, **sample.attributes})
        references(op, sample)
    except (GraphflowError, ValueError, ZeroDivisionError, IndexError, np.linalg.LinAlgError):
        return True
    return False


def specs(case: Symbolic) -> list[Any]:
    """The signature's part of a case: its operands, and an empty one whose extents are the loose symbols."""
    found = [gf.TensorSpec([None if isinstance(d, SymbolicDim) else d for d in t.shape], t.dtype) for t in case.types()]
    return [*found, gf.TensorSpec([None] * len(case.loose) + [0], gf.bool)]


def env_of(case: Symbolic, operands: Any) -> dict[str, Dim]:
    """The symbols as dims of traced operands (those of `specs`)."""
    found: dict[str, Dim] = {}
    for t, operand in zip(case.types(), operands, strict=False):
        for dim, own in zip(t.shape, operand.dims, strict=True):
            if isinstance(dim, SymbolicDim):
                found.setdefault(str(dim), own)
    return found | dict(zip(case.loose, operands[-1].dims, strict=False))
