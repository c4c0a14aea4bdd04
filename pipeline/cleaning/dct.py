"""Take out noise and JPEG's blocks by shrinking the frequencies of overlapping windows."""

from __future__ import annotations

import numpy as np
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
    height, width = pixels.shape[:2]
    # To an even size: what is beyond the last window at the border is cut off with the border.
    margins = ((0, 0), (_WINDOW, _WINDOW + height % _STEP), (_WINDOW, _WINDOW + width % _STEP))
    planes = np.pad(opponent_planes(pixels), margins, mode="reflect")
    cleaned = [_shrink(plane, _THRESHOLD * sigma) for plane, sigma in zip(planes, sigmas, strict=True)]
    return from_opponent(np.stack(cleaned)[:, _WINDOW : _WINDOW + height, _WINDOW : _WINDOW + width])


def _shrink(plane: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Return a plane, float32 (H, W) of even size, with its noise shrunk.

    Held as its quarters, every second pixel of every second row, and the windows with a pixel's place in its window
    first, (8, 8, windows): so each copy between them is of one place of all windows, in long pieces.
    """
    quarters = np.stack([[plane[y::_STEP, x::_STEP] for x in range(_STEP)] for y in range(_STEP)])
    shape = tuple(length - _WINDOW // _STEP + 1 for length in quarters.shape[2:])
    parts = [
        (y % _STEP, x % _STEP, slice(y // _STEP, y // _STEP + shape[0]), slice(x // _STEP, x // _STEP + shape[1]))
        for y, x in np.ndindex(_WINDOW, _WINDOW)
    ]
    windows = np.stack([quarters[part] for part in parts])
    frequencies = _transformed(windows, _DCT)
    large = np.abs(frequencies) >= threshold
    frequencies *= large
    weights = 1 / (1 + large.sum(axis=(0, 1), dtype=np.float32))
    frequencies *= weights
    total, weight = np.zeros_like(quarters), np.zeros_like(quarters[0, 0])
    for part, estimate in zip(parts, _transformed(frequencies, _DCT.T).reshape(windows.shape), strict=True):
        total[part] += estimate
        if part[:2] == (0, 0):  # the same windows cover the four pixels that the quarters have at a place
            weight[part[2:]] += weights.reshape(shape)
    cleaned = total / np.maximum(weight, 1e-9)
    return np.asarray(cleaned.transpose(2, 0, 3, 1).reshape(plane.shape), np.float32)


def _transformed(windows: NDArray[np.float32], matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return N windows, float32 of 64 × N values, with their columns and rows under a matrix: float32 (8, 8, N)."""
    down = matrix @ windows.reshape(_WINDOW, -1)
    return np.asarray(matrix @ down.reshape(_WINDOW, _WINDOW, -1), np.float32)
