"""Eager against compiled, bit for bit, with known and with symbolic extents; and gradients against central differences."""

from __future__ import annotations

import numpy as np

import graphflow as gf
from graphflow.ir.verify import verify
from graphflow.tree import flatten


def assert_same_bits(expected, found):
    """Two structures of tensors: the same dtypes, shapes and bits, and None in the same places."""
    expected, found = flatten(expected), flatten(found)
    assert len(expected) == len(found)
    for a, b in zip(expected, found, strict=True):
        if a is None or b is None:
            assert a is b
            continue
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes(), f"{a}\n{b}"


def check(function, *arrays, symbolic=True):
    """The function's eager result; the compiled function gives its bits, called three times (slow path, fast path), and
    with all extents symbolic."""
    tensors = [gf.constant(a) for a in arrays]
    expected = function(*tensors)
    compiled = gf.function(function)
    for _ in range(3):
        assert_same_bits(expected, compiled(*tensors))
    verify(compiled.get_concrete_function(*tensors).graph)
    if symbolic:
        specs = [gf.TensorSpec([None] * t.ndim, t.dtype) for t in tensors]
        general = gf.function(function, input_signature=specs)
        assert_same_bits(expected, general(*tensors))
        verify(general.get_concrete_function().graph)
    return expected


def gradient(function):
    """The function that gives the gradients of the sum of the function's results."""

    def backward(*tensors):
        with gf.GradientTape() as tape:
            tape.watch(tensors)
            y = function(*tensors)
        return tape.gradient(y, list(tensors))

    return backward


def squares(function):
    """The function that gives the sum of squares of the function's results, those that are not None."""
    return lambda *tensors: gf.add_n([gf.reduce_sum(g * g) for g in flatten(function(*tensors)) if g is not None])


def check_gradients(function, *arrays, second=True, symbolic=True):
    """First-order gradients have the eager bits and are right against central differences in float64; second-order ones
    too, up to rounding."""
    arrays = [np.asarray(a, np.float64) for a in arrays]
    found = check(gradient(function), *arrays, symbolic=symbolic)
    against_differences(squares(function), gradient(squares(function)), arrays)
    if second:
        once = squares(gradient(function))
        against_differences(once, gf.function(gradient(once)), arrays)
    return found


def against_differences(function, backward, arrays):
    found = backward(*[gf.constant(a) for a in arrays])
    for number, own in enumerate(found):
        own = np.zeros_like(arrays[number]) if own is None else np.asarray(own)
        numeric = np.zeros_like(own)
        for place in np.ndindex(own.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [a.copy() for a in arrays]
                moved[number][place] += step
                ends.append(float(function(*[gf.constant(a) for a in moved])))
            numeric[place] = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(own, numeric, rtol=2e-5, atol=2e-5)


def random(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)
