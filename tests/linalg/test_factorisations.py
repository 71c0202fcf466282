"""gf.linalg's factorisations: what they are made of, graph against eager, gradients, symbolic extents, singular matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg

import graphflow as gf

RANDOM = np.random.default_rng(5)


def array(*shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.standard_normal(shape)


def definite(*shape: int) -> np.ndarray[Any, Any]:
    a = array(*shape)
    return a @ a.swapaxes(-1, -2) + shape[-1] * np.eye(shape[-1])


def t(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-9, atol=1e-9)


def test_cholesky_and_its_solver():
    a, b = definite(3, 5, 5), array(3, 5, 2)
    factor = gf.linalg.cholesky(a)
    close(factor.numpy() @ t(factor.numpy()), a)
    close(gf.linalg.cholesky_solve(factor, b), np.linalg.solve(a, b))
    close(gf.linalg.logdet(a), np.linalg.slogdet(a)[1])
    upper_is_not_read = a + np.triu(np.ones((5, 5)), 1)
    np.testing.assert_array_equal(gf.linalg.cholesky(upper_is_not_read).numpy(), factor.numpy())


@pytest.mark.parametrize("adjoint", [False, True])
def test_systems(adjoint):
    a, b = array(3, 5, 5) + 3 * np.eye(5), array(3, 5, 2)
    turned = t(a) if adjoint else a
    close(gf.linalg.solve(a, b, adjoint), np.linalg.solve(turned, b))
    close(gf.linalg.inv(a, adjoint), np.linalg.inv(turned))
    for lower in (False, True):
        triangle = np.tril(a) if lower else np.triu(a)
        close(
            gf.linalg.triangular_solve(a, b, lower, adjoint), np.linalg.solve(t(triangle) if adjoint else triangle, b)
        )


def test_batches_broadcast():
    """TensorFlow broadcasts some of these and fails for the others."""
    a, b = array(2, 4, 4) + 4 * np.eye(4), array(4, 3)
    for m, right in ((a, b), (a[0], np.stack([b, b, b])), (a[:, None], np.stack([b, b + 1, b]))):
        expected = np.linalg.solve(
            m, np.broadcast_to(right, (*np.broadcast_shapes(m.shape[:-2], right.shape[:-2]), 4, 3))
        )
        close(gf.linalg.solve(m, right), expected)
        close(gf.linalg.lstsq(m, right), expected)
        close(gf.linalg.lu_solve(*gf.linalg.lu(m), right), expected)
        low = np.tril(m)
        close(low @ gf.linalg.triangular_solve(m, right).numpy(), np.broadcast_to(right, expected.shape))
        close(low @ t(low) @ gf.linalg.cholesky_solve(low, right).numpy(), np.broadcast_to(right, expected.shape))


def test_lu():
    a = array(2, 5, 5)
    factors, order = gf.linalg.lu(a)
    unit, upper = np.tril(factors.numpy(), -1) + np.eye(5), np.triu(factors.numpy())
    for k in range(2):
        close(unit[k] @ upper[k], a[k][order.numpy()[k]])
    close(gf.linalg.lu_reconstruct(factors, order), a)
    close(gf.linalg.lu_matrix_inverse(factors, order), np.linalg.inv(a))
    b = array(2, 5, 3)
    close(gf.linalg.lu_solve(factors, order, b), np.linalg.solve(a, b))


@pytest.mark.parametrize("shape", [(4, 4), (6, 3), (3, 6), (2, 5, 3), (0, 3, 3), (2, 0, 3)])
@pytest.mark.parametrize("full", [False, True])
def test_orthogonal_factors(shape, full):
    a = array(*shape)
    q, r = (x.numpy() for x in gf.linalg.qr(a, full))
    close(q @ r, a)
    close(t(q) @ q, np.broadcast_to(np.eye(q.shape[-1]), (*q.shape[:-2], q.shape[-1], q.shape[-1])))
    s, u, v = (x.numpy() for x in gf.linalg.svd(a, full))
    k = s.shape[-1]
    close(u[..., :k] * s[..., None, :] @ t(v[..., :k]), a)
    assert u.shape[-1] == (shape[-2] if full else k)
    close(gf.linalg.svd(a, compute_uv=False), np.linalg.svd(a, compute_uv=False))


def test_eigenvalues():
    a = definite(2, 4, 4)
    values, vectors = (x.numpy() for x in gf.linalg.eigh(a))
    close(vectors * values[..., None, :] @ t(vectors), a)
    close(gf.linalg.eigvalsh(a), np.linalg.eigvalsh(a))


def test_determinants():
    a = array(5, 4, 4)
    close(gf.linalg.det(a), np.linalg.det(a))
    sign, log = gf.linalg.slogdet(a)
    close(sign, np.linalg.slogdet(a)[0])
    close(log, np.linalg.slogdet(a)[1])
    singular = np.ones((3, 3))
    assert gf.linalg.det(singular).numpy() == 0
    assert tuple(x.numpy() for x in gf.linalg.slogdet(singular)) == (0, -np.inf)


@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (4, 4)])
def test_least_squares(shape):
    a, b = array(*shape), array(shape[0], 2)
    expected = np.linalg.lstsq(a, b, rcond=None)[0]
    np.testing.assert_allclose(gf.linalg.lstsq(a, b).numpy(), expected, rtol=1e-6, atol=1e-6)
    close(gf.linalg.lstsq(a, b, fast=False), expected)
    close(gf.linalg.pinv(a), np.linalg.pinv(a))
    assert gf.linalg.matrix_rank(a).numpy() == min(shape)
    assert gf.linalg.matrix_rank(np.outer(a[0], a[1])).numpy() == 1


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_matrix_exponential(scale):
    a = array(3, 4, 4) * np.array([0.1, 1.0, scale])[:, None, None]
    expected = scipy.linalg.expm(a)
    np.testing.assert_allclose(gf.linalg.expm(a).numpy(), expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
    np.testing.assert_array_equal(gf.function(gf.linalg.expm)(gf.constant(a)).numpy(), gf.linalg.expm(a).numpy())


def everything(a: Any) -> Any:
    """Each function of square matrices."""
    gram = gf.matmul(a, a, adjoint_b=True)
    factors = gf.linalg.lu(a)
    return {
        "solve": gf.linalg.solve(a, a), "inv": gf.linalg.inv(a), "det": gf.linalg.det(a), "slogdet": gf.linalg.slogdet(a),
        "logdet": gf.linalg.logdet(gram), "lu": factors, "lu_solve": gf.linalg.lu_solve(*factors, a),
        "lu_reconstruct": gf.linalg.lu_reconstruct(*factors), "qr": gf.linalg.qr(a), "qr full": gf.linalg.qr(a, True),
        "svd": gf.linalg.svd(a), "svd full": gf.linalg.svd(a, True), "eig": gf.linalg.eig(a), "eigh": gf.linalg.eigh(gram),
        "cholesky": gf.linalg.cholesky(gram), "triangular_solve": gf.linalg.triangular_solve(a, a, adjoint=True),
        "pinv": gf.linalg.pinv(a), "matrix_rank": gf.linalg.matrix_rank(a), "expm": gf.linalg.expm(a), "sqrtm": gf.linalg.sqrtm(gram),
        "logm": gf.linalg.logm(gf.cast(gram, gf.complex128)),
        "lstsq": gf.linalg.lstsq(a, a), "tridiagonal_solve": gf.linalg.tridiagonal_solve(a, a, "matrix"),
        "tridiagonal_matmul": gf.linalg.tridiagonal_matmul(a, a, "matrix"), "norm": gf.linalg.norm(a, 2, [-2, -1]),
        "trace": gf.linalg.trace(a), "band_part": gf.linalg.band_part(a, 1, 0), "adjoint": gf.linalg.adjoint(a),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["float64", "complex64"])
def test_one_trace_for_every_extent(kind):
    """Batches and matrices of no, one and more elements: eager, and compiled once for extents that the trace does not know."""
    several = gf.function(everything, input_signature=[gf.TensorSpec([None, None, None], kind)])
    for batch, size in ((0, 3), (1, 1), (3, 0), (2, 2), (3, 17), (0, 0)):
        a = array(batch, size, size) + (size + 3) * np.eye(size)
        a = gf.constant((a + 1j * array(batch, size, size)).astype(kind) if kind.startswith("c") else a)
        expected = everything(a)
        for name, found in several(a).items():
            for one, right in zip(gf.nest.flatten(found), gf.nest.flatten(expected[name]), strict=True):
                np.testing.assert_array_equal(one.numpy(), right.numpy(), err_msg=f"{name} {batch} {size}")
    assert several.experimental_get_tracing_count() == 1


def test_one_trace_for_tall_and_wide_matrices():
    def rectangular(a, b):
        return (
            *gf.linalg.qr(a),
            *gf.linalg.svd(a),
            gf.linalg.pinv(a),
            gf.linalg.lstsq(a, b),
            gf.linalg.lstsq(a, b, fast=False),
        )

    spec = gf.TensorSpec([None, None], gf.float64)
    several = gf.function(rectangular, input_signature=[spec, spec])
    for rows, columns in ((3, 5), (5, 3), (0, 3), (3, 0), (1, 7)):
        a, b = gf.constant(array(rows, columns)), gf.constant(array(rows, 2))
        for found, expected in zip(several(a, b), rectangular(a, b), strict=True):
            np.testing.assert_array_equal(found.numpy(), expected.numpy())


def test_complex_matrices():
    a, b = array(3, 5, 5) + 1j * array(3, 5, 5), array(3, 5, 2) + 1j * array(3, 5, 2)
    gram, wide = a @ t(a).conj() + np.eye(5), a[:, :3]
    close(gf.linalg.cholesky(gram), np.linalg.cholesky(gram))
    close(gf.linalg.cholesky_solve(gf.linalg.cholesky(gram), b), np.linalg.solve(gram, b))
    for adjoint in (False, True):
        own = t(a).conj() if adjoint else a
        close(gf.linalg.solve(a, b, adjoint), np.linalg.solve(own, b))
        close(gf.linalg.inv(a, adjoint), np.linalg.inv(own))
        for lower in (False, True):
            triangle = np.tril(a) if lower else np.triu(a)
            own = t(triangle).conj() if adjoint else triangle
            found = gf.linalg.triangular_solve(a, b, lower, adjoint).numpy()
            np.testing.assert_allclose(own @ found, b, atol=1e-12 * np.abs(found).max())
    close(gf.linalg.det(a), np.linalg.det(a))
    for found, expected in zip(gf.linalg.slogdet(a), np.linalg.slogdet(a), strict=True):
        assert found.dtype == "complex128"
        close(found, expected)
    logdet = gf.linalg.logdet(gram)
    assert logdet.dtype == "float64"
    close(logdet, np.linalg.slogdet(gram)[1])
    factors, order = gf.linalg.lu(a)
    close(gf.linalg.lu_reconstruct(factors, order), a)
    close(gf.linalg.lu_solve(factors, order, b), np.linalg.solve(a, b))
    close(gf.linalg.lu_matrix_inverse(factors, order), np.linalg.inv(a))
    values, vectors = gf.linalg.eigh(gram)
    assert values.dtype == "complex128"  # as in TensorFlow
    close(gram @ vectors.numpy(), vectors.numpy() * values.numpy()[:, None, :])
    close(gf.linalg.eigvalsh(gram), np.linalg.eigvalsh(gram))
    assert gf.linalg.svd(a, compute_uv=False).dtype == "float64"
    close(gf.linalg.svd(a, compute_uv=False), np.linalg.svd(a, compute_uv=False))
    close(gf.linalg.pinv(wide), np.linalg.pinv(wide))
    for fast in (False, True):
        close(gf.linalg.lstsq(t(wide), b, fast=fast), np.linalg.pinv(t(wide)) @ b)
        close(gf.linalg.lstsq(wide, b[:, :3], fast=fast), np.linalg.pinv(wide) @ b[:, :3])
    close(gf.linalg.lstsq(t(wide), b, 0.5), np.linalg.solve(wide.conj() @ t(wide) + 0.5 * np.eye(3), wide.conj() @ b))
    assert gf.linalg.matrix_rank(a).numpy().tolist() == [5, 5, 5]
    expected = scipy.linalg.expm(a)
    np.testing.assert_allclose(gf.linalg.expm(a).numpy(), expected, atol=1e-10 * np.abs(expected).max())
    close(gf.linalg.adjoint(a), t(a).conj())
    close(gf.linalg.trace(a), np.trace(a, axis1=-2, axis2=-1))
    np.testing.assert_array_equal(gf.linalg.band_part(a, 1, 0).numpy(), np.tril(np.triu(a, -1)))
    np.testing.assert_array_equal(
        gf.linalg.set_diag(a, b[..., 0]).numpy()[0], a[0] - np.diag(np.diag(a[0])) + np.diag(b[0, :, 0])
    )


@pytest.mark.parametrize("parts", [1, 2])
def test_norms(parts):
    a = array(2, 3, 4) + (1j * array(2, 3, 4) if parts == 2 else 0)
    for order in ("euclidean", "fro", 1, 2, np.inf):
        expected = np.linalg.norm(a, "fro" if order == "euclidean" else order, (-2, -1))
        close(gf.linalg.norm(a, order, [-2, -1]), expected)
        close(gf.linalg.norm(a, order, [-2, -1], keepdims=True), expected[:, None, None])
    for order in ("euclidean", 1, 2, 3, 1.5, np.inf):
        power = 2 if order == "euclidean" else order
        close(gf.linalg.norm(a, order, 1), np.linalg.norm(a, power, 1))
        close(gf.linalg.norm(a, order), np.linalg.norm(a.ravel(), power))
    unit, length = gf.linalg.normalize(a, 1, -1)
    close(unit.numpy() * length.numpy(), a)
    close(np.abs(unit.numpy()).sum(-1), 1)
    with pytest.raises(gf.errors.InvalidArgumentError, match="ord"):
        gf.linalg.norm(a, 3, [-2, -1])
    with pytest.raises(gf.errors.InvalidArgumentError, match="differ"):
        gf.linalg.norm(a, 2, [1, -2])


BAD = {
    "singular": lambda: gf.linalg.solve(np.stack([np.eye(2), np.ones((2, 2))]), np.ones((2, 2, 1))),
    "singular inverse": lambda: gf.linalg.inv(np.stack([np.eye(2), np.zeros((2, 2))])),
    "indefinite": lambda: gf.linalg.cholesky(np.stack([np.eye(2), -np.eye(2)])),
    "lu": lambda: gf.linalg.lu(np.stack([np.eye(2), np.ones((2, 2))])),
    "lu of NaN": lambda: gf.linalg.lu(np.stack([np.eye(2), np.full((2, 2), np.nan)])),
    "NaN": lambda: gf.linalg.solve(np.stack([np.eye(2), [[1.0, np.nan], [0.0, 1.0]]]), np.ones((2, 2, 1))),
    "NaN in cholesky": lambda: gf.linalg.cholesky(np.stack([np.eye(2), np.full((2, 2), np.nan)])),
    "complex": lambda: gf.linalg.inv(np.stack([np.eye(2), np.ones((2, 2))]) * 1j),
    "not Hermitian": lambda: gf.linalg.cholesky(np.stack([np.eye(2, dtype=complex), [[1.0, 0], [2j, 1]]])),
    "tridiagonal": lambda: gf.linalg.tridiagonal_solve(
        np.stack([np.ones((3, 1)), np.zeros((3, 1))]), np.ones((2, 1, 1))
    ),
    "eigenvalues": lambda: gf.linalg.eigvals(np.stack([np.eye(2), np.full((2, 2), np.nan)])),
    "eigenvalues of infinities": lambda: gf.linalg.eig(np.stack([np.eye(2), np.diag([1.0, np.inf])]).astype(complex)),
    "Hermitian eigenvalues": lambda: gf.linalg.eigh(np.stack([np.eye(2), np.diag([1.0, -np.inf])])),
    "triangle": lambda: gf.linalg.triangular_solve(np.stack([np.eye(2), np.zeros((2, 2))]), np.ones((2, 2, 1))),
}


@pytest.mark.parametrize("name", BAD)
def test_a_singular_matrix_names_its_place_in_the_batch(name):
    for run in (BAD[name], gf.function(BAD[name])):
        with pytest.raises(ValueError, match=r"at \[1\]") as caught:
            run()
        assert isinstance(caught.value, gf.errors.InvalidArgumentError)
        assert "test_factorisations.py" in str(caught.value)


def test_shapes_and_dtypes_are_checked():
    with pytest.raises(gf.errors.ShapeError, match="square"):
        gf.linalg.inv(np.ones((2, 3)))
    with pytest.raises(gf.errors.ShapeError, match="last two axes"):
        gf.linalg.svd(np.ones(3))
    with pytest.raises(gf.errors.DTypeError, match="floats or complex"):
        gf.linalg.det(np.ones((2, 2), np.int32))
    with pytest.raises(gf.errors.ShapeError, match="batch and rows"):
        gf.linalg.solve(np.eye(3), np.ones((2, 1)))


def test_diagonals():
    a = array(2, 4, 5)
    np.testing.assert_array_equal(gf.linalg.diag_part(a, k=1).numpy(), np.diagonal(a, 1, -2, -1))
    band = gf.linalg.diag_part(a, k=(-1, 1), padding_value=9.0).numpy()
    np.testing.assert_array_equal(band[:, 1], np.diagonal(a, 0, -2, -1))
    np.testing.assert_array_equal(gf.linalg.set_diag(a, band, k=(-1, 1)).numpy(), a)
    np.testing.assert_array_equal(gf.linalg.diag(np.arange(3.0), k=1).numpy(), np.diag(np.arange(3.0), 1))
    close(gf.linalg.trace(a), np.trace(a, axis1=-2, axis2=-1))
    np.testing.assert_array_equal(gf.linalg.cross(a[..., :3], a[..., 2:]).numpy(), np.cross(a[..., :3], a[..., 2:]))


def test_diagonals_of_unknown_extents():
    def family(x):
        band = gf.linalg.diag_part(x, k=(-1, 1))
        return (
            band, gf.linalg.diag_part(x, k=(-1, 0), padding_value=7, align="LEFT_LEFT"), gf.linalg.diag_part(x, k=1), gf.linalg.trace(x),
            gf.linalg.band_part(x, 1, 0), gf.linalg.set_diag(x, gf.linalg.diag_part(x) * 2), gf.linalg.set_diag(x, band, k=(-1, 1)),
            gf.linalg.diag(x[..., 0]), gf.linalg.diag(x[..., 0], k=1, padding_value=3), gf.linalg.diag(band, k=(-1, 1)),
            gf.linalg.diag(x[..., 0], k=-2, num_rows=9), gf.linalg.tensor_diag(x[0]), gf.linalg.adjoint(x),
        )  # fmt: skip

    for kind in ("float64", "complex128", "int32"):
        compiled = gf.function(family, input_signature=[gf.TensorSpec([None, None, None], kind)])
        for shape in ((2, 3, 5), (1, 3, 3), (3, 4, 2)):
            x = gf.constant((array(*shape) * 5 * (1 + 2j if kind == "complex128" else 1)).astype(kind))
            for found, expected in zip(compiled(x), family(x), strict=True):
                np.testing.assert_array_equal(found.numpy(), expected.numpy())
