import numpy as np
import pytest

from pipeline.codec import decode
from pipeline.sources import damage

GREY = np.full((64, 64, 3), 128, np.uint8)


def damaged(kind: str, pixels: np.ndarray, seed: int = 0) -> np.ndarray:
    return decode(damage.DAMAGES[kind](pixels, np.random.default_rng(seed)), 10**6)


@pytest.fixture
def halves() -> np.ndarray:
    """Left half 60, right half 200."""
    pixels = np.full((64, 64, 3), 60, np.uint8)
    pixels[:, 32:] = 200
    return pixels


@pytest.mark.parametrize("seed", range(5))
def test_strengths_are_within_their_bounds(halves: np.ndarray, seed: int) -> None:
    assert 9 < damaged("gaussian_noise", GREY, seed).std() < 26
    assert 0.01 < (damaged("salt_pepper", GREY, seed) != 128).any(axis=2).mean() < 0.1
    assert damaged("dark", GREY, seed).mean() <= 255 * (128 / 255) ** 2.2 + 0.5
    assert damaged("bright", GREY, seed).mean() >= 255 * (128 / 255) ** 0.45 - 0.5
    assert 0.2 * 140 - 1 <= np.ptp(damaged("faded", halves, seed).astype(int)) <= 0.4 * 140 + 1
    assert 12 <= len(damaged("tiny", halves, seed)) <= 24


def test_blur_spreads_an_edge_and_leaves_the_rest(halves: np.ndarray) -> None:
    row = damaged("blur", halves)[32, :, 0].astype(int)
    assert (row[0], row[-1]) == (60, 200)
    assert 0 < row[32] - row[31] < 70


def test_same_generator_same_bytes() -> None:
    for kind, function in damage.DAMAGES.items():
        first, second = (function(GREY, np.random.default_rng(4)) for _ in range(2))
        assert first == second, kind
