"""What a for statement can run over in a graph: tensors by rows, ranges with tensor bounds, and enumerate, zip and
reversed of these. They are made by what converted code calls for range, enumerate, zip and reversed."""

from __future__ import annotations

import builtins
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import AutographError, GraphflowError, InvalidArgumentError
from ..tensor import Tensor, TensorLike, active_trace, convert_to_tensor

__all__ = [
    "Enumerated",
    "GraphRange",
    "ListItems",
    "Reversed",
    "Rows",
    "Sequential",
    "Zipped",
    "iterated",
    "tensor_iterable",
]


def _traced(value: Any) -> bool:
    """A bound that Python cannot have as a number, whatever the call: a tensor, or an extent that the run decides. (For an
    extent that the arguments decide, range unrolls: the function is traced for the extents of the call.)"""
    from ..tracing.tracer import is_run_time
    from .operators import is_traced

    return is_traced(value) or hasattr(value, "__graphflow_dim__") and is_run_time(value.__graphflow_dim__())


class Sequential(ABC):
    """Something with a length that gives an item for each position; both may be tensors."""

    @abstractmethod
    def length(self) -> Any:
        """An int, an extent or an int32 tensor of rank 0."""

    @abstractmethod
    def item(self, position: Any) -> Any:
        """The item at an int32 tensor's position (or an int's)."""

    def __len__(self) -> int:
        return builtins.len(builtins.range(self.length()))

    def __iter__(self) -> Iterator[Any]:
        length = self.length()
        if isinstance(length, TensorLike):
            error = AutographError(
                "the length of this iterable is a tensor; Python needs to know how many items it has here"
            )
            error.hint = "use it in a for statement, or build the values with gf.map_fn"
            raise error
        from ..tracing.tracer import unrolled_rows

        return unrolled_rows(builtins.len(builtins.range(length)), self.item)


class Rows(Sequential):
    """The rows of a tensor."""

    def __init__(self, tensor: Tensor) -> None:
        if not tensor.dims:
            raise TypeError("cannot iterate over a tensor of rank 0")
        self.tensor = tensor

    def length(self) -> Any:
        return self.tensor.shape[0]

    def item(self, position: Any) -> Any:
        if isinstance(position, int):
            return self.tensor[position]
        from ..ops import gather

        return gather(self.tensor, position, axis=0)


class GraphRange(Sequential):
    """start, start + step, ... up to limit, which is not reached; the bounds are numbers, extents or tensors."""

    def __init__(self, start: Any, limit: Any, step: Any, dtype: Any = None) -> None:
        self.start, self.limit, self.step = start, limit, step
        self.dtype = dtype

    def length(self) -> Any:
        from .. import math

        start, limit, step = self.start, self.limit, self.step
        if not any(isinstance(v, TensorLike) for v in (start, limit, step)):
            if isinstance(start, int) and start == 0 and isinstance(step, int) and step == 1:
                return limit if not isinstance(limit, int) else max(limit, 0)
            if all(isinstance(v, int) for v in (start, limit, step)):
                return len(builtins.range(start, limit, step))
        first, last, stride = (convert_to_tensor(v, self.dtype) for v in (start, limit, step))
        span = math.subtract(last, first)
        if self.dtype is not None and self.dtype.is_floating:
            count = math.ceil(math.divide(span, stride))
        else:  # rounded away from zero where a part of a step remains
            count = math.negative(math.floordiv(math.negative(span), stride))
        return _int32(math.maximum(count, 0))

    def item(self, position: Any) -> Any:
        from .. import math

        if isinstance(position, int) and all(isinstance(v, int) for v in (self.start, self.step)):
            return convert_to_tensor(self.start + position * self.step, self.dtype)
        found = convert_to_tensor(position)
        if found.dtype is not self.dtype:
            from ..ops import cast

            found = cast(found, dtype=self.dtype)
        if not (isinstance(self.step, int) and self.step == 1):
            found = math.multiply(found, convert_to_tensor(self.step, self.dtype))
        if isinstance(self.start, int) and self.start == 0:
            return found
        return math.add(found, convert_to_tensor(self.start, self.dtype))


