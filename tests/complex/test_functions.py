"""Complex functions at the edges: accuracy against extended precision, overflow, zeros, infinities and the sides of branch cuts."""

from __future__ import annotations

import cmath

import numpy as np
import pytest

import graphflow as gf
from graphflow import ops

KINDS = ("complex64", "complex128")
INF, NAN = np.inf, np.nan

#: function, NumPy's name, how many eps of the result's magnitude it may be off
FUNCTIONS = [
    ("exp", np.exp, 3), ("expm1", np.expm1, 4), ("log", np.log, 3), ("log1p", np.log1p, 4), ("sqrt", np.sqrt, 3),
    ("sin", np.sin, 4), ("cos", np.cos, 4), ("tan", np.tan, 6), ("sinh", np.sinh, 4), ("cosh", np.cosh, 4),
    ("tanh", np.tanh, 6), ("asin", np.arcsin, 4), ("acos", np.arccos, 4), ("atan", np.arctan, 4),
    ("asinh", np.arcsinh, 4), ("acosh", np.arccosh, 4), ("atanh", np.arctanh, 4), ("square", np.square, 2),
    ("reciprocal", np.reciprocal, 4), ("absolute", np.absolute, 1),
]  # fmt: skip


def random(shape: tuple[int, ...], kind: str, scale: float, seed: int = 0) -> np.ndarray:
    parts = np.random.default_rng(seed).standard_normal((2, *shape)) * scale
    return (parts[0] + 1j * parts[1]).astype(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "function", "ulps"), FUNCTIONS, ids=lambda x: x if isinstance(x, str) else "")
def test_functions_are_right_to_a_few_ulps(name: str, function: np.ufunc, ulps: int, kind: str) -> None:
    for scale in (1e-3, 1.0, 5.0):
        z = random((2000,), kind, scale, seed=int(scale * 1e3))
        found = np.asarray(getattr(ops, name)(gf.constant(z)))
        expected = function(z.astype(np.clongdouble))
        assert np.max(np.abs(found - expected) / np.abs(expected)) <= ulps * np.finfo(kind).eps


@pytest.mark.parametrize("kind", KINDS)
def test_products_quotients_and_powers(kind: str) -> None:
    z, w = random((2000,), kind, 2.0, 1), random((2000,), kind, 2.0, 2)
    wide_z, wide_w = z.astype(np.clongdouble), w.astype(np.clongdouble)
    for found, expected, ulps in (
        (gf.constant(z) * w, wide_z * wide_w, 3),
        (gf.constant(z) / w, wide_z / wide_w, 5),
        (gf.constant(z) ** w, wide_z**wide_w, 64),
        (gf.sigmoid(gf.constant(z)), 1 / (1 + np.exp(-wide_z)), 12),
        (gf.sign(gf.constant(z)), wide_z / np.abs(wide_z), 3),
    ):
        assert np.max(np.abs(np.asarray(found) - expected) / np.abs(expected)) <= ulps * np.finfo(kind).eps


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_overflows_before_the_result_does(kind: str) -> None:
    largest, tiny = float(np.finfo(kind).max), float(np.finfo(kind).smallest_subnormal)
    big = gf.constant(np.array([complex(largest / 2, largest / 2), complex(-largest / 4, largest / 8)], kind))
    for value in (gf.abs(big), big / big, gf.sqrt(big), gf.math.log(big), gf.math.reciprocal(big), gf.sign(big)):
        assert np.isfinite(np.asarray(value)).all()
    np.testing.assert_allclose(np.asarray(big / big), 1, rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.asarray(gf.sign(big))), 1, rtol=1e-6)
    small = gf.constant(np.array([complex(3 * tiny, 4 * tiny)], kind))
    assert float(gf.abs(small)[0]) == 5 * tiny
    assert np.abs(np.asarray(gf.sqrt(small)))[0] > 0
    assert np.isfinite(np.asarray(gf.sigmoid(gf.constant(np.array([-1e4 + 1j, 1e4 - 1j], kind))))).all()
    assert np.isfinite(np.asarray(gf.tanh(gf.constant(np.array([800 + 1j, -800 + 2j], kind))))).all()


