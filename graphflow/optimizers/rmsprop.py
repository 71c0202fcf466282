"""RMSprop."""

from __future__ import annotations

from typing import Any

from ..math import sqrt
from ..ops.rules import number
from ..tensor import Tensor
from ..variable import Variable
from .optimizer import LearningRate, Optimizer

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """`v = rho * v + (1 - rho) * g * g; w -= lr * g / sqrt(v + epsilon)`.

    `centered` takes the square of the average gradient off v in the root; with `momentum` steps build up a velocity.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
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
        super().__init__(
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name,
        )  # fmt: skip
        self.rho = number("RMSprop", "rho", rho)
        self.momentum = number("RMSprop", "momentum", momentum)
        self.epsilon = number("RMSprop", "epsilon", epsilon)
        self.centered = centered
        self.slot_names = ("velocity", *(["momentum"] if momentum else []), *(["average_gradient"] if centered else []))

    def update(self, gradient: Tensor, variable: Variable, step: Any) -> None:
        """Move along the gradient over the root of its running mean square."""
        velocity = self.slot(variable, "velocity")
        mean_square = velocity * self.rho + gradient * gradient * (1 - self.rho)
        velocity.assign(mean_square)
        if self.centered:
            average = self.slot(variable, "average_gradient")
            mean = average * self.rho + gradient * (1 - self.rho)
            average.assign(mean)
            mean_square = mean_square - mean * mean
        increment = gradient * step / sqrt(mean_square + self.epsilon)
        if self.momentum:
            momentum = self.slot(variable, "momentum")
            increment = momentum * self.momentum + increment
            momentum.assign(increment)
        variable.assign_sub(increment)
