"""Complex numbers: made of two real tensors, taken apart, conjugated; and how they lie in memory.

Only the ops of this file know that a complex number has two parts. All others take complex operands as they are, and
passes/lower_complex.py writes them with real ops before code is made. So these ops have no kernels of their own, but for those
that move between complex arrays and real ones with a last axis of 2 (the same bytes), which that pass makes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import DType, complex64, complex128, float32, float64
from ..errors import DTypeError, ShapeError
from ..ir.dims import require_equal
from ..ir.op import Alias, Composite, Interleave, Library, Op, Pointwise, Sample, define_op
from ..ir.types import TensorType
from .gradients import sum_to, zeros_like
from .rules import broadcast_shapes, check_kind, equal_shapes, normalize_axis, same_dtype
from .samples import FLOATS, binary, complex_fill, fill

__all__ = [
    "angle", "as_pairs", "complex_", "conj", "conjugate", "copy_sign", "from_pairs", "imag", "interleave", "magnitude",
    "pair_products", "parts_of", "real",
]  # fmt: skip

_PARTS = {complex64: float32, complex128: float64}
_WHOLE = {part: whole for whole, part in _PARTS.items()}


def part_of(dtype: DType) -> DType:
    """The dtype of the parts of a complex dtype."""
    return _PARTS[dtype]


def whole_of(dtype: DType) -> DType:
    """The complex dtype with parts of a dtype."""
    return _WHOLE[dtype]


def _infer_complex(types: tuple[TensorType, ...]) -> TensorType:
    dtype = same_dtype("complex", types)
    if dtype not in _WHOLE:
        raise DTypeError(f"complex: the parts must be float32 or float64, got {types[0]} and {types[1]}; use gf.cast")
    return TensorType(whole_of(dtype), broadcast_shapes("complex", types), types[0].device)


def _to_part(name: str) -> Any:
    def infer(types: tuple[TensorType, ...]) -> TensorType:
        _require_complex(name, types[0])
        return types[0].with_dtype(part_of(types[0].dtype))

    return infer


def _require_complex(name: str, type: TensorType) -> None:
    if not type.dtype.is_complex:
        raise DTypeError(f"{name}: needs complex operands, got {type}; use gf.cast")


def _complex_samples(*errors: Sample) -> Any:
    def make() -> list[Sample]:
        found = [Sample((complex_fill(shape, dtype, seed=seed),), gradient=False) for dtype in ("complex64", "complex128")
                 for seed, shape in enumerate([(), (7,), (3, 17), (0, 4)])]  # fmt: skip
        return [*found, Sample((fill((3,), "float32"),), error=DTypeError), *errors]

    return make


complex_: Op = define_op(
    "complex", "real imag",
    infer=_infer_complex,
    kernel=Composite(),
    gradient=lambda node, dy: [sum_to(real(dy), node.inputs[0]), sum_to(imag(dy), node.inputs[1])],
    reference=lambda x, y: _joined(x, y),
    samples=binary(edges=False, gradient=False),
    documentation="real + i imag of float32 or float64, as complex64 or complex128.",
)  # fmt: skip


def _joined(x: Any, y: Any) -> Any:
    x, y = np.broadcast_arrays(x, y)
    result = np.empty(x.shape, np.result_type(x.dtype, np.complex64))
    result.real, result.imag = x, y
    return result


real: Op = define_op(
    "real", "x",
    infer=_to_part("real"),
    kernel=Composite(),
    gradient=lambda node, dy: [complex_(dy, zeros_like(dy))],
    reference=np.real,
    samples=_complex_samples(),
    documentation="The real part.",
)  # fmt: skip

imag: Op = define_op(
    "imag", "x",
    infer=_to_part("imag"),
    kernel=Composite(),
    gradient=lambda node, dy: [complex_(zeros_like(dy), dy)],
    reference=np.imag,
    samples=_complex_samples(),
    documentation="The imaginary part.",
)  # fmt: skip


def _infer_conj(types: tuple[TensorType, ...]) -> TensorType:
    _require_complex("conj", types[0])
    return types[0]


conj: Op = define_op(
    "conj", "x",
    infer=_infer_conj,
    kernel=Composite(),
    gradient=lambda node, dy: [conj(dy)],
    reference=np.conj,
    samples=_complex_samples(),
    documentation="The complex conjugate.",
)  # fmt: skip


def conjugate(x: Any) -> Any:
    """The conjugate of a complex tensor, a real tensor itself: what the gradient of a holomorphic function multiplies with."""
    return conj(x) if x.dtype.is_complex else x


def parts_of(x: Any) -> tuple[Any, Any]:
    """(real part, imaginary part)."""
    return real(x), imag(x)


def _angle_gradient(node: Any, dy: Any) -> list[Any]:
    """i z / |z|**2 times dy, as TensorFlow writes it: -1 / (y + i x)."""
    x, y = parts_of(node.inputs[0])
    return [-complex_(dy, zeros_like(dy)) / complex_(y, x)]


def _angle_reference(x: Any) -> Any:
    return np.angle(x.astype(np.complex128)).astype(x.real.dtype)


angle: Op = define_op(
    "angle", "x",
    infer=_to_part("angle"),
    kernel=Composite(),
    gradient=_angle_gradient,
    reference=_angle_reference,
    samples=_complex_samples(),
    documentation="The angle of the point (real, imaginary), in [-pi, pi].",
)  # fmt: skip


# Real helpers of complex functions ----------------------------------------------------------------------------------
def _infer_real_pair(name: str) -> Any:
    def infer(types: tuple[TensorType, ...]) -> TensorType:
        dtype = same_dtype(name, types)
        check_kind(name, types, "float")
        return TensorType(dtype, broadcast_shapes(name, types), types[0].device)

    return infer


def _emit_magnitude(s: Any, x: Any, y: Any) -> Any:
    """In float64 for float32, where no square overflows. Else both are scaled by a power of two that brings the larger one to
    [1, 2): then x*x + y*y, with the rounding of the larger square added back, is right to the last bit or two."""
    if x.dtype is float32:
        wide_x, wide_y = s.convert(x, float64), s.convert(y, float64)
        found = s.convert(s.sqrt(s.fma(wide_x, wide_x, wide_y * wide_y)), float32)
    else:
        a, b = s.abs(x), s.abs(y)
        high, low = s.select(a > b, a, b), s.select(a > b, b, a)
        large, small = high > 2.0**500, high < 2.0**-500
        one = s.const(1.0, x.dtype)
        scale = s.select(large, s.const(2.0**-600, x.dtype), s.select(small, s.const(2.0**600, x.dtype), one))
        back = s.select(large, s.const(2.0**600, x.dtype), s.select(small, s.const(2.0**-600, x.dtype), one))
        high, low = high * scale, low * scale
        square = high * high
        rest = s.fma(high, high, -square)
        small_square = low * low
        total = square + small_square
        lost = (square - total) + small_square + s.fma(low, low, -small_square) + rest
        root = s.sqrt(total)
        # one step of Newton's on root**2 = total + lost
        mended = root + (s.fma(-root, root, total) + lost) / (root + root)
        found = s.select((root > 0) & (root < float("inf")), mended, root) * back
    infinite = s.abs(x).equal(float("inf")) | s.abs(y).equal(float("inf"))
    return s.select(infinite, s.const(float("inf"), x.dtype), found)


magnitude = define_op(
    "magnitude", "x y",
    infer=_infer_real_pair("magnitude"),
    kernel=Pointwise(_emit_magnitude, cost=24),
    gradient=lambda node, dy: [
        sum_to(dy * node.inputs[0] / node.outputs[0], node.inputs[0]),
        sum_to(dy * node.inputs[1] / node.outputs[0], node.inputs[1]),
    ],
    reference=lambda x, y: np.hypot(x.astype(np.longdouble), y.astype(np.longdouble)).astype(x.dtype),
    samples=binary(left=(0.5, 4), right=(0.5, 4)),
    commutative=True,
    documentation="sqrt(x*x + y*y) without overflow or loss; infinite if either is, also beside NaN.",
)  # fmt: skip

copy_sign = define_op(
    "copy_sign", "x y",
    infer=_infer_real_pair("copy_sign"),
    kernel=Pointwise(lambda s, x, y: s.copysign(x, y)),
    no_gradient="not differentiable: made for complex functions, after differentiation",
    reference=np.copysign,
    samples=binary(gradient=False, edges=False),
    documentation="x with the sign of y, also where y is a zero.",
)  # fmt: skip


# Memory -------------------------------------------------------------------------------------------------------------
def _infer_as_pairs(types: tuple[TensorType, ...]) -> TensorType:
    own = types[0]
    _require_complex("as_pairs", own)
    return TensorType(part_of(own.dtype), (*own.shape, 2), own.device)


def _as_pairs(x: Any) -> Any:
    dense = np.array(x, order="C", copy=None)
    return dense.reshape(-1).view(dense.real.dtype).reshape((*x.shape, 2))


_MEMORY = "not differentiable: made with the code, after differentiation"

as_pairs = define_op(
    "as_pairs", "x",
    infer=_infer_as_pairs,
    kernel=Alias(),
    no_gradient=_MEMORY,
    reference=_as_pairs, numpy=_as_pairs,
    samples=_complex_samples(),
    documentation="A complex array's bytes as a real array with a last axis of 2.",
)  # fmt: skip


def _infer_from_pairs(types: tuple[TensorType, ...]) -> TensorType:
    own = types[0]
    if own.dtype not in _WHOLE:
        raise DTypeError(f"from_pairs: needs float32 or float64, got {own}")
    if own.rank == 0 or not require_equal(own.shape[-1], 2):
        raise ShapeError(f"from_pairs: the last axis must have 2 elements, got {own}")
    return TensorType(whole_of(own.dtype), own.shape[:-1], own.device)


def _from_pairs(x: Any) -> Any:
    dense = np.array(x, order="C", copy=None)
    return dense.reshape(-1).view(np.result_type(dense.dtype, np.complex64)).reshape(x.shape[:-1])


from_pairs = define_op(
    "from_pairs", "x",
    infer=_infer_from_pairs,
    kernel=Alias(),
    no_gradient=_MEMORY,
    reference=_from_pairs, numpy=_from_pairs,
    samples=lambda: [
        *(Sample((fill(shape, d),), gradient=False) for d in FLOATS for shape in [(2,), (3, 2), (4, 5, 2), (0, 2)]),
        Sample((fill((3, 2), "int32"),), error=DTypeError),
        Sample((fill((2, 3), "float32"),), error=ShapeError),
    ],
    documentation="The bytes of a real array with a last axis of 2 as a complex array: as_pairs undone.",
)  # fmt: skip


def _infer_interleave(types: tuple[TensorType, ...]) -> TensorType:
    dtype = same_dtype("interleave", types)
    if dtype.is_complex:
        raise DTypeError(f"interleave: takes no complex numbers, got {types[0]}; use gf.stack")
    if not equal_shapes(types[0].shape, types[1].shape):
        raise ShapeError(f"interleave: shapes must be equal, got {types[0]} and {types[1]}")
    return TensorType(dtype, (*types[0].shape, 2), types[0].device)


interleave = define_op(
    "interleave", "x y",
    infer=_infer_interleave,
    kernel=Interleave(),
    no_gradient=_MEMORY,
    reference=lambda x, y: np.stack([x, y], -1), numpy=lambda x, y: np.stack([x, y], -1),
    samples=lambda: [
        *(Sample((fill(shape, d), fill(shape, d, seed=1)), gradient=False)
          for d in (*FLOATS, "int32", "uint8", "bool") for shape in [(), (7,), (3, 17), (2, 3, 40), (0, 3)]),
        Sample((fill((3,), "float32"), fill((4,), "float32")), error=ShapeError),
        Sample((fill((3,), "float32"), fill((3,), "float64")), error=DTypeError),
    ],
    documentation="x[...], y[...] -> [..., 2]: an element of each in turn.",
)  # fmt: skip


# Products -----------------------------------------------------------------------------------------------------------
def _infer_products(
    types: tuple[TensorType, ...], axis: int, exclusive: bool = False, reverse: bool = False, total: bool = False
) -> TensorType:
    own = types[0]
    check_kind("pair_products", types, "float")
    if own.rank < 2 or not require_equal(own.shape[-1], 2):
        raise ShapeError(f"pair_products: needs pairs on the last axis, got {own}")
    normalize_axis("pair_products", axis, own.rank - 1)
    return own.with_shape((*own.shape[:axis], *own.shape[axis + 1 :])) if total else own


def _products_reference(x: Any, axis: int, exclusive: bool = False, reverse: bool = False, total: bool = False) -> Any:
    z = _from_pairs(x)
    turned = np.moveaxis(np.flip(z, axis) if reverse else z, axis, 0)
    running = np.ones(turned.shape[1:], z.dtype)
    rows: list[Any] = []
    for row in turned:
        following = _times(running, row) if rows or exclusive else row
        rows.append(running if exclusive else following)
        running = _times(running, row) if rows else row
    if total:
        return _as_pairs(running)
    result = np.moveaxis(np.stack(rows) if rows else np.empty(turned.shape, z.dtype), 0, axis)
    return _as_pairs(np.flip(result, axis) if reverse else result)


def _times(x: Any, y: Any) -> Any:
    """The product with one rounding for each operation."""
    return _joined(x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real)


pair_products = define_op(
    "pair_products", "x",
    attributes={"axis": ..., "exclusive": False, "reverse": False, "total": False},
    infer=_infer_products,
    kernel=Library("pair_products"),
    no_gradient=_MEMORY,
    reference=_products_reference,
    samples=lambda: [
        *(Sample((fill(shape, d, 0.5, 2),), {"axis": axis, "exclusive": e, "reverse": r, "total": t}, gradient=False)
          for d in FLOATS for shape, axis in [((5, 2), 0), ((3, 4, 2), 1), ((3, 4, 2), 0), ((2, 0, 2), 1)]
          for e, r, t in [(False, False, False), (True, True, False), (False, True, False), (False, False, True)]),
        Sample((fill((3, 3), "float32"),), {"axis": 0}, error=ShapeError),
        Sample((fill((3, 2), "int32"),), {"axis": 0}, error=DTypeError),
    ],
    documentation="The products of complex numbers (pairs on the last axis) up to each position along axis, multiplied one after the "
    "other; total: of all of them only.",
)  # fmt: skip
