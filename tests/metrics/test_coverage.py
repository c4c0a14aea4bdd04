from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from pipeline.metrics.coverage import Coverage, coverage_figures, diversity


def line(*positions: float) -> np.ndarray:
    return np.array(positions, np.float32)[:, None]


def by_definition(real: np.ndarray, fake: np.ndarray, k: int) -> Coverage:
    """Naeem et al. 2020, equations 1 to 4, a pair of images at a time."""

    def in_ball(point: np.ndarray, centre: int, centres: np.ndarray) -> bool:
        # The nearest to the centre is the centre itself, or a copy of it, so that its k-th neighbour has the index k.
        radius = sorted(math.dist(centres[centre], other) for other in centres)[k]
        return math.dist(point, centres[centre]) < radius

    balls = [sum(in_ball(y, i, real) for i in range(len(real))) for y in fake]
    return Coverage(
        precision=sum(number > 0 for number in balls) / len(fake),
        recall=sum(any(in_ball(x, j, fake) for j in range(len(fake))) for x in real) / len(real),
        density=sum(balls) / (k * len(fake)),
        coverage=sum(any(in_ball(y, i, real) for y in fake) for i in range(len(real))) / len(real),
    )


def test_figures_by_hand() -> None:
    # Real balls of radius 1 around 0, 1, 2; fakes at 0.5 (in two balls), 9 and 9.5 (in none).
    # Fake balls: 8.5 around 0.5, and 0.5 around 9 and 9.5: 0, 1 and 2 lie in the first.
    found = coverage_figures(line(0, 1, 2), line(0.5, 9, 9.5), nearest_k=1)
    assert found == Coverage(precision=1 / 3, recall=1.0, density=pytest.approx(2 / 3), coverage=2 / 3)


def test_touching_a_ball_is_not_inside() -> None:
    assert coverage_figures(line(0, 1), line(2, 3), nearest_k=1) == Coverage(0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("k", [pytest.param(1, id="k 1"), pytest.param(5, id="k 5")])
@pytest.mark.parametrize("shift", [pytest.param(0.0, id="alike"), pytest.param(1.0, id="apart")])
def test_figures_equal_their_published_definition(k: int, shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.metrics.coverage.ROWS", 16)
    rng = np.random.default_rng(0)
    real, fake = rng.normal(0, 1, (25, 6)), rng.normal(shift, 1, (35, 6))
    found, expected = coverage_figures(real, fake, k), by_definition(real, fake, k)
    assert expected.coverage > 0
    for name, value in vars(expected).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-12), name


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda x, _: (x, x), id="identical sets"),
        pytest.param(lambda x, _: (x, x[::-1]), id="identical in another order"),
        pytest.param(lambda x, y: (x, np.ones_like(y)), id="all fakes alike"),
        pytest.param(lambda x, y: (np.ones_like(x), y), id="all real alike"),
        pytest.param(lambda x, y: (x * [1, 0, 0, 0, 0, 0], y * [1, 0, 0, 0, 0, 0]), id="constant features"),
        pytest.param(lambda x, y: (np.repeat(x, 3, axis=0), y), id="each thrice"),
        pytest.param(lambda x, y: (x[:3], y[:4]), id="fewer samples than dimensions"),
    ],
)
def test_figures_of_degenerate_sets_equal_their_definition(make: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.metrics.coverage.ROWS", 16)
    rng = np.random.default_rng(0)
    # Whole numbers, with many ties, which both ways compute without rounding.
    real, fake = make(rng.integers(0, 4, (20, 6)).astype(float), rng.integers(0, 4, (22, 6)).astype(float))
    assert vars(coverage_figures(real, fake, 2)) == pytest.approx(vars(by_definition(real, fake, 2)), rel=1e-12)


def test_neighbours_stop_at_the_size_of_a_small_set() -> None:
    real, fake = line(0, 1, 3), line(0.5, 2, 4, 8)
    assert coverage_figures(real, fake, nearest_k=2) != coverage_figures(real, fake, nearest_k=1)
    assert coverage_figures(real, line(0.5, 2), nearest_k=50) == coverage_figures(real, line(0.5, 2), nearest_k=2)


def test_mode_collapse_lowers_coverage_and_recall_but_not_precision() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(0, 1, (200, 3))
    collapsed = coverage_figures(real, rng.normal(0, 0.05, (200, 3)), nearest_k=5)
    varied = coverage_figures(real, rng.normal(0, 1, (200, 3)), nearest_k=5)
    assert collapsed.precision > 0.95
    assert collapsed.recall < 0.1 < 0.6 < varied.recall
    assert collapsed.coverage < 0.5 < 0.8 < varied.coverage


def test_identical_images_give_finite_figures() -> None:
    figures = vars(coverage_figures(np.ones((5, 3)), np.ones((5, 3)), nearest_k=2))
    assert np.isfinite(list(figures.values())).all()


def test_diversity_by_hand() -> None:
    # Of 0, 3 and 9 the pairs are 3, 9 and 6 apart.
    assert diversity(line(0, 3, 9))[0] == pytest.approx(6.0, rel=1e-12)
    # A set that twice takes each of two images a distance of 5 apart: 4 of its 6 pairs differ.
    assert diversity(np.float32([[0, 0], [3, 4], [0, 0], [3, 4]]))[0] == pytest.approx(5 * 4 / 6, rel=1e-12)


@pytest.mark.parametrize(
    ("count", "width"), [pytest.param(50, 4, id="many"), pytest.param(5, 40, id="fewer samples than dimensions")]
)
def test_diversity_equals_its_definition(count: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.metrics.coverage.ROWS", 16)
    features = np.random.default_rng(0).normal(3, 1, (count, width)).astype(np.float32)
    # What a rounding error leaves of an image's distance to itself, its root magnifies: 1e-8 of the norm or so.
    assert diversity(features)[0] == pytest.approx(pdist(features.astype(float)).mean(), rel=1e-7)


def test_one_image_again_and_again_has_no_diversity() -> None:
    assert diversity(np.full((6, 1280), 0.7, np.float32))[0] == pytest.approx(0.0, abs=1e-5)
