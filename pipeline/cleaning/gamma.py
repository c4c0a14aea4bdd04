"""Estimate the gamma that a picture went through: from how its levels lie, and then from its edges.

How the levels lie can't tell a gamma from art that is dark or pale on purpose. An edge can: what lies on it is a
mixture of the colours beside it, on a straight line between them, until a gamma bends it. A convolutional network,
fitted on faces, looks for that; it takes fifteen times as long, so it sees only the pictures that look dark or pale.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from pipeline.cleaning.views import extremes, luma, net_view, quantiles
from pipeline.codec import Pixels

# Written by python -m benchmarks.gamma_fit.
WEIGHTS = Path(__file__).with_suffix(".safetensors")
NET_WEIGHTS = Path(__file__).with_name("gamma_net.safetensors")

# The second look: its convolutions, each as channels, side and stride; the sides of the squares that it was fitted on;
# and what it sees of each level, 0 to 255: the level and its logarithm.
LAYERS = ((24, 5, 2), (48, 3, 2), (48, 3, 1), (64, 3, 2), (64, 3, 1), (64, 3, 2))
SIDES = (64, 80, 96)
LEVELS_SEEN = np.stack([np.arange(256) / 127.5 - 1, np.log((np.arange(256) + 4) / 259) / 2 + 0.5], 1).astype(np.float32)
# The second look is taken where the first finds no gamma between these, which it was not fitted to tell from none: at
# one face in thirty.
MILD = (0.5, 2.0)

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


def gamma(pixels: Pixels, net: Pixels, nats: float) -> float:
    """Return the gamma that a picture seems to have gone through: about 1 for most art, 3 too dark, 0.3 too pale.

    pixels: RGB uint8 (H, W, 3), net: the same at the size that the net sees. Exactly 1 where the first look finds it
    dark or pale, and the second art that is so on purpose: a gamma not so many nats likelier than none.
    """
    first = first_look(net)
    if MILD[0] < first < MILD[1]:
        return first
    natural, dark, pale, *logarithms = second_look(pixels)
    kind = int(np.argmax([natural + nats, dark, pale]))
    return float(np.exp([0.0, *logarithms][kind]))


def first_look(net: Pixels) -> float:
    """Return the gamma by how the levels lie: RGB uint8 (H, W, 3) at the size that the net sees.

    A regression of the logarithm by one hidden layer, off by a quarter or so.
    """
    weights = _weights(WEIGHTS)
    hidden = np.tanh(tone_profile(net) @ weights["hidden.weight"] + weights["hidden.bias"])
    return float(np.exp(hidden @ weights["output.weight"] + weights["output.bias"][0]))


def second_look(pixels: Pixels) -> NDArray[np.float32]:
    """Return, of the centre square of RGB uint8 (H, W, 3), three logits and two logarithms: float32 (5,).

    The logits of no gamma, a dark one and a pale one, as if two pictures in five had none; the logarithms of the gamma
    if it is a dark one, and if it is a pale one. A larger square is reduced first, which leaves less to see.
    """
    weights = _weights(NET_WEIGHTS)
    square = net_view(pixels, int(np.clip(min(pixels.shape[:2]), SIDES[0], SIDES[-1])))
    found = LEVELS_SEEN[square].reshape(*square.shape[:2], -1)
    for number, (_, _, stride) in enumerate(LAYERS):
        found = _convolved(found, weights[f"{number}.weight"], weights[f"{number}.bias"], stride)
    parts = (found.mean(axis=(0, 1)), found[middle(*found.shape[:2])].mean(axis=(0, 1)), found.max(axis=(0, 1)))
    hidden = np.maximum(np.concatenate(parts) @ weights["hidden.weight"] + weights["hidden.bias"], 0)
    return np.asarray(hidden @ weights["output.weight"] + weights["output.bias"], np.float32)


def middle(height: int, width: int) -> tuple[slice, slice]:
    """Return where a face has its skin, in a square map of what the convolutions found."""
    return np.s_[height // 4 : height - height // 6, width // 5 : width - width // 5]


def _convolved(
    planes: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32], stride: int
) -> NDArray[np.float32]:
    """Return planes (H, W, in) under weights (side, side, in, out), each stride, what is negative as 0: (h, w, out)."""
    side = weight.shape[0]
    padded = np.pad(planes, ((side // 2, side // 2), (side // 2, side // 2), (0, 0)))
    height, width = ((length - 1) // stride + 1 for length in planes.shape[:2])
    down, across = stride * (height - 1) + 1, stride * (width - 1) + 1
    shifted = [padded[y : y + down : stride, x : x + across : stride] for y in range(side) for x in range(side)]
    columns = np.concatenate(shifted, axis=2).reshape(height * width, -1)
    found = columns @ weight.reshape(columns.shape[1], -1) + bias
    return np.asarray(np.maximum(found, 0).reshape(height, width, -1), np.float32)


@cache
def _weights(file: Path) -> dict[str, NDArray[np.float32]]:
    return {name: values.astype(np.float32) for name, values in load_file(file).items()}
