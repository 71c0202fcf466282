"""gf.autograph.experimental: do_not_convert and set_loop_options, as TensorFlow has them."""

from __future__ import annotations

from .options import do_not_convert, set_loop_options

__all__ = ["do_not_convert", "set_loop_options"]
