from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from pipeline.cleaning.tone import TONE_CURVES, Tone, equalize, gamma_to, log_to, stretch, undo_gamma
from pipeline.cleaning.views import luma
from pipeline.params import ToneCurve

RAMP = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (256, 1, 3))  # a square, by which the curves go


@pytest.mark.parametrize("gamma", [0.4, 1.0, 2.5])
def test_undo_gamma_inverts_a_gamma(gamma):
    changed = np.rint(255 * (RAMP / 255) ** gamma).astype(np.uint8)
    error = np.abs(undo_gamma(changed, gamma).astype(int) - RAMP)
    assert error.mean() < 3
    assert undo_gamma(RAMP, gamma)[0, [0, 255]].tolist() == [[0] * 3, [255] * 3]


def test_stretch_puts_black_and_white_where_asked():
    faded = (RAMP // 4 + 100).astype(np.uint8)
    back = stretch(faded, 25, 250)
    assert abs(int(back[0, 0, 0]) - 25) <= 3
    assert abs(int(back[0, 255, 0]) - 250) <= 3
    assert (np.diff(back[0, :, 0].astype(int)) >= 0).all()


def test_stretch_drives_no_strong_colour_out_of_its_range():
    """Luma has 30 % of a red picture's span: by luma alone it would be stretched to three times the range."""
    red = np.zeros((200, 200, 3), np.uint8)
    red[:, :, 0] = np.arange(200)
    back = stretch(red, 25, 250)[0, :, 0].astype(int)
    assert (back == 255).mean() < 0.06
    assert back[100] - back[50] == pytest.approx(50 * 255 / 189, abs=2)


def test_stretch_of_a_flat_picture_does_not_fail():
    assert stretch(np.full((4, 4, 3), 90, np.uint8), 25, 250).shape == (4, 4, 3)


def test_the_family_is_what_params_offer():
    assert set(TONE_CURVES) == set(get_args(ToneCurve))


@pytest.mark.parametrize("name", TONE_CURVES)
def test_a_curve_keeps_the_order_of_levels_and_greys_grey(name):
    changed = TONE_CURVES[name](RAMP, Tone(gamma=2.0, black=25, white=250, brightness=153)).astype(int)
    assert (np.diff(changed[0, :, 0]) >= 0).all()
    assert (changed[:, :, :1] == changed).all()


@pytest.mark.parametrize("name", TONE_CURVES)
@pytest.mark.parametrize("level", [0, 90, 255])
def test_a_flat_picture_stays_flat(name, level):
    flat = np.full((4, 4, 3), level, np.uint8)
    assert np.ptp(TONE_CURVES[name](flat, Tone(gamma=2.0, black=25, white=250, brightness=153))) == 0


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_auto_gamma_undoes_a_known_gamma_to_a_level(gamma):
    middle = RAMP[:, 40:250]
    changed = np.rint(255 * (middle / 255) ** gamma).astype(np.uint8)
    back = TONE_CURVES["auto_gamma"](changed, Tone(gamma, black=25, white=250, brightness=153))
    assert np.abs(back.astype(int) - middle).max() <= (1 if gamma > 1 else 2)


@pytest.mark.parametrize("curve", [gamma_to, log_to])
@pytest.mark.parametrize("level", [20, 100, 153, 230])
def test_a_flat_picture_gets_the_brightness_asked_for(curve, level):
    assert np.abs(curve(np.full((4, 4, 3), level, np.uint8), 153).astype(int) - 153).max() <= 1


def test_gamma_and_log_keep_black_and_white():
    for curve in (gamma_to, log_to):
        assert curve(RAMP, 180)[0, [0, 255]].tolist() == [[0] * 3, [255] * 3]
        assert luma(curve(RAMP, 180)).mean() > luma(RAMP).mean() + 20


def test_equalize_spreads_the_levels_evenly():
    crowded = (RAMP // 8 + 100).astype(np.uint8)
    spread = equalize(crowded)[0, :, 0].astype(int)
    assert (spread.min(), spread.max()) == (0, 255)
    assert set(np.diff(np.unique(spread))) <= {8, 9}


def test_equalize_undoes_any_curve_of_an_even_picture():
    assert np.abs(equalize(undo_gamma(RAMP, 1 / 1.5)).astype(int) - RAMP).mean() < 2
