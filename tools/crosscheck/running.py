"""Runs a case on one side: its results, and its gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.public.calls import leaves

from .cases import Case


@dataclass
class Outcome:
    """What one side gives: arrays, or the exception; and for each input a gradient (None, or an array), or the exception."""

    arrays: list[Any] = field(default_factory=list)
    error: Exception | None = None
    gradients: list[Any] = field(default_factory=list)
    gradient_error: Exception | None = None


def run(module: Any, function: Callable[..., Any], arrays: tuple[Any, ...], gradients: bool = True) -> Outcome:
    """The outcome on one side. The gradient is that of the sum of all float results with fixed weights."""
    found = Outcome()
    try:
        tensors = [module.constant(a) for a in arrays]
        sources = [t for t in tensors if t.dtype.is_floating or t.dtype.is_complex]
        with module.GradientTape() as tape:
            for source in sources:
                tape.watch(source)
            result = function(*tensors)
        targets = [module.convert_to_tensor(v) for v in leaves(result)]
        found.arrays = [np.asarray(t) for t in targets]
    except Exception as error:  # what the side gives
        found.error = error
        return found
    targets = [t for t in targets if t.dtype.is_floating or t.dtype.is_complex]
    if not gradients or not sources or not targets:
        return found
    try:
        weights = [module.constant(weights_of(np.asarray(t))) for t in targets]
        gradients = tape.gradient(targets, sources, output_gradients=weights)
        found.gradients = [None if g is None else np.asarray(module.convert_to_tensor(g)) for g in gradients]
    except Exception as error:  # what the side gives
        found.gradient_error = error
    return found


def weights_of(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Fixed weights of an array's shape and dtype, none near 0."""
    phases = np.arange(array.size).reshape(array.shape) * 0.7 + 0.3
    values = 1.25 + np.cos(phases)
    return (values + 0.5j * np.sin(phases) if array.dtype.kind == "c" else values).astype(array.dtype)


def compiled(module: Any, case: Case, function: Callable[..., Any]) -> Outcome:
    """The outcome of the same function compiled, without gradients."""
    found = Outcome()
    try:
        result = module.function(function)(*[module.constant(a) for a in case.arrays])
        found.arrays = [np.asarray(module.convert_to_tensor(v)) for v in leaves(result)]
    except Exception as error:  # what the side gives
        found.error = error
    return found
