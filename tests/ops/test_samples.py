"""The table of op samples: eager against the reference, graph against eager bit for bit, errors, and gradients
against central differences in float64, first and second order."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphflow as gf
import graphflow.ops
from graphflow.ir.op import OPS, Op, Sample

SAMPLED = [op for op in OPS.values() if op.samples is not None]
FLOAT_GRADIENT = [op for op in SAMPLED if op.gradient is not None]
sampled_op = pytest.mark.parametrize("op", SAMPLED, ids=lambda op: op.name)

#: Largest distance from the reference in units in the last place; 0 (the same bits) for ops not named here.
TRANSCENDENTAL = 4
ULPS = dict.fromkeys(
    "acos acosh angle asin asinh atan atan2 atanh cos cosh digamma erf erfc erfinv exp expm1 lgamma log log1p "
    "pow rsqrt random_exponential random_normal random_normal_word random_truncated_normal sigmoid sin "
    "sinh softplus tan tanh unit_root xlogy".split(),
    TRANSCENDENTAL,
)  # fmt: skip

#: Ops that add or multiply many elements: largest distance in ulp of the same op on absolute values, times the count of
#: elements.
#: Factorisations: vectors are known up to their sign, and numbers up to the rounding of a whole algorithm.
FACTORS = {"cholesky", "determinant", "eigh", "lu", "qr", "slogdet", "solve", "svd", "triangular_solve"}

#: Fourier transforms: an element is as exact as the largest one.
TRANSFORMS = {"fft", "pair_fft", "fourier_table", "pair_products"}

#: Special functions with zeros, where the error is absolute; SciPy's own is a few ulp. tests/kernels/test_special.py measures ours.
SPECIAL = {
    "bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e", "bessel_j0", "bessel_j1", "bessel_k0", "bessel_k0e", "bessel_k1", "bessel_k1e",
    "bessel_y0", "bessel_y1", "dawsn", "expint", "fresnel_cos", "fresnel_sin", "polygamma_of_order", "spence",
}  # fmt: skip

ACCUMULATING = {"reduce_sum", "reduce_prod", "matmul", "scatter_add"}


def tensors(sample: Sample) -> list[Any]:
    return [gf.constant(a) for a in sample.arrays]


def good_samples(op: Op) -> list[Sample]:
    assert op.samples is not None
    return [s for s in op.samples() if s.error is None]


def several(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def references(op: Op, sample: Sample) -> list[np.ndarray[Any, Any]]:
    assert op.reference is not None
    with np.errstate(all="ignore"):
        return [np.asarray(r) for r in several(op.reference(*sample.arrays, **sample.attributes))]


def reference(op: Op, sample: Sample) -> np.ndarray[Any, Any]:
    (found,) = references(op, sample)
    return found


def assert_close(op: Op, sample: Sample, found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    if found.dtype.kind == "c" or op.name in TRANSFORMS:
        assert_close_as_a_whole(op, sample, found, expected)
        return
    if found.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
        return
    if op.name in FACTORS:
        close = 1e4 * np.finfo(found.dtype).eps
        np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=close, atol=close)
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
        scale = np.spacing(reference(op, sizes)[unequal]).astype(np.float64)
        bound = scale * max(a.size for a in sample.arrays)
    elif op.name == "lgamma":
        # the C library's own lgamma is thousands of ulp off near its zeros at 1 and 2; tests/kernels measures ours
        bound = TRANSCENDENTAL * np.maximum(unit, 4 * np.finfo(expected.dtype).eps)
    else:
        bound = ULPS.get(op.name, 0) * unit
    worst = np.max((np.abs(wide - right) - bound) / unit)
    assert worst <= 0, f"{op.name}: {worst} ulp beyond the bound, {wide} for {right}, attributes {sample.attributes}"


def assert_close_as_a_whole(
    op: Op, sample: Sample, found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]
) -> None:
    """Complex numbers are exact as vectors, not part by part."""
    bound = (
        16
        * np.finfo(found.dtype).eps
        * (np.max(np.abs(expected), initial=0.0) if op.name in TRANSFORMS else np.abs(expected))
    )
    with np.errstate(all="ignore"):
        far = ~((found == expected) | (np.isnan(found) & np.isnan(expected)) | (np.abs(found - expected) <= bound))
    assert not far.any(), f"{op.name} {sample.attributes}: {found[far][:3]} for {expected[far][:3]}"


def bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array as integers, every NaN as one."""
    if array.dtype.kind == "c":
        return np.stack([bits(array.real.copy()), bits(array.imag.copy())], -1)
    if array.dtype.kind != "f":
        return array
    return np.where(np.isnan(array), -1, array.view(f"i{array.dtype.itemsize}"))


@sampled_op
def test_eager_matches_the_reference(op: Op) -> None:
    for sample in good_samples(op):
        results = several(op(*tensors(sample), **sample.attributes))
        for found, expected in zip(results, references(op, sample), strict=True):
            assert_close(op, sample, np.asarray(found), expected)


@sampled_op
def test_graph_gives_the_bits_of_eager(op: Op) -> None:
    """All samples of an op are one function: one compilation. Where eager mode calls NumPy, this proves that it has the
    kernel's bits."""
    samples = good_samples(op)
    arguments = [tensors(s) for s in samples]

    @gf.function
    def all_samples(operands: Any) -> Any:
        return [op(*own, **s.attributes) for own, s in zip(operands, samples, strict=True)]

    results = all_samples(arguments)
    for sample, own, found in zip(samples, arguments, results, strict=True):
        for one, expected in zip(several(found), several(op(*own, **sample.attributes)), strict=True):
            assert one.dtype is expected.dtype
            np.testing.assert_array_equal(bits(np.asarray(one)), bits(np.asarray(expected)), err_msg=f"{sample}")


