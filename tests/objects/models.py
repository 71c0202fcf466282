"""Functions and classes that the tests pickle: another process finds them by importing this module."""

from __future__ import annotations

import dataclasses

import graphflow as gf

SCALE = 2.0
OFFSET = gf.Variable([1.0, 2.0], name="offset")
TRACED: list[str] = []


@dataclasses.dataclass
class Settings:
    rate: float = 0.5


SETTINGS = Settings()


def helper(x):
    return x * SETTINGS.rate


@gf.function
def scaled(x, power=2):
    return helper(x) * SCALE + OFFSET * power


def plain(x):
    return x + SCALE


compiled = gf.function(plain)


class Dense(gf.Module):
    def __init__(self, inputs, outputs, name=None):
        super().__init__(name)
        self.outputs = outputs
        with self.name_scope:
            self.w = gf.Variable(gf.ones((inputs, outputs)) * 0.5, name="w")
            self.b = gf.Variable(gf.zeros((outputs,)), name="b", trainable=False)

    @gf.function
    def __call__(self, x):
        return gf.math.tanh(x @ self.w + self.b)


class Network(gf.Module):
    def __init__(self):
        super().__init__()
        self.rate = 0.25
        with self.name_scope:
            self.layers = [Dense(2, 3, "first"), Dense(3, 1, "second")]
        self.shared = {"again": self.layers[0]}

    @gf.function
    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x * self.rate

    @gf.function
    def step(self, x):
        with gf.GradientTape() as tape:
            loss = gf.reduce_sum(self(x))
        for variable, gradient in zip(
            self.trainable_variables, tape.gradient(loss, self.trainable_variables), strict=True
        ):
            variable.assign_sub(gradient * self.rate)
        return loss

    @classmethod
    @gf.function
    def of_class(cls, x):
        return x + 1.0
