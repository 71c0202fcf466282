"""The smallest and largest integers as indices and sizes, known only to the run, inside fused kernels, loops and library routines:
a typed error or the right answer, in eager mode and in a graph of unknown extents; never memory of others."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf

X = np.arange(8, dtype=np.float32).reshape(4, 2)
INDEXED = {
    "gather": lambda x, i: gf.tanh(gf.gather(gf.exp(x) * 0.5, i) + 1.0),
    "gather_nd": lambda x, i: gf.tanh(gf.gather_nd(gf.exp(x), i[:, None])),
    "scatter_nd": lambda x, i: gf.scatter_nd(i[:, None], gf.exp(x)[:2], [4, 2]) + 1.0,
    "update": lambda x, i: gf.tensor_scatter_nd_update(x, i[:, None], gf.exp(x)[:2]),
    "a loop": lambda x, i: gf.while_loop(
        lambda n, a: n < 3, lambda n, a: (n + 1, a + gf.gather(x, i)[0]), [0, gf.zeros(2)]
    )[1],
    "slice": lambda x, i: gf.slice(x, gf.stack([i[1], gf.zeros([], i.dtype)]), [1, 2]),
}  # fmt: skip
SIZED = {
    "zeros": lambda k: gf.zeros([k]) + 1.0,
    "two extents": lambda k: gf.fill([k, k], 2.0) * 2.0,
    "tile": lambda k: gf.tile(gf.exp(gf.ones(3)), [k]),
    "one_hot": lambda k: gf.one_hot([0, 1], k),
    "broadcast": lambda k: gf.broadcast_to(gf.ones([1, 2]), [k, 2]) + 1.0,
    "a loop": lambda k: gf.while_loop(
        lambda n, a: n < 1, lambda n, a: (n + 1, a + gf.sort(gf.zeros([k]) + a)[0]), [0, 0.0]
    )[1],
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("name", INDEXED)
def test_indices(name, dtype):
    body = INDEXED[name]
    specs = [gf.TensorSpec([None, None]), gf.TensorSpec([2], dtype)]
    compiled = gf.function(body, autograph=False, input_signature=specs)
    limits = np.iinfo(dtype)
    for bad in (limits.min, limits.min + 1, limits.max, limits.max - 1, -1, 4, 2**30):
        for run in (body, compiled):
            with pytest.raises((gf.errors.IndexOutOfRangeError, gf.errors.ShapeError), match=r"\d"):
                run(gf.constant(X), gf.constant([0, bad] if name != "a loop" else [bad, 0], dtype))
    good = [gf.constant(X), gf.constant([3, 1], dtype)]
    assert compiled(*good).numpy().tobytes() == body(*good).numpy().tobytes()


@pytest.mark.parametrize("name", SIZED)
def test_sizes(name):
    body = SIZED[name]
    compiled = gf.function(body, autograph=False, input_signature=[gf.TensorSpec([], "int64")])
    for bad in (-1, -(2**31), -(2**62), -(2**63), 2**45, 2**61, 2**62, 2**62 + 2**61, 2**63 - 1):
        for run in (body, compiled):
            with pytest.raises(gf.errors.OpError):
                run(gf.constant(bad, "int64"))
    assert compiled(gf.constant(2, "int64")).numpy().tobytes() == body(gf.constant(2, "int64")).numpy().tobytes()


def test_fixed_sizes_of_unknown_extents():
    """What an eager call refuses by its shapes, a trace for unknown extents refuses when it runs: it reads nothing behind the array."""
    calls = [
        lambda x: gf.slice(x, [1, 0], [5, 2]), lambda x: gf.slice(x, [7, 0], [1, 2]), lambda x: gf.slice(x, [-1, 0], [1, 2]),
        lambda x: gf.split(x, [1, 9])[1], lambda x: gf.math.top_k(x, 5)[0], lambda x: x[7], lambda x: gf.unstack(x, 9)[8],
    ]  # fmt: skip
    for call in calls:
        compiled = gf.function(call, autograph=False, input_signature=[gf.TensorSpec([None, None])])
        for run in (call, compiled):
            with pytest.raises(gf.errors.InvalidArgumentError):
                run(gf.constant(X))


def test_nan_as_an_index_is_0():
    """A cast of NaN is 0 and of infinity the largest integer: the index is checked after that."""

    def body(x, n):
        return gf.gather(x, gf.cast(n, "int32"))

    for run in (body, gf.function(body)):
        assert run(gf.constant(X), gf.constant([np.nan])).numpy().tolist() == [[0, 1]]
        with pytest.raises(gf.errors.IndexOutOfRangeError, match="2147483647"):
            run(gf.constant(X), gf.constant([np.inf]))
