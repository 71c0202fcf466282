"""The one place that knows which CUDA there is: numba-cuda, Numba's simulator, or none.

numba-cuda installs itself as `numba.cuda`; with NUMBA_ENABLE_CUDASIM=1 in the environment before Numba is imported that
name is a simulator in plain Python. Nothing else in graphflow imports `numba.cuda`, except the primitives.
"""

from __future__ import annotations

import importlib
import importlib.util
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
    return importlib.import_module("numba.cuda")


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
