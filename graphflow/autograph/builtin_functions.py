"""What converted code calls for Python's built-in functions: the same, unless they are given tensors of a trace.

max, min, sum, any, all and sorted of a tensor follow the order and the comparisons of Python's own loop over its rows, so
that the bits are those of eager mode (NaN and signed zeros too).
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import AutographError, DTypeError, ShapeError
from ..tensor import TensorLike, convert_to_tensor
from .calls import convert_callable, overload
from .growing import GrowingList
from .iterables import Sequential, python_enumerate, python_range, python_reversed, python_zip

__all__: list[str] = []

UNROLLED = 32
"""Rows up to which a sum is written out; more become a loop."""

overload(builtins.range)(python_range)
overload(builtins.enumerate)(python_enumerate)
overload(builtins.zip)(python_zip)
overload(builtins.reversed)(python_reversed)


def _traced(value: Any) -> bool:
    from .operators import is_traced

    return is_traced(value)


def _refuse(what: str, hint: str) -> AutographError:
    error = AutographError(what)
    error.hint = hint
    return error


@overload(builtins.len)
def python_len(value: Any) -> Any:
    """len(value): an extent that differs from call to call stays symbolic; what only the run knows is a tensor."""
    if isinstance(value, GrowingList):
        return value.length
    if isinstance(value, Sequential):
        return value.length()
    if not _traced(value):
        return builtins.len(value)
    tensor = convert_to_tensor(value)
    if not tensor.dims:
        raise TypeError("len() of a tensor of rank 0")
    return tensor.shape[0]


def _scalar(value: Any, what: str) -> Any:
    from ..ops import reshape

    tensor = convert_to_tensor(value)
    if not tensor.dims:
        return tensor
    if any(d != 1 for d in tensor.dims):
        raise ShapeError(f"{what}() needs a tensor of one element, got {tensor.type}; reduce it first")
    return reshape(tensor, shape=())


@overload(builtins.int)
def python_int(*arguments: Any, **keywords: Any) -> Any:
    """int(x): a tensor is cast to int32 (an int64 stays one)."""
    if builtins.len(arguments) != 1 or keywords or not _traced(arguments[0]):
        return builtins.int(*arguments, **keywords)
    from ..dtypes import int32
    from ..ops import cast

    found = _scalar(arguments[0], "int")
    return found if found.dtype.short in ("i32", "i64") else cast(found, dtype=int32)


@overload(builtins.float)
def python_float(*arguments: Any) -> Any:
    """float(x): a tensor is cast to float32 (a float64 stays one)."""
    if builtins.len(arguments) != 1 or not _traced(arguments[0]):
        return builtins.float(*arguments)
    from ..dtypes import float32
    from ..ops import cast

    found = _scalar(arguments[0], "float")
    return found if found.dtype.is_floating and found.dtype.itemsize >= 4 else cast(found, dtype=float32)


@overload(builtins.bool)
def python_bool(*arguments: Any) -> Any:
    """bool(x): the truth of a tensor."""
    if builtins.len(arguments) != 1 or not _traced(arguments[0]):
        return builtins.bool(*arguments)
    from .truth import truth

    return truth(arguments[0])


# Reductions -----------------------------------------------------------------------------------------------------------
def _rows_of(value: Any) -> Any:
    """The tensor behind an iterable of a trace; None for others."""
    return convert_to_tensor(value) if _traced(value) else None


def _extreme(name: str, arguments: Any, keywords: Any) -> Any:
    python: Any = getattr(builtins, name)
    if keywords.get("key") is not None:
        keywords = {**keywords, "key": convert_callable(keywords["key"])}
    single = _rows_of(arguments[0]) if builtins.len(arguments) == 1 else None
    items = arguments if builtins.len(arguments) > 1 else None
    if single is None and items is None and hasattr(arguments[0], "__next__"):
        arguments = (list(arguments[0]),)
    if (
        builtins.len(arguments) == 1
        and isinstance(arguments[0], (list, tuple))
        and builtins.any(map(_traced, arguments[0]))
    ):
        items = arguments[0]
    if single is None and (items is None or not builtins.any(map(_traced, items))):
        return python(*arguments, **keywords)
    if keywords:
        raise _refuse(
            f"{name}() of tensors with {' and '.join(keywords)}",
            "use gf.argmax or gf.argmin and choose the row by its index",
        )
    return _extreme_row(name, single) if single is not None else _extreme_item(name, items)


def _extreme_item(name: str, items: Any) -> Any:
    """Python's own loop: the first of the items that no other one beats."""
    from ..math import greater, less
    from .tensor_branches import tensor_expression

    best = items[0]
    for item in items[1:]:
        better = greater(item, best) if name == "max" else less(item, best)
        kept = best
        best = tensor_expression(better, _giving(item), _giving(kept))
    return best


def _giving(value: Any) -> Callable[[], Any]:
    return lambda: value


