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
    ours = phash(np.stack([thumbnail(picture) for picture in pictures]))
    theirs = [str(imagehash.phash(Image.fromarray(picture))) for picture in pictures]
    assert [f"{bits:016x}" for bits in ours.tolist()] == theirs


def brute_force(hashes, radius):
    return [
        [i, j]
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if int(hashes[i] ^ hashes[j]).bit_count() <= radius
    ]


@pytest.mark.parametrize("radius", [0, 3, 4, 10, 12])
def test_close_pairs_are_all_pairs_within_the_radius(radius):
    rng = np.random.default_rng(radius)
    hashes = rng.integers(0, 2**63, 150).astype(np.uint64)
    for at in range(0, 150, 3):
        flips = rng.choice(64, size=rng.integers(0, 14), replace=False)
        hashes[at + 1] = hashes[at] ^ np.bitwise_or.reduce(
            np.uint64(1) << flips.astype(np.uint64), initial=np.uint64(0)
        )
    expected = brute_force(hashes, radius)
    assert len(expected) > 0
    assert close_pairs(hashes, radius).tolist() == expected


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_hashes_have_no_pairs(count):
    assert close_pairs(np.zeros(count, np.uint64), 10).shape == (0, 2)


def test_pairs_are_found_across_blocks(monkeypatch):
    monkeypatch.setattr(hashing, "_BLOCK", 100)
    assert len(close_pairs(np.zeros(60, np.uint64), 4)) == 60 * 59 // 2
