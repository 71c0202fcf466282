"""IndexedSlices: some rows of a tensor, by number. Variables' scatter methods take them; elsewhere they become the dense tensor."""

from __future__ import annotations

from typing import Any

from . import ops
from .dtypes import DType, int32
from .errors import ShapeError
from .tensor import Tensor, TensorShape, convert_to_tensor

__all__ = ["IndexedSlices"]


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
        return self._values

    @property
    def indices(self) -> Tensor:
        return self._indices

    @property
    def dense_shape(self) -> Tensor | None:
        return self._dense_shape

    @property
    def shape(self) -> TensorShape:
        if self._dense_shape is None or self._dense_shape.is_symbolic:
            return TensorShape(None)
        return TensorShape(self._dense_shape.numpy().tolist())

    @property
    def dtype(self) -> DType:
        return self._values.dtype

    @property
    def device(self) -> str:
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
