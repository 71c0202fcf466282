"""Sample inputs that ops' records share: small arrays over each op's domain, with edges, and inputs that must fail.

float32 and float64 get every shape; the other dtypes get two, because each dtype and rank costs the tests a
compilation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dtypes import of_numpy
from ..errors import DTypeError, GraphflowError, ShapeError
from ..ir.graph import Graph
from ..ir.op import Sample
from ..ir.parser import parse
from ..ir.types import TensorType

__all__ = [
    "FLOATS", "INTEGERS", "NUMBERS", "axis_reductions", "binary", "complex_fill", "complex_samples", "fill",
    "graph_of", "samples", "unary",
]  # fmt: skip

FLOATS = ("float32", "float64")
INTEGERS = ("int32", "int64", "int8", "uint8", "int16", "uint16", "uint32", "uint64")
NUMBERS = FLOATS + INTEGERS

FLOAT_EDGES = (0.0, -0.0, 1.0, -1.0, float("inf"), float("-inf"), float("nan"), 1e-40, -1e-40, 3.4e38)

Samples = Callable[[], list[Sample]]


def fill(shape: Sequence[int], dtype: str, low: float = -4, high: float = 4, seed: int = 0) -> np.ndarray[Any, Any]:
    """Random values in [low, high] (in [max(low, 0), high] for unsigned dtypes)."""
    if dtype in ("complex64", "complex128"):
        return complex_fill(shape, dtype, low, high, seed)
    generator = np.random.default_rng(seed)
    if dtype == "bool":
        return np.asarray(generator.integers(0, 2, shape)).astype(bool)
    if np.dtype(dtype).kind in "iu":
        low = max(low, 0) if np.dtype(dtype).kind == "u" else low
        return np.asarray(generator.integers(int(np.ceil(low)), int(np.floor(high)) + 1, shape)).astype(dtype)
    return np.asarray(generator.uniform(low, high, shape)).astype(dtype)


def complex_fill(
    shape: Sequence[int], dtype: str = "complex64", low: float = -4, high: float = 4, seed: int = 0
) -> np.ndarray[Any, Any]:
    """Random complex values with both parts in [low, high]."""
    parts = fill((*shape, 2), "float64", low, high, seed)
    return np.asarray(parts[..., 0] + 1j * parts[..., 1]).astype(dtype)


def graph_of(inputs: str, *nodes: str, results: str = "%0") -> Graph:
    """A graph of these nodes for an attribute that holds one, from their text form (docs/ir.md)."""
    types = dict(text.split(": ", 1) for text in (node.split(" = ", 1)[0] for node in nodes))
    shown = ", ".join(types[name] for name in results.split(", "))
    return parse("\n  ".join([f"graph sample({inputs}) -> ({shown}) {{", *nodes, f"return {results}", "}"]))


def complex_samples(op: Any, most: int = 4) -> list[Sample]:
    """An op's good samples with complex operands: those that it has, and its float samples with imaginary parts added. None where
    the op does not take complex numbers. At most `most` of each dtype, of those that are finite and small."""
    found: dict[str, list[Sample]] = {"complex64": [], "complex128": []}
    for seed, sample in enumerate(op.samples() if op.samples is not None else []):
        if sample.error is not None or not all(np.isfinite(a).all() and a.size < 60 for a in sample.arrays):
            continue
        arrays = [_with_imaginary_part(a, seed + k) for k, a in enumerate(sample.arrays)]
        kinds = {a.dtype.name for a in arrays if a.dtype.kind in "fc"}
        if len(kinds) != 1 or not kinds <= found.keys() or len(found[min(kinds)]) >= most:
            continue
        types = tuple(TensorType(of_numpy(a.dtype), a.shape) for a in arrays)
        try:
            op.result_types(types, {**op.attribute_defaults, **sample.attributes})
        except GraphflowError:
            continue
        found[min(kinds)].append(Sample(tuple(arrays), sample.attributes, gradient=sample.gradient))
    return [*found["complex64"], *found["complex128"]]


def _with_imaginary_part(array: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
    if array.dtype.name not in FLOATS:
        return array
    parts = fill(array.shape, array.dtype.name, -1, 1, 100 + seed)
    return np.asarray(array + 1j * parts).astype(np.result_type(array.dtype, np.complex64))


def samples(*groups: Samples | Sequence[Sample] | Sample) -> Samples:
    """Several sources of samples as one."""

    def make() -> list[Sample]:
        found: list[Sample] = []
        for group in groups:
            found.extend([group] if isinstance(group, Sample) else group() if callable(group) else group)
        return found

    return make


def _edges(dtype: str) -> np.ndarray[Any, Any]:
    if np.dtype(dtype).kind == "f":
        limits = np.finfo(dtype)
        own = (limits.smallest_subnormal, -limits.smallest_subnormal, limits.tiny, -limits.max)
        with np.errstate(over="ignore"):
            return np.array([*FLOAT_EDGES, *own], dtype)
    whole = np.iinfo(dtype)
    return np.array(sorted({whole.min, whole.min + 1, 0, 1, 2, whole.max - 1, whole.max, max(whole.min, -1)}), dtype)


def _wrong_dtype(dtypes: Sequence[str]) -> str:
    """A dtype that an op of these dtypes must refuse."""
    return "bool" if "int32" in dtypes else "int32"


def unary(
    domain: tuple[float, float] = (-4, 4),
    dtypes: Sequence[str] = FLOATS,
    edges: bool = True,
    gradient: bool = True,
    refuses: bool = True,
) -> Samples:
    """Vectors, matrices, scalars and empty arrays over `domain`; edge values where the op takes any input; a wrong
    dtype."""

    def make() -> list[Sample]:
        found = []
        for dtype in dtypes:
            shapes: list[tuple[int, ...]] = [(), (7,), (3, 17), (2, 3, 5), (0, 4)] if dtype in FLOATS else [(), (3, 17)]
            for seed, shape in enumerate(shapes):
                found.append(Sample((fill(shape, dtype, *domain, seed),), gradient=gradient))
            if edges and dtype != "bool":
                found.append(Sample((_edges(dtype),), gradient=False))
        if refuses:
            found.append(Sample((fill((3,), _wrong_dtype(dtypes), 0, 1),), error=DTypeError, gradient=False))
        return found

    return make


def binary(
    left: tuple[float, float] = (-4, 4),
    right: tuple[float, float] = (-4, 4),
    dtypes: Sequence[str] = FLOATS,
    gradient: bool = True,
    edges: bool = True,
    refuses: bool = True,
) -> Samples:
    """Equal shapes and every broadcast pattern of rank up to 3; edge values crossed where both operands may be
    anything; mixed dtypes, a wrong dtype and shapes that do not broadcast."""

    def make() -> list[Sample]:
        every = [
            ((), ()),
            ((7,), (7,)),
            ((3, 17), (17,)),
            ((3, 1), (1, 5)),
            ((2, 3, 5), ()),
            ((4, 1, 3), (2, 1)),
            ((0, 3), (3,)),
        ]
        found = []
        for dtype in dtypes:
            for seed, (a, b) in enumerate(every if dtype in FLOATS else [((3, 17), (17,)), ((), (5,))]):
                found.append(
                    Sample((fill(a, dtype, *left, seed), fill(b, dtype, *right, 50 + seed)), gradient=gradient)
                )
            if edges and dtype != "bool" and left[0] < 0 and right[0] < 0:
                edge = _edges(dtype)
                found.append(Sample((edge[:, None], edge[None, :]), gradient=False))
        first, wrong = dtypes[0], _wrong_dtype(dtypes)
        other = next((d for d in (*dtypes, "float16") if d != first), first)
        good = fill((3,), first, *left)
        found.append(Sample((good, fill((3,), other, *right)), error=DTypeError, gradient=False))
        if refuses:
            found.append(Sample((fill((3,), wrong, 0, 1), fill((3,), wrong, 0, 1)), error=DTypeError, gradient=False))
        found.append(Sample((good, fill((4,), first, *right)), error=ShapeError, gradient=False))
        return found

    return make


def axis_reductions(
    domain: tuple[float, float] = (-4, 4), dtypes: Sequence[str] = NUMBERS, gradient: bool = True, empty: bool = True
) -> Samples:
    """Last, first, middle, several, all and no axes, kept or not; rows and columns longer than a block; empty axes; edge values; a bad
    axis and a wrong dtype."""

    def make() -> list[Sample]:
        cases: list[tuple[tuple[int, ...], tuple[int, ...], bool]] = [
            ((7,), (0,), False), ((3, 17), (1,), False), ((3, 17), (0,), True), ((3, 17), (0, 1), False),
            ((2, 3, 5), (1,), False), ((2, 3, 5), (0, 2), True), ((2, 3, 5), (1, 2), False), ((2, 300), (1,), False),
            ((9000,), (0,), False), ((3000, 3), (0,), False), ((3, 5), (), False),
        ]  # fmt: skip
        if empty:
            cases += [((0,), (0,), False), ((3, 0), (1,), True), ((0, 3), (1,), False)]
        found = []
        for dtype in dtypes:
            for seed, (shape, axes, keepdims) in enumerate(cases if dtype in FLOATS or dtype == "bool" else cases[1:3]):
                array = fill(shape, dtype, *domain, seed)
                small = gradient and array.size < 60
                found.append(Sample((array,), {"axes": axes, "keepdims": keepdims}, gradient=small))
            if dtype != "bool":
                crossed = np.stack([_edges(dtype), _edges(dtype)[::-1]])
                for axes in ((0,), (1,)):
                    found.append(Sample((crossed,), {"axes": axes, "keepdims": False}, gradient=False))
        wrong = "int32" if set(dtypes) == {"bool"} else _wrong_dtype(dtypes)
        found.append(Sample((fill((3,), dtypes[0], *domain),), {"axes": (1,), "keepdims": False}, error=ShapeError))
        found.append(Sample((fill((3,), wrong, 0, 1),), {"axes": (0,), "keepdims": False}, error=DTypeError))
        return found

    return make
