"""Which pictures the filter's page shows of each reason and repair; no picture is opened to tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.cleaning.measures import Measures
from pipeline.cleaning.repair import asked_of_all
from pipeline.cleaning.verdict import (
    COPY_RULES,
    DROP_RULES,
    REPAIR_RULES,
    Column,
    Columns,
    Rule,
    damages,
    judge,
    present,
    severities,
)
from pipeline.params import FilterParams
from pipeline.reports.contact_sheet import choose

# The most pictures of a strip: fair samples, and the borderline ones. With these the page has at most some 640 small
# JPEGs, and stays below 10 MB even where all of them are noise.
DROPPED, PAIRS, UNCURED, KEPT = (12, 12), (8, 8), 8, 24
GROUPS, MEMBERS = 8, 8
# Borderline is what a threshold 20 per cent further on would have told otherwise.
BORDERLINE = math.log(1.2)

Flags = NDArray[np.bool_]
Rules = tuple[Rule, ...]
Pair = Literal["", "copy", "repair"]


class Strip(NamedTuple):
    """Pictures under one heading: row and whether it is borderline; the rules tell which measures to name.

    pair: "copy" for a dropped copy beside the one that it lost to, "repair" for before and after, "" for one picture.
    """

    title: str
    rows: Sequence[tuple[int, bool]]
    rules: Rules
    pair: Pair = ""


class Section(NamedTuple):
    """A reason, a repair or what was kept: how many pictures, and strips of some of them."""

    title: str
    total: int
    strips: Sequence[Strip]


class Group(NamedTuple):
    """Copies of one picture: the row that stays, some of the rows that are dropped, and how many those are in all."""

    best: int
    copies: Sequence[int]
    total: int


def sections(verdicts: pa.Table, params: FilterParams) -> list[Section]:
    """Return a section for each reason and each repair, in order of precedence, and at last the pictures left alone.

    Before those comes what the params ask of all pictures, by the labels of cleaning.repair.finish().

    verdicts: cleaning.decide.VERDICT_SCHEMA. In each strip the clearest cases come first and the most borderline last;
    in those of what nearly was a case the nearest first, so that both together lead over the threshold.
    """
    rows, kept = verdicts["row"].to_numpy(), verdicts["kept"].to_numpy()
    reasons, repairs = verdicts["reason"].to_numpy(), verdicts["repair"].to_numpy()
    measured: Columns = {name: verdicts[name].to_numpy() for name in Measures._fields}
    alone = kept & ~present(repairs)
    unrepaired = kept & ~np.isin(repairs, list(REPAIR_RULES))
    _, called = judge(measured, params)

    def strip(title: str, among: Flags, ratio: Column, counts: tuple[int, int], rules: Rules, pair: Pair = "") -> Strip:
        return Strip(title, choose(rows[among], _distance(ratio[among]), *counts, BORDERLINE), rules, pair)

    def nearest(title: str, among: Flags, ratio: Column, count: int, rules: Rules) -> Strip:
        """Return what the threshold spared: of what is not even half way to it, three are enough."""
        half_way = int((ratio[among] > 0.5).sum())
        far_to_near = strip(title, among, ratio, (min(count, max(half_way, 3)), 0), rules)
        return far_to_near._replace(rows=far_to_near.rows[::-1])

    found = []
    for reason, ratio in severities(measured, params).items():
        mask, rules = reasons == reason, DROP_RULES[reason]
        strips = [strip("", mask, ratio, DROPPED, rules)]
        strips.append(
            nearest(f"Kept, nearest to {reason}", kept & (ratio > 0) & (ratio <= 1), ratio, DROPPED[0], rules)
        )
        found.append(Section(reason, int(mask.sum()), strips))
    likeness = verdicts["difference"].to_numpy() / max(params.max_difference, 1e-9)
    for reason, rules in COPY_RULES.items():
        mask = reasons == reason
        found.append(Section(reason, int(mask.sum()), [strip("", mask, likeness, PAIRS, rules, "copy")]))
    for damage, ratio in damages(measured, params).items():
        mask, rules = repairs == damage, REPAIR_RULES[damage]
        strips = [strip("", mask, ratio, PAIRS, rules, "repair")]
        failed = unrepaired & (called == damage)
        strips.append(strip(f"Measured as {damage}, but the repair did not hold", failed, ratio, (0, UNCURED), rules))
        strips.append(nearest(f"Left alone, nearest to {damage}", unrepaired & (ratio <= 1), ratio, UNCURED, rules))
        found.append(Section(damage, int(mask.sum()), strips))
    unranked = np.full(len(rows), np.nan)
    for label in asked_of_all(params):
        mask = repairs == label
        found.append(Section(label, int(mask.sum()), [strip("", mask, unranked, (0, sum(PAIRS)), (), "repair")]))
    fair = strip("", alone, unranked, (0, KEPT), ())
    return [*found, Section("left alone", int(alone.sum()), [fair])]


def _distance(ratio: Column) -> Column:
    """Return how far a ratio is from 1, either way; NaN for 0, which is no degree of anything."""
    return np.abs(np.log(np.where(ratio > 0, ratio, np.nan)))


def largest_groups(verdicts: pa.Table) -> tuple[list[Group], int]:
    """Return the groups with the most copies, the largest first, and the number of all groups."""
    lost = verdicts.filter(verdicts["duplicate_of"].is_valid())
    winners, copies = lost["duplicate_of"].to_numpy(), lost["row"].to_numpy()
    best, sizes = np.unique(winners, return_counts=True)
    order = np.argsort(-sizes, kind="stable")[:GROUPS]
    groups = [Group(int(best[at]), copies[winners == best[at]][:MEMBERS].tolist(), int(sizes[at])) for at in order]
    return groups, len(best)
