"""The denoising filters, a small family to choose from by name; each is as strong as the noise is.

Which ones are here, and which are not, is by what `python -m benchmarks.repair_family` measures: see README.md.
scikit-image is imported where it is used: few runs need it, and each worker would wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.dct import shrink_noise
from pipeline.cleaning.opponent import PLANE_RANGE, from_opponent, opponent_planes
from pipeline.cleaning.views import extremes
from pipeline.codec import Pixels
from pipeline.params import Denoiser

Sigmas = NDArray[np.float32]
Plane = NDArray[np.float32]

_NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
_SHIFTS = [(y, x) for y in (0, 1) for x in (0, 1)]
_LEAST = 8


def replace_impulses(pixels: Pixels) -> Pixels:
    """Return a picture with its pure white and black dots replaced by the median of their clean neighbours.

    pixels: RGB uint8 (H, W, 3). A dot is a pixel of 0 or 255 in all channels that is not near the 3×3 median; every
    other pixel stays as it is, which a plain median filter would not leave sharp. After Sun and Neuvo's switching
    median, "Detail-preserving median based filters in image processing" (1994).
    """
    black, white = (cv2.inRange(pixels, (level,) * 3, (level,) * 3) != 0 for level in (0, 255))
    _, apart = extremes(np.asarray(cv2.absdiff(pixels, cv2.medianBlur(pixels, 3)), np.uint8))
    dots = (black | white) & (apart > 10)
    rows, columns = np.nonzero(dots)
    if not rows.size:
        return pixels.copy()
    padded, dotted = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="reflect"), np.pad(dots, 1, mode="reflect")
    places = [(rows + 1 + y, columns + 1 + x) for y, x in _NEIGHBOURS]
    around = np.stack([padded[place] for place in places]).astype(np.float32)
    around[np.stack([dotted[place] for place in places])] = np.nan
    # A dot among dots has no clean neighbour; the wider median sees past them.
    lost = np.isnan(around).all(axis=(0, 2))
    around[0, lost] = cv2.medianBlur(pixels, 5)[rows[lost], columns[lost]]
    cleaned = pixels.copy()
    cleaned[rows, columns] = np.rint(np.nanmedian(around, axis=0))
    return cleaned


def non_local_means(pixels: Pixels, sigmas: Sigmas) -> Pixels:
    """Return a picture of which each pixel is the mean of those with like surroundings: RGB uint8 (H, W, 3).

    sigmas: the noise's deviation, in levels, in each of the opponent_planes(). Buades, Coll and Morel, "A non-local
    algorithm for image denoising" (2005), by scikit-image's fast mode, with the noise taken off the distances.
    """
    from skimage.restoration import denoise_nl_means

    def smooth(plane: Plane, sigma: float) -> Plane:
        smoothed = denoise_nl_means(plane, patch_size=5, patch_distance=5, h=0.8 * sigma, sigma=sigma, fast_mode=True)
        return np.asarray(smoothed, np.float32)

    return _by_plane(pixels, sigmas, smooth)


def total_variation(pixels: Pixels, sigmas: Sigmas) -> Pixels:
    """Return the picture that is near to this one and has few and sharp steps: RGB uint8 (H, W, 3).

    sigmas: the noise's deviation, in levels, in each of the opponent_planes(). Chambolle, "An algorithm for total
    variation minimization and applications" (2004), by scikit-image, after at most 50 steps.
    """
    from skimage.restoration import denoise_tv_chambolle

    def smooth(plane: Plane, sigma: float) -> Plane:
        return np.asarray(denoise_tv_chambolle(plane, weight=0.7 * sigma, max_num_iter=50), np.float32)

    return _by_plane(pixels, sigmas, smooth)


def shrink_wavelets(pixels: Pixels, sigmas: Sigmas) -> Pixels:
    """Return a picture whose wavelet coefficients are less by what is noise in them: RGB uint8 (H, W, 3).

    sigmas: the noise's deviation, in levels, in each of the opponent_planes(). Chang, Yu and Vetterli, "Adaptive
    wavelet thresholding for image denoising and compression" (2000), by scikit-image and PyWavelets; the mean of four
    shifts (Coifman and Donoho, "Translation-invariant de-noising", 1995), as one alone leaves traces of its grid. A
    picture below 8 pixels has no room for a wavelet and stays.
    """
    from skimage.restoration import denoise_wavelet

    def smooth(plane: Plane, sigma: float) -> Plane:
        if min(plane.shape) < _LEAST:
            return plane
        shifted = [np.roll(plane, shift, axis=(0, 1)) for shift in _SHIFTS]
        cleaned = [denoise_wavelet(one, sigma=sigma, wavelet="db2", method="BayesShrink") for one in shifted]
        back = [np.roll(one, (-y, -x), axis=(0, 1)) for one, (y, x) in zip(cleaned, _SHIFTS, strict=True)]
        return np.asarray(np.mean(back, axis=0), np.float32)

    return _by_plane(pixels, sigmas, smooth)


# Each takes RGB uint8 (H, W, 3) and the noise's deviation, in levels, in each of its opponent_planes().
DENOISERS: Mapping[Denoiser, Callable[[Pixels, Sigmas], Pixels]] = {
    "median": lambda pixels, _: replace_impulses(pixels),
    "dct": shrink_noise,
    "non_local_means": non_local_means,
    "total_variation": total_variation,
    "wavelet": shrink_wavelets,
}


def _by_plane(pixels: Pixels, sigmas: Sigmas, smooth: Callable[[Plane, float], Plane]) -> Pixels:
    """Return a picture whose opponent planes were smoothed one by one; one without noise stays as it is.

    scikit-image takes float pictures for levels of -1 to 1.
    """
    planes = opponent_planes(pixels)
    for plane, sigma in zip(planes, sigmas.tolist(), strict=True):
        if sigma > 0:
            plane[:] = smooth(plane / PLANE_RANGE, sigma / PLANE_RANGE) * PLANE_RANGE
    return from_opponent(planes)
