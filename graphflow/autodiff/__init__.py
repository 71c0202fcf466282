"""Differentiation: reverse mode (tape), forward mode (forward), control flow (control)."""

from __future__ import annotations

from typing import Any

__all__ = ["ForwardAccumulator", "GradientTape"]


def __getattr__(name: str) -> Any:
    # loaded when used: the parts need the tensor layer, which needs this package's records
    if name == "ForwardAccumulator":
        from .forward import ForwardAccumulator

        return ForwardAccumulator
    if name == "GradientTape":
        from .tape import GradientTape

        return GradientTape
    raise AttributeError(f"module 'graphflow.autodiff' has no attribute {name!r}")
