"""gf.signal's Fourier transforms: against NumPy in extended dtype, for every kind of length, and their meaning and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphflow as gf
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError

#: powers of two, products of the radices, primes and their multiples
LENGTHS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 22, 24, 32, 49, 64, 97, 100, 105, 120, 128, 143, 240, 256, 343, 512,
           1000, 1009, 1024, 2048, 2310, 4096, 5040, 10007, 65536]  # fmt: skip


def random(*shape: int, kind: str = "complex128", seed: int = 0) -> np.ndarray:
    parts = np.random.default_rng(seed).standard_normal((2, *shape))
    return (parts[0] + 1j * parts[1]).astype(kind)


def distance(found: Any, expected: np.ndarray) -> float:
    """Root mean square error in eps of the result."""
    value = np.asarray(found)
    assert value.shape == expected.shape
    size = np.sqrt(np.sum(np.abs(expected) ** 2))
    return float(np.sqrt(np.sum(np.abs(value - expected) ** 2)) / size / np.finfo(value.dtype).eps)


@pytest.mark.parametrize("kind", ["complex64", "complex128"])
@pytest.mark.parametrize("n", LENGTHS)
def test_every_length_is_right_to_a_few_ulps(n: int, kind: str) -> None:
    z = random(2, n, kind=kind, seed=n)
    x = z.real.copy()
    bound = 1.5 + 0.35 * np.log2(n)
    wide = z.astype(np.complex128)
    spectrum = np.fft.rfft(x.astype(np.float64))
    assert distance(gf.signal.fft(z), np.fft.fft(wide)) <= bound
    assert distance(gf.signal.ifft(z), np.fft.ifft(wide)) <= bound
    assert distance(gf.signal.rfft(x), spectrum) <= bound
    assert distance(gf.signal.irfft(spectrum.astype(kind), [n]), x) <= 2 * bound


def test_static_and_symbolic_lengths_have_the_same_bits() -> None:
    @gf.function
    def f(z: Any, x: Any) -> Any:
        return gf.signal.fft(z), gf.signal.ifft(z), gf.signal.rfft(x), gf.signal.irfft(z), gf.signal.fftshift(x)

    for n in (16, 12, 15, 11, 22, 97, 64, 1):
        z = random(3, n + 1, seed=n)
        x = random(3, n, seed=n + 1).real.copy()
        found = f(gf.constant(z), gf.constant(x))
        eager = gf.signal.fft(z), gf.signal.ifft(z), gf.signal.rfft(x), gf.signal.irfft(z), gf.signal.fftshift(x)
        for one, other in zip(found, eager, strict=True):
            assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    assert f.experimental_get_tracing_count() <= 3


def test_rows_do_not_depend_on_their_neighbours() -> None:
    z = random(50, 360, kind="complex64")
    whole = np.asarray(gf.signal.fft(z))
    for row in (0, 7, 49):
        assert np.asarray(gf.signal.fft(z[row])).tobytes() == whole[row].tobytes()


def test_several_axes() -> None:
    z, x = random(3, 4, 5, 6), random(3, 4, 5, 6).real.copy()
    for count in (2, 3):
        axes = tuple(range(-count, 0))
        for name, function in (("fft", np.fft.fftn), ("ifft", np.fft.ifftn)):
            np.testing.assert_allclose(getattr(gf.signal, f"{name}{count}d")(z), function(z, axes=axes), atol=1e-12)
        spectrum = getattr(gf.signal, f"rfft{count}d")(x)
        np.testing.assert_allclose(spectrum, np.fft.rfftn(x, axes=axes), atol=1e-12)
        np.testing.assert_allclose(getattr(gf.signal, f"irfft{count}d")(spectrum), x, atol=1e-12)


def test_lengths_crop_and_pad() -> None:
    x = random(2, 8).real.copy()
    z = random(2, 5)
    for n in (3, 5, 8, 12):
        np.testing.assert_allclose(gf.signal.rfft(x, [n]), np.fft.rfft(x, n), atol=1e-13)
        np.testing.assert_allclose(gf.signal.irfft(z, [n]), np.fft.irfft(z, n), atol=1e-13)
    cube = random(4, 6).real.copy()
    np.testing.assert_allclose(gf.signal.rfft2d(cube, [3, 9]), np.fft.rfft2(cube, (3, 9)), atol=1e-12)
    np.testing.assert_allclose(gf.signal.irfft2d(random(4, 6), [5, 7]), np.fft.irfft2(random(4, 6), (5, 7)), atol=1e-12)


@pytest.mark.parametrize("norm", [None, "backward", "forward", "ortho"])
def test_any_axes_and_norms_are_those_of_numpy(norm: str | None) -> None:
    z, x = random(3, 4, 5), random(3, 4, 5).real.copy()
    for axes, lengths in ((None, None), ((0,), None), ((2, 0), (4, 6)), ((-1, 1), None)):
        given = list(lengths) if lengths else None
        own = {"axes": None if axes is None else list(axes), "norm": norm}
        numpy = {"s": lengths, "axes": axes if axes is not None else (0, 1, 2), "norm": norm}
        np.testing.assert_allclose(gf.signal.fftnd(z, given, **own), np.fft.fftn(z, **numpy), atol=1e-12)
        np.testing.assert_allclose(gf.signal.ifftnd(z, given, **own), np.fft.ifftn(z, **numpy), atol=1e-12)
        np.testing.assert_allclose(gf.signal.rfftnd(x, given, **own), np.fft.rfftn(x, **numpy), atol=1e-12)
        np.testing.assert_allclose(gf.signal.irfftnd(z, given, **own), np.fft.irfftn(z, **numpy), atol=1e-12)


def test_shifts() -> None:
    for n in (4, 5):
        x = np.arange(n * 3.0).reshape(n, 3)
        np.testing.assert_array_equal(gf.signal.fftshift(x), np.fft.fftshift(x))
        np.testing.assert_array_equal(gf.signal.ifftshift(x), np.fft.ifftshift(x))
        np.testing.assert_array_equal(gf.signal.fftshift(x, axes=[0]), np.fft.fftshift(x, 0))


def test_parseval_and_the_imaginary_parts_that_do_not_count() -> None:
    x = random(12).real.copy()
    spectrum = np.asarray(gf.signal.rfft(x))
    assert spectrum[0].imag == 0 and spectrum[-1].imag == 0
    changed = spectrum.copy()
    changed[0] += 5j
    changed[-1] -= 7j
    np.testing.assert_array_equal(gf.signal.irfft(changed), gf.signal.irfft(spectrum))


def test_a_spectral_filter_is_differentiable_in_a_function() -> None:
    """d/dx of sum (irfft(rfft(x) h) - y)**2 is 2 H' (H x - y)."""
    x, y = random(12).real.copy(), random(12, seed=2).real.copy()
    h = random(7, seed=3)
    matrix = np.stack([np.fft.irfft(np.fft.rfft(row) * h, 12) for row in np.eye(12)], 1)

    @gf.function
    def slope(t: Any) -> Any:
        with gf.GradientTape() as tape:
            tape.watch(t)
            loss = gf.reduce_sum((gf.signal.irfft(gf.signal.rfft(t) * h) - y) ** 2)
        return tape.gradient(loss, t)

    np.testing.assert_allclose(slope(gf.constant(x)), 2 * matrix.T @ (matrix @ x - y), atol=1e-12)


