"""What the results of linear algebra have to fulfil. Factors are known up to signs, phases and the conditioning of the matrix, so they are
not compared element by element with another library's: they have to be factors of a matrix that is as close to the given one as rounding
allows (a small backward error), and be triangular, orthonormal or ordered as they claim to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: backward errors may be this many times eps and the larger extent; the largest that the tests meet is two thirds of that
FACTOR = 4


def turned(x: Array) -> Array:
    """The adjoint."""
    return np.conj(np.swapaxes(x, -1, -2))


def wide(x: Array) -> Array:
    return x.astype(np.complex128 if x.dtype.kind == "c" else np.float64)


def size(x: Array) -> Array:
    """The Frobenius norm of each matrix."""
    return np.sqrt(np.sum(np.abs(x) ** 2, axis=(-1, -2)))


def unit(like: Array) -> float:
    """eps and the larger extent of the matrices."""
    return float(np.finfo(like.dtype).eps * FACTOR * max(*like.shape[-2:], 1))


def small(what: str, residual: Array, scale: Array, bound: float) -> None:
    """The residual matrices are at most bound times scale."""
    excess = size(residual) - bound * scale
    assert not np.any(~(excess <= 0)), (
        f"{what}: {np.max(size(residual) / np.maximum(scale, 1e-300))} is more than {bound}"
    )


def orthonormal(q: Array, bound: float) -> None:
    """The columns are."""
    gram = turned(wide(q)) @ wide(q)
    small(
        "orthonormal columns", gram - np.eye(gram.shape[-1]), np.sqrt(gram.shape[-1]) * np.ones(gram.shape[:-2]), bound
    )


def conditioning(x: Array) -> Array:
    return size(np.linalg.inv(wide(x))) * size(wide(x)) if x.shape[-1] else np.zeros(x.shape[:-2])


def cholesky(operands: Sequence[Array], found: Sequence[Array], expected: Sequence[Array], **_: Any) -> None:
    (x,), (factor,) = operands, found
    below = np.tril(wide(x), -1)
    middle = np.real(np.diagonal(wide(x), 0, -2, -1))[..., None] * np.eye(x.shape[-1])
    whole = below + middle + turned(below)
    small("L L' = x", wide(factor) @ turned(wide(factor)) - whole, size(whole), unit(x))
    np.testing.assert_array_equal(np.triu(factor, 1), 0)
    assert np.all(np.diagonal(factor, 0, -2, -1).real > 0)
    assert not np.any(np.diagonal(factor, 0, -2, -1).imag)


def solution(matrix: Array, right: Array, x: Array) -> None:
    a, b, y = map(wide, (matrix, right, x))
    small("A X = B", a @ y - b, size(a) * size(y) + size(b), unit(matrix))


def solve(operands: Sequence[Array], found: Sequence[Array], expected: Sequence[Array], adjoint: bool = False) -> None:
    matrix, right = operands
    solution(turned(matrix) if adjoint else matrix, right, found[0])


def triangular_solve(
    operands: Sequence[Array],
    found: Sequence[Array],
    expected: Sequence[Array],
    lower: bool = True,
    adjoint: bool = False,
) -> None:
    matrix, right = operands
    own = np.tril(matrix) if lower else np.triu(matrix)
    solution(turned(own) if adjoint else own, right, found[0])


def tridiagonal_solve(operands: Sequence[Array], found: Sequence[Array], expected: Sequence[Array], **_: Any) -> None:
    above, middle, below, right = operands
    n = middle.shape[-1]
    k, matrix = np.arange(n), np.zeros((*middle.shape, n), middle.dtype)
    matrix[..., k, k], matrix[..., k[:-1], k[1:]], matrix[..., k[1:], k[:-1]] = (
        middle,
        above[..., k[:-1]],
        below[..., k[1:]],
    )
    solution(matrix, right, found[0])


def lu(operands: Sequence[Array], found: Sequence[Array], expected: Sequence[Array], **_: Any) -> None:
    (x,), (factors, order) = operands, found
    lower, upper = np.tril(wide(factors), -1) + np.eye(x.shape[-1]), np.triu(wide(factors))
    rows = np.take_along_axis(wide(x), order[..., None].astype(np.int64), -2)
    small("L U = P x", lower @ upper - rows, size(np.abs(lower) @ np.abs(upper)), unit(x))
    assert np.all(
        np.abs(np.tril(factors, -1)) <= 1.5
    )  # partial pivoting: the largest by the sum of the parts' magnitudes
    np.testing.assert_array_equal(order, expected[1])


def determinant(operands: Sequence[Array], found: Sequence[Array], expected: Sequence[Array], **_: Any) -> None:
    bound = unit(operands[0]) * np.maximum(conditioning(operands[0]), 1) * np.abs(expected[0])
    assert np.all(np.abs(wide(found[0]) - wide(expected[0])) <= bound)


def slogdet(operands: Sequence[Array], found: Sequence[Array], expected: Sequence[Array], **_: Any) -> None:
    bound = unit(operands[0]) * np.maximum(conditioning(operands[0]), 1)
    for one, right in zip(found, expected, strict=True):
        assert np.all(np.abs(wide(one) - wide(right)) <= bound * np.maximum(np.abs(right), 1))


def qr(operands: Sequence[Array], found: Sequence[Array], expected: Sequence[Array], **_: Any) -> None:
    (x,), (q, r) = operands, found
    orthonormal(q, unit(x))
    small("q r = x", wide(q) @ wide(r) - wide(x), size(wide(x)), unit(x))
    np.testing.assert_array_equal(np.tril(r, -1), 0)
    assert not np.any(np.diagonal(r, 0, -2, -1).imag)


def svd(operands: Sequence[Array], found: Sequence[Array], expected: Sequence[Array], **_: Any) -> None:
    (x,), (s, u, v) = operands, found
    k = s.shape[-1]
    orthonormal(u, unit(x))
    orthonormal(v, unit(x))
    whole = (wide(u)[..., :k] * wide(s)[..., None, :]) @ turned(wide(v)[..., :k])
    small("u s v' = x", whole - wide(x), size(wide(x)), unit(x))
    assert np.all(s >= 0)
    assert np.all(np.diff(s) <= 0)
    assert np.all(np.abs(s - expected[0]) <= unit(x) * size(x)[..., None])  # Weyl


def eigh(operands: Sequence[Array], found: Sequence[Array], expected: Sequence[Array], **_: Any) -> None:
    (x,), (e, v) = operands, found
    below = np.tril(wide(x), -1)
    whole = below + np.real(np.diagonal(wide(x), 0, -2, -1))[..., None] * np.eye(x.shape[-1]) + turned(below)
    orthonormal(v, unit(x))
    small("x v = v e", whole @ wide(v) - wide(v) * e[..., None, :], size(whole), unit(x))
    assert np.all(np.diff(e) >= 0)
    assert np.all(np.abs(e - expected[0]) <= unit(x) * size(whole)[..., None])


def eig(operands: Sequence[Array], found: Sequence[Array], expected: Sequence[Array], **_: Any) -> None:
    (x,), (e, v) = operands, found
    small("x v = v e", wide(x) @ wide(v) - wide(v) * wide(e)[..., None, :], size(wide(x)), unit(x))
    lengths = np.sqrt(np.sum(np.abs(wide(v)) ** 2, -2))
    assert np.all(np.abs(lengths - 1) <= unit(x))
    if x.shape[-1]:  # the largest element is real
        largest = np.take_along_axis(v, np.argmax(np.abs(v), -2)[..., None, :], -2)
        assert np.all(np.abs(largest.imag) <= unit(x))
    # the eigenvalues, as far as their own conditioning (Bauer and Fike) says; the order may be another in another precision
    bound = unit(x) * size(wide(x)) * conditioning(expected[1])
    apart = np.abs(e[..., :, None] - expected[0][..., None, :])
    for axis in (-1, -2):
        assert np.all(np.min(apart, axis, initial=np.inf) <= bound[..., None])


def matrix_square_root(operands: Sequence[Array], found: Sequence[Array], expected: Sequence[Array], **_: Any) -> None:
    (x,), (root,) = operands, found
    small("root root = x", wide(root) @ wide(root) - wide(x), size(wide(root)) ** 2, unit(x))
    assert np.all(np.linalg.eigvals(wide(root)).real > 0)


#: op -> check(operands, results, the reference's results, **attributes)
FACTORS: dict[str, Callable[..., None]] = {
    check.__name__: check
    for check in (
        cholesky, determinant, eig, eigh, lu, matrix_square_root, qr, slogdet, solve, svd, triangular_solve, tridiagonal_solve,
    )
}  # fmt: skip


def assert_factors(op: Any, sample: Any, results: Sequence[Any], expected: Sequence[Array]) -> None:
    """The results of an op on a sample are what they should be, and of the references' dtypes and shapes."""
    found = [np.asarray(r) for r in results]
    assert [(f.dtype, f.shape) for f in found] == [(e.dtype, e.shape) for e in expected]
    FACTORS[op.name](sample.arrays, found, expected, **sample.attributes)
