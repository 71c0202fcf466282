"""Updates of parts of a variable: slices, rows and single elements. Mixed into gf.Variable; names, argument order and defaults are
TensorFlow's, `use_locking` and `name` are accepted for its sake and not used. An update that fails changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import ops
from ..dtypes import int32, int64
from ..errors import DTypeError, ShapeError
from ..ir.dims import product
from ..ops.rules import equal_shapes
from ..tensor import Tensor, TensorShape, convert_to_tensor

__all__ = ["PartialUpdates"]


class PartialUpdates:
    """The methods of a variable that change a part of it; each returns the variable."""

    __slots__ = ()

    # Slices -----------------------------------------------------------------------------------------------------------
    def slice_assignment(self, key: Any) -> Callable[..., Any]:
        """`assign` of self[key]: replaces those elements by a value that broadcasts to their shape."""

        def assign(val: Any, name: str | None = None) -> Any:
            from .indexing import index_tensor

            own: Any = self
            value = _of_dtype(own, val, "assign")
            count = product(own.dims)
            numbers = ops.reshape(ops.iota(shape=(count,), axis=0, dtype=int64), shape=own.dims)
            places: Any = index_tensor(numbers, key)
            if tuple(value.dims) != tuple(places.dims):
                value = ops.broadcast_to(value, shape=places.dims)
            taken = product(places.dims)
            place, rows = ops.reshape(places, shape=(taken,)), ops.reshape(value, shape=(taken,))
            flat = ops.reshape(own.value(), shape=(count,))
            return _write(own, ops.reshape(ops.scatter_into(flat, place, rows, kind="set"), shape=own.dims))

        return assign

    def set_shape(self, shape: Any) -> None:
        """Check the shape; None extents are not checked. Raises ShapeError."""
        own: Any = self
        if not own.shape.is_compatible_with(TensorShape(shape)):
            raise ShapeError(f"set_shape: the shape must be {TensorShape(shape)}, got {own.type}")

    # Rows -------------------------------------------------------------------------------------------------------------
    def _scatter(self, verb: str, kind: str, delta: Any) -> Any:
        from ..indexed_slices import IndexedSlices

        own: Any = self
        if not isinstance(delta, IndexedSlices):
            raise DTypeError(f"{verb}: needs a gf.IndexedSlices, got {type(delta).__name__}")
        indices, values = _indices(verb, delta.indices), _of_dtype(own, delta.values, verb)
        if not own.dims:
            raise ShapeError(f"{verb}: needs a variable of rank 1 or more, got {own.type}")
        wanted = (*indices.dims, *own.dims[1:])
        if not values.dims:
            values = ops.broadcast_to(values, shape=wanted)
        if not equal_shapes(values.dims, wanted):
            raise ShapeError(
                f"{verb}: the values must be [{','.join(map(str, wanted))}] for indices {indices.type} of variable {own.name} {own.type}, "
                f"got {values.type}"
            )
        count = product(indices.dims)
        places = ops.reshape(indices, shape=(count,))
        rows = ops.reshape(values, shape=(count, *own.dims[1:]))
        old = own.value()
        if kind in ("prod", "quotient"):
            factor = ops.scatter_reduce(places, rows, rows=own.dims[0], kind="prod")
            if kind == "prod":
                return _write(own, ops.multiply(old, factor))
            return _write(own, ops.divide(old, factor) if own.dtype.is_floating else ops.truncatediv(old, factor))
        return _write(own, ops.scatter_into(old, places, rows, kind=kind))

    def scatter_update(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Any:
        """Replace the rows that an IndexedSlices names; of one named twice the last value stays."""
        return self._scatter("scatter_update", "set", sparse_delta)

    def scatter_add(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Any:
        """Add to the rows that an IndexedSlices names, in order."""
        return self._scatter("scatter_add", "sum", sparse_delta)

    def scatter_sub(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Any:
        """Subtract from the rows that an IndexedSlices names, in order."""
        from ..indexed_slices import IndexedSlices

        return self._scatter(
            "scatter_sub", "sum", -sparse_delta if isinstance(sparse_delta, IndexedSlices) else sparse_delta
        )

    def scatter_max(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Any:
        """Take the larger of each element and its update."""
        return self._scatter("scatter_max", "max", sparse_delta)

    def scatter_min(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Any:
        """Take the smaller of each element and its update."""
        return self._scatter("scatter_min", "min", sparse_delta)

    def scatter_mul(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Any:
        """Multiply the rows that an IndexedSlices names; factors of one row are multiplied first."""
        return self._scatter("scatter_mul", "prod", sparse_delta)

    def scatter_div(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Any:
        """Divide the rows that an IndexedSlices names; divisors of one row are multiplied first."""
        return self._scatter("scatter_div", "quotient", sparse_delta)

    def batch_scatter_update(self, sparse_delta: Any, use_locking: bool = False, name: str | None = None) -> Any:
        """Replace self[i..., indices[i..., j]] by values[i..., j], entry by entry of the leading axes."""
        from .segments import tensor_scatter_nd_update

        own: Any = self
        indices = _indices("batch_scatter_update", sparse_delta.indices)
        values = _of_dtype(own, sparse_delta.values, "batch_scatter_update")
        shape, rank = indices.dims, len(indices.dims)
        if rank == 0 or rank > len(own.dims) or not equal_shapes(shape[:-1], own.dims[: rank - 1]):
            raise ShapeError(f"batch_scatter_update: indices {indices.type} do not fit variable {own.name} {own.type}")
        columns = [ops.iota(shape=shape, axis=axis, dtype=indices.dtype) for axis in range(rank - 1)]
        apart = [ops.reshape(c, shape=(*shape, 1)) for c in (*columns, indices)]
        places = apart[0] if len(apart) == 1 else ops.concat(*apart, axis=rank)
        return _write(own, tensor_scatter_nd_update(own.value(), places, values))

    # Elements ---------------------------------------------------------------------------------------------------------
    def _scatter_nd(self, verb: str, indices: Any, updates: Any) -> Any:
        from . import segments

        own: Any = self
        function = getattr(segments, f"tensor_scatter_nd_{verb}")
        return _write(own, function(own.value(), indices, _of_dtype(own, updates, f"scatter_nd_{verb}")))

    def scatter_nd_update(self, indices: Any, updates: Any, name: str | None = None) -> Any:
        """Replace what indices[..., k] name, positions along the first k axes."""
        return self._scatter_nd("update", indices, updates)

    def scatter_nd_add(self, indices: Any, updates: Any, name: str | None = None) -> Any:
        """Add to what indices[..., k] name, in order."""
        return self._scatter_nd("add", indices, updates)

    def scatter_nd_sub(self, indices: Any, updates: Any, name: str | None = None) -> Any:
        """Subtract from what indices[..., k] name, in order."""
        return self._scatter_nd("sub", indices, updates)

    # Reading ----------------------------------------------------------------------------------------------------------
    def sparse_read(self, indices: Any, name: str | None = None) -> Tensor:
        """The rows that indices name, as gf.gather."""
        from .indexing import gather

        return gather(self, indices)

    def gather_nd(self, indices: Any, name: str | None = None) -> Tensor:
        """The slices that indices name, as gf.gather_nd."""
        from .indexing import gather_nd

        return gather_nd(self, indices)


def _indices(verb: str, indices: Any) -> Any:
    found = convert_to_tensor(indices, dtype_hint=int32)
    if found.dtype not in (int32, int64):
        raise DTypeError(f"{verb}: indices must be int32 or int64, got {found.type}; use gf.cast")
    return found


def _of_dtype(variable: Any, value: Any, verb: str) -> Any:
    found = convert_to_tensor(value, dtype_hint=variable.dtype)
    if found.dtype is not variable.dtype:
        raise DTypeError(
            f"{verb}: variable {variable.name} is {variable.type} and the value {found.type} ({variable.dtype.name} and "
            f"{found.dtype.name}); use gf.cast"
        )
    return found


def _write(variable: Any, new: Any) -> Any:
    from ..autodiff.record import stop

    with stop():
        return variable.assign(new)
