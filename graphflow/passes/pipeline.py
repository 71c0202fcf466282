"""The passes, in order."""

from __future__ import annotations

from .canonicalise import canonicalise
from .drop_custom_gradients import drop_custom_gradients
from .fold_constants import fold_constants
from .forward_state import forward_state
from .fuse import fuse
from .hoist_invariants import hoist_invariants
from .inline_calls import inline_calls
from .lower_complex import lower_complex
from .merge_common import merge_common
from .merge_loops import merge_loops
from .place_devices import place_devices
from .recompute_values import recompute_values
from .remove_dead import remove_dead
from .simplify_control import settle_control, simplify_control
from .update_rows import rows_last, update_rows
from .widen_narrow import widen_narrow

__all__ = ["PIPELINE"]

PIPELINE = [
    drop_custom_gradients,
    inline_calls,      # small functions, and those with one caller
    place_devices,     # devices into the types, explicit copies
    widen_narrow,      # float16 and bfloat16 are computed with in float32
    forward_state,     # reads after a write see the written value; one write for each variable
    lower_complex,     # complex numbers become pairs of real ones
    canonicalise,      # algebra that keeps the bits
    fold_constants,
    settle_control,    # branches and loops whose way is known
    canonicalise,
    hoist_invariants,  # what loops compute alike in each iteration
    merge_common,
    merge_loops,       # loops that larger ones compute too
    simplify_control,  # operands that merging made equal
    update_rows,       # a variable that changes in a few rows
    remove_dead,
    fuse,              # loops
    recompute_values,  # what is cheaper to compute again than to store
    rows_last,
]  # fmt: skip
