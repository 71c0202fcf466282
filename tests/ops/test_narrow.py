"""Every op in float16 and bfloat16: the samples in float32, made narrow. The definition: operands widened, the op in float32, each result
rounded once. Eager mode, graphs and gradients must agree with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf
import graphflow.ops
from graphflow.dtypes import DType, bfloat16, float16, float32, of_numpy, rounded
from graphflow.errors import DTypeError
from graphflow.ir.op import OPS, Op, Sample

from .factors import FACTORS

NARROW = (float16, bfloat16)
narrow = pytest.mark.parametrize("dtype", NARROW, ids=str)


#: Ops without narrow floats: casts (tests/kernels/test_narrow_conversions.py), truth values, bits, complex numbers; draws are made in
#: float32 and cast.
WIDE_ONLY = set(
    "bitcast bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor cast complex constant fft "
    "fourier_table from_pairs logical_and logical_not logical_or logical_xor pair_fft pair_products random_bits random_block "
    "random_exponential random_normal random_normal_word random_range random_skip random_state random_truncated_normal "
    "random_uniform reduce_all reduce_any row_sums unit_root update_rows written_value".split()
)
#: Results near zero are known to the rounding of what was added up, in float32.
SUMS = {
    "cumulative",
    "digamma",
    "fold_windows",
    "lgamma",
    "matmul",
    "reduce_sum",
    "scatter_add",
    "scatter_into",
    "scatter_reduce",
}
#: Slopes such as cos(x * x), where rounding the square moves the angle.
OSCILLATING = {"fresnel_cos", "fresnel_sin"}


def made_narrow(op: Op, sample: Sample, dtype: DType) -> Sample | None:
    """A sample of float32 in a narrow dtype; None for other samples."""
    attributes = {k: dtype if v is float32 else v for k, v in sample.attributes.items()}
    floats = [a for a in sample.arrays if np.asarray(a).dtype.kind == "f"]
    if any(a.dtype != np.float32 for a in floats) or not floats and attributes == dict(sample.attributes):
        return None
    arrays = tuple(within(a, dtype) if a.dtype == np.float32 else a for a in map(np.asarray, sample.arrays))
    return Sample(arrays, attributes, sample.error, sample.gradient)


def within(array: np.ndarray[Any, Any], dtype: DType) -> np.ndarray[Any, Any]:
    """Rounded; what is finite stays so."""
    made = rounded(array, dtype)
    return np.where(np.isfinite(array) & ~np.isfinite(made), np.copysign(rounded(float(dtype.max), dtype), made), made)


def narrow_samples(op: Op, dtype: DType) -> list[Sample]:
    """The good ones of an op."""
    if op.samples is None or op.name in ("bitcast", "cast", "fourier_table", "pair_fft"):
        return []
    made = [made_narrow(op, s, dtype) for s in op.samples() if s.error is None]
    return [s for s in made if s is not None and is_accepted(op, s)]


def is_accepted(op: Op, sample: Sample) -> bool:
    """Does the type rule take these dtypes?"""
    try:
        op.result_types(tuple(gf.constant(a).type for a in sample.arrays), sample.attributes)
    except DTypeError:
        return False
    return True


def widened(array: Any) -> Any:
    return np.asarray(array).astype(np.float32) if of_numpy(np.asarray(array).dtype).is_narrow else np.asarray(array)


def several(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def bits(array: Any) -> np.ndarray[Any, Any]:
    """As integers, every NaN as one."""
    array = np.asarray(array)
    if array.dtype.kind in "biu":
        return array
    return np.where(np.isnan(array), -1, array.view(f"i{array.dtype.itemsize}"))


NARROW_OPS = [op for op in OPS.values() if op.samples is not None and narrow_samples(op, float16)]
narrow_op = pytest.mark.parametrize("op", NARROW_OPS, ids=lambda op: op.name)


def test_every_op_of_floats_takes_narrow_floats() -> None:
    sampled = [op for op in OPS.values() if op.samples is not None]
    assert {op.name for op in sampled if op not in NARROW_OPS and not takes_complex_only(op)} <= WIDE_ONLY


def takes_complex_only(op: Op) -> bool:
    """Ops of pairs of numbers."""
    assert op.samples is not None
    return all(any(np.asarray(a).dtype.kind == "c" for a in s.arrays) for s in op.samples() if s.error is None)


def run(op: Op, sample: Sample, arrays: Any) -> list[np.ndarray[Any, Any]]:
    wide = {k: float32 if isinstance(v, DType) and v.is_narrow else v for k, v in sample.attributes.items()}
    return [np.asarray(r) for r in several(op(*(gf.constant(widened(a)) for a in arrays), **wide))]


@narrow
@narrow_op
def test_bad_samples_raise_the_stated_class(op: Op, dtype: DType) -> None:
    assert op.samples is not None
    for sample in op.samples():
        bad = made_narrow(op, sample, dtype) if sample.error is not None and op.name not in WIDE_ONLY else None
        if bad is not None and bad.error is not None:
            with pytest.raises(bad.error, match=rf"{op.name}[:\s]"):
                op(*map(gf.constant, bad.arrays), **bad.attributes)


DIFFERENTIABLE = [op for op in NARROW_OPS if op.gradient is not None]


@narrow
@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_gradients_have_the_dtype_and_are_close(op: Op, dtype: DType) -> None:
    """Against the gradient in float32 of the same numbers."""
    generator = np.random.default_rng(5)
    for sample in narrow_samples(op, dtype):
        kinds = op.result_types(tuple(gf.constant(a).type for a in sample.arrays), sample.attributes)
        if not sample.gradient or not kinds[0].dtype.is_narrow or 0 in kinds[0].shape:
            continue
        weights = generator.uniform(0.5, 1.5, kinds[0].shape).astype(np.float32)

        def slopes(arrays: Any, weights: Any = weights, sample: Sample = sample) -> list[Any]:
            operands = [gf.constant(a) for a in arrays]
            floats = [t for t in operands if t.dtype.is_floating]
            wide = floats[0].dtype is float32
            attributes = {
                k: float32 if wide and isinstance(v, DType) and v.is_narrow else v for k, v in sample.attributes.items()
            }
            with gf.GradientTape() as tape:
                tape.watch(floats)
                result = several(op(*operands, **attributes))[0]
                total = gf.reduce_sum(result * gf.cast(weights, result.dtype))
            found = tape.gradient(total, floats)
            for t, g in zip(floats, found, strict=True):
                assert g is None or (g.dtype is t.dtype and g.dims == t.dims)
            return found

        found, expected = slopes(sample.arrays), slopes([widened(a) for a in sample.arrays])
        for got, right in zip(found, expected, strict=True):
            assert (got is None) == (right is None)
            if got is None:
                continue
            right = np.asarray(right)
            size = np.max(np.abs(right[np.isfinite(right)]), initial=0.0)
            close = {float16: 2.0**-7, bfloat16: 2.0**-4}[dtype] * max(1.0, float(size))
            if op.name in OSCILLATING:
                continue
            finite = np.isfinite(right) & (np.abs(right) < 6e4)
            np.testing.assert_allclose(
                widened(got)[finite], right[finite], atol=close, rtol=close, err_msg=f"{op.name} {sample}"
            )
