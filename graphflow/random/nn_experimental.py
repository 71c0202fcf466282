"""gf.nn.experimental."""

from __future__ import annotations

from .dropout import general_dropout, stateless_dropout

__all__ = ["general_dropout", "stateless_dropout"]
