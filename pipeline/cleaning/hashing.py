"""Perceptual hashes, and all pairs of them that are close, without comparing each with each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import scipy.fftpack
from numpy.typing import NDArray
from PIL import Image

from pipeline.codec import Pixels

Hashes = NDArray[np.uint64]
Pairs = NDArray[np.int64]


def thumbnail(pixels: Pixels) -> NDArray[np.uint8]:
    """Return what phash looks at: luma uint8 (32, 32), by Pillow's own conversion and filter, as imagehash does."""
    image = Image.fromarray(pixels).convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    return np.asarray(image, np.uint8)


def phash(thumbnails: NDArray[np.uint8]) -> Hashes:
    """Return the 64 bits of imagehash.phash for each thumbnail, bit for bit: uint8 (N, 32, 32) to uint64 (N,).

    The lowest 8×8 frequencies, compared with their median; the first is the highest bit.
    """
    frequencies = scipy.fftpack.dct(scipy.fftpack.dct(thumbnails, axis=1), axis=2)[:, :8, :8].reshape(-1, 64)
    bits = frequencies > np.median(frequencies, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64).reshape(-1)


_CHUNKS, _CHUNK_BITS = 4, 16

# Pairs looked at in one go: 32 MB of indices.
_BLOCK = 1 << 21


def close_pairs(hashes: Hashes, radius: int) -> Pairs:
    """Return all pairs of hashes that differ in at most radius of 64 bits, as int64 (P, 2), i < j, sorted.

    Multi-index hashing (Norouzi, Punjani and Fleet, "Fast Exact Search in Hamming Space with Multi-Index Hashing",
    2014): two hashes that differ in r bits differ in at most r // 4 bits of one of their four quarters, so each is
    looked up by its quarters with up to that many bits flipped. Exact, and nearly linear while hashes are spread out.
    """
    found = [np.empty(0, np.int64)]
    for chunk in range(_CHUNKS):
        keys = (hashes >> np.uint64(chunk * _CHUNK_BITS)).astype(np.uint16)
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange(2**_CHUNK_BITS + 1))
        for flipped in _flips(radius // _CHUNKS):
            probe = (keys ^ np.uint16(flipped)).astype(np.intp)
            for left, right in _matches(order, starts[probe], starts[probe + 1]):
                near = (left < right) & (np.bitwise_count(hashes[left] ^ hashes[right]) <= radius)
                found.append(left[near] * len(hashes) + right[near])
    codes = np.unique(np.concatenate(found))
    return np.stack([codes // max(len(hashes), 1), codes % max(len(hashes), 1)], axis=1)


def _flips(bits: int) -> Iterator[int]:
    """Yield every pattern of 16 bits with at most that many set."""
    for count in range(bits + 1):
        for positions in combinations(range(_CHUNK_BITS), count):
            yield sum(1 << position for position in positions)


def _matches(
    order: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (i, order[k]) for each i and k from first[i] to last[i], some millions at a time."""
    rows = np.nonzero(last > first)[0]
    counts = (last - first)[rows]
    ends = np.cumsum(counts)
    at = 0
    while at < len(rows):
        done = ends[at - 1] if at else 0
        to = max(int(np.searchsorted(ends, done + _BLOCK, side="right")), at + 1)
        block, count = rows[at:to], counts[at:to]
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        yield np.repeat(block, count), order[np.repeat(first[block], count) + within]
        at = to
