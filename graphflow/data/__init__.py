"""Data sets that ship with the package. `gf.data.digits.load()` is the one the demo trains on."""

from graphflow.data import digits

__all__ = ["digits"]
