"""What an op's record is in TensorFlow: one entry an op with samples. Functions take the module (TensorFlow or graphflow: an expression is
the same in both), the operands, and the attributes by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import graphflow as gf

#: op -> the TensorFlow function of the same meaning and operands
NAMED: dict[str, str] = {
    **{name: f"math.{name}" for name in (
        "acos acosh add angle asin asinh atan atan2 atanh ceil conj cos cosh digamma divide_no_nan equal erf erfc erfinv exp expm1 floor "
        "floordiv floormod greater greater_equal imag is_finite is_inf is_nan less less_equal lgamma log log1p logical_and logical_not "
        "logical_or logical_xor maximum minimum multiply multiply_no_nan negative nextafter not_equal pow real reciprocal round rsqrt "
        "sigmoid sign sin sinh softplus sqrt square squared_difference subtract tan tanh xdivy xlogy bessel_i0 bessel_i0e bessel_i1 "
        "bessel_i1e"
    ).split()},
    **{name: f"math.special.{name}" for name in (
        "bessel_j0 bessel_j1 bessel_k0 bessel_k0e bessel_k1 bessel_k1e bessel_y0 bessel_y1 dawsn expint fresnel_cos fresnel_sin spence"
    ).split()},
    **{f"bitwise_{name}": f"bitwise.{function}" for name, function in (
        ("and", "bitwise_and"), ("or", "bitwise_or"), ("xor", "bitwise_xor"), ("invert", "invert"), ("left_shift", "left_shift"),
        ("right_shift", "right_shift"),
    )},
    "absolute": "math.abs", "divide": "math.divide", "truncatediv": "truncatediv", "truncatemod": "truncatemod", "complex": "complex",
    "identity": "identity", "checkpoint": "identity", "stop_gradient": "stop_gradient", "relu": "nn.relu", "select": "where",
    "cholesky": "linalg.cholesky", "determinant": "linalg.det", "slogdet": "linalg.slogdet",}  # fmt: skip


def _vectors(tf: Any, *found: Any) -> tuple[Any, ...]:
    """Factors whose vectors are known up to their sign (phase): absolute values."""
    return tuple(tf.abs(v) for v in found)


def _fft(tf: Any, x: Any, table: Any, kind: str, inverse: bool, odd: bool, length: Any) -> Any:
    if kind == "complex":
        return (tf.signal.ifft if inverse else tf.signal.fft)(x)
    if kind == "to_complex":
        return tf.signal.rfft(x)
    return tf.signal.irfft(x, [length if length is not None else 2 * (x.shape[-1] - 1) + bool(odd)])


def _scatter_reduce(tf: Any, ids: Any, data: Any, rows: int, kind: str, drop_negative: bool) -> Any:
    """The op fails on negative numbers if they are not to be dropped, and gives infinities for numbers that do not occur."""
    with tf.control_dependencies([] if drop_negative else [tf.debugging.assert_non_negative(ids)]):
        found = getattr(tf.math, f"unsorted_segment_{kind}")(data, ids, rows)
    if kind not in ("max", "min") or not data.dtype.is_floating:
        return found
    occurs = tf.math.unsorted_segment_sum(tf.ones_like(data), ids, rows) > 0
    return tf.where(occurs, found, tf.constant(float("-inf" if kind == "max" else "inf"), data.dtype))


def _scatter_into(tf: Any, array: Any, ids: Any, data: Any, kind: str) -> Any:
    name = {"set": "update", "sum": "add"}.get(kind, kind)
    return getattr(tf, f"tensor_scatter_nd_{name}")(array, ids[:, None], data)


def _slices(begin: Any, sizes: Any, strides: Any) -> tuple[Any, ...]:
    """The slices that take `sizes` elements from `begin` on."""
    found = []
    for start, size, step in zip(begin, sizes, strides, strict=True):
        stop = start + size * step
        found.append(slice(start, None if stop < 0 else stop, step) if size else slice(0, 0))
    return tuple(found)


def _strided_slice_gradient(tf: Any, dy: Any, shape: Any, begin: Any, strides: Any) -> Any:
    lines = [b + np.arange(n) * step for b, n, step in zip(begin, dy.shape, strides, strict=True)]
    return tf.scatter_nd(np.stack(np.meshgrid(*lines, indexing="ij"), -1), dy, shape)


def _in_order(tf: Any, values: Any, vectors: Any) -> tuple[Any, ...]:
    """Eigenvalues by their real parts, which differ in the samples or belong to conjugates, and absolute values of their vectors."""
    key = tf.math.real(values) + tf.math.imag(values) * 1e-3
    order = tf.argsort(key, -1)
    rank = len(values.shape) - 1
    return tf.gather(values, order, batch_dims=rank), tf.gather(tf.abs(vectors), order, axis=-1, batch_dims=rank)


def _pair_products(tf: Any, x: Any, axis: int, exclusive: bool, reverse: bool, total: bool) -> Any:
    numbers = tf.complex(x[..., 0], x[..., 1])
    found = tf.reduce_prod(numbers, axis) if total else tf.math.cumprod(numbers, axis, exclusive, reverse)
    return tf.stack([tf.math.real(found), tf.math.imag(found)], -1)


#: op -> the TensorFlow expression
WRITTEN: dict[str, Callable[..., Any]] = {
    "append_row": lambda tf, array, value: tf.concat([array, value[None]], 0),
    "argmax": lambda tf, x, axis, output_type: tf.argmax(x, axis, output_type),
    "argmin": lambda tf, x, axis, output_type: tf.argmin(x, axis, output_type),
    "argsort": lambda tf, x, descending: tf.argsort(x, -1, "DESCENDING" if descending else "ASCENDING", stable=True),
    "as_pairs": lambda tf, x: tf.stack([tf.math.real(x), tf.math.imag(x)], -1),
    "bitcast": lambda tf, x, dtype: tf.bitcast(x, dtype),
    "broadcast_to": lambda tf, x, shape: tf.broadcast_to(x, shape),
    "cast": lambda tf, x, dtype: tf.cast(x, dtype),
    "check_numerics": lambda tf, x, message: tf.debugging.check_numerics(x, message),
    "concat": lambda tf, *values, axis: tf.concat(values, axis),
    "constant": lambda tf, value: tf.constant(value),
    "cumulative": lambda tf, x, axis, kind, exclusive, reverse: getattr(tf.math, f"cum{kind}")(x, axis, exclusive, reverse),
    "diagonal": lambda tf, x, offset: tf.linalg.diag_part(x, k=offset),
    "dimension": lambda tf, x, axis: tf.shape(x)[axis],
    "eig": lambda tf, x: _in_order(tf, *tf.linalg.eig(x)),
    "eigh": lambda tf, x: (lambda values, vectors: (values, *_vectors(tf, vectors)))(*tf.linalg.eigh(x)),
    "ensure_shape": lambda tf, x, shape: tf.ensure_shape(x, shape),
    "fft": _fft,
    "from_diagonal": lambda tf, x, rows, columns, offset: tf.linalg.diag(x, k=offset, num_rows=rows, num_cols=columns),
    "from_pairs": lambda tf, x: tf.complex(x[..., 0], x[..., 1]),
    "gather": lambda tf, params, indices, axis, batch_dims: tf.gather(params, indices, axis=axis, batch_dims=batch_dims),
    "gather_nd": lambda tf, params, indices, depth: tf.gather_nd(params, indices[..., :depth]),
    "interleave": lambda tf, x, y: tf.stack([x, y], -1),
    "iota": lambda tf, shape, axis, dtype: tf.broadcast_to(
        tf.reshape(tf.range(tf.cast(shape[axis], dtype)), [-1, *(1,) * (len(shape) - axis - 1)]), shape
    ),
    "leaky_relu": lambda tf, x, alpha: tf.where(x > 0, x, x * alpha),
    "leaky_relu_gradient": lambda tf, dy, x, alpha: tf.where(x > 0, dy, dy * alpha),
    "lu": lambda tf, x: tf.linalg.lu(x)[0],
    "magnitude": lambda tf, x, y: tf.abs(tf.complex(x, y)),
    "matmul": lambda tf, a, b, transpose_a, transpose_b: tf.matmul(a, b, transpose_a, transpose_b),
    "matrix_square_root": lambda tf, x: tf.linalg.sqrtm(x),
    "one_hot": lambda tf, indices, on_value, off_value, depth, axis: tf.one_hot(indices, depth, on_value, off_value, axis),
    "pad": lambda tf, x, paddings, mode, constant: tf.pad(x, paddings, mode, constant),
    "pair_products": _pair_products,
    "polygamma_of_order": lambda tf, x, order: tf.math.polygamma(tf.constant(order, x.dtype), x),
    "qr": lambda tf, x, full_matrices: _vectors(tf, *tf.linalg.qr(x, full_matrices)),
    "reduce_all": lambda tf, x, axes, keepdims: tf.reduce_all(x, axes, keepdims),
    "reduce_any": lambda tf, x, axes, keepdims: tf.reduce_any(x, axes, keepdims),
    "reduce_max": lambda tf, x, axes, keepdims: tf.reduce_max(x, axes, keepdims),
    "reduce_min": lambda tf, x, axes, keepdims: tf.reduce_min(x, axes, keepdims),
    "reduce_prod": lambda tf, x, axes, keepdims: tf.reduce_prod(x, axes, keepdims),
    "reduce_sum": lambda tf, x, axes, keepdims: tf.reduce_sum(x, axes, keepdims),
    "relu_gradient": lambda tf, dy, y: tf.where(y > 0, dy, tf.zeros_like(dy)),
    "reshape": lambda tf, x, shape: tf.reshape(x, shape),
    "reverse": lambda tf, x, axes: tf.reverse(x, axes),
    "row_sums": lambda tf, indices, updates, wanted, rows: tf.gather(
        tf.math.unsorted_segment_sum(tf.stop_gradient(updates), indices, rows), wanted
    ),
    "scatter_add": lambda tf, indices, updates, shape: tf.math.unsorted_segment_sum(updates, indices, shape[0]),
    "scatter_add_into": lambda tf, array, index, value: tf.tensor_scatter_nd_add(array, index[None, None], value[None]),
    "scatter_into": _scatter_into,
    "scatter_reduce": _scatter_reduce,
    "search_sorted": lambda tf, sequence, values, side, output_type: tf.searchsorted(sequence, values, side, output_type),
    "solve": lambda tf, matrix, right, adjoint: tf.linalg.solve(matrix, right, adjoint=adjoint),
    "strided_slice": lambda tf, x, begin, sizes, strides: x[_slices(begin, sizes, strides)],
    "strided_slice_gradient": _strided_slice_gradient,
    "svd": lambda tf, x, full_matrices: (lambda s, u, v: (s, *_vectors(tf, u, v)))(*tf.linalg.svd(x, full_matrices)),
    "transpose": lambda tf, x, permutation: tf.transpose(x, permutation),
    "triangular_solve": lambda tf, matrix, right, lower, adjoint: tf.linalg.triangular_solve(matrix, right, lower, adjoint),
    "tridiagonal_solve": lambda tf, above, middle, below, right: tf.linalg.tridiagonal_solve((above, middle, below), right, "sequence"),
    "trunc": lambda tf, x: tf.where(x < 0, tf.math.ceil(x), tf.math.floor(x)),
    "update_row": lambda tf, array, index, value: tf.tensor_scatter_nd_update(array, index[None, None], value[None]),
}  # fmt: skip

#: op -> what becomes of the record's result before it is compared
PREPARED: dict[str, Callable[..., Any]] = {
    "eig": lambda found: _in_order(gf, *found),
    "eigh": lambda found: (gf.cast(found[0], found[1].dtype), *_vectors(gf, found[1])),
    "lu": lambda found: found[0],
    "qr": lambda found: _vectors(gf, *found),
    "svd": lambda found: (found[0], *_vectors(gf, *found[1:])),
}

#: ops that the compiler makes after differentiation, and gradients as ops, whose own are tested by differences alone
WITHOUT_GRADIENT = frozenset(
    {"as_pairs", "from_pairs", "interleave", "pair_products", "relu_gradient", "leaky_relu_gradient"}
)

#: ops whose record is less than the public expression (which takes other dtypes, clamps, counts from the end) or has arguments of its own
RECORD_ONLY = frozenset({"iota"})

_DRAWS = "part of the random generator, whose draws are its own; tests/random checks their distributions"
_WINDOWS = "part of convolutions and pooling, which the calls compare"

#: op -> why TensorFlow has no expression for it
WITHOUT: dict[str, str] = {
    **dict.fromkeys(
        "random_bits random_block random_exponential random_normal random_normal_word random_range random_skip random_state "
        "random_truncated_normal random_uniform".split(), _DRAWS,
    ),
    **dict.fromkeys(("windows", "fold_windows", "window_max"), _WINDOWS),
    **dict.fromkeys(("unit_root", "fourier_table", "pair_fft"), "part of the Fourier transforms, which the op fft and the calls compare"),
    **dict.fromkeys(("custom_gradient", "fused", "runtime_range"), "made by the tracer and by passes around other ops"),
    "copy_sign": "part of complex roots and angles",
    "update_rows": "part of an optimizer's step on single rows; its samples and tests/autodiff check it",
    "written_value": "a variable's value inside a branch that has written it",
}  # fmt: skip
