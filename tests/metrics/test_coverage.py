from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from pipeline.metrics.coverage import Coverage, coverage_figures, nearest_distances


def line(*positions: float) -> np.ndarray:
    return np.array(positions, np.float32)[:, None]


def by_definition(real: np.ndarray, fake: np.ndarray, k: int) -> Coverage:
    """Naeem et al. 2020, section 3 and appendix, from whole distance matrices."""
    real_radii = np.sort(cdist(real, real), axis=1)[:, k]
    fake_radii = np.sort(cdist(fake, fake), axis=1)[:, k]
    between = cdist(real, fake)
    return Coverage(
        precision=float((between < real_radii[:, None]).any(axis=0).mean()),
        recall=float((between < fake_radii[None, :]).any(axis=1).mean()),
        density=float((between < real_radii[:, None]).sum(axis=0).mean() / k),
        coverage=float((between.min(axis=1) < real_radii).mean()),
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
    real, fake = rng.normal(0, 1, (60, 6)), rng.normal(shift, 1, (90, 6))
    found, expected = coverage_figures(real, fake, k), by_definition(real, fake, k)
    assert expected.coverage > 0
    for name, value in vars(expected).items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-12), name


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


def test_nearest_finds_each_in_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.metrics.coverage.ROWS", 2)
    distances, indices = nearest_distances(line(0.9, 5.2, -3, 2.4, 10), line(5, 0, 1, 3))
    assert indices.tolist() == [2, 0, 1, 3, 0]
    assert distances == pytest.approx([0.1, 0.2, 3, 0.6, 5], abs=1e-6)
