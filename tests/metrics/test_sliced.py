from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from pipeline.metrics.distances import frechet
from pipeline.metrics.sliced import DIRECTIONS, sliced_wasserstein


def normal(count: int, width: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1.0, (count, width)).astype(np.float32)


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """One direction at a time, by scipy."""
    directions = np.random.default_rng(0).normal(size=(x.shape[1], DIRECTIONS)).T
    units = [direction / np.linalg.norm(direction) for direction in directions]
    return float(np.mean([wasserstein_distance(x.astype(float) @ unit, y.astype(float) @ unit) for unit in units]))


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [
        pytest.param([0, 1, 2], [5, 3, 4], 3.0, id="shifted"),
        pytest.param([0, 0], [-1, 1], 1.0, id="spread"),
        # The quantile functions are 0 and 0, 1 below and above a half; 1 and 1, 1, 4 differ by 3 on the last third.
        pytest.param([0], [0, 1], 0.5, id="one and two"),
        pytest.param([1, 1], [1, 4, 1], 1.0, id="two and three"),
        pytest.param([7, 7, 7], [7, 7], 0.0, id="all alike"),
    ],
)
def test_on_a_line_by_hand(real: list[float], fake: list[float], expected: float) -> None:
    # In one dimension each direction is the line itself, one way or the other.
    x, y = (np.array(values, np.float32)[:, None] for values in (real, fake))
    assert sliced_wasserstein(x, y)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("n", "m", "width"),
    [
        pytest.param(30, 30, 4, id="equal"),
        pytest.param(20, 33, 4, id="unequal"),
        pytest.param(24, 36, 3, id="common steps"),
        pytest.param(3, 5, 20, id="fewer samples than dimensions"),
    ],
)
def test_equals_its_definition(n: int, m: int, width: int) -> None:
    x, y = normal(n, width, 1), 2 * normal(m, width, 2, shift=0.5)
    assert sliced_wasserstein(x, y)[0] == pytest.approx(by_definition(x, y), rel=1e-9)


def test_a_shift_in_closed_form() -> None:
    # A shift by t moves each shadow by |t·u|, whose mean over unit u in three dimensions is |t| / 2.
    x = normal(50, 3, 1)
    assert sliced_wasserstein(x, x + np.float32([0, 0, 4]))[0] == pytest.approx(2.0, rel=0.05)


def test_equal_sets_in_any_order_are_no_distance_apart() -> None:
    x = normal(40, 60, 1)
    assert sliced_wasserstein(x, x[::-1])[0] == pytest.approx(0.0, abs=1e-12)
    assert sliced_wasserstein(np.repeat(x, 3, axis=0), x)[0] == pytest.approx(0.0, abs=1e-12)


def test_sees_what_the_frechet_distance_does_not() -> None:
    # Both have mean 0 and variance 1; half of the quantiles differ by √1.5 - 1, the others by 1 - √0.5.
    two = np.float32([-1, -1, 1, 1])[:, None]
    four = np.sqrt(np.float32([1.5, 0.5, 0.5, 1.5]))[:, None] * np.float32([-1, -1, 1, 1])[:, None]
    assert frechet(two, four)[0] == pytest.approx(0.0, abs=1e-6)
    assert sliced_wasserstein(two, four)[0] == pytest.approx((1.5**0.5 - 0.5**0.5) / 2, rel=1e-6)
