"""Against values from tables, and by arithmetic."""

import numpy as np
import pytest

from pipeline.paired import mean_interval, share_interval, smallest_detectable, standard_error


def with_deviation(count: int, deviation: float) -> list[float]:
    """Values of mean zero and exactly this standard deviation (n - 1)."""
    values = np.arange(count) - (count - 1) / 2
    return list(values * deviation / np.std(values, ddof=1))


def test_the_mean_and_its_interval() -> None:
    assert standard_error([1.0, 2.0, 3.0]) == pytest.approx(1 / np.sqrt(3))
    # t(0.975, 2) = 4.3027, of any table.
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx(
        (2.0, 2.0 - 4.3027 / np.sqrt(3), 2.0 + 4.3027 / np.sqrt(3)), abs=1e-4
    )
    assert mean_interval([5.0, 5.0]) == (5.0, 5.0, 5.0)


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_so_many_pairs_detect_cohens_small_medium_and_large_effect(effect: float, pairs: int) -> None:
    """The numbers of pairs that every power table has for a paired t test, 80 % and two-sided 5 %."""
    assert (
        smallest_detectable(with_deviation(pairs, 1.0)) <= effect < smallest_detectable(with_deviation(pairs - 1, 1.0))
    )


@pytest.mark.parametrize("pairs", [2, 3, 6])
def test_a_true_difference_of_that_size_is_found_four_times_in_five(pairs: int) -> None:
    rng = np.random.default_rng(0)
    detectable = smallest_detectable(with_deviation(pairs, 3.0))
    samples = rng.normal(detectable, 3.0, (40_000, pairs))
    t = samples.mean(axis=1) / (samples.std(axis=1, ddof=1) / np.sqrt(pairs))
    critical = {2: 12.7062, 3: 4.3027, 6: 2.5706}[pairs]
    assert np.mean(np.abs(t) > critical) == pytest.approx(0.8, abs=0.01)


def test_no_spread_detects_anything() -> None:
    assert smallest_detectable([2.0, 2.0, 2.0]) == 0.0


def test_a_share_of_a_constant_whole_is_a_scaled_mean() -> None:
    parts = [1.0, 2.0, 3.0]
    assert share_interval(parts, [4.0, 4.0, 4.0]) == pytest.approx([value / 4.0 for value in mean_interval(parts)])


def test_a_constant_share_has_no_width() -> None:
    wholes = [4.0, 5.0, 6.0]
    assert share_interval([0.25 * whole for whole in wholes], wholes) == pytest.approx((0.25, 0.25, 0.25), abs=1e-6)


def test_the_interval_of_a_share_holds_the_truth_19_times_in_20() -> None:
    rng = np.random.default_rng(0)
    wholes = rng.normal(10.0, 3.0, (4000, 6))
    parts = 0.4 * wholes + rng.normal(0.0, 2.0, wholes.shape)
    found = [share_interval(list(part), list(whole)) for part, whole in zip(parts, wholes, strict=True)]
    bounded = [interval for interval in found if interval is not None]
    assert len(bounded) > 3950
    assert np.mean([interval.low <= 0.4 <= interval.high for interval in bounded]) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("wholes", [[-1.0, 1.0, 0.5], [-4.0, -4.0, -4.1]], ids=["zero by chance", "negative"])
def test_what_is_not_surely_there_has_no_shares(wholes: list[float]) -> None:
    assert share_interval([1.0, 2.0, 3.0], wholes) is None
