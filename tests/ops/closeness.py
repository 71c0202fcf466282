"""How close an op's results have to be to the reference's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphflow.ir.op import Op, Sample

from .factors import FACTORS, assert_factors
from .table import Array, bits, references

#: Largest distance from the reference in units in the last place; 0 (the same bits) for ops not named here.
TRANSCENDENTAL = 4
ULPS = dict.fromkeys(
    "acos acosh angle asin asinh atan atan2 atanh cos cosh digamma erf erfc erfinv exp expm1 lgamma log log1p "
    "pow rsqrt random_exponential random_normal random_normal_word random_truncated_normal sigmoid sin "
    "sinh softplus tan tanh unit_root xlogy".split(),
    TRANSCENDENTAL,
)  # fmt: skip

#: Fourier transforms: an element is as exact as the largest one.
TRANSFORMS = {"fft", "pair_fft", "fourier_table", "pair_products"}

#: Special functions with zeros, where the error is absolute; SciPy's own is a few ulp. tests/kernels/test_special.py measures ours.
SPECIAL = {
    "bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e", "bessel_j0", "bessel_j1", "bessel_k0", "bessel_k0e", "bessel_k1", "bessel_k1e",
    "bessel_y0", "bessel_y1", "dawsn", "expint", "fresnel_cos", "fresnel_sin", "polygamma_of_order", "spence",
}  # fmt: skip

#: Ops that add or multiply many elements: largest distance in ulp of the same op on absolute values, times the count of elements.
ACCUMULATING = {"reduce_sum", "reduce_prod", "matmul", "scatter_add"}


def assert_results(op: Op, sample: Sample, results: Sequence[Any]) -> None:
    """The results of an op on a sample are the reference's."""
    expected = references(op, sample)
    if op.name in FACTORS:
        assert_factors(op, sample, results, expected)
        return
    for found, right in zip(results, expected, strict=True):
        assert_close(op, sample, np.asarray(found), right)


def assert_close(op: Op, sample: Sample, found: Array, expected: Array) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if found.dtype.kind == "c" or op.name in TRANSFORMS:
        assert_close_as_a_whole(op, sample, found, expected)
        return
    if found.dtype.kind != "f" or found.dtype.itemsize == 2:  # float16 and bfloat16 only where elements are moved
        np.testing.assert_array_equal(bits(found), bits(expected))
        return
    if op.name in SPECIAL:
        close = 32 * np.finfo(found.dtype).eps
        np.testing.assert_allclose(found, expected, rtol=close, atol=close)
        return
    unequal = ~((found == expected) | (np.isnan(found) & np.isnan(expected)))
    if not unequal.any():
        return
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected), err_msg=f"{op.name} {sample.arrays}")
    wide, right = found[unequal].astype(np.float64), expected[unequal].astype(np.float64)
    unit = np.spacing(np.maximum(np.abs(expected[unequal]), np.finfo(expected.dtype).tiny)).astype(np.float64)
    if op.name in ACCUMULATING:
        sizes = Sample(tuple(np.abs(a) if a.dtype.kind == "f" else a for a in sample.arrays), sample.attributes)
        scale = np.spacing(references(op, sizes)[0][unequal]).astype(np.float64)
        bound = scale * max(a.size for a in sample.arrays)
    elif op.name == "lgamma":
        # the C library's own lgamma is thousands of ulp off near its zeros at 1 and 2; tests/kernels measures ours
        bound = TRANSCENDENTAL * np.maximum(unit, 4 * np.finfo(expected.dtype).eps)
    else:
        bound = ULPS.get(op.name, 0) * unit
    worst = np.max((np.abs(wide - right) - bound) / unit)
    assert worst <= 0, f"{op.name}: {worst} ulp beyond the bound, {wide} for {right}, attributes {sample.attributes}"


def assert_close_as_a_whole(op: Op, sample: Sample, found: Array, expected: Array) -> None:
    """Complex numbers are exact as vectors, not part by part."""
    bound = (
        16
        * np.finfo(found.dtype).eps
        * (np.max(np.abs(expected), initial=0.0) if op.name in TRANSFORMS else np.abs(expected))
    )
    with np.errstate(all="ignore"):
        far = ~((found == expected) | (np.isnan(found) & np.isnan(expected)) | (np.abs(found - expected) <= bound))
    assert not far.any(), f"{op.name} {sample.attributes}: {found[far][:3]} for {expected[far][:3]}"
