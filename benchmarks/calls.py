"""What a call of a compiled function costs beside its kernels: guards, forms of calls, the slow way.

`python benchmarks/calls.py` prints a table; `rows()` gives the same rows to other reports. Every figure is the least of
several runs, in microseconds of this process's own time, so that other programs disturb it little.
"""

from __future__ import annotations

import dataclasses
import time
import timeit
from collections.abc import Callable, Iterator

import numpy as np

import graphflow as gf

RATE, SHIFT, MODE = 1.5, 2.5, "mean"
SETTINGS = {"rate": 2.0, "count": 3}
LEVELS = [1.0, 2.0, 3.0]
TABLE = np.ones(16, "f4")


class Config:
    """Settings as attributes of a class."""

    gain = 1.0


class Holder:
    """Settings as attributes of an object."""

    def __init__(self) -> None:
        self.width, self.height = 3.0, 4


@dataclasses.dataclass
class Batch:
    """Two tensors in a dataclass."""

    inputs: object
    labels: object


def microseconds(run: Callable[[], object], number: int = 20_000, repeat: int = 7) -> float:
    """The least time of one run."""
    return min(timeit.repeat(run, number=number, repeat=repeat, timer=time.process_time)) / number * 1e6


def guarded() -> Callable[..., object]:
    """A function of five tensors that captures ten Python values: four globals (one a class's attribute), two
    containers, an array, a closure's variable and two attributes of an object."""
    holder, offset = Holder(), 5.0

    @gf.function
    def step(a: gf.Tensor, b: gf.Tensor, c: gf.Tensor, d: gf.Tensor, e: gf.Tensor) -> gf.Tensor:
        scale = RATE + SHIFT + (1.0 if MODE == "mean" else 0.0) + SETTINGS["rate"] + LEVELS[0] + Config.gain
        return a * (scale + holder.width + holder.height + offset) + b + c + d + e + TABLE

    return step


def rows() -> Iterator[tuple[str, float]]:
    """(what, microseconds a call)."""
    tensors = [gf.constant(np.ones(16, "f4")) for _ in range(5)]
    x = tensors[0]

    def warm(function: Callable[..., object], *args: object, **kwargs: object) -> float:
        for _ in range(4):
            function(*args, **kwargs)
        return microseconds(lambda: function(*args, **kwargs))

    step = guarded()
    cost = warm(step, *tensors)
    concrete = step.get_concrete_function(*tensors)
    native, arrays, out = concrete.binding((), {}).call, [t.numpy() for t in tensors], np.empty(16, "f4")
    bare = microseconds(lambda: native(*arrays, out))
    yield "bare native call, 5 arrays", bare
    yield "5 tensors", warm(gf.function(lambda a, b, c, d, e: a + b + c + d + e), *tensors)
    yield f"5 tensors, 10 captured Python values ({len(concrete.guards)} guards)", cost
    yield "the same, over the bare native call", cost - bare
    yield "1 tensor", warm(gf.function(lambda x: x * 2.0), x)
    yield "a keyword and a default", warm(gf.function(lambda x, y=1.0, *, z=2.0: x * y + z), x, z=3.0)
    yield (
        "nested tuples and dictionaries of 3 tensors",
        warm(gf.function(lambda d: d["a"][0] * d["b"]["c"] + d["a"][1]), {"a": (x, x), "b": {"c": x}}),
    )
    yield "a dataclass of 2 tensors", warm(gf.function(lambda b: b.inputs * b.labels), Batch(x, x))
    turns = gf.function(lambda x, k: x * k)
    for _ in range(4):
        turns(x, 1.0), turns(x, 2.0)
    yield "two signatures in turn", microseconds(lambda: (turns(x, 1.0), turns(x, 2.0))) / 2
    many = gf.function(lambda x: x * 2.0)
    inputs = [gf.constant(np.ones(n, "f4")) for n in range(3, 43)]
    for _ in range(3):
        for value in inputs:
            many(value)
    yield "40 extents in turn (the slow way)", microseconds(lambda: [many(v) for v in inputs], 200) / len(inputs)


def main() -> None:
    """Print the table."""
    for what, cost in rows():
        print(f"{what:60} {cost:8.2f} us")


if __name__ == "__main__":
    main()
