"""Pictures turned by 45 degrees, many at once, for what is measured along their diagonals."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from pipeline.cleaning.views import Levels, mirrored

# A level of a turned picture, which has fractions, and is in whole numbers all the same: int32 holds their gradients.
TURNED_UNIT = 1 << 15


def turned(levels: Levels) -> NDArray[np.int32]:
    """Return the inner part of squares, int16 (H, W, N), turned by 45 degrees: int32 (h, w, N), in TURNED_UNIT."""
    turn, shape = _turn(len(levels))
    pixels = levels.reshape(-1, levels.shape[2]).astype(np.float64)
    return np.asarray(np.rint(turn @ pixels), np.int32).reshape(*shape, -1)


@cache
def _turn(side: int) -> tuple[csr_array, tuple[int, int]]:
    """Return what turns a square by 45 degrees, and the shape of what is left of it: its inner part.

    The corners that the turn brings in are not the picture's. Sparse float64 (pixels left, side²), the weights and
    places of cv2.warpAffine with INTER_CUBIC and BORDER_REFLECT, which takes six times as long for the same.
    """
    at = np.arange(side // 8, side - side // 8)
    middle = (side - 1) / 2
    turn = cv2.invertAffineTransform(cv2.getRotationMatrix2D((middle, middle), 45, 1))
    # OpenCV's places are whole 32nds of a pixel, from 1024ths.
    x, y = (
        (np.rint(by_x * at * 1024)[None, :] + np.rint((by_y * at + shift) * 1024)[:, None] + 16).astype(np.int64) // 32
        for by_x, by_y, shift in turn
    )
    taps = np.arange(-1, 3)
    columns, rows = (mirrored(place[..., None] // 32 + taps, side) for place in (x, y))
    across, down = (_cubic(np.abs(place[..., None] % 32 / 32 - taps)) for place in (x, y))
    weights = down[..., :, None] * across[..., None, :] * TURNED_UNIT
    sources = rows[..., :, None] * side + columns[..., None, :]
    targets = np.repeat(np.arange(x.size), taps.size**2)
    matrix = coo_array((weights.ravel(), (targets, sources.ravel())), shape=(x.size, side * side))
    return matrix.tocsr(), x.shape


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weight of a pixel by its distance, 0 to 2: Keys's cubic with OpenCV's slope of -0.75."""
    slope = -0.75
    near = ((slope + 2) * distance - (slope + 3)) * distance**2 + 1
    far = ((slope * distance - 5 * slope) * distance + 8 * slope) * distance - 4 * slope
    return np.asarray(np.where(distance <= 1, near, far), np.float64)
