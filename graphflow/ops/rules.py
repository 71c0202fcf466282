"""Type rules that ops share, and the shape arithmetic behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import index
from typing import Any

import numpy as np

from ..dtypes import DType, bool_
from ..errors import DTypeError, GraphflowError, InvalidArgumentError, ShapeError
from ..ir.dims import Dim, SymbolicDim, dim_max, dim_min, require_equal
from ..ir.types import TensorType

__all__ = [
    "broadcast_shapes", "check_kind", "comparison", "elementwise", "equal_shapes", "integer", "normalize_axes", "normalize_axis", "number",
    "reduced_shape", "reduction", "same_dtype", "slice_bounds",
]  # fmt: skip


def broadcast_shapes(name: str, types: Sequence[TensorType]) -> tuple[Dim, ...]:
    """The NumPy broadcast of the operands' shapes. Raises ShapeError naming the op and the shapes."""
    rank = max(t.rank for t in types)
    result: list[Dim] = []
    for axis in range(rank):
        dim: Dim = 1
        for t in types:
            position = axis - (rank - t.rank)
            own: Dim = t.shape[position] if position >= 0 else 1
            if own == 1 or own == dim:
                continue
            if dim == 1:
                dim = own
            elif not require_equal(dim, own):
                shown = " and ".join(str(t) for t in types)
                error = ShapeError(f"{name}: shapes must broadcast, got {shown} ({dim} and {own} on axis {axis})")
                error.hint = "extents must be equal or 1; gf.reshape and gf.expand_dims add axes of extent 1"
                raise error
        result.append(dim)
    return tuple(result)


def same_dtype(name: str, types: Sequence[TensorType]) -> DType:
    """The operands' one dtype. Raises DTypeError naming both."""
    first = types[0]
    for other in types[1:]:
        if other.dtype is not first.dtype:
            raise DTypeError(
                f"{name}: operands must have one dtype, got {first} and {other} "
                f"({first.dtype.name} and {other.dtype.name}); use gf.cast on one of them"
            )
    return first.dtype


#: named sets of dtype kinds that ops accept
KINDS = {
    "any": ("float", "int", "uint", "bool", "complex", "string"),
    "numeric": ("float", "int", "uint"),
    "number": ("float", "int", "uint", "complex"),
    "number or string": ("float", "int", "uint", "complex", "string"),
    "field": ("float", "complex"),
    "signed": ("float", "int"),
    "float": ("float",),
    "integer": ("int", "uint"),
    "bits": ("int", "uint", "bool"),
    "bool": ("bool",),
}


def check_kind(name: str, types: Sequence[TensorType], accepts: str) -> None:
    """Raises DTypeError unless every operand's dtype is of the accepted kinds."""
    for t in types:
        if t.dtype.kind not in KINDS[accepts]:
            raise DTypeError(f"{name}: needs {accepts} operands, got {t}; use gf.cast")


def elementwise(name: str, accepts: str = "numeric", result: DType | None = None) -> Callable[..., TensorType]:
    """Type rule of a pointwise op: one dtype, shapes broadcast; the result has that dtype or `result`."""

    def infer(types: tuple[TensorType, ...], **attributes: Any) -> TensorType:
        dtype = same_dtype(name, types)
        check_kind(name, types, accepts)
        shape = types[0].shape if len(types) == 1 else broadcast_shapes(name, types)
        return TensorType(result or dtype, shape, types[0].device)

    return infer


def comparison(name: str, accepts: str = "numeric") -> Callable[..., TensorType]:
    """Type rule of a comparison: like elementwise, result bool."""
    return elementwise(name, accepts, bool_)


def integer(name: str, what: str, value: Any) -> int:
    """An argument that is an integer and no bool. Raises DTypeError naming it."""
    if type(value) is int:
        return value
    if not isinstance(value, (bool, np.bool_)) and hasattr(value, "__index__"):
        try:
            return index(value)
        except TypeError as error:
            if isinstance(error, GraphflowError):
                raise
    raise DTypeError(f"{name}: {what} must be an int, got {value!r}")


def number(name: str, what: str, value: Any) -> Any:
    """A setting that is a real number, or a tensor or variable of rank 0. Raises DTypeError naming it."""
    scalar = getattr(value, "shape", None) == () and getattr(value.dtype, "kind", "") in (
        "f",
        "i",
        "u",
        "float",
        "int",
        "uint",
    )
    if isinstance(value, bool) or not (scalar or isinstance(value, (int, float))):
        raise DTypeError(f"{name}: {what} must be a number, got {value!r}")
    return value


