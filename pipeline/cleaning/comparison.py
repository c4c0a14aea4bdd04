"""Compare pairs of pictures on pixels, on all workers, and none twice: what they gave is kept for the next run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.cleaning.cache import read_cached, write_cached
from pipeline.cleaning.duplicates import Flags, Rows
from pipeline.cleaning.hashing import Pairs
from pipeline.cleaning.likeness import Figures, Signatures, difference, same_tones
from pipeline.workers import Workers

# Pairs compared in one go, and handed to the workers together: 25 MB of arrays each.
_SIGNATURES, _HANDED = 1 << 6, 1 << 12

_SCHEMA = pa.schema([("pair", pa.uint64()), ("worst", pa.float32()), ("tint", pa.float32())])

# How a link, (i, j, way), has picture j compared with picture i: a sum of these. Cleared: without the dots of both.
MIRRORED, RETONED, CLEARED = 1, 2, 4
# By such a further way, which pairs of positions are compared in it too.
Ways = Mapping[int, Callable[[Pairs], Flags]]


class Comparison:
    """Compares pictures that may have a copy by their signatures, and knows what was compared before."""

    def __init__(
        self,
        positions: Rows,
        ids: Sequence[str],
        signatures: Signatures,
        cleared: Rows,
        cached: Path,
        mirrored: bool,
        limit: float,
        workers: Workers,
    ) -> None:
        """Take the pictures' positions, int64 (C,), sorted, their ids and signatures, and the file of what is known.

        signatures: uint8 (C + D, 32, 32, 3), behind the pictures' own those without dots; cleared, int64 (C,): where
        each picture has the one to compare it by without dots.
        """
        self._positions = positions
        self._contents = np.array([int(content[:16], 16) for content in ids], np.uint64)
        self._signatures, self._cleared = signatures, cleared
        self._cached = cached
        self._mirrored = mirrored
        self._limit = limit
        self._workers = workers
        known = read_cached(cached, _SCHEMA)
        pairs, worst, tint = known.columns if known is not None else (pa.array([], pa.uint64()), [], [])
        self._known = np.asarray(pairs)
        self._figures = np.array([worst, tint], np.float32).reshape(2, -1)

    def smallest(self, pairs: Pairs, ways: Ways) -> Figures:
        """Return difference() of pairs of those positions, int64 (P, 2), in the way that makes it least: float32 (P,).

        ways: in which further ways which of them are compared.
        """
        upright, least = np.sort(pairs, axis=1), np.full(len(pairs), np.inf, np.float32)
        asked = [(0, np.ones(len(pairs), np.bool_)), *((way, applies(pairs)) for way, applies in ways.items())]
        for turned in (0, MIRRORED) if self._mirrored else (0,):
            for how, which in ((turned + way, which) for way, which in asked):
                links = np.insert(upright[which], 2, how, axis=1)
                least[which] = np.minimum(least[which], self(links)[0])
        return least

    def __call__(self, links: Pairs) -> tuple[Figures, Figures]:
        """Return difference() and tint, float32 (P,) each, of links between those positions, int64 (P, 3)."""
        places = np.column_stack([np.searchsorted(self._positions, links[:, :2]), links[:, 2]])
        pairs = _pair_keys(self._contents[places[:, 0]], self._contents[places[:, 1]], places[:, 2])
        new = ~np.isin(pairs, self._known)
        self._learn(pairs[new], self._compared(places[new]))
        worst, tint = self._figures[:, np.searchsorted(self._known, pairs)]
        return worst, tint

    def save(self) -> None:
        """Keep all that is known for the next run."""
        write_cached(pa.table([self._known, *self._figures], schema=_SCHEMA), self._cached)

    def _compared(self, places: Pairs) -> NDArray[np.float32]:
        without = places[:, 2] & CLEARED != 0
        places = places.copy()
        places[without, :2] = self._cleared[places[without, :2]]
        compare = partial(_compare, limit=self._limit)
        figures = [np.empty((2, 0), np.float32)]
        for handed in parts(places, _HANDED):
            some = [both_ends(self._signatures, part) for part in parts(handed, _SIGNATURES)]
            sizes = [len(first) for first, _ in some]
            figures += self._workers.map(compare, some, label="filter: compare pairs", sizes=sizes)
        return np.concatenate(figures, axis=1)

    def _learn(self, pairs: NDArray[np.uint64], figures: NDArray[np.float32]) -> None:
        known, first = np.unique(np.concatenate([self._known, pairs]), return_index=True)
        self._known, self._figures = known, np.concatenate([self._figures, figures], axis=1)[:, first]


def both_ends(pictures: Signatures, links: Pairs) -> tuple[Signatures, Signatures]:
    """Return the pictures (N, H, W, 3) at both ends of links, mirrored and toned alike where the link says so.

    Dots are not taken off them: a link that is CLEARED is to name pictures without.
    """
    first, second = pictures[links[:, 0]], pictures[links[:, 1]]
    mirrored, retoned = links[:, 2] & MIRRORED != 0, links[:, 2] & RETONED != 0
    second[mirrored] = second[mirrored][:, :, ::-1]
    first[retoned], second[retoned] = same_tones(first[retoned], second[retoned])
    return first, second


def parts(pairs: Pairs, size: int) -> Iterator[Pairs]:
    """Yield pairs, so many at a time."""
    for start in range(0, len(pairs), size):
        yield pairs[start : start + size]


def _compare(pairs: tuple[Signatures, Signatures], limit: float) -> NDArray[np.float32]:
    return np.stack(difference(*pairs, limit))


def _pair_keys(first: NDArray[np.uint64], second: NDArray[np.uint64], ways: Rows) -> NDArray[np.uint64]:
    """Return a number for each pair of contents that tells it from all others: uint64 (P,); the order counts."""
    return _mixed(_mixed(first) + second + ways.astype(np.uint64))


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread each number's bits over all 64: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    bits = (bits ^ bits >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ bits >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return bits ^ bits >> np.uint64(31)
