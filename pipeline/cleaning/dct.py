"""Take out noise and JPEG's blocks by shrinking the frequencies of overlapping windows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.opponent import from_opponent, opponent_planes
from pipeline.codec import Pixels

Values = NDArray[np.float32]

_WINDOW, _STEP, _THRESHOLD = 8, 2, 2.7

_COSINES = np.array([[np.cos(np.pi * (2 * i + 1) * k / 16) for i in range(8)] for k in range(8)], np.float32)
_DCT = _COSINES * np.where(np.arange(8) == 0, np.sqrt(1 / 8), 0.5).astype(np.float32)[:, None]


def shrink_noise(pixels: Pixels, sigmas: Values) -> Pixels:
    """Return a picture without what its local frequencies hold below the noise: RGB uint8 (H, W, 3).

    sigmas: the noise's deviation, in levels, in each of the three opponent_planes(). Yu and Sapiro, "DCT image
    denoising: a simple and effective image denoising algorithm" (IPOL 2011): the cosine transform of every window of
    8×8, coefficients under 2.7 deviations set to 0, and the overlapping windows averaged, those with the fewest
    coefficients counting most.
    """
    height, width = pixels.shape[:2]
    planes = np.pad(opponent_planes(pixels), ((0, 0), (_WINDOW, _WINDOW), (_WINDOW, _WINDOW)), mode="reflect")
    cleaned = [_shrink(plane, _THRESHOLD * sigma) for plane, sigma in zip(planes, sigmas, strict=True)]
    return from_opponent(np.stack(cleaned)[:, _WINDOW : _WINDOW + height, _WINDOW : _WINDOW + width])


def _shrink(plane: Values, threshold: float) -> Values:
    """Return a plane, float32 (H, W), with its noise shrunk; of odd lengths, without the last row or column.

    The two directions are transformed one after the other, each along the first axis, so that a window's rows are
    transformed once for all windows beside it, and what is copied is in long pieces.
    """
    down = _along_first(_DCT, _windows(plane))
    frequencies = _along_first(_DCT, _windows(down.transpose(2, 0, 1)))
    large = np.abs(frequencies) >= threshold
    weights = 1 / (1 + large.sum(axis=2, dtype=np.uint8).sum(axis=0, dtype=np.float32))
    frequencies *= large
    frequencies *= weights[:, None]
    across = _overlapped(_along_first(_DCT.T, frequencies))
    total = _overlapped(_along_first(_DCT.T, across.transpose(1, 2, 0)))
    weight = _overlapped(_in_all_places(_overlapped(_in_all_places(weights)).T))
    return np.asarray(total / np.maximum(weight, 1e-9), np.float32)


def _along_first(matrix: Values, values: Values) -> Values:
    """Return float32 (8, ...) multiplied by a matrix (8, 8) along the first axis."""
    return np.asarray(matrix @ values.reshape(_WINDOW, -1), np.float32).reshape(values.shape)


def _in_all_places(values: Values) -> Values:
    return np.broadcast_to(values, (_WINDOW, *values.shape))


def _windows(values: Values) -> Values:
    """Return the windows along the first axis, float32 (length, ...): float32 (8, windows, ...)."""
    values = np.ascontiguousarray(values)
    end = len(values) - _WINDOW + 1
    return np.stack([values[at : at + end : _STEP] for at in range(_WINDOW)])


def _overlapped(windows: Values) -> Values:
    """Return the sum of windows along the first axis, each at its place: the reverse of _windows()."""
    end = _STEP * (windows.shape[1] - 1) + 1
    total = np.zeros((end + _WINDOW - 1, *windows.shape[2:]), np.float32)
    for at in range(_WINDOW):
        total[at : at + end : _STEP] += windows[at]
    return total
