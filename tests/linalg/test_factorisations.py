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


def test_right_sides_broadcast():
    a, b = array(4, 4) + 3 * np.eye(4), array(2, 4, 3)
    close(gf.linalg.solve(a, b), np.linalg.solve(a[None], b))


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


SCALARS = {
    "cholesky": lambda a: gf.linalg.cholesky(a @ gf.linalg.matrix_transpose(a) + gf.eye(4, dtype=gf.float64)),
    "inv": lambda a: gf.linalg.inv(a),
    "det": lambda a: gf.linalg.det(a),
    "slogdet": lambda a: gf.linalg.slogdet(a)[1],
    "qr": lambda a: (lambda q, r: gf.matmul(q, q[..., :2] * 2.0, transpose_a=True) + gf.abs(r)[..., :2])(
        *gf.linalg.qr(a)
    ),
    "svd": lambda a: (lambda s, u, v: gf.matmul(u * gf.expand_dims(s**3, -2), v, transpose_b=True))(*gf.linalg.svd(a)),
    "eigh": lambda a: (lambda e, v: gf.matmul(v * gf.expand_dims(e**3, -2), v, transpose_b=True))(
        *gf.linalg.eigh(a + gf.linalg.matrix_transpose(a))
    ),
    "pinv": lambda a: gf.linalg.pinv(a[..., :3]),
    "lstsq": lambda a: gf.linalg.lstsq(a[..., :3], a[..., 3:]),
    "expm": lambda a: gf.linalg.expm(a * 0.1),
}


@pytest.mark.parametrize("name", SCALARS)
def test_gradients_to_second_order_and_in_graphs(name):
    form = SCALARS[name]
    a = array(2, 4, 4) + 3 * np.eye(4)
    weights = array(*form(gf.constant(a)).shape)

    def derivatives(x, direction):
        with gf.GradientTape() as outer:
            outer.watch(x)
            with gf.GradientTape() as inner:
                inner.watch(x)
                y = gf.reduce_sum(form(x) * weights)
            first = inner.gradient(y, x)
            along = gf.reduce_sum(first * direction)
        return y, first, outer.gradient(along, x)

    u, v = array(2, 4, 4), array(2, 4, 4)
    _, first, second = derivatives(gf.constant(a), gf.constant(u))
    step = 1e-6

    def at(by):
        return derivatives(gf.constant(a + by * v), gf.constant(u))

    slope = (float(at(step)[0]) - float(at(-step)[0])) / (2 * step)
    assert abs(float(np.sum(first.numpy() * v)) - slope) < 1e-5 * max(1, abs(slope))
    curve = (float(np.sum(at(step)[1].numpy() * u)) - float(np.sum(at(-step)[1].numpy() * u))) / (2 * step)
    assert abs(float(np.sum(second.numpy() * v)) - curve) < 1e-4 * max(1, abs(curve))
    compiled = gf.function(derivatives)(gf.constant(a), gf.constant(u))
    for found, expected in zip(compiled[1:], (first, second), strict=True):
        np.testing.assert_array_equal(found.numpy(), expected.numpy())


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("size", [0, 1, 2, 17])
def test_one_trace_for_every_extent(batch, size):
    @gf.function(input_signature=[gf.TensorSpec([None, None, None], gf.float64)])
    def several(a):
        return gf.linalg.solve(a, a), gf.linalg.det(a), gf.linalg.qr(a)[1], gf.linalg.svd(a, compute_uv=False)

    a = array(batch, size, size) + 3 * np.eye(size)
    expected = (gf.linalg.solve(a, a), gf.linalg.det(a), gf.linalg.qr(a)[1], gf.linalg.svd(a, compute_uv=False))
    for found, right in zip(several(gf.constant(a)), expected, strict=True):
        np.testing.assert_array_equal(found.numpy(), right.numpy())


BAD = {
    "singular": lambda: gf.linalg.solve(np.stack([np.eye(2), np.ones((2, 2))]), np.ones((2, 2, 1))),
    "singular inverse": lambda: gf.linalg.inv(np.stack([np.eye(2), np.zeros((2, 2))])),
    "indefinite": lambda: gf.linalg.cholesky(np.stack([np.eye(2), -np.eye(2)])),
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
    with pytest.raises(gf.errors.DTypeError, match="floats"):
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
