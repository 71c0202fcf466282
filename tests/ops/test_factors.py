"""Linear algebra on complex samples and on larger matrices: what tests/ops/factors.py says of the results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.ir.op import OPS, Sample
from graphflow.ops.samples import complex_samples

from .factors import FACTORS, assert_factors


def larger(name: str, kind: str) -> Sample:
    """Two matrices of 40 rows, of which LAPACK takes several columns at a time."""
    generator = np.random.default_rng(3)
    parts = generator.standard_normal((2, 2, 40, 40))
    x = (parts[0] + 1j * parts[1] if kind.startswith("c") else parts[0]).astype(kind)
    if name == "cholesky":
        return Sample(((x @ np.conj(np.swapaxes(x, -1, -2)) + np.eye(40)).astype(kind),))
    if name == "matrix_square_root":
        return Sample(((x + 12 * np.eye(40)).astype(kind),))
    if name == "triangular_solve":
        return Sample(((x + 9 * np.eye(40)).astype(kind), x[..., :3].copy()), {"lower": False, "adjoint": True})
    if name == "tridiagonal_solve":
        return Sample((x[:, 0].copy(), x[:, 1] + 3, x[:, 2].copy(), x[..., :3].copy()))
    return Sample((x, x[..., :3].copy())) if name == "solve" else Sample((x,))


@pytest.mark.parametrize("name", FACTORS)
def test_complex_and_larger_matrices(name: str) -> None:
    op: Any = OPS[name]
    own = complex_samples(op) if name != "matrix_square_root" else []
    kinds = (
        ("complex64", "complex128")
        if name == "matrix_square_root"
        else ("float32", "float64", "complex64", "complex128")
    )
    for sample in [*own, *(larger(name, kind) for kind in kinds)]:
        results = op(*map(gf.constant, sample.arrays), **sample.attributes)
        with np.errstate(all="ignore"):
            expected = op.reference(*sample.arrays, **sample.attributes)
        if not isinstance(results, tuple):
            results, expected = (results,), (expected,)
        assert_factors(op, sample, results, [np.asarray(e) for e in expected])
