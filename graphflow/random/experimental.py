"""gf.random.experimental: TensorFlow's second home of some names."""

from __future__ import annotations

from ..arguments import guard
from .choices import stateless_shuffle
from .generator import Algorithm, Generator, create_rng_state, get_global_generator, set_global_generator
from .stateless import fold_in as stateless_fold_in
from .stateless import split as stateless_split

__all__ = [
    "Algorithm",
    "Generator",
    "create_rng_state",
    "get_global_generator",
    "set_global_generator",
    "stateless_fold_in",
    "stateless_shuffle",
    "stateless_split",
]

guard("gf.random.experimental", globals(), __all__)
