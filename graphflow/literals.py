"""Python numbers, nested lists and NumPy values as arrays of a dtype: the typing rules of literals, and what does not
fit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import dtypes
from .dtypes import DType, of_numpy, rounded
from .errors import DTypeError, LiteralOverflowError, ShapeError

__all__ = ["array_of", "check_literal", "own_array"]

Array = np.ndarray[Any, Any]


def own_array(value: Any, dtype: DType) -> Array:
    """A dense, row-major, native copy."""
    if dtype.itemsize <= 2:  # among the small ones are those that NumPy does not convert as is wanted
        if dtype is dtypes.string:
            return _encoded(value)
        if dtype.is_narrow:
            value = rounded(value, dtype)
    return np.array(value, dtype=dtype.numpy, order="C", copy=True)


def array_of(value: Any, wanted: DType | None, hint: DType | None) -> tuple[Array, DType]:
    """A copy of the value and its dtype: `wanted`, or for Python values `hint` where it can hold them, else the value's
    own (int -> int32, int64 if it must; float -> float32; text -> string, as UTF-8). Raises DTypeError,
    LiteralOverflowError, ShapeError (ragged lists)."""
    if isinstance(value, (bool, int, float, complex)) and not isinstance(value, np.generic):
        dtype = wanted or (hint if hint is not None and _fits_kind(value, hint) else None) or _literal_dtype(value)
        return own_array(check_literal(value, dtype), dtype), dtype
    if isinstance(value, (np.ndarray, np.generic)):
        return _converted(value, of_numpy(value.dtype), wanted)
    if value is None or isinstance(value, (str, bytes, dict, set)):
        if isinstance(value, (str, bytes)):
            return _converted(value, dtypes.string, wanted)
        raise _not_a_tensor(value)
    array = _array_of_sequence(value)
    source = of_numpy(array.dtype)
    if hasattr(value, "__array__"):
        return _converted(array, source, wanted)
    literal = source
    if array.dtype.kind == "f":
        literal = dtypes.float32
    elif array.dtype.kind in "iu":
        small = array.size == 0 or (array.min() >= -(2**31) and array.max() < 2**31)
        literal = dtypes.int32 if small else dtypes.int64
    fits = hint is not None and (
        hint.kind == literal.kind
        or hint.is_floating
        and literal.is_integer
        or hint.is_complex
        and (literal.is_integer or literal.is_floating)
    )
    return _converted(array, source, wanted or (hint if fits and hint is not None else literal))


def _converted(array: Any, source: DType, wanted: DType | None) -> tuple[Array, DType]:
    dtype = wanted or source
    if dtype is not source:
        _check_array_fits(array, source, dtype)
    return own_array(array, dtype), dtype


def _array_of_sequence(value: Any) -> Array:
    try:
        with np.errstate(over="ignore"):
            array = np.array(value)
    except UnicodeDecodeError:  # bytes that are no text, beside text
        array = np.array(value, dtype=object)
    except ValueError as error:
        raise ShapeError(f"convert_to_tensor: rows of different lengths in {_short(value)}") from error
    except OverflowError as error:
        raise LiteralOverflowError(f"convert_to_tensor: an integer in {_short(value)} does not fit int64") from error
    kind = array.dtype.kind
    # NumPy makes uint64, floats or objects of integers beyond int64.
    if kind == "O" or kind == "f" and array.size and bool((np.abs(array) >= 2.0**63).any()):
        leaves = np.array(value, dtype=object).reshape(-1).tolist()
        if any(isinstance(v, int) and not -(2**63) <= v < 2**64 for v in leaves) or all(
            isinstance(v, int) for v in leaves
        ):
            raise LiteralOverflowError(f"convert_to_tensor: an integer in {_short(value)} does not fit int64")
    if kind in "SUO":  # NumPy makes text of numbers beside text, and cuts zero bytes off: the elements as they are
        elements = np.array(value, dtype=object)
        if not all(isinstance(v, (str, bytes)) for v in elements.reshape(-1)):
            raise _not_a_tensor(value)
        return elements
    return array


def _encoded(value: Any) -> Array:
    """Text and bytes as an array of bytes objects. Raises DTypeError for other elements."""
    source = np.asarray(value, dtype=object)
    result = np.empty(source.shape, object)
    result.reshape(-1)[:] = [v if v.__class__ is bytes else _bytes_of(v) for v in source.reshape(-1).tolist()]
    return result


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, bytes):
        return bytes(value)
    if not isinstance(value, str):
        raise DTypeError(f"a string tensor has elements of str or bytes; got {_short(value)} ({type(value).__name__})")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise DTypeError(f"the text {_short(value)} has no UTF-8 form ({error.reason}); pass bytes") from error


def _not_a_tensor(value: Any) -> DTypeError:
    return DTypeError(
        f"convert_to_tensor: {_short(value)} ({type(value).__name__}) is not a tensor value; use numbers, text, lists "
        f"of one of them, or arrays"
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


def _literal_dtype(value: Any) -> DType:
    if isinstance(value, bool):
        return dtypes.bool_
    if isinstance(value, int):
        if -(2**31) <= value < 2**31:
            return dtypes.int32
        if -(2**63) <= value < 2**63:
            return dtypes.int64
        raise LiteralOverflowError(f"the literal {value} does not fit int64")
    return dtypes.complex128 if isinstance(value, complex) else dtypes.float32


def _fits_kind(value: Any, dtype: DType) -> bool:
    if dtype.is_bool:
        return isinstance(value, bool)
    if isinstance(value, int):  # True counts as 1 beside numbers, as in TensorFlow
        return dtype.is_integer or dtype.is_floating or dtype.is_complex
    return dtype.is_floating or dtype.is_complex if isinstance(value, float) else dtype.is_complex


def check_literal(value: Any, dtype: DType) -> Any:
    """A Python number as a value of dtype. Raises DTypeError (wrong kind) or LiteralOverflowError (does not fit)."""
    if not _fits_kind(value, dtype):
        if dtype is dtypes.string:
            raise DTypeError(f"the literal {value!r} ({type(value).__name__}) cannot be string; write it as text")
        raise DTypeError(
            f"the literal {value!r} ({type(value).__name__}) cannot be {dtype.name}; use gf.cast or write a "
            f"{dtype.name} literal"
        )
    if dtype.is_integer:
        limits = np.iinfo(dtype.numpy)
        if not limits.min <= value <= limits.max:
            raise LiteralOverflowError(f"the literal {value} does not fit {dtype.name} ({limits.min}..{limits.max})")
    elif dtype.is_floating:
        try:
            number = float(value)
        except OverflowError as error:
            raise LiteralOverflowError(f"the literal {value} does not fit {dtype.name}") from error
        if math.isfinite(number) and abs(number) > float(dtype.max) and not np.isfinite(rounded(number, dtype)):
            raise LiteralOverflowError(f"the literal {value!r} does not fit {dtype.name} (largest {dtype.max})")
        return number
    elif dtype.is_complex:
        whole = complex(value)
        if max(_finite(whole.real), _finite(whole.imag)) > float(dtype.max):
            raise LiteralOverflowError(f"the literal {value!r} does not fit {dtype.name} (largest {dtype.max})")
    return value


def _finite(part: float) -> float:
    """The magnitude of a finite number; 0 for infinities and NaN, which every dtype has."""
    return abs(part) if math.isfinite(part) else 0.0


def _check_array_fits(array: Any, source: DType, dtype: DType) -> None:
    """Array values converted to another dtype: int -> float and widening are fine; what loses kind or range raises. An empty list is of any
    dtype."""
    if source is dtypes.string or dtype is dtypes.string:
        if np.size(array):
            raise DTypeError(f"convert_to_tensor: {_short(array)} ({source.name}) cannot become {dtype.name}")
        return
    if not array.size:
        return
    if source.is_floating and not (dtype.is_floating or dtype.is_complex) or source.is_bool != dtype.is_bool:
        raise DTypeError(f"values of {source.name} cannot become {dtype.name} silently; use gf.cast")
    if source.is_complex and not dtype.is_complex:
        raise DTypeError(f"values of {source.name} cannot become {dtype.name} silently; use gf.cast")
    if dtype.is_integer and array.size:
        limits = np.iinfo(dtype.numpy)
        low, high = int(array.min()), int(array.max())
        if low < limits.min or high > limits.max:
            bad = low if low < limits.min else high
            raise LiteralOverflowError(f"the value {bad} does not fit {dtype.name} ({limits.min}..{limits.max})")
    elif dtype.is_floating and source.is_floating and dtype.itemsize < source.itemsize and array.size:
        with np.errstate(all="ignore"):
            largest = (
                np.max(np.abs(array[np.isfinite(array)]), initial=0.0)
                if array.ndim
                else (abs(array) if np.isfinite(array) else 0.0)
            )
        if largest > float(dtype.max):
            raise LiteralOverflowError(f"the value {largest} does not fit {dtype.name} (largest {dtype.max})")