def normalize_axis(name: str, axis: Any, rank: int) -> int:
    """axis in [0, rank). Raises InvalidArgumentError (a ValueError through ShapeError) naming axis and rank."""
    axis = integer(name, "axis", axis)
    if not -rank <= axis < rank:
        valid = f"valid are {-rank}..{rank - 1}" if rank else "a scalar has no axes"
        raise ShapeError(f"{name}: axis {axis} is out of range for rank {rank}; {valid}")
    return axis % rank


def normalize_axes(name: str, axes: Any, rank: int) -> tuple[int, ...]:
    """None -> all axes; an int or a sequence -> sorted, unique, in [0, rank)."""
    if axes is None:
        return tuple(range(rank))
    if not isinstance(axes, Iterable) or isinstance(axes, (str, dict, set)):
        axes = (axes,)
    found = [normalize_axis(name, a, rank) for a in axes]
    if len(set(found)) != len(found):
        raise ShapeError(f"{name}: axes {tuple(axes)} name an axis twice (rank {rank})")
    return tuple(sorted(found))


def equal_shapes(left: Sequence[Dim], right: Sequence[Dim]) -> bool:
    """Same rank and the same extents; extents that only symbols tell apart are made equal by the tracer (see
    require_equal)."""
    return len(left) == len(right) and all(require_equal(a, b) for a, b in zip(left, right, strict=True))


def reduced_shape(shape: tuple[Dim, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[Dim, ...]:
    """shape without the reduced axes (or with ones there)."""
    if keepdims:
        return tuple(1 if a in axes else d for a, d in enumerate(shape))
    return tuple(d for a, d in enumerate(shape) if a not in axes)


def reduction(name: str, accepts: str = "numeric") -> Callable[..., TensorType]:
    """Type rule of a reduction with attributes axes (sorted, unique, in range) and keepdims; the dtype stays."""

    def infer(types: tuple[TensorType, ...], axes: tuple[int, ...], keepdims: bool) -> TensorType:
        check_kind(name, types, accepts)
        own = types[0]
        if normalize_axes(name, axes, own.rank) != tuple(axes):
            raise InvalidArgumentError(f"{name}: the attribute axes must be sorted and non-negative, got {tuple(axes)}")
        return own.with_shape(reduced_shape(own.shape, tuple(axes), keepdims))

    return infer


def slice_bounds(extent: Dim, start: Dim | None, stop: Dim | None, step: int | None = None) -> tuple[Dim, Dim]:
    """(begin, size) of Python's `start:stop:step` on an axis of `extent`, which may be symbolic. Where size is 0,
    begin means nothing. Results are in one form for equal slices (x[1:] and x[:-1] have the same size expression). A
    symbolic start or stop must be one that is never negative, and needs a positive step."""
    step = 1 if step is None else step
    if step == 0:
        raise InvalidArgumentError("a slice's step must not be 0; -1 goes backwards")
    numbers = not isinstance(start, SymbolicDim) and not isinstance(stop, SymbolicDim)
    if numbers and isinstance(extent, int):
        first, last, _ = slice(start, stop, step).indices(extent)
        size = len(range(first, last, step))
        return (first if size else 0), size
    if step > 0:
        begin: Dim = 0 if start is None else dim_max(extent + start, 0) if _is_negative(start) else start
        end: Dim = extent if stop is None else extent + stop if _is_negative(stop) else dim_min(stop, extent)
        if stop is None and start is not None and _is_negative(start):
            length = dim_min(extent, -start)  # the same as extent - max(extent + start, 0)
        else:
            length = end - begin
    elif numbers:
        # walk the mirrored axis: position p is extent - 1 - p from the other end
        mirrored = slice_bounds(
            extent, None if start is None else -start - 1, None if stop is None else -stop - 1, -step
        )
        return extent - 1 - mirrored[0], mirrored[1]
    else:
        raise InvalidArgumentError("a slice with a negative step needs bounds that are numbers")
    return begin, dim_max(length if step == 1 else (length + (step - 1)) // step, 0)


def _is_negative(bound: Dim) -> bool:
    return isinstance(bound, int) and bound < 0


def is_symbolic(shape: Sequence[Dim]) -> bool:
    return any(isinstance(d, SymbolicDim) for d in shape)
