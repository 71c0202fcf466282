"""The UCI handwritten digits: 1,797 images of 8x8 pixels, for the demo and the tests.

Source: the test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (1998), UCI Machine
Learning Repository, https://doi.org/10.24432/C50P49, licensed under Creative Commons Attribution 4.0 International
(CC BY 4.0). The numbers are unchanged; they are stored as comma-separated integers, one image and its label a line.
"""

from __future__ import annotations

import gzip
from importlib import resources
from typing import NamedTuple

import numpy as np

__all__ = ["CLASSES", "PIXELS", "Split", "load", "split"]

PIXELS = 64
CLASSES = 10
_DARKEST = 16


class Split(NamedTuple):
    """Images float32 [n, 64] in 0..1 and labels int64 [n], to train on and to test on."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load() -> tuple[np.ndarray, np.ndarray]:
    """All images, float32 [1797, 64] scaled to 0..1, row by row, and their labels, int64 [1797].

    Raises `ValueError` when the shipped file is damaged.
    """
    packed = resources.files("graphflow.data").joinpath("digits.csv.gz").read_bytes()
    text = gzip.decompress(packed).decode("ascii")
    table = np.array([line.split(",") for line in text.splitlines()], dtype=np.int64)
    if table.shape != (1797, PIXELS + 1) or table.min() < 0 or table.max() > _DARKEST:
        raise ValueError(f"digits.csv.gz is damaged: expected 1797 rows of 65 values in 0..16, got {table.shape}")
    return table[:, :PIXELS].astype(np.float32) / np.float32(_DARKEST), table[:, PIXELS].copy()


def split(seed: int = 0, test_fraction: float = 0.2) -> Split:
    """The images in an order that `seed` draws, the last `test_fraction` of them held back for testing.

    The same seed gives the same split on every machine. Raises `ValueError` for a fraction outside 0..1.
    """
    if not 0.0 < test_fraction < 1.0:
        raise ValueError(f"split: test_fraction must lie between 0 and 1, got {test_fraction}")
    images, labels = load()
    # PCG64's raw stream is pinned by NumPy; sorting its draws does not depend on how `shuffle` is written.
    order = np.argsort(np.random.PCG64(seed).random_raw(len(images)), kind="stable")
    held_back = round(len(images) * test_fraction)
    train, test = order[:-held_back], order[-held_back:]
    return Split(images[train], labels[train], images[test], labels[test])
