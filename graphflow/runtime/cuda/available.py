"""The one place that knows which CUDA there is: numba-cuda, Numba's simulator, or none.

numba-cuda installs itself as `numba.cuda`; with NUMBA_ENABLE_CUDASIM=1 in the environment before Numba is imported that
name is a simulator in plain Python. Nothing else in graphflow imports `numba.cuda`, except the primitives.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any

from ...errors import FailedPreconditionError

__all__ = ["INSTALL", "cuda", "importable", "is_available", "is_simulator", "primitives"]

INSTALL = "pip install 'graphflow[cuda]'"


def importable() -> ModuleType | None:
    """numba-cuda's `numba.cuda`, or None where the package is not installed. (The deprecated copy inside Numba lacks
    types that the primitives need.) In the simulator, the simulator."""
    if not is_simulator() and importlib.util.find_spec("numba_cuda") is None:
        return None
    module = importlib.import_module("numba.cuda")
    if is_simulator():
        _serialise_shared_arrays()
    return module


@functools.cache
def _serialise_shared_arrays() -> None:
    """Make `cuda.shared.array` of Numba's simulator safe to call from the threads of a block at once.

    The simulator (0.68) looks the array up by the caller's line and makes it where it is missing, without a lock: two threads
    that come together get two arrays, and one's writes are lost (seen as a wrong argmax once in about ten loaded test runs).
    """
    import numpy as np
    from numba.cuda.simulator.kernelapi import FakeCUDAShared
    from numba.np import numpy_support

    lock = threading.Lock()
    unguarded = FakeCUDAShared.array

    def array(self: Any, shape: Any, dtype: Any) -> Any:
        if isinstance(shape, int) and shape == 0:  # dynamic shared memory: one buffer, made with the block
            return unguarded(self, shape, dtype)
        caller = sys._getframe(1)
        key = (caller.f_code.co_filename, caller.f_lineno)
        element = dtype if isinstance(dtype, (type, np.dtype)) else numpy_support.as_dtype(dtype)
        with lock:
            if key not in self._allocations:
                self._allocations[key] = np.empty(shape, element)
            return self._allocations[key]

    FakeCUDAShared.array = array


def is_simulator() -> bool:
    """Is `numba.cuda` the simulator? Decided by NUMBA_ENABLE_CUDASIM when Numba is imported."""
    from numba import config

    return bool(config.ENABLE_CUDASIM)


def is_available() -> bool:
    """Can kernels be launched in this process: on a GPU, or in the simulator?"""
    module: Any = importable()
    return module is not None and (is_simulator() or bool(module.is_available()))


def cuda() -> Any:
    """The `numba.cuda` module. Raises FailedPreconditionError, with the command that installs it, if no kernel could be
    launched."""
    if not is_available():
        error = FailedPreconditionError(
            "no CUDA GPU can be used here: it needs an NVIDIA GPU with its driver, and numba-cuda"
        )
        error.hint = f"{INSTALL}, or set NUMBA_ENABLE_CUDASIM=1 to run the kernels in Numba's simulator"
        raise error
    return importable()


def primitives() -> Any:
    """The module of primitives that printed kernels call: Numba intrinsics, or plain Python in the simulator."""
    name = "primitives_simulator" if is_simulator() else "primitives_device"
    return importlib.import_module(f".{name}", __package__)
