"""LAPACK's kernels that make orthogonal factors, singular values and eigenvalues."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....ir.dims import dim_max, dim_min, product
from ..routine import Number
from .lapack import Lapack, batches, magnitude_of

__all__ = ["KERNELS"]

_NAN = float("nan")


def emit_qr(step: Any, node: Any, number: int) -> None:
    """q, r through Householder reflections of a copy by columns."""
    k = Lapack(step, node, number)
    r = k.r
    batch, m, n = batches(node.inputs[0])
    width = node.outputs[0].type.shape[-1]  # columns of q
    least = dim_min(m, n)
    source, q_out, r_out = (r.pointer(v) for v in (*node.inputs, *node.outputs))
    columnwise = k.scratch(m * dim_max(n, width))
    factors, work_size = k.scratch(dim_max(least, 1)), 64 * (m + n) + 64
    work = k.scratch(work_size)
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        k.transpose(columnwise, k.matrix(source, unit, product((m, n))), m, n)
        rows, lead, length = k.integer(m), k.integer(dim_max(m, 1)), k.integer(work_size)
        k.call("geqrf", rows, k.integer(n), columnwise, lead, factors, work, length)
        upper = k.matrix(r_out, unit, product((width, n)))
        high, wide, tall = r.dim(width), r.dim(n), r.dim(m)
        with r.loop(high) as i, r.loop(wide) as j:
            value = k.load(columnwise, j * tall + i)
            k.store(upper, i * wide + j, [r.select(j < i, k.zero(), part) for part in value])
        name = k.name("orgqr", "ungqr")
        k.call(name, rows, k.integer(width), k.integer(least), columnwise, lead, factors, work, length)
        k.transpose(k.matrix(q_out, unit, product((m, width))), columnwise, width, m)
    k.run(batch, product((m, n, n)) * 2)


def emit_eigh(step: Any, node: Any, number: int) -> None:
    """values (ascending), vectors (columns). The lower triangle counts; a transposed copy has it by columns too."""
    k = Lapack(step, node, number)
    r = k.r
    batch, n, _ = batches(node.inputs[0])
    source, values, vectors = (r.pointer(v) for v in (*node.inputs, *node.outputs))
    check, size = k.check("no_convergence"), product((n, n))
    columnwise = k.scratch(n * n)
    work_size, real_size, integers = 2 * n * n + 6 * n + 1 + 64 * n, 2 * n * n + 5 * n + 1, 5 * n + 3
    work, numbers = k.scratch(work_size), k.scratch(integers, 4)
    # the real routine has one work array, the complex one another for real numbers
    extra = [k.real_scratch(real_size), k.integer(real_size)] if k.parts == 2 else []
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        own = k.matrix(source, unit, size)
        finite = k.all_finite(own, n, n, lower=True)
        with r.when(~finite):
            r.fail(check, unit)
        with r.when(finite):
            k.transpose(columnwise, own, n, n)
            status = k.call(
                k.name("syevd", "heevd"), k.character("V"), k.character("L"), k.integer(n), columnwise, k.integer(dim_max(n, 1)),
                k.reals(values, unit, n), work, k.integer(work_size), *extra, numbers, k.integer(integers),
            )  # fmt: skip
            with r.when(status != 0):
                r.fail(check, unit)
            k.transpose(k.matrix(vectors, unit, size), columnwise, n, n)
    k.run(batch, product((n, n, n)) * 4)


def emit_svd(step: Any, node: Any, number: int) -> None:
    """s, u, v: by columns the row-major matrix is A' = conj(V) S U', so LAPACK's left vectors are ours on the right, conjugated. All
    are NaN for a matrix that is not finite."""
    k = Lapack(step, node, number)
    r = k.r
    batch, m, n = batches(node.inputs[0])
    full = node.attributes["full_matrices"]
    least, most = dim_min(m, n), dim_max(m, n)
    left, right = (m, n) if full else (least, least)
    source, s_out, u_out, v_out = (r.pointer(v) for v in (*node.inputs, *node.outputs))
    check, size = k.check("no_convergence"), product((m, n))
    columnwise, v_rows = k.scratch(m * n), k.scratch(n * right)
    work_size = 4 * least * least + 7 * least + most + 64 * (m + n) + 64
    work, numbers = k.scratch(work_size), k.scratch(8 * least + 1, 4)
    real_size = 7 * least * least + 7 * least + 2 * most * least + 1
    extra = [k.real_scratch(real_size)] if k.parts == 2 else []
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        own = k.matrix(source, unit, size)
        s, u = k.reals(s_out, unit, least), k.matrix(u_out, unit, product((m, left)))
        v = k.matrix(v_out, unit, product((n, right)))
        finite = k.all_finite(own, m, n)
        with r.when(finite):
            k.copy(columnwise, own, size)
            status = k.call(
                "gesdd", k.character("A" if full else "S"), k.integer(n), k.integer(m), columnwise, k.integer(dim_max(n, 1)), s, v_rows,
                k.integer(dim_max(n, 1)), u, k.integer(dim_max(left, 1)), work, k.integer(work_size), *extra, numbers,
            )  # fmt: skip
            with r.when(status != 0):
                r.fail(check, unit)
            k.transpose(v, v_rows, right, n, conjugate=True)
        with r.when(~finite):
            for target, count, parts in ((s, least, 1), (u, m * left, k.parts), (v, n * right, k.parts)):
                with r.loop(r.dim(count) * parts) as i:
                    r.store(target, i, _NAN, k.part)
    k.run(batch, product((m, n, least)) * 4)


def emit_eig(step: Any, node: Any, number: int) -> None:
    """values, vectors (columns), complex. For a real matrix LAPACK gives two columns, real and imaginary part, for each pair of
    conjugate eigenvalues, the one with the positive imaginary part first."""
    k = Lapack(step, node, number)
    r = k.r
    batch, n, _ = batches(node.inputs[0])
    source, values, vectors = (r.pointer(v) for v in (*node.inputs, *node.outputs))
    check, size = k.check("no_convergence"), product((n, n))
    columnwise, found, work_size = k.scratch(n * n), k.scratch(n * n), 64 * n + 64
    work = k.scratch(work_size)
    reals, imaginary = k.real_scratch(2 * n), k.real_scratch(n)  # complex: 2n numbers of work
    count = r.dim(n)
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        own, out = k.matrix(source, unit, size), r.offset(vectors, unit * r.dim(size) * 2, k.part)
        spectrum = r.offset(values, unit * count * 2, k.part)
        finite = k.all_finite(own, n, n)
        with r.when(~finite):
            r.fail(check, unit)
        with r.when(finite):
            k.transpose(columnwise, own, n, n)
            order, lead, length = k.integer(n), k.integer(dim_max(n, 1)), k.integer(work_size)
            ways = k.character("N"), k.character("V")
            after = [work, length, reals] if k.parts == 2 else [work, length]
            first = [spectrum] if k.parts == 2 else [reals, imaginary]
            status = k.call(
                "geev", *ways, order, columnwise, lead, *first, columnwise, k.integer(1), found, lead, *after
            )
            with r.when(status != 0):
                r.fail(check, unit)
            if k.parts == 2:
                k.transpose(out, found, n, n)
            else:
                _conjugate_pairs(k, count, reals, imaginary, found, spectrum, out)
    k.run(batch, product((n, n, n)) * 25)


def _conjugate_pairs(k: Lapack, n: Number, reals: str, imaginary: str, found: str, spectrum: str, out: str) -> None:
    """Complex eigenvalues and vectors from a real matrix's, as geev gives them by columns."""
    r = k.r
    with r.loop(n) as j:
        x, y = r.load(reals, j, k.part), r.load(imaginary, j, k.part)
        r.store(spectrum, j * 2, x, k.part)
        r.store(spectrum, j * 2 + 1, y, k.part)
        # the columns that hold the real and the imaginary part: j, j + 1 for the first of a pair, j - 1, j for the second
        first = r.select(y < 0.0, j - 1, j)
        second = r.select(y > 0.0, j + 1, j)
        with r.loop(n) as i:
            size = r.load(found, second * n + i, k.part)
            part = r.select(y > 0.0, size, r.select(y < 0.0, -size, k.zero()))
            r.store(out, (i * n + j) * 2, r.load(found, first * n + i, k.part), k.part)
            r.store(out, (i * n + j) * 2 + 1, part, k.part)