class Enumerated(Sequential):
    """Pairs (start + position, item)."""

    def __init__(self, inner: Sequential, start: Any) -> None:
        self.inner, self.start = inner, start

    def length(self) -> Any:
        return self.inner.length()

    def item(self, position: Any) -> Any:
        number = position if isinstance(self.start, int) and self.start == 0 else position + self.start
        return number, self.inner.item(position)


class Zipped(Sequential):
    """Tuples of the items of several; as long as the shortest."""

    def __init__(self, parts: list[Sequential], strict: bool) -> None:
        self.parts, self.strict = parts, strict

    def length(self) -> Any:
        lengths = [p.length() for p in self.parts]
        known = [n for n in lengths if isinstance(n, int)]
        if builtins.len(known) == builtins.len(lengths):
            if self.strict and builtins.len(builtins.set(known)) > 1:
                raise ValueError(f"zip(): the arguments have the lengths {', '.join(map(str, known))}")
            return min(known)
        if all(n is lengths[0] or _same_extent(n, lengths[0]) for n in lengths):
            return lengths[0]
        from .. import math

        shortest: Any = _int32(lengths[0])
        for other in lengths[1:]:
            shortest = math.minimum(shortest, _int32(other))
        if self.strict:
            from ..functions.effects import check

            for other in lengths:
                check(math.equal(_int32(other), shortest), "zip(): an argument is longer than another one")
        return shortest

    def item(self, position: Any) -> Any:
        return tuple([p.item(position) for p in self.parts])


class Reversed(Sequential):
    """The items from the last to the first."""

    def __init__(self, inner: Sequential) -> None:
        self.inner = inner
        self._length = inner.length()

    def length(self) -> Any:
        return self._length

    def item(self, position: Any) -> Any:
        if isinstance(position, int):
            return self.inner.item(self._length - 1 - position)
        return self.inner.item(_int32(self._length) - 1 - position)


class PythonItems(Sequential):
    """A Python sequence of tensors or numbers beside tensors: stacked, so that a tensor can choose its items."""

    def __init__(self, items: Any, stacked: Tensor) -> None:
        self._items, self._stacked = items, stacked

    def length(self) -> Any:
        return builtins.len(self._items)

    def item(self, position: Any) -> Any:
        from ..ops import gather

        return self._items[position] if isinstance(position, int) else gather(self._stacked, position, axis=0)


def _int32(value: Any) -> Any:
    from ..dtypes import int32
    from ..ops import cast

    tensor = convert_to_tensor(value)
    return tensor if tensor.dtype is int32 else cast(tensor, dtype=int32)


def _same_extent(a: Any, b: Any) -> bool:
    if hasattr(a, "__graphflow_dim__") and hasattr(b, "__graphflow_dim__"):
        return bool(a.__graphflow_dim__() == b.__graphflow_dim__())
    return isinstance(a, int) and isinstance(b, int) and a == b


def tensor_iterable(value: Any) -> Sequential | None:
    """What a graph's loop runs over; None for Python's own iterables, which are unrolled."""
    if isinstance(value, Sequential):
        return value
    if isinstance(value, TensorLike) and active_trace.get() is not None:
        return Rows(convert_to_tensor(value))
    found = getattr(value, "__graphflow_sequential__", None)
    return found() if found is not None and active_trace.get() is not None else None


def _sequential(value: Any) -> Sequential | None:
    """A part of a zip or enumerate in a graph: tensors, and with them sequences and ranges of Python."""
    found = tensor_iterable(value)
    if found is not None:
        return found
    if isinstance(value, builtins.range):
        return _range(value.start, value.stop, value.step)
    if not isinstance(value, (list, tuple, np.ndarray)) or not builtins.len(value):
        return None
    try:
        return PythonItems(value, convert_to_tensor(value))
    except (GraphflowError, TypeError, ValueError):  # items that are no tensors of one dtype and shape
        return None


