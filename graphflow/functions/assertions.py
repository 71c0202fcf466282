"""gf.debugging.assert_*: what must hold of tensors. Signatures are TensorFlow's.

What is known while tracing (shapes, dtypes, constants) is checked at once; the rest becomes a check of the compiled
program, which is never optimised away. A failed check of values raises AssertionFailedError, of ranks and shapes
ShapeError (a ValueError), of dtypes DTypeError (a TypeError), with the values, the first failing element and the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import math, ops
from ..dtypes import DType, as_dtype, float32
from ..errors import DTypeError, ShapeError, SignatureError
from ..tensor import Tensor, TensorLike, active_trace, convert_to_tensor, is_tensor
from .effects import check, known_array

__all__ = [
    "assert_all_finite",
    "assert_equal",
    "assert_greater",
    "assert_greater_equal",
    "assert_integer",
    "assert_less",
    "assert_less_equal",
    "assert_near",
    "assert_negative",
    "assert_non_negative",
    "assert_non_positive",
    "assert_none_equal",
    "assert_positive",
    "assert_proper_iterable",
    "assert_rank",
    "assert_rank_at_least",
    "assert_rank_in",
    "assert_same_float_dtype",
    "assert_scalar",
    "assert_shapes",
    "assert_type",
    "check_numerics",
    "is_numeric_tensor",
]


# Values ---------------------------------------------------------------------------------------------------------------
def _pair(x: Any, y: Any) -> tuple[Any, Any]:
    """Two operands as tensors: a Python value takes the dtype of the tensor beside it."""
    if is_tensor(y) and not is_tensor(x):
        y = convert_to_tensor(y)
        return convert_to_tensor(x, dtype_hint=y.dtype), y
    x = convert_to_tensor(x)
    return x, convert_to_tensor(y, dtype_hint=x.dtype)


def _assert_pair(
    name: str | None,
    sign: str,
    holds: Callable[[Any, Any], Any],
    x: Any,
    y: Any,
    message: str | None,
    summarize: int | None,
    public: str,
) -> None:
    x, y = _pair(x, y)
    condition = _now_if_known(holds, x, y)
    check(condition, _prefix(message) + f"x {sign} y must hold", (x, y), ("x", "y"), summarize, _name(name, public))


def _now_if_known(holds: Callable[..., Any], *operands: Any) -> Any:
    """The condition on operands; computed at once where a trace knows them all."""
    known = [known_array(t) for t in operands]
    if active_trace.get() is None or any(k is None for k in known):
        return holds(*operands)
    token = active_trace.set(None)
    try:
        return holds(*[Tensor(array, t.dtype) for array, t in zip(known, operands, strict=True)])
    finally:
        active_trace.reset(token)


def _prefix(message: str | None) -> str:
    return f"{message}. " if message else ""


def _name(name: str | None, public: str) -> str:
    return f"{public} '{name}'" if name else public


def assert_equal(
    x: Any, y: Any, message: str | None = None, summarize: int | None = None, name: str | None = None
) -> None:
    """x == y must hold for every pair of (broadcast) elements."""
    _assert_pair(name, "==", ops.equal, x, y, message, summarize, "assert_equal")


def assert_none_equal(
    x: Any, y: Any, summarize: int | None = None, message: str | None = None, name: str | None = None
) -> None:
    """x != y must hold for every pair of (broadcast) elements."""
    _assert_pair(name, "!=", ops.not_equal, x, y, message, summarize, "assert_none_equal")


def assert_less(
    x: Any, y: Any, message: str | None = None, summarize: int | None = None, name: str | None = None
) -> None:
    """x < y must hold for every pair of (broadcast) elements."""
    _assert_pair(name, "<", ops.less, x, y, message, summarize, "assert_less")


def assert_less_equal(
    x: Any, y: Any, message: str | None = None, summarize: int | None = None, name: str | None = None
) -> None:
    """x <= y must hold for every pair of (broadcast) elements."""
    _assert_pair(name, "<=", ops.less_equal, x, y, message, summarize, "assert_less_equal")


def assert_greater(
    x: Any, y: Any, message: str | None = None, summarize: int | None = None, name: str | None = None
) -> None:
    """x > y must hold for every pair of (broadcast) elements."""
    _assert_pair(name, ">", ops.greater, x, y, message, summarize, "assert_greater")


def assert_greater_equal(
    x: Any, y: Any, message: str | None = None, summarize: int | None = None, name: str | None = None
) -> None:
    """x >= y must hold for every pair of (broadcast) elements."""
    _assert_pair(name, ">=", ops.greater_equal, x, y, message, summarize, "assert_greater_equal")


def _assert_sign(
    public: str,
    sign: str,
    holds: Callable[[Any, Any], Any],
    x: Any,
    message: str | None,
    summarize: int | None,
    name: str | None,
) -> None:
    x = convert_to_tensor(x)
    zero = Tensor(np.zeros((), x.dtype.numpy), x.dtype)
    condition = _now_if_known(lambda value: holds(value, zero), x)
    check(condition, _prefix(message) + f"x {sign} 0 must hold", (x,), ("x",), summarize, _name(name, public))


def assert_negative(x: Any, message: str | None = None, summarize: int | None = None, name: str | None = None) -> None:
    """x < 0 must hold for every element."""
    _assert_sign("assert_negative", "<", ops.less, x, message, summarize, name)


def assert_positive(x: Any, message: str | None = None, summarize: int | None = None, name: str | None = None) -> None:
    """x > 0 must hold for every element."""
    _assert_sign("assert_positive", ">", ops.greater, x, message, summarize, name)


def assert_non_negative(
    x: Any, message: str | None = None, summarize: int | None = None, name: str | None = None
) -> None:
    """x >= 0 must hold for every element."""
    _assert_sign("assert_non_negative", ">=", ops.greater_equal, x, message, summarize, name)


def assert_non_positive(
    x: Any, message: str | None = None, summarize: int | None = None, name: str | None = None
) -> None:
    """x <= 0 must hold for every element."""
    _assert_sign("assert_non_positive", "<=", ops.less_equal, x, message, summarize, name)


def assert_near(
    x: Any,
    y: Any,
    rtol: Any = None,
    atol: Any = None,
    message: str | None = None,
    summarize: int | None = None,
    name: str | None = None,
) -> None:
    """|x - y| < atol + rtol * |y| must hold for every pair of (broadcast) float elements. rtol, atol: 10 machine epsilons of
    the dtype by default."""
    x, y = _pair(x, y)
    if not (x.dtype.is_floating or x.dtype.is_complex):
        raise DTypeError(f"assert_near: needs float tensors, got {x.type} and {y.type}")
    real = as_dtype(x.dtype.numpy.type(0).real.dtype) if x.dtype.is_complex else x.dtype
    import ml_dtypes

    epsilon = float(ml_dtypes.finfo(real.numpy).eps)
    relative = convert_to_tensor(10 * epsilon if rtol is None else rtol, dtype_hint=real)
    absolute = convert_to_tensor(10 * epsilon if atol is None else atol, dtype_hint=real)
    condition = _now_if_known(lambda a, b, r, t: math.abs(a - b) < t + r * math.abs(b), x, y, relative, absolute)
    text = (
        _prefix(message)
        + f"|x - y| < atol + rtol * |y| must hold with rtol = {_shown(relative)}, atol = {_shown(absolute)}"
    )
    check(condition, text, (x, y), ("x", "y"), summarize, _name(name, "assert_near"))


def _shown(tensor: Any) -> str:
    array = known_array(tensor)
    return f"{float(array):.7g}" if array is not None and array.ndim == 0 else str(tensor.type)


def check_numerics(tensor: Any, message: str, name: str | None = None) -> Any:
    """The tensor, whose elements (and, in the backward pass, its gradient's) must all be finite: else InvalidArgumentError
    with `message`, what it had (NaN, Inf), the first such element and its value. tensor: float."""
    return ops.check_numerics(convert_to_tensor(tensor), message=str(message))


def assert_all_finite(x: Any, message: str, name: str | None = None) -> Any:
    """The tensor, whose elements must all be finite: else InvalidArgumentError with `message`. The gradient passes
    unchecked."""
    tensor = convert_to_tensor(x)
    ops.check_numerics(ops.stop_gradient(tensor), message=str(message))
    return tensor


# Ranks and shapes -----------------------------------------------------------------------------------------------------
def _rank(public: str, rank: Any) -> int:
    """A rank argument as an int. Raises ShapeError for anything but a scalar, DTypeError for a float."""
    tensor = convert_to_tensor(rank)
    array = known_array(tensor)
    if tensor.dims != ():
        raise ShapeError(f"{public}: the rank must be a scalar, got {rank!r}")
    if not tensor.dtype.is_integer:
        raise DTypeError(f"{public}: the rank must be an int32, got {tensor.type}")
    if array is None:
        raise ShapeError(f"{public}: the rank must be known while tracing, got {tensor.type}")
    return int(array)


def _require_rank(
    public: str, name: str | None, x: Any, message: str | None, holds: Callable[[int], bool], wanted: str
) -> None:
    x = convert_to_tensor(x)
    if not holds(len(x.dims)):
        raise ShapeError(
            f"{_name(name, public)}: {_prefix(message)}the tensor must have rank {wanted}, got rank {len(x.dims)}: {x.type}"
        )


def assert_rank(x: Any, rank: Any, message: str | None = None, name: str | None = None) -> None:
    """x must have this rank. Ranks are known while tracing: ShapeError then."""
    wanted = _rank("assert_rank", rank)
    _require_rank("assert_rank", name, x, message, lambda r: r == wanted, str(wanted))


def assert_rank_at_least(x: Any, rank: Any, message: str | None = None, name: str | None = None) -> None:
    """x must have this rank or a higher one."""
    wanted = _rank("assert_rank_at_least", rank)
    _require_rank("assert_rank_at_least", name, x, message, lambda r: r >= wanted, f"at least {wanted}")


def assert_rank_in(x: Any, ranks: Iterable[Any], message: str | None = None, name: str | None = None) -> None:
    """x must have one of these ranks."""
    wanted = [_rank("assert_rank_in", rank) for rank in ranks]
    _require_rank("assert_rank_in", name, x, message, lambda r: r in wanted, f"in {tuple(wanted)}")


def assert_scalar(tensor: Any, message: str | None = None, name: str | None = None) -> None:
    """The tensor must have rank 0."""
    _require_rank("assert_scalar", name, tensor, message, lambda r: r == 0, "0")


def assert_shapes(
    shapes: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> None:
    """Relations between the extents of several tensors.

    shapes: (tensor, shape) pairs, or a dictionary. A shape is an iterable of ints, names (one name stands for one extent
    in all of them) and None or "." for any extent; a first `...` or "*" stands for any number of leading axes. A scalar
    counts as one axis of extent 1. Extents that differ from call to call are checked when the function runs.
    """
    pairs = shapes.items() if isinstance(shapes, Mapping) else shapes
    public = _name(name, "assert_shapes")
    known: dict[Any, tuple[Any, str]] = {}
    for value, shape in pairs:
        if shape is None:
            continue
        tensor = convert_to_tensor(value)
        wanted, leading = _wanted(public, tensor, shape, message)
        dims = tuple(tensor.shape) or (1,)
        if len(wanted) > 1 or not leading:
            fits = len(dims) >= len(wanted) if leading else len(dims) == len(wanted)
            if not fits:
                raise ShapeError(
                    f"{public}: {_prefix(message)}the tensor must have rank {'at least ' * leading}{len(wanted)}, got rank "
                    f"{len(tensor.dims)}: {tensor.type}"
                )
        first = len(dims) - len(wanted)
        for position, symbol in enumerate(wanted):
            axis = first + position
            if symbol is None or symbol == "." or axis < 0:
                continue
            size = _as_size(symbol)
            if size is not None:
                expected, origin = size, "specified explicitly"
            elif symbol in known:
                expected, origin = known[symbol]
            else:
                known[symbol] = (dims[axis], f"specified by axis {axis} of {tensor.type}")
                continue
            _require_extent(public, tensor, axis, dims[axis], expected, origin, message, data, summarize)


def _wanted(public: str, tensor: Any, shape: Any, message: str | None) -> tuple[tuple[Any, ...], bool]:
    """The extents wanted of the last axes, and whether any number of axes may come before."""
    if not (hasattr(shape, "__iter__") or hasattr(shape, "__getitem__")):
        raise ShapeError(f"{public}: {_prefix(message)}a shape must be an iterable, got {shape!r} for {tensor.type}")
    wanted = tuple(shape)
    for position, symbol in enumerate(wanted):
        if position and (symbol is Ellipsis or symbol == "*"):
            raise ShapeError(
                f"{public}: {_prefix(message)}`...` may only come first in a shape, got {wanted!r} for {tensor.type}"
            )
    leading = bool(wanted) and (wanted[0] is Ellipsis or wanted[0] == "*")
    return (wanted[1:] if leading else wanted) or (1,), leading


def _as_size(symbol: Any) -> int | None:
    try:
        return int(symbol)
    except (ValueError, TypeError):
        return None


def _require_extent(
    public: str,
    tensor: Any,
    axis: int,
    extent: Any,
    expected: Any,
    origin: str,
    message: str | None,
    data: Any,
    summarize: int | None,
) -> None:
    text = f"{_prefix(message)}axis {axis} of {tensor.type} must have extent"
    if isinstance(extent, int) and isinstance(expected, int):
        if extent != expected:
            raise ShapeError(f"{public}: {text} {expected} ({origin}), got {extent}")
        return
    dims = [e if isinstance(e, int) else e.__graphflow_dim__() for e in (extent, expected)]
    if dims[0] == dims[1]:
        return
    left, right = convert_to_tensor(extent), convert_to_tensor(expected)
    extra = [convert_to_tensor(d) for d in data or () if isinstance(d, TensorLike)]
    check(
        ops.equal(left, right),
        f"{text} {expected} ({origin})",
        (left, right, *extra),
        ("the extent", "the wanted one"),
        summarize,
        public,
    )


# Dtypes ---------------------------------------------------------------------------------------------------------------
def assert_type(tensor: Any, tf_type: Any, message: str | None = None, name: str | None = None) -> None:
    """The tensor must have this dtype. Raises DTypeError (a TypeError)."""
    tensor, wanted = convert_to_tensor(tensor), as_dtype(tf_type)
    if tensor.dtype is not wanted:
        raise DTypeError(
            f"{_name(name, 'assert_type')}: {_prefix(message)}the tensor must be {wanted.name}, got {tensor.dtype.name}: {tensor.type}"
        )


def assert_integer(x: Any, message: str | None = None, name: str | None = None) -> None:
    """x must have an integer dtype. Raises DTypeError (a TypeError)."""
    x = convert_to_tensor(x)
    if not x.dtype.is_integer:
        raise DTypeError(
            f"{_name(name, 'assert_integer')}: {_prefix(message)}the tensor must be of integers, got {x.type}"
        )


def assert_same_float_dtype(tensors: Sequence[Any] | None = None, dtype: Any = None) -> DType:
    """The one float dtype of all tensors (None among them is skipped), which must be `dtype` if that is given; float32
    where neither is. Raises DTypeError."""
    wanted = None if dtype is None else as_dtype(dtype)
    leader = "dtype" if wanted is not None else ""
    for number, tensor in enumerate(tensors or ()):
        if tensor is None:
            continue
        if wanted is None:
            wanted, leader = tensor.dtype, f"tensor {number}"
        elif tensor.dtype is not wanted:
            raise DTypeError(
                f"assert_same_float_dtype: tensors must have one dtype, got {wanted.name} ({leader}) and "
                f"{tensor.dtype.name} (tensor {number})"
            )
    if wanted is None:
        return float32
    if not wanted.is_floating:
        raise DTypeError(f"assert_same_float_dtype: the dtype must be a float, got {wanted.name} ({leader})")
    return wanted


def is_numeric_tensor(tensor: Any) -> bool:
    """Is it a tensor of numbers (not of bools)?"""
    return isinstance(tensor, Tensor) and not tensor.dtype.is_bool and tensor.dtype.name != "string"


def assert_proper_iterable(values: Any) -> None:
    """values must be a list, a tuple, a generator ...: not a tensor, an array or a string, which can be iterated too.
    Raises SignatureError (a TypeError)."""
    if isinstance(values, (TensorLike, np.ndarray, str, bytes)) or not hasattr(values, "__iter__"):
        raise SignatureError(
            f"assert_proper_iterable: needs a list, a tuple or another iterable of tensors, got {type(values).__name__}"
        )
