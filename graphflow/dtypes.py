"""Element types: one frozen record per dtype, with its NumPy twin and its short name in IR text.

Elements of `string` are bytes in arrays of NumPy's object dtype; only eager tensors have it (docs/strings.md), so it is not in ALL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import DTypeError

__all__ = [
    "DType",
    "as_dtype",
    "bfloat16",
    "bool_",
    "complex64",
    "complex128",
    "float16",
    "float32",
    "float64",
    "from_short",
    "int8",
    "int16",
    "int32",
    "int64",
    "of_numpy",
    "rounded",
    "string",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class DType:
    """An element type. Compare with `==` against a DType, a name ("float32") or a NumPy dtype."""

    name: str
    short: str
    kind: str  # "float", "int", "uint", "bool", "complex", "string"
    itemsize: int
    as_numpy_dtype: Any = field(repr=False)

    @property
    def numpy(self) -> np.dtype[Any]:
        """NumPy's dtype of the same elements (ml_dtypes' for bfloat16, `object` for string)."""
        return _NUMPY[self.name]

    @property
    def size(self) -> int:
        """Bytes of an element (TensorFlow's name for `itemsize`)."""
        return self.itemsize

    @property
    def is_floating(self) -> bool:
        """Is it float16, bfloat16, float32 or float64?"""
        return self.kind == "float"

    @property
    def is_narrow(self) -> bool:
        """A float of 16 bits: stored so, computed with in float32 and rounded at each operation."""
        return self.kind == "float" and self.itemsize == 2

    @property
    def is_integer(self) -> bool:
        """Is it an integer dtype, signed or not?"""
        return self.kind in ("int", "uint")

    @property
    def is_unsigned(self) -> bool:
        """Is it an unsigned integer dtype?"""
        return self.kind == "uint"

    @property
    def is_bool(self) -> bool:
        """Is it bool?"""
        return self.kind == "bool"

    @property
    def is_complex(self) -> bool:
        """Is it complex64 or complex128?"""
        return self.kind == "complex"

    @property
    def is_numeric(self) -> bool:
        """Is it a dtype of numbers: neither bool nor string?"""
        return self.kind not in ("bool", "string")

    @property
    def is_string(self) -> bool:
        """Is it string?"""
        return self.kind == "string"

    @property
    def zero(self) -> Any:
        """The element that gf.zeros is made of: 0, False or the empty string."""
        return {"string": b"", "bool": False}.get(self.kind, 0)

    @property
    def min(self) -> Any:
        """Smallest finite value."""
        return _limits(self).min

    @property
    def max(self) -> Any:
        """Largest finite value."""
        return _limits(self).max

    @property
    def base_dtype(self) -> DType:
        """This dtype: there are no reference dtypes."""
        return self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DType):
            return self is other
        if isinstance(other, str) and (other in _BY_NAME):
            return _BY_NAME[other] is self
        if other is None:
            return False
        try:
            return bool(self.numpy == np.dtype(other))  # type: ignore[call-overload]
        except TypeError:
            return False

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"gf.{self.name}"

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self.name,)


def _limits(dtype: DType) -> Any:
    if dtype.is_string:
        raise DTypeError("string has no smallest and no largest value")
    if dtype.is_bool:
        return _BoolLimits
    if dtype.name == "bfloat16":
        import ml_dtypes

        return ml_dtypes.finfo(dtype.numpy)
    return np.iinfo(dtype.numpy) if dtype.is_integer else np.finfo(dtype.numpy)


class _BoolLimits:
    min = False
    max = True


class _LazyNumpy(dict[str, Any]):
    """NumPy dtypes by name; bfloat16 comes from ml_dtypes, which is imported only when it is asked for."""

    def __missing__(self, name: str) -> np.dtype[Any]:
        if name == "bfloat16":
            import ml_dtypes

            self[name] = np.dtype(ml_dtypes.bfloat16)
        else:
            self[name] = np.dtype(name)
        return self[name]


_NUMPY: dict[str, np.dtype[Any]] = _LazyNumpy({"string": np.dtype(object)})

