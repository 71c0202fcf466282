"""Gradient descent, with momentum if asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from ..variable import Variable
from .optimizer import LearningRate, Optimizer

__all__ = ["SGD"]


class SGD(Optimizer):
    """`w -= lr * g`. With momentum `v = mu * v - lr * g; w += v`, and with Nesterov's `w += mu * v - lr * g` instead.

    Raises `ValueError` for a momentum outside 0..1.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        if not 0 <= momentum <= 1:
            raise ValueError(f"SGD: momentum must lie between 0 and 1, got {momentum}")
        super().__init__(
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name,
        )  # fmt: skip
        self.momentum = momentum
        self.nesterov = nesterov
        self.slot_names = ("momentum",) if momentum else ()

    def keeps_untouched(self, step: Any) -> bool:
        """Without momentum, where the rate is not negative and finite: w - 0.0 is w."""
        unmoved = (0 * step).numpy()
        return not self.momentum and bool(unmoved == 0) and not np.signbit(unmoved)

    def update(self, gradient: Tensor, variable: Variable, step: Any) -> None:
        """Move against the gradient, or with the velocity that it changes."""
        descent = gradient * step
        if not self.momentum:
            variable.assign_sub(descent)
            return
        momentum = self.slot(variable, "momentum")
        velocity = momentum * self.momentum - descent
        momentum.assign(velocity)
        variable.assign_add(velocity * self.momentum - descent if self.nesterov else velocity)
