from __future__ import annotations

import imagehash
import numpy as np
import pytest
from PIL import Image

from pipeline.cleaning import hashing
from pipeline.cleaning.hashing import close_pairs, phash, thumbnail


def test_phash_is_imagehash_bit_for_bit(face):
    rng = np.random.default_rng(0)
    pictures = [face(seed) for seed in range(40)]
    pictures += [rng.integers(0, 256, (int(h), int(w), 3)).astype(np.uint8) for h, w in rng.integers(1, 200, (40, 2))]
    pictures += [np.full((50, 50, 3), level, np.uint8) for level in (0, 77, 255)]
    pictures += [np.tile(np.arange(96, dtype=np.uint8)[:, None, None], (1, 96, 3))]
    hashes = phash(np.stack([thumbnail(picture) for picture in pictures]))
    ours, ours_mirrored = ([f"{bits:016x}" for bits in some.tolist()] for some in hashes)
    assert ours == [str(imagehash.phash(Image.fromarray(picture))) for picture in pictures]
    assert ours_mirrored == [str(_phash_of(np.asarray(thumbnail(picture)[:, ::-1]))) for picture in pictures]


def _phash_of(mirrored):
    return imagehash.phash(Image.fromarray(np.ascontiguousarray(mirrored)))


def brute_force(hashes, radius):
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    return np.argwhere(np.triu(apart <= radius, 1))


def flipped(hashes, rng, most):
    """Return the hashes, each with up to that many of its bits flipped."""
    bits = np.argsort(rng.random((len(hashes), 64)), axis=1) < rng.integers(0, most + 1, (len(hashes), 1))
    return hashes ^ np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def spread(rng, count):
    return rng.integers(0, 2**64, count, dtype=np.uint64)


def copies(rng, count):
    return flipped(rng.choice(spread(rng, count // 5), count), rng, 10)


def one_cluster(rng, count):
    return flipped(np.repeat(spread(rng, 1), count), rng, 6)


def few_low_bits(rng, count):
    return rng.integers(0, 64, count, dtype=np.uint64)


def one_chunk_differs(rng, count):
    """All that sets these apart is in 16 neighbouring bits: the other chunks are equal, and every pair meets there."""
    return rng.integers(0, 2**16, count, dtype=np.uint64) << np.uint64(24)


@pytest.mark.parametrize("many", [0, 1 << 16], ids=["three chunks", "four chunks"])
@pytest.mark.parametrize("radius", range(17))
@pytest.mark.parametrize("drawn", [spread, copies, one_cluster, few_low_bits, one_chunk_differs])
def test_close_pairs_are_all_pairs_within_the_radius(monkeypatch, drawn, radius, many):
    monkeypatch.setattr(hashing, "_MANY", many)
    monkeypatch.setattr(hashing, "_ROWS", 50)
    monkeypatch.setattr(hashing, "_BLOCK", 1000)
    # With three chunks and a large radius, thousands of flips are looked up in blocks this small: fewer hashes there.
    hashes = drawn(np.random.default_rng(radius), 60 if many == 0 and radius > 9 else 200)
    assert close_pairs(hashes, radius).tolist() == brute_force(hashes, radius).tolist()


@pytest.mark.parametrize("many", [0, 1 << 16], ids=["three chunks", "four chunks"])
@pytest.mark.parametrize("radius", [0, 1, 8, 10, 11])
def test_the_radius_itself_is_within(monkeypatch, radius, many):
    monkeypatch.setattr(hashing, "_MANY", many)
    rng = np.random.default_rng(0)
    for _ in range(20):
        order = rng.permutation(64).astype(np.uint64)
        start = spread(rng, 1)[0]
        at, beyond = (start ^ np.bitwise_or.reduce(np.uint64(1) << order[:n], initial=0) for n in (radius, radius + 1))
        assert close_pairs(np.array([start, at]), radius).tolist() == [[0, 1]]
        assert close_pairs(np.array([beyond, start]), radius).tolist() == []


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_hashes_have_no_pairs(count):
    pairs = close_pairs(np.zeros(count, np.uint64), 10)
    assert pairs.shape == (0, 2)
    assert pairs.dtype == np.int64


@pytest.mark.parametrize("level", [0, 2**64 - 1])
@pytest.mark.parametrize("block", [100, 1 << 18])
def test_equal_hashes_are_all_pairs_across_blocks(monkeypatch, block, level):
    monkeypatch.setattr(hashing, "_BLOCK", block)
    pairs = close_pairs(np.full(60, level, np.uint64), 4)
    assert pairs.tolist() == [[i, j] for i in range(60) for j in range(i + 1, 60)]
