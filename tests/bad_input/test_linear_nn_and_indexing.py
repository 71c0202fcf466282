"""Bad input to linear algebra, gf.nn, indexing, control flow, random draws, signals and optimizers."""

from __future__ import annotations

import pytest

import graphflow as gf

from .cases import Row, check_rows

LINEAR = [
    Row(lambda x, y: gf.matmul(x, y), "ShapeError", "matmul / f32 / inner"),
    Row(lambda row, x: gf.matmul(row, x), "ShapeError", "matmul / rank"),
    Row(lambda x, i: gf.matmul(x, i, transpose_b=True), "DTypeError", "matmul / f32 / i32 / gf.cast"),
    Row(
        lambda x: gf.matmul(x, x, transpose_a=True, adjoint_a=True),
        "InvalidArgumentError",
        "matmul / transpose_a / adjoint_a",
    ),
    Row(lambda x: gf.einsum("ij,jk", x), "InvalidArgumentError", "einsum / ij,jk"),
    Row(lambda x: gf.einsum("ij->ik", x), "InvalidArgumentError", "einsum / k"),
    Row(lambda x: gf.einsum("ijk->i", x), "InvalidArgumentError", "einsum / ijk"),
    Row(lambda x, y: gf.einsum("ij,jk->ik", x, y), "ShapeError", "einsum / j"),
    Row(lambda x: gf.einsum(3, x), "ArgumentError", "einsum(3, f32"),
    Row(lambda x, y: gf.tensordot(x, y, 3), "InvalidArgumentError", "tensordot / 3"),
    Row(lambda x, y: gf.tensordot(x, y, [[0], [1]]), "ShapeError", "tensordot / f32"),
    Row(lambda x: gf.linalg.cholesky(x[:3, :2]), "ShapeError", "cholesky / square / f32"),
    Row(lambda x: gf.linalg.inv(x), "ShapeError", "square / f32"),
    Row(lambda i: gf.linalg.det(i), "DTypeError", "i32"),
    Row(lambda row: gf.linalg.trace(row), "ShapeError", "trace / f32"),
    Row(lambda matrix, row: gf.linalg.solve(matrix, row), "ShapeError", "solve / f32"),
    Row(lambda x: gf.linalg.band_part(x, 1.5, 0), "DTypeError", "band_part / num_lower / 1.5"),
    Row(lambda row: gf.linalg.diag(row, k=(2, 1)), "InvalidArgumentError", "diag / 2 / 1"),
    Row(lambda row: gf.linalg.diag(row, num_rows="a"), "DTypeError", "'a' / in diag"),
    Row(lambda x: gf.norm(x, ord="bogus"), "InvalidArgumentError", "norm / bogus"),
    Row(lambda x: gf.linalg.norm(x, ord=2, axis=[0, 1, 1]), "InvalidArgumentError", "norm"),
    Row(
        lambda matrix: gf.linalg.tridiagonal_solve(matrix, matrix, diagonals_format="rows"),
        "InvalidArgumentError",
        "rows",
    ),
    Row(lambda batch: gf.linalg.cross(batch[:, :2], batch[:, :2]), "ShapeError", "cross / f32"),
]
NN = [
    Row(lambda image, kernel: gf.nn.conv2d(image, kernel, 0, "SAME"), "InvalidArgumentError", "conv2d / strides / 0"),
    Row(
        lambda image, kernel: gf.nn.conv2d(image, kernel, [1, 2, 3], "SAME"), "InvalidArgumentError", "conv2d / strides"
    ),
    Row(
        lambda image, kernel: gf.nn.conv2d(image, kernel, [2, 1, 1, 1], "SAME"),
        "InvalidArgumentError",
        "conv2d / batch / 2",
    ),
    Row(
        lambda image, kernel: gf.nn.conv2d(image, kernel, 1, "FULL"), "InvalidArgumentError", "conv2d / padding / FULL"
    ),
    Row(lambda image, kernel: gf.nn.conv2d(image, kernel, 1, [[0, 1.5]] * 4), "DTypeError", "conv2d / padding / 1.5"),
    Row(
        lambda image, kernel: gf.nn.conv2d(image, kernel, 1, "SAME", data_format="CHWN"),
        "InvalidArgumentError",
        "conv2d / CHWN",
    ),
    Row(
        lambda image, kernel: gf.nn.conv2d(image, kernel, 1, "SAME", dilations=-1),
        "InvalidArgumentError",
        "conv2d / dilations / -1",
    ),
    Row(lambda line, kernel: gf.nn.conv2d(line, kernel, 1, "SAME"), "ShapeError", "conv2d / rank 4 / f32"),
    Row(lambda kernel: gf.nn.conv2d(kernel[:, :, :, :1], kernel, 1, "SAME"), "ShapeError", "conv2d / f32"),
    Row(lambda image: gf.nn.max_pool(image, 0, 1, "SAME"), "InvalidArgumentError", "max_pool / 0"),
    Row(lambda image: gf.nn.max_pool(image, 2, 1, "same!"), "InvalidArgumentError", "max_pool / same!"),
    Row(lambda i: gf.nn.avg_pool(i[:, None, None], 1, 1, "SAME"), "InvalidArgumentError", "avg_pool / 32"),
    Row(lambda x: gf.nn.softmax(x, axis=5), "ShapeError", "axis 5"),
    Row(lambda i: gf.nn.softmax(i), "DTypeError", "i32"),
    Row(lambda x: gf.nn.dropout(x, 1.5), "InvalidArgumentError", "dropout / 1.5"),
    Row(lambda x: gf.nn.dropout(x, "half"), "InvalidArgumentError", "dropout / 'half'"),
    Row(lambda x: gf.nn.bias_add(x, [1.0, 2.0]), "ShapeError", "bias_add / f32[2]"),
    Row(lambda x: gf.nn.moments(x, [7]), "ShapeError", "axis 7 / in moments"),
    Row(lambda x, y: gf.nn.softmax_cross_entropy_with_logits(x[:2], y[:1, :3]), "ShapeError", "f32"),
    Row(lambda x: gf.nn.local_response_normalization(x[None, :, :, None], None), "DTypeError", "depth_radius / None"),
    Row(
        lambda image: gf.image.resize(image, [2, 2], "cubic"), "InvalidArgumentError", "resize / 'cubic' / ResizeMethod"
    ),
    Row(lambda image: gf.image.resize(image, [0, 2]), "InvalidArgumentError", "resize / 0"),
    Row(lambda x: gf.nn.ctc_loss(x, x, None, None), "DTypeError", "None / ctc_loss(f32"),
]
INDEXING = [
    Row(lambda x: x[0, 0, 0], "IndexOutOfRangeError", "rank 2"),
    Row(lambda x: x["a"], "DTypeError", "'a'"),
    Row(lambda x: x[1.5], "DTypeError", "1.5"),
    Row(lambda x: x[..., ...], "InvalidArgumentError", "..."),
    Row(lambda x: x[::0], "InvalidArgumentError", "step"),
    Row(lambda x: x[[[1], [2, 3]]], "ShapeError", "[[1], [2, 3]]"),
    Row(lambda x, y: gf.gather(x, y), "DTypeError", "gather / f32"),
    Row(lambda x, ids: gf.gather(x, ids, axis=2), "ShapeError", "gather / axis 2 / rank 2"),
    Row(lambda x, ids: gf.gather(x, ids, axis=0.5), "DTypeError", "gather / axis must be an int / 0.5"),
    Row(lambda x, ids: gf.gather(x, ids, batch_dims=[]), "DTypeError", "gather / axis must be an int / []"),
    Row(lambda x: gf.gather_nd(x, [[0, 0, 0]]), "ShapeError", "gather_nd / f32"),
    Row(lambda x: gf.gather_nd(x, [[0]], bad_indices_policy="CLAMP"), "InvalidArgumentError", "gather_nd / CLAMP"),
    Row(lambda x: gf.slice(x, [0], [1]), "ShapeError", "slice / f32"),
    Row(lambda x: gf.scatter_nd([[0]], x, [3, 4]), "ShapeError", "f32"),
    Row(lambda x: gf.tensor_scatter_nd_update(x, [[0]], gf.ones((1, 4), "int32")), "DTypeError", "f32 / i32"),
    Row(lambda x: gf.boolean_mask(x, [1, 0, 1]), "DTypeError", "boolean_mask / int64"),
    Row(lambda x, ids: gf.math.unsorted_segment_sum(x, ids, -1), "InvalidArgumentError", "-1 / unsorted_segment_sum"),
    Row(lambda x: gf.where(x, 1.0, 2.0), "DTypeError", "f32"),
    Row(lambda x: gf.TensorArray(gf.float32, -1), "ShapeError", "-1"),
    Row(lambda x: gf.TensorArray("float99", 1), "DTypeError", "float99"),
]
OTHERS = [
    Row(lambda x, i: x + i, "DTypeError", "add / f32 / i32 / gf.cast"),
    Row(lambda x, cube: x * cube[:, :2], "ShapeError", "multiply / f32"),
    Row(lambda b: -b, "DTypeError", "negative / b1"),
    Row(lambda x: x & x, "DTypeError", "and / f32"),
    Row(lambda i: gf.exp(i), "DTypeError", "exp / i32 / gf.cast"),
    Row(lambda i: i + 2**31, "LiteralOverflowError", f"{2**31} / int32"),
    Row(lambda x: x + 1e39, "LiteralOverflowError", "1e+39 / float32"),
    Row(lambda i: i + 1.5, "DTypeError", "1.5 / int32"),
    Row(lambda: gf.constant([[1], [2, 3]]), "ShapeError", "different lengths / [[1], [2, 3]]"),
    Row(lambda: gf.constant(None), "DTypeError", "None"),
    Row(lambda: gf.constant([1, 2], shape=[3]), "ShapeError", "constant / 2 / 3"),
    Row(lambda x: gf.math.polyval("abc", x), "InvalidArgumentError", "polyval / str"),
    Row(lambda x: gf.cond(x, lambda: 1.0, lambda: 2.0), "InvalidArgumentError", "f32"),
    Row(
        lambda x: gf.while_loop(lambda k: k < 3, lambda k: k + 1, [0], maximum_iterations=1.5),
        "DTypeError",
        "maximum_iterations / 1.5",
    ),
    Row(lambda x: gf.map_fn(lambda e: e, []), "ShapeError", "map_fn / []"),
    Row(lambda: gf.random.stateless_normal([2], [1, 2, 3]), "ShapeError", "seed / [2] / i64[3]"),
    Row(lambda: gf.random.stateless_uniform([-2], [1, 2]), "ShapeError", "-2"),
    Row(lambda: gf.random.stateless_uniform([2], [1, 2], dtype="bool"), "DTypeError", "bool"),
    Row(lambda: gf.random.stateless_uniform([2], [1, 2], 5, 5, "int32"), "InvalidArgumentError", "5"),
    Row(lambda: gf.random.normal([2], seed=1.5), "DTypeError", "seed / 1.5"),
    Row(
        lambda: gf.random.stateless_normal([2], [1, 2], alg="mersenne"),
        "InvalidArgumentError",
        "alg / mersenne / philox",
    ),
    Row(lambda x: gf.signal.fft(x), "DTypeError", "fft / f32"),
    Row(lambda x: gf.signal.frame(x, 0, 1), "InvalidArgumentError", "frame / 0"),
    Row(lambda x: gf.signal.frame(x, 2, 1, axis=1.5), "DTypeError", "frame / axis must be an int / 1.5"),
    Row(lambda x: gf.signal.dct(x, type=9), "InvalidArgumentError", "dct / 9"),
    Row(lambda x: gf.signal.rfft(x, [-4]), "InvalidArgumentError", "-4"),
    Row(lambda: gf.signal.hann_window(-1), "InvalidArgumentError", "-1"),
    Row(lambda: gf.optimizers.SGD(0.1, momentum=2.0), "ArgumentError", "SGD / 2.0"),
    Row(lambda: gf.optimizers.Adam(0.1, epsilon="small"), "DTypeError", "Adam / epsilon / 'small'"),
    Row(lambda: gf.optimizers.schedules.CosineDecay(0.1, -5), "ArgumentError", "CosineDecay / decay_steps / -5"),
    Row(lambda: gf.config.get("bogus"), "ArgumentError", "config.get / 'bogus' / check"),
    Row(lambda x: gf.nest.pack_sequence_as([1, [2]], [x]), "ArgumentError", "pack_sequence_as / 2 / 1"),
    Row(lambda x: gf.ensure_shape(x, 5.5), "ArgumentError", "ensure_shape"),
    Row(lambda x: gf.debugging.assert_rank(x, 3), "ShapeError", "assert_rank / 3 / f32"),
    Row(lambda x: gf.debugging.assert_type(x, "int32"), "DTypeError", "int32 / f32"),
]


@pytest.mark.parametrize("mode", ["eager", "graph", "symbolic"])
@pytest.mark.parametrize("rows", [LINEAR, NN, INDEXING, OTHERS], ids=["linear", "nn", "indexing", "others"])
def test_refused(rows, mode):
    check_rows(rows, mode, "test_linear_nn_and_indexing.py")
