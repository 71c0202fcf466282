# ruff: noqa: E501 (a table)
"""Calls of the public functions: expressions in `m` (graphflow, or TensorFlow for tools/tensorflow_differences.py) and in the arrays of
VALUES. test_public_calls.py runs each eagerly, compiled, and compiled for unknown extents."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

_random = np.random.default_rng(5)


def _floats(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray[Any, Any]:
    return _random.uniform(low, high, shape).astype(np.float32)


VALUES: dict[str, np.ndarray[Any, Any]] = {
    "x": _floats(3, 4), "y": _floats(3, 4), "row": _floats(4), "p": _floats(3, 4, low=0.2, high=5), "q": _floats(3, 4, low=0.2, high=5),
    "u": _floats(3, 4, low=0.05, high=0.95), "big": _floats(3, 4, low=1.1, high=20), "wide": _floats(3, 4, low=-25, high=25),
    "i": _random.integers(-5, 9, (3, 4)).astype(np.int32), "j": _random.integers(1, 6, (3, 4)).astype(np.int32),
    "b": _random.integers(0, 2, (3, 4)).astype(bool), "c": _random.integers(0, 2, (3, 4)).astype(bool),
    "ids": np.array([2, 0, 2], np.int32), "sorted_ids": np.array([0, 0, 2], np.int32), "vector": np.array([3, 1, 3, 2, 1, 9], np.int32),
    "lengths": np.array([2, 4, 1], np.int32), "cube": _floats(2, 3, 4), "image": _floats(2, 6, 6, 4), "volume": _floats(1, 4, 4, 4, 2),
    "line": _floats(2, 8, 3), "kernel": _floats(3, 3, 4, 2), "depth": _floats(3, 3, 4, 2), "kernel1": _floats(3, 3, 2),
    "kernel3": _floats(2, 2, 2, 2, 3), "mix": _floats(1, 1, 8, 3), "flat": _floats(2, 2, 4), "matrix": _floats(2, 3, 3) + 3 * np.eye(3, dtype=np.float32),
    "symmetric": (lambda a: (a @ a.T + 3 * np.eye(3)).astype(np.float32))(_floats(3, 3)), "rhs": _floats(2, 3, 2),
    "diagonals": _floats(2, 3, 3) + np.array([[0], [4], [0]], np.float32), "triangular": np.tril(_floats(3, 3)) + 3 * np.eye(3, dtype=np.float32),
    "labels": np.array([1, 0, 3], np.int32), "onehot": np.eye(4, dtype=np.float32)[[1, 0, 3]], "paths": np.array([[1, 2, 1], [3, 1, 2]], np.int32),
    "logits": _floats(7, 2, 5), "table": _floats(6, 3), "batch": _floats(2, 3), "classes": np.array([[1], [4]], np.int64),
    "shape2": np.array([2, 6], np.int32), "count": np.array(3, np.int32), "scalar": np.array(1.5, np.float32),
    "d": _floats(3, 4).astype(np.float64), "bytes": _random.integers(0, 255, (3, 4)).astype(np.uint8),
}  # fmt: skip

CALLS: dict[str, str] = {}


def _add(text: str) -> None:
    """A table: one `name: expression` a line; a `*` in front of a line's names makes `m.name(arguments)` of each."""
    for line in filter(None, (line.strip() for line in text.strip().splitlines())):
        if line.startswith("*"):
            arguments, names = line[1:].split("|")
            CALLS.update({name: f"m.{name}({arguments.strip()})" for name in names.split()})
        else:
            name, _, expression = line.partition(": ")
            CALLS[name] = expression


