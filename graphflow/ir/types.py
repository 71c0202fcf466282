"""Types of values: tensors and references to variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..dtypes import DType
from .dims import Dim, product, substitute

__all__ = ["CPU", "TensorType", "ValueType", "VariableType"]

CPU = "CPU:0"


@dataclass(frozen=True)
class TensorType:
    """dtype, shape (ints and symbolic dims) and the device that holds the bytes."""

    dtype: DType
    shape: tuple[Dim, ...]
    device: str = CPU

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def elements(self) -> Dim:
        """The product of the extents, an int or a symbolic dim."""
        return product(self.shape)

    @property
    def in_register(self) -> bool:
        """One element that the code generator can hold in a register, whatever the rank. Complex numbers stay in memory."""
        return self.elements == 1 and not self.dtype.is_complex

    @property
    def is_static(self) -> bool:
        """Are all extents ints?"""
        return all(isinstance(d, int) for d in self.shape)

    def with_shape(self, shape: tuple[Dim, ...]) -> TensorType:
        """The same type of another shape."""
        return replace(self, shape=tuple(shape))

    def with_dtype(self, dtype: DType) -> TensorType:
        """The same type of another dtype."""
        return replace(self, dtype=dtype)

    def with_device(self, device: str) -> TensorType:
        """The same type on another device."""
        return replace(self, device=device)

    def substitute(self, env: Mapping[str, Dim]) -> TensorType:
        """The type with symbols replaced by dims."""
        return replace(self, shape=tuple(substitute(d, env) for d in self.shape))

    def __str__(self) -> str:
        suffix = "" if self.device == CPU else f"@{self.device}"
        return f"{self.dtype.short}[{','.join(map(str, self.shape))}]{suffix}"


@dataclass(frozen=True)
class VariableType(TensorType):
    """A reference to a variable whose value has this dtype and shape. Only graph inputs have it."""

    @property
    def value_type(self) -> TensorType:
        """The type of the variable's value."""
        return TensorType(self.dtype, self.shape, self.device)

    def __str__(self) -> str:
        return "var " + TensorType.__str__(self)


ValueType = TensorType
