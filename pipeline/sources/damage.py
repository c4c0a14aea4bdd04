"""Known dirt, on purpose: each function does to a good picture what a careless site does, and returns file bytes.

Every function takes pixels, RGB uint8 (H, W, 3), and a generator that draws the strength, and is pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.codec import Pixels, encode_jpeg, encode_png

Damage = Callable[[Pixels, np.random.Generator], bytes]


def _to_pixels(values: NDArray[np.floating[Any]]) -> Pixels:
    """Round and clip 0…255 floats to uint8."""
    rounded: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded


def reencoded(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """Save as JPEG of quality 60 to 90, as a re-post would."""
    return encode_jpeg(pixels, int(rng.integers(60, 91)))


def blur(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """Blur with a Gaussian of 2% to 3.5% of the width: small enough that the face is there, too much to train on."""
    sigma = pixels.shape[1] * rng.uniform(0.02, 0.035)
    return encode_png(cv2.GaussianBlur(pixels, (0, 0), sigma).astype(np.uint8, copy=False))


def gaussian_noise(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """Add Gaussian noise of standard deviation 10 to 25, independent for each pixel and channel."""
    return encode_png(_to_pixels(pixels + rng.normal(0.0, rng.uniform(10.0, 25.0), pixels.shape)))


def salt_pepper(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """Set 2% to 8% of the pixels to black or white."""
    hit = rng.random(pixels.shape[:2]) < rng.uniform(0.02, 0.08)
    noisy = pixels.copy()
    noisy[hit] = rng.choice(np.array([0, 255], dtype=np.uint8), (int(hit.sum()), 1))
    return encode_png(noisy)


def dark(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """Darken by a gamma of 2.2 to 3.5, as an under-exposed scan."""
    return encode_png(_to_pixels(255.0 * (pixels / 255.0) ** rng.uniform(2.2, 3.5)))


def bright(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """Brighten by a gamma of 0.25 to 0.45, as an over-exposed scan."""
    return encode_png(_to_pixels(255.0 * (pixels / 255.0) ** rng.uniform(0.25, 0.45)))


def faded(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """Squeeze the contrast to 20% to 40% around a middle grey."""
    return encode_png(_to_pixels(rng.uniform(110.0, 170.0) + (pixels - 128.0) * rng.uniform(0.2, 0.4)))


def unreadable(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """Cut the file off after a tenth to three quarters, as a broken download."""
    data = encode_jpeg(pixels, 90)
    return data[: int(len(data) * rng.uniform(0.1, 0.75))]


def tiny(pixels: Pixels, rng: np.random.Generator) -> bytes:
    """Shrink to a thumbnail of 12 to 24 pixels."""
    side = int(rng.integers(12, 25))
    return encode_png(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False))


DAMAGES: dict[str, Damage] = {
    "reencoded_duplicate": reencoded,
    "blur": blur,
    "gaussian_noise": gaussian_noise,
    "salt_pepper": salt_pepper,
    "dark": dark,
    "bright": bright,
    "faded": faded,
    "unreadable": unreadable,
    "tiny": tiny,
}
