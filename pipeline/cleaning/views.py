"""The sizes at which pictures are measured: what the GAN will see, and what a repair works on."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.codec import Pixels

Gray = NDArray[np.uint8]

# Several pictures of one shape: RGB uint8 (N, H, W, 3), and one plane of each, uint8 (N, H, W).
Stack = NDArray[np.uint8]
Planes = NDArray[np.uint8]

# The same planes with the pictures along the last axis, int16 (H, W, N): there numpy's loops over rows and columns are
# longest, 8 times as fast as along the last axis of N pictures.
Levels = NDArray[np.int16]


def centre_square(pixels: Pixels, grid: int = 1) -> Pixels:
    """Return what the resize stage cuts out of uint8 (H, W, 3) or (H, W), by torchvision's center_crop, as a view.

    With a grid of so many pixels it begins at the first of its lines.
    """
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (round((length - side) / 2) for length in (height, width))
    # One pixel at least.
    first_row, first_column = (min(-(-start // grid) * grid, start + side - 1) for start in (top, left))
    return pixels[first_row : top + side, first_column : left + side]


def net_view(pixels: Pixels, image_size: int) -> Pixels:
    """Return the centre square at image_size, much as the net will see it: RGB uint8 (image_size, image_size, 3)."""
    return _resize(centre_square(pixels), image_size, image_size)


def net_views(pictures: Sequence[Pixels], image_size: int) -> Stack:
    """Return the net_view() of each picture: RGB uint8 (N, image_size, image_size, 3)."""
    views = [net_view(pixels, image_size) for pixels in pictures]
    return np.array(views, np.uint8).reshape(-1, image_size, image_size, 3)


def work_view(pixels: Pixels, work_side: int) -> Pixels:
    """Return a picture with its shortest side reduced to work_side pixels, or itself where that is no larger.

    Noise, blocks and repairs are judged and made at this size, which bounds their time: of a photograph of 12
    megapixels, nothing finer survives the way to the net.
    """
    height, width = pixels.shape[:2]
    side = min(height, width)
    if side <= work_side:
        return pixels
    return _resize(pixels, round(width * work_side / side), round(height * work_side / side))


def luma(pixels: Pixels | Stack) -> Gray | Planes:
    """Return the brightness of RGB uint8 (..., H, W, 3) as uint8 (..., H, W), weighted as in ITU-R BT.601."""
    gray = cv2.cvtColor(_as_one(pixels), cv2.COLOR_RGB2GRAY)
    return np.asarray(gray, np.uint8).reshape(pixels.shape[:-1])


def extremes(pixels: Pixels | Stack) -> tuple[Gray | Planes, Gray | Planes]:
    """Return the darkest and the brightest channel of each pixel of RGB uint8 (..., H, W, 3): two uint8 (..., H, W).

    By OpenCV on planes, ten times as fast as a numpy minimum over the last axis of 3.
    """
    red, green, blue = cv2.split(_as_one(pixels))
    darkest = cv2.min(cv2.min(red, green), blue)
    brightest = cv2.max(cv2.max(red, green), blue)
    shape = pixels.shape[:-1]
    return np.asarray(darkest, np.uint8).reshape(shape), np.asarray(brightest, np.uint8).reshape(shape)


def saturation(pixels: Pixels | Stack) -> Gray | Planes:
    """Return how far each pixel of RGB uint8 (..., H, W, 3) is from grey: uint8 (..., H, W), 255 for a pure colour."""
    hsv = cv2.cvtColor(_as_one(pixels), cv2.COLOR_RGB2HSV)
    return np.asarray(cv2.extractChannel(hsv, 1), np.uint8).reshape(pixels.shape[:-1])


def _as_one(pixels: Pixels | Stack) -> Pixels:
    """Return a stack as one tall picture, which OpenCV takes."""
    return pixels.reshape(-1, *pixels.shape[-2:])


def levels_of(planes: Planes) -> Levels:
    """Return planes, uint8 (N, H, W), with the pictures along the last axis: int16 (H, W, N)."""
    together = np.ascontiguousarray(planes.reshape(len(planes), -1).T)
    return together.reshape(*planes.shape[1:], len(planes)).astype(np.int16)


def bends(levels: Levels) -> tuple[Levels, Levels, Levels, Levels]:
    """Return the second differences along the rows, the columns and both diagonals: four int16 (H, W, N).

    levels: int16 (H, W, N), 0 to 255, mirrored at the borders, without the outermost pixels twice.
    """
    height, width, _ = levels.shape
    down, right = (
        np.pad(np.arange(length), 1, mode="reflect") if length > 1 else [0] * 3 for length in (height, width)
    )
    padded = levels[down][:, right]
    twice = 2 * levels
    ends = (
        (np.s_[1:-1, :-2], np.s_[1:-1, 2:]),
        (np.s_[:-2, 1:-1], np.s_[2:, 1:-1]),
        (np.s_[:-2, :-2], np.s_[2:, 2:]),
        (np.s_[:-2, 2:], np.s_[2:, :-2]),
    )
    along_rows, along_columns, falling, rising = (padded[one] + padded[other] - twice for one, other in ends)
    return along_rows, along_columns, falling, rising


def mirrored(places: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return the places that those beyond the border show, with the outermost pixel twice: OpenCV's BORDER_REFLECT."""
    around = places % (2 * length)
    return np.minimum(around, 2 * length - 1 - around)


def histograms(planes: Planes) -> NDArray[np.float64]:
    """Return how many pixels of each plane, uint8 (N, H, W), have each level: float64 (N, 256).

    OpenCV counts as fast as numpy copies.
    """
    counts = [cv2.calcHist([plane], [0], None, [256], [0, 256]).ravel() for plane in planes]
    return np.array(counts, np.float64)


def quantiles(counts: NDArray[np.float64], shares: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the levels below which those shares of each plane's pixels lie (nearest rank): float64 (N, shares).

    counts: histograms() of planes of one size, float64 (N, 256).
    """
    size = counts[0].sum()
    # One ascending sequence of all planes, each from where the one before it ends.
    below = counts.cumsum()
    ranks = np.rint((size - 1) * np.array(shares)) + 1
    first = np.arange(len(counts))[:, None]
    return np.asarray(np.searchsorted(below, ranks + first * size) - 256 * first, np.float64)


def _resize(pixels: Pixels, width: int, height: int) -> Pixels:
    shrinks = width * height < pixels.shape[0] * pixels.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), np.uint8)
