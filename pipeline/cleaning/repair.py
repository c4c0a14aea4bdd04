"""Repair a picture by what was measured, and take the repair back where measuring again finds no cure.

And do to every picture, unchecked, what the params ask of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.cleaning.denoise import DENOISERS
from pipeline.cleaning.measures import Measures, measure
from pipeline.cleaning.opponent import noise_sigmas
from pipeline.cleaning.tone import TONE_CURVES, Tone
from pipeline.cleaning.verdict import as_columns, damages, judge
from pipeline.cleaning.views import work_view
from pipeline.codec import Pixels
from pipeline.params import FilterParams, ToneCurve

# The parameter that names what repairs a damage, by a denoising filter or by a tone curve.
DENOISED_BY = {"impulse noise": "impulse_filter", "gaussian noise": "noise_filter", "jpeg blocks": "block_filter"}
TONED_BY = {"faded": "faded_curve", "bright": "gamma_curve", "dark": "gamma_curve"}
# The labels of what was changed because the params ask it of every picture, where no damage was repaired.
DENOISED, TONED, BOTH = "denoised", "toned", "denoised and toned"


def mend(pixels: Pixels, damage: str, gamma: float, params: FilterParams) -> Pixels:
    """Return a picture with one damage of verdict.damages() repaired: RGB uint8 (H, W, 3); gamma is its measure."""
    if damage in DENOISED_BY:
        sigmas = np.full(3, params.deblock_sigma, np.float32) if damage == "jpeg blocks" else noise_sigmas(pixels)
        return DENOISERS[getattr(params, DENOISED_BY[damage])](pixels, sigmas)
    if damage in TONED_BY:
        return _toned(pixels, getattr(params, TONED_BY[damage]), gamma, params)
    raise ValueError(f"no repair is known for {damage!r}")


def _toned(pixels: Pixels, curve: ToneCurve, gamma: float, params: FilterParams) -> Pixels:
    return TONE_CURVES[curve](pixels, Tone(gamma, params.faded_black, params.faded_white, params.mean_brightness))


class Damaged(NamedTuple):
    """A picture to repair, RGB uint8 (H, W, 3), its damage, one of verdict.damages(), and its measures."""

    pixels: Pixels
    damage: str
    measures: Measures


class Repair(NamedTuple):
    """A repaired picture, RGB uint8 at the work size, and what it measured before and after."""

    pixels: Pixels
    was: Measures
    remains: Measures


def repair(pictures: Sequence[Damaged], image_size: int, params: FilterParams) -> list[Repair]:
    """Return pictures repaired at the work size, with their measures; holds() tells whether to take one."""
    before = [work_view(pixels, params.work_side) for pixels, _, _ in pictures]
    after = [
        mend(view, damage, measures.gamma, params) for view, (_, damage, measures) in zip(before, pictures, strict=True)
    ]
    # What is no larger than the work size was measured at it.
    reduced = [at for at, (pixels, _, _) in enumerate(pictures) if before[at] is not pixels]
    was = {at: measures for at, (_, _, measures) in enumerate(pictures)}
    was |= zip(reduced, measure([before[at] for at in reduced], image_size, params), strict=True)
    remains = measure(after, image_size, params)
    # The work size is no reason to drop a picture; its own was none.
    return [
        Repair(after[at], was[at], remains[at]._replace(width=measures.width, height=measures.height))
        for at, (_, _, measures) in enumerate(pictures)
    ]


def holds(damage: str, was: Measures, remains: Measures, params: FilterParams) -> bool:
    """Return whether a repair did good, as far as that can be told without the undamaged picture.

    It did where the damage measures less than before and nothing speaks for dropping the result: a smoothing that took
    the edges with the noise would be blurry now. Of strong noise or blocks less is a gain, though some is left; a tone
    curve that leaves a picture faded has gone by something else.
    """
    before, after = (damages(as_columns(measures), params)[damage][0] for measures in (was, remains))
    reasons, _ = judge(as_columns(remains), params)
    return bool(after < before and (after <= 1 or damage in DENOISED_BY)) and reasons[0] is None


def asked_of_all(params: FilterParams) -> dict[str, str]:
    """Return the labels of finish(), each with the filter or curve behind it; none where nothing is asked of all."""
    if not params.enabled:
        return {}
    asked = {DENOISED: params.denoise_all, TONED: params.tone_all}
    found = {label: str(name) for label, name in asked.items() if name is not None}
    return {**found, BOTH: " and ".join(found.values())} if len(found) == len(asked) else found


def finish(pixels: Pixels, damage: str | None, gamma: float, params: FilterParams) -> tuple[Pixels, str] | None:
    """Return a kept picture with what the params ask of all done, and its label; None where that changes nothing.

    pixels: RGB uint8 (H, W, 3), repaired of damage already where that is no None; the label is then still the damage.
    Denoised first, or the curve would amplify the noise. What a repair has done is not done again, and nothing is
    measured afterwards: it was asked for. As a repair, it is made at the work size.
    """
    before = work_view(pixels, params.work_side)
    denoised = before
    if params.denoise_all is not None and damage not in DENOISED_BY:
        denoised = DENOISERS[params.denoise_all](before, noise_sigmas(before))
    toned = denoised
    if params.tone_all is not None and damage not in TONED_BY:
        toned = _toned(denoised, params.tone_all, gamma, params)
    made = (not np.array_equal(before, denoised), not np.array_equal(denoised, toned))
    labels = {(True, False): DENOISED, (False, True): TONED, (True, True): BOTH}
    return (toned, damage or labels[made]) if any(made) else None
