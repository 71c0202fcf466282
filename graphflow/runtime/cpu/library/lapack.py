"""Factorisations through LAPACK: SciPy's own OpenBLAS, entered by the pointers that SciPy publishes for Cython, one thread for each
matrix (so that a result does not depend on the number of threads) and the matrices of a batch side by side on the pool.

A row-major matrix is, read by columns as LAPACK does, its transpose; each kernel says how it makes use of that.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ....dtypes import int32
from ....ir.dims import Dim, dim_max, dim_min, product
from ....kernels.nest import Check
from ....kernels.scalar import ScalarBuilder
from ..emit import Emitter
from ..routine import Number, Routine
from .common import new_routine, run_routine, worker_scratch

__all__ = ["KERNELS", "address"]

_SYMBOL = "graphflow_lapack_"


# Addresses ----------------------------------------------------------------------------------------------------------
@functools.cache
def address(symbol: str) -> int:
    """The address behind an imported symbol: a routine of LAPACK or BLAS, or OpenBLAS's switch of this thread's threads."""
    from scipy.linalg import cython_blas, cython_lapack

    name = symbol.removeprefix(_SYMBOL)
    if name == "threads":
        return _threads_switch()
    module = cython_lapack if name in cython_lapack.__pyx_capi__ else cython_blas
    capsule = module.__pyx_capi__[name]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return int(api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule)))


_no_switch = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda count: count)


def _threads_switch() -> int:
    """openblas_set_num_threads_local of SciPy's library; a SciPy built on another BLAS keeps its own number of threads."""
    import threadpoolctl

    for found in threadpoolctl.threadpool_info():
        if found.get("internal_api") == "openblas" and "scipy.libs" in found["filepath"]:
            switch = getattr(ctypes.CDLL(found["filepath"]), "openblas_set_num_threads_local", None)
            if switch is not None:
                return int(ctypes.cast(switch, ctypes.c_void_p).value or 0)
    return int(ctypes.cast(_no_switch, ctypes.c_void_p).value or 0)


# Emission -----------------------------------------------------------------------------------------------------------
class Lapack:
    """A routine that calls LAPACK on the matrices of a batch."""

    def __init__(self, step: Any, node: Any, number: int) -> None:
        self.step, self.node, self.number = step, node, number
        self.dtype = node.inputs[0].type.dtype
        self.letter = {"f32": "s", "f64": "d"}[self.dtype.short]
        self.r: Routine = new_routine(step, node)
        self._scratch = 0
        self.status = self.r.local("alloca i32")

    def scratch(self, elements: Dim, bytes: int | None = None) -> str:
        """Memory for so many elements, of the node's dtype unless `bytes` says how long each is."""
        self._scratch += 1
        size = (elements if elements != 0 else 1) * (bytes or self.dtype.itemsize)
        return worker_scratch(self.step, self.r, self.number, self._scratch - 1, size)

    def integer(self, value: Any) -> str:
        """A 32-bit integer in memory."""
        value = value if isinstance(value, Number) else self.r.dim(value)
        place = self.r.local("alloca i32")
        self.r.writer.line(f"store i32 {self.r.convert(value, 'i32').name}, ptr {place}")
        return place

    def character(self, letter: str) -> str:
        place = self.r.local("alloca i8")
        self.r.writer.line(f"store i8 {ord(letter)}, ptr {place}")
        return place

    def call(self, name: str, *arguments: str) -> Number:
        """Call a routine of this dtype (its last argument, the status, is added); gives the status."""
        symbol = f"{_SYMBOL}{self.letter}{name}"
        self.step.imports[symbol] = 0
        self.r.call(symbol, [("ptr", a) for a in (*arguments, self.status)])
        status = self.r.writer.let(f"load i32, ptr {self.status}")
        return Number(self.r, status, "i32")

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        symbol = f"{_SYMBOL}threads"
        self.step.imports[symbol] = 0
        before = self.r.call(symbol, [("i32", "1")], "i32")
        yield
        self.r.call(symbol, [("i32", before)], "i32")

    def check(self, kind: str) -> int:
        """A run-time check of this node; its element is the number of the matrix."""
        batch = self.node.inputs[0].type.shape[:-2]
        self.step.checks.append(Check(kind, self.node.op.name, self.node.source, "", batch))
        self.step._can_fail = True
        return len(self.step.checks) - 1

    def matrix(self, pointer: str, unit: Number, elements: Dim) -> str:
        """The address of a batch's matrix."""
        return self.r.offset(pointer, unit * self.r.dim(elements), self.dtype)

    def copy(self, target: str, source: str, elements: Dim) -> None:
        self.r.copy(target, source, self.r.dim(elements * self.dtype.itemsize))

    def transpose(self, target: str, source: str, rows: Dim, columns: Dim) -> None:
        """target[columns, rows] = the transpose of source[rows, columns], both row-major."""
        r, m, n = self.r, self.r.dim(rows), self.r.dim(columns)
        with r.loop(m) as i, r.loop(n) as j:
            r.store(target, j * m + i, r.load(source, i * n + j, self.dtype), self.dtype)

    def keep_triangle(self, target: str, rows: Dim, columns: Dim, lower: bool) -> None:
        """Zeros outside the lower (upper) triangle of a row-major matrix."""
        r, m, n = self.r, self.r.dim(rows), self.r.dim(columns)
        with r.loop(m) as i, r.loop(n) as j, r.when(j > i if lower else j < i):
            r.store(target, i * n + j, 0.0, self.dtype)

    def logarithm(self, value: Number) -> Number:
        """The natural logarithm, by the math library's scalar program (so that it has the bits of gf.math.log)."""
        s = ScalarBuilder()
        argument = s.parameter(0, self.dtype)
        root = s.log(argument)
        emitter = Emitter(self.r.writer, 1, lambda emitter, scalar: (value.name, False))
        emitter.emit([root])
        return Number(self.r, emitter.scalar(root), value.type)

    def run(self, batch: Dim, work: Dim) -> None:
        run_routine(self.step, self.r, batch, work)


