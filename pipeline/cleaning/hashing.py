"""Perceptual hashes, and all pairs of them that are close, without comparing each with each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np
import scipy.fftpack
import scipy.sparse
from numpy.typing import NDArray
from PIL import Image

from pipeline.codec import Pixels

Hashes = NDArray[np.uint64]
Pairs = NDArray[np.int64]
Places = NDArray[np.int64] | NDArray[np.int32]


def thumbnail(pixels: Pixels) -> NDArray[np.uint8]:
    """Return what phash looks at: luma uint8 (32, 32), by Pillow's own conversion and filter, as imagehash does."""
    image = Image.fromarray(pixels).convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    return np.asarray(image, np.uint8)


def phash(thumbnails: NDArray[np.uint8]) -> tuple[Hashes, Hashes]:
    """Return the 64 bits of imagehash.phash for each thumbnail, bit for bit, and for each one mirrored.

    uint8 (N, 32, 32) to two uint64 (N,). The lowest 8×8 frequencies, compared with their median; the first is the
    highest bit.
    """
    down = scipy.fftpack.dct(thumbnails, axis=1)[:, :8]
    upright, mirrored = (_bits(scipy.fftpack.dct(way, axis=2)[:, :, :8]) for way in (down, down[:, :, ::-1]))
    return upright, mirrored


def _bits(frequencies: NDArray[np.float64]) -> Hashes:
    rows = frequencies.reshape(-1, 64)
    bits = rows > np.median(rows, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64).reshape(-1)


# From this many hashes on, three chunks of 21 or 22 bits: more flips to look up than with four of 16, but each look-up
# meets a sixtieth of the strangers, whose number grows with the square.
_MANY = 1 << 16

# Looked up in one go: so many neighbouring keys that what they meet stays in the processor's second cache, and so many
# look-ups, or pairs compared, that numpy's own cost for a call is small. 2 MB for each array of them.
_ROWS, _BLOCK = 1 << 13, 1 << 18


def close_pairs(hashes: Hashes, radius: int) -> Pairs:
    """Return all pairs of hashes that differ in at most radius of 64 bits, as int64 (P, 2), i < j, sorted.

    Multi-index hashing (Norouzi, Punjani and Fleet, "Fast Exact Search in Hamming Space with Multi-Index Hashing",
    2014): of hashes that differ in radius = m·r + a bits, one of m chunks differs in at most r bits, and more: one of
    the first a + 1 chunks in at most r, or one of the others in at most r - 1. So the hashes are sorted by each chunk
    in turn, and looked up with up to that many of its bits flipped. Exact; memory is 25 bytes a pair, 100 a hash.
    """
    chunks = 3 if len(hashes) >= _MANY else 4
    limits = [radius // chunks - (chunk > radius % chunks) for chunk in range(chunks)]
    bounds = [64 * chunk // chunks for chunk in range(chunks + 1)]
    masks = [np.uint64((1 << end) - (1 << start)) for start, end in pairwise(bounds)]
    found = [np.empty((2, 0), np.int32)]
    for chunk in range(chunks):
        keys = ((hashes & masks[chunk]) >> np.uint64(bounds[chunk])).astype(np.int32)
        order = np.argsort(keys, kind="stable").astype(np.int32)
        keys, ordered = keys.take(order), hashes.take(order)
        for left, first, last in _meetings(keys, bounds[chunk + 1] - bounds[chunk], limits[chunk]):
            for one, other, apart in _near(ordered, left, first, last, radius):
                # What an earlier chunk has found already is left out here, which is cheaper than np.unique at the end.
                new = np.ones(len(apart), np.bool_)
                for mask, limit in zip(masks[:chunk], limits, strict=False):
                    new &= np.bitwise_count(apart & mask).view(np.int8) > limit
                one, other = order.take(one.compress(new)), order.take(other.compress(new))
                found.append(np.stack([np.minimum(one, other), np.maximum(one, other)]))
    # Sorted as the places of a sparse matrix are, by column and then by row: linear, where a sort of the pairs is not.
    low, high = np.concatenate(found, axis=1)
    matrix = scipy.sparse.coo_array((np.ones(len(low), np.bool_), (low, high)), shape=(len(hashes), len(hashes)))
    del found, low, high
    matrix.has_canonical_format = True  # no pair is there twice
    matrix = matrix.tocsc()
    matrix = matrix.tocsr()
    return np.stack(matrix.tocoo(copy=False).coords, axis=1, dtype=np.int64)


def _meetings(keys: NDArray[np.int32], bits: int, limit: int) -> Iterator[tuple[Places, Places, Places]]:
    """Yield which sorted keys have others at most limit of their bits away: places, and from where to where.

    No range is empty, and each two places meet once: a flip is looked up from the keys whose highest flipped bit is 0.
    """
    if limit < 0:
        return
    starts = np.zeros(2**bits + 1, np.int32)
    np.cumsum(np.bincount(keys, minlength=2**bits), out=starts[1:])
    occupied = starts[1:] > starts[:-1]
    places = np.flatnonzero(keys[1:] == keys[:-1])
    yield places, places + 1, starts[keys[places] + 1]
    for top in range(bits if limit else 0):
        flips = np.array(_flips(top, limit))
        clear = np.flatnonzero(keys >> top & 1 == 0)
        for start in range(0, len(clear), _ROWS):
            rows = clear[start : start + _ROWS]
            below = keys[rows].astype(np.int64)
            step = max(1, _BLOCK // len(rows))
            for at in range(0, len(flips), step):
                probes = (below ^ flips[at : at + step, None]).reshape(-1)
                hits = np.flatnonzero(occupied.take(probes))
                probes = probes.take(hits)
                yield rows.take(hits - hits // len(rows) * len(rows)), starts.take(probes), starts.take(probes + 1)


def _flips(top: int, limit: int) -> list[int]:
    """Return every pattern with the bit top, no higher one, and at most limit bits in all."""
    return [
        sum((1 << bit for bit in lower), 1 << top)
        for count in range(limit)
        for lower in combinations(range(top), count)
    ]


def _near(
    ordered: Hashes, left: Places, first: Places, last: Places, radius: int
) -> Iterator[tuple[Places, Places, Hashes]]:
    """Yield those left[i] and k, k from first[i] to last[i], whose hashes are close, and the bits that differ.

    Most ranges hold one hash: all the first ones are compared at once, then what is left of the longer ranges.
    """
    apart = ordered.take(left) ^ ordered.take(first)
    near = np.flatnonzero(np.bitwise_count(apart) <= radius)
    yield left.take(near), first.take(near), apart.take(near)
    longer = np.flatnonzero(last > first + 1)
    left, last = left.take(longer), last.take(longer)
    counts = last - first.take(longer) - 1
    ends = np.cumsum(counts)
    shifts = last - ends
    at = 0
    while at < len(left):
        done = ends[at - 1] if at else 0
        to = max(int(np.searchsorted(ends, done + _BLOCK, side="right")), at + 1)
        ranges = np.repeat(np.arange(at, to), counts[at:to])
        right = np.arange(done, ends[to - 1]) + shifts.take(ranges)
        apart = ordered.take(left.take(ranges)) ^ ordered.take(right)
        near = np.flatnonzero(np.bitwise_count(apart) <= radius)
        yield left.take(ranges.take(near)), right.take(near), apart.take(near)
        at = to