def one_op_function(op: Op, sample: Sample) -> Any:
    @gf.function
    def one(*operands: Any) -> Any:
        return op(*operands, **sample.attributes)

    return one


@sampled_op
def test_bad_samples_raise_the_stated_class_in_both_modes(op: Op) -> None:
    assert op.samples is not None
    for sample in op.samples():
        if sample.error is None:
            continue
        with pytest.raises(sample.error, match=rf"{op.name}[:\s]"):
            op(*tensors(sample), **sample.attributes)
        with pytest.raises(sample.error, match=rf"{op.name}[:\s]") as caught:
            one_op_function(op, sample)(*tensors(sample))
        assert "test_samples.py" in str(caught.value)


# Gradients ----------------------------------------------------------------------------------------------------------
STEP = 1e-5
NO_SECOND_ORDER: frozenset[str] = frozenset()
DIRECTIONS = 2


def gradient_samples(op: Op) -> Iterator[Sample]:
    for sample in good_samples(op):
        floats = [a for a in sample.arrays if a.dtype.kind == "f"]
        if sample.gradient and floats and all(a.dtype == np.float64 for a in floats) and sum(a.size for a in floats):
            yield sample


def moved(sample: Sample, directions: list[Any], step: float) -> list[Any]:
    return [a if d is None else a + step * d for a, d in zip(sample.arrays, directions, strict=True)]


def random_like(arrays: Any, generator: np.random.Generator) -> list[Any]:
    return [generator.standard_normal(a.shape) if a.dtype == np.float64 else None for a in arrays]


def dot(values: Any, directions: list[Any]) -> Any:
    """The sum of products of gradients and directions; a None gradient counts as zero."""
    parts = [gf.reduce_sum(v * d) for v, d in zip(values, directions, strict=True) if v is not None and d is not None]
    return gf.math.add_n(parts) if parts else None


@pytest.mark.parametrize("op", FLOAT_GRADIENT, ids=lambda op: op.name)
def test_gradients_match_central_differences(op: Op) -> None:
    generator = np.random.default_rng(7)
    count = 0
    for sample in gradient_samples(op):
        expected_output = references(op, sample)[0]
        if expected_output.dtype != np.float64:
            continue
        weights = generator.standard_normal(expected_output.shape)

        def scalar(arrays: Any, op: Op = op, sample: Sample = sample, weights: Any = weights) -> float:
            with np.errstate(all="ignore"):
                return float(np.sum(weights * op.reference(*arrays, **sample.attributes)))  # type: ignore[misc]

        def slopes(
            arrays: Any, op: Op = op, sample: Sample = sample, weights: Any = weights
        ) -> tuple[list[Any], list[Any]]:
            operands = [gf.constant(a) for a in arrays]
            with gf.GradientTape() as tape:
                floats = [t for t in operands if t.dtype.is_floating]
                tape.watch(floats)
                total = gf.reduce_sum(op(*operands, **sample.attributes) * weights)
            found = iter(tape.gradient(total, floats))
            return [next(found) if t.dtype.is_floating else None for t in operands], operands

        first, operands = slopes(sample.arrays)
        for t, g in zip(operands, first, strict=True):
            assert g is None or (g.dtype is t.dtype and g.dims == t.dims)
        for _ in range(DIRECTIONS):
            along = random_like(sample.arrays, generator)
            upper, lower = scalar(moved(sample, along, STEP)), scalar(moved(sample, along, -STEP))
            expected = (upper - lower) / (2 * STEP)
            found = dot(first, along)
            scale = 1 + np.sum(np.abs(weights)) + abs(expected)
            assert abs((0.0 if found is None else float(found)) - expected) <= 2e-7 * scale, (
                f"{op.name} {sample.attributes}"
            )
            count += 1
        # second order: the derivative of <gradient, u> along v, against differences of the first-order gradient
        u, v = random_like(sample.arrays, generator), random_like(sample.arrays, generator)
        if op.name in NO_SECOND_ORDER:
            with pytest.raises(LookupError):
                second_slopes(op, sample, weights, u)
            continue
        second = second_slopes(op, sample, weights, u)
        found = dot(second, v)
        upper = dot(slopes(moved(sample, v, STEP))[0], u)
        lower = dot(slopes(moved(sample, v, -STEP))[0], u)
        if upper is None:
            assert found is None
            continue
        expected = (float(upper) - float(lower)) / (2 * STEP)
        scale = 1 + abs(float(upper)) + abs(expected)
        assert abs((0.0 if found is None else float(found)) - expected) <= 1e-6 * scale, (
            f"{op.name} second order {sample.attributes}"
        )
    assert count or not any(True for _ in gradient_samples(op))


def second_slopes(op: Op, sample: Sample, weights: Any, u: list[Any]) -> list[Any]:
    """Gradients of <gradient of sum(weights * op), u>, or None where an op on the way has no gradient."""
    operands = [gf.constant(a) for a in sample.arrays]
    floats = [t for t in operands if t.dtype.is_floating]
    with gf.GradientTape() as outer:
        outer.watch(floats)
        with gf.GradientTape() as inner:
            inner.watch(floats)
            total = gf.reduce_sum(op(*operands, **sample.attributes) * weights)
        first = inner.gradient(total, floats)
        own_u = [d for d in u if d is not None]
        projected = dot(first, own_u)
    found = iter([None] * len(floats) if projected is None else outer.gradient(projected, floats))
    return [next(found) if t.dtype.is_floating else None for t in operands]


def test_warnings_are_errors_here() -> None:
    with pytest.raises(UserWarning):
        warnings.warn("a test must not warn", UserWarning, stacklevel=1)
