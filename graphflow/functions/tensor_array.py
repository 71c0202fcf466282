"""TensorArray: an array of tensors that is written element by element, as TensorFlow has it.

Outside of a trace it is a Python list. In a trace it is one tensor [size, *element] that `write` replaces row by row: in a
loop the array is a carried value, and the row is written in place. So in a trace all elements have one shape, and only the
array that `write` returns has the new element.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .. import ops
from ..dtypes import DType, as_dtype, int32
from ..errors import DTypeError, IndexOutOfRangeError, InvalidArgumentError, ShapeError, UnimplementedError
from ..ir.dims import Dim, SymbolicDim, require_equal
from ..ir.types import TensorType
from ..ops.rules import integer
from ..tensor import Tensor, TensorLike, TensorShape, active_trace, as_dim, convert_to_tensor
from .array_ops import concat, stack, unstack

__all__ = ["TensorArray"]


class TensorArray:
    """An array of tensors of one dtype.

    dtype: of the elements. size: how many there are at first. dynamic_size: writing past the end makes it longer.
    clear_after_read: (outside of a trace) an element can be read once; the default. infer_shape: the first element
    written fixes the shape of all. element_shape: that shape, if known before; None stands for an unknown extent.
    Elements nobody wrote are zeros. Raises DTypeError, ShapeError, IndexOutOfRangeError.
    """

    __graphflow_array__ = True

    def __init__(
        self,
        dtype: Any,
        size: Any = None,
        dynamic_size: bool | None = None,
        clear_after_read: bool | None = None,
        tensor_array_name: str | None = None,
        handle: Any = None,
        flow: Any = None,
        infer_shape: bool = True,
        element_shape: Any = None,
        colocate_with_first_write_call: bool = True,
        name: str | None = None,
    ) -> None:
        """The arguments without a meaning here are taken for TensorFlow's sake."""
        if size is None:
            raise ShapeError("TensorArray: needs a size; use size=0 with dynamic_size=True for one that grows")
        self.dtype: DType = as_dtype(dtype)
        self._grows = bool(dynamic_size)
        self._clears = clear_after_read is not False
        self._infer = infer_shape
        self._element = None if element_shape is None else tuple(_known(d) for d in element_shape)
        self._buffer: Any = None
        self._settle: Any = None
        self._items: list[Any] | None = None
        self._read: set[int] = set()
        self._extent: Dim = 0
        if isinstance(size, int) and size < 0:
            raise ShapeError(f"TensorArray: size must be at least 0, got {size}")
        if active_trace.get() is None:
            self._items = [None] * integer("TensorArray", "size", size)
        else:
            self._extent = _extent_of(size)

    def _like(self, buffer: Any = None, settle: Any = None) -> TensorArray:
        twin: TensorArray = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._buffer, twin._settle, twin._items = buffer, settle, None
        if buffer is not None:
            twin._extent = buffer.dims[0]
        return twin

    # What control flow asks (tracing/forms.py, tracing/loops.py) -------------------------------------------------------
    @property
    def grows(self) -> bool:
        """May its size change?"""
        return self._grows

    @property
    def row_dims(self) -> tuple[Dim, ...] | None:
        """The shape of an element, as far as it is known while tracing; None before the first write."""
        array = self._traced()
        if array._buffer is not None:
            return tuple(array._buffer.dims[1:])
        if array._settle is not None and array._settle.type is not None:
            return tuple(array._settle.type.shape[1:])
        if array._element is not None and None not in array._element:
            return array._element  # type: ignore[return-value]
        return None

    def buffer_type(self, row: tuple[Dim, ...]) -> TensorType:
        """The type of its tensor for elements of this shape."""
        return TensorType(self.dtype, (self._traced()._extent, *row))

    def buffer_of(self, row: tuple[Dim, ...]) -> Any:
        """Its tensor [size, *row]; zeros if nothing was written."""
        array = self._traced()
        if array._buffer is not None:
            return array._buffer
        if array._settle is not None:
            return array._settle(row)
        zero = ops.constant(value=np.zeros((), self.dtype.numpy))
        return ops.broadcast_to(zero, shape=(array._extent, *row))

    def with_buffer(self, buffer: Any) -> TensorArray:
        """The same array with another tensor."""
        return self._like(buffer)

    def late(self, settle: Any) -> TensorArray:
        """The same array, whose tensor `settle(row)` gives once the shape of an element is known."""
        return self._like(settle=settle)

    def _traced(self) -> TensorArray:
        """As a trace has it: a list made outside of the trace becomes a tensor."""
        if self._items is None or active_trace.get() is None:
            return self
        known = [item for item in self._items if item is not None]
        if not known:
            found = self._like()
            found._extent = len(self._items)
            return found
        return self._like(self._stacked())

    # Elements ---------------------------------------------------------------------------------------------------------
    def read(self, index: Any, name: str | None = None) -> Any:
        """The element at an index."""
        if active_trace.get() is None:
            place = self._place(index, "read")
            items = self._listed()
            found = items[place]
            if found is None:
                if place in self._read:
                    raise InvalidArgumentError(
                        f"TensorArray.read: element {place} was cleared when it was read before; use "
                        "clear_after_read=False"
                    )
                found = items[place] = self._zero("read")
            if self._clears:
                items[place] = None
                self._read.add(place)
            return found
        return ops.gather(self._whole("read"), _index(index, "read"), axis=0)

    def write(self, index: Any, value: Any, name: str | None = None) -> TensorArray:
        """The array with an element replaced. Use the result: in a trace the array itself stays as it was."""
        new = self._element_of(value, "write")
        if active_trace.get() is None:
            self._put(self._place(index, "write"), new)
            return self
        at = _index(index, "write")
        buffer = self._for_element(new, "write")
        if self._grows:
            buffer = _grown(buffer, at, new)
        return self._like(ops.update_row(buffer, at, new))

    def _put(self, place: int, new: Any) -> None:
        items = self._listed()
        if place >= len(items):
            if not self._grows:
                raise IndexOutOfRangeError(
                    f"TensorArray.write: index {place} is out of range for size {len(items)}; use dynamic_size=True"
                )
            items.extend([None] * (place - len(items) + 1))
        items[place] = new

    def _place(self, index: Any, verb: str) -> int:
        place, size = int(index), len(self._listed())
        if place < 0 or verb == "read" and place >= size:
            raise IndexOutOfRangeError(f"TensorArray.{verb}: index {place} is out of range for size {size}")
        return place

    def _listed(self) -> list[Any]:
        if self._items is None:
            from ..tracing.tracer import leaked

            raise (
                leaked(None, (self._buffer,))
                if self._buffer is not None
                else InvalidArgumentError(
                    "TensorArray: an array of a traced function is used outside of it; return array.stack()"
                )
            )
        return self._items

    def _element_of(self, value: Any, verb: str) -> Any:
        """A value to write as a tensor. Raises DTypeError or ShapeError unless it fits."""
        new = convert_to_tensor(value, dtype_hint=self.dtype)
        if new.dtype is not self.dtype:
            raise DTypeError(
                f"TensorArray.{verb}: the array holds {self.dtype.name}, and the value is {new.type}; use gf.cast"
            )
        if self._element is not None and not _fits(self._element, new.dims):
            shown = ",".join("?" if d is None else str(d) for d in self._element)
            raise ShapeError(f"TensorArray.{verb}: the elements have the shape [{shown}], and the value is {new.type}")
        if self._infer and self._items is not None:
            self._element = tuple(new.dims)
        return new

    def _zero(self, verb: str) -> Any:
        if self._element is None or None in self._element:
            raise ShapeError(
                f"TensorArray.{verb}: an element that nobody wrote is read, and the shape of the elements is not known; "
                "give element_shape"
            )
        return Tensor(np.zeros(self._element, self.dtype.numpy), self.dtype)

    def _for_element(self, new: Any, verb: str) -> Any:
        row = self.row_dims
        if row is not None and not _fits(row, new.dims):
            error = ShapeError(
                f"TensorArray.{verb}: in a traced function all elements have one shape, here {list(row)}, and the value is "
                f"{new.type}"
            )
            error.hint = "pad the elements to one shape, or fix run-time extents with gf.ensure_shape"
            raise error
        return self.buffer_of(tuple(new.dims))

    def _whole(self, verb: str) -> Any:
        row = self.row_dims
        if row is None:
            raise ShapeError(
                f"TensorArray.{verb}: nothing has been written yet, so that the shape of the elements is not known; give "
                "element_shape"
            )
        return self.buffer_of(row)

    # All elements -----------------------------------------------------------------------------------------------------
    def stack(self, name: str | None = None) -> Any:
        """All elements as one tensor [size, *element]."""
        return self._stacked() if active_trace.get() is None else self._whole("stack")

    def _stacked(self) -> Any:
        items = self._listed()
        for place, item in enumerate(items):
            if item is None:
                items[place] = self._zero("stack")
        if items:
            return stack(items)
        row = self._element if self._element is not None and None not in self._element else ()
        return Tensor(np.zeros((0, *row), self.dtype.numpy), self.dtype)

    def gather(self, indices: Any, name: str | None = None) -> Any:
        """The elements at a vector of indices, as one tensor."""
        if active_trace.get() is None:
            items, found = self._listed(), []
            for index in np.asarray(convert_to_tensor(indices)).ravel():
                place = self._place(index, "read")
                if items[place] is None:
                    items[place] = self._zero("gather")
                found.append(items[place])
            return stack(found)
        return ops.gather(self._whole("gather"), _indices(indices), axis=0)

    def concat(self, name: str | None = None) -> Any:
        """The elements one after the other along their first axis."""
        if active_trace.get() is None:
            items = self._listed()
            for place, item in enumerate(items):
                if item is None:
                    items[place] = self._zero("concat")
            if any(not item.dims for item in items):
                raise InvalidArgumentError("TensorArray.concat: the elements must have rank 1 or more, got rank 0")
            return concat(items, 0)
        whole = self._whole("concat")
        if len(whole.dims) < 2:
            raise InvalidArgumentError("TensorArray.concat: the elements must have rank 1 or more, got rank 0")
        return ops.reshape(whole, shape=(whole.dims[0] * whole.dims[1], *whole.dims[2:]))

    def unstack(self, value: Any, name: str | None = None) -> TensorArray:
        """The array that holds the rows of a tensor."""
        new = convert_to_tensor(value, dtype_hint=self.dtype)
        if new.dtype is not self.dtype:
            raise DTypeError(
                f"TensorArray.unstack: the array holds {self.dtype.name}, and the value is {new.type}; use gf.cast"
            )
        if not new.dims:
            raise ShapeError(f"TensorArray.unstack: needs a value of rank 1 or more, got {new.type}")
        if active_trace.get() is None:
            items = self._listed()
            rows = unstack(new)
            if len(rows) > len(items) and not self._grows:
                raise ShapeError(
                    f"TensorArray.unstack: {len(rows)} rows do not fit an array of size {len(items)}; use dynamic_size=True"
                )
            self._items = list(rows)
            if self._infer and rows:
                self._element = tuple(new.dims[1:])
            return self
        extent = self._traced()._extent
        if not self._grows and isinstance(extent, int) and isinstance(new.dims[0], int) and new.dims[0] > extent:
            raise ShapeError(
                f"TensorArray.unstack: {new.dims[0]} rows do not fit an array of size {extent}; use dynamic_size=True"
            )
        return self._like(new)

    def scatter(self, indices: Any, value: Any, name: str | None = None) -> TensorArray:
        """The array with the rows of a tensor written at a vector of indices."""
        if active_trace.get() is None:
            places = np.asarray(convert_to_tensor(indices)).ravel()
            for index, row in zip(places, unstack(convert_to_tensor(value, dtype_hint=self.dtype)), strict=False):
                self.write(int(index), row)
            return self
        from ..tracing.loops import counted_loop

        places, rows = _indices(indices), convert_to_tensor(value, dtype_hint=self.dtype)

        def body(k: Any, array: TensorArray) -> list[Any]:
            return [array.write(ops.gather(places, k, axis=0), ops.gather(rows, k, axis=0))]

        found: TensorArray = counted_loop(
            convert_to_tensor(TensorShape(places.shape)[0]),
            body,
            [self],
            form="TensorArray.scatter",
            names=["the array"],
        )[0]
        return found

    def split(self, value: Any, lengths: Any, name: str | None = None) -> TensorArray:
        """The array whose elements are pieces of a tensor, of these lengths along its first axis."""
        new = convert_to_tensor(value, dtype_hint=self.dtype)
        known = convert_to_tensor(lengths)
        if known.is_symbolic:
            raise UnimplementedError("TensorArray.split: in a traced function the lengths must be Python ints")
        sizes = [int(n) for n in np.asarray(known).ravel()]
        if len(known.dims) != 1 or not new.dims:
            raise InvalidArgumentError(
                f"TensorArray.split: needs a vector of lengths and a value of rank 1 or more, got {known.type} and {new.type}"
            )
        if isinstance(new.dims[0], int) and sum(sizes) != new.dims[0]:
            raise InvalidArgumentError(
                f"TensorArray.split: the lengths must add up to the first extent, got {sum(sizes)} and {new.dims[0]}"
            )
        if active_trace.get() is None:
            items = self._listed()
            if len(sizes) != len(items) and not self._grows:
                raise InvalidArgumentError(
                    f"TensorArray.split: {len(sizes)} pieces for an array of size {len(items)}; use dynamic_size=True"
                )
            starts = np.cumsum([0, *sizes])
            self._items = [new[int(a) : int(b)] for a, b in pairwise(starts)]
            return self
        if len(set(sizes)) != 1:
            raise UnimplementedError(
                f"TensorArray.split: in a traced function all elements have one shape, got lengths {sizes}"
            )
        return self._like(ops.reshape(new, shape=(len(sizes), sizes[0], *new.dims[1:])))

    def size(self, name: str | None = None) -> Any:
        """How many elements there are, an int32 tensor."""
        if active_trace.get() is None:
            return Tensor(np.array(len(self._listed()), np.int32), int32)
        from ..tracing.tracer import dimension_tensor

        array = self._traced()
        buffer = array._buffer
        if buffer is None and array._settle is not None and array._grows:
            buffer = self._whole("size")
        return dimension_tensor(array._extent if buffer is None else buffer.dims[0], int32)

    def __len__(self) -> int:
        return len(self._listed())

    # For TensorFlow's sake --------------------------------------------------------------------------------------------
    @property
    def element_shape(self) -> TensorShape:
        """The shape of the elements as far as it is known."""
        return TensorShape((self.row_dims if active_trace.get() is not None else self._element) or ())

    @property
    def dynamic_size(self) -> bool:
        """May its size change?"""
        return self._grows

    @property
    def handle(self) -> None:
        """Nothing: the array itself is the handle."""

    @property
    def flow(self) -> Any:
        """A scalar, for TensorFlow's sake; program order makes it needless."""
        return convert_to_tensor(0.0)

    def identity(self) -> TensorArray:
        """The array."""
        return self

    def grad(self, source: Any, flow: Any = None, name: str | None = None) -> None:
        """Not needed: tapes see through arrays."""
        raise UnimplementedError("TensorArray.grad: use gf.GradientTape, which sees through arrays")

    def close(self, name: str | None = None) -> None:
        """Forget the elements."""
        if self._items is not None:
            self._items.clear()

    def __repr__(self) -> str:
        what = f"{len(self._items)} elements" if self._items is not None else "symbolic"
        return f"<gf.TensorArray of {self.dtype.name}, {what}>"