float16 = DType("float16", "f16", "float", 2, np.float16)
bfloat16 = DType("bfloat16", "bf16", "float", 2, None)
float32 = DType("float32", "f32", "float", 4, np.float32)
float64 = DType("float64", "f64", "float", 8, np.float64)
int8 = DType("int8", "i8", "int", 1, np.int8)
int16 = DType("int16", "i16", "int", 2, np.int16)
int32 = DType("int32", "i32", "int", 4, np.int32)
int64 = DType("int64", "i64", "int", 8, np.int64)
uint8 = DType("uint8", "u8", "uint", 1, np.uint8)
uint16 = DType("uint16", "u16", "uint", 2, np.uint16)
uint32 = DType("uint32", "u32", "uint", 4, np.uint32)
uint64 = DType("uint64", "u64", "uint", 8, np.uint64)
bool_ = DType("bool", "b1", "bool", 1, np.bool_)
complex64 = DType("complex64", "c64", "complex", 8, np.complex64)
complex128 = DType("complex128", "c128", "complex", 16, np.complex128)
string = DType("string", "str", "string", 0, object)

ALL = (
    float16, bfloat16, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64, bool_, complex64,
    complex128,
)  # fmt: skip
_BY_NAME = {d.name: d for d in (*ALL, string)}
_BY_SHORT = {d.short: d for d in ALL}
_BY_NUMPY = {np.dtype(d.name): d for d in ALL if d is not bfloat16}
_PYTHON: dict[Any, DType] = {float: float32, int: int32, bool: bool_, complex: complex128}


def of_numpy(dtype: np.dtype[Any]) -> DType:
    """The DType of a NumPy dtype (any byte order); `string` for NumPy's text, bytes and object. Raises DTypeError for others."""
    found = _BY_NUMPY.get(dtype)
    if found is None:
        if dtype.kind in "SUO":
            return string
        found = _BY_NUMPY.get(dtype.newbyteorder("=")) if dtype.kind in "fiubc" else _BY_NAME.get(dtype.name)
    if found is None:
        raise DTypeError(f"NumPy dtype {dtype} has no graphflow dtype; use one of {', '.join(_BY_NAME)}")
    return found


def as_dtype(type_value: Any) -> DType:
    """A DType from a DType, a name, a NumPy dtype or scalar type, or a Python type (float, int, bool)."""
    value = type_value
    if isinstance(value, DType):
        return value
    if value is None:  # which NumPy takes for float64
        raise DTypeError(f"None is not a dtype; use one of {', '.join(_BY_NAME)}")
    if isinstance(value, str) and value in _BY_NAME:
        return _BY_NAME[value]
    if isinstance(value, type) and value in _PYTHON:
        return _PYTHON[value]
    if value in (str, bytes):
        raise DTypeError(f"{value!r} is not a dtype; use gf.string")
    try:
        return of_numpy(np.dtype(value))
    except (TypeError, ValueError) as error:
        raise DTypeError(f"{value!r} is not a dtype; use one of {', '.join(_BY_NAME)}") from error


def from_short(short: str) -> DType:
    """The DType whose short name in IR text is `short` ("f32")."""
    return _BY_SHORT[short]


def rounded(values: Any, dtype: DType) -> Any:
    """Numbers (an array, or what NumPy makes one of) as a NumPy array of a float dtype, each rounded once, to nearest even; beyond the
    range they are infinite. NumPy and ml_dtypes go to a narrow dtype from float64 and from integers through float32, and round twice."""
    array = np.asarray(values)
    with np.errstate(over="ignore", invalid="ignore"):
        if not dtype.is_narrow or array.dtype.itemsize <= 2 or array.dtype in (np.float32, dtype.numpy):
            return array.astype(dtype.numpy)
        if array.dtype.kind in "iu" and array.dtype.itemsize == 8:
            # float64 does not hold them all: the multiple of 2**11 below, odd if something is left over, is the odd neighbour
            large = (array >= 2**53) | (array <= -(2**53) if array.dtype.kind == "i" else np.False_)
            odd = (array >> 11) | ((array & 2047) != 0).astype(array.dtype)
            wide = np.where(large, odd.astype(np.float64) * 2048.0, array.astype(np.float64))
        else:
            wide = array.astype(np.float64)
        nearest = wide.astype(np.float32)
        # rounded to odd, so that the next rounding is the only one (kernels/narrow.py says more)
        bits = np.atleast_1d(nearest).view(np.uint32).reshape(nearest.shape)
        back = nearest.astype(np.float64)
        neighbour = np.where(np.abs(back) > np.abs(wide), bits - np.uint32(1), bits + np.uint32(1))
        fits = (back == wide) | np.isnan(wide) | (bits & np.uint32(1) != 0)
        odd_bits = np.where(fits, bits, neighbour)
        return np.atleast_1d(odd_bits).view(np.float32).reshape(nearest.shape).astype(dtype.numpy)
