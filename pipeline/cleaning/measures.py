"""What is measured of a picture: small pure functions, each a number with a unit. The verdict is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.gamma import gamma
from pipeline.cleaning.turn import turned
from pipeline.cleaning.views import (
    Gray,
    Levels,
    Planes,
    Stack,
    bends,
    centre_square,
    extremes,
    histograms,
    levels_of,
    luma,
    mirrored,
    net_views,
    quantiles,
    work_view,
)
from pipeline.codec import Pixels
from pipeline.params import FilterParams

Column = NDArray[np.float64]

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


def measure(pictures: Sequence[Pixels], image_size: int, params: FilterParams) -> list[Measures]:
    """Measure RGB uint8 (H, W, 3) each: style and sharpness as the net will see it, noise and blocks at the work size.

    All of the centre square: what resize cuts off may be a flat margin, in which there is no noise. Of params only
    those named in MEASURED_BY count.
    """
    return measure_seen(pictures, net_views(pictures, image_size), params)


def measure_seen(pictures: Sequence[Pixels], net: Stack, params: FilterParams) -> list[Measures]:
    """Return measure() of pictures of which the net_views() are known.

    The net sees all at one size, so there all are measured at once; in integers, so that no result depends on the
    pictures beside it.
    """
    if not pictures:
        return []
    gray = luma(net)
    levels, spans = levels_of(gray), span(gray)
    works = [work_view(pixels, params.work_side) for pixels in pictures]
    work_lumas = [luma(work) for work in works]
    columns = {
        "width": np.array([pixels.shape[1] for pixels in pictures]),
        "height": np.array([pixels.shape[0] for pixels in pictures]),
        "contrast": contrast(spans),
        "white": white(net),
        "information": information(net, spans),
        "edges": edges(levels, spans),
        "blur": blur(levels),
        "sharpness": sharpness(levels),
        "noise": np.array([noise(centre_square(work)) for work in work_lumas]),
        "impulses": np.array([impulses(centre_square(work)) for work in works]),
        "blockiness": np.array([blockiness(centre_square(work, BLOCK)) for work in work_lumas]),
        "gamma": gamma(pictures, net, params.gamma_nats),
    }
    return [Measures(*row) for row in np.array([columns[name] for name in Measures._fields], float).T.tolist()]


def span(planes: Planes) -> Column:
    """Return the levels of the darkest and the brightest half per cent of uint8 (N, H, W): float64 (N, 2)."""
    return quantiles(histograms(planes), (0.005, 0.995))


def contrast(spans: Column) -> Column:
    """Return the grey levels between the darkest and the brightest half per cent, span(): float64 (N,), 0 to 255."""
    return np.asarray(spans[:, 1] - spans[:, 0], np.float64)


def white(pictures: Stack) -> Column:
    """Return the level that the brightest half per cent of each picture reaches in any channel: float64 (N,), 0 to 255.

    pictures: RGB uint8 (N, H, W, 3).
    """
    return span(extremes(pictures)[1])[:, 1]


def information(pictures: Stack, spans: Column) -> Column:
    """Return the entropy of each picture's colours in bits: 0 for one colour, about 1 for a text card, 5 for a face.

    pictures: RGB uint8 (N, H, W, 3), spans: span() of their luma. The colours are stretched to the full contrast first,
    so that a faded picture has as many as before, and counted in 8 levels a channel, so that JPEG's ripples are none:
    float64 (N,), 0 to 9 bits.
    """
    low, high = spans[:, :1], spans[:, 1:]
    tables = np.clip((np.arange(256) - low) * 8 / np.maximum(high - low + 1, 8), 0, 7).astype(np.uint8)
    coarse = [cv2.LUT(pixels, table) for pixels, table in zip(pictures, tables, strict=True)]
    counts = np.array([cv2.calcHist([pixels], [0, 1, 2], None, [8] * 3, [0, 8] * 3).ravel() for pixels in coarse])
    shares = counts.astype(np.float64) / counts[0].sum()
    return np.asarray(0.0 - (shares * np.log2(np.where(shares > 0, shares, 1))).sum(axis=1), np.float64)


def edges(levels: Levels, spans: Column) -> Column:
    """Return the share of pixels beside an edge: whose 3×3 surroundings span over a tenth of the picture's contrast.

    levels: int16 (H, W, N), spans: span(). 0 for a flat picture or a smooth gradient, about 0.3 for flat-coloured art
    and 0.7 for shaded: float64 (N,).
    """
    padded = np.pad(levels.astype(np.uint8), ((1, 1), (1, 1), (0, 0)), mode="edge")
    darkest, brightest = (
        extreme(extreme(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
        for extreme in (np.minimum, np.maximum)
        for rows in [extreme(extreme(padded[:-2], padded[1:-1]), padded[2:])]
    )
    # A span is a whole number of levels.
    least = np.floor(np.maximum(contrast(spans), 10.0) / 10).astype(np.uint8)
    return np.asarray((brightest - darkest > least).mean(axis=(0, 1)), np.float64)


def blur(levels: Levels) -> Column:
    """Return how little a further blur changes, in the direction where that is least: 0 sharp to 1 blurred.

    levels: int16 (H, W, N), square. The worst of four directions, so that motion blur counts in full: rows and columns,
    and those of the picture turned by 45 degrees: float64 (N,).
    """
    return np.maximum(blur_effect(levels), blur_effect(turned(levels)))


def blur_effect(levels: NDArray[Any]) -> Column:
    """Return how little a further blur changes the rows of pictures or their columns, the worse of both: 0 to 1.

    levels: whole numbers (H, W, N). float64 (N,), equal to skimage.measure.blur_effect, faster. Crete, Dolmiere, Ladret
    and Nicolas, "The blur effect: perception and estimation with a new no-reference perceptual blur metric" (2007).
    """
    return np.maximum(_blur_along(levels), _blur_along(levels.swapaxes(0, 1)))


def _blur_along(levels: NDArray[Any]) -> Column:
    """Return the share of the gradient along the second axis that a box blur of 11 leaves: float64 (N,).

    The gradient is Sobel's, 11 times as large to stay in integers. That of the blurred picture needs no blurring: two
    neighbouring sums of 11 differ by what the one has at one end and the other at the other.
    """
    smooth = levels[:-2] + 2 * levels[1:-1] + levels[2:]
    length = levels.shape[1]
    smooth = smooth[1:, mirrored(np.arange(-6, length + 6), length)]

    def from_middle(offset: int) -> NDArray[Any]:
        return np.asarray(smooth[:, 8 + offset : length + 5 + offset])

    sharp = 11 * np.abs(from_middle(1) - from_middle(-1))
    blurred = np.abs(from_middle(5) + from_middle(6) - from_middle(-5) - from_middle(-6))
    total, lost = _sum(sharp), _sum(np.maximum(sharp - blurred, 0))
    return np.asarray(np.where(total > 0, 1 - lost / np.maximum(total, 1), 1.0), np.float64)


def _sum(values: NDArray[Any]) -> Column:
    """Return the sum of each picture of (H, W, N): float64 (N,)."""
    return np.asarray(values.sum(axis=0, dtype=np.float64).sum(axis=0), np.float64)


def sharpness(levels: Levels) -> Column:
    """Return how much fine detail a picture has in the direction where it has least: below 0.2 hardly any.

    levels: int16 (H, W, N). The deviation of the second difference along rows, columns and both diagonals, the least of
    them, over the picture's own: over the contrast, so that faded art is not called blurred, and in one direction, so
    that motion blur is. float64 (N,), no unit, 0 for a flat picture.
    """
    fine = np.minimum.reduce([_deviation(bend) for bend in bends(levels)])
    return np.asarray(fine / np.maximum(_deviation(levels), 1.0), np.float64)


def _deviation(values: Levels) -> Column:
    size = values.shape[0] * values.shape[1]
    squares = np.einsum("hwn,hwn->wn", values, values, dtype=np.int32).sum(axis=0, dtype=np.float64)
    return np.asarray(np.sqrt(np.maximum(squares / size - (_sum(values) / size) ** 2, 0)), np.float64)


# The difference of two Laplacians: blind to edges and slopes, of gain 6 on white noise.
_NOISE_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
_NOISE_GAIN = 6

# The quarter of a normal distribution that lies nearest to its mean reaches to this many deviations.
_QUARTER_OF_NORMAL = 0.31864


def noise(plane: Gray | NDArray[np.float32]) -> float:
    """Return the deviation of additive noise in the levels of the plane, uint8 or float32 (H, W).

    Immerkær's mask ("Fast Noise Variance Estimation", 1996), of whose answers the smallest quarter counts: lines and
    texture fill the larger ones, noise is everywhere.
    """
    whole = plane.dtype == np.uint8
    response = np.abs(cv2.filter2D(plane, cv2.CV_16S if whole else cv2.CV_32F, _NOISE_MASK)).ravel()
    rank = response.size // 4
    # 16 bits are sorted by radix, faster than the quarter is parted.
    ordered = np.sort(response, kind="stable") if whole else np.partition(response, rank)
    return float(ordered[rank]) / _NOISE_GAIN / _QUARTER_OF_NORMAL


# Salt is white and pepper black up to what a JPEG makes of them, and this far from the median around them.
_SALT, _PEPPER, _IMPULSE_STEP = 247, 8, 40


def impulses(pixels: Pixels) -> float:
    """Return the share of pixels that are lone white or black dots: 0 to 1.

    pixels: RGB uint8 (H, W, 3). Lone, because drawn lines are black too, but every dot of theirs has a neighbour.
    """
    ranges = ((_SALT, 255), (0, _PEPPER))
    extreme = [np.asarray(cv2.inRange(pixels, (low,) * 3, (high,) * 3), np.uint8) & 1 for low, high in ranges]
    lone = [(plane == 1) & (cv2.boxFilter(plane, -1, (3, 3), normalize=False) == 1) for plane in extreme]
    dots = np.flatnonzero(lone[0] | lone[1])
    if not dots.size:
        return 0.0
    levels, around = (picture.reshape(-1, 3)[dots].astype(np.int16) for picture in (pixels, cv2.medianBlur(pixels, 3)))
    return float((np.abs(levels - around).max(axis=1) > _IMPULSE_STEP).sum()) / extreme[0].size


BLOCK = 8  # pixels, the side of JPEG's blocks

# A step less the mean of the steps before and after it, twice.
_STEP_MASK = np.array([[1, -3, 3, -1]], np.float32)


def blockiness(gray: Gray) -> float:
    """Return how much larger the steps on JPEG's grid of 8 are than elsewhere: 1 for none, over 2.5 for visible blocks.

    gray: uint8 (H, W). A step counts by what it exceeds its neighbours on both sides; 1 below 16 pixels. After Wang,
    Bovik and Evans, "Blind measurement of blocking artifacts in images" (2000).
    """
    if min(gray.shape) < 16:
        return 1.0
    return (_block_steps(gray) + _block_steps(np.asarray(cv2.transpose(gray), np.uint8))) / 2


def _block_steps(gray: Gray) -> float:
    response = np.abs(cv2.filter2D(gray, cv2.CV_16S, _STEP_MASK))
    excess = cv2.reduce(response, 0, cv2.REDUCE_SUM, dtype=cv2.CV_64F).ravel()[2:-1] / (2 * len(gray))
    # excess[k] is of the step from column k + 1 to k + 2, and blocks meet between columns 7 and 8.
    on_grid = excess[6::8]
    elsewhere = (excess.sum() - on_grid.sum()) / (excess.size - on_grid.size)
    return float(on_grid.mean()) / max(float(elsewhere), 0.5)
