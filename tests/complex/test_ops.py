"""Every op that takes complex numbers, on the samples of its record with imaginary parts added: eager against NumPy in complex128, graph
against eager bit for bit, and gradients against central differences in the parts, first and second order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf
import graphflow.ops
from graphflow.ir.op import OPS, Effect, Op, Sample
from graphflow.ops.samples import complex_samples
from graphflow.passes.complex_rules import ON_ARRAYS

#: effects are outside: what a sample's Python function returns has the dtypes of the sample's own operands
COMPLEX = [
    op
    for op in OPS.values()
    if op.samples is not None and op.reference is not None and not isinstance(op.kernel, Effect) and complex_samples(op)
]
every_op = pytest.mark.parametrize("op", COMPLEX, ids=lambda op: op.name)

#: how many times eps an element may be off, of the result's magnitude; of the largest element for ops that add many
ULPS = {"pow": 64, "sigmoid": 12, "tan": 12, "tanh": 12, "expm1": 12, "xlogy": 12}
WHOLE = {"fft", "matmul", "reduce_prod", "reduce_sum", "cumulative", "scatter_add", "scatter_reduce", "fold_windows"}


def several(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def bits(array: Any) -> np.ndarray[Any, Any]:
    found = np.asarray(array)
    if found.dtype.kind == "c":
        return np.stack([bits(found.real), bits(found.imag)], -1)
    if found.dtype.kind != "f":
        return found
    return np.where(np.isnan(found), -1, np.ascontiguousarray(found).view(f"i{found.dtype.itemsize}"))


def test_the_table_has_the_ops_that_tensorflow_gives_complex_numbers() -> None:
    wanted = (
        "absolute acos acosh add angle asin asinh atan atanh conj cos cosh cumulative divide divide_no_nan equal exp expm1 imag log "
        "log1p matmul multiply multiply_no_nan negative not_equal pow real reciprocal reduce_prod reduce_sum rsqrt sigmoid sign sin "
        "sinh sqrt square squared_difference subtract tan tanh xdivy xlogy select gather gather_nd scatter_add concat pad reshape "
        "transpose reverse strided_slice broadcast_to cast diagonal from_diagonal fft"
    )
    assert set(wanted.split()) <= {op.name for op in COMPLEX}


@pytest.mark.parametrize("op", [op for op in COMPLEX if op.name not in ON_ARRAYS], ids=lambda op: op.name)
def test_eager_matches_numpy(op: Op) -> None:
    """Linear algebra is in tests/ops/test_factors.py."""
    for sample in complex_samples(op):
        found = several(op(*map(gf.constant, sample.arrays), **sample.attributes))
        assert op.reference is not None
        with np.errstate(all="ignore"):
            expected = several(op.reference(*sample.arrays, **sample.attributes))
        for one, right in zip(found, map(np.asarray, expected), strict=True):
            value = np.asarray(one)
            assert (value.dtype, value.shape) == (right.dtype, right.shape)
            if right.dtype.kind not in "fc":
                np.testing.assert_array_equal(value, right)
                continue
            size = (
                np.max(np.abs(right), initial=0.0) * max(a.size for a in sample.arrays)
                if op.name in WHOLE
                else np.abs(right)
            )
            assert np.all(np.abs(value - right) <= ULPS.get(op.name, 8) * np.finfo(right.dtype).eps * size), op.name


@every_op
def test_graph_gives_the_bits_of_eager(op: Op) -> None:
    samples = complex_samples(op)
    arguments = [[gf.constant(a) for a in s.arrays] for s in samples]

    @gf.function
    def all_samples(operands: Any) -> Any:
        return [op(*own, **s.attributes) for own, s in zip(operands, samples, strict=True)]

    for sample, own, found in zip(samples, arguments, all_samples(arguments), strict=True):
        for one, expected in zip(several(found), several(op(*own, **sample.attributes)), strict=True):
            assert one.dtype is expected.dtype
            np.testing.assert_array_equal(bits(one), bits(expected), err_msg=f"{sample}")


# Gradients ------------------------------------------------------------------------------------------------------------
STEP = 1e-5
NO_SLOPE = {"stop_gradient"}


def gradient_samples(op: Op) -> list[Sample]:
    found = [s for s in complex_samples(op) if all(a.dtype.name not in ("complex64", "float32") for a in s.arrays)]
    return [] if op.gradient is None or op.name in NO_SLOPE else [s for s in found if s.gradient or op.name in OWN][:3]


#: ops whose own samples are complex, and smooth
OWN = {"angle", "conj", "real", "imag", "complex", "fft"}
DIFFERENTIABLE = [op for op in COMPLEX if gradient_samples(op)]


def weighted(out: Any, weights: np.ndarray[Any, Any]) -> Any:
    """Re sum(out conj(weights)) of a tensor."""
    if out.dtype.is_complex:
        return gf.reduce_sum(gf.math.real(out * np.conj(weights)))
    return gf.reduce_sum(out * weights.real)


def along(gradients: Any, directions: list[Any]) -> Any:
    """The slope that gradients say there is along directions: Re sum(conj(gradient) direction)."""
    parts = [weighted(g, d) for g, d in zip(gradients, directions, strict=True) if g is not None and d is not None]
    return gf.math.add_n(parts) if parts else gf.constant(0.0, gf.float64)


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_gradients_match_central_differences_in_the_parts(op: Op) -> None:
    generator = np.random.default_rng(3)

    def random(array: Any) -> Any:
        if array.dtype.kind not in "fc":
            return None
        parts = generator.standard_normal((2, *array.shape))
        return parts[0] + 1j * parts[1] if array.dtype.kind == "c" else parts[0]

    for sample in gradient_samples(op):
        assert op.reference is not None
        with np.errstate(all="ignore"):
            out = np.asarray(op.reference(*sample.arrays, **sample.attributes))
        if out.dtype.kind not in "fc":
            continue
        weights = random(out)
        moving = [k for k, a in enumerate(sample.arrays) if a.dtype.kind in "fc" and not (op.name == "fft" and k == 1)]

        def moved(directions: list[Any], step: float, sample: Sample = sample) -> list[Any]:
            return [a if d is None else a + step * d for a, d in zip(sample.arrays, directions, strict=True)]

        def slopes(
            arrays: Any,
            moving: Any = moving,
            sample: Sample = sample,
            weights: Any = weights,
            op: Op = op,
            u: Any = None,
        ) -> list[Any]:
            operands = [gf.constant(a) for a in arrays]
            sources = [operands[k] for k in moving]
            with gf.GradientTape() as outer:
                outer.watch(sources)
                with gf.GradientTape() as tape:
                    tape.watch(sources)
                    total = weighted(op(*operands, **sample.attributes), weights)
                first = tape.gradient(total, sources)
                if u is not None:
                    slope = along(first, u)
            found = first if u is None else outer.gradient(slope, sources)
            for source, g in zip(sources, found, strict=True):
                assert g is None or (g.dtype is source.dtype and g.dims == source.dims)
            return found

        def value(arrays: Any, sample: Sample = sample, weights: Any = weights, op: Op = op) -> float:
            with np.errstate(all="ignore"):
                result = op.reference(*arrays, **sample.attributes)  # type: ignore[misc]
            return float(np.sum(np.real(result * np.conj(weights))))

        direction = [random(a) if k in moving else None for k, a in enumerate(sample.arrays)]
        own = [direction[k] for k in moving]
        expected = (value(moved(direction, STEP)) - value(moved(direction, -STEP))) / (2 * STEP)
        first = along(slopes(sample.arrays), own)
        assert abs(float(first) - expected) <= 1e-6 * (1 + np.sum(np.abs(weights)) + abs(expected)), (
            f"{op.name} {sample.attributes}"
        )
        u = [random(sample.arrays[k]) for k in moving]
        upper, lower = (float(along(slopes(moved(direction, s)), u)) for s in (STEP, -STEP))
        second = float(along(slopes(sample.arrays, u=u), own))
        assert abs(second - (upper - lower) / (2 * STEP)) <= 1e-5 * (1 + abs(upper) + abs(second)), (
            f"{op.name} second {sample.attributes}"
        )
