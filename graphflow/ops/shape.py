"""Shape work: views (an index map, nothing moved), and the ops that place elements at computed positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import bool_, int32, int64
from ..errors import InvalidArgumentError, ShapeError
from ..ir.dims import Dim, product, require_equal
from ..ir.op import Alias, Indexed, Library, Op, Sample, View, define_op
from ..ir.types import TensorType
from .gradients import sum_to
from .rules import equal_shapes, normalize_axis, same_dtype
from .samples import fill

__all__ = [
    "broadcast_to", "concat", "dimension", "identity", "pad", "reshape", "reverse", "stop_gradient", "strided_slice",
    "strided_slice_gradient", "transpose",
]  # fmt: skip

_DTYPES = ("float32", "float64", "int32", "int64", "uint8", "bool")


def _samples(*cases: tuple[tuple[int, ...], dict[str, Any]], errors: Any = ()) -> Any:
    """Each case in float64, the first two in every dtype, and (shape, attributes, error class) that must fail."""

    def make() -> list[Sample]:
        found = [Sample((fill(shape, "float64", seed=k),), attributes) for k, (shape, attributes) in enumerate(cases)]
        for dtype in _DTYPES:
            found += [Sample((fill(shape, dtype),), attributes, gradient=False) for shape, attributes in cases[:2]]
        return found + [
            Sample((fill(shape, "float32"),), attributes, error=error) for shape, attributes, error in errors
        ]

    return make


# Same elements, other shape -----------------------------------------------------------------------------------------
def _infer_reshape(types: tuple[TensorType, ...], shape: tuple[Dim, ...]) -> TensorType:
    own = types[0]
    if any(isinstance(d, int) and d < 0 for d in shape) or not require_equal(own.elements, product(shape)):
        raise ShapeError(
            f"reshape: the number of elements must stay, got {own} and shape [{','.join(map(str, shape))}] "
            f"({own.elements} and {product(shape)})"
        )
    return own.with_shape(tuple(shape))


reshape: Op = define_op(
    "reshape", "x",
    attributes={"shape": ...},
    infer=_infer_reshape,
    kernel=Alias(),
    gradient=lambda node, dy: [reshape(dy, shape=node.inputs[0].dims)],
    reference=lambda x, shape: np.reshape(x, shape),
    numpy=lambda x, shape: np.reshape(x, shape),
    samples=_samples(
        ((3, 4), {"shape": (2, 6)}), ((2, 3, 5), {"shape": (30,)}), ((), {"shape": (1, 1)}),
        ((0, 3), {"shape": (5, 0)}), ((6,), {"shape": (1, 6, 1)}),
        errors=[((3, 4), {"shape": (5, 2)}, ShapeError)],
    ),
    documentation="The elements in row-major order under another shape of the same size.",
)  # fmt: skip


def _infer_same(types: tuple[TensorType, ...]) -> TensorType:
    return types[0]


identity = define_op(
    "identity", "x",
    infer=_infer_same,
    kernel=Alias(),
    gradient=lambda node, dy: [dy],
    reference=lambda x: x, numpy=lambda x: x,
    samples=_samples(((3, 4), {}), ((), {})),
    documentation="x itself, as a new tensor.",
)  # fmt: skip

stop_gradient = define_op(
    "stop_gradient", "x",
    infer=_infer_same,
    kernel=Alias(),
    gradient=lambda node, dy: [None],
    reference=lambda x: x, numpy=lambda x: x,
    samples=lambda: [Sample((fill((3, 4), d),), gradient=False) for d in _DTYPES],
    documentation="x itself; no gradient flows back through it.",
)  # fmt: skip


# Views --------------------------------------------------------------------------------------------------------------
def _infer_transpose(types: tuple[TensorType, ...], permutation: tuple[int, ...]) -> TensorType:
    own = types[0]
    if sorted(permutation) != list(range(own.rank)):
        raise ShapeError(f"transpose: permutation must name each axis of {own} once, got {tuple(permutation)}")
    return own.with_shape(tuple(own.shape[p] for p in permutation))


def _inverse(permutation: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(permutation.index(axis) for axis in range(len(permutation)))


transpose: Op = define_op(
    "transpose", "x",
    attributes={"permutation": ...},
    infer=_infer_transpose,
    kernel=View(lambda extents, steps, /, *, permutation: (0, tuple(steps[p] for p in permutation))),
    gradient=lambda node, dy: [transpose(dy, permutation=_inverse(node.attributes["permutation"]))],
    reference=lambda x, permutation: np.transpose(x, permutation),
    numpy=lambda x, permutation: np.transpose(x, permutation),
    samples=_samples(
        ((3, 17), {"permutation": (1, 0)}), ((2, 3, 5), {"permutation": (2, 0, 1)}), ((), {"permutation": ()}),
        ((0, 3), {"permutation": (1, 0)}), ((2, 3, 5, 4), {"permutation": (0, 2, 1, 3)}),
        errors=[((3, 4), {"permutation": (0, 0)}, ShapeError), ((3, 4), {"permutation": (0,)}, ShapeError)],
    ),
    documentation="Axis k of the result is axis permutation[k] of x.",
)  # fmt: skip


def _infer_broadcast(types: tuple[TensorType, ...], shape: tuple[Dim, ...]) -> TensorType:
    own, target = types[0], tuple(shape)
    extra = len(target) - own.rank
    if extra < 0 or not all(d == 1 or require_equal(d, t) for d, t in zip(own.shape, target[extra:], strict=True)):
        raise ShapeError(f"broadcast_to: {own} does not broadcast to [{','.join(map(str, target))}]")
    return own.with_shape(target)


def _map_broadcast(extents: Any, steps: Any, /, *, shape: Any) -> Any:
    extra = len(shape) - len(extents)
    own = tuple(0 if dim == 1 else step for dim, step in zip(extents, steps, strict=True))
    return 0, (0,) * extra + own


broadcast_to: Op = define_op(
    "broadcast_to", "x",
    attributes={"shape": ...},
    infer=_infer_broadcast,
    kernel=View(_map_broadcast),
    gradient=lambda node, dy: [sum_to(dy, node.inputs[0])],
    reference=lambda x, shape: np.broadcast_to(x, shape),
    numpy=lambda x, shape: np.broadcast_to(x, shape),
    samples=_samples(
        ((3, 1), {"shape": (3, 17)}), ((), {"shape": (2, 5)}), ((1, 5), {"shape": (2, 3, 5)}), ((3,), {"shape": (3,)}),
        ((1,), {"shape": (0,)}), ((2, 1, 3), {"shape": (4, 2, 5, 3)}),
        errors=[((3,), {"shape": (4,)}, ShapeError), ((2, 3), {"shape": (3,)}, ShapeError)],
    ),
    documentation="x repeated along axes of extent 1 and new leading axes, as in NumPy.",
)  # fmt: skip


def _infer_slice(
    types: tuple[TensorType, ...],
    begin: tuple[Dim, ...],
    sizes: tuple[Dim, ...],
    strides: tuple[int, ...],
    name: str = "strided_slice",
) -> TensorType:
    own = types[0]
    if not len(begin) == len(sizes) == len(strides) == own.rank:
        raise ShapeError(
            f"{name}: needs a begin, size and stride for each axis of {own}, got {begin}, {sizes}, {strides}"
        )
    for axis, (extent, first, size, step) in enumerate(zip(own.shape, begin, sizes, strides, strict=True)):
        if step == 0:
            raise InvalidArgumentError(f"{name}: the stride of axis {axis} of {own} is 0")
        if isinstance(extent, int) and isinstance(first, int) and isinstance(size, int) and size != 0:
            last = first + (size - 1) * step
            if size < 0 or not (0 <= first < extent and 0 <= last < extent):
                raise ShapeError(f"{name}: positions {first} to {last} leave axis {axis} of {own} (extent {extent})")
    return own.with_shape(tuple(sizes))


def _map_slice(extents: Any, steps: Any, /, *, begin: Any, sizes: Any, strides: Any) -> Any:
    offset: Any = 0
    for first, step in zip(begin, steps, strict=True):
        offset = offset + step * first
    return offset, tuple(step * stride for step, stride in zip(steps, strides, strict=True))


def _slice_reference(x: Any, begin: Any, sizes: Any, strides: Any) -> Any:
    return x[np.ix_(*[first + np.arange(size) * step for first, size, step in zip(begin, sizes, strides, strict=True)])]


def _slice_numpy(x: Any, begin: Any, sizes: Any, strides: Any) -> Any:
    """The same as a NumPy view. An end below 0 would count from the back, so it is None there."""
    parts = []
    for first, size, step in zip(begin, sizes, strides, strict=True):
        end = first + size * step
        parts.append(slice(first, end if end >= 0 else None, step) if size else slice(0, 0))
    return x[tuple(parts)]


def _slice_gradient(node: Any, dy: Any) -> list[Any]:
    begin, strides = node.attributes["begin"], node.attributes["strides"]
    return [strided_slice_gradient(dy, shape=node.inputs[0].dims, begin=begin, strides=strides)]


_SLICES: tuple[tuple[tuple[int, ...], dict[str, Any]], ...] = (
    ((7, 5), {"begin": (1, 0), "sizes": (5, 3), "strides": (1, 1)}),
    ((7,), {"begin": (6,), "sizes": (4,), "strides": (-2,)}),
    ((7, 5), {"begin": (0, 1), "sizes": (4, 2), "strides": (2, 3)}),
    ((2, 3, 5), {"begin": (0, 2, 4), "sizes": (2, 1, 5), "strides": (1, 1, -1)}),
    ((3, 4), {"begin": (0, 0), "sizes": (3, 0), "strides": (1, 1)}),
)

strided_slice: Op = define_op(
    "strided_slice", "x",
    attributes={"begin": ..., "sizes": ..., "strides": ...},
    infer=_infer_slice,
    kernel=View(_map_slice),
    gradient=_slice_gradient,
    reference=_slice_reference, numpy=_slice_numpy,
    samples=_samples(
        *_SLICES,
        errors=[
            ((3, 4), {"begin": (0, 2), "sizes": (3, 3), "strides": (1, 1)}, ShapeError),
            ((3, 4), {"begin": (0,), "sizes": (3,), "strides": (1,)}, ShapeError),
            ((3,), {"begin": (0,), "sizes": (3,), "strides": (0,)}, InvalidArgumentError),
        ],
    ),
    documentation=(
        "sizes[k] elements of each axis k, from begin[k] in steps of strides[k] (which may be negative). Already "
        "clamped: see rules.slice_bounds."
    ),
)  # fmt: skip


def _clamp(s: Any, position: Any, extent: Any) -> Any:
    """position in [0, extent - 1], and 0 for an empty axis: a load there is safe though its value is not used."""
    below = s.select(position < extent, position, extent - 1)
    return s.select(below < 0, s.const(0, int64), below)


def _emit_slice_gradient(s: Any, operands: Any, index: Any, *, shape: Any, begin: Any, strides: Any) -> Any:
    (source,) = operands
    inside = s.const(True, bool_)
    positions = []
    for axis, position in enumerate(index):
        step, extent = strides[axis], source.shape[axis]
        if step == 1 and source.dims[axis] == shape[axis]:
            positions.append(position)
            continue
        offset = position - s.extent(begin[axis])
        if step < 0:
            offset, step = -offset, -step
        inside = inside & (offset >= 0)
        if step != 1:
            by = s.const(step, int64)
            inside = inside & s.make("remainder", offset, by).equal(0)
            offset = s.make("quotient", offset, by)
        inside = inside & (offset < extent)
        positions.append(_clamp(s, offset, extent))
    value = source(*positions)
    return s.select(inside, value, s.const(0, value.dtype))


def _slice_gradient_reference(dy: Any, shape: Any, begin: Any, strides: Any) -> Any:
    result = np.zeros(shape, dy.dtype)
    result[
        np.ix_(*[first + np.arange(size) * step for first, size, step in zip(begin, dy.shape, strides, strict=True)])
    ] = dy
    return result


def _slice_gradient_numpy(dy: Any, shape: Any, begin: Any, strides: Any) -> Any:
    result = np.zeros(shape, dy.dtype)
    _slice_numpy(result, begin, dy.shape, strides)[...] = dy
    return result


def _infer_slice_gradient(types: tuple[TensorType, ...], shape: Any, begin: Any, strides: Any) -> TensorType:
    _infer_slice((types[0].with_shape(tuple(shape)),), begin, types[0].shape, strides, "strided_slice_gradient")
    return types[0].with_shape(tuple(shape))


strided_slice_gradient = define_op(
    "strided_slice_gradient", "dy",
    attributes={"shape": ..., "begin": ..., "strides": ...},
    infer=_infer_slice_gradient,
    kernel=Indexed(_emit_slice_gradient, cost=8),
    gradient=lambda node, dy: [
        strided_slice(dy, begin=node.attributes["begin"], sizes=node.inputs[0].dims, strides=node.attributes["strides"])
    ],
    reference=_slice_gradient_reference, numpy=_slice_gradient_numpy,
    samples=lambda: [
        Sample((fill(cut["sizes"], dtype),), {"shape": shape, "begin": cut["begin"], "strides": cut["strides"]})
        for dtype in ("float32", "float64", "int32")
        for shape, cut in (_SLICES if dtype == "float64" else _SLICES[:2])
    ] + [Sample((fill((5,), "float32"),), {"shape": (3,), "begin": (0,), "strides": (1,)}, error=ShapeError)],
    narrow=True,
    documentation="Zeros of `shape` with dy at the positions that strided_slice(begin, strides) reads.",
)  # fmt: skip


def _infer_reverse(types: tuple[TensorType, ...], axes: tuple[int, ...]) -> TensorType:
    for axis in axes:
        normalize_axis("reverse", axis, types[0].rank)
    return types[0]


def _map_reverse(extents: Any, steps: Any, /, *, axes: Any) -> Any:
    offset: Any = 0
    for axis in axes:
        offset = offset + (extents[axis] - 1) * steps[axis]
    return offset, tuple(-step if axis in axes else step for axis, step in enumerate(steps))


reverse: Op = define_op(
    "reverse", "x",
    attributes={"axes": ...},
    infer=_infer_reverse,
    kernel=View(_map_reverse),
    gradient=lambda node, dy: [reverse(dy, axes=node.attributes["axes"])],
    reference=lambda x, axes: np.flip(x, axes),
    numpy=lambda x, axes: np.flip(x, axes),
    samples=_samples(
        ((7,), {"axes": (0,)}), ((3, 5), {"axes": (0, 1)}), ((2, 3, 5), {"axes": (1,)}), ((0, 3), {"axes": (0,)}),
        ((2,), {"axes": ()}),
        errors=[((3,), {"axes": (1,)}, ShapeError)],
    ),
    documentation="x with the order of elements along axes turned round.",
)  # fmt: skip


# Elements at computed positions -------------------------------------------------------------------------------------
def _infer_concat(types: tuple[TensorType, ...], axis: int) -> TensorType:
    if not types:
        raise InvalidArgumentError("concat: needs at least one operand")
    dtype, first = same_dtype("concat", types), types[0]
    normalize_axis("concat", axis, first.rank)
    total: Dim = 0
    for own in types:
        rest = [d for a, d in enumerate(own.shape) if a != axis]
        if own.rank != first.rank or not equal_shapes(rest, [d for a, d in enumerate(first.shape) if a != axis]):
            raise ShapeError(f"concat: shapes must agree but for axis {axis}, got {first} and {own}")
        total = total + own.shape[axis]
    shape = tuple(total if a == axis else d for a, d in enumerate(first.shape))
    return TensorType(dtype, shape, first.device)


def _concat_gradient(node: Any, dy: Any) -> list[Any]:
    axis, found, start = node.attributes["axis"], [], 0
    for operand in node.inputs:
        begin = tuple(start if a == axis else 0 for a in range(len(operand.dims)))
        found.append(strided_slice(dy, begin=begin, sizes=operand.dims, strides=(1,) * len(operand.dims)))
        start = start + operand.dims[axis]
    return found


def _concat_samples() -> list[Sample]:
    cases: list[tuple[list[tuple[int, ...]], int]] = [
        ([(2, 3), (4, 3)], 0), ([(5,), (3,), (1,)], 0), ([(2, 3), (2, 4), (2, 1)], 1), ([(2, 0), (2, 3)], 1),
        ([(3, 2)], 0), ([(2, 1, 5), (2, 3, 5)], 1), ([(0, 2), (0, 2)], 0),
    ]  # fmt: skip
    found = []
    for dtype in _DTYPES:
        for shapes, axis in cases if dtype == "float64" else cases[:2]:
            found.append(Sample(tuple(fill(shape, dtype, seed=k) for k, shape in enumerate(shapes)), {"axis": axis}))
    a = fill((2, 3), "float32")
    found.append(Sample((a, fill((2, 4), "float32")), {"axis": 0}, error=ShapeError))
    found.append(Sample((a, a), {"axis": 2}, error=ShapeError))
    found.append(Sample((a, fill((2, 3), "float64")), {"axis": 0}, error=TypeError))
    return found


concat = define_op(
    "concat", "*values",
    attributes={"axis": ...},
    infer=_infer_concat,
    kernel=Library("concat"),
    gradient=_concat_gradient,
    reference=lambda *values, axis: np.concatenate(values, axis),
    numpy=lambda *values, axis: np.concatenate(values, axis),
    samples=_concat_samples,
    narrow=True, strings=True,
    documentation="The operands one after another along axis.",
)  # fmt: skip


def _infer_pad(types: tuple[TensorType, ...], paddings: Any, mode: str, constant: Any) -> TensorType:
    own = types[0]
    if len(paddings) != own.rank:
        raise ShapeError(f"pad: needs one (before, after) pair for each axis of {own}, got {tuple(paddings)}")
    for axis, (before, after) in enumerate(paddings):
        if any(isinstance(p, int) and p < 0 for p in (before, after)):
            raise ShapeError(f"pad: paddings must not be negative, got {(before, after)} for axis {axis} of {own}")
    if mode not in ("constant", "reflect", "symmetric"):
        raise InvalidArgumentError(f"pad: mode must be CONSTANT, REFLECT or SYMMETRIC, got {mode!r}")
    return own.with_shape(tuple(d + before + after for d, (before, after) in zip(own.shape, paddings, strict=True)))


def _pad_requires(types: tuple[TensorType, ...], paddings: Any, mode: str, constant: Any) -> list[Any]:
    """A mirrored part is no longer than what it mirrors."""
    own, found = types[0], []
    for axis, (pair, extent) in enumerate(zip(paddings, own.shape, strict=True)):
        limit = extent - 1 if mode == "reflect" else extent
        text = f"{mode} paddings must be at most {limit} on axis {axis} of {own}, got {tuple(pair)}"
        found += [(padding, limit, text) for padding in pair if mode != "constant" and padding != 0]
    return found


def _emit_pad(s: Any, operands: Any, index: Any, *, paddings: Any, mode: str, constant: Any) -> Any:
    (source,) = operands
    inside = s.const(True, bool_)
    positions = []
    for position, extent, (before, after) in zip(index, source.shape, paddings, strict=True):
        if before == 0 and after == 0:
            positions.append(position)
            continue
        local = position - s.extent(before)
        if mode == "constant":
            inside = inside & (local >= 0) & (local < extent)
        else:
            edge = 0 if mode == "reflect" else 1  # is the border element repeated?
            local = s.select(local < 0, -local - edge, local)
            local = s.select(local < extent, local, extent * 2 - local - (2 - edge))
        positions.append(_clamp(s, local, extent))
    value = source(*positions)
    return s.select(inside, value, s.const(constant, value.dtype)) if mode == "constant" else value


def _pad_gradient(node: Any, dy: Any) -> list[Any]:
    paddings, mode, dims = node.attributes["paddings"], node.attributes["mode"], node.inputs[0].dims

    def part(x: Any, axis: int, begin: Dim, size: Dim) -> Any:
        begins = tuple(begin if a == axis else 0 for a in range(len(x.dims)))
        sizes = tuple(size if a == axis else d for a, d in enumerate(x.dims))
        return strided_slice(x, begin=begins, sizes=sizes, strides=(1,) * len(x.dims))

    for axis, (before, after) in enumerate(paddings):
        if before == 0 and after == 0:
            continue
        extent, edge = dims[axis], 0 if mode == "reflect" else 1
        core = part(dy, axis, before, extent)
        if mode != "constant":  # each mirrored part goes back to where it was read
            for begin, size, place in ((0, before, 1 - edge), (before + extent, after, extent - after - (1 - edge))):
                if size != 0:
                    around = tuple((place, extent - place - size) if a == axis else (0, 0) for a in range(len(dims)))
                    folded = reverse(part(dy, axis, begin, size), axes=(axis,))
                    core = core + pad(folded, paddings=around, mode="constant", constant=0)
        dy = core
    return [dy]


def _pad_reference(x: Any, paddings: Any, mode: Any, constant: Any) -> Any:
    if mode == "constant":
        return np.pad(x, paddings, mode, constant_values=np.array(constant, object) if x.dtype == object else constant)
    return np.pad(x, paddings, mode)


pad: Op = define_op(
    "pad", "x",
    attributes={"paddings": ..., "mode": "constant", "constant": 0},
    infer=_infer_pad, requires=_pad_requires,
    kernel=Indexed(_emit_pad, cost=8),
    gradient=_pad_gradient,
    reference=_pad_reference, numpy=_pad_reference,
    samples=_samples(
        ((3, 4), {"paddings": ((1, 2), (0, 0)), "mode": "constant", "constant": 0}),
        ((5,), {"paddings": ((2, 3),), "mode": "reflect", "constant": 0}),
        ((3, 4), {"paddings": ((1, 0), (2, 1)), "mode": "constant", "constant": 7}),
        ((3, 4), {"paddings": ((2, 3), (1, 0)), "mode": "symmetric", "constant": 0}),
        ((3, 4), {"paddings": ((2, 1), (3, 3)), "mode": "reflect", "constant": 0}),
        ((0, 2), {"paddings": ((1, 1), (0, 1)), "mode": "constant", "constant": 1}),
        errors=[
            ((3,), {"paddings": ((1, 1), (0, 0)), "mode": "constant", "constant": 0}, ShapeError),
            ((3,), {"paddings": ((-1, 1),), "mode": "constant", "constant": 0}, ShapeError),
            ((3,), {"paddings": ((3, 0),), "mode": "reflect", "constant": 0}, ShapeError),
            ((3,), {"paddings": ((1, 0),), "mode": "edge", "constant": 0}, InvalidArgumentError),
        ],
    ),
    narrow=True, strings=True,
    documentation=(
        "x with elements added before and after each axis: a constant, or x mirrored without (reflect) or with "
        "(symmetric) the border element."
    ),
)  # fmt: skip


def _infer_dimension(types: tuple[TensorType, ...], axis: int) -> TensorType:
    normalize_axis("dimension", axis, types[0].rank)
    return TensorType(int32, (), types[0].device)


dimension = define_op(
    "dimension", "x",
    attributes={"axis": ...},
    infer=_infer_dimension,
    kernel=Indexed(lambda s, operands, index, *, axis: s.convert(operands[0].shape[axis], int32)),
    no_gradient="an extent is an integer",
    reference=lambda x, axis: np.asarray(x.shape[axis], np.int32),
    numpy=lambda x, axis: np.asarray(x.shape[axis], np.int32),
    samples=lambda: [
        Sample((fill((3, 5), "float32"),), {"axis": 1}, gradient=False),
        Sample((fill((0,), "bool"),), {"axis": 0}, gradient=False),
        Sample((fill((3,), "float32"),), {"axis": 1}, error=ShapeError),
    ],
    narrow=True, strings=True,
    documentation="The extent of x's axis as an int32 scalar: what gf.shape reads where the extent is symbolic.",
)  # fmt: skip
