"""LAPACK's kernels that solve systems of equations: Cholesky, LU and triangular factors, tridiagonal systems, determinants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....dtypes import int32
from ....ir.dims import dim_max, product
from ..routine import Number
from .lapack import Lapack, batches, magnitude_of

__all__ = ["KERNELS"]


def emit_cholesky(step: Any, node: Any, number: int) -> None:
    """The lower triangle of the row-major matrix is the upper one by columns: where U^H U is the transpose of L L^H, U' is L."""
    k = Lapack(step, node, number)
    r = k.r
    batch, n, _ = batches(node.inputs[0])
    source, target, check = r.pointer(node.inputs[0]), r.pointer(node.output), k.check("indefinite")
    size = product((n, n))
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        out = k.matrix(target, unit, size)
        k.copy(out, k.matrix(source, unit, size), size)
        status = k.call("potrf", k.character("U"), k.integer(n), out, k.integer(dim_max(n, 1)))
        with r.when((status != 0) | ~k.no_nan_on_diagonal(out, n)):
            r.fail(check, unit)
        k.keep_triangle(out, n, n, lower=True)
    k.run(batch, product((n, n, n)))


def emit_solve(step: Any, node: Any, number: int) -> None:
    """Factorises the transpose M that the row-major matrix is by columns, and solves with its transpose. For the adjoint, which is
    conj(M), the right sides and the solution are conjugated."""
    k = Lapack(step, node, number)
    r = k.r
    batch, n, _ = batches(node.inputs[0])
    columns = node.inputs[1].type.shape[-1]
    matrix, right, target = (r.pointer(v) for v in (*node.inputs, node.output))
    check = k.check("singular")
    factors, pivots, columnwise = k.scratch(n * n), k.scratch(n, 4), k.scratch(n * columns)
    size, many, adjoint = product((n, n)), product((n, columns)), node.attributes["adjoint"]
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        k.copy(factors, k.matrix(matrix, unit, size), size)
        order, lead = k.integer(n), k.integer(dim_max(n, 1))
        status = k.call("getrf", order, order, factors, lead, pivots)
        with r.when((status != 0) | ~k.no_nan_on_diagonal(factors, n)):
            r.fail(check, unit)
        k.transpose(columnwise, k.matrix(right, unit, many), n, columns, adjoint)
        way = k.character("N" if adjoint else "T")
        k.call("getrs", way, order, k.integer(columns), factors, lead, pivots, columnwise, lead)
        k.transpose(k.matrix(target, unit, many), columnwise, columns, n, adjoint)
    k.run(batch, product((n, n, n + columns)))


def emit_triangular_solve(step: Any, node: Any, number: int) -> None:
    """A row-major lower triangle is, by columns, the transpose of what it is: an upper one. The adjoint as in emit_solve."""
    k = Lapack(step, node, number)
    r = k.r
    batch, n, _ = batches(node.inputs[0])
    columns = node.inputs[1].type.shape[-1]
    matrix, right, target = (r.pointer(v) for v in (*node.inputs, node.output))
    check = k.check("singular")
    columnwise = k.scratch(n * columns)
    size, many = product((n, n)), product((n, columns))
    lower, adjoint = node.attributes["lower"], node.attributes["adjoint"]
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        k.transpose(columnwise, k.matrix(right, unit, many), n, columns, adjoint)
        lead = k.integer(dim_max(n, 1))
        triangle, way = k.character("U" if lower else "L"), k.character("N" if adjoint else "T")
        status = k.call(
            "trtrs", triangle, way, k.character("N"), k.integer(n), k.integer(columns), k.matrix(matrix, unit, size), lead,
            columnwise, lead,
        )  # fmt: skip
        with r.when(status != 0):
            r.fail(check, unit)
        k.transpose(k.matrix(target, unit, many), columnwise, columns, n, adjoint)
    k.run(batch, product((n, n, columns)))


def emit_tridiagonal_solve(step: Any, node: Any, number: int) -> None:
    """Gaussian elimination with exchanges of neighbouring rows, on copies of the diagonals."""
    k = Lapack(step, node, number)
    r = k.r
    *lead_shape, n, columns = node.inputs[3].type.shape
    above, middle, below, right, target = (r.pointer(v) for v in (*node.inputs, node.output))
    check = k.check("singular", tuple(lead_shape))
    upper, main, lower, columnwise = k.scratch(n), k.scratch(n), k.scratch(n), k.scratch(n * columns)
    many = product((n, columns))
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        k.copy(upper, k.matrix(above, unit, n), n)
        k.copy(main, k.matrix(middle, unit, n), n)
        with r.loop(r.dim(n), 1) as i:  # LAPACK's begins with the element of the second row
            k.store(lower, i - 1, k.load(below, unit * r.dim(n) + i))
        k.transpose(columnwise, k.matrix(right, unit, many), n, columns)
        status = k.call(
            "gtsv", k.integer(n), k.integer(columns), lower, main, upper, columnwise, k.integer(dim_max(n, 1))
        )
        with r.when(status != 0):
            r.fail(check, unit)
        k.transpose(k.matrix(target, unit, many), columnwise, columns, n)
    k.run(product(lead_shape), product((n, columns)) * 8)


