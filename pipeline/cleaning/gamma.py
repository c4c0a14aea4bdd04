"""Estimate the gamma that a picture went through: from how its levels lie, and then from its edges.

How the levels lie can't tell a gamma from art that is dark or pale on purpose. An edge can: what lies on it is a
mixture of the colours beside it, on a straight line between them, until a gamma bends it. A convolutional network,
fitted on faces, looks for that; it takes fifteen times as long, so it sees only the pictures that look dark or pale.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from safetensors.numpy import load_file

from pipeline.cleaning.views import (
    Stack,
    bends,
    extremes,
    histograms,
    levels_of,
    luma,
    net_view,
    quantiles,
    saturation,
)
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
_BANDS = np.array([[0], [50], [128], [200]], np.uint8)  # where the dark, the middle and the bright parts begin
_LOGARITHMS = np.log((np.arange(256) + 4) / 259)


def tone_profiles(pictures: Stack) -> NDArray[np.float32]:
    """Return what tells a gamma: float32 (N, 135), each about 0 to 1 or a logarithm of that.

    pictures: RGB uint8 (N, H, W, 3) at the size that the net sees. The quantiles of the luma and of the darkest and the
    brightest channel, and of the saturation, over all and over the middle, where a face has its skin; and how much
    texture and colour the dark, middle and bright parts have, which a gamma takes from one and gives to another.
    """
    gray = luma(pictures)
    darkest, brightest = extremes(pictures)
    count, height, width = gray.shape
    middle = np.s_[:, height // 4 : height * 7 // 8, width * 2 // 9 : width * 7 // 9]
    planes = [plane[part] for plane in (gray, darkest, brightest, saturation(pictures)) for part in (np.s_[:], middle)]
    ranks = np.stack([quantiles(histograms(plane), _SHARES) for plane in planes], axis=1)
    levels, saturations = np.split(ranks, [6], axis=1)
    along_rows, along_columns, _, _ = bends(levels_of(gray))
    fine = np.abs(along_rows + along_columns).reshape(-1, count).T
    # Sums of whole numbers below 2²⁴, so float32 is exact.
    values = np.stack([fine, (brightest - darkest).reshape(count, -1), np.ones_like(fine)], axis=1, dtype=np.float32)
    reached = (gray.reshape(count, 1, -1) >= _BANDS).astype(np.float32)
    sums = -np.diff(values @ reached.transpose(0, 2, 1), append=0).astype(np.float64)
    means = sums[:, :2] / np.maximum(sums[:, 2:], 1)
    return np.concatenate(
        [
            _LOGARITHMS[levels.astype(np.intp)].reshape(count, -1),
            levels.reshape(count, -1) / 255,
            saturations.reshape(count, -1) / 255,
            means[:, 0] / 30,
            means[:, 1] / 255,
            sums[:, 0].sum(axis=1, keepdims=True) / (height * width) / 30,
        ],
        axis=1,
    ).astype(np.float32)


def gamma(pictures: Sequence[Pixels], net: Stack, nats: float) -> NDArray[np.float64]:
    """Return the gamma that each picture seems to have gone through: about 1 for most art, 3 too dark, 0.3 too pale.

    pictures: RGB uint8 (H, W, 3), net: the same at the size that the net sees, (N, H, W, 3). Exactly 1 where the first
    look finds one dark or pale, and the second art that is so on purpose: a gamma not so many nats likelier than none.
    """
    found = first_look(net)
    for at in np.flatnonzero((found <= MILD[0]) | (found >= MILD[1])).tolist():
        natural, dark, pale, *logarithms = second_look(pictures[at])
        kind = int(np.argmax([natural + nats, dark, pale]))
        found[at] = np.exp([0.0, *logarithms][kind])
    return found


def first_look(net: Stack) -> NDArray[np.float64]:
    """Return the gamma by how the levels lie: float64 (N,); RGB uint8 (N, H, W, 3) at the size that the net sees.

    A regression of the logarithm by one hidden layer, off by a quarter or so.
    """
    weights = _weights(WEIGHTS)
    # Each picture is a product of its own: of many in one, BLAS would round by their number.
    hidden = np.tanh(tone_profiles(net)[:, None, :] @ weights["hidden.weight"] + weights["hidden.bias"])
    logarithm = hidden @ weights["output.weight"] + weights["output.bias"][0]
    return np.asarray(np.exp(logarithm.ravel()), np.float64)


def second_look(pixels: Pixels) -> NDArray[np.float32]:
    """Return, of the centre square of RGB uint8 (H, W, 3), three logits and two logarithms: float32 (5,).

    The logits of no gamma, a dark one and a pale one, as if two pictures in five had none; the logarithms of the gamma
    if it is a dark one, and if it is a pale one. A larger square is reduced first, which leaves less to see.
    """
    weights = _weights(NET_WEIGHTS)
    square = net_view(pixels, int(np.clip(min(pixels.shape[:2]), SIDES[0], SIDES[-1])))
    found = np.take(LEVELS_SEEN, square, axis=0).reshape(*square.shape[:2], -1)
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
    side, _, channels, outputs = weight.shape
    height, width, _ = planes.shape
    margin = side // 2
    padded = np.zeros((height + 2 * margin, width + 2 * margin, channels), np.float32)
    padded[margin:-margin, margin:-margin] = planes
    # A row of a window is in one piece, its pixels and their channels; so it is copied as one.
    windows = sliding_window_view(padded.reshape(len(padded), -1), (side, side * channels))
    columns = windows[::stride, :: stride * channels]
    found = columns.reshape(-1, weight[..., 0].size) @ weight.reshape(-1, outputs)
    found += bias
    return np.maximum(found, 0, out=found).reshape(*columns.shape[:2], outputs)


@cache
def _weights(file: Path) -> dict[str, NDArray[np.float32]]:
    return {name: values.astype(np.float32) for name, values in load_file(file).items()}
