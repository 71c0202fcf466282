"""gf.random, first cut: draws made at once by NumPy's Philox generator, for initial values and data.

A draw is not an op yet, so inside a traced function these raise UnimplementedError instead of freezing one draw into
the graph. Variable initialisers run outside the trace and may use them.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from .dtypes import DType, as_dtype, float32, float64
from .errors import DTypeError, InvalidArgumentError, UnimplementedError
from .tensor import Tensor, TensorLike, active_trace, as_shape

__all__ = ["Generator", "normal", "set_seed", "stateless_normal", "stateless_uniform", "uniform"]


def _seeded(seed: Any) -> np.random.Generator:
    """The Philox generator of a seed: an int, or TensorFlow's pair of ints."""
    numbers = np.atleast_1d(seed.numpy() if isinstance(seed, TensorLike) else np.asarray(seed))  # type: ignore[attr-defined]
    if numbers.dtype.kind not in "iu" or numbers.size not in (1, 2):
        raise InvalidArgumentError(f"random: a seed is an int or two ints, got {seed!r}")
    key = [int(n) & (2**64 - 1) for n in numbers]
    return np.random.Generator(np.random.Philox(key=np.array([*key, 0][:2], np.uint64)))


def _extents(shape: Any) -> tuple[int, ...]:
    if active_trace.get() is not None:
        raise UnimplementedError(
            "random: drawing inside a traced function is not supported yet; draw outside and pass the tensor in"
        )
    return tuple(int(d) for d in as_shape(shape))  # type: ignore[arg-type]


def _draw_normal(generator: np.random.Generator, shape: Any, mean: float, stddev: float, dtype: Any) -> Tensor:
    extents, wanted = _extents(shape), as_dtype(dtype)
    if wanted not in (float32, float64):
        raise DTypeError(f"random: normal draws are float32 or float64, got {wanted.name}")
    values = generator.standard_normal(extents, dtype=wanted.numpy)
    return _tensor(values * wanted.numpy.type(stddev) + wanted.numpy.type(mean), wanted)


def _draw_uniform(generator: np.random.Generator, shape: Any, minval: Any, maxval: Any, dtype: Any) -> Tensor:
    extents, wanted = _extents(shape), as_dtype(dtype)
    if wanted.is_integer:
        if maxval is None:
            raise InvalidArgumentError("random: integer draws need maxval")
        if not int(minval) < int(maxval):
            raise InvalidArgumentError(f"random: needs minval < maxval, got {minval} and {maxval}")
        return _tensor(generator.integers(int(minval), int(maxval), extents, dtype=wanted.numpy), wanted)
    if wanted not in (float32, float64):
        raise DTypeError(f"random: uniform draws are float32, float64 or integers, got {wanted.name}")
    low, high = wanted.numpy.type(minval), wanted.numpy.type(1 if maxval is None else maxval)
    values = generator.random(extents, dtype=wanted.numpy) * (high - low) + low
    # rounding can reach the upper end, which is not part of the interval
    return _tensor(np.where(values < high, values, np.nextafter(high, low)), wanted)


def _tensor(values: Any, dtype: DType) -> Tensor:
    return Tensor(np.ascontiguousarray(values, dtype.numpy).reshape(np.shape(values)), dtype)


def stateless_normal(
    shape: Any, seed: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = float32, name: str | None = None
) -> Tensor:
    """Normal draws that depend on shape, dtype and seed (an int or two) alone."""
    return _draw_normal(_seeded(seed), shape, mean, stddev, dtype)


def stateless_uniform(
    shape: Any, seed: Any, minval: Any = 0, maxval: Any = None, dtype: Any = float32, name: str | None = None
) -> Tensor:
    """Uniform draws in [minval, maxval) that depend on shape, dtype and seed alone. Integer dtypes need maxval."""
    return _draw_uniform(_seeded(seed), shape, minval, maxval, dtype)


class Generator:
    """A stream of draws: each continues where the last ended."""

    def __init__(self, seed: Any) -> None:
        self._generator = _seeded(seed)
        self._lock = threading.Lock()

    @classmethod
    def from_seed(cls, seed: Any) -> Generator:
        """The stream that begins with this seed."""
        return cls(seed)

    @classmethod
    def from_non_deterministic_state(cls) -> Generator:
        """A stream that differs from run to run."""
        return cls(np.random.SeedSequence().generate_state(2, np.uint64))

    def normal(
        self, shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = float32, name: str | None = None
    ) -> Tensor:
        """Normal draws."""
        with self._lock:
            return _draw_normal(self._generator, shape, mean, stddev, dtype)

    def uniform(
        self, shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = float32, name: str | None = None
    ) -> Tensor:
        """Uniform draws in [minval, maxval)."""
        with self._lock:
            return _draw_uniform(self._generator, shape, minval, maxval, dtype)


_global = Generator.from_non_deterministic_state()


def set_seed(seed: int) -> None:
    """Restart the stream of gf.random.normal and gf.random.uniform at this seed."""
    global _global
    _global = Generator(seed)


def normal(
    shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = float32, seed: Any = None, name: str | None = None
) -> Tensor:
    """Normal draws of the global stream (see set_seed), or of one that begins with `seed`."""
    return (_global if seed is None else Generator(seed)).normal(shape, mean, stddev, dtype)


def uniform(
    shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = float32, seed: Any = None, name: str | None = None
) -> Tensor:
    """Uniform draws in [minval, maxval) of the global stream, or of one that begins with `seed`."""
    return (_global if seed is None else Generator(seed)).uniform(shape, minval, maxval, dtype)
