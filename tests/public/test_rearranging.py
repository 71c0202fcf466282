"""Blocks, sequences, partitions, bits, computed shapes: against NumPy and by hand, with gradients and bad input."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf

X = np.arange(2 * 4 * 6 * 3, dtype=np.float32).reshape(2, 4, 6, 3)


def test_blocks_and_back():
    blocks = gf.space_to_batch(X, [2, 3], [[0, 0], [0, 0]])
    expected = np.concatenate([X[:, a::2, b::3] for a in range(2) for b in range(3)])
    np.testing.assert_array_equal(blocks.numpy(), expected)
    padded = gf.space_to_batch(X, [2, 4], [[1, 1], [0, 2]])
    np.testing.assert_array_equal(gf.batch_to_space(padded, [2, 4], [[1, 1], [0, 2]]).numpy(), X)
    deep = gf.nn.space_to_depth(X, 2).numpy()
    np.testing.assert_array_equal(deep[0, 0, 0], np.concatenate([X[0, 0, 0], X[0, 0, 1], X[0, 1, 0], X[0, 1, 1]]))
    np.testing.assert_array_equal(gf.nn.depth_to_space(deep, 2).numpy(), X)
    first = np.ascontiguousarray(X.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(gf.nn.space_to_depth(first, 2, "NCHW").numpy(), deep.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(gf.nn.depth_to_space(deep.transpose(0, 3, 1, 2), 2, "NCHW").numpy(), first)


def test_required_paddings():
    paddings, crops = gf.required_space_to_batch_paddings([5, 8], [2, 4], [[1, 0], [0, 1]])
    np.testing.assert_array_equal(paddings.numpy(), [[1, 0], [0, 4]])
    np.testing.assert_array_equal(crops.numpy(), [[0, 0], [0, 3]])


def test_sequences():
    np.testing.assert_array_equal(
        gf.reverse_sequence([[1, 2, 3], [4, 5, 6]], [2, 3], 1, 0).numpy(), [[2, 1, 3], [6, 5, 4]]
    )
    np.testing.assert_array_equal(gf.sequence_mask([1, 0, 3]).numpy(), [[1, 0, 0], [0, 0, 0], [1, 1, 1]])
    assert gf.sequence_mask(np.zeros(0, np.int32)).shape == [0, 0]
    compiled = gf.function(lambda lengths: gf.sequence_mask(lengths), input_signature=[gf.TensorSpec([None], gf.int32)])
    for lengths in ([1, 0, 3], [0], []):
        tensor = gf.constant(lengths, gf.int32)
        np.testing.assert_array_equal(compiled(tensor).numpy(), gf.sequence_mask(tensor).numpy())


def test_partitions_and_stitches():
    data, numbers = gf.constant([1.0, 2.0, 3.0, 4.0]), gf.constant([0, 2, 0, 1])

    def there_and_back(data, numbers):
        parts = gf.dynamic_partition(data, numbers, 3)
        places = gf.dynamic_partition(gf.range(4), numbers, 3)
        return parts, gf.dynamic_stitch(places, parts)

    for run in (there_and_back, gf.function(there_and_back)):
        parts, whole = run(data, numbers)
        assert [p.numpy().tolist() for p in parts] == [[1, 3], [4], [2]]
        np.testing.assert_array_equal(whole.numpy(), data.numpy())
    np.testing.assert_array_equal(gf.dynamic_stitch([[0, 3], [0]], [[1.0, 2.0], [9.0]]).numpy(), [9, 0, 0, 2])
    with gf.GradientTape() as tape:
        tape.watch(data)
        y = gf.reduce_sum(gf.dynamic_stitch([[0, 1], [1, 2]], [data[:2], data[2:]]) * [1.0, 10.0, 100.0])
    np.testing.assert_array_equal(tape.gradient(y, data).numpy(), [1, 0, 10, 100])


def test_repeats_by_tensors():
    x, counts = gf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), gf.constant([2, 0, 3])

    def slope(x, counts):
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = gf.repeat(x, counts, axis=0)
        return y, tape.gradient(y, x)

    y, dx = slope(x, counts)
    np.testing.assert_array_equal(y.numpy(), np.repeat(x.numpy(), [2, 0, 3], axis=0))
    np.testing.assert_array_equal(dx.numpy(), [[2, 2], [0, 0], [3, 3]])
    for found, expected in zip(gf.function(slope)(x, counts), (y, dx), strict=True):
        np.testing.assert_array_equal(found.numpy(), expected.numpy())
    with pytest.raises(gf.errors.ShapeError):
        gf.repeat(x, [1, 2])


COMPUTED = {
    "zeros": lambda n: gf.zeros([n, 3]), "ones": lambda n: gf.ones(gf.stack([n, 2])), "fill": lambda n: gf.fill([n], 7),
    "tile": lambda n: gf.tile([1, 2], [n]), "reshape": lambda n: gf.reshape(gf.range(12), [n, -1]),
    "one_hot": lambda n: gf.one_hot([0, 2], n),
    "broadcast_to": lambda n: gf.broadcast_to([1.0], gf.stack([2, n])), "repeat": lambda n: gf.repeat([1, 2], n),
    "bincount": lambda n: gf.math.bincount([n, 1, n]), "segments": lambda n: gf.math.unsorted_segment_sum([1.0, 2.0], [0, 1], n),
    "scatter_nd": lambda n: gf.scatter_nd([[1]], [5.0], [n]), "confusion": lambda n: gf.math.confusion_matrix([n, 0], [0, n]),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPUTED)
def test_computed_shapes_in_compiled_functions(name):
    form = COMPUTED[name]
    compiled = gf.function(form, input_signature=[gf.TensorSpec([], gf.int32)])
    for n in (3, 4, 6):
        expected, found = form(gf.constant(n)), compiled(gf.constant(n))
        assert found.dtype is expected.dtype
        np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_a_computed_shape_that_does_not_fit_stops_the_run():
    with pytest.raises(gf.errors.InvalidArgumentError):
        gf.function(lambda n: gf.reshape(gf.range(12), [n, 5]))(gf.constant(3))
    with pytest.raises(gf.errors.InvalidArgumentError):
        gf.function(lambda n: gf.zeros([n]))(gf.constant(-3))


def test_bits():
    x = gf.constant([1.5, -2.25], gf.float64)
    np.testing.assert_array_equal(gf.bitcast(x, gf.uint8).numpy(), x.numpy().view(np.uint8).reshape(2, 8))
    np.testing.assert_array_equal(gf.bitcast(gf.bitcast(x, gf.int16), gf.float64).numpy(), x.numpy())
    np.testing.assert_array_equal(gf.bitcast(x, gf.int64).numpy(), x.numpy().view(np.int64))
    np.testing.assert_array_equal(gf.saturate_cast([300, -7], gf.uint8).numpy(), [255, 0])
    np.testing.assert_array_equal(
        gf.saturate_cast(gf.constant([1e300, -5.0], gf.float64), gf.float32).numpy(), np.float32([3.4028235e38, -5])
    )


def test_positions():
    np.testing.assert_array_equal(
        gf.unravel_index([22, 59], [3, 4, 5]).numpy(), np.stack(np.unravel_index([22, 59], (3, 4, 5)))
    )
    np.testing.assert_array_equal(
        gf.gather_nd([[1.0, 2.0]], [[0, 5], [0, 1]], bad_indices_policy="IGNORE").numpy(), [0, 2]
    )
    np.testing.assert_array_equal(
        gf.scatter_nd([[5], [1]], [1.0, 2.0], [3], bad_indices_policy="IGNORE").numpy(), [0, 2, 0]
    )
    np.testing.assert_array_equal(
        gf.tensor_scatter_nd_add([1.0, 2.0], [[5], [1]], [1.0, 2.0], "IGNORE").numpy(), [1, 4]
    )


BAD = {
    "block": (lambda x: gf.space_to_batch(x, [3, 1], [[0, 0], [0, 0]]), gf.errors.ShapeError, "multiple"),
    "pairs": (lambda x: gf.space_to_batch(x, [2, 2], [[0, 0]]), gf.errors.ShapeError, "pair"),
    "depth": (lambda x: gf.nn.depth_to_space(x, 2), gf.errors.ShapeError, "multiple"),
    "format": (lambda x: gf.nn.space_to_depth(x, 2, "HWCN"), gf.errors.InvalidArgumentError, "HWCN"),
    "sequence": (lambda x: gf.reverse_sequence(x, [9, 9], 1, 0), gf.errors.IndexOutOfRangeError, "gather"),
    "lengths": (lambda x: gf.sequence_mask(x), gf.errors.DTypeError, "integers"),
    "partition": (lambda x: gf.dynamic_partition(x, gf.constant([0, 5]), 2), gf.errors.InvalidArgumentError, "dynamic_partition"),
    "stitch": (lambda x: gf.dynamic_stitch([[0]], [x]), gf.errors.ShapeError, "indices"),
    "unravel": (lambda x: gf.unravel_index([60], [3, 4, 5]), gf.errors.InvalidArgumentError, "unravel_index"),
    "bitcast": (lambda x: gf.bitcast(x, gf.float64), gf.errors.ShapeError, "extent 2"),
    "policy": (lambda x: gf.gather_nd(x, [[0]], bad_indices_policy="SKIP"), gf.errors.InvalidArgumentError, "SKIP"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_raises_with_the_line(name):
    call, error, text = BAD[name]
    for run in (call, gf.function(call)):
        with pytest.raises(error, match=text) as caught:
            run(gf.constant(X))
        assert "test_rearranging.py" in str(caught.value)