def _known(dim: Any) -> Dim | None:
    return None if dim is None else as_dim(dim)


def _fits(shape: Sequence[Dim | None], dims: Sequence[Dim]) -> bool:
    """May a tensor of these dims be an element of this shape?"""
    return len(shape) == len(dims) and all(
        a is None or a == b or isinstance(a - b, SymbolicDim) and _agree(a, b) for a, b in zip(shape, dims, strict=True)
    )


def _agree(a: Dim, b: Dim) -> bool:
    from ..tracing.forms import equal_dims

    return equal_dims(a, b) if active_trace.get() is not None else require_equal(a, b)


def _index(index: Any, verb: str) -> Any:
    """An index as an int32 or int64 scalar tensor."""
    if isinstance(index, (int, np.integer)) and index < 0:
        raise IndexOutOfRangeError(f"TensorArray.{verb}: index {index} is negative")
    found = convert_to_tensor(index, dtype_hint=int32)
    if not found.dtype.is_integer or found.dims:
        raise DTypeError(f"TensorArray.{verb}: the index must be an int of rank 0, got {found.type}")
    return found if found.dtype.short in ("i32", "i64") else ops.cast(found, dtype=int32)


def _indices(indices: Any) -> Any:
    found = convert_to_tensor(indices, dtype_hint=int32)
    return found if found.dtype.short in ("i32", "i64") else ops.cast(found, dtype=int32)


