"""Some rows of a tensor, by number. IndexedSlices: Variables' scatter methods take them; elsewhere they become the dense tensor.
FewRows: an eager gradient of a large table, which becomes dense when somebody looks at it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import ops
from .autodiff.record import recorders, stop
from .dtypes import DType, float32, int32
from .errors import ShapeError
from .tensor import Tensor, TensorShape, active_trace, convert_to_tensor

__all__ = ["FewRows", "IndexedSlices"]


class IndexedSlices:
    """Row indices[k] of a tensor is values[k]; rows named twice add up, the others are 0.

    values: [count, ...]; indices: int32 or int64 [count]; dense_shape: the tensor's shape, if it is known. Gradients here are dense
    tensors: this class only describes updates.
    """

    __slots__ = ("_dense_shape", "_indices", "_values")

    def __init__(self, values: Any, indices: Any, dense_shape: Any = None) -> None:
        self._values: Tensor = convert_to_tensor(values)
        self._indices: Tensor = convert_to_tensor(indices, dtype_hint=int32)
        self._dense_shape = None if dense_shape is None else convert_to_tensor(dense_shape)

    @property
    def values(self) -> Tensor:
        """The rows: [n, ...]."""
        return self._values

    @property
    def indices(self) -> Tensor:
        """Their numbers in the dense tensor: integers [n]."""
        return self._indices

    @property
    def dense_shape(self) -> Tensor | None:
        """The dense tensor's shape as an integer vector, or None if it was not given."""
        return self._dense_shape

    @property
    def shape(self) -> TensorShape:
        """The dense tensor's shape; unknown if it was not given."""
        if self._dense_shape is None or self._dense_shape.is_symbolic:
            return TensorShape(None)
        return TensorShape(self._dense_shape.numpy().tolist())

    @property
    def dtype(self) -> DType:
        """The dtype of the rows."""
        return self._values.dtype

    @property
    def device(self) -> str:
        """Where the rows are."""
        return self._values.device

    def __neg__(self) -> IndexedSlices:
        return IndexedSlices(ops.negative(self._values), self._indices, self._dense_shape)

    def __graphflow_tensor__(self) -> Tensor:
        """The dense tensor. Raises ShapeError if the dense shape is not known."""
        from .functions.segments import scatter_nd

        if self._dense_shape is None:
            raise ShapeError("IndexedSlices: the dense tensor needs dense_shape; give it to the constructor")
        places = ops.reshape(self._indices, shape=(*self._indices.dims, 1))
        return scatter_nd(places, self._values, self._dense_shape)

    def __repr__(self) -> str:
        return f"IndexedSlices(indices={self._indices!r}, values={self._values!r}, dense_shape={self._dense_shape!r})"


class FewRows(Tensor):
    """A tensor that is zero but for a few rows: the sum, in order, of scatter_add(indices, rows, shape) for each of `parts`.

    Its elements are computed when they are asked for, with the bits of the ops that it stands for. Until then an optimizer can have
    the rows. indices: int32 or int64, any shape; rows: indices.shape + shape[1:].
    """

    __slots__ = ("_extents", "_made", "_parts")

    def __init__(self, shape: tuple[int, ...], dtype: DType, parts: tuple[tuple[Tensor, Tensor], ...]) -> None:
        self._extents, self.dtype, self._parts = shape, dtype, parts
        self._key = None
        self._made: np.ndarray[Any, Any] | None = None

    @property
    def shape(self) -> TensorShape:
        return TensorShape(self._extents)

    @property
    def dims(self) -> tuple[Any, ...]:
        return self._extents

    @property
    def _array(self) -> np.ndarray[Any, Any]:  # type: ignore[override]
        if self._made is None:
            with _eager():
                dense = [ops.scatter_add(*_as_rows(i, r), shape=self._extents) for i, r in self._parts]
                self._made = _total(dense)._array
        return self._made

    @property
    def is_dense(self) -> bool:
        """Have the elements been computed?"""
        return self._made is not None

    def __add__(self, other: Any) -> Any:
        if (
            isinstance(other, FewRows)
            and not (self.is_dense or other.is_dense)
            and (self._extents, self.dtype) == (other._extents, other.dtype)
            and not recorders.get()
            and active_trace.get() is None
        ):
            return FewRows(self._extents, self.dtype, self._parts + other._parts)
        return super().__add__(other)

    def rows(self) -> tuple[np.ndarray[Any, Any], Tensor]:
        """(the numbers of the rows, each once; their elements). Not for a tensor that is dense by now."""
        with _eager():
            parts = [_as_rows(indices, rows) for indices, rows in self._parts]
            numbers = np.unique(np.concatenate([indices._array for indices, _ in parts]))
            found = []
            for indices, rows in parts:
                wanted = Tensor(numbers.astype(indices.dtype.numpy), indices.dtype)
                wide = ops.cast(rows, dtype=float32) if self.dtype.is_narrow else rows
                summed = ops.row_sums(indices, wide, wanted, rows=self._extents[0])
                found.append(ops.cast(summed, dtype=self.dtype) if self.dtype.is_narrow else summed)
            return numbers, _total(found)


def _as_rows(indices: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of rank 1, and a row for each."""
    count = math.prod(indices.dims)
    rest = rows.dims[len(indices.dims) :]
    return ops.reshape(indices, shape=(count,)), ops.reshape(rows, shape=(count, *rest))


def _total(tensors: list[Any]) -> Any:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = ops.add(total, tensor)
    return total


class _eager:  # noqa: N801 (used as `with _eager():`, like a function)
    """Ops inside run at once, and nothing records them."""

    def __enter__(self) -> None:
        self._trace = active_trace.set(None)
        self._stop = stop()
        self._stop.__enter__()

    def __exit__(self, *exception: object) -> None:
        self._stop.__exit__()
        active_trace.reset(self._trace)
