"""From numbers to reasons: which pictures are dropped, and which damage of the others is repaired."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.cleaning.measures import Measures
from pipeline.params import FilterParams

Column = NDArray[np.float64]
Columns = Mapping[str, Column]
Labels = NDArray[np.object_]


class Rule(NamedTuple):
    """A threshold: what speaks for a label is a measure over the parameter or, where `over` is False, under it."""

    measure: str
    over: bool
    param: str


# Which measure meets which threshold, by reason and by damage, each in order of precedence. The measures are those of
# with_shape(), the parameters those of FilterParams.
DROP_RULES: dict[str, tuple[Rule, ...]] = {
    "aspect": (Rule("aspect", True, "max_aspect"),),
    "too small": (Rule("side", False, "min_side"),),
    "uniform": (
        Rule("contrast", False, "min_contrast"),
        Rule("information", False, "min_information"),
        Rule("edges", False, "min_edges"),
    ),
    "blurry": (Rule("blur", True, "max_blur"), Rule("sharpness", False, "min_sharpness")),
}
REPAIR_RULES: dict[str, tuple[Rule, ...]] = {
    "impulse noise": (Rule("impulses", True, "max_impulses"),),
    "gaussian noise": (Rule("noise", True, "max_noise"),),
    # Pale art lacks contrast too, but its white is white.
    "faded": (Rule("contrast", False, "faded_contrast"), Rule("white", False, "faded_max_white")),
    "bright": (Rule("gamma", False, "min_gamma"),),
    "dark": (Rule("gamma", True, "max_gamma"),),
    "jpeg blocks": (Rule("blockiness", True, "max_blockiness"),),
}
# Copies are told by the pair, in copies.py, not by what is measured of one picture.
COPY_RULES: dict[str, tuple[Rule, ...]] = {
    "exact duplicate": (),
    "near duplicate": (Rule("difference", False, "max_difference"),),
    "holdout twin": (Rule("difference", False, "max_difference"),),
}
# These need all of their rules, the others any one.
NEED_ALL = frozenset({"blurry", "faded"})


def with_shape(measured: Columns) -> Columns:
    """Return the measures and two more, from width and height: side, the shorter in pixels; aspect, longer over it."""
    shortest = np.minimum(measured["width"], measured["height"])
    longest = np.maximum(measured["width"], measured["height"])
    return {**measured, "side": shortest, "aspect": longest / shortest}


def severities(measured: Columns, params: FilterParams) -> dict[str, Column]:
    """Return how far each picture is from each reason to drop it, in order of precedence: over 1 it is dropped.

    measured: the fields of Measures by name, float64 (N,). Ratios to the thresholds, so the nearest to 1 are the
    borderline cases, whatever the unit. NaN measures (an unreadable file) give NaN, which is never over 1.
    """
    ratios = _ratios(DROP_RULES, measured, params)
    return ratios if params.blur else {**ratios, "blurry": np.zeros_like(ratios["blurry"])}


def damages(measured: Columns, params: FilterParams) -> dict[str, Column]:
    """Return how far each picture is from each repair, in order of precedence: over 1 it is called for."""
    return _ratios(REPAIR_RULES, measured, params)


def _ratios(rules: Mapping[str, tuple[Rule, ...]], measured: Columns, params: FilterParams) -> dict[str, Column]:
    columns = with_shape(measured)
    ratios: dict[str, Column] = {}
    for label, some in rules.items():
        parts = []
        for measure, over, param in some:
            limit = float(getattr(params, param))
            parts.append(_ratio(columns[measure], limit) if over else _ratio(limit, columns[measure]))
        ratios[label] = np.minimum.reduce(parts) if label in NEED_ALL else np.fmax.reduce(parts)
    return ratios


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
