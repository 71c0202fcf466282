"""Learning rates that follow the step: give one as an optimizer's `learning_rate`. Keras' names and formulas.

Each is called with the step (an int tensor, a variable or a Python int) and returns a float32 scalar tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..arguments import guard
from ..dtypes import float32
from ..errors import ArgumentError, UnimplementedError
from ..functions.array_ops import where
from ..math import cast, ceil, cos, floor, log, minimum
from ..math import pow as power
from ..ops.rules import number
from ..tensor import Tensor, convert_to_tensor

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
]


class LearningRateSchedule:
    """Base of the schedules: a subclass computes the rate from the step, given as float32."""

    def __call__(self, step: Any) -> Tensor:
        """The rate at `step`, a float32 scalar."""
        return self.rate(cast(convert_to_tensor(step), float32))

    def rate(self, step: Tensor) -> Tensor:
        """The rate at the float32 scalar `step`."""
        raise UnimplementedError(f"{type(self).__name__} does not say how its rate follows the step")

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({settings})"


def _positive(owner: str, name: str, value: float) -> float:
    if number(owner, name, value) <= 0:
        raise ArgumentError(f"{owner}: {name} must be positive, got {value}")
    return value


class ExponentialDecay(LearningRateSchedule):
    """`initial * decay_rate ^ (step / decay_steps)`; with `staircase` the exponent is a whole number."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.name = name
        self.initial_learning_rate = number("ExponentialDecay", "initial_learning_rate", initial_learning_rate)
        self.decay_steps = _positive("ExponentialDecay", "decay_steps", decay_steps)
        self.decay_rate = number("ExponentialDecay", "decay_rate", decay_rate)
        self.staircase = staircase

    def rate(self, step: Tensor) -> Tensor:
        """See the class."""
        passed = step / float(self.decay_steps)
        exponent = floor(passed) if self.staircase else passed
        return power(convert_to_tensor(self.decay_rate, float32), exponent) * self.initial_learning_rate


class InverseTimeDecay(LearningRateSchedule):
    """`initial / (1 + decay_rate * step / decay_steps)`; with `staircase` the quotient is a whole number."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.name = name
        self.initial_learning_rate = number("InverseTimeDecay", "initial_learning_rate", initial_learning_rate)
        self.decay_steps = _positive("InverseTimeDecay", "decay_steps", decay_steps)
        self.decay_rate = number("InverseTimeDecay", "decay_rate", decay_rate)
        self.staircase = staircase

    def rate(self, step: Tensor) -> Tensor:
        """See the class."""
        passed = step / float(self.decay_steps)
        quotient = floor(passed) if self.staircase else passed
        return convert_to_tensor(self.initial_learning_rate, float32) / (quotient * self.decay_rate + 1.0)


class PolynomialDecay(LearningRateSchedule):
    """From `initial` to `end` over `decay_steps` along `(1 - step / decay_steps) ^ power`, and `end` from then on; with `cycle` over
    the smallest multiple of `decay_steps` that is not below the step."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.name = name
        self.cycle = cycle
        self.initial_learning_rate = number("PolynomialDecay", "initial_learning_rate", initial_learning_rate)
        self.decay_steps = _positive("PolynomialDecay", "decay_steps", decay_steps)
        self.end_learning_rate = number("PolynomialDecay", "end_learning_rate", end_learning_rate)
        self.power = number("PolynomialDecay", "power", power)

    def rate(self, step: Tensor) -> Tensor:
        """See the class."""
        steps = float(self.decay_steps)
        if self.cycle:
            left = 1.0 - step / (where(step == 0, 1.0, ceil(step / steps)) * steps)
        else:
            left = 1.0 - minimum(step, steps) / steps
        return (
            power(left, float(self.power)) * (self.initial_learning_rate - self.end_learning_rate)
            + self.end_learning_rate
        )


