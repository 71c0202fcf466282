"""Mel scale: from spectrograms to mel bins and cepstral coefficients. Names, argument order and defaults are TensorFlow's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..dtypes import as_dtype, float32
from ..errors import DTypeError, InvalidArgumentError, ShapeError
from ..tensor import Tensor, convert_to_tensor
from .cosine import dct

__all__ = ["linear_to_mel_weight_matrix", "mfccs_from_log_mel_spectrograms"]


def _mel(hertz: Any) -> Any:
    return 1127.0 * np.log1p(np.asarray(hertz, np.float64) / 700.0)


def linear_to_mel_weight_matrix(
    num_mel_bins: Any = 20,
    num_spectrogram_bins: Any = 129,
    sample_rate: Any = 8000,
    lower_edge_hertz: Any = 125.0,
    upper_edge_hertz: Any = 3800.0,
    dtype: Any = float32,
    name: str | None = None,
) -> Tensor:
    """[num_spectrogram_bins, num_mel_bins]: a spectrogram times it has mel bins, triangles that overlap by half between the edges (HTK's
    scale). The arguments must be numbers; computed in float64."""
    bins, spectrum, rate = int(num_mel_bins), int(num_spectrogram_bins), float(sample_rate)
    low, high = float(lower_edge_hertz), float(upper_edge_hertz)
    kind = as_dtype(dtype)
    if not kind.is_floating:
        raise DTypeError(f"linear_to_mel_weight_matrix: dtype must be a float dtype, got {kind.name}")
    if bins < 1 or spectrum < 1 or rate <= 0:
        raise InvalidArgumentError(
            f"linear_to_mel_weight_matrix: needs positive bins and sample_rate, got {bins}, {spectrum} and {rate}"
        )
    if not 0 <= low < high <= rate / 2:
        raise InvalidArgumentError(
            f"linear_to_mel_weight_matrix: needs 0 <= lower_edge_hertz < upper_edge_hertz <= {rate / 2}, got {low} and {high}"
        )
    frequencies = _mel(np.linspace(0.0, rate / 2, spectrum)[1:])[:, None]
    edges = np.linspace(_mel(low), _mel(high), bins + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - left) / (centre - left), (right - frequencies) / (right - centre)
    weights = np.pad(np.maximum(0.0, np.minimum(rising, falling)), [[1, 0], [0, 0]]).astype(kind.numpy)
    weights.flags.writeable = False
    found: Tensor = ops.constant(value=weights)
    return found


def mfccs_from_log_mel_spectrograms(log_mel_spectrograms: Any, name: str | None = None) -> Tensor:
    """The cepstral coefficients of [..., num_mel_bins] log mel spectrograms: dct type 2 by 1 / sqrt(2 num_mel_bins)."""
    x = convert_to_tensor(log_mel_spectrograms)
    bins = x.dims[-1] if x.dims else 0
    if not isinstance(bins, int) or bins < 1:
        raise ShapeError(f"mfccs_from_log_mel_spectrograms: needs a known number of mel bins, at least 1, got {x.type}")
    return dct(x, type=2) * (1 / math.sqrt(bins * 2.0))