_add(
    """
*x | math.abs math.asinh math.atan math.ceil math.cos math.cosh math.erf math.erfc math.exp math.expm1 math.floor math.is_finite math.is_inf
*x | math.is_nan math.log_sigmoid math.negative math.rint math.round math.sigmoid math.sign math.sin math.sinh math.softplus math.square math.tan
*x | math.tanh math.zero_fraction math.reciprocal math.reciprocal_no_nan math.count_nonzero math.reduce_euclidean_norm math.reduce_logsumexp
*x | math.reduce_max math.reduce_mean math.reduce_min math.reduce_prod math.reduce_std math.reduce_sum math.reduce_variance math.argmax math.argmin
*x | math.softmax math.log_softmax math.l2_normalize math.cumsum math.cumprod math.cumulative_logsumexp math.is_non_decreasing
*x | math.is_strictly_increasing math.bessel_i0 math.bessel_i0e math.bessel_i1 math.bessel_i1e math.special.dawsn
*wide | math.special.bessel_j0 math.special.bessel_j1 math.special.bessel_i0e math.special.bessel_i1e math.special.fresnel_cos math.special.fresnel_sin
*x | math.special.bessel_i0 math.special.bessel_i1
*p | math.log math.log1p math.sqrt math.rsqrt math.lgamma math.digamma math.lbeta math.special.bessel_k0 math.special.bessel_k0e
*p | math.special.bessel_k1 math.special.bessel_k1e math.special.bessel_y0 math.special.bessel_y1 math.special.expint math.special.spence
*u | math.acos math.asin math.atanh math.erfinv math.ndtri math.erfcinv
*big | math.acosh
*x, y | math.add math.subtract math.multiply math.divide math.truediv math.divide_no_nan math.multiply_no_nan math.maximum math.minimum math.equal
*x, y | math.not_equal math.less math.less_equal math.greater math.greater_equal math.squared_difference math.atan2 math.floordiv math.floormod
*x, y | math.mod math.xdivy math.nextafter math.scalar_mul
*x, p | math.xlogy math.xlog1py
*p, x | math.pow
*p, q | math.igamma math.igammac
*big, q | math.zeta
*i, j | truncatediv truncatemod bitwise.bitwise_and bitwise.bitwise_or bitwise.bitwise_xor bitwise.left_shift bitwise.right_shift
*i | bitwise.invert
*b, c | math.logical_and math.logical_or math.logical_xor
*b | math.logical_not math.reduce_any math.reduce_all
*x, ids, 4 | math.unsorted_segment_sum math.unsorted_segment_prod math.unsorted_segment_max math.unsorted_segment_min math.unsorted_segment_mean
*x, ids, 4 | math.unsorted_segment_sqrt_n
*x, sorted_ids | math.segment_sum math.segment_prod math.segment_max math.segment_min math.segment_mean
math.scalar_mul: m.math.scalar_mul(scalar, x)
math.betainc: m.math.betainc(p, q, u)
math.polygamma: m.math.polygamma(m.math.floor(p), q)
math.add_n: m.math.add_n([x, y, p])
math.accumulate_n: m.math.accumulate_n([x, y, p])
math.polyval: m.math.polyval([1.0, 2.0, 3.0], x)
math.bincount: m.math.bincount(vector)
math.confusion_matrix: m.math.confusion_matrix(labels, ids, 4)
math.in_top_k: m.math.in_top_k(labels, x, 2)
math.invert_permutation: m.math.invert_permutation(m.argsort(vector))
math.sobol_sample: m.math.sobol_sample(3, 8)
math.sobol_sample skip: m.math.sobol_sample(2, 5, 3)
math.top_k: m.math.top_k(x, 2)
math.approx_max_k: m.math.approx_max_k(x, 2)
math.approx_min_k: m.math.approx_min_k(x, 2)
realdiv: m.realdiv(x, p)
*x | nn.relu nn.relu6 nn.leaky_relu nn.elu nn.selu nn.gelu nn.silu nn.swish nn.crelu nn.softsign nn.softplus nn.sigmoid nn.tanh nn.softmax nn.l2_loss
*x | nn.log_softmax nn.zero_fraction nn.scale_regularization_loss
*x, 0 | nn.l2_normalize
nn.moments: m.nn.moments(x, [0])
nn.sufficient_statistics: m.nn.sufficient_statistics(x, [0], shift=0.5)
nn.normalize_moments: m.nn.normalize_moments(*m.nn.sufficient_statistics(x, [0], shift=0.5))
nn.weighted_moments: m.nn.weighted_moments(x, [0], p)
nn.batch_normalization: m.nn.batch_normalization(x, row, row * row, row, row, 1e-3)
nn.batch_norm_with_global_normalization: m.nn.batch_norm_with_global_normalization(image, row, row * row, row, row, 1e-3, True)
nn.bias_add: m.nn.bias_add(x, row)
nn.local_response_normalization: m.nn.local_response_normalization(image, 1, 1.0, 0.5, 0.75)
nn.lrn: m.nn.lrn(image)
nn.isotonic_regression: m.nn.isotonic_regression(x)
nn.isotonic_regression up: m.nn.isotonic_regression(x, decreasing=False, axis=0)
nn.embedding_lookup: m.nn.embedding_lookup(table, ids)
nn.softmax_cross_entropy_with_logits: m.nn.softmax_cross_entropy_with_logits(onehot, x)
nn.sparse_softmax_cross_entropy_with_logits: m.nn.sparse_softmax_cross_entropy_with_logits(labels, x)
nn.sigmoid_cross_entropy_with_logits: m.nn.sigmoid_cross_entropy_with_logits(u, x)
nn.weighted_cross_entropy_with_logits: m.nn.weighted_cross_entropy_with_logits(u, x, 2.0)
nn.log_poisson_loss: m.nn.log_poisson_loss(p, x, True)
nn.compute_average_loss: m.nn.compute_average_loss(row)
nn.ctc_loss: m.nn.ctc_loss(paths, logits, [3, 2], [7, 6])
nn.ctc_loss blank: m.nn.ctc_loss(paths, logits, [3, 2], [7, 6], blank_index=-1)
nn.ctc_unique_labels: m.nn.ctc_unique_labels(paths)
nn.collapse_repeated: m.nn.collapse_repeated(j, lengths)
nn.compute_accidental_hits: m.nn.compute_accidental_hits(classes, [4, 1, 0], 1)
nn.nce_loss: m.nn.nce_loss(table, table[:, 0], classes, batch, 3, 6, 1, ([0, 2, 4], [[0.5], [0.4]], [0.3, 0.2, 0.6]))
nn.sampled_softmax_loss: m.nn.sampled_softmax_loss(table, table[:, 0], classes, batch, 3, 6, 1, ([0, 2, 4], [[0.5], [0.4]], [0.3, 0.2, 0.6]))
nn.all_candidate_sampler: m.nn.all_candidate_sampler(classes, 1, 5, True)
nn.conv1d: m.nn.conv1d(line, kernel1, 1, "SAME")
nn.conv2d: m.nn.conv2d(image, kernel, 2, "SAME")
nn.conv3d: m.nn.conv3d(volume, kernel3, [1, 1, 1, 1, 1], "VALID")
nn.convolution: m.nn.convolution(image, kernel, padding="SAME")
nn.conv2d_transpose: m.nn.conv2d_transpose(image, m.transpose(kernel, [0, 1, 3, 2]), [2, 12, 12, 2], 2)
nn.conv1d_transpose: m.nn.conv1d_transpose(line, m.transpose(kernel1, [0, 2, 1]), [2, 16, 2], 2)
nn.conv3d_transpose: m.nn.conv3d_transpose(volume, m.transpose(kernel3, [0, 1, 2, 4, 3]), [1, 8, 8, 8, 3], [1, 2, 2, 2, 1])
nn.conv_transpose: m.nn.conv_transpose(image, m.transpose(kernel, [0, 1, 3, 2]), [2, 12, 12, 2], 2)
nn.atrous_conv2d: m.nn.atrous_conv2d(image, kernel, 2, "SAME")
nn.atrous_conv2d_transpose: m.nn.atrous_conv2d_transpose(image, m.transpose(kernel, [0, 1, 3, 2]), [2, 6, 6, 2], 2, "SAME")
nn.depthwise_conv2d: m.nn.depthwise_conv2d(image, depth, [1, 1, 1, 1], "SAME")
nn.separable_conv2d: m.nn.separable_conv2d(image, depth, mix, [1, 1, 1, 1], "SAME")
nn.depthwise_conv2d_backprop_input: m.nn.depthwise_conv2d_backprop_input([2, 8, 8, 2], kernel[:, :, :2] * 1.0, image, [1, 1, 1, 1], "VALID")
nn.depthwise_conv2d_backprop_filter: m.nn.depthwise_conv2d_backprop_filter(image, [1, 1, 4, 1], image, [1, 1, 1, 1], "VALID")
nn.max_pool: m.nn.max_pool(image, 2, 2, "SAME")
nn.avg_pool: m.nn.avg_pool(image, 3, 2, "SAME")
*line, 2, 2, "VALID" | nn.max_pool1d nn.avg_pool1d
*image, 2, 2, "VALID" | nn.max_pool2d nn.avg_pool2d
*volume, 2, 2, "VALID" | nn.max_pool3d nn.avg_pool3d
nn.pool: m.nn.pool(image, [2, 2], "MAX", strides=[2, 2])
nn.max_pool_with_argmax: m.nn.max_pool_with_argmax(image, 2, 2, "VALID")
nn.dilation2d: m.nn.dilation2d(image, flat, [1, 1, 1, 1], "SAME", "NHWC", [1, 1, 1, 1])
nn.erosion2d: m.nn.erosion2d(image, flat, [1, 1, 1, 1], "SAME", "NHWC", [1, 1, 1, 1])
nn.with_space_to_batch: m.nn.with_space_to_batch(image, [2, 2], "SAME", lambda t, n, padding: m.nn.conv2d(t, kernel, 1, padding), [3, 3])
nn.depth_to_space: m.nn.depth_to_space(image, 2)
nn.space_to_depth: m.nn.space_to_depth(image, 2)
nn.space_to_batch: m.nn.space_to_batch(image, [2, 3], [[0, 0], [1, 2]])
image.resize: m.image.resize(image, [4, 9])
image.resize bicubic: m.image.resize(image, [9, 4], "bicubic")
image.resize nearest: m.image.resize(image, [9, 4], "nearest")
image.resize area: m.image.resize(image, [4, 5], "area")
image.resize lanczos3: m.image.resize(image, [4, 9], "lanczos3", antialias=True)
image.resize mitchell: m.image.resize(image, [4, 9], "mitchellcubic", antialias=True)
image.resize gaussian: m.image.resize(image, [4, 9], "gaussian", antialias=True)
linalg.matmul: m.linalg.matmul(cube, cube, transpose_b=True)
linalg.matvec: m.linalg.matvec(cube, row)
*matrix | linalg.adjoint linalg.det linalg.inv linalg.matrix_transpose linalg.pinv linalg.slogdet linalg.trace linalg.diag_part linalg.expm
*matrix | linalg.matrix_rank
*symmetric | linalg.cholesky linalg.eigvalsh linalg.logdet linalg.sqrtm
linalg.cholesky_solve: m.linalg.cholesky_solve(triangular, rhs[0])
linalg.solve: m.linalg.solve(matrix, rhs)
linalg.lstsq: m.linalg.lstsq(matrix, rhs)
linalg.triangular_solve: m.linalg.triangular_solve(triangular, rhs[0])
linalg.lu: m.linalg.lu(matrix)
linalg.lu_solve: m.linalg.lu_solve(*m.linalg.lu(matrix), rhs)
linalg.lu_reconstruct: m.linalg.lu_reconstruct(*m.linalg.lu(matrix))
linalg.lu_matrix_inverse: m.linalg.lu_matrix_inverse(*m.linalg.lu(matrix))
linalg.cross: m.linalg.cross(batch, batch[::-1])
linalg.band_part: m.linalg.band_part(matrix, 1, 0)
linalg.diag: m.linalg.diag(row, k=1)
linalg.set_diag: m.linalg.set_diag(matrix, batch)
linalg.tensor_diag: m.linalg.tensor_diag(row)
linalg.tensor_diag_part: m.linalg.tensor_diag_part(symmetric)
linalg.tensordot: m.linalg.tensordot(x, y, [[1], [1]])
linalg.einsum: m.linalg.einsum("ij,kj->ik", x, y)
linalg.norm: m.linalg.norm(x, ord=1, axis=0)
linalg.normalize: m.linalg.normalize(x, axis=1)
linalg.l2_normalize: m.linalg.l2_normalize(x, 1)
linalg.global_norm: m.linalg.global_norm([x, y])
linalg.eye: m.linalg.eye(3, 4)
linalg.tridiagonal_solve: m.linalg.tridiagonal_solve(diagonals, rhs)
linalg.tridiagonal_matmul: m.linalg.tridiagonal_matmul(diagonals, rhs)
linalg.banded_triangular_solve: m.linalg.banded_triangular_solve(diagonals[0][1:], rhs[0])
linalg.banded_triangular_solve up: m.linalg.banded_triangular_solve(diagonals[0][:2], rhs[0], lower=False)
linalg.eigh_tridiagonal: m.linalg.eigh_tridiagonal(row, row[1:])
linalg.eigh_tridiagonal some: m.linalg.eigh_tridiagonal(row, row[1:], select="i", select_range=(1, 2))
matrix_square_root: m.matrix_square_root(symmetric)
batch_to_space: m.batch_to_space(m.space_to_batch(image, [2, 2], [[0, 0], [0, 0]]), [2, 2], [[0, 1], [1, 0]])
space_to_batch_nd: m.space_to_batch_nd(image, [2, 2], [[0, 0], [1, 1]])
required_space_to_batch_paddings: m.required_space_to_batch_paddings([5, 6], [2, 4])
bitcast: m.bitcast(x, m.int32)
bitcast narrower: m.bitcast(x, m.uint8)
bitcast wider: m.bitcast(x[:, :2], m.float64)
boolean_mask: m.boolean_mask(x, b)
broadcast_to: m.broadcast_to(row, [3, 4])
broadcast_dynamic_shape: m.broadcast_dynamic_shape([3, 1], [4])
cast: m.cast(wide, m.int32)
saturate_cast: m.saturate_cast(wide, m.uint8)
saturate_cast integers: m.saturate_cast(i * 100, m.int8)
clip_by_value: m.clip_by_value(x, -1.0, 1.0)
clip_by_norm: m.clip_by_norm(x, 1.0)
clip_by_global_norm: m.clip_by_global_norm([x, y], 1.0)[0]
concat: m.concat([x, y], 1)
cond: m.cond(m.reduce_sum(x) > 0, lambda: x, lambda: y)
case: m.case([(m.reduce_sum(x) > 99, lambda: x)], default=lambda: y)
switch_case: m.switch_case(count, [lambda: x, lambda: y])
while_loop: m.while_loop(lambda k: k < 5, lambda k: (k + 2,), [count])
dynamic_partition: m.dynamic_partition(x, ids, 3)
dynamic_stitch: m.dynamic_stitch([[0, 2], [1, 3, 4]], [x[:2], y])
expand_dims: m.expand_dims(x, 1)
extract_volume_patches: m.extract_volume_patches(volume, [1, 2, 2, 2, 1], [1, 2, 2, 2, 1], "VALID")
eye: m.eye(3)
fill: m.fill([2, 3], 1.5)
foldl: m.foldl(lambda a, e: a + e, x)
foldr: m.foldr(lambda a, e: a * e, x)
gather: m.gather(x, ids)
gather_nd: m.gather_nd(x, [[0, 1], [2, 3]])
grad_pass_through: m.grad_pass_through(lambda t: t * 2.0)(x)
guarantee_const: m.guarantee_const(x)
histogram_fixed_width: m.histogram_fixed_width(x, [-2.0, 2.0], 5)
histogram_fixed_width_bins: m.histogram_fixed_width_bins(x, [-2.0, 2.0], 5)
identity: m.identity(x)
identity_n: m.identity_n([x, y])
linspace: m.linspace(0.0, 2.0, 5)
map_fn: m.map_fn(lambda t: t * 2.0, x)
meshgrid: m.meshgrid(row, row[:2])
norm: m.norm(x)
one_hot: m.one_hot(labels, 4)
ones: m.ones([2, 3])
ones_like: m.ones_like(x)
pad: m.pad(x, [[1, 0], [0, 2]])
pad reflect: m.pad(x, [[1, 0], [0, 2]], "REFLECT")
parallel_stack: m.parallel_stack([x * 1.0, y * 1.0])
range: m.range(3, 18, 3)
range computed: m.range(count, count * 4, 2)
rank: m.rank(x)
repeat: m.repeat(x, lengths, axis=0)
repeat all: m.repeat(x, 2)
reshape: m.reshape(x, [2, 6])
reshape computed: m.reshape(x, shape2)
reverse: m.reverse(x, [1])
reverse_sequence: m.reverse_sequence(x, lengths, 1, 0)
roll: m.roll(x, [1, -1], [0, 1])
scan: m.scan(lambda a, e: a + e, x)
scatter_nd: m.scatter_nd([[1], [3], [1]], x, [5, 4])
searchsorted: m.searchsorted(m.sort(x), y)
sequence_mask: m.sequence_mask(lengths)
sequence_mask to: m.sequence_mask(lengths, 3, m.float32)
shape: m.shape(x)
shape_n: m.shape_n([x, row])
size: m.size(x)
slice: m.slice(x, [1, 0], [2, -1])
sort: m.sort(x, direction="DESCENDING")
argsort: m.argsort(x)
split: m.split(x, [1, 3], 1)
squeeze: m.squeeze(x[:, None])
stack: m.stack([x, y], 1)
stop_gradient: m.stop_gradient(x)
strided_slice: m.strided_slice(x, [0, 3], [3, 0], [2, -1])
tensor_scatter_nd_add: m.tensor_scatter_nd_add(x, [[1], [1]], y[:2])
tensor_scatter_nd_max: m.tensor_scatter_nd_max(x, [[1], [1]], y[:2])
tensor_scatter_nd_min: m.tensor_scatter_nd_min(x, [[1], [1]], y[:2])
tensor_scatter_nd_sub: m.tensor_scatter_nd_sub(x, [[1], [1]], y[:2])
tensor_scatter_nd_update: m.tensor_scatter_nd_update(x, [[1], [2]], y[:2])
tile: m.tile(x, [2, 1])
transpose: m.transpose(cube, [2, 0, 1])
unique: m.unique(vector)
unique_with_counts: m.unique_with_counts(vector)
unravel_index: m.unravel_index([7, 2, 11], [3, 4])
unstack: m.unstack(m.reshape(x, [3, 4]))
vectorized_map: m.vectorized_map(lambda t: t * 2.0, x)
where: m.where(b, x, y)
where positions: m.where(b)
zeros: m.zeros([2, 3])
zeros_like: m.zeros_like(x)
*[3, 4] | ones_initializer() zeros_initializer()
constant_initializer: m.constant_initializer([1.0, 2.0, 3.0])([3])
advanced slices: x[::-1, m.newaxis, 1:3]
advanced ellipsis: cube[..., -2]
advanced mask: x[b]
"""
)
for _name in ("ones_initializer()", "zeros_initializer()"):
    CALLS[_name] = f"m.{_name}([3, 4])"

#: calls whose values are float sums in another order, or approximations: they may differ from TensorFlow by more than rounding elsewhere
NAMES = re.compile(r"\b(" + "|".join(sorted(VALUES, key=len, reverse=True)) + r")\b(?!\s*=[^=]|\()")


def arguments_of(expression: str) -> list[str]:
    """The names of VALUES that an expression uses, attributes of `m` not counted."""
    bare = re.sub(r"\bm(\.\w+)+|\"[^\"]*\"", "", expression)
    return sorted(set(NAMES.findall(bare)))


def function_of(expression: str, module: Any) -> tuple[Any, list[np.ndarray[Any, Any]]]:
    """The call as a function of its arrays, and the arrays."""
    names = arguments_of(expression)
    function = eval(f"lambda {', '.join(names)}: {expression}", {"m": module})
    return function, [VALUES[name] for name in names]


def leaves(found: Any) -> list[Any]:
    """The tensors of a result, in order."""
    if isinstance(found, (list, tuple)) and not hasattr(found, "as_list"):
        return [leaf for part in found for leaf in leaves(part)]
    return [] if found is None else [found]