def _extreme_row(name: str, rows: Any) -> Any:
    """The row that Python's loop ends with: the first if it is NaN (nothing compares with it), else the first of the
    largest, NaN left out."""
    from .. import math
    from ..dtypes import int32
    from ..functions.array_ops import where
    from ..ops import cast, gather

    if builtins.len(rows.dims) != 1:
        raise ShapeError(f"{name}() of a tensor compares its rows, which must be of rank 0; got {rows.type}")
    if rows.dims[0] == 0:
        raise ValueError(f"{name}() arg is an empty sequence")
    if rows.dtype.is_bool:
        raise DTypeError(f"{name}() of a tensor of bools; use gf.reduce_any or gf.reduce_all")
    values = rows
    if rows.dtype.is_floating:
        worst = builtins.float("-inf" if name == "max" else "inf")
        values = where(math.is_nan(rows), convert_to_tensor(worst, rows.dtype), rows)
    extreme = math.reduce_max(values) if name == "max" else math.reduce_min(values)
    place = math.argmax(cast(math.equal(values, extreme), dtype=int32))
    found = gather(rows, place, axis=0)
    if not rows.dtype.is_floating:
        return found
    first = rows[0]
    return where(math.is_nan(first), first, found)


@overload(builtins.max)
def python_max(*arguments: Any, **keywords: Any) -> Any:
    """max(...)"""
    return _extreme("max", arguments, keywords)


@overload(builtins.min)
def python_min(*arguments: Any, **keywords: Any) -> Any:
    """min(...)"""
    return _extreme("min", arguments, keywords)


@overload(builtins.sum)
def python_sum(iterable: Any, /, start: Any = 0) -> Any:
    """sum(x): the rows added one after the other."""
    rows = _rows_of(iterable)
    if rows is None and not isinstance(iterable, (Sequential, GrowingList)):
        return builtins.sum(iterable, start)
    from ..tracing.loops import counted_loop
    from .iterables import tensor_iterable

    items: Any = tensor_iterable(iterable)
    length = items.length()
    if isinstance(length, int) and length <= UNROLLED:
        return builtins.sum((items.item(k) for k in builtins.range(length)), start)
    first = items.item(convert_to_tensor(0))
    zero: Any = convert_to_tensor(start, first.dtype) if not isinstance(start, TensorLike) else start
    if first.dims and not zero.dims:
        from ..functions.array_ops import broadcast_to

        zero = broadcast_to(zero, first.shape)
    return counted_loop(length, lambda k, held: [held + items.item(k)], [zero], form="sum", names=["the sum"])[0]


def _decided(name: str, iterable: Iterable[Any]) -> Any:
    from .. import math
    from .truth import truth

    wanted = name == "any"
    rows = _rows_of(iterable)
    if rows is not None:
        if builtins.len(rows.dims) != 1:
            raise ShapeError(
                f"{name}() of a tensor asks for the truth of its rows, which must be of rank 0; got {rows.type}"
            )
        values = rows if rows.dtype.is_bool else math.not_equal(rows, 0)
        return math.reduce_any(values) if wanted else math.reduce_all(values)
    if isinstance(iterable, (Sequential, GrowingList)):
        raise _refuse(f"{name}() of an iterable whose length is a tensor", "write it as a for statement")
    found: Any = not wanted
    for item in iterable:
        decided = truth(item) if isinstance(item, TensorLike) else builtins.bool(item)
        if not isinstance(decided, TensorLike):
            if decided is wanted:
                return wanted if not isinstance(found, TensorLike) else convert_to_tensor(wanted)
            continue
        found = (
            decided
            if not isinstance(found, TensorLike)
            else (math.logical_or if wanted else math.logical_and)(found, decided)
        )
    return found


@overload(builtins.any)
def python_any(iterable: Any, /) -> Any:
    """any(...)"""
    return _decided("any", iterable)


@overload(builtins.all)
def python_all(iterable: Any, /) -> Any:
    """all(...)"""
    return _decided("all", iterable)


@overload(builtins.sorted)
def python_sorted(iterable: Any, /, *, key: Any = None, reverse: bool = False) -> Any:
    """sorted(x): for a tensor of rank 1 the list of its elements in order."""
    if key is not None:
        key = convert_callable(key)
    rows = _rows_of(iterable)
    if rows is None:
        return builtins.sorted(iterable, key=key, reverse=reverse)
    if key is not None or builtins.len(rows.dims) != 1:
        raise _refuse(
            f"sorted() of a tensor with a key, or of rank {builtins.len(rows.dims)}",
            "use gf.argsort, and gf.gather with its result",
        )
    from ..functions.sorting import sort

    return list(sort(rows, direction="DESCENDING" if reverse else "ASCENDING"))


# Functions of functions -----------------------------------------------------------------------------------------------
def _mapped(python: Any) -> Callable[..., Any]:
    def caller(function: Any, *iterables: Any, **options: Any) -> Any:
        return python(function if function is None else convert_callable(function), *iterables, **options)

    return caller


overload(builtins.map)(_mapped(builtins.map))
overload(builtins.filter)(_mapped(builtins.filter))
