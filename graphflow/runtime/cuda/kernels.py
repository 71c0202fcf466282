"""Kernels as callables: compiling printed source once for each text, the hand-written kernels, and PTX for reading."""
from __future__ import annotations

import hashlib
import linecache
import re
import threading
from collections.abc import Sequence
from typing import Any

from ...dtypes import DType
from ...kernels.nest import Nest
from .available import INSTALL, cuda, is_simulator, primitives
from .source import Kernel, kernels_of, print_kernels

__all__ = ["compile_kernel", "kernels_ptx", "matmul_source", "scatter_add_source"]

_compiled: dict[str, Any] = {}
_lock = threading.Lock()
_COMMENT = re.compile(r"\s*#.*$", re.MULTILINE)
PTX_CAPABILITY = (7, 5)
"""The oldest GPU (Turing) that every CUDA 13 compiler still serves: what `form="ptx"` shows where there is no GPU."""


def compile_kernel(name: str, source: str) -> Any:
    """The numba.cuda kernel of a source text. Compiled once for each text: names and comments do not count."""
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
    namespace = {**vars(primitives()), "__name__": "graphflow.generated", "cuda": module, "boolean": _boolean(), "checked": _checked(module)}
    exec(compile(source, file, "exec"), namespace)
    return namespace[name]


def _boolean() -> Any:
    """The element type of shared bool arrays."""
    import numpy
    from numba import types

    return numpy.bool_ if is_simulator() else types.boolean


def _checked(module: Any) -> Any:
    """`checked(value, ok, status, word)`: value; a failed check lowers the status word to `word`, so the first failure is reported."""

    def checked(value, ok, status, word):  # type: ignore[no-untyped-def]
        if not ok:
            module.atomic.min(status, 0, word)
        return value

    # the simulator finds `cuda` among a function's globals and replaces it there, not in closures
    namespace = {"module": module, "__name__": "graphflow.generated"}
    function = type(checked)(_global_names(checked.__code__), namespace, "checked")
    return module.jit(device=True)(function)


def _global_names(code: Any) -> Any:
    return code
