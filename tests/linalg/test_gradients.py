"""Gradients of gf.linalg, first and second order, of real and complex matrices: against central differences along random directions, and
compiled against eager. A complex matrix moves in both parts; losses do not depend on what is not determined (phases of vectors)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf

L = gf.linalg
N = 4


def h(x: Any) -> Any:
    return L.adjoint(x)


def rows(x: Any) -> Any:
    """Three diagonals of x, the main one away from 0."""
    return x[..., :3, :] + gf.constant([[0.0], [4.0], [0.0]], gf.float64 if not x.dtype.is_complex else gf.complex128)


def projected(values: Any, left: Any, right: Any) -> Any:
    """left diag(values) right^H, with two of the columns: no phases are left, nor does it collapse to a function of the matrix."""
    kept = gf.cast(values, left.dtype)[..., None, :2]
    return gf.matmul(left[..., :2] * kept, right[..., :2], adjoint_b=True)


def of_eig(a: Any) -> Any:
    e, v = L.eig(a)
    return gf.concat([gf.math.real(e * e), gf.math.imag(e), gf.reduce_sum(gf.abs(v) ** 4, -1)], -1)


FORMS: dict[str, Any] = {
    "cholesky": lambda a: L.cholesky(a @ h(a)),
    "cholesky_solve": lambda a: L.cholesky_solve(L.cholesky(a @ h(a)), a[..., :2]),
    "solve": lambda a: L.solve(a, a[..., :2] * 2 + 1),
    "solve adjoint": lambda a: L.solve(a, a[..., :2] * 2 + 1, adjoint=True),
    "triangular_solve": lambda a: L.triangular_solve(a, a[..., :2] + 1),
    "triangular_solve upper": lambda a: L.triangular_solve(a, a[..., :2] + 1, lower=False),
    "triangular_solve adjoint": lambda a: L.triangular_solve(a, a[..., :2] + 1, adjoint=True),
    "triangular_solve upper adjoint": lambda a: L.triangular_solve(a, a[..., :2] + 1, lower=False, adjoint=True),
    "inv": lambda a: L.inv(a),
    "inv adjoint": lambda a: L.inv(a, adjoint=True),
    "det": lambda a: L.det(a),
    "slogdet": lambda a: L.slogdet(a)[1],
    "slogdet sign": lambda a: L.slogdet(a)[0],
    "logdet": lambda a: L.logdet(a @ h(a)),
    "lu": lambda a: L.lu(a)[0],
    "lu_solve": lambda a: L.lu_solve(*L.lu(a), a[..., :2] + 1),
    "lu_reconstruct": lambda a: L.lu_reconstruct(L.lu(a)[0] * 2, L.lu(a)[1]),
    "qr": lambda a: gf.concat(L.qr(a), -1),
    "qr tall": lambda a: gf.concat(L.qr(a[..., :2]), -2),
    "qr wide": lambda a: gf.concat(L.qr(a[..., :3, :]), -1),
    "qr wide full": lambda a: gf.concat(L.qr(a[..., :3, :], True), -1),
    "svd values": lambda a: L.svd(a, compute_uv=False),
    "svd": lambda a: (lambda s, u, v: projected(s**3, u, v))(*L.svd(a)),
    "svd left": lambda a: (lambda s, u, v: projected(s, u, u))(*L.svd(a)),
    "svd tall": lambda a: (lambda s, u, v: projected(s**2, u, v))(*L.svd(a[..., :2])),
    "svd wide": lambda a: (lambda s, u, v: projected(s**2, v, v))(*L.svd(a[..., :2, :])),
    "eigh values": lambda a: L.eigvalsh(a),
    "eigh": lambda a: (lambda e, v: projected(e**3, v, v))(*L.eigh(a)),
    "eig values": lambda a: L.eigvals(a),
    "eig": of_eig,
    "pinv tall": lambda a: L.pinv(a[..., :2]),
    "pinv wide": lambda a: L.pinv(a[..., :2, :]),
    "lstsq": lambda a: L.lstsq(a[..., :2], a[..., 2:], 0.5),
    "lstsq wide": lambda a: L.lstsq(a[..., :2, :], a[..., 2:, :]),
    "lstsq slow": lambda a: L.lstsq(a[..., :2], a[..., 2:], fast=False),
    "expm": lambda a: L.expm(a * 0.4),
    "sqrtm": lambda a: L.sqrtm(a),
    "logm": lambda a: L.logm(gf.cast(a, gf.complex128)),
    "tridiagonal_solve": lambda a: L.tridiagonal_solve(rows(a), a[..., :2]),
    "tridiagonal_solve matrix": lambda a: L.tridiagonal_solve(a, a[..., :2], "matrix", conjugate_rhs=True),
    "tridiagonal_matmul": lambda a: L.tridiagonal_matmul(rows(a), a[..., :2]),
    "banded_triangular_solve": lambda a: L.banded_triangular_solve(rows(a)[..., 1:, :], a[..., :2], adjoint=True),
    "eigh_tridiagonal": lambda a: L.eigh_tridiagonal(a[0, 0], a[0, 1, 1:]),
    "norm": lambda a: L.norm(a, axis=-1),
    "norm 1": lambda a: L.norm(a, 1, [-2, -1]),
    "norm 2": lambda a: L.norm(a, 2, [-2, -1]),
    "norm 3": lambda a: L.norm(a, 3, -1),
    "norm inf": lambda a: L.norm(a, np.inf, [-2, -1]),
    "diagonals": lambda a: L.set_diag(a * a, L.diag_part(a, k=1), k=1) + L.band_part(a, 1, 0) + L.diag(a[..., 0]),
    "trace": lambda a: L.trace(a @ a) + L.trace(h(a)),
    "cross": lambda a: L.cross(a[..., :3], a[..., 1:]),
}
#: constant: the sign of a real determinant
STILL = {("slogdet sign", "float64")}


def matrices(kind: str) -> Any:
    generator = np.random.default_rng(11)
    parts = generator.standard_normal((3, 2, 2, N, N))
    a, u, v = (p[0] + 1j * p[1] if kind == "complex128" else p[0] for p in parts)
    return a + np.diag([3.0, 4.0, 5.0, 6.5]), u, v


def weighted(y: Any) -> Any:
    """Re sum(y conj(w)) with fixed weights of all sizes."""
    count = int(np.prod(y.dims))
    w = np.cos(1.0 + 0.7 * np.arange(count)).reshape(y.dims)
    if y.dtype.is_complex:
        return gf.reduce_sum(gf.math.real(y) * w + gf.math.imag(y) * np.sin(3.0 * w))
    return gf.reduce_sum(y * w)


def along(gradient: Any, direction: Any) -> Any:
    """The slope in a direction: Re sum(conj(gradient) direction)."""
    if gradient.dtype.is_complex:
        return gf.reduce_sum(gf.math.real(gf.math.conj(gradient) * direction))
    return gf.reduce_sum(gradient * direction)


def derivatives(form: Any, x: Any, u: Any) -> Any:
    """Value, gradient, and the gradient of the slope along u."""
    with gf.GradientTape() as outer:
        outer.watch(x)
        with gf.GradientTape() as inner:
            inner.watch(x)
            y = weighted(form(x))
        first = inner.gradient(y, x)
        slope = along(first, u)
    return y, first, outer.gradient(slope, x, unconnected_gradients=gf.UnconnectedGradients.ZERO)


@pytest.mark.parametrize("kind", ["float64", "complex128"])
@pytest.mark.parametrize("name", FORMS)
def test_gradients_match_central_differences(name: str, kind: str) -> None:
    form, step = FORMS[name], 1e-5
    a, u, v = matrices(kind)
    _, first, second = derivatives(form, gf.constant(a), gf.constant(u))
    assert first.dtype == second.dtype == kind
    ends = [derivatives(form, gf.constant(a + s * step * v), gf.constant(u)) for s in (1, -1)]
    slope = (float(ends[0][0]) - float(ends[1][0])) / (2 * step)
    assert abs(float(along(first, gf.constant(v))) - slope) <= 2e-7 * (1 + abs(slope))
    assert abs(slope) > 1e-5 or (name, kind) in STILL
    curve = float(along(ends[0][1] - ends[1][1], gf.constant(u))) / (2 * step)
    assert abs(float(along(second, gf.constant(v))) - curve) <= 1e-6 * (1 + abs(curve) + float(gf.norm(first, np.inf)))


#: the forms whose gradients are rules of their own, and not made of others'
OWN_RULES = (
    "cholesky", "solve adjoint", "triangular_solve upper", "det", "slogdet", "lu", "qr", "qr wide", "svd", "eigh", "eig", "sqrtm",
    "tridiagonal_solve",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["float64", "complex128"])
def test_compiled_gradients_have_the_bits_of_eager_ones(kind: str) -> None:
    """All forms in one function: one compilation. To second order for real matrices, to first for complex ones."""
    a, u, _ = map(gf.constant, matrices(kind))

    def gradients(name: str, x: Any, u: Any) -> Any:
        if kind == "float64":
            return derivatives(FORMS[name], x, u)
        with gf.GradientTape() as tape:
            tape.watch(x)
            y = weighted(FORMS[name](x))
        return y, tape.gradient(y, x)

    compiled = gf.function(lambda x, u: {name: gradients(name, x, u) for name in OWN_RULES})(a, u)
    for name in OWN_RULES:
        for found, expected in zip(compiled[name], gradients(name, a, u), strict=True):
            np.testing.assert_array_equal(found.numpy(), expected.numpy(), err_msg=name)
