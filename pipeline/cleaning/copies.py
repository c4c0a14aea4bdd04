"""Find the pairs that show the same picture: close hashes, then the same layout, then compared on pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.cleaning.cache import Cached
from pipeline.cleaning.comparison import Comparison, both_ends, parts
from pipeline.cleaning.duplicates import Rows, groups
from pipeline.cleaning.hashing import Pairs, close_pairs
from pipeline.cleaning.inspect import read_signatures
from pipeline.cleaning.likeness import LAYOUT, SIDE, Figures, Signatures, layout_likeness
from pipeline.params import FilterParams
from pipeline.workers import Workers

# Pairs looked at in one go, so that memory does not grow with their number: 100 MB of arrays.
_LAYOUTS = 1 << 16


def close_links(measured: pa.Table, radius: int, mirrored: bool) -> Pairs:
    """Return the pairs of positions with close hashes, int64 (P, 3), sorted: i < j, and 1 if j has to be mirrored.

    measured: MEASURED_SCHEMA. Mirrored pictures are looked for where mirrored is on.
    """
    hashes, count = measured["phash"].to_numpy(), len(measured)
    found = np.insert(close_pairs(hashes, radius), 2, 0, axis=1)
    if not mirrored:
        return found
    pairs = close_pairs(np.concatenate([hashes, measured["phash_mirrored"].to_numpy()]), radius)
    across = pairs[(pairs[:, 0] < count) & (pairs[:, 1] >= count)] % count
    across = np.sort(across[across[:, 0] != across[:, 1]], axis=1)
    return np.unique(np.concatenate([found, np.insert(across, 2, 1, axis=1)]), axis=0)


def find_copies(
    measured: pa.Table, cached: Cached, params: FilterParams, workers: Workers
) -> tuple[Pairs, Figures, Comparison]:
    """Return pairs of images that show the same picture, int64 (P, 2), and their difference(), float32 (P,).

    They are enough to connect all copies of one picture, and need not be all pairs of them.

    measured: readable images, MEASURED_SCHEMA; cached: where they are cached. The Comparison returned knows all images
    with a close hash and the same layout as another.
    """
    pairs = close_links(measured, params.hash_distance, params.mirrored)
    layouts = np.frombuffer(b"".join(measured["layout"].to_pylist()), np.uint8).reshape(-1, LAYOUT, LAYOUT, 3)
    alike = [np.zeros(0, np.bool_)]
    for part in parts(pairs, _LAYOUTS):
        correlation, tint = layout_likeness(*both_ends(layouts, part))
        alike.append((correlation >= params.min_layout) & (tint <= params.max_tint))
    pairs = pairs[np.concatenate(alike)]

    candidates = np.unique(pairs[:, :2])
    images = measured.take(candidates)
    signatures = _signatures(images, cached.measures, workers)
    compare = Comparison(
        candidates,
        images["id"].to_pylist(),
        signatures,
        cached.compared,
        params.mirrored,
        params.max_difference,
        workers,
    )

    def tested(some: Pairs) -> Figures:
        worst, tint = compare(some)
        return np.where((worst <= params.max_difference) & (tint <= params.max_tint), worst, np.inf)

    found, differences = connecting(len(measured), pairs, tested)
    return found[:, :2], differences, compare


def connecting(count: int, pairs: Pairs, test: Callable[[Pairs], Figures]) -> tuple[Pairs, Figures]:
    """Return copies, and what test says of them, that connect the same of count pictures as all would; few are tested.

    pairs: int64 (P, 2) or close_links(), sorted; test: float32 (P,) for some of them, infinite for those that are no
    copies. Those whose ends are connected already are left out: of k copies of one picture that are all pairs, k - 1
    are tested, not k²/2. In rounds, because tests come cheaper together: one pair a picture at first, twice as many in
    each further round, so that many pairs that are no copies take few rounds.
    """
    found, differences = pairs[:0], np.empty(0, np.float32)
    most = 1
    while len(pairs):
        now = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0]) < most
        some, pairs = pairs[now], pairs[~now]
        told = test(some)
        same = np.isfinite(told)
        found, differences = np.concatenate([found, some[same]]), np.concatenate([differences, told[same]])
        group = groups(count, found[:, :2])
        pairs = pairs[group[pairs[:, 0]] != group[pairs[:, 1]]]
        most *= 2
    return found, differences


def _signatures(images: pa.Table, cached: Mapping[str, Path], workers: Workers) -> Signatures:
    """Return the signature of each of the images: uint8 (N, 32, 32, 3)."""
    rows: Rows = images["row"].to_numpy()
    shards = images["shard"].combine_chunks().dictionary_encode()
    numbers = shards.indices.to_numpy()
    order = np.argsort(numbers, kind="stable")
    places = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1) if len(order) else []
    wanted = [(cached[shards[int(mine[0])].as_py()], rows[mine]) for mine in places]
    signatures = np.zeros((len(rows), SIDE, SIDE, 3), np.uint8)
    read = workers.map(read_signatures, wanted, label="filter: compare", sizes=[len(mine) for mine in places])
    for mine, part in zip(places, read, strict=True):
        signatures[mine] = part
    return signatures
