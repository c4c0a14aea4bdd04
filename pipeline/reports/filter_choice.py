"""Which pictures the filter's page shows of each reason and repair; no picture is opened to tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.cleaning.measures import Measures
from pipeline.cleaning.verdict import (
    COPY_RULES,
    DROP_RULES,
    REPAIR_RULES,
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

Flags = NDArray[np.bool_]


class Strip(NamedTuple):
    """Pictures under one heading, by row, each with whether it is borderline; the rules tell which measures to name.

    pair: "copy" for a dropped copy beside the one that it lost to, "repair" for before and after, "" for one picture.
    """

    title: str
    rows: Sequence[tuple[int, bool]]
    rules: tuple[Rule, ...]
    pair: Literal["", "copy", "repair"] = ""


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

    verdicts: cleaning.decide.VERDICT_SCHEMA. In each strip the clearest cases come first and the most borderline last;
    in those of what nearly was a case the nearest first, so that both together lead over the threshold.
    """
    rows, kept = verdicts["row"].to_numpy(), verdicts["kept"].to_numpy()
    reasons, repairs = verdicts["reason"].to_numpy(), verdicts["repair"].to_numpy()
    measured: Columns = {name: verdicts[name].to_numpy() for name in Measures._fields}
    alone = kept & ~present(repairs)
    _, called = judge(measured, params)

    def near(title: str, among: Flags, closeness: NDArray[np.float64], count: int, rules: tuple[Rule, ...]) -> Strip:
        """Return the pictures of a strip that are the nearest to a threshold which they did not cross."""
        nearest = choose(rows[among], -closeness[among], count, 0)[::-1]
        return Strip(title, [(row, False) for row, _ in nearest], rules)

    found = []
    for reason, ratio in severities(measured, params).items():
        mask, rules = reasons == reason, DROP_RULES[reason]
        strips = [Strip("", choose(rows[mask], ratio[mask], *DROPPED), rules)]
        strips.append(near(f"Kept, nearest to {reason}", kept & (ratio > 0), ratio, DROPPED[0], rules))
        found.append(Section(reason, int(mask.sum()), strips))
    difference = verdicts["difference"].to_numpy()
    for reason, rules in COPY_RULES.items():
        mask = reasons == reason
        closeness = np.where(difference > 0, -difference, np.nan)[mask]
        strips = [Strip("", choose(rows[mask], closeness, *PAIRS), rules, "copy")]
        found.append(Section(reason, int(mask.sum()), strips))
    for damage, ratio in damages(measured, params).items():
        mask, rules = repairs == damage, REPAIR_RULES[damage]
        strips = [Strip("", choose(rows[mask], ratio[mask], *PAIRS), rules, "repair")]
        failed = alone & (called == damage)
        strips.append(near(f"Measured as {damage}, but the repair did not hold", failed, -ratio, UNCURED, rules))
        strips.append(near(f"Left alone, nearest to {damage}", alone & (ratio <= 1), ratio, UNCURED, rules))
        found.append(Section(damage, int(mask.sum()), strips))
    fair = choose(rows[alone], np.full(int(alone.sum()), np.nan), 0, KEPT)
    return [*found, Section("left alone", int(alone.sum()), [Strip("", fair, ())])]


def largest_groups(verdicts: pa.Table) -> tuple[list[Group], int]:
    """Return the groups with the most copies, the largest first, and the number of all groups."""
    lost = verdicts.filter(verdicts["duplicate_of"].is_valid())
    winners, copies = lost["duplicate_of"].to_numpy(), lost["row"].to_numpy()
    best, sizes = np.unique(winners, return_counts=True)
    order = np.argsort(-sizes, kind="stable")[:GROUPS]
    groups = [Group(int(best[at]), copies[winners == best[at]][:MEMBERS].tolist(), int(sizes[at])) for at in order]
    return groups, len(best)
