"""gf.random: draws by a counter-based generator (Threefry-2x32 with 20 rounds), the same bits in eager mode and in graphs,
whatever is fused and however many threads run. See docs/random.md."""

from __future__ import annotations

import importlib
from typing import Any

from ..arguments import guard
from . import experimental
from .choices import stateless_categorical, stateless_shuffle
from .counts import stateless_binomial, stateless_poisson
from .gamma import stateless_gamma
from .generator import Algorithm, Generator, create_rng_state, get_global_generator, set_global_generator
from .stateful import categorical, gamma, normal, poisson, set_seed, shuffle, truncated_normal, uniform
from .stateless import fold_in, split, stateless_normal, stateless_truncated_normal, stateless_uniform
from .truncated import stateless_parameterized_truncated_normal

__all__ = [
    "Algorithm",
    "Generator",
    "all_candidate_sampler",
    "categorical",
    "create_rng_state",
    "experimental",
    "fixed_unigram_candidate_sampler",
    "fold_in",
    "gamma",
    "get_global_generator",
    "log_uniform_candidate_sampler",
    "normal",
    "poisson",
    "set_global_generator",
    "set_seed",
    "shuffle",
    "split",
    "stateless_binomial",
    "stateless_categorical",
    "stateless_gamma",
    "stateless_normal",
    "stateless_parameterized_truncated_normal",
    "stateless_poisson",
    "stateless_shuffle",
    "stateless_truncated_normal",
    "stateless_uniform",
    "truncated_normal",
    "uniform",
    "uniform_candidate_sampler",
]


def __getattr__(name: str) -> Any:
    # candidate samplers are built on the draws above, so they are loaded when they are asked for
    if not name.endswith("_candidate_sampler") or name not in __all__:
        raise AttributeError(f"module 'graphflow.random' has no attribute {name!r}")
    sampling = vars(importlib.import_module("..functions.sampling", __name__))
    guard("gf.random", sampling, [name])
    return sampling[name]


guard("gf.random", globals(), __all__)
