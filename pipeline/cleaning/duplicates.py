"""Find the pictures that are copies of another, and decide which copy stays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.cleaning.hashing import Pairs
from pipeline.cleaning.verdict import Column, Labels, present

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]


def same_content_pairs(contents: Rows, members: Rows) -> Pairs:
    """Return int64 (P, 2) that chains the members with the same bytes, which have the same number in contents."""
    order = members[np.argsort(contents[members], kind="stable")]
    same = contents[order[:-1]] == contents[order[1:]]
    return np.stack([order[:-1][same], order[1:][same]], axis=1)


def one_per_content(contents: Rows, members: Rows) -> Rows:
    """Return the first member with each content, in order."""
    _, first = np.unique(contents[members], return_index=True)
    return members[np.sort(first)]


def groups(count: int, pairs: Pairs) -> Rows:
    """Return the number of each position's group, int64 (count,), when both ends of every pair belong together."""
    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def best_first(repairs: Labels, area: Column, size: Column, blur: Column) -> Rows:
    """Return each picture's rank as a copy, 0 the best, int64 (N,).

    repairs: the damage of each, or None; area in pixels, size in bytes, blur as measured. Undamaged before damaged,
    then the largest, of equally large ones the least compressed, the sharpest, the first.
    """
    order = np.lexsort((blur, -size, -area, present(repairs)))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank


def champions(group: Rows, holdout: Flags, kept: Flags, rank: Rows) -> Rows:
    """Return the position of the copy that stays in each picture's group: int64 (N,).

    A holdout copy before any train copy, even one that is dropped itself, because the raw holdout is a ruler too; a
    kept one before a dropped one; then the best.
    """
    order = np.lexsort((rank, ~kept, ~holdout, group))
    numbers, first = np.unique(group[order], return_index=True)
    return np.asarray(order[first][np.searchsorted(numbers, group)], np.int64)


def duplicate_reasons(champion: Rows, contents: Rows, holdout: Flags, kept: Flags, within_split: bool) -> Labels:
    """Return why each kept picture is dropped as a copy: object (N,), str or None.

    `holdout twin` for a train picture whose champion is in the holdout: always, or the ruler would measure what was
    learnt by heart. Within one split `exact duplicate` (the same bytes) or `near duplicate`, where within_split is on.
    """
    reasons = np.full(len(champion), None, object)
    loser = kept & (champion != np.arange(len(champion)))
    twin = loser & ~holdout & holdout[champion]
    reasons[twin] = "holdout twin"
    if within_split:
        copy = loser & ~twin
        same = contents == contents[champion]
        reasons[copy & same] = "exact duplicate"
        reasons[copy & ~same] = "near duplicate"
    return reasons
