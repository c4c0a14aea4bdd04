import numpy as np
import pytest

from pipeline.cleaning import gamma as g
from pipeline.cleaning.tone import undo_gamma
from pipeline.sources.builtin import draw


@pytest.mark.parametrize("number", [3, 8, 21])
def test_the_estimate_follows_the_gamma_that_was_applied(number):
    pixels = draw(0, number, 64)
    estimates = [g.gamma(undo_gamma(pixels, 1 / applied)) for applied in (0.3, 0.6, 1.0, 1.8, 3.0)]
    assert estimates == sorted(estimates)
    assert estimates[0] < 0.5
    assert estimates[2] == pytest.approx(1.0, rel=0.4)
    assert estimates[4] > 2.0


def test_a_grey_picture_is_no_paler_than_a_coloured_one():
    pixels = draw(0, 3, 64)
    grey = np.repeat(pixels[:, :, 1:2], 3, axis=2)
    assert g.gamma(grey) == pytest.approx(g.gamma(pixels), rel=0.3)


def test_the_profile_of_one_colour_is_known():
    profile = g.tone_profile(np.full((64, 64, 3), 128, np.uint8))
    assert profile.shape == (135,)
    assert profile[:54] == pytest.approx(np.log(132 / 259))
    assert profile[54:108] == pytest.approx(128 / 255)
    assert profile[108:] == pytest.approx(0), "no saturation, no texture, no colour"
