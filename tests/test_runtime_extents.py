"""Shapes that depend on values: masks, positions, unique values, computed ranges and sorted segments give the same in a compiled
function as in eager mode, whatever the number of elements that remain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf

VALUES = {
    "several": np.array([3.0, 1.0, 3.0, 2.0, 1.0, 9.0, 3.0], np.float32),
    "none": np.array([0.0, -1.0, 0.5], np.float32),
    "all": np.array([2.0, 3.0], np.float32),
    "empty": np.zeros(0, np.float32),
}
FORMS = {
    "mask": lambda x: x[x > 1.5],
    "boolean_mask": lambda x: gf.boolean_mask(x, x > 1.5) * 2.0,
    "where": lambda x: gf.where(x > 1.5),
    "two masks": lambda x: (x[x > 1.5], x[x < 1.5]),
    "sorted mask": lambda x: gf.sort(x[x > 1.5]),
    "sum of mask": lambda x: gf.reduce_sum(x[x > 1.5]),
    "unique": lambda x: gf.unique(x),
    "unique_with_counts": lambda x: gf.unique_with_counts(x, gf.int64),
    "stack of mask": lambda x: gf.stack([x[x > 1.5], x[x > 1.5] + 1.0]),
    "shape of mask": lambda x: gf.shape(x[x > 1.5]),
    "mask of mask": lambda x: (lambda y: y[y < 5])(x[x > 1.5]),
    "cumsum of mask": lambda x: gf.cumsum(x[x > 1.5]),
}


def bits(found: Any) -> list[Any]:
    return [(v.dtype, tuple(v.shape), v.numpy().tobytes()) for v in (found if isinstance(found, tuple) else (found,))]


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("name", FORMS)
def test_graph_gives_the_bits_of_eager(name, values):
    form, x = FORMS[name], gf.constant(VALUES[values])
    expected = bits(form(x))
    assert bits(gf.function(form)(x)) == expected
    symbolic = gf.function(form, input_signature=[gf.TensorSpec([None])])
    for other in VALUES.values():
        assert bits(symbolic(gf.constant(other))) == bits(form(gf.constant(other)))


def test_masks_of_matrices():
    x = gf.constant(np.arange(12.0).reshape(3, 4))

    def parts(x):
        rows = gf.reduce_sum(x, axis=1) > 10
        return x[x % 2 == 0], x[rows], gf.boolean_mask(x, x[0] > 0, axis=1), gf.where(x > 5), x[rows, 1:3]

    for found, expected in zip(gf.function(parts)(x), parts(x), strict=True):
        np.testing.assert_array_equal(found.numpy(), expected.numpy())


@pytest.mark.parametrize("bounds", [(0, 4, 1), (1, 11, 3), (5, 0, -2), (3, 3, 1), (4, 1, 1)])
def test_ranges_between_tensors(bounds):
    tensors = [gf.constant(b) for b in bounds]
    found = gf.function(lambda a, b, c: gf.range(a, b, c) * 2)(*tensors)
    np.testing.assert_array_equal(found.numpy(), np.arange(*bounds) * 2)
    floats = [gf.cast(t, gf.float32) for t in tensors]
    found = gf.function(lambda a, b, c: gf.range(a, b, c))(*floats)
    np.testing.assert_array_equal(found.numpy(), np.arange(*bounds).astype(np.float32))


def test_sorted_segments():
    def sums(data, ids):
        return gf.math.segment_sum(data, ids), gf.math.segment_max(data, ids), gf.math.segment_mean(data, ids)

    data, ids = gf.constant(np.arange(10.0).reshape(5, 2)), gf.constant([0, 0, 2, 2, 3])
    for found, expected in zip(gf.function(sums)(data, ids), sums(data, ids), strict=True):
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
    with pytest.raises(gf.errors.InvalidArgumentError, match="sorted"):
        gf.function(sums)(data, gf.constant([0, 2, 1, 2, 3]))


def test_gradients_through_masks():
    def gradient(x):
        with gf.GradientTape() as outer:
            outer.watch(x)
            with gf.GradientTape() as tape:
                tape.watch(x)
                y = gf.reduce_sum(gf.boolean_mask(x, x > 1.5) ** 3)
            first = tape.gradient(y, x)
        return first, outer.gradient(first, x)

    x = gf.constant(VALUES["several"])
    eager = gradient(x)
    for found, expected in zip(gf.function(gradient)(x), eager, strict=True):
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
    np.testing.assert_allclose(eager[0].numpy(), np.where(x.numpy() > 1.5, 3 * x.numpy() ** 2, 0))


def test_masks_in_loops_and_branches():
    @gf.function
    def shrinking(x, rounds):
        total = 0.0
        for k in gf.range(rounds):
            kept = x[x > gf.cast(k, gf.float32)]
            if gf.size(kept) > 2:
                total += gf.reduce_sum(kept)
            else:
                total -= 1.0
        return total

    x = VALUES["several"]
    expected = sum(float(x[x > k].sum()) if (x > k).sum() > 2 else -1.0 for k in range(6))
    assert float(shrinking(gf.constant(x), gf.constant(6))) == expected


def test_a_mask_of_the_wrong_extent_is_refused():
    for run in (lambda x: x[x[:2] > 0], gf.function(lambda x: x[x[:2] > 0])):
        with pytest.raises((gf.errors.ShapeError, IndexError)) as caught:
            run(gf.constant(VALUES["several"]))
        assert "test_runtime_extents.py" in str(caught.value)
