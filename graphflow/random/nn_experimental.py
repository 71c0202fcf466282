"""gf.nn.experimental."""

from __future__ import annotations

from ..arguments import guard
from .dropout import general_dropout, stateless_dropout

__all__ = ["general_dropout", "stateless_dropout"]

guard("gf.nn.experimental", globals(), __all__)