def emit_square_root(step: Any, node: Any, number: int) -> None:
    """The principal root of complex matrices: Schur factors Z T Z', R with R R = T column by column, Z R Z' (Bjorck and Hammarling,
    "A Schur method for the square root of a matrix", 1983). All by columns: a copy is transposed there and back."""
    k = Lapack(step, node, number)
    r = k.r
    batch, n, _ = batches(node.inputs[0])
    source, target = r.pointer(node.inputs[0]), r.pointer(node.output)
    check, size = k.check("no_convergence"), product((n, n))
    factor, vectors, values, root = k.scratch(n * n), k.scratch(n * n), k.scratch(n), k.scratch(n * n)
    work_size = 64 * n + 64
    work, reals = k.scratch(work_size), k.real_scratch(n)
    one, zero = ([r.number(v, k.part), k.zero()] for v in (1.0, 0.0))
    constants = k.scratch(2)
    count = r.dim(n)
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        own, out = k.matrix(source, unit, size), k.matrix(target, unit, size)
        finite = k.all_finite(own, n, n)
        with r.when(~finite), r.loop(count * count * 2) as i:
            r.store(out, i, _NAN, k.part)
        with r.when(finite):
            k.transpose(factor, own, n, n)
            order, lead, nothing = k.integer(n), k.integer(dim_max(n, 1)), k.integer(0)
            status = k.call(
                "gees", k.character("V"), k.character("N"), nothing, order, factor, lead, nothing, values, vectors, lead, work,
                k.integer(work_size), reals, nothing,
            )  # fmt: skip
            with r.when(status != 0):
                r.fail(check, unit)
            _triangular_root(k, count, factor, root)
            k.store(constants, r.constant(0), one)
            k.store(constants, r.constant(1), zero)
            beta = k.matrix(constants, r.constant(1), 1)
            plain, turned = k.character("N"), k.character("C")
            k.blas("gemm", plain, plain, order, order, order, constants, vectors, lead, root, lead, beta, factor, lead)
            k.blas("gemm", plain, turned, order, order, order, constants, factor, lead, vectors, lead, beta, root, lead)
            k.transpose(out, root, n, n)
    k.run(batch, product((n, n, n)) * 30)


