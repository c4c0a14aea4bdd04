"""Bring tone back: the gamma that a picture went through, undone, and a faded picture's levels stretched."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.views import luma
from pipeline.codec import Pixels


def undo_gamma(pixels: Pixels, gamma: float) -> Pixels:
    """Return a picture as it was before its levels were raised to the power gamma; RGB uint8 (H, W, 3)."""
    return _mapped(pixels, 255 * (np.arange(256) / 255) ** (1 / gamma))


def stretch(pixels: Pixels, black: float, white: float) -> Pixels:
    """Return a picture whose darkest and brightest half per cent of luma lie at the levels black and white.

    pixels: RGB uint8 (H, W, 3). One curve for all channels, so that no colour turns.
    """
    low, high = np.quantile(luma(pixels), (0.005, 0.995))
    return _mapped(pixels, (np.arange(256) - low) * (white - black) / max(high - low, 1.0) + black)


def _mapped(pixels: Pixels, curve: NDArray[np.float64]) -> Pixels:
    levels = np.clip(np.rint(curve), 0, 255).astype(np.uint8)
    return np.asarray(levels[pixels], np.uint8)
