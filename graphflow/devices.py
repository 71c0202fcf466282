"""Devices: names, what is there, and `gf.device` scopes."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from .errors import InvalidArgumentError

__all__ = ["PhysicalDevice", "canonical_device", "device", "list_physical_devices", "requested_device"]

#: the innermost `gf.device` scope's canonical device name ("CPU:0", "GPU:0"), or None
requested_device: ContextVar[str | None] = ContextVar("graphflow_device", default=None)

_NAME = re.compile(r"^(?:/job:localhost/replica:0/task:0)?/?(?:device:)?(CPU|GPU|cpu|gpu)(?::(\d+))?$")


@dataclass(frozen=True)
class PhysicalDevice:
    """A device of this machine."""

    name: str
    device_type: str


def canonical_device(name: str) -> str:
    """ "/GPU:0", "gpu", "/device:GPU:0" -> "GPU:0". Raises InvalidArgumentError for anything else."""
    match = _NAME.match(name)
    if match is None:
        raise InvalidArgumentError(f"device {name!r} is not a device name; use '/CPU:0' or '/GPU:0'")
    return f"{match.group(1).upper()}:{match.group(2) or 0}"


@contextmanager
def device(device_name: str | None) -> Iterator[None]:
    """Ops traced inside are placed on this device; None lifts an outer scope."""
    token = requested_device.set(None if device_name is None else canonical_device(device_name))
    try:
        yield
    finally:
        requested_device.reset(token)


def list_physical_devices(device_type: str | None = None) -> list[PhysicalDevice]:
    """The devices that graphs can be placed on, of one type ("CPU", "GPU") or all. Asking for GPUs loads Numba."""
    found = []
    if device_type in (None, "CPU"):
        found.append(PhysicalDevice("/physical_device:CPU:0", "CPU"))
    if device_type in (None, "GPU"):
        # by name: the layers below may not import the runtime, and nothing of it is loaded before somebody asks
        available = importlib.import_module(".runtime.cuda.available", __package__)
        if available.is_available():
            found.append(PhysicalDevice("/physical_device:GPU:0", "GPU"))
    return found
