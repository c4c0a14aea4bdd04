"""Take out noise and JPEG's blocks by shrinking the frequencies of overlapping windows."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipeline.cleaning.opponent import from_opponent, opponent_planes
from pipeline.codec import Pixels

_WINDOW, _STEP, _THRESHOLD = 8, 2, 2.7

_COSINES = np.array([[np.cos(np.pi * (2 * i + 1) * k / 16) for i in range(8)] for k in range(8)], np.float32)
_DCT = _COSINES * np.where(np.arange(8) == 0, np.sqrt(1 / 8), 0.5).astype(np.float32)[:, None]


def shrink_noise(pixels: Pixels, sigmas: NDArray[np.float32]) -> Pixels:
    """Return a picture without what its local frequencies hold below the noise: RGB uint8 (H, W, 3).

    sigmas: the noise's deviation, in levels, in each of the three opponent_planes(). Yu and Sapiro, "DCT image
    denoising: a simple and effective image denoising algorithm" (IPOL 2011): the cosine transform of every window of
    8×8, coefficients under 2.7 deviations set to 0, and the overlapping windows averaged, those with the fewest
    coefficients counting most.
    """
    planes = np.pad(opponent_planes(pixels), ((0, 0), (_WINDOW, _WINDOW), (_WINDOW, _WINDOW)), mode="reflect")
    cleaned = [_shrink(plane, _THRESHOLD * sigma) for plane, sigma in zip(planes, sigmas, strict=True)]
    return from_opponent(np.stack(cleaned)[:, _WINDOW:-_WINDOW, _WINDOW:-_WINDOW])


def _shrink(plane: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    windows = sliding_window_view(plane, (_WINDOW, _WINDOW))[::_STEP, ::_STEP]
    frequencies = _DCT @ windows @ _DCT.T
    frequencies[np.abs(frequencies) < threshold] = 0
    weights = 1 / (1 + np.count_nonzero(frequencies, axis=(2, 3))).astype(np.float32)
    estimates = _DCT.T @ frequencies @ _DCT * weights[:, :, None, None]
    rows, columns = weights.shape
    total, weight = np.zeros_like(plane), np.zeros_like(plane)
    for y in range(_WINDOW):
        for x in range(_WINDOW):
            place = np.s_[y : y + rows * _STEP : _STEP, x : x + columns * _STEP : _STEP]
            total[place] += estimates[:, :, y, x]
            weight[place] += weights
    return np.asarray(total / np.maximum(weight, 1e-9), np.float32)
