"""Fourier transforms of the last axis, and the tables they need.

`fft` is the op that programs have. passes/lower_complex.py writes it as `pair_fft`, the same on real arrays with pairs on the last axis,
which is a kernel written by hand. Both take a table of roots of unity, so that one kernel serves every length.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import float32, float64, int64
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..ir.dims import Dim, require_equal
from ..ir.op import Composite, Library, Op, Pointwise, Sample, define_op
from ..ir.types import TensorType
from .comparison import equal
from .complex import complex_, part_of, whole_of
from .generate import iota
from .gradients import constant_like, extent, zeros_like
from .rules import broadcast_shapes
from .samples import FLOATS, complex_fill, fill
from .select import select

__all__ = ["RADICES", "fft", "fourier_table", "length_of", "pair_fft", "table_positions", "unit_root"]

RADICES = (8, 4, 2, 3, 5, 7)
"""What passes divide a length by, in order of preference."""


def factors(length: int) -> list[int]:
    """The radices of the passes of a transform: the first of RADICES that divides, again and again. Their product is a divisor of the
    length, and the length itself where it has no other prime factors."""
    found = []
    while length > 1:
        radix = next((r for r in RADICES if length % r == 0), 0)
        if not radix:
            break
        found.append(radix)
        length //= radix
    return found


def table_positions(length: int, real: bool) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(a, d) of the roots exp(-2 pi i a / d) in the table of a length: for each pass w**(p*k), of the first pass k by k and of the others
    p by p; then, for a real row of even length, the roots that join its halves; and for a length with a prime factor above 7, of which
    the passes are those of a power of two, the chirp."""
    is_smooth = int(np.prod(factors(length), dtype=np.int64)) == length
    packed = real and is_smooth and length % 2 == 0
    size = length // 2 if packed else length
    if not is_smooth:
        size = 1
        while size < 2 * length - 1:
            size *= 2
    top, bottom = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    left, stretch = size, 1
    for number, radix in enumerate(factors(size)):
        m = left // radix
        p, k = np.arange(m, dtype=np.int64), np.arange(1, radix, dtype=np.int64)
        place = (np.outer(k, p) if number == 0 else np.outer(p, k)).reshape(-1) * stretch
        top.append(place)
        bottom.append(np.full(place.shape, size, np.int64))
        left, stretch = m, stretch * radix
    if packed:
        top[1:] = [
            2 * place for place in top[1:]
        ]  # as roots of the whole length, which the run-time table takes them from
        bottom[1:] = [2 * other for other in bottom[1:]]
        top.append(np.arange(length // 2 + 1, dtype=np.int64))
        bottom.append(np.full(length // 2 + 1, length, np.int64))
    if not is_smooth:
        k = np.arange(length, dtype=np.int64)
        top.append(k * k % (2 * length))
        bottom.append(np.full(length, 2 * length, np.int64))
    return np.concatenate(top), np.concatenate(bottom)


# Roots of unity -----------------------------------------------------------------------------------------------------
def _infer_root(types: tuple[TensorType, ...], part: str) -> TensorType:
    for own in types:
        if own.dtype is not int64:
            raise DTypeError(f"unit_root: needs int64 operands, got {types[0]} and {types[1]}")
    if part not in ("real", "imag"):
        raise InvalidArgumentError(f"unit_root: part must be 'real' or 'imag', got {part!r}")
    return TensorType(float64, broadcast_shapes("unit_root", types), types[0].device)


def _emit_root(s: Any, a: Any, d: Any, part: str) -> Any:
    """The angle is brought to an eighth of a turn with integers, so that the argument of sine and cosine is exact to half an ulp."""
    divisor = s.select(d > 0, d, s.const(1, int64))
    turn = s.make("remainder", a, divisor)
    eighths = turn * 8
    octant = s.make("quotient", eighths, divisor)
    rest = eighths - octant * divisor
    odd = (octant & 1).not_equal(0)
    inside = s.convert(s.select(odd, divisor - rest, rest), float64) / s.convert(divisor, float64) * (np.pi / 4)
    cosine, sine = s.cos(inside), s.sin(inside)
    # octants 0, 3, 4 and 7 take the cosine's own magnitude, the others exchange the two
    own = octant.equal(0) | octant.equal(3) | octant.equal(4) | octant.equal(7)
    if part == "real":
        size = s.select(own, cosine, sine)
        return s.select((octant > 1) & (octant < 6), -size, size)
    size = s.select(own, sine, cosine)
    return s.select(octant > 3, size, -size)


def _root_reference(a: Any, d: Any, part: str) -> Any:
    turn = (a % d).astype(np.longdouble) / d
    full = np.longdouble(2) * np.arctan(np.longdouble(1)) * 4
    return (np.cos(turn * full) if part == "real" else -np.sin(turn * full)).astype(np.float64)


unit_root = define_op(
    "unit_root", "a d",
    attributes={"part": ...},
    infer=_infer_root,
    kernel=Pointwise(_emit_root, cost=60),
    no_gradient="the operands are integers",
    reference=_root_reference,
    samples=lambda: [
        *(Sample((np.array([1, 2, 5, 7, 11, 13, 100]), np.array([16, 15, 16, 15, 16, 17, 1001])), {"part": part}, gradient=False)
          for part in ("real", "imag")),
        Sample((np.array([1.0]), np.array([2.0])), {"part": "real"}, error=DTypeError),
        Sample((np.array([1]), np.array([2])), {"part": "both"}, error=InvalidArgumentError),
    ],
    documentation="A part of exp(-2 pi i a / d), for 0 <= a and 0 < d.",
)  # fmt: skip


def _infer_table(types: tuple[TensorType, ...], length: Dim, real: bool) -> TensorType:
    roots, chirp, wide = types
    for own in types:
        if own.rank != 2 or not _are_pairs(own) or own.dtype is not roots.dtype:
            raise ShapeError(f"fourier_table: needs arrays of pairs of one dtype, got {roots}, {chirp} and {wide}")
    return roots.with_shape((length * 5, 2))


def _whole_table(length: int, real: bool) -> np.ndarray[Any, Any]:
    table = _numpy_table(length, real)
    result = np.zeros((length * 5, 2))
    result[: len(table), 0], result[: len(table), 1] = table.real, table.imag
    return result


def _table_operands(length: int, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    size = 1
    while size < 2 * length - 1:
        size *= 2
    k = np.arange(length)
    places = ((k, np.full_like(k, length)), (k * k % (2 * length), np.full_like(k, 2 * length)),
              (np.arange(4 * length), np.full(4 * length, size)))  # fmt: skip
    return tuple(
        np.stack([_root_reference(a, d, part) for part in ("real", "imag")], -1).astype(dtype) for a, d in places
    )


fourier_table = define_op(
    "fourier_table", "roots chirp wide",
    attributes={"length": ..., "real": ...},
    infer=_infer_table,
    kernel=Library("fourier_table"),
    no_gradient="the operands are roots of unity",
    reference=lambda roots, chirp, wide, length, real: _whole_table(length, real).astype(roots.dtype),
    samples=lambda: [
        *(Sample(_table_operands(n, d), {"length": n, "real": real}, gradient=False)
          for n in (1, 4, 11, 12, 15, 22, 64) for real in (False, True) for d in FLOATS),
        Sample((np.zeros((4, 3)), np.zeros((4, 2)), np.zeros((4, 2))), {"length": 4, "real": False}, error=ShapeError),
    ],
    documentation="The table of a length that only the run knows, from the roots of 1 of that order, the chirp, and the roots whose order "
    "is the power of two that Bluestein's algorithm needs. The rest is zeros.",
)  # fmt: skip


# Transforms ---------------------------------------------------------------------------------------------------------
_KINDS = ("complex", "to_complex", "to_real")


def _check(name: str, kind: str) -> None:
    if kind not in _KINDS:
        raise InvalidArgumentError(f"{name}: kind must be one of {', '.join(_KINDS)}, got {kind!r}")


def _are_pairs(own: TensorType) -> bool:
    return own.dtype in (float32, float64) and own.rank > 1 and require_equal(own.shape[-1], 2)


def _result_shape(own: tuple[Dim, ...], kind: str, odd: bool, length: Dim | None) -> tuple[Dim, ...]:
    if kind == "to_complex":
        return (*own[:-1], own[-1] // 2 + 1)
    if kind == "complex":
        return own
    if length is not None and not require_equal(own[-1], length // 2 + 1):
        raise ShapeError(f"fft: a real row of {length} elements has {length // 2 + 1} bins, got {own[-1]}")
    return (*own[:-1], (own[-1] - 1) * 2 + int(odd) if length is None else length)


def length_of(length: Dim) -> dict[str, Any]:
    """The attribute that tells a transform to real rows their length: `odd` where that is known, which serves every such length."""
    rest = length - (length // 2) * 2
    return {"odd": rest == 1} if isinstance(rest, int) else {"length": length}


def _infer(
    types: tuple[TensorType, ...], kind: str, inverse: bool = False, odd: bool = False, length: Dim | None = None
) -> TensorType:
    x, table = types
    _check("fft", kind)
    if x.rank == 0:
        raise ShapeError(f"fft: needs a tensor of rank 1 or more, got {x}")
    if kind == "to_complex":
        if x.dtype not in (float32, float64):
            raise DTypeError(f"fft: a real transform needs float32 or float64, got {x}; use gf.cast")
    elif not x.dtype.is_complex:
        raise DTypeError(f"fft: needs a complex tensor, got {x}; use gf.cast")
    part = x.dtype if kind == "to_complex" else part_of(x.dtype)
    if table.rank != 1 or table.dtype is not whole_of(part):
        raise ShapeError(f"fft: the table must be a vector of {whole_of(part).name}, got {table}")
    if x.shape[-1] == 0:
        raise ShapeError(f"fft: the last axis must not be empty, got {x}")
    dtype = part if kind == "to_real" else whole_of(part)
    return TensorType(dtype, _result_shape(x.shape, kind, odd, length), x.device)


def _infer_pairs(
    types: tuple[TensorType, ...], kind: str, inverse: bool = False, odd: bool = False, length: Dim | None = None
) -> TensorType:
    x, table = types
    _check("pair_fft", kind)
    own = x.shape if kind == "to_complex" else x.shape[:-1]
    if kind != "to_complex" and not _are_pairs(x) or table.rank != 2 or not _are_pairs(table):
        raise ShapeError(f"pair_fft: needs pairs on the last axis, got {x} and the table {table}")
    if x.dtype is not table.dtype:
        raise DTypeError(f"pair_fft: the table must have the operand's dtype, got {x} and {table}")
    shape = _result_shape(own, kind, odd, length)
    return x.with_shape(shape if kind == "to_real" else (*shape, 2))


def _reference(
    x: Any, table: Any, kind: str, inverse: bool = False, odd: bool = False, length: int | None = None
) -> Any:
    part = table.real.dtype
    if kind == "to_complex":
        return np.fft.rfft(x.astype(np.float64)).astype(np.result_type(part, np.complex64))
    wide = x.astype(np.complex128)
    if kind == "to_real":
        return np.fft.irfft(wide, length or (x.shape[-1] - 1) * 2 + int(odd)).astype(part)
    return (np.fft.ifft(wide) if inverse else np.fft.fft(wide)).astype(x.dtype)


def _pairs_reference(x: Any, table: Any, **attributes: Any) -> Any:
    from .complex import _as_pairs, _from_pairs

    found = _reference(x if attributes["kind"] == "to_complex" else _from_pairs(x), _from_pairs(table), **attributes)
    return found if attributes["kind"] == "to_real" else _as_pairs(found)


def _gradient(node: Any, dy: Any) -> list[Any]:
    """The conjugate transpose of the transform. A real row's spectrum stands for its mirrored half too, so its inner bins count twice."""
    x, table = node.inputs
    kind, inverse = node.attributes["kind"], node.attributes["inverse"]
    if kind == "complex":
        found, count = fft(dy, table, kind=kind, inverse=not inverse), extent(x, len(x.dims) - 1, part_of(x.dtype))
        scale = complex_(count, zeros_like(count))
        return [found / scale if inverse else found * scale, None]
    if kind == "to_complex":
        own = length_of(x.dims[-1])
        count = extent(x, len(x.dims) - 1, x.dtype)
        return [fft(dy * _weights(dy, x, 0.5), table, kind="to_real", **own) * count, None]
    count = extent(node.outputs[0], len(x.dims) - 1, dy.dtype)
    back = fft(dy, table, kind="to_complex")
    return [back * _weights(back, dy, 2.0) / complex_(count, zeros_like(count)), None]


def _weights(spectrum: Any, row: Any, inner: float) -> Any:
    """1 for the first bin, and for the last one if the row's length is even; `inner` between."""
    bins = spectrum.dims[-1]
    k = iota(shape=(bins,), axis=0, dtype=int64)
    edge = equal(k, constant_like(0, k)) | equal(k * 2, extent(row, len(row.dims) - 1, int64))
    return select(edge, constant_like(1, spectrum), constant_like(inner, spectrum))


def _samples(pairs: bool) -> Any:
    def make() -> list[Sample]:
        from .complex import _as_pairs

        found = []
        # eager mode compiles pair_fft for each length, and the samples of fft run it in all of them
        lengths = (
            (1, 4, 6, 11, 30, 128)
            if pairs
            else (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 16, 22, 30, 64, 97, 100, 105, 128, 240)
        )
        for dtype in FLOATS:
            for n in lengths:
                shape = (2, n) if dtype == "float64" else (n,)  # each rank is a kernel, and these are large
                wide = np.result_type(dtype, np.complex64).name
                complex_x, real_x = complex_fill(shape, wide, seed=n), fill(shape, dtype, seed=n)
                half = np.fft.rfft(real_x).astype(wide)
                table, real_table = (_numpy_table(n, real).astype(wide) for real in (False, True))
                if pairs:
                    table, real_table = _as_pairs(table), _as_pairs(real_table)
                for x, own, attributes in (
                    (complex_x, table, {"kind": "complex", "inverse": False}),
                    (complex_x, table, {"kind": "complex", "inverse": True}),
                    (real_x, real_table, {"kind": "to_complex"}),
                    (half, real_table, {"kind": "to_real", "odd": n % 2 == 1}),
                ):
                    x = _as_pairs(x) if pairs and x.dtype.kind == "c" else x
                    found.append(Sample((x, own), attributes, gradient=False))
        table = _numpy_table(4, False).astype("complex64")
        table = _as_pairs(table) if pairs else table
        own = fill((4, 2), "float32") if pairs else complex_fill((4,))
        found.append(Sample((own, table[:, None]), {"kind": "complex"}, error=ShapeError))
        found.append(Sample((fill((4,), "int32"), table), {"kind": "to_complex"}, error=DTypeError))
        found.append(Sample((own, table), {"kind": "sine"}, error=InvalidArgumentError))
        return found

    return make


def _numpy_table(length: int, real: bool) -> np.ndarray[Any, Any]:
    a, d = table_positions(length, real)
    return np.asarray(_root_reference(a, d, "real") + 1j * _root_reference(a, d, "imag"))


_ATTRIBUTES = {"kind": ..., "inverse": False, "odd": False, "length": None}

fft: Op = define_op(
    "fft", "x table",
    attributes=_ATTRIBUTES,
    infer=_infer,
    kernel=Composite(),
    gradient=_gradient,
    reference=_reference,
    samples=_samples(pairs=False),
    documentation="The discrete Fourier transform of the last axis: of complex numbers (kind 'complex', also its inverse, "
    "which divides by the length), of real ones to the first half of the spectrum ('to_complex'), and back ('to_real', to an "
    "even length unless `odd`; or to `length`).",
)  # fmt: skip

pair_fft = define_op(
    "pair_fft", "x table",
    attributes=_ATTRIBUTES,
    infer=_infer_pairs,
    kernel=Library("fft"),
    no_gradient="not differentiable: made with the code, after differentiation",
    reference=_pairs_reference,
    samples=_samples(pairs=True),
    documentation="fft of complex numbers that are pairs on the last axis.",
)  # fmt: skip
