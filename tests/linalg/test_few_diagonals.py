"""Tridiagonal and banded systems, eigenvalues of tridiagonal matrices, square roots: against NumPy and dense forms, with gradients."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf

RANDOM = np.random.default_rng(6)


def dense(c):
    return np.stack(
        [np.diag(m[1]) + np.diag(m[0, :-1], 1) + np.diag(m[2, 1:], -1) if m.shape[1] > 1 else np.diag(m[1]) for m in c]
    )


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("form", ["compact", "sequence", "matrix"])
def test_tridiagonal_systems(size, form):
    c, b = RANDOM.standard_normal((2, 3, size)), RANDOM.standard_normal((2, size, 2))
    given = {"compact": c, "sequence": [c[:, 0], c[:, 1], c[:, 2]], "matrix": dense(c)}[form]
    np.testing.assert_allclose(
        gf.linalg.tridiagonal_matmul(given, b, form).numpy(), dense(c) @ b, rtol=1e-12, atol=1e-12
    )
    found = gf.linalg.tridiagonal_solve(given, b, form)
    np.testing.assert_allclose(dense(c) @ found.numpy(), b, rtol=1e-7, atol=1e-7)
    compiled = gf.function(lambda b: gf.linalg.tridiagonal_solve(given, b, form))(gf.constant(b))
    assert compiled.numpy().tobytes() == found.numpy().tobytes()
    turned = gf.linalg.tridiagonal_solve(given, b.transpose(0, 2, 1), form, transpose_rhs=True)
    np.testing.assert_array_equal(turned.numpy(), found.numpy())
    np.testing.assert_array_equal(gf.linalg.tridiagonal_solve(given, b[..., 0], form).numpy(), found.numpy()[..., 0])


def test_complex_systems():
    c, b = (RANDOM.standard_normal(s) + 1j * RANDOM.standard_normal(s) for s in ((2, 3, 5), (2, 5, 2)))
    np.testing.assert_allclose(gf.linalg.tridiagonal_matmul(c, b).numpy(), dense(c) @ b, rtol=1e-12)
    close = {"rtol": 1e-9, "atol": 1e-9}
    for right in (b, b[:1]):
        np.testing.assert_allclose(
            gf.linalg.tridiagonal_solve(c, right).numpy(), np.linalg.solve(dense(c), right), **close
        )
    turned = gf.linalg.tridiagonal_solve(c, b.swapaxes(1, 2), transpose_rhs=True, conjugate_rhs=True)
    np.testing.assert_allclose(turned.numpy(), np.linalg.solve(dense(c), b.conj()), **close)
    main, side = RANDOM.standard_normal(5) + 0j, b[0, :4, 0]
    matrix = np.diag(main) + np.diag(side, 1) + np.diag(side.conj(), -1)
    values, vectors = gf.linalg.eigh_tridiagonal(main, side, eigvals_only=False)
    assert values.dtype == "float64"
    np.testing.assert_allclose(matrix @ vectors.numpy(), vectors.numpy() * values.numpy(), **close)


def test_elements_that_stand_for_nothing_are_not_read():
    c = RANDOM.standard_normal((3, 4)) + np.array([[0], [4], [0]])
    b = gf.constant(RANDOM.standard_normal((4, 2)))
    marked = c.copy()
    marked[0, -1] = marked[2, 0] = np.nan
    for function in (gf.linalg.tridiagonal_matmul, gf.linalg.tridiagonal_solve):
        np.testing.assert_array_equal(function(marked, b).numpy(), function(c, b).numpy())
        x = gf.constant(marked)
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = function(x, b)
        found = tape.gradient(y, x).numpy()
        assert np.isfinite(found).all()
        assert found[0, -1] == found[2, 0] == 0
    shorter = gf.linalg.tridiagonal_solve([c[0, :-1], c[1], c[2, 1:]], b, "sequence")
    np.testing.assert_array_equal(shorter.numpy(), gf.linalg.tridiagonal_solve(c, b).numpy())
    assert gf.linalg.tridiagonal_solve(np.ones((3, 0)), np.ones((0, 2))).shape == (0, 2)


def test_rows_are_exchanged_where_a_pivot_is_zero():
    c, b = np.array([[1.0, 2, 0], [0, 3, 4], [0, 5, 6]]), np.array([[1.0], [2], [3]])
    np.testing.assert_allclose(
        gf.linalg.tridiagonal_solve(c, b).numpy(), np.linalg.solve(dense(c[None])[0], b), rtol=1e-12
    )
    for run in (gf.linalg.tridiagonal_solve, gf.function(gf.linalg.tridiagonal_solve)):
        with pytest.raises(gf.errors.InvalidArgumentError, match="singular"):
            run(gf.constant(np.zeros((3, 2))), gf.constant(np.ones((2, 1))))


def test_gradients_of_tridiagonal_systems():
    c = gf.constant(RANDOM.standard_normal((2, 3, 5)) + np.array([[0], [4], [0]]))
    b = gf.constant(RANDOM.standard_normal((2, 5, 2)))
    with gf.GradientTape(persistent=True) as tape:
        tape.watch([c, b])
        y = gf.reduce_sum(gf.linalg.tridiagonal_solve(c, b) ** 3)
        m = gf.linalg.diag(c[:, 1]) + gf.linalg.diag(c[:, 0, :-1], k=1) + gf.linalg.diag(c[:, 2, 1:], k=-1)
        z = gf.reduce_sum(gf.linalg.solve(m, b) ** 3)
    for found, expected in zip(tape.gradient(y, [c, b]), tape.gradient(z, [c, b]), strict=True):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-10, atol=1e-12)


def test_banded_triangular_systems():
    bands, b = RANDOM.uniform(1, 2, (3, 5)), RANDOM.standard_normal((5, 2))
    lower = np.diag(bands[0]) + np.diag(bands[1, 1:], -1) + np.diag(bands[2, 2:], -2)
    upper = np.diag(bands[2]) + np.diag(bands[1, :-1], 1) + np.diag(bands[0, :-2], 2)
    np.testing.assert_allclose(lower @ gf.linalg.banded_triangular_solve(bands, b).numpy(), b, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        upper @ gf.linalg.banded_triangular_solve(bands, b, lower=False).numpy(), b, rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(
        lower.T @ gf.linalg.banded_triangular_solve(bands, b, adjoint=True).numpy(), b, rtol=1e-10, atol=1e-12
    )


def test_eigenvalues_of_tridiagonal_matrices():
    a, b = RANDOM.standard_normal(6), RANDOM.standard_normal(5)
    matrix = np.diag(a) + np.diag(b, 1) + np.diag(b, -1)
    expected = np.linalg.eigvalsh(matrix)
    values, vectors = gf.linalg.eigh_tridiagonal(a, b, eigvals_only=False)
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(matrix @ vectors.numpy(), vectors.numpy() * expected, rtol=1e-10, atol=1e-10)
    some = gf.linalg.eigh_tridiagonal(a, b, select="i", select_range=(1, 3))
    np.testing.assert_array_equal(some.numpy(), values.numpy()[1:4])
    limits = (expected[1] + 1e-9, expected[4] + 1e-9)
    inside = gf.function(lambda a, b: gf.linalg.eigh_tridiagonal(a, b, select="v", select_range=limits))(
        gf.constant(a), gf.constant(b)
    )
    np.testing.assert_allclose(inside.numpy(), expected[2:5], rtol=1e-12, atol=1e-12)


def test_square_roots_and_their_gradient():
    a = RANDOM.standard_normal((2, 4, 4))
    a = a @ a.transpose(0, 2, 1) + 0.1 * np.eye(4)
    root = gf.linalg.sqrtm(a).numpy()
    np.testing.assert_allclose(root @ root, a, rtol=1e-10, atol=1e-12)
    weights, direction, step = RANDOM.standard_normal(a.shape), RANDOM.standard_normal(a.shape), 1e-6
    x = gf.constant(a)
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = gf.linalg.sqrtm(x)
    slope = tape.gradient(y, x, output_gradients=gf.constant(weights)).numpy()
    ends = [np.sum(gf.linalg.sqrtm(a + s * step * direction).numpy() * weights) for s in (1, -1)]
    np.testing.assert_allclose(np.sum(slope * direction), (ends[0] - ends[1]) / (2 * step), rtol=1e-6)


def test_bad_input():
    for call in (
        lambda: gf.linalg.tridiagonal_matmul(np.ones((2, 4)), np.ones((4, 1))),
        lambda: gf.linalg.tridiagonal_solve(np.ones((3, 4)), np.ones((5, 1))),
        lambda: gf.linalg.tridiagonal_solve(np.ones((3, 4)), np.ones((4, 1)), "bands"),
        lambda: gf.linalg.eigh_tridiagonal([1.0, 2.0], [1.0, 2.0]),
        lambda: gf.linalg.eigh_tridiagonal([1.0, 2.0], [1.0], select="x"),
        lambda: gf.linalg.sqrtm(np.ones((2, 3))),
    ):
        with pytest.raises(gf.errors.GraphflowError):
            call()
