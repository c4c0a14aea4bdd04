"""Colours as brightness and two differences, in which noise is told from drawing best, and the noise in each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.measures import noise
from pipeline.cleaning.views import centre_square
from pipeline.codec import Pixels

_OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]], np.float32) / np.sqrt([[3], [2], [6]]).astype(np.float32)

# No level of a plane is as large: white is 442 in the first.
PLANE_RANGE = 512.0


def opponent_planes(pixels: Pixels) -> NDArray[np.float32]:
    """Return brightness and two colour differences, an orthonormal transform of RGB: float32 (3, H, W).

    The lines of a drawing are in the first, so the other two can be smoothed without harm; noise that is independent
    in red, green and blue has the same deviation in all.
    """
    return np.ascontiguousarray((pixels.astype(np.float32) @ _OPPONENT.T).transpose(2, 0, 1))


def from_opponent(planes: NDArray[np.float32]) -> Pixels:
    """Return the picture whose opponent_planes() those are, rounded and clipped: RGB uint8 (H, W, 3)."""
    return np.clip(np.rint(planes.transpose(1, 2, 0) @ _OPPONENT), 0, 255).astype(np.uint8)


def noise_sigmas(pixels: Pixels) -> NDArray[np.float32]:
    """Return the noise's deviation in each of the opponent_planes() of the centre square: float32 (3,), in levels."""
    return np.array([noise(plane) for plane in opponent_planes(centre_square(pixels))], np.float32)
