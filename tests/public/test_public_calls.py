"""Each call of the table gives the same bits eagerly, compiled, and compiled once for unknown extents."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf

from .calls import CALLS, arguments_of, function_of, leaves

#: arrays whose extents a function must know: filters, shapes, square matrices
KNOWN = frozenset({"kernel", "kernel1", "kernel3", "depth", "flat", "mix", "shape2", "symmetric"})


def bits(found):
    return [(v.dtype, tuple(v.shape), np.asarray(v).tobytes()) for v in leaves(found)]


@pytest.mark.parametrize("name", CALLS)
def test_compiled_calls_give_the_bits_of_eager_ones(name):
    function, arrays = function_of(CALLS[name], gf)
    tensors = [gf.constant(a) for a in arrays]
    expected = bits(function(*tensors))
    assert expected
    assert bits(gf.function(function)(*tensors)) == expected


@pytest.mark.parametrize("name", [name for name, text in CALLS.items() if function_of(text, gf)[1]])
def test_one_trace_for_unknown_extents_gives_the_same(name):
    function, arrays = function_of(CALLS[name], gf)
    tensors = [gf.constant(a) for a in arrays]
    specs = []
    for name_, array in zip(arguments_of(CALLS[name]), arrays, strict=True):
        free = 0 if name_ in KNOWN else min(array.ndim, 1)
        specs.append(gf.TensorSpec([None] * free + list(array.shape[free:]), gf.as_dtype(array.dtype)))
    compiled = gf.function(function, input_signature=specs)
    assert bits(compiled(*tensors)) == bits(function(*tensors))
