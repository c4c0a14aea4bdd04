"""Find the pairs that show the same picture: close hashes, then the same layout, then compared on pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.cleaning.duplicates import Rows, groups
from pipeline.cleaning.hashing import Pairs, close_pairs
from pipeline.cleaning.inspect import sign_shard
from pipeline.cleaning.likeness import LAYOUT, SIDE, Figures, Signatures, difference, layout_likeness
from pipeline.params import FilterParams
from pipeline.workers import Workers

# Pairs looked at in one go, so that memory does not grow with their number: 100 MB of arrays for either. Signatures are
# handed to the workers in a hundred MB at a time, too.
_LAYOUTS, _SIGNATURES, _HANDED = 1 << 16, 1 << 8, 1 << 14


@dataclass(frozen=True)
class Comparison:
    """Compares pictures on pixels, those that may have a copy: positions, int64 (C,), sorted, and their signatures."""

    positions: Rows
    signatures: Signatures
    limit: float
    workers: Workers

    def __call__(self, pairs: Pairs) -> tuple[Figures, Figures]:
        """Return difference() and tint, float32 (P,) each, of pairs of those positions, int64 (P, 2)."""
        places = np.searchsorted(self.positions, np.sort(pairs, axis=1))
        compare = partial(_compare, limit=self.limit)
        figures = [np.empty((2, 0), np.float32)]
        for handed in _parts(places, _HANDED):
            parts = [(self.signatures[part[:, 0]], self.signatures[part[:, 1]]) for part in _parts(handed, _SIGNATURES)]
            sizes = [len(first) for first, _ in parts]
            figures += self.workers.map(compare, parts, label="filter: compare pairs", sizes=sizes)
        worst, tint = np.concatenate(figures, axis=1)
        return worst, tint


def find_copies(
    measured: pa.Table, folder: Path, params: FilterParams, workers: Workers
) -> tuple[Pairs, Figures, Comparison]:
    """Return pairs of images that show the same picture, int64 (P, 2), and their difference(), float32 (P,).

    They are enough to connect all copies of one picture, and need not be all pairs of them.

    measured: readable images, MEASURED_SCHEMA, of the raw shards in folder. Only those with a close hash and the same
    layout are decoded again. The Comparison returned knows all that are in a pair.
    """
    pairs = close_pairs(measured["phash"].to_numpy(), params.hash_distance)
    layouts = np.frombuffer(b"".join(measured["layout"].to_pylist()), np.uint8).reshape(-1, LAYOUT, LAYOUT, 3)
    alike = [np.zeros(0, np.bool_)]
    for part in _parts(pairs, _LAYOUTS):
        correlation, tint = layout_likeness(layouts[part[:, 0]], layouts[part[:, 1]])
        alike.append((correlation >= params.min_layout) & (tint <= params.max_tint))
    pairs = pairs[np.concatenate(alike)]

    candidates = np.unique(pairs)
    signatures = _signatures(measured.take(candidates), folder, workers)
    compare = Comparison(candidates, signatures, params.max_difference, workers)

    def differences(some: Pairs) -> Figures:
        worst, tint = compare(some)
        return np.where((worst <= params.max_difference) & (tint <= params.max_tint), worst, np.inf)

    return *connecting(len(measured), pairs, differences), compare


def connecting(count: int, pairs: Pairs, test: Callable[[Pairs], Figures]) -> tuple[Pairs, Figures]:
    """Return copies, and what test says of them, that connect the same of count pictures as all would; few are tested.

    pairs: int64 (P, 2), sorted; test: float32 (P,) for some of them, infinite for those that are no copies. Those
    whose ends are connected already are left out: of k copies of one picture that are all pairs, k - 1 are tested, not
    k²/2. In rounds, because tests come cheaper together: one pair a picture at first, twice as many in each further
    round, so that many pairs that are no copies take few rounds.
    """
    found, differences = np.empty((0, 2), np.int64), np.empty(0, np.float32)
    most = 1
    while len(pairs):
        now = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0]) < most
        tested, pairs = pairs[now], pairs[~now]
        told = test(tested)
        same = np.isfinite(told)
        found, differences = np.concatenate([found, tested[same]]), np.concatenate([differences, told[same]])
        group = groups(count, found)
        pairs = pairs[group[pairs[:, 0]] != group[pairs[:, 1]]]
        most *= 2
    return found, differences


def _compare(pairs: tuple[Signatures, Signatures], limit: float) -> Figures:
    return np.stack(difference(*pairs, limit))


def _parts(pairs: Pairs, size: int) -> Iterator[Pairs]:
    for start in range(0, len(pairs), size):
        yield pairs[start : start + size]


def _signatures(images: pa.Table, folder: Path, workers: Workers) -> Signatures:
    """Return the signature of each of the images: uint8 (N, 32, 32, 3)."""
    rows: Rows = images["row"].to_numpy()
    shards = images["shard"].to_numpy()
    wanted = [(folder / name, frozenset(rows[shards == name].tolist())) for name in sorted(set(shards))]
    signatures = np.zeros((len(rows), SIDE, SIDE, 3), np.uint8)
    order = np.argsort(rows)
    for found, part in workers.map(
        sign_shard, wanted, label="filter: compare", sizes=[len(mine) for _, mine in wanted]
    ):
        signatures[order[np.searchsorted(rows, found, sorter=order)]] = part
    return signatures
