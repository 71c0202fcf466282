"""The shipped data set: shapes, ranges, and a split that never changes."""

import numpy as np
import pytest

from graphflow.data import digits


def test_load_gives_scaled_images_and_labels() -> None:
    images, labels = digits.load()
    assert images.shape == (1797, 64)
    assert images.dtype == np.float32
    assert labels.shape == (1797,)
    assert labels.dtype == np.int64
    assert images.min() == 0.0
    assert images.max() == 1.0
    assert np.array_equal(np.unique(images * 16), np.arange(17))


def test_every_class_is_there_in_the_published_count() -> None:
    _, labels = digits.load()
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_first_image_is_the_zero_of_the_published_file() -> None:
    images, labels = digits.load()
    assert labels[0] == 0
    assert (images[0] * 16).astype(int).reshape(8, 8)[1].tolist() == [0, 0, 13, 15, 10, 15, 5, 0]


def test_split_is_repeatable_and_loses_nothing() -> None:
    first, second, other = digits.split(3), digits.split(3), digits.split(4)
    for one, two in zip(first, second, strict=True):
        assert np.array_equal(one, two)
    assert not np.array_equal(first.test_labels, other.test_labels)
    assert len(first.train_images) == 1438
    assert len(first.test_images) == 359
    images, _ = digits.load()
    joined = np.concatenate([first.train_images, first.test_images])
    assert np.array_equal(np.sort(joined.sum(axis=1)), np.sort(images.sum(axis=1)))


def test_loads_do_not_share_memory() -> None:
    first, _ = digits.load()
    first[:] = 0.0
    second, _ = digits.load()
    assert second.max() == 1.0


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 2.0])
def test_split_rejects_a_fraction_that_leaves_nothing(fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        digits.split(0, fraction)
