"""Factorisations through LAPACK: SciPy's own OpenBLAS, entered by the pointers that SciPy publishes for Cython, one thread for each
matrix (so that a result does not depend on the number of threads) and the matrices of a batch side by side on the pool.

A row-major matrix is, read by columns as LAPACK does, its transpose; each kernel says how it makes use of that. The kernels are in
lapack_systems.py and lapack_factors.py.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ....ir.dims import Dim, product
from ....ir.op import OPS
from ....kernels.nest import Check
from ....kernels.scalar import ScalarBuilder
from ....ops.complex import part_of
from ..emit import Emitter
from ..routine import Number, Routine
from .common import new_routine, run_routine, worker_scratch

__all__ = ["Lapack", "address", "batches", "magnitude_of"]

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
    """A routine that calls LAPACK on the matrices of a batch. A complex element is its two parts, side by side: parts is 2 then, and
    part their dtype."""

    def __init__(self, step: Any, node: Any, number: int) -> None:
        self.step, self.node, self.number = step, node, number
        self.dtype = node.inputs[0].type.dtype
        self.letter = {"f32": "s", "f64": "d", "c64": "c", "c128": "z"}[self.dtype.short]
        self.parts = 2 if self.dtype.is_complex else 1
        self.part = part_of(self.dtype) if self.dtype.is_complex else self.dtype
        self.r: Routine = new_routine(step, node)
        self._scratch = 0
        self.status = self.r.local("alloca i32")

    def name(self, real: str, complex: str) -> str:
        """The routine for this dtype, where LAPACK calls the complex one by another name."""
        return complex if self.parts == 2 else real

    def scratch(self, elements: Dim, bytes: int | None = None) -> str:
        """Memory for so many elements, of the node's dtype unless `bytes` says how long each is."""
        self._scratch += 1
        size = (elements if elements != 0 else 1) * (bytes or self.dtype.itemsize)
        return worker_scratch(self.step, self.r, self.number, self._scratch - 1, size)

    def real_scratch(self, elements: Dim) -> str:
        """Memory for so many real numbers."""
        return self.scratch(elements, self.part.itemsize)

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

    def blas(self, name: str, *arguments: str) -> None:
        """Call a routine of this dtype that has no status."""
        symbol = f"{_SYMBOL}{self.letter}{name}"
        self.step.imports[symbol] = 0
        self.r.call(symbol, [("ptr", a) for a in arguments])

    @contextmanager
    def one_thread(self) -> Iterator[None]:
        symbol = f"{_SYMBOL}threads"
        self.step.imports[symbol] = 0
        before = self.r.call(symbol, [("i32", "1")], "i32")
        yield
        self.r.call(symbol, [("i32", before)], "i32")

    def check(self, kind: str, batch: tuple[Dim, ...] | None = None) -> int:
        """A run-time check of this node; its element is the number of the matrix."""
        batch = self.node.inputs[0].type.shape[:-2] if batch is None else batch
        self.step.checks.append(Check(kind, self.node.op.name, self.node.source, "", batch))
        self.step._can_fail = True
        return len(self.step.checks) - 1

    # Elements ---------------------------------------------------------------------------------------------------------
    def load(self, pointer: str, index: Number) -> list[Number]:
        """The parts of element `index`: one, or two of a complex number."""
        return [self.r.load(pointer, index * self.parts + k, self.part) for k in range(self.parts)]

    def store(self, pointer: str, index: Number, value: Sequence[Number]) -> None:
        for k, part in enumerate(value):
            self.r.store(pointer, index * self.parts + k, part, self.part)

    def zero(self) -> Number:
        return self.r.number(0.0, self.part)

    def formula(self, function: Callable[..., tuple[Any, ...]], *values: Number) -> list[Number]:
        """The results of a scalar program, so that they have the bits of gf.math's functions."""
        s = ScalarBuilder()
        parameters = [s.parameter(k, self.part) for k in range(len(values))]
        names = {id(p): v.name for p, v in zip(parameters, values, strict=True)}
        roots = function(s, *parameters)
        emitter = Emitter(self.r.writer, 1, lambda emitter, scalar: (names[id(scalar)], False))
        emitter.emit(roots)
        return [Number(self.r, emitter.scalar(root), values[0].type) for root in roots]

    # Matrices ---------------------------------------------------------------------------------------------------------
    def matrix(self, pointer: str, unit: Number, elements: Dim) -> str:
        """The address of a batch's matrix."""
        return self.r.offset(pointer, unit * self.r.dim(elements) * self.parts, self.part)

    def reals(self, pointer: str, unit: Number, elements: Dim) -> str:
        """The address of a batch's real numbers."""
        return self.r.offset(pointer, unit * self.r.dim(elements), self.part)

    def copy(self, target: str, source: str, elements: Dim) -> None:
        self.r.copy(target, source, self.r.dim(elements * self.dtype.itemsize))

    def transpose(self, target: str, source: str, rows: Dim, columns: Dim, conjugate: bool = False) -> None:
        """target[columns, rows] = the transpose (of the conjugate) of source[rows, columns], both row-major."""
        r, m, n = self.r, self.r.dim(rows), self.r.dim(columns)
        with r.loop(m) as i, r.loop(n) as j:
            value = self.load(source, i * n + j)
            if conjugate and self.parts == 2:
                value[1] = -value[1]
            self.store(target, j * m + i, value)

    def keep_triangle(self, target: str, rows: Dim, columns: Dim, lower: bool) -> None:
        """Zeros outside the lower (upper) triangle of a row-major matrix."""
        r, m, n = self.r, self.r.dim(rows), self.r.dim(columns)
        with r.loop(m) as i, r.loop(n) as j, r.when(j > i if lower else j < i):
            self.store(target, i * n + j, [self.zero()] * self.parts)

    def all_finite(self, source: str, rows: Dim, columns: Dim, lower: bool = False) -> Number:
        """Are all elements of a row-major matrix (of its lower triangle) finite? The iterations are not begun with others: LAPACK does
        not promise that they end."""
        r, n = self.r, self.r.dim(columns)
        bad = r.cell(r.constant(False, "i1"))
        with r.loop(r.dim(rows)) as i, r.loop(i + 1 if lower else n) as j:
            for part in self.load(source, i * n + j):
                bad.set(bad.get() | ((part - part) != 0.0))  # NaN for NaN and for infinities
        return ~bad.get()

    def no_nan_on_diagonal(self, factors: str, order: Dim) -> Number:
        r, n = self.r, self.r.dim(order)
        bad = r.cell(r.constant(False, "i1"))
        with r.loop(n) as i:
            for part in self.load(factors, i * n + i):
                bad.set(bad.get() | part.is_nan)
        return ~bad.get()

    def run(self, batch: Dim, work: Dim) -> None:
        run_routine(self.step, self.r, batch, work)


def magnitude_of(s: Any, x: Any, y: Any) -> Any:
    """|x + iy| as a scalar program: the math library's."""
    kernel: Any = OPS["magnitude"].kernel
    return kernel.emit(s, x, y)


def batches(value: Any) -> tuple[Dim, Dim, Dim]:
    """How many matrices a value holds, and their rows and columns."""
    shape = value.type.shape
    return product(shape[:-2]), shape[-2], shape[-1]
