"""Each standard error against the spread of its figure over fresh sets, or against a formula where there is one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.metrics.copying import copied_share, copied_share_error
from pipeline.metrics.coverage import Coverage, coverage_figures, diversity
from pipeline.metrics.distances import FAKE, REAL, frechet
from pipeline.metrics.sliced import sliced_wasserstein
from pipeline.metrics.standard_errors import coverage_errors, half_balls
from tests.metrics.fresh_sets import ALIKE, APART, Draw, compare, normals


@pytest.mark.parametrize(
    ("draw", "low", "high"), [pytest.param(APART, 0.85, 1.2, id="apart"), pytest.param(ALIKE, 0.9, 2.5, id="alike")]
)
def test_sliced_error_is_the_spread_over_fresh_sets(
    draw: Draw, low: float, high: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.metrics.sliced.DIRECTIONS", 64)
    assert (
        low < compare(draw, lambda x, y: sliced_wasserstein(x, y)[0], lambda x, y: sliced_wasserstein(x, y)[1]) < high
    )


def test_sliced_error_of_sets_far_apart_is_that_of_their_means() -> None:
    # On a line, the distance of sets that don't overlap is the difference of the means.
    x, y = np.float32([0, 1, 2, 3])[:, None], np.float32([10, 14])[:, None]
    assert sliced_wasserstein(x, y) == pytest.approx((10.5, np.sqrt(1.25 / 4 + 4 / 2)), rel=1e-6)


@pytest.mark.parametrize("name", ["precision", "recall", "density", "coverage"])
@pytest.mark.parametrize(
    "draw",
    [pytest.param(normals(4, 0.5, 1.0), id="apart"), pytest.param(normals(12, 0.3, 0.9), id="more dimensions")],
)
def test_coverage_errors_are_the_spread_over_fresh_sets(draw: Draw, name: str) -> None:
    def value(x: np.ndarray, y: np.ndarray) -> float:
        return getattr(coverage_figures(x, y, 5), name)

    def error(x: np.ndarray, y: np.ndarray) -> float:
        return getattr(coverage_errors(x, y, 5, 30, 0), name)

    assert 0.8 < compare(draw, value, error, with_errors=20) < 1.5


def test_precision_error_is_that_of_a_share_where_the_real_faces_do_not_matter() -> None:
    # Real faces fill two lumps; a drawn face is in one of them, or far off with one chance in four.
    rng = np.random.default_rng(0)
    real = rng.normal(size=(400, 2)) * 0.01
    fake = rng.normal(size=(300, 2)) * 0.001 + np.where(rng.random(300) < 0.25, 50.0, 0.0)[:, None]
    share = coverage_figures(real, fake, 5).precision
    assert coverage_errors(real, fake, 5, 200, 0).precision == pytest.approx(
        np.sqrt(share * (1 - share) / 300), rel=0.15
    )


def test_halves_are_measured_as_whole_sets_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.metrics.coverage.ROWS", 16)
    x, y = normals(4, 0.5, 1.0, n=61, m=50)(0)
    in_x, in_y = (half_balls(z, 3, 6, (7, role)).taken for z, role in ((x, REAL), (y, FAKE)))
    halves = [coverage_figures(x[a], y[b], 3) for a, b in zip(in_x, in_y, strict=True)]
    expected = {name: np.std([getattr(half, name) for half in halves], ddof=1) for name in vars(halves[0])}
    assert vars(coverage_errors(x, y, 3, 6, 7)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda x, _: (x, x), id="identical sets"),
        pytest.param(lambda x, y: (x, np.zeros_like(y)), id="all fakes alike"),
        pytest.param(lambda x, y: (np.ones_like(x), np.zeros_like(y)), id="constant features"),
        pytest.param(lambda x, y: (x[:4], y[:4]), id="fewest images"),
    ],
)
def test_degenerate_sets_give_finite_errors(make: Callable[..., tuple[np.ndarray, np.ndarray]]) -> None:
    x, y = make(*APART(0))
    errors = [
        frechet(x, y)[1],
        sliced_wasserstein(x, y)[1],
        diversity(y)[1],
        *vars(coverage_errors(x, y, 5, 4, 0)).values(),
    ]
    assert np.isfinite(errors).all()
    assert min(errors) >= 0


def test_diversity_error_is_the_spread_over_fresh_sets() -> None:
    found = compare(APART, lambda _, y: diversity(y)[0], lambda _, y: diversity(y)[1])
    assert found == pytest.approx(1.0, abs=0.15)


def test_copied_error_is_the_spread_over_fresh_sets() -> None:
    def draw(number: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(number)
        return rng.gamma(4, 0.8, 500), rng.gamma(4, 1.0, 400)

    found = compare(draw, lambda x, y: copied_share(x, y, 5), lambda x, y: copied_share_error(x, y, 5, 60, 0), 40)
    assert found == pytest.approx(1.0, abs=0.2)


def test_errors_repeat_for_a_seed() -> None:
    x, y = APART(0)
    assert coverage_errors(x, y, 5, 8, 3) == coverage_errors(x, y, 5, 8, 3) != coverage_errors(x, y, 5, 8, 4)
    assert copied_share_error(x[:, 0], y[:, 0], 5, 8, 3) == copied_share_error(x[:, 0], y[:, 0], 5, 8, 3)


def test_no_error_is_found_where_all_halves_agree() -> None:
    x, y = APART(0)
    assert coverage_errors(x, y + 1000, 5, 8, 0) == Coverage(0.0, 0.0, 0.0, 0.0)