def test_gradients_with_symbolic_lengths_of_either_parity() -> None:
    @gf.function
    def slope(t: Any) -> Any:
        with gf.GradientTape() as tape:
            tape.watch(t)
            spectrum = gf.signal.rfft(t)
            loss = gf.reduce_sum(gf.math.real(spectrum * gf.math.conj(spectrum)))
        return tape.gradient(loss, t)

    for n in (6, 7, 9, 10):
        x = random(n, seed=n).real.copy()
        power = np.stack([np.fft.rfft(row) for row in np.eye(n)], 1)
        expected = 2 * (power.conj().T @ (power @ x)).real
        np.testing.assert_allclose(slope(gf.constant(x)), expected, rtol=1e-12)


def test_transforms_that_make_no_sense_are_refused() -> None:
    with pytest.raises(DTypeError, match="fft"):
        gf.signal.fft(gf.constant([1.0, 2.0]))
    with pytest.raises(DTypeError, match="rfft"):
        gf.signal.rfft(gf.constant([1, 2]))
    with pytest.raises(ShapeError, match="rank 2"):
        gf.signal.fft2d(gf.constant([1j]))
    with pytest.raises(ShapeError, match="fft_length"):
        gf.signal.rfft2d(np.zeros((2, 2)), [4])
    with pytest.raises(InvalidArgumentError, match="positive"):
        gf.signal.rfft(np.zeros(4), [0])
    with pytest.raises(InvalidArgumentError, match="norm"):
        gf.signal.fftnd(gf.constant([1j]), norm="both")
    assert gf.signal.fft(np.zeros((2, 0), np.complex64)).shape == (2, 0)
    assert gf.signal.fft(np.zeros((0, 4), np.complex64)).shape == (0, 4)
