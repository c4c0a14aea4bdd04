from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics.copying import copied_share, expected_share, is_below_chance, nearest


def line(*positions: float) -> np.ndarray:
    return np.array(positions, np.float32)[:, None]


def test_nearest_finds_each_in_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.metrics.copying.ROWS", 2)
    distances, indices = nearest(line(0.9, 5.2, -3, 2.4, 10), line(5, 0, 1, 3))
    assert indices.tolist() == [2, 0, 1, 3, 0]
    assert distances == pytest.approx([0.1, 0.2, 3, 0.6, 5], abs=1e-6)


def test_nearest_is_what_all_distances_say() -> None:
    rng = np.random.default_rng(0)
    queries, pool = (rng.normal(0, 1, (count, 1280)).astype(np.float32) for count in (300, 400))
    distances, indices = nearest(queries, pool)
    every = np.linalg.norm(queries[:, None].astype(np.float64) - pool, axis=2)
    assert np.array_equal(indices, every.argmin(axis=1))
    assert distances == pytest.approx(every.min(axis=1), rel=1e-12)


def test_a_copy_is_exactly_as_far_as_nothing() -> None:
    features = np.random.default_rng(0).normal(0, 1, (50, 1280)).astype(np.float32)
    distances, indices = nearest(features[::-1], features)
    assert distances.tolist() == [0.0] * 50
    assert indices.tolist() == list(range(49, -1, -1))


def test_copies_by_hand() -> None:
    # The holdout lies 1 to 7 from the training images: the 25th percentile is 2; 1 and 0.5 are below it.
    assert copied_share(np.array([10, 1, 0.5, 3]), np.arange(1.0, 8), percentile=25) == 2 / 4


@pytest.mark.parametrize("holdout", [4, 30, 99, 1000])
def test_fresh_draws_have_the_expected_share_beside_few_holdout_faces_too(holdout: int) -> None:
    rng = np.random.default_rng(holdout)
    shares = [copied_share(rng.random(300), rng.random(holdout), 1.0) for _ in range(2000)]
    assert np.mean(shares) == pytest.approx(expected_share(holdout, 1.0), rel=0.1)


@pytest.mark.parametrize(("holdout", "percentile"), [(4, 99.0), (9, 95.0), (50, 99.0)])
def test_of_few_holdout_faces_the_farthest_is_the_other_bound(holdout: int, percentile: float) -> None:
    rng = np.random.default_rng(holdout)
    shares = [copied_share(rng.random(300), rng.random(holdout), percentile) for _ in range(2000)]
    assert np.mean(shares) == pytest.approx(expected_share(holdout, percentile), rel=0.02)
    assert np.mean([is_below_chance(share, 300, holdout, percentile) for share in shares]) < 0.04


@pytest.mark.parametrize(("percentile", "expected"), [(5.0, 0.05), (20.0, 0.2)])
def test_new_images_of_the_same_kind_have_the_percentile_as_their_share(percentile: float, expected: float) -> None:
    rng = np.random.default_rng(0)
    train, holdout, fake = (rng.normal(0, 1, (count, 4)) for count in (500, 4000, 4000))
    share = copied_share(nearest(fake, train)[0], nearest(holdout, train)[0], percentile)
    assert share == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(("drawn", "holdout"), [(64, 100), (256, 30), (2000, 1000)])
def test_shares_below_chance_are_seldom_so_by_chance(drawn: int, holdout: int) -> None:
    rng = np.random.default_rng(0)
    shares = [copied_share(rng.random(drawn), rng.random(holdout), 1.0) for _ in range(1000)]
    assert np.mean([is_below_chance(share, drawn, holdout, 1.0) for share in shares]) < 0.04
    assert is_below_chance(0.0, 5000, 1000, 1.0)
    assert not is_below_chance(0.0, 64, 500, 1.0)


def test_images_that_are_all_alike_are_not_called_copied() -> None:
    assert copied_share(np.zeros(5), np.zeros(5), percentile=1.0) == 0.0
