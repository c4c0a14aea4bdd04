"""What is measured of a picture: small pure functions, each a number with a unit. The verdict is elsewhere."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.gamma import gamma
from pipeline.cleaning.views import Gray, extremes, luma, net_view, quantiles, work_view
from pipeline.codec import Pixels
from pipeline.params import FilterParams

# The filter params that a measure depends on; all others are thresholds, and need no picture to be measured again.
MEASURED_BY = ("work_side", "gamma_nats")


class Measures(NamedTuple):
    """All measures of one picture, in the order of their columns in verdicts.parquet."""

    width: float
    height: float
    contrast: float
    white: float
    information: float
    edges: float
    blur: float
    sharpness: float
    noise: float
    impulses: float
    blockiness: float
    gamma: float


def measure(pixels: Pixels, image_size: int, params: FilterParams) -> Measures:
    """Measure RGB uint8 (H, W, 3): style and sharpness as the net will see it, noise and blocks at the work size.

    Of params only those named in MEASURED_BY count.
    """
    height, width = pixels.shape[:2]
    net, work = net_view(pixels, image_size), work_view(pixels, params.work_side)
    net_luma, work_luma = luma(net), luma(work)
    return Measures(
        width=width,
        height=height,
        contrast=contrast(net_luma),
        white=white(net),
        information=information(net, net_luma),
        edges=edges(net_luma),
        blur=blur(net_luma),
        sharpness=sharpness(net_luma),
        noise=noise(work_luma.astype(np.float32)),
        impulses=impulses(work),
        blockiness=blockiness(work_luma),
        gamma=gamma(pixels, net, params.gamma_nats),
    )


def contrast(gray: Gray) -> float:
    """Return the grey levels between the darkest and the brightest half per cent of uint8 (H, W): 0 to 255."""
    low, high = _span(gray)
    return high - low


def _span(gray: Gray) -> tuple[float, float]:
    """Return the levels of the darkest and the brightest half per cent of uint8 (H, W)."""
    low, high = quantiles([gray], (0.005, 0.995))[0]
    return float(low), float(high)


def white(pixels: Pixels) -> float:
    """Return the level that the brightest half per cent of RGB uint8 (H, W, 3) reaches in any channel: 0 to 255."""
    return float(quantiles([extremes(pixels)[1]], (0.995,)).item())


def information(pixels: Pixels, gray: Gray) -> float:
    """Return the entropy of a picture's colours in bits: 0 for one colour, about 1 for a text card, 5 for a face.

    pixels: RGB uint8 (H, W, 3), gray: its luma. The colours are stretched to the full contrast first, so that a faded
    picture has as many as before, and counted in 8 levels a channel, so that JPEG's ripples are none: 0 to 9 bits.
    """
    low, high = _span(gray)
    levels = np.clip((np.arange(256) - low) * 8 / max(high - low + 1, 8), 0, 7).astype(np.uint8)
    colours = cv2.LUT(pixels, levels).reshape(-1, 3).astype(np.float32) @ np.array([64, 8, 1], np.float32)
    shares = np.bincount(colours.astype(np.intp)) / gray.size
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def edges(gray: Gray) -> float:
    """Return the share of pixels beside an edge: whose 3×3 surroundings span over a tenth of the picture's contrast.

    gray: uint8 (H, W). 0 for a flat picture or a smooth gradient, about 0.3 for flat-coloured art and 0.7 for shaded.
    """
    span = cv2.morphologyEx(gray, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return float((span > max(contrast(gray), 10.0) / 10).mean())


def blur(gray: Gray) -> float:
    """Return how little a further blur changes, in the direction where that is least: 0 sharp to 1 blurred.

    gray: uint8 (H, W). The worst of four directions, so that motion blur counts in full: rows and columns, and those of
    the picture turned by 45 degrees.
    """
    levels = gray.astype(np.float64) / 255
    height, width = gray.shape
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), 45, 1)
    turned = cv2.warpAffine(levels, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    # The corners that the turn brings in are not the picture's.
    inner = turned[height // 8 : height - height // 8, width // 8 : width - width // 8]
    return max(blur_effect(levels), blur_effect(np.ascontiguousarray(inner)))


def blur_effect(levels: NDArray[np.float64]) -> float:
    """Return how little a further blur changes a picture's rows or its columns, the worse of both: 0 to 1.

    levels: float64 (H, W), 0 to 1. Equal to skimage.measure.blur_effect, faster. Crete, Dolmiere, Ladret and Nicolas,
    "The blur effect: perception and estimation with a new no-reference perceptual blur metric" (2007).
    """
    return max(_blur_along(levels, 11), _blur_along(np.ascontiguousarray(levels.T), 11))


def _blur_along(levels: NDArray[np.float64], size: int) -> float:
    """Return the share of the gradient along the rows that a box blur of that size leaves."""
    blurred = cv2.blur(levels, (size, 1), borderType=cv2.BORDER_REFLECT)
    sharp_edges, blurred_edges = (
        np.abs(cv2.Sobel(image, cv2.CV_64F, 1, 0, borderType=cv2.BORDER_REFLECT))[2:-1, 2:-1]
        for image in (levels, blurred)
    )
    total = float(sharp_edges.sum())
    if total == 0.0:
        return 1.0
    return 1.0 - float(np.maximum(sharp_edges - blurred_edges, 0.0).sum()) / total


_BENDS = [
    np.array(mask, np.float32)
    for mask in ([[1, -2, 1]], [[1], [-2], [1]], np.diag([1, -2, 1]), np.fliplr(np.diag([1, -2, 1])))
]


def sharpness(gray: Gray) -> float:
    """Return how much fine detail a picture has in the direction where it has least: below 0.2 hardly any.

    gray: uint8 (H, W). The deviation of the second difference along rows, columns and both diagonals, the least of
    them, over the picture's own: over the contrast, so that faded art is not called blurred, and in one direction, so
    that motion blur is. No unit, 0 for a flat picture.
    """
    fine = min(_deviation(cv2.filter2D(gray, cv2.CV_32F, bend)) for bend in _BENDS)
    return fine / max(_deviation(gray), 1.0)


def _deviation(plane: NDArray[Any]) -> float:
    return float(cv2.meanStdDev(plane)[1].item())


# The difference of two Laplacians: blind to edges and slopes, of gain 6 on white noise.
_NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6

# The quarter of a normal distribution that lies nearest to its mean reaches to this many deviations.
_QUARTER_OF_NORMAL = 0.31864


def noise(plane: NDArray[np.float32]) -> float:
    """Return the deviation of additive noise in the levels of the plane, float32 (H, W).

    Immerkær's mask ("Fast Noise Variance Estimation", 1996), of whose answers the smallest quarter counts: lines and
    texture fill the larger ones, noise is everywhere.
    """
    response = np.abs(cv2.filter2D(plane, -1, _NOISE_MASK)).ravel()
    rank = response.size // 4
    return float(np.partition(response, rank)[rank]) / _QUARTER_OF_NORMAL


# Salt is white and pepper black up to what a JPEG makes of them, and this far from the median around them.
_SALT, _PEPPER, _IMPULSE_STEP = 247, 8, 40


def impulses(pixels: Pixels) -> float:
    """Return the share of pixels that are lone white or black dots: 0 to 1.

    pixels: RGB uint8 (H, W, 3). Lone, because drawn lines are black too, but every dot of theirs has a neighbour.
    """
    darkest, brightest = extremes(pixels)
    _, furthest = extremes(np.asarray(cv2.absdiff(pixels, cv2.medianBlur(pixels, 3)), np.uint8))
    far = furthest > _IMPULSE_STEP
    lone = [
        extreme & far & (cv2.boxFilter(extreme.astype(np.uint8), -1, (3, 3), normalize=False) == 1)
        for extreme in (darkest >= _SALT, brightest <= _PEPPER)
    ]
    return float((lone[0] | lone[1]).mean())


def blockiness(gray: Gray) -> float:
    """Return how much larger the steps on JPEG's grid of 8 are than elsewhere: 1 for none, over 2.5 for visible blocks.

    gray: uint8 (H, W). A step counts by what it exceeds its neighbours on both sides; 1 below 16 pixels. After Wang,
    Bovik and Evans, "Blind measurement of blocking artifacts in images" (2000).
    """
    if min(gray.shape) < 16:
        return 1.0
    levels = gray.astype(np.float32)
    return (_block_steps(levels) + _block_steps(np.ascontiguousarray(levels.T))) / 2


# A step less the mean of the steps before and after it.
_STEP_MASK = np.array([[0.5, -1.5, 1.5, -0.5]], np.float32)


def _block_steps(levels: NDArray[np.float32]) -> float:
    response = np.abs(cv2.filter2D(levels, -1, _STEP_MASK))[:, 2:-1]
    excess = cv2.reduce(response, 0, cv2.REDUCE_AVG).ravel()
    # excess[k] is of the step from column k + 1 to k + 2, and blocks meet between columns 7 and 8.
    on_grid = np.arange(excess.size) % 8 == 6
    return float(excess[on_grid].mean()) / max(float(excess[~on_grid].mean()), 0.5)