class CosineDecay(LearningRateSchedule):
    """Half a cosine from `initial` (or, after a linear warm-up, from `warmup_target`) down to `alpha` times it over
    `decay_steps`, and there from then on. The warm-up takes `warmup_steps` from `initial` to `warmup_target`."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self.name = name
        self.initial_learning_rate = number("CosineDecay", "initial_learning_rate", initial_learning_rate)
        self.decay_steps = _positive("CosineDecay", "decay_steps", decay_steps)
        self.alpha = number("CosineDecay", "alpha", alpha)
        self.warmup_target = None if warmup_target is None else number("CosineDecay", "warmup_target", warmup_target)
        self.warmup_steps = number("CosineDecay", "warmup_steps", warmup_steps)

    def _decayed(self, step: Tensor, start: float) -> Tensor:
        passed = minimum(step, float(self.decay_steps)) / float(self.decay_steps)
        cosine = (cos(passed * math.pi) + 1.0) * 0.5
        return (cosine * (1.0 - self.alpha) + self.alpha) * start

    def rate(self, step: Tensor) -> Tensor:
        """See the class."""
        if self.warmup_target is None:
            return self._decayed(step, self.initial_learning_rate)
        rising = step / float(max(self.warmup_steps, 1)) * (self.warmup_target - self.initial_learning_rate)
        warm = rising + self.initial_learning_rate
        return where(
            step < float(self.warmup_steps), warm, self._decayed(step - float(self.warmup_steps), self.warmup_target)
        )


class CosineDecayRestarts(LearningRateSchedule):
    """Half a cosine from `initial` down to `alpha` times it over `first_decay_steps`, and again: each period is `t_mul` times as long
    as the one before, and starts from `m_mul` times its rate (Loshchilov and Hutter 2016, "SGDR")."""

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.name = name
        self.initial_learning_rate = number("CosineDecayRestarts", "initial_learning_rate", initial_learning_rate)
        self.first_decay_steps = _positive("CosineDecayRestarts", "first_decay_steps", first_decay_steps)
        self.t_mul = _positive("CosineDecayRestarts", "t_mul", t_mul)
        self.m_mul = number("CosineDecayRestarts", "m_mul", m_mul)
        self.alpha = number("CosineDecayRestarts", "alpha", alpha)

    def rate(self, step: Tensor) -> Tensor:
        """See the class. With t_mul other than 1, n periods take (t_mul^n - 1) / (t_mul - 1) times the first one."""
        passed = step / float(self.first_decay_steps)
        if self.t_mul == 1.0:
            period = floor(passed)
            passed = passed - period
        else:
            growth = convert_to_tensor(self.t_mul, float32)
            period = floor(log(1.0 - passed * (1.0 - self.t_mul)) / log(growth))
            length = power(growth, period)
            passed = (passed - (1.0 - length) / (1.0 - self.t_mul)) / length
        height = power(convert_to_tensor(self.m_mul, float32), period) * 0.5
        cosine = height * (cos(passed * math.pi) + 1.0)
        return (cosine * (1.0 - self.alpha) + self.alpha) * self.initial_learning_rate


class PiecewiseConstantDecay(LearningRateSchedule):
    """`values[0]` up to and with step `boundaries[0]`, `values[1]` up to `boundaries[1]`, and so on.

    There is one value more than boundaries.
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        self.name = name
        if len(values) != len(boundaries) + 1:
            raise ValueError(
                f"PiecewiseConstantDecay: needs one value more than boundaries, got {len(values)} and {len(boundaries)}"
            )
        if list(boundaries) != sorted(boundaries):
            raise ValueError(f"PiecewiseConstantDecay: boundaries must rise, got {list(boundaries)}")
        self.boundaries = list(boundaries)
        self.values = [number("PiecewiseConstantDecay", "a value", value) for value in values]

    def rate(self, step: Tensor) -> Tensor:
        """See the class."""
        found = convert_to_tensor(self.values[-1], float32)
        for boundary, value in zip(reversed(self.boundaries), reversed(self.values[:-1]), strict=True):
            found = where(step <= float(boundary), convert_to_tensor(value, float32), found)
        return found


guard("gf.optimizers.schedules", globals(), __all__)