def _range(start: Any, limit: Any, step: Any, dtype: Any = None) -> GraphRange:
    from ..dtypes import int32

    kinds = [v.dtype for v in (start, limit, step) if isinstance(v, TensorLike)]
    chosen = dtype or (max(kinds, key=lambda d: d.itemsize) if kinds else int32)
    if isinstance(step, int) and step == 0:
        raise ValueError("range() arg 3 must not be zero")
    return GraphRange(start, limit, step, chosen)


# What converted code calls --------------------------------------------------------------------------------------------
def python_range(*bounds: Any) -> Any:
    """range(...): a graph's range where a bound is a tensor or an extent without a number."""
    if not any(map(_traced, bounds)):
        return builtins.range(*bounds)
    if not 1 <= builtins.len(bounds) <= 3:
        return builtins.range(*bounds)  # which says what is wrong
    for bound in bounds:
        found = convert_to_tensor(bound) if isinstance(bound, TensorLike) else None
        if found is not None and (not found.dtype.is_integer or found.dims):
            raise InvalidArgumentError(f"range: a bound must be an integer of rank 0, got {found.type}")
    if builtins.len(bounds) == 1:
        return _range(0, bounds[0], 1)
    return _range(bounds[0], bounds[1], bounds[2] if builtins.len(bounds) == 3 else 1)


def graph_range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Any:
    """gf.range as the iterable of a for statement: no tensor is made of it."""
    from ..dtypes import as_dtype
    from ..functions import array_ops

    if limit is None:
        start, limit = 0, start
    bounds = (start, limit, delta)
    plain = all(map(_is_whole, bounds))
    if not plain or active_trace.get() is None or dtype is not None and not as_dtype(dtype).is_integer:
        return array_ops.range(start, limit, delta, dtype, name)
    if isinstance(delta, int) and delta == 0:
        return array_ops.range(start, limit, delta, dtype, name)
    return _range(start, limit, delta, None if dtype is None else as_dtype(dtype))


def _is_whole(bound: Any) -> bool:
    """Is it an integer: a number, an extent or a tensor of rank 0?"""
    if isinstance(bound, TensorLike):
        return bound.dtype.is_integer and not convert_to_tensor(bound).dims
    return isinstance(bound, int) and not isinstance(bound, bool) or hasattr(bound, "__graphflow_dim__")


def python_enumerate(iterable: Any, start: Any = 0) -> Any:
    """enumerate(...)"""
    found = tensor_iterable(iterable)
    return builtins.enumerate(iterable, start) if found is None else Enumerated(found, start)


def python_zip(*iterables: Any, strict: bool = False) -> Any:
    """zip(...): a graph's where one of the arguments is a tensor; Python sequences beside it are stacked."""
    if not any(tensor_iterable(i) is not None for i in iterables):
        return builtins.zip(*iterables, strict=strict)
    parts = [_sequential(i) for i in iterables]
    if any(p is None for p in parts):  # an iterator: only Python can ask it for items, so that this is unrolled
        return builtins.zip(*iterables, strict=strict)
    return Zipped([p for p in parts if p is not None], strict)


def python_reversed(sequence: Any) -> Any:
    """reversed(...)"""
    found = tensor_iterable(sequence)
    return builtins.reversed(sequence) if found is None else Reversed(found)


def iterated(function: Any) -> Any:
    """What a for statement calls for the function that makes its iterable."""
    from ..functions import array_ops
    from .calls import call
    from .options import enabled

    if function is array_ops.range and active_trace.get() is not None and enabled.get():
        return graph_range
    return call(function)


class ListItems(Sequential):
    """The items of a list that grew in a loop."""

    def __init__(self, items: Any) -> None:
        self.items = items
        self._rows = type(items)(items.template, items.rows)  # as they are now

    def length(self) -> Any:
        return self._rows.length

    def item(self, position: Any) -> Any:
        return self._rows[position]
