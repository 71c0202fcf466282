"""Every op, one record each, one file per family. Importing this registers them all in graphflow.ir.op.OPS."""

from __future__ import annotations

from ..ir.op import OPS
from .arithmetic import (
    absolute,
    add,
    divide,
    divide_no_nan,
    maximum,
    minimum,
    multiply,
    multiply_no_nan,
    negative,
    reciprocal,
    sign,
    square,
    squared_difference,
    subtract,
)  # fmt: skip
from .cast import bitcast, cast
from .comparison import (
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
)  # fmt: skip
from .complex import (
    angle,
    as_pairs,
    complex_,
    conj,
    copy_sign,
    from_pairs,
    imag,
    interleave,
    magnitude,
    pair_products,
    real,
)  # fmt: skip
from .control import call, switch, while_
from .custom import checkpoint, custom_gradient
from .decompositions import cholesky, lu, qr, svd
from .diagonal import diagonal, from_diagonal
from .division import floordiv, floormod, pow_, truncatediv, truncatemod
from .eigenvalues import eig, eigh, matrix_square_root
from .elementwise import (
    acos,
    acosh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    ceil,
    cos,
    cosh,
    digamma,
    erf,
    erfc,
    erfinv,
    exp,
    expm1,
    floor,
    is_finite,
    is_inf,
    is_nan,
    lgamma,
    log,
    log1p,
    relu,
    relu_gradient,
    round_,
    rsqrt,
    sigmoid,
    sin,
    sinh,
    softplus,
    sqrt,
    tan,
    tanh,
    trunc,
    xdivy,
    xlogy,
)  # fmt: skip
from .extents import ensure_shape, runtime_range
from .fourier import fft, fourier_table, pair_fft, unit_root
from .generate import constant, iota, one_hot
from .indexing import gather, gather_nd, scatter_add
from .leaky import leaky_relu, leaky_relu_gradient
from .linear import matmul
from .numerics import check_numerics
from .ordering import argsort, cumulative
from .python_call import python_call
from .random import (
    random_bits,
    random_block,
    random_exponential,
    random_normal,
    random_normal_word,
    random_range,
    random_skip,
    random_state,
    random_truncated_normal,
    random_uniform,
)  # fmt: skip
from .reduction import argmax, argmin, reduce_all, reduce_any, reduce_max, reduce_min, reduce_prod, reduce_sum
from .region import fused
from .rows import append_row, scatter_add_into, update_row
from .search import search_sorted
from .segments import scatter_into, scatter_reduce
from .select import select
from .shape import (
    broadcast_to,
    concat,
    dimension,
    identity,
    pad,
    reshape,
    reverse,
    stop_gradient,
    strided_slice,
    strided_slice_gradient,
    transpose,
)  # fmt: skip
from .sparse import row_sums, update_rows
from .special import (
    bessel_i0,
    bessel_i0e,
    bessel_i1,
    bessel_i1e,
    bessel_j0,
    bessel_j1,
    bessel_k0,
    bessel_k0e,
    bessel_k1,
    bessel_k1e,
    bessel_y0,
    bessel_y1,
    dawsn,
    expint,
    fresnel_cos,
    fresnel_sin,
    nextafter,
    polygamma_of_order,
    spence,
)  # fmt: skip
from .state import assert_true, assign_variable, copy, print_, read_variable, written_value
from .systems import determinant, slogdet, solve, triangular_solve, tridiagonal_solve
from .windows import fold_windows, window_max, windows

__all__ = [
    "OPS", "absolute", "acos", "acosh", "add", "angle", "append_row", "argmax", "argmin", "argsort", "as_pairs",
    "asin", "asinh", "assert_true", "assign_variable", "atan", "atan2", "atanh", "bessel_i0", "bessel_i0e",
    "bessel_i1", "bessel_i1e", "bessel_j0", "bessel_j1", "bessel_k0", "bessel_k0e", "bessel_k1", "bessel_k1e",
    "bessel_y0", "bessel_y1", "bitcast", "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or",
    "bitwise_right_shift", "bitwise_xor", "broadcast_to", "call", "cast", "ceil", "check_numerics", "checkpoint",
    "cholesky", "complex_", "concat", "conj", "constant", "copy", "copy_sign", "cos", "cosh", "cumulative",
    "custom_gradient", "dawsn", "determinant", "diagonal", "digamma", "dimension", "divide", "divide_no_nan", "eig", "eigh",
    "ensure_shape", "equal", "erf", "erfc", "erfinv", "exp", "expint", "expm1", "fft", "floor", "floordiv",
    "floormod", "fold_windows", "fourier_table", "fresnel_cos", "fresnel_sin", "from_diagonal", "from_pairs", "fused",
    "gather", "gather_nd", "greater", "greater_equal", "identity", "imag", "interleave", "iota", "is_finite",
    "is_inf", "is_nan", "leaky_relu", "leaky_relu_gradient", "less", "less_equal", "lgamma", "log", "log1p",
    "logical_and", "logical_not", "logical_or", "logical_xor", "lu", "magnitude", "matmul", "matrix_square_root", "maximum", "minimum",
    "multiply", "multiply_no_nan", "negative", "nextafter", "not_equal", "one_hot", "pad", "pair_fft",
    "pair_products", "polygamma_of_order", "pow_", "print_", "python_call", "qr", "random_bits", "random_block",
    "random_exponential", "random_normal", "random_normal_word", "random_range", "random_skip", "random_state",
    "random_truncated_normal", "random_uniform", "read_variable", "real", "reciprocal", "reduce_all", "reduce_any",
    "reduce_max", "reduce_min", "reduce_prod", "reduce_sum", "relu", "relu_gradient", "reshape", "reverse", "round_",
    "row_sums", "rsqrt", "runtime_range", "scatter_add", "scatter_add_into", "scatter_into", "scatter_reduce",
    "search_sorted", "select", "sigmoid", "sign", "sin", "sinh", "slogdet", "softplus", "solve", "spence", "sqrt",
    "square", "squared_difference", "stop_gradient", "strided_slice", "strided_slice_gradient", "subtract", "svd",
    "switch", "tan", "tanh", "transpose", "triangular_solve", "tridiagonal_solve", "trunc", "truncatediv", "truncatemod", "unit_root",
    "update_row", "update_rows", "while_", "window_max", "windows", "written_value", "xdivy", "xlogy",
]  # fmt: skip
