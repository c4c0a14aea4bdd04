"""The tone curves, a small family to choose from by name: each maps the levels of a picture, the same in all channels.

Which ones are here, and which are not, is by what `python -m benchmarks.repair_family` measures: see README.md. They
go by the centre square, as the measures do: white or black bars beside a faded picture have the full contrast already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.views import centre_square, extremes, luma
from pipeline.codec import Pixels
from pipeline.params import ToneCurve

Curve = NDArray[np.float64]

_LEVELS = np.arange(256) / 255


class Tone(NamedTuple):
    """What the curves go by: the gamma that a picture went through, as measured, and levels (0 to 255) to aim at.

    black and white: where its darkest and brightest half per cent shall lie; brightness: its mean luma.
    """

    gamma: float
    black: float
    white: float
    brightness: float


def undo_gamma(pixels: Pixels, gamma: float) -> Pixels:
    """Return a picture as it was before its levels were raised to the power gamma; RGB uint8 (H, W, 3)."""
    return _mapped(pixels, 255 * (np.arange(256) / 255) ** (1 / gamma))


def stretch(pixels: Pixels, black: float, white: float) -> Pixels:
    """Return a picture whose darkest and brightest half per cent of luma lie at the levels black and white.

    pixels: RGB uint8 (H, W, 3). One curve for all channels, so that no colour turns. Less, where that would drive more
    than a twentieth of the pixels out of a channel's range: in a picture of one strong colour its luma spans little.
    """
    seen = centre_square(pixels)
    low, high = np.quantile(luma(seen), (0.005, 0.995))
    darkest, brightest = extremes(seen)
    bottom, top = np.quantile(darkest, 0.05), np.quantile(brightest, 0.95)
    gain = min((white - black) / max(high - low, 1.0), 255 / max(top - bottom, 1.0))
    offset = (black + white) / 2 - gain * (low + high) / 2
    return _mapped(pixels, gain * np.arange(256) + np.clip(offset, -gain * bottom, 255 - gain * top))


def gamma_to(pixels: Pixels, brightness: float) -> Pixels:
    """Return a picture under the gamma that takes its mean luma to that level; RGB uint8 (H, W, 3)."""
    mean = np.clip(luma(centre_square(pixels)).mean() / 255, 0.01, 0.99)
    return _mapped(pixels, 255 * _LEVELS ** (np.log(brightness / 255) / np.log(mean)))


def log_to(pixels: Pixels, brightness: float) -> Pixels:
    """Return a picture under the logarithm, or its inverse, that takes its mean luma nearest to that level.

    pixels: RGB uint8 (H, W, 3). Black and white stay. The bend is sought by halving what is between a logarithm that
    takes level 1 to 137 and its inverse.
    """
    seen = luma(centre_square(pixels))
    shares = np.bincount(seen.ravel(), minlength=256) / seen.size
    low, high = -12.0, 12.0
    for _ in range(16):
        bend = (low + high) / 2
        low, high = (bend, high) if shares @ _log_curve(bend) < brightness else (low, bend)
    return _mapped(pixels, _log_curve((low + high) / 2))


def _log_curve(bend: float) -> Curve:
    if abs(bend) < 1e-6:
        return 255 * _LEVELS
    if bend > 0:
        return np.asarray(255 * np.log1p(np.expm1(bend) * _LEVELS) / bend, np.float64)
    return np.asarray(255 * np.expm1(-bend * _LEVELS) / np.expm1(-bend), np.float64)


def equalize(pixels: Pixels) -> Pixels:
    """Return a picture whose luma has each level about as often as any other; RGB uint8 (H, W, 3).

    One of a single level stays as it is.
    """
    below = np.bincount(luma(centre_square(pixels)).ravel(), minlength=256).cumsum()
    darkest = below[below > 0][0]
    if darkest == below[-1]:
        return pixels
    return _mapped(pixels, 255 * (below - darkest) / (below[-1] - darkest))


TONE_CURVES: Mapping[ToneCurve, Callable[[Pixels, Tone], Pixels]] = {
    "auto_gamma": lambda pixels, tone: undo_gamma(pixels, tone.gamma),
    "stretch": lambda pixels, tone: stretch(pixels, tone.black, tone.white),
    "gamma": lambda pixels, tone: gamma_to(pixels, tone.brightness),
    "log": lambda pixels, tone: log_to(pixels, tone.brightness),
    "equalize": lambda pixels, _: equalize(pixels),
}


def _mapped(pixels: Pixels, curve: Curve) -> Pixels:
    levels = np.clip(np.rint(curve), 0, 255).astype(np.uint8)
    return np.asarray(levels[pixels], np.uint8)