def _batches(value: Any) -> tuple[Dim, Dim, Dim]:
    """How many matrices a value holds, and their rows and columns."""
    shape = value.type.shape
    return product(shape[:-2]), shape[-2], shape[-1]


def emit_cholesky(step: Any, node: Any, number: int) -> None:
    """The lower triangle of the row-major matrix is the upper one by columns: U' U is L L' there."""
    k = Lapack(step, node, number)
    r = k.r
    batch, n, _ = _batches(node.inputs[0])
    source, target, check = r.pointer(node.inputs[0]), r.pointer(node.output), k.check("indefinite")
    size = product((n, n))
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        out = k.matrix(target, unit, size)
        k.copy(out, k.matrix(source, unit, size), size)
        status = k.call("potrf", k.character("U"), k.integer(n), out, k.integer(dim_max(n, 1)))
        with r.when(status != 0):
            r.fail(check, unit)
        k.keep_triangle(out, n, n, lower=True)
    k.run(batch, product((n, n, n)))


def emit_solve(step: Any, node: Any, number: int) -> None:
    """Factorises the transpose that the row-major matrix is by columns, and solves with its transpose."""
    k = Lapack(step, node, number)
    r = k.r
    batch, n, _ = _batches(node.inputs[0])
    columns = node.inputs[1].type.shape[-1]
    matrix, right, target = (r.pointer(v) for v in (*node.inputs, node.output))
    check = k.check("singular")
    factors, pivots, columnwise = k.scratch(n * n), k.scratch(n, 4), k.scratch(n * columns)
    size, many = product((n, n)), product((n, columns))
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        k.copy(factors, k.matrix(matrix, unit, size), size)
        order, lead = k.integer(n), k.integer(dim_max(n, 1))
        status = k.call("getrf", order, order, factors, lead, pivots)
        with r.when(status != 0):
            r.fail(check, unit)
        k.transpose(columnwise, k.matrix(right, unit, many), n, columns)
        way = k.character("N" if node.attributes["adjoint"] else "T")
        k.call("getrs", way, order, k.integer(columns), factors, lead, pivots, columnwise, lead)
        k.transpose(k.matrix(target, unit, many), columnwise, columns, n)
    k.run(batch, product((n, n, n + columns)))


