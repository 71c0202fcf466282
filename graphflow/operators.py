"""The operators that tensors and variables share, and references to use them as keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .dtypes import DType
from .errors import DTypeError

__all__ = ["Reference", "TensorLike"]


class _Operators:
    """The ops behind Python's operators, filled by `_operators` on first use (ops build on this module's hooks)."""

    def __init__(self) -> None:
        from . import math, ops
        from .functions.indexing import index_tensor

        for name in (
            "add subtract multiply floordiv floormod negative less less_equal greater greater_equal equal not_equal "
            "logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor matmul"
        ).split():
            setattr(self, name, getattr(ops, name))
        self.divide, self.pow = math.divide, math.pow
        self.abs, self.invert = ops.absolute, ops.bitwise_invert
        self.left_shift, self.right_shift = ops.bitwise_left_shift, ops.bitwise_right_shift
        self.index = index_tensor

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


def _operators() -> Any:
    global _functions
    if _functions is None:
        _functions = _Operators()
    return _functions


_functions: Any = None


_OURS = (int, float, complex, str, list, tuple, np.ndarray, np.generic)


def _apply(name: str, x: Any, y: Any) -> Any:
    """A binary operator; NotImplemented for an operand of a foreign class, which then gets its reflected operator's
    turn."""
    try:
        return getattr(_operators(), name)(x, y)
    except DTypeError:
        if name == "multiply" and isinstance(x, TensorLike) and x.dtype.is_bool:
            return _operators().logical_and(x, y)  # as in TensorFlow
        if isinstance(y, (TensorLike, *_OURS)) or y is None:
            raise
        return NotImplemented


class TensorLike:
    """Operators that tensors and variables share."""

    __slots__ = ()
    __array_priority__ = 100
    dtype: DType

    def __add__(self, other: Any) -> Any:
        return _apply("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return _operators().add(other, self)

    def __sub__(self, other: Any) -> Any:
        return _apply("subtract", self, other)

    def __rsub__(self, other: Any) -> Any:
        return _operators().subtract(other, self)

    def __mul__(self, other: Any) -> Any:
        return _apply("multiply", self, other)

    def __rmul__(self, other: Any) -> Any:
        return _operators().multiply(other, self)

    def __truediv__(self, other: Any) -> Any:
        return _apply("divide", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _operators().divide(other, self)

    def __floordiv__(self, other: Any) -> Any:
        return _apply("floordiv", self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return _operators().floordiv(other, self)

    def __mod__(self, other: Any) -> Any:
        return _apply("floormod", self, other)

    def __rmod__(self, other: Any) -> Any:
        return _operators().floormod(other, self)

    def __pow__(self, other: Any) -> Any:
        return _apply("pow", self, other)

    def __rpow__(self, other: Any) -> Any:
        return _operators().pow(other, self)

    def __matmul__(self, other: Any) -> Any:
        return _apply("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return _operators().matmul(other, self)

    def __neg__(self) -> Any:
        return _operators().negative(self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return _operators().abs(self)

    def __lt__(self, other: Any) -> Any:
        return _apply("less", self, other)

    def __le__(self, other: Any) -> Any:
        return _apply("less_equal", self, other)

    def __gt__(self, other: Any) -> Any:
        return _apply("greater", self, other)

    def __ge__(self, other: Any) -> Any:
        return _apply("greater_equal", self, other)

    def __eq__(self, other: Any) -> Any:
        return False if other is None else _operators().equal(self, other)

    def __ne__(self, other: Any) -> Any:
        return True if other is None else _operators().not_equal(self, other)

    def __hash__(self) -> NoReturn:
        raise TypeError(
            "tensors and variables are compared element by element, so they cannot be hashed; use .ref() as a key"
        )

    def ref(self) -> Reference:
        """A hashable reference to this object, for sets and dictionaries."""
        return Reference(self)

    def _bits(self, name: str, other: Any, swap: bool = False) -> Any:
        functions = _operators()
        logical = self.dtype.is_bool
        function = getattr(functions, f"logical_{name}" if logical else f"bitwise_{name}")
        return function(other, self) if swap else function(self, other)

    def __and__(self, other: Any) -> Any:
        return self._bits("and", other)

    def __rand__(self, other: Any) -> Any:
        return self._bits("and", other, True)

    def __or__(self, other: Any) -> Any:
        return self._bits("or", other)

    def __ror__(self, other: Any) -> Any:
        return self._bits("or", other, True)

    def __xor__(self, other: Any) -> Any:
        return self._bits("xor", other)

    def __rxor__(self, other: Any) -> Any:
        return self._bits("xor", other, True)

    def __invert__(self) -> Any:
        functions = _operators()
        return functions.logical_not(self) if self.dtype.is_bool else functions.invert(self)

    def __lshift__(self, other: Any) -> Any:
        return _operators().left_shift(self, other)

    def __rshift__(self, other: Any) -> Any:
        return _operators().right_shift(self, other)

    def __getitem__(self, key: Any) -> Any:
        return _operators().index(self, key)


class Reference:
    """See TensorLike.ref."""

    __slots__ = ("_target",)

    def __init__(self, target: Any) -> None:
        self._target = target

    def deref(self) -> Any:
        return self._target

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and self._target is other._target

    def __hash__(self) -> int:
        return id(self._target)
