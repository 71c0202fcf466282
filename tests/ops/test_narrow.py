"""Gradients in float16 and bfloat16, and which ops take them. (tests/ops/test_dtypes.py has the results, test_samples.py the errors.)"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.ir.op import Op, Sample

from .table import (
    EVERY_OP,
    accepted_dtypes,
    apply,
    dtype_samples,
    dtypes_of,
    good_samples,
    holds_program,
    operands_of,
    types_of,
    widened,
)

#: Ops of float32 and float64 alone: what passes make, and parts of draws, complex numbers and transforms, which are cast afterwards.
WIDE_ONLY = {
    "complex", "fft", "fourier_table", "from_pairs", "pair_fft", "random_exponential", "random_normal", "random_normal_word",
    "random_truncated_normal", "random_uniform", "row_sums",
}  # fmt: skip

#: Slopes such as cos(x * x), where rounding the square moves the angle.
OSCILLATING = {"fresnel_cos", "fresnel_sin"}


def narrow_samples(op: Op) -> list[Sample]:
    """Those with a gradient and one narrow dtype."""
    return [
        s
        for s in dtype_samples(op)
        if s.gradient
        and {"float16", "bfloat16"} & set(dtypes_of(s))
        and op.result_types(types_of(s), s.attributes)[0].dtype.is_narrow
    ]


DIFFERENTIABLE = [op for op in EVERY_OP if op.gradient is not None and narrow_samples(op)]


def test_every_op_of_floats_takes_narrow_floats() -> None:
    wide = set()
    for op in EVERY_OP:
        taken = {d.name for d in accepted_dtypes(op)}
        is_general = not all(map(holds_program, good_samples(op)))
        if is_general and "float32" in taken and not {"float16", "bfloat16"} <= taken:
            wide.add(op.name)
    assert wide == WIDE_ONLY
    assert len(DIFFERENTIABLE) > 90


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=lambda op: op.name)
def test_gradients_have_the_dtype_and_are_close(op: Op) -> None:
    """Against the gradient in float32 of the same numbers."""
    generator = np.random.default_rng(5)
    for sample in narrow_samples(op):
        (kind, *_) = op.result_types(types_of(sample), sample.attributes)
        weights = generator.uniform(0.5, 1.5, kind.shape).astype(np.float32)

        def slopes(own: Sample, weights: Any = weights) -> list[Any]:
            operands = operands_of(own)
            floats = [t for t in operands if t.dtype.is_floating]
            with gf.GradientTape() as tape:
                tape.watch(floats)
                result = apply(op, own, operands)[0]
                total = gf.reduce_sum(result * gf.cast(weights, result.dtype))
            found = tape.gradient(total, floats)
            for t, g in zip(floats, found, strict=True):
                assert g is None or (g.dtype is t.dtype and tuple(g.shape) == tuple(t.shape))
            return found

        close_to = 2.0**-7 if "float16" in dtypes_of(sample) else 2.0**-4
        for got, right in zip(slopes(sample), slopes(widened(sample)), strict=True):
            assert (got is None) == (right is None)
            if got is None or op.name in OSCILLATING:
                continue
            wide, expected = np.asarray(got).astype(np.float32), np.asarray(right)
            close = close_to * max(1.0, float(np.max(np.abs(expected[np.isfinite(expected)]), initial=0.0)))
            finite = np.isfinite(expected) & (np.abs(expected) < 6e4)
            np.testing.assert_allclose(
                wide[finite], expected[finite], atol=close, rtol=close, err_msg=f"{op.name} {sample}"
            )