def emit_triangular_solve(step: Any, node: Any, number: int) -> None:
    """A row-major lower triangle is, by columns, the transpose of what it is: an upper one."""
    k = Lapack(step, node, number)
    r = k.r
    batch, n, _ = _batches(node.inputs[0])
    columns = node.inputs[1].type.shape[-1]
    matrix, right, target = (r.pointer(v) for v in (*node.inputs, node.output))
    check = k.check("singular")
    columnwise = k.scratch(n * columns)
    size, many = product((n, n)), product((n, columns))
    lower, adjoint = node.attributes["lower"], node.attributes["adjoint"]
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        k.transpose(columnwise, k.matrix(right, unit, many), n, columns)
        lead = k.integer(dim_max(n, 1))
        triangle, way = k.character("U" if lower else "L"), k.character("N" if adjoint else "T")
        status = k.call(
            "trtrs", triangle, way, k.character("N"), k.integer(n), k.integer(columns), k.matrix(matrix, unit, size), lead,
            columnwise, lead,
        )  # fmt: skip
        with r.when(status != 0):
            r.fail(check, unit)
        k.transpose(k.matrix(target, unit, many), columnwise, columns, n)
    k.run(batch, product((n, n, columns)))


def emit_lu(step: Any, node: Any, number: int) -> None:
    """lu, pivots: the factors of the rows (unit lower and upper triangle in one matrix) and the row that each was exchanged with."""
    k = Lapack(step, node, number)
    r = k.r
    batch, n, _ = _batches(node.inputs[0])
    source, target, exchanged = (r.pointer(v) for v in (*node.inputs, *node.outputs))
    columnwise, pivots, size = k.scratch(n * n), k.scratch(n, 4), product((n, n))
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        k.transpose(columnwise, k.matrix(source, unit, size), n, n)
        order = k.integer(n)
        k.call("getrf", order, order, columnwise, k.integer(dim_max(n, 1)), pivots)
        k.transpose(k.matrix(target, unit, size), columnwise, n, n)
        count = r.dim(n)
        with r.loop(count) as i:
            r.store(exchanged, unit * count + i, r.load(pivots, i, int32) - 1, int32)
    k.run(batch, product((n, n, n)))


def emit_determinant(step: Any, node: Any, number: int) -> None:
    """determinant, or sign and logarithm: from the factors of the transpose, which has the same one."""
    k = Lapack(step, node, number)
    r = k.r
    batch, n, _ = _batches(node.inputs[0])
    source, targets = r.pointer(node.inputs[0]), [r.pointer(v) for v in node.outputs]
    factors, pivots, size = k.scratch(n * n), k.scratch(n, 4), product((n, n))
    logarithm = len(targets) > 1
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        k.copy(factors, k.matrix(source, unit, size), size)
        order, count = k.integer(n), r.dim(n)
        k.call("getrf", order, order, factors, k.integer(dim_max(n, 1)), pivots)
        sign, total = r.cell(r.number(1.0, k.dtype)), r.cell(r.number(0.0 if logarithm else 1.0, k.dtype))
        with r.loop(count) as i:
            value = r.load(factors, i * count + i, k.dtype)
            exchanged = r.convert(r.load(pivots, i, int32), "i64") != i + 1
            turned = exchanged ^ (value < 0.0) if logarithm else exchanged
            sign.set(r.select(turned, -sign.get(), sign.get()))
            if logarithm:
                sign.set(r.select(value == 0.0, r.number(0.0, k.dtype), sign.get()))
                total.set(total.get() + k.logarithm(r.select(value < 0.0, -value, value)))
            else:
                total.set(total.get() * value)
        if logarithm:
            r.store(targets[0], unit, sign.get(), k.dtype)
            r.store(targets[1], unit, total.get(), k.dtype)
        else:
            r.store(targets[0], unit, total.get() * sign.get(), k.dtype)
    k.run(batch, product((n, n, n)))


