"""gf.image.resize: by hand, for every method; symbolic batches; gradients; bad input."""

from __future__ import annotations

import numpy as np
import pytest

import graphflow as gf

RANDOM = np.random.default_rng(1)
METHODS = [v for k, v in vars(gf.image.ResizeMethod).items() if k.isupper()]


def test_by_hand():
    image = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)[:, :, None]
    found = gf.image.resize(image, [4, 4]).numpy()[:, :, 0]
    np.testing.assert_allclose(found[0], [1, 1.25, 1.75, 2])
    np.testing.assert_allclose(found[:, 0], [1, 1.5, 2.5, 3])
    np.testing.assert_array_equal(
        gf.image.resize(image, [4, 2], "nearest").numpy()[:, :, 0], [[1, 2], [1, 2], [3, 4], [3, 4]]
    )
    np.testing.assert_allclose(gf.image.resize(image, [1, 1], "area").numpy()[0, 0], [2.5])
    np.testing.assert_allclose(
        gf.image.resize(np.float32([[0, 1, 2]])[:, :, None], [1, 2], "area").numpy()[0, :, 0], [1 / 3, 5 / 3], rtol=1e-6
    )


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_constant_images_stay_and_modes_agree(method, antialias):
    constant = gf.image.resize(np.full((1, 5, 7, 2), 3.0, np.float32), [9, 4], method, antialias=antialias)
    np.testing.assert_allclose(constant.numpy(), np.full((1, 9, 4, 2), 3.0), rtol=1e-6)
    x = gf.constant(RANDOM.uniform(0, 1, (2, 5, 7, 2)).astype(np.float32))
    resized = gf.function(
        lambda x: gf.image.resize(x, [9, 4], method, antialias=antialias),
        input_signature=[gf.TensorSpec([None, 5, 7, 2])],
    )
    expected = gf.image.resize(x, [9, 4], method, antialias=antialias)
    assert resized(x).numpy().tobytes() == expected.numpy().tobytes()
    np.testing.assert_array_equal(
        gf.image.resize(x[0], [9, 4], method, antialias=antialias).numpy(), expected.numpy()[0]
    )


def test_a_smooth_image_keeps_its_values():
    places = (np.arange(40) + 0.5) / 40
    image = np.sin(places * 3)[:, None, None] * np.ones((1, 40, 1))
    wanted = np.sin((np.arange(25) + 0.5) / 25 * 3)
    for method in ("bicubic", "lanczos3", "lanczos5"):
        found = gf.image.resize(image.astype(np.float32), [25, 25], method).numpy()[3:-3, 10, 0]
        np.testing.assert_allclose(found, wanted[3:-3], atol=2e-3)


def test_dtypes_sizes_and_gradients():
    image = np.arange(24, dtype=np.uint8).reshape(1, 4, 6, 1)
    assert gf.image.resize(image, [2, 3]).dtype is gf.float32
    assert gf.image.resize(image, [2, 3], "nearest").dtype is gf.uint8
    assert gf.image.resize(image, [4, 6]).dtype is gf.uint8
    assert gf.image.resize(image, [8, 8], preserve_aspect_ratio=True).shape == [1, 5, 8, 1]
    x = gf.cast(image, gf.float32)
    with gf.GradientTape() as tape:
        tape.watch(x)
        y = gf.reduce_sum(gf.image.resize(x, [2, 3], "area"))
    np.testing.assert_allclose(tape.gradient(y, x).numpy(), np.full((1, 4, 6, 1), 0.25))


def test_bad_input():
    image = np.zeros((4, 6, 1), np.float32)
    for call in (
        lambda: gf.image.resize(image[0], [2, 2]),
        lambda: gf.image.resize(image, [2, 2], "cubic"),
        lambda: gf.image.resize(image, [2]),
        lambda: gf.image.resize(image, [0, 2]),
        lambda: gf.image.resize(image > 0, [2, 2]),
    ):
        with pytest.raises(gf.errors.GraphflowError):
            call()
