"""The charts of the filter's page: each measure of all pictures, with the thresholds that it meets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.cleaning.measures import Measures
from pipeline.cleaning.verdict import COPY_RULES, DROP_RULES, REPAIR_RULES, Column, Columns, Rule, with_shape
from pipeline.params import FilterParams
from pipeline.reports.histogram import Histogram, Mark, histogram


class Chart(NamedTuple):
    """A measure's chart, what the measure says, and how many pictures it told, by reason or repair."""

    name: str
    says: str
    drawing: Histogram
    told: list[tuple[str, int]]


# What each measure says, and its unit; in pipeline/cleaning/measures.py at length.
SAYS = {
    "side": "the shortest side, in pixels",
    "aspect": "the longest side over the shortest",
    "contrast": "grey levels from the darkest to the brightest",
    "white": "the level that the brightest pixels reach",
    "information": "how many colours, in bits",
    "edges": "the share of pixels beside an edge",
    "blur": "how little a further blur changes in the worst direction, 0 to 1",
    "sharpness": "fine detail over contrast",
    "noise": "deviation of the noise, in grey levels",
    "impulses": "the share of lone white or black dots",
    "blockiness": "steps on JPEG's grid over those elsewhere",
    "gamma": "the tone curve: over 1 darkened, under 1 brightened",
    "difference": "of a copy to the one that stays, where it differs most; of a copy's copy it may be over the limit",
}
# Ratios and sizes: as far from 50 to 100 as from 100 to 200.
LOGARITHMIC = frozenset({"side", "aspect", "gamma"})
RULES = {**DROP_RULES, **REPAIR_RULES, **COPY_RULES}
_COPY_RULES = [rule for some in COPY_RULES.values() for rule in some]


def charts(verdicts: pa.Table, params: FilterParams) -> Iterator[Chart]:
    """Yield a chart for each measure that meets a threshold; verdicts: cleaning.decide.VERDICT_SCHEMA."""
    reasons, repairs = (verdicts[name].to_numpy() for name in ("reason", "repair"))
    columns: Columns = with_shape({name: verdicts[name].to_numpy() for name in Measures._fields})
    # The same bytes are told by their hash.
    compared = np.where(reasons == "exact duplicate", np.nan, verdicts["difference"].to_numpy())
    columns = {**columns, "difference": compared}
    for measure in dict.fromkeys(rule.measure for some in RULES.values() for rule in some):
        told = _told_by(measure)
        values, known = columns[measure], np.isfinite(columns[measure])
        acts = {label: _crossed(values, rule, params) for label, rule in told.items()}
        dropped = np.logical_or.reduce([act & (reasons == label) for label, act in acts.items()])
        repaired = np.logical_or.reduce([act & (repairs == label) for label, act in acts.items()])
        if known.any():
            yield Chart(
                measure,
                SAYS.get(measure, ""),
                histogram(
                    measure,
                    values[known],
                    values[known & (dropped | repaired)],
                    values[known & dropped],
                    marks_of(measure, params),
                    measure in LOGARITHMIC,
                ),
                [(label, int((act & ((reasons == label) | (repairs == label))).sum())) for label, act in acts.items()],
            )


def _crossed(values: Column, rule: Rule, params: FilterParams) -> NDArray[np.bool_]:
    """Return where a measure itself speaks for the label: of the uniform pictures, say, some have contrast enough."""
    if rule in _COPY_RULES:  # a copy's copy may be over the limit, and is told by the difference all the same
        return np.isfinite(values)
    limit = float(getattr(params, rule.param))
    return values > limit if rule.over else values < limit


def _told_by(measure: str) -> dict[str, Rule]:
    return {label: rule for label, some in RULES.items() for rule in some if rule.measure == measure}


def marks_of(measure: str, params: FilterParams) -> list[Mark]:
    """Return the thresholds that a measure meets, each once."""
    marks = (Mark(rule.param, float(getattr(params, rule.param)), rule.over) for rule in _told_by(measure).values())
    return list(dict.fromkeys(marks))
