"""Optimizers and learning-rate schedules with Keras' names, arguments and update rules.

They are written with variables and math functions alone. So a step inside `@gf.function` becomes nodes of its graph
like any other and is fused with the gradients that feed it, and the same step outside runs eagerly to the same bits.
"""

from ..arguments import guard
from . import schedules
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "schedules"]

guard("gf.optimizers", globals(), __all__)
