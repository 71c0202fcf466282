"""Adagrad."""

from __future__ import annotations

from typing import Any

from ..functions.array_ops import where
from ..math import sqrt
from ..ops.rules import number
from ..tensor import Tensor
from ..variable import Variable
from .optimizer import LearningRate, Optimizer

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """`a += g * g; w -= lr * g / sqrt(a + epsilon)`, with a starting at `initial_accumulator_value`.

    Elements whose gradient is 0 keep their bits, those of a and w, whatever these are. So rows of a large table that nobody looked
    up need not be touched (docs/gradients.md).
    """

    slot_names = ("accumulator",)

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
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
        self.initial_accumulator_value = number("Adagrad", "initial_accumulator_value", initial_accumulator_value)
        self.epsilon = number("Adagrad", "epsilon", epsilon)

    def initial_slot_value(self, name: str) -> float:
        """The accumulator's start."""
        return self.initial_accumulator_value

    def keeps_untouched(self, step: Any) -> bool:
        """Always."""
        return True

    def update(self, gradient: Tensor, variable: Variable, step: Any) -> None:
        """Move along the gradient over the root of the sum of its squares."""
        accumulator = self.slot(variable, "accumulator")
        unmoved = gradient == 0
        held, weights = accumulator.value(), variable.value()
        total = held + gradient * gradient
        moved = weights - gradient * step / sqrt(total + self.epsilon)
        accumulator.assign(where(unmoved, held, total))
        variable.assign(where(unmoved, weights, moved))
