"""From numbers to reasons: which pictures are dropped, and which damage of the others is repaired."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.measures import Measures
from pipeline.params import FilterParams

Column = NDArray[np.float64]
Columns = Mapping[str, Column]
Labels = NDArray[np.object_]


def severities(measured: Columns, params: FilterParams) -> dict[str, Column]:
    """Return how far each picture is from each reason to drop it, in order of precedence: over 1 it is dropped.

    measured: the fields of Measures by name, float64 (N,). Ratios to the thresholds, so the nearest to 1 are the
    borderline cases, whatever the unit. NaN measures (an unreadable file) give NaN, which is never over 1.
    """
    shortest = np.minimum(measured["width"], measured["height"])
    longest = np.maximum(measured["width"], measured["height"])
    blurry = np.minimum(
        _ratio(measured["blur"], params.max_blur),
        _ratio(params.min_sharpness, measured["sharpness"]),
    )
    return {
        "aspect": _ratio(longest / shortest, params.max_aspect),
        "too small": _ratio(params.min_side, shortest),
        "uniform": np.fmax.reduce(
            [
                _ratio(params.min_contrast, measured["contrast"]),
                _ratio(params.min_information, measured["information"]),
                _ratio(params.min_edges, measured["edges"]),
            ]
        ),
        "blurry": blurry if params.blur else np.zeros_like(blurry),
    }


def damages(measured: Columns, params: FilterParams) -> dict[str, Column]:
    """Return how far each picture is from each repair, in order of precedence: over 1 it is called for."""
    return {
        "impulse noise": _ratio(measured["impulses"], params.max_impulses),
        "gaussian noise": _ratio(measured["noise"], params.max_noise),
        # Pale art lacks contrast too, but its white is white.
        "faded": np.minimum(
            _ratio(params.faded_contrast, measured["contrast"]), _ratio(params.faded_max_white, measured["white"])
        ),
        "bright": _ratio(params.min_gamma, measured["gamma"]),
        "dark": _ratio(measured["gamma"], params.max_gamma),
        "jpeg blocks": _ratio(measured["blockiness"], params.max_blockiness),
    }


def judge(measured: Columns, params: FilterParams) -> tuple[Labels, Labels]:
    """Return why each picture is dropped, and which repair the others need: two object (N,) of str or None.

    With params.enabled off, nothing is dropped and nothing repaired.
    """
    reasons = _first_over_one(severities(measured, params))
    repairs = _first_over_one(damages(measured, params))
    if not params.enabled:
        reasons[:] = None
    if not (params.enabled and params.repair):
        repairs[:] = None
    repairs[present(reasons)] = None
    return reasons, repairs


def as_columns(measures: Measures) -> Columns:
    """Return the measures of one picture as columns of length 1."""
    return {name: np.array([value]) for name, value in measures._asdict().items()}


def present(labels: Labels) -> NDArray[np.bool_]:
    """Return which labels are not None: bool (N,)."""
    return np.array([label is not None for label in labels], np.bool_)


def _ratio(value: Column | float, limit: Column | float) -> Column:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.divide(value, limit), np.float64)


def _first_over_one(ratios: dict[str, Column]) -> Labels:
    labels = np.full(len(next(iter(ratios.values()))), None, object)
    for name in reversed(ratios):
        labels[ratios[name] > 1] = name
    return labels
