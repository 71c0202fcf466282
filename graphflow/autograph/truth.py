"""The truth of a tensor as a bool of a graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..ir.dims import SymbolicDim
from ..tensor import TensorLike, convert_to_tensor

__all__ = ["constant_bool", "is_false", "truth"]


def constant_bool(value: bool) -> Any:
    """A bool of rank 0."""
    from ..ops import constant

    return constant(value=np.array(value))


def truth(value: Any) -> Any:
    """bool(value) as a tensor of rank 0; Python's bool where no tensor decides. As for eager tensors: more than one element
    is a ShapeError, none is False, and NaN is true."""
    from ..ops import not_equal, reshape
    from ..tracing.tracer import number_needed

    if not isinstance(value, TensorLike):
        return bool(value)
    tensor = convert_to_tensor(value)
    if not tensor.is_symbolic:
        return bool(tensor)
    if tensor.dims:
        unknown = [d for d in tensor.dims if isinstance(d, SymbolicDim)]
        if 0 in tensor.dims:
            return False
        known = [d for d in tensor.dims if isinstance(d, int) and d != 1]
        if known:
            error = ShapeError(f"bool() needs a tensor of one element, got {tensor.type}; reduce it first")
            error.hint = "reduce it with gf.reduce_all or gf.reduce_any, or choose element by element with gf.where"
            raise error
        if unknown:
            raise number_needed(unknown[0])
        tensor = reshape(tensor, shape=())
    if tensor.dtype.is_bool:
        return tensor
    return not_equal(tensor, np.zeros((), tensor.dtype.numpy))


def is_false(value: Any) -> Any:
    """`not value`: a tensor, or Python's bool."""
    from ..ops import logical_not

    found = truth(value)
    return logical_not(found) if isinstance(found, TensorLike) else not found
