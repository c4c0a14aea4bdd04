"""Estimate the gamma that a picture went through, from how its levels lie: a small network, fitted on faces."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from pipeline.cleaning.views import extremes, luma, quantiles
from pipeline.codec import Pixels

# Written by python -m benchmarks.gamma_fit.
WEIGHTS = Path(__file__).with_suffix(".safetensors")

_SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_BAND_OF_LEVEL = np.searchsorted((50, 128, 200), np.arange(256), side="right")


def tone_profile(pixels: Pixels) -> NDArray[np.float32]:
    """Return what tells a gamma: float32 (135,), each about 0 to 1 or a logarithm of that.

    pixels: RGB uint8 (H, W, 3) at the size that the net sees. The quantiles of the luma and of the darkest and the
    brightest channel, and of the saturation, over all and over the middle, where a face has its skin; and how much
    texture and colour the dark, middle and bright parts have, which a gamma takes from one and gives to another.
    """
    gray = luma(pixels)
    darkest, brightest = extremes(pixels)
    saturation = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)[:, :, 1], np.uint8)
    height, width = gray.shape
    middle = np.s_[height // 4 : height * 7 // 8, width * 2 // 9 : width * 7 // 9]
    planes = [plane[part] for plane in (gray, darkest, brightest, saturation) for part in (..., middle)]
    levels, saturations = np.split(quantiles(planes, _SHARES), [6])
    fine = np.abs(cv2.Laplacian(gray, cv2.CV_32F))
    colour = (brightest - darkest).astype(np.float32)
    band = _BAND_OF_LEVEL[gray.ravel()]
    sizes = np.maximum(np.bincount(band, minlength=4), 1)
    bands = [np.bincount(band, values.ravel(), 4) / sizes for values in (fine, colour)]
    return np.concatenate(
        [
            np.log((levels + 4) / 259).ravel(),
            levels.ravel() / 255,
            saturations.ravel() / 255,
            bands[0] / 30,
            bands[1] / 255,
            [fine.mean() / 30],
        ]
    ).astype(np.float32)


def gamma(pixels: Pixels) -> float:
    """Return the gamma that a picture seems to have gone through: about 1 for most art, 3 too dark, 0.3 too pale.

    pixels: RGB uint8 (H, W, 3) at the size that the net sees. A regression of the logarithm by one hidden layer, off by
    a quarter or so: what art is dark on purpose no measure can know.
    """
    weights = _weights()
    hidden = np.tanh(tone_profile(pixels) @ weights["hidden.weight"] + weights["hidden.bias"])
    return float(np.exp(hidden @ weights["output.weight"] + weights["output.bias"][0]))


@cache
def _weights() -> dict[str, NDArray[np.float32]]:
    return load_file(WEIGHTS)
