"""Find the pairs that show the same picture: close hashes, then the same layout, then compared on pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.cleaning.cache import Cached
from pipeline.cleaning.comparison import Comparison, Ways, both_ends, parts
from pipeline.cleaning.duplicates import Flags, Rows, groups
from pipeline.cleaning.hashing import Hashes, Pairs, close_pairs
from pipeline.cleaning.inspect import read_signatures
from pipeline.cleaning.likeness import LAYOUT, SIDE, Signatures, layout_likeness
from pipeline.params import FilterParams
from pipeline.workers import Workers

# Pairs looked at in one go, so that memory does not grow with their number: 25 MB of arrays.
_LAYOUTS = 1 << 14


def close_links(hashes: Hashes, mirrored: Hashes, radius: int) -> Pairs:
    """Return the pairs of positions with close hashes, int64 (P, 3), sorted: i < j, and 1 if j has to be mirrored.

    mirrored: the hashes of the same pictures, mirrored; none, where such pairs are not looked for.
    """
    count = len(hashes)
    pairs = close_pairs(np.concatenate([hashes, mirrored]), radius)
    pairs = pairs[pairs[:, 0] < count]
    across = pairs[pairs[:, 1] >= count] % count
    across = np.sort(across[across[:, 0] != across[:, 1]], axis=1)
    upright = pairs[pairs[:, 1] < count]
    return np.unique(np.concatenate([np.insert(upright, 2, 0, axis=1), np.insert(across, 2, 1, axis=1)]), axis=0)


def find_copies(
    measured: pa.Table,
    among: Rows,
    ways: Ways,
    cached: Cached,
    params: FilterParams,
    workers: Workers,
) -> tuple[Pairs, Comparison]:
    """Return pairs of positions in measured whose images show the same picture, int64 (P, 2).

    They are enough to connect all copies of one picture, and need not be all pairs of them.

    measured: MEASURED_SCHEMA; among: the positions of the images to look at, which are readable, int64 (N,), sorted;
    ways: in which further ways which pairs are compared; cached: where the images' measures and comparisons are. The
    Comparison returned knows those with a close hash and the same layout as another.
    """
    upright, mirrored = (measured[name].take(among).to_numpy() for name in ("phash", "phash_mirrored"))
    pairs = close_links(upright, mirrored if params.mirrored else mirrored[:0], params.hash_distance)
    pairs[:, :2] = among[pairs[:, :2]]
    further = [pairs[applies(pairs[:, :2])] + [0, 0, way] for way, applies in ways.items()]
    pairs = np.unique(np.concatenate([pairs, *further]), axis=0)
    layouts = _layouts(measured["layout"].combine_chunks())
    alike = [np.zeros(0, np.bool_)]
    for part in parts(pairs, _LAYOUTS):
        correlation, tint = layout_likeness(*both_ends(layouts, part))
        alike.append((correlation >= params.min_layout) & (tint <= params.max_tint))
    pairs = pairs[np.concatenate(alike)]

    candidates = np.unique(pairs[:, :2])
    images = measured.take(candidates)
    signatures, cleared = _signatures(images, cached.measures, workers)
    compare = Comparison(
        candidates,
        images["id"].to_pylist(),
        signatures,
        cleared,
        cached.compared,
        params.mirrored,
        params.max_difference,
        workers,
    )

    def tested(some: Pairs) -> Flags:
        worst, tint = compare(some)
        return (worst <= params.max_difference) & (tint <= params.max_tint)

    return connecting(len(measured), pairs, tested)[:, :2], compare


def connecting(count: int, pairs: Pairs, test: Callable[[Pairs], Flags]) -> Pairs:
    """Return pairs of copies that connect the same of count pictures as all such pairs would; few are tested.

    pairs: int64 (P, 2) or close_links(), sorted; test: which of some of them are copies, bool (P,). Those whose ends
    are connected already are left out: of k copies of one picture that are all pairs, k - 1 are tested, not k²/2. In
    rounds, because tests come cheaper together: one pair a picture at first, twice as many in each further round, so
    that many pairs that are no copies take few rounds.
    """
    found = pairs[:0]
    most = 1
    while len(pairs):
        now = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0]) < most
        some, pairs = pairs[now], pairs[~now]
        found = np.concatenate([found, some[test(some)]])
        group = groups(count, found[:, :2])
        pairs = pairs[group[pairs[:, 0]] != group[pairs[:, 1]]]
        most *= 2
    return found


def _layouts(column: pa.FixedSizeBinaryArray) -> Signatures:
    """Return layouts, whatever where they are null, as uint8 (N, 6, 6, 3), in the memory that they are in."""
    held = np.frombuffer(column.buffers()[1], np.uint8).reshape(-1, LAYOUT, LAYOUT, 3)
    return held[column.offset : column.offset + len(column)]


def _signatures(images: pa.Table, cached: Mapping[str, Path], workers: Workers) -> tuple[Signatures, Rows]:
    """Return the signatures of the images, uint8 (N + D, 32, 32, 3), and where in it each is without dots: int64 (N,).

    The D last ones are without dots; an image that has none is there once.
    """
    rows: Rows = images["row"].to_numpy()
    shards = images["shard"].combine_chunks().dictionary_encode()
    numbers = shards.indices.to_numpy()
    order = np.argsort(numbers, kind="stable")
    places = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1) if len(order) else []
    wanted = [(cached[shards[int(mine[0])].as_py()], rows[mine]) for mine in places]
    # As large as it may become: memory is taken for what is written alone.
    signatures, cleared, count = np.zeros((2 * len(rows), SIDE, SIDE, 3), np.uint8), np.arange(len(rows)), len(rows)
    read = workers.map(read_signatures, wanted, label="filter: compare", sizes=[len(mine) for mine in places])
    for mine, (part, without_dots, dotted) in zip(places, read, strict=True):
        signatures[mine] = part
        ends = count + len(without_dots)
        signatures[count:ends], cleared[mine[dotted]] = without_dots, np.arange(count, ends)
        count = ends
    return signatures[:count], cleared
