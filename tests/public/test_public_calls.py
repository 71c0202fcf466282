"""Each call of the table gives the same bits eagerly, compiled, and compiled once for unknown extents. Many calls are one function: one
compilation; a failure names the call."""

from __future__ import annotations

import re

import numpy as np
import pytest

import graphflow as gf

from .calls import CALLS, arguments_of, function_of, leaves

#: arrays whose extents a function must know: filters, shapes, square matrices
KNOWN = frozenset(
    {
        "kernel",
        "kernel1",
        "kernel3",
        "depth",
        "flat",
        "mix",
        "shape2",
        "symmetric",
        "grouped",
        "square",
        "hermitian",
        "triangular",
    }
)
#: functions that take long to compile: each call alone, because loops beside each other are fused, and LLVM's time grows with their square
LONG = re.compile(
    r"bessel|betainc|dawsn|digamma|erf|expint|fft|fresnel|gamma|logm|nce_loss|ndtri|sobol|spence|stft|zeta"
)
#: of the others, every so many make a batch: neighbours in the table are alike and would be fused
STRIDE = 60
SHORT = [name for name in CALLS if not LONG.search(name)]
BATCHES = {name: [name] for name in CALLS if LONG.search(name)} | {SHORT[k]: SHORT[k::STRIDE] for k in range(STRIDE)}
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
    """The batch as a function of a list of arguments for each call, which returns a list of results, and these lists."""
    functions = [function_of(CALLS[name], gf) for name in BATCHES[batch]]

    def every(arguments):
        results = []
        for name, (function, _), own in zip(BATCHES[batch], functions, arguments, strict=True):
            try:
                results.append(function(*own))
            except Exception as error:
                error.add_note(f"in the call {name}")
                raise
        return results

    # arrays of its own for each call: loops over shared ones would be fused, and take long to compile
    return every, [[gf.constant(a) for a in arrays] for _, arrays in functions]


def differing(batch, found, expected):
    return [name for name, a, b in zip(BATCHES[batch], found, expected, strict=True) if bits(a) != bits(b)]


@batches
def test_compiled_calls_give_the_bits_of_eager_ones(batch):
    every, arguments = calls_of(batch)
    expected = every(arguments)
    assert all(bits(result) for result in expected)
    assert differing(batch, gf.function(every)(arguments), expected) == []
    specs = []
    for name, own in zip(BATCHES[batch], arguments, strict=True):
        frees = [
            0 if array in KNOWN else min(len(t.shape), 1)
            for array, t in zip(arguments_of(CALLS[name]), own, strict=True)
        ]
        specs.append(
            [gf.TensorSpec([None] * free + list(t.shape[free:]), t.dtype) for free, t in zip(frees, own, strict=True)]
        )
    unknown = gf.function(every, input_signature=[specs])
    assert differing(batch, unknown(arguments), expected) == [], "compiled for unknown extents"
