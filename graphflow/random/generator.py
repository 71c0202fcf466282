"""gf.random.Generator: a stream of draws whose state is a variable, so that draws in compiled functions, branches and
loops follow program order."""

from __future__ import annotations

import enum
import secrets
from typing import Any

import numpy as np

from .. import ops
from ..dtypes import float32, int32, int64, uint64
from ..errors import InvalidArgumentError, ShapeError
from ..ops.random import threefry
from ..tensor import Tensor, TensorLike, active_trace, as_dim, convert_to_tensor
from ..variable import Variable
from .draws import (
    Sampler,
    algorithm_of,
    dims_of,
    float_dtype,
    full_range,
    integer_rule,
    normal_of,
    take,
    total,
    truncated_of,
    uniform_dtype,
    uniform_of,
    wrapped,
)

__all__ = ["Algorithm", "Generator", "create_rng_state", "get_global_generator", "set_global_generator"]


class Algorithm(enum.Enum):
    """TensorFlow's names of generators. Every one of them means Threefry-2x32 here."""

    PHILOX = 1
    THREEFRY = 2
    AUTO_SELECT = 3


def create_rng_state(seed: Any, alg: Any = None) -> np.ndarray[Any, Any]:
    """The state (counter, key) that begins the stream of a seed: an int of any size, or a sequence of ints."""
    algorithm_of(alg, "create_rng_state")
    key: Any = np.uint64(0)
    for number in np.atleast_1d(np.asarray(seed, dtype=object)).reshape(-1):
        value = int(number)
        while True:  # 64 bits at a time
            key = threefry(key, np.uint64(value & (2**64 - 1)))[()]
            value >>= 64
            if value in (0, -1):
                break
    return np.array([0, wrapped(int(key))], np.int64)


class Generator:
    """A stream of draws: each continues where the last ended.

    state: a variable, int64 [2]: how many elements were drawn, and the key. Streams are made by from_seed, from_state,
    from_key_counter, from_non_deterministic_state and split.
    """

    def __init__(self, copy_from: Generator | None = None, state: Any = None, alg: Any = None) -> None:
        if (copy_from is None) == (state is None):
            raise InvalidArgumentError("Generator: needs either copy_from or state")
        algorithm_of(alg, "Generator")
        start = copy_from.state.read_value() if copy_from is not None else _state_of(state, "Generator")
        self._state = Variable(start, trainable=False, name="generator_state", dtype=int64)

    @classmethod
    def from_seed(cls, seed: Any, alg: Any = None) -> Generator:
        """The stream that begins with a seed: an int, or several."""
        return cls(state=create_rng_state(seed, alg))

    @classmethod
    def from_state(cls, state: Any, alg: Any = None) -> Generator:
        """The stream that goes on from a state: int64 [2], or [3] as TensorFlow's Philox states (counter, counter, key)."""
        return cls(state=state, alg=alg)

    @classmethod
    def from_key_counter(cls, key: Any, counter: Any, alg: Any = None) -> Generator:
        """The stream of a key (one integer) at a counter: one integer, or two, the upper one last."""
        return cls(state=_from_key_counter(key, counter), alg=alg)

    @classmethod
    def from_non_deterministic_state(cls, alg: Any = None) -> Generator:
        """A stream that differs from run to run (the operating system's random bits)."""
        return cls(state=create_rng_state(secrets.randbits(128), alg))

    # State ------------------------------------------------------------------------------------------------------------
    @property
    def state(self) -> Variable:
        """The variable that holds the state."""
        return self._state

    @property
    def key(self) -> Tensor:
        """The key: what tells streams apart."""
        found: Tensor = self._state.read_value()[1]
        return found

    @property
    def algorithm(self) -> int:
        """The number of the algorithm in TensorFlow's list."""
        return int(Algorithm.THREEFRY.value)

    def reset(self, state: Any) -> None:
        """Go on from this state."""
        self._state.assign(_state_of(state, "reset"))

    def reset_from_seed(self, seed: Any) -> None:
        """Begin again with a seed."""
        self._state.assign(convert_to_tensor(create_rng_state(seed)))

    def reset_from_key_counter(self, key: Any, counter: Any) -> None:
        """Go on with this key and counter."""
        self._state.assign(_state_of(_from_key_counter(key, counter), "reset_from_key_counter"))

    def skip(self, delta: Any) -> None:
        """Move on as after drawing `delta` elements of any distribution."""
        if isinstance(delta, TensorLike) and convert_to_tensor(delta)._constant_dims() is None:
            step = ops.cast(ops.reshape(convert_to_tensor(delta), shape=(1,)), dtype=int64)
            none = convert_to_tensor(np.zeros(1, np.int64))
            self._state.assign(ops.add(self._state.read_value(), ops.concat(step, none, axis=0)))
        else:
            take(self._state, as_dim(delta))

    def make_seeds(self, count: Any = 1) -> Tensor:
        """Seeds for stateless draws: int64 [2, count], a column each."""
        (n,) = dims_of([count], "make_seeds")
        keys = full_range(take(self._state, n), (1, n), int64)
        zeros = ops.broadcast_to(convert_to_tensor(np.zeros((), np.int64)), shape=(1, n))
        found: Tensor = ops.concat(keys, zeros, axis=0)
        return found

    def split(self, count: int = 1) -> list[Generator]:
        """`count` streams that are independent of this one and of each other."""
        if active_trace.get() is not None:
            raise InvalidArgumentError("split: makes variables, so call it outside compiled functions")
        (n,) = dims_of([count], "split")
        keys = full_range(take(self._state, n), (n,), int64)
        return [Generator(state=np.array([0, key], np.int64)) for key in keys.numpy()]

    # Draws ------------------------------------------------------------------------------------------------------------
    def _draw(self, shape: Any, label: str, sample: Sampler) -> Tensor:
        dims = dims_of(shape, label)
        return sample(take(self._state, total(dims)), dims)

    def normal(
        self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32, name: str | None = None
    ) -> Tensor:
        """Normal draws."""
        wanted = float_dtype(dtype, "Generator.normal")
        return self._draw(
            shape, "Generator.normal", lambda s, d: normal_of(s, d, mean, stddev, wanted, "Generator.normal")
        )

    def truncated_normal(
        self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = float32, name: str | None = None
    ) -> Tensor:
        """Normal draws within two standard deviations of the mean."""
        label = "Generator.truncated_normal"
        wanted = float_dtype(dtype, label)
        return self._draw(shape, label, lambda s, d: truncated_of(s, d, mean, stddev, wanted, label))

    def uniform(
        self, shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = float32, name: str | None = None
    ) -> Tensor:
        """Uniform draws in [minval, maxval); integers need maxval."""
        label = "Generator.uniform"
        wanted = uniform_dtype(dtype, label)
        integer_rule(wanted, minval, maxval, label, whole_range=False, unsigned_range=True)
        return self._draw(shape, label, lambda s, d: uniform_of(s, d, minval, maxval, wanted, label))

    def uniform_full_int(self, shape: Any, dtype: Any = uint64, name: str | None = None) -> Tensor:
        """Integers of the dtype's whole range."""
        wanted = uniform_dtype(dtype, "uniform_full_int")
        if not wanted.is_integer:
            raise InvalidArgumentError(f"uniform_full_int: draws integers, got {wanted.name}")
        return self._draw(shape, "uniform_full_int", lambda s, d: full_range(s, d, wanted))

    def binomial(self, shape: Any, counts: Any, probs: Any, dtype: Any = int32, name: str | None = None) -> Tensor:
        """How many of `counts` trials succeed that do so with probability `probs`; both broadcast to shape."""
        from .counts import binomial_of

        return self._draw(
            shape, "Generator.binomial", lambda s, d: binomial_of(s, d, counts, probs, dtype, "Generator.binomial")
        )

    def __repr__(self) -> str:
        return f"<gf.random.Generator {self._state.name}>"


