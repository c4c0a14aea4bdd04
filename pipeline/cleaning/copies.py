"""Find the pairs that show the same picture: close hashes, then the same layout, then compared on pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.cleaning.duplicates import Rows
from pipeline.cleaning.hashing import Pairs, close_pairs
from pipeline.cleaning.inspect import sign_shard
from pipeline.cleaning.likeness import LAYOUT, SIDE, Figures, Signatures, difference, layout_likeness
from pipeline.params import FilterParams
from pipeline.workers import Workers

# Pairs looked at in one go, so that memory does not grow with their number: 100 MB of arrays for either.
_LAYOUTS, _SIGNATURES = 1 << 16, 1 << 8


def find_copies(
    measured: pa.Table, folder: Path, params: FilterParams, workers: Workers
) -> tuple[Pairs, NDArray[np.float64]]:
    """Return the pairs of images that show the same picture, int64 (P, 2), and their difference(), float64 (P,).

    measured: readable images, MEASURED_SCHEMA, of the raw shards in folder. Only those with a close hash and the same
    layout are decoded again.
    """
    pairs = close_pairs(measured["phash"].to_numpy(), params.hash_distance)
    layouts = np.frombuffer(b"".join(measured["layout"].to_pylist()), np.uint8).reshape(-1, LAYOUT, LAYOUT, 3)
    likeness = [layout_likeness(layouts[part[:, 0]], layouts[part[:, 1]]) for part in _parts(pairs, _LAYOUTS)]
    correlation, tint = _joined(likeness)
    pairs = pairs[(correlation >= params.min_layout) & (tint <= params.max_tint)]

    candidates = np.unique(pairs)
    signatures = _signatures(measured.take(candidates), folder, workers)
    places = np.searchsorted(candidates, pairs)
    compared = [
        difference(signatures[part[:, 0]], signatures[part[:, 1]], params.max_difference)
        for part in _parts(places, _SIGNATURES)
    ]
    worst, tint = _joined(compared)
    same = (worst <= params.max_difference) & (tint <= params.max_tint)
    return pairs[same], worst[same]


def _joined(parts: list[tuple[Figures, Figures]]) -> list[NDArray[np.float64]]:
    return [np.concatenate([np.zeros(0), *(part[at] for part in parts)]) for at in range(2)]


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
