"""Initial values of variables: objects that make a tensor from a shape and a dtype. Names, argument order and defaults are TensorFlow's."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..dtypes import as_dtype, float32
from ..errors import DTypeError, ShapeError, UnimplementedError
from ..ir.dims import product
from ..random.stateful import normal, uniform
from ..tensor import Tensor, convert_to_tensor
from .array_ops import ones, zeros
from .runtime_extent import as_extents

__all__ = [
    "Initializer", "constant_initializer", "ones_initializer", "random_normal_initializer", "random_uniform_initializer",
    "zeros_initializer",
]  # fmt: skip


class Initializer:
    """What the initializers share: a configuration that makes an equal one."""

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Tensor:
        """A tensor of the shape and dtype."""
        raise UnimplementedError(f"{type(self).__name__} does not say how its tensor is made")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this initializer again."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**{name: value for name, value in config.items() if name != "dtype"})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_config().items())})"


def _float_dtype(name: str, dtype: Any) -> Any:
    found = as_dtype(dtype)
    if not found.is_floating:
        raise DTypeError(f"{name}: needs a float dtype, got {found.name}")
    return found


class zeros_initializer(Initializer):  # noqa: N801 (TensorFlow's name)
    """Zeros (False)."""

    def __call__(self, shape: Any, dtype: Any = float32, **kwargs: Any) -> Tensor:
        return zeros(shape, dtype)


class ones_initializer(Initializer):  # noqa: N801
    """Ones (True)."""

    def __call__(self, shape: Any, dtype: Any = float32, **kwargs: Any) -> Tensor:
        return ones(shape, dtype)


class constant_initializer(Initializer):  # noqa: N801
    """A number everywhere, or as many values as the shape has elements, in row-major order. Raises ShapeError for another number."""

    def __init__(self, value: Any = 0, support_partition: bool = False) -> None:
        self.value = value
        self.support_partition = support_partition

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this initializer again."""
        return {"value": self.value}

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Tensor:
        wanted = None if dtype is None else as_dtype(dtype)
        values = self.value
        if wanted is not None and not isinstance(values, Tensor):
            values = np.asarray(values).astype(wanted.numpy)
        tensor: Any = convert_to_tensor(values)
        if wanted is not None and tensor.dtype is not wanted:
            tensor = ops.cast(tensor, dtype=wanted)
        dims = as_extents(shape)
        if product(tensor.dims) == product(dims):
            return ops.reshape(tensor, shape=dims)
        if product(tensor.dims) != 1:
            raise ShapeError(
                f"constant_initializer: {product(tensor.dims)} values do not fill shape [{','.join(map(str, dims))}]"
            )
        return ops.broadcast_to(ops.reshape(tensor, shape=()), shape=dims)


class random_normal_initializer(Initializer):  # noqa: N801
    """Draws from a normal distribution."""

    def __init__(self, mean: Any = 0.0, stddev: Any = 0.05, seed: int | None = None) -> None:
        self.mean, self.stddev, self.seed = mean, stddev, seed

    def __call__(self, shape: Any, dtype: Any = float32, **kwargs: Any) -> Tensor:
        return normal(shape, self.mean, self.stddev, _float_dtype("random_normal_initializer", dtype), self.seed)


class random_uniform_initializer(Initializer):  # noqa: N801
    """Draws from [minval, maxval), as likely everywhere."""

    def __init__(self, minval: Any = -0.05, maxval: Any = 0.05, seed: int | None = None) -> None:
        self.minval, self.maxval, self.seed = minval, maxval, seed

    def __call__(self, shape: Any, dtype: Any = float32, **kwargs: Any) -> Tensor:
        found = as_dtype(dtype)
        if not (found.is_floating or found.is_integer):
            raise DTypeError(f"random_uniform_initializer: needs a float or integer dtype, got {found.name}")
        return uniform(shape, self.minval, self.maxval, found, self.seed)