def _extent_of(size: Any) -> Dim:
    """A size as an extent: known while tracing, or made at run time."""
    if isinstance(size, TensorLike):
        tensor = convert_to_tensor(size)
        known = tensor._constant_dims()
        return known[0] if known is not None else _run_time_extent(tensor)
    return as_dim(size)


def _run_time_extent(count: Any) -> Dim:
    """A run-time extent of a value that only the run knows: that of an array which a loop makes this long."""
    from ..tracing.loops import counted_loop

    empty = Tensor(np.zeros((0,), bool), as_dtype("bool"))
    no = Tensor(np.zeros((), bool), as_dtype("bool"))

    def body(k: Any, flags: Any) -> list[Any]:
        return [ops.append_row(flags, no)]

    flags = counted_loop(count, body, [empty], form="TensorArray", names=["the size"], shape_invariants=[(None,)])[0]
    found: Dim = flags.dims[0]
    return found


def _grown(buffer: Any, index: Any, new: Any) -> Any:
    """The buffer with rows of zeros appended until it has a row `index`."""
    from .. import math
    from ..tracing.loops import loop

    zero = ops.broadcast_to(ops.constant(value=np.zeros((), new.dtype.numpy)), shape=new.dims)

    def short(rows: Any) -> Any:
        size = ops.dimension(rows, axis=0)
        return math.less_equal(size if index.dtype is int32 else ops.cast(size, dtype=index.dtype), index)

    def append(rows: Any) -> list[Any]:
        return [ops.append_row(rows, zero)]

    return loop(
        short, append, [buffer], form="TensorArray.write", names=["the array"],
        shape_invariants=[(None, *buffer.dims[1:])], bound="growth",
    )[0]  # fmt: skip
