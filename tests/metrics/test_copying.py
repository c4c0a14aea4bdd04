from __future__ import annotations

import numpy as np
import pytest

from pipeline.metrics.copying import copied


def line(*positions: float) -> np.ndarray:
    return np.array(positions, np.float32)[:, None]


def test_copies_by_hand() -> None:
    # The holdout lies 1, 2, 3, 4 and 5 from the training images at 0 and 100: the 25th percentile is 2.
    train, holdout = line(0, 100), line(1, 2, 103, 104, 105)
    share, suspects, sources = copied(line(10, 101, 0.5, 3), train, holdout, percentile=25)
    assert share == 2 / 4  # 1 and 0.5 are below 2
    assert suspects.tolist() == [2, 1, 3, 0]
    assert sources.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize(("percentile", "expected"), [(5.0, 0.05), (20.0, 0.2)])
def test_new_images_of_the_same_kind_have_the_percentile_as_their_share(percentile: float, expected: float) -> None:
    rng = np.random.default_rng(0)
    train, holdout, fake = (rng.normal(0, 1, (count, 4)) for count in (500, 4000, 4000))
    assert copied(fake, train, holdout, percentile)[0] == pytest.approx(expected, rel=0.15)


def test_training_images_again_are_all_copied() -> None:
    rng = np.random.default_rng(0)
    train, holdout = rng.normal(0, 1, (50, 4)), rng.normal(0, 1, (50, 4))
    share, suspects, sources = copied(train, train, holdout, percentile=1.0)
    assert share == 1.0
    assert np.array_equal(suspects, sources)


def test_images_that_are_all_alike_are_not_called_copied() -> None:
    alike = np.ones((5, 3))
    assert copied(alike, alike, alike, percentile=1.0)[0] == 0.0
