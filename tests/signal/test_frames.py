"""Windows, frames, spectra and cosine transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.fft

import graphflow as gf
from graphflow.errors import DTypeError, InvalidArgumentError, ShapeError


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
@pytest.mark.parametrize("norm", [None, "ortho"])
def test_cosine_transforms_are_scipys(kind: int, norm: str | None) -> None:
    x = random(3, 10)
    if kind == 1 and norm:
        with pytest.raises(InvalidArgumentError, match="type 1"):
            gf.signal.dct(x, type=kind, norm=norm)
        return
    for n in (None, 6, 10, 13):
        np.testing.assert_allclose(
            gf.signal.dct(x, kind, n, norm=norm), scipy.fft.dct(x, kind, n, norm=norm), atol=1e-12
        )
    back = gf.signal.idct(gf.signal.dct(x, kind, norm=norm), kind, norm=norm)
    factor = 1 if norm else 2 * 9 if kind == 1 else 2 * 10
    np.testing.assert_allclose(np.asarray(back) / factor, x, atol=1e-12)


def test_cosine_transforms_of_symbolic_length_have_the_bits_of_eager() -> None:
    @gf.function
    def f(x: Any) -> Any:
        return [
            gf.signal.dct(x, kind, norm=norm)
            for kind, norm in ((1, None), (2, "ortho"), (3, "ortho"), (3, None), (4, "ortho"))
        ]

    for n in (8, 9, 11):
        x = gf.constant(random(2, n, seed=n))
        for found, (kind, norm) in zip(
            f(x), ((1, None), (2, "ortho"), (3, "ortho"), (3, None), (4, "ortho")), strict=True
        ):
            assert np.asarray(found).tobytes() == np.asarray(gf.signal.dct(x, kind, norm=norm)).tobytes()


def test_windows() -> None:
    for n in (1, 2, 5, 8):
        whole = n + 1 - n % 2
        np.testing.assert_allclose(
            gf.signal.hann_window(n, dtype=gf.float64), np.hanning(whole)[:n] if n > 1 else [1], atol=1e-15
        )
        np.testing.assert_allclose(
            gf.signal.hann_window(n, periodic=False, dtype=gf.float64), np.hanning(n), atol=1e-15
        )
        np.testing.assert_allclose(
            gf.signal.hamming_window(n, periodic=False, dtype=gf.float64), np.hamming(n), atol=1e-15
        )
        np.testing.assert_allclose(gf.signal.kaiser_window(n, 5.0, gf.float64), np.kaiser(n, 5.0), atol=1e-15)
    for window in (gf.signal.vorbis_window(8, gf.float64), gf.signal.kaiser_bessel_derived_window(8, 4.0, gf.float64)):
        w = np.asarray(window)
        np.testing.assert_allclose(w[:4] ** 2 + w[4:] ** 2, 1, atol=1e-14)
        np.testing.assert_allclose(w, w[::-1], atol=1e-15)
    assert gf.signal.hann_window(4).dtype is gf.float32
    with pytest.raises(DTypeError, match="hann_window"):
        gf.signal.hann_window(4, dtype=gf.int32)


def test_frames() -> None:
    x = np.arange(10)
    np.testing.assert_array_equal(gf.signal.frame(x, 4, 3), [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]])
    padded = gf.signal.frame(x, 4, 3, pad_end=True, pad_value=-1)
    np.testing.assert_array_equal(padded, [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9], [9, -1, -1, -1]])
    assert gf.signal.frame(x[:3], 4, 3).shape == (0, 4)
    y = random(5, 7, 2)
    found = np.asarray(gf.signal.frame(y, 3, 2, axis=1))
    assert found.shape == (5, 3, 3, 2)
    np.testing.assert_array_equal(found[:, 1], y[:, 2:5])
    with pytest.raises(InvalidArgumentError, match="frame_step"):
        gf.signal.frame(x, 4, 0)


def test_overlap_and_add() -> None:
    frames = random(2, 4, 5)
    for step in (1, 2, 5, 7):
        expected = np.zeros((2, 3 * step + 5))
        for k in range(4):
            expected[:, k * step : k * step + 5] += frames[:, k]
        np.testing.assert_allclose(gf.signal.overlap_and_add(frames, step), expected, atol=1e-14)
    with pytest.raises(ShapeError, match="rank 2"):
        gf.signal.overlap_and_add(frames[0, 0], 2)


@pytest.mark.parametrize("pad_end", [False, True])
def test_short_time_spectra_and_back(pad_end: bool) -> None:
    x = random(2, 200)
    spectra = gf.signal.stft(x, 20, 5, fft_length=32, pad_end=pad_end)
    window = np.asarray(gf.signal.hann_window(20, dtype=gf.float64))
    first = np.fft.rfft(x[:, 5:25] * window, 32)
    np.testing.assert_allclose(np.asarray(spectra)[:, 1], first, atol=1e-12)
    back = gf.signal.inverse_stft(spectra, 20, 5, fft_length=32, window_fn=gf.signal.inverse_stft_window_fn(5))
    np.testing.assert_allclose(np.asarray(back)[:, 20:180], x[:, 20:180], atol=1e-12)
    assert gf.signal.stft(x, 20, 5).shape[-1] == 17


@pytest.mark.parametrize("norm", [None, "ortho"])
def test_modified_cosine_transforms_and_back(norm: str | None) -> None:
    x = random(2, 64)
    for window in (gf.signal.vorbis_window, gf.signal.kaiser_bessel_derived_window, None):
        found = gf.signal.mdct(x, 16, window_fn=window, norm=norm)
        assert found.shape == (2, 7, 8)
        back = np.asarray(gf.signal.inverse_mdct(found, window_fn=window, norm=norm))
        np.testing.assert_allclose(back[:, 8:-8], x[:, 8:-8], atol=1e-12)
    with pytest.raises(InvalidArgumentError, match="multiple of 4"):
        gf.signal.mdct(x, 6)


def test_mel_scale() -> None:
    """Triangles that overlap by half: between the first and the last peak they add to 1."""
    weights = np.asarray(gf.signal.linear_to_mel_weight_matrix(4, 9, 8000, 125.0, 3800.0, gf.float64))
    assert weights.shape == (9, 4)
    assert not weights[0].any() and (weights >= 0).all() and (weights <= 1).all()
    inner = weights[2:6]
    np.testing.assert_allclose(inner.sum(1), 1, atol=1e-12)
    logs = random(3, 8)
    expected = scipy.fft.dct(logs, 2) / np.sqrt(16)
    np.testing.assert_allclose(gf.signal.mfccs_from_log_mel_spectrograms(logs), expected, atol=1e-13)
    with pytest.raises(InvalidArgumentError, match="edge"):
        gf.signal.linear_to_mel_weight_matrix(upper_edge_hertz=5000.0)


def test_a_pipeline_in_one_function_with_its_gradient() -> None:
    x = random(100)

    @gf.function
    def loss(t: Any) -> Any:
        with gf.GradientTape() as tape:
            tape.watch(t)
            power = gf.square(gf.abs(gf.signal.stft(t, 16, 8)))
            total = gf.reduce_sum(gf.math.log(power + 1e-3))
        return total, tape.gradient(total, t)

    _, slope = loss(gf.constant(x))
    direction = random(100, seed=5)
    upper, lower = (float(loss(gf.constant(x + s * direction))[0]) for s in (1e-5, -1e-5))
    assert abs((upper - lower) / 2e-5 - float(np.sum(np.asarray(slope) * direction))) <= 1e-5 * (1 + abs(upper))