def test_infinities_and_nan() -> None:
    for z in (complex(INF, NAN), complex(NAN, -INF), complex(-INF, 3)):
        assert float(gf.abs(gf.constant(z))) == INF
    assert np.isnan(np.asarray(gf.constant(complex(NAN, 1)) * 1j)).any()
    assert complex(gf.constant(1 + 2j) / complex(INF, 1)) == 0
    assert not np.isfinite(complex(gf.constant(1 + 1j) / 0j))
    assert complex(gf.sqrt(gf.constant(complex(-3, INF)))) == complex(INF, INF)


@pytest.mark.parametrize("name", ["sqrt", "log", "asin", "acos", "atan", "asinh", "acosh", "atanh"])
def test_both_sides_of_branch_cuts_are_those_of_c99(name: str) -> None:
    points = [complex(x, y) for x in (-3.0, -0.5, 0.5, 3.0) for y in (0.0, -0.0)]
    points += [complex(x, y) for x in (0.0, -0.0) for y in (-3.0, -0.5, 0.5, 3.0)]
    found = np.asarray(getattr(ops, name)(gf.constant(points, gf.complex128)))
    expected = np.array([getattr(cmath, name)(z) for z in points])
    np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15)


def test_powers_of_zero_and_literal_exponents() -> None:
    zero = gf.constant([0j, 0j, 0j])
    found = np.asarray(zero ** gf.constant([0j, 2 + 0j, 1 + 1j]))
    np.testing.assert_array_equal(found, [1, 0, 0])
    z = gf.constant([1 + 2j, -0.5j])
    np.testing.assert_array_equal(np.asarray(z**2), np.asarray(z * z))
    np.testing.assert_allclose(np.asarray(z**0.5), np.sqrt(np.asarray(z)), rtol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_matrix_products_in_every_orientation(kind: str) -> None:
    for ta in ("", "transpose_a", "adjoint_a"):
        for tb in ("", "transpose_b", "adjoint_b"):
            a = random((3, 5, 7) if not ta else (3, 7, 5), kind, 1.0, 3)
            b = random((7, 4) if not tb else (4, 7), kind, 1.0, 4)
            left = np.swapaxes(a, -1, -2) if ta else a
            right = b.T if tb else b
            left = left.conj() if ta == "adjoint_a" else left
            right = right.conj() if tb == "adjoint_b" else right
            flags = {name: True for name in (ta, tb) if name}
            found = np.asarray(gf.matmul(gf.constant(a), gf.constant(b), **flags))
            expected = left.astype(np.complex128) @ right.astype(np.complex128)
            np.testing.assert_allclose(found, expected, atol=32 * np.finfo(kind).eps)


def test_statistics_and_norms() -> None:
    z = random((4, 6), "complex128", 1.0, 5)
    t = gf.constant(z)
    np.testing.assert_allclose(np.asarray(gf.math.reduce_variance(t, 1)), np.var(z, 1), rtol=1e-13)
    np.testing.assert_allclose(np.asarray(gf.math.reduce_std(t)), np.std(z), rtol=1e-13)
    assert gf.math.reduce_std(t).dtype is gf.float64
    np.testing.assert_allclose(np.asarray(gf.norm(t)), np.linalg.norm(z), rtol=1e-13)
    assert gf.norm(t).dtype is gf.complex128
    np.testing.assert_allclose(float(gf.norm(t, 1)), np.abs(z).sum(), rtol=1e-13)
    np.testing.assert_allclose(np.asarray(gf.math.l2_normalize(t)), z / np.linalg.norm(z), rtol=1e-13)
    np.testing.assert_allclose(np.asarray(gf.einsum("ij,kj->ik", t, t)), z @ z.T, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(gf.linalg.adjoint(t)), z.conj().T)
