"""Importing this fills the table."""

from . import arithmetic, conditionals, failures, loops, state

__all__ = ["arithmetic", "conditionals", "failures", "loops", "state"]
