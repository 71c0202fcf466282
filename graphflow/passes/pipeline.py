"""The passes, in order."""

from __future__ import annotations

from .canonicalise import canonicalise
from .fold_constants import fold_constants
from .forward_state import forward_state
from .fuse import fuse
from .merge_common import merge_common
from .place_devices import place_devices
from .remove_dead import remove_dead

__all__ = ["PIPELINE"]

PIPELINE = [
    place_devices,    # devices into the types, explicit copies
    forward_state,    # reads after a write see the written value; one write for each variable
    canonicalise,     # algebra that keeps the bits
    fold_constants,
    canonicalise,
    merge_common,
    remove_dead,
    fuse,             # loops
]  # fmt: skip