def emit_qr(step: Any, node: Any, number: int) -> None:
    """q, r through Householder reflections of a copy by columns."""
    k = Lapack(step, node, number)
    r = k.r
    batch, m, n = _batches(node.inputs[0])
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
            value = r.load(columnwise, j * tall + i, k.dtype)
            r.store(upper, i * wide + j, r.select(j < i, r.number(0.0, k.dtype), value), k.dtype)
        k.call("orgqr", rows, k.integer(width), k.integer(least), columnwise, lead, factors, work, length)
        k.transpose(k.matrix(q_out, unit, product((m, width))), columnwise, width, m)
    k.run(batch, product((m, n, n)) * 2)


def emit_eigh(step: Any, node: Any, number: int) -> None:
    """values (ascending), vectors (columns): the lower triangle counts, which is the upper one by columns."""
    k = Lapack(step, node, number)
    r = k.r
    batch, n, _ = _batches(node.inputs[0])
    source, values, vectors = (r.pointer(v) for v in (*node.inputs, *node.outputs))
    check, size = k.check("no_convergence"), product((n, n))
    columnwise, work_size, integers = k.scratch(n * n), 2 * n * n + 6 * n + 1 + 64 * n, 5 * n + 3
    work, numbers = k.scratch(work_size), k.scratch(integers, 4)
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        k.copy(columnwise, k.matrix(source, unit, size), size)
        own = r.offset(values, unit * r.dim(n), k.dtype)
        status = k.call(
            "syevd", k.character("V"), k.character("U"), k.integer(n), columnwise, k.integer(dim_max(n, 1)), own, work,
            k.integer(work_size), numbers, k.integer(integers),
        )  # fmt: skip
        with r.when(status != 0):
            r.fail(check, unit)
        k.transpose(k.matrix(vectors, unit, size), columnwise, n, n)
    k.run(batch, product((n, n, n)) * 4)


def emit_svd(step: Any, node: Any, number: int) -> None:
    """s, u, v: by columns the row-major matrix is A' = V S U', so LAPACK's left vectors are ours on the right."""
    k = Lapack(step, node, number)
    r = k.r
    batch, m, n = _batches(node.inputs[0])
    full = node.attributes["full_matrices"]
    least, most = dim_min(m, n), dim_max(m, n)
    left, right = (m, n) if full else (least, least)
    source, s_out, u_out, v_out = (r.pointer(v) for v in (*node.inputs, *node.outputs))
    check, size = k.check("no_convergence"), product((m, n))
    columnwise, v_rows = k.scratch(m * n), k.scratch(n * right)
    work_size = 4 * least * least + 7 * least + most + 64 * (m + n) + 64
    work, numbers = k.scratch(work_size), k.scratch(8 * least + 1, 4)
    with k.one_thread(), r.loop(r.end, r.begin) as unit:
        k.copy(columnwise, k.matrix(source, unit, size), size)
        u = k.matrix(u_out, unit, product((m, left)))
        status = k.call(
            "gesdd", k.character("A" if full else "S"), k.integer(n), k.integer(m), columnwise, k.integer(dim_max(n, 1)),
            r.offset(s_out, unit * r.dim(least), k.dtype), v_rows, k.integer(dim_max(n, 1)), u, k.integer(dim_max(left, 1)), work,
            k.integer(work_size), numbers,
        )  # fmt: skip
        with r.when(status != 0):
            r.fail(check, unit)
        k.transpose(k.matrix(v_out, unit, product((n, right))), v_rows, right, n)
    k.run(batch, product((m, n, least)) * 4)


#: kernel name -> emit(step emitter, node, step number)
KERNELS: dict[str, Callable[[Any, Any, int], None]] = {
    "cholesky": emit_cholesky, "determinant": emit_determinant, "eigh": emit_eigh, "lu": emit_lu, "qr": emit_qr,
    "slogdet": emit_determinant, "solve": emit_solve, "svd": emit_svd, "triangular_solve": emit_triangular_solve,
}  # fmt: skip
