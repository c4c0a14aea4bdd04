"""Repair a picture by what was measured, and take the repair back where measuring again finds no cure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipeline.cleaning.denoise import noise_sigmas, replace_impulses, shrink_noise
from pipeline.cleaning.measures import Measures, measure
from pipeline.cleaning.tone import stretch, undo_gamma
from pipeline.cleaning.verdict import as_columns, damages, judge
from pipeline.cleaning.views import work_view
from pipeline.codec import Pixels
from pipeline.params import FilterParams


def mend(pixels: Pixels, damage: str, gamma: float, params: FilterParams) -> Pixels:
    """Return a picture with one damage of verdict.damages() repaired: RGB uint8 (H, W, 3); gamma is its measure."""
    if damage == "impulse noise":
        return replace_impulses(pixels)
    if damage == "gaussian noise":
        return shrink_noise(pixels, noise_sigmas(pixels))
    if damage == "jpeg blocks":
        return shrink_noise(pixels, np.full(3, params.deblock_sigma, np.float32))
    if damage == "faded":
        return stretch(pixels, params.faded_black, params.faded_white)
    if damage in ("dark", "bright"):
        return undo_gamma(pixels, gamma)
    raise ValueError(f"no repair is known for {damage!r}")


class Repair(NamedTuple):
    """A repaired picture, RGB uint8 at the work size, and what it measured before and after."""

    pixels: Pixels
    was: Measures
    remains: Measures


def repair(pixels: Pixels, damage: str, gamma: float, image_size: int, params: FilterParams) -> Repair:
    """Return a picture repaired at the work size, with its measures; holds() tells whether to take it."""
    before = work_view(pixels, params.work_side)
    after = mend(before, damage, gamma, params)
    was, remains = (measure(view, image_size, params.work_side) for view in (before, after))
    # The work size is no reason to drop a picture; its own was none.
    height, width = pixels.shape[:2]
    return Repair(after, was, remains._replace(width=width, height=height))


def holds(damage: str, was: Measures, remains: Measures, params: FilterParams) -> bool:
    """Return whether a repair did good, as far as that can be told without the undamaged picture.

    It did where the damage measures less than before and nothing speaks for dropping the result: a smoothing that took
    the edges with the noise would be blurry now.
    """
    before, after = (damages(as_columns(measures), params)[damage][0] for measures in (was, remains))
    reasons, _ = judge(as_columns(remains), params)
    return bool(after < before) and reasons[0] is None
