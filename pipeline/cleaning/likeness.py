"""Whether two pictures with close hashes are the same picture: compared on pixels, where they differ most."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.codec import Pixels

Signatures = NDArray[np.uint8]
Pictures = NDArray[np.float32]
Figures = NDArray[np.float32]

# How to lay one picture on another: float64 (P, 4), the shift in x and y in pixels, the zoom in pixels at the border.
Poses = NDArray[np.float64]

SIDE = 32
LAYOUT = 6


def signature(pixels: Pixels) -> Signatures:
    """Return a picture for comparison: uint8 (32, 32, 3), smoothed so that a shift of part of a pixel moves little."""
    double = cv2.resize(pixels, (2 * SIDE, 2 * SIDE), interpolation=cv2.INTER_AREA)
    smooth = cv2.GaussianBlur(double, (0, 0), 1.0)
    return np.asarray(cv2.resize(smooth, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def layout(pixels: Pixels) -> Signatures:
    """Return where a picture has which colours: uint8 (6, 6, 3), the means of its 36 parts."""
    return np.asarray(cv2.resize(pixels, (LAYOUT, LAYOUT), interpolation=cv2.INTER_AREA), np.uint8)


def layout_likeness(first: Signatures, second: Signatures) -> tuple[Figures, Figures]:
    """Return how alike two layouts are, and the tint between them; a hundred times as fast as difference().

    first, second: uint8 (P, 6, 6, 3), row i is compared with row i. Returns

    - float32 (P,): the correlation, each channel less its mean: 1 the same, 0 unrelated or flat.
    - float32 (P,): the largest |log ratio| of a channel's deviations.
    """
    left, right = (_planes(layouts.astype(np.float32)) for layouts in (first, second))
    left, right = (planes - planes.mean(axis=2, keepdims=True) for planes in (left, right))
    energy = [_dot(planes, planes)[:, :, 0] for planes in (left, right)]
    norms = np.sqrt(energy[0].sum(axis=1) * energy[1].sum(axis=1))
    correlation = _dot(left, right).sum(axis=(1, 2)) / np.maximum(norms, 1.0)
    tint = np.abs(np.log((energy[1] + 1) / (energy[0] + 1))).max(axis=1) / 2
    return correlation.astype(np.float32), tint.astype(np.float32)


def difference(first: Signatures, second: Signatures, limit: float) -> tuple[Figures, Figures]:
    """Return where two pictures differ most, and the tint between them, after aligning one with the other.

    first, second: uint8 (P, 32, 32, 3), row i is compared with row i. Returns

    - float32 (P,): the largest mean difference in a window of 4×4 of 32×32, over the smaller deviation of the two
      pictures: under 0.16 for copies that were re-encoded, resized, shifted or tinted, over 0.25 for the same head
      with other eyes. The largest and not the mean, because an expression is a small part of a picture.
    - float32 (P,): the tint, the largest |log gain| of a channel from one to the other: 0 for none, 0.14 for 15 %.

    limit: up to which difference a pair matters. Where one step of alignment leaves more than 2.5 times as much, the
    further steps are left out, and the figures are those after the first: of true copies it leaves at most twice.
    """
    source, target = first.astype(np.float32), second.astype(np.float32)
    poses = _align(source, target, np.zeros((len(source), 4)), 1)
    worst, tint = _compare(_warp(source, poses), target)
    close = worst <= 2.5 * limit
    source, target = source[close], target[close]
    poses = _align(source, target, poses[close], 3)
    worst[close], tint[close] = _compare(_warp(source, poses), target)
    return worst, tint


def same_tones(first: Signatures, second: Signatures) -> tuple[Signatures, Signatures]:
    """Return pairs of pictures, uint8 (P, H, W, 3) each, the flatter of a pair with the values of the other by rank.

    This undoes whatever rising curve lies between the tones of two copies, and no other colours: it is one curve for
    all three channels (exact histogram matching, from the flatter one, which has lost more, to the other).
    """
    flat = len(first), math.prod(first.shape[1:])
    left, right = first.reshape(flat), second.reshape(flat)
    swapped = (left.std(axis=1) > right.std(axis=1))[:, None]
    flatter, other = np.where(swapped, right, left), np.where(swapped, left, right)
    matched = np.empty_like(flatter)
    np.put_along_axis(matched, np.argsort(flatter, axis=1, kind="stable"), np.sort(other, axis=1), axis=1)
    return matched.reshape(first.shape), other.reshape(first.shape)


def _compare(aligned: Pictures, target: Pictures) -> tuple[Figures, Figures]:
    pixels, goal = _planes(aligned), _planes(target)
    # A value that was clipped follows no gain: the fit leaves it out, and what lies beyond it is no difference.
    dark, bright = pixels <= 8, pixels >= 247
    weights = (~(dark | bright) & (goal > 8) & (goal < 247)).astype(np.float32)
    total = weights.sum(axis=2, keepdims=True) + 1
    mean, goal_mean = ((weights * x).sum(axis=2, keepdims=True) / total for x in (pixels, goal))
    centred, goal_centred = pixels - mean, goal - goal_mean
    weighted = weights * centred
    gain = (_dot(weighted, goal_centred) + 1) / (_dot(weighted, centred) + 1)
    excess = goal - np.clip(gain * centred + goal_mean, 0, 255)
    excess = np.where(bright, np.minimum(excess, 0), np.where(dark, np.maximum(excess, 0), excess))
    residual = np.abs(excess).mean(axis=1).reshape(-1, SIDE, SIDE)

    window = (SIDE // 8, SIDE // 8)
    worst = np.array([cv2.blur(picture, window).max() for picture in _inner(residual)], np.float32)
    deviation = np.minimum(pixels.std(axis=2), goal.std(axis=2)).mean(axis=1)
    tint = np.abs(np.log(np.maximum(gain, 1e-3))).max(axis=(1, 2))
    return np.asarray(worst / np.maximum(deviation, 1.0), np.float32), tint.astype(np.float32)


_MARGIN = SIDE // 16
_INNER = SIDE - 2 * _MARGIN


def _inner(values: Pictures) -> Pictures:
    """Return values (..., 32, 32) without the border, where a shift brings in what the other picture does not have."""
    return values[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


def _planes(pictures: Pictures) -> Pictures:
    """Return (P, H, W, 3) as (P, 3, H * W): sums over a channel are many times as fast when it is in one piece."""
    count, height, width, channels = pictures.shape
    return np.ascontiguousarray(pictures.reshape(count, height * width, channels).transpose(0, 2, 1))


def _dot(left: Pictures, right: Pictures) -> Pictures:
    return np.asarray(np.einsum("pcn,pcn->pc", left, right)[:, :, None], np.float32)


def _luma(pictures: Pictures) -> Pictures:
    return np.asarray(pictures @ np.array([0.299, 0.587, 0.114], np.float32), np.float32)


_PLACES = ((np.arange(SIDE) - (SIDE - 1) / 2) / (SIDE / 2)).astype(np.float32)


def _align(source: Pictures, target: Pictures, poses: Poses, steps: int) -> Poses:
    """Return the poses that lay source on target better, some steps from the ones given.

    Lucas and Kanade's method (1981) on the luma, with a gain and an offset: least squares on the gradient. A cut of a
    few pixels is a shift and a zoom.
    """
    plane, goal = _luma(source), _luma(target)
    moved = _warp(plane, poses)
    for _ in range(steps):
        both = (moved + goal) / 2
        across, down = np.gradient(both, axis=2), np.gradient(both, axis=1)
        terms = [moved, np.full_like(moved, 64.0), across, down, across * _PLACES, down * _PLACES[:, None]]
        design = _inner(np.stack(terms, axis=1)).reshape(len(plane), len(terms), _INNER**2)
        normal = (design @ design.transpose(0, 2, 1)).astype(np.float64) + 1e-3 * np.eye(len(terms))
        right = (design @ _inner(goal).reshape(len(plane), _INNER**2, 1)).astype(np.float64)
        change = np.linalg.solve(normal, right)[:, 2:, 0]
        poses = np.clip(poses + np.clip(change, -2, 2), -3, 3)
        moved = _warp(plane, poses)
    return poses


def _warp(pictures: Pictures, poses: Poses) -> Pictures:
    """Return pictures, (P, 32, 32) or (P, 32, 32, 3), each moved by its pose."""
    centre = (SIDE - 1) / 2
    moved = np.empty_like(pictures)
    for number, (x, y, zoom_x, zoom_y) in enumerate(poses / np.array([1, 1, SIDE / 2, SIDE / 2])):
        matrix = np.array([[1 + zoom_x, 0, x - zoom_x * centre], [0, 1 + zoom_y, y - zoom_y * centre]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        moved[number] = cv2.warpAffine(
            pictures[number], matrix, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
    return moved