def emit_lu(step: Any, node: Any, number: int) -> None:
    """lu, order: the factors of the rows (unit lower and upper triangle in one matrix) and which row of the matrix each of theirs is."""
    k = Lapack(step, node, number)
    r = k.r
    batch, n, _ = batches(node.inputs[0])
    source, target, rows = (r.pointer(v) for v in (*node.inputs, *node.outputs))
    check = k.check("singular")
    columnwise, pivots, size = k.scratch(n * n), k.scratch(n, 4), product((n, n))
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        k.transpose(columnwise, k.matrix(source, unit, size), n, n)
        order = k.integer(n)
        status = k.call("getrf", order, order, columnwise, k.integer(dim_max(n, 1)), pivots)
        with r.when((status != 0) | ~k.no_nan_on_diagonal(columnwise, n)):
            r.fail(check, unit)
        k.transpose(k.matrix(target, unit, size), columnwise, n, n)
        count = r.dim(n)
        own = r.offset(rows, unit * count, int32)
        with r.loop(count) as i:
            r.store(own, i, r.convert(i, "i32"), int32)
        with r.loop(count) as i:
            other = r.convert(r.load(pivots, i, int32), "i64") - 1
            here, there = r.load(own, i, int32), r.load(own, other, int32)
            r.store(own, i, there, int32)
            r.store(own, other, here, int32)
    k.run(batch, product((n, n, n)))


def _times(a: list[Number], b: list[Number]) -> list[Number]:
    if len(a) == 1:
        return [a[0] * b[0]]
    return [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]


def emit_determinant(step: Any, node: Any, number: int) -> None:
    """determinant, or sign and logarithm of the magnitude: from the factors of the transpose, which has the same one."""
    k = Lapack(step, node, number)
    r = k.r
    batch, n, _ = batches(node.inputs[0])
    source, targets = r.pointer(node.inputs[0]), [r.pointer(v) for v in node.outputs]
    factors, pivots, size = k.scratch(n * n), k.scratch(n, 4), product((n, n))
    logarithm = len(targets) > 1
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        k.copy(factors, k.matrix(source, unit, size), size)
        order, count = k.integer(n), r.dim(n)
        k.call("getrf", order, order, factors, k.integer(dim_max(n, 1)), pivots)
        one = [r.number(1.0, k.part), k.zero()][: k.parts]
        product_of, logarithms = [r.cell(v) for v in one], r.cell(k.zero())
        with r.loop(count) as i:
            value = k.load(factors, i * count + i)
            if logarithm:
                size_of, value = _size_and_sign(k, value)
                logarithms.set(logarithms.get() + k.formula(lambda s, x: (s.log(x),), size_of)[0])
            exchanged = r.convert(r.load(pivots, i, int32), "i64") != i + 1
            found = _times([c.get() for c in product_of], value)
            for cell, part in zip(product_of, found, strict=True):
                cell.set(r.select(exchanged, -part, part))
        k.store(targets[0], unit, [c.get() for c in product_of])
        if logarithm:
            k.store(targets[1], unit, [logarithms.get(), k.zero()][: k.parts])
    k.run(batch, product((n, n, n)))


def _size_and_sign(k: Lapack, value: list[Number]) -> tuple[Number, list[Number]]:
    """|value| and value / |value|, 0 for 0."""
    r, zero = k.r, k.zero()
    if k.parts == 1:
        (x,) = value
        size = r.select(x < 0.0, -x, x)
    else:
        (size,) = k.formula(lambda s, x, y: (magnitude_of(s, x, y),), *value)
    divisor = r.select(size == 0.0, r.number(1.0, k.part), size)
    return size, [r.select(size == 0.0, zero, part / divisor) for part in value]


#: kernel name -> emit(step emitter, node, step number)
KERNELS: dict[str, Callable[[Any, Any, int], None]] = {
    "cholesky": emit_cholesky, "determinant": emit_determinant, "lu": emit_lu, "slogdet": emit_determinant, "solve": emit_solve,
    "triangular_solve": emit_triangular_solve, "tridiagonal_solve": emit_tridiagonal_solve,
}  # fmt: skip