def _state_of(state: Any, label: str) -> Tensor:
    """A state argument as int64 [2]."""
    tensor = convert_to_tensor(state, None if isinstance(state, (TensorLike, np.ndarray)) else int64)
    if not tensor.dtype.is_integer or tuple(tensor.dims) not in ((2,), (3,)):
        raise ShapeError(f"{label}: a state is int64 [2], got {tensor.type}")
    if tensor.dtype is not int64:
        tensor = ops.cast(tensor, dtype=int64)
    if tuple(tensor.dims) == (3,):
        array = tensor.numpy()
        return convert_to_tensor(_from_key_counter(array[2], array[:2]))
    return tensor


def _from_key_counter(key: Any, counter: Any) -> np.ndarray[Any, Any]:
    number = int(np.asarray(key).reshape(-1)[0])
    places = [int(n) for n in np.atleast_1d(np.asarray(counter))]
    for upper in places[1:]:  # a counter's upper word gets a stream of its own
        if upper:
            number = int(threefry(np.uint64(number & (2**64 - 1)), np.uint64(upper & (2**64 - 1))))
    return np.array([wrapped(places[0]), wrapped(number)], np.int64)


_global: list[Generator] = []


def get_global_generator() -> Generator:
    """The generator of the whole program; made non-deterministically at the first use."""
    if not _global:
        token = active_trace.set(None)
        try:
            _global.append(Generator.from_non_deterministic_state())
        finally:
            active_trace.reset(token)
    return _global[0]


def set_global_generator(generator: Generator) -> None:
    """Make it the program's generator. Functions compiled before go on with the one they captured."""
    if not isinstance(generator, Generator):
        raise InvalidArgumentError(f"set_global_generator: needs a gf.random.Generator, got {generator!r}")
    _global[:] = [generator]