def _triangular_root(k: Lapack, n: Number, factor: str, root: str) -> None:
    """root root = factor, both upper triangles by columns: each element from those to its left and below."""
    r = k.r
    with r.loop(n * n) as i:
        k.store(root, i, [k.zero(), k.zero()])
    with r.loop(n) as j:
        k.store(root, j * n + j, k.formula(_complex_root, *k.load(factor, j * n + j)))
        with r.loop(r.constant(-1), j - 1, -1) as i:
            total = [r.cell(part) for part in k.load(factor, j * n + i)]
            with r.loop(j, i + 1) as p:
                (a, b), (c, d) = k.load(root, p * n + i), k.load(root, j * n + p)
                total[0].set(total[0].get() - (a * c - b * d))
                total[1].set(total[1].get() - (a * d + b * c))
            divisor = [x + y for x, y in zip(k.load(root, i * n + i), k.load(root, j * n + j), strict=True)]
            k.store(root, j * n + i, k.formula(_quotient, *(c.get() for c in total), *divisor))


def _complex_root(s: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """The square root with a real part that is not negative."""
    size = magnitude_of(s, x, y)
    large = s.sqrt((s.abs(x) * 0.5) + size * 0.5)
    divisor = s.select(large.equal(0), s.const(1.0, x.dtype), large)
    small = y / (divisor * 2.0)
    positive = x >= 0
    return s.select(positive, large, s.abs(small)), s.select(positive, small, s.copysign(large, y))


def _quotient(s: Any, a: Any, b: Any, c: Any, d: Any) -> tuple[Any, ...]:
    """(a + bi) / (c + di) by Smith's method; 0 / 0 is 0, as for two zeros among the eigenvalues of a matrix that is diagonal there."""
    swap = s.abs(c) < s.abs(d)
    high, low = s.select(swap, d, c), s.select(swap, c, d)
    empty = high.equal(0)
    safe = s.select(empty, s.const(1.0, a.dtype), high)
    ratio = low / safe
    scale = safe + low * ratio
    real = s.select(swap, a * ratio + b, a + b * ratio) / scale
    imaginary = s.select(swap, b * ratio - a, b - a * ratio) / scale
    none = empty & a.equal(0) & b.equal(0)
    zero, endless = s.const(0.0, a.dtype), s.const(_NAN, a.dtype)
    return tuple(s.select(none, zero, s.select(empty, endless, part)) for part in (real, imaginary))


#: kernel name -> emit(step emitter, node, step number)
KERNELS: dict[str, Callable[[Any, Any, int], None]] = {
    "eig": emit_eig, "eigh": emit_eigh, "matrix_square_root": emit_square_root, "qr": emit_qr, "svd": emit_svd,
}  # fmt: skip
