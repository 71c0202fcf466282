"""Bad input to reductions, sorting, and functions that rearrange."""

from __future__ import annotations

import pytest

import graphflow as gf

from .cases import Row, check_rows

AXES = [
    Row(lambda x: gf.reduce_sum(x, axis=2), "ShapeError", "reduce_sum / axis 2 / rank 2 / -2..1"),
    Row(lambda x: gf.reduce_mean(x, axis=-3), "ShapeError", "axis -3 / rank 2"),
    Row(lambda x: gf.reduce_max(x, axis=(0, 0)), "ShapeError", "reduce_max / twice"),
    Row(lambda x: gf.reduce_prod(x, axis="a"), "DTypeError", "reduce_prod / 'a'"),
    Row(lambda x: gf.reduce_all(x), "DTypeError", "reduce_all / f32"),
    Row(lambda b: gf.reduce_sum(b), "DTypeError", "reduce_sum / b1"),
    Row(lambda x: gf.argmax(x, axis=5), "ShapeError", "argmax / axis 5 / rank 2"),
    Row(lambda x: gf.argmax(x, axis=1.5), "DTypeError", "argmax / axis must be an int / 1.5"),
    Row(lambda x: gf.argmin(x, axis=True), "DTypeError", "argmin / axis must be an int / True"),
    Row(lambda x: gf.argmax(x, output_type="float32"), "DTypeError", "argmax / int32 or int64 / float32"),
    Row(lambda scalar: gf.argmax(scalar), "ShapeError", "argmax / axis 0 / rank 0 / no axes"),
    Row(lambda x: gf.math.cumsum(x, axis=2), "ShapeError", "axis 2 / rank 2"),
    Row(lambda x: gf.math.cumprod(x, axis=None), "DTypeError", "axis / None"),
    Row(lambda x: gf.sort(x, axis=3), "ShapeError", "sort / axis 3 / rank 2"),
    Row(lambda x: gf.sort(x, direction="UP"), "InvalidArgumentError", "sort / UP / ASCENDING"),
    Row(lambda x: gf.argsort(x, axis=-4), "ShapeError", "axis -4"),
    Row(lambda x: gf.math.top_k(x, 5), "InvalidArgumentError", "top_k / 5"),
    Row(lambda x: gf.math.top_k(x, -1), "InvalidArgumentError", "top_k / -1"),
    Row(lambda x: gf.math.in_top_k([0, 1, 2], x, 1.5), "DTypeError", "in_top_k / k must be an int / 1.5"),
    Row(lambda x, y: gf.searchsorted(x, y, side="middle"), "InvalidArgumentError", "searchsorted / middle / left"),
    Row(lambda x, row: gf.searchsorted(x, row), "ShapeError", "searchsorted / f32"),
    Row(lambda x: gf.unique(x), "ShapeError", "unique / f32"),
    Row(lambda x: gf.math.softmax(x, axis=7), "ShapeError", "axis 7 / rank 2"),
    Row(lambda x: gf.math.reduce_std(x, axis=9), "ShapeError", "axis 9 / rank 2"),
    Row(lambda x: gf.math.count_nonzero(x, dtype=None), "DTypeError", "None is not a dtype / float32"),
    Row(lambda x: gf.math.bincount(x), "DTypeError", "bincount / f32"),
]
SHAPES = [
    Row(lambda x: gf.reshape(x, [-1, -1]), "InvalidArgumentError", "reshape / -1"),
    Row(lambda x: gf.reshape(x, [2.5]), "DTypeError", "2.5 / ints"),
    Row(lambda x: gf.reshape(x, "bogus"), "DTypeError", "'bogus' / in reshape"),
    Row(lambda x: gf.transpose(x, [0, 0]), "InvalidArgumentError", "transpose / 0"),
    Row(lambda x: gf.transpose(x, [0, 1, 2]), "ShapeError", "transpose / axis 2 / rank 2"),
    Row(lambda x: gf.expand_dims(x, 4), "ShapeError", "expand_dims / 4"),
    Row(lambda x: gf.squeeze(x[:2, :3], 0), "ShapeError", "squeeze / 0"),
    Row(lambda x, cube: gf.concat([x, cube], 0), "ShapeError", "concat / f32"),
    Row(lambda x: gf.concat([x, x], 2), "ShapeError", "concat / axis 2 / rank 2"),
    Row(lambda: gf.concat([], 0), "InvalidArgumentError", "concat"),
    Row(lambda x, i: gf.concat([x, i], 0), "DTypeError", "concat / f32 / i32"),
    Row(lambda x, row: gf.stack([x, row]), "ShapeError", "stack / f32"),
    Row(lambda x: gf.split(x, 3, axis=5), "ShapeError", "axis 5 / rank 2"),
    Row(lambda row: gf.split(row[:4], 3), "InvalidArgumentError", "split / 3 / 4"),
    Row(lambda x: gf.tile(x, [1, 2, 3]), "ShapeError", "tile / f32"),
    Row(lambda x: gf.tile(x, [1, -2]), "InvalidArgumentError", "tile / -2"),
    Row(lambda x: gf.repeat(x, -1, axis=0), "InvalidArgumentError", "repeat / -1"),
    Row(lambda x: gf.repeat(x, 2, axis=4), "ShapeError", "repeat / axis 4"),
    Row(lambda x: gf.pad(x, [[1, 0]]), "InvalidArgumentError", "pad / f32"),
    Row(lambda x: gf.pad(x, [[-1, 0], [0, 0]]), "InvalidArgumentError", "pad / -1"),
    Row(lambda x: gf.pad(x, [[1, 0], [0, 0]], "MIRROR"), "InvalidArgumentError", "pad / MIRROR / REFLECT"),
    Row(lambda x: gf.reverse(x, [3]), "ShapeError", "reverse / axis 3"),
    Row(lambda x: gf.roll(x, [1], [5]), "ShapeError", "roll / axis 5"),
    Row(lambda x: gf.broadcast_to(x, [2, 2]), "ShapeError", "broadcast_to / f32 / 2"),
    Row(lambda: gf.zeros([2, -1]), "ShapeError", "zeros / -1"),
    Row(lambda: gf.ones(None), "DTypeError", "ones / None"),
    Row(lambda: gf.fill([-3], 1.0), "ShapeError", "fill / -3"),
    Row(lambda: gf.zeros([2**62]), "ResourceExhaustedError", f"zeros / {2**62}"),
    Row(lambda: gf.eye(-2), "ShapeError", "eye / -2"),
    Row(lambda: gf.linspace(0.0, 1.0, 0), "InvalidArgumentError", "linspace / 0"),
    Row(lambda: gf.range(0, 5, 0), "InvalidArgumentError", "range / 0"),
    Row(lambda: gf.one_hot([0, 1], -1), "ShapeError", "one_hot / -1"),
    Row(lambda x: gf.one_hot(x, 3), "DTypeError", "one_hot / f32"),
    Row(lambda x, row: gf.meshgrid(x, row, indexing="yx"), "InvalidArgumentError", "meshgrid / yx / xy"),
    Row(lambda x: gf.cast(x, "float128"), "DTypeError", "float128 / float64"),
    Row(lambda x: gf.cast(x, None), "DTypeError", "None is not a dtype"),
    Row(lambda x: gf.bitcast(x, "float64"), "ShapeError", "bitcast / f32 / float64"),
    Row(
        lambda image: gf.space_to_batch(image, [4], [[0, 1]]),
        "InvalidArgumentError",
        "space_to_batch / multiple / 7 and 4",
    ),
    Row(lambda image: gf.nn.depth_to_space(image, 1), "InvalidArgumentError", "depth_to_space / 1"),
    Row(lambda image: gf.nn.space_to_depth(image, 2.5), "DTypeError", "space_to_depth / block_size / 2.5"),
    Row(lambda x: gf.dynamic_partition(x, [0, 1, 0], 0), "InvalidArgumentError", "dynamic_partition / 0"),
    Row(lambda x: gf.ensure_shape(x, [9, 9]), "InvalidArgumentError", "ensure_shape / 9"),
    Row(lambda: gf.broadcast_static_shape(["bogus"], [1]), "ShapeError", "extent / 'bogus'"),
    Row(lambda: gf.TensorShape([-1]), "ShapeError", "extent / -1"),
    Row(lambda: gf.zeros(), "ArgumentError", "zeros() missing / shape"),
    Row(lambda x: gf.reshape(x, [12], None, 4, 5), "ArgumentError", "reshape() takes / 5"),
    Row(lambda x: gf.reshape(x, form=[12]), "ArgumentError", "reshape() got an unexpected / 'form'"),
]


@pytest.mark.parametrize("mode", ["eager", "graph", "symbolic"])
@pytest.mark.parametrize("rows", [AXES, SHAPES], ids=["axes", "shapes"])
def test_refused(rows, mode):
    check_rows(rows, mode, "test_reductions_and_shapes.py")
