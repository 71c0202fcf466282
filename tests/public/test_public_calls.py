"""Each call of the table gives the same bits eagerly, compiled, and compiled once for unknown extents. Many calls are one function: one
compilation; a failure names the call."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf

from .calls import CALLS, VALUES, arguments_of, function_of, leaves

#: arrays whose extents a function must know: filters, shapes, square matrices
KNOWN = frozenset({"kernel", "kernel1", "kernel3", "depth", "flat", "mix", "shape2", "symmetric", "grouped", "square", "hermitian", "triangular"})
MANY = 40
NAMES = list(CALLS)
BATCHES = {f"{NAMES[k]} ...": NAMES[k : k + MANY] for k in range(0, len(NAMES), MANY)}
batches = pytest.mark.parametrize("batch", BATCHES)


def bits(found):
    """dtype, shape and bits of each tensor of a result; every NaN counts as one."""
    parts = []
    for value in leaves(found):
        array = np.asarray(value)
        if array.dtype.kind == "f":
            array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
        parts.append((value.dtype, tuple(value.shape), array.tobytes()))
    return parts


def calls_of(batch):
    """The batch as a function of a dictionary of arrays that returns a list of results, and the dictionary."""
    own = [(name, arguments_of(CALLS[name]), function_of(CALLS[name], gf)[0]) for name in BATCHES[batch]]

    def every(arrays):
        results = []
        for name, names, function in own:
            try:
                results.append(function(*[arrays[n] for n in names]))
            except Exception as error:
                error.add_note(f"in the call {name}")
                raise
        return results

    return every, {name: gf.constant(VALUES[name]) for _, names, _ in own for name in names}


def differing(batch, found, expected):
    return [name for name, a, b in zip(BATCHES[batch], found, expected, strict=True) if bits(a) != bits(b)]


@batches
def test_compiled_calls_give_the_bits_of_eager_ones(batch):
    every, arrays = calls_of(batch)
    expected = every(arrays)
    assert all(bits(result) for result in expected)
    assert differing(batch, gf.function(every)(arrays), expected) == []


@batches
def test_one_trace_for_unknown_extents_gives_the_same(batch):
    every, arrays = calls_of(batch)
    specs = {}
    for name, tensor in arrays.items():
        free = 0 if name in KNOWN else min(len(tensor.shape), 1)
        specs[name] = gf.TensorSpec([None] * free + list(tensor.shape[free:]), tensor.dtype)
    assert differing(batch, gf.function(every, input_signature=[specs])(arrays), every(arrays)) == []
