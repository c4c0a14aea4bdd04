from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.linalg

from pipeline.metrics.distances import FAKE, REAL, frechet, kid
from tests.metrics.fresh_sets import ALIKE, APART, FEW, Draw, compare

Make = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def normal(count: int, width: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(shift, 1.0, (count, width))).astype(np.float32)


def kid_by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """Bińkowski et al. 2018, equation 4, one pair at a time."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1.0) ** 3)

    def within(z: np.ndarray) -> float:
        pairs = [kernel(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]
        return sum(pairs) / len(pairs)

    return within(x) + within(y) - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))


def test_kid_by_hand() -> None:
    # All of x is (0), all of y is (1): k(0, 0) = 1, k(1, 1) = 8, k(0, 1) = 1, so 1 + 8 - 2 = 7, in every half too.
    assert kid(np.zeros((4, 1), np.float32), np.ones((6, 1), np.float32), 5, 0) == (7.0, 0.0)


@pytest.mark.parametrize(
    ("n", "m"), [pytest.param(7, 12, id="unequal"), pytest.param(4, 4, id="fewest"), pytest.param(9, 5, id="odd")]
)
def test_kid_equals_its_definition(n: int, m: int) -> None:
    x, y = normal(n, 3, 1), normal(m, 3, 2, shift=0.5)
    expected = kid_by_definition(x.astype(np.float64), y.astype(np.float64))
    assert kid(x, y, 3, 0)[0] == pytest.approx(expected, rel=1e-12)


DEGENERATE = [
    pytest.param(lambda x, _: (x, x), id="identical sets"),
    pytest.param(lambda x, _: (x, x + 1), id="identical but for a shift"),
    pytest.param(lambda x, y: (x, np.ones_like(y)), id="all fakes alike"),
    pytest.param(lambda x, y: (x * [1, 1, 0, 0, 0, 0], y * [1, 1, 1, 0, 0, 0]), id="constant features"),
    pytest.param(lambda x, y: (x[:4], y[:5]), id="fewer samples than dimensions"),
    pytest.param(lambda x, y: (np.tile(x, 2), np.tile(y, 2)), id="features twice"),
]


@pytest.mark.parametrize("make", DEGENERATE)
def test_kid_of_degenerate_sets_equals_its_definition(make: Make) -> None:
    x, y = make(normal(12, 6, 1).astype(np.float64), normal(9, 6, 2, shift=0.5).astype(np.float64))
    assert kid(x, y, 3, 0)[0] == pytest.approx(kid_by_definition(x, y), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("make", DEGENERATE)
def test_frechet_of_degenerate_sets_is_within_a_thousandth_of_the_trace(make: Make) -> None:
    x, y = make(normal(12, 6, 1).astype(np.float64), normal(9, 6, 2, shift=0.5).astype(np.float64))
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    # FID's own code lifts a covariance without full rank so, lest the matrix root fail.
    lift = 1e-8 * np.eye(len(cov_x))
    root = scipy.linalg.sqrtm((cov_x + lift) @ (cov_y + lift)).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root)
    assert frechet(x, y)[0] == pytest.approx(expected, abs=1e-3 * np.trace(cov_x + cov_y))


def test_kid_does_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(50, 4, 1), normal(30, 4, 2)
    whole = kid(x, y, 4, 0)
    monkeypatch.setattr("pipeline.metrics.distances.ROWS", 7)
    assert kid(x, y, 4, 0) == pytest.approx(whole, rel=1e-9)


def test_kid_repeats_for_a_seed_and_its_value_needs_none() -> None:
    x, y = normal(40, 4, 1), normal(40, 4, 2)
    assert kid(x, y, 10, 3) == kid(x, y, 10, 3)
    value, error = kid(x, y, 10, 4)
    assert value == kid(x, y, 10, 3)[0]
    assert error != kid(x, y, 10, 3)[1]


def test_kid_standard_error_is_the_deviation_over_halves_of_both_sets() -> None:
    x, y = normal(9, 3, 1).astype(np.float64), normal(12, 3, 2, shift=0.5).astype(np.float64)

    def halves_of(count: int, role: int) -> list[np.ndarray]:
        rng = np.random.default_rng((5, role))
        return [rng.choice(count, count // 2, replace=False) for _ in range(4)]

    of_x, of_y = halves_of(9, REAL), halves_of(12, FAKE)
    halves = [kid_by_definition(x[some], y[others]) for some, others in zip(of_x, of_y, strict=True)]
    assert kid(x, y, 4, 5)[1] == pytest.approx(np.std(halves, ddof=1), rel=1e-12)


def test_kid_standard_error_is_the_spread_over_fresh_sets() -> None:
    runs = [kid(normal(100, 8, 2 * seed), normal(300, 8, 2 * seed + 1, shift=0.4), 40, seed) for seed in range(60)]
    values, errors = np.array(runs).T
    # The spread of 60 draws is itself known to 10 %.
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.3)


@pytest.mark.parametrize(
    ("count", "width"), [pytest.param(400, 16, id="more samples"), pytest.param(60, 50, id="barely full rank")]
)
def test_frechet_equals_the_matrix_root(count: int, width: int) -> None:
    x, y = normal(count, width, 1).astype(np.float64), 2 * normal(count + 30, width, 2, shift=0.3).astype(np.float64)
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(cov_x @ cov_y).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x + cov_y - 2 * root)
    assert frechet(x, y)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("count", [pytest.param(8, id="more samples"), pytest.param(3, id="fewer samples")])
def test_frechet_of_two_gaussians_in_closed_form(count: int) -> None:
    # Scaling by s and shifting by t give: |t|² + (1 - s)² tr Σ, in any rank.
    x = normal(count, 5, 1)
    spread = np.trace(np.cov(x.astype(np.float64), rowvar=False))
    assert frechet(x, 3 * x)[0] == pytest.approx(4 * spread + (2 * x.mean(0).astype(float)) @ (2 * x.mean(0)))
    assert frechet(x, x + np.float32(2))[0] == pytest.approx(5 * 4, rel=1e-5)


def test_frechet_with_fewer_samples_than_dimensions() -> None:
    # Orthogonal one-dimensional spreads share nothing: the root vanishes and both variances, 2 and 8, remain.
    x = np.zeros((2, 10), np.float32)
    y = np.zeros((2, 10), np.float32)
    x[:, 0], y[:, 1] = (-1, 1), (-2, 2)
    assert frechet(x, y)[0] == pytest.approx(10)


@pytest.mark.parametrize("fill", [pytest.param(0.0, id="zeros"), pytest.param(3.0, id="all alike")])
def test_degenerate_sets_give_finite_numbers(fill: float) -> None:
    same = np.full((6, 4), fill, np.float32)
    assert kid(same, same, 5, 0) == pytest.approx((0.0, 0.0), abs=1e-9)
    assert frechet(same, same)[0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("draw", "low", "high"),
    [
        pytest.param(APART, 0.85, 1.2, id="apart"),
        pytest.param(ALIKE, 0.9, 2.0, id="alike"),
        pytest.param(FEW, 0.85, 1.3, id="fewer images than dimensions"),
    ],
)
def test_frechet_error_is_the_spread_over_fresh_sets(draw: Draw, low: float, high: float) -> None:
    assert low < compare(draw, lambda x, y: frechet(x, y)[0], lambda x, y: frechet(x, y)[1]) < high


def test_frechet_error_by_hand() -> None:
    # On a line T is the ratio of the deviations, 1 and 2, so that a moves the distance by -10 a + a² - 2 a².
    # Of a = ±√(3/4) that has the variance 100 · 3/4 · 4/3 = 100; and of b = 2a, moved by 10 b + b² - b²/2, 400.
    x = np.float32([-1, -1, 1, 1])[:, None] * np.sqrt(np.float32(3 / 4))
    assert frechet(x, 2 * x + np.float32(5))[1] == pytest.approx(np.sqrt(100 / 4 + 400 / 4), rel=1e-5)


def test_nine_intervals_of_ten_hold_the_expected_distance() -> None:
    truth = np.mean([frechet(*APART(number))[0] for number in range(1000, 1400)])
    inside = [abs(frechet(*APART(number))[0] - truth) < 1.645 * frechet(*APART(number))[1] for number in range(200)]
    # Of 200 intervals 180 ± 4.2.
    assert 0.84 <= np.mean(inside) <= 0.97
