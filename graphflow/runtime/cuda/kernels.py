"""Kernels as callables: printed source compiled once for each text; the kernels written by hand; PTX for reading."""

from __future__ import annotations

import hashlib
import linecache
import re
import threading
from collections.abc import Sequence
from typing import Any

from ...dtypes import DType
from ...errors import CompileError
from ...kernels.nest import Nest
from ...kernels.python_source import constant
from .available import INSTALL, cuda, importable, is_simulator, primitives
from .source import CHECK_SHIFT, Kernel, kernels_of

__all__ = ["compile_kernel", "concat_source", "kernels_ptx", "matmul_source", "scatter_add_source"]

PTX_CAPABILITY = (7, 5)
"""Turing: the oldest GPU that CUDA 13's compiler serves. What `form="ptx"` is compiled for, so that it does not depend
on the machine."""

_compiled: dict[str, Any] = {}
_lock = threading.Lock()
_COMMENT = re.compile(r"\s*#.*$", re.MULTILINE)


def compile_kernel(name: str, source: str) -> Any:
    """The numba.cuda kernel of a source text. Made once for each text; its name and comments do not count."""
    plain = _COMMENT.sub("", source).replace(f"def {name}(", "def kernel(")
    key = hashlib.sha256(plain.encode()).hexdigest()
    with _lock:
        if key not in _compiled:
            _compiled[key] = _load(name, source, key, cuda())
        return _compiled[key]


def _load(name: str, source: str, key: str, module: Any) -> Any:
    """Run the source. It is entered in linecache, so that tracebacks and debuggers show it."""
    file = f"<graphflow kernel {name} {key[:12]}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    namespace = {**vars(primitives()), "__name__": "graphflow.generated", "cuda": module, "boolean": _boolean()}
    exec(compile(source, file, "exec"), namespace)
    return namespace[name]


def _boolean() -> Any:
    """The element type of bool arrays in shared memory."""
    import numpy
    from numba import types

    return numpy.bool_ if is_simulator() else types.boolean


# Kernels written by hand --------------------------------------------------------------------------------------------


def matmul_source(dtype: DType) -> str:
    """out[b] = A[b] @ B[b]: one thread an element, which starts at 0 and takes fma(a[p], b[p], sum) for ascending p
    (integers: the product, then the sum). That is how the op is defined, so the bits are the CPU's.
    a_offsets, b_offsets: where each batch's matrices begin."""
    operands = "a[at_a + p * a_column], b[at_b + p * b_row]"
    kind = dtype.short
    term = f"fma_{kind}({operands}, total)" if dtype.is_floating else f"add_{kind}(mul_{kind}({operands}), total)"
    return f"""@cuda.jit
def matmul(a, b, out, a_offsets, b_offsets, batch, rows, columns, inner, a_row, a_column, b_row, b_column):
    for element in range(cuda.grid(1), batch * rows * columns, cuda.gridsize(1)):
        column = element % columns
        row = element // columns % rows
        number = element // (columns * rows)
        at_a = a_offsets[number] + row * a_row
        at_b = b_offsets[number] + column * b_column
        total = {constant(0, dtype)}
        for p in range(inner):
            total = {term}
        out[element] = total
"""


def scatter_add_source(dtype: DType) -> str:
    """out = 0; out[indices[j], :] += updates[j, :] for ascending j, one thread a column: no atomics, the CPU's order.
    An index outside the rows is reported and its update skipped."""
    return f"""@cuda.jit
def scatter_add(indices, updates, out, status, first_check, count, width, rows):
    for column in range(cuda.grid(1), width + 1, cuda.gridsize(1)):
        if column < width:
            for row in range(rows):
                out[row * width + column] = {constant(0, dtype)}
        for j in range(count):
            row = indices[j]
            if row < 0 or row >= rows:
                cuda.atomic.min(status, 0, (first_check << {CHECK_SHIFT}) + j)
            elif column < width:
                out[row * width + column] = add_{dtype.short}(out[row * width + column], updates[j * width + column])
"""


def concat_source() -> str:
    """One operand of a concatenation into its place: its rows are `width` long and begin `offset` into the result's."""
    return """@cuda.jit
def concat(x, out, elements, width, offset, stride):
    for element in range(cuda.grid(1), elements, cuda.gridsize(1)):
        out[element // width * stride + offset + element % width] = x[element]
"""


# PTX ----------------------------------------------------------------------------------------------------------------


def kernels_ptx(nests: Sequence[Nest]) -> str:
    """The PTX of the nests' kernels, compiled without a GPU; or one sentence that says what is missing."""
    if is_simulator():
        return "no PTX: numba.cuda is the simulator here; next: unset NUMBA_ENABLE_CUDASIM"
    module = importable()
    if module is None:
        return f"no PTX: numba-cuda, which brings the compiler, is not installed; next: {INSTALL}"
    texts = []
    for nest in nests:
        for kernel in kernels_of(nest).kernels:
            try:
                texts.append(_ptx(nest, kernel, module))
            except (ImportError, OSError) as error:
                return f"no PTX: {_first_line(error)}; next: {INSTALL}"
            except Exception as error:
                if _compiler_is_missing(error):
                    return f"no PTX: no CUDA compiler (NVVM) was found; next: {INSTALL}"
                failure = CompileError(f"{kernel.name}: numba.cuda cannot compile it: {error}")
                failure.place = nest.source
                raise failure from error
    return "\n\n".join(texts)


def _ptx(nest: Nest, kernel: Kernel, module: Any) -> str:
    from numba import types

    def array(dtype: DType) -> Any:
        return types.Array(types.boolean if dtype.is_bool else getattr(types, dtype.name), 1, "C")

    arguments = [array(b.dtype) for b in nest.buffers] + [array(dtype) for dtype in kernel.partials]
    if kernel.has_checks:
        arguments += [types.Array(types.int64, 1, "C"), types.int64]
    arguments += [types.int64] * len(kernel.dims)
    function = _load(kernel.name, kernel.source, "ptx", module).py_func
    text, _ = module.compile_ptx(function, types.void(*arguments), cc=PTX_CAPABILITY)
    return f"// {kernel.name}: {nest.source}\n{text}"


def _compiler_is_missing(error: BaseException) -> bool:
    """Is this how Numba says that libNVVM, libdevice or the toolkit was not found? Its class differs between the two
    packages."""
    chain = [error, error.__cause__, error.__context__]
    return any(
        type(e).__name__ in ("NvvmSupportError", "CudaSupportError") or "libnvvm" in str(e).lower() for e in chain if e
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
