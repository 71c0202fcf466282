"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..ir.dims import product, require_equal
from ..ir.op import Contract, Sample, define_op
from ..ir.types import TensorType
from .complex import conjugate
from .gradients import sum_to
from .rules import broadcast_shapes, check_kind, same_dtype
from .samples import FLOATS, fill
from .shape import reshape

__all__ = ["matmul"]


def _infer(types: tuple[TensorType, ...], transpose_a: bool = False, transpose_b: bool = False) -> TensorType:
    a, b = types
    dtype = same_dtype("matmul", types)
    check_kind("matmul", types, "number")
    if a.rank < 2 or b.rank < 2:
        raise ShapeError(
            f"matmul: needs operands of rank 2 or more, got {a} and {b}; for a vector use gf.linalg.matvec"
        )
    rows, inner = (a.shape[-1], a.shape[-2]) if transpose_a else (a.shape[-2], a.shape[-1])
    other, columns = (b.shape[-1], b.shape[-2]) if transpose_b else (b.shape[-2], b.shape[-1])
    if not require_equal(inner, other):
        raise ShapeError(f"matmul: inner sizes must match, got a: {a} and b: {b} ({inner} and {other})")
    batch = broadcast_shapes("matmul", [a.with_shape(a.shape[:-2]), b.with_shape(b.shape[:-2])])
    return TensorType(dtype, (*batch, rows, columns), a.device)


def _product(a: Any, b: Any, transpose_a: bool, transpose_b: bool) -> Any:
    return matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)


def _gradient(node: Any, dy: Any) -> list[Any]:
    a, b = (conjugate(operand) for operand in node.inputs)
    ta, tb = node.attributes["transpose_a"], node.attributes["transpose_b"]
    if len(b.dims) == 2 and len(a.dims) > 2 and not ta:
        # one tall product instead of a batch of products that are then added up
        rows = product(a.dims[:-1])
        tall_a, tall = reshape(a, shape=(rows, a.dims[-1])), reshape(dy, shape=(rows, dy.dims[-1]))
        db = _product(tall, tall_a, True, False) if tb else _product(tall_a, tall, True, False)
        return [_product(dy, b, False, not tb), db]
    if not ta:
        da = _product(dy, b, False, not tb)
        db = _product(dy, a, True, False) if tb else _product(a, dy, True, False)
    else:
        da = _product(b, dy, tb, True)
        db = _product(dy, a, True, True) if tb else _product(a, dy, False, False)
    return [sum_to(da, a), sum_to(db, b)]


def _reference(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    if a.dtype.kind in "iu":  # wraps, in any order
        return np.matmul(np.swapaxes(a, -1, -2) if transpose_a else a, np.swapaxes(b, -1, -2) if transpose_b else b)
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    wide_a, wide_b = a.astype(wide), b.astype(wide)
    wide_a = np.swapaxes(wide_a, -1, -2) if transpose_a else wide_a
    wide_b = np.swapaxes(wide_b, -1, -2) if transpose_b else wide_b
    return np.matmul(wide_a, wide_b).astype(a.dtype)


def _samples() -> list[Sample]:
    found = []
    cases: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
        ((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((3, 4), (2, 4, 5)), ((2, 1, 3, 4), (5, 4, 2)),
        ((1, 1), (1, 1)), ((3, 0), (0, 2)), ((0, 3), (3, 2)),
    ]  # fmt: skip
    for dtype in FLOATS:
        for seed, (left, right) in enumerate(cases):
            for ta, tb in (
                ((False, False), (True, False), (False, True), (True, True)) if seed < 3 else ((False, False),)
            ):
                a, b = fill(left, dtype, seed=seed), fill(right, dtype, seed=seed + 30)
                a = np.swapaxes(a, -1, -2).copy() if ta else a
                b = np.swapaxes(b, -1, -2).copy() if tb else b
                found.append(Sample((a, b), {"transpose_a": ta, "transpose_b": tb}))
    for dtype in ("int32", "int64", "uint8"):
        a, b = fill((2, 9, 33), dtype, seed=4), fill((33, 40), dtype, seed=5)
        found.append(Sample((a, b), {"transpose_a": False, "transpose_b": False}, gradient=False))
    found.append(
        Sample(
            (fill((65, 130), "float32"), fill((130, 70), "float32")),
            {"transpose_a": False, "transpose_b": False},
            gradient=False,
        )
    )
    plain = {"transpose_a": False, "transpose_b": False}
    a = fill((3, 4), "float32")
    found.append(Sample((a, fill((5, 2), "float32")), plain, error=ShapeError))
    found.append(Sample((a, fill((4,), "float32")), plain, error=ShapeError))
    found.append(Sample((fill((2, 3, 4), "float32"), fill((3, 4, 5), "float32")), plain, error=ShapeError))
    found.append(Sample((a, fill((4, 2), "float64")), plain, error=DTypeError))
    found.append(Sample((fill((2, 2), "bool"), fill((2, 2), "bool")), plain, error=DTypeError))
    return found


matmul = define_op(
    "matmul", "a b",
    attributes={"transpose_a": False, "transpose_b": False},
    infer=_infer,
    kernel=Contract(),
    gradient=_gradient,
    reference=_reference,
    samples=_samples,
    documentation="The matrix product over the last two axes, batch axes broadcast. Each element starts at 0 and takes "
    "fma(a[p], b[p], sum) for ascending p, whatever the blocking; integers multiply and add, and wrap.",
)  # fmt: skip
