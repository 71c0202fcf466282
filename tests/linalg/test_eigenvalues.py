"""gf.linalg.eig, eigvals and sqrtm: LAPACK's order and normalisation, matrices without eigenvectors, roots, what is not finite."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import graphflow as gf

RANDOM = np.random.default_rng(8)


@pytest.mark.parametrize("kind", ["float32", "float64", "complex64", "complex128"])
def test_order_and_normalisation_are_those_of_lapack(kind):
    a = RANDOM.standard_normal((3, 6, 6))
    a = (a + 1j * RANDOM.standard_normal(a.shape) if kind.startswith("c") else a).astype(kind)
    values, vectors = gf.linalg.eig(a)
    assert (values.dtype, vectors.dtype) == (
        ("complex64",) * 2 if kind in ("float32", "complex64") else ("complex128",) * 2
    )
    close = {"rtol": 0, "atol": 3e3 * np.finfo(kind).eps}
    for k in range(3):
        expected, right = scipy.linalg.eig(a[k])
        np.testing.assert_allclose(values.numpy()[k], expected, **close)
        np.testing.assert_allclose(vectors.numpy()[k], right, **close)
    np.testing.assert_array_equal(gf.linalg.eigvals(a).numpy(), values.numpy())
    np.testing.assert_array_equal(gf.eigvals(a).numpy(), gf.eig(a)[0].numpy())
    for found, expected in zip(gf.function(gf.linalg.eig)(gf.constant(a)), (values, vectors), strict=True):
        assert found.numpy().tobytes() == expected.numpy().tobytes()


def test_eigenvalues_of_special_matrices():
    assert gf.linalg.eigvals([[0.0, -1.0], [1.0, 0.0]]).numpy().tolist() == [1j, -1j]
    assert gf.linalg.eigvals([[5.0]]).numpy().tolist() == [5]
    values, vectors = gf.linalg.eig([[1.0, 1.0], [0.0, 1.0]])  # one eigenvector: both columns are it, up to rounding
    np.testing.assert_array_equal(values.numpy(), [1, 1])
    np.testing.assert_allclose(np.abs(vectors.numpy()), [[1, 1], [0, 0]], atol=1e-6)
    companion = np.diag(np.ones(3), -1)
    companion[:, -1] = [-24, 50, -35, 10]  # (x - 1)(x - 2)(x - 3)(x - 4)
    np.testing.assert_allclose(np.sort(gf.linalg.eigvals(companion).numpy().real), [1, 2, 3, 4], rtol=1e-11)
    for call in (lambda: gf.linalg.eig(np.ones((2, 3))), lambda: gf.linalg.eigvals(np.ones(3))):
        with pytest.raises(gf.errors.ShapeError, match="eig"):
            call()
    with pytest.raises(gf.errors.DTypeError, match="eig"):
        gf.linalg.eig(np.ones((2, 2), np.int32))


def test_the_gradient_of_a_real_matrix_through_complex_eigenvalues_is_real():
    x = gf.constant([[1.0, 2.0], [-3.0, 0.5]])
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = gf.reduce_sum(gf.math.real(gf.linalg.eigvals(x)))  # the trace
    found = tape.gradient(y, x)
    assert found.dtype == "float32"
    np.testing.assert_allclose(found.numpy(), np.eye(2), atol=1e-6)


@pytest.mark.parametrize("kind", ["float64", "complex128"])
def test_forward_mode(kind):
    a, direction = RANDOM.standard_normal((2, 4, 4)) * (1 + 1j if kind == "complex128" else 1) + np.diag([0.0, 3, 6, 9])
    x, step = gf.constant(a), 1e-6

    def several(x):
        return gf.linalg.eigvals(x), gf.linalg.sqrtm(x + 20 * gf.eye(4, dtype=kind)), gf.linalg.inv(x)

    with gf.autodiff.ForwardAccumulator(x, gf.constant(direction)) as accumulator:
        results = several(x)
    ends = [several(gf.constant(a + s * step * direction)) for s in (1, -1)]
    for result, up, down in zip(results, *ends, strict=True):
        slope = (up.numpy() - down.numpy()) / (2 * step)
        np.testing.assert_allclose(accumulator.jvp(result).numpy(), slope, atol=1e-6 * np.abs(slope).max())


def test_square_roots():
    for kind, close in (("complex128", 1e-12), ("complex64", 3e-6)):
        a = (RANDOM.standard_normal((2, 5, 5)) + 1j * RANDOM.standard_normal((2, 5, 5))).astype(kind)
        root = gf.linalg.sqrtm(a)
        assert root.dtype == kind
        np.testing.assert_allclose(root.numpy() @ root.numpy(), a, atol=close * np.abs(a).max())
        assert np.all(np.linalg.eigvals(root.numpy()).real > 0)
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    np.testing.assert_allclose(gf.linalg.sqrtm(turn).numpy(), (np.eye(2) + turn) / np.sqrt(2), rtol=1e-14)
    np.testing.assert_array_equal(gf.linalg.sqrtm(np.diag([0.0, 4.0])).numpy(), np.diag([0.0, 2.0]))
    np.testing.assert_allclose(
        gf.linalg.sqrtm(np.ones((2, 2), np.float32)).numpy(), np.sqrt(0.5) * np.ones((2, 2)), rtol=1e-6
    )
    np.testing.assert_array_equal(gf.linalg.sqrtm(np.diag([-1.0 + 0j, 4.0])).numpy(), np.diag([1j, 2.0]))
    # no real root, none at all, not finite
    for a in (np.diag([-1.0, 4.0]), np.array([[0.0, 1.0], [0.0, 0.0]]), np.full((2, 2), np.inf)):
        assert np.isnan(gf.linalg.sqrtm(a).numpy()).all()
    both = gf.linalg.sqrtm(np.stack([np.eye(2), -np.eye(2)])).numpy()  # the others of a batch have theirs
    np.testing.assert_array_equal(both[0], np.eye(2))
    assert np.isnan(both[1]).all()


def test_logarithms():
    a = RANDOM.standard_normal((3, 5, 5)) + 1j * RANDOM.standard_normal((3, 5, 5))
    a *= np.array([1e-3, 1, 1e6])[:, None, None]
    expected = np.stack([scipy.linalg.logm(m) for m in a])
    found = gf.linalg.logm(a)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-11 * np.abs(expected).max())
    assert gf.function(gf.linalg.logm)(gf.constant(a)).numpy().tobytes() == found.numpy().tobytes()
    np.testing.assert_allclose(
        gf.linalg.logm(a.astype(np.complex64)).numpy(), expected, atol=1e-4 * np.abs(expected).max()
    )
    np.testing.assert_array_equal(gf.linalg.logm(np.eye(3, dtype=complex)).numpy(), np.zeros((3, 3)))
    np.testing.assert_allclose(gf.linalg.logm([[-1.0 + 0j]]).numpy(), [[np.pi * 1j]], rtol=1e-13)
    assert gf.linalg.logm(np.zeros((2, 0, 0), complex)).shape == (2, 0, 0)
    assert np.isnan(gf.linalg.logm(np.diag([0j, 1.0])).numpy()).all()
    with pytest.raises(gf.errors.DTypeError, match="complex"):
        gf.linalg.logm(np.eye(2))
    with pytest.raises(ValueError, match="NaN"):
        gf.linalg.logm(np.full((2, 2), np.nan + 0j))


def test_not_finite_and_narrow():
    """NaN where nothing iterates, for singular values, and for roots; the iterations for eigenvalues raise (test_factorisations.py)."""
    for a in (
        np.full((3, 2), np.nan),
        np.array([[1.0, np.inf], [0, 1], [2, 3]]),
        np.array([[1j, 0], [np.nan, 1], [2, 3]]),
    ):
        for value in (*gf.linalg.svd(a), gf.linalg.pinv(a), *gf.linalg.svd(a, full_matrices=True)):
            assert np.isnan(value.numpy()).all()
        assert gf.linalg.matrix_rank(a).numpy() == 0
    assert np.isnan(gf.linalg.det(np.full((2, 2), np.nan)).numpy())
    assert np.isnan(gf.linalg.qr(np.full((2, 2), np.nan))[0].numpy()).all()
    np.testing.assert_array_equal(
        gf.linalg.eigvalsh([[1.0, np.nan], [0.0, 2.0]]).numpy(), [1, 2]
    )  # the upper triangle is not read
    a = RANDOM.standard_normal((4, 4)) + 4 * np.eye(4)
    for kind in (gf.float16, gf.bfloat16):
        x = gf.cast(a, kind)
        wide = gf.cast(x, gf.float32)
        for function in (
            gf.linalg.inv,
            gf.linalg.det,
            gf.linalg.qr,
            gf.linalg.svd,
            gf.linalg.lu,
            gf.linalg.expm,
            gf.linalg.sqrtm,
        ):
            for found, right in zip(gf.nest.flatten(function(x)), gf.nest.flatten(function(wide)), strict=True):
                expected = gf.cast(right, found.dtype).numpy()
                assert found.dtype in (kind, gf.int32)
                np.testing.assert_array_equal(found.numpy(), expected, err_msg=function.__name__)
        assert gf.linalg.eigvals(x).dtype == "complex64"
        assert gf.linalg.pinv(x).dtype is kind
        assert gf.linalg.matrix_rank(x).numpy() == 4
