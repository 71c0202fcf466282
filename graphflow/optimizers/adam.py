"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

from ..dtypes import DType, complex64, float32, float64
from ..math import cast, maximum, sqrt
from ..math import pow as power
from ..ops.rules import number
from ..tensor import Tensor, convert_to_tensor
from ..variable import Variable
from .optimizer import LearningRate, Optimizer

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2014), as Keras writes it: epsilon is added to the root before the bias is corrected.

        m += (g - m) * (1 - beta_1)
        v += (g * g - v) * (1 - beta_2)
        w -= m * (lr * sqrt(1 - beta_2^t) / (1 - beta_1^t)) / (sqrt(v) + epsilon)

    With `amsgrad` the largest v so far stands in the root.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
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
        for label, value in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= value < 1:
                raise ValueError(f"Adam: {label} must be at least 0 and below 1, got {value}")
        super().__init__(
            learning_rate, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum,
            ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name,
        )  # fmt: skip
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = number("Adam", "epsilon", epsilon)
        self.amsgrad = amsgrad
        self.slot_names = ("momentum", "velocity", "velocity_hat") if amsgrad else ("momentum", "velocity")

    def step_values(self, rate: Tensor, dtype: DType) -> Any:
        """The rate with the bias of both averages corrected, computed once for all variables of one dtype (in float32 for narrow
        floats: in bfloat16 a beta of 0.999 is 1.0, and so would be its powers)."""
        wide = float32 if dtype.is_narrow or dtype is complex64 else float64 if dtype.is_complex else dtype
        step = self.step_number(wide)
        first = power(convert_to_tensor(self.beta_1, wide), step)
        second = power(convert_to_tensor(self.beta_2, wide), step)
        return cast(cast(rate, wide) * sqrt(1.0 - second) / (1.0 - first), dtype)

    def update(self, gradient: Tensor, variable: Variable, step: Any) -> None:
        """Move both averages towards the gradient and its square, and the variable against their quotient."""
        momentum, velocity = self.slot(variable, "momentum"), self.slot(variable, "velocity")
        old_momentum, old_velocity = momentum.value(), velocity.value()
        new_momentum = old_momentum + (gradient - old_momentum) * (1 - self.beta_1)
        new_velocity = old_velocity + (gradient * gradient - old_velocity) * (1 - self.beta_2)
        momentum.assign(new_momentum)
        velocity.assign(new_velocity)
        if self.amsgrad:
            largest = self.slot(variable, "velocity_hat")
            new_velocity = maximum(largest, new_velocity)
            largest.assign(new_velocity)
        variable.assign_sub(new_momentum * step / (sqrt(new_velocity) + self.epsilon))


class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter, 2017).

    `w -= weight_decay * lr * w` comes before each update.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
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
            learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema,
            ema_momentum, ema_overwrite_frequency, loss_scale_factor, gradient_accumulation_steps, name,
        )  # fmt: skip
