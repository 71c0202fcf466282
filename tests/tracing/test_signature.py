"""Specs, keys and the words for what changed between calls."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import graphflow as gf
from graphflow.tracing.signature import ObjectKey, argument_key, bind_symbols, spec_types


def test_tensor_spec():
    spec = gf.TensorSpec([None, 3], "float64", name="x")
    assert spec == gf.TensorSpec((None, 3), gf.float64)
    assert spec != gf.TensorSpec((None, 4), gf.float64)
    assert hash(spec) == hash(gf.TensorSpec([None, 3], "float64"))
    assert spec.shape == (None, 3)
    assert "float64" in repr(spec)
    assert gf.TensorSpec.from_tensor(gf.zeros((2, 3))) == gf.TensorSpec([2, 3])
    assert spec.is_compatible_with(gf.zeros((5, 3), "float64"))
    assert not spec.is_compatible_with(gf.zeros((5, 3)))
    assert not spec.is_compatible_with(gf.zeros((3,), "float64"))
    assert not spec.is_compatible_with(gf.zeros((5, 4), "float64"))
    assert gf.TensorSpec(None).is_compatible_with(gf.zeros((5, 4)))


def test_spec_without_a_rank_cannot_be_traced():
    with pytest.raises(gf.errors.GraphflowError, match="no rank"):
        gf.function(lambda x: x).get_concrete_function(gf.TensorSpec(None))


def test_keys_tell_types_and_signs_apart():
    values = [
        1,
        1.0,
        True,
        0.0,
        -0.0,
        float("nan"),
        "1",
        b"1",
        None,
        1j,
        (1).__class__,
        gf.float32,
        range(3),
        slice(1, 2),
        ...,
    ]
    keys = [argument_key(v) for v in values]
    for k, key in enumerate(keys):
        assert key == argument_key(values[k])
        assert [other == key for other in keys].count(True) == 1
        hash(key)


def test_object_keys_end_with_their_object():
    class Thing:
        pass

    one, two = Thing(), Thing()
    assert ObjectKey(one) == ObjectKey(one)
    assert ObjectKey(one) != ObjectKey(two)
    key = ObjectKey(one)
    del one
    gc.collect()
    assert key != ObjectKey(two)
    assert key != key._get()


def test_symbols_bind_to_extents():
    types = [spec_types(gf.TensorSpec([None, None, 3]), [0]), spec_types(gf.TensorSpec([None]), [0])]
    assert bind_symbols(types, ((4, 5, 3), (4,))) == {"s0": 4, "s1": 5}
    assert bind_symbols(types, ((4, 5, 3), (5,))) is None
    assert bind_symbols(types, ((4, 5, 2), (4,))) is None
    assert bind_symbols(types, ((4, 5), (4,))) is None


CHANGES = [
    ((1.0,), {}, (2.0,), {}, "argument 'a' changed from 1.0 to 2.0"),
    ((1,), {}, (1.0,), {}, "argument 'a' changed from 1 to 1.0"),
    ((True,), {}, (1,), {}, "argument 'a' changed from True to 1"),
    (("x",), {}, (None,), {}, "argument 'a' changed from 'x' to None"),
    ((np.zeros(2, "f4"),), {}, (np.zeros(2, "i4"),), {}, "argument 'a' changed from f32 of rank 1 to i32 of rank 1"),
    (([1, 2],), {}, ([1, 3],), {}, "argument 'a_1' changed from 2 to 3"),
    (({"k": 1},), {}, ({"k": 2},), {}, "argument 'a_k' changed from 1 to 2"),
    (([1, 2],), {}, ([1, 2, 3],), {}, "the arguments' structure changed: 3 leaves became 4"),
    (([1, 2],), {}, ((1, 2),), {}, "the arguments' structure changed"),
    ((1,), {"T": 1}, (1,), {"T": 2}, "argument 'T' changed from 1 to 2"),
    ((float("nan"),), {}, (1.0,), {}, "argument 'a' changed from nan to 1.0"),
    ((range(2),), {}, (range(3),), {}, "argument 'a' changed from range(0, 2) to range(0, 3)"),
]


@pytest.mark.parametrize(("args", "kwargs", "new_args", "new_kwargs", "reason"), CHANGES)
def test_reasons(args, kwargs, new_args, new_kwargs, reason):
    compiled = gf.function(lambda a, *, T=0: gf.constant(1))
    compiled(*args, **kwargs)
    compiled(*new_args, **new_kwargs)
    assert compiled.explain().traces[-1].reason == reason


def test_variable_reasons():
    compiled = gf.function(lambda a, b: a + b)
    v, w = gf.Variable(1.0), gf.Variable(2.0)
    compiled(v, w)
    compiled(v, v)
    assert (
        compiled.explain().traces[-1].reason
        == "argument 'b' changed from a variable to a variable that is passed twice"
    )
    compiled(v, gf.Variable(2.0, trainable=False))
    assert "variable" in compiled.explain().traces[-1].reason


@pytest.mark.parametrize(("limit", "expected"), [(2, True), (0, False)])
def test_retrace_warning(limit, expected):
    compiled = gf.function(lambda k: gf.constant(1.0) * k)
    with gf.config.override(retrace_warn=limit):
        compiled(1.0)
        compiled(2.0)
        if expected:
            with pytest.warns(UserWarning, match=r"traced 3 times.*argument 'k' changed from 2.0 to 3.0") as caught:
                compiled(3.0)
            assert caught[0].filename == __file__
        compiled(3.0)
        compiled(4.0)
