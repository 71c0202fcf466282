"""Every op in every dtype that its type rule takes: eager against the reference, graph against eager bit for bit. (Complex numbers:
tests/complex.)

float16 and bfloat16 are defined so: operands widened, the op in float32, each result rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.dtypes import rounded
from graphflow.ir.op import Op, Sample

from .closeness import assert_results
from .table import (
    COMPLEX,
    DTYPES,
    EVERY_OP,
    accepted_dtypes,
    after,
    apply,
    bits,
    dtype_samples,
    dtypes_of,
    operands_of,
    types_of,
    widened,
)

OTHERS = [op for op in EVERY_OP if dtype_samples(op)]
other_dtypes = pytest.mark.parametrize("op", OTHERS, ids=lambda op: op.name)


def is_narrow(sample: Sample) -> bool:
    return any(gf.as_dtype(name).is_narrow for name in dtypes_of(sample))


@other_dtypes
def test_eager_matches_the_reference(op: Op) -> None:
    for sample in dtype_samples(op):
        operands = operands_of(sample)
        results = [*apply(op, sample, operands), *after(sample, operands)]
        if op.takes_narrow or not is_narrow(sample):
            assert_results(op, sample, results)
            continue
        wide = widened(sample)
        in_float32 = apply(op, wide, operands_of(wide))
        assert_results(op, wide, in_float32)
        types = op.result_types(types_of(sample), {**op.attribute_defaults, **sample.attributes})
        for one, other, kind in zip(results, in_float32, types, strict=True):
            assert one.dtype is kind.dtype
            expected = rounded(np.asarray(other), kind.dtype) if kind.dtype.is_narrow else other
            np.testing.assert_array_equal(bits(one), bits(expected), err_msg=f"{op.name} {sample}")


@other_dtypes
def test_graph_gives_the_bits_of_eager(op: Op, capsys: pytest.CaptureFixture[str]) -> None:
    samples = dtype_samples(op)
    arguments = [operands_of(s) for s in samples]

    @gf.function
    def all_samples(operands: Any) -> Any:
        return [apply(op, s, own) for own, s in zip(operands, samples, strict=True)]

    results = all_samples(arguments)
    printed = capsys.readouterr()
    for sample, own, found in zip(samples, arguments, results, strict=True):
        for one, expected in zip(found, apply(op, sample, own), strict=True):
            assert one.dtype is expected.dtype
            np.testing.assert_array_equal(bits(one), bits(expected), err_msg=f"{op.name} {sample}")
    assert capsys.readouterr() == printed


def test_the_table_has_every_dtype() -> None:
    """Ops that only move elements take all; the others by the kinds that they are defined for."""
    for name in (
        "identity",
        "reshape",
        "transpose",
        "gather",
        "concat",
        "select",
        "broadcast_to",
        "strided_slice",
        "equal",
    ):
        assert set(accepted_dtypes(gf.ir.op.OPS[name])) == {*DTYPES, *COMPLEX}, name
    for name in ("add", "multiply", "reduce_sum", "matmul", "cumulative"):
        assert {d.name for d in {*DTYPES, *COMPLEX} - set(accepted_dtypes(gf.ir.op.OPS[name]))} == {"bool"}, name
    for name in ("exp", "tanh", "sqrt", "divide"):
        taken = {d.name for d in accepted_dtypes(gf.ir.op.OPS[name])}
        assert taken == {"float16", "bfloat16", "float32", "float64", "complex64", "complex128"}, name
